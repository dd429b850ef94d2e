"""Rows as Paimon's bytes: the BinaryRow of keys, partitions and statistics, and the hash that picks a bucket."""

from hosu.tables.rows.binary import (
    EMPTY_ROW,
    decode_field,
    decode_row,
    decode_serialised,
    deserialise,
    encode_row,
    encode_serialised,
    serialise,
)
from hosu.tables.rows.hashing import bucket_of_rows, buckets, hash_bytes, row_hashes
from hosu.tables.rows.stats import stats_row
from hosu.tables.rows.words import encode_rows

__all__ = [
    "EMPTY_ROW",
    "bucket_of_rows",
    "buckets",
    "decode_field",
    "decode_row",
    "decode_serialised",
    "deserialise",
    "encode_row",
    "encode_rows",
    "encode_serialised",
    "hash_bytes",
    "row_hashes",
    "serialise",
    "stats_row",
]

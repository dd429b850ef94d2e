"""Which bucket a row belongs to: Murmur3 over the BinaryRow of its bucket key, as Java computes it."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import pyarrow as pa

from hosu.kernel.errors import ErrorKind, InvalidInputError, UnsupportedError
from hosu.tables.rows.hive import hive_hashes
from hosu.tables.rows.words import Column, RowWords, Tail, row_words

if TYPE_CHECKING:
    from hosu.tables.types import DataType

Hashes: TypeAlias = np.ndarray[Any, np.dtype[np.int32]]
_Mixed: TypeAlias = np.ndarray[Any, np.dtype[np.uint32]]

_SEED = 42
_C1, _C2 = np.uint32(0xCC9E2D51), np.uint32(0x1B873593)
_FIVE, _ADDED = np.uint32(5), np.uint32(0xE6546B64)
_F1, _F2 = np.uint32(0x85EBCA6B), np.uint32(0xC2B2AE35)
_LOW = np.uint64(0xFFFFFFFF)
_32 = np.uint64(32)
_CHUNK_ROWS = 1 << 15
"""Rows mixed at a time, so that what a step reads and writes stays in a core's cache."""


def row_hashes(columns: Sequence[Column], types: "Sequence[DataType]") -> Hashes:
    """Return the hash of each row's BinaryRow, as Java's `BinaryRow.hashCode`.

    Raises as `words.row_words`.
    """
    count = len(columns[0]) if columns else 0
    whole = [column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column for column in columns]
    out = np.empty(count, dtype=np.uint32)
    for start in range(0, max(count, 1), _CHUNK_ROWS):
        rows = row_words([column.slice(start, _CHUNK_ROWS) for column in whole], types)
        out[start : start + rows.count] = _hash_rows(rows)
    return out.view(np.int32)


def hash_bytes(row: bytes) -> int:
    """Return the hash of one BinaryRow's bytes."""
    words = np.frombuffer(row, dtype="<u4").tolist()
    mixed = np.full(1, _SEED, dtype=np.uint32)
    for word in words:
        _mix(mixed, np.full(1, word, dtype=np.uint32))
    return int(_finish(mixed, np.uint32(len(row))).view(np.int32)[0])


def buckets(hashes: Hashes, count: int) -> Hashes:
    """Return the bucket of each hash when there are `count`: the remainder as Java's %, without its sign."""
    return np.abs(np.fmod(hashes, np.int32(count)))


def bucket_of_rows(
    columns: Sequence[Column], types: "Sequence[DataType]", count: int, function: str = "default"
) -> Hashes:
    """Return the bucket of each row from its bucket key, for a table of `count` buckets.

    function is the table's `bucket-function.type`: default, mod or hive. Raises as `row_hashes`.
    """
    if function == "default":
        return buckets(row_hashes(columns, types), count)
    if function == "mod":
        return _mod_buckets(columns, types, count)
    if function == "hive":
        return (hive_hashes(columns, types) & np.int32(0x7FFFFFFF)) % np.int32(count)
    raise UnsupportedError(
        ErrorKind.UNSUPPORTED, f"bucket-function.type {function!r} is not known: use default, mod or hive"
    )


def _hash_rows(rows: RowWords) -> _Mixed:
    fields, sizes = rows.fields()
    mixed = np.full(rows.count, _SEED, dtype=np.uint32)
    for word in (*rows.header, *fields):
        if isinstance(word, int):
            _mix(mixed, np.full(rows.count, word & 0xFFFFFFFF, dtype=np.uint32))
            _mix(mixed, np.full(rows.count, word >> 32, dtype=np.uint32))
        else:
            _mix_word(mixed, word)
    for column in rows.columns:
        if column.tail is not None:
            _mix_tail(mixed, column.tail)
    return _finish(mixed, np.uint32(sizes) if isinstance(sizes, int) else sizes.astype(np.uint32))


def _mix_tail(mixed: _Mixed, tail: Tail) -> None:
    counts = tail.counts
    if isinstance(counts, int):
        for number in range(counts):
            _mix_word(mixed, tail.word(number, slice(None)))
        return
    least, most = (int(counts.min()), int(counts.max())) if len(counts) else (0, 0)
    for number in range(least):
        _mix_word(mixed, tail.word(number, slice(None)))
    for number in range(least, most):
        some = np.flatnonzero(counts > number)
        part = mixed[some]
        _mix_word(part, tail.word(number, some))
        mixed[some] = part


def _mix_word(mixed: _Mixed, word: np.ndarray[Any, np.dtype[np.uint64]]) -> None:
    _mix(mixed, word.astype(np.uint32))
    _mix(mixed, (word >> _32).astype(np.uint32))


def _mix(mixed: _Mixed, word: _Mixed) -> None:
    """Mix 4 bytes of each row into its hash, in place; word is used up."""
    word *= _C1
    high = word >> np.uint32(17)
    word <<= np.uint32(15)
    word |= high
    word *= _C2
    mixed ^= word
    np.right_shift(mixed, np.uint32(19), out=high)
    mixed <<= np.uint32(13)
    mixed |= high
    mixed *= _FIVE
    mixed += _ADDED


def _finish(mixed: _Mixed, sizes: _Mixed | np.uint32) -> _Mixed:
    mixed ^= sizes
    mixed ^= mixed >> np.uint32(16)
    mixed *= _F1
    mixed ^= mixed >> np.uint32(13)
    mixed *= _F2
    mixed ^= mixed >> np.uint32(16)
    return mixed


def _mod_buckets(columns: Sequence[Column], types: "Sequence[DataType]", count: int) -> Hashes:
    if len(types) != 1 or types[0].root not in {"INT", "BIGINT"}:
        raise InvalidInputError(
            ErrorKind.TABLE_INVALID, "bucket-function.type 'mod' needs a bucket-key of one INT or BIGINT column"
        )
    word = row_words(columns, types).columns[0].word
    values = word.astype(np.uint32).view(np.int32) if types[0].root == "INT" else word.view(np.int64)
    return np.mod(values, count).astype(np.int32)

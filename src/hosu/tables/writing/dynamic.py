"""Dynamic buckets: which bucket a key of a partition belongs to, by the hash of the key.

A bucket's index file holds the hashes of all keys ever put into it, as big-endian int32 without order. A hash keeps its
bucket; a new one goes to the first bucket that has room, then to a new bucket.
"""

import uuid
from collections.abc import Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
import numpy.typing as npt

from hosu.kernel.errors import CorruptError, ErrorKind, InvalidInputError, NotFoundError
from hosu.tables.pooling import run_all
from hosu.tables.records import IndexFile

if TYPE_CHECKING:
    from hosu.tables.context import TableContext

HASH_INDEX = "HASH"
Hashes: TypeAlias = npt.NDArray[np.int32]

BUCKET_MAX = 32767
"""Buckets are int16 in Paimon's index."""

_BYTES = 4


class PartitionIndex:
    """The hashes of one partition and their buckets; grows by `assign`. Not for two threads at once."""

    def __init__(self, buckets: Mapping[int, Hashes]) -> None:
        self.modified: set[int] = set()
        """Buckets that got hashes since they were last written."""

        self._counts = {bucket: len(hashes) for bucket, hashes in buckets.items()}
        hashes = np.concatenate([*buckets.values(), np.empty(0, np.int32)]).astype(np.int32)
        owners = np.repeat(
            np.fromiter(buckets, np.int32, len(buckets)), [len(hashes) for hashes in buckets.values()]
        ).astype(np.int32)
        order = np.argsort(hashes, kind="stable")
        self._hashes: Hashes = hashes[order]
        self._owners: Hashes = owners[order]

    def assign(self, hashes: Hashes, target_rows: int, bucket_limit: int) -> Hashes:
        """Return the bucket of each hash, as int32, taking in those that are new.

        A bucket takes `target_rows` hashes; with `bucket_limit` buckets (-1: no limit of the table's own) all of which
        are full, new hashes are spread over them. Raises InvalidInputError TABLE_INVALID for more than 32,767 buckets.
        """
        distinct, first, inverse = np.unique(hashes, return_index=True, return_inverse=True)
        place = np.searchsorted(self._hashes, distinct)
        known = np.zeros(len(distinct), np.bool_)
        inside = place < len(self._hashes)
        known[inside] = self._hashes[place[inside]] == distinct[inside]
        owners = np.empty(len(distinct), np.int32)
        owners[known] = self._owners[place[known]]
        fresh = np.flatnonzero(~known)
        if fresh.size:
            arrived = fresh[np.argsort(first[fresh], kind="stable")]
            owners[arrived] = self._place(distinct[arrived], target_rows, bucket_limit)
            where = place[fresh]
            self._hashes = np.insert(self._hashes, where, distinct[fresh])
            self._owners = np.insert(self._owners, where, owners[fresh])
        found: Hashes = owners[inverse]
        return found

    def of_bucket(self, bucket: int) -> Hashes:
        """Return the hashes of a bucket."""
        found: Hashes = self._hashes[self._owners == bucket]
        return found

    def _place(self, fresh: Hashes, target_rows: int, bucket_limit: int) -> Hashes:
        owners = np.empty(len(fresh), np.int32)
        done = 0
        limit = BUCKET_MAX if bucket_limit < 0 else min(bucket_limit, BUCKET_MAX)
        candidates = sorted(bucket for bucket, count in self._counts.items() if count < target_rows)
        while done < len(fresh):
            if candidates:
                bucket = candidates.pop(0)
            else:
                bucket = next((number for number in range(limit) if number not in self._counts), -1)
            if bucket < 0:
                break
            taken = min(target_rows - self._counts.get(bucket, 0), len(fresh) - done)
            owners[done : done + taken] = bucket
            self._counts[bucket] = self._counts.get(bucket, 0) + taken
            self.modified.add(bucket)
            done += taken
        if done < len(fresh):
            if bucket_limit < 0:
                raise InvalidInputError(
                    ErrorKind.TABLE_INVALID,
                    f"dynamic-bucket.target-row-num: {target_rows} rows per bucket need more than {BUCKET_MAX} "
                    "buckets; increase it",
                )
            self._spread(fresh, owners, done)
        return owners

    def _spread(self, fresh: Hashes, owners: Hashes, done: int) -> None:
        """Deal the rest out over full buckets, by the hash: the same key gets the same bucket on a second try."""
        existing = np.array(sorted(self._counts), np.int32)
        owners[done:] = existing[np.abs(fresh[done:].astype(np.int64)) % len(existing)]
        numbers, counts = np.unique(owners[done:], return_counts=True)
        for bucket, count in zip(numbers.tolist(), counts.tolist(), strict=True):
            self._counts[bucket] += count
            self.modified.add(bucket)


def load_index(ctx: "TableContext", files: Sequence[tuple[int, IndexFile]]) -> PartitionIndex:
    """Read a partition's index files, given with their buckets, on the table's pool.

    Raises CorruptError CORRUPT_TABLE for a file that is missing or no list of hashes.
    """
    hashes = run_all(ctx.pool, [partial(_hashes_of, ctx, file) for _, file in files])
    found: dict[int, Hashes] = {}
    for (bucket, _), own in zip(files, hashes, strict=True):
        found[bucket] = np.union1d(found[bucket], own) if bucket in found else own
    return PartitionIndex(found)


def write_index(ctx: "TableContext", hashes: Hashes) -> IndexFile:
    """Write the index file of one bucket."""
    name = f"index-{uuid.uuid4()}-0"
    data = hashes.astype(">i4").tobytes()
    ctx.files.put(ctx.layout.index(name), data)
    return IndexFile(index_type=HASH_INDEX, file_name=name, file_size=len(data), row_count=len(hashes))


def _hashes_of(ctx: "TableContext", file: IndexFile) -> Hashes:
    key = file.external_path or ctx.layout.index(file.file_name)
    return ctx.cache.get(("hashes", key), lambda: _read_hashes(ctx, key))


def _read_hashes(ctx: "TableContext", key: str) -> tuple[Hashes, int]:
    try:
        data = ctx.files.read(key)
    except NotFoundError as error:
        raise CorruptError(ErrorKind.CORRUPT_TABLE, f"the index file {key!r} is missing", path=key) from error
    if len(data) % _BYTES:
        raise CorruptError(
            ErrorKind.CORRUPT_TABLE,
            f"the index file {key!r} has {len(data)} bytes, which is no list of int32",
            path=key,
        )
    # Not np.unique, which hashes: sorting what is sorted already takes a hundredth of the time.
    hashes = np.sort(np.frombuffer(data, ">i4").astype(np.int32))
    fresh = np.ones(len(hashes), np.bool_)
    fresh[1:] = hashes[1:] != hashes[:-1]
    return hashes[fresh], len(data)

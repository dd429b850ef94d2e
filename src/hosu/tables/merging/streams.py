"""Sorted runs merged in bounded memory: range of keys by range of keys."""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor
from functools import partial
from typing import Any, TypeAlias

import pyarrow as pa

from hosu.tables.merging.begun import Begun
from hosu.tables.merging.fold import fold
from hosu.tables.merging.keys import one_array, row_key, upper_bound
from hosu.tables.merging.spec import MergeSpec
from hosu.tables.pooling import run_all

Source: TypeAlias = Callable[[], Iterator[pa.RecordBatch]]
"""Opens a run: batches in the order of the key."""

_BATCH_ROWS = 1 << 16
_SHARE = 4
"""Of the memory, a fourth holds what was read: merging it takes about as much again twice, and rows out once."""


def merge_stream(
    sources: Sequence[Source],
    spec: MergeSpec,
    *,
    memory_bytes: int,
    keep_deletes: bool,
    sorted_output: bool = True,
    pool: Executor | None = None,
) -> Iterator[pa.RecordBatch]:
    """Merge sorted runs, the oldest first, into batches in the order of the key, one row per key.

    Of each run about `memory_bytes` / 4 / runs are held, and at least one of its batches: runs should come in batches
    that are small enough. Every run is open from the first batch to its end. Without `sorted_output` only ranges of
    keys come in order, and rows within one in any, which costs less. With a pool runs are read side by side, and a
    range is merged while the next one is read.
    """
    folded = partial(fold, spec=spec, keep_deletes=keep_deletes, sorted_output=sorted_output)
    ranges = _ranges(sources, spec, max(memory_bytes // _SHARE, 1), pool)
    if pool is None:
        for parts in ranges:
            yield from folded(parts).to_batches(max_chunksize=_BATCH_ROWS)
        return
    merging: Begun[pa.Table] | None = None
    for parts in ranges:
        if merging is not None:
            yield from merging.result().to_batches(max_chunksize=_BATCH_ROWS)
        merging = Begun(pool, partial(folded, parts))
    if merging is not None:
        yield from merging.result().to_batches(max_chunksize=_BATCH_ROWS)


def _ranges(
    sources: Sequence[Source], spec: MergeSpec, held_bytes: int, pool: Executor | None
) -> Iterator[list[pa.Table]]:
    """Yield the rows of ranges of keys, of each run that has some."""
    heads = [_Head(source(), spec) for source in sources]
    while heads:
        fills = [partial(head.fill, held_bytes // len(heads)) for head in heads]
        filled = [fill() for fill in fills] if pool is None else run_all(pool, fills)
        heads = [head for head, has_rows in zip(heads, filled, strict=True) if has_rows]
        open_ends = [head.last for head in heads if not head.ended]
        bound = min(open_ends) if open_ends else None
        parts = [part for head in heads if (part := head.take(bound)).num_rows]
        if parts:
            yield parts


class _Head:
    """The rows of one run that were read and not yet merged."""

    def __init__(self, batches: Iterator[pa.RecordBatch], spec: MergeSpec) -> None:
        self._batches = batches
        self._keys = spec.keys
        self._held: list[pa.RecordBatch] = []
        self._bytes = 0
        self.ended = False

    def fill(self, size_bytes: int) -> bool:
        """Read on until about so much is held; False when nothing is and nothing comes."""
        while not self.ended and (not self._held or self._bytes < size_bytes):
            batch = next(self._batches, None)
            if batch is None:
                self.ended = True
            elif batch.num_rows:
                self._held.append(batch)
                self._bytes += _size(batch)
        return bool(self._held)

    @property
    def last(self) -> tuple[Any, ...]:
        """The greatest key that is held."""
        batch = self._held[-1]
        return row_key(self._columns(batch), batch.num_rows - 1)

    def take(self, bound: tuple[Any, ...] | None) -> pa.Table:
        """Take out the rows of keys up to `bound`, all of them that the run has; all that is held for None."""
        taken: list[pa.RecordBatch] = []
        schema = self._held[0].schema
        while self._held or (bound is not None and self.fill(0)):
            batch = self._held[0]
            columns = self._columns(batch)
            if bound is None or row_key(columns, batch.num_rows - 1) <= bound:
                taken.append(self._held.pop(0))
                continue
            rows = upper_bound(columns, bound)
            if rows:
                taken.append(batch.slice(0, rows))
                self._held[0] = batch.slice(rows)
            break
        self._bytes = sum(_size(batch) for batch in self._held)
        return pa.Table.from_batches(taken, schema)

    def _columns(self, batch: pa.RecordBatch) -> list[pa.Array]:
        return [one_array(batch.column(name)) for name in self._keys]


def _size(batch: pa.RecordBatch) -> int:
    size: int = batch.nbytes
    return size

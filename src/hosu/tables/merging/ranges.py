"""Sorted runs side by side, a range of keys at a time, in bounded memory.

What belongs together for a key comes together: that is what merges, looks up and compares whole columns at a time.
"""

from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Executor
from functools import partial
from typing import Any

import pyarrow as pa

from hosu.tables.merging.keys import one_array, row_key, upper_bound
from hosu.tables.pooling import run_all


def key_ranges(
    sources: Sequence[Iterable[pa.RecordBatch]],
    schema: pa.Schema,
    keys: Sequence[str],
    *,
    held_bytes: int,
    pool: Executor | None = None,
) -> Iterator[list[pa.Table]]:
    """Yield ranges of keys in order, each as one table per source, in the order of sources; some of them are empty.

    Each source is sorted by its keys; a key may come several times in it. All rows of a key are in one range. Of all
    sources together about `held_bytes` are held, and of each at least one of its batches: they should be small enough.
    With a pool sources are read side by side.
    """
    heads = [_Head(iter(source), keys) for source in sources]
    empty = schema.empty_table()
    while True:
        left = [head for head in heads if not head.is_done]
        fills = [partial(head.fill, held_bytes // len(left)) for head in left]
        if pool is None:
            for fill in fills:
                fill()
        else:
            run_all(pool, fills)
        left = [head for head in left if not head.is_done]
        if not left:
            return
        open_ends = [head.last for head in left if not head.ended]
        bound = min(open_ends) if open_ends else None
        yield [empty if head.is_done else head.take(bound, schema) for head in heads]


class _Head:
    """The rows of one source that were read and not yet handed out."""

    def __init__(self, batches: Iterator[pa.RecordBatch], keys: Sequence[str]) -> None:
        self._batches = batches
        self._keys = keys
        self._held: list[pa.RecordBatch] = []
        self._bytes = 0
        self.ended = False

    @property
    def is_done(self) -> bool:
        """Whether nothing is held and nothing comes."""
        return self.ended and not self._held

    def fill(self, size_bytes: int) -> None:
        """Read on until about so much is held, and anything at all."""
        while not self.ended and (not self._held or self._bytes < size_bytes):
            batch = next(self._batches, None)
            if batch is None:
                self.ended = True
            elif batch.num_rows:
                self._held.append(batch)
                self._bytes += batch.nbytes

    @property
    def last(self) -> tuple[Any, ...]:
        """The greatest key that is held."""
        batch = self._held[-1]
        return row_key(self._columns(batch), batch.num_rows - 1)

    def take(self, bound: tuple[Any, ...] | None, schema: pa.Schema) -> pa.Table:
        """Take out the rows of keys up to `bound`, all of them that the source has; all that is held for None."""
        taken: list[pa.RecordBatch] = []
        while self._held or (bound is not None and self._more()):
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
        self._bytes = sum(batch.nbytes for batch in self._held)
        return pa.Table.from_batches(taken, schema)

    def _more(self) -> bool:
        self.fill(0)
        return bool(self._held)

    def _columns(self, batch: pa.RecordBatch) -> list[pa.Array]:
        return [one_array(batch.column(name)) for name in self._keys]

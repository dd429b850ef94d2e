"""Sorted runs merged in bounded memory: range of keys by range of keys."""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor
from functools import partial
from typing import TypeAlias

import pyarrow as pa

from hosu.tables.merging.begun import Begun
from hosu.tables.merging.fold import fold
from hosu.tables.merging.ranges import key_ranges
from hosu.tables.merging.spec import MergeSpec

Source: TypeAlias = Callable[[], Iterator[pa.RecordBatch]]
"""Opens a run: batches in the order of the key."""

_BATCH_ROWS = 1 << 16


def merge_stream(
    sources: Sequence[Source],
    schema: pa.Schema,
    spec: MergeSpec,
    *,
    held_bytes: int,
    keep_deletes: bool,
    sorted_output: bool = True,
    pool: Executor | None = None,
) -> Iterator[pa.RecordBatch]:
    """Merge sorted runs, the oldest first, into batches in the order of the key, one row per key.

    Of all runs about `held_bytes` are held that were read; merging takes about four times as much beside them. Every
    run is open from the first batch to its end. Without `sorted_output` only ranges of keys come in order, and rows
    within one in any, which costs less. With a pool runs are read side by side, and a range is merged while the next
    one is read.
    """

    def folded(tables: Sequence[pa.Table]) -> pa.Table:
        parts = [table for table in tables if table.num_rows]
        return fold(parts, spec, keep_deletes=keep_deletes, sorted_output=sorted_output)

    ranges = key_ranges([source() for source in sources], schema, spec.keys, held_bytes=held_bytes, pool=pool)
    if pool is None:
        for parts in ranges:
            yield from folded(parts).to_batches(max_chunksize=_BATCH_ROWS)
        return
    merging: Begun[pa.Table] | None = None
    for parts in ranges:
        done, merging = merging, Begun(pool, partial(folded, parts))
        if done is not None:
            yield from done.result().to_batches(max_chunksize=_BATCH_ROWS)
    if merging is not None:
        yield from merging.result().to_batches(max_chunksize=_BATCH_ROWS)

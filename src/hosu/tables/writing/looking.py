"""What is in a table already, as those verbs see it that depend on it."""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from hosu.tables.predicates import Always, Compare, Predicate, bounds_of_row, conjunction, split
from hosu.tables.reading.rows import SplitReader
from hosu.tables.reading.splits import plan
from hosu.tables.rows import decode_serialised
from hosu.tables.writing.resequencing import check_current

if TYPE_CHECKING:
    from hosu.tables.context import TableContext
    from hosu.tables.records import Snapshot

Mask: TypeAlias = npt.NDArray[np.bool_]

_UNPACKED = 8
"""How much larger rows are than their file, at most, in what follows."""

_READER_SHARE = 4
"""The part of the memory allowed that goes to reading; most of it is the writer's."""

_POSITION = "\0position"
"""A column that no table has."""


def partition_may_match(ctx: "TableContext", where: Predicate | None, partition: bytes) -> bool:
    """Whether a partition, as manifests have it, may hold rows that match."""
    fields = ctx.schema.partition_fields
    inside, _ = split(where, [field.name for field in fields])
    if inside is None:
        return not isinstance(where, Always) or where.truth
    values = decode_serialised(partition, [field.type for field in fields], raw=True)
    return inside.may_match(bounds_of_row(fields, values))


def positions_where(rows: pa.Table, where: Predicate | None) -> npt.NDArray[np.int64]:
    """Return the positions of the rows that match; of all of them for None."""
    count = rows.num_rows
    if where is None:
        return np.arange(count)
    numbered = rows.select(sorted(where.columns)).append_column(_POSITION, pa.array(np.arange(count)))
    found: npt.NDArray[np.int64] = numbered.filter(where.to_arrow()).column(_POSITION).to_numpy()
    return found


def range_of(keys: pa.Table, names: Sequence[str]) -> Predicate | None:
    """Return the range that holds keys, column by column; None when it says nothing."""
    parts: list[Predicate] = []
    for name in names:
        column = keys.column(name)
        if pa.types.is_nested(column.type) or pa.types.is_boolean(column.type) or not keys.num_rows:
            continue
        if pa.types.is_floating(column.type) and pc.any(pc.is_nan(column)).as_py():
            continue
        ends: dict[str, Any] = pc.min_max(column)
        parts += [Compare(name, ">=", ends["min"]), Compare(name, "<=", ends["max"])]
    return conjunction(parts) if parts else None


def _seeing_all(ctx: "TableContext") -> "TableContext":
    """Return a table with its level 0 in view, which readers of deletion vectors pass over until it is compacted.

    What changes rows must not miss those that are committed already.
    """
    if not (ctx.schema.is_primary_key_table and ctx.options.deletion_vectors):
        return ctx
    return ctx.with_schema(ctx.schema, ctx.options.merged({"deletion-vectors.merge-on-read": "true"}))


def rows_where(ctx: "TableContext", snapshot: "Snapshot | None", where: Predicate | None) -> Iterator[pa.Table]:
    """Yield the rows of a snapshot that match, with all columns, no more of them at once than memory is allowed for."""
    if snapshot is None:
        return
    check_current(ctx, snapshot)
    ctx = _seeing_all(ctx)
    reader = SplitReader(ctx, ctx.schema.names, where)
    for part in plan(ctx, snapshot, where):
        if sum(file.file_size for file in part.files) * _UNPACKED <= ctx.memory_bytes:
            yield reader.table(part)
        else:
            for batch in reader.batches(part, ctx.memory_bytes // _READER_SHARE):
                yield pa.Table.from_batches([batch])

"""Which partition and bucket each row goes to, by the column."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from hosu.tables.records import Partition
from hosu.tables.rows import encode_serialised

if TYPE_CHECKING:
    from hosu.tables.context import TableContext

Ints: TypeAlias = npt.NDArray[Any]
"""Whole numbers of one width or another."""

_CODE_MAX = 1 << 62

_SHORT = 1 << 16
"""Numbers below this sort by radix as uint16, in a fifth of the time."""


@dataclass(frozen=True)
class Part:
    """Rows of one partition among those that came in."""

    partition: Partition
    key: bytes
    """The partition as manifests have it."""

    rows: Ints | None
    """Which of the rows are its own, in their order; None: all of them."""


@dataclass(frozen=True)
class Share:
    """Rows of one bucket among those that came in."""

    part: Part
    bucket: int
    rows: Ints | None
    """Which of the rows are its own, in their order; None: all of them."""

    count: int


def array_of(column: pa.ChunkedArray) -> pa.Array:
    """Return a column as one array."""
    return column.chunk(0) if column.num_chunks == 1 else column.combine_chunks()


def taken(table: pa.Table, rows: Ints | None) -> pa.Table:
    """Return the rows of a table at positions; all of them for None."""
    return table if rows is None else table.take(pa.array(rows))


def partition_key(ctx: "TableContext", partition: Partition) -> bytes:
    """Return a partition as manifests have it."""
    return encode_serialised(partition, [field.type for field in ctx.schema.partition_fields])


def parts(ctx: "TableContext", table: pa.Table) -> list[Part]:
    """Split rows by partition, in the order in which partitions first come."""
    keys = ctx.schema.partition_keys
    if not keys:
        return [Part((), partition_key(ctx, ()), None)] if table.num_rows else []
    if not table.num_rows:
        return []
    codes = np.zeros(table.num_rows, np.int64)
    codes_below = 1
    for name in keys:
        encoded = pc.dictionary_encode(array_of(table.column(name)), null_encoding="encode")
        span = max(len(encoded.dictionary), 1)
        if codes_below * span > _CODE_MAX:
            codes = np.unique(codes, return_inverse=True)[1]
            codes_below = int(codes.max()) + 1
        codes = codes * span + np.asarray(encoded.indices)
        codes_below *= span
    found = []
    for rows in _grouped(codes):
        partition = tuple(table.column(name)[int(rows[0])].as_py() for name in keys)
        found.append(Part(partition, partition_key(ctx, partition), None if len(rows) == table.num_rows else rows))
    return sorted(found, key=lambda part: 0 if part.rows is None else int(part.rows[0]))


def shares(table: pa.Table, split: Sequence[Part], bucket_of: Callable[[pa.Table, Part], Ints]) -> list[Share]:
    """Split the rows of partitions further, by bucket."""
    found = []
    for part in split:
        numbers = bucket_of(taken(table, part.rows), part)
        count = len(numbers)
        if count == 0:
            continue
        if (numbers == numbers[0]).all():
            found.append(Share(part, int(numbers[0]), part.rows, count))
            continue
        for rows in _grouped(numbers):
            own = rows if part.rows is None else part.rows[rows]
            found.append(Share(part, int(numbers[rows[0]]), own, len(own)))
    return found


def _grouped(codes: Ints) -> list[Ints]:
    """Return the positions of each of the codes, which are not negative, in the order of codes."""
    if codes.size == 0:
        return []
    short = codes.astype(np.uint16) if int(codes.max()) < _SHORT else codes
    order = np.argsort(short, kind="stable")
    starts = np.flatnonzero(np.diff(short[order])) + 1
    return np.split(order, starts)

"""Which rows of two tables have the same key, and the same values: whole columns at a time."""

from collections.abc import Sequence
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

Positions: TypeAlias = npt.NDArray[np.int64]

_LEFT, _RIGHT = "\0left", "\0right"
"""Names of columns that no table has."""


def match(left: pa.Table, right: pa.Table, keys: Sequence[str]) -> Positions:
    """Return for each row of left the position in right of the row of its key, or -1.

    A key is in right once. Floats are equal when their bits are, as Paimon has it.
    """
    found = np.full(left.num_rows, -1, np.int64)
    if not left.num_rows or not right.num_rows:
        return found
    sides = [
        table.select(list(keys)).append_column(name, pa.array(np.arange(table.num_rows, dtype=np.int64)))
        for table, name in ((left, _LEFT), (right, _RIGHT))
    ]
    if left.num_rows < right.num_rows:  # the second one is hashed
        sides.reverse()
    pairs = sides[0].join(sides[1], list(keys), join_type="inner")
    found[pairs[_LEFT].to_numpy()] = pairs[_RIGHT].to_numpy()
    return found


def is_in(left: pa.Table, right: pa.Table, keys: Sequence[str]) -> npt.NDArray[np.bool_]:
    """Say of each row of left whether right has a row, or several, of its key."""
    found = np.zeros(left.num_rows, np.bool_)
    if left.num_rows and right.num_rows:
        column = pa.array(np.arange(left.num_rows, dtype=np.int64))
        side = left.select(list(keys)).append_column(_LEFT, column)
        found[side.join(right.select(list(keys)), list(keys), join_type="left semi")[_LEFT].to_numpy()] = True
    return found


def same_values(left: pa.Table, right: pa.Table, columns: Sequence[str]) -> npt.NDArray[np.bool_]:
    """Say of each row whether both tables, which are as long as each other, hold the same in these columns."""
    same = np.ones(left.num_rows, np.bool_)
    for name in columns:
        candidates = np.flatnonzero(same)
        if not len(candidates):
            break
        same[candidates] = _same(_column(left, name).take(candidates), _column(right, name).take(candidates))
    return same


def _column(table: pa.Table, name: str) -> pa.Array:
    return table[name].combine_chunks() if table.num_rows else pa.array([], table.schema.field(name).type)


def _same(left: pa.Array, right: pa.Array) -> npt.NDArray[np.bool_]:
    kind = left.type
    if pa.types.is_nested(kind):
        pairs = zip(left.to_pylist(), right.to_pylist(), strict=True)
        return np.fromiter((_same_value(one, other) for one, other in pairs), np.bool_, len(left))
    if pa.types.is_floating(kind):  # NaN is equal to itself, and -0.0 to 0.0 it is not
        width = pa.int32() if kind == pa.float32() else pa.int64()
        left, right = _bits(left, width), _bits(right, width)
    equal = pc.equal(left, right).fill_null(False)  # noqa: FBT003 - it takes no name
    both_null = pc.and_(pc.is_null(left), pc.is_null(right))
    result: npt.NDArray[np.bool_] = pc.or_(equal, both_null).to_numpy(zero_copy_only=False)
    return result


def _bits(values: pa.Array, width: pa.DataType) -> pa.Array:
    quiet = pc.if_else(pc.is_nan(values), pa.scalar(float("nan"), values.type), values)
    return quiet.view(width)


def _same_value(one: Any, other: Any) -> bool:  # noqa: ANN401 - a value of any type
    if isinstance(one, float) and isinstance(other, float):
        return one == other or (one != one and other != other)  # noqa: PLR0124 - NaN
    if isinstance(one, list | tuple) and isinstance(other, list | tuple):
        return len(one) == len(other) and all(map(_same_value, one, other))
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(_same_value(one[name], other[name]) for name in one)
    return bool(one == other)

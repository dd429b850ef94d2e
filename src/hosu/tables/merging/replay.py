"""Columns worked out row by row: for functions and mixtures of rows that have no form by the column."""

from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from hosu.kernel.errors import ErrorKind, InvalidInputError, UnsupportedError
from hosu.tables.merging.accumulators import Accumulator, accumulator_of
from hosu.tables.merging.keys import Mask, ranks_of
from hosu.tables.merging.operations import Operation, Operations
from hosu.tables.merging.retracting import no_way_back
from hosu.tables.merging.segments import Segments, take_or_null
from hosu.tables.merging.spec import Aggregator

_PICKING = frozenset(
    {"first_non_null_value", "first_not_null_value", "first_value", "last_non_null_value", "max", "min"}
)


def replay(
    name: str, aggregator: Aggregator, column: pa.Array, operations: Operations, segments: Segments, keys: Mask
) -> pa.Array:
    """Return a column's value for each of the keys that the mask has. ROWS_INVALID, UNSUPPORTED name the column."""
    rows = segments.rows_of(keys)
    picking = aggregator.name in _PICKING
    values = _positions(aggregator, column, rows) if picking else column.take(pa.array(rows)).to_pylist()
    steps = operations[rows].tolist()
    lengths = (segments.ends - segments.starts)[keys].tolist()
    fold = accumulator_of(aggregator, column.type)
    results = []
    at = 0
    for length in lengths:
        results.append(_run(name, fold, values[at : at + length], steps[at : at + length]))
        at += length
    if picking:
        return take_or_null(column, np.array([-1 if found is None else found[1] for found in results], np.int64))
    return _array(name, results, column.type)


def _positions(aggregator: Aggregator, column: pa.Array, rows: npt.NDArray[np.int64]) -> list[Any]:
    """Return rows as pairs of a rank and a position, None for NULL: to pick among values of any type."""
    valid = column.is_valid().to_numpy(zero_copy_only=False)[rows].tolist()
    ranks = ranks_of(column)[rows].tolist() if aggregator.name in {"max", "min"} else [0] * len(rows)
    pairs = zip(valid, ranks, rows.tolist(), strict=True)
    return [(rank, row) if present else None for present, rank, row in pairs]


def _run(name: str, fold: Accumulator, values: list[Any], steps: list[int]) -> Any:  # noqa: ANN401 - of the column's type
    fold.reset()
    result: Any = None
    for value, step in zip(values, steps, strict=True):
        if step == Operation.AGGREGATE:
            result = fold.aggregate(result, value)
        elif step == Operation.REVERSED:
            result = fold.aggregate_reversed(result, value)
        elif step == Operation.RETRACT:
            result = _retract(name, fold, result, value)
        elif step == Operation.SET:
            result = value
        elif step == Operation.SET_RETRACT:
            result = _retract(name, fold, value, value)
    return result


def _retract(name: str, fold: Accumulator, result: Any, value: Any) -> Any:  # noqa: ANN401 - of the column's type
    try:
        return fold.retract(result, value)
    except NotImplementedError:
        raise UnsupportedError(ErrorKind.UNSUPPORTED, no_way_back(fold.name, name)) from None


def _array(name: str, results: list[Any], kind: pa.DataType) -> pa.Array:
    try:
        return pa.array(results, kind)
    except (pa.ArrowInvalid, OverflowError) as error:
        raise InvalidInputError(
            ErrorKind.ROWS_INVALID,
            f"column {name!r} of type {kind} does not hold what its values come to: widen its type",
        ) from error

"""The functions of columns, by the column: what the values of each key come to."""

from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from hosu.tables.merging.keys import Mask, ranks_of
from hosu.tables.merging.numbers import total
from hosu.tables.merging.operations import Operation, Operations
from hosu.tables.merging.replay import replay
from hosu.tables.merging.segments import Segments, take_or_null
from hosu.tables.merging.spec import Aggregator

Fast: TypeAlias = Callable[[pa.Array, Mask, Segments, Aggregator], pa.Array]
"""From a column, the rows that count, and the keys: the value of each key, where all rows are aggregated in turn."""

_COMMUTATIVE = frozenset({"bool_and", "bool_or", "collect", "max", "min", "product", "sum"})
"""Functions for which it does not matter which of two rows is the older."""

_IN_TURN = frozenset({"first_value", "last_non_null_value", "listagg"})
"""Functions for which an older row that comes later is as one that came first."""

_OUT_OF_TURN = (Operation.RETRACT, Operation.SET, Operation.SET_RETRACT)


def evaluate(
    name: str, aggregator: Aggregator, column: pa.Array, operations: Operations, segments: Segments
) -> pa.Array:
    """Return the value of a column for each key, from what each of the key's rows does to it."""
    if aggregator.name in {"last_value", "primary-key"}:
        return _last_value(aggregator, column, operations, segments)
    if aggregator.name == "sum" and not np.isin(operations, (Operation.SET, Operation.SET_RETRACT)).any():
        summed = total(name, column, operations, segments)
        if summed is not None:
            return summed
    fast = _fast_of(aggregator)
    if fast is None:
        return replay(name, aggregator, column, operations, segments, np.ones(segments.groups, np.bool_))
    # Java's function that ignores what is taken back turns its arguments around where `collect` itself does not.
    turns = aggregator.name in _IN_TURN or (aggregator.name == "collect" and aggregator.ignore_retract)
    # A blank text is nothing to `listagg` when it comes last, but stays when it is turned to the front.
    turns = turns and not (aggregator.name == "listagg" and pc.any(_blank(column)).as_py())
    if aggregator.name in _COMMUTATIVE and not turns:
        hard = ~np.isin(operations, (Operation.SKIP, Operation.AGGREGATE, Operation.REVERSED))
    else:
        hard = ~np.isin(operations, (Operation.SKIP, Operation.AGGREGATE))
        if aggregator.name == "last_non_null_value":
            hard = operations == Operation.REVERSED
        if turns and not np.isin(operations, _OUT_OF_TURN).any():
            column, operations = _in_turn(column, operations, segments)
            hard = np.zeros(segments.count, np.bool_)
    return _mixed(name, aggregator, fast, column, operations, segments, segments.any(hard))


def _mixed(
    name: str,
    aggregator: Aggregator,
    fast: Fast,
    column: pa.Array,
    operations: Operations,
    segments: Segments,
    hard: Mask,
) -> pa.Array:
    """Evaluate by the column, but key by key where that is not the same."""
    if hard.all():
        return replay(name, aggregator, column, operations, segments, hard)
    if aggregator.name == "last_non_null_value":
        easy = _last_non_null(column, operations, segments)
    else:
        counts = np.isin(operations, (Operation.AGGREGATE, Operation.REVERSED))
        easy = fast(column, counts, segments, aggregator)
    if not hard.any():
        return easy
    index = np.arange(segments.groups)
    index[hard] = segments.groups + np.arange(int(hard.sum()))
    replayed = replay(name, aggregator, column, operations, segments, hard)
    return pa.concat_arrays([easy, replayed]).take(pa.array(index))


def _in_turn(column: pa.Array, operations: Operations, segments: Segments) -> tuple[pa.Array, Operations]:
    """Put rows that are older than what came before in front, so that all are aggregated in turn."""
    if not (operations == Operation.REVERSED).any():
        return column, operations
    at = np.arange(segments.count)
    order = np.lexsort([np.where(operations == Operation.REVERSED, -at - 1, at), segments.ids])
    moved = operations[order]
    moved[moved == Operation.REVERSED] = Operation.AGGREGATE
    return column.take(pa.array(order)), moved


def _present(column: pa.Array) -> Mask:
    valid: Mask = column.is_valid().to_numpy(zero_copy_only=False)
    return valid


def _last_value(aggregator: Aggregator, column: pa.Array, operations: Operations, segments: Segments) -> pa.Array:
    acts = (operations != Operation.SKIP) & (operations != Operation.REVERSED)
    rows = segments.last_where(acts)
    if aggregator.name == "last_value":
        taken = np.isin(operations, (Operation.RETRACT, Operation.SET_RETRACT))
        rows = np.where((rows >= 0) & taken[rows], -1, rows)
    return take_or_null(column, rows)


def _last_non_null(column: pa.Array, operations: Operations, segments: Segments) -> pa.Array:
    sets = np.isin(operations, (Operation.SET, Operation.SET_RETRACT))
    acts = sets | ((operations != Operation.SKIP) & _present(column))
    rows = segments.last_where(acts)
    taken = np.isin(operations, (Operation.RETRACT, Operation.SET_RETRACT))
    return take_or_null(column, np.where((rows >= 0) & taken[rows], -1, rows))


def _last_present(column: pa.Array, counts: Mask, segments: Segments, _aggregator: Aggregator) -> pa.Array:
    return take_or_null(column, segments.last_where(counts & _present(column)))


def _first(column: pa.Array, counts: Mask, segments: Segments, _aggregator: Aggregator) -> pa.Array:
    return take_or_null(column, segments.first_where(counts))


def _first_present(column: pa.Array, counts: Mask, segments: Segments, _aggregator: Aggregator) -> pa.Array:
    return take_or_null(column, segments.first_where(counts & _present(column)))


def _extreme(column: pa.Array, counts: Mask, segments: Segments, aggregator: Aggregator) -> pa.Array:
    ranks = ranks_of(column)
    counts = counts & _present(column)
    if aggregator.name == "max":
        best = np.maximum.reduceat(np.where(counts, ranks, np.uint64(0)), segments.starts)
    else:
        best = np.minimum.reduceat(np.where(counts, ranks, ~np.uint64(0)), segments.starts)
    return take_or_null(column, segments.last_where(counts & (ranks == segments.spread(best))))


def _boolean(column: pa.Array, counts: Mask, segments: Segments, aggregator: Aggregator) -> pa.Array:
    counts = counts & _present(column)
    values = column.fill_null(False).to_numpy(zero_copy_only=False)  # noqa: FBT003 - what stands for NULL
    if aggregator.name == "bool_and":
        found: npt.NDArray[Any] = np.logical_and.reduceat(values | ~counts, segments.starts)
    else:
        found = np.logical_or.reduceat(values & counts, segments.starts)
    return pa.array(found, mask=~segments.any(counts))


def _blank(column: pa.Array) -> pa.Array:
    return pc.equal(pc.utf8_trim_whitespace(column), "")


def _listagg(column: pa.Array, counts: Mask, segments: Segments, aggregator: Aggregator) -> pa.Array:
    blank = _blank(column).fill_null(True).to_numpy(zero_copy_only=False)  # noqa: FBT003 - what stands for NULL
    counts = counts & ~blank
    sizes = np.add.reduceat(counts.astype(np.int32), segments.starts)
    offsets = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int32)
    kept = column.filter(pa.array(counts)).cast(pa.string())
    texts = pa.ListArray.from_arrays(pa.array(offsets), kept)
    joined = pc.binary_join(texts, aggregator.delimiter).cast(column.type)
    return pc.if_else(pa.array(sizes > 0), joined, pa.scalar(None, column.type))


def _collect(column: pa.Array, counts: Mask, segments: Segments, _aggregator: Aggregator) -> pa.Array:
    counts = counts & _present(column)
    lengths = np.where(counts, pc.list_value_length(column).fill_null(0).to_numpy(zero_copy_only=False), 0)
    sizes = np.add.reduceat(lengths, segments.starts)
    offsets = pa.array(np.concatenate([[0], np.cumsum(sizes)]).astype(np.int32))
    values = column.filter(pa.array(counts)).flatten()
    return pa.ListArray.from_arrays(offsets, values, type=column.type, mask=pa.array(~segments.any(counts)))


_FAST: dict[str, Fast] = {
    "bool_and": _boolean,
    "bool_or": _boolean,
    "first_non_null_value": _first_present,
    "first_not_null_value": _first_present,
    "first_value": _first,
    "last_non_null_value": _last_present,
    "max": _extreme,
    "min": _extreme,
}


def _fast_of(aggregator: Aggregator) -> Fast | None:
    if aggregator.name == "listagg" and not aggregator.distinct:
        return _listagg
    if aggregator.name == "collect" and not aggregator.distinct:
        return _collect
    return _FAST.get(aggregator.name)

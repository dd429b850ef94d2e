"""Sequence groups of partial-update tables: columns that follow an order of their own."""

from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from hosu.tables.merging.grouping import Kinds, retracts
from hosu.tables.merging.keys import Mask, Positions, codes_of, one_array, repeats
from hosu.tables.merging.operations import Operation, Operations
from hosu.tables.merging.segments import Segments
from hosu.tables.merging.spec import LAST, LAST_NON_NULL, Aggregator, MergeSpec, SequenceGroup
from hosu.tables.merging.steps import Steps, filled, without_retracts
from hosu.tables.records import RowKind


@dataclass
class _Group:
    """One sequence group over the rows at hand."""

    group: SequenceGroup
    ranks: Positions
    """Of each row: its place among all rows, by key and then by the group's sequence."""

    empty: Mask
    """Rows whose sequence fields are all NULL: they say nothing about the group."""

    ordering: Operations
    """What rows do to the sequence fields."""

    plain: Operations
    """What rows do to a protected column without a function."""

    aggregated: Operations
    """What rows do to a protected column with a function."""


def grouped_steps(rows: pa.Table, kinds: Kinds, segments: Segments, spec: MergeSpec) -> Steps:
    """Work out what each row does, by the running maximum of each group's sequence."""
    gone = retracts(kinds)
    leading = np.zeros(segments.count, np.bool_)
    leading[segments.starts] = gone[segments.starts]
    ignored = gone if spec.ignore_delete else np.zeros(segments.count, np.bool_)
    present = set(rows.column_names)
    groups = [_group(rows, group, segments) for group in spec.groups if present.issuperset(group.fields)]
    for group in groups:
        _follow(group, gone, leading, ignored)
    others = np.where(gone, np.int8(Operation.SKIP), np.int8(Operation.AGGREGATE))
    others[leading] = Operation.SET
    results = np.where(segments.any(~gone), np.int8(RowKind.INSERT), np.int8(RowKind.DELETE))
    if spec.removing:
        removable = segments.any(kinds == RowKind.DELETE)
        for key in np.flatnonzero(removable):
            rows_of_key = range(int(segments.starts[key]), int(segments.ends[key]))
            results[key] = _replay_key(rows_of_key, kinds, groups, others, spec)
    newest = segments.ends - 1
    if spec.ignore_delete:
        inserts = segments.last_where(~gone)
        newest = np.where(inserts < 0, newest, inserts)
    owners = {name: group for group in groups for name in (*group.group.protected, *group.group.fields)}
    ordering = {name for group in groups for name in group.group.fields}

    def of(name: str) -> tuple[Aggregator, Operations]:
        group = owners.get(name)
        if group is None:
            return LAST_NON_NULL, others
        if name in ordering:
            return LAST, group.ordering
        aggregator = spec.aggregators.get(name)
        if aggregator is None:
            return LAST, group.plain
        return aggregator, without_retracts(group.aggregated) if aggregator.ignore_retract else group.aggregated

    return Steps(of, results, newest)


def _group(rows: pa.Table, group: SequenceGroup, segments: Segments) -> _Group:
    columns = [one_array(rows.column(name)) for name in group.fields]
    empty = np.ones(segments.count, np.bool_)
    for column in columns:
        empty &= column.is_null().to_numpy(zero_copy_only=False)
    codes = [segments.ids.astype(np.uint64), *codes_of(columns)]
    order = np.lexsort(codes[::-1])
    ranks = np.empty(segments.count, np.int64)
    ranks[order] = np.cumsum(np.concatenate([[True], ~repeats(codes, order)]))
    nothing = filled(segments.count, Operation.SKIP)
    return _Group(group, ranks, empty, nothing, nothing.copy(), nothing.copy())


def _follow(group: _Group, gone: Mask, leading: Mask, ignored: Mask) -> None:
    """Fill in what rows do where no row is removed as a whole."""
    takes_part = ~group.empty & (~ignored | leading)
    ranks = np.where(takes_part, group.ranks, -1)
    before = np.concatenate([[-1], np.maximum.accumulate(ranks)[:-1]])
    newer = takes_part & (ranks >= before)
    older = takes_part & ~newer
    group.ordering[newer] = Operation.AGGREGATE
    group.plain[newer] = Operation.AGGREGATE
    group.aggregated[newer] = Operation.AGGREGATE
    group.aggregated[older] = Operation.REVERSED
    taken_back = gone & takes_part & ~ignored
    group.plain[taken_back & newer] = Operation.RETRACT
    group.aggregated[taken_back] = Operation.RETRACT
    group.ordering[leading] = Operation.SET
    for operations in (group.plain, group.aggregated):
        operations[leading] = Operation.SET
        operations[leading & taken_back] = Operation.SET_RETRACT


def _replay_key(rows: range, kinds: Kinds, groups: list[_Group], others: Operations, spec: MergeSpec) -> RowKind:
    """Go through the rows of a key one by one, since one of them may remove the whole row and begin anew."""
    states: list[int] = [-1] * len(groups)
    inserted = deleted = False
    for row in rows:
        ranks = [-1 if group.empty[row] else int(group.ranks[row]) for group in groups]
        newer = [rank >= 0 and rank >= state for rank, state in zip(ranks, states, strict=True)]
        leading = row == rows.start and bool(kinds[row] & 1)
        deleted = kinds[row] == RowKind.DELETE and any(
            (is_newer or (leading and rank >= 0)) and spec.removing.intersection(group.group.fields)
            for group, is_newer, rank in zip(groups, newer, ranks, strict=True)
        )
        if deleted:
            others[row] = Operation.SET
            for group in groups:
                group.ordering[row] = group.plain[row] = group.aggregated[row] = Operation.SET
            states = ranks
            continue
        inserted = inserted or not kinds[row] & 1
        for index, group in enumerate(groups):
            if not leading:
                _set_row(group, row, retract=bool(kinds[row] & 1), newer=newer[index], empty=ranks[index] < 0)
            if newer[index] or leading:
                states[index] = ranks[index]
    return RowKind.DELETE if deleted or not inserted else RowKind.INSERT


def _set_row(group: _Group, row: int, *, retract: bool, newer: bool, empty: bool) -> None:
    group.ordering[row] = Operation.AGGREGATE if newer else Operation.SKIP
    if empty:
        group.plain[row] = group.aggregated[row] = Operation.SKIP
    elif retract:
        group.plain[row] = Operation.RETRACT if newer else Operation.SKIP
        group.aggregated[row] = Operation.RETRACT
    else:
        group.plain[row] = Operation.AGGREGATE if newer else Operation.SKIP
        group.aggregated[row] = Operation.AGGREGATE if newer else Operation.REVERSED

"""One row per key: runs of a primary-key table folded into one, by the column."""

from collections.abc import Sequence

import numpy as np
import pyarrow as pa

from hosu.kernel.errors import ErrorKind, InvalidInputError
from hosu.tables.merging.engines import merge_groups
from hosu.tables.merging.grouping import Groups, group_rows, kinds_of, retracts
from hosu.tables.merging.keys import Mask, Positions
from hosu.tables.merging.segments import Segments
from hosu.tables.merging.spec import MergeSpec
from hosu.tables.options import MergeEngine


def sort_run(table: pa.Table, spec: MergeSpec) -> pa.Table:
    """Sort rows by key, then by the table's sequence fields, then by sequence number. All rows stay."""
    groups = group_rows(table, spec)
    if (groups.order[1:] >= groups.order[:-1]).all():
        return table
    return table.take(pa.array(groups.order))


def fold(
    runs: Sequence[pa.Table], spec: MergeSpec, *, keep_deletes: bool, sorted_output: bool, merges_lone: bool = False
) -> pa.Table:
    """Merge runs, the oldest first, into one row per key, the way the table's merge engine says.

    Runs have the same columns: those of the key, of sequences, and the system columns; any others may be left out. They
    need not be sorted, but are merged faster when they are. Rows that only say that a key is gone are left out unless
    `keep_deletes`. Without `sorted_output` rows come in any order, which costs less. A row that is alone stays as it
    is, unless `merges_lone` has engines that make new rows make one of it too. ROWS_INVALID: a row that the engine
    cannot take, or a sum that its type cannot hold.
    """
    table = pa.concat_tables(runs)
    if not table.num_rows:
        return table
    groups = group_rows(table, spec)
    if spec.picks:
        return _picked(table, groups, spec, keep_deletes=keep_deletes, sorted_output=sorted_output)
    if merges_lone:
        merged = merge_groups(_take(table, groups.order), Segments.of(groups.firsts), spec)
        return merged if keep_deletes else _without_deletes(merged)
    return _merged(table, groups, spec, keep_deletes=keep_deletes, sorted_output=sorted_output)


def _without_deletes(table: pa.Table) -> pa.Table:
    gone = retracts(kinds_of(table))
    return table.filter(pa.array(~gone)) if gone.any() else table


def picked_positions(heads: pa.Table, spec: MergeSpec, *, keep_deletes: bool) -> Positions:
    """Return which rows `fold` keeps, sorted by key, for an engine that picks one row of each key.

    `heads` are the columns that decide: those of the key, of sequences, and the system columns.
    """
    return _chosen(heads, group_rows(heads, spec), spec, keep_deletes=keep_deletes)


def _picked(table: pa.Table, groups: Groups, spec: MergeSpec, *, keep_deletes: bool, sorted_output: bool) -> pa.Table:
    rows = _chosen(table, groups, spec, keep_deletes=keep_deletes)
    return _rows(table, rows, sorted_output=sorted_output)


def _chosen(table: pa.Table, groups: Groups, spec: MergeSpec, *, keep_deletes: bool) -> Positions:
    """Choose one row of each key."""
    kinds = kinds_of(table)
    gone = retracts(kinds)
    chosen = groups.firsts if spec.engine is MergeEngine.FIRST_ROW else groups.lasts
    if gone.any():
        chosen = _among_inserts(groups, gone, chosen, spec)
    rows = groups.order[chosen]
    if not keep_deletes and gone.any():
        rows = rows[~gone[rows]]
    return rows


def _among_inserts(groups: Groups, gone: Mask, chosen: Mask, spec: MergeSpec) -> Mask:
    """Choose again where retracting rows do not count, or must not be there."""
    if spec.engine is MergeEngine.DEDUPLICATE and not spec.ignore_delete:
        return chosen
    shared = groups.shared
    ignored = gone[groups.order] & shared
    if not ignored.any():
        return chosen
    if not spec.ignore_delete:
        raise InvalidInputError(
            ErrorKind.ROWS_INVALID,
            "merge engine first-row takes no -U and -D rows: leave them out, or set the table's option ignore-delete "
            "to true",
        )
    segments = Segments.of(groups.firsts)
    first = spec.engine is MergeEngine.FIRST_ROW
    slots = segments.first_where(~ignored) if first else segments.last_where(~ignored)
    result = np.zeros(len(chosen), np.bool_)
    result[slots[slots >= 0]] = True
    return result


def _rows(table: pa.Table, rows: Positions, *, sorted_output: bool) -> pa.Table:
    """Return rows of a table, in the given order or in any."""
    if len(rows) == table.num_rows and (not sorted_output or (rows[1:] > rows[:-1]).all()):
        return table
    if sorted_output:
        return _take(table, rows)
    mask = np.zeros(table.num_rows, np.bool_)
    mask[rows] = True
    return table.filter(pa.array(mask))


def _take(table: pa.Table, rows: Positions) -> pa.Table:
    # Taking from one chunk is several times faster than from many.
    return table.combine_chunks().take(pa.array(rows))


def _merged(table: pa.Table, groups: Groups, spec: MergeSpec, *, keep_deletes: bool, sorted_output: bool) -> pa.Table:
    """Merge the rows of keys that have several; a row that is alone stays as it is."""
    shared = groups.shared
    singles = groups.order[~shared]
    if not shared.any():
        lone = _rows(table, singles, sorted_output=sorted_output)
        return lone if keep_deletes else _without_deletes(lone)
    firsts = groups.firsts
    several = _take(table, groups.order[shared])
    merged = merge_groups(several, Segments.of(firsts[shared]), spec)
    if not sorted_output:
        result = pa.concat_tables([_rows(table, singles, sorted_output=False), merged])
        return result if keep_deletes else _without_deletes(result)
    alone = (~shared)[firsts]
    index = np.empty(len(alone), np.int64)
    index[alone] = singles
    index[~alone] = table.num_rows + np.arange(merged.num_rows)
    result = _take(pa.concat_tables([table, merged]), index)
    return result if keep_deletes else _without_deletes(result)

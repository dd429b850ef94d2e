"""The changelog of a compaction: what became of each key, from its rows before and after."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from hosu.tables.compaction.matching import match, same_values
from hosu.tables.records import SEQUENCE_NUMBER, VALUE_KIND, RowKind

if TYPE_CHECKING:
    import numpy.typing as npt


def changelog(before: pa.Table, after: pa.Table, keys: Sequence[str], compared: Sequence[str] | None) -> pa.Table:
    """Return the changelog that leads from `before` to `after`: +I, -U and +U, or -D, in the order of `after`.

    Both are runs with one row per key; `after` has every key whose row may have changed, those that are deleted as
    rows of that kind. A retract in `before` is no row. With `compared`, rows that hold the same in these columns
    before and after have no changelog; without, each row that was there and still is has -U and +U.
    """
    before = before.filter(pa.array(_is_add(before)))
    position = match(after, before, keys)
    was, is_there = position >= 0, _is_add(after)
    inserted = np.flatnonzero(~was & is_there)
    deleted = np.flatnonzero(was & ~is_there)
    updated = np.flatnonzero(was & is_there)
    if compared is not None and len(updated):
        older, newer = before.take(pa.array(position[updated])), after.take(pa.array(updated))
        updated = updated[~same_values(older, newer, compared)]
    parts = [
        (after, inserted, RowKind.INSERT, 2 * inserted),
        (before, position[deleted], RowKind.DELETE, 2 * deleted),
        (before, position[updated], RowKind.UPDATE_BEFORE, 2 * updated),
        (after, updated, RowKind.UPDATE_AFTER, 2 * updated + 1),
    ]
    rows = pa.concat_tables([_of_kind(table.take(pa.array(taken)), kind) for table, taken, kind, _ in parts])
    places = np.concatenate([place for *_, place in parts])
    return rows.take(pa.array(np.argsort(places, kind="stable")))


def _is_add(run: pa.Table) -> "npt.NDArray[np.bool_]":
    kinds = run[VALUE_KIND].to_numpy()
    is_add: npt.NDArray[np.bool_] = (kinds == RowKind.INSERT) | (kinds == RowKind.UPDATE_AFTER)
    return is_add


def adds_only(run: pa.Table) -> pa.Table:
    """Return the rows of a run that are no retracts."""
    is_add = _is_add(run)
    return run if is_add.all() else run.filter(pa.array(is_add))


def _of_kind(run: pa.Table, kind: RowKind) -> pa.Table:
    kinds = pa.array(np.full(run.num_rows, kind, np.int8))
    return run.set_column(run.schema.get_field_index(VALUE_KIND), run.schema.field(VALUE_KIND), kinds)


def value_columns(run_columns: Sequence[str], ignored: Sequence[str] = ()) -> list[str]:
    """Return the columns of a run that `changelog-producer.row-deduplicate` compares."""
    return [name for name in run_columns if name not in {SEQUENCE_NUMBER, VALUE_KIND, *ignored}]

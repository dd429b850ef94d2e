"""A few newer rows laid over many older ones: the large run is looked up in, and neither sorted nor folded.

Most reads find one large run, which compactions made, and small ones that came since. What of the large run has a key
of theirs is found by searching for those keys in it; all else of it stays as it is, in slices where that can be.
"""

from collections.abc import Sequence

import numpy as np
import pyarrow as pa

from hosu.tables.merging.fold import fold
from hosu.tables.merging.grouping import kinds_of, retracts
from hosu.tables.merging.keys import Codes, Mask, Positions, codes_of, one_array, row_key, sorted_positions, upper_bound
from hosu.tables.merging.spec import MergeSpec
from hosu.tables.options import MergeEngine
from hosu.tables.records import SEQUENCE_NUMBER, VALUE_KIND, RowKind

SLICE_ROWS_MIN = 2048
"""Stretches of this many rows without a gap are handed out as they are; what lies between is copied."""


def newest_wins(spec: MergeSpec) -> bool:
    """Whether of a key a row of a newer run replaces what an older one has, whatever the two of them hold."""
    return spec.engine is MergeEngine.DEDUPLICATE and not spec.sequence_fields and not spec.ignore_delete


class Overlay:
    """Rows of newer runs, to be laid over those of one older run.

    `replaces` says that `newest_wins`, and that every sequence number of the newer runs is above those of the older
    one: then nothing of the older row of a key counts. Rows of the older run may lack the system columns when they are
    all inserts, and when their sequence numbers are below those of the newer ones.
    """

    def __init__(self, newer: Sequence[pa.Table], spec: MergeSpec, *, replaces: bool) -> None:
        self._spec = spec
        self._replaces = replaces
        if replaces:
            rows = fold(newer, spec, keep_deletes=True, sorted_output=True)
        else:
            rows = pa.concat_tables(newer)
            order = sorted_positions(codes_of([rows.column(name) for name in spec.keys]))
            rows = rows.take(pa.array(order))
        self._newer = rows.combine_chunks()
        self._keys = [one_array(self._newer.column(name)) for name in spec.keys]
        self._met = np.zeros(rows.num_rows, np.bool_)
        """Which newer rows have been merged with an older one."""
        self._passed = 0
        """How many newer rows have keys that cannot come any more."""

    def over(self, older: pa.Table, *, is_last: bool = False) -> pa.Table:
        """Return what becomes of rows of the older run: the next ones of it in the order of the key.

        `is_last` says that no others come; then these may be in any order. Rows that were alone in a newer run come
        with `rest`.
        """
        if not older.num_rows:
            return without_deletes(older)
        end = len(self._met)
        if not is_last:
            last = older.slice(older.num_rows - 1)
            columns = [key.slice(self._passed) for key in self._keys]
            found = upper_bound(columns, row_key([one_array(last.column(name)) for name in self._spec.keys], 0))
            end = self._passed + found
        begin, self._passed = self._passed, end
        if begin == end:
            return without_deletes(older)
        places, met = self._found(older, begin, end)
        if not len(places):
            return without_deletes(older)
        kept = without_deletes(_without(older, places))
        if self._replaces:
            return kept
        self._met[begin:end] = met
        touched = _with_system(older.take(pa.array(places)), self._newer.schema)
        newer = self._newer.slice(begin, end - begin).filter(pa.array(met))
        merged = fold([touched, newer], self._spec, keep_deletes=False, sorted_output=False)
        return pa.concat_tables([kept, merged.select(kept.column_names)])

    def rest(self) -> pa.Table:
        """Return what becomes of newer rows that no older row has met."""
        if self._replaces:
            return without_deletes(self._newer)
        alone = self._newer.filter(pa.array(~self._met))
        return fold([alone], self._spec, keep_deletes=False, sorted_output=False)

    def _found(self, older: pa.Table, begin: int, end: int) -> tuple[Positions, Mask]:
        """Return the places of older rows that some newer ones have the key of, and which newer ones those are."""
        count = older.num_rows
        together = [
            pa.chunked_array([*older.column(name).chunks, key.slice(begin, end - begin)])
            for name, key in zip(self._spec.keys, self._keys, strict=True)
        ]
        codes = codes_of(together)
        sought = [code[count:] for code in codes]
        within = [code[:count] for code in codes]
        order = None
        if not _rises(within):
            order = sorted_positions(within)
            within = [code[order] for code in within]
        places, met = search(within, sought)
        return (places if order is None else np.sort(order[places])), met


def search(within: Sequence[Codes], sought: Sequence[Codes]) -> tuple[Positions, Mask]:
    """Find keys among those of sorted rows. Return the places of rows that have one, and which keys were found."""
    first, *others = within
    low = np.searchsorted(first, sought[0])
    if not others and not (first[1:] == first[:-1]).any():
        met = first[np.minimum(low, len(first) - 1)] == sought[0]
        places = low[met]
        return (places if (places[1:] > places[:-1]).all() else np.unique(places)), met
    high = np.searchsorted(first, sought[0], "right")
    for code, values in zip(others, sought[1:], strict=True):
        low, high = _bound(code, values, low, high, right=False), _bound(code, values, low, high, right=True)
    met = high > low
    edges = np.zeros(len(first) + 1, np.int64)
    np.add.at(edges, low[met], 1)
    np.add.at(edges, high[met], -1)
    return np.flatnonzero(np.cumsum(edges[:-1])), met


def _bound(code: Codes, values: Codes, low: Positions, high: Positions, *, right: bool) -> Positions:
    """Return where each value would be put within rows `low` to `high` of a code, which are sorted there."""
    low, high = low.copy(), high.copy()
    while (is_open := low < high).any():
        middle = (low + high) // 2
        there = code[np.minimum(middle, len(code) - 1)]
        goes_on = is_open & ((there <= values) if right else (there < values))
        low = np.where(goes_on, middle + 1, low)
        high = np.where(is_open & ~goes_on, middle, high)
    return low


def _rises(codes: Sequence[Codes]) -> bool:
    """Whether rows are sorted by their codes."""
    ties: Mask | None = None
    for code in codes:
        falls = code[1:] < code[:-1]
        if (falls if ties is None else falls & ties).any():
            return False
        if len(codes) > 1:
            same = code[1:] == code[:-1]
            ties = same if ties is None else ties & same
    return True


def without_deletes(rows: pa.Table) -> pa.Table:
    """Return rows without those that only say that a key is gone; rows without kinds are all inserts."""
    if VALUE_KIND not in rows.column_names:
        return rows
    gone = retracts(kinds_of(rows))
    return rows.filter(pa.array(~gone)) if gone.any() else rows


def _without(rows: pa.Table, places: Positions) -> pa.Table:
    """Return rows but those at places, which rise: long stretches as slices, the rest filtered."""
    edges = np.concatenate([[-1], places, [rows.num_rows]])
    is_long = np.diff(edges) > SLICE_ROWS_MIN
    kept = np.ones(rows.num_rows, np.bool_)
    kept[places] = False
    parts = []
    begin = 0
    for gap in np.flatnonzero(is_long):
        start, stop = int(edges[gap]) + 1, int(edges[gap + 1])
        if start - 1 > begin:
            parts.append(rows.slice(begin, start - begin).filter(pa.array(kept[begin:start])))
        parts.append(rows.slice(start, stop - start))
        begin = stop
    if begin < rows.num_rows:
        parts.append(rows.slice(begin).filter(pa.array(kept[begin:])))
    return pa.concat_tables([part for part in parts if part.num_rows] or [rows.slice(0, 0)])


def _with_system(rows: pa.Table, schema: pa.Schema) -> pa.Table:
    """Return rows with the system columns, which they lack when they are inserts older than what they meet."""
    if VALUE_KIND not in rows.column_names:
        numbers = np.full(rows.num_rows, np.iinfo(np.int64).min)
        rows = rows.append_column(schema.field(SEQUENCE_NUMBER), pa.array(numbers, pa.int64()))
        kinds = np.full(rows.num_rows, RowKind.INSERT, np.int8)
        rows = rows.append_column(schema.field(VALUE_KIND), pa.array(kinds, pa.int8()))
    return rows.select(schema.names)

"""What a compaction makes of a range of keys: the rows it writes, and the changelog where one is due."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import Enum

import numpy as np
import pyarrow as pa

from hosu.tables.compaction.changelogs import adds_only, changelog, value_columns
from hosu.tables.compaction.lookups import Older
from hosu.tables.compaction.matching import Positions, is_in
from hosu.tables.merging.fold import fold
from hosu.tables.merging.spec import MergeEngine, MergeSpec
from hosu.tables.options import ChangelogProducer, Options
from hosu.tables.records import VALUE_KIND, RowKind


class Producing(Enum):
    """How a table's compactions come by older rows."""

    PLAIN = "none"
    FULL = "full-compaction"
    """The rows of the top level are the older ones."""

    LOOKUP = "lookup"
    """Rows of higher levels are looked up for those of level 0: for a changelog, deletion vectors, or a merge engine
    whose rows hold all that came before."""

    FIRST_ROW = "first-row"
    """Keys of higher levels are looked up: rows of theirs are dropped."""


def producing_of(options: Options) -> Producing:
    """Return how the compactions of a table come by older rows."""
    if options.changelog_producer is ChangelogProducer.FULL_COMPACTION:
        return Producing.FULL
    if not options.needs_lookup:
        return Producing.PLAIN
    return Producing.FIRST_ROW if options.merge_engine == MergeEngine.FIRST_ROW.value else Producing.LOOKUP


@dataclass
class Deletions:
    """Rows of higher levels that a compaction found to be outdated, by file."""

    places: dict[str, list[Positions]] = field(default_factory=dict)

    def add(self, places: dict[str, Positions]) -> None:
        """Add what a lookup found."""
        for name, positions in places.items():
            self.places.setdefault(name, []).append(positions)


@dataclass(frozen=True)
class Folding:
    """How to fold the runs of one bucket."""

    spec: MergeSpec
    producing: Producing
    makes_changelog: bool
    compared: tuple[str, ...] | None
    """Columns by which a row has changed at all; None when every update counts."""

    max_level: int
    older: Older | None = None
    deletions: Deletions | None = None
    """Where outdated rows of higher levels are noted; None without deletion vectors."""

    @property
    def needs_values(self) -> bool:
        """Whether the values of an older row say anything of what becomes of its key."""
        spec = self.spec
        is_latest = spec.engine is MergeEngine.DEDUPLICATE and not spec.sequence_fields and not spec.ignore_delete
        return self.makes_changelog or not is_latest

    def fold(self, runs: Sequence[tuple[int, pa.Table]], *, drops_deletes: bool) -> tuple[pa.Table, pa.Table | None]:
        """Fold a range of keys: (level, rows) of each run, the oldest first. Return a row per key, and a changelog.

        A changelog comes with rows that a table's `changelog-producer` makes one of, else it is None.
        """
        if self.producing is Producing.FULL and drops_deletes:
            return _with_top(self, runs)
        if self.producing is Producing.LOOKUP:
            return _with_lookup(self, runs, drops_deletes=drops_deletes)
        if self.producing is Producing.FIRST_ROW:
            return _first_rows(self, runs)
        return _plain(self, runs, drops_deletes=drops_deletes)


def folding_of(
    options: Options, spec: MergeSpec, columns: Sequence[str], *, max_level: int, older: Older, has_vectors: bool
) -> Folding:
    """Return how to fold the runs of a table's bucket."""
    producing = producing_of(options)
    compares = options.changelog_row_deduplicate
    return Folding(
        spec=spec,
        producing=producing,
        makes_changelog=options.changelog_producer in {ChangelogProducer.LOOKUP, ChangelogProducer.FULL_COMPACTION},
        compared=tuple(value_columns(columns, options.changelog_row_deduplicate_ignore_fields)) if compares else None,
        max_level=max_level,
        older=older,
        deletions=Deletions() if has_vectors else None,
    )


def _plain(
    how: Folding, runs: Sequence[tuple[int, pa.Table]], *, drops_deletes: bool
) -> tuple[pa.Table, pa.Table | None]:
    """Fold without looking at anything older."""
    tables = [table for _, table in runs if table.num_rows]
    if len(tables) == 1:
        return adds_only(tables[0]) if drops_deletes else tables[0], None
    return fold(tables, how.spec, keep_deletes=not drops_deletes, sorted_output=True), None


def _with_top(how: Folding, runs: Sequence[tuple[int, pa.Table]]) -> tuple[pa.Table, pa.Table | None]:
    """Fold all runs of a bucket, with a changelog of what this does to the top level."""
    tops = [table for level, table in runs if level == how.max_level and table.num_rows]
    others = [table for level, table in runs if level != how.max_level and table.num_rows]
    if not others:
        return adds_only(pa.concat_tables(tops)), None
    merged = _merge(how.spec, [*tops, *others])
    keys = how.spec.keys
    touched = merged if not tops else merged.filter(pa.array(is_in(merged, pa.concat_tables(others), keys)))
    before = pa.concat_tables(tops) if tops else merged.slice(0, 0)
    return adds_only(merged), changelog(before, touched, keys, how.compared)


def _with_lookup(
    how: Folding, runs: Sequence[tuple[int, pa.Table]], *, drops_deletes: bool
) -> tuple[pa.Table, pa.Table | None]:
    """Fold rows of level 0 onto the newest older row of their keys, wherever that is."""
    fresh = [table for level, table in runs if level == 0 and table.num_rows]
    older = newest_each(how.spec.keys, runs)
    keys = how.spec.keys
    looked_up = _look_up(how, fresh, older) if fresh else []
    # As in Java, which looks up and merges in one: a row that is alone is merged into nothing, and not as it was.
    merged = fold([*older, *looked_up, *fresh], how.spec, keep_deletes=True, sorted_output=True, merges_lone=True)
    said = None
    if how.makes_changelog and fresh:
        new = pa.concat_tables(fresh)
        touched = merged.filter(pa.array(is_in(merged, new, keys)))
        known = [*older, *looked_up]
        before = pa.concat_tables(known) if known else merged.slice(0, 0)
        said = changelog(before, touched, keys, how.compared)
    return adds_only(merged) if drops_deletes else merged, said


def _first_rows(how: Folding, runs: Sequence[tuple[int, pa.Table]]) -> tuple[pa.Table, pa.Table | None]:
    """Keep the first row of each key that no higher level has."""
    keys = how.spec.keys
    fresh = [table for level, table in runs if level == 0 and table.num_rows]
    older = [table for level, table in runs if level > 0 and table.num_rows]
    if not fresh:
        return pa.concat_tables(older) if len(older) == 1 else _merge(how.spec, older), None
    if how.older is not None and how.older.runs:
        found = how.older.find(fresh, with_values=False).rows
        if found.num_rows:
            fresh = [table.filter(pa.array(~is_in(table, found, keys))) for table in fresh]
            fresh = [table for table in fresh if table.num_rows]
    tables = [*older, *fresh]
    if not tables:
        return runs[0][1].slice(0, 0), None
    merged = adds_only(_merge(how.spec, tables))
    if not how.makes_changelog:
        return merged, None
    known = np.zeros(merged.num_rows, np.bool_)
    for table in older:
        known |= is_in(merged, table, keys)
    return merged, _as_inserts(merged.filter(pa.array(~known)))


def _merge(spec: MergeSpec, tables: Sequence[pa.Table]) -> pa.Table:
    return tables[0] if len(tables) == 1 else fold(tables, spec, keep_deletes=True, sorted_output=True)


def newest_each(keys: Sequence[str], runs: Sequence[tuple[int, pa.Table]]) -> list[pa.Table]:
    """Return what levels above 0 hold, the oldest first, of each key only its row in the lowest of them.

    In tables that look up older rows, that row holds all that came before it: what lies above must not count twice.
    """
    kept: list[pa.Table] = []
    for _, table in sorted((run for run in runs if run[0] > 0 and run[1].num_rows), key=lambda run: run[0]):
        rest = table
        for newer in kept:
            rest = rest.filter(pa.array(~is_in(rest, newer, keys)))
        if rest.num_rows:
            kept.append(rest)
    return kept[::-1]


def without_outdated(keys: Sequence[str], runs: Sequence[tuple[int, pa.Table]]) -> list[pa.Table]:
    """Return the rows that count where older rows are looked up: all of level 0, and `newest_each` of the others."""
    return [*newest_each(keys, runs), *(table for level, table in runs if level == 0 and table.num_rows)]


def _look_up(how: Folding, fresh: Sequence[pa.Table], older: Sequence[pa.Table]) -> list[pa.Table]:
    """Return the older rows of keys of level 0 that the runs being compacted do not have."""
    if how.older is None or not how.older.runs:
        return []
    wanted = list(fresh)
    for table in older:
        wanted = [rows.filter(pa.array(~is_in(rows, table, how.spec.keys))) for rows in wanted]
    found = how.older.find(wanted, with_values=how.needs_values)
    if how.deletions is not None:
        how.deletions.add(found.places)
    return [found.rows] if how.needs_values and found.rows.num_rows else []


def _as_inserts(rows: pa.Table) -> pa.Table:
    kinds = pa.array(np.full(rows.num_rows, RowKind.INSERT, np.int8))
    return rows.set_column(rows.schema.get_field_index(VALUE_KIND), rows.schema.field(VALUE_KIND), kinds)

"""Updates, deletes and inserts in one commit."""

import threading
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from tests.support.table_rows import MakeTable, changelog_of, rows_of, ticks

from hosu.kernel.errors import ErrorKind, InvalidInputError, UnsupportedError
from hosu.tables.context import TableContext
from hosu.tables.predicates import parse_where
from hosu.tables.records import Snapshot
from hosu.tables.snapshots import find
from hosu.tables.writing.looking import Mask
from hosu.tables.writing.merge import merge
from hosu.tables.writing.verbs import insert
from hosu.tables.writing.writer import TableWriter

THREE = [(1, 1.0, "a"), (2, 2.0, "b"), (3, 3.0, "c")]


@dataclass
class FromSource:
    """Updates rows to a source's notes, deletes those whose note there is NULL, and inserts the source's others."""

    source: dict[int, str | None]
    key_step: int = 0
    begun: int = 0
    seen: set[int] = field(default_factory=set)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def begin(self) -> None:
        self.begun += 1
        self.seen = set()

    def pick(self, rows: pa.Table) -> Mask:
        keys = rows.column("id").to_pylist()
        with self.lock:
            self.seen.update(key for key in keys if key in self.source)
        return np.array([key in self.source for key in keys], np.bool_)

    def remake(self, rows: pa.Table) -> pa.Table:
        notes = [self.source[key] for key in rows.column("id").to_pylist()]
        rows = rows.set_column(2, "note", pa.array(notes, pa.string()))
        rows = rows.set_column(0, "id", pc.add(rows.column("id"), self.key_step))
        return rows.filter(pc.is_valid(rows.column("note")))

    def inserts(self) -> pa.Table | None:
        new = [(key, 0.0, note) for key, note in self.source.items() if key not in self.seen and note is not None]
        return ticks(*new) if new else None


@pytest.fixture(params=["keys", "append", "vectors"])
def table(request: pytest.FixtureRequest, make: MakeTable) -> TableContext:
    options = {"deletion-vectors.enabled": "true"} if request.param == "vectors" else {}
    context = make(("id",) if request.param == "keys" else (), options=options)
    insert(context, ticks(*THREE))
    return context


def test_rows_are_updated_deleted_and_inserted_in_one_commit(table: TableContext) -> None:
    before = find.latest_id(table)
    done = merge(table, FromSource({2: "new", 3: None, 9: "fresh", 8: None}))
    assert done.rows == 3
    assert rows_of(table) == [(1, 1.0, "a"), (2, 2.0, "new"), (9, 0.0, "fresh")]
    assert before is not None
    assert find.latest_id(table) == before + 1


def test_only_rows_within_the_condition_are_looked_at(table: TableContext) -> None:
    merging = FromSource({1: "x", 2: "y"})
    merge(table, merging, parse_where("id >= 2", table.schema))
    assert merging.seen == {2}


def test_a_source_that_changes_nothing_commits_nothing(table: TableContext) -> None:
    done = merge(table, FromSource({}))
    assert (done.rows, done.snapshots) == (0, [])


def test_inserts_alone_fill_an_empty_table(make: MakeTable) -> None:
    for keys in (("id",), ()):
        context = make(keys)
        merge(context, FromSource({1: "a"}))
        assert rows_of(context) == [(1, 0.0, "a")]


def test_it_begins_anew_when_others_change_the_rows(table: TableContext, monkeypatch: pytest.MonkeyPatch) -> None:
    plain = TableWriter.rest

    def rest(self: TableWriter) -> Snapshot | None:
        found = plain(self)
        monkeypatch.setattr(TableWriter, "rest", plain)
        merge(table, FromSource({2: None, 5: "theirs"}))
        return found

    monkeypatch.setattr(TableWriter, "rest", rest)
    merging = FromSource({2: "mine", 5: "mine", 1: "mine"})
    merge(table, merging)
    assert merging.begun == 2
    assert rows_of(table) == [(1, 1.0, "mine"), (2, 0.0, "mine"), (3, 3.0, "c"), (5, 0.0, "mine")]


def test_two_merges_of_one_row_that_is_not_there_insert_it_once(table: TableContext) -> None:
    """Another merge commits its inserts between what this one has read and its commit."""

    @dataclass
    class Overtaken(FromSource):
        others: int = 1

        def inserts(self) -> pa.Table | None:
            new = super().inserts()
            if self.others:
                self.others -= 1
                merge(table, FromSource({9: "theirs"}))
            return new

    ours = Overtaken({9: "ours"})
    merge(table, ours)
    assert ours.begun == 2
    assert rows_of(table) == [*THREE, (9, 0.0, "ours")]


def test_the_changelog_of_input_says_all_of_it(make: MakeTable) -> None:
    context = make(options={"changelog-producer": "input"})
    insert(context, ticks(*THREE))
    merge(context, FromSource({2: "new", 3: None, 9: "fresh"}))
    assert changelog_of(context)[3:] == [
        ("-U", 2, 2.0, "b"),
        ("+U", 2, 2.0, "new"),
        ("-D", 3, 3.0, "c"),
        ("+I", 9, 0.0, "fresh"),
    ]


def test_an_update_that_changes_a_key_is_refused(make: MakeTable) -> None:
    context = make()
    insert(context, ticks(*THREE))
    with pytest.raises(InvalidInputError, match=r"key \(12,\)") as caught:
        merge(context, FromSource({2: "new"}, key_step=10))
    assert caught.value.kind is ErrorKind.COLUMN_INVALID
    assert rows_of(context) == THREE


def test_a_delete_that_the_merge_engine_cannot_do_is_refused(make: MakeTable) -> None:
    context = make(options={"merge-engine": "partial-update"})
    insert(context, ticks(*THREE))
    with pytest.raises(UnsupportedError, match="remove-record-on-delete"):
        merge(context, FromSource({1: "new", 2: None}))
    assert rows_of(context) == THREE

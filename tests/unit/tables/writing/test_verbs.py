"""Inserts, deletes, updates and overwrites: what each leaves in the table, and what is refused."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pytest
from tests.support.table_rows import MakeTable, changelog_of, latest_of, rows_of, ticks

from hosu.kernel.errors import ErrorKind, InvalidInputError, UnsupportedError
from hosu.kernel.fileio.memory import MemoryFileIO
from hosu.tables.compaction.compacting import compact
from hosu.tables.context import TableContext
from hosu.tables.files import read_file
from hosu.tables.manifests import index_entries, live_entries
from hosu.tables.pooling import run_all
from hosu.tables.predicates import Predicate, parse_where
from hosu.tables.records import CommitKind, Partition, Snapshot
from hosu.tables.snapshots import find
from hosu.tables.writing import rewriting
from hosu.tables.writing.verbs import Done, delete_keys, delete_where, insert, overwrite, update_where, upsert
from hosu.tables.writing.writer import TableWriter

DAYS = pa.schema([("day", pa.string()), ("id", pa.int64()), ("note", pa.string())])
THREE = [(1, 1.0, "a"), (2, 2.0, "b"), (3, 3.0, None)]


def where(context: TableContext, text: str) -> Predicate:
    return parse_where(text, context.schema)


def data_of(files: MemoryFileIO) -> set[str]:
    return {stat.key for stat in files.list() if "/bucket-" in stat.key}


def days(*rows: tuple[Any, ...]) -> pa.Table:
    columns = list(zip(*rows, strict=True)) or [(), (), ()]
    return pa.table(dict(zip(DAYS.names, map(list, columns), strict=True)), schema=DAYS)


@pytest.fixture(params=["keys", "append", "buckets", "vectors"])
def table(request: pytest.FixtureRequest, make: MakeTable) -> TableContext:
    options = {
        "keys": {},
        "append": {},
        "buckets": {"bucket": "2", "bucket-key": "id"},
        "vectors": {"deletion-vectors.enabled": "true"},
    }[request.param]
    context = make(("id",) if request.param == "keys" else (), options=options)
    insert(context, ticks(*THREE))
    return context


def test_rows_come_as_one_table_or_as_many(make: MakeTable) -> None:
    context = make(())
    done = insert(context, [ticks((1, 1.0, "a")), ticks((2, 2.0, "b"))])
    assert done.rows == 2
    assert len(done.snapshots) == 1
    assert rows_of(context) == [(1, 1.0, "a"), (2, 2.0, "b")]


def test_an_upsert_needs_a_key(make: MakeTable) -> None:
    with pytest.raises(InvalidInputError, match="append"):
        upsert(make(()), ticks())


def test_rows_that_match_are_deleted(table: TableContext) -> None:
    done = delete_where(table, where(table, "price >= 2 and note is not null"))
    assert done.rows == 1
    assert rows_of(table) == [(1, 1.0, "a"), (3, 3.0, None)]


def test_a_delete_that_matches_nothing_commits_nothing(table: TableContext) -> None:
    before = find.latest_id(table)
    done = delete_where(table, where(table, "price > 100"))
    assert (done.rows, done.snapshots) == (0, [])
    assert find.latest_id(table) == before


def test_a_delete_of_what_was_deleted_finds_nothing(table: TableContext) -> None:
    delete_where(table, where(table, "id = 2"))
    assert delete_where(table, where(table, "id = 2")).rows == 0
    assert delete_where(table, where(table, "id = 1")).rows == 1
    assert rows_of(table) == [(3, 3.0, None)]
    assert delete_where(table, where(table, "id > 0")).rows == 1
    assert rows_of(table) == []


def test_all_rows_are_deleted_at_once(table: TableContext) -> None:
    delete_where(table, None)
    assert rows_of(table) == []
    insert(table, ticks((9, 9.0, "z")))
    assert rows_of(table) == [(9, 9.0, "z")]


def test_rows_that_match_are_updated(table: TableContext) -> None:
    done = update_where(table, {"note": "x", "price": lambda rows: pc.add(rows["price"], 10)}, where(table, "id <> 2"))
    assert done.rows == 2
    assert rows_of(table) == [(1, 11.0, "x"), (2, 2.0, "b"), (3, 13.0, "x")]


def test_an_update_of_all_rows_by_a_function_of_rows(table: TableContext) -> None:
    update_where(table, lambda rows: rows.set_column(2, "note", pc.cast(rows["id"], pa.string())), None)
    assert rows_of(table) == [(1, 1.0, "1"), (2, 2.0, "2"), (3, 3.0, "3")]


def test_an_update_of_an_unknown_column_or_to_a_wrong_value_is_refused(table: TableContext) -> None:
    with pytest.raises(InvalidInputError, match="'nothing'"):
        update_where(table, {"nothing": 1}, None)
    with pytest.raises(InvalidInputError, match="'price'"):
        update_where(table, {"price": "dear"}, None)
    assert rows_of(table) == THREE


def test_deletion_vectors_mark_rows_and_leave_the_file(make: MakeTable) -> None:
    context = make((), options={"deletion-vectors.enabled": "true"})
    insert(context, ticks(*THREE))
    before = {entry.file.file_name for entry in live_entries(context, latest_of(context))}
    delete_where(context, where(context, "id = 2"))
    latest = latest_of(context)
    assert {entry.file.file_name for entry in live_entries(context, latest)} == before
    (index,) = index_entries(context, latest, "DELETION_VECTORS")
    assert [vector.data_file for vector in index.file.vectors or ()] == sorted(before)
    assert latest.commit_kind == CommitKind.OVERWRITE


def test_keys_are_deleted_whether_or_not_they_are_there(context: TableContext) -> None:
    insert(context, ticks(*THREE))
    delete_keys(context, pa.table({"id": [3, 7]}))
    assert rows_of(context) == THREE[:2]


@pytest.mark.parametrize(
    "options",
    [
        {"sequence.field": "price"},
        {"changelog-producer": "input"},
        {"changelog-producer": "input", "hosu.changelog-fill": "lookup"},
    ],
)
def test_keys_are_deleted_with_the_values_of_their_rows(make: MakeTable, options: dict[str, str]) -> None:
    context = make(options=options)
    insert(context, ticks(*THREE))
    delete_keys(context, pa.table({"id": [2, 7]}))
    assert rows_of(context) == [THREE[0], THREE[2]]
    if "changelog-producer" in options:
        assert changelog_of(context)[3:] == [("-D", *THREE[1])]


def test_keys_of_a_table_without_any_are_refused(make: MakeTable) -> None:
    with pytest.raises(InvalidInputError, match="no primary key"):
        delete_keys(make(()), pa.table({"id": [1]}))


def test_an_update_says_before_and_after_in_the_changelog_of_input(make: MakeTable) -> None:
    context = make(options={"changelog-producer": "input"})
    insert(context, ticks(*THREE[:2]))
    update_where(context, {"note": "x"}, None)
    assert changelog_of(context)[2:] == [
        ("-U", 1, 1.0, "a"),
        ("+U", 1, 1.0, "x"),
        ("-U", 2, 2.0, "b"),
        ("+U", 2, 2.0, "x"),
    ]
    assert rows_of(context) == [(1, 1.0, "x"), (2, 2.0, "x")]


def test_a_key_cannot_be_updated(context: TableContext) -> None:
    insert(context, ticks(*THREE))
    with pytest.raises(InvalidInputError, match="'id' is part of the key") as caught:
        update_where(context, {"id": 5}, None)
    assert caught.value.kind is ErrorKind.COLUMN_INVALID
    with pytest.raises(InvalidInputError, match="'id' is part of the key"):
        update_where(context, lambda rows: rows.set_column(0, "id", pc.add(rows["id"], 1)), None)
    assert rows_of(context) == THREE


@pytest.mark.parametrize(
    ("options", "allowed"),
    [
        ({"merge-engine": "first-row"}, set()),
        ({"merge-engine": "aggregation"}, set()),
        ({"merge-engine": "aggregation", "aggregation.remove-record-on-delete": "true"}, {"delete"}),
        ({"merge-engine": "partial-update"}, {"update"}),
        ({"merge-engine": "partial-update", "partial-update.remove-record-on-delete": "true"}, {"delete", "update"}),
        ({"ignore-delete": "true"}, {"update"}),
    ],
)
def test_merge_engines_that_cannot_are_refused_by_name(
    make: MakeTable, options: dict[str, str], allowed: set[str]
) -> None:
    context = make(options=options)
    insert(context, ticks(*THREE))
    verbs: list[tuple[str, Callable[[], Done]]] = [
        ("delete", lambda: delete_where(context, where(context, "id = 1"))),
        ("delete", lambda: delete_keys(context, pa.table({"id": [2]}))),
        ("update", lambda: update_where(context, {"note": "x"}, where(context, "id = 3"))),
    ]
    for name, verb in verbs:
        if name in allowed:
            verb()
        else:
            with pytest.raises(UnsupportedError, match=options.get("merge-engine", "ignore-delete")):
                verb()
    if options.get("merge-engine") == "first-row":
        return  # its rows are seen once they are compacted
    kept = [row for row in THREE if "delete" not in allowed or row[0] == 3]
    assert rows_of(context) == [(*row[:2], "x") if "update" in allowed and row[0] == 3 else row for row in kept]


def test_an_update_moves_rows_of_an_append_table_to_their_new_partition(make: MakeTable) -> None:
    context = make((), partitions=("day",), schema=DAYS)
    insert(context, days(("a", 1, "x"), ("a", 2, "x"), ("b", 3, "x")))
    update_where(context, {"day": "c"}, where(context, "id = 2"))
    assert rows_of(context) == [("a", 1, "x"), ("b", 3, "x"), ("c", 2, "x")]


def test_a_delete_reads_no_files_of_partitions_that_cannot_match(
    make: MakeTable, monkeypatch: pytest.MonkeyPatch
) -> None:
    context = make((), partitions=("day",), schema=DAYS)
    insert(context, days(("a", 1, "x"), ("b", 2, "x")))
    seen: list[Partition] = []

    def watched(*args: Any, **more: Any) -> pa.Table:
        seen.append(args[1])
        return read_file(*args, **more)

    monkeypatch.setattr(rewriting, "read_file", watched)
    delete_where(context, where(context, "day = 'a' and id > 0"))
    assert set(seen) == {("a",)}
    assert rows_of(context) == [("b", 2, "x")]


def test_files_too_large_for_the_memory_allowed_are_rewritten_in_parts(make: MakeTable) -> None:
    small = replace(make(()), memory_bytes=50_000)
    rows = [(n, float(n), "x" * 20) for n in range(20_000)]
    insert(small, ticks(*rows))
    assert update_where(small, {"note": "y"}, where(small, "id >= 19000")).rows == 1_000
    assert delete_where(small, where(small, "id < 1000")).rows == 1_000
    found = sorted(rows_of(small))
    assert found == [(n, float(n), "y" if n >= 19_000 else "x" * 20) for n in range(1_000, 20_000)]


@pytest.mark.parametrize("keys", [("day", "id"), ()])
def test_an_overwrite_replaces_the_partitions_of_its_rows(make: MakeTable, keys: tuple[str, ...]) -> None:
    context = make(keys, partitions=("day",), schema=DAYS)
    insert(context, days(("a", 1, "old"), ("a", 2, "old"), ("b", 1, "old")))
    overwrite(context, days(("a", 1, "new")))
    assert rows_of(context) == [("a", 1, "new"), ("b", 1, "old")]


def test_an_overwrite_of_a_partition_takes_its_rows_without_the_column(make: MakeTable) -> None:
    context = make(("day", "id"), partitions=("day",), schema=DAYS)
    insert(context, days(("a", 1, "old"), ("b", 1, "old")))
    overwrite(context, days(("a", 9, "new")).drop_columns(["day"]), partition={"day": "a"})
    assert rows_of(context) == [("a", 9, "new"), ("b", 1, "old")]
    overwrite(context, days(), partition={"day": "b"})
    assert rows_of(context) == [("a", 9, "new")]


def test_rows_outside_the_partition_being_overwritten_are_refused(make: MakeTable, files: MemoryFileIO) -> None:
    context = make(("day", "id"), partitions=("day",), schema=DAYS)
    insert(context, days(("a", 1, "old"), ("b", 1, "old")))
    before = data_of(files)
    with pytest.raises(InvalidInputError, match="'b'"):
        overwrite(context, days(("b", 1, "new")), partition={"day": "a"})
    with pytest.raises(InvalidInputError, match="'id' is no partition key"):
        overwrite(context, days(("b", 1, "new")), partition={"id": 1})
    assert rows_of(context) == [("a", 1, "old"), ("b", 1, "old")]
    assert data_of(files) == before


def test_an_overwrite_that_is_not_dynamic_replaces_the_table(make: MakeTable) -> None:
    context = make(("day", "id"), partitions=("day",), schema=DAYS)
    insert(context, days(("a", 1, "old"), ("b", 1, "old")))
    overwrite(context, days(("a", 2, "new")), dynamic=False)
    assert rows_of(context) == [("a", 2, "new")]


def test_an_overwrite_begins_the_dynamic_buckets_anew(make: MakeTable) -> None:
    context = make(options={"bucket": "-1", "dynamic-bucket.target-row-num": "2"})
    insert(context, ticks(*[(n, 1.0, "old") for n in range(6)]))
    overwrite(context, ticks((5, 1.0, "new"), (7, 1.0, "new"), (8, 1.0, "new")))
    assert rows_of(context) == [(5, 1.0, "new"), (7, 1.0, "new"), (8, 1.0, "new")]
    entries = index_entries(context, latest_of(context), "HASH")
    assert sorted((entry.bucket, entry.file.row_count) for entry in entries) == [(0, 2), (1, 1)]
    insert(context, ticks((5, 2.0, "newer")))
    assert rows_of(context)[0] == (5, 2.0, "newer")


@pytest.mark.parametrize("verb", ["delete", "update"])
def test_what_rests_on_rows_is_done_over_when_others_change_them(
    table: TableContext, monkeypatch: pytest.MonkeyPatch, verb: str
) -> None:
    plain = TableWriter.rest
    interfering = [True]

    def rest(self: TableWriter) -> Snapshot | None:
        found = plain(self)
        if interfering:
            interfering.clear()
            monkeypatch.setattr(TableWriter, "rest", plain)
            if table.schema.is_primary_key_table:
                insert(table, ticks((2, 50.0, "theirs")))
            else:
                update_where(table, {"price": 50.0, "note": "theirs"}, where(table, "id = 2"))
        return found

    monkeypatch.setattr(TableWriter, "rest", rest)
    if verb == "delete":
        assert delete_where(table, where(table, "price < 10 and id <= 2")).rows == 1
        assert rows_of(table) == [(2, 50.0, "theirs"), THREE[2]]
    else:
        update_where(table, {"price": lambda rows: pc.add(rows["price"], 1)}, where(table, "id = 2"))
        assert rows_of(table) == [THREE[0], (2, 51.0, "theirs"), THREE[2]]


def test_an_overwrite_takes_out_files_of_which_rows_were_marked_as_deleted(make: MakeTable) -> None:
    context = make((), options={"deletion-vectors.enabled": "true"})
    insert(context, ticks(*THREE))
    delete_where(context, where(context, "id = 2"))
    overwrite(context, ticks((9, 9.0, "z")))
    assert rows_of(context) == [(9, 9.0, "z")]
    assert index_entries(context, latest_of(context)) == []


def test_a_delete_by_key_finds_its_row_where_the_key_does_not_say_the_partition(make: MakeTable) -> None:
    context = make(("id",), partitions=("day",), schema=DAYS)
    insert(context, days(("monday", 1, "a"), ("tuesday", 2, "b")))
    assert delete_keys(context, pa.table({"id": [1]})).rows == 1
    assert rows_of(context) == [("tuesday", 2, "b")]


def test_updates_and_deletes_see_rows_that_readers_of_vectors_do_not_see_yet(make: MakeTable) -> None:
    context = make(options={"deletion-vectors.enabled": "true", "write-only": "true"})
    insert(context, ticks(*THREE))
    assert delete_where(context, where(context, "id = 1")).rows == 1
    assert update_where(context, {"note": "new"}, where(context, "id >= 2")).rows == 2
    compact(context, full=True)
    assert rows_of(context) == [(2, 2.0, "new"), (3, 3.0, "new")]


@pytest.mark.parametrize(
    ("assign", "word"),
    [
        ({}, "needs a column"),
        ({"price": lambda _rows: pa.array([1.0, 2.0])}, "2 new values for 3 rows"),
        (lambda rows: rows.slice(1), "2 new values for 3 rows"),
        (lambda _rows: 5, "returned a int"),
    ],
)
def test_new_values_that_do_not_go_with_the_rows_are_refused(context: TableContext, assign: Any, word: str) -> None:
    insert(context, ticks(*THREE))
    with pytest.raises(InvalidInputError, match=word):
        update_where(context, assign, None)
    assert rows_of(context) == THREE


@pytest.mark.parametrize("kind", [1.5, None, True])
def test_what_is_of_no_kind_is_named(context: TableContext, kind: Any) -> None:
    rows = ticks((1, 1.0, "a")).append_column("_ROW_KIND", pa.array([kind]))
    with pytest.raises(InvalidInputError, match=r"row 0: .* is no kind of row"):
        insert(context, rows)


@pytest.mark.parametrize("options", [{}, {"deletion-vectors.enabled": "true"}])
def test_an_update_holds_no_more_files_at_once_than_memory_is_allowed_for(
    make: MakeTable, monkeypatch: pytest.MonkeyPatch, options: dict[str, str]
) -> None:
    context = make((), options={"write-only": "true", **options})
    for number in range(7):
        insert(context, ticks((number, 1.0, "old")))
    sizes = [entry.file.file_size for entry in live_entries(context, latest_of(context))]
    groups = []

    def counted(pool: Any, tasks: Any) -> Any:
        groups.append(len(tasks))
        return run_all(pool, tasks)

    monkeypatch.setattr(rewriting, "run_all", counted)
    small = replace(context, memory_bytes=8 * (2 * max(sizes) + 1))
    assert update_where(small, {"note": "new"}, None).rows == 7
    assert groups == [2, 2, 2], "and the last file alone"
    assert rows_of(context) == [(number, 1.0, "new") for number in range(7)]

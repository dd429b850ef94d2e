"""A write that stops at any of its steps leaves the rows as they were before, or as they are after."""

from collections.abc import Callable
from contextlib import suppress
from typing import Any, TypeVar

import pytest
from tests.support.steps import SteppedFileIO, Stop
from tests.support.table_rows import TICKS, changelog_of, rows_of, ticks

from hosu.kernel.errors import ErrorKind, HosuError, PreconditionFailedError, UnavailableError
from hosu.kernel.fileio import FileIO, FileStat, MemoryFileIO
from hosu.tables.catalog import Catalog
from hosu.tables.commit import UncertainCommitError, publishing
from hosu.tables.context import TableContext
from hosu.tables.predicates import parse_where
from hosu.tables.snapshots import find
from hosu.tables.writing.verbs import delete_where, insert, overwrite, update_where
from hosu.tables.writing.writer import TableWriter
from hosu.testing.faulty_disk import SimulatedCrash
from hosu.testing.manual_clock import ManualClock

OLD = [(number, float(number), "old") for number in range(6)]
NEW = [(number, 0.0, "new") for number in range(3, 9)]
Verb = Callable[[TableContext], Any]
Files = TypeVar("Files", bound=SteppedFileIO)


def _insert(ctx: TableContext) -> None:
    insert(ctx, ticks(*NEW))


def _delete(ctx: TableContext) -> None:
    delete_where(ctx, parse_where("id = 2 or id = 4", ctx.schema))


def _update(ctx: TableContext) -> None:
    update_where(ctx, {"note": "changed"}, parse_where("id >= 3", ctx.schema))


def _overwrite(ctx: TableContext) -> None:
    overwrite(ctx, ticks(*NEW))


CASES: dict[str, tuple[Verb, tuple[str, ...], dict[str, str]]] = {
    "upsert": (_insert, ("id",), {"bucket": "2"}),
    "upsert with a changelog": (_insert, ("id",), {"bucket": "1", "changelog-producer": "input"}),
    "upsert with a filled changelog": (
        _insert,
        ("id",),
        {"bucket": "1", "changelog-producer": "input", "hosu.changelog-fill": "lookup"},
    ),
    "upsert into dynamic buckets": (_insert, ("id",), {"bucket": "-1", "dynamic-bucket.target-row-num": "4"}),
    "append": (_insert, (), {"bucket": "-1"}),
    "delete by key": (_delete, ("id",), {"bucket": "2"}),
    "delete by rewriting": (_delete, (), {"bucket": "-1"}),
    "delete by marking": (_delete, (), {"bucket": "-1", "deletion-vectors.enabled": "true"}),
    "update by key": (_update, ("id",), {"bucket": "1"}),
    "update by rewriting": (_update, (), {"bucket": "2", "bucket-key": "id"}),
    "update by marking": (_update, (), {"bucket": "-1", "deletion-vectors.enabled": "true"}),
    "overwrite": (_overwrite, ("id",), {"bucket": "-1", "dynamic-bucket.target-row-num": "4"}),
}


@pytest.fixture(autouse=True)
def _no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(publishing, "READ_BACK_PAUSE_S", 0)


def opened(files: SteppedFileIO) -> TableContext:
    """Open the table as another process would."""
    return Catalog(files, "w", clock=ManualClock()).open("d.t")


def made(keys: tuple[str, ...], options: dict[str, str]) -> tuple[SteppedFileIO, TableContext]:
    return made_on(SteppedFileIO(MemoryFileIO()), keys, options)


def made_on(files: Files, keys: tuple[str, ...], options: dict[str, str]) -> tuple[Files, TableContext]:
    catalog = Catalog(files, "w", clock=ManualClock())
    catalog.create_database("d")
    catalog.create_table("d.t", TICKS, primary_keys=keys, options={"write-only": "true", **options})
    ctx = catalog.open("d.t")
    insert(ctx, ticks(*OLD))
    find.settle(ctx)
    return files, ctx


def reached(name: str) -> tuple[list[tuple[Any, ...]], list[tuple[Any, ...]], int]:
    """Return the rows and the changelog that a case ends with when nothing stops it, and how many changes it makes."""
    verb, keys, options = CASES[name]
    files, ctx = made(keys, options)
    before = len(files.changes)
    verb(ctx)
    find.settle(ctx)
    return rows_of(ctx), changelog_of(ctx), len(files.changes) - before


@pytest.mark.parametrize("stop", list(Stop))
@pytest.mark.parametrize("name", CASES)
def test_a_write_stopped_at_any_step_is_whole_or_not_there(name: str, stop: Stop) -> None:
    verb, keys, options = CASES[name]
    rows, changelog, steps = reached(name)
    assert steps >= 5
    for number in range(1, steps + 2):
        files, ctx = made(keys, options)
        before = rows_of(ctx), changelog_of(ctx)
        files.stop_at(number, stop)
        completed = False
        try:
            verb(ctx)
            completed = True
        except (SimulatedCrash, HosuError):
            pass
        files.heal()

        after = opened(files)
        found = rows_of(after), changelog_of(after)
        assert found in {0: [before, (rows, changelog)], 1: [(rows, changelog)]}[completed], f"step {number}"

        # Another writer goes on, on top of whatever it finds.
        insert(after, ticks((100, 0.0, "theirs")))
        assert rows_of(opened(files)) == sorted([*found[0], (100, 0.0, "theirs")], key=repr)


@pytest.mark.parametrize("name", CASES)
def test_a_write_that_failed_is_done_again_without_doing_it_twice(name: str) -> None:
    verb, keys, options = CASES[name]
    rows, changelog, steps = reached(name)
    for number in range(1, steps + 1):
        files, ctx = made(keys, options)
        files.stop_at(number, Stop.REFUSED)
        try:
            verb(ctx)
        except HosuError:
            files.heal()
            assert rows_of(opened(files)) == sorted(OLD, key=repr), f"step {number}"
            verb(ctx)
        assert (rows_of(opened(files)), changelog_of(ctx)) == (rows, changelog), f"step {number}"


class LateFileIO(SteppedFileIO):
    """Answers that the put of a snapshot failed, and stores it when the next one is put: as a slow network does."""

    def __init__(self, files: FileIO) -> None:
        super().__init__(files)
        self.is_late = False
        self.under_way: list[tuple[str, bytes]] = []

    def _put(self, key: str, view: memoryview, *, if_absent: bool, if_match: str | None) -> FileStat:
        if "/snapshot/snapshot-" in key:
            if self.is_late:
                self.under_way.append((key, bytes(view)))
                raise UnavailableError(ErrorKind.STORE_UNAVAILABLE, "timed out")
            for late, data in self.under_way:
                with suppress(PreconditionFailedError):
                    self.files.put(late, data, if_absent=True)
            self.under_way.clear()
        return super()._put(key, view, if_absent=if_absent, if_match=if_match)


@pytest.mark.parametrize("others", [False, True])
@pytest.mark.parametrize("name", ["append", "upsert", "upsert into dynamic buckets"])
def test_a_commit_that_arrives_while_it_is_tried_again_counts_once(name: str, *, others: bool) -> None:
    _, keys, options = CASES[name]
    files, ctx = made_on(LateFileIO(MemoryFileIO()), keys, options)
    writer = TableWriter(ctx)
    writer.write(ticks(*NEW))
    files.is_late = True
    with pytest.raises(UncertainCommitError, match="nobody can say"):
        writer.commit()
    files.is_late = False
    expected = [*[row for row in OLD if not keys or row[0] < 3], *NEW]
    if others:  # who take its number, or make it arrive
        insert(opened(files), ticks((100, 0.0, "theirs")))
        expected.append((100, 0.0, "theirs"))
    writer.commit()
    writer.abort()
    assert rows_of(opened(files)) == sorted(expected, key=repr)
    writer.write(ticks((101, 0.0, "next")))
    assert writer.commit()


class FullFileIO(SteppedFileIO):
    """Has room for some puts more."""

    room = 1000

    def _put(self, key: str, view: memoryview, *, if_absent: bool, if_match: str | None) -> FileStat:
        self.room -= 1
        if self.room < 0:
            raise UnavailableError(ErrorKind.DISK_FULL, f"{key!r}: no space left: free some space and try again")
        return super()._put(key, view, if_absent=if_absent, if_match=if_match)


@pytest.mark.parametrize("name", CASES)
def test_a_full_disk_leaves_nothing_of_a_write(name: str) -> None:
    verb, keys, options = CASES[name]
    rows, _, steps = reached(name)
    for room in range(steps + 2):
        files, ctx = made_on(FullFileIO(MemoryFileIO()), keys, options)
        before = {stat.key for stat in files.list()}
        files.room = room
        failed = False
        try:
            verb(ctx)
        except UnavailableError as error:
            failed = error.kind is ErrorKind.DISK_FULL
        find.settle(ctx)
        if failed:
            assert {stat.key for stat in files.list()} == before, f"room for {room}"
            files.room = 1000
            verb(ctx)
        assert rows_of(opened(files)) == rows, f"room for {room}"


def test_a_commit_whose_answer_was_lost_counts_once_when_it_is_asked_for_again() -> None:
    _, keys, options = CASES["append"]
    steps = reached("append")[2]
    for number in range(1, steps + 1):
        files, ctx = made(keys, options)

        writer = TableWriter(ctx)
        writer.write(ticks(*NEW))
        writer.flush()
        files.stop_at(number, Stop.ANSWER_LOST, count=3)
        try:
            writer.commit(4)
        except HosuError:
            files.heal()
            writer.commit(4)
        writer.abort()
        files.heal()
        assert rows_of(opened(files)) == sorted([*OLD, *NEW], key=repr), f"step {number}"

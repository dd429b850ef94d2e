"""A commit that stops at any of its steps leaves the table as it was before, or as it is after."""

from collections.abc import Callable
from dataclasses import replace

import pytest
from tests.support.steps import SteppedFileIO, Stop
from tests.support.tables import change, data_file, open_context

from hosu.kernel.errors import HosuError
from hosu.kernel.fileio import MemoryFileIO
from hosu.tables.commit import commit, overwrite, publishing
from hosu.tables.context import TableContext
from hosu.tables.manifests import ManifestReader, index_entries, live_entries
from hosu.tables.options import Options
from hosu.tables.records import IndexFile, Snapshot
from hosu.tables.snapshots import find
from hosu.testing.faulty_disk import SimulatedCrash

Verb = Callable[[TableContext, Snapshot], list[Snapshot]]
State = tuple[frozenset[str], frozenset[str]]


def _append(ctx: TableContext, seen: Snapshot) -> list[Snapshot]:
    return commit(ctx, [change(ctx, data_file(ctx, file_name="new"))], identifier=9, check_from=seen)


def _append_with_changelog_and_index(ctx: TableContext, seen: Snapshot) -> list[Snapshot]:
    index = IndexFile(index_type="HASH", file_name="index", file_size=1, row_count=1)
    log = data_file(ctx, file_name="log")
    new = change(ctx, data_file(ctx, file_name="new"), changelog_files=[log], new_indexes=[index])
    return commit(ctx, [new], identifier=9, check_from=seen)


def _append_and_compact(ctx: TableContext, seen: Snapshot) -> list[Snapshot]:
    new, old = data_file(ctx, file_name="new"), live_entries(ctx, seen, partitions=[("a",)])
    merged = data_file(ctx, level=5, file_name="merged")
    gone = [*(entry.file for entry in old), new]
    return commit(ctx, [change(ctx, new, compact_before=gone, compact_after=[merged])], identifier=9, check_from=seen)


def _overwrite(ctx: TableContext, _: Snapshot) -> list[Snapshot]:
    return overwrite(ctx, [change(ctx, data_file(ctx, file_name="new"))], [("a",)], identifier=9)


def _merge_manifests(ctx: TableContext, seen: Snapshot) -> list[Snapshot]:
    options = Options({**ctx.options.raw, "manifest.merge-min-count": "2"}, has_primary_key=True)
    return _append(replace(ctx, options=options), seen)


def _merge_manifests_in_full(ctx: TableContext, seen: Snapshot) -> list[Snapshot]:
    raw = {**ctx.options.raw, "manifest.full-compaction-threshold-size": "1 b"}
    return _append(replace(ctx, options=Options(raw, has_primary_key=True)), seen)


VERBS: dict[str, Verb] = {
    "append": _append,
    "append with changelog and index": _append_with_changelog_and_index,
    "append and compact": _append_and_compact,
    "overwrite": _overwrite,
    "merge manifests": _merge_manifests,
    "merge manifests in full": _merge_manifests_in_full,
}


@pytest.fixture(autouse=True)
def _no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(publishing, "READ_BACK_PAUSE_S", 0)


def made_table() -> tuple[SteppedFileIO, TableContext, Snapshot]:
    files = SteppedFileIO(MemoryFileIO())
    ctx = open_context(files)
    seen = None
    for number, partition in enumerate("aab"):
        new = data_file(ctx, file_name=f"old-{number}")
        seen = commit(ctx, [change(ctx, new, partition=partition)], identifier=number, check_from=seen)[-1]
    assert seen is not None
    find.settle(ctx)
    return files, ctx, seen


def state(ctx: TableContext, snapshot: Snapshot) -> State:
    return (
        frozenset(entry.file.file_name for entry in live_entries(ctx, snapshot)),
        frozenset(entry.file.file_name for entry in index_entries(ctx, snapshot)),
    )


def check_whole(ctx: TableContext) -> None:
    """Read every metadata file that any snapshot leads to, past every cache."""
    ids = find.ids(ctx)
    assert ids == list(range(1, len(ids) + 1))
    for snapshot in find.snapshots(ctx):
        reader = ManifestReader(ctx)
        total = sum(entry.file.row_count for entry in live_entries(ctx, snapshot))
        assert snapshot.total_record_count == total
        for manifest in reader.changelog_manifests(snapshot):
            assert reader.entries(manifest.file_name)
        index_entries(ctx, snapshot)


def reached(verb: Verb) -> tuple[list[State], int]:
    """Return the states that a verb goes through when nothing stops it, and how many changes it makes."""
    files, ctx, seen = made_table()
    before = len(files.changes)
    made = verb(ctx, seen)
    find.settle(ctx)
    return [state(ctx, seen), *(state(ctx, snapshot) for snapshot in made)], len(files.changes) - before


@pytest.mark.parametrize("stop", list(Stop))
@pytest.mark.parametrize("name", VERBS)
def test_a_commit_stopped_at_any_step_is_whole_or_not_there(name: str, stop: Stop) -> None:
    verb = VERBS[name]
    states, steps = reached(verb)
    assert steps >= 5
    for number in range(1, steps + 2):
        files, ctx, seen = made_table()
        files.stop_at(number, stop)
        completed = False
        try:
            verb(ctx, seen)
            completed = True
        except (SimulatedCrash, HosuError):
            pass
        files.heal()

        after = open_context(files)
        check_whole(after)
        latest = find.latest(after)
        assert latest is not None
        found = state(after, latest)
        assert found in states, f"step {number}"
        if completed:
            assert found == states[-1], f"step {number}"

        # Another writer goes on, and so does the first one's user after a restart.
        theirs = data_file(after, file_name="theirs")
        made = commit(after, [change(after, theirs, partition="z")], identifier=1, check_from=latest)[-1]
        assert state(open_context(files), made)[0] == found[0] | {"theirs"}
        check_whole(open_context(files))


@pytest.mark.parametrize("stop", [Stop.REFUSED, Stop.ANSWER_LOST])
def test_a_store_that_fails_for_a_moment_costs_no_commit_its_file_twice(stop: Stop) -> None:
    _, steps = reached(_append)
    for number in range(1, steps + 1):
        files, ctx, seen = made_table()
        files.stop_at(number, stop)
        try:
            _append(ctx, seen)
        except HosuError:
            files.heal()
            assert find.latest_id(open_context(files)) == seen.id
            _append(ctx, seen)
        find.settle(ctx)
        latest = find.latest(open_context(files))
        assert latest is not None
        assert latest.id == seen.id + 1
        assert latest.delta_record_count == 10

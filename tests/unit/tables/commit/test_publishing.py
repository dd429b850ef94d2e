"""How a commit takes its number: races, lost answers, stores that are away, and what each leaves behind."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from tests.support.steps import SteppedFileIO, Stop
from tests.support.tables import change, data_file, open_context

from hosu.kernel.errors import ErrorKind, HosuError, UnavailableError, UnsupportedError
from hosu.kernel.fileio import FileStat, MemoryFileIO
from hosu.tables.commit import UncertainCommitError, commit, filter_committed, publishing
from hosu.tables.context import TableContext
from hosu.tables.manifests import ManifestReader, live_entries
from hosu.tables.options import Options
from hosu.tables.records import Snapshot
from hosu.tables.snapshots import find
from hosu.testing import manual_clock


@pytest.fixture(autouse=True)
def _no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(publishing, "READ_BACK_PAUSE_S", 0)


@pytest.fixture
def files() -> SteppedFileIO:
    return SteppedFileIO(MemoryFileIO())


@pytest.fixture
def ctx(files: SteppedFileIO) -> TableContext:
    return open_context(files)


@pytest.fixture
def seen(ctx: TableContext) -> Snapshot:
    made = commit(ctx, [change(ctx, data_file(ctx))], identifier=0, check_from=None)[-1]
    find.settle(ctx)
    return made


def manifests(ctx: TableContext) -> set[str]:
    return {entry.key for entry in ctx.files.list(ctx.layout.path + "/manifest/")}


def referenced(ctx: TableContext) -> set[str]:
    """Name every metadata file that a snapshot leads to."""
    reader = ManifestReader(open_context(ctx.files))
    found: set[str] = set()
    for snapshot in find.snapshots(ctx):
        found |= {snapshot.base_manifest_list, snapshot.delta_manifest_list}
        found |= {manifest.file_name for manifest in reader.data_manifests(snapshot)}
    return {ctx.layout.manifest(name) for name in found}


def intrude(ctx: TableContext, times: int, options: Options | None = None) -> Callable[[str], None]:
    """Return what commits through another context just before a snapshot is put, so many times."""
    other = open_context(ctx.files)
    if options is not None:
        other = replace(other, options=options)
    left = [times]
    busy = [False]

    def come_between(key: str) -> None:
        if "/snapshot/snapshot-" in key and left[0] and not busy[0]:
            left[0] -= 1
            busy[0] = True
            commit(other, [change(other, data_file(other))], identifier=left[0], check_from=find.latest(other))
            busy[0] = False

    return come_between


def test_the_slower_of_two_writers_takes_the_next_number(
    files: SteppedFileIO, ctx: TableContext, seen: Snapshot
) -> None:
    files.before_put = intrude(ctx, 3)
    made = commit(ctx, [change(ctx, data_file(ctx))], identifier=1, check_from=seen)[-1]
    assert made.id == 5
    assert made.total_record_count == 50
    assert len(live_entries(open_context(files), made)) == 5
    assert manifests(ctx) == referenced(ctx), "lists of lost attempts are deleted"


def test_what_was_made_for_the_changes_serves_every_attempt(
    files: SteppedFileIO, ctx: TableContext, seen: Snapshot
) -> None:
    files.before_put = intrude(ctx, 3)
    made = commit(ctx, [change(ctx, data_file(ctx))], identifier=1, check_from=seen)[-1]
    lists = [key for key in files.changes if made.delta_manifest_list in key]
    assert len(lists) == 1


def test_manifests_are_merged_once_for_all_attempts(files: SteppedFileIO, ctx: TableContext, seen: Snapshot) -> None:
    options = Options({**ctx.options.raw, "manifest.merge-min-count": "3"}, has_primary_key=True)
    for number in range(1, 3):
        seen = commit(ctx, [change(ctx, data_file(ctx))], identifier=number, check_from=seen)[-1]
    files.before_put = intrude(ctx, 2)
    made = commit(replace(ctx, options=options), [change(ctx, data_file(ctx))], identifier=3, check_from=seen)[-1]
    sizes = [manifest.num_added_files for manifest in ManifestReader(ctx).data_manifests(made)]
    assert sizes == [3, 1, 1, 1]
    assert manifests(ctx) == referenced(ctx)


def test_manifests_that_another_merged_first_are_not_left_behind(
    files: SteppedFileIO, ctx: TableContext, seen: Snapshot
) -> None:
    options = Options({**ctx.options.raw, "manifest.merge-min-count": "3"}, has_primary_key=True)
    for number in range(1, 3):
        seen = commit(ctx, [change(ctx, data_file(ctx))], identifier=number, check_from=seen)[-1]
    files.before_put = intrude(ctx, 1, options)
    made = commit(replace(ctx, options=options), [change(ctx, data_file(ctx))], identifier=3, check_from=seen)[-1]
    assert len(live_entries(open_context(files), made)) == 5
    assert manifests(ctx) == referenced(ctx)


def test_files_of_a_commit_stay_when_tidying_up_after_it_fails(
    files: SteppedFileIO, ctx: TableContext, seen: Snapshot, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise UnavailableError(ErrorKind.STORE_UNAVAILABLE, "the store is away")

    monkeypatch.setattr(publishing._Attempt, "_tidy", fail)
    files.before_put = intrude(ctx, 1)
    made = commit(ctx, [change(ctx, data_file(ctx))], identifier=1, check_from=seen)[-1]
    assert len(live_entries(open_context(files), made)) == 3


def test_a_commit_gives_up_after_the_retries_it_was_allowed(
    files: SteppedFileIO, ctx: TableContext, seen: Snapshot
) -> None:
    few = replace(ctx, options=Options({**ctx.options.raw, "commit.max-retries": "2"}, has_primary_key=True))
    files.before_put = intrude(ctx, 100)
    with pytest.raises(UnavailableError, match=r"3 times.*commit\.max-retries") as caught:
        commit(few, [change(ctx, data_file(ctx))], identifier=1, check_from=seen)
    files.before_put = lambda _: None
    assert caught.value.kind is ErrorKind.COMMIT_CONFLICT
    assert find.latest_id(ctx) == 4
    assert manifests(ctx) == referenced(ctx)


def test_a_commit_gives_up_when_its_time_is_over(files: SteppedFileIO, seen: Snapshot) -> None:
    clock = manual_clock.ManualClock()
    ctx = open_context(files, clock=clock, options={"commit.timeout": "1 min"})
    come_between = intrude(ctx, 100)

    def slowly(key: str) -> None:
        clock.advance(40_000)
        come_between(key)

    files.before_put = slowly
    with pytest.raises(UnavailableError, match="1 times"):
        commit(ctx, [change(ctx, data_file(ctx))], identifier=1, check_from=seen)
    files.before_put = lambda _: None
    assert manifests(ctx) == referenced(ctx)


def test_an_answer_that_was_lost_is_no_second_commit(files: SteppedFileIO, ctx: TableContext, seen: Snapshot) -> None:
    files.stop_at(4, Stop.ANSWER_LOST)
    (made,) = commit(ctx, [change(ctx, data_file(ctx))], identifier=1, check_from=seen)
    assert made.id == 2
    assert find.latest(open_context(files)) == made


def test_a_store_that_is_away_for_a_moment_is_asked_again(
    files: SteppedFileIO, ctx: TableContext, seen: Snapshot
) -> None:
    files.stop_at(4, Stop.REFUSED, count=2)
    assert commit(ctx, [change(ctx, data_file(ctx))], identifier=1, check_from=seen)[-1].id == 2
    assert find.latest_id(open_context(files)) == 2


def test_a_request_without_an_answer_may_arrive_though_the_next_one_was_refused(
    files: SteppedFileIO, ctx: TableContext, seen: Snapshot
) -> None:
    answers = [
        UnavailableError(ErrorKind.STORE_UNAVAILABLE, "no answer"),
        UnavailableError(ErrorKind.DISK_FULL, "no space left"),
    ]

    def refuse(key: str) -> None:
        if "/snapshot/snapshot-" in key:
            raise answers.pop(0)

    files.before_put = refuse
    with pytest.raises(UncertainCommitError, match="nobody can say whether snapshot 2 was stored"):
        commit(ctx, [change(ctx, data_file(ctx))], identifier=1, check_from=seen)
    assert answers == []
    assert len(manifests(ctx) - referenced(ctx)) == 3, "what may be referred to stays"


def test_another_snapshot_behind_a_lost_answer_is_not_taken_for_ones_own(
    files: SteppedFileIO, ctx: TableContext, seen: Snapshot
) -> None:
    files.before_put = intrude(ctx, 1)
    files.stop_at(9, Stop.REFUSED)  # four of the other writer, its hint, and the fourth of this one
    made = commit(ctx, [change(ctx, data_file(ctx))], identifier=1, check_from=seen)[-1]
    assert made.id == 3
    assert len(live_entries(open_context(files), made)) == 3


@pytest.mark.parametrize("stop", [Stop.REFUSED, Stop.ANSWER_LOST])
def test_a_commit_of_which_nobody_knows_keeps_its_files(
    files: SteppedFileIO, ctx: TableContext, seen: Snapshot, monkeypatch: pytest.MonkeyPatch, stop: Stop
) -> None:
    files.stop_at(4, stop, count=100)

    def away(*_: object) -> Snapshot | None:
        raise UnavailableError(ErrorKind.STORE_UNAVAILABLE, "the store is away")

    real = find.try_load
    monkeypatch.setattr(find, "try_load", lambda ctx, number: away() if files.changes[3:] else real(ctx, number))
    files.changes.clear()
    files.stop_at(4, stop, count=100)
    with pytest.raises(UnavailableError, match="nobody can say whether snapshot 2") as caught:
        commit(ctx, [change(ctx, data_file(ctx))], identifier=1, check_from=seen)
    assert caught.value.kind is ErrorKind.STORE_UNAVAILABLE
    monkeypatch.undo()
    files.heal()
    happened = stop is Stop.ANSWER_LOST
    assert find.latest_id(open_context(files)) == (2 if happened else 1)
    assert filter_committed(ctx, [1]) == ([] if happened else [1])
    assert referenced(ctx) <= manifests(ctx)
    assert len(manifests(ctx)) == 6, "what may be referred to stays"


@pytest.mark.parametrize(
    "error",
    [
        UnsupportedError(ErrorKind.UNSUPPORTED, "the endpoint ignores If-None-Match"),
        UnavailableError(ErrorKind.DISK_FULL, "no space left"),
    ],
)
def test_a_snapshot_that_cannot_be_put_leaves_nothing(
    files: SteppedFileIO, ctx: TableContext, seen: Snapshot, error: HosuError
) -> None:
    def refuse(key: str) -> None:
        if "/snapshot/snapshot-" in key:
            raise error

    files.before_put = refuse
    with pytest.raises(type(error), match=error.message):
        commit(ctx, [change(ctx, data_file(ctx))], identifier=1, check_from=seen)
    assert find.latest_id(ctx) == 1
    assert manifests(ctx) == referenced(ctx)


@pytest.mark.parametrize("number", [1, 2, 3])
def test_a_manifest_that_cannot_be_put_leaves_nothing(
    files: SteppedFileIO, ctx: TableContext, seen: Snapshot, number: int
) -> None:
    files.stop_at(number, Stop.REFUSED)
    with pytest.raises(UnavailableError, match="away"):
        commit(ctx, [change(ctx, data_file(ctx))], identifier=1, check_from=seen)
    files.heal()
    assert manifests(ctx) == referenced(ctx)
    assert commit(ctx, [change(ctx, data_file(ctx))], identifier=1, check_from=seen)[-1].id == 2


def test_a_snapshot_whose_disk_failed_after_it_was_there_is_not_called_safe(
    ctx: TableContext, seen: Snapshot, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = SteppedFileIO._put

    def put(self: SteppedFileIO, key: str, view: memoryview, **conditions: Any) -> FileStat:
        stat = whole(self, key, view, **conditions)
        if "/snapshot/snapshot-" in key:
            raise UnavailableError(ErrorKind.DISK_FAULT, "the folder was not synced")
        return stat

    monkeypatch.setattr(SteppedFileIO, "_put", put)
    with pytest.raises(UnavailableError, match="nobody can say whether snapshot 2 was stored") as caught:
        commit(ctx, [change(ctx, data_file(ctx))], identifier=1, check_from=seen)
    assert caught.value.kind is ErrorKind.DISK_FAULT
    assert filter_committed(ctx, [1]) == []
    assert referenced(ctx) == manifests(ctx)


def test_a_hint_that_cannot_be_written_fails_no_commit(files: SteppedFileIO, ctx: TableContext, seen: Snapshot) -> None:
    files.stop_at(5, Stop.REFUSED, count=100)
    (made,) = commit(ctx, [change(ctx, data_file(ctx))], identifier=1, check_from=seen)
    find.settle(ctx)
    files.heal()
    assert find.read_hint(ctx, find.LATEST) == 1
    assert find.latest(open_context(files)) == made

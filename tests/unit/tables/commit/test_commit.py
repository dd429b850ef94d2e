"""What commits make of changes: snapshots, their counts and kinds, and the files they cost."""

from dataclasses import replace

import pytest
from tests.support.steps import SteppedFileIO
from tests.support.tables import change, data_file, open_context

from hosu.kernel.fileio import MemoryFileIO
from hosu.tables.commit import PartialCommitError, commit, filter_committed, is_definite
from hosu.tables.context import TableContext
from hosu.tables.manifests import index_entries, live_entries
from hosu.tables.options import Options
from hosu.tables.records import CommitKind, DataFile, IndexFile, Snapshot
from hosu.tables.snapshots import find
from hosu.testing import manual_clock


@pytest.fixture
def files() -> SteppedFileIO:
    return SteppedFileIO(MemoryFileIO())


@pytest.fixture
def ctx(files: SteppedFileIO) -> TableContext:
    return open_context(files, clock=manual_clock.ManualClock())


def names(ctx: TableContext, snapshot: Snapshot) -> set[str]:
    return {entry.file.file_name for entry in live_entries(open_context(ctx.files), snapshot)}


def index(name: str, index_type: str = "HASH") -> IndexFile:
    return IndexFile(index_type=index_type, file_name=name, file_size=4, row_count=1)


def test_a_first_commit_is_snapshot_1(ctx: TableContext) -> None:
    (made,) = commit(
        ctx,
        [change(ctx, data_file(ctx, (0, 4)))],
        identifier=7,
        check_from=None,
        watermark=5,
        properties={"a": "b"},
        operation="WRITE",
    )
    assert (made.id, made.version, made.schema_id) == (1, 3, 0)
    assert (made.commit_kind, made.commit_user, made.commit_identifier) == (CommitKind.APPEND, ctx.commit_user, 7)
    assert (made.total_record_count, made.delta_record_count, made.changelog_record_count) == (5, 5, None)
    assert (made.watermark, made.properties, made.operation) == (5, {"a": "b"}, "WRITE")
    assert made.time_millis == ctx.clock.now_ms()
    assert find.latest(open_context(ctx.files)) == made
    assert len(ctx.files.read(ctx.layout.manifest(made.base_manifest_list))) == made.base_manifest_list_size
    assert len(ctx.files.read(ctx.layout.manifest(made.delta_manifest_list))) == made.delta_manifest_list_size


def test_counts_follow_what_is_added_and_taken_out(ctx: TableContext) -> None:
    first, second = data_file(ctx, (0, 9)), data_file(ctx, (10, 14))
    seen = commit(ctx, [change(ctx, first)], identifier=1, check_from=None)[-1]
    (made,) = commit(ctx, [change(ctx, second, deleted_files=[first])], identifier=2, check_from=seen)
    assert (made.total_record_count, made.delta_record_count) == (5, -5)
    assert made.commit_kind is CommitKind.OVERWRITE, "readers of changes must not take it for new rows alone"


def test_what_was_written_and_what_was_compacted_become_two_snapshots(ctx: TableContext) -> None:
    written, merged = data_file(ctx), data_file(ctx, level=5)
    both = change(ctx, written, compact_before=[written], compact_after=[merged])
    append, compact = commit(ctx, [both], identifier=3, check_from=None)
    assert (append.commit_kind, compact.commit_kind) == (CommitKind.APPEND, CommitKind.COMPACT)
    assert (append.commit_identifier, compact.commit_identifier) == (3, 3)
    assert names(ctx, append) == {written.file_name}
    assert names(ctx, compact) == {merged.file_name}


def test_what_was_written_is_told_to_be_there_when_what_was_compacted_cannot_be(ctx: TableContext) -> None:
    old = data_file(ctx)
    seen = commit(ctx, [change(ctx, old)], identifier=1, check_from=None)[-1]
    written, merged = data_file(ctx), data_file(ctx, level=5)
    commit(ctx, [change(ctx, deleted_files=[old])], identifier=2, check_from=seen)
    both = change(ctx, written, compact_before=[old], compact_after=[merged])
    with pytest.raises(PartialCommitError, match="do not write the rows again") as caught:
        commit(ctx, [both], identifier=3, check_from=seen)
    assert not is_definite(caught.value), "its files must stay"
    latest = find.latest(ctx)
    assert latest is not None
    assert names(ctx, latest) == {written.file_name}


def test_nothing_to_commit_makes_no_snapshot_unless_asked_for(ctx: TableContext) -> None:
    assert commit(ctx, [change(ctx)], identifier=1, check_from=None) == []
    (made,) = commit(ctx, [], identifier=2, check_from=None, allows_empty=True)
    assert (made.id, made.total_record_count) == (1, 0)
    forced = replace(ctx, options=Options({**ctx.options.raw, "commit.force-create-snapshot": "true"}))
    assert len(commit(forced, [], identifier=3, check_from=made)) == 1


def test_a_watermark_never_goes_back(ctx: TableContext) -> None:
    first = commit(ctx, [change(ctx, data_file(ctx))], identifier=1, check_from=None, watermark=50)[-1]
    second = commit(ctx, [change(ctx, data_file(ctx))], identifier=2, check_from=first, watermark=20)[-1]
    third = commit(ctx, [change(ctx, data_file(ctx))], identifier=3, check_from=second)[-1]
    assert (second.watermark, third.watermark) == (50, 50)


def test_an_index_file_takes_the_place_of_the_one_before(ctx: TableContext) -> None:
    seen = commit(
        ctx,
        [
            change(ctx, data_file(ctx), new_indexes=[index("h1"), index("v1", "DELETION_VECTORS")]),
            change(ctx, data_file(ctx), bucket=1, new_indexes=[index("h2")]),
        ],
        identifier=1,
        check_from=None,
    )[-1]
    again = commit(ctx, [change(ctx, data_file(ctx), new_indexes=[index("h3")])], identifier=2, check_from=seen)[-1]
    cleared = commit(ctx, [change(ctx, cleared_indexes=["DELETION_VECTORS"])], identifier=3, check_from=again)[-1]
    plain = commit(ctx, [change(ctx, data_file(ctx))], identifier=4, check_from=cleared)[-1]
    other = open_context(ctx.files)
    assert {entry.file.file_name for entry in index_entries(other, seen)} == {"h1", "v1", "h2"}
    assert {entry.file.file_name for entry in index_entries(other, again)} == {"v1", "h2", "h3"}
    assert {entry.file.file_name for entry in index_entries(other, cleared)} == {"h2", "h3"}
    assert plain.index_manifest == cleared.index_manifest


def test_vectors_of_a_compaction_go_with_it_and_hashes_with_what_was_written(ctx: TableContext) -> None:
    written, merged = data_file(ctx), data_file(ctx, level=5)
    both = change(
        ctx,
        written,
        compact_before=[written],
        compact_after=[merged],
        new_indexes=[index("h"), index("v", "DELETION_VECTORS")],
    )
    append, compact = commit(ctx, [both], identifier=3, check_from=None)
    assert append.commit_kind is CommitKind.APPEND
    assert {entry.file.file_name for entry in index_entries(ctx, append)} == {"h"}
    assert {entry.file.file_name for entry in index_entries(ctx, compact)} == {"h", "v"}


def test_statistics_stay_while_the_schema_does(ctx: TableContext) -> None:
    seen = commit(ctx, [change(ctx, data_file(ctx))], identifier=1, check_from=None)[-1]
    analysed = replace_snapshot(ctx, seen, statistics="stats-1")
    kept = commit(ctx, [change(ctx, data_file(ctx))], identifier=2, check_from=analysed)[-1]
    newer = ctx.with_schema(replace(ctx.schema, id=1), ctx.options)
    lost = commit(newer, [change(ctx, data_file(ctx))], identifier=3, check_from=kept)[-1]
    assert (kept.statistics, lost.statistics) == ("stats-1", None)
    assert (kept.schema_id, lost.schema_id) == (0, 1)


def replace_snapshot(ctx: TableContext, snapshot: Snapshot, **fields: object) -> Snapshot:
    import msgspec

    changed = msgspec.structs.replace(snapshot, **fields)
    ctx.files.put(ctx.layout.snapshot(snapshot.id), find.encode(changed))
    return changed


def test_an_old_writer_does_not_take_the_schema_back(ctx: TableContext) -> None:
    newer = ctx.with_schema(replace(ctx.schema, id=4), ctx.options)
    seen = commit(newer, [change(ctx, data_file(ctx))], identifier=1, check_from=None)[-1]
    assert commit(ctx, [change(ctx, data_file(ctx))], identifier=2, check_from=seen)[-1].schema_id == 4


def test_a_commit_waits_for_the_disk_twice(files: SteppedFileIO, ctx: TableContext) -> None:
    seen = commit(ctx, [change(ctx, data_file(ctx))], identifier=1, check_from=None)[-1]
    find.settle(ctx)
    files.changes.clear()
    files.reads.clear()
    files.listings = 0
    commit(ctx, [change(ctx, data_file(ctx))], identifier=2, check_from=seen)
    find.settle(ctx)
    kinds = [key.rpartition("/")[2].rpartition("-")[0].rstrip("0123456789abcdef-") for key in files.changes]
    assert sorted(kinds[:3]) == ["manifest", "manifest-list", "manifest-list"]
    assert files.changes[3] == ctx.layout.snapshot(2)
    assert files.changes[4:] == [ctx.layout.snapshots + "LATEST"]
    assert len(files.reads) == 2, "the snapshot that is not there yet, and the latest"
    assert files.listings == 0


def test_commits_cost_the_same_after_many_snapshots(files: SteppedFileIO, ctx: TableContext) -> None:
    seen: Snapshot | None = None
    costs = []
    for number in range(120):
        files.reads.clear()
        files.changes.clear()
        added = data_file(ctx, min_sequence_number=number * 10, max_sequence_number=number * 10 + 9)
        seen = commit(ctx, [change(ctx, added)], identifier=number, check_from=seen)[-1]
        find.settle(ctx)
        costs.append((len(files.reads), len(files.changes)))
    assert set(costs[2:]) <= {(2, 5), (2, 6)}, "a merge of manifests writes one more, and reads nothing back"
    assert files.listings <= 2


def test_committed_identifiers_are_filtered(ctx: TableContext) -> None:
    assert filter_committed(ctx, [1, 2, 3]) == [1, 2, 3]
    seen = commit(ctx, [change(ctx, data_file(ctx))], identifier=2, check_from=None)[-1]
    other = open_context(ctx.files, user="other")
    commit(other, [change(ctx, data_file(ctx))], identifier=9, check_from=seen)
    assert filter_committed(ctx, [3, 1, 2, 4]) == [3, 4]
    assert filter_committed(other, [9, 10]) == [10]
    assert filter_committed(ctx, []) == []


def test_upkeep_is_told_of_every_commit(files: SteppedFileIO) -> None:
    told: list[str] = []
    ctx = open_context(files, on_commit=lambda which: told.append(str(which.identifier)))
    commit(ctx, [change(ctx, data_file(ctx))], identifier=1, check_from=None)
    assert told == ["d.t"]


def test_upkeep_that_fails_undoes_no_commit(files: SteppedFileIO) -> None:
    def fail(_: TableContext) -> None:
        raise ValueError("upkeep")

    ctx = open_context(files, on_commit=fail)
    assert commit(ctx, [change(ctx, data_file(ctx))], identifier=1, check_from=None)[-1].id == 1


def test_sequence_numbers_used_meanwhile_are_written_again(ctx: TableContext) -> None:
    other = open_context(ctx.files)
    seen = commit(ctx, [change(ctx, data_file(ctx))], identifier=1, check_from=None)[-1]
    theirs = data_file(ctx, min_sequence_number=10, max_sequence_number=29)
    commit(other, [change(ctx, theirs)], identifier=1, check_from=seen)
    mine = data_file(ctx, min_sequence_number=10, max_sequence_number=12)
    asked: list[int] = []

    def resequence(_: object, greatest: int) -> object:
        asked.append(greatest)
        return change(ctx, data_file(ctx, min_sequence_number=greatest + 1, max_sequence_number=greatest + 3))

    elsewhere = change(ctx, data_file(ctx, min_sequence_number=0, max_sequence_number=2), partition="b")
    made = commit(ctx, [change(ctx, mine), elsewhere], identifier=2, check_from=seen, resequence=resequence)[-1]  # type: ignore[arg-type]
    assert asked == [29], "the other bucket has nobody's numbers"
    (entry,) = live_entries(ctx, made, which="delta", partitions=[("a",)])
    assert (entry.file.min_sequence_number, entry.file.max_sequence_number) == (30, 32)


def test_sequence_numbers_are_left_alone_when_nobody_came_between(ctx: TableContext) -> None:
    def refuse(*_: object) -> object:
        raise AssertionError("nobody came between")

    seen: Snapshot | None = None
    for number in range(3):
        low = number * 10
        added: DataFile = data_file(ctx, min_sequence_number=low, max_sequence_number=low + 9)
        seen = commit(ctx, [change(ctx, added)], identifier=number, check_from=seen, resequence=refuse)[-1]  # type: ignore[arg-type]

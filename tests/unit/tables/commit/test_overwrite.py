"""Overwrites take the place of what is there at the moment they are committed."""

from dataclasses import replace

import pytest
from tests.support.steps import SteppedFileIO
from tests.support.tables import change, data_file, open_context

from hosu.kernel.errors import ErrorKind, InvalidInputError
from hosu.kernel.fileio import MemoryFileIO
from hosu.tables.commit import commit, drop_partitions, overwrite, truncate
from hosu.tables.context import TableContext
from hosu.tables.manifests import index_entries, live_entries
from hosu.tables.options import Options
from hosu.tables.records import CommitKind, DataFile, IndexFile, Snapshot
from hosu.tables.snapshots import find


@pytest.fixture
def ctx() -> TableContext:
    ctx = open_context(SteppedFileIO(MemoryFileIO()))
    changes = [
        change(
            ctx,
            data_file(ctx, file_name=f"old-{partition}"),
            partition=partition,
            new_indexes=[IndexFile(index_type="HASH", file_name=f"index-{partition}", file_size=1, row_count=1)],
        )
        for partition in "abc"
    ]
    commit(ctx, changes, identifier=1, check_from=None)
    return ctx


def names(ctx: TableContext, snapshot: Snapshot) -> set[str]:
    return {entry.file.file_name for entry in live_entries(open_context(ctx.files), snapshot)}


def indexes(ctx: TableContext, snapshot: Snapshot) -> set[str]:
    return {entry.file.file_name for entry in index_entries(open_context(ctx.files), snapshot)}


def test_a_partition_is_replaced_with_its_indexes(ctx: TableContext) -> None:
    (made,) = overwrite(ctx, [change(ctx, data_file(ctx, file_name="new"))], [("a",)])
    assert made.commit_kind is CommitKind.OVERWRITE
    assert names(ctx, made) == {"new", "old-b", "old-c"}
    assert indexes(ctx, made) == {"index-b", "index-c"}
    assert (made.total_record_count, made.delta_record_count) == (30, 0)


def test_a_condition_chooses_the_partitions(ctx: TableContext) -> None:
    assert names(ctx, overwrite(ctx, [], lambda values: values[0] in "ab")[-1]) == {"old-c"}


def test_without_a_filter_the_whole_table_is_replaced(ctx: TableContext) -> None:
    made = overwrite(ctx, [change(ctx, data_file(ctx, file_name="new"), partition="z")])[-1]
    assert names(ctx, made) == {"new"}
    assert indexes(ctx, made) == set()


def test_truncating_leaves_nothing(ctx: TableContext) -> None:
    made = truncate(ctx)
    assert (made.total_record_count, made.operation) == (0, "TRUNCATE")
    assert names(ctx, made) == set()
    assert truncate(ctx).id == made.id + 1


def test_partitions_are_dropped(ctx: TableContext) -> None:
    assert names(ctx, drop_partitions(ctx, [("a",), ("b",), ("nobody",)])) == {"old-c"}


def test_rows_outside_the_filter_are_refused(ctx: TableContext) -> None:
    latest = find.latest_id(ctx)
    with pytest.raises(InvalidInputError, match="outside the partitions") as caught:
        overwrite(ctx, [change(ctx, data_file(ctx), partition="b")], [("a",)])
    assert caught.value.kind is ErrorKind.ROWS_INVALID
    assert find.latest_id(ctx) == latest


def test_an_empty_table_is_overwritten() -> None:
    fresh = open_context(MemoryFileIO())
    made = overwrite(fresh, [change(fresh, data_file(fresh, file_name="new"))])[-1]
    assert (made.id, names(fresh, made)) == (1, {"new"})


def test_what_comes_between_is_taken_out_too(ctx: TableContext) -> None:
    other = open_context(ctx.files)
    assert isinstance(ctx.files, SteppedFileIO)
    came: list[str] = []

    def come_between(key: str) -> None:
        if "/snapshot/snapshot-" in key and not came:
            came.append(key)
            commit(other, [change(other, data_file(other))], identifier=1, check_from=find.latest(other))

    ctx.files.before_put = come_between
    made = overwrite(ctx, [change(ctx, data_file(ctx, file_name="new"))], [("a",)])[-1]
    assert made.id == 3
    assert names(ctx, made) == {"new", "old-b", "old-c"}
    assert made.total_record_count == 30


def test_what_was_compacted_follows_as_a_snapshot_of_its_own(ctx: TableContext) -> None:
    written, merged = data_file(ctx, file_name="new"), data_file(ctx, level=5, file_name="merged")
    both = change(ctx, written, compact_before=[written], compact_after=[merged])
    first, second = overwrite(ctx, [both], [("a",)])
    assert (first.commit_kind, second.commit_kind) == (CommitKind.OVERWRITE, CommitKind.COMPACT)
    assert names(ctx, second) == {"merged", "old-b", "old-c"}


def test_changelog_files_of_an_overwrite_are_not_committed(ctx: TableContext) -> None:
    made = overwrite(ctx, [change(ctx, data_file(ctx), changelog_files=[data_file(ctx)])], [("a",)])[-1]
    assert made.changelog_manifest_list is None


def levels(ctx: TableContext, *files: DataFile, **options: str) -> set[int]:
    raised = replace(ctx, options=Options({**ctx.options.raw, **options}, has_primary_key=True))
    made = overwrite(raised, [change(ctx, *files)], [("a",)])[-1]
    return {entry.file.level for entry in live_entries(open_context(ctx.files), made, partitions=[("a",)])}


def test_files_side_by_side_go_to_the_highest_level(ctx: TableContext) -> None:
    assert levels(ctx, data_file(ctx, (0, 9)), data_file(ctx, (10, 19)), **{"num-levels": "4"}) == {3}


def test_files_that_overlap_stay_at_level_0(ctx: TableContext) -> None:
    assert levels(ctx, data_file(ctx, (0, 9)), data_file(ctx, (9, 19))) == {0}


def test_files_stay_at_level_0_when_the_option_says_so(ctx: TableContext) -> None:
    assert levels(ctx, data_file(ctx, (0, 9)), **{"overwrite-upgrade": "false"}) == {0}

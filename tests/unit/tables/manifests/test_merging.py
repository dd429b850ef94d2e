"""Manifests are merged when there are many, and say the same afterwards."""

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.support.tables import change, data_file, open_context

from hosu.kernel.fileio import MemoryFileIO
from hosu.tables.commit import commit
from hosu.tables.context import TableContext
from hosu.tables.manifests import ManifestReader, live_entries
from hosu.tables.options import Options
from hosu.tables.records import DataFile, Snapshot
from hosu.tables.snapshots import find


def with_options(ctx: TableContext, **options: str) -> TableContext:
    given_options = {key.replace("_", "-").replace("--", "."): value for key, value in options.items()}
    return replace(ctx, options=Options({**ctx.options.raw, **given_options}, has_primary_key=True))


def sizes(ctx: TableContext, snapshot: Snapshot) -> list[int]:
    manifests = ManifestReader(ctx).data_manifests(snapshot)
    return [manifest.num_added_files + manifest.num_deleted_files for manifest in manifests]


def names(ctx: TableContext, snapshot: Snapshot) -> set[str]:
    return {entry.file.file_name for entry in live_entries(open_context(ctx.files), snapshot)}


def test_as_many_manifests_as_the_option_says_become_one() -> None:
    ctx = with_options(open_context(MemoryFileIO()), manifest__merge_min_count="5")
    seen, expected = None, set()
    for number in range(6):
        file = data_file(ctx)
        expected.add(file.file_name)
        seen = commit(ctx, [change(ctx, file)], identifier=number, check_from=seen)[-1]
    assert seen is not None
    assert sizes(ctx, seen) == [5, 1]
    assert names(ctx, seen) == expected


def test_a_manifest_much_bigger_than_those_after_it_is_left_alone() -> None:
    ctx = with_options(open_context(MemoryFileIO()), manifest__merge_min_count="3")
    seen = commit(ctx, [change(ctx, *(data_file(ctx) for _ in range(100)))], identifier=0, check_from=None)[-1]
    for number in range(1, 4):
        seen = commit(ctx, [change(ctx, data_file(ctx))], identifier=number, check_from=seen)[-1]
    assert sizes(ctx, seen) == [100, 2, 1]


def test_a_full_merge_leaves_nothing_of_files_that_came_and_went() -> None:
    ctx = with_options(open_context(MemoryFileIO()), manifest__full_compaction_threshold_size="1 b")
    seen = None
    last: DataFile | None = None
    for number in range(5):
        file = data_file(ctx)
        gone = [] if last is None else [last]
        seen = commit(ctx, [change(ctx, file, deleted_files=gone)], identifier=number, check_from=seen)[-1]
        last = file
    assert seen is not None
    assert last is not None
    assert sizes(ctx, seen) == [1, 2]
    assert names(ctx, seen) == {last.file_name}


def test_entries_beyond_the_target_size_go_to_another_manifest() -> None:
    ctx = with_options(open_context(MemoryFileIO()), manifest__target_file_size="1 kb", manifest__compression="none")
    files = [data_file(ctx) for _ in range(2500)]
    snapshot = commit(ctx, [change(ctx, *files)], identifier=0, check_from=None)[-1]
    assert sizes(ctx, snapshot) == [1000, 1000, 500]
    assert names(ctx, snapshot) == {file.file_name for file in files}


def test_statistics_of_files_taken_out_are_dropped_when_asked_for() -> None:
    ctx = with_options(open_context(MemoryFileIO()), manifest__delete_file_drop_stats="true")
    file = data_file(ctx, value_stats_cols=("id",))
    seen = commit(ctx, [change(ctx, file)], identifier=0, check_from=None)[-1]
    seen = commit(ctx, [change(ctx, deleted_files=[file])], identifier=1, check_from=seen)[-1]
    (entry,) = live_entries(open_context(ctx.files), seen, which="delta")
    assert entry.file.value_stats_cols == ()
    assert names(ctx, seen) == set()


@pytest.mark.parametrize(
    ("threshold", "target"), [("1 b", "8 mb"), ("8 kb", "8 mb"), ("16 mb", "8 mb"), ("1 b", "1 b")]
)
@settings(max_examples=25, deadline=None)
@given(steps=st.lists(st.tuples(st.integers(0, 3), st.integers(0, 2), st.sampled_from("abc")), max_size=12))
def test_merging_never_changes_what_lives(threshold: str, target: str, steps: list[tuple[int, int, str]]) -> None:
    ctx = with_options(
        open_context(MemoryFileIO()),
        manifest__merge_min_count="2",
        manifest__full_compaction_threshold_size=threshold,
        manifest__target_file_size=target,
    )
    seen: Snapshot | None = None
    there: dict[str, tuple[DataFile, str]] = {}
    history: list[tuple[int, set[str]]] = []
    for number, (added, removed, partition) in enumerate(steps):
        new = [data_file(ctx) for _ in range(added)]
        old = [file for file, place in there.values() if place == partition][:removed]
        made = commit(
            ctx, [change(ctx, *new, deleted_files=old, partition=partition)], identifier=number, check_from=seen
        )
        seen = made[-1] if made else seen
        for file in old:
            del there[file.file_name]
        there |= {file.file_name: (file, partition) for file in new}
        if seen is not None:
            history.append((seen.id, set(there)))
    for snapshot_id, expected in history:
        assert names(ctx, find.load(ctx, snapshot_id)) == expected


def test_a_full_merge_leaves_whole_manifests_of_other_partitions_alone() -> None:
    ctx = with_options(
        open_context(MemoryFileIO()),
        manifest__full_compaction_threshold_size="1 b",
        manifest__target_file_size="1 b",
    )
    seen, files = None, []
    for number, partition in enumerate("abc"):
        files.append(data_file(ctx))
        seen = commit(ctx, [change(ctx, files[-1], partition=partition)], identifier=number, check_from=seen)[-1]
    assert seen is not None
    before = [manifest.file_name for manifest in ManifestReader(ctx).data_manifests(seen)]
    seen = commit(ctx, [change(ctx, deleted_files=[files[1]], partition="b")], identifier=3, check_from=seen)[-1]
    seen = commit(ctx, [change(ctx, data_file(ctx), partition="z")], identifier=4, check_from=seen)[-1]
    after = [manifest.file_name for manifest in ManifestReader(ctx).data_manifests(seen)]
    assert after[:2] == [before[0], before[2]]
    assert sizes(ctx, seen) == [1, 1, 1]

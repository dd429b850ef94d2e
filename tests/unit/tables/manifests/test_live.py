"""The files of a snapshot: merged, filtered, pruned, and damage named."""

from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

import msgspec
import pytest
from tests.support.steps import SteppedFileIO
from tests.support.tables import change, data_file, open_context

from hosu.kernel.errors import CorruptError, ErrorKind, UnsupportedError
from hosu.kernel.fileio import MemoryFileIO
from hosu.tables.commit import commit
from hosu.tables.context import TableContext
from hosu.tables.manifests import ManifestReader, index_entries, live, live_entries, live_files, partition_values
from hosu.tables.manifests.live import merge
from hosu.tables.manifests.writing import ManifestWriter
from hosu.tables.records import FileKind, IndexFile, ManifestEntry, Partition, Snapshot, VectorRange


@pytest.fixture
def files() -> SteppedFileIO:
    return SteppedFileIO(MemoryFileIO())


@pytest.fixture
def ctx(files: SteppedFileIO) -> TableContext:
    return open_context(files)


def write(ctx: TableContext, number: int, seen: Snapshot | None, **more: Any) -> Snapshot:
    added = data_file(ctx, (number * 10, number * 10 + 9))
    return commit(ctx, [change(ctx, added, **more)], identifier=number, check_from=seen)[-1]


def names(entries: list[ManifestEntry]) -> set[str]:
    return {entry.file.file_name for entry in entries}


def test_a_snapshot_has_what_was_added_less_what_was_taken_out(ctx: TableContext) -> None:
    first, second = data_file(ctx), data_file(ctx)
    seen = commit(ctx, [change(ctx, first), change(ctx, second, partition="b")], identifier=1, check_from=None)[-1]
    merged = data_file(ctx, level=5)
    compaction = change(ctx, compact_before=[first], compact_after=[merged])
    last = commit(ctx, [compaction], identifier=2, check_from=seen)[-1]

    assert names(live_entries(ctx, seen)) == {first.file_name, second.file_name}
    assert names(live_entries(ctx, last)) == {second.file_name, merged.file_name}
    delta = {(entry.kind, entry.file.file_name) for entry in live_entries(ctx, last, which="delta")}
    assert delta == {(FileKind.DELETE, first.file_name), (FileKind.ADD, merged.file_name)}


def test_another_process_reads_the_same(ctx: TableContext, files: SteppedFileIO) -> None:
    seen = None
    for number in range(5):
        seen = write(ctx, number, seen, partition="ab"[number % 2])
    assert seen is not None
    assert live_files(open_context(files), seen) == live_files(ctx, seen)


def test_files_are_found_by_partition_bucket_level_and_name(ctx: TableContext) -> None:
    low, high, other = data_file(ctx), data_file(ctx, level=3), data_file(ctx)
    changes = [change(ctx, low, high), change(ctx, other, partition="b", bucket=1)]
    last = commit(ctx, changes, identifier=1, check_from=None)[-1]

    assert names(live_entries(ctx, last, partitions=[("b",)])) == {other.file_name}
    assert names(live_entries(ctx, last, partitions=lambda values: values == ("a",))) == {low.file_name, high.file_name}
    assert names(live_entries(ctx, last, buckets={1})) == {other.file_name}
    assert names(live_entries(ctx, last, levels={3})) == {high.file_name}
    assert names(live_entries(ctx, last, file_filter=lambda file: file.level == 0)) == {low.file_name, other.file_name}
    assert [partition_values(ctx, entry.partition) for entry in live_entries(ctx, last, buckets={1})] == [("b",)]


def test_a_changelog_is_apart_from_the_data(ctx: TableContext) -> None:
    data, log = data_file(ctx), data_file(ctx)
    last = commit(ctx, [change(ctx, data, changelog_files=[log])], identifier=1, check_from=None)[-1]
    assert names(live_entries(ctx, last)) == {data.file_name}
    assert names(live_entries(ctx, last, which="changelog")) == {log.file_name}
    assert last.changelog_record_count == log.row_count


@pytest.mark.parametrize("wanted", ["collection", "predicate"])
def test_manifests_without_the_partition_are_not_read(
    files: SteppedFileIO, ctx: TableContext, monkeypatch: pytest.MonkeyPatch, wanted: str
) -> None:
    class Only:
        def __call__(self, values: Partition) -> bool:
            return values == ("c",)

        def may_match_range(self, least: Partition, greatest: Partition, _: object) -> bool:
            return least <= ("c",) <= greatest

    seen = None
    for number in range(6):
        seen = write(ctx, number, seen, partition="abcdef"[number])
    assert seen is not None
    monkeypatch.setattr(live, "WHOLE_ENTRIES_MAX", 3)
    other = open_context(files)
    files.reads.clear()
    found = live_entries(other, seen, partitions=[("c",)] if wanted == "collection" else Only())
    assert len(found) == 1
    assert len([key for key in files.reads if "/manifest-" in key and "/manifest-list-" not in key]) == 1


def test_manifests_without_the_bucket_are_not_read(
    files: SteppedFileIO, ctx: TableContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = write(ctx, 1, write(ctx, 0, None, bucket=0), bucket=1)
    monkeypatch.setattr(live, "WHOLE_ENTRIES_MAX", 1)
    files.reads.clear()
    assert len(live_entries(open_context(files), seen, buckets={1})) == 1
    assert len([key for key in files.reads if "/manifest-" in key and "/manifest-list-" not in key]) == 1


def test_the_next_snapshot_is_read_from_its_changes_alone(files: SteppedFileIO, ctx: TableContext) -> None:
    seen = write(ctx, 0, None)
    other = open_context(files)
    live_entries(other, seen)
    seen = write(ctx, 1, seen)
    files.reads.clear()
    assert len(live_entries(other, seen)) == 2
    assert len(files.reads) == 3, "two lists and the manifest of what changed"


@pytest.mark.parametrize("whole_max", [0, 1000])
def test_a_merge_of_manifests_has_nothing_read_anew(
    files: SteppedFileIO, monkeypatch: pytest.MonkeyPatch, whole_max: int
) -> None:
    monkeypatch.setattr(live, "WHOLE_ENTRIES_MAX", whole_max)
    ctx = open_context(files, options={"manifest.merge-min-count": "3"})
    seen = None
    merged = 0
    for number in range(14):
        seen = write(ctx, number, seen, partition="ab"[number % 2])
        before = sum(len(entries) for entries in _applied(monkeypatch, partial(_of_both, ctx, seen)))
        merged += len(ManifestReader(ctx).list(seen.base_manifest_list)) == 1
        assert number == 0 or before <= 2, "the changes of the snapshot, and of a partition that is new"
        assert _of_both(ctx, seen) == _of_both(open_context(files), seen)
    assert merged > 2


def _of_both(ctx: TableContext, snapshot: Snapshot) -> set[str]:
    return names(live_entries(ctx, snapshot, partitions=[("a",), ("b",)]))


def _applied(monkeypatch: pytest.MonkeyPatch, act: Callable[[], object]) -> list[list[ManifestEntry]]:
    """Return the entries that are merged while something is done."""
    found: list[list[ManifestEntry]] = []

    def counted(entries: Iterable[ManifestEntry], into: live.LiveFiles) -> None:
        found.append(list(entries))
        merge(found[-1], into)

    with monkeypatch.context() as patch:
        patch.setattr(live, "merge", counted)
        act()
    return found


def test_partitions_of_a_large_table_are_forgotten_in_the_order_in_which_they_were_read(
    ctx: TableContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = None
    for number in range(6):
        seen = write(ctx, number, seen, partition="abc"[number % 3])
    assert seen is not None
    monkeypatch.setattr(live, "WHOLE_ENTRIES_MAX", 0)
    monkeypatch.setattr(live, "KEPT_BY_PARTITION_MAX", 4)
    for partition, is_read in (("a", True), ("b", True), ("a", False), ("c", True), ("b", False), ("a", True)):
        read = _applied(monkeypatch, partial(live_entries, ctx, seen, partitions=[(partition,)]))
        assert bool(read) is is_read, partition
        assert len(live_entries(ctx, seen, partitions=[(partition,)])) == 2


def test_statistics_of_partitions_order_numbers_and_count_nulls(ctx: TableContext) -> None:
    writer = ManifestWriter(ctx)
    entries = [
        ManifestEntry(
            kind=FileKind.ADD,
            partition=writer.partitions.encode((value,)),
            bucket=0,
            total_buckets=2,
            file=data_file(ctx),
        )
        for value in ("b", None, "ä", "a", "b")
    ]
    (manifest,) = writer.entries(entries)
    stats = manifest.partition_stats
    assert writer.partitions.values(stats.min_values) == ("a",)
    assert writer.partitions.values(stats.max_values) == ("ä",)
    assert stats.null_counts == (1,)


def test_a_file_added_twice_is_damage(ctx: TableContext) -> None:
    entry = ManifestEntry(kind=FileKind.ADD, partition=b"", bucket=0, total_buckets=1, file=data_file(ctx))
    with pytest.raises(CorruptError, match="added twice"):
        merge([entry, entry], {})


def test_a_missing_manifest_is_named(files: SteppedFileIO, ctx: TableContext) -> None:
    last = write(ctx, 1, None)
    (manifest,) = ManifestReader(ctx).delta_manifests(last)
    files.delete_many([ctx.layout.manifest(manifest.file_name)])
    with pytest.raises(CorruptError, match=manifest.file_name) as caught:
        live_entries(open_context(files), last)
    assert caught.value.kind is ErrorKind.CORRUPT_TABLE


@pytest.mark.parametrize("size", [0, 3, 100, 900, -1])
def test_a_cut_manifest_is_named(files: SteppedFileIO, ctx: TableContext, size: int) -> None:
    last = write(ctx, 1, None)
    (manifest,) = ManifestReader(ctx).delta_manifests(last)
    path = ctx.layout.manifest(manifest.file_name)
    files.put(path, files.read(path)[:size])
    with pytest.raises(CorruptError, match=manifest.file_name):
        live_entries(open_context(files), last)


def test_a_manifest_of_another_format_is_refused_by_name(ctx: TableContext, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hosu.tables.manifests.rows.FORMAT", 3)
    last = write(ctx, 1, None)
    monkeypatch.undo()
    with pytest.raises(UnsupportedError, match="format 3"):
        live_entries(open_context(ctx.files), last)


def test_index_files_come_back_whole(ctx: TableContext) -> None:
    data = data_file(ctx)
    vectors = IndexFile(
        index_type="DELETION_VECTORS",
        file_name="index-1",
        file_size=44,
        row_count=1,
        vectors=(VectorRange(data.file_name, 1, 22, 7),),
    )
    hashes = IndexFile(index_type="HASH", file_name="index-2", file_size=40, row_count=10)
    last = commit(ctx, [change(ctx, data, new_indexes=[vectors, hashes])], identifier=1, check_from=None)[-1]
    other = open_context(ctx.files)
    assert {entry.file for entry in index_entries(other, last)} == {vectors, hashes}
    assert [entry.file for entry in index_entries(other, last, "HASH")] == [hashes]
    assert index_entries(other, last, partitions=[("b",)]) == []


def test_every_field_of_a_data_file_comes_back(ctx: TableContext) -> None:
    whole = data_file(
        ctx,
        extra_files=("a.index",),
        embedded_index=b"x",
        value_stats_cols=("id",),
        external_path="s3://b/x",
        first_row_id=7,
        write_cols=("id",),
        delete_row_count=None,
    )
    last = commit(ctx, [change(ctx, whole)], identifier=1, check_from=None)[-1]
    (entry,) = live_entries(open_context(ctx.files), last)
    assert entry.file == whole
    assert msgspec.structs.asdict(entry)["total_buckets"] == 2

"""Compacting a table: what it plans, what it commits, and what it does when others are at the same table."""

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from types import ModuleType
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from tests.support.table_rows import changelog_of, rows_of

from hosu.kernel.errors import ConflictError, CorruptError, ErrorKind
from hosu.kernel.fileio import FileStat, MemoryFileIO
from hosu.tables.catalog import Catalog
from hosu.tables.commit.commit import commit
from hosu.tables.compaction import appending, buckets, compacting, rewriting
from hosu.tables.compaction.buckets import compact_bucket
from hosu.tables.compaction.claims import CLAIM_MS, claimed
from hosu.tables.compaction.compacting import FULL_PROPERTY, compact, places_of, plan_compaction, run_compaction
from hosu.tables.compaction.inline import is_full_due
from hosu.tables.context import TableContext
from hosu.tables.manifests import index_entries, live_entries
from hosu.tables.records import BucketChange, CommitKind, FileSource, Snapshot
from hosu.tables.snapshots import find
from hosu.tables.snapshots.cache import MetadataCache
from hosu.tables.vectors import vectors_of
from hosu.tables.writing.writer import TableWriter
from hosu.testing.manual_clock import ManualClock

SCHEMA = pa.schema(
    [pa.field("id", pa.int64(), nullable=False), pa.field("v", pa.int64()), pa.field("dt", pa.string(), nullable=False)]
)
Row = tuple[int, int, str]
Make = Callable[..., TableContext]


@pytest.fixture
def catalog() -> Iterator[Catalog]:
    with Catalog(MemoryFileIO(), "w", clock=ManualClock()) as catalog:
        catalog.create_database("d")
        yield catalog


@pytest.fixture
def make(catalog: Catalog) -> Make:
    def make(
        keys: Sequence[str] = ("id", "dt"),
        options: Mapping[str, str] | None = None,
        schema: pa.Schema = SCHEMA,
        **more: str,
    ) -> TableContext:
        given = {"bucket": "1" if keys else "-1", "write-only": "true", **(options or {}), **more}
        catalog.create_table("d.t", schema, partition_keys=["dt"], primary_keys=keys, options=given)
        return catalog.open("d.t")

    return make


def write(ctx: TableContext, *rows: Row, kinds: Sequence[str] | None = None) -> None:
    with TableWriter(ctx) as writer:
        columns = zip(*rows, strict=True)
        table = pa.table([pa.array(column) for column in columns], schema=SCHEMA)
        writer.write(table, None if kinds is None else pa.array(kinds))
        writer.commit()


def latest(ctx: TableContext) -> Snapshot:
    snapshot = find.latest(ctx)
    assert snapshot is not None
    return snapshot


def levels(ctx: TableContext) -> list[int]:
    return sorted(entry.file.level for entry in live_entries(ctx, latest(ctx)))


def data_files(ctx: TableContext) -> set[str]:
    keys = (entry.key for entry in ctx.files.list(ctx.layout.path) if "/bucket-" in entry.key)
    return {key.rpartition("/")[2] for key in keys}


def test_a_table_without_snapshots_has_nothing_to_compact(make: Make) -> None:
    ctx = make()

    assert compact(ctx) == []
    assert compact(ctx, full=True) == []
    assert list(plan_compaction(ctx)) == []


def test_what_is_planned_is_what_is_done(make: Make) -> None:
    ctx = make()
    for number in range(6):
        write(ctx, (number, number, "a"))
    write(ctx, (1, 1, "b"))

    (planned,) = plan_compaction(ctx)
    before = latest(ctx)
    assert find.latest_id(ctx) == before.id

    (snapshot,) = compact(ctx)

    assert snapshot.commit_kind is CommitKind.COMPACT
    assert (planned.partition, planned.bucket, len(planned.files), planned.output_level) == (("a",), 0, 6, 5)
    assert planned.size_bytes == sum(file.file_size for file in planned.files)
    assert levels(ctx) == [0, 5]
    delta = live_entries(ctx, snapshot, which="delta")
    assert {entry.file.file_source for entry in delta if entry.file.level == 5} == {FileSource.COMPACT}
    assert list(plan_compaction(ctx)) == []


def test_a_full_compaction_leaves_the_top_level_and_says_so(make: Make) -> None:
    ctx = make()
    write(ctx, (1, 1, "a"), (2, 2, "b"))
    write(ctx, (1, 3, "a"))

    (snapshot,) = compact(ctx, full=True)

    assert levels(ctx) == [5, 5]
    assert snapshot.properties == {FULL_PROPERTY: "true"}
    assert rows_of(ctx) == [(1, 3, "a"), (2, 2, "b")]
    assert compact(ctx, full=True) == []


def test_only_the_partitions_and_buckets_asked_for_are_compacted(make: Make) -> None:
    ctx = make()
    write(ctx, (1, 1, "a"), (2, 2, "b"))

    assert compact(ctx, full=True, buckets=[7]) == []
    compact(ctx, full=True, partitions=[("b",)])

    assert {entry.file.level for entry in live_entries(ctx, latest(ctx), partitions=[("a",)])} == {0}
    assert {entry.file.level for entry in live_entries(ctx, latest(ctx), partitions=[("b",)])} == {5}


@pytest.mark.parametrize("keys", [("id", "dt"), ()])
def test_buckets_with_nothing_to_compact_are_not_claimed(
    make: Make, keys: Sequence[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    ctx = make(keys)
    for number in range(3):
        write(ctx, (number, number, "a"))
    written: list[str] = []
    put = ctx.files.put

    def noted(key: str, *given: Any, **more: Any) -> FileStat:
        written.append(key)
        return put(key, *given, **more)

    monkeypatch.setattr(ctx.files, "put", noted)

    assert compact(ctx) == []

    assert not [key for key in written if "/upkeep/" in key]


@pytest.mark.parametrize(("keys", "module"), [(("id", "dt"), rewriting), ((), appending)])
def test_what_waits_to_be_committed_stays_claimed(
    make: Make, keys: Sequence[str], module: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    ctx = make(keys)
    for number in range(3):
        write(ctx, *((number % 2, number, name) for name in "abc"))
    clock, read_file = ctx.clock, module.read_file
    assert isinstance(clock, ManualClock)
    begun: list[Any] = []
    held: list[bool] = []

    def reading(ctx: TableContext, partition: Any, *given: Any, **more: Any) -> Any:
        if partition not in begun:
            begun.append(partition)
            clock.advance(CLAIM_MS * 3 // 4)
            for each in begun:
                with claimed(ctx, each, 0) as other:
                    held.append(other is None)
        return read_file(ctx, partition, *given, **more)

    monkeypatch.setattr(module, "read_file", reading)

    assert len(compact(ctx, full=True)) == 1

    assert held == [True] * (1 + 2 + 3)


def test_everything_can_be_written_anew(make: Make) -> None:
    ctx = make()
    write(ctx, (1, 1, "a"))
    compact(ctx, full=True)
    before = {entry.file.file_name for entry in live_entries(ctx, latest(ctx))}

    assert len(compact(ctx, full=True, rewrite=True)) == 1

    assert before.isdisjoint({entry.file.file_name for entry in live_entries(ctx, latest(ctx))})
    assert rows_of(ctx) == [(1, 1, "a")]


def test_deletes_are_gone_from_the_top_level(make: Make) -> None:
    ctx = make()
    write(ctx, (1, 1, "a"), (2, 2, "a"))
    write(ctx, (1, 1, "a"), kinds=["-D"])

    compact(ctx, full=True)

    (entry,) = live_entries(ctx, latest(ctx))
    assert (entry.file.row_count, entry.file.delete_row_count) == (1, 0)


def test_a_bucket_of_nothing_but_deletes_has_no_file_left(make: Make) -> None:
    ctx = make()
    write(ctx, (1, 1, "a"), kinds=["-D"])

    compact(ctx, full=True)

    assert live_entries(ctx, latest(ctx)) == []


def test_a_bucket_that_somebody_is_at_is_left_to_them(make: Make) -> None:
    ctx = make()
    write(ctx, (1, 1, "a"))
    write(ctx, (1, 1, "a"))

    with claimed(ctx, ("a",), 0):
        assert run_compaction(ctx, full=True).held == 1

    assert run_compaction(ctx, full=True).held == 0
    assert levels(ctx) == [5]


def test_a_run_that_is_told_to_stop_ends_between_buckets(make: Make) -> None:
    ctx = make()
    write(ctx, (1, 1, "a"))
    stop = threading.Event()
    stop.set()

    outcome = run_compaction(ctx, full=True, stop=stop)

    assert outcome.is_cut
    assert outcome.snapshots == []


class Interfering:
    """Has something happen right before each of the first commits of a compaction."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, act: Callable[[], object], *, times: int) -> None:
        self._commit = commit
        self._act = act
        self.left = times
        monkeypatch.setattr(compacting, "commit", self.commit)

    def commit(self, ctx: TableContext, changes: Sequence[BucketChange], **more: Any) -> list[Snapshot]:
        if self.left:
            self.left -= 1
            self._act()
        return self._commit(ctx, changes, **more)


def test_commits_of_others_do_not_disturb_a_compaction(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    ctx = make()
    write(ctx, (1, 1, "a"))
    write(ctx, (2, 2, "a"))
    Interfering(monkeypatch, lambda: write(ctx, (1, 5, "a")), times=1)

    compact(ctx, full=True)

    assert levels(ctx) == [0, 5]
    assert rows_of(ctx) == [(1, 5, "a"), (2, 2, "a")]


def test_a_bucket_that_others_compacted_first_is_looked_at_anew(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    ctx = make()
    write(ctx, (1, 1, "a"), (1, 1, "b"))
    write(ctx, (1, 2, "a"), (1, 2, "b"))
    monkeypatch.setattr(compacting, "claimed", lambda *_: claimed(ctx, (str(object()),), 0))
    Interfering(monkeypatch, lambda: compact(ctx, full=True, partitions=[("a",)]), times=1)

    compact(ctx, full=True)

    assert levels(ctx) == [5, 5]
    assert rows_of(ctx) == [(1, 2, "a"), (1, 2, "b")]
    named = {entry.file.file_name for number in find.ids(ctx) for entry in live_entries(ctx, find.load(ctx, number))}
    assert data_files(ctx) == named


def test_one_bucket_in_the_way_does_not_make_a_snapshot_of_each_of_the_others(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    ctx = make()
    partitions = "abcdefghijklmnop"
    for value in (1, 2):
        write(ctx, *[(1, value, name) for name in partitions])
    monkeypatch.setattr(compacting, "claimed", lambda *_: claimed(ctx, (str(object()),), 0))
    Interfering(monkeypatch, lambda: compact(ctx, full=True, partitions=[("a",)]), times=1)

    made = compact(ctx, full=True)

    assert len(made) < 6
    assert levels(ctx) == [5] * len(partitions)
    assert rows_of(ctx) == [(1, 2, name) for name in partitions]


def test_a_bucket_that_others_change_each_time_is_given_up(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    ctx = make()
    write(ctx, (1, 1, "a"))

    def refuse(*_: object, **__: object) -> list[Snapshot]:
        raise ConflictError(ErrorKind.COMMIT_CONFLICT, "others were first")

    monkeypatch.setattr(compacting, "commit", refuse)

    assert run_compaction(ctx, full=True, gives_up=True).lost == 1
    with pytest.raises(ConflictError):
        compact(ctx, full=True)
    (entry,) = live_entries(ctx, latest(ctx))
    assert levels(ctx) == [0]
    assert data_files(ctx) == {entry.file.file_name}


def test_a_file_that_cannot_be_read_is_named_and_nothing_stays(make: Make) -> None:
    ctx = make()
    write(ctx, (1, 1, "a"))
    write(ctx, (1, 2, "a"))
    before = data_files(ctx)
    broken = live_entries(ctx, latest(ctx))[0].file.file_name
    ctx.files.put(ctx.layout.data_file(("a",), 0, broken), b"?")

    with pytest.raises(CorruptError, match=broken):
        compact(ctx, full=True)

    assert data_files(ctx) == before


def test_vectors_mark_what_was_replaced_and_go_with_what_is_rewritten(make: Make) -> None:
    ctx = make(options={"deletion-vectors.enabled": "true", "write-only": "false"})
    write(ctx, (1, 1, "a"), (2, 2, "a"), (3, 3, "a"))
    compact(ctx, full=True)
    write(ctx, (2, 9, "a"))

    (vector,) = vectors_of(ctx, latest(ctx), ("a",), 0).values()
    assert list(vector) == [1]
    assert 0 not in levels(ctx)

    compact(ctx, full=True)

    assert levels(ctx) == [5]
    assert vectors_of(ctx, latest(ctx), ("a",), 0) == {}
    assert index_entries(ctx, latest(ctx)) == []


def test_other_buckets_keep_their_vectors(make: Make) -> None:
    ctx = make(options={"deletion-vectors.enabled": "true", "write-only": "false"})
    for partition in "ab":
        write(ctx, (1, 1, partition), (2, 2, partition))
    compact(ctx, full=True)
    for partition in "ab":
        write(ctx, (2, 9, partition))

    compact(ctx, full=True, partitions=[("a",)])

    assert vectors_of(ctx, latest(ctx), ("a",), 0) == {}
    assert len(vectors_of(ctx, latest(ctx), ("b",), 0)) == 1


def test_copy_on_write_leaves_nothing_to_merge(make: Make) -> None:
    ctx = make(options={"full-compaction.delta-commits": "1", "write-only": "false"})
    for number in range(4):
        write(ctx, (number % 2, number, "a"))

        assert levels(ctx) == [5]

    assert rows_of(ctx) == [(0, 2, "a"), (1, 3, "a")]


def test_full_compactions_come_with_the_commit_that_the_option_counts_out(make: Make) -> None:
    ctx = make(options={"full-compaction.delta-commits": "3", "write-only": "false"})
    found = []
    for number in range(6):
        write(ctx, (number, number, "a"))
        found.append(levels(ctx))

    assert found == [[0], [0, 0], [5], [0, 5], [0, 0, 5], [5]]
    assert not is_full_due(ctx, latest(ctx))


def test_a_full_compaction_by_somebody_else_begins_the_count_anew(make: Make) -> None:
    ctx = make(options={"full-compaction.delta-commits": "3"})
    for number in range(2):
        write(ctx, (number, number, "a"))
        assert not is_full_due(ctx, latest(ctx))
    compact(ctx, full=True)
    for number in range(2):
        write(ctx, (number, number, "a"))
        assert not is_full_due(ctx, latest(ctx))
    write(ctx, (1, 1, "a"))
    assert is_full_due(ctx, latest(ctx))
    assert is_full_due(replace(ctx, cache=MetadataCache()), latest(ctx))


def test_a_writer_compacts_at_once_only_where_it_must(make: Make) -> None:
    ctx = make(options={"changelog-producer": "lookup", "lookup-wait": "false", "write-only": "false"})
    write(ctx, (1, 1, "a"))
    assert levels(ctx) == [0]

    at_once = ctx.with_schema(ctx.schema, ctx.options.merged({"lookup-wait": "true"}))
    write(at_once, (1, 2, "a"))

    assert 0 not in levels(ctx)


def test_a_commit_may_ask_for_compaction(make: Make) -> None:
    ctx = make(
        options={"commit.force-compact": "true", "num-sorted-run.compaction-trigger": "2", "write-only": "false"}
    )
    write(ctx, (1, 1, "a"))
    assert levels(ctx) == [0]

    write(ctx, (1, 2, "a"))

    assert 0 not in levels(ctx)


def test_a_writer_that_nobody_compacts_for_keeps_the_number_of_runs_bounded(make: Make) -> None:
    ctx = make(options={"write-only": "false"})
    most = 0
    for number in range(40):
        write(ctx, (number, number, "a"))
        most = max(most, len(levels(ctx)))

    assert most == ctx.options.num_sorted_run_stop_trigger
    assert len(rows_of(ctx)) == 40


@pytest.mark.parametrize("options", [{}, {"changelog-producer": "lookup"}, {"deletion-vectors.enabled": "true"}])
def test_more_runs_than_are_read_side_by_side_are_compacted_the_oldest_first(
    make: Make, options: Mapping[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(buckets, "RUNS_MAX", 4)
    ctx = make(options=options)
    for number in range(11):
        write(ctx, (number % 2, number, "a"), (9, number, "a"))

    snapshots = compact(ctx, full=True)

    # Four make one of the top level, four and three one each of levels below it, and those three make one at last.
    assert [len(live_entries(ctx, snapshot)) for snapshot in snapshots] == [8, 5, 3, 1]
    assert levels(ctx) == [5]
    assert rows_of(ctx) == [(0, 10, "a"), (1, 9, "a"), (9, 10, "a")]
    if "changelog-producer" in options:
        changes = [change[:3] for change in changelog_of(ctx)]
        assert [change for change in changes if change[1] == 9][-2:] == [("-U", 9, 7), ("+U", 9, 10)]


def test_files_that_do_not_overlap_are_read_one_after_the_other(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(buckets, "RUNS_MAX", 2)
    ctx = make()
    for number in range(6):
        write(ctx, (number % 3, number, "a"))

    assert len(compact(ctx, full=True)) == 1
    assert rows_of(ctx) == [(0, 3, "a"), (1, 4, "a"), (2, 5, "a")]


@pytest.mark.parametrize("engine", ["deduplicate", "aggregation", "partial-update"])
def test_runs_that_are_too_many_for_the_memory_are_compacted_in_parts(make: Make, engine: str) -> None:
    sums = {"fields.v.aggregate-function": "sum"} if engine == "aggregation" else {}
    ctx = make(options={"merge-engine": engine, **sums})
    for number in range(9):
        write(ctx, *((key, number, "a") for key in range(50)))

    snapshots = compact(ctx, full=True, memory_bytes=1 << 20)

    assert len(snapshots) > 1
    assert levels(ctx) == [5]
    assert sorted(rows_of(ctx)) == [(key, 36 if engine == "aggregation" else 8, "a") for key in range(50)]


def test_small_files_of_an_append_table_are_made_one(make: Make) -> None:
    ctx = make((), options={"compaction.min.file-num": "3"})
    for number in range(2):
        write(ctx, (number, number, "a"))
    assert compact(ctx) == []
    write(ctx, (2, 2, "a"))
    (planned,) = plan_compaction(ctx)
    assert len(planned.files) == 3

    compact(ctx)

    assert len(live_entries(ctx, latest(ctx))) == 1
    assert rows_of(ctx) == [(number, number, "a") for number in range(3)]


def names(ctx: TableContext) -> set[str]:
    return {entry.file.file_name for entry in live_entries(ctx, latest(ctx))}


@pytest.mark.parametrize("producer", ["none", "lookup", "full-compaction"])
def test_large_files_that_share_no_key_are_lifted_as_they_are(make: Make, producer: str) -> None:
    ctx = make(options={"target-file-size": "1 b", "changelog-producer": producer})
    write(ctx, (1, 1, "a"), (2, 2, "a"))
    write(ctx, (3, 3, "a"))
    before = names(ctx)

    compact(ctx, full=True)

    assert names(ctx) == before
    assert levels(ctx) == [5, 5]
    inserts = [("+I", 1, 1, "a"), ("+I", 2, 2, "a"), ("+I", 3, 3, "a")]
    assert changelog_of(ctx) == ([] if producer == "none" else inserts)


def test_large_files_that_share_keys_are_written_anew(make: Make) -> None:
    ctx = make(options={"target-file-size": "1 b"})
    write(ctx, (1, 1, "a"))
    write(ctx, (1, 2, "a"))
    write(ctx, (7, 7, "a"))
    before = names(ctx)

    compact(ctx, full=True)

    assert len(names(ctx) & before) == 1
    assert rows_of(ctx) == [(1, 2, "a"), (7, 7, "a")]


def test_a_large_file_with_deletes_is_written_anew_on_its_way_to_the_top(make: Make) -> None:
    ctx = make(options={"target-file-size": "1 b"})
    write(ctx, (1, 1, "a"), (2, 2, "a"), kinds=["+I", "-D"])

    compact(ctx, full=True)

    assert [entry.file.delete_row_count for entry in live_entries(ctx, latest(ctx))] == [0]
    assert rows_of(ctx) == [(1, 1, "a")]


def test_a_lifted_file_marks_what_it_replaces(make: Make) -> None:
    options = {"target-file-size": "1 b", "deletion-vectors.enabled": "true", "num-sorted-run.compaction-trigger": "9"}
    ctx = make(options={**options, "write-only": "false"})
    write(ctx, (1, 1, "a"), (2, 2, "a"))
    compact(ctx, full=True)
    write(ctx, (2, 9, "a"))

    assert levels(ctx) == [8, 9]
    (vector,) = vectors_of(ctx, latest(ctx), ("a",), 0).values()
    assert list(vector) == [1]
    source = {entry.file.level: entry.file.file_source for entry in live_entries(ctx, latest(ctx))}
    assert source[8] is FileSource.APPEND


def test_rows_expire_in_compaction(catalog: Catalog) -> None:
    options = {"bucket": "1", "record-level.expire-time": "1 h", "record-level.time-field": "v", "write-only": "true"}
    catalog.create_table("d.t", SCHEMA, primary_keys=["id"], options=options)
    ctx = catalog.open("d.t")
    now_s = ctx.clock.now_ms() // 1000
    write(ctx, (1, now_s - 7200, "a"), (2, now_s, "a"))
    assert len(rows_of(ctx)) == 2

    compact(ctx, full=True)
    assert rows_of(ctx) == [(2, now_s, "a")]

    assert isinstance(ctx.clock, ManualClock)
    ctx.clock.advance(2 * 3600 * 1000)
    assert [planned.reason for planned in plan_compaction(ctx, full=True)] == ["full"]
    compact(ctx, full=True)
    assert rows_of(ctx) == []


def test_a_changelog_tells_what_became_of_each_key(make: Make) -> None:
    ctx = make(options={"changelog-producer": "full-compaction"})
    write(ctx, (1, 1, "a"), (2, 2, "a"))
    compact(ctx, full=True)
    write(ctx, (1, 7, "a"), (3, 3, "a"))
    write(ctx, (2, 2, "a"), kinds=["-D"])
    compact(ctx, full=True)

    assert changelog_of(ctx) == [
        ("+I", 1, 1, "a"),
        ("+I", 2, 2, "a"),
        ("-U", 1, 1, "a"),
        ("+U", 1, 7, "a"),
        ("-D", 2, 2, "a"),
        ("+I", 3, 3, "a"),
    ]


def test_where_rows_are_looked_up_one_that_is_alone_is_merged_as_in_java(make: Make) -> None:
    groups = {"merge-engine": "partial-update", "fields.v.sequence-group": "w"}
    schema = SCHEMA.append(pa.field("w", pa.int64()))
    ctx = make(options={**groups, "changelog-producer": "lookup"}, schema=schema)
    with TableWriter(ctx) as writer:
        writer.write(pa.table([[1, 2], [None, 7], ["a", "a"], [3, 4]], schema=schema))
        writer.commit()

    compact(ctx, full=True)

    # Without its sequence field a row says nothing of what that orders.
    assert changelog_of(ctx) == [("+I", 1, None, "a", None), ("+I", 2, 7, "a", 4)]


def test_memory_does_not_grow_with_the_table(catalog: Catalog) -> None:
    schema = pa.schema([pa.field("id", pa.int64(), nullable=False), *(pa.field(f"v{n}", pa.int64()) for n in range(9))])
    options = {"bucket": "1", "write-only": "true", "target-file-size": "1 mb", "file.compression": "none"}
    catalog.create_table("d.t", schema, primary_keys=["id"], options=options)
    ctx = replace(catalog.open("d.t"), memory_bytes=1 << 30)
    chance = np.random.default_rng(0)
    count = 300_000
    for _ in range(2):
        with TableWriter(ctx) as writer:
            values = [chance.integers(0, 1 << 62, count) for _ in range(9)]
            writer.write(pa.table([np.arange(count), *values], schema=schema))
            writer.commit()
    del values
    table_bytes = 2 * count * 10 * 8
    (place,) = places_of(ctx, live_entries(ctx, latest(ctx)))
    before = pa.total_allocated_bytes()
    peaks: list[int] = []

    done = compact_bucket(
        ctx,
        latest(ctx),
        place,
        full=True,
        memory_bytes=table_bytes // 10,
        beat=lambda: peaks.append(pa.total_allocated_bytes() - before),
    )

    assert done is not None
    assert done.rows == 2 * count
    assert len(peaks) > 20
    assert max(peaks) < table_bytes // 3

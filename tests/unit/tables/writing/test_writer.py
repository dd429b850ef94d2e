"""The writer: what a commit of it leaves in the table."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from tests.support.table_rows import TICKS, MakeTable, changelog_of, latest_of, rows_of, runs_of, ticks

from hosu.kernel.errors import ConflictError, ErrorKind, InvalidInputError, NotFoundError, UnavailableError
from hosu.kernel.fileio.keys import FileStat
from hosu.kernel.fileio.memory import MemoryFileIO
from hosu.tables.catalog import Catalog
from hosu.tables.commit import UncertainCommitError, publishing
from hosu.tables.context import TableContext
from hosu.tables.manifests import index_entries, live_entries
from hosu.tables.records import CommitKind, DataFile
from hosu.tables.rows import row_hashes
from hosu.tables.snapshots import find
from hosu.tables.snapshots.rollback import rollback_to
from hosu.tables.upkeep.expiry import expire
from hosu.tables.writing.verbs import delete_where, insert, overwrite
from hosu.tables.writing.writer import TableWriter
from hosu.testing.manual_clock import ManualClock


def put(context: TableContext, *rows: tuple[Any, ...], kinds: list[str] | None = None) -> None:
    with TableWriter(context) as writer:
        writer.write(ticks(*rows), None if kinds is None else pa.array(kinds))
        writer.commit()


def test_the_last_row_of_a_key_stays_within_a_batch_and_over_commits(context: TableContext) -> None:
    put(context, (2, 1.0, "a"), (1, 1.0, "b"), (2, 2.0, "c"))
    assert rows_of(context) == [(1, 1.0, "b"), (2, 2.0, "c")]
    put(context, (1, 9.0, "d"), (3, 3.0, None))
    assert rows_of(context) == [(1, 9.0, "d"), (2, 2.0, "c"), (3, 3.0, None)]


def test_a_file_holds_one_sorted_row_per_key(context: TableContext) -> None:
    put(context, (3, 1.0, "a"), (1, 1.0, "b"), (3, 2.0, "c"), (2, 0.0, "d"))
    (run,) = runs_of(context)
    assert run.column("id").to_pylist() == [1, 2, 3]
    assert run.column("note").to_pylist() == ["b", "d", "c"]


def test_sequence_numbers_go_on_over_commits_of_one_writer_and_of_another(context: TableContext) -> None:
    with TableWriter(context) as writer:
        for note in "ab":
            writer.write(ticks((1, 1.0, note), (2, 1.0, note)))
            writer.commit()
    put(context, (1, 1.0, "c"))
    numbers = [(file.min_sequence_number, file.max_sequence_number) for file in files_of(context)]
    assert numbers == [(0, 1), (2, 3), (4, 4)]


@pytest.mark.parametrize("buckets", ["1", "-1"])
def test_a_writer_goes_on_where_what_others_committed_meanwhile_has_expired(make: MakeTable, buckets: str) -> None:
    context = make(options={"bucket": buckets, "write-only": "true"})
    with TableWriter(context) as writer:
        writer.write(ticks((1, 1.0, "a")))
        writer.commit()
        for number in range(2, 6):
            put(context, (1, float(number), "b"), (number, 1.0, "b"))
        expire(context, retain_min=1, retain_max=1)
        assert find.earliest_id(context) == find.latest_id(context) == 5
        writer.write(ticks((1, 9.0, "c")))
        writer.commit()
    assert rows_of(context) == [(1, 9.0, "c"), *((number, 1.0, "b") for number in range(2, 6))]


def test_deletes_take_rows_out_and_a_later_insert_puts_them_back(context: TableContext) -> None:
    put(context, (1, 1.0, "a"), (2, 1.0, "a"))
    put(context, (1, None, None), (2, None, None), kinds=["-D", "-D"])
    assert rows_of(context) == []
    put(context, (2, 5.0, "b"))
    assert rows_of(context) == [(2, 5.0, "b")]


def test_nothing_written_is_nothing_committed(context: TableContext) -> None:
    with TableWriter(context) as writer:
        writer.write(ticks())
        assert writer.commit() == []
    assert find.latest(context) is None


def test_an_aborted_writer_leaves_no_files(context: TableContext, files: MemoryFileIO) -> None:
    before = {stat.key for stat in files.list()}
    with TableWriter(context) as writer:
        writer.write(ticks((1, 1.0, "a")))
        writer.flush()
        assert {stat.key for stat in files.list()} != before
    assert {stat.key for stat in files.list()} == before


def test_what_does_not_fit_leaves_what_was_taken_in_as_it_was(context: TableContext) -> None:
    with TableWriter(context) as writer:
        writer.write(ticks((1, 1.0, "a")))
        with pytest.raises(InvalidInputError, match="row 1"):
            writer.write(pa.table({"id": [2, None], "price": [1.0, 2.0], "note": ["b", "c"]}))
        writer.commit()
    assert rows_of(context) == [(1, 1.0, "a")]


def test_rows_beyond_the_memory_allowed_are_written_before_the_commit(
    context: TableContext, files: MemoryFileIO
) -> None:
    small = replace(context, memory_bytes=20_000)
    with TableWriter(small) as writer:
        for start in range(0, 5_000, 500):
            ids = np.arange(start, start + 500) % 1_700
            writer.write(pa.table({"id": ids, "price": ids * 1.0, "note": [str(start)] * 500}))
        assert any("/bucket-0/" in stat.key for stat in files.list())
        snapshot, *_ = writer.commit()
    assert snapshot.commit_kind == CommitKind.APPEND
    found = {row[0]: row[2] for row in rows_of(context)}
    expected = {int(row % 1_700): str(row // 500 * 500) for row in range(5_000)}
    assert found == expected


def test_many_partitions_and_buckets_hold_every_row_once(make: MakeTable) -> None:
    schema = pa.schema([("day", pa.string()), ("id", pa.int64()), ("note", pa.string())])
    context = make(("day", "id"), partitions=("day",), schema=schema, options={"bucket": "3"})
    table = pa.table({"day": [f"d{n % 5}" for n in range(900)], "id": range(900), "note": ["x"] * 900}, schema=schema)
    with TableWriter(context) as writer:
        writer.write(table)
        writer.commit()
    assert sorted(row[1] for row in rows_of(context)) == list(range(900))
    latest = latest_of(context)
    assert latest.total_record_count == 900
    assert {(entry.partition, entry.bucket) for entry in live_entries(context, latest)}.__len__() == 15


def test_the_changelog_of_input_has_every_row_and_the_data_the_last(make: MakeTable) -> None:
    context = make(options={"changelog-producer": "input"})
    put(context, (1, 1.0, "a"), (1, 1.0, "a"), (1, 2.0, "b"), (0, 0.0, "z"), kinds=["+I", "-U", "+U", "+I"])
    assert rows_of(context) == [(0, 0.0, "z"), (1, 2.0, "b")]
    assert changelog_of(context) == [
        ("+I", 0, 0.0, "z"),
        ("+I", 1, 1.0, "a"),
        ("-U", 1, 1.0, "a"),
        ("+U", 1, 2.0, "b"),
    ]


def test_without_changelog_producer_input_there_is_no_changelog(context: TableContext) -> None:
    put(context, (1, 1.0, "a"))
    assert changelog_of(context) == []


FILL = {"changelog-producer": "input", "hosu.changelog-fill": "lookup"}


def test_a_filled_changelog_says_what_upserts_did(make: MakeTable) -> None:
    context = make(options=FILL)
    put(context, (1, 1.0, "a"), (2, 2.0, "b"), (2, 3.0, "c"))
    put(context, (2, 4.0, "d"), (3, 5.0, "e"))
    put(context, (1, None, None), (9, None, None), kinds=["-D", "-D"])
    assert changelog_of(context) == [
        ("+I", 1, 1.0, "a"),
        ("+I", 2, 3.0, "c"),
        ("-U", 2, 3.0, "c"),
        ("+U", 2, 4.0, "d"),
        ("+I", 3, 5.0, "e"),
        ("-D", 1, 1.0, "a"),
    ]


AGGREGATED = {**FILL, "merge-engine": "aggregation"}


def test_a_filled_changelog_gives_late_rows_the_place_that_reads_give_them(make: MakeTable) -> None:
    schema = pa.schema([("id", pa.int64()), ("price", pa.int64()), ("note", pa.string())])
    first = {"sequence.field": "price", "fields.note.aggregate-function": "first_value"}
    context = make(schema=schema, options={**AGGREGATED, **first})
    put(context, (1, 6, "a"))
    put(context, (1, 1, "b"))
    put(context, (1, 5, "c"))
    assert changelog_of(context)[-1] == ("+U", 1, 6, "b")
    assert rows_of(context) == [(1, 6, "b")]


@pytest.mark.parametrize("options", [{"force-lookup": "true"}, {"deletion-vectors.enabled": "true"}])
def test_a_filled_changelog_counts_no_row_twice_where_levels_hold_all_that_came_before(
    make: MakeTable, options: dict[str, str]
) -> None:
    context = make(options={**AGGREGATED, "fields.price.aggregate-function": "sum", **options})
    put(context, *((key, 1.0, f"{key * 7919 % 100_003}") for key in range(5_000)))
    for price in (2.0, 4.0, 8.0):
        put(context, (5, price, "x"))
    assert {entry.file.level for entry in live_entries(context, latest_of(context))} == {4, 5}
    assert [row[2] for row in changelog_of(context)[5_000:]] == [1.0, 3.0, 3.0, 7.0, 7.0, 15.0]


def test_a_filled_changelog_sees_what_the_writer_itself_wrote_before(make: MakeTable) -> None:
    context = make(options=FILL)
    with TableWriter(context) as writer:
        writer.write(ticks((1, 1.0, "a")))
        writer.flush()
        writer.write(ticks((1, 2.0, "b")))
        writer.commit()
    assert changelog_of(context) == [("+I", 1, 1.0, "a"), ("-U", 1, 1.0, "a"), ("+U", 1, 2.0, "b")]


def test_a_filled_changelog_is_silent_about_rows_that_lose_by_their_sequence_field(make: MakeTable) -> None:
    context = make(options=FILL | {"sequence.field": "price"})
    put(context, (1, 5.0, "new"))
    put(context, (1, 4.0, "old"))
    assert changelog_of(context) == [("+I", 1, 5.0, "new")]
    assert rows_of(context) == [(1, 5.0, "new")]


def test_a_filled_changelog_is_silent_about_rows_that_lose_to_a_delete_by_their_sequence_field(make: MakeTable) -> None:
    context = make(options=FILL | {"sequence.field": "price"})
    put(context, (1, 1.0, "a"))
    put(context, (1, 5.0, "gone"), kinds=["-D"])
    put(context, (1, 4.0, "old"))
    assert changelog_of(context) == [("+I", 1, 1.0, "a"), ("-D", 1, 1.0, "a")]
    assert rows_of(context) == []


def test_a_filled_changelog_has_sums_before_and_after(make: MakeTable) -> None:
    context = make(options=FILL | {"merge-engine": "aggregation", "fields.price.aggregate-function": "sum"})
    put(context, (1, 5.0, "a"))
    put(context, (1, 2.0, "b"), (1, 1.0, None))
    assert changelog_of(context) == [("+I", 1, 5.0, "a"), ("-U", 1, 5.0, "a"), ("+U", 1, 8.0, "b")]


def test_a_filled_changelog_has_whole_rows_of_a_partial_update(make: MakeTable) -> None:
    context = make(options=FILL | {"merge-engine": "partial-update"})
    put(context, (1, 5.0, None))
    put(context, (1, None, "note"))
    assert changelog_of(context) == [("+I", 1, 5.0, None), ("-U", 1, 5.0, None), ("+U", 1, 5.0, "note")]


def test_rows_that_take_more_than_the_memory_allowed_are_written_a_part_at_a_time(make: MakeTable) -> None:
    context = replace(make(options={"changelog-producer": "input"}), memory_bytes=20_000)
    rows = ticks(*[(number % 1500, float(number), f"note {number}") for number in range(3000)])
    with TableWriter(context) as writer:
        writer.write(rows, pa.array(["+I"] * 1500 + ["+U"] * 1500))
        writer.commit()
    assert max(file.row_count for file in files_of(context)) < 1000
    assert set(rows_of(context)) == {(number, 1500.0 + number, f"note {1500 + number}") for number in range(1500)}
    assert [change[0] for change in changelog_of(context)].count("+U") == 1500


def test_rows_come_after_those_that_others_committed_meanwhile(context: TableContext) -> None:
    with TableWriter(context) as writer:
        writer.write(ticks((1, 1.0, "mine"), (2, 1.0, "mine")))
        writer.flush()
        put(context, (1, 9.0, "theirs"), (3, 9.0, "theirs"), (4, 9.0, "theirs"))
        writer.commit()
    assert rows_of(context) == [(1, 1.0, "mine"), (2, 1.0, "mine"), (3, 9.0, "theirs"), (4, 9.0, "theirs")]
    assert [(file.min_sequence_number, file.max_sequence_number) for file in files_of(context)] == [(0, 2), (3, 4)]


def test_files_that_were_written_again_leave_nothing_behind(context: TableContext, files: MemoryFileIO) -> None:
    with TableWriter(context) as writer:
        writer.write(ticks((1, 1.0, "mine")))
        writer.flush()
        put(context, (1, 9.0, "theirs"))
        writer.commit()
    stored = {stat.key.rpartition("/")[2] for stat in files.list() if "/bucket-0/" in stat.key}
    assert stored == {file.file_name for file in files_of(context)}


def test_a_filled_changelog_is_made_anew_on_top_of_what_others_committed(make: MakeTable) -> None:
    context = make(options=FILL)
    put(context, (1, 1.0, "a"))
    with TableWriter(context) as writer:
        writer.write(ticks((1, 2.0, "mine"), (2, 2.0, "mine")))
        writer.flush()
        put(context, (1, 9.0, "theirs"))
        writer.commit()
    assert changelog_of(context)[-3:] == [("-U", 1, 9.0, "theirs"), ("+U", 1, 2.0, "mine"), ("+I", 2, 2.0, "mine")]


@pytest.mark.parametrize(
    "options",
    [
        {"bucket": "2"},
        {"bucket": "-1", "dynamic-bucket.target-row-num": "7"},
        {"changelog-producer": "input", "hosu.changelog-fill": "lookup"},
    ],
)
def test_writers_at_once_lose_nothing(make: MakeTable, options: dict[str, str]) -> None:
    context = make(options={**options, "commit.max-retry-wait": "20 ms"})

    def write(number: int) -> None:
        for turn in range(4):
            put(context, *[(number * 100 + turn * 10 + n, float(number), "x") for n in range(3)], (0, 0.0, f"{number}"))

    with ThreadPoolExecutor(4) as threads:
        list(threads.map(write, range(1, 5)))
    expected = {number * 100 + turn * 10 + n for number in range(1, 5) for turn in range(4) for n in range(3)} | {0}
    assert {row[0] for row in rows_of(context)} == expected


@pytest.mark.parametrize("others", [1, 2, 4])
@pytest.mark.parametrize("buckets", ["1", "-1"])
def test_an_open_writer_goes_on_after_a_roll_back(make: MakeTable, buckets: str, others: int) -> None:
    context = make(options={"bucket": buckets, "dynamic-bucket.target-row-num": "2", "write-only": "true"})
    with TableWriter(context) as writer:
        for number in range(1, 4):
            writer.write(ticks((number, 1.0, "mine")))
            writer.commit()
        rollback_to(context, 1)
        for turn in range(others):  # under numbers that the writer has seen, and beyond
            put(context, *((number, float(turn), "theirs") for number in range(2, 30)))
        writer.write(ticks((3, 9.0, "last"), (29, 9.0, "last")))
        writer.commit()
    rows = rows_of(context)
    assert len(rows) == len({row[0] for row in rows}) == 29, "no key is in two buckets"
    assert {row[0] for row in rows if row[2] == "last"} == {3, 29}


def test_a_table_made_anew_is_not_written_to_by_who_had_the_old_one_open(catalog: Catalog, make: MakeTable) -> None:
    context = make()
    put(context, (1, 1.0, "a"))
    writer = TableWriter(context)
    writer.write(ticks((2, 2.0, "b")))
    writer.flush()
    name = str(context.identifier)
    catalog.drop_table(name)
    catalog.create_table(name, pa.schema([("id", pa.int64()), ("other", pa.string())]), primary_keys=["id"])
    anew = catalog.open(name)
    insert(anew, pa.table({"id": [7], "other": ["x"]}))
    insert(anew, pa.table({"id": [8], "other": ["y"]}))
    attempts: list[Callable[[], object]] = [
        writer.commit,
        lambda: put(context, (3, 3.0, "c")),
        lambda: overwrite(context, ticks()),
        lambda: delete_where(context, None),
    ]
    for attempt in attempts:
        with pytest.raises(NotFoundError, match="made anew: open it again"):
            attempt()
    assert rows_of(anew) == [(7, "x"), (8, "y")]


def test_a_commit_of_the_same_identifier_counts_once(context: TableContext) -> None:
    with TableWriter(context, commit_user="me") as writer:
        writer.write(ticks((1, 1.0, "a")))
        (first,) = writer.commit(7)
    assert (first.commit_user, first.commit_identifier) == ("me", 7)
    with TableWriter(context, commit_user="me") as again:
        again.write(ticks((1, 1.0, "again")))
        assert again.commit(7) == []
        again.write(ticks((2, 1.0, "next")))
        (second,) = again.commit(8)
    assert second.id == first.id + 1
    assert rows_of(context) == [(1, 1.0, "a"), (2, 1.0, "next")]


def test_a_change_of_buckets_is_refused_until_the_partition_is_overwritten(make: MakeTable) -> None:
    context = make(options={"bucket": "2"})
    put(context, (1, 1.0, "a"))
    other = replace(context, options=context.options.merged({"bucket": "4"}))
    with pytest.raises(InvalidInputError, match="written with 2 buckets, and the option says 4") as caught:
        put(other, (2, 1.0, "b"))
    assert caught.value.kind is ErrorKind.TABLE_INVALID


def test_dynamic_buckets_fill_up_and_keys_stay_where_they_are(make: MakeTable) -> None:
    context = make(options={"bucket": "-1", "dynamic-bucket.target-row-num": "10"})
    put(context, *[(n, 1.0, "a") for n in range(25)])
    put(context, *[(n, 2.0, "b") for n in range(0, 40, 2)])
    latest = latest_of(context)
    expected = dict.fromkeys(range(0, 40, 2), "b") | dict.fromkeys(range(1, 25, 2), "a")
    assert {row[0]: row[2] for row in rows_of(context)} == expected
    owners: dict[int, int] = {}
    for bucket in range(4):
        for run in runs_of(context, bucket=bucket):
            for key in run.column("id").to_pylist():
                assert owners.setdefault(key, bucket) == bucket
    assert {bucket: list(owners.values()).count(bucket) for bucket in range(4)} == {0: 10, 1: 10, 2: 10, 3: 2}
    entries = index_entries(context, latest, "HASH")
    assert sorted((entry.bucket, entry.file.row_count) for entry in entries) == [(0, 10), (1, 10), (2, 10), (3, 2)]
    stored = context.files.read(context.layout.index(entries[0].file.file_name))
    keys = [key for key, bucket in owners.items() if bucket == entries[0].bucket]
    kind = context.schema.field("id").type
    hashes = row_hashes([pa.array(keys, pa.int64())], [kind])
    assert sorted(np.frombuffer(stored, ">i4").tolist()) == sorted(hashes.tolist())


def test_writers_of_dynamic_buckets_at_once_put_no_key_into_two_buckets(make: MakeTable) -> None:
    context = make(options={"bucket": "-1", "dynamic-bucket.target-row-num": "5"})
    with TableWriter(context) as writer:
        writer.write(ticks(*[(n, 1.0, "mine") for n in range(12)]))
        writer.flush()
        put(context, *[(n, 1.0, "theirs") for n in range(20, 3, -1)])
        writer.commit()
    owners: dict[int, set[int]] = {}
    for bucket in range(8):
        for run in runs_of(context, bucket=bucket):
            for key in run.column("id").to_pylist():
                owners.setdefault(key, set()).add(bucket)
    assert sorted(owners) == list(range(21))
    assert all(len(buckets) == 1 for buckets in owners.values())
    assert {row[0]: row[2] for row in rows_of(context)} == {n: "mine" if n < 12 else "theirs" for n in range(21)}


def test_an_append_table_keeps_rows_that_are_equal(make: MakeTable) -> None:
    context = make(())
    put(context, (1, 1.0, "a"), (1, 1.0, "a"))
    put(context, (1, 1.0, "a"))
    assert rows_of(context) == [(1, 1.0, "a")] * 3
    latest = latest_of(context)
    (entry, _) = live_entries(context, latest)
    assert (entry.bucket, entry.total_buckets) == (0, -1)


def test_an_append_table_with_buckets_numbers_its_rows_on_and_spreads_them_by_their_key(make: MakeTable) -> None:
    context = make((), options={"bucket": "2", "bucket-key": "id"})
    put(context, *[(n, 1.0, "a") for n in range(20)])
    with TableWriter(context) as writer:
        writer.write(ticks(*[(n, 2.0, "b") for n in range(20)]))
        writer.flush()
        put(context, *[(n, 3.0, "c") for n in range(20)])
        writer.commit()
    assert len(rows_of(context)) == 60
    latest = latest_of(context)
    for bucket in range(2):
        files = [entry.file for entry in live_entries(context, latest, buckets={bucket})]
        files.sort(key=lambda file: file.min_sequence_number)
        numbers = [n for file in files for n in range(file.min_sequence_number, file.max_sequence_number + 1)]
        assert numbers == list(range(sum(file.row_count for file in files)))


def test_a_conflict_that_no_retry_mends_discards_the_files(
    context: TableContext, files: MemoryFileIO, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(*_args: object, **_more: object) -> None:
        raise ConflictError(ErrorKind.COMMIT_CONFLICT, "never")

    monkeypatch.setattr("hosu.tables.writing.writer.commit", refused)
    monkeypatch.setattr("hosu.tables.writing.attempts.ATTEMPTS", 3)
    with TableWriter(context) as writer:
        writer.write(ticks((1, 1.0, "a")))
        with pytest.raises(ConflictError, match="never"):
            writer.commit()
    assert not [stat.key for stat in files.list() if "/bucket-0/" in stat.key]


def files_of(context: TableContext) -> list[DataFile]:
    latest = latest_of(context)
    return sorted((entry.file for entry in live_entries(context, latest)), key=lambda file: file.min_sequence_number)


class ForgetfulFileIO(MemoryFileIO):
    """Stores a snapshot when it is armed, says that it could not, and lets nobody look."""

    armed = False
    away = False

    def heal(self) -> None:
        self.armed = self.away = False

    def _check(self, key: str) -> None:
        if self.away and "/snapshot/" in key:
            raise UnavailableError(ErrorKind.STORE_UNAVAILABLE, "the answer was lost")

    def _put(self, key: str, view: memoryview, *, if_absent: bool, if_match: str | None) -> FileStat:
        stat = super()._put(key, view, if_absent=if_absent, if_match=if_match)
        self.away = self.armed and "/snapshot/snapshot-" in key
        self._check(key)
        return stat

    def _read(self, key: str, start: int, end: int | None) -> bytes:
        self._check(key)
        return super()._read(key, start, end)

    def _head(self, key: str) -> FileStat:
        self._check(key)
        return super()._head(key)


@pytest.fixture
def forgetful(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[ForgetfulFileIO, TableContext]]:
    monkeypatch.setattr(publishing, "READ_BACK_PAUSE_S", 0)
    files = ForgetfulFileIO()
    catalog = Catalog(files, "w", clock=ManualClock())
    catalog.create_database("d")
    catalog.create_table("d.t", TICKS, primary_keys=("id",), options={"bucket": "1"})
    context = catalog.open("d.t")
    put(context, (1, 1.0, "a"))
    find.settle(context)
    yield files, context
    files.heal()
    catalog.close()


def test_files_stay_when_nobody_knows_whether_they_were_committed(
    forgetful: tuple[ForgetfulFileIO, TableContext],
) -> None:
    files, context = forgetful
    with TableWriter(context) as writer:
        writer.write(ticks((2, 2.0, "b")))
        writer.flush()
        files.armed = True
        with pytest.raises(UnavailableError):
            writer.commit()
    files.heal()
    assert rows_of(context) == [(1, 1.0, "a"), (2, 2.0, "b")]


@pytest.mark.parametrize("identifier", [None, 7])
def test_a_commit_that_happened_unknown_to_its_writer_does_not_happen_twice(
    forgetful: tuple[ForgetfulFileIO, TableContext], identifier: int | None
) -> None:
    files, context = forgetful
    with TableWriter(context) as writer:
        writer.write(ticks((2, 2.0, "b")))
        writer.flush()
        files.armed = True
        with pytest.raises(UnavailableError):
            writer.commit(identifier)
        files.heal()
        before = find.latest_id(context)
        assert writer.commit(identifier) == []
        assert find.latest_id(context) == before
        writer.write(ticks((3, 3.0, "c")))
        writer.commit(None if identifier is None else identifier + 1)
    assert rows_of(context) == [(1, 1.0, "a"), (2, 2.0, "b"), (3, 3.0, "c")]


def test_rows_written_after_a_commit_that_nobody_knows_of_was_given_up_are_not_taken_for_it(
    forgetful: tuple[ForgetfulFileIO, TableContext],
) -> None:
    files, context = forgetful
    with TableWriter(context) as writer:
        writer.write(ticks((2, 2.0, "b")))
        writer.flush()
        files.armed = True
        with pytest.raises(UncertainCommitError):
            writer.commit()
        files.heal()
        writer.abort()
        writer.write(ticks((3, 3.0, "c")))
        assert len(writer.commit()) == 1
    assert rows_of(context) == [(1, 1.0, "a"), (2, 2.0, "b"), (3, 3.0, "c")]


def test_rows_are_refused_until_it_is_known_how_the_last_commit_ended(
    forgetful: tuple[ForgetfulFileIO, TableContext],
) -> None:
    files, context = forgetful
    with TableWriter(context) as writer:
        writer.write(ticks((2, 2.0, "b")))
        writer.flush()
        files.armed = True
        with pytest.raises(UncertainCommitError):
            writer.commit()
        files.heal()
        with pytest.raises(ConflictError, match="commit again, or abort"):
            writer.write(ticks((3, 3.0, "c")))
        assert writer.commit() == []
        writer.write(ticks((3, 3.0, "c")))
        writer.commit()
    assert rows_of(context) == [(1, 1.0, "a"), (2, 2.0, "b"), (3, 3.0, "c")]


def test_a_commit_nobody_knows_of_is_found_though_what_its_rows_rest_on_has_expired(
    forgetful: tuple[ForgetfulFileIO, TableContext],
) -> None:
    files, context = forgetful
    with TableWriter(context) as writer:
        writer.write(ticks((2, 2.0, "b")))
        writer.flush()
        for _ in range(3):
            put(context, (1, 2.0, "c"))
        expire(context, retain_min=1, retain_max=1)
        files.armed = True
        with pytest.raises(UncertainCommitError):
            writer.commit()
        files.heal()
        assert writer.commit() == []
    assert rows_of(context) == [(1, 2.0, "c"), (2, 2.0, "b")]


def test_rows_of_a_named_user_may_wait_longer_than_snapshots_are_kept(context: TableContext) -> None:
    put(context, (1, 1.0, "a"))
    with TableWriter(context, commit_user="job") as writer:
        writer.write(ticks((2, 2.0, "b")))
        writer.flush()
        for _ in range(3):
            put(context, (1, 2.0, "c"))
        expire(context, retain_min=1, retain_max=1)
        assert len(writer.commit(1)) == 1
    assert rows_of(context) == [(1, 2.0, "c"), (2, 2.0, "b")]


def test_a_writer_whose_rows_were_discarded_says_so_until_it_is_aborted(
    context: TableContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    def failing(*_args: object, **_more: object) -> None:
        raise UnavailableError(ErrorKind.STORE_UNAVAILABLE, "away")

    with TableWriter(context) as writer:
        writer.write(ticks((1, 1.0, "a")))
        with monkeypatch.context() as patch:
            patch.setattr("hosu.tables.writing.runs.write_files", failing)
            with pytest.raises(UnavailableError):
                writer.commit()
        with pytest.raises(ConflictError, match="discarded"):
            writer.commit()
        with pytest.raises(ConflictError, match="discarded"):
            writer.write(ticks((2, 1.0, "b")))
        writer.abort()
        writer.write(ticks((3, 1.0, "c")))
        writer.commit()
    assert rows_of(context) == [(3, 1.0, "c")]

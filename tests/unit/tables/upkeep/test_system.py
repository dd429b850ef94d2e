"""Statistics and system tables, of a table with rows."""

import json
from collections.abc import Iterator
from datetime import UTC, date, datetime, time
from decimal import Decimal

import pyarrow as pa
import pytest

from hosu.kernel.errors import CorruptError, ErrorKind, HosuError, NotFoundError, UnsupportedError
from hosu.kernel.fileio.memory import MemoryFileIO
from hosu.tables.catalog import Catalog
from hosu.tables.context import TableContext
from hosu.tables.reading.scan import Scan
from hosu.tables.records import CommitKind
from hosu.tables.snapshots import branches, consumers, find, tags
from hosu.tables.upkeep import statistics
from hosu.tables.upkeep.expiry import expire
from hosu.tables.upkeep.system import SYSTEM_TABLES, system_table
from hosu.tables.writing.verbs import insert, upsert
from hosu.testing.manual_clock import ManualClock

SCHEMA = pa.schema(
    [
        pa.field("id", pa.int64(), nullable=False),
        pa.field("dt", pa.string(), nullable=False),
        ("name", pa.string()),
        ("price", pa.decimal128(10, 2)),
        ("ratio", pa.float64()),
        ("day", pa.date32()),
        ("clock", pa.time32("ms")),
        ("seen", pa.timestamp("us")),
        ("seen_utc", pa.timestamp("ms", "UTC")),
        ("raw", pa.binary()),
        ("flag", pa.bool_()),
        ("many", pa.list_(pa.int32())),
    ]
)


def rows(*ids: int, dt: str = "a") -> pa.Table:
    count = len(ids)
    moment = datetime(2026, 1, 2, 3, 4, 5, 678_000, tzinfo=UTC)
    return pa.table(
        [
            list(ids),
            [dt] * count,
            [f"name-{number}" if number % 2 else None for number in ids],
            [Decimal(number) for number in ids],
            [number / 2 for number in ids],
            [date(1970, 1, 3)] * count,
            [time(0, 0, 1, 2000)] * count,
            [moment.replace(tzinfo=None)] * count,
            [moment] * count,
            [b"abc"] * count,
            [True] * count,
            [[1, None]] * count,
        ],
        schema=SCHEMA,
    )


@pytest.fixture
def ctx() -> Iterator[TableContext]:
    clock = ManualClock()
    with Catalog(MemoryFileIO(clock), "w", clock=clock) as catalog:
        catalog.create_database("d")
        catalog.create_table(
            "d.t",
            SCHEMA,
            partition_keys=["dt"],
            primary_keys=["dt", "id"],
            options={"bucket": "2", "snapshot.time-retained": "0 ms", "snapshot.num-retained.min": "1"},
        )
        ctx = catalog.open("d.t")
        upsert(ctx, rows(1, 2, 3))
        clock.advance(1)
        upsert(ctx, rows(3, 4, dt="b"))
        clock.advance(1)
        upsert(ctx, rows(1, 5))
        clock.advance(1)
        yield ctx


def analysed(column: pa.Array) -> statistics.ColumnStatistics:
    """Return what is known of the only column of a table."""
    clock = ManualClock()
    with Catalog(MemoryFileIO(clock), "w", clock=clock) as catalog:
        catalog.create_database("d")
        catalog.create_table("d.t", pa.schema([("v", column.type)]))
        ctx = catalog.open("d.t")
        insert(ctx, pa.table({"v": column}))
        found = statistics.read(ctx, statistics.analyze(ctx))
    assert found is not None
    return found.col_stats["v"]


def test_what_is_known_of_the_rows_is_after_merging(ctx: TableContext) -> None:
    made = statistics.analyze(ctx)
    assert made.commit_kind is CommitKind.ANALYZE
    found = statistics.read(ctx, made)
    assert found is not None
    assert (found.snapshot_id, found.schema_id, found.merged_record_count) == (made.id - 1, 0, 6)
    assert found.merged_record_size == sum(system_table(ctx, "files")["file_size_in_bytes"].to_pylist())
    columns = found.col_stats
    assert set(columns) == set(SCHEMA.names)
    ids = columns["id"]
    assert (ids.col_id, ids.min, ids.max, ids.null_count, ids.avg_len, ids.max_len) == (0, "1", "5", 0, 8, 8)
    assert (columns["name"].min, columns["name"].max, columns["name"].null_count) == ("name-1", "name-5", 2)
    assert (columns["name"].avg_len, columns["name"].max_len) == (6, 6)
    assert (columns["price"].min, columns["price"].max) == ("1.00", "5.00")
    assert (columns["day"].min, columns["clock"].max) == ("2", "1002")
    assert columns["seen"].min == columns["seen_utc"].min == "2026-01-02 03:04:05.678"
    assert (columns["flag"].max, columns["raw"].max, columns["raw"].max_len) == ("true", None, 3)
    assert columns["many"].null_count == 0
    assert columns["dt"].distinct_count == 2
    stored = json.loads(ctx.files.read(ctx.layout.statistics(str(made.statistics))))
    assert stored["colStats"]["id"]["colId"] == 0
    assert Scan(ctx, made).to_arrow().num_rows == 6


@pytest.mark.parametrize("zone", [None, "UTC"])
def test_least_and_greatest_times_are_exact_to_the_nanosecond(zone: str | None) -> None:
    found = analysed(pa.array([-1_000_000_001, 2_000_000_001], pa.timestamp("ns", zone)))
    assert (found.min, found.max) == ("1969-12-31 23:59:58.999999999", "1970-01-01 00:00:02.000000001")


@pytest.mark.parametrize("kind", [pa.float32(), pa.float64()])
def test_numbers_without_end_are_written_as_java_reads_them(kind: pa.DataType) -> None:
    found = analysed(pa.array([float("-inf"), 1.5, float("inf")], kind))
    assert (found.min, found.max) == ("-Infinity", "Infinity")
    assert analysed(pa.array([1.5, float("nan")], kind)).max == "NaN"
    assert analysed(pa.array(["nan"])).max == "nan"


def test_statistics_stay_with_later_snapshots_and_expire_with_the_last(ctx: TableContext) -> None:
    made = statistics.analyze(ctx, [])
    upsert(ctx, rows(9))
    ctx.clock.advance(1)  # type: ignore[attr-defined]
    expire(ctx)
    latest = find.latest(ctx)
    assert latest is not None
    found = statistics.read(ctx, latest)
    assert found is not None
    assert (found.merged_record_count, found.col_stats) == (6, {})
    again = statistics.analyze(ctx, ["id"])
    ctx.clock.advance(1)  # type: ignore[attr-defined]
    upsert(ctx, rows(9))
    expire(ctx)
    assert not ctx.files.exists(ctx.layout.statistics(str(made.statistics)))
    assert ctx.files.exists(ctx.layout.statistics(str(again.statistics)))


def test_damaged_statistics_are_named(ctx: TableContext) -> None:
    made = statistics.analyze(ctx, [])
    ctx.files.put(ctx.layout.statistics(str(made.statistics)), b"{")
    with pytest.raises(CorruptError, match=str(made.statistics)):
        statistics.read(ctx, made)
    with pytest.raises(HosuError) as caught:
        statistics.analyze(ctx, ["nobody"])
    assert caught.value.kind is ErrorKind.COLUMN_INVALID


def test_system_tables_say_what_the_metadata_does(ctx: TableContext) -> None:
    tags.create(ctx, "t", 1, retained_ms=60_000)
    consumers.reset(ctx, "c", 2)
    branches.create(ctx, "b", "t")
    statistics.analyze(ctx, ["id"])
    found = {name: system_table(ctx, name).to_pylist() for name in SYSTEM_TABLES}
    assert [row["snapshot_id"] for row in found["snapshots"]] == [1, 2, 3, 4]
    assert [row["commit_kind"] for row in found["snapshots"]] == ["APPEND"] * 3 + ["ANALYZE"]
    assert sum(row["record_count"] for row in found["files"]) == 7
    assert {row["partition"] for row in found["files"]} == {"dt=a", "dt=b"}
    assert all(ctx.files.exists(row["file_path"]) for row in found["files"])
    assert any("name=name-1" in row["min_value_stats"] for row in found["files"])
    assert {row["file_source"] for row in found["files"]} == {"APPEND"}
    assert json.loads(found["schemas"][0]["primary_keys"]) == ["dt", "id"]
    assert {"key": "bucket", "value": "2"} in found["options"]
    assert (found["tags"][0]["tag_name"], found["tags"][0]["time_retained"].total_seconds()) == ("t", 60)
    assert [row["branch_name"] for row in found["branches"]] == ["b"]
    assert found["consumers"] == [{"consumer_id": "c", "next_snapshot_id": 2}]
    assert sum(row["num_added_files"] for row in found["manifests"]) == len(found["files"])
    assert {row["partition"]: row["record_count"] for row in found["partitions"]} == {"dt=a": 5, "dt=b": 2}
    assert {row["total_buckets"] for row in found["partitions"]} == {2}
    assert sum(row["file_count"] for row in found["buckets"]) == len(found["files"])
    assert found["statistics"][0]["mergedRecordCount"] == 6


def test_system_tables_of_files_are_of_a_snapshot(ctx: TableContext) -> None:
    assert sum(system_table(ctx, "files", find.load(ctx, 1))["record_count"].to_pylist()) == 3


def test_a_new_table_has_empty_system_tables() -> None:
    clock = ManualClock()
    with Catalog(MemoryFileIO(clock), "w", clock=clock) as catalog:
        catalog.create_database("d")
        catalog.create_table("d.t", SCHEMA)
        ctx = catalog.open("d.t")
        for name in SYSTEM_TABLES:
            assert system_table(ctx, name).num_rows == (1 if name == "schemas" else 0)
        with pytest.raises(NotFoundError):
            statistics.analyze(ctx)
        with pytest.raises(UnsupportedError, match="'binlog'"):
            system_table(ctx, "binlog")

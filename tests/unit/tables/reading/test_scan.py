"""Reading a snapshot: which files, which rows, in which form."""

import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import date
from typing import Any

import duckdb
import numpy as np
import polars as pl
import pyarrow as pa
import pytest
from tests.support.table_rows import MakeTable, ticks
from tests.support.torch import IterableDataset, stand_in

from hosu.kernel.errors import CorruptError, HosuError, UnsupportedError
from hosu.kernel.fileio.memory import MemoryFileIO
from hosu.tables.catalog import Catalog
from hosu.tables.compaction.compacting import compact
from hosu.tables.context import TableContext
from hosu.tables.evolution import UpdateType
from hosu.tables.files.parquet import ParquetFileReader
from hosu.tables.merging.overlay import Overlay
from hosu.tables.predicates import Predicate, parse_where
from hosu.tables.reading import Scan, changes, outputs, rows
from hosu.tables.reading import scan as reading_scan
from hosu.tables.reading.pruning import PartitionFilter
from hosu.tables.records import RowKind, Snapshot
from hosu.tables.snapshots import find
from hosu.tables.types import DataType
from hosu.tables.writing.verbs import delete_where, insert, upsert

PLACED = pa.schema([("dt", pa.string()), ("id", pa.int64()), ("price", pa.float64()), ("note", pa.string())])


def latest(ctx: TableContext) -> Snapshot:
    found = find.latest(ctx)
    assert found is not None
    return found


def where(ctx: TableContext, text: str) -> Predicate:
    return parse_where(text, ctx.schema)


def read(ctx: TableContext, text: str | None = None, **more: Any) -> list[tuple[Any, ...]]:
    """Return the rows that match in their order, the same from a table and from a stream."""
    scan = Scan(ctx, latest(ctx), where=None if text is None else where(ctx, text), **more)
    whole = scan.to_arrow()
    streamed = scan.to_reader().read_all()
    assert whole.schema == streamed.schema == scan.schema
    rows = sorted((tuple(row.values()) for row in whole.to_pylist()), key=repr)
    assert sorted((tuple(row.values()) for row in streamed.to_pylist()), key=repr) == rows
    assert scan.count() == len(rows)
    return rows


def placed(*rows: tuple[Any, ...]) -> pa.Table:
    return pa.table([list(column) for column in zip(*rows, strict=True)], schema=PLACED)


def test_overlapping_files_are_merged_and_others_are_not(make: MakeTable) -> None:
    ctx = make()
    upsert(ctx, [ticks((1, 1.0, "a"), (2, 2.0, "b"))])
    upsert(ctx, [ticks((2, 3.0, "c"))])
    upsert(ctx, [ticks((9, 9.0, "z"))])
    assert read(ctx) == [(1, 1.0, "a"), (2, 3.0, "c"), (9, 9.0, "z")]
    assert [split.needs_merge for split in Scan(ctx, latest(ctx)).splits()] == [True, False]
    compact(ctx, full=True)
    assert [split.needs_merge for split in Scan(ctx, latest(ctx)).splits()] == [False]
    assert read(ctx) == [(1, 1.0, "a"), (2, 3.0, "c"), (9, 9.0, "z")]


def test_deleted_keys_are_not_read(make: MakeTable) -> None:
    ctx = make()
    upsert(ctx, [ticks((1, 1.0, "a"), (2, 2.0, "b"))])
    delete_where(ctx, where(ctx, "id = 2"))
    assert read(ctx) == [(1, 1.0, "a")]
    assert read(ctx, "price < 5", columns=["note"]) == [("a",)]
    both = make()
    upsert(both, [ticks((1, 1.0, "a"), (2, 2.0, "b"))], kinds=pa.array([RowKind.INSERT, RowKind.DELETE], pa.int8()))
    assert read(both, "price < 5", columns=["note"]) == [("a",)]
    only_deletes = make()
    upsert(only_deletes, [ticks((1, 1.0, "a"))], kinds=pa.array([RowKind.DELETE], pa.int8()))
    assert read(only_deletes) == []


def test_a_value_is_looked_at_once_rows_are_merged(make: MakeTable) -> None:
    ctx = make()
    upsert(ctx, [ticks((1, 1.0, "old"), (2, 2.0, "old"))])
    upsert(ctx, [ticks((1, 5.0, "new"))])
    assert read(ctx, "note = 'old'") == [(2, 2.0, "old")]
    assert read(ctx, "price < 3 and note like 'o%'") == [(2, 2.0, "old")]
    assert read(ctx, "note = 'new' and id = 1") == [(1, 5.0, "new")]
    assert read(ctx, "note = 'nobody'") == []
    assert not Scan(ctx, latest(ctx), where=where(ctx, "note = 'zzz'")).splits()


def test_values_of_aggregated_rows_do_not_prune_their_files(make: MakeTable) -> None:
    ctx = make(options={"merge-engine": "aggregation", "fields.price.aggregate-function": "sum"})
    upsert(ctx, [ticks((1, 2.0, "a"))])
    upsert(ctx, [ticks((1, 3.0, "b"))])
    assert read(ctx, "price = 5") == [(1, 5.0, "b")]


def test_keys_partitions_and_buckets_that_do_not_match_are_not_read(make: MakeTable) -> None:
    ctx = make(["dt", "id"], partitions=["dt"], schema=PLACED, options={"bucket": "4"})
    upsert(ctx, [placed(*((f"d{number % 3}", number, 1.0, "x") for number in range(240)))])
    everything = Scan(ctx, latest(ctx)).splits()
    assert len(everything) == 12
    assert {split.partition for split in Scan(ctx, latest(ctx), where=where(ctx, "dt = 'd1'")).splits()} == {("d1",)}
    assert len(Scan(ctx, latest(ctx), where=where(ctx, "id = 7")).splits()) <= 3
    assert len(Scan(ctx, latest(ctx), where=where(ctx, "dt = 'd1' and id in (7)")).splits()) == 1
    assert read(ctx, "dt = 'd1' and id in (7, 8)") == [("d1", 7, 1.0, "x")]
    assert not Scan(ctx, latest(ctx), where=where(ctx, "id > 1000")).splits()
    assert len(read(ctx, partitions=[("d2",)])) == 80
    assert len(read(ctx, "dt <> 'd2'")) == 160
    assert read(ctx, "dt = 'd2'", partitions=[("d1",)]) == []


def test_both_zeros_are_found_whatever_their_buckets(make: MakeTable) -> None:
    schema = pa.schema([("x", pa.float64()), ("v", pa.int64())])
    ctx = make(["x"], schema=schema, options={"bucket": "7"})
    upsert(ctx, [pa.table({"x": [-0.0, 0.0, 1.0], "v": [1, 2, 3]}, schema=schema)])
    assert sorted(row[1] for row in read(ctx, "x = 0")) == [1, 2]
    assert sorted(row[1] for row in read(ctx, "x in (0, 1)")) == [1, 2, 3]


def test_keys_are_found_in_the_bucket_of_the_type_they_had(make: MakeTable, catalog: Catalog) -> None:
    schema = pa.schema([("x", pa.int32()), ("v", pa.int64())])
    ctx = make((), schema=schema, options={"bucket": "5", "bucket-key": "x"})
    insert(ctx, [pa.table({"x": list(range(-9, 9)), "v": [0] * 18}, schema=schema)])
    catalog.alter_table(str(ctx.identifier), [UpdateType("x", DataType("BIGINT"))])
    ctx = catalog.open(str(ctx.identifier))
    assert [row[0] for x in range(-9, 9) for row in read(ctx, f"x = {x}")] == list(range(-9, 9))


def test_partitions_of_dates_and_nulls_are_pruned(make: MakeTable) -> None:
    schema = pa.schema([("day", pa.date32()), ("x", pa.int64())])
    ctx = make((), partitions=["day"], schema=schema)
    insert(ctx, [pa.table({"day": [date(2026, 1, 1), date(2026, 1, 2), None], "x": [1, 2, 3]}, schema=schema)])
    assert read(ctx, "day = date '2026-01-02'") == [(date(2026, 1, 2), 2)]
    assert read(ctx, "day is null") == [(None, 3)]
    assert len(Scan(ctx, latest(ctx), where=where(ctx, "day >= date '2026-01-02'")).splits()) == 1


def test_columns_come_in_the_order_asked_for(make: MakeTable) -> None:
    ctx = make()
    upsert(ctx, [ticks((1, 1.0, "a"), (2, 2.0, "b"))])
    upsert(ctx, [ticks((2, 3.0, "c"))])
    assert read(ctx, columns=["note", "id"]) == [("a", 1), ("c", 2)]
    assert read(ctx, "id = 2", columns=["note"]) == [("c",)]
    assert read(ctx, "price = 3", columns=["note"]) == [("c",)]
    with pytest.raises(HosuError, match="wrong"):
        Scan(ctx, latest(ctx), ["wrong"])
    with pytest.raises(HosuError, match="columns"):
        Scan(ctx, latest(ctx), [])


def test_a_limit_reads_no_more_files_than_it_needs(make: MakeTable) -> None:
    ctx = make(())
    for number in range(5):
        insert(ctx, [ticks((number, 1.0, "a"), (number, 2.0, "b"))])
    assert len(Scan(ctx, latest(ctx), limit=3).splits()) == 2
    assert Scan(ctx, latest(ctx), limit=3).to_arrow().num_rows == 3
    assert Scan(ctx, latest(ctx), limit=3).to_reader().read_all().num_rows == 3
    assert Scan(ctx, latest(ctx), limit=3).count() == 3
    assert Scan(ctx, latest(ctx), where=where(ctx, "price = 2"), limit=4).to_arrow().num_rows == 4
    assert Scan(ctx, latest(ctx), limit=0).to_arrow().num_rows == 0
    with pytest.raises(HosuError, match="limit"):
        Scan(ctx, latest(ctx), limit=-1)


def test_counting_reads_no_data_file_where_nothing_is_merged(make: MakeTable, files: MemoryFileIO) -> None:
    ctx = make(())
    insert(ctx, [ticks((1, 1.0, "a"), (2, 2.0, "b"))])
    snapshot = latest(ctx)
    for file in list(files.list(ctx.layout.path)):
        if file.key.endswith(".parquet"):
            files.delete_many([file.key])
    assert Scan(ctx, snapshot).count() == 2
    with pytest.raises(CorruptError, match="parquet"):
        Scan(ctx, snapshot).to_arrow()


def test_a_broken_file_is_named_and_the_rest_stays_readable(make: MakeTable, files: MemoryFileIO) -> None:
    ctx = make((), partitions=["dt"], schema=PLACED)
    insert(ctx, [placed(("a", 1, 1.0, "x"), ("b", 2, 2.0, "y"))])
    broken = next(file.key for file in files.list(ctx.layout.path) if "dt=a/" in file.key)
    files.put(broken, b"no parquet")
    with pytest.raises(CorruptError, match=r"dt=a.* snapshot 1") as caught:
        Scan(ctx, latest(ctx)).to_arrow()
    assert caught.value.details["snapshot"] == 1
    with pytest.raises(CorruptError, match="snapshot 1"):
        list(changes(ctx, from_snapshot=1))
    assert read(ctx, "dt = 'b'") == [("b", 2, 2.0, "y")]


def test_first_row_tables_show_rows_once_they_are_compacted(make: MakeTable) -> None:
    ctx = make(options={"merge-engine": "first-row", "changelog-producer": "lookup", "num-levels": "3"})
    upsert(ctx, [ticks((1, 1.0, "a"))])
    assert read(ctx) == []
    compact(ctx, full=True)
    upsert(ctx, [ticks((1, 2.0, "b"), (2, 2.0, "c"))])
    assert read(ctx) == [(1, 1.0, "a")]


def test_tables_with_deletion_vectors_leave_out_the_rows_that_are_deleted(make: MakeTable) -> None:
    ctx = make((), options={"deletion-vectors.enabled": "true"})
    insert(ctx, [ticks((1, 1.0, "a"), (2, 2.0, "b"), (3, 3.0, "c"))])
    delete_where(ctx, where(ctx, "id = 2"))
    assert read(ctx) == [(1, 1.0, "a"), (3, 3.0, "c")]
    assert sum(split.row_count for split in Scan(ctx, latest(ctx)).splits()) == 2


def test_a_table_before_its_first_commit_has_no_rows(make: MakeTable) -> None:
    scan = Scan(make(), None)
    assert scan.to_arrow().num_rows == scan.count() == 0
    assert scan.to_reader().read_all().schema == scan.schema


def test_large_merges_give_the_same_rows_in_little_memory(make: MakeTable) -> None:
    ctx = make(options={"bucket": "2"})
    rng = np.random.default_rng(3)
    for number in range(4):
        ids = np.unique(rng.integers(0, 60_000, 30_000))
        count = len(ids)
        upsert(ctx, [pa.table({"id": ids, "price": np.full(count, float(number)), "note": ["n"] * count})])
    scan = Scan(ctx, latest(ctx))
    whole = scan.to_arrow().sort_by("id")
    small = Scan(ctx, latest(ctx), memory_bytes=200_000)
    assert small.to_reader().read_all().sort_by("id").equals(whole)
    assert whole.num_rows == scan.count() == len(set(whole.column("id").to_pylist()))


@pytest.mark.parametrize(("repeats", "is_held"), [(1, True), (4_000, False)])
def test_newer_rows_are_held_only_where_they_are_as_small_as_their_files(
    make: MakeTable, monkeypatch: pytest.MonkeyPatch, repeats: int, *, is_held: bool
) -> None:
    ctx = make(options={"write-only": "true"})
    memory_bytes = 16 << 20
    for step in (1, 2):
        ids = np.arange(0, 2_000, step)
        upsert(ctx, [pa.table({"id": ids, "price": ids * 1.0, "note": [f"{step} " * repeats] * len(ids)})])
    held = []

    def noting(newer: Sequence[pa.Table], *more: Any, **named: Any) -> Overlay:
        held.append(sum(table.nbytes for table in newer))
        return Overlay(newer, *more, **named)

    monkeypatch.setattr(rows, "Overlay", noting)
    streamed = Scan(ctx, latest(ctx), ["id", "note"], memory_bytes=memory_bytes).to_reader().read_all()
    assert {len(note) for note in streamed["note"].to_pylist()} == {2 * repeats}
    assert [note[0] for note in streamed.sort_by("id")["note"].to_pylist()] == ["2", "1"] * 1_000
    assert bool(held) == is_held
    assert sum(held) < memory_bytes // 8


def test_rows_go_to_polars_pandas_and_duckdb(make: MakeTable) -> None:
    ctx = make()
    upsert(ctx, [ticks((1, 1.0, "a"), (2, 2.0, "b"))])
    scan = Scan(ctx, latest(ctx))
    frame = scan.to_polars()
    assert isinstance(frame, pl.DataFrame)
    assert frame.sort("id").rows() == [(1, 1.0, "a"), (2, 2.0, "b")]
    connection = duckdb.connect()
    assert scan.to_duckdb(connection, "ticks").sum("price").fetchall() == [(3.0,)]
    assert connection.execute("select count(*) from ticks").fetchall() == [(2,)]


def test_a_library_that_is_missing_is_named(make: MakeTable) -> None:
    ctx = make()
    upsert(ctx, [ticks((1, 1.0, "a"))])
    with pytest.raises(UnsupportedError, match="no_such_library"):
        outputs.library("no_such_library")


def test_batches_for_torch_are_of_one_size_and_shared_among_workers(
    make: MakeTable, monkeypatch: pytest.MonkeyPatch
) -> None:
    ctx = make((), options={"bucket": "-1"})
    for start in (0, 10, 20):
        insert(ctx, [ticks(*((number, float(number), "a") for number in range(start, start + 10)))])
    monkeypatch.setitem(sys.modules, "torch", stand_in())
    rows = Scan(ctx, latest(ctx)).to_torch(batch_rows=12)
    assert isinstance(rows, IterableDataset), "what a DataLoader asks"
    batches = list(rows)
    assert [len(batch["id"]) for batch in batches] == [12, 12, 6]
    assert sorted(int(value) for batch in batches for value in batch["id"]) == list(range(30))
    assert batches[0]["note"][0] == "a"


@pytest.mark.parametrize("merges", [1, 3])
def test_splits_that_are_merged_while_they_are_read_give_the_same_rows(
    make: MakeTable, monkeypatch: pytest.MonkeyPatch, merges: int
) -> None:
    ctx = make(options={"bucket": "3"})
    for price in (1.0, 2.0):
        upsert(ctx, [ticks(*((number, price, "a") for number in range(300)))])
    wanted = Scan(ctx, latest(ctx)).to_arrow().sort_by("id")
    monkeypatch.setattr(reading_scan, "_FOLD_ROWS", 10)
    monkeypatch.setattr(reading_scan, "_MERGES", merges)
    assert Scan(ctx, latest(ctx)).to_arrow().sort_by("id").equals(wanted)
    assert set(wanted.column("price").to_pylist()) == {2.0}


def test_a_read_goes_on_without_the_threads_of_its_pool(make: MakeTable) -> None:
    ctx = make(options={"bucket": "3"})
    for price in (1.0, 2.0):
        upsert(ctx, [ticks(*((number, price, "a") for number in range(30)))])
    pool = ThreadPoolExecutor(1)
    narrow = replace(ctx, pool=pool)
    # The only thread reads, and waits for nobody.
    found = pool.submit(lambda: Scan(narrow, latest(narrow)).to_arrow()).result(timeout=60)
    assert found.num_rows == 30
    pool.shutdown()
    assert Scan(narrow, latest(narrow), memory_bytes=1).to_reader().read_all().num_rows == 30


@pytest.mark.parametrize("options", [{}, {"sequence.field": "price"}, {"merge-engine": "partial-update"}])
def test_few_newer_rows_over_many_give_the_same_rows_however_they_are_read(
    make: MakeTable, options: dict[str, str]
) -> None:
    ctx = make(options={"file.block-size": "16 kb", **options})
    count = 4000
    rows = {number: (number, float(number % 100), f"n{number}") for number in range(count)}
    upsert(ctx, [ticks(*rows.values())])
    compact(ctx, full=True)
    for number, price in ((5, 500.0), (77, 600.0), (count + 1, 501.0), (78, 99.5)):
        rows[number] = (number, price, "new")
        upsert(ctx, [ticks(rows[number])])
    if options.get("merge-engine") is None:
        delete_where(ctx, where(ctx, "id = 79"))
        rows.pop(79)
    assert any(split.needs_merge for split in Scan(ctx, latest(ctx)).splits())
    assert read(ctx) == sorted(rows.values(), key=repr)
    assert read(ctx, "price = 77") == sorted((row for row in rows.values() if row[1] == 77), key=repr)
    assert read(ctx, "price >= 99") == sorted((row for row in rows.values() if row[1] >= 99), key=repr)
    assert read(ctx, "note = 'new'", columns=["price"]) == sorted(
        ((row[1],) for row in rows.values() if row[2] == "new"), key=repr
    )
    assert read(ctx, "id in (5, 6, 80) and price < 400") == [rows[6], rows[80]]


def test_row_groups_of_an_older_run_without_matches_are_not_read(
    make: MakeTable, monkeypatch: pytest.MonkeyPatch
) -> None:
    ctx = make(options={"file.block-size": "4 kb"})
    upsert(ctx, [ticks(*((number, float(number), "a" * 99) for number in range(3000)))])
    compact(ctx, full=True)
    upsert(ctx, [ticks((1, 0.5, "new"), (2999, 0.5, "new"))])
    groups = []
    before = ParquetFileReader.read

    def noting(self: ParquetFileReader, names: Sequence[str], chosen: Sequence[int] | None) -> pa.Table:
        groups.append((chosen, self.metadata.num_row_groups))
        return before(self, names, chosen)

    monkeypatch.setattr(ParquetFileReader, "read", noting)
    assert Scan(ctx, latest(ctx), where=where(ctx, "price < 10")).to_arrow().num_rows == 11
    assert sorted(groups, key=repr) == [(None, 1), ([0], 6)]


def test_partitions_that_are_named_are_found_without_asking_each(
    make: MakeTable, monkeypatch: pytest.MonkeyPatch
) -> None:
    schema = pa.schema([("d", pa.date32()), ("s", pa.string()), ("id", pa.int64())])
    ctx = make(("d", "s", "id"), partitions=("d", "s"), schema=schema)
    days = [date(2026, 1, day) for day in range(1, 9)]
    placed_rows = [(day, name, 1) for day in days for name in ("a", "b", "ü")]
    upsert(ctx, [pa.table([list(column) for column in zip(*placed_rows, strict=True)], schema=schema)])
    asked = []
    before = PartitionFilter.__call__

    def noting(self: PartitionFilter, values: Any) -> bool:
        asked.append(values)
        return before(self, values)

    monkeypatch.setattr(PartitionFilter, "__call__", noting)
    assert read(ctx, "d = '2026-01-03' and s in ('ü', 'c')") == [(days[2], "ü", 1)]
    assert set(asked) == {(days[2], "ü")}
    assert read(ctx, "d in ('2026-01-03', '2026-01-04') and s = 'a' and d > '2026-01-03'") == [(days[3], "a", 1)]
    assert read(ctx, "d = '2026-01-03' and s is null") == []
    asked.clear()
    assert len(read(ctx, "d = '2026-01-03'")) == 3
    assert len(set(asked)) == len(placed_rows)

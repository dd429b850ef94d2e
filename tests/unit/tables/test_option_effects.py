"""What options do: each of these tests fails where its option is not heeded."""

import io
from collections.abc import Iterator
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from hosu.kernel.fileio import MemoryFileIO
from hosu.tables.catalog import Catalog
from hosu.tables.context import TableContext
from hosu.tables.manifests.reader import ManifestReader
from hosu.tables.reading.scan import Scan
from hosu.tables.records import FileKind, ManifestEntry
from hosu.tables.snapshots import consumers, find
from hosu.tables.table import Table
from hosu.testing.manual_clock import ManualClock

SCHEMA = pa.schema([("p", pa.string()), ("id", pa.int64()), ("v", pa.string())])


@pytest.fixture
def catalog() -> Iterator[Catalog]:
    with Catalog(MemoryFileIO(), "w", clock=ManualClock()) as made:
        made.create_database("d")
        yield made


def make(catalog: Catalog, *, keyed: bool = True, **options: Any) -> Table:
    given = {name.replace("__", ".").replace("_", "-"): value for name, value in options.items()}
    keys = ["p", "id"] if keyed else []
    catalog.create_table("d.t", SCHEMA, partition_keys=["p"], primary_keys=keys, options=given)
    return Table(catalog, "d.t")


def rows(*ids: int, p: str = "a", v: str = "x") -> list[dict[str, Any]]:
    return [{"p": p, "id": number, "v": v} for number in ids]


def ids(table: Table) -> list[int]:
    return sorted(table.scan(["id"]).to_arrow().column("id").to_pylist())


def data_files(table: Table, prefix: str = "data-") -> list[bytes]:
    files = table.context.files
    names = [entry.key for entry in files.list(table.context.layout.path) if f"/{prefix}" in entry.key]
    return [files.read(name) for name in names]


def delta_entries(context: TableContext) -> list[ManifestEntry]:
    snapshot = find.latest(context)
    assert snapshot is not None
    reader = ManifestReader(context)
    manifests = reader.list(snapshot.delta_manifest_list)
    return [entry for manifest in manifests for entry in reader.entries(manifest.file_name)]


def test_the_old_row_of_an_update_is_left_out_where_that_is_said(catalog: Catalog) -> None:
    table = make(catalog, bucket="1", ignore_update_before="true")
    table.upsert(rows(1, 2))
    table.append([{**row, "_ROW_KIND": "-U"} for row in rows(1)])
    assert ids(table) == [1, 2]
    table.append([{**row, "_ROW_KIND": "-D"} for row in rows(1)])
    assert ids(table) == [2]


@pytest.mark.parametrize(("value", "seen"), [("false", []), ("true", [1])])
def test_what_is_not_compacted_is_merged_into_reads_of_deletion_vectors(
    catalog: Catalog, value: str, seen: list[int]
) -> None:
    options: dict[str, Any] = {
        "deletion_vectors__enabled": "true",
        "deletion_vectors__merge_on_read": value,
        "write_only": "true",
    }
    table = make(catalog, bucket="1", **options)
    table.upsert(rows(1))
    assert ids(table) == seen


@pytest.mark.parametrize(("value", "left"), [("true", [2, 3]), ("false", [3])])
def test_an_overwrite_takes_the_partitions_of_its_rows_or_all(catalog: Catalog, value: str, left: list[int]) -> None:
    table = make(catalog, bucket="1", dynamic_partition_overwrite=value)
    table.upsert([*rows(1), *rows(2, p="b")])
    table.overwrite(rows(3))
    assert ids(table) == left


def test_a_stream_begins_anew_where_its_progress_is_ignored(catalog: Catalog) -> None:
    table = make(catalog, bucket="1")
    for number in range(3):
        table.upsert(rows(number))
    consumers.reset(table.context, "c", 4)
    assert list(table.changes(consumer="c")) == []
    anew = Table(catalog, "d.t", options={"consumer.ignore-progress": "true"})
    assert sum(batch.rows.num_rows for batch in anew.changes(consumer="c")) == 3


@pytest.mark.parametrize(("value", "made"), [("true", 1), ("false", 2)])
def test_a_commit_of_nothing_is_a_snapshot_where_that_is_said(catalog: Catalog, value: str, made: int) -> None:
    table = make(catalog, bucket="1", snapshot__ignore_empty_commit=value)
    with table.writer() as writer:
        writer.write(pa.Table.from_pylist(rows(1), SCHEMA))
        writer.commit(1)
        writer.commit(2)
    latest = table.latest()
    assert latest is not None
    assert latest.id == made


@pytest.mark.parametrize("value", ["true", "false"])
def test_files_that_are_taken_out_lose_their_statistics_where_that_is_said(catalog: Catalog, value: str) -> None:
    table = make(catalog, bucket="1", manifest__delete_file_drop_stats=value)
    table.upsert(rows(1))
    table.overwrite(rows(2))
    with Catalog(catalog.files, "w", clock=ManualClock()) as other:  # which remembers nothing of what was written
        entries = delta_entries(other.open("d.t"))
    (taken,) = [entry for entry in entries if entry.kind is FileKind.DELETE]
    assert (taken.file.value_stats_cols == ()) == (value == "true")


@pytest.mark.parametrize("value", ["true", "false"])
def test_text_has_a_dictionary_where_that_is_said(catalog: Catalog, value: str) -> None:
    table = make(catalog, bucket="1", parquet__enable__dictionary=value)
    table.upsert(rows(*range(100)))
    (data,) = data_files(table)
    described = pq.ParquetFile(io.BytesIO(data)).metadata.row_group(0)
    chunks = [described.column(place) for place in range(described.num_columns)]
    (text,) = [chunk for chunk in chunks if chunk.path_in_schema == "v"]
    assert ("RLE_DICTIONARY" in text.encodings) == (value == "true")


def test_a_higher_level_of_compression_makes_smaller_files(catalog: Catalog) -> None:
    words = [f"{number * number % 977} is {number % 31}" for number in range(4000)]
    sizes = []
    for level in ("1", "19"):
        table = make(catalog, bucket="1", file__compression__zstd_level=level, parquet__enable__dictionary="false")
        table.upsert([{"p": "a", "id": number, "v": word} for number, word in enumerate(words)])
        sizes.append(len(data_files(table)[0]))
        catalog.drop_table("d.t")
    assert sizes[1] < 0.9 * sizes[0]


def test_changelogs_have_statistics_of_their_own_mode(catalog: Catalog) -> None:
    options: dict[str, Any] = {"changelog_producer": "input", "changelog_file__stats_mode": "none"}
    table = make(catalog, bucket="1", **options)
    table.upsert(rows(1))
    snapshot = find.latest(table.context)
    assert snapshot is not None
    assert snapshot.changelog_manifest_list is not None
    reader = ManifestReader(table.context)

    def columns(name: str) -> list[Any]:
        files = [entry.file for made in reader.list(name) for entry in reader.entries(made.file_name)]
        return [file.value_stats_cols for file in files]

    assert columns(snapshot.changelog_manifest_list) == [()]
    assert columns(snapshot.delta_manifest_list) != [()]


def test_a_read_begins_at_a_watermark(catalog: Catalog) -> None:
    table = make(catalog, bucket="1")
    for number in (1, 2, 3):
        with table.writer() as writer:
            writer.write(pa.Table.from_pylist(rows(number), SCHEMA))
            writer.commit(number, watermark=number * 100)
    assert ids(Table(catalog, "d.t", options={"scan.watermark": "150"})) == [1, 2]


def test_buckets_are_keys_modulo_their_number_where_that_is_said(catalog: Catalog) -> None:
    options: dict[str, Any] = {"bucket": "3", "bucket_key": "id", "bucket_function__type": "mod"}
    table = make(catalog, keyed=False, **options)
    table.append(rows(*range(-6, 7)))
    splits = Scan(table.context, table.latest()).splits()
    found = {
        split.bucket: sorted(row["id"] for batch in table.scan().batches([split]) for row in batch.to_pylist())
        for split in splits
    }
    assert found == {bucket: [number for number in range(-6, 7) if number % 3 == bucket] for bucket in range(3)}

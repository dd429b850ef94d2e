"""Delta tables through delta-rs: each commit is one conditional put, also with several writers at once."""

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import polars as pl
import pyarrow as pa
import pytest
from deltalake import DeltaTable, write_deltalake

WRITERS = 4


@pytest.fixture
def location(bucket: str) -> str:
    return f"s3://{bucket}/silver/orders"


def rows(first: int, count: int) -> Any:
    return pa.table({"id": range(first, first + count), "value": [f"v{i}" for i in range(first, first + count)]})


def read(location: str, options: dict[str, str], version: int | None = None) -> dict[int, str]:
    table = pa.table(DeltaTable(location, version=version, storage_options=options).to_pyarrow_table())
    return dict(zip(table["id"].to_pylist(), table["value"].to_pylist(), strict=True))


def test_a_table_is_written_appended_overwritten_and_kept_by_version(
    location: str, storage_options: dict[str, str]
) -> None:
    write_deltalake(location, rows(0, 3), storage_options=storage_options)
    write_deltalake(location, rows(3, 3), mode="append", storage_options=storage_options)
    assert sorted(read(location, storage_options)) == [0, 1, 2, 3, 4, 5]
    write_deltalake(location, rows(9, 1), mode="overwrite", storage_options=storage_options)
    assert read(location, storage_options) == {9: "v9"}
    assert sorted(read(location, storage_options, version=0)) == [0, 1, 2]
    history = DeltaTable(location, storage_options=storage_options).history()
    assert [entry["version"] for entry in history] == [2, 1, 0]


def test_a_merge_updates_and_inserts(location: str, storage_options: dict[str, str]) -> None:
    write_deltalake(location, rows(0, 3), storage_options=storage_options)
    source = pa.table({"id": [2, 3], "value": ["updated", "inserted"]})
    merge = DeltaTable(location, storage_options=storage_options).merge(
        source, "target.id = source.id", source_alias="source", target_alias="target"
    )
    merge.when_matched_update_all().when_not_matched_insert_all().execute()
    assert read(location, storage_options) == {0: "v0", 1: "v1", 2: "updated", 3: "inserted"}


def test_no_append_is_lost_when_writers_commit_at_once(location: str, storage_options: dict[str, str]) -> None:
    write_deltalake(location, rows(0, 1), storage_options=storage_options)

    def append(number: int) -> None:
        for step in range(3):
            write_deltalake(
                location, rows(100 * (number + 1) + step, 1), mode="append", storage_options=storage_options
            )

    with ThreadPoolExecutor(WRITERS) as pool:
        list(pool.map(append, range(WRITERS)))
    expected = {0} | {100 * (number + 1) + step for number in range(WRITERS) for step in range(3)}
    assert set(read(location, storage_options)) == expected
    assert DeltaTable(location, storage_options=storage_options).version() == WRITERS * 3


def test_polars_reads_what_delta_rs_wrote(location: str, storage_options: dict[str, str]) -> None:
    write_deltalake(location, rows(0, 10), storage_options=storage_options)
    pl.DataFrame({"id": [10], "value": ["v10"]}).write_delta(location, mode="append", storage_options=storage_options)
    frame = pl.scan_delta(location, storage_options=storage_options).select(pl.col("id").sum()).collect()
    assert frame.item() == sum(range(11))


def test_old_files_are_vacuumed(location: str, storage_options: dict[str, str]) -> None:
    for number in range(3):
        write_deltalake(location, rows(number, 1), mode="overwrite", storage_options=storage_options)
    table = DeltaTable(location, storage_options=storage_options)
    table.create_checkpoint()
    removed = table.vacuum(retention_hours=0, enforce_retention_duration=False, dry_run=False)
    assert len(removed) == 2
    assert read(location, storage_options) == {2: "v2"}

"""Data files of tables with bytes that have changed: named as corrupt, and never read as other rows."""

from collections.abc import Iterator

import pyarrow as pa
import pytest
from tests.support.table_files import open_table

from hosu.kernel.errors import CorruptError, UnsupportedError
from hosu.kernel.fileio import MemoryFileIO
from hosu.tables.context import TableContext
from hosu.tables.files import read_file, write_files
from hosu.tables.records import DataFile


def written(file_format: str) -> tuple[TableContext, DataFile, pa.Table]:
    """Write a small file of a number, text and a list."""
    columns = {"x": "BIGINT", "s": "STRING", "l": "ARRAY<INT>"}
    ctx = open_table(MemoryFileIO(), columns, options={"file.format": file_format})
    rows = pa.table(
        {"x": range(300), "s": [f"v{x % 7}-{x}" for x in range(300)], "l": [[x, None] for x in range(300)]}
    ).cast(ctx.schema.arrow)
    (file,) = write_files(ctx, (), 0, rows)
    return ctx, file, rows


def damaged(ctx: TableContext, file: DataFile, step: int) -> Iterator[int]:
    """Yield every step-th byte of the file while that byte has a bit turned around."""
    key = ctx.layout.data_file((), 0, file.file_name)
    data = ctx.files.read(key)
    for place in range(0, len(data), step):
        broken = bytearray(data)
        broken[place] ^= 1 << (place % 8)
        ctx.files.put(key, broken)
        yield place


def test_a_turned_bit_in_parquet_is_found_or_means_nothing() -> None:
    ctx, file, rows = written("parquet")
    found = 0
    for place in damaged(ctx, file, 2):
        try:
            assert read_file(ctx, (), 0, file).equals(rows), f"byte {place} of {file.file_size}"
        except CorruptError:
            found += 1
    assert found > file.file_size // 4


@pytest.mark.parametrize("file_format", ["orc", "avro"])
@pytest.mark.filterwarnings("ignore")
def test_a_turned_bit_in_a_format_without_checksums_is_no_other_error(file_format: str) -> None:
    ctx, file, _ = written(file_format)
    found = 0
    for _ in damaged(ctx, file, 3):
        try:
            assert read_file(ctx, (), 0, file).num_rows == file.row_count
        except (CorruptError, UnsupportedError):
            found += 1
    assert found > file.file_size // 12

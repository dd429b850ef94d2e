"""Nested values that are slices, come in pieces, or have something below a NULL: files hold what is seen of them."""

import random
from typing import Any

import pyarrow as pa
import pytest
from tests.support.table_files import open_table

from hosu.kernel.fileio import MemoryFileIO
from hosu.tables.files import read_file, write_files
from hosu.tables.types import arrow_type, parse_type

KINDS = (
    "ROW<x INT>",
    "ROW<x INT, n ROW<y INT, s STRING>>",
    "ROW<l ARRAY<ROW<z INT>>, m MAP<STRING, ROW<q STRING>>>",
    "ARRAY<ROW<x INT, n ROW<y INT>>>",
)


def value(source: random.Random, kind: pa.DataType) -> Any:
    if pa.types.is_struct(kind):
        return {field.name: value(source, field.type) for field in kind}
    if pa.types.is_map(kind):
        return [(str(place), value(source, kind.item_type)) for place in range(source.randint(0, 2))]
    if pa.types.is_list(kind):
        return [value(source, kind.value_type) for _ in range(source.randint(0, 3))]
    return source.choice(["a", "", "ccc"]) if pa.types.is_string(kind) else source.randint(0, 9)


def hidden(source: random.Random, values: pa.Array) -> pa.Array:
    """Return values with NULLs put over some of their rows, at every depth."""
    kind = values.type
    if not pa.types.is_struct(kind):
        return values
    parts = [hidden(source, values.field(place)) for place in range(kind.num_fields)]
    mask = pa.array([source.random() < 0.3 for _ in range(len(values))])
    return pa.StructArray.from_arrays(parts, fields=list(kind), mask=mask)


@pytest.mark.parametrize("file_format", ["parquet", "orc", "avro"])
@pytest.mark.parametrize("kind", KINDS)
def test_what_is_out_of_sight_is_in_no_file(kind: str, file_format: str) -> None:
    source = random.Random(kind)
    arrow = arrow_type(parse_type(kind))
    for length in (2, 3, 7, 40):
        values = hidden(source, pa.array([value(source, arrow) for _ in range(length + 1)], arrow))
        rows = pa.table({"v": pa.chunked_array([values[1:2], values[2:]])})
        ctx = open_table(MemoryFileIO(), {"v": kind}, options={"file.format": file_format})
        (file,) = write_files(ctx, (), 0, rows, level=0)
        assert read_file(ctx, (), 0, file).to_pylist() == rows.to_pylist()

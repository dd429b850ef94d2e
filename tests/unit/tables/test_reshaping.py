"""Nested values under types that say the same of them: names of parts, and parts that are never NULL."""

from typing import Any

import pyarrow as pa
import pytest

from hosu.kernel.fileio import MemoryFileIO
from hosu.tables.catalog import Catalog
from hosu.tables.reshaping import reshaped
from hosu.tables.table import Table
from hosu.tables.types import DataField, parse_type
from hosu.testing.manual_clock import ManualClock


def strict(*fields: tuple[str, pa.DataType]) -> pa.DataType:
    return pa.struct([pa.field(name, kind, nullable=False) for name, kind in fields])


INNER = strict(("x", pa.int32()), ("t", pa.string()), ("d", pa.decimal128(5, 2)), ("ts", pa.timestamp("us", "UTC")))
LOOSE = pa.struct([pa.field(field.name, field.type) for field in INNER])
ONE: dict[str, Any] = {"x": 1, "t": "a", "d": None, "ts": None}


@pytest.mark.parametrize(
    ("values", "loose", "target"),
    [
        ([None, None], LOOSE, INNER),
        ([{"x": 1}, None, {"x": 2}], pa.struct([("x", pa.int64())]), strict(("x", pa.int64()))),
        (
            [[{"x": True}, None], None, []],
            pa.list_(pa.struct([("x", pa.bool_())])),
            pa.list_(pa.field("element", strict(("x", pa.bool_())))),
        ),
        (
            [[("k", None), ("l", {"x": b"y"})], None],
            pa.map_(pa.string(), pa.struct([("x", pa.binary())])),
            pa.map_(pa.string(), strict(("x", pa.binary()))),
        ),
        (
            [{"in": {"x": [1]}}, {"in": None}, None],
            pa.struct([("in", pa.struct([("x", pa.list_(pa.int8()))]))]),
            pa.struct([pa.field("in", strict(("x", pa.list_(pa.int8()))))]),
        ),
        (
            [{"in": {"x": 1}}, None],
            pa.struct([("in", pa.struct([("x", pa.float32())]))]),
            strict(("in", strict(("x", pa.float32())))),
        ),
    ],
)
def test_parts_of_null_need_no_value(values: list[Any], loose: pa.DataType, target: pa.DataType) -> None:
    given = pa.array(values, loose)

    found = reshaped(given, target)

    found.validate(full=True)
    assert found.type == target
    assert found.to_pylist() == values
    assert reshaped(given.slice(1), target).to_pylist() == values[1:]
    assert reshaped(given.slice(0, 0), target).to_pylist() == []


@pytest.mark.parametrize(
    ("values", "loose", "target"),
    [
        ([ONE], LOOSE, INNER),
        ([[1, None]], pa.list_(pa.int8()), pa.list_(pa.field("element", pa.int8(), nullable=False))),
        ([[{"x": None}]], pa.list_(pa.struct([("x", pa.int8())])), pa.list_(strict(("x", pa.int8())))),
        ([300], pa.int32(), pa.int8()),
    ],
)
def test_a_part_that_lacks_its_value_is_refused(values: list[Any], loose: pa.DataType, target: pa.DataType) -> None:
    with pytest.raises(pa.ArrowInvalid):
        reshaped(pa.array(values, loose), target)


@pytest.mark.parametrize(
    ("sql", "value"),
    [
        ("VARIANT", {"value": b"\x0c\x07", "metadata": b"\x01\x00\x00"}),
        ("ROW<x INT NOT NULL, y ROW<z STRING NOT NULL>>", {"x": 1, "y": None}),
        ("ARRAY<ROW<x BYTES NOT NULL>>", [{"x": b"a"}, None]),
        ("MAP<STRING, ROW<x BOOLEAN NOT NULL>>", [("k", None)]),
    ],
)
def test_a_table_keeps_null_beside_values_whose_parts_are_never_null(sql: str, value: Any) -> None:
    with Catalog(MemoryFileIO(), "wh", clock=ManualClock()) as catalog:
        catalog.create_database("db")
        columns = [DataField(0, "k", parse_type("INT")), DataField(0, "v", parse_type(sql))]
        catalog.create_table("db.t", columns, primary_keys=["k"], options={"bucket": "1"})
        table = Table(catalog, "db.t")
        rows = pa.Table.from_pydict({"k": [1, 2], "v": [value, None]}, schema=table.arrow_schema)

        table.upsert(rows)
        table.upsert(rows.slice(1))
        table.compact(full=True)

        assert sorted(table.scan().to_arrow().to_pylist(), key=lambda row: row["k"]) == rows.to_pylist()

# ruff: noqa: DTZ001
# A TIMESTAMP has no time zone.
"""Files of older schemas, read under the table's schema of now."""

import datetime as dt
import math
from decimal import Decimal
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from tests.support.table_files import evolved, fields_of, open_table

from hosu.kernel.errors import InvalidInputError, UnsupportedError
from hosu.kernel.fileio import FileIO, MemoryFileIO
from hosu.tables.files import read_file, write_files
from hosu.tables.files.casts import cast_values
from hosu.tables.files.pruning import file_filter
from hosu.tables.predicates import parse_where
from hosu.tables.types import DataType, arrow_type, parse_type
from hosu.tables.widening import casts, widens

LTZ = "TIMESTAMP(3) WITH LOCAL TIME ZONE"
TYPES = [
    *("BOOLEAN", "TINYINT", "SMALLINT", "INT", "BIGINT", "FLOAT", "DOUBLE", "DECIMAL(10, 2)", "DECIMAL(20, 5)"),
    *("CHAR(3)", "VARCHAR(5)", "STRING", "BINARY(3)", "VARBINARY(5)", "BYTES", "DATE", "TIME(0)", "TIME(3)"),
    *("TIMESTAMP(0)", "TIMESTAMP(3)", "TIMESTAMP(6)", "TIMESTAMP(9)", LTZ, "TIMESTAMP(9) WITH LOCAL TIME ZONE"),
]


def row_of(number: int, **fields: tuple[int, str]) -> tuple[int, DataType]:
    """Return a column of this id that is a ROW: of each field its id and type."""
    return number, DataType("ROW", fields=fields_of(fields))


@pytest.fixture
def files() -> MemoryFileIO:
    return MemoryFileIO()


@pytest.mark.parametrize("file_format", ["parquet", "orc", "avro"])
def test_columns_are_known_by_their_ids(files: FileIO, file_format: str) -> None:
    old = open_table(files, {"a": "INT", "b": "STRING", "c": "DOUBLE"}, options={"file.format": file_format})
    rows = pa.table({"a": [1, None], "b": ["x", "y"], "c": [0.5, None]}).cast(old.schema.arrow)
    (file,) = write_files(old, (), 0, rows)
    # b and a swap their names, c is dropped, another c is added, and a is wider.
    new = evolved(old, {"c": (3, "STRING"), "a": (1, "STRING"), "b": (0, "BIGINT")})
    expected = [{"c": None, "a": "x", "b": 1}, {"c": None, "a": "y", "b": None}]
    found = read_file(new, (), 0, file)
    assert found.schema == new.schema.arrow
    assert found.to_pylist() == expected
    assert read_file(new, (), 0, file, as_reader=True).read_all().to_pylist() == expected
    assert read_file(new, (), 0, file, ["c"]).to_pylist() == [{"c": None}, {"c": None}]
    assert read_file(old, (), 0, file).equals(rows)


def test_fields_within_fields_are_known_by_their_ids(files: FileIO) -> None:
    old = open_table(
        files,
        {
            "r": row_of(0, a=(1, "INT"), b=(2, "STRING")),
            "l": (10, "ARRAY<ARRAY<INT>>"),
            "m": (20, "MAP<STRING, INT>"),
        },
    )
    given: list[dict[str, Any]] = [
        {"r": {"a": 1, "b": "x"}, "l": [[1, 2], None], "m": [("k", 1), ("n", None)]},
        {"r": None, "l": None, "m": None},
        {"r": {"a": None, "b": None}, "l": [], "m": []},
        {"r": {"a": 4, "b": "z"}, "l": [[5]], "m": [("k", 9)]},
    ]
    (file,) = write_files(old, (), 0, pa.Table.from_pylist(given, schema=old.schema.arrow))
    new = evolved(
        old,
        {
            "m": (20, "MAP<STRING, BIGINT>"),
            "r": row_of(0, c=(3, "DOUBLE"), b2=(2, "STRING"), a=(1, "BIGINT")),
            "l": (10, "ARRAY<ARRAY<DOUBLE>>"),
        },
    )
    found = read_file(new, (), 0, file)
    assert found.schema == new.schema.arrow
    assert found.column("m").to_pylist() == [row["m"] for row in given]
    assert found.column("l").to_pylist() == [row["l"] for row in given]
    assert found.column("r").to_pylist() == [
        {"c": None, "b2": "x", "a": 1},
        None,
        {"c": None, "b2": None, "a": None},
        {"c": None, "b2": "z", "a": 4},
    ]
    reader = read_file(new, (), 0, file, ["r", "l", "m"], as_reader=True, batch_rows=3)
    assert reader.read_all().to_pylist() == found.select(["r", "l", "m"]).to_pylist()


def test_a_value_that_its_new_type_cannot_say_is_named_with_its_column(files: FileIO) -> None:
    old = open_table(files, {"a": "STRING"})
    (file,) = write_files(old, (), 0, pa.table({"a": ["7", "seven"]}))
    new = evolved(old, {"b": (0, "INT")})
    with pytest.raises(InvalidInputError, match=r"column 'b': .*'seven'"):
        read_file(new, (), 0, file)


def test_predicates_reach_older_files_only_where_they_mean_the_same(files: FileIO) -> None:
    old = open_table(files, {"a": "INT", "b": "INT"})
    (file,) = write_files(old, (), 0, pa.table({"a": [1, 2], "b": [10, 20]}).cast(old.schema.arrow))
    new = evolved(old, {"b": (0, "INT"), "a": (1, "STRING"), "c": (2, "INT")})

    def kept(where: str) -> bool:
        return file_filter(new, parse_where(where, new.schema))(file)

    assert kept("b = 1")
    assert not kept("b = 10"), "b is the a of then"
    assert kept("a = '3'"), "10 and 20 are text by now, in another order"
    assert kept("c = 5"), "the column is not there: that it is NULL the reader says"
    assert not kept("c = 5 AND b = 10")
    where = parse_where("a = '20' AND c IS NULL", new.schema)
    assert read_file(new, (), 0, file, predicate=where, exact=True).to_pylist() == [{"b": 2, "a": "20", "c": None}]


def cast(values: list[Any], source: str, target: str) -> list[Any]:
    """Return values of one type as those of another."""
    old, new = parse_type(source), parse_type(target)
    found = cast_values(pa.array(values, arrow_type(old)), old, new)
    assert found.type == arrow_type(new)
    plain: list[Any] = found.to_pylist()
    return plain


D = Decimal


@pytest.mark.parametrize(
    ("source", "target", "values", "expected"),
    [
        ("INT", "BIGINT", [1, None], [1, None]),
        ("BIGINT", "INT", [2**31, -1, None], [-(2**31), -1, None]),
        ("INT", "TINYINT", [300, -129], [44, 127]),
        ("INT", "DOUBLE", [7, None], [7.0, None]),
        ("DOUBLE", "INT", [1.9, -1.9, math.nan, 1e300, -1e300, None], [1, -1, 0, 2**31 - 1, -(2**31), None]),
        ("DOUBLE", "BIGINT", [9.3e18, -9.3e18], [2**63 - 1, -(2**63)]),
        ("FLOAT", "DOUBLE", [0.5, None], [0.5, None]),
        ("INT", "DECIMAL(4, 2)", [12, 100, None], [D("12.00"), None, None]),
        ("DECIMAL(5, 3)", "DECIMAL(4, 1)", [D("1.250"), D("-1.250"), None], [D("1.3"), D("-1.3"), None]),
        ("DECIMAL(6, 1)", "DECIMAL(4, 1)", [D("99999.9"), D("1.0")], [None, D("1.0")]),
        ("DECIMAL(12, 2)", "INT", [D("4294967297.99"), D("-1.99"), None], [1, -1, None]),
        ("DECIMAL(12, 2)", "DOUBLE", [D("1.25")], [1.25]),
        ("DOUBLE", "DECIMAL(5, 2)", [1.005, 0.1, 1e10, None], [D("1.01"), D("0.10"), None, None]),
        ("BOOLEAN", "INT", [True, False, None], [1, 0, None]),
        ("INT", "BOOLEAN", [2, 0, None], [True, False, None]),
        ("STRING", "BOOLEAN", [" T", "no", None], [True, False, None]),
        ("STRING", "INT", [" 12 ", None], [12, None]),
        ("STRING", "DECIMAL(5, 2)", [" 1.255", "123456"], [D("1.26"), None]),
        ("STRING", "DATE", ["2026-01-31", None], [dt.date(2026, 1, 31), None]),
        ("STRING", "TIME(1)", [" 09:30:01.299 ", None], [dt.time(9, 30, 1, 200000), None]),
        (
            "STRING",
            "TIMESTAMP(3)",
            ["2026-01-31 09:00:00.1239", None],
            [dt.datetime(2026, 1, 31, 9, 0, 0, 123000), None],
        ),
        ("TIMESTAMP(3)", LTZ, [dt.datetime(2026, 1, 31, 9)], [dt.datetime(2026, 1, 31, 9, tzinfo=dt.UTC)]),
        (LTZ, "TIMESTAMP(6)", [dt.datetime(2026, 1, 31, 9, tzinfo=dt.UTC)], [dt.datetime(2026, 1, 31, 9)]),
        (LTZ, "STRING", [dt.datetime(2026, 1, 31, 9, tzinfo=dt.UTC)], ["2026-01-31 09:00:00.000"]),
        ("STRING", "VARCHAR(2)", ["말말말", None], ["말말", None]),
        ("STRING", "CHAR(3)", ["x"], ["x  "]),
        ("STRING", "BYTES", ["é"], [b"\xc3\xa9"]),
        ("BYTES", "STRING", [b"\xc3\xa9"], ["é"]),
        ("BYTES", "VARBINARY(1)", [b"ab"], [b"a"]),
        ("VARBINARY(9)", "BINARY(2)", [b"a", b"abc"], [b"a\x00", b"ab"]),
        ("INT", "STRING", [-5, None], ["-5", None]),
        ("BOOLEAN", "STRING", [True], ["true"]),
        ("DOUBLE", "STRING", [1.0, 1e7, 1.5e-5, math.nan, -math.inf], ["1.0", "1.0E7", "1.5E-5", "NaN", "-Infinity"]),
        ("FLOAT", "STRING", [0.10000000149011612, None], ["0.1", None]),
        ("DECIMAL(5, 2)", "STRING", [D("1.50")], ["1.50"]),
        ("DATE", "STRING", [dt.date(2026, 1, 31)], ["2026-01-31"]),
        ("DATE", "TIMESTAMP(3)", [dt.date(2026, 1, 31)], [dt.datetime(2026, 1, 31)]),
        ("TIMESTAMP(6)", "DATE", [dt.datetime(1969, 12, 31, 23), None], [dt.date(1969, 12, 31), None]),
        (
            "TIMESTAMP(6)",
            "TIMESTAMP(0)",
            [dt.datetime(1969, 12, 31, 23, 59, 59, 5)],
            [dt.datetime(1969, 12, 31, 23, 59, 59)],
        ),
        ("TIMESTAMP(3)", "TIMESTAMP(6)", [dt.datetime(2026, 1, 1), None], [dt.datetime(2026, 1, 1), None]),
        ("TIMESTAMP(0)", "STRING", [dt.datetime(2026, 1, 31, 9)], ["2026-01-31 09:00:00"]),
        ("TIMESTAMP(6)", "STRING", [dt.datetime(2026, 1, 31, 9), None], ["2026-01-31 09:00:00.000000", None]),
        ("DECIMAL(5, 2)", "DECIMAL(20, 0)", [D("999.99"), None], [D(1000), None]),
        ("DECIMAL(5, 2)", "DECIMAL(3, 0)", [D("999.99"), D("-0.05"), None], [None, D(0), None]),
        ("DECIMAL(38, 10)", "DECIMAL(38, 38)", [D("1234567890123456789012345678.0123456789"), None], [None, None]),
        ("DECIMAL(38, 10)", "STRING", [D("-1E-10"), D("0E-10"), None], ["-0.0000000001", "0.0000000000", None]),
        ("DECIMAL(20, 7)", "DOUBLE", [D("-8349.1234567"), D("0.1"), None], [-8349.1234567, 0.1, None]),
        ("DECIMAL(5, 2)", "FLOAT", [D("-0.05")], [float(np.float32(-0.05))]),
        ("BINARY(4)", "CHAR(3)", [b"abcd", None], ["abcd", None]),
        ("TIME(3)", "STRING", [dt.time(9, 30, 0, 90000), dt.time(0), None], ["09:30:00.09", "00:00:00.0", None]),
        ("TIME(0)", "STRING", [dt.time(9, 30, 20)], ["09:30:20"]),
        ("TIMESTAMP(3)", "TIME(0)", [dt.datetime(2026, 1, 1, 9, 30, 1)], [dt.time(9, 30, 1)]),
        ("TIME(3)", "TIME(0)", [dt.time(9, 30, 1, 999000)], [dt.time(9, 30, 1)]),
    ],
)
def test_values_change_their_type_as_in_java(source: str, target: str, values: list[Any], expected: list[Any]) -> None:
    assert cast(values, source, target) == expected


@pytest.mark.parametrize("source", TYPES)
def test_every_change_of_type_that_a_schema_may_make_can_be_read(source: str) -> None:
    old = parse_type(source)
    for target in map(parse_type, TYPES):
        if casts(old, target) or widens(old, target):
            found = cast_values(pa.nulls(2, arrow_type(old)), old, target)
            assert (found.type, found.null_count) == (arrow_type(target), 2), target


@pytest.mark.parametrize(
    ("target", "value"), [("DECIMAL(5, 2)", "x"), ("DATE", "x"), ("TIME(0)", "x"), ("INT", "x"), ("BOOLEAN", "maybe")]
)
def test_text_that_is_no_value_is_refused(target: str, value: str) -> None:
    with pytest.raises(InvalidInputError, match=value):
        cast([value], "STRING", target)


def test_types_without_a_cast_are_refused_by_name() -> None:
    with pytest.raises(UnsupportedError, match=r"DATE.*INT"):
        cast([dt.date(2026, 1, 1)], "DATE", "INT")

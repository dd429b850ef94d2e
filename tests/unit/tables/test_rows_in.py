from collections.abc import Iterator
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from typing import Any

import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

from hosu.kernel.errors import ErrorKind, InvalidInputError
from hosu.tables.rows_in import batches_of
from hosu.tables.types import DataField, cast_rows, parse_type, type_of_arrow

SCHEMA = pa.schema([("key", pa.int64()), ("text", pa.string())])
ROWS = [{"key": 1, "text": "a"}, {"key": 2, "text": None}]
TABLE = pa.Table.from_pylist(ROWS, SCHEMA)


def _rows(given: Any) -> list[Any]:
    return [row for table in batches_of(given, SCHEMA) for row in table.to_pylist()]


def _one_by_one() -> Iterator[Any]:
    yield from ROWS


@pytest.mark.parametrize(
    "given",
    [
        pytest.param(TABLE, id="a table"),
        pytest.param(TABLE.to_batches()[0], id="a batch"),
        pytest.param(ROWS, id="a list of mappings"),
        pytest.param({"key": [1, 2], "text": ["a", None]}, id="columns by name"),
        pytest.param({"key": pa.array([1, 2]), "text": pa.array(["a", None])}, id="Arrow arrays by name"),
        pytest.param(pl.DataFrame(ROWS), id="a Polars frame"),
        pytest.param([TABLE.slice(0, 1), TABLE.slice(1)], id="a list of tables"),
    ],
)
def test_rows_come_in_as_their_owners_have_them(given: Any) -> None:
    assert _rows(given) == ROWS


def test_readers_and_iterators_are_read_to_their_end() -> None:
    assert _rows(TABLE.to_reader()) == ROWS
    assert _rows(_one_by_one()) == ROWS


def test_a_pandas_frame_gives_its_columns_without_its_index() -> None:
    frame = pd.DataFrame({"key": [1, 2], "text": ["a", "b"]}, index=[7, 8])
    assert _rows(frame) == [{"key": 1, "text": "a"}, {"key": 2, "text": "b"}]


def test_a_mapping_that_lacks_a_column_has_null_there() -> None:
    assert _rows([{"key": 1, "text": "a"}, {"key": 2}]) == ROWS


@pytest.mark.parametrize("given", ["text", b"bytes", 7, None])
def test_what_is_no_rows_is_refused(given: Any) -> None:
    with pytest.raises(InvalidInputError, match="is no rows") as refusal:
        list(batches_of(given, SCHEMA))
    assert refusal.value.kind is ErrorKind.ROWS_INVALID


def test_a_value_that_its_column_cannot_hold_names_the_column() -> None:
    with pytest.raises(InvalidInputError, match="column 'key'") as refusal:
        list(batches_of([{"key": "one", "text": "a"}], SCHEMA))
    assert refusal.value.details["column"] == "key"


EXACT = pa.schema(
    [
        ("whole", pa.int64()),
        ("small", pa.float32()),
        ("at", pa.timestamp("ms")),
        ("day", pa.date32()),
        ("list", pa.list_(pa.int64())),
    ]
)


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("whole", 1.5),
        ("small", 1e300),
        ("at", datetime(2026, 1, 31, 9, 0, 0, 123456)),  # noqa: DTZ001 - a time without a zone
        ("at", datetime(2026, 1, 31, 9, tzinfo=timezone(timedelta(hours=9)))),
        ("day", datetime(2026, 1, 31, 9)),  # noqa: DTZ001 - as above
        ("list", [1, 2.5]),
    ],
)
def test_a_value_of_pythons_is_refused_rather_than_cut(column: str, value: Any) -> None:
    fields = [DataField(place, field.name, type_of_arrow(field.type)) for place, field in enumerate(EXACT)]
    (table,) = batches_of([{column: value}], EXACT)
    with pytest.raises(InvalidInputError, match=f"column '{column}', row 0") as refusal:
        cast_rows(table, fields, partial=True)
    assert refusal.value.kind is ErrorKind.ROWS_INVALID


def test_values_of_pythons_that_fit_come_in_whole() -> None:
    fields = [DataField(place, field.name, type_of_arrow(field.type)) for place, field in enumerate(EXACT)]
    row = {
        "whole": 2.0,
        "small": 0.5,
        "at": datetime(2026, 1, 31, 9, 0, 0, 123000),  # noqa: DTZ001 - as above
        "day": date(2026, 1, 31),
        "list": [1, 2.0],
    }
    (table,) = batches_of([row, dict.fromkeys(row)], EXACT)
    assert cast_rows(table, fields).to_pylist() == [row, dict.fromkeys(row)]
    (table,) = batches_of([{"at": 0}], EXACT)
    assert table.to_pylist() == [{"at": datetime(1970, 1, 1)}]  # noqa: DTZ001 - as above


@pytest.mark.parametrize(
    ("given", "word"),
    [
        ({"key": 1, "text": "a"}, "no list of values"),
        ({"text": "abc"}, "no list of values"),
        ({"key": [1], "text": ["a", "b"]}, "differ in length"),
        (pd.DataFrame({"key": [1, 2], "text": ["a", 5]}), "pandas"),
    ],
)
def test_columns_that_make_no_rows_are_refused(given: Any, word: str) -> None:
    with pytest.raises(InvalidInputError, match=word) as refusal:
        list(batches_of(given, SCHEMA))
    assert refusal.value.kind is ErrorKind.ROWS_INVALID


def test_an_empty_frame_may_have_columns_of_other_types() -> None:
    fields = [DataField(place, field.name, type_of_arrow(field.type)) for place, field in enumerate(SCHEMA)]
    (table,) = batches_of(pd.DataFrame({"key": [], "text": []}), SCHEMA)
    assert cast_rows(table, fields).schema == SCHEMA


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        (pa.int64(), Decimal("1.5")),
        (pa.timestamp("us"), pd.Timestamp("2026-01-31 09:00:00.123456789")),
        (pa.time32("ms"), time(9, 0, 0, 123456)),
        (pa.map_(pa.string(), pa.int32()), {"a": 2.5}),
        (pa.map_(pa.string(), pa.int32()), [("a", 2.5)]),
        (pa.struct([("a", pa.list_(pa.int32()))]), {"a": [2.5]}),
        (pa.struct([("a", pa.int32())]), {"a": 2, "b": 3}),
        (pa.list_(pa.date32()), [date(2026, 1, 31), datetime(2026, 1, 31, 9, tzinfo=UTC)]),
        (pa.timestamp("us"), datetime(2026, 1, 31, 9, tzinfo=UTC)),
        (pa.map_(pa.string(), pa.timestamp("ms")), {"a": datetime(2026, 1, 31, 9, tzinfo=UTC)}),
        (pa.time32("ms"), time(9, tzinfo=UTC)),
        (pa.list_(pa.string()), "abc"),
        (pa.list_(pa.int32()), b"abc"),
    ],
)
def test_a_value_is_refused_of_which_the_column_holds_only_a_part(kind: pa.DataType, value: Any) -> None:
    fields = [DataField(0, "key", type_of_arrow(kind))]
    with pytest.raises(InvalidInputError, match="column 'key'") as refusal:
        [cast_rows(table, fields) for table in batches_of({"key": [None, value]}, pa.schema([("key", kind)]))]
    assert refusal.value.kind is ErrorKind.ROWS_INVALID


@pytest.mark.parametrize(
    ("kind", "value", "stored"),
    [
        (pa.int32(), 2.0, 2),
        (pa.date32(), datetime(2026, 1, 31), date(2026, 1, 31)),  # noqa: DTZ001 - as it comes
        (pa.timestamp("ms"), 5, datetime(1970, 1, 1, 0, 0, 0, 5000)),  # noqa: DTZ001 - as it comes
        (pa.map_(pa.string(), pa.int32()), {"a": 2.0}, [("a", 2)]),
    ],
)
def test_a_value_of_another_type_is_taken_where_nothing_of_it_is_lost(
    kind: pa.DataType, value: Any, stored: Any
) -> None:
    (table,) = batches_of({"key": iter([value])}, pa.schema([("key", kind)]))
    fields = [DataField(0, "key", type_of_arrow(kind))]
    assert cast_rows(table, fields).column("key").to_pylist() == [stored]


@pytest.mark.parametrize("given", [{1: [1]}, pd.DataFrame([[1, 2]], columns=["key", "key"])])
def test_names_that_no_table_has_are_refused(given: Any) -> None:
    with pytest.raises(InvalidInputError) as refusal:
        list(batches_of(given, SCHEMA))
    assert refusal.value.kind is ErrorKind.ROWS_INVALID


def test_mappings_of_an_iterator_become_few_tables() -> None:
    tables = list(batches_of(({"key": key} for key in range(1000)), SCHEMA))
    assert [table.num_rows for table in tables] == [1000]
    mixed = iter([*ROWS, TABLE, *ROWS])
    assert [table.num_rows for table in batches_of(mixed, SCHEMA)] == [2, 2, 2]


def test_times_of_which_some_have_a_zone_are_taken_only_where_the_column_has_one() -> None:
    mixed = [datetime(2026, 1, 31, 9), datetime(2026, 1, 31, 9, tzinfo=timezone(timedelta(hours=9)))]  # noqa: DTZ001
    with pytest.raises(InvalidInputError, match=r"column 'at', row 1 .*zone"):
        list(batches_of({"at": mixed}, EXACT))
    zoned = pa.schema([("at", pa.timestamp("ms", "UTC"))])
    (table,) = batches_of({"at": mixed}, zoned)
    (at,) = cast_rows(table, [DataField(0, "at", type_of_arrow(zoned.field("at").type))]).to_pydict().values()
    assert at == [datetime(2026, 1, 31, 9, tzinfo=UTC), datetime(2026, 1, 31, 0, tzinfo=UTC)]


@pytest.mark.parametrize("value", [2**63, "x", True])
def test_a_value_that_no_array_holds_is_named_with_its_row(value: Any) -> None:
    with pytest.raises(InvalidInputError, match=r"column 'key', row 1 \(from 0\): ") as refusal:
        list(batches_of([{"key": 1}, {"key": value}], SCHEMA))
    assert refusal.value.details["row"] == 1


def test_types_of_polars_come_in_or_are_refused() -> None:
    frame = pl.DataFrame(
        {
            "tag": pl.Series(["a", None], dtype=pl.Categorical),
            "kind": pl.Series(["x", "x"], dtype=pl.Enum(["x"])),
            "tags": pl.Series([["a"], None], dtype=pl.List(pl.Categorical)),
            "part": [{"y": "b"}, None],
        }
    )
    names = {"tag": "STRING", "kind": "STRING", "tags": "ARRAY<STRING>", "part": "ROW<y STRING>"}
    fields = [DataField(place, name, parse_type(sql)) for place, (name, sql) in enumerate(names.items())]
    (table,) = batches_of(frame, SCHEMA)
    assert cast_rows(table, fields).to_pylist() == [
        {"tag": "a", "kind": "x", "tags": ["a"], "part": {"y": "b"}},
        {"tag": None, "kind": "x", "tags": None, "part": None},
    ]
    for given in (pl.Series("key", [1]), pl.DataFrame({"key": pl.Series([2**100], dtype=pl.Int128)})):
        with pytest.raises(InvalidInputError, match="no rows of Arrow"):
            list(batches_of(given, SCHEMA))


class _Stream:
    """Rows of a library that wrote no UTF-8."""

    def __arrow_c_stream__(self, requested_schema: object = None) -> object:
        broken = pa.Array.from_buffers(pa.string(), 1, [None, pa.py_buffer(b"\0\0\0\0\1\0\0\0"), pa.py_buffer(b"\xff")])
        return pa.table({"text": broken}).__arrow_c_stream__(requested_schema)


def test_a_stream_that_breaks_arrows_rules_is_refused() -> None:
    with pytest.raises(InvalidInputError, match=r"_Stream breaks Arrow's rules.*UTF-?8"):
        list(batches_of(_Stream(), SCHEMA))

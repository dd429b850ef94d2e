"""The types of columns: read, written, mapped to Arrow, and rows brought to them."""

from datetime import UTC, date, datetime, time
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hosu.kernel.errors import ErrorKind, InvalidInputError, UnsupportedError
from hosu.tables.types import (
    BYTES,
    STRING,
    DataField,
    DataType,
    arrow_schema,
    arrow_type,
    cast_rows,
    default_of,
    highest_id,
    number_fields,
    parse_type,
    type_json,
    type_of_arrow,
    type_sql,
)

moment = datetime.fromisoformat


def column(name: str, sql: str, default: str | None = None) -> DataField:
    return DataField(0, name, parse_type(sql), default_value=default)


def cast_one(values: Any, sql: str) -> list[Any]:
    return cast_rows(pa.table({"a": values}), [column("a", sql)]).column("a").to_pylist()  # type: ignore[no-any-return]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("INT", DataType("INT")),
        ("integer not null", DataType("INT", nullable=False)),
        ("BIGINT NULL", DataType("BIGINT")),
        ("STRING", STRING),
        ("VARCHAR(2147483647)", STRING),
        ("VARCHAR", DataType("VARCHAR", length=1)),
        ("CHAR(3) NOT NULL", DataType("CHAR", nullable=False, length=3)),
        ("BYTES", BYTES),
        ("BINARY(8)", DataType("BINARY", length=8)),
        ("DECIMAL", DataType("DECIMAL", precision=10, scale=0)),
        ("NUMERIC(20, 8)", DataType("DECIMAL", precision=20, scale=8)),
        ("DOUBLE PRECISION", DataType("DOUBLE")),
        ("TIME(3) WITHOUT TIME ZONE", DataType("TIME", precision=3)),
        ("TIMESTAMP", DataType("TIMESTAMP", precision=6)),
        ("TIMESTAMP(9) WITHOUT TIME ZONE", DataType("TIMESTAMP", precision=9)),
        ("TIMESTAMP(3) WITH LOCAL TIME ZONE", DataType("TIMESTAMP_LTZ", precision=3)),
        ("TIMESTAMP_LTZ(0)", DataType("TIMESTAMP_LTZ", precision=0)),
        ("INT NOT NULL ARRAY", DataType("ARRAY", element=DataType("INT", nullable=False))),
        ("MAP<STRING, ARRAY<INT> NOT NULL>", None),
        ("ROW<a INT, `b c` ROW<d STRING 'it''s'>>", None),
        ("MULTISET<STRING>", DataType("MULTISET", element=STRING)),
        ("VARIANT", DataType("VARIANT")),
    ],
)
def test_a_type_is_read_from_sql_and_from_what_was_written(text: str, expected: DataType | None) -> None:
    found = parse_type(text)

    assert expected is None or found == expected
    assert parse_type(type_sql(found)) == found
    assert parse_type(type_json(found)) == found


@pytest.mark.parametrize(
    "text",
    [
        "",
        "INTT",
        "INT NOT",
        "INT INT",
        "DECIMAL(39, 2)",
        "DECIMAL(5, 6)",
        "TIMESTAMP(10)",
        "CHAR(0)",
        "CHAR(99999999999)",
        f"CHAR({'9' * 9999})",
        "ARRAY<",
        "ARRAY<INT",
        "MAP<STRING>",
        "ROW<a INT, a INT>",
        "INT; DROP",
        "ARRAY<" * 500,
    ],
)
def test_what_is_no_type_is_refused_with_what_is_wrong(text: str) -> None:
    with pytest.raises(InvalidInputError) as caught:
        parse_type(text)

    assert caught.value.kind is ErrorKind.TABLE_INVALID


@pytest.mark.parametrize(
    "document",
    [
        7,
        {"type": "ARRAY"},
        {"type": "MAP", "key": "INT"},
        {"type": "ROW", "fields": [{"id": 1}]},
        {"type": "ROW", "fields": [{"id": True, "name": "a", "type": "INT"}]},
        {"type": "", "element": "INT"},
        {"element": "INT"},
    ],
)
def test_broken_json_of_a_type_is_refused(document: Any) -> None:
    with pytest.raises(InvalidInputError):
        parse_type(document)


@pytest.mark.parametrize("text", ["BLOB", "VECTOR<FLOAT, 4>", "GEOMETRY", "GEOGRAPHY(x)"])
def test_types_hosu_does_not_store_are_refused_by_name_with_what_to_do(text: str) -> None:
    with pytest.raises(UnsupportedError, match=text.partition("<")[0].partition("(")[0]):
        parse_type(text)


def test_nested_types_are_written_as_java_writes_them() -> None:
    assert type_json(parse_type("ROW<m MAP<STRING NOT NULL, TIMESTAMP_LTZ(3)>> NOT NULL")) == {
        "type": "ROW NOT NULL",
        "fields": [
            {
                "id": 0,
                "name": "m",
                "type": {
                    "type": "MAP",
                    "key": "STRING NOT NULL",
                    "value": "TIMESTAMP(3) WITH LOCAL TIME ZONE",
                },
            }
        ],
    }


ATOMIC = st.one_of(
    st.sampled_from(["INT", "BIGINT", "DOUBLE", "BOOLEAN", "DATE", "VARIANT"]).map(DataType),
    st.integers(1, 38).map(lambda precision: DataType("DECIMAL", precision=precision, scale=precision // 2)),
    st.integers(0, 9).map(lambda precision: DataType("TIMESTAMP", precision=precision)),
    st.integers(1, 2**31 - 1).map(lambda length: DataType("VARCHAR", length=length)),
)
TYPES = st.recursive(
    st.builds(lambda inner, nullable: inner.as_nullable(nullable), ATOMIC, st.booleans()),
    lambda inner: st.one_of(
        st.builds(lambda element: DataType("ARRAY", element=element), inner),
        st.builds(lambda key, value: DataType("MAP", key=key, element=value), inner, inner),
        st.builds(
            lambda one, two, name: DataType("ROW", fields=(DataField(0, "a", one), DataField(1, "b" + name, two))),
            inner,
            inner,
            st.text("xyz `'", max_size=3),
        ),
    ),
    max_leaves=6,
)


@settings(deadline=None)
@given(TYPES)
def test_every_type_reads_back_from_json_and_sql(data_type: DataType) -> None:
    assert parse_type(type_json(data_type)) == data_type
    assert parse_type(type_sql(data_type)) == data_type


@settings(deadline=None)
@given(TYPES)
def test_ids_of_new_fields_are_all_different_and_the_highest_is_known(data_type: DataType) -> None:
    fields, highest = number_fields([DataField(0, "a", data_type), DataField(0, "b", data_type)])

    found: list[int] = []

    def collect(one: DataType) -> None:
        for field in one.fields:
            found.append(field.id)
            collect(field.type)
        for part in (one.key, one.element):
            if part is not None:
                collect(part)

    for field in fields:
        found.append(field.id)
        collect(field.type)
    assert sorted(found) == list(range(highest + 1))
    assert highest_id(fields) == highest


@pytest.mark.parametrize(
    ("sql", "arrow"),
    [
        ("TIMESTAMP(0)", pa.timestamp("ms")),
        ("TIMESTAMP(6)", pa.timestamp("us")),
        ("TIMESTAMP(7)", pa.timestamp("ns")),
        ("TIMESTAMP_LTZ(3)", pa.timestamp("ms", "UTC")),
        ("TIME(9)", pa.time32("ms")),
        ("CHAR(3)", pa.string()),
        ("DECIMAL(38, 18)", pa.decimal128(38, 18)),
        ("MULTISET<INT>", pa.map_(pa.int32(), pa.int32())),
        ("ARRAY<ROW<a TINYINT>>", pa.list_(pa.struct([("a", pa.int8())]))),
        ("VARIANT", pa.struct([("value", pa.binary()), ("metadata", pa.binary())])),
    ],
)
def test_each_type_has_one_arrow_type(sql: str, arrow: pa.DataType) -> None:
    assert arrow_type(parse_type(sql)) == arrow


@pytest.mark.parametrize(
    ("arrow", "sql"),
    [
        (pa.uint8(), "SMALLINT"),
        (pa.uint32(), "BIGINT"),
        (pa.uint64(), "DECIMAL(20, 0)"),
        (pa.large_string(), "STRING"),
        (pa.string_view(), "STRING"),
        (pa.dictionary(pa.int8(), pa.string()), "STRING"),
        (pa.binary(16), "BINARY(16)"),
        (pa.timestamp("ns"), "TIMESTAMP(9)"),
        (pa.timestamp("s", "Asia/Seoul"), "TIMESTAMP(0) WITH LOCAL TIME ZONE"),
        (pa.list_(pa.int32(), 4), "ARRAY<INT>"),
        (pa.map_(pa.string(), pa.float16()), "MAP<STRING, FLOAT>"),
        (pa.struct([pa.field("a", pa.int8(), nullable=False)]), "ROW<`a` TINYINT NOT NULL>"),
    ],
)
def test_each_arrow_type_has_a_type_that_holds_its_values(arrow: pa.DataType, sql: str) -> None:
    assert type_sql(type_of_arrow(arrow)) == sql


@pytest.mark.parametrize("arrow", [pa.null(), pa.duration("s"), pa.struct([]), pa.decimal256(50, 2)])
def test_arrow_types_without_a_counterpart_are_refused(arrow: pa.DataType) -> None:
    with pytest.raises(UnsupportedError):
        type_of_arrow(arrow)


@pytest.mark.parametrize(
    ("values", "sql", "expected"),
    [
        ([1, None, 3], "TINYINT", [1, None, 3]),
        (pa.array([1, 2], pa.uint64()), "BIGINT", [1, 2]),
        ([1, 2], "DOUBLE", [1.0, 2.0]),
        ([1, -7], "DECIMAL(5, 2)", [Decimal("1.00"), Decimal("-7.00")]),
        ([0], "DECIMAL(38, 38)", [Decimal("0E-38")]),
        (pa.array([2**64 - 1], pa.uint64()), "DECIMAL(20, 0)", [Decimal(2**64 - 1)]),
        ([Decimal("1.5")], "DECIMAL(10, 3)", [Decimal("1.500")]),
        ([2.0, 3.0], "INT", [2, 3]),
        ([0.5], "FLOAT", [0.5]),
        (pa.array(["a", "b"]).dictionary_encode(), "STRING", ["a", "b"]),
        (pa.array(["ab"], pa.large_string()), "CHAR(2)", ["ab"]),
        (pa.array([b"ab"], pa.binary(2)), "BYTES", [b"ab"]),
        ([None, None], "STRING", [None, None]),
        ([moment("2026-01-02 03:00")], "TIMESTAMP(3)", [moment("2026-01-02 03:00")]),
        ([moment("2026-01-02 03:00")], "TIMESTAMP_LTZ(3)", [moment("2026-01-02 03:00").replace(tzinfo=UTC)]),
        ([date(2026, 1, 2)], "TIMESTAMP(3)", [moment("2026-01-02")]),
        ([moment("2026-01-02")], "DATE", [date(2026, 1, 2)]),
        ([moment("2026-01-02 03:04:05.1"), None], "TIMESTAMP(1)", [moment("2026-01-02 03:04:05.1"), None]),
        (pa.array([Decimal("1.5"), None], pa.decimal128(4, 1)), "DECIMAL(38, 37)", [Decimal("1.5"), None]),
        (pa.array(["a", None], pa.dictionary(pa.int8(), pa.string())), "STRING", ["a", None]),
        (
            pa.DictionaryArray.from_arrays(pa.array([1, None]), pa.array(["a", "b"], pa.string_view())),
            "STRING",
            ["b", None],
        ),
        (pa.RunEndEncodedArray.from_arrays(pa.array([2, 3]), pa.array([7, None])), "INT", [7, 7, None]),
        (pa.array([["a", None], None], pa.large_list(pa.string_view())), "ARRAY<STRING>", [["a", None], None]),
        (pa.array([{"a": "x"}, None], pa.struct([("a", pa.string_view())])), "ROW<a STRING>", [{"a": "x"}, None]),
        (
            pa.array([[("k", b"v")], None], pa.map_(pa.string_view(), pa.binary_view())),
            "MAP<STRING, BYTES>",
            [[("k", b"v")], None],
        ),
        ([time(1, 2, 3, 4000)], "TIME(3)", [time(1, 2, 3, 4000)]),
        ([[1], None, []], "ARRAY<SMALLINT>", [[1], None, []]),
        ([{"a": 1}, None], "ROW<a INT, b STRING>", [{"a": 1, "b": None}, None]),
        ([[{"key": "x", "value": 1}]], "MAP<STRING, INT>", [[("x", 1)]]),
    ],
)
def test_values_that_fit_are_brought_to_the_column(values: Any, sql: str, expected: list[Any]) -> None:
    assert cast_one(values, sql) == expected
    rows = pa.table({"a": values if isinstance(values, pa.Array) else pa.array(values)})
    if len(rows) > 1:
        assert cast_rows(rows.slice(1), [column("a", sql)]).column("a").to_pylist() == expected[1:]


@pytest.mark.parametrize(
    ("values", "sql", "row", "word"),
    [
        ([1, None, 300], "TINYINT", 2, "300"),
        ([1.0, 1.5], "INT", 1, "1.5"),
        (["x"], "INT", 0, "'x'"),
        ([None, True], "INT", 1, "True"),
        ([1], "BOOLEAN", 0, "1"),
        ([0.1], "DECIMAL(5, 2)", 0, "0.1"),
        ([Decimal("1.234")], "DECIMAL(5, 2)", 0, "1.234"),
        ([1, 1000], "DECIMAL(5, 2)", 1, "1000"),
        ([1.0, 1e300], "FLOAT", 1, "1e+300"),
        ([2**60 + 1], "DOUBLE", 0, "1152921504606846977"),
        (["a", "abc"], "VARCHAR(2)", 1, "'abc'"),
        ([b"abc"], "BINARY(2)", 0, "abc"),
        ([b"abc"], "STRING", 0, "abc"),
        (["abc"], "BYTES", 0, "abc"),
        ([moment("2026-01-01 00:00:00.000001")], "TIMESTAMP(3)", 0, "2026"),
        ([moment("2026-01-01").replace(tzinfo=UTC)], "TIMESTAMP(3)", 0, "TIMESTAMP_LTZ"),
        ([moment("2026-01-01 05:00")], "DATE", 0, "2026"),
        ([None, moment("2026-01-01 00:00:00.5")], "TIMESTAMP(0)", 1, "finer"),
        ([moment("1969-12-31 23:59:59.123456")], "TIMESTAMP(4)", 0, "finer"),
        (pa.array([2**40], pa.timestamp("s")), "TIMESTAMP(9)", 0, "later"),
        (pa.array([Decimal(98765432109876543210)], pa.decimal128(20, 0)), "DECIMAL(38, 20)", 0, "does not fit"),
        (pa.array([[("a", None)]], pa.map_(pa.string(), pa.int32())), "MULTISET<STRING>", 0, "NULL"),
        ([5], "TIMESTAMP(3)", 0, "5"),
        ([["ok"], [None, "x", None]], "ARRAY<STRING NOT NULL>", 1, "None"),
        ([[1], None, [2, 999]], "ARRAY<TINYINT>", 2, "999"),
        ([{"a": 1}, {"a": None}], "ROW<a INT NOT NULL>", 1, "NOT NULL"),
        ([{"z": 1}], "ROW<a INT>", 0, "'z'"),
        ([1], "ARRAY<INT>", 0, "lists"),
        ([1, None], "INT NOT NULL", 1, "NULL"),
    ],
)
def test_a_value_that_does_not_fit_is_named_with_its_column_and_row(values: Any, sql: str, row: int, word: str) -> None:
    with pytest.raises(InvalidInputError) as caught:
        cast_one(values, sql)

    assert caught.value.kind is ErrorKind.ROWS_INVALID
    assert f"column 'a', row {row} (from 0)" in caught.value.message
    assert word in caught.value.message


def test_the_row_is_counted_over_all_chunks() -> None:
    rows = pa.table({"a": pa.chunked_array([[1, 2], [3, 4000]])})

    with pytest.raises(InvalidInputError, match=r"row 3 \(from 0\): 4000"):
        cast_rows(rows, [column("a", "TINYINT")])


def test_columns_are_put_in_order_and_must_all_be_there() -> None:
    fields = [column("a", "INT"), column("b", "STRING"), column("c", "INT NOT NULL")]

    assert cast_rows(pa.table({"c": [3], "b": ["x"], "a": [1]}), fields).column_names == ["a", "b", "c"]
    with pytest.raises(InvalidInputError, match="column 'b'") as missing:
        cast_rows(pa.table({"a": [1], "c": [1]}), fields)
    assert missing.value.kind is ErrorKind.COLUMN_INVALID
    with pytest.raises(InvalidInputError, match="did you mean 'a'"):
        cast_rows(pa.table({"A": [1], "b": ["x"], "c": [1]}), fields)
    with pytest.raises(InvalidInputError, match="twice"):
        cast_rows(pa.table([[1], ["x"], [1], [2]], names=["a", "b", "c", "c"]), fields)


def test_partial_rows_have_null_where_that_may_be() -> None:
    fields = [column("a", "INT"), column("b", "STRING", default="none"), column("c", "INT NOT NULL")]

    assert cast_rows(pa.table({"c": [3]}), fields, partial=True).to_pylist() == [{"a": None, "b": "none", "c": 3}]
    with pytest.raises(InvalidInputError, match="column 'c'"):
        cast_rows(pa.table({"a": [3]}), fields, partial=True)


def test_a_default_stands_for_null_and_must_be_of_the_type() -> None:
    filled = cast_rows(pa.table({"a": [1, None]}), [column("a", "BIGINT NOT NULL", default="7")])

    assert filled.column("a").to_pylist() == [1, 7]
    assert default_of(column("a", "TIMESTAMP(3)", default="2026-01-02 03:04:05")) is not None
    for sql, default in (("INT", "x"), ("ARRAY<INT>", "[]"), ("VARCHAR(1)", "ab"), ("DATE", "soon")):
        with pytest.raises(InvalidInputError, match="default value"):
            default_of(column("a", sql, default=default))


def test_an_empty_table_gets_the_types_too() -> None:
    fields = [column("a", "INT"), column("b", "MAP<STRING, ARRAY<INT>>"), column("c", "ROW<x INT>")]
    empty = pa.table({"a": pa.array([], pa.int64()), "b": pa.array([], pa.null()), "c": pa.array([], pa.null())})

    assert cast_rows(empty, fields).schema == arrow_schema(fields)


VALUES = {"INT": st.integers(-(2**31), 2**31 - 1), "STRING": st.text(max_size=5), "BYTES": st.binary(max_size=5)}
NESTED = st.recursive(
    st.sampled_from(sorted(VALUES)),
    lambda inner: st.one_of(
        st.builds("ARRAY<{}>".format, inner),
        st.builds("MAP<STRING, {}>".format, inner),
        st.builds("ROW<a {}, b {}>".format, inner, inner),
    ),
    max_leaves=4,
)


def values_of(data_type: DataType) -> st.SearchStrategy[Any]:
    """Return Python values of a type, NULL among them."""
    if data_type.root == "ARRAY":
        assert data_type.element is not None
        return st.none() | st.lists(values_of(data_type.element), max_size=3)
    if data_type.root == "MAP":
        assert data_type.element is not None
        pairs = st.tuples(st.text(max_size=2), values_of(data_type.element))
        return st.none() | st.lists(pairs, max_size=3, unique_by=lambda pair: pair[0])
    if data_type.root == "ROW":
        return st.none() | st.fixed_dictionaries({field.name: values_of(field.type) for field in data_type.fields})
    return st.none() | VALUES[type_sql(data_type)]


@settings(deadline=None)
@given(st.data())
def test_nested_values_come_through_whole_whatever_they_are_a_slice_of(data: st.DataObject) -> None:
    data_type = parse_type(data.draw(NESTED))
    values = data.draw(st.lists(values_of(data_type), max_size=5))
    narrow = parse_type(type_sql(data_type).replace("STRING", "VARCHAR(9)").replace("INT", "BIGINT"))
    start = data.draw(st.integers(0, len(values)))
    rows = pa.table({"a": pa.array(values, arrow_type(data_type))}).slice(start)

    found = cast_rows(rows, [DataField(0, "a", narrow)]).column("a")

    found.validate(full=True)
    assert found.type == arrow_type(narrow)
    assert found.to_pylist() == values[start:]

"""Conditions of SQL: what they say of rows, and what is no condition on a table."""

# ruff: noqa: DTZ001
# A TIMESTAMP has no time zone.

import datetime as dt
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pytest
from tests.support.table_files import fields_of

from hosu.kernel.errors import ErrorKind, InvalidInputError
from hosu.tables.predicates import Always, IsNull, among, compare, given_predicate, parse_where, split
from hosu.tables.schemas import TableSchema

COLUMNS = {
    "a": "INT",
    "tiny": "TINYINT",
    "s": "STRING",
    "price": "DECIMAL(10, 2)",
    "wide": "DECIMAL(38, 10)",
    "x": "DOUBLE",
    "f": "FLOAT",
    "ok": "BOOLEAN",
    "ts": "TIMESTAMP(6)",
    "at": "TIMESTAMP(3) WITH LOCAL TIME ZONE",
    "ns": "TIMESTAMP(9)",
    "day": "DATE",
    "t": "TIME(3)",
    "y": "BYTES",
    "Mixed": "INT",
    "l": "ARRAY<INT>",
}
SCHEMA = TableSchema(0, fields_of(COLUMNS), 20)
UTC = dt.UTC


def hits(where: str, **columns: list[Any]) -> list[int]:
    """Return the positions of the rows that a condition is true of."""
    kinds = {name: SCHEMA.arrow.field(name).type for name in columns}
    rows = pa.table({name: pa.array(values, kinds[name]) for name, values in columns.items()})
    rows = rows.append_column("#", pa.array(range(rows.num_rows)))
    found: list[int] = rows.filter(parse_where(where, SCHEMA).to_arrow()).column("#").to_pylist()
    return found


NUMBERS = [-2, 0, 1, 2, None, 5]


@pytest.mark.parametrize(
    ("where", "found"),
    [
        ("a = 1", [2]),
        ("1 = a", [2]),
        ("a <> 1", [0, 1, 3, 5]),
        ("a != 1", [0, 1, 3, 5]),
        ("NOT a = 1", [0, 1, 3, 5]),
        ("2 > a", [0, 1, 2]),
        ("a >= 1.5", [3, 5]),
        ("a < -1.5", [0]),
        ("a = 1.5", []),
        ("a <> 1.5", [0, 1, 2, 3, 5]),
        ("a < 99999999999", [0, 1, 2, 3, 5]),
        ("a > 99999999999", []),
        ("a >= -99999999999", [0, 1, 2, 3, 5]),
        ("a = '5'", [5]),
        ("a BETWEEN 0 AND 2", [1, 2, 3]),
        ("a NOT BETWEEN 0 AND 2", [0, 5]),
        ("a BETWEEN NULL AND 1", []),
        ("a NOT BETWEEN NULL AND 1", [3, 5]),
        ("a IN (1, 5, NULL)", [2, 5]),
        ("a NOT IN (1, 5)", [0, 1, 3]),
        ("a NOT IN (1, NULL)", []),
        ("a IN (1.5)", []),
        ("a NOT IN (1.5)", [0, 1, 2, 3, 5]),
        ("a IS NULL", [4]),
        ("a IS NOT NULL", [0, 1, 2, 3, 5]),
        ("NOT (a IS NULL OR a > 1)", [0, 1, 2]),
        ("a = NULL", []),
        ("NOT a = NULL", []),
        ("NULL", []),
        ("TRUE", [0, 1, 2, 3, 4, 5]),
        ("NOT TRUE OR a = 1 AND a < 2", [2]),
        ('A = 1 AND "a" = 1', [2]),
        ("a = -2", [0]),
        ("a = CAST('2' AS INT)", [3]),
    ],
)
def test_numbers_are_compared_as_in_sql(where: str, found: list[int]) -> None:
    assert hits(where, a=NUMBERS) == found


def test_numbers_beyond_the_type_of_a_column_are_compared_all_the_same() -> None:
    assert parse_where("tiny < 1000", SCHEMA) == IsNull("tiny", is_negated=True)
    assert parse_where("tiny = 1000", SCHEMA) == Always(truth=False)
    assert hits("price >= 1.005", price=[Decimal("1.00"), Decimal("1.01"), None]) == [1]
    assert hits("price < 1e20 AND price > -1e20", price=[Decimal("1.00"), None]) == [0]


def test_all_digits_of_a_decimal_count() -> None:
    number = "1234567890123456789012345678.1234567891"
    values = [Decimal(number), Decimal(f"-{number}"), Decimal(number[:-1] + "2")]
    assert hits(f"wide = {number}", wide=values) == [0]
    assert hits(f"wide = -{number}", wide=values) == [1]
    assert hits(f"wide > {number}", wide=values) == [2]
    assert hits(f"wide < '{number}1'", wide=values) == [0, 1]


def test_numbers_of_any_size_are_compared_without_writing_them_out() -> None:
    assert hits("a < 1e999999999 AND price > -1e999999999", a=[1], price=[Decimal(1)]) == [0]
    assert hits("a = 1e999999999 OR a > 1e-999999999", a=[0, 1]) == [1]
    assert hits("a < 'inf' AND a > '-inf' AND a < 'nan'", a=[1]) == [0]
    with pytest.raises(InvalidInputError, match="write a number"):
        parse_where("price = 'sNaN'", SCHEMA)


def test_nan_is_greater_than_every_number_and_equals_itself() -> None:
    values = [1.0, float("nan"), None, float("inf")]
    for column in ("x", "f"):
        given: dict[str, list[Any]] = {column: values}
        assert hits(f"{column} > 5", **given) == [1, 3]
        assert hits(f"{column} >= 5", **given) == [1, 3]
        assert hits(f"{column} < 5", **given) == [0]
        assert hits(f"NOT {column} < 5", **given) == [1, 3]
        assert hits(f"{column} <> 1", **given) == [1, 3]
        assert hits(f"{column} = 'nan'", **given) == [1]
        assert hits(f"{column} <> 'NaN'", **given) == [0, 3]
        assert hits(f"{column} < 'NaN'::DOUBLE", **given) == [0, 3]
        assert hits(f"{column} > 'nan'", **given) == []
        assert hits(f"{column} <= 'nan'", **given) == [0, 1, 3]
        assert hits(f"{column} >= 'nan'", **given) == [1]
        assert hits(f"{column} IN (1, 'nan')", **given) == [0, 1]
        assert hits(f"{column} NOT IN (1, 'nan')", **given) == [3]


def test_text_is_compared_by_its_bytes_and_like_by_its_pattern() -> None:
    values = ["apple", "a_ple", "b%", None, "", "zürich", "a\\b"]
    assert hits("s > 'b'", s=values) == [2, 5]
    assert hits("s LIKE 'a%'", s=values) == [0, 1, 6]
    assert hits("s LIKE 'a_ple'", s=values) == [0, 1]
    assert hits("s LIKE 'a__l_'", s=values) == [0, 1]
    assert hits("s LIKE '%rich'", s=values) == [5]
    assert hits("s LIKE 'a\\b'", s=values) == [6]
    assert hits("s NOT LIKE 'a%'", s=values) == [2, 4, 5]
    assert hits("s LIKE ''", s=values) == [4]
    assert hits("s = 'it''s'", s=["it's"]) == [0]


def test_truth_values_stand_alone() -> None:
    values = [True, False, None]
    assert hits("ok", ok=values) == [0]
    assert hits("NOT ok", ok=values) == [1]
    assert hits("ok IS TRUE", ok=values) == [0]
    assert hits("ok IS NOT TRUE", ok=values) == [1, 2]
    assert hits("ok IS NOT FALSE", ok=values) == [0, 2]
    assert hits("ok = 'false'", ok=values) == [1]


def test_times_are_iso_text_or_typed_and_in_utc_without_a_zone() -> None:
    moment = dt.datetime(2026, 1, 31, 9, 0, 0, 500)
    values = [moment, moment.replace(microsecond=0), None]
    assert hits("ts = '2026-01-31 09:00:00.0005'", ts=values) == [0]
    assert hits("ts > TIMESTAMP '2026-01-31 09:00:00'", ts=values) == [0]
    assert hits("ts >= '2026-01-31T18:00:00+09:00'", ts=values) == [0, 1]
    assert hits("ts < '2026-01-31 09:00:00.0000009'", ts=values) == [1]
    assert hits("ts >= '2026-01-31'", ts=values) == [0, 1]
    assert hits("ts < DATE '2026-01-31'", ts=values) == []
    assert hits("at = '2026-01-31 09:00:00'", at=[moment.replace(microsecond=0, tzinfo=UTC)]) == [0]
    assert hits("at = '2026-01-31 09:00:00Z'", at=[moment.replace(microsecond=0, tzinfo=UTC)]) == [0]
    assert hits("day = '2026-01-31'", day=[dt.date(2026, 1, 31), dt.date(1969, 1, 1)]) == [0]
    assert hits("day <= TIMESTAMP '2026-01-31 23:00:00'", day=[dt.date(2026, 1, 31), dt.date(2026, 2, 1)]) == [0]
    assert hits("day IN ('2026-01-31', DATE '1969-01-01')", day=[dt.date(2026, 1, 31), dt.date(1969, 1, 1)]) == [0, 1]
    assert hits("t BETWEEN '09:00:00' AND TIME '09:00:00.5'", t=[dt.time(9, 0, 0, 500000), dt.time(9, 0, 1)]) == [0]


def test_nanoseconds_are_compared_exactly() -> None:
    where = parse_where("ns > '2026-01-31 09:00:00.123456788'", SCHEMA)
    base = 1_769_850_000_123_456_788
    rows = pa.table({"ns": pa.array([base, base + 1], pa.timestamp("ns"))})
    assert rows.filter(where.to_arrow()).column("ns").cast(pa.int64()).to_pylist() == [base + 1]
    assert rows.filter(parse_where("ns IN ('2026-01-31 09:00:00.123456788')", SCHEMA).to_arrow()).num_rows == 1


def test_bytes_are_written_as_duckdb_writes_them() -> None:
    assert hits(r"y = '\x00a'", y=[b"\x00a", b"a"]) == [0]
    assert hits(r"y >= '\xFF'::BLOB", y=[b"\xff", b"\xfe"]) == [0]


@pytest.mark.parametrize(
    ("where", "said"),
    [
        ("", "no condition"),
        ("a =", "no condition"),
        ("a = 1; DROP TABLE t", "no condition"),
        ("a = 1 LIMIT 5", "no condition"),
        ("b = 1", "no column 'b': it has a, tiny"),
        ('"A" = 1', "no column 'A'"),
        ("s = 5", "'s' is STRING, not Decimal('5')"),
        ("s LIKE a", "not pushed down"),
        ("s ILIKE 'x'", "ILIKE"),
        ("s NOT ILIKE 'x'", "ILIKE"),
        ("s LIKE ANY ('a', 'b')", "ANY"),
        ("a BETWEEN SYMMETRIC 5 AND 1", "a BETWEEN 5 AND 1"),
        ("a <=> 1", "a"),
        ("a = TRY_CAST('x' AS INT)", "TRY_CAST"),
        ("s LIKE 'a!%' ESCAPE '!'", "ESCAPE"),
        ("a LIKE '1%'", "LIKE looks at text"),
        ("a = 'x'", "'a' is INT, not 'x'"),
        ("a = TRUE", "'a' is INT, not True"),
        ("ok = 1", "'ok' is BOOLEAN"),
        ("day = 'today'", "'day' is DATE, not 'today'"),
        ("ts > 5", "'ts' is TIMESTAMP(6)"),
        ("t = '25:00'", "'t' is TIME(3)"),
        (r"y = '\x0'", "'y' is BYTES"),
        ("l = 1", "'l' is ARRAY"),
        ("a = tiny", "a = tiny"),
        ("a + 1 = 2", "a + 1"),
        ("length(s) = 2", "LENGTH"),
        ("a", "'a' is INT"),
        ("u.a = 1", "u.a"),
        ("ts > now()", "NOW()"),
        ("a IN (SELECT 1)", "SELECT 1"),
        ("EXISTS (SELECT 1)", "EXISTS"),
    ],
)
def test_what_is_no_condition_on_a_table_is_named(where: str, said: str) -> None:
    with pytest.raises(InvalidInputError) as caught:
        parse_where(where, SCHEMA)
    assert caught.value.kind is ErrorKind.QUERY_INVALID
    assert said in caught.value.message


def test_names_are_folded_unless_quoted() -> None:
    assert parse_where("mixed = 1", SCHEMA).columns == {"Mixed"}
    assert parse_where('"Mixed" = 1', SCHEMA).columns == {"Mixed"}


def test_predicates_are_made_from_values_of_python_too() -> None:
    day = SCHEMA.field("day")
    assert compare(day, ">=", dt.date(2026, 1, 31)) == parse_where("day >= '2026-01-31'", SCHEMA)
    assert compare(SCHEMA.field("ts"), "=", dt.datetime(2026, 1, 31)) == parse_where("ts = '2026-01-31'", SCHEMA)
    assert compare(SCHEMA.field("a"), "=", None) == Always(truth=False)
    assert among(SCHEMA.field("a"), [1, None]) == parse_where("a IN (1)", SCHEMA)


def test_what_callers_give_is_text_a_predicate_or_nothing() -> None:
    where = parse_where("a = 1", SCHEMA)
    assert given_predicate("a = 1", SCHEMA) == where
    assert given_predicate(where, SCHEMA) is where
    assert given_predicate(None, SCHEMA) is None
    for wrong, said in ((where.renamed({"a": "gone"}), "gone"), (pa.compute.field("a") == 1, "Expression"), (5, "int")):
        with pytest.raises(InvalidInputError, match=said) as caught:
            given_predicate(wrong, SCHEMA)
        assert caught.value.kind is ErrorKind.QUERY_INVALID


def test_conjuncts_are_split_by_the_columns_they_look_at() -> None:
    where = parse_where("a = 1 AND (s = 'x' OR a = 2) AND day IS NULL AND (a > 0 OR a < 5)", SCHEMA)
    inside, outside = split(where, ["a", "day"])
    assert inside == parse_where("a = 1 AND day IS NULL AND (a > 0 OR a < 5)", SCHEMA)
    assert outside == parse_where("s = 'x' OR a = 2", SCHEMA)
    assert split(where, []) == (None, where)
    assert split(None, ["a"]) == (None, None)

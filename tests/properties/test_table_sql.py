"""What SQL tells a table before it is read never changes an answer: DuckDB over all the rows says the same."""

from collections.abc import Iterator

import duckdb
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hosu.kernel.fileio.memory import MemoryFileIO
from hosu.tables.catalog import Catalog
from hosu.tables.sql.session import Session
from hosu.testing.manual_clock import ManualClock

COLUMNS = (
    "id INT, big BIGINT, f FLOAT, d DOUBLE, n DECIMAL(6, 2), s STRING, day DATE, ts TIMESTAMP(3), "
    "tz TIMESTAMP(6) WITH LOCAL TIME ZONE, b BOOLEAN"
)
ROWS = (
    "1, 9007199254740993, 0.1, 0.1, 1.25, 'a', '2026-01-31', '2026-01-31 00:00:00.001', '2026-01-31 00:00:00', true",
    "2, -5, 1.5, 1e300, -1.25, 'A%', '2026-02-01', '2026-01-31 09:00:00', '2026-01-31 09:00:00+09', false",
    "3, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL",
    "4, 0, 'NaN', 'NaN', 0, '', '1969-12-31', '1969-12-31 23:59:59.999', '1970-01-01 00:00:00', true",
    "5, 9007199254740992, -0.0, -0.0, 9999.99, 'ab_', '2026-01-31', '2026-01-31 12:00:00', '2026-02-01', false",
)
NAMES = ("id", "big", "f", "d", "n", "s", "day", "ts", "tz", "b")
VALUES = (
    "0", "1", "-5", "1.5", "0.1", "1.25", "1.250", "1e0", "9007199254740993", "9007199254740992.0",
    "99999999999999999999",
    "'a'", "'A%'", "''", "'1'", "'2026-01-31'", "'2026-01-31 09:00:00'", "'2026-01-31 00:00:00.0015'", "'2026-1-31'",
    "DATE '2026-01-31'", "TIMESTAMP '2026-01-31 00:00:00'", "TIMESTAMPTZ '2026-01-31 00:00:00+00'", "true", "NULL",
    "'NaN'::DOUBLE", "0.1::FLOAT",
)  # fmt: skip

columns = st.sampled_from([*NAMES, *(f"t.{name}" for name in NAMES)])
values = st.sampled_from(VALUES)
leaves = st.one_of(
    st.tuples(columns, st.sampled_from(["=", "<>", "<", "<=", ">", ">="]), values).map(" ".join),
    st.tuples(values, st.sampled_from(["=", "<"]), columns).map(" ".join),
    st.builds("{} IN ({}, {})".format, columns, values, values),
    st.builds("{} NOT IN ({})".format, columns, values),
    st.builds("{} BETWEEN {} AND {}".format, columns, values, values),
    st.builds("{} IS {}NULL".format, columns, st.sampled_from(["", "NOT "])),
    st.builds("s LIKE {}".format, st.sampled_from(["'a%'", "'A\\%'", "'_'", "'%_'"])),
)
conditions = st.recursive(
    leaves,
    lambda inner: st.one_of(
        st.builds("({} AND {})".format, inner, inner),
        st.builds("({} OR {})".format, inner, inner),
        st.builds("NOT ({})".format, inner),
    ),
    max_leaves=4,
)
queries = st.one_of(
    st.builds("SELECT id FROM {{}} AS t WHERE {}".format, conditions),
    st.builds("SELECT id FROM {{}} AS t LEFT JOIN (SELECT 1 AS k) u ON t.id = u.k WHERE {}".format, conditions),
    st.builds("SELECT u.k FROM (SELECT 1 AS k) u LEFT JOIN {{}} AS t ON t.id = u.k WHERE {}".format, conditions),
    st.builds("SELECT t.id, u.id FROM {{}} AS t JOIN {{}} AS u ON t.id < u.id WHERE t.n > 0 AND u.{}".format,
              conditions.filter(lambda text: text.startswith(NAMES))),
)  # fmt: skip


@pytest.fixture(scope="module")
def session() -> Iterator[Session]:
    """A table of one row in each file, so that every condition may leave some of them out."""
    catalog = Catalog(MemoryFileIO(), "w", clock=ManualClock())
    catalog.create_database("d")
    session = Session(catalog)
    session.run(f"CREATE TABLE d.t ({COLUMNS}) WITH ('bucket' = '-1')")
    for row in ROWS:
        session.run(f"INSERT INTO d.t VALUES ({row})")
    yield session
    catalog.close()


@pytest.fixture(scope="module")
def everything(session: Session) -> Iterator[duckdb.DuckDBPyConnection]:
    """DuckDB with all rows of the table."""
    with duckdb.connect() as connection:
        connection.execute("SET TimeZone = 'UTC'")
        connection.register("t", session.run("SELECT * FROM d.t").arrow())
        yield connection


def answer(connection: duckdb.DuckDBPyConnection, sql: str) -> list[tuple[object, ...]] | None:
    try:
        return sorted(connection.execute(sql).fetchall(), key=repr)
    except duckdb.Error:
        return None


@settings(max_examples=250, deadline=None)
@given(query=queries)
def test_pushing_conditions_down_changes_no_answer(
    session: Session, everything: duckdb.DuckDBPyConnection, query: str
) -> None:
    expected = answer(everything, query.replace("{}", "t"))
    if expected is None:
        return  # what DuckDB refuses over all rows may be answered when no row is left to refuse
    assert sorted(session.run(query.replace("{}", "d.t")).fetchall(), key=repr) == expected


def test_the_table_holds_what_it_was_given(session: Session) -> None:
    rows: pa.Table = session.run("SELECT * FROM d.t").arrow()
    assert rows.num_rows == 5
    assert rows.column_names == list(NAMES)

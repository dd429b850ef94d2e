"""What INSERT, UPDATE, DELETE and MERGE make of values, names and hints, to the letter of what was asked."""

from decimal import Decimal
from typing import Any

import pytest

from hosu.kernel.errors import HosuError, InvalidInputError, UnsupportedError
from hosu.tables.catalog import Catalog
from hosu.tables.sql.session import Session
from hosu.tables.table import Table

EXACT = 9007199254740993
"""A number that no DOUBLE holds."""


def rows(session: Session, sql: str) -> list[tuple[Any, ...]]:
    return session.run(sql).fetchall()


def snapshots(catalog: Catalog) -> list[int]:
    found = [Table(catalog, name).latest() for name in ("d.ticker", "d.notes")]
    return [0 if snapshot is None else snapshot.id for snapshot in found]


@pytest.mark.parametrize(
    "sql",
    [
        "UPDATE d.ticker SET price = 9 WHERE d.ticker.symbol = 'BTC'",
        "UPDATE d.ticker SET d.ticker.price = d.ticker.price + 7.5 WHERE lower(d.ticker.symbol) = 'btc'",
        "UPDATE ticker SET ticker.price = 9 WHERE d.ticker.symbol = 'BTC'",
        (
            "UPDATE d.ticker SET price = (SELECT 4 + max(d.notes.amount) + d.ticker.price + 1 FROM d.notes) "
            "WHERE d.ticker.symbol = 'BTC'"
        ),
        (
            "MERGE INTO d.ticker USING d.notes ON d.ticker.symbol = d.notes.symbol "
            "WHEN MATCHED AND d.notes.id = 1 THEN UPDATE SET d.ticker.price = d.ticker.price + d.notes.id * 7.5"
        ),
    ],
)
def test_columns_may_have_the_database_before_their_table(session: Session, sql: str) -> None:
    assert session.run(sql).rows_changed == 1
    assert rows(session, "SELECT price FROM ticker WHERE symbol = 'BTC'") == [(9.0,)]


def test_delete_takes_columns_with_their_database(session: Session) -> None:
    assert session.run("DELETE FROM d.ticker WHERE d.ticker.symbol = 'BTC'").rows_changed == 1
    assert session.run("DELETE FROM d.ticker WHERE upper(d.ticker.symbol) = 'ETH'").rows_changed == 1
    assert rows(session, "SELECT symbol FROM ticker") == [("XRP",)]


@pytest.mark.parametrize(
    ("sql", "named"),
    [
        ("UPDATE ticker SET price = 1 WHERE other.ticker.symbol = 'BTC'", "other"),
        ("UPDATE ticker SET other.ticker.price = 1", "no column of ticker"),
        ("UPDATE ticker AS t SET price = 1 WHERE d.ticker.symbol = 'BTC'", "d.ticker"),
        ("MERGE INTO ticker USING notes ON other.ticker.symbol = notes.symbol WHEN MATCHED THEN DELETE", "other"),
        ("MERGE INTO notes USING notes ON true WHEN MATCHED THEN DELETE", "both called 'notes'"),
        ("UPDATE notes", "lacks SET"),
        ("UPDATE notes SET symbol = DEFAULT", "DEFAULT"),
        ("UPDATE notes SET symbol = to_char(now(), 'YYYY')", "to_char"),
        ("UPDATE notes SET amount = 1 WHERE initcap2(symbol) = 'x'", "initcap2"),
        ("UPDATE notes SET amount = 1 WHERE __hosu_position = 0", "__hosu_"),
        ("UPDATE notes SET amount = 1 WHERE id IN (SELECT id FROM notes TABLESAMPLE 50%)", "SAMPLE"),
        ("DELETE FROM notes WHERE id IN (SELECT id FROM notes ORDER BY random() LIMIT 1)", "RANDOM"),
        ("UPDATE notes SET amount = $a WHERE id = 1", "a"),
        ("WITH q AS (SELECT 1 AS k) DELETE FROM notes WHERE id IN (SELECT k FROM q)", "write WITH behind it"),
        ("INSERT INTO ticker PARTITION (dt = 'y') (symbol, dt) VALUES ('z', 'q')", "in PARTITION already"),
        ("INSERT INTO notes (id) BY NAME SELECT 1 AS id", "BY NAME"),
        ("INSERT INTO notes DEFAULT VALUES", "DEFAULT"),
        ("INSERT INTO notes (id, symbol) VALUES (1, DEFAULT)", "DEFAULT"),
        ("INSERT INTO notes FOR VERSION AS OF 1 VALUES (1)", "past"),
        ("TRUNCATE TABLE ticker PARTITION (dt = 'x')", "PARTITION"),
        *(
            (f"MERGE INTO notes USING (SELECT 1 AS i) AS s ON id = i + 1000 {clause}", named)
            for clause, named in [
                ("WHEN NOT MATCHED THEN INSERT", "INSERT in MERGE"),
                ("WHEN NOT MATCHED THEN INSERT DEFAULT VALUES", "INSERT in MERGE"),
                ("WHEN NOT MATCHED THEN INSERT BY NAME", "INSERT in MERGE"),
                ("WHEN NOT MATCHED THEN INSERT (id)", "INSERT in MERGE"),
                ("WHEN NOT MATCHED THEN INSERT (id, symbol) VALUES (i, DEFAULT)", "DEFAULT in MERGE"),
                ("WHEN MATCHED THEN UPDATE", "UPDATE in MERGE"),
            ]
        ),
        *(
            (f"{verb.format(hint)}", named)
            for verb in (
                "INSERT INTO notes {} (id) VALUES (9)",
                "UPDATE notes {} SET amount = 0",
                "DELETE FROM notes {}",
                "MERGE INTO notes {} USING ticker ON notes.symbol = ticker.symbol WHEN MATCHED THEN DELETE",
            )
            for hint, named in [
                ("/*+ OPTIONS('scan.snapshot-id' = '1') */", "scan.snapshot-id"),
                ("/*+ OPTIONS('incremental-between' = '1,2') */", "incremental-between"),
                ("/*+ OPTIONS('path' = 'x') */", "path"),
                ("/*+ OPTIONS('nope' = 'x') */", "nope"),
            ]
        ),
    ],
)
def test_what_cannot_be_done_as_asked_is_named_and_changes_nothing(
    session: Session, catalog: Catalog, sql: str, named: str
) -> None:
    before = snapshots(catalog)
    with pytest.raises(HosuError, match=named):
        session.run(sql)
    assert snapshots(catalog) == before


def test_options_of_writes_in_hints_are_taken(session: Session) -> None:
    session.run("CREATE TABLE kept (id INT) WITH ('bucket' = '-1')")
    session.run("INSERT INTO kept /*+ OPTIONS('file.format' = 'avro') */ VALUES (1)")
    session.run("INSERT INTO kept VALUES (2)")
    session.run("UPDATE kept /*+ OPTIONS('file.format' = 'orc') */ SET id = 3 WHERE id = 2")
    assert rows(session, "SELECT file_format FROM kept$files ORDER BY 1") == [("avro",), ("orc",)]


@pytest.mark.parametrize(
    ("column", "text", "value"),
    [
        ("INT", "1.7", None),
        ("INT", "12", 12),
        ("INT", "x", None),
        ("BIGINT", str(2**63 - 1), 2**63 - 1),
        ("BIGINT", str(2**63), None),
        ("DECIMAL(10, 2)", "1.239", None),
        ("DECIMAL(10, 2)", "1.2300", Decimal("1.23")),
        ("DECIMAL(10, 2)", "123456789.5", None),
        ("DECIMAL(38, 2)", "1.239", None),
        ("DECIMAL(38, 2)", "1.23", Decimal("1.23")),
        ("TIMESTAMP(3)", "2026-01-01 00:00:00.1234", None),
        ("TIMESTAMP(6)", "2026-01-01 00:00:00.1234567", None),
        ("TIMESTAMP(3)", "2026-01-01 00:00:00+09", None),
        ("TIMESTAMP(9)", "2026-01-01 00:00:00", "2026-01-01 00:00:00"),
        ("TIMESTAMP_LTZ(3)", "2026-01-01 00:00:00+09", "2025-12-31 15:00:00+00"),
        ("DATE", "2026-01-01 10:00:00", None),
        ("DATE", "2026-01-01", "2026-01-01"),
        ("TIME(3)", "10:00:00.1234", None),
        ("DOUBLE", "0.1", 0.1),
    ],
)
def test_text_is_cast_where_nothing_of_it_is_lost(session: Session, column: str, text: str, value: object) -> None:
    session.run(f"CREATE TABLE x (id INT, v {column})")
    if value is None:
        with pytest.raises(InvalidInputError, match=r"'?v'?|'"):
            session.run("INSERT INTO x VALUES (1, ?)", [text])
        assert rows(session, "SELECT count(*) FROM x") == [(0,)]
        return
    session.run("INSERT INTO x VALUES (1, ?)", [text])
    shown = "v::VARCHAR" if isinstance(value, str) else "v"
    assert rows(session, f"SELECT {shown} FROM x") == [(value,)]


@pytest.mark.parametrize("key", ["", ", PRIMARY KEY (id) NOT ENFORCED"])
def test_clauses_of_merge_leave_each_others_values_alone(session: Session, key: str) -> None:
    session.run(f"CREATE TABLE big (id INT, n BIGINT, w STRING{key})")
    session.run(f"INSERT INTO big VALUES (1, {EXACT}, 'x'), (2, {EXACT}, 'y'), (3, {EXACT}, 'z'), (4, 4, 'q')")
    done = session.run(
        "MERGE INTO big AS t USING (VALUES (1, 5.0::DOUBLE), (2, 0), (3, 0)) AS s(id, d) ON t.id = s.id "
        "WHEN MATCHED AND s.id = 1 THEN UPDATE SET n = s.d WHEN MATCHED AND s.id = 3 THEN DELETE "
        "WHEN MATCHED THEN UPDATE SET w = t.w || '!' WHEN NOT MATCHED BY SOURCE THEN UPDATE SET n = t.n + 0.0, w = NULL"
    )
    assert done.rows_changed == 4
    assert rows(session, "SELECT * FROM big ORDER BY id") == [(1, 5, "x"), (2, EXACT, "y!"), (4, 4, None)]


def test_a_statement_is_of_one_moment(session: Session) -> None:
    session.run("CREATE TABLE stamped (id INT, stamp STRING)")
    for first in range(0, 40, 10):
        session.run(f"INSERT INTO stamped SELECT i, NULL FROM range({first}, {first + 10}) AS r(i)")
    session.run("UPDATE stamped SET stamp = now()::VARCHAR WHERE id % 1 = 0")
    assert rows(session, "SELECT count(DISTINCT stamp), count(stamp) FROM stamped") == [(1, 40)]


def test_a_read_with_a_hint_of_its_own_is_still_of_the_table_that_changes(session: Session, catalog: Catalog) -> None:
    """Or another's commit meanwhile would be lost: each attempt adds what it read to what is there."""
    others = Session(catalog)
    others.use("d")
    sql = "UPDATE notes SET amount = (SELECT max(amount) + 1 FROM notes {}) WHERE id = 1"
    for hint in ("", "/*+ OPTIONS('read.batch-size' = '10') */"):
        bound = session.binder(connection := session.connect()).bind(
            sql.format(hint).partition("= ")[2].rpartition(" WHERE")[0].strip("()")
        )
        assert [one.is_latest for one in bound.references] == [True]
        connection.close()


def test_partitions_are_named_in_any_case_and_with_typed_constants(session: Session) -> None:
    session.run("CREATE TABLE parted (v INT, h INT, day DATE) PARTITIONED BY (h, day)")
    session.run("INSERT INTO parted PARTITION (H = -5, day = DATE '2026-01-31') SELECT 1")
    session.run("INSERT INTO parted BY POSITION SELECT 2, 3, DATE '2026-02-01'")
    found = rows(session, "SELECT v, h, day::VARCHAR FROM parted ORDER BY v")
    assert found == [(1, -5, "2026-01-31"), (2, 3, "2026-02-01")]


def test_statements_within_queries_are_refused(session: Session) -> None:
    for sql in (
        "WITH gone AS (DELETE FROM notes RETURNING *) SELECT * FROM gone",
        "WITH new AS (INSERT INTO notes VALUES (1)) SELECT 1",
        "SELECT 1 AS x INTO notes",
    ):
        with pytest.raises(UnsupportedError, match=r"within a query|CREATE TABLE"):
            session.run(sql)
    assert rows(session, "SELECT count(*) FROM notes") == [(2,)]


UNHELD = [
    ("'infinity'", "moment"),
    ("TIMESTAMP '-infinity'", "moment"),
    ("'abc'", "moment"),
    ("'infinity'", "day"),
    ("DATE 'infinity'", "day"),
    ("'infinity'", "local"),
    ("'2026-01-31 09:00:00.1234567'", "local"),
    ("'infinity'", "fine"),
    ("'2026-01-31 09:00:00.1234567891'", "fine"),
    ("'2026-01-31 09:00:00.5+09'", "fine"),
    ("'09:00:00.0000001'", "clock"),
    ("'abc'", "n"),
]


def test_what_no_column_holds_is_refused_naming_the_column(session: Session) -> None:
    session.run(
        "CREATE TABLE times (n INT, moment TIMESTAMP(6), day DATE, local TIMESTAMP(6) WITH LOCAL TIME ZONE, "
        "fine TIMESTAMP(9), clock TIME(3))"
    )
    session.run("INSERT INTO times (n, fine, clock) VALUES (1, '2026-01-31 09:00:00.123456789', '09:00:00.5000000')")
    for value, column in UNHELD:
        for sql in (
            f"INSERT INTO times ({column}) VALUES ({value})",
            f"UPDATE times SET {column} = {value}",
            f"MERGE INTO times USING (SELECT 1 AS k) AS s ON n = s.k WHEN MATCHED THEN UPDATE SET {column} = {value}",
        ):
            with pytest.raises(InvalidInputError, match=rf"column '?{column}\b"):
                session.run(sql)
    assert rows(session, "SELECT n, fine::VARCHAR, clock::VARCHAR FROM times WHERE moment IS NULL") == [
        (1, "2026-01-31 09:00:00.123456789", "09:00:00.5")
    ]


def test_a_database_called_default_is_no_default(session: Session, catalog: Catalog) -> None:
    catalog.create_database("default")
    session.run("CREATE TABLE default.more (id INT NOT NULL, symbol STRING)")
    session.run("INSERT INTO default.more VALUES (7, 'BTC')")
    session.run(
        "INSERT INTO notes (id, symbol) SELECT m.id, n.symbol FROM notes AS n, default.more AS m WHERE n.id = 1"
    )
    session.run("INSERT INTO notes (id, symbol) SELECT abs(default.more.id) + 1, default.more.symbol FROM default.more")
    assert rows(session, "SELECT id FROM notes ORDER BY id") == [(1,), (2,), (7,), (8,)]
    for values in ("(3, DEFAULT)", "(DEFAULT, 'x')"):
        with pytest.raises(UnsupportedError, match="DEFAULT"):
            session.run(f"INSERT INTO notes (id, symbol) VALUES {values}")


def test_a_partition_key_that_no_column_holds_is_named(session: Session) -> None:
    session.run("CREATE TABLE priced (v INT, p DECIMAL(5, 2)) PARTITIONED BY (p)")
    for value in ("1.234", "'12345.1'", "'NaN'"):
        with pytest.raises(InvalidInputError, match="partition key 'p' is DECIMAL"):
            session.run(f"INSERT INTO priced PARTITION (p = {value}) VALUES (1)")
    session.run("INSERT INTO priced PARTITION (p = 1) VALUES (1)")
    assert rows(session, "SELECT p FROM priced") == [(Decimal("1.00"),)]


def test_functions_that_are_quoted_are_as_random(session: Session) -> None:
    for sql in (
        'UPDATE notes SET amount = 0 WHERE "random"() < 2',
        'DELETE FROM notes WHERE id IN (SELECT id FROM notes WHERE main."random"() < 2)',
    ):
        with pytest.raises(InvalidInputError, match="RANDOM"):
            session.run(sql)

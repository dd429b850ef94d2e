"""Statements that change tables, each in one commit."""

from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from typing import Any

import pytest

from hosu.kernel.errors import ConflictError, ErrorKind, HosuError, InvalidInputError, NotFoundError, UnsupportedError
from hosu.tables.catalog import Catalog
from hosu.tables.sql.session import Session
from hosu.tables.table import Table


def rows(session: Session, sql: str) -> list[tuple[Any, ...]]:
    return session.run(sql).fetchall()


def prices(session: Session) -> dict[str, float]:
    return dict(rows(session, "SELECT symbol, price FROM ticker ORDER BY symbol"))


def latest(catalog: Catalog, name: str = "d.ticker") -> int:
    snapshot = Table(catalog, name).latest()
    return 0 if snapshot is None else snapshot.id


def test_flinks_create_table_makes_the_table_of_the_scenario(session: Session) -> None:
    schema = session.catalog.schema("d.ticker")
    assert (schema.primary_keys, schema.partition_keys) == (("symbol", "dt"), ("dt",))
    assert schema.options == {"changelog-producer": "input", "merge-engine": "deduplicate", "bucket": "4"}
    assert [str(field.type) for field in schema.fields] == [
        "STRING NOT NULL", "DOUBLE", "DOUBLE", "DOUBLE", "TIMESTAMP(3)", "STRING NOT NULL",
    ]  # fmt: skip


def test_show_create_table_makes_the_same_table_again(session: Session) -> None:
    session.run(
        "CREATE TABLE all_types (a BOOLEAN, b TINYINT, c DECIMAL(20, 8) NOT NULL COMMENT 'it''s', d CHAR(3), "
        "e VARBINARY(5), f TIMESTAMP(9) WITH LOCAL TIME ZONE, g ARRAY<ROW<x INT, y MAP<STRING, DATE>>>, `h i` TIME(3), "
        "j INT DEFAULT '5') COMMENT 'every type'"
    )
    for name in ("ticker", "all_types"):
        (text,) = rows(session, f"SHOW CREATE TABLE {name}")[0]
        before = session.catalog.schema(f"d.{name}")
        session.run(f"DROP TABLE {name}")
        session.run(text)
        after = session.catalog.schema(f"d.{name}")
        assert (after.fields, after.options, after.comment) == (before.fields, before.options, before.comment)
        assert (after.primary_keys, after.partition_keys) == (before.primary_keys, before.partition_keys)


def test_types_of_duckdb_and_spark_are_understood_and_ambiguous_ones_refused(session: Session) -> None:
    session.run(
        "CREATE TABLE t (a TEXT, b REAL, c TIMESTAMPTZ, d INTEGER[], e BIGINT PRIMARY KEY NOT ENFORCED) "
        "USING paimon TBLPROPERTIES (bucket = 1)"
    )
    kinds = [str(field.type) for field in session.catalog.schema("d.t").fields]
    assert kinds == ["STRING", "FLOAT", "TIMESTAMP(6) WITH LOCAL TIME ZONE", "ARRAY<INT>", "BIGINT NOT NULL"]
    with pytest.raises(InvalidInputError, match="how long a VARCHAR"):
        session.run("CREATE TABLE u (a VARCHAR)")
    with pytest.raises(UnsupportedError, match="WATERMARK"):
        session.run("CREATE TABLE u (a TIMESTAMP(3), WATERMARK FOR a AS a)")
    with pytest.raises(UnsupportedError, match="AS"):
        session.run("CREATE TABLE u (a INT, b AS a + 1)")


def test_a_table_is_made_of_a_query(session: Session) -> None:
    done = session.run(
        "CREATE TABLE means WITH ('bucket' = '-1') AS SELECT dt, avg(price) AS p FROM ticker GROUP BY dt"
    )
    assert done.rows_changed == 2
    assert rows(session, "SELECT * FROM means ORDER BY dt") == [("2026-01-31", 2.0), ("2026-02-01", 3.5)]
    with pytest.raises(ConflictError) as exists:
        session.run("CREATE TABLE means AS SELECT 1 AS x")
    assert exists.value.kind is ErrorKind.TABLE_EXISTS


def test_a_table_is_not_made_of_a_query_that_fails(session: Session) -> None:
    with pytest.raises(HosuError):
        session.run("CREATE TABLE broken AS SELECT CAST(symbol AS INTEGER) AS n FROM ticker")
    assert "broken" not in session.catalog.tables("d")


def test_insert_takes_columns_by_order_by_list_and_by_name(session: Session, catalog: Catalog) -> None:
    before = latest(catalog)
    done = session.run("INSERT INTO ticker VALUES ('A', 1, 2, 3, '2026-01-01', 'x'), ('B', 1.25, 2, 3, NULL, 'x')")
    assert done.rows_changed == 2
    assert latest(catalog) == before + 1
    session.run("INSERT INTO ticker (dt, symbol) VALUES ('x', 'C')")
    session.run("INSERT INTO ticker BY NAME SELECT 'x' AS dt, 'D' AS symbol, 5 AS price")
    session.run("INSERT INTO d.ticker PARTITION (dt = 'x') (symbol, price) SELECT 'E', ? ", [9.5])
    found = rows(session, "SELECT symbol, price, change_rate FROM ticker WHERE dt = 'x' ORDER BY symbol")
    assert found == [("A", 1.0, 3.0), ("B", 1.25, 3.0), ("C", None, None), ("D", 5.0, None), ("E", 9.5, None)]


@pytest.mark.parametrize(
    ("sql", "named"),
    [
        ("INSERT INTO ticker VALUES (1, 2)", "2 values for 6 columns"),
        ("INSERT INTO ticker (symbol, nope) VALUES ('a', 1)", "nope"),
        ("INSERT INTO ticker (price) VALUES (1)", "symbol"),
        ("INSERT INTO notes (id, amount) VALUES (9, 1.234)", "amount"),
        ("INSERT INTO notes (id) VALUES ('x')", "'x'"),
        ("INSERT INTO notes (id) VALUES (1.5)", "id"),
        ("INSERT INTO notes (id) VALUES (NULL)", "id"),
        ("INSERT INTO ticker PARTITION (symbol = 'x') SELECT 1", "symbol"),
        ("INSERT INTO nope VALUES (1)", "nope"),
        ("UPDATE ticker SET nope = 1", "nope"),
        ("UPDATE ticker SET symbol = 'x'", "symbol"),
        ("UPDATE ticker SET price = 1, price = 2", "price"),
        ("UPDATE notes SET amount = 1.234 WHERE symbol = 'BTC'", "amount"),
        ("UPDATE ticker FOR VERSION AS OF 1 SET price = 1", "past"),
        ("DELETE FROM ticker WHERE nope = 1", "nope"),
        ("INSERT INTO ticker PARTITION (dt = 'a', dt = 'b') SELECT 1", "given twice"),
        ("UPDATE notes SET amount = 1 WHERE random() < 0.5", "RANDOM"),
        ("UPDATE notes SET amount = 1 WHERE id IN (SELECT id FROM notes ORDER BY uuid() LIMIT 1)", "UUID"),
        ("UPDATE notes SET amount = row_number() OVER ()", "window"),
        ("UPDATE notes SET amount = 2 WHERE row_number() OVER () = 1", "WINDOW"),
        ("UPDATE notes SET amount = unnest([1, 2])", "new values for 4"),
        ("CALL sys.expire_snapshots('notes', 'x')", "retain_max"),
        ("UPDATE notes TABLESAMPLE 50% SET amount = 1", "alone"),
        ("DELETE FROM notes TABLESAMPLE 50%", "alone"),
        ("DELETE FROM notes AS n(a, b, c, d)", "alone"),
        ("DELETE ticker FROM notes", "TABLES"),
        ("MERGE INTO ticker USING (SELECT 1 AS x) ON true WHEN MATCHED THEN DELETE", "needs a name"),
        *(
            (f"MERGE INTO notes USING (SELECT 1 AS i) AS s ON {clause}", named)
            for clause, named in [
                ("random() < 0.5 WHEN MATCHED THEN DELETE", "RANDOM"),
                ("id = i WHEN MATCHED AND uuid() > 'a' THEN DELETE", "UUID"),
                ("id = i WHEN NOT MATCHED THEN DELETE", "BY SOURCE"),
                ("id = i WHEN NOT MATCHED THEN UPDATE SET amount = 0", "BY SOURCE"),
                ("id = i WHEN MATCHED THEN INSERT (id) VALUES (2)", "INSERT is of rows"),
                ("id = i WHEN NOT MATCHED BY SOURCE THEN INSERT (id) VALUES (2)", "INSERT is of rows"),
                ("id = i WHEN MATCHED THEN UPDATE SET amount = 0 WHERE id = 7", "WHERE in WHEN"),
                ("id = 7 WHEN NOT MATCHED THEN INSERT (id) VALUES (2) WHERE 1 = 0", "WHERE in WHEN"),
                ("id = 7 WHEN NOT MATCHED THEN INSERT (id, id) VALUES (2, 3)", "given twice"),
                ("id = i WHEN MATCHED THEN UPDATE SET s.amount = 0", "no column of notes"),
                ("id = i WHEN MATCHED THEN UPDATE SET amount = row_number() OVER ()", "window"),
            ]
        ),
        ("MERGE INTO ticker USING notes AS n ON ticker.symbol = n.symbol WHEN NOT MATCHED THEN INSERT *", "price"),
    ],
)
def test_wrong_statements_name_what_is_wrong_and_change_nothing(
    session: Session, catalog: Catalog, sql: str, named: str
) -> None:
    before = latest(catalog), latest(catalog, "d.notes")
    with pytest.raises(HosuError, match=named):
        session.run(sql)
    assert (latest(catalog), latest(catalog, "d.notes")) == before


def test_overwrite_replaces_the_table_a_partition_or_those_of_the_rows(session: Session) -> None:
    session.run("INSERT OVERWRITE ticker PARTITION (dt = '2026-02-01') (symbol, price) VALUES ('NEW', 9)")
    assert prices(session) == {"BTC": 1.5, "ETH": 2.5, "NEW": 9.0}
    session.run(
        "INSERT OVERWRITE ticker (symbol, price, dt) SELECT symbol, price + 1, dt FROM ticker WHERE price = 1.5"
    )
    assert prices(session) == {"BTC": 2.5, "NEW": 9.0}
    session.run("INSERT OVERWRITE notes SELECT * FROM notes WHERE id = 1")
    assert rows(session, "SELECT id FROM notes") == [(1,)]


@pytest.mark.parametrize(
    ("where", "changed"),
    [
        ("WHERE symbol = 'BTC' AND dt = '2026-01-31'", {"BTC"}),
        ("WHERE price > volume - 1", {"BTC", "ETH", "XRP"}),
        ("AS t WHERE t.price > (SELECT avg(price) FROM ticker)", {"XRP"}),
        ("WHERE symbol IN (SELECT symbol FROM notes WHERE id = 2)", {"ETH"}),
        ("WHERE symbol = 'BTC' AND volume % 2 = 0", {"BTC"}),
        ("WHERE false", set()),
        ("", {"BTC", "ETH", "XRP"}),
    ],
)
def test_update_and_delete_find_their_rows(session: Session, catalog: Catalog, where: str, changed: set[str]) -> None:
    before = prices(session)
    at = latest(catalog)
    alias, _, tail = where.partition("WHERE ")
    condition = f"WHERE {tail}" if tail else ""
    done = session.run(f"UPDATE ticker {alias} SET price = price * 2 + 0.5, volume = NULL {condition}")
    assert done.rows_changed == len(changed)
    assert prices(session) == {name: price * 2 + 0.5 if name in changed else price for name, price in before.items()}
    assert latest(catalog) == at + (1 if changed else 0)
    session.run("CALL sys.rollback('ticker', 1)")
    session.run(f"DELETE FROM ticker {alias} {condition}")
    assert prices(session) == {name: price for name, price in before.items() if name not in changed}


def test_changes_take_parameters_by_order_wherever_they_stand(session: Session) -> None:
    session.run("UPDATE notes SET amount = ? WHERE id = ?", [7, 1])
    session.run("UPDATE notes SET symbol = $2 WHERE id = $1", [2, "XRP"])
    session.run(
        "MERGE INTO notes USING (SELECT ? AS i) AS s ON id = i WHEN MATCHED AND amount < ? THEN UPDATE SET symbol = ? "
        "WHEN NOT MATCHED THEN INSERT (id, symbol) VALUES (i, ?)",
        [3, 0, "no", "SOL"],
    )
    found = "SELECT id, symbol, amount FROM notes ORDER BY id"
    assert rows(session, found) == [(1, "BTC", Decimal("7.00")), (2, "XRP", Decimal("1.00")), (3, "SOL", None)]
    session.run("DELETE FROM notes WHERE id = ? AND symbol = ?", [2, "XRP"])
    assert [row[0] for row in rows(session, found)] == [1, 3]
    for few in ([], [1], [1, 2, 3]):
        with pytest.raises(InvalidInputError, match="parameter"):
            session.run("UPDATE notes SET amount = ? WHERE id = ?", few)


def test_append_tables_are_updated_and_deleted_from_too(session: Session) -> None:
    assert session.run("UPDATE notes SET amount = amount * 2 WHERE id = (SELECT min(id) FROM notes)").rows_changed == 1
    assert rows(session, "SELECT id, amount, tags FROM notes ORDER BY id") == [
        (1, Decimal("5.00"), ["a", "b"]),
        (2, Decimal("1.00"), None),
    ]
    assert session.run("DELETE FROM notes WHERE length(symbol) = 3 AND id > 1").rows_changed == 1
    assert rows(session, "SELECT id FROM notes") == [(1,)]


def test_no_update_is_lost_when_several_sessions_write_at_once(catalog: Catalog, session: Session) -> None:
    def add(statement: str) -> None:
        mine = Session(catalog)
        mine.use("d")
        for _ in range(3):
            mine.run(statement)

    statements = [
        "UPDATE ticker SET price = price + 1 WHERE symbol = 'BTC'",
        "UPDATE ticker SET price = price + 1 WHERE symbol = (SELECT 'BTC')",
        "UPDATE ticker SET price = (SELECT price + 1 FROM ticker WHERE symbol = 'BTC') WHERE symbol = 'BTC'",
        (
            "MERGE INTO ticker t USING (SELECT symbol, price + 1 AS p FROM ticker WHERE symbol = 'BTC') s "
            "ON t.symbol = s.symbol WHEN MATCHED THEN UPDATE SET price = s.p"
        ),
        "UPDATE notes SET amount = amount + 1 WHERE id = 1",
        "MERGE INTO notes USING (SELECT 1 AS k) s ON notes.id = s.k WHEN MATCHED THEN UPDATE SET amount = amount + 1",
    ]
    with ThreadPoolExecutor(len(statements)) as pool:
        list(pool.map(add, statements))
    assert prices(session)["BTC"] == 1.5 + 12
    assert rows(session, "SELECT amount FROM notes WHERE id = 1") == [(Decimal("8.50"),)]


def test_updates_say_their_kinds_in_the_changelog(session: Session, catalog: Catalog) -> None:
    session.run("UPDATE ticker SET price = 9 WHERE symbol = 'BTC' AND volume + 0 = 2")
    session.run("DELETE FROM ticker WHERE symbol || '' = 'ETH'")
    table = Table(catalog, "d.ticker")
    changes = [row for change in table.changes(from_snapshot=2) for row in change.rows.to_pylist()]
    assert [(row["_ROW_KIND"], row["symbol"], row["price"]) for row in changes] == [
        ("-U", "BTC", 1.5), ("+U", "BTC", 9.0), ("-D", "ETH", 2.5),
    ]  # fmt: skip


MERGE = """
MERGE INTO ticker AS t
USING (
  VALUES ('BTC', 50.0, '2026-01-31'), ('ETH', -1.0, '2026-01-31'), ('NEW', 7.0, '2026-02-01')
) AS s(symbol, price, dt)
ON t.symbol = s.symbol AND t.dt = s.dt
WHEN MATCHED AND s.price < 0 THEN DELETE
WHEN MATCHED THEN UPDATE SET price = s.price + t.volume
WHEN NOT MATCHED THEN INSERT (symbol, dt, price) VALUES (s.symbol, s.dt, s.price)
"""


def test_merge_updates_deletes_and_inserts_in_one_commit(session: Session, catalog: Catalog) -> None:
    before = latest(catalog)
    assert session.run(MERGE).rows_changed == 3
    assert latest(catalog) == before + 1
    assert prices(session) == {"BTC": 52.0, "NEW": 7.0, "XRP": 3.5}


def test_merge_works_on_append_tables_and_on_what_the_source_lacks(session: Session) -> None:
    session.run(
        "MERGE INTO notes USING (SELECT 2 AS id, 9.5 AS amount, 'NEW' AS symbol, NULL AS tags UNION ALL "
        "SELECT 3, 1, 'X', ['t']) AS s ON notes.id = s.id "
        "WHEN MATCHED THEN UPDATE SET * WHEN NOT MATCHED AND s.id < 3 THEN INSERT (id) VALUES (0) "
        "WHEN NOT MATCHED THEN INSERT * WHEN NOT MATCHED BY SOURCE THEN DELETE"
    )
    assert rows(session, "SELECT id, symbol, amount, tags FROM notes ORDER BY id") == [
        (2, "NEW", Decimal("9.50"), None),
        (3, "X", Decimal("1.00"), ["t"]),
    ]


def test_merge_refuses_a_row_that_several_rows_of_the_source_match(session: Session, catalog: Catalog) -> None:
    before = latest(catalog)
    with pytest.raises(InvalidInputError, match=r"several rows of the source.*BTC"):
        session.run(
            "MERGE INTO ticker t USING (VALUES ('BTC', 1), ('BTC', 2)) AS s(symbol, p) ON t.symbol = s.symbol "
            "WHEN MATCHED THEN UPDATE SET price = s.p"
        )
    assert latest(catalog) == before


def test_merge_may_read_the_table_itself_and_its_past(session: Session) -> None:
    session.run("UPDATE ticker SET price = 0 WHERE true")
    session.run(
        "MERGE INTO ticker USING d.ticker FOR VERSION AS OF 1 AS was ON ticker.symbol = was.symbol AND "
        "ticker.dt = was.dt WHEN MATCHED THEN UPDATE SET price = was.price"
    )
    assert prices(session) == {"BTC": 1.5, "ETH": 2.5, "XRP": 3.5}


def test_alter_table_changes_columns_and_options(session: Session) -> None:
    for change in (
        "ADD (note STRING COMMENT 'why' AFTER price, n INT)",
        "RENAME note TO remark",
        "MODIFY n BIGINT COMMENT 'more'",
        "ALTER COLUMN n COMMENT 'most'",
        "ALTER COLUMN n FIRST",
        "DROP COLUMN volume",
        "ADD COLUMN last DOUBLE DEFAULT '1.5'",
        "SET ('snapshot.num-retained.min' = '20')",
        "SET TBLPROPERTIES (snapshot.num-retained.max = 30)",
        "RESET ('snapshot.num-retained.min')",
        "COMMENT 'ticks'",
    ):
        session.run(f"ALTER TABLE ticker {change}")
    schema = session.catalog.schema("d.ticker")
    names = ["n", "symbol", "price", "remark", "change_rate", "trade_timestamp", "dt", "last"]
    assert list(schema.names) == names
    assert (str(schema.field("n").type), schema.field("n").description) == ("BIGINT", "most")
    assert schema.field("last").default_value == "1.5"
    assert "snapshot.num-retained.min" not in schema.options
    assert schema.options["snapshot.num-retained.max"] == "30"
    assert schema.comment == "ticks"
    session.run("INSERT INTO ticker (symbol, dt) VALUES ('Z', 'x')")
    assert rows(session, "SELECT last, n FROM ticker WHERE symbol = 'Z'") == [(1.5, None)]


def test_catalog_statements(session: Session) -> None:
    session.run("CREATE DATABASE IF NOT EXISTS d")
    session.run("CREATE SCHEMA other")
    assert rows(session, "SHOW DATABASES") == [("d",), ("other",)]
    assert rows(session, "SHOW TABLES") == [("notes",), ("ticker",)]
    assert rows(session, "SHOW TABLES IN other") == []
    assert rows(session, "DESCRIBE notes")[0][:4] == ("id", "INT", "NO", "")
    assert [row[0] for row in rows(session, "SHOW PARTITIONS ticker")] == ["dt=2026-01-31", "dt=2026-02-01"]
    assert session.run("TRUNCATE TABLE ticker").did == "truncated d.ticker"
    assert prices(session) == {}
    session.run("DROP TABLE ticker")
    session.run("DROP TABLE IF EXISTS ticker")
    with pytest.raises(NotFoundError):
        session.run("DROP TABLE ticker")
    with pytest.raises(ConflictError):
        session.run("DROP DATABASE d")
    session.run("DROP DATABASE d CASCADE")
    assert session.database is None
    with pytest.raises(InvalidInputError, match="lacks its database"):
        session.run("SELECT * FROM notes")


def test_procedures_do_upkeep(session: Session, catalog: Catalog) -> None:
    session.run("UPDATE ticker SET price = 5 WHERE symbol = 'BTC'")
    assert "snapshot" in session.run("CALL sys.compact(`table` => 'd.ticker', compact_strategy => 'full')").did
    session.run("CALL sys.compact('ticker', 'dt=2026-01-31;dt=2026-02-01')")
    session.run("CALL sys.create_tag('ticker', 'one', 1, '1 d')")
    session.run("CALL sys.rename_tag('ticker', 'one', 'uno')")
    assert rows(session, "SELECT tag_name, snapshot_id FROM ticker$tags") == [("uno", 1)]
    session.run("CALL sys.reset_consumer('ticker', 'c', 1)")
    assert rows(session, "SELECT * FROM ticker$consumers") == [("c", 1)]
    session.run("CALL sys.reset_consumer('ticker', 'c')")
    assert "would delete" in session.run("CALL sys.expire_snapshots('ticker', dry_run => true)").did
    assert "deleted nothing" in session.run("CALL sys.remove_orphan_files('ticker')").did
    assert "analysed" in session.run("ANALYZE TABLE ticker COMPUTE STATISTICS FOR COLUMNS price").did
    session.run("CALL sys.create_branch('ticker', 'b', 'uno')")
    session.run("INSERT INTO ticker$branch_b (symbol, dt) VALUES ('BR', 'x')")
    session.run("CALL sys.fast_forward('ticker', 'b')")
    assert set(prices(session)) == {"BTC", "ETH", "XRP", "BR"}
    session.run("CALL sys.delete_branch('ticker', 'b')")
    session.run("CALL sys.rollback('ticker', 'uno')")
    assert (latest(catalog), prices(session)["BTC"]) == (1, 1.5)
    session.run("CALL sys.delete_tag('ticker', 'uno')")
    with pytest.raises(InvalidInputError, match="unknown or given twice"):
        session.run("CALL sys.rollback('ticker', nope => 1)")

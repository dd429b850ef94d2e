"""CREATE and ALTER as DuckDB, Flink and Spark write them, and what CALL needs."""

import pytest

from hosu.kernel.errors import HosuError, UnsupportedError
from hosu.tables.sql.session import Session


@pytest.mark.parametrize(
    ("written", "kind"),
    [
        ("TEXT[]", "ARRAY<STRING>"),
        ("INT[][]", "ARRAY<ARRAY<INT>>"),
        ("ARRAY<TEXT>", "ARRAY<STRING>"),
        ("MAP<VARCHAR(5), INT8>", "MAP<VARCHAR(5), BIGINT>"),
        ("MAP(TEXT, REAL)", "MAP<STRING, FLOAT>"),
        ("STRUCT(x INT, `y z` TEXT[])", "ROW<`x` INT, `y z` ARRAY<STRING>>"),
        ("STRUCT<x: INT NOT NULL, y: STRING>", "ROW<`x` INT NOT NULL, `y` STRING>"),
        ("ROW(x INT COMMENT 'it''s')", "ROW<`x` INT 'it''s'>"),
        ("INT ARRAY", "ARRAY<INT>"),
        ("FLOAT8", "DOUBLE"),
        ("DOUBLE PRECISION", "DOUBLE"),
        ("TIMESTAMP WITH TIME ZONE", "TIMESTAMP(6) WITH LOCAL TIME ZONE"),
        ("TIMESTAMP(3) WITHOUT TIME ZONE", "TIMESTAMP(3)"),
        ("TIMESTAMP(3) WITH LOCAL TIME ZONE", "TIMESTAMP(3) WITH LOCAL TIME ZONE"),
        ("TIMESTAMP_NS", "TIMESTAMP(9)"),
        ("NUMERIC(10, 2)", "DECIMAL(10, 2)"),
        ("BYTEA", "BYTES"),
    ],
)
def test_types_are_understood_at_every_depth(session: Session, written: str, kind: str) -> None:
    session.run(f"CREATE TABLE t (a {written} NOT NULL DEFAULT_, b INT)".replace(" DEFAULT_", ""))
    assert str(session.catalog.schema("d.t").field("a").type) == f"{kind} NOT NULL"
    session.run(f"ALTER TABLE t ADD c {written} COMMENT 'more' FIRST")
    assert str(session.catalog.schema("d.t").field("c").type) == kind


@pytest.mark.parametrize(
    ("columns", "named"),
    [
        ("a VARCHAR[]", "how long a VARCHAR"),
        ("a ARRAY<VARCHAR>", "how long a VARCHAR"),
        ("a MAP<VARCHAR, INT>", "how long a VARCHAR"),
        ("a ROW<x CHAR>", "how long a CHAR"),
        ("a INT[3]", "fixed length"),
        ("a UUID", "STRING"),
        ("a HUGEINT", "DECIMAL"),
        ("a ENUM('x')", "STRING"),
        ("a ARRAY(INT)", "<"),
        ("a INT UNSIGNED", "UNSIGNED"),
        ("a INT PRIMARY KEY, b INT PRIMARY KEY", "PRIMARY KEY already"),
        ("a INT, b INT, PRIMARY KEY (a), PRIMARY KEY (b)", "PRIMARY KEY already"),
        ("a INT) COMMENT 'x' COMMENT 'y'", "twice"),
        ("a INT, b INT) PARTITIONED BY (a) PARTITIONED BY (b)", "twice"),
        ("a INT) WITH ('bucket' = '-1') WITH ('bucket' = '-1')", "twice"),
        ("a INT) WITH ('path' = '/elsewhere')", "path"),
    ],
)
def test_tables_that_would_be_others_than_asked_for_are_not_made(session: Session, columns: str, named: str) -> None:
    with pytest.raises(HosuError, match=named):
        session.run(f"CREATE TABLE t ({columns}" + ("" if ") " in columns else ")"))
    assert session.catalog.tables("d") == ["notes", "ticker"]


@pytest.mark.parametrize(
    ("sql", "named"),
    [
        ("ALTER TABLE ticker ADD PRIMARY KEY (symbol)", "PRIMARY KEY"),
        ("ALTER TABLE ticker ADD CONSTRAINT pk PRIMARY KEY (symbol) NOT ENFORCED", "CONSTRAINT"),
        ("ALTER TABLE ticker ADD WATERMARK FOR trade_timestamp AS trade_timestamp", "WATERMARK"),
        ("ALTER TABLE ticker DROP PARTITION (dt = 'x')", "DELETE FROM"),
        ("ALTER TABLE ticker ADD COLUMN IF NOT EXISTS price DOUBLE", "IF NOT EXISTS"),
        ("ALTER TABLE ticker DROP COLUMN IF EXISTS price", "IF EXISTS"),
        ("CREATE OR REPLACE TABLE t (a INT)", "DROP TABLE IF EXISTS"),
        ("CREATE TEMP TABLE t AS SELECT 1", "TEMP"),
        ("COMMENT ON TABLE ticker IS 'x'", "ALTER TABLE"),
        ("PREPARE p AS SELECT 1", "PREPARE"),
        ("EXPLAIN EXTENDED SELECT 1", "EXPLAIN"),
    ],
)
def test_what_others_have_is_refused_with_what_to_do_instead(session: Session, sql: str, named: str) -> None:
    with pytest.raises(UnsupportedError, match=named):
        session.run(sql)


@pytest.mark.parametrize(
    ("call", "named"),
    [
        ("create_tag('ticker')", "'tag'"),
        ("create_tag('ticker', 't', time_retained => 'soon')", "time_retained is 'soon'"),
        ("rename_tag('ticker', 't')", "'target_tag'"),
        ("rollback('ticker')", "'version'"),
        ("create_branch('ticker', '')", "'branch'"),
        ("reset_consumer('ticker')", "'consumer_id'"),
    ],
)
def test_procedures_name_the_argument_that_is_missing_or_wrong(session: Session, call: str, named: str) -> None:
    with pytest.raises(HosuError, match=named):
        session.run(f"CALL sys.{call}")
    assert session.run("SELECT count(*) FROM ticker$tags").fetchall() == [(0,)]


def test_what_show_create_table_says_of_fields_makes_the_table_again(session: Session) -> None:
    session.run("CREATE TABLE nested (r ROW<a INT COMMENT 'it''s', b MAP<STRING, ROW<c INT NOT NULL 'c'>>>)")
    shown = str(session.run("SHOW CREATE TABLE nested"))
    session.run(shown.replace("`nested`", "`again`"))
    assert str(session.run("SHOW CREATE TABLE again")) == shown.replace("`nested`", "`again`")
    assert "COMMENT" in shown or "'it''s'" in shown

"""Queries: time travel, what is pushed down, and what is refused."""

import gc
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pyarrow as pa
import pytest

from hosu.kernel.errors import ConflictError, CorruptError, ErrorKind, HosuError, InvalidInputError, UnsupportedError
from hosu.tables.catalog import Catalog
from hosu.tables.reading.scan import Scan
from hosu.tables.sql.session import Session
from hosu.testing.manual_clock import ManualClock

HOUR_MS = 3_600_000


def rows(session: Session, sql: str, parameters: Any = None) -> list[tuple[Any, ...]]:
    return session.run(sql, parameters).fetchall()


@pytest.fixture
def history(session: Session, catalog: Catalog, clock: ManualClock) -> Session:
    """A second snapshot an hour after the first, and a tag of the first."""
    session.run("CALL sys.create_tag('ticker', 'eod')")
    clock.advance(HOUR_MS)
    session.run("UPDATE ticker SET price = 100 WHERE symbol = 'BTC'")
    del catalog
    return session


PRICE = "SELECT price FROM ticker{} WHERE symbol = 'BTC'"


@pytest.mark.parametrize(
    ("clause", "price"),
    [
        ("", 100.0),
        (" FOR VERSION AS OF 1", 1.5),
        (" FOR VERSION AS OF 2", 100.0),
        (" FOR VERSION AS OF 'eod'", 1.5),
        (" for system_version as of 1 AS t", 1.5),
        (" VERSION AS OF 1 t", 1.5),
        (" /*+ OPTIONS('scan.snapshot-id'='1') */", 1.5),
        (" /*+ OPTIONS('scan.tag-name' = 'eod') */ AS t", 1.5),
        (" /* a comment */ -- another\n", 100.0),
    ],
)
def test_a_query_reads_the_state_it_asks_for(history: Session, clause: str, price: float) -> None:
    assert rows(history, PRICE.format(clause)) == [(price,)]


def test_times_are_text_timestamps_or_expressions(history: Session, clock: ManualClock) -> None:
    between = clock.now_ms() - HOUR_MS // 2
    text = datetime.fromtimestamp(between / 1000, UTC).isoformat(sep=" ")
    for clause in (
        f" FOR TIMESTAMP AS OF '{text}'",
        f" FOR SYSTEM_TIME AS OF TIMESTAMPTZ '{text}'",
        f" FOR TIMESTAMP AS OF TIMESTAMPTZ '{text}' + INTERVAL '10' MINUTE",
        f" FOR TIMESTAMP AS OF (TIMESTAMPTZ '{text}' - INTERVAL 10 MINUTES) AS t",
        f" /*+ OPTIONS('scan.timestamp-millis'='{between}') */",
    ):
        assert rows(history, PRICE.format(clause)) == [(1.5,)]
    given = {"at": text, "symbol": "BTC"}
    assert rows(history, "SELECT price FROM ticker FOR TIMESTAMP AS OF $at WHERE symbol = $symbol", given) == [(1.5,)]


@pytest.fixture
def in_seoul(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A machine whose zone is nine hours ahead of UTC."""
    with monkeypatch.context() as patch:
        patch.setenv("TZ", "Asia/Seoul")
        time.tzset()
        yield
    time.tzset()


@pytest.mark.usefixtures("in_seoul")
def test_times_without_a_zone_are_utc_whatever_the_machine_has(history: Session, clock: ManualClock) -> None:
    between = clock.now_ms() - HOUR_MS // 2
    text = datetime.fromtimestamp(between / 1000, UTC).strftime("%Y-%m-%d %H:%M:%S")
    for moment in (f"'{text}'", f"TIMESTAMP '{text}'", f"TIMESTAMPTZ '{text}'", f"(TIMESTAMPTZ '{text}')::TIMESTAMP"):
        assert rows(history, PRICE.format(f" FOR TIMESTAMP AS OF {moment}")) == [(1.5,)]
    zone = (
        "SELECT current_setting('TimeZone'), TIMESTAMPTZ '2026-01-31 09:00:00' = TIMESTAMPTZ '2026-01-31 09:00:00+00'"
    )
    assert rows(history, zone) == [("UTC", True)]
    given = {"at": datetime.fromisoformat(text)}
    assert rows(history, PRICE.format(" FOR TIMESTAMP AS OF $at"), given) == [(1.5,)]


@pytest.mark.parametrize("moment", ["'infinity'", "TIMESTAMP 'infinity'", "DATE '-infinity'"])
def test_a_moment_that_never_is_is_refused(history: Session, moment: str) -> None:
    with pytest.raises(InvalidInputError, match="is no time"):
        history.run(PRICE.format(f" FOR TIMESTAMP AS OF {moment}"))


def test_rows_outlive_the_session_that_was_asked(catalog: Catalog, session: Session) -> None:
    assert session.run("SELECT 1").fetchall() == [(1,)]
    found = Session(catalog).run("SELECT id FROM d.notes ORDER BY id")
    many = Session(catalog).run("SELECT * FROM range(300000)").reader()
    gc.collect()
    assert found.fetchall() == [(1,), (2,)]
    assert many.read_all().num_rows == 300_000


def test_one_query_may_read_a_table_at_several_times(history: Session) -> None:
    sql = """
        SELECT now.price, was.price FROM ticker AS now
        JOIN d.`ticker` FOR VERSION AS OF 1 AS was USING (symbol, dt) WHERE now.price <> was.price
    """
    assert rows(history, sql) == [(100.0, 1.5)]


def test_a_schema_of_the_past_is_that_of_its_snapshot(history: Session) -> None:
    history.run("ALTER TABLE ticker DROP volume")
    history.run("UPDATE ticker SET price = 7 WHERE symbol = 'BTC'")
    assert rows(history, "SELECT volume FROM ticker FOR VERSION AS OF 1 WHERE symbol = 'BTC'") == [(2.0,)]
    with pytest.raises(InvalidInputError, match="volume"):
        rows(history, "SELECT volume FROM ticker")


def test_system_tables_and_branches_are_queried_by_their_names(history: Session) -> None:
    found = rows(history, "SELECT snapshot_id, commit_kind FROM ticker$snapshots ORDER BY 1")
    assert found == [(1, "APPEND"), (2, "APPEND")]
    history.run("CALL sys.create_branch('ticker', 'b', 'eod')")
    assert rows(history, PRICE.format("$branch_b")) == [(1.5,)]


@pytest.mark.parametrize(
    ("sql", "found"),
    [
        ("WITH q AS (SELECT * FROM ticker) SELECT (SELECT count(*) FROM q), (SELECT sum(volume) FROM q)", [(3, 9.0)]),
        ("WITH ticker AS (SELECT symbol FROM ticker WHERE price > 2) SELECT count(*) FROM ticker", [(2,)]),
        (
            "WITH RECURSIVE r AS (SELECT 1 AS n UNION ALL SELECT n + 1 FROM r, notes WHERE n = id) FROM r",
            [(1,), (2,), (3,)],
        ),
        ("SELECT count(*) FROM ticker a, ticker b WHERE a.dt = b.dt", [(5,)]),
        ("SELECT d.ticker.symbol FROM d.ticker WHERE d.ticker.price = 3.5", [("XRP",)]),
        (
            ("SELECT n.symbol FROM notes n LEFT JOIN ticker t ON n.symbol = t.symbol AND t.price > 2 "
            "WHERE t.price IS NULL"),
            [("BTC",)],
        ),
        (
            "SELECT t.symbol FROM ticker t WHERE EXISTS (SELECT 1 FROM notes n WHERE n.symbol = t.symbol AND n.id = 2)",
            [("ETH",)],
        ),
        ("FROM notes SELECT tags[1] WHERE id = 1", [("a",)]),
        ("VALUES (1, 'x')", [(1, "x")]),
        (
            "SELECT 'FOR VERSION AS OF 1', $$it's$$, E'\\'' -- 'FOR VERSION AS OF 9'",
            [("FOR VERSION AS OF 1", "it's", "'")],
        ),
        ("SELECT count(*) FROM range(4)", [(4,)]),
        ("SELECT t FROM notes t WHERE id = 2", [({"id": 2, "symbol": "ETH", "amount": 1, "tags": None},)]),
        ("SELECT sum(x) FROM notes AS n(x, y, z, w)", [(3,)]),
    ],
)  # fmt: skip
def test_queries_answer_as_duckdb_does(session: Session, sql: str, found: list[tuple[Any, ...]]) -> None:
    got = rows(session, sql)
    if isinstance(found[0][0], dict):
        (row,) = got
        assert {**row[0], "amount": float(row[0]["amount"])} == found[0][0]
    else:
        assert sorted(got) == found


def test_parameters_are_given_in_order_or_by_name(session: Session) -> None:
    assert rows(session, "SELECT price FROM ticker WHERE symbol = ? AND price < ?", ["ETH", 9]) == [(2.5,)]
    assert rows(session, "SELECT price FROM ticker WHERE symbol = $s", {"s": "ETH"}) == [(2.5,)]


def scans_of(session: Session, sql: str, parameters: Any = None) -> list[Scan]:
    connection = session.connect()
    try:
        bound = session.binder(connection).bind(sql, parameters)
        return [one.scan for one in bound.references if one.scan is not None]
    finally:
        connection.close()


@pytest.mark.parametrize(
    ("sql", "columns"),
    [
        ("SELECT price FROM ticker WHERE dt = 'x'", ["price", "dt"]),
        ("SELECT count(*) FROM ticker", ["symbol"]),
        ("SELECT * FROM ticker", ["symbol", "price", "volume", "change_rate", "trade_timestamp", "dt"]),
        ("SELECT COLUMNS('pri.*') FROM ticker", ["symbol", "price", "volume", "change_rate", "trade_timestamp", "dt"]),
        ("SELECT PRICE FROM ticker", ["price"]),
    ],
)
def test_only_columns_that_a_query_names_are_read(session: Session, sql: str, columns: list[str]) -> None:
    (scan,) = scans_of(session, sql)
    assert scan.columns == columns


@pytest.mark.parametrize(
    ("sql", "told"),
    [
        ("SELECT 1 FROM ticker WHERE dt = 'x' AND price > 1 AND price * 2 > 3", "dt = 'x' AND price > 1"),
        ("SELECT 1 FROM ticker t WHERE t.symbol IN ('a', 'b') OR t.dt IS NULL", "symbol IN ('a', 'b') OR dt IS NULL"),
        ("SELECT 1 FROM ticker WHERE trade_timestamp > '2026-01-31'", "trade_timestamp > '2026-01-31'"),
        ("SELECT 1 FROM ticker t LEFT JOIN notes n ON true WHERE t.dt = 'x' AND n.id IS NULL", "dt = 'x'"),
        ("SELECT 1 FROM notes n LEFT JOIN ticker t ON true WHERE t.dt IS NULL", ""),
        ("SELECT 1 FROM notes n RIGHT JOIN ticker t ON true WHERE n.id = 1 AND t.dt = 'x'", ""),
        ("SELECT 1 FROM notes n FULL JOIN ticker t ON true WHERE t.dt = 'x'", ""),
        ("SELECT 1 FROM ticker TABLESAMPLE 50% WHERE dt = 'x'", ""),
        ("SELECT 1 FROM ticker, notes WHERE ticker.symbol = 'BTC' AND id = 1", "symbol = 'BTC'"),
        ("SELECT 1 FROM ticker WHERE price = 0.12345678901234567", ""),
        ("SELECT 1 FROM ticker WHERE price > '1'", ""),
        ("SELECT 1 FROM ticker WHERE trade_timestamp = '2026-01-31 09:00:00.0005'", ""),
        ("SELECT 1 FROM ticker WHERE lower(symbol) = 'btc'", ""),
        ("SELECT 1 FROM ticker AS t(a, b, c, d, e, f) WHERE f = 'x'", ""),
        ("SELECT symbol FROM ticker WHERE dt IN (SELECT symbol FROM notes)", ""),
        ("SELECT sum(price) AS dt FROM ticker WHERE symbol = 'a' GROUP BY ALL HAVING dt > 5", "symbol = 'a'"),
    ],
)  # fmt: skip
def test_conditions_are_pushed_down_where_that_is_safe(session: Session, sql: str, told: str) -> None:
    found = {one["table"]: one["pushed_down"] for one in session.run(f"EXPLAIN {sql}").arrow().to_pylist()}
    assert found["d.ticker"] == told


def test_parameters_are_pushed_down_too(session: Session) -> None:
    told = session.run("EXPLAIN SELECT price FROM ticker WHERE dt = ?", ["2026-02-01"]).arrow().to_pylist()
    assert [(one["files"], one["files_in_table"]) for one in told] == [(1, 3)]


@pytest.mark.parametrize(
    ("sql", "named"),
    [
        ("SELECT * FROM read_csv('/etc/passwd')", "/etc/passwd"),
        ("SELECT * FROM read_parquet('https://example.com/x')", "example.com"),
        ("SELECT * FROM '/etc/passwd'", "/etc/passwd"),
        ("SELECT * FROM glob('/*')", "disabled"),
        ("SELECT nope FROM ticker", "ticker has symbol, price"),
        ("SELECT * FROM nope", "nope"),
        ("SELECT FRM ticker WHERE", "WHERE"),
        ("SELECT 'x", "not closed"),
        ("SELECT 1; SELECT 2", "2 statements"),
        ("", "no statement"),
        ("SELECT * FROM ticker FOR VERSION AS OF 1.5", "1.5"),
        ("SELECT * FROM ticker FOR TIMESTAMP AS OF 1700000000000", "no time"),
        ("SELECT * FROM ticker FOR TIMESTAMP AS OF ?", "parameter .1 is not given"),
        ("SELECT * FROM ticker FOR VERSION AS OF 1 /*+ OPTIONS('scan.snapshot-id'='1') */", "two times"),
        ("WITH q AS (SELECT 1) SELECT * FROM q FOR VERSION AS OF 1", "no history"),
        ("SELECT * FROM ticker$nope", "nope"),
        ("SELECT * FROM a.b.c.d", "a.b.c.d"),
    ],
)
def test_what_is_wrong_is_named_and_nothing_is_read(session: Session, sql: str, named: str) -> None:
    with pytest.raises(HosuError, match=named):
        session.run(sql)


@pytest.mark.parametrize(
    ("sql", "named"),
    [
        ("COPY ticker TO 'x.csv'", "COPY"),
        ("ATTACH 'x.db'", "ATTACH"),
        ("INSTALL httpfs", "INSTALL"),
        ("SET threads = 1", "SET"),
        ("PRAGMA database_list", "PRAGMA"),
        ("BEGIN", "BEGIN"),
        ("CREATE VIEW v AS SELECT 1", "VIEW"),
        ("SELECT * FROM ticker /*+ BROADCAST(ticker) */", "BROADCAST"),
        ("SELECT /*+ OPTIONS('scan.snapshot-id'='1') */ * FROM ticker", "scan.snapshot-id"),
        ("SELECT * FROM ticker /*+ OPTIONS('nope'='1') */", "nope"),
        ("SELECT price /*+ OPTIONS('scan.snapshot-id'='1') */ FROM ticker", "price"),
        ("INSERT OR REPLACE INTO ticker VALUES (1)", "OR REPLACE"),
        ("INSERT INTO notes (id) VALUES (1) RETURNING id", "RETURNING"),
        ("INSERT INTO notes (id) VALUES (1) ON CONFLICT DO NOTHING", "ON CONFLICT"),
        ("UPDATE ticker SET price = 1 FROM notes", "FROM"),
        ("DELETE FROM ticker USING notes WHERE true", "USING"),
        ("CALL sys.nope('ticker')", "sys.nope"),
        ("EXPLAIN ANALYZE SELECT 1", "EXPLAIN"),
        ("ALTER TABLE ticker RENAME TO other", "renamed"),
    ],
)
def test_what_hosu_does_not_do_is_refused_by_name(session: Session, sql: str, named: str) -> None:
    with pytest.raises(UnsupportedError, match=named):
        session.run(sql)


def test_a_hint_may_ask_for_what_came_between_two_snapshots(history: Session) -> None:
    hint = "/*+ OPTIONS('incremental-between' = '1,2') */"
    assert rows(history, f"SELECT symbol, price FROM ticker {hint} WHERE price > 1") == [("BTC", 100.0)]


def test_rows_are_read_when_they_are_asked_for(session: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[str] = []
    batches = Scan.batches

    def counted(self: Scan, *arguments: Any) -> Iterator[pa.RecordBatch]:
        read.append(threading.current_thread().name)
        yield from batches(self, *arguments)

    monkeypatch.setattr(Scan, "batches", counted)
    result = session.run("SELECT symbol FROM ticker ORDER BY symbol")
    assert result.columns == ["symbol"]
    assert [batch.column(0).to_pylist() for batch in result.batches()] == [["BTC", "ETH", "XRP"]]
    # DuckDB's own threads have no place for what a read leaves in a thread.
    assert set(read) == {"hosu-read"}
    with pytest.raises(ConflictError) as again:
        result.fetchall()
    assert again.value.kind is ErrorKind.METHOD_NOT_ALLOWED


def test_what_goes_wrong_in_a_table_is_told_as_it_was(session: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(self: Scan, *_: Any) -> Iterator[pa.RecordBatch]:
        del self
        raise CorruptError(ErrorKind.CORRUPT_TABLE, "file x of snapshot 1 is broken")
        yield

    monkeypatch.setattr(Scan, "batches", broken)
    with pytest.raises(CorruptError, match="file x of snapshot 1 is broken"):
        session.run("SELECT symbol FROM ticker").arrow()


def test_a_query_can_be_stopped(session: Session) -> None:
    started = threading.Event()
    failures: list[HosuError] = []

    def run() -> None:
        try:
            result = session.run("SELECT * FROM range(1000000000) a, range(1000000) b")
            started.set()
            for _ in result.batches():
                pass
        except HosuError as error:
            failures.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    assert started.wait(60)
    session.interrupt()
    thread.join(60)
    assert not thread.is_alive()
    assert [error.kind for error in failures] == [ErrorKind.SHUTTING_DOWN]


def test_results_come_in_every_form(session: Session) -> None:
    sql = "SELECT id, symbol FROM notes ORDER BY id"
    assert session.run(sql).arrow().to_pydict() == {"id": [1, 2], "symbol": ["BTC", "ETH"]}
    assert session.run(sql).reader().read_all().num_rows == 2
    assert session.run(sql).df()["symbol"].tolist() == ["BTC", "ETH"]
    assert session.run(sql).pl()["id"].to_list() == [1, 2]
    result = session.run(sql)
    assert (len(result), list(result), str(result)) == (2, [(1, "BTC"), (2, "ETH")], "id  symbol\n1   BTC\n2   ETH")
    assert str(session.run("SELECT 1 AS x WHERE false")) == "x"


@pytest.mark.parametrize(
    ("clause", "parameters"),
    [
        ("AT (VERSION => 1)", []),
        ("AT (VERSION => 'eod') AS t", []),
        ("FOR VERSION AS OF ?", [1]),
        ("FOR VERSION AS OF $1", [1]),
        ("AT (VERSION => ?)", [1]),
        ("FOR TIMESTAMP AS OF (TIMESTAMPTZ '2026-01-01 00:00:00+00' + INTERVAL (?) MINUTE)", [1]),
        ("AT (TIMESTAMP => TIMESTAMPTZ '2026-01-01 00:00:00+00' + INTERVAL (?) MINUTE)", [1]),
    ],
)
def test_moments_are_also_in_duckdbs_words_and_from_parameters(
    history: Session, clause: str, parameters: list[object]
) -> None:
    sql = f"SELECT price FROM ticker {clause} WHERE symbol = ?"
    if "$1" in clause:
        sql = sql.replace("= ?", "= $2")
    assert rows(history, sql, [*parameters, "BTC"]) == [(1.5,)]


@pytest.mark.parametrize(
    ("sql", "given", "named"),
    [
        ("SELECT $a", {"a": 1, "b": 2}, r"\$b"),
        ("SELECT $ab", {"a": 1, "ab": 2}, r"\$a,"),
        ("SELECT '$b', $a", {"a": 1, "b": 2}, r"\$b"),
        ("UPDATE notes SET amount = $a", {"a": 1, "b": 2}, r"\$b"),
        ("SELECT * FROM ticker FOR VERSION AS OF ? WHERE symbol = ?", [1, "BTC", 2], "3"),
    ],
)
def test_values_that_no_parameter_takes_are_named(session: Session, sql: str, given: Any, named: str) -> None:
    with pytest.raises(InvalidInputError, match=named):
        session.run(sql, given)


def test_system_tables_are_read_at_the_time_that_is_asked_for(history: Session) -> None:
    for clause in ("FOR VERSION AS OF 1", "/*+ OPTIONS('scan.snapshot-id' = '1') */", "AT (VERSION => 1)"):
        assert rows(history, f"SELECT count(*) FROM ticker$files {clause}") == [(3,)]
    assert rows(history, "SELECT count(*) FROM ticker$files") == [(4,)]
    for name in ("snapshots", "schemas", "options", "tags"):
        with pytest.raises(UnsupportedError, match="no history"):
            rows(history, f"SELECT * FROM ticker${name} FOR VERSION AS OF 1")
    with pytest.raises(UnsupportedError, match="incremental-between"):
        rows(history, "SELECT * FROM ticker$files /*+ OPTIONS('incremental-between' = '1,2') */")


def test_columns_that_differ_in_case_alone_are_never_mixed_up(session: Session) -> None:
    session.run('CREATE TABLE twins (a INT, "A" STRING, b INT)')
    session.run("INSERT INTO twins VALUES (1, 'x', 2)")
    assert rows(session, "SELECT * FROM twins") == [(1, "x", 2)]
    assert rows(session, "SELECT b FROM twins") == [(2,)]
    for sql in ('SELECT "A" FROM twins', "SELECT t.a FROM twins AS t", "UPDATE twins SET b = 3 WHERE a = 1"):
        with pytest.raises(InvalidInputError, match="differ in case alone"):
            session.run(sql)
    session.run('ALTER TABLE twins RENAME "A" TO c')
    assert rows(session, "SELECT c FROM twins WHERE a = 1") == [("x",)]


def test_what_a_result_has_yet_to_read_does_not_expire(session: Session, clock: ManualClock) -> None:
    session.run("CREATE TABLE short (id INT) WITH ('bucket' = '-1', 'snapshot.num-retained.min' = '1', "
                "'snapshot.num-retained.max' = '1', 'snapshot.time-retained' = '1 ms')")  # fmt: skip
    session.run("INSERT INTO short VALUES (1)")
    clock.advance(HOUR_MS)
    result = session.run("SELECT * FROM short ORDER BY id")
    session.run("INSERT OVERWRITE short VALUES (2)")
    clock.advance(HOUR_MS)
    session.run("CALL sys.expire_snapshots('short')")
    assert result.fetchall() == [(1,)]
    assert session.run("CALL sys.expire_snapshots('short')").did.startswith("deleted 1 snapshots")
    with pytest.raises(HosuError, match="no snapshot 1"):
        rows(session, "SELECT * FROM short FOR VERSION AS OF 1")


def test_describe_says_the_columns_of_a_query_too(session: Session) -> None:
    sql = "DESCRIBE SELECT symbol, sum(price) AS p FROM ticker WHERE dt = ? GROUP BY ALL"
    assert rows(session, sql, ["x"]) == [("symbol", "VARCHAR"), ("p", "DOUBLE")]
    for sql in ("SELECT * FROM (DESCRIBE ticker)", "SELECT * FROM (SUMMARIZE ticker)"):
        with pytest.raises(UnsupportedError, match="within a query"):
            rows(session, sql)

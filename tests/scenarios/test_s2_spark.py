"""S2.4 with Spark: the tables of hosu read and written by Spark, and those of Spark by hosu."""

import json
import time
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from tests.support.clients import boto3_client
from tests.support.foreign import JARS, require, run_script
from tests.support.paimon import TICKER, TICKER_OPTIONS, ticks
from tests.support.paimon_rows import alike, arrow_rows, plain_rows
from tests.support.server import Endpoint, ServerProcess

from hosu.lake import Lake, open_lake

DAY = "2026-01-01"
WAREHOUSE = "s3a://paimon/warehouse"


def run_spark(endpoint: Endpoint, home: Path, *statements: str) -> list[list[Any]]:
    """Carry out statements in one session, and return the rows of each."""
    home.mkdir(exist_ok=True)
    found: list[list[Any]] = run_script("spark_tables.py", endpoint, home, str(JARS), WAREHOUSE, json.dumps(statements))
    return found


def prices(rows: list[list[Any]]) -> dict[str, float]:
    """Return prices by symbol."""
    return {row[0]: row[1] for row in rows}


@pytest.mark.needs("java")
@pytest.mark.timeout(600)
def test_spark_and_hosu_share_tables_on_s3(tmp_path: Path) -> None:
    require("pyspark")
    with ServerProcess(tmp_path / "lake", tmp_path / "server.log") as process, open_lake(process.directory) as lake:
        client = boto3_client(process.endpoint)
        client.create_bucket(Bucket="paimon")
        client.close()
        share_tables(process.endpoint, lake, tmp_path / "spark")


def share_tables(endpoint: Endpoint, lake: Lake, home: Path) -> None:
    """Write by turns, and compare what both read."""
    ticker = lake.tables.create(
        "upbit.ticker", arrow_rows(TICKER, []).schema,
        primary_keys=["symbol", "dt"], partition_keys=["dt"], options=TICKER_OPTIONS,
    )  # fmt: skip
    ticker.upsert(arrow_rows(TICKER, ticks(DAY, 0, 20, 1)))
    ticker.upsert(arrow_rows(TICKER, ticks(DAY, 10, 30, 2)))
    ticker.delete(where="symbol = 'KRW-003'")
    while (latest := ticker.latest()) is None or latest.commit_kind != "COMPACT":
        time.sleep(0.2)  # the server's own upkeep, which Spark's writes would give way to with an error
    ours = {row["symbol"]: row["price"] for row in ticker.scan().to_arrow().to_pylist()}

    now, before, moments, *_, merged = run_spark(
        endpoint, home,
        "SELECT symbol, price FROM upbit.ticker",
        "SELECT symbol, price FROM upbit.ticker VERSION AS OF 1",
        "SELECT symbol, trade_timestamp FROM upbit.ticker WHERE symbol = 'KRW-011'",
        f"INSERT INTO upbit.ticker VALUES ('SPARK', 9.5D, 1D, 0D, TIMESTAMP '{DAY} 00:00:00.123', '{DAY}')",
        "DELETE FROM upbit.ticker WHERE symbol = 'KRW-002'",
        "CREATE TABLE upbit.made (id BIGINT NOT NULL, name STRING, tags ARRAY<STRING>, counts MAP<STRING, INT>) "
        "USING paimon COMMENT 'by Spark' "
        "TBLPROPERTIES ('primary-key'='id', 'bucket'='2', 'changelog-producer'='lookup')",
        "INSERT INTO upbit.made VALUES (1, 'a', array('t'), map('k', 1)), (2, 'b', NULL, NULL)",
        "UPDATE upbit.made SET name = 'z' WHERE id = 2",
        "ALTER TABLE upbit.made ADD COLUMN extra INT",
        "SELECT id, name FROM upbit.made",
    )  # fmt: skip
    assert prices(now) == ours
    assert prices(before) == {row[0]: row[1] for row in plain_rows(arrow_rows(TICKER, ticks(DAY, 0, 20, 1)))}
    one = ticker.scan(["trade_timestamp"], "symbol = 'KRW-011'").to_arrow()
    assert [row[1] for row in moments] == [str(moment) for moment in one.column(0).to_pylist()]
    assert sorted(merged) == [[1, "a"], [2, "z"]]

    del ours["KRW-002"]
    assert {row["symbol"]: row["price"] for row in ticker.scan().to_arrow().to_pylist()} == ours | {"SPARK": 9.5}
    made = lake.table("upbit.made")
    assert alike(plain_rows(made.scan().to_arrow())) == alike(
        [(1, "a", ["t"], {"k": 1}, None), (2, "z", None, None, None)]
    )
    kinds = [kind for batch in made.changes(from_snapshot=1) for kind in batch.rows.column("_ROW_KIND").to_pylist()]
    assert sorted(kinds) == ["+I", "+I", "+U", "-U"]

    made.upsert(pa.Table.from_pylist([{"id": 3, "name": "hosu", "extra": 7}], schema=made.arrow_schema))
    made.compact(full=True)
    ticker.compact(full=True)
    again, extra = run_spark(
        endpoint, home, "SELECT symbol, price FROM upbit.ticker", "SELECT id, name, extra FROM upbit.made"
    )
    assert prices(again) == ours | {"SPARK": 9.5}
    assert sorted(extra) == [[1, "a", None], [2, "z", None], [3, "hosu", 7]]

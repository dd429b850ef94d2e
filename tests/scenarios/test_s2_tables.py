"""S2: ticks in a Paimon table on hosu's S3, written and kept without a JVM, shared with Flink and pypaimon."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pytest
from tests.support.clients import S3Client, boto3_client
from tests.support.flink import Flink, require_flink, s3_settings
from tests.support.paimon import TICKER, TICKER_OPTIONS, Rows, ticks, values
from tests.support.paimon_rows import Row, alike, arrow_rows, plain_rows
from tests.support.pypaimon import Pypaimon, require_pypaimon, s3_options
from tests.support.server import Endpoint, ServerProcess

from hosu.lake import Lake, open_lake
from hosu.tables.manifests.live import live_entries
from hosu.tables.snapshots.travel import At
from hosu.tables.table import Table

BUCKETS = ("paimon", "checkpoints", "warehouse")
WAREHOUSE = "s3://paimon/warehouse"
DAY, NEXT_DAY = "2026-01-01", "2026-01-02"

CREATE_TICKER = """
CREATE TABLE {name} (
  symbol STRING, price DOUBLE, volume DOUBLE, change_rate DOUBLE, trade_timestamp TIMESTAMP(3), dt STRING,
  PRIMARY KEY (symbol, dt) NOT ENFORCED
) PARTITIONED BY (dt) WITH ('changelog-producer'='input', 'merge-engine'='deduplicate', 'bucket'='4')
"""


@dataclass(frozen=True, slots=True)
class Site:
    """A running server, its lake opened beside it, and a client."""

    endpoint: Endpoint
    lake: Lake
    s3: S3Client

    def keys(self, bucket: str, prefix: str = "") -> list[str]:
        """Return the keys of a bucket's objects."""
        pages = self.s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix)
        return [entry["Key"] for page in pages for entry in page.get("Contents", [])]


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    """Serve a lake with the buckets of the scenario."""
    with ServerProcess(tmp_path / "lake", tmp_path / "server.log") as process, open_lake(process.directory) as lake:
        client = boto3_client(process.endpoint)
        for bucket in BUCKETS:
            client.create_bucket(Bucket=bucket)
        yield Site(process.endpoint, lake, client)
        client.close()


def make_ticker(lake: Lake, name: str = "upbit.ticker") -> Table:
    """Make the table of S2.4."""
    return lake.tables.create(
        name,
        arrow_rows(TICKER, []).schema,
        primary_keys=["symbol", "dt"],
        partition_keys=["dt"],
        options=TICKER_OPTIONS,
    )


def ticker_rows(rows: Rows) -> pa.Table:
    """Return ticks as Arrow has them."""
    return arrow_rows(TICKER, rows)


def seen(rows: Rows) -> list[Row]:
    """Return ticks as a reader gives them back."""
    return plain_rows(ticker_rows(rows))


def rows_of(table: Table, **where: object) -> list[tuple[object, ...]]:
    """Return rows, plain and sorted."""
    return plain_rows(table.scan(**where).to_arrow())  # type: ignore[arg-type]


def test_ticks_are_kept_and_travelled_without_a_jvm(site: Site) -> None:
    ticker = make_ticker(site.lake)
    first, second = ticks(DAY, 0, 20, 1), ticks(DAY, 10, 30, 2)
    ticker.upsert(ticker_rows(first))
    ticker.create_tag("morning")
    ticker.upsert(ticker_rows([*second, *ticks(NEXT_DAY, 0, 5, 3)]))
    ticker.delete(where="symbol = 'KRW-004' AND dt = '2026-01-01'")

    merged = {row[0]: row for row in seen(first)} | {row[0]: row for row in seen(second)}
    del merged["KRW-004"]
    now = alike([*merged.values(), *seen(ticks(NEXT_DAY, 0, 5, 3))])
    snapshots = list(ticker.snapshots())
    assert rows_of(ticker) == now
    assert rows_of(ticker, at=1) == rows_of(ticker, at="morning") == seen(first)
    moment = At(timestamp_ms=snapshots[1].time_millis - 1)
    assert rows_of(ticker, at=moment) == seen(first), "a moment before the second commit"
    assert rows_of(ticker, where=f"dt = '{NEXT_DAY}'") == seen(ticks(NEXT_DAY, 0, 5, 3))

    folder = "warehouse/upbit.db/ticker/"
    keys = {key.removeprefix(folder) for key in site.keys("paimon", folder)}
    assert {"schema/schema-0", "snapshot/LATEST", "tag/tag-morning"} <= keys
    assert {f"snapshot/snapshot-{snapshot.id}" for snapshot in snapshots} <= keys
    data = {key for key in keys if "/data-" in key}
    assert {key.split("/")[0] for key in data} == {f"dt={DAY}", f"dt={NEXT_DAY}"}
    assert {key.split("/")[1] for key in data} <= {f"bucket-{number}" for number in range(4)}

    kinds = [kind for batch in changed(ticker, 1) for kind in batch]
    assert kinds.count("+I") == len(first) + len(second) + 5
    assert kinds.count("-D") == 1
    resumed = [kind for batch in changed(ticker, snapshots[-1].id) for kind in batch]
    assert resumed == ["-D"]

    ticker.compact(full=True)
    assert rows_of(ticker) == now
    ticker.rollback("morning")
    assert rows_of(ticker) == seen(first)


def test_copy_on_write_leaves_one_run_and_merge_on_read_many(site: Site) -> None:
    options = {"bucket": "1", "num-sorted-run.compaction-trigger": "9"}
    runs = {}
    for name, more in (("upbit.merged", {}), ("upbit.copied", {"full-compaction.delta-commits": "1"})):
        table = site.lake.tables.create(
            name, arrow_rows(TICKER, []).schema, primary_keys=["symbol", "dt"], options=options | more
        )
        for number in range(3):
            table.upsert(ticker_rows(ticks(DAY, number, number + 10, number)))
        latest = table.latest()
        assert latest is not None
        runs[name] = [entry.file.level for entry in live_entries(table.context, latest)]
        kept = {row[0]: row for number in range(3) for row in seen(ticks(DAY, number, number + 10, number))}
        assert rows_of(table) == alike(kept.values())
    assert runs["upbit.merged"] == [0, 0, 0]
    assert len(runs["upbit.copied"]) == 1
    assert runs["upbit.copied"][0] > 0


def changed(table: Table, start: int) -> list[list[str]]:
    """Return the kinds of the changes from a snapshot on."""
    return [batch.rows.column("_ROW_KIND").to_pylist() for batch in table.changes(from_snapshot=start)]


@pytest.mark.timeout(300)
def test_pypaimon_shares_the_ticker_on_s3(site: Site, tmp_path: Path) -> None:
    require_pypaimon()
    ticker = make_ticker(site.lake)
    ticker.upsert(ticker_rows(ticks(DAY, 0, 20, 1)))
    scratch = tmp_path / "pypaimon"
    scratch.mkdir()
    pypaimon = Pypaimon(WAREHOUSE, scratch, s3_options(site.endpoint))
    assert plain_rows(pypaimon.rows("upbit.ticker")["upbit.ticker"]) == seen(ticks(DAY, 0, 20, 1))

    pypaimon.write("upbit.ticker", ticker_rows(ticks(DAY, 15, 25, 2)))
    pypaimon.done()
    expected = seen([*ticks(DAY, 0, 15, 1), *ticks(DAY, 15, 25, 2)])
    assert rows_of(ticker) == expected
    ticker.compact(full=True)
    assert plain_rows(pypaimon.rows("upbit.ticker")["upbit.ticker"]) == rows_of(ticker) == expected


@pytest.mark.needs("java")
@pytest.mark.timeout(600)
def test_flink_shares_the_ticker_on_s3_with_checkpoints_beside_it(site: Site, tmp_path: Path) -> None:
    require_flink()
    ours = make_ticker(site.lake)
    ours.upsert(ticker_rows(ticks(DAY, 0, 20, 1)))
    checkpoints = {
        "execution.checkpointing.interval": "500 ms",
        "execution.checkpointing.dir": "s3://checkpoints/flink",
        "execution.checkpointing.externalized-checkpoint-retention": "RETAIN_ON_CANCELLATION",
    }
    with Flink(tmp_path / "flink", settings=s3_settings(site.endpoint)) as flink:
        listed = {"type": "paimon", "warehouse": WAREHOUSE} | s3_settings(site.endpoint)
        options = ", ".join(f"'{name}'='{value}'" for name, value in listed.items())
        flink.everywhere(f"CREATE CATALOG paimon WITH ({options})")
        flink.everywhere("USE CATALOG paimon")
        flink.everywhere("USE upbit")
        assert flink.rows("SELECT * FROM ticker") == seen(ticks(DAY, 0, 20, 1))
        flink.run(f"INSERT INTO ticker {values(TICKER, ticks(DAY, 15, 25, 2))}")
        expected = seen([*ticks(DAY, 0, 15, 1), *ticks(DAY, 15, 25, 2)])
        assert flink.rows("SELECT * FROM ticker") == rows_of(ours) == expected

        flink.run(CREATE_TICKER.format(name="streamed"))
        flink.configure(checkpoints)
        flink.everywhere(
            "CREATE TEMPORARY TABLE source (n BIGINT) WITH ('connector'='datagen', 'rows-per-second'='50', "
            "'fields.n.kind'='sequence', 'fields.n.start'='0', 'fields.n.end'='1000000')"
        )
        job = flink.start(
            "INSERT INTO streamed SELECT CONCAT('S', CAST(MOD(n, 7) AS STRING)), CAST(n AS DOUBLE), 1.0, 0.0, "
            f"TIMESTAMP '{DAY} 00:00:00.123', '{DAY}' FROM source"
        )
        wait = "'scan.mode'='from-snapshot', 'scan.snapshot-id'='1', 'continuous.discovery-interval'='100 ms'"
        stream = flink.follow(f"SELECT * FROM streamed /*+ OPTIONS({wait}) */")
        changes = stream.take(60)
        held = site.keys("checkpoints")
        stream.close()
        job.cancel().get()
        assert any(key.endswith("/_metadata") for key in held)
        assert any(key.endswith("/_metadata") for key in site.keys("checkpoints")), "the last one is kept"

        streamed = site.lake.table("upbit.streamed")
        table = rows_of(streamed)
        assert [row[0] for row in table] == [f"S{number}" for number in range(7)]
        assert table == flink.rows("SELECT * FROM streamed")
        assert {change.kind for change in changes} == {"+I"}
        streamed.upsert(ticker_rows([("S3", -1.0, 0.0, 0.0, f"{DAY} 00:00:01", DAY)]))
        streamed.compact(full=True)
        assert flink.rows("SELECT price FROM streamed WHERE symbol = 'S3'") == [(-1.0,)]
        assert {"streamed", "ticker"} <= set(site.lake.tables.list("upbit"))
        assert "upbit" in site.lake.tables.databases()

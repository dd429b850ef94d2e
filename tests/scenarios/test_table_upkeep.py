"""A server keeps tables healthy that somebody writes to over S3, and who serves objects carries nothing of it."""

import time
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pytest
from tests.support.clients import boto3_client
from tests.support.server import Endpoint, ServerProcess

from hosu.kernel.clock import SystemClock
from hosu.kernel.fileio import S3FileIO, S3Place
from hosu.tables.catalog import Catalog
from hosu.tables.context import TableContext
from hosu.tables.manifests import live_entries
from hosu.tables.reading import Scan
from hosu.tables.snapshots import find
from hosu.tables.writing.writer import TableWriter

SCHEMA = pa.schema([pa.field("id", pa.int64(), nullable=False), pa.field("v", pa.int64())])
COMMITS = 60
WAIT_S = 45.0  # less than the minute after which a server looks though nobody told it
FEW = 5


def open_catalog(endpoint: Endpoint) -> Catalog:
    place = S3Place(
        "paimon",
        endpoint=endpoint.url,
        access_key_id=endpoint.access_key,
        secret_access_key=endpoint.secret_key,
    )
    return Catalog(S3FileIO(place, clock=SystemClock()), "warehouse", clock=SystemClock())


@pytest.fixture
def server(tmp_path: Path) -> Iterator[ServerProcess]:
    with ServerProcess(tmp_path / "lake", tmp_path / "server.log") as process:
        yield process


def live(ctx: TableContext) -> int:
    snapshot = find.latest(ctx)
    assert snapshot is not None
    return len(live_entries(ctx, snapshot))


def upsert(ctx: TableContext, number: int) -> None:
    with TableWriter(ctx) as writer:
        writer.write(pa.table({"id": [number, 1_000], "v": [number, number]}, SCHEMA))
        writer.commit()


def maps_arrow(pid: int) -> bool:
    return "libarrow" in Path(f"/proc/{pid}/maps").read_text()


def family(pid: int) -> list[int]:
    """Return a process and those below it."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [pid, *(other for child in children for other in family(int(child)))]


def test_many_small_commits_leave_few_files_while_a_server_runs(server: ServerProcess) -> None:
    boto3_client(server.endpoint).create_bucket(Bucket="paimon")
    assert not any(maps_arrow(pid) for pid in family(server.pid))
    with open_catalog(server.endpoint) as catalog:
        catalog.create_database("d")
        catalog.create_table("d.t", SCHEMA, primary_keys=["id"], options={"bucket": "1", "write-only": "true"})
        ctx = catalog.open("d.t")
        for number in range(COMMITS):
            upsert(ctx, number)
        deadline = time.monotonic() + WAIT_S
        while live(ctx) > FEW and time.monotonic() < deadline:
            time.sleep(0.5)

        assert live(ctx) <= FEW, server.log_tail()
        found = Scan(ctx, find.latest(ctx)).to_arrow()
        assert dict(zip(found["id"].to_pylist(), found["v"].to_pylist(), strict=True)) == {
            **{number: number for number in range(COMMITS)},
            1_000: COMMITS - 1,
        }
        assert len([pid for pid in family(server.pid) if maps_arrow(pid)]) == 1, "the keeper alone knows of tables"

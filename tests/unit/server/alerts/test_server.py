"""A server tells by itself: of a process that died, of endless denials, on its page, in its metrics."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
import urllib3
from botocore.exceptions import ClientError
from tests.support.clients import boto3_client
from tests.support.server import Endpoint, ServerProcess
from tests.unit.server.alerts.conftest import Hook

DEADLINE_S = 30.0


def until(true: Callable[[], object]) -> None:
    """Wait for something that another process does."""
    deadline = time.monotonic() + DEADLINE_S
    while not true():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.02)


@pytest.fixture
def served(tmp_path: Path, hook: Hook) -> Iterator[ServerProcess]:
    settings = {"HOSU_ALERT_WEBHOOK": hook.url, "HOSU_ALERT_DENIED_REQUESTS": "3", "HOSU_METRICS_AUTH": "public"}
    with ServerProcess(tmp_path / "lake", tmp_path / "server.log", settings) as server:
        yield server


def test_a_server_tells_of_what_only_it_sees(served: ServerProcess, hook: Hook) -> None:
    def told() -> dict[str, Any]:
        return {alert["kind"]: alert for post in hook.posts for alert in post["alerts"]}

    thief = boto3_client(Endpoint(served.endpoint.url, "nobody", "wrong-secret"))
    for _ in range(4):
        with pytest.raises(ClientError):
            thief.list_buckets()
    thief.close()
    until(lambda: "access-errors" in told())
    assert told()["access-errors"]["subject"] == "unknown keys from 127.0.0.1"
    s3 = next(child for child in psutil.Process(served.pid).children() if _serves(child, served.port))
    os.kill(s3.pid, signal.SIGKILL)
    until(lambda: "process-crash" in told())
    assert told()["process-crash"]["subject"] == "s3-0"
    credentials = urllib3.make_headers(basic_auth=f"{served.access_key}:{served.secret_key}")
    page = urllib3.request("GET", f"http://127.0.0.1:{served.console_port}/buckets", headers=credentials).data.decode()
    assert "process-crash" in page
    metrics = urllib3.request("GET", f"{served.endpoint.url}/minio/hosu/metrics").data.decode()
    assert 'hosu_alerts{kind="process-crash",severity="warning"} 1.0' in metrics
    until(lambda: 'hosu_alerts_sent_total{target="webhook"} 2.0' in _metrics(served))


def _metrics(served: ServerProcess) -> str:
    return urllib3.request("GET", f"{served.endpoint.url}/minio/hosu/metrics").data.decode()


def _serves(process: psutil.Process, port: int) -> bool:
    return any(found.laddr.port == port for found in process.net_connections() if found.laddr)


def hosu(*arguments: str | Path, **environment: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "hosu", "alerts", *map(str, arguments)]
    return subprocess.run(
        command, check=False, capture_output=True, text=True, timeout=60, env=os.environ | environment
    )


def test_the_command_line_lists_resolves_and_tries_whom_it_tells(served: ServerProcess, hook: Hook) -> None:
    lake = served.directory
    tried = hosu("test", lake, HOSU_ALERT_WEBHOOK=f"{hook.url},http://127.0.0.1:1/SECRET")
    assert tried.returncode == 1
    assert tried.stdout.count(": sent\n") == 1
    assert "failed: Connection refused" in tried.stdout
    assert "SECRET" not in tried.stdout + tried.stderr
    assert hook.posts[0]["alerts"][0]["kind"] == "test"
    assert hosu("test", lake).returncode == 2
    thief = boto3_client(Endpoint(served.endpoint.url, "nobody", "wrong-secret"))
    for _ in range(4):
        with pytest.raises(ClientError):
            thief.list_buckets()
    thief.close()
    until(lambda: "access-errors" in hosu("list", lake).stdout)
    listed = hosu("list", lake, "--json").stdout
    assert '"subject": "unknown keys from 127.0.0.1"' in listed or '"subject":"unknown keys from 127.0.0.1"' in listed
    assert hosu("resolve", lake, "access-errors", "nobody").returncode == 1
    assert hosu("resolve", lake, "access-errors", "unknown keys from 127.0.0.1").returncode == 0
    assert hosu("list", lake).stdout == ""
    assert "over since" in hosu("list", lake, "--all").stdout

"""An S3 endpoint on loopback, a proxy that breaks connections on order, and the command line with a private home."""

import contextlib
import json
import os
import socket
import threading
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import boto3
import pytest
from moto.server import ThreadedMotoServer
from tests.support.lakecli import LakeCli, make_lake
from typer.testing import CliRunner, Result

from hosu.cli.client import Endpoints
from hosu.cli.main import build_app
from hosu.cli.output import Output
from hosu.cli.profiles import Profile, Profiles
from hosu.cli.retry import RetryPolicy
from hosu.cli.session import Session
from hosu.cli.state import Journals

ACCESS, SECRET = "testing-key", "testing-secret"


@pytest.fixture(scope="session")
def endpoint() -> Iterator[str]:
    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


class FlakyProxy:
    """Passes connections on, until the bytes of the next fault (way, bytes) have passed: then it cuts the connection.

    A fault in `faults` counts the bytes of all connections and happens once; `always` counts those of each connection.
    """

    def __init__(self, upstream: tuple[str, int]) -> None:
        self.faults: deque[tuple[str, int]] = deque()
        self.always: tuple[str, int] | None = None
        self.cuts = 0
        self._passed = 0
        self._lock = threading.Lock()
        self._upstream = upstream
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self._threads = [threading.Thread(target=self._accept, daemon=True)]
        self._threads[0].start()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            server = socket.create_connection(self._upstream)
            for way, source, sink in (("up", client, server), ("down", server, client)):
                thread = threading.Thread(target=self._pump, args=(source, sink, way), daemon=True)
                self._threads.append(thread)
                thread.start()

    def _is_cut(self, way: str, count: int, on_connection: int) -> bool:
        with self._lock:
            if self.faults and self.faults[0][0] == way:
                self._passed += count
                if self._passed <= self.faults[0][1]:
                    return False
                self.faults.popleft()
                self._passed = 0
            elif self.always is None or self.always[0] != way or on_connection <= self.always[1]:
                return False
            self.cuts += 1
            return True

    def _pump(self, source: socket.socket, sink: socket.socket, way: str) -> None:
        on_connection = 0
        with contextlib.suppress(OSError):
            while piece := source.recv(65536):
                on_connection += len(piece)
                if self._is_cut(way, len(piece), on_connection):
                    break
                sink.sendall(piece)
        for end in (source, sink):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            end.close()

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for thread in self._threads:
            thread.join(timeout=5)


@pytest.fixture
def proxy(endpoint: str) -> Iterator[FlakyProxy]:
    host, _, port = endpoint.removeprefix("http://").partition(":")
    flaky = FlakyProxy((host, int(port)))
    yield flaky
    flaky.close()


@pytest.fixture
def s3(endpoint: str) -> Iterator[Any]:
    client = boto3.client(
        "s3", endpoint_url=endpoint, aws_access_key_id=ACCESS, aws_secret_access_key=SECRET, region_name="us-east-1"
    )
    yield client
    client.close()


@pytest.fixture
def bucket(s3: Any) -> str:
    name = f"b-{os.urandom(6).hex()}"
    s3.create_bucket(Bucket=name)
    return name


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, endpoint: str) -> Path:
    """A private home with the profiles `lab` and `other`: one endpoint, two credentials."""
    folder = tmp_path / "home"
    for name in ("AWS_ACCESS_KEY_ID", "AWS_PROFILE", "HOSU_ROOT_USER", "MINIO_ROOT_USER"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(folder))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(folder / "config"))
    monkeypatch.setenv("XDG_STATE_HOME", str(folder / "state"))
    profiles = Profiles.of_user()
    profiles.save("lab", Profile(endpoint, ACCESS, SECRET))
    profiles.save("other", Profile(endpoint, "another-key", SECRET))
    return folder


@dataclass
class Cli:
    waits: list[float] = field(default_factory=list)

    def __call__(self, *words: object, input: str | bytes | None = None) -> Result:  # noqa: A002 - click's own name
        return CliRunner().invoke(build_app(), [str(word) for word in words], input=input)

    def json(self, *words: object) -> list[dict[str, Any]]:
        result = self(*words, "--json")
        return [json.loads(line) for line in result.stdout.splitlines()]


@pytest.fixture
def hosu(home: Path, monkeypatch: pytest.MonkeyPatch) -> Cli:  # noqa: ARG001 - profiles are there
    cli = Cli()

    def instead_of_waiting(_cancel: threading.Event) -> Callable[[float], None]:
        return cli.waits.append

    monkeypatch.setattr("hosu.cli.session.cancellable_sleep", instead_of_waiting)
    return cli


@pytest.fixture
def session(home: Path, tmp_path: Path) -> Iterator[Session]:  # noqa: ARG001 - profiles are there
    """A session of the parts that a command would open, whose waits cost no time."""
    opened = Session(
        endpoints=Endpoints(Profiles.of_user(), connections=9),
        output=Output(quiet=True),
        retry=RetryPolicy(sleep=lambda _seconds: None),
        journals=Journals(tmp_path / "journals"),
        jobs=4,
    )
    yield opened
    opened.close()


@pytest.fixture
def lake_cli(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> LakeCli:
    """The command line on a new lake, run by ann."""
    monkeypatch.setenv("LOGNAME", "ann")
    for name in ("HOSU_ROOT_USER", "MINIO_ROOT_USER", "HOSU_LAKE_KEY", "MINIO_KMS_SECRET_KEY"):
        monkeypatch.delenv(name, raising=False)
    return make_lake(tmp_path / "lake")

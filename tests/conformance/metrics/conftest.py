"""A server of these tests' own: its counters are compared with what was asked of it."""

from collections.abc import Callable, Iterator
from pathlib import Path

import jwt
import pytest
import urllib3
from prometheus_client.parser import text_string_to_metric_families
from tests.support.clients import S3Client, boto3_client
from tests.support.http import send
from tests.support.server import ServerProcess

CENTURY_S = 100 * 365 * 24 * 3600
NOW_S = 1_795_000_000

Labels = frozenset[tuple[str, str]]
Samples = dict[tuple[str, Labels], float]


def token(access_key: str, secret: str, **changed: object) -> str:
    """Sign a token as `mc admin prometheus generate` does."""
    claims: dict[str, object] = {"iss": "prometheus", "sub": access_key, "exp": NOW_S + CENTURY_S}
    return jwt.encode(claims | changed, secret.encode().ljust(64, b"\0"), algorithm="HS512")


class Scraper:
    """Reads metrics with root's token."""

    def __init__(self, process: ServerProcess) -> None:
        self.process = process
        self.token = token(process.access_key, process.secret_key)

    def get(self, path: str, bearer: str | None = None) -> urllib3.BaseHTTPResponse:
        headers = {"Authorization": f"Bearer {self.token if bearer is None else bearer}"}
        return send("GET", self.process.endpoint.url + path, headers=headers)

    def text(self, path: str) -> str:
        answer = self.get(path)
        assert answer.status == 200, answer.data
        assert answer.headers["Content-Type"].startswith("text/plain; version=0.0.4")
        return answer.data.decode()

    def samples(self, path: str) -> Samples:
        return {
            (sample.name.removesuffix("_total"), frozenset(sample.labels.items())): sample.value
            for family in text_string_to_metric_families(self.text(path))
            for sample in family.samples
        }

    def value(self, path: str, name: str, /, **labels: str) -> float:
        """Return the sum of all samples of a name that have these labels."""
        wanted = name.removesuffix("_total")  # the parser puts it behind the name of every counter
        return sum(
            value for (found, given), value in self.samples(path).items() if found == wanted and labels.items() <= given
        )

    def types(self, path: str) -> dict[str, str]:
        lines = [line.split(" ") for line in self.text(path).splitlines() if line.startswith("# TYPE ")]
        return {line[2]: line[3] for line in lines}


@pytest.fixture(scope="module")
def counted_server(isolated_shell: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:  # noqa: ARG001
    scratch = tmp_path_factory.mktemp("metrics")
    with ServerProcess(scratch / "lake", scratch / "server.log") as process:
        yield process


@pytest.fixture(scope="module")
def counted_s3(counted_server: ServerProcess) -> Iterator[S3Client]:
    client = boto3_client(counted_server.endpoint)
    yield client
    client.close()


@pytest.fixture(scope="module")
def scraper(counted_server: ServerProcess) -> Scraper:
    return Scraper(counted_server)


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., ServerProcess]]:
    """Start servers with settings of a test's own."""
    running: list[ServerProcess] = []

    def begin(**settings: str) -> ServerProcess:
        process = ServerProcess(tmp_path / "lake", tmp_path / "server.log", settings)
        running.append(process)
        return process.start()

    yield begin
    for process in running:
        if process._process is not None and process._process.poll() is None:
            process.stop()

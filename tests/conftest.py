"""Fixtures of every test: an environment of our own, a real server, a stock client, a fresh bucket."""

import itertools
import os
import shutil
import sys
import uuid
from collections.abc import Generator, Iterator
from pathlib import Path

import pytest

# Helpers are imported as `tests.support`, whichever folder pytest is started from.
sys.path.insert(0, str(Path(__file__).parents[1]))

from tests.support.clients import S3Client, boto3_client, empty_bucket
from tests.support.server import ISOLATION, Endpoint, ServerProcess, leaks, serving

SERVER_KEY = pytest.StashKey[ServerProcess]()
BUCKET_NUMBERS = itertools.count(1)


@pytest.fixture(scope="session", autouse=True)
def isolated_shell() -> Iterator[None]:
    """Keep credentials, profiles and proxies of the shell away from clients under test."""
    with pytest.MonkeyPatch.context() as patch:
        for name in [name for name in os.environ if leaks(name)]:
            patch.delenv(name)
        for name, value in ISOLATION.items():
            patch.setenv(name, value)
        yield


@pytest.fixture(scope="session")
def server(
    isolated_shell: None,  # noqa: ARG001 - the server inherits the cleaned environment
    tmp_path_factory: pytest.TempPathFactory,
    request: pytest.FixtureRequest,
) -> Iterator[Endpoint]:
    """Serve an empty lake for the tests of this worker."""
    with serving(tmp_path_factory.mktemp("server")) as (endpoint, process):
        if process is not None:
            request.config.stash[SERVER_KEY] = process
        yield endpoint


@pytest.fixture
def lake(server: Endpoint, request: pytest.FixtureRequest) -> Path:  # noqa: ARG001 - started by then
    """Name the folder of the server's lake; skip for a server that is not ours."""
    if SERVER_KEY not in request.config.stash:
        pytest.skip("the server's folder is not at hand")
    return request.config.stash[SERVER_KEY].directory


@pytest.fixture(scope="session")
def s3(server: Endpoint) -> Iterator[S3Client]:
    """Hand over a boto3 client with default settings."""
    client = boto3_client(server)
    yield client
    client.close()


@pytest.fixture
def bucket_name() -> str:
    """Name a bucket that does not exist, unlike any other of this run."""
    return f"t{next(BUCKET_NUMBERS)}-{uuid.uuid4().hex[:12]}"


@pytest.fixture
def bucket(s3: S3Client, bucket_name: str) -> Iterator[str]:
    """Make a bucket, and remove it with all it holds."""
    s3.create_bucket(Bucket=bucket_name)
    yield bucket_name
    empty_bucket(s3, bucket_name)
    s3.delete_bucket(Bucket=bucket_name)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Show the server's own log beside the failure of a test that used it."""
    report = yield
    if report.skipped and not hasattr(report, "wasxfail") and os.environ.get("HOSU_CI") == "1":
        report.outcome = "failed"
        report.longrepr = f"skipped, which is a failure under HOSU_CI=1: {report.longrepr}"
    process = item.config.stash.get(SERVER_KEY, None)
    if report.failed and process is not None and "server" in getattr(item, "fixturenames", ()):
        report.sections.append(("Server log", process.log_tail()))
    return report


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip a test whose program is missing; on CI, where it is installed, its absence is a failure."""
    for mark in item.iter_markers("needs"):
        program = mark.args[0]
        if shutil.which(program) is not None:
            continue
        reason = f"needs the program {program!r}, which is not on the PATH"
        if os.environ.get("HOSU_CI") == "1":
            pytest.fail(reason, pytrace=False)
        pytest.skip(reason)

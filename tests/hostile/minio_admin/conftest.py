"""A server whose log tells everything, for admin requests that mean no good."""

from collections.abc import Iterator

import pytest
from tests.support.admin import AdminClient, RawAdmin, admin_client
from tests.support.clients import boto3_client
from tests.support.server import ServerProcess


@pytest.fixture(scope="session")
def attacked(isolated_shell: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:  # noqa: ARG001
    scratch = tmp_path_factory.mktemp("attacked-admin")
    with ServerProcess(scratch / "lake", scratch / "server.log", {"HOSU_LOG_LEVEL": "DEBUG"}) as process:
        boto3_client(process.endpoint).create_bucket(Bucket="prey")
        yield process
        log = process.log_path.read_text()
        assert "unexpected error" not in log, process.log_tail()
        assert "Traceback" not in log, process.log_tail()


@pytest.fixture(scope="session")
def root(attacked: ServerProcess) -> RawAdmin:
    return RawAdmin(attacked.endpoint)


@pytest.fixture(scope="session")
def admin(attacked: ServerProcess) -> AdminClient:
    return admin_client(attacked.endpoint)

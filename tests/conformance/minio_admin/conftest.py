"""A server of its own for admin clients: with a lake key, and a log in which no secret may show."""

import base64
import itertools
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from tests.support.admin import AdminClient, RawAdmin, admin_client
from tests.support.clients import S3Client, boto3_client
from tests.support.server import Endpoint, ServerProcess

NUMBERS = itertools.count(1)
LAKE_KEY = base64.b64encode(os.urandom(32)).decode()


@dataclass(frozen=True)
class Account:
    """A user or key of a test, and how it signs."""

    name: str
    secret: str
    endpoint: Endpoint

    @property
    def admin(self) -> AdminClient:
        return admin_client(self.endpoint, self.name, self.secret)

    @property
    def raw(self) -> RawAdmin:
        return RawAdmin(self.endpoint, self.name, self.secret)

    @property
    def s3(self) -> S3Client:
        return boto3_client(self.endpoint, aws_access_key_id=self.name, aws_secret_access_key=self.secret)


@pytest.fixture(scope="session")
def process(isolated_shell: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:  # noqa: ARG001
    scratch = tmp_path_factory.mktemp("admin")
    settings = {"HOSU_LOG_LEVEL": "DEBUG", "HOSU_LAKE_KEY": LAKE_KEY}
    with ServerProcess(scratch / "lake", scratch / "server.log", settings) as started:
        boto3_client(started.endpoint).create_bucket(Bucket="always-here")  # so that a listing is not of nothing
        yield started
        log = started.log_path.read_text()
        assert "unexpected error" not in log, started.log_tail()
        assert "Traceback" not in log, started.log_tail()


@pytest.fixture(scope="session")
def server(process: ServerProcess) -> Endpoint:
    return process.endpoint


@pytest.fixture
def lake(process: ServerProcess) -> Path:
    return process.directory


@pytest.fixture(scope="session")
def admin(server: Endpoint) -> AdminClient:
    return admin_client(server)


@pytest.fixture(scope="session")
def mc(server: Endpoint) -> RawAdmin:
    return RawAdmin(server)


@pytest.fixture
def name() -> str:
    """Name something that is unlike anything else of this run."""
    return f"name{next(NUMBERS)}-{os.urandom(3).hex()}"


@pytest.fixture
def new_user(admin: AdminClient, server: Endpoint) -> Callable[..., Account]:
    """Make users with policies."""

    def make(*policies: str) -> Account:
        account = Account(f"user{next(NUMBERS)}-{os.urandom(3).hex()}", f"secret-{os.urandom(9).hex()}", server)
        admin.user_add(account.name, account.secret)
        if policies:
            admin.attach_policy(list(policies), user=account.name)
        return account

    return make


@pytest.fixture
def user(new_user: Callable[..., Account]) -> Account:
    return new_user()


@pytest.fixture
def new_policy(admin: AdminClient) -> Callable[..., str]:
    """Make policies of statements."""

    def make(*statements: dict[str, Any]) -> str:
        name = f"policy{next(NUMBERS)}-{os.urandom(3).hex()}"
        document = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow"} | given for given in statements]}
        admin.policy_add(name, policy=document)
        return name

    return make

"""A server that trusts an identity provider, and users to come to it."""

from collections.abc import Callable, Iterator
from typing import Any

import boto3
import pytest
from botocore.config import Config
from tests.support.clients import boto3_client
from tests.support.issuer import CLIENT_ID, Issuer, issuing
from tests.support.server import Endpoint, ServerProcess, isolated_environment

from hosu.identity.authority import Authority
from hosu.objects.store import ObjectStore

BUCKET = "images"
SECRET = "secret-of-the-user"

Client = Any


@pytest.fixture(scope="session")
def issuer(isolated_shell: None) -> Iterator[Issuer]:  # noqa: ARG001 - no proxy of the shell's is used
    with issuing() as running:
        yield running


@pytest.fixture(scope="session")
def process(
    issuer: Issuer,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[ServerProcess]:
    """Serve a lake with one bucket and one object."""
    assert isolated_environment()
    folder = tmp_path_factory.mktemp("sts")
    settings = {
        "HOSU_IDENTITY_OPENID_CONFIG_URL": issuer.config_url,
        "HOSU_IDENTITY_OPENID_CLIENT_ID": CLIENT_ID,
        "HOSU_LOG_LEVEL": "DEBUG",
    }
    with ServerProcess(folder / "lake", folder / "server.log", settings=settings) as running:
        s3 = boto3_client(running.endpoint)
        s3.create_bucket(Bucket=BUCKET)
        s3.put_object(Bucket=BUCKET, Key="a", Body=b"bytes of a")
        s3.close()
        yield running


@pytest.fixture(scope="session")
def endpoint(process: ServerProcess) -> Endpoint:
    return process.endpoint


@pytest.fixture(scope="session")
def verbs(process: ServerProcess) -> Iterator[Callable[..., Any]]:
    """Run a verb of identity on the server's lake, from beside it; `vault` is put in where it belongs."""
    with ObjectStore(process.directory, space_reserve_bytes=0) as store:
        vault = Authority(store, (process.access_key, "")).vault

        def run(verb: Callable[..., Any], *arguments: Any, **named: Any) -> Any:
            given = [vault if argument is VAULT else argument for argument in arguments]
            return store.commit(lambda tx: verb(tx, *given, **named))

        yield run


VAULT = object()
"""Stands for the vault among the arguments of a verb."""


def sts_client(endpoint: Endpoint, access_key: str = "", secret: str = "", token: str | None = None) -> Client:
    """Return a boto3 client of STS."""
    return boto3.session.Session().client(
        "sts",
        endpoint_url=endpoint.url,
        region_name=endpoint.region,
        aws_access_key_id=access_key or endpoint.access_key,
        aws_secret_access_key=secret or endpoint.secret_key,
        aws_session_token=token,
    )


def s3_with(endpoint: Endpoint, credentials: dict[str, Any], config: Config | None = None) -> Client:
    """Return a boto3 client of S3 with temporary credentials."""
    return boto3_client(
        endpoint,
        config,
        aws_access_key_id=credentials["AccessKeyId"],
        aws_secret_access_key=credentials["SecretAccessKey"],
        aws_session_token=credentials["SessionToken"],
    )

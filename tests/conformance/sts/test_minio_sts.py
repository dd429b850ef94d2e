"""Temporary credentials through minio-py's providers."""

import json
import time
from collections.abc import Callable
from typing import Any

import pytest
from minio import Minio
from minio.credentials.providers import AssumeRoleProvider, ClientGrantsProvider, WebIdentityProvider
from minio.error import S3Error
from tests.conformance.sts.conftest import BUCKET, SECRET, VAULT
from tests.support.issuer import Issuer
from tests.support.server import Endpoint

from hosu.identity.policies import attach
from hosu.identity.users import put_user

pytestmark = pytest.mark.conformance("sts", "AssumeRole")

READ_A = {
    "Version": "2012-10-17",
    "Statement": [{"Effect": "Allow", "Action": ["s3:GetObject"], "Resource": ["arn:aws:s3:::images/a"]}],
}


def client(endpoint: Endpoint, provider: Any) -> Minio:
    return Minio(endpoint.host, secure=False, region=endpoint.region, credentials=provider)


def reads(minio: Minio, key: str = "a") -> bytes:
    answer = minio.get_object(BUCKET, key)
    try:
        return answer.read()
    finally:
        answer.close()
        answer.release_conn()


def refused(minio: Minio) -> str | None:
    with pytest.raises(S3Error) as refusal:
        minio.remove_object(BUCKET, "a")
    return refusal.value.code


def test_assume_role(endpoint: Endpoint, verbs: Callable[..., Any]) -> None:
    verbs(put_user, VAULT, "erin", SECRET)
    verbs(attach, ["readonly"], user="erin")
    minio = client(
        endpoint,
        AssumeRoleProvider(
            sts_endpoint=endpoint.url, access_key="erin", secret_key=SECRET, duration_seconds=3600,
            role_arn="arn:xxx:xxx:xxx:xxxx", role_session_name="anything",
        ),
    )  # fmt: skip
    assert reads(minio) == b"bytes of a"
    assert refused(minio) == "AccessDenied"


def test_assume_role_with_a_policy(endpoint: Endpoint) -> None:
    provider = AssumeRoleProvider(
        sts_endpoint=endpoint.url, access_key=endpoint.access_key, secret_key=endpoint.secret_key,
        policy=json.dumps(READ_A), region=endpoint.region,
    )  # fmt: skip
    minio = client(endpoint, provider)
    assert reads(minio) == b"bytes of a"
    assert refused(minio) == "AccessDenied"


@pytest.mark.parametrize("duration_seconds", [0, 900])
def test_web_identity(endpoint: Endpoint, issuer: Issuer, duration_seconds: int) -> None:
    provider = WebIdentityProvider(
        jwt_provider_func=lambda: {"access_token": issuer.token(time.time(), policy="readonly"), "expires_in": "3600"},
        sts_endpoint=endpoint.url, duration_seconds=duration_seconds, role_arn="arn:minio:iam:::role/x",
    )  # fmt: skip
    minio = client(endpoint, provider)
    assert reads(minio) == b"bytes of a"
    assert refused(minio) == "AccessDenied"


def test_wrong_secrets_and_what_is_not_supported_give_no_credentials(endpoint: Endpoint, issuer: Issuer) -> None:
    for provider in (
        AssumeRoleProvider(sts_endpoint=endpoint.url, access_key="erin", secret_key="a-guessed-secret"),
        WebIdentityProvider(
            jwt_provider_func=lambda: {"access_token": issuer.token(time.time(), aud="x")}, sts_endpoint=endpoint.url
        ),
    ):
        with pytest.raises(ValueError, match="failed with HTTP status code 40"):
            provider.retrieve()
    grants = ClientGrantsProvider(
        jwt_provider_func=lambda: {"access_token": issuer.token(time.time())}, sts_endpoint=endpoint.url
    )
    with pytest.raises(ValueError, match="501"):
        grants.retrieve()

"""Keys of a started server, changed from beside it while clients use them."""

from collections.abc import Callable
from typing import Any

import pytest
from botocore.exceptions import ClientError
from tests.conformance.sts.conftest import BUCKET, SECRET, VAULT
from tests.support.clients import boto3_client
from tests.support.server import Endpoint

from hosu.identity.keys import create_key, remove_key, rotate_secret, update_key
from hosu.identity.policies import attach, detach
from hosu.identity.users import put_user, remove_user

pytestmark = pytest.mark.conformance("s3", "GetObject")

HOUR_MS = 3_600_000


def client(endpoint: Endpoint, access_key: str, secret: str) -> Any:
    return boto3_client(endpoint, aws_access_key_id=access_key, aws_secret_access_key=secret)


def outcome(s3: Any) -> str:
    """Read the object; return "" or the code of the refusal."""
    try:
        assert s3.get_object(Bucket=BUCKET, Key="a")["Body"].read() == b"bytes of a"
    except ClientError as error:
        code: str = error.response["Error"]["Code"]
        return code
    return ""


@pytest.fixture
def frank(verbs: Callable[..., Any]) -> str:
    """Make a user who may read."""
    verbs(put_user, VAULT, "frank", SECRET)
    verbs(attach, ["readonly"], user="frank")
    return "frank"


def test_both_secrets_sign_while_one_replaces_the_other(
    endpoint: Endpoint, verbs: Callable[..., Any], frank: str
) -> None:
    old = client(endpoint, frank, SECRET)
    made = verbs(rotate_secret, VAULT, frank, overlap_ms=HOUR_MS)
    new = client(endpoint, frank, made.secret)
    assert (outcome(old), outcome(new)) == ("", "")
    last = verbs(rotate_secret, VAULT, frank)
    assert (outcome(old), outcome(new)) == ("SignatureDoesNotMatch", "SignatureDoesNotMatch")
    assert outcome(client(endpoint, frank, last.secret)) == ""


def test_a_revoked_key_stops_at_once(endpoint: Endpoint, verbs: Callable[..., Any], frank: str) -> None:
    key = verbs(create_key, VAULT, frank)
    s3 = client(endpoint, key.access_key, key.secret)
    assert outcome(s3) == ""
    verbs(update_key, VAULT, key.access_key, is_enabled=False)
    assert outcome(s3) == "InvalidAccessKeyId"
    verbs(update_key, VAULT, key.access_key, is_enabled=True)
    assert outcome(s3) == ""
    verbs(remove_key, key.access_key)
    assert outcome(s3) == "InvalidAccessKeyId"


def test_rights_follow_policies_at_once(endpoint: Endpoint, verbs: Callable[..., Any], frank: str) -> None:
    s3 = client(endpoint, frank, SECRET)
    for _ in range(3):
        assert outcome(s3) == ""
        verbs(detach, ["readonly"], user=frank)
        assert outcome(s3) == "AccessDenied"
        verbs(attach, ["readonly"], user=frank)
    verbs(remove_user, frank)
    assert outcome(s3) == "InvalidAccessKeyId"

"""Temporary credentials through boto3."""

import hashlib
import json
import time
import urllib.request
from collections.abc import Callable
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.error import HTTPError
from urllib.parse import quote

import pytest
from botocore.config import Config
from botocore.exceptions import ClientError
from tests.conformance.sts.conftest import BUCKET, SECRET, VAULT, s3_with, sts_client
from tests.support.http import form_body, send, xml_of
from tests.support.issuer import CLIENT_ID, SUBJECT, Issuer
from tests.support.server import Endpoint, ServerProcess

from hosu.identity.keys import create_key, remove_key
from hosu.identity.policies import attach, put_policy
from hosu.identity.users import put_user, set_user_enabled
from hosu.objects.audit_query import query
from hosu.server.s3.signing import sign_headers

ROLE = {"RoleArn": "arn:aws:iam::000000000000:role/any", "RoleSessionName": "a-session"}
READ_A = json.dumps(
    {
        "Version": "2012-10-17",
        "Statement": [{"Effect": "Allow", "Action": "s3:GetObject", "Resource": "arn:aws:s3:::images/a"}],
    }
)

pytestmark = pytest.mark.conformance("sts", "AssumeRole")


@contextmanager
def refused(code: str, status: int) -> Any:
    with pytest.raises(ClientError) as refusal:
        yield refusal
    response = refusal.value.response
    assert (response["Error"]["Code"], response["ResponseMetadata"]["HTTPStatusCode"]) == (code, status)
    assert response["ResponseMetadata"]["RequestId"]


@pytest.fixture(scope="module")
def alice(verbs: Callable[..., Any]) -> str:
    """Make a user who may read."""
    verbs(put_user, VAULT, "alice", SECRET)
    verbs(attach, ["readonly"], user="alice")
    return "alice"


def reads(s3: Any, key: str = "a") -> bytes:
    body: bytes = s3.get_object(Bucket=BUCKET, Key=key)["Body"].read()
    return body


def test_a_user_takes_temporary_credentials_with_the_same_rights(endpoint: Endpoint, alice: str) -> None:
    before = datetime.now(UTC)
    answer = sts_client(endpoint, alice, SECRET).assume_role(**ROLE, DurationSeconds=900)
    credentials = answer["Credentials"]
    assert timedelta(seconds=895) < credentials["Expiration"] - before < timedelta(seconds=960)
    assert answer["AssumedRoleUser"]["Arn"] == "arn:aws:sts::hosu:assumed-role/alice/a-session"
    s3 = s3_with(endpoint, credentials)
    assert reads(s3) == b"bytes of a"
    with pytest.raises(ClientError, match="AccessDenied"):
        s3.put_object(Bucket=BUCKET, Key="b", Body=b"")


def test_root_takes_temporary_credentials(endpoint: Endpoint) -> None:
    s3 = s3_with(endpoint, sts_client(endpoint).assume_role(**ROLE)["Credentials"])
    s3.put_object(Bucket=BUCKET, Key="of-root", Body=b"x")
    s3.delete_object(Bucket=BUCKET, Key="of-root")


def test_a_policy_cuts_them(endpoint: Endpoint) -> None:
    s3 = s3_with(endpoint, sts_client(endpoint).assume_role(**ROLE, Policy=READ_A)["Credentials"])
    assert reads(s3) == b"bytes of a"
    with pytest.raises(ClientError, match="AccessDenied"):
        s3.put_object(Bucket=BUCKET, Key="a", Body=b"")


def test_session_tokens_last_half_a_day_unless_said_otherwise(endpoint: Endpoint, alice: str) -> None:
    sts = sts_client(endpoint, alice, SECRET)
    for given, hours in (({}, 12), ({"DurationSeconds": 7200}, 2)):
        credentials = sts.get_session_token(**given)["Credentials"]
        left = credentials["Expiration"] - datetime.now(UTC)
        assert timedelta(hours=hours, minutes=-2) < left <= timedelta(hours=hours)
        assert reads(s3_with(endpoint, credentials)) == b"bytes of a"


def test_a_session_needs_its_token_in_every_kind_of_request(endpoint: Endpoint, alice: str) -> None:
    credentials = sts_client(endpoint, alice, SECRET).get_session_token()["Credentials"]
    for token in (None, "another"):
        with refused("InvalidToken", 400):
            s3_with(endpoint, credentials | {"SessionToken": token}).get_object(Bucket=BUCKET, Key="a")
    for version, name in (("s3", "x-amz-security-token"), ("s3v4", "X-Amz-Security-Token")):
        s3 = s3_with(endpoint, credentials, Config(signature_version=version))
        url = s3.generate_presigned_url("get_object", {"Bucket": BUCKET, "Key": "a"})
        with urllib.request.urlopen(url) as answer:
            assert answer.read() == b"bytes of a"
        without = url.replace(f"{name}={quote(credentials['SessionToken'], safe='')}", "")
        assert without != url
        with pytest.raises(HTTPError) as refusal:
            urllib.request.urlopen(without)
        assert refusal.value.code in {400, 403}
        refusal.value.close()


def test_a_form_is_posted_with_a_session(endpoint: Endpoint) -> None:
    credentials = sts_client(endpoint).get_session_token()["Credentials"]
    s3 = s3_with(endpoint, credentials)
    form = s3.generate_presigned_post(BUCKET, "posted")
    assert form["fields"]["x-amz-security-token"] == credentials["SessionToken"]
    answer = send("POST", form["url"], *form_body(form["fields"], "f", b"posted bytes"))
    assert answer.status == 204, answer.data
    assert reads(s3, "posted") == b"posted bytes"
    s3.delete_object(Bucket=BUCKET, Key="posted")
    fields = form["fields"] | {"x-amz-security-token": "another"}
    assert send("POST", form["url"], *form_body(fields, "f", b"x")).status in {400, 403}
    with pytest.raises(ClientError, match="NoSuchKey"):
        reads(s3, "posted")


def test_borrowed_rights_are_not_lent_again(endpoint: Endpoint, alice: str, verbs: Callable[..., Any]) -> None:
    session = sts_client(endpoint, alice, SECRET).get_session_token()["Credentials"]
    key = verbs(create_key, VAULT, alice)
    for client in (
        sts_client(endpoint, session["AccessKeyId"], session["SecretAccessKey"], session["SessionToken"]),
        sts_client(endpoint, key.access_key, key.secret),
    ):
        with refused("AccessDenied", 403):
            client.assume_role(**ROLE)
        with refused("AccessDenied", 403):
            client.get_session_token()
        assert client.get_caller_identity()["Arn"] == "arn:aws:iam::hosu:user/alice"


def test_a_policy_may_deny_temporary_credentials(endpoint: Endpoint, verbs: Callable[..., Any]) -> None:
    verbs(put_user, VAULT, "carol", SECRET)
    text = '{"Version":"2012-10-17","Statement":[{"Effect":"Deny","Action":"sts:AssumeRole"}]}'
    verbs(put_policy, "no-sessions", text)
    sts = sts_client(endpoint, "carol", SECRET)
    assert sts.assume_role(**ROLE)["Credentials"]
    verbs(attach, ["no-sessions"], user="carol")
    with refused("AccessDenied", 403):
        sts.assume_role(**ROLE)


def test_a_session_ends_with_its_user_and_when_it_is_removed(endpoint: Endpoint, verbs: Callable[..., Any]) -> None:
    verbs(put_user, VAULT, "dave", SECRET)
    verbs(attach, ["readonly"], user="dave")
    credentials = sts_client(endpoint, "dave", SECRET).get_session_token()["Credentials"]
    s3 = s3_with(endpoint, credentials)
    assert reads(s3) == b"bytes of a"
    verbs(set_user_enabled, "dave", is_enabled=False)
    with pytest.raises(ClientError, match="InvalidAccessKeyId"):
        reads(s3)
    verbs(set_user_enabled, "dave", is_enabled=True)
    assert reads(s3) == b"bytes of a"
    verbs(remove_key, credentials["AccessKeyId"])
    with pytest.raises(ClientError, match="InvalidAccessKeyId"):
        reads(s3)


def test_who_am_i(endpoint: Endpoint, alice: str) -> None:
    root = sts_client(endpoint).get_caller_identity()
    assert (root["Arn"], root["UserId"], root["Account"]) == ("arn:aws:iam::hosu:root", endpoint.access_key, "hosu")
    assert sts_client(endpoint, alice, SECRET).get_caller_identity()["Arn"] == "arn:aws:iam::hosu:user/alice"


@pytest.mark.parametrize(
    ("given", "code"),
    [
        ({"Policy": "{}"}, "MalformedPolicyDocument"),
        ({"Policy": "x" * 2049}, "PackedPolicyTooLarge"),
        ({"DurationSeconds": 7 * 24 * 3600 + 1}, "InvalidParameterValue"),
        ({"PolicyArns": [{"arn": "arn:aws:iam::aws:policy/ReadOnlyAccess"}]}, "InvalidParameterValue"),
        ({"Tags": [{"Key": "team", "Value": "vision"}]}, "InvalidParameterValue"),
        ({"SerialNumber": "GAHT12345678", "TokenCode": "123456"}, "InvalidParameterValue"),
    ],
)
def test_what_is_wrong_or_not_supported_is_refused_by_name(
    endpoint: Endpoint, given: dict[str, Any], code: str
) -> None:
    with refused(code, 400) as refusal:
        sts_client(endpoint).assume_role(**ROLE, **given)
    name = next(iter(given))
    assert name in refusal.value.response["Error"]["Message"] or code == "MalformedPolicyDocument"


def test_strangers_and_wrong_secrets(endpoint: Endpoint) -> None:
    with refused("InvalidClientTokenId", 403):
        sts_client(endpoint, "nobody", SECRET).assume_role(**ROLE)
    with refused("SignatureDoesNotMatch", 403):
        sts_client(endpoint, endpoint.access_key, "a-guessed-secret").assume_role(**ROLE)


def test_other_actions_are_refused_by_name(endpoint: Endpoint) -> None:
    with refused("NotImplemented", 501) as refusal:
        sts_client(endpoint).get_federation_token(Name="somebody")
    assert "GetFederationToken" in refusal.value.response["Error"]["Message"]


# Web identity


def web_identity(endpoint: Endpoint, token: str, **given: Any) -> Any:
    return sts_client(endpoint).assume_role_with_web_identity(**ROLE, WebIdentityToken=token, **given)


def test_a_providers_user_comes_in_with_the_policies_of_the_claim(endpoint: Endpoint, issuer: Issuer) -> None:
    answer = web_identity(endpoint, issuer.token(time.time(), policy="readonly"), DurationSeconds=900)
    assert answer["SubjectFromWebIdentityToken"] == SUBJECT
    assert (answer["Audience"], answer["Provider"]) == (CLIENT_ID, issuer.url)
    s3 = s3_with(endpoint, answer["Credentials"])
    assert reads(s3) == b"bytes of a"
    with pytest.raises(ClientError, match="AccessDenied"):
        s3.put_object(Bucket=BUCKET, Key="b", Body=b"")
    credentials = answer["Credentials"]
    me = sts_client(endpoint, credentials["AccessKeyId"], credentials["SecretAccessKey"], credentials["SessionToken"])
    assert me.get_caller_identity()["Arn"] == f"arn:aws:sts::hosu:assumed-role/oidc:{SUBJECT}"


def test_without_a_duration_it_lasts_as_long_as_the_token(endpoint: Endpoint, issuer: Issuer) -> None:
    now_s = time.time()
    answer = web_identity(endpoint, issuer.token(now_s, exp=int(now_s) + 7200))
    left = answer["Credentials"]["Expiration"].timestamp() - now_s
    assert 7190 <= left <= 7201


def test_a_policy_cuts_what_the_claim_gives(endpoint: Endpoint, issuer: Issuer) -> None:
    answer = web_identity(endpoint, issuer.token(time.time(), policy="readwrite"), Policy=READ_A)
    s3 = s3_with(endpoint, answer["Credentials"])
    assert reads(s3) == b"bytes of a"
    with pytest.raises(ClientError, match="AccessDenied"):
        s3.put_object(Bucket=BUCKET, Key="a", Body=b"")


def test_a_claim_that_names_no_policy_of_the_lake_lets_nobody_in(endpoint: Endpoint, issuer: Issuer) -> None:
    with refused("AccessDenied", 403):
        web_identity(endpoint, issuer.token(time.time(), policy="no-such-policy"))


def test_wrong_tokens(endpoint: Endpoint, issuer: Issuer) -> None:
    now_s = time.time()
    with refused("InvalidIdentityToken", 400):
        web_identity(endpoint, issuer.token(now_s, aud="somebody-else"))
    with refused("ExpiredTokenException", 400):
        web_identity(endpoint, issuer.token(now_s - 7200))
    with refused("InvalidIdentityToken", 400):
        web_identity(endpoint, "no-token-at-all")


# On the wire


def post(endpoint: Endpoint, body: bytes, headers: dict[str, str] | None = None, path: str = "/") -> Any:
    given = {"content-type": "application/x-www-form-urlencoded"} | (headers or {})
    return send("POST", endpoint.url + path, body, given)


@pytest.mark.parametrize(
    ("body", "code", "status"),
    [
        (b"Action=AssumeRole&Version=2011-06-15", "MissingAuthenticationToken", 403),
        (b"Action=AssumeRoleWithLDAPIdentity&Version=2011-06-15", "NotImplemented", 501),
        (b"Action=DropTables&Version=2011-06-15", "InvalidAction", 400),
        (b"Version=2011-06-15", "InvalidAction", 400),
        (b"Action=AssumeRole&Version=2010-05-08", "InvalidParameterValue", 400),
        (b"Action=AssumeRole&Action=AssumeRole", "MalformedInput", 400),
        (b"Action=%FF", "MalformedInput", 400),
        (b"Action=\xff", "MalformedInput", 400),
        (b"&".join(b"p%d=" % number for number in range(200)), "MalformedInput", 400),
        (b"Action=AssumeRoleWithWebIdentity&Version=2011-06-15", "MissingParameter", 400),
        (b"Action=AssumeRole&RoleSessionName=a%20b", "InvalidParameterValue", 400),
        (b"x" * 70_000, "EntityTooLarge", 400),
    ],
)
def test_wrong_forms_get_an_error_of_stss(endpoint: Endpoint, body: bytes, code: str, status: int) -> None:
    answer = post(endpoint, body)
    root = xml_of(answer)
    assert (answer.status, root.findtext("{*}Error/{*}Code"), root.findtext("{*}Error/{*}Type")) == (
        status,
        code,
        "Receiver" if status >= 500 else "Sender",
    )
    assert root.findtext("{*}RequestId")


def signed(endpoint: Endpoint, body: bytes, hashed: bytes, service: str = "sts", *, age_s: int = 0) -> dict[str, str]:
    """Sign a form as minio-py does, over the hash of perhaps another one."""
    headers = sign_headers(
        "POST", b"/", b"", {b"host": endpoint.host.encode(), b"content-type": b"application/x-www-form-urlencoded"},
        endpoint.access_key, endpoint.secret_key, int((time.time() - age_s) * 1000), region="", service=service,
        payload_sha256=hashlib.sha256(hashed).hexdigest().encode(),
    )  # fmt: skip
    assert body
    return {name.decode(): value.decode() for name, value in headers.items()}


def test_a_form_that_was_changed_after_it_was_signed_is_refused(endpoint: Endpoint) -> None:
    body = b"Action=AssumeRole&DurationSeconds=900"
    assert post(endpoint, body, signed(endpoint, body, body)).status == 200
    changed = post(endpoint, body + b"&Policy=", signed(endpoint, body, body))
    assert changed.status == 400
    assert xml_of(changed).findtext("{*}Error/{*}Code") == "XAmzContentSHA256Mismatch"


def test_a_form_signed_for_another_service_or_long_ago_is_refused(endpoint: Endpoint) -> None:
    body = b"Action=AssumeRole"
    assert post(endpoint, body, signed(endpoint, body, body, "s3")).status == 400
    late = post(endpoint, body, signed(endpoint, body, body, age_s=1000))
    assert (late.status, xml_of(late).findtext("{*}Error/{*}Code")) == (403, "RequestExpired")


def test_other_posts_to_the_root_stay_s3s(endpoint: Endpoint) -> None:
    answer = send("POST", endpoint.url + "/", b"<x/>", {"content-type": "application/xml"})
    assert (answer.status, xml_of(answer).findtext("Code")) == (405, "MethodNotAllowed")
    assert answer.headers["x-amz-request-id"]


def test_the_audit_log_says_who_took_credentials(endpoint: Endpoint, process: ServerProcess, alice: str) -> None:
    made = sts_client(endpoint, alice, SECRET).assume_role(**ROLE)
    request_id = made["ResponseMetadata"]["RequestId"]
    lines = [line for line in query(process.directory, operation="sts:AssumeRole") if line.request_id == request_id]
    assert [(line.principal, line.access_key, line.source_ip) for line in lines] == [("alice", "alice", "127.0.0.1")]


def test_no_secret_or_token_is_in_the_servers_log(
    endpoint: Endpoint, process: ServerProcess, issuer: Issuer, alice: str
) -> None:
    token = issuer.token(time.time())
    credentials = [
        sts_client(endpoint, alice, SECRET).assume_role(**ROLE)["Credentials"],
        web_identity(endpoint, token)["Credentials"],
    ]
    with pytest.raises(ClientError):
        web_identity(endpoint, token[:-3])
    secrets = [token[:-3], SECRET, endpoint.secret_key]
    secrets += [made[name] for made in credentials for name in ("SecretAccessKey", "SessionToken")]
    for made in credentials:
        assert reads(s3_with(endpoint, made)) == b"bytes of a"
    log = process.log_path.read_text()
    assert '"event": "answered"' in log
    assert [secret for secret in secrets if secret in log] == []

"""Every operation of the server, asked for by somebody without a key, with an unknown one, with a wrong secret."""

import dataclasses

import pytest
from tests.support.clients import S3Client
from tests.support.http import send, signed_headers, xml_of
from tests.support.operations import request_of
from tests.support.server import Endpoint

from hosu.server.s3.routes import OPERATIONS, Operation

KEPT = b"nobody's business"


def check_denied(server: Endpoint, operation: Operation, bucket: str, code: str, signer: Endpoint | None) -> None:
    path, body, headers = request_of(operation, bucket)
    if signer is not None:
        headers = signed_headers(signer, operation.method, path, body, headers)
    answer = send(operation.method, server.url + path, body, headers)
    assert answer.status == 403, answer.data
    if operation.method != "HEAD":
        assert xml_of(answer).findtext("Code") == code


@pytest.fixture
def kept(s3: S3Client, bucket: str) -> str:
    """Make a bucket with one object in it."""
    s3.put_object(Bucket=bucket, Key="k", Body=KEPT)
    return bucket


def check_unchanged(s3: S3Client, bucket: str) -> None:
    assert s3.get_object(Bucket=bucket, Key="k")["Body"].read() == KEPT
    assert s3.list_objects_v2(Bucket=bucket)["KeyCount"] == 1
    assert "Uploads" not in s3.list_multipart_uploads(Bucket=bucket)


def test_nobody_without_a_key_gets_in(server: Endpoint, s3: S3Client, kept: str) -> None:
    for operation in OPERATIONS:
        check_denied(server, operation, kept, "AccessDenied", None)
    check_unchanged(s3, kept)


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"access_key": "nobody"}, "InvalidAccessKeyId"),
        ({"secret_key": "guessed"}, "SignatureDoesNotMatch"),
    ],
    ids=["unknown key", "wrong secret"],
)
def test_nobody_with_a_made_up_key_gets_in(
    server: Endpoint, s3: S3Client, kept: str, changes: dict[str, str], code: str
) -> None:
    stranger = dataclasses.replace(server, **changes)
    for operation in OPERATIONS:
        # A form is signed in its fields; without them it comes from nobody.
        expected = "AccessDenied" if operation.name == "PostObject" else code
        check_denied(server, operation, kept, expected, stranger)
    check_unchanged(s3, kept)


@pytest.mark.parametrize("key", ["k", "missing"])
def test_an_anonymous_caller_cannot_tell_what_exists(server: Endpoint, kept: str, key: str) -> None:
    for method in ("GET", "DELETE"):
        answer = send(method, f"{server.url}/{kept}/{key}")
        assert (answer.status, xml_of(answer).findtext("Code")) == (403, "AccessDenied")


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE"])
def test_root_is_refused_where_another_owner_is_expected(
    server: Endpoint, s3: S3Client, kept: str, method: str
) -> None:
    path = f"/{kept}/k"
    headers = signed_headers(server, method, path, b"", {"x-amz-expected-bucket-owner": "111122223333"})
    answer = send(method, server.url + path, b"", headers)
    assert (answer.status, xml_of(answer).findtext("Code")) == (403, "AccessDenied")
    check_unchanged(s3, kept)


def test_root_gets_in_where_root_is_the_expected_owner(s3: S3Client, kept: str) -> None:
    owner = s3.list_buckets()["Owner"]["ID"]
    assert s3.get_object(Bucket=kept, Key="k", ExpectedBucketOwner=owner)["Body"].read() == KEPT
    copied = s3.copy_object(
        Bucket=kept,
        Key="copy",
        CopySource={"Bucket": kept, "Key": "k"},
        ExpectedBucketOwner=owner,
        ExpectedSourceBucketOwner=owner,
    )
    assert copied["CopyObjectResult"]["ETag"]

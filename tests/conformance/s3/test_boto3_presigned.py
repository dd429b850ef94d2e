"""Presigned URLs and browser forms: made by boto3, used without any client or key."""

import datetime as dt
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit, urlunsplit

import pytest
import urllib3
from botocore.config import Config
from tests.support.clients import S3Client, boto3_client, signing_at
from tests.support.http import error_of, form_body, send, xml_of
from tests.support.server import Endpoint

BODY = b"captured at the front door"


def changed(url: str, **parameters: str) -> str:
    parts = urlsplit(url)
    query = {name: values[0] for name, values in parse_qs(parts.query).items()} | parameters
    return urlunsplit(parts._replace(query=urlencode(query)))


def post(url: str, fields: dict[str, str], name: str, content: bytes) -> urllib3.BaseHTTPResponse:
    body, headers = form_body(fields, name, content)
    return send("POST", url, body, headers)


@pytest.fixture
def v4(server: Endpoint) -> Iterator[S3Client]:
    """Hand over a client told to sign with SigV4: left alone, boto3 still signs URLs for us-east-1 the old way."""
    client = boto3_client(server, Config(signature_version="s3v4"))
    yield client
    client.close()


@pytest.fixture
def url(v4: S3Client, bucket: str) -> Callable[..., str]:
    def make(operation: str, expires_s: int = 60, key: str = "dir/한 k.jpg", **parameters: Any) -> str:
        made: str = v4.generate_presigned_url(
            operation, Params={"Bucket": bucket, "Key": key, **parameters}, ExpiresIn=expires_s
        )
        return made

    return make


@pytest.fixture
def stored(s3: S3Client, bucket: str) -> str:
    s3.put_object(Bucket=bucket, Key="dir/한 k.jpg", Body=BODY)
    return bucket


@pytest.mark.conformance("s3", "GetObject")
def test_a_get_url_hands_out_the_object(stored: str, url: Callable[..., str]) -> None:  # noqa: ARG001 - stores it
    made = url("get_object", ResponseContentType="image/jpeg")
    answer = send("GET", made)
    assert (answer.status, answer.data, answer.headers["Content-Type"]) == (200, BODY, "image/jpeg")
    ranged = send("GET", made, headers={"Range": "bytes=0-7"})
    assert (ranged.status, ranged.data) == (206, BODY[:8])
    assert send("HEAD", url("head_object")).headers["Content-Length"] == str(len(BODY))


@pytest.mark.conformance("s3", "PutObject")
def test_a_put_url_takes_a_body(s3: S3Client, bucket: str, url: Callable[..., str]) -> None:
    assert send("PUT", url("put_object"), BODY).status == 200
    assert s3.get_object(Bucket=bucket, Key="dir/한 k.jpg")["Body"].read() == BODY
    chunks = (BODY[start : start + 7] for start in range(0, len(BODY), 7))
    assert send("PUT", url("put_object", key="chunked"), chunks).status == 200
    assert s3.get_object(Bucket=bucket, Key="chunked")["Body"].read() == BODY
    assert send("DELETE", url("delete_object")).status == 204


@pytest.mark.conformance("s3", "PutObject")
def test_a_header_that_was_signed_must_be_sent(s3: S3Client, bucket: str, url: Callable[..., str]) -> None:
    made = url("put_object", ContentType="image/jpeg")
    assert send("PUT", made, BODY, headers={"Content-Type": "image/jpeg"}).status == 200
    assert s3.head_object(Bucket=bucket, Key="dir/한 k.jpg")["ContentType"] == "image/jpeg"
    other = send("PUT", made, b"other", headers={"Content-Type": "text/html"})
    assert error_of(other) == (403, "SignatureDoesNotMatch")
    assert s3.get_object(Bucket=bucket, Key="dir/한 k.jpg")["Body"].read() == BODY


@pytest.mark.conformance("s3", "GetObject")
def test_a_url_opens_nothing_else(s3: S3Client, stored: str, url: Callable[..., str]) -> None:
    s3.put_object(Bucket=stored, Key="secret", Body=b"secret")
    made = url("get_object", key="dir/other")
    assert error_of(send("GET", made.replace("dir/other", "secret"))) == (403, "SignatureDoesNotMatch")
    assert error_of(send("PUT", made, b"x")) == (403, "SignatureDoesNotMatch")
    longer = changed(url("get_object", expires_s=1), **{"X-Amz-Expires": "604800"})
    assert error_of(send("GET", longer)) == (403, "SignatureDoesNotMatch")
    scope = parse_qs(urlsplit(made).query)["X-Amz-Credential"][0].partition("/")[2]
    unknown = changed(made, **{"X-Amz-Credential": f"nobody/{scope}"})
    assert error_of(send("GET", unknown)) == (403, "InvalidAccessKeyId")


@pytest.mark.conformance("s3", "GetObject")
def test_an_expired_url_is_refused(v4: S3Client, stored: str) -> None:
    an_hour_ago = dt.datetime.now(dt.UTC) - dt.timedelta(hours=1)
    with signing_at(an_hour_ago):
        made = v4.generate_presigned_url("get_object", Params={"Bucket": stored, "Key": "dir/한 k.jpg"}, ExpiresIn=1800)
    assert error_of(send("GET", made)) == (403, "AccessDenied")


@pytest.mark.conformance("s3", "GetObject")
def test_a_url_may_not_live_longer_than_a_week(url: Callable[..., str]) -> None:
    too_long = send("GET", url("get_object", expires_s=604_801))
    assert error_of(too_long) == (400, "AuthorizationQueryParametersError")


@pytest.mark.conformance("s3", "GetObject")
def test_without_a_signature_nobody_gets_anything(server: Endpoint, stored: str) -> None:
    for path in ("", f"/{stored}", f"/{stored}/dir/k.jpg"):
        assert error_of(send("GET", server.url + path)) == (403, "AccessDenied"), path


@pytest.mark.conformance("s3", "GetObject")
def test_a_url_as_boto3_signs_it_by_default_hands_out_the_object(s3: S3Client, stored: str) -> None:
    made = s3.generate_presigned_url("get_object", Params={"Bucket": stored, "Key": "dir/한 k.jpg"})
    answer = send("GET", made)
    assert (answer.status, answer.data) == (200, BODY)


@pytest.mark.conformance("s3", "PostObject")
def test_a_form_uploads_what_its_policy_allows(s3: S3Client, v4: S3Client, bucket: str) -> None:
    form = v4.generate_presigned_post(
        bucket,
        "uploads/${filename}",
        Fields={"Content-Type": "image/jpeg", "x-amz-meta-camera": "door", "success_action_status": "201"},
        Conditions=[
            {"Content-Type": "image/jpeg"},
            {"x-amz-meta-camera": "door"},
            {"success_action_status": "201"},
            ["content-length-range", 1, 100],
        ],
    )
    answer = post(form["url"], form["fields"], "capture 1.jpg", BODY)
    assert answer.status == 201, answer.data
    shown = xml_of(answer)
    assert (shown.findtext("{*}Key"), shown.findtext("{*}Bucket")) == ("uploads/capture 1.jpg", bucket)
    got = s3.get_object(Bucket=bucket, Key="uploads/capture 1.jpg")
    assert (got["Body"].read(), got["ContentType"], got["Metadata"]) == (BODY, "image/jpeg", {"camera": "door"})
    assert shown.findtext("{*}ETag") == got["ETag"]


@pytest.mark.conformance("s3", "PostObject")
def test_a_form_as_boto3_signs_it_by_default_answers_204(s3: S3Client, bucket: str) -> None:
    form = s3.generate_presigned_post(bucket, "k")
    assert post(form["url"], form["fields"], "f", BODY).status == 204
    assert s3.get_object(Bucket=bucket, Key="k")["Body"].read() == BODY


@pytest.mark.conformance("s3", "PostObject")
@pytest.mark.parametrize(
    ("fields", "size_bytes", "expected"),
    [
        ({}, 101, (400, "EntityTooLarge")),
        ({}, 9, (400, "EntityTooSmall")),
        ({"key": "elsewhere"}, 50, (403, "AccessDenied")),
        ({"x-amz-meta-extra": "1"}, 50, (403, "AccessDenied")),
        ({"x-amz-signature": "0" * 64}, 50, (403, "SignatureDoesNotMatch")),
    ],
    ids=["too large", "too small", "another key", "a field no condition names", "a false signature"],
)
def test_a_form_outside_its_policy_is_refused(
    s3: S3Client, v4: S3Client, bucket: str, fields: dict[str, str], size_bytes: int, expected: tuple[int, str]
) -> None:
    form = v4.generate_presigned_post(
        bucket,
        "uploads/${filename}",
        Conditions=[["starts-with", "$key", "uploads/"], ["content-length-range", 10, 100]],
    )
    answer = post(form["url"], form["fields"] | fields, "f", b"x" * size_bytes)
    assert error_of(answer) == expected
    assert "Contents" not in s3.list_objects_v2(Bucket=bucket)

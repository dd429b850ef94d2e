"""Errors as S3 clients expect them: code, status, XML with resource and request id, and nothing changed."""

import base64
import contextlib
import datetime as dt
import hashlib
import http.client
import xml.etree.ElementTree as ET
from typing import Any

import pytest
from tests.support.clients import S3Client, boto3_client, refused, refused_head, signing_at
from tests.support.http import error_of, send, signed_headers, xml_of
from tests.support.server import Endpoint

MINUTES = dt.timedelta(minutes=1)


@pytest.mark.conformance("s3", "GetObject")
def test_what_is_missing_is_named(s3: S3Client, bucket: str, bucket_name: str) -> None:
    with refused("NoSuchKey", 404) as refusal:
        s3.get_object(Bucket=bucket, Key="no/such key")
    missing: dict[str, Any] = dict(refusal.value.response["Error"])
    assert missing["Key"] == "no/such key"
    with refused("NoSuchBucket", 404) as refusal:
        s3.get_object(Bucket=bucket_name + "-none", Key="k")
    missing = dict(refusal.value.response["Error"])
    assert missing["BucketName"] == bucket_name + "-none"


@pytest.mark.conformance("s3", "PutObject")
@pytest.mark.parametrize(
    ("operation", "arguments"),
    [
        ("put_object", {"Key": "k", "Body": b"body"}),
        ("delete_object", {"Key": "k"}),
        ("delete_objects", {"Delete": {"Objects": [{"Key": "k"}]}}),
        ("create_multipart_upload", {"Key": "k"}),
        ("list_objects", {}),
        ("list_object_versions", {}),
        ("list_multipart_uploads", {}),
        ("get_bucket_location", {}),
        ("get_bucket_versioning", {}),
        ("put_bucket_versioning", {"VersioningConfiguration": {"Status": "Enabled"}}),
    ],
)
def test_every_operation_says_that_its_bucket_is_missing(
    s3: S3Client, bucket_name: str, operation: str, arguments: dict[str, Any]
) -> None:
    with refused("NoSuchBucket", 404):
        getattr(s3, operation)(Bucket=bucket_name, **arguments)


@pytest.mark.conformance("s3", "HeadObject")
def test_heads_answer_404_without_a_body(s3: S3Client, bucket: str, bucket_name: str) -> None:
    with refused_head(404):
        s3.head_object(Bucket=bucket, Key="none")
    with refused_head(404):
        s3.head_bucket(Bucket=bucket_name + "-none")


def test_an_unknown_key_id_and_a_wrong_secret_are_told_apart(server: Endpoint, bucket: str) -> None:
    with refused("InvalidAccessKeyId", 403):
        boto3_client(server, aws_access_key_id="nobody").list_objects_v2(Bucket=bucket)
    with refused("SignatureDoesNotMatch", 403):
        boto3_client(server, aws_secret_access_key="wrong").list_objects_v2(Bucket=bucket)
    with refused_head(403):
        boto3_client(server, aws_secret_access_key="wrong").head_bucket(Bucket=bucket)


@pytest.mark.parametrize("shift", [-16 * MINUTES, 16 * MINUTES], ids=["slow", "fast"])
def test_a_clock_a_quarter_of_an_hour_off_is_named(server: Endpoint, bucket: str, shift: dt.timedelta) -> None:
    client = boto3_client(server)
    off = dt.datetime.now(dt.UTC) + shift
    with signing_at(off), refused("RequestTimeTooSkewed", 403):
        client.list_objects_v2(Bucket=bucket)


def test_an_error_is_xml_with_resource_and_request_id(server: Endpoint, bucket: str) -> None:
    path = f"/{bucket}/none"
    answer = send("GET", server.url + path, headers=signed_headers(server, "GET", path))
    root = xml_of(answer)
    assert (answer.status, root.tag, answer.headers["Content-Type"]) == (404, "Error", "application/xml")
    assert (root.findtext("Code"), root.findtext("Resource")) == ("NoSuchKey", path)
    assert root.findtext("Message")
    assert root.findtext("RequestId") == answer.headers["x-amz-request-id"]


def test_a_body_that_is_not_the_signed_one_is_refused(server: Endpoint, s3: S3Client, bucket: str) -> None:
    path = f"/{bucket}/k"
    headers = signed_headers(server, "PUT", path, b"the signed body")
    answer = send("PUT", server.url + path, b"the sneaky body", headers=headers)
    assert error_of(answer) == (400, "XAmzContentSHA256Mismatch")
    with refused_head(404):
        s3.head_object(Bucket=bucket, Key="k")


def test_a_put_beyond_5_gib_is_refused_before_its_body(server: Endpoint, bucket: str) -> None:
    path = f"/{bucket}/k"
    headers = signed_headers(server, "PUT", path, body=None)
    with contextlib.closing(http.client.HTTPConnection(server.host, timeout=5)) as connection:
        connection.putrequest("PUT", path, skip_host=True, skip_accept_encoding=True)
        for name, value in headers.items():
            connection.putheader(name, value)
        connection.putheader("Host", server.host)
        connection.putheader("Content-Length", str(5 * 1024**3 + 1))
        connection.putheader("Expect", "100-continue")
        connection.endheaders()
        answer = connection.getresponse()
        assert (answer.status, ET.fromstring(answer.read()).findtext("Code")) == (400, "EntityTooLarge")


@pytest.mark.parametrize("body", [b"not xml", b"<Delete>", b'<!DOCTYPE a [<!ENTITY b "c">]><Delete>&b;</Delete>'])
def test_malformed_xml_is_refused(server: Endpoint, bucket: str, body: bytes) -> None:
    path = f"/{bucket}?delete"
    digest = base64.b64encode(hashlib.md5(body).digest()).decode()
    headers = signed_headers(server, "POST", path, body, headers={"Content-MD5": digest})
    answer = send("POST", server.url + path, body, headers=headers)
    assert error_of(answer) == (400, "MalformedXML")


def test_a_method_that_a_resource_does_not_have_is_refused(server: Endpoint, bucket: str) -> None:
    path = f"/{bucket}/k"
    answer = send("PATCH", server.url + path, headers=signed_headers(server, "PATCH", path))
    assert error_of(answer) == (405, "MethodNotAllowed")


def test_select_is_not_implemented(s3: S3Client, bucket: str) -> None:
    s3.put_object(Bucket=bucket, Key="k.csv", Body=b"a\n1\n")
    with refused("NotImplemented", 501):
        s3.select_object_content(
            Bucket=bucket,
            Key="k.csv",
            Expression="select * from s3object",
            ExpressionType="SQL",
            InputSerialization={"CSV": {}},
            OutputSerialization={"CSV": {}},
        )

"""CORS as browsers ask for it: preflight requests without a signature, and headers on answers."""

from typing import Any

import pytest
import urllib3
from tests.support.clients import S3Client
from tests.support.http import error_of, send, signed_headers
from tests.support.server import Endpoint

RULES = [
    {
        "AllowedMethods": ["GET"],
        "AllowedOrigins": ["*.suffix", "start*end", "https://exact.example"],
        "AllowedHeaders": ["x-amz-*", "range"],
        "ExposeHeaders": ["ETag", "x-amz-meta-model"],
        "MaxAgeSeconds": 600,
    },
    {"AllowedMethods": ["PUT", "DELETE"], "AllowedOrigins": ["https://writer.example"]},
]


@pytest.fixture
def shared(s3: S3Client, bucket: str) -> str:
    """Make a bucket with rules and one object."""
    s3.put_bucket_cors(Bucket=bucket, CORSConfiguration={"CORSRules": RULES})
    s3.put_object(Bucket=bucket, Key="k", Body=b"body")
    return bucket


def preflight(server: Endpoint, path: str, origin: str, method: str, headers: str = "") -> urllib3.BaseHTTPResponse:
    asked = {"Origin": origin, "Access-Control-Request-Method": method}
    if headers:
        asked["Access-Control-Request-Headers"] = headers
    return send("OPTIONS", server.url + path, headers=asked)


def allowed_origin(answer: urllib3.BaseHTTPResponse) -> Any:
    return answer.headers.get("Access-Control-Allow-Origin")


@pytest.mark.parametrize("origin", ["a.suffix", ".suffix", "startend", "start-x-end", "https://exact.example"])
def test_a_preflight_of_an_allowed_origin_is_granted(server: Endpoint, shared: str, origin: str) -> None:
    answer = preflight(server, f"/{shared}/k", origin, "GET", "X-Amz-Date, Range")
    assert answer.status == 200
    assert allowed_origin(answer) == origin
    assert answer.headers["Access-Control-Allow-Methods"] == "GET"
    assert answer.headers["Access-Control-Allow-Headers"] == "x-amz-date, range"
    assert answer.headers["Access-Control-Max-Age"] == "600"
    assert answer.headers["Access-Control-Expose-Headers"] == "ETag, x-amz-meta-model"
    assert "Origin" in answer.headers["Vary"]


@pytest.mark.parametrize(
    ("origin", "method", "headers"),
    [
        ("a.suffix.evil", "GET", ""),
        ("xstart-end", "GET", ""),
        ("https://exactxexample", "GET", ""),
        ("a.suffix", "PUT", ""),
        ("a.suffix", "get", ""),
        ("a.suffix", "GET", "authorization"),
        ("https://writer.example", "PUT", "x-amz-date"),
    ],
)
def test_a_preflight_that_no_rule_allows_is_refused(
    server: Endpoint, shared: str, origin: str, method: str, headers: str
) -> None:
    answer = preflight(server, f"/{shared}/k", origin, method, headers)
    assert error_of(answer)[0] == 403
    assert allowed_origin(answer) is None


def test_a_preflight_without_an_origin_or_method_is_no_preflight(server: Endpoint, shared: str) -> None:
    for headers in ({}, {"Origin": "a.suffix"}, {"Access-Control-Request-Method": "GET"}):
        assert error_of(send("OPTIONS", f"{server.url}/{shared}/k", headers=headers)) == (400, "BadRequest")


def test_a_preflight_of_a_bucket_without_rules_is_refused(server: Endpoint, bucket: str) -> None:
    assert error_of(preflight(server, f"/{bucket}", "a.suffix", "GET"))[0] == 403


def test_answers_let_an_allowed_page_read_them(server: Endpoint, shared: str) -> None:
    for path in (f"/{shared}/k", f"/{shared}/missing"):
        headers = signed_headers(server, "GET", path, headers={"Origin": "a.suffix"})
        assert allowed_origin(send("GET", server.url + path, headers=headers)) == "a.suffix"
        headers = signed_headers(server, "GET", path, headers={"Origin": "evil"})
        assert allowed_origin(send("GET", server.url + path, headers=headers)) is None


def test_even_a_refusal_can_be_read_by_an_allowed_page(server: Endpoint, shared: str) -> None:
    url = f"{server.url}/{shared}/k"
    answer = send("GET", url, headers={"Origin": "a.suffix"})
    assert (answer.status, allowed_origin(answer)) == (403, "a.suffix")
    answer = send("PUT", url, b"", {"Origin": "a.suffix"})
    assert (answer.status, allowed_origin(answer)) == (403, None)


def test_any_origin_is_answered_with_a_star_and_without_credentials(
    server: Endpoint, s3: S3Client, bucket: str
) -> None:
    rule = {"AllowedMethods": ["GET"], "AllowedOrigins": ["*"]}
    s3.put_bucket_cors(Bucket=bucket, CORSConfiguration={"CORSRules": [rule]})
    answer = preflight(server, f"/{bucket}/k", "https://any.example", "GET")
    assert allowed_origin(answer) == "*"
    assert "Access-Control-Allow-Credentials" not in answer.headers

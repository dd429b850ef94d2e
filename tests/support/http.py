"""Plain HTTP, for what a stock client would never send."""

import xml.etree.ElementTree as ET
from collections.abc import Iterable, Mapping

import urllib3
from botocore.auth import S3SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from tests.support.server import Endpoint

Body = bytes | Iterable[bytes]


def send(
    method: str, url: str, body: Body | None = None, headers: Mapping[str, str] | None = None
) -> urllib3.BaseHTTPResponse:
    """Send one request and read the whole answer: no retry, no redirect."""
    return urllib3.request(method, url, body=body, headers=headers, retries=False, redirect=False, timeout=5)


def xml_of(answer: urllib3.BaseHTTPResponse) -> ET.Element:
    """Return the root of an XML answer; look inside with paths such as `{*}Code`."""
    return ET.fromstring(answer.data)


def error_of(answer: urllib3.BaseHTTPResponse) -> tuple[int, str | None]:
    """Return the status and S3's error code of an answer."""
    return answer.status, xml_of(answer).findtext("{*}Code")


class UnsignedPayloadAuth(S3SigV4Auth):
    """Signs the head of a request and leaves its body open, which botocore does over TLS only."""

    def payload(self, request: AWSRequest) -> str:  # noqa: ARG002 - botocore's signature
        """Return what stands for the hash of the body."""
        return "UNSIGNED-PAYLOAD"


def signed_headers(
    server: Endpoint,
    method: str,
    path: str,
    body: bytes | None = b"",
    headers: Mapping[str, str] | None = None,
) -> dict[str, str]:
    """Return headers that sign this request, those given included; a body of None is left unsigned."""
    request = AWSRequest(method, server.url + path, headers=dict(headers or {}), data=body)
    auth = UnsignedPayloadAuth if body is None else S3SigV4Auth
    auth(Credentials(server.access_key, server.secret_key), "s3", server.region).add_auth(request)
    return dict(request.headers.items())


def form_body(fields: Mapping[str, str], name: str, content: bytes) -> tuple[bytes, dict[str, str]]:
    """Return body and headers of a browser's form, its file last as S3 demands."""
    body, content_type = urllib3.encode_multipart_formdata([*fields.items(), ("file", (name, content))])
    return body, {"Content-Type": content_type}

import datetime as dt

from benchmarks.sign import Signer
from botocore.auth import S3SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

HOST = "127.0.0.1:9000"


def signature_of_botocore(method: str, url: str, date: str) -> str:
    """Sign as the AWS SDK does, at the moment of another signature."""
    request = AWSRequest(method, url, headers={"Host": HOST, "x-amz-content-sha256": "UNSIGNED-PAYLOAD"})
    request.context.update({"timestamp": date, "payload_signing_enabled": False})
    request.headers["X-Amz-Date"] = date
    auth = S3SigV4Auth(Credentials("access", "secret"), "s3", "us-east-1")
    return str(auth.signature(auth.string_to_sign(request, auth.canonical_request(request)), request))


def test_signature_is_the_one_botocore_makes() -> None:
    moment = dt.datetime(2026, 1, 2, 3, 4, 5, tzinfo=dt.UTC)
    signer = Signer(HOST, "access", "secret", at=moment)
    for method, path, query in (
        ("GET", "/bucket/key", ()),
        ("PUT", "/bucket/put/1/00000001", ()),
        ("GET", "/bucket", (("start-after", "list/p0/1 +é"), ("list-type", "2"), ("delimiter", "/"))),
        ("POST", "/bucket/key", (("uploads", ""),)),
    ):
        head = signer.head(method, path, query).decode()
        sent = head.split(" ")[1]
        expected = signature_of_botocore(method, f"http://{HOST}{sent}", "20260102T030405Z")
        assert f"Signature={expected}\r\n" in head


def test_head_ends_with_a_blank_line_and_carries_the_length() -> None:
    head = Signer(HOST, "access", "secret").head("PUT", "/bucket/key", content_bytes=4096)
    assert head.startswith(b"PUT /bucket/key HTTP/1.1\r\nHost: 127.0.0.1:9000\r\nContent-Length: 4096\r\n")
    assert head.endswith(b"\r\n\r\n")

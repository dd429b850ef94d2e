"""A request for a part of a bucket or object never acts on the whole."""

import pytest
from tests.support.clients import S3Client
from tests.support.http import error_of, send, signed_headers
from tests.support.server import Endpoint

from hosu.server.s3.routes import OPERATIONS, SUB_RESOURCES

METHODS = ("GET", "HEAD", "PUT", "POST", "DELETE")
ANSWERED = {(row.method, row.target, name) for row in OPERATIONS for name in row.parameters}


def unanswered(target: str) -> list[tuple[str, str]]:
    """Return each method and sub-resource that no operation is for."""
    names = sorted(SUB_RESOURCES)
    return [(method, name) for method in METHODS for name in names if (method, target, name) not in ANSWERED]


def ask(server: Endpoint, method: str, path: str) -> tuple[int, str | None]:
    """Send a signed request without a body; return the status and the error code that a body tells."""
    body = b"" if method in {"PUT", "POST"} else None
    answer = send(method, server.url + path, body, signed_headers(server, method, path))
    return (answer.status, None) if method == "HEAD" else error_of(answer)


@pytest.mark.parametrize("target", ["bucket", "object"])
def test_a_sub_resource_without_such_an_operation_is_refused(
    target: str, server: Endpoint, s3: S3Client, bucket: str
) -> None:
    path = f"/{bucket}" if target == "bucket" else f"/{bucket}/k"
    if target == "object":
        s3.put_object(Bucket=bucket, Key="k", Body=b"kept")
    for method, name in unanswered(target):
        refused = (405, None if method == "HEAD" else "MethodNotAllowed")
        assert ask(server, method, f"{path}?{name}=") == refused, (method, name)
    s3.head_bucket(Bucket=bucket)
    if target == "object":
        assert s3.get_object(Bucket=bucket, Key="k")["Body"].read() == b"kept"

"""Every operation of the server, asked for by a user whom no policy lets do anything, and by nobody at all."""

from pathlib import Path

import pytest
from tests.support.clients import S3Client, boto3_client
from tests.support.http import form_body, send, signed_headers, xml_of
from tests.support.operations import contents_of, request_of, versioned_operations
from tests.support.server import Endpoint
from tests.support.users import allow, for_everyone, make_user, policy_text

from hosu.server.s3.routes import OPERATIONS, Operation

EVERY = pytest.mark.parametrize("name", ["without a policy", "with a policy of another bucket", "anonymous"])


@pytest.fixture
def kept(s3: S3Client, bucket: str) -> str:
    """Make a bucket with two versions of an object and an upload in progress."""
    s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
    s3.put_object(Bucket=bucket, Key="k", Body=b"old")
    s3.put_object(Bucket=bucket, Key="k", Body=b"kept", Tagging="a=b")
    s3.create_multipart_upload(Bucket=bucket, Key="k")
    return bucket


def ask(server: Endpoint, operation: Operation, bucket: str, signer: Endpoint | None, query: str = "") -> object:
    path, body, headers = request_of(operation, bucket)
    if query:
        path += ("&" if "?" in path else "?") + query
    if operation.name == "PostObject" and signer is not None:
        form = boto3_client(signer).generate_presigned_post(bucket, "k")
        body, headers = form_body(form["fields"], "k", b"stolen")
    elif signer is not None:
        headers = signed_headers(signer, operation.method, path, body, headers)
    answer = send(operation.method, server.url + path, body, headers)
    if operation.method == "HEAD":
        return answer.status
    root = xml_of(answer)
    if operation.name == "DeleteObjects" and answer.status == 200:
        return sorted({str(code.text) for code in root.iterfind("{*}Error/{*}Code")}), root.find("{*}Deleted")
    return answer.status, root.findtext("Code")


def expected(operation: Operation, signer: Endpoint | None) -> object:
    if operation.method == "HEAD":
        return 403
    if operation.name == "DeleteObjects" and signer is not None:
        return ["AccessDenied"], None
    return 403, "AccessDenied"


@EVERY
def test_every_operation_is_denied_and_changes_nothing(server: Endpoint, lake: Path, kept: str, name: str) -> None:
    signer = None
    if name != "anonymous":
        statements = [allow("s3:*", "another", "another/*")] if "another" in name else []
        signer = make_user(lake, server, *statements)
    before = contents_of(lake)
    answers = {operation: ask(server, operation, kept, signer) for operation in OPERATIONS}
    assert answers == {operation: expected(operation, signer) for operation in OPERATIONS}
    assert contents_of(lake) == before


@pytest.mark.parametrize("signs", [True, False], ids=["a user", "anonymous"])
def test_naming_a_version_opens_nothing(server: Endpoint, lake: Path, kept: str, *, signs: bool) -> None:
    signer = make_user(lake, server) if signs else None
    before = contents_of(lake)
    for operation in versioned_operations():
        answer = ask(server, operation, kept, signer, "versionId=null")
        assert answer == expected(operation, signer), operation.name
    assert contents_of(lake) == before


@pytest.mark.parametrize("signs", [True, False], ids=["a user", "anonymous"])
@pytest.mark.parametrize("method", ["GET", "PUT", "POST", "DELETE"])
def test_an_unknown_sub_resource_opens_nothing(
    server: Endpoint, lake: Path, kept: str, method: str, *, signs: bool
) -> None:
    signer = make_user(lake, server) if signs else None
    before = contents_of(lake)
    for path in ("/?unknown", f"/{kept}?unknown", f"/{kept}/k?unknown"):
        headers = signed_headers(signer, method, path, b"") if signer is not None else {}
        answer = send(method, server.url + path, b"", headers)
        assert answer.status in {403, 405, 412}, (path, answer.status, answer.data)
    assert contents_of(lake) == before


def test_a_deny_in_a_bucket_policy_stops_its_owners_other_users_everywhere(
    server: Endpoint, lake: Path, s3: S3Client, kept: str
) -> None:
    everywhere = (kept, f"{kept}/*")
    signer = make_user(lake, server, allow("s3:*"))
    s3.put_bucket_policy(Bucket=kept, Policy=policy_text(for_everyone(allow("s3:*", *everywhere)) | {"Effect": "Deny"}))
    before = contents_of(lake)
    for operation in OPERATIONS:
        if operation.target != "service":
            assert ask(server, operation, kept, signer) == expected(operation, signer), operation.name
    assert contents_of(lake) == before
    s3.delete_bucket_policy(Bucket=kept)  # nothing keeps root from mending it


def test_a_right_is_for_its_own_operation_alone(server: Endpoint, lake: Path, kept: str) -> None:
    """Each operation is asked by a user who may do all that other operations ask for."""
    everywhere = (kept, f"{kept}/*")
    for number, operation in enumerate(OPERATIONS):
        asked = {operation.action, operation.version_action} - {""}
        denied = allow(sorted(asked)) | {"Effect": "Deny"}
        signer = make_user(lake, server, allow("s3:*", *everywhere), denied, name=f"one-less-{number}")
        assert ask(server, operation, kept, signer) == expected(operation, signer), operation.name

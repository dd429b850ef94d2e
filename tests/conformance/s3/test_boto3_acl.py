"""ACLs of buckets and objects, where they count; and whose things are."""

import dataclasses
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from botocore import UNSIGNED
from botocore.config import Config
from tests.support.clients import S3Client, boto3_client, empty_bucket, refused
from tests.support.http import form_body, send, signed_headers
from tests.support.server import Endpoint
from tests.support.users import allow, make_user, policy_text

import hosu
from hosu.identity.acl import canonical_id

ALL_USERS = "http://acs.amazonaws.com/groups/global/AllUsers"
PUBLIC_ACL = (
    '<AccessControlPolicy><AccessControlList><Grant><Grantee xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance" '
    f'xsi:type="Group"><URI>{ALL_USERS}</URI></Grantee><Permission>READ</Permission></Grant></AccessControlList>'
    "</AccessControlPolicy>"
).encode()
AUTHENTICATED_USERS = "http://acs.amazonaws.com/groups/global/AuthenticatedUsers"


@pytest.fixture
def shared(s3: S3Client, bucket_name: str) -> Iterator[str]:
    """Make a bucket in which ACLs count, and what others write is theirs."""
    s3.create_bucket(Bucket=bucket_name, ObjectOwnership="ObjectWriter")
    yield bucket_name
    empty_bucket(s3, bucket_name)
    s3.delete_bucket(Bucket=bucket_name)


@pytest.fixture
def signer(server: Endpoint, lake: Path) -> Endpoint:
    """Make a user who has no policy."""
    return make_user(lake, server)


@pytest.fixture
def user(signer: Endpoint) -> Iterator[S3Client]:
    """Hand over a client of the user."""
    client = boto3_client(signer)
    yield client
    client.close()


@pytest.fixture
def user_id(signer: Endpoint) -> str:
    """Name the user as ACLs do."""
    return canonical_id(signer.access_key)


@pytest.fixture
def anyone(server: Endpoint) -> Iterator[S3Client]:
    """Hand over a client that does not sign."""
    client = boto3_client(server, Config(signature_version=UNSIGNED))
    yield client
    client.close()


def all_refused(code: str, status: int, *asks: Callable[[], Any]) -> None:
    for ask in asks:
        with refused(code, status):
            ask()


def grants_of(acl: dict[str, Any]) -> set[tuple[str, str]]:
    return {(grant["Grantee"].get("ID") or grant["Grantee"]["URI"], grant["Permission"]) for grant in acl["Grants"]}


def check_allowed(asks: dict[str, Callable[[], Any]], allowed: set[str]) -> None:
    """Hold each question to whether it is answered or refused."""
    for name, ask in asks.items():
        if name in allowed:
            ask()
        else:
            with refused("AccessDenied", 403):
                ask()


def questions(client: S3Client, bucket: str) -> dict[str, Callable[[], Any]]:
    return {
        "list": lambda: client.list_objects_v2(Bucket=bucket),
        "uploads": lambda: client.list_multipart_uploads(Bucket=bucket),
        "put": lambda: client.put_object(Bucket=bucket, Key="new", Body=b""),
        "delete": lambda: client.delete_object(Bucket=bucket, Key="gone"),
        "read acl": lambda: client.get_bucket_acl(Bucket=bucket),
        "write acl": lambda: client.put_bucket_acl(Bucket=bucket, ACL="private"),
        "policy": lambda: client.put_bucket_policy(Bucket=bucket, Policy="{}"),
        "get": lambda: client.get_object(Bucket=bucket, Key="k"),
    }


@pytest.mark.conformance("s3", "PutBucketAcl")
@pytest.mark.parametrize(
    ("permission", "allowed"),
    [
        ("READ", {"list", "uploads"}),
        ("WRITE", {"put", "delete"}),
        ("READ_ACP", {"read acl"}),
        ("WRITE_ACP", {"write acl"}),
        ("FULL_CONTROL", {"list", "uploads", "put", "delete", "read acl", "write acl"}),
    ],
)
def test_a_grant_on_a_bucket_gives_what_it_says(
    s3: S3Client, shared: str, user: S3Client, user_id: str, permission: str, allowed: set[str]
) -> None:
    s3.put_object(Bucket=shared, Key="k", Body=b"")
    acl = s3.get_bucket_acl(Bucket=shared)
    grant = {"Grantee": {"ID": user_id, "Type": "CanonicalUser"}, "Permission": permission}
    policy = {"Owner": acl["Owner"], "Grants": [*acl["Grants"], grant]}
    s3.put_bucket_acl(Bucket=shared, AccessControlPolicy=policy)
    assert (user_id, permission) in grants_of(s3.get_bucket_acl(Bucket=shared))
    check_allowed(questions(user, shared), allowed)
    if "write acl" not in allowed:
        s3.put_bucket_acl(Bucket=shared, ACL="private")
    check_allowed(questions(user, shared), set())


@pytest.mark.conformance("s3", "PutObjectAcl")
@pytest.mark.parametrize(
    ("permission", "allowed"),
    [
        ("READ", {"get", "head", "copy"}),
        ("WRITE", set()),
        ("READ_ACP", {"read acl"}),
        ("WRITE_ACP", {"write acl"}),
        ("FULL_CONTROL", {"get", "head", "copy", "read acl", "write acl"}),
    ],
)
def test_a_grant_on_an_object_gives_what_it_says(
    s3: S3Client, server: Endpoint, lake: Path, shared: str, permission: str, allowed: set[str]
) -> None:
    signer = make_user(lake, server, allow("s3:PutObject", f"{shared}/copies/*"))
    client = boto3_client(signer)
    header = f"Grant{permission.title().replace('_', '').replace('Acp', 'ACP')}"
    s3.put_object(Bucket=shared, Key="k", Body=b"")
    s3.put_object_acl(Bucket=shared, Key="k", **{header: f'id="{canonical_id(signer.access_key)}"'})
    asks = {
        "get": lambda: client.get_object(Bucket=shared, Key="k"),
        "head": lambda: client.head_object(Bucket=shared, Key="k")["ETag"],
        "copy": lambda: client.copy_object(Bucket=shared, Key="copies/k", CopySource=f"{shared}/k"),
        "put": lambda: client.put_object(Bucket=shared, Key="k", Body=b"new"),
        "delete": lambda: client.delete_object(Bucket=shared, Key="k"),
        "read acl": lambda: client.get_object_acl(Bucket=shared, Key="k"),
        "tags": lambda: client.get_object_tagging(Bucket=shared, Key="k"),
        "write acl": lambda: client.put_object_acl(Bucket=shared, Key="k", ACL="private"),
    }
    if "head" not in allowed:
        del asks["head"]  # refused without a body to read a code from
    check_allowed(asks, allowed)


@pytest.mark.conformance("s3", "PutObjectAcl")
@pytest.mark.parametrize(
    ("name", "for_users", "for_anyone"),
    [("private", False, False), ("authenticated-read", True, False), ("public-read", True, True)],
)
def test_a_canned_acl_lets_in_whom_it_names(
    s3: S3Client, shared: str, user: S3Client, anyone: S3Client, name: str, *, for_users: bool, for_anyone: bool
) -> None:
    s3.put_bucket_acl(Bucket=shared, ACL=name)
    s3.put_object(Bucket=shared, Key="put", Body=b"", ACL=name)
    s3.put_object(Bucket=shared, Key="later", Body=b"")
    s3.put_object_acl(Bucket=shared, Key="later", ACL=name)
    s3.copy_object(Bucket=shared, Key="copied", CopySource=f"{shared}/later", ACL=name)
    upload = s3.create_multipart_upload(Bucket=shared, Key="parts", ACL=name)["UploadId"]
    part = s3.upload_part(Bucket=shared, Key="parts", UploadId=upload, PartNumber=1, Body=b"part")
    parts = {"Parts": [{"PartNumber": 1, "ETag": part["ETag"]}]}
    s3.complete_multipart_upload(Bucket=shared, Key="parts", UploadId=upload, MultipartUpload=parts)
    for client, gets_in in ((user, for_users), (anyone, for_anyone)):
        asks: dict[str, Callable[[], Any]] = {
            key: lambda key=key, client=client: client.get_object(Bucket=shared, Key=key)  # type: ignore[misc]
            for key in ("put", "later", "copied", "parts")
        }
        asks["list"] = lambda client=client: client.list_objects(Bucket=shared)  # type: ignore[misc]
        check_allowed(asks, set(asks) if gets_in else set())
        with refused("AccessDenied", 403):
            client.put_object(Bucket=shared, Key="put", Body=b"new")


@pytest.mark.conformance("s3", "CopyObject")
def test_a_copy_is_private_whatever_its_source_was(s3: S3Client, shared: str, anyone: S3Client) -> None:
    s3.put_object(Bucket=shared, Key="k", Body=b"", ACL="public-read")
    s3.copy_object(Bucket=shared, Key="copy", CopySource=f"{shared}/k")
    s3.copy_object(Bucket=shared, Key="changed", CopySource=f"{shared}/k", MetadataDirective="REPLACE")
    anyone.get_object(Bucket=shared, Key="k")
    for key in ("copy", "changed"):
        with refused("AccessDenied", 403):
            anyone.get_object(Bucket=shared, Key=key)
    s3.put_object(Bucket=shared, Key="k", Body=b"over")
    with refused("AccessDenied", 403):
        anyone.get_object(Bucket=shared, Key="k")


@pytest.mark.conformance("s3", "PutObjectAcl")
def test_each_version_has_an_acl_of_its_own(s3: S3Client, shared: str, anyone: S3Client) -> None:
    s3.put_bucket_versioning(Bucket=shared, VersioningConfiguration={"Status": "Enabled"})
    old = s3.put_object(Bucket=shared, Key="k", Body=b"old")["VersionId"]
    new = s3.put_object(Bucket=shared, Key="k", Body=b"new")["VersionId"]
    s3.put_object_acl(Bucket=shared, Key="k", VersionId=old, ACL="public-read")
    assert anyone.get_object(Bucket=shared, Key="k", VersionId=old)["Body"].read() == b"old"
    for version in ({}, {"VersionId": new}):
        with refused("AccessDenied", 403):
            anyone.get_object(Bucket=shared, Key="k", **version)
    assert len(s3.get_object_acl(Bucket=shared, Key="k", VersionId=old)["Grants"]) == 2
    assert len(s3.get_object_acl(Bucket=shared, Key="k")["Grants"]) == 1


@pytest.mark.conformance("s3", "PutObject")
def test_what_others_write_is_theirs_and_the_owner_of_the_bucket_may_still_delete_it(
    server: Endpoint, lake: Path, bucket_name: str, user: S3Client, user_id: str
) -> None:
    own = allow("s3:*", StringEquals={"s3:ResourceAccount": "${aws:username}"})
    host = boto3_client(make_user(lake, server, allow("s3:CreateBucket"), own))
    host.create_bucket(Bucket=bucket_name, ObjectOwnership="ObjectWriter", ACL="public-read-write")
    user.put_object(Bucket=bucket_name, Key="k", Body=b"theirs")
    assert user.get_object_acl(Bucket=bucket_name, Key="k")["Owner"]["ID"] == user_id
    all_refused(
        "AccessDenied",
        403,
        lambda: host.get_object(Bucket=bucket_name, Key="k"),
        lambda: host.get_object_acl(Bucket=bucket_name, Key="k"),
        lambda: host.put_object_acl(Bucket=bucket_name, Key="k", ACL="private"),
    )
    user.put_object(Bucket=bucket_name, Key="given", Body=b"", ACL="bucket-owner-full-control")
    host.get_object(Bucket=bucket_name, Key="given")
    for key in ("k", "given"):
        host.delete_object(Bucket=bucket_name, Key=key)
    host.delete_bucket(Bucket=bucket_name)


@pytest.mark.conformance("s3", "PutBucketOwnershipControls")
def test_a_preferred_owner_is_given_what_is_written_for_it(
    s3: S3Client, shared: str, user: S3Client, user_id: str
) -> None:
    s3.put_bucket_acl(Bucket=shared, ACL="public-read-write")
    s3.put_bucket_ownership_controls(
        Bucket=shared, OwnershipControls={"Rules": [{"ObjectOwnership": "BucketOwnerPreferred"}]}
    )
    user.put_object(Bucket=shared, Key="mine", Body=b"")
    user.put_object(Bucket=shared, Key="given", Body=b"", ACL="bucket-owner-full-control")
    owners = {key: s3.get_object_acl(Bucket=shared, Key=key)["Owner"]["ID"] for key in ("mine", "given")}
    assert owners == {"mine": user_id, "given": s3.list_buckets()["Owner"]["ID"]}


@pytest.mark.conformance("s3", "PutBucketOwnershipControls")
def test_where_acls_are_switched_off_they_count_for_nothing_and_are_refused(
    s3: S3Client, shared: str, anyone: S3Client
) -> None:
    enforced = {"Rules": [{"ObjectOwnership": "BucketOwnerEnforced"}]}
    s3.put_object(Bucket=shared, Key="k", Body=b"", ACL="public-read")
    s3.put_bucket_acl(Bucket=shared, ACL="public-read")
    with refused("InvalidBucketAclWithObjectOwnership", 400):
        s3.put_bucket_ownership_controls(Bucket=shared, OwnershipControls=enforced)
    anyone.get_object(Bucket=shared, Key="k")
    s3.put_bucket_acl(Bucket=shared, ACL="private")
    s3.put_bucket_ownership_controls(Bucket=shared, OwnershipControls=enforced)
    assert s3.get_bucket_ownership_controls(Bucket=shared)["OwnershipControls"] == enforced
    with refused("AccessDenied", 403):
        anyone.get_object(Bucket=shared, Key="k")
    assert len(s3.get_object_acl(Bucket=shared, Key="k")["Grants"]) == 1
    all_refused(
        "AccessControlListNotSupported",
        400,
        lambda: s3.put_object(Bucket=shared, Key="k", Body=b"", ACL="private"),
        lambda: s3.put_object_acl(Bucket=shared, Key="k", ACL="public-read"),
        lambda: s3.put_bucket_acl(Bucket=shared, ACL="public-read"),
    )
    s3.put_object(Bucket=shared, Key="k", Body=b"", ACL="bucket-owner-full-control")
    s3.delete_bucket_ownership_controls(Bucket=shared)
    with refused("OwnershipControlsNotFoundError", 404):
        s3.get_bucket_ownership_controls(Bucket=shared)


@pytest.mark.conformance("s3", "CreateBucket")
def test_a_new_bucket_with_an_acl_that_cannot_count_is_not_made(s3: S3Client, bucket_name: str) -> None:
    with refused("InvalidBucketAclWithObjectOwnership", 400):
        s3.create_bucket(Bucket=bucket_name, ObjectOwnership="BucketOwnerEnforced", ACL="public-read")
    with refused("AccessControlListNotSupported", 400):
        s3.create_bucket(Bucket=bucket_name, ACL="public-read")
    with refused("InvalidArgument", 400):
        s3.create_bucket(Bucket=bucket_name, ObjectOwnership="Everybody")
    with refused("NoSuchBucket", 404):
        s3.list_objects_v2(Bucket=bucket_name)


@pytest.mark.conformance("s3", "PutPublicAccessBlock")
def test_public_acls_are_refused_or_count_for_nothing(
    s3: S3Client, shared: str, user: S3Client, user_id: str, anyone: S3Client
) -> None:
    s3.put_object(Bucket=shared, Key="k", Body=b"", ACL="public-read")
    s3.put_object(Bucket=shared, Key="named", Body=b"", GrantRead=f"id={user_id}")
    s3.put_public_access_block(Bucket=shared, PublicAccessBlockConfiguration={"BlockPublicAcls": True})
    anyone.get_object(Bucket=shared, Key="k")
    all_refused(
        "AccessDenied",
        403,
        lambda: s3.put_object(Bucket=shared, Key="new", Body=b"", ACL="public-read"),
        lambda: s3.put_object_acl(Bucket=shared, Key="k", GrantRead=f"uri={AUTHENTICATED_USERS}"),
        lambda: s3.put_bucket_acl(Bucket=shared, ACL="public-read-write"),
        lambda: s3.copy_object(Bucket=shared, Key="new", CopySource=f"{shared}/k", ACL="authenticated-read"),
        lambda: s3.create_multipart_upload(Bucket=shared, Key="new", ACL="public-read"),
    )
    s3.put_public_access_block(Bucket=shared, PublicAccessBlockConfiguration={"IgnorePublicAcls": True})
    for client in (anyone, user):
        with refused("AccessDenied", 403):
            client.get_object(Bucket=shared, Key="k")
    user.get_object(Bucket=shared, Key="named")


@pytest.mark.conformance("s3", "PutObject")
def test_who_may_write_by_policy_alone_may_not_let_others_in(server: Endpoint, lake: Path, shared: str) -> None:
    writer = boto3_client(make_user(lake, server, allow("s3:PutObject", f"{shared}/*")))
    for settings in ({"ACL": "public-read"}, {"GrantRead": f"uri={ALL_USERS}"}):
        with refused("AccessDenied", 403):
            writer.put_object(Bucket=shared, Key="k", Body=b"", **settings)
    writer.put_object(Bucket=shared, Key="k", Body=b"", ACL="bucket-owner-full-control")
    sharer = boto3_client(make_user(lake, server, allow(["s3:PutObject", "s3:PutObjectAcl"], f"{shared}/*")))
    sharer.put_object(Bucket=shared, Key="k", Body=b"", ACL="public-read")


@pytest.mark.conformance("s3", "PutObject")
def test_a_key_cut_down_to_writing_may_not_let_others_in_to_what_its_user_owns(
    signer: Endpoint, s3: S3Client, lake: Path, bucket_name: str
) -> None:
    with hosu.open(lake) as opened:
        opened.policies.attach("readwrite", user=signer.access_key)
        whole = opened.keys.create(signer.access_key)
        cut = opened.keys.create(signer.access_key, policy=policy_text(allow("s3:PutObject")))
    owner, writer = (
        boto3_client(dataclasses.replace(signer, access_key=key.access_key, secret_key=key.secret))
        for key in (whole, cut)
    )
    owner.create_bucket(Bucket=bucket_name, ObjectOwnership="ObjectWriter")
    writer.put_object(Bucket=bucket_name, Key="k", Body=b"")
    for settings in ({"ACL": "public-read"}, {"GrantRead": f"uri={ALL_USERS}"}):
        with refused("AccessDenied", 403):
            writer.put_object(Bucket=bucket_name, Key="k", Body=b"", **settings)
        with refused("AccessDenied", 403):
            writer.create_multipart_upload(Bucket=bucket_name, Key="k", **settings)
        owner.put_object(Bucket=bucket_name, Key="k", Body=b"", **settings)
    empty_bucket(s3, bucket_name)
    s3.delete_bucket(Bucket=bucket_name)


@pytest.mark.conformance("s3", "PostObject")
def test_anybody_may_post_to_a_bucket_that_everybody_may_write_to(
    s3: S3Client, server: Endpoint, shared: str, anyone: S3Client
) -> None:
    body, headers = form_body({"key": "k", "acl": "public-read"}, "k", b"posted")
    url = f"{server.url}/{shared}"
    assert send("POST", url, body, headers).status == 403
    s3.put_bucket_acl(Bucket=shared, ACL="public-read-write")
    assert send("POST", url, body, headers).status == 204
    assert anyone.get_object(Bucket=shared, Key="k")["Body"].read() == b"posted"
    assert s3.get_object_acl(Bucket=shared, Key="k")["Owner"]["ID"] == s3.list_buckets()["Owner"]["ID"]


@pytest.mark.conformance("s3", "PutBucketAcl")
@pytest.mark.parametrize(
    ("settings", "code"),
    [
        ({"ACL": "public-ready"}, "InvalidArgument"),
        ({"ACL": "log-delivery-write"}, "NotImplemented"),
        ({"ACL": "private", "GrantRead": f"uri={ALL_USERS}"}, "InvalidRequest"),
        ({"GrantRead": "id=nobody"}, "InvalidArgument"),
        ({"GrantRead": "uri=http://acs.amazonaws.com/groups/s3/LogDelivery"}, "InvalidArgument"),
        ({"GrantRead": "emailAddress=nobody@example.com"}, "UnresolvableGrantByEmailAddress"),
        ({"GrantRead": "nobody"}, "InvalidArgument"),
    ],
    ids=["canned", "of AWS", "two ways", "id", "group", "e-mail", "nothing named"],
)
def test_an_acl_that_is_wrong_is_refused_wherever_it_is_asked_for(
    s3: S3Client, shared: str, settings: dict[str, Any], code: str
) -> None:
    s3.put_object(Bucket=shared, Key="k", Body=b"")
    asks: list[Callable[[], Any]] = [
        lambda: s3.put_bucket_acl(Bucket=shared, **settings),
        lambda: s3.put_object_acl(Bucket=shared, Key="k", **settings),
        lambda: s3.put_object(Bucket=shared, Key="new", Body=b"", **settings),
        lambda: s3.copy_object(Bucket=shared, Key="new", CopySource=f"{shared}/k", **settings),
        lambda: s3.create_multipart_upload(Bucket=shared, Key="new", **settings),
    ]
    for ask in asks:
        with refused(code, 501 if code == "NotImplemented" else 400):
            ask()
    assert s3.list_objects_v2(Bucket=shared)["KeyCount"] == 1
    assert len(s3.get_bucket_acl(Bucket=shared)["Grants"]) == 1


@pytest.mark.conformance("s3", "PutBucketAcl")
def test_an_acl_does_not_change_the_owner_nor_grow_without_end(s3: S3Client, shared: str, user_id: str) -> None:
    acl = s3.get_bucket_acl(Bucket=shared)
    with refused("AccessDenied", 403):
        s3.put_bucket_acl(Bucket=shared, AccessControlPolicy={"Owner": {"ID": user_id}, "Grants": acl["Grants"]})
    with refused("MalformedACLError", 400):
        s3.put_bucket_acl(Bucket=shared, AccessControlPolicy={"Owner": acl["Owner"], "Grants": acl["Grants"] * 101})
    assert s3.get_bucket_acl(Bucket=shared)["Grants"] == acl["Grants"]


def test_an_acl_that_comes_late_is_not_put_on_what_took_the_objects_place(
    s3: S3Client, server: Endpoint, shared: str, signer: Endpoint, user: S3Client, anyone: S3Client
) -> None:
    s3.put_bucket_acl(Bucket=shared, ACL="public-read-write")
    user.put_object(Bucket=shared, Key="k", Body=b"theirs")
    path, body = f"/{shared}/k?acl", PUBLIC_ACL
    head = signed_headers(signer, "PUT", path, body, {"Expect": "100-continue", "Content-Length": str(len(body))})
    host, _, port = server.host.partition(":")
    with socket.create_connection((host, int(port)), timeout=10) as connection:
        lines = [f"PUT {path} HTTP/1.1", f"Host: {server.host}", *(f"{name}: {head[name]}" for name in head)]
        connection.sendall("\r\n".join([*lines, "", ""]).encode())
        assert connection.recv(100).startswith(b"HTTP/1.1 100 ")
        s3.put_object(Bucket=shared, Key="k", Body=b"not theirs")
        connection.sendall(body)
        assert connection.recv(4096).startswith(b"HTTP/1.1 503 ")
    with refused("AccessDenied", 403):
        anyone.get_object(Bucket=shared, Key="k")
    with refused("AccessDenied", 403):
        user.get_object_acl(Bucket=shared, Key="k")


@pytest.mark.conformance("s3", "PutBucketAcl")
def test_a_deny_counts_more_than_an_acl(s3: S3Client, shared: str, user: S3Client, anyone: S3Client) -> None:
    s3.put_object(Bucket=shared, Key="k", Body=b"", ACL="public-read")
    denial = allow("s3:GetObject", f"{shared}/*") | {"Effect": "Deny", "Principal": "*"}
    s3.put_bucket_policy(Bucket=shared, Policy=policy_text(denial))
    for client in (user, anyone):
        with refused("AccessDenied", 403):
            client.get_object(Bucket=shared, Key="k")
    s3.delete_bucket_policy(Bucket=shared)
    anyone.get_object(Bucket=shared, Key="k")

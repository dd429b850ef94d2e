"""Protected prefixes over S3: whoever lacks the action of its own changes nothing below one, by no way of writing."""

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import urllib3
from botocore.exceptions import ClientError
from tests.support.clients import S3Client, boto3_client, refused
from tests.support.http import error_of, form_body, send, signed_headers, xml_of
from tests.support.server import Endpoint
from tests.support.users import allow, for_everyone, make_user, policy_text

import hosu
from hosu.objects.protected import CHANGE_PROTECTED, ProtectedPrefix
from hosu.objects.read import find_with_blob
from hosu.objects.transaction import Tx
from hosu.rules.protection import protect, unprotect

KEY = "models/production/best.pt"


@pytest.fixture
def protected(s3: S3Client, bucket: str, lake: Path) -> Iterator[str]:
    s3.put_object(Bucket=bucket, Key=KEY, Body=b"model")
    with hosu.open(lake) as opened:
        opened.store.commit(partial(protect, entry=ProtectedPrefix(bucket, "models/production/")))
        yield bucket
        opened.store.commit(partial(unprotect, bucket=bucket, prefix="models/production/"))


@pytest.fixture
def service(server: Endpoint, lake: Path) -> S3Client:
    """Hand over a client that may do all that S3 knows."""
    return boto3_client(make_user(lake, server, allow("s3:*")))


def changes(client: S3Client, bucket: str) -> dict[str, Any]:
    """Return every way to remove or replace the object."""
    presigned = client.generate_presigned_url("delete_object", Params={"Bucket": bucket, "Key": KEY})
    form = client.generate_presigned_post(bucket, KEY)
    return {
        "put": lambda: client.put_object(Bucket=bucket, Key=KEY, Body=b"other"),
        "large put": lambda: client.put_object(Bucket=bucket, Key=KEY, Body=b"other" * 100_000),
        "delete": lambda: client.delete_object(Bucket=bucket, Key=KEY),
        "delete version": lambda: client.delete_object(Bucket=bucket, Key=KEY, VersionId="null"),
        "copy": lambda: client.copy_object(Bucket=bucket, Key=KEY, CopySource=f"{bucket}/other"),
        "parts": lambda: in_parts(client, bucket),
        "presigned": lambda: raise_for(send("DELETE", presigned)),
        "form": lambda: raise_for(send("POST", form["url"], *form_body(form["fields"], "best.pt", b"other"))),
    }


def raise_for(answer: urllib3.BaseHTTPResponse) -> None:
    """Raise what boto3 would."""
    if answer.status >= 300:
        code, message = (xml_of(answer).findtext(f"{{*}}{name}") for name in ("Code", "Message"))
        said: Any = {
            "Error": {"Code": code, "Message": message},
            "ResponseMetadata": {"HTTPStatusCode": answer.status, "HTTPHeaders": dict(answer.headers)},
        }
        raise ClientError(said, "raw")


def in_parts(client: S3Client, bucket: str) -> None:
    upload = client.create_multipart_upload(Bucket=bucket, Key=KEY)["UploadId"]
    etag = client.upload_part(Bucket=bucket, Key=KEY, UploadId=upload, PartNumber=1, Body=b"a")["ETag"]
    try:
        client.complete_multipart_upload(
            Bucket=bucket, Key=KEY, UploadId=upload, MultipartUpload={"Parts": [{"ETag": etag, "PartNumber": 1}]}
        )
    except Exception:
        client.abort_multipart_upload(Bucket=bucket, Key=KEY, UploadId=upload)
        raise


@pytest.mark.parametrize("versioning", ["", "Enabled"])
def test_a_service_that_may_do_everything_of_s3_s_changes_nothing_there(
    s3: S3Client, service: S3Client, protected: str, versioning: str
) -> None:
    if versioning:
        s3.put_bucket_versioning(Bucket=protected, VersioningConfiguration={"Status": "Enabled"})
    service.put_object(Bucket=protected, Key="other", Body=b"other")
    for way, change in changes(service, protected).items():
        with refused("AccessDenied", 403) as refusal:
            change()
        assert CHANGE_PROTECTED in str(refusal.value), way
    outcome = service.delete_objects(Bucket=protected, Delete={"Objects": [{"Key": KEY}, {"Key": "other"}]})
    assert [it["Code"] for it in outcome["Errors"]] == ["AccessDenied"]
    assert [it["Key"] for it in outcome["Deleted"]] == ["other"]
    assert service.get_object(Bucket=protected, Key=KEY)["Body"].read() == b"model"
    new = KEY.replace("best", "new")
    service.put_object(Bucket=protected, Key=new, Body=b"new")
    service.put_object_tagging(Bucket=protected, Key=KEY, Tagging={"TagSet": [{"Key": "a", "Value": "b"}]})
    s3.delete_object(Bucket=protected, Key=new)  # root may


@pytest.mark.parametrize(
    ("actions", "may"), [(CHANGE_PROTECTED, True), ("hosu:*", True), ("*", True), ("s3:PutObject", False)]
)
def test_the_right_is_given_by_its_own_name(
    server: Endpoint,
    lake: Path,
    protected: str,
    actions: str,
    may: bool,  # noqa: FBT001 - a parameter
) -> None:
    client = boto3_client(
        make_user(lake, server, allow(["s3:PutObject"], f"{protected}/*"), allow(actions, f"{protected}/models/*"))
    )
    if may:
        client.put_object(Bucket=protected, Key=KEY, Body=b"new")
        return
    with refused("AccessDenied", 403):
        client.put_object(Bucket=protected, Key=KEY, Body=b"new")


def test_the_right_holds_where_its_resource_says(server: Endpoint, lake: Path, protected: str) -> None:
    client = boto3_client(
        make_user(lake, server, allow("s3:*"), allow(CHANGE_PROTECTED, f"{protected}/models/training/*"))
    )
    with refused("AccessDenied", 403):
        client.delete_object(Bucket=protected, Key=KEY)


@pytest.mark.parametrize("is_many", [False, True])
@pytest.mark.parametrize("version_id", [None, "null"])
def test_the_right_is_withheld_by_the_tags_of_each_object(
    s3: S3Client,
    server: Endpoint,
    lake: Path,
    protected: str,
    version_id: str | None,
    is_many: bool,  # noqa: FBT001 - a parameter
) -> None:
    s3.put_object_tagging(Bucket=protected, Key=KEY, Tagging={"TagSet": [{"Key": "keep", "Value": "yes"}]})
    denied = allow(CHANGE_PROTECTED, StringEquals={"s3:ExistingObjectTag/keep": "yes"}) | {"Effect": "Deny"}
    client = boto3_client(make_user(lake, server, allow(["s3:*", CHANGE_PROTECTED]), denied))
    named: Any = {"Key": KEY} | ({"VersionId": version_id} if version_id else {})
    if is_many:
        (error,) = client.delete_objects(Bucket=protected, Delete={"Objects": [named]})["Errors"]
        assert error["Code"] == "AccessDenied"
    else:
        with refused("AccessDenied", 403):
            client.delete_object(Bucket=protected, **named)
    assert s3.get_object(Bucket=protected, Key=KEY)["Body"].read() == b"model"


def test_a_bucket_policy_cannot_give_the_right(s3: S3Client, protected: str) -> None:
    policy = policy_text(for_everyone(allow(CHANGE_PROTECTED, f"{protected}/*")))
    with refused("MalformedPolicy", 400):
        s3.put_bucket_policy(Bucket=protected, Policy=policy)


def test_a_bucket_with_a_protected_prefix_stays(s3: S3Client, protected: str) -> None:
    s3.delete_object(Bucket=protected, Key=KEY)
    with refused("AccessDenied", 403):
        s3.delete_bucket(Bucket=protected)


def damage_quietly(lake: Path, bucket: str, key: str) -> None:
    """Change a byte of an object such that neither its file's times nor its record tell."""
    with hosu.open(lake) as opened:
        store = opened.store
        _, blob = find_with_blob(store.view(), bucket, key)
        assert blob is not None
        ctime_ns, body = blob.ctime_ns, blob.body
        if body is None:
            path = store.files.path(blob.id)
            with path.open("r+b") as file:
                file.write(b"X")
            ctime_ns = path.stat().st_ctime_ns
        else:
            body = b"X" + body[1:]

        def damage(tx: Tx) -> None:
            tx.run("UPDATE blob SET ctime_ns = ?, body = ? WHERE id = ?", (ctime_ns, body, blob.id))

        store.commit(damage)


@pytest.mark.parametrize("size", [5, 300_000], ids=["small", "large"])
def test_what_is_protected_is_looked_at_before_its_first_byte_leaves(
    s3: S3Client, server: Endpoint, protected: str, lake: Path, size: int
) -> None:
    bodies = {f"models/production/{size}": b"p" * size, f"other/{size}": b"o" * size}
    for key, body in bodies.items():
        s3.put_object(Bucket=protected, Key=key, Body=body)
        damage_quietly(lake, protected, key)
    inside, outside = bodies

    def got(key: str, wanted: dict[str, str]) -> urllib3.BaseHTTPResponse:
        path = f"/{protected}/{key}"
        return send("GET", server.url + path, headers=signed_headers(server, "GET", path, headers=wanted))

    for wanted in ({}, {"Range": "bytes=2-3"}):
        assert error_of(got(inside, wanted)) == (500, "InternalError")
    assert got(outside, {}).data == b"X" + bodies[outside][1:], "else this shows nothing: it is within its window"


def test_protected_objects_are_read_whole_and_in_part(s3: S3Client, protected: str) -> None:
    body = bytes(range(256)) * 3_000
    s3.put_object(Bucket=protected, Key="models/production/large", Body=body)
    for _ in range(2):
        assert s3.get_object(Bucket=protected, Key="models/production/large")["Body"].read() == body
        part = s3.get_object(Bucket=protected, Key="models/production/large", Range="bytes=1000-1999")
        assert part["Body"].read() == body[1000:2000]
        assert s3.get_object(Bucket=protected, Key=KEY)["Body"].read() == b"model"

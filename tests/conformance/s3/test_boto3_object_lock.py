"""Object lock as stock clients set it, see it and run into it."""

import base64
import hashlib
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import minio
import pytest
from minio.commonconfig import GOVERNANCE as MINIO_GOVERNANCE
from minio.objectlockconfig import DAYS, ObjectLockConfig
from minio.retention import Retention
from tests.support.clients import S3Client, boto3_client, refused
from tests.support.http import error_of, form_body, send, signed_headers
from tests.support.server import Endpoint
from tests.support.users import allow, make_user

from hosu.server.s3.signing import presign

SOON = datetime.now(UTC).replace(microsecond=0) + timedelta(days=2)
LATER = SOON + timedelta(days=1)


@pytest.fixture
def vault(s3: S3Client, bucket: str) -> Iterator[str]:
    """Make a bucket with object lock, and unlock what tests left in it so that it can go."""
    name = f"{bucket}-vault"
    s3.create_bucket(Bucket=name, ObjectLockEnabledForBucket=True)
    yield name
    for version in s3.list_object_versions(Bucket=name).get("Versions", []):
        named = {"Bucket": name, "Key": version["Key"], "VersionId": version["VersionId"]}
        s3.put_object_legal_hold(**named, LegalHold={"Status": "OFF"})
        s3.delete_object(**named, BypassGovernanceRetention=True)
    for marker in s3.list_object_versions(Bucket=name).get("DeleteMarkers", []):
        s3.delete_object(Bucket=name, Key=marker["Key"], VersionId=marker["VersionId"])
    s3.delete_bucket(Bucket=name)


def governed(until: datetime = SOON) -> dict[str, Any]:
    return {"ObjectLockMode": "GOVERNANCE", "ObjectLockRetainUntilDate": until}


@pytest.mark.conformance("s3", "PutObjectLockConfiguration")
@pytest.mark.conformance("s3", "GetObjectLockConfiguration")
def test_a_default_retention_holds_for_new_versions(s3: S3Client, vault: str) -> None:
    assert s3.get_object_lock_configuration(Bucket=vault)["ObjectLockConfiguration"] == {"ObjectLockEnabled": "Enabled"}
    rule = {"DefaultRetention": {"Mode": "GOVERNANCE", "Days": 1}}
    wanted = {"ObjectLockEnabled": "Enabled", "Rule": rule}
    s3.put_object_lock_configuration(Bucket=vault, ObjectLockConfiguration=wanted)
    assert s3.get_object_lock_configuration(Bucket=vault)["ObjectLockConfiguration"] == wanted
    put = s3.put_object(Bucket=vault, Key="a", Body=b"a")
    head = s3.head_object(Bucket=vault, Key="a")
    assert head["ObjectLockMode"] == "GOVERNANCE"
    assert timedelta(hours=23) < head["ObjectLockRetainUntilDate"] - datetime.now(UTC) <= timedelta(days=1)
    with refused("AccessDenied", 403):
        s3.delete_object(Bucket=vault, Key="a", VersionId=put["VersionId"])


@pytest.mark.conformance("s3", "PutObject")
@pytest.mark.conformance("s3", "CopyObject")
@pytest.mark.conformance("s3", "CompleteMultipartUpload")
def test_every_way_to_write_takes_a_lock(s3: S3Client, vault: str) -> None:
    lock: Any = governed() | {"ObjectLockLegalHoldStatus": "ON"}
    s3.put_object(Bucket=vault, Key="put", Body=b"a", **lock)
    s3.copy_object(Bucket=vault, Key="copy", CopySource=f"{vault}/put", **lock)
    upload = s3.create_multipart_upload(Bucket=vault, Key="parts", **lock)["UploadId"]
    etag = s3.upload_part(Bucket=vault, Key="parts", UploadId=upload, PartNumber=1, Body=b"a")["ETag"]
    s3.complete_multipart_upload(
        Bucket=vault, Key="parts", UploadId=upload, MultipartUpload={"Parts": [{"ETag": etag, "PartNumber": 1}]}
    )
    s3.copy_object(Bucket=vault, Key="plain", CopySource=f"{vault}/put")
    for key in ("put", "copy", "parts"):
        for found in (s3.head_object(Bucket=vault, Key=key), s3.get_object(Bucket=vault, Key=key)):
            assert {name: found[name] for name in lock} == lock
    assert "ObjectLockMode" not in s3.head_object(Bucket=vault, Key="plain")


@pytest.mark.conformance("s3", "PutObjectRetention")
@pytest.mark.conformance("s3", "GetObjectRetention")
@pytest.mark.conformance("s3", "DeleteObjects")
def test_a_retention_refuses_deletes_one_by_one_and_its_bypass_needs_asking_for(s3: S3Client, vault: str) -> None:
    kept = s3.put_object(Bucket=vault, Key="kept", Body=b"1")["VersionId"]
    free = s3.put_object(Bucket=vault, Key="free", Body=b"1")["VersionId"]
    with refused("NoSuchObjectLockConfiguration", 404):
        s3.get_object_retention(Bucket=vault, Key="kept")
    retention: Any = {"Mode": "GOVERNANCE", "RetainUntilDate": SOON}
    s3.put_object_retention(Bucket=vault, Key="kept", Retention=retention)
    assert s3.get_object_retention(Bucket=vault, Key="kept", VersionId=kept)["Retention"] == retention
    objects: Any = [{"Key": "kept", "VersionId": kept}, {"Key": "free", "VersionId": free}]
    outcome = s3.delete_objects(Bucket=vault, Delete={"Objects": objects})
    assert [it["VersionId"] for it in outcome["Deleted"]] == [free]
    assert [(it["Code"], it["VersionId"]) for it in outcome["Errors"]] == [("AccessDenied", kept)]
    outcome = s3.delete_objects(Bucket=vault, Delete={"Objects": objects[:1]}, BypassGovernanceRetention=True)
    assert [it["VersionId"] for it in outcome["Deleted"]] == [kept]


@pytest.mark.conformance("s3", "PutObjectRetention")
def test_an_empty_retention_clears_one_under_governance_with_the_bypass(s3: S3Client, vault: str) -> None:
    s3.put_object(Bucket=vault, Key="a", Body=b"1", **governed())
    empty: Any = {}
    with refused("AccessDenied", 403):
        s3.put_object_retention(Bucket=vault, Key="a", Retention=empty)
    s3.put_object_retention(Bucket=vault, Key="a", Retention=empty, BypassGovernanceRetention=True)
    assert "ObjectLockMode" not in s3.head_object(Bucket=vault, Key="a")


@pytest.mark.conformance("s3", "PutObjectLegalHold")
@pytest.mark.conformance("s3", "GetObjectLegalHold")
def test_a_legal_hold_stays_until_it_is_taken_off(s3: S3Client, vault: str) -> None:
    version = s3.put_object(Bucket=vault, Key="a", Body=b"1")["VersionId"]
    with refused("NoSuchObjectLockConfiguration", 404):
        s3.get_object_legal_hold(Bucket=vault, Key="a")
    s3.put_object_legal_hold(Bucket=vault, Key="a", LegalHold={"Status": "ON"})
    assert s3.get_object_legal_hold(Bucket=vault, Key="a")["LegalHold"] == {"Status": "ON"}
    with refused("AccessDenied", 403):
        s3.delete_object(Bucket=vault, Key="a", VersionId=version, BypassGovernanceRetention=True)


def test_what_may_be_known_and_done_is_a_matter_of_policies(
    s3: S3Client, vault: str, server: Endpoint, lake: Path
) -> None:
    version = s3.put_object(Bucket=vault, Key="a", Body=b"1", **governed(), ObjectLockLegalHoldStatus="OFF")[
        "VersionId"
    ]
    objects = ["s3:GetObject", "s3:PutObject", "s3:DeleteObjectVersion"]
    plain = boto3_client(make_user(lake, server, allow(objects, f"{vault}/*")))
    seeing = boto3_client(make_user(lake, server, allow([*objects, "s3:GetObjectRetention"], f"{vault}/*")))
    passing = boto3_client(make_user(lake, server, allow([*objects, "s3:BypassGovernanceRetention"], f"{vault}/*")))
    assert "ObjectLockMode" not in plain.head_object(Bucket=vault, Key="a")
    seen = seeing.head_object(Bucket=vault, Key="a")
    assert seen["ObjectLockMode"] == "GOVERNANCE"
    assert "ObjectLockLegalHoldStatus" not in seen
    refusals: list[Callable[[], Any]] = [
        lambda: plain.put_object(Bucket=vault, Key="b", Body=b"", **governed()),
        lambda: plain.put_object(Bucket=vault, Key="b", Body=b"", ObjectLockLegalHoldStatus="ON"),
        lambda: plain.put_object_legal_hold(Bucket=vault, Key="a", LegalHold={"Status": "ON"}),
        lambda: plain.delete_object(Bucket=vault, Key="a", VersionId=version, BypassGovernanceRetention=True),
        lambda: passing.delete_object(Bucket=vault, Key="a", VersionId=version),
    ]
    for refuse in refusals:
        with refused("AccessDenied", 403):
            refuse()
    passing.delete_object(Bucket=vault, Key="a", VersionId=version, BypassGovernanceRetention=True)


def test_conditions_see_what_lock_is_asked_for(vault: str, server: Endpoint, lake: Path) -> None:
    bounds: Any = {
        "StringEquals": {"s3:object-lock-mode": "GOVERNANCE"},
        "NumericLessThanEquals": {"s3:object-lock-remaining-retention-days": "2"},
    }
    user = make_user(
        lake,
        server,
        allow("s3:PutObject", f"{vault}/*"),
        allow("s3:PutObjectRetention", f"{vault}/*", **bounds),
    )
    client = boto3_client(user)
    client.put_object(Bucket=vault, Key="a", Body=b"", **governed())
    client.put_object_retention(Bucket=vault, Key="a", Retention={"Mode": "GOVERNANCE", "RetainUntilDate": LATER})
    for mode, until in (("GOVERNANCE", LATER + timedelta(days=2)), ("COMPLIANCE", SOON)):
        with refused("AccessDenied", 403):
            client.put_object(
                Bucket=vault,
                Key="b",
                Body=b"",
                ObjectLockMode=mode,
                ObjectLockRetainUntilDate=until,
            )
        with refused("AccessDenied", 403):
            client.put_object_retention(
                Bucket=vault,
                Key="a",
                Retention={"Mode": mode, "RetainUntilDate": until},
            )


@pytest.mark.parametrize(
    ("headers", "code"),
    [
        ({"x-amz-object-lock-mode": "GOVERNANCE"}, "InvalidArgument"),
        ({"x-amz-object-lock-retain-until-date": "2099-01-01T00:00:00Z"}, "InvalidArgument"),
        (
            {"x-amz-object-lock-mode": "gov", "x-amz-object-lock-retain-until-date": "2099-01-01T00:00:00Z"},
            "InvalidArgument",
        ),
        ({"x-amz-object-lock-mode": "GOVERNANCE", "x-amz-object-lock-retain-until-date": "2099"}, "InvalidArgument"),
        (
            {"x-amz-object-lock-mode": "GOVERNANCE", "x-amz-object-lock-retain-until-date": "2001-01-01T00:00:00Z"},
            "InvalidArgument",
        ),
        (
            {
                "x-amz-object-lock-mode": "GOVERNANCE",
                "x-amz-object-lock-retain-until-date": "9999-12-31T23:59:59-12:00",
            },
            "InvalidArgument",
        ),
        ({"x-amz-object-lock-legal-hold": "on"}, "InvalidArgument"),
    ],
)
def test_locks_that_cannot_be_are_refused_and_store_nothing(
    server: Endpoint, s3: S3Client, vault: str, headers: dict[str, str], code: str
) -> None:
    target = f"/{vault}/refused"
    answer = send("PUT", server.url + target, b"x", signed_headers(server, "PUT", target, b"x", headers))
    assert error_of(answer) == (400, code)
    assert s3.list_objects_v2(Bucket=vault)["KeyCount"] == 0


def test_a_bucket_is_made_with_object_lock_or_gets_it_with_versions_on(s3: S3Client, vault: str, bucket: str) -> None:
    assert s3.get_bucket_versioning(Bucket=vault)["Status"] == "Enabled"
    configuration: Any = {"ObjectLockEnabled": "Enabled"}
    with refused("InvalidBucketState", 409):
        s3.put_object_lock_configuration(Bucket=bucket, ObjectLockConfiguration=configuration)
    with refused("ObjectLockConfigurationNotFoundError", 404):
        s3.get_object_lock_configuration(Bucket=bucket)
    with refused("InvalidRequest", 400):
        s3.put_object(Bucket=bucket, Key="a", Body=b"", **governed())
    s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
    s3.put_object_lock_configuration(Bucket=bucket, ObjectLockConfiguration=configuration)
    for name in (bucket, vault):
        with refused("InvalidBucketState", 409):
            s3.put_bucket_versioning(Bucket=name, VersioningConfiguration={"Status": "Suspended"})
    with refused("BucketAlreadyExists", 409):
        other = f"{bucket}-plain"
        s3.create_bucket(Bucket=other)
        s3.create_bucket(Bucket=other, ObjectLockEnabledForBucket=True)


def test_minio_s_own_client_sets_and_clears_all_of_it(server: Endpoint, vault: str) -> None:
    client = minio.Minio(server.host, server.access_key, server.secret_key, secure=False, region=server.region)
    client.set_object_lock_config(vault, ObjectLockConfig(MINIO_GOVERNANCE, 1, DAYS))
    found = client.get_object_lock_config(vault)
    assert (found.mode, found.duration, found.duration_unit) == (MINIO_GOVERNANCE, 1, DAYS)
    client.delete_object_lock_config(vault)
    assert client.get_object_lock_config(vault).mode is None
    client.fput_object(vault, "a", __file__, retention=Retention(MINIO_GOVERNANCE, SOON), legal_hold=True)
    retention = client.get_object_retention(vault, "a")
    assert retention is not None
    assert (retention.mode, retention.retain_until_date) == (MINIO_GOVERNANCE, SOON)
    assert client.is_object_legal_hold_enabled(vault, "a")
    client.disable_object_legal_hold(vault, "a")
    assert not client.is_object_legal_hold_enabled(vault, "a")


def test_a_form_from_a_browser_takes_a_lock(server: Endpoint, s3: S3Client, vault: str) -> None:
    fields = {
        "x-amz-object-lock-mode": "GOVERNANCE",
        "x-amz-object-lock-retain-until-date": f"{SOON:%Y-%m-%dT%H:%M:%SZ}",
    }
    conditions = [{name: value} for name, value in fields.items()]
    form = s3.generate_presigned_post(vault, "form", Fields=fields, Conditions=conditions)
    body, headers = form_body(form["fields"], "form", b"bytes")
    answer = send("POST", f"{server.url}/{vault}", body, headers)
    assert answer.status == 204, answer.data
    assert s3.head_object(Bucket=vault, Key="form")["ObjectLockRetainUntilDate"] == SOON


def test_a_presigned_url_may_hold_the_lock_in_its_query(server: Endpoint, s3: S3Client, vault: str) -> None:
    path = f"/{vault}/presigned".encode()
    lock = f"x-amz-object-lock-mode=GOVERNANCE&x-amz-object-lock-retain-until-date={SOON:%Y-%m-%dT%H%%3A%M%%3A%SZ}"
    query = presign(
        "PUT", path, lock.encode(), {b"host": server.host.encode()}, server.access_key, server.secret_key,
        round(datetime.now(UTC).timestamp() * 1000), expires_s=60, region=server.region,
    )  # fmt: skip
    digest = {"Content-MD5": base64.b64encode(hashlib.md5(b"bytes").digest()).decode()}
    answer = send("PUT", f"{server.url}/{vault}/presigned?{query.decode()}", b"bytes", digest)
    assert answer.status == 200, answer.data
    assert s3.head_object(Bucket=vault, Key="presigned")["ObjectLockRetainUntilDate"] == SOON


def test_a_part_takes_no_lock_of_its_own(server: Endpoint, s3: S3Client, vault: str) -> None:
    upload = s3.create_multipart_upload(Bucket=vault, Key="parts")["UploadId"]
    target = f"/{vault}/parts?partNumber=1&uploadId={upload}"
    headers = {"x-amz-object-lock-legal-hold": "ON"}
    answer = send("PUT", server.url + target, b"x", signed_headers(server, "PUT", target, b"x", headers))
    assert error_of(answer) == (501, "NotImplemented")
    s3.abort_multipart_upload(Bucket=vault, Key="parts", UploadId=upload)

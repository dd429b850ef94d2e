"""Versions and delete markers through boto3."""

import pytest
from tests.support.clients import S3Client, keys_of, race, refused, refused_head


def put(s3: S3Client, bucket: str, body: bytes, key: str = "k") -> str:
    version: str = s3.put_object(Bucket=bucket, Key=key, Body=body)["VersionId"]
    return version


def body_of(s3: S3Client, bucket: str, version: str | None = None) -> bytes:
    body: bytes = s3.get_object(Bucket=bucket, Key="k", **({"VersionId": version} if version else {}))["Body"].read()
    return body


@pytest.mark.conformance("s3", "GetObject")
def test_every_version_stays_readable(s3: S3Client, versioned: str) -> None:
    versions = [put(s3, versioned, body) for body in (b"one", b"two", b"three")]
    assert len(set(versions)) == 3
    assert [body_of(s3, versioned, version) for version in versions] == [b"one", b"two", b"three"]
    assert body_of(s3, versioned) == b"three"
    assert s3.head_object(Bucket=versioned, Key="k", VersionId=versions[0])["VersionId"] == versions[0]


@pytest.mark.conformance("s3", "DeleteObject")
def test_a_deletion_adds_a_marker_that_can_be_removed(s3: S3Client, versioned: str) -> None:
    version = put(s3, versioned, b"one")
    marker = s3.delete_object(Bucket=versioned, Key="k")
    assert (marker["DeleteMarker"], marker["VersionId"] != version) == (True, True)
    assert keys_of(s3.list_objects_v2(Bucket=versioned)) == []
    with refused("NoSuchKey", 404) as refusal:
        body_of(s3, versioned)
    headers = refusal.value.response["ResponseMetadata"]["HTTPHeaders"]
    assert (headers["x-amz-delete-marker"], headers["x-amz-version-id"]) == ("true", marker["VersionId"])
    assert body_of(s3, versioned, version) == b"one"
    undone = s3.delete_object(Bucket=versioned, Key="k", VersionId=marker["VersionId"])
    assert (undone["DeleteMarker"], undone["VersionId"]) == (True, marker["VersionId"])
    assert body_of(s3, versioned) == b"one"


@pytest.mark.conformance("s3", "GetObject")
def test_a_delete_marker_cannot_be_read_by_its_version(s3: S3Client, versioned: str) -> None:
    put(s3, versioned, b"one")
    marker = s3.delete_object(Bucket=versioned, Key="k")["VersionId"]
    with refused("MethodNotAllowed", 405):
        body_of(s3, versioned, marker)
    with refused_head(405):
        s3.head_object(Bucket=versioned, Key="k", VersionId=marker)


@pytest.mark.conformance("s3", "DeleteObject")
def test_removing_the_newest_version_shows_the_one_before(s3: S3Client, versioned: str) -> None:
    old, new = put(s3, versioned, b"old"), put(s3, versioned, b"new")
    assert s3.delete_object(Bucket=versioned, Key="k", VersionId=new)["VersionId"] == new
    assert (body_of(s3, versioned), s3.head_object(Bucket=versioned, Key="k")["VersionId"]) == (b"old", old)
    with refused("NoSuchVersion", 404):
        body_of(s3, versioned, new)


@pytest.mark.conformance("s3", "DeleteObjects")
def test_many_versions_go_at_once(s3: S3Client, versioned: str) -> None:
    old, new = put(s3, versioned, b"old"), put(s3, versioned, b"new")
    put(s3, versioned, b"other", key="other")
    doomed = [{"Key": "k", "VersionId": old}, {"Key": "k", "VersionId": new}, {"Key": "other"}]
    deleted = s3.delete_objects(Bucket=versioned, Delete={"Objects": doomed})["Deleted"]
    assert [entry["DeleteMarker"] for entry in deleted if entry["Key"] == "other"] == [True]
    assert {entry["VersionId"] for entry in deleted if entry["Key"] == "k"} == {old, new}
    listing = s3.list_object_versions(Bucket=versioned)
    assert [entry["Key"] for entry in listing["Versions"]] == ["other"]
    assert [entry["Key"] for entry in listing["DeleteMarkers"]] == ["other"]


@pytest.mark.conformance("s3", "PutBucketVersioning")
def test_an_object_from_before_versioning_is_the_null_version(s3: S3Client, bucket: str) -> None:
    assert "VersionId" not in s3.put_object(Bucket=bucket, Key="k", Body=b"before")
    s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
    put(s3, bucket, b"after")
    assert body_of(s3, bucket, "null") == b"before"
    versions = [entry["VersionId"] for entry in s3.list_object_versions(Bucket=bucket)["Versions"]]
    assert (versions[1], len(versions)) == ("null", 2)


@pytest.mark.conformance("s3", "PutBucketVersioning")
def test_a_suspended_bucket_overwrites_only_its_null_version(s3: S3Client, versioned: str) -> None:
    kept = put(s3, versioned, b"kept")
    s3.put_bucket_versioning(Bucket=versioned, VersioningConfiguration={"Status": "Suspended"})
    s3.put_object(Bucket=versioned, Key="k", Body=b"null one")
    s3.put_object(Bucket=versioned, Key="k", Body=b"null two")
    versions = [entry["VersionId"] for entry in s3.list_object_versions(Bucket=versioned)["Versions"]]
    assert versions == ["null", kept]
    assert body_of(s3, versioned) == b"null two"
    assert s3.delete_object(Bucket=versioned, Key="k")["VersionId"] == "null"
    listing = s3.list_object_versions(Bucket=versioned)
    assert [entry["VersionId"] for entry in listing["Versions"]] == [kept]
    assert [entry["VersionId"] for entry in listing["DeleteMarkers"]] == ["null"]


@pytest.mark.conformance("s3", "GetObject")
def test_a_version_that_is_not_one_is_refused(s3: S3Client, versioned: str) -> None:
    put(s3, versioned, b"one")
    with refused("InvalidArgument", 400):
        body_of(s3, versioned, "not-a-version")
    with refused("NoSuchVersion", 404):
        body_of(s3, versioned, "0" * 32)


@pytest.mark.conformance("s3", "DeleteObject")
def test_a_deletion_of_a_version_that_is_not_one_is_refused(s3: S3Client, versioned: str) -> None:
    put(s3, versioned, b"one")
    with refused("InvalidArgument", 400):
        s3.delete_object(Bucket=versioned, Key="k", VersionId="not-a-version")
    doomed = [{"Key": "k", "VersionId": "not-a-version"}, {"Key": "k", "VersionId": "0" * 32}]
    answer = s3.delete_objects(Bucket=versioned, Delete={"Objects": doomed})
    assert [entry["Code"] for entry in answer["Errors"]] == ["InvalidArgument"]
    assert [entry["VersionId"] for entry in answer["Deleted"]] == ["0" * 32]
    assert body_of(s3, versioned) == b"one"


@pytest.mark.conformance("s3", "CopyObject")
def test_a_copy_of_an_old_version_makes_it_current_again(s3: S3Client, versioned: str) -> None:
    old = put(s3, versioned, b"old")
    put(s3, versioned, b"new")
    source = {"Bucket": versioned, "Key": "k", "VersionId": old}
    answer = s3.copy_object(Bucket=versioned, Key="k", CopySource=source)
    assert (answer["CopySourceVersionId"], body_of(s3, versioned)) == (old, b"old")
    assert len(s3.list_object_versions(Bucket=versioned)["Versions"]) == 3


@pytest.mark.conformance("s3", "PutObjectTagging")
def test_tags_belong_to_a_version(s3: S3Client, versioned: str) -> None:
    old, new = put(s3, versioned, b"old"), put(s3, versioned, b"new")
    tags = [{"Key": "state", "Value": "archived"}]
    s3.put_object_tagging(Bucket=versioned, Key="k", VersionId=old, Tagging={"TagSet": tags})
    assert s3.get_object_tagging(Bucket=versioned, Key="k", VersionId=old)["TagSet"] == tags
    assert s3.get_object_tagging(Bucket=versioned, Key="k", VersionId=new)["TagSet"] == []


@pytest.mark.conformance("s3", "PutObject")
def test_writers_at_once_each_leave_a_version_and_one_is_latest(s3: S3Client, versioned: str) -> None:
    versions = race(8, lambda number: put(s3, versioned, bytes([number])))
    listed = s3.list_object_versions(Bucket=versioned)["Versions"]
    assert {entry["VersionId"] for entry in listed} == set(versions)
    assert [entry["IsLatest"] for entry in listed] == [True] + [False] * 7
    assert body_of(s3, versioned) == bytes([versions.index(listed[0]["VersionId"])])

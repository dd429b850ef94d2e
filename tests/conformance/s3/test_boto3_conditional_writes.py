"""Conditional writes: what Iceberg, Delta and Lance commit with. Exact, also when many try at once."""

import datetime as dt
from collections import Counter
from typing import Any

import pytest
from botocore.exceptions import ClientError
from tests.support.clients import S3Client, race, refused
from tests.support.http import error_of, send, signed_headers
from tests.support.server import Endpoint

CONTENDERS = 12
LONG_AGO = dt.datetime(2015, 1, 1, tzinfo=dt.UTC)


def read(s3: S3Client, bucket: str, key: str = "k") -> bytes:
    body: bytes = s3.get_object(Bucket=bucket, Key=key)["Body"].read()
    return body


def upload_of(s3: S3Client, bucket: str, body: bytes) -> dict[str, Any]:
    upload = s3.create_multipart_upload(Bucket=bucket, Key="k")["UploadId"]
    part = s3.upload_part(Bucket=bucket, Key="k", UploadId=upload, PartNumber=1, Body=body)
    parts = [{"PartNumber": 1, "ETag": part["ETag"]}]
    return {"Bucket": bucket, "Key": "k", "UploadId": upload, "MultipartUpload": {"Parts": parts}}


@pytest.mark.conformance("s3", "PutObject")
def test_if_none_match_creates_but_never_overwrites(s3: S3Client, bucket: str) -> None:
    s3.put_object(Bucket=bucket, Key="k", Body=b"one", IfNoneMatch="*")
    with refused("PreconditionFailed", 412):
        s3.put_object(Bucket=bucket, Key="k", Body=b"two", IfNoneMatch="*")
    assert read(s3, bucket) == b"one"


@pytest.mark.conformance("s3", "PutObject")
def test_if_none_match_creates_again_after_a_deletion(s3: S3Client, versioned: str) -> None:
    s3.put_object(Bucket=versioned, Key="k", Body=b"one", IfNoneMatch="*")
    s3.delete_object(Bucket=versioned, Key="k")
    s3.put_object(Bucket=versioned, Key="k", Body=b"two", IfNoneMatch="*")
    assert read(s3, versioned) == b"two"


@pytest.mark.conformance("s3", "PutObject")
def test_if_match_overwrites_only_what_was_read(s3: S3Client, bucket: str) -> None:
    first = s3.put_object(Bucket=bucket, Key="k", Body=b"one")["ETag"]
    s3.put_object(Bucket=bucket, Key="k", Body=b"two", IfMatch=first)
    with refused("PreconditionFailed", 412):
        s3.put_object(Bucket=bucket, Key="k", Body=b"three", IfMatch=first)
    assert read(s3, bucket) == b"two"


@pytest.mark.conformance("s3", "PutObject")
def test_if_match_on_nothing_says_there_is_nothing(s3: S3Client, bucket: str) -> None:
    with refused("NoSuchKey", 404):
        s3.put_object(Bucket=bucket, Key="k", Body=b"one", IfMatch='"0123456789abcdef0123456789abcdef"')


@pytest.mark.conformance("s3", "PutObject")
def test_of_many_creators_at_once_exactly_one_wins(s3: S3Client, bucket: str) -> None:
    def create(number: int) -> int:
        s3.put_object(Bucket=bucket, Key="k", Body=bytes([number]), IfNoneMatch="*")
        return number

    outcomes = Counter(race(CONTENDERS, create))
    assert outcomes.pop("PreconditionFailed") == CONTENDERS - 1
    assert outcomes == {read(s3, bucket)[0]: 1}


@pytest.mark.conformance("s3", "PutObject")
def test_counting_with_if_match_loses_no_step(s3: S3Client, bucket: str) -> None:
    s3.put_object(Bucket=bucket, Key="k", Body=b"0")
    steps_each = 3

    def step() -> str:
        got = s3.get_object(Bucket=bucket, Key="k")
        following = str(int(got["Body"].read()) + 1).encode()
        try:
            s3.put_object(Bucket=bucket, Key="k", Body=following, IfMatch=got["ETag"])
        except ClientError as refusal:
            return str(refusal.response["Error"]["Code"])
        return "stepped"

    def count(_number: int) -> Counter[str]:
        outcomes = Counter[str]()
        while outcomes["stepped"] < steps_each:
            outcomes[step()] += 1
        return outcomes

    outcomes = sum(race(4, count), Counter[str]())
    assert set(outcomes) <= {"stepped", "PreconditionFailed"}
    assert read(s3, bucket) == str(4 * steps_each).encode()


@pytest.mark.conformance("s3", "CompleteMultipartUpload")
def test_a_completion_obeys_conditions(s3: S3Client, bucket: str) -> None:
    etag = s3.put_object(Bucket=bucket, Key="k", Body=b"one")["ETag"]
    upload = upload_of(s3, bucket, b"two")
    with refused("PreconditionFailed", 412):
        s3.complete_multipart_upload(**upload, IfNoneMatch="*")
    with refused("PreconditionFailed", 412):
        s3.complete_multipart_upload(**upload, IfMatch='"0123456789abcdef0123456789abcdef"')
    assert read(s3, bucket) == b"one"
    s3.complete_multipart_upload(**upload, IfMatch=etag)
    assert read(s3, bucket) == b"two"


@pytest.mark.conformance("s3", "CompleteMultipartUpload")
def test_of_many_completions_that_would_create_exactly_one_wins(s3: S3Client, bucket: str) -> None:
    uploads = [upload_of(s3, bucket, bytes([number])) for number in range(6)]

    def finish(number: int) -> int:
        s3.complete_multipart_upload(**uploads[number], IfNoneMatch="*")
        return number

    outcomes = Counter(race(6, finish))
    assert outcomes.pop("PreconditionFailed") == 5
    assert outcomes == {read(s3, bucket)[0]: 1}


@pytest.mark.conformance("s3", "CopyObject")
def test_a_copy_obeys_conditions_on_its_target(s3: S3Client, bucket: str) -> None:
    s3.put_object(Bucket=bucket, Key="source", Body=b"new")
    etag = s3.put_object(Bucket=bucket, Key="k", Body=b"old")["ETag"]
    copy = {"Bucket": bucket, "Key": "k", "CopySource": {"Bucket": bucket, "Key": "source"}}
    with refused("PreconditionFailed", 412):
        s3.copy_object(**copy, IfNoneMatch="*")
    with refused("PreconditionFailed", 412):
        s3.copy_object(**copy, IfMatch='"0123456789abcdef0123456789abcdef"')
    assert read(s3, bucket) == b"old"
    s3.copy_object(**copy, IfMatch=etag)
    assert read(s3, bucket) == b"new"


@pytest.mark.conformance("s3", "DeleteObject")
def test_a_deletion_obeys_its_condition(s3: S3Client, bucket: str) -> None:
    etag = s3.put_object(Bucket=bucket, Key="k", Body=b"one")["ETag"]
    with refused("PreconditionFailed", 412):
        s3.delete_object(Bucket=bucket, Key="k", IfMatch='"0123456789abcdef0123456789abcdef"')
    assert read(s3, bucket) == b"one"
    s3.delete_object(Bucket=bucket, Key="k", IfMatch=etag)
    with refused("NoSuchKey", 404):
        read(s3, bucket)


@pytest.mark.conformance("s3", "DeleteObject")
def test_of_two_deletions_of_what_was_read_only_one_succeeds(s3: S3Client, bucket: str) -> None:
    etag = s3.put_object(Bucket=bucket, Key="k", Body=b"one")["ETag"]

    def delete(_: int) -> int:
        status: int = s3.delete_object(Bucket=bucket, Key="k", IfMatch=etag)["ResponseMetadata"]["HTTPStatusCode"]
        return status

    assert sorted(race(2, delete), key=str) == [204, "NoSuchKey"]


@pytest.mark.conformance("s3", "DeleteObject")
@pytest.mark.parametrize(
    ("wrong", "right"),
    [({"IfMatchSize": 4}, {"IfMatchSize": 3}), ({"IfMatchLastModifiedTime": LONG_AGO}, {})],
    ids=["size", "time"],
)
def test_a_deletion_may_depend_on_size_and_time(
    s3: S3Client, bucket: str, wrong: dict[str, object], right: dict[str, object]
) -> None:
    s3.put_object(Bucket=bucket, Key="k", Body=b"one")
    right = right or {"IfMatchLastModifiedTime": s3.head_object(Bucket=bucket, Key="k")["LastModified"]}
    with refused("PreconditionFailed", 412):
        s3.delete_object(Bucket=bucket, Key="k", **wrong)
    assert read(s3, bucket) == b"one"
    s3.delete_object(Bucket=bucket, Key="k", **right)
    s3.delete_object(Bucket=bucket, Key="k", **wrong)  # nothing is there that could differ


@pytest.mark.conformance("s3", "DeleteObject")
@pytest.mark.parametrize(
    "condition",
    [{"IfMatch": "*"}, {"IfMatch": '"0123"'}, {"IfMatchSize": 0}, {"IfMatchLastModifiedTime": LONG_AGO}],
    ids=["any", "etag", "size", "time"],
)
def test_a_deleted_object_meets_no_condition(s3: S3Client, versioned: str, condition: dict[str, object]) -> None:
    s3.put_object(Bucket=versioned, Key="k", Body=b"")
    s3.delete_object(Bucket=versioned, Key="k")
    with refused("PreconditionFailed", 412):
        s3.delete_object(Bucket=versioned, Key="k", **condition)
    assert len(s3.list_object_versions(Bucket=versioned)["DeleteMarkers"]) == 1


@pytest.mark.conformance("s3", "DeleteObject")
def test_a_conditional_deletion_of_what_never_was_leaves_no_marker(s3: S3Client, versioned: str) -> None:
    s3.delete_object(Bucket=versioned, Key="k", IfMatchSize=1)
    with refused("NoSuchKey", 404):
        s3.delete_object(Bucket=versioned, Key="k", IfMatch="*")
    assert "DeleteMarkers" not in s3.list_object_versions(Bucket=versioned)


@pytest.mark.conformance("s3", "DeleteObjects")
@pytest.mark.parametrize("condition", ["<Size>many</Size>", "<LastModifiedTime>soon</LastModifiedTime>"])
def test_a_condition_that_cannot_be_read_deletes_nothing(
    server: Endpoint, s3: S3Client, bucket: str, condition: str
) -> None:
    s3.put_object(Bucket=bucket, Key="k", Body=b"kept")
    body = f"<Delete><Object><Key>k</Key>{condition}</Object></Delete>".encode()
    path = f"/{bucket}?delete="
    answer = send("POST", server.url + path, body, signed_headers(server, "POST", path, body))
    assert error_of(answer) == (400, "InvalidArgument")
    assert read(s3, bucket) == b"kept"


@pytest.mark.conformance("s3", "DeleteObject")
def test_a_deletion_takes_no_if_none_match(server: Endpoint, s3: S3Client, bucket: str) -> None:
    s3.put_object(Bucket=bucket, Key="k", Body=b"kept")
    path = f"/{bucket}/k"
    answer = send(
        "DELETE", server.url + path, headers=signed_headers(server, "DELETE", path, b"", {"If-None-Match": "*"})
    )
    assert error_of(answer) == (501, "NotImplemented")
    assert read(s3, bucket) == b"kept"


@pytest.mark.conformance("s3", "DeleteObjects")
def test_in_a_deletion_of_many_each_key_has_its_own_condition(s3: S3Client, bucket: str) -> None:
    etag = s3.put_object(Bucket=bucket, Key="goes", Body=b"one")["ETag"]
    s3.put_object(Bucket=bucket, Key="stays", Body=b"two")
    doomed = [{"Key": "goes", "ETag": etag}, {"Key": "stays", "ETag": etag}]
    answer = s3.delete_objects(Bucket=bucket, Delete={"Objects": doomed})
    assert [entry["Key"] for entry in answer["Deleted"]] == ["goes"]
    assert [(entry["Key"], entry["Code"]) for entry in answer["Errors"]] == [("stays", "PreconditionFailed")]
    assert read(s3, bucket, "stays") == b"two"


@pytest.mark.conformance("s3", "PutObject")
def test_if_none_match_with_an_etag_refuses_only_that_one(s3: S3Client, bucket: str) -> None:
    etag = s3.put_object(Bucket=bucket, Key="k", Body=b"one")["ETag"]
    with refused("PreconditionFailed", 412):
        s3.put_object(Bucket=bucket, Key="k", Body=b"two", IfNoneMatch=etag)
    s3.put_object(Bucket=bucket, Key="k", Body=b"three", IfNoneMatch='"0123456789abcdef0123456789abcdef"')
    assert read(s3, bucket) == b"three"

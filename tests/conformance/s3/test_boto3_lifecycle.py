"""Lifecycle rules through stock clients, against a server whose days are short."""

import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
from botocore.exceptions import ClientError
from minio import Minio
from minio.commonconfig import ENABLED, Filter
from minio.lifecycleconfig import (
    AbortIncompleteMultipartUpload,
    Expiration,
    LifecycleConfig,
    NoncurrentVersionExpiration,
    Rule,
    Transition,
)
from tests.support.clients import S3Client, boto3_client, refused
from tests.support.http import send
from tests.support.server import Endpoint, ServerProcess

DAY_SECONDS = 1
WAIT_SECONDS_MAX = 45


@pytest.fixture(scope="module")
def short_days(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Endpoint]:
    """Serve a lake in which a day of rules is a second."""
    folder = tmp_path_factory.mktemp("short-days")
    settings = {"HOSU_DAY_SECONDS": str(DAY_SECONDS)}
    with ServerProcess(folder / "lake", folder / "log", settings) as process:
        yield process.endpoint


@pytest.fixture(scope="module")
def quick(short_days: Endpoint) -> Iterator[S3Client]:
    client = boto3_client(short_days)
    yield client
    client.close()


def until(holds: Callable[[], bool]) -> None:
    """Wait until something holds; fail where it never does."""
    end = time.monotonic() + WAIT_SECONDS_MAX
    while not holds():
        assert time.monotonic() < end, "the rule was not carried out"
        time.sleep(0.1)


def rule(name: str = "r", prefix: str = "", **actions: Any) -> dict[str, Any]:
    return {"ID": name, "Status": "Enabled", "Filter": {"Prefix": prefix}, **actions}


def set_rules(client: S3Client, bucket: str, *rules: dict[str, Any], **more: Any) -> Any:
    return client.put_bucket_lifecycle_configuration(
        Bucket=bucket, LifecycleConfiguration={"Rules": list(rules)}, **more
    )


def names(client: S3Client, bucket: str) -> list[str]:
    return [entry["Key"] for entry in client.list_objects_v2(Bucket=bucket).get("Contents", [])]


def has_rules(client: S3Client, bucket: str) -> bool:
    try:
        client.get_bucket_lifecycle_configuration(Bucket=bucket)
    except ClientError as error:
        if error.response["Error"]["Code"] != "NoSuchLifecycleConfiguration":
            raise
        return False
    return True


RULES: list[dict[str, Any]] = [
    rule("days", "a/", Expiration={"Days": 3}),
    rule("date", "b/", Expiration={"Date": datetime(2030, 1, 1, tzinfo=UTC)}),
    rule("markers", "c/", Expiration={"ExpiredObjectDeleteMarker": True}),
    rule("old", "d/", NoncurrentVersionExpiration={"NoncurrentDays": 3, "NewerNoncurrentVersions": 2}),
    rule("uploads", "e/", AbortIncompleteMultipartUpload={"DaysAfterInitiation": 7}),
    rule("cold", "f/", Transitions=[{"Days": 30, "StorageClass": "COLD"}]),
    rule("older", "g/", NoncurrentVersionTransitions=[{"NoncurrentDays": 30, "StorageClass": "COLD"}]),
    {
        "ID": "several",
        "Status": "Disabled",
        "Filter": {"And": {"Prefix": "h/", "Tags": [{"Key": "k", "Value": "v"}], "ObjectSizeGreaterThan": 5}},
        "Expiration": {"Days": 1},
    },
    {"ID": "tag", "Status": "Enabled", "Filter": {"Tag": {"Key": "k", "Value": "v"}}, "Expiration": {"Days": 9}},
    {"ID": "small", "Status": "Enabled", "Filter": {"ObjectSizeLessThan": 5}, "Expiration": {"Days": 9}},
    {"ID": "old-form", "Status": "Enabled", "Prefix": "i/", "Expiration": {"Days": 9}},
]


def test_rules_come_back_as_they_were_set_and_go(s3: S3Client, bucket: str) -> None:
    assert not has_rules(s3, bucket)
    set_rules(s3, bucket, *RULES)
    assert s3.get_bucket_lifecycle_configuration(Bucket=bucket)["Rules"] == RULES
    s3.delete_bucket_lifecycle(Bucket=bucket)
    assert not has_rules(s3, bucket)


def test_the_least_size_of_transitions_is_kept_and_shown(s3: S3Client, bucket: str) -> None:
    set_rules(s3, bucket, RULES[0], TransitionDefaultMinimumObjectSize="all_storage_classes_128K")
    found = s3.get_bucket_lifecycle_configuration(Bucket=bucket)
    assert found["TransitionDefaultMinimumObjectSize"] == "all_storage_classes_128K"
    set_rules(s3, bucket, RULES[0])
    found = s3.get_bucket_lifecycle_configuration(Bucket=bucket)
    assert found["TransitionDefaultMinimumObjectSize"] == "varies_by_storage_class"


def test_storage_classes_that_the_lake_does_not_have_are_refused_by_name(s3: S3Client, bucket: str) -> None:
    moves = rule(Transitions=[{"Days": 1, "StorageClass": "DEEP_ARCHIVE"}])
    with refused("InvalidStorageClass", 400):
        set_rules(s3, bucket, moves)
    assert not has_rules(s3, bucket)


def test_answers_about_an_object_tell_when_it_expires_and_by_which_rule(s3: S3Client, bucket: str) -> None:
    set_rules(s3, bucket, rule('ten days, "round"', "a/", Expiration={"Days": 10}))
    answers: list[Any] = [
        s3.put_object(Bucket=bucket, Key="a/1", Body=b"x"),
        s3.head_object(Bucket=bucket, Key="a/1"),
        s3.get_object(Bucket=bucket, Key="a/1"),
        s3.copy_object(Bucket=bucket, Key="a/2", CopySource={"Bucket": bucket, "Key": "a/1"}),
    ]
    upload = s3.create_multipart_upload(Bucket=bucket, Key="a/3")["UploadId"]
    part = s3.upload_part(Bucket=bucket, Key="a/3", UploadId=upload, PartNumber=1, Body=b"x")
    parts = {"Parts": [{"PartNumber": 1, "ETag": part["ETag"]}]}
    answers.append(s3.complete_multipart_upload(Bucket=bucket, Key="a/3", UploadId=upload, MultipartUpload=parts))
    shown = {answer["Expiration"] for answer in answers}
    assert len(shown) <= 2, "the same midnight, or the next one"
    assert all(value.endswith('00:00:00 GMT", rule-id="ten days, %22round%22"') for value in shown)
    assert "Expiration" not in s3.put_object(Bucket=bucket, Key="b/1", Body=b"x")


def test_only_those_may_set_rules_whom_a_policy_allows_it(server: Endpoint, s3: S3Client, bucket: str) -> None:
    for method in ("GET", "PUT", "DELETE"):
        assert send(method, f"{server.url}/{bucket}?lifecycle").status == 403
    assert not has_rules(s3, bucket)


def test_what_is_due_goes_within_a_short_day_and_the_rest_stays(quick: S3Client) -> None:
    bucket = "expiring"
    quick.create_bucket(Bucket=bucket)
    for key in ("raw/1", "raw/2", "kept"):
        quick.put_object(Bucket=bucket, Key=key, Body=b"x")
    set_rules(quick, bucket, rule(prefix="raw/", Expiration={"Days": 1}))
    until(lambda: names(quick, bucket) == ["kept"])


def test_versions_markers_uploads_and_classes_follow_their_rules(quick: S3Client) -> None:
    bucket = "versions"
    quick.create_bucket(Bucket=bucket)
    quick.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
    for number in range(4):
        quick.put_object(Bucket=bucket, Key="old", Body=b"%d" % number)
    quick.put_object(Bucket=bucket, Key="cold", Body=b"text " * 10_000)
    quick.put_object(Bucket=bucket, Key="gone/1", Body=b"x")
    quick.delete_object(Bucket=bucket, Key="gone/1")
    quick.create_multipart_upload(Bucket=bucket, Key="upload")
    set_rules(
        quick,
        bucket,
        rule("keep two", "old", NoncurrentVersionExpiration={"NoncurrentDays": 1, "NewerNoncurrentVersions": 2}),
        rule(
            "all",
            "gone/",
            NoncurrentVersionExpiration={"NoncurrentDays": 1},
            Expiration={"ExpiredObjectDeleteMarker": True},
        ),
        rule("cold", "cold", Transitions=[{"Days": 1, "StorageClass": "COLD"}]),
        rule("uploads", AbortIncompleteMultipartUpload={"DaysAfterInitiation": 1}),
    )

    def is_done() -> bool:
        found = quick.list_object_versions(Bucket=bucket)
        keys = sorted(version["Key"] for version in found["Versions"])
        classes = {version["Key"]: version["StorageClass"] for version in found["Versions"]}
        uploads = quick.list_multipart_uploads(Bucket=bucket).get("Uploads", [])
        return (
            keys == ["cold", *["old"] * 3]
            and "DeleteMarkers" not in found
            and not uploads
            and classes["cold"] == "COLD"
        )

    until(is_done)
    assert quick.get_object(Bucket=bucket, Key="cold")["Body"].read() == b"text " * 10_000


def test_minio_py_sets_reads_and_removes_rules(server: Endpoint, bucket: str) -> None:
    client: Any = Minio(server.host, access_key=server.access_key, secret_key=server.secret_key, secure=False)
    config = LifecycleConfig(
        [
            Rule(ENABLED, rule_filter=Filter(prefix="logs/"), rule_id="r1", expiration=Expiration(days=365)),
            Rule(
                ENABLED,
                rule_filter=Filter(prefix="raw/"),
                rule_id="r2",
                transition=Transition(days=30, storage_class="COLD"),
                noncurrent_version_expiration=NoncurrentVersionExpiration(noncurrent_days=7),
                abort_incomplete_multipart_upload=AbortIncompleteMultipartUpload(days_after_initiation=3),
            ),
        ]
    )
    assert client.get_bucket_lifecycle(bucket) is None
    client.set_bucket_lifecycle(bucket, config)
    found = client.get_bucket_lifecycle(bucket)
    assert found is not None
    first, second = found.rules
    assert (first.rule_id, first.rule_filter.prefix, first.expiration.days) == ("r1", "logs/", 365)
    assert (second.transition.days, second.transition.storage_class) == (30, "COLD")
    assert second.noncurrent_version_expiration.noncurrent_days == 7
    assert second.abort_incomplete_multipart_upload.days_after_initiation == 3
    client.delete_bucket_lifecycle(bucket)
    assert client.get_bucket_lifecycle(bucket) is None
    client._http.clear()

"""Object tags through boto3."""

import pytest
from tests.support.clients import S3Client, refused

TAGS = [{"Key": "model", "Value": "v1.0.0"}, {"Key": "상태", "Value": "검수 완료 + ok/=@"}]


def by_key(tags: list[dict[str, str]]) -> list[dict[str, str]]:
    return sorted(tags, key=lambda tag: tag["Key"])


@pytest.mark.conformance("s3", "PutObjectTagging")
def test_tags_are_set_replaced_counted_and_removed(s3: S3Client, bucket: str) -> None:
    etag = s3.put_object(Bucket=bucket, Key="k", Body=b"body")["ETag"]
    assert s3.get_object_tagging(Bucket=bucket, Key="k")["TagSet"] == []
    for tags in (TAGS, TAGS[:1]):
        s3.put_object_tagging(Bucket=bucket, Key="k", Tagging={"TagSet": tags})
        assert by_key(s3.get_object_tagging(Bucket=bucket, Key="k")["TagSet"]) == by_key(tags)
        assert s3.get_object(Bucket=bucket, Key="k")["TagCount"] == len(tags)
    answer = s3.delete_object_tagging(Bucket=bucket, Key="k")
    assert answer["ResponseMetadata"]["HTTPStatusCode"] == 204
    assert s3.get_object_tagging(Bucket=bucket, Key="k")["TagSet"] == []
    assert s3.head_object(Bucket=bucket, Key="k")["ETag"] == etag


@pytest.mark.conformance("s3", "PutObject")
def test_tags_may_come_with_the_object(s3: S3Client, bucket: str) -> None:
    s3.put_object(Bucket=bucket, Key="k", Body=b"", Tagging="model=v1.0.0&state=a%20b%2Bc&empty=")
    expected = [{"Key": "empty", "Value": ""}, {"Key": "model", "Value": "v1.0.0"}, {"Key": "state", "Value": "a b+c"}]
    assert by_key(s3.get_object_tagging(Bucket=bucket, Key="k")["TagSet"]) == expected


@pytest.mark.conformance("s3", "PutObjectTagging")
@pytest.mark.parametrize(
    ("code", "tags"),
    [
        ("BadRequest", [{"Key": str(number), "Value": ""} for number in range(11)]),
        ("InvalidTag", [{"Key": "k" * 129, "Value": ""}]),
        ("InvalidTag", [{"Key": "k", "Value": "v" * 257}]),
        ("InvalidTag", [{"Key": "k", "Value": "1"}, {"Key": "k", "Value": "2"}]),
    ],
    ids=["eleven tags", "long key", "long value", "same key twice"],
)
def test_tags_past_the_limits_are_refused(s3: S3Client, bucket: str, code: str, tags: list[dict[str, str]]) -> None:
    s3.put_object(Bucket=bucket, Key="k", Body=b"", Tagging="kept=1")
    with refused(code, 400):
        s3.put_object_tagging(Bucket=bucket, Key="k", Tagging={"TagSet": tags})
    assert s3.get_object_tagging(Bucket=bucket, Key="k")["TagSet"] == [{"Key": "kept", "Value": "1"}]


@pytest.mark.conformance("s3", "GetObjectTagging")
def test_tags_of_a_missing_object_are_missing(s3: S3Client, bucket: str) -> None:
    with refused("NoSuchKey", 404):
        s3.get_object_tagging(Bucket=bucket, Key="none")

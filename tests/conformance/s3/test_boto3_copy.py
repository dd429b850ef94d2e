"""Server-side copies through boto3, whole and in parts."""

import datetime as dt

import pytest
from boto3.s3.transfer import TransferConfig
from tests.support.clients import MIB, S3Client, patterned, refused


@pytest.mark.conformance("s3", "CopyObject")
@pytest.mark.parametrize("key", ["plain", "with space + plus%2F", "한국어/a&b?c.jpg"])
def test_a_copy_has_body_headers_metadata_and_tags_of_its_source(s3: S3Client, bucket: str, key: str) -> None:
    body = patterned(300_000)
    s3.put_object(
        Bucket=bucket,
        Key=key,
        Body=body,
        ContentType="image/jpeg",
        Metadata={"a": "b"},
        Tagging="t=1",
        CacheControl="no-store",
    )
    answer = s3.copy_object(Bucket=bucket, Key="target", CopySource={"Bucket": bucket, "Key": key})
    got = s3.get_object(Bucket=bucket, Key="target")
    assert got["Body"].read() == body
    assert (got["ContentType"], got["Metadata"], got["CacheControl"]) == ("image/jpeg", {"a": "b"}, "no-store")
    assert answer["CopyObjectResult"]["ETag"] == got["ETag"]
    assert s3.get_object_tagging(Bucket=bucket, Key="target")["TagSet"] == [{"Key": "t", "Value": "1"}]


@pytest.mark.conformance("s3", "CopyObject")
def test_a_copy_may_replace_metadata_and_tags(s3: S3Client, bucket: str) -> None:
    s3.put_object(
        Bucket=bucket, Key="source", Body=b"body", Metadata={"a": "b"}, Tagging="t=1", ContentType="image/png"
    )
    s3.copy_object(
        Bucket=bucket,
        Key="target",
        CopySource=f"{bucket}/source",
        MetadataDirective="REPLACE",
        Metadata={"c": "d"},
        ContentType="text/plain",
        TaggingDirective="REPLACE",
        Tagging="u=2",
    )
    head = s3.head_object(Bucket=bucket, Key="target")
    assert (head["Metadata"], head["ContentType"]) == ({"c": "d"}, "text/plain")
    assert s3.get_object_tagging(Bucket=bucket, Key="target")["TagSet"] == [{"Key": "u", "Value": "2"}]


@pytest.mark.conformance("s3", "CopyObject")
def test_a_copy_onto_itself_needs_a_change(s3: S3Client, bucket: str) -> None:
    s3.put_object(Bucket=bucket, Key="k", Body=b"body", Metadata={"a": "b"})
    itself = {"Bucket": bucket, "Key": "k", "CopySource": {"Bucket": bucket, "Key": "k"}}
    with refused("InvalidRequest", 400):
        s3.copy_object(**itself)
    s3.copy_object(**itself, MetadataDirective="REPLACE", Metadata={"c": "d"})
    got = s3.get_object(Bucket=bucket, Key="k")
    assert (got["Body"].read(), got["Metadata"]) == (b"body", {"c": "d"})


@pytest.mark.conformance("s3", "CopyObject")
def test_a_copy_outlives_its_source_and_its_bucket(s3: S3Client, bucket: str, bucket_name: str) -> None:
    other = bucket_name + "-source"
    s3.create_bucket(Bucket=other)
    body = patterned(MIB)
    s3.put_object(Bucket=other, Key="k", Body=body)
    s3.copy_object(Bucket=bucket, Key="k", CopySource={"Bucket": other, "Key": "k"})
    s3.delete_object(Bucket=other, Key="k")
    s3.delete_bucket(Bucket=other)
    assert s3.get_object(Bucket=bucket, Key="k")["Body"].read() == body


@pytest.mark.conformance("s3", "CopyObject")
def test_a_copy_obeys_conditions_on_its_source(s3: S3Client, bucket: str) -> None:
    etag = s3.put_object(Bucket=bucket, Key="source", Body=b"body")["ETag"]
    modified = s3.head_object(Bucket=bucket, Key="source")["LastModified"]
    hour = dt.timedelta(hours=1)
    copy = {"Bucket": bucket, "Key": "target", "CopySource": {"Bucket": bucket, "Key": "source"}}
    for unmet in (
        {"CopySourceIfMatch": '"other"'},
        {"CopySourceIfNoneMatch": etag},
        {"CopySourceIfUnmodifiedSince": modified - hour},
        {"CopySourceIfModifiedSince": modified},
    ):
        with refused("PreconditionFailed", 412):
            s3.copy_object(**copy, **unmet)
    s3.copy_object(**copy, CopySourceIfMatch=etag, CopySourceIfModifiedSince=modified - hour)
    assert s3.head_object(Bucket=bucket, Key="target")["ETag"] == etag


@pytest.mark.conformance("s3", "CopyObject")
def test_a_copy_of_what_is_not_there_says_what_is_missing(s3: S3Client, bucket: str, bucket_name: str) -> None:
    with refused("NoSuchKey", 404):
        s3.copy_object(Bucket=bucket, Key="k", CopySource={"Bucket": bucket, "Key": "none"})
    with refused("NoSuchBucket", 404):
        s3.copy_object(Bucket=bucket, Key="k", CopySource={"Bucket": bucket_name + "-none", "Key": "k"})


@pytest.mark.conformance("s3", "UploadPartCopy")
def test_parts_are_copied_from_ranges(s3: S3Client, bucket: str) -> None:
    body = patterned(6 * MIB)
    s3.put_object(Bucket=bucket, Key="source", Body=body)
    upload = s3.create_multipart_upload(Bucket=bucket, Key="target")["UploadId"]
    step = 5 * MIB
    parts = []
    for number, (first, last) in enumerate([(MIB, MIB + step - 1), (0, MIB - 1)], 1):
        answer = s3.upload_part_copy(
            Bucket=bucket,
            Key="target",
            UploadId=upload,
            PartNumber=number,
            CopySource={"Bucket": bucket, "Key": "source"},
            CopySourceRange=f"bytes={first}-{last}",
        )
        parts.append({"PartNumber": number, "ETag": answer["CopyPartResult"]["ETag"]})
    s3.complete_multipart_upload(Bucket=bucket, Key="target", UploadId=upload, MultipartUpload={"Parts": parts})
    assert s3.get_object(Bucket=bucket, Key="target")["Body"].read() == body[MIB:] + body[:MIB]


@pytest.mark.conformance("s3", "UploadPartCopy")
def test_a_range_past_the_end_of_the_source_is_refused(s3: S3Client, bucket: str) -> None:
    s3.put_object(Bucket=bucket, Key="source", Body=b"short")
    upload = s3.create_multipart_upload(Bucket=bucket, Key="target")["UploadId"]
    copy = {"Bucket": bucket, "Key": "target", "UploadId": upload, "PartNumber": 1, "CopySource": f"{bucket}/source"}
    with refused("InvalidRange", 416):
        s3.upload_part_copy(**copy, CopySourceRange="bytes=0-21")
    with refused("InvalidArgument", 400):
        s3.upload_part_copy(**copy, CopySourceRange="bytes=3")


@pytest.mark.conformance("s3", "UploadPartCopy")
def test_the_transfer_manager_copies_large_objects_in_parts(s3: S3Client, bucket: str) -> None:
    body = patterned(11 * MIB)
    s3.put_object(Bucket=bucket, Key="source", Body=body)
    config = TransferConfig(multipart_threshold=5 * MIB, multipart_chunksize=5 * MIB)
    s3.copy({"Bucket": bucket, "Key": "source"}, bucket, "target", Config=config)
    got = s3.get_object(Bucket=bucket, Key="target")
    assert (got["Body"].read() == body, got["ETag"][-3:]) == (True, '-3"')

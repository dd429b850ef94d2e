"""What is refused is refused before its body is stored, and numbers that are none are a client's error."""

from pathlib import Path

import pytest
from botocore.exceptions import ClientError
from tests.support.clients import S3Client, refused
from tests.support.http import error_of, form_body, send, signed_headers
from tests.support.server import Endpoint

MIB = 2**20


@pytest.mark.conformance("s3", "PutObject")
def test_an_unknown_storage_class_is_refused_before_the_body(s3: S3Client, bucket: str, lake: Path) -> None:
    before = set(lake.glob("blobs/*/*"))
    for _ in range(3):
        with refused("InvalidStorageClass", 400):
            s3.put_object(Bucket=bucket, Key="k", Body=b"x" * MIB, StorageClass="STANDARD_IA")
    assert set(lake.glob("blobs/*/*")) == before


@pytest.mark.conformance("s3", "UploadPartCopy")
def test_a_copy_of_a_multipart_object_can_be_a_part(s3: S3Client, bucket: str) -> None:
    upload = s3.create_multipart_upload(Bucket=bucket, Key="parts", ChecksumAlgorithm="CRC32")["UploadId"]
    part = s3.upload_part(Bucket=bucket, Key="parts", UploadId=upload, PartNumber=1, Body=b"p" * MIB)
    named = {"PartNumber": 1, "ETag": part["ETag"], "ChecksumCRC32": part["ChecksumCRC32"]}
    s3.complete_multipart_upload(Bucket=bucket, Key="parts", UploadId=upload, MultipartUpload={"Parts": [named]})
    source = {"Bucket": bucket, "Key": "parts"}
    s3.copy_object(Bucket=bucket, Key="copy", CopySource=source, ChecksumAlgorithm="SHA256")
    upload = s3.create_multipart_upload(Bucket=bucket, Key="again")["UploadId"]
    source = {"Bucket": bucket, "Key": "copy"}
    copied = s3.upload_part_copy(Bucket=bucket, Key="again", UploadId=upload, PartNumber=1, CopySource=source)
    parts = [{"PartNumber": 1, "ETag": copied["CopyPartResult"]["ETag"]}]
    s3.complete_multipart_upload(Bucket=bucket, Key="again", UploadId=upload, MultipartUpload={"Parts": parts})
    assert s3.get_object(Bucket=bucket, Key="again")["Body"].read() == b"p" * MIB


@pytest.mark.conformance("s3", "HeadObject")
def test_numbers_that_are_none_are_refused(server: Endpoint, s3: S3Client, bucket: str) -> None:
    s3.put_object(Bucket=bucket, Key="k", Body=b"abc")
    path = f"/{bucket}/k?partNumber={'0' * 8}1{'0' * 5000}"
    assert error_of(send("GET", server.url + path, None, signed_headers(server, "GET", path))) == (
        400,
        "InvalidArgument",
    )
    with pytest.raises(ClientError) as wrong:
        s3.head_object(Bucket=bucket, Key="k", PartNumber=0)
    assert wrong.value.response["ResponseMetadata"]["HTTPStatusCode"] == 400


@pytest.mark.conformance("s3", "PutObject")
def test_content_headers_have_a_limit(s3: S3Client, bucket: str) -> None:
    with refused("MetadataTooLarge", 400):
        s3.put_object(Bucket=bucket, Key="k", Body=b"", CacheControl="x" * 9000)


@pytest.mark.conformance("s3", "PostObject")
def test_an_acl_in_a_form_is_refused_by_name(s3: S3Client, bucket: str) -> None:
    conditions = [{"acl": "public-read"}]
    post = s3.generate_presigned_post(bucket, "k", Fields={"acl": "public-read"}, Conditions=conditions)
    body, headers = form_body(post["fields"], "k", b"x")
    assert error_of(send("POST", post["url"], body, headers)) == (400, "AccessControlListNotSupported")


@pytest.mark.conformance("s3", "PutBucketCors")
@pytest.mark.parametrize("exposed", ["a\r\nX-Evil: 1", "a b", ""])
def test_a_cors_rule_exposes_headers_only(s3: S3Client, bucket: str, exposed: str) -> None:
    rule = {"AllowedMethods": ["GET"], "AllowedOrigins": ["*"], "ExposeHeaders": [exposed]}
    with refused("InvalidRequest", 400):
        s3.put_bucket_cors(Bucket=bucket, CORSConfiguration={"CORSRules": [rule]})

"""Checksums as today's SDKs send and check them: by default, by choice, in headers and in trailers."""

import base64
import hashlib
import io
import zlib
from typing import Any

import pytest
from awscrt import checksums
from botocore.config import Config
from botocore.exceptions import ClientError
from tests.support.clients import MIB, S3Client, boto3_client, patterned, refused
from tests.support.server import Endpoint

BODY = patterned(70_000)


def encoded(digest: bytes | int, width: int = 4) -> str:
    raw = digest.to_bytes(width, "big") if isinstance(digest, int) else digest
    return base64.b64encode(raw).decode()


EXPECTED = {
    "CRC32": encoded(zlib.crc32(BODY)),
    "CRC32C": encoded(checksums.crc32c(BODY)),
    "CRC64NVME": encoded(checksums.crc64nvme(BODY), 8),
    "SHA1": encoded(hashlib.sha1(BODY).digest()),
    "SHA256": encoded(hashlib.sha256(BODY).digest()),
}


@pytest.mark.conformance("s3", "PutObject")
@pytest.mark.parametrize("algorithm", EXPECTED)
@pytest.mark.parametrize("streamed", [False, True], ids=["bytes", "file"])
def test_each_algorithm_is_checked_kept_and_shown(s3: S3Client, bucket: str, algorithm: str, *, streamed: bool) -> None:
    body: Any = io.BytesIO(BODY) if streamed else BODY
    put = s3.put_object(Bucket=bucket, Key="k", Body=body, ChecksumAlgorithm=algorithm)
    name, value = f"Checksum{algorithm}", EXPECTED[algorithm]
    assert put[name] == value
    assert s3.head_object(Bucket=bucket, Key="k", ChecksumMode="ENABLED")[name] == value
    got = s3.get_object(Bucket=bucket, Key="k", ChecksumMode="ENABLED")
    assert (got["Body"].read(), got[name], got["ChecksumType"]) == (BODY, value, "FULL_OBJECT")
    attributes = s3.get_object_attributes(Bucket=bucket, Key="k", ObjectAttributes=["Checksum"])
    assert attributes["Checksum"] == {name: value, "ChecksumType": "FULL_OBJECT"}
    listed = s3.list_objects_v2(Bucket=bucket)["Contents"][0]
    assert (listed["ChecksumAlgorithm"], listed["ChecksumType"]) == ([algorithm], "FULL_OBJECT")


@pytest.mark.conformance("s3", "PutObject")
def test_the_default_of_the_sdk_is_kept_without_asking(s3: S3Client, bucket: str) -> None:
    s3.put_object(Bucket=bucket, Key="k", Body=BODY)
    head = s3.head_object(Bucket=bucket, Key="k", ChecksumMode="ENABLED")
    shown = {name: head[f"Checksum{name}"] for name in EXPECTED if f"Checksum{name}" in head}
    assert shown
    assert shown.items() <= EXPECTED.items()


@pytest.mark.conformance("s3", "HeadObject")
def test_a_checksum_is_shown_only_when_asked_for(s3: S3Client, bucket: str) -> None:
    s3.put_object(Bucket=bucket, Key="k", Body=BODY, ChecksumAlgorithm="SHA256")
    client_that_does_not_ask = s3.head_object(Bucket=bucket, Key="k")
    assert "ChecksumSHA256" not in client_that_does_not_ask


@pytest.mark.conformance("s3", "PutObject")
@pytest.mark.parametrize("algorithm", EXPECTED)
def test_a_wrong_checksum_is_refused_and_nothing_is_stored(s3: S3Client, bucket: str, algorithm: str) -> None:
    with refused("BadDigest", 400):
        s3.put_object(Bucket=bucket, Key="k", Body=BODY + b"!", **{f"Checksum{algorithm}": EXPECTED[algorithm]})
    assert "Contents" not in s3.list_objects_v2(Bucket=bucket)


@pytest.mark.conformance("s3", "PutObject")
def test_a_malformed_checksum_is_refused(s3: S3Client, bucket: str) -> None:
    with pytest.raises(ClientError) as refusal:
        s3.put_object(Bucket=bucket, Key="k", Body=BODY, ChecksumSHA256="bm90IGEgZGlnZXN0")
    # AWS calls it an invalid request, Ceph's suite a bad digest.
    assert refusal.value.response["Error"]["Code"] in {"InvalidRequest", "BadDigest"}
    assert "Contents" not in s3.list_objects_v2(Bucket=bucket)


@pytest.mark.conformance("s3", "PutObject")
def test_content_md5_is_checked(s3: S3Client, bucket: str) -> None:
    right = encoded(hashlib.md5(BODY).digest())
    s3.put_object(Bucket=bucket, Key="k", Body=BODY, ContentMD5=right)
    with refused("BadDigest", 400):
        s3.put_object(Bucket=bucket, Key="k", Body=BODY + b"!", ContentMD5=right)
    with refused("InvalidDigest", 400):
        s3.put_object(Bucket=bucket, Key="k", Body=BODY, ContentMD5="not base64 of sixteen bytes")
    assert s3.get_object(Bucket=bucket, Key="k")["Body"].read() == BODY


@pytest.mark.conformance("s3", "CompleteMultipartUpload")
@pytest.mark.parametrize(
    ("algorithm", "kind"),
    [("CRC32", "COMPOSITE"), ("CRC32", "FULL_OBJECT"), ("CRC64NVME", "FULL_OBJECT"), ("SHA1", "COMPOSITE")],
)
def test_a_multipart_checksum_is_of_the_whole_or_of_the_parts(
    s3: S3Client, bucket: str, algorithm: str, kind: str
) -> None:
    bodies = [patterned(5 * MIB), b"tail"]
    upload = s3.create_multipart_upload(Bucket=bucket, Key="k", ChecksumAlgorithm=algorithm, ChecksumType=kind)
    target = {"Bucket": bucket, "Key": "k", "UploadId": upload["UploadId"]}
    name, parts = f"Checksum{algorithm}", []
    for number, body in enumerate(bodies, 1):
        part = s3.upload_part(**target, PartNumber=number, Body=body, ChecksumAlgorithm=algorithm)
        parts.append({"PartNumber": number, "ETag": part["ETag"], name: part[name]})
    done = s3.complete_multipart_upload(**target, MultipartUpload={"Parts": parts}, ChecksumType=kind)
    whole, digests = b"".join(bodies), b"".join(base64.b64decode(part[name]) for part in parts)
    expected = {
        ("CRC32", "COMPOSITE"): f"{encoded(zlib.crc32(digests))}-2",
        ("CRC32", "FULL_OBJECT"): encoded(zlib.crc32(whole)),
        ("CRC64NVME", "FULL_OBJECT"): encoded(checksums.crc64nvme(whole), 8),
        ("SHA1", "COMPOSITE"): f"{encoded(hashlib.sha1(digests).digest())}-2",
    }[algorithm, kind]
    assert (done[name], done["ChecksumType"]) == (expected, kind)
    assert s3.head_object(Bucket=bucket, Key="k", ChecksumMode="ENABLED")[name] == expected


def upload_in_two(s3: S3Client, bucket: str, algorithm: str, kind: str) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Upload two parts; return what names the upload, and the parts as a completion names them."""
    upload = s3.create_multipart_upload(Bucket=bucket, Key="k", ChecksumAlgorithm=algorithm, ChecksumType=kind)
    target = {"Bucket": bucket, "Key": "k", "UploadId": upload["UploadId"]}
    name, parts = f"Checksum{algorithm}", []
    for number, body in enumerate([patterned(5 * MIB), b"tail"], 1):
        part = s3.upload_part(**target, PartNumber=number, Body=body, ChecksumAlgorithm=algorithm)
        parts.append({"PartNumber": number, "ETag": part["ETag"], name: part[name]})
    return target, parts


@pytest.mark.conformance("s3", "CompleteMultipartUpload")
def test_a_completion_may_state_the_composite_checksum(s3: S3Client, bucket: str) -> None:
    target, parts = upload_in_two(s3, bucket, "SHA256", "COMPOSITE")
    digests = b"".join(base64.b64decode(part["ChecksumSHA256"]) for part in parts)
    right = encoded(hashlib.sha256(digests).digest())
    for wrong in (f"{right}-3", encoded(hashlib.sha256(b"").digest())):
        with refused("BadDigest", 400):
            s3.complete_multipart_upload(**target, MultipartUpload={"Parts": parts}, ChecksumSHA256=wrong)
    done = s3.complete_multipart_upload(**target, MultipartUpload={"Parts": parts}, ChecksumSHA256=f"{right}-2")
    again = s3.complete_multipart_upload(**target, MultipartUpload={"Parts": parts}, ChecksumSHA256=f"{right}-2")
    assert done["ChecksumSHA256"] == again["ChecksumSHA256"] == f"{right}-2"


@pytest.mark.conformance("s3", "CompleteMultipartUpload")
def test_a_checksum_that_cannot_be_compared_is_refused(s3: S3Client, bucket: str) -> None:
    target, parts = upload_in_two(s3, bucket, "CRC32", "FULL_OBJECT")
    with refused("InvalidRequest", 400):
        s3.complete_multipart_upload(
            **target, MultipartUpload={"Parts": parts}, ChecksumSHA256=encoded(hashlib.sha256(b"").digest())
        )


@pytest.mark.conformance("s3", "GetObject")
@pytest.mark.parametrize(("algorithm", "kind"), [("SHA256", "COMPOSITE"), ("CRC32", "FULL_OBJECT")])
def test_a_part_is_read_with_the_checksum_of_that_part(s3: S3Client, bucket: str, algorithm: str, kind: str) -> None:
    target, parts = upload_in_two(s3, bucket, algorithm, kind)
    s3.complete_multipart_upload(**target, MultipartUpload={"Parts": parts}, ChecksumType=kind)
    name = f"Checksum{algorithm}"
    for part in parts:
        # boto3 compares the body with the checksum as it reads.
        got = s3.get_object(Bucket=bucket, Key="k", PartNumber=part["PartNumber"], ChecksumMode="ENABLED")
        assert got["Body"].read()
        assert (got[name], got["ChecksumType"]) == (part[name], kind)


@pytest.mark.conformance("s3", "CopyObject")
def test_a_copy_with_another_checksum_shows_no_part_with_the_old_one(s3: S3Client, bucket: str) -> None:
    target, parts = upload_in_two(s3, bucket, "CRC32", "FULL_OBJECT")
    s3.complete_multipart_upload(**target, MultipartUpload={"Parts": parts}, ChecksumType="FULL_OBJECT")
    source = {"Bucket": bucket, "Key": "k"}
    made = s3.copy_object(Bucket=bucket, Key="copy", CopySource=source, ChecksumAlgorithm="CRC32C")["CopyObjectResult"]
    found = s3.get_object_attributes(Bucket=bucket, Key="copy", ObjectAttributes=["Checksum", "ObjectParts"])
    assert found["Checksum"]["ChecksumCRC32C"] == made["ChecksumCRC32C"]
    assert "ObjectParts" not in found


@pytest.mark.conformance("s3", "CompleteMultipartUpload")
def test_a_wrong_checksum_of_the_whole_fails_the_completion(s3: S3Client, bucket: str) -> None:
    upload = s3.create_multipart_upload(Bucket=bucket, Key="k", ChecksumAlgorithm="CRC32", ChecksumType="FULL_OBJECT")
    target = {"Bucket": bucket, "Key": "k", "UploadId": upload["UploadId"]}
    part = s3.upload_part(**target, PartNumber=1, Body=BODY + b"!", ChecksumAlgorithm="CRC32")
    parts = [{"PartNumber": 1, "ETag": part["ETag"], "ChecksumCRC32": part["ChecksumCRC32"]}]
    with refused("BadDigest", 400):
        s3.complete_multipart_upload(
            **target, MultipartUpload={"Parts": parts}, ChecksumCRC32=EXPECTED["CRC32"], ChecksumType="FULL_OBJECT"
        )
    assert "Contents" not in s3.list_objects_v2(Bucket=bucket)


@pytest.mark.conformance("s3", "UploadPart")
def test_a_part_with_a_wrong_checksum_is_refused(s3: S3Client, bucket: str) -> None:
    upload = s3.create_multipart_upload(Bucket=bucket, Key="k", ChecksumAlgorithm="CRC32")
    target = {"Bucket": bucket, "Key": "k", "UploadId": upload["UploadId"]}
    with refused("BadDigest", 400):
        s3.upload_part(**target, PartNumber=1, Body=BODY + b"!", ChecksumCRC32=EXPECTED["CRC32"])
    assert "Parts" not in s3.list_parts(**target)


@pytest.mark.conformance("s3", "CopyObject")
def test_a_copy_keeps_the_checksum_or_makes_another(s3: S3Client, bucket: str) -> None:
    s3.put_object(Bucket=bucket, Key="k", Body=BODY, ChecksumAlgorithm="CRC32C")
    source = {"Bucket": bucket, "Key": "k"}
    kept = s3.copy_object(Bucket=bucket, Key="kept", CopySource=source)["CopyObjectResult"]
    made = s3.copy_object(Bucket=bucket, Key="made", CopySource=source, ChecksumAlgorithm="SHA256")["CopyObjectResult"]
    assert (kept["ChecksumCRC32C"], made["ChecksumSHA256"]) == (EXPECTED["CRC32C"], EXPECTED["SHA256"])


@pytest.mark.conformance("s3", "PutObject")
@pytest.mark.parametrize("signed", [True, False], ids=["signed payload", "unsigned payload"])
@pytest.mark.parametrize("when", ["when_supported", "when_required"])
def test_every_way_of_the_sdk_to_send_a_body_works(server: Endpoint, bucket: str, when: Any, *, signed: bool) -> None:
    config = Config(
        request_checksum_calculation=when, response_checksum_validation=when, s3={"payload_signing_enabled": signed}
    )
    client = boto3_client(server, config)
    for key, body in (("bytes", BODY), ("stream", io.BytesIO(BODY))):
        client.put_object(Bucket=bucket, Key=key, Body=body)
        assert client.get_object(Bucket=bucket, Key=key)["Body"].read() == BODY
    client.close()

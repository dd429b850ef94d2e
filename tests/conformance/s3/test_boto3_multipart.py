"""Multipart uploads through boto3, step by step."""

import hashlib
from typing import Any

import pytest
from tests.support.clients import MIB, S3Client, keys_of, patterned, race, refused, refused_head

PART_BYTES = 5 * MIB


def start(s3: S3Client, bucket: str, key: str = "k", **settings: Any) -> str:
    upload_id: str = s3.create_multipart_upload(Bucket=bucket, Key=key, **settings)["UploadId"]
    return upload_id


def put_part(s3: S3Client, bucket: str, upload: str, number: int, body: bytes) -> dict[str, Any]:
    answer = s3.upload_part(Bucket=bucket, Key="k", UploadId=upload, PartNumber=number, Body=body)
    return {"PartNumber": number, "ETag": answer["ETag"]}


def complete(s3: S3Client, bucket: str, upload: str, parts: list[dict[str, Any]], **settings: Any) -> dict[str, Any]:
    answer: dict[str, Any] = s3.complete_multipart_upload(
        Bucket=bucket, Key="k", UploadId=upload, MultipartUpload={"Parts": parts}, **settings
    )
    return answer


def multipart_etag(bodies: list[bytes]) -> str:
    digests = b"".join(hashlib.md5(body).digest() for body in bodies)
    return f'"{hashlib.md5(digests).hexdigest()}-{len(bodies)}"'


@pytest.mark.conformance("s3", "CompleteMultipartUpload")
def test_parts_sent_out_of_order_make_one_object_in_order(s3: S3Client, bucket: str) -> None:
    bodies = [patterned(PART_BYTES, 1), patterned(PART_BYTES + 1, 2), b"the end"]
    upload = start(s3, bucket, ContentType="image/jpeg", Metadata={"camera": "door"}, Tagging="a=1")
    numbers = (3, 10, 10_000)
    parts = [put_part(s3, bucket, upload, numbers[i], bodies[i]) for i in (2, 0, 1)]
    assert keys_of(s3.list_objects_v2(Bucket=bucket)) == []
    parts.sort(key=lambda part: part["PartNumber"])
    assert complete(s3, bucket, upload, parts)["ETag"] == multipart_etag(bodies)
    got = s3.get_object(Bucket=bucket, Key="k")
    assert got["Body"].read() == b"".join(bodies)
    assert (got["ContentType"], got["Metadata"], got["TagCount"]) == ("image/jpeg", {"camera": "door"}, 1)


@pytest.mark.conformance("s3", "UploadPart")
def test_a_part_sent_again_replaces_the_first(s3: S3Client, bucket: str) -> None:
    upload = start(s3, bucket)
    first = put_part(s3, bucket, upload, 1, b"first")
    second = put_part(s3, bucket, upload, 1, b"second try")
    with refused("InvalidPart", 400):
        complete(s3, bucket, upload, [first])
    complete(s3, bucket, upload, [second])
    assert s3.get_object(Bucket=bucket, Key="k")["Body"].read() == b"second try"


@pytest.mark.conformance("s3", "CompleteMultipartUpload")
def test_only_the_parts_named_are_in_the_object(s3: S3Client, bucket: str) -> None:
    upload = start(s3, bucket)
    put_part(s3, bucket, upload, 1, b"left out")
    named = put_part(s3, bucket, upload, 2, b"named")
    complete(s3, bucket, upload, [named])
    assert s3.get_object(Bucket=bucket, Key="k")["Body"].read() == b"named"
    with refused("NoSuchUpload", 404):
        s3.list_parts(Bucket=bucket, Key="k", UploadId=upload)


@pytest.mark.conformance("s3", "CompleteMultipartUpload")
def test_bad_completions_are_refused_and_leave_the_upload(s3: S3Client, bucket: str) -> None:
    upload = start(s3, bucket)
    one, two = put_part(s3, bucket, upload, 1, b"small"), put_part(s3, bucket, upload, 2, b"last")
    with refused("EntityTooSmall", 400):
        complete(s3, bucket, upload, [one, two])
    for unordered in ([two, one], [one, one], [one | {"ETag": '"0123456789abcdef0123456789abcdef"'}, one]):
        with refused("InvalidPartOrder", 400):
            complete(s3, bucket, upload, unordered)
    with refused("InvalidPart", 400):
        complete(s3, bucket, upload, [one | {"PartNumber": 3}])
    with refused("InvalidPart", 400):
        complete(s3, bucket, upload, [one | {"ETag": '"0123456789abcdef0123456789abcdef"'}])
    with refused("MalformedXML", 400):
        complete(s3, bucket, upload, [])
    assert [part["PartNumber"] for part in s3.list_parts(Bucket=bucket, Key="k", UploadId=upload)["Parts"]] == [1, 2]
    with refused_head(404):
        s3.head_object(Bucket=bucket, Key="k")


@pytest.mark.conformance("s3", "GetObjectAttributes")
def test_parts_without_checksums_are_told_in_pages(s3: S3Client, bucket: str) -> None:
    upload = start(s3, bucket)
    bodies = [patterned(PART_BYTES), b"tail"]
    complete(s3, bucket, upload, [put_part(s3, bucket, upload, number, body) for number, body in enumerate(bodies, 1)])
    asked = {"Bucket": bucket, "Key": "k", "ObjectAttributes": ["ObjectParts"], "MaxParts": 1}
    first = s3.get_object_attributes(**asked)["ObjectParts"]
    assert (first["Parts"], first["IsTruncated"]) == ([{"PartNumber": 1, "Size": PART_BYTES}], True)
    second = s3.get_object_attributes(**asked, PartNumberMarker=first["NextPartNumberMarker"])["ObjectParts"]
    assert (second["Parts"], second["IsTruncated"]) == ([{"PartNumber": 2, "Size": 4}], False)
    assert first["TotalPartsCount"] == second["TotalPartsCount"] == 2


@pytest.mark.conformance("s3", "CompleteMultipartUpload")
def test_a_completion_sent_again_answers_the_same(s3: S3Client, bucket: str) -> None:
    upload = start(s3, bucket)
    parts = [put_part(s3, bucket, upload, 1, b"body")]
    assert complete(s3, bucket, upload, parts)["ETag"] == complete(s3, bucket, upload, parts)["ETag"]


@pytest.mark.conformance("s3", "CompleteMultipartUpload")
def test_of_two_completions_at_once_the_object_is_one_of_them_whole(s3: S3Client, bucket: str) -> None:
    uploads = [start(s3, bucket) for _ in range(4)]
    bodies = [patterned(PART_BYTES // 5, seed) for seed in range(4)]
    parts = [[put_part(s3, bucket, upload, 1, body)] for upload, body in zip(uploads, bodies, strict=True)]
    etags = [answer["ETag"] for answer in race(4, lambda i: complete(s3, bucket, uploads[i], parts[i]))]
    got = s3.get_object(Bucket=bucket, Key="k")
    assert got["Body"].read() == bodies[etags.index(got["ETag"])]


@pytest.mark.conformance("s3", "AbortMultipartUpload")
def test_an_aborted_upload_is_gone(s3: S3Client, bucket: str) -> None:
    upload = start(s3, bucket)
    parts = [put_part(s3, bucket, upload, 1, b"body")]
    answer = s3.abort_multipart_upload(Bucket=bucket, Key="k", UploadId=upload)
    assert answer["ResponseMetadata"]["HTTPStatusCode"] == 204
    assert "Uploads" not in s3.list_multipart_uploads(Bucket=bucket)
    with refused("NoSuchUpload", 404):
        complete(s3, bucket, upload, parts)
    with refused("NoSuchUpload", 404):
        put_part(s3, bucket, upload, 2, b"late")
    with refused("NoSuchUpload", 404):
        s3.abort_multipart_upload(Bucket=bucket, Key="k", UploadId=upload)


@pytest.mark.conformance("s3", "UploadPart")
@pytest.mark.parametrize("number", [0, 10_001])
def test_a_part_number_outside_1_to_10000_is_refused(s3: S3Client, bucket: str, number: int) -> None:
    upload = start(s3, bucket)
    with refused("InvalidArgument", 400):
        put_part(s3, bucket, upload, number, b"")


@pytest.mark.conformance("s3", "UploadPart")
def test_an_upload_belongs_to_its_key(s3: S3Client, bucket: str) -> None:
    upload = start(s3, bucket, key="another")
    with refused("NoSuchUpload", 404):
        put_part(s3, bucket, upload, 1, b"")


@pytest.mark.conformance("s3", "ListParts")
def test_parts_are_listed_in_pages(s3: S3Client, bucket: str) -> None:
    upload = start(s3, bucket)
    sent = [put_part(s3, bucket, upload, number, b"x" * number) for number in (1, 2, 7)]
    pages = list(
        s3.get_paginator("list_parts").paginate(
            Bucket=bucket, Key="k", UploadId=upload, PaginationConfig={"PageSize": 2}
        )
    )
    listed = [part for page in pages for part in page["Parts"]]
    assert [len(page["Parts"]) for page in pages] == [2, 1]
    assert [{"PartNumber": part["PartNumber"], "ETag": part["ETag"]} for part in listed] == sent
    assert [part["Size"] for part in listed] == [1, 2, 7]


@pytest.mark.conformance("s3", "GetObject")
def test_one_part_can_be_read_by_its_number(s3: S3Client, bucket: str) -> None:
    bodies = [patterned(PART_BYTES, 1), b"tail"]
    upload = start(s3, bucket)
    complete(s3, bucket, upload, [put_part(s3, bucket, upload, i + 1, body) for i, body in enumerate(bodies)])
    got = s3.get_object(Bucket=bucket, Key="k", PartNumber=2)
    assert (got["Body"].read(), got["PartsCount"]) == (b"tail", 2)
    assert got["ContentRange"] == f"bytes {PART_BYTES}-{PART_BYTES + 3}/{PART_BYTES + 4}"
    assert s3.head_object(Bucket=bucket, Key="k", PartNumber=1)["ContentLength"] == PART_BYTES
    with refused("InvalidPart", 400):
        s3.get_object(Bucket=bucket, Key="k", PartNumber=3)


@pytest.mark.conformance("s3", "GetObject")
def test_ranges_across_parts_are_exact(s3: S3Client, bucket: str) -> None:
    bodies = [patterned(PART_BYTES, 1), patterned(PART_BYTES, 2), b"tail"]
    upload = start(s3, bucket)
    complete(s3, bucket, upload, [put_part(s3, bucket, upload, i + 1, body) for i, body in enumerate(bodies)])
    whole = b"".join(bodies)
    for first, last in (
        (PART_BYTES - 1, PART_BYTES),
        (PART_BYTES - 7, 2 * PART_BYTES + 2),
        (2 * PART_BYTES, len(whole)),
    ):
        got = s3.get_object(Bucket=bucket, Key="k", Range=f"bytes={first}-{last}")["Body"].read()
        assert got == whole[first : last + 1], (first, last)


@pytest.mark.conformance("s3", "GetObjectAttributes")
def test_attributes_tell_size_parts_and_checksum(s3: S3Client, bucket: str) -> None:
    upload = start(s3, bucket, ChecksumAlgorithm="SHA256")
    parts = []
    for number, body in enumerate((patterned(PART_BYTES), b"tail"), 1):
        answer = s3.upload_part(
            Bucket=bucket, Key="k", UploadId=upload, PartNumber=number, Body=body, ChecksumAlgorithm="SHA256"
        )
        parts.append({"PartNumber": number, "ETag": answer["ETag"], "ChecksumSHA256": answer["ChecksumSHA256"]})
    done = complete(s3, bucket, upload, parts)
    wanted = ["ETag", "Checksum", "ObjectParts", "StorageClass", "ObjectSize"]
    got = s3.get_object_attributes(Bucket=bucket, Key="k", ObjectAttributes=wanted)
    assert (got["ETag"], got["ObjectSize"], got["StorageClass"]) == (
        done["ETag"].strip('"'),
        PART_BYTES + 4,
        "STANDARD",
    )
    # With or without the number of parts behind it: servers differ here.
    assert got["Checksum"]["ChecksumSHA256"].removesuffix("-2") == done["ChecksumSHA256"].removesuffix("-2")
    assert got["Checksum"]["ChecksumType"] == "COMPOSITE"
    assert got["ObjectParts"]["TotalPartsCount"] == 2
    assert [(part["PartNumber"], part["Size"]) for part in got["ObjectParts"]["Parts"]] == [(1, PART_BYTES), (2, 4)]
    assert [part["ChecksumSHA256"] for part in got["ObjectParts"]["Parts"]] == [p["ChecksumSHA256"] for p in parts]

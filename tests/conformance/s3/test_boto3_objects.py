"""Objects through boto3 with its default settings: bodies, metadata, ranges, conditional reads, deletion."""

import datetime as dt
import io
from pathlib import Path
from typing import Any

import pytest
from boto3.s3.transfer import TransferConfig
from tests.support.clients import MIB, S3Client, patterned, refused, refused_head

BODY = b"0123456789"
UNUSUAL_KEYS = [
    "plain",
    "with space and + plus",
    "percent%20%2F",
    "a//b///c",
    "/leading",
    "trailing/",
    "./dots/../inside",
    "q?a=b&c#d;e,f",
    "한국어/이미지.jpg",
    "😀",
    "tab\tand\nnewline",
    "<&>\"'",
    "k" * 1024,
]


@pytest.mark.conformance("s3", "PutObject")
@pytest.mark.parametrize("size_bytes", [0, 1, 4096, 16 * 1024 - 1, 16 * 1024 + 1, 300_000, 3 * MIB + 7])
def test_a_body_comes_back_byte_for_byte(s3: S3Client, bucket: str, size_bytes: int) -> None:
    body = patterned(size_bytes)
    put = s3.put_object(Bucket=bucket, Key="k", Body=body)
    got = s3.get_object(Bucket=bucket, Key="k")
    assert got["Body"].read() == body
    assert (got["ContentLength"], got["ETag"]) == (size_bytes, put["ETag"])
    assert s3.head_object(Bucket=bucket, Key="k")["ContentLength"] == size_bytes


@pytest.mark.conformance("s3", "PutObject")
@pytest.mark.parametrize("key", UNUSUAL_KEYS)
def test_any_utf8_key_up_to_1024_bytes_works(s3: S3Client, bucket: str, key: str) -> None:
    s3.put_object(Bucket=bucket, Key=key, Body=b"body")
    assert s3.get_object(Bucket=bucket, Key=key)["Body"].read() == b"body"
    assert [entry["Key"] for entry in s3.list_objects_v2(Bucket=bucket)["Contents"]] == [key]
    s3.delete_object(Bucket=bucket, Key=key)
    with refused_head(404):
        s3.head_object(Bucket=bucket, Key=key)


@pytest.mark.conformance("s3", "PutObject")
def test_headers_and_metadata_are_kept_as_given(s3: S3Client, bucket: str) -> None:
    expires = dt.datetime(2031, 5, 6, 7, 8, 9, tzinfo=dt.UTC)
    headers: dict[str, Any] = {
        "CacheControl": "max-age=60",
        "ContentDisposition": 'attachment; filename="a.jpg"',
        "ContentEncoding": "gzip",
        "ContentLanguage": "ko-KR",
        "ContentType": "image/jpeg",
        "Metadata": {"camera": "front door", "empty": "", "mixed-case": "Value"},
    }
    s3.put_object(Bucket=bucket, Key="k", Body=BODY, Expires=expires, **headers)
    for answer in (s3.head_object(Bucket=bucket, Key="k"), s3.get_object(Bucket=bucket, Key="k")):
        assert {name: answer[name] for name in headers} == headers
        assert answer["ExpiresString"] == "Tue, 06 May 2031 07:08:09 GMT"
        assert answer["AcceptRanges"] == "bytes"


@pytest.mark.conformance("s3", "PutObject")
def test_the_type_of_a_body_without_one_is_binary(s3: S3Client, bucket: str) -> None:
    s3.put_object(Bucket=bucket, Key="k", Body=BODY)
    assert s3.head_object(Bucket=bucket, Key="k")["ContentType"] == "binary/octet-stream"


@pytest.mark.conformance("s3", "PutObject")
def test_a_second_put_replaces_body_and_metadata(s3: S3Client, bucket: str) -> None:
    s3.put_object(Bucket=bucket, Key="k", Body=b"one", Metadata={"a": "1"}, Tagging="t=1")
    s3.put_object(Bucket=bucket, Key="k", Body=b"second")
    got = s3.get_object(Bucket=bucket, Key="k")
    assert (got["Body"].read(), got["Metadata"], "TagCount" in got) == (b"second", {}, False)


@pytest.mark.conformance("s3", "PutObject")
def test_metadata_past_two_kibibytes_is_refused(s3: S3Client, bucket: str) -> None:
    with refused("MetadataTooLarge", 400):
        s3.put_object(Bucket=bucket, Key="k", Body=b"", Metadata={"a": "x" * 2048})


@pytest.mark.conformance("s3", "PutObject")
def test_a_key_past_1024_bytes_is_refused(s3: S3Client, bucket: str) -> None:
    with refused("KeyTooLongError", 400):
        s3.put_object(Bucket=bucket, Key="가" * 342, Body=b"")


@pytest.mark.conformance("s3", "PutObject")
def test_a_file_object_is_streamed(s3: S3Client, bucket: str) -> None:
    body = patterned(2 * MIB)
    s3.put_object(Bucket=bucket, Key="k", Body=io.BytesIO(body))
    assert s3.get_object(Bucket=bucket, Key="k")["Body"].read() == body


@pytest.mark.conformance("s3", "GetObject")
@pytest.mark.parametrize(
    ("asked", "start", "end"),
    [
        ("bytes=0-0", 0, 1),
        ("bytes=2-5", 2, 6),
        ("bytes=7-", 7, 10),
        ("bytes=-3", 7, 10),
        ("bytes=-99", 0, 10),
        ("bytes=4-99", 4, 10),
    ],
)
def test_a_range_is_cut_to_the_object(s3: S3Client, bucket: str, asked: str, start: int, end: int) -> None:
    s3.put_object(Bucket=bucket, Key="k", Body=BODY)
    got = s3.get_object(Bucket=bucket, Key="k", Range=asked)
    assert (got["ResponseMetadata"]["HTTPStatusCode"], got["Body"].read()) == (206, BODY[start:end])
    assert (got["ContentRange"], got["ContentLength"]) == (f"bytes {start}-{end - 1}/10", end - start)


@pytest.mark.conformance("s3", "GetObject")
@pytest.mark.parametrize("asked", ["bytes=10-", "bytes=99-100", "bytes=-0"])
def test_a_range_outside_the_object_is_refused(s3: S3Client, bucket: str, asked: str) -> None:
    s3.put_object(Bucket=bucket, Key="k", Body=BODY)
    with refused("InvalidRange", 416):
        s3.get_object(Bucket=bucket, Key="k", Range=asked)


@pytest.mark.conformance("s3", "GetObject")
def test_ranges_of_a_large_body_are_exact_at_every_boundary(s3: S3Client, bucket: str) -> None:
    body = patterned(2 * MIB + 3)
    s3.put_object(Bucket=bucket, Key="k", Body=body)
    for start in (0, 1, 256 * 1024 - 1, 512 * 1024, MIB + 1, len(body) - 1):
        for size in (1, 256 * 1024, 512 * 1024 + 1):
            got = s3.get_object(Bucket=bucket, Key="k", Range=f"bytes={start}-{start + size - 1}")["Body"].read()
            assert got == body[start : start + size], (start, size)


@pytest.mark.conformance("s3", "GetObject")
def test_conditional_reads_by_etag(s3: S3Client, bucket: str) -> None:
    etag = s3.put_object(Bucket=bucket, Key="k", Body=BODY)["ETag"]
    assert s3.get_object(Bucket=bucket, Key="k", IfMatch=etag)["Body"].read() == BODY
    assert s3.get_object(Bucket=bucket, Key="k", IfNoneMatch='"other"')["Body"].read() == BODY
    with refused("PreconditionFailed", 412):
        s3.get_object(Bucket=bucket, Key="k", IfMatch='"other"')
    with refused_head(304):
        s3.get_object(Bucket=bucket, Key="k", IfNoneMatch=etag)
    with refused_head(412):
        s3.head_object(Bucket=bucket, Key="k", IfMatch='"other"')


@pytest.mark.conformance("s3", "GetObject")
def test_conditional_reads_by_time(s3: S3Client, bucket: str) -> None:
    s3.put_object(Bucket=bucket, Key="k", Body=BODY)
    modified = s3.head_object(Bucket=bucket, Key="k")["LastModified"]
    before = modified - dt.timedelta(hours=1)
    assert s3.get_object(Bucket=bucket, Key="k", IfModifiedSince=before)["Body"].read() == BODY
    assert s3.get_object(Bucket=bucket, Key="k", IfUnmodifiedSince=modified)["Body"].read() == BODY
    with refused_head(304):
        s3.get_object(Bucket=bucket, Key="k", IfModifiedSince=modified)
    with refused("PreconditionFailed", 412):
        s3.get_object(Bucket=bucket, Key="k", IfUnmodifiedSince=before)


@pytest.mark.conformance("s3", "GetObject")
def test_a_matching_etag_outweighs_a_time_that_does_not_hold(s3: S3Client, bucket: str) -> None:
    etag = s3.put_object(Bucket=bucket, Key="k", Body=BODY)["ETag"]
    modified = s3.head_object(Bucket=bucket, Key="k")["LastModified"]
    before, day = modified - dt.timedelta(hours=1), dt.timedelta(days=1)
    assert s3.get_object(Bucket=bucket, Key="k", IfMatch=etag, IfUnmodifiedSince=before)["Body"].read() == BODY
    with refused_head(304):
        s3.get_object(Bucket=bucket, Key="k", IfNoneMatch=etag, IfModifiedSince=before - day)


@pytest.mark.conformance("s3", "GetObject")
def test_a_caller_may_set_the_headers_of_the_answer(s3: S3Client, bucket: str) -> None:
    s3.put_object(Bucket=bucket, Key="k", Body=BODY, ContentType="text/plain")
    wishes = {
        "ResponseCacheControl": "no-store",
        "ResponseContentDisposition": "attachment",
        "ResponseContentEncoding": "identity",
        "ResponseContentLanguage": "ko",
        "ResponseContentType": "image/png",
    }
    got = s3.get_object(Bucket=bucket, Key="k", **wishes)
    assert {name: got[name.removeprefix("Response")] for name in wishes} == wishes


@pytest.mark.conformance("s3", "DeleteObject")
def test_a_deletion_is_done_once_and_answers_the_same_again(s3: S3Client, bucket: str) -> None:
    s3.put_object(Bucket=bucket, Key="k", Body=BODY)
    for _ in range(2):
        assert s3.delete_object(Bucket=bucket, Key="k")["ResponseMetadata"]["HTTPStatusCode"] == 204
    with refused("NoSuchKey", 404):
        s3.get_object(Bucket=bucket, Key="k")


@pytest.mark.conformance("s3", "DeleteObjects")
def test_many_keys_go_at_once_missing_ones_included(s3: S3Client, bucket: str) -> None:
    for key in ("a&b", "keep", "ü"):
        s3.put_object(Bucket=bucket, Key=key, Body=b"")
    doomed = [{"Key": key} for key in ("a&b", "ü", "never-there")]
    answer = s3.delete_objects(Bucket=bucket, Delete={"Objects": doomed})
    assert sorted(entry["Key"] for entry in answer["Deleted"]) == ["a&b", "never-there", "ü"]
    assert "Errors" not in answer
    assert [entry["Key"] for entry in s3.list_objects_v2(Bucket=bucket)["Contents"]] == ["keep"]
    assert "Deleted" not in s3.delete_objects(Bucket=bucket, Delete={"Objects": [{"Key": "keep"}], "Quiet": True})


@pytest.mark.conformance("s3", "DeleteObjects")
def test_more_than_a_thousand_keys_at_once_are_refused(s3: S3Client, bucket: str) -> None:
    with refused("MalformedXML", 400):
        s3.delete_objects(Bucket=bucket, Delete={"Objects": [{"Key": str(number)} for number in range(1001)]})


@pytest.mark.conformance("s3", "UploadFile")
@pytest.mark.parametrize("size_bytes", [0, 1000, 17 * MIB + 11])
def test_files_go_up_and_come_down_with_the_transfer_manager(
    s3: S3Client, bucket: str, tmp_path: Path, size_bytes: int
) -> None:
    source, target = tmp_path / "source", tmp_path / "target"
    source.write_bytes(patterned(size_bytes))
    s3.upload_file(str(source), bucket, "raw/file.bin", ExtraArgs={"Metadata": {"a": "b"}})
    s3.download_file(bucket, "raw/file.bin", str(target))
    assert target.read_bytes() == source.read_bytes()
    assert s3.head_object(Bucket=bucket, Key="raw/file.bin")["Metadata"] == {"a": "b"}


@pytest.mark.conformance("s3", "UploadFile")
def test_small_parts_in_many_threads_arrive_in_order(s3: S3Client, bucket: str) -> None:
    body = patterned(26 * MIB + 1)
    config = TransferConfig(multipart_threshold=5 * MIB, multipart_chunksize=5 * MIB, max_concurrency=8)
    s3.upload_fileobj(io.BytesIO(body), bucket, "k", Config=config)
    head = s3.head_object(Bucket=bucket, Key="k")
    assert (head["ContentLength"], head["ETag"][-3:]) == (len(body), '-6"')
    received = io.BytesIO()
    s3.download_fileobj(bucket, "k", received, Config=config)
    assert received.getvalue() == body

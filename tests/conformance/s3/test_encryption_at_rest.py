"""A server that encrypts all it stores: stock clients notice nothing, its files tell nothing, and the key stays put."""

import base64
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from botocore.exceptions import ClientError, HTTPClientError
from tests.support.clients import S3Client, boto3_client
from tests.support.server import ServerProcess, isolated_environment

MIB = 1024 * 1024
BUCKET, PLAIN = "images", "plain"
KEY = base64.b64encode(bytes(range(32))).decode()
WORD = b"plaintext-that-must-not-be-found"
SIZES = [0, 1, 16_384, 16_385, 65_536, 65_537, 300_000, 8 * MIB + 7]

pytestmark = pytest.mark.skipif("HOSU_TEST_ENDPOINT" in os.environ, reason="looks into the server's files")


@pytest.fixture(scope="module")
def process(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    scratch = tmp_path_factory.mktemp("encrypted")
    settings = {"MINIO_KMS_SECRET_KEY": f"my-key:{KEY}", "MINIO_KMS_AUTO_ENCRYPTION": "on"}
    with ServerProcess(scratch / "lake", scratch / "log", settings) as started:
        yield started


@pytest.fixture(scope="module")
def encrypted_s3(process: ServerProcess) -> Iterator[S3Client]:
    client = boto3_client(process.endpoint)
    client.create_bucket(Bucket=BUCKET)
    yield client
    client.close()


def body_of(size_bytes: int) -> bytes:
    return (WORD * (size_bytes // len(WORD) + 1))[:size_bytes]


@pytest.mark.parametrize("size_bytes", SIZES)
def test_what_was_put_is_got(encrypted_s3: S3Client, size_bytes: int) -> None:
    key = f"put/{size_bytes}"
    body = body_of(size_bytes)
    encrypted_s3.put_object(Bucket=BUCKET, Key=key, Body=body)
    for _ in range(2):
        assert encrypted_s3.get_object(Bucket=BUCKET, Key=key)["Body"].read() == body
    assert encrypted_s3.head_object(Bucket=BUCKET, Key=key)["ContentLength"] == size_bytes


@pytest.mark.parametrize("size_bytes", SIZES[3:])
def test_ranges_are_those_of_the_plain_bytes(encrypted_s3: S3Client, size_bytes: int) -> None:
    key = f"range/{size_bytes}"
    body = os.urandom(size_bytes)
    encrypted_s3.put_object(Bucket=BUCKET, Key=key, Body=body)
    for start, end in [
        (0, 1), (0, size_bytes), (size_bytes - 1, size_bytes), (65_535, 65_538), (65_536, 131_072),
        (262_143, 262_145), (300_001, 6 * MIB + 1),
    ]:  # fmt: skip
        if start >= size_bytes:
            continue
        found = encrypted_s3.get_object(Bucket=BUCKET, Key=key, Range=f"bytes={start}-{end - 1}")["Body"].read()
        assert found == body[start:end]


def test_an_upload_in_parts_comes_back(encrypted_s3: S3Client) -> None:
    bodies = [os.urandom(5 * MIB + 3), os.urandom(5 * MIB), os.urandom(11)]
    upload = encrypted_s3.create_multipart_upload(Bucket=BUCKET, Key="parts")["UploadId"]
    parts = []
    for number, body in enumerate(bodies, 1):
        made = encrypted_s3.upload_part(Bucket=BUCKET, Key="parts", UploadId=upload, PartNumber=number, Body=body)
        parts.append({"PartNumber": number, "ETag": made["ETag"]})
    encrypted_s3.complete_multipart_upload(
        Bucket=BUCKET, Key="parts", UploadId=upload, MultipartUpload={"Parts": parts}
    )
    whole = b"".join(bodies)
    assert encrypted_s3.get_object(Bucket=BUCKET, Key="parts")["Body"].read() == whole
    start = 5 * MIB - 100
    found = encrypted_s3.get_object(Bucket=BUCKET, Key="parts", Range=f"bytes={start}-{start + 5 * MIB + 299}")
    assert found["Body"].read() == whole[start : start + 5 * MIB + 300]
    assert encrypted_s3.get_object(Bucket=BUCKET, Key="parts", PartNumber=2)["Body"].read() == bodies[1]
    encrypted_s3.copy_object(Bucket=BUCKET, Key="parts-copy", CopySource=f"{BUCKET}/parts")
    assert encrypted_s3.get_object(Bucket=BUCKET, Key="parts-copy")["Body"].read() == whole


def test_an_object_of_many_parts_is_streamed(encrypted_s3: S3Client) -> None:
    source = os.urandom(5 * MIB)
    encrypted_s3.put_object(Bucket=BUCKET, Key="source", Body=source)
    upload = encrypted_s3.create_multipart_upload(Bucket=BUCKET, Key="many")["UploadId"]
    parts = []
    for number in range(1, 71):
        made = encrypted_s3.upload_part_copy(
            Bucket=BUCKET, Key="many", UploadId=upload, PartNumber=number, CopySource=f"{BUCKET}/source"
        )
        parts.append({"PartNumber": number, "ETag": made["CopyPartResult"]["ETag"]})
    encrypted_s3.complete_multipart_upload(Bucket=BUCKET, Key="many", UploadId=upload, MultipartUpload={"Parts": parts})
    answer = encrypted_s3.get_object(Bucket=BUCKET, Key="many")["Body"]
    for _ in range(70):
        assert answer.read(5 * MIB) == source
    assert answer.read() == b""


def test_no_file_of_the_lake_holds_the_bytes_or_the_key(encrypted_s3: S3Client, process: ServerProcess) -> None:
    encrypted_s3.put_object(Bucket=BUCKET, Key="small", Body=body_of(1_000))
    encrypted_s3.put_object(Bucket=BUCKET, Key="large", Body=body_of(200_000))
    found = 0
    for path in process.directory.rglob("*"):
        if path.is_file():
            data = path.read_bytes()
            found += len(data)
            assert WORD not in data, path
            assert KEY.encode() not in data, path
            assert bytes(range(32)) not in data, path
    assert found > 200_000


def test_no_process_of_the_server_shows_the_key(encrypted_s3: S3Client, process: ServerProcess) -> None:
    encrypted_s3.list_buckets()
    parent = psutil.Process(process.pid)
    processes = [parent, *parent.children(recursive=True)]
    assert len(processes) > 1
    for one in processes:
        assert KEY not in " ".join(one.cmdline())
        assert KEY not in str(one.environ()), one
    assert KEY not in process.log_path.read_text()


def test_a_damaged_file_is_never_served(encrypted_s3: S3Client, process: ServerProcess) -> None:
    before = set((process.directory / "blobs").glob("*/*"))
    body = os.urandom(3 * MIB)
    encrypted_s3.put_object(Bucket=BUCKET, Key="damaged", Body=body)
    (path,) = set((process.directory / "blobs").glob("*/*")) - before
    data = bytearray(path.read_bytes())
    data[2 * MIB] ^= 1
    path.write_bytes(data)
    untouched = encrypted_s3.get_object(Bucket=BUCKET, Key="damaged", Range="bytes=0-99999")["Body"].read()
    assert untouched == body[:100_000]
    with pytest.raises((ClientError, HTTPClientError)):
        encrypted_s3.get_object(Bucket=BUCKET, Key="damaged")["Body"].read()
    with pytest.raises(ClientError) as refused:  # by now the server knows
        encrypted_s3.get_object(Bucket=BUCKET, Key="damaged")
    assert refused.value.response["ResponseMetadata"]["HTTPStatusCode"] == 500


def test_a_server_with_the_wrong_key_or_none_does_not_start(tmp_path: Path) -> None:
    lake = tmp_path / "lake"
    with ServerProcess(lake, tmp_path / "log", {"HOSU_LAKE_KEY": KEY, "HOSU_DEFAULT_ENCRYPTION": "on"}) as process:
        client = boto3_client(process.endpoint)
        client.create_bucket(Bucket=BUCKET)
        client.put_object(Bucket=BUCKET, Key="k", Body=b"body")
        client.close()
    before = {path: path.read_bytes() for path in lake.rglob("*") if path.is_file()}
    wrong = base64.b64encode(b"w" * 32).decode()
    for settings, reason in ({"HOSU_LAKE_KEY": wrong}, "fingerprint"), ({}, "set HOSU_LAKE_KEY"):
        done = subprocess.run(
            [sys.executable, "-m", "hosu", "serve", str(lake), "--address", "127.0.0.1:0"],
            env=isolated_environment() | settings,
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
        assert done.returncode == 1
        assert reason in done.stderr
        assert wrong not in done.stderr
        assert {path: path.read_bytes() for path in lake.rglob("*") if path.is_file()} == before
    with ServerProcess(lake, tmp_path / "log", {"HOSU_LAKE_KEY": KEY}) as process:
        client = boto3_client(process.endpoint)
        assert client.get_object(Bucket=BUCKET, Key="k")["Body"].read() == b"body"
        client.close()

"""S0.15: an upload that breaks is tried again three times by the clients, and never leaves a partial object visible."""

import io
import random
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError
from minio import Minio
from tests.support.clients import S3Client, boto3_client
from tests.support.server import Endpoint
from tests.unit.cli.conftest import FlakyProxy

from hosu.kernel.limits import MIB

LARGE = random.Random(1).randbytes(12 * MIB)
BEFORE, AFTER = b"as it was before", random.Random(2).randbytes(MIB)


@pytest.fixture
def proxy(server: Endpoint) -> Iterator[FlakyProxy]:
    host, _, port = server.host.partition(":")
    flaky = FlakyProxy((host, int(port)))
    yield flaky
    flaky._listener.shutdown(socket.SHUT_RDWR)  # its threads end with the connections that clients keep
    flaky._listener.close()


@pytest.fixture
def flaky(server: Endpoint, proxy: FlakyProxy) -> Iterator[S3Client]:
    client = boto3_client(server, Config(retries={"total_max_attempts": 4, "mode": "standard"}), endpoint_url=proxy.url)
    yield client
    client.close()


def read(s3: S3Client, bucket: str, key: str) -> bytes:
    body: bytes = s3.get_object(Bucket=bucket, Key=key)["Body"].read()
    return body


def test_boto3_stores_an_object_on_its_last_try(s3: S3Client, flaky: S3Client, proxy: FlakyProxy, bucket: str) -> None:
    proxy.faults.extend([("up", 300_000)] * 3)
    flaky.put_object(Bucket=bucket, Key="k", Body=AFTER)
    assert proxy.cuts == 3
    assert read(s3, bucket, "k") == AFTER


def test_boto3_gives_up_after_three_retries_and_what_was_there_stays_whole(
    s3: S3Client, flaky: S3Client, proxy: FlakyProxy, bucket: str
) -> None:
    s3.put_object(Bucket=bucket, Key="k", Body=BEFORE)
    proxy.always = ("up", 300_000)
    for key in ("k", "new"):
        with pytest.raises((BotoCoreError, ClientError)):
            flaky.put_object(Bucket=bucket, Key=key, Body=AFTER)
    assert proxy.cuts == 8
    assert read(s3, bucket, "k") == BEFORE
    assert [entry["Key"] for entry in s3.list_objects_v2(Bucket=bucket)["Contents"]] == ["k"]


def test_boto3_sends_the_parts_again_that_broke(
    s3: S3Client, flaky: S3Client, proxy: FlakyProxy, bucket: str, tmp_path: Path
) -> None:
    (tmp_path / "large").write_bytes(LARGE)
    proxy.faults.extend([("up", 5 * MIB)] * 2)
    seen: list[int] = []

    def look(_: int) -> None:
        seen.append(s3.list_objects_v2(Bucket=bucket)["KeyCount"])

    flaky.upload_file(str(tmp_path / "large"), bucket, "large", Callback=look)
    assert proxy.cuts == 2
    assert set(seen) == {0}
    assert read(s3, bucket, "large") == LARGE


def test_minio_py_stores_an_object_although_its_connection_breaks(
    s3: S3Client, server: Endpoint, proxy: FlakyProxy, bucket: str
) -> None:
    client: Any = Minio(
        endpoint=proxy.url.removeprefix("http://"),
        access_key=server.access_key,
        secret_key=server.secret_key,
        region=server.region,
        secure=False,
    )
    proxy.faults.extend([("up", 300_000)] * 3)
    client.put_object(bucket_name=bucket, object_name="k", data=io.BytesIO(AFTER), length=len(AFTER))
    assert proxy.cuts == 3
    assert read(s3, bucket, "k") == AFTER

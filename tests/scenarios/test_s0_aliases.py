"""S0.6: `current/` of the smart door points to a trained model; readers see the old one or the new one, never a mix."""

import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from minio import Minio
from tests.support.clients import S3Client, boto3_client, keys_of, refused, refused_head
from tests.support.server import ServerProcess

import hosu
from hosu.lake import Bucket

FILES = [f"part-{number:02}.bin" for number in range(12)]
TRAINED = ("models/training/v1.0.0/", "models/training/v2.0.0/")
CURRENT = "models/production/current/"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, isolated_shell: None) -> Iterator[ServerProcess]:  # noqa: ARG001 - the server inherits the cleaned environment
    folder = tmp_path_factory.mktemp("door")
    with ServerProcess(folder / "lake", folder / "server.log") as process:
        yield process


@pytest.fixture(scope="module")
def s3(server: ServerProcess) -> Iterator[S3Client]:
    client = boto3_client(server.endpoint)
    yield client
    client.close()


@pytest.fixture(scope="module")
def minio(server: ServerProcess) -> Minio:
    endpoint = server.endpoint
    return Minio(endpoint.host, access_key=endpoint.access_key, secret_key=endpoint.secret_key, secure=False)


class Door:
    """The bucket of one test; its alias is switched by the command line, beside the running server."""

    def __init__(self, folder: Path, bucket: str) -> None:
        self.folder = folder
        self.bucket = bucket

    def alias(self, *words: str) -> list[dict[str, Any]]:
        """Run `hosu alias` in a process of its own."""
        verb, *rest = words
        command = [sys.executable, "-m", "hosu", "alias", verb, str(self.folder), self.bucket, *rest, "--json"]
        done = subprocess.run(command, check=True, capture_output=True, text=True)
        return [json.loads(line) for line in done.stdout.splitlines()]


@pytest.fixture
def door(server: ServerProcess, s3: S3Client, bucket_name: str) -> Door:
    s3.create_bucket(Bucket=bucket_name)
    for version in TRAINED:
        for name in FILES:
            s3.put_object(Bucket=bucket_name, Key=version + name, Body=f"{version}{name}".encode())
    s3.put_object(Bucket=bucket_name, Key=f"{TRAINED[1]}only-in-v2.bin", Body=b"new")
    s3.put_object(Bucket=bucket_name, Key="models/readme.txt", Body=b"readme")
    return Door(server.directory, bucket_name)


def test_boto3_reads_through_an_alias(door: Door, s3: S3Client) -> None:
    door.alias("set", CURRENT, TRAINED[0])
    key = f"{CURRENT}{FILES[0]}"
    got = s3.get_object(Bucket=door.bucket, Key=key)
    stored = s3.head_object(Bucket=door.bucket, Key=f"{TRAINED[0]}{FILES[0]}")
    head = s3.head_object(Bucket=door.bucket, Key=key)
    assert got["Body"].read() == f"{TRAINED[0]}{FILES[0]}".encode()
    assert got["ETag"] == head["ETag"] == stored["ETag"]
    assert head["ContentLength"] == stored["ContentLength"]
    assert s3.get_object(Bucket=door.bucket, Key=key, Range="bytes=0-5")["Body"].read() == b"models"
    for list_objects in (s3.list_objects, s3.list_objects_v2):
        assert keys_of(list_objects(Bucket=door.bucket, Prefix=CURRENT)) == [CURRENT + name for name in FILES]
        page = list_objects(Bucket=door.bucket, Prefix="models/", Delimiter="/")
        assert [entry["Prefix"] for entry in page["CommonPrefixes"]] == ["models/production/", "models/training/"]
    with refused("NoSuchKey", 404):
        s3.get_object(Bucket=door.bucket, Key=f"{CURRENT}only-in-v2.bin")
    with refused_head(404):
        s3.head_object(Bucket=door.bucket, Key=f"{CURRENT}only-in-v2.bin")


def test_minio_py_reads_through_an_alias(door: Door, minio: Minio) -> None:
    door.alias("set", CURRENT, TRAINED[1])
    key = f"{CURRENT}only-in-v2.bin"
    answer = minio.get_object(door.bucket, key)
    try:
        assert answer.read() == b"new"
    finally:
        answer.close()
        answer.release_conn()
    assert minio.stat_object(door.bucket, key).size == 3
    listed = [entry.object_name for entry in minio.list_objects(door.bucket, CURRENT, recursive=True)]
    assert sorted(listed) == sorted([key, *(CURRENT + name for name in FILES)])
    folders = [entry.object_name for entry in minio.list_objects(door.bucket, "models/")]
    assert sorted(folders) == ["models/production/", "models/readme.txt", "models/training/"]


def test_a_switch_shows_at_once_is_recorded_and_can_be_taken_back(door: Door, s3: S3Client) -> None:
    key = f"{CURRENT}{FILES[0]}"

    def read() -> bytes:
        body: bytes = s3.get_object(Bucket=door.bucket, Key=key)["Body"].read()
        return body

    assert door.alias("set", CURRENT, TRAINED[0])[0]["source"] is None
    assert read().startswith(TRAINED[0].encode())
    door.alias("set", CURRENT, TRAINED[1])
    assert read().startswith(TRAINED[1].encode())
    assert door.alias("revert", CURRENT)[0]["target"] == TRAINED[0]
    assert read().startswith(TRAINED[0].encode())
    history = door.alias("history", CURRENT)
    assert [(line["source"], line["target"]) for line in history] == [
        (TRAINED[1], TRAINED[0]),
        (TRAINED[0], TRAINED[1]),
        (None, TRAINED[0]),
    ]
    assert all(line["actor"] for line in history)
    assert [line["at"] for line in history] == sorted((line["at"] for line in history), reverse=True)
    door.alias("rm", CURRENT)
    with refused("NoSuchKey", 404):
        read()
    assert s3.head_object(Bucket=door.bucket, Key=f"{TRAINED[0]}{FILES[0]}")["ContentLength"] > 0


def test_a_listing_that_began_before_a_switch_ends_with_the_old_target(door: Door, s3: S3Client) -> None:
    door.alias("set", CURRENT, TRAINED[0])
    page = s3.list_objects_v2(Bucket=door.bucket, Prefix=CURRENT, MaxKeys=5)
    found = keys_of(page)
    door.alias("set", CURRENT, TRAINED[1])
    while page["IsTruncated"]:
        token = page["NextContinuationToken"]
        page = s3.list_objects_v2(Bucket=door.bucket, Prefix=CURRENT, MaxKeys=5, ContinuationToken=token)
        found += keys_of(page)
    assert found == [CURRENT + name for name in FILES]
    assert f"{CURRENT}only-in-v2.bin" in keys_of(s3.list_objects_v2(Bucket=door.bucket, Prefix=CURRENT))


def test_listings_under_switches_show_one_model_each(door: Door, s3: S3Client) -> None:
    """ETags tell the models apart, so a page of one and a page of the other would show."""
    etags = {}
    for version in TRAINED:
        page = s3.list_objects_v2(Bucket=door.bucket, Prefix=version)
        etags[version] = {entry["Key"].removeprefix(version): entry["ETag"] for entry in page["Contents"]}
    finished = threading.Event()
    with hosu.open(door.folder) as lake, ThreadPoolExecutor(1) as pool:
        switching = pool.submit(switch_until, finished, lake.bucket(door.bucket))
        try:
            seen = [listed(s3, door.bucket) for _ in range(25)]
        finally:
            finished.set()
        assert switching.result() > 1
    models = list(etags.values())
    assert [model for model in seen if model not in models] == []


def switch_until(finished: threading.Event, bucket: Bucket) -> int:
    """Switch back and forth as fast as it goes; return how often."""
    current, count = bucket.alias(CURRENT), 0
    while not finished.is_set():
        current.set(TRAINED[count % 2])
        count += 1
    return count


def listed(s3: S3Client, bucket: str) -> dict[str, str]:
    """List the model in pages of four; return the ETag of each file. It retries while there is no alias yet."""
    found: dict[str, str] = {}
    while not found:
        for page in s3.get_paginator("list_objects_v2").paginate(
            Bucket=bucket, Prefix=CURRENT, PaginationConfig={"PageSize": 4}
        ):
            for entry in page.get("Contents", []):
                found[entry["Key"].removeprefix(CURRENT)] = entry["ETag"]
    return found


def test_writes_below_an_alias_are_refused_by_name(door: Door, s3: S3Client) -> None:
    door.alias("set", CURRENT, TRAINED[0])
    key, source = f"{CURRENT}{FILES[0]}", {"Bucket": door.bucket, "Key": f"{TRAINED[0]}{FILES[0]}"}
    with refused("AliasReadOnly", 409):
        s3.put_object(Bucket=door.bucket, Key=f"{CURRENT}new.bin", Body=b"x")
    with refused("AliasReadOnly", 409):
        s3.put_object(Bucket=door.bucket, Key=key, Body=bytes(1024 * 1024))
    with refused("AliasReadOnly", 409):
        s3.copy_object(Bucket=door.bucket, Key=f"{CURRENT}new.bin", CopySource=source)
    with refused("AliasReadOnly", 409):
        s3.delete_object(Bucket=door.bucket, Key=key)
    with refused("AliasReadOnly", 409):
        s3.create_multipart_upload(Bucket=door.bucket, Key=f"{CURRENT}big.bin")
    with refused("AliasReadOnly", 409):
        s3.put_object_tagging(Bucket=door.bucket, Key=key, Tagging={"TagSet": [{"Key": "a", "Value": "b"}]})
    answer = s3.delete_objects(Bucket=door.bucket, Delete={"Objects": [{"Key": key}]})
    assert [error["Code"] for error in answer["Errors"]] == ["AliasReadOnly"]
    copied = s3.copy_object(Bucket=door.bucket, Key="elsewhere.bin", CopySource={"Bucket": door.bucket, "Key": key})
    assert copied["CopyObjectResult"]["ETag"] == s3.head_object(**source)["ETag"]
    s3.put_object(Bucket=door.bucket, Key=f"{TRAINED[0]}new.bin", Body=b"by its own name")
    assert s3.get_object(Bucket=door.bucket, Key=f"{CURRENT}new.bin")["Body"].read() == b"by its own name"

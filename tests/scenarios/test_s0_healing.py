"""S0.10 and S0.16: a production model has a second copy, and a corrupt one is restored while a client reads it."""

import os
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ResponseStreamingError
from tests.support.clients import boto3_client
from tests.support.server import ServerProcess

import hosu
from hosu.objects.alerts import Alert, list_alerts
from hosu.objects.protected import ProtectedPrefix
from hosu.objects.read import blob_row, find
from hosu.objects.transaction import Tx
from hosu.rules.copies import copy_key
from hosu.rules.locations import check_location
from hosu.rules.protection import protect

BUCKET = "smart-door"
MODEL = b"weights" * 200_000
DEADLINE_S = 30.0


def until(true: Callable[[], object]) -> None:
    """Wait for something that another process does."""
    deadline = time.monotonic() + DEADLINE_S
    while not true():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.05)


@pytest.fixture(params=["plain", "encrypted"])
def process(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[ServerProcess]:
    settings = {"HOSU_DAY_SECONDS": "5"}
    if request.param == "encrypted":
        key_file = tmp_path / "lake.key"
        key_file.write_text("MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=\n")
        settings |= {"HOSU_LAKE_KEY_FILE": str(key_file), "HOSU_DEFAULT_ENCRYPTION": "on"}
    with ServerProcess(tmp_path / "lake", tmp_path / "server.log", settings) as started:
        for name, value in settings.items():
            os.environ[name] = value
        yield started
        for name in settings:
            del os.environ[name]


def blob_path(lake: "hosu.Lake", key: str) -> Path:
    blob_id = find(lake.store.view(), BUCKET, key).blob_id
    return lake.store.files.path(blob_id or 0)


def flip(path: Path) -> None:
    body = bytearray(path.read_bytes())
    body[len(body) // 2] ^= 1
    path.write_bytes(body)


def alerts(lake: "hosu.Lake", kind: str) -> list[Alert]:
    return [alert for alert in list_alerts(lake.store.view()) if alert.kind == kind]


def test_a_corrupt_model_is_restored_from_its_second_copy_or_goes_back(process: ServerProcess, tmp_path: Path) -> None:
    location = tmp_path / "second-disk"
    client: Any = boto3_client(process.endpoint)
    client.create_bucket(Bucket=BUCKET)
    client.put_bucket_versioning(Bucket=BUCKET, VersioningConfiguration={"Status": "Enabled"})
    with hosu.open(process.directory) as lake:
        check_location(str(location), lake.path)
        lake.store.commit(
            partial(protect, entry=ProtectedPrefix(BUCKET, "models/production/", str(location)))
        )  # fmt: skip
        key = "models/production/best.pt"
        first = client.put_object(Bucket=BUCKET, Key=key, Body=MODEL)["VersionId"]
        client.put_object(Bucket=BUCKET, Key="models/production/small.json", Body=b"{}")
        second = client.put_object(Bucket=BUCKET, Key=key, Body=MODEL + b"2")["VersionId"]
        until(lambda: len(list(location.glob("blobs/??/*"))) == 3)
        row = blob_row(lake.store.view(), find(lake.store.view(), BUCKET, key).blob_id or 0)
        until(lambda: lake.store.view().value("SELECT 1 FROM copy WHERE hash = ?", (row.digest,)))

        # Noticed and restored within the request that reads it.
        flip(blob_path(lake, key))
        assert client.get_object(Bucket=BUCKET, Key=key)["Body"].read() == MODEL + b"2"
        blob_path(lake, key).unlink()
        ranged = client.get_object(Bucket=BUCKET, Key=key, Range=f"bytes={len(MODEL)}-")
        assert ranged["Body"].read() == b"2"
        assert blob_path(lake, key).exists()
        assert len(alerts(lake, "restored-object")) == 1

        # Noticed by the scrub in the background, which reads what is protected every day.
        flip(blob_path(lake, key))
        whole = (location / copy_key(row.digest or b"")).read_bytes()

        def is_restored() -> bool:
            lake.store.commit(Tx.change_access)  # has the keeper ask what is due, as it does every minute
            return blob_path(lake, key).read_bytes() == whole

        until(is_restored)

        # Without a sound copy the version before is current again, and the corrupt one is kept.
        flip(blob_path(lake, key))
        (location / copy_key(row.digest or b"")).unlink()
        assert client.get_object(Bucket=BUCKET, Key=key)["Body"].read() == MODEL
        versions = client.list_object_versions(Bucket=BUCKET, Prefix=key)["Versions"]
        assert {first, second} < {version["VersionId"] for version in versions}
        with pytest.raises(client.exceptions.ClientError) as refused:
            client.get_object(Bucket=BUCKET, Key=key, VersionId=second)
        assert refused.value.response["Error"]["Code"] == "InternalError"
        (lost,) = alerts(lake, "corrupt-object")
        assert f"{BUCKET}/{key} (version {second})" in lost.message
        until(lambda: any(b"protection:GoBack" in line for line in _audit(process.directory)))
    client.close()


def _audit(lake: Path) -> list[bytes]:
    return [line for path in (lake / "audit").glob("*") for line in path.read_bytes().splitlines()]


def test_an_object_that_is_not_protected_is_refused_and_named(process: ServerProcess) -> None:
    client: Any = boto3_client(process.endpoint)
    client.create_bucket(Bucket=BUCKET)
    client.put_object(Bucket=BUCKET, Key="images/a.jpg", Body=MODEL)
    with hosu.open(process.directory) as lake:
        flip(blob_path(lake, "images/a.jpg"))
        # Encrypted bytes prove themselves as they are sent: the first reader's connection ends before they all came.
        with pytest.raises((client.exceptions.ClientError, ResponseStreamingError)):
            client.get_object(Bucket=BUCKET, Key="images/a.jpg")["Body"].read()
        with pytest.raises(client.exceptions.ClientError) as refused:
            client.get_object(Bucket=BUCKET, Key="images/a.jpg")
        assert refused.value.response["Error"]["Code"] == "InternalError"
        assert f"{BUCKET}/images/a.jpg" in alerts(lake, "corrupt-object")[0].message
    client.close()

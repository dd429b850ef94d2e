"""A server is killed under boto3 clients, again and again; every acknowledged byte is there after the restart."""

import importlib.util
import os
import random
import threading
from pathlib import Path

import pytest
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError
from tests.crash.child import body_of
from tests.support.clients import MIB, S3Client, boto3_client, patterned
from tests.support.server import Endpoint, ServerProcess

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("hosu") is None or importlib.util.find_spec("hosu.__main__") is None,
    reason="needs a hosu that serves",
)

ROUNDS = 40 if os.environ.get("HOSU_NIGHTLY") == "1" else 4
CLIENTS = 4
KEYS_PER_CLIENT = 8
RUN_SECONDS = (0.1, 0.6)
BUCKET = "kill"
IMPATIENT = Config(retries={"total_max_attempts": 1}, connect_timeout=2, read_timeout=10)


class Load:
    """A client that puts and deletes keys of its own until its server is gone, and remembers what it was told."""

    def __init__(self, endpoint: Endpoint, name: str, number: int, expected: dict[str, str | None]) -> None:
        self.expected = expected
        self.in_flight: dict[str, str | None] = {}
        self.acknowledged = 0
        self._client = boto3_client(endpoint, IMPATIENT)
        self._name, self._number = name, number
        self.thread = threading.Thread(target=self._run)
        self.thread.start()

    def _run(self) -> None:
        chance = random.Random(f"{self._name}/{self._number}")
        turn = 0
        while True:
            turn += 1
            key = f"{self._number}/{chance.randrange(KEYS_PER_CLIENT)}"
            seed = None if chance.random() < 1 / 4 else f"{self._name}/{self._number}/{turn}"
            self.in_flight = {key: seed}
            try:
                if seed is None:
                    self._client.delete_object(Bucket=BUCKET, Key=key)
                else:
                    self._client.put_object(Bucket=BUCKET, Key=key, Body=body_of(seed))
            except (BotoCoreError, ClientError):
                self._client.close()
                return
            self.expected[key] = seed
            self.in_flight = {}
            self.acknowledged += 1


def stored(client: S3Client) -> dict[str, bytes]:
    keys = [it["Key"] for it in client.list_objects_v2(Bucket=BUCKET).get("Contents", [])]
    return {key: client.get_object(Bucket=BUCKET, Key=key)["Body"].read() for key in keys}


def settle(loads: list[Load], expected: dict[str, str | None], found: dict[str, bytes]) -> None:
    """Hold what is stored to what was acknowledged, and take over what became of the writes that were not."""
    pending = {key: seed for load in loads for key, seed in load.in_flight.items()}
    expected |= {key: seed for key, seed in pending.items() if found.get(key) == (seed and body_of(seed))}
    assert found == {key: body_of(seed) for key, seed in expected.items() if seed is not None}


def test_acknowledged_uploads_survive_kill_and_others_are_whole_or_absent(tmp_path: Path) -> None:
    chance = random.Random(os.environ.get("HOSU_SEED", "kill"))
    expected: dict[str, str | None] = {}
    loads: list[Load] = []
    acknowledged = 0
    for turn in range(ROUNDS + 1):
        server = ServerProcess(tmp_path / "lake", tmp_path / "server.log").start()
        try:
            client = boto3_client(server.endpoint)
            if turn == 0:
                client.create_bucket(Bucket=BUCKET)
            settle(loads, expected, stored(client))
            client.close()
            loads = [Load(server.endpoint, f"round{turn}", number, expected) for number in range(CLIENTS)]
            threading.Event().wait(chance.uniform(*RUN_SECONDS))
        finally:
            server.kill()
        for load in loads:
            load.thread.join()
        acknowledged += sum(load.acknowledged for load in loads)
    assert acknowledged > ROUNDS, "the servers were killed before they did anything"


def test_uploads_in_progress_survive_kill_with_every_acknowledged_part(tmp_path: Path) -> None:
    parts = [patterned(5 * MIB, seed=number) for number in (1, 2)]
    server = ServerProcess(tmp_path / "lake", tmp_path / "server.log").start()
    client = boto3_client(server.endpoint, IMPATIENT)
    client.create_bucket(Bucket=BUCKET)
    upload = {"Bucket": BUCKET, "Key": "large", "UploadId": ""}
    upload["UploadId"] = client.create_multipart_upload(Bucket=BUCKET, Key="large")["UploadId"]
    done = []
    for number, part in enumerate(parts, 1):
        etag = client.upload_part(**upload, PartNumber=number, Body=part)["ETag"]
        done.append({"PartNumber": number, "ETag": etag})
        server.kill()
        client.close()
        server = ServerProcess(tmp_path / "lake", tmp_path / "server.log").start()
        client = boto3_client(server.endpoint, IMPATIENT)
        listed = client.list_parts(**upload)["Parts"]
        assert [{name: entry[name] for name in ("PartNumber", "ETag")} for entry in listed] == done
    try:
        assert "Contents" not in client.list_objects_v2(Bucket=BUCKET)
        client.complete_multipart_upload(**upload, MultipartUpload={"Parts": done})
        assert client.get_object(Bucket=BUCKET, Key="large")["Body"].read() == b"".join(parts)
    finally:
        client.close()
        server.kill()

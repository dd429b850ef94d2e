"""A server is killed, again and again, while every rule removes what clients store: what is spared is there, always."""

import itertools
import json
import os
import random
import threading
from functools import partial
from pathlib import Path

from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError
from tests.support.clients import boto3_client
from tests.support.server import Endpoint, ServerProcess

import hosu
from hosu.lake import Lake
from hosu.rules.capacity import CapacityRule
from hosu.rules.lifecycle.model import Filter, Lifecycle, Rule
from hosu.rules.merit import MeritRule
from hosu.testing.lake_check import find_faults

ROUNDS = 30 if os.environ.get("HOSU_NIGHTLY") == "1" else 3
CLIENTS = 3
RUN_SECONDS = (0.5, 1.5)
BUCKET, QUOTA_BYTES = "door", 600_000
SPARED = {
    f"{prefix}/{number}": f"{prefix} {number}".encode() * 50 for prefix in ("safe", "kept") for number in range(5)
}
IMPATIENT = Config(retries={"total_max_attempts": 1}, connect_timeout=2, read_timeout=10)


def prepare(folder: Path) -> None:
    """Make a lake in which everything is short of room and every rule has something to do."""
    with hosu.open(folder) as lake:
        door = lake.create_bucket(BUCKET)
        door.enable_versioning()
        for key, body in SPARED.items():
            door.put(key, body)
        for number in range(4):
            door.put(f"models/{number}/metrics.json", json.dumps({"map50": number}).encode())
        door.alias("now/").set("models/0/")
        rules = lake.rules
        rules.protect(BUCKET, "safe/", copy=str(folder.parent / "copies"))
        rules.put_merit(MeritRule(id="models", bucket=BUCKET, prefix="models/", path="map50", best=1))
        lifecycle = Lifecycle(
            (
                Rule("young", filter=Filter(prefix="young/"), expire_days=1),
                Rule("old", filter=Filter(prefix="images/"), noncurrent_days=1, removes_markers=True),
            )
        )
        rules.set_lifecycle(BUCKET, lifecycle)
        keep = (f"{BUCKET}/kept/", f"{BUCKET}/models/")
        capacity = CapacityRule(quota_bytes=QUOTA_BYTES, high_water=0.5, low_water=0.3, keep=keep)
        rules.set_capacity(capacity)


class Load:
    """A client that puts, deletes and trains until its server is gone; that the quota refuses it is no fault."""

    def __init__(self, endpoint: Endpoint, seed: str) -> None:
        self.stored = self.best = 0
        self._client = boto3_client(endpoint, IMPATIENT)
        self._chance = random.Random(seed)
        self._seed = seed
        self.thread = threading.Thread(target=self._run)
        self.thread.start()

    def _run(self) -> None:
        put, delete = (
            partial(self._client.put_object, Bucket=BUCKET),
            partial(self._client.delete_object, Bucket=BUCKET),
        )
        for turn in itertools.count():
            key = f"{self._chance.choice(('young', 'images'))}/{self._chance.randrange(20)}"
            try:
                match self._chance.randrange(10):
                    case 0:
                        delete(Key=key)
                    case 1:
                        map50 = self._chance.randrange(100)
                        metrics = json.dumps({"map50": map50})
                        put(Key=f"models/{self._seed}-{turn}/metrics.json", Body=metrics.encode())
                        self.best = max(self.best, map50)
                    case _:
                        put(Key=key, Body=self._chance.randbytes(self._chance.choice((500, 5_000, 50_000))))
                self.stored += 1
            except ClientError as error:
                if error.response["Error"]["Code"] != "XMinioAdminBucketQuotaExceeded":
                    break
            except BotoCoreError:
                break
        self._client.close()


def check(lake: Lake, best: int) -> None:
    """Hold a lake to what must be true of it whatever was cut short; `best` is the best model that was acknowledged."""
    assert find_faults(lake.store) == []
    assert lake.store.view().lake_held_bytes() <= QUOTA_BYTES
    door = lake.bucket(BUCKET)
    assert {key: door.get(key) for key in SPARED} == SPARED
    assert door.exists("now/metrics.json")
    assert max(json.loads(door.get(entry.key))["map50"] for entry in door.list("models/")) >= best


def test_what_is_spared_survives_every_kill_and_the_rest_goes_in_the_end(tmp_path: Path) -> None:
    folder = tmp_path / "lake"
    prepare(folder)
    chance = random.Random(os.environ.get("HOSU_SEED", "rules"))
    stored = best = 0
    for turn in range(ROUNDS):
        server = ServerProcess(folder, tmp_path / "server.log", {"HOSU_DAY_SECONDS": "1"}).start()
        try:
            loads = [Load(server.endpoint, f"{turn}-{number}") for number in range(CLIENTS)]
            threading.Event().wait(chance.uniform(*RUN_SECONDS))
        finally:
            server.kill()
        for load in loads:
            load.thread.join()
            stored += load.stored
            best = max(best, load.best)
        with hosu.open(folder) as lake:
            check(lake, best)
    assert stored
    with hosu.open(folder) as lake:
        lake.rules.run()
        check(lake, best)
        gauge = lake.rules.gauge()
        assert gauge is not None
        assert not gauge.is_high
        verdicts = {verdict.fate.value for verdict in lake.rules.ranking()}
        assert verdicts == {"keep"}

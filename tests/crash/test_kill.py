"""A process is killed in the middle of many writes, again and again; every acknowledged byte is there afterwards."""

import os
import random
import time
from pathlib import Path

import pytest
from tests.crash.child import body_of
from tests.crash.children import Child
from tests.crash.lakes import BUCKET, LAKE_KEY, Operation
from tests.crash.scenarios import create_bucket, encrypt_bucket

from hosu.objects.listing import ListRequest, list_objects
from hosu.objects.read import find_with_blob
from hosu.objects.store import ObjectStore
from hosu.objects.sweep import sweep
from hosu.testing.lake_check import find_faults, find_orphans, read_blob

ROUNDS = 100 if os.environ.get("HOSU_NIGHTLY") == "1" else 16
RUN_SECONDS = (0.03, 0.5)


@pytest.mark.parametrize("setup", [(create_bucket,), (create_bucket, encrypt_bucket)], ids=["plain", "encrypted"])
def test_acknowledged_writes_survive_kill_and_others_are_whole_or_absent(
    tmp_path: Path, setup: tuple[Operation, ...]
) -> None:
    chance = random.Random(os.environ.get("HOSU_SEED", "kill"))
    lake = tmp_path / "lake"
    with ObjectStore(lake, space_reserve_bytes=0, lake_key=LAKE_KEY) as store:
        for operation in setup:
            operation(store)
    expected: dict[str, str | None] = {}
    acknowledged = 0
    rounds = ROUNDS // len(setup)
    for turn in range(rounds):
        child = Child(lake, "churn", f"round{turn}")
        child.start()
        time.sleep(chance.uniform(*RUN_SECONDS))
        pending: dict[int, tuple[str, str | None]] = {}
        for word, number, *rest in child.kill():
            if word == "begin":
                pending[number] = (rest[0], rest[1])
                continue
            key, seed = pending.pop(number)
            if word == "done":
                expected[key] = seed
                acknowledged += 1
        check(lake, expected, dict(pending.values()))
    assert acknowledged > rounds, "the children were killed before they did anything"


def check(lake: Path, expected: dict[str, str | None], in_flight: dict[str, str | None]) -> None:
    """Hold the lake to what was acknowledged, and take over what became of the writes that were not."""
    with ObjectStore(lake, space_reserve_bytes=0, lake_key=LAKE_KEY) as store:
        assert find_faults(store) == []
        view = store.view()
        found: dict[str, bytes] = {}
        for entry in list_objects(view, ListRequest(BUCKET)).entries:
            _, blob = find_with_blob(view, BUCKET, entry.key)
            found[entry.key] = b"" if blob is None else read_blob(store, view, blob)
        for key in expected.keys() | in_flight.keys():
            wanted = {_body(expected.get(key))}
            if key in in_flight:
                wanted.add(_body(in_flight[key]))
            assert found.get(key) in wanted, key
            if key in in_flight and found.get(key) == _body(in_flight[key]):
                expected[key] = in_flight[key]
        assert found.keys() <= {key for key, seed in expected.items() if seed is not None}
        sweep(store, grace_ms=0, orphan_ms=0)
        assert find_orphans(store) == set()
        assert find_faults(store) == []


def _body(seed: str | None) -> bytes | None:
    return None if seed is None else body_of(seed)

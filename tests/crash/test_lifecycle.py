"""The power goes, or the process is killed, in the middle of a lifecycle pass with every rule active."""

import os
import random
from collections import Counter
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import pytest
from tests.crash.child import EXPIRING
from tests.crash.children import Child
from tests.crash.lakes import BUCKET, LAKE_KEY, LARGE, SMALL, STEPS_MAX, Workshop, attempt, opened, stage
from tests.crash.scenarios import adding_part, begin_upload, create_bucket, deleting, enable_versioning, putting

from hosu.kernel.settings import Settings
from hosu.objects.audit import read_outbox
from hosu.objects.put import PutRequest, put_object
from hosu.objects.records import COLD
from hosu.objects.store import ObjectStore
from hosu.objects.sweep import sweep
from hosu.objects.transaction import Tx
from hosu.rules.lifecycle import acting
from hosu.rules.lifecycle.acting import LifecyclePass
from hosu.rules.lifecycle.keeping import set_lifecycle
from hosu.rules.lifecycle.model import DAY_MS, Filter, Lifecycle, NoncurrentTransition, Rule, Transition
from hosu.testing.durable_tree import Survival
from hosu.testing.faulty_disk import Fault
from hosu.testing.lake_check import find_faults, find_orphans, read_contents

pytestmark = pytest.mark.filterwarnings("ignore:Exception ignored in. None:pytest.PytestUnraisableExceptionWarning")

RULES = (
    Rule("go", filter=Filter(prefix="go/"), expire_at_ms=DAY_MS),
    Rule("old", filter=Filter(prefix="old/"), noncurrent_days=0, noncurrent_keep=1),
    Rule("alone", filter=Filter(prefix="gone/"), removes_markers=True),
    Rule("uploads", abort_days=1),
    Rule("cold", filter=Filter(prefix="cold/"), transitions=(Transition(COLD, days=0),)),
    Rule("older", filter=Filter(prefix="cold/"), noncurrent_transitions=(NoncurrentTransition(COLD, 0),)),
)
ACTIONS = {"AbortUpload", "RemoveMarker", "ExpireVersion", "TransitionVersion", "Expire", "Transition"}
SETTINGS = Settings()
KILLS = 8 if os.environ.get("HOSU_NIGHTLY") == "1" else 4


def set_rules(store: ObjectStore) -> None:
    store.commit(partial(set_lifecycle, bucket_name=BUCKET, lifecycle=Lifecycle(RULES)))


def age_uploads(store: ObjectStore) -> None:
    store.commit(lambda tx: tx.run("UPDATE upload SET initiated_ms = 0"))


SETUP = (
    create_bucket, enable_versioning,
    putting("go/1", SMALL), putting("go/2", LARGE), putting("kept", SMALL),
    putting("old/1", LARGE), putting("old/1", SMALL), putting("old/1", LARGE + b"2"),
    deleting("gone/1"),
    putting("cold/1", LARGE + b"3"), putting("cold/1", LARGE + b"4"),
    begin_upload, adding_part(1, LARGE), age_uploads,
    set_rules,
)  # fmt: skip


def run_pass(store: ObjectStore) -> dict[str, int]:
    return LifecyclePass(store, SETTINGS).run().counts


def state(store: ObjectStore) -> tuple[list[Any], list[Any]]:
    """Return what is there, but for the order in which it came to be."""
    found = read_contents(store)
    versions = [(*row[:3], *row[5:]) for row in found["versions"]]
    return sorted(versions, key=repr), found["uploads"]


def test_a_crash_at_any_step_leaves_some_steps_done_whole_and_the_next_pass_does_the_rest(
    workshop: Workshop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(acting, "STEPS_PER_TRANSACTION", 1)
    prepared = workshop.prepare(*SETUP)
    with workshop.disk(prepared) as disk, opened(disk) as store:
        assert run_pass(store).keys() == ACTIONS
        done = state(store)
    reached = 0
    for step in range(1, STEPS_MAX, 1 if os.environ.get("HOSU_NIGHTLY") == "1" else 4):
        with workshop.disk(prepared) as disk, opened(disk) as store:
            disk.fail_at(step, Fault.CRASH)
            attempt(disk, lambda: run_pass(store))
            if not disk.has_crashed:
                assert state(store) == done
                assert reached
                return
            with workshop.restarted(disk, Survival.CHANCE, seed=step) as after:
                removed = [line for line in audit(after) if line["operation"] != "lifecycle:AbortUpload"]
                kinds = Counter(read_contents(after)["events"])
                assert len(removed) >= kinds["ObjectRemoved:Delete"] - 1, "each removal has its line"
                reached += bool(removed)
                run_pass(after)
                run_pass(after)
                assert state(after) == done, f"step {step}"
                sweep(after, grace_ms=0, orphan_ms=0)
                assert state(after) == done
                assert find_faults(after) == []
                assert find_orphans(after) == set()
    pytest.fail("the pass never ran to its end")


def audit(store: ObjectStore) -> list[dict[str, Any]]:
    lines = [msgspec.json.decode(row.body) for row in read_outbox(store.view(), 0, 100_000)]
    return [line for line in lines if line["principal"] == acting.PRINCIPAL]


def test_a_pass_that_is_killed_has_done_each_step_with_its_audit_line_or_not_at_all(tmp_path: Path) -> None:
    chance = random.Random(os.environ.get("HOSU_SEED", "lifecycle"))
    lake = tmp_path / "lake"
    with ObjectStore(lake, space_reserve_bytes=0, lake_key=LAKE_KEY) as store:
        create_bucket(store)
        set_rules(store)
        body = stage(store, b"")

        def fill(tx: Tx) -> None:
            for number in range(EXPIRING):
                put_object(tx, PutRequest(BUCKET, f"go/{number:06}", body, "d41d8cd98f00b204e9800998ecf8427e"))

        store.commit(fill)
    seen = {EXPIRING}
    for _ in range(KILLS):
        child = Child(lake, "expire", "")
        child.start()
        for _ in range(chance.randint(1, 8)):
            child.read_line()
        child.kill()
        with ObjectStore(lake, space_reserve_bytes=0, lake_key=LAKE_KEY) as store:
            assert find_faults(store) == []
            left = store.view().bucket(BUCKET).usage.object_count
            assert len(audit(store)) == EXPIRING - left
            assert left < min(seen)
            seen.add(left)
    assert min(seen), "no child was killed before its pass had ended"
    with ObjectStore(lake, space_reserve_bytes=0, lake_key=LAKE_KEY) as store:
        run_pass(store)
        assert store.view().bucket(BUCKET).usage.object_count == 0
        assert len(audit(store)) == EXPIRING
        assert find_faults(store) == []

"""The power goes, or the process is killed, between a change and its line: each acknowledged change has its line."""

import pytest
from tests.crash.lakes import SMALL, STEPS_MAX, Workshop, attempt, opened, put
from tests.crash.scenarios import create_bucket

from hosu.objects.audit_files import AuditFiles, drain
from hosu.objects.audit_query import query
from hosu.objects.store import ObjectStore
from hosu.testing.durable_tree import Survival
from hosu.testing.faulty_disk import Fault

# SQLite reports a second failure of the dead disk, while it cleans up after the first, to nobody.
pytestmark = pytest.mark.filterwarnings("ignore:Exception ignored in. None:pytest.PytestUnraisableExceptionWarning")

OUTCOMES = [(Survival.SYNCED, 0), (Survival.WRITTEN, 0), (Survival.CHANCE, 1), (Survival.CHANCE, 2)]


def put_and_carry(store: ObjectStore, acknowledged: list[str]) -> None:
    files = AuditFiles(store)
    try:
        for key in ("a", "b", "c"):
            put(store, key, SMALL)
            acknowledged.append(key)
            if key != "c":
                drain(store, files)
    finally:
        files.close()


def keys_in_log(store: ObjectStore) -> list[str]:
    return [line.key for line in query(store.path, operation="in-process:ObjectCreated:Put")]


def test_a_crash_at_any_step_of_carrying_loses_no_line_and_shows_none_twice(workshop: Workshop) -> None:
    prepared = workshop.prepare(create_bucket)
    crashes = 0
    for step in range(1, STEPS_MAX):
        with workshop.disk(prepared) as disk, opened(disk) as store:
            disk.fail_at(step, Fault.CRASH)
            acknowledged: list[str] = []
            attempt(disk, lambda: put_and_carry(store, acknowledged))  # noqa: B023 - called at once
            if not disk.has_crashed:
                break
            crashes += 1
            for survival, seed in OUTCOMES:
                with workshop.restarted(disk, survival, seed=seed) as after:
                    found = keys_in_log(after)
                    assert set(acknowledged) <= set(found), (
                        f"step {step}, {survival}: an acknowledged change has no line"
                    )
                    assert len(set(found)) == len(found), f"step {step}, {survival}: a line is shown twice"
                    files = AuditFiles(after)
                    drain(after, files)
                    files.close()
                    assert keys_in_log(after) == found
    else:
        pytest.fail("the operation never ran to its end")
    assert crashes > 10


@pytest.mark.parametrize("fault", [Fault.IO_ERROR, Fault.DISK_FULL])
def test_a_failed_step_of_carrying_loses_no_line(workshop: Workshop, fault: Fault) -> None:
    prepared = workshop.prepare(create_bucket)
    failures = 0
    for step in range(1, STEPS_MAX):
        with workshop.disk(prepared) as disk, opened(disk) as store:
            put(store, "a", SMALL)
            disk.fail_at(step, fault)
            last = disk.steps + step
            files = AuditFiles(store)
            attempt(disk, lambda: drain(store, files))  # noqa: B023 - called at once
            has_failed = disk.steps >= last
            disk.heal()
            assert keys_in_log(store) == ["a"]
            drain(store, files)
            files.close()
            assert keys_in_log(store) == ["a"]
            if not has_failed:
                break
            failures += 1
    else:
        pytest.fail("the operation never ran to its end")
    assert failures > 5

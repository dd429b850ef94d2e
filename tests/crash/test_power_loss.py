"""The power goes at every step of every verb; afterwards the lake is as before it or as after it, whole."""

import pytest
from tests.crash.lakes import BUCKET, STEPS_MAX, Workshop, abandon, attempt, open_store, opened, put
from tests.crash.scenarios import SCENARIOS, Scenario, Seen, create_bucket, putting

from hosu.objects import writer
from hosu.objects.read import find_with_blob
from hosu.objects.store import ObjectStore
from hosu.objects.sweep import sweep
from hosu.testing.durable_tree import Survival
from hosu.testing.faulty_disk import Fault
from hosu.testing.lake_check import find_faults, find_orphans, read_contents
from hosu.testing.manual_clock import ManualClock

# SQLite reports a second failure of the dead disk, while it cleans up after the first, to nobody.
pytestmark = pytest.mark.filterwarnings("ignore:Exception ignored in. None:pytest.PytestUnraisableExceptionWarning")

OUTCOMES = [(Survival.SYNCED, 0), (Survival.WRITTEN, 0), (Survival.CHANCE, 1), (Survival.CHANCE, 2)]
each_scenario = pytest.mark.parametrize("scenario", SCENARIOS, ids=[it.name.replace(" ", "-") for it in SCENARIOS])


@each_scenario
def test_a_crash_at_any_step_leaves_the_old_or_the_new_lake(workshop: Workshop, scenario: Scenario) -> None:
    prepared = workshop.prepare(*scenario.setup)
    with workshop.disk(prepared) as disk, opened(disk) as store:
        old = read_contents(store)
        scenario.operation(store)
        new = read_contents(store)
    seen = Seen()
    for step in range(1, STEPS_MAX):
        with workshop.disk(prepared) as disk, opened(disk) as store:
            disk.fail_at(step, Fault.CRASH)
            stopped = attempt(disk, lambda: scenario.operation(store))
            if not disk.has_crashed:
                assert stopped is None
                break
            for survival, seed in OUTCOMES:
                with workshop.restarted(disk, survival, seed=seed) as after:
                    found = read_contents(after)
                    assert found in (old, new), f"step {step}, {survival}"
                    seen.old += found == old
                    seen.new += found == new
                    assert stopped is not None or found == new, f"step {step}: an acknowledged change was lost"
                    sweep(after, grace_ms=0, orphan_ms=0)
                    assert read_contents(after) == found
                    assert find_faults(after) == []
                    assert find_orphans(after) == set()
    else:
        pytest.fail("the operation never ran to its end")
    assert seen.old, "no crash was early enough to leave the old lake"
    assert seen.new, "no crash was late enough to leave the new lake"


@each_scenario
def test_what_was_acknowledged_survives_a_power_loss(workshop: Workshop, scenario: Scenario) -> None:
    with workshop.disk(workshop.prepare(*scenario.setup)) as disk, opened(disk) as store:
        scenario.operation(store)
        acknowledged = read_contents(store)
        with workshop.restarted(disk, Survival.SYNCED) as after:
            assert read_contents(after) == acknowledged


def test_a_crash_at_any_step_of_making_a_lake_leaves_a_folder_that_can_be_opened(workshop: Workshop) -> None:
    for step in range(1, STEPS_MAX):
        with workshop.disk() as disk:
            disk.fail_at(step, Fault.CRASH)
            made = []
            attempt(disk, lambda: made.append(open_store(disk)))  # noqa: B023 - called at once
            for store in made:
                abandon(store)
            if not disk.has_crashed:
                assert made
                return
            for survival, seed in OUTCOMES:
                with workshop.restarted(disk, survival, seed=seed) as after:
                    create_bucket(after)
                    put(after, "k", b"new")
                    assert find_with_blob(after.view(), BUCKET, "k")[0].size_bytes == 3
    pytest.fail("opening never ran to its end")


def test_a_lake_deep_below_missing_folders_survives_its_first_acknowledgement(workshop: Workshop) -> None:
    root = workshop.fresh_folder()
    with workshop.disk() as disk, ObjectStore(disk.root / "not" / "there" / "yet", disk=disk) as store:
        create_bucket(store)
        disk.after_restart(root, Survival.SYNCED).close_vfs()
    with ObjectStore(root / "not" / "there" / "yet") as after:
        assert after.view().bucket(BUCKET).name == BUCKET


def test_a_crash_at_any_step_of_recovering_and_closing_loses_nothing(workshop: Workshop) -> None:
    prepared = workshop.prepare(create_bucket, putting("k", b"old"), putting("large", b"L" * 20_000))
    with workshop.disk(prepared) as disk, opened(disk) as store:
        expected = read_contents(store)
    for step in range(1, STEPS_MAX):
        with workshop.disk(prepared) as disk:
            disk.fail_at(step, Fault.CRASH)
            attempt(disk, lambda: open_store(disk).close())
            if not disk.has_crashed:
                assert step > 1, "closing moved nothing into the database"
                return
            for survival, seed in OUTCOMES:
                with workshop.restarted(disk, survival, seed=seed) as after:
                    assert read_contents(after) == expected, f"step {step}, {survival}"
    pytest.fail("closing never ran to its end")


def test_a_crash_at_any_step_while_the_log_starts_over_loses_nothing(
    workshop: Workshop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writer, "WAL_PAGES_CHECKPOINT", 2**31)
    monkeypatch.setattr(writer, "WAL_PAGES_MAX", 8)
    prepared = workshop.prepare(create_bucket)
    puts = 4
    for step in range(1, STEPS_MAX):
        with workshop.disk(prepared) as disk, opened(disk, ManualClock()) as store:
            disk.fail_at(step, Fault.CRASH)
            acknowledged = 0
            for number in range(puts):
                if attempt(disk, lambda: put(store, f"k{number}", b"body")) is not None:  # noqa: B023 - called at once
                    break
                acknowledged += 1
            if not disk.has_crashed:
                assert acknowledged == puts
                return
            for survival, seed in OUTCOMES:
                with workshop.restarted(disk, survival, seed=seed) as after:
                    found = [row[0] for row in after.view().rows("SELECT key FROM object ORDER BY key")]
                    assert found == [f"k{number}" for number in range(len(found))]
                    assert acknowledged <= len(found) <= acknowledged + 1, f"step {step}, {survival}"
    pytest.fail("the puts never ran to their end")

"""Every call on the disk fails once, or until it is mended: a clear error, nothing lost, and the engine goes on."""

from collections.abc import Callable

import pytest
from tests.crash.lakes import BUCKET, LARGE, STEPS_MAX, Workshop, abandon, attempt, open_store, opened, put
from tests.crash.scenarios import SCENARIOS, Scenario, create_bucket, putting

from hosu.kernel.errors import ErrorKind, HosuError, UnavailableError
from hosu.objects.listing import ListRequest, list_objects, list_versions
from hosu.objects.read import find_with_blob
from hosu.objects.store import ObjectStore
from hosu.objects.sweep import sweep
from hosu.objects.views import View
from hosu.testing.durable_tree import Survival
from hosu.testing.faulty_disk import Fault
from hosu.testing.lake_check import find_faults, find_orphans, read_contents

pytestmark = pytest.mark.filterwarnings("ignore:Exception ignored in. None:pytest.PytestUnraisableExceptionWarning")

KINDS = {Fault.IO_ERROR: ErrorKind.DISK_FAULT, Fault.DISK_FULL: ErrorKind.DISK_FULL}
FOREVER = 100_000

each_scenario = pytest.mark.parametrize("scenario", SCENARIOS, ids=[it.name.replace(" ", "-") for it in SCENARIOS])
each_fault = pytest.mark.parametrize("fault", KINDS, ids=["EIO", "ENOSPC"])


def check_goes_on(store: ObjectStore) -> None:
    """Hold a store to its promises after the disk was mended."""
    if not store.view().rows("SELECT 1 FROM bucket"):
        create_bucket(store)
    put(store, "after/small", b"small")
    put(store, "after/large", LARGE + b"after")
    sweep(store, grace_ms=0, orphan_ms=0)
    assert find_faults(store) == []
    assert find_orphans(store) == set()
    assert find_with_blob(store.view(), BUCKET, "after/large")[0].size_bytes == len(LARGE) + 5


@each_fault
@each_scenario
def test_a_failed_step_refuses_the_verb_or_does_not_matter(
    workshop: Workshop, scenario: Scenario, fault: Fault
) -> None:
    prepared = workshop.prepare(*scenario.setup)
    with workshop.disk(prepared) as disk, opened(disk) as store:
        old = read_contents(store)
        scenario.operation(store)
        new = read_contents(store)
    refusals = 0
    for step in range(1, STEPS_MAX):
        with workshop.disk(prepared) as disk, opened(disk) as store:
            before = disk.steps
            disk.fail_at(step, fault)
            error = attempt(disk, lambda: scenario.operation(store))
            disk.heal()
            if error is None:
                assert read_contents(store) == new, f"step {step}"
                if disk.steps - before < step:
                    break
            else:
                refusals += 1
                assert isinstance(error, UnavailableError), f"step {step}: {error!r}"
                assert error.kind in {KINDS[fault], ErrorKind.DISK_FAULT}, f"step {step}: {error!r}"
                assert read_contents(store) in (old, new), f"step {step}"
            with workshop.restarted(disk, Survival.WRITTEN) as after:  # killed before anything overwrote the log
                assert read_contents(after) in (old, new), f"step {step}"
                assert error is not None or read_contents(after) == new
            if error is not None:
                sweep(store, grace_ms=0, orphan_ms=0)
                with workshop.restarted(disk, Survival.WRITTEN) as after:  # what failed may not count any more
                    assert read_contents(after) == read_contents(store), f"step {step}"
            check_goes_on(store)
            acknowledged = read_contents(store)
            with workshop.restarted(disk, Survival.SYNCED) as after:
                assert read_contents(after) == acknowledged, f"step {step}"
    else:
        pytest.fail("the operation never ran to its end")
    assert refusals, "no step mattered"


@each_scenario
def test_a_disk_that_stays_broken_for_a_while_takes_no_write_and_loses_none(
    workshop: Workshop, scenario: Scenario
) -> None:
    prepared = workshop.prepare(*scenario.setup)
    with workshop.disk(prepared) as disk, opened(disk) as store:
        old = read_contents(store)
        disk.fail_at(1, Fault.IO_ERROR, count=FOREVER)
        for _ in range(2):
            assert isinstance(attempt(disk, lambda: scenario.operation(store)), UnavailableError)
            assert read_contents(store) == old
        disk.heal()
        scenario.operation(store)
        check_goes_on(store)


@each_fault
def test_a_lake_that_could_not_be_opened_opens_when_the_disk_is_mended(workshop: Workshop, fault: Fault) -> None:
    for step in range(1, STEPS_MAX):
        with workshop.disk() as disk:
            disk.fail_at(step, fault)
            made: list[ObjectStore] = []
            error = attempt(disk, lambda: made.append(open_store(disk)))  # noqa: B023 - called at once
            disk.heal()
            if made:
                abandon(made[0])
                return
            assert isinstance(error, HosuError), f"step {step}"
            with opened(disk) as store:
                create_bucket(store)
                check_goes_on(store)
    pytest.fail("opening never ran to its end")


def test_a_failed_read_is_a_clear_error_and_the_next_one_succeeds(workshop: Workshop) -> None:
    keys = [f"k{number:03}" for number in range(300)]
    prepared = workshop.prepare(create_bucket, *(putting(key, key.encode() * 20) for key in keys))
    reads: list[Callable[[View], object]] = [
        lambda view: find_with_blob(view, BUCKET, "k150"),
        lambda view: list_objects(view, ListRequest(BUCKET)),
        lambda view: list_objects(view, ListRequest(BUCKET, delimiter="0")),
        lambda view: list_versions(view, BUCKET),
    ]
    for read in reads:
        failed = 0
        for step in range(1, STEPS_MAX):
            with workshop.disk(prepared) as disk, opened(disk) as store:
                store.view()
                disk.counts_reads = True
                disk.fail_at(step, Fault.IO_ERROR)
                error = attempt(disk, lambda: read(store.view()))  # noqa: B023 - called at once
                if error is None:
                    break
                failed += 1
                assert isinstance(error, UnavailableError)
                assert error.kind == ErrorKind.DISK_FAULT
                read(store.view())
        assert failed, "the read came from memory"

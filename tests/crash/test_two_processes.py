"""Two processes on one lake at the same time: each sees the other's commits, and neither undoes them."""

from pathlib import Path

import pytest
from tests.crash.child import COUNTS, RACES, SHARED
from tests.crash.children import Child
from tests.crash.lakes import BUCKET, put
from tests.crash.scenarios import create_bucket

from hosu.objects.feed import read_events
from hosu.objects.listing import ListRequest, list_objects
from hosu.objects.read import find_with_blob
from hosu.objects.store import ObjectStore
from hosu.testing.lake_check import find_faults, read_blob

NAMES = ("left", "right")


@pytest.fixture
def lake(tmp_path: Path) -> Path:
    folder = tmp_path / "lake"
    with ObjectStore(folder, space_reserve_bytes=0) as store:
        create_bucket(store)
        put(store, "count", b"0")
    return folder


def run_both(lake: Path, task: str) -> dict[str, list[list[int]]]:
    """Run a task in two processes at once; return what each said, without the word it begins with."""
    children = {name: Child(lake, task, name) for name in NAMES}
    for child in children.values():
        child.start()
    return {name: [line[1:] for line in child.finish()] for name, child in children.items()}


def content(store: ObjectStore, key: str) -> bytes:
    view = store.view()
    _, blob = find_with_blob(view, BUCKET, key)
    return b"" if blob is None else read_blob(store, view, blob)


def test_exactly_one_process_wins_a_key_that_must_not_exist(lake: Path) -> None:
    said = run_both(lake, "race")
    winners = {number: name for name in NAMES for number, _ in said[name]}
    assert len(winners) == sum(len(lines) for lines in said.values()) == RACES
    with ObjectStore(lake, space_reserve_bytes=0) as store:
        assert {number: content(store, f"race/{number}").decode() for number in winners} == winners
        assert find_faults(store) == []


def test_sequence_numbers_follow_the_order_of_acknowledgements_in_each_process(lake: Path) -> None:
    said = run_both(lake, "race")
    for lines in said.values():
        seqs = [seq for _, seq in lines]
        assert seqs == sorted(set(seqs))
    with ObjectStore(lake, space_reserve_bytes=0) as store:
        events = read_events(store.view(), limit=10_000)
        acknowledged = sorted(seq for lines in said.values() for _, seq in lines)
        assert acknowledged == [event.seq for event in events if event.key.startswith("race/")]


def test_no_conditional_update_is_lost(lake: Path) -> None:
    said = run_both(lake, "count")
    numbers = [number for lines in said.values() for (number,) in lines]
    assert sorted(numbers) == list(range(1, 2 * COUNTS + 1))
    with ObjectStore(lake, space_reserve_bytes=0) as store:
        assert content(store, "count") == str(2 * COUNTS).encode()


def test_processes_share_equal_bytes_and_no_sweep_removes_what_is_used(lake: Path) -> None:
    said = run_both(lake, "share")
    assert all(len(lines) == SHARED for lines in said.values())
    with ObjectStore(lake, space_reserve_bytes=0) as store:
        assert find_faults(store) == []
        assert len(list_objects(store.view(), ListRequest(BUCKET, prefix="shared/")).entries) == 2 * SHARED
        copies = store.view().rows("SELECT refs, count(*) FROM blob WHERE kind = 1 GROUP BY hash")
        assert copies == [(2, 1)] * SHARED

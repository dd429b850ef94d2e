"""Holds keep the sweep from blob files that somebody reads for long."""

from functools import partial
from pathlib import Path

import pytest

import hosu
from hosu.lake import Lake
from hosu.objects.holds import HOLD_MS, extend_hold, hold, release_hold
from hosu.objects.sweep import GRACE_MS, sweep
from hosu.testing.manual_clock import ManualClock

LARGE = b"large" * 10_000


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def lake(tmp_path: Path, clock: ManualClock) -> Lake:
    lake = hosu.open(tmp_path / "lake", clock=clock)
    images = lake.create_bucket("images")
    for key in ("a", "b"):
        images.put(key, LARGE + key.encode())
    return lake


def test_what_becomes_garbage_during_a_hold_waits_for_its_end(lake: Lake, clock: ManualClock) -> None:
    lake.bucket("images").delete("a")
    clock.advance(1)
    lake.store.commit(partial(hold, name="reader"))
    lake.bucket("images").delete("b")
    clock.advance(GRACE_MS)
    assert sweep(lake.store).blobs == 1, "what was garbage before is not held"
    assert sweep(lake.store).blobs == 0
    lake.store.commit(partial(release_hold, name="reader"))
    assert sweep(lake.store).blobs == 1
    lake.close()


def test_a_hold_ends_by_itself_unless_it_is_extended(lake: Lake, clock: ManualClock) -> None:
    lake.store.commit(partial(hold, name="reader"))
    lake.bucket("images").delete("a")
    clock.advance(HOLD_MS - 1)
    assert lake.store.commit(partial(extend_hold, name="reader"))
    clock.advance(HOLD_MS - 1)
    assert sweep(lake.store).blobs == 0
    clock.advance(1)
    assert not lake.store.commit(partial(extend_hold, name="reader"))
    assert sweep(lake.store).blobs == 1
    assert lake.store.view().rows("SELECT * FROM hold") == []
    lake.close()


def test_a_hold_of_a_clock_that_was_far_ahead_ends_too_and_keeps_what_was_there(lake: Lake, clock: ManualClock) -> None:
    now_ms = clock.now_ms()
    clock.advance(1000 * HOLD_MS)
    lake.store.commit(partial(hold, name="reader"))
    clock.set_now_ms(now_ms)
    lake.bucket("images").delete("a")
    clock.advance(GRACE_MS)
    assert sweep(lake.store).blobs == 0
    clock.advance(HOLD_MS)
    assert sweep(lake.store).blobs == 1
    assert lake.store.view().rows("SELECT * FROM hold") == []
    lake.close()

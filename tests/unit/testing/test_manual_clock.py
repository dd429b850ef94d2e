import pytest

from hosu.testing.manual_clock import START_MS, ManualClock


def test_time_passes_only_when_told() -> None:
    clock = ManualClock()
    assert (clock.now_ms(), clock.monotonic()) == (START_MS, 0.0)
    clock.advance(1_500)
    assert (clock.now_ms(), clock.monotonic()) == (START_MS + 1_500, 1.5)
    with pytest.raises(ValueError, match="-1"):
        clock.advance(-1)


def test_a_clock_that_is_put_back_leaves_monotonic_time_alone() -> None:
    clock = ManualClock()
    clock.advance(1_000)
    clock.set_now_ms(5)
    assert (clock.now_ms(), clock.monotonic()) == (5, 1.0)

"""Days of rules: with the midnight after, or short and to the millisecond."""

from datetime import UTC, datetime

import pytest

from hosu.kernel.errors import InvalidInputError
from hosu.kernel.settings import Settings, load_settings
from hosu.rules.days import are_real, days_ms, due_before_ms, due_ms

REAL, SHORT = Settings(), Settings(day_seconds=10)


def ms(text: str) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp() * 1000)


@pytest.mark.parametrize(
    ("since", "days", "due"),
    [
        ("2026-01-15T10:30:00", 3, "2026-01-19T00:00:00"),
        ("2026-01-15T00:00:00", 3, "2026-01-19T00:00:00"),
        ("2026-01-15T23:59:59.999", 1, "2026-01-17T00:00:00"),
        ("2026-01-15T10:30:00", 0, "2026-01-15T10:30:00"),
    ],
)
def test_real_days_end_with_the_midnight_after(since: str, days: int, due: str) -> None:
    assert due_ms(REAL, ms(since), days) == ms(due)


def test_short_days_end_to_the_millisecond() -> None:
    assert due_ms(SHORT, 1_234, 3) == 31_234
    assert days_ms(SHORT, 3) == 30_000
    assert (are_real(REAL), are_real(SHORT)) == (True, False)


@pytest.mark.parametrize("settings", [REAL, SHORT])
@pytest.mark.parametrize("days", [0, 1, 30])
def test_what_began_before_the_bound_is_due_and_nothing_else(settings: Settings, days: int) -> None:
    day = days_ms(settings, 1)
    for now in (ms("2026-01-15T10:30:00"), ms("2026-01-15T00:00:00"), ms("2026-01-15T00:00:00") - 1):
        bound = due_before_ms(settings, now, days)
        for since in (bound - day, bound - 1, bound, bound + 1, bound + day):
            assert (since < bound) == (due_ms(settings, since, days) <= now)


@pytest.mark.parametrize("seconds", [0, -1, 86_401])
def test_days_of_no_length_and_longer_than_a_day_are_refused(seconds: int, tmp_path: object) -> None:
    from pathlib import Path

    with pytest.raises(InvalidInputError, match="day_seconds"):
        load_settings(Path(str(tmp_path)), {}, {"day_seconds": seconds})

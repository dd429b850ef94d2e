"""Days of rules: those of the calendar, or short ones for suites that cannot wait.

S3 rounds what is due up to the next midnight UTC. So does hosu, unless `day_seconds` makes days shorter: then a day
is that many seconds, and nothing is rounded. No days are at once.
"""

from hosu.kernel.settings import DAY_SECONDS_MAX, Settings


def are_real(settings: Settings) -> bool:
    """Say whether a day of rules is a day of the calendar."""
    return settings.day_seconds == DAY_SECONDS_MAX


def days_ms(settings: Settings, days: int) -> int:
    """Return how many milliseconds so many days are."""
    return days * settings.day_seconds * 1000


def due_ms(settings: Settings, since_ms: int, days: int) -> int:
    """Return when what began at `since_ms` is so many days old, in milliseconds since 1970."""
    if not (days and are_real(settings)):
        return since_ms + days_ms(settings, days)
    day = days_ms(settings, 1)
    return (since_ms + days_ms(settings, days + 1)) // day * day


def due_before_ms(settings: Settings, now_ms: int, days: int) -> int:
    """Return the moment of which all that began before it is at least so many days old: `due_ms` turned round."""
    if not (days and are_real(settings)):
        return now_ms - days_ms(settings, days) + 1
    day = days_ms(settings, 1)
    return (now_ms // day - days) * day

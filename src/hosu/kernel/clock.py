"""Time, handed to whoever needs it, so that tests can move days in milliseconds."""

import time
from typing import Protocol


class Clock(Protocol):
    """Where engines read the time."""

    def now_ms(self) -> int:
        """Return milliseconds since 1970-01-01 UTC."""
        ...

    def monotonic(self) -> float:
        """Return seconds that never go back, from an arbitrary start."""
        ...


class SystemClock:
    """The machine's own clock."""

    def now_ms(self) -> int:
        """Return milliseconds since 1970-01-01 UTC."""
        return time.time_ns() // 1_000_000

    monotonic = staticmethod(time.monotonic)
    """Returns seconds that never go back, from an arbitrary start; asked several times for every request."""

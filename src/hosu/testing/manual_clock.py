"""A clock that stands still until a test moves it."""

START_MS = 1_767_225_600_000
"""2026-01-01T00:00:00Z: where a clock begins unless told otherwise."""


class ManualClock:
    """Implements `hosu.kernel.clock.Clock`. `advance` moves both the time of day and the monotonic time."""

    def __init__(self, now_ms: int = START_MS) -> None:
        self._now_ms = now_ms
        self._elapsed_ms = 0

    def now_ms(self) -> int:
        """Return the milliseconds since 1970-01-01 UTC that the test has set."""
        return self._now_ms

    def monotonic(self) -> float:
        """Return the seconds that the test has let pass."""
        return self._elapsed_ms / 1000

    def advance(self, milliseconds: int) -> None:
        """Let time pass; it does not go back."""
        if milliseconds < 0:
            raise ValueError(f"time cannot pass by {milliseconds} ms; use set_now_ms for a clock that is put back")
        self._now_ms += milliseconds
        self._elapsed_ms += milliseconds

    def set_now_ms(self, now_ms: int) -> None:
        """Put the time of day forward or back, as an operator does; monotonic time goes on as it was."""
        self._now_ms = now_ms

"""Trying again: each failed transfer three times, with growing and jittered waits between."""

import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from hosu.cli.faults import CancelledError, is_transient

RETRIES = 3
"""How often a failed transfer is tried again before it counts as failed."""

WAIT_S_FIRST = 0.5
WAIT_S_MAX = 20.0
"""Longest wait between two tries of one transfer; a watch waits longer, see WATCH_WAIT_S_MAX."""

WATCH_WAIT_S_MAX = 60.0

Result = TypeVar("Result")


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """How failed requests are tried again; `sleep` waits that many seconds and may raise to give up early."""

    sleep: Callable[[float], None]
    retries: int = RETRIES

    def call(self, action: Callable[[], Result], on_retry: Callable[[], None] | None = None) -> Result:
        """Run `action` until it succeeds, fails for good, or has been tried again `retries` times."""
        from tenacity import Retrying, retry_if_exception, stop_after_attempt, wait_exponential, wait_random

        retrying = Retrying(
            stop=stop_after_attempt(1 + self.retries),
            wait=wait_exponential(multiplier=WAIT_S_FIRST, max=WAIT_S_MAX) + wait_random(0, WAIT_S_FIRST),
            retry=retry_if_exception(is_transient),
            sleep=self.sleep,
            before_sleep=None if on_retry is None else lambda _state: on_retry(),
            reraise=True,
        )
        return retrying(action)


def cancellable_sleep(cancel: threading.Event) -> Callable[[float], None]:
    """Return a sleep that ends at once, with CancelledError, when `cancel` is set."""

    def sleep(seconds: float) -> None:
        if cancel.wait(seconds):
            raise CancelledError

    return sleep

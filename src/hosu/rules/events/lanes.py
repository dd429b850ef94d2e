"""The threads that hand events to a target: those of one object go by one lane, one after the other.

What fails is tried again, with pauses that grow, until the target takes it or it has been tried for long enough.
"""

import random
import threading
import time
from collections.abc import Callable, Sequence
from queue import SimpleQueue
from zlib import crc32

from hosu.kernel.clock import Clock
from hosu.rules.events.records import Message
from hosu.rules.events.sending import DeliveryError, Sender

PAUSE_MIN_S = 0.1
PAUSE_MAX_S = 60.0
"""Pauses between attempts double from one to the other, each cut by a random half."""

FINAL_ATTEMPTS = 3
"""How often something is tried that the target refuses for what it is."""

DOUBLINGS_MAX = 16

STUBBORN_ATTEMPTS = 10
"""How often something is tried that the target does not take while it takes others: it would hold up its lane."""

OUTAGE_MS = 1_000
"""A target that took nothing for so long was down; when it takes something again, all that wait are tried at once."""

Done = Callable[[Sequence[Message]], None]
Buried = Callable[[Sequence[Message], str], None]


class Health:
    """How a target does; whoever waits to try again does so at once when another's attempt has succeeded."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._changed = threading.Condition()
        self._recoveries = 0
        self._is_ending = False
        self.failing_since_ms = 0
        """0 while the latest attempt succeeded."""
        self.reason = ""
        self.failures = 0
        self.delivered = 0

    def failed(self, reason: str, *, is_down: bool) -> None:
        """Note an attempt that failed; `is_down` where that is the target's fault, not the event's."""
        with self._changed:
            self.failures += 1
            if is_down:
                self.reason = reason
                self.failing_since_ms = self.failing_since_ms or self._clock.now_ms()

    def succeeded(self, count: int) -> None:
        """Note one that did not."""
        with self._changed:
            self.delivered += count
            since_ms, self.failing_since_ms = self.failing_since_ms, 0
            if since_ms and self._clock.now_ms() - since_ms >= OUTAGE_MS:
                self._recoveries += 1
                self._changed.notify_all()

    @property
    def is_ending(self) -> bool:
        """Whether nothing is to be tried any more."""
        return self._is_ending

    def end(self) -> None:
        """Have everybody stop."""
        with self._changed:
            self._is_ending = True
            self._changed.notify_all()

    def pause(self, attempt: int) -> None:
        """Wait before the attempt after this one; not for long when the target recovers, or all is to end."""
        longest_s = min(PAUSE_MAX_S, PAUSE_MIN_S * 2 ** min(attempt - 1, DOUBLINGS_MAX))
        with self._changed:
            seen = self._recoveries
            self._changed.wait_for(
                lambda: self._is_ending or self._recoveries != seen,
                random.uniform(longest_s / 2, longest_s),  # noqa: S311 - spreads attempts; no secret
            )


class Lanes:
    """The lanes of one target. `done` and `buried` are called by their threads."""

    def __init__(
        self, sender: Sender, health: Health, clock: Clock, *, retry_ms: int, done: Done, buried: Buried
    ) -> None:
        self._sender = sender
        self._health = health
        self._clock = clock
        self._retry_ms = retry_ms
        self._done = done
        self._buried = buried
        self._queues: list[SimpleQueue[tuple[Message, int] | None]] = [SimpleQueue() for _ in range(sender.lanes)]
        self._threads = [
            threading.Thread(target=self._work, args=(queue,), name=f"hosu-lane-{number}", daemon=True)
            for number, queue in enumerate(self._queues)
        ]
        for thread in self._threads:
            thread.start()

    def put(self, message: Message, since_ms: int) -> None:
        """Queue an event that has been tried since then."""
        queues = self._queues
        place = crc32(message.path.encode()) % len(queues) if len(queues) > 1 else 0
        queues[place].put((message, since_ms))

    def end(self, timeout_s: float) -> None:
        """Stop after the attempts under way, or after so long; whatever is queued stays undelivered."""
        until_s = time.monotonic() + timeout_s
        self._health.end()
        for queue in self._queues:
            queue.put(None)
        for thread in self._threads:
            thread.join(max(until_s - time.monotonic(), 0.0))

    def _work(self, queue: "SimpleQueue[tuple[Message, int] | None]") -> None:
        while not self._health.is_ending:
            batch = [queue.get()]
            while len(batch) < self._sender.batch and not queue.empty():
                batch.append(queue.get())
            self._deliver([each for each in batch if each is not None])

    def _deliver(self, batch: list[tuple[Message, int]]) -> None:
        """Try until the target has all of a batch, or its events are given up, or all is to end."""
        attempt, delivered = 0, self._health.delivered
        while batch and not self._health.is_ending:
            messages = [message for message, _ in batch]
            error = self._attempt(messages)
            if error is None:
                self._health.succeeded(len(messages))
                self._done(messages)
                return
            attempt += 1
            if error.is_final and len(batch) > 1:  # one of them is what the target refuses: find it
                for each in batch:
                    self._deliver([each])
                return
            self._health.failed(error.reason, is_down=not error.is_final)
            is_stubborn = attempt >= STUBBORN_ATTEMPTS and self._health.delivered - delivered >= STUBBORN_ATTEMPTS
            is_hopeless = is_stubborn or (error.is_final and attempt >= FINAL_ATTEMPTS)
            batch = self._give_up(batch, error.reason, is_hopeless=is_hopeless)
            if batch:
                self._health.pause(attempt)

    def _attempt(self, messages: Sequence[Message]) -> DeliveryError | None:
        try:
            self._sender.send(messages)
        except DeliveryError as error:
            return error
        except Exception as error:  # noqa: BLE001 - a library's own; whatever it was, the event is tried again
            return DeliveryError(f"{type(error).__name__}: {error}")
        return None

    def _give_up(
        self, batch: list[tuple[Message, int]], reason: str, *, is_hopeless: bool
    ) -> list[tuple[Message, int]]:
        """Make dead letters of what has been tried for long enough; return the rest."""
        oldest_ms = self._clock.now_ms() - self._retry_ms
        dead = [message for message, since_ms in batch if is_hopeless or since_ms < oldest_ms]
        if not dead:
            return batch
        self._buried(dead, reason)
        gone = {message.seq for message in dead}
        return [each for each in batch if each[0].seq not in gone]

"""Delivery of events to one target: from the change feed, at least once, in order for each object.

While a target keeps up, its events wait in the change feed alone: what is under way is remembered in memory, and how
far all of it was delivered is acknowledged now and then, so that a crash repeats a little and loses nothing. Once it
has fallen far behind, its events are put aside in the lake (`undelivered`), and the feed goes on without it.
"""

import contextlib
import threading
from collections.abc import Callable, Sequence
from functools import partial

from hosu.kernel.clock import Clock
from hosu.kernel.errors import UnavailableError
from hosu.kernel.log import get_logger
from hosu.objects.alerts import Severity, raise_alert, resolve_alert
from hosu.objects.feed import Event, acknowledge, read_events
from hosu.objects.notifications import (
    SUBSCRIPTION_PREFIX,
    forget_notifications,
    read_notifications,
    resume_notifications,
)
from hosu.objects.store import ObjectStore
from hosu.objects.transaction import Tx
from hosu.rules.events import undelivered
from hosu.rules.events.config import CHANGING_KINDS, Rules, read_rules
from hosu.rules.events.lanes import Health, Lanes
from hosu.rules.events.records import Message, Origin, make_message
from hosu.rules.events.sending import Sender
from hosu.rules.events.undelivered import ALERT, dead_subject
from hosu.rules.keeping import Count

POLL_S = 0.05
"""How often the change feed is looked at: an event waits half of it."""

WINDOW = 2_048
"""Events under way at once, at most."""

PAGE = 512
BEHIND_MAX = 10_000
"""Events of the feed that may come after the oldest that is under way before all that are wait in the lake instead."""

FLUSH_S = 0.5
"""How often it is acknowledged what was delivered; so much is repeated after a crash."""

IDLE_FLUSH_S = 5.0
"""How often where there was nothing to deliver."""

SURPLUS_PERIOD = 1_000
"""After so many dead letters it is looked whether there are too many."""

ALERT_AFTER_MS = 60_000
END_S = 5.0
"""How long attempts under way may take when delivery ends: whatever they deliver later is delivered again."""

_LOG = get_logger("events")


class Limits:
    """How much and how long may wait for a target."""

    def __init__(self, *, queue_limit: int, retry_ms: int, behind_max: int = BEHIND_MAX, window: int = WINDOW) -> None:
        self.queue_limit = queue_limit
        self.retry_ms = retry_ms
        self.behind_max = behind_max
        self.window = min(window, queue_limit)


class Delivery:
    """Delivers to one target while `run` runs, which one thread does."""

    def __init__(
        self, store: ObjectStore, target: str, sender: Sender, origin: Origin, limits: Limits, count: Count
    ) -> None:
        self._store = store
        self._target = target
        self._sender = sender
        self._origin = origin
        self._limits = limits
        self._count = count
        self._clock: Clock = store.clock
        self._subscription = SUBSCRIPTION_PREFIX + target
        self._health = Health(store.clock)
        self._lock = threading.Lock()
        self._direct: dict[int, Message] = {}
        """Under way, known to the feed alone; in order."""
        self._aside: set[int] = set()
        """Under way, put aside in the lake."""
        self._delivered_aside: dict[int, None] = {}
        self._rules = Rules(())
        self._read_seq = self._acknowledged = 0
        self._is_aside = False
        self._aside_seq = 0
        self._aside_count = 0
        self._generation = -1
        self._flushed_s = 0.0
        self._told = (0, 0)
        self._buried = SURPLUS_PERIOD
        self._started_ms = self._clock.now_ms()
        self._alerted_ms = 0
        self._has_expired = False
        """Whether some of what waits in the lake may have waited for too long."""
        self._may_have_alert = self._may_have_dead_alert = True
        """Whether one of a time before may stand."""

    def run(self, stop: threading.Event) -> None:
        """Deliver until `stop` is set; what the disk refuses is tried again."""
        self._resume()
        lanes = Lanes(
            self._sender, self._health, self._clock, retry_ms=self._limits.retry_ms, done=self._done, buried=self._bury
        )
        try:
            while not stop.is_set():
                is_idle = True
                with contextlib.suppress(UnavailableError):
                    is_idle = not self._feed(lanes)
                    self._flush()
                if is_idle:
                    stop.wait(POLL_S)
        finally:
            lanes.end(END_S)
            self._sender.close()
            with contextlib.suppress(UnavailableError):
                self._flush(is_last=True)

    # From the feed to the lanes

    def _resume(self) -> None:
        view = self._store.view()
        self._rules = read_rules(view, self._target)
        seq = view.value("SELECT seq FROM subscription WHERE name = ?", (self._subscription,))
        if seq is None:  # no rule names the target, which has letters that are replayed; or one does by now
            seq = self._store.commit(partial(resume_notifications, target=self._target))
        self._read_seq = self._acknowledged = int(seq)
        self._aside_count = undelivered.count(view, self._target, is_dead=False)
        self._is_aside = self._aside_count > 0

    def _feed(self, lanes: Lanes) -> bool:
        """Hand on what there is and there is room for; say whether there was any."""
        if self._generation != (number := self._store.generation.number()):  # somebody may have had letters replayed
            view = self._store.view()
            self._rules = read_rules(view, self._target)
            self._aside_count = undelivered.count(view, self._target, is_dead=False)
            if self._aside_count:
                self._set_aside()
            self._generation = number
        with self._lock:
            free = self._limits.window - len(self._direct) - len(self._aside)
        return self._feed_aside(lanes, free) if self._is_aside else self._feed_direct(lanes, free)

    def _feed_direct(self, lanes: Lanes, free: int) -> bool:
        if self._read_behind() > self._limits.behind_max:
            _LOG.warning("a target falls behind", target=self._target, reason=self._health.reason)
            self._set_aside()
            return True
        if free <= 0:
            return False
        events = read_events(self._store.view(), after_seq=self._read_seq, limit=min(free, PAGE))
        for message in self._messages(events):
            with self._lock:
                self._direct[message.seq] = message
            lanes.put(message, self._since_ms(message))
        self._read_seq = events[-1].seq if events else self._read_seq
        return bool(events)

    def _since_ms(self, message: Message) -> int:
        """Return from when on an event counts as tried: not from a time when nobody did."""
        return max(message.at_ms, self._started_ms)

    def _read_behind(self) -> int:
        """Return by how many events the oldest under way is behind the feed; cheap, and at least so many."""
        with self._lock:
            oldest = next(iter(self._direct), None)
        if oldest is None:
            return 0
        return int(self._store.view().value("SELECT max(seq) FROM event") or 0) - oldest

    def _feed_aside(self, lanes: Lanes, free: int) -> bool:
        """Put aside what the feed has, then hand on the oldest of what is put aside."""
        events = read_events(self._store.view(), after_seq=self._read_seq, limit=PAGE)
        if events:
            room = max(self._limits.queue_limit - self._aside_count, 0)
            self._put_aside(self._messages(events), events[-1].seq, room=room)
        found = undelivered.read_waiting(
            self._store.view(), self._target, after_seq=self._aside_seq, limit=max(free, 0)
        )
        for waiting in found:
            self._aside_seq = waiting.seq
            with self._lock:
                if waiting.seq in self._aside or waiting.seq in self._delivered_aside:
                    continue  # under way, or just was
                self._aside.add(waiting.seq)
            lanes.put(waiting.message, waiting.since_ms)
        if not events and not found and free > 0:
            self._is_aside = False
        return bool(events or found)

    def _messages(self, events: Sequence[Event]) -> list[Message]:
        view = self._store.view()
        if any(event.kind in CHANGING_KINDS for event in events):
            self._rules = read_rules(view, self._target)
        found = []
        for event in events:
            met = self._rules.find(event, self._target)
            if met is not None:
                found.append(make_message(view, event, met[0], self._origin, met[1].id))
        return found

    # Aside

    def _set_aside(self) -> None:
        """Put aside all that is under way, so that the feed need not be kept for it."""
        with self._lock:
            messages = list(self._direct.values())
        self._put_aside(messages, self._read_seq, room=len(messages))
        with self._lock:
            for message in messages:
                if self._direct.pop(message.seq, None) is None:
                    self._delivered_aside[message.seq] = None  # while it was written
                else:
                    self._aside.add(message.seq)
        self._is_aside, self._aside_seq = True, 0

    def _put_aside(self, messages: list[Message], upto_seq: int, *, room: int) -> None:
        """Write events down that wait, as many as there is room for, and acknowledge the feed up to there."""
        kept, surplus = messages[:room], messages[room:]
        reason = f"{self._limits.queue_limit} events were waiting already"

        def put(tx: Tx) -> None:
            undelivered.put_aside(tx, self._target, [(self._since_ms(message), message) for message in kept])
            if surplus:
                self._bury_in(tx, surplus, reason)
            acknowledge(tx, self._subscription, upto_seq)

        self._store.commit(put)
        self._read_seq = self._acknowledged = max(upto_seq, self._read_seq)
        self._aside_count += len(kept)
        if surplus:
            self._count(f"events_dead/{self._target}", len(surplus))

    # What became of it; called by lanes

    def _done(self, messages: Sequence[Message]) -> None:
        with self._lock:
            for message in messages:
                if self._direct.pop(message.seq, None) is None and message.seq in self._aside:
                    self._aside.discard(message.seq)
                    self._delivered_aside[message.seq] = None

    def _bury(self, messages: Sequence[Message], reason: str) -> None:
        """Make dead letters of events, durably, before they count as dealt with."""
        while not self._health.is_ending:
            try:
                self._store.commit(lambda tx: self._bury_in(tx, messages, reason))
            except UnavailableError:
                self._health.pause(1)
            else:
                self._count(f"events_dead/{self._target}", len(messages))
                self._done(messages)
                return

    def _bury_in(self, tx: Tx, messages: Sequence[Message], reason: str) -> None:
        undelivered.bury(tx, self._target, messages, reason)
        self._alert_of_dead(tx, reason, len(messages))

    def _alert_of_dead(self, tx: Tx, reason: str, count: int) -> None:
        raise_alert(
            tx, ALERT, dead_subject(self._target), Severity.WARNING,
            f"events could not be delivered to {self._target}, the latest because: {reason}; "
            "`hosu event dead` shows them, `hosu event replay` sends them again",
        )  # fmt: skip
        self._buried += count
        self._may_have_dead_alert = True

    # Now and then

    def _flush(self, *, is_last: bool = False) -> None:
        """Acknowledge what was delivered, and say how the target does."""
        now_s = self._clock.monotonic()
        with self._lock:
            delivered = list(self._delivered_aside)
            upto = next(iter(self._direct), self._read_seq + 1) - 1
        has_news = delivered or self._has_expired or self._health.delivered != self._told[0]
        due_s = FLUSH_S if has_news else IDLE_FLUSH_S
        if not is_last and 0 <= now_s - self._flushed_s < due_s:
            return
        self._flushed_s = now_s
        verbs = self._verbs(upto, delivered)
        if verbs:
            try:
                self._store.commit(lambda tx: [verb(tx) for verb in verbs])
            except UnavailableError:
                self._may_have_alert = self._may_have_dead_alert = True  # none of it was written
                raise
            self._acknowledged = max(upto, self._acknowledged)
        with self._lock:
            for seq in delivered:
                del self._delivered_aside[seq]
        self._aside_count -= len(delivered)
        self._tell()

    def _verbs(self, upto: int, delivered: list[int]) -> list[Callable[[Tx], object]]:
        """Return what is to be written."""
        verbs: list[Callable[[Tx], object]] = []
        if upto > self._acknowledged:
            verbs.append(lambda tx: acknowledge(tx, self._subscription, upto))
        if delivered:
            verbs.append(lambda tx: undelivered.forget_delivered(tx, self._target, delivered))
        if self._buried >= SURPLUS_PERIOD:
            self._buried = 0
            verbs.append(self._drop_surplus)
        now_ms, failing_ms = self._clock.now_ms(), self._health.failing_since_ms
        if failing_ms and now_ms - max(failing_ms, self._alerted_ms) >= ALERT_AFTER_MS:
            self._alerted_ms, self._may_have_alert = now_ms, True
            verbs.append(self._raise_alert)
            self._has_expired = self._is_aside
        elif self._may_have_alert and not failing_ms and self._health.delivered:
            self._may_have_alert = False
            verbs.append(lambda tx: resolve_alert(tx, ALERT, self._target))
        self._has_expired = self._has_expired and failing_ms > 0
        if self._has_expired:
            verbs.append(lambda tx: self._bury_expired(tx, now_ms))
        if self._may_have_dead_alert and undelivered.count(self._store.view(), self._target, is_dead=True) == 0:
            self._may_have_dead_alert = False
            verbs.append(lambda tx: undelivered.resolve_dead(tx, self._target))
        return verbs

    def _drop_surplus(self, tx: Tx) -> None:
        dropped = undelivered.drop_surplus(tx, self._target)
        if dropped:
            _LOG.error("dead letters are dropped", target=self._target, count=dropped)

    def _raise_alert(self, tx: Tx) -> None:
        raise_alert(tx, ALERT, self._target, Severity.WARNING, f"{self._target} takes no events: {self._health.reason}")

    def _bury_expired(self, tx: Tx, now_ms: int) -> None:
        """Make dead letters of what waits in the lake for too long and is not under way."""
        buried = undelivered.bury_older(
            tx, self._target, now_ms - self._limits.retry_ms, self._health.reason, after_seq=self._aside_seq
        )
        self._has_expired = buried >= undelivered.BURIED_PER_CALL
        if buried:
            self._aside_count -= buried
            self._alert_of_dead(tx, self._health.reason, buried)
            self._count(f"events_dead/{self._target}", buried)

    def _tell(self) -> None:
        sent, failed = self._health.delivered, self._health.failures
        if sent > self._told[0]:
            self._count(f"events_sent/{self._target}", sent - self._told[0])
        if failed > self._told[1]:
            self._count(f"events_failed/{self._target}", failed - self._told[1])
        self._told = sent, failed


def forget_ended(store: ObjectStore) -> None:
    """Remove rules that have ended and were told of; subscriptions without a rule, and alerts without a cause, go."""
    for target in sorted({row.target for row in read_notifications(store.view()) if row.until_seq}):
        store.commit(partial(forget_notifications, target=target))
    if undelivered.idle_alerts(store.view()):
        store.commit(undelivered.resolve_idle)

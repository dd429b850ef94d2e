"""The keeper's job `events`: a delivery for each target that a bucket names, in a thread of its own."""

import contextlib
import threading

from hosu.kernel.errors import UnavailableError
from hosu.kernel.log import get_logger
from hosu.kernel.notify import QUEUE_LIMIT
from hosu.objects.store import ObjectStore
from hosu.rules.events.delivery import Delivery, Limits, forget_ended
from hosu.rules.events.records import Origin
from hosu.rules.events.undelivered import known_targets
from hosu.rules.keeping import Keep
from hosu.server.notify.senders import make_sender

LOOK_S = 0.25
"""How soon a new target is heard of."""

FORGET_LOOKS = 20
"""Of these, how many pass between two looks for rules that have ended."""

RESTART_LOOKS = 20
"""And until a delivery that failed as a whole begins again."""

END_S = 8.0
RETRY_HOUR_MS = 3_600_000

_LOG = get_logger("events")


class EventsJob:
    """Implements `hosu.rules.keeping.Job`."""

    name = "events"

    def __init__(self, keep: Keep) -> None:
        self._keep = keep
        self._running: dict[str, tuple[threading.Thread, threading.Event]] = {}

    def run(self, stop: threading.Event) -> float:
        """Deliver until `stop`."""
        store, generation, looks = self._keep.store, -1, 0
        try:
            while not stop.is_set():
                if generation != (number := store.generation.number()) or looks % RESTART_LOOKS == 0:
                    generation = number
                    self._attend(known_targets(store.view()))
                looks += 1
                if looks % FORGET_LOOKS == 0:
                    _forget_ended(store)
                stop.wait(LOOK_S)
        finally:
            self._attend([])
            _forget_ended(store)
        return LOOK_S

    def _attend(self, targets: list[str]) -> None:
        """Have a delivery run for each of these targets, and for no other."""
        ending = [self._running.pop(name) for name in list(self._running) if name not in targets]
        for _, stop in ending:
            stop.set()
        for thread, _ in ending:
            thread.join(END_S)
        for name in targets:
            if name not in self._running or not self._running[name][0].is_alive():
                stop = threading.Event()
                thread = threading.Thread(target=self._deliver, args=(name, stop), name=f"hosu-{name}", daemon=True)
                self._running[name] = thread, stop
                thread.start()

    def _deliver(self, name: str, stop: threading.Event) -> None:
        keep = self._keep
        settings = keep.settings
        target = settings.notify.targets.get(name)
        limits = Limits(
            queue_limit=QUEUE_LIMIT if target is None else target.queue_limit,
            retry_ms=settings.events_retry_hours * RETRY_HOUR_MS,
        )
        origin = Origin(keep.endpoint, settings.region, keep.root)
        try:
            sender = make_sender(settings.notify, name)
            Delivery(keep.store, name, sender, origin, limits, keep.count).run(stop)
        except Exception as error:  # noqa: BLE001 - whatever it was, it begins again where it had got to
            _LOG.error("delivery failed", target=name, exc_info=error)


def _forget_ended(store: ObjectStore) -> None:
    """Forget what is over; a disk that takes no writes now stops no delivery."""
    with contextlib.suppress(UnavailableError):
        forget_ended(store)

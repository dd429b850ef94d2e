"""The keeper's process: runs the jobs that are wanted, each in a thread, and ends when none is.

It starts when somebody connects to its socket, which says nothing but that there may be something to do. Ending, it
gives its memory back; the supervisor goes on listening in its place.
"""

import contextlib
import select
import signal
import socket
import threading
import time
from pathlib import Path

from hosu.kernel.log import get_logger
from hosu.kernel.settings import Settings
from hosu.objects.store import ObjectStore
from hosu.rules.keeping import Job, JobMaker, Keep
from hosu.rules.wanted import WANTED
from hosu.server.metrics.meter import Meter
from hosu.server.plan import Plan

LOOK_PERIOD_S = 0.5
"""How often the generation is compared: an integer in shared memory."""

ASK_PERIOD_S = 60.0
"""How often jobs are asked whether they are wanted, though nothing has changed."""

RETRY_S = 60.0
LINGER_S = 60.0
"""How long nothing has to be wanted before the process ends."""

STOP_S = 30.0
PUBLISH_PERIOD_S = 1.0

_LOG = get_logger("keeper")


def job_makers() -> list[JobMaker]:
    """Return what makes the jobs, in the order of their names in the documentation."""
    return []


class Tally:
    """Numbers of the jobs, which count in threads of their own, published for whoever is scraped."""

    def __init__(self, meter: Meter) -> None:
        self._meter = meter
        self._lock = threading.Lock()
        self._is_fresh = False

    def count(self, name: str, number: int = 1) -> None:
        """Add to a number."""
        with self._lock:
            self._meter.totals[name] = self._meter.totals.get(name, 0) + number
            self._is_fresh = True

    def publish(self) -> None:
        """Write the numbers if they have changed."""
        with self._lock, contextlib.suppress(OSError):
            if self._is_fresh:
                self._is_fresh = False
                self._meter.publish({})


class _Runner:
    """Runs one job in a thread for as long as it is wanted."""

    def __init__(self, job: Job) -> None:
        self.job = job
        self._wake = threading.Event()
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    @property
    def is_running(self) -> bool:
        return self._thread is not None and self._thread.is_alive()

    def start(self) -> None:
        """Have the job run now."""
        self._wake.set()
        if not self.is_running:
            self._stop.clear()
            self._thread = threading.Thread(target=self._work, name=f"hosu-{self.job.name}", daemon=True)
            self._thread.start()

    def stop(self) -> None:
        """Ask the job to end."""
        self._stop.set()
        self._wake.set()

    def join(self, until_s: float) -> None:
        if self._thread is not None:
            self._thread.join(max(until_s - time.monotonic(), 0.0))

    def _work(self) -> None:
        while not self._stop.is_set():
            self._wake.clear()
            try:
                pause_s = self.job.run(self._stop)
            except Exception as error:  # noqa: BLE001 - whatever it was, the job is tried again
                _LOG.error("a job failed", job=self.job.name, exc_info=error)
                pause_s = RETRY_S
            self._wake.wait(pause_s)


def serve_keeper(plan: Plan, store: ObjectStore, listener: socket.socket, alive: int, name: str) -> None:
    """Run jobs until SIGTERM, SIGINT, the parent's death, or until none has been wanted for a while."""
    meter = Meter(Path(plan.lake), run=plan.started_ms, process=name)
    tally = Tally(meter)
    keep = Keep(store=store, settings=plan.settings, count=tally.count, root=plan.access_key)
    runners = [_Runner(make(keep)) for make in job_makers()]
    ending = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: ending.set())
    try:
        _watch(store, plan.settings, runners, listener, alive, ending, tally)
    finally:
        for runner in runners:
            runner.stop()
        until_s = time.monotonic() + STOP_S
        for runner in runners:
            runner.join(until_s)
        tally.publish()


def _watch(
    store: ObjectStore,
    settings: Settings,
    runners: list[_Runner],
    listener: socket.socket,
    alive: int,
    ending: threading.Event,
    tally: Tally,
) -> None:
    seen, asked_s, wanted_s = -1, 0.0, time.monotonic()
    while not ending.is_set():
        readable = set(select.select([listener.fileno(), alive], [], [], LOOK_PERIOD_S)[0])
        if alive in readable:
            return
        if listener.fileno() in readable:
            _drain(listener)
        generation, now_s = store.generation.number(), time.monotonic()
        if generation != seen or now_s - asked_s >= ASK_PERIOD_S:
            has_changed, seen, asked_s = generation != seen, generation, now_s
            for runner in runners:
                if not WANTED[runner.job.name](store.view(), settings):
                    runner.stop()
                elif has_changed or not runner.is_running:
                    runner.start()
        if any(runner.is_running for runner in runners):
            wanted_s = now_s
        elif now_s - wanted_s >= LINGER_S:
            return
        tally.publish()


def _drain(listener: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while True:
            listener.accept()[0].close()

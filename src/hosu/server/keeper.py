"""The keeper's process: runs the jobs that are wanted, each in a thread, and ends when none is.

It starts when somebody connects to its socket, which says nothing but that there may be something to do. Ending, it
gives its memory back; the supervisor goes on listening in its place.
"""

import contextlib
import math
import select
import signal
import socket
import threading
import time
from pathlib import Path

from hosu.kernel.errors import HosuError
from hosu.kernel.log import get_logger
from hosu.kernel.settings import Settings
from hosu.objects.store import ObjectStore
from hosu.rules.keeping import Count, Job, JobMaker, Keep
from hosu.rules.wanted import WANTED
from hosu.server.metrics.meter import Meter
from hosu.server.plan import Plan

LOOK_PERIOD_S = 0.5
"""How often the generation is compared: an integer in shared memory."""

ASK_PERIOD_S = 60.0
"""How often jobs are asked whether they are wanted, though nothing has changed."""

RETRY_S = 60.0
REST_S_MAX = 60.0
"""A job that was woken rests first for as long as it took the time before, but not for longer than this."""

LINGER_S = 60.0
"""How long nothing has to be wanted before the process ends."""

STOP_S = 30.0

_LOG = get_logger("keeper")


def job_makers() -> list[JobMaker]:
    """Return what makes the jobs, in the order of their names in the documentation."""
    from hosu.lake.table_upkeep import TablesJob  # noqa: PLC0415 - loaded by the process that runs it
    from hosu.rules.backup.schedule import BackupJob  # noqa: PLC0415 - loaded by the process that runs it
    from hosu.rules.capacity_job import CapacityJob  # noqa: PLC0415 - loaded by the process that runs it
    from hosu.rules.cold import ColdJob  # noqa: PLC0415 - as above
    from hosu.rules.copy_job import CopyJob  # noqa: PLC0415 - as above
    from hosu.rules.lifecycle.job import LifecycleJob  # noqa: PLC0415 - as above
    from hosu.rules.merit_job import MeritJob  # noqa: PLC0415 - as above
    from hosu.rules.scrub_job import ScrubJob  # noqa: PLC0415 - as above
    from hosu.server.alerts.job import AlertJob  # noqa: PLC0415 - as above
    from hosu.server.notify.job import EventsJob  # noqa: PLC0415 - as above

    return [
        AlertJob,
        BackupJob,
        CapacityJob,
        ColdJob,
        CopyJob,
        EventsJob,
        LifecycleJob,
        MeritJob,
        ScrubJob,
        TablesJob,
    ]


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

    def __init__(self, job: Job, count: Count) -> None:
        self.job = job
        self._count = count
        self.is_running = False
        self._lock = threading.Lock()
        self._wake = threading.Event()
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Have the job run now; one that was asked to end and has not yet goes on instead."""
        with self._lock:
            self._stop.clear()
            self._wake.set()
            if self.is_running:
                return
            self.is_running = True
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
        while self._goes_on():
            self._wake.clear()
            began_s = time.monotonic()
            try:
                pause_s = self.job.run(self._stop)
            except BaseException as error:  # noqa: BLE001 - whatever it was, the job is tried again
                _LOG.error("a job failed", job=self.job.name, exc_info=error)
                self._count(f"rule_errors/{self.job.name}", 1)
                pause_s = RETRY_S
            # Whoever changes something over and over is not to keep a job at it that walks over all of the lake.
            self._stop.wait(min(pause_s, time.monotonic() - began_s, REST_S_MAX))
            self._wake.wait(pause_s)

    def _goes_on(self) -> bool:
        with self._lock:
            if self._stop.is_set():
                self.is_running = False
            return self.is_running


def serve_keeper(plan: Plan, store: ObjectStore, listener: socket.socket, alive: int, name: str) -> None:
    """Run jobs until SIGTERM, SIGINT, the parent's death, or until none has been wanted for a while."""
    meter = Meter(Path(plan.lake), run=plan.started_ms, process=name)
    tally = Tally(meter)
    keep = Keep(store=store, settings=plan.settings, count=tally.count, root=plan.access_key, endpoint=_endpoint(plan))
    runners = _runners(keep)
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


def _runners(keep: Keep) -> list[_Runner]:
    """Make the jobs; one that cannot be made does not keep the others from their work."""
    runners = []
    for make in job_makers():
        try:
            runners.append(_Runner(make(keep), keep.count))
        except Exception as error:  # noqa: BLE001 - whatever it was, it is of one job
            _LOG.error("a job cannot be made", job=getattr(make, "__name__", "?"), exc_info=error)
    return runners


def _endpoint(plan: Plan) -> str:
    """Return where S3 is served, as others may write it down."""
    scheme = "https" if plan.settings.certificate_file or plan.settings.certs_dir else "http"
    host = f"[{plan.s3_host}]" if ":" in plan.s3_host else plan.s3_host
    return f"{scheme}://{host}:{plan.s3_port}"


def _watch(
    store: ObjectStore,
    settings: Settings,
    runners: list[_Runner],
    listener: socket.socket,
    alive: int,
    ending: threading.Event,
    tally: Tally,
) -> None:
    seen, asked_s, wanted_s = -1, -math.inf, time.monotonic()
    while not ending.is_set():
        readable = set(select.select([listener.fileno(), alive], [], [], LOOK_PERIOD_S)[0])
        if alive in readable:
            return
        generation, now_s = store.generation.number(), time.monotonic()
        if listener.fileno() in readable:
            _drain(listener)
            asked_s = -math.inf  # somebody knows of something to do
        if generation != seen or now_s - asked_s >= ASK_PERIOD_S:
            has_changed, seen, asked_s = generation != seen, generation, now_s
            _ask(store, settings, runners, has_changed=has_changed)
        if any(runner.is_running for runner in runners):
            wanted_s = now_s
        elif now_s - wanted_s >= LINGER_S:
            return
        tally.publish()


def _ask(store: ObjectStore, settings: Settings, runners: list[_Runner], *, has_changed: bool) -> None:
    """Start the jobs that are wanted, and have the others end; a lake that cannot be read now is asked again later."""
    for runner in runners:
        try:
            is_wanted = WANTED[runner.job.name](store.view(), settings)
        except HosuError as error:
            _LOG.error("a job's rules cannot be looked up", job=runner.job.name, kind=error.kind, error=error.message)
            continue
        except Exception as error:  # noqa: BLE001 - whatever it was, the other jobs go on
            _LOG.error("a job's rules cannot be looked up", job=runner.job.name, exc_info=error)
            continue
        if not is_wanted:
            runner.stop()
        elif has_changed or not runner.is_running:
            runner.start()


def _drain(listener: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while True:
            listener.accept()[0].close()

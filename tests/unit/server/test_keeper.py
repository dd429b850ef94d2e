"""The keeper: runs the jobs that are wanted, for as long as they are; and its bell."""

import os
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import msgspec
import psutil
import pytest
from tests.support.clients import boto3_client
from tests.support.server import ServerProcess

import hosu
from hosu.kernel.errors import ErrorKind, UnavailableError
from hosu.kernel.settings import Settings
from hosu.objects.store import ObjectStore
from hosu.objects.transaction import Tx
from hosu.rules.capacity import CapacityRule
from hosu.rules.keeping import Keep
from hosu.server import keeper
from hosu.server.bell import TABLES_PERIOD_S, Bell, hang_bell, ring
from hosu.server.keeper import Tally, serve_keeper
from hosu.server.metrics.meter import Meter, Snapshot
from hosu.server.plan import Plan

DEADLINE_S = 20.0


def until(true: Callable[[], object]) -> None:
    """Wait for something that another thread or process does."""
    deadline = time.monotonic() + DEADLINE_S
    while not true():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.01)


# The bell


def test_whoever_rings_is_heard_in_a_lake_with_a_long_path(tmp_path: Path) -> None:
    lake = tmp_path / ("d" * 120)
    lake.mkdir()
    with hang_bell(lake) as listener:
        ring(lake)
        listener.accept()[0].close()
        assert (lake / "tmp" / "keeper.sock").stat().st_mode & 0o777 == 0o600


def test_ringing_where_nobody_listens_does_nothing(tmp_path: Path) -> None:
    (tmp_path / "tmp").mkdir()
    ring(tmp_path)
    assert not list((tmp_path / "tmp").iterdir())


def test_a_bell_is_hung_again_over_what_a_killed_server_left(tmp_path: Path) -> None:
    hang_bell(tmp_path).close()
    with hang_bell(tmp_path) as listener:
        ring(tmp_path)
        listener.accept()[0].close()


def rings(listener: socket.socket) -> int:
    count = 0
    while True:
        try:
            listener.accept()[0].close()
        except BlockingIOError:
            return count
        count += 1


def test_the_bell_rings_once_for_each_change_and_only_where_something_is_wanted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted = [False]
    monkeypatch.setattr("hosu.server.bell.is_any_wanted", lambda *_: wanted[0])
    with ObjectStore(tmp_path / "lake", space_reserve_bytes=0) as store, hang_bell(store.path) as listener:
        bell = Bell(store, Settings())
        bell.look()
        assert rings(listener) == 0
        wanted[0] = True
        bell.look()
        assert rings(listener) == 0, "nothing has changed"
        store.commit(Tx.change_access)
        bell.look()
        bell.look()
        assert rings(listener) == 1


def test_the_bell_rings_for_a_table_that_is_written_to_but_not_for_other_objects(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hosu.server.bell.is_any_wanted", lambda *_: False)
    now_s = [1_000.0]
    monkeypatch.setattr("hosu.server.bell.time.monotonic", lambda: now_s[0])
    with hosu.open(tmp_path / "lake") as lake, hang_bell(lake.path) as listener:
        bucket = lake.create_bucket("paimon")
        bucket.put("warehouse/d.db/t/snapshot/snapshot-1", b"")
        bell = Bell(lake.store, Settings())
        bell.look()
        assert rings(listener) == 0, "what was there before is asked of all jobs"

        bucket.put("warehouse/d.db/t/bucket-0/data-1", b"")
        bucket.put("elsewhere/d.db/t/snapshot/snapshot-1", b"")
        bell.look()
        assert rings(listener) == 0
        bucket.put("warehouse/d.db/t/snapshot/snapshot-2", b"")
        bell.look()
        assert rings(listener) == 1
        bucket.put("warehouse/d.db/t/snapshot/snapshot-3", b"")
        bell.look()
        assert rings(listener) == 0, "the keeper reads on by itself"
        now_s[0] += TABLES_PERIOD_S
        bell.look()
        assert rings(listener) == 1, "unless it has ended just then"


# Jobs, in this process


class Work:
    """A job that notes when it runs, and does then what a test says."""

    def __init__(self, name: str, does: Callable[[threading.Event], float] = lambda _: 60.0) -> None:
        self.name = name
        self.does = does
        self.runs = 0
        self.is_running = False

    def __call__(self, keep: Keep) -> "Work":
        self.keep = keep
        return self

    def run(self, stop: threading.Event) -> float:
        self.runs += 1
        self.is_running = True
        try:
            return self.does(stop)
        finally:
            self.is_running = False


class Kept:
    """A keeper in a thread of this process, its jobs and what each is asked before it runs."""

    def __init__(self, store: ObjectStore, listener: socket.socket, patch: pytest.MonkeyPatch) -> None:
        self.store = store
        self.jobs: list[Any] = []
        self.wanted: dict[str, Callable[[], bool]] = {}
        self.alive, self._parent = os.pipe()
        self._listener = listener
        patch.setattr(keeper, "job_makers", lambda: self.jobs)
        patch.setattr(keeper, "WANTED", self)
        patch.setattr(keeper, "LOOK_PERIOD_S", 0.01)
        patch.setattr(signal, "signal", lambda *_: None)  # for a main thread
        self._thread = threading.Thread(target=self._serve, daemon=True)

    def __getitem__(self, name: str) -> Callable[..., bool]:
        return lambda *_: self.wanted[name]()

    def _serve(self) -> None:
        plan = Plan(
            services=[], lake=str(self.store.path), settings=Settings(), access_key="root", secret="secret",
            s3_host="127.0.0.1", s3_port=9000, connections_max=1, started_ms=1,
        )  # fmt: skip
        serve_keeper(plan, self.store, self._listener, self.alive, "keeper")

    def start(self, *jobs: Work) -> None:
        self.jobs = list(jobs)
        for job in jobs:
            self.wanted.setdefault(job.name, lambda: True)
        self._thread.start()

    def change(self) -> None:
        """Have something change that processes remember."""
        self.store.commit(Tx.change_access)

    def snapshot(self) -> Snapshot:
        text = (self.store.path / "tmp/metrics/keeper.json").read_bytes()
        return msgspec.json.decode(text, type=Snapshot)

    @property
    def has_ended(self) -> bool:
        return not self._thread.is_alive()

    def orphan(self) -> None:
        """Let the parent die."""
        if self._parent:
            os.close(self._parent)
            self._parent = 0
        self._thread.join(DEADLINE_S)
        assert self.has_ended


@pytest.fixture
def kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Kept]:
    with ObjectStore(tmp_path / "lake", space_reserve_bytes=0) as store, hang_bell(store.path) as listener:
        found = Kept(store, listener, monkeypatch)
        yield found
        found.orphan()
        os.close(found.alive)


def test_a_job_runs_at_once_and_again_whenever_something_has_changed(kept: Kept) -> None:
    job = Work("one")
    kept.start(job)
    until(lambda: job.runs == 1)
    kept.change()
    until(lambda: job.runs == 2)


def test_a_job_runs_again_when_it_is_due(kept: Kept) -> None:
    job = Work("one", lambda _: 0.0)
    kept.start(job)
    until(lambda: job.runs > 3)


def test_a_job_that_is_woken_over_and_over_rests_between(kept: Kept) -> None:
    begun: list[float] = []

    def take_long(stop: threading.Event) -> float:
        begun.append(time.monotonic())
        stop.wait(0.2)
        return 60.0

    job = Work("one", take_long)
    kept.start(job)
    while len(begun) < 3:
        kept.change()
        time.sleep(0.005)
    assert all(later - earlier >= 0.4 for earlier, later in pairwise(begun))


def test_only_wanted_jobs_run_and_they_end_when_they_are_not_wanted_any_more(kept: Kept) -> None:
    def wait(stop: threading.Event) -> float:
        stop.wait()
        return 0.0

    busy, idle = Work("busy", wait), Work("idle")
    wanted = {"busy": True, "idle": False}
    kept.wanted = {name: partial(wanted.__getitem__, name) for name in wanted}
    kept.start(busy, idle)
    until(lambda: busy.is_running)
    assert idle.runs == 0
    wanted |= {"busy": False, "idle": True}
    kept.change()
    until(lambda: idle.runs == 1 and not busy.is_running)
    wanted["busy"] = True
    kept.change()
    until(lambda: busy.is_running)


def test_a_job_that_is_wanted_again_before_it_has_ended_goes_on_and_never_runs_twice_at_once(kept: Kept) -> None:
    release = threading.Event()
    is_wanted = [True]

    def linger(_: threading.Event) -> float:
        release.wait()  # takes no notice of being asked to end
        return 60.0

    job = Work("one", linger)
    kept.wanted["one"] = lambda: is_wanted[0]
    kept.start(job)
    until(lambda: job.runs == 1)
    for wanted in (False, True):
        is_wanted[0] = wanted
        before = kept.store.generation.number()
        kept.change()
        assert kept.store.generation.number() != before
        time.sleep(0.05)  # for the keeper to see it
    assert job.runs == 1
    release.set()
    until(lambda: job.runs == 2)


def test_a_job_that_fails_is_tried_again_and_keeps_no_other_from_its_work(
    kept: Kept, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keeper, "RETRY_S", 0.01)

    def fail(_: threading.Event) -> float:
        if failing.runs < 3:
            raise (SystemExit if failing.runs == 1 else ValueError)("odd")
        return 60.0

    failing, sound = Work("failing", fail), Work("sound")
    kept.start(failing, sound)
    until(lambda: failing.runs == 3 and sound.runs == 1)
    kept.orphan()
    assert kept.snapshot().totals == {"rule_errors/failing": 2}


def test_a_job_that_cannot_be_made_or_asked_keeps_no_other_from_its_work(kept: Kept) -> None:
    class Odd(Work):
        def __call__(self, keep: Keep) -> Work:
            raise ImportError(f"nothing for {keep.root}")

    def refuse() -> bool:
        raise UnavailableError(ErrorKind.DISK_FAULT, "the disk is gone")

    def fail() -> bool:
        raise ValueError("a document that nobody expected")

    kept.wanted |= {"unread": refuse, "unclear": fail}
    odd, unread, unclear, sound = Odd("odd"), Work("unread"), Work("unclear"), Work("sound")
    kept.start(odd, unread, unclear, sound)
    until(lambda: sound.runs == 1)
    assert (odd.runs, unread.runs, unclear.runs) == (0, 0, 0)
    assert not kept.has_ended


def test_it_ends_when_nothing_has_been_wanted_for_a_while_and_not_before(
    kept: Kept, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keeper, "LINGER_S", 0.05)
    is_wanted = [True]
    job = Work("one")
    kept.wanted["one"] = lambda: is_wanted[0]
    kept.start(job)
    until(lambda: job.runs == 1)
    time.sleep(0.2)
    assert not kept.has_ended
    is_wanted[0] = False
    kept.change()
    until(lambda: kept.has_ended)


def test_whoever_rings_has_the_jobs_asked_at_once(kept: Kept) -> None:
    is_wanted = [False]
    job = Work("one")
    kept.wanted["one"] = lambda: is_wanted[0]
    kept.start(job)
    time.sleep(0.05)
    assert job.runs == 0
    is_wanted[0] = True
    ring(kept.store.path)
    until(lambda: job.runs == 1)


def test_when_the_parent_dies_jobs_are_asked_to_end_and_what_they_counted_is_told(kept: Kept) -> None:
    def count(stop: threading.Event) -> float:
        job.keep.count("rule_actions/one/Do", 1)
        stop.wait()
        job.keep.count("rule_actions/one/Do", 2)
        return 60.0

    job = Work("one", count)
    kept.start(job)
    until(lambda: job.is_running)
    kept.orphan()
    assert not job.is_running
    assert kept.snapshot().totals == {"rule_actions/one/Do": 3}


def test_numbers_go_on_after_a_restart_under_the_same_server(tmp_path: Path) -> None:
    for run, expected in ((1, 2), (1, 4), (2, 2)):
        tally = Tally(Meter(tmp_path, run=run, process="keeper"))
        (tmp_path / "tmp").mkdir(exist_ok=True)
        tally.count("rule_actions/one/Do", 2)
        tally.publish()
        published = msgspec.json.decode((tmp_path / "tmp/metrics/keeper.json").read_bytes(), type=Snapshot)
        assert published.totals == {"rule_actions/one/Do": expected}


# The process, below a real server


class Served:
    """A server whose lake makes room for the youngest five objects."""

    def __init__(self, server: ServerProcess) -> None:
        self.server = server
        self.client = boto3_client(server.endpoint)
        self.put_count = 0

    def fill(self, count: int) -> None:
        for _ in range(count):
            self.client.put_object(Bucket="images", Key=f"{self.put_count:03}", Body=b"x" * 100)
            self.put_count += 1

    def keys(self) -> list[str]:
        return [entry["Key"] for entry in self.client.list_objects_v2(Bucket="images").get("Contents", [])]

    def has_room(self) -> bool:
        keys = self.keys()
        return len(keys) <= 5 and keys == [f"{self.put_count - len(keys) + number:03}" for number in range(len(keys))]

    def snapshot(self) -> Snapshot:
        text = (self.server.directory / "tmp/metrics/keeper.json").read_bytes()
        return msgspec.json.decode(text, type=Snapshot)

    def told(self) -> int:
        """Return how many deletions the keeper has told of."""
        try:
            return self.snapshot().totals.get("rule_actions/capacity/Delete", 0)
        except FileNotFoundError:
            return 0


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Served]:
    with hosu.open(tmp_path / "lake") as lake:
        lake.create_bucket("images")
        lake.rules.set_capacity(CapacityRule(quota_bytes=10_000, high_water=0.06))
    with ServerProcess(tmp_path / "lake", tmp_path / "server.log") as server:
        found = Served(server)
        yield found
        found.client.close()


def test_a_keeper_starts_with_its_rule_survives_being_killed_and_goes_with_its_server(served: Served) -> None:
    served.fill(8)
    until(lambda: served.has_room() and served.told() >= 3)
    first = served.snapshot().pid
    assert psutil.Process(first).ppid() == served.server.pid
    os.kill(first, signal.SIGKILL)
    until(lambda: not psutil.pid_exists(first))
    served.fill(8)
    until(lambda: served.has_room() and served.told() >= 11)
    second = served.snapshot().pid
    assert second != first
    assert "process died and is started again" in served.server.log_tail()
    os.kill(second, signal.SIGTERM)
    until(lambda: not psutil.pid_exists(second))
    with hosu.open(served.server.directory) as lake:
        lake.rules.set_capacity(CapacityRule(quota_bytes=9_000, high_water=0.06))
    served.fill(8)
    until(lambda: served.has_room() and served.snapshot().pid != second)
    third = served.snapshot().pid
    served.server.kill()
    until(lambda: not psutil.pid_exists(third))


def test_a_keeper_outlives_no_supervisor_that_is_killed_alone(served: Served) -> None:
    served.fill(8)
    until(lambda: served.told() >= 3)
    child = served.snapshot().pid
    os.kill(served.server.pid, signal.SIGKILL)
    until(lambda: not psutil.pid_exists(child))
    served.server.kill()

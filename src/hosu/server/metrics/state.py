"""What metrics are made of: everything read once, when somebody asks."""

import os
import resource
from collections.abc import Callable
from pathlib import Path

import msgspec
import psutil

from hosu.objects.alerts import count_alerts
from hosu.objects.audit import count_outbox
from hosu.objects.buckets import list_buckets
from hosu.objects.health import saved_bytes
from hosu.objects.records import Bucket
from hosu.objects.store import ObjectStore
from hosu.rules.events.undelivered import TargetState, target_states
from hosu.server.metrics.meter import Meter, Snapshot, sum_up
from hosu.server.metrics.usage import Distribution, Usage

BUCKETS_PER_READ = 10_000
FULL_PERCENT = 100


class DiskFacts(msgspec.Struct, frozen=True):
    """The file system that holds the lake's blobs."""

    total_bytes: int
    free_bytes: int
    total_inodes: int
    free_inodes: int

    @property
    def used_bytes(self) -> int:
        """Bytes in use by whatever is on it."""
        return self.total_bytes - self.free_bytes


class ProcessFacts(msgspec.Struct, frozen=True):
    """One process of the server."""

    name: str
    cpu_s: float
    resident_bytes: int
    virtual_bytes: int
    descriptors: int
    read_calls: int = 0
    write_calls: int = 0
    read_bytes: int = 0
    """From the disk itself."""
    write_bytes: int = 0
    read_characters: int = 0
    """With what came from the page cache."""
    write_characters: int = 0


class CpuFacts(msgspec.Struct, frozen=True):
    """Shares of all processors in percent since the last reading, and the length of their queue."""

    user: float
    system: float
    idle: float
    iowait: float
    nice: float
    steal: float
    loads: tuple[float, float, float]
    processors: int


class MemoryFacts(msgspec.Struct, frozen=True):
    """The machine's memory in bytes."""

    total: int
    used: int
    free: int
    available: int
    buffers: int
    cached: int
    shared: int

    @property
    def used_percent(self) -> float:
        """Share in use."""
        return FULL_PERCENT * self.used / self.total if self.total else 0.0


class State(msgspec.Struct, frozen=True):
    """All of it, of one moment."""

    now_ms: int
    started_s: float
    is_ready: bool
    path: Path
    numbers: Snapshot
    buckets: list[Bucket]
    distribution: Distribution
    disk: DiskFacts
    outbox_rows: int
    lines_waiting: int
    processes: list[ProcessFacts]
    cpu: CpuFacts
    memory: MemoryFacts
    descriptors_max: int
    database_bytes: int
    log_bytes: int
    feed_seq: int
    saved_bytes: int
    lake_quota_bytes: int
    swept_ms: int
    alerts: list[tuple[str, str, int]]
    """How many alerts stand, by kind and severity."""

    targets: list[TargetState]
    """How the targets of events stand."""

    backups: dict[str, int]
    """Counters of the lake's backups: `backup_due_ms`, `backup_success_ms`, `backup_written_bytes`; where known."""


class Sources:
    """Where a state is read from."""

    def __init__(
        self,
        store: ObjectStore,
        meter: Meter,
        *,
        is_ready: Callable[[], bool],
        in_flight: Callable[[], dict[str, int]],
        lines_waiting: Callable[[], int],
    ) -> None:
        self._store = store
        self._meter = meter
        self._is_ready = is_ready
        self._in_flight = in_flight
        self._lines_waiting = lines_waiting
        self._usage = Usage(store.clock)
        psutil.cpu_times_percent()  # shares are of the time since this

    def read(self) -> State:
        """Read everything. Blocks on the disk."""
        store = self._store
        view = store.view()
        own = self._meter.snapshot()
        own.in_flight = self._in_flight()
        others = self._meter.others()
        with view.snapshot():
            buckets: list[Bucket] = []
            while page := list_buckets(view, after=buckets[-1].name if buckets else "", limit=BUCKETS_PER_READ):
                buckets += page
            outbox_rows = count_outbox(view)
            feed_seq = int(view.value("SELECT max(seq) FROM event") or 0)
            alerts = count_alerts(view)
            targets = target_states(view)
            saved = saved_bytes(view)
            lake_quota_bytes = store.lake_quota.read(view)
            swept_ms = int(view.value("SELECT value FROM counter WHERE name = 'swept_ms'") or 0)
            backups = dict(view.rows("SELECT name, value FROM counter WHERE substr(name, 1, 7) = 'backup_'"))
        database = store.path / "meta" / "lake.db"
        supervisor = psutil.Process(os.getppid())
        return State(
            now_ms=store.clock.now_ms(),
            started_s=self._meter.run / 1000,
            is_ready=self._is_ready(),
            path=store.path,
            numbers=sum_up([own, *others]),
            buckets=buckets,
            distribution=self._usage.distribution(view),
            disk=_disk(store.files.root),
            outbox_rows=outbox_rows,
            lines_waiting=self._lines_waiting(),
            processes=_processes(supervisor, {snapshot.pid: snapshot.process for snapshot in [own, *others]}),
            cpu=_cpu(),
            memory=_memory(),
            descriptors_max=resource.getrlimit(resource.RLIMIT_NOFILE)[0],
            database_bytes=_size_bytes(database),
            log_bytes=_size_bytes(database.with_name("lake.db-wal")),
            feed_seq=feed_seq,
            saved_bytes=saved,
            lake_quota_bytes=lake_quota_bytes,
            swept_ms=swept_ms,
            alerts=alerts,
            targets=targets,
            backups=backups,
        )


def _disk(path: Path) -> DiskFacts:
    facts = os.statvfs(path)
    return DiskFacts(facts.f_blocks * facts.f_frsize, facts.f_bavail * facts.f_frsize, facts.f_files, facts.f_ffree)


def _processes(supervisor: psutil.Process, names: dict[int, str]) -> list[ProcessFacts]:
    """Return the processes of this server: the supervisor and its children."""
    try:
        family = [supervisor, *supervisor.children()]
    except psutil.Error:  # the parent is not ours to look at, or gone
        family = [psutil.Process()]
    found = []
    for process in family:
        name = "supervisor" if process.pid == supervisor.pid else names.get(process.pid, "other")
        try:
            found.append(_process(process, name))
        except psutil.Error:  # it ended meanwhile
            continue
    return found


def _process(process: psutil.Process, name: str) -> ProcessFacts:
    with process.oneshot():
        times, memory = process.cpu_times(), process.memory_info()
        counters = process.io_counters() if hasattr(process, "io_counters") else None
        facts = ProcessFacts(name, times.user + times.system, memory.rss, memory.vms, process.num_fds())
    if counters is None:
        return facts
    return msgspec.structs.replace(
        facts,
        read_calls=counters.read_count,
        write_calls=counters.write_count,
        read_bytes=counters.read_bytes,
        write_bytes=counters.write_bytes,
        read_characters=getattr(counters, "read_chars", 0),
        write_characters=getattr(counters, "write_chars", 0),
    )


def _cpu() -> CpuFacts:
    shares = psutil.cpu_times_percent()
    return CpuFacts(
        shares.user, shares.system, shares.idle, getattr(shares, "iowait", 0.0), getattr(shares, "nice", 0.0),
        getattr(shares, "steal", 0.0), psutil.getloadavg(), psutil.cpu_count() or 1,
    )  # fmt: skip


def _memory() -> MemoryFacts:
    facts = psutil.virtual_memory()
    return MemoryFacts(
        facts.total, facts.used, facts.free, facts.available, getattr(facts, "buffers", 0),
        getattr(facts, "cached", 0), getattr(facts, "shared", 0),
    )  # fmt: skip


def _size_bytes(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0

"""Leases: what keeps an expiry from taking a snapshot away while it is read.

A lease is a consumer file of Paimon's, so Java's expiry honours it as well. Most reads end before anything could
expire, and write none: only one that goes on for a while, or is of a snapshot that may expire any moment, does.
"""

import threading
import weakref
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Final
from uuid import uuid4

from hosu.kernel.errors import HosuError
from hosu.tables.context import TableContext
from hosu.tables.records import Snapshot
from hosu.tables.snapshots import changelogs, consumers, find
from hosu.tables.snapshots.tags import is_expiring, tags

QUIET_SECONDS: Final = 30.0
"""How long a read of a young snapshot goes on before it writes a lease."""

RENEW_SECONDS: Final = 300.0
"""How often a lease is written: well below `consumers.LEASE_MS`, after which it counts no more."""

COUNT_MAX: Final = 2**31 - 1
"""`snapshot.num-retained.max` where nothing is said: no snapshot goes for their number."""

NEAR: Final = 0.5
"""A snapshot that another one followed longer ago than this part of the time kept has its lease from the start."""


class Lease:
    """The right to read a snapshot to the end."""

    def __init__(self, ctx: TableContext, snapshot: Snapshot) -> None:
        self._ctx = ctx
        self._lock = threading.Lock()
        self._began = ctx.clock.monotonic()
        self._written: float | None = None
        self._released = False
        self.snapshot_id = snapshot.id
        self.branch_path = ctx.layout.branch_path
        self.name = f"{consumers.LEASE_PREFIX}{uuid4().hex}"

    @property
    def is_written(self) -> bool:
        """Whether others can see the lease."""
        return self._written is not None

    def touch(self) -> None:
        """Write the lease where it is time to: cheap otherwise."""
        now = self._ctx.clock.monotonic()
        since, wait = (self._began, QUIET_SECONDS) if self._written is None else (self._written, RENEW_SECONDS)
        if now - since >= wait:
            self.write()

    def write(self) -> None:
        """Make the lease visible."""
        with self._lock:
            if not self._released:
                consumers.reset(self._ctx, self.name, self.snapshot_id)
                self._written = self._ctx.clock.monotonic()

    def release(self) -> None:
        """Give the lease back."""
        with self._lock:
            self._released = True
            if self._written is not None:
                # One that cannot be deleted now stops counting by itself.
                with suppress(HosuError, OSError):
                    consumers.delete(self._ctx, self.name)


@contextmanager
def hold(ctx: TableContext, snapshot: Snapshot) -> Iterator[Lease]:
    """Keep the files of a snapshot from expiring while the context is open.

    Snapshots that only a tag keeps need no lease; of those that have expired but for their changelog, that is kept.
    Raises NotFoundError SNAPSHOT_NOT_FOUND when an expiry of the snapshot has begun already.
    """
    lease = Lease(ctx, snapshot)
    _KEEPER.add(lease)
    try:
        if _may_expire_soon(ctx, snapshot) and not _is_kept_by_tag(ctx, snapshot):
            lease.write()
            # An expiry says how far it goes before it looks for leases: one of the two sees the other.
            if is_expiring(ctx, snapshot.id) and not changelogs.is_kept(ctx, snapshot.id):
                raise find.not_found(ctx, snapshot.id)
        yield lease
    finally:
        _KEEPER.remove(lease)
        lease.release()


def first_wanted(ctx: TableContext) -> int | None:
    """Return the first snapshot that a consumer wants or somebody reads, as files and this process tell."""
    of_files = consumers.first_wanted(ctx, ctx.clock.now_ms(), ctx.options.consumer_expiration_time)
    wanted = (of_files, held_here(ctx))
    return min((known for known in wanted if known is not None), default=None)


def held_here(ctx: TableContext) -> int | None:
    """Return the first snapshot of a table that is read in this process, whether its lease is written or not."""
    return _KEEPER.first(ctx.layout.branch_path)


def _may_expire_soon(ctx: TableContext, snapshot: Snapshot) -> bool:
    """Whether it may before its lease would be written: little is kept, or another one followed long ago."""
    options = ctx.options
    near_ms = options.snapshot_time_retained * NEAR
    if near_ms < QUIET_SECONDS * 1000:
        return True
    oldest_ms = ctx.clock.now_ms() - near_ms
    keeps_all_young = options.snapshot_num_retained_max >= COUNT_MAX
    if keeps_all_young and snapshot.time_millis >= oldest_ms:
        return False  # what followed it is younger still
    following = find.try_load(ctx, snapshot.id + 1)
    return following is not None and (not keeps_all_young or following.time_millis < oldest_ms)


def _is_kept_by_tag(ctx: TableContext, snapshot: Snapshot) -> bool:
    return is_expiring(ctx, snapshot.id) and any(tag.snapshot.id == snapshot.id for tag in tags(ctx))


class _Keeper:
    """A thread that touches the leases held in this process, while there are any."""

    def __init__(self) -> None:
        self._lock = threading.Condition()
        self._leases: weakref.WeakSet[Lease] = weakref.WeakSet()
        self._thread: threading.Thread | None = None

    def add(self, lease: Lease) -> None:
        with self._lock:
            self._leases.add(lease)
            if self._thread is None or not self._thread.is_alive():  # a fork leaves its threads behind
                self._thread = threading.Thread(target=self._run, name="hosu-leases", daemon=True)
                self._thread.start()

    def remove(self, lease: Lease) -> None:
        with self._lock:
            self._leases.discard(lease)

    def first(self, branch_path: str) -> int | None:
        with self._lock:
            return min((lease.snapshot_id for lease in self._leases if lease.branch_path == branch_path), default=None)

    def _run(self) -> None:
        while True:
            with self._lock:
                self._lock.wait(QUIET_SECONDS / 2)
                leases = list(self._leases)
                if not leases:
                    self._thread = None
                    return
            for lease in leases:
                # The read goes on without: what expires under it, it will say.
                with suppress(HosuError, OSError):
                    lease.touch()


_KEEPER = _Keeper()

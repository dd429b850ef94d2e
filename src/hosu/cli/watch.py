"""`hosu sync --watch`: keep a target like a changing source until told to stop."""

import contextlib
import queue
import random
import stat
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from pathlib import Path

from hosu.cli.addresses import Address, LocalAddress, ObjectAddress
from hosu.cli.faults import FileChangedError, as_hosu_error, is_transient
from hosu.cli.localfiles import PART_SUFFIX, FileIdentity
from hosu.cli.remote import objects_below
from hosu.cli.removal import delete_one
from hosu.cli.retry import WAIT_S_FIRST, WATCH_WAIT_S_MAX
from hosu.cli.session import Session
from hosu.cli.sync import Removal, SyncOptions, decide, run_sync
from hosu.cli.transfer import Fault, Summary
from hosu.cli.upload import upload_file
from hosu.kernel.clock import Clock
from hosu.kernel.errors import HosuError, InvalidInputError, UnavailableError

POLL_S = 30.0
"""How often a watched prefix is listed: S3 tells nobody of changes."""

RESCAN_S = 600.0
"""How often a watched folder is compared whole: kernels drop events when too many come at once."""

TURN_S = 0.1
"""Longest wait for an event before settled files are looked for."""

Feed = Callable[[], Iterable[Path]]
"""Returns the paths that changed since it was last called, waiting a little when there are none."""


@dataclass(slots=True)
class _Pending:
    identity: FileIdentity | None
    since: float
    not_before: float = 0.0


class Settler:
    """Paths that changed, until they have been still for `settle_s`: a file being written is not taken half."""

    def __init__(self, settle_s: float, identify: Callable[[str], FileIdentity | None]) -> None:
        self._settle_s = settle_s
        self._identify = identify
        self._pending: dict[str, _Pending] = {}

    def __len__(self) -> int:
        return len(self._pending)

    def note(self, relative: str, now: float, not_before: float = 0.0) -> None:
        """Start waiting for a path, or start over."""
        self._pending[relative] = _Pending(self._identify(relative), now, not_before)

    def due(self, now: float, busy: Iterable[str] = ()) -> Iterator[str]:
        """Yield, and forget, the paths that have been still long enough and are not busy."""
        for relative, pending in list(self._pending.items()):
            if now - pending.since < self._settle_s or now < pending.not_before or relative in busy:
                continue
            identity = self._identify(relative)
            if identity != pending.identity:
                pending.identity, pending.since = identity, now
                continue
            del self._pending[relative]
            yield relative


class FolderWatch:
    """A folder of this machine kept in a bucket.

    It holds no state on disk: what is missing is what the target's listing shows, so a restart goes on by comparing.
    Every difference and every event only marks a path; a path is acted on once it is still, by what it is then.
    """

    def __init__(
        self,
        session: Session,
        source: LocalAddress,
        target: ObjectAddress,
        options: SyncOptions,
        *,
        clock: Clock,
        feed: Feed,
        settle_s: float,
        rescan_s: float,
    ) -> None:
        self._session = session
        self._source = source
        self._target = target
        self._options = options
        self._clock = clock
        self._feed = feed
        self._rescan_s = rescan_s
        # Events name real paths, whatever links the source was reached by.
        self._root = source.path.resolve()
        self._settler = Settler(settle_s, self._identify)
        self._running: dict[Future[bool], str] = {}
        self._tries: dict[str, int] = {}
        self._next_rescan = 0.0
        self._compared_once = False
        self._failed: dict[str, HosuError] = {}

    def run(self, stop: threading.Event) -> Summary:
        """Watch until `stop`, then finish what is under way."""
        with ThreadPoolExecutor(self._session.jobs, "file") as pool:
            while not stop.is_set():
                self.turn(pool)
            wait(self._running)
            self._collect()
        return Summary(failures=list(self._failed.items()))

    def turn(self, pool: ThreadPoolExecutor) -> None:
        """Take in events, act on what has settled, collect what has ended."""
        for path in self._feed():
            self._take_in(path)
        now = self._clock.monotonic()
        if now >= self._next_rescan:
            self._compare("")
        for relative in self._settler.due(now, set(self._running.values())):
            self._running[pool.submit(self._act, relative)] = relative
        self._collect()

    def _identify(self, relative: str) -> FileIdentity | None:
        with contextlib.suppress(OSError):
            status = (self._source.path / relative).stat()
            if stat.S_ISREG(status.st_mode):
                return FileIdentity.of(status)
        return None

    def _take_in(self, path: Path) -> None:
        try:
            relative = path.relative_to(self._root).as_posix()
            relative.encode()
        except ValueError:
            return  # outside the folder, or a name that is not UTF-8, which the comparison reports
        if relative == "." or path.name.endswith(PART_SUFFIX):
            return
        if path.is_dir():
            # Files may have come into a new folder before it was watched.
            self._compare(relative)
        elif self._options.wants(relative) or self._options.delete:
            self._settler.note(relative, self._clock.monotonic())

    def _compare(self, below: str) -> None:
        """Mark every difference below a folder; when the endpoint does not answer, try again later, for ever."""
        now = self._clock.monotonic()
        if not below:
            self._next_rescan = now + self._rescan_s
        try:
            for decision in decide(self._session, self._source, self._target, self._options, below):
                now = self._clock.monotonic()
                if isinstance(decision, Fault):
                    self._fail(decision.address, as_hosu_error(decision.error, decision.address))
                elif isinstance(decision, Removal):
                    self._settler.note(decision.item.relative, now)
                elif isinstance(decision.source, LocalAddress):
                    self._settler.note(decision.source.path.relative_to(self._source.path).as_posix(), now)
        except Exception as error:
            if not is_transient(error):
                if not self._compared_once:
                    raise
                self._fail(str(self._target), as_hosu_error(error, self._target))
                return
            # The whole is compared again, which covers the folder too.
            self._next_rescan = self._clock.monotonic() + self._wait_s("")
            self._retry_later(str(self._target), error)
            return
        self._compared_once = self._compared_once or not below
        self._tries.pop("", None)

    def _act(self, relative: str) -> bool:
        """Upload a file, or delete what is gone; return False when the file changed meanwhile."""
        identity = self._identify(relative)
        if identity is None:
            if self._options.delete:
                self._delete(relative)
            return True
        if not self._options.wants(relative):
            return True
        path, target = self._source.path / relative, self._target.child(relative)
        try:
            _, size_bytes = upload_file(self._session, path, target, self._options.put, lambda _count: None)
        except (FileChangedError, FileNotFoundError):
            return False
        fields = {"operation": "sync", "source": str(path), "target": str(target), "size_bytes": size_bytes}
        self._session.output.event(fields, f"{path} -> {target}")
        return self._identify(relative) == identity

    def _delete(self, relative: str) -> None:
        """Delete the object of a file that is gone, or all that was below a folder that is gone."""
        gone = [self._target.child(relative)] if self._options.wants(relative) else []
        prefix = self._target.folder.key
        for entry in objects_below(self._session, self._target.child(f"{relative}/")):
            below = entry.address.key.removeprefix(prefix)
            if self._options.wants(below) and self._identify(below) is None:
                gone.append(entry.address)
        for address in gone:
            delete_one(self._session, address)
            fields = {"operation": "sync", "address": str(address), "version_id": None}
            self._session.output.event(fields, f"deleted {address}")

    def _collect(self) -> None:
        for future in [future for future in self._running if future.done()]:
            relative = self._running.pop(future)
            now = self._clock.monotonic()
            try:
                complete = future.result()
            except Exception as error:  # noqa: BLE001 - one file must not stop the watch
                if is_transient(error):
                    self._settler.note(relative, now, now + self._wait_s(relative))
                    self._retry_later(relative, error)
                else:
                    address = str(self._target.child(relative))
                    self._fail(address, as_hosu_error(error, address))
                continue
            self._tries.pop(relative, None)
            self._failed.pop(str(self._target.child(relative)), None)
            if not complete:
                self._settler.note(relative, now)

    def _wait_s(self, name: str) -> float:
        tries = self._tries.get(name, 0)
        self._tries[name] = tries + 1
        longest: float = min(WATCH_WAIT_S_MAX, WAIT_S_FIRST * 2 ** min(tries, 10))
        return longest * random.uniform(0.5, 1.0)  # noqa: S311 - spreads load, guards nothing

    def _retry_later(self, name: str, error: Exception) -> None:
        self._session.output.note(f"{name}: {as_hosu_error(error, name).message}; trying again")

    def _fail(self, address: str, error: HosuError) -> None:
        self._failed[address] = error
        self._session.output.failure(error, "sync", address)


@contextlib.contextmanager
def folder_feed(folder: Path) -> Iterator[Feed]:
    """Watch a folder with the kernel's events; what happens after this context is entered is not missed."""
    from watchfiles import watch

    events: queue.SimpleQueue[set[tuple[object, str]] | Exception] = queue.SimpleQueue()
    stop, ready = threading.Event(), threading.Event()

    def pump() -> None:
        try:
            for changes in watch(
                folder,
                watch_filter=None,
                debounce=400,
                step=50,
                stop_event=stop,
                rust_timeout=200,
                yield_on_timeout=True,
                raise_interrupt=False,
                ignore_permission_denied=True,
            ):
                ready.set()
                if changes:
                    events.put({(kind, path) for kind, path in changes})
        except Exception as error:  # noqa: BLE001 - handed to the thread that can say it
            events.put(error)
            ready.set()

    def feed() -> Iterable[Path]:
        paths: set[Path] = set()
        with contextlib.suppress(queue.Empty):
            changes = events.get(timeout=TURN_S)
            while True:
                if isinstance(changes, Exception):
                    raise as_watch_error(folder, changes)
                paths.update(Path(path) for _, path in changes)
                changes = events.get_nowait()
        return sorted(paths)

    thread = threading.Thread(target=pump, name="watch", daemon=True)
    thread.start()
    ready.wait()
    try:
        yield feed
    finally:
        stop.set()
        thread.join()


def as_watch_error(folder: Path, error: Exception) -> HosuError:
    """Say what usually keeps a folder from being watched."""
    fault = as_hosu_error(error, folder) if isinstance(error, OSError) else None
    kind = fault.kind if fault is not None else None
    message = (
        f"{folder} cannot be watched ({error}): raise fs.inotify.max_user_watches, "
        "or set WATCHFILES_FORCE_POLLING=1 to look at every file instead"
    )
    from hosu.kernel.errors import ErrorKind

    return InvalidInputError(kind or ErrorKind.INVALID_ARGUMENT, message)


def watch_prefix(
    session: Session,
    source: Address,
    target: Address,
    options: SyncOptions,
    *,
    interval_s: float,
    stop: threading.Event,
) -> Summary:
    """Sync from an endpoint again and again; an endpoint that does not answer is asked again at the next turn."""
    first = True
    while True:
        summary = run_sync(session, source, target, options)
        lasting = [error for _, error in summary.failures if not isinstance(error, UnavailableError)]
        if (first and lasting and summary.done == 0) or stop.is_set():
            return summary
        first = False
        if stop.wait(interval_s):
            return summary

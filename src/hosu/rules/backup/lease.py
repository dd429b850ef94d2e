"""One writer at a time: a file of the backup that says who writes to it, and until when unless they say so again."""

import os
import secrets
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

import msgspec

from hosu.kernel.errors import ConflictError, ErrorKind, HosuError, NotFoundError, PreconditionFailedError
from hosu.kernel.fileio import FileIO
from hosu.rules.backup.repository import Repository, encoded

LOCK: Final = "lock.json"
LEASE_MS: Final = 15 * 60 * 1000
"""How long a writer that has said nothing counts as alive. Clocks of machines that share a backup differ by less."""

RENEW_S: Final = 60.0


class Holder(msgspec.Struct, frozen=True):
    """Content of `lock.json`. `process` tells a process of one start of one machine from every other."""

    token: str
    what: str
    host: str
    pid: int
    process: str
    until_ms: int


class Lease:
    """The right to write. `check` before whatever must not happen without it."""

    def __init__(self, files: FileIO, holder: Holder, etag: str) -> None:
        self._files = files
        self._holder = holder
        self._etag = etag
        self._lost = False
        self._renewing = threading.Lock()

    def check(self) -> None:
        """Raise ConflictError BACKUP_BUSY when another process has taken over: this one was taken for dead."""
        if self._lost:
            raise ConflictError(
                ErrorKind.BACKUP_BUSY,
                "another process has taken over the backup, since this one had stood still: nothing was kept; run it "
                "again",
            )

    def renew(self, now_ms: int) -> None:
        """Say that the writer is alive. A failure that may pass leaves the lease as long as it was."""
        holder = msgspec.structs.replace(self._holder, until_ms=now_ms + LEASE_MS)
        with self._renewing:
            try:
                self._etag = self._files.put(LOCK, encoded(holder), if_match=self._etag).etag
                self._holder = holder
            except (PreconditionFailedError, NotFoundError):
                self._lost = True
            except HosuError:
                self._lost |= now_ms >= self._holder.until_ms

    def end(self) -> None:
        """Let others write."""
        with suppress(HosuError):
            held = msgspec.json.decode(self._files.read(LOCK), type=Holder)
            if held.token == self._holder.token:
                self._files.delete_many([LOCK])


@contextmanager
def leased(
    repository: Repository, what: str, *, also: Callable[[], None] = lambda: None, renew_s: float = RENEW_S
) -> Iterator[Lease]:
    """Hold the right to write while the block runs; `also` is called as often as the lease is renewed.

    Raises ConflictError BACKUP_BUSY while another process holds it.
    """
    lease = _take(repository, what)
    ending = threading.Event()

    def keep() -> None:
        while not ending.wait(renew_s):
            lease.renew(repository.clock.now_ms())
            with suppress(HosuError):
                also()

    keeper = threading.Thread(target=keep, name="hosu-backup-lease", daemon=True)
    keeper.start()
    try:
        yield lease
    finally:
        ending.set()
        keeper.join()
        lease.end()


def _take(repository: Repository, what: str) -> Lease:
    files, now_ms = repository.files, repository.clock.now_ms()
    holder = Holder(secrets.token_hex(16), what, socket.gethostname(), os.getpid(), this_process(), now_ms + LEASE_MS)
    try:
        return Lease(files, holder, files.put(LOCK, encoded(holder), if_absent=True).etag)
    except PreconditionFailedError:
        pass
    try:
        etag = files.head(LOCK).etag
        held = _read(files)
        if held is not None and held.until_ms > now_ms and not _is_dead(held):
            raise ConflictError(
                ErrorKind.BACKUP_BUSY,
                f"a {held.what} by process {held.pid} on {held.host} is under way in this backup: wait until it has "
                "ended",
            )
        return Lease(files, holder, files.put(LOCK, encoded(holder), if_match=etag).etag)
    except (PreconditionFailedError, NotFoundError) as error:
        raise ConflictError(
            ErrorKind.BACKUP_BUSY, "another process has taken the backup just now: wait until it has ended"
        ) from error


def _read(files: FileIO) -> Holder | None:
    try:
        return msgspec.json.decode(files.read(LOCK), type=Holder)
    except msgspec.MsgspecError:
        return None  # nobody who writes leaves such a file: its disk was mended, or somebody meddled


def this_process() -> str:
    """Return what tells the processes that this one could look for from others; empty where the system does not say."""
    with suppress(OSError):
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        return f"{boot}/{Path('/proc/self/ns/pid').readlink()}"
    return ""


def _is_dead(held: Holder) -> bool:
    """Say whether the writer was a process of this machine that has ended."""
    if not held.process or held.process != this_process():
        return False
    try:
        os.kill(held.pid, 0)
    except ProcessLookupError:
        return True
    except OSError:
        return False
    return False

"""A disk that fails on demand: power loss, I/O errors and lack of space at any chosen call.

It works on real files below a folder and keeps a model of what a power loss would leave of them, SQLite's
own files included, which reach it through a VFS. Syncs cost nothing: only the model learns of them.
"""

import errno
import itertools
import os
import threading
from collections.abc import Callable
from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import Self

import apsw

from hosu.testing.durable_tree import DurableTree, FileModel, Survival

_NUMBERS = itertools.count(1)
_TRACKED = (
    apsw.SQLITE_OPEN_MAIN_DB | apsw.SQLITE_OPEN_MAIN_JOURNAL | apsw.SQLITE_OPEN_SUPER_JOURNAL | apsw.SQLITE_OPEN_WAL
)
_DIRECTORY_SYNCED = _TRACKED & ~apsw.SQLITE_OPEN_MAIN_DB


class SimulatedCrash(BaseException):
    """The power went. Every later call on the disk raises it again."""


class Fault(StrEnum):
    """How a call on the disk fails."""

    CRASH = "the power goes"
    IO_ERROR = "EIO"
    DISK_FULL = "ENOSPC"


class FaultyDisk:
    """Implements `hosu.kernel.disk.Disk` for the files below root; what root holds already counts as durable.

    Calls that change the disk are steps, counted in `steps`; with `counts_reads`, reads are steps too. `fail_at`
    makes a step fail. SQLite is told of a crash as an I/O error, since no other exception passes through it, so
    whoever waits for a crash asks `has_crashed`. Close it when no connection uses it any more.
    """

    def __init__(self, root: Path, *, counts_reads: bool = False) -> None:
        self.root = root
        self.steps = 0
        self.counts_reads = counts_reads
        self.has_crashed = False
        self._lock = threading.RLock()
        self._tree = DurableTree(root)
        self._tree.load()
        self._paths: dict[int, Path] = {}
        self._fault = Fault.CRASH
        self._fault_steps = range(0)
        self.vfs_name = f"faulty-{os.getpid()}-{next(_NUMBERS)}"
        self._vfs = _Vfs(self)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close_vfs()

    def close_vfs(self) -> None:
        """Take the SQLite VFS back."""
        self._vfs.unregister()

    # Faults

    def fail_at(self, step: int, fault: Fault, *, count: int = 1) -> None:
        """Let count steps fail, the first of them the step-th from now (1 is the next)."""
        first = self.steps + step
        self._fault, self._fault_steps = fault, range(first, first + count)

    def heal(self) -> None:
        """Let no further step fail, unless the power is gone."""
        self._fault_steps = range(0)

    def after_restart(self, root: Path, survival: Survival = Survival.SYNCED, *, seed: int = 0) -> "FaultyDisk":
        """Return a new disk below root, an empty folder, with what a power loss now would leave of this one."""
        with self._lock:
            self._tree.store(root, survival, seed)
        return FaultyDisk(root)

    def step(self) -> None:
        """Count a call, and fail it when its turn has come."""
        with self._lock:
            if self.has_crashed:
                raise SimulatedCrash
            self.steps += 1
            if self.steps not in self._fault_steps:
                return
            if self._fault == Fault.CRASH:
                self.has_crashed = True
                raise SimulatedCrash
            number = errno.EIO if self._fault == Fault.IO_ERROR else errno.ENOSPC
            raise OSError(number, os.strerror(number))

    def step_read(self) -> None:
        """As `step`, for a call that changes nothing."""
        if self.counts_reads or self.has_crashed:
            self.step()

    # The disk

    def make_directory(self, path: Path) -> None:
        """Create path and its missing parents."""
        self.step()
        with self._lock:
            path.mkdir(parents=True, exist_ok=True)
            for directory in (path, *path.parents):
                if directory.is_relative_to(self.root) and directory != self.root:
                    self._tree.live.setdefault(directory, None)

    def create(self, path: Path) -> int:
        """Create a file that must not exist."""
        self.step()
        with self._lock:
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
            self._tree.file(path)
            self._paths[descriptor] = path
        return descriptor

    def append(self, path: Path) -> int:
        """Open a file whose writes go to its end. One descriptor at a time writes to it, so that its end is known."""
        self.step()
        with self._lock:
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            os.lseek(descriptor, 0, os.SEEK_END)
            self._tree.file(path)
            self._paths[descriptor] = path
        return descriptor

    def open_read(self, path: Path) -> int:
        """Open a file for reading."""
        self.step_read()
        return os.open(path, os.O_RDONLY | os.O_CLOEXEC)

    def write(self, descriptor: int, data: bytes | bytearray | memoryview) -> None:
        """Append all of data."""
        self.step()
        with self._lock:
            offset, whole = os.lseek(descriptor, 0, os.SEEK_CUR), bytes(data)
            written = os.write(descriptor, whole)
            assert written == len(whole), "a test's disk has room"
            self._tree.file(self._paths[descriptor]).write(offset, whole)

    def sync(self, descriptor: int) -> None:
        """Make a file's bytes durable."""
        self.sync_file(self._tree.file(self._paths[descriptor]))

    def sync_directory(self, path: Path) -> None:
        """Make the names in a directory durable."""
        with self._lock:
            try:
                self.step()
            except OSError:
                self._tree.lose_names(path)
                raise
            self._tree.sync_directory(path)

    def close(self, descriptor: int) -> None:
        """Close a descriptor; a machine without power does that too."""
        with self._lock:
            self._paths.pop(descriptor, None)
        os.close(descriptor)

    def rename(self, source: Path, target: Path) -> None:
        """Rename, replacing."""
        self.step()
        with self._lock:
            source.rename(target)
            self._tree.live[target] = self._tree.live.pop(source)

    def unlink(self, path: Path) -> None:
        """Remove a name that may be missing."""
        self.step()
        self.forget(path)

    # For the VFS

    def sync_file(self, file: FileModel) -> None:
        """Sync a file of the model."""
        with self._lock:
            try:
                self.step()
            except OSError:
                file.lose()
                raise
            file.sync()

    def forget(self, path: Path) -> None:
        """Remove a file and its name."""
        with self._lock:
            path.unlink(missing_ok=True)
            self._tree.live.pop(path, None)

    @property
    def tree(self) -> DurableTree:
        """The model of what survives."""
        return self._tree


class _Vfs(apsw.VFS):
    """SQLite's way to a faulty disk. Locks and shared memory are the operating system's: no power loss keeps them."""

    def __init__(self, disk: FaultyDisk) -> None:
        self._disk = disk
        super().__init__(disk.vfs_name, "")

    def xOpen(self, name: str | apsw.URIFilename | None, flags: list[int]) -> apsw.VFSFile:  # noqa: N802 - SQLite's name
        path = Path(name.filename() if isinstance(name, apsw.URIFilename) else name or "")
        if name is None or not flags[0] & _TRACKED:
            return apsw.VFSFile("", name, flags)
        if path not in self._disk.tree.live:
            _run(self._disk.step, apsw.SQLITE_CANTOPEN)
        opened = _VfsFile(self._disk, path, name, flags)
        self._disk.tree.file(path)
        return opened

    def xDelete(self, filename: str, syncdir: bool) -> None:  # noqa: N802, FBT001 - SQLite's signature
        _run(self._disk.step, apsw.SQLITE_IOERR_DELETE)
        path = Path(filename)
        if path not in self._disk.tree.live:
            raise apsw.exception_for(apsw.SQLITE_IOERR_DELETE_NOENT)
        self._disk.forget(path)
        if syncdir:
            self._disk.tree.sync_directory(path.parent)

    def excepthook(self, *_: object) -> bool:
        """Say nothing of exceptions that SQLite has taken note of."""
        return True


class _VfsFile(apsw.VFSFile):
    """A database, journal or log on a faulty disk."""

    def __init__(self, disk: FaultyDisk, path: Path, name: str | apsw.URIFilename, flags: list[int]) -> None:
        self._disk = disk
        self._path = path
        self._needs_directory_sync = bool(flags[0] & _DIRECTORY_SYNCED and flags[0] & apsw.SQLITE_OPEN_CREATE)
        super().__init__("", name, flags)

    def xRead(self, amount: int, offset: int) -> bytes:  # noqa: N802 - SQLite's name
        _run(self._disk.step_read, apsw.SQLITE_IOERR_READ)
        return super().xRead(amount, offset)

    def xWrite(self, data: bytes, offset: int) -> None:  # noqa: N802 - SQLite's name
        _run(self._disk.step, apsw.SQLITE_IOERR_WRITE)
        super().xWrite(data, offset)
        self._disk.tree.file(self._path).write(offset, bytes(data))

    def xTruncate(self, newsize: int) -> None:  # noqa: N802 - SQLite's name
        _run(self._disk.step, apsw.SQLITE_IOERR_TRUNCATE)
        super().xTruncate(newsize)
        self._disk.tree.file(self._path).truncate(newsize)

    def xSync(self, flags: int) -> None:  # noqa: ARG002, N802 - SQLite's signature
        _run(partial(self._disk.sync_file, self._disk.tree.file(self._path)), apsw.SQLITE_IOERR_FSYNC)
        if self._needs_directory_sync:  # as SQLite's own VFS does with the first sync of a log or journal
            self._disk.tree.sync_directory(self._path.parent)
            self._needs_directory_sync = False

    def excepthook(self, *_: object) -> bool:
        """Say nothing of exceptions that SQLite has taken note of."""
        return True


def _run(step: Callable[[], None], code: int) -> None:
    """Take a step, and tell SQLite of its failure by code."""
    try:
        step()
    except SimulatedCrash:
        raise _refusal(code, "the power went") from None
    except OSError as error:
        is_full = error.errno == errno.ENOSPC
        raise _refusal(apsw.SQLITE_FULL if is_full else code, os.strerror(error.errno or 0)) from None


def _refusal(code: int, message: str) -> Exception:
    error = apsw.exception_for(code)
    error.args = (message,)
    return error

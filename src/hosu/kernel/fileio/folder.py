# ruff: noqa: PTH102, PTH105, PTH108, PTH112
# Those rules prefer pathlib; here every step is one system call, on paths joined once.
"""Files in a plain folder, on a local disk or a NAS: every key is an ordinary file at that path."""

import errno
import fcntl
import io
import os
import secrets
import stat as modes
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from typing import Final, Self

from hosu.kernel.clock import Clock, SystemClock
from hosu.kernel.errors import ErrorKind, InvalidInputError, NotFoundError, PreconditionFailedError, UnavailableError
from hosu.kernel.fileio.contract import FileIO, FileWriter
from hosu.kernel.fileio.folder_tree import (
    FolderTree,
    disk_errors,
    key_conflict,
    list_files,
    no_file,
    stat_of,
    sync_folder,
)
from hosu.kernel.fileio.keys import RESERVED_FOLDER, FileStat, Prefix
from hosu.kernel.limits import WRITE_BYTES

PUBLISH_ATTEMPTS_MAX: Final = 100
"""How often a put makes its folder again when deletes keep removing it."""

TEMPORARY_AGE_MS_MAX: Final = 24 * 60 * 60 * 1000
"""A temporary untouched this long belongs to no living writer."""

LINKS_UNSUPPORTED: Final = {errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS}
"""What filesystems without hard links answer to a link."""

NS_PER_MS: Final = 1_000_000


class FolderFileIO(FileIO):
    """Files below a root folder, which must exist.

    A key is a path: 'a/b' is file b in folder a, so 'a' and 'a/b' cannot both be files (ConflictError KEY_CONFLICT),
    and a segment has at most 255 bytes. Symbolic links below the root are neither followed nor listed. With is_private
    what is made here is for its own user alone, whatever the umask lets others do.

    How a put becomes atomic and durable:
      1. the bytes go to a new file in `.hosu-tmp` of the same root, which is synced;
      2. missing folders are made, each synced into its parent;
      3. the file is renamed over the key, or linked to it (if_absent: a link fails where a file exists);
      4. the folder is synced.
    A crash before 3 leaves a temporary, swept a day later; a crash after 3 leaves the whole file.

    Changes of names hold a shared flock on `.hosu-tmp/lock`, a put with if_match an exclusive one, so that nothing
    comes between its look and its rename. What other programs do to the folder is outside that promise.
    """

    def __init__(self, root: str | os.PathLike[str], *, clock: Clock | None = None, is_private: bool = False) -> None:
        self._clock = clock or SystemClock()
        self.root = os.path.realpath(root)
        if not os.path.isdir(self.root):
            raise NotFoundError(
                ErrorKind.INVALID_SETTING, f"folder {os.fspath(root)!r} does not exist: make it, or mount it"
            )
        self._is_private = is_private
        self._tree = FolderTree(self.root, folder_mode=self._mode(0o777))
        self._hidden = f"{self.root}/{RESERVED_FOLDER}"
        self._swept = False
        self._has_links = True

    def __reduce__(self) -> tuple[Callable[..., "FolderFileIO"], tuple[object, ...]]:
        # What is remembered of the folder belongs to this process; another one looks for itself.
        return partial(_reopen, is_private=self._is_private), (self.root, self._clock)

    def _mode(self, mode: int) -> int:
        return mode & 0o700 if self._is_private else mode

    def _head(self, key: str) -> FileStat:
        self._tree.check(key)
        with disk_errors(key):
            return stat_of(key, self._tree.find(key))

    def _read(self, key: str, start: int, end: int | None) -> bytes:
        with self._open_read(key) as file, disk_errors(key):
            size_bytes = os.fstat(file.fileno()).st_size
            if start > size_bytes:
                raise InvalidInputError(
                    ErrorKind.RANGE_INVALID, f"{key!r} has {size_bytes} bytes: {start} is beyond", key=key, start=start
                )
            return _read_exactly(file.fileno(), start, size_bytes if end is None else min(end, size_bytes))

    def _open_read(self, key: str) -> io.RawIOBase:
        self._tree.check(key)
        with disk_errors(key):
            self._tree.find(key)
            try:
                descriptor = os.open(self._tree.path(key), os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
            except FileNotFoundError:
                raise no_file(key) from None
            return io.FileIO(descriptor, "rb")

    def _put(self, key: str, view: memoryview, *, if_absent: bool, if_match: str | None) -> FileStat:
        self._tree.check(key)
        with disk_errors(key), self._temporary() as temporary:
            temporary.write(view)
            return self._publish(key, temporary, if_absent=if_absent, if_match=if_match)

    def _open_write(self, key: str) -> FileWriter:
        self._tree.check(key)
        with disk_errors(key):
            return _FolderWriter(self, key, self._temporary())

    def _list(self, prefix: str, after: str, delimiter: str) -> Iterator[FileStat | Prefix]:
        return list_files(self.root, prefix, after, delimiter)

    def _delete_many(self, keys: Sequence[str]) -> None:
        for key in keys:
            self._tree.check(key)
        changed: set[str] = set()
        with disk_errors(keys[0]):
            for key in keys:
                with self._names_locked():
                    folder = self._tree.unlink(key)
                if folder is not None:
                    changed.add(folder)
            for folder in changed:
                # A folder emptied by a later key is gone, and the folder it was in is synced instead.
                with suppress(FileNotFoundError):
                    sync_folder(folder)

    def _publish(self, key: str, temporary: "_Temporary", *, if_absent: bool, if_match: str | None) -> FileStat:
        sealed = temporary.seal(self._clock.now_ms())
        for _ in range(PUBLISH_ATTEMPTS_MAX):
            alone = if_match is not None or (if_absent and not self._has_links)
            # A delete may empty the folder and remove it at any point before the file has its name.
            with suppress(FileNotFoundError, NotADirectoryError):
                folder = self._tree.make_folders(key)
                with self._names_locked(alone=alone):
                    if if_match is not None:
                        self._check_etag(key, if_match)
                    named = self._name(key, temporary.path, if_absent=if_absent)
                if named:
                    # Another process may have deleted the file and its folder since: then nothing is left to sync.
                    with suppress(FileNotFoundError):
                        sync_folder(folder)
                    return stat_of(key, sealed)
        raise UnavailableError(ErrorKind.DISK_FAULT, f"{key!r}: its folder vanishes again and again", key=key)

    def _check_etag(self, key: str, if_match: str) -> None:
        try:
            etag = stat_of(key, self._tree.find(key)).etag
        except NotFoundError:
            etag = None
        if etag != if_match:
            raise PreconditionFailedError(
                ErrorKind.PRECONDITION_FAILED, f"{key!r} is not at etag {if_match!r}", key=key, if_match=if_match
            )

    def _name(self, key: str, temporary: str, *, if_absent: bool) -> bool:
        """Give the temporary the name of key; tell whether that worked, or the folder must be looked at again."""
        target = self._tree.path(key)
        try:
            if not if_absent:
                os.replace(temporary, target)
                return True
            if self._has_links:
                return self._link(temporary, target)
            if not os.path.lexists(target):
                os.replace(temporary, target)
                return True
        except (FileExistsError, IsADirectoryError):
            pass
        if modes.S_ISDIR(os.lstat(target).st_mode):
            if not self._tree.remove_empty(target):
                raise key_conflict(key, "it is the folder of other keys")
        elif if_absent:
            raise PreconditionFailedError(ErrorKind.PRECONDITION_FAILED, f"{key!r} exists", key=key)
        return False

    def _link(self, temporary: str, target: str) -> bool:
        try:
            os.link(temporary, target)
        except FileExistsError:
            # A network filesystem may repeat a link whose answer was lost, and be refused by its own first try.
            if not os.path.samestat(os.lstat(temporary), os.lstat(target)):
                raise
        except OSError as error:
            if error.errno not in LINKS_UNSUPPORTED:
                raise
            # From here on, if_absent looks and renames under the lock that keeps everyone else out.
            self._has_links = False
            return False
        return True

    @contextmanager
    def _names_locked(self, *, alone: bool = False) -> Iterator[None]:
        # Each holder opens the lock for itself: flock belongs to the open file, so threads exclude one another too.
        path = f"{self._hidden}/lock"
        try:
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, self._mode(0o666))
        except FileNotFoundError:
            self._make_hidden()
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, self._mode(0o666))
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX if alone else fcntl.LOCK_SH)
            yield
        finally:
            os.close(descriptor)

    def _temporary(self) -> "_Temporary":
        if not self._swept:
            self._swept = True
            self._make_hidden()
            self._sweep()
        try:
            return _Temporary(self._hidden, self._mode(0o666))
        except FileNotFoundError:
            self._make_hidden()
            return _Temporary(self._hidden, self._mode(0o666))

    def _make_hidden(self) -> None:
        with suppress(FileExistsError):
            os.mkdir(self._hidden, self._mode(0o777))

    def _sweep(self) -> None:
        oldest_ms = self._clock.now_ms() - TEMPORARY_AGE_MS_MAX
        with os.scandir(self._hidden) as entries:
            for entry in entries:
                with suppress(FileNotFoundError):
                    if entry.name != "lock" and entry.stat().st_mtime_ns // NS_PER_MS < oldest_ms:
                        os.unlink(entry.path)


def _reopen(root: str, clock: Clock, *, is_private: bool) -> FolderFileIO:
    return FolderFileIO(root, clock=clock, is_private=is_private)


class _Temporary:
    """A new file in the hidden folder, removed on leaving unless it got a name by then."""

    def __init__(self, hidden: str, mode: int) -> None:
        self.path = f"{hidden}/{secrets.token_hex(16)}"
        self._descriptor: int | None = os.open(
            self.path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, mode
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.remove()

    def write(self, view: memoryview) -> None:
        assert self._descriptor is not None, "a sealed file takes no more bytes"
        start = 0
        while start < view.nbytes:
            start += os.write(self._descriptor, view[start : start + WRITE_BYTES])

    def seal(self, now_ms: int) -> os.stat_result:
        """Make the bytes durable.

        A file system may stamp two writes within some milliseconds alike, and give one the inode the other just left:
        the part of the time below a millisecond is drawn at random, so that their etags differ all the same.
        """
        assert self._descriptor is not None, "a file is sealed once"
        time_ns = now_ms * NS_PER_MS + secrets.randbelow(NS_PER_MS)
        os.utime(self._descriptor, ns=(time_ns, time_ns))
        os.fsync(self._descriptor)
        sealed = os.fstat(self._descriptor)
        self._close()
        return sealed

    def remove(self) -> None:
        self._close()
        with suppress(FileNotFoundError):
            os.unlink(self.path)

    def _close(self) -> None:
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is not None:
            os.close(descriptor)


class _FolderWriter(FileWriter):
    def __init__(self, fileio: FolderFileIO, key: str, temporary: _Temporary) -> None:
        super().__init__(key)
        self._fileio = fileio
        self._temporary = temporary

    def _append(self, view: memoryview) -> None:
        with disk_errors(self.key):
            self._temporary.write(view)

    def _publish(self) -> FileStat:
        with disk_errors(self.key):
            return self._fileio._publish(self.key, self._temporary, if_absent=False, if_match=None)  # noqa: SLF001 - its own writer

    def _abandon(self) -> None:
        self._temporary.remove()


def _read_exactly(descriptor: int, start: int, end: int) -> bytes:
    # One call returns at most 2 GiB on Linux; a file that was cut meanwhile returns nothing.
    pieces = []
    while start < end:
        piece = os.pread(descriptor, end - start, start)
        if not piece:
            break
        pieces.append(piece)
        start += len(piece)
    return pieces[0] if len(pieces) == 1 else b"".join(pieces)

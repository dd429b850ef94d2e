# ruff: noqa: PTH102, PTH106, PTH108, PTH120
# Those rules prefer pathlib; here every step is one system call, on paths joined once.
"""Keys as paths below a root: finding files, making folders durable, removing emptied ones, listing in key order."""

import errno
import os
import stat as modes
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Final

from hosu.kernel.errors import (
    AccessDeniedError,
    ConflictError,
    ErrorKind,
    HosuError,
    InvalidInputError,
    NotFoundError,
    UnavailableError,
    UnsupportedError,
)
from hosu.kernel.fileio.keys import RESERVED_FOLDER, SEGMENT_BYTES_MAX, FileStat, Prefix, check_path_key, fold
from hosu.kernel.limits import KEY_BYTES_MAX

SETTLED_FOLDERS_MAX: Final = 100_000
"""Folders remembered as durable; past this they are forgotten and synced again, which costs time and no safety."""


class FolderTree:
    """The folders and files below root, an absolute path without symbolic links."""

    def __init__(self, root: str, *, folder_mode: int = 0o777) -> None:
        self.root = root
        self._folder_mode = folder_mode
        self._settled: set[tuple[int, int]] = set()

    def check(self, key: str) -> None:
        """Refuse a key that cannot be a path: InvalidInputError KEY_INVALID or KEY_TOO_LONG."""
        check_path_key(key)
        for segment in key.split("/"):
            if len(segment.encode()) > SEGMENT_BYTES_MAX:
                raise InvalidInputError(
                    ErrorKind.KEY_TOO_LONG,
                    f"key {key!r}: a folder takes at most {SEGMENT_BYTES_MAX} bytes between slashes",
                    key=key,
                )

    def path(self, key: str) -> str:
        """Return the path of key."""
        return f"{self.root}/{key}"

    def find(self, key: str) -> os.stat_result:
        """Return the stat of the file at key; raise NotFoundError, also for what is not an ordinary file."""
        try:
            for folder in self._ancestors(key):
                if not modes.S_ISDIR(os.lstat(folder).st_mode):
                    raise no_file(key)
            found = os.lstat(self.path(key))
        except (FileNotFoundError, NotADirectoryError):
            raise no_file(key) from None
        if not modes.S_ISREG(found.st_mode):
            raise no_file(key)
        return found

    def make_folders(self, key: str) -> str:
        """Make the folders that lead to key, durably, and return the last one's path.

        Raises ConflictError KEY_CONFLICT where a file or a link stands in the way.
        """
        parent = self.root
        for folder in self._ancestors(key):
            try:
                found = os.lstat(folder)
            except FileNotFoundError:
                # Another writer may make it first: whether it is durable is asked below, as of any folder.
                with suppress(FileExistsError):
                    os.mkdir(folder, self._folder_mode)
                found = os.lstat(folder)
            if not modes.S_ISDIR(found.st_mode):
                raise key_conflict(key, f"{folder[len(self.root) + 1 :]!r} is not a folder")
            identity = (found.st_dev, found.st_ino)
            if identity not in self._settled:
                sync_folder(parent)
                if len(self._settled) >= SETTLED_FOLDERS_MAX:
                    self._settled.clear()
                self._settled.add(identity)
            parent = folder
        return parent

    def unlink(self, key: str) -> str | None:
        """Remove the file at key and the folders this empties; return the folder to sync, None if nothing was there."""
        try:
            self.find(key)
            os.unlink(self.path(key))
        except (FileNotFoundError, NotFoundError):
            return None
        folder = os.path.dirname(self.path(key))
        while folder != self.root:
            try:
                emptied = os.lstat(folder)
                os.rmdir(folder)
            except OSError:
                break  # Not empty, or gone already.
            self._settled.discard((emptied.st_dev, emptied.st_ino))
            folder = os.path.dirname(folder)
        return folder

    def remove_empty(self, folder: str) -> bool:
        """Remove a folder that holds nothing but empty folders, as a crash may leave them; tell whether it is gone."""
        try:
            for path, _, _ in os.walk(folder, topdown=False):
                os.rmdir(path)
        except OSError:
            return False
        return True

    def _ancestors(self, key: str) -> Iterator[str]:
        cut = key.find("/")
        while cut >= 0:
            yield self.path(key[:cut])
            cut = key.find("/", cut + 1)


def list_files(root: str, prefix: str, after: str, delimiter: str) -> Iterator[FileStat | Prefix]:
    """List the files below root as the contract's `list` does, descending only where entries are wanted."""
    base = prefix[: prefix.rfind("/") + 1]
    if any(segment in {"", ".", ".."} for segment in base.split("/")[:-1]) or base.startswith(f"{RESERVED_FOLDER}/"):
        return
    try:
        for cut, character in enumerate(base):
            if character == "/" and not modes.S_ISDIR(os.lstat(f"{root}/{base[:cut]}").st_mode):
                return
    except (FileNotFoundError, NotADirectoryError):
        return
    if delimiter == "/":
        for key, entry in _entries(root, base, prefix, after):
            if not key.endswith("/"):
                yield from _stats(key, entry)
            elif key > after and _holds_a_file(root, key):
                yield Prefix(key)
        return
    yield from fold(_walk(root, base, prefix, after), prefix, after, delimiter)


def _walk(root: str, base: str, prefix: str, after: str) -> Iterator[FileStat]:
    pending = [_entries(root, base, prefix, after)]
    while pending:
        following = next(pending[-1], None)
        if following is None:
            pending.pop()
        elif following[0].endswith("/"):
            pending.append(_entries(root, following[0], prefix, after))
        else:
            yield from _stats(*following)


def _entries(root: str, base: str, prefix: str, after: str) -> Iterator[tuple[str, os.DirEntry[str]]]:
    """Yield the wanted entries of folder base in key order, a folder's key ending with '/'.

    The slash is what puts a folder in its place among its keys: 'a.b' comes before 'a/b', and that before 'a0'.
    """
    found = []
    with disk_errors(base):
        try:
            with os.scandir(f"{root}/{base}") as entries:
                for entry in entries:
                    key = base + entry.name
                    if entry.is_dir(follow_symlinks=False):
                        key += "/"
                        wanted = key.startswith(prefix) or prefix.startswith(key)
                        wanted = wanted and (key > after or after.startswith(key))
                    else:
                        wanted = key.startswith(prefix) and key > after and entry.is_file(follow_symlinks=False)
                    if wanted and _is_key(key):
                        found.append((key, entry))
        except (FileNotFoundError, NotADirectoryError):
            return  # Deleted while the listing went on.
    found.sort(key=lambda pair: pair[0])
    yield from found


def _is_key(key: str) -> bool:
    # Other programs leave names that are not UTF-8, or too deep: no caller could name them.
    try:
        return len(key.encode()) <= KEY_BYTES_MAX and key != f"{RESERVED_FOLDER}/"
    except UnicodeEncodeError:
        return False


def _stats(key: str, entry: os.DirEntry[str]) -> Iterator[FileStat]:
    with disk_errors(key):
        try:
            found = entry.stat(follow_symlinks=False)
        except FileNotFoundError:
            return
    yield stat_of(key, found)


def _holds_a_file(root: str, base: str) -> bool:
    return next(_walk(root, base, base, ""), None) is not None


def stat_of(key: str, found: os.stat_result) -> FileStat:
    """Return the FileStat of a file: its etag tells inode, time and size, so that no two puts share one."""
    etag = f"{found.st_ino:x}-{found.st_mtime_ns:x}-{found.st_size:x}"
    return FileStat(key, found.st_size, etag, found.st_mtime_ns // 1_000_000)


def sync_folder(folder: str) -> None:
    """Make the names in folder durable."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def no_file(key: str) -> NotFoundError:
    """Return the error of a key without a file."""
    return NotFoundError(ErrorKind.OBJECT_NOT_FOUND, f"no file {key!r}", key=key)


def key_conflict(key: str, reason: str) -> ConflictError:
    """Return the error of a key that the folder's other names leave no room for."""
    return ConflictError(ErrorKind.KEY_CONFLICT, f"{key!r} cannot be a file here: {reason}", key=key)


@contextmanager
def disk_errors(key: str) -> Iterator[None]:
    """Turn what the operating system says into the errors of the contract."""
    try:
        yield
    except OSError as error:
        raise _translated(key, error) from error


def _translated(key: str, error: OSError) -> HosuError:
    message = f"{key!r}: {error.strerror}"
    if error.errno in {errno.ENOSPC, errno.EDQUOT}:
        return UnavailableError(ErrorKind.DISK_FULL, f"{message}: free some space and try again", key=key)
    if error.errno in {errno.EACCES, errno.EPERM, errno.EROFS}:
        return AccessDeniedError(ErrorKind.ACCESS_DENIED, f"{message}: the folder's permissions forbid it", key=key)
    if error.errno == errno.EXDEV:
        return UnsupportedError(
            ErrorKind.UNSUPPORTED, f"{message}: another filesystem is mounted below the root", key=key
        )
    if error.errno == errno.ENAMETOOLONG:
        return InvalidInputError(ErrorKind.KEY_TOO_LONG, message, key=key)
    return UnavailableError(ErrorKind.DISK_FAULT, message, key=key)

"""Files of this machine: walking folders in key order, noticing change, and putting files in place atomically."""

import contextlib
import hashlib
import os
import stat
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from hosu.kernel.errors import ErrorKind, InvalidInputError

PART_SUFFIX = ".hosu.part"
"""Ends the name of a download under way, which no upload ever takes for data."""

_NAME_BYTES_MAX = 255
"""Longest file name that Linux and macOS file systems take."""


@dataclass(frozen=True, slots=True)
class FileIdentity:
    """What changes when a file is written to or replaced."""

    device: int
    inode: int
    size_bytes: int
    mtime_ns: int

    @classmethod
    def of(cls, status: os.stat_result) -> "FileIdentity":
        """Return the identity that a stat result shows."""
        return cls(status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns)


@dataclass(frozen=True, slots=True)
class LocalFile:
    """One file of a folder: `relative` is its path below the folder as a key spells it."""

    path: Path
    relative: str
    size_bytes: int
    mtime_ns: int


@dataclass(frozen=True, slots=True)
class LocalFault:
    """Something of a folder that cannot be transferred, and why."""

    path: Path
    error: Exception


def walk(root: Path, below: str = "") -> Iterator[LocalFile | LocalFault]:
    """Yield the files of a folder in UTF-8 order of `relative`, the order in which S3 lists keys.

    Symbolic links are followed; a link to a folder that is being walked already ends there. A name that is not
    UTF-8, a folder that cannot be read and a broken link come as a LocalFault, in any place.
    """
    top = root / below if below else root
    yield from _walk(top, f"{below}/" if below else "", frozenset())


def _walk(folder: Path, prefix: str, ancestors: frozenset[tuple[int, int]]) -> Iterator[LocalFile | LocalFault]:
    try:
        status = folder.stat()
        names = os.listdir(folder)  # noqa: PTH208 - names are sorted and joined as keys, not used as paths
    except OSError as error:
        yield LocalFault(folder, error)
        return
    mark = (status.st_dev, status.st_ino)
    if mark in ancestors:
        return
    found: list[tuple[str, Path, os.stat_result]] = []
    for name in names:
        path = folder / name
        try:
            name.encode()
            entry = path.stat()
        except UnicodeEncodeError:
            reason = f"{os.fsencode(path)!r} is not UTF-8 and keys are: rename the file"
            yield LocalFault(path, InvalidInputError(ErrorKind.KEY_INVALID, reason))
            continue
        except OSError as error:
            yield LocalFault(path, error)
            continue
        # A folder sorts as its keys do: "a-b" comes before "a/b", because "-" comes before "/".
        found.append((f"{name}/" if stat.S_ISDIR(entry.st_mode) else name, path, entry))
    for name, path, entry in sorted(found, key=lambda item: item[0]):
        if name.endswith("/"):
            yield from _walk(path, prefix + name, ancestors | {mark})
        elif stat.S_ISREG(entry.st_mode) and not name.endswith(PART_SUFFIX):
            yield LocalFile(path, prefix + name, entry.st_size, entry.st_mtime_ns)


def part_path(target: Path, source: str) -> Path:
    """Return where a download of `source` to `target` is gathered: the same folder, so that a rename suffices."""
    mark = hashlib.sha256(source.encode(errors="surrogatepass")).hexdigest()[:8]
    tail = f".{mark}{PART_SUFFIX}"
    name = os.fsencode(target.name)[: _NAME_BYTES_MAX - len(tail) - 1]
    return target.parent / f".{os.fsdecode(name)}{tail}"


def sync_folder(folder: Path) -> None:
    """Make the names in a folder durable."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def put_in_place(descriptor: int, part: Path, target: Path, mtime_ns: int | None) -> None:
    """Give a finished download its name: bytes durable first, then the rename, then the folder."""
    if mtime_ns is not None:
        os.utime(descriptor, ns=(mtime_ns, mtime_ns))
    os.fsync(descriptor)
    part.replace(target)
    sync_folder(target.parent)


def write_private(path: Path, body: bytes) -> None:
    """Replace a file that only its owner may read; a reader sees the old one or the new one, whole."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(body)
            file.flush()
            os.fsync(file.fileno())
        Path(temporary).replace(path)
    except BaseException:
        with contextlib.suppress(FileNotFoundError):
            Path(temporary).unlink()
        raise
    sync_folder(path.parent)


def remove_file(path: Path, root: Path | None) -> None:
    """Remove a file, and the folders below `root` that this leaves empty; a missing file is as good as removed."""
    with contextlib.suppress(FileNotFoundError):
        path.unlink()
    if root is None:
        return
    for folder in path.parents:
        if folder == root or not folder.is_relative_to(root):
            return
        try:
            folder.rmdir()
        except OSError:
            return

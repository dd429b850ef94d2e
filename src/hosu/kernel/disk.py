"""The disk, as engines use it: a seam thin enough to cost nothing and whole enough for a faulty disk to stand in.

Every file that must survive a power loss is written, synced and linked through one `Disk`; the metadata
database reaches the same disk through the SQLite VFS that `vfs_name` names.
"""

import os
from pathlib import Path
from typing import Protocol


class Disk(Protocol):
    """File calls that matter to durability. Sizes are bytes."""

    vfs_name: str
    """Name of the SQLite VFS on this disk; empty for SQLite's own."""

    def make_directory(self, path: Path) -> None:
        """Create path and its missing parents; the caller syncs the parents it needs."""
        ...

    def create(self, path: Path) -> int:
        """Create a file that must not exist, open for reading and writing, and return its descriptor."""
        ...

    def append(self, path: Path) -> int:
        """Open a file whose writes go to its end, made when it is missing, and return its descriptor."""
        ...

    def open_read(self, path: Path) -> int:
        """Open a file for reading and return its descriptor."""
        ...

    def write(self, descriptor: int, data: bytes | bytearray | memoryview) -> None:
        """Append all of data at the descriptor's position."""
        ...

    def sync(self, descriptor: int) -> None:
        """Return once the file's bytes and size would survive a power loss."""
        ...

    def sync_directory(self, path: Path) -> None:
        """Return once the names in the directory would survive a power loss."""
        ...

    def close(self, descriptor: int) -> None:
        """Close a descriptor of `create`, `append` or `open_read`."""
        ...

    def rename(self, source: Path, target: Path) -> None:
        """Give source's file the name target, replacing what had it."""
        ...

    def unlink(self, path: Path) -> None:
        """Remove a name; one that is missing already is fine."""
        ...


class RealDisk:
    """The operating system's own file calls."""

    vfs_name = ""

    def make_directory(self, path: Path) -> None:
        """Create path and its missing parents."""
        path.mkdir(parents=True, exist_ok=True)

    def create(self, path: Path) -> int:
        """Create a file that must not exist."""
        return os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)

    def append(self, path: Path) -> int:
        """Open a file whose writes go to its end."""
        return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)

    def open_read(self, path: Path) -> int:
        """Open a file for reading."""
        return os.open(path, os.O_RDONLY | os.O_CLOEXEC)

    def write(self, descriptor: int, data: bytes | bytearray | memoryview) -> None:
        """Append all of data; the kernel may take it in several pieces."""
        written = os.write(descriptor, data)
        if written == len(data):
            return
        rest = memoryview(data).cast("B")
        while written < len(rest):
            written += os.write(descriptor, rest[written:])

    def sync(self, descriptor: int) -> None:
        """Sync bytes and size."""
        os.fdatasync(descriptor)

    def sync_directory(self, path: Path) -> None:
        """Sync the names in a directory."""
        descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

    def close(self, descriptor: int) -> None:
        """Close a descriptor."""
        os.close(descriptor)

    def rename(self, source: Path, target: Path) -> None:
        """Rename, replacing."""
        source.rename(target)

    def unlink(self, path: Path) -> None:
        """Remove a name that may be missing."""
        path.unlink(missing_ok=True)


def write_file(disk: Disk, path: Path, data: bytes) -> None:
    """Replace the small file at path, atomically and durably: temporary name, sync, rename, sync of the directory."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.new")
    disk.unlink(temporary)
    descriptor = disk.create(temporary)
    try:
        disk.write(descriptor, data)
        disk.sync(descriptor)
    finally:
        disk.close(descriptor)
    disk.rename(temporary, path)
    disk.sync_directory(path.parent)

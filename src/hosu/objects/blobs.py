"""Blob files: written once, synced, then never changed.

A file's name is its blob id, and 4,096 ids share a directory, so files made together are synced with one
directory sync. Ids are reserved in the metadata database before the first byte is written and never used
twice; a file whose id has no record is an orphan of a crash and belongs to the sweep.
"""

import contextlib
import errno
import os
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Self

import msgspec
from blake3 import blake3

from hosu.kernel.disk import Disk
from hosu.kernel.errors import CorruptError, ErrorKind, HosuError, UnavailableError
from hosu.kernel.limits import WRITE_BYTES
from hosu.objects.encryption.sealing import stored_size
from hosu.objects.records import BlobKind, EncryptionFacts

IDS_PER_DIRECTORY = 4096
VERIFIED_MS_MAX = 24 * 3600 * 1000
"""A blob whose bytes matched their hash this recently, in an unchanged file, is served without hashing it again."""

VERIFIED_KEPT_MAX = 100_000
"""Fresh verifications remembered by a process; past this it starts over and asks the database again."""

READ_BYTES = 1024 * 1024
"""Bytes hashed per read while verifying."""


class StagedBlob(msgspec.Struct, frozen=True, gc=False):
    """A body whose bytes are safe and await their record. Inline bodies are made durable with the record itself."""

    kind: BlobKind
    size_bytes: int
    digest: bytes
    body: bytes | None = None
    id: int = 0
    inode: int = 0
    ctime_ns: int = 0
    sealed: bytes | None = None
    """Of an encrypted body: how to open it, as its row keeps it. `digest` and `body` are of the stored bytes then."""

    content_hash: bytes | None = None
    """Of an encrypted file whose key is the lake's: what equal bytes under the same key have in common."""

    encryption: EncryptionFacts | None = None
    """What the record says of it; also of an empty body, which has nothing to encrypt."""

    coding: str | None = None
    """Of compressed bytes: how they stand for `size_bytes` others. `digest` and `body` are of the stored bytes then."""

    coded_bytes: int | None = None
    plain_hash: bytes | None = None


BLOB_COLUMNS = (
    "id, kind, is_corrupt, size_bytes, hash, verified_ms, inode, ctime_ns, coding, coded_bytes, plain_hash, sealed, "
    "body"
)
FILE_COLUMNS = BLOB_COLUMNS.removesuffix("body") + "NULL"
"""The same of a file, which has no bytes in the database."""


class BlobRow(msgspec.Struct, frozen=True, gc=False):
    """A row of `BLOB_COLUMNS`."""

    id: int
    kind: int
    is_corrupt: int
    size_bytes: int
    digest: bytes | None
    verified_ms: int
    inode: int
    ctime_ns: int
    coding: str | None
    coded_bytes: int | None
    plain_hash: bytes | None
    sealed: bytes | None
    body: bytes | None

    @property
    def stored_bytes(self) -> int:
        """Bytes that the blob takes where it is stored: after coding, and after encryption."""
        size_bytes = self.size_bytes if self.coded_bytes is None else self.coded_bytes
        return size_bytes if self.sealed is None else stored_size(size_bytes)


def stage_inline(body: bytes) -> StagedBlob:
    """Stage a small body that will live inside the metadata database."""
    return StagedBlob(BlobKind.INLINE, len(body), blake3(body).digest(), bytes(body))


def disk_error(error: OSError) -> UnavailableError:
    """Turn a failed file call into the error a client can act on."""
    if error.errno in {errno.ENOSPC, errno.EDQUOT}:
        return UnavailableError(ErrorKind.DISK_FULL, "the lake's disk is full: free space, then try again")
    return UnavailableError(ErrorKind.DISK_FAULT, f"the lake's disk failed: {error.strerror or error}")


def read_error(error: OSError, blob_id: int) -> HosuError:
    """Turn a failed read of a blob's file into an error: what a disk cannot give back is as lost as what it changed."""
    if error.errno != errno.EIO:
        return disk_error(error)
    return CorruptError(ErrorKind.CORRUPT_BLOB, f"the disk cannot read blob {blob_id}", blob_id=blob_id)


class BlobWriter:
    """One blob file being written. Either `finish` it or `abort` it; as a context it aborts what was not finished."""

    def __init__(self, files: "BlobFiles", blob_id: int) -> None:
        self.blob_id = blob_id
        self.size_bytes = 0
        self._files = files
        self._hash = blake3()
        self._path = files.path(blob_id)
        try:
            self._descriptor = files.create(self._path)
        except OSError as error:
            raise disk_error(error) from error
        self.is_open = True

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.abort()

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Append data, in calls that this kind of disk takes fastest."""
        self._append(data)
        self.size_bytes += len(data)

    def _append(self, data: bytes | bytearray | memoryview) -> None:
        self._hash.update(data)
        try:
            if len(data) <= WRITE_BYTES:
                self._files.disk.write(self._descriptor, data)
            else:
                view = memoryview(data)
                for start in range(0, len(view), WRITE_BYTES):
                    self._files.disk.write(self._descriptor, view[start : start + WRITE_BYTES])
        except OSError as error:
            raise disk_error(error) from error

    def finish(self) -> StagedBlob:
        """Sync the bytes and return what a record needs. The directory is synced by the commit that adds the record."""
        try:
            os.utime(self._descriptor)  # a slow upload must not look abandoned to the sweep
            self._files.disk.sync(self._descriptor)
            facts = os.fstat(self._descriptor)
        except OSError as error:
            self.abort()
            raise disk_error(error) from error
        if facts.st_nlink == 0:
            self.abort()
            raise UnavailableError(ErrorKind.DISK_FAULT, "the upload stood still for too long and was swept: try again")
        self.is_open = False
        self._files.disk.close(self._descriptor)
        return StagedBlob(
            BlobKind.FILE, self.size_bytes, self._hash.digest(), None, self.blob_id, facts.st_ino, facts.st_ctime_ns
        )

    def abort(self) -> None:
        """Remove the file. After `finish` this does nothing."""
        if not self.is_open:
            return
        self.is_open = False
        self._files.disk.close(self._descriptor)
        self._files.unlink(self.blob_id)


class OpenBlob:
    """An open blob file: a descriptor to read from, and the word on whether its bytes may leave yet."""

    __slots__ = ("_files", "descriptor", "row")

    def __init__(self, files: "BlobFiles", row: BlobRow, descriptor: int) -> None:
        self._files = files
        self.row = row
        self.descriptor = descriptor

    def is_verified(self, now_ms: int) -> bool:
        """Whether the bytes matched their hash lately and the file is unchanged since.

        Of an encrypted blob it is enough that its size is right: each segment proves itself when it is opened.
        """
        if self.row.sealed is not None:
            return os.fstat(self.descriptor).st_size == self.row.stored_bytes
        return self._files.is_verified(self.row, os.fstat(self.descriptor), now_ms)

    def verify(self) -> tuple[int, int]:
        """Hash the whole file and return (inode, change time in ns); raises `CorruptError` when bytes have changed."""
        facts = os.fstat(self.descriptor)
        digest, offset = blake3(), 0
        try:
            while piece := os.pread(self.descriptor, READ_BYTES, offset):
                digest.update(piece)
                offset += len(piece)
        except OSError as error:
            raise read_error(error, self.row.id) from error
        if offset != self.row.stored_bytes or digest.digest() != self.row.digest:
            raise CorruptError(
                ErrorKind.CORRUPT_BLOB,
                f"blob {self.row.id} no longer matches its hash: {offset} bytes read of {self.row.stored_bytes}",
                blob_id=self.row.id,
            )
        return facts.st_ino, facts.st_ctime_ns

    def read(self, offset: int, size_bytes: int) -> bytes:
        """Return up to size_bytes from offset."""
        data = os.pread(self.descriptor, size_bytes, offset)
        if not data:
            raise CorruptError(ErrorKind.CORRUPT_BLOB, f"blob {self.row.id} ends before its size", blob_id=self.row.id)
        return data

    def _reopen(self) -> None:
        """Go on with the file that has the blob's name now, under the same descriptor: others may be reading."""
        restored = self._files.open_descriptor(self.row)
        try:
            os.dup2(restored, self.descriptor, inheritable=False)
        finally:
            self._files.disk.close(restored)

    def close(self) -> None:
        """Close the descriptor."""
        self._files.disk.close(self.descriptor)


class BlobFiles:
    """The folder of blob files. `reserve` hands out a range of never-used ids as (first, end)."""

    def __init__(self, root: Path, disk: Disk, reserve: Callable[[], tuple[int, int]]) -> None:
        self.root = root
        self.disk = disk
        self._verified: dict[int, tuple[int, int, int]] = {}
        self._reserve = reserve
        self._lock = threading.Lock()
        self._next_id = 0
        self._end_id = 0
        self._known_directories: set[Path] = set()
        self._failed_directories: set[Path] = set()

    def path(self, blob_id: int) -> Path:
        """Return where the blob's file is."""
        return self.root / f"{blob_id // IDS_PER_DIRECTORY:08x}" / f"{blob_id:012x}"

    def new_id(self) -> int:
        """Return an id that no blob has had, for a new file."""
        with self._lock:
            if self._next_id == self._end_id or self.path(self._next_id).parent in self._failed_directories:
                self._next_id, self._end_id = self._reserve()
            blob_id = self._next_id
            self._next_id += 1
        return blob_id

    def create(self, path: Path) -> int:
        """Create a blob's file; its directory may have been removed while it was empty."""
        try:
            self.ensure_directory(path.parent)
            return self.disk.create(path)
        except FileNotFoundError:
            self._known_directories.discard(path.parent)
            self.ensure_directory(path.parent)
            return self.disk.create(path)

    def ensure_directory(self, path: Path) -> None:
        """Create a blob directory, durably, before the first file is put there."""
        if path in self._known_directories:
            return
        with self._lock:
            self.disk.make_directory(path)
            with self._abandoning(path):
                self.disk.sync_directory(self.root)
            self._known_directories.add(path)

    def put_in_place(self, new_id: int, blob_id: int) -> tuple[int, int]:
        """Give a finished file the name of a blob whose own bytes are lost, durably.

        Return (inode, change time in ns). Whoever has the old file open goes on reading that.
        """
        target = self.path(blob_id)
        try:
            self._known_directories.discard(target.parent)
            self.ensure_directory(target.parent)
            self.disk.rename(self.path(new_id), target)
            self.sync_directory(target.parent)
            facts = target.stat()
        except OSError as error:
            raise disk_error(error) from error
        self.forget_verified(blob_id)
        return facts.st_ino, facts.st_ctime_ns

    def sync_directory(self, path: Path) -> None:
        """Sync the names in a blob directory."""
        with self._abandoning(path):
            self.disk.sync_directory(path)

    @contextlib.contextmanager
    def _abandoning(self, path: Path) -> Iterator[None]:
        """After a failed sync no later one proves anything: put no more blobs in the directory."""
        try:
            yield
        except OSError:
            self._failed_directories.add(path)
            raise

    def check_staged(self, staged: StagedBlob) -> None:
        """Refuse a file that the sweep took for abandoned, or whose name can no longer be made durable."""
        path = self.path(staged.id)
        if path.parent in self._failed_directories:
            raise UnavailableError(ErrorKind.DISK_FAULT, "the lake's disk failed to sync a directory: try again")
        if not path.exists():
            raise UnavailableError(ErrorKind.DISK_FAULT, "the upload stood still for too long and was swept: try again")

    def current_directory(self) -> Path | None:
        """Return the directory that this process puts new blobs in."""
        with self._lock:
            return None if self._next_id == self._end_id else self.path(self._next_id).parent

    def remove_directory(self, path: Path) -> None:
        """Remove a directory that has no files left; new blobs of this process never land in it."""
        with self._lock, contextlib.suppress(OSError):
            path.rmdir()
            self._known_directories.discard(path)

    def open(self, row: BlobRow) -> OpenBlob:
        """Open a file blob for reading; raises `CorruptError` when the file is missing."""
        return OpenBlob(self, row, self.open_descriptor(row))

    def open_descriptor(self, row: BlobRow) -> int:
        """Return a descriptor of a blob's file; raises `CorruptError` when the file is missing."""
        try:
            return self.disk.open_read(self.path(row.id))
        except FileNotFoundError as error:
            raise CorruptError(ErrorKind.CORRUPT_BLOB, f"blob {row.id} has lost its file", blob_id=row.id) from error
        except OSError as error:
            raise disk_error(error) from error

    def is_verified(self, row: BlobRow, facts: os.stat_result, now_ms: int) -> bool:
        """Whether the file's bytes matched their hash lately, and these facts say that it is unchanged since."""
        if facts.st_size != row.stored_bytes:
            return False
        verified_ms, inode, ctime_ns = self._verified.get(row.id) or (row.verified_ms, row.inode, row.ctime_ns)
        is_unchanged = facts.st_ino == inode and facts.st_ctime_ns == ctime_ns
        return is_unchanged and 0 <= now_ms - verified_ms < VERIFIED_MS_MAX

    def is_intact(self, row: BlobRow, now_ms: int) -> bool:
        """Whether the blob may serve as the twin of a new one: its file is there and verified."""
        try:
            return self.is_verified(row, self.path(row.id).stat(), now_ms)
        except OSError:
            return False

    def note_verified(self, row: BlobRow, now_ms: int, inode: int, ctime_ns: int) -> None:
        """Remember that a blob's bytes were checked just now."""
        if len(self._verified) >= VERIFIED_KEPT_MAX:
            self._verified.clear()
        self._verified[row.id] = (now_ms, inode, ctime_ns)

    def forget_verified(self, blob_id: int) -> None:
        """Have the blob hashed again before it is served."""
        self._verified.pop(blob_id, None)

    def unlink(self, blob_id: int) -> None:
        """Remove a blob's file as far as the disk allows; what stays is an orphan for the sweep."""
        self._verified.pop(blob_id, None)
        with contextlib.suppress(OSError):
            self.disk.unlink(self.path(blob_id))

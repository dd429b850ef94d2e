"""Connections to the metadata database: one place that opens SQLite and says how."""

import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import apsw

from hosu.kernel.disk import Disk
from hosu.kernel.errors import ConflictError, ErrorKind, UnavailableError, UnsupportedError
from hosu.objects.rendering import register_functions
from hosu.objects.schema import DDL

SQLITE_VERSION_MIN = (3, 51, 3)
"""Older ones can corrupt a write-ahead log shared by several connections."""

PAGE_BYTES = 4096
BUSY_MS_MAX = 30_000
"""How long a writer waits for the writer of another process before the request fails as unavailable."""

CACHE_KIB = 8 * 1024
"""Page cache per connection; the operating system's cache stands behind it."""

NETWORK_FILESYSTEMS = frozenset(
    {"nfs", "nfs4", "cifs", "smb3", "smbfs", "9p", "ceph", "fuse.sshfs", "fuse.s3fs", "lustre"}
)
"""Where SQLite's locks or shared memory cannot be trusted."""


@contextmanager
def translating() -> Iterator[None]:
    """Let SQLite's refusals leave the block as ours."""
    try:
        yield
    except apsw.Error as error:
        translated = translate(error)
        if translated is error:
            raise
        raise translated from error


def connect(path: Path, disk: Disk) -> apsw.Connection:
    """Open a connection to the database at path on disk, durable on every commit."""
    with translating(), ExitStack() as opening:
        connection = apsw.Connection(
            os.fspath(path),
            flags=apsw.SQLITE_OPEN_READWRITE | apsw.SQLITE_OPEN_CREATE | apsw.SQLITE_OPEN_NOMUTEX,
            vfs=disk.vfs_name or None,
        )
        opening.callback(connection.close)
        connection.set_busy_timeout(BUSY_MS_MAX)
        connection.execute(
            f"PRAGMA page_size={PAGE_BYTES}; PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL; "
            f"PRAGMA cache_size=-{CACHE_KIB}; PRAGMA temp_store=MEMORY; PRAGMA wal_autocheckpoint=0"
        ).fetchall()  # apsw goes on to the next statement only as rows are read
        opening.pop_all()
    register_functions(connection)
    return connection


def create_tables(connection: apsw.Connection) -> None:
    """Create what is missing of the tables, all or nothing."""
    with translating():
        connection.execute("BEGIN IMMEDIATE")
        try:
            connection.execute(DDL)
            connection.execute("COMMIT")
        finally:
            if connection.in_transaction:
                connection.execute("ROLLBACK")


def check_sqlite_version() -> None:
    """Refuse a SQLite that is known to corrupt data."""
    version = tuple(int(part) for part in apsw.sqlite_lib_version().split("."))
    if version < SQLITE_VERSION_MIN:
        raise UnsupportedError(
            ErrorKind.UNSUPPORTED,
            f"SQLite {apsw.sqlite_lib_version()} can corrupt a lake; install apsw 3.51.3 or newer",
        )


def check_local_filesystem(path: Path) -> None:
    """Refuse to keep metadata on a network filesystem."""
    kind = filesystem_kind(path)
    if kind in NETWORK_FILESYSTEMS:
        raise UnsupportedError(
            ErrorKind.UNSUPPORTED,
            f"{path} is on {kind}: metadata needs a local disk; keep the lake on one and only its blobs elsewhere",
        )


def filesystem_kind(path: Path, mounts: Path = Path("/proc/self/mountinfo")) -> str:
    """Return the type of the filesystem that holds path, as the kernel names it; empty where it does not tell."""
    try:
        lines = mounts.read_text(encoding="utf-8", errors="surrogateescape").splitlines()
    except OSError:
        return ""
    resolved, best, kind = os.fspath(path.resolve()), "", ""
    for line in lines:
        left, _, right = line.partition(" - ")
        point = left.split(" ")[4].replace("\\040", " ")
        inside = resolved == point or resolved.startswith(point.rstrip("/") + "/")
        if inside and len(point) >= len(best):
            best, kind = point, right.split(" ")[0]
    return kind


def translate(error: apsw.Error) -> Exception:
    """Turn SQLite's refusal into ours where a caller can act on it; anything else stays what it is."""
    if isinstance(error, apsw.FullError):
        return UnavailableError(ErrorKind.DISK_FULL, "the lake's disk is full: free space, then try again")
    if isinstance(error, apsw.IOError | apsw.CantOpenError | apsw.ReadOnlyError):
        return UnavailableError(ErrorKind.DISK_FAULT, f"the lake's disk failed: {error}")
    if isinstance(error, apsw.BusyError | apsw.LockedError | apsw.ProtocolError):
        return UnavailableError(ErrorKind.DISK_FAULT, "another process kept the lake's database busy: try again")
    if isinstance(error, apsw.CorruptError | apsw.NotADBError):
        return ConflictError(ErrorKind.CORRUPT_LAKE, f"meta/lake.db is damaged: {error}; restore it from a backup")
    return error

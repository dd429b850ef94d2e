"""Files of a backup, in a folder or any S3: kept by the hash of their bytes, listed by snapshots."""

import re
import secrets
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime
from typing import BinaryIO, Final

import msgspec
from blake3 import blake3

from hosu.kernel.clock import Clock
from hosu.kernel.errors import (
    ConflictError,
    CorruptError,
    ErrorKind,
    HosuError,
    NotFoundError,
    PreconditionFailedError,
    UnsupportedError,
)
from hosu.kernel.fileio import FileIO, FileStat
from hosu.kernel.limits import MIB
from hosu.rules.backup.chunks import hash_of

BACKUP_FORMAT: Final = 1
"""Number of the layout of a backup; it grows with every change that an older hosu could not read."""

MARKER: Final = "hosu-backup.json"
SNAPSHOTS: Final = "snapshots/"
KINDS: Final = ("blobs", "packs", "records")
READ_BYTES: Final = MIB
SNAPSHOT_ID: Final = re.compile(r"[0-9a-f]{16}")
HASH: Final = re.compile(r"[0-9a-f]{64}")


class Marker(msgspec.Struct, frozen=True):
    """Content of `hosu-backup.json`: what the folder is. `id` tells this backup from others."""

    format: int
    id: str


class Piece(msgspec.Struct, frozen=True):
    """A run of bytes that a file in `blobs/` holds."""

    hash: str
    size_bytes: int


class StoredFile(msgspec.Struct, frozen=True):
    """A file of the lake that is no blob: its pieces, one after the other. `path` is relative to the lake's folder."""

    path: str
    mode: int
    pieces: tuple[Piece, ...]

    @property
    def size_bytes(self) -> int:
        """Size of the file."""
        return sum(piece.size_bytes for piece in self.pieces)


class Layer(msgspec.Struct, frozen=True):
    """Rows of the large tables: of every key in the first layer of a snapshot, of changed keys in the others.

    `packs` are those that the rows refer to, and no layer below does. `rows` counts records, or changed keys.
    """

    records: tuple[str, ...]
    packs: tuple[str, ...]
    rows: int


class Damage(msgspec.Struct, frozen=True):
    """A blob whose bytes the lake had lost already. `hash` is of the bytes that are missing."""

    blob_id: int
    hash: str
    reason: str


class Snapshot(msgspec.Struct, frozen=True, kw_only=True):
    """The lake at one moment, and all that a restore needs of the backup, each by its hash."""

    format: int = BACKUP_FORMAT
    id: str
    at_ms: int
    """The moment, by the lake's clock."""

    hosu: str
    lake_format: int
    lake: str
    """Where the lake was: host and folder."""

    seq: int
    """The newest event that is in it; 0 for none."""

    event: str
    """Hash of that event, by which the lake's history is known again."""

    layers: tuple[Layer, ...]
    """The lowest first; each replaces what those below say of its keys."""

    tables: tuple[str, ...]
    """Files of records with the small tables, whole."""

    files: tuple[StoredFile, ...]
    lake_key: str = ""
    """Fingerprint of the lake key that what is sealed depends on; empty where nothing is."""

    has_lake_key: bool = False
    """Whether `files` hold that key."""

    excludes_keys: bool = False
    damaged: tuple[Damage, ...] = ()
    objects: int
    object_bytes: int
    versions: int
    version_bytes: int
    written_files: int
    written_bytes: int
    """What this run added to the backup."""

    @property
    def at(self) -> datetime:
        """The moment, in UTC."""
        return datetime.fromtimestamp(self.at_ms / 1000, UTC)

    @property
    def key(self) -> str:
        """Where the snapshot itself is kept: names sort by time."""
        return f"{SNAPSHOTS}{self.at:%Y%m%dT%H%M%S}.{self.at_ms % 1000:03}Z-{self.id}.json"

    def needed(self) -> Iterator[tuple[str, str]]:
        """Yield kind and hash of what it lists by itself; blobs of objects are named by its records."""
        for layer in self.layers:
            yield from (("records", name) for name in layer.records)
            yield from (("packs", name) for name in layer.packs)
        yield from (("records", name) for name in self.tables)
        yield from (("blobs", piece.hash) for file in self.files for piece in file.pieces)


def new_id() -> str:
    """Return an id for a snapshot."""
    return secrets.token_hex(8)


def key_of(kind: str, name: str) -> str:
    """Return where the file with a hash is kept."""
    return f"{kind}/{name[:2]}/{name}"


class Repository:
    """One backup. Safe to share between threads."""

    def __init__(self, files: FileIO, clock: Clock, marker: Marker) -> None:
        self.files = files
        self.clock = clock
        self.id = marker.id

    # Opening

    @classmethod
    def open(cls, files: FileIO, clock: Clock) -> "Repository":
        """Open the backup in a place. Raises NotFoundError BACKUP_NOT_FOUND, UnsupportedError LAKE_NEWER."""
        try:
            data = files.read(MARKER)
        except NotFoundError as error:
            raise NotFoundError(
                ErrorKind.BACKUP_NOT_FOUND, f"there is no {MARKER} in that place: it holds no backup"
            ) from error
        try:
            marker = msgspec.json.decode(data, type=Marker)
        except msgspec.MsgspecError as error:
            raise CorruptError(ErrorKind.BACKUP_CORRUPT, f"{MARKER} of the backup cannot be read: {error}") from error
        if marker.format > BACKUP_FORMAT:
            raise UnsupportedError(
                ErrorKind.LAKE_NEWER,
                f"the backup has format {marker.format}, this hosu reads up to {BACKUP_FORMAT}: install a newer hosu",
            )
        return cls(files, clock, marker)

    @classmethod
    def open_or_make(cls, files: FileIO, clock: Clock) -> "Repository":
        """Open the backup in a place, or begin one where there is nothing.

        Raises ConflictError NOT_A_BACKUP for a place that holds other files.
        """
        if not files.exists(MARKER):
            if (other := next(iter(files.list()), None)) is not None:
                raise ConflictError(
                    ErrorKind.NOT_A_BACKUP,
                    f"the place holds {other.key!r} and no backup: name an empty one, or a folder or prefix in it",
                )
            with suppress(PreconditionFailedError):  # another process has begun it just now
                files.put(MARKER, encoded(Marker(BACKUP_FORMAT, new_id())), if_absent=True)
        return cls.open(files, clock)

    # Files by hash

    def has(self, kind: str, name: str, size_bytes: int) -> bool:
        """Say whether a file is there, by its name and size."""
        try:
            return self.files.head(key_of(kind, name)).size_bytes == size_bytes
        except NotFoundError:
            return False

    def read(self, kind: str, name: str) -> bytes:
        """Return the bytes of a file that fits in memory; raises CorruptError BACKUP_CORRUPT unless they are right."""
        try:
            data = self.files.read(key_of(kind, name))
        except NotFoundError as error:
            raise missing(kind, name) from error
        if hash_of(data) != name:
            raise changed(kind, name)
        return data

    def open_read(self, kind: str, name: str) -> BinaryIO:
        """Open a file for reading; the caller hashes what it reads."""
        try:
            return self.files.open_read(key_of(kind, name), READ_BYTES)
        except NotFoundError as error:
            raise missing(kind, name) from error

    def check(self, kind: str, name: str) -> int:
        """Read a file again, and return its size; raises CorruptError BACKUP_CORRUPT unless its bytes are right."""
        digest, size_bytes = blake3(), 0
        with self.open_read(kind, name) as stream:
            while piece := stream.read(READ_BYTES):
                digest.update(piece)
                size_bytes += len(piece)
        if digest.hexdigest() != name:
            raise changed(kind, name)
        return size_bytes

    def list_files(self, kind: str) -> Iterator[tuple[str, FileStat]]:
        """Yield hash and facts of every file of a kind, in order."""
        for stat in self.files.list(f"{kind}/"):
            name = stat.key.rpartition("/")[2]
            if isinstance(stat, FileStat) and HASH.fullmatch(name) and stat.key == key_of(kind, name):
                yield name, stat

    # Snapshots

    def snapshot_keys(self) -> list[str]:
        """Return where the snapshots are, the oldest first."""
        return [stat.key for stat in self.files.list(SNAPSHOTS) if stat.key.endswith(".json")]

    def snapshots(self) -> list[Snapshot]:
        """Return all snapshots, the oldest first."""
        return [self.load(key) for key in self.snapshot_keys()]

    def load(self, key: str) -> Snapshot:
        """Return a snapshot; raises CorruptError BACKUP_CORRUPT."""
        try:
            found = msgspec.json.decode(self.files.read(key))
            sealed = found.pop("hash")
            if hash_of(encoded(found)) != sealed:
                raise CorruptError(ErrorKind.BACKUP_CORRUPT, f"{key} of the backup has changed since it was written")
            if found["format"] > BACKUP_FORMAT:
                raise UnsupportedError(ErrorKind.LAKE_NEWER, f"{key} was written by a newer hosu: install it")
            snapshot = msgspec.convert(found, Snapshot)
            is_named_so = snapshot.key == key
        except (msgspec.MsgspecError, KeyError, TypeError, AttributeError, ValueError, OverflowError, OSError) as error:
            raise CorruptError(ErrorKind.BACKUP_CORRUPT, f"{key} of the backup cannot be read: {error}") from error
        if not is_named_so:
            raise CorruptError(ErrorKind.BACKUP_CORRUPT, f"{key} of the backup has another id or time than its name")
        return snapshot

    def find(self, snapshot_id: str) -> Snapshot | None:
        """Return a snapshot by its id, None where there is none."""
        key = next((key for key in self.snapshot_keys() if key.endswith(f"-{snapshot_id}.json")), None)
        return None if key is None else self.load(key)

    def commit(self, snapshot: Snapshot) -> None:
        """Keep a snapshot, whose files are all there. Raises PreconditionFailedError when there is one of its name."""
        found = msgspec.to_builtins(snapshot)
        self.files.put(snapshot.key, encoded(found | {"hash": hash_of(encoded(found))}), if_absent=True)

    def choose(self, *, snapshot_id: str = "", to_ms: int | None = None) -> Snapshot:
        """Return the snapshot of an id, or the newest at or before a time; raises NotFoundError BACKUP_NOT_FOUND."""
        if snapshot_id:
            found = self.find(snapshot_id) if SNAPSHOT_ID.fullmatch(snapshot_id) else None
            if found is None:
                raise NotFoundError(
                    ErrorKind.BACKUP_NOT_FOUND, f"the backup has no snapshot {snapshot_id!r}: list them first"
                )
            return found
        keys = self.snapshot_keys()
        for key in reversed(keys):
            if to_ms is None or (found := self.load(key)).at_ms <= to_ms:
                return self.load(key)
        if not keys:
            raise NotFoundError(ErrorKind.BACKUP_NOT_FOUND, "the backup has no snapshot: no run has ended yet")
        raise NotFoundError(
            ErrorKind.BACKUP_NOT_FOUND,
            f"the oldest snapshot of the backup is of {self.load(keys[0]).at.isoformat(timespec='seconds')}: "
            "name that time or a later one",
        )


def encoded(value: object) -> bytes:
    """Return a value as JSON that people can read, the same bytes for the same value."""
    return msgspec.json.format(msgspec.json.encode(value, order="sorted"), indent=1) + b"\n"


def missing(kind: str, name: str) -> CorruptError:
    """Return the error for a file that is not there."""
    return CorruptError(ErrorKind.BACKUP_CORRUPT, f"{key_of(kind, name)} is missing from the backup", file=name)


def changed(kind: str, name: str) -> CorruptError:
    """Return the error for a file with other bytes than it was written with."""
    return CorruptError(
        ErrorKind.BACKUP_CORRUPT,
        f"{key_of(kind, name)} of the backup no longer has the bytes that its name says",
        file=name,
    )


def is_damage(error: HosuError) -> bool:
    """Say whether an error is about one file of the backup, and others may be sound."""
    return error.kind is ErrorKind.BACKUP_CORRUPT

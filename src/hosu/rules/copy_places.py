"""Locations of second copies: whose they are, and how a copy is written, read and removed.

A location holds each stored blob once, under `blobs/ab/<BLAKE3 in hex>`, beside a list of the objects it belongs to
(`manifest/<bucket>.jsonl`) and a file that says which lake the copies are of.
"""

import os
import socket
from collections.abc import Iterator, Sequence
from functools import partial
from typing import Final

import msgspec
from blake3 import blake3

from hosu.kernel.errors import (
    ConflictError,
    CorruptError,
    ErrorKind,
    NotFoundError,
    PreconditionFailedError,
    UnsupportedError,
)
from hosu.kernel.fileio import FileIO
from hosu.kernel.limits import MIB
from hosu.objects.blobs import BlobRow
from hosu.objects.healing import stored_chunks
from hosu.objects.read import blob_row
from hosu.objects.records import BlobKind
from hosu.objects.store import ObjectStore
from hosu.objects.transaction import Tx
from hosu.rules.copies import Need, copy_key
from hosu.rules.locations import open_location

FORMAT: Final = 1
MARKER: Final = "hosu-copies.json"
CHUNK_BYTES: Final = MIB


class Marker(msgspec.Struct, frozen=True, forbid_unknown_fields=False):
    """Content of the file that says which lake a location's copies are of. `lake` is for people."""

    format: int
    id: str
    lake: str = ""


class Place:
    """One location, opened, whose copies are this lake's."""

    def __init__(self, store: ObjectStore, number: int, location: str, files: FileIO) -> None:
        self.number = number
        self.location = location
        self.files = files
        self._store = store

    def chunks(self, digest: bytes) -> Iterator[bytes]:
        """Yield the bytes of a copy, unchecked. Raises NotFoundError."""
        with self.files.open_read(copy_key(digest), CHUNK_BYTES) as file:
            while chunk := file.read(CHUNK_BYTES):
                yield chunk

    def is_sound(self, digest: bytes, size_bytes: int) -> bool:
        """Read a copy and say whether it is there with the bytes it should have."""
        found, read_bytes = blake3(), 0
        try:
            for chunk in self.chunks(digest):
                found.update(chunk)
                read_bytes += len(chunk)
        except NotFoundError:
            return False
        return read_bytes == size_bytes and found.digest() == digest

    def write(self, need: Need) -> None:
        """Copy a blob and read the copy back; one that is there already and sound is left.

        Raises CorruptError for a blob that is not sound itself, UnavailableError for a copy that does not come back.
        """
        blob = need.blob
        if self.files.exists(copy_key(need.digest)) and self.is_sound(need.digest, blob.stored_bytes):
            return
        found = blake3()
        with self.files.open_write(copy_key(need.digest)) as writer:
            for chunk in stored_chunks(self._store, _with_body(self._store, blob)):
                found.update(chunk)
                writer.write(chunk)
            if found.digest() != need.digest:  # leaving by an error forgets what was written
                raise CorruptError(
                    ErrorKind.CORRUPT_BLOB, f"blob {blob.id} no longer matches its hash", blob_id=blob.id
                )
        if not self.is_sound(need.digest, blob.stored_bytes):
            raise ConflictError(
                ErrorKind.LOCATION_INVALID,
                f"{self.location} gives back other bytes than were written: check the disk or server there",
            )

    def remove(self, digests: Sequence[bytes]) -> None:
        """Remove copies."""
        self.files.delete_many([copy_key(digest) for digest in digests])


def _with_body(store: ObjectStore, blob: BlobRow) -> BlobRow:
    return blob_row(store.view(), blob.id) if blob.kind == BlobKind.INLINE else blob


def find_place(store: ObjectStore, location: str) -> Place | None:
    """Open a location that copies were written to; None for one that never was.

    Raises ConflictError LOCATION_INVALID where the copies there are no longer this lake's, and what `FileIO` raises.
    """
    row = store.view().row("SELECT id, marker FROM copy_location WHERE location = ?", (location,))
    if row is None:
        return None
    files = open_location(location, store_path=store.path, clock=store.clock)
    _check_marker(store, files, location, *row)
    return Place(store, row[0], location, files)


def make_place(store: ObjectStore, location: str) -> Place:
    """Open a location, which becomes this lake's if it is nobody's."""
    found = find_place(store, location)
    if found is not None:
        return found
    files = open_location(location, store_path=store.path, clock=store.clock)
    marker = _read_marker(files, location)
    if marker is not None:
        found = find_place(store, location)  # another job of this lake may have taken it meanwhile
        if found is None:
            raise _not_ours(location, f"copies of {marker.lake or 'another lake'} are there")
        return found
    # The record first: a marker without one would be taken for another lake's.
    number, name = store.commit(partial(_add_location, location=location, marker=os.urandom(16).hex()))
    _claim(store, files, location, name)
    return Place(store, number, location, files)


def accept_location(store: ObjectStore, location: str) -> Place:
    """Take a location for this lake's, whatever is there: after its disk was replaced, or the lake was restored.

    What is known of copies there is forgotten; those that are found are read before they count again.
    """
    files = open_location(location, store_path=store.path, clock=store.clock)
    number, name = store.commit(partial(_add_location, location=location, marker=os.urandom(16).hex(), anew=True))
    _write_marker(store, files, name, is_new=False)
    return Place(store, number, location, files)


def _add_location(tx: Tx, *, location: str, marker: str, anew: bool = False) -> tuple[int, str]:
    if anew:
        tx.run("DELETE FROM copy WHERE location_id = (SELECT id FROM copy_location WHERE location = ?)", (location,))
        tx.run("UPDATE copy_location SET marker = ? WHERE location = ?", (marker, location))
    tx.run("INSERT OR IGNORE INTO copy_location (location, marker, behind_ms) VALUES (?, ?, 0)", (location, marker))
    number, name = tx.rows("SELECT id, marker FROM copy_location WHERE location = ?", (location,))[0]
    return int(number), str(name)


def _check_marker(store: ObjectStore, files: FileIO, location: str, number: int, name: str) -> None:
    marker = _read_marker(files, location)
    if marker is None:
        if store.view().value("SELECT 1 FROM copy WHERE location_id = ? LIMIT 1", (number,)):
            raise _not_ours(location, "the copies that were written there are not there now: is its disk mounted?")
        _claim(store, files, location, name)
    elif marker.id != name:
        raise _not_ours(location, f"copies of {marker.lake or 'another lake'} are there")


def _read_marker(files: FileIO, location: str) -> Marker | None:
    try:
        marker = msgspec.json.decode(files.read(MARKER), type=Marker)
    except NotFoundError as error:
        if error.kind is ErrorKind.BUCKET_NOT_FOUND:
            raise
        return None
    except msgspec.MsgspecError as error:
        raise _not_ours(location, f"its {MARKER} cannot be read: {error}") from error
    if marker.format > FORMAT:
        raise UnsupportedError(
            ErrorKind.LAKE_NEWER, f"{location} has copies of format {marker.format}: install a newer hosu"
        )
    return marker


def _claim(store: ObjectStore, files: FileIO, location: str, name: str) -> None:
    """Mark a location as this lake's, unless another thread or process of this lake has done so just now."""
    try:
        _write_marker(store, files, name, is_new=True)
    except PreconditionFailedError:
        marker = _read_marker(files, location)
        if marker is None or marker.id != name:
            raise _not_ours(location, "another lake has taken it just now") from None


def _write_marker(store: ObjectStore, files: FileIO, name: str, *, is_new: bool) -> None:
    marker = Marker(FORMAT, name, f"{socket.gethostname()}:{os.fspath(store.path.absolute())}")
    files.put(MARKER, msgspec.json.encode(marker) + b"\n", if_absent=is_new)


def _not_ours(location: str, why: str) -> ConflictError:
    return ConflictError(
        ErrorKind.LOCATION_INVALID,
        f"no copies are written to {location!r}: {why}; `hosu scrub LAKE --accept-location {location}` makes it this "
        "lake's",
        location=location,
    )

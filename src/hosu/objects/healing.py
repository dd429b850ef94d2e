"""Giving a blob back the bytes it had: what is needed of the engine for that, and who uses a blob.

Stored bytes are named by their BLAKE3, so any place that has bytes with this hash can stand in, whether they are plain,
compressed or encrypted. `hosu.rules.healing` knows the places.
"""

import os
from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from typing import Protocol

import msgspec
from blake3 import blake3

from hosu.kernel.errors import CorruptError, ErrorKind
from hosu.objects.audit import Origin
from hosu.objects.blobs import READ_BYTES, BlobRow, BlobWriter, read_error
from hosu.objects.records import BlobKind, Bucket, ObjectRecord, Versioning
from hosu.objects.schema import VERSION_COLUMNS
from hosu.objects.store import ObjectStore
from hosu.objects.transaction import Tx
from hosu.objects.versions import Draft, current, install
from hosu.objects.views import View

OWNERS_MAX = 1_000
"""Objects named of one blob: more than anybody reads, and copies of one file are rarely as many."""

IDS_PER_QUERY = 512


class Owner(msgspec.Struct, frozen=True, order=True):
    """One version of an object whose bytes are, or are in, a blob."""

    bucket: str
    key: str
    version_id: str
    seq: int
    is_current: bool


class Restored(Protocol):
    """Writes what else is to be recorded when a blob has its bytes again, in the same transaction."""

    def __call__(self, tx: Tx, /) -> None:
        """Write it."""
        ...


def stored_chunks(store: ObjectStore, row: BlobRow) -> Iterator[bytes]:
    """Yield the bytes of an inline or file blob as they are stored, unchecked; raises CorruptError without its file."""
    if row.kind == BlobKind.INLINE:
        yield row.body or b""
        return
    descriptor = store.files.open_descriptor(row)
    try:
        offset = 0
        while piece := os.pread(descriptor, READ_BYTES, offset):
            yield piece
            offset += len(piece)
    except OSError as error:
        raise read_error(error, row.id) from error
    finally:
        store.disk.close(descriptor)


def is_sound(store: ObjectStore, row: BlobRow) -> bool:
    """Hash a blob's stored bytes. What cannot be read is not sound; composed blobs have no bytes of their own."""
    digest, size_bytes = blake3(), 0
    try:
        for piece in stored_chunks(store, row):
            digest.update(piece)
            size_bytes += len(piece)
    except CorruptError:
        return False
    return size_bytes == row.stored_bytes and digest.digest() == row.digest


def restore_blob(
    store: ObjectStore, row: BlobRow, chunks: Iterable[bytes], also: Restored | None, origin: Origin | None
) -> None:
    """Write bytes in the place of a blob's own, durably, and record that it is sound; `also` joins the transaction.

    Raises CorruptError and changes nothing when they are not the blob's bytes.
    """
    if row.kind == BlobKind.INLINE:
        body = b"".join(chunks)
        if len(body) != row.stored_bytes or blake3(body).digest() != row.digest:
            raise _not_the_bytes(row)
        store.commit(partial(_restore_inline, row=row, body=body, also=also), origin)
        return
    store.check_space()
    with BlobWriter(store.files, store.files.new_id()) as writer:
        for chunk in chunks:
            writer.write(chunk)
        staged = writer.finish()
    if staged.size_bytes != row.stored_bytes or staged.digest != row.digest:
        store.files.unlink(staged.id)
        raise _not_the_bytes(row)
    # From here on a crash leaves the sound file under either name: of a number without a record the sweep takes it.
    inode, ctime_ns = store.files.put_in_place(staged.id, row.id)
    note_sound(store, row, inode, ctime_ns, also, origin)


def note_sound(
    store: ObjectStore, row: BlobRow, inode: int, ctime_ns: int, also: Restored | None, origin: Origin | None
) -> None:
    """Record that the bytes of a blob match their hash, in the file of these facts."""
    now_ms = store.clock.now_ms()
    store.commit(partial(_mark_sound, row=row, now_ms=now_ms, inode=inode, ctime_ns=ctime_ns, also=also), origin)
    if row.kind == BlobKind.FILE:
        store.files.note_verified(row, now_ms, inode, ctime_ns)


def _restore_inline(tx: Tx, row: BlobRow, body: bytes, also: Restored | None) -> None:
    tx.run(
        "UPDATE blob SET body = ?, is_corrupt = 0, verified_ms = ? WHERE id = ? AND kind = 0 AND hash = ?",
        (body, tx.now_ms, row.id, row.digest),
    )
    if tx.changes() and also is not None:
        also(tx)


def _mark_sound(tx: Tx, row: BlobRow, now_ms: int, inode: int, ctime_ns: int, also: Restored | None) -> None:
    tx.run(
        "UPDATE blob SET is_corrupt = 0, verified_ms = ?, inode = ?, ctime_ns = ? WHERE id = ? AND hash = ?",
        (now_ms, inode, ctime_ns, row.id, row.digest),
    )
    if tx.changes() and also is not None:
        also(tx)


def _not_the_bytes(row: BlobRow) -> CorruptError:
    return CorruptError(
        ErrorKind.CORRUPT_BLOB, f"what was to restore blob {row.id} does not match its hash", blob_id=row.id
    )


# Who uses a blob


def find_owners(view: View, blob_ids: Sequence[int], limit: int = OWNERS_MAX) -> dict[int, list[Owner]]:
    """Return for each blob the versions of objects that need it, whole or as a part; walks over all records once."""
    found: dict[int, list[Owner]] = {blob_id: [] for blob_id in blob_ids}
    needed: dict[int, list[int]] = {blob_id: [blob_id] for blob_id in blob_ids}
    chunks = [list(blob_ids)[at : at + IDS_PER_QUERY] for at in range(0, len(blob_ids), IDS_PER_QUERY)]
    for chunk in chunks:
        statement = f"SELECT DISTINCT blob_id, child_id FROM segment WHERE child_id IN ({_marks(chunk)})"
        for parent, child in view.each(statement, chunk):
            needed.setdefault(parent, []).append(child)
    wanted = list(needed)
    for at in range(0, len(wanted), IDS_PER_QUERY):
        chunk = wanted[at : at + IDS_PER_QUERY]
        for table, is_current in (("object", True), ("version", False)):
            statement = (
                f"SELECT name, key, version_id, seq, blob_id FROM {table} JOIN bucket ON bucket.id = bucket_id "
                f"WHERE blob_id IN ({_marks(chunk)})"
            )
            for name, key, version_id, seq, blob_id in view.each(statement, chunk):
                for whose in needed[blob_id]:
                    if len(found[whose]) < limit:
                        found[whose].append(Owner(name, key, version_id, seq, is_current))
    return {blob_id: sorted(owners) for blob_id, owners in found.items()}


def referred_to(view: View, blob_ids: Sequence[int]) -> set[int]:
    """Return those of some blobs, at most `IDS_PER_QUERY`, that any record refers to; walks over all records."""
    columns = (("object", "blob_id"), ("version", "blob_id"), ("part", "blob_id"), ("segment", "child_id"))
    found: set[int] = set()
    for table, column in columns:
        rows = view.rows(f"SELECT DISTINCT {column} FROM {table} WHERE {column} IN ({_marks(blob_ids)})", blob_ids)
        found |= {row[0] for row in rows}
    return found


def _marks(values: Sequence[object]) -> str:
    return ",".join("?" * len(values))


# Setting a corrupt version aside


def previous_versions(view: View, bucket: Bucket, key: str, seq: int) -> Iterator[ObjectRecord]:
    """Yield the versions of a key before one, the newest first, back to where the key was deleted."""
    statement = (
        f"SELECT is_marker, {VERSION_COLUMNS} FROM version WHERE bucket_id = ? AND key = ? AND seq < ? "
        "ORDER BY seq DESC"
    )
    for row in view.rows(statement, (bucket.id, key, seq)):
        if row[0]:
            return
        yield msgspec.structs.replace(ObjectRecord(key, *row[1:]), is_latest=False)


def demote_corrupt(
    tx: Tx, bucket_name: str, key: str, seq: int, previous_seq: int, *, actor: str
) -> ObjectRecord | None:
    """Make an earlier version of a key current again, as a new version; the corrupt one stays behind it.

    None, and nothing is changed, where the corrupt one is no longer current, the earlier one is gone, or the bucket
    would drop what is replaced.
    """
    bucket = tx.bucket(bucket_name)
    corrupt = current(tx, bucket.id, key)
    if bucket.versioning != Versioning.ENABLED or corrupt is None or corrupt.seq != seq:
        return None
    row = tx.row(
        f"SELECT {VERSION_COLUMNS} FROM version WHERE bucket_id = ? AND key = ? AND seq = ? AND NOT is_marker",
        (bucket.id, key, previous_seq),
    )
    if row is None:
        return None
    before = ObjectRecord(key, *row)
    tx.add_reference(before.blob_id)
    draft = Draft(
        before.size_bytes, before.etag, before.blob_id, before.storage_class, before.checksum_algorithm,
        before.checksum_type, before.checksum_value, before.part_count, before.attributes_json,
    )  # fmt: skip
    return install(tx, bucket, key, draft, event="ObjectCreated:Copy", actor=actor)

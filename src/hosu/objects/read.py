"""Finding an object and the bytes it is made of."""

from collections.abc import Iterator
from contextlib import contextmanager, suppress

import msgspec

from hosu.kernel.errors import CorruptError, ErrorKind, InvalidInputError, NotFoundError
from hosu.objects.aliases import resolve
from hosu.objects.blobs import BLOB_COLUMNS, VERIFIED_MS_MAX, BlobRow, OpenBlob
from hosu.objects.records import BlobKind, Bucket, ObjectRecord
from hosu.objects.schema import VERSION_COLUMNS
from hosu.objects.versions import current, newest, require_version
from hosu.objects.views import View


class Piece(msgspec.Struct, frozen=True, gc=False):
    """A run of bytes inside one blob: `size_bytes` from `start`."""

    blob: BlobRow
    start: int
    size_bytes: int


class PartFacts(msgspec.Struct, frozen=True):
    """One part of an object that was uploaded in parts; `start` is its offset in the object."""

    number: int
    start: int
    size_bytes: int
    checksum_value: str | None


def find(view: View, bucket_name: str, key: str, version_id: str | None = None) -> ObjectRecord:
    """Return the current object of a key, or one version of it, looking through aliases.

    Raises `NotFoundError` with `marker_version_id` in its details when a delete marker hides the object.
    Its error for a version that is itself a marker has the kind METHOD_NOT_ALLOWED.
    """
    bucket = view.bucket(bucket_name)
    stored_key = resolve(view, bucket, key) if bucket.alias_count else key
    if version_id is not None:
        with view.snapshot():  # a version may become current between two looks
            record = require_version(view, bucket.id, stored_key, version_id)
        if record.is_marker:
            raise NotFoundError(
                ErrorKind.METHOD_NOT_ALLOWED,
                f"version {version_id!r} of {key!r} is a delete marker",
                key=key,
                marker_version_id=version_id,
                modified_ms=record.modified_ms,
            )
    else:
        found = current(view, bucket.id, stored_key)
        if found is None:
            raise missing(view, bucket, stored_key, key)
        record = found
    return record if stored_key == key else msgspec.structs.replace(record, key=key)


def missing(view: View, bucket: Bucket, stored_key: str, key: str) -> NotFoundError:
    """Return the error for a key without a current object, naming the marker that hides it, if one does."""
    marker = newest(view, bucket.id, stored_key)
    details = {"marker_version_id": marker.version_id} if marker is not None and marker.is_marker else {}
    return NotFoundError(ErrorKind.OBJECT_NOT_FOUND, f"there is no object {key!r}", key=key, **details)


FIND_BLOB = f"SELECT {BLOB_COLUMNS} FROM blob WHERE id = ?"
FIND_CURRENT = (
    f"SELECT {VERSION_COLUMNS} FROM object "
    "WHERE bucket_id = (SELECT id FROM bucket WHERE name = ? AND alias_count = 0) AND key = ?"
)
"""The current object of a key where no alias can stand in between: a join of both tables costs twice as much."""

FIND_CURRENT_BODY = FIND_CURRENT.replace(
    " FROM object",
    ", (SELECT body FROM blob WHERE id = blob_id AND kind = 0 AND is_corrupt = 0 AND sealed IS NULL "
    "AND coding IS NULL AND verified_ms > ?) FROM object",
    1,
)
"""The same with the bytes of an inline blob that needs no new check: one statement answers a small GET."""

READS_MAX = 8
"""How often a read starts over because the object was replaced between its record and its blob."""


def find_current(view: View, bucket_name: str, key: str) -> ObjectRecord:
    """Return the current object of a key; the way of every plain GET and HEAD."""
    row = view.row(FIND_CURRENT, (bucket_name, key))
    if row is not None:
        return ObjectRecord(key, *row)
    with view.snapshot():
        return find(view, bucket_name, key)


def find_with_body(view: View, bucket_name: str, key: str) -> tuple[tuple[ObjectRecord, bytes | None], bool]:
    """Return the current object of a key, with all of its bytes if it is small and was checked lately.

    Beside it stands whether the key is the stored one, with no alias in between.
    """
    row = view.row(FIND_CURRENT_BODY, (view.now_ms - VERIFIED_MS_MAX, bucket_name, key))
    if row is None:
        with view.snapshot():
            return (find(view, bucket_name, key), None), False
    body = row[-1]
    record = ObjectRecord(key, *row[:-1])
    return (record, body if body is not None and len(body) == record.size_bytes else None), True


def find_with_blob(view: View, bucket_name: str, key: str) -> tuple[ObjectRecord, BlobRow | None]:
    """Return the current object of a key together with its blob, None for an empty body.

    The two are read one after the other. Blobs never change and ids are never used twice, so a blob that is
    found is the record's own; one that is gone was replaced meanwhile, and the read starts over.
    """
    for _ in range(READS_MAX):
        record = find_current(view, bucket_name, key)
        if record.blob_id is None:
            return record, None
        row = view.row(FIND_BLOB, (record.blob_id,))
        if row is not None:
            return record, BlobRow(*row)
    with view.snapshot():
        record = find_current(view, bucket_name, key)
        return record, None if record.blob_id is None else blob_row(view, record.blob_id)


def blob_row(view: View, blob_id: int) -> BlobRow:
    """Return a blob's row."""
    row = view.row(FIND_BLOB, (blob_id,))
    if row is None:
        raise CorruptError(ErrorKind.CORRUPT_BLOB, f"blob {blob_id} has no record", blob_id=blob_id)
    return BlobRow(*row)


def pieces(view: View, blob: BlobRow, start: int, end: int) -> Iterator[Piece]:
    """Yield the runs that make up bytes start to end (exclusive) of a blob, in order."""
    if start >= end:
        return
    if blob.kind != BlobKind.COMPOSED:
        yield Piece(blob, start, end - start)
        return
    rows = view.rows(
        "SELECT start, size_bytes, child_id, child_start FROM segment WHERE blob_id = ? AND start < ? "
        "AND start >= coalesce((SELECT max(start) FROM segment WHERE blob_id = ? AND start <= ?), 0) ORDER BY start",
        (blob.id, end, blob.id, start),
    )
    for segment_start, size_bytes, child_id, child_start in rows:
        first = max(start, segment_start)
        last = min(end, segment_start + size_bytes)
        if first < last:
            yield Piece(blob_row(view, child_id), child_start + first - segment_start, last - first)


def parts(view: View, record: ObjectRecord, *, after: int = 0, limit: int | None = None) -> list[PartFacts]:
    """Return the parts of an object that was uploaded in parts, by number."""
    if not record.part_count:
        return []
    rows = view.rows(
        "SELECT part_number, min(start), sum(size_bytes), max(checksum_value) FROM segment WHERE blob_id = ? "
        "GROUP BY part_number HAVING part_number > ? ORDER BY part_number LIMIT ?",
        (record.blob_id, after, -1 if limit is None else limit),
    )
    return [PartFacts(*row) for row in rows]


def clip_range(size_bytes: int, start: int | None, end: int | None) -> tuple[int, int]:
    """Return the (start, end) that a read of [start, end) covers in a body; raises when it begins past the end."""
    first = 0 if start is None else start
    last = size_bytes if end is None else min(end, size_bytes)
    if first < 0 or last < first or (first >= size_bytes and (first, size_bytes) != (0, 0)):
        raise InvalidInputError(
            ErrorKind.RANGE_INVALID,
            f"range {start}..{end} is outside of a body of {size_bytes} bytes",
            size_bytes=size_bytes,
        )
    return first, last


@contextmanager
def closing_all(blobs: list[OpenBlob]) -> Iterator[None]:
    """Close every blob when an error leaves the block."""
    try:
        yield
    except BaseException:
        for blob in blobs:
            with suppress(OSError):
                blob.close()
        raise

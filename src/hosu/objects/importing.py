"""Versions that were made elsewhere: they come in with their own ids, times and ETags, the oldest of a key first.

Clients of the store they come from may hold those ids, so they stay. What is in the lake is never replaced: a version
goes on top of those of its key, and whoever asks for that says which ones it saw there.
"""

from collections.abc import Sequence

import msgspec

from hosu.kernel.errors import ConflictError, ErrorKind, PreconditionFailedError
from hosu.objects.blobs import StagedBlob
from hosu.objects.buckets import set_versioning
from hosu.objects.put import check_put, encrypted_as
from hosu.objects.quota import check_object_fits
from hosu.objects.records import (
    NULL_VERSION,
    STANDARD,
    Attributes,
    Bucket,
    Checksum,
    EncryptionFacts,
    ObjectRecord,
    Versioning,
    encode_attributes,
)
from hosu.objects.retention import check_imported_lock
from hosu.objects.transaction import Tx
from hosu.objects.versions import append, check_imported_id, check_writable, current
from hosu.objects.views import View

IMPORTED = "ObjectImported"
"""What the change feed calls it; no notification of a bucket's asks for it."""


class ImportedPart(msgspec.Struct, frozen=True):
    """One part of a body, staged. `checksum_value` is in base64, of the version's algorithm."""

    number: int
    body: StagedBlob
    checksum_value: str | None = None


class ImportedVersion(msgspec.Struct, frozen=True, kw_only=True):
    """A version to come in. `body` holds its bytes, or `parts` where it was uploaded in parts; a marker has neither."""

    version_id: str
    modified_ms: int
    is_marker: bool = False
    etag: str = ""
    attributes: Attributes = Attributes()
    storage_class: str = STANDARD
    checksum: Checksum | None = None
    body: StagedBlob | None = None
    parts: tuple[ImportedPart, ...] = ()

    @property
    def staged(self) -> tuple[StagedBlob, ...]:
        """All bodies, to be discarded when the version is refused."""
        return tuple(part.body for part in self.parts) if self.body is None else (self.body,)

    @property
    def size_bytes(self) -> int:
        """Bytes of the object."""
        return sum(staged.size_bytes for staged in self.staged)


class HeldVersion(msgspec.Struct, frozen=True, gc=False):
    """What a lake has of a key already: one version."""

    seq: int
    version_id: str
    etag: str
    modified_ms: int
    is_marker: bool


def held_versions(view: View, bucket: Bucket, key: str) -> list[HeldVersion]:
    """Return all versions of a key, the oldest first."""
    rows = view.rows(
        "SELECT seq, version_id, etag, modified_ms, is_marker FROM version WHERE bucket_id = ?1 AND key = ?2 "
        "UNION ALL SELECT seq, version_id, etag, modified_ms, 0 FROM object WHERE bucket_id = ?1 AND key = ?2 "
        "ORDER BY seq",
        (bucket.id, key),
    )
    return [HeldVersion(row[0], row[1], row[2], row[3], bool(row[4])) for row in rows]


def import_key(
    tx: Tx,
    bucket_name: str,
    key: str,
    versions: Sequence[ImportedVersion],
    *,
    newest_seq: int,
    replaces_null: bool = False,
    actor: str = "",
) -> list[ObjectRecord]:
    """Put versions, the oldest first, on top of those that a key has; the bodies' bytes are safe before this runs.

    `newest_seq` is the order of the newest version the caller saw there, 0 for none. With `replaces_null` the only
    version of a key gives way, if it is called null.

    Raises PreconditionFailedError when what is there has changed, InvalidInputError for names, ids and metadata that no
    object may have and for locks that the bucket could not take off again, ConflictError for a key below an alias, for
    a version id that is taken, for what is locked or protected and for a full quota.
    """
    bucket = tx.bucket(bucket_name)
    for version in versions:
        check_put(key, version.attributes)
        check_imported_id(version.version_id)
        check_imported_lock(version.attributes, bucket, tx.now_ms)
    check_writable(tx, bucket, key)
    held = held_versions(tx, bucket, key)
    if (held[-1].seq if held else 0) != newest_seq:
        raise PreconditionFailedError(
            ErrorKind.PRECONDITION_FAILED, f"{key!r} was written while it was imported: run the import again", key=key
        )
    is_replaced = replaces_null and [version.version_id for version in held] == [NULL_VERSION]
    check_object_fits(tx, bucket, key, sum(version.size_bytes for version in versions))
    if bucket.versioning == Versioning.NEVER and (
        len(versions) + (0 if is_replaced else len(held)) > 1 or _has_history(versions)
    ):
        set_versioning(tx, bucket_name, Versioning.SUSPENDED, actor=actor)
        bucket = tx.bucket(bucket_name)
    taken = set() if is_replaced else {version.version_id for version in held}
    before = current(tx, bucket.id, key) if held else None
    records: list[ObjectRecord] = []
    for version in versions:
        if version.version_id in taken:
            raise ConflictError(
                ErrorKind.KEY_CONFLICT, f"{key!r} has a version {version.version_id!r} already", key=key
            )
        taken.add(version.version_id)
        placed = append(tx, bucket, _record(tx, key, version), before=before, event=IMPORTED, actor=actor)
        before = None if placed.is_marker else placed
        records.append(placed)
    return records


def _has_history(versions: Sequence[ImportedVersion]) -> bool:
    return any(version.is_marker or version.version_id != NULL_VERSION for version in versions)


def _record(tx: Tx, key: str, version: ImportedVersion) -> ObjectRecord:
    """Give a version's bodies their rows, and return its record without a place."""
    checksum, encryption = version.checksum, None
    blob_id: int | None = None
    if version.parts:
        blob_id, encryption = _add_parts(tx, version), version.parts[0].body.encryption
    elif version.body is not None:
        blob_id, encryption = tx.add_blob(version.body), version.body.encryption
    return ObjectRecord(
        key=key,
        seq=0,
        version_id=version.version_id,
        size_bytes=version.size_bytes,
        etag=version.etag,
        modified_ms=version.modified_ms,
        blob_id=blob_id,
        storage_class="" if version.is_marker else version.storage_class,
        checksum_algorithm=checksum.algorithm if checksum else None,
        checksum_type=checksum.type if checksum else None,
        checksum_value=checksum.value if checksum else None,
        part_count=len(version.parts),
        attributes_json="{}" if version.is_marker else _attributes_json(version.attributes, encryption),
        is_marker=version.is_marker,
    )


def _attributes_json(attributes: Attributes, encryption: EncryptionFacts | None) -> str:
    return encode_attributes(encrypted_as(attributes, encryption))


def _add_parts(tx: Tx, version: ImportedVersion) -> int:
    """Record a body made of parts, whose boundaries stay."""
    blob_id, start = tx.add_composed(version.size_bytes), 0
    for part in version.parts:
        child_id = tx.add_blob(part.body)
        if child_id is not None:  # the segment takes over the reference
            tx.run(
                "INSERT INTO segment VALUES (?, ?, 0, ?, ?, ?, 0, ?)",
                (blob_id, part.number, start, part.body.size_bytes, child_id, part.checksum_value),
            )
        start += part.body.size_bytes
    return blob_id

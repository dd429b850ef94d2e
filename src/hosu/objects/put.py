"""Verbs that make or change the current object: put, copy, and its tags."""

import msgspec

from hosu.kernel.errors import ConflictError, ErrorKind
from hosu.kernel.limits import TAGS_PER_OBJECT_MAX
from hosu.objects.blobs import StagedBlob
from hosu.objects.names import check_attributes, check_key, check_tags
from hosu.objects.quota import check_object_fits
from hosu.objects.read import find
from hosu.objects.records import (
    NO_CONDITIONS,
    STANDARD,
    Acl,
    Attributes,
    Bucket,
    Checksum,
    ChecksumType,
    Conditions,
    EncryptionFacts,
    LockMode,
    ObjectLock,
    ObjectRecord,
    decode_attributes,
    encode_attributes,
)
from hosu.objects.retention import (
    changed_retention,
    check_lock,
    check_until_is_date,
    lock_of,
    locked_as,
    require_lock,
)
from hosu.objects.transaction import Tx
from hosu.objects.versions import (
    Draft,
    check_conditions,
    check_replaceable,
    check_writable,
    current,
    install,
)


class PutRequest(msgspec.Struct, frozen=True):
    """A body to become the current object of a key. `etag` is the hex MD5 of the body, without quotes."""

    bucket: str
    key: str
    body: StagedBlob
    etag: str
    attributes: Attributes = Attributes()
    checksum: Checksum | None = None
    storage_class: str = STANDARD
    conditions: Conditions = NO_CONDITIONS
    event: str = "ObjectCreated:Put"
    actor: str = ""


def check_put(key: str, attributes: Attributes) -> None:
    """Refuse names and metadata that no put may have; call it before the body is read."""
    check_key(key)
    check_attributes(attributes)
    if attributes.tags:
        check_tags(attributes.tags, TAGS_PER_OBJECT_MAX)
    if attributes.lock is not None:
        check_until_is_date(attributes.lock)


def encrypted_as(attributes: Attributes, encryption: EncryptionFacts | None) -> Attributes:
    """Return attributes that say how the object is encrypted; only the engine knows, whatever the caller's say."""
    if attributes.encryption == encryption:
        return attributes
    return msgspec.structs.replace(attributes, encryption=encryption)


def put_object(tx: Tx, request: PutRequest) -> ObjectRecord:
    """Store a staged body under its key. The bytes are safe before this runs; the record makes them visible."""
    check_put(request.key, request.attributes)
    bucket = tx.bucket(request.bucket)
    check_writable(tx, bucket, request.key)
    if request.conditions is not NO_CONDITIONS:
        check_conditions(current(tx, bucket.id, request.key), request.conditions, request.key)
    check_replaceable(tx, bucket, request.key)
    check_lock(request.attributes, bucket, tx.now_ms)
    check_object_fits(tx, bucket, request.key, request.body.size_bytes)
    checksum, attributes = request.checksum, locked_as(request.attributes, bucket, tx.now_ms)
    draft = Draft(
        size_bytes=request.body.size_bytes,
        etag=request.etag,
        blob_id=tx.add_blob(request.body),
        storage_class=request.storage_class,
        checksum_algorithm=checksum.algorithm if checksum else None,
        checksum_type=checksum.type if checksum else None,
        checksum_value=checksum.value if checksum else None,
        part_count=0,
        attributes_json=encode_attributes(encrypted_as(attributes, request.body.encryption)),
    )
    return install(tx, bucket, request.key, draft, event=request.event, actor=request.actor)


class Reencrypted(msgspec.Struct, frozen=True):
    """The bytes of a copy's source, staged again under another key, or uncompressed. `etag` is their hex MD5."""

    body: StagedBlob
    etag: str


class CopyRequest(msgspec.Struct, frozen=True):
    """A server-side copy: a new record that refers to the source's bytes.

    `encryption` is what the copy is encrypted with: the same key as the source, or `reencrypted` holds the bytes.

    `attributes`, `tags`, `checksum` and `storage_class` replace the source's where they are given; `acl` and `lock`
    always do.
    `source_seq` is the order of the source version the caller has checked its conditions against.
    """

    source_bucket: str
    source_key: str
    bucket: str
    key: str
    source_version_id: str | None = None
    source_seq: int | None = None
    attributes: Attributes | None = None
    tags: dict[str, str] | None = None
    checksum: Checksum | None = None
    storage_class: str = STANDARD
    acl: Acl | None = None
    lock: ObjectLock | None = None
    encryption: EncryptionFacts | None = None
    reencrypted: Reencrypted | None = None
    conditions: Conditions = NO_CONDITIONS
    actor: str = ""


def is_same_key(source: EncryptionFacts | None, target: EncryptionFacts | None) -> bool:
    """Whether bytes that are encrypted as the source may stand as they are for what is encrypted as the target.

    Of a client's key the caller has checked that the client has it.
    """
    if source is None or target is None:
        return source is target
    return (source.key_name, source.customer_key_md5) == (target.key_name, target.customer_key_md5)


class CopyOutcome(msgspec.Struct, frozen=True):
    """The source as it was copied, and the new object. `is_stale` when the source changed since `source_seq`."""

    source: ObjectRecord
    record: ObjectRecord | None
    is_stale: bool = False


def copy_object(tx: Tx, request: CopyRequest) -> CopyOutcome:
    """Copy an object by reference. Nothing is changed when the source is no longer the version asked for."""
    source = find(tx, request.source_bucket, request.source_key, request.source_version_id)
    if request.source_seq is not None and source.seq != request.source_seq:
        return CopyOutcome(source, None, is_stale=True)
    attributes = source.attributes if request.attributes is None else request.attributes
    tags = source.attributes.tags if request.tags is None else request.tags
    again = request.reencrypted
    encryption = request.encryption if again is None else again.body.encryption
    if again is None and not is_same_key(source.attributes.encryption, encryption):
        raise ConflictError(
            ErrorKind.UNSUPPORTED, f"{request.source_key!r} is encrypted with another key: read it, and write it again"
        )
    bucket = tx.bucket(request.bucket)
    attributes = msgspec.structs.replace(
        attributes, tags=tags, acl=request.acl, lock=request.lock, encryption=encryption
    )
    check_put(request.key, attributes)
    check_writable(tx, bucket, request.key)
    check_conditions(current(tx, bucket.id, request.key), request.conditions, request.key)
    check_replaceable(tx, bucket, request.key)
    check_lock(attributes, bucket, tx.now_ms)
    check_object_fits(tx, bucket, request.key, source.size_bytes)
    checksum = request.checksum or source.checksum
    if again is None:
        tx.add_reference(source.blob_id)
    elif request.checksum is None and checksum is not None and checksum.type != ChecksumType.FULL_OBJECT:
        checksum = None  # of parts, which the copy does not have
    draft = Draft(
        size_bytes=source.size_bytes,
        etag=source.etag if again is None or is_same_key(source.attributes.encryption, encryption) else again.etag,
        blob_id=source.blob_id if again is None else tx.add_blob(again.body),
        storage_class=request.storage_class,
        checksum_algorithm=checksum.algorithm if checksum else None,
        checksum_type=checksum.type if checksum else None,
        checksum_value=checksum.value if checksum else None,
        # The parts keep their checksums in the source's algorithm: an object with another one is no longer in parts.
        part_count=source.part_count if request.checksum is None and again is None else 0,
        attributes_json=encode_attributes(locked_as(attributes, bucket, tx.now_ms)),
    )
    record = install(tx, bucket, request.key, draft, event="ObjectCreated:Copy", actor=request.actor)
    return CopyOutcome(source, record)


def set_tags(
    tx: Tx, bucket_name: str, key: str, version_id: str | None, tags: dict[str, str], *, actor: str = ""
) -> ObjectRecord:
    """Replace the tags of an object, or of one version; the version stays the same one."""
    check_tags(tags, TAGS_PER_OBJECT_MAX)
    bucket = tx.bucket(bucket_name)
    check_writable(tx, bucket, key)
    record = find(tx, bucket_name, key, version_id)
    attributes = msgspec.structs.replace(decode_attributes(record.attributes_json), tags=tags)
    _rewrite_attributes(tx, bucket, record, attributes)
    event = "ObjectTagging:Put" if tags else "ObjectTagging:Delete"
    tx.record_event(tx.next_seq(), event, bucket_name, key, record.version_id, record.size_bytes, record.etag, actor)
    return record


def set_acl(
    tx: Tx, bucket_name: str, key: str, version_id: str | None, acl: Acl | None, *, actor: str = ""
) -> ObjectRecord:
    """Replace the ACL of an object, or of one version; the version stays the same one."""
    bucket = tx.bucket(bucket_name)
    check_writable(tx, bucket, key)
    record = find(tx, bucket_name, key, version_id)
    attributes = msgspec.structs.replace(decode_attributes(record.attributes_json), acl=acl)
    _rewrite_attributes(tx, bucket, record, attributes)
    tx.record_event(
        tx.next_seq(), "ObjectAcl:Put", bucket_name, key, record.version_id, record.size_bytes, record.etag, actor
    )
    return record


def set_retention(
    tx: Tx,
    bucket_name: str,
    key: str,
    version_id: str | None,
    mode: LockMode | None,
    retain_until_ms: int = 0,
    *,
    bypass_governance: bool = False,
    actor: str = "",
) -> ObjectRecord:
    """Keep an object, or one version of it, until a time; without a mode a retention under GOVERNANCE is removed.

    Raises ConflictError OBJECT_LOCKED when what is there may not be shortened, and `InvalidInputError` for a time that
    is past and for a bucket whose versions cannot be locked.
    """
    bucket, record = _lockable(tx, bucket_name, key, version_id)
    lock = changed_retention(lock_of(record), mode, retain_until_ms, tx.now_ms, bypass_governance=bypass_governance)
    return _set_lock(tx, bucket, record, lock, "ObjectRetention:Put", actor)


def set_legal_hold(
    tx: Tx, bucket_name: str, key: str, version_id: str | None, *, is_on: bool, actor: str = ""
) -> ObjectRecord:
    """Put a legal hold on an object, or on one version of it, or take it off."""
    bucket, record = _lockable(tx, bucket_name, key, version_id)
    lock = msgspec.structs.replace(lock_of(record) or ObjectLock(), legal_hold="ON" if is_on else "OFF")
    return _set_lock(tx, bucket, record, lock, "ObjectLegalHold:Put", actor)


def _lockable(tx: Tx, bucket_name: str, key: str, version_id: str | None) -> tuple[Bucket, ObjectRecord]:
    bucket = tx.bucket(bucket_name)
    require_lock(bucket)
    check_writable(tx, bucket, key)
    record = find(tx, bucket_name, key, version_id)
    return bucket, record


def _set_lock(tx: Tx, bucket: Bucket, record: ObjectRecord, lock: ObjectLock, event: str, actor: str) -> ObjectRecord:
    attributes = msgspec.structs.replace(
        decode_attributes(record.attributes_json), lock=None if lock == ObjectLock() else lock
    )
    _rewrite_attributes(tx, bucket, record, attributes)
    tx.record_event(
        tx.next_seq(), event, bucket.name, record.key, record.version_id, record.size_bytes, record.etag, actor
    )
    return msgspec.structs.replace(record, attributes_json=encode_attributes(attributes))


def _rewrite_attributes(tx: Tx, bucket: Bucket, record: ObjectRecord, attributes: Attributes) -> None:
    table = "object" if record.is_latest else "version"
    tx.run(
        f"UPDATE {table} SET attributes = ? WHERE bucket_id = ? AND key = ? AND seq = ?",
        (encode_attributes(attributes), bucket.id, record.key, record.seq),
    )

"""Versions of a key: which one is current, and how one takes another's place.

Every mutation of an object goes through `install`, `add_marker` or `remove`, so references, usage and the order of
versions are kept in these places only, and so are those checks that nobody may leave out: that what is locked is not
removed, and that what is protected is spared by who must.
"""

import os
import re
from typing import Any

import msgspec

from hosu.kernel.errors import ConflictError, ErrorKind, InvalidInputError, NotFoundError, PreconditionFailedError
from hosu.objects.aliases import find_alias
from hosu.objects.protected import check_may_change
from hosu.objects.records import NULL_VERSION, Bucket, Conditions, ObjectRecord, Versioning, is_cold
from hosu.objects.retention import check_unlocked
from hosu.objects.schema import VERSION_COLUMNS
from hosu.objects.transaction import Tx, object_not_found
from hosu.objects.views import View

VERSION_ID_CHARACTERS = 32
"""Two 64-bit numbers in hex: the version's order, and chance."""

_IMPORTED_ID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")
"""Version ids of the stores that `hosu import` reads: their clients go on with the ids they hold."""


class Draft(msgspec.Struct, frozen=True, gc=False):
    """A version about to be installed: all of its record but order and identity."""

    size_bytes: int
    etag: str
    blob_id: int | None
    storage_class: str
    checksum_algorithm: str | None
    checksum_type: str | None
    checksum_value: str | None
    part_count: int
    attributes_json: str


def new_version_id(seq: int) -> str:
    """Return a version id that leads straight to its row and cannot be guessed."""
    return f"{seq:016x}{os.urandom(8).hex()}"


def current(view: View, bucket_id: int, key: str) -> ObjectRecord | None:
    """Return the current object of a key."""
    row = view.row(f"SELECT {VERSION_COLUMNS} FROM object WHERE bucket_id = ? AND key = ?", (bucket_id, key))
    return None if row is None else ObjectRecord(key, *row)


def newest(view: View, bucket_id: int, key: str) -> ObjectRecord | None:
    """Return the newest of the versions that are not current: a marker, when the key has no current object."""
    row = view.row(
        f"SELECT is_marker, {VERSION_COLUMNS} FROM version WHERE bucket_id = ? AND key = ? ORDER BY seq DESC LIMIT 1",
        (bucket_id, key),
    )
    return None if row is None else _from_version_row(key, row, is_latest=False)


def find_version(view: View, bucket_id: int, key: str, version_id: str) -> ObjectRecord | None:
    """Return one version of a key, current or not, marker or not."""
    record = current(view, bucket_id, key)
    if record is not None and record.version_id == version_id:
        return record
    has_current = record is not None
    statement = f"SELECT is_marker, {VERSION_COLUMNS} FROM version WHERE bucket_id = ? AND key = ? AND version_id = ?"
    values: tuple[Any, ...] = (bucket_id, key, version_id)
    row = None
    if (seq := seq_of(version_id)) is not None:
        row = view.row(statement + " AND seq = ?", (*values, seq))
    if row is None:
        row = view.row(statement, values)
    if row is None:
        return None
    is_latest = not has_current and newest_seq(view, bucket_id, key) == row[1]
    return _from_version_row(key, row, is_latest=is_latest)


def version_of_seq(view: View, bucket_id: int, key: str, seq: int) -> ObjectRecord | None:
    """Return the version of a key that has this order, current or not, marker or not."""
    record = current(view, bucket_id, key)
    if record is not None and record.seq == seq:
        return record
    statement = f"SELECT is_marker, {VERSION_COLUMNS} FROM version WHERE bucket_id = ? AND key = ? AND seq = ?"
    row = view.row(statement, (bucket_id, key, seq))
    if row is None:
        return None
    is_latest = record is None and newest_seq(view, bucket_id, key) == seq
    return _from_version_row(key, row, is_latest=is_latest)


def seq_of(version_id: str) -> int | None:
    """Return the order that a version id of `new_version_id` tells; None for any other text."""
    if len(version_id) != VERSION_ID_CHARACTERS:
        return None
    try:
        seq = int(version_id[:16], 16)
    except ValueError:
        return None
    return seq if seq < 1 << 63 else None


def is_version_id(text: str) -> bool:
    """Whether a version could have this id."""
    return text == NULL_VERSION or seq_of(text) is not None or _IMPORTED_ID.fullmatch(text) is not None


def check_imported_id(text: str) -> None:
    """Refuse a version id of elsewhere that could be taken for one of the lake's own, which tell their order."""
    if text != NULL_VERSION and _IMPORTED_ID.fullmatch(text) is None:
        raise InvalidInputError(
            ErrorKind.INVALID_ARGUMENT, f"version id {text!r}: an imported one is 'null', or a UUID in small letters"
        )


def newest_seq(view: View, bucket_id: int, key: str) -> int | None:
    """Return the order of the newest version that is not current."""
    seq: int | None = view.value("SELECT max(seq) FROM version WHERE bucket_id = ? AND key = ?", (bucket_id, key))
    return seq


def check_conditions(record: ObjectRecord | None, conditions: Conditions, key: str) -> None:
    """Refuse a write whose conditions the current object does not meet."""
    if record is not None and conditions.if_none_match in {"*", record.etag}:
        raise PreconditionFailedError(
            ErrorKind.PRECONDITION_FAILED, f"If-None-Match: object {key!r} exists", condition="If-None-Match"
        )
    if conditions.if_match is not None:
        if record is None:
            raise object_not_found(key)
        if conditions.if_match not in {"*", record.etag}:
            raise PreconditionFailedError(
                ErrorKind.PRECONDITION_FAILED,
                f"If-Match: object {key!r} has the ETag {record.etag}, not {conditions.if_match}",
                condition="If-Match",
            )


def check_delete_conditions(record: ObjectRecord | None, conditions: Conditions, key: str) -> None:
    """Refuse a delete whose conditions the newest version, which may be a marker, does not meet.

    A size or a time to match says nothing about what is not there.
    """
    check_conditions(record, conditions, key)
    if record is None:
        return
    if record.is_marker:
        raise _not_met(key, "is deleted already", "If-Match")
    if conditions.modified_s not in {None, record.modified_ms // 1000}:
        raise _not_met(key, "was modified at another time", "x-amz-if-match-last-modified-time")
    if conditions.size_bytes not in {None, record.size_bytes}:
        raise _not_met(key, f"has {record.size_bytes} bytes, not {conditions.size_bytes}", "x-amz-if-match-size")


def _not_met(key: str, why: str, condition: str) -> PreconditionFailedError:
    return PreconditionFailedError(ErrorKind.PRECONDITION_FAILED, f"object {key!r} {why}", condition=condition)


def check_writable(tx: Tx, bucket: Bucket, key: str) -> None:
    """Refuse a write below an alias: its objects are written where the alias points."""
    alias = find_alias(tx, bucket, key)
    if alias is not None:
        raise ConflictError(
            ErrorKind.ALIAS_READ_ONLY,
            f"{key!r} is below the alias {alias.prefix!r}: write below its target {alias.target!r}, "
            "or switch the alias",
        )


def check_replaceable(tx: Tx, bucket: Bucket, key: str) -> None:
    """Refuse a write over what must be spared before anything is changed; `install` looks again."""
    if tx.spares_protected and bucket.protected and current(tx, bucket.id, key) is not None:
        check_may_change(tx, bucket, key, "replaced")


def install(tx: Tx, bucket: Bucket, key: str, draft: Draft, *, event: str, actor: str) -> ObjectRecord:
    """Make draft the current object of key; its blob reference is already counted. Return its record."""
    before = current(tx, bucket.id, key)
    _check_replaceable(tx, bucket, key, before, "replaced")
    seq = tx.next_seq()
    version_id = new_version_id(seq) if bucket.versioning == Versioning.ENABLED else NULL_VERSION
    if before is not None:
        if before.version_id == version_id:
            tx.drop_reference(before.blob_id)
            tx.count(bucket.id, objects=-1, object_bytes=-before.size_bytes)
        else:
            _set_aside(tx, bucket, before)
    if bucket.versioning == Versioning.SUSPENDED and (before is None or before.version_id != NULL_VERSION):
        _drop_null_version(tx, bucket, key)
    record = ObjectRecord(
        key, seq, version_id, draft.size_bytes, draft.etag, tx.now_ms, draft.blob_id, draft.storage_class,
        draft.checksum_algorithm, draft.checksum_type, draft.checksum_value, draft.part_count, draft.attributes_json,
    )  # fmt: skip
    _insert_current(tx, bucket.id, record)
    _await_coding(tx, bucket, record)
    tx.count(bucket.id, objects=1, object_bytes=draft.size_bytes)
    tx.record_event(seq, event, bucket.name, key, version_id, draft.size_bytes, draft.etag, actor)
    return record


def add_marker(tx: Tx, bucket: Bucket, key: str, *, actor: str) -> str:
    """Hide the key behind a delete marker and return the marker's version id."""
    before = current(tx, bucket.id, key)
    _check_replaceable(tx, bucket, key, before, "removed")
    seq = tx.next_seq()
    if bucket.versioning == Versioning.ENABLED:
        version_id = new_version_id(seq)
        if before is not None:
            _set_aside(tx, bucket, before)
    else:
        version_id = NULL_VERSION
        if before is not None and before.version_id != NULL_VERSION:
            _set_aside(tx, bucket, before)
        elif before is not None:
            tx.drop_reference(before.blob_id)
            tx.count(bucket.id, objects=-1, object_bytes=-before.size_bytes)
        _drop_null_version(tx, bucket, key)
    tx.run("DELETE FROM object WHERE bucket_id = ? AND key = ?", (bucket.id, key))
    marker = ObjectRecord(key, seq, version_id, 0, "", tx.now_ms, None, "", None, None, None, 0, "{}", is_marker=True)
    _insert_version(tx, bucket.id, marker)
    tx.count(bucket.id, markers=1)
    tx.record_event(seq, "ObjectRemoved:DeleteMarkerCreated", bucket.name, key, version_id, 0, "", actor)
    return version_id


def append(
    tx: Tx, bucket: Bucket, record: ObjectRecord, *, before: ObjectRecord | None, event: str, actor: str
) -> ObjectRecord:
    """Put a version that was made elsewhere on top of those of its key, and return it with the order it got.

    It keeps its own id, which the caller knows to be free, and its time; its blob reference is already counted.
    `before` is the current object, which stays below it; only a null version gives way to another one, as in `install`.
    """
    is_replaced = before is not None and before.version_id == record.version_id == NULL_VERSION
    if bucket.versioning == Versioning.NEVER and ((before is not None and not is_replaced) or record.is_marker):
        raise ConflictError(
            ErrorKind.BUCKET_VERSIONING_INVALID,
            f"bucket {bucket.name!r} keeps no versions: switch them on before {record.key!r} can have several",
        )
    if before is not None:
        check_may_change(tx, bucket, record.key, "removed" if record.is_marker else "replaced")
        if is_replaced:
            check_unlocked(tx, bucket, before)
    placed = msgspec.structs.replace(record, seq=tx.next_seq(), is_latest=True)
    if before is not None and is_replaced:
        tx.drop_reference(before.blob_id)
        tx.count(bucket.id, objects=-1, object_bytes=-before.size_bytes)
    elif before is not None:
        _set_aside(tx, bucket, before)
    if placed.is_marker:
        tx.run("DELETE FROM object WHERE bucket_id = ? AND key = ?", (bucket.id, placed.key))
        _insert_version(tx, bucket.id, placed)
        tx.count(bucket.id, markers=1)
    else:
        _insert_current(tx, bucket.id, placed)
        _await_coding(tx, bucket, placed)
        tx.count(bucket.id, objects=1, object_bytes=placed.size_bytes)
    tx.record_event(
        placed.seq, event, bucket.name, placed.key, placed.version_id, placed.size_bytes, placed.etag, actor
    )
    return placed


def remove(tx: Tx, bucket: Bucket, record: ObjectRecord, *, actor: str, bypass_governance: bool = False) -> None:
    """Remove one version for good; the newest that is left becomes current again unless it is a marker.

    Raises ConflictError OBJECT_LOCKED or PROTECTED for one that must stay, and changes nothing then.
    """
    check_unlocked(tx, bucket, record, bypass_governance=bypass_governance)
    check_may_change(tx, bucket, record.key, "removed")
    key, is_current = record.key, record.is_latest and not record.is_marker
    if is_current:
        place = (bucket.id, key, record.seq)
        gone = tx.value("DELETE FROM object WHERE bucket_id = ? AND key = ? AND seq = ? RETURNING seq", place)
        assert gone is not None, "the record is not of the object that is there now"
        tx.count(bucket.id, objects=-1, object_bytes=-record.size_bytes)
    else:
        _delete_version(tx, bucket, record)
    tx.drop_reference(record.blob_id)
    if record.is_latest and bucket.versioning != Versioning.NEVER:
        follower = newest(tx, bucket.id, key)
        if follower is not None and not follower.is_marker:
            _delete_version(tx, bucket, follower)
            _insert_current(tx, bucket.id, follower)
            tx.count(bucket.id, objects=1, object_bytes=follower.size_bytes)
    tx.record_event(
        tx.next_seq(),
        "ObjectRemoved:Delete",
        bucket.name,
        key,
        record.version_id,
        record.size_bytes,
        record.etag,
        actor,
    )


def require_version(view: View, bucket_id: int, key: str, version_id: str) -> ObjectRecord:
    """Return one version of a key; raises `NotFoundError`."""
    record = find_version(view, bucket_id, key, version_id)
    if record is None:
        raise NotFoundError(
            ErrorKind.VERSION_NOT_FOUND, f"object {key!r} has no version {version_id!r}", key=key, version_id=version_id
        )
    return record


def _check_replaceable(tx: Tx, bucket: Bucket, key: str, before: ObjectRecord | None, what: str) -> None:
    """Refuse what would hide or drop an object that must stay; a null version is dropped without versions being on."""
    dropped = None
    if bucket.versioning != Versioning.ENABLED:
        dropped = before if before is not None and before.version_id == NULL_VERSION else None
        if dropped is None and bucket.versioning == Versioning.SUSPENDED:
            dropped = _null_version(tx, bucket, key)
        if dropped is not None:
            check_unlocked(tx, bucket, dropped)
    if before is not None or (dropped is not None and not dropped.is_marker):
        check_may_change(tx, bucket, key, what)


def _set_aside(tx: Tx, bucket: Bucket, record: ObjectRecord) -> None:
    _insert_version(tx, bucket.id, record)
    tx.count(bucket.id, objects=-1, object_bytes=-record.size_bytes, versions=1, version_bytes=record.size_bytes)


def _null_version(tx: Tx, bucket: Bucket, key: str) -> ObjectRecord | None:
    row = tx.row(
        f"SELECT is_marker, {VERSION_COLUMNS} FROM version WHERE bucket_id = ? AND key = ? AND version_id = 'null'",
        (bucket.id, key),
    )
    return None if row is None else _from_version_row(key, row, is_latest=False)


def _drop_null_version(tx: Tx, bucket: Bucket, key: str) -> None:
    record = _null_version(tx, bucket, key)
    if record is not None:
        _delete_version(tx, bucket, record)
        tx.drop_reference(record.blob_id)


def _delete_version(tx: Tx, bucket: Bucket, record: ObjectRecord) -> None:
    place = (bucket.id, record.key, record.seq)
    gone = tx.value("DELETE FROM version WHERE bucket_id = ? AND key = ? AND seq = ? RETURNING seq", place)
    assert gone is not None, "the record is not of a version that is there now"
    if record.is_marker:
        tx.count(bucket.id, markers=-1)
    else:
        tx.count(bucket.id, versions=-1, version_bytes=-record.size_bytes)


def _from_version_row(key: str, row: tuple[Any, ...], *, is_latest: bool) -> ObjectRecord:
    """Build a record from `is_marker` and the version columns."""
    return ObjectRecord(key, *(*row[1:], bool(row[0]), is_latest))


def _stored(record: ObjectRecord) -> tuple[Any, ...]:
    return (
        record.seq, record.version_id, record.size_bytes, record.etag, record.modified_ms, record.blob_id,
        record.storage_class, record.checksum_algorithm, record.checksum_type, record.checksum_value,
        record.part_count, record.attributes_json,
    )  # fmt: skip


def _insert_current(tx: Tx, bucket_id: int, record: ObjectRecord) -> None:
    tx.run(
        "INSERT OR REPLACE INTO object VALUES (?,?,?,?,?,?,?,?,?,?,?,?,?,?)", (bucket_id, record.key, *_stored(record))
    )


def _await_coding(tx: Tx, bucket: Bucket, record: ObjectRecord) -> None:
    """Have the keeper compress what is put into a cold class."""
    if is_cold(record.storage_class) and record.blob_id is not None:
        tx.run("INSERT INTO uncoded VALUES (?, ?, ?)", (record.seq, bucket.id, record.key))


def _insert_version(tx: Tx, bucket_id: int, record: ObjectRecord) -> None:
    tx.run(
        "INSERT INTO version VALUES (?,?,?,?,?,?,?,?,?,?,?,?,?,?,?)",
        (bucket_id, record.key, int(record.is_marker), *_stored(record)),
    )

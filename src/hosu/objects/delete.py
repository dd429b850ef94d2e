"""Verbs that remove objects."""

import msgspec

from hosu.objects.names import check_key
from hosu.objects.records import NO_CONDITIONS, Conditions, Versioning
from hosu.objects.transaction import Tx
from hosu.objects.versions import (
    add_marker,
    check_delete_conditions,
    check_writable,
    current,
    find_version,
    newest,
    remove,
)


class DeleteOutcome(msgspec.Struct, frozen=True):
    """What a delete did. `version_id` is the version removed, or the marker made; None when nothing has versions."""

    version_id: str | None = None
    is_marker: bool = False


NOTHING_DELETED = DeleteOutcome()


def delete_object(
    tx: Tx,
    bucket_name: str,
    key: str,
    version_id: str | None = None,
    *,
    conditions: Conditions = NO_CONDITIONS,
    bypass_governance: bool = False,
    actor: str = "",
) -> DeleteOutcome:
    """Delete an object as S3 does: hide it behind a marker where the bucket has versions, else remove it.

    With a version id that version is removed for good. What is not there is deleted already, and a condition on it
    changes nothing: an ETag to match raises `NotFoundError`, so of two deletes with the same ETag one knows it won.
    A delete marker meets no condition.

    Raises ConflictError OBJECT_LOCKED for a version that is locked (with `bypass_governance` only under COMPLIANCE or
    a legal hold), and PROTECTED for what the transaction spares.
    """
    check_key(key)
    bucket = tx.bucket(bucket_name)
    check_writable(tx, bucket, key)
    if version_id is not None:
        record = find_version(tx, bucket.id, key, version_id)
        if conditions is not NO_CONDITIONS:
            check_delete_conditions(record, conditions, key)
        if record is None:
            return DeleteOutcome(version_id)
        remove(tx, bucket, record, actor=actor, bypass_governance=bypass_governance)
        return DeleteOutcome(version_id, record.is_marker)
    record = None
    if conditions is not NO_CONDITIONS or bucket.versioning == Versioning.NEVER:
        record = current(tx, bucket.id, key)
    if conditions is not NO_CONDITIONS:
        if record is None:
            record = newest(tx, bucket.id, key)
        check_delete_conditions(record, conditions, key)
        if record is None:
            return NOTHING_DELETED
    if bucket.versioning != Versioning.NEVER:
        return DeleteOutcome(add_marker(tx, bucket, key, actor=actor), is_marker=True)
    if record is not None:
        remove(tx, bucket, record, actor=actor)
    return NOTHING_DELETED

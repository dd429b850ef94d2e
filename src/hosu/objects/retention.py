"""Object lock: versions that nobody may remove before their time, or while a legal hold is on them.

A bucket says whether its versions can be locked, and for how long each new one is; a version says how it is. What is
locked can be hidden behind a delete marker and followed by newer versions. It cannot be removed, by anybody: under
GOVERNANCE only those may who bypass it, under COMPLIANCE none.
"""

from datetime import UTC, datetime, timedelta
from enum import StrEnum

import msgspec

from hosu.kernel.errors import ConflictError, CorruptError, ErrorKind, InvalidInputError, NotFoundError
from hosu.objects.records import (
    Attributes,
    Bucket,
    LockMode,
    ObjectLock,
    ObjectRecord,
    Versioning,
    decode_attributes,
)
from hosu.objects.transaction import Tx

LOCKED = '"lock":'
"""What the attributes of a version with a lock hold; those of some others hold it too, as a value of their writer's."""

RETAIN_UNTIL_MS_MAX = 253_402_300_799_999
"""The last millisecond of the year 9999: what comes after it cannot be written as a date."""

RETENTION_DAYS_MAX = 36_500
RETENTION_YEARS_MAX = 100


class DefaultUnit(StrEnum):
    """How a default retention is measured."""

    DAYS = "Days"
    YEARS = "Years"


class BucketLock(msgspec.Struct, frozen=True, omit_defaults=True):
    """How the versions of a bucket are locked: by default for `days` or `years` in a mode, or only when said so."""

    mode: LockMode | None = None
    days: int = 0
    years: int = 0


def bucket_lock(bucket: Bucket) -> BucketLock | None:
    """Return how versions of a bucket are locked; None where they cannot be."""
    if not bucket.lock:
        return None
    try:
        return msgspec.json.decode(bucket.lock, type=BucketLock)
    except msgspec.MsgspecError as error:
        raise CorruptError(
            ErrorKind.CORRUPT_LAKE, f"the object lock of bucket {bucket.name!r} cannot be read: {error}"
        ) from error


def require_lock(bucket: Bucket) -> BucketLock:
    """Return how versions of a bucket are locked; raises `InvalidInputError` where they cannot be."""
    found = bucket_lock(bucket)
    if found is None:
        raise InvalidInputError(
            ErrorKind.OBJECT_LOCK_OFF,
            f"Bucket is missing Object Lock Configuration: switch it on for {bucket.name!r}, which needs versions",
            bucket=bucket.name,
        )
    return found


def check_default(lock: BucketLock) -> None:
    """Refuse a default retention that is none."""
    if lock.mode is None and not lock.days and not lock.years:
        return
    if lock.mode is None or bool(lock.days) is bool(lock.years):
        raise InvalidInputError(
            ErrorKind.INVALID_ARGUMENT, "a default retention needs a mode, and either days or years"
        )
    if not (0 <= lock.days <= RETENTION_DAYS_MAX and 0 <= lock.years <= RETENTION_YEARS_MAX):
        raise InvalidInputError(
            ErrorKind.INVALID_ARGUMENT,
            f"a default retention is 1 to {RETENTION_DAYS_MAX} days or 1 to {RETENTION_YEARS_MAX} years",
        )


def set_bucket_lock(tx: Tx, name: str, lock: BucketLock, *, actor: str = "") -> None:
    """Let versions of a bucket be locked, new ones by default as said. It cannot be taken back."""
    check_default(lock)
    bucket = tx.bucket(name)
    if bucket.versioning != Versioning.ENABLED:
        raise ConflictError(
            ErrorKind.BUCKET_VERSIONING_INVALID,
            f"versions of bucket {name!r} are not on: switch them on before object lock",
            bucket=name,
        )
    tx.run("UPDATE bucket SET lock = ? WHERE id = ?", (msgspec.json.encode(lock).decode(), bucket.id))
    tx.forget_bucket(name)
    tx.record_event(tx.next_seq(), "BucketObjectLock", name, "", "", 0, "", actor)


def default_until_ms(lock: BucketLock, now_ms: int) -> int:
    """Return until when a version made now is kept by its bucket's default."""
    now = datetime.fromtimestamp(now_ms / 1000, UTC)
    if lock.days:
        return now_ms + lock.days * 24 * 3600 * 1000
    try:
        until = now.replace(year=now.year + lock.years)
    except ValueError:  # the 29th of February
        until = now.replace(year=now.year + lock.years, day=28) + timedelta(days=1)
    return now_ms + round((until - now).total_seconds() * 1000)


def check_lock(attributes: Attributes, bucket: Bucket, now_ms: int) -> None:
    """Refuse a lock on what is about to be written where versions cannot be locked, or whose time is past."""
    if attributes.lock is not None:
        require_lock(bucket)
        _check_until(attributes.lock, now_ms)


def check_imported_lock(attributes: Attributes, bucket: Bucket, now_ms: int) -> None:
    """Refuse a lock in force where versions cannot be locked: nobody could take a legal hold off again there."""
    lock = attributes.lock
    if lock is not None and (lock.legal_hold == "ON" or lock.retain_until_ms > now_ms):
        require_lock(bucket)


def locked_as(attributes: Attributes, bucket: Bucket, now_ms: int) -> Attributes:
    """Return the attributes of a version made now, with the lock that they say or else that the bucket does."""
    said = attributes.lock
    if not bucket.lock or (said is not None and said.mode is not None):
        return attributes
    default = bucket_lock(bucket)
    if default is None or default.mode is None:
        return attributes
    hold = "" if said is None else said.legal_hold
    lock = ObjectLock(default.mode, default_until_ms(default, now_ms), hold)
    return msgspec.structs.replace(attributes, lock=lock)


def _check_until(lock: ObjectLock, now_ms: int) -> None:
    if (lock.mode is None) != (lock.retain_until_ms == 0):
        raise InvalidInputError(ErrorKind.INVALID_ARGUMENT, "a retention needs both a mode and a date to retain until")
    if lock.mode is not None and lock.retain_until_ms <= now_ms:
        raise InvalidInputError(ErrorKind.INVALID_ARGUMENT, "The retain until date must be in the future!")
    check_until_is_date(lock)


def check_until_is_date(lock: ObjectLock) -> None:
    """Refuse a time that no date can say: whoever reads or lists the version could not be told."""
    if lock.retain_until_ms > RETAIN_UNTIL_MS_MAX:
        raise InvalidInputError(ErrorKind.INVALID_ARGUMENT, "The retain until date must be before the year 10000")


def lock_of(record: ObjectRecord) -> ObjectLock | None:
    """Return the lock of a version, which may be over; None for one that never had any."""
    return decode_attributes(record.attributes_json).lock if LOCKED in record.attributes_json else None


def why_locked(record: ObjectRecord, now_ms: int, *, bypass_governance: bool = False) -> str | None:
    """Return why a version cannot be removed now, or None when it can."""
    lock = lock_of(record)
    if lock is None or record.is_marker:
        return None
    if lock.legal_hold == "ON":
        return "a legal hold is on it"
    if lock.mode is None or lock.retain_until_ms <= now_ms:
        return None
    if bypass_governance and lock.mode is LockMode.GOVERNANCE:
        return None
    until = datetime.fromtimestamp(lock.retain_until_ms / 1000, UTC)
    return f"it is retained under {lock.mode} until {until:%Y-%m-%dT%H:%M:%SZ}"


def check_unlocked(tx: Tx, bucket: Bucket, record: ObjectRecord, *, bypass_governance: bool = False) -> None:
    """Refuse to remove a version that is locked."""
    if LOCKED not in record.attributes_json:
        return
    why = why_locked(record, tx.now_ms, bypass_governance=bypass_governance)
    if why is not None:
        raise ConflictError(
            ErrorKind.OBJECT_LOCKED,
            f"version {record.version_id!r} of {record.key!r} cannot be removed: {why}",
            bucket=bucket.name,
            key=record.key,
            version_id=record.version_id,
        )


def changed_retention(
    before: ObjectLock | None, mode: LockMode | None, until_ms: int, now_ms: int, *, bypass_governance: bool
) -> ObjectLock:
    """Return a lock with another retention, None and 0 for none; raises where it would shorten what must not be."""
    lock = ObjectLock() if before is None else before
    is_held = lock.mode is not None and lock.retain_until_ms > now_ms
    is_weaker = until_ms < lock.retain_until_ms or mode is not lock.mode
    if is_held and lock.mode is LockMode.COMPLIANCE and is_weaker:
        raise ConflictError(
            ErrorKind.OBJECT_LOCKED, "a retention under COMPLIANCE can be made longer, never shorter or weaker"
        )
    if is_held and lock.mode is LockMode.GOVERNANCE and is_weaker and not bypass_governance:
        raise ConflictError(
            ErrorKind.OBJECT_LOCKED,
            "a retention under GOVERNANCE is shortened, or changed to another mode, only by who bypasses it: "
            "x-amz-bypass-governance-retention: true, with s3:BypassGovernanceRetention",
        )
    changed = ObjectLock(mode, until_ms, lock.legal_hold)
    _check_until(changed, now_ms)
    return changed


def no_lock(key: str) -> NotFoundError:
    """Return the error for a version that was never locked in the way that is asked for."""
    return NotFoundError(
        ErrorKind.OBJECT_LOCK_NOT_FOUND, "The specified object does not have a ObjectLock configuration", key=key
    )

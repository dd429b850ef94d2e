"""Quotas: how many bytes a bucket may hold, checked in the transaction that would pass it.

Current objects, old versions and the parts of uploads in progress count, so nothing a client can store escapes. What a
write replaces is taken off first. A write that leaves the bucket no larger than before is always let through: a quota
that was lowered below what is held never blocks the way down, and an upload whose parts were taken can be completed.
"""

from hosu.kernel.errors import ConflictError, ErrorKind, InvalidInputError
from hosu.objects.records import NULL_VERSION, Bucket, Versioning
from hosu.objects.transaction import Tx
from hosu.objects.versions import current
from hosu.objects.views import View

QUOTA_BYTES_MAX = (1 << 63) - 1
"""SQLite's largest integer: more than any disk holds."""


def set_quota(tx: Tx, name: str, quota_bytes: int, *, actor: str = "") -> None:
    """Let a bucket hold up to quota_bytes; 0 removes the limit. What it holds already stays, whatever the number."""
    if not 0 <= quota_bytes <= QUOTA_BYTES_MAX:
        raise InvalidInputError(
            ErrorKind.INVALID_ARGUMENT,
            f"a quota of {quota_bytes} bytes cannot be: give 1 to {QUOTA_BYTES_MAX}, or 0 for no limit",
        )
    bucket = tx.bucket(name)
    tx.run("UPDATE bucket SET quota_bytes = ? WHERE id = ?", (quota_bytes, bucket.id))
    tx.forget_bucket(name)
    tx.record_event(tx.next_seq(), "BucketQuota", name, "", "", 0, str(quota_bytes), actor)


def check_object_fits(view: View, bucket: Bucket, key: str, size_bytes: int) -> None:
    """Refuse an object that would take its bucket past its quota. In a transaction, call it before any change."""
    if bucket.quota_bytes:
        _check(view, bucket, size_bytes, _replaced_bytes(view, bucket, key))


def check_part_fits(view: View, bucket: Bucket, upload: int, number: int, size_bytes: int) -> None:
    """Refuse a part that would take its bucket past its quota; the part that had its number goes."""
    if bucket.quota_bytes:
        before = view.value("SELECT size_bytes FROM part WHERE upload = ? AND number = ?", (upload, number))
        _check(view, bucket, size_bytes, before or 0)


def _check(view: View, bucket: Bucket, added_bytes: int, replaced_bytes: int) -> None:
    grows_bytes = added_bytes - replaced_bytes
    held_bytes = view.held_bytes(bucket)
    if grows_bytes > 0 and held_bytes + grows_bytes > bucket.quota_bytes:
        raise ConflictError(
            ErrorKind.QUOTA_EXCEEDED,
            f"bucket {bucket.name!r} holds {held_bytes} of {bucket.quota_bytes} bytes, and {grows_bytes} more do not "
            "fit: delete objects or old versions, abort uploads in progress, or raise the quota",
            bucket=bucket.name,
            quota_bytes=bucket.quota_bytes,
            held_bytes=held_bytes,
            proposed_bytes=added_bytes,
        )


def _replaced_bytes(view: View, bucket: Bucket, key: str) -> int:
    """Return the size of the version that a new object takes the place of; versions that are kept are not replaced."""
    if bucket.versioning == Versioning.ENABLED:
        return 0
    before = current(view, bucket.id, key)
    if before is not None and before.version_id == NULL_VERSION:
        return before.size_bytes
    if bucket.versioning == Versioning.NEVER:
        return 0
    null_bytes = view.value(
        "SELECT size_bytes FROM version WHERE bucket_id = ? AND key = ? AND version_id = ? AND NOT is_marker",
        (bucket.id, key, NULL_VERSION),
    )
    return int(null_bytes or 0)

"""Quotas: how many bytes a bucket, and the whole lake, may hold; checked in the transaction that would pass one.

Current objects, old versions and the parts of uploads in progress count, so nothing a client can store escapes. What a
write replaces is taken off first. A write that leaves the bucket no larger than before is always let through: a quota
that was lowered below what is held never blocks the way down, and an upload whose parts were taken can be completed.
"""

from hosu.kernel.errors import ConflictError, ErrorKind, InvalidInputError
from hosu.objects.lake_quota import LakeQuota
from hosu.objects.records import NULL_VERSION, Bucket, Versioning
from hosu.objects.transaction import Tx
from hosu.objects.versions import current
from hosu.objects.views import View

QUOTA_BYTES_MAX = (1 << 63) - 1
"""SQLite's largest integer: more than any disk holds."""


def check_quota_bytes(quota_bytes: int) -> None:
    """Refuse a number that cannot be a quota."""
    if not 0 <= quota_bytes <= QUOTA_BYTES_MAX:
        raise InvalidInputError(
            ErrorKind.INVALID_ARGUMENT,
            f"a quota of {quota_bytes} bytes cannot be: give 1 to {QUOTA_BYTES_MAX}, or 0 for no limit",
        )


def check_is_above_use(what: str, quota_bytes: int, held_bytes: int) -> None:
    """Refuse a quota that is passed already."""
    if 0 < quota_bytes < held_bytes:
        raise ConflictError(
            ErrorKind.QUOTA_EXCEEDED,
            f"a quota of {quota_bytes} bytes is below what {what} holds, {held_bytes} bytes: every write that adds to "
            "it would be refused; make room first, give a larger quota, or force it",
            quota_bytes=quota_bytes,
            held_bytes=held_bytes,
        )


def set_quota(tx: Tx, name: str, quota_bytes: int, *, allows_below_use: bool = True, actor: str = "") -> None:
    """Let a bucket hold up to quota_bytes; 0 removes the limit. What it holds already stays, whatever the number.

    Without `allows_below_use` a quota that is passed already is refused: ConflictError QUOTA_EXCEEDED.
    """
    check_quota_bytes(quota_bytes)
    bucket = tx.bucket(name)
    if not allows_below_use:
        check_is_above_use(f"bucket {name!r}", quota_bytes, tx.held_bytes(bucket))
    tx.run("UPDATE bucket SET quota_bytes = ? WHERE id = ?", (quota_bytes, bucket.id))
    tx.forget_bucket(name)
    tx.record_event(tx.next_seq(), "BucketQuota", name, "", "", 0, str(quota_bytes), actor)


def check_object_fits(
    view: View, bucket: Bucket, key: str, size_bytes: int, lake_quota: LakeQuota | None = None
) -> None:
    """Refuse an object that would take its bucket or the lake past its quota.

    In a transaction, call it before any change; outside of one, `lake_quota` is the store's.
    """
    lake_bytes = _lake_quota_bytes(view, lake_quota)
    if bucket.quota_bytes or lake_bytes:
        _check(view, bucket, lake_bytes, size_bytes, _replaced_bytes(view, bucket, key))


def check_part_fits(
    view: View, bucket: Bucket, upload: int, number: int, size_bytes: int, lake_quota: LakeQuota | None = None
) -> None:
    """Refuse a part that would take its bucket or the lake past its quota; the part that had its number goes."""
    lake_bytes = _lake_quota_bytes(view, lake_quota)
    if bucket.quota_bytes or lake_bytes:
        before = view.value("SELECT size_bytes FROM part WHERE upload = ? AND number = ?", (upload, number))
        _check(view, bucket, lake_bytes, size_bytes, before or 0)


def _lake_quota_bytes(view: View, lake_quota: LakeQuota | None) -> int:
    if isinstance(view, Tx):
        lake_quota = view.effects.lake_quota
        if view.has_changed_access:
            return lake_quota.read(view)
    return 0 if lake_quota is None else lake_quota.find(view)


def _check(view: View, bucket: Bucket, lake_bytes: int, added_bytes: int, replaced_bytes: int) -> None:
    grows_bytes = added_bytes - replaced_bytes
    if grows_bytes <= 0:
        return
    if bucket.quota_bytes:
        held_bytes = view.held_bytes(bucket)
        if held_bytes + grows_bytes > bucket.quota_bytes:
            raise _exceeded(bucket, f"bucket {bucket.name!r}", bucket.quota_bytes, held_bytes, added_bytes, grows_bytes)
    if lake_bytes:
        held_bytes = view.lake_held_bytes()
        if held_bytes + grows_bytes > lake_bytes:
            raise _exceeded(bucket, "the lake", lake_bytes, held_bytes, added_bytes, grows_bytes)


def _exceeded(
    bucket: Bucket, what: str, quota_bytes: int, held_bytes: int, added_bytes: int, grows_bytes: int
) -> ConflictError:
    return ConflictError(
        ErrorKind.QUOTA_EXCEEDED,
        f"{what} holds {held_bytes} of {quota_bytes} bytes, and {grows_bytes} more do not fit: delete objects or old "
        "versions, abort uploads in progress, or raise the quota",
        scope="lake" if what == "the lake" else "bucket",
        bucket=bucket.name,
        quota_bytes=quota_bytes,
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

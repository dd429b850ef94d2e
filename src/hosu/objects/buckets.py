"""Verbs on buckets."""

from hosu.kernel.errors import ConflictError, ErrorKind
from hosu.objects.names import check_bucket_name
from hosu.objects.notifications import end_notifications
from hosu.objects.records import Bucket, Versioning
from hosu.objects.retention import BucketLock, set_bucket_lock
from hosu.objects.transaction import Tx
from hosu.objects.views import BUCKET_COLUMNS, View, bucket_from_row


def create_bucket(
    tx: Tx, name: str, *, region: str = "", owner: str = "", is_lockable: bool = False, actor: str = ""
) -> Bucket:
    """Create an empty bucket that belongs to a user, or to root; raises `ConflictError` when the name is taken.

    With `is_lockable` its versions are on and can be locked.
    """
    check_bucket_name(name)
    if tx.value("SELECT 1 FROM bucket WHERE name = ?", (name,)):
        raise ConflictError(ErrorKind.BUCKET_EXISTS, f"bucket {name!r} exists already", bucket=name)
    tx.run(
        "INSERT INTO bucket VALUES (NULL, ?, ?, ?, 0, 0, 0, 0, 0, 0, 0, 0, 0, ?, '', 0)",
        (name, tx.now_ms, region, owner),
    )
    tx.record_event(tx.next_seq(), "BucketCreated", name, "", "", 0, "", actor)
    if is_lockable:
        set_versioning(tx, name, Versioning.ENABLED, actor=actor)
        set_bucket_lock(tx, name, BucketLock(), actor=actor)
    return tx.bucket(name)


def list_buckets(view: View, *, prefix: str = "", after: str = "", limit: int = 10_000) -> list[Bucket]:
    """Return up to limit buckets whose names begin with prefix and come after `after`, in order."""
    rows = view.rows(
        f"SELECT {BUCKET_COLUMNS} FROM bucket WHERE name > ? AND name >= ? AND substr(name, 1, ?) = ? "
        "ORDER BY name LIMIT ?",
        (after, prefix, len(prefix), prefix, limit),
    )
    return [bucket_from_row(row) for row in rows]


def delete_bucket(tx: Tx, name: str, *, actor: str = "") -> None:
    """Delete a bucket that holds no object, version, marker or open upload, and no protected prefix."""
    bucket = tx.bucket(name)
    if bucket.protected:
        raise ConflictError(
            ErrorKind.PROTECTED,
            f"bucket {name!r} has {bucket.protected} protected prefixes: end their protection before deleting it",
            bucket=name,
        )
    for table in ("object", "version", "upload"):
        if tx.value(f"SELECT 1 FROM {table} WHERE bucket_id = ? LIMIT 1", (bucket.id,)):
            held = {"object": "objects", "version": "versions", "upload": "uploads in progress"}[table]
            raise ConflictError(
                ErrorKind.BUCKET_NOT_EMPTY, f"bucket {name!r} still holds {held}", bucket=name, held=held
            )
    for table in ("bucket_document", "alias", "alias_switch"):
        tx.run(f"DELETE FROM {table} WHERE bucket_id = ?", (bucket.id,))
    tx.run("DELETE FROM bucket WHERE id = ?", (bucket.id,))
    end_notifications(tx, name, tx.next_seq())
    tx.forget_usage(bucket.id)
    tx.forget_bucket(name)
    tx.change_access()
    tx.record_event(tx.next_seq(), "BucketRemoved", name, "", "", 0, "", actor)


def set_versioning(tx: Tx, name: str, versioning: Versioning, *, actor: str = "") -> None:
    """Switch a bucket's versions on, or suspend them."""
    bucket = tx.bucket(name)
    if versioning == Versioning.NEVER and bucket.versioning != Versioning.NEVER:
        raise ConflictError(
            ErrorKind.BUCKET_VERSIONING_INVALID, f"versions of bucket {name!r} can be suspended, not taken back"
        )
    if bucket.lock and versioning != Versioning.ENABLED:
        raise ConflictError(
            ErrorKind.BUCKET_VERSIONING_INVALID,
            f"object lock is on for bucket {name!r}: its versions cannot be suspended",
        )
    tx.run("UPDATE bucket SET versioning = ? WHERE id = ?", (int(versioning), bucket.id))
    tx.forget_bucket(name)
    tx.record_event(tx.next_seq(), "BucketVersioning", name, "", "", 0, versioning.name.lower(), actor)


REMEMBERED_DOCUMENTS = frozenset(
    {"acl", "encryption", "lifecycle", "notification", "ownership", "policy", "public-access-block"}
)
"""Documents of a bucket that every process remembers until they change."""


def get_document(view: View, name: str, kind: str) -> str | None:
    """Return a document kept with a bucket (its tags, its CORS rules …), or None when unset."""
    bucket = view.bucket(name)
    body: str | None = view.value(
        "SELECT body FROM bucket_document WHERE bucket_id = ? AND kind = ?", (bucket.id, kind)
    )
    return body


def set_document(tx: Tx, name: str, kind: str, body: str | None, *, actor: str = "") -> None:
    """Set or, with None, remove a document kept with a bucket."""
    bucket = tx.bucket(name)
    if body is None:
        tx.run("DELETE FROM bucket_document WHERE bucket_id = ? AND kind = ?", (bucket.id, kind))
    else:
        tx.run("INSERT OR REPLACE INTO bucket_document VALUES (?, ?, ?)", (bucket.id, kind, body))
    if kind in REMEMBERED_DOCUMENTS:
        tx.change_access()
    tx.record_event(tx.next_seq(), f"BucketDocument:{kind}", name, "", "", 0, "", actor)

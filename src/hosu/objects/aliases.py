"""Aliases: a prefix that reads as another prefix of the same bucket.

`models/production/current/` → `models/training/v1.0.0/` makes every read below the first answer with the
objects below the second. A switch is one transaction, so a reader sees all of the old target or all of the
new one. Writes below an alias are refused: they belong below its target.
"""

import msgspec

from hosu.kernel.errors import ConflictError, ErrorKind, InvalidInputError, NotFoundError
from hosu.objects.names import check_key
from hosu.objects.records import Bucket
from hosu.objects.transaction import Tx
from hosu.objects.views import View


class Alias(msgspec.Struct, frozen=True):
    """Reads below `prefix` answer with what is below `target`; `seq` is the order of the switch that said so."""

    prefix: str
    target: str
    seq: int


class Switch(msgspec.Struct, frozen=True):
    """One entry of an alias's history. `source` is None when the alias was made, `target` when it was removed."""

    seq: int
    prefix: str
    source: str | None
    target: str | None
    at_ms: int
    actor: str


def list_aliases(view: View, bucket: Bucket) -> list[Alias]:
    """Return a bucket's aliases by prefix."""
    if not bucket.alias_count:
        return []
    rows = view.rows("SELECT prefix, target, seq FROM alias WHERE bucket_id = ? ORDER BY prefix", (bucket.id,))
    return [Alias(*row) for row in rows]


def find_alias(view: View, bucket: Bucket, key: str) -> Alias | None:
    """Return the alias that a key is below. Aliases never overlap, so it is the last one before the key."""
    if not bucket.alias_count:
        return None
    row = view.row(
        "SELECT prefix, target, seq FROM alias WHERE bucket_id = ? AND prefix <= ? ORDER BY prefix DESC LIMIT 1",
        (bucket.id, key),
    )
    return Alias(*row) if row is not None and key.startswith(row[0]) else None


def resolve(view: View, bucket: Bucket, key: str) -> str:
    """Return the key that is stored for a key that may be below an alias."""
    alias = find_alias(view, bucket, key)
    return key if alias is None else alias.target + key[len(alias.prefix) :]


def set_alias(tx: Tx, bucket_name: str, prefix: str, target: str, *, actor: str = "") -> Alias:
    """Make an alias, or switch one to another target."""
    bucket = tx.bucket(bucket_name)
    _check_prefixes(prefix, target)
    before: str | None = tx.value("SELECT target FROM alias WHERE bucket_id = ? AND prefix = ?", (bucket.id, prefix))
    if before == target:
        raise ConflictError(ErrorKind.INVALID_ARGUMENT, f"alias {prefix!r} points to {target!r} already")
    if before is None:
        _check_is_free(tx, bucket, prefix)
    _check_apart(tx, bucket, prefix, target)
    if not _has_objects(tx, bucket, target):
        raise NotFoundError(ErrorKind.OBJECT_NOT_FOUND, f"there are no objects below the target {target!r}", key=target)
    return _switch(tx, bucket, prefix, before, target, actor)


def revert_alias(tx: Tx, bucket_name: str, prefix: str, *, actor: str = "") -> Alias:
    """Switch an alias back to the target it had before its last switch."""
    bucket = tx.bucket(bucket_name)
    row = tx.row(
        "SELECT source, target FROM alias_switch WHERE bucket_id = ? AND prefix = ? ORDER BY seq DESC LIMIT 1",
        (bucket.id, prefix),
    )
    if row is None or row[1] is None:
        raise NotFoundError(ErrorKind.ALIAS_NOT_FOUND, f"bucket {bucket_name!r} has no alias {prefix!r}")
    if row[0] is None:
        raise ConflictError(ErrorKind.INVALID_ARGUMENT, f"alias {prefix!r} has never pointed elsewhere")
    _check_apart(tx, bucket, prefix, row[0])
    if not _has_objects(tx, bucket, row[0]):
        raise NotFoundError(ErrorKind.OBJECT_NOT_FOUND, f"there are no objects below {row[0]!r} any more", key=row[0])
    return _switch(tx, bucket, prefix, row[1], row[0], actor)


def remove_alias(tx: Tx, bucket_name: str, prefix: str, *, actor: str = "") -> None:
    """Remove an alias; its target's objects stay."""
    bucket = tx.bucket(bucket_name)
    before: str | None = tx.value(
        "DELETE FROM alias WHERE bucket_id = ? AND prefix = ? RETURNING target", (bucket.id, prefix)
    )
    if before is None:
        raise NotFoundError(ErrorKind.ALIAS_NOT_FOUND, f"bucket {bucket_name!r} has no alias {prefix!r}")
    _record(tx, bucket, prefix, before, None, actor)
    _count_aliases(tx, bucket)


def alias_history(view: View, bucket_name: str, prefix: str, *, limit: int = 100) -> list[Switch]:
    """Return who switched an alias when, from what, to what; the latest first."""
    bucket = view.bucket(bucket_name)
    rows = view.rows(
        "SELECT seq, prefix, source, target, at_ms, actor FROM alias_switch "
        "WHERE bucket_id = ? AND prefix = ? ORDER BY seq DESC LIMIT ?",
        (bucket.id, prefix, limit),
    )
    return [Switch(*row) for row in rows]


def _check_prefixes(prefix: str, target: str) -> None:
    for name, value in (("alias", prefix), ("target", target)):
        check_key(value)
        if "\x00" in value:
            raise InvalidInputError(ErrorKind.INVALID_ARGUMENT, f"{name} {value!r} must not contain NUL")
        if not value.endswith("/"):
            raise InvalidInputError(ErrorKind.INVALID_ARGUMENT, f"{name} {value!r} must end with '/'")
    if prefix.startswith(target) or target.startswith(prefix):
        raise InvalidInputError(ErrorKind.INVALID_ARGUMENT, f"alias {prefix!r} and target {target!r} hold each other")


def _check_apart(tx: Tx, bucket: Bucket, prefix: str, target: str) -> None:
    """Refuse aliases that hold each other, and targets that an alias stands in: every read resolves once."""
    for other in list_aliases(tx, bucket):
        if other.prefix != prefix and (other.prefix.startswith(prefix) or prefix.startswith(other.prefix)):
            raise ConflictError(ErrorKind.INVALID_ARGUMENT, f"alias {prefix!r} overlaps the alias {other.prefix!r}")
        if target.startswith(other.prefix) or other.prefix.startswith(target):
            raise ConflictError(
                ErrorKind.INVALID_ARGUMENT,
                f"target {target!r} holds or is below the alias {other.prefix!r}; name stored objects",
            )
        if other.target.startswith(prefix) or prefix.startswith(other.target):
            raise ConflictError(
                ErrorKind.INVALID_ARGUMENT, f"alias {prefix!r} and the target of {other.prefix!r} hold each other"
            )


def _check_is_free(tx: Tx, bucket: Bucket, prefix: str) -> None:
    if _has_objects(tx, bucket, prefix):
        raise ConflictError(
            ErrorKind.INVALID_ARGUMENT, f"objects are stored below {prefix!r}: move them before it becomes an alias"
        )


def _has_objects(view: View, bucket: Bucket, prefix: str) -> bool:
    first: str | None = view.value(
        "SELECT key FROM object WHERE bucket_id = ? AND key >= ? ORDER BY key LIMIT 1", (bucket.id, prefix)
    )
    return first is not None and first.startswith(prefix)


def _switch(tx: Tx, bucket: Bucket, prefix: str, before: str | None, target: str, actor: str) -> Alias:
    seq = _record(tx, bucket, prefix, before, target, actor)
    tx.run("INSERT OR REPLACE INTO alias VALUES (?, ?, ?, ?)", (bucket.id, prefix, target, seq))
    _count_aliases(tx, bucket)
    return Alias(prefix, target, seq)


def _record(tx: Tx, bucket: Bucket, prefix: str, before: str | None, target: str | None, actor: str) -> int:
    seq = tx.next_seq()
    tx.run(
        "INSERT INTO alias_switch VALUES (?, ?, ?, ?, ?, ?, ?)",
        (seq, bucket.id, prefix, before, target, tx.now_ms, actor),
    )
    tx.record_event(seq, "AliasSwitched", bucket.name, prefix, "", 0, target or "", actor)
    return seq


def _count_aliases(tx: Tx, bucket: Bucket) -> None:
    tx.run(
        "UPDATE bucket SET alias_count = (SELECT count(*) FROM alias WHERE bucket_id = ?) WHERE id = ?",
        (bucket.id, bucket.id),
    )
    tx.forget_bucket(bucket.name)
    if bucket.protected:
        tx.change_access()  # what an alias shows below a protected prefix is protected too


def aliases_at(view: View, bucket_name: str, seq: int) -> tuple[Alias, ...]:
    """Return the aliases as they were after a switch, so that a listing ends with the targets it began with."""
    bucket = view.bucket(bucket_name)
    rows = view.rows(
        "SELECT prefix, target, max(seq) FROM alias_switch WHERE bucket_id = ? AND seq <= ? GROUP BY prefix",
        (bucket.id, seq),
    )
    found = [Alias(prefix, target, switch) for prefix, target, switch in rows if target is not None]
    return tuple(sorted(found, key=lambda alias: alias.prefix.encode()))

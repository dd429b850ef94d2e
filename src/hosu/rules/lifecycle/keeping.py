"""Verbs on the lifecycle of a bucket, and the memory of it that answers to requests need."""

import threading
from collections.abc import Callable
from typing import NamedTuple

import msgspec

from hosu.kernel.errors import CorruptError, ErrorKind, InvalidInputError
from hosu.kernel.settings import Settings
from hosu.objects.buckets import get_document, set_document
from hosu.objects.generation import Generation
from hosu.objects.protected import protected_prefixes
from hosu.objects.records import ObjectRecord
from hosu.objects.transaction import Tx
from hosu.objects.views import View
from hosu.rules.lifecycle.matching import Expiry, find_expiry
from hosu.rules.lifecycle.model import (
    DOCUMENT,
    Lifecycle,
    Rule,
    check_lifecycle,
    decode_lifecycle,
    encode_lifecycle,
)
from hosu.rules.sparing import is_of_table

BUCKETS_KEPT_MAX = 10_000


def get_lifecycle(view: View, bucket_name: str) -> Lifecycle | None:
    """Return the lifecycle of a bucket, or None when it has none; raises NotFoundError without the bucket."""
    text = get_document(view, bucket_name, DOCUMENT)
    return None if text is None else decode_lifecycle(text, bucket_name)


def set_lifecycle(tx: Tx, bucket_name: str, lifecycle: Lifecycle | None, *, actor: str = "") -> None:
    """Set or, with None, remove the lifecycle of a bucket; `updated_ms` is set to now.

    Raises InvalidInputError for rules that S3 refuses, and for one by which protected objects would go.
    """
    tx.bucket(bucket_name)
    if lifecycle is None:
        set_document(tx, bucket_name, DOCUMENT, None, actor=actor)
        return
    check_lifecycle(lifecycle)
    for prefix in protected_prefixes(tx, bucket_name):
        rule = _remover_below(lifecycle, prefix)
        if rule is not None:
            raise InvalidInputError(
                ErrorKind.INVALID_ARGUMENT,
                f"rule {rule.id!r} with the prefix {rule.prefix!r} would remove what is below the protected prefix "
                f"{prefix!r}: give it a prefix apart from that one, or end the protection first",
                bucket=bucket_name,
                prefix=prefix,
            )
    kept = msgspec.structs.replace(lifecycle, updated_ms=tx.now_ms)
    set_document(tx, bucket_name, DOCUMENT, encode_lifecycle(kept), actor=actor)


def expires_below(view: View, bucket_name: str, prefix: str) -> str | None:
    """Return the id of a rule in force by which objects or versions below a prefix would go; None without one."""
    lifecycle = get_lifecycle(view, bucket_name)
    rule = None if lifecycle is None else _remover_below(lifecycle, prefix)
    return None if rule is None else rule.id


def _remover_below(lifecycle: Lifecycle, prefix: str) -> Rule | None:
    for rule in lifecycle.rules:
        is_near = rule.prefix.startswith(prefix) or prefix.startswith(rule.prefix)
        if rule.is_enabled and rule.removes_objects and is_near:
            return rule
    return None


class _Kept(NamedTuple):
    bucket_id: int
    rules: tuple[Rule, ...]


class Lifecycles:
    """Which objects expire by which rule of their bucket; rules are read once, until they may have changed."""

    def __init__(self, view: Callable[[], View], generation: Generation, settings: Settings) -> None:
        self._view = view
        self._generation = generation
        self._settings = settings
        self._kept: tuple[int, dict[str, _Kept | None]] = (-1, {})
        self._lock = threading.Lock()

    def expiry(self, bucket: str, record: ObjectRecord) -> Expiry | None:
        """Return when an object expires and by which rule, the earliest; None when it stays, or is no current one."""
        number, found = self._kept
        kept = found[bucket] if number == self._generation.number() and bucket in found else self._find(bucket)
        if kept is None or not record.is_latest or record.is_marker:
            return None
        key = self._stored_key(kept, record.key)
        if is_of_table(self._settings, bucket, key):
            return None
        return find_expiry(kept.rules, self._settings, key, record)

    def _find(self, bucket: str) -> _Kept | None:
        number = self._generation.number()
        row = self._view().row(
            "SELECT bucket_id, body FROM bucket_document WHERE kind = ? AND "
            "bucket_id = (SELECT id FROM bucket WHERE name = ?)",
            (DOCUMENT, bucket),
        )
        found = None if row is None else _expiring(row[0], row[1], bucket)
        with self._lock:
            kept_at, kept = self._kept
            if number != kept_at or len(kept) >= BUCKETS_KEPT_MAX:
                self._kept = number, {bucket: found}
            else:
                kept[bucket] = found
        return found

    def _stored_key(self, kept: _Kept, key: str) -> str:
        """Return the key below which an object is stored that was asked for by an alias: rules go by that."""
        row = self._view().row(
            "SELECT prefix, target FROM alias WHERE bucket_id = ? AND prefix <= ? ORDER BY prefix DESC LIMIT 1",
            (kept.bucket_id, key),
        )
        return row[1] + key[len(row[0]) :] if row is not None and key.startswith(row[0]) else key


def _expiring(bucket_id: int, body: str, bucket: str) -> _Kept | None:
    try:
        lifecycle = decode_lifecycle(body, bucket)
    except CorruptError:
        return None  # whoever sets or carries out the rules is told; objects can be read all the same
    rules = tuple(rule for rule in lifecycle.rules if rule.is_enabled and rule.expires)
    return _Kept(bucket_id, rules) if rules else None

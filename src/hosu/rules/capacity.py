"""The capacity of a lake: how much it may hold, and at which mark the oldest goes to make room.

One document of the lake says both. Its quota is held by `hosu.objects.quota`, in the transaction that would pass it;
`hosu.rules.making_room` makes room. What is used is measured in one of two ways, and room is counted in the same one:

- With a quota, by what the lake holds: current objects, older versions, and parts of uploads in progress, each at its
  full size, however often its bytes are stored.
- Without one, by the lake's disk: what is in use there, less what has been deleted and is about to be given back.
"""

import os

import msgspec

from hosu.kernel.errors import CorruptError, ErrorKind, InvalidInputError
from hosu.objects.alerts import resolve_alert
from hosu.objects.lake_documents import get_lake_document, set_lake_document
from hosu.objects.lake_quota import CAPACITY_DOCUMENT
from hosu.objects.quota import check_is_above_use, check_quota_bytes
from hosu.objects.store import ObjectStore
from hosu.objects.transaction import Tx
from hosu.objects.views import View

ALERT_KIND, ALERT_SUBJECT = "capacity", "high-water"

STORED_BYTES = "ifnull(coded_bytes, size_bytes)"
"""What a blob takes of the disk, in SQL; that encryption adds to it is left out."""


class CapacityRule(msgspec.Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True, kw_only=True):
    """What the document says. Marks are shares of the quota, or without one of the disk: 0.8 is 80 %."""

    quota_bytes: int = 0
    """Most bytes the lake may hold; 0 is no limit."""

    high_water: float = 0.0
    """From here on the oldest goes; 0 for never."""

    low_water: float = 0.0
    """Down to below here; 0 for the high mark itself."""

    buckets: tuple[str, ...] = ()
    """Where something may go; empty for all buckets."""

    keep: tuple[str, ...] = ()
    """What never goes: `BUCKET/PREFIX`, or `BUCKET/` for all of a bucket."""


class Gauge(msgspec.Struct, frozen=True):
    """How full a lake is. `is_disk` says that it is the disk that is measured, and not what the lake holds."""

    used_bytes: int
    limit_bytes: int
    high_bytes: int
    """Room is made when this much is used."""

    low_bytes: int
    """Less than this is to be used then."""

    is_disk: bool

    @property
    def is_high(self) -> bool:
        """Whether room is to be made."""
        return self.used_bytes >= self.high_bytes

    @property
    def what(self) -> str:
        """Name what is measured, for people."""
        return "the lake's disk" if self.is_disk else "the lake's quota"


def get_capacity(view: View) -> CapacityRule | None:
    """Return what the lake says of its capacity, or None where it says nothing."""
    text = get_lake_document(view, CAPACITY_DOCUMENT)
    if text is None:
        return None
    try:
        return msgspec.json.decode(text, type=CapacityRule)
    except msgspec.MsgspecError as error:
        raise CorruptError(
            ErrorKind.CORRUPT_LAKE, f"what the lake says of its capacity cannot be read: {error}"
        ) from error


def set_capacity(tx: Tx, rule: CapacityRule, *, allows_below_use: bool = False, actor: str = "") -> None:
    """Replace what the lake says of its capacity.

    Raises ConflictError QUOTA_EXCEEDED for a quota below what is held, unless that is allowed.
    """
    check_capacity(tx, rule)
    if not allows_below_use:
        check_is_above_use("the lake", rule.quota_bytes, tx.lake_held_bytes())
    set_lake_document(tx, CAPACITY_DOCUMENT, msgspec.json.encode(rule).decode(), actor=actor)
    resolve_alert(tx, ALERT_KIND, ALERT_SUBJECT)  # of another mark: what is still so is noticed again


def remove_capacity(tx: Tx, *, actor: str = "") -> bool:
    """Let the lake grow as far as its disk, and delete nothing to make room; False where it was so already."""
    if get_lake_document(tx, CAPACITY_DOCUMENT) is None:
        return False
    set_lake_document(tx, CAPACITY_DOCUMENT, None, actor=actor)
    resolve_alert(tx, ALERT_KIND, ALERT_SUBJECT)
    return True


def check_capacity(view: View, rule: CapacityRule) -> None:
    """Refuse a rule that cannot be meant; raises `NotFoundError` for a bucket that is not there."""
    check_values(rule)
    for name in rule.buckets:
        view.bucket(name)
    for text in rule.keep:
        view.bucket(text.partition("/")[0])


def check_values(rule: CapacityRule) -> None:
    """Refuse a rule that cannot be meant in any lake."""
    check_quota_bytes(rule.quota_bytes)
    if not rule.quota_bytes and not rule.high_water:
        _refuse("capacity", "neither a quota nor a high mark", "give one of them, or remove the rule")
    for name, mark in (("high_water", rule.high_water), ("low_water", rule.low_water)):
        if not 0 <= mark <= 1:
            _refuse(name, mark, "give a share between 0 and 1, such as 0.8 for 80 %")
    if rule.low_water > rule.high_water:
        _refuse("low_water", rule.low_water, f"give at most the high mark, {rule.high_water}")
    for text in rule.keep:
        if "/" not in text:
            _refuse("keep", repr(text), f"write BUCKET/PREFIX, or {text + '/'!r} for all of the bucket")


def kept_prefixes(rule: CapacityRule, bucket: str) -> tuple[str, ...]:
    """Return the prefixes of a bucket that the rule itself keeps."""
    return tuple(text[len(bucket) + 1 :] for text in rule.keep if text.startswith(bucket + "/"))


def measure(store: ObjectStore, view: View, rule: CapacityRule) -> Gauge:
    """Return how full the lake is, or its disk."""
    if rule.quota_bytes:
        used_bytes, limit_bytes = view.lake_held_bytes(), rule.quota_bytes
    else:
        facts = os.statvfs(store.files.root)
        used_bytes = (facts.f_blocks - facts.f_bfree) * facts.f_frsize - returning_bytes(store, view)
        limit_bytes = (facts.f_blocks - facts.f_bfree + facts.f_bavail) * facts.f_frsize
    high_bytes = round(limit_bytes * rule.high_water)
    low_bytes = round(limit_bytes * rule.low_water) if rule.low_water else high_bytes
    return Gauge(used_bytes, limit_bytes, high_bytes, low_bytes, is_disk=not rule.quota_bytes)


def returning_bytes(store: ObjectStore, view: View) -> int:
    """Return how much of the disk is about to be given back: deleted blobs that wait, and free pages of the database.

    Such pages stay with the database's file, which does not grow before they are used up.
    """
    waiting_bytes = view.value(
        f"SELECT ifnull(sum({STORED_BYTES}), 0) FROM garbage JOIN blob ON id = blob_id WHERE kind = 1 AND refs = 0"
    )
    part_bytes = view.value(
        "SELECT ifnull(sum(ifnull(child.coded_bytes, child.size_bytes)), 0) FROM garbage "
        "JOIN blob AS whole ON whole.id = garbage.blob_id AND whole.kind = 2 AND whole.refs = 0 "
        "JOIN segment ON segment.blob_id = whole.id "
        "JOIN blob AS child ON child.id = segment.child_id AND child.refs = 1"
    )
    page_bytes = 0
    if (store.path / "meta").stat().st_dev == store.files.root.stat().st_dev:
        page_bytes = view.value("PRAGMA freelist_count") * view.value("PRAGMA page_size")
    return int(waiting_bytes + part_bytes + page_bytes)


def _refuse(field: str, value: object, remedy: str) -> None:
    raise InvalidInputError(ErrorKind.INVALID_ARGUMENT, f"{field} {value} cannot be: {remedy}")

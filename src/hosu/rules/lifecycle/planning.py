"""What the rules of a bucket would do now: what a dry run shows, and what a real run then does.

Steps come in the order in which they can be carried out one after the other without one making another due.
"""

from collections.abc import Callable, Iterable, Iterator
from enum import StrEnum
from typing import NamedTuple

from hosu.kernel.settings import Settings
from hosu.objects.audit import format_time
from hosu.objects.records import NULL_VERSION, ObjectRecord
from hosu.objects.views import View
from hosu.rules.days import due_before_ms
from hosu.rules.lifecycle.matching import (
    Old,
    find_expiry,
    find_move,
    find_old_expiry,
    find_old_move,
    matches,
    matches_record,
)
from hosu.rules.lifecycle.model import Lifecycle, Rule
from hosu.rules.lifecycle.scanning import (
    CONDITIONS_MAX,
    Condition,
    StaleUpload,
    any_of,
    current_conditions,
    marker_conditions,
    old_conditions,
    outermost,
    pages,
    read_current,
    read_lone_markers,
    read_old,
    read_uploads,
    upload_conditions,
)
from hosu.rules.planning import Planned
from hosu.rules.sparing import is_of_table


class Action(StrEnum):
    """What a lifecycle does, as audit lines and metrics name it."""

    ABORT_UPLOAD = "AbortUpload"
    REMOVE_MARKER = "RemoveMarker"
    EXPIRE_VERSION = "ExpireVersion"
    TRANSITION_VERSION = "TransitionVersion"
    EXPIRE = "Expire"
    TRANSITION = "Transition"


class Step(NamedTuple):
    """One thing to do to what was found. `storage_class` is the one to move to."""

    action: Action
    rule: Rule
    key: str
    version_id: str
    """As it is stored; the upload's id where it is about an upload."""

    seq: int
    size_bytes: int
    since_ms: int
    """From when on its days count: when it was written, replaced or begun."""

    storage_class: str = ""

    @property
    def reason(self) -> str:
        """Why it is due, in words."""
        return reason_of(self)

    def planned(self, bucket: str) -> Planned:
        """Return it as a dry run shows it."""
        return Planned(
            rule=f"lifecycle:{self.rule.id}",
            action=self.action.value,
            bucket=bucket,
            key=self.key,
            version_id="" if self.version_id == NULL_VERSION else self.version_id,
            size_bytes=self.size_bytes,
            reason=self.reason,
            seq=self.seq,
        )


class Scope(NamedTuple):
    """What a plan is about: a bucket, its rules as they are stored, and the moment that counts as now."""

    bucket: str
    bucket_id: int
    body: str
    lifecycle: Lifecycle
    settings: Settings
    now_ms: int
    looks_at_tags: bool = True
    """Whether any rule does: without, a record of the same order says the same again."""


Found = list[tuple[Rule, Condition]]
Read = Callable[[View, Condition, Condition], Iterable[Step | None]]


def steps(view: View, scope: Scope) -> Iterator[list[Step]]:
    """Yield what is due in a bucket, a page of keys at a time; pages without any are yielded too.

    No statement is open while a page is out.
    """
    lifecycle, settings, now_ms = scope.lifecycle, scope.settings, scope.now_ms
    uploads = upload_conditions(lifecycle, settings, now_ms)
    yield from _pages(view, scope, "upload", uploads, lambda *at: _abort_steps(scope, *at))
    markers = marker_conditions(lifecycle, settings, now_ms)
    yield from _pages(view, scope, "version", markers, lambda *at: _marker_steps(scope, *at))
    old = old_conditions(lifecycle, settings, now_ms)
    yield from _pages(view, scope, "version", old, lambda *at: _old_steps(scope, *at))
    current = current_conditions(lifecycle, settings, now_ms)
    yield from _pages(view, scope, "object", current, lambda *at: _current_steps(scope, *at))


def _pages(view: View, scope: Scope, table: str, found: Found, read: Read) -> Iterator[list[Step]]:
    for prefix in outermost(rule.prefix for rule, _ in found):
        conditions = {condition for rule, condition in found if rule.prefix.startswith(prefix)}
        wanted = any_of(conditions) if len(conditions) <= CONDITIONS_MAX else Condition("1")
        for page in pages(view, table, scope.bucket_id, prefix):
            yield [step for step in read(view, page, wanted) if step is not None]


def _abort_steps(scope: Scope, view: View, page: Condition, wanted: Condition) -> Iterator[Step | None]:
    for upload in read_uploads(view, page, wanted):
        yield abort_step(scope, upload)


def _marker_steps(scope: Scope, view: View, page: Condition, wanted: Condition) -> Iterator[Step | None]:
    for record in read_lone_markers(view, page, wanted):
        yield marker_step(scope, record)


def _old_steps(scope: Scope, view: View, page: Condition, wanted: Condition) -> Iterator[Step | None]:
    for record, old in read_old(view, page, wanted):
        yield old_step(scope, record, old)


def _current_steps(scope: Scope, view: View, page: Condition, wanted: Condition) -> Iterator[Step | None]:
    for record in read_current(view, page, wanted):
        yield current_step(scope, record)


def _rules(scope: Scope) -> Iterator[Rule]:
    return (rule for rule in scope.lifecycle.rules if rule.is_enabled)


def abort_step(scope: Scope, upload: StaleUpload) -> Step | None:
    """Return what is due for an upload in parts; None for nothing."""
    found = None
    for rule in _rules(scope):
        if rule.abort_days is not None and matches(rule.filter, upload.key, 0, ""):
            found = rule if found is None or rule.abort_days < (found.abort_days or 0) else found
    if found is None or found.abort_days is None:
        return None
    if upload.initiated_ms >= due_before_ms(scope.settings, scope.now_ms, found.abort_days):
        return None
    return Step(Action.ABORT_UPLOAD, found, upload.key, upload.upload_id, 0, upload.size_bytes, upload.initiated_ms)


def marker_step(scope: Scope, record: ObjectRecord) -> Step | None:
    """Return what is due for a delete marker that is alone; None for nothing."""
    for rule in _rules(scope):
        if rule.removes_markers and matches_record(rule, record.key, record):
            return _step(Action.REMOVE_MARKER, rule, record, record.modified_ms)
    expiry = find_expiry(_rules(scope), scope.settings, record.key, record)
    if expiry is None or expiry.due_ms > scope.now_ms:
        return None
    return _step(Action.REMOVE_MARKER, expiry.rule, record, record.modified_ms)


def old_step(scope: Scope, record: ObjectRecord, old: Old) -> Step | None:
    """Return what is due for what is not current any more; None for nothing."""
    expiry = find_old_expiry(_rules(scope), scope.settings, record, old)
    if expiry is not None and expiry.due_ms <= scope.now_ms:
        return _step(Action.EXPIRE_VERSION, expiry.rule, record, old.since_ms)
    if record.is_marker:
        return None
    move = find_old_move(scope.lifecycle, scope.settings, record, old, scope.now_ms)
    if move is None:
        return None
    return _step(Action.TRANSITION_VERSION, move.rule, record, old.since_ms, move.storage_class)


def current_step(scope: Scope, record: ObjectRecord) -> Step | None:
    """Return what is due for a current object; None for nothing. What a table is made of expires with its snapshots."""
    expiry = find_expiry(_rules(scope), scope.settings, record.key, record)
    if (
        expiry is not None
        and expiry.due_ms <= scope.now_ms
        and not is_of_table(scope.settings, scope.bucket, record.key)
    ):
        return _step(Action.EXPIRE, expiry.rule, record, record.modified_ms)
    move = find_move(scope.lifecycle, scope.settings, record, scope.now_ms)
    if move is None:
        return None
    return _step(Action.TRANSITION, move.rule, record, record.modified_ms, move.storage_class)


def _step(action: Action, rule: Rule, record: ObjectRecord, since_ms: int, storage_class: str = "") -> Step:
    return Step(action, rule, record.key, record.version_id, record.seq, record.size_bytes, since_ms, storage_class)


def reason_of(step: Step) -> str:
    """Return why a step is due, in words."""
    rule, since = step.rule, format_time(step.since_ms)
    if step.action == Action.ABORT_UPLOAD:
        return f"rule {rule.id!r} gives up uploads {_days(rule.abort_days)} after they began; this one did {since}"
    if step.action == Action.REMOVE_MARKER and rule.removes_markers:
        return f"rule {rule.id!r} removes delete markers behind which no version is left"
    if step.action == Action.TRANSITION:
        return f"rule {rule.id!r} moves objects to {step.storage_class}; this one was written {since}"
    if step.action == Action.TRANSITION_VERSION:
        return f"rule {rule.id!r} moves old versions to {step.storage_class}; this one was replaced {since}"
    if step.action == Action.EXPIRE_VERSION:
        after = f" {_days(rule.noncurrent_days)} after they were replaced" if rule.noncurrent_days else ""
        but = f" but for the newest {rule.noncurrent_keep}" if rule.noncurrent_keep else ""
        return f"rule {rule.id!r} removes old versions{after}{but}; this one was replaced {since}"
    last = ", and no version is left behind this delete marker" if step.action == Action.REMOVE_MARKER else ""
    if rule.expire_at_ms is not None:
        return f"rule {rule.id!r} expires objects on {format_time(rule.expire_at_ms)[:10]}{last}"
    days = _days(rule.expire_days)
    return f"rule {rule.id!r} expires objects {days} after they were written; this one was {since}{last}"


def _days(days: int | None) -> str:
    return "1 day" if days == 1 else f"{days} days"

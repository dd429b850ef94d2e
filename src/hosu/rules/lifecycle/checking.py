"""Looking again, in the transaction that acts, whether what was planned is still due."""

from typing import Any

from hosu.objects.records import ObjectRecord
from hosu.objects.schema import VERSION_COLUMNS
from hosu.objects.versions import current
from hosu.objects.views import View
from hosu.rules.lifecycle.matching import Old
from hosu.rules.lifecycle.planning import (
    Action,
    Scope,
    Step,
    abort_step,
    current_step,
    marker_step,
    old_step,
)
from hosu.rules.lifecycle.scanning import Condition, StaleUpload, read_lone_markers, read_uploads

_OF_KEY = "bucket_id = ? AND key = ?"
_OF_CURRENT = frozenset({Action.EXPIRE, Action.TRANSITION})


def find_again(view: View, scope: Scope, step: Step) -> ObjectRecord | StaleUpload | None:
    """Return what a step is about if it is what it was, and the same is due for it as of the plan's moment."""
    found: ObjectRecord | StaleUpload | None
    due: Step | None
    if step.action == Action.ABORT_UPLOAD:
        found = _upload(view, scope, step)
        due = None if found is None else abort_step(scope, found)
    elif step.action == Action.REMOVE_MARKER:
        found = _lone_marker(view, scope, step)
        due = None if found is None else marker_step(scope, found)
    elif step.action in _OF_CURRENT:
        found = current(view, scope.bucket_id, step.key)
        if found is None or found.seq != step.seq:
            return None
        if step.action == Action.EXPIRE and not scope.looks_at_tags:
            return found
        due = current_step(scope, found)
    else:
        found, due = _old(view, scope, step)
    if due is None or (due.action, due.storage_class) != (step.action, step.storage_class):
        return None
    return found


def _upload(view: View, scope: Scope, step: Step) -> StaleUpload | None:
    page = Condition(_OF_KEY, (scope.bucket_id, step.key))
    found = read_uploads(view, page, Condition("upload_id = ?", (step.version_id,)))
    return found[0] if found else None


def _lone_marker(view: View, scope: Scope, step: Step) -> ObjectRecord | None:
    page = Condition(_OF_KEY, (scope.bucket_id, step.key))
    found = read_lone_markers(view, page, Condition("seq = ?", (step.seq,)))
    return found[0] if found else None


def _old(view: View, scope: Scope, step: Step) -> tuple[ObjectRecord | None, Step | None]:
    name = (scope.bucket_id, step.key)
    row = view.row(f"SELECT is_marker, {VERSION_COLUMNS} FROM version WHERE {_OF_KEY} AND seq = ?", (*name, step.seq))
    followed_ms = None if row is None else _followed_ms(view, name, step.seq)
    if row is None or followed_ms is None:
        return None, None
    record = ObjectRecord(step.key, *(*row[1:], bool(row[0]), False))
    since_ms = max(record.modified_ms, followed_ms)
    return record, old_step(scope, record, Old(since_ms, _newer(view, scope, name, step.seq)))


def _followed_ms(view: View, name: tuple[Any, ...], seq: int) -> int | None:
    """Return when the next newer version was made; None when there is none."""
    followed: int | None = view.value(
        f"SELECT modified_ms FROM version WHERE {_OF_KEY} AND seq > ? ORDER BY seq LIMIT 1", (*name, seq)
    )
    if followed is None:
        followed = view.value(f"SELECT modified_ms FROM object WHERE {_OF_KEY}", name)
    return followed


def _newer(view: View, scope: Scope, name: tuple[Any, ...], seq: int) -> int:
    """Return how many old versions are newer, counted no further than any rule keeps."""
    most = 0
    for rule in scope.lifecycle.rules:
        most = max(most, rule.noncurrent_keep, *(one.keep for one in rule.noncurrent_transitions), 0)
    if not most:
        return 0
    newer = f"SELECT 1 FROM version WHERE {_OF_KEY} AND seq > ? AND NOT is_marker LIMIT ?"
    return int(view.value(f"SELECT count(*) FROM ({newer})", (*name, seq, most)))

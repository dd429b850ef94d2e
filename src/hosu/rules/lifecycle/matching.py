"""What a bucket's rules say of one object, version or upload."""

from collections.abc import Iterable
from typing import NamedTuple

from hosu.kernel.settings import Settings
from hosu.objects.records import ObjectRecord, decode_attributes
from hosu.rules.days import due_ms
from hosu.rules.lifecycle.model import SMALL_BYTES, Filter, Lifecycle, Rule

TAGS = '"tags":'
"""What the attributes of an object with tags hold."""


class Expiry(NamedTuple):
    """When something goes, in milliseconds since 1970, and by which rule."""

    due_ms: int
    rule: Rule


class Move(NamedTuple):
    """To which storage class something moves, since when, and by which rule."""

    due_ms: int
    rule: Rule
    storage_class: str


class Old(NamedTuple):
    """Where an old version stands: when it was replaced, and how many old versions are newer, markers left out."""

    since_ms: int
    newer: int


def matches(found: Filter, key: str, size_bytes: int, attributes_json: str) -> bool:
    """Say whether everything holds that a filter says. A delete marker has no bytes and no tags."""
    if not key.startswith(found.prefix or ""):
        return False
    if found.size_above is not None and size_bytes <= found.size_above:
        return False
    if found.size_below is not None and size_bytes >= found.size_below:
        return False
    if not found.tags:
        return True
    if TAGS not in attributes_json:
        return False
    return found.tags.items() <= decode_attributes(attributes_json).tags.items()


def matches_record(rule: Rule, key: str, record: ObjectRecord) -> bool:
    """Say whether a rule is about a record, which is stored under `key`."""
    return matches(rule.filter, key, record.size_bytes, record.attributes_json)


def find_expiry(rules: Iterable[Rule], settings: Settings, key: str, record: ObjectRecord) -> Expiry | None:
    """Return when a current object, or a marker that is alone, expires first."""
    found = None
    for rule in rules:
        due = rule.expire_at_ms
        if rule.expire_days is not None:
            due = due_ms(settings, record.modified_ms, rule.expire_days)
        if due is not None and (found is None or due < found.due_ms) and matches_record(rule, key, record):
            found = Expiry(due, rule)
    return found


def find_old_expiry(rules: Iterable[Rule], settings: Settings, record: ObjectRecord, old: Old) -> Expiry | None:
    """Return when an old version, or a marker that was replaced, goes first."""
    found = None
    for rule in rules:
        if rule.noncurrent_days is None or old.newer < rule.noncurrent_keep:
            continue
        due = due_ms(settings, old.since_ms, rule.noncurrent_days)
        if (found is None or due < found.due_ms) and matches_record(rule, record.key, record):
            found = Expiry(due, rule)
    return found


def find_move(lifecycle: Lifecycle, settings: Settings, record: ObjectRecord, now_ms: int) -> Move | None:
    """Return the latest change of a current object's storage class that is due and not yet made."""
    found = None
    for rule in lifecycle.rules:
        for transition in rule.transitions:
            due = transition.at_ms
            if transition.days is not None:
                due = due_ms(settings, record.modified_ms, transition.days)
            assert due is not None
            found = _later(found, Move(due, rule, transition.storage_class), lifecycle, record, now_ms)
    return None if found is None or found.storage_class == record.storage_class else found


def find_old_move(lifecycle: Lifecycle, settings: Settings, record: ObjectRecord, old: Old, now_ms: int) -> Move | None:
    """Return the latest change of an old version's storage class that is due and not yet made."""
    found = None
    for rule in lifecycle.rules:
        for transition in rule.noncurrent_transitions:
            if old.newer < transition.keep:
                continue
            due = due_ms(settings, old.since_ms, transition.days)
            found = _later(found, Move(due, rule, transition.storage_class), lifecycle, record, now_ms)
    return None if found is None or found.storage_class == record.storage_class else found


def _later(found: Move | None, move: Move, lifecycle: Lifecycle, record: ObjectRecord, now_ms: int) -> Move | None:
    rule = move.rule
    if move.due_ms > now_ms or not rule.is_enabled or (found is not None and move.due_ms <= found.due_ms):
        return found
    # As S3 has it, a rule that speaks of sizes itself is not held to the bucket's least one.
    has_size = rule.filter.size_above is not None or rule.filter.size_below is not None
    if record.size_bytes < SMALL_BYTES and not (lifecycle.moves_small or has_size):
        return found
    return move if matches_record(rule, record.key, record) else found

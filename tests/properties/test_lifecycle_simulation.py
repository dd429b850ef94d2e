"""Lifecycle rules against a plain model, day by day: what goes, what changes its class, what a dry run foretells."""

import hashlib
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
from hypothesis import given
from hypothesis import strategies as st
from tests.properties.profiles import LISTINGS, scratch_folder

from hosu.kernel.settings import Settings
from hosu.objects import buckets, multipart
from hosu.objects.blobs import stage_inline
from hosu.objects.delete import delete_object
from hosu.objects.put import PutRequest, put_object, set_tags
from hosu.objects.records import COLD, STANDARD, Attributes, Versioning, decode_attributes
from hosu.objects.store import ObjectStore
from hosu.rules.lifecycle.acting import LifecyclePass
from hosu.rules.lifecycle.keeping import Lifecycles, set_lifecycle
from hosu.rules.lifecycle.model import (
    ALL_FROM_128K,
    Filter,
    Lifecycle,
    NoncurrentTransition,
    Rule,
    Transition,
)
from hosu.testing.lake_check import find_faults
from hosu.testing.manual_clock import ManualClock

BUCKET = "images"
HOUR_MS, DAY_MS = 3_600_000, 86_400_000
START_MS = 20_000 * DAY_MS
NULL = "null"

KEYS = st.sampled_from(["a/1", "a/2", "b/\U0010ffff"])
TAGS = st.sampled_from([{"t": "1"}, {"t": "1", "u": "1"}, {}])
PREFIXES = st.sampled_from([None, "", "a", "", "a/", "a/1", "b"])
FILTERS = st.one_of(
    st.builds(Filter, prefix=PREFIXES),
    st.builds(
        Filter,
        prefix=PREFIXES,
        tags=st.sampled_from([{}, {"t": "1"}, {"u": "1"}]),
        size_above=st.sampled_from([None, 3]),
        size_below=st.sampled_from([None, 8]),
    ),
)
PLAIN_FILTERS = st.builds(Filter, prefix=PREFIXES)
DAYS = st.integers(1, 3)
TRANSITIONS = st.builds(Transition, storage_class=st.just(COLD), days=st.integers(0, 2))
NONCURRENT_TRANSITIONS = st.builds(
    NoncurrentTransition, storage_class=st.just(COLD), days=st.integers(0, 2), keep=st.integers(0, 1)
)
RULE_KINDS = (
    st.builds(Rule, id=st.just(""), filter=FILTERS, expire_days=DAYS),
    st.builds(Rule, id=st.just(""), filter=FILTERS, expire_at_ms=st.just(START_MS + 4 * DAY_MS)),
    st.builds(Rule, id=st.just(""), filter=PLAIN_FILTERS, removes_markers=st.just(value=True)),
    st.builds(Rule, id=st.just(""), filter=FILTERS, noncurrent_days=DAYS, noncurrent_keep=st.integers(0, 2)),
    st.builds(Rule, id=st.just(""), filter=FILTERS, noncurrent_days=st.just(0), noncurrent_keep=st.integers(1, 2)),
    st.builds(Rule, id=st.just(""), filter=PLAIN_FILTERS, abort_days=DAYS),
    st.builds(Rule, id=st.just(""), filter=FILTERS, transitions=st.tuples(TRANSITIONS)),
    st.builds(Rule, id=st.just(""), filter=FILTERS, noncurrent_transitions=st.tuples(NONCURRENT_TRANSITIONS)),
    st.builds(Rule, id=st.just(""), filter=PLAIN_FILTERS, expire_days=DAYS, is_enabled=st.just(value=False)),
)
RULES = st.lists(st.one_of(*RULE_KINDS), min_size=3, max_size=6)
PUTS = st.tuples(st.just("put"), KEYS, st.sampled_from([0, 3, 4, 7, 8, 12]), TAGS)
WAITS = st.tuples(st.just("wait"), st.integers(1, 30))
OTHERS = st.one_of(
    st.tuples(st.just("tag"), KEYS, TAGS),
    st.tuples(st.just("delete"), KEYS),
    st.tuples(st.just("upload"), KEYS),
    st.tuples(st.just("versioning"), st.sampled_from([Versioning.ENABLED, Versioning.SUSPENDED])),
)
DAY = st.tuples(st.lists(PUTS, min_size=1, max_size=4), WAITS, OTHERS, WAITS)
"""What happens until the next pass."""

DAY_SECONDS = st.sampled_from([86_400, 30_000])
VERSIONINGS = st.sampled_from([Versioning.ENABLED, Versioning.ENABLED, Versioning.SUSPENDED, Versioning.NEVER])


class Entry(msgspec.Struct):
    """A version or marker of the model; a key's entries are in order, the newest last."""

    version_id: str
    at_ms: int
    size: int = 0
    tags: dict[str, str] = {}
    is_marker: bool = False
    storage_class: str = STANDARD


def due(since_ms: int, days: int, day_seconds: int) -> int:
    """Say when something is so many days old, by the calendar: with the midnight after."""
    if days == 0 or day_seconds != 86_400:
        return since_ms + days * day_seconds * 1000
    moment = datetime.fromtimestamp(since_ms / 1000, UTC) + timedelta(days=days + 1)
    return int(moment.replace(hour=0, minute=0, second=0, microsecond=0).timestamp() * 1000)


class Model:
    """A bucket as a dictionary, and what rules would do to it, said in the shortest way."""

    def __init__(self, lifecycle: Lifecycle, day_seconds: int) -> None:
        self.rules = [rule for rule in lifecycle.rules if rule.is_enabled]
        self.keeps_small = lifecycle.minimum_size == ALL_FROM_128K
        self.day_seconds = day_seconds
        self.keys: dict[str, list[Entry]] = {}
        self.uploads: dict[str, tuple[str, int]] = {}
        self.versioning = Versioning.NEVER

    def put(self, key: str, entry: Entry) -> None:
        entries = self.keys.setdefault(key, [])
        if self.versioning != Versioning.ENABLED:
            entries[:] = [other for other in entries if other.version_id != NULL]
        entries.append(entry)

    def hide(self, key: str, version_id: str, now_ms: int) -> None:
        if self.versioning == Versioning.NEVER:
            self.keys.pop(key, None)
        else:
            self.put(key, Entry(version_id, now_ms, is_marker=True))

    def about(self, rule: Rule, key: str, entry: Entry) -> bool:
        wanted = rule.filter
        return (
            key.startswith(wanted.prefix or "")
            and (wanted.size_above is None or entry.size > wanted.size_above)
            and (wanted.size_below is None or entry.size < wanted.size_below)
            and all(entry.tags.get(name) == value for name, value in wanted.tags.items())
        )

    def is_expired(self, key: str, entry: Entry, now_ms: int) -> bool:
        return any(
            self.about(rule, key, entry)
            and (
                (rule.expire_days is not None and due(entry.at_ms, rule.expire_days, self.day_seconds) <= now_ms)
                or (rule.expire_at_ms is not None and rule.expire_at_ms <= now_ms)
            )
            for rule in self.rules
        )

    def moves(self, key: str, entry: Entry, since_ms: int, now_ms: int, newer: int | None) -> bool:
        if entry.storage_class == COLD or entry.is_marker:
            return False
        for rule in self.rules:
            for move in rule.transitions if newer is None else rule.noncurrent_transitions:
                has_size = rule.filter.size_above is not None or rule.filter.size_below is not None
                kept = newer is not None and newer < getattr(move, "keep", 0)
                is_due = due(since_ms, move.days or 0, self.day_seconds) <= now_ms
                if is_due and not kept and (has_size or not self.keeps_small) and self.about(rule, key, entry):
                    return True
        return False

    def goes(self, key: str, entry: Entry, since_ms: int, now_ms: int, newer: int) -> bool:
        return any(
            rule.noncurrent_days is not None
            and newer >= rule.noncurrent_keep
            and due(since_ms, rule.noncurrent_days, self.day_seconds) <= now_ms
            and self.about(rule, key, entry)
            for rule in self.rules
        )

    def plan(self, now_ms: int) -> set[tuple[str, str, str]]:
        """Return what is due as (action, key, version or upload)."""
        found = set()
        for upload_id, (key, at_ms) in self.uploads.items():
            rules = [rule for rule in self.rules if rule.abort_days and key.startswith(rule.prefix)]
            if any(due(at_ms, rule.abort_days or 0, self.day_seconds) <= now_ms for rule in rules):
                found.add(("AbortUpload", key, upload_id))
        for key, entries in self.keys.items():
            action = self.due_for_newest(key, entries, now_ms)
            if action:
                found.add((action, key, entries[-1].version_id))
            for place, entry in enumerate(entries[:-1]):
                since_ms = entries[place + 1].at_ms
                newer = sum(not other.is_marker for other in entries[place + 1 : -1])
                if self.goes(key, entry, since_ms, now_ms, newer):
                    found.add(("ExpireVersion", key, entry.version_id))
                elif self.moves(key, entry, since_ms, now_ms, newer):
                    found.add(("TransitionVersion", key, entry.version_id))
        return found

    def due_for_newest(self, key: str, entries: list[Entry], now_ms: int) -> str:
        newest = entries[-1]
        if newest.is_marker:
            is_unwanted = any(rule.removes_markers and self.about(rule, key, newest) for rule in self.rules)
            goes = len(entries) == 1 and (is_unwanted or self.is_expired(key, newest, now_ms))
            return "RemoveMarker" if goes else ""
        if self.is_expired(key, newest, now_ms):
            return "Expire"
        return "Transition" if self.moves(key, newest, newest.at_ms, now_ms, None) else ""

    def apply(self, plan: set[tuple[str, str, str]], now_ms: int, markers: dict[str, str]) -> None:
        for action, key, version_id in plan:
            if action == "AbortUpload":
                del self.uploads[version_id]
            elif action.startswith("Transition"):
                self.find(key, version_id).storage_class = COLD
            elif action != "Expire":
                self.keys[key] = [entry for entry in self.keys[key] if entry.version_id != version_id]
        for action, key, _ in plan:
            if action == "Expire":
                self.hide(key, markers.get(key, NULL), now_ms)
        self.keys = {key: entries for key, entries in self.keys.items() if entries}

    def find(self, key: str, version_id: str) -> Entry:
        return next(entry for entry in self.keys[key] if entry.version_id == version_id)


def stored(store: ObjectStore) -> dict[str, list[Entry]]:
    """Read everything back from the tables."""
    found: dict[str, list[Entry]] = {}
    rows = store.view().rows(
        "SELECT key, seq, version_id, modified_ms, size_bytes, attributes, 0, storage_class FROM object UNION ALL "
        "SELECT key, seq, version_id, modified_ms, size_bytes, attributes, is_marker, storage_class FROM version "
        "ORDER BY key, seq"
    )
    for key, _, version_id, at_ms, size, attributes, is_marker, storage_class in rows:
        tags = decode_attributes(attributes).tags
        entry = Entry(version_id, at_ms, size, tags, bool(is_marker), STANDARD if is_marker else storage_class)
        found.setdefault(key, []).append(entry)
    return found


def newest_markers(store: ObjectStore) -> dict[str, str]:
    return {key: entries[-1].version_id for key, entries in stored(store).items() if entries[-1].is_marker}


def carry_out(store: ObjectStore, clock: ManualClock, model: Model, step: tuple[Any, ...]) -> None:
    name, *rest = step
    if name == "put":
        key, size, tags = rest
        body = b"x" * size
        etag = hashlib.md5(body).hexdigest()
        request = PutRequest(BUCKET, key, stage_inline(body), etag, attributes=Attributes(tags=tags))
        record = store.commit(partial(put_object, request=request))
        model.put(key, Entry(record.version_id, clock.now_ms(), size, tags))
    elif name == "tag":
        key, tags = rest
        if key in model.keys and not model.keys[key][-1].is_marker:
            store.commit(lambda tx: set_tags(tx, BUCKET, key, None, tags))
            model.keys[key][-1].tags = tags
    elif name == "delete":
        outcome = store.commit(partial(delete_object, bucket_name=BUCKET, key=rest[0]))
        model.hide(rest[0], outcome.version_id or NULL, clock.now_ms())
    elif name == "upload":
        upload = store.commit(lambda tx: multipart.create_upload(tx, BUCKET, rest[0], attributes=Attributes()))
        model.uploads[upload.upload_id] = (rest[0], clock.now_ms())
    elif name == "versioning":
        store.commit(partial(buckets.set_versioning, name=BUCKET, versioning=rest[0]))
        model.versioning = rest[0]
    else:
        clock.advance(rest[0] * HOUR_MS)


def check_pass(store: ObjectStore, clock: ManualClock, model: Model, settings: Settings) -> None:
    """Let a pass run, and compare what it foretold, what it did and what is left with the model."""
    expected = model.plan(clock.now_ms())
    foretold = [
        (planned.action, planned.key, planned.version_id or NULL) for planned in LifecyclePass(store, settings).plan()
    ]
    assert len(foretold) == len(set(foretold))
    assert set(foretold) == expected
    headers = Lifecycles(store.view, store.generation, settings)
    for key, entries in stored(store).items():
        record = buckets_record(store, key)
        if record is not None:
            expiry = headers.expiry(BUCKET, record)
            is_due = expiry is not None and expiry.due_ms <= clock.now_ms()
            assert is_due == (("Expire", key, entries[-1].version_id) in expected)
    before = newest_markers(store)
    report = LifecyclePass(store, settings).run()
    assert sum(report.counts.values()) == len(expected)
    assert (report.spared, report.skipped, report.failed) == (0, 0, 0)
    made = {key: version_id for key, version_id in newest_markers(store).items() if before.get(key) != version_id}
    model.apply(expected, clock.now_ms(), made)


def buckets_record(store: ObjectStore, key: str) -> Any:
    from hosu.objects.versions import current

    view = store.view()
    return current(view, view.bucket(BUCKET).id, key)


@LISTINGS
@given(RULES, VERSIONINGS, st.lists(DAY, min_size=6, max_size=10), st.sampled_from(["", ALL_FROM_128K]), DAY_SECONDS)
def test_rules_do_what_a_plain_model_of_them_does(
    rules: list[Rule],
    versioning: Versioning,
    days: list[tuple[Any, ...]],
    minimum_size: str,
    day_seconds: int,
) -> None:
    named = tuple(msgspec.structs.replace(rule, id=f"rule-{place}") for place, rule in enumerate(rules))
    lifecycle = Lifecycle(named, minimum_size=minimum_size)
    settings = Settings(day_seconds=day_seconds)
    clock = ManualClock(START_MS)
    with scratch_folder() as folder, ObjectStore(Path(folder) / "lake", clock=clock, space_reserve_bytes=0) as store:
        store.commit(partial(buckets.create_bucket, name=BUCKET))
        store.commit(partial(set_lifecycle, bucket_name=BUCKET, lifecycle=lifecycle))
        model = Model(lifecycle, settings.day_seconds)
        if versioning != Versioning.NEVER:
            carry_out(store, clock, model, ("versioning", versioning))
        for puts, wait, other, another_wait in days:
            for step in (*puts, wait, other, another_wait):
                carry_out(store, clock, model, step)
            check_pass(store, clock, model, settings)
            assert stored(store) == model.keys
        begun = multipart.list_uploads(store.view(), BUCKET).uploads
        assert {upload.upload_id for upload in begun} == set(model.uploads)
        assert not find_faults(store)

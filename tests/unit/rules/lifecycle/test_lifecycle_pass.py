"""What a lifecycle pass does to a bucket, what it leaves alone, and what it says of it."""

import hashlib
import threading
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import msgspec
import pytest

from hosu.kernel.errors import ErrorKind, UnavailableError
from hosu.kernel.settings import Settings
from hosu.objects import buckets, multipart
from hosu.objects.aliases import set_alias
from hosu.objects.audit import read_outbox
from hosu.objects.blobs import stage_inline
from hosu.objects.buckets import create_bucket, set_document, set_versioning
from hosu.objects.delete import delete_object
from hosu.objects.feed import read_events
from hosu.objects.importing import ImportedVersion, import_key
from hosu.objects.protected import ProtectedPrefix, set_protected
from hosu.objects.put import PutRequest, put_object, set_tags
from hosu.objects.records import COLD, STANDARD, Attributes, LockMode, ObjectRecord, Versioning
from hosu.objects.retention import BucketLock, set_bucket_lock
from hosu.objects.store import ObjectStore
from hosu.objects.transaction import Tx
from hosu.objects.versions import current
from hosu.rules import cold
from hosu.rules.keeping import Keep
from hosu.rules.lifecycle import acting, planning, scanning
from hosu.rules.lifecycle.acting import STEPS_PER_TRANSACTION, LifecyclePass, plan
from hosu.rules.lifecycle.job import BUSY_S, LifecycleJob
from hosu.rules.lifecycle.keeping import Lifecycles, set_lifecycle
from hosu.rules.lifecycle.model import DAY_MS, DOCUMENT, Filter, Lifecycle, NoncurrentTransition, Rule, Transition
from hosu.rules.lifecycle.planning import steps
from hosu.rules.wanted import WANTED
from hosu.testing.lake_check import find_faults
from hosu.testing.manual_clock import ManualClock

BUCKET = "images"
SETTINGS = Settings()
Put = Callable[..., ObjectRecord]
Set = Callable[..., None]


def keys(store: ObjectStore) -> list[str]:
    return [key for (key,) in store.view().rows("SELECT key FROM object ORDER BY key")]


def versions(store: ObjectStore) -> list[tuple[str, bool]]:
    rows = store.view().rows("SELECT key, is_marker FROM version ORDER BY key, seq")
    return [(key, bool(is_marker)) for key, is_marker in rows]


def audit(store: ObjectStore) -> list[dict[str, Any]]:
    lines = [msgspec.json.decode(row.body) for row in read_outbox(store.view(), 0, 1000)]
    return [line for line in lines if line["principal"] == "hosu:lifecycle"]


def run(store: ObjectStore, **more: Any) -> acting.Report:
    report = LifecyclePass(store, SETTINGS).run(**more)
    assert not find_faults(store)
    return report


def test_objects_go_with_the_midnight_after_their_days(
    store: ObjectStore, put: Put, rule: Set, clock: ManualClock
) -> None:
    clock.advance(DAY_MS // 2)
    put("raw/1")
    put("kept")
    rule(Rule("raw", filter=Filter(prefix="raw/"), expire_days=2))
    clock.advance(5 * DAY_MS // 2 - 1)
    assert run(store).counts == {}
    clock.advance(1)
    assert run(store).counts == {"Expire": 1}
    assert keys(store) == ["kept"]


def test_a_date_is_for_all_objects_whenever_they_were_written(
    store: ObjectStore, put: Put, rule: Set, clock: ManualClock
) -> None:
    at_ms = clock.now_ms() // DAY_MS * DAY_MS + DAY_MS
    put("old")
    rule(Rule("end", expire_at_ms=at_ms))
    assert run(store).counts == {}
    clock.set_now_ms(at_ms)
    put("new")
    assert run(store).counts == {"Expire": 2}


def test_in_a_bucket_with_versions_an_expired_object_is_hidden_and_kept(
    versioned: ObjectStore, put: Put, rule: Set, clock: ManualClock
) -> None:
    put("a")
    rule(Rule("r", expire_days=1))
    clock.advance(3 * DAY_MS)
    assert run(versioned).counts == {"Expire": 1}
    assert (keys(versioned), versions(versioned)) == ([], [("a", False), ("a", True)])
    clock.advance(3 * DAY_MS)
    assert run(versioned).counts == {}, "a marker in front of a version stays"


def test_while_versions_are_suspended_a_null_marker_takes_the_place_of_the_null_version(
    versioned: ObjectStore, put: Put, rule: Set, clock: ManualClock
) -> None:
    first = put("a")
    versioned.commit(partial(set_versioning, name=BUCKET, versioning=Versioning.SUSPENDED))
    put("a", b"null")
    rule(Rule("r", expire_days=1))
    clock.advance(3 * DAY_MS)
    run(versioned)
    rows = versioned.view().rows("SELECT version_id, is_marker FROM version ORDER BY seq")
    assert rows == [(first.version_id, 0), ("null", 1)]


def test_old_versions_go_by_when_they_were_replaced_but_for_the_newest(
    versioned: ObjectStore, put: Put, rule: Set, clock: ManualClock
) -> None:
    for number in range(5):
        put("a", b"%d" % number)
        clock.advance(DAY_MS)
    rule(Rule("r", noncurrent_days=2, noncurrent_keep=1))
    planned = list(plan(versioned, SETTINGS))
    assert [one.action for one in planned] == ["ExpireVersion"] * len(planned)
    assert run(versioned).counts == {"ExpireVersion": 2}
    clock.advance(30 * DAY_MS)
    assert run(versioned).counts == {"ExpireVersion": 1}
    assert (keys(versioned), versions(versioned)) == (["a"], [("a", False)])


def test_a_version_is_not_old_for_longer_than_it_is_there(
    versioned: ObjectStore, put: Put, rule: Set, clock: ManualClock
) -> None:
    """What an import puts on top of it may be years old by its own time."""
    held = put("a", b"new")
    imported = ImportedVersion(
        version_id="00000001-1111-2222-3333-444444444444",
        body=stage_inline(b"old"),
        etag=hashlib.md5(b"old").hexdigest(),
        modified_ms=held.modified_ms - 900 * DAY_MS,
    )
    verb = partial(import_key, bucket_name=BUCKET, key="a", versions=[imported], newest_seq=held.seq)
    versioned.commit(verb)
    rule(Rule("r", noncurrent_days=30))
    assert list(plan(versioned, SETTINGS)) == []
    clock.advance(30 * DAY_MS)
    assert run(versioned).counts == {}
    clock.advance(DAY_MS)
    assert run(versioned).counts == {"ExpireVersion": 1}


def test_an_old_version_is_judged_by_what_replaced_it_not_by_what_goes_beside_it(
    versioned: ObjectStore, put: Put, rule: Set, clock: ManualClock
) -> None:
    put("a", tags={"keep": "long"})
    clock.advance(DAY_MS)
    put("a", tags={"keep": "short"})
    clock.advance(10 * DAY_MS)
    put("a")
    rule(
        Rule("long", filter=Filter(tags={"keep": "long"}), noncurrent_days=8),
        Rule("short", filter=Filter(tags={"keep": "short"}), noncurrent_days=1),
    )
    clock.advance(3 * DAY_MS)
    assert run(versioned).counts == {"ExpireVersion": 2}


def test_a_marker_goes_when_nothing_is_left_behind_it(
    versioned: ObjectStore, put: Put, rule: Set, clock: ManualClock
) -> None:
    put("a")
    versioned.commit(partial(delete_object, bucket_name=BUCKET, key="a"))
    rule(Rule("r", removes_markers=True, noncurrent_days=1))
    assert run(versioned).counts == {}
    clock.advance(3 * DAY_MS)
    assert run(versioned).counts == {"ExpireVersion": 1}
    assert run(versioned).counts == {"RemoveMarker": 1}
    assert versions(versioned) == []


def test_days_of_expiration_are_for_a_marker_that_is_alone_too(
    versioned: ObjectStore, rule: Set, clock: ManualClock
) -> None:
    versioned.commit(partial(delete_object, bucket_name=BUCKET, key="a"))
    rule(Rule("r", expire_days=5))
    clock.advance(5 * DAY_MS)
    assert run(versioned).counts == {}
    clock.advance(DAY_MS)
    assert run(versioned).counts == {"RemoveMarker": 1}


def test_uploads_are_given_up_with_their_parts(store: ObjectStore, rule: Set, clock: ManualClock) -> None:
    for key in ("a/1", "b/1"):
        upload = store.commit(partial(multipart.create_upload, bucket_name=BUCKET, key=key, attributes=Attributes()))
        place: dict[str, Any] = {"bucket_name": BUCKET, "key": key, "upload_id": upload.upload_id}
        store.commit(partial(multipart.add_part, **place, number=1, body=stage_inline(b"x"), etag="e"))
    rule(Rule("r", filter=Filter(prefix="a/"), abort_days=1))
    clock.advance(3 * DAY_MS)
    report = run(store)
    assert (report.counts, report.bytes) == ({"AbortUpload": 1}, {"AbortUpload": 1})
    assert [upload.key for upload in multipart.list_uploads(store.view(), BUCKET).uploads] == ["b/1"]
    (line,) = audit(store)
    assert (line["operation"], line["bucket"], line["key"]) == ("lifecycle:AbortUpload", BUCKET, "a/1")


def test_an_object_changes_its_class_and_nothing_else(
    store: ObjectStore, put: Put, rule: Set, clock: ManualClock
) -> None:
    before = put("a", b"text " * 1000, tags={"k": "v"})
    rule(Rule("r", transitions=(Transition(COLD, days=1),)))
    clock.advance(3 * DAY_MS)
    assert run(store).counts == {"Transition": 1}
    view = store.view()
    after = current(view, view.bucket(BUCKET).id, "a")
    assert after is not None
    changed = msgspec.structs.replace(after, storage_class=STANDARD, blob_id=before.blob_id)
    assert (after.storage_class, changed) == (COLD, before)
    assert run(store).counts == {}, "it is there already"


def test_old_versions_change_their_class_by_when_they_were_replaced(
    versioned: ObjectStore, put: Put, rule: Set, clock: ManualClock
) -> None:
    put("a", b"text " * 1000)
    put("a", b"other " * 1000)
    rule(Rule("r", noncurrent_transitions=(NoncurrentTransition(COLD, 1),)))
    clock.advance(3 * DAY_MS)
    assert run(versioned).counts == {"TransitionVersion": 1}
    assert versioned.view().rows("SELECT storage_class FROM version") == [(COLD,)]
    assert versioned.view().rows("SELECT storage_class FROM object") == [(STANDARD,)]


def test_the_latest_change_of_class_that_is_due_counts(
    store: ObjectStore, put: Put, rule: Set, clock: ManualClock
) -> None:
    put("a")
    rule(Rule("r", transitions=(Transition(COLD, days=1), Transition("GLACIER", days=5))))
    clock.advance(3 * DAY_MS)
    run(store)
    clock.advance(5 * DAY_MS)
    assert run(store).counts == {"Transition": 1}
    assert store.view().value("SELECT storage_class FROM object") == "GLACIER"
    assert run(store).counts == {}


def test_what_must_stay_is_spared_and_counted(store: ObjectStore, put: Put, rule: Set, clock: ManualClock) -> None:
    put("a/1")
    put("b/1")
    rule(Rule("r", expire_days=1))
    # As when an alias comes to show what a rule is about: the list itself refuses such a prefix.
    store.commit(partial(set_protected, entries=[ProtectedPrefix(BUCKET, "b/")]))
    clock.advance(3 * DAY_MS)
    counted: dict[str, int] = {}
    report = LifecyclePass(store, SETTINGS, counted.__setitem__).run()
    assert (report.counts, report.spared, keys(store)) == ({"Expire": 1}, 1, ["b/1"])
    assert counted["rule_spared/lifecycle"] == 1
    assert counted["rule_actions/lifecycle/Expire"] == 1
    assert counted["rule_bytes/lifecycle/Expire"] == 4
    assert [line["key"] for line in audit(store)] == ["a/1"]


def test_every_action_is_audited_with_its_reason_and_told_to_the_feed(
    store: ObjectStore, put: Put, rule: Set, clock: ManualClock
) -> None:
    put("a")
    put("b")
    rule(Rule("r", expire_days=1))
    clock.advance(3 * DAY_MS)
    foretold = list(plan(store, SETTINGS))
    run(store)
    assert [(line["key"], line["operation"], line["reason"]) for line in audit(store)] == [
        (one.key, f"lifecycle:{one.action}", one.reason) for one in foretold
    ]
    assert "'r' expires objects 1 day after they were written" in foretold[0].reason
    events = [event for event in read_events(store.view(), limit=100) if event.kind.startswith("ObjectRemoved")]
    assert {(event.key, event.actor) for event in events} == {("a", "hosu:lifecycle"), ("b", "hosu:lifecycle")}


def test_a_dry_run_changes_nothing_and_says_exactly_what_a_run_does(
    versioned: ObjectStore, put: Put, rule: Set, clock: ManualClock
) -> None:
    for key in ("a", "b", "a"):
        put(key)
    rule(Rule("r", expire_days=1, noncurrent_days=1))
    clock.advance(3 * DAY_MS)
    first, second = list(plan(versioned, SETTINGS)), list(plan(versioned, SETTINGS))
    assert first == second
    assert [(one.action, one.key) for one in first] == [("ExpireVersion", "a"), ("Expire", "a"), ("Expire", "b")]
    assert first[0].rule == "lifecycle:r"
    assert run(versioned).counts == {"ExpireVersion": 1, "Expire": 2}


def test_what_changed_after_it_was_planned_is_left_alone(
    store: ObjectStore, put: Put, rule: Set, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    for key in ("replaced", "tagged", "gone", "same"):
        put(key, tags={"k": "v"})
    rule(Rule("r", filter=Filter(tags={"k": "v"}), expire_days=1))
    clock.advance(3 * DAY_MS)

    def changed_after(view: Any, scope: Any) -> Iterator[list[Any]]:
        found = list(planned(view, scope))
        put("replaced", tags={"k": "v"})
        store.commit(lambda tx: set_tags(tx, BUCKET, "tagged", None, {"k": "w"}))
        store.commit(partial(delete_object, bucket_name=BUCKET, key="gone"))
        yield from found

    planned = steps
    monkeypatch.setattr(acting, "steps", changed_after)
    report = run(store)
    assert (report.counts, report.skipped) == ({"Expire": 1}, 3)
    assert keys(store) == ["replaced", "tagged"]
    assert [line["key"] for line in audit(store)] == ["same"]


def test_rules_that_changed_after_the_plan_end_it(
    store: ObjectStore, put: Put, rule: Set, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    put("a")
    rule(Rule("r", expire_days=1))
    clock.advance(3 * DAY_MS)

    def changed_after(view: Any, scope: Any) -> Iterator[list[Any]]:
        found = list(planned(view, scope))
        store.commit(partial(set_lifecycle, bucket_name=BUCKET, lifecycle=None))
        yield from found

    planned = steps
    monkeypatch.setattr(acting, "steps", changed_after)
    assert run(store).skipped == 1
    assert keys(store) == ["a"]


def test_rules_go_by_where_objects_are_stored_not_by_the_names_aliases_give_them(
    store: ObjectStore, put: Put, rule: Set, clock: ManualClock
) -> None:
    put("v1/a")
    store.commit(partial(set_alias, bucket_name=BUCKET, prefix="current/", target="v1/"))
    rule(Rule("r", filter=Filter(prefix="current/"), expire_days=1))
    clock.advance(3 * DAY_MS)
    assert run(store).counts == {}
    view = store.view()
    record = current(view, view.bucket(BUCKET).id, "v1/a")
    assert record is not None
    shown = msgspec.structs.replace(record, key="current/a")
    headers = Lifecycles(store.view, store.generation, SETTINGS)
    assert headers.expiry(BUCKET, shown) is None
    rule(Rule("r", filter=Filter(prefix="v1/"), expire_days=1))
    expiry = headers.expiry(BUCKET, shown)
    assert expiry is not None
    assert expiry.rule.id == "r"
    assert run(store).counts == {"Expire": 1}


def test_what_a_table_is_made_of_does_not_expire(store: ObjectStore, put: Put, rule: Set, clock: ManualClock) -> None:
    store.commit(partial(create_bucket, name="paimon"))
    table = ["warehouse/d.db/t/bucket-0/data-1", "warehouse/d.db/t/snapshot/snapshot-1"]
    others = ["warehouse/d.db/x", "warehouse/notes/a/b", "raw/d.db/t/a"]
    records = [put(key, bucket="paimon") for key in (*table, *others)]
    put(table[0])
    rule(Rule("all", expire_days=1), bucket="paimon")
    rule(Rule("all", expire_days=1))
    headers = Lifecycles(store.view, store.generation, SETTINGS)
    assert [record.key for record in records if headers.expiry("paimon", record) is None] == table
    clock.advance(3 * DAY_MS)

    assert sorted(step.key for step in LifecyclePass(store, SETTINGS).plan("paimon")) == sorted(others)
    run(store)

    rows = store.view().rows("SELECT key FROM object ORDER BY key")
    assert [row[0] for row in rows] == table


def test_of_two_rules_the_earlier_one_says_when_an_object_expires(store: ObjectStore, put: Put, rule: Set) -> None:
    record = put("a")
    headers = Lifecycles(store.view, store.generation, SETTINGS)
    assert headers.expiry(BUCKET, record) is None
    rule(Rule("late", expire_days=9), Rule("off", expire_days=1, is_enabled=False), Rule("soon", expire_days=2))
    expiry = headers.expiry(BUCKET, record)
    assert expiry is not None
    assert expiry.rule.id == "soon"
    assert headers.expiry(BUCKET, msgspec.structs.replace(record, is_latest=False)) is None


def test_more_objects_than_a_page_and_a_transaction_hold_all_go(
    store: ObjectStore, rule: Set, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    count = STEPS_PER_TRANSACTION + 44

    def fill(tx: Tx) -> None:
        for number in range(count):
            put_object(tx, PutRequest(BUCKET, f"k/{number:05}\x00", stage_inline(b"x"), "e"))
            put_object(tx, PutRequest(BUCKET, f"l/{number:05}", stage_inline(b"x"), "e"))

    store.commit(fill)
    rule(Rule("r", filter=Filter(prefix="k/"), expire_days=1))
    clock.advance(3 * DAY_MS)
    monkeypatch.setattr(scanning, "KEYS_PER_PAGE", 7)
    assert run(store).counts == {"Expire": count}
    assert len(keys(store)) == count
    monkeypatch.setattr(scanning, "KEYS_PER_PAGE", 10_000)
    rule(Rule("r", filter=Filter(prefix="l/"), expire_days=1))
    assert run(store).counts == {"Expire": count}


@pytest.mark.parametrize("most", [scanning.CONDITIONS_MAX, 0])
def test_many_rules_are_all_applied_whether_a_statement_has_room_for_them_or_not(
    store: ObjectStore, put: Put, rule: Set, clock: ManualClock, monkeypatch: pytest.MonkeyPatch, most: int
) -> None:
    monkeypatch.setattr(planning, "CONDITIONS_MAX", most)
    for number in range(0, 1000, 20):
        put(f"{number}/a")
    rules = [Rule(f"r{number}", filter=Filter(prefix=f"{number}/"), expire_days=number + 1) for number in range(1000)]
    rule(*rules)
    clock.advance(502 * DAY_MS)
    assert run(store).counts == {"Expire": 26}


def test_a_pass_that_is_told_to_stop_ends_with_the_batch_under_way(
    store: ObjectStore, put: Put, rule: Set, clock: ManualClock
) -> None:
    store.commit(partial(create_bucket, name="other"))
    put("a")
    put("a", bucket="other")
    rule(Rule("r", expire_days=1))
    rule(Rule("r", expire_days=1), bucket="other")
    clock.advance(3 * DAY_MS)
    stop = threading.Event()
    stop.set()
    assert sum(run(store, stop=stop).counts.values()) <= 1
    assert sum(run(store).counts.values()) >= 1
    assert keys(store) == []


def test_a_bucket_can_be_done_alone(store: ObjectStore, put: Put, rule: Set, clock: ManualClock) -> None:
    store.commit(partial(create_bucket, name="other"))
    put("a")
    put("b", bucket="other")
    rule(Rule("r", expire_days=1))
    rule(Rule("r", expire_days=1), bucket="other")
    clock.advance(3 * DAY_MS)
    assert [one.bucket for one in LifecyclePass(store, SETTINGS).plan("other")] == ["other"]
    run(store, bucket="other")
    assert keys(store) == ["a"]


def test_rules_that_cannot_be_read_do_not_keep_other_buckets_from_theirs(
    store: ObjectStore, put: Put, rule: Set, clock: ManualClock
) -> None:
    store.commit(partial(create_bucket, name="broken"))
    store.commit(partial(set_document, name="broken", kind=DOCUMENT, body="{"))
    put("a")
    rule(Rule("r", expire_days=1))
    clock.advance(3 * DAY_MS)
    report = run(store)
    assert (report.failed, report.counts) == (1, {"Expire": 1})


def test_two_passes_never_overlap(store: ObjectStore) -> None:
    with (
        LifecyclePass(store, SETTINGS)._alone(),
        pytest.raises(UnavailableError, match="under way") as refused,
    ):
        LifecyclePass(store, SETTINGS).run()
    assert refused.value.kind == ErrorKind.LAKE_LOCKED
    assert run(store).counts == {}


def test_the_job_is_wanted_with_a_bucket_that_has_rules_and_comes_again_each_hour(
    store: ObjectStore, rule: Set
) -> None:
    wanted = WANTED[LifecycleJob.name]
    assert not wanted(store.view(), SETTINGS)
    rule(Rule("r", expire_days=1))
    assert wanted(store.view(), SETTINGS)
    job = LifecycleJob(Keep(store, SETTINGS, lambda _name, _number: None))
    assert job.run(threading.Event()) == 3600
    short = LifecycleJob(Keep(store, Settings(day_seconds=3), lambda _name, _number: None))
    assert short.run(threading.Event()) == 1
    with LifecyclePass(store, SETTINGS)._alone():
        assert job.run(threading.Event()) == BUSY_S


def test_a_bucket_deleted_after_the_plan_is_no_matter(
    store: ObjectStore, put: Put, rule: Set, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    put("a")
    rule(Rule("r", expire_days=1))
    clock.advance(3 * DAY_MS)

    def deleted_after(view: Any, scope: Any) -> Iterator[list[Any]]:
        found = list(planned(view, scope))
        store.commit(partial(delete_object, bucket_name=BUCKET, key="a"))
        store.commit(partial(buckets.delete_bucket, name=BUCKET))
        yield from found

    planned = steps
    monkeypatch.setattr(acting, "steps", deleted_after)
    assert LifecyclePass(store, SETTINGS).run().skipped == 1


def test_rules_with_lifecycle_of_none_are_forgotten_by_the_memory_of_readers(
    store: ObjectStore, put: Put, rule: Set
) -> None:
    record = put("a")
    headers = Lifecycles(store.view, store.generation, SETTINGS)
    rule(Rule("r", expire_days=2))
    assert headers.expiry(BUCKET, record) is not None
    store.commit(partial(set_lifecycle, bucket_name=BUCKET, lifecycle=None))
    assert headers.expiry(BUCKET, record) is None
    assert headers.expiry("missing", record) is None
    assert Lifecycle(()).moves_small


def test_objects_are_read_though_their_buckets_rules_cannot_be(store: ObjectStore, put: Put) -> None:
    record = put("a")
    store.commit(partial(set_document, name=BUCKET, kind=DOCUMENT, body="{"))
    assert Lifecycles(store.view, store.generation, SETTINGS).expiry(BUCKET, record) is None


def test_a_full_disk_ends_moving_and_nothing_else(
    store: ObjectStore, put: Put, rule: Set, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    for key in ("cold/1", "cold/2", "gone"):
        put(key)
    rule(
        Rule("cold", filter=Filter(prefix="cold/"), transitions=(Transition(COLD, days=1),)),
        Rule("gone", filter=Filter(prefix="gone"), expire_days=1),
    )
    clock.advance(3 * DAY_MS)
    tried: list[str] = []

    def refuse(_store: ObjectStore, _bucket: str, key: str, _seq: int, **_: Any) -> bool:
        tried.append(key)
        raise UnavailableError(ErrorKind.DISK_FULL, "no room")

    monkeypatch.setattr(cold, "transition", refuse)
    report = run(store)
    assert (tried, report.failed, report.counts) == (["cold/1"], 1, {"Expire": 1})
    monkeypatch.undo()
    assert run(store).counts == {"Transition": 2}


def test_locked_versions_stay_until_their_lock_ends(store: ObjectStore, rule: Set, clock: ManualClock) -> None:
    store.commit(partial(set_versioning, name=BUCKET, versioning=Versioning.ENABLED))
    store.commit(partial(set_bucket_lock, name=BUCKET, lock=BucketLock(LockMode.COMPLIANCE, days=10)))
    for body in (b"1", b"2"):
        request = PutRequest(BUCKET, "a", stage_inline(body), "e")
        store.commit(partial(put_object, request=request))
    rule(Rule("r", noncurrent_days=1))
    clock.advance(3 * DAY_MS)
    report = run(store)
    assert (report.counts, report.spared) == ({}, 1)
    clock.advance(10 * DAY_MS)
    assert run(store).counts == {"ExpireVersion": 1}


def test_a_pass_that_gives_way_ends_moving_when_there_may_be_something_else_to_do(
    store: ObjectStore, put: Put, rule: Set, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(4):
        put(f"cold/{number}")
    rule(Rule("cold", transitions=(Transition(COLD, days=1),)))
    clock.advance(3 * DAY_MS)
    store.commit(partial(create_bucket, name="other"))
    moved = cold.transition

    days = iter((1, 2))

    def disturbed(*arguments: Any, **more: Any) -> bool:
        store.commit(Tx.change_access)
        for day in days:
            rule(Rule("r", expire_days=day), bucket="other")
            break
        return moved(*arguments, **more)

    monkeypatch.setattr(cold, "transition", disturbed)
    report = run(store, gives_way=True)
    assert (report.counts, report.is_cut) == ({"Transition": 1}, True)
    job = LifecycleJob(Keep(store, SETTINGS, lambda _name, _number: None))
    assert job.run(threading.Event()) == 0
    assert run(store).counts == {"Transition": 2}, "who does not give way does it all"
    assert job.run(threading.Event()) == 3600


def test_nothing_is_moved_by_rules_that_were_changed_meanwhile(
    store: ObjectStore, put: Put, rule: Set, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(3):
        put(f"cold/{number}")
    rule(Rule("cold", transitions=(Transition(COLD, days=1),)))
    clock.advance(3 * DAY_MS)
    moved = cold.transition

    def disturbed(*arguments: Any, **more: Any) -> bool:
        store.commit(partial(set_lifecycle, bucket_name=BUCKET, lifecycle=None))
        return moved(*arguments, **more)

    monkeypatch.setattr(cold, "transition", disturbed)
    report = run(store)
    assert (report.counts, report.skipped) == ({"Transition": 1}, 2)

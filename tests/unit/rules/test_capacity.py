"""Making room: the oldest goes first, really, and what is spared, locked or kept stays."""

import os
import threading
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

import hosu
from hosu.kernel.errors import ConflictError, ErrorKind, HosuError, NotFoundError
from hosu.kernel.limits import KIB, MIB
from hosu.kernel.settings import Settings
from hosu.lake import Bucket, Lake
from hosu.objects.alerts import Severity, list_alerts
from hosu.objects.audit import read_outbox
from hosu.objects.blobs import stage_inline
from hosu.objects.multipart import add_part, create_upload
from hosu.objects.protected import ProtectedPrefix
from hosu.objects.records import Attributes
from hosu.objects.sweep import sweep
from hosu.objects.transaction import Tx
from hosu.rules import making_room
from hosu.rules.capacity import CapacityRule, Gauge, get_capacity, measure, remove_capacity, set_capacity
from hosu.rules.capacity_job import CapacityJob
from hosu.rules.keeping import Keep
from hosu.rules.making_room import Doomed, make_room, plan_room
from hosu.rules.protection import protect
from hosu.rules.wanted import WANTED
from hosu.testing.lake_check import find_faults
from hosu.testing.manual_clock import ManualClock

SETTINGS = Settings()
DAY_MS = 24 * 3600 * 1000


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def lake(tmp_path: Path, clock: ManualClock) -> Iterator[Lake]:
    with hosu.open(tmp_path / "lake", clock=clock) as opened:
        yield opened


@pytest.fixture
def bucket(lake: Lake) -> Bucket:
    return lake.create_bucket("images")


def carry_out(batch: list[Doomed], rule: CapacityRule, gauge: Gauge) -> Callable[[Tx], tuple[list[Doomed], bool]]:
    return partial(making_room._carry_out, batch=batch, rule=rule, gauge=gauge, settings=SETTINGS)


class Counted(dict[str, int]):
    def __call__(self, name: str, number: int) -> None:
        self[name] = self.get(name, 0) + number


def fill(bucket: Bucket, clock: ManualClock, *keys: str, size: int = 100) -> None:
    """Store objects, a second apart."""
    for key in keys:
        clock.advance(1000)
        bucket.put(key, (key.encode() * size)[:size])


def rule_of(lake: Lake, *, force: bool = False, **fields: Any) -> CapacityRule:
    rule = CapacityRule(**fields)
    lake.store.commit(partial(set_capacity, rule=rule, allows_below_use=force))
    return rule


def planned(lake: Lake) -> list[tuple[str, str]]:
    """Return what a dry run shows."""
    store = lake.store
    rule = get_capacity(store.view())
    assert rule is not None
    found = [each for doomed in plan_room(store, store.view(), rule, SETTINGS) for each in doomed.planned()]
    assert all(each.reason and each.rule == "capacity" for each in found)
    return [(each.bucket, each.key) for each in found]


def run(lake: Lake) -> list[tuple[str, str]]:
    """Make room for real; return what went, an entry for each record."""
    went: list[tuple[str, str]] = []
    make_room(
        lake.store, SETTINGS, done=lambda doomed: went.extend((each.bucket, each.key) for each in doomed.planned())
    )
    return went


def held(lake: Lake) -> int:
    return lake.store.view().lake_held_bytes()


def keys(bucket: Bucket) -> list[str]:
    return [entry.key for entry in bucket.list()]


def job_of(lake: Lake) -> tuple[CapacityJob, Counted]:
    counted = Counted()
    return CapacityJob(Keep(store=lake.store, settings=SETTINGS, count=counted)), counted


def test_the_oldest_of_all_buckets_go_until_less_than_the_mark_is_used(
    lake: Lake, bucket: Bucket, clock: ManualClock
) -> None:
    other = lake.create_bucket("videos")
    fill(bucket, clock, "c", "b")
    fill(other, clock, "a")
    fill(bucket, clock, "d", "e", "f", "g", "h")
    rule_of(lake, quota_bytes=1000, high_water=0.8, low_water=0.6)
    expected = [("images", "c"), ("images", "b"), ("videos", "a")]
    assert planned(lake) == expected
    assert held(lake) == 800, "a dry run changes nothing"
    assert run(lake) == expected
    assert held(lake) == 500
    assert (keys(bucket), keys(other)) == (["d", "e", "f", "g", "h"], [])
    assert run(lake) == []
    assert find_faults(lake.store) == []


def test_what_tables_are_made_of_stays_but_older_versions_and_stale_uploads_there_go(
    lake: Lake, bucket: Bucket, clock: ManualClock
) -> None:
    warehouse = lake.create_bucket("paimon")
    warehouse.enable_versioning()
    table = "warehouse/d.db/t/"
    fill(warehouse, clock, f"{table}bucket-0/data-1", f"{table}bucket-0/data-1", f"{table}snapshot/snapshot-1")
    fill(warehouse, clock, "raw/old")
    fill(bucket, clock, "new")
    rule_of(lake, force=True, quota_bytes=300, high_water=0.1)

    expected = [("paimon", f"{table}bucket-0/data-1"), ("paimon", "raw/old"), ("images", "new")]
    assert planned(lake) == expected
    assert run(lake) == expected
    assert keys(warehouse) == [f"{table}bucket-0/data-1", f"{table}snapshot/snapshot-1"]
    assert held(lake) == 200

    job_of(lake)[0].run(threading.Event())
    (alert,) = list_alerts(lake.store.view())
    assert "paimon/warehouse/: tables are there" in alert.message


def test_below_the_mark_nothing_goes_and_at_it_one_does(lake: Lake, bucket: Bucket, clock: ManualClock) -> None:
    rule_of(lake, quota_bytes=1000, high_water=0.8)
    fill(bucket, clock, *"abcdefg", size=114)
    assert held(lake) == 798
    assert planned(lake) == []
    bucket.put("z", b"xx")
    assert planned(lake) == [("images", "a")]
    assert run(lake) == [("images", "a")]


def test_in_a_versioned_bucket_old_versions_go_first_and_no_marker_is_left(
    lake: Lake, bucket: Bucket, clock: ManualClock
) -> None:
    bucket.enable_versioning()
    fill(bucket, clock, "a", "b", "a", "c")
    clock.advance(1000)
    bucket.delete("c")
    fill(bucket, clock, "d")
    rule_of(lake, quota_bytes=500, high_water=0.5)
    expected = [("images", "a"), ("images", "c"), ("images", "c"), ("images", "b")]
    assert planned(lake) == expected
    assert run(lake) == expected
    assert held(lake) == 200
    assert [(info.key, info.is_marker) for info in bucket.versions()] == [("a", False), ("d", False)]
    rule_of(lake, quota_bytes=500, high_water=0.1)
    assert run(lake) == [("images", "a"), ("images", "d")]
    assert list(bucket.versions()) == []
    assert find_faults(lake.store) == []


def test_uploads_begun_a_day_ago_go_before_anything_and_others_stay(
    lake: Lake, bucket: Bucket, clock: ManualClock
) -> None:
    def begin(tx: Tx, key: str) -> None:
        upload = create_upload(tx, "images", key, attributes=Attributes())
        add_part(tx, "images", key, upload.upload_id, 1, body=stage_inline(b"p" * 200), etag="00" * 16)

    lake.store.commit(partial(begin, key="late.bin"))
    clock.advance(DAY_MS)
    lake.store.commit(partial(begin, key="young.bin"))
    fill(bucket, clock, "a", "b")
    rule_of(lake, quota_bytes=600, high_water=0.8)
    assert planned(lake) == [
        ("images", "late.bin"),
    ]
    assert run(lake) == [("images", "late.bin")]
    assert held(lake) == 400
    rule_of(lake, quota_bytes=600, high_water=0.1)
    assert run(lake) == [("images", "a"), ("images", "b")]
    assert held(lake) == 200
    assert find_faults(lake.store) == []


def test_what_is_protected_aliased_locked_kept_or_out_of_scope_stays(
    lake: Lake, bucket: Bucket, clock: ManualClock
) -> None:
    fill(bucket, clock, "protected/a", "shown/a", "kept/a", "free/a")
    lake.create_bucket("elsewhere").put("a", b"x" * 100)
    lake.store.commit(partial(protect, entry=ProtectedPrefix("images", "protected/")))
    bucket.alias("current/").set("shown/")
    rule_of(lake, quota_bytes=1000, high_water=0.01, keep=("images/kept/",), buckets=("images",))
    assert planned(lake) == [("images", "free/a")]
    assert run(lake) == [("images", "free/a")]
    assert keys(bucket) == ["current/a", "kept/a", "protected/a", "shown/a"]
    assert find_faults(lake.store) == []


def test_what_becomes_spared_between_the_plan_and_its_transaction_stays(
    lake: Lake, bucket: Bucket, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(bucket, clock, "a/1", "b/1", "c/1", "d/1")
    rule_of(lake, quota_bytes=400, high_water=0.01)
    carries_out = making_room._carry_out

    def late(tx: Tx, **given: Any) -> Any:
        from hosu.objects.aliases import set_alias

        set_alias(tx, "images", "current/", "a/")
        protect(tx, ProtectedPrefix("images", "b/"))
        return carries_out(tx, **given)

    clock.advance(1000)
    bucket.put("c/1", b"new")
    monkeypatch.setattr(making_room, "_carry_out", late)
    assert run(lake) == [("images", "d/1")]
    assert keys(bucket) == ["a/1", "b/1", "c/1", "current/1"]


def test_an_object_replaced_between_the_plan_and_its_transaction_stays(
    lake: Lake, bucket: Bucket, clock: ManualClock
) -> None:
    fill(bucket, clock, "a", "b")
    rule = rule_of(lake, quota_bytes=200, high_water=0.01)
    gauge = measure(lake.store, lake.store.view(), rule)
    batch = list(plan_room(lake.store, lake.store.view(), rule, SETTINGS, gauge))
    bucket.put("a", b"new")
    went, _ = lake.store.commit(carry_out(batch, rule, gauge))
    assert [doomed.key for doomed in went] == ["b"]
    assert bucket.get("a") == b"new"


def test_a_version_put_between_the_plan_and_its_transaction_stays(lake: Lake, clock: ManualClock) -> None:
    versioned = lake.create_bucket("versioned")
    versioned.enable_versioning()
    fill(versioned, clock, "a", "b", "c")
    rule = rule_of(lake, quota_bytes=310, high_water=0.01)
    gauge = measure(lake.store, lake.store.view(), rule)
    batch = list(plan_room(lake.store, lake.store.view(), rule, SETTINGS, gauge))
    versioned.put("a", b"new")
    lake.store.commit(carry_out(batch, rule, gauge))
    assert versioned.get("a") == b"new"
    assert find_faults(lake.store) == []


def test_nothing_more_goes_than_must_when_others_delete_meanwhile(
    lake: Lake, bucket: Bucket, clock: ManualClock
) -> None:
    fill(bucket, clock, *"abcdefgh")
    rule = rule_of(lake, quota_bytes=1000, high_water=0.5)
    gauge = measure(lake.store, lake.store.view(), rule)
    batch = list(plan_room(lake.store, lake.store.view(), rule, SETTINGS, gauge))
    assert [doomed.key for doomed in batch] == ["a", "b", "c", "d"]
    bucket.delete_many(["e", "f", "g"])
    went, is_enough = lake.store.commit(carry_out(batch, rule, gauge))
    assert ([doomed.key for doomed in went], is_enough) == (["a"], True)


def test_a_rule_that_was_changed_meanwhile_deletes_nothing(lake: Lake, bucket: Bucket, clock: ManualClock) -> None:
    fill(bucket, clock, "a", "b")
    rule = rule_of(lake, quota_bytes=200, high_water=0.5)
    gauge = measure(lake.store, lake.store.view(), rule)
    batch = list(plan_room(lake.store, lake.store.view(), rule, SETTINGS, gauge))
    rule_of(lake, quota_bytes=2000, high_water=0.5)
    assert lake.store.commit(carry_out(batch, rule, gauge)) == ([], True)


def test_every_deletion_has_an_audit_line_with_its_reason(lake: Lake, bucket: Bucket, clock: ManualClock) -> None:
    fill(bucket, clock, "a", "b", "c")
    rule_of(lake, quota_bytes=300, high_water=0.8)
    latest = max(row.id for row in read_outbox(lake.store.view(), 0, 100))
    run(lake)
    rows = [row.body.decode() for row in read_outbox(lake.store.view(), latest, 100)]
    assert len(rows) == 1
    for text in ('"capacity:Delete"', '"hosu:capacity"', '"key":"a"', "300 of 300 bytes", "oldest"):
        assert text in rows[0]


@pytest.mark.usefixtures("bucket")
def test_an_abort_of_many_leaves_a_line_for_each(lake: Lake, clock: ManualClock) -> None:
    def begin(tx: Tx, key: str) -> None:
        upload = create_upload(tx, "images", key, attributes=Attributes())
        add_part(tx, "images", key, upload.upload_id, 1, body=stage_inline(b"p" * 200), etag="00" * 16)

    for key in "abc":
        lake.store.commit(partial(begin, key=key))
    clock.advance(DAY_MS)
    rule_of(lake, quota_bytes=600, high_water=0.01)
    latest = max(row.id for row in read_outbox(lake.store.view(), 0, 100))
    assert len(run(lake)) == 3
    rows = [row.body.decode() for row in read_outbox(lake.store.view(), latest, 100)]
    assert [text.count('"capacity:AbortUpload"') for text in rows] == [1, 1, 1]


def test_many_objects_go_in_their_order_over_many_windows(
    lake: Lake, bucket: Bucket, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(making_room, "WINDOW", 2)
    monkeypatch.setattr(making_room, "CHANGES_PER_TRANSACTION", 3)
    names = [f"{number * 37 % 101:03}" for number in range(40)]
    fill(bucket, clock, *names, size=10)
    rule_of(lake, quota_bytes=400, high_water=0.5)
    expected = [("images", name) for name in names[:21]]
    assert planned(lake) == expected
    assert run(lake) == expected


def test_locked_versions_and_keys_that_have_some_stay(lake: Lake, clock: ManualClock) -> None:
    from hosu.objects.retention import BucketLock, set_bucket_lock

    locked = lake.create_bucket("locked")
    locked.enable_versioning()
    fill(locked, clock, "free")
    from hosu.objects.records import LockMode

    lake.store.commit(partial(set_bucket_lock, name="locked", lock=BucketLock(LockMode.COMPLIANCE, days=1)))
    fill(locked, clock, "held", "held")
    rule_of(lake, quota_bytes=300, high_water=0.01)
    assert planned(lake) == [("locked", "free")]
    assert run(lake) == [("locked", "free")]
    clock.advance(2 * DAY_MS)
    assert run(lake) == [("locked", "held"), ("locked", "held")]


# Measured by the disk


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch, lake: Lake) -> dict[str, int]:
    """A disk of 10 MiB that says what of it is in use."""
    facts = {"used": 0}

    class Facts:
        f_frsize = KIB
        f_blocks = 10 * KIB
        f_bsize = KIB

        @property
        def f_bfree(self) -> int:
            return 10 * KIB - facts["used"] // KIB

        f_bavail = f_bfree

    monkeypatch.setattr(os, "statvfs", lambda _: Facts())
    monkeypatch.setattr(lake.store, "_space_reserve_bytes", 0)
    return facts


def test_without_a_quota_the_disk_counts_and_shared_bytes_go_with_the_last_that_has_them(
    lake: Lake, bucket: Bucket, clock: ManualClock, disk: dict[str, int]
) -> None:
    body = os.urandom(MIB)
    for key in ("twin-1", "alone", "twin-2"):
        clock.advance(1000)
        bucket.put(key, body if "twin" in key else os.urandom(MIB))
    for key in ("spared/a", "shares-with-spared"):
        clock.advance(1000)
        bucket.put(key, b"s" * MIB)
    rule_of(lake, high_water=0.8, keep=("images/spared/",))
    disk["used"] = 9 * MIB
    expected = [("images", "twin-1"), ("images", "alone"), ("images", "twin-2")]
    assert planned(lake) == expected, "one MiB is not enough, two are"
    assert run(lake) == expected
    assert measure(lake.store, lake.store.view(), CapacityRule(high_water=0.8)).used_bytes <= 7 * MIB
    assert run(lake) == [], "what was deleted counts as free before the sweep gives it back"
    assert keys(bucket) == ["shares-with-spared", "spared/a"]
    clock.advance(DAY_MS)
    assert sweep(lake.store).bytes == 2 * MIB
    assert find_faults(lake.store) == []


def test_on_a_disk_too_nothing_more_goes_when_others_make_room_meanwhile(
    lake: Lake, bucket: Bucket, clock: ManualClock, disk: dict[str, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(making_room, "CHANGES_PER_TRANSACTION", 1)
    monkeypatch.setattr(making_room, "MEASURE_PERIOD_S", 0.0)
    for key in "abcd":
        clock.advance(1000)
        bucket.put(key, os.urandom(MIB))
    rule_of(lake, high_water=0.5)
    disk["used"] = 9 * MIB
    assert len(planned(lake)) == 4
    freed = make_room(lake.store, SETTINGS, done=lambda _: disk.update(used=5 * MIB))
    assert (freed.deletions, freed.is_enough) == (1, True)
    assert keys(bucket) == ["b", "c", "d"]


def test_on_a_disk_nothing_goes_whose_bytes_somebody_else_keeps(
    lake: Lake, bucket: Bucket, disk: dict[str, int]
) -> None:
    bucket.put("spared/a", b"s" * MIB)
    bucket.put("copy", b"s" * MIB)
    rule_of(lake, high_water=0.5, keep=("images/spared/",))
    disk["used"] = 9 * MIB
    assert planned(lake) == []
    assert run(lake) == []


def test_parts_give_back_their_bytes(lake: Lake, bucket: Bucket, clock: ManualClock, disk: dict[str, int]) -> None:
    from hosu.objects.multipart import CompletedPart, CompleteRequest, complete_upload

    upload = lake.store.commit(partial(create_upload, bucket_name="images", key="big", attributes=Attributes()))
    parts = []
    for number in (1, 2):
        with lake.store.new_blob() as blob:
            blob.write(os.urandom(5 * MIB))
            staged = lake.store.finish_blob(blob)
        etag = f"{number:032x}"
        lake.store.commit(
            partial(
                add_part, bucket_name="images", key="big", upload_id=upload.upload_id, number=number, body=staged,
                etag=etag,
            )
        )  # fmt: skip
        parts.append(CompletedPart(number, etag))
    lake.store.commit(partial(complete_upload, request=CompleteRequest("images", "big", upload.upload_id, parts)))
    fill(bucket, clock, "small")
    rule = rule_of(lake, high_water=0.5)
    disk["used"] = 10 * MIB
    (doomed,) = plan_room(lake.store, lake.store.view(), rule, SETTINGS)
    assert (doomed.key, doomed.freed_bytes) == ("big", 10 * MIB)
    assert run(lake) == [("images", "big")]
    assert measure(lake.store, lake.store.view(), rule).used_bytes <= 0


# The rule itself


def test_a_quota_below_use_is_refused_unless_it_is_forced(lake: Lake, bucket: Bucket, clock: ManualClock) -> None:
    fill(bucket, clock, "a", "b")
    with pytest.raises(ConflictError, match="below what the lake holds") as refusal:
        rule_of(lake, quota_bytes=199)
    assert refusal.value.kind is ErrorKind.QUOTA_EXCEEDED
    assert get_capacity(lake.store.view()) is None
    rule_of(lake, quota_bytes=200)
    rule_of(lake, quota_bytes=199, force=True)
    with pytest.raises(ConflictError, match="the lake holds 200 of 199 bytes"):
        bucket.put("c", b"x")
    bucket.put("a", b"smaller")
    assert lake.store.commit(remove_capacity)
    assert not lake.store.commit(remove_capacity)
    bucket.put("c", b"x" * 1000)


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({}, "neither a quota nor a high mark"),
        ({"quota_bytes": -1}, "quota of -1 bytes"),
        ({"quota_bytes": 1 << 63}, "quota of"),
        ({"quota_bytes": 1, "high_water": 1.01}, "high_water 1.01"),
        ({"quota_bytes": 1, "high_water": float("nan")}, "high_water nan"),
        ({"quota_bytes": 1, "high_water": 0.5, "low_water": 0.6}, "low_water 0.6"),
        ({"quota_bytes": 1, "low_water": 0.6}, "low_water 0.6"),
        ({"quota_bytes": 1, "buckets": ("nowhere",)}, "nowhere"),
        ({"quota_bytes": 1, "keep": ("images",)}, "'images/'"),
        ({"quota_bytes": 1, "keep": ("nowhere/a/",)}, "nowhere"),
    ],
)
def test_what_cannot_be_meant_is_refused_and_changes_nothing(
    lake: Lake, bucket: Bucket, fields: dict[str, Any], named: str
) -> None:
    assert bucket.name
    with pytest.raises(HosuError) as refusal:
        rule_of(lake, **fields)
    assert named in refusal.value.message
    assert get_capacity(lake.store.view()) is None


def test_a_bucket_that_is_not_there_is_not_found(lake: Lake) -> None:
    with pytest.raises(NotFoundError):
        rule_of(lake, quota_bytes=1, buckets=("nowhere",))


def test_the_lake_quota_holds_over_all_buckets_in_one_transaction_too(lake: Lake, bucket: Bucket) -> None:
    from hosu.objects.put import PutRequest, put_object

    lake.create_bucket("videos")
    rule_of(lake, quota_bytes=100)

    def two(tx: Tx) -> None:
        put_object(tx, PutRequest("images", "a", stage_inline(b"x" * 60), "0" * 32))
        put_object(tx, PutRequest("videos", "a", stage_inline(b"x" * 60), "0" * 32))

    with pytest.raises(ConflictError) as refusal:
        lake.store.commit(two)
    assert refusal.value.details["scope"] == "lake"
    assert held(lake) == 0
    bucket.put("a", b"x" * 100)
    with pytest.raises(ConflictError):
        lake.bucket("videos").put("a", b"x")
    bucket.delete("a")
    lake.delete_bucket("images")
    lake.bucket("videos").put("a", b"x" * 100)


def test_a_quota_counts_at_once_in_another_process_of_the_lake(lake: Lake, bucket: Bucket) -> None:
    with hosu.open(lake.path) as other:
        bucket.put("a", b"x" * 60)
        rule_of(lake, quota_bytes=100)
        with pytest.raises(ConflictError):
            other.bucket("images").put("b", b"x" * 41)
        lake.store.commit(remove_capacity)
        other.bucket("images").put("b", b"x" * 41)


# The job


def test_the_job_says_at_the_mark_that_it_makes_room_and_that_all_is_well_a_day_afterwards(
    lake: Lake, bucket: Bucket, clock: ManualClock
) -> None:
    job, counted = job_of(lake)
    rule_of(lake, quota_bytes=1000, high_water=0.8)
    fill(bucket, clock, *"abcdefg")
    assert job.run(threading.Event()) == 1.0
    assert list_alerts(lake.store.view()) == []
    fill(bucket, clock, "h", "i")
    job.run(threading.Event())
    (alert,) = list_alerts(lake.store.view())
    assert (alert.kind, alert.severity) == ("capacity", Severity.WARNING)
    assert "900 of 1000 bytes" in alert.message
    assert counted == {"rule_actions/capacity/Delete": 2, "rule_bytes/capacity/Delete": 200}
    for _ in range(3):  # a lake that is always full tells once
        fill(bucket, clock, "j", "k", "l")
        job.run(threading.Event())
        assert [alert.count for alert in list_alerts(lake.store.view())] == [1]
    clock.advance(DAY_MS - 10_000)
    job.run(threading.Event())
    assert len(list_alerts(lake.store.view())) == 1
    clock.advance(1_000)
    job.run(threading.Event())
    assert list_alerts(lake.store.view()) == []
    assert len(list_alerts(lake.store.view(), resolved=True)) == 1


def test_when_nothing_more_may_go_the_alert_names_what_holds_the_space(
    lake: Lake, bucket: Bucket, clock: ManualClock
) -> None:
    job, counted = job_of(lake)
    fill(bucket, clock, "models/a", "models/b", "kept/a", "free")
    lake.store.commit(partial(protect, entry=ProtectedPrefix("images", "models/")))
    rule_of(lake, quota_bytes=400, high_water=0.1, keep=("images/kept/",))
    assert job.run(threading.Event()) == 1.0
    assert counted["rule_actions/capacity/Delete"] == 1
    assert job.run(threading.Event()) == 60.0
    (alert,) = list_alerts(lake.store.view())
    assert alert.severity is Severity.CRITICAL
    assert "images/models/: it is protected (200 bytes)" in alert.message
    assert "images/kept/: the rule keeps it (100 bytes)" in alert.message
    bucket.delete("kept/a")
    bucket.delete_many(["models/a", "models/b"])
    job.run(threading.Event())
    assert [alert.severity for alert in list_alerts(lake.store.view())] == [Severity.WARNING]
    lake.store.commit(remove_capacity)
    assert list_alerts(lake.store.view()) == []


def test_the_job_is_wanted_while_a_mark_is_set(lake: Lake) -> None:
    def is_wanted() -> bool:
        return WANTED["capacity"](lake.store.view(), SETTINGS)

    assert not is_wanted()
    rule_of(lake, quota_bytes=1000)
    assert not is_wanted()
    rule_of(lake, quota_bytes=1000, high_water=0.8)
    assert is_wanted()

"""The outbox of the audit log: what a verb leaves there, and what it does not."""

from collections.abc import Callable
from functools import partial
from pathlib import Path

import msgspec
import pytest
from tests.unit.objects.conftest import BUCKET, Commit, Put

from hosu.kernel.errors import ConflictError, HosuError
from hosu.objects.audit import AuditLine, Origin, count_outbox, format_time, read_outbox, remove_outbox
from hosu.objects.audit_switch import buckets_with_reads, has_reads, set_reads
from hosu.objects.buckets import create_bucket, delete_bucket, set_document, set_versioning
from hosu.objects.delete import delete_object
from hosu.objects.records import Versioning
from hosu.objects.store import ObjectStore
from hosu.objects.sweep import sweep
from hosu.objects.transaction import Tx
from hosu.objects.verified import mark_corrupt
from hosu.objects.writer import Outcome
from hosu.testing.manual_clock import ManualClock

ORIGIN = Origin("REQUEST1", "s3:PutObject", "alice", "ALICEKEY", "192.0.2.7", BUCKET, "a", "boto3", "s3:PutObject", 200)


def lines(store: ObjectStore, *, after: int = 0) -> list[AuditLine]:
    """Return what waits in the outbox, but for the making of the fixture's bucket."""
    rows = read_outbox(store.view(), after, 1_000)
    decoded = [msgspec.json.decode(row.line(), type=AuditLine) for row in rows]
    return [line for line in decoded if line.operation != "in-process:BucketCreated"]


def test_a_change_on_behalf_of_a_request_leaves_one_row_that_says_who_did_what(
    store: ObjectStore, clock: ManualClock
) -> None:
    store.commit(partial(set_versioning, name=BUCKET, versioning=Versioning.ENABLED), ORIGIN)
    (line,) = lines(store)
    assert line == AuditLine(
        id="2", time=format_time(clock.now_ms()), request_id="REQUEST1", operation="s3:PutObject", principal="alice",
        access_key="ALICEKEY", source_ip="192.0.2.7", user_agent="boto3", bucket=BUCKET, key="a",
        action="s3:PutObject", status=200,
    )  # fmt: skip


def test_a_row_tells_version_and_size_of_what_was_stored(store: ObjectStore, put: Put, commit: Commit) -> None:
    commit(set_versioning, name=BUCKET, versioning=Versioning.ENABLED)
    put("a", b"12345")
    version_id = put("a", b"123456").version_id
    line = lines(store)[-1]
    assert (line.version_id, line.bytes, line.key) == (version_id, 6, "a")


def test_bucket_and_key_come_from_the_event_where_the_request_does_not_name_them(store: ObjectStore) -> None:
    origin = msgspec.structs.replace(ORIGIN, bucket="", key="")
    store.commit(partial(create_bucket, name="made"), origin)
    assert [(line.bucket, line.key) for line in lines(store)] == [("made", "")]


def test_a_request_of_several_changes_in_one_verb_leaves_one_row(store: ObjectStore) -> None:
    def change(tx: Tx) -> None:
        create_bucket(tx, "one")
        create_bucket(tx, "two")

    store.commit(change, msgspec.structs.replace(ORIGIN, operation="admin:Both", bucket="both"))
    assert [(line.operation, line.bucket) for line in lines(store)] == [("admin:Both", "both")]


def test_a_verb_that_changes_nothing_leaves_no_row(store: ObjectStore) -> None:
    store.commit(partial(delete_object, bucket_name=BUCKET, key="not there"), ORIGIN)
    assert lines(store) == []


def test_a_refused_verb_leaves_no_row_and_spoils_no_others(store: ObjectStore, clock: ManualClock) -> None:
    del clock
    told: list[Outcome] = []

    class Waiter:
        def deliver(self, outcomes: list[Outcome]) -> None:
            told.extend(outcomes)

    waiter = Waiter()
    store.submit(partial(set_versioning, name=BUCKET, versioning=Versioning.ENABLED), waiter, None, ORIGIN)
    store.submit(partial(create_bucket, name=BUCKET), waiter, None, ORIGIN)
    store.submit(partial(create_bucket, name="third"), waiter, None, msgspec.structs.replace(ORIGIN, bucket="third"))
    store.commit(count_outbox)
    assert [outcome.error is None for outcome in told] == [True, False, True]
    assert [line.bucket for line in lines(store)] == [BUCKET, "third"]


def test_a_verb_that_fails_after_a_change_leaves_the_rows_of_the_others_in_its_batch(store: ObjectStore) -> None:
    def spoil(tx: Tx) -> None:
        create_bucket(tx, "spoilt")
        raise ValueError("too late")

    class Waiter:
        def deliver(self, outcomes: list[Outcome]) -> None:
            del outcomes

    store.submit(partial(create_bucket, name="kept"), Waiter(), None, msgspec.structs.replace(ORIGIN, bucket="kept"))
    with pytest.raises(ValueError, match="too late"):
        store.commit(spoil, ORIGIN)
    assert [line.bucket for line in lines(store)] == ["kept"]


def test_a_verb_may_say_better_than_its_caller_what_it_did(store: ObjectStore) -> None:
    def rename(tx: Tx) -> None:
        assert tx.origin == ORIGIN
        create_bucket(tx, "made")
        tx.origin = msgspec.structs.replace(ORIGIN, operation="admin:Better")

    store.commit(rename, ORIGIN)
    assert [line.operation for line in lines(store)] == ["admin:Better"]


def test_without_a_request_each_event_leaves_a_row_under_its_actor(store: ObjectStore) -> None:
    def change(tx: Tx) -> None:
        create_bucket(tx, "one", actor="cli:bob")
        delete_bucket(tx, "one")

    store.commit(change)
    rows = [msgspec.json.decode(row.line(), type=AuditLine) for row in read_outbox(store.view(), 1, 10)]
    assert [(row.operation, row.principal, row.bucket) for row in rows] == [
        ("in-process:BucketCreated", "cli:bob", "one"),
        ("in-process:BucketRemoved", "in-process", "one"),
    ]


def test_a_change_of_access_without_an_event_leaves_a_row(store: ObjectStore) -> None:
    store.commit(Tx.change_access)
    assert [line.operation for line in lines(store)] == ["in-process:AccessChanged"]


def test_a_refusal_does_not_hide_that_a_verb_before_it_changed_access(store: ObjectStore) -> None:
    number = store.generation.number()

    class Waiter:
        def deliver(self, outcomes: list[Outcome]) -> None:
            del outcomes

    store.submit(Tx.change_access, Waiter())
    with pytest.raises(ConflictError):
        store.commit(partial(create_bucket, name=BUCKET))
    assert store.generation.number() > number
    assert [line.operation for line in lines(store)] == ["in-process:AccessChanged"]


def test_upkeep_leaves_no_row(store: ObjectStore, put: Put) -> None:
    put("a", b"x" * 100_000)
    before = count_outbox(store.view())
    store.commit(partial(mark_corrupt, blob_id=1))
    sweep(store, grace_ms=0, orphan_ms=0)
    assert count_outbox(store.view()) == before


def test_nothing_is_written_down_where_the_operator_does_not_want_it(lake: Path) -> None:
    with ObjectStore(lake, is_audited=False) as store:
        store.commit(partial(create_bucket, name=BUCKET), ORIGIN)
        store.commit(partial(delete_bucket, name=BUCKET))
        assert count_outbox(store.view()) == 0


def test_no_id_is_given_twice(store: ObjectStore, commit: Commit) -> None:
    commit(create_bucket, "one")
    last = read_outbox(store.view(), 0, 10)[-1].id
    commit(remove_outbox, last)
    assert read_outbox(store.view(), 0, 10) == []
    commit(create_bucket, "two")
    assert [row.id for row in read_outbox(store.view(), 0, 10)] == [last + 1]


def test_a_secret_in_a_policy_text_is_not_in_its_row(store: ObjectStore) -> None:
    store.commit(partial(set_document, name=BUCKET, kind="policy", body="TOP-SECRET"), ORIGIN)
    assert b"TOP-SECRET" not in read_outbox(store.view(), 0, 10)[-1].body


@pytest.mark.parametrize(
    ("milliseconds", "text"),
    [(0, "1970-01-01T00:00:00.000Z"), (951_782_399_999, "2000-02-28T23:59:59.999Z"), (7, "1970-01-01T00:00:00.007Z")],
)
def test_times_are_rfc_3339_with_milliseconds(milliseconds: int, text: str) -> None:
    assert format_time(milliseconds) == text


def test_a_buckets_reads_are_switched_on_and_off_for_every_process(store: ObjectStore, commit: Commit) -> None:
    number = store.generation.number()
    commit(set_reads, BUCKET, is_on=True)
    assert store.generation.number() > number
    assert has_reads(store.view(), BUCKET)
    assert buckets_with_reads(store.view()) == {BUCKET}
    commit(set_reads, BUCKET, is_on=False)
    assert not has_reads(store.view(), BUCKET)
    assert buckets_with_reads(store.view()) == frozenset()


@pytest.mark.parametrize("verb", [partial(set_reads, bucket="none", is_on=True)])
def test_the_switch_of_a_missing_bucket_is_refused(store: ObjectStore, verb: Callable[[Tx], None]) -> None:
    with pytest.raises(HosuError, match="no bucket 'none'"):
        store.commit(verb)

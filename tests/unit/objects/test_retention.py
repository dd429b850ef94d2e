"""Object lock: what is locked stays until its time, whoever asks, and a retention never gets weaker by itself."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import pytest
from tests.unit.objects.conftest import BUCKET, Commit, Put, Stage

from hosu.kernel.errors import ConflictError, ErrorKind, InvalidInputError
from hosu.objects.buckets import create_bucket, set_versioning
from hosu.objects.delete import delete_object
from hosu.objects.importing import ImportedVersion, import_key
from hosu.objects.multipart import CompletedPart, CompleteRequest, add_part, complete_upload, create_upload
from hosu.objects.put import CopyRequest, copy_object, set_legal_hold, set_retention
from hosu.objects.read import find
from hosu.objects.records import Attributes, LockMode, ObjectLock, Versioning
from hosu.objects.retention import (
    RETAIN_UNTIL_MS_MAX,
    BucketLock,
    bucket_lock,
    default_until_ms,
    lock_of,
    set_bucket_lock,
    why_locked,
)
from hosu.objects.store import ObjectStore
from hosu.testing.lake_check import find_faults
from hosu.testing.manual_clock import ManualClock

DAY_MS = 24 * 3600 * 1000
VAULT = "vault"


@pytest.fixture(autouse=True)
def vault(commit: Commit) -> None:
    commit(create_bucket, VAULT, is_lockable=True)


def locked(mode: str, until_ms: int, hold: str = "") -> Attributes:
    return Attributes(lock=ObjectLock(LockMode(mode), until_ms, hold))


@contextmanager
def refused(kind: ErrorKind) -> Iterator[None]:
    with pytest.raises((ConflictError, InvalidInputError)) as refusal:
        yield
    assert refusal.value.kind is kind


@pytest.mark.parametrize("mode", LockMode)
def test_a_locked_version_is_not_removed_before_its_time_and_is_after_it(
    put: Put, commit: Commit, store: ObjectStore, clock: ManualClock, mode: LockMode
) -> None:
    record = put("a", b"kept", bucket=VAULT, attributes=locked(mode, clock.now_ms() + DAY_MS))
    with refused(ErrorKind.OBJECT_LOCKED):
        commit(delete_object, VAULT, "a", record.version_id)
    assert find(store.view(), VAULT, "a").version_id == record.version_id
    clock.advance(DAY_MS)
    commit(delete_object, VAULT, "a", record.version_id)
    assert find_faults(store) == []


def test_bypassing_is_for_governance_alone(put: Put, commit: Commit, clock: ManualClock) -> None:
    until_ms = clock.now_ms() + DAY_MS
    weak = put("a", bucket=VAULT, attributes=locked("GOVERNANCE", until_ms))
    strong = put("b", bucket=VAULT, attributes=locked("COMPLIANCE", until_ms))
    held = put("c", bucket=VAULT, attributes=locked("GOVERNANCE", until_ms, "ON"))
    commit(delete_object, VAULT, "a", weak.version_id, bypass_governance=True)
    for record in (strong, held):
        with refused(ErrorKind.OBJECT_LOCKED):
            commit(delete_object, VAULT, record.key, record.version_id, bypass_governance=True)


def test_what_is_locked_can_be_hidden_and_followed_and_its_marker_removed(
    put: Put, commit: Commit, store: ObjectStore, clock: ManualClock
) -> None:
    first = put("a", b"1", bucket=VAULT, attributes=locked("COMPLIANCE", clock.now_ms() + DAY_MS))
    marker = commit(delete_object, VAULT, "a").version_id
    with refused(ErrorKind.OBJECT_LOCKED):
        commit(delete_object, VAULT, "a", first.version_id)
    commit(delete_object, VAULT, "a", marker)
    put("a", b"2", bucket=VAULT)
    with refused(ErrorKind.OBJECT_LOCKED):
        commit(delete_object, VAULT, "a", first.version_id)
    assert find_faults(store) == []


def test_a_legal_hold_has_no_end_but_being_taken_off(
    put: Put, commit: Commit, store: ObjectStore, clock: ManualClock
) -> None:
    record = put("a", bucket=VAULT)
    commit(set_legal_hold, VAULT, "a", None, is_on=True)
    clock.advance(3650 * DAY_MS)
    with refused(ErrorKind.OBJECT_LOCKED):
        commit(delete_object, VAULT, "a", record.version_id, bypass_governance=True)
    commit(set_legal_hold, VAULT, "a", record.version_id, is_on=False)
    assert lock_of(find(store.view(), VAULT, "a")) == ObjectLock(legal_hold="OFF")
    commit(delete_object, VAULT, "a", record.version_id)


def test_a_retention_under_compliance_only_gets_longer(
    put: Put, commit: Commit, store: ObjectStore, clock: ManualClock
) -> None:
    until_ms = clock.now_ms() + 2 * DAY_MS
    put("a", bucket=VAULT, attributes=locked("COMPLIANCE", until_ms))
    for mode, wanted_ms in ((LockMode.COMPLIANCE, until_ms - 1), (LockMode.GOVERNANCE, until_ms + DAY_MS), (None, 0)):
        with refused(ErrorKind.OBJECT_LOCKED):
            commit(set_retention, VAULT, "a", None, mode, wanted_ms, bypass_governance=True)
    commit(set_retention, VAULT, "a", None, LockMode.COMPLIANCE, until_ms + 1)
    assert lock_of(find(store.view(), VAULT, "a")) == ObjectLock(LockMode.COMPLIANCE, until_ms + 1)


def test_a_retention_under_governance_gets_weaker_for_those_who_bypass_it_only(
    put: Put, commit: Commit, store: ObjectStore, clock: ManualClock
) -> None:
    until_ms = clock.now_ms() + 2 * DAY_MS
    put("a", bucket=VAULT, attributes=locked("GOVERNANCE", until_ms, "OFF"))
    commit(set_retention, VAULT, "a", None, LockMode.GOVERNANCE, until_ms + 1)
    for mode, wanted_ms in ((LockMode.GOVERNANCE, until_ms), (LockMode.COMPLIANCE, until_ms + 9), (None, 0)):
        with refused(ErrorKind.OBJECT_LOCKED):
            commit(set_retention, VAULT, "a", None, mode, wanted_ms)
        commit(set_retention, VAULT, "a", None, mode, wanted_ms, bypass_governance=True)
        if mode is LockMode.COMPLIANCE:
            return
    assert lock_of(find(store.view(), VAULT, "a")) == ObjectLock(legal_hold="OFF")


def test_taking_a_retention_away_leaves_the_legal_hold(put: Put, commit: Commit, clock: ManualClock) -> None:
    record = put("a", bucket=VAULT, attributes=locked("GOVERNANCE", clock.now_ms() + DAY_MS, "ON"))
    changed = commit(set_retention, VAULT, "a", None, None, bypass_governance=True)
    assert lock_of(changed) == ObjectLock(legal_hold="ON")
    with refused(ErrorKind.OBJECT_LOCKED):
        commit(delete_object, VAULT, "a", record.version_id)


def test_a_retention_that_is_over_may_become_anything(put: Put, commit: Commit, clock: ManualClock) -> None:
    put("a", bucket=VAULT, attributes=locked("COMPLIANCE", clock.now_ms() + DAY_MS))
    clock.advance(DAY_MS)
    until_ms = clock.now_ms() + 1
    assert lock_of(commit(set_retention, VAULT, "a", None, LockMode.GOVERNANCE, until_ms)) is not None
    assert lock_of(commit(set_retention, VAULT, "a", None, None, bypass_governance=True)) is None


def test_a_date_that_is_past_and_half_a_retention_are_refused(put: Put, commit: Commit, clock: ManualClock) -> None:
    for lock in (
        ObjectLock(LockMode.GOVERNANCE, clock.now_ms()),
        ObjectLock(LockMode.GOVERNANCE, 0),
        ObjectLock(None, clock.now_ms() + DAY_MS),
    ):
        with refused(ErrorKind.INVALID_ARGUMENT):
            put("a", bucket=VAULT, attributes=Attributes(lock=lock))
    put("a", bucket=VAULT)
    with refused(ErrorKind.INVALID_ARGUMENT):
        commit(set_retention, VAULT, "a", None, LockMode.GOVERNANCE, clock.now_ms() - 1)


def test_a_bucket_without_object_lock_takes_no_locks(put: Put, commit: Commit, clock: ManualClock) -> None:
    until_ms = clock.now_ms() + DAY_MS
    put("a")
    for verb in (
        lambda: put("b", attributes=locked("GOVERNANCE", until_ms)),
        lambda: put("b", attributes=Attributes(lock=ObjectLock(legal_hold="OFF"))),
        lambda: commit(set_retention, BUCKET, "a", None, LockMode.GOVERNANCE, until_ms),
        lambda: commit(set_legal_hold, BUCKET, "a", None, is_on=True),
        lambda: commit(create_upload, BUCKET, "b", attributes=locked("GOVERNANCE", until_ms)),
        lambda: commit(
            copy_object,
            CopyRequest(BUCKET, "a", BUCKET, "b", lock=ObjectLock(LockMode.GOVERNANCE, until_ms)),
        ),
    ):
        with refused(ErrorKind.OBJECT_LOCK_OFF):
            verb()


def test_object_lock_needs_versions_and_keeps_them(commit: Commit, store: ObjectStore) -> None:
    with refused(ErrorKind.BUCKET_VERSIONING_INVALID):
        commit(set_bucket_lock, BUCKET, BucketLock())
    commit(set_versioning, BUCKET, Versioning.ENABLED)
    commit(set_bucket_lock, BUCKET, BucketLock(LockMode.GOVERNANCE, days=1))
    for name in (BUCKET, VAULT):
        with refused(ErrorKind.BUCKET_VERSIONING_INVALID):
            commit(set_versioning, name, Versioning.SUSPENDED)
    assert bucket_lock(store.view().bucket(VAULT)) == BucketLock()
    assert bucket_lock(store.view().bucket(BUCKET)) == BucketLock(LockMode.GOVERNANCE, days=1)


@pytest.mark.parametrize(
    "lock",
    [
        BucketLock(LockMode.GOVERNANCE),
        BucketLock(LockMode.GOVERNANCE, days=1, years=1),
        BucketLock(None, days=1),
        BucketLock(LockMode.COMPLIANCE, days=-1),
        BucketLock(LockMode.COMPLIANCE, days=36_501),
        BucketLock(LockMode.COMPLIANCE, years=101),
    ],
)
def test_a_default_retention_that_is_none_is_refused(commit: Commit, lock: BucketLock) -> None:
    with refused(ErrorKind.INVALID_ARGUMENT):
        commit(set_bucket_lock, VAULT, lock)


def test_the_default_holds_for_every_new_version_but_one_that_says_otherwise(
    put: Put, commit: Commit, clock: ManualClock
) -> None:
    before = put("before", bucket=VAULT)
    commit(set_bucket_lock, VAULT, BucketLock(LockMode.COMPLIANCE, days=3))
    until_ms = clock.now_ms() + 3 * DAY_MS
    default = ObjectLock(LockMode.COMPLIANCE, until_ms)
    assert lock_of(put("a", bucket=VAULT)) == default
    assert lock_of(put("b", bucket=VAULT, attributes=locked("GOVERNANCE", until_ms + 1))) == ObjectLock(
        LockMode.GOVERNANCE, until_ms + 1
    )
    held = put("c", bucket=VAULT, attributes=Attributes(lock=ObjectLock(legal_hold="ON")))
    assert lock_of(held) == ObjectLock(LockMode.COMPLIANCE, until_ms, "ON")
    copied = commit(copy_object, CopyRequest(VAULT, "b", VAULT, "d")).record
    assert lock_of(copied) == default
    assert lock_of(before) is None


def test_a_copy_has_a_lock_of_its_own_and_not_its_source_s(put: Put, commit: Commit, clock: ManualClock) -> None:
    put("a", bucket=VAULT, attributes=locked("GOVERNANCE", clock.now_ms() + DAY_MS, "ON"))
    assert lock_of(commit(copy_object, CopyRequest(VAULT, "a", VAULT, "b")).record) is None
    lock = ObjectLock(LockMode.COMPLIANCE, clock.now_ms() + 1)
    assert lock_of(commit(copy_object, CopyRequest(VAULT, "a", VAULT, "c", lock=lock)).record) == lock
    assert lock_of(commit(copy_object, CopyRequest(VAULT, "a", BUCKET, "b")).record) is None


def test_an_upload_in_parts_is_locked_as_it_was_begun_else_from_when_it_is_completed(
    commit: Commit, stage: Any, clock: ManualClock
) -> None:
    etag = "900150983cd24fb0d6963f7d28e17f72"

    def upload(key: str, attributes: Attributes) -> Any:
        upload_id = commit(create_upload, VAULT, key, attributes=attributes).upload_id
        commit(add_part, VAULT, key, upload_id, 1, stage(b"abc"), etag=etag)
        clock.advance(DAY_MS)
        return commit(complete_upload, CompleteRequest(VAULT, key, upload_id, [CompletedPart(1, etag)]))

    lock = ObjectLock(LockMode.GOVERNANCE, clock.now_ms() + 1, "ON")
    assert lock_of(upload("a", Attributes(lock=lock))) == lock
    commit(set_bucket_lock, VAULT, BucketLock(LockMode.COMPLIANCE, days=1))
    completed = upload("b", Attributes())
    assert lock_of(completed) == ObjectLock(LockMode.COMPLIANCE, clock.now_ms() + DAY_MS)


def test_a_null_version_from_before_is_locked_like_any_other(put: Put, commit: Commit, clock: ManualClock) -> None:
    put("a", b"null")
    commit(set_versioning, BUCKET, Versioning.ENABLED)
    commit(set_bucket_lock, BUCKET, BucketLock())
    commit(set_retention, BUCKET, "a", "null", LockMode.COMPLIANCE, clock.now_ms() + DAY_MS)
    put("a", b"newer")
    with refused(ErrorKind.OBJECT_LOCKED):
        commit(delete_object, BUCKET, "a", "null")


def test_metadata_that_looks_like_a_lock_locks_nothing(put: Put, commit: Commit) -> None:
    record = put("a", bucket=VAULT, attributes=Attributes(metadata={"lock": '"lock":{"mode":"COMPLIANCE"}'}))
    assert why_locked(record, 0) is None
    commit(delete_object, VAULT, "a", record.version_id)


def test_years_end_on_the_same_day_and_leap_days_on_the_first_of_march() -> None:
    def until(day: str) -> str:
        now_ms = int(datetime.fromisoformat(f"{day}T12:00:00+00:00").timestamp() * 1000)
        end_ms = default_until_ms(BucketLock(LockMode.GOVERNANCE, years=1), now_ms)
        return f"{datetime.fromtimestamp(end_ms / 1000, UTC):%Y-%m-%dT%H:%M}"

    assert until("2026-11-21") == "2027-11-21T12:00"
    assert until("2028-02-29") == "2029-03-01T12:00"


def test_a_time_that_no_date_can_say_is_refused_by_every_verb(
    put: Put, commit: Commit, stage: Stage, store: ObjectStore
) -> None:
    last = put("a", bucket=VAULT, attributes=locked("GOVERNANCE", RETAIN_UNTIL_MS_MAX))
    assert "until 9999-12-31T23:59:59Z" in str(why_locked(last, 0))
    late = RETAIN_UNTIL_MS_MAX + 1
    imported = ImportedVersion(
        version_id=str(uuid4()), modified_ms=1, etag="", attributes=locked("GOVERNANCE", late), body=stage(b"")
    )
    for verb in (
        lambda: put("b", bucket=VAULT, attributes=locked("GOVERNANCE", late)),
        lambda: commit(create_upload, VAULT, "b", attributes=locked("GOVERNANCE", late)),
        lambda: commit(set_retention, VAULT, "a", None, LockMode.GOVERNANCE, late),
        lambda: commit(import_key, VAULT, "b", [imported], newest_seq=0),
    ):
        with refused(ErrorKind.INVALID_ARGUMENT):
            verb()
    assert find_faults(store) == []

"""Versions that come from elsewhere: their own ids and times, in order, and never over what is there."""

import hashlib
from functools import partial
from typing import Any

import pytest
from tests.unit.objects.conftest import BUCKET, Commit, Put

from hosu.kernel.errors import ConflictError, ErrorKind, InvalidInputError, PreconditionFailedError
from hosu.kernel.limits import INLINE_BYTES_MAX
from hosu.objects.aliases import set_alias
from hosu.objects.blobs import StagedBlob
from hosu.objects.bodies import BodyWriter, open_body
from hosu.objects.buckets import set_versioning
from hosu.objects.delete import delete_object
from hosu.objects.feed import read_events
from hosu.objects.importing import IMPORTED, ImportedPart, ImportedVersion, held_versions, import_key
from hosu.objects.listing import list_versions
from hosu.objects.quota import set_quota
from hosu.objects.read import find
from hosu.objects.records import Attributes, Checksum, LockMode, ObjectLock, ObjectRecord, Versioning
from hosu.objects.retention import BucketLock, set_bucket_lock
from hosu.objects.store import ObjectStore
from hosu.objects.versions import is_version_id
from hosu.testing.lake_check import find_faults

OLD, NEW, MARK = (f"0000000{n}-1111-2222-3333-444444444444" for n in (1, 2, 3))
LARGE = b"large body " * 3_000
assert len(LARGE) > INLINE_BYTES_MAX


def staged(store: ObjectStore, body: bytes) -> StagedBlob:
    with BodyWriter(store) as writer:
        writer.write(body)
        return writer.finish()[0]


def version(store: ObjectStore, version_id: str, body: bytes, **more: Any) -> ImportedVersion:
    facts: dict[str, Any] = {"etag": hashlib.md5(body).hexdigest(), "modified_ms": 1_000} | more
    return ImportedVersion(version_id=version_id, body=staged(store, body), **facts)


def marker(version_id: str) -> ImportedVersion:
    return ImportedVersion(version_id=version_id, modified_ms=3_000, is_marker=True)


def bring(store: ObjectStore, key: str, *versions: ImportedVersion, newest_seq: int = 0) -> list[ObjectRecord]:
    return store.commit(partial(import_key, bucket_name=BUCKET, key=key, versions=versions, newest_seq=newest_seq))


def test_a_version_keeps_its_id_time_etag_and_attributes(store: ObjectStore, commit: Commit) -> None:
    commit(set_versioning, BUCKET, Versioning.ENABLED)
    attributes = Attributes({"content-type": "image/jpeg"}, {"camera": "door"}, {"kind": "face"})
    checksum = Checksum("CRC32", "FULL_OBJECT", "AAAAAA==")
    bring(store, "k", version(store, OLD, b"old", attributes=attributes, checksum=checksum, storage_class="X"))
    record = find(store.view(), BUCKET, "k")
    assert (record.version_id, record.modified_ms, record.etag) == (OLD, 1_000, hashlib.md5(b"old").hexdigest())
    assert (record.attributes, record.checksum, record.storage_class) == (attributes, checksum, "X")
    assert find_faults(store) == []


def test_versions_come_oldest_first_and_the_last_one_is_current(store: ObjectStore, commit: Commit) -> None:
    commit(set_versioning, BUCKET, Versioning.ENABLED)
    bring(store, "k", version(store, OLD, b"old"), marker(MARK), version(store, NEW, LARGE))
    listed = list_versions(store.view(), BUCKET).records
    assert [(it.version_id, it.is_marker, it.is_latest) for it in listed] == [
        (NEW, False, True),
        (MARK, True, False),
        (OLD, False, False),
    ]
    assert find_faults(store) == []


def test_a_marker_on_top_hides_the_key_until_it_is_removed(store: ObjectStore, commit: Commit) -> None:
    commit(set_versioning, BUCKET, Versioning.ENABLED)
    bring(store, "k", version(store, OLD, b"old"), marker(MARK))
    usage = store.view().bucket(BUCKET).usage
    assert (usage.object_count, usage.version_count, usage.marker_count) == (0, 1, 1)
    commit(delete_object, BUCKET, "k", MARK)
    assert find(store.view(), BUCKET, "k").version_id == OLD
    assert find_faults(store) == []


def test_imported_ids_are_asked_for_like_any_other() -> None:
    assert is_version_id(OLD)
    assert not is_version_id(OLD.upper().replace("1", "G"))
    assert not is_version_id(OLD + "0")


@pytest.mark.parametrize("version_id", ["0" * 32, "", OLD.upper().replace("0", "A"), "../x", f"{OLD}\n"])
def test_ids_that_could_be_the_lakes_own_are_refused(store: ObjectStore, version_id: str) -> None:
    with pytest.raises(InvalidInputError):
        bring(store, "k", version(store, version_id, b"x"))
    assert held_versions(store.view(), store.view().bucket(BUCKET), "k") == []


@pytest.mark.parametrize("lock", [ObjectLock(legal_hold="ON"), ObjectLock(LockMode.COMPLIANCE, 1 << 42)])
def test_a_lock_that_nobody_could_take_off_is_refused(store: ObjectStore, lock: ObjectLock, commit: Commit) -> None:
    with pytest.raises(InvalidInputError) as refused:
        bring(store, "k", version(store, "null", b"x", attributes=Attributes(lock=lock)))
    assert refused.value.kind is ErrorKind.OBJECT_LOCK_OFF
    commit(set_versioning, BUCKET, Versioning.ENABLED)
    commit(set_bucket_lock, BUCKET, BucketLock())
    bring(store, "k", version(store, OLD, b"x", attributes=Attributes(lock=lock)))
    with pytest.raises(ConflictError):
        commit(delete_object, BUCKET, "k", OLD)


def test_parts_keep_their_numbers_boundaries_and_checksums(store: ObjectStore) -> None:
    parts = tuple(
        ImportedPart(number, staged(store, body), f"c{number}") for number, body in ((1, LARGE), (4, b""), (7, b"end"))
    )
    bring(store, "k", ImportedVersion(version_id="null", modified_ms=1, etag="e-3", parts=parts))
    record, body = open_body(store, BUCKET, "k")
    with body:
        assert body.read(0, record.size_bytes) == LARGE + b"end"
    assert record.part_count == 3
    rows = store.view().rows("SELECT part_number, start, size_bytes, checksum_value FROM segment ORDER BY start")
    assert rows == [(1, 0, len(LARGE), "c1"), (7, len(LARGE), 3, "c7")]
    assert find_faults(store) == []


def test_nothing_is_replaced(store: ObjectStore, put: Put) -> None:
    put("k", b"mine")
    with pytest.raises(PreconditionFailedError):
        bring(store, "k", version(store, "null", b"theirs"))
    seq = held_versions(store.view(), store.view().bucket(BUCKET), "k")[-1].seq
    with pytest.raises(ConflictError) as taken:
        bring(store, "k", version(store, "null", b"theirs"), newest_seq=seq)
    assert taken.value.kind is ErrorKind.KEY_CONFLICT
    with pytest.raises(ConflictError):
        bring(store, "k2", version(store, OLD, b"one"), version(store, OLD, b"two"))
    assert find(store.view(), BUCKET, "k").etag == hashlib.md5(b"mine").hexdigest()
    assert find_faults(store) == []


def test_what_is_there_stays_below_what_comes(store: ObjectStore, put: Put, commit: Commit) -> None:
    commit(set_versioning, BUCKET, Versioning.ENABLED)
    mine = put("k", b"mine")
    bring(store, "k", version(store, OLD, b"theirs"), newest_seq=mine.seq)
    assert [it.version_id for it in list_versions(store.view(), BUCKET).records] == [OLD, mine.version_id]
    assert find_faults(store) == []


def test_a_bucket_without_versions_keeps_the_ones_that_come(store: ObjectStore) -> None:
    bring(store, "alone", version(store, "null", b"one"))
    assert store.view().bucket(BUCKET).versioning is Versioning.NEVER
    bring(store, "k", version(store, OLD, b"one"), version(store, "null", b"two"))
    assert store.view().bucket(BUCKET).versioning is Versioning.SUSPENDED
    assert find_faults(store) == []


def test_the_change_feed_sees_each_version(store: ObjectStore, commit: Commit) -> None:
    commit(set_versioning, BUCKET, Versioning.ENABLED)
    bring(store, "k", version(store, OLD, b"old"), marker(MARK))
    events = [event for event in read_events(store.view()) if event.kind == IMPORTED]
    assert [(event.key, event.version_id, event.size_bytes) for event in events] == [("k", OLD, 3), ("k", MARK, 0)]


def test_quotas_aliases_and_limits_hold(store: ObjectStore, put: Put, commit: Commit) -> None:
    put("models/v1/m", b"m")
    commit(set_alias, BUCKET, "models/current/", "models/v1/")
    with pytest.raises(ConflictError) as below:
        bring(store, "models/current/x", version(store, "null", b"x"))
    assert below.value.kind is ErrorKind.ALIAS_READ_ONLY
    with pytest.raises(InvalidInputError):
        bring(store, "k" * 1025, version(store, "null", b"x"))
    with pytest.raises(InvalidInputError):
        bring(store, "k", version(store, "null", b"x", attributes=Attributes(metadata={"a": "x" * 3000})))
    commit(set_quota, BUCKET, 10)
    with pytest.raises(ConflictError) as full:
        bring(store, "k", version(store, "null", b"more than ten bytes"))
    assert full.value.kind is ErrorKind.QUOTA_EXCEEDED
    assert find_faults(store) == []

"""Quotas: no write passes one, whatever way its bytes come, and however many write at once."""

import contextlib
import threading
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from tests.unit.objects.conftest import BUCKET, Commit, Put, Stage

import hosu
from hosu.kernel.errors import ConflictError, ErrorKind, HosuError, InvalidInputError, NotFoundError
from hosu.kernel.limits import MIB, PART_BYTES_MIN
from hosu.objects.buckets import create_bucket, set_versioning
from hosu.objects.delete import delete_object
from hosu.objects.feed import read_events
from hosu.objects.multipart import (
    CompletedPart,
    CompleteRequest,
    abort_upload,
    add_part,
    add_part_by_reference,
    complete_upload,
    create_upload,
)
from hosu.objects.put import CopyRequest, copy_object
from hosu.objects.quota import QUOTA_BYTES_MAX, set_quota
from hosu.objects.read import find
from hosu.objects.records import Attributes, Versioning
from hosu.objects.store import ObjectStore
from hosu.testing.lake_check import find_faults


@pytest.fixture
def limited(commit: Commit) -> None:
    commit(set_quota, BUCKET, 100)


def held(store: ObjectStore) -> int:
    return store.view().bucket(BUCKET).usage.held_bytes


def refused() -> Any:
    return pytest.raises(ConflictError, match=r"holds \d+ of \d+ bytes, and \d+ more do not fit")


@pytest.mark.usefixtures("limited")
def test_a_bucket_takes_what_fits_to_the_last_byte_and_nothing_more(store: ObjectStore, put: Put) -> None:
    put("a", b"x" * 60)
    put("b", b"x" * 40)
    with refused() as refusal:
        put("c", b"x")
    assert refusal.value.kind is ErrorKind.QUOTA_EXCEEDED
    assert refusal.value.details == {
        "scope": "bucket",
        "bucket": BUCKET,
        "quota_bytes": 100,
        "held_bytes": 100,
        "proposed_bytes": 1,
    }
    put("empty", b"")
    assert held(store) == 100
    assert find_faults(store) == []


@pytest.mark.usefixtures("limited")
def test_what_is_replaced_makes_room_in_a_bucket_without_versions(put: Put) -> None:
    put("a", b"x" * 100)
    put("a", b"y" * 100)
    with refused():
        put("a", b"z" * 101)


@pytest.mark.usefixtures("limited")
def test_old_versions_count_and_make_room_only_when_they_go(store: ObjectStore, put: Put, commit: Commit) -> None:
    commit(set_versioning, BUCKET, Versioning.ENABLED)
    first = put("a", b"x" * 60)
    with refused():
        put("a", b"y" * 60)
    put("a", b"y" * 40)
    commit(delete_object, BUCKET, "a")
    assert held(store) == 100
    with refused():
        put("b", b"x")
    commit(delete_object, BUCKET, "a", first.version_id)
    put("b", b"x" * 60)


@pytest.mark.usefixtures("limited")
def test_a_suspended_bucket_gives_room_for_its_null_version_alone(put: Put, commit: Commit) -> None:
    put("a", b"x" * 50)
    commit(set_versioning, BUCKET, Versioning.ENABLED)
    put("a", b"y" * 50)
    commit(set_versioning, BUCKET, Versioning.SUSPENDED)
    with refused():
        put("a", b"z" * 51)
    put("a", b"z" * 50)
    with refused():
        put("b", b"x")


@pytest.mark.usefixtures("limited")
def test_a_copy_counts_though_it_moves_no_byte(store: ObjectStore, put: Put, commit: Commit) -> None:
    put("a", b"x" * 60)
    with refused():
        commit(copy_object, CopyRequest(BUCKET, "a", BUCKET, "b"))
    commit(create_bucket, "other")
    commit(copy_object, CopyRequest(BUCKET, "a", "other", "b"))
    commit(copy_object, CopyRequest(BUCKET, "a", BUCKET, "a", attributes=Attributes()))
    assert held(store) == 60


def test_parts_count_from_the_moment_they_are_stored(
    store: ObjectStore, stage: Stage, put: Put, commit: Commit
) -> None:
    commit(set_quota, BUCKET, 12 * MIB)
    source = put("source", b"s" * MIB)
    upload = commit(create_upload, BUCKET, "big", attributes=Attributes())
    part = partial(commit, add_part, BUCKET, "big", upload.upload_id)
    body = b"p" * PART_BYTES_MIN
    part(1, stage(body), etag="0" * 32)
    part(2, stage(body), etag="1" * 32)
    with refused():
        part(3, stage(body), etag="2" * 32)
    part(2, stage(body), etag="3" * 32)
    commit(add_part_by_reference, BUCKET, "big", upload.upload_id, 3, source, 0, MIB, etag="4" * 32)
    with refused():
        commit(add_part_by_reference, BUCKET, "big", upload.upload_id, 4, source, 0, 1, etag="5" * 32)
    assert store.view().bucket(BUCKET).usage.part_bytes == 11 * MIB
    with refused():
        put("small", b"x")
    assert find_faults(store) == []


def test_an_upload_that_was_taken_can_be_completed_under_a_quota_lowered_since(
    store: ObjectStore, stage: Stage, commit: Commit
) -> None:
    upload = commit(create_upload, BUCKET, "big", attributes=Attributes())
    for number in (1, 2, 3):
        commit(add_part, BUCKET, "big", upload.upload_id, number, stage(b"p" * PART_BYTES_MIN), etag=f"{number}" * 32)
    commit(set_quota, BUCKET, 1)
    named = [CompletedPart(1, "1" * 32), CompletedPart(3, "3" * 32)]
    commit(complete_upload, CompleteRequest(BUCKET, "big", upload.upload_id, named))
    usage = store.view().bucket(BUCKET).usage
    assert (usage.object_bytes, usage.part_bytes) == (2 * PART_BYTES_MIN, 0)
    assert find_faults(store) == []


def test_an_aborted_upload_makes_room(store: ObjectStore, stage: Stage, commit: Commit, put: Put) -> None:
    commit(set_quota, BUCKET, PART_BYTES_MIN)
    upload = commit(create_upload, BUCKET, "big", attributes=Attributes())
    commit(add_part, BUCKET, "big", upload.upload_id, 1, stage(b"p" * PART_BYTES_MIN), etag="0" * 32)
    with refused():
        put("a", b"x")
    commit(abort_upload, BUCKET, "big", upload.upload_id)
    put("a", b"x")
    assert held(store) == 1


def test_a_bucket_above_a_quota_set_later_takes_what_makes_it_no_larger(put: Put, commit: Commit) -> None:
    put("a", b"x" * 50)
    commit(set_quota, BUCKET, 10)
    put("a", b"x" * 40)
    with refused():
        put("a", b"x" * 41)
    commit(set_quota, BUCKET, 0)
    put("a", b"x" * 500)


@pytest.mark.usefixtures("limited")
def test_writers_in_one_batch_never_pass_the_quota_together(store: ObjectStore, put: Put) -> None:
    starting = threading.Barrier(8)

    def write(number: int) -> int:
        stored = 0
        starting.wait()
        for turn in range(5):
            with contextlib.suppress(ConflictError):
                put(f"{number}-{turn}", b"x" * 7)
                stored += 7
        return stored

    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(write, range(8))) == 98
    assert held(store) == 98
    assert find_faults(store) == []


@pytest.mark.usefixtures("limited")
def test_a_refused_write_leaves_no_trace(store: ObjectStore, put: Put) -> None:
    put("a", b"x" * 100)
    events = len(read_events(store.view()))
    with refused():
        put("a/b", b"x")
    view = store.view()
    assert len(read_events(view)) == events
    with pytest.raises(NotFoundError):
        find(view, BUCKET, "a/b", None)
    assert find_faults(store) == []


@pytest.mark.parametrize("quota_bytes", [-1, QUOTA_BYTES_MAX + 1])
def test_a_quota_that_cannot_be_is_refused(commit: Commit, store: ObjectStore, quota_bytes: int) -> None:
    with pytest.raises(InvalidInputError, match="0 for no limit"):
        commit(set_quota, BUCKET, quota_bytes)
    assert store.view().bucket(BUCKET).quota_bytes == 0


def test_the_lake_in_python_sets_reads_and_keeps_a_quota(tmp_path: Path) -> None:
    with hosu.open(tmp_path / "lake") as lake:
        images = lake.create_bucket("images")
        assert images.quota == 0
        images.set_quota(10)
        images.put("a", b"0123456789")
        with pytest.raises(HosuError) as refusal:
            images.put("b", b"0")
        assert refusal.value.kind is ErrorKind.QUOTA_EXCEEDED
    with hosu.open(tmp_path / "lake") as lake:
        assert lake.bucket("images").quota == 10

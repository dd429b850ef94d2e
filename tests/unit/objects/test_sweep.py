"""The sweep gives back what nothing refers to, after its grace, and nothing else."""

from pathlib import Path

import pytest
from tests.unit.objects.conftest import BUCKET, Commit, Put, Stage

from hosu.kernel.errors import ErrorKind, UnavailableError
from hosu.objects import sweep as sweeping
from hosu.objects.blobs import StagedBlob
from hosu.objects.delete import delete_object
from hosu.objects.store import ObjectStore
from hosu.objects.sweep import GRACE_MS, ORPHAN_MS, sweep
from hosu.testing.lake_check import find_faults
from hosu.testing.manual_clock import ManualClock

BODY = b"body" * 10_000


def open_descriptors() -> int:
    """Count this process's descriptors, where the system tells."""
    folder = Path("/proc/self/fd")
    return len(list(folder.iterdir())) if folder.is_dir() else 0


def files(store: ObjectStore) -> list[Path]:
    return sorted(store.files.root.glob("*/*"))


def test_a_deleted_body_stays_for_its_grace(store: ObjectStore, put: Put, commit: Commit, clock: ManualClock) -> None:
    put("k", BODY)
    commit(delete_object, BUCKET, "k")
    clock.advance(GRACE_MS - 1)
    assert sweep(store).blobs == 0
    assert len(files(store)) == 1
    clock.advance(1)
    report = sweep(store)
    assert (report.blobs, report.bytes, files(store)) == (1, len(BODY), [])


def test_bytes_that_are_put_again_within_the_grace_stay(
    store: ObjectStore, put: Put, commit: Commit, clock: ManualClock
) -> None:
    first = put("k", BODY).blob_id
    commit(delete_object, BUCKET, "k")
    assert put("again", BODY).blob_id == first
    clock.advance(GRACE_MS)
    assert sweep(store).blobs == 0
    assert find_faults(store) == []


def test_the_rest_of_a_crash_goes_once_nobody_writes_to_it(
    store: ObjectStore, stage: Stage, clock: ManualClock
) -> None:
    stage(BODY)
    assert sweep(store).orphans == 0
    clock.advance(ORPHAN_MS + 60_000)
    report = sweep(store)
    assert (report.orphans, report.bytes, files(store)) == (1, len(BODY), [])


def test_an_upload_whose_file_was_swept_is_refused(
    store: ObjectStore, put: Put, monkeypatch: pytest.MonkeyPatch
) -> None:
    finish = store.finish_blob

    def finish_and_sweep(blob: object) -> StagedBlob:
        staged = finish(blob)  # type: ignore[arg-type]
        sweep(store, orphan_ms=-ORPHAN_MS)
        return staged

    monkeypatch.setattr(store, "finish_blob", finish_and_sweep)
    with pytest.raises(UnavailableError) as refusal:
        put("k", BODY)
    assert refusal.value.kind == ErrorKind.DISK_FAULT
    assert find_faults(store) == []


def test_an_upload_swept_while_it_is_written_is_refused(store: ObjectStore) -> None:
    with store.new_blob() as blob:
        blob.write(BODY)
        sweep(store, orphan_ms=-ORPHAN_MS)
        with pytest.raises(UnavailableError):
            blob.finish()


def test_an_upload_that_got_its_record_meanwhile_stays(
    store: ObjectStore, put: Put, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = [(0, Path())]

    def late(_: ObjectStore, __: int) -> object:
        record = put("k", BODY)
        assert record.blob_id is not None
        found[0] = (record.blob_id, store.files.path(record.blob_id))
        return iter(found)

    monkeypatch.setattr(sweeping, "orphans", late)
    assert sweep(store).orphans == 0
    assert find_faults(store) == []


def test_empty_directories_go_but_for_the_one_in_use(store: ObjectStore, put: Put, commit: Commit) -> None:
    put("k", BODY)
    (store.files.root / "0000ffff").mkdir()
    (store.files.root / "notes").mkdir()
    (store.files.root / "notes" / "mine.txt").write_text("mine")
    commit(delete_object, BUCKET, "k")
    sweep(store, grace_ms=0)
    assert not (store.files.root / "0000ffff").exists()
    assert (store.files.root / "notes" / "mine.txt").exists()
    put("k", BODY)
    assert find_faults(store) == []


def test_a_directory_that_another_process_removed_is_made_again(store: ObjectStore, put: Put, commit: Commit) -> None:
    put("k", BODY)
    commit(delete_object, BUCKET, "k")
    sweep(store, grace_ms=0)
    for directory in store.files.root.iterdir():
        directory.rmdir()
    put("k", BODY)
    assert find_faults(store) == []


def test_refused_bodies_leave_no_file_and_no_descriptor(store: ObjectStore, put: Put, stage: Stage) -> None:
    put("k", BODY)
    before = open_descriptors()
    for _ in range(5):
        store.discard(stage(BODY + b"refused"))
        with store.new_blob() as blob:
            blob.write(BODY)
    after = open_descriptors()
    assert after == before
    assert len(files(store)) == 1

"""What a run writes, and that it writes no more than what has changed."""

import threading
from functools import partial
from hashlib import md5
from pathlib import Path

import msgspec
import pytest
from tests.support.backups import dump
from tests.unit.rules.backup.conftest import LARGE

import hosu
from hosu.kernel.errors import ConflictError, ErrorKind, HosuError, InvalidInputError, UnavailableError
from hosu.kernel.fileio import FolderFileIO
from hosu.lake import Lake
from hosu.objects import multipart
from hosu.objects.blobs import BlobRow, stage_inline
from hosu.objects.feed import BACKUP_EVENTS_MAX, BACKUPS, trim_events
from hosu.objects.put import PutRequest, put_object
from hosu.objects.records import COLD, Attributes
from hosu.objects.store import ObjectStore
from hosu.objects.sweep import sweep
from hosu.rules.backup import pruning, taking
from hosu.rules.backup.lease import LOCK, Holder
from hosu.rules.backup.pruning import Retention, prune
from hosu.rules.backup.repository import Repository, encoded
from hosu.rules.backup.restoring import restore_backup
from hosu.rules.backup.sending import Sending
from hosu.rules.backup.taking import take_backup
from hosu.rules.backup.verifying import verify
from hosu.rules.cold import move
from hosu.rules.doctor import repair_records
from hosu.rules.doctor_records import RECORD_CHECKS
from hosu.testing.manual_clock import ManualClock


def assert_restores(lake: Lake, location: str, clock: ManualClock, folder: Path) -> None:
    """Restore the snapshot that was taken just now, and compare."""
    expected = dump(lake.store)
    subscription = lake.store.view().value("SELECT name FROM subscription WHERE substr(name, 1, 7) = ?", (BACKUPS,))
    snapshot_id = subscription.rpartition("/")[2]
    assert restore_backup(location, folder, snapshot_id=snapshot_id, clock=clock).damaged == ()
    with hosu.open(folder, create=False, clock=clock) as restored:
        assert dump(restored.store) == expected


def test_the_first_run_writes_everything_and_the_second_next_to_nothing(lake: Lake, location: str) -> None:
    first = lake.backup(location)
    assert (first.is_base, first.damaged) == (True, ())
    assert first.snapshot.objects == 5
    second = lake.backup(location)
    assert (second.is_base, second.changed_keys) == (False, 0)
    assert second.snapshot.layers == first.snapshot.layers
    # the small tables, and at most an audit log that went on
    assert second.snapshot.written_files <= 2
    assert second.snapshot.written_bytes < first.snapshot.written_bytes / 4


def test_a_later_run_writes_the_changed_keys_alone(
    lake: Lake, location: str, clock: ManualClock, tmp_path: Path
) -> None:
    lake.backup(location)
    lake.bucket("images").put("a", b"third")
    lake.bucket("images").set_tags("large", {"team": "sound"})
    lake.bucket("models").delete("m")
    report = lake.backup(location)
    assert (report.is_base, report.changed_keys) == (False, 3)
    assert len(report.snapshot.layers) == 2
    assert_restores(lake, location, clock, tmp_path / "restored")


def test_equal_blobs_are_stored_once_under_the_hash_of_their_stored_bytes(
    lake: Lake, location: str, repository: Repository
) -> None:
    lake.bucket("images").put("again", LARGE)
    before = [name for name, _ in repository.list_files("blobs")]
    lake.backup(location)
    files = [name for name, _ in repository.list_files("blobs")]
    assert sum(repository.check("blobs", name) == len(LARGE) for name in files) == 1
    assert set(before) <= set(files)


def test_a_layer_of_half_the_base_becomes_a_new_base_that_refers_to_packs_written_before(
    lake: Lake, location: str, clock: ManualClock, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(taking, "LAYER_ROWS_MIN", 1)
    first = lake.backup(location)
    for number in range(8):
        lake.bucket("models").put(f"m{number}", b"changed %d" % number)
    second = lake.backup(location)
    assert (second.is_base, len(second.snapshot.layers)) == (True, 1)
    assert set(first.snapshot.layers[0].packs) < set(second.snapshot.layers[0].packs)
    assert_restores(lake, location, clock, tmp_path / "restored")


def test_a_pack_of_which_little_is_needed_is_left_behind_by_a_new_base(
    lake: Lake, location: str, clock: ManualClock, tmp_path: Path
) -> None:
    first = lake.backup(location)
    for key in ("a", "v1/model"):
        for version in list(lake.bucket("images").versions(key)):
            if key == "a":
                lake.bucket("images").delete(key, version=version.version_id)
    lake.bucket("models").delete("m")
    second = lake.backup(location, is_full=True)
    assert set(first.snapshot.layers[0].packs).isdisjoint(second.snapshot.layers[0].packs)
    assert_restores(lake, location, clock, tmp_path / "restored")


def test_parts_of_an_upload_come_along_once_it_is_complete(
    lake: Lake, location: str, clock: ManualClock, tmp_path: Path
) -> None:
    store = lake.store
    create = partial(multipart.create_upload, bucket_name="models", key="u", attributes=Attributes())
    upload = store.commit(create).upload_id
    add = partial(
        multipart.add_part,
        bucket_name="models",
        key="u",
        upload_id=upload,
        number=1,
        body=stage_inline(b"part"),
        etag="e0",
    )
    store.commit(add)
    before = lake.backup(location)
    assert before.snapshot.objects == 5
    request = multipart.CompleteRequest("models", "u", upload, [multipart.CompletedPart(1, "e0")])
    store.commit(partial(multipart.complete_upload, request=request))
    assert not lake.backup(location).is_base
    assert_restores(lake, location, clock, tmp_path / "restored")


def test_a_lake_put_back_to_an_older_state_by_hand_is_written_anew(
    lake: Lake, location: str, clock: ManualClock, tmp_path: Path
) -> None:
    lake.backup(location)
    # The event by which the history is known again, as another history would have it.
    lake.store.commit(lambda tx: tx.run("UPDATE event SET key = 'other' WHERE seq = (SELECT max(seq) FROM event)"))
    report = lake.backup(location)
    assert report.is_base
    assert_restores(lake, location, clock, tmp_path / "restored")


def test_a_restored_lake_begins_a_base_of_its_own(
    lake: Lake, location: str, clock: ManualClock, tmp_path: Path
) -> None:
    lake.backup(location)
    restore_backup(location, tmp_path / "other", clock=clock)
    with hosu.open(tmp_path / "other", clock=clock) as other:
        other.bucket("models").put("m2", b"other")
        assert other.backup(location).is_base
    lake.bucket("models").put("m3", b"ours")
    assert not lake.backup(location).is_base
    assert_restores(lake, location, clock, tmp_path / "restored")


def test_the_feed_is_kept_for_the_next_run_and_for_no_other(lake: Lake, location: str) -> None:
    for _ in range(3):
        report = lake.backup(location)
    rows = lake.store.view().rows("SELECT name, seq FROM subscription WHERE name LIKE 'backup/%'")
    assert [row[0].rpartition("/")[2] for row in rows] == [report.snapshot.id]
    assert rows[0][0].startswith(BACKUPS)
    assert rows[0][1] == report.snapshot.seq - 1


def test_blob_files_stay_while_they_are_read_whatever_is_swept(
    lake: Lake, location: str, clock: ManualClock, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = dump(lake.store)
    copy = Sending.store_blob

    def delete_first(self: Sending, store: ObjectStore, row: BlobRow, *, is_new: bool) -> None:
        for version in list(lake.bucket("images").versions("large")):
            lake.bucket("images").delete("large", version=version.version_id)
        clock.advance(20 * 60 * 1000)
        sweep(lake.store)
        copy(self, store, row, is_new=is_new)

    monkeypatch.setattr(Sending, "store_blob", delete_first)
    assert lake.backup(location).damaged == ()
    monkeypatch.undo()
    assert sweep(lake.store).blobs == 1
    assert lake.store.view().rows("SELECT * FROM hold") == []
    restore_backup(location, tmp_path / "restored", clock=clock)
    with hosu.open(tmp_path / "restored", clock=clock) as restored:
        assert dump(restored.store) == expected


def test_bytes_that_the_lake_has_lost_are_named_and_come_once_they_are_restored(
    lake: Lake, location: str, clock: ManualClock, tmp_path: Path
) -> None:
    (blob_id,) = lake.store.view().row("SELECT id FROM blob WHERE kind = 1") or (0,)
    file = lake.store.files.path(blob_id)
    file.write_bytes(b"?" * len(LARGE))
    report = lake.backup(location)
    assert report.damaged == ("images/large",)
    assert [damage.blob_id for damage in report.snapshot.damaged] == [blob_id]
    restored = restore_backup(location, tmp_path / "damaged", clock=clock)
    assert restored.damaged == ("images/large",)
    file.write_bytes(LARGE)
    again = lake.backup(location)
    assert (again.is_base, again.damaged, again.snapshot.damaged) == (False, (), ())
    assert_restores(lake, location, clock, tmp_path / "restored")


def test_small_bytes_that_the_lake_has_lost_come_from_the_run_after_they_are_restored(
    lake: Lake, location: str, clock: ManualClock, tmp_path: Path
) -> None:
    lake.store.commit(lambda tx: tx.run("UPDATE blob SET body = x'00' WHERE body = ?", (b"second",)))
    assert lake.backup(location).damaged == ("images/a",)
    lake.store.commit(lambda tx: tx.run("UPDATE blob SET body = ? WHERE body = x'00'", (b"second",)))
    assert lake.backup(location).damaged == ()
    assert_restores(lake, location, clock, tmp_path / "restored")


def test_keys_are_left_out_when_asked(lake: Lake, location: str) -> None:
    def files(report: taking.Report) -> set[str]:
        return {file.path for file in report.snapshot.files}

    with_keys = lake.backup(location)
    assert "meta/lake.key" in files(with_keys)
    assert with_keys.snapshot.has_lake_key
    without = lake.backup(location, exclude_keys=True)
    assert "meta/lake.key" not in files(without)
    assert (without.snapshot.has_lake_key, without.snapshot.excludes_keys) == (False, True)
    assert without.snapshot.lake_key == lake.store.keys.fingerprint


def test_the_audit_log_is_written_piece_by_piece_in_whole_lines(lake: Lake, location: str) -> None:
    lake.sweep()
    (log,) = (lake.path / "audit").glob("*.jsonl")
    with log.open("ab") as file:
        file.write(b'{"half":')
    lake.backup(location)
    with log.open("ab") as file:
        file.write(b'"done"}\n')
    report = lake.backup(location)
    (stored,) = [file for file in report.snapshot.files if file.path.startswith("audit/")]
    assert len(stored.pieces) == 2
    assert stored.size_bytes == log.stat().st_size


def test_a_place_in_the_lake_and_a_place_with_other_files_are_refused(lake: Lake, tmp_path: Path) -> None:
    with pytest.raises(InvalidInputError) as inside:
        lake.backup(lake.path / "backup")
    assert inside.value.kind is ErrorKind.LOCATION_INVALID
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "cat.jpg").write_bytes(b"cat")
    with pytest.raises(ConflictError) as other:
        lake.backup(tmp_path / "photos")
    assert other.value.kind is ErrorKind.NOT_A_BACKUP
    assert [path.name for path in (tmp_path / "photos").iterdir() if path.name[0] != "."] == ["cat.jpg"]


def test_a_run_that_is_stopped_keeps_nothing_and_lets_go_of_everything(lake: Lake, location: str) -> None:
    stop = threading.Event()
    stop.set()
    with pytest.raises(UnavailableError) as stopped:
        take_backup(lake.store, location, stop=stop)
    assert stopped.value.kind is ErrorKind.SHUTTING_DOWN
    assert lake.store.view().rows("SELECT name FROM subscription UNION ALL SELECT name FROM hold") == []
    assert not lake.backup(location).damaged


def test_what_is_read_back_wrong_fails_the_run(
    lake: Lake, location: str, monkeypatch: pytest.MonkeyPatch, repository: Repository
) -> None:
    lake.bucket("images").put("large2", LARGE + b"2")
    count = len(repository.snapshot_keys())
    check = Repository.check

    def spoil(self: Repository, kind: str, name: str) -> int:
        Path(location, kind, name[:2], name).write_bytes(b"spoilt by the disk")
        return check(self, kind, name)

    monkeypatch.setattr(Repository, "check", spoil)
    with pytest.raises(HosuError) as failure:
        lake.backup(location)
    assert failure.value.kind is ErrorKind.BACKUP_CORRUPT
    monkeypatch.undo()
    assert len(repository.snapshot_keys()) == count
    lake.backup(location)
    assert verify(repository, reads_all=True).faults == ()


def test_bytes_that_are_compressed_in_place_come_along(
    lake: Lake, location: str, clock: ManualClock, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither a version nor its class changes then: of a whole object, of one in parts, and of one put as COLD."""
    monkeypatch.setattr(multipart, "PART_BYTES_MIN", 1)
    store = lake.store
    create = partial(
        multipart.create_upload, bucket_name="models", key="parts", attributes=Attributes(), storage_class=COLD
    )
    upload, named = store.commit(create).upload_id, []
    for number in (1, 2):
        with store.new_blob() as blob:
            blob.write(LARGE * number)
            staged = store.finish_blob(blob)
        add = partial(multipart.add_part, bucket_name="models", key="parts", upload_id=upload)
        store.commit(partial(add, number=number, body=staged, etag=md5(LARGE * number).hexdigest()))
        named.append(multipart.CompletedPart(number, md5(LARGE * number).hexdigest()))
    request = multipart.CompleteRequest("models", "parts", upload, named)
    store.commit(partial(multipart.complete_upload, request=request))
    with store.new_blob() as blob:
        blob.write(LARGE * 3)
        whole = PutRequest("models", "whole", store.finish_blob(blob), md5(LARGE * 3).hexdigest(), storage_class=COLD)
    store.commit(partial(put_object, request=whole))
    lake.backup(location)
    view = store.view()
    saved = 0
    for key in ("parts", "whole"):
        seq = view.value("SELECT seq FROM object WHERE bucket_id = 2 AND key = ?", (key,))
        moved = move(store, "models", key, seq, None)
        saved += 0 if moved is None else moved.saved_bytes
    assert saved > len(LARGE)
    report = lake.backup(location)
    assert (report.is_base, report.changed_keys) == (False, 2)
    assert_restores(lake, location, clock, tmp_path / "restored")
    clock.advance(pruning.GRACE_MS)
    place = Repository.open(FolderFileIO(location, clock=clock), clock)
    assert prune(place, Retention(last=1)).files > 0
    assert verify(place, reads_all=True).faults == ()
    with hosu.open(tmp_path / "restored", clock=clock) as restored:
        assert bytes(restored.bucket("models").get("parts")) == LARGE * 3


def test_a_repair_of_the_lake_has_the_next_run_read_all_records(lake: Lake, location: str) -> None:
    lake.backup(location)
    lake.store.commit(lambda tx: tx.run("UPDATE bucket SET object_count = object_count + 1"))
    assert repair_records(lake.store, RECORD_CHECKS) > 0
    assert lake.backup(location).is_base


def test_reads_that_are_in_the_feed_change_nothing(lake: Lake, location: str) -> None:
    lake.backup(location)
    lake.store.commit(
        lambda tx: tx.record_event(tx.next_seq(), "ObjectAccessed:Get", "images", "a", "", 0, "", "somebody")
    )
    assert lake.backup(location).changed_keys == 0


def test_the_feed_is_not_kept_for_ever_for_a_backup_that_nobody_takes(lake: Lake, location: str) -> None:
    lake.backup(location)
    store = lake.store
    seq = store.view().value("SELECT max(seq) FROM event") + BACKUP_EVENTS_MAX
    store.commit(lambda tx: tx.record_event(seq, "BucketTouched", "images", "", "", 0, "", ""))
    store.commit(trim_events)
    assert store.view().value("SELECT count(*) FROM subscription WHERE substr(name, 1, 7) = ?", (BACKUPS,)) == 0
    assert lake.backup(location).is_base


@pytest.mark.parametrize("kind", ["snapshots", "tables", "records", "packs"])
def test_after_a_snapshot_that_is_damaged_or_incomplete_all_is_written_again(
    lake: Lake, location: str, clock: ManualClock, tmp_path: Path, kind: str
) -> None:
    snapshot = lake.backup(location).snapshot
    layer = snapshot.layers[0]
    name = {"tables": snapshot.tables[0], "records": layer.records[0], "packs": layer.packs[0]}.get(kind)
    path = Path(location) / (snapshot.key if name is None else f"{kind.replace('tables', 'records')}/{name[:2]}/{name}")
    if kind in {"snapshots", "tables"}:
        path.write_bytes(b"{}")
    else:
        path.unlink()
    lake.bucket("images").put("a", b"third")
    assert lake.backup(location).is_base
    assert_restores(lake, location, clock, tmp_path / "restored")


def test_a_run_that_another_has_taken_for_dead_commits_no_snapshot(
    lake: Lake, location: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    repository = taking.make_repository(lake.store, location)
    send_blobs = taking._send_blobs

    def stand_still(*arguments: object) -> object:
        sent = send_blobs(*arguments)  # type: ignore[arg-type]
        held = msgspec.json.decode(repository.files.read(LOCK), type=Holder)
        repository.files.put(LOCK, encoded(msgspec.structs.replace(held, token="another's")))
        return sent

    monkeypatch.setattr(taking, "_send_blobs", stand_still)
    with pytest.raises(ConflictError) as busy:
        lake.backup(location)
    assert busy.value.kind is ErrorKind.BACKUP_BUSY
    assert repository.snapshot_keys() == []

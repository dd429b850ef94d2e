"""What a restore makes, what it refuses, and how it goes on after it was stopped."""

import shutil
import stat
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

import msgspec
import pytest
from tests.support.backups import dump
from tests.unit.rules.backup.conftest import LARGE

import hosu
from hosu.kernel.disk import Disk, write_file
from hosu.kernel.errors import ConflictError, CorruptError, ErrorKind, HosuError, InvalidInputError, NotFoundError
from hosu.kernel.lakekey import encode_key
from hosu.lake import Lake
from hosu.objects.notifications import read_notifications
from hosu.objects.records import BlobKind
from hosu.objects.views import View
from hosu.rules.backup import restoring
from hosu.rules.backup.chunks import hash_of
from hosu.rules.backup.repository import Repository, encoded
from hosu.rules.backup.restoring import MARKER, restore_backup
from hosu.rules.events.config import Rule, set_rules
from hosu.testing.lake_check import find_faults
from hosu.testing.manual_clock import ManualClock

DAY_MS = 24 * 60 * 60 * 1000


def refusal(location: str, folder: Path, **options: object) -> HosuError:
    with pytest.raises(HosuError) as refused:
        restore_backup(location, folder, **options)  # type: ignore[arg-type]
    return refused.value


def test_a_restored_lake_is_the_lake_that_was(lake: Lake, location: str, clock: ManualClock, tmp_path: Path) -> None:
    (lake.path / "hosu.toml").write_text('region = "eu"\n')
    report = lake.backup(location)
    restored = restore_backup(location, tmp_path / "new", clock=clock)
    assert (restored.snapshot, restored.damaged, restored.notes) == (report.snapshot, (), ())
    assert (restored.objects, restored.versions, restored.blob_files) == (5, 2, 1)
    with hosu.open(tmp_path / "new", create=False, clock=clock) as found:
        assert dump(found.store) == dump(lake.store)
        assert find_faults(found.store) == []
        assert bytes(found.bucket("images").get("current/model")) == b"weights"
        assert found.bucket("images").tags("large") == {"team": "vision"}
        assert [user.name for user in found.users.list()] == ["alice"]
        events = list(found.changes())
        assert [(event.seq, event.kind, event.etag) for event in events] == [
            (report.snapshot.seq + 1, "LakeRestored", report.snapshot.id)
        ]
    assert (tmp_path / "new" / "hosu.toml").read_text() == 'region = "eu"\n'
    assert stat.S_IMODE((tmp_path / "new" / "meta" / "lake.key").stat().st_mode) == 0o600
    assert not (tmp_path / "new" / MARKER).exists()


def test_what_is_written_to_a_restored_lake_gets_ids_that_nothing_has_had(
    lake: Lake, location: str, clock: ManualClock, tmp_path: Path
) -> None:
    lake.backup(location)
    restore_backup(location, tmp_path / "new", clock=clock)
    with hosu.open(tmp_path / "new", clock=clock) as found:
        found.bucket("models").put("small", b"1")
        found.bucket("models").put("large", LARGE + b"2")
        assert find_faults(found.store) == []
        newest = lake.store.view().value("SELECT max(id) FROM blob")
        ids = found.store.view().rows("SELECT blob_id FROM object WHERE key IN ('small', 'large') AND bucket_id = 2")
        assert all(row[0] > newest for row in ids)


def test_blobs_count_as_verified_by_the_restore(lake: Lake, location: str, clock: ManualClock, tmp_path: Path) -> None:
    lake.backup(location)
    restore_backup(location, tmp_path / "new", clock=clock)
    with hosu.open(tmp_path / "new", clock=clock) as found:
        rows = found.store.view().rows(
            "SELECT kind, verified_ms, inode FROM blob WHERE kind <> ?", (BlobKind.COMPOSED,)
        )
        assert all(verified_ms == clock.now_ms() for _, verified_ms, _ in rows)
        assert all(inode > 0 for kind, _, inode in rows if kind == BlobKind.FILE)


def test_to_time_takes_the_newest_snapshot_at_or_before_and_none_is_an_error(
    lake: Lake, location: str, clock: ManualClock, tmp_path: Path
) -> None:
    taken = []
    for number in range(3):
        lake.bucket("models").put("m", b"%d" % number)
        taken.append(lake.backup(location).snapshot)
        clock.advance(DAY_MS)
    for to_ms, number in ((taken[1].at_ms, 1), (taken[2].at_ms - 1, 1), (taken[2].at_ms + 9, 2), (taken[0].at_ms, 0)):
        restored = restore_backup(location, tmp_path / f"at-{to_ms}", to_ms=to_ms, clock=clock)
        assert restored.snapshot.id == taken[number].id
        with hosu.open(tmp_path / f"at-{to_ms}", clock=clock) as found:
            assert bytes(found.bucket("models").get("m")) == b"%d" % number
    error = refusal(location, tmp_path / "none", to_ms=taken[0].at_ms - 1)
    assert error.kind is ErrorKind.BACKUP_NOT_FOUND
    assert taken[0].at.isoformat(timespec="seconds") in error.message
    assert not (tmp_path / "none").exists()
    assert refusal(location, tmp_path / "none", snapshot_id="0" * 16).kind is ErrorKind.BACKUP_NOT_FOUND


def test_one_bucket_or_prefix_comes_alone_with_users_and_policies(
    lake: Lake, location: str, clock: ManualClock, tmp_path: Path
) -> None:
    lake.backup(location)
    restored = restore_backup(location, tmp_path / "new", bucket="images", prefix="v1/", clock=clock)
    assert (restored.objects, restored.versions) == (1, 0)
    with hosu.open(tmp_path / "new", clock=clock) as found:
        assert [bucket.name for bucket in found.buckets()] == ["images"]
        assert [entry.key for entry in found.bucket("images").list()] == ["current/model", "v1/model"]
        assert bytes(found.bucket("images").get("current/model")) == b"weights"
        assert [user.name for user in found.users.list()] == ["alice"]
        assert find_faults(found.store) == []
    assert refusal(location, tmp_path / "none", bucket="nothing").kind is ErrorKind.BUCKET_NOT_FOUND


def test_a_folder_with_something_else_in_it_is_refused_and_left_alone(
    lake: Lake, location: str, clock: ManualClock, tmp_path: Path
) -> None:
    lake.backup(location)
    before = dump(lake.store)
    assert refusal(location, lake.path, clock=clock).kind in {ErrorKind.NOT_A_LAKE, ErrorKind.LOCATION_INVALID}
    assert dump(lake.store) == before
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "cat.jpg").write_bytes(b"cat")
    assert refusal(location, tmp_path / "photos").kind is ErrorKind.NOT_A_LAKE
    assert [path.name for path in (tmp_path / "photos").iterdir()] == ["cat.jpg"]
    assert refusal(location, tmp_path / "photos" / "cat.jpg").kind is ErrorKind.NOT_A_LAKE


def test_a_place_without_a_backup_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    assert refusal(str(tmp_path / "empty"), tmp_path / "new").kind is ErrorKind.BACKUP_NOT_FOUND


def test_a_stopped_restore_is_no_lake_and_goes_on(
    lake: Lake, location: str, clock: ManualClock, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lake.backup(location)

    def stop(disk: Disk, path: Path, data: bytes) -> None:
        if path.name == "format":
            raise KeyboardInterrupt
        write_file(disk, path, data)

    monkeypatch.setattr("hosu.rules.backup.restoring.write_file", stop)
    with pytest.raises(KeyboardInterrupt):
        restore_backup(location, tmp_path / "new", clock=clock)
    monkeypatch.undo()
    with pytest.raises(ConflictError) as no_lake:
        hosu.open(tmp_path / "new")
    assert no_lake.value.kind is ErrorKind.NOT_A_LAKE
    (blob,) = [path for path in (tmp_path / "new" / "blobs").glob("*/*") if path.is_file()]
    inode = blob.stat().st_ino
    other = refusal(location, tmp_path / "new", bucket="images", clock=clock)
    assert "another restore" in other.message
    restore_backup(location, tmp_path / "new", clock=clock)
    assert blob.stat().st_ino == inode
    with hosu.open(tmp_path / "new", clock=clock) as found:
        assert dump(found.store) == dump(lake.store)


def test_what_is_damaged_in_the_backup_is_named_and_the_rest_restored(
    location: str, repository: Repository, clock: ManualClock, tmp_path: Path
) -> None:
    large = next(name for name, stat_ in repository.list_files("blobs") if stat_.size_bytes == len(LARGE))
    file = Path(location, "blobs", large[:2], large)
    file.write_bytes(b"?" + LARGE[1:])
    restored = restore_backup(location, tmp_path / "changed", clock=clock)
    assert restored.damaged == ("images/large",)
    file.unlink()
    restored = restore_backup(location, tmp_path / "missing", clock=clock)
    assert restored.damaged == ("images/large",)
    with hosu.open(tmp_path / "missing", clock=clock) as found:
        assert bytes(found.bucket("images").get("a")) == b"second"
        with pytest.raises(CorruptError):
            found.bucket("images").get("large")


def test_of_a_damaged_pack_only_the_blobs_that_it_concerns_are_lost(
    location: str, repository: Repository, clock: ManualClock, tmp_path: Path
) -> None:
    ((name, _),) = repository.list_files("packs")
    file = Path(location, "packs", name[:2], name)
    data = file.read_bytes()
    file.write_bytes(data.replace(b"weights", b"W3ights"))
    restored = restore_backup(location, tmp_path / "new", clock=clock)
    assert restored.damaged == ("images/v1/model",)
    with hosu.open(tmp_path / "new", clock=clock) as found:
        assert bytes(found.bucket("models").get("m")) == b"model"
        with pytest.raises(CorruptError):
            found.bucket("images").get("v1/model")


def test_damaged_records_are_an_error_and_make_no_lake(
    location: str, repository: Repository, clock: ManualClock, tmp_path: Path
) -> None:
    (name,) = repository.snapshots()[0].layers[0].records
    Path(location, "records", name[:2], name).write_bytes(b"?")
    error = refusal(location, tmp_path / "new", clock=clock)
    assert error.kind is ErrorKind.BACKUP_CORRUPT
    assert name in error.message
    assert not (tmp_path / "new" / "format").exists()


def test_a_snapshot_whose_own_text_was_changed_is_an_error(
    location: str, repository: Repository, tmp_path: Path
) -> None:
    (key,) = repository.snapshot_keys()
    file = Path(location, key)
    file.write_text(file.read_text().replace('"objects": 5', '"objects": 6'))
    assert refusal(location, tmp_path / "new").kind is ErrorKind.BACKUP_CORRUPT


@pytest.mark.parametrize("changes", [{"at_ms": 10**18}, {"at_ms": -(10**18)}, {"id": "../../stolen"}, {"at_ms": 5}])
def test_a_snapshot_that_somebody_made_up_is_an_error(
    location: str, repository: Repository, tmp_path: Path, changes: dict[str, object]
) -> None:
    (key,) = repository.snapshot_keys()
    found = msgspec.to_builtins(repository.load(key)) | changes
    Path(location, key).write_bytes(encoded(found | {"hash": hash_of(encoded(found))}))
    assert refusal(location, tmp_path / "new").kind is ErrorKind.BACKUP_CORRUPT
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize("path", ["../stolen", "", "/stolen", "audit/../../stolen", "meta/lake.db", "blobs/x", "audit"])
def test_a_path_that_is_none_of_a_lakes_own_files_is_refused(
    lake: Lake, location: str, clock: ManualClock, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, path: str
) -> None:
    from hosu.rules.backup import taking

    monkeypatch.setattr(taking, "_key_files", lambda *_, **__: [(path, 0o600, b"?")])
    lake.backup(location)
    assert refusal(location, tmp_path / "new", clock=clock).kind is ErrorKind.BACKUP_CORRUPT
    assert not (tmp_path / "stolen").exists()


def test_sealed_blobs_need_the_lake_key_they_were_sealed_under(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    location = str(tmp_path / "backup")
    for name in ("right", "wrong"):
        (tmp_path / name).write_bytes(encode_key(name.encode().ljust(32, b".")))
    monkeypatch.setenv("HOSU_LAKE_KEY_FILE", str(tmp_path / "right"))
    monkeypatch.setenv("HOSU_DEFAULT_ENCRYPTION", "on")
    with hosu.open(tmp_path / "lake") as lake:
        lake.create_bucket("bbb").put("k", LARGE)
        lake.bucket("bbb").put("small", b"secret")
        lake.backup(location)
        expected = dump(lake.store)
    stored = b"".join(path.read_bytes() for path in Path(location).rglob("*") if path.is_file())
    assert b"secret" not in stored
    assert LARGE not in stored
    monkeypatch.delenv("HOSU_LAKE_KEY_FILE")
    assert refusal(location, tmp_path / "new").kind is ErrorKind.LAKE_KEY_MISSING
    monkeypatch.setenv("HOSU_LAKE_KEY_FILE", str(tmp_path / "wrong"))
    assert refusal(location, tmp_path / "new").kind is ErrorKind.LAKE_KEY_WRONG
    assert not (tmp_path / "new").exists()
    monkeypatch.setenv("HOSU_LAKE_KEY_FILE", str(tmp_path / "right"))
    restore_backup(location, tmp_path / "new")
    with hosu.open(tmp_path / "new") as found:
        assert dump(found.store) == expected
        assert bytes(found.bucket("bbb").get("k")) == LARGE
        assert bytes(found.bucket("bbb").get("small")) == b"secret"


def test_without_its_own_key_the_users_of_a_lake_need_it_given(
    lake: Lake, location: str, clock: ManualClock, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lake.backup(location, exclude_keys=True)
    assert refusal(location, tmp_path / "new", clock=clock).kind is ErrorKind.LAKE_KEY_MISSING
    shutil.copy(lake.path / "meta" / "lake.key", tmp_path / "key")
    monkeypatch.setenv("HOSU_LAKE_KEY_FILE", str(tmp_path / "key"))
    restored = restore_backup(location, tmp_path / "new", clock=clock)
    assert any("leaves keys out" in note for note in restored.notes)
    with hosu.open(tmp_path / "new", clock=clock) as found:
        assert [user.name for user in found.users.list()] == ["alice"]


def test_python_restores_by_time_and_refuses_times_without_a_zone(lake: Lake, location: str, tmp_path: Path) -> None:
    report = lake.backup(location)
    with pytest.raises(InvalidInputError):
        hosu.restore(location, tmp_path / "new", to_time=datetime(2026, 1, 1))  # noqa: DTZ001 - what is refused
    with pytest.raises(InvalidInputError):
        hosu.restore(location, tmp_path / "new", prefix="v1/")
    with pytest.raises(NotFoundError):
        hosu.restore(location, tmp_path / "new", to_time=report.snapshot.at - timedelta(seconds=1))
    restored = hosu.restore(location, tmp_path / "new", to_time=datetime.now(UTC))
    assert restored.snapshot.id == report.snapshot.id


def test_rules_about_events_count_from_the_restore_on_and_those_of_other_buckets_do_not(
    lake: Lake, location: str, clock: ManualClock, tmp_path: Path
) -> None:
    rule = Rule("r", "webhook:one", "arn:minio:sqs::one:webhook", ("s3:ObjectCreated:*",))
    for bucket in ("images", "models"):
        lake.store.commit(partial(set_rules, bucket=bucket, rules=[rule]))
    report = lake.backup(location)
    restore_backup(location, tmp_path / "new", bucket="images", clock=clock)
    with hosu.open(tmp_path / "new", clock=clock) as found:
        view = found.store.view()
        assert [(row.bucket, row.target) for row in read_notifications(view)] == [("images", "webhook:one")]
        assert view.rows("SELECT * FROM subscription") == [("notify:webhook:one", report.snapshot.seq + 1)]


def test_two_restores_into_one_folder_exclude_each_other(
    lake: Lake, location: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lake.backup(location)
    refused: list[HosuError] = []
    asked: list[str] = []
    settle = restoring._Restore._settle

    def meanwhile(self: restoring._Restore, view: View, bucket: str, prefix: str) -> list[str]:
        if len(asked) < 2:
            asked.append(bucket)
            refused.append(refusal(location, tmp_path / "new"))
        return settle(self, view, bucket, prefix)

    monkeypatch.setattr(restoring._Restore, "_settle", meanwhile)
    assert restore_backup(location, tmp_path / "new").damaged == ()
    assert [error.kind for error in refused] == [ErrorKind.LAKE_LOCKED]
    with hosu.open(tmp_path / "new", create=False) as found:
        assert bytes(found.bucket("images").get("a")) == b"second"


def test_a_damaged_piece_of_the_audit_log_is_told_and_costs_nothing_else(
    lake: Lake, location: str, clock: ManualClock, tmp_path: Path
) -> None:
    (lake.path / "audit").mkdir(exist_ok=True)
    (lake.path / "audit" / "audit-20260101.jsonl").write_bytes(b"{}\n")
    (file,) = (it for it in lake.backup(location).snapshot.files if it.path == "audit/audit-20260101.jsonl")
    name = file.pieces[0].hash
    Path(location, "blobs", name[:2], name).unlink()
    restored = restore_backup(location, tmp_path / "new", clock=clock)
    assert [file.path in note for note in restored.notes] == [True]
    with hosu.open(tmp_path / "new", create=False, clock=clock) as found:
        assert dump(found.store) == dump(lake.store)

"""Which snapshots stay, and that no file goes that one of them needs."""

import pytest
from tests.unit.rules.backup.conftest import LARGE

from hosu.kernel.errors import ConflictError, CorruptError, ErrorKind, InvalidInputError
from hosu.lake import Lake
from hosu.rules.backup.pruning import GRACE_MS, Retention, outdated, prune
from hosu.rules.backup.repository import Repository, Snapshot
from hosu.rules.backup.verifying import verify
from hosu.testing.manual_clock import START_MS, ManualClock

HOUR_MS = 60 * 60 * 1000
DAY_MS = 24 * HOUR_MS


def snapshot(name: str, at_ms: int, lake: str = "here") -> Snapshot:
    return Snapshot(
        id=name, at_ms=at_ms, hosu="", lake_format=1, lake=lake, seq=1, event="", layers=(), tables=(), files=(),
        objects=0, object_bytes=0, versions=0, version_bytes=0, written_files=0, written_bytes=0,
    )  # fmt: skip


def gone(snapshots: list[Snapshot], **rules: int) -> list[str]:
    return [it.id for it in outdated(snapshots, Retention(**rules))]


def test_without_a_rule_every_snapshot_stays() -> None:
    assert gone([snapshot("1", 1), snapshot("2", 2)]) == []


def test_the_latest_stay_and_the_newest_of_each_lake_always() -> None:
    taken = [snapshot(str(number), number) for number in range(5)]
    assert gone(taken, last=2) == ["0", "1", "2"]
    assert gone([*taken, snapshot("other", 0, "there")], last=1) == ["0", "1", "2", "3"]


def test_the_last_of_each_day_and_week_stays() -> None:
    # 2026-01-01 is a Thursday: days 0 to 3 are of its week, 4 to 10 of the next
    taken = [
        snapshot(f"{day}.{hour}", START_MS + day * DAY_MS + hour * HOUR_MS) for day in range(12) for hour in (2, 14)
    ]
    kept = {it.id for it in taken} - set(gone(taken, daily=3))
    assert kept == {"11.14", "10.14", "9.14"}
    kept = {it.id for it in taken} - set(gone(taken, weekly=3))
    assert kept == {"11.14", "10.14", "3.14"}
    kept = {it.id for it in taken} - set(gone(taken, last=3, daily=2, weekly=9))
    assert kept == {"11.14", "11.2", "10.14", "3.14"}


def test_each_lake_of_a_shared_backup_keeps_its_own_days_and_latest_ones() -> None:
    taken = [
        snapshot(f"{lake}{day}", START_MS + day * DAY_MS + hour * HOUR_MS, lake)
        for day in range(4)
        for hour, lake in ((2, "here"), (3, "there"))
    ]
    assert gone(taken, daily=3) == ["here0", "there0"]
    assert gone(taken, last=3) == ["here0", "there0"]


def test_a_number_that_makes_no_sense_is_refused() -> None:
    with pytest.raises(InvalidInputError):
        Retention(last=-1)


def test_what_only_removed_snapshots_needed_goes_and_nothing_else(
    lake: Lake, location: str, repository: Repository, clock: ManualClock
) -> None:
    images = lake.bucket("images")
    images.put("large2", LARGE + b"2")
    clock.advance(1)
    lake.backup(location)
    for version in list(images.versions("large2")):
        images.delete("large2", version=version.version_id)
    clock.advance(1)
    lake.backup(location)
    clock.advance(GRACE_MS)
    planned = prune(repository, Retention(last=1), is_dry=True)
    assert (len(planned.snapshots), planned.kept) == (2, 1)
    assert len(repository.snapshot_keys()) == 3
    done = prune(repository, Retention(last=1))
    assert done == planned
    # the blob, and the small tables of two snapshots
    assert done.files == 3
    assert done.bytes > len(LARGE)
    assert verify(repository, reads_all=True).faults == ()
    assert prune(repository, Retention(last=1)).files == 0
    assert not lake.backup(location).is_base


def test_a_blob_that_a_snapshot_in_between_needs_stays(
    lake: Lake, location: str, repository: Repository, clock: ManualClock
) -> None:
    images = lake.bucket("images")
    for body in (LARGE + b"2", LARGE + b"3"):
        images.put("large2", body)
        clock.advance(1)
        lake.backup(location)
        for version in list(images.versions("large2")):
            images.delete("large2", version=version.version_id)
    clock.advance(1)
    lake.backup(location)
    clock.advance(GRACE_MS)
    first, second, third, fourth = repository.snapshots()
    repository.files.delete_many([first.key, third.key])
    sizes = {stat.size_bytes for _, stat in repository.list_files("blobs")}
    done = prune(repository, Retention())
    assert [it.id for it in repository.snapshots()] == [second.id, fourth.id]
    assert done.files >= 1
    left = [stat.size_bytes for _, stat in repository.list_files("blobs")]
    assert sizes.issuperset(left)
    assert left.count(len(LARGE) + 1) == 1
    assert verify(repository, reads_all=True).faults == ()


def test_the_rest_of_a_run_that_died_goes_after_the_grace_time(repository: Repository, clock: ManualClock) -> None:
    repository.files.put(f"blobs/00/{'0' * 64}", b"rest")
    assert prune(repository, Retention()).files == 0
    clock.advance(GRACE_MS)
    assert prune(repository, Retention()).files == 1
    assert not repository.files.exists(f"blobs/00/{'0' * 64}")


def test_nothing_goes_when_it_cannot_be_known_what_is_needed(
    lake: Lake, location: str, repository: Repository, clock: ManualClock
) -> None:
    lake.bucket("models").put("more", b"more")
    clock.advance(GRACE_MS)
    lake.backup(location)
    before = {stat.key for stat in repository.files.list()}
    (name,) = repository.snapshots()[0].layers[0].records
    repository.files.put(f"records/{name[:2]}/{name}", b"?")
    with pytest.raises(CorruptError) as damaged:
        prune(repository, Retention(last=1), grace_ms=0)
    assert damaged.value.kind is ErrorKind.BACKUP_CORRUPT
    assert {stat.key for stat in repository.files.list()} == before


def test_verify_names_each_file_that_is_missing_or_changed(repository: Repository) -> None:
    assert verify(repository).faults == verify(repository, reads_all=True).faults == ()
    (pack,) = [name for name, _ in repository.list_files("packs")]
    blob = next(name for name, stat in repository.list_files("blobs") if stat.size_bytes == len(LARGE))
    repository.files.put(f"packs/{pack[:2]}/{pack}", b"?")
    repository.files.delete_many([f"blobs/{blob[:2]}/{blob}"])
    quick, whole = verify(repository), verify(repository, reads_all=True)
    assert [blob in fault for fault in quick.faults] == [True]
    assert len(whole.faults) == 2
    assert any(pack in fault for fault in whole.faults)
    (record,) = repository.snapshots()[0].layers[0].records
    repository.files.put(f"records/{record[:2]}/{record}", b"?")
    (key,) = repository.snapshot_keys()
    assert any(fault.startswith(key) and record in fault for fault in verify(repository).faults)


def test_two_writers_exclude_each_other(lake: Lake, location: str, repository: Repository) -> None:
    from hosu.rules.backup.lease import leased

    with leased(repository, "prune"):
        for work in (lambda: lake.backup(location), lambda: prune(repository, Retention())):
            with pytest.raises(ConflictError) as busy:
                work()
            assert busy.value.kind is ErrorKind.BACKUP_BUSY
            assert "prune" in busy.value.message
    lake.backup(location)

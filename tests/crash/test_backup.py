"""A backup that dies at any step leaves the snapshots before it; a restore that does leaves no lake, or all of one."""

import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from tests.crash.lakes import LARGE, STEPS_MAX, Workshop, attempt
from tests.support.backups import dump

import hosu
from hosu.kernel.errors import ConflictError, ErrorKind
from hosu.kernel.fileio import FileIO, FolderFileIO
from hosu.kernel.fileio.contract import FileWriter
from hosu.kernel.fileio.keys import FileStat
from hosu.lake import Lake
from hosu.objects.store import ObjectStore
from hosu.rules.backup import pruning, taking
from hosu.rules.backup.lease import LEASE_MS
from hosu.rules.backup.pruning import Retention, prune
from hosu.rules.backup.repository import Repository
from hosu.rules.backup.restoring import restore_backup
from hosu.rules.backup.verifying import verify
from hosu.testing.durable_tree import Survival
from hosu.testing.faulty_disk import Fault, SimulatedCrash
from hosu.testing.lake_check import find_faults
from hosu.testing.manual_clock import ManualClock

SNAPSHOTS = 2


class DyingFileIO(FolderFileIO):
    """A place whose writer is killed at one of its calls: before it does anything, or after it has."""

    def __init__(self, root: str, clock: ManualClock, step: int, *, is_done: bool) -> None:
        super().__init__(root, clock=clock)
        self.left = step
        self.is_done = is_done

    def _dying(self, call: Callable[[], Any]) -> Any:
        self.left -= 1
        if self.left < 0 or (self.left == 0 and not self.is_done):
            raise SimulatedCrash
        result = call()
        if self.left == 0:
            raise SimulatedCrash
        return result

    def _put(self, key: str, view: memoryview, *, if_absent: bool, if_match: str | None) -> FileStat:
        put = super()._put
        return self._dying(lambda: put(key, view, if_absent=if_absent, if_match=if_match))  # type: ignore[no-any-return]

    def _open_write(self, key: str) -> FileWriter:
        open_write = super()._open_write
        return self._dying(lambda: open_write(key))  # type: ignore[no-any-return]

    def _delete_many(self, keys: Sequence[str]) -> None:
        delete_many = super()._delete_many
        self._dying(lambda: delete_many(keys))


def fill(lake: Lake, seed: int) -> None:
    images = lake.create_bucket("images", exist_ok=True)
    for key in ("a", "b"):
        images.put(f"{key}{seed}", b"small %d" % seed)
        images.put(f"{key}{seed}/large", LARGE + b"%d" % seed)
    images.put("always", LARGE + b"always %d" % seed)


def repository(location: str, clock: ManualClock) -> Repository:
    return Repository.open(FolderFileIO(location, clock=clock), clock)


@pytest.mark.parametrize("is_done", [False, True], ids=["before", "after"])
def test_a_backup_killed_at_any_call_leaves_every_snapshot_before_it_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, is_done: bool
) -> None:
    clock, location = ManualClock(), str(tmp_path / "backup")
    with hosu.open(tmp_path / "lake", clock=clock) as lake:
        fill(lake, 0)
        lake.backup(location)
        for step in range(1, STEPS_MAX):
            fill(lake, step)
            clock.advance(1)
            place: FileIO = DyingFileIO(location, clock, step, is_done=is_done)
            monkeypatch.setattr(taking, "check_location", lambda *_: None)
            monkeypatch.setattr(taking, "open_location", lambda *_, place=place, **__: place)
            crash = None
            try:
                lake.backup(location)
            except SimulatedCrash as found:
                crash = found
            monkeypatch.undo()
            clock.advance(LEASE_MS)
            assert verify(repository(location, clock), reads_all=True).faults == ()
            if crash is None:
                break
        else:
            pytest.fail("it never came through")
        assert step > 5, "nothing was killed"
        last = lake.backup(location).snapshot
        restore_backup(location, tmp_path / "restored", snapshot_id=last.id, clock=clock)
        with hosu.open(tmp_path / "restored", clock=clock) as restored:
            assert dump(restored.store) == dump(lake.store)
        clock.advance(pruning.GRACE_MS)
        prune(repository(location, clock), Retention(last=1))
        needed = {
            key for kind in ("blobs", "packs", "records") for key, _ in repository(location, clock).list_files(kind)
        }
        assert verify(repository(location, clock), reads_all=True).files == len(needed)


@pytest.mark.parametrize("is_done", [False, True], ids=["before", "after"])
def test_a_prune_killed_at_any_call_leaves_every_snapshot_that_stays_whole(tmp_path: Path, *, is_done: bool) -> None:
    clock, location = ManualClock(), str(tmp_path / "backup")
    with hosu.open(tmp_path / "lake", clock=clock) as lake:
        for seed in range(4):
            fill(lake, seed)
            clock.advance(1)
            lake.backup(location)
    for step in range(1, STEPS_MAX):
        clock.advance(max(LEASE_MS, pruning.GRACE_MS))
        copy = shutil.copytree(location, tmp_path / f"copy{step}")
        place = DyingFileIO(str(copy), clock, step, is_done=is_done)
        dying = Repository.open(place, clock)
        try:
            prune(dying, Retention(last=2))
        except SimulatedCrash:
            left = verify(repository(str(copy), clock), reads_all=True)
            assert left.faults == ()
            assert left.snapshots >= SNAPSHOTS
            shutil.rmtree(copy)
        else:
            break
    assert step > 3, "nothing was killed"


def test_a_restore_cut_short_by_a_power_loss_is_no_lake_or_all_of_it(workshop: Workshop, tmp_path: Path) -> None:
    location = str(tmp_path / "backup")
    with hosu.open(tmp_path / "source") as lake:
        fill(lake, 0)
        lake.backup(location)
        expected = dump(lake.store)
    outcomes = set()
    for step in range(1, STEPS_MAX):
        with workshop.disk() as disk:
            disk.fail_at(step, Fault.CRASH)
            attempt(disk, partial(restore_backup, location, disk.root / "lake", disk=disk))
            has_crashed = disk.has_crashed
            for survival in (Survival.SYNCED, Survival.WRITTEN):
                root = workshop.fresh_folder()
                disk.after_restart(root, survival).close_vfs()
                outcomes.add(check_restored(location, root / "lake", expected))
                shutil.rmtree(root)
        if not has_crashed:
            break
    else:
        pytest.fail("it never came through")
    assert outcomes == {"none", "lake"}


def check_restored(location: str, folder: Path, expected: dict[str, Any]) -> str:
    """Hold what a power loss left to being a whole lake, or none that a second restore makes one."""
    found = "lake" if (folder / "format").exists() else "none"
    if found == "none":
        if folder.exists() and any(folder.iterdir()):
            with pytest.raises(ConflictError) as no_lake:
                hosu.open(folder)
            assert no_lake.value.kind is ErrorKind.NOT_A_LAKE
        restore_backup(location, folder)
    with ObjectStore(folder, space_reserve_bytes=0) as store:
        assert find_faults(store) == []
        assert dump(store) == expected
    return found


def test_a_process_that_is_killed_leaves_a_backup_that_goes_on(tmp_path: Path) -> None:
    location, chance = tmp_path / "backup", random.Random("backup")
    command = [sys.executable, "-m", "hosu", "backup", "run", str(tmp_path / "lake"), str(location), "--quiet"]
    with hosu.open(tmp_path / "lake") as lake:
        files = lake.create_bucket("files")
        for number in range(60):
            files.put(f"f{number}", LARGE + b"%d" % number)
        killed = 0
        for goal in (1, 15, 30, 45):
            process = subprocess.Popen(command)
            while process.poll() is None and len(list(location.glob("blobs/*/*"))) < goal:
                time.sleep(0.001)
            process.send_signal(signal.SIGKILL)
            killed += process.wait() == -signal.SIGKILL
            if (location / "hosu-backup.json").exists():
                place = Repository.open(FolderFileIO(location), lake.store.clock)
                assert verify(place, reads_all=True).faults == ()
            files.put(f"f{chance.randrange(60)}", LARGE + b"changed")
        assert killed
        done = subprocess.run(command, check=False)
        assert done.returncode == 0, "a dead process of this machine holds nothing"
        expected = dump(lake.store)
    restore_backup(str(location), tmp_path / "restored")
    with hosu.open(tmp_path / "restored") as restored:
        assert dump(restored.store) == expected

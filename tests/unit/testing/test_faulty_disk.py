"""The faulty disk loses what a power loss would lose, and nothing that was synced."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from hosu.kernel.disk import Disk, write_file
from hosu.testing.durable_tree import SECTOR_BYTES, FileModel, Survival
from hosu.testing.faulty_disk import Fault, FaultyDisk, SimulatedCrash


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[FaultyDisk]:
    (tmp_path / "live").mkdir()
    with FaultyDisk(tmp_path / "live") as opened:
        yield opened


def write(disk: Disk, path: Path, data: bytes, *, sync: bool) -> None:
    descriptor = disk.create(path)
    disk.write(descriptor, data)
    if sync:
        disk.sync(descriptor)
    disk.close(descriptor)


def survivors(disk: FaultyDisk, survival: Survival = Survival.SYNCED, seed: int = 0) -> dict[str, bytes]:
    root = disk.root.with_name(f"after-{survival.name}-{seed}")
    root.mkdir()
    disk.after_restart(root, survival, seed=seed).close_vfs()
    return {str(path.relative_to(root)): path.read_bytes() for path in root.rglob("*") if path.is_file()}


def test_a_file_survives_when_its_bytes_and_its_name_were_synced(disk: FaultyDisk) -> None:
    write(disk, disk.root / "both", b"both", sync=True)
    write(disk, disk.root / "name", b"name", sync=False)
    disk.sync_directory(disk.root)
    write(disk, disk.root / "bytes", b"bytes", sync=True)
    assert survivors(disk) == {"both": b"both", "name": b""}
    assert survivors(disk, Survival.WRITTEN) == {"both": b"both", "name": b"name", "bytes": b"bytes"}


def test_a_directory_takes_what_is_below_it_along(disk: FaultyDisk) -> None:
    disk.make_directory(disk.root / "a" / "b")
    write(disk, disk.root / "a" / "b" / "k", b"k", sync=True)
    disk.sync_directory(disk.root / "a" / "b")
    disk.sync_directory(disk.root)
    assert survivors(disk) == {}
    disk.sync_directory(disk.root / "a")
    assert survivors(disk, Survival.CHANCE) == {"a/b/k": b"k"}


def test_a_removal_that_was_not_synced_comes_back(disk: FaultyDisk) -> None:
    write(disk, disk.root / "k", b"k", sync=True)
    disk.sync_directory(disk.root)
    disk.unlink(disk.root / "k")
    disk.unlink(disk.root / "k")
    assert survivors(disk) == {"k": b"k"}
    disk.sync_directory(disk.root)
    assert survivors(disk, Survival.CHANCE) == {}


def test_a_replaced_file_is_the_old_or_the_new_one(disk: FaultyDisk) -> None:
    write_file(disk, disk.root / "k", b"old")
    write(disk, disk.root / "new", b"new", sync=True)
    disk.rename(disk.root / "new", disk.root / "k")
    found = {survivors(disk, Survival.CHANCE, seed)["k"] for seed in range(20)}
    assert found == {b"old", b"new"}
    assert survivors(disk) == {"k": b"old"}


def test_chance_tears_writes_at_sectors_and_is_repeatable(disk: FaultyDisk) -> None:
    write(disk, disk.root / "k", b"x" * SECTOR_BYTES * 8, sync=False)
    disk.sync_directory(disk.root)
    torn = survivors(disk, Survival.CHANCE, 1)["k"]
    assert {torn[at : at + SECTOR_BYTES] for at in range(0, len(torn), SECTOR_BYTES)} == {
        b"x" * SECTOR_BYTES, bytes(SECTOR_BYTES)
    }  # fmt: skip
    disk.root.with_name("after-CHANCE-1").rename(disk.root.with_name("first"))
    assert survivors(disk, Survival.CHANCE, 1)["k"] == torn


def test_writes_that_a_failed_sync_dropped_never_become_durable() -> None:
    file = FileModel(b"old")
    file.write(0, b"new")
    file.lose()
    file.write(3, b"!")
    file.sync()
    assert file.durable == b"old!"


@pytest.mark.parametrize(("fault", "number"), [(Fault.IO_ERROR, 5), (Fault.DISK_FULL, 28)])
def test_a_chosen_step_fails_once(disk: FaultyDisk, fault: Fault, number: int) -> None:
    disk.fail_at(2, fault)
    disk.sync_directory(disk.root)
    with pytest.raises(OSError, match=rf"\[Errno {number}\]"):
        disk.make_directory(disk.root / "a")
    disk.make_directory(disk.root / "a")
    assert disk.steps == 3


def test_nothing_works_after_a_crash(disk: FaultyDisk) -> None:
    disk.fail_at(1, Fault.CRASH)
    for _ in range(2):
        with pytest.raises(SimulatedCrash):
            disk.sync_directory(disk.root)
    disk.heal()
    with pytest.raises(SimulatedCrash):
        disk.open_read(disk.root / "k")
    assert disk.has_crashed

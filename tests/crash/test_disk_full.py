"""A disk without space: puts are refused clearly, reads and deletes go on, and space that returns is used."""

import os
import subprocess
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest
from tests.crash.lakes import BUCKET, put
from tests.crash.scenarios import create_bucket

from hosu.kernel.errors import ErrorKind, UnavailableError
from hosu.kernel.limits import MIB
from hosu.objects.delete import delete_object
from hosu.objects.listing import ListRequest, list_objects
from hosu.objects.read import find_with_blob
from hosu.objects.store import SPACE_CHECK_MS, ObjectStore
from hosu.objects.sweep import sweep
from hosu.testing.lake_check import find_faults, read_contents
from hosu.testing.manual_clock import ManualClock

DISK_BYTES = 24 * MIB
RESERVE_BYTES = 4 * MIB
BODY = b"body" * (MIB // 4)
PUTS_MAX = 100


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """Mount a filesystem in memory that is soon full."""
    folder = tmp_path / "disk"
    folder.mkdir()
    reason = "needs root, to mount a small filesystem"
    is_mounted = (
        os.geteuid() == 0
        and not subprocess.run(
            ["mount", "-t", "tmpfs", "-o", f"size={DISK_BYTES}", "tmpfs", folder], check=False, capture_output=True
        ).returncode
    )
    if not is_mounted:
        if os.environ.get("HOSU_CI") == "1":
            pytest.fail(reason)
        pytest.skip(reason)
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", folder], check=True)


def is_refused(operation: Callable[[], object]) -> bool:
    """Run a write; say whether it was refused because the disk is full."""
    try:
        operation()
    except UnavailableError as error:
        if error.kind != ErrorKind.DISK_FULL:
            raise
        return True
    return False


def fill(store: ObjectStore, prefix: str, body: bytes) -> int:
    """Put objects until the store says that the disk is full; return how many it took."""
    for number in range(PUTS_MAX):
        if is_refused(partial(put, store, f"{prefix}{number}", number.to_bytes(4) + body)):
            return number
    raise AssertionError("the disk never got full")


def test_below_the_reserve_puts_are_refused_and_deletes_make_room(small_disk: Path) -> None:
    clock = ManualClock()
    with ObjectStore(small_disk / "lake", clock=clock, space_reserve_bytes=RESERVE_BYTES) as store:
        create_bucket(store)
        while not is_refused(store.check_space):
            put(store, f"k{clock.now_ms()}", clock.now_ms().to_bytes(8) + BODY)
            clock.advance(SPACE_CHECK_MS)
        entries = list_objects(store.view(), ListRequest(BUCKET)).entries
        assert len(entries) > 5
        for entry in entries[:5]:
            assert find_with_blob(store.view(), BUCKET, entry.key)[0].size_bytes == len(BODY) + 8
            store.commit(partial(delete_object, bucket_name=BUCKET, key=entry.key))
        with pytest.raises(UnavailableError):
            store.new_blob()
        sweep(store, grace_ms=0, orphan_ms=0)
        clock.advance(SPACE_CHECK_MS)
        put(store, "again", BODY)
        assert find_faults(store) == []


def test_a_disk_filled_to_the_last_byte_refuses_puts_loses_nothing_and_recovers(small_disk: Path) -> None:
    with ObjectStore(small_disk / "lake", space_reserve_bytes=0) as store:
        create_bucket(store)
        put(store, "kept", BODY)
        ballast = small_disk / "ballast"
        free_bytes = os.statvfs(small_disk).f_bavail * os.statvfs(small_disk).f_frsize
        ballast.write_bytes(bytes(free_bytes))
        assert fill(store, "large", BODY) == 0
        before = read_contents(store)
        fill(store, "small", bytes(4_000))  # inline: taken until the log needs more space
        assert find_with_blob(store.view(), BUCKET, "kept")[0].size_bytes == len(BODY)
        assert before["versions"][0] in read_contents(store)["versions"]
        ballast.unlink()
        assert fill(store, "more", BODY) > 5
        store.commit(partial(delete_object, bucket_name=BUCKET, key="more1"))
        assert find_faults(store) == []
    with ObjectStore(small_disk / "lake", space_reserve_bytes=0) as store:
        assert find_faults(store) == []
        assert find_with_blob(store.view(), BUCKET, "kept")[0].size_bytes == len(BODY)

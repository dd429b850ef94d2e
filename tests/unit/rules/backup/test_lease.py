"""One writer at a time, and how a writer that died is told from one at work."""

import os
import subprocess
import sys

import msgspec
import pytest

from hosu.kernel.errors import ConflictError, ErrorKind
from hosu.kernel.fileio import MemoryFileIO
from hosu.rules.backup.lease import LEASE_MS, LOCK, Holder, leased, this_process
from hosu.rules.backup.repository import Repository, encoded
from hosu.testing.manual_clock import ManualClock


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def repository(clock: ManualClock) -> Repository:
    return Repository.open_or_make(MemoryFileIO(clock=clock), clock)


def hold(repository: Repository, until_ms: int, pid: int, process: str = "") -> None:
    holder = Holder("token", "backup", "elsewhere", pid, process, until_ms)
    repository.files.put(LOCK, encoded(holder))


def dead_pid() -> int:
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


def test_the_lock_goes_with_the_writer(repository: Repository) -> None:
    with leased(repository, "backup") as lease:
        assert msgspec.json.decode(repository.files.read(LOCK), type=Holder).pid == os.getpid()
        lease.check()
    assert not repository.files.exists(LOCK)


def test_a_writer_elsewhere_counts_as_alive_until_its_lease_ends(repository: Repository, clock: ManualClock) -> None:
    hold(repository, clock.now_ms() + LEASE_MS, dead_pid())
    with pytest.raises(ConflictError) as busy, leased(repository, "backup"):
        pass
    assert busy.value.kind is ErrorKind.BACKUP_BUSY
    clock.advance(LEASE_MS)
    with leased(repository, "backup"):
        pass


def test_a_process_of_this_machine_that_has_ended_holds_nothing(repository: Repository, clock: ManualClock) -> None:
    assert this_process()
    hold(repository, clock.now_ms() + LEASE_MS, os.getpid(), this_process())
    with pytest.raises(ConflictError), leased(repository, "backup"):
        pass
    hold(repository, clock.now_ms() + LEASE_MS, dead_pid(), this_process())
    with leased(repository, "backup"):
        pass


def test_who_was_taken_for_dead_notices_before_it_writes_a_snapshot(repository: Repository, clock: ManualClock) -> None:
    with leased(repository, "backup") as lease:
        hold(repository, clock.now_ms() + LEASE_MS, 1)
        lease.renew(clock.now_ms())
        with pytest.raises(ConflictError) as lost:
            lease.check()
        assert lost.value.kind is ErrorKind.BACKUP_BUSY
    assert repository.files.exists(LOCK), "the other's stays"


def test_a_lease_is_renewed_while_its_holder_works(repository: Repository, clock: ManualClock) -> None:
    with leased(repository, "backup") as lease:
        clock.advance(LEASE_MS)
        lease.renew(clock.now_ms())
        lease.check()
        held = msgspec.json.decode(repository.files.read(LOCK), type=Holder)
        assert held.until_ms == clock.now_ms() + LEASE_MS


def test_the_place_may_fail_for_as_long_as_the_lease_lasts(
    repository: Repository, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    from hosu.kernel.errors import UnavailableError

    def fail(*_: object, **__: object) -> None:
        raise UnavailableError(ErrorKind.STORE_UNAVAILABLE, "no answer")

    with leased(repository, "backup") as lease:
        monkeypatch.setattr(repository.files, "put", fail)
        lease.renew(clock.now_ms())
        lease.check()
        lease.renew(clock.now_ms() + LEASE_MS)
        with pytest.raises(ConflictError):
            lease.check()


def test_a_lock_file_that_makes_no_sense_is_taken_over(repository: Repository) -> None:
    repository.files.put(LOCK, b"\0\0\0")
    with leased(repository, "backup"):
        pass

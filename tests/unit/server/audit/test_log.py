"""Lines that belong to no transaction: never waited for, dropped when there are too many, and then told."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from hosu.objects.audit import AuditLine
from hosu.objects.audit_files import AuditFiles
from hosu.objects.audit_query import query
from hosu.objects.audit_switch import set_reads
from hosu.objects.buckets import create_bucket, delete_bucket
from hosu.objects.store import ObjectStore
from hosu.server.audit import log as module
from hosu.server.audit.log import AuditLog
from hosu.server.audit.reads import ReadSwitches
from hosu.testing.manual_clock import ManualClock

NOW_MS = 1_795_000_000_000


@pytest.fixture
def store(tmp_path: Path) -> Iterator[ObjectStore]:
    with ObjectStore(tmp_path / "lake", clock=ManualClock(NOW_MS), space_reserve_bytes=0) as opened:
        yield opened


def line(key: str) -> AuditLine:
    return AuditLine(time="2026-11-21T06:00:00.000Z", principal="p", operation="s3:GetObject", key=key)


def logged(capfd: pytest.CaptureFixture[str]) -> list[str]:
    return [json.loads(text)["event"] for text in capfd.readouterr().err.splitlines()]


def test_lines_are_written_by_flush_each_with_an_id_of_its_own(store: ObjectStore) -> None:
    log = AuditLog(store, AuditFiles(store))
    log.add(line("a"))
    log.add(line("b"))
    assert (log.waiting, list(query(store.path))) == (2, [])
    log.flush()
    found = list(query(store.path))
    assert [row.key for row in found] == ["a", "b"]
    assert len({row.id for row in found}) == 2
    assert (log.waiting, log.written, log.dropped) == (0, 2, 0)


def test_two_processes_give_different_ids(store: ObjectStore) -> None:
    for log in (AuditLog(store, AuditFiles(store)), AuditLog(store, AuditFiles(store))):
        log.add(line("a"))
        log.flush()
    assert len({row.id for row in query(store.path)}) == 2


def test_too_many_lines_at_once_are_dropped_counted_and_told(
    store: ObjectStore, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(module, "LINES_WAITING_MAX", 3)
    log = AuditLog(store, AuditFiles(store))
    for number in range(5):
        log.add(line(str(number)))
    log.flush()
    log.flush()
    assert [row.key for row in query(store.path)] == ["0", "1", "2"]
    assert (log.written, log.dropped) == (3, 2)
    assert logged(capfd) == ["lines of the audit log were dropped"]


def test_lines_that_the_disk_refuses_are_dropped_counted_and_told(
    store: ObjectStore, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    log = AuditLog(store, AuditFiles(store))
    log.add(line("lost"))
    with monkeypatch.context() as patch:
        patch.setattr(store.disk, "append", lambda _: (_ for _ in ()).throw(OSError(5, "Input/output error")))
        log.flush()
    log.add(line("kept"))
    log.flush()
    assert [row.key for row in query(store.path)] == ["kept"]
    assert (log.written, log.dropped) == (1, 1)
    assert logged(capfd) == ["the audit log cannot be written", "lines of the audit log were dropped"]


def test_lines_do_not_eat_the_reserve_of_free_space(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    with ObjectStore(tmp_path / "lake", clock=ManualClock(NOW_MS), space_reserve_bytes=2**62) as store:
        log = AuditLog(store, AuditFiles(store))
        log.add(line("a"))
        log.flush()
        assert (log.written, log.dropped) == (0, 1)
        assert list(query(store.path)) == []
    assert "the audit log cannot be written" in logged(capfd)


def test_a_switch_counts_at_once_in_every_process(store: ObjectStore, tmp_path: Path) -> None:
    store.commit(lambda tx: create_bucket(tx, "images"))
    with ObjectStore(tmp_path / "lake", clock=ManualClock(NOW_MS)) as other:
        switches = ReadSwitches(other, all_reads=False)
        assert not switches.are_on("images")
        store.commit(lambda tx: set_reads(tx, "images", is_on=True))
        assert (switches.are_on("images"), switches.are_on("others")) == (True, False)
        store.commit(lambda tx: delete_bucket(tx, "images"))
        assert not switches.are_on("images")


def test_all_reads_need_no_switch(store: ObjectStore) -> None:
    assert ReadSwitches(store, all_reads=True).are_on("any")

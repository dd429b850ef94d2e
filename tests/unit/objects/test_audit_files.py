"""The files of the audit log: durable lines, rotation, expiry; and reading them."""

import shutil
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

import pytest
from tests.unit.objects.conftest import BUCKET, Commit, Put

from hosu.kernel.errors import ConflictError, ErrorKind, UnavailableError
from hosu.objects.audit import ENCODER, AuditLine, Origin, count_outbox, format_time, remove_outbox
from hosu.objects.audit_files import AuditFiles, drain, list_files
from hosu.objects.audit_query import query
from hosu.objects.buckets import create_bucket
from hosu.objects.store import ObjectStore
from hosu.testing.manual_clock import ManualClock

DAY_MS = 24 * 3600 * 1000
MORNING = datetime(2026, 11, 21, 6, tzinfo=UTC)


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(int(MORNING.timestamp() * 1000))


@pytest.fixture
def files(store: ObjectStore) -> Iterator[AuditFiles]:
    opened = AuditFiles(store, file_bytes_max=1_000)
    yield opened
    opened.close()


def names(lake: Path) -> list[str]:
    return [file.path.name for file in list_files(lake / "audit")]


def ids(lake: Path) -> list[str]:
    """Return the ids of the lines that `line` made."""
    return [found.id for found in query(lake, operation="s3:Get")]


def line(number: int, key: str = "") -> bytes:
    made = AuditLine(id=f"x{number}", time="2026-11-21T06:00:00.000Z", principal="p", operation="s3:Get", key=key)
    return ENCODER.encode(made) + b"\n"


def test_rows_are_carried_over_once_and_leave_the_database(
    store: ObjectStore, files: AuditFiles, put: Put, lake: Path
) -> None:
    put("a")
    put("b")
    assert drain(store, files) == 3
    assert drain(store, files) == 0
    assert count_outbox(store.view()) == 0
    assert [found.key for found in query(lake)] == ["", "a", "b"]


def test_a_query_finds_what_still_waits(store: ObjectStore, files: AuditFiles, put: Put, lake: Path) -> None:
    put("a")
    drain(store, files)
    put("b")
    assert [(found.id, found.key) for found in query(lake)] == [("1", ""), ("2", "a"), ("3", "b")]


def test_what_a_crash_between_file_and_database_repeats_is_shown_once(
    store: ObjectStore, files: AuditFiles, put: Put, lake: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put("a")
    with monkeypatch.context() as patch:
        patch.setattr(store, "commit", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            drain(store, files)
    assert [found.id for found in query(lake)] == ["1", "2"]
    after = AuditFiles(store)
    assert drain(store, after) == 2
    after.close()
    assert [found.id for found in query(lake)] == ["1", "2"]
    assert len((lake / "audit" / names(lake)[0]).read_bytes().splitlines()) == 4


def test_rows_wait_while_the_disk_refuses_and_none_is_lost(
    store: ObjectStore, files: AuditFiles, put: Put, lake: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put("a")
    with monkeypatch.context() as patch:
        patch.setattr(store.disk, "sync", lambda _: (_ for _ in ()).throw(OSError(28, "No space left on device")))
        with pytest.raises(UnavailableError) as refusal:
            drain(store, files)
    assert refusal.value.kind is ErrorKind.DISK_FULL
    assert count_outbox(store.view()) == 2
    assert drain(store, files) == 2
    assert [found.id for found in query(lake)] == ["1", "2"]


def test_a_file_that_is_large_enough_is_followed_by_the_next(files: AuditFiles, lake: Path) -> None:
    for number in range(4):
        files.append(line(number, key="k" * 700), durable=False)
    assert names(lake) == ["audit-20261121.jsonl", "audit-20261121-1.jsonl"]
    assert ids(lake) == ["x0", "x1", "x2", "x3"]


def test_files_of_a_day_are_in_the_order_of_their_numbers(lake: Path, store: ObjectStore) -> None:
    del store
    (lake / "audit").mkdir()
    for name in ("audit-20261121-10.jsonl", "audit-20261121-9.jsonl", "audit-20261121.jsonl", "audit-20261120-2.jsonl"):
        (lake / "audit" / name).touch()
    (lake / "audit" / "notes.txt").touch()
    assert names(lake) == [
        "audit-20261120-2.jsonl", "audit-20261121.jsonl", "audit-20261121-9.jsonl", "audit-20261121-10.jsonl",
    ]  # fmt: skip


def test_a_new_day_begins_a_new_file(files: AuditFiles, lake: Path, clock: ManualClock) -> None:
    files.append(line(1), durable=True)
    clock.advance(DAY_MS)
    files.append(line(2), durable=True)
    assert names(lake) == ["audit-20261121.jsonl", "audit-20261122.jsonl"]


def test_a_file_that_somebody_took_away_is_begun_anew(files: AuditFiles, lake: Path) -> None:
    files.append(line(1), durable=True)
    (lake / "audit" / names(lake)[0]).unlink()
    files.append(line(2), durable=True)
    assert ids(lake) == ["x2"]


def test_files_expire_after_their_days_and_never_with_zero(files: AuditFiles, lake: Path, clock: ManualClock) -> None:
    for number in range(4):
        files.append(line(number), durable=False)
        clock.advance(DAY_MS)
    assert files.expire(0) == []
    assert files.expire(2) == ["audit-20261121.jsonl", "audit-20261122.jsonl"]
    assert names(lake) == ["audit-20261123.jsonl", "audit-20261124.jsonl"]


def test_a_line_that_a_crash_cut_off_harms_no_other(store: ObjectStore, lake: Path) -> None:
    first = AuditFiles(store)
    first.append(line(1) + line(2)[:-20], durable=True)
    first.close()
    second = AuditFiles(store)
    second.append(line(3), durable=True)
    second.close()
    assert ids(lake) == ["x1", "x3"]


def test_files_are_for_their_owner_alone(files: AuditFiles, lake: Path) -> None:
    files.append(line(1), durable=True)
    assert (lake / "audit" / names(lake)[0]).stat().st_mode & 0o777 == 0o600


def test_two_writers_share_a_file(store: ObjectStore, lake: Path) -> None:
    one, two = AuditFiles(store), AuditFiles(store)
    for number in range(0, 6, 2):
        one.append(line(number), durable=False)
        two.append(line(number + 1), durable=False)
    one.close()
    two.close()
    assert ids(lake) == [f"x{number}" for number in range(6)]
    assert len(names(lake)) == 1


def test_a_query_chooses_by_every_field(store: ObjectStore, files: AuditFiles, lake: Path) -> None:
    del store
    base = {"time": format_time(0), "principal": "p", "operation": "s3:GetObject"}
    written = [
        {**base, "id": "a", "time": "2026-11-20T10:00:00.000Z", "principal": "alice", "access_key": "K1"},
        {**base, "id": "b", "time": "2026-11-21T10:00:00.000Z", "bucket": "images", "key": "raw/1"},
        {**base, "id": "c", "time": "2026-11-21T10:00:00.001Z", "bucket": "images", "key": "out/1"},
        {**base, "id": "d", "time": "2026-11-22T10:00:00.000Z", "operation": "s3:PutObject", "decision": "denied"},
    ]
    for fields in written:
        files.append(ENCODER.encode(AuditLine(**fields)) + b"\n", durable=False)  # type: ignore[arg-type]

    def chosen(**wanted: object) -> str:
        return "".join(found.id for found in query(lake, **wanted) if found.id in "abcd")  # type: ignore[arg-type]

    noon = datetime(2026, 11, 21, 10, tzinfo=UTC)
    assert chosen() == "abcd"
    assert chosen(since=noon) == "bcd"
    assert chosen(until=noon) == "a"
    assert chosen(since=noon, until=noon + timedelta(milliseconds=1)) == "b"
    assert chosen(since=noon.replace(tzinfo=None) + timedelta(milliseconds=1)) == "cd"
    assert (chosen(principal="alice"), chosen(principal="K1"), chosen(principal="nobody")) == ("a", "a", "")
    assert (chosen(bucket="images"), chosen(bucket="images", prefix="raw/")) == ("bc", "b")
    assert (chosen(operation="s3:PutObject"), chosen(operation="s3:*"), chosen(operation="s3:P*")) == ("d", "abcd", "d")
    assert chosen(denied_only=True) == "d"


def test_a_query_of_what_is_no_lake_says_so(tmp_path: Path) -> None:
    with pytest.raises(ConflictError) as refusal:
        list(query(tmp_path / "nothing"))
    assert refusal.value.kind is ErrorKind.NOT_A_LAKE
    assert not (tmp_path / "nothing").exists()


def test_a_query_reads_while_another_process_writes(store: ObjectStore, lake: Path, commit: Commit) -> None:
    found = query(lake)
    assert next(found).bucket == BUCKET
    store.commit(partial(create_bucket, name="later"), Origin("R", "s3:CreateBucket", "alice"))
    assert list(found) == []
    assert [late.bucket for late in query(lake, principal="alice")] == ["later"]
    del commit


def test_what_another_process_left_half_written_does_not_take_the_next_line_with_it(
    store: ObjectStore, files: AuditFiles, put: Put, lake: Path
) -> None:
    put("a")
    drain(store, files)
    with list_files(lake / "audit")[0].path.open("ab") as other:
        other.write(b'{"id":"other-1","time":"2026')
    put("b")
    drain(store, files)
    assert [found.key for found in query(lake)] == ["", "a", "b"]


def test_no_id_is_given_twice_after_two_have_carried_the_same_rows(store: ObjectStore, put: Put, lake: Path) -> None:
    put("a")
    store.commit(partial(remove_outbox, upto=2))
    store.commit(partial(remove_outbox, upto=1))  # by one who had read fewer of them, and was slow
    put("b")
    assert [found.id for found in query(lake)] == ["3"]


def test_rows_that_cannot_be_removed_are_not_carried_over_again(
    store: ObjectStore, files: AuditFiles, put: Put, lake: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put("a")

    def refuse(*_: object, **__: object) -> None:
        raise UnavailableError(ErrorKind.DISK_FAULT, "the database is not")

    with monkeypatch.context() as patched:
        patched.setattr(store, "commit", refuse)
        for _ in range(3):
            with pytest.raises(UnavailableError):
                drain(store, files)
    assert drain(store, files) == 2
    assert list_files(lake / "audit")[0].path.read_bytes().count(b"\n") == 2


def test_a_query_from_a_day_on_finds_what_was_written_before_the_clock_went_back(
    store: ObjectStore, files: AuditFiles, put: Put, clock: ManualClock, lake: Path
) -> None:
    midnight = MORNING.replace(hour=0) + timedelta(days=1)
    clock.set_now_ms(int(midnight.timestamp() * 1000))
    put("late")
    clock.set_now_ms(clock.now_ms() - 5_000)
    drain(store, files)
    assert [found.key for found in query(lake, since=midnight)] == ["late"]


def test_what_happens_after_the_database_was_restored_from_a_backup_is_not_taken_for_a_repeat(
    lake: Path, tmp_path: Path
) -> None:
    """Ids go on from those of the backup then."""
    database, backup = lake / "meta" / "lake.db", tmp_path / "backup.db"
    ObjectStore(lake).close()
    shutil.copy(database, backup)
    for bucket in ("before", "after"):
        with ObjectStore(lake) as store:
            store.commit(partial(create_bucket, name=bucket))
            files = AuditFiles(store)
            drain(store, files)
            files.close()
        for path in database.parent.glob("lake.db*"):
            path.unlink()
        shutil.copy(backup, database)
    assert [found.bucket for found in query(lake)] == ["before", "after"]

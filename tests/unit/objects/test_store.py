"""Opening and closing a lake: what it refuses to open, what it survives, and who may serve it."""

import threading
from functools import partial
from pathlib import Path

import msgspec
import pytest
from tests.unit.objects.conftest import BUCKET, Put

from hosu.kernel.errors import ConflictError, CorruptError, ErrorKind, UnavailableError, UnsupportedError
from hosu.objects import buckets, database
from hosu.objects.lock import LakeLock
from hosu.objects.schema import FORMAT
from hosu.objects.store import SPACE_CHECK_MS, Format, ObjectStore
from hosu.testing.manual_clock import ManualClock


def test_an_empty_folder_becomes_a_lake_and_stays_one(lake: Path) -> None:
    lake.mkdir()
    for _ in range(2):
        ObjectStore(lake).close()
    assert msgspec.json.decode((lake / "format").read_bytes(), type=Format).format == FORMAT
    assert {path.name for path in lake.iterdir()} == {"format", "meta", "blobs", "tmp"}


def test_a_folder_with_other_files_is_left_alone(lake: Path) -> None:
    lake.mkdir()
    (lake / "thesis.txt").write_text("mine")
    with pytest.raises(ConflictError) as refusal:
        ObjectStore(lake)
    assert refusal.value.kind == ErrorKind.NOT_A_LAKE
    assert [path.name for path in lake.iterdir()] == ["thesis.txt"]


def test_a_file_is_no_lake(lake: Path) -> None:
    lake.write_text("mine")
    with pytest.raises(ConflictError) as refusal:
        ObjectStore(lake)
    assert refusal.value.kind == ErrorKind.NOT_A_LAKE


@pytest.mark.parametrize("content", ["", "{", "[]", '{"format": "x"}'])
def test_a_marker_that_says_nothing_is_refused(lake: Path, content: str) -> None:
    ObjectStore(lake).close()
    (lake / "format").write_text(content)
    with pytest.raises(ConflictError) as refusal:
        ObjectStore(lake)
    assert refusal.value.kind == ErrorKind.NOT_A_LAKE


def test_a_lake_of_a_newer_format_is_refused(lake: Path) -> None:
    ObjectStore(lake).close()
    (lake / "format").write_text(f'{{"format": {FORMAT + 1}, "more": true}}')
    with pytest.raises(UnsupportedError, match="install a newer hosu") as refusal:
        ObjectStore(lake)
    assert refusal.value.kind == ErrorKind.LAKE_NEWER


def test_a_lake_that_lost_its_database_is_not_opened_as_an_empty_one(store: ObjectStore, put: Put) -> None:
    put("k", b"x" * 20_000)
    store.close()
    for path in (store.path / "meta").iterdir():
        path.unlink()
    with pytest.raises(CorruptError) as refusal:
        ObjectStore(store.path)
    assert refusal.value.kind == ErrorKind.CORRUPT_LAKE


def test_a_database_that_is_no_database_is_refused(lake: Path) -> None:
    ObjectStore(lake).close()
    (lake / "meta" / "lake.db").write_bytes(b"rubbish " * 1_000)
    with pytest.raises(ConflictError) as refusal:
        ObjectStore(lake)
    assert refusal.value.kind == ErrorKind.CORRUPT_LAKE


MOUNTS = """\
22 1 254:0 / / rw,relatime shared:1 - ext4 /dev/root rw
30 22 0:40 / /mnt/nas rw - nfs4 nas:/export rw
31 30 0:41 / /mnt/nas/local\\040disk rw shared:2 master:3 - xfs /dev/sdb rw
32 22 0:42 / /mnt/nas2 rw - tmpfs none rw
"""


@pytest.mark.parametrize(
    ("path", "kind"),
    [("/srv/lake", "ext4"), ("/mnt/nas", "nfs4"), ("/mnt/nas/lake", "nfs4"), ("/mnt/nas/local disk/lake", "xfs"),
     ("/mnt/nas2/lake", "tmpfs"), ("/mnt/nasty", "ext4")],
)  # fmt: skip
def test_the_filesystem_of_a_path_is_that_of_the_nearest_mount(tmp_path: Path, path: str, kind: str) -> None:
    mounts = tmp_path / "mountinfo"
    mounts.write_text(MOUNTS)
    assert database.filesystem_kind(Path(path), mounts) == kind


def test_where_the_kernel_does_not_tell_nothing_is_assumed(tmp_path: Path) -> None:
    assert database.filesystem_kind(Path("/"), tmp_path / "missing") == ""


def test_metadata_on_a_network_filesystem_is_refused(lake: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(database, "filesystem_kind", lambda _: "nfs4")
    with pytest.raises(UnsupportedError, match="nfs4") as refusal:
        ObjectStore(lake)
    assert refusal.value.kind == ErrorKind.UNSUPPORTED


def test_an_old_sqlite_is_refused(lake: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(database, "SQLITE_VERSION_MIN", (99, 0, 0))
    with pytest.raises(UnsupportedError, match="apsw"):
        ObjectStore(lake)


def test_one_server_holds_a_lake_and_others_learn_which(store: ObjectStore) -> None:
    lock = LakeLock(store.path)
    with pytest.raises(ConflictError, match="process") as refusal:
        LakeLock(store.path)
    assert refusal.value.kind == ErrorKind.LAKE_LOCKED
    lock.release()
    LakeLock(store.path).release()


def test_a_closed_lake_refuses_reads_and_writes(lake: Path) -> None:
    store = ObjectStore(lake)
    store.close()
    store.close()
    for operation in (store.view, lambda: store.commit(partial(buckets.create_bucket, name=BUCKET))):
        with pytest.raises(UnavailableError) as refusal:
            operation()
        assert refusal.value.kind == ErrorKind.SHUTTING_DOWN


def test_closing_moves_the_log_into_the_database(store: ObjectStore, put: Put) -> None:
    put("k")
    store.close()
    assert {path.name for path in (store.path / "meta").iterdir()} == {"generation", "lake.db", "turns"}


def test_threads_that_end_take_their_connections_with_them(store: ObjectStore) -> None:
    for _ in range(20):
        thread = threading.Thread(target=store.view)
        thread.start()
        thread.join()
    assert len(store._views) <= 2


def test_space_is_looked_at_again_after_a_while(lake: Path, clock: ManualClock) -> None:
    with ObjectStore(lake, clock=clock, space_reserve_bytes=2**62) as store:
        for _ in range(2):
            with pytest.raises(UnavailableError) as refusal:
                store.check_space()
            assert refusal.value.kind == ErrorKind.DISK_FULL
        store._space_reserve_bytes = 0
        with pytest.raises(UnavailableError):
            store.new_blob()
        clock.advance(SPACE_CHECK_MS)
        store.check_space()


def test_a_reader_in_one_thread_sees_what_another_committed(store: ObjectStore, put: Put) -> None:
    found: list[int] = []
    store.view()
    thread = threading.Thread(target=lambda: put("k"))
    thread.start()
    thread.join()
    found.append(store.view().bucket(BUCKET).usage.object_count)
    assert found == [1]


def test_connections_are_set_up_as_durability_and_speed_want_it(store: ObjectStore) -> None:
    for connection in (store._writer_connection, store.view().connection):
        names = ("journal_mode", "synchronous", "cache_size", "temp_store", "wal_autocheckpoint", "page_size")
        settings = {name: connection.execute(f"PRAGMA {name}").fetchall()[0][0] for name in names}
        assert settings == {
            "journal_mode": "wal",
            "synchronous": 2,
            "cache_size": -database.CACHE_KIB,
            "temp_store": 2,
            "wal_autocheckpoint": 0,
            "page_size": database.PAGE_BYTES,
        }

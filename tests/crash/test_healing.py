"""The power goes at every step of restoring and copying; the right bytes are read then, and no copy is imagined."""

import shutil
import threading
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import pytest
from blake3 import blake3
from tests.crash.lakes import BUCKET, LARGE, SMALL, STEPS_MAX, Operation, Workshop, attempt, opened
from tests.crash.scenarios import create_bucket, enable_versioning, encrypt_bucket, putting

from hosu.kernel.fileio import FileStat, FileWriter, FolderFileIO
from hosu.kernel.settings import Settings
from hosu.objects.bodies import open_body
from hosu.objects.delete import delete_object
from hosu.objects.protected import ProtectedPrefix
from hosu.objects.store import ObjectStore
from hosu.objects.sweep import sweep
from hosu.rules import copy_places
from hosu.rules.copies import GRACE_DAYS, copy_key
from hosu.rules.copy_job import LocationKeeper
from hosu.rules.doctor_files import treat
from hosu.rules.healing import install_healer
from hosu.rules.keeping import Keep
from hosu.rules.protection import protect
from hosu.testing.durable_tree import Survival
from hosu.testing.faulty_disk import Fault, SimulatedCrash
from hosu.testing.lake_check import find_faults, find_orphans
from hosu.testing.manual_clock import ManualClock

pytestmark = pytest.mark.filterwarnings("ignore:Exception ignored in. None:pytest.PytestUnraisableExceptionWarning")

OUTCOMES = [(Survival.SYNCED, 0), (Survival.CHANCE, 1)]
KEY = "models/a"
DAY_MS = 86_400_000


def protecting(location: Path) -> Operation:
    entry = ProtectedPrefix(BUCKET, "models/", str(location))
    return lambda store: store.commit(partial(protect, entry=entry))


def keep_copies(store: ObjectStore, location: Path, prefixes: tuple[str, ...] = ("models/",)) -> None:
    keeper = LocationKeeper(Keep(store, Settings(), lambda _name, _number: None), str(location))
    keeper.keep({BUCKET: prefixes} if prefixes else {}, threading.Event())


def read(store: ObjectStore) -> bytes:
    record, body = open_body(store, BUCKET, KEY)
    with body:
        return body.read(0, record.size_bytes)


def rot(folder: Path, harm: str) -> None:
    """Harm the only blob file of a lake that nobody has open."""
    (path,) = (folder / "lake" / "blobs").glob("*/*")
    if harm == "gone":
        path.unlink()
    else:
        body = bytearray(path.read_bytes())
        body[len(body) // 2] ^= 1
        path.write_bytes(body)


def rot_inline(store: ObjectStore) -> None:
    statement = "UPDATE blob SET body = zeroblob(length(body)), verified_ms = 0 WHERE kind = 0"
    store.commit(lambda tx: tx.run(statement).close())


@pytest.mark.parametrize("harm", ["changed", "gone", "inline", "encrypted"])
def test_a_crash_at_any_step_of_restoring_leaves_what_can_be_restored(workshop: Workshop, harm: str) -> None:
    location, body = workshop.fresh_folder(), SMALL if harm == "inline" else LARGE
    prepared = workshop.prepare(
        create_bucket,
        *((encrypt_bucket,) if harm == "encrypted" else ()),
        protecting(location),
        putting(KEY, body),
        lambda store: keep_copies(store, location),
        *((rot_inline,) if harm == "inline" else ()),
    )
    if harm != "inline":
        rot(prepared, harm)
    for step in range(1, STEPS_MAX):
        with workshop.disk(prepared) as disk, opened(disk) as store:
            install_healer(store)
            disk.fail_at(step, Fault.CRASH)
            got: list[bytes] = []
            stopped = attempt(disk, lambda: got.append(read(store)))  # noqa: B023 - called at once
            assert got in ([], [body])
            if not disk.has_crashed:
                assert (stopped, got) == (None, [body])
                break
            for survival, seed in OUTCOMES:
                root = workshop.fresh_folder()
                with disk.after_restart(root, survival, seed=seed) as after, opened(after) as again:
                    install_healer(again)
                    assert read(again) == body, f"step {step}, {survival}"
                    assert find_faults(again) == []
                    sweep(again, grace_ms=0, orphan_ms=0)
                    assert find_orphans(again) == set()
                shutil.rmtree(root)
    else:
        pytest.fail("restoring never ran to its end")
    assert step > 2, "nothing was interrupted"


def test_a_crash_at_any_step_of_going_back_leaves_one_version_or_the_other(workshop: Workshop) -> None:
    location = workshop.fresh_folder()
    prepared = workshop.prepare(
        create_bucket, enable_versioning, protecting(location), putting(KEY, SMALL), putting(KEY, LARGE)
    )
    rot(prepared, "changed")
    for step in range(1, STEPS_MAX):
        with workshop.disk(prepared) as disk, opened(disk) as store:
            install_healer(store)
            disk.fail_at(step, Fault.CRASH)
            attempt(disk, lambda: read(store))
            if not disk.has_crashed:
                assert read(store) == SMALL
                break
            for survival, seed in OUTCOMES:
                root = workshop.fresh_folder()
                with disk.after_restart(root, survival, seed=seed) as after, opened(after) as again:
                    install_healer(again)
                    attempt(after, lambda: read(again))
                    assert read(again) == SMALL
                    (fault,) = find_faults(again)
                    assert "match the hash" in fault
                shutil.rmtree(root)
    else:
        pytest.fail("going back never ran to its end")


class CrashingFolder(FolderFileIO):
    """A location whose machine loses its power before, or right after, one of its changes."""

    def __init__(self, root: str, count: Callable[[], None]) -> None:
        super().__init__(root)
        self._count = count

    def _put(self, key: str, view: memoryview, *, if_absent: bool, if_match: str | None) -> FileStat:
        self._count()
        stat = super()._put(key, view, if_absent=if_absent, if_match=if_match)
        self._count()
        return stat

    def _open_write(self, key: str) -> FileWriter:
        self._count()
        writer = super()._open_write(key)
        close = writer.close

        def closing() -> None:
            self._count()
            close()
            self._count()

        writer.close = closing  # type: ignore[method-assign]
        return writer

    def _delete_many(self, keys: Sequence[str]) -> None:
        for key in keys:
            self._count()
            super()._delete_many([key])
        self._count()


def check_copies(store: ObjectStore, location: Path) -> None:
    """Hold the records of copies to what is there: none may be imagined."""
    for digest, size_bytes, unneeded_ms in store.view().rows("SELECT hash, size_bytes, unneeded_ms FROM copy"):
        path = location / copy_key(digest)
        if unneeded_ms and not path.exists():
            continue  # it was about to be removed, and is looked for before it is used
        assert len(path.read_bytes()) == size_bytes
        assert blake3(path.read_bytes()).digest() == digest


@pytest.mark.parametrize("task", ["copying", "removing", "ending"])
def test_a_crash_at_any_step_of_copying_leaves_no_copy_that_is_not_there(
    tmp_path: Path, task: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for step in range(1, STEPS_MAX):
        folder = tmp_path / str(step)
        location, clock = folder / "copies", ManualClock()
        location.mkdir(parents=True)
        steps = 0

        def count() -> None:
            nonlocal steps
            steps += 1
            if steps == step:  # noqa: B023 - called in this round
                raise SimulatedCrash

        def open_crashing(text: str, **_: object) -> FolderFileIO:
            return CrashingFolder(text, count)

        with ObjectStore(folder / "lake", clock=clock, space_reserve_bytes=0) as store:
            for operation in (create_bucket, protecting(location), putting(KEY, LARGE), putting("models/b", SMALL)):
                operation(store)
            prefixes: tuple[str, ...] = ("models/",)
            if task != "copying":
                keep_copies(store, location)
                store.commit(partial(delete_object, bucket_name=BUCKET, key=KEY))
                prefixes = prefixes if task == "removing" else ()
                clock.advance(DAY_MS)
                keep_copies(store, location, prefixes)
                clock.advance(GRACE_DAYS * DAY_MS)
            with monkeypatch.context() as patch:
                patch.setattr(copy_places, "open_location", open_crashing)
                has_crashed = False
                try:
                    keep_copies(store, location, prefixes)
                except SimulatedCrash:
                    has_crashed = True
            check_copies(store, location)
            for _ in range(3):
                clock.advance(DAY_MS)
                keep_copies(store, location, prefixes)
            wanted = {"copying": {LARGE, SMALL}, "removing": {SMALL}, "ending": set()}[task]
            assert {path.read_bytes() for path in location.glob("blobs/??/*")} == wanted
            check_copies(store, location)
            assert (store.view().value("SELECT count(*) FROM copy_location") == 0) == (task == "ending")
            assert find_faults(store) == []
        shutil.rmtree(folder)
        if not has_crashed:
            assert step > 3, "nothing was interrupted"
            return
    pytest.fail("it never ran to its end")


def test_a_crash_at_any_step_of_a_repair_leaves_a_lake_that_can_be_repaired(workshop: Workshop) -> None:
    def damage(store: ObjectStore) -> None:
        for statement in ("UPDATE bucket SET object_count = 9", "UPDATE blob SET refs = 5", "DELETE FROM event"):
            store.commit(lambda tx, statement=statement: tx.run(statement).close())  # type: ignore[misc]

    prepared = workshop.prepare(create_bucket, putting(KEY, LARGE), putting("b", SMALL), damage)
    for step in range(1, STEPS_MAX):
        with workshop.disk(prepared) as disk, opened(disk) as store:
            disk.fail_at(step, Fault.CRASH)
            attempt(disk, lambda: treat(store))
            if not disk.has_crashed:
                assert find_faults(store) == []
                break
            for survival, seed in OUTCOMES:
                root = workshop.fresh_folder()
                with disk.after_restart(root, survival, seed=seed) as after, opened(after) as again:
                    assert treat(again).left == []
                    assert find_faults(again) == []
                    assert read(again) == LARGE
                shutil.rmtree(root)
    else:
        pytest.fail("the repair never ran to its end")

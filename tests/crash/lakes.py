"""Lakes on faulty disks: prepared once, copied for every step that is tried, and judged after a restart."""

import contextlib
import hashlib
import itertools
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import apsw

from hosu.kernel.clock import Clock
from hosu.kernel.errors import HosuError
from hosu.kernel.lakekey import LakeKey
from hosu.kernel.limits import INLINE_BYTES_MAX
from hosu.objects.blobs import StagedBlob
from hosu.objects.put import PutRequest, put_object
from hosu.objects.records import NO_CONDITIONS, Conditions, ObjectRecord
from hosu.objects.store import ObjectStore
from hosu.testing.durable_tree import Survival
from hosu.testing.faulty_disk import FaultyDisk, SimulatedCrash
from hosu.testing.lake_check import find_faults

Operation = Callable[[ObjectStore], object]

LAKE_KEY = LakeKey(bytes(range(32)))
"""From outside; it is there in all lakes, and used in those whose bucket is encrypted."""

SMALL = b"small body"
LARGE = b"large body " * 2_000
assert len(SMALL) < INLINE_BYTES_MAX < len(LARGE)

STEPS_MAX = 400
BUCKET = "images"


def md5(body: bytes) -> str:
    return hashlib.md5(body).hexdigest()


def stage(store: ObjectStore, body: bytes) -> StagedBlob:
    """Stage a body as the server does: small ones inline, others in a file, encrypted where the bucket says so."""
    encryption = store.encryption_of(BUCKET)
    if len(body) <= INLINE_BYTES_MAX:
        return store.stage(body, encryption)
    with store.new_blob(encryption) as blob:
        blob.write(body)
        return store.finish_blob(blob)


def put(
    store: ObjectStore, key: str, body: bytes, *, bucket: str = BUCKET, conditions: Conditions = NO_CONDITIONS
) -> ObjectRecord:
    """Put an object as the server does, its file discarded when the record is refused."""
    staged = stage(store, body)
    request = PutRequest(bucket, key, staged, md5(body), conditions=conditions)
    try:
        return store.commit(partial(put_object, request=request))
    except HosuError:
        store.discard(staged)
        raise


def open_store(disk: FaultyDisk, clock: Clock | None = None, lake_key: LakeKey | None = LAKE_KEY) -> ObjectStore:
    return ObjectStore(disk.root / "lake", disk=disk, clock=clock, space_reserve_bytes=0, lake_key=lake_key)


def abandon(store: ObjectStore) -> None:
    """End a store's threads and connections, whatever its disk still says."""
    with contextlib.suppress(apsw.Error, HosuError):
        store.close()
    for connection in [*store._views, store._writer_connection]:
        with contextlib.suppress(apsw.Error):
            connection.close(force=True)


@contextmanager
def opened(disk: FaultyDisk, clock: Clock | None = None, lake_key: LakeKey | None = LAKE_KEY) -> Iterator[ObjectStore]:
    """Open the lake of a disk, and let go of it however the block ends."""
    store = open_store(disk, clock, lake_key)
    try:
        yield store
    finally:
        abandon(store)


class Workshop:
    """Makes and copies disks in folders of their own."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._numbers = itertools.count(1)

    def fresh_folder(self) -> Path:
        folder = self._folder / str(next(self._numbers))
        folder.mkdir()
        return folder

    def prepare(self, *operations: Operation, lake_key: LakeKey | None = LAKE_KEY) -> Path:
        """Return a folder with a lake as it is when its process is killed after these operations."""
        with FaultyDisk(self.fresh_folder()) as disk:
            with opened(disk, None, lake_key) as store:
                for operation in operations:
                    operation(store)
                folder = self.fresh_folder()
                disk.after_restart(folder, Survival.WRITTEN).close_vfs()
            return folder

    def copy(self, folder: Path) -> Path:
        target = self._folder / str(next(self._numbers))
        shutil.copytree(folder, target)
        return target

    @contextmanager
    def disk(self, folder: Path | None = None) -> Iterator[FaultyDisk]:
        """Hand over a disk that holds a copy of a folder, or nothing."""
        root = self.fresh_folder() if folder is None else self.copy(folder)
        with FaultyDisk(root) as disk:
            yield disk
        shutil.rmtree(root)

    @contextmanager
    def restarted(
        self,
        disk: FaultyDisk,
        survival: Survival,
        *,
        seed: int = 0,
        clock: Clock | None = None,
        lake_key: LakeKey | None = LAKE_KEY,
    ) -> Iterator[ObjectStore]:
        """Open what a power loss leaves of a lake, and hold it to all that its tables and files must agree on."""
        root = self.fresh_folder()
        with disk.after_restart(root, survival, seed=seed) as after, opened(after, clock, lake_key) as store:
            assert find_faults(store) == []
            yield store
        shutil.rmtree(root)


def attempt(disk: FaultyDisk, operation: Callable[[], Any]) -> BaseException | None:
    """Run an operation; return what stopped it. What is neither a fault of the disk nor the engine's own is raised."""
    try:
        operation()
    except SimulatedCrash as crash:
        return crash
    except HosuError as error:
        return error
    except apsw.Error as error:
        if not disk.has_crashed:
            raise
        return error
    return None

"""Opening a lake, and what concerns all of it: its buckets, its change feed, its upkeep."""

import os
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Self

from hosu.kernel.auth import IN_PROCESS
from hosu.kernel.clock import Clock
from hosu.kernel.errors import ConflictError, ErrorKind, UnavailableError
from hosu.kernel.settings import load_settings
from hosu.lake.bucket import Bucket
from hosu.objects.blobs import disk_error
from hosu.objects.buckets import create_bucket, delete_bucket, list_buckets
from hosu.objects.feed import Event, read_events
from hosu.objects.fileio import ObjectFileIO
from hosu.objects.lock import LakeLock
from hosu.objects.store import FORMAT_NAME, ObjectStore
from hosu.objects.sweep import SweepReport, sweep

EVENTS_PER_READ = 1_000
SPACE_RESERVE_VARIABLE = "HOSU_SPACE_RESERVE_BYTES"
"""The one setting of the environment that concerns a lake without a server."""


def open_lake(
    path: str | os.PathLike[str],
    *,
    create: bool = True,
    actor: str = IN_PROCESS.name,
    clock: Clock | None = None,
) -> "Lake":
    """Open the lake in a folder; `create` makes one of a folder that is missing or empty.

    `actor` is who the change feed and the history of aliases say did it. Raises ConflictError NOT_A_LAKE for any other
    folder, UnsupportedError LAKE_NEWER for a lake of a newer hosu, UnavailableError DISK_FAULT where the folder cannot
    be written. Close the lake, or use it in a `with`.
    """
    folder = Path(path)
    if not create and not (folder / FORMAT_NAME).is_file():
        raise ConflictError(ErrorKind.NOT_A_LAKE, f"{folder} is not a lake: check the path, or make one there first")
    environment = {name: value for name, value in os.environ.items() if name == SPACE_RESERVE_VARIABLE}
    try:
        settings = load_settings(folder, environment, {})
        store = ObjectStore(folder, clock=clock, space_reserve_bytes=settings.space_reserve_bytes)
    except OSError as error:
        raise disk_error(error) from error
    return Lake(store, actor=actor)


class Lake:
    """An open lake."""

    def __init__(self, store: ObjectStore, *, actor: str = IN_PROCESS.name) -> None:
        self.actor = actor
        self._engine = store
        self._is_closed = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"Lake({str(self.path)!r})"

    @property
    def path(self) -> Path:
        """The lake's folder."""
        return self._engine.path

    @property
    def store(self) -> ObjectStore:
        """The engine below. Raises UnavailableError SHUTTING_DOWN once the lake is closed."""
        if self._is_closed:
            raise UnavailableError(ErrorKind.SHUTTING_DOWN, f"the lake {self.path} is closed: open it again")
        return self._engine

    def close(self) -> None:
        """Finish what other threads have queued, and let go of all files. A second call does nothing."""
        if not self._is_closed:
            self._is_closed = True
            self._engine.close()

    # Buckets

    def bucket(self, name: str) -> Bucket:
        """Return a bucket. Raises NotFoundError BUCKET_NOT_FOUND."""
        return Bucket(self, self.store.view().bucket(name).name)

    def create_bucket(self, name: str, *, exist_ok: bool = False) -> Bucket:
        """Make a bucket, or with exist_ok find it there.

        Raises ConflictError BUCKET_EXISTS, InvalidInputError BUCKET_NAME_INVALID.
        """
        try:
            self.store.commit(partial(create_bucket, name=name, actor=self.actor))
        except ConflictError as error:
            if not exist_ok or error.kind is not ErrorKind.BUCKET_EXISTS:
                raise
        return Bucket(self, name)

    def buckets(self, prefix: str = "") -> list[Bucket]:
        """Return all buckets whose names begin with prefix, by name."""
        found: list[Bucket] = []
        while page := list_buckets(self.store.view(), prefix=prefix, after=found[-1].name if found else ""):
            found += [Bucket(self, bucket.name) for bucket in page]
        return found

    def delete_bucket(self, name: str) -> None:
        """Remove a bucket that holds nothing. Raises NotFoundError, or ConflictError BUCKET_NOT_EMPTY."""
        self.store.commit(partial(delete_bucket, name=name, actor=self.actor))

    # The lake as a whole

    def changes(self, after_seq: int = 0) -> Iterator[Event]:
        """Yield every mutation after a sequence number, oldest first, up to the latest; remember the last one's `seq`.

        The sweep keeps about the newest 100,000 events and may remove older ones.
        """
        while True:
            events = read_events(self.store.view(), after_seq=after_seq, limit=EVENTS_PER_READ)
            yield from events
            if len(events) < EVENTS_PER_READ:
                return
            after_seq = events[-1].seq

    def sweep(self) -> SweepReport:
        """Give back the space of what was deleted or replaced at least a quarter of an hour ago; return what went.

        A server sweeps its lake by itself every minute: while one runs, ConflictError LAKE_LOCKED says so. No server
        can start before this returns.
        """
        store = self.store
        try:
            lock = LakeLock(store.path)
        except ConflictError as error:
            raise ConflictError(
                ErrorKind.LAKE_LOCKED, f"{error.message.partition(':')[0]}: a server sweeps its lake by itself"
            ) from error
        except OSError as error:
            raise disk_error(error) from error
        try:
            return sweep(store)
        finally:
            lock.release()


class _LakeFiles:
    """A lake as `hosu.filesystem` wants it."""

    def __init__(self, lake: Lake) -> None:
        self._lake = lake

    def fileio(self, bucket: str) -> ObjectFileIO:
        return ObjectFileIO(self._lake.store, bucket, actor=self._lake.actor)

    def bucket_names(self) -> Sequence[str]:
        return [bucket.name for bucket in self._lake.buckets()]

    def create_bucket(self, bucket: str) -> None:
        self._lake.create_bucket(bucket)

    def delete_bucket(self, bucket: str) -> None:
        self._lake.delete_bucket(bucket)


def open_files(path: str | os.PathLike[str]) -> _LakeFiles:
    """Open the lake in a folder for `hosu.filesystem`. It is never made: a path that is mistyped must not be."""
    return _LakeFiles(open_lake(path, create=False))

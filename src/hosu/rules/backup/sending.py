"""Writing files of a backup from several threads, each read back before it counts."""

import os
import threading
from collections.abc import Callable
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from typing import Final, Self

from blake3 import blake3

from hosu.kernel.errors import CorruptError
from hosu.kernel.limits import MIB
from hosu.objects.blobs import BlobRow, disk_error
from hosu.objects.store import ObjectStore
from hosu.rules.backup.chunks import hash_of
from hosu.rules.backup.repository import Damage, Repository, key_of

THREADS: Final = 6
UNDER_WAY_MAX: Final = THREADS + 2
"""Files in memory at once: each is a pack, or a blob of at most `WHOLE_BYTES_MAX`."""

WHOLE_BYTES_MAX: Final = 8 * MIB
"""Larger blobs go piece by piece."""

READ_BYTES: Final = MIB


class Sending:
    """Files on their way into a backup. Use it in a `with`; `finish` waits for all and raises what went wrong."""

    def __init__(self, repository: Repository, *, check: Callable[[], None] = lambda: None) -> None:
        self._repository = repository
        self._check = check
        self._pool = ThreadPoolExecutor(THREADS, thread_name_prefix="hosu-backup")
        self._waiting: set[Future[None]] = set()
        self._seen: set[tuple[str, str]] = set()
        self._lock = threading.Lock()
        self.damaged: list[Damage] = []
        self.files = 0
        self.size_bytes = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._pool.shutdown(wait=True, cancel_futures=True)

    def store(self, kind: str, data: bytes) -> str:
        """Keep bytes that are in memory, and return their hash."""
        name = hash_of(data)
        if (kind, name) not in self._seen:
            self._seen.add((kind, name))
            self._submit(lambda: self._put(kind, name, data))
        return name

    def store_blob(self, store: ObjectStore, row: BlobRow, *, is_new: bool) -> None:
        """Keep a blob file of the lake; with is_new nobody needs to ask whether it is there already.

        One whose bytes have changed, and which the backup does not have, is noted in `damaged`.
        """
        name = (row.digest or b"").hex()
        if ("blobs", name) not in self._seen:
            self._seen.add(("blobs", name))
            self._submit(lambda: self._copy(store, row, name, is_new=is_new))

    def finish(self) -> None:
        """Wait for all files."""
        while self._waiting:
            self._reap(0)

    def _submit(self, work: Callable[[], None]) -> None:
        self._check()
        self._reap(UNDER_WAY_MAX)
        self._waiting.add(self._pool.submit(work))

    def _reap(self, left: int) -> None:
        while len(self._waiting) > left or (self._waiting and next(iter(self._waiting)).done()):
            done, self._waiting = wait(self._waiting, return_when=FIRST_COMPLETED)
            for future in done:
                future.result()

    def _count(self, size_bytes: int) -> None:
        with self._lock:
            self.files += 1
            self.size_bytes += size_bytes

    def _put(self, kind: str, name: str, data: bytes) -> None:
        self._repository.files.put(key_of(kind, name), data)
        self._verify(kind, name)
        self._count(len(data))

    def _verify(self, kind: str, name: str) -> None:
        """Read back what was written; what is wrong must not be taken for right by a later run."""
        try:
            self._repository.check(kind, name)
        except CorruptError:
            self._repository.files.delete_many([key_of(kind, name)])
            raise

    def _copy(self, store: ObjectStore, row: BlobRow, name: str, *, is_new: bool) -> None:
        if not is_new and self._repository.has("blobs", name, row.stored_bytes):
            return
        try:
            descriptor = store.files.open_descriptor(row)
        except CorruptError:
            self._damage(row, name, "its file is missing")
            return
        try:
            is_sound = self._copy_file(descriptor, row, name)
        finally:
            store.disk.close(descriptor)
        if is_sound:
            self._verify("blobs", name)
            self._count(row.stored_bytes)
        else:
            self._damage(row, name, "the bytes of its file have changed")

    def _copy_file(self, descriptor: int, row: BlobRow, name: str) -> bool:
        key, digest = key_of("blobs", name), blake3()
        if row.stored_bytes <= WHOLE_BYTES_MAX:
            data = _read(descriptor, row.stored_bytes + 1, 0)
            if hash_of(data) != name:
                return False
            self._repository.files.put(key, data)
            return True
        offset = 0
        with self._repository.files.open_write(key) as writer:
            while piece := _read(descriptor, READ_BYTES, offset):
                digest.update(piece)
                writer.write(piece)
                offset += len(piece)
                self._check()
            if digest.hexdigest() != name:
                writer.discard()
                return False
        return True

    def _damage(self, row: BlobRow, name: str, reason: str) -> None:
        with self._lock:
            self.damaged.append(Damage(row.id, name, reason))


def _read(descriptor: int, size_bytes: int, offset: int) -> bytes:
    try:
        found = os.pread(descriptor, size_bytes, offset)
        while found and len(found) < size_bytes:
            more = os.pread(descriptor, size_bytes - len(found), offset + len(found))
            if not more:
                break
            found += more
    except OSError as error:
        raise disk_error(error) from error
    return found

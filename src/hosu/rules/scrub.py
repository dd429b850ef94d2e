"""The scrub: reads what is stored and compares it with its hash; what is corrupt is restored where that can be done.

Files are read past the system's cache where the file system allows it, so that the disk is looked at and not memory,
and what readers keep in the cache stays there.
"""

import contextlib
import errno
import fcntl
import mmap
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from typing import Final

import msgspec
from blake3 import blake3

from hosu.kernel.clock import Clock
from hosu.kernel.errors import CorruptError, ErrorKind, HosuError, NotFoundError
from hosu.kernel.limits import MIB
from hosu.objects.blobs import BLOB_COLUMNS, BlobRow, read_error
from hosu.objects.healing import Owner, find_owners
from hosu.objects.protected import guarded_prefixes
from hosu.objects.read import FIND_BLOB
from hosu.objects.records import BlobKind
from hosu.objects.store import ObjectStore
from hosu.objects.transaction import Tx
from hosu.objects.verified import mark_verified
from hosu.objects.views import View
from hosu.rules.copies import versions_below
from hosu.rules.healing import BlobHealer, Tried, find_row, other_bytes
from hosu.rules.scrub_times import Number, add_to_number, set_number

READ_BYTES: Final = MIB
ROWS_PER_BATCH: Final = 256
"""Blobs between two commits: bounds what is read again after a restart, and how long the writer is held."""

BYTES_PER_BATCH: Final = 1024 * MIB
_NOWAIT: int = getattr(os, "RWF_NOWAIT", 0)
"""Reads what is cached, and fails rather than wait for a disk (Linux)."""

PAUSE_S_MIN: Final = 0.02
"""Shorter pauses are saved up."""


class Pace:
    """Keeps reading below a rate, by waiting. `wait` takes seconds; a rate of 0 is no limit."""

    def __init__(self, clock: Clock, bytes_per_s: int, wait: Callable[[float], object]) -> None:
        self._clock = clock
        self._bytes_per_s = bytes_per_s
        self._wait = wait
        self._due_s = clock.monotonic()

    def spend(self, size_bytes: int) -> None:
        """Wait as long as reading so much may take, less what has passed."""
        if not self._bytes_per_s:
            return
        now_s = self._clock.monotonic()
        self._due_s = max(self._due_s, now_s) + size_bytes / self._bytes_per_s
        if self._due_s - now_s >= PAUSE_S_MIN:
            self._wait(self._due_s - now_s)


class Finding(msgspec.Struct, frozen=True):
    """A blob that is corrupt, or was. `outcome` is `restored`, `went-back`, `lost`, or in a dry run what would be."""

    blob_id: int
    size_bytes: int
    problem: str
    outcome: str
    source: str = ""
    """Where its bytes came from, or would come from."""

    owners: tuple[Owner, ...] = ()
    """The versions of objects that need it."""


class Report(msgspec.Struct):
    """What a scrub has read and found. Bytes are stored bytes."""

    blobs: int = 0
    bytes: int = 0
    restored: int = 0
    lost: int = 0
    copies: int = 0
    copy_bytes: int = 0
    copies_lost: int = 0


class Scrubber:
    """Reads blobs of one store at a pace, until `is_stopping` says so."""

    def __init__(
        self,
        store: ObjectStore,
        pace: Pace,
        *,
        is_stopping: Callable[[], bool] = lambda: False,
        on_finding: Callable[[Finding], None] = lambda _: None,
        is_dry: bool = False,
    ) -> None:
        self._store = store
        self._pace = pace
        self._is_stopping = is_stopping
        self._on_finding = on_finding
        self._is_dry = is_dry
        self._room = memoryview(mmap.mmap(-1, READ_BYTES))
        self.report = Report()

    def scrub(self, rows: Iterable[BlobRow], *, cursor: bool = False, since_ms: int | None = None) -> bool:
        """Read blobs; False when it was stopped on the way. Files read since `since_ms` are passed over.

        With `cursor` the rows come by id, and how far it has come is kept.
        """
        batch = _Batch()
        for row in rows:
            if self._is_stopping():
                self._commit(batch, cursor=cursor)
                return False
            batch.last_id = row.id
            if since_ms is None or row.kind == BlobKind.INLINE or row.verified_ms < since_ms or row.is_corrupt:
                self._check(row, batch)
            if batch.rows >= ROWS_PER_BATCH or batch.bytes >= BYTES_PER_BATCH:
                self._commit(batch, cursor=cursor)
                batch = _Batch()
        self._commit(batch, cursor=cursor)
        return True

    def _check(self, row: BlobRow, batch: "_Batch") -> None:
        problem = ""
        try:
            facts = self._read(row)
        except CorruptError as error:
            problem = error.message
        else:
            if facts is not None and not row.is_corrupt:
                batch.verified.append((row.id, *facts))
        batch.rows += 1
        batch.bytes += row.stored_bytes
        self.report.blobs += 1
        self.report.bytes += row.stored_bytes
        if problem or row.is_corrupt:
            batch.corrupt.append((row, problem or f"blob {row.id} was marked as corrupt"))

    def _read(self, row: BlobRow) -> tuple[int, int] | None:
        """Hash a blob; return (inode, change time) of its file. Raises CorruptError."""
        digest, size_bytes, facts = blake3(), 0, None
        if row.kind == BlobKind.INLINE:
            body = row.body or b""
            digest.update(body)
            size_bytes = len(body)
            self._pace.spend(size_bytes)
        else:
            descriptor = self._store.files.open_descriptor(row)
            try:
                found = os.fstat(descriptor)
                facts = (found.st_ino, found.st_ctime_ns)
                for piece in read_past_cache(descriptor, self._room):
                    digest.update(piece)
                    size_bytes += len(piece)
                    self._pace.spend(len(piece))
            except OSError as error:
                raise read_error(error, row.id) from error
            finally:
                self._store.disk.close(descriptor)
        if size_bytes != row.stored_bytes:
            raise _corrupt(row, f"has {size_bytes} bytes, not {row.stored_bytes}")
        if digest.digest() != row.digest:
            raise _corrupt(row, "does not match its hash")
        return facts

    def _is_needed(self, row: BlobRow) -> bool:
        """Say whether the blob has not been removed, or been about to be, while it was read."""
        return bool(self._store.view().value("SELECT refs FROM blob WHERE id = ?", (row.id,)))

    def _deal_with(self, row: BlobRow, problem: str, owners: list[Owner]) -> None:
        if self._is_dry:
            source = find_source(self._store, row)
            outcome = "would be restored" if source else "would be lost"
            self._count(is_restored=bool(source))
            self._on_finding(Finding(row.id, row.stored_bytes, problem, outcome, source, tuple(owners)))
            return
        healer = self._store.healer
        if not isinstance(healer, BlobHealer):
            healer = BlobHealer(self._store)
        is_worth_it = healer.heal(row.id, owners)
        after = find_row(self._store, row.id)
        is_restored = after is not None and not after.is_corrupt and is_worth_it
        self._count(is_restored=is_restored)
        number = Number.RESTORED if is_restored else Number.LOST
        self._store.commit(partial(add_to_number, name=number, value=1))
        outcome = "restored" if is_restored else "went-back" if is_worth_it else "lost"
        source = healer.sources.pop(row.id, "") if is_restored else ""
        self._on_finding(Finding(row.id, row.stored_bytes, problem, outcome, source, tuple(owners)))

    def _count(self, *, is_restored: bool) -> None:
        if is_restored:
            self.report.restored += 1
        else:
            self.report.lost += 1

    def _commit(self, batch: "_Batch", *, cursor: bool) -> None:
        """Deal with what was found corrupt, then note how far the reading has come."""
        found = [(row, problem) for row, problem in batch.corrupt if self._is_needed(row)]
        if found:
            owners = find_owners(self._store.view(), [row.id for row, _ in found])  # one walk over all records
            for row, problem in found:
                self._deal_with(row, problem, owners[row.id])
        if self._is_dry or not (batch.verified or cursor):
            return
        self._store.commit(
            partial(_note, batch=batch, now_ms=self._store.clock.now_ms(), cursor=cursor and batch.last_id > 0)
        )

    # Second copies

    def scrub_copies(self, before_ms: int) -> bool:
        """Read second copies that were read before a time; False when it was stopped. Lost ones are forgotten.

        What is forgotten is copied again by the job that keeps copies. Raises what a location answers, once the others
        were read.
        """
        failure: Exception | None = None
        for (location,) in self._store.view().rows("SELECT location FROM copy_location ORDER BY id"):
            try:
                if not self._scrub_location(location, before_ms):
                    return False
            except (HosuError, OSError) as error:
                failure = error
        if failure is not None:
            raise failure
        return True

    def _scrub_location(self, location: str, before_ms: int) -> bool:
        from hosu.rules.copies import forget_copies  # noqa: PLC0415 - copies are rarely read
        from hosu.rules.copy_places import find_place  # noqa: PLC0415 - as above

        view, place = self._store.view(), find_place(self._store, location)
        if place is not None:
            after = b""
            while batch := view.rows(
                "SELECT hash, size_bytes FROM copy WHERE location_id = ? AND hash > ? AND verified_ms < ? "
                f"ORDER BY hash LIMIT {ROWS_PER_BATCH}",
                (place.number, after, before_ms),
            ):
                sound: list[bytes] = []
                lost: list[bytes] = []
                for digest, size_bytes in batch:
                    if self._is_stopping():
                        break
                    (sound if place.is_sound(digest, size_bytes) else lost).append(digest)
                    self._pace.spend(size_bytes)
                    self.report.copies += 1
                    self.report.copy_bytes += size_bytes
                self.report.copies_lost += len(lost)
                if not self._is_dry:
                    self._store.commit(partial(_note_copies, number=place.number, digests=sound))
                    reason = f"it did not match its hash in {location}, or was gone: it is copied again"
                    if lost:
                        place.remove(lost)
                        self._store.commit(partial(forget_copies, number=place.number, digests=lost, reason=reason))
                if self._is_stopping():
                    return False
                after = batch[-1][0]
        return True


class _Batch(msgspec.Struct):
    """What was read since the last commit."""

    verified: list[tuple[int, int, int]] = msgspec.field(default_factory=list)
    corrupt: list[tuple[BlobRow, str]] = msgspec.field(default_factory=list)
    last_id: int = 0
    rows: int = 0
    bytes: int = 0


def _note(tx: Tx, *, batch: _Batch, now_ms: int, cursor: bool) -> None:
    for blob_id, inode, ctime_ns in batch.verified:
        mark_verified(tx, blob_id=blob_id, now_ms=now_ms, inode=inode, ctime_ns=ctime_ns)
    if cursor:
        set_number(tx, Number.CURSOR, batch.last_id)
        add_to_number(tx, Number.CHECKED, batch.rows)
        add_to_number(tx, Number.CHECKED_BYTES, batch.bytes)


def _note_copies(tx: Tx, *, number: int, digests: list[bytes]) -> None:
    for digest in digests:
        tx.run("UPDATE copy SET verified_ms = ? WHERE location_id = ? AND hash = ?", (tx.now_ms, number, digest))


def _corrupt(row: BlobRow, what: str) -> CorruptError:
    return CorruptError(ErrorKind.CORRUPT_BLOB, f"blob {row.id} {what}", blob_id=row.id)


def find_source(store: ObjectStore, row: BlobRow) -> str:
    """Return where the bytes of a blob could be restored from, after reading them there; empty for nowhere."""
    for source, chunks in other_bytes(store, row, Tried()):
        digest = blake3()
        with contextlib.suppress(HosuError, OSError):
            for chunk in chunks:
                digest.update(chunk)
            if digest.digest() == row.digest:
                return source
    return ""


# What is read


def all_blobs(view: View, after: int = 0) -> Iterator[BlobRow]:
    """Yield every blob that has bytes of its own and is in use, by id, from beyond one."""
    statement = (
        f"SELECT {BLOB_COLUMNS} FROM blob WHERE id > ? AND kind < 2 AND refs > 0 ORDER BY id LIMIT {ROWS_PER_BATCH}"
    )
    while rows := view.rows(statement, (after,)):
        yield from map(_blob_of, rows)
        after = rows[-1][0]


def _blob_of(row: tuple[object, ...]) -> BlobRow:
    return BlobRow(*row)  # type: ignore[arg-type]


def blobs_below(view: View, bucket: str, prefixes: Sequence[str]) -> Iterator[BlobRow]:
    """Yield every blob with bytes of a version below prefixes, once."""
    seen: set[int] = set()
    for prefix in prefixes:
        for _, (_, _, blob_id) in versions_below(view, bucket, prefix):
            for found in _with_children(view, blob_id):
                if found not in seen:
                    seen.add(found)
                    row = view.row(FIND_BLOB, (found,))
                    if row is not None and row[1] != BlobKind.COMPOSED:
                        yield BlobRow(*row)


def _with_children(view: View, blob_id: int) -> list[int]:
    children = view.rows("SELECT DISTINCT child_id FROM segment WHERE blob_id = ?", (blob_id,))
    return [row[0] for row in children] or [blob_id]


def protected_blobs(view: View) -> Iterator[BlobRow]:
    """Yield every blob with bytes of a version that is protected, aliases looked through."""
    for (name,) in view.rows("SELECT name FROM bucket WHERE protected > 0 ORDER BY name"):
        try:
            prefixes = guarded_prefixes(view, view.bucket(name))
        except NotFoundError:  # removed since
            continue
        yield from blobs_below(view, name, prefixes)


def read_past_cache(descriptor: int, room: memoryview | None = None) -> Iterator[memoryview]:
    """Yield all bytes of a file from its disk; each piece is valid until the next. Raises OSError.

    `room` is memory aligned as a disk wants it. Where the file system has no such reading, the cache is used, and what
    was not in it before is dropped again.
    """
    target = memoryview(mmap.mmap(-1, READ_BYTES)) if room is None else room
    is_direct, offset = _set_direct(descriptor, wanted=True), 0
    while True:
        if not is_direct:
            count, was_cached = _read_cached(descriptor, target, offset)
        else:
            try:
                count, was_cached = os.preadv(descriptor, [target], offset), True
            except OSError as error:
                if error.errno != errno.EINVAL:
                    raise
                is_direct = _set_direct(descriptor, wanted=False)
                continue
        if not count:
            return
        yield target[:count]
        if not was_cached:
            os.posix_fadvise(descriptor, offset, count, os.POSIX_FADV_DONTNEED)
        offset += count
        if is_direct and count % mmap.PAGESIZE:
            # The end of the file; what might follow cannot be read from an uneven offset.
            is_direct = _set_direct(descriptor, wanted=False)


def _read_cached(descriptor: int, target: memoryview, offset: int) -> tuple[int, bool]:
    """Read through the cache; return how many bytes, and whether the cache had them all."""
    if _NOWAIT:
        with contextlib.suppress(OSError):
            count = os.preadv(descriptor, [target], offset, _NOWAIT)
            if count == len(target):
                return count, True
    return os.preadv(descriptor, [target], offset), False


def _set_direct(descriptor: int, *, wanted: bool) -> bool:
    """Switch reading past the cache on or off; return whether it is on."""
    flag: int = getattr(os, "O_DIRECT", 0)
    if not flag:
        return False
    try:
        flags = fcntl.fcntl(descriptor, fcntl.F_GETFL)
        fcntl.fcntl(descriptor, fcntl.F_SETFL, flags | flag if wanted else flags & ~flag)
    except OSError:
        return False
    return wanted

"""Restoring blobs whose bytes no longer match their hash, as they are read or scrubbed.

Other bytes come from another blob with the same hash, from a second copy, or from where the lake is backed up on
schedule. Where there are none, a protected object goes back to its previous version; anything else is refused to its
readers and named by an alert.
"""

import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Final

import msgspec

from hosu.kernel.errors import CorruptError, HosuError, NotFoundError
from hosu.kernel.log import get_logger
from hosu.objects.alerts import Severity, raise_alert, resolve_alert
from hosu.objects.audit import Origin
from hosu.objects.blobs import FILE_COLUMNS, BlobRow
from hosu.objects.healing import (
    Owner,
    demote_corrupt,
    find_owners,
    is_sound,
    note_sound,
    previous_versions,
    restore_blob,
    stored_chunks,
)
from hosu.objects.protected import find_guarded
from hosu.objects.read import FIND_BLOB
from hosu.objects.records import BlobKind, Versioning
from hosu.objects.store import ObjectStore
from hosu.objects.transaction import Tx
from hosu.objects.verified import mark_corrupt

PRINCIPAL: Final = "hosu:protection"
RETRY_S: Final = 60.0
"""How long a blob that could not be restored is not tried again: each try may ask disks and servers far away."""

NAMES_MAX: Final = 20
"""Objects named in one alert; it also says how many more there are."""

SOURCES_KEPT_MAX: Final = 1_000
TWINS_MAX: Final = 8
"""Other blobs with the same bytes that are tried."""

_LOG = get_logger("healing")

Count = Callable[[str, int], None]


def subject_of(blob_id: int) -> str:
    """Return the subject of alerts about a blob."""
    return f"blob/{blob_id}"


def install_healer(store: ObjectStore, count: Count | None = None, *, is_server: bool = False) -> None:
    """Have what is read from a store restored where it turns out corrupt.

    A server also goes back to an earlier version while the places of other copies cannot be reached; anybody else may
    simply lack the keys for them, and leaves that to the server.
    """
    store.healer = BlobHealer(store, count, is_server=is_server)


class Tried(msgspec.Struct):
    """What came of looking for other bytes: why places did not have them, and whether any could not be asked."""

    failures: list[str] = msgspec.field(default_factory=list)
    is_unsure: bool = False


class BlobHealer:
    """Restores the blobs of one store, one thread at a time for each of them."""

    def __init__(self, store: ObjectStore, count: Count | None = None, *, is_server: bool = False) -> None:
        self._store = store
        self._is_server = is_server
        self._count = count or (lambda _name, _number: None)
        self._guard = threading.Lock()
        self._busy: dict[int, tuple[threading.Lock, int]] = {}
        self._failed_s: dict[int, float] = {}
        self.sources: dict[int, str] = {}
        """Where the blobs restored lately had their bytes from."""

    def heal(self, blob_id: int, owners: list[Owner] | None = None) -> bool:
        """Say whether reading again is worth it: the bytes were restored, or an earlier version is current now.

        `owners` spares looking for who needs the blob, which walks over all records.
        """
        with self._alone(blob_id):
            failed_s = self._failed_s.get(blob_id)
            if failed_s is not None and self._store.clock.monotonic() - failed_s < RETRY_S:
                return False
            try:
                is_worth_it = self._heal(blob_id, owners)
            except (HosuError, OSError) as error:
                _LOG.error("a blob could not be restored", blob=blob_id, error=f"{type(error).__name__}: {error}")
                is_worth_it = False
            if is_worth_it:
                self._failed_s.pop(blob_id, None)
            else:
                self._failed_s[blob_id] = self._store.clock.monotonic()
            return is_worth_it

    def forget_failures(self) -> None:
        """Try everything again: another copy may have turned up."""
        self._failed_s.clear()

    @contextmanager
    def _alone(self, blob_id: int) -> Iterator[None]:
        with self._guard:
            lock, waiting = self._busy.get(blob_id, (threading.Lock(), 0))
            self._busy[blob_id] = (lock, waiting + 1)
        try:
            with lock:
                yield
        finally:
            with self._guard:
                lock, waiting = self._busy.pop(blob_id)
                if waiting > 1:
                    self._busy[blob_id] = (lock, waiting - 1)

    def _heal(self, blob_id: int, owners: list[Owner] | None) -> bool:
        row = find_row(self._store, blob_id)
        if row is None or row.kind == BlobKind.COMPOSED:
            return False
        if is_sound(self._store, row):  # another process was faster, or the disk has come back
            note_as_sound(self._store, row)
            return True
        tried = Tried()
        return self._restore(row, tried) or self._give_up(row, tried, owners)

    def _restore(self, row: BlobRow, tried: Tried) -> bool:
        """Restore a blob from the first place that has its bytes; note why others did not have them."""
        for source, chunks in other_bytes(self._store, row, tried):
            also = partial(_note_restored, row=row, source=source)
            try:
                restore_blob(self._store, row, _read_from(chunks), also, _origin(source))
            except (_SourceError, CorruptError) as error:
                tried.failures.append(f"{source}: {error}")
                tried.is_unsure |= isinstance(error, _SourceError) and not error.is_absent
                _LOG.warning("another copy cannot be used", blob=row.id, source=source, error=str(error))
                continue
            if len(self.sources) >= SOURCES_KEPT_MAX:
                self.sources.clear()
            self.sources[row.id] = source
            self._count("rule_actions/protection/Restore", 1)
            self._count("rule_bytes/protection/Restore", row.stored_bytes)
            _LOG.warning("restored a corrupt blob", blob=row.id, source=source)
            return True
        return False

    def _give_up(self, row: BlobRow, tried: Tried, owners: list[Owner] | None) -> bool:
        """Name what is lost; make an earlier version current where that is protected. Say whether it did for any."""
        if owners is None:
            owners = find_owners(self._store.view(), [row.id])[row.id]
        if is_sound(self._store, find_row(self._store, row.id) or row):  # that took long: another may have restored it
            note_as_sound(self._store, row)
            return True
        self._count("rule_errors/protection", 1)
        _LOG.error("a blob is corrupt and cannot be restored", blob=row.id, objects=names_of(owners))
        self._store.commit(partial(_note_lost, row=row, owners=owners, failures=tried.failures))
        if tried.is_unsure and not self._is_server:
            return False
        return bool([owner for owner in owners if owner.is_current and self._go_back(owner)])

    def _go_back(self, owner: Owner) -> bool:
        view = self._store.view()
        bucket = view.bucket(owner.bucket)
        if bucket.versioning != Versioning.ENABLED or find_guarded(view, bucket, owner.key) is None:
            return False
        for previous in previous_versions(view, bucket, owner.key, owner.seq):
            if not self._is_readable(previous.blob_id):
                continue
            reason = (
                f"version {owner.version_id} is corrupt and no copy of it is left: "
                f"version {previous.version_id} is current again, as a new one"
            )
            origin = Origin("", "protection:GoBack", PRINCIPAL, bucket=owner.bucket, key=owner.key, reason=reason)
            verb = partial(_go_back, owner=owner, previous_seq=previous.seq, reason=reason)
            if self._store.commit(verb, origin):
                self._count("rule_actions/protection/GoBack", 1)
                return True
            return False
        return False

    def _is_readable(self, blob_id: int | None) -> bool:
        if blob_id is None:
            return True
        from hosu.rules.copies import stored_blobs  # noqa: PLC0415 - needed when something is corrupt

        rows = [find_row(self._store, blob.id) for blob in stored_blobs(self._store.view(), blob_id)]
        return bool(rows) and all(
            row is not None and (is_sound(self._store, row) or self._restore(row, Tried())) for row in rows
        )


class _SourceError(Exception):
    """Bytes that were to stand in for others cannot be read; `is_absent` if they are not there or no better."""

    def __init__(self, error: Exception) -> None:
        super().__init__(str(error))
        self.is_absent = isinstance(error, NotFoundError | CorruptError)


def _read_from(chunks: Iterable[bytes]) -> Iterator[bytes]:
    try:
        yield from chunks
    except (HosuError, OSError) as error:
        raise _SourceError(error) from error


def find_row(store: ObjectStore, blob_id: int) -> BlobRow | None:
    """Return a blob with its bytes, if they are in the database."""
    row = store.view().row(FIND_BLOB, (blob_id,))
    return None if row is None else BlobRow(*row)


def note_as_sound(store: ObjectStore, row: BlobRow) -> None:
    """Record that a blob which was thought corrupt is not."""
    inode = ctime_ns = 0
    if row.kind == BlobKind.FILE:
        facts = store.files.path(row.id).stat()
        inode, ctime_ns = facts.st_ino, facts.st_ctime_ns
    note_sound(store, row, inode, ctime_ns, partial(_note_well, row=row), None)


def other_bytes(store: ObjectStore, row: BlobRow, tried: Tried) -> Iterator[tuple[str, Iterable[bytes]]]:
    """Yield (where from, bytes) of all that may stand in for a blob: unchecked, the nearest first.

    Places that cannot be asked are added to `tried`.
    """
    statement = (
        f"SELECT {FILE_COLUMNS} FROM blob WHERE hash = ? AND kind = 1 AND is_corrupt = 0 AND id <> ? LIMIT {TWINS_MAX}"
    )
    for values in store.view().rows(statement, (row.digest, row.id)):
        twin = BlobRow(*values)
        yield f"blob {twin.id}, which has the same bytes", stored_chunks(store, twin)
    yield from _second_copies(store, row, tried)
    yield from _backup(store, row, tried)


def _second_copies(store: ObjectStore, row: BlobRow, tried: Tried) -> Iterator[tuple[str, Iterable[bytes]]]:
    from hosu.rules.copy_places import find_place  # noqa: PLC0415 - needed when something is corrupt

    statement = "SELECT location FROM copy JOIN copy_location ON id = location_id WHERE hash = ? ORDER BY id"
    for (location,) in store.view().rows(statement, (row.digest,)):
        try:
            place = find_place(store, location)
        except (HosuError, OSError) as error:
            tried.failures.append(f"the second copy in {location}: {error}")
            tried.is_unsure = True
            continue
        if place is not None:
            yield f"the second copy in {location}", place.chunks(row.digest or b"")


def _backup(store: ObjectStore, row: BlobRow, tried: Tried) -> Iterator[tuple[str, Iterable[bytes]]]:
    from hosu.rules.backup.finding import chunks_in_backup  # noqa: PLC0415 - needed when something is corrupt
    from hosu.rules.backup.schedule import get_schedule  # noqa: PLC0415 - as above

    schedule = get_schedule(store.view())
    if schedule is None:
        return
    try:
        chunks = chunks_in_backup(schedule.location, row.digest or b"", store_path=store.path, clock=store.clock)
    except (HosuError, OSError) as error:
        tried.failures.append(f"the backup in {schedule.location}: {error}")
        tried.is_unsure = True
        return
    if chunks is not None:
        yield f"the backup in {schedule.location}", chunks


# What is recorded


def _origin(source: str) -> Origin:
    reason = f"its bytes did not match their hash: restored from {source}"
    return Origin("", "protection:Restore", PRINCIPAL, reason=reason)


def _note_restored(tx: Tx, *, row: BlobRow, source: str) -> None:
    message = f"blob {row.id} ({row.stored_bytes} bytes) was corrupt, and was restored from {source}: check the disk"
    raise_alert(tx, "restored-object", subject_of(row.id), Severity.WARNING, message)
    _note_well(tx, row=row)


def _note_well(tx: Tx, *, row: BlobRow) -> None:
    resolve_alert(tx, "corrupt-object", subject_of(row.id))


def _note_lost(tx: Tx, *, row: BlobRow, owners: list[Owner], failures: list[str]) -> None:
    if not tx.value("SELECT 1 FROM blob WHERE id = ? AND hash = ?", (row.id, row.digest)):
        return  # removed meanwhile
    mark_corrupt(tx, blob_id=row.id)
    tried = f" ({'; '.join(failures)})" if failures else ""
    message = (
        f"blob {row.id} ({row.stored_bytes} bytes) does not match its hash and there is no other copy{tried}. "
        f"It is needed by {names_of(owners)}. Restore it from a backup, or upload it again"
    )
    raise_alert(tx, "corrupt-object", subject_of(row.id), Severity.CRITICAL, message)


def _go_back(tx: Tx, *, owner: Owner, previous_seq: int, reason: str) -> bool:
    record = demote_corrupt(tx, owner.bucket, owner.key, owner.seq, previous_seq, actor=PRINCIPAL)
    if record is None:
        return False
    raise_alert(
        tx, "restored-object", f"object/{owner.bucket}/{owner.key}", Severity.CRITICAL, f"{owner.key!r}: {reason}"
    )
    return True


def names_of(owners: list[Owner]) -> str:
    """Return the objects that need a blob, for a message."""
    if not owners:
        return "no object"
    names = [
        f"{owner.bucket}/{owner.key}" + ("" if owner.version_id == "null" else f" (version {owner.version_id})")
        for owner in owners[:NAMES_MAX]
    ]
    more = len(owners) - len(names)
    return ", ".join(names) + (f" and {more} more" if more else "")

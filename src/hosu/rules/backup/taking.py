"""Taking a backup: the lake at one moment, of which only what has changed is written."""

import contextlib
import os
import socket
import threading
from functools import partial
from pathlib import Path
from typing import Final

import msgspec

from hosu._version import __version__
from hosu.kernel.errors import ConflictError, CorruptError, ErrorKind, HosuError, UnavailableError
from hosu.kernel.limits import MIB
from hosu.kernel.root import root_file
from hosu.kernel.settings import FILE_NAME as SETTINGS_NAME
from hosu.objects import audit_files
from hosu.objects.blobs import FILE_COLUMNS, BlobRow, disk_error
from hosu.objects.encryption.lakekeys import INSIDE_FILE, load_inside_key
from hosu.objects.feed import BACKUPS, unsubscribe, unsubscribe_below
from hosu.objects.holds import extend_hold, hold, release_hold
from hosu.objects.schema import FORMAT
from hosu.objects.store import ObjectStore
from hosu.objects.transaction import Tx
from hosu.objects.views import View
from hosu.rules.backup.collecting import CHANGES, Before, Collector, Moment, event_hash, read_before
from hosu.rules.backup.known import KnownBodies
from hosu.rules.backup.lease import Lease, leased
from hosu.rules.backup.repository import Damage, Layer, Piece, Repository, Snapshot, StoredFile, new_id
from hosu.rules.backup.sending import Sending
from hosu.rules.locations import check_location, open_location

SUCCESS, MOMENT, WRITTEN = "backup_success_ms", "backup_moment_ms", "backup_written_bytes"
"""Counters of the lake: when a run ended well last, of which moment its snapshot is, and what it wrote."""

LAYER_ROWS_MIN: Final = 1_000
"""A lake with fewer changed keys than this above its base gets no new base for them."""

LAYERS_MAX: Final = 500
"""A snapshot with more layers takes long to restore: the next one is a base."""

PIECE_BYTES: Final = 8 * MIB
PIECES_MAX: Final = 64
"""A file of the audit log in more pieces is written anew."""

BLOBS_PER_LOOK: Final = 1_000


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """What a run has done. `snapshot` is complete unless `damaged` names blobs that the lake itself had lost."""

    snapshot: Snapshot
    is_base: bool
    changed_keys: int
    """Keys of which rows were written: all of them in a base."""

    damaged: tuple[str, ...]
    """Objects, as bucket/key, of which the backup lacks bytes that the lake has lost."""


def take_backup(
    store: ObjectStore,
    location: str,
    *,
    exclude_keys: bool = False,
    is_full: bool = False,
    stop: threading.Event | None = None,
) -> Report:
    """Back the lake up to a folder or an S3 place, and return what was written.

    Others may read and write the lake meanwhile. The moment of the snapshot is that of its beginning. With
    exclude_keys neither root's credentials nor the lake's own key are in it. With is_full all records are written
    again. Raises InvalidInputError LOCATION_INVALID for a place within the lake, ConflictError BACKUP_BUSY while
    another process writes to the backup, UnavailableError SHUTTING_DOWN once `stop` is set, and what the place answers.
    """
    repository = make_repository(store, location)
    snapshot_id = new_id()
    name = f"backup:{snapshot_id}"
    begin = partial(_begin, name=name, subscription=_subscription(repository, snapshot_id))
    with leased(repository, "backup", also=lambda: _extend(store, name)) as lease:
        store.commit(begin)
        try:
            run = _Run(store, repository, lease, snapshot_id, name, stop)
            return run.take(exclude_keys=exclude_keys, is_full=is_full)
        except BaseException:
            with contextlib.suppress(HosuError):
                store.commit(partial(unsubscribe, name=_subscription(repository, snapshot_id)))
            raise
        finally:
            with contextlib.suppress(HosuError):
                store.commit(partial(release_hold, name=name))


def make_repository(store: ObjectStore, location: str) -> Repository:
    """Open the backup in a place that is fit for one, or begin it; raises as `take_backup` does."""
    check_location(location, store.path)
    files = open_location(location, store_path=store.path, clock=store.clock)
    return Repository.open_or_make(files, store.clock)


def _subscription(repository: Repository, snapshot_id: str) -> str:
    """Return the name under which the feed is kept for the run after a snapshot."""
    return f"{BACKUPS}{repository.id}/{snapshot_id}"


def _begin(tx: Tx, *, name: str, subscription: str) -> None:
    """Keep blob files and events from now on; of the events the newest too, by which the history is known again."""
    hold(tx, name)
    latest = tx.value("SELECT max(seq) FROM event") or 0
    tx.run("INSERT OR REPLACE INTO subscription VALUES (?, ?)", (subscription, max(latest - 1, 0)))


def _extend(store: ObjectStore, name: str) -> None:
    store.commit(partial(extend_hold, name=name))


class _Run:
    """One run; `hold_name` is the hold that keeps the lake's blob files meanwhile."""

    def __init__(
        self,
        store: ObjectStore,
        repository: Repository,
        lease: Lease,
        snapshot_id: str,
        hold_name: str,
        stop: threading.Event | None,
    ) -> None:
        self._store = store
        self._repository = repository
        self._lease = lease
        self._id = snapshot_id
        self._hold_name = hold_name
        self._stop = stop

    def _check(self) -> None:
        self._lease.check()
        if self._stop is not None and self._stop.is_set():
            raise UnavailableError(ErrorKind.SHUTTING_DOWN, "the backup was stopped: nothing was kept; run it again")

    def take(self, *, exclude_keys: bool, is_full: bool) -> Report:
        """Write what has changed, then the snapshot."""
        store, repository, view = self._store, self._repository, self._store.view()
        parent = _find_parent(view, repository)
        with Sending(repository, check=self._check) as sending:
            at_ms = store.clock.now_ms()
            with view.snapshot():
                before = None if parent is None or is_full else _known_before(view, repository, parent)
                below = None if before is None else parent
                moment = _collect(view, repository, sending, parent, before)
                secrets = _key_files(store, exclude_keys=exclude_keys)
                lake_key = _lake_key(view, store)
            files = [*_store_files(sending, secrets), *_store_audit(store, sending, parent)]
            damaged = _send_blobs(store, repository, sending, moment, below)
            objects, object_bytes, versions, version_bytes = moment.totals
            snapshot = Snapshot(
                id=self._id,
                at_ms=at_ms,
                hosu=__version__,
                lake_format=FORMAT,
                lake=f"{socket.gethostname()}:{store.path.resolve()}",
                seq=moment.seq,
                event=moment.event,
                layers=_layers(below, moment.layer),
                tables=moment.tables,
                files=tuple(files),
                lake_key=lake_key,
                has_lake_key=any(path == f"meta/{INSIDE_FILE}" for path, _, _ in secrets),
                excludes_keys=exclude_keys,
                damaged=tuple(damaged),
                objects=objects,
                object_bytes=object_bytes,
                versions=versions,
                version_bytes=version_bytes,
                written_files=sending.files,
                written_bytes=sending.size_bytes,
            )
        self._keep(snapshot)
        return Report(
            snapshot=snapshot,
            is_base=below is None,
            changed_keys=0 if moment.layer is None else moment.layer.rows,
            damaged=tuple(_objects_of(view, damaged)),
        )

    def _keep(self, snapshot: Snapshot) -> None:
        """Let the snapshot count, unless what it needs may have gone meanwhile."""
        self._lease.renew(self._store.clock.now_ms())  # a process that stood still may not know yet that it is late
        self._check()
        if not self._store.commit(partial(extend_hold, name=self._hold_name)):
            raise UnavailableError(
                ErrorKind.STORE_UNAVAILABLE, "the backup stood still for so long that blobs may be gone: run it again"
            )
        self._repository.commit(snapshot)
        self._store.commit(partial(_end, repository_id=self._repository.id, snapshot=snapshot))


def _end(tx: Tx, *, repository_id: str, snapshot: Snapshot) -> None:
    """Keep the feed from this snapshot on, and no longer from those before."""
    prefix = f"{BACKUPS}{repository_id}/"
    unsubscribe_below(tx, prefix)
    tx.run("INSERT INTO subscription VALUES (?, ?)", (prefix + snapshot.id, max(snapshot.seq - 1, 0)))
    for name, value in ((SUCCESS, tx.now_ms), (MOMENT, snapshot.at_ms), (WRITTEN, snapshot.written_bytes)):
        tx.run("INSERT OR REPLACE INTO counter VALUES (?, ?)", (name, value))


# What came before


def _find_parent(view: View, repository: Repository) -> Snapshot | None:
    """Return the newest snapshot that was taken of this lake and is still there."""
    prefix = f"{BACKUPS}{repository.id}/"
    rows = view.rows("SELECT name FROM subscription WHERE substr(name, 1, ?) = ?", (len(prefix), prefix))
    ids = {row[0][len(prefix) :] for row in rows}
    keys = {key: key.rpartition("-")[2].removesuffix(".json") for key in repository.snapshot_keys()}
    found = []
    for key in (key for key, snapshot_id in keys.items() if snapshot_id in ids):
        with contextlib.suppress(CorruptError):  # nothing can build on it: all records are written again
            found.append(repository.load(key))
    return max(found, key=lambda snapshot: snapshot.seq, default=None)


def _known_before(view: View, repository: Repository, parent: Snapshot) -> Before | None:
    """Return what a snapshot knew, for a layer of what has changed since; None where all has to be written again."""
    if not _may_go_on(view, parent):
        return None
    there = {(kind, name) for kind in ("records", "packs") for name, _ in repository.list_files(kind)}
    if any(kind != "blobs" and (kind, name) not in there for kind, name in parent.needed()):
        return None
    with contextlib.suppress(CorruptError):
        return read_before(repository, parent)
    return None


def _may_go_on(view: View, parent: Snapshot) -> bool:
    """Say whether a layer of what has changed since is possible, and worth it."""
    if not parent.event or event_hash(view, parent.seq) != parent.event:
        return False  # the lake has another history since: it was put back to an older state by hand
    rows = [layer.rows for layer in parent.layers]
    events = view.value(f"SELECT count(*) FROM event WHERE {CHANGES}", (parent.seq,))
    return len(rows) < LAYERS_MAX and 2 * (sum(rows[1:]) + events) <= max(rows[0], 2 * LAYER_ROWS_MIN)


def _collect(
    view: View, repository: Repository, sending: Sending, parent: Snapshot | None, before: Before | None
) -> Moment:
    """Take what has changed since `parent`, of which `before` is what it knew of small blobs; without it everything."""
    collector = Collector(view, sending.store)
    if parent is None or before is None:
        with KnownBodies() as known:
            if parent is not None:
                with contextlib.suppress(CorruptError):  # what is damaged there is written again
                    known.load(repository, parent)
            known.forget_missing(name for name, _ in repository.list_files("packs"))
            return collector.collect(known=known)
    again = [damage.blob_id for damage in parent.damaged]
    return collector.collect(known=None, before=before, after_seq=parent.seq, again=again)


def _layers(below: Snapshot | None, layer: Layer | None) -> tuple[Layer, ...]:
    layers = () if below is None else below.layers
    return layers if layer is None else (*layers, layer)


# Blob files


def _send_blobs(
    store: ObjectStore, repository: Repository, sending: Sending, moment: Moment, below: Snapshot | None
) -> list[Damage]:
    there: set[str] | None = None
    if below is None:
        there = {name for name, _ in repository.list_files("blobs")}
    view, ids = store.view(), moment.files
    for start in range(0, len(ids), BLOBS_PER_LOOK):
        chunk = ids[start : start + BLOBS_PER_LOOK]
        marks = ",".join("?" * len(chunk))
        for row in view.rows(f"SELECT {FILE_COLUMNS} FROM blob WHERE id IN ({marks})", tuple(chunk)):
            blob = BlobRow(*row)
            is_new = there is not None and (blob.digest or b"").hex() not in there
            sending.store_blob(store, blob, is_new=is_new)
    sending.finish()
    damaged = {damage.blob_id: damage for damage in (*moment.damaged, *sending.damaged)}
    return sorted(damaged.values(), key=lambda damage: damage.blob_id)


def _objects_of(view: View, damaged: list[Damage]) -> list[str]:
    """Return the objects whose bytes are missing, by looking at all of them: it is rare."""
    if not damaged:
        return []
    ids = {damage.blob_id for damage in damaged}
    marks = ",".join(map(str, sorted(ids)))
    whole = f"SELECT blob_id FROM segment WHERE child_id IN ({marks}) UNION SELECT id FROM blob WHERE id IN ({marks})"
    found = view.rows(
        f"WITH lost AS ({whole}) SELECT DISTINCT name, key FROM ("
        "SELECT bucket_id, key FROM object WHERE blob_id IN lost UNION "
        "SELECT bucket_id, key FROM version WHERE blob_id IN lost) JOIN bucket ON bucket.id = bucket_id"
    )
    return sorted(f"{bucket}/{key}" for bucket, key in found)


# Other files of the lake


def _key_files(store: ObjectStore, *, exclude_keys: bool) -> list[tuple[str, int, bytes]]:
    """Return path, mode and bytes of the settings and, unless they are excluded, of root's credentials and the key."""
    paths = [store.path / SETTINGS_NAME]
    if not exclude_keys:
        paths += [root_file(store.path), store.path / "meta" / INSIDE_FILE]
    found = []
    for path in paths:
        try:
            with path.open("rb") as file:
                found.append((str(path.relative_to(store.path)), os.fstat(file.fileno()).st_mode & 0o777, file.read()))
        except FileNotFoundError:
            continue
        except OSError as error:
            raise disk_error(error) from error
    return found


def _lake_key(view: View, store: ObjectStore) -> str:
    """Return the fingerprint of the lake key that named keys are wrapped by; empty where there are none."""
    rows = view.rows("SELECT DISTINCT lake_key FROM named_key")
    if not rows:
        return ""
    inside = load_inside_key(store.path / "meta")
    if len(rows) > 1 or (inside is None and store.keys.fingerprint != rows[0][0] and not store.keys.is_outside):
        raise ConflictError(ErrorKind.LAKE_KEY_WRONG, "the lake is being brought under another lake key: try again")
    return str(rows[0][0])


def _store_files(sending: Sending, files: list[tuple[str, int, bytes]]) -> list[StoredFile]:
    return [StoredFile(path, mode, (Piece(sending.store("blobs", data), len(data)),)) for path, mode, data in files]


def _store_audit(store: ObjectStore, sending: Sending, parent: Snapshot | None) -> list[StoredFile]:
    """Keep the files of the audit log, which only grow: of those that were kept before what came since."""
    before = {} if parent is None else {file.path: file for file in parent.files}
    stored = []
    for file in audit_files.list_files(store.path / audit_files.FOLDER):
        path = str(file.path.relative_to(store.path))
        try:
            stored.append(_store_growing(file.path, path, sending, before.get(path)))
        except FileNotFoundError:
            continue  # its days were over just now
        except OSError as error:
            raise disk_error(error) from error
    return stored


def _store_growing(file: Path, path: str, sending: Sending, before: StoredFile | None) -> StoredFile:
    with file.open("rb") as stream:
        facts = os.fstat(stream.fileno())
        pieces = () if before is None else before.pieces
        if before is None or before.size_bytes > facts.st_size or len(pieces) > PIECES_MAX:
            pieces = ()
        stream.seek(sum(piece.size_bytes for piece in pieces))
        rest = facts.st_size - stream.tell()
        while rest > 0 and (data := stream.read(min(PIECE_BYTES, rest))):
            rest -= len(data)
            if rest <= 0:
                data = data[: data.rfind(b"\n") + 1]  # the last line may be half there
            if data:
                pieces = (*pieces, Piece(sending.store("blobs", data), len(data)))
    return StoredFile(path, facts.st_mode & 0o777, pieces)

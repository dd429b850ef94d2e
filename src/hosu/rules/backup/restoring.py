"""Restoring: a snapshot of a backup becomes a lake in a new folder, which is none before all of it is there."""

import os
import threading
import tomllib
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from itertools import islice
from pathlib import Path
from typing import Any, Final

import apsw
import msgspec
from blake3 import blake3

from hosu.kernel.clock import Clock, SystemClock
from hosu.kernel.disk import Disk, RealDisk, write_file
from hosu.kernel.errors import ConflictError, CorruptError, ErrorKind, HosuError
from hosu.kernel.lakekey import load_lake_key
from hosu.kernel.settings import ENVIRONMENT, FILE_NAME, Settings
from hosu.objects.blobs import FILE_COLUMNS, IDS_PER_DIRECTORY, BlobRow, disk_error
from hosu.objects.database import check_local_filesystem, connect, create_tables, translating
from hosu.objects.lock import LakeLock
from hosu.objects.schema import FORMAT
from hosu.objects.store import FORMAT_NAME, Format
from hosu.objects.views import View
from hosu.rules.backup.loading import keep_only, load_records, lost_references, recount
from hosu.rules.backup.own_files import check_path, is_audit, read_file, write_own_files
from hosu.rules.backup.repository import READ_BYTES, Repository, Snapshot, is_damage
from hosu.rules.locations import open_location

MARKER: Final = "restore.json"
"""In a folder that is being restored: which snapshot, so that a run that was stopped can go on."""

THREADS: Final = 6
ROWS_PER_LOOK: Final = 1_000


class Undertaking(msgspec.Struct, frozen=True):
    """Content of the marker."""

    backup: str
    snapshot: str
    bucket: str
    prefix: str


class Restored(msgspec.Struct, frozen=True, kw_only=True):
    """What a restore has made. `damaged` names objects, as bucket/key, whose bytes the backup does not have."""

    snapshot: Snapshot
    objects: int
    versions: int
    blob_files: int
    bytes: int
    damaged: tuple[str, ...]
    notes: tuple[str, ...]


def restore_backup(
    location: str,
    lake: Path,
    *,
    snapshot_id: str = "",
    to_ms: int | None = None,
    bucket: str = "",
    prefix: str = "",
    environment: Mapping[str, str] | None = None,
    clock: Clock | None = None,
    disk: Disk | None = None,
) -> Restored:
    """Make a lake of a snapshot: of the one named, of the newest at or before `to_ms`, or of the newest.

    With `bucket`, and perhaps `prefix`, only of what is there. The folder must be missing or empty, or hold the rest of
    the same restore, which then goes on. Everything is hashed. Raises NotFoundError BACKUP_NOT_FOUND, ConflictError
    NOT_A_LAKE for a folder with other contents, LAKE_KEY_MISSING or LAKE_KEY_WRONG where what is sealed could not be
    opened, CorruptError BACKUP_CORRUPT when records are damaged: then there is no lake, and an older snapshot may do.
    """
    clock, disk = clock or SystemClock(), disk or RealDisk()
    environment = os.environ if environment is None else environment
    repository = Repository.open(open_location(location, store_path=lake, clock=clock), clock)
    snapshot = repository.choose(snapshot_id=snapshot_id, to_ms=to_ms)
    _check_format(snapshot)
    for file in snapshot.files:
        check_path(file)
    files = {file.path: read_file(repository, file) for file in snapshot.files if not is_audit(file)}
    _check_lake_key(snapshot, files.get(FILE_NAME, b""), environment, lake)
    try:
        undertaking = Undertaking(repository.id, snapshot.id, bucket, prefix)
        _begin(disk, lake, undertaking)
        disk.make_directory(lake / "meta")
        with _alone(lake):
            _begin(disk, lake, undertaking)  # another process may have ended it meanwhile
            return _Restore(repository, snapshot, lake, clock, disk).run(bucket, prefix)
    except OSError as error:
        raise disk_error(error) from error


def _check_format(snapshot: Snapshot) -> None:
    if snapshot.lake_format > FORMAT:
        raise ConflictError(
            ErrorKind.LAKE_NEWER,
            f"the lake had format {snapshot.lake_format}, this hosu reads up to {FORMAT}: install a newer hosu",
        )


def _check_lake_key(snapshot: Snapshot, toml: bytes, environment: Mapping[str, str], lake: Path) -> None:
    """Refuse a restore whose lake could not be opened, before anything is written."""
    if not snapshot.lake_key or snapshot.has_lake_key:
        return
    names = ("lake_key_file", "lake_key_command")
    values = {name: value for name, value in tomllib.loads(toml.decode()).items() if name in names}
    values |= {ENVIRONMENT[name]: value for name, value in environment.items() if ENVIRONMENT.get(name) in names}
    found = load_lake_key(msgspec.convert(values, Settings), environment, lake)
    if found is None:
        raise ConflictError(
            ErrorKind.LAKE_KEY_MISSING,
            f"what is sealed in the backup needs the lake key with the fingerprint {snapshot.lake_key}, which is not "
            "in it: set HOSU_LAKE_KEY or HOSU_LAKE_KEY_FILE",
            fingerprint=snapshot.lake_key,
        )
    if found.fingerprint != snapshot.lake_key:
        raise ConflictError(
            ErrorKind.LAKE_KEY_WRONG,
            f"what is sealed in the backup needs the lake key with the fingerprint {snapshot.lake_key}, not the given "
            f"one with {found.fingerprint}: give the right one",
            fingerprint=snapshot.lake_key,
        )


def _begin(disk: Disk, lake: Path, undertaking: Undertaking) -> None:
    """Claim the folder for this restore; what is there of the same one is kept."""
    if lake.exists() and not lake.is_dir():
        raise ConflictError(ErrorKind.NOT_A_LAKE, f"{lake} is a file: name a new folder")
    if (lake / FORMAT_NAME).exists():
        raise ConflictError(ErrorKind.NOT_A_LAKE, f"{lake} is a lake already: restore into a new folder")
    marker, text = lake / MARKER, msgspec.json.encode(undertaking) + b"\n"
    if lake.exists() and any(not entry.name.startswith(f".{MARKER}.") for entry in lake.iterdir()):
        if not marker.exists():
            raise ConflictError(ErrorKind.NOT_A_LAKE, f"{lake} is not empty: restore into a new folder")
        if marker.read_bytes() != text:
            raise ConflictError(
                ErrorKind.NOT_A_LAKE, f"{lake} holds the rest of another restore: remove it, or name a new folder"
            )
    missing = [lake, *(parent for parent in lake.absolute().parents if not parent.exists())]
    disk.make_directory(lake)
    for made in missing:
        disk.sync_directory(made.absolute().parent)
    check_local_filesystem(lake)
    write_file(disk, marker, text)


@contextmanager
def _alone(lake: Path) -> Iterator[None]:
    """Keep other restores from the folder, which would make other files of the same names; raises LAKE_LOCKED."""
    lock = LakeLock(lake)
    try:
        yield
    finally:
        lock.release()


class _Restore:
    def __init__(self, repository: Repository, snapshot: Snapshot, lake: Path, clock: Clock, disk: Disk) -> None:
        self._repository = repository
        self._snapshot = snapshot
        self._lake = lake
        self._clock = clock
        self._disk = disk
        self._lost: set[int] = set()
        self._lock = threading.Lock()
        self._bytes = 0

    def run(self, bucket: str, prefix: str) -> Restored:
        disk, lake = self._disk, self._lake
        for name in ("meta", "blobs", "tmp"):
            disk.make_directory(lake / name)
        database = lake / "meta" / "lake.db"
        for name in ("lake.db", "lake.db-wal", "lake.db-shm", "lake.db-journal"):
            disk.unlink(database.with_name(name))
        with translating(), closing(connect(database, disk)) as connection:
            create_tables(connection)
            connection.execute("PRAGMA journal_mode=OFF; PRAGMA synchronous=OFF").fetchall()
            view = View(connection, self._clock.now_ms())
            load_records(self._repository, self._snapshot, view)
            notes = self._settle(view, bucket, prefix)
            with ThreadPoolExecutor(THREADS, thread_name_prefix="hosu-restore") as pool:
                self._fill_bodies(view, pool)
                blob_files = self._fill_files(view, pool)
            restored = self._describe(view, notes, blob_files)
            self._finish_database(view)
        notes += write_own_files(self._repository, self._snapshot, lake, disk)
        disk.sync_directory(lake / "meta")
        disk.sync_directory(lake)
        write_file(disk, lake / FORMAT_NAME, msgspec.json.encode(Format(self._snapshot.lake_format)) + b"\n")
        disk.unlink(lake / MARKER)
        disk.sync_directory(lake)
        return msgspec.structs.replace(restored, notes=tuple(notes))

    # Records

    def _settle(self, view: View, bucket: str, prefix: str) -> list[str]:
        notes = []
        schedule = view.value("SELECT body FROM lake_document WHERE kind = 'backup'")
        if schedule is not None:
            notes.append("the lake's schedule of backups was left out: hosu backup schedule sets one")
        if bucket:
            keep_only(view, bucket, prefix)
        view.run("BEGIN")
        recount(view, self._snapshot, self._clock.now_ms())
        view.run("COMMIT")
        if lost := lost_references(view):
            raise CorruptError(
                ErrorKind.BACKUP_CORRUPT,
                f"{lost} records refer to blobs that snapshot {self._snapshot.id} has no record of: restore another",
            )
        objects, versions = _totals(view)
        if not bucket and (objects, versions) != (self._snapshot.objects, self._snapshot.versions):
            notes.append(
                f"the records make {objects} objects and {versions} older versions; the lake had counted "
                f"{self._snapshot.objects} and {self._snapshot.versions}"
            )
        if self._snapshot.excludes_keys:
            notes.append("the backup leaves keys out: root is whom HOSU_ROOT_USER names, or a new one")
        return notes

    # Small blobs

    def _fill_bodies(self, view: View, pool: ThreadPoolExecutor) -> None:
        view.run("CREATE INDEX restored_place_by_pack ON restored_place (pack, start)")
        packs = [row[0] for row in view.rows("SELECT DISTINCT pack FROM restored_place ORDER BY pack")]
        statement = (
            "SELECT blob_id, start, restored_place.stored_bytes, hash FROM restored_place JOIN blob ON id = blob_id "
            "WHERE pack = ?"
        )
        view.run("BEGIN")
        for pack, data in zip(packs, _ahead(pool, self._read_pack, packs), strict=True):
            bodies, now_ms = [], self._clock.now_ms()
            for blob_id, start, size_bytes, digest in view.rows(statement, (pack,)):
                body = b"" if data is None else data[start : start + size_bytes]
                if blake3(body).digest() == digest:
                    bodies.append((body, now_ms, blob_id))
                    self._bytes += size_bytes
            view.connection.executemany(
                "UPDATE blob SET body = ?, verified_ms = ?, is_corrupt = 0 WHERE id = ?", bodies
            )
        self._lost.update(row[0] for row in view.rows("SELECT id FROM blob WHERE kind = 0 AND verified_ms = 0"))
        view.run("COMMIT")

    def _read_pack(self, name: str) -> bytes | None:
        """Return a pack; of a damaged one what can be read, for most blobs in it are whole."""
        try:
            return self._repository.read("packs", name)
        except HosuError as error:
            if not is_damage(error):
                raise
        try:
            with self._repository.open_read("packs", name) as stream:
                return stream.read()
        except CorruptError:
            return None

    # Blob files

    def _fill_files(self, view: View, pool: ThreadPoolExecutor) -> int:
        count, after = 0, 0
        directories: set[Path] = set()
        while rows := view.rows(
            f"SELECT {FILE_COLUMNS} FROM blob WHERE kind = 1 AND id > ? ORDER BY id LIMIT ?", (after, ROWS_PER_LOOK)
        ):
            after = rows[-1][0]
            blobs = [BlobRow(*row) for row in rows]
            for path in {self._path(blob.id).parent for blob in blobs} - directories:
                self._disk.make_directory(path)
                directories.add(path)
            facts = [found for found in _ahead(pool, self._fill_file, blobs) if found is not None]
            now_ms = self._clock.now_ms()
            view.run("BEGIN")
            view.connection.executemany(
                "UPDATE blob SET is_corrupt = 0, verified_ms = ?, inode = ?, ctime_ns = ? WHERE id = ?",
                ((now_ms, *found) for found in facts),
            )
            view.run("COMMIT")
            count += len(facts)
        for path in directories:
            self._disk.sync_directory(path)
        self._disk.sync_directory(self._lake / "blobs")
        return count

    def _path(self, blob_id: int) -> Path:
        return self._lake / "blobs" / f"{blob_id // IDS_PER_DIRECTORY:08x}" / f"{blob_id:012x}"

    def _fill_file(self, row: BlobRow) -> tuple[int, int, int] | None:
        """Make a blob's file, or keep the one that is there and right; return inode, change time and id."""
        path, name = self._path(row.id), (row.digest or b"").hex()
        if not _is_right(path, row):
            self._disk.unlink(path)
            try:
                self._write_blob(path, name)
            except HosuError as error:
                if not is_damage(error):
                    raise
                self._disk.unlink(path)
                with self._lock:
                    self._lost.add(row.id)
                return None
        facts = path.stat()
        with self._lock:
            self._bytes += facts.st_size
        return facts.st_ino, facts.st_ctime_ns, row.id

    def _write_blob(self, path: Path, name: str) -> None:
        digest = blake3()
        with self._repository.open_read("blobs", name) as stream:
            descriptor = self._disk.create(path)
            try:
                while piece := stream.read(READ_BYTES):
                    digest.update(piece)
                    self._disk.write(descriptor, piece)
                self._disk.sync(descriptor)
            finally:
                self._disk.close(descriptor)
        if digest.hexdigest() != name:
            raise CorruptError(ErrorKind.BACKUP_CORRUPT, f"blobs/{name[:2]}/{name} of the backup has changed")

    # The end

    def _describe(self, view: View, notes: list[str], blob_files: int) -> Restored:
        marks = ",".join(map(str, sorted(self._lost)))
        view.run(f"UPDATE blob SET is_corrupt = 1 WHERE id IN ({marks})")
        view.run(f"UPDATE blob SET body = x'' WHERE id IN ({marks}) AND kind = 0")
        damaged = view.rows(
            f"WITH lost AS (SELECT id FROM blob WHERE id IN ({marks}) UNION "
            f"SELECT blob_id FROM segment WHERE child_id IN ({marks})) "
            "SELECT DISTINCT name, key FROM (SELECT bucket_id, key FROM object WHERE blob_id IN lost UNION "
            "SELECT bucket_id, key FROM version WHERE blob_id IN lost) JOIN bucket ON bucket.id = bucket_id"
        )
        objects, versions = _totals(view)
        return Restored(
            snapshot=self._snapshot,
            objects=objects,
            versions=versions,
            blob_files=blob_files,
            bytes=self._bytes,
            damaged=tuple(sorted(f"{bucket}/{key}" for bucket, key in damaged)),
            notes=tuple(notes),
        )

    def _finish_database(self, view: View) -> None:
        """Make all of it durable: the checkpoint syncs the file, whatever wrote to it."""
        view.run("DROP TABLE restored_place")
        view.run("PRAGMA synchronous=FULL").fetchall()
        view.run("PRAGMA journal_mode=WAL").fetchall()
        view.run("INSERT OR REPLACE INTO counter VALUES ('restored_ms', ?)", (self._clock.now_ms(),))
        view.connection.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_TRUNCATE)


def _totals(view: View) -> tuple[int, int]:
    found = view.row("SELECT coalesce(sum(object_count), 0), coalesce(sum(version_count), 0) FROM bucket")
    assert found is not None, "a sum has a row"
    return found[0], found[1]


def _is_right(path: Path, row: BlobRow) -> bool:
    """Say whether an earlier run has written a blob's file whole."""
    try:
        with path.open("rb") as file:
            digest = blake3()
            while piece := file.read(READ_BYTES):
                digest.update(piece)
            os.fdatasync(file.fileno())
    except FileNotFoundError:
        return False
    return digest.digest() == row.digest


def _ahead(pool: ThreadPoolExecutor, work: Any, items: list[Any]) -> Iterator[Any]:  # noqa: ANN401 - of any items
    """Yield the result for each item in order, a few of them worked out ahead."""
    waiting = iter(items)
    futures = [pool.submit(work, item) for item in islice(waiting, THREADS)]
    while futures:
        yield futures.pop(0).result()
        futures += [pool.submit(work, item) for item in islice(waiting, 1)]

"""The object store of one lake: opens its files, hands reads a view and writes a place in the next batch."""

import contextlib
import itertools
import os
import threading
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Self, TypeVar

import apsw
import msgspec

from hosu.kernel.clock import Clock, SystemClock
from hosu.kernel.disk import Disk, RealDisk, write_file
from hosu.kernel.errors import ConflictError, CorruptError, ErrorKind, UnavailableError, UnsupportedError
from hosu.kernel.lakekey import LakeKey
from hosu.kernel.limits import MIB
from hosu.objects.audit import Origin
from hosu.objects.blobs import (
    BlobFiles,
    BlobRow,
    BlobWriter,
    StagedBlob,
    disk_error,
    stage_inline,
)
from hosu.objects.database import check_local_filesystem, check_sqlite_version, connect, create_tables
from hosu.objects.encryption.blobs import SealedBlobWriter, stage_inline_sealed
from hosu.objects.encryption.defaults import DefaultEncryption, check_default_encryption
from hosu.objects.encryption.keys import KeyService
from hosu.objects.encryption.lakekeys import hold_lake_key, settle_lake_key
from hosu.objects.encryption.modes import Encryption
from hosu.objects.generation import Generation
from hosu.objects.protected import ProtectedObjects
from hosu.objects.read import FIND_BLOB, find_current, find_with_body
from hosu.objects.recent import Found, RecentObjects
from hosu.objects.records import BlobKind, ObjectRecord
from hosu.objects.schema import FORMAT
from hosu.objects.transaction import Effects, Tx, find_twin
from hosu.objects.turns import Turns
from hosu.objects.verified import VerifiedBlobs
from hosu.objects.views import View
from hosu.objects.writer import Waiter, Writer

T = TypeVar("T")

FORMAT_NAME = "format"
ENCRYPTED = '"encryption":'
"""What the attributes of an encrypted object hold; those of some others hold it too, as a value of their writer's."""

TURN_S_MAX = 1.0
"""How long opening waits for whoever commits just now."""

SPACE_CHECK_MS = 1_000
"""How often a write looks at the free space of the disk."""

SPACE_RESERVE_BYTES = 64 * MIB
"""Puts are refused below this much free space, so that deletes, records and the log always find room."""


class Format(msgspec.Struct, frozen=True, forbid_unknown_fields=False):
    """Content of the file `format`: marks a folder as a lake and says which layout it has."""

    format: int


class ObjectStore(VerifiedBlobs):
    """The objects of a lake, safe to use from several threads, and from several processes at once."""

    def __init__(
        self,
        path: Path,
        *,
        clock: Clock | None = None,
        disk: Disk | None = None,
        space_reserve_bytes: int = SPACE_RESERVE_BYTES,
        is_audited: bool = True,
        lake_key: LakeKey | None = None,
        default_encryption: bool = False,
    ) -> None:
        super().__init__()
        self.path = path
        self.clock = clock or SystemClock()
        self.disk = disk or RealDisk()
        check_sqlite_version()
        self._space_reserve_bytes = space_reserve_bytes
        self._space_checked_ms = 0
        self._has_space = True
        self._local = threading.local()
        self._foreign: dict[int, View] = {}
        self._views: weakref.WeakSet[apsw.Connection] = weakref.WeakSet()  # a thread's own goes with the thread
        self._views_lock = threading.Lock()
        self._is_closed = False
        try:
            self._prepare_folder()
        except OSError as error:
            raise disk_error(error) from error
        self.files = BlobFiles(path / "blobs", self.disk, lambda: self.commit(Tx.reserve_ids))
        held = hold_lake_key(self._database_path, self.disk, lake_key)
        check_default_encryption(held, is_on=default_encryption)
        connection, log_connection = self._connect()
        self._checkpoint_due = threading.Event()
        self._turns = Turns(path / "meta" / "turns")
        self.generation = Generation(path / "meta" / "generation")
        self._turns.take(self.generation.move, TURN_S_MAX)
        self._recent = RecentObjects(self._turns)
        effects = Effects(self.files, self.generation, is_audited=is_audited)
        self.lake_quota = effects.lake_quota
        self.writer = Writer(
            connection,
            self.clock,
            effects,
            self._turns,
            self._recent,
            on_wal=self._checkpoint_due.set,
        )
        self._writer_connection = connection
        self._checkpointer = threading.Thread(
            target=self._checkpoint,
            args=(log_connection,),
            name="hosu-checkpoint",
            daemon=True,
        )
        self._checkpointer.start()
        self.protected = ProtectedObjects(self.view, self.generation)
        self._defaults = DefaultEncryption(self.view, self.generation, is_on=default_encryption)
        self.keys = KeyService(
            held,
            view=self.view,
            commit=self.commit,
            transaction=self.writer.transaction,
            generation=self.generation,
        )
        try:
            settle_lake_key(held, self.commit)
        except BaseException:
            self.close()
            raise

    # Opening and closing

    def _connect(self) -> tuple[apsw.Connection, apsw.Connection]:
        """Return the connection that writes, its tables made, and the one that moves the log."""
        with contextlib.ExitStack() as opening:
            connection = opening.enter_context(contextlib.closing(connect(self._database_path, self.disk)))
            create_tables(connection)
            log_connection = opening.enter_context(contextlib.closing(connect(self._database_path, self.disk)))
            opening.pop_all()
        return connection, log_connection

    @property
    def _database_path(self) -> Path:
        return self.path / "meta" / "lake.db"

    def _prepare_folder(self) -> None:
        """Make an empty or missing folder a lake; check any other that it is one, of a format this hosu reads."""
        path, marker = self.path, self.path / FORMAT_NAME
        if path.exists() and not path.is_dir():
            raise ConflictError(ErrorKind.NOT_A_LAKE, f"{path} is a file; name a folder for the lake")
        if not marker.exists():
            if path.exists() and any(not entry.name.startswith(".format.") for entry in path.iterdir()):
                raise ConflictError(
                    ErrorKind.NOT_A_LAKE, f"{path} is not a lake and not empty; name a lake's folder, or a new one"
                )
            self._make_durable_directory(path)
            write_file(self.disk, marker, msgspec.json.encode(Format(FORMAT)) + b"\n")
        check_format(marker)
        check_local_filesystem(path)
        if not self._database_path.exists() and any((path / "blobs").glob("*/*")):
            raise CorruptError(
                ErrorKind.CORRUPT_LAKE,
                f"{self._database_path} is missing but blobs are there; restore it from a backup",
            )
        for name in ("meta", "blobs", "tmp"):
            self.disk.make_directory(path / name)
        # Also when all of them are there: whoever made them may have been killed before it came to this sync.
        self.disk.sync_directory(path)

    def _make_durable_directory(self, path: Path) -> None:
        """Create a directory and its missing parents, each name synced before anything is put below it."""
        missing = [path, *itertools.takewhile(lambda parent: not parent.exists(), path.absolute().parents)]
        self.disk.make_directory(path)
        for made in missing:
            self.disk.sync_directory(made.parent)

    def close(self) -> None:
        """Finish queued writes, move the log into the database and close every connection."""
        if self._is_closed:
            return
        self._is_closed = True
        self.writer.stop()
        self._checkpoint_due.set()
        self._checkpointer.join()
        with self._views_lock:
            for connection in list(self._views):
                with contextlib.suppress(apsw.ThreadingViolationError):  # still reading: it goes with its thread
                    connection.close()
        self._writer_connection.close()
        self._turns.close()
        self.generation.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # Reading and writing

    def view(self) -> View:
        """Return this thread's view of the latest commit."""
        view: View | None = getattr(self._local, "view", None)
        if view is None:
            view = self._new_view()
        view.now_ms = self.clock.now_ms()
        return view

    def _new_view(self) -> View:
        """Open a view for this thread, or find the one of a thread that Python did not start, such as Arrow's.

        Such a thread's locals go each time it leaves Python, at a moment when a connection of SQLite cannot be closed:
        the process would crash. So what it uses is kept here, under its number, until the store is closed.
        """
        if self._is_closed:
            raise UnavailableError(ErrorKind.SHUTTING_DOWN, "the lake is closed")
        is_foreign = isinstance(threading.current_thread(), threading._DummyThread)  # noqa: SLF001 - there is no other
        if is_foreign and (found := self._foreign.get(threading.get_ident())) is not None:
            return found
        connection = connect(self._database_path, self.disk)
        connection.execute("PRAGMA query_only=1")
        with self._views_lock:
            self._views.add(connection)
        view = View(connection, 0)
        if is_foreign:
            self._foreign[threading.get_ident()] = view
        else:
            self._local.view = view
        return view

    def find_small(self, bucket: str, key: str) -> Found:
        """Return a current object's record, and all of its bytes if it is small and was checked lately.

        What was read lately and has not changed since comes from memory. What is protected never comes with its bytes:
        they have to be looked at again.
        """
        if self._is_closed:
            raise UnavailableError(ErrorKind.SHUTTING_DOWN, "the lake is closed")
        if self.protected.covers(bucket, key):
            return find_current(self.view(), bucket, key), None
        name = (bucket, key)
        found = self._recent.find(name)
        if found is None:
            mark = self._recent.mark()
            found, is_plain = find_with_body(self.view(), bucket, key)
            if found[1] is None and ENCRYPTED in found[0].attributes_json:
                found = self._with_opened_body(found[0])
            if is_plain:
                self._recent.keep(mark, name, found)
        return found

    def _with_opened_body(self, record: ObjectRecord) -> Found:
        """Return an encrypted object with its bytes, if they are small and their key is the lake's."""
        row = None if record.blob_id is None else self.view().row(FIND_BLOB, (record.blob_id,))
        if row is None or row[1] != BlobKind.INLINE or not self.keys.opens(row[-2], record.blob_id or 0):
            return record, None
        return record, self.inline_bytes(BlobRow(*row))

    def commit(self, operation: Callable[[Tx], T], origin: Origin | None = None) -> T:
        """Run a verb in a durable transaction and return its result; other threads' verbs share the sync.

        `origin` says on whose behalf, for the audit log; without one the events that the verb records say it.
        """
        return self.writer.commit(operation, origin)  # type: ignore[no-any-return]

    def submit(
        self, operation: Callable[[Tx], object], waiter: Waiter, token: object = None, origin: Origin | None = None
    ) -> None:
        """As `commit`, without waiting: the waiter is told from the writer's thread."""
        self.writer.submit(operation, waiter, token, origin)

    # Bodies

    def check_space(self) -> None:
        """Refuse a write while the disk is nearly full."""
        now_ms = self.clock.now_ms()
        if not 0 <= now_ms - self._space_checked_ms < SPACE_CHECK_MS:
            self._space_checked_ms = now_ms
            facts = os.statvfs(self.files.root)
            self._has_space = facts.f_bavail * facts.f_frsize >= self._space_reserve_bytes
        if not self._has_space:
            raise UnavailableError(
                ErrorKind.DISK_FULL,
                f"less than {self._space_reserve_bytes // MIB} MiB are free on the lake's disk: free space, then retry",
            )

    def encryption_of(self, bucket: str) -> Encryption | None:
        """Return how what is written to a bucket is encrypted where its writer says nothing; None for not at all."""
        return self._defaults.find(bucket)

    def stage(self, body: bytes, encryption: Encryption | None = None) -> StagedBlob:
        """Stage a small body that will live inside the metadata database."""
        if encryption is None:
            return stage_inline(body)
        return stage_inline_sealed(body, self.keys.new_blob_key(encryption))

    def new_blob(self, encryption: Encryption | None = None) -> BlobWriter:
        """Open a blob file for a large body. Blocks on the disk."""
        self.check_space()
        if encryption is None:
            return BlobWriter(self.files, self.files.new_id())
        key = self.keys.new_blob_key(encryption)
        return SealedBlobWriter(self.files, self.files.new_id(), key)

    def finish_blob(self, writer: BlobWriter) -> StagedBlob:
        """Make a blob file durable. A twin stored long ago is checked now, so that the commit may refer to it."""
        staged = writer.finish()
        self.check_twin(staged)
        return staged

    def check_twin(self, staged: StagedBlob) -> None:
        """Check a file stored long ago that holds the bytes of a staged one, so that a commit may refer to it."""
        view = self.view()
        twin = find_twin(view, staged)
        if twin is not None and not self.files.is_intact(twin, view.now_ms):
            with contextlib.suppress(CorruptError, UnavailableError):  # the new file stands on its own then
                self.verify(self.files.open(twin))

    def discard(self, staged: StagedBlob) -> None:
        """Remove the file of a staged body whose record was refused.

        After a commit that failed on the disk the file stays for the sweep: what that commit had written to the
        log may count after a crash, and would then refer to it.
        """
        if staged.id and not self.writer.has_doubtful_log:
            self.files.unlink(staged.id)

    # The log

    def _checkpoint(self, connection: apsw.Connection) -> None:
        try:
            while not self._is_closed:
                self._checkpoint_due.wait()
                self._checkpoint_due.clear()
                with contextlib.suppress(apsw.Error):  # the log only grows: the next batch asks again
                    connection.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_PASSIVE)
        finally:
            connection.close()


def check_format(marker: Path) -> None:
    """Refuse a lake whose layout this hosu does not know."""
    try:
        found = msgspec.json.decode(marker.read_bytes(), type=Format)
    except (msgspec.MsgspecError, OSError) as error:
        raise ConflictError(
            ErrorKind.NOT_A_LAKE, f"{marker} does not say which format the lake has: {error}"
        ) from error
    if found.format > FORMAT:
        raise UnsupportedError(
            ErrorKind.LAKE_NEWER,
            f"the lake has format {found.format}, this hosu reads up to {FORMAT}: install a newer hosu",
        )

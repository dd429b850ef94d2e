"""Opening a lake, and what concerns all of it: its buckets, its change feed, its upkeep."""

import os
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Self

from hosu.kernel.auth import IN_PROCESS
from hosu.kernel.clock import Clock
from hosu.kernel.errors import ConflictError, ErrorKind, UnavailableError
from hosu.kernel.lakekey import load_lake_key
from hosu.kernel.root import read_root
from hosu.kernel.settings import ENVIRONMENT, Settings, load_settings
from hosu.lake.bucket import Bucket
from hosu.objects.audit import IN_PROCESS_PREFIX, Origin
from hosu.objects.audit_files import AuditFiles, drain
from hosu.objects.blobs import disk_error
from hosu.objects.buckets import create_bucket, delete_bucket, list_buckets
from hosu.objects.feed import ACCESS_PREFIX, Event, read_events
from hosu.objects.fileio import ObjectFileIO
from hosu.objects.lock import LakeLock
from hosu.objects.store import FORMAT_NAME, ObjectStore
from hosu.objects.sweep import SweepReport, sweep
from hosu.rules.healing import install_healer

if TYPE_CHECKING:  # most who open a lake ask nothing of identity, whose libraries take long to load
    from hosu.lake.identity import Groups, Keys, Policies, Users
    from hosu.lake.rules import Rules
    from hosu.lake.tables import Tables
    from hosu.lake.templates import Outcome, Template
    from hosu.rules.backup.schedule import Schedule
    from hosu.rules.backup.taking import Report
    from hosu.tables.sql.session import Result
    from hosu.tables.table import Table

EVENTS_PER_READ = 1_000
LAKE_SETTINGS = frozenset(
    {
        "audit",
        "day_seconds",
        "default_encryption",
        "lake_key_command",
        "lake_key_file",
        "object_ownership",
        "space_reserve_bytes",
        "warehouse",
    }
)
"""The settings that concern a lake without a server; no other is taken from the environment."""

ROOT_VARIABLES = ("HOSU_ROOT_USER", "MINIO_ROOT_USER")
"""Variables that say who root is: a name that no user can have."""


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
    be written, ConflictError LAKE_KEY_MISSING or LAKE_KEY_WRONG where what is sealed in the lake could not be opened:
    the lake key comes from where the server's comes from. Close the lake, or use it in a `with`.
    """
    folder = Path(path)
    if not create and not (folder / FORMAT_NAME).is_file():
        raise ConflictError(ErrorKind.NOT_A_LAKE, f"{folder} is not a lake: check the path, or make one there first")
    try:
        settings = lake_settings(folder)
        store = ObjectStore(
            folder,
            clock=clock,
            space_reserve_bytes=settings.space_reserve_bytes,
            lake_key=load_lake_key(settings, os.environ, folder),
            default_encryption=settings.default_encryption == "on",
            is_audited=settings.audit,
        )
    except OSError as error:
        raise disk_error(error) from error
    install_healer(store)
    return Lake(store, actor=actor)


def lake_settings(folder: Path) -> Settings:
    """Return the settings that a lake without a server goes by: those of its file, and a few of the environment."""
    environment = {name: value for name, value in os.environ.items() if ENVIRONMENT.get(name) in LAKE_SETTINGS}
    return load_settings(folder, environment, {})


class Lake:
    """An open lake."""

    def __init__(self, store: ObjectStore, *, actor: str = IN_PROCESS.name) -> None:
        self.actor = actor
        self._engine = store
        self._is_closed = False
        self._tables: Tables | None = None

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
            if self._tables is not None:
                self._tables.close()
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

    # Tables

    @property
    def tables(self) -> "Tables":
        """The databases and tables of the lake's warehouse."""
        if self._tables is None:
            from hosu.lake.tables import Tables  # noqa: PLC0415 - Arrow takes long to load

            self._tables = Tables(self)
        return self._tables

    def table(self, name: str, *, branch: str = "main", options: Mapping[str, str] | None = None) -> "Table":
        """Open the table DATABASE.NAME; options count over those it was made with, for this opening.

        Raises NotFoundError TABLE_NOT_FOUND, UnsupportedError for a table that hosu cannot serve, by what it names.
        """
        return self.tables.open(name, branch=branch, options=options)

    def sql(self, query: str, parameters: Sequence[object] | Mapping[str, object] | None = None) -> "Result":
        """Run SQL over the tables of the lake: a SELECT, or one statement that changes tables, as one commit."""
        return self.tables.sql(query, parameters)

    # Identity

    @property
    def users(self) -> "Users":
        """The users of the lake."""
        from hosu.lake.identity import Users  # noqa: PLC0415 - loaded when used

        return Users(self)

    @property
    def groups(self) -> "Groups":
        """The groups of users."""
        from hosu.lake.identity import Groups  # noqa: PLC0415 - loaded when used

        return Groups(self)

    @property
    def policies(self) -> "Policies":
        """The policies, whom they are attached to, and what they decide."""
        from hosu.lake.identity import Policies  # noqa: PLC0415 - loaded when used

        return Policies(self)

    @property
    def keys(self) -> "Keys":
        """The access keys of service accounts."""
        from hosu.lake.identity import Keys  # noqa: PLC0415 - loaded when used

        return Keys(self)

    @property
    def rules(self) -> "Rules":
        """The rules that keep the lake healthy: lifecycle, capacity, merit, protection."""
        from hosu.lake.rules import Rules  # noqa: PLC0415 - loaded when used

        return Rules(self)

    def apply_template(self, template: "Template | str", *, backup: str = "") -> "Outcome":
        """Make the buckets, policies, users and rules of a template where they are missing, all at once.

        `backup` is where second copies of what it protects are kept: a folder or an S3 URL outside of the lake.

        `template` is one of hosu's (`smart-door`, `medallion`, `streaming`) or the path of a folder. Returns every step
        and, this once, the secrets of the users made. Raises NotFoundError for no template, and what the verbs raise.
        """
        from hosu.identity.vault import Vault  # noqa: PLC0415 - loaded when used
        from hosu.lake.templates import apply_template, load_template  # noqa: PLC0415 - loaded when used

        found = load_template(template) if isinstance(template, str) else template
        if backup:
            from hosu.rules.locations import check_location  # noqa: PLC0415 - loaded when used

            check_location(backup, self.path)
        vault = Vault(self.store, self.root_name())
        origin = Origin("", f"{IN_PROCESS_PREFIX}ApplyTemplate", self.actor, key=found.name)
        verb = partial(apply_template, vault=vault, template=found, backup=backup, actor=self.actor)
        return self.store.commit(verb, origin)

    def root_name(self) -> str:
        """Return root's access key as the settings or the lake itself know it; empty where neither does."""
        given = next((os.environ[name] for name in ROOT_VARIABLES if os.environ.get(name)), "")
        name = given or load_settings(self.path, {}, {}).root_user
        stored = None if name else read_root(self.path)
        return name if stored is None else stored.access_key

    # Backups

    def backup(
        self, location: str | os.PathLike[str], *, exclude_keys: bool = False, is_full: bool = False
    ) -> "Report":
        """Back the whole lake up to a folder or `s3://bucket/prefix?endpoint=…`; write what has changed since.

        With exclude_keys neither root's credentials nor the lake's own key are in it; with is_full all records are
        written again. Raises InvalidInputError LOCATION_INVALID for a place within the lake, ConflictError NOT_A_BACKUP
        for one with other files, BACKUP_BUSY while another process writes to it.
        """
        from hosu.rules.backup.taking import take_backup  # noqa: PLC0415 - loaded when used

        return take_backup(self.store, os.fspath(location), exclude_keys=exclude_keys, is_full=is_full)

    def schedule_backups(self, schedule: "Schedule | None") -> None:
        """Have the lake's server take backups by itself, or with None no longer. Writes to the place to try it.

        Raises InvalidInputError INVALID_ARGUMENT or LOCATION_INVALID, and what the place answers.
        """
        from hosu.rules.backup.schedule import check_schedule, set_schedule  # noqa: PLC0415 - loaded when used

        if schedule is not None:
            check_schedule(schedule, self.store)
        origin = Origin("", f"{IN_PROCESS_PREFIX}ScheduleBackups", self.actor)
        self.store.commit(partial(set_schedule, schedule=schedule, actor=self.actor), origin)

    def backup_times(self) -> dict[str, int]:
        """Return what the lake knows of its backups: `backup_due_ms`, `backup_success_ms` and so on, where known."""
        from hosu.rules.backup.schedule import counters  # noqa: PLC0415 - loaded when used

        return dict(counters(self.store.view()))

    # The lake as a whole

    def changes(self, after_seq: int = 0) -> Iterator[Event]:
        """Yield every mutation after a sequence number, oldest first, up to the latest; remember the last one's `seq`.

        Reads, which are in the feed where a notification rule asks for them, are left out.

        The sweep keeps about the newest 100,000 events and may remove older ones.
        """
        while True:
            events = read_events(self.store.view(), after_seq=after_seq, limit=EVENTS_PER_READ)
            yield from (event for event in events if not event.kind.startswith(ACCESS_PREFIX))
            if len(events) < EVENTS_PER_READ:
                return
            after_seq = events[-1].seq

    def sweep(self) -> SweepReport:
        """Give back the space of what was deleted or replaced at least a quarter of an hour ago; return what went.

        What the audit log has in the database goes to its files.

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
        files = AuditFiles(store)
        try:
            report = sweep(store)
            drain(store, files)
            return report
        finally:
            files.close()
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

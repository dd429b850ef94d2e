"""Backups by themselves: when, to where, and which stay. A run that was missed is made up for once."""

import threading
from collections.abc import Mapping
from datetime import datetime
from functools import partial
from typing import Final
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import msgspec
from cronsim import CronSim, CronSimError

from hosu.kernel.errors import ConflictError, ErrorKind, HosuError, InvalidInputError
from hosu.kernel.log import get_logger
from hosu.objects.alerts import Severity, raise_alert, resolve_alert
from hosu.objects.lake_documents import get_lake_document, set_lake_document
from hosu.objects.store import ObjectStore
from hosu.objects.transaction import Tx
from hosu.objects.views import View
from hosu.rules.backup.pruning import Retention, prune
from hosu.rules.backup.repository import Repository
from hosu.rules.backup.taking import Report, make_repository, take_backup
from hosu.rules.keeping import Keep
from hosu.rules.locations import open_location
from hosu.rules.wanted import BACKUP_DUE, BACKUP_NOTED, is_backup_due

KIND: Final = "backup"
ALERT: Final = "backup-failed"
PRUNED: Final = "backup_pruned_ms"
RETRY_MS: Final = 15 * 60 * 1000
"""After a run that failed, unless the next one is due sooner."""

BUSY_RETRY_MS: Final = 5 * 60 * 1000
COLLECT_MS: Final = 7 * 24 * 60 * 60 * 1000
"""How often files that no snapshot needs are looked for: it reads all records of the backup."""

IDLE_S: Final = 60.0
DAMAGED_NAMED_MAX: Final = 5

_LOG = get_logger("backup")


class Schedule(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """When a lake is backed up and to where. `cron` has five fields, in the time of `timezone`."""

    location: str
    cron: str
    timezone: str = "UTC"
    keep: Retention = Retention()
    exclude_keys: bool = False

    def next_ms(self, after_ms: int) -> int:
        """Return when the first run after a moment is due, in milliseconds since 1970."""
        after = datetime.fromtimestamp(after_ms / 1000, ZoneInfo(self.timezone))
        try:
            return round(next(CronSim(self.cron, after)).timestamp() * 1000)
        except StopIteration:
            raise InvalidInputError(
                ErrorKind.INVALID_ARGUMENT, f"cron {self.cron!r} names a day that never comes", cron=self.cron
            ) from None


def check_schedule(schedule: Schedule, store: ObjectStore) -> None:
    """Refuse a schedule that could not be kept; writes to the place and removes what it wrote. Blocks on the network.

    Raises InvalidInputError INVALID_ARGUMENT or LOCATION_INVALID, ConflictError NOT_A_BACKUP for a place with other
    files, and what the place answers.
    """
    try:
        ZoneInfo(schedule.timezone)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise InvalidInputError(
            ErrorKind.INVALID_ARGUMENT, f"timezone {schedule.timezone!r} is not known: write UTC or Asia/Seoul"
        ) from error
    try:
        CronSim(schedule.cron, datetime.fromtimestamp(0, ZoneInfo("UTC")))
    except CronSimError as error:
        raise InvalidInputError(
            ErrorKind.INVALID_ARGUMENT, f"cron {schedule.cron!r} is not valid ({error}): write '0 2 * * *' for 2:00"
        ) from error
    schedule.next_ms(store.clock.now_ms())
    make_repository(store, schedule.location)


def get_schedule(view: View) -> Schedule | None:
    """Return the lake's schedule, None where it has none."""
    body = get_lake_document(view, KIND)
    if body is None:
        return None
    try:
        return msgspec.json.decode(body, type=Schedule)
    except msgspec.MsgspecError as error:
        raise ConflictError(
            ErrorKind.CORRUPT_LAKE, f"the lake's schedule of backups cannot be read: {error}; set it again"
        ) from error


def set_schedule(tx: Tx, schedule: Schedule | None, *, actor: str = "") -> None:
    """Set the lake's schedule, which `check_schedule` has let pass, or with None end it."""
    body = None if schedule is None else msgspec.json.encode(schedule).decode()
    set_lake_document(tx, KIND, body, actor=actor)
    tx.run("DELETE FROM counter WHERE name = ?", (BACKUP_DUE,))
    if schedule is not None:
        note_due(tx, due_ms=schedule.next_ms(tx.now_ms))


def note_due(tx: Tx, *, due_ms: int) -> None:
    """Say when the next run is due."""
    for name, value in ((BACKUP_DUE, due_ms), (BACKUP_NOTED, tx.now_ms)):
        tx.run("INSERT OR REPLACE INTO counter VALUES (?, ?)", (name, value))


def counters(view: View) -> Mapping[str, int]:
    """Return what the lake knows of its backups: when the next is due, when one ended well last, and so on."""
    rows = view.rows("SELECT name, value FROM counter WHERE substr(name, 1, ?) = ?", (len(KIND), KIND))
    return {str(name): int(value) for name, value in rows}


class BackupJob:
    """Takes the backups of a lake's schedule."""

    name = "backup"

    def __init__(self, keep: Keep) -> None:
        self._store = keep.store
        self._settings = keep.settings
        self._count = keep.count

    def run(self, stop: threading.Event) -> float:
        """Take a backup if one is due; return the seconds until the next may be."""
        store = self._store
        schedule = get_schedule(store.view())
        due_ms: int | None = store.view().value("SELECT value FROM counter WHERE name = ?", (BACKUP_DUE,))
        if schedule is None or due_ms is None:
            return IDLE_S
        now_ms = store.clock.now_ms()
        if not is_backup_due(store.view(), self._settings):
            return min(IDLE_S, max(due_ms - now_ms, 0) / 1000)
        try:
            report = take_backup(store, schedule.location, exclude_keys=schedule.exclude_keys, stop=stop)
        except HosuError as error:
            if error.kind is ErrorKind.SHUTTING_DOWN:
                return IDLE_S
            self._note_failure(schedule, error)
            return 0.0
        complaint = ""
        try:
            self._prune(schedule)
        except HosuError as error:  # the backup is there all the same: pruning waits for the next one
            _LOG.warning("old backups could not be removed", kind=str(error.kind), message=error.message)
            if error.kind is not ErrorKind.BACKUP_BUSY:
                complaint = f"the backup was taken, but old ones could not be removed: {error.message}"
        self._note_success(schedule, report, complaint)
        return 0.0

    def _prune(self, schedule: Schedule) -> None:
        if schedule.keep == Retention():
            return
        store = self._store
        now_ms = store.clock.now_ms()
        files = open_location(schedule.location, store_path=store.path, clock=store.clock)
        collects = now_ms - counters(store.view()).get(PRUNED, 0) >= COLLECT_MS
        pruned = prune(Repository.open(files, store.clock), schedule.keep, collects=collects)
        if collects:
            store.commit(partial(_note_pruned, now_ms=now_ms))
        self._count("backup_pruned/snapshots", len(pruned.snapshots))

    def _note_success(self, schedule: Schedule, report: Report, complaint: str) -> None:
        written = report.snapshot.written_bytes
        self._count("backup_runs/succeeded", 1)
        self._count("backup_bytes/written", written)
        _LOG.info("backup taken", snapshot=report.snapshot.id, keys=report.changed_keys, bytes=written)
        message = complaint
        if report.damaged:
            named = ", ".join(report.damaged[:DAMAGED_NAMED_MAX])
            message = f"the backup lacks bytes that the lake has lost, of {len(report.damaged)} objects: {named}"
        self._store.commit(partial(_note_success, schedule=schedule, message=message))

    def _note_failure(self, schedule: Schedule, error: HosuError) -> None:
        is_busy = error.kind is ErrorKind.BACKUP_BUSY
        _LOG.warning("backup failed", kind=str(error.kind), message=error.message)
        if not is_busy:
            self._count("backup_runs/failed", 1)
        message = "" if is_busy else f"the backup to {schedule.location} failed: {error.message}"
        self._store.commit(partial(_note_failure, schedule=schedule, message=message))


def _note_pruned(tx: Tx, *, now_ms: int) -> None:
    tx.run("INSERT OR REPLACE INTO counter VALUES (?, ?)", (PRUNED, now_ms))


def _note_success(tx: Tx, *, schedule: Schedule, message: str) -> None:
    note_due(tx, due_ms=schedule.next_ms(tx.now_ms))
    if message:
        raise_alert(tx, ALERT, schedule.location, Severity.WARNING, message)
    else:
        resolve_alert(tx, ALERT, schedule.location)


def _note_failure(tx: Tx, *, schedule: Schedule, message: str) -> None:
    retry_ms = tx.now_ms + (RETRY_MS if message else BUSY_RETRY_MS)
    note_due(tx, due_ms=min(retry_ms, schedule.next_ms(tx.now_ms)))
    if message:
        raise_alert(tx, ALERT, schedule.location, Severity.CRITICAL, message)

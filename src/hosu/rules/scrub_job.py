"""The keeper's job that scrubs in the background: everything, what is protected more often, and second copies."""

import contextlib
import os
import threading
from functools import partial
from typing import Final

from hosu.kernel.errors import HosuError
from hosu.kernel.log import get_logger
from hosu.objects.alerts import Severity, list_alerts, raise_alert, resolve_alert
from hosu.objects.store import ObjectStore
from hosu.objects.transaction import Tx
from hosu.rules.days import days_ms
from hosu.rules.healing import install_healer
from hosu.rules.keeping import Keep
from hosu.rules.scrub import Finding, Pace, Report, Scrubber, all_blobs, protected_blobs
from hosu.rules.scrub_times import Due, Number, read_numbers, set_number

NICENESS: Final = 10
"""Of the thread that reads: its disk accesses come after others' too, as the system ranks them by the same number."""

IDLE_S_MAX: Final = 3600.0
DATABASE: Final = "meta/lake.db"

_LOG = get_logger("scrub")


class ScrubJob:
    """Scrubs what is due."""

    name = "scrub"

    def __init__(self, keep: Keep) -> None:
        self._keep = keep
        self._store = keep.store
        install_healer(keep.store, keep.count, is_server=True)

    def run(self, stop: threading.Event) -> float:
        """Do what is due, and return how long nothing will be."""
        _be_nice()
        store, settings = self._store, self._keep.settings
        now_ms, due = store.clock.now_ms(), Due(store.view(), settings)
        if due.protected is not None and due.protected <= now_ms and not stop.is_set():
            self._scrub_protected(stop)
        if due.copies is not None and due.copies <= now_ms and not stop.is_set():
            self._scrub_copies(stop)
        if due.everything is not None and due.everything <= now_ms and not stop.is_set():
            self._scrub_everything(stop)
        next_ms = Due(store.view(), settings).next_ms
        if next_ms is None:
            return IDLE_S_MAX
        return min(max((next_ms - store.clock.now_ms()) / 1000, 0.0), IDLE_S_MAX)

    def _scrubber(self, stop: threading.Event) -> Scrubber:
        pace = Pace(self._store.clock, self._keep.settings.scrub_bytes_per_s, stop.wait)
        return Scrubber(self._store, pace, is_stopping=stop.is_set, on_finding=self._say)

    def _say(self, finding: Finding) -> None:
        _LOG.warning(
            "scrub found a corrupt blob", blob=finding.blob_id, problem=finding.problem, outcome=finding.outcome
        )  # fmt: skip

    def _count(self, report: Report) -> None:
        self._keep.count("rule_actions/scrub/Read", report.blobs + report.copies)
        self._keep.count("rule_bytes/scrub/Read", report.bytes + report.copy_bytes)
        for action, number in (
            ("Restored", report.restored), ("Lost", report.lost), ("CopyLost", report.copies_lost),
        ):  # fmt: skip
            if number:
                self._keep.count(f"rule_actions/scrub/{action}", number)

    def _scrub_protected(self, stop: threading.Event) -> None:
        begun_ms, scrubber = self._store.clock.now_ms(), self._scrubber(stop)
        is_whole = scrubber.scrub(protected_blobs(self._store.view()))
        self._count(scrubber.report)
        if is_whole:
            self._store.commit(partial(set_number, name=Number.PROTECTED, value=begun_ms))

    def _scrub_copies(self, stop: threading.Event) -> None:
        begun_ms, scrubber = self._store.clock.now_ms(), self._scrubber(stop)
        try:
            # Those that were read before a restart, within a day, are passed over.
            is_whole = scrubber.scrub_copies(begun_ms - days_ms(self._keep.settings, 1))
        except (HosuError, OSError) as error:
            # The job that keeps copies says so; these are read when they are due the next time.
            _LOG.error("second copies cannot be read", error=str(error))
            is_whole = True
        self._count(scrubber.report)
        if is_whole:
            self._store.commit(partial(set_number, name=Number.COPIES, value=begun_ms))

    def _scrub_everything(self, stop: threading.Event) -> None:
        """Go on with the walk over everything where the last process left it, or begin one."""
        numbers = read_numbers(self._store.view())
        if not numbers[Number.CURSOR]:
            self._store.commit(_begin)
            numbers = read_numbers(self._store.view())
        scrubber = self._scrubber(stop)
        rows = all_blobs(self._store.view(), after=numbers[Number.CURSOR])
        is_whole = scrubber.scrub(rows, cursor=True, since_ms=numbers[Number.BEGUN])
        self._count(scrubber.report)
        if is_whole:
            check_database(self._store)
            self._store.commit(partial(_end, begun_ms=numbers[Number.BEGUN]))
            _LOG.info("scrubbed everything", blobs=scrubber.report.blobs, bytes=scrubber.report.bytes)


def _begin(tx: Tx) -> None:
    set_number(tx, Number.BEGUN, tx.now_ms)
    set_number(tx, Number.CURSOR, 1)  # below the first id: a walk is under way
    set_number(tx, Number.CHECKED, 0)
    set_number(tx, Number.CHECKED_BYTES, 0)


def _end(tx: Tx, *, begun_ms: int) -> None:
    set_number(tx, Number.ENDED, tx.now_ms)
    set_number(tx, Number.CURSOR, 0)
    settle_alerts(tx, before_ms=begun_ms)


def settle_alerts(tx: Tx, *, before_ms: int) -> None:
    """Resolve alerts about blobs that are gone or sound, and of those restored before a walk that found them sound."""
    for alert in list_alerts(tx):
        kind, _, number = alert.subject.partition("/")
        if kind != "blob" or not number.isdigit():
            continue
        is_corrupt = tx.value("SELECT is_corrupt FROM blob WHERE id = ? AND refs > 0", (int(number),))
        is_over = alert.kind == "corrupt-object" or (alert.kind == "restored-object" and alert.last_ms < before_ms)
        if not is_corrupt and is_over:
            resolve_alert(tx, alert.kind, alert.subject)


def check_database(store: ObjectStore) -> list[str]:
    """Have SQLite look at every page of the records; what is wrong is alerted and returned."""
    try:
        found = [str(row[0]) for row in store.view().rows("PRAGMA quick_check(10)") if row[0] != "ok"]
    except HosuError as error:
        found = [error.message]
    if found:
        message = f"the records of the lake are damaged ({found[0]}): stop the server and run `hosu doctor`"
        _LOG.error("the records are damaged", findings=found)
        with contextlib.suppress(HosuError):
            store.commit(partial(_alert, message=message))
    elif any(alert.subject == DATABASE for alert in list_alerts(store.view())):
        store.commit(partial(resolve_alert, kind="corrupt-object", subject=DATABASE))
    return found


def _alert(tx: Tx, *, message: str) -> None:
    raise_alert(tx, "corrupt-object", DATABASE, Severity.CRITICAL, message)


def _be_nice() -> None:
    with contextlib.suppress(OSError, AttributeError):
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), NICENESS)

"""Notices what only the server sees: processes that die, a disk that takes no writes, a lake that is nearly full.

Looked at by the process that does the lake's upkeep. An alert that cannot be kept, since the disk takes no writes, is
sent from here.
"""

import os
import threading
from collections.abc import Callable
from functools import partial
from pathlib import Path

import msgspec

from hosu.kernel.errors import HosuError, UnavailableError
from hosu.kernel.log import get_logger
from hosu.kernel.settings import Settings
from hosu.objects.alerts import Alert, Severity, raise_alert, resolve_alert
from hosu.objects.store import ObjectStore
from hosu.rules.alerting import HOUR_MS, REMEMBERED_MS, Event, Notice, forget_old, is_any_due, resolve_quiet
from hosu.rules.capacity import get_capacity
from hosu.server.alerts import denials
from hosu.server.alerts.wording import Batch, iso, lake_name
from hosu.server.bell import ring
from hosu.server.metrics.meter import FOLDER, Snapshot

PERIOD_S = 5.0
FULL_PERIOD_S = 60.0
"""How often the disk is tried while it takes writes, and space is measured."""

CRASH, UNWRITABLE, CAPACITY, DISK, QUOTA = "process-crash", "disk-unwritable", "capacity", "disk", "quota"
FULL_SHARE, EMPTY_SHARE = 0.9, 0.88
"""From the first on a disk or a quota is nearly full, below the second no longer."""

QUIET_MS = {denials.KIND: HOUR_MS // 4, CRASH: HOUR_MS, "restored-object": 24 * HOUR_MS}
"""What is not noticed any more for so long is over."""

RESTARTS_PREFIX = "restarts:"
_LOG = get_logger("alerts")


class Watch:
    """Looks every few seconds. `is_writable` tries to write."""

    def __init__(self, store: ObjectStore, settings: Settings, *, is_writable: Callable[[], bool]) -> None:
        self._store = store
        self._settings = settings
        self._is_writable = is_writable
        self._looked_s = self._measured_s = self._tried_s = -FULL_PERIOD_S
        self._was_writable = True
        self._told_directly_ms = 0
        self._restarts: dict[str, int] = {}
        self._sender: threading.Thread | None = None

    def look(self) -> None:
        """Notice what there is to notice, when it is time to."""
        now_s = self._store.clock.monotonic()
        if now_s - self._looked_s < PERIOD_S:
            return
        self._looked_s = now_s
        if not self._was_writable or now_s - self._tried_s >= FULL_PERIOD_S:
            self._tried_s = now_s
            self._look_at_disk()
        if not self._was_writable:
            return
        self._look_at_processes()
        if now_s - self._measured_s >= FULL_PERIOD_S:
            self._measured_s = now_s
            self._look_at_space()
            self._end_what_is_quiet()
        if is_any_due(self._store.view(), self._settings):
            ring(self._store.path)

    # The disk

    def _look_at_disk(self) -> None:
        path = self._store.path
        if self._is_writable():
            if not self._was_writable or self._stands(UNWRITABLE, str(path)):
                self._store.commit(partial(resolve_alert, kind=UNWRITABLE, subject=str(path)))
            self._was_writable = True
            return
        self._was_writable = False
        message = f"the lake in {path} cannot be written to: {self._why()}"
        try:
            self._store.commit(
                partial(raise_alert, kind=UNWRITABLE, subject=str(path), severity=Severity.CRITICAL, message=message)
            )
            if is_any_due(self._store.view(), self._settings):
                ring(path)
        except UnavailableError:
            self._tell_directly(message)

    def _why(self) -> str:
        try:
            self._store.check_space()
            probe = self._store.path / "tmp" / f".alert.{os.getpid()}"
            probe.write_bytes(b"")
            probe.unlink(missing_ok=True)
        except HosuError as error:
            return error.message
        except OSError as error:
            return error.strerror or type(error).__name__
        return "it could not a moment ago"

    def _tell_directly(self, message: str) -> None:
        """Send without the lake, once in as long as alerts are repeated; in a thread, since it may take a while."""
        now_ms = self._store.clock.now_ms()
        repeat_ms = self._settings.alert_repeat_hours * HOUR_MS
        is_sending = self._sender is not None and self._sender.is_alive()
        if is_sending or (self._told_directly_ms and now_ms - self._told_directly_ms < repeat_ms):
            return
        subject = str(self._store.path)
        alert = Alert(UNWRITABLE, subject, Severity.CRITICAL, message, 1, now_ms, now_ms, 0, 0)
        batch = Batch(lake_name(self._store.path), (Notice(Event.RAISED, alert),), 0, now_ms)
        self._sender = threading.Thread(target=self._send, args=(batch, now_ms), name="hosu-alert", daemon=True)
        self._sender.start()

    def _send(self, batch: Batch, now_ms: int) -> None:
        from hosu.server.alerts.sending import SendError, make_targets, send_with_retries  # noqa: PLC0415 - seldom

        for target in make_targets(self._settings):
            try:
                send_with_retries(target, batch, threading.Event().wait)
            except SendError as error:
                _LOG.error("an alert could not be sent", target=target.name, alerts=1, error=str(error))
            else:
                self._told_directly_ms = now_ms

    # Processes

    def _look_at_processes(self) -> None:
        """Raise an alert for each process that died since the last look, of this or of the process before this one."""
        published = _read_restarts(self._store.path)
        if published is None:
            return
        for name, number in published.totals.items():
            if not name.startswith(RESTARTS_PREFIX) or number <= self._restarts.get(name, 0):
                continue
            process = name.removeprefix(RESTARTS_PREFIX)
            times = "once" if number == 1 else f"{number} times"
            message = (
                f"the process {process} died and was started again, {times} since the server started at "
                f"{iso(published.run)}; its log says why"
            )
            if self._message_of(CRASH, process) != message:
                self._store.commit(
                    partial(raise_alert, kind=CRASH, subject=process, severity=Severity.WARNING, message=message)
                )
            self._restarts[name] = number

    # Space

    def _look_at_space(self) -> None:
        facts = os.statvfs(self._store.files.root)
        used = (facts.f_blocks - facts.f_bfree) * facts.f_frsize
        size = used + facts.f_bavail * facts.f_frsize
        self._look_at_share(DISK, "the lake's disk", used, size)
        rule = get_capacity(self._store.view())
        quota_bytes = 0 if rule is None or rule.high_water else rule.quota_bytes
        self._look_at_share(QUOTA, "the lake's quota", self._store.view().lake_held_bytes(), quota_bytes)

    def _look_at_share(self, subject: str, what: str, used: int, size: int) -> None:
        share = used / size if size else 0.0
        stands = self._stands(CAPACITY, subject)
        if share >= FULL_SHARE and not stands:
            message = f"{share:.0%} of {what} are in use: {used:,} of {size:,} bytes"
            self._store.commit(
                partial(raise_alert, kind=CAPACITY, subject=subject, severity=Severity.WARNING, message=message)
            )
        elif share < EMPTY_SHARE and stands:
            self._store.commit(partial(resolve_alert, kind=CAPACITY, subject=subject))

    def _end_what_is_quiet(self) -> None:
        now_ms = self._store.clock.now_ms()
        for kind, quiet_ms in QUIET_MS.items():
            found = self._store.view().value(
                "SELECT EXISTS (SELECT 1 FROM alert WHERE kind = ? AND resolved_ms = 0 AND last_ms < ?)",
                (kind, now_ms - quiet_ms),
            )
            if found:
                self._store.commit(partial(resolve_quiet, kind=kind, quiet_ms=quiet_ms))

        old = "SELECT EXISTS (SELECT 1 FROM alert WHERE resolved_ms > 0 AND resolved_ms < ?)"
        if self._store.view().value(old, (now_ms - REMEMBERED_MS,)):
            self._store.commit(forget_old)

    # What is known already

    def _stands(self, kind: str, subject: str) -> bool:
        return bool(
            self._store.view().value(
                "SELECT 1 FROM alert WHERE kind = ? AND subject = ? AND resolved_ms = 0", (kind, subject)
            )
        )

    def _message_of(self, kind: str, subject: str) -> str | None:
        message: str | None = self._store.view().value(
            "SELECT message FROM alert WHERE kind = ? AND subject = ?", (kind, subject)
        )
        return message


def _read_restarts(lake: Path) -> Snapshot | None:
    try:
        return msgspec.json.decode((lake / FOLDER / "supervisor.json").read_bytes(), type=Snapshot)
    except (OSError, msgspec.MsgspecError):
        return None

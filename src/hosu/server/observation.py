"""Puts together what a process that serves S3 tells of itself: telemetry, metrics, and the carrying of audit rows."""

import threading
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from hosu.kernel.log import get_logger
from hosu.objects.audit_files import AuditFiles, drain
from hosu.objects.store import ObjectStore
from hosu.server.audit.log import AuditLog
from hosu.server.extensions import ExtensionMaker, Port
from hosu.server.metrics.extension import MetricsExtension
from hosu.server.metrics.meter import Meter
from hosu.server.plan import Plan
from hosu.server.telemetry import Telemetry

if TYPE_CHECKING:
    from hosu.server.metrics.state import Sources

CARRY_PERIOD_S = 1.0
"""How long a change waits for its line in the files of the audit log; its row is safe all the while."""

EXPIRY_PERIOD_S = 3600.0
CARRY_STOP_S = 30.0

_LOG = get_logger("audit")


class Observation:
    """What `serve_s3` is handed, and what to close behind it."""

    def __init__(
        self, store: ObjectStore, plan: Plan, process: str, *, is_ready: Callable[[], bool], carries_audit: bool
    ) -> None:
        settings = plan.settings
        self._store = store
        self._keep_days = settings.audit_keep_days
        self._meter = Meter(Path(plan.lake), run=plan.started_ms, process=process)
        self._files = AuditFiles(store, file_bytes_max=settings.audit_file_bytes)
        self._log = AuditLog(store, self._files) if settings.audit else None
        self.observer = Telemetry(
            store,
            self._meter,
            self._log,
            all_reads=settings.audit_reads,
            denied_requests=settings.alert_denied_requests,
        )
        self._is_ready = is_ready
        self._server_name = f"{plan.s3_host}:{plan.s3_port}"
        self._is_public = settings.metrics_auth == "public"
        self._ending = threading.Event()
        self._carrier: threading.Thread | None = None
        if carries_audit:
            self._carrier = threading.Thread(target=self._carry, name="hosu-audit", daemon=True)
            self._carrier.start()

    @property
    def extension(self) -> ExtensionMaker:
        """Makes what answers scrapers."""

        def make(port: Port) -> MetricsExtension:
            return MetricsExtension(
                port, server=self._server_name, is_public=self._is_public, open_sources=self._open_sources
            )

        return make

    def close(self) -> None:
        """Write what is left, and end the threads."""
        self.observer.close()
        self._ending.set()
        if self._carrier is not None:
            self._carrier.join(CARRY_STOP_S)
        self._files.close()

    def _open_sources(self) -> "Sources":
        from hosu.server.metrics.state import Sources  # noqa: PLC0415 - only those who are scraped need it

        log = self._log
        return Sources(
            self._store,
            self._meter,
            is_ready=self._is_ready,
            in_flight=self.observer.in_flight,
            lines_waiting=lambda: 0 if log is None else log.waiting,
        )

    def _carry(self) -> None:
        expired_s = self._store.clock.monotonic() - EXPIRY_PERIOD_S
        is_last = False
        while not is_last:
            is_last = self._ending.wait(CARRY_PERIOD_S)
            now_s = self._store.clock.monotonic()
            try:
                self._count("audit_changes", drain(self._store, self._files))
                if now_s - expired_s >= EXPIRY_PERIOD_S:
                    expired_s = now_s
                    for name in self._files.expire(self._keep_days):
                        _LOG.info("a file of the audit log has expired", file=name)
            except Exception as error:  # noqa: BLE001 - whatever it was, the next time tries again
                self._count("audit_failures", 1)
                _LOG.error("the audit log cannot be written; changes wait", error=f"{type(error).__name__}: {error}")

    def _count(self, name: str, number: int) -> None:
        if number:
            self._meter.totals[name] = self._meter.totals.get(name, 0) + number
            self.observer.publish_soon()

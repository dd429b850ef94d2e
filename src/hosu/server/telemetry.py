"""What a process that serves S3 tells of itself: its metrics, and its part of the audit log.

Told of each request on the event loop, it counts and queues; a thread of its own publishes and writes.
"""

import threading
from collections.abc import Callable

import msgspec

from hosu.kernel.errors import ErrorKind, HosuError
from hosu.kernel.limits import KEY_BYTES_MAX
from hosu.kernel.log import get_logger
from hosu.objects.audit import DENIED, AuditLine, format_time
from hosu.objects.store import ObjectStore
from hosu.server.alerts.denials import Denials
from hosu.server.audit.log import AuditLog
from hosu.server.audit.reads import ReadSwitches
from hosu.server.http import HttpServer, Request
from hosu.server.metrics.meter import CLIENT_ERROR, Counts, Meter
from hosu.server.s3.call import Call, user_agent

PUBLISH_PERIOD_S = 0.5
"""How old the numbers of another process may be, and how long a line of the audit log waits for others."""

NO_OPERATION = "Unknown"
"""Stands for the operation of requests that are none."""

PATH_BYTES_MAX = 256
NAME_CHARACTERS_MAX = 128
"""What is refused may have names of any length; its line has not."""

FORBIDDEN = 403
DENIED_CODES = frozenset({"ExpiredToken", "InvalidToken", "AuthorizationHeaderMalformed"})
"""Codes beside 403 of requests whose sender could not say, by a signature, who it is."""

UNKNOWN_KEY, UNKNOWN_KEYS = "InvalidAccessKeyId", "unknown keys"

_REJECTIONS = {
    "AccessDenied": "auth",
    "AuthorizationHeaderMalformed": "header",
    "AuthorizationQueryParametersError": "header",
    "ExpiredToken": "auth",
    "InvalidAccessKeyId": "auth",
    "InvalidToken": "auth",
    "InvalidURI": "invalid",
    "MethodNotAllowed": "invalid",
    "RequestTimeTooSkewed": "timestamp",
    "SignatureDoesNotMatch": "auth",
}
_DISK_KINDS = frozenset({ErrorKind.CORRUPT_BLOB, ErrorKind.DISK_FAULT, ErrorKind.DISK_FULL})
_READ_METHODS = frozenset({"GET", "HEAD"})
_MALFORMED = frozenset({400, FORBIDDEN})

_LOG = get_logger("telemetry")


class Telemetry:
    """Implements `hosu.server.s3.observer.Observer`. Without an audit log, nothing is written down."""

    def __init__(
        self,
        store: ObjectStore,
        meter: Meter,
        audit: AuditLog | None,
        *,
        all_reads: bool = False,
        denied_requests: int = 0,
    ) -> None:
        self._store = store
        self._meter = meter
        self._audit = audit
        self._is_audited = audit is not None
        self._wants_reads = ReadSwitches(store, all_reads=all_reads).are_on
        self._server: HttpServer | None = None
        self._source_ip: Callable[[Request], str] = _peer
        self._told = 0, 0
        self._denials = Denials(denied_requests)
        self._is_due = False
        self._wake = threading.Event()
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._work, name="hosu-telemetry", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Publish and write what is left, and end the thread."""
        self._ending.set()
        self._wake.set()
        self._thread.join()

    # What S3 tells

    def watch(self, server: HttpServer, source_ip: Callable[[Request], str]) -> None:
        """Learn which server's requests these are, and how to tell where one comes from."""
        self._server, self._source_ip = server, source_ip

    def answered(self, request: Request, status: int, body_bytes: int, duration_s: float) -> None:
        """Count a request, and write a read down where its bucket wants it."""
        call = request.note
        if not isinstance(call, Call):
            return
        counts = self._meter.counts.get((call.operation, call.bucket))
        if counts is None:
            counts = self._counts_of(call, status)
        if request.first_byte_s:
            duration_s = request.first_byte_s - request.started_s
        is_read = request.method in _READ_METHODS
        counts.count(status, 0 if is_read else request.body.received_bytes, body_bytes, duration_s)
        if is_read and self._is_audited and self._wants_reads(call.bucket):
            self._write_read(call, status, body_bytes)
        if not self._is_due:
            self.publish_soon()

    def refused(self, request: Request, code: str, status: int, error: HosuError, key: str | None = None) -> None:
        """Count a refusal, and write it down where somebody asked for what is not his to have."""
        meter = self._meter
        meter.codes[code] = meter.codes.get(code, 0) + 1
        rejection = _REJECTIONS.get(code)
        if rejection is not None and key is None:
            meter.rejected[rejection] += 1
        if error.kind in _DISK_KINDS:
            self._add("disk_errors")
        is_denied = status == FORBIDDEN or code in DENIED_CODES
        if is_denied and request.method != "OPTIONS":
            self._denied(request, code, status, error, key)
        self.publish_soon()

    def _denied(self, request: Request, code: str, status: int, error: HosuError, key: str | None) -> None:
        line = self._denied_line(request, code, status, error, key)
        if self._audit is not None:
            self._audit.add(line)
        where = "/".join(part for part in (line.bucket, line.key) if part)
        what = f"{line.operation} {where}".rstrip()
        access_key = line.access_key
        if code == UNKNOWN_KEY:  # made up by who asks, who may make up another one each time
            what, access_key = f"{what} as {access_key!r}", UNKNOWN_KEYS
        self._denials.count(line.source_ip, access_key, what, self._store.clock.now_ms())

    def malformed(self, status: int) -> None:
        """Count something that was no request."""
        del status
        self._meter.rejected["invalid"] += 1
        self.publish_soon()

    # Numbers

    def publish_soon(self) -> None:
        """Have the thread look at what has changed."""
        self._is_due = True
        self._wake.set()

    def in_flight(self) -> dict[str, int]:
        """Return how many requests of each operation are not yet answered whole."""
        found: dict[str, int] = {}
        for request in self._server.requests_under_way() if self._server is not None else ():
            call = request.note
            if isinstance(call, Call):
                operation = call.operation or NO_OPERATION
                found[operation] = found.get(operation, 0) + 1
        return found

    def _add(self, name: str) -> None:
        self._meter.totals[name] = self._meter.totals.get(name, 0) + 1

    def _counts_of(self, call: Call, status: int) -> Counts:
        """Return the numbers for a request whose operation and bucket have none, or are none."""
        bucket = call.bucket
        if status >= CLIENT_ERROR:
            try:
                self._store.view().bucket(bucket)
            except HosuError:  # names of buckets that are none must not fill the memory
                bucket = ""
        key = (call.operation or NO_OPERATION, bucket)
        return self._meter.counts.get(key) or self._meter.open(*key)

    # Lines

    def _write_read(self, call: Call, status: int, body_bytes: int) -> None:
        if status in _MALFORMED or self._audit is None:
            return  # refused before anything was read; what was denied has its line
        line = self._line(call, status)
        self._audit.add(msgspec.structs.replace(line, bytes=body_bytes))

    def _line(self, call: Call, status: int, key: str | None = None) -> AuditLine:
        origin = call.origin(key)
        return AuditLine(
            time=format_time(self._store.clock.now_ms()),
            request_id=origin.request_id,
            principal=origin.principal,
            access_key=origin.access_key,
            source_ip=origin.source_ip,
            user_agent=origin.user_agent,
            operation=origin.operation if call.operation else f"s3:{NO_OPERATION}",
            action=origin.action,
            bucket=origin.bucket,
            key=origin.key,
            version_id=_version_id(call),
            status=status,
        )

    def _denied_line(self, request: Request, code: str, status: int, error: HosuError, key: str | None) -> AuditLine:
        call, details = request.note, error.details
        if isinstance(call, Call):
            line = self._line(call, status, key)
        else:
            line = AuditLine(
                time=format_time(self._store.clock.now_ms()),
                request_id=request.request_id,
                principal=str(details.get("principal", "")),
                source_ip=self._source_ip(request),
                user_agent=user_agent(request),
                operation=f"{request.method} {request.raw_path[:PATH_BYTES_MAX].decode('utf-8', 'replace')}",
                status=status,
            )
        return msgspec.structs.replace(
            line,
            bucket=line.bucket[:NAME_CHARACTERS_MAX],
            key=line.key[:KEY_BYTES_MAX],
            access_key=str(details.get("access_key", line.access_key))[:NAME_CHARACTERS_MAX],
            action=str(details.get("action", line.action)),
            decision=DENIED,
            statement=str(details.get("statement", "")),
            error=code,
        )

    # The thread

    def _work(self) -> None:
        while not self._ending.is_set():
            self._wake.wait()
            self._ending.wait(PUBLISH_PERIOD_S)
            self._wake.clear()
            self._is_due = False
            self._tell()
        self._tell()  # what came while the last lines were on their way

    def _tell(self) -> None:
        """Write the lines that wait, and publish the numbers."""
        audit, meter = self._audit, self._meter
        try:
            if audit is not None:
                audit.flush()
                written, dropped = audit.written, audit.dropped
                totals, (told_written, told_dropped) = meter.totals, self._told
                totals["audit_lines"] = totals.get("audit_lines", 0) + written - told_written
                totals["audit_dropped"] = totals.get("audit_dropped", 0) + dropped - told_dropped
                self._told = written, dropped
            for verb in self._denials.take():
                self._store.commit(verb)
            meter.publish(self.in_flight())
        except Exception as error:  # noqa: BLE001 - whatever it was, the next time tries again
            _LOG.error("metrics cannot be published", error=f"{type(error).__name__}: {error}")


def _peer(request: Request) -> str:
    return request.peer[0]


def _version_id(call: Call) -> str:
    if not call.request.raw_query:
        return ""
    try:
        return call.query.get("versionId", "")
    except HosuError:
        return ""

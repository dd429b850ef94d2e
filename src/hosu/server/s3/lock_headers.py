"""What requests say about object lock in their headers, and what answers say back."""

import re
from collections.abc import Sequence
from datetime import UTC, datetime

from hosu.objects.records import LockMode, ObjectLock, ObjectRecord
from hosu.objects.retention import LOCKED, RETAIN_UNTIL_MS_MAX, lock_of
from hosu.server.s3.call import Call, iso_date
from hosu.server.s3.conditions import NOTHING, PartContext, RequestContext
from hosu.server.s3.request_errors import S3RequestError

MODE, UNTIL, HOLD = b"x-amz-object-lock-mode", b"x-amz-object-lock-retain-until-date", b"x-amz-object-lock-legal-hold"
LOCK_HEADERS = frozenset({MODE, UNTIL, HOLD})
BYPASS = b"x-amz-bypass-governance-retention"
BYPASS_ACTION = "s3:BypassGovernanceRetention"
DAY_MS = 24 * 3600 * 1000
HOLDS = frozenset({"ON", "OFF"})
_DATE = re.compile(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(\.\d{1,9})?(Z|[+-]\d\d:?\d\d)")


def parse_mode(value: str) -> LockMode | None:
    """Return the mode that a text names, in capitals only; None for another text."""
    return LockMode.__members__.get(value)


def parse_date(value: str) -> int | None:
    """Return milliseconds since 1970 of an ISO 8601 time with its zone; None for another text."""
    found = _DATE.fullmatch(value)
    if found is None:
        return None
    moment, fraction, zone = found.groups()
    try:
        whole = datetime.fromisoformat(moment + zone.replace("Z", "+00:00"))
        milliseconds = int(whole.timestamp()) * 1000 + int((fraction or ".0")[1:].ljust(3, "0")[:3])
    except (ValueError, OverflowError):
        return None
    return milliseconds if 0 < milliseconds <= RETAIN_UNTIL_MS_MAX else None


def lock_headers(call: Call) -> ObjectLock | None:
    """Return the lock that a write asks for, having asked whether its sender may; None where it says nothing of it."""
    lock = read_lock(call)
    if lock is not None and lock.mode is not None:
        authorize_lock(call, "s3:PutObjectRetention", lock)
    if lock is not None and lock.legal_hold:
        authorize_lock(call, "s3:PutObjectLegalHold", lock)
    return lock


def read_lock(call: Call) -> ObjectLock | None:
    """Return the lock that the headers of a write say; None where they say nothing of it."""
    named, until, hold = _said(call, MODE), _said(call, UNTIL), _said(call, HOLD)
    if named is None and until is None and hold is None:
        return None
    if (named is None) != (until is None):
        raise S3RequestError(
            "InvalidArgument",
            "x-amz-object-lock-retain-until-date and x-amz-object-lock-mode must both be supplied",
            argument_name=(MODE if named is None else UNTIL).decode(),
        )
    mode = None if named is None else parse_mode(named)
    if named is not None and mode is None:
        raise S3RequestError("InvalidArgument", "Unknown wormMode directive", argument_name=MODE.decode())
    until_ms = 0 if until is None else parse_date(until)
    if until_ms is None:
        raise S3RequestError(
            "InvalidArgument",
            "The retain until date must be provided in ISO 8601 format",
            argument_name=UNTIL.decode(),
            argument_value=until,
        )
    if hold is not None and hold not in HOLDS:
        raise S3RequestError(
            "InvalidArgument", "Legal Hold must be either of 'ON' or 'OFF'", argument_name=HOLD.decode()
        )
    return ObjectLock(mode, until_ms, hold or "")


def _said(call: Call, name: bytes) -> str | None:
    """Return a header; some clients move those of a presigned URL into its query, which must not go unheard."""
    value, verified = call.header(name), call.verified
    if value is None and verified is not None and verified.presigned and verified.scope:  # others sign no query
        return call.query.get(name.decode())
    return value


class LockContext(PartContext):
    """Circumstances of a request that locks a version: what it asks for, in its headers or its body."""

    __slots__ = ("_asked",)

    def __init__(self, call: Call, action: str, lock: ObjectLock) -> None:
        super().__init__(call, action, call.bucket, call.key, version_id=call.version_id)
        self._asked = lock

    def _lock(self, name: str) -> Sequence[str]:
        return lock_values(self._asked, name, self._now_s() * 1000)


def lock_values(lock: ObjectLock, name: str, now_ms: int) -> Sequence[str]:
    """Return the values of one of the condition keys that speak about a lock."""
    if name == "s3:object-lock-legal-hold":
        return (lock.legal_hold,) if lock.legal_hold else NOTHING
    if lock.mode is None:
        return NOTHING
    until = datetime.fromtimestamp(lock.retain_until_ms / 1000, UTC)
    return {
        "s3:object-lock-mode": (lock.mode.value,),
        "s3:object-lock-retain-until-date": (f"{until:%Y-%m-%dT%H:%M:%SZ}",),
        "s3:object-lock-remaining-retention-days": (str(max(lock.retain_until_ms - now_ms, 0) // DAY_MS),),
    }.get(name, NOTHING)


def authorize_lock(call: Call, action: str, lock: ObjectLock) -> None:
    """Ask whether the sender may lock the version so."""
    call.authorize_in(action, LockContext(call, action, lock), call.bucket, call.key)


def bypasses_governance(call: Call, key: str | None = None, version_id: str | None = None) -> bool:
    """Say whether a request bypasses GOVERNANCE: it asks to, and its sender may."""
    if (call.header(BYPASS) or "").lower() != "true":
        return False
    about = call.key if key is None else key
    version = call.version_id if key is None else version_id
    context = PartContext(call, BYPASS_ACTION, call.bucket, about, version_id=version)
    return call.is_allowed(BYPASS_ACTION, context, call.bucket, about)


def lock_lines(call: Call, record: ObjectRecord) -> bytes:
    """Return the header lines of an object's lock, as far as its reader may know of it."""
    if LOCKED not in record.attributes_json:
        return b""
    lock = lock_of(record)
    lines = b""
    if lock is not None and lock.mode is not None and _may(call, "s3:GetObjectRetention"):
        lines += b"x-amz-object-lock-mode: %b\r\nx-amz-object-lock-retain-until-date: %b\r\n" % (
            lock.mode.encode(),
            iso_date(lock.retain_until_ms).encode(),
        )
    if lock is not None and lock.legal_hold and _may(call, "s3:GetObjectLegalHold"):
        lines += b"x-amz-object-lock-legal-hold: %b\r\n" % lock.legal_hold.encode()
    return lines


def _may(call: Call, action: str) -> bool:
    return call.is_allowed(action, RequestContext(call, action), call.bucket, call.key)

"""Object lock: of a bucket by default, of each version by retention and legal hold."""

from functools import partial
from typing import NoReturn
from xml.etree.ElementTree import Element

from hosu.kernel.errors import HosuError
from hosu.kernel.limits import KIB
from hosu.objects.put import set_legal_hold, set_retention
from hosu.objects.read import find
from hosu.objects.records import ObjectLock
from hosu.objects.retention import (
    RETENTION_DAYS_MAX,
    RETENTION_YEARS_MAX,
    BucketLock,
    bucket_lock,
    lock_of,
    no_lock,
    require_lock,
    set_bucket_lock,
)
from hosu.server.http import Response
from hosu.server.s3.call import Call, iso_date, version_headers
from hosu.server.s3.lock_headers import HOLDS, authorize_lock, bypasses_governance, parse_date, parse_mode
from hosu.server.s3.payload import read_document
from hosu.server.s3.request_errors import S3RequestError
from hosu.server.s3.xml_read import integer, parse, refuse, text
from hosu.server.s3.xml_write import element, empty_response, xml_response

DOCUMENT_BYTES_MAX = 64 * KIB


# The bucket's own


def get_lock_configuration(call: Call) -> Response:
    """GetObjectLockConfiguration."""
    found = bucket_lock(call.engine.store.view().bucket(call.bucket))
    if found is None:
        raise S3RequestError(
            "ObjectLockConfigurationNotFoundError",
            "Object Lock configuration does not exist for this bucket",
            bucket=call.bucket,
        )
    inner = element("ObjectLockEnabled", "Enabled")
    if found.mode is not None:
        period = element("Days", found.days) if found.days else element("Years", found.years)
        inner += f"<Rule><DefaultRetention>{element('Mode', found.mode)}{period}</DefaultRetention></Rule>"
    return xml_response(call.request.request_id, "ObjectLockConfiguration", inner)


async def put_lock_configuration(call: Call) -> Response:
    """PutObjectLockConfiguration."""
    body = await read_document(call, DOCUMENT_BYTES_MAX, must_have_digest=True)
    lock = _read_configuration(parse(body, "ObjectLockConfiguration"))
    await call.commit(partial(set_bucket_lock, name=call.bucket, lock=lock, actor=call.principal.name))
    return empty_response(call.request.request_id)


def _read_configuration(root: Element) -> BucketLock:
    if text(root, "ObjectLockEnabled") != "Enabled":
        refuse("ObjectLockEnabled must be Enabled")
    rule = root.find("Rule")
    if rule is None:
        return BucketLock()
    default = rule.find("DefaultRetention")
    if default is None:
        refuse("Rule needs DefaultRetention")
    mode = parse_mode(text(default, "Mode") or "")
    if mode is None:
        refuse("Mode must be GOVERNANCE or COMPLIANCE")
    days, years = integer(default, "Days"), integer(default, "Years")
    if (days is None) == (years is None):
        refuse("DefaultRetention needs either Days or Years")
    for number, most in ((days, RETENTION_DAYS_MAX), (years, RETENTION_YEARS_MAX)):
        if number is not None and number <= 0:
            raise S3RequestError("InvalidRetentionPeriod", "Default retention period must be a positive integer value.")
        if number is not None and number > most:
            raise S3RequestError("InvalidRetentionPeriod", f"Default retention period too large: at most {most}.")
    return BucketLock(mode, days or 0, years or 0)


# A version's own


def get_retention(call: Call) -> Response:
    """GetObjectRetention."""
    lock = _lock_asked_for(call)
    if lock is None or lock.mode is None:
        raise no_lock(call.key)
    inner = element("Mode", lock.mode) + element("RetainUntilDate", iso_date(lock.retain_until_ms))
    return xml_response(call.request.request_id, "Retention", inner)


def get_legal_hold(call: Call) -> Response:
    """GetObjectLegalHold."""
    lock = _lock_asked_for(call)
    if lock is None or not lock.legal_hold:
        raise no_lock(call.key)
    return xml_response(call.request.request_id, "LegalHold", element("Status", lock.legal_hold))


def _lock_asked_for(call: Call) -> ObjectLock | None:
    view = call.engine.store.view()
    with view.snapshot():
        require_lock(view.bucket(call.bucket))
        return lock_of(find(view, call.bucket, call.key, call.version_id))


async def put_retention(call: Call) -> Response:
    """PutObjectRetention: an empty document removes a retention under GOVERNANCE."""
    action = "s3:PutObjectRetention"
    try:
        lock = _read_retention(await read_document(call, DOCUMENT_BYTES_MAX, must_have_digest=True))
    except HosuError as error:
        _refuse_late(call, action, error)
    authorize_lock(call, action, lock)
    record = await call.commit(
        partial(
            set_retention, bucket_name=call.bucket, key=call.key, version_id=call.version_id, mode=lock.mode,
            retain_until_ms=lock.retain_until_ms, bypass_governance=bypasses_governance(call),
            actor=call.principal.name,
        )
    )  # fmt: skip
    return empty_response(call.request.request_id, *version_headers(record))


def _read_retention(body: bytes) -> ObjectLock:
    root = parse(body, "Retention")
    named, until = text(root, "Mode"), text(root, "RetainUntilDate")
    if not named and not until:
        return ObjectLock()
    mode, until_ms = parse_mode(named or ""), parse_date(until or "")
    if mode is None:
        refuse("Mode must be GOVERNANCE or COMPLIANCE")
    if until_ms is None:
        refuse("RetainUntilDate must be a time in ISO 8601 format")
    return ObjectLock(mode, until_ms)


async def put_legal_hold(call: Call) -> Response:
    """PutObjectLegalHold."""
    action = "s3:PutObjectLegalHold"
    try:
        root = parse(await read_document(call, DOCUMENT_BYTES_MAX, must_have_digest=True), "LegalHold")
        status = text(root, "Status")
        if status not in HOLDS:
            refuse("Status must be ON or OFF")
    except HosuError as error:
        _refuse_late(call, action, error)
    authorize_lock(call, action, ObjectLock(legal_hold=status))
    record = await call.commit(
        partial(
            set_legal_hold, bucket_name=call.bucket, key=call.key, version_id=call.version_id,
            is_on=status == "ON", actor=call.principal.name,
        )
    )  # fmt: skip
    return empty_response(call.request.request_id, *version_headers(record))


def _refuse_late(call: Call, action: str, error: HosuError) -> NoReturn:
    """Tell what is wrong with a body, which is not for everybody."""
    authorize_lock(call, action, ObjectLock())
    raise error

"""The headers that describe an object to its reader, rendered as lines.

Objects of one kind share their attributes, so the lines of an attributes document are kept: a GET renders
little more than its ETag and date.
"""

from functools import lru_cache

from hosu.objects.read import parts
from hosu.objects.records import STANDARD, ObjectRecord, decode_attributes
from hosu.server.s3.call import Call, http_date
from hosu.server.s3.encryption import encryption_lines
from hosu.server.s3.headers import (
    DEFAULT_CONTENT_TYPE,
    STORED_HEADERS,
    checksum_headers,
    header_bytes,
    part_checksum_headers,
)
from hosu.server.s3.lifecycle import expiration_value
from hosu.server.s3.lock_headers import lock_lines
from hosu.server.s3.request_errors import S3RequestError

RESPONSE_OVERRIDES = {
    "response-cache-control": "cache-control",
    "response-content-disposition": "content-disposition",
    "response-content-encoding": "content-encoding",
    "response-content-language": "content-language",
    "response-content-type": "content-type",
    "response-expires": "expires",
}
"""Query parameters of a signed GET that replace a header of its answer."""

ATTRIBUTES_KEPT_MAX = 1024


def object_lines(call: Call, record: ObjectRecord, *, with_checksum: bool) -> bytes:
    """Return the header lines that describe an object, each ending with CRLF."""
    request = call.request
    overrides = _overrides(call) if request.raw_query else None
    attributes = (
        _attribute_lines(record.attributes_json)
        if not overrides
        else _render_attributes(record.attributes_json, overrides)
    )
    lines = b'ETag: "%b"\r\nLast-Modified: %b\r\nAccept-Ranges: bytes\r\nx-amz-request-id: %b\r\n%b' % (
        record.etag.encode(),
        http_date(record.modified_ms // 1000),
        request.request_id.encode(),
        attributes,
    )
    if record.version_id != "null":
        lines += b"x-amz-version-id: %b\r\n" % record.version_id.encode()
    if record.storage_class != STANDARD:
        lines += b"x-amz-storage-class: %b\r\n" % record.storage_class.encode()
    lines += lock_lines(call, record)
    expiration = expiration_value(call, record)
    if expiration is not None:
        lines += b"x-amz-expiration: %b\r\n" % expiration
    if with_checksum:
        part = call.query.get("partNumber") if request.raw_query and record.part_count else None
        if part is None:
            checksum = checksum_headers(record)
        else:
            found = parts(call.engine.store.view(), record, after=int(part) - 1, limit=1)
            checksum = part_checksum_headers(record, found[0] if found else None)
        lines += b"".join(b"%b: %b\r\n" % line for line in checksum)
    return lines


def validator_lines(call: Call, record: ObjectRecord) -> bytes:
    """Return the lines of a 304 answer: what a cache needs to go on using what it has."""
    lines = b'ETag: "%b"\r\nLast-Modified: %b\r\nx-amz-request-id: %b\r\n' % (
        record.etag.encode(),
        http_date(record.modified_ms // 1000),
        call.request.request_id.encode(),
    )
    kept = decode_attributes(record.attributes_json).headers
    for name in ("cache-control", "expires"):
        if name in kept:
            lines += _line(STORED_HEADERS[name.encode()], header_bytes(kept[name]))
    if record.version_id != "null":
        lines += b"x-amz-version-id: %b\r\n" % record.version_id.encode()
    return lines


@lru_cache(maxsize=ATTRIBUTES_KEPT_MAX)
def _attribute_lines(attributes_json: str) -> bytes:
    return _render_attributes(attributes_json, {})


def _render_attributes(attributes_json: str, overrides: dict[str, str]) -> bytes:
    attributes = decode_attributes(attributes_json)
    headers = {"content-type": DEFAULT_CONTENT_TYPE} | attributes.headers | overrides
    latin_1 = set(attributes.latin_1) - overrides.keys()
    lines = [
        _line(STORED_HEADERS[name.encode()], header_bytes(value, is_latin_1=name in latin_1))
        for name, value in headers.items()
    ]
    for name, value in attributes.metadata.items():
        shown = f"x-amz-meta-{name}"
        lines.append(_line(header_bytes(shown), header_bytes(value, is_latin_1=shown in latin_1)))
    if attributes.tags:
        lines.append(b"x-amz-tagging-count: %d\r\n" % len(attributes.tags))
    if attributes.encryption is not None:
        lines.append(encryption_lines(attributes.encryption))
    return b"".join(lines)


def _line(name: bytes, value: bytes) -> bytes:
    line = name + b": " + value
    # Stored by other ways than HTTP, a value may hold what would end its line.
    return line.replace(b"\r", b" ").replace(b"\n", b" ").replace(b"\0", b" ") + b"\r\n"


def _overrides(call: Call) -> dict[str, str]:
    found = {shown: call.query[name] for name, shown in RESPONSE_OVERRIDES.items() if call.query.get(name)}
    if found and call.verified is None:
        raise S3RequestError("InvalidRequest", "Request specific response headers cannot be used for anonymous GETs")
    for value in found.values():
        if "\r" in value or "\n" in value or "\0" in value:
            raise S3RequestError("InvalidArgument", "A response header must not hold line breaks")
    return found

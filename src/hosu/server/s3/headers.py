"""What request headers say about an object: its attributes, conditions and ranges; and what responses say back."""

from collections.abc import Collection
from email.utils import parsedate_to_datetime
from urllib.parse import parse_qsl

import msgspec

from hosu.identity.acl import canonical_id
from hosu.kernel.errors import ErrorKind, InvalidInputError
from hosu.kernel.limits import TAGS_PER_OBJECT_MAX
from hosu.objects.names import check_tags
from hosu.objects.read import PartFacts
from hosu.objects.records import NO_CONDITIONS, STANDARD, WARM_CLASSES, Attributes, Conditions, ObjectRecord
from hosu.objects.versions import is_version_id
from hosu.server.http import Headers
from hosu.server.s3.acl import acl_for_write
from hosu.server.s3.call import Call, header_text
from hosu.server.s3.lock_headers import lock_headers
from hosu.server.s3.request_errors import S3RequestError

STORED_HEADERS = {
    b"cache-control": b"Cache-Control",
    b"content-disposition": b"Content-Disposition",
    b"content-encoding": b"Content-Encoding",
    b"content-language": b"Content-Language",
    b"content-type": b"Content-Type",
    b"expires": b"Expires",
    b"x-amz-website-redirect-location": b"x-amz-website-redirect-location",
}
"""Headers that are kept with an object and sent back with it."""

DEFAULT_CONTENT_TYPE = "binary/octet-stream"
_META = b"x-amz-meta-"
_REFUSED_PREFIXES = (
    b"x-amz-copy-source-server-side-encryption",
    b"x-amz-object-lock-",
    b"x-amz-object-ownership",
    b"x-amz-server-side-encryption",
    b"x-amz-write-offset-bytes",
)
_RANGE_UNIT = "bytes="
_SIZE_DIGITS_MAX = 19
"""A number of fewer digits fits 64 bits."""


def attributes_of(call: Call) -> Attributes:
    """Return the content headers, user metadata, tags, ACL and lock that a request brings."""
    headers: dict[str, str] = {}
    metadata: dict[str, str] = {}
    latin_1: list[str] = []
    for name, value in call.headers.items():
        if name in STORED_HEADERS:
            headers[name.decode()] = header_text(value)
        elif name.startswith(_META):
            metadata[header_text(name[len(_META) :])] = header_text(value)
        else:
            continue
        if not value.isascii() and not _is_utf_8(value):
            latin_1.append(header_text(name))
    encoding = headers.get("content-encoding")
    if encoding is not None and "aws-chunked" in encoding:
        kept = [coding.strip() for coding in encoding.split(",") if coding.strip() != "aws-chunked"]
        if kept:
            headers["content-encoding"] = ",".join(kept)
        else:
            del headers["content-encoding"]
    tagging = call.header(b"x-amz-tagging")
    if tagging:
        call.authorize("s3:PutObjectTagging")
    tags = parse_tagging(tagging) if tagging else {}
    return Attributes(headers, metadata, tags, tuple(latin_1), acl=acl_for_write(call), lock=lock_headers(call))


def _is_utf_8(value: bytes) -> bool:
    try:
        value.decode()
    except UnicodeDecodeError:
        return False
    return True


def parse_tagging(text: str) -> dict[str, str]:
    """Return the tags of an `x-amz-tagging` header: `name=value&name=value`, percent-encoded."""
    try:
        pairs = parse_qsl(text, keep_blank_values=True, errors="strict", max_num_fields=100)
    except (UnicodeError, ValueError) as error:
        raise S3RequestError("InvalidArgument", "The header 'x-amz-tagging' is malformed") from error
    tags = dict(pairs)
    if len(tags) != len(pairs):
        raise S3RequestError("InvalidTag", "Cannot provide multiple Tags with the same key")
    check_tags(tags, TAGS_PER_OBJECT_MAX)
    return tags


def storage_class_of(call: Call) -> str:
    """Return the storage class a request asks for; raises for one that hosu does not have."""
    name = call.header(b"x-amz-storage-class")
    if name is None:
        return STANDARD
    if name not in WARM_CLASSES and name not in call.engine.cold_classes:
        raise S3RequestError("InvalidStorageClass", f"The storage class {name!r} you specified is not valid")
    return name


def refuse_unsupported(call: Call, *, but: Collection[bytes] = ()) -> None:
    """Refuse by name what a write asks for and hosu would otherwise have to ignore; `but` is looked at elsewhere."""
    for name in call.headers:
        if name.startswith(_REFUSED_PREFIXES) and name not in but:
            raise S3RequestError("NotImplemented", f"The header {header_text(name)} is not supported")


def check_owner(call: Call, name: bytes, bucket: str) -> None:
    """Refuse a request that expects a bucket to belong to somebody else than it does."""
    expected, facts = call.header(name), call.engine.acls.facts(bucket)
    if expected is not None and facts is not None and expected != canonical_id(facts.owner):
        raise S3RequestError("AccessDenied", f"The bucket does not belong to the account that {name.decode()} names")


def write_conditions(call: Call) -> Conditions:
    """Return the conditions a write must meet."""
    if_match, if_none_match = call.header(b"if-match"), call.header(b"if-none-match")
    if if_match is None and if_none_match is None:
        return NO_CONDITIONS
    return Conditions(
        if_match=None if if_match is None else strip_etag(if_match),
        if_none_match=None if if_none_match is None else strip_etag(if_none_match),
    )


def delete_conditions(call: Call) -> Conditions:
    """Return the conditions a delete must meet."""
    if call.header(b"if-none-match") is not None:
        raise S3RequestError("NotImplemented", "A delete takes If-Match, not If-None-Match")
    etag = call.header(b"if-match")
    modified, size = call.header(b"x-amz-if-match-last-modified-time"), call.header(b"x-amz-if-match-size")
    return parse_delete_conditions(etag, modified, size)


def parse_delete_conditions(etag: str | None, modified: str | None, size: str | None) -> Conditions:
    """Return the conditions of a delete; one that cannot be read is refused, since ignoring it would delete."""
    if etag is None and modified is None and size is None:
        return NO_CONDITIONS
    if size is not None and parse_number(size) is None:
        raise S3RequestError("InvalidArgument", "The size to match must be a number of bytes", argument_value=size)
    modified_s = None if modified is None else parse_http_date(modified)
    if modified is not None and modified_s is None:
        raise S3RequestError(
            "InvalidArgument", "The last modified time to match must be a date as HTTP has it", argument_value=modified
        )
    return Conditions(
        if_match=None if etag is None else strip_etag(etag),
        modified_s=modified_s,
        size_bytes=None if size is None else int(size),
    )


def check_version_id(version_id: str) -> None:
    """Refuse a version id that no version can have."""
    if not is_version_id(version_id):
        raise S3RequestError(
            "InvalidArgument",
            "Invalid version id specified",
            argument_name="versionId",
            argument_value=version_id,
        )


def strip_etag(text: str) -> str:
    """Return an ETag without its quotes."""
    return text.strip().strip('"')


def parse_http_date(text: str) -> int | None:
    """Return seconds since 1970 of a date as HTTP has it; None when it is none, which conditions then ignore."""
    try:
        return int(parsedate_to_datetime(text).timestamp())
    except (ValueError, TypeError, IndexError, OverflowError):
        return None


class NotModifiedError(S3RequestError):
    """A conditional read found what the client already has."""

    def __init__(self) -> None:
        super().__init__("NotModified", "Not Modified")


def check_read_conditions(record: ObjectRecord, headers: dict[bytes, bytes], prefix: bytes = b"") -> None:
    """Evaluate the conditions of a read in RFC 9110's order; with a prefix, those of a copy's source."""
    if_match = headers.get(prefix + b"if-match")
    if_none_match = headers.get(prefix + b"if-none-match")
    modified_s = record.modified_ms // 1000
    if if_match is not None:
        if not _matches(if_match, record.etag):
            raise _failed("If-Match")
    elif (since := _date(headers.get(prefix + b"if-unmodified-since"))) is not None and modified_s > since:
        raise _failed("If-Unmodified-Since")
    if if_none_match is not None:
        if _matches(if_none_match, record.etag):
            raise _failed("If-None-Match") if prefix else NotModifiedError()
    elif (since := _date(headers.get(prefix + b"if-modified-since"))) is not None and modified_s <= since:
        raise _failed("If-Modified-Since") if prefix else NotModifiedError()


def _failed(condition: str) -> S3RequestError:
    return S3RequestError(
        "PreconditionFailed", "At least one of the pre-conditions you specified did not hold", condition=condition
    )


def _matches(value: bytes, etag: str) -> bool:
    candidates = [strip_etag(part.removeprefix("W/")) for part in header_text(value).split(",")]
    return "*" in candidates or etag in candidates


def _date(value: bytes | None) -> int | None:
    return None if value is None else parse_http_date(header_text(value))


def parse_range(text: str, size_bytes: int) -> tuple[int, int] | None:
    """Return (start, end) of a Range header, end exclusive; None when it is to be ignored, as RFC 9110 says.

    Raises `InvalidInputError` when the range lies outside of the body.
    """
    if not text.startswith(_RANGE_UNIT) or "," in text:
        return None
    first, dash, last = text[len(_RANGE_UNIT) :].strip().partition("-")
    if not dash or not _is_number_or_empty(first) or not _is_number_or_empty(last) or not (first or last):
        return None
    if first:
        start, end = int(first), min(int(last) + 1, size_bytes) if last else size_bytes
        if last and int(last) < start:
            return None
    else:
        start, end = max(size_bytes - int(last), 0), size_bytes
        if int(last) == 0:
            start = size_bytes
    if start >= size_bytes:
        raise InvalidInputError(
            ErrorKind.RANGE_INVALID, "The requested range is not satisfiable", size_bytes=size_bytes
        )
    return start, end


def parse_number(text: str) -> int | None:
    """Return a number of bytes or parts as clients write it: ASCII digits, no more than 64 bits have; else None."""
    return int(text) if text.isascii() and text.isdigit() and len(text) < _SIZE_DIGITS_MAX else None


def _is_number_or_empty(text: str) -> bool:
    return not text or parse_number(text) is not None


def checksum_headers(record: ObjectRecord) -> Headers:
    """Return the headers of an object's stored checksum."""
    if record.checksum_algorithm is None or record.checksum_value is None:
        return []
    name = f"x-amz-checksum-{record.checksum_algorithm.lower()}"
    return [
        (name.encode(), record.checksum_value.encode()),
        (b"x-amz-checksum-type", (record.checksum_type or "").encode()),
    ]


def part_checksum_headers(record: ObjectRecord, part: PartFacts | None) -> Headers:
    """Return the headers of the checksum of one part, which its reader has something to compare with."""
    if part is None or part.checksum_value is None:
        return []
    return checksum_headers(msgspec.structs.replace(record, checksum_value=part.checksum_value))


def header_bytes(text: str, *, is_latin_1: bool = False) -> bytes:
    """Return a stored text as it goes out in a header."""
    return text.encode("latin-1", "replace") if is_latin_1 else text.encode()

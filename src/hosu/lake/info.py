"""What is known of an object, and what may be said of one when it is stored."""

import re
from collections.abc import Mapping
from datetime import UTC, datetime

import msgspec

from hosu.kernel.errors import ErrorKind, InvalidInputError
from hosu.objects.records import Attributes, Checksum, ObjectRecord

CONTENT_TYPE_DEFAULT = "binary/octet-stream"
"""What S3 says of an object whose type nobody named."""

_CONTENT_TYPE = "content-type"
_METADATA_PREFIX = "x-amz-meta-"
_METADATA_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9a-z-]+")
_CONTROL = re.compile("[\x00-\x08\x0a-\x1f\x7f]")


class ObjectSummary(msgspec.Struct, frozen=True, kw_only=True):
    """An object as a listing shows it. `etag` has no quotes: the MD5 of a body that was stored whole."""

    key: str
    size_bytes: int
    etag: str
    modified_ms: int
    storage_class: str

    @property
    def modified(self) -> datetime:
        """When it was stored, in UTC."""
        return datetime.fromtimestamp(self.modified_ms / 1000, UTC)


class ObjectInfo(ObjectSummary, frozen=True, kw_only=True):
    """All that is known of one version of an object. `version_id` is `null` where no versions were kept."""

    version_id: str
    is_latest: bool
    is_marker: bool
    content_type: str
    headers: dict[str, str]
    metadata: dict[str, str]
    tags: dict[str, str]
    checksum: Checksum | None


def info_of(record: ObjectRecord) -> ObjectInfo:
    """Return what users see of a record."""
    attributes = record.attributes
    return ObjectInfo(
        key=record.key,
        size_bytes=record.size_bytes,
        etag=record.etag,
        modified_ms=record.modified_ms,
        storage_class=record.storage_class,
        version_id=record.version_id,
        is_latest=record.is_latest,
        is_marker=record.is_marker,
        content_type=attributes.headers.get(_CONTENT_TYPE, CONTENT_TYPE_DEFAULT),
        headers=attributes.headers,
        metadata=attributes.metadata,
        tags=attributes.tags,
        checksum=record.checksum,
    )


def attributes_of(
    content_type: str | None,
    metadata: Mapping[str, str] | None,
    tags: Mapping[str, str] | None,
    *,
    kept: Attributes | None = None,
) -> Attributes:
    """Return attributes as S3 clients can read them; what is None stays as it is in `kept`.

    Names of metadata are folded to lower case, as HTTP does; anything a header cannot carry is refused.
    """
    attributes = kept or Attributes()
    latin_1 = attributes.latin_1
    if content_type is not None:
        headers = attributes.headers | {_CONTENT_TYPE: _header_value("content_type", content_type)}
        attributes = msgspec.structs.replace(attributes, headers=headers)
        latin_1 = tuple(name for name in latin_1 if name != _CONTENT_TYPE)
    if metadata is not None:
        attributes = msgspec.structs.replace(attributes, metadata=_checked_metadata(metadata))
        latin_1 = tuple(name for name in latin_1 if not name.startswith(_METADATA_PREFIX))
    if tags is not None:
        attributes = msgspec.structs.replace(attributes, tags=dict(tags))
    return msgspec.structs.replace(attributes, latin_1=latin_1)


def _checked_metadata(metadata: Mapping[str, str]) -> dict[str, str]:
    found = {}
    for name, value in metadata.items():
        folded = name.lower()
        if not _METADATA_NAME.fullmatch(folded):
            raise InvalidInputError(
                ErrorKind.INVALID_ARGUMENT, f"metadata name {name!r}: use letters, digits, '-' and '_'", name=name
            )
        if folded in found:
            raise InvalidInputError(
                ErrorKind.INVALID_ARGUMENT, f"metadata name {name!r} is there twice: case does not count", name=name
            )
        found[folded] = _header_value(f"metadata {name!r}", value)
    return found


def _header_value(what: str, value: str) -> str:
    if _CONTROL.search(value) or value != value.strip():
        raise InvalidInputError(
            ErrorKind.INVALID_ARGUMENT, f"{what} {value!r}: give a text without line breaks or spaces around it"
        )
    try:
        value.encode()
    except UnicodeEncodeError as error:
        raise InvalidInputError(ErrorKind.INVALID_ARGUMENT, f"{what} {value!r} is not UTF-8") from error
    return value

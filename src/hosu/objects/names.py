"""What a bucket, a key, a tag and metadata may be called, and how long they may be."""

import re

from hosu.kernel.errors import ErrorKind, InvalidInputError
from hosu.kernel.limits import (
    HEADERS_BYTES_MAX,
    KEY_BYTES_MAX,
    METADATA_BYTES_MAX,
    TAG_KEY_CHARACTERS_MAX,
    TAG_VALUE_CHARACTERS_MAX,
)
from hosu.objects.records import Attributes

_BUCKET = re.compile(r"[a-z0-9](?:[a-z0-9.-]{1,61})[a-z0-9]")
_ADDRESS = re.compile(r"\d{1,3}(?:\.\d{1,3}){3}")
_BUCKET_RULE = "3 to 63 of a-z, 0-9, '-' and '.', beginning and ending with a letter or digit, not an IP address"


def check_bucket_name(name: str) -> None:
    """Refuse a bucket name that S3 would refuse."""
    is_bad_start = name.startswith(("xn--", "sthree-", "amzn-s3-demo-"))
    is_bad_end = name.endswith(("-s3alias", "--ol-s3", ".mrap", "--x-s3"))
    if not _BUCKET.fullmatch(name) or ".." in name or ".-" in name or "-." in name or _ADDRESS.fullmatch(name):
        raise InvalidInputError(ErrorKind.BUCKET_NAME_INVALID, f"bucket name {name!r} is not allowed: {_BUCKET_RULE}")
    if is_bad_start or is_bad_end or name == "minio":
        raise InvalidInputError(ErrorKind.BUCKET_NAME_INVALID, f"bucket name {name!r} is reserved; choose another")


def check_key(key: str) -> None:
    """Refuse a key that is empty, too long, or not text."""
    if not key:
        raise InvalidInputError(ErrorKind.KEY_INVALID, "the key is empty")
    if len(key) <= KEY_BYTES_MAX and key.isascii():
        return
    try:
        size_bytes = len(key.encode())
    except UnicodeEncodeError as error:
        raise InvalidInputError(ErrorKind.KEY_INVALID, "the key is not valid UTF-8") from error
    if size_bytes > KEY_BYTES_MAX:
        raise InvalidInputError(
            ErrorKind.KEY_TOO_LONG, f"the key has {size_bytes} bytes of UTF-8; at most {KEY_BYTES_MAX} are allowed"
        )


def check_attributes(attributes: Attributes) -> None:
    """Refuse user metadata or content headers that are too large."""
    for what, texts, size_bytes_max in (
        ("user metadata", attributes.metadata, METADATA_BYTES_MAX),
        ("content headers", attributes.headers, HEADERS_BYTES_MAX),
    ):
        size_bytes = sum(len(name.encode()) + len(value.encode()) for name, value in texts.items())
        if size_bytes > size_bytes_max:
            raise InvalidInputError(
                ErrorKind.METADATA_TOO_LARGE,
                f"{what} has {size_bytes} bytes; at most {size_bytes_max} are allowed",
                size_bytes=size_bytes,
                size_bytes_max=size_bytes_max,
            )


def check_tags(tags: dict[str, str], count_max: int) -> None:
    """Refuse too many tags, or tags with names and values that are too long or reserved."""
    if len(tags) > count_max:
        raise InvalidInputError(
            ErrorKind.TAG_INVALID, f"{len(tags)} tags; at most {count_max} are allowed", too_many=True
        )
    for name, value in tags.items():
        if not 0 < len(name) <= TAG_KEY_CHARACTERS_MAX:
            raise InvalidInputError(
                ErrorKind.TAG_INVALID, f"tag key {name!r} must have 1 to {TAG_KEY_CHARACTERS_MAX} characters"
            )
        if len(value) > TAG_VALUE_CHARACTERS_MAX:
            raise InvalidInputError(
                ErrorKind.TAG_INVALID, f"the value of tag {name!r} has more than {TAG_VALUE_CHARACTERS_MAX} characters"
            )
        if name.lower().startswith("aws:"):
            raise InvalidInputError(ErrorKind.TAG_INVALID, f"tag key {name!r}: the prefix aws: is reserved")

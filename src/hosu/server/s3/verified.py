"""What a right signature says about a request, whichever version it was made by."""

from collections.abc import Callable, Sequence
from enum import Enum

import msgspec

from hosu.server.s3.signing import SigningKey

Credentials = Callable[[str], Sequence[str]]
"""From an access key to its valid secrets: none when unknown, two while one is being rotated."""


class PayloadKind(Enum):
    """What the signature says about the body."""

    SIGNED_HASH = "hash"
    """The signature covers the body's SHA-256: `Verified.payload_sha256`."""
    UNSIGNED = "UNSIGNED-PAYLOAD"
    STREAMING_SIGNED = "STREAMING-AWS4-HMAC-SHA256-PAYLOAD"
    STREAMING_SIGNED_TRAILER = "STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER"
    STREAMING_UNSIGNED_TRAILER = "STREAMING-UNSIGNED-PAYLOAD-TRAILER"


class Verified(msgspec.Struct, frozen=True):
    """A request whose signature is right. The scope, date and key let chunk signatures go on from this one."""

    access_key: str
    payload: PayloadKind
    payload_sha256: str | None
    """Lower-case hexadecimal hash the body must have; only with SIGNED_HASH."""
    scope: bytes
    amz_date: bytes
    signature: bytes
    signing_key: SigningKey
    presigned: bool = False
    session_token: str | None = None

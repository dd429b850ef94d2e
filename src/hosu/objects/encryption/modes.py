"""How an object is encrypted, as a caller asks for it."""

import base64
import hashlib
import hmac
from collections.abc import Iterator

import msgspec

from hosu.kernel.errors import ErrorKind, InvalidInputError
from hosu.kernel.sealing import KEY_BYTES
from hosu.objects.records import EncryptionFacts, EncryptionMode


class Encryption(msgspec.Struct, frozen=True):
    """What a body is to be encrypted with.

    `key_name` is empty for the lake's default key. `customer_key` is the client's own 32 bytes, only with SSE_C; it is
    never stored or shown. `context` is the client's text, stored and given back. Raises InvalidInputError.
    """

    mode: EncryptionMode
    key_name: str = ""
    customer_key: bytes = b""
    context: str = ""
    bucket_key: bool = False

    def __post_init__(self) -> None:
        is_customer = self.mode == EncryptionMode.SSE_C
        if is_customer and len(self.customer_key) != KEY_BYTES:
            raise InvalidInputError(ErrorKind.INVALID_ARGUMENT, f"a customer key has {KEY_BYTES} bytes")
        if not is_customer and self.customer_key:
            raise InvalidInputError(ErrorKind.INVALID_ARGUMENT, "a customer key is for SSE_C only")

    def __repr__(self) -> str:
        return f"Encryption(mode={self.mode.name}, key_name={self.key_name!r})"

    def __rich_repr__(self) -> Iterator[tuple[str, object]]:  # type: ignore[override]
        yield "mode", self.mode
        yield "key_name", self.key_name

    @property
    def customer_key_md5(self) -> str:
        """The customer key's MD5 in base64, by which S3 names it; empty without one."""
        return customer_key_md5(self.customer_key) if self.customer_key else ""


def customer_key_md5(key: bytes) -> str:
    """Return the MD5 of a customer key in base64."""
    return base64.b64encode(hashlib.md5(key, usedforsecurity=False).digest()).decode()


def check_customer_key(encryption: EncryptionFacts | None, customer_key: bytes) -> None:
    """Refuse to show an object to whom lacks the key that only its writer has; for a reader of no bytes (HEAD).

    Raises InvalidInputError CUSTOMER_KEY_REQUIRED or CUSTOMER_KEY_WRONG, and INVALID_ARGUMENT for a key that no object
    needs.
    """
    if encryption is None or encryption.mode != EncryptionMode.SSE_C:
        if customer_key:
            raise InvalidInputError(
                ErrorKind.INVALID_ARGUMENT, "the object is not encrypted with a key of a client's: give none"
            )
        return
    if not customer_key:
        raise InvalidInputError(
            ErrorKind.CUSTOMER_KEY_REQUIRED,
            "the object is encrypted with a key that only its writer has: give it with the request (SSE-C)",
        )
    if not hmac.compare_digest(customer_key_md5(customer_key), encryption.customer_key_md5):
        raise InvalidInputError(
            ErrorKind.CUSTOMER_KEY_WRONG, "the object is encrypted with another key than the one given (SSE-C)"
        )


def encryption_of_parts(upload: EncryptionFacts | None, customer_key: bytes = b"") -> Encryption | None:
    """Return what each part of an upload is to be encrypted with; raises as `check_customer_key`."""
    check_customer_key(upload, customer_key)
    if upload is None:
        return None
    return Encryption(upload.mode, upload.key_name, customer_key, upload.context, upload.bucket_key)


__all__ = [
    "Encryption",
    "EncryptionFacts",
    "EncryptionMode",
    "check_customer_key",
    "customer_key_md5",
    "encryption_of_parts",
]

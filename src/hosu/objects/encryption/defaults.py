"""How what is written to a bucket is encrypted where its writer says nothing."""

import threading
from collections.abc import Callable

import msgspec

from hosu.kernel.errors import CorruptError, ErrorKind, UnsupportedError
from hosu.objects.encryption.lakekeys import HeldKey
from hosu.objects.encryption.modes import Encryption
from hosu.objects.generation import Generation
from hosu.objects.records import EncryptionMode
from hosu.objects.views import View

DOCUMENT = "encryption"
"""Kind of the bucket's document that says it."""

BUCKETS_KEPT_MAX = 10_000


class BucketEncryption(msgspec.Struct, frozen=True, omit_defaults=True):
    """Content of the document. Without a key name the lake's default key is used."""

    mode: EncryptionMode
    key_name: str = ""
    bucket_key: bool = False


_ON = Encryption(EncryptionMode.SSE_S3)


def check_default_encryption(held: HeldKey, *, is_on: bool) -> None:
    """Refuse to encrypt a whole lake by default under a key that lies beside the data."""
    if is_on and not held.is_outside:
        raise UnsupportedError(
            ErrorKind.KEY_NOT_CONFIGURED,
            "default_encryption is on, and there is no key to encrypt with: set HOSU_LAKE_KEY, lake_key_file or "
            "lake_key_command",
        )


def encode_bucket_encryption(found: BucketEncryption) -> str:
    """Return the document as it is stored."""
    return msgspec.json.encode(found).decode()


def decode_bucket_encryption(text: str, bucket: str) -> BucketEncryption:
    """Return a stored document."""
    try:
        return msgspec.json.decode(text, type=BucketEncryption)
    except msgspec.MsgspecError as error:
        raise CorruptError(
            ErrorKind.CORRUPT_LAKE, f"what bucket {bucket!r} says of its encryption cannot be read: {error}"
        ) from error


class DefaultEncryption:
    """What each bucket says, read once until it may have changed; `is_on` is for those that say nothing."""

    def __init__(self, view: Callable[[], View], generation: Generation, *, is_on: bool) -> None:
        self._view = view
        self._generation = generation
        self._otherwise = _ON if is_on else None
        self._kept: dict[str, Encryption | None] = {}
        self._kept_at = -1
        self._lock = threading.Lock()

    def find(self, bucket: str) -> Encryption | None:
        """Return how what is written to a bucket is encrypted; a bucket that is missing is told by the write."""
        number = self._generation.number()
        if number == self._kept_at:
            try:
                return self._kept[bucket]
            except KeyError:
                pass
        text = self._view().value(
            "SELECT body FROM bucket_document WHERE kind = ? AND bucket_id = (SELECT id FROM bucket WHERE name = ?)",
            (DOCUMENT, bucket),
        )
        found = self._otherwise
        if text is not None:
            said = decode_bucket_encryption(text, bucket)
            found = Encryption(said.mode, said.key_name, bucket_key=said.bucket_key)
        with self._lock:
            if number != self._kept_at or len(self._kept) >= BUCKETS_KEPT_MAX:
                self._kept = {}
                self._kept_at = number
            self._kept[bucket] = found
        return found

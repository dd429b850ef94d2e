"""Sealing of short messages: secrets and keys, encrypted so that any change of them shows.

AES-256-GCM under a key made for each message alone, from the long-lived key and a random salt. So a key may seal any
number of messages: no counter is kept, and no two messages share a nonce under one key.
"""

import os

from blake3 import blake3
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from hosu.kernel.errors import CorruptError, ErrorKind

KEY_BYTES = 32
SALT_BYTES = 24
TAG_BYTES = 16
SEALED_BYTES_MIN = SALT_BYTES + TAG_BYTES

_NONCE = bytes(12)
"""Each message has a key of its own, so its nonce says nothing."""


def new_key() -> bytes:
    """Return a random key of 32 bytes."""
    return os.urandom(KEY_BYTES)


def derive(key: bytes, purpose: str) -> bytes:
    """Return the 32-byte key that belongs to a purpose, from which neither `key` nor another purpose's follows."""
    return blake3(key, derive_key_context=purpose).digest()


def seal(key: bytes, plaintext: bytes, context: bytes) -> bytes:
    """Encrypt a message so that it opens only under the same key and context."""
    salt = os.urandom(SALT_BYTES)
    return salt + AESGCM(_message_key(key, salt)).encrypt(_NONCE, plaintext, context)


def unseal(key: bytes, sealed: bytes, context: bytes) -> bytes:
    """Return the message of `seal`. Raises CorruptError for another key or context, or where a bit has changed."""
    salt, ciphertext = sealed[:SALT_BYTES], sealed[SALT_BYTES:]
    if len(sealed) >= SEALED_BYTES_MIN:
        try:
            return AESGCM(_message_key(key, salt)).decrypt(_NONCE, ciphertext, context)
        except InvalidTag:
            pass
    raise CorruptError(ErrorKind.CORRUPT_LAKE, "what was sealed has changed, or was sealed under another key")


def _message_key(key: bytes, salt: bytes) -> bytes:
    return blake3(key + salt, derive_key_context="hosu: key of one sealed message").digest()

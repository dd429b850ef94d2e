"""The encrypted container that bodies with secrets travel in, both ways.

The password is the caller's own secret key, so a body can be read by nobody who does not hold it, also without TLS.

    salt (32 bytes), algorithm (1), nonce prefix (8)       the header
    pieces of 16 KiB, each sealed with 16 bytes of tag     the last one shorter, or exactly full

A piece's nonce is the prefix and its number from 1 on, as 32 bits in little-endian order. Its associated data are a
flag, 0x80 for the last piece, and the tag of an empty text sealed under number 0. So no piece can be changed, moved,
repeated or left out, at the end either.
"""

import hashlib
import os
from typing import Protocol

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM, ChaCha20Poly1305

from hosu.kernel.errors import ErrorKind, InvalidInputError
from hosu.kernel.limits import KIB

SALT_BYTES = 32
PREFIX_BYTES = 8
HEADER_BYTES = SALT_BYTES + 1 + PREFIX_BYTES
PIECE_BYTES = 16 * KIB
TAG_BYTES = 16
KEY_BYTES = 32

ARGON2_AES, ARGON2_CHACHA, PBKDF2_AES = 0, 1, 2
"""Algorithms by their number in the header. Answers are sealed with the first, which every client knows."""

PBKDF2_ROUNDS = 8192

_ARGON2_MEMORY_KIB = 64 * KIB
_NOT_LAST, _LAST = b"\x00", b"\x80"


class _Cipher(Protocol):
    def encrypt(self, nonce: bytes, data: bytes, associated_data: bytes | None) -> bytes: ...
    def decrypt(self, nonce: bytes, data: bytes, associated_data: bytes | None) -> bytes: ...


def seal(plaintext: bytes, secret: str, *, algorithm: int = ARGON2_AES) -> bytes:
    """Put bytes into a container. Takes 64 MiB and tens of milliseconds: run it in a thread, few at a time."""
    salt, prefix = os.urandom(SALT_BYTES), os.urandom(PREFIX_BYTES)
    cipher = _cipher(algorithm, secret, salt)
    tag = _first_tag(cipher, prefix)
    pieces = [plaintext[start : start + PIECE_BYTES] for start in range(0, len(plaintext), PIECE_BYTES)] or [b""]
    sealed = [
        cipher.encrypt(_nonce(prefix, number), piece, (_LAST if number == len(pieces) else _NOT_LAST) + tag)
        for number, piece in enumerate(pieces, 1)
    ]
    return b"".join([salt, bytes([algorithm]), prefix, *sealed])


def unseal(container: bytes, secret: str) -> bytes:
    """Return what a container holds; a header alone holds nothing, as minio-py writes it. Costs as much as `seal`.

    Raises InvalidInputError for another secret, for bytes that were changed, moved or cut off, and for an algorithm
    that is not known. Nothing is returned before all of it is proven.
    """
    if len(container) < HEADER_BYTES:
        raise InvalidInputError(
            ErrorKind.INVALID_ARGUMENT,
            f"the body has {len(container)} bytes and is no encrypted container: its header alone has {HEADER_BYTES}",
        )
    algorithm = container[SALT_BYTES]
    prefix = container[SALT_BYTES + 1 : HEADER_BYTES]
    if algorithm not in {ARGON2_AES, ARGON2_CHACHA, PBKDF2_AES}:
        raise InvalidInputError(
            ErrorKind.INVALID_ARGUMENT, f"the body is encrypted with algorithm {algorithm}: use 0, 1 or 2"
        )
    sealed = container[HEADER_BYTES:]
    if not sealed:
        return b""
    cipher = _cipher(algorithm, secret, container[:SALT_BYTES])
    tag = _first_tag(cipher, prefix)
    step = PIECE_BYTES + TAG_BYTES
    starts = range(0, len(sealed), step)
    try:
        return b"".join(
            cipher.decrypt(
                _nonce(prefix, number),
                sealed[start : start + step],
                (_LAST if number == len(starts) else _NOT_LAST) + tag,
            )
            for number, start in enumerate(starts, 1)
        )
    except InvalidTag as error:
        raise InvalidInputError(
            ErrorKind.INVALID_ARGUMENT,
            "the body cannot be decrypted: it was changed or cut off, or encrypted with another secret than the one "
            "that signed the request",
        ) from error


def _nonce(prefix: bytes, number: int) -> bytes:
    return prefix + number.to_bytes(4, "little")


def _first_tag(cipher: _Cipher, prefix: bytes) -> bytes:
    return cipher.encrypt(_nonce(prefix, 0), b"", None)


def _cipher(algorithm: int, secret: str, salt: bytes) -> _Cipher:
    password = secret.encode()
    if algorithm == PBKDF2_AES:
        return AESGCM(hashlib.pbkdf2_hmac("sha256", password, salt, PBKDF2_ROUNDS, KEY_BYTES))
    from argon2.low_level import Type, hash_secret_raw  # noqa: PLC0415 - most processes never need it

    key = hash_secret_raw(
        password, salt, time_cost=1, memory_cost=_ARGON2_MEMORY_KIB, parallelism=4, hash_len=KEY_BYTES, type=Type.ID,
        version=19,
    )  # fmt: skip
    return ChaCha20Poly1305(key) if algorithm == ARGON2_CHACHA else AESGCM(key)

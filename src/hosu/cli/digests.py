"""Digests of content: what an ETag or a checksum header says about the bytes, checked against a file."""

import base64
import hashlib
import re
import zlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, BinaryIO, Protocol

from hosu.kernel.limits import MIB

_MD5_ETAG = re.compile(r"^[0-9a-f]{32}$")
_MULTIPART_ETAG = re.compile(r"^[0-9a-f]{32}-([1-9][0-9]{0,4})$")

READ_BYTES = MIB
"""Bytes hashed per step: enough to make the loop cheap, little enough to stay in cache."""


class Hasher(Protocol):
    """What all digests share."""

    def update(self, data: bytes, /) -> None:
        """Add bytes."""
        ...

    def digest(self) -> bytes:
        """Return the digest of the bytes so far."""
        ...


class _Crc:
    """A CRC as a hasher: `step` continues one value over more bytes."""

    def __init__(self, step: Callable[[bytes, int], int], width_bytes: int) -> None:
        self._step = step
        self._width_bytes = width_bytes
        self._value = 0

    def update(self, data: bytes, /) -> None:
        self._value = self._step(data, self._value)

    def digest(self) -> bytes:
        return self._value.to_bytes(self._width_bytes, "big")


def new_hasher(name: str) -> Hasher:
    """Return the hasher for an S3 checksum field (`ChecksumCRC32`, …) or for `MD5`."""
    if name == "MD5":
        return hashlib.md5(usedforsecurity=False)
    if name == "ChecksumSHA1":
        return hashlib.sha1(usedforsecurity=False)
    if name == "ChecksumSHA256":
        return hashlib.sha256()
    if name == "ChecksumCRC32":
        return _Crc(zlib.crc32, 4)
    from awscrt import checksums

    return _Crc(checksums.crc32c, 4) if name == "ChecksumCRC32C" else _Crc(checksums.crc64nvme, 8)


CHECKSUM_FIELDS = ("ChecksumCRC64NVME", "ChecksumCRC32C", "ChecksumCRC32", "ChecksumSHA256", "ChecksumSHA1")
"""The checksum fields of an S3 answer, cheapest to verify first."""


def expected_digest(answer: Mapping[str, Any]) -> tuple[str, bytes] | None:
    """Return (hasher name, digest) that the whole body of a GET or HEAD answer must have, None when it says nothing.

    An ETag is the MD5 only when the object was stored in one piece and not under a key of its own.
    """
    for field in CHECKSUM_FIELDS:
        value = answer.get(field)
        # "value-3" is a checksum of three parts' checksums, which says nothing about the whole.
        if value and "-" not in value and answer.get("ChecksumType", "FULL_OBJECT") == "FULL_OBJECT":
            return field, base64.b64decode(value)
    etag = str(answer.get("ETag", "")).strip('"').lower()
    if _MD5_ETAG.match(etag) and not _has_own_key(answer):
        return "MD5", bytes.fromhex(etag)
    return None


def _has_own_key(answer: Mapping[str, Any]) -> bool:
    return bool(answer.get("SSECustomerAlgorithm")) or str(answer.get("ServerSideEncryption", "")).startswith("aws:")


def parts_of_etag(etag: str) -> int:
    """Return how many parts a multipart ETag names, 0 for any other ETag."""
    match = _MULTIPART_ETAG.match(etag.strip('"').lower())
    return int(match.group(1)) if match else 0


def multipart_etag(digests: list[bytes]) -> str:
    """Return the ETag that S3 gives an object of parts with these MD5 digests."""
    whole = hashlib.md5(b"".join(digests), usedforsecurity=False).hexdigest()
    return f"{whole}-{len(digests)}"


def file_digest(file: BinaryIO, name: str, offset: int = 0, length: int | None = None) -> bytes:
    """Return the digest of a file, or of `length` bytes of it from `offset`; fewer when it ends before."""
    hasher = new_hasher(name)
    file.seek(offset)
    left = length
    while left is None or left > 0:
        piece = file.read(READ_BYTES if left is None else min(READ_BYTES, left))
        if not piece:
            break
        hasher.update(piece)
        if left is not None:
            left -= len(piece)
    return hasher.digest()


def file_has_etag(path: Path, etag: str, part_bytes: int) -> bool:
    """Say whether a file's content has this ETag, taking multipart ones as made of parts of `part_bytes`."""
    etag = etag.strip('"').lower()
    parts = parts_of_etag(etag)
    with path.open("rb") as file:
        if parts == 0:
            return file_digest(file, "MD5").hex() == etag
        digests = [file_digest(file, "MD5", number * part_bytes, part_bytes) for number in range(parts)]
    return multipart_etag(digests) == etag

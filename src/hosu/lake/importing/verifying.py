"""Proof that the bytes of a version are those its store promised: its ETag, or else its checksum."""

import base64
import hashlib
from typing import Protocol

from awscrt import checksums

from hosu.lake.importing.source import SourceError, SourceVersion
from hosu.objects.records import Checksum, ChecksumType


class Running(Protocol):
    """A checksum that is computed as bytes go by."""

    def update(self, data: bytes | memoryview, /) -> None:
        """Take the next bytes."""
        ...

    def digest(self) -> bytes:
        """Return the digest of what came so far."""
        ...


class _Crc:
    """A CRC as hashlib's objects are used."""

    def __init__(self, algorithm: str) -> None:
        names = {"CRC32": (checksums.crc32, 4), "CRC32C": (checksums.crc32c, 4), "CRC64NVME": (checksums.crc64nvme, 8)}
        self._function, self._size_bytes = names[algorithm]
        self._value = 0

    def update(self, data: bytes | memoryview, /) -> None:
        self._value = self._function(data, self._value)

    def digest(self) -> bytes:
        return int(self._value).to_bytes(self._size_bytes, "big")


def running(algorithm: str) -> Running:
    """Return the running checksum of one of S3's algorithms."""
    if algorithm in {"SHA1", "SHA256"}:
        return hashlib.new(algorithm.lower(), usedforsecurity=False)
    return _Crc(algorithm)


class PartDigests:
    """What a part's bytes came to: their MD5, taken by whoever stored them, and their own checksum."""

    def __init__(self, md5: str, checksum: bytes | None) -> None:
        self.md5 = md5
        self.checksum = checksum


def check_version(version: SourceVersion, parts: list[PartDigests], whole: bytes | None) -> None:
    """Compare what was read with what the store says; raises SourceError for bytes that are not those.

    `whole` is the checksum of the whole body, where the version has one of that kind. An ETag that the store says
    tells nothing of the bytes is kept as it is.
    """
    if version.checksum is not None:
        _check_checksum(version, version.checksum, parts, whole)
    found = _etag(version, parts)
    if found != version.etag and not version.has_opaque_etag:
        raise SourceError(f"its bytes have the ETag {found}, not {version.etag or 'none'}: they have changed")


def _etag(version: SourceVersion, parts: list[PartDigests]) -> str:
    if not version.is_in_parts:
        return parts[0].md5
    joined = b"".join(bytes.fromhex(part.md5) for part in parts)
    return f"{hashlib.md5(joined, usedforsecurity=False).hexdigest()}-{len(parts)}"


def _check_checksum(version: SourceVersion, said: Checksum, parts: list[PartDigests], whole: bytes | None) -> None:
    if said.type == ChecksumType.COMPOSITE:
        of_parts = running(said.algorithm)
        for part in parts:
            of_parts.update(part.checksum or b"")
        found = f"{_base64(of_parts.digest())}-{len(parts)}"
    else:
        found = _base64(whole or b"")
    if found != said.value:
        raise SourceError(f"its bytes have the {said.algorithm} {found}, not {said.value}: they have changed")
    for expected, part in zip(version.parts, parts, strict=False):
        if expected.checksum_value not in {None, _base64(part.checksum or b"")}:
            raise SourceError(f"part {expected.number} does not match its {said.algorithm}: its bytes have changed")


def _base64(raw: bytes) -> str:
    return base64.b64encode(raw).decode()

"""Checksums of objects: those S3 knows, what requests say about them, and how parts combine."""

import binascii
import hashlib
import zlib
from base64 import b64decode, b64encode
from collections.abc import Callable, Mapping, Sequence
from enum import Enum
from typing import NamedTuple, NoReturn, Protocol

from hosu.objects.records import ChecksumType
from hosu.server.s3.request_errors import S3RequestError

Buffer = bytes | bytearray | memoryview


class ChecksumAlgorithm(Enum):
    """The algorithms of S3's checksums, named as in its API."""

    CRC32 = "CRC32"
    CRC32C = "CRC32C"
    CRC64NVME = "CRC64NVME"
    SHA1 = "SHA1"
    SHA256 = "SHA256"

    @property
    def header(self) -> str:
        """The header, trailer or form field that carries it, in lower case."""
        return f"x-amz-checksum-{self.value.lower()}"

    @property
    def digest_bytes(self) -> int:
        """Length of a digest."""
        return _DIGEST_BYTES[self]


_DIGEST_BYTES = {
    ChecksumAlgorithm.CRC32: 4,
    ChecksumAlgorithm.CRC32C: 4,
    ChecksumAlgorithm.CRC64NVME: 8,
    ChecksumAlgorithm.SHA1: 20,
    ChecksumAlgorithm.SHA256: 32,
}
_BY_HEADER = {algorithm.header.encode(): algorithm for algorithm in ChecksumAlgorithm}
_CRC_ALGORITHMS = frozenset({ChecksumAlgorithm.CRC32, ChecksumAlgorithm.CRC32C, ChecksumAlgorithm.CRC64NVME})
_MULTIPART_TYPES: dict[ChecksumAlgorithm, tuple[ChecksumType, ...]] = {
    ChecksumAlgorithm.CRC32: (ChecksumType.COMPOSITE, ChecksumType.FULL_OBJECT),
    ChecksumAlgorithm.CRC32C: (ChecksumType.COMPOSITE, ChecksumType.FULL_OBJECT),
    ChecksumAlgorithm.CRC64NVME: (ChecksumType.FULL_OBJECT,),
    ChecksumAlgorithm.SHA1: (ChecksumType.COMPOSITE,),
    ChecksumAlgorithm.SHA256: (ChecksumType.COMPOSITE,),
}
"""The types each algorithm allows, the default first."""

_NOT_DIGESTS = frozenset({b"x-amz-checksum-algorithm", b"x-amz-checksum-mode", b"x-amz-checksum-type"})
_MD5_BYTES = 16
_PART_COUNT_DIGITS_MAX = 5


def _crc(algorithm: ChecksumAlgorithm) -> Callable[[Buffer, int], int]:
    """Return the function of a CRC; awscrt is loaded by the first client that uses what only it computes."""
    if algorithm is ChecksumAlgorithm.CRC32:
        return zlib.crc32
    from awscrt import checksums as crt  # noqa: PLC0415 - 6 MiB and 40 ms that most servers never need

    return crt.crc32c if algorithm is ChecksumAlgorithm.CRC32C else crt.crc64nvme  # type: ignore[no-any-return]


def _combine(algorithm: ChecksumAlgorithm) -> Callable[[int, int, int], int]:
    """Return the function that joins the CRCs of neighbours."""
    from awscrt import checksums as crt  # noqa: PLC0415 - as above

    functions: dict[ChecksumAlgorithm, Callable[[int, int, int], int]] = {
        ChecksumAlgorithm.CRC32: crt.combine_crc32,
        ChecksumAlgorithm.CRC32C: crt.combine_crc32c,
        ChecksumAlgorithm.CRC64NVME: crt.combine_crc64nvme,
    }
    assert algorithm in functions, f"{algorithm.value} of a whole cannot be had from its parts"
    return functions[algorithm]


class Checksum(Protocol):
    """A digest computed as bytes arrive."""

    algorithm: ChecksumAlgorithm

    def update(self, data: Buffer) -> None:
        """Take the next bytes."""
        ...

    def digest(self) -> bytes:
        """Return the digest of what came so far."""
        ...

    def base64(self) -> str:
        """Return the digest as S3 spells it."""
        ...


class _CrcChecksum:
    __slots__ = ("_crc", "_value", "algorithm")

    def __init__(self, algorithm: ChecksumAlgorithm) -> None:
        self.algorithm = algorithm
        self._crc = _crc(algorithm)
        self._value = 0

    def update(self, data: Buffer) -> None:
        self._value = self._crc(data, self._value)

    def digest(self) -> bytes:
        return self._value.to_bytes(_DIGEST_BYTES[self.algorithm], "big")

    def base64(self) -> str:
        return b64encode(self.digest()).decode()


class _ShaChecksum:
    __slots__ = ("_hash", "algorithm")

    def __init__(self, algorithm: ChecksumAlgorithm) -> None:
        self.algorithm = algorithm
        self._hash = hashlib.new(algorithm.value.lower(), usedforsecurity=False)

    def update(self, data: Buffer) -> None:
        self._hash.update(data)

    def digest(self) -> bytes:
        return self._hash.digest()

    def base64(self) -> str:
        return b64encode(self._hash.digest()).decode()


def new_checksum(algorithm: ChecksumAlgorithm) -> Checksum:
    """Return a checksum of nothing yet."""
    return _CrcChecksum(algorithm) if algorithm in _CRC_ALGORITHMS else _ShaChecksum(algorithm)


def checksum_base64(algorithm: ChecksumAlgorithm, data: Buffer) -> str:
    """Return the checksum of data as S3 spells it."""
    checksum = new_checksum(algorithm)
    checksum.update(data)
    return checksum.base64()


class ChecksumRequest(NamedTuple):
    """What a request says about its body's checksum."""

    algorithm: ChecksumAlgorithm
    expected: str | None
    """Base64 of what the body must have; None when a trailer brings it, or the server is to compute one."""
    in_trailer: bool


def requested_checksum(headers: Mapping[bytes, bytes]) -> ChecksumRequest | None:
    """Read the checksum headers of an upload (lower-case names); None when there are none.

    Raises S3RequestError InvalidRequest when they are malformed or contradict each other.
    """
    found = [(_BY_HEADER[name], value) for name, value in headers.items() if name in _BY_HEADER]
    unknown = [name for name in headers if name.startswith(b"x-amz-checksum-") and name not in _BY_HEADER]
    if any(name not in _NOT_DIGESTS for name in unknown):
        _refuse("The algorithm type you specified in x-amz-checksum- header is invalid.")
    trailed = [name for name in _list(headers.get(b"x-amz-trailer")) if name.startswith("x-amz-checksum-")]
    if len(found) + len(trailed) > 1:
        _refuse("Expecting a single x-amz-checksum- header. Multiple checksum Types are not allowed.")
    named = headers.get(b"x-amz-sdk-checksum-algorithm")
    wanted = None if named is None else parse_algorithm(named.decode("latin-1"))
    if found:
        algorithm, value = found[0]
        _check_agreement(wanted, algorithm)
        return ChecksumRequest(algorithm, parse_value(algorithm, value.decode("latin-1")), in_trailer=False)
    if trailed:
        trailed_algorithm = _BY_HEADER.get(trailed[0].encode())
        if trailed_algorithm is None:
            _refuse("The value specified in the x-amz-trailer header is not supported")
        _check_agreement(wanted, trailed_algorithm)
        return ChecksumRequest(trailed_algorithm, None, in_trailer=True)
    return None if wanted is None else ChecksumRequest(wanted, None, in_trailer=False)


def parse_algorithm(name: str) -> ChecksumAlgorithm:
    """Return the algorithm called name, in any case; InvalidRequest for others."""
    try:
        return ChecksumAlgorithm(name.strip().upper())
    except ValueError:
        _refuse(
            "Checksum algorithm provided is unsupported. Please try again with any of the valid types: "
            f"[{', '.join(algorithm.value for algorithm in ChecksumAlgorithm)}]"
        )


def parse_value(algorithm: ChecksumAlgorithm, value: str) -> str:
    """Return value, which must be base64 of a digest of the algorithm's length; InvalidRequest otherwise."""
    if decode_digest(algorithm, value) is None:
        _refuse(f"Value for {algorithm.header} header is invalid.")
    return value


def decode_digest(algorithm: ChecksumAlgorithm, value: str) -> bytes | None:
    """Return the digest that value spells in base64, None when it spells none of the right length."""
    digest = _strict_base64(value.encode("utf-8", "replace"))
    return digest if digest is not None and len(digest) == _DIGEST_BYTES[algorithm] else None


def parse_content_md5(headers: Mapping[bytes, bytes]) -> bytes | None:
    """Return the 16 bytes that Content-MD5 says the body's MD5 is, None without that header; raises InvalidDigest."""
    value = headers.get(b"content-md5")
    if value is None:
        return None
    digest = _strict_base64(value)
    if digest is None or len(digest) != _MD5_BYTES:
        raise S3RequestError("InvalidDigest", "The Content-MD5 you specified is not valid.")
    return digest


def check_content_md5(expected: bytes | None, computed: bytes) -> None:
    """Raise BadDigest when a Content-MD5 was given and the body's MD5 is another."""
    if expected is not None and expected != computed:
        raise S3RequestError(
            "BadDigest",
            "The Content-MD5 you specified did not match what we received.",
            expected_digest=b64encode(expected).decode(),
            calculated_digest=b64encode(computed).decode(),
        )


def check_checksum(algorithm: ChecksumAlgorithm, expected: str, computed: str) -> None:
    """Raise BadDigest when the checksum a client expects is not what was computed, both in base64."""
    if expected != computed:
        raise S3RequestError(
            "BadDigest",
            f"The {algorithm.value} you specified did not match the calculated checksum.",
            expected_digest=expected,
            calculated_digest=computed,
        )


def multipart_type(algorithm: ChecksumAlgorithm, requested: str | None) -> ChecksumType:
    """Return the type of a multipart object's checksum: `requested` if the algorithm allows it, else its default.

    Raises InvalidRequest.
    """
    allowed = {checksum_type.value: checksum_type for checksum_type in _MULTIPART_TYPES[algorithm]}
    if requested is None:
        return _MULTIPART_TYPES[algorithm][0]
    if requested.strip().upper() not in allowed:
        _refuse(
            f"The {requested} checksum type cannot be used with the {algorithm.value.lower()} checksum algorithm; "
            f"it allows {' and '.join(allowed)}."
        )
    return allowed[requested.strip().upper()]


def composite(algorithm: ChecksumAlgorithm, part_digests: Sequence[bytes]) -> str:
    """Return the checksum of the parts' digests in order, as "BASE64-PARTS"."""
    return f"{checksum_base64(algorithm, b''.join(part_digests))}-{len(part_digests)}"


def parse_composite(algorithm: ChecksumAlgorithm, value: str) -> tuple[str, int | None]:
    """Split "BASE64-PARTS" or "BASE64", as clients send either; InvalidRequest when it is neither."""
    encoded, dash, count = value.partition("-")
    if dash and (not (count.isascii() and count.isdigit()) or len(count) > _PART_COUNT_DIGITS_MAX):
        _refuse(f"Value for {algorithm.header} header is invalid.")
    return parse_value(algorithm, encoded), int(count) if dash else None


def combine_full(algorithm: ChecksumAlgorithm, parts: Sequence[tuple[bytes, int]]) -> str:
    """Return the base64 checksum of parts put together, each given as (digest, size in bytes); CRCs only."""
    combine, value = _combine(algorithm), 0
    for digest, size_bytes in parts:
        value = combine(value, int.from_bytes(digest, "big"), size_bytes)
    return b64encode(value.to_bytes(_DIGEST_BYTES[algorithm], "big")).decode()


def _strict_base64(value: bytes) -> bytes | None:
    try:
        return b64decode(value, validate=True)
    except (binascii.Error, ValueError):
        return None


def _list(value: bytes | None) -> list[str]:
    return [] if value is None else [name.strip() for name in value.decode("latin-1").lower().split(",")]


def _check_agreement(wanted: ChecksumAlgorithm | None, brought: ChecksumAlgorithm) -> None:
    if wanted is not None and wanted is not brought:
        _refuse("Value for x-amz-sdk-checksum-algorithm header is invalid.")


def _refuse(message: str) -> NoReturn:
    raise S3RequestError("InvalidRequest", message)

"""The file `xl.meta`, in which MinIO keeps all versions of a key: read, never written.

    XL2␠, major and minor version as 16 bits each (little-endian), then by minor version
      0   MessagePack: a map with the list `Versions`
      1   the same inside a byte string, then inline data
      2   a byte string, the low 32 bits of its XXH64, then inline data
      3   as 2, but the string holds: version of the headers, version of the entries, their count, and for each
          version a byte string with its header (id, time in ns, signature, type, flags …) and one with its entry

Inline data begin with a byte 1; a map of version id to bytes follows. All bodies, inline and in files, are blocks of
the erasure coding's block size, each after 32 bytes of a checksum.
"""

import base64
import uuid
from collections.abc import Mapping
from datetime import datetime
from typing import Any
from urllib.parse import parse_qsl

import msgpack
import msgspec
import xxhash

from hosu.lake.importing.source import SourceError, SourcePart, SourceVersion
from hosu.objects.records import (
    NULL_VERSION,
    STANDARD,
    Attributes,
    Checksum,
    ChecksumType,
    LockMode,
    ObjectLock,
)

MAGIC = b"XL2 "
HEADER_BYTES = 8
MAJOR, MINOR_MAX = 1, 3
MINOR_INDEXED, MINOR_CHECKED = 3, 2
HEADERS_MAX = 3
PARTS_MAX = 10_000
VERSIONS_MAX = 1_000_000
"""More in one file are a sign of damage, not of use."""

OBJECT, MARKER, LEGACY = 1, 2, 3
FREE_VERSION_FLAG = 1
"""Of entries that only remember what is still to be removed elsewhere."""

HIGHWAY_HASH = 1
BLOCK_HASH_BYTES = 32
NULL_ID = bytes(16)

HEADERS = frozenset(
    {
        "cache-control",
        "content-disposition",
        "content-encoding",
        "content-language",
        "content-type",
        "expires",
        "x-amz-website-redirect-location",
    }
)
META_PREFIX = "x-amz-meta-"
SEALED_PREFIX = "x-minio-internal-server-side-encryption-"
COMPRESSION = "x-minio-internal-compression"
CHECKSUM = "x-minio-internal-crc"
TRANSITION_PREFIX = "x-minio-internal-transition"
FREE_VERSION = "x-minio-internal-free-version"
SSE_C = "x-amz-server-side-encryption-customer-algorithm"

_CHECKSUM_ALGORITHMS = {2: ("SHA256", 32), 4: ("SHA1", 20), 8: ("CRC32", 4), 16: ("CRC32C", 4), 256: ("CRC64NVME", 8)}
"""By their bit in front of a stored checksum: name, and size in bytes."""

_IN_PARTS_BIT, _WITH_PARTS_BIT, _FULL_OBJECT_BIT = 64, 128, 512
UNPACKED_BYTES_MAX = 256 * 1024 * 1024
"""Largest `xl.meta` that is read: inline data of many versions add up, but not to this."""


_UNREADABLE = (
    ValueError,
    TypeError,
    KeyError,
    IndexError,
    AttributeError,
    OverflowError,
    MemoryError,
    msgpack.UnpackException,
)
"""What values raise that are of another kind, or larger, than those that MinIO writes."""


class Place(msgspec.Struct, frozen=True):
    """Where the bytes of a version are: `inline`, each block after its checksum, or the files of `data_dir`."""

    data_dir: str
    block_bytes: int
    inline: bytes | None = None


def parse_xlmeta(raw: bytes) -> tuple[SourceVersion, ...]:
    """Return the versions of a key, the oldest first; raises SourceError where the file cannot be trusted."""
    if raw[:4] != MAGIC:
        raise SourceError("xl.meta does not begin as one does")
    if len(raw) < HEADER_BYTES:
        raise SourceError(f"xl.meta ends after {len(raw)} bytes")
    major, minor = int.from_bytes(raw[4:6], "little"), int.from_bytes(raw[6:8], "little")
    if major != MAJOR or minor > MINOR_MAX:
        raise SourceError(f"xl.meta has version {major}.{minor}: this hosu reads {MAJOR}.0 to {MAJOR}.{MINOR_MAX}")
    try:
        entries, inline = _entries(raw[HEADER_BYTES:], minor)
        versions = [version for entry in entries if (version := _version(entry, inline)) is not None]
    except SourceError:
        raise
    except _UNREADABLE as error:
        raise SourceError(f"xl.meta cannot be read: {type(error).__name__}: {error}") from error
    versions.reverse()
    versions.sort(key=lambda version: version.modified_ms)  # the newest stands first only in files of newer servers
    return tuple(versions)


def _unpacker(raw: bytes) -> Any:  # noqa: ANN401 - the library has no types
    """Return what unpacks raw: no list or map in it can have more members than it has bytes, whatever it claims."""
    found = msgpack.Unpacker(
        raw=False, unicode_errors="surrogateescape", strict_map_key=False, max_buffer_size=max(1, len(raw))
    )
    found.feed(raw)
    return found


def _entries(raw: bytes, minor: int) -> tuple[list[Mapping[str, Any]], Mapping[str, bytes]]:
    """Return the entries of all versions that count, and inline data by version id."""
    outer = _unpacker(raw)
    if minor == 0:
        return list(outer.unpack()["Versions"]), {}
    body = outer.unpack()
    if not isinstance(body, bytes):
        raise SourceError("xl.meta holds something else where its versions should stand")
    if minor >= MINOR_CHECKED and outer.unpack() != xxhash.xxh64_intdigest(body) & 0xFFFFFFFF:
        raise SourceError("xl.meta does not match its checksum: its bytes have changed")
    inline = _inline(raw[outer.tell() :])
    if minor < MINOR_INDEXED:
        return list(_unpacker(body).unpack()["Versions"]), inline
    inner = _unpacker(body)
    headers_version, _, count = inner.unpack(), inner.unpack(), inner.unpack()
    if headers_version > HEADERS_MAX:
        raise SourceError(f"xl.meta has headers of version {headers_version}: this hosu reads up to {HEADERS_MAX}")
    if not 0 <= count <= VERSIONS_MAX:
        raise SourceError(f"xl.meta says it holds {count} versions")
    entries = []
    for _ in range(count):
        header, entry = _unpacker(inner.unpack()).unpack(), inner.unpack()
        if not header[4] & FREE_VERSION_FLAG:
            entries.append(_unpacker(entry).unpack())
    return entries, inline


def _inline(raw: bytes) -> Mapping[str, bytes]:
    """Return inline data by version id. They have no checksum of their own but those in front of each block."""
    if not raw:
        return {}
    if raw[0] != 1:
        raise SourceError(f"the inline data of xl.meta have version {raw[0]}: this hosu reads 1")
    found = _unpacker(raw[1:]).unpack()
    if not isinstance(found, dict):
        raise SourceError("the inline data of xl.meta are none")
    return found


def _version(entry: Mapping[str, Any], inline: Mapping[str, bytes]) -> SourceVersion | None:
    """Return one version; None for what is none."""
    kind = entry["Type"]
    if kind == MARKER:
        marker = entry["DelObj"]
        if any(name.lower() == FREE_VERSION for name in marker.get("MetaSys") or {}):
            return None
        return SourceVersion(version_id=_id(marker["ID"]), modified_ms=_time_ms(marker["MTime"]), is_marker=True)
    if kind == LEGACY:
        stat = (entry.get("V1Obj") or {}).get("stat") or {}
        return SourceVersion(
            version_id=NULL_VERSION,
            modified_ms=0,
            size_bytes=int(stat.get("size") or 0),
            problem="it was written before MinIO had xl.meta: copy it onto itself with MinIO, or import from its URL",
        )
    if kind != OBJECT:
        return SourceVersion(version_id="?", modified_ms=0, problem=f"it is of type {kind}, which hosu does not know")
    return _object(entry["V2Obj"], inline)


def _object(found: Mapping[str, Any], inline: Mapping[str, bytes]) -> SourceVersion:
    system = {name.lower(): _bytes(value) for name, value in (found.get("MetaSys") or {}).items()}
    user = {name.lower(): value for name, value in (found.get("MetaUsr") or {}).items()}
    etag = _text(user.pop("etag", "")).strip('"')
    version_id, data_dir = _id(found["ID"]), str(uuid.UUID(bytes=found["DDir"]))
    numbers, sizes = list(found["PartNums"] or []), list(found["PartSizes"] or [])
    if len(numbers) != len(sizes) or sum(sizes) != found["Size"] or not _are_parts(numbers, sizes):
        raise SourceError(f"version {version_id}: its parts do not make its size of {found['Size']} bytes")
    problem = _problem(found, system, user)
    checksum: Checksum | None = None
    part_values: list[str | None] = [None] * len(numbers)
    if not problem and CHECKSUM in system:
        checksum, part_values = parse_checksum(system[CHECKSUM], len(numbers))
    parts = [SourcePart(number, size, value) for number, size, value in zip(numbers, sizes, part_values, strict=True)]
    return SourceVersion(
        version_id=version_id,
        modified_ms=_time_ms(found["MTime"]),
        size_bytes=found["Size"],
        etag=etag,
        storage_class=_text(user.get("x-amz-storage-class") or STANDARD),
        attributes=_attributes(user),
        checksum=checksum,
        parts=tuple(parts),
        place=Place(data_dir, found["EcBSize"], inline.get(version_id, inline.get(data_dir))),
        problem=problem,
    )


def _are_parts(numbers: list[Any], sizes: list[Any]) -> bool:
    """Whether parts are what uploads make: a number is the name of a file, and nothing else may become one."""
    are_numbers = all(type(value) is int for value in (*numbers, *sizes))
    return (
        are_numbers
        and numbers == sorted(set(numbers))
        and all(0 < number <= PARTS_MAX for number in numbers)
        and all(size_bytes >= 0 for size_bytes in sizes)
    )


def _time_ms(time_ns: Any) -> int:  # noqa: ANN401 - whatever stands there
    if type(time_ns) is not int:
        raise TypeError("a time is no number")
    return time_ns // 1_000_000


def _problem(found: Mapping[str, Any], system: Mapping[str, bytes], user: Mapping[str, str]) -> str:
    """Say why the bytes of a version cannot be had from its files; empty where they can."""
    if any(name.startswith(SEALED_PREFIX) for name in system) or SSE_C in user:
        return "it is encrypted (SSE), and its key is not in the folder: import it from MinIO's URL"
    if COMPRESSION in system:
        method = system[COMPRESSION].decode("ascii", "replace")
        return f"it is compressed ({method}): import it from MinIO's URL"
    if any(name.startswith(TRANSITION_PREFIX) for name in system):
        return "its bytes were moved to another tier: restore it in MinIO, or import it from MinIO's URL"
    if (found["EcM"], found["EcN"]) != (1, 0):
        return f"it is spread over {found['EcM'] + found['EcN']} drives: import it from MinIO's URL"
    if found["CSumAlgo"] != HIGHWAY_HASH:
        return f"its blocks have checksums of kind {found['CSumAlgo']}, which hosu does not know"
    return ""


def _attributes(user: Mapping[str, str]) -> Attributes:
    """Return what a client attached; what was not UTF-8 is kept as Latin-1, byte for byte."""
    headers: dict[str, str] = {}
    metadata: dict[str, str] = {}
    latin_1: list[str] = []
    for name, value in user.items():
        shown = _text(value)
        if name in HEADERS:
            headers[name] = shown
        elif name.startswith(META_PREFIX):
            metadata[_text(name[len(META_PREFIX) :])] = shown
        else:
            continue
        if not _is_utf_8(value):
            latin_1.append(_text(name))
    tags = dict(parse_qsl(_text(user.get("x-amz-tagging", "")), keep_blank_values=True))
    return Attributes(headers, metadata, tags, tuple(latin_1), lock=_lock(user))


def _lock(user: Mapping[str, str]) -> ObjectLock | None:
    mode, until = user.get("x-amz-object-lock-mode"), user.get("x-amz-object-lock-retain-until-date")
    hold = user.get("x-amz-object-lock-legal-hold", "")
    if not mode and not hold:
        return None
    until_ms = round(datetime.fromisoformat(until).timestamp() * 1000) if mode and until else 0
    return ObjectLock(LockMode(mode.upper()) if until_ms and mode else None, until_ms, hold.upper())


def parse_checksum(raw: bytes, part_count: int) -> tuple[Checksum, list[str | None]]:
    """Return a stored checksum, and those of its parts where they stand behind it.

    A number of 7 bits a byte says which, then come the raw bytes; for parts another such number and theirs.
    """
    kind, rest = _varint(raw)
    found = next((named for bit, named in _CHECKSUM_ALGORITHMS.items() if kind & bit), None)
    if found is None:
        raise SourceError(f"its checksum is of kind {kind}, which hosu does not know")
    algorithm, size_bytes = found
    value, rest = base64.b64encode(rest[:size_bytes]).decode(), rest[size_bytes:]
    if not kind & _IN_PARTS_BIT:
        return Checksum(algorithm, ChecksumType.FULL_OBJECT, value), [None] * part_count
    values: list[str | None] = [None] * part_count
    if kind & _WITH_PARTS_BIT:
        count, rest = _varint(rest)
        if count == part_count and len(rest) >= count * size_bytes:
            cut = (rest[start : start + size_bytes] for start in range(0, count * size_bytes, size_bytes))
            values = [base64.b64encode(piece).decode() for piece in cut]
    if kind & _FULL_OBJECT_BIT:
        return Checksum(algorithm, ChecksumType.FULL_OBJECT, value), values
    return Checksum(algorithm, ChecksumType.COMPOSITE, f"{value}-{part_count}"), values


def _varint(raw: bytes) -> tuple[int, bytes]:
    number = 0
    for place, byte in enumerate(raw[:10]):
        number |= (byte & 0x7F) << (7 * place)
        if byte < 0x80:  # noqa: PLR2004 - the bit that says that more follows
            return number, raw[place + 1 :]
    raise SourceError("its checksum cannot be read")


def _id(raw: bytes) -> str:
    return NULL_VERSION if raw == NULL_ID else str(uuid.UUID(bytes=raw))


def _bytes(value: bytes | str) -> bytes:
    return value if isinstance(value, bytes) else value.encode("utf-8", "surrogateescape")


def _is_utf_8(value: str) -> bool:
    return not any("\udc80" <= character <= "\udcff" for character in value)


def _text(value: str) -> str:
    return value if _is_utf_8(value) else value.encode("utf-8", "surrogateescape").decode("latin-1")

"""Folders of a MinIO with one drive: those that a real one wrote, and ones made here for what it no longer writes.

The checksums in front of blocks are zeros in those made here: the reader goes by ETags.
"""

import hashlib
import json
import os
import tarfile
import uuid
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgpack
import xxhash

DATA = Path(__file__).parents[1] / "data"
ROOT = "fixtureroot"
"""Root of the real servers that wrote the drives in `tests/data`; part of no secret."""

BLOCK_BYTES = 1024 * 1024
INLINE_BYTES_MAX = 128 * 1024
NULL_ID = bytes(16)
DEPLOYMENT = "00000000-0000-4000-8000-000000000001"


def unpack_drive(target: Path, kind: str = "main") -> Path:
    """Unpack a drive that a real MinIO wrote: `main`, or `sealed` with what a folder alone cannot give."""
    name = "minio-drive.tar.xz" if kind == "main" else "minio-drive-sealed.tar.xz"
    with tarfile.open(DATA / name) as archive:
        archive.extractall(target, filter="data")
    return target / kind


@dataclass
class DriveVersion:
    """A version to be written. Several `parts` make an ETag of parts; `body` None is a delete marker."""

    body: bytes | None = b""
    parts: tuple[bytes, ...] = ()
    version_id: bytes = NULL_ID
    modified_ns: int = 1_700_000_000_000_000_000
    user: Mapping[str, str] = field(default_factory=dict)
    system: Mapping[str, bytes] = field(default_factory=dict)
    changes: Mapping[str, Any] = field(default_factory=dict)
    """Fields of the entry that differ from what MinIO would write."""


def make_drive(path: Path, sets: Any = None, kind: str = "xl-single") -> Path:
    """Make an empty drive."""
    system = path / ".minio.sys"
    system.mkdir(parents=True)
    drives = [["d1"]] if sets is None else sets
    document = {"version": "1", "format": kind, "id": DEPLOYMENT, "xl": {"version": "3", "this": "d1", "sets": drives}}
    (system / "format.json").write_text(json.dumps(document))
    return path


def make_bucket(drive: Path, name: str, **documents: bytes) -> Path:
    """Make a bucket with what is set on it, by MinIO's names."""
    body = b"\x01\x00\x01\x00" + msgpack.packb({"Name": name, "LockEnabled": False, **documents})
    write_key(drive / ".minio.sys" / "buckets" / name, ".metadata.bin", [DriveVersion(body)])
    (drive / name).mkdir(exist_ok=True)
    return drive / name


def write_key(bucket: Path, key: str, versions: Iterable[DriveVersion], minor: int = 3) -> Path:
    """Write a key's versions, the oldest first, as `xl.meta` of a minor version with its parts; return its folder."""
    folder = bucket / (key[:-1] + "__XLDIR__" if key.endswith("/") else key)
    folder.mkdir(parents=True)
    entries, inline = [], {}
    for version in reversed(list(versions)):
        entry, own = _entry(folder, version, can_inline=minor > 0)
        entries.append((version, entry))
        if own is not None:
            inline["null" if version.version_id == NULL_ID else str(uuid.UUID(bytes=version.version_id))] = own
    (folder / "xl.meta").write_bytes(render(entries, inline, minor))
    return folder


def render(entries: list[tuple[DriveVersion, dict[str, Any]]], inline: Mapping[str, bytes], minor: int) -> bytes:
    """Render `xl.meta`; entries stand newest first."""
    head = b"XL2 \x01\x00" + minor.to_bytes(2, "little")
    listed = {"Versions": [entry for _, entry in entries]}
    if minor == 0:
        return head + _pack(listed)
    body = _pack(listed)
    if minor == 3:
        body = _pack(3) + _pack(2) + _pack(len(entries))
        for version, entry in entries:
            header = [version.version_id, version.modified_ns, b"sign", entry["Type"], 0, 0, 1]
            body += _pack(_pack(header)) + _pack(_pack(entry))
    checked = b"" if minor == 1 else b"\xce" + (xxhash.xxh64_intdigest(body) & 0xFFFFFFFF).to_bytes(4, "big")
    return head + _pack(body) + checked + (b"\x01" + _pack(dict(inline)) if inline else b"")


def _entry(folder: Path, version: DriveVersion, *, can_inline: bool) -> tuple[dict[str, Any], bytes | None]:
    if version.body is None and not version.parts:
        marker = {"ID": version.version_id, "MTime": version.modified_ns, "MetaSys": {}}
        return {"Type": 2, "DelObj": marker, "v": 0}, None
    bodies = version.parts or (version.body or b"",)
    size_bytes, data_dir = sum(map(len, bodies)), uuid.UUID(bytes=os.urandom(16))
    is_inline = can_inline and not version.parts and size_bytes <= INLINE_BYTES_MAX
    if not is_inline:
        place = folder / str(data_dir)
        place.mkdir()
        for number, body in enumerate(bodies, 1):
            (place / f"part.{number}").write_bytes(in_blocks(body))
    digests = [hashlib.md5(body, usedforsecurity=False) for body in bodies]
    etag = digests[0].hexdigest()
    if version.parts:
        joined = b"".join(digest.digest() for digest in digests)
        etag = f"{hashlib.md5(joined, usedforsecurity=False).hexdigest()}-{len(bodies)}"
    entry = {
        "ID": version.version_id,
        "DDir": data_dir.bytes,
        "EcAlgo": 1,
        "EcM": 1,
        "EcN": 0,
        "EcBSize": BLOCK_BYTES,
        "EcIndex": 1,
        "EcDist": [1],
        "CSumAlgo": 1,
        "PartNums": list(range(1, len(bodies) + 1)),
        "PartETags": None,
        "PartSizes": [len(body) for body in bodies],
        "PartASizes": [len(body) for body in bodies],
        "Size": size_bytes,
        "MTime": version.modified_ns,
        "MetaSys": dict(version.system),
        "MetaUsr": {"etag": etag, **version.user},
        **version.changes,
    }
    return {"Type": 1, "V2Obj": entry, "v": 0}, in_blocks(bodies[0]) if is_inline else None


def in_blocks(body: bytes) -> bytes:
    """Return a body as it lies on the drive: each block after its checksum."""
    starts = range(0, len(body), BLOCK_BYTES)
    return b"".join(bytes(32) + body[start : start + BLOCK_BYTES] for start in starts)


def _pack(value: Any) -> bytes:
    packed: bytes = msgpack.packb(value, use_bin_type=True, unicode_errors="surrogateescape")
    return packed


def snapshot(folder: Path) -> dict[str, tuple[int, int, int, bytes]]:
    """Return everything that reading must leave as it is: kind, size, times and bytes of every file and folder."""
    found = {}
    for path in [folder, *sorted(folder.rglob("*"))]:
        facts = path.lstat()
        body = path.read_bytes() if path.is_file() else b""
        found[str(path.relative_to(folder))] = (facts.st_mode, facts.st_mtime_ns, facts.st_ctime_ns, body)
    return found

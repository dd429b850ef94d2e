"""`xl.meta` of every version, as a real MinIO writes it and as older ones did."""

import tracemalloc
import uuid
from pathlib import Path
from typing import Any

import pytest
from tests.support.minio_drive import DriveVersion, unpack_drive, write_key

from hosu.lake.importing.source import SourceError, SourceVersion
from hosu.lake.importing.xlmeta import parse_checksum, parse_xlmeta
from hosu.objects.records import Attributes, Checksum, LockMode, ObjectLock

DAY_NS = 86_400_000_000_000
ID = uuid.UUID("3d1ac0de-0000-4000-8000-000000000001")


def parsed(folder: Path) -> tuple[SourceVersion, ...]:
    return parse_xlmeta((folder / "xl.meta").read_bytes())


def written(tmp_path: Path, minor: int = 3, **facts: Any) -> SourceVersion:
    (version,) = parsed(write_key(tmp_path, f"k{minor}", [DriveVersion(**facts)], minor))
    return version


@pytest.fixture(scope="module")
def drive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return unpack_drive(tmp_path_factory.mktemp("drive"))


def test_a_real_servers_versions_are_read(drive: Path) -> None:
    (hello,) = parsed(drive / "plain" / "hello.txt")
    assert (hello.version_id, hello.size_bytes, hello.etag) == ("null", 12, "bfa3fc7d5c25114682e0235987c6fb59")
    assert hello.attributes == Attributes(
        {"cache-control": "max-age=60", "content-language": "ko", "content-type": "text/plain"},
        {"camera": "door-1", "note": "plain"},
        {"kind": "greeting", "lang": "en uk"},
    )
    (large,) = parsed(drive / "plain" / "large-2m.bin")
    assert large.storage_class == "REDUCED_REDUNDANCY"
    oldest, marker, newest = parsed(drive / "versioned" / "back")
    assert [it.is_marker for it in (oldest, marker, newest)] == [False, True, False]
    assert oldest.modified_ms < marker.modified_ms < newest.modified_ms


def test_a_real_servers_checksums_and_parts_are_read(drive: Path) -> None:
    (checked,) = parsed(drive / "plain" / "parts" / "checked.bin")
    assert checked.checksum == Checksum("CRC32C", "COMPOSITE", "qq32Lw==-2")
    assert [(part.number, part.checksum_value) for part in checked.parts] == [(1, "TsQI+g=="), (2, "L5LTzQ==")]
    (three,) = parsed(drive / "plain" / "parts" / "three.bin")
    assert [part.number for part in three.parts] == [1, 2, 5]
    for algorithm in ("CRC32", "CRC32C", "CRC64NVME", "SHA1", "SHA256"):
        (single,) = parsed(drive / "plain" / "checksums" / algorithm)
        assert single.checksum is not None
        assert (single.checksum.algorithm, single.checksum.type) == (algorithm, "FULL_OBJECT")


def test_a_real_servers_locks_are_read(drive: Path) -> None:
    (kept,), (held,) = parsed(drive / "locked" / "kept"), parsed(drive / "locked" / "held")
    assert kept.attributes.lock == ObjectLock(LockMode.COMPLIANCE, 4_070_908_800_000)
    assert held.attributes.lock == ObjectLock(None, 0, "ON")


@pytest.mark.parametrize("minor", [0, 1, 2, 3])
def test_every_version_of_the_file_is_read(tmp_path: Path, minor: int) -> None:
    versions = [
        DriveVersion(b"old", version_id=ID.bytes, modified_ns=DAY_NS, user={"X-Amz-Meta-A": "1"}),
        DriveVersion(None, version_id=b"\x07" * 16, modified_ns=2 * DAY_NS),
        DriveVersion(parts=(b"first", b"second"), modified_ns=3 * DAY_NS),
    ]
    old, marker, new = parsed(write_key(tmp_path, "k", versions, minor))
    assert (old.version_id, old.modified_ms, old.attributes.metadata) == (str(ID), 86_400_000, {"a": "1"})
    assert marker.is_marker
    assert (new.version_id, new.is_in_parts, new.size_bytes) == ("null", True, 11)


@pytest.mark.parametrize("minor", [0, 1, 2])
def test_older_files_are_put_in_the_order_of_time(tmp_path: Path, minor: int) -> None:
    versions = [DriveVersion(b"b", modified_ns=DAY_NS), DriveVersion(b"a", version_id=ID.bytes, modified_ns=0)]
    assert [it.version_id for it in parsed(write_key(tmp_path, "k", versions, minor))] == [str(ID), "null"]


def test_metadata_that_is_not_utf_8_is_kept_as_its_bytes(tmp_path: Path) -> None:
    version = written(tmp_path, user={"X-Amz-Meta-Note": "caf\udce9", "X-Amz-Meta-Fine": "café"})
    assert version.attributes.metadata == {"note": "café", "fine": "café"}
    assert version.attributes.latin_1 == ("x-amz-meta-note",)


@pytest.mark.parametrize(
    ("facts", "reason"),
    [
        ({"system": {"X-Minio-Internal-compression": b"klauspost/compress/s2"}}, "compressed"),
        ({"system": {"X-Minio-Internal-Server-Side-Encryption-Iv": b"x"}}, "encrypted"),
        ({"system": {"X-Minio-Internal-transition-status": b"complete"}}, "another tier"),
        ({"changes": {"EcM": 2, "EcN": 2}}, "4 drives"),
        ({"changes": {"CSumAlgo": 2}}, "checksums of kind 2"),
    ],
)
def test_what_a_folder_cannot_give_is_named(tmp_path: Path, facts: dict[str, Any], reason: str) -> None:
    assert reason in written(tmp_path, **facts).problem


@pytest.mark.parametrize("place", [9, 60, 200])
def test_a_changed_bit_shows(tmp_path: Path, place: int) -> None:
    folder = write_key(tmp_path, "k", [DriveVersion(b"body", user={"X-Amz-Meta-Note": "x" * 100})])
    raw = bytearray((folder / "xl.meta").read_bytes())
    raw[place] ^= 4
    with pytest.raises(SourceError, match=r"xl\.meta"):
        parse_xlmeta(bytes(raw))


@pytest.mark.parametrize(
    "raw", [b"", b"XL2 ", b"XL1 \x01\x00\x03\x00", b"XL2 \x02\x00\x00\x00", b"XL2 \x01\x00\x04\x00"]
)
def test_other_files_are_refused(raw: bytes) -> None:
    with pytest.raises(SourceError):
        parse_xlmeta(raw)


def test_a_file_that_ends_early_is_refused(tmp_path: Path) -> None:
    raw = (write_key(tmp_path, "k", [DriveVersion(b"body")]) / "xl.meta").read_bytes()
    for end in range(len(raw) - 1):
        try:
            versions = parse_xlmeta(raw[:end])
        except SourceError:
            continue
        assert versions[0].place is not None  # the inline data alone were cut: the body shows it
        assert end >= raw.index(b"\x01\x81\xa4null")


def test_checksums_of_unknown_kinds_are_refused() -> None:
    with pytest.raises(SourceError, match="kind 32"):
        parse_checksum(b"\x20" + bytes(4), 1)
    with pytest.raises(SourceError):
        parse_checksum(b"\x80" * 12, 1)


@pytest.mark.parametrize(
    "changes",
    [
        {"PartNums": ["1/../../../../secret"]},
        {"PartNums": [0]},
        {"PartNums": [1 << 63]},
        {"PartNums": [2, 2], "PartSizes": [2, 2]},
        {"PartNums": [1, 2], "PartSizes": [-4, 8]},
        {"PartSizes": [4.0]},
        {"MTime": "now"},
        {"MTime": 1.5},
    ],
)
def test_fields_that_no_server_writes_are_refused(tmp_path: Path, changes: dict[str, Any]) -> None:
    raw = (write_key(tmp_path, "k", [DriveVersion(b"body", changes=changes)]) / "xl.meta").read_bytes()
    with pytest.raises(SourceError):
        parse_xlmeta(raw)


@pytest.mark.parametrize(
    "bomb", [b"\xdd\x0f\xff\xff\xff" * 400, b"\xdf\x0f\xff\xff\xff" * 400, b"\xc6\xff\xff\xff\xff"]
)
@pytest.mark.parametrize("minor", [0, 1])
def test_sizes_that_are_only_claimed_take_no_memory(bomb: bytes, minor: int) -> None:
    body = bomb if minor == 0 else b"\xc5" + len(bomb).to_bytes(2, "big") + bomb
    tracemalloc.start()
    with pytest.raises(SourceError):
        parse_xlmeta(b"XL2 \x01\x00" + bytes([minor, 0]) + body)
    peak_bytes = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak_bytes < 64 * 1024 * 1024


def test_what_is_not_utf_8_breaks_nothing(tmp_path: Path) -> None:
    bad = "a\udcff"
    user = {"X-Amz-Tagging": f"k={bad}", "X-Amz-Storage-Class": bad, "X-Amz-Meta-A": bad, "etag": bad}
    found = written(tmp_path, user=user)
    for text in (found.etag, found.storage_class, *found.attributes.tags.values(), *found.attributes.metadata.values()):
        assert text.encode()

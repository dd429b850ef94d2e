"""`xl.meta` from anybody: what was written is read back, and whatever else comes is refused, never worse."""

import contextlib
from pathlib import Path
from tempfile import TemporaryDirectory

import xxhash
from hypothesis import given
from hypothesis import strategies as st
from tests.support.minio_drive import DriveVersion, write_key

from hosu.lake.importing.source import SourceError
from hosu.lake.importing.xlmeta import HEADER_BYTES, parse_xlmeta
from hosu.objects.records import NULL_VERSION

IDS = st.binary(min_size=16, max_size=16)
TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
NAMES = st.from_regex(r"[A-Za-z0-9-]{1,12}", fullmatch=True)
VERSIONS = st.builds(
    DriveVersion,
    body=st.none() | st.binary(max_size=200),
    version_id=IDS,
    modified_ns=st.integers(0, 2**62),
    user=st.dictionaries(NAMES.map(lambda name: f"X-Amz-Meta-{name}"), TEXTS, max_size=4),
)


def written(versions: list[DriveVersion], minor: int) -> bytes:
    with TemporaryDirectory() as folder:
        return (write_key(Path(folder), "k", versions, minor) / "xl.meta").read_bytes()


@given(st.lists(VERSIONS, min_size=1, max_size=5, unique_by=lambda it: it.version_id), st.integers(0, 3))
def test_what_is_written_is_read_back_in_the_order_of_time(versions: list[DriveVersion], minor: int) -> None:
    found = parse_xlmeta(written(versions, minor))
    assert sorted(it.modified_ms for it in found) == [it.modified_ms for it in found]
    by_id = {version.version_id.hex(): version for version in versions}
    assert len(found) == len(versions)
    for version in found:
        name = "0" * 32 if version.version_id == NULL_VERSION else version.version_id.replace("-", "")
        source = by_id[name]
        assert version.is_marker == (source.body is None)
        assert version.modified_ms == source.modified_ns // 1_000_000
        assert version.size_bytes == len(source.body or b"")
        if not version.is_marker:
            wanted = {key.lower().removeprefix("x-amz-meta-"): value for key, value in source.user.items()}
            assert version.attributes.metadata == wanted


@given(VERSIONS, st.integers(0, 3), st.data())
def test_changed_bytes_are_refused_or_read_but_nothing_else(
    version: DriveVersion, minor: int, data: st.DataObject
) -> None:
    raw = bytearray(written([version], minor))
    for _ in range(data.draw(st.integers(1, 3))):
        raw[data.draw(st.integers(0, len(raw) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    raw = raw[: data.draw(st.integers(0, len(raw)))]
    if minor >= 2 and data.draw(st.booleans()):
        _mend_checksum(raw)
    with contextlib.suppress(SourceError):
        parse_xlmeta(bytes(raw))


@given(st.binary(max_size=300), st.integers(0, 3))
def test_noise_is_refused(noise: bytes, minor: int) -> None:
    try:
        versions = parse_xlmeta(b"XL2 \x01\x00" + minor.to_bytes(2, "little") + noise)
    except SourceError:
        return
    assert versions == (), "noise holds no version"


def _mend_checksum(raw: bytearray) -> None:
    """Make the checksum right again, so that what stands behind it is looked at."""
    if len(raw) < HEADER_BYTES + 3 or raw[HEADER_BYTES] not in {0xC4, 0xC5}:
        return
    width = 1 if raw[HEADER_BYTES] == 0xC4 else 2
    start = HEADER_BYTES + 1 + width
    end = start + int.from_bytes(raw[HEADER_BYTES + 1 : start], "big")
    if len(raw) >= end + 5 and raw[end] == 0xCE:
        digest = xxhash.xxh64_intdigest(bytes(raw[start:end])) & 0xFFFFFFFF
        raw[end + 1 : end + 5] = digest.to_bytes(4, "big")

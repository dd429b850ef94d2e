"""Zstandard in frames: any decoder reads the whole, any range is read by the frames it touches, and damage is told."""

import io
import random
import struct
import sys

import pytest

from hosu.kernel.errors import CorruptError
from hosu.kernel.limits import KIB, MIB
from hosu.objects.coding.frames import FrameReader, FrameWriter, compress, decompress, frame_bytes_of

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

FRAME = 256 * KIB


def words(size: int, seed: int = 1) -> bytes:
    chosen = random.Random(seed)
    found = b" ".join(
        chosen.choice((b"red", b"green", b"blue", b"%d" % chosen.randrange(9999))) for _ in range(size // 3 + 1)
    )
    return found[:size]


def coded(plain: bytes, *, step: int = MIB) -> bytes:
    out = io.BytesIO()
    writer = FrameWriter(len(plain), out.write)
    for start in range(0, len(plain), step):
        writer.write(plain[start : start + step])
    writer.finish()
    assert writer.coded_bytes == len(out.getvalue())
    return out.getvalue()


def reader_of(stored: bytes, size_bytes: int) -> FrameReader:
    return FrameReader(7, size_bytes, len(stored), lambda offset, size: stored[offset : offset + size])


def read(reader: FrameReader, start: int, end: int) -> bytes:
    target = bytearray(end - start)
    reader.read_into(start, memoryview(target))
    return bytes(target)


SIZES = [1, 100, FRAME - 1, FRAME, FRAME + 1, 3 * FRAME, 3 * FRAME + 5]


@pytest.mark.parametrize("size", SIZES)
def test_ranges_at_all_borders_are_the_bytes_that_were_written(size: int) -> None:
    plain = words(size)
    reader = reader_of(coded(plain), size)
    borders = sorted({0, 1, size, *(at + off for at in range(0, size, FRAME) for off in (-1, 0, 1))})
    inside = [at for at in borders if 0 <= at <= size]
    for start in inside:
        for end in inside:
            if start <= end:
                assert read(reader, start, end) == plain[start:end]


@pytest.mark.parametrize("step", [1000, FRAME, FRAME + 1, 5 * FRAME])
def test_the_pieces_in_which_bytes_come_do_not_matter(step: int) -> None:
    plain = words(3 * FRAME + 5)
    assert coded(plain, step=step) == coded(plain)


@pytest.mark.parametrize("size", SIZES)
def test_any_decoder_of_zstandard_reads_the_whole(size: int) -> None:
    plain = words(size)
    assert zstd.decompress(coded(plain)) == plain


def test_a_range_touches_the_frames_it_needs_alone() -> None:
    plain = words(8 * FRAME)
    stored = coded(plain)
    asked: list[tuple[int, int]] = []

    def note(offset: int, size: int) -> bytes:
        asked.append((offset, size))
        return stored[offset : offset + size]

    reader = FrameReader(7, len(plain), len(stored), note)
    asked.clear()
    assert read(reader, 5 * FRAME - 1, 5 * FRAME + 1) == plain[5 * FRAME - 1 : 5 * FRAME + 1]
    assert len(asked) == 2
    assert sum(size for _, size in asked) < len(stored) / 3


def test_reading_on_in_small_steps_decodes_each_frame_once() -> None:
    plain = words(2 * FRAME)
    stored = coded(plain)
    asked: list[int] = []

    def note(offset: int, size: int) -> bytes:
        asked.append(offset)
        return stored[offset : offset + size]

    reader = FrameReader(7, len(plain), len(stored), note)
    asked.clear()
    assert b"".join(read(reader, at, at + 1024) for at in range(0, len(plain), 1024)) == plain
    assert len(asked) == 2


def test_larger_blobs_have_larger_frames_so_that_their_table_stays_small() -> None:
    assert frame_bytes_of(1) == frame_bytes_of(16 * 1024 * MIB) == FRAME
    assert frame_bytes_of(16 * 1024 * MIB + 1) == 2 * FRAME
    assert frame_bytes_of(1 << 45) == 16 * MIB


PLAIN = words(3 * FRAME)
STORED = coded(PLAIN)
TABLE = 8 + 3 * 8 + 9


def changed(offset: int, value: bytes) -> bytes:
    at = offset % len(STORED)
    return STORED[:at] + value + STORED[at + len(value) :]


@pytest.mark.parametrize(
    "stored",
    [
        b"",
        STORED[:5],
        STORED[:-1],
        STORED + b"x",
        changed(-4, b"none"),
        changed(-9, struct.pack("<I", 2)),
        changed(-9, struct.pack("<I", 1 << 31)),
        changed(-TABLE, b"none"),
        changed(-TABLE + 8, struct.pack("<I", 1)),
        changed(-TABLE + 12, struct.pack("<I", 1)),
        changed(-TABLE + 12, struct.pack("<I", 1 << 31)),
        changed(-13, struct.pack("<I", FRAME - 1)),
    ],
)
def test_a_table_that_does_not_fit_is_refused(stored: bytes) -> None:
    with pytest.raises(CorruptError):
        reader_of(stored, len(PLAIN))


def test_a_frame_that_was_changed_is_refused_and_the_others_still_read() -> None:
    reader = reader_of(changed(1000, b"changed"), len(PLAIN))
    with pytest.raises(CorruptError, match="blob 7"):
        read(reader, 0, 10)
    assert read(reader, FRAME, len(PLAIN)) == PLAIN[FRAME:]


def test_a_frame_that_stands_for_another_number_of_bytes_is_refused_before_it_takes_memory() -> None:
    bomb = compress(bytes(64 * MIB))
    assert len(bomb) < FRAME
    with pytest.raises(CorruptError):
        decompress(bomb, 1000, 7)
    with pytest.raises(CorruptError):
        decompress(compress(b"short"), 1000, 7)
    with pytest.raises(CorruptError):
        decompress(compress(b"body") + b"more", 4, 7)


def test_no_range_beyond_the_blob_is_read() -> None:
    reader = reader_of(STORED, len(PLAIN))
    for start, size in ((-1, 1), (len(PLAIN), 1), (0, len(PLAIN) + 1)):
        with pytest.raises(ValueError, match="outside"):
            reader.read_into(start, memoryview(bytearray(size)))

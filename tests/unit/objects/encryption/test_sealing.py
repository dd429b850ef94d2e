"""Segments of sealed blobs: any range comes back as it went in, and nothing that was changed comes back at all."""

from collections.abc import Callable

import pytest

from hosu.kernel.errors import CorruptError
from hosu.kernel.sealing import TAG_BYTES
from hosu.objects.encryption.sealing import (
    SEGMENT_BYTES,
    STORED_SEGMENT_BYTES,
    Sealer,
    Unsealer,
    seal_whole,
    stored_size,
    unseal_whole,
)

KEY = bytes(range(32))
SIZES = [
    1, 15, SEGMENT_BYTES - 1, SEGMENT_BYTES, SEGMENT_BYTES + 1, 4 * SEGMENT_BYTES, 4 * SEGMENT_BYTES + 1,
    9 * SEGMENT_BYTES - 7,
]  # fmt: skip


def body_of(size_bytes: int) -> bytes:
    return bytes((place * 31 + place // 251) % 256 for place in range(size_bytes))


def sealed(body: bytes, piece_bytes: int = 100_000, key: bytes = KEY) -> bytes:
    stored = bytearray()
    sealer = Sealer(key, stored.extend)
    for start in range(0, len(body), piece_bytes):
        sealer.update(body[start : start + piece_bytes])
    sealer.finish()
    return bytes(stored)


def opener(stored: bytes, size_bytes: int, key: bytes = KEY) -> Unsealer:
    def read(offset: int, buffer: memoryview) -> int:
        found = stored[offset : offset + len(buffer)]
        buffer[: len(found)] = found
        return len(found)

    return Unsealer(7, key, size_bytes, read)


def opened(stored: bytes, start: int, end: int, size_bytes: int, key: bytes = KEY) -> bytes:
    target = bytearray(end - start)
    opener(stored, size_bytes, key).read_into(start, memoryview(target))
    return bytes(target)


@pytest.mark.parametrize("size_bytes", SIZES)
@pytest.mark.parametrize("piece_bytes", [1_000, SEGMENT_BYTES, SEGMENT_BYTES + 1, 1_000_000])
def test_what_was_sealed_opens_however_it_came(size_bytes: int, piece_bytes: int) -> None:
    body = body_of(size_bytes)
    stored = sealed(body, piece_bytes)
    assert len(stored) == stored_size(size_bytes)
    assert stored == sealed(body)
    assert opened(stored, 0, size_bytes, size_bytes) == body


def test_a_body_of_nothing_takes_nothing() -> None:
    assert sealed(b"") == b""
    assert stored_size(0) == 0


@pytest.mark.parametrize("edge", [-2, -1, 0, 1, 2])
def test_ranges_across_borders_open(edge: int) -> None:
    body = body_of(9 * SEGMENT_BYTES - 7)
    stored = sealed(body)
    borders = [number * SEGMENT_BYTES + edge for number in (1, 2, 4, 5, 8)]
    for start in (0, *borders):
        for end in (*borders, len(body)):
            if start <= end:
                assert opened(stored, start, end, len(body)) == body[start:end]


def test_a_range_reads_only_the_segments_it_touches() -> None:
    body = body_of(9 * SEGMENT_BYTES)
    stored, touched = sealed(body), list[tuple[int, int]]()

    def read(offset: int, buffer: memoryview) -> int:
        touched.append((offset, len(buffer)))
        buffer[:] = stored[offset : offset + len(buffer)]
        return len(buffer)

    target = bytearray(2)
    Unsealer(7, KEY, len(body), read).read_into(5 * SEGMENT_BYTES - 1, memoryview(target))
    assert bytes(target) == body[5 * SEGMENT_BYTES - 1 : 5 * SEGMENT_BYTES + 1]
    assert touched == [(4 * STORED_SEGMENT_BYTES, 2 * STORED_SEGMENT_BYTES)]


def test_a_range_outside_of_the_body_is_our_own_fault() -> None:
    with pytest.raises(ValueError, match="outside"):
        opened(sealed(b"body"), 0, 5, 4)


SIZE = 4 * SEGMENT_BYTES + 100
LAST = 4 * STORED_SEGMENT_BYTES


def flip(stored: bytes) -> bytes:
    changed = bytearray(stored)
    changed[2 * STORED_SEGMENT_BYTES + 5] ^= 1
    return bytes(changed)


def flip_tag(stored: bytes) -> bytes:
    return stored[:-1] + bytes([stored[-1] ^ 1])


def swap(stored: bytes) -> bytes:
    first, second = stored[:STORED_SEGMENT_BYTES], stored[STORED_SEGMENT_BYTES : 2 * STORED_SEGMENT_BYTES]
    return second + first + stored[2 * STORED_SEGMENT_BYTES :]


def repeat(stored: bytes) -> bytes:
    return stored[:STORED_SEGMENT_BYTES] * 2 + stored[2 * STORED_SEGMENT_BYTES :]


def cut_a_byte(stored: bytes) -> bytes:
    return stored[:-1]


def cut_a_segment(stored: bytes) -> bytes:
    return stored[:LAST]


def leave_out_a_segment(stored: bytes) -> bytes:
    return stored[:STORED_SEGMENT_BYTES] + stored[2 * STORED_SEGMENT_BYTES :]


def take_from_another(stored: bytes) -> bytes:
    other = sealed(body_of(SIZE), key=bytes(32))
    return stored[:STORED_SEGMENT_BYTES] + other[STORED_SEGMENT_BYTES:]


@pytest.mark.parametrize(
    "tamper", [flip, flip_tag, swap, repeat, cut_a_byte, cut_a_segment, leave_out_a_segment, take_from_another]
)
def test_tampered_bytes_never_come_back(tamper: Callable[[bytes], bytes]) -> None:
    with pytest.raises(CorruptError):
        opened(tamper(sealed(body_of(SIZE))), 0, SIZE, SIZE)


@pytest.mark.parametrize("size_bytes", [4 * SEGMENT_BYTES, SIZE - 1, SIZE + 1, 5 * SEGMENT_BYTES + 1])
def test_a_body_does_not_open_as_one_of_another_size(size_bytes: int) -> None:
    stored = sealed(body_of(SIZE)) + bytes(STORED_SEGMENT_BYTES)
    with pytest.raises(CorruptError):
        opened(stored, 0, size_bytes, size_bytes)


def test_a_body_cut_at_a_border_does_not_open_under_the_size_that_is_left() -> None:
    stored = sealed(body_of(SIZE))[:LAST]
    with pytest.raises(CorruptError):
        opened(stored, 3 * SEGMENT_BYTES, 4 * SEGMENT_BYTES, 4 * SEGMENT_BYTES)


def test_another_key_does_not_open() -> None:
    with pytest.raises(CorruptError):
        opened(sealed(b"body"), 0, 4, 4, key=bytes(32))


def test_what_stands_beside_a_changed_segment_still_opens() -> None:
    body = body_of(SIZE)
    assert opened(flip(sealed(body)), 0, SEGMENT_BYTES, SIZE) == body[:SEGMENT_BYTES]


def test_a_small_body_is_sealed_whole() -> None:
    stored = seal_whole(KEY, b"small")
    assert len(stored) == 5 + TAG_BYTES
    assert unseal_whole(1, KEY, stored) == b"small"
    assert stored == sealed(b"small")
    for changed in (stored[:-1], b"", stored + b"x", bytes([stored[0] ^ 1]) + stored[1:]):
        with pytest.raises(CorruptError):
            unseal_whole(1, KEY, changed)

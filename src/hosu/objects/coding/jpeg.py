"""JPEG files as JPEG XL: the same picture in fewer bytes, from which the same file comes back, bit by bit.

What is stored is a standard JPEG XL file. Imported where a picture comes by: the library is large.
"""

import struct
import threading

import imagecodecs

from hosu.kernel.errors import CorruptError, ErrorKind

PIXELS_MAX = 25_000_000
"""Bounds the memory for one picture: measured, 25 bytes a pixel to code it and 8 to decode it."""

_AT_ONCE = threading.BoundedSemaphore(2)
"""Pictures in work in a process: each takes a processor and its memory."""

_FRAME_MARKERS = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_BARE_MARKERS = frozenset({0x01, 0xFF, *range(0xD0, 0xD8)})
_SIZES = struct.Struct(">HH")


def to_jxl(data: bytes) -> bytes | None:
    """Return a JPEG file as JPEG XL; None for one that is damaged, too large, or of a kind that cannot be."""
    pixels = _count_pixels(data)
    if pixels is None or pixels > PIXELS_MAX:
        return None
    with _AT_ONCE:
        try:
            return bytes(imagecodecs.jpegxl_encode_jpeg(data, numthreads=1))
        except (RuntimeError, ValueError):
            return None


def from_jxl(coded: bytes, size_bytes: int, blob_id: int) -> bytes:
    """Return the JPEG file of size_bytes that was coded. Raises CorruptError."""
    with _AT_ONCE:
        try:
            plain = bytes(imagecodecs.jpegxl_decode_jpeg(coded, numthreads=1))
        except (RuntimeError, ValueError) as error:
            raise CorruptError(
                ErrorKind.CORRUPT_BLOB, f"blob {blob_id} does not decode: {error}", blob_id=blob_id
            ) from error
    if len(plain) != size_bytes:
        raise CorruptError(
            ErrorKind.CORRUPT_BLOB, f"blob {blob_id} decodes to {len(plain)} bytes, not {size_bytes}", blob_id=blob_id
        )
    return plain


def _count_pixels(data: bytes) -> int | None:
    """Return how many pixels a JPEG file says it has; None where it does not say."""
    at = 2
    while at + 4 <= len(data) and data[at] == 0xFF:  # noqa: PLR2004 - every marker begins with it
        marker = data[at + 1]
        if marker in _BARE_MARKERS:
            at += 1 if marker == 0xFF else 2  # noqa: PLR2004 - a filling byte
            continue
        if marker in _FRAME_MARKERS and at + 9 <= len(data):
            height, width = _SIZES.unpack_from(data, at + 5)
            return height * width or None
        at += 2 + int.from_bytes(data[at + 2 : at + 4], "big")
    return None

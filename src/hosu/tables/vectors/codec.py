"""Deletion vectors as bytes: which rows of a data file are gone, as roaring bitmaps in Paimon's two forms.

    32 bit: length of what follows up to the CRC, big-endian | magic, big-endian | bitmap | CRC-32, big-endian
    64 bit: the same length                                  | magic, little-endian | bitmap | CRC-32, big-endian

The CRC is of magic and bitmap. A manifest says the length as it stands in the file for the first form, of everything
for the second.
"""

import zlib
from struct import Struct
from typing import Final, TypeAlias

from pyroaring import BitMap, BitMap64

Vector: TypeAlias = BitMap | BitMap64
"""Positions of rows that are gone, counted from 0; of which of the two kinds says how it is stored."""

MAGIC_32: Final = 1_581_511_376
MAGIC_64: Final = 1_681_511_377
_NUMBER: Final = Struct(">I")
_LITTLE: Final = Struct("<I")
_AROUND_BYTES: Final = 2 * _NUMBER.size
"""The length before and the CRC behind."""

POSITION_32_MAX: Final = 2**31 - 1
"""The greatest position that Java reads from the 32-bit form."""


def encode_vector(vector: Vector) -> tuple[bytes, int]:
    """Return the bytes of a vector, and the length that a manifest says of them.

    Raises ValueError for positions that the form of 32 bits has no room for.
    """
    if isinstance(vector, BitMap64):
        body = _LITTLE.pack(MAGIC_64) + _compact(vector).serialize()
        length = len(body) + _AROUND_BYTES
    else:
        if vector and vector.max() > POSITION_32_MAX:
            raise ValueError(f"row {vector.max()} is beyond {POSITION_32_MAX}, the last that vectors of 32 bits name")
        body = _NUMBER.pack(MAGIC_32) + _compact(vector).serialize()
        length = len(body)
    return _NUMBER.pack(len(body)) + body + _NUMBER.pack(zlib.crc32(body)), length


def _compact(vector: Vector) -> Vector:
    copy = vector.copy()
    copy.run_optimize()
    return copy


def decode_vector(data: bytes, offset: int, length: int) -> Vector:
    """Return the vector that begins at offset, of a length as a manifest says it; raise ValueError for other bytes."""
    if offset + _AROUND_BYTES + _NUMBER.size > len(data):
        raise ValueError(f"a vector at byte {offset} lies beyond the file's {len(data)} bytes")
    size = _NUMBER.unpack_from(data, offset)[0]
    start = offset + _NUMBER.size
    body = data[start : start + size]
    if len(body) < size or start + size + _NUMBER.size > len(data):
        raise ValueError(f"a vector at byte {offset} is cut at the file's {len(data)} bytes")
    if zlib.crc32(body) != _NUMBER.unpack_from(data, start + size)[0]:
        raise ValueError(f"a vector at byte {offset} does not match its checksum")
    is_32, is_64 = _NUMBER.unpack_from(body)[0] == MAGIC_32, _LITTLE.unpack_from(body)[0] == MAGIC_64
    if not is_32 and not is_64:
        raise ValueError(f"a vector at byte {offset} begins with neither of the two magic numbers")
    if length != (size if is_32 else size + _AROUND_BYTES):
        raise ValueError(f"a vector at byte {offset} has {size} bytes, its manifest says {length}")
    kind: type[Vector] = BitMap if is_32 else BitMap64
    return kind.deserialize(body[_NUMBER.size :])

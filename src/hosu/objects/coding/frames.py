"""Zstandard in frames that stand each for themselves, with a table at the end that says where each begins.

It is the seekable format of Zstandard's own contributions: any decoder reads the whole, since the table is in a frame
that decoders skip. Every frame but the last stands for the same number of bytes, and carries a checksum of them.
Imported where something is compressed, since most processes never need it.
"""

import struct
import sys
from array import array
from collections.abc import Callable
from itertools import accumulate

from hosu.kernel.errors import CorruptError, ErrorKind
from hosu.kernel.limits import KIB, MIB

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

LEVEL = 6
"""Measured on tables, logs, programs and measurements: 9 % smaller than level 3, and 1.3 % larger than level 9, which
takes twice as long."""

FRAME_BYTES_MIN = 256 * KIB
"""Measured: larger frames shrink by less than 1 % more, smaller ones are slower to read."""

FRAME_BYTES_MAX = 16 * MIB
FRAMES_WANTED_MAX = 65_536
"""Past so many a blob has larger frames, so that its table stays small."""

_TABLE_MAGIC, _FOOTER_MAGIC = 0x184D2A5E, 0x8F92EAB1
_HEAD = struct.Struct("<II")
_ENTRY = struct.Struct("<II")
_FOOTER = struct.Struct("<IBI")

Emit = Callable[[bytes], object]
Read = Callable[[int, int], bytes]
"""Returns (offset, size) of the stored bytes; fewer only where they end."""


def frame_bytes_of(size_bytes: int) -> int:
    """Return how many bytes each frame of a blob stands for."""
    frame_bytes = FRAME_BYTES_MIN
    while frame_bytes < FRAME_BYTES_MAX and frame_bytes * FRAMES_WANTED_MAX < size_bytes:
        frame_bytes *= 2
    return frame_bytes


def compress(data: bytes | bytearray | memoryview, level: int = LEVEL) -> bytes:
    """Return one frame."""
    options: dict[int, int] = {
        zstd.CompressionParameter.compression_level: level,
        zstd.CompressionParameter.checksum_flag: 1,
    }
    return zstd.compress(data, options=options)


def decompress(frame: bytes, size_bytes: int, blob_id: int) -> bytes:
    """Return the bytes that one frame stands for, never more than size_bytes. Raises CorruptError."""
    decoder = zstd.ZstdDecompressor()
    try:
        plain = decoder.decompress(frame, max_length=size_bytes + 1)
    except zstd.ZstdError as error:
        raise _corrupt(blob_id, f"does not decode: {error}") from error
    if len(plain) != size_bytes or not decoder.eof or decoder.unused_data:
        raise _corrupt(blob_id, f"has a frame that stands for other than {size_bytes} bytes")
    return plain


class FrameWriter:
    """Compresses the bytes of one blob as they come; `emit` is handed what is to be stored."""

    def __init__(self, size_bytes: int, emit: Emit) -> None:
        self.coded_bytes = 0
        self._emit = emit
        self._frame_bytes = frame_bytes_of(size_bytes)
        self._pending = bytearray()
        self._sizes = array("I")
        self._last_bytes = self._frame_bytes

    def write(self, data: bytes | memoryview) -> None:
        """Append data, which is used until this returns."""
        view = memoryview(data)
        while view:
            taken = view[: self._frame_bytes - len(self._pending)]
            self._pending += taken
            view = view[len(taken) :]
            if len(self._pending) == self._frame_bytes:
                self._close_frame()

    def finish(self) -> None:
        """Write what is left, and the table."""
        if self._pending:
            self._last_bytes = len(self._pending)
            self._close_frame()
        count = len(self._sizes)
        self._put(_HEAD.pack(_TABLE_MAGIC, count * _ENTRY.size + _FOOTER.size))
        entries = bytearray()
        for number, coded_bytes in enumerate(self._sizes, 1):
            entries += _ENTRY.pack(coded_bytes, self._last_bytes if number == count else self._frame_bytes)
        self._put(bytes(entries))
        self._put(_FOOTER.pack(count, 0, _FOOTER_MAGIC))

    def _close_frame(self) -> None:
        frame = compress(self._pending)
        self._pending.clear()
        self._sizes.append(len(frame))
        self._put(frame)

    def _put(self, data: bytes) -> None:
        self.coded_bytes += len(data)
        self._emit(data)


class FrameReader:
    """Reads ranges of the `size_bytes` that `coded_bytes` stored ones stand for. Safe to use from several threads."""

    def __init__(self, blob_id: int, size_bytes: int, coded_bytes: int, read: Read) -> None:
        self._blob_id = blob_id
        self._size_bytes = size_bytes
        self._read = read
        self._frame_bytes, self._starts = self._load(coded_bytes)
        self._latest: tuple[int, bytes] = (-1, b"")
        """The frame that was decoded last, for those who read on in small steps."""

    def read_into(self, start: int, target: memoryview) -> None:
        """Fill target with the bytes from start, which lie within the blob. Raises CorruptError."""
        if not 0 <= start <= start + len(target) <= self._size_bytes:
            raise ValueError(f"bytes from {start} are outside of a blob of {self._size_bytes}")
        done = 0
        while done < len(target):
            number, skipped = divmod(start + done, self._frame_bytes)
            plain = self._frame(number)
            size = min(len(plain) - skipped, len(target) - done)
            target[done : done + size] = memoryview(plain)[skipped : skipped + size]
            done += size

    def _frame(self, number: int) -> bytes:
        latest, plain = self._latest
        if latest == number:
            return plain
        offset, end = self._starts[number], self._starts[number + 1]
        stored = self._exactly(offset, end - offset)
        size_bytes = min(self._frame_bytes, self._size_bytes - number * self._frame_bytes)
        plain = decompress(stored, size_bytes, self._blob_id)
        self._latest = (number, plain)
        return plain

    def _load(self, coded_bytes: int) -> "tuple[int, array[int]]":
        """Return how many bytes a frame stands for, and where each begins and the last one ends."""
        if coded_bytes < _HEAD.size + _FOOTER.size:
            raise self._bad_table()
        count, _, magic = _FOOTER.unpack(self._exactly(coded_bytes - _FOOTER.size, _FOOTER.size))
        table_bytes = count * _ENTRY.size + _FOOTER.size
        offset = coded_bytes - table_bytes - _HEAD.size
        if magic != _FOOTER_MAGIC or offset < 0:
            raise self._bad_table()
        table = self._exactly(offset, table_bytes + _HEAD.size)
        if _HEAD.unpack_from(table) != (_TABLE_MAGIC, table_bytes):
            raise self._bad_table()
        entries = array("I", table[_HEAD.size : _HEAD.size + count * _ENTRY.size])  # at once: each read pays for it
        if sys.byteorder == "big":
            entries.byteswap()
        stored, plain = entries[0::2], entries[1::2]
        frame_bytes = plain[0] if plain else 0
        if not frame_bytes or plain[:-1] != array("I", [frame_bytes]) * (count - 1) or plain[-1] > frame_bytes:
            raise self._bad_table()
        starts = array("Q", accumulate(stored, initial=0))
        if starts[-1] != offset or frame_bytes * (count - 1) + plain[-1] != self._size_bytes:
            raise self._bad_table()
        return frame_bytes, starts

    def _exactly(self, offset: int, size: int) -> bytes:
        found = self._read(offset, size)
        if len(found) != size:
            raise _corrupt(self._blob_id, "ends before its size")
        return found

    def _bad_table(self) -> CorruptError:
        return _corrupt(self._blob_id, "has a table of frames that does not fit it")


def _corrupt(blob_id: int, what: str) -> CorruptError:
    return CorruptError(ErrorKind.CORRUPT_BLOB, f"blob {blob_id} {what}", blob_id=blob_id)

"""Compressed blobs as files: opened as the bytes they stand for."""

import threading
from collections.abc import Callable
from typing import TYPE_CHECKING

from blake3 import blake3

from hosu.kernel.errors import CorruptError, ErrorKind, UnsupportedError
from hosu.kernel.limits import MIB
from hosu.objects.blobs import BlobFiles, BlobRow, OpenBlob, disk_error
from hosu.objects.coding import JXL, ZSTD

if TYPE_CHECKING:
    from hosu.objects.coding.frames import FrameReader

PICTURES_BYTES_MAX = 32 * MIB
"""Decoded pictures that a process keeps for those who read them range by range."""


class Pictures:
    """The pictures decoded last. Safe to use from several threads."""

    def __init__(self, bytes_max: int = PICTURES_BYTES_MAX) -> None:
        self._bytes_max = bytes_max
        self._bytes = 0
        self._kept: dict[int, bytes] = {}
        self._lock = threading.Lock()

    def find(self, blob_id: int) -> bytes | None:
        """Return a picture, if it is kept."""
        with self._lock:
            found = self._kept.pop(blob_id, None)
            if found is not None:
                self._kept[blob_id] = found  # the latest goes last
            return found

    def drop(self, blob_id: int) -> None:
        """Let a picture go."""
        with self._lock:
            self._bytes -= len(self._kept.pop(blob_id, b""))

    def keep(self, blob_id: int, plain: bytes) -> None:
        """Keep a picture, and let the oldest go."""
        with self._lock:
            self._bytes += len(plain) - len(self._kept.pop(blob_id, b""))
            self._kept[blob_id] = plain
            while self._bytes > self._bytes_max:
                self._bytes -= len(self._kept.pop(next(iter(self._kept))))


class OpenCodedBlob(OpenBlob):
    """An open blob file whose bytes are compressed; offsets and sizes are those of the bytes they stand for."""

    __slots__ = ("_frames", "_inner", "_lock", "_on_corrupt", "_picture", "_pictures")

    def __init__(
        self,
        files: BlobFiles,
        row: BlobRow,
        inner: OpenBlob,
        pictures: Pictures,
        on_corrupt: Callable[[BlobRow], bool],
    ) -> None:
        super().__init__(files, row, inner.descriptor)
        self._inner = inner
        self._pictures = pictures
        self._on_corrupt = on_corrupt
        self._lock = threading.Lock()
        self._frames: FrameReader | None = None
        self._picture: bytes | None = None

    def is_verified(self, now_ms: int) -> bool:
        """Whether the stored bytes may be decoded; see `OpenBlob.is_verified`."""
        return self._inner.is_verified(now_ms)

    def verify(self) -> tuple[int, int]:
        """Hash the stored bytes; see `OpenBlob.verify`."""
        return self._inner.verify()

    def prepare(self) -> None:
        """Decode what has to be decoded before the first byte leaves. Blocks; raises CorruptError."""
        with self._lock:
            if self._frames is not None or self._picture is not None:
                return
            try:
                self._prepare()
            except CorruptError:
                if not self._on_corrupt(self.row):
                    raise
                self._reopen()
                self._prepare()

    def read(self, offset: int, size_bytes: int) -> bytes:
        """Return size_bytes from offset. Blocks; raises CorruptError."""
        if self._picture is not None:
            return self._picture[offset : offset + size_bytes]
        plain = bytearray(size_bytes)
        self.read_into(offset, memoryview(plain))
        return bytes(plain)

    def read_into(self, offset: int, target: memoryview) -> None:
        """Fill target with the bytes from offset. Blocks; raises CorruptError."""
        self.prepare()
        if self._picture is not None:
            target[:] = memoryview(self._picture)[offset : offset + len(target)]
            return
        assert self._frames is not None
        try:
            self._frames.read_into(offset, target)
        except CorruptError:
            if not self._on_corrupt(self.row):
                raise
            self._reopen()
            self._frames.read_into(offset, target)

    def read_cached(self, offset: int, target: memoryview) -> bool:
        """Do as `read_into` if nothing has to be decoded for it."""
        if self._picture is None:
            return False
        target[:] = memoryview(self._picture)[offset : offset + len(target)]
        return True

    def close(self) -> None:
        """Close the file, and let go of what was decoded."""
        self._inner.close()

    def _prepare(self) -> None:
        row, coded_bytes = self.row, self.row.coded_bytes or 0
        if row.coding == ZSTD:
            from hosu.objects.coding.frames import FrameReader  # noqa: PLC0415 - most processes never need it

            self._frames = FrameReader(row.id, row.size_bytes, coded_bytes, self._read_stored)
        elif row.coding == JXL:
            picture = self._pictures.find(row.id)
            if picture is None:
                from hosu.objects.coding.jpeg import from_jxl  # noqa: PLC0415 - as above

                picture = from_jxl(self._read_stored(0, coded_bytes), row.size_bytes, row.id)
                if blake3(picture).digest() != row.plain_hash:
                    raise CorruptError(
                        ErrorKind.CORRUPT_BLOB, f"blob {row.id} decodes to other bytes than were coded", blob_id=row.id
                    )
                self._pictures.keep(row.id, picture)
            self._picture = picture
        else:
            raise unknown_coding(row)

    def _read_stored(self, offset: int, size_bytes: int) -> bytes:
        pieces: list[bytes] = []
        while size_bytes:
            try:
                data = self._inner.read(offset, size_bytes)
            except OSError as error:
                raise disk_error(error) from error
            pieces.append(data)
            offset += len(data)
            size_bytes -= len(data)
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)


def decode_inline(row: BlobRow, coded: bytes) -> bytes:
    """Return the bytes that those of an inline blob stand for; at most a few thousand, in no time."""
    if row.coding != ZSTD:
        raise unknown_coding(row)
    from hosu.objects.coding.frames import decompress  # noqa: PLC0415 - most processes never need it

    return decompress(coded, row.size_bytes, row.id)


def unknown_coding(row: BlobRow) -> UnsupportedError:
    """Return the error for a blob that a newer hosu has compressed."""
    return UnsupportedError(
        ErrorKind.LAKE_NEWER, f"blob {row.id} is compressed as {row.coding!r}: install a newer hosu"
    )

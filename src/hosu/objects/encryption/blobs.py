"""Encrypted blobs as files and rows: written by sealing what goes by, read by opening what is asked for."""

import os
from collections.abc import Callable

import msgspec
from blake3 import blake3

from hosu.kernel.errors import CorruptError
from hosu.objects.blobs import BlobFiles, BlobRow, BlobWriter, OpenBlob, StagedBlob, disk_error
from hosu.objects.encryption.keys import BlobKey
from hosu.objects.encryption.sealing import Sealer, Unsealer, seal_whole
from hosu.objects.records import BlobKind

_NOWAIT: int = getattr(os, "RWF_NOWAIT", 0)
"""Reads what is cached, and fails rather than wait for a disk (Linux)."""


class SealedBlobWriter(BlobWriter):
    """A blob file being written that holds its bytes encrypted; the hash is of what is stored."""

    def __init__(self, files: BlobFiles, blob_id: int, key: BlobKey) -> None:
        super().__init__(files, blob_id)
        self._key = key
        self._content = None if key.content_key is None else blake3(key=key.content_key)
        self._sealer = Sealer(key.data_key, self._append)

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Append data, encrypted."""
        if self._content is not None:
            self._content.update(data)
        self._sealer.update(data)
        self.size_bytes += len(data)

    def finish(self) -> StagedBlob:
        """Seal the last segment, sync the bytes and return what a record needs."""
        self._sealer.finish()
        return msgspec.structs.replace(
            super().finish(),
            sealed=self._key.sealed,
            content_hash=None if self._content is None else self._content.digest(),
            encryption=self._key.facts,
        )


def stage_inline_sealed(body: bytes, key: BlobKey) -> StagedBlob:
    """Stage a small body that will live, encrypted, inside the metadata database."""
    if not body:
        return StagedBlob(BlobKind.INLINE, 0, blake3(b"").digest(), b"", encryption=key.facts)
    stored = seal_whole(key.data_key, body)
    return StagedBlob(
        BlobKind.INLINE, len(body), blake3(stored).digest(), stored, sealed=key.sealed, encryption=key.facts
    )


class OpenSealedBlob(OpenBlob):
    """An open blob file whose bytes are encrypted; offsets and sizes are those of the plain bytes."""

    __slots__ = ("_on_corrupt", "_unsealer")

    def __init__(
        self,
        files: BlobFiles,
        row: BlobRow,
        descriptor: int,
        data_key: bytes,
        on_corrupt: Callable[[BlobRow], bool],
    ) -> None:
        super().__init__(files, row, descriptor)
        self._on_corrupt = on_corrupt
        self._unsealer = Unsealer(row.id, data_key, row.size_bytes, self._read_stored)

    def read(self, offset: int, size_bytes: int) -> bytes:
        """Return size_bytes from offset. Raises CorruptError, and never bytes that were not put there."""
        plain = bytearray(size_bytes)
        self.read_into(offset, memoryview(plain))
        return bytes(plain)

    def read_into(self, offset: int, target: memoryview) -> None:
        """Fill target with the bytes from offset, restored first if that can be done. Raises CorruptError."""
        try:
            self._unsealer.read_into(offset, target)
        except CorruptError:
            if not self._on_corrupt(self.row):
                raise
            self._reopen()
            self._unsealer.read_into(offset, target)

    def read_cached(self, offset: int, target: memoryview) -> bool:
        """Do as `read_into` if no disk is needed for it; False also where the system cannot tell, or bytes are wrong.

        What is wrong is for `read_into` to find: it may take long to deal with.
        """
        try:
            self._unsealer.read_into(offset, target, self._read_without_waiting)
        except (OSError, CorruptError):
            return False
        return True

    def _read_without_waiting(self, offset: int, buffer: memoryview) -> int:
        return os.preadv(self.descriptor, [buffer], offset, _NOWAIT) if _NOWAIT else 0

    def _read_stored(self, offset: int, buffer: memoryview) -> int:
        size = 0
        while size < len(buffer):
            try:
                count = os.preadv(self.descriptor, [buffer[size:]], offset + size)
            except OSError as error:
                raise disk_error(error) from error
            if not count:
                break
            size += count
        return size

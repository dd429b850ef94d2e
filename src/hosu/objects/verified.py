"""Opening blobs for reading: their bytes match their hash, are opened and decoded, or are restored first."""

import contextlib
import os
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable
from functools import partial
from typing import Any

import msgspec
from blake3 import blake3

from hosu.kernel.clock import Clock
from hosu.kernel.errors import CorruptError, ErrorKind, UnavailableError
from hosu.objects.blobs import VERIFIED_MS_MAX, BlobFiles, BlobRow, OpenBlob
from hosu.objects.coding.blobs import OpenCodedBlob, Pictures, decode_inline
from hosu.objects.encryption.blobs import OpenSealedBlob
from hosu.objects.encryption.keys import KeyService
from hosu.objects.encryption.sealing import unseal_whole
from hosu.objects.healer import Healer
from hosu.objects.read import FIND_BLOB, closing_all
from hosu.objects.transaction import Tx
from hosu.objects.views import View
from hosu.objects.writer import Writer


class VerifiedBlobs(ABC):
    """How a store hands out bytes: only those that match their hash."""

    clock: Clock
    files: BlobFiles
    keys: KeyService
    writer: Writer

    def __init__(self) -> None:
        self.healer: Healer | None = None
        """Asked for other bytes when those of a blob are wrong; without one such a blob is refused."""
        self.pictures = Pictures()
        self._verifying = threading.Lock()

    @abstractmethod
    def view(self) -> View:
        """Return this thread's view of the latest commit."""

    @abstractmethod
    def commit(self, operation: Callable[[Tx], Any]) -> Any:  # noqa: ANN401 - the operation's own
        """Run a verb in a durable transaction and return its result."""

    def open_file(self, row: BlobRow, customer_key: bytes = b"") -> OpenBlob:
        """Open a file blob for reading; raises `CorruptError` for one that is known not to match its hash.

        Raises InvalidInputError CUSTOMER_KEY_REQUIRED or CUSTOMER_KEY_WRONG for one that a client's key encrypts.
        """
        if row.is_corrupt:
            raise CorruptError(ErrorKind.CORRUPT_BLOB, f"blob {row.id} does not match its hash", blob_id=row.id)
        if row.coding is not None:
            stored = msgspec.structs.replace(row, size_bytes=row.coded_bytes, coding=None, coded_bytes=None)
            return OpenCodedBlob(self.files, row, self.open_file(stored, customer_key), self.pictures, self._suspect)
        if row.sealed is None:
            return self.files.open(row)
        data_key = self.keys.data_key(row.sealed, row.id, customer_key)
        return OpenSealedBlob(self.files, row, self.files.open_descriptor(row), data_key, self._suspect)

    def open_verified(self, row: BlobRow, customer_key: bytes = b"", *, anew: bool = False) -> OpenBlob:
        """Open a file blob whose bytes match their hash; those checked long ago are hashed again, which blocks.

        With `anew` they are hashed whenever they were checked. Wrong ones are restored first, where that can be done.
        """
        try:
            return self._open_verified(row, customer_key, anew=anew)
        except CorruptError as error:
            if not self.heal(error):
                raise
        return self._open_verified(self._read_again(row), customer_key, anew=False)

    def _open_verified(self, row: BlobRow, customer_key: bytes, *, anew: bool) -> OpenBlob:
        blob = self.open_file(row, customer_key)
        if anew or not blob.is_verified(self.clock.now_ms()):
            self.verify(blob, anew=anew)
            blob = self.open_file(row, customer_key)
        if isinstance(blob, OpenCodedBlob):
            with closing_all([blob]):
                blob.prepare()
        return blob

    def _read_again(self, row: BlobRow) -> BlobRow:
        found = self.view().row(FIND_BLOB, (row.id,))
        return row if found is None else BlobRow(*found)

    def _suspect(self, row: BlobRow) -> bool:
        """Look at all of a file of which a segment did not open; say whether it is right now, and worth another try."""
        try:
            with self._verifying:
                self._verify(self.files.open(row))
        except CorruptError as error:
            return self.heal(error)
        except UnavailableError:
            return False
        return True

    def heal(self, error: CorruptError) -> bool:
        """Have the blob that an error names restored; say whether reading again is worth it. Blocks."""
        blob_id = error.details.get("blob_id")
        if self.healer is None or not isinstance(blob_id, int) or self.writer.transaction() is not None:
            return False
        return self.healer.heal(blob_id)

    def sound_inline_bytes(self, row: BlobRow, customer_key: bytes = b"", *, anew: bool = False) -> bytes:
        """Do as `inline_bytes`, with bytes that are wrong restored first where that can be done. Blocks."""
        try:
            return self.inline_bytes(row, customer_key, anew=anew)
        except CorruptError as error:
            if not self.heal(error):
                raise
        return self.inline_bytes(self._read_again(row), customer_key)

    def inline_bytes(self, row: BlobRow, customer_key: bytes = b"", *, anew: bool = False) -> bytes:
        """Return the bytes of an inline blob, hashed again when they were stored long ago, with `anew` always.

        Raises `CorruptError` when they have changed; of an encrypted one what `open_file` raises too.
        """
        if row.coding is not None:
            stored = msgspec.structs.replace(row, size_bytes=row.coded_bytes, coding=None, coded_bytes=None)
            return decode_inline(row, self.inline_bytes(stored, customer_key, anew=anew))
        body = row.body
        if body is not None and row.sealed is not None and not row.is_corrupt:
            plain = unseal_whole(row.id, self.keys.data_key(row.sealed, row.id, customer_key), body)
            if len(plain) == row.size_bytes:
                return plain
        elif body is not None and not row.is_corrupt and len(body) == row.size_bytes:
            is_fresh = not anew and 0 <= self.clock.now_ms() - row.verified_ms < VERIFIED_MS_MAX
            if is_fresh or blake3(body).digest() == row.digest:
                return body
        raise CorruptError(ErrorKind.CORRUPT_BLOB, f"blob {row.id} no longer matches its hash", blob_id=row.id)

    def verify(self, blob: OpenBlob, *, anew: bool = False) -> None:
        """Check a file blob against its hash and close it; what does not match is marked and never served.

        One thread at a time does so: of many readers of one blob the first hashes it, and the others find it done. With
        `anew` each hashes it, also an encrypted one, so that it is restored before its reader is told anything.
        """
        if anew and blob.is_verified(self.clock.now_ms()):
            self._verify(blob, is_noted=False)
            return
        with self._verifying:
            if blob.is_verified(self.clock.now_ms()):
                blob.close()
                return
            self._verify(blob)

    def _verify(self, blob: OpenBlob, *, is_noted: bool = True) -> None:
        row, opened = blob.row, os.fstat(blob.descriptor).st_ino
        try:
            inode, ctime_ns = blob.verify()
        except CorruptError:
            self.files.forget_verified(row.id)
            with contextlib.suppress(UnavailableError):  # the next read finds out again
                self.commit(partial(self._mark_unless_restored, blob_id=row.id, inode=opened))
            raise
        finally:
            blob.close()
        if not is_noted:
            return
        now_ms = self.clock.now_ms()
        self.files.note_verified(row, now_ms, inode, ctime_ns)
        with contextlib.suppress(UnavailableError):  # a read must not fail because its disk is full
            self.commit(partial(mark_verified, blob_id=row.id, now_ms=now_ms, inode=inode, ctime_ns=ctime_ns))

    def _mark_unless_restored(self, tx: Tx, *, blob_id: int, inode: int) -> None:
        """Mark a blob as corrupt, unless its file is another one by now than the one that was read."""
        with contextlib.suppress(OSError):
            if self.files.path(blob_id).stat().st_ino != inode:
                return
        mark_corrupt(tx, blob_id=blob_id)


def mark_verified(tx: Tx, *, blob_id: int, now_ms: int, inode: int, ctime_ns: int) -> None:
    """Record that a blob's bytes matched their hash."""
    tx.run("UPDATE blob SET verified_ms = ?, inode = ?, ctime_ns = ? WHERE id = ?", (now_ms, inode, ctime_ns, blob_id))


def mark_corrupt(tx: Tx, *, blob_id: int) -> None:
    """Record that a blob's bytes no longer match their hash."""
    tx.run("UPDATE blob SET is_corrupt = 1 WHERE id = ?", (blob_id,))

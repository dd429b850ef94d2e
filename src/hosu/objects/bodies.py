"""Bodies of objects as streams: one going in, hashed as it comes; one going out, verified and of one version."""

import hashlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import islice
from typing import Self

from hosu.kernel.errors import CorruptError, ErrorKind, PreconditionFailedError, UnavailableError
from hosu.kernel.fileio import Data, RangeReader
from hosu.kernel.limits import GIB, INLINE_BYTES_MAX, KIB, MIB, WRITE_BYTES
from hosu.objects.blobs import BlobRow, BlobWriter, OpenBlob, StagedBlob, disk_error
from hosu.objects.encryption.modes import Encryption
from hosu.objects.put import PutRequest, put_object
from hosu.objects.read import Piece, blob_row, find, find_with_blob, pieces
from hosu.objects.records import BlobKind, ObjectRecord
from hosu.objects.store import ObjectStore

HASH_BYTES = 4 * MIB
"""Bytes of a large piece that are hashed and written side by side before the next are looked at."""

PARALLEL_BYTES_MIN = 128 * KIB
"""From this size a piece is worth a second thread for its MD5."""

PIECES_PER_LOOK = 64
"""Parts of a composed object looked up at a time, so that memory does not grow with their number."""

WHOLE_BYTES = GIB
"""Bytes of one read call where all of a range is wanted at once; Linux returns at most 2 GiB."""


class BodyWriter:
    """A body on its way in: kept in memory while it is small, in a blob file from then on, MD5 taken as it goes by.

    Either `finish` it or `abort` it; as a context it aborts what was not finished. `hashes_beside` takes a thread for
    the MD5 of large pieces, which those who write many bodies at once are better without.
    """

    def __init__(self, store: ObjectStore, encryption: Encryption | None = None, *, hashes_beside: bool = True) -> None:
        self._store = store
        self._encryption = encryption
        self._hashes_beside = hashes_beside
        self._md5 = hashlib.md5(usedforsecurity=False)
        self._buffer = bytearray()
        self._blob: BlobWriter | None = None
        self._hasher: ThreadPoolExecutor | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.abort()

    def write(self, data: Data) -> None:
        """Append data, which belongs to the caller again on return."""
        view = memoryview(data).cast("B")
        if len(view) < WRITE_BYTES:
            self._buffer += view
            if len(self._buffer) >= WRITE_BYTES:
                self._spill_buffer()
            return
        self._spill_buffer()
        for start in range(0, len(view), HASH_BYTES):
            self._spill(view[start : start + HASH_BYTES])

    def finish(self) -> tuple[StagedBlob, str]:
        """Make the bytes safe; return what a record needs, and the MD5 in hex."""
        if self._blob is None and len(self._buffer) <= INLINE_BYTES_MAX:
            self._store.check_space()
            self._md5.update(self._buffer)
            return self._store.stage(bytes(self._buffer), self._encryption), self._md5.hexdigest()
        self._spill_buffer()
        assert self._blob is not None
        staged = self._store.finish_blob(self._blob)
        self._stop_hasher()
        return staged, self._md5.hexdigest()

    def abort(self) -> None:
        """Remove what was written. After `finish` this does nothing."""
        self._stop_hasher()
        if self._blob is not None:
            self._blob.abort()

    def _spill_buffer(self) -> None:
        if self._buffer:
            full, self._buffer = self._buffer, bytearray()
            self._spill(memoryview(full))

    def _spill(self, view: memoryview) -> None:
        if self._blob is None:
            self._blob = self._store.new_blob(self._encryption)
        if len(view) < PARALLEL_BYTES_MIN or not self._hashes_beside:
            self._md5.update(view)
            self._blob.write(view)
            return
        if self._hasher is None:
            self._hasher = ThreadPoolExecutor(1, thread_name_prefix="hosu-md5")
        hashing = self._hasher.submit(self._md5.update, view)
        try:
            self._blob.write(view)
        finally:
            hashing.result()  # the bytes must stay until they are hashed, also when the disk refuses them

    def _stop_hasher(self) -> None:
        if self._hasher is not None:
            self._hasher.shutdown(wait=False)
            self._hasher = None


def store_object(store: ObjectStore, request: PutRequest) -> ObjectRecord:
    """Give a staged body its record; its file goes when the record is refused.

    Only a refusal is an `Exception`. Whoever is interrupted while waiting does not know how the commit ends, and
    must leave the file to it.
    """
    try:
        return store.commit(partial(put_object, request=request))
    except UnavailableError:
        raise  # the disk failed, perhaps after the record was written: the sweep knows, once it can be read again
    except Exception:
        store.discard(request.body)
        raise


class StoredBody:
    """The bytes of one version of an object, whatever is put or deleted meanwhile; every blob verified when opened.

    Small bodies are held in memory, a file by its descriptor. The files of an object that was uploaded in parts are
    opened as they are read: once the sweep has taken them, `PreconditionFailedError` says that the version is gone.
    With `anew` every byte is hashed again first, as what is protected has to be.
    """

    def __init__(
        self, store: ObjectStore, key: str, blob: BlobRow | None, customer_key: bytes = b"", *, anew: bool = False
    ) -> None:
        self.size_bytes = 0 if blob is None else blob.size_bytes
        self._store = store
        self._key = key
        self._blob = blob
        self._customer_key = customer_key
        self._anew = anew
        self._inline = b""
        self._held: OpenBlob | None = None
        if blob is None:
            return
        if blob.kind == BlobKind.INLINE:
            self._inline = store.sound_inline_bytes(blob, customer_key, anew=anew)
        elif blob.kind == BlobKind.FILE:
            self._held = store.open_verified(blob, customer_key, anew=anew)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def read(self, start: int, end: int) -> bytes:
        """Return bytes start to end, which lie within the body."""
        if self._inline:
            return self._inline[start:end]
        found = list(self.chunks(start, end, WHOLE_BYTES))
        return found[0] if len(found) == 1 else b"".join(found)

    def chunks(self, start: int, end: int, chunk_bytes: int = WRITE_BYTES) -> Iterator[bytes]:
        """Yield bytes start to end, which lie within the body, in runs of at most chunk_bytes."""
        blob = self._blob
        if blob is None or start >= end:
            return
        if blob.kind == BlobKind.INLINE:
            yield self._inline[start:end]
        elif self._held is not None:
            yield from _read_file(self._held, start, end, chunk_bytes)
        else:
            while start < end:
                for piece in self._look_up(blob, start, end):
                    yield from self._read_piece(piece, chunk_bytes)
                    start += piece.size_bytes

    def close(self) -> None:
        """Let go of the file."""
        held, self._held = self._held, None
        if held is not None:
            held.close()
        self._blob, self._inline = None, b""

    def _look_up(self, blob: BlobRow, start: int, end: int) -> list[Piece]:
        view = self._store.view()
        with view.snapshot():
            if not view.value("SELECT refs FROM blob WHERE id = ?", (blob.id,)):
                # Nothing refers to it any more. The sweep takes segments a batch at a time: all there, or none counts.
                kept = view.value("SELECT sum(size_bytes) FROM segment WHERE blob_id = ?", (blob.id,))
                if kept != blob.size_bytes:
                    raise PreconditionFailedError(
                        ErrorKind.PRECONDITION_FAILED, f"{self._key!r} was removed while it was read", key=self._key
                    )
            found = list(islice(pieces(view, blob, start, end), PIECES_PER_LOOK))
        if not found:
            raise CorruptError(ErrorKind.CORRUPT_BLOB, f"blob {blob.id} ends before its size", blob_id=blob.id)
        return found

    def _read_piece(self, piece: Piece, chunk_bytes: int) -> Iterator[bytes]:
        end = piece.start + piece.size_bytes
        if piece.blob.kind == BlobKind.INLINE:
            yield self._store.sound_inline_bytes(piece.blob, self._customer_key, anew=self._anew)[piece.start : end]
            return
        opened = self._store.open_verified(piece.blob, self._customer_key, anew=self._anew)
        try:
            yield from _read_file(opened, piece.start, end, chunk_bytes)
        finally:
            opened.close()


def _read_file(opened: OpenBlob, start: int, end: int, chunk_bytes: int) -> Iterator[bytes]:
    while start < end:
        try:
            data = opened.read(start, min(chunk_bytes, end - start))
        except OSError as error:
            raise disk_error(error) from error
        yield data
        start += len(data)


def open_body(
    store: ObjectStore, bucket: str, key: str, version_id: str | None = None, *, customer_key: bytes = b""
) -> tuple[ObjectRecord, StoredBody]:
    """Return the current object of a key, or one version of it, with its bytes; looks through aliases.

    Raises InvalidInputError CUSTOMER_KEY_REQUIRED or CUSTOMER_KEY_WRONG when only its writer's key opens it.
    """
    view = store.view()
    if version_id is None:
        record, blob = find_with_blob(view, bucket, key)
    else:
        with view.snapshot():
            record = find(view, bucket, key, version_id)
            blob = None if record.blob_id is None else blob_row(view, record.blob_id)
    return record, StoredBody(store, key, blob, customer_key, anew=store.protected.covers(bucket, key))


class BodyReader(RangeReader):
    """An open body as a file: reads and seeks, and lets go of the body when closed."""

    def __init__(self, body: StoredBody) -> None:
        super().__init__(body.size_bytes, body.read)
        self._body = body

    def close(self) -> None:
        """Close the file and the body."""
        if not self.closed:
            self._body.close()
        super().close()

    def _take(self, size_bytes: int) -> bytes:
        if self.closed:
            raise ValueError("the file is closed")
        return super()._take(size_bytes)

"""Writing an object piece by piece: small ones in one put, big ones in parts while they are written."""

import queue
import threading
from collections.abc import Callable, Iterator

import obstore
from obstore.store import S3Store

from hosu.kernel.fileio.contract import FileWriter
from hosu.kernel.fileio.keys import FileStat
from hosu.kernel.fileio.s3_store import PART_BYTES, PARTS_IN_FLIGHT_MAX, s3_errors
from hosu.kernel.limits import MIB, PART_NUMBER_MAX


class _DiscardedError(Exception):
    """Raised inside the body of an upload: the client then aborts it, and the endpoint forgets the parts."""


class S3Writer(FileWriter):
    """Keeps up to one part in memory; from the first whole part on, a thread uploads what was written."""

    def __init__(
        self,
        key: str,
        store: S3Store,
        put: Callable[[bytearray], FileStat],
        stat_of_upload: Callable[[int, str], FileStat],
    ) -> None:
        super().__init__(key)
        self._store = store
        self._put = put
        self._stat_of_upload = stat_of_upload
        self._pending = bytearray()
        self._upload: _Upload | None = None

    def _append(self, view: memoryview) -> None:
        start = 0
        while start < view.nbytes:
            piece = view[start : start + PART_BYTES - len(self._pending)]
            self._pending += piece
            start += piece.nbytes
            if len(self._pending) == PART_BYTES:
                self._upload = self._upload or _Upload(self._store, self.key)
                with s3_errors(self.key):
                    self._upload.send(self._pending)
                self._pending = bytearray()

    def _publish(self) -> FileStat:
        if self._upload is None:
            return self._put(self._pending)
        with s3_errors(self.key):
            if self._pending:
                self._upload.send(self._pending)
            etag = self._upload.finish()
        return self._stat_of_upload(self.size_bytes, etag)

    def _abandon(self) -> None:
        self._pending = bytearray()
        if self._upload is not None:
            self._upload.discard()


class _Upload:
    """One multipart upload, fed through a queue by the writer's thread and sent by its own.

    The sending thread takes everything from the queue up to the end mark, also after a failure: the writer never
    waits for a thread that has gone.
    """

    def __init__(self, store: S3Store, key: str) -> None:
        self._store = store
        self._key = key
        self._pieces: queue.Queue[bytearray | None] = queue.Queue(maxsize=1)
        self._discarded = False
        self._ended = False
        self._exhausted = False
        self._failure: BaseException | None = None
        self._etag = ""
        self._thread = threading.Thread(target=self._run, name=f"hosu-upload-{key[-32:]}", daemon=True)
        self._thread.start()

    def send(self, piece: bytearray) -> None:
        if self._failure is not None:
            raise self._failure
        self._pieces.put(piece)

    def finish(self) -> str:
        self._end()
        if self._failure is not None:
            raise self._failure
        return self._etag

    def discard(self) -> None:
        self._discarded = True
        self._end()

    def _end(self) -> None:
        if not self._ended:
            self._ended = True
            self._pieces.put(None)
        self._thread.join()

    def _run(self) -> None:
        try:
            result = obstore.put(
                self._store,
                self._key,
                self._body(),
                use_multipart=True,
                chunk_size=PART_BYTES,
                max_concurrency=PARTS_IN_FLIGHT_MAX,
            )
            self._etag = (result["e_tag"] or "").strip('"')
        except BaseException as error:  # noqa: BLE001 - handed to the writer's thread, whatever it is
            self._failure = error
            self._drain()

    def _body(self) -> Iterator[bytearray]:
        while (piece := self._pieces.get()) is not None:
            yield piece
        self._exhausted = True
        if self._discarded:
            raise _DiscardedError

    def _drain(self) -> None:
        while not self._exhausted:
            self._exhausted = self._pieces.get() is None


def part_bytes(size_bytes: int) -> int:
    """Return the size of the parts in which a body of size_bytes fits an upload."""
    return max(PART_BYTES, -(-size_bytes // (PART_NUMBER_MAX * MIB)) * MIB)

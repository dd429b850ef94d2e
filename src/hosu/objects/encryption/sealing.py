"""Sealed blobs: bytes encrypted in segments, so that any range is read by opening the segments it touches.

A blob has a random key of its own, used for nothing else. Its bytes are cut into segments of 64 KiB, each sealed with
AES-256-GCM under a nonce that holds the segment's number and whether it is the last. So a segment that is changed,
moved, left out or taken from another blob does not open, nor does a blob that was cut or prolonged at a border.
"""

import threading
from collections.abc import Callable, Iterator

import msgspec
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from hosu.kernel.errors import CorruptError, ErrorKind, InvalidInputError, UnsupportedError
from hosu.kernel.limits import KIB
from hosu.kernel.sealing import TAG_BYTES, unseal

SEGMENT_BYTES = 64 * KIB
"""Plain bytes of every segment but the last. Part of the format."""

STORED_SEGMENT_BYTES = SEGMENT_BYTES + TAG_BYTES
SEGMENTS_PER_WRITE = 4
SEGMENTS_PER_READ = 16
"""Segments read and opened at a time: what is read stays in the processor's cache until it is opened."""

FORMAT = 1
DATA_KEY_CONTEXT = b"hosu: data key of a blob"
_LAST = 1 << 64
"""Bit of the nonce that marks the last segment; the number is below it."""


Read = Callable[[int, memoryview], int]
"""Fills a buffer with stored bytes from an offset; returns how many there were."""


class BlobSeal(msgspec.Struct, frozen=True, array_like=True):
    """What a blob's row keeps of its sealing: the data key, wrapped by a named key or, without a name, the client's."""

    key_name: str
    wrapped: bytes
    format: int = FORMAT

    def __rich_repr__(self) -> Iterator[tuple[str, object]]:  # type: ignore[override]
        yield "key_name", self.key_name


encode_seal = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(BlobSeal).decode


def decode_seal(stored: bytes, blob_id: int) -> BlobSeal:
    """Return what a row keeps of a blob's sealing. Raises UnsupportedError for one of a newer hosu."""
    try:
        found = _decode(stored)
    except msgspec.MsgspecError as error:
        raise CorruptError(ErrorKind.CORRUPT_BLOB, f"blob {blob_id} has lost its key", blob_id=blob_id) from error
    if found.format != FORMAT:
        raise UnsupportedError(
            ErrorKind.LAKE_NEWER, f"blob {blob_id} is sealed in format {found.format}: install a newer hosu"
        )
    return found


def open_customer_key(seal: BlobSeal, customer_key: bytes) -> bytes:
    """Return the data key of a blob that is sealed under a client's key.

    Raises InvalidInputError CUSTOMER_KEY_REQUIRED or CUSTOMER_KEY_WRONG.
    """
    if not customer_key:
        raise InvalidInputError(
            ErrorKind.CUSTOMER_KEY_REQUIRED,
            "the object is encrypted with a key that only its writer has: give it with the request (SSE-C)",
        )
    try:
        return unseal(customer_key, seal.wrapped, DATA_KEY_CONTEXT)
    except CorruptError as error:
        raise InvalidInputError(
            ErrorKind.CUSTOMER_KEY_WRONG, "the object is encrypted with another key than the one given (SSE-C)"
        ) from error


def stored_size(size_bytes: int) -> int:
    """Return the bytes that a sealed blob takes: a tag more per segment."""
    return size_bytes + TAG_BYTES * -(-size_bytes // SEGMENT_BYTES)


def _nonce(number: int, *, is_last: bool) -> bytes:
    return (number | _LAST if is_last else number).to_bytes(12, "big")


class Sealer:
    """Seals the bytes of one blob as they come. The last segment is held back until `finish`, which marks it."""

    def __init__(self, data_key: bytes, emit: Callable[[memoryview], None]) -> None:
        self._cipher = AESGCM(data_key)
        self._emit = emit
        self._number = 0
        self._pending = bytearray()
        self._out = memoryview(bytearray(SEGMENTS_PER_WRITE * STORED_SEGMENT_BYTES))
        self._filled = 0

    def update(self, data: bytes | bytearray | memoryview) -> None:
        """Seal what makes whole segments; `emit` is handed stored bytes, which it may use until it returns."""
        view = memoryview(data).cast("B")
        pending = self._pending
        if len(pending) + len(view) <= SEGMENT_BYTES:
            pending += view
            return
        start = 0
        if pending:
            start = SEGMENT_BYTES - len(pending)
            pending += view[:start]
            self._seal(pending, is_last=False)
            pending.clear()
        while len(view) - start > SEGMENT_BYTES:
            self._seal(view[start : start + SEGMENT_BYTES], is_last=False)
            start += SEGMENT_BYTES
        pending += view[start:]

    def finish(self) -> None:
        """Seal what is left as the last segment; a blob of no bytes has none."""
        if self._pending:
            self._seal(self._pending, is_last=True)
        self._flush()

    def _seal(self, segment: bytearray | memoryview, *, is_last: bool) -> None:
        if self._filled + len(segment) + TAG_BYTES > len(self._out):
            self._flush()
        end = self._filled + len(segment) + TAG_BYTES
        self._cipher.encrypt_into(_nonce(self._number, is_last=is_last), segment, None, self._out[self._filled : end])
        self._filled = end
        self._number += 1

    def _flush(self) -> None:
        if self._filled:
            self._emit(self._out[: self._filled])
            self._filled = 0


class _Scratch(threading.local):
    """A thread's buffers: new ones for every blob would take as long to get as to fill."""

    def __init__(self) -> None:
        self._stored = memoryview(b"")
        self._edge = memoryview(b"")

    def take(self, size: int) -> memoryview:
        """Return room for stored bytes, until the next call."""
        if not self._stored:
            self._stored = memoryview(bytearray(SEGMENTS_PER_READ * STORED_SEGMENT_BYTES))
        return self._stored[:size]

    def take_edge(self) -> memoryview:
        """Return room for the plain bytes of a segment of which a part is wanted."""
        if not self._edge:
            self._edge = memoryview(bytearray(SEGMENT_BYTES))
        return self._edge


_scratch = _Scratch()


class Unsealer:
    """Opens ranges of one sealed blob of `size_bytes` plain bytes."""

    def __init__(self, blob_id: int, data_key: bytes, size_bytes: int, read: Read) -> None:
        self._blob_id = blob_id
        self._cipher = AESGCM(data_key)
        self._size_bytes = size_bytes
        self._last = (size_bytes - 1) // SEGMENT_BYTES
        self._read = read

    def read_into(self, start: int, target: memoryview, read: Read | None = None) -> None:
        """Fill target with the bytes from start, which lie within the blob. Raises CorruptError.

        `read` stands in for the blob's own way of reading, and what it raises is raised.
        """
        read = self._read if read is None else read
        end = start + len(target)
        if not 0 <= start <= end <= self._size_bytes:
            raise ValueError(f"bytes {start} to {end} are outside of a blob of {self._size_bytes}")
        at = start
        while at < end:
            first = at // SEGMENT_BYTES
            stop = min(-(-end // SEGMENT_BYTES), first + SEGMENTS_PER_READ)
            at = self._open(first, stop, at, target[at - start :], read)

    def _open(self, first: int, stop: int, at: int, target: memoryview, read: Read) -> int:
        """Open segments first to stop into target, which begins with the byte `at`; return where it goes on."""
        offset = first * STORED_SEGMENT_BYTES
        size = min(stop * STORED_SEGMENT_BYTES, stored_size(self._size_bytes)) - offset
        stored = _scratch.take(size)
        if read(offset, stored) != size:
            raise self._corrupt("ends before its size")
        done = 0
        for number in range(first, stop):
            start = (number - first) * STORED_SEGMENT_BYTES
            segment = stored[start : start + STORED_SEGMENT_BYTES]
            plain_size, skipped = len(segment) - TAG_BYTES, at + done - number * SEGMENT_BYTES
            wanted = min(plain_size - skipped, len(target) - done)
            if wanted == plain_size:
                self._decrypt(number, segment, target[done : done + wanted])
            else:
                edge = _scratch.take_edge()[:plain_size]
                self._decrypt(number, segment, edge)
                target[done : done + wanted] = edge[skipped : skipped + wanted]
            done += wanted
        return at + done

    def _decrypt(self, number: int, segment: memoryview, target: memoryview) -> None:
        try:
            self._cipher.decrypt_into(_nonce(number, is_last=number == self._last), segment, None, target)
        except InvalidTag as error:
            raise self._corrupt(f"was changed: its segment {number} does not open") from error

    def _corrupt(self, what: str) -> CorruptError:
        return CorruptError(ErrorKind.CORRUPT_BLOB, f"blob {self._blob_id} {what}", blob_id=self._blob_id)


def seal_whole(data_key: bytes, body: bytes) -> bytes:
    """Return a body of one segment at most as it is stored."""
    assert len(body) <= SEGMENT_BYTES
    return AESGCM(data_key).encrypt(_nonce(0, is_last=True), body, None)


def unseal_whole(blob_id: int, data_key: bytes, stored: bytes) -> bytes:
    """Return the body that `seal_whole` has stored. Raises CorruptError."""
    try:
        return AESGCM(data_key).decrypt(_nonce(0, is_last=True), stored, None)
    except (InvalidTag, ValueError) as error:
        raise CorruptError(ErrorKind.CORRUPT_BLOB, f"blob {blob_id} was changed", blob_id=blob_id) from error

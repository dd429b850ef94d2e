"""Request bodies: received straight into pooled buffers, no faster than the handler takes them.

Until a handler asks, at most EARLY_BYTES_MAX are kept. Then a body of known length is received into buffers of
WRITE_BYTES by the socket itself; one in chunks is copied there from between its framing. When the handler falls
behind, reading stops and TCP slows the client down.
"""

import asyncio
from collections import deque
from typing import Protocol

from hosu.kernel.limits import WRITE_BYTES
from hosu.server.http.body import Piece, RequestBody
from hosu.server.http.chunked import ChunkedDecoder
from hosu.server.http.errors import BodyTooLargeError
from hosu.server.http.limits import DRAIN_BYTES_MAX, EARLY_BYTES_MAX


class BodyLink(Protocol):
    """What a body needs of its connection."""

    def pause_reading(self) -> None:
        """Take nothing more from the socket."""
        ...

    def resume_reading(self) -> None:
        """Take from the socket again."""
        ...

    def send_continue(self) -> None:
        """Tell the client that its body is wanted."""
        ...

    def body_complete(self, leftover: bytes) -> None:
        """Note that the body has arrived; `leftover` came behind it."""
        ...


class BufferPool:
    """Receive buffers of WRITE_BYTES that are used again, since fresh memory costs a page fault each 4 KiB."""

    __slots__ = ("_idle", "_idle_max")

    def __init__(self, idle_max: int) -> None:
        self._idle: list[bytearray] = []
        self._idle_max = idle_max

    def take(self) -> bytearray:
        """Return a buffer; what it holds is left over from another body."""
        return self._idle.pop() if self._idle else bytearray(WRITE_BYTES)

    def give(self, buffer: bytearray) -> None:
        """Take back a buffer that nobody reads any more."""
        if len(self._idle) < self._idle_max:
            self._idle.append(buffer)


class IncomingBody(RequestBody):
    """A body on its way; what LengthBody and ChunkedBody share."""

    __slots__ = (
        "_asked",
        "_buffer",
        "_early",
        "_error",
        "_filled",
        "_lent",
        "_link",
        "_paused",
        "_pieces",
        "_pool",
        "_unread_max",
        "_waiter",
        "awaits_continue",
        "discarding",
        "done",
    )
    has_body = True

    def __init__(
        self, link: BodyLink, pool: BufferPool, unread_max: int, content_length: int | None, *, awaits_continue: bool
    ) -> None:
        super().__init__(content_length)
        self._link = link
        self._pool = pool
        self._unread_max = unread_max
        self._early = bytearray()
        self._pieces: deque[Piece] = deque()
        self._buffer: bytearray | None = None
        self._filled = 0
        self._lent: dict[int, bytearray] = {}
        self._waiter: asyncio.Future[None] | None = None
        self._error: Exception | None = None
        self._asked = False
        self._paused = False
        self.awaits_continue = awaits_continue
        """The client holds its body back until it is asked for."""
        self.discarding = False
        self.done = False
        """The last byte has arrived."""

    # What the handler calls.

    async def chunk(self) -> Piece:
        """Return the next piece, of up to WRITE_BYTES, or b"" at the end."""
        if not self._asked:
            self._ask()
        while True:
            if self._error is not None:
                raise self._error
            if self._pieces:
                break
            if self.done:
                return b""
            self._waiter = asyncio.get_running_loop().create_future()
            try:
                await self._waiter
            finally:
                self._waiter = None
        piece = self._pieces.popleft()
        if isinstance(piece, memoryview) and isinstance(piece.obj, bytearray) and len(piece.obj) == WRITE_BYTES:
            self._lent[id(piece.obj)] = piece.obj
        if self._paused:
            self._resume()
        return piece

    def release(self, piece: Piece) -> None:
        """Give a piece back, so that its memory serves again; no thread may still read it."""
        if isinstance(piece, memoryview):
            buffer = self._lent.pop(id(piece.obj), None)
            if buffer is not None:
                piece.release()
                self._pool.give(buffer)

    async def read(self, limit_bytes: int) -> bytes:
        """Return the rest of the body; raises BodyTooLargeError past the limit, and what `chunk` raises."""
        if self.content_length is not None and self.content_length > limit_bytes:
            raise BodyTooLargeError(limit_bytes)
        whole = self.take_buffered()
        if whole is not None:
            if len(whole) > limit_bytes:
                raise BodyTooLargeError(limit_bytes)
            return whole
        gathered = bytearray()
        while piece := await self.chunk():
            gathered += piece
            self.release(piece)
            if len(gathered) > limit_bytes:
                raise BodyTooLargeError(limit_bytes)
        return bytes(gathered)

    def take_buffered(self) -> bytes | None:
        """Return the whole body if all of it has arrived and nothing was taken yet, else None."""
        if not self.done or self._asked or self._error is not None:
            return None
        self._asked = True
        whole = bytes(self._early)
        self._early = bytearray()
        return whole

    # What the connection calls.

    @property
    def waits_for_client(self) -> bool:
        """Whether the next step is the client's: silence is then a stall."""
        return not (self.done or self._paused or (self.awaits_continue and not self._asked))

    @property
    def awaited(self) -> bool:
        """Whether a handler waits for the next piece, and will be told of failures by it."""
        return self._waiter is not None

    @property
    def drainable(self) -> bool:
        """Whether what is left unread is short enough to receive and drop."""
        return self.done

    def target(self, scratch: memoryview) -> memoryview:
        """Return where the socket's next bytes go."""
        raise NotImplementedError

    def received(self, scratch: memoryview, size: int) -> None:
        """Take bytes that were received into `target`; raises ProtocolError."""
        raise NotImplementedError

    def feed(self, data: bytes) -> None:
        """Take bytes that came with the head; raises ProtocolError."""
        raise NotImplementedError

    def fail(self, error: Exception) -> None:
        """Let the handler's present or next wait for a piece end with `error`."""
        if self._error is None and not self.done:
            self._error = error
        self._wake()

    def discard(self) -> None:
        """Drop what was not read and all that still comes."""
        self.discarding = True
        self._early = bytearray()
        self.end()
        if self._paused:
            self._resume()

    def end(self) -> None:
        """Let go of all buffers; those still with the handler are left to it, and never used for another body."""
        self._lent.clear()
        for piece in self._pieces:
            if isinstance(piece, memoryview) and isinstance(piece.obj, bytearray):
                self._recycle(piece.obj)
        self._pieces.clear()
        if self._buffer is not None:
            self._recycle(self._buffer)
            self._buffer = None

    # Shared steps.

    def _ask(self) -> None:
        """Start handing the body over: what came early becomes the beginning of the first piece."""
        self._asked = True
        early, self._early = self._early, bytearray()
        if self.done:
            if early:
                self._pieces.append(early)
            return
        if early:
            buffer = self._open_buffer(len(early))
            buffer[: len(early)] = early
            self._filled = len(early)
        elif self.awaits_continue:
            self._link.send_continue()
        self.awaits_continue = False
        self._resume()

    def _open_buffer(self, held_bytes: int = 0) -> bytearray:
        """Return the buffer being filled; a new one will first get `held_bytes` that came early."""
        del held_bytes
        if self._buffer is None:
            self._buffer = self._pool.take()
            self._filled = 0
        return self._buffer

    def _push(self) -> None:
        """Make what the buffer holds the next piece."""
        if self._buffer is not None and self._filled:
            self._pieces.append(memoryview(self._buffer)[: self._filled])
            self._buffer = None
            self._wake()
        if len(self._pieces) >= self._unread_max:
            self._pause()

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def _pause(self) -> None:
        if not self._paused and not self.done:
            self._paused = True
            self._link.pause_reading()

    def _resume(self) -> None:
        self._paused = False
        self._link.resume_reading()

    def _complete(self, leftover: bytes) -> None:
        self.done = True
        self._paused = False
        self._wake()
        self._link.body_complete(leftover)

    def _recycle(self, buffer: bytearray) -> None:
        if len(buffer) == WRITE_BYTES:
            self._pool.give(buffer)


class LengthBody(IncomingBody):
    """A body with a Content-Length: never reads past its end, so what follows stays in the socket."""

    __slots__ = ("_missing",)

    def __init__(self, link: BodyLink, pool: BufferPool, unread_max: int, size: int, *, awaits_continue: bool) -> None:
        super().__init__(link, pool, unread_max, size, awaits_continue=awaits_continue)
        self._missing = size

    @property
    def received_bytes(self) -> int:
        """How much of the body has arrived."""
        return (self.content_length or 0) - self._missing

    @property
    def drainable(self) -> bool:
        """Whether what is left unread is short enough to receive and drop."""
        return self._missing <= DRAIN_BYTES_MAX and not self.awaits_continue

    def target(self, scratch: memoryview) -> memoryview:
        """Return where the socket's next bytes go."""
        if not self._asked or self.discarding:
            return scratch[: min(self._missing, EARLY_BYTES_MAX)]
        buffer = self._open_buffer()
        return memoryview(buffer)[self._filled : self._filled + self._missing]

    def received(self, scratch: memoryview, size: int) -> None:
        """Take bytes that were received into `target`."""
        if self.discarding:
            self._missing -= size
        elif self._asked:
            self._missing -= size
            self._filled += size
            assert self._buffer is not None
            if not self._missing or self._filled == len(self._buffer):
                self._push()
        else:
            self._keep_early(scratch[:size])
        if not self._missing:
            self._complete(b"")

    def feed(self, data: bytes) -> None:
        """Take bytes that came with the head."""
        leftover = data[self._missing :]
        self._keep_early(data[: self._missing])
        if not self._missing:
            self._complete(leftover)

    def _open_buffer(self, held_bytes: int = 0) -> bytearray:
        if self._buffer is None and self._missing + held_bytes <= EARLY_BYTES_MAX:
            # Small bodies, and short ends of long ones, do not hold half a mebibyte each.
            self._buffer = bytearray(self._missing + held_bytes)
            self._filled = 0
        return super()._open_buffer(held_bytes)

    def _keep_early(self, data: bytes | memoryview) -> None:
        self._early += data
        self._missing -= len(data)
        self.awaits_continue = self.awaits_continue and not data
        if self._missing and len(self._early) >= EARLY_BYTES_MAX:
            self._pause()


class ChunkedBody(IncomingBody):
    """A body in chunks."""

    __slots__ = ("_decoded_bytes", "_decoder", "_raw")

    def __init__(self, link: BodyLink, pool: BufferPool, unread_max: int, *, awaits_continue: bool) -> None:
        super().__init__(link, pool, unread_max, None, awaits_continue=awaits_continue)
        self._decoder = ChunkedDecoder()
        self._decoded_bytes = 0
        self._raw = b""

    @property
    def received_bytes(self) -> int:
        """How much of the body has arrived, without the framing of its chunks."""
        return self._decoded_bytes

    def target(self, scratch: memoryview) -> memoryview:
        """Return where the socket's next bytes go."""
        return scratch

    def received(self, scratch: memoryview, size: int) -> None:
        """Take bytes that were received into `target`; raises ProtocolError."""
        self.feed(bytes(scratch[:size]))

    def feed(self, data: bytes) -> None:
        """Take raw bytes; raises ProtocolError."""
        if data:
            self.awaits_continue = False
        self._raw += data
        self._decode()

    def _decode(self) -> None:
        raw, position, decoder = self._raw, 0, self._decoder
        while position < len(raw) and not decoder.done:
            if not decoder.in_data:
                position = decoder.framing(raw, position)
                continue
            size = min(decoder.left, len(raw) - position, self._room())
            if not size:
                break
            self._store(memoryview(raw)[position : position + size])
            decoder.took(size)
            self._decoded_bytes += size
            position += size
        self._raw = raw[position:]
        if decoder.done:
            self._push()
            leftover, self._raw = self._raw, b""
            self._complete(leftover)
        elif self._raw:
            self._pause()

    def _room(self) -> int:
        """Return how many bytes of data may be kept now."""
        if self.discarding:
            return len(self._raw)
        if not self._asked:
            return EARLY_BYTES_MAX - len(self._early)
        return 0 if len(self._pieces) >= self._unread_max else len(self._open_buffer()) - self._filled

    def _store(self, data: memoryview) -> None:
        if self.discarding:
            return
        if not self._asked:
            self._early += data
            return
        buffer = self._open_buffer()
        buffer[self._filled : self._filled + len(data)] = data
        self._filled += len(data)
        if self._filled == len(buffer):
            self._push()

    def _resume(self) -> None:
        """Decode what was held back first; it may fill the queue again, or hold the end of the body."""
        self._paused = False
        try:
            self._decode()
        except Exception as error:  # noqa: BLE001 - raised to the handler by its next wait
            self.fail(error)
        if not self._paused:
            self._link.resume_reading()

"""Bodies that are not at hand: files and streams.

A file goes out with `sendfile` from a thread, since a cold read would stop the event loop. The thread writes to a
duplicate of the socket, which keeps it valid whatever becomes of the connection, and never waits long for a client:
a slow one is left to the event loop, and a fast one gives way after SEND_TURN_BYTES.
"""

import asyncio
import contextlib
import os
import select
import socket
from collections.abc import Callable
from concurrent.futures import Executor
from enum import Enum, auto
from typing import Protocol, TypeVar

from hosu.kernel.errors import CorruptError, ErrorKind
from hosu.server.http.errors import ClientDisconnectedError
from hosu.server.http.limits import (
    READER_BYTES,
    READERS_SPARE_MAX,
    SEAL_BYTES,
    SEND_TURN_BYTES,
    SEND_WAIT_MS,
    SEND_WAITS_MAX,
    SENDFILE_BYTES_MIN,
)
from hosu.server.http.message import BytesSegment, FdSegment, FileBody, ReaderSegment, Segment, StreamBody

_T = TypeVar("_T")

_MSG_MORE: int = getattr(socket, "MSG_MORE", 0)
"""Lets the head share a packet with the body behind it (Linux)."""

_NOWAIT: int = getattr(os, "RWF_NOWAIT", 0)
"""Reads what is cached, and fails rather than wait for a disk (Linux)."""


_SPARES: list[memoryview] = []
"""Buffers that nobody fills: the system takes as long to hand out new ones as they take to be filled."""


class Channel(Protocol):
    """What sending needs of a connection."""

    def write(self, data: bytes) -> None:
        """Hand bytes to the transport."""
        ...

    async def drained(self, *, wholly: bool = False) -> None:
        """Wait until the transport takes more, or holds nothing; raises ClientDisconnectedError."""
        ...

    def duplicate(self) -> socket.socket:
        """Return another descriptor of the connection's socket."""
        ...

    def lend(self) -> Callable[[memoryview], bytes] | None:
        """Let a thread write to the socket itself; return how it has to seal what it writes, if at all."""
        ...

    def take_back(self) -> None:
        """Go on when the thread is done."""
        ...


class _Turn(Enum):
    DONE = auto()
    CLIENT_IS_SLOW = auto()
    OTHERS_FIRST = auto()


class FileSender:
    """Sends one FileBody behind its head, and closes it."""

    __slots__ = ("_aborted", "_body", "_channel", "_executor", "_head", "_pump", "_writable")

    def __init__(self, channel: Channel, executor: Executor, head: bytes, body: FileBody) -> None:
        self._channel = channel
        self._executor = executor
        self._head = head
        self._body = body
        self._aborted = False
        self._pump: _Pump | None = None
        self._writable: asyncio.Future[None] | None = None

    @property
    def progress(self) -> int:
        """Bytes that have left so far, head included."""
        return 0 if self._pump is None else self._pump.sent

    def try_at_once(self) -> bytearray | None:
        """Return head and body if the system holds all of it in memory, without waiting for a disk."""
        if self._body.size >= SENDFILE_BYTES_MIN:
            return None
        whole = bytearray(len(self._head) + self._body.size)
        whole[: len(self._head)] = self._head
        at = len(self._head)
        for segment in self._body.segments:
            if isinstance(segment, BytesSegment):
                whole[at : at + len(segment.data)] = segment.data
                at += len(segment.data)
            elif _read_cached(segment, memoryview(whole)[at : at + segment.size]):
                at += segment.size
            else:
                return None
        self._body.close()
        return whole

    async def send(self) -> None:
        """Send it all.

        Raises ClientDisconnectedError, or CorruptError when a file is shorter than its segment: the response is then
        cut short, and only closing the connection tells the client.
        """
        try:
            if self._aborted:
                raise ClientDisconnectedError
            if self._body.size < SENDFILE_BYTES_MIN:
                self._channel.write(await self._in_thread(self._read_whole))
            else:
                await self._sendfile()
        finally:
            self._body.close()

    def abort(self) -> None:
        """Stop soon; `send` raises ClientDisconnectedError once no thread is at work."""
        self._aborted = True
        if self._pump is not None:
            self._pump.abort()
        if self._writable is not None and not self._writable.done():
            self._writable.set_result(None)

    async def _in_thread(self, work: Callable[[], _T]) -> _T:
        """Run work that uses the descriptors; whatever happens to the task, it is not left before the thread is."""
        running = asyncio.get_running_loop().run_in_executor(self._executor, work)
        cancelled = False
        while not running.done():
            try:
                await asyncio.wait((running,))
            except asyncio.CancelledError:
                cancelled = True
                self.abort()
        if cancelled:
            raise asyncio.CancelledError
        result = running.result()
        if self._aborted:
            raise ClientDisconnectedError
        return result

    def _read_whole(self) -> bytes:
        return b"".join([self._head, *(_read(segment) for segment in self._body.segments)])

    async def _sendfile(self) -> None:
        await self._channel.drained(wholly=True)
        seal = self._channel.lend()
        try:
            with self._channel.duplicate() as sock:
                if seal is None:
                    self._pump = _Pump(sock, self._head, self._body.segments)
                else:
                    self._pump = _SealingPump(sock, self._head, self._body.segments, seal)
                while (turn := await self._in_thread(self._pump.run)) is not _Turn.DONE:
                    if turn is _Turn.CLIENT_IS_SLOW:
                        await self._until_writable(sock)
                    if self._aborted:
                        raise ClientDisconnectedError
        finally:
            self._channel.take_back()

    async def _until_writable(self, sock: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        self._writable = loop.create_future()
        loop.add_writer(sock.fileno(), _resolve, self._writable)
        try:
            await self._writable
        finally:
            loop.remove_writer(sock.fileno())
            self._writable = None


class _Pump:
    """Moves head and segments into a non-blocking socket; each `run` is a turn of a thread."""

    __slots__ = ("_aborted", "_left", "_made", "_made_size", "_sock", "_source", "sent")

    def __init__(self, sock: socket.socket, head: bytes, segments: list[Segment]) -> None:
        self._sock = sock
        self._left: list[FdSegment | ReaderSegment | memoryview] = [memoryview(head)]
        self._left += [memoryview(part.data) if isinstance(part, BytesSegment) else part for part in segments]
        self._left.reverse()
        self._made = memoryview(b"")
        self._made_size = 0
        self._source: ReaderSegment | None = None
        """What the bytes that leave now were made from, while they are not all gone."""
        self._aborted = False
        self.sent = 0

    def abort(self) -> None:
        """Stop the present turn, and the client's wait: a duplicate would keep the socket open."""
        self._aborted = True
        with contextlib.suppress(OSError):
            self._sock.shutdown(socket.SHUT_RDWR)

    def run(self) -> _Turn:
        """Send until all is sent, the client is slow or the turn is over; raises as `FileSender.send`."""
        try:
            return self._run()
        finally:
            self._unmake()

    def _run(self) -> _Turn:
        waits, turn_end = 0, self.sent + SEND_TURN_BYTES
        poller: select.poll | None = None
        while not self._is_done():
            if self._aborted:
                raise ClientDisconnectedError
            if self.sent >= turn_end:
                return _Turn.OTHERS_FIRST
            try:
                self._step(turn_end - self.sent)
            except BlockingIOError:
                if poller is None:
                    poller = select.poll()
                    poller.register(self._sock, select.POLLOUT)
                waits += 1
                if waits > SEND_WAITS_MAX or not poller.poll(SEND_WAIT_MS):
                    return _Turn.CLIENT_IS_SLOW
            except (BrokenPipeError, ConnectionError) as error:
                raise ClientDisconnectedError from error
        return _Turn.DONE

    def _is_done(self) -> bool:
        return not self._left

    def _make(self, part: ReaderSegment, size_max: int) -> memoryview:
        """Put the next bytes of a segment in its place, in a buffer that is used again once they have left."""
        if not self._made:
            self._made = _SPARES.pop() if _SPARES else memoryview(bytearray(READER_BYTES))
        size = min(part.size, size_max - part.offset % size_max)
        made = self._made[:size]
        part.read_into(part.offset, made)
        self._source, self._made_size = part, size
        self._left.pop()
        if part.size > size:
            self._left.append(part._replace(offset=part.offset + size, size=part.size - size))
        return made

    def _unmake(self) -> None:
        """Let others have the buffer until the next turn, which makes again what has not left: clients may be slow."""
        source, self._source = self._source, None
        if source is not None and isinstance(part := self._left[-1], memoryview):
            self._left.pop()
            if self._made_size < source.size:
                self._left.pop()  # the rest, which `_make` has put below
            gone = self._made_size - len(part)
            self._left.append(source._replace(offset=source.offset + gone, size=source.size - gone))
        made, self._made = self._made, memoryview(b"")
        if made and len(_SPARES) < READERS_SPARE_MAX:
            _SPARES.append(made)

    def _step(self, size_max: int) -> None:
        part = self._left[-1]
        if isinstance(part, ReaderSegment):
            self._left.append(part := self._make(part, READER_BYTES))
        if isinstance(part, FdSegment):
            size = min(part.size, size_max)
            sent = os.sendfile(self._sock.fileno(), part.fd, part.offset, size) if size else 0
            if size and not sent:
                raise CorruptError(ErrorKind.CORRUPT_BLOB, f"a file ends {part.size} bytes before its segment does")
            rest: FdSegment | memoryview = FdSegment(part.fd, part.offset + sent, part.size - sent)
            left = part.size - sent
        else:
            more = _MSG_MORE if len(self._left) > 1 else 0
            sent = self._sock.send(part[:size_max], more) if part else 0
            rest, left = part[sent:], len(part) - sent
        self.sent += sent
        if left:
            self._left[-1] = rest
        else:
            self._left.pop()
            self._source = None


class _SealingPump(_Pump):
    """A pump that reads and seals a piece at a time, since `sendfile` cannot."""

    __slots__ = ("_buffer", "_seal", "_sealed")

    def __init__(
        self, sock: socket.socket, head: bytes, segments: list[Segment], seal: Callable[[memoryview], bytes]
    ) -> None:
        super().__init__(sock, head, segments)
        self._left = [part for part in self._left if (len(part) if isinstance(part, memoryview) else part.size)]
        self._seal = seal
        self._sealed = memoryview(b"")
        """What the socket did not take yet: sealed once, it has to leave in its turn."""
        self._buffer = memoryview(bytearray(SEAL_BYTES))

    def _is_done(self) -> bool:
        return not self._left and not self._sealed

    def _step(self, size_max: int) -> None:
        del size_max
        if not self._sealed:
            self._sealed = memoryview(self._seal(self._next()))
        more = _MSG_MORE if self._left else 0
        sent = self._sock.send(self._sealed, more)
        self._sealed = self._sealed[sent:]
        self.sent += sent

    def _next(self) -> memoryview:
        """Take the next piece off what is left."""
        part = self._left[-1]
        if isinstance(part, ReaderSegment):
            made = self._make(part, SEAL_BYTES)
            self._source = None  # it is sealed now, and leaves as such
            return made
        self._left.pop()
        if isinstance(part, memoryview):
            if len(part) > SEAL_BYTES:
                self._left.append(part[SEAL_BYTES:])
            return part[:SEAL_BYTES]
        size = os.preadv(part.fd, [self._buffer[: min(part.size, SEAL_BYTES)]], part.offset)
        if part.size and not size:
            raise CorruptError(ErrorKind.CORRUPT_BLOB, f"a file ends {part.size} bytes before its segment does")
        if part.size > size:
            self._left.append(FdSegment(part.fd, part.offset + size, part.size - size))
        return self._buffer[:size]


def _resolve(future: "asyncio.Future[None]") -> None:
    if not future.done():
        future.set_result(None)


def _read(segment: Segment) -> bytes | bytearray:
    """Read a segment whole; raises CorruptError when the file ends before it."""
    if isinstance(segment, BytesSegment):
        return segment.data
    if isinstance(segment, ReaderSegment):
        whole = bytearray(segment.size)
        segment.read_into(segment.offset, memoryview(whole))
        return whole
    parts = []
    offset, left = segment.offset, segment.size
    while left:
        part = os.pread(segment.fd, left, offset)
        if not part:
            raise CorruptError(ErrorKind.CORRUPT_BLOB, f"a file ends {left} bytes before its segment does")
        parts.append(part)
        offset += len(part)
        left -= len(part)
    return b"".join(parts)


def _read_cached(segment: FdSegment | ReaderSegment, target: memoryview) -> bool:
    """Read a segment if no disk is needed for it; False also where the system cannot tell."""
    if not segment.size:
        return True
    if isinstance(segment, ReaderSegment):
        return segment.read_cached(segment.offset, target)
    if not _NOWAIT:
        return False
    try:
        return os.preadv(segment.fd, [target], segment.offset, _NOWAIT) == segment.size
    except OSError:
        return False


async def send_stream(channel: Channel, head: bytes, body: StreamBody, *, chunked: bool) -> int:
    """Send a body while it is made; return its size in bytes.

    Raises ClientDisconnectedError, what the iterator raises, and ValueError when it does not keep to its
    Content-Length; the response is then cut short, and only closing the connection tells the client.
    """
    sent, limit = 0, body.content_length
    channel.write(head)
    try:
        async for piece in body.pieces:
            if not piece:
                continue
            sent += len(piece)
            if limit is not None and sent > limit:
                raise ValueError(f"a stream of {limit} bytes made {sent}")
            channel.write(b"%x\r\n%b\r\n" % (len(piece), piece) if chunked else piece)
            await channel.drained()
    finally:
        await body.aclose()
    if limit is not None and sent != limit:
        raise ValueError(f"a stream of {limit} bytes made {sent}")
    if chunked:
        channel.write(b"0\r\n\r\n")
    return sent

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
from hosu.server.http.limits import COPY_BYTES, SEND_TURN_BYTES, SEND_WAIT_MS, SEND_WAITS_MAX, SENDFILE_BYTES_MIN
from hosu.server.http.message import BytesSegment, FdSegment, FileBody, Segment, StreamBody

_T = TypeVar("_T")

_MSG_MORE: int = getattr(socket, "MSG_MORE", 0)
"""Lets the head share a packet with the body behind it (Linux)."""

_NOWAIT: int = getattr(os, "RWF_NOWAIT", 0)
"""Reads what is cached, and fails rather than wait for a disk (Linux)."""


class Channel(Protocol):
    """What sending needs of a connection."""

    secure: bool

    def write(self, data: bytes) -> None:
        """Hand bytes to the transport."""
        ...

    async def drained(self, *, wholly: bool = False) -> None:
        """Wait until the transport takes more, or holds nothing; raises ClientDisconnectedError."""
        ...

    def duplicate(self) -> socket.socket:
        """Return another descriptor of the connection's socket."""
        ...


class _Turn(Enum):
    DONE = auto()
    CLIENT_IS_SLOW = auto()
    OTHERS_FIRST = auto()


class FileSender:
    """Sends one FileBody behind its head, and closes it."""

    __slots__ = ("_aborted", "_body", "_channel", "_executor", "_head", "_pump", "_writable", "sent")

    def __init__(self, channel: Channel, executor: Executor, head: bytes, body: FileBody) -> None:
        self._channel = channel
        self._executor = executor
        self._head = head
        self._body = body
        self._aborted = False
        self._pump: _Pump | None = None
        self._writable: asyncio.Future[None] | None = None
        self.sent = 0
        """Bytes written so far; a thread counts it up."""

    @property
    def progress(self) -> int:
        """Bytes that have left so far, head included."""
        return self.sent if self._pump is None else self._pump.sent

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
            elif self._channel.secure:
                await self._copy()
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

    async def _copy(self) -> None:
        """Send in pieces through the transport, no faster than it takes them."""
        self._channel.write(self._head)
        for segment in self._body.segments:
            for part in _split(segment):
                self._channel.write(await self._in_thread(lambda part=part: _read(part)))  # type: ignore[misc]
                await self._channel.drained()
                self.sent += len(part.data) if isinstance(part, BytesSegment) else part.size

    async def _sendfile(self) -> None:
        await self._channel.drained(wholly=True)
        loop = asyncio.get_running_loop()
        with self._channel.duplicate() as sock:
            self._pump = _Pump(sock, self._head, self._body.segments)
            while (turn := await self._in_thread(self._pump.run)) is not _Turn.DONE:
                if turn is _Turn.CLIENT_IS_SLOW:
                    self._writable = loop.create_future()
                    loop.add_writer(sock.fileno(), _resolve, self._writable)
                    try:
                        await self._writable
                    finally:
                        loop.remove_writer(sock.fileno())
                        self._writable = None
                if self._aborted:
                    raise ClientDisconnectedError


class _Pump:
    """Moves head and segments into a non-blocking socket; each `run` is a turn of a thread."""

    __slots__ = ("_aborted", "_left", "_sock", "sent")

    def __init__(self, sock: socket.socket, head: bytes, segments: list[Segment]) -> None:
        self._sock = sock
        self._left: list[FdSegment | memoryview] = [memoryview(head)]
        self._left += [part if isinstance(part, FdSegment) else memoryview(part.data) for part in segments]
        self._left.reverse()
        self._aborted = False
        self.sent = 0

    def abort(self) -> None:
        """Stop the present turn, and the client's wait: a duplicate would keep the socket open."""
        self._aborted = True
        with contextlib.suppress(OSError):
            self._sock.shutdown(socket.SHUT_RDWR)

    def run(self) -> _Turn:
        """Send until all is sent, the client is slow or the turn is over; raises as `FileSender.send`."""
        waits, turn_end = 0, self.sent + SEND_TURN_BYTES
        poller: select.poll | None = None
        while self._left:
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

    def _step(self, size_max: int) -> None:
        part = self._left[-1]
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


def _resolve(future: "asyncio.Future[None]") -> None:
    if not future.done():
        future.set_result(None)


def _split(segment: Segment) -> list[Segment]:
    """Cut a segment into parts of COPY_BYTES."""
    if isinstance(segment, BytesSegment):
        return [BytesSegment(segment.data[at : at + COPY_BYTES]) for at in range(0, len(segment.data), COPY_BYTES)]
    end = segment.offset + segment.size
    return [FdSegment(segment.fd, at, min(COPY_BYTES, end - at)) for at in range(segment.offset, end, COPY_BYTES)]


def _read(segment: Segment) -> bytes:
    """Read a segment whole; raises CorruptError when the file ends before it."""
    if isinstance(segment, BytesSegment):
        return segment.data
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


def _read_cached(segment: FdSegment, target: memoryview) -> bool:
    """Read a segment if no disk is needed for it; False also where the system cannot tell."""
    if not segment.size:
        return True
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

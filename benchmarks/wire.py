"""One connection of the load generator: a request goes out, just enough of the answer is read to know it is whole."""

import socket
import struct
from collections.abc import Generator
from itertools import count
from typing import NamedTuple

RECEIVE_BYTES = 64 * 1024
"""One receive call takes a small answer whole."""

STAMP_BYTES = 16
"""Every body sent begins with so many bytes that no other body has, or a server that stores equal
contents once would be asked to write nothing."""

CHUNKED = -1
"""Stands for the length of an answer in chunks."""


class Request(NamedTuple):
    """What is sent, and what a good answer looks like."""

    head: bytes
    body: memoryview | None = None
    """What follows the head and the stamp; None sends no body at all."""
    payload_bytes: int = 0
    """Bytes of object content that this request moves, either way."""
    expect_bytes: int = -1
    """Length the answer must have; -1 takes any."""
    bodiless: bool = False
    """The answer announces a length and carries no body: HEAD."""
    collect: bool = False
    """Keep the body of the answer for the flow."""
    last: bool = True
    """The operation is complete with this request; an upload in parts takes several."""
    stamped: bool = True
    """A stamp goes before the body."""


class Response(NamedTuple):
    """What came back. `head` and `body` are filled only when the request collects."""

    status: int
    length: int
    head: bytes = b""
    body: bytes = b""


Flow = Generator[Request, Response | None, None]
"""Yields the next request to send; is sent the response to the one before."""


class WireError(Exception):
    """The answer is not HTTP/1.1 as this reader knows it, or the connection ended inside it."""


def parse_head(head: bytes) -> tuple[int, int, bool]:
    """Return status, length of the body (CHUNKED if in chunks) and whether the server will close the connection.

    `head` ends with the line end of its last field, the blank line excluded.
    """
    if not head.startswith(b"HTTP/1."):
        raise WireError(f"answer starts with {head[:16]!r}, expected HTTP/1.1")
    status = int(head[9:12])
    lower = head.lower()
    close = b"\r\nconnection: close\r\n" in lower or head[7:8] == b"0"
    at = lower.find(b"\r\ncontent-length:")
    if at >= 0:
        return status, int(lower[at + 17 : lower.index(b"\r\n", at + 17)]), close
    if b"\r\ntransfer-encoding: chunked" in lower:
        return status, CHUNKED, close
    if status in {204, 304} or status < 200:
        return status, 0, close
    raise WireError(f"answer {status} has neither Content-Length nor chunks")


def join_chunks(data: bytes) -> bytes | None:
    """Return the content of a chunked body, or None when its end has not arrived."""
    pieces: list[bytes] = []
    at = 0
    while (line_end := data.find(b"\r\n", at)) >= 0:
        size = int(data[at:line_end].split(b";")[0], 16)
        start = line_end + 2
        if size == 0:
            return b"".join(pieces) if data.find(b"\r\n", start) >= 0 else None
        if len(data) < start + size + 2:
            return None
        pieces.append(data[start : start + size])
        at = start + size + 2
    return None


class Connection:
    """A non-blocking socket with at most one request under way."""

    __slots__ = ("_buffer", "_left", "_response", "_stamp", "_unsent", "closing", "request", "sock", "started_ns")

    def __init__(self, address: tuple[str, int], stamp: bytes) -> None:
        self.sock = socket.create_connection(address, timeout=10)
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.sock.settimeout(0)
        self.request: Request | None = None
        self.started_ns = 0
        self.closing = False
        self._stamp = _stamps(stamp)
        self._unsent: list[memoryview] = []
        self._buffer = b""
        self._left = 0
        self._response: Response | None = None

    def send(self, request: Request) -> bool:
        """Send as much as the socket takes now; return whether that was all."""
        self.request = request
        if request.body is None:
            sent = self.sock.send(request.head)
            if sent == len(request.head):
                return True
            self._unsent = [memoryview(request.head)[sent:]]
            return False
        stamp = next(self._stamp) if request.stamped else b""
        self._unsent = [memoryview(request.head + stamp), request.body]
        return self.send_more()

    def send_more(self) -> bool:
        """Go on sending what is left; return whether nothing is left."""
        try:
            sent = self.sock.sendmsg(self._unsent)
        except BlockingIOError:
            return False
        while self._unsent and sent >= len(self._unsent[0]):
            sent -= len(self._unsent.pop(0))
        if self._unsent:
            self._unsent[0] = self._unsent[0][sent:]
        return not self._unsent

    def receive(self, scratch: bytearray) -> Response | None:
        """Read once; return the response when it is whole. A large body is counted in `scratch` and dropped."""
        if self._left:
            received = self.sock.recv_into(scratch, min(self._left, len(scratch)))
            if not received:
                raise WireError(f"connection ended {self._left} bytes before the end of the body")
            self._left -= received
            return None if self._left else self._response
        data = self.sock.recv(RECEIVE_BYTES)
        if not data:
            raise WireError("connection ended before the answer")
        if self._buffer:
            data = self._buffer + data
            self._buffer = b""
        end = data.find(b"\r\n\r\n")
        if end < 0:
            self._buffer = data
            return None
        return self._finish(data, end)

    def _finish(self, data: bytes, end: int) -> Response | None:
        assert self.request is not None
        head = data[: end + 2]
        status, length, self.closing = parse_head(head)
        if self._unsent:
            # Answered before the whole request was sent: the rest of it must not reach the next one.
            self.closing = True
        collect = self.request.collect
        if length == CHUNKED and not self.request.bodiless:
            body = join_chunks(data[end + 4 :])
            if body is None:
                self._buffer = data
                return None
            return Response(status, len(body), head, body)
        missing = 0 if self.request.bodiless else length - (len(data) - end - 4)
        if missing < 0:
            raise WireError(f"{-missing} bytes more than the answer announced")
        if missing and (collect or status >= 300):
            self._buffer = data
            return None
        self._left = missing
        if collect or status >= 300:
            return Response(status, length, head, data[end + 4 :])
        self._response = Response(status, length)
        return None if missing else self._response

    def close(self) -> None:
        """Give the socket back."""
        self.sock.close()


def _stamps(prefix: bytes) -> Generator[bytes, None, None]:
    """Yield bytes of STAMP_BYTES that never repeat under one prefix of 8 bytes."""
    assert len(prefix) == 8
    for number in count():
        yield prefix + struct.pack(">Q", number)

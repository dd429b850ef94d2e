"""The transport's side of a connection: reading and writing with back-pressure, closing without loss."""

import asyncio
import socket
from collections.abc import Callable
from typing import TYPE_CHECKING, cast

from hosu.server.http.errors import ClientDisconnectedError
from hosu.server.http.receiving import IncomingBody

if TYPE_CHECKING:
    from hosu.server.http.secure import SecureTransport
    from hosu.server.http.server import HttpServer

Seal = Callable[[memoryview], bytes]
"""Returns bytes as they travel."""

_CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"


class Wire(asyncio.BufferedProtocol):
    """What Connection needs of its transport; implements BodyLink (in part) and Channel."""

    __slots__ = (
        "_body",
        "_drain_waiter",
        "_eof",
        "_last",
        "_loop",
        "_lost",
        "_peer",
        "_reading_paused",
        "_scratch",
        "_server",
        "_since_s",
        "_transport",
        "_write_paused",
        "secure",
        "tls_version",
    )

    _transport: asyncio.Transport
    _peer: tuple[str, int]

    def __init__(self, server: "HttpServer", *, secure: bool) -> None:
        self._server = server
        self._loop = server.loop
        self._scratch = server.scratch
        self.secure = secure
        self.tls_version = ""
        self._body: IncomingBody | None = None
        """The body being received."""
        self._drain_waiter: asyncio.Future[None] | None = None
        self._last = False
        """No further request is taken; what arrives is dropped until the client or a deadline closes."""
        self._lost = False
        self._eof = False
        self._reading_paused = False
        self._write_paused = False
        self._since_s = server.now_s
        """When the client was last heard of, as far as its present deadline is concerned."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Remember the transport and who is at its other end."""
        self._transport = cast("asyncio.Transport", transport)  # uvloop has classes of its own
        peer = transport.get_extra_info("peername")
        self._peer = (str(peer[0]), int(peer[1])) if isinstance(peer, tuple) else ("", 0)

    def get_buffer(self, sizehint: int) -> memoryview:
        """Return where the next bytes go."""
        del sizehint
        if self._body is not None:
            return self._body.target(self._scratch)
        return self._server.head_scratch

    def pause_writing(self) -> None:
        """Stop making answers: the client does not take them as fast."""
        self._write_paused = True
        self._since_s = self._server.now_s

    def resume_writing(self) -> None:
        """Go on."""
        self._write_paused = False
        if self._drain_waiter is None:
            self._writable_again()
        elif not self._drain_waiter.done():
            self._drain_waiter.set_result(None)

    def _writable_again(self) -> None:
        """Handle what waited for the client to take its answers."""
        raise NotImplementedError

    def pause_reading(self) -> None:
        """Take nothing more from the socket."""
        if not self._reading_paused and not self._lost:
            self._reading_paused = True
            self._transport.pause_reading()

    def resume_reading(self) -> None:
        """Take from the socket again."""
        self._since_s = self._server.now_s
        if self._reading_paused and not self._lost:
            self._reading_paused = False
            self._transport.resume_reading()

    def send_continue(self) -> None:
        """Tell the client that its body is wanted."""
        if not self._lost:
            self._transport.write(_CONTINUE)

    def write(self, data: bytes) -> None:
        """Hand bytes to the transport."""
        if not self._lost:
            self._transport.write(data)

    async def drained(self, *, wholly: bool = False) -> None:
        """Wait until the transport takes more, or holds nothing; raises ClientDisconnectedError."""
        if self._lost:
            raise ClientDisconnectedError
        if wholly and self._transport.get_write_buffer_size():
            self._transport.set_write_buffer_limits(high=0)
        try:
            if self._write_paused:
                self._drain_waiter = self._loop.create_future()
                await self._drain_waiter
        finally:
            self._drain_waiter = None
            if wholly and not self._lost:
                self._transport.set_write_buffer_limits()

    def duplicate(self) -> socket.socket:
        """Return another descriptor of the connection's socket."""
        sock = self._transport.get_extra_info("socket")
        return socket.fromfd(sock.fileno(), sock.family, sock.type)

    def lend(self) -> Seal | None:
        """Let a thread write to the socket itself; return how it has to seal what it writes, if at all."""
        if not self.secure:
            return None
        transport = cast("SecureTransport", self._transport)
        transport.lend()
        return transport.seal

    def take_back(self) -> None:
        """Go on when the thread is done."""
        if self.secure and not self._lost:
            cast("SecureTransport", self._transport).take_back()

    def abort(self) -> None:
        """End the connection now, whatever was written."""
        self._last = True
        if not self._lost:
            self._transport.abort()

    def _close(self, *, linger: bool) -> None:
        """End the connection behind what was written.

        Closing while the client still sends would make its system drop the answer unread; such a connection lingers:
        its bytes are read and dropped until the client closes, or the sweep does.
        """
        self._since_s = self._server.now_s
        body, self._body = self._body, None
        if body is not None:
            body.end()
        if self._lost:
            return
        if self._eof or not linger or not self._transport.can_write_eof():
            self._transport.close()
            return
        self._transport.write_eof()
        self.resume_reading()

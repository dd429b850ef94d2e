"""TLS between a socket's transport and a connection: what is received is opened, what is written is sealed.

Made on OpenSSL's memory buffers, so that a thread that sends a file can seal it too: the loop then has other work,
and no byte of a download passes through it. OpenSSL wants one thread at a time, so while a thread has the keys
(`lend`), what the client sends is kept as it came.
"""

import asyncio
import contextlib
import ssl
from typing import TYPE_CHECKING, Any, cast

from hosu.server.http.limits import SEAL_BYTES

if TYPE_CHECKING:
    from hosu.server.http.connection import Connection

_HANDSHAKE_BYTE = 0x16
"""What every TLS conversation begins with."""

_NOT_TLS = (
    b"HTTP/1.0 400 Bad Request\r\nContent-Type: text/plain; charset=utf-8\r\nConnection: close\r\n\r\n"
    b"Client sent an HTTP request to an HTTPS server.\n"
)


class SecureTransport(asyncio.BufferedProtocol):
    """Protocol of a socket, and transport of a connection; the part of `asyncio.Transport` that `Wire` uses."""

    __slots__ = (
        "_connection",
        "_deadline",
        "_early",
        "_held",
        "_incoming",
        "_is_begun",
        "_is_broken",
        "_is_ended",
        "_is_lent",
        "_is_open",
        "_is_paused",
        "_loop",
        "_outgoing",
        "_raw",
        "_scratch",
        "_tls",
        "_wants_end",
    )

    _raw: asyncio.Transport

    def __init__(
        self, connection: "Connection", context: ssl.SSLContext, scratch: memoryview, loop: asyncio.AbstractEventLoop
    ) -> None:
        self._connection = connection
        self._scratch = scratch
        """Receives for all connections: what is read into it is taken before the next read."""
        self._loop = loop
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._incoming, self._outgoing, server_side=True)
        self._early: list[bytes | bytearray] = []
        """Written before the handshake was done."""
        self._held = b""
        """Received while a thread had the keys."""
        self._is_begun = False
        self._is_open = False
        self._is_broken = False
        self._is_ended = False
        """Our side has said that it sends no more; what still comes is dropped unread."""
        self._wants_end = False
        self._is_lent = False
        self._is_paused = False
        self._deadline: asyncio.TimerHandle | None = None

    # Called by the event loop.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Start: the client has to shake hands as soon as it has to send a head."""
        self._raw = cast("asyncio.Transport", transport)  # uvloop has classes of its own
        self._deadline = self._loop.call_later(self._connection.handshake_s, self._raw.abort)
        self._connection.connection_made(cast("asyncio.BaseTransport", self))

    def get_buffer(self, sizehint: int) -> memoryview:
        """Return where the next sealed bytes go."""
        del sizehint
        return self._scratch

    def buffer_updated(self, nbytes: int) -> None:
        """Open what was received and hand it on."""
        if self._is_ended or self._raw.is_closing():
            return
        data = self._scratch[:nbytes]
        if self._is_lent:
            self._held += data
            self._raw.pause_reading()
            return
        if not self._is_begun:
            if data[0] != _HANDSHAKE_BYTE:
                self._raw.write(_NOT_TLS)
                self._raw.close()
                return
            self._is_begun = True
        self._incoming.write(data)
        self._receive()

    def eof_received(self) -> bool:
        """Hand on that the client left."""
        return self._connection.eof_received()

    def connection_lost(self, exc: Exception | None) -> None:
        """Hand on that the socket is gone."""
        self._stop_waiting()
        self._connection.connection_lost(exc)

    def pause_writing(self) -> None:
        """Hand on that the client does not take what it is sent as fast."""
        self._connection.pause_writing()

    def resume_writing(self) -> None:
        """Hand on that the client takes more."""
        self._connection.resume_writing()

    # Called by the connection.

    def write(self, data: bytes | bytearray) -> None:
        """Seal and send."""
        self.writelines((data,))

    def writelines(self, parts: "tuple[bytes | bytearray, ...]") -> None:
        """Seal and send, in pieces: OpenSSL's buffers never shrink."""
        if self._raw.is_closing() or self._is_ended:
            return
        if not self._is_open:
            self._early += parts
            return
        assert not self._is_lent, "a thread is sending"
        for part in parts:
            view = memoryview(part)
            for at in range(0, len(view), SEAL_BYTES):
                self._raw.write(self.seal(view[at : at + SEAL_BYTES]))

    def close(self) -> None:
        """Say goodbye behind what was written, and close."""
        if self._is_lent:
            self._raw.abort()
            return
        self._say_goodbye()
        self._raw.close()

    def can_write_eof(self) -> bool:
        """Both directions end on their own."""
        return True

    def write_eof(self) -> None:
        """Send nothing more; what the client still sends is dropped."""
        if not self._is_open:
            self._wants_end = True
            return
        self._say_goodbye()
        self._is_ended = True
        self._raw.write_eof()

    def abort(self) -> None:
        """Close without a word."""
        self._raw.abort()

    def pause_reading(self) -> None:
        """Take nothing more from the socket."""
        self._is_paused = True
        if not self._raw.is_closing():
            self._raw.pause_reading()

    def resume_reading(self) -> None:
        """Take from the socket again, after what is here already."""
        self._is_paused = False
        if self._is_lent or self._raw.is_closing():
            return
        if not self._is_ended and (self._incoming.pending or self._tls.pending()):
            self._loop.call_soon(self._go_on)
        else:
            self._raw.resume_reading()

    def get_write_buffer_size(self) -> int:
        """Return how many sealed bytes wait for the client."""
        return self._raw.get_write_buffer_size()

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        """Set when the connection is told to write no more."""
        self._raw.set_write_buffer_limits(high, low)

    def get_extra_info(self, name: str, default: object = None) -> Any:  # noqa: ANN401 - as asyncio has it
        """Return what is known of the socket below, and the TLS object as `ssl_object`."""
        return self._tls if name == "ssl_object" else self._raw.get_extra_info(name, default)

    def seal(self, data: memoryview) -> bytes:
        """Return data as it travels; of `lend`'s thread, or else of the event loop."""
        self._tls.write(data)
        return self._outgoing.read()

    def lend(self) -> None:
        """Leave `seal` to a thread until `take_back`; the thread writes to the socket itself."""
        self._is_lent = True

    def take_back(self) -> None:
        """Go on, with what came meanwhile."""
        self._is_lent = False
        if self._raw.is_closing():
            return
        held, self._held = self._held, b""
        if held:
            self._incoming.write(held)
        if not self._is_paused:
            self.resume_reading()

    # Steps.

    def _takes_more(self) -> bool:
        return not (self._is_paused or self._is_lent or self._is_ended or self._raw.is_closing())

    def _go_on(self) -> None:
        if self._takes_more():
            self._receive()
        if self._takes_more():
            self._raw.resume_reading()

    def _receive(self) -> None:
        """Shake hands, then hand over what can be opened, as long as the connection takes it."""
        if not self._is_open and not self._shake_hands():
            return
        connection = self._connection
        while self._takes_more():
            buffer = connection.get_buffer(-1)
            size, is_over = self._open(buffer)
            if size:
                connection.buffer_updated(size)
            if self._is_broken:
                self._fail()
                return
            if is_over:
                if not connection.eof_received():
                    self.close()
                return
            if size < len(buffer):
                break
        if not self._raw.is_closing():
            self._flush()  # an answer to a change of keys

    def _open(self, buffer: memoryview) -> tuple[int, bool]:
        """Open records into a buffer; return the bytes it got and whether the client has said goodbye."""
        tls, incoming, size, room = self._tls, self._incoming, 0, len(buffer)
        try:
            while size < room:
                taken: Any = tls.read(room - size, buffer[size:])  # a number, given a buffer
                if not taken:
                    return size, True
                size += taken
                if not incoming.pending and not tls.pending():
                    break
        except ssl.SSLWantReadError:
            pass
        except ssl.SSLError:
            self._is_broken = True
        return size, False

    def _shake_hands(self) -> bool:
        """Take the handshake as far as it goes; return whether it is done."""
        try:
            self._tls.do_handshake()
        except ssl.SSLWantReadError:
            self._flush()
            return False
        except (ssl.SSLError, ssl.CertificateError):
            self._fail()
            return False
        self._flush()
        self._is_open = True
        self._connection.tls_version = (self._tls.version() or "").removeprefix("TLSv")
        self._stop_waiting()
        early, self._early = self._early, []
        if early:
            self.writelines(tuple(early))
        if self._wants_end:
            self.write_eof()
        return True

    def _fail(self) -> None:
        """Send the alert that says why, and close."""
        self._flush()
        self._raw.close()

    def _flush(self) -> None:
        if self._outgoing.pending:
            self._raw.write(self._outgoing.read())

    def _say_goodbye(self) -> None:
        if self._is_open and not self._is_ended and not self._raw.is_closing():
            with contextlib.suppress(ssl.SSLError):
                self._tls.unwrap()  # its answer is not waited for
            self._flush()

    def _stop_waiting(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

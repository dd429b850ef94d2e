"""The server: listens, admits connections, keeps their deadlines, and stops without losing what is under way."""

import asyncio
import contextlib
import itertools
import secrets
import socket
import ssl
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from email.utils import formatdate

from hosu.kernel.clock import Clock
from hosu.server.http.admission import Admission
from hosu.server.http.connection import Connection
from hosu.server.http.head import HeadParser
from hosu.server.http.limits import HEAD_READ_BYTES, OPEN_BYTES, SCRATCH_BYTES, HttpLimits
from hosu.server.http.message import (
    AccessHook,
    Handler,
    HandlerErrorHook,
    ProtocolErrorHook,
    Request,
    ignore_handler_error,
    plain_error,
)
from hosu.server.http.receiving import BufferPool
from hosu.server.http.secure import SecureTransport

TlsContext = Callable[[], ssl.SSLContext]
"""Returns the context of the next connection, which may be another one after the files were changed."""

_CLEANUP_S = 5.0
"""How long handlers that were cancelled may take to release what they hold."""

_REFUSED_MAX = 64
"""Clients too many that are told so at a time; beyond, they are cut off without a word."""


class HttpServer:
    """Serves one handler on any number of addresses of one event loop.

    `on_access` is told of every answered request, `on_protocol_error` renders the errors that the HTTP layer finds,
    `on_handler_error` is told of exceptions that the handler let go. All of them run on the event loop.
    """

    def __init__(
        self,
        handler: Handler,
        *,
        limits: HttpLimits,
        clock: Clock,
        on_access: AccessHook | None = None,
        on_protocol_error: ProtocolErrorHook = plain_error,
        on_handler_error: HandlerErrorHook = ignore_handler_error,
    ) -> None:
        self.handler = handler
        self.limits = limits
        self.clock = clock
        self.on_access = on_access
        self.on_protocol_error = on_protocol_error
        self.on_handler_error = on_handler_error
        self.parser = HeadParser()
        self.pool = BufferPool(limits.pool_pieces_max)
        self.executor = ThreadPoolExecutor(limits.send_threads, thread_name_prefix="http-send")
        self.reader_executor = ThreadPoolExecutor(limits.reader_threads, thread_name_prefix="http-read")
        self.scratch = memoryview(bytearray(SCRATCH_BYTES))
        self.head_scratch = self.scratch[:HEAD_READ_BYTES]
        self.stopping = False
        self.now_s = clock.monotonic()
        """The time of the last sweep: deadlines need no better, and reading a clock per request costs."""
        self.loop: asyncio.AbstractEventLoop
        self.head_common = self.head_closing = self.head_keeping = b""
        self._connections: set[Connection] = set()
        self._listeners: list[asyncio.Server] = []
        self._background: set[asyncio.Task[None]] = set()
        self._sweeper: asyncio.TimerHandle | None = None
        self._empty: asyncio.Future[None] | None = None
        self._request_prefix = secrets.token_hex(4).upper()
        self._request_numbers = itertools.count(1)
        self._render_date()

    @property
    def connection_count(self) -> int:
        """How many connections are open."""
        return len(self._connections)

    def requests_under_way(self) -> list[Request]:
        """Return the requests that are not yet answered whole."""
        found = [connection.request_under_way for connection in tuple(self._connections)]
        return [request for request in found if request is not None]

    async def start(
        self, host: str | None, port: int, *, reuse_port: bool = False, tls: TlsContext | None = None
    ) -> int:
        """Listen on an address and return its real port; raises OSError when it cannot be had."""
        self.loop = asyncio.get_running_loop()
        listener = await self.loop.create_server(
            self._accepting(tls), host, port, reuse_port=reuse_port or None, backlog=1024
        )
        self._listeners.append(listener)
        if self._sweeper is None:
            self._sweep()
        return int(listener.sockets[0].getsockname()[1])

    async def serve(self, listener: socket.socket, *, tls: TlsContext | None = None) -> None:
        """Accept connections from a socket that listens already; other processes may accept from it too."""
        self.loop = asyncio.get_running_loop()
        self._listeners.append(await self.loop.create_server(self._accepting(tls), sock=listener))
        if self._sweeper is None:
            self._sweep()

    def _accepting(self, tls: TlsContext | None) -> Callable[[], asyncio.BaseProtocol]:
        """Return what makes the protocol of an accepted socket."""
        if tls is None:
            return lambda: Connection(self, secure=False)
        scratch = memoryview(bytearray(OPEN_BYTES))
        return lambda: SecureTransport(Connection(self, secure=True), tls(), scratch, self.loop)

    async def stop(self, grace_s: float) -> None:
        """Accept nothing more, finish the requests under way for up to `grace_s` seconds, then close everything."""
        self.stopping = True
        for listener in self._listeners:
            listener.close()
        for connection in tuple(self._connections):
            connection.stop()
        await self._wait_until_empty(grace_s)
        for connection in tuple(self._connections):
            connection.abort()
        await self._wait_until_empty(_CLEANUP_S)
        if self._background:
            await asyncio.wait(self._background, timeout=_CLEANUP_S)
        if self._sweeper is not None:
            self._sweeper.cancel()
        for executor in (self.executor, self.reader_executor):
            await self.loop.run_in_executor(None, executor.shutdown)

    async def _wait_until_empty(self, timeout_s: float) -> None:
        if self._connections:
            self._empty = self.loop.create_future()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._empty, timeout_s)

    def _sweep(self) -> None:
        self.now_s = self.clock.monotonic()
        self._render_date()
        for connection in tuple(self._connections):
            connection.sweep(self.now_s)
        self._sweeper = self.loop.call_later(self.limits.sweep_s, self._sweep)

    def _render_date(self) -> None:
        date = formatdate(self.clock.now_ms() / 1000, usegmt=True).encode()
        self.head_common = b"Server: hosu\r\nDate: " + date + b"\r\n"
        self.head_closing = self.head_common + b"Connection: close\r\n"
        self.head_keeping = self.head_common + b"Connection: keep-alive\r\n"

    # Called by connections.

    def admit(self, connection: Connection) -> Admission:
        """Count a connection in, and say what becomes of it."""
        self._connections.add(connection)
        surplus = len(self._connections) - self.limits.connections_max
        if surplus <= 0:
            return Admission.ADMITTED
        return Admission.REFUSED if surplus <= _REFUSED_MAX else Admission.CUT_OFF

    def forget(self, connection: Connection) -> None:
        """Count a connection out."""
        self._connections.discard(connection)
        if not self._connections and self._empty is not None and not self._empty.done():
            self._empty.set_result(None)

    def keep(self, task: "asyncio.Task[None]") -> None:
        """Hold on to a task until it ends."""
        self._background.add(task)
        task.add_done_callback(self._background.discard)

    def next_request_id(self) -> str:
        """Return 16 hex digits that no other request of this process has."""
        return f"{self._request_prefix}{next(self._request_numbers) & 0xFFFFFFFF:08X}"

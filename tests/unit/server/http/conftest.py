"""A server on a loop in a thread of its own, and a client that knows only sockets."""

import asyncio
import contextlib
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import uvloop
from tests.support.certificates import make_certificate

from hosu.kernel.clock import Clock, SystemClock
from hosu.server.http import Handler, HttpLimits, HttpServer, Request

QUICK = HttpLimits(sweep_s=0.02)


@dataclass
class Answer:
    status: int
    headers: dict[str, str]
    body: bytes


class Client:
    """A socket with a buffer."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self._held = b""

    def send(self, data: bytes) -> None:
        self.sock.sendall(data)

    def _more(self) -> bool:
        data = self.sock.recv(1 << 18)
        self._held += data
        return bool(data)

    def until(self, mark: bytes) -> bytes:
        while mark not in self._held:
            if not self._more():
                raise EOFError(self._held)
        head, _, self._held = self._held.partition(mark)
        return head + mark

    def take(self, size: int) -> bytes:
        parts, have = [self._held], len(self._held)
        while have < size:
            part = self.sock.recv(1 << 18)
            if not part:
                raise EOFError(b"".join(parts)[:200])
            parts.append(part)
            have += len(part)
        whole = b"".join(parts)
        self._held = whole[size:]
        return whole[:size]

    def rest(self) -> bytes:
        with contextlib.suppress(ConnectionError):
            while self._more():
                pass
        rest, self._held = self._held, b""
        return rest

    def answer(self, method: str = "GET") -> Answer:
        lines = self.until(b"\r\n\r\n").decode("latin-1").split("\r\n")
        status = int(lines[0].split(" ")[1])
        headers = {}
        for line in lines[1:-2]:
            name, _, value = line.partition(": ")
            assert name.lower() not in headers, name
            headers[name.lower()] = value
        if method == "HEAD" or status in {100, 204, 304}:
            body = b""
        elif headers.get("transfer-encoding") == "chunked":
            body = self._chunks()
        elif "content-length" in headers:
            body = self.take(int(headers["content-length"]))
        else:
            body = self.rest()
        return Answer(status, headers, body)

    def _chunks(self) -> bytes:
        body = b""
        while size := int(self.until(b"\r\n"), 16):
            body += self.take(size)
            assert self.take(2) == b"\r\n"
        assert self.take(2) == b"\r\n"
        return body

    def closed(self) -> bool:
        return self.rest() == b""


class ManualClock(SystemClock):
    """Stands still until it is moved."""

    def __init__(self) -> None:
        self.now_s = 1000.0

    def monotonic(self) -> float:
        return self.now_s


@dataclass
class Running:
    server: HttpServer
    loop: asyncio.AbstractEventLoop
    port: int
    errors: list[BaseException]
    accesses: list[tuple[str, int, int]]
    crashes: list[dict[str, Any]]
    clients: list[socket.socket] = field(default_factory=list)

    def connect(self, **options: int) -> Client:
        sock = socket.socket()
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for name, value in options.items():
            sock.setsockopt(socket.SOL_SOCKET, getattr(socket, name), value)
        sock.settimeout(10)
        sock.connect(("127.0.0.1", self.port))
        self.clients.append(sock)
        return Client(sock)

    def call(self, function: Callable[[], object]) -> Any:
        async def run() -> object:
            return function()

        return asyncio.run_coroutine_threadsafe(run(), self.loop).result(10)

    def advance(self, seconds: float) -> None:
        """Move a manual clock, and see the server check its deadlines."""
        clock = self.server.clock
        assert isinstance(clock, ManualClock)
        clock.now_s += seconds
        self.until(lambda: self.server.now_s == clock.now_s)

    def stop(self, grace_s: float = 5.0) -> None:
        asyncio.run_coroutine_threadsafe(self.server.stop(grace_s), self.loop).result(15)

    def until(self, condition: Callable[[], bool]) -> None:
        for _ in range(1000):
            if self.call(condition):
                return
            threading.Event().wait(0.005)
        raise AssertionError("never came true")


Serve = Callable[..., Running]


@pytest.fixture
def serve() -> Iterator[Serve]:
    started: list[tuple[Running, threading.Thread]] = []

    def start(
        handler: Handler,
        limits: HttpLimits = QUICK,
        *,
        tls: ssl.SSLContext | Callable[[], ssl.SSLContext] | None = None,
        clock: Clock | None = None,
    ) -> Running:
        loop = uvloop.new_event_loop()
        errors: list[BaseException] = []
        accesses: list[tuple[str, int, int]] = []
        crashes: list[dict[str, Any]] = []
        loop.set_exception_handler(lambda _, context: crashes.append(context))

        def on_access(request: Request, status: int, size: int, duration_s: float) -> None:
            assert duration_s >= 0
            accesses.append((request.method, status, size))

        server = HttpServer(
            handler,
            limits=limits,
            clock=clock or SystemClock(),
            on_access=on_access,
            on_handler_error=lambda _, error: errors.append(error),
        )
        context = (lambda: tls) if isinstance(tls, ssl.SSLContext) else tls
        thread = threading.Thread(target=loop.run_forever)
        thread.start()
        port = asyncio.run_coroutine_threadsafe(server.start("127.0.0.1", 0, tls=context), loop).result(10)
        running = Running(server, loop, port, errors, accesses, crashes)
        started.append((running, thread))
        return running

    yield start
    for running, thread in started:
        for sock in running.clients:
            sock.close()
        running.stop()
        running.loop.call_soon_threadsafe(running.loop.stop)
        thread.join(10)
        running.loop.close()
        assert running.crashes == []
        assert running.server.connection_count == 0


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Make a self-signed certificate for 127.0.0.1; return it and its key."""
    return make_certificate(tmp_path_factory.mktemp("tls"))

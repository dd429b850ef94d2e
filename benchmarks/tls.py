"""What TLS costs, and which way of doing it costs least: one file and one small answer over the same HTTP layer.

`python -m benchmarks.tls`, from the root of the repository. The ways take turns in each round:

- plain: no TLS; files leave by `sendfile`
- loop: the event loop's own TLS, files read by a thread and encrypted by the loop
- hosu, N KiB: what hosu does, a thread that reads, encrypts N KiB at a time and sends
"""

import argparse
import asyncio
import os
import socket
import ssl
import statistics
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable
from multiprocessing import Process
from pathlib import Path

import uvloop
from tests.support.certificates import make_certificate

from hosu.kernel.clock import SystemClock
from hosu.server.http import (
    FdSegment,
    FileBody,
    Handler,
    HttpLimits,
    HttpServer,
    Request,
    Response,
    StreamBody,
    sending,
)
from hosu.server.http.connection import Connection
from hosu.server.supervisor import listen

FILE_BYTES = 64 * 1024 * 1024
SMALL = os.urandom(4096)
SMALL_REQUESTS = 2000
UPLOADED_BYTES = 64 * 1024 * 1024
COPY_BYTES = 256 * 1024
RECEIVE_BYTES = 1024 * 1024
SEAL_KIB = {"hosu, 64 KiB": 64, "hosu, 256 KiB": 256}
WAYS = ("plain", "loop", *SEAL_KIB)
CIPHERS = ("ECDHE+AES128+AESGCM", "ECDHE+AES256+AESGCM", "ECDHE+CHACHA20")
"""For `--ciphers`: of TLS 1.2, since Python lets nobody choose among those of 1.3."""


async def pieces(descriptor: int) -> AsyncIterator[bytes]:
    """Yield the file, read by a thread."""
    for at in range(0, FILE_BYTES, COPY_BYTES):
        yield await asyncio.to_thread(os.pread, descriptor, COPY_BYTES, at)


async def take(request: Request) -> Response:
    """Receive a body, and forget it."""
    while piece := await request.body.chunk():
        request.body.release(piece)
    return Response(200)


def answering(descriptor: int, way: str) -> Handler:
    """Return the handler of a server."""

    def answer(request: Request) -> Response | Awaitable[Response]:
        if request.method == "PUT":
            return take(request)
        if request.raw_path == b"/small":
            return Response(200, body=SMALL)
        if way == "loop":
            return Response(200, body=StreamBody(pieces(descriptor), FILE_BYTES))
        return Response(200, body=FileBody([FdSegment(descriptor, 0, FILE_BYTES)]))

    return answer


def serve(listener: socket.socket, file: Path, certificate: tuple[Path, Path], way: str, ciphers: str) -> None:
    """Serve a file and a small answer on a listening socket until killed."""
    descriptor = os.open(file, os.O_RDONLY)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*certificate)
    if ciphers:
        context.maximum_version = ssl.TLSVersion.TLSv1_2
        context.set_ciphers(ciphers)
    if way in SEAL_KIB:
        sending.SEAL_BYTES = SEAL_KIB[way] * 1024  # type: ignore[attr-defined]

    async def main() -> None:
        server = HttpServer(answering(descriptor, way), limits=HttpLimits(), clock=SystemClock())
        await server.serve(listener, tls=None if way in {"plain", "loop"} else lambda: context)
        if way == "loop":
            loop = asyncio.get_running_loop()
            await loop.create_server(lambda: Connection(server, secure=False), sock=listener.dup(), ssl=context)
            server._listeners[0].close()  # noqa: SLF001 - its sweeper goes on
        await asyncio.Event().wait()

    uvloop.run(main())


class Client:
    """One connection."""

    def __init__(self, port: int, *, is_encrypted: bool) -> None:
        self.connection = socket.create_connection(("127.0.0.1", port))
        self.connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if is_encrypted:
            context = ssl.create_default_context()
            context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
            self.connection = context.wrap_socket(self.connection)
        self.buffer = bytearray(RECEIVE_BYTES)

    def ask(self, request: bytes, answer_bytes_min: int, body: bytes = b"") -> None:
        """Send a request and read its answer, of at least so many bytes."""
        self.connection.sendall(request)
        if body:
            self.connection.sendall(body)
        received = 0
        while received < answer_bytes_min or (not answer_bytes_min and not received):
            size = self.connection.recv_into(self.buffer)
            if not size:
                raise ConnectionError("the server closed early")
            received += size


def cpu_s(pid: int) -> float:
    """Return the processor seconds a process has used."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def measure(client: Client, what: str, body: bytes) -> float:
    """Do one thing; return what it made per second: MiB, or requests."""
    begun = time.perf_counter()
    if what == "download":
        client.ask(b"GET /file HTTP/1.1\r\nHost: bench\r\n\r\n", FILE_BYTES)
        made = FILE_BYTES / 2**20
    elif what == "upload":
        client.ask(b"PUT / HTTP/1.1\r\nHost: bench\r\nContent-Length: %d\r\n\r\n" % len(body), 0, body)
        made = len(body) / 2**20
    else:
        for _ in range(SMALL_REQUESTS):
            client.ask(b"GET /small HTTP/1.1\r\nHost: bench\r\n\r\n", len(SMALL))
        made = SMALL_REQUESTS
    return made / (time.perf_counter() - begun)


def download_forever(port: int, *, is_encrypted: bool) -> None:
    """Keep a server busy until killed."""
    client = Client(port, is_encrypted=is_encrypted)
    while True:
        measure(client, "download", b"")


def measure_beside(client: Client, port: int, *, is_encrypted: bool) -> float:
    """Return small requests per second while another client downloads."""
    other = Process(target=download_forever, args=(port,), kwargs={"is_encrypted": is_encrypted})
    other.start()
    try:
        time.sleep(0.3)
        return measure(client, "small", b"")
    finally:
        other.kill()
        other.join()


UNITS = {"download": "MiB/s", "upload": "MiB/s", "small": "per s", "beside": "per s"}
"""`beside` is as `small`, while another client downloads."""


def run(ways: tuple[str, ...], rounds: int, ciphers: str = "") -> None:
    """Interleave the ways, and print medians."""
    body = os.urandom(UPLOADED_BYTES)
    with tempfile.TemporaryDirectory() as scratch:
        file = Path(scratch, "file")
        file.write_bytes(os.urandom(FILE_BYTES))
        certificate = make_certificate(Path(scratch))
        listeners = {way: listen(("127.0.0.1", 0), way) for way in ways}
        servers = {way: Process(target=serve, args=(listeners[way], file, certificate, way, ciphers)) for way in ways}
        try:
            for server in servers.values():
                server.start()
            time.sleep(1)
            clients = {way: Client(listeners[way].getsockname()[1], is_encrypted=way != "plain") for way in ways}
            rates: dict[tuple[str, str], list[float]] = {}
            used: dict[tuple[str, str], float] = {}
            for _ in range(rounds):
                for what in UNITS:
                    for way in ways:
                        before = cpu_s(servers[way].pid or 0)
                        if what == "beside":
                            port = listeners[way].getsockname()[1]
                            rate = measure_beside(clients[way], port, is_encrypted=way != "plain")
                        else:
                            rate = measure(clients[way], what, body)
                        rates.setdefault((what, way), []).append(rate)
                        spent = cpu_s(servers[way].pid or 0) - before
                        used[what, way] = used.get((what, way), 0.0) + spent
            show(ways, rounds, rates, used)
        finally:
            for server in servers.values():
                server.kill()
                server.join()


def show(
    ways: tuple[str, ...], rounds: int, rates: dict[tuple[str, str], list[float]], used: dict[tuple[str, str], float]
) -> None:
    """Print medians and the processor's part of them."""
    for what, unit in UNITS.items():
        first = statistics.median(rates[what, ways[0]])
        for way in ways:
            rate = statistics.median(rates[what, way])
            cpu, each = used[what, way] / rounds, "64 MiB"
            if what == "small":
                cpu, each = cpu * 1000 / SMALL_REQUESTS, "1,000"
            spent = "" if what == "beside" else f"   {cpu:.3f} server CPU s per {each}"
            print(f"{what:9} {way:14} {rate:9,.0f} {unit:6} {rate / first:5.2f} of {ways[0]}{spent}")


def main() -> None:
    """Compare the ways, or with `--ciphers` what each cipher makes of the way that hosu has."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--ciphers", action="store_true", help="compare ciphers instead of ways")
    arguments = parser.parse_args()
    if not arguments.ciphers:
        run(WAYS, arguments.rounds)
        return
    for ciphers in CIPHERS:
        print(ciphers)
        run(("plain", "hosu, 256 KiB"), arguments.rounds, ciphers)


if __name__ == "__main__":
    main()

"""What TLS costs a download: the same file over the same HTTP layer, plain by sendfile and encrypted in Python.

`python -m benchmarks.tls`, from the root of the repository. Needs the program `openssl` for a certificate.
"""

import argparse
import asyncio
import os
import resource
import socket
import ssl
import statistics
import subprocess
import tempfile
import time
from multiprocessing import Process
from pathlib import Path

import uvloop

from hosu.kernel.clock import SystemClock
from hosu.server.http import FdSegment, FileBody, HttpLimits, HttpServer, Request, Response
from hosu.server.supervisor import listen

BODY_BYTES = 64 * 1024 * 1024
REQUEST = b"GET /file HTTP/1.1\r\nHost: bench\r\n\r\n"
RECEIVE_BYTES = 1024 * 1024


def serve(listener: socket.socket, file: Path, certificate: Path | None) -> None:
    """Serve one file on a listening socket until killed."""
    descriptor = os.open(file, os.O_RDONLY)

    def answer(_request: Request) -> Response:
        return Response(200, body=FileBody([FdSegment(descriptor, 0, BODY_BYTES)]))

    async def main() -> None:
        context = None
        if certificate is not None:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(certificate)
        server = HttpServer(answer, limits=HttpLimits(), clock=SystemClock())
        await server.serve(listener, ssl=context)
        await asyncio.Event().wait()

    uvloop.run(main())


def download(port: int, *, is_encrypted: bool) -> float:
    """Fetch the file once over a connection of its own; return MiB per second, the handshake left out."""
    connection = socket.create_connection(("127.0.0.1", port))
    if is_encrypted:
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        connection = context.wrap_socket(connection)
    with connection:
        begun = time.perf_counter()
        connection.sendall(REQUEST)
        received, buffer = 0, bytearray(RECEIVE_BYTES)
        while received < BODY_BYTES:
            size = connection.recv_into(buffer)
            if size == 0:
                raise ConnectionError("the server closed early")
            received += size
        return BODY_BYTES / 2**20 / (time.perf_counter() - begun)


def cpu_s(pid: int) -> float:
    """Return the processor seconds a process has used."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def main() -> None:
    """Interleave plain and encrypted downloads and print medians."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=7)
    rounds = parser.parse_args().rounds
    with tempfile.TemporaryDirectory() as scratch:
        file, certificate = Path(scratch, "file"), Path(scratch, "certificate.pem")
        file.write_bytes(os.urandom(BODY_BYTES))
        command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1", "-subj", "/CN=localhost"]
        command += ["-keyout", str(certificate), "-out", str(certificate) + ".crt"]
        subprocess.run(command, check=True, capture_output=True)
        certificate.write_bytes(certificate.read_bytes() + Path(str(certificate) + ".crt").read_bytes())
        ways = {"plain": None, "TLS": certificate}
        listeners = {name: listen(("127.0.0.1", 0), name) for name in ways}
        servers = {name: Process(target=serve, args=(listeners[name], file, ways[name])) for name in ways}
        try:
            for server in servers.values():
                server.start()
            time.sleep(1)
            rates: dict[str, list[float]] = {name: [] for name in ways}
            used = {name: cpu_s(server.pid or 0) for name, server in servers.items()}
            for _ in range(rounds):
                for name in ways:
                    port = listeners[name].getsockname()[1]
                    rates[name].append(download(port, is_encrypted=name == "TLS"))
            for name, server in servers.items():
                cpu = (cpu_s(server.pid or 0) - used[name]) / rounds
                print(f"{name:6} {statistics.median(rates[name]):8,.0f} MiB/s  {cpu:.3f} server CPU s per 64 MiB")
            print(f"TLS / plain: {statistics.median(rates['TLS']) / statistics.median(rates['plain']):.2f}")
        finally:
            for server in servers.values():
                server.kill()
                server.join()
    print(f"load generator CPU s: {resource.getrusage(resource.RUSAGE_SELF).ru_utime:.2f}")


if __name__ == "__main__":
    main()

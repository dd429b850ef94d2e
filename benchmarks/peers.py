"""The servers of a run: started, found ready, watched and ended; or somebody else's, given by address."""

import contextlib
import http.client
import os
import secrets
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Self
from urllib.parse import urlsplit

import psutil
from benchmarks.flows import MIB, Target
from benchmarks.sign import Signer

READY_S_MAX = 120.0
STOP_S_MAX = 20.0
READY_POLL_S = 0.004
S3_OPS = frozenset({"put", "get", "head", "delete", "list", "delimiter", "mixed", "multipart", "boto3"})
ACCESS = "benchmarks"
LOOPBACK = "127.0.0.1"


class ServerError(Exception):
    """A server did not become ready, or refused what preparing needs."""


def free_port() -> int:
    """Return a port nobody listens on now."""
    with socket.create_server((LOOPBACK, 0)) as listener:
        port: int = listener.getsockname()[1]
        return port


@dataclass
class Server:
    """One server under measurement. `pid` is None where its processes cannot be seen."""

    name: str
    target: Target
    ops: frozenset[str] = S3_OPS
    pid: int | None = None
    start_s: float = 0.0
    bucket: str = "bench"
    restart: Callable[[], "Server"] | None = None
    _process: subprocess.Popen[bytes] | None = field(default=None, repr=False)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def stop(self) -> None:
        """End the process and whatever it started; a server given by address is left alone."""
        if self._process is None:
            return
        family = _family(self.pid)
        if self._process.stdin is not None:
            self._process.stdin.close()
        with contextlib.suppress(ProcessLookupError):
            self._process.send_signal(signal.SIGTERM)
        try:
            self._process.wait(STOP_S_MAX)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait(STOP_S_MAX)
        for process in family:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        self._process = None

    def request(
        self, method: str, path: str, query: Iterable[tuple[str, str]] = (), body: bytes = b""
    ) -> tuple[int, bytes]:
        """Send one request and return status and body: for preparing, never for measuring."""
        target = self.target
        head = Signer(f"{target.host}:{target.port}", target.access, target.secret).head(
            method, path, query, content_bytes=len(body) if body or method in {"PUT", "POST"} else None
        )
        lines = head.decode().split("\r\n")
        connection = http.client.HTTPConnection(target.host, target.port, timeout=READY_S_MAX)
        with contextlib.closing(connection):
            connection.putrequest(method, lines[0].split(" ")[1], skip_host=True, skip_accept_encoding=True)
            for line in lines[1:-2]:
                connection.putheader(*line.split(": ", 1))
            connection.endheaders(body or None)
            answer = connection.getresponse()
            return answer.status, answer.read()

    def make_bucket(self, bucket: str) -> None:
        """Create a bucket unless this server already has it."""
        status, body = self.request("PUT", f"/{bucket}")
        if status not in {200, 409}:
            raise ServerError(f"{self.name}: creating bucket {bucket} answered {status}: {body[:300]!r}")


def _launch(
    name: str, command: list[str], target: Target, folder: Path, ready: Callable[[Path], bool], env: dict[str, str]
) -> Server:
    """Start a process, wait until it is ready, and return it with the time that took."""
    folder.mkdir(parents=True, exist_ok=True)
    log = folder / f"{name}.log"
    with log.open("wb") as output:
        begun = time.perf_counter()
        process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=output, stderr=subprocess.STDOUT, env={**os.environ, **env}
        )
    server = Server(name, target, pid=process.pid)
    server._process = process  # noqa: SLF001 - its own module
    while not ready(log):
        if process.poll() is not None or time.perf_counter() - begun > READY_S_MAX:
            server.stop()
            raise ServerError(f"{name} did not become ready: {log.read_text(errors='replace')[-2000:]}")
        time.sleep(READY_POLL_S)
    server.start_s = time.perf_counter() - begun
    return server


def _answers(port: int, path: str) -> bool:
    connection = http.client.HTTPConnection(LOOPBACK, port, timeout=5)
    with contextlib.closing(connection):
        try:
            connection.request("GET", path)
            return connection.getresponse().status == 200
        except (OSError, http.client.HTTPException):
            return False


def start_hosu(lake: Path, folder: Path, name: str = "hosu", settings: Mapping[str, str] | None = None) -> Server:
    """Start `hosu serve` on a lake and wait for /minio/health/ready; `settings` is added to its environment."""
    port, console = free_port(), free_port()
    secret = "benchmarks-" + secrets.token_hex(8)
    command = [sys.executable, "-m", "hosu", "serve", str(lake), "--address", f"{LOOPBACK}:{port}"]
    command += ["--console-address", f"{LOOPBACK}:{console}"]
    env = {"HOSU_ROOT_USER": ACCESS, "HOSU_ROOT_PASSWORD": secret, **(settings or {})}
    target = Target(LOOPBACK, port, ACCESS, secret)
    server = _launch(name, command, target, folder, lambda _: _answers(port, "/minio/health/ready"), env)
    server.restart = lambda: start_hosu(lake, folder, name, settings)
    return server


def start_moto(folder: Path) -> Server:
    """Start moto's server, which keeps everything in memory and syncs nothing."""
    port = free_port()
    command = [sys.executable, "-m", "moto.server", "-H", LOOPBACK, "-p", str(port)]
    target = Target(LOOPBACK, port, ACCESS, "benchmarks-moto")
    return _launch("moto", command, target, folder, lambda _: _answers(port, "/moto-api/"), {})


def start_null(folder: Path) -> Server:
    """Start the server that does the reads, hashes, writes and syncs of a server and nothing else."""
    server = _start_own("null", "null_server", folder)
    server.ops = frozenset({"put", "get", "head"})
    return server


def start_sendfile(folder: Path) -> Server:
    """Start the server that only calls sendfile."""
    server = _start_own("sendfile", "sendfile_server", folder)
    server.ops = frozenset({"get"})
    return server


def _start_own(name: str, module: str, folder: Path) -> Server:
    port = free_port()
    data = folder / name
    data.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-m", f"benchmarks.{module}", "--port", str(port), "--dir", str(data)]
    return _launch(
        name, command, Target(LOOPBACK, port, ACCESS, ""), folder, lambda log: b"ready" in log.read_bytes(), {}
    )


def parse_peer(text: str) -> Server:
    """Read NAME=URL,ACCESS,SECRET. A peer on this machine is found by its port, to count its CPU and memory."""
    name, separator, rest = text.partition("=")
    parts = rest.split(",", 2)
    if not separator or not name or len(parts) != 3:
        raise ServerError(f"--peer {text!r}: expected NAME=URL,ACCESS,SECRET")
    url = urlsplit(parts[0])
    if url.scheme != "http" or url.hostname is None:
        raise ServerError(f"--peer {text!r}: the load generator speaks http:// only")
    target = Target(url.hostname, url.port or 80, parts[1], parts[2])
    pid = _listener(target.port) if url.hostname in {LOOPBACK, "localhost"} else None
    return Server(name, target, pid=pid, bucket=f"bench-{secrets.token_hex(4)}")


def _listener(port: int) -> int | None:
    with contextlib.suppress(psutil.AccessDenied):
        for entry in psutil.net_connections("tcp"):
            if entry.status == psutil.CONN_LISTEN and entry.laddr.port == port and entry.pid:
                pid: int = entry.pid
                return pid
    return None


def _family(pid: int | None) -> list[psutil.Process]:
    if pid is None:
        return []
    try:
        first = psutil.Process(pid)
        return [first, *first.children(recursive=True)]
    except psutil.NoSuchProcess:
        return []


@dataclass
class Meter:
    """CPU seconds of a server's processes between start and stop, and the most memory they held together."""

    server: Server
    cpu_s: float | None = None
    rss_mib_max: float | None = None
    _cpu_begun: float = 0.0
    _sampled: float = 0.0
    _processes: list[psutil.Process] = field(default_factory=list)

    def start(self) -> None:
        """Note the processes, found once because looking through all of them costs, and their CPU seconds so far."""
        self._processes = _family(self.server.pid)
        self._cpu_begun = self._cpu() or 0.0

    def sample(self) -> None:
        """Look at the memory, at most ten times a second."""
        now = time.monotonic()
        if now - self._sampled < 0.1:
            return
        self._sampled = now
        rss = 0.0
        for process in self._processes:
            with contextlib.suppress(psutil.NoSuchProcess):
                rss += process.memory_info().rss / MIB
        if rss:
            self.rss_mib_max = max(self.rss_mib_max or 0.0, rss)

    def stop(self) -> None:
        """Count what was used since the start."""
        self._sampled = 0.0
        self.sample()
        used = self._cpu()
        self.cpu_s = None if used is None else used - self._cpu_begun

    def _cpu(self) -> float | None:
        used, seen = 0.0, False
        for process in self._processes:
            with contextlib.suppress(psutil.NoSuchProcess):
                times = process.cpu_times()
                used, seen = used + times.user + times.system, True
        return used if seen else None


def memory_mib(server: Server) -> dict[str, float]:
    """Return the memory of all processes in MiB: `rss`, and `pss`, which counts shared pages once; {} if not seen."""
    rss = pss = 0.0
    for process in _family(server.pid):
        with contextlib.suppress(psutil.NoSuchProcess, psutil.AccessDenied):
            full = process.memory_full_info()
            rss, pss = rss + full.rss / MIB, pss + full.pss / MIB
    return {"rss": rss, "pss": pss} if rss else {}

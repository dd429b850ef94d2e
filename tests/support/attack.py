"""Requests that no client would send, correctly signed, and a look at what they leave behind in the server."""

import contextlib
import re
import socket
import threading
import xml.etree.ElementTree as ET
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import psutil
from tests.support.server import ServerProcess

from hosu.kernel.clock import SystemClock
from hosu.objects.store import ObjectStore
from hosu.server.s3.signing import UNSIGNED_PAYLOAD, sign_headers
from hosu.testing.lake_check import find_orphans

UNWRITABLE = re.compile(
    rb"&#(?:[0-8]|1[124-9]|2[0-9]|3[01]|x[0-8bcef]|x1[0-9a-f]|x7f|6553[45]|xfff[ef]);", re.IGNORECASE
)
"""Characters that a key may have and XML 1.0 may not; like S3, the server writes them as references all the same."""

NO_BODY = frozenset({100, 204, 304})


@dataclass(frozen=True)
class Answer:
    """One response as it came."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def code(self) -> str | None:
        """S3's error code; fails unless the body is a whole error document."""
        root = ET.fromstring(UNWRITABLE.sub(b"?", self.body))
        assert root.tag == "Error"
        assert root.findtext("RequestId") == self.headers.get("x-amz-request-id")
        assert root.findtext("Message")
        return root.findtext("Code")


class Attacker:
    """Holds a server of its own, and knows root's key: what it sends reaches the handlers."""

    def __init__(self, process: ServerProcess, bucket: str) -> None:
        self.process = process
        self.bucket = bucket

    def head(
        self,
        method: str,
        path: bytes,
        query: bytes = b"",
        headers: Mapping[bytes, bytes] | None = None,
        payload: bytes = UNSIGNED_PAYLOAD,
        now_ms: int | None = None,
    ) -> bytes:
        """Return the signed head of a request; path and query are sent as they are."""
        given = {b"host": self.process.endpoint.host.encode()} | dict(headers or {})
        signed = sign_headers(
            method, path, query, given, self.process.access_key, self.process.secret_key,
            SystemClock().now_ms() if now_ms is None else now_ms, payload_sha256=payload,
        )  # fmt: skip
        target = path + (b"?" + query if query else b"")
        lines = [b"%b %b HTTP/1.1" % (method.encode(), target)]
        return b"\r\n".join([*lines, *(b"%b: %b" % item for item in signed.items()), b"", b""])

    def connect(self) -> socket.socket:
        """Open a connection."""
        return socket.create_connection(("127.0.0.1", self.process.port), timeout=20)

    def send(
        self,
        method: str,
        path: bytes,
        query: bytes = b"",
        headers: Mapping[bytes, bytes] | None = None,
        body: bytes = b"",
    ) -> Answer:
        """Send one signed request and return its answer."""
        given = dict(headers or {}) | {b"connection": b"close"}
        if body or method in {"PUT", "POST"}:
            given.setdefault(b"content-length", b"%d" % len(body))
        return self.exchange(self.head(method, path, query, given) + body, method)

    def exchange(self, raw: bytes, method: str = "GET") -> Answer:
        """Send bytes and return the first answer; the server must then close, or have nothing more to say."""
        with self.connect() as sock:
            with contextlib.suppress(ConnectionError):
                sock.sendall(raw)
            return receive(sock, method)

    @property
    def s3_pid(self) -> int:
        """The process that serves S3."""
        return int(psutil.Process(self.process.pid).children()[0].pid)

    def descriptors(self) -> Counter[str]:
        """Count the open files and sockets of the S3 process by what they are.

        Its database and its audit file are its own: it opens them when it comes to it, and keeps them.
        """
        kept = tuple(f"{self.process.directory.resolve() / folder}/" for folder in ("meta", "audit"))
        count: Counter[str] = Counter()
        for descriptor in Path(f"/proc/{self.s3_pid}/fd").iterdir():
            with contextlib.suppress(FileNotFoundError):  # closed meanwhile
                name = str(descriptor.readlink())
                count[name.partition(":[")[0]] += not name.startswith(kept)
        return count

    def clients(self) -> int:
        """Count the connections that the S3 process holds."""
        connections = psutil.Process(self.s3_pid).net_connections("tcp")
        return len([held for held in connections if held.status == psutil.CONN_ESTABLISHED])

    def files(self) -> set[str]:
        """Name the scratch files of the lake, and the blob files that no record knows and no sweep awaits."""
        lake = self.process.directory
        scratch = {path.name for path in (lake / "tmp").iterdir() if not path.name.startswith(".ready.")}
        with ObjectStore(lake) as store:
            return scratch | {f"blob {blob_id}" for blob_id in find_orphans(store)}

    @contextlib.contextmanager
    def leaves_nothing(self) -> Iterator[None]:
        """Hold the block to leaving no file and no descriptor behind, once the server has noticed its end."""
        files, descriptors = self.files(), self.descriptors()
        yield
        until(lambda: self.files() == files, lambda: f"left behind: {self.files() ^ files}")
        until(lambda: self.descriptors() <= descriptors, lambda: f"still open: {self.descriptors() - descriptors}")


def until(condition: Callable[[], bool], why: Callable[[], str]) -> None:
    """Wait for what happens by itself."""
    for _ in range(1000):
        if condition():
            return
        threading.Event().wait(0.01)
    raise AssertionError(why())


def receive(sock: socket.socket, method: str = "GET") -> Answer:
    """Read one answer, passing over 100 Continue; an early end raises EOFError."""
    held = b""

    def more() -> None:
        nonlocal held
        data = sock.recv(1 << 18)
        if not data:
            raise EOFError(held)
        held += data

    while True:
        while b"\r\n\r\n" not in held:
            more()
        head, _, held = held.partition(b"\r\n\r\n")
        lines = head.decode("latin-1").split("\r\n")
        status = int(lines[0].split(" ")[1])
        if status != 100:
            break
    headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines[1:])}
    length = 0 if method == "HEAD" or status in NO_BODY else int(headers["content-length"])
    while len(held) < length:
        more()
    return Answer(status, headers, held[:length])

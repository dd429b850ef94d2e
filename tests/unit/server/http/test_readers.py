"""Bodies that are made from files while they are sent."""

import random
import ssl
import threading
from pathlib import Path

import pytest

from hosu.kernel.errors import CorruptError, ErrorKind
from hosu.kernel.limits import KIB, MIB
from hosu.server.http import (
    BytesSegment,
    FileBody,
    HttpLimits,
    ReaderSegment,
    Request,
    Response,
    Segment,
    sending,
)
from hosu.server.http.limits import READER_BYTES, SEAL_BYTES

from .conftest import Serve

GET = b"GET / HTTP/1.1\r\nHost: h\r\n\r\n"
CONTENT = random.Random(11).randbytes(5 * READER_BYTES)


class Reader:
    """Makes bytes of CONTENT, from `broken` on not any more; notes what it was asked for."""

    def __init__(self, *cuts: tuple[int, int] | bytes, is_cached: bool = True, broken: int = len(CONTENT)) -> None:
        self.cuts = cuts
        self.is_cached = is_cached
        self.broken = broken
        self.made: list[tuple[int, int]] = []
        self.threads: set[str] = set()
        self.closed = 0

    def read_into(self, offset: int, target: memoryview) -> None:
        self.made.append((offset, len(target)))
        self.threads.add(threading.current_thread().name)
        if offset + len(target) > self.broken:
            raise CorruptError(ErrorKind.CORRUPT_BLOB, "broken")
        target[:] = CONTENT[offset : offset + len(target)]

    def read_cached(self, offset: int, target: memoryview) -> bool:
        if self.is_cached and offset + len(target) <= self.broken:
            self.read_into(offset, target)
            return True
        return False

    def close(self) -> None:
        self.closed += 1

    def __call__(self, _: Request) -> Response:
        segments: list[Segment] = [
            BytesSegment(cut) if isinstance(cut, bytes) else ReaderSegment(self.read_into, self.read_cached, *cut)
            for cut in self.cuts
        ]
        return Response(200, [], FileBody(segments, self.close))

    @property
    def expected(self) -> bytes:
        return b"".join(cut if isinstance(cut, bytes) else CONTENT[cut[0] : sum(cut)] for cut in self.cuts)


CUTS: list[list[tuple[int, int] | bytes]] = [
    [(0, 0)],
    [(5, 1)],
    [(1, 100 * KIB), b"between", (3, 3)],
    [(0, READER_BYTES)],
    [(READER_BYTES - 1, READER_BYTES + 2)],
    [b"first", (1, 2 * MIB), b"", (3 * MIB + 1, MIB), b"last"],
    [(2 * MIB, 2 * MIB), (7, 2 * MIB), (7, 300 * KIB), (0, MIB)],
    [(0, len(CONTENT))],
]


@pytest.mark.parametrize("cuts", CUTS)
@pytest.mark.parametrize("is_cached", [True, False])
def test_what_is_made_arrives_and_is_closed_once(
    serve: Serve, cuts: list[tuple[int, int] | bytes], *, is_cached: bool
) -> None:
    reader = Reader(*cuts, is_cached=is_cached)
    running = serve(reader)
    client = running.connect()
    client.send(GET * 3)
    for _ in range(3):
        assert client.answer().body == reader.expected
    running.until(lambda: reader.closed == 3)


@pytest.mark.parametrize("cuts", CUTS)
def test_what_is_made_arrives_over_tls(
    serve: Serve, certificate: tuple[Path, Path], cuts: list[tuple[int, int] | bytes]
) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*certificate)
    reader = Reader(*cuts)
    running = serve(reader, tls=context)
    client = running.connect()
    trusting = ssl.create_default_context(cafile=str(certificate[0]))
    trusting.check_hostname = False
    client.sock = trusting.wrap_socket(client.sock)
    running.clients.append(client.sock)
    client.send(GET * 2)
    for _ in range(2):
        assert client.answer().body == reader.expected
    running.until(lambda: reader.closed == 2)


def test_large_bodies_are_made_in_pieces_that_begin_where_segments_do(serve: Serve) -> None:
    reader = Reader((READER_BYTES // 2 + 1, 4 * READER_BYTES))
    client = serve(reader).connect()
    client.send(GET)
    assert client.answer().body == reader.expected
    assert [offset % READER_BYTES for offset, _ in reader.made[1:]] == [0] * 4
    assert max(size for _, size in reader.made) == READER_BYTES
    assert READER_BYTES % SEAL_BYTES == 0


def test_small_bodies_that_are_cached_are_made_at_once_and_others_in_a_thread(serve: Serve) -> None:
    names = []
    for is_cached in (True, False):
        reader = Reader((0, 1000), is_cached=is_cached)
        client = serve(reader).connect()
        client.send(GET)
        assert client.answer().body == CONTENT[:1000]
        names.append(reader.threads)
    assert names[0].isdisjoint(names[1])


def test_slow_clients_get_all_of_it_and_hold_no_buffer_meanwhile(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sending, "_SPARES", [])
    reader = Reader((3, 2 * MIB), b"between", (5, 3 * MIB), (1, 700 * KIB))
    running = serve(reader, HttpLimits(sweep_s=0.02, reader_threads=1))
    clients = [running.connect(SO_RCVBUF=16 * KIB) for _ in range(4)]
    for client in clients:
        client.send(GET)
    running.until(lambda: {offset for offset, _ in reader.made} >= {3} and len(reader.made) >= 4)
    quick = running.connect()
    quick.send(GET)
    assert quick.answer().body == reader.expected
    for client in clients:
        assert client.answer().body == reader.expected
    running.until(lambda: reader.closed == 5)
    assert len(sending._SPARES) == 1  # made for the only thread: no client that waited had one of its own


@pytest.mark.parametrize("broken", [10, 3 * MIB])
def test_what_cannot_be_made_cuts_the_connection(serve: Serve, broken: int) -> None:
    for size in (1000, 5 * MIB):
        reader = Reader((0, size), broken=min(broken, size - 1))
        running = serve(reader)
        client = running.connect()
        client.send(GET)
        with pytest.raises((EOFError, ConnectionError)):
            client.answer()
        running.until(lambda reader=reader: reader.closed == 1)  # type: ignore[misc]
        assert isinstance(running.errors[0], CorruptError)


def test_a_client_that_leaves_meanwhile_closes_what_is_made(serve: Serve) -> None:
    reader = Reader((0, len(CONTENT)))
    running = serve(reader)
    client = running.connect(SO_RCVBUF=16 * KIB)
    client.send(GET)
    client.take(1000)
    client.sock.close()
    running.until(lambda: reader.closed == 1 and running.server.connection_count == 0)
    assert running.errors == []

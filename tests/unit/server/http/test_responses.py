"""Answers: framing, files, streams, and what happens when they fail."""

import asyncio
import os
import random
import ssl
import threading
from collections.abc import AsyncIterator, Awaitable
from pathlib import Path

import pytest

from hosu.kernel.errors import CorruptError
from hosu.kernel.limits import KIB, MIB
from hosu.server.http import (
    BytesSegment,
    FdSegment,
    FileBody,
    Handler,
    HttpLimits,
    Request,
    Response,
    Segment,
    StreamBody,
)

from .conftest import Serve

GET = b"GET / HTTP/1.1\r\nHost: h\r\n\r\n"
HEAD = b"HEAD / HTTP/1.1\r\nHost: h\r\n\r\n"
CONTENT = random.Random(7).randbytes(6 * MIB)


class Files:
    """Answers segments of a file, and counts what is open."""

    def __init__(self, folder: Path, *cuts: tuple[int, int] | bytes) -> None:
        self.path = folder / "blob"
        self.path.write_bytes(CONTENT)
        self.cuts = cuts
        self.opened = self.closed = 0

    def response(self) -> Response:
        fd = os.open(self.path, os.O_RDONLY)
        self.opened += 1
        segments: list[Segment] = [
            BytesSegment(cut) if isinstance(cut, bytes) else FdSegment(fd, *cut) for cut in self.cuts
        ]

        def close() -> None:
            self.closed += 1
            os.close(fd)

        return Response(200, [], FileBody(segments, close))

    def __call__(self, _: Request) -> Response | Awaitable[Response]:
        return self.response()

    @property
    def expected(self) -> bytes:
        return b"".join(cut if isinstance(cut, bytes) else CONTENT[cut[0] : sum(cut)] for cut in self.cuts)


def later(handler: Handler) -> Handler:
    async def answer(request: Request) -> Response:
        await asyncio.sleep(0)
        response = handler(request)
        return response if isinstance(response, Response) else await response

    return answer


def test_bytes_get_their_length_date_and_server(serve: Serve) -> None:
    client = serve(lambda _: Response(200, [(b"ETag", b'"e"')], b"body")).connect()
    client.send(GET)
    answer = client.answer()
    assert answer.body == b"body"
    assert answer.headers["etag"] == '"e"'
    assert answer.headers["server"] == "hosu"
    assert answer.headers["date"].endswith(" GMT")
    assert "connection" not in answer.headers


def test_head_states_the_length_it_was_given_and_sends_nothing(serve: Serve) -> None:
    client = serve(lambda _: Response(200, [(b"content-length", b"12345")])).connect()
    client.send(HEAD + HEAD)
    assert client.answer("HEAD").headers["content-length"] == "12345"
    assert client.answer("HEAD").headers["content-length"] == "12345"


def test_head_states_the_length_of_a_body_it_does_not_send(serve: Serve, tmp_path: Path) -> None:
    files = Files(tmp_path, (0, 5 * MIB))
    client = serve(files).connect()
    client.send(HEAD + HEAD)
    assert client.answer("HEAD").headers["content-length"] == str(5 * MIB)
    assert client.answer("HEAD").headers["content-length"] == str(5 * MIB)
    assert (files.opened, files.closed) == (2, 2)


@pytest.mark.parametrize("status", [204, 304])
def test_204_and_304_have_no_body(serve: Serve, status: int) -> None:
    client = serve(lambda _: Response(status, [], b"not sent")).connect()
    client.send(GET + GET)
    for _ in range(2):
        answer = client.answer()
        assert answer.status == status
        assert "content-length" not in answer.headers


def test_an_unknown_status_is_sent_as_it_is(serve: Serve) -> None:
    client = serve(lambda _: Response(499)).connect()
    client.send(GET)
    assert client.answer().status == 499


@pytest.mark.parametrize(
    "response",
    [
        Response(200, [(b"A", b"b\r\nSet-Cookie: c")]),
        Response(200, [(b"A", b"b\nc")]),
        Response(200, [(b"A\r\n", b"b")]),
        Response(200, [(b"A", b"\0")]),
        Response(200, [(b"Content-Length", b"5")], b"four"),
        Response(200, [(b"Content-Length", b"4\r\nX: y")], b"four"),
    ],
)
def test_headers_that_would_break_the_framing_become_500(serve: Serve, response: Response) -> None:
    running = serve(lambda _: response)
    client = running.connect()
    client.send(GET + GET)
    assert [client.answer().status, client.answer().status] == [500, 500]
    assert len(running.errors) == 2


@pytest.mark.parametrize("asynchronous", [True, False])
def test_an_exception_of_a_handler_becomes_500_and_is_reported(serve: Serve, *, asynchronous: bool) -> None:
    def handler(_: Request) -> Response:
        raise LookupError("bug")

    running = serve(later(handler) if asynchronous else handler)
    client = running.connect()
    client.send(GET + GET)
    assert [client.answer().status, client.answer().status] == [500, 500]
    assert [type(error) for error in running.errors] == [LookupError, LookupError]


def test_large_bytes_arrive_whole_at_a_slow_client(serve: Serve) -> None:
    client = serve(lambda _: Response(200, [], CONTENT)).connect(SO_RCVBUF=16 * KIB)
    client.send(GET + GET)
    assert client.answer().body == CONTENT
    assert client.answer().body == CONTENT


@pytest.mark.parametrize("asynchronous", [True, False])
@pytest.mark.parametrize(
    "cuts",
    [
        [],
        [(0, 10)],
        [(5, 100 * KIB), b"inline", (0, 1)],
        [(0, 0), (7, 300 * KIB)],
        [b"first", (1, 2 * MIB), b"", (3 * MIB + 1, MIB), b"last"],
        [(number * 1000, 999) for number in range(600)],
        [b"x" * MIB],
    ],
)
def test_files_arrive_intact_and_are_closed_once(
    serve: Serve, tmp_path: Path, cuts: list[tuple[int, int] | bytes], *, asynchronous: bool
) -> None:
    files = Files(tmp_path, *cuts)
    running = serve(later(files) if asynchronous else files)
    client = running.connect()
    client.send(GET * 3)
    for _ in range(3):
        assert client.answer().body == files.expected
    running.until(lambda: len(running.accesses) == 3)
    assert (files.opened, files.closed) == (3, 3)
    assert [size for _, _, size in running.accesses] == [len(files.expected)] * 3


def test_files_are_sent_behind_answers_still_waiting_in_the_transport(serve: Serve, tmp_path: Path) -> None:
    files = Files(tmp_path, (0, 3 * MIB))
    first = [True]

    def handler(request: Request) -> Response | Awaitable[Response]:
        if first[0]:
            first[0] = False
            return Response(200, [], CONTENT)
        return files(request)

    client = serve(handler).connect(SO_RCVBUF=16 * KIB)
    client.send(GET + GET)
    assert client.answer().body == CONTENT
    assert client.answer().body == files.expected


def test_a_slow_client_gets_its_file_while_others_are_served(serve: Serve, tmp_path: Path) -> None:
    files = Files(tmp_path, (0, 6 * MIB))
    running = serve(files, HttpLimits(sweep_s=0.02, send_threads=1))
    slow = [running.connect(SO_RCVBUF=16 * KIB) for _ in range(4)]
    for client in slow:
        client.send(GET)
    running.until(lambda: files.opened == 4)
    quick = running.connect()
    quick.send(GET)
    assert quick.answer().body == files.expected  # the only thread did not stay with a slow client
    for client in slow:
        assert client.answer().body == files.expected
    running.until(lambda: files.closed == 5)


def test_a_client_that_stops_reading_is_cut_off_and_the_file_closed(serve: Serve, tmp_path: Path) -> None:
    files = Files(tmp_path, (0, 6 * MIB))
    running = serve(files, HttpLimits(sweep_s=0.02, send_stall_s=0.2))
    client = running.connect(SO_RCVBUF=16 * KIB)
    client.send(GET)
    running.until(lambda: files.closed == 1 and running.server.connection_count == 0)
    assert running.errors == []


def test_a_client_that_stops_reading_small_answers_is_cut_off(serve: Serve) -> None:
    running = serve(lambda _: Response(200, [], CONTENT), HttpLimits(sweep_s=0.02, send_stall_s=0.2))
    client = running.connect(SO_RCVBUF=16 * KIB)
    client.send(GET * 50)
    running.until(lambda: running.server.connection_count == 0)
    assert len(running.accesses) < 50  # answers were not piled up for it


def test_a_client_that_leaves_during_a_file_closes_it(serve: Serve, tmp_path: Path) -> None:
    files = Files(tmp_path, (0, 6 * MIB))
    running = serve(files)
    client = running.connect(SO_RCVBUF=16 * KIB)
    client.send(GET)
    client.take(1000)
    client.sock.close()
    running.until(lambda: files.closed == 1 and running.server.connection_count == 0)
    assert running.errors == []


def test_aborted_downloads_and_uploads_leave_no_descriptor(serve: Serve, tmp_path: Path) -> None:
    files = Files(tmp_path, (0, 6 * MIB))

    async def handler(request: Request) -> Response:
        await request.body.read(1 << 30)
        return files.response()

    running = serve(handler)
    before = len(list(Path("/dev/fd").iterdir()))
    for number in range(30):
        client = running.connect(SO_RCVBUF=16 * KIB)
        if number % 2:
            client.send(b"PUT / HTTP/1.1\r\nHost: h\r\nContent-Length: 9999999\r\n\r\n" + bytes(1000 * number))
        else:
            client.send(GET)
            client.take(1 + 1000 * number)
        client.sock.close()
    running.until(lambda: running.server.connection_count == 0 and files.opened == files.closed == 15)
    assert len(list(Path("/dev/fd").iterdir())) <= before + running.server.limits.send_threads
    assert running.errors == []


def test_a_file_shorter_than_promised_cuts_the_connection(serve: Serve, tmp_path: Path) -> None:
    for size in (10, 5 * MIB):
        files = Files(tmp_path, (4 * MIB, size))
        os.truncate(files.path, 4 * MIB + 5)
        running = serve(files)
        client = running.connect()
        client.send(GET)
        with pytest.raises((EOFError, ConnectionError)):
            client.answer()
        running.until(lambda files=files: files.closed == 1)  # type: ignore[misc]
        assert isinstance(running.errors[0], CorruptError)


def test_a_client_that_shuts_its_side_still_gets_its_file(serve: Serve, tmp_path: Path) -> None:
    files = Files(tmp_path, (0, 6 * MIB))
    running = serve(files)
    client = running.connect(SO_RCVBUF=16 * KIB)
    client.send(GET)
    client.take(1000)
    client.sock.shutdown(1)
    assert client.rest().endswith(CONTENT[-1000:])
    running.until(lambda: files.closed == 1)


class Stream:
    """Makes pieces; knows whether it was ended."""

    def __init__(self, *pieces: bytes, error: Exception | None = None) -> None:
        self.pieces, self.error, self.ended = pieces, error, 0

    async def run(self) -> AsyncIterator[bytes]:
        try:
            for piece in self.pieces:
                await asyncio.sleep(0)
                yield piece
            if self.error is not None:
                raise self.error
        finally:
            self.ended += 1


def test_a_stream_of_unknown_length_is_chunked(serve: Serve) -> None:
    stream = Stream(b" ", b"", b"<a/>", bytes(MIB))
    client = serve(lambda _: Response(200, [], StreamBody(stream.run()))).connect()
    client.send(GET + GET)
    for _ in range(2):
        answer = client.answer()
        assert answer.headers["transfer-encoding"] == "chunked"
        assert "content-length" not in answer.headers
        assert answer.body == b" <a/>" + bytes(MIB)
    assert stream.ended == 2  # before the last chunk


def test_a_stream_of_known_length_states_it(serve: Serve) -> None:
    client = serve(lambda _: Response(200, [], StreamBody(Stream(b"ab", b"c").run(), 3))).connect()
    client.send(GET + GET)
    for _ in range(2):
        answer = client.answer()
        assert answer.headers["content-length"] == "3"
        assert answer.body == b"abc"


def test_a_stream_to_http_1_0_ends_with_the_connection(serve: Serve) -> None:
    client = serve(lambda _: Response(200, [], StreamBody(Stream(b"ab", b"c").run()))).connect()
    client.send(b"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")
    assert client.answer().body == b"abc"
    assert client.closed()


@pytest.mark.parametrize("length", [None, 3, 1])
def test_a_stream_that_fails_or_lies_is_cut_off(serve: Serve, length: int | None) -> None:
    stream = Stream(b"a", b"b", error=RuntimeError("half way") if length is None else None)
    running = serve(lambda _: Response(200, [], StreamBody(stream.run(), length)))
    client = running.connect()
    client.send(GET)
    with pytest.raises((EOFError, ConnectionError)):
        client.take(1 << 20)
    assert len(running.errors) == 1
    assert stream.ended == 1


def test_a_stream_is_ended_when_its_client_leaves(serve: Serve) -> None:
    ended = threading.Event()

    async def endless() -> AsyncIterator[bytes]:
        try:
            while True:
                yield b" "
                await asyncio.sleep(0.01)
        finally:
            ended.set()

    running = serve(lambda _: Response(200, [], StreamBody(endless())))
    client = running.connect()
    client.send(GET)
    client.until(b" \r\n")
    client.sock.close()
    assert ended.wait(5)
    running.until(lambda: running.server.connection_count == 0)
    assert running.errors == []


def test_a_stream_to_a_client_that_does_not_read_is_held_back(serve: Serve) -> None:
    made = [0]

    async def endless() -> AsyncIterator[bytes]:
        while True:
            made[0] += 1
            yield bytes(64 * KIB)

    running = serve(lambda _: Response(200, [], StreamBody(endless())), HttpLimits(sweep_s=0.02, send_stall_s=0.2))
    client = running.connect(SO_RCVBUF=16 * KIB)
    client.send(GET)
    running.until(lambda: running.server.connection_count == 0)
    assert made[0] < 1000


def test_the_access_hook_hears_of_every_answer(serve: Serve) -> None:
    running = serve(lambda _: Response(200, [], b"four"))
    client = running.connect()
    client.send(HEAD + GET)
    client.answer("HEAD")
    client.answer()
    assert running.accesses == [("HEAD", 200, 0), ("GET", 200, 4)]


def test_files_streams_and_bodies_over_tls(serve: Serve, tmp_path: Path, certificate: tuple[Path, Path]) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*certificate)
    files = Files(tmp_path, b"head", (1, 3 * MIB), b"tail")

    async def handler(request: Request) -> Response:
        assert request.secure
        if request.method == "PUT":
            return Response(200, [], await request.body.read(8 * MIB))
        return files.response()

    running = serve(handler, tls=context)
    client = running.connect()
    trusting = ssl.create_default_context(cafile=str(certificate[0]))
    trusting.check_hostname = False
    client.sock = trusting.wrap_socket(client.sock)
    running.clients.append(client.sock)
    client.send(GET + b"PUT / HTTP/1.1\r\nHost: h\r\nContent-Length: 6291456\r\n\r\n" + CONTENT + GET)
    assert client.answer().body == files.expected
    assert client.answer().body == CONTENT
    assert client.answer().body == files.expected
    running.until(lambda: files.closed == 2)

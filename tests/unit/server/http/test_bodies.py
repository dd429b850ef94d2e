"""Request bodies: whole, in pieces, aborted, stalled, unread."""

import asyncio
import hashlib
import random
import threading

import pytest

from hosu.kernel.errors import HosuError
from hosu.kernel.limits import KIB, MIB, WRITE_BYTES
from hosu.server.http import (
    BodyTimeoutError,
    BodyTooLargeError,
    ClientDisconnectedError,
    HttpLimits,
    ProtocolError,
    Request,
    Response,
)

from .conftest import QUICK, Serve


def put(size: int, *lines: str) -> bytes:
    return "\r\n".join(["PUT /k HTTP/1.1", "Host: h", f"Content-Length: {size}", *lines, "", ""]).encode()


def chunked(body: bytes, sizes: list[int]) -> bytes:
    raw, at = [b"PUT /k HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n"], 0
    for size in sizes:
        part = body[at : at + size]
        if part:  # an empty one would be the end
            raw.append(b"%X\r\n%b\r\n" % (len(part), part))
        at += size
    assert at >= len(body)
    return b"".join([*raw, b"0\r\n\r\n"])


async def digest(request: Request) -> Response:
    """Answer the MD5 of the body, read in pieces."""
    md5, size = hashlib.md5(), 0
    while piece := await request.body.chunk():
        assert len(piece) <= WRITE_BYTES
        md5.update(piece)
        size += len(piece)
        request.body.release(piece)
    return Response(200, [], f"{md5.hexdigest()} {size}".encode())


def expected(body: bytes) -> bytes:
    return f"{hashlib.md5(body).hexdigest()} {len(body)}".encode()


@pytest.mark.parametrize("size", [1, 4 * KIB, 64 * KIB - 1, 64 * KIB + 1, 100 * KIB, 512 * KIB, 512 * KIB + 1, 9 * MIB])
@pytest.mark.parametrize("pause_at", [0, 10, 70_000])
def test_bodies_of_known_length_arrive_intact(serve: Serve, size: int, pause_at: int) -> None:
    body = random.Random(size).randbytes(size)
    running = serve(digest)
    client = running.connect()
    for _ in range(2):
        client.send(put(size) + body[:pause_at])
        running.call(lambda: None)
        client.send(body[pause_at:])
        assert client.answer().body == expected(body)


@pytest.mark.parametrize("size", [1, 4 * KIB, 64 * KIB + 1, 700 * KIB, 3 * MIB])
@pytest.mark.parametrize("chunk", [1 * KIB + 1, 64 * KIB, 1 * MIB])
def test_chunked_bodies_arrive_intact(serve: Serve, size: int, chunk: int) -> None:
    body = random.Random(size).randbytes(size)
    client = serve(digest).connect()
    for _ in range(2):
        client.send(chunked(body, [chunk] * (size // chunk + 1)))
        assert client.answer().body == expected(body)


def test_a_large_body_and_a_pipelined_request_behind_it(serve: Serve) -> None:
    body = bytes(2 * MIB + 7)
    client = serve(digest).connect()
    client.send(put(len(body)) + body + put(3) + b"abc" + chunked(body, [len(body)]) + put(0))
    assert client.answer().body == expected(body)
    assert client.answer().body == expected(b"abc")
    assert client.answer().body == expected(body)
    assert client.answer().body == expected(b"")


def test_a_small_body_that_came_with_its_head_is_taken_without_waiting(serve: Serve) -> None:
    client = serve(lambda request: Response(200, [], request.body.take_buffered() or b"none")).connect()
    client.send(put(5) + b"hello")
    assert client.answer().body == b"hello"
    client.send(b"PUT /k HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nworld\r\n0\r\n\r\n")
    assert client.answer().body == b"world"
    client.send(put(5) + b"he")
    assert client.answer().body == b"none"


def test_a_body_is_taken_once(serve: Serve) -> None:
    async def handler(request: Request) -> Response:
        taken = request.body.take_buffered()
        return Response(200, [], b"|".join((taken or b"", await request.body.chunk(), await request.body.read(9))))

    client = serve(handler).connect()
    client.send(put(5) + b"hello")
    assert client.answer().body == b"hello||"


@pytest.mark.parametrize("raw", [put(5) + b"hello", put(5), chunked(b"hello", [5])])
def test_read_refuses_more_than_its_limit(serve: Serve, raw: bytes) -> None:
    caught: list[HosuError] = []

    async def handler(request: Request) -> Response:
        try:
            await request.body.read(4)
        except BodyTooLargeError as error:
            caught.append(error)
        return Response(413)

    client = serve(handler).connect()
    client.send(raw)
    assert client.answer().status == 413
    assert caught[0].details == {"limit_bytes": 4}


def test_100_continue_is_sent_when_the_handler_asks(serve: Serve) -> None:
    client = serve(digest).connect()
    client.send(put(5, "Expect: 100-Continue"))
    assert client.answer().status == 100
    client.send(b"hello")
    assert client.answer().body == expected(b"hello")


def test_100_continue_is_not_sent_to_a_client_that_did_not_wait(serve: Serve) -> None:
    client = serve(digest).connect()
    client.send(put(5, "Expect: 100-continue") + b"he")
    client.send(b"llo")
    assert client.answer().body == expected(b"hello")


def test_a_refusal_before_100_continue_closes_and_needs_no_body(serve: Serve) -> None:
    client = serve(lambda _: Response(403)).connect()
    client.send(put(5, "Expect: 100-continue"))
    answer = client.answer()
    assert (answer.status, answer.headers["connection"]) == (403, "close")
    assert client.closed()


def test_a_short_unread_body_is_dropped_and_the_connection_kept(serve: Serve) -> None:
    running = serve(lambda request: Response(403, [], request.raw_path))
    client = running.connect()
    client.send(put(60 * KIB))
    assert "connection" not in client.answer().headers
    client.send(bytes(60 * KIB) + put(2) + b"xx" + b"GET /next HTTP/1.1\r\nHost: h\r\n\r\n")
    assert client.answer().body == b"/k"
    assert client.answer().body == b"/next"


def test_a_long_unread_body_ends_the_connection_but_not_the_answer(serve: Serve) -> None:
    running = serve(lambda _: Response(403, [], b"no"), HttpLimits(sweep_s=0.02, linger_s=0.2))
    client = running.connect(SO_SNDBUF=64 * KIB)
    client.send(put(50 * MIB) + bytes(8 * MIB))  # more than all socket buffers: the server must go on reading
    answer = client.answer()
    assert (answer.status, answer.headers["connection"], answer.body) == (403, "close", b"no")
    assert client.closed()
    running.until(lambda: running.server.connection_count == 0)


def test_an_unread_body_costs_no_pooled_buffer_and_stops_the_client(serve: Serve) -> None:
    entered, leave = threading.Event(), threading.Event()
    seen: list[Request] = []

    async def handler(request: Request) -> Response:
        seen.append(request)
        entered.set()
        await asyncio.to_thread(leave.wait, 10)
        return Response(200)

    client = serve(handler).connect(SO_SNDBUF=64 * KIB)
    client.sock.settimeout(0.3)
    with pytest.raises(TimeoutError):
        client.send(put(64 * MIB) + bytes(64 * MIB))
    assert entered.wait(5)
    body = seen[0].body
    held = len(body._early)  # type: ignore[attr-defined]
    assert 64 * KIB <= held <= 192 * KIB
    assert body._buffer is None  # type: ignore[attr-defined]
    leave.set()


def test_a_slow_handler_holds_the_client_back(serve: Serve) -> None:
    go_on = threading.Event()
    seen: list[Request] = []

    async def handler(request: Request) -> Response:
        seen.append(request)
        await request.body.chunk()
        await asyncio.to_thread(go_on.wait, 10)
        return await digest(request)

    client = serve(handler).connect(SO_SNDBUF=64 * KIB)
    client.sock.settimeout(0.3)
    with pytest.raises(TimeoutError):
        client.send(put(64 * MIB) + bytes(64 * MIB))
    assert len(seen[0].body._pieces) == QUICK.body_pieces_unread_max  # type: ignore[attr-defined]
    go_on.set()


def test_pieces_are_valid_until_released_and_never_shared(serve: Serve) -> None:
    async def handler(request: Request) -> Response:
        kept, used = [], hashlib.md5()
        while piece := await request.body.chunk():
            kept.append(piece)
        for piece in kept:
            used.update(piece)
            request.body.release(piece)
        return Response(200, [], used.hexdigest().encode())

    body = random.Random(1).randbytes(4 * MIB)
    client = serve(handler).connect()
    for _ in range(2):
        client.send(put(len(body)) + body)
        assert client.answer().body == hashlib.md5(body).hexdigest().encode()


def test_released_buffers_are_used_again_and_unreleased_ones_are_not(serve: Serve) -> None:
    buffers: list[set[int]] = []
    held: list[object] = []
    release = [True]

    async def handler(request: Request) -> Response:
        mine = set()
        while piece := await request.body.chunk():
            assert isinstance(piece, memoryview)
            mine.add(id(piece.obj))
            held.append(piece.obj)
            if release[0]:
                request.body.release(piece)
        buffers.append(mine)
        return Response(200)

    client = serve(handler).connect()
    for releasing in (True, False, True):
        release[0] = releasing
        client.send(put(2 * MIB) + bytes(2 * MIB))
        assert client.answer().status == 200
    assert len(buffers[0]) < 4
    assert len(buffers[1]) == 4
    assert not buffers[2] & buffers[1]


@pytest.mark.parametrize("raw", [put(5 * MIB) + bytes(MIB), chunked(bytes(MIB), [MIB])[:-5], put(9) + b"x"])
def test_a_client_that_leaves_ends_the_wait_for_its_body(serve: Serve, raw: bytes) -> None:
    ended: list[type[BaseException]] = []

    async def handler(request: Request) -> Response:
        try:
            return await digest(request)
        except BaseException as error:
            ended.append(type(error))
            raise

    running = serve(handler)
    client = running.connect()
    client.send(raw)
    client.sock.close()
    running.until(lambda: bool(ended) and running.server.connection_count == 0)
    assert ended == [ClientDisconnectedError]
    assert running.errors == []


def test_a_client_that_leaves_cancels_a_handler_that_does_something_else(serve: Serve) -> None:
    ended: list[type[BaseException]] = []
    begun = threading.Event()

    async def handler(_: Request) -> Response:
        begun.set()
        try:
            await asyncio.sleep(100)
        except BaseException as error:
            ended.append(type(error))
            raise
        return Response(200)

    running = serve(handler)
    client = running.connect()
    client.send(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n")
    assert begun.wait(5)
    client.sock.close()
    running.until(lambda: bool(ended) and running.server.connection_count == 0)
    assert ended == [asyncio.CancelledError]
    assert running.errors == []


@pytest.mark.parametrize(
    "tail",
    [
        b"x\r\n",
        b"\r\n",
        b"-1\r\n",
        b"+5\r\nhello\r\n",
        b"0x5\r\nhello\r\n",
        b"5 \r\nhello\r\n",
        b"5\nhello\r\n",
        b"5\r\nhelloX\r\n",
        b"5\r\nhello\n0\r\n\r\n",
        b"5\r\nhello\r\n0\r\nbad trailer\r\n\r\n",
        b"5\r\nhello\r\n0\r\nA: b\n\r\n",
        b"FFFFFFFFFFFFFFFFF\r\n",
        b"5;" + b"e" * 5000 + b"\r\nhello",
        b"0\r\n" + b"A: " + b"v" * 4000 + b"\r\n" + (b"A: " + b"v" * 4000 + b"\r\n") * 5,
    ],
)
@pytest.mark.parametrize("together", [True, False])
def test_malformed_chunks_are_answered_400_and_close(serve: Serve, tail: bytes, *, together: bool) -> None:
    running = serve(digest)
    client = running.connect()
    head = b"PUT /k HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n"
    if together:
        client.send(head + tail)
    else:
        client.send(head)
        running.call(lambda: None)
        client.send(tail)
    answer = client.answer()
    assert (answer.status, answer.headers["connection"]) == (400, "close")
    assert client.closed()
    assert running.errors == []


def test_a_handler_may_answer_malformed_chunks_itself(serve: Serve) -> None:
    async def handler(request: Request) -> Response:
        with pytest.raises(ProtocolError):
            await request.body.read(100)
        return Response(418)

    running = serve(handler)
    client = running.connect()
    client.send(b"PUT /k HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n")
    running.call(lambda: None)
    client.send(b"zz\r\n")
    assert client.answer().status == 418
    assert client.closed()


def test_a_body_that_stalls_is_answered_408(serve: Serve) -> None:
    running = serve(digest, HttpLimits(sweep_s=0.02, body_stall_s=0.1))
    client = running.connect()
    client.send(put(100) + b"some")
    answer = client.answer()
    assert (answer.status, answer.headers["connection"]) == (408, "close")
    assert client.closed()


def test_a_handler_may_answer_a_stall_itself(serve: Serve) -> None:
    async def handler(request: Request) -> Response:
        with pytest.raises(BodyTimeoutError):
            await request.body.read(1000)
        return Response(418)

    client = serve(handler, HttpLimits(sweep_s=0.02, body_stall_s=0.1)).connect()
    client.send(put(100) + b"some")
    assert client.answer().status == 418
    assert client.closed()

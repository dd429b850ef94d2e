"""What an access hook is told of requests that end otherwise than with an answer, and what is under way."""

import asyncio
from collections.abc import AsyncIterator

import pytest
from tests.unit.server.http.conftest import Serve

from hosu.server.http import Request, Response, StreamBody
from hosu.server.http.message import CLIENT_LEFT


def test_a_client_that_leaves_before_its_answer_is_told_of_once(serve: Serve) -> None:
    entered = []

    async def never(request: Request) -> Response:
        entered.append(request)
        await asyncio.Event().wait()
        raise AssertionError("nobody sets it")

    running = serve(never)
    client = running.connect()
    client.send(b"GET /slow HTTP/1.1\r\nHost: a\r\n\r\n")
    running.until(lambda: bool(entered))
    assert [request.raw_path for request in running.call(running.server.requests_under_way)] == [b"/slow"]
    client.sock.close()
    running.until(lambda: bool(running.accesses))
    running.until(lambda: running.server.connection_count == 0)
    assert running.accesses == [("GET", CLIENT_LEFT, 0)]
    assert running.call(running.server.requests_under_way) == []


def test_a_client_that_leaves_in_mid_answer_is_told_of_once(serve: Serve) -> None:
    async def pieces() -> AsyncIterator[bytes]:
        while True:
            yield b"x" * 65_536
            await asyncio.sleep(0)

    running = serve(lambda _: Response(200, body=StreamBody(pieces())))
    client = running.connect()
    client.send(b"GET /endless HTTP/1.1\r\nHost: a\r\n\r\n")
    client.take(200_000)
    client.sock.close()
    running.until(lambda: running.server.connection_count == 0)
    assert running.accesses == [("GET", CLIENT_LEFT, 0)]


def test_a_connection_that_ends_after_its_answers_is_no_request_that_broke_off(serve: Serve) -> None:
    running = serve(lambda _: Response(200, body=b"ok"))
    client = running.connect()
    for _ in range(2):
        client.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        assert client.answer().body == b"ok"
    client.sock.close()
    running.until(lambda: running.server.connection_count == 0)
    assert running.accesses == [("GET", 200, 2), ("GET", 200, 2)]


@pytest.mark.parametrize("framing", ["length", "chunks"])
def test_the_bytes_of_a_body_are_counted_without_their_framing(serve: Serve, framing: str) -> None:
    seen: list[int] = []

    async def count(request: Request) -> Response:
        assert await request.body.read(1_000) == b"0123456789"
        seen.append(request.body.received_bytes)
        return Response(200)

    running = serve(count)
    client = running.connect()
    head = b"PUT / HTTP/1.1\r\nHost: a\r\n"
    if framing == "length":
        client.send(head + b"Content-Length: 10\r\n\r\n0123456789")
    else:
        client.send(head + b"Transfer-Encoding: chunked\r\n\r\n4\r\n0123\r\n6;x=y\r\n456789\r\n0\r\n\r\n")
    assert client.answer().status == 200
    assert seen == [10]


def test_a_body_that_breaks_off_counts_as_far_as_it_came(serve: Serve) -> None:
    requests: list[Request] = []

    async def read(request: Request) -> Response:
        requests.append(request)
        await request.body.read(1_000)
        return Response(200)

    running = serve(read)
    client = running.connect()
    client.send(b"PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\n0123456")
    running.until(lambda: bool(requests) and requests[0].body.received_bytes == 7)
    client.sock.close()
    running.until(lambda: running.server.connection_count == 0)
    assert running.accesses == [("PUT", CLIENT_LEFT, 0)]
    assert requests[0].body.received_bytes == 7


def test_only_an_answer_that_takes_time_has_a_first_byte_of_its_own(serve: Serve) -> None:
    requests: list[Request] = []

    async def pieces() -> AsyncIterator[bytes]:
        yield b"ok"

    def answer(request: Request) -> Response:
        requests.append(request)
        return Response(200, body=b"ok" if request.raw_path == b"/whole" else StreamBody(pieces(), 2))

    running = serve(answer)
    client = running.connect()
    for path in (b"/whole", b"/streamed"):
        client.send(b"GET " + path + b" HTTP/1.1\r\nHost: a\r\n\r\n")
        assert client.answer().body == b"ok"
    whole, streamed = requests
    assert whole.first_byte_s == 0.0
    assert streamed.first_byte_s >= streamed.started_s

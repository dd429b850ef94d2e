"""Slow clients, and the end of the server."""

import asyncio
import socket
import threading

import pytest

from hosu.server.http import HttpLimits, Request, Response

from .conftest import Client, ManualClock, Serve

GET = b"GET / HTTP/1.1\r\nHost: h\r\n\r\n"


def answer_ok(_: Request) -> Response:
    return Response(200, [], b"ok")


def trickle(client: Client) -> None:
    """Send a byte of a header again and again, until the server has enough of it."""
    for _ in range(500):
        client.send(b"a")
        threading.Event().wait(0.01)


def test_an_idle_connection_is_closed(serve: Serve) -> None:
    running = serve(answer_ok, HttpLimits(sweep_s=0.02, idle_s=0.1))
    fresh, used = running.connect(), running.connect()
    used.send(GET)
    assert used.answer().status == 200
    assert fresh.closed()
    assert used.closed()


def test_an_active_connection_is_not_idle(serve: Serve) -> None:
    running = serve(answer_ok, clock=ManualClock())
    client = running.connect()
    for _ in range(4):
        running.advance(70)
        client.send(GET)
        assert client.answer().status == 200
    running.advance(80)
    assert client.closed()


def test_headers_that_trickle_in_are_cut_off_with_408(serve: Serve) -> None:
    running = serve(answer_ok, HttpLimits(sweep_s=0.02, head_s=0.15, linger_s=0.1))
    client = running.connect()
    client.send(b"GET / HTTP/1.1\r\nHost: h\r\nA: ")
    with pytest.raises(ConnectionError):
        trickle(client)
    running.until(lambda: running.server.connection_count == 0)


def test_a_client_with_half_a_head_is_told_408(serve: Serve) -> None:
    client = serve(answer_ok, HttpLimits(sweep_s=0.02, head_s=0.1)).connect()
    client.send(GET[:-2])
    answer = client.answer()
    assert (answer.status, answer.headers["connection"]) == (408, "close")
    assert client.closed()


def test_a_drained_body_that_stalls_is_cut_off(serve: Serve) -> None:
    client = serve(answer_ok, HttpLimits(sweep_s=0.02, body_stall_s=0.1)).connect()
    client.send(b"PUT / HTTP/1.1\r\nHost: h\r\nContent-Length: 100\r\n\r\n")
    assert client.answer().status == 200
    assert client.closed()


def test_a_long_handler_is_not_a_slow_client(serve: Serve) -> None:
    begun, go_on = threading.Event(), threading.Event()

    async def handler(_: Request) -> Response:
        begun.set()
        await asyncio.to_thread(go_on.wait, 10)
        return Response(200)

    running = serve(handler, clock=ManualClock())
    client = running.connect()
    client.send(GET)
    assert begun.wait(5)
    running.advance(10_000)
    go_on.set()
    assert client.answer().status == 200


def test_a_slow_body_that_goes_on_is_not_a_stall(serve: Serve) -> None:
    seen: list[Request] = []

    async def handler(request: Request) -> Response:
        seen.append(request)
        return Response(200, [], await request.body.read(100))

    running = serve(handler, clock=ManualClock())
    client = running.connect()
    client.send(b"PUT / HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\n")
    running.until(lambda: bool(seen))
    for missing in range(4, -1, -1):
        running.advance(20)
        client.send(b"x")
        running.until(lambda missing=missing: seen[0].body._missing == missing)  # type: ignore[misc,attr-defined]
    assert client.answer().body == b"xxxxx"


def test_stop_finishes_what_is_under_way_and_closes_what_is_not(serve: Serve) -> None:
    begun, go_on = threading.Event(), threading.Event()

    async def handler(_: Request) -> Response:
        begun.set()
        await asyncio.to_thread(go_on.wait, 10)
        return Response(200, [], b"finished")

    running = serve(handler)
    busy, idle = running.connect(), running.connect()
    busy.send(GET)
    assert begun.wait(5)
    stopping = threading.Thread(target=running.stop)
    stopping.start()
    assert idle.closed()
    with pytest.raises(ConnectionError):
        socket.create_connection(("127.0.0.1", running.port), 5)
    go_on.set()
    answer = busy.answer()
    assert (answer.body, answer.headers["connection"]) == (b"finished", "close")
    assert busy.closed()
    stopping.join(10)  # though this client has not closed its side
    assert not stopping.is_alive()


def test_stop_cancels_what_does_not_finish_in_time(serve: Serve) -> None:
    begun, ended = threading.Event(), threading.Event()

    async def handler(_: Request) -> Response:
        begun.set()
        try:
            await asyncio.sleep(100)
        finally:
            ended.set()
        return Response(200)

    running = serve(handler)
    client = running.connect()
    client.send(GET)
    assert begun.wait(5)
    running.stop(0.1)
    assert ended.is_set()
    assert client.closed()


def test_stop_without_connections_is_immediate_and_repeatable(serve: Serve) -> None:
    running = serve(answer_ok)
    running.stop()
    running.stop()


def test_small_requests_go_on_while_a_body_is_read_and_a_file_is_sent(serve: Serve) -> None:
    async def handler(request: Request) -> Response:
        while piece := await request.body.chunk():
            request.body.release(piece)
        return Response(200, [], b"done")

    running = serve(lambda request: handler(request) if request.body.has_body else answer_ok(request))
    upload, small = running.connect(), running.connect()
    upload.send(b"PUT / HTTP/1.1\r\nHost: h\r\nContent-Length: 8388608\r\n\r\n")
    for _ in range(64):
        upload.send(bytes(131072))
        small.send(GET)
        assert small.answer().body == b"ok"
    assert upload.answer().body == b"done"

"""Whatever bytes arrive, the server answers well-formed responses or closes, and serves the next client."""

import asyncio
import re
from collections.abc import Awaitable, Callable
from typing import Any

import uvloop
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hosu.kernel.clock import SystemClock
from hosu.server.http import HttpLimits, HttpServer, Request, Response

LIMITS = HttpLimits(sweep_s=0.01, head_s=0.03, body_stall_s=0.03, linger_s=0.03, idle_s=0.03, head_bytes_max=4096)
STATUS = re.compile(rb"HTTP/1\.1 (\d{3}) [^\r\n]*\r\n")
SEEDS = [
    b"GET /b/k?x=y HTTP/1.1\r\nHost: h\r\nA: b\r\n\r\n",
    b"PUT /b/k HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\nhello",
    b"PUT /b/k HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nT: v\r\n\r\n",
    b"PUT /b/k HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\nabc",
    b"GET http://h/k HTTP/1.0\r\nConnection: keep-alive\r\n\r\n",
]
TOKENS = [
    b"\r\n",
    b"\n",
    b"\r",
    b"\0",
    b" ",
    b":",
    b"Content-Length: 3\r\n",
    b"Transfer-Encoding: chunked\r\n",
    b"0\r\n\r\n",
]
BOUNDED = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])


async def echo(request: Request) -> Response:
    return Response(200, [], await request.body.read(1 << 16))


async def read_all(reader: asyncio.StreamReader) -> bytes:
    received = b""
    try:
        while part := await reader.read(65536):
            received += part
    except ConnectionError:
        pass
    return received


def check_responses(raw: bytes) -> None:
    """Parse what was received as responses, one behind another."""
    while raw:
        match = STATUS.match(raw)
        assert match is not None, raw[:100]
        head, found, raw = raw.partition(b"\r\n\r\n")
        assert found
        if match[1] != b"100":
            length = re.search(rb"\r\nContent-Length: (\d+)(?:\r\n|$)", head)
            assert length is not None
            assert len(raw) >= int(length[1])
            raw = raw[int(length[1]) :]


def with_server(scenario: Callable[[int], Awaitable[None]]) -> None:
    """Run a scenario against a server's port; nothing may crash on the loop or stay behind."""

    async def run() -> None:
        crashes: list[dict[str, Any]] = []
        asyncio.get_running_loop().set_exception_handler(lambda _, context: crashes.append(context))
        errors: list[BaseException] = []
        server = HttpServer(
            echo, limits=LIMITS, clock=SystemClock(), on_handler_error=lambda _, error: errors.append(error)
        )
        await scenario(await server.start("127.0.0.1", 0))
        await server.stop(5)
        assert (crashes, errors, server.connection_count) == ([], [], 0)

    uvloop.run(run())


async def throw(port: int, parts: list[bytes]) -> None:
    """Send parts, whatever becomes of them; the server must end the connection by itself."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    receiving = asyncio.ensure_future(read_all(reader))
    try:
        for part in parts:
            writer.write(part)
            await asyncio.sleep(0)
    except ConnectionError:
        pass
    check_responses(await asyncio.wait_for(receiving, 10))
    writer.close()


async def serves(port: int) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"PUT / HTTP/1.1\r\nHost: h\r\nContent-Length: 4\r\nConnection: close\r\n\r\nwell")
    assert (await read_all(reader)).endswith(b"\r\n\r\nwell")
    writer.close()


def throw_all(batch: list[list[bytes]]) -> None:
    async def scenario(port: int) -> None:
        await asyncio.gather(*(throw(port, parts) for parts in batch))
        await serves(port)

    with_server(scenario)


@st.composite
def mutated(draw: st.DrawFn) -> list[bytes]:
    """Draw a few requests with bytes cut out, put in or changed, cut into parts."""
    raw = bytearray(b"".join(draw(st.lists(st.sampled_from(SEEDS), min_size=1, max_size=3))))
    for _ in range(draw(st.integers(0, 4))):
        at = draw(st.integers(0, len(raw)))
        raw[at : at + draw(st.integers(0, 3))] = draw(st.sampled_from(TOKENS) | st.binary(max_size=4))
    cuts = sorted(draw(st.lists(st.integers(0, len(raw)), max_size=4)))
    return [bytes(raw[start:stop]) for start, stop in zip([0, *cuts], [*cuts, len(raw)], strict=True)]


@BOUNDED
@given(st.lists(st.lists(st.binary(max_size=300), max_size=4), min_size=1, max_size=10))
def test_random_bytes_never_harm_the_server(batch: list[list[bytes]]) -> None:
    throw_all(batch)


@BOUNDED
@given(st.lists(mutated(), min_size=5, max_size=20))
def test_mutated_requests_never_harm_the_server(batch: list[list[bytes]]) -> None:
    throw_all(batch)

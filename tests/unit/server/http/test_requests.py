"""Heads: what is accepted, what is refused, and how the connection goes on."""

import asyncio

import pytest

from hosu.server.http import Handler, HttpLimits, Request, Response

from .conftest import QUICK, Serve


def echo(request: Request) -> Response:
    lines = [request.method.encode(), request.raw_path, request.raw_query]
    lines += [name + b"=" + value for name, value in request.headers]
    return Response(200, [], b"\n".join(lines))


async def echo_later(request: Request) -> Response:
    await asyncio.sleep(0)
    body = await request.body.read(1 << 20)
    return Response(200, [], request.raw_path + b" " + body)


def get(path: str, *lines: str) -> bytes:
    return "\r\n".join([f"GET {path} HTTP/1.1", "Host: h", *lines, "", ""]).encode("latin-1")


def test_target_and_headers_arrive_as_sent(serve: Serve) -> None:
    client = serve(echo).connect()
    client.send(get("/b/%2F%20a?x=%41&y", "X-Amz-Meta-A:  v w \t", "X-Amz-Meta-A: 2"))
    assert client.answer().body == b"GET\n/b/%2F%20a\nx=%41&y\nhost=h\nx-amz-meta-a=v w\nx-amz-meta-a=2"


def test_repeated_headers_are_joined_for_lookup(serve: Serve) -> None:
    client = serve(lambda request: Response(200, [], request.header(b"a") or b"")).connect()
    client.send(get("/", "A: 1", "a: 2"))
    assert client.answer().body == b"1,2"


def test_request_ids_are_16_hex_digits_and_differ(serve: Serve) -> None:
    client = serve(lambda request: Response(200, [], request.request_id.encode())).connect()
    client.send(get("/") * 2)
    first, second = client.answer().body, client.answer().body
    assert len(first) == 16
    assert first != second
    assert first == first.upper()
    assert int(first, 16) >= 0


def test_a_request_may_arrive_byte_by_byte(serve: Serve) -> None:
    client = serve(echo_later).connect()
    for byte in b"PUT /k HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\nhello" + get("/next"):
        client.send(bytes([byte]))
    assert client.answer().body == b"/k hello"
    assert client.answer().body == b"/next "


@pytest.mark.parametrize("handler", [lambda request: Response(200, [], request.raw_path + b" "), echo_later])
def test_pipelined_requests_are_answered_in_order(serve: Serve, handler: Handler) -> None:
    client = serve(handler).connect()
    client.send(b"".join(get(f"/{number}") for number in range(100)))
    assert [client.answer().body for _ in range(100)] == [b"/%d " % number for number in range(100)]


def test_a_body_in_one_packet_with_the_next_request_ends_where_it_should(serve: Serve) -> None:
    client = serve(echo_later).connect()
    client.send(
        b"PUT /a HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\nabc"
        b"PUT /b HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nde\r\n0\r\n\r\n\r\n" + get("/c")
    )
    assert [client.answer().body for _ in range(3)] == [b"/a abc", b"/b de", b"/c "]


def test_every_split_of_a_request_gives_the_same_answer(serve: Serve) -> None:
    running = serve(echo_later)
    raw = (
        b"PUT /k HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2;x=y\r\nde\r\n0\r\nT: v\r\n\r\n"
    )
    client = running.connect()
    for cut in range(1, len(raw)):
        client.send(raw[:cut])
        running.call(lambda: None)
        client.send(raw[cut:])
        assert client.answer().body == b"/k abcde", cut


@pytest.mark.parametrize(
    ("raw", "status"),
    [
        (b"GET / HTTP/1.1\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: a b\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: \r\n\r\n", 400),
        (b"PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nContent-Length: 5\r\n\r\nhello", 400),
        (b"PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello", 400),
        (b"PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 5, 5\r\n\r\nhello", 400),
        (b"PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: +5\r\n\r\nhello", 400),
        (b"PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: -5\r\n\r\nhello", 400),
        (b"PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 0x5\r\n\r\nhello", 400),
        (b"PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 99999999999999999999999\r\n\r\n", 400),
        (b"PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400),
        (b"PUT / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n", 400),
        (b"PUT / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip\r\n\r\n", 400),
        (b"PUT / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", 400),
        (b"PUT / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n", 400),
        (b"PUT / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: xchunked\r\n\r\n", 400),
        (b"PUT / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: \x0bchunked\r\n\r\n", 400),
        (b"PUT / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding : chunked\r\n\r\n", 400),
        (b"PUT / HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: a\r\nA: b\r\n c\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: a\r\nA: b\0c\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: a\r\nA: b\rc\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: a\r\nA: b\nc: d\r\n\r\n", 400),
        (b"GET / HTTP/1.1\nHost: a\n\n", 400),
        (b"GET / HTTP/1.1\r\nHost: a\r\nA : b\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\n Host: a\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: a\r\n: b\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: a\r\nnocolon\r\n\r\n", 400),
        (b"GET /#f HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        (b"GET * HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        (b"GET ftp://a/ HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        (b"CONNECT a:1 HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        (b"GET  HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        (b"\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", 400),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505),
        (b"GET / HTTP/2.0\r\nHost: a\r\n\r\n", 505),
        (b"GET / HTTP/1.2\r\nHost: a\r\n\r\n", 505),
        (b"GET / HTTP/0.9\r\nHost: a\r\n\r\n", 505),
    ],
)
def test_ambiguous_or_malformed_heads_are_refused_and_the_connection_closed(
    serve: Serve, raw: bytes, status: int
) -> None:
    running = serve(lambda _: Response(200, [], b"handled"))
    client = running.connect()
    client.send(raw + get("/smuggled"))
    answer = client.answer()
    assert answer.status == status
    assert answer.headers["connection"] == "close"
    assert client.closed()
    assert running.accesses == []


def test_the_parser_is_unharmed_by_what_another_connection_sent(serve: Serve) -> None:
    running = serve(echo)
    for spoiler in (
        b"GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: h\r\nProxy-Connection: close\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: h\r\nConnection: upgrade\r\nUpgrade: h2c\r\n\r\n",
        b"PUT / HTTP/1.1\r\nHost: h\r\nContent-Length: 100\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: h\r\nbad header\r\n\r\n",
        b"GET / HTTP/1.0\r\n\r\n",
    ):
        running.connect().send(spoiler)
        client = running.connect()
        client.send(get("/fine"))
        assert client.answer().body == b"GET\n/fine\n\nhost=h", spoiler


def test_an_absolute_target_names_the_host(serve: Serve) -> None:
    client = serve(echo).connect()
    client.send(b"GET http://other:9000/k?q HTTP/1.1\r\nHost: h\r\n\r\nGET http://x?q HTTP/1.1\r\nHost: h\r\n\r\n")
    assert client.answer().body == b"GET\n/k\nq\nhost=other:9000"
    assert client.answer().body == b"GET\n/\nq\nhost=x"


def test_options_may_ask_about_the_whole_server(serve: Serve) -> None:
    client = serve(echo).connect()
    client.send(b"OPTIONS * HTTP/1.1\r\nHost: h\r\n\r\n")
    assert client.answer().body == b"OPTIONS\n*\n\nhost=h"


def test_http_1_0_closes_unless_keep_alive_is_asked_for(serve: Serve) -> None:
    running = serve(echo)
    client = running.connect()
    client.send(b"GET / HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n")
    assert client.answer().headers["connection"] == "keep-alive"
    client.send(b"GET / HTTP/1.0\r\n\r\n")
    assert client.answer().headers["connection"] == "close"
    assert client.closed()


def test_connection_close_is_honoured(serve: Serve) -> None:
    client = serve(echo).connect()
    client.send(get("/", "Connection: x, Close"))
    assert client.answer().headers["connection"] == "close"
    assert client.closed()


def test_an_upgrade_is_declined_by_ignoring_it(serve: Serve) -> None:
    client = serve(lambda _: Response(200, [], b"plain")).connect()
    client.send(get("/", "Connection: Upgrade", "Upgrade: h2c") + get("/"))
    assert [client.answer().body, client.answer().body] == [b"plain", b"plain"]


@pytest.mark.parametrize(
    ("raw", "limits", "status"),
    [
        (get("/" + "k" * 200), HttpLimits(request_line_bytes_max=100), 414),
        (b"GET /" + b"k" * 200, HttpLimits(request_line_bytes_max=100), 414),
        (get("/", "A: " + "v" * 3000), HttpLimits(head_bytes_max=1000), 431),
        (get("/", "A: " + "v" * 3000)[:-4], HttpLimits(head_bytes_max=1000), 431),
        (get("/", *["A: v"] * 20), HttpLimits(header_count_max=20), 431),
    ],
)
def test_long_heads_are_refused_whether_or_not_they_end(
    serve: Serve, raw: bytes, limits: HttpLimits, status: int
) -> None:
    client = serve(echo, limits).connect()
    client.send(raw)
    assert client.answer().status == status
    assert client.closed()


def test_a_key_of_1024_encoded_bytes_and_a_presigned_query_fit(serve: Serve) -> None:
    client = serve(lambda request: Response(200, [], b"%d" % len(request.raw_path))).connect()
    client.send(get("/b/" + "%EC%95" * 1024 + "?X-Amz-Security-Token=" + "t" * 4000))
    assert client.answer().body == b"%d" % (3 + 6 * 1024)


def test_a_method_without_length_reaches_the_handler_without_a_body(serve: Serve) -> None:
    def handler(request: Request) -> Response:
        return Response(200 if request.body.has_body else 411)

    client = serve(handler).connect()
    client.send(b"PUT / HTTP/1.1\r\nHost: h\r\n\r\n")
    assert client.answer().status == 411


def test_clients_beyond_the_maximum_are_told_503(serve: Serve) -> None:
    running = serve(echo, HttpLimits(connections_max=1, sweep_s=0.02, linger_s=0.1))
    first = running.connect()
    first.send(get("/"))
    assert first.answer().status == 200
    second = running.connect()
    assert second.answer().status == 503
    assert second.closed()
    first.send(get("/"))
    assert first.answer().status == 200
    second.sock.close()
    first.sock.close()
    running.until(lambda: running.server.connection_count == 0)
    third = running.connect()
    third.send(get("/"))
    assert third.answer().status == 200


def test_quick_limits_change_nothing_but_the_sweep() -> None:
    assert HttpLimits(sweep_s=QUICK.sweep_s) == QUICK

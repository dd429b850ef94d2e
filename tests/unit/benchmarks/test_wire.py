import socket
from collections.abc import Iterator

import pytest
from benchmarks.wire import CHUNKED, STAMP_BYTES, Connection, Request, Response, WireError, join_chunks, parse_head

SCRATCH = bytearray(1000)
ANSWER = b"HTTP/1.1 200 OK\r\nServer: x\r\ncontent-length: 5\r\nETag: y\r\n\r\nhello"


@pytest.fixture
def pair() -> Iterator[tuple[Connection, socket.socket]]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        connection = Connection(listener.getsockname(), b"12345678")
        server, _ = listener.accept()
        server.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        with server:
            yield connection, server
        connection.close()


def receive_all(connection: Connection) -> Response:
    connection.sock.settimeout(5)
    while (response := connection.receive(SCRATCH)) is None:
        pass
    return response


def test_head_gives_status_length_and_whether_the_server_closes() -> None:
    assert parse_head(b"HTTP/1.1 200 OK\r\nContent-Length: 12\r\nA: b\r\n") == (200, 12, False)
    assert parse_head(b"HTTP/1.1 404 Not Found\r\nConnection: close\r\nCONTENT-LENGTH:0\r\n") == (404, 0, True)
    assert parse_head(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n") == (200, CHUNKED, False)
    assert parse_head(b"HTTP/1.1 204 No Content\r\nA: b\r\n") == (204, 0, False)
    assert parse_head(b"HTTP/1.0 200 OK\r\nContent-Length: 1\r\n") == (200, 1, True)


@pytest.mark.parametrize("head", [b"SSH-2.0\r\n", b"HTTP/1.1 200 OK\r\nA: b\r\n"])
def test_head_without_framing_is_refused(head: bytes) -> None:
    with pytest.raises(WireError):
        parse_head(head)


def test_chunks_are_joined_only_when_the_last_has_arrived() -> None:
    whole = b"5\r\nhello\r\n6;name=value\r\n world\r\n0\r\n\r\n"
    assert join_chunks(whole) == b"hello world"
    assert {join_chunks(whole[:end]) for end in range(len(whole) - 2)} == {None}


@pytest.mark.parametrize("collect", [False, True])
def test_answer_split_at_any_byte_is_whole_once(pair: tuple[Connection, socket.socket], *, collect: bool) -> None:
    connection, server = pair
    connection.sock.settimeout(5)
    for cut in range(1, len(ANSWER)):
        connection.send(Request(b"GET / HTTP/1.1\r\n\r\n", collect=collect))
        server.sendall(ANSWER[:cut])
        assert connection.receive(SCRATCH) is None
        server.sendall(ANSWER[cut:])
        response = receive_all(connection)
        assert (response.status, response.length, response.body) == (200, 5, b"hello" if collect else b"")


def test_head_request_waits_for_no_body(pair: tuple[Connection, socket.socket]) -> None:
    connection, server = pair
    connection.send(Request(b"HEAD / HTTP/1.1\r\n\r\n", bodiless=True))
    server.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 4096\r\n\r\n")
    assert receive_all(connection).length == 4096


def test_errors_keep_their_body_for_the_report(pair: tuple[Connection, socket.socket]) -> None:
    connection, server = pair
    connection.send(Request(b"GET / HTTP/1.1\r\n\r\n"))
    server.sendall(b"HTTP/1.1 503 Slow Down\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nlate\r\n0\r\n\r\n")
    assert receive_all(connection)[:2] == (503, 4)


def test_connection_that_ends_inside_a_body_is_an_error(pair: tuple[Connection, socket.socket]) -> None:
    connection, server = pair
    connection.send(Request(b"GET / HTTP/1.1\r\n\r\n"))
    server.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhel")
    server.shutdown(socket.SHUT_WR)
    with pytest.raises(WireError, match="2 bytes before the end"):
        receive_all(connection)


def test_bytes_after_the_announced_body_are_an_error(pair: tuple[Connection, socket.socket]) -> None:
    connection, server = pair
    connection.send(Request(b"GET / HTTP/1.1\r\n\r\n"))
    server.sendall(ANSWER + b"!")
    with pytest.raises(WireError, match="1 bytes more"):
        receive_all(connection)


def test_every_body_begins_with_a_stamp_of_its_own(pair: tuple[Connection, socket.socket]) -> None:
    connection, server = pair
    bodies = set()
    for _ in range(3):
        assert connection.send(Request(b"head", memoryview(b"tail")))
        sent = server.recv(1000)
        assert (sent[:4], sent[-4:], len(sent)) == (b"head", b"tail", 8 + STAMP_BYTES)
        bodies.add(sent)
    assert len(bodies) == 3


def test_large_body_is_sent_in_as_many_steps_as_the_socket_takes(pair: tuple[Connection, socket.socket]) -> None:
    connection, server = pair
    body = bytes(range(256)) * 65536
    done = connection.send(Request(b"head", memoryview(body)))
    assert not done
    received = b""
    while len(received) < 4 + STAMP_BYTES + len(body):
        received += server.recv(1 << 20)
        done = done or connection.send_more()
    assert done
    assert received[4 + STAMP_BYTES :] == body

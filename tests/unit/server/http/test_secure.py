import asyncio
import contextlib
import ssl
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.support.certificates import make_certificate

from hosu.server.http import BytesSegment, FdSegment, FileBody, HttpLimits, Request, Response, StreamBody
from hosu.server.http.limits import SEAL_BYTES

Serve = Callable[..., Any]
KIB, MIB = 1024, 1024 * 1024
CONTENT = bytes(range(256)) * (6 * MIB // 256)
GET = b"GET / HTTP/1.1\r\nHost: h\r\n\r\n"
ECHO = b"PUT / HTTP/1.1\r\nHost: h\r\nContent-Length: %d\r\n\r\n"


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    return make_certificate(tmp_path_factory.mktemp("pair"))


@pytest.fixture
def context(pair: tuple[Path, Path]) -> ssl.SSLContext:
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    made.load_cert_chain(*pair)
    made.set_alpn_protocols(["http/1.1"])
    return made


class Files:
    """Opens a file of CONTENT for each answer, and counts what is closed again."""

    def __init__(self, folder: Path) -> None:
        self.file = folder / "content"
        self.file.write_bytes(CONTENT)
        self.opened = self.closed = 0

    def answer(self, start: int = 0, size: int = len(CONTENT)) -> Response:
        stream = self.file.open("rb")
        self.opened += 1

        def close() -> None:
            stream.close()
            self.closed += 1

        return Response(200, body=FileBody([BytesSegment(b"<"), FdSegment(stream.fileno(), start, size)], close))


@pytest.fixture
def trusting(pair: tuple[Path, Path]) -> ssl.SSLContext:
    made = ssl.create_default_context(cafile=str(pair[0]))
    made.check_hostname = False
    return made


def over_tls(running: Any, trusting: ssl.SSLContext, **options: int) -> Any:
    client = running.connect(**options)
    client.sock = trusting.wrap_socket(client.sock, suppress_ragged_eofs=False)
    running.clients.append(client.sock)
    return client


async def echo(request: Request) -> Response:
    return Response(200, body=await request.body.read(16 * MIB))


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
@pytest.mark.parametrize("size", [0, 1, 16 * KIB, SEAL_BYTES, SEAL_BYTES + 1, 3 * MIB + 17])
def test_a_body_of_any_size_goes_in_and_out(
    serve: Serve, context: ssl.SSLContext, trusting: ssl.SSLContext, version: ssl.TLSVersion, size: int
) -> None:
    running = serve(echo, tls=context)
    trusting.maximum_version = trusting.minimum_version = version
    client = over_tls(running, trusting)
    for _ in range(2):
        client.send(ECHO % size + CONTENT[:size])
        assert client.answer().body == CONTENT[:size]


def test_a_file_arrives_whole_at_a_client_that_takes_it_in_sips(
    serve: Serve, context: ssl.SSLContext, trusting: ssl.SSLContext, tmp_path: Path
) -> None:
    files = Files(tmp_path)
    running = serve(lambda _: files.answer(), tls=context)
    client = over_tls(running, trusting, SO_RCVBUF=8 * KIB)
    client.send(GET)
    client.until(b"\r\n\r\n")
    assert b"".join(client.take(50_000) for _ in range(100)) == (b"<" + CONTENT)[:5_000_000]
    assert client.take(len(CONTENT) + 1 - 5_000_000) == (b"<" + CONTENT)[5_000_000:]
    running.until(lambda: files.closed == 1)


def test_requests_sent_while_a_file_goes_out_are_answered_after_it(
    serve: Serve, context: ssl.SSLContext, trusting: ssl.SSLContext, tmp_path: Path
) -> None:
    files, begun = Files(tmp_path), threading.Event()

    def handler(request: Request) -> Any:
        begun.set()
        return echo(request) if request.method == "PUT" else files.answer()

    running = serve(handler, tls=context)
    client = over_tls(running, trusting, SO_RCVBUF=8 * KIB)
    client.send(GET)
    assert begun.wait(10)
    client.until(b"\r\n\r\n")  # a thread is sending now, and the client does not take it
    for _ in range(20):
        client.send(ECHO % 5 + b"later")
    assert client.take(len(CONTENT) + 1) == b"<" + CONTENT
    assert [client.answer().body for _ in range(20)] == [b"later"] * 20


def test_what_is_sent_after_the_last_byte_of_a_file_is_the_next_answer(
    serve: Serve, context: ssl.SSLContext, trusting: ssl.SSLContext, tmp_path: Path
) -> None:
    files = Files(tmp_path)
    running = serve(lambda _: files.answer(1000, 300 * KIB), tls=context)
    client = over_tls(running, trusting)
    for _ in range(30):
        client.send(GET)
        assert client.answer().body == b"<" + CONTENT[1000 : 1000 + 300 * KIB]
    running.until(lambda: files.closed == 30)


def test_a_stream_goes_out(serve: Serve, context: ssl.SSLContext, trusting: ssl.SSLContext) -> None:
    async def pieces() -> Any:
        for at in range(0, len(CONTENT), 700_001):
            yield CONTENT[at : at + 700_001]

    running = serve(lambda _: Response(200, body=StreamBody(pieces(), len(CONTENT))), tls=context)
    client = over_tls(running, trusting)
    client.send(GET)
    assert client.answer().body == CONTENT


@pytest.mark.parametrize("pieces", [0, 1, 2])
@pytest.mark.parametrize("is_chunked", [False, True])
def test_who_is_refused_in_the_middle_of_an_upload_can_send_on_and_reads_why(
    serve: Serve, context: ssl.SSLContext, trusting: ssl.SSLContext, pieces: int, *, is_chunked: bool
) -> None:
    is_full = threading.Event()

    async def handler(request: Request) -> Response:
        for _ in range(pieces):
            await request.body.chunk()
        await asyncio.to_thread(is_full.wait)
        return Response(403, body=b"no")

    running = serve(handler, tls=context)
    client = over_tls(running, trusting)
    framing = b"Transfer-Encoding: chunked" if is_chunked else b"Content-Length: %d" % (32 * MIB)
    client.send(b"PUT / HTTP/1.1\r\nHost: h\r\n%b\r\n\r\n" % framing)
    [connection] = running.server._connections
    sending = threading.Thread(
        target=lambda: [client.send(b"100000\r\n%b\r\n" % bytes(MIB) if is_chunked else bytes(MIB)) for _ in range(32)]
    )
    sending.start()
    running.until(lambda: connection._reading_paused)
    is_full.set()
    sending.join(10)
    assert not sending.is_alive()
    assert client.answer().body == b"no"


def test_a_client_that_leaves_in_the_middle_leaves_nothing_open(
    serve: Serve, context: ssl.SSLContext, trusting: ssl.SSLContext, tmp_path: Path
) -> None:
    files = Files(tmp_path)
    running = serve(lambda _: files.answer(), tls=context)
    before = len(list(Path("/dev/fd").iterdir()))
    for number in range(10):
        client = over_tls(running, trusting, SO_RCVBUF=8 * KIB)
        client.send(GET)
        client.take(1 + 1000 * number)
        client.sock.close()
    running.until(lambda: running.server.connection_count == 0 and files.opened == files.closed == 10)
    assert len(list(Path("/dev/fd").iterdir())) <= before + running.server.limits.send_threads
    assert running.errors == []


def test_who_speaks_http_to_a_tls_port_is_told(serve: Serve, context: ssl.SSLContext) -> None:
    client = serve(echo, tls=context).connect()
    client.send(GET)
    answer = client.rest()
    assert answer.startswith(b"HTTP/1.0 400 Bad Request\r\n")
    assert answer.endswith(b"Client sent an HTTP request to an HTTPS server.\n")


def test_who_does_not_shake_hands_is_cut_off(serve: Serve, context: ssl.SSLContext) -> None:
    running = serve(echo, HttpLimits(head_s=0.05, sweep_s=0.02), tls=context)
    silent, hesitant = running.connect(), running.connect()
    hesitant.send(b"\x16\x03\x01")
    for client in (silent, hesitant):
        assert client.rest() == b""
    running.until(lambda: running.server.connection_count == 0)


def test_a_handshake_that_comes_in_single_bytes_is_one(
    serve: Serve, context: ssl.SSLContext, trusting: ssl.SSLContext
) -> None:
    client = serve(echo, tls=context).connect()
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    tls = trusting.wrap_bio(incoming, outgoing)

    def step(function: Callable[[], Any]) -> Any:
        while True:
            with contextlib.suppress(ssl.SSLWantReadError):
                result = function()
                client.send(outgoing.read())
                return result
            for byte in outgoing.read():
                client.send(bytes([byte]))
            incoming.write(client.sock.recv(65536))

    step(tls.do_handshake)
    tls.write(ECHO % 2 + b"ok")
    sealed = outgoing.read()
    client.send(sealed[:7])
    client.send(sealed[7:])
    assert step(lambda: tls.read(65536)).endswith(b"\r\n\r\nok")


@pytest.mark.parametrize("garbage", [b"\x16\x03\x01\x00\x05hello", b"\x16" * 500, b"\x16\x03\x01\xff\xff" + bytes(9)])
def test_garbage_instead_of_a_handshake_ends_the_connection(
    serve: Serve, context: ssl.SSLContext, garbage: bytes
) -> None:
    running = serve(echo, HttpLimits(head_s=0.2, sweep_s=0.02), tls=context)
    client = running.connect()
    client.send(garbage)
    client.rest()
    running.until(lambda: running.server.connection_count == 0)
    assert running.errors == []


def test_a_record_that_somebody_changed_reaches_no_handler(
    serve: Serve, context: ssl.SSLContext, trusting: ssl.SSLContext
) -> None:
    seen: list[bytes] = []

    async def handler(request: Request) -> Response:
        seen.append(await request.body.read(1 * MIB))
        return Response(200)

    running = serve(handler, tls=context)
    client = running.connect()
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    tls = trusting.wrap_bio(incoming, outgoing)
    while True:
        try:
            tls.do_handshake()
        except ssl.SSLWantReadError:
            client.send(outgoing.read())
            incoming.write(client.sock.recv(65536))
        else:
            break
    tls.write(ECHO % 4)
    client.send(outgoing.read())
    tls.write(b"four")
    sealed = bytearray(outgoing.read())
    sealed[-1] ^= 1
    client.send(bytes(sealed))
    client.rest()
    running.until(lambda: running.server.connection_count == 0)
    assert seen == []


def test_old_versions_of_tls_are_refused(serve: Serve, context: ssl.SSLContext, trusting: ssl.SSLContext) -> None:
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    running = serve(echo, tls=context)
    trusting.maximum_version = ssl.TLSVersion.TLSv1_2
    with pytest.raises(ssl.SSLError, match=r"(?i)version"):
        over_tls(running, trusting)


@pytest.mark.parametrize(("version", "named"), [(ssl.TLSVersion.TLSv1_2, "1.2"), (ssl.TLSVersion.TLSv1_3, "1.3")])
def test_requests_know_their_version_of_tls(
    serve: Serve, context: ssl.SSLContext, trusting: ssl.SSLContext, version: ssl.TLSVersion, named: str
) -> None:
    running = serve(lambda request: Response(200, body=f"{request.secure} {request.tls_version}".encode()), tls=context)
    trusting.maximum_version = trusting.minimum_version = version
    client = over_tls(running, trusting)
    client.send(GET)
    assert client.answer().body == f"True {named}".encode()


def test_http_1_1_is_agreed_on(serve: Serve, context: ssl.SSLContext, trusting: ssl.SSLContext) -> None:
    trusting.set_alpn_protocols(["h2", "http/1.1"])
    assert over_tls(serve(echo, tls=context), trusting).sock.selected_alpn_protocol() == "http/1.1"


def test_a_client_too_many_is_told_so(serve: Serve, context: ssl.SSLContext, trusting: ssl.SSLContext) -> None:
    running = serve(echo, HttpLimits(connections_max=1, sweep_s=0.02), tls=context)
    first = over_tls(running, trusting)
    first.send(ECHO % 1 + b"1")
    assert first.answer().body == b"1"
    second = over_tls(running, trusting)
    assert second.answer().status == 503


def test_the_answer_to_a_body_that_is_refused_arrives(
    serve: Serve, context: ssl.SSLContext, trusting: ssl.SSLContext
) -> None:
    running = serve(lambda _: Response(413, body=b"too large"), tls=context)
    client = over_tls(running, trusting)
    client.send(ECHO % (64 * MIB))
    with contextlib.suppress(OSError):
        for _ in range(16):
            client.send(CONTENT[:MIB])
    answer = client.answer()
    assert (answer.status, answer.body) == (413, b"too large")


def test_closing_says_goodbye(serve: Serve, context: ssl.SSLContext, trusting: ssl.SSLContext) -> None:
    client = over_tls(serve(echo, tls=context), trusting)
    client.send(b"PUT / HTTP/1.1\r\nHost: h\r\nConnection: close\r\nContent-Length: 1\r\n\r\n1")
    assert client.answer().body == b"1"
    assert client.sock.recv(1) == b""  # cut off without a goodbye this would raise


def test_a_goodbye_ends_the_connection(serve: Serve, context: ssl.SSLContext, trusting: ssl.SSLContext) -> None:
    running = serve(echo, tls=context)
    client = over_tls(running, trusting)
    client.send(ECHO % 1 + b"1")
    client.answer()
    client.sock.unwrap()
    running.until(lambda: running.server.connection_count == 0)


def test_new_connections_get_the_new_context_and_old_ones_go_on(
    serve: Serve, context: ssl.SSLContext, trusting: ssl.SSLContext, tmp_path: Path
) -> None:
    other = make_certificate(tmp_path / "other")
    renewed = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    renewed.load_cert_chain(*other)
    current = [context]
    running = serve(echo, tls=lambda: current[0])
    old = over_tls(running, trusting)
    current[0] = renewed
    with pytest.raises(ssl.SSLCertVerificationError):
        over_tls(running, trusting)
    trusting_new = ssl.create_default_context(cafile=str(other[0]))
    trusting_new.check_hostname = False
    for client in (over_tls(running, trusting_new), old):
        client.send(ECHO % 2 + b"ok")
        assert client.answer().body == b"ok"


def test_many_clients_download_and_upload_at_once(
    serve: Serve, context: ssl.SSLContext, trusting: ssl.SSLContext, tmp_path: Path
) -> None:
    files = Files(tmp_path)
    running = serve(lambda request: echo(request) if request.method == "PUT" else files.answer(), tls=context)
    failures: list[BaseException] = []

    def work(number: int) -> None:
        try:
            client = over_tls(running, trusting)
            for _ in range(3):
                client.send(GET)
                assert client.answer().body == b"<" + CONTENT
                client.send(ECHO % (MIB + number) + CONTENT[: MIB + number])
                assert client.answer().body == CONTENT[: MIB + number]
        except BaseException as error:
            failures.append(error)
            raise

    threads = [threading.Thread(target=work, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert failures == []

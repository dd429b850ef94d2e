"""Uploads that break off, never end, lie about themselves or come a byte at a time leave nothing and stop nobody."""

import base64
import contextlib
import hashlib
import socket
import struct
from typing import NamedTuple

import pytest
from tests.support.attack import Attacker, receive, until
from tests.support.clients import S3Client, patterned
from tests.support.http import form_body

KIB = 1024
MIB = 1024 * KIB
BODY = patterned(1 * MIB + 17)
CUTS = [0, 1, 1000, 20 * KIB, 600 * KIB, -1]
"""Where an upload breaks off: before, in and after its first bytes, past what is kept in memory, before its end."""


class Upload(NamedTuple):
    """An upload as it goes over the wire; `query` may hold the place of an upload's id."""

    method: str
    path: bytes
    query: bytes
    headers: dict[bytes, bytes]
    payload: bytes
    body: bytes


def framed(body: bytes, piece: int = 100_000) -> bytes:
    """Frame a body with chunked transfer encoding."""
    pieces = [body[at : at + piece] for at in range(0, len(body), piece)]
    return b"".join(b"%x\r\n%b\r\n" % (len(data), data) for data in pieces) + b"0\r\n\r\n"


def aws_chunked(body: bytes, trailer: bytes = b"", piece: int = 65_536) -> bytes:
    pieces = [body[at : at + piece] for at in range(0, len(body), piece)]
    return b"".join(b"%x\r\n%b\r\n" % (len(data), data) for data in pieces) + b"0\r\n" + trailer + b"\r\n"


def trailing(body: bytes) -> dict[bytes, bytes]:
    return {
        b"content-encoding": b"aws-chunked",
        b"x-amz-decoded-content-length": b"%d" % len(body),
        b"x-amz-trailer": b"x-amz-checksum-sha256",
    }


TRAILER = b"x-amz-checksum-sha256:" + base64.b64encode(hashlib.sha256(BODY).digest()) + b"\r\n"
UNSIGNED, STREAMING = b"UNSIGNED-PAYLOAD", b"STREAMING-UNSIGNED-PAYLOAD-TRAILER"
FORM, FORM_HEADERS = form_body({"key": "cut"}, "f", BODY)
UPLOADS = {
    "plain": Upload("PUT", b"/prey/cut", b"", {}, UNSIGNED, BODY),
    "hashed": Upload("PUT", b"/prey/cut", b"", {}, hashlib.sha256(BODY).hexdigest().encode(), BODY),
    "aws-chunked": Upload("PUT", b"/prey/cut", b"", trailing(BODY), STREAMING, aws_chunked(BODY, TRAILER)),
    "chunked": Upload("PUT", b"/prey/cut", b"", {b"transfer-encoding": b"chunked"}, UNSIGNED, framed(BODY)),
    "both": Upload(
        "PUT",
        b"/prey/cut",
        b"",
        {b"transfer-encoding": b"chunked"} | trailing(BODY),
        STREAMING,
        framed(aws_chunked(BODY, TRAILER)),
    ),
    "part": Upload("PUT", b"/prey/cut", b"partNumber=1&uploadId=%b", {}, UNSIGNED, BODY),
    "form": Upload("POST", b"/prey", b"", {b"content-type": FORM_HEADERS["Content-Type"].encode()}, UNSIGNED, FORM),
}


@pytest.fixture
def upload_id(harmless: S3Client) -> str:
    uploads = harmless.list_multipart_uploads(Bucket="prey", Prefix="cut").get("Uploads", [])
    if uploads:
        return str(uploads[0]["UploadId"])
    return str(harmless.create_multipart_upload(Bucket="prey", Key="cut")["UploadId"])


def head_of(attacker: Attacker, upload: Upload, upload_id: str, **more: bytes) -> bytes:
    headers = dict(upload.headers) | {name.encode().replace(b"_", b"-"): value for name, value in more.items()}
    if b"transfer-encoding" not in headers:
        headers.setdefault(b"content-length", b"%d" % len(upload.body))
    query = upload.query.replace(b"%b", upload_id.encode())
    return attacker.head(upload.method, upload.path, query, headers, upload.payload)


def cut_off(sock: socket.socket, *, at_once: bool) -> None:
    """Close in order, or with a reset that drops what is under way."""
    if at_once:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    sock.close()


@pytest.mark.parametrize("kind", UPLOADS)
def test_an_upload_that_breaks_off_leaves_no_file_descriptor_or_record(
    kind: str, attacker: Attacker, prey: S3Client, upload_id: str
) -> None:
    upload = UPLOADS[kind]
    head = head_of(attacker, upload, upload_id)
    with attacker.leaves_nothing():
        for cut in CUTS:
            for at_once in (False, True):
                sock = attacker.connect()
                sock.sendall(head + upload.body[:cut])
                cut_off(sock, at_once=at_once)
    assert "Contents" not in prey.list_objects_v2(Bucket="prey", Prefix="cut")
    assert "Parts" not in prey.list_parts(Bucket="prey", Key="cut", UploadId=upload_id)


def test_a_client_that_leaves_without_its_answer_leaves_a_whole_object_or_nothing(attacker: Attacker) -> None:
    upload, clients = UPLOADS["plain"], attacker.clients()
    with attacker.leaves_nothing():
        for _ in range(10):
            sock = attacker.connect()
            sock.sendall(head_of(attacker, upload, "") + upload.body)
            cut_off(sock, at_once=True)
        until(lambda: attacker.clients() <= clients, lambda: "connections are still open")
        answer = attacker.send("GET", b"/prey/cut")
        assert answer.status == 404 or answer.body == BODY
        attacker.send("DELETE", b"/prey/cut")


@pytest.mark.parametrize("kind", [kind for kind in UPLOADS if kind != "form"])
def test_the_same_upload_is_stored_when_it_does_not_break_off(kind: str, attacker: Attacker, upload_id: str) -> None:
    upload = UPLOADS[kind]
    answer = attacker.exchange(head_of(attacker, upload, upload_id, connection=b"close") + upload.body)
    assert (answer.status, answer.body) == (200, b"")
    if kind != "part":
        assert attacker.send("GET", b"/prey/cut").body == BODY
        assert attacker.send("DELETE", b"/prey/cut").status == 204
    else:
        assert attacker.send("DELETE", b"/prey/cut", b"uploadId=" + upload_id.encode()).status == 204


LIES = {
    "wrong hash": Upload("PUT", b"/prey/lie", b"", {}, hashlib.sha256(b"other").hexdigest().encode(), BODY),
    "wrong md5": Upload(
        "PUT", b"/prey/lie", b"", {b"content-md5": base64.b64encode(hashlib.md5(b"x").digest())}, UNSIGNED, BODY
    ),
    "wrong trailer": Upload(
        "PUT",
        b"/prey/lie",
        b"",
        trailing(BODY),
        STREAMING,
        aws_chunked(BODY, TRAILER.replace(TRAILER[-10:-4], b"AAAAAA")),
    ),
    "no trailer": Upload("PUT", b"/prey/lie", b"", trailing(BODY), STREAMING, aws_chunked(BODY)),
    "longer than said": Upload("PUT", b"/prey/lie", b"", trailing(BODY[:-9]), STREAMING, aws_chunked(BODY, TRAILER)),
    "shorter than said": Upload("PUT", b"/prey/lie", b"", trailing(BODY + b"x"), STREAMING, aws_chunked(BODY, TRAILER)),
    "no chunks": Upload("PUT", b"/prey/lie", b"", trailing(BODY), STREAMING, b"zz\r\n" + BODY),
}


@pytest.mark.parametrize("lie", LIES)
def test_an_upload_that_lies_about_itself_is_refused_and_leaves_nothing(
    lie: str, attacker: Attacker, prey: S3Client
) -> None:
    with attacker.leaves_nothing():
        answer = attacker.exchange(head_of(attacker, LIES[lie], "", connection=b"close") + LIES[lie].body)
        assert 400 <= answer.status < 500
        assert answer.code
    assert "Contents" not in prey.list_objects_v2(Bucket="prey", Prefix="lie")


FORM_FIELD = FORM.partition(b"\r\n\r\n")[0] + b"\r\n\r\n"
ENDLESS = {
    "content": (UPLOADS["plain"], {"content_length": b"%d" % (1 << 50)}, b""),
    "chunk sizes": (UPLOADS["chunked"], {}, b"0" * 65_536),
    "chunk extensions": (UPLOADS["chunked"], {}, b"1;" + b"x" * 65_536),
    "trailers": (UPLOADS["chunked"], {}, b"0\r\n" + b"x: y\r\n" * 20_000),
    "signed chunk sizes": (UPLOADS["aws-chunked"], {"content_length": b"%d" % (1 << 30)}, b"0" * MIB),
    "signed trailers": (UPLOADS["aws-chunked"], {"content_length": b"%d" % (1 << 30)}, b"0\r\n" + b"x:y\r\n" * 200_000),
    "form field": (UPLOADS["form"], {"content_length": b"%d" % (1 << 30)}, FORM_FIELD + b"k" * (12 * MIB)),
}


@pytest.mark.parametrize("kind", ENDLESS)
def test_what_never_ends_is_refused_long_before(kind: str, attacker: Attacker, prey: S3Client) -> None:
    upload, headers, sent = ENDLESS[kind]
    with attacker.leaves_nothing():
        answer = attacker.exchange(head_of(attacker, upload, "", **headers) + sent)
        assert 400 <= answer.status < 500
        assert answer.code
    assert "Contents" not in prey.list_objects_v2(Bucket="prey", Prefix="cut")


def test_nobody_waits_for_clients_that_send_a_byte_at_a_time(attacker: Attacker, prey: S3Client) -> None:
    with attacker.leaves_nothing(), contextlib.ExitStack() as slow:
        socks = [slow.enter_context(attacker.connect()) for _ in range(300)]
        head = head_of(attacker, UPLOADS["plain"], "")
        for number, sock in enumerate(socks):
            sock.sendall(head[:40] if number % 2 else head + BODY[:number])
        for turn in range(5):
            for number, sock in enumerate(socks):
                sock.sendall(head[40 + turn : 41 + turn] if number % 2 else BODY[number + turn : number + turn + 1])
            prey.put_object(Bucket="prey", Key="quick", Body=b"quick")
            assert prey.get_object(Bucket="prey", Key="quick")["Body"].read() == b"quick"
            prey.delete_object(Bucket="prey", Key="quick")


def test_readers_that_take_nothing_hold_up_nobody(attacker: Attacker, prey: S3Client) -> None:
    prey.put_object(Bucket="prey", Key="big", Body=patterned(8 * MIB))
    with attacker.leaves_nothing(), contextlib.ExitStack() as stuck:
        for _ in range(40):
            sock = stuck.enter_context(socket.socket())
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            sock.connect(("127.0.0.1", attacker.process.port))
            sock.sendall(attacker.head("GET", b"/prey/big"))
        assert prey.get_object(Bucket="prey", Key="big")["Body"].read() == patterned(8 * MIB)
    prey.delete_object(Bucket="prey", Key="big")


def test_a_thousand_idle_connections_stop_nobody_and_all_still_answer(attacker: Attacker, prey: S3Client) -> None:
    with attacker.leaves_nothing(), contextlib.ExitStack() as idle:
        socks = [idle.enter_context(attacker.connect()) for _ in range(1000)]
        for sock in socks:
            sock.sendall(b"HEAD /minio/health/live HTTP/1.1\r\nHost: h\r\n\r\n")
        for sock in socks:
            assert receive(sock, "HEAD").status == 200
        prey.put_object(Bucket="prey", Key="among", Body=b"many")
        prey.delete_object(Bucket="prey", Key="among")
        for sock in socks[::50]:
            sock.sendall(b"HEAD /minio/health/live HTTP/1.1\r\nHost: h\r\n\r\n")
            assert receive(sock, "HEAD").status == 200

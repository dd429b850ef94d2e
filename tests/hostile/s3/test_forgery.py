"""Nobody gets in: not with a changed request, an old one, or one hidden in another's."""

import datetime as dt
import re

import pytest
from tests.support.attack import Attacker, receive
from tests.support.clients import S3Client

SECRET_BODY = b"for root's eyes only"


@pytest.fixture(autouse=True)
def treasure(prey: S3Client) -> None:
    prey.put_object(Bucket="prey", Key="treasure", Body=SECRET_BODY)


def test_a_signed_request_is_let_in(attacker: Attacker) -> None:
    assert attacker.exchange(attacker.head("GET", b"/prey/treasure")).body == SECRET_BODY


CHANGES: dict[str, tuple[bytes | re.Pattern[bytes], bytes]] = {
    "method": (b"GET /prey", b"DELETE /prey"),
    "path": (b"/prey/treasure", b"/prey/treasurf"),
    "path's case": (b"/prey/treasure", b"/prey/Treasure"),
    "query": (b"/prey/treasure ", b"/prey/treasure?versionId=null "),
    "date": (re.compile(rb"x-amz-date: (\d{8})T\d{6}Z"), rb"x-amz-date: \1T000000Z"),
    "day": (re.compile(rb"(x-amz-date: \d{6})\d\d"), rb"\g<1>01"),
    "payload": (b"UNSIGNED-PAYLOAD", b"0" * 64),
    "signature": (re.compile(rb"Signature=.{8}"), b"Signature=00000000"),
    "no signature": (re.compile(rb"Signature=\w+"), b"Signature="),
    "short signature": (re.compile(rb"(Signature=\w{32})\w+"), rb"\1"),
    "algorithm": (b"AWS4-HMAC-SHA256", b"AWS4-HMAC-NONE"),
    "key": (b"Credential=conformance/", b"Credential=conformancf/"),
    "no key": (b"Credential=conformance/", b"Credential=/"),
    "region": (b"/us-east-1/", b"/eu-west-1/"),
    "service": (b"/s3/", b"/iam/"),
    "terminator": (b"aws4_request", b"aws5_request"),
    "unsigned header": (b"\r\n\r\n", b"\r\nx-amz-meta-evil: 1\r\n\r\n"),
    "unlisted host": (b"SignedHeaders=host;", b"SignedHeaders="),
    "another host": (b"host: 127.0.0.1", b"host: 127.0.0.2"),
    "second date": (b"\r\n\r\n", b"\r\nx-amz-date: 20200101T000000Z\r\n\r\n"),
    "no authorization": (re.compile(rb"authorization: [^\r]*\r\n"), b""),
    "basic": (re.compile(rb"authorization: [^\r]*\r\n"), b"authorization: Basic Y29uZm9ybWFuY2U6eA==\r\n"),
    "garbage": (re.compile(rb"authorization: [^\r]*\r\n"), b"authorization: AWS4-HMAC-SHA256 \xff,=,,=\r\n"),
}


@pytest.mark.parametrize("what", CHANGES)
def test_a_request_changed_on_its_way_is_refused(what: str, attacker: Attacker) -> None:
    old, new = CHANGES[what]
    head = attacker.head("GET", b"/prey/treasure")
    changed = old.sub(new, head) if isinstance(old, re.Pattern) else head.replace(old, new, 1)
    assert changed != head
    method = changed.partition(b" ")[0].decode()
    answer = attacker.exchange(changed, method)
    assert 400 <= answer.status < 500
    assert answer.code
    assert SECRET_BODY not in answer.body
    assert attacker.process.secret_key.encode() not in answer.body
    assert attacker.send("GET", b"/prey/treasure").body == SECRET_BODY


@pytest.mark.parametrize("minutes", [-16, 16, -60 * 24 * 400, 60 * 24 * 400])
def test_a_request_from_another_time_is_refused(minutes: int, attacker: Attacker) -> None:
    moment = dt.datetime.now(dt.UTC) + dt.timedelta(minutes=minutes)
    answer = attacker.exchange(attacker.head("GET", b"/prey/treasure", now_ms=int(moment.timestamp() * 1000)))
    assert (answer.status, answer.code) == (403, "RequestTimeTooSkewed")


@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "DELETE", "POST"])
@pytest.mark.parametrize("path", [b"/", b"/prey", b"/prey/treasure", b"/prey?uploads", b"/prey/treasure?uploads"])
def test_a_stranger_gets_nothing(method: str, path: bytes, attacker: Attacker) -> None:
    host = attacker.process.endpoint.host.encode()
    raw = b"%b %b HTTP/1.1\r\nhost: %b\r\ncontent-length: 0\r\nconnection: close\r\n\r\n" % (
        method.encode(),
        path,
        host,
    )
    answer = attacker.exchange(raw, method)
    assert 400 <= answer.status < 500
    assert SECRET_BODY not in answer.body
    assert attacker.send("GET", b"/prey/treasure").body == SECRET_BODY


HIDDEN = b"DELETE /prey/treasure HTTP/1.1\r\nhost: h\r\n\r\n"
SMUGGLED = {
    "two lengths": [(b"content-length", b"0"), (b"Content-Length", b"%d" % len(HIDDEN))],
    "length and chunked": [(b"content-length", b"%d" % len(HIDDEN)), (b"transfer-encoding", b"chunked")],
    "chunked twice": [(b"transfer-encoding", b"chunked"), (b"Transfer-Encoding", b"identity")],
    "chunked last but one": [(b"transfer-encoding", b"chunked, identity")],
    "odd chunked": [(b"transfer-encoding", b"xchunked")],
    "space before the colon": [(b"content-length ", b"%d" % len(HIDDEN))],
    "sign in the length": [(b"content-length", b"+%d" % len(HIDDEN))],
    "list in the length": [(b"content-length", b"0, %d" % len(HIDDEN))],
    "hex length": [(b"content-length", b"0x10")],
    "folded line": [(b"x-a", b"b\r\n c"), (b"content-length", b"0")],
    "line feed alone": [(b"x-a", b"b\ncontent-length: 5"), (b"content-length", b"0")],
    "nul in a value": [(b"x-a", b"\0"), (b"content-length", b"0")],
}


@pytest.mark.parametrize("trick", SMUGGLED)
def test_a_request_with_two_readings_is_refused_and_what_follows_it_is_not_read(trick: str, attacker: Attacker) -> None:
    head = attacker.head("PUT", b"/prey/smuggler")
    lines = b"".join(b"%b: %b\r\n" % line for line in SMUGGLED[trick])
    hidden = attacker.head("DELETE", b"/prey/treasure")
    with attacker.connect() as sock:
        sock.sendall(head[:-2] + lines + b"\r\n" + b"0\r\n\r\n" + hidden)
        answer = receive(sock, "PUT")
        assert 400 <= answer.status < 600
        assert answer.status != 500
        assert answer.headers["connection"] == "close"
        rest = b""
        while data := sock.recv(65_536):
            rest += data
        assert rest == b"", "something was answered behind the refusal"
    assert attacker.send("GET", b"/prey/treasure").body == SECRET_BODY
    assert attacker.send("HEAD", b"/prey/smuggler").status == 404

"""The status port: what it shows to whom."""

import asyncio
import base64
import http.client
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import pytest

from hosu.kernel.auth import Authorizer, Context, Principal, RootKeyring, RootOnly
from hosu.objects.alerts import Severity, raise_alert
from hosu.objects.buckets import create_bucket
from hosu.objects.store import ObjectStore
from hosu.server.pages import host_name, serve_pages
from hosu.server.supervisor import listen

SECRET = "a-secret-nobody-sees"


class FakeS3:
    """Answers every connection with the same bytes, as an S3 port in whatever state would."""

    def __init__(self) -> None:
        self.answer = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.address: tuple[str, int] = self._listener.getsockname()
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def _serve(self) -> None:
        while True:
            client, _ = self._listener.accept()
            with client:
                if not client.recv(4096):
                    return
                client.sendall(self.answer)

    def close(self) -> None:
        socket.create_connection(self.address).close()
        self._thread.join(10)
        self._listener.close()


@pytest.fixture
def s3_port() -> Iterator[FakeS3]:
    fake = FakeS3()
    yield fake
    fake.close()


@contextmanager
def served_pages(store: ObjectStore, s3_port: FakeS3, authorizer: Authorizer) -> Iterator[int]:
    listener = listen(("127.0.0.1", 0), "pages")
    number: int = listener.getsockname()[1]
    loop, stop = asyncio.new_event_loop(), asyncio.Event()
    served = serve_pages(store, authorizer, RootKeyring("root", SECRET), s3_port.address, listener, stop)
    thread = threading.Thread(target=loop.run_until_complete, args=(served,))
    thread.start()
    try:
        yield number
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join(10)
        loop.run_until_complete(loop.shutdown_default_executor())
        loop.close()


@pytest.fixture
def port(s3_port: FakeS3, tmp_path: Path) -> Iterator[int]:
    with ObjectStore(tmp_path / "lake", space_reserve_bytes=0) as store:
        store.commit(partial(create_bucket, name="pictures"))
        with served_pages(store, s3_port, RootOnly()) as number:
            yield number


def ask(
    port: int, path: str = "/", *, method: str = "GET", login: str | None = None, **headers: str
) -> tuple[http.client.HTTPResponse, str]:
    if login is not None:
        headers["Authorization"] = "Basic " + base64.b64encode(login.encode()).decode()
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    connection.request(method, path, headers=headers)
    answer = connection.getresponse()
    body = answer.read().decode()
    connection.close()
    return answer, body


def test_a_stranger_sees_health_and_how_to_connect_but_no_bucket(port: int, s3_port: FakeS3) -> None:
    answer, page = ask(port)
    assert answer.status == 200
    assert "● ready" in page
    assert f"127.0.0.1:{s3_port.address[1]}" in page
    assert "pictures" not in page


def test_alerts_are_shown_to_root_and_not_to_all_who_may_know_of_the_buckets(tmp_path: Path, s3_port: FakeS3) -> None:
    class ListsAll:
        def authorize(self, principal: Principal, action: str, resource: str, context: Context) -> None:
            if action != "s3:ListAllMyBuckets":
                RootOnly().authorize(principal, action, resource, context)

    alarm = partial(
        raise_alert, kind="corrupt-object", subject="b/hidden", severity=Severity.CRITICAL, message="broken"
    )
    with ObjectStore(tmp_path / "lake", space_reserve_bytes=0) as store:
        store.commit(partial(create_bucket, name="pictures"))
        store.commit(alarm)
        with served_pages(store, s3_port, ListsAll()) as port:
            page = ask(port)[1]
            assert "<td>pictures</td>" in page
            assert "b/hidden" not in page
            assert "b/hidden" in ask(port, login=f"root:{SECRET}")[1]


def test_root_sees_the_buckets(port: int) -> None:
    for path in ("/", "/buckets"):
        answer, page = ask(port, path, login=f"root:{SECRET}")
        assert answer.status == 200
        assert "<td>pictures</td>" in page
        assert SECRET not in page


@pytest.mark.parametrize("login", ["root:wrong", "other:" + SECRET, "root", ":", "root:" + SECRET + "x", "röot:é"])
def test_a_wrong_login_is_asked_again(login: str, port: int) -> None:
    answer, page = ask(port, login=login)
    assert answer.status == 401
    assert answer.headers["WWW-Authenticate"].startswith("Basic realm=")
    assert "pictures" not in page


@pytest.mark.parametrize("authorization", ["Basic !!!", "Basic /w==", "Basic", "Bearer x", "Basic " + "A" * 5000])
def test_a_malformed_login_is_asked_again(authorization: str, port: int) -> None:
    assert ask(port, Authorization=authorization)[0].status == 401


def test_buckets_ask_a_stranger_to_sign_in(port: int) -> None:
    assert ask(port, "/buckets")[0].status == 401


def test_the_page_tells_when_the_lake_takes_no_writes(port: int, s3_port: FakeS3) -> None:
    s3_port.answer = b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n"
    assert "not ready" in ask(port)[1]


@pytest.mark.parametrize("garbage", [b"", b"SSH-2.0-other\r\n", b"HTTP/1.1 200"])
def test_an_s3_port_that_talks_nonsense_is_not_ready(garbage: bytes, port: int, s3_port: FakeS3) -> None:
    s3_port.answer = garbage
    answer, page = ask(port)
    assert answer.status == 200
    assert ("● not ready" in page) == (garbage != b"HTTP/1.1 200")


def test_head_says_what_get_would_and_sends_no_body(port: int) -> None:
    answer, body = ask(port, method="HEAD")
    assert (answer.status, body) == (200, "")
    assert int(answer.headers["Content-Length"]) == len(ask(port)[1].encode())


def test_only_reading_is_allowed(port: int) -> None:
    answer, _ = ask(port, method="POST")
    assert (answer.status, answer.headers["Allow"]) == (405, "GET, HEAD")


def test_other_paths_lead_to_the_page(port: int) -> None:
    answer, body = ask(port, "/nowhere")
    assert answer.status == 404
    assert "status page is at /" in body


def test_browsers_are_told_to_run_nothing_and_keep_nothing(port: int) -> None:
    headers = ask(port, login=f"root:{SECRET}")[0].headers
    assert headers["Content-Security-Policy"].startswith("default-src 'none'")
    assert headers["Cache-Control"] == "no-store"
    assert headers["X-Content-Type-Options"] == "nosniff"


def test_the_endpoint_has_the_name_under_which_the_visitor_came(port: int, s3_port: FakeS3) -> None:
    assert f"http://lake.example:{s3_port.address[1]}" in ask(port, Host="lake.example:9001")[1]


@pytest.mark.parametrize(
    ("header", "name"),
    [
        (None, "127.0.0.1"),
        (b"", "127.0.0.1"),
        (b"lake", "lake"),
        (b"lake:9001", "lake"),
        (b"[::1]:9001", "[::1]"),
        (b"[::1]", "[::1]"),
        (b"<script>:1", "127.0.0.1"),
        (b"a b", "127.0.0.1"),
        (b"\xff", "127.0.0.1"),
    ],
)
def test_a_host_header_is_believed_only_where_it_is_a_host(header: bytes | None, name: str) -> None:
    assert host_name(header) == name

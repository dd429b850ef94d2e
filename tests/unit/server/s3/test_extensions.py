"""What is asked before S3, and what never is."""

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest

from hosu.kernel.errors import AccessDeniedError, ErrorKind
from hosu.server.http import Request, Response
from hosu.server.http.body import EMPTY_BODY
from hosu.server.s3.observer import NoObserver
from hosu.server.s3.service import S3Service


def request(method: str, path: bytes, host: bytes = b"127.0.0.1:9000") -> Request:
    made = Request(method, path, b"", [(b"host", host)], {b"host": host}, b"1.1")
    made.peer, made.request_id, made.body = ("127.0.0.1", 1), "0123456789ABCDEF", EMPTY_BODY
    return made


class Recorder:
    """Claims what it is told to, and remembers what it was asked."""

    def __init__(self, answer: Any = None, *, claims: bool = True) -> None:
        self.asked: list[bytes] = []
        self._answer = answer
        self._claims = claims

    def claims(self, asked: Request) -> bool:
        self.asked.append(asked.raw_path)
        return self._claims

    def handle(self, _: Request) -> Any:
        if isinstance(self._answer, Exception):
            raise self._answer
        return self._answer


class ReachedS3Error(Exception):
    """Raised where S3 itself begins."""


@pytest.fixture(autouse=True)
def beginning_of_s3(monkeypatch: pytest.MonkeyPatch) -> None:
    """Raise where S3 begins to look at a request."""

    def reached(*_: Any) -> Any:
        raise ReachedS3Error

    monkeypatch.setattr(S3Service, "_dispatch", reached)


def service(*extensions: Recorder, domains: tuple[str, ...] = ()) -> S3Service:
    engine: Any = SimpleNamespace(observer=NoObserver())
    return S3Service(engine, domains, lambda: True, extensions)


@pytest.mark.parametrize(("method", "path"), [("GET", b"/minio/admin/v3/info"), ("PUT", b"/minio/x"), ("POST", b"/")])
def test_the_first_extension_that_claims_a_request_answers_it(method: str, path: bytes) -> None:
    passing, claiming, later = Recorder(claims=False), Recorder(Response(299)), Recorder(Response(298))
    answer = service(passing, claiming, later).handle(request(method, path))
    assert isinstance(answer, Response)
    assert answer.status == 299
    assert (passing.asked, claiming.asked, later.asked) == ([path], [path], [])


@pytest.mark.parametrize(
    ("method", "path"),
    [("GET", b"/images/a"), ("GET", b"/"), ("PUT", b"/minio"), ("POST", b"/images"), ("GET", b"/minio2/a")],
)
def test_other_requests_are_s3s_alone(method: str, path: bytes) -> None:
    extension = Recorder(Response(299))
    with pytest.raises(ReachedS3Error):
        service(extension).handle(request(method, path))
    assert extension.asked == []


@pytest.mark.parametrize(("method", "path"), [("POST", b"/"), ("GET", b"/minio/admin/v3/info")])
def test_where_the_host_names_a_bucket_the_path_is_s3s(method: str, path: bytes) -> None:
    extension = Recorder(Response(299))
    with pytest.raises(ReachedS3Error):
        service(extension, domains=("lake.example",)).handle(request(method, path, b"images.lake.example"))
    assert extension.asked == []
    answer = service(extension, domains=("lake.example",)).handle(request(method, path, b"lake.example"))
    assert isinstance(answer, Response)
    assert answer.status == 299


def test_health_checks_are_nobody_elses() -> None:
    extension = Recorder(Response(299))
    answer = service(extension).handle(request("GET", b"/minio/health/live"))
    assert isinstance(answer, Response)
    assert (answer.status, extension.asked) == (200, [])


def test_an_error_that_an_extension_lets_go_is_rendered_as_s3s() -> None:
    error = AccessDeniedError(ErrorKind.ACCESS_DENIED, "no")

    async def fail() -> Response:
        raise error

    at_once = service(Recorder(error)).handle(request("GET", b"/minio/x"))
    later = service(Recorder(fail())).handle(request("GET", b"/minio/x"))
    assert not isinstance(later, Response)

    async def wait() -> Response:
        return await later

    for answer in (at_once, asyncio.run(wait())):
        assert isinstance(answer, Response)
        assert isinstance(answer.body, bytes)
        assert (answer.status, b"<Code>AccessDenied</Code>" in answer.body) == (403, True)

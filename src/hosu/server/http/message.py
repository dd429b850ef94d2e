"""Requests and responses as handlers see them."""

from collections.abc import AsyncIterator, Awaitable, Callable
from http import HTTPStatus
from typing import NamedTuple

from hosu.server.http.body import RequestBody

Headers = list[tuple[bytes, bytes]]
"""Names and values in order."""


class Request:
    """One request whose headers have arrived; its body follows through `body`.

    `raw_path` is what stood before `?` and `raw_query` what stood behind it, percent-encoded as sent. `headers` has
    lower-cased names and stripped values. `peer` is the client's address and port, `request_id` 16 upper-case hex
    digits.
    """

    __slots__ = (
        "body",
        "expects_continue",
        "fields",
        "first_byte_s",
        "headers",
        "keep_alive",
        "method",
        "note",
        "peer",
        "raw_path",
        "raw_query",
        "request_id",
        "secure",
        "started_s",
        "tls_version",
        "version",
    )

    body: RequestBody
    peer: tuple[str, int]
    request_id: str
    secure: bool
    started_s: float

    def __init__(
        self,
        method: str,
        raw_path: bytes,
        raw_query: bytes,
        headers: Headers,
        index: dict[bytes, bytes],
        version: bytes,
    ) -> None:
        self.method = method
        self.raw_path = raw_path
        self.raw_query = raw_query
        self.headers = headers
        self.fields = index
        """Headers by lower-cased name; values of repeated ones joined with a comma. Not to be changed."""
        self.version = version
        self.keep_alive = True
        self.expects_continue = False
        self.tls_version = ""
        """What the connection agreed on, as in `1.3`; empty without TLS."""
        self.first_byte_s = 0.0
        """When the head of an answer left whose body takes longer; for an access hook."""
        self.note: object = None
        """What the handler leaves here for the access hook."""

    def header(self, name: bytes) -> bytes | None:
        """Return the value of a header by its lower-cased name; values of repeated ones are joined with a comma."""
        return self.fields.get(name)

    def __repr__(self) -> str:
        return f"<Request {self.request_id} {self.method} {self.raw_path!r}>"


class FdSegment(NamedTuple):
    """Part of an open file."""

    fd: int
    offset: int
    size: int


class BytesSegment(NamedTuple):
    """Bytes at hand."""

    data: bytes


class ReaderSegment(NamedTuple):
    """Part of what has to be made from a file. `read_into` fills a buffer with the bytes from an offset, and blocks.

    `read_cached` does so only if it need not wait for a disk, and says whether it did.
    """

    read_into: Callable[[int, memoryview], None]
    read_cached: Callable[[int, memoryview], bool]
    offset: int
    size: int


Segment = FdSegment | BytesSegment | ReaderSegment


class FileBody:
    """A body made of parts of files, sent without passing through Python where the system can.

    `close` is called exactly once, on the event loop, when no thread uses the descriptors any more: after the last
    byte, when the connection is lost, or when the body is not wanted (HEAD).
    """

    __slots__ = ("_close", "is_made", "segments", "size")

    def __init__(self, segments: list[Segment], close: Callable[[], None] | None = None) -> None:
        self.segments = segments
        self.size = sum(len(part.data) if isinstance(part, BytesSegment) else part.size for part in segments)
        self.is_made = any(isinstance(part, ReaderSegment) for part in segments)
        """Whether a thread has to compute the bytes, and not only to move them."""
        self._close = close

    def close(self) -> None:
        """Give the descriptors back; further calls do nothing."""
        close, self._close = self._close, None
        if close is not None:
            close()


class StreamBody:
    """A body that is made while it is sent: with a Content-Length if it is known, else in chunks.

    Empty pieces are skipped. The iterator's `aclose`, if it has one, is called when sending ends, however it ends.
    """

    __slots__ = ("content_length", "pieces")

    def __init__(self, pieces: AsyncIterator[bytes], content_length: int | None = None) -> None:
        self.pieces = pieces
        self.content_length = content_length

    async def aclose(self) -> None:
        """End the iterator early."""
        aclose = getattr(self.pieces, "aclose", None)
        if aclose is not None:
            await aclose()


class Response:
    """What a handler answers. `lines` are headers rendered already, each ending with CRLF.

    The server adds Date, Server, Connection and the framing headers. `length`, or a Content-Length among `headers`,
    is needed only where no body tells it: for HEAD and 304.
    """

    __slots__ = ("body", "headers", "length", "lines", "status")

    def __init__(
        self,
        status: int,
        headers: Headers | None = None,
        body: bytes | FileBody | StreamBody = b"",
        *,
        lines: bytes = b"",
        length: int | None = None,
    ) -> None:
        self.status = status
        self.headers: Headers = [] if headers is None else headers
        self.lines = lines
        self.length = length
        self.body = body


Handler = Callable[[Request], Response | Awaitable[Response]]
"""Answers a request: at once, or through an awaitable for which a task is made."""

AccessHook = Callable[[Request, int, int, float], None]
"""Told of each request in the end: its status, body bytes sent, seconds since its headers arrived.

The status of one whose client left before its answer did, or whose answer broke off, is CLIENT_LEFT.
"""

CLIENT_LEFT = 499
"""No status of HTTP: nobody is left to be told one."""

ProtocolErrorHook = Callable[[int, str, str], Response]
"""Renders an error the HTTP layer found: status, reason and the id of the request."""

HandlerErrorHook = Callable[[Request, BaseException], None]
"""Told of an exception that a handler let go."""


def plain_error(status: int, reason: str, _request_id: str) -> Response:
    """Render an error as text."""
    return Response(status, [(b"Content-Type", b"text/plain; charset=utf-8")], f"{reason}\n".encode())


def ignore_handler_error(request: Request, error: BaseException) -> None:
    """Keep quiet: the client is told 500 either way."""


STATUS_LINES = {status.value: f"HTTP/1.1 {status.value} {status.phrase}\r\n".encode() for status in HTTPStatus}

NO_CONTENT, NOT_MODIFIED = 204, 304
BODILESS_STATUSES = frozenset((NO_CONTENT, NOT_MODIFIED))
"""Plain numbers: members of HTTPStatus cost time to look up on every request."""

_CONTENT_LENGTH = len(b"content-length")


def _render_headers(headers: Headers) -> tuple[bytes, bytes | None]:
    """Return the lines of headers, and the Content-Length among them; raises ValueError for a line break or NUL."""
    given: bytes | None = None
    lines = []
    for name, value in headers:
        if len(name) == _CONTENT_LENGTH and name.lower() == b"content-length":
            given = value
        else:
            lines.append(name + b": " + value + b"\r\n")
    rendered, count = b"".join(lines), len(lines)
    if rendered.count(b"\n") != count or rendered.count(b"\r") != count or b"\0" in rendered:
        raise ValueError("a response header holds a line break or NUL")
    return rendered, given


def encode_head(response: Response, common: bytes, length: int | None, *, bodiless: bool, chunked: bool) -> bytes:
    """Return status line and headers, with the blank line behind them.

    `common` holds the server's own lines. `length` is the size of the body, None when nobody knows it: then it goes
    out `chunked`, or ends with the connection. A `bodiless` answer (HEAD, 304) states the Content-Length among its
    headers, else `length`. Raises ValueError for headers that would write lines of their own, or lie about the body.
    """
    given: bytes | None = None
    block = response.lines
    if response.headers:
        rendered, given = _render_headers(response.headers)
        block += rendered
    status = response.status
    status_line = STATUS_LINES.get(status) or b"HTTP/1.1 %d Unknown\r\n" % status
    if chunked:
        return status_line + common + block + b"Transfer-Encoding: chunked\r\n\r\n"
    if given is not None:
        if not given.isdigit() or not (bodiless or int(given) == length):
            raise ValueError(f"Content-Length {given!r} for a body of {length} bytes")
        length = int(given)
    elif bodiless and response.length is not None:
        length = response.length
    elif status == NOT_MODIFIED:
        length = None
    if length is None or status == NO_CONTENT:
        return status_line + common + block + b"\r\n"
    return b"%b%b%bContent-Length: %d\r\n\r\n" % (status_line, common, block, length)

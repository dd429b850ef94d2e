"""From the bytes of a head to a Request: syntax by llhttp, framing by the strictest reading of RFC 9112.

Whatever two readers could understand differently (two lengths, folded lines, bare line feeds) is refused: a proxy in
front and this server must agree on where each request ends.
"""

import re

import httptools

from hosu.server.http.errors import ProtocolError
from hosu.server.http.message import Headers, Request

CHUNKED = -1
"""In place of a body's length: it comes in chunks."""

_METHODS = {name.encode(): name for name in ("GET", "HEAD", "PUT", "POST", "DELETE", "OPTIONS", "PATCH")}
_OTHER_VERSION = re.compile(rb"[A-Z]+ +\S+ HTTP/\d+\.\d+")
_ABSOLUTE_TARGET = re.compile(rb"https?://([^/?#]*)([^?#]*)(?:\?([^#]*))?", re.IGNORECASE)
_HOST = re.compile(rb"[A-Za-z0-9._~%!$&'()*+,;=:\[\]-]*")
_LENGTH_DIGITS_MAX = 19


class HeadParser:
    """Parses whole heads, one after another; one serves all connections of a server."""

    __slots__ = ("_fresh", "_headers", "_hosts_seen", "_parser", "_target")

    def __init__(self) -> None:
        self._hosts_seen: set[bytes] = set()
        self._target = b""
        self._headers: Headers = []
        self._renew()

    def _renew(self) -> None:
        self._parser = httptools.HttpRequestParser(self)
        self._fresh = True

    def on_url(self, target: bytes) -> None:
        """Take the request target from httptools."""
        self._target += target

    def on_header(self, name: bytes, value: bytes) -> None:
        """Take a header from httptools."""
        self._headers.append((name.lower(), value.strip(b" \t")))

    def parse(self, head: bytes, line_end: int, header_count_max: int) -> tuple[Request, int | None]:
        """Return the request and the length of its body: bytes, CHUNKED, or None when it has none.

        `head` ends with its blank line, `line_end` is where its first line ends. Raises ProtocolError.
        """
        version = head[line_end - 8 : line_end]
        if version not in {b"HTTP/1.1", b"HTTP/1.0"}:
            raise _version_error(head[:line_end])
        self._feed(head)
        headers = self._headers
        if len(headers) > header_count_max:
            raise ProtocolError(431, "Too many header fields")
        index = dict(headers)
        if len(index) != len(headers):
            index = _join_repeated(headers)
        method_end = head.index(b" ")
        method = head[:method_end]
        name = _METHODS.get(method) or method.decode("ascii")
        path, _, query = self._target.partition(b"?")
        if not path.startswith(b"/"):
            path, query = self._rewrite_target(name, headers, index)
        elif b"#" in self._target:
            raise ProtocolError(400, "A request target has no fragment")
        host = index.get(b"host")
        if host not in self._hosts_seen:
            self._check_host(host, version)
        request = Request(name, path, query, headers, index, version)
        connection = index.get(b"connection")
        if connection is not None or version == b"HTTP/1.0":
            request.keep_alive = _keeps_alive(connection, version)
        if b"content-length" in index or b"transfer-encoding" in index:
            return request, self._body_length(request, index)
        return request, None

    def _feed(self, head: bytes) -> None:
        """Run llhttp over a head; a parser left waiting for a body or a close is replaced, never believed."""
        while True:
            self._target = b""
            self._headers = []
            fresh, self._fresh = self._fresh, False
            failure = "no request target"
            try:
                self._parser.feed_data(head)
            except httptools.HttpParserUpgrade:
                self._renew()  # the offer to change the protocol is declined by ignoring it
            except httptools.HttpParserError as error:
                failure = str(error)
                self._target = b""
            if self._target:
                return
            self._renew()
            if fresh:
                raise ProtocolError(400, f"Malformed request: {failure}")

    def _rewrite_target(self, method: str, headers: Headers, index: dict[bytes, bytes]) -> tuple[bytes, bytes]:
        """Return path and query of a target that is not a plain path; an absolute one also names the host."""
        if self._target == b"*" and method == "OPTIONS":
            return b"*", b""
        match = _ABSOLUTE_TARGET.fullmatch(self._target)
        if match is None or not match[1]:
            raise ProtocolError(400, "Malformed request target")
        if b"host" in index:
            index[b"host"] = match[1]
            headers[:] = [(name, match[1] if name == b"host" else value) for name, value in headers]
        return match[2] or b"/", match[3] or b""

    def _check_host(self, host: bytes | None, version: bytes) -> None:
        if host is None:
            if version == b"HTTP/1.1":
                raise ProtocolError(400, "Host is missing")
            return
        if _HOST.fullmatch(host) is None:
            raise ProtocolError(400, "Malformed Host")
        if len(self._hosts_seen) >= 1024:  # noqa: PLR2004 - a memo, dropped whole when clients make names up
            self._hosts_seen.clear()
        self._hosts_seen.add(host)

    def _body_length(self, request: Request, index: dict[bytes, bytes]) -> int:
        coding = index.get(b"transfer-encoding")
        stated = index.get(b"content-length")
        expect = index.get(b"expect")
        if expect is not None and request.version == b"HTTP/1.1":
            request.expects_continue = expect.lower() == b"100-continue"
        self._renew()  # llhttp now waits for a body that it is not going to see
        if coding is not None:
            if stated is not None:
                raise ProtocolError(400, "Content-Length and Transfer-Encoding in one request")
            if coding.lower() != b"chunked" or request.version == b"HTTP/1.0":
                raise ProtocolError(400, "Unknown Transfer-Encoding")
            return CHUNKED
        assert stated is not None
        if not stated.isdigit() or len(stated) > _LENGTH_DIGITS_MAX:
            raise ProtocolError(400, "Malformed Content-Length")
        return int(stated)


def _version_error(line: bytes) -> ProtocolError:
    if _OTHER_VERSION.fullmatch(line) is not None:
        return ProtocolError(505, "HTTP version not supported: this server speaks HTTP/1.1")
    return ProtocolError(400, "Malformed request line")


def _join_repeated(headers: Headers) -> dict[bytes, bytes]:
    index: dict[bytes, bytes] = {}
    for name, value in headers:
        if name not in index:
            index[name] = value
        elif name in {b"host", b"content-length", b"transfer-encoding"}:
            raise ProtocolError(400, f"More than one {name.decode()}")
        else:
            index[name] += b"," + value
    return index


def _keeps_alive(connection: bytes | None, version: bytes) -> bool:
    tokens = {token.strip() for token in (connection or b"").lower().split(b",")}
    if b"close" in tokens:
        return False
    return version == b"HTTP/1.1" or b"keep-alive" in tokens

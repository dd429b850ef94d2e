"""One client connection: requests in order, one at a time, each with its answer.

A connection is idle, receives a head, has a request under way (its body may still arrive), drops the rest of a body,
or lingers after its last answer. The server's sweep tells it when it takes too long for what it does.
"""

import asyncio
import contextlib
from collections.abc import Awaitable, Coroutine
from http import HTTPStatus
from typing import TYPE_CHECKING

from hosu.server.http.admission import Admission
from hosu.server.http.body import EMPTY_BODY, NO_BODY
from hosu.server.http.errors import BodyTimeoutError, ClientDisconnectedError, ProtocolError
from hosu.server.http.head import CHUNKED
from hosu.server.http.limits import HEAD_READ_BYTES, PIPELINE_TURN_MAX
from hosu.server.http.message import (
    BODILESS_STATUSES,
    CLIENT_LEFT,
    FileBody,
    Request,
    Response,
    StreamBody,
    encode_head,
)
from hosu.server.http.receiving import ChunkedBody, IncomingBody, LengthBody
from hosu.server.http.sending import FileSender, send_stream
from hosu.server.http.wire import Wire

if TYPE_CHECKING:
    from hosu.server.http.server import HttpServer

_JOIN_BYTES_MAX = 256 * 1024
"""Bodies up to this size are copied behind their head, to leave in one write."""


class Connection(Wire):
    """The protocol of one accepted connection."""

    __slots__ = (
        "_advancing",
        "_busy",
        "_dropped",
        "_head_since_s",
        "_progress",
        "_request",
        "_scanned",
        "_sender",
        "_tail",
        "_task",
    )

    def __init__(self, server: "HttpServer", *, secure: bool) -> None:
        super().__init__(server, secure=secure)
        self._tail = b""
        """Received, not yet handled."""
        self._scanned = 0
        """How much of the tail holds no end of a head."""
        self._task: asyncio.Task[None] | None = None
        self._sender: FileSender | None = None
        self._advancing = False
        self._busy = False
        """A request is under way."""
        self._request: Request | None = None
        """The latest request."""
        self._dropped = False
        self._head_since_s: float | None = None
        self._progress = 0

    # Called by the event loop.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Start, or refuse a client too many."""
        super().connection_made(transport)
        match self._server.admit(self):
            case Admission.REFUSED:
                self._refuse(ProtocolError(503, "Too many connections"))
            case Admission.CUT_OFF:
                self.abort()

    def buffer_updated(self, nbytes: int) -> None:
        """Handle bytes that were received."""
        if self._last and self._body is None:
            return
        if self._body is not None:
            self._since_s = self._server.now_s
            try:
                self._body.received(self._scratch, nbytes)
            except ProtocolError as error:
                self._body_failed(error)
            return
        data = bytes(self._scratch[:nbytes])
        if self._tail:
            data = self._tail + data
        if self._busy:
            self._tail = data
            if len(data) > HEAD_READ_BYTES:
                self.pause_reading()
        else:
            self._advance(data)

    def eof_received(self) -> bool:
        """Treat the client's end of file as leaving, except that an answer on its way is still sent."""
        self._eof = self._last = True
        if self._sender is not None and not self.secure:
            return True
        self._drop()
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        """Release everything."""
        del exc
        self._lost = self._last = True
        self._server.forget(self)
        self._drop()
        if self._task is not None and not self._task.done():
            self._server.keep(self._task)
        if self._drain_waiter is not None and not self._drain_waiter.done():
            self._drain_waiter.set_exception(ClientDisconnectedError())

    def _writable_again(self) -> None:
        self._resume_requests()

    def body_complete(self, leftover: bytes) -> None:
        """Note that the body has arrived; `leftover` came behind it."""
        body, self._body = self._body, None
        self._tail += leftover
        if self._last:
            self._tail = b""
        elif body is not None and body.discarding and not self._busy:
            self._resume_requests()

    # Requests.

    def _advance(self, data: bytes) -> None:
        """Handle the requests in `data` until one is under way or no whole head is left."""
        self._advancing = True
        turns = 0
        while data and not self._busy and not self._last:
            if self._write_paused:
                self.pause_reading()
                break
            if turns == PIPELINE_TURN_MAX:
                self._loop.call_soon(self._resume_requests)
                self.pause_reading()
                break
            turns += 1
            try:
                end = self._find_head(data)
                if end < 0:
                    break
                self._tail, data = data[end:], data[:end]
                self._open_request(data)
            except ProtocolError as error:
                self._refuse(error)
            data = self._tail
        self._tail = b"" if self._last else data
        self._advancing = False

    def _find_head(self, data: bytes) -> int:
        """Return where the first head ends, or -1 when it has not arrived; raises ProtocolError past the limits."""
        limits = self._server.limits
        end = data.find(b"\r\n\r\n", self._scanned)
        if end >= 0:
            self._scanned = 0
            self._head_since_s = None
            if end + 4 > limits.head_bytes_max:
                raise ProtocolError(431, "The header fields are too large")
            return end + 4
        if self._head_since_s is None:
            self._head_since_s = self._server.now_s
        if len(data) > limits.head_bytes_max:
            raise ProtocolError(431, "The header fields are too large")
        if b"\r\n" not in data[: limits.request_line_bytes_max + 2] and len(data) > limits.request_line_bytes_max:
            raise ProtocolError(414, "The request line is too long")
        if data.count(b"\n") != data.count(b"\r\n"):
            raise ProtocolError(400, "Malformed request: a line does not end with CRLF")
        self._scanned = max(0, len(data) - 3)
        return -1

    def _open_request(self, head: bytes) -> None:
        """Parse a head and hand its request to the handler; raises ProtocolError."""
        server = self._server
        if head.startswith(b"\r\n"):
            head = head[2:]  # a stray line end behind the previous body, as RFC 9112 2.2 has it
        line_end = head.find(b"\r\n")
        if line_end > server.limits.request_line_bytes_max:
            raise ProtocolError(414, "The request line is too long")
        request, length = server.parser.parse(head, line_end, server.limits.header_count_max)
        request.peer = self._peer
        request.secure = self.secure
        if self.secure:
            request.tls_version = self.tls_version
        request.request_id = server.next_request_id()
        self._busy = True
        self._request = request
        if length is None:
            request.body = NO_BODY
        elif length == 0:
            request.body = EMPTY_BODY
        else:
            self._open_body(request, length)
        if server.on_access is not None:
            request.started_s = server.clock.monotonic()
        try:
            answer = server.handler(request)
        except Exception as error:  # noqa: BLE001 - whatever a handler does, its client gets an answer
            answer = self._failure_answer(request, error)
        if not isinstance(answer, Response):
            self._task = self._loop.create_task(self._run(request, answer))
            return
        sending = self._respond(request, answer)
        if sending is not None:
            self._task = self._loop.create_task(self._guard(request, answer, sending))

    def _open_body(self, request: Request, length: int) -> None:
        server = self._server
        body: IncomingBody
        unread_max, awaits = server.limits.body_pieces_unread_max, request.expects_continue
        if length == CHUNKED:
            body = ChunkedBody(self, server.pool, unread_max, awaits_continue=awaits)
        else:
            body = LengthBody(self, server.pool, unread_max, length, awaits_continue=awaits)
        request.body = self._body = body
        self._since_s = server.now_s
        tail, self._tail = self._tail, b""
        if tail:
            body.feed(tail)

    async def _run(self, request: Request, answer: Awaitable[Response]) -> None:
        """Await the handler and send what it answers."""
        try:
            response = await answer
        except (ClientDisconnectedError, asyncio.CancelledError) as error:
            self.abort()
            if isinstance(error, asyncio.CancelledError):
                raise
            return
        except Exception as error:  # noqa: BLE001 - whatever a handler does, its client gets an answer
            response = self._failure_answer(request, error)
        if self._lost or self._dropped:
            await _let_go(response)
            return
        sending = self._respond(request, response)
        if sending is not None:
            await self._guard(request, response, sending)

    async def _guard(self, request: Request, response: Response, sending: Coroutine[None, None, int]) -> None:
        """Send a body; one that cannot be sent whole ends the connection, so that nobody takes it for whole."""
        try:
            sent = await sending
        except ClientDisconnectedError:
            self.abort()
        except Exception as error:  # noqa: BLE001 - the status is out: cutting the connection is the answer left
            self._server.on_handler_error(request, error)
            self.abort()
        else:
            self._finish(request, response.status, sent)

    def _failure_answer(self, request: Request, error: Exception) -> Response:
        """Return the answer to a request whose handler raised."""
        if isinstance(error, ProtocolError):
            return self._server.on_protocol_error(error.status, error.message, request.request_id)
        if isinstance(error, BodyTimeoutError):
            return self._server.on_protocol_error(HTTPStatus.REQUEST_TIMEOUT, error.message, request.request_id)
        self._server.on_handler_error(request, error)
        failed = HTTPStatus.INTERNAL_SERVER_ERROR
        return self._server.on_protocol_error(failed, "Internal Server Error", request.request_id)

    # Answers.

    def _respond(self, request: Request, response: Response) -> Coroutine[None, None, int] | None:
        """Send an answer; what cannot be sent at once is returned, to be awaited."""
        server, body = self._server, response.body
        silent = request.method == "HEAD" or response.status in BODILESS_STATUSES
        length = len(body) if isinstance(body, bytes) else _length(body)
        endless = length is None and not silent
        chunked = endless and request.version == b"HTTP/1.1"
        # Unread body that is long, or held back for a 100 Continue, ends the connection, as does a body whose end
        # nothing else could mark.
        undrained = self._body is not None and not self._body.drainable
        if server.stopping or undrained or not request.keep_alive or (endless and not chunked):
            self._last = True
        if self._last:
            common = server.head_closing
        else:
            common = server.head_common if request.version == b"HTTP/1.1" else server.head_keeping
        try:
            head = encode_head(response, common, length, bodiless=silent, chunked=chunked)
        except ValueError as error:
            self._discard(response)
            return self._respond(request, self._failure_answer(request, error))
        if isinstance(body, bytes):
            if silent:
                body = b""
            if len(body) <= _JOIN_BYTES_MAX:
                self._transport.write(head + body)
            else:
                self._transport.writelines((head, body))
            self._finish(request, response.status, len(body))
            return None
        if silent:
            self._discard(response)
            self._transport.write(head)
            self._finish(request, response.status, 0)
            return None
        if server.on_access is not None:
            request.first_byte_s = server.clock.monotonic()
        if isinstance(body, StreamBody):
            return send_stream(self, head, body, chunked=chunked)
        return self._start_file(request, response.status, head, body)

    def _start_file(
        self, request: Request, status: int, head: bytes, body: FileBody
    ) -> Coroutine[None, None, int] | None:
        server = self._server
        sender = FileSender(self, server.reader_executor if body.is_made else server.executor, head, body)
        whole = sender.try_at_once()
        if whole is None:
            self._sender = sender
            self._since_s = self._server.now_s
            return self._send_file(sender, body)
        self._transport.write(whole)
        self._finish(request, status, body.size)
        return None

    async def _send_file(self, sender: FileSender, body: FileBody) -> int:
        try:
            await sender.send()
        finally:
            self._sender = None
        return body.size

    def _discard(self, response: Response) -> None:
        """Release a body that is not going to be sent."""
        if isinstance(response.body, FileBody):
            response.body.close()
        elif isinstance(response.body, StreamBody):
            self._server.keep(self._loop.create_task(response.body.aclose()))

    def _finish(self, request: Request, status: int, body_bytes: int) -> None:
        """Close a request that was answered, and go on to what follows it."""
        server = self._server
        if server.on_access is not None and not self._dropped:
            server.on_access(request, status, body_bytes, server.clock.monotonic() - request.started_s)
        request.note = self._request = None  # a note that refers to its request would wait for the collector
        self._busy = False
        self._task = None
        self._since_s = server.now_s
        body = request.body
        if isinstance(body, IncomingBody):
            body.end()
        if server.stopping:
            self._last = True  # its head promised more requests, but it was sent before
        if self._last:
            self._close(linger=bool(self._tail) or (isinstance(body, IncomingBody) and not body.done))
            return
        if self._body is not None:
            self._body.discard()
        elif not self._advancing and (self._tail or self._reading_paused):
            self._resume_requests()

    def _resume_requests(self) -> None:
        if self._busy or self._last or self._body is not None:
            return
        self.resume_reading()
        if self._tail:
            self._advance(self._tail)

    def _refuse(self, error: ProtocolError) -> None:
        """Answer an error of the client's, as the last thing on this connection."""
        self._last = True
        self._tail = b""
        response = self._server.on_protocol_error(error.status, error.message, self._server.next_request_id())
        body = response.body if isinstance(response.body, bytes) else b""
        response = Response(response.status, response.headers, body)
        self._busy = False
        head = encode_head(response, self._server.head_closing, len(body), bodiless=False, chunked=False)
        self._transport.write(head + body)
        self._close(linger=True)

    def _body_failed(self, error: Exception) -> None:
        """Tell the handler that no more of the body will come, and take no more requests."""
        body, self._body = self._body, None
        self._last = True
        if body is not None:
            body.fail(error)

    def _drop(self) -> None:
        """Stop what is under way for a client that left."""
        if self._dropped:
            return
        self._dropped = True
        self._tail = b""
        request, server = self.request_under_way, self._server
        if request is not None and server.on_access is not None:
            server.on_access(request, CLIENT_LEFT, 0, server.clock.monotonic() - request.started_s)
            request.note = None
        body, self._body = self._body, None
        awaited = body is not None and body.awaited
        if body is not None:
            body.fail(ClientDisconnectedError())
        if self._sender is not None:
            self._sender.abort()
        elif self._task is not None and not awaited:
            # Later, so that a task not yet begun begins: it then releases what it was given.
            self._loop.call_soon(self._task.cancel)

    # Called by the server.

    @property
    def handshake_s(self) -> float:
        """How long a client may take to agree on keys, before the first request."""
        return self._server.limits.head_s

    @property
    def busy(self) -> bool:
        """Whether a request is under way, or an answer on its way."""
        return self._busy

    @property
    def request_under_way(self) -> Request | None:
        """The request that is not yet answered whole."""
        return self._request if self._busy else None

    def stop(self) -> None:
        """Close if no request is under way, else after its answer."""
        if not self._busy and not self._last:
            self._last = True
            self._transport.close()

    def sweep(self, now_s: float) -> None:
        """Enforce the deadlines."""
        unsent = self._transport.get_write_buffer_size()
        if self._sender is not None or unsent:
            progress = self._sender.progress if self._sender is not None else -unsent
            if progress != self._progress:
                self._progress, self._since_s = progress, now_s
            elif now_s - self._since_s > self._server.limits.send_stall_s:
                self.abort()
        elif self._busy:
            if self._body is not None and self._body.waits_for_client:
                stall_s = self._server.limits.body_stall_s
                if now_s - self._since_s > stall_s:
                    self._body_failed(BodyTimeoutError(stall_s))
        elif self._head_since_s is not None and not self._last:
            if now_s - self._head_since_s > self._server.limits.head_s:
                self._refuse(ProtocolError(HTTPStatus.REQUEST_TIMEOUT, "The header fields did not arrive in time"))
        elif now_s - self._since_s > self._silence_max_s():
            self.abort()

    def _silence_max_s(self) -> float:
        """Return how long a client may be silent while no request is under way and nothing is left to send."""
        limits = self._server.limits
        if self._last:
            return limits.linger_s
        return limits.idle_s if self._body is None else limits.body_stall_s


def _length(body: FileBody | StreamBody) -> int | None:
    return body.size if isinstance(body, FileBody) else body.content_length


async def _let_go(response: Response) -> None:
    """Release the body of an answer that nobody is left to get."""
    if isinstance(response.body, FileBody):
        response.body.close()
    elif isinstance(response.body, StreamBody):
        with contextlib.suppress(Exception):
            await response.body.aclose()

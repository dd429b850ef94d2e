"""The S3 service: from an HTTP request to an answer, with one place for signatures, permission and errors."""

from collections.abc import Awaitable, Callable, Sequence

from hosu.kernel.errors import HosuError
from hosu.kernel.log import get_logger
from hosu.server.extensions import Extension
from hosu.server.http import ClientDisconnectedError, Request, Response
from hosu.server.s3 import cors
from hosu.server.s3.access import authorize, judge
from hosu.server.s3.call import Call, Engine, decode_path, split_path
from hosu.server.s3.errors import error_response, s3_code
from hosu.server.s3.request_errors import S3RequestError
from hosu.server.s3.routes import find_operation
from hosu.server.s3.sigv4 import verify

OUR_FAULT = frozenset({500, 503, 507})
"""Answers that an operator should hear of: the request was right, and the lake could not do it."""

MINIO_PREFIX = b"/minio/"
HEALTH_PREFIX = b"/minio/health/"
_LOG = get_logger("s3")


class S3Service:
    """Answers the requests of one S3 port. `is_ready` tells whether the lake can be written to.

    `extensions` answer what they claim of the requests to `/minio/…`, and of POSTs to the service itself.
    """

    def __init__(
        self,
        engine: Engine,
        domains: tuple[str, ...],
        is_ready: Callable[[], bool],
        extensions: Sequence[Extension] = (),
    ) -> None:
        self._engine = engine
        self._extensions = extensions
        self._domains = tuple(domain.lower().encode() for domain in domains)
        self._is_ready = is_ready

    def handle(self, request: Request) -> Response | Awaitable[Response]:
        """Answer a request: at once where nothing has to be waited for."""
        path = request.raw_path
        if path[:7] == MINIO_PREFIX or (path == b"/" and request.method == "POST"):
            answered = self._beside_s3(request)
            if answered is not None:
                return answered
        call = None
        try:
            bucket, key = split_path(request.raw_path, request.fields.get(b"host"), self._domains)
            request.note = call = Call(self._engine, request, bucket, key)
            answer = self._dispatch(call)
        except HosuError as error:
            return self._refuse(request, call, error)
        if not isinstance(answer, Response):
            return self._finish(call, answer)
        if b"origin" in request.fields:
            answer.headers += cors.response_headers(call)
        return answer

    def _beside_s3(self, request: Request) -> Response | Awaitable[Response] | None:
        """Answer what is not S3; None for what nobody claims."""
        path = request.raw_path
        if path.startswith(HEALTH_PREFIX):
            return self._health(request)
        try:
            bucket, key = split_path(path, request.fields.get(b"host"), self._domains)
            if bucket and key == decode_path(path[1:]):
                return None  # the host names a bucket
            for extension in self._extensions:
                if extension.claims(request):
                    answer = extension.handle(request)
                    return answer if isinstance(answer, Response) else self._finish_beside(request, answer)
        except HosuError as error:
            return self._refuse(request, None, error)
        return None

    async def _finish_beside(self, request: Request, answer: Awaitable[Response]) -> Response:
        try:
            return await answer
        except ClientDisconnectedError:
            raise
        except HosuError as error:
            return self._refuse(request, None, error)

    async def _finish(self, call: Call, answer: Awaitable[Response]) -> Response:
        try:
            response = await answer
        except ClientDisconnectedError:
            raise
        except HosuError as error:
            return self._refuse(call.request, call, error)
        if b"origin" in call.request.fields:
            response.headers += cors.response_headers(call)
        return response

    def _dispatch(self, call: Call) -> Response | Awaitable[Response]:
        request = call.request
        if request.method == "OPTIONS":
            call.operation = "Preflight"
            return cors.preflight(call)
        operation = find_operation(call)
        if operation is not None:
            call.operation, call.action = operation.name, operation.action
        if len(request.fields) != len(request.headers):
            _check_one_authorization(request)
        if operation is None or operation.name != "PostObject":
            engine = self._engine
            is_virtual = bool(self._domains) and decode_path(request.raw_path[1:]) == call.key
            call.verified = verify(
                request.method, request.raw_path, request.raw_query, request.fields, engine.secrets,
                engine.store.clock.now_ms(), region=engine.region or None,
                virtual_bucket=call.bucket if is_virtual else "",
            )  # fmt: skip
            if call.verified is not None:
                call.principal = engine.principal(call.verified.access_key, call.verified.session_token)
        if operation is None:
            raise S3RequestError("MethodNotAllowed", "The specified method is not allowed against this resource.")
        if not operation.is_late:
            authorize(call, operation)
        return operation.handler(call)

    def _refuse(self, request: Request, call: Call | None, error: HosuError) -> Response:
        if call is not None:
            error = judge(call, error)
        resource = request.raw_path.decode("utf-8", "replace") if call is None else call.resource
        response = error_response(error, resource, request.request_id, is_head=request.method == "HEAD")
        self._engine.observer.refused(request, *s3_code(error), error)
        if response.status in OUR_FAULT:
            _LOG.error("request failed", request_id=request.request_id, kind=error.kind, error=error.message)
        if call is not None and b"origin" in request.fields and request.method != "OPTIONS":
            response.headers += cors.response_headers(call)
        return response

    def _health(self, request: Request) -> Response:
        name = request.raw_path[len(HEALTH_PREFIX) :]
        if request.method not in {"GET", "HEAD"} or name not in {b"live", b"ready", b"cluster", b"cluster/read"}:
            return self._refuse(request, None, S3RequestError("MethodNotAllowed", "No such health check."))
        is_fit = name == b"live" or self._is_ready()
        return Response(200 if is_fit else 503, [(b"x-amz-request-id", request.request_id.encode())])


def _check_one_authorization(request: Request) -> None:
    """Refuse a request that brings two signatures: which one counts must not be a matter of opinion."""
    if sum(name == b"authorization" for name, _ in request.headers) > 1:
        raise S3RequestError("InvalidArgument", "Only one Authorization header is allowed")


def log_access(request: Request, status: int, body_bytes: int, duration_s: float) -> None:
    """Log a request that was answered."""
    _LOG.debug(
        "answered", request_id=request.request_id, client=request.peer[0], method=request.method,
        path=request.raw_path.decode("utf-8", "replace"), status=status, body_bytes=body_bytes,
        duration_ms=round(duration_s * 1000, 3),
    )  # fmt: skip


def log_handler_error(request: Request, error: BaseException) -> None:
    """Log what no handler expected."""
    if not isinstance(error, ClientDisconnectedError):
        _LOG.error(
            "unexpected error", request_id=request.request_id, method=request.method,
            path=request.raw_path.decode("utf-8", "replace"), exc_info=error,
        )  # fmt: skip

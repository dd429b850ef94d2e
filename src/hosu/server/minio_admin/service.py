"""The service of the admin API: from an HTTP request to an answer."""

from collections.abc import Awaitable
from typing import TYPE_CHECKING

from hosu.identity.authority import Authority
from hosu.kernel.errors import AccessDeniedError, ErrorKind, HosuError
from hosu.kernel.log import get_logger
from hosu.kernel.settings import Settings
from hosu.server.extensions import Caller, Port
from hosu.server.http import ClientDisconnectedError, Request, Response
from hosu.server.minio_admin.errors import AdminError, code_of, refusal

if TYPE_CHECKING:
    from hosu.server.minio_admin.call import Admin
    from hosu.server.minio_admin.routes import Operation

PREFIXES = (b"/minio/admin/", b"/minio/kms/")
UPGRADE_REQUIRED = 426
SERVER_FAULT_MIN, NOT_IMPLEMENTED = 500, 501
_LOG = get_logger("admin")


class AdminService:
    """Answers what MinIO's admin clients ask. Implements `Extension`; made on the port's event loop.

    Its operations are imported with the first request, so that a server that is never administered starts sooner.
    """

    def __init__(self, port: Port, authority: Authority, settings: Settings) -> None:
        self._port = port
        self._authority = authority
        self._settings = settings
        self._started_s = port.store.clock.monotonic()
        self._made: Admin | None = None

    def claims(self, request: Request) -> bool:
        """Say whether a request is for the admin API."""
        return request.raw_path.startswith(PREFIXES)

    def handle(self, request: Request) -> Response | Awaitable[Response]:
        """Answer a request. What hosu does not know is told before anybody is asked who they are, as MinIO does."""
        from hosu.server.minio_admin.routes import find_operation  # noqa: PLC0415 - as the class says

        operation = find_operation(request.method, request.raw_path)
        if operation is None:
            path = request.raw_path.decode("utf-8", "replace")
            message = f"{request.method} {path}: this admin API is not supported by hosu"
            return refusal("XMinioAdminVersionMismatch", UPGRADE_REQUIRED, message, path, request.request_id)
        return self._answer(request, operation)

    def _admin(self) -> "Admin":
        if self._made is None:
            from hosu.server.minio_admin.call import Admin  # noqa: PLC0415 - as the class says

            self._made = Admin(self._port, self._authority, self._settings, self._started_s)
        return self._made

    async def _answer(self, request: Request, operation: "Operation") -> Response:
        from hosu.server.minio_admin.call import BODY_BYTES_MAX, AdminCall  # noqa: PLC0415 - as the class says

        caller: Caller | None = None
        try:
            body = await request.body.read(BODY_BYTES_MAX)
            caller = self._port.authenticate(request, body)
            if caller is None:
                raise AccessDeniedError(ErrorKind.ACCESS_DENIED, "admin requests must be signed")
            if not caller.is_body_signed:
                raise AdminError(
                    "AccessDenied", "x-amz-content-sha256 must be the SHA-256 of the body: it is signed too", status=403
                )
            call = AdminCall(self._admin(), request, body, caller, operation.action, operation.path)
            return await operation.handler(call)
        except ClientDisconnectedError:
            raise
        except HosuError as error:
            if caller is not None:
                error.details |= {"principal": caller.principal.name, "access_key": caller.access_key}
            return self._refuse(request, operation, error)

    def _refuse(self, request: Request, operation: "Operation", error: HosuError) -> Response:
        code, status = code_of(error, self._port.describe(error))
        self._port.refused(request, code, status, error)
        if status >= SERVER_FAULT_MIN and status != NOT_IMPLEMENTED:
            _LOG.error("request failed", request_id=request.request_id, kind=error.kind, error=error.message)
        return refusal(code, status, error.message, operation.path, request.request_id)

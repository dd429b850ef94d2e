"""Refusals, as MinIO's admin clients read them: JSON with a code, a message and the request's id."""

import msgspec

from hosu.kernel.errors import ErrorKind, HosuError, InvalidInputError, UnsupportedError
from hosu.server.http import Response

JSON_HEADER = (b"Content-Type", b"application/json")


class AdminError(InvalidInputError):
    """A request that is refused under a code of MinIO's own, such as "XMinioConfigError"."""

    def __init__(self, code: str, message: str, *, status: int = 400) -> None:
        super().__init__(ErrorKind.INVALID_ARGUMENT, message)
        self.code = code
        self.status = status


def unsupported(what: str, instead: str) -> UnsupportedError:
    """Return the refusal of something hosu does not do through this API; `instead` says what to do."""
    return UnsupportedError(ErrorKind.UNSUPPORTED, f"{what} is not supported: {instead}")


def refusal(code: str, status: int, message: str, resource: str, request_id: str) -> Response:
    """Render a refusal."""
    body = {"Code": code, "Message": message, "Resource": resource, "RequestId": request_id, "HostId": "hosu"}
    return Response(status, [JSON_HEADER, (b"x-amz-request-id", request_id.encode())], msgspec.json.encode(body))


def code_of(error: HosuError, described: tuple[str, int]) -> tuple[str, int]:
    """Return the code and status of an error; `described` is what S3 has for it."""
    return (error.code, error.status) if isinstance(error, AdminError) else described

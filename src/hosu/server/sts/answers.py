"""What STS answers: its XML, and its names for errors."""

from datetime import UTC, datetime

from hosu.identity.records import NewKey
from hosu.kernel.errors import ErrorKind, HosuError, InvalidInputError
from hosu.objects.rendering import escape_xml
from hosu.server.http import Headers, Response

NAMESPACE = "https://sts.amazonaws.com/doc/2011-06-15/"
DECLARATION = '<?xml version="1.0" encoding="UTF-8"?>\n'

CODES: dict[ErrorKind, tuple[str, int]] = {
    ErrorKind.ISSUER_UNAVAILABLE: ("IDPCommunicationError", 400),
    ErrorKind.POLICY_INVALID: ("MalformedPolicyDocument", 400),
    ErrorKind.SESSION_TOKEN_INVALID: ("InvalidClientTokenId", 403),
    ErrorKind.UNSUPPORTED: ("NotImplemented", 501),
    ErrorKind.WEB_TOKEN_EXPIRED: ("ExpiredTokenException", 400),
    ErrorKind.WEB_TOKEN_INVALID: ("InvalidIdentityToken", 400),
}
"""STS's codes where they are not S3's."""

NAMES = {
    "InvalidAccessKeyId": "InvalidClientTokenId",
    "InvalidArgument": "InvalidParameterValue",
    "RequestTimeTooSkewed": "RequestExpired",
}
"""S3's codes that STS has another name for."""

SERVER_FAULT = 500


class StsError(InvalidInputError):
    """A request that STS refuses while it reads it; nothing was changed. `code` is what clients match on."""

    def __init__(self, code: str, message: str, status: int = 400) -> None:
        super().__init__(ErrorKind.INVALID_ARGUMENT, message)
        self.code = code
        self.status = status


def code_of(error: HosuError, s3: tuple[str, int]) -> tuple[str, int]:
    """Return STS's code and status for an error that S3 would call so."""
    if isinstance(error, StsError):
        return error.code, error.status
    if error.kind in CODES:
        return CODES[error.kind]
    return NAMES.get(s3[0], s3[0]), s3[1]


def element(name: str, *inner: str) -> str:
    """Return an element around what is XML already."""
    return f"<{name}>{''.join(inner)}</{name}>"


def text(name: str, value: str) -> str:
    """Return an element with a text in it."""
    return f"<{name}>{escape_xml(value)}</{name}>"


def credentials(key: NewKey) -> str:
    """Return temporary credentials, the one time they are shown."""
    moment = datetime.fromtimestamp(key.expires_ms // 1000, UTC)
    return element(
        "Credentials",
        text("AccessKeyId", key.access_key),
        text("SecretAccessKey", key.secret),
        text("SessionToken", key.token),
        text("Expiration", f"{moment:%Y-%m-%dT%H:%M:%SZ}"),
    )


def answer(action: str, request_id: str, *result: str) -> Response:
    """Return what an action answers."""
    inner = element(f"{action}Result", *result) + element("ResponseMetadata", text("RequestId", request_id))
    body = f'{DECLARATION}<{action}Response xmlns="{NAMESPACE}">{inner}</{action}Response>'
    # Credentials are for who asked, and for no cache on the way.
    return Response(200, [*_headers(request_id), (b"Cache-Control", b"no-store")], body.encode())


def refusal(code: str, status: int, message: str, request_id: str) -> Response:
    """Return the answer to a request that was refused."""
    kind = text("Type", "Receiver" if status >= SERVER_FAULT else "Sender")
    inner = element("Error", kind, text("Code", code), text("Message", message)) + text("RequestId", request_id)
    body = f'{DECLARATION}<ErrorResponse xmlns="{NAMESPACE}">{inner}</ErrorResponse>'
    return Response(status, _headers(request_id), body.encode())


def _headers(request_id: str) -> Headers:
    return [(b"Content-Type", b"text/xml"), (b"x-amzn-requestid", request_id.encode())]

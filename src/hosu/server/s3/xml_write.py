"""Writing S3's XML answers."""

from collections.abc import Sequence

from hosu.objects.rendering import escape_xml
from hosu.server.http import Headers, Response
from hosu.server.s3.errors import DECLARATION, XML_HEADER

NAMESPACE = "http://s3.amazonaws.com/doc/2006-03-01/"
OWNER_ID = "6f8c1f1bb3b2d0c1d4e1f77bfa2a3b6c2f4f0d6e2ab0c95d7e8a90b1c2d3e4f5"
OWNER_NAME = "hosu"
"""The lake's root owns every bucket and object."""


def element(name: str, value: object) -> str:
    """Return an element with a text in it."""
    return f"<{name}>{escape_xml(str(value))}</{name}>"


def flag(name: str, *, value: bool) -> str:
    """Return an element that says true or false."""
    return f"<{name}>{'true' if value else 'false'}</{name}>"


def owner(name: str = "Owner") -> str:
    """Return the owner of everything."""
    return f"<{name}><ID>{OWNER_ID}</ID><DisplayName>{OWNER_NAME}</DisplayName></{name}>"


def document(root: str, inner: str, rendered: Sequence[bytes] = (), rest: str = "") -> bytes:
    """Return a whole document in S3's namespace: `inner`, then what was rendered elsewhere, then the rest."""
    begin = f'{DECLARATION}<{root} xmlns="{NAMESPACE}">{inner}'.encode()
    return b"".join((begin, *rendered, f"{rest}</{root}>".encode()))


def xml_response(request_id: str, root: str, inner: str, *extra: tuple[bytes, bytes]) -> Response:
    """Return a response with a document."""
    headers: Headers = [XML_HEADER, (b"x-amz-request-id", request_id.encode()), *extra]
    return Response(200, headers, document(root, inner))


def empty_response(request_id: str, *extra: tuple[bytes, bytes], status: int = 200) -> Response:
    """Return a response without a body."""
    return Response(status, [(b"x-amz-request-id", request_id.encode()), *extra])

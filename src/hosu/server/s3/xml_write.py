"""Writing S3's XML answers."""

from collections.abc import Sequence

from hosu.identity.acl import ROOT, canonical_id, display_name
from hosu.objects.rendering import escape_xml
from hosu.server.http import Headers, Response
from hosu.server.s3.errors import DECLARATION, XML_HEADER

NAMESPACE = "http://s3.amazonaws.com/doc/2006-03-01/"


def element(name: str, value: object) -> str:
    """Return an element with a text in it."""
    return f"<{name}>{escape_xml(str(value))}</{name}>"


def flag(name: str, *, value: bool) -> str:
    """Return an element that says true or false."""
    return f"<{name}>{'true' if value else 'false'}</{name}>"


def owner(name: str = "Owner", *, account: str = ROOT) -> str:
    """Return an owner: a user, or root."""
    shown = element("ID", canonical_id(account)) + element("DisplayName", display_name(account))
    return f"<{name}>{shown}</{name}>"


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

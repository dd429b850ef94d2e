"""HTTP/1.1 on an asyncio buffered protocol: requests, responses, bodies and connection limits."""

from hosu.server.http.body import Piece, RequestBody
from hosu.server.http.errors import BodyTimeoutError, BodyTooLargeError, ClientDisconnectedError, ProtocolError
from hosu.server.http.limits import HttpLimits
from hosu.server.http.message import (
    AccessHook,
    BytesSegment,
    FdSegment,
    FileBody,
    Handler,
    HandlerErrorHook,
    Headers,
    ProtocolErrorHook,
    ReaderSegment,
    Request,
    Response,
    Segment,
    StreamBody,
)
from hosu.server.http.server import HttpServer, TlsContext

__all__ = [
    "AccessHook",
    "BodyTimeoutError",
    "BodyTooLargeError",
    "BytesSegment",
    "ClientDisconnectedError",
    "FdSegment",
    "FileBody",
    "Handler",
    "HandlerErrorHook",
    "Headers",
    "HttpLimits",
    "HttpServer",
    "Piece",
    "ProtocolError",
    "ProtocolErrorHook",
    "ReaderSegment",
    "Request",
    "RequestBody",
    "Response",
    "Segment",
    "StreamBody",
    "TlsContext",
]

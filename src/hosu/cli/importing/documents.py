"""Setting documents on buckets as a client's PUT would: read, checked and kept by the same operations of S3."""

import asyncio
import base64
import hashlib
from typing import Self

from hosu.kernel.auth import Principal, RootKeyring, RootOnly
from hosu.kernel.errors import ErrorKind, UnsupportedError
from hosu.lake import Lake
from hosu.lake.opening import lake_settings
from hosu.server.http import Request, Response
from hosu.server.http.body import RequestBody
from hosu.server.s3.call import Call, Engine
from hosu.server.s3.routes import find_operation

LOOPBACK = "127.0.0.1"
STATUS_REFUSED = 300


class Documents:
    """Puts documents on the buckets of a lake, as root; for one thread. Use it in a `with`."""

    def __init__(self, lake: Lake) -> None:
        self._lake = lake
        self._runner = asyncio.Runner()
        self._engine: Engine | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._engine is not None:
            self._engine.close()
        self._runner.close()

    def put(self, bucket: str, kind: str, text: str) -> None:
        """Set a document, in place of one that is there; raises what the operation refuses it with."""
        self._runner.run(self._put(bucket, kind, text.encode()))

    async def _put(self, bucket: str, kind: str, body: bytes) -> None:
        if self._engine is None:
            region = lake_settings(self._lake.path).region
            self._engine = Engine(self._lake.store, RootOnly(), RootKeyring("", ""), region)
        call = Call(self._engine, _request(bucket, kind, body), bucket, "")
        call.principal = Principal(self._lake.actor, is_root=True)
        operation = find_operation(call)
        if operation is None:
            raise UnsupportedError(ErrorKind.UNSUPPORTED, f"hosu has no {kind} of buckets")
        call.operation, call.action = operation.name, operation.action
        answer = operation.handler(call)
        response = answer if isinstance(answer, Response) else await answer
        assert response.status < STATUS_REFUSED, "handlers raise what they refuse"


class _Body(RequestBody):
    """A body that is here already."""

    has_body = True

    def __init__(self, body: bytes) -> None:
        super().__init__(len(body))
        self._left = body

    async def chunk(self) -> bytes:
        left, self._left = self._left, b""
        return left

    async def read(self, limit_bytes: int) -> bytes:
        del limit_bytes
        return await self.chunk()

    def take_buffered(self) -> bytes | None:
        left, self._left = self._left, b""
        return left


def _request(bucket: str, kind: str, body: bytes) -> Request:
    digest = base64.b64encode(hashlib.md5(body, usedforsecurity=False).digest())
    headers = [(b"content-length", b"%d" % len(body)), (b"content-md5", digest), (b"user-agent", b"hosu import")]
    request = Request("PUT", f"/{bucket}".encode(), kind.encode(), headers, dict(headers), b"1.1")
    request.body = _Body(body)
    request.peer, request.request_id, request.secure, request.started_s = (LOOPBACK, 0), "", False, 0.0
    return request

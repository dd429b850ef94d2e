"""The S3 port as extensions see it: signatures, threads and transactions of S3, without its protocol."""

import asyncio
import hashlib
import hmac
from collections.abc import Callable
from typing import Any, TypeVar

from hosu.kernel.errors import HosuError
from hosu.objects.audit import Origin
from hosu.objects.transaction import Tx
from hosu.objects.views import View
from hosu.server.extensions import Caller
from hosu.server.http import Request
from hosu.server.s3.call import Engine
from hosu.server.s3.errors import s3_code
from hosu.server.s3.request_errors import S3RequestError
from hosu.server.s3.signing import signing_key
from hosu.server.s3.sigv4 import PayloadKind, Verified, verify

T = TypeVar("T")


class S3Port:
    """Implements `hosu.server.extensions.Port`."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self.store = engine.store
        self.authorizer = engine.authorizer
        self.keyring = engine.keyring

    def commit(self, operation: Callable[[Tx], T], origin: Origin | None = None) -> "asyncio.Future[T]":
        """Run a verb durably, on behalf of `origin`."""
        return self._engine.commit(operation, origin)

    async def run(self, function: Callable[..., T], *arguments: Any) -> T:  # noqa: ANN401 - the function's own
        """Run a blocking function in a thread."""
        return await self._engine.run(function, *arguments)

    async def read(self, function: Callable[[View], T]) -> T:
        """Run a reading verb that may take long in a thread."""
        return await self._engine.read(function)

    def authenticate(self, request: Request, body: bytes, *, service: str = "s3") -> Caller | None:
        """Check a request's signature and its body's hash, for any region."""
        engine = self._engine
        if sum(name == b"authorization" for name, _ in request.headers) > 1:
            raise S3RequestError("InvalidArgument", "Only one Authorization header is allowed")
        digest = hashlib.sha256(body).hexdigest()
        verified = verify(
            request.method, request.raw_path, request.raw_query, request.fields, engine.secrets,
            engine.store.clock.now_ms(), services=frozenset({service}), payload_sha256=digest.encode(),
        )  # fmt: skip
        if verified is None:
            return None
        if not verified.scope:
            raise S3RequestError("InvalidRequest", "Signature version 2 is for S3 alone: use AWS4-HMAC-SHA256")
        is_body_signed = verified.payload is PayloadKind.SIGNED_HASH
        if is_body_signed and not hmac.compare_digest(verified.payload_sha256 or "", digest):
            raise S3RequestError(
                "XAmzContentSHA256Mismatch",
                "The provided 'x-amz-content-sha256' header does not match what was computed.",
            )
        if not is_body_signed and verified.payload is not PayloadKind.UNSIGNED:
            raise S3RequestError("InvalidArgument", "Signed chunks are for uploads: send the body's SHA-256 instead")
        principal = engine.principal(verified.access_key, verified.session_token)
        secret = self._secret_of(verified)
        return Caller(principal, verified.access_key, secret, is_body_signed, verified.session_token)

    def _secret_of(self, verified: Verified) -> str:
        """Return the one of a key's secrets that a signature was made with."""
        date, region, service = verified.scope.decode().split("/")[:3]
        for secret in self._engine.secrets(verified.access_key):
            if hmac.compare_digest(
                signing_key(secret, date.encode(), region, service).digest(b""), verified.signing_key.digest(b"")
            ):
                return secret
        raise S3RequestError("InvalidAccessKeyId", "The access key was removed just now.")

    def describe(self, error: HosuError) -> tuple[str, int]:
        """Return the code and status that S3 has for an error."""
        return s3_code(error)

    def source_ip(self, request: Request) -> str:
        """Return where a request comes from."""
        return self._engine.proxies.source_ip(request.peer[0], request.fields)

    def is_secure(self, request: Request) -> bool:
        """Say whether a request came by TLS."""
        return self._engine.proxies.is_secure(request.peer[0], request.fields, is_secure=request.secure)

    def refused(self, request: Request, code: str, status: int, error: HosuError) -> None:
        """Tell metrics and the audit log of a request that was refused."""
        self._engine.observer.refused(request, code, status, error)

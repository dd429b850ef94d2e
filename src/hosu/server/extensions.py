"""What answers on the S3 port beside S3: STS, the admin API, metrics.

Protocols never import each other. Each of these implements `Extension`, is made once per process by an
`ExtensionMaker` that the composition root names, and reaches the port through `Port` alone.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, Protocol, TypeVar

import msgspec

from hosu.kernel.auth import Authorizer, Keyring, Principal
from hosu.kernel.errors import HosuError
from hosu.objects.audit import Origin
from hosu.objects.store import ObjectStore
from hosu.objects.transaction import Tx
from hosu.objects.views import View
from hosu.server.http import Request, Response

T = TypeVar("T")


class Caller(msgspec.Struct, frozen=True):
    """Who signed a request, and with what. `is_body_signed` is False where the client left the body unsigned."""

    principal: Principal
    access_key: str
    secret: str
    """The one of the key's valid secrets that made this signature."""
    is_body_signed: bool
    token: str | None = None

    def __repr__(self) -> str:
        return f"<Caller {self.principal.name} with {self.access_key}>"


class Port(Protocol):
    """The S3 port, as what stands beside S3 uses it. Made on the port's event loop."""

    store: ObjectStore
    authorizer: Authorizer
    keyring: Keyring

    def commit(self, operation: Callable[[Tx], T], origin: Origin | None = None) -> "asyncio.Future[T]":
        """Run a verb durably; the audit log says that it was on behalf of `origin`."""
        ...

    async def run(self, function: Callable[..., T], *arguments: Any) -> T:  # noqa: ANN401 - the function's own
        """Run a blocking function in a thread."""
        ...

    async def read(self, function: Callable[[View], T]) -> T:
        """Run a reading verb that may take long in a thread."""
        ...

    def authenticate(self, request: Request, body: bytes, *, service: str = "s3") -> Caller | None:
        """Check a request's signature (header or presigned, version 4) and its body's hash, for any region.

        `body` is the whole body as received. None for a request without a signature. Raises what S3 raises for a
        wrong one; `describe` names it.
        """
        ...

    def describe(self, error: HosuError) -> tuple[str, int]:
        """Return the code and status that S3 has for an error: ("AccessDenied", 403)."""
        ...

    def source_ip(self, request: Request) -> str:
        """Return where a request comes from, behind the operator's own proxies."""
        ...

    def is_secure(self, request: Request) -> bool:
        """Say whether a request came by TLS, to this server or to a proxy of the operator's."""
        ...

    def refused(self, request: Request, code: str, status: int, error: HosuError) -> None:
        """Tell metrics and the audit log of a request that was refused.

        Who asked, with what and for which action is read from the error's details `principal`, `access_key` and
        `action`.
        """
        ...


class Extension(Protocol):
    """Answers some of the requests whose path begins with `/minio/`, or POSTs to `/`.

    They are asked in order before S3, and never for other requests, so that S3 pays nothing for them.
    """

    def claims(self, request: Request) -> bool:
        """Say whether this request is for this extension. Looks at the head alone."""
        ...

    def handle(self, request: Request) -> Response | Awaitable[Response]:
        """Answer a request. A `HosuError` that it lets go is rendered as S3 renders errors."""
        ...


ExtensionMaker = Callable[[Port], Extension]

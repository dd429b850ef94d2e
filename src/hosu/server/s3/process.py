"""The process that serves S3."""

import asyncio
import dataclasses
import socket
from collections.abc import Callable, Sequence

from hosu.identity.acl import Acls
from hosu.kernel.auth import Authorizer, Keyring
from hosu.kernel.settings import Settings
from hosu.objects.store import ObjectStore
from hosu.server.extensions import ExtensionMaker
from hosu.server.http import (
    AccessHook,
    HttpLimits,
    HttpServer,
    ProtocolErrorHook,
    Request,
    Response,
    TlsContext,
)
from hosu.server.s3.accesses import Accesses
from hosu.server.s3.call import Engine
from hosu.server.s3.errors import protocol_error
from hosu.server.s3.observer import Observer
from hosu.server.s3.port import S3Port
from hosu.server.s3.service import S3Service, log_access, log_handler_error

STOP_GRACE_S = 30.0


async def serve_s3(
    store: ObjectStore,
    authorizer: Authorizer,
    keyring: Keyring,
    settings: Settings,
    listener: socket.socket,
    stop: asyncio.Event,
    *,
    connections_max: int,
    is_ready: Callable[[], bool],
    tls: TlsContext | None = None,
    acls: Acls | None = None,
    extensions: Sequence[ExtensionMaker] = (),
    observer: Observer | None = None,
) -> None:
    """Serve S3 on a listening socket until `stop` is set; requests under way are finished."""
    engine = Engine(
        store,
        authorizer,
        keyring,
        settings.region,
        acls=acls,
        trusted_proxies=settings.trusted_proxies,
        takes_keys_over_http=settings.sse_c_over_http,
        observer=observer,
        settings=settings,
    )
    accesses = Accesses(engine)
    port = S3Port(engine)
    service = S3Service(engine, settings.domains, is_ready, [make(port) for make in extensions])
    server = HttpServer(
        service.handle,
        limits=dataclasses.replace(HttpLimits(), connections_max=connections_max),
        clock=store.clock,
        on_access=_on_access(engine.observer, accesses, settings.log_level == "DEBUG"),
        on_protocol_error=_refuse_malformed(engine.observer),
        on_handler_error=log_handler_error,
    )
    engine.observer.watch(server, port.source_ip)
    await server.serve(listener, tls=tls)
    await stop.wait()
    engine.listeners.close()  # their requests would never end
    await server.stop(STOP_GRACE_S)
    await accesses.close()
    engine.close()


def _on_access(observer: Observer, accesses: Accesses, is_logged: bool) -> AccessHook:  # noqa: FBT001 - a fact
    """Return who is told of requests that have ended."""

    def tell(request: Request, status: int, body_bytes: int, duration_s: float) -> None:
        observer.answered(request, status, body_bytes, duration_s)
        accesses.answered(request, status)
        if is_logged:
            log_access(request, status, body_bytes, duration_s)

    return tell


def _refuse_malformed(observer: Observer) -> ProtocolErrorHook:
    """Return what renders errors that the HTTP layer finds, and counts them."""

    def refuse(status: int, reason: str, request_id: str) -> Response:
        observer.malformed(status)
        return protocol_error(status, reason, request_id)

    return refuse

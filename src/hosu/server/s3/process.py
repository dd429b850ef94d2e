"""The process that serves S3."""

import asyncio
import dataclasses
import socket
from collections.abc import Callable

from hosu.kernel.auth import Authorizer, Keyring
from hosu.kernel.settings import Settings
from hosu.objects.store import ObjectStore
from hosu.server.http import HttpLimits, HttpServer
from hosu.server.s3.call import Engine
from hosu.server.s3.errors import protocol_error
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
) -> None:
    """Serve S3 on a listening socket until `stop` is set; requests under way are finished."""
    engine = Engine(store, authorizer, keyring, settings.region)
    service = S3Service(engine, settings.domains, is_ready)
    server = HttpServer(
        service.handle,
        limits=dataclasses.replace(HttpLimits(), connections_max=connections_max),
        clock=store.clock,
        on_access=log_access if settings.log_level == "DEBUG" else None,
        on_protocol_error=protocol_error,
        on_handler_error=log_handler_error,
    )
    await server.serve(listener)
    await stop.wait()
    await server.stop(STOP_GRACE_S)
    engine.close()

"""The process that serves the status page."""

import asyncio
import base64
import binascii
import hmac
import http.client
import re
import socket
import ssl

from hosu.console.status import Status, render_status
from hosu.kernel.auth import ANONYMOUS, Authorizer, Context, FixedContext, Keyring, Principal
from hosu.kernel.errors import AccessDeniedError
from hosu.objects.alerts import list_alerts
from hosu.objects.buckets import list_buckets
from hosu.objects.records import Bucket
from hosu.objects.store import ObjectStore
from hosu.server.http import Headers, HttpLimits, HttpServer, Request, Response, TlsContext

HOST = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9_.-]+)(?::\d+)?\Z")
STOP_GRACE_S = 5.0
HEALTH_TIMEOUT_S = 2.0
BUCKETS_SHOWN_MAX = 1000
SEES_BUCKETS, SEES_ALERTS = "s3:ListAllMyBuckets", "admin:ServerInfo"
"""Alerts name objects, access keys and addresses, which are not for everybody who may know the names of buckets."""

ALERTS_SHOWN_MAX = 200
PAGE_HEADERS: Headers = [
    (b"Content-Type", b"text/html; charset=utf-8"),
    (b"Content-Security-Policy", b"default-src 'none'; style-src 'unsafe-inline'"),
    (b"X-Content-Type-Options", b"nosniff"),
    (b"Cache-Control", b"no-store"),
]


class StatusPages:
    """Answers the status port. Buckets are shown to whoever may list them."""

    def __init__(
        self,
        store: ObjectStore,
        authorizer: Authorizer,
        keyring: Keyring,
        s3_address: tuple[str, int],
        *,
        is_s3_secure: bool = False,
    ) -> None:
        self._store = store
        self._authorizer = authorizer
        self._keyring = keyring
        self._s3_address = s3_address
        self._is_s3_secure = is_s3_secure

    async def handle(self, request: Request) -> Response:
        """Answer a request."""
        if request.method not in {"GET", "HEAD"}:
            return Response(405, [(b"Allow", b"GET, HEAD")])
        if request.raw_path not in {b"/", b"/buckets"}:
            return Response(
                404, [(b"Content-Type", b"text/plain")], b"There is nothing here; the status page is at /\n"
            )
        buckets = self._visible_buckets(request)
        if buckets is None and (request.raw_path == b"/buckets" or request.header(b"authorization") is not None):
            challenge = (b"WWW-Authenticate", b'Basic realm="hosu: access key and secret of root", charset="UTF-8"')
            return Response(
                401, [challenge, (b"Content-Type", b"text/plain")], b"Sign in with root's access key and secret.\n"
            )
        is_ready = await asyncio.to_thread(self._is_ready)
        endpoint = f"{host_name(request.header(b'host'))}:{self._s3_address[1]}"
        is_told = buckets is not None and self._may(request, SEES_ALERTS)
        alerts = list_alerts(self._store.view(), limit=ALERTS_SHOWN_MAX) if is_told else None
        status = Status(is_ready, endpoint, buckets, self._is_s3_secure, alerts)
        body = render_status(status).encode()
        if request.method == "HEAD":
            return Response(200, [*PAGE_HEADERS, (b"Content-Length", b"%d" % len(body))])
        return Response(200, PAGE_HEADERS, body)

    def _visible_buckets(self, request: Request) -> list[Bucket] | None:
        if not self._may(request, SEES_BUCKETS):
            return None
        return list_buckets(self._store.view(), limit=BUCKETS_SHOWN_MAX)

    def _may(self, request: Request, action: str) -> bool:
        try:
            principal = self._principal(request.header(b"authorization"))
            self._authorizer.authorize(principal, action, "", _context(request))
        except AccessDeniedError:
            return False
        return True

    def _principal(self, authorization: bytes | None) -> Principal:
        scheme, _, encoded = (authorization or b"").partition(b" ")
        if scheme.lower() != b"basic":
            return ANONYMOUS
        try:
            access_key, _, secret = base64.b64decode(encoded, validate=True).decode().partition(":")
        except (binascii.Error, UnicodeDecodeError):
            return ANONYMOUS
        known = self._keyring.secrets(access_key)
        if any(hmac.compare_digest(secret.encode(), valid.encode()) for valid in known):
            return self._keyring.principal(access_key, None)
        return ANONYMOUS

    def _is_ready(self) -> bool:
        """Ask the S3 port itself, as any health check would."""
        host = self._s3_address[0]
        reachable = {"0.0.0.0": "127.0.0.1", "::": "127.0.0.1"}.get(host, host)  # noqa: S104 - compared, not bound
        connection = self._connection(reachable)
        try:
            connection.request("GET", "/minio/health/ready")
            return connection.getresponse().status == http.client.OK
        except (OSError, http.client.HTTPException):
            return False
        finally:
            connection.close()

    def _connection(self, host: str) -> http.client.HTTPConnection:
        if not self._is_s3_secure:
            return http.client.HTTPConnection(host, self._s3_address[1], timeout=HEALTH_TIMEOUT_S)
        # A process of this very server: its certificate is made out to the name that clients use, not to an address.
        own = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        own.check_hostname, own.verify_mode = False, ssl.CERT_NONE
        return http.client.HTTPSConnection(host, self._s3_address[1], timeout=HEALTH_TIMEOUT_S, context=own)


def _context(request: Request) -> Context:
    is_secure = "true" if request.secure else "false"
    return FixedContext({"aws:sourceip": (request.peer[0],), "aws:securetransport": (is_secure,)})


def host_name(header: bytes | None) -> str:
    """Return the host of a Host header without its port: the name under which this visitor reaches us."""
    host = HOST.match((header or b"").decode("latin-1"))
    return host[1] if host else "127.0.0.1"


async def serve_pages(
    store: ObjectStore,
    authorizer: Authorizer,
    keyring: Keyring,
    s3_address: tuple[str, int],
    listener: socket.socket,
    stop: asyncio.Event,
    *,
    tls: TlsContext | None = None,
) -> None:
    """Serve the status page on a listening socket until `stop` is set; with `tls`, S3 is served with it too."""
    pages = StatusPages(store, authorizer, keyring, s3_address, is_s3_secure=tls is not None)
    server = HttpServer(pages.handle, limits=HttpLimits(), clock=store.clock)
    await server.serve(listener, tls=tls)
    await stop.wait()
    await server.stop(STOP_GRACE_S)

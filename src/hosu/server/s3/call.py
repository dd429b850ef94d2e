"""One S3 request on its way through the server: where it goes, who asks, and what its query says."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache, partial
from typing import Any, TypeVar
from urllib.parse import parse_qsl, unquote_to_bytes

from hosu.identity.acl import Acls
from hosu.identity.policy import Effect
from hosu.kernel.auth import ANONYMOUS, Authorizer, Context, Keyring, Principal
from hosu.kernel.errors import AccessDeniedError
from hosu.kernel.settings import Settings
from hosu.objects.audit import Origin
from hosu.objects.encryption.modes import Encryption
from hosu.objects.protected import CHANGE_PROTECTED
from hosu.objects.records import COLD, ObjectRecord
from hosu.objects.store import ObjectStore
from hosu.objects.transaction import Tx
from hosu.objects.views import View
from hosu.objects.writer import Outcome
from hosu.rules.events.records import Origin as EventOrigin
from hosu.rules.lifecycle.keeping import Lifecycles
from hosu.server.http import Request
from hosu.server.s3.conditions import PartContext, RequestContext, TrustedProxies
from hosu.server.s3.listeners import Listeners
from hosu.server.s3.observer import NoObserver, Observer
from hosu.server.s3.request_errors import S3RequestError
from hosu.server.s3.sigv4 import Verified

T = TypeVar("T")

USER_AGENT_BYTES_MAX = 256
"""Longer ones are cut: they stand in every line of the audit log."""

LISTING_THREADS = 2
"""Threads for listings: they need a processor, not a disk, and more of them than processors only take turns."""

BLOCKING_THREADS = 16
"""Threads for what waits on the disk: they release the interpreter's lock while they hash, write and sync."""


class Engine:
    """The object store, as handlers on one event loop use it."""

    def __init__(
        self,
        store: ObjectStore,
        authorizer: Authorizer,
        keyring: Keyring,
        region: str,
        *,
        acls: Acls | None = None,
        trusted_proxies: str = "",
        takes_keys_over_http: bool = False,
        observer: Observer | None = None,
        settings: Settings | None = None,
    ) -> None:
        self.store = store
        self.authorizer = authorizer
        self.keyring = keyring
        self.region = region
        self.acls = Acls(store) if acls is None else acls
        self.proxies = TrustedProxies(trusted_proxies)
        self.takes_keys_over_http = takes_keys_over_http
        """Whether clients may send keys of their own (SSE-C) where anybody on the way can read them."""
        self.observer: Observer = NoObserver() if observer is None else observer
        settings = Settings() if settings is None else settings
        self.lifecycles = Lifecycles(store.view, store.generation, settings)
        self.cold_classes = frozenset({COLD, *settings.cold_class_names})
        """The storage class COLD by all of its names: what rules may move objects to."""
        self._loop = asyncio.get_running_loop()
        self.notify = settings.notify
        self.listeners = Listeners(store, self._loop, EventOrigin(region=region))
        self._pool = ThreadPoolExecutor(BLOCKING_THREADS, thread_name_prefix="s3")
        self._listing_pool = ThreadPoolExecutor(LISTING_THREADS, thread_name_prefix="s3-list")

    def commit(self, operation: Callable[[Tx], T], origin: Origin | None = None) -> "asyncio.Future[T]":
        """Run a verb durably, on behalf of `origin`; one wake-up of the loop serves all of a batch."""
        future: asyncio.Future[T] = self._loop.create_future()
        self.store.submit(operation, self, future, origin)
        return future

    def deliver(self, outcomes: list[Outcome]) -> None:
        """Take the outcomes of a batch, on the writer's thread."""
        self._loop.call_soon_threadsafe(_settle, outcomes)

    async def run(self, function: Callable[..., T], *arguments: Any) -> T:  # noqa: ANN401 - the function's own
        """Run a blocking function in a thread."""
        return await _finished(self._loop.run_in_executor(self._pool, partial(function, *arguments)))

    async def read(self, function: Callable[[View], T]) -> T:
        """Run a reading verb that may take long in a thread."""
        return await _finished(self._loop.run_in_executor(self._listing_pool, lambda: function(self.store.view())))

    def secrets(self, access_key: str) -> Sequence[str]:
        """Return the secrets that an access key may sign with now."""
        return self.keyring.secrets(access_key)

    def principal(self, access_key: str, token: str | None) -> Principal:
        """Return who signs with an access key and brings this session token."""
        return self.keyring.principal(access_key, token)

    def close(self) -> None:
        """End the threads."""
        self._pool.shutdown()
        self._listing_pool.shutdown()


async def _finished(future: "asyncio.Future[T]") -> T:
    """Wait for a thread. A cancelled caller still waits: the thread uses its buffers."""
    try:
        return await asyncio.shield(future)
    except asyncio.CancelledError:
        while not future.done():
            try:
                await asyncio.wait([future])
            except asyncio.CancelledError:
                continue
        raise


def _settle(outcomes: list[Outcome]) -> None:
    for outcome in outcomes:
        future: asyncio.Future[Any] = outcome.token  # type: ignore[assignment]
        if future.done():
            continue
        if outcome.error is None:
            future.set_result(outcome.result)
        else:
            future.set_exception(outcome.error)


def _sparing(operation: Callable[[Tx], T], tx: Tx) -> T:
    tx.spares_protected = True
    return operation(tx)


class Call:
    """One request: the bucket and key it names, its query, and the principal who signed it."""

    __slots__ = (
        "_query",
        "action",
        "bucket",
        "customer_key",
        "encryption",
        "engine",
        "key",
        "operation",
        "principal",
        "request",
        "source_key",
        "verified",
    )

    def __init__(self, engine: Engine, request: Request, bucket: str, key: str) -> None:
        self.engine = engine
        self.request = request
        self.bucket = bucket
        self.key = key
        self.operation = ""
        """Name of the operation, once it is known."""
        self.action = ""
        """The permission that was asked for last."""
        self.principal: Principal = ANONYMOUS
        self.verified: Verified | None = None
        self.encryption: Encryption | None = None
        """How the request says that what it writes is to be encrypted."""
        self.customer_key = b""
        """The client's own key to the object that the request names."""
        self.source_key = b""
        """The client's own key to the source of a copy."""
        self._query: dict[str, str] | None = None

    def write_encryption(self) -> Encryption | None:
        """Return how what the request writes is encrypted: as it says itself, else as its bucket says."""
        return self.engine.store.encryption_of(self.bucket) if self.encryption is None else self.encryption

    @property
    def headers(self) -> Mapping[bytes, bytes]:
        """Headers by lower-cased name."""
        return self.request.fields

    def header(self, name: bytes) -> str | None:
        """Return a header as text: UTF-8 where it is, else Latin-1."""
        value = self.request.fields.get(name)
        return None if value is None else header_text(value)

    @property
    def query(self) -> dict[str, str]:
        """The query's parameters, decoded; the first of repeated ones counts."""
        if self._query is None:
            self._query = parse_query(self.request.raw_query)
        return self._query

    @property
    def version_id(self) -> str | None:
        """The version the request names, if any."""
        if not self.request.raw_query:
            return None
        version_id = self.query.get("versionId")
        if version_id == "":
            raise S3RequestError("InvalidArgument", "Version id cannot be the empty string", argument_name="versionId")
        return version_id

    @property
    def resource(self) -> str:
        """The path of what is asked for, as errors name it."""
        return f"/{self.bucket}/{self.key}" if self.key else f"/{self.bucket}"

    @property
    def source_ip(self) -> str:
        """Where the request comes from, behind the operator's own proxies."""
        return self.engine.proxies.source_ip(self.request.peer[0], self.request.fields)

    @property
    def is_secure(self) -> bool:
        """Whether the request came by TLS, to this server or to a proxy of the operator's."""
        request = self.request
        return self.engine.proxies.is_secure(request.peer[0], request.fields, is_secure=request.secure)

    @property
    def scheme(self) -> str:
        """How clients write where they came to: `https` or `http`."""
        return "https" if self.is_secure else "http"

    def authorize(self, action: str) -> None:
        """Put the one question, whether this principal may do this to what the request names."""
        bucket, key = self.bucket, self.key
        self.action = action
        self.engine.authorizer.authorize(
            self.principal, action, f"{bucket}/{key}" if key else bucket, RequestContext(self, action)
        )

    def authorize_in(self, action: str, context: Context, bucket: str, key: str = "") -> None:
        """Put the one question about something else, or in other circumstances, than the request as such."""
        resource = f"{bucket}/{key}" if key else bucket
        self.engine.authorizer.authorize(self.principal, action, resource, context)

    def is_allowed(self, action: str, context: Context, bucket: str, key: str = "") -> bool:
        """Ask whether this principal may do this, where the answer only decides what is shown."""
        ask = getattr(self.engine.authorizer, "is_allowed", None)
        if ask is not None:  # spares the reasons, which take several times as long as the answer
            return bool(ask(self.principal, action, f"{bucket}/{key}" if key else bucket, context))
        try:
            self.authorize_in(action, context, bucket, key)
        except AccessDeniedError:
            return False
        return True

    def commit(
        self, operation: Callable[[Tx], T], key: str | None = None, version_id: str | None = None
    ) -> "asyncio.Future[T]":
        """Run a verb durably on this request's behalf; `key` and `version_id` are those it is about, of several.

        It spares what is protected, unless the asker may change just that.
        """
        if not self._may_change_protected(key, version_id):
            operation = partial(_sparing, operation)
        return self.engine.commit(operation, self.origin(key))

    def _may_change_protected(self, part: str | None, version_id: str | None) -> bool:
        key = self.key if part is None else part
        if not key or not self.engine.store.protected.covers(self.bucket, key):
            return False  # what becomes protected meanwhile is spared
        context = RequestContext(self, CHANGE_PROTECTED)
        if part is not None:
            context = PartContext(self, CHANGE_PROTECTED, self.bucket, part, version_id=version_id)
        return self.is_allowed(CHANGE_PROTECTED, context, self.bucket, key)

    def origin(self, key: str | None = None) -> Origin:
        """Return who asks for what, as the audit log has it."""
        request, principal = self.request, self.principal
        return Origin(
            request.request_id,
            f"s3:{self.operation}",
            principal.name,
            principal.access_key,
            self.source_ip,
            self.bucket,
            self.key if key is None else key,
            user_agent(request),
            self.action,
            204 if request.method == "DELETE" else 200,
        )

    def is_denied(self, action: str, context: Context, bucket: str, key: str = "") -> bool:
        """Whether a statement says no, not merely none yes; an authoriser without policies has no such thing."""
        decide = getattr(self.engine.authorizer, "decide", None)
        resource = f"{bucket}/{key}" if key else bucket
        if decide is None:
            return False
        decision = decide(self.principal, action, resource, context)
        # A policy that cuts a key down refuses by its silence too, which is no statement.
        return decision.effect is Effect.DENY and decision.statement >= 0

    def is_withheld(self, action: str, context: Context, bucket: str, key: str = "") -> bool:
        """Whether nothing could allow this: `is_denied`, or beyond what the key was cut down to."""
        withholds = getattr(self.engine.authorizer, "withholds", None)
        resource = f"{bucket}/{key}" if key else bucket
        return withholds is not None and bool(withholds(self.principal, action, resource, context))

    def integer(self, name: str, default: int, *, most: int | None = None) -> int:
        """Return a query parameter as a non-negative number, cut to most; raises InvalidArgument."""
        text = self.query.get(name)
        if text is None or (text == "" and name != "max-keys"):
            return default
        if not (text.isascii() and text.isdigit()) or len(text) > 10:  # noqa: PLR2004 - S3 takes 32-bit numbers
            raise S3RequestError(
                "InvalidArgument",
                f"Argument {name} must be an integer between 0 and 2147483647",
                argument_name=name,
                argument_value=text,
            )
        value = int(text)
        return value if most is None else min(value, most)


def header_text(value: bytes) -> str:
    """Decode a header's value: UTF-8 where it is, else Latin-1, so that nothing is refused or lost."""
    try:
        return value.decode()
    except UnicodeDecodeError:
        return value.decode("latin-1")


def parse_query(raw_query: bytes) -> dict[str, str]:
    """Decode a query; raises InvalidArgument when it is not UTF-8."""
    if not raw_query:
        return {}
    try:
        pairs = parse_qsl(raw_query.decode("ascii"), keep_blank_values=True, errors="strict", max_num_fields=200)
    except (UnicodeError, ValueError) as error:
        raise S3RequestError("InvalidArgument", "The query string is not valid percent-encoded UTF-8") from error
    query: dict[str, str] = {}
    for name, value in pairs:
        query.setdefault(name, value)
    return query


def split_path(raw_path: bytes, host: bytes | None, domains: tuple[bytes, ...]) -> tuple[str, str]:
    """Return (bucket, key) of a path-style request, or of a virtual-host one below a domain of ours."""
    if not domains and b"%" not in raw_path:
        try:
            bucket, _, key = raw_path[1:].decode().partition("/")
        except UnicodeDecodeError as error:
            raise _not_utf8() from error
        return bucket, key
    path = raw_path[1:]
    if domains and host is not None:
        name = host.partition(b":")[0].lower()
        for domain in domains:
            if name.endswith(b"." + domain):
                return decode_path(name[: -len(domain) - 1]), decode_path(path)
    raw_bucket, _, raw_key = path.partition(b"/")
    return decode_path(raw_bucket), decode_path(raw_key)


def decode_path(raw: bytes) -> str:
    """Percent-decode a part of a path; raises when it is not UTF-8."""
    try:
        return (unquote_to_bytes(raw) if b"%" in raw else raw).decode()
    except UnicodeDecodeError as error:
        raise _not_utf8() from error


def _not_utf8() -> S3RequestError:
    return S3RequestError("InvalidURI", "Could not parse the specified URI: it is not UTF-8.")


def user_agent(request: Request) -> str:
    """Return what a client says of itself, as far as the audit log wants to know."""
    return request.fields.get(b"user-agent", b"")[:USER_AGENT_BYTES_MAX].decode("utf-8", "replace")


@lru_cache(maxsize=4096)
def http_date(seconds: int) -> bytes:
    """Render a time as HTTP headers do."""
    from email.utils import formatdate  # noqa: PLC0415 - email is slow to import and start-up matters

    return formatdate(seconds, usegmt=True).encode()


def iso_date(milliseconds: int) -> str:
    """Render a time as S3's XML does: 2026-01-31T23:59:59.999Z."""
    from datetime import UTC, datetime  # noqa: PLC0415

    moment = datetime.fromtimestamp(milliseconds // 1000, UTC)
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{milliseconds % 1000:03d}Z"


def version_headers(record: ObjectRecord) -> list[tuple[bytes, bytes]]:
    """Return the version id header of an object that has versions."""
    if record.version_id == "null":
        return []
    return [(b"x-amz-version-id", record.version_id.encode())]

"""One S3 request on its way through the server: where it goes, who asks, and what its query says."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache, partial
from typing import Any, TypeVar
from urllib.parse import parse_qsl, unquote_to_bytes

from hosu.kernel.auth import ANONYMOUS, Authorizer, Context, FixedContext, Keyring, Principal
from hosu.objects.records import ObjectRecord
from hosu.objects.store import ObjectStore
from hosu.objects.transaction import Tx
from hosu.objects.views import View
from hosu.objects.writer import Outcome
from hosu.server.http import Request
from hosu.server.s3.request_errors import S3RequestError
from hosu.server.s3.sigv4 import Verified

T = TypeVar("T")

LISTING_THREADS = 2
"""Threads for listings: they need a processor, not a disk, and more of them than processors only take turns."""

BLOCKING_THREADS = 16
"""Threads for what waits on the disk: they release the interpreter's lock while they hash, write and sync."""


class Engine:
    """The object store, as handlers on one event loop use it."""

    def __init__(self, store: ObjectStore, authorizer: Authorizer, keyring: Keyring, region: str) -> None:
        self.store = store
        self.authorizer = authorizer
        self.keyring = keyring
        self.region = region
        self._loop = asyncio.get_running_loop()
        self._pool = ThreadPoolExecutor(BLOCKING_THREADS, thread_name_prefix="s3")
        self._listing_pool = ThreadPoolExecutor(LISTING_THREADS, thread_name_prefix="s3-list")

    def commit(self, operation: Callable[[Tx], T]) -> "asyncio.Future[T]":
        """Run a verb durably; one wake-up of the loop serves all of a batch."""
        future: asyncio.Future[T] = self._loop.create_future()
        self.store.submit(operation, self, future)
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


class Call:
    """One request: the bucket and key it names, its query, and the principal who signed it."""

    __slots__ = ("_query", "bucket", "engine", "key", "principal", "request", "verified")

    def __init__(self, engine: Engine, request: Request, bucket: str, key: str) -> None:
        self.engine = engine
        self.request = request
        self.bucket = bucket
        self.key = key
        self.principal: Principal = ANONYMOUS
        self.verified: Verified | None = None
        self._query: dict[str, str] | None = None

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

    def authorize(self, action: str, bucket: str | None = None, key: str | None = None) -> None:
        """Put the one question, whether this principal may do this."""
        request = self.request
        name, path = self.bucket if bucket is None else bucket, self.key if key is None else key
        self.engine.authorizer.authorize(
            self.principal, action, f"{name}/{path}" if path else name, _context(request.peer[0], request.secure)
        )

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


@lru_cache(maxsize=1024)
def _context(source_ip: str, is_secure: bool) -> Context:  # noqa: FBT001 - a cache knows no names
    """Return the circumstances of a client's requests, which are the same for all of them."""
    return FixedContext({"aws:sourceip": (source_ip,), "aws:securetransport": ("true" if is_secure else "false",)})


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

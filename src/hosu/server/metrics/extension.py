"""The paths of metrics on the S3 port."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING
from urllib.parse import parse_qs, unquote

from hosu.server.extensions import Port
from hosu.server.http import Request, Response

if TYPE_CHECKING:
    from hosu.server.metrics.state import Sources, State

V2, V2_TOO, V3, OWN = "/minio/v2/metrics", "/minio/metrics/v2", "/minio/metrics/v3", "/minio/hosu/metrics"
"""`V2_TOO` is what a part of MinIO's own documents says."""

BUCKETS_NAMED_MAX = 1_000
SCRAPES_WAITING_MAX = 16
"""They are answered one after the other, by a thread of their own: no scraper takes a thread from S3."""

_PREFIXES = tuple(prefix.encode() for prefix in (V2, V2_TOO, V3, OWN))
_BUCKET_API = "/bucket/api"
_TEXT = [(b"Content-Type", b"text/plain; charset=utf-8"), (b"Cache-Control", b"no-store")]


class MetricsExtension:
    """Answers scrapers. `open_sources` is called at the first scrape: what metrics need is not loaded before."""

    def __init__(self, port: Port, *, server: str, is_public: bool, open_sources: "Callable[[], Sources]") -> None:
        self._port = port
        self._server = server
        self._is_public = is_public
        self._open_sources = open_sources
        self._sources: Sources | None = None
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="metrics")
        self._waiting = 0

    def claims(self, request: Request) -> bool:
        """Say whether a path is one of metrics."""
        path = request.raw_path
        return path.startswith(_PREFIXES) and any(
            path == prefix or path[len(prefix) : len(prefix) + 1] == b"/" for prefix in _PREFIXES
        )

    async def handle(self, request: Request) -> Response:
        """Answer a scraper, once it has shown who it is."""
        if request.method not in {"GET", "HEAD"}:
            return Response(405, [(b"Allow", b"GET, HEAD"), *_TEXT], b"Metrics are read with GET\n")
        path = unquote(request.raw_path.decode("ascii", "replace")).rstrip("/")
        query = parse_qs(request.raw_query.decode("ascii", "replace"), keep_blank_values=True)
        if self._waiting >= SCRAPES_WAITING_MAX:
            return Response(503, [(b"Retry-After", b"1"), *_TEXT], b"Too many scrapes at once\n")
        self._waiting += 1
        try:
            loop = asyncio.get_running_loop()
            authorization = request.fields.get(b"authorization")
            body = await loop.run_in_executor(self._thread, self._read, authorization, path, query)
        finally:
            self._waiting -= 1
        if body is None:
            return Response(404, _TEXT, f"There are no metrics at {path}\n".encode())
        text, content_type = body
        headers = [(b"Content-Type", content_type), (b"Cache-Control", b"no-store")]
        return Response(200, headers, text)

    def _read(self, authorization: bytes | None, path: str, query: dict[str, list[str]]) -> tuple[bytes, bytes] | None:
        """Return what `_render` does, to whoever may have it. Raises AccessDeniedError."""
        if not self._is_public:
            from hosu.server.metrics.token import check_token  # noqa: PLC0415 - see the class

            port = self._port
            check_token(authorization, port.keyring, port.authorizer, port.store.clock)
        return self._render(path, query)

    def _render(self, path: str, query: dict[str, list[str]]) -> tuple[bytes, bytes] | None:
        """Return the text of a path and its type, None where there is nothing. Blocks on the disk."""
        from hosu.server.metrics import families, minio_v2, minio_v3, own  # noqa: PLC0415 - see the class

        lists = "list" in query
        listed = (lambda specs: (families.render_list(specs), _TEXT[0][1])) if lists else None
        if path == OWN:
            return listed(own.SPECS) if listed else (own.collect(self._state()).render(), families.CONTENT_TYPE)
        if path == V3 or path.startswith(f"{V3}/"):
            wanted, buckets = _buckets_of(path.removeprefix(V3), query)
            groups = minio_v3.groups_of(wanted, with_buckets=bool(buckets) or lists)
            if groups is None:
                return None
            if listed:
                return listed(minio_v3.specs_of(groups))
            values = minio_v3.collect(groups, self._state(), self._server, buckets)
            return values.render(), families.CONTENT_TYPE
        scope = path.removeprefix(V2).removeprefix(V2_TOO).lstrip("/") or minio_v2.CLUSTER
        if scope not in minio_v2.SHOWN:
            return None
        if listed:
            return listed(minio_v2.specs_of(scope))
        return minio_v2.collect(scope, self._state(), self._server).render(), families.CONTENT_TYPE

    def _state(self) -> "State":
        if self._sources is None:
            self._sources = self._open_sources()
        return self._sources.read()


def _buckets_of(path: str, query: dict[str, list[str]]) -> tuple[str, frozenset[str]]:
    """Return a path without the bucket it may end with, and the buckets that path and query name."""
    named = [name for value in (*query.get("buckets", ()), *query.get("bucket", ())) for name in value.split(",")]
    if path.startswith(f"{_BUCKET_API}/"):
        named.append(path.removeprefix(f"{_BUCKET_API}/"))
        path = _BUCKET_API
    return path, frozenset(name for name in named[:BUCKETS_NAMED_MAX] if name)

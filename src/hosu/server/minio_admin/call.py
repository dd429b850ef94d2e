"""One admin request on its way: who asks, what the query and the body say, and how the answer goes back."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, TypeVar
from urllib.parse import parse_qs

import msgspec

from hosu.identity.authority import Authority
from hosu.identity.keys import get_key
from hosu.identity.policy import Effect
from hosu.identity.records import AccessKey
from hosu.kernel.auth import Context
from hosu.kernel.errors import AccessDeniedError, ErrorKind
from hosu.kernel.settings import Settings
from hosu.objects.audit import Origin
from hosu.objects.transaction import Tx
from hosu.objects.views import View
from hosu.server.extensions import Caller, Port
from hosu.server.http import Request, Response
from hosu.server.minio_admin.container import seal, unseal
from hosu.server.minio_admin.errors import JSON_HEADER, AdminError

T = TypeVar("T")

BODY_BYTES_MAX = 262_272
"""Largest body: 256 KiB, and what its encryption adds."""

CONTAINERS_AT_ONCE = 2
"""Containers being opened or sealed: each takes 64 MiB and a processor for tens of milliseconds."""

NEVER_UPDATED = "0001-01-01T00:00:00Z"
NEVER_EXPIRES = "1970-01-01T00:00:00Z"
"""What clients show as "never"."""


class Admin:
    """What all admin requests of a process share. Made on the event loop."""

    def __init__(self, port: Port, authority: Authority, settings: Settings, started_s: float) -> None:
        self.port = port
        self.authority = authority
        self.settings = settings
        self.started_s = started_s
        self._turns = asyncio.Semaphore(CONTAINERS_AT_ONCE)

    async def unseal(self, container: bytes, secret: str) -> bytes:
        """Open a container, in turn."""
        async with self._turns:
            return await self.port.run(unseal, container, secret)

    async def seal(self, plaintext: bytes, secret: str) -> bytes:
        """Make a container, in turn."""
        async with self._turns:
            return await self.port.run(seal, plaintext, secret)


class AdminContext(Context):
    """Circumstances of an admin request that conditions may look at."""

    __slots__ = ("_port", "_request")

    def __init__(self, port: Port, request: Request) -> None:
        self._port = port
        self._request = request

    def values(self, name: str) -> Sequence[str]:
        """Return the values of a condition key."""
        if name == "aws:sourceip":
            return (self._port.source_ip(self._request),)
        if name == "aws:securetransport":
            return ("true" if self._port.is_secure(self._request) else "false",)
        if name in {"aws:currenttime", "aws:epochtime"}:
            now_ms = self._port.store.clock.now_ms()
            return (rfc3339(now_ms) if name == "aws:currenttime" else str(now_ms // 1000),)
        headers = {"aws:useragent": b"user-agent", "aws:referer": b"referer"}
        value = self._request.header(headers[name]) if name in headers else None
        return () if value is None else (value.decode("utf-8", "replace"),)


class AdminCall:
    """One request whose signature was right. `action` is the permission that its operation needs."""

    def __init__(self, admin: Admin, request: Request, body: bytes, caller: Caller, action: str, path: str) -> None:
        self.admin = admin
        self.port = admin.port
        self.authority = admin.authority
        self.settings = admin.settings
        self.request = request
        self.caller = caller
        self.action = action
        self.path = path
        self._body = body
        self._query = parse_query(request.raw_query)
        self._context = AdminContext(admin.port, request)
        self._is_authorized = False

    # Who asks

    @property
    def user(self) -> str:
        """The user, or root, whose rights the caller has or borrows."""
        return self.caller.principal.parent or self.caller.principal.name

    def authorize(self, action: str = "", resource: str = "") -> None:
        """Refuse a caller who may not do this; without an action, what the operation needs."""
        self.action = action or self.action
        self.authority.authorize(self.caller.principal, self.action, resource, self._context)
        self._is_authorized = True

    def allow_everybody(self) -> None:
        """Say that whoever signs may do this: it tells nothing but what is the caller's own."""
        self._is_authorized = True

    def is_allowed(self, action: str, resource: str = "") -> bool:
        """Say whether the caller may do this."""
        return self.authority.is_allowed(self.caller.principal, action, resource, self._context)

    def authorize_for(self, owner: str, action: str = "") -> None:
        """Refuse a caller who may not do this to what belongs to `owner`.

        Everybody may do it to what is their own, unless a policy denies it. A key whose policy cuts its owner's rights
        needs to be allowed: it could give itself all of them otherwise. What is root's is left to root.
        """
        name = action or self.action
        principal = self.caller.principal
        if owner == self.user and not self._is_cut():
            is_allowed = self.authority.decide(principal, name, "", self._context).effect is not Effect.DENY
        else:
            is_theirs = owner == self.user or principal.is_root or owner != self.authority.vault.root_name
            is_allowed = is_theirs and self.is_allowed(name)
        if not is_allowed:
            # As `authorize` says it: a key that is somebody else's is told from none neither by this, nor whose it is.
            raise AccessDeniedError(
                ErrorKind.ACCESS_DENIED, f"{principal.name} may not {name} on this lake", action=name
            )
        self._is_authorized = True

    def _is_cut(self) -> bool:
        """Say whether the caller may do less than the user it belongs to."""
        key = self.key()
        return key is not None and (key.kind == "session" or bool(key.policy))

    def key(self) -> AccessKey | None:
        """Return the service account or session that asks; None where a user asks in person."""
        return get_key(self.view(), self.caller.access_key) if self.caller.principal.parent else None

    # What the request says

    def parameter(self, name: str) -> str:
        """Return a query parameter that must be given, and not be empty."""
        value = self.optional(name)
        if not value:
            raise AdminError("InvalidArgument", f"{self.path} needs the query parameter {name!r}")
        return value

    def optional(self, name: str) -> str:
        """Return a query parameter, empty where it is not given."""
        return self._query.get(name, [""])[0]

    def several(self, name: str) -> list[str]:
        """Return all values of a query parameter."""
        return [value for value in self._query.get(name, []) if value]

    def plain(self) -> bytes:
        """Return a body that comes as it is."""
        return self._body

    async def opened(self) -> bytes:
        """Return what an encrypted body holds; raises for one that was not sealed with the caller's secret."""
        if self.request.body.content_length is None:
            raise AdminError("MissingContentLength", "an encrypted body needs a Content-Length", status=411)
        return await self.admin.unseal(self._body, self.caller.secret)

    # Reading and writing

    def view(self) -> View:
        """Return this thread's view of the latest commit."""
        return self.port.store.view()

    async def commit(
        self, operation: Callable[[Tx], T], subject: str = "", *, bucket: str = "", status: int = 200
    ) -> T:
        """Run a verb durably, on behalf of the caller; the audit log names its subject, and the answer's status."""
        assert self._is_authorized, f"{self.path} changes something before it asks for permission"
        request = self.request
        origin = Origin(
            request_id=request.request_id,
            operation=self.action,
            principal=self.caller.principal.name,
            access_key=self.caller.access_key,
            source_ip=self.port.source_ip(request),
            bucket=bucket,
            key=subject,
            user_agent=(request.header(b"user-agent") or b"").decode("utf-8", "replace"),
            action=self.action,
            status=status,
        )
        return await self.port.commit(operation, origin)

    # Answers

    def answer(self, body: bytes = b"", content_type: bytes = b"application/json", *, status: int = 200) -> Response:
        """Answer with a body as it is."""
        assert self._is_authorized, f"{self.path} answers without having asked for permission"
        headers = [(b"x-amz-request-id", self.request.request_id.encode())]
        return Response(status, [*headers, (b"Content-Type", content_type)] if body else headers, body)

    def json(self, value: object) -> Response:
        """Answer with JSON as it is."""
        return self.answer(msgspec.json.encode(value), JSON_HEADER[1])

    async def sealed(self, value: object) -> Response:
        """Answer with JSON, or with bytes, that only the caller can read."""
        plaintext = value if isinstance(value, bytes) else msgspec.json.encode(value)
        return self.answer(await self.admin.seal(plaintext, self.caller.secret), b"application/octet-stream")


def decode(body: bytes, form: type[T]) -> T:
    """Read a JSON document; raises for what it should not hold. The message shows no value: they may be secrets."""
    try:
        return msgspec.json.decode(body, type=form)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        reason = str(error) if isinstance(error, msgspec.ValidationError) else "it is not valid JSON"
        raise AdminError("XMinioAdminConfigBadJSON", f"the body cannot be read: {reason}") from error


def document(value: msgspec.Raw) -> str:
    """Return a policy inside a document as text; empty where there is none, or one that says nothing."""
    text = bytes(value)
    if text in {b"", b"null"}:
        return ""
    parsed: Any = decode(text, object)
    says_nothing = isinstance(parsed, Mapping) and not parsed.get("Statement") and not parsed.get("Version")
    return "" if says_nothing else text.decode()


def parse_query(raw_query: bytes) -> dict[str, list[str]]:
    """Decode a query; raises when it is not percent-encoded UTF-8."""
    try:
        return parse_qs(raw_query.decode("ascii"), keep_blank_values=True, errors="strict", max_num_fields=2_000)
    except (UnicodeError, ValueError) as error:
        raise AdminError("InvalidArgument", "the query is not percent-encoded UTF-8") from error


def rfc3339(milliseconds: int, never: str = NEVER_UPDATED) -> str:
    """Render a time as Go's clients read it; 0 is `never`."""
    if not milliseconds:
        return never
    moment = datetime.fromtimestamp(milliseconds // 1000, UTC)
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{milliseconds % 1000:03d}Z"


def parse_time(text: str | None, field: str) -> int:
    """Return milliseconds of a time; 0 for none, and for what clients say instead of "never"."""
    if not text:
        return 0
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        raise AdminError(
            "InvalidArgument", f"{field} {text[:40]!r} is not a time such as 2030-01-31T12:00:00Z"
        ) from error
    moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return 0 if moment.year == 1 else int(moment.timestamp() * 1000)

"""The circumstances of an S3 request, by condition key: found out when a policy asks, and not before.

One is made for every request, so making it costs next to nothing, and each value is looked up where it is: in the
headers, the query, the signature, or the record of the object in question.
"""

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from ipaddress import ip_address, ip_network
from typing import TYPE_CHECKING
from urllib.parse import unquote

from hosu.kernel.auth import Context
from hosu.kernel.errors import HosuError
from hosu.objects.read import find
from hosu.server.s3.signing import parse_date

if TYPE_CHECKING:  # a call makes these, and they look into it
    from hosu.server.s3.call import Call

NOTHING: tuple[str, ...] = ()
_EXISTING_TAG = "s3:existingobjecttag/"
_REQUEST_TAG = "s3:requestobjecttag/"
_OF_LOCK = "s3:object-lock-"
_HEADER = "s3:x-amz-"
_OF_VERSION = "ObjectVersion"
"""In the names of the actions on one version of an object."""

_FORWARDED_FOR = b"x-forwarded-for"
_FORWARDED_PROTO = b"x-forwarded-proto"


class RequestContext(Context):
    """Circumstances of what a request asks for as such: an action on the bucket and key that it names."""

    __slots__ = ("_action", "_call")

    def __init__(self, call: "Call", action: str) -> None:
        self._call = call
        self._action = action

    def _about(self) -> tuple[str, str, str | None]:
        """Return the bucket, key and version in question: a write that names a version is about the current object."""
        call = self._call
        version_id = call.query.get("versionId") if _OF_VERSION in self._action else None
        return call.bucket, call.key, version_id or None

    def values(self, name: str) -> Sequence[str]:
        """Return the values of a condition key, named in lower case; none where the request has no such thing."""
        found = _VALUES.get(name)
        if found is not None:
            return found(self)
        if name in {"aws:resourceaccount", "s3:resourceaccount"}:
            return self.resource_account()
        if name.startswith(_HEADER):
            return _header(self._call, name[3:])
        if name.startswith(_EXISTING_TAG):
            return self._existing_tag(name[len(_EXISTING_TAG) :])
        if name.startswith(_OF_LOCK):
            return self._lock(name)
        if name.startswith(_REQUEST_TAG):
            wanted = name[len(_REQUEST_TAG) :]
            return [value for tag, value in self._request_tags().items() if tag.lower() == wanted.lower()]
        return NOTHING

    def _existing_tag(self, wanted: str) -> Sequence[str]:
        bucket, key, version_id = self._about()
        if not key:
            return NOTHING
        view = self._call.engine.store.view()
        try:
            with view.snapshot():
                tags = find(view, bucket, key, version_id).attributes.tags
        except HosuError:
            return NOTHING
        return [value for tag, value in tags.items() if tag.lower() == wanted.lower()]

    def _lock(self, name: str) -> Sequence[str]:
        """Return what the request says about the lock of what it writes."""
        from hosu.server.s3.lock_headers import lock_values, read_lock  # noqa: PLC0415 - it imports calls too

        try:
            lock = read_lock(self._call)
        except HosuError:  # the request is refused for it, in its turn
            return NOTHING
        return NOTHING if lock is None else lock_values(lock, name, self._now_s() * 1000)

    def _request_tags(self) -> Mapping[str, str]:
        """Return the tags that come with the request."""
        from hosu.server.s3.headers import parse_tagging  # noqa: PLC0415 - it imports calls, and they import this

        call = self._call
        if b"x-amz-copy-source" in call.headers and not _replaces_tags(call):
            return {}  # a copy has its source's tags then, and the header counts for nothing
        text = call.header(b"x-amz-tagging")
        return parse_tagging(text) if text else {}

    # One method for each key that has a value of its own

    def source_ip(self) -> Sequence[str]:
        """Return where the request comes from."""
        return (self._call.source_ip,)

    def secure_transport(self) -> Sequence[str]:
        """Return whether it came by TLS."""
        return ("true" if self._call.is_secure else "false",)

    def user_agent(self) -> Sequence[str]:
        """Return the client's name for itself; forms have none of their own."""
        return self._header_of_request(b"user-agent")

    def referer(self) -> Sequence[str]:
        """Return the page that led here."""
        return self._header_of_request(b"referer")

    def _header_of_request(self, name: bytes) -> Sequence[str]:
        value = self._call.request.fields.get(name)
        return NOTHING if value is None else (value.decode("utf-8", "replace"),)

    def current_time(self) -> Sequence[str]:
        """Return the time as ISO 8601."""
        return (f"{datetime.fromtimestamp(self._now_s(), UTC):%Y-%m-%dT%H:%M:%SZ}",)

    def epoch_time(self) -> Sequence[str]:
        """Return the time in seconds since 1970."""
        return (str(self._now_s()),)

    def _now_s(self) -> int:
        return self._call.engine.store.clock.now_ms() // 1000

    def prefix(self) -> Sequence[str]:
        """Return the prefix a listing asks for."""
        return self._parameter("prefix")

    def delimiter(self) -> Sequence[str]:
        """Return a listing's delimiter."""
        return self._parameter("delimiter")

    def max_keys(self) -> Sequence[str]:
        """Return how many keys a listing asks for."""
        return self._parameter("max-keys")

    def version_id(self) -> Sequence[str]:
        """Return the version that is named."""
        version_id = self._about()[2]
        return NOTHING if version_id is None else (version_id,)

    def _parameter(self, name: str) -> Sequence[str]:
        value = self._call.query.get(name)
        return NOTHING if value is None else (value,)

    def request_tag_keys(self) -> Sequence[str]:
        """Return the names of the tags that come with the request."""
        return list(self._request_tags())

    def copy_source(self) -> Sequence[str]:
        """Return what is to be copied, as `bucket/key`."""
        source = self._call.header(b"x-amz-copy-source")
        return NOTHING if source is None else (unquote(source.partition("?versionId=")[0]).removeprefix("/"),)

    def signature_version(self) -> Sequence[str]:
        """Return how the request is signed, in AWS's words."""
        verified = self._call.verified
        if verified is None:
            return NOTHING
        return ("AWS4-HMAC-SHA256" if verified.scope else "AWS",)

    def auth_type(self) -> Sequence[str]:
        """Return where the signature stands: in a header, the query, or a form."""
        call = self._call
        if call.verified is not None:
            return ("REST-QUERY-STRING" if call.verified.presigned else "REST-HEADER",)
        return ("POST",) if call.principal.access_key else NOTHING

    def signature_age(self) -> Sequence[str]:
        """Return the age of a SigV4 signature in milliseconds."""
        verified = self._call.verified
        if verified is None or not verified.amz_date:
            return NOTHING
        try:
            signed_ms = parse_date(verified.amz_date)[1]
        except (ValueError, OverflowError):
            return NOTHING
        return (str(max(self._call.engine.store.clock.now_ms() - signed_ms, 0)),)

    def tls_version(self) -> Sequence[str]:
        """Return the version of TLS where it is known."""
        version = getattr(self._call.request, "tls_version", "")
        return (version.removeprefix("TLSv"),) if version else NOTHING

    def resource_account(self) -> Sequence[str]:
        """Return the user who owns what is asked for; the service as a whole is everybody's own."""
        acls = self._call.engine.acls
        bucket, key, version_id = self._about()
        if bucket:
            owner = acls.owner_of(self._action, bucket, key, version_id)
        else:
            owner = acls.account_of(self._call.principal)
        return (owner,) if owner else NOTHING

    def if_match(self) -> Sequence[str]:
        """Return the ETag that a write must find."""
        return _header(self._call, "if-match")

    def if_none_match(self) -> Sequence[str]:
        """Return the ETag that a write must not find."""
        return _header(self._call, "if-none-match")


_VALUES: Mapping[str, Callable[[RequestContext], Sequence[str]]] = {
    "aws:currenttime": RequestContext.current_time,
    "aws:epochtime": RequestContext.epoch_time,
    "aws:referer": RequestContext.referer,
    "aws:securetransport": RequestContext.secure_transport,
    "aws:sourceip": RequestContext.source_ip,
    "aws:useragent": RequestContext.user_agent,
    "s3:authtype": RequestContext.auth_type,
    "s3:delimiter": RequestContext.delimiter,
    "s3:if-match": RequestContext.if_match,
    "s3:if-none-match": RequestContext.if_none_match,
    "s3:max-keys": RequestContext.max_keys,
    "s3:prefix": RequestContext.prefix,
    "s3:requestobjecttagkeys": RequestContext.request_tag_keys,
    "s3:signatureage": RequestContext.signature_age,
    "s3:signatureversion": RequestContext.signature_version,
    "s3:tlsversion": RequestContext.tls_version,
    "s3:versionid": RequestContext.version_id,
    "s3:x-amz-copy-source": RequestContext.copy_source,
}

_LOCK_KEYS = frozenset(
    f"{_OF_LOCK}{name}" for name in ("legal-hold", "mode", "remaining-retention-days", "retain-until-date")
)
CONDITION_KEYS = frozenset(
    {*_VALUES, *_LOCK_KEYS, "aws:resourceaccount", "s3:locationconstraint", "s3:resourceaccount"}
)
"""Keys that have a value here, beside `s3:x-amz-…`, `s3:ExistingObjectTag/…` and `s3:RequestObjectTag/…`."""


def _replaces_tags(call: "Call") -> bool:
    return (call.header(b"x-amz-tagging-directive") or "").upper() == "REPLACE"


def _header(call: "Call", name: str) -> Sequence[str]:
    value = call.header(name.encode("latin-1", "replace"))
    return NOTHING if value is None else (value,)


class PartContext(RequestContext):
    """Circumstances of a part of a request: one key of many, the source of a copy, the tags in a body."""

    __slots__ = ("_part", "_tags")

    def __init__(
        self,
        call: "Call",
        action: str,
        bucket: str,
        key: str = "",
        *,
        version_id: str | None = None,
        tags: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(call, action)
        self._part = (bucket, key, version_id)
        self._tags = tags

    def _about(self) -> tuple[str, str, str | None]:
        return self._part

    def _request_tags(self) -> Mapping[str, str]:
        return super()._request_tags() if self._tags is None else self._tags


class LookContext(PartContext):
    """Circumstances of looking whether a key is there: what a listing of this key as its prefix would be."""

    __slots__ = ("_key",)

    def __init__(self, call: "Call", action: str, bucket: str, key: str) -> None:
        super().__init__(call, action, bucket)
        self._key = key

    def _parameter(self, name: str) -> Sequence[str]:
        return (self._key,) if name == "prefix" else NOTHING


class NewBucketContext(RequestContext):
    """Circumstances of making a bucket, which will belong to whoever makes it."""

    __slots__ = ("_region",)

    def __init__(self, call: "Call", action: str, region: str | None) -> None:
        super().__init__(call, action)
        self._region = region

    def values(self, name: str) -> Sequence[str]:
        """Return the values of a condition key."""
        if name == "s3:locationconstraint":
            return NOTHING if self._region is None else (self._region,)
        return super().values(name)

    def resource_account(self) -> Sequence[str]:
        """Return the one who asks."""
        owner = self._call.engine.acls.account_of(self._call.principal)
        return (owner,) if owner else NOTHING


class TrustedProxies:
    """The addresses whose word on where a request comes from is taken: none unless the operator says so."""

    def __init__(self, text: str = "") -> None:
        self._networks = tuple(ip_network(part.strip(), strict=False) for part in text.split(",") if part.strip())

    def source_ip(self, peer: str, headers: Mapping[bytes, bytes]) -> str:
        """Return where a request comes from: its peer, or the nearest hop before it that is no proxy of ours.

        Hops are read from the last one backwards, each only while the one after it is trusted: what a client itself
        writes into the header stands before that, and counts for nothing.
        """
        address = plain_address(peer)
        forwarded = headers.get(_FORWARDED_FOR) if self._networks else None
        if forwarded is None:
            return address
        hops = [plain_address(hop.strip()) for hop in forwarded.decode("latin-1").split(",")]
        while hops and self._is_trusted(address):
            hop = hops.pop()
            if not _is_address(hop):
                break
            address = hop
        return address

    def is_secure(self, peer: str, headers: Mapping[bytes, bytes], *, is_secure: bool) -> bool:
        """Return whether a request came by TLS, to us or to the proxy that hands it on."""
        if is_secure or not self._networks or not self._is_trusted(plain_address(peer)):
            return is_secure
        return headers.get(_FORWARDED_PROTO, b"").rpartition(b",")[2].strip().lower() == b"https"

    def _is_trusted(self, text: str) -> bool:
        if not _is_address(text):
            return False
        address = ip_address(text)
        return any(address in network for network in self._networks)


def plain_address(text: str) -> str:
    """Return an address without the IPv6 that some systems wrap IPv4 in, and without a port or brackets."""
    if text[:1] == "[":
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    return text[7:] if text.lower().startswith("::ffff:") and "." in text else text


def _is_address(text: str) -> bool:
    try:
        ip_address(text)
    except ValueError:
        return False
    return True

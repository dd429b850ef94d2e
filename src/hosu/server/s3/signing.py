"""What signer and verifier of AWS Signature Version 4 share, and the signer for hosu's own light clients."""

import hashlib
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from functools import lru_cache
from operator import itemgetter
from typing import Final, NamedTuple
from urllib.parse import quote_from_bytes, unquote_to_bytes

ALGORITHM: Final = b"AWS4-HMAC-SHA256"
UNSIGNED_PAYLOAD: Final = b"UNSIGNED-PAYLOAD"
EMPTY_SHA256: Final = hashlib.sha256(b"").hexdigest().encode()

REGION_CHARACTERS_MAX = 64
"""Longest region or service in a scope: scopes are keys of a cache, and anyone may send them."""

_HMAC_BLOCK_BYTES = 64
_DATE_LENGTH = len("20240131T235959Z")
_DAY_LENGTH = len("20240131")

_NEVER_SIGNED = frozenset({b"authorization", b"connection", b"expect", b"transfer-encoding", b"user-agent"})
"""Headers that proxies change or that only concern one hop."""


class SigningKey:
    """A key derived from a secret for one day, region and service.

    HMAC over states prepared once: half the cost of `hmac.digest` for the short messages signed here.
    """

    __slots__ = ("_inner", "_outer")

    def __init__(self, key: bytes) -> None:
        if len(key) > _HMAC_BLOCK_BYTES:
            key = hashlib.sha256(key).digest()
        padded = key.ljust(_HMAC_BLOCK_BYTES, b"\0")
        self._inner = hashlib.sha256(bytes(byte ^ 0x36 for byte in padded))
        self._outer = hashlib.sha256(bytes(byte ^ 0x5C for byte in padded))

    def digest(self, message: bytes) -> bytes:
        """Return HMAC-SHA256 of message, 32 bytes."""
        inner, outer = self._inner.copy(), self._outer.copy()
        inner.update(message)
        outer.update(inner.digest())
        return outer.digest()

    def sign(self, message: bytes) -> bytes:
        """Return HMAC-SHA256 of message, 64 hexadecimal digits."""
        return self.digest(message).hex().encode()


class Scope(NamedTuple):
    """A credential scope: `access_key/date/region/service/aws4_request`."""

    access_key: str
    date: bytes
    region: str
    service: str
    text: bytes
    """Without the access key."""


@lru_cache(maxsize=1024)
def signing_key(secret: str, date: bytes, region: str, service: str) -> SigningKey:
    """Derive the key that signs with secret on date (YYYYMMDD) for a region and service."""
    key = SigningKey(b"AWS4" + secret.encode())
    for part in (date, region.encode(), service.encode(), b"aws4_request"):
        key = SigningKey(key.digest(part))
    return key


def canonical_query(raw_query: bytes, *, by_name: bool = False) -> bytes:
    """Return the query with each name and value decoded, encoded once by S3's rules, and sorted.

    With `by_name` repeated names stay in the order sent, as clients written in Go sign them.
    """
    pairs = []
    for item in raw_query.split(b"&"):
        if item:
            name, _, value = item.replace(b"+", b" ").partition(b"=")
            pairs.append((_encoded(unquote_to_bytes(name), b""), _encoded(unquote_to_bytes(value), b"")))
    pairs.sort(key=itemgetter(0) if by_name else None)
    return b"&".join(name + b"=" + value for name, value in pairs)


def sorted_query(raw_query: bytes) -> bytes:
    """Return the query with its items sorted and otherwise as sent; a name alone gets its "="."""
    if b"&" not in raw_query:
        return raw_query if b"=" in raw_query or not raw_query else raw_query + b"="
    pairs = sorted([item.partition(b"=")[::2] for item in raw_query.split(b"&") if item])
    return b"&".join([name + b"=" + value for name, value in pairs])


def canonical_path(raw_path: bytes) -> bytes:
    """Return the path decoded and encoded once by S3's rules; "/" stays."""
    return _encoded(unquote_to_bytes(raw_path), b"/")


def canonical_request(method: bytes, path: bytes, query: bytes, header_block: bytes, payload_sha256: bytes) -> bytes:
    """Join canonical parts; header_block is "name:value" lines, an empty line, and the list of names."""
    return b"%b\n%b\n%b\n%b\n%b" % (method, path, query, header_block, payload_sha256)


def string_to_sign(request: bytes, amz_date: bytes, scope_text: bytes) -> bytes:
    """Return what the signing key signs for a canonical request."""
    digest = hashlib.sha256(request).hexdigest().encode()
    return b"AWS4-HMAC-SHA256\n%b\n%b\n%b" % (amz_date, scope_text, digest)


def parse_scope(credential: str) -> Scope:
    """Split a credential such as "AK/20240131/us-east-1/s3/aws4_request"; ValueError names what is wrong."""
    parts = credential.rsplit("/", 4)
    if len(parts) != len(Scope._fields):
        msg = 'the Credential is mal-formed; expecting "<YOUR-AKID>/YYYYMMDD/REGION/SERVICE/aws4_request".'
        raise ValueError(msg)
    access_key, date, region, service, terminator = parts
    if not access_key or not credential.isprintable():
        msg = "the Credential has no access key that can be read"
        raise ValueError(msg)
    if len(date) != _DAY_LENGTH or not (date.isascii() and date.isdigit()):
        msg = f'invalid credential date "{date}". It is not in the format "yyyyMMdd"'
        raise ValueError(msg)
    if len(region) > REGION_CHARACTERS_MAX or len(service) > REGION_CHARACTERS_MAX:
        msg = "the Credential's region or service is too long"
        raise ValueError(msg)
    if terminator != "aws4_request":
        msg = f'incorrect terminal "{terminator}". This endpoint uses "aws4_request".'
        raise ValueError(msg)
    return Scope(access_key, date.encode(), region, service, "/".join(parts[1:]).encode())


@lru_cache(maxsize=256)
def parse_date(text: bytes) -> tuple[bytes, int]:
    """Read a request's date, "20240131T235959Z" or an HTTP date, as (the first form, milliseconds since 1970).

    Raises ValueError or OverflowError.
    """
    if len(text) == _DATE_LENGTH and text[8:9] == b"T" and text[15:] == b"Z" and (text[:8] + text[9:15]).isdigit():
        moment = datetime.strptime(text.decode(), "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
        return text, int(moment.timestamp()) * 1000
    moment = parsedate_to_datetime(text[:64].decode("ascii"))
    moment = moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    date_ms = int(moment.timestamp()) * 1000
    return format_date(date_ms), date_ms


def format_date(now_ms: int) -> bytes:
    """Return a time as signatures spell it: "20240131T235959Z"."""
    moment = datetime.fromtimestamp(now_ms // 1000, UTC)
    return moment.strftime("%Y%m%dT%H%M%SZ").rjust(_DATE_LENGTH, "0").encode()


def sign_headers(
    method: str,
    raw_path: bytes,
    raw_query: bytes,
    headers: Mapping[bytes, bytes],
    access_key: str,
    secret: str,
    now_ms: int,
    *,
    region: str = "us-east-1",
    service: str = "s3",
    payload_sha256: bytes = UNSIGNED_PAYLOAD,
) -> dict[bytes, bytes]:
    """Return the headers to send: those given (lower-case names, `host` among them), dated and signed.

    `payload_sha256` is the body's hash in hexadecimal, or one of S3's words for bodies without one.
    """
    amz_date = format_date(now_ms)
    signed = dict(headers) | {b"x-amz-date": amz_date, b"x-amz-content-sha256": payload_sha256}
    block, names = _header_block(signed)
    scope = _scope_text(amz_date, region, service)
    request = canonical_request(
        method.encode(), canonical_path(raw_path), canonical_query(raw_query), block, payload_sha256
    )
    key = signing_key(secret, amz_date[:_DAY_LENGTH], region, service)
    signature = key.sign(string_to_sign(request, amz_date, scope))
    signed[b"authorization"] = b"AWS4-HMAC-SHA256 Credential=%b/%b, SignedHeaders=%b, Signature=%b" % (
        access_key.encode(),
        scope,
        names,
        signature,
    )
    return signed


def presign(
    method: str,
    raw_path: bytes,
    raw_query: bytes,
    headers: Mapping[bytes, bytes],
    access_key: str,
    secret: str,
    now_ms: int,
    *,
    expires_s: int,
    region: str = "us-east-1",
    service: str = "s3",
) -> bytes:
    """Return the query of a presigned URL, raw_query included; whoever uses it must send `headers` as given."""
    amz_date = format_date(now_ms)
    scope = _scope_text(amz_date, region, service)
    block, names = _header_block(headers)
    credential = quote_from_bytes(access_key.encode() + b"/" + scope, b"").encode()
    query = canonical_query(raw_query) + b"&" if raw_query else b""
    query += b"X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=%b&X-Amz-Date=%b&X-Amz-Expires=%d" % (
        credential,
        amz_date,
        expires_s,
    )
    query += b"&X-Amz-SignedHeaders=" + _encoded(names, b"")
    request = canonical_request(
        method.encode(), canonical_path(raw_path), canonical_query(query), block, UNSIGNED_PAYLOAD
    )
    key = signing_key(secret, amz_date[:_DAY_LENGTH], region, service)
    return query + b"&X-Amz-Signature=" + key.sign(string_to_sign(request, amz_date, scope))


def _header_block(headers: Mapping[bytes, bytes]) -> tuple[bytes, bytes]:
    assert b"host" in headers, "S3 refuses signatures that leave the host out"
    names = sorted(name for name in headers if name not in _NEVER_SIGNED)
    lines = b"".join(b"%b:%b\n" % (name, b" ".join(headers[name].split())) for name in names)
    joined = b";".join(names)
    return lines + b"\n" + joined, joined


def _scope_text(amz_date: bytes, region: str, service: str) -> bytes:
    return b"%b/%b/%b/aws4_request" % (amz_date[:_DAY_LENGTH], region.encode(), service.encode())


def _encoded(plain: bytes, safe: bytes) -> bytes:
    return quote_from_bytes(plain, safe).encode()

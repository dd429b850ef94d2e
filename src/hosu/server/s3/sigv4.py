"""AWS Signature Version 4: who sent a request, proven from its headers or from a presigned URL.

Pure functions over the request as it was sent. `verify` is what a server calls, for signatures of either
version; it runs for every request, so whatever repeats between requests of one client is computed once and
kept in bounded caches.

A signature is computed over a canonical form of the request. Clients differ in details of that form
(an unescaped "(" in a path, "+" for a space in a query), so the form as sent is tried first and the
normalised one after it. Either way the signature covers the whole path and query.
"""

from collections.abc import Mapping
from hmac import compare_digest

from hosu.server.s3 import sigv2
from hosu.server.s3.authorization import (
    SKEW_MS_MAX,
    SignedHeaders,
    read_authorization,
    read_credential,
    read_date,
    refuse_header,
    refuse_query,
    split_query,
)
from hosu.server.s3.request_errors import S3RequestError, signature_mismatch, unknown_access_key
from hosu.server.s3.signing import (
    UNSIGNED_PAYLOAD,
    Scope,
    SigningKey,
    canonical_path,
    canonical_query,
    canonical_request,
    format_date,
    parse_date,
    signing_key,
    sorted_query,
    string_to_sign,
)
from hosu.server.s3.verified import Credentials, PayloadKind, Verified

__all__ = ["PRESIGNED_SECONDS_MAX", "SKEW_MS_MAX", "Credentials", "PayloadKind", "Verified", "verify"]

PRESIGNED_SECONDS_MAX = 7 * 24 * 3600
"""Longest life of a presigned URL."""

_HASH_LENGTH = 64
"""Hexadecimal digits of a SHA-256, and of a signature."""

_EXPIRES_LENGTH_MAX = 12
"""No number of seconds anyone means is longer."""

_HEX_DIGITS = frozenset(b"0123456789abcdef")
_S3_SERVICE = frozenset({"s3"})

_PAYLOAD_KINDS = {kind.value.encode(): kind for kind in PayloadKind if kind is not PayloadKind.SIGNED_HASH}


def verify(
    method: str,
    raw_path: bytes,
    raw_query: bytes,
    headers: Mapping[bytes, bytes],
    credentials: Credentials,
    now_ms: int,
    *,
    region: str | None = None,
    services: frozenset[str] = _S3_SERVICE,
    virtual_bucket: str = "",
    payload_sha256: bytes | None = None,
) -> Verified | None:
    """Check the request's signature wherever it is; None when the request carries none (anonymous).

    `headers` has lower-case names, values stripped, duplicates joined with ",". `virtual_bucket` is the
    bucket when the host names it, not the path: version 2, which only S3 has, signs it. `payload_sha256` is the
    body's hash in hexadecimal, for protocols that sign it without sending it. Raises S3RequestError.
    """
    query = b"&" + raw_query
    by_query = b"&X-Amz-Algorithm=" in query or b"&X-Amz-Signature=" in query
    by_query_2 = b"&AWSAccessKeyId=" in query and "s3" in services
    authorization = headers.get(b"authorization")
    if authorization:
        if by_query or by_query_2:
            raise S3RequestError("InvalidArgument", "Only one auth mechanism allowed: query string or Authorization")
        if authorization[:4] == b"AWS " and "s3" in services:
            return sigv2.verify_header(
                method, raw_path, raw_query, headers, credentials, now_ms, virtual_bucket=virtual_bucket
            )
        return verify_header(
            method, raw_path, raw_query, headers, credentials, now_ms,
            region=region, services=services, payload_sha256=payload_sha256,
        )  # fmt: skip
    if by_query:
        return verify_query(method, raw_path, raw_query, headers, credentials, now_ms, region=region, services=services)
    if by_query_2:
        return sigv2.verify_query(
            method, raw_path, raw_query, headers, credentials, now_ms, virtual_bucket=virtual_bucket
        )
    return None


def verify_header(
    method: str,
    raw_path: bytes,
    raw_query: bytes,
    headers: Mapping[bytes, bytes],
    credentials: Credentials,
    now_ms: int,
    *,
    region: str | None = None,
    max_skew_ms: int = SKEW_MS_MAX,
    services: frozenset[str] = _S3_SERVICE,
    payload_sha256: bytes | None = None,
) -> Verified:
    """Check a signature in the Authorization header; arguments as `verify`."""
    scope, signed, signature = read_authorization(headers.get(b"authorization", b""))
    _check_scope(scope, region, services, "AuthorizationHeaderMalformed", "The authorization header is malformed")
    amz_date = read_date(headers, now_ms, max_skew_ms)
    if amz_date[:8] != scope.date:
        refuse_header(f'invalid credential date "{scope.date.decode()}". It is not the date of X-Amz-Date')
    payload_header = headers.get(b"x-amz-content-sha256", payload_sha256)
    if payload_header is None:
        raise S3RequestError("InvalidRequest", "Missing required header for this request: x-amz-content-sha256")
    _check_all_signed(headers, signed.name_set)
    block = _header_block(headers, signed)
    key = _match(method, raw_path, raw_query, block, payload_header, amz_date, scope, signature, credentials)
    token = headers.get(b"x-amz-security-token")
    return _verified(scope, payload_header, amz_date, signature, key, token, presigned=False)


def verify_query(
    method: str,
    raw_path: bytes,
    raw_query: bytes,
    headers: Mapping[bytes, bytes],
    credentials: Credentials,
    now_ms: int,
    *,
    region: str | None = None,
    max_skew_ms: int = SKEW_MS_MAX,
    services: frozenset[str] = _S3_SERVICE,
) -> Verified:
    """Check the signature of a presigned URL; arguments as `verify`."""
    auth, rest = split_query(raw_query)
    scope, signed = read_credential(auth[b"X-Amz-Algorithm"], auth[b"X-Amz-Credential"], auth[b"X-Amz-SignedHeaders"])
    signature = auth[b"X-Amz-Signature"]
    _check_scope(scope, region, services, "AuthorizationQueryParametersError", "Error parsing X-Amz-Credential")
    amz_date = _check_expiry(auth, scope, now_ms, max_skew_ms)
    _check_all_signed(headers, signed.name_set)
    payload_header = auth.get(b"X-Amz-Content-Sha256") or headers.get(b"x-amz-content-sha256") or UNSIGNED_PAYLOAD
    block = _header_block(headers, signed)
    key = _match(method, raw_path, rest, block, payload_header, amz_date, scope, signature, credentials)
    token = auth.get(b"X-Amz-Security-Token") or headers.get(b"x-amz-security-token")
    return _verified(scope, payload_header, amz_date, signature, key, token, presigned=True)


def _verified(
    scope: Scope,
    payload: bytes,
    amz_date: bytes,
    signature: bytes,
    key: SigningKey,
    token: bytes | None,
    *,
    presigned: bool,
) -> Verified:
    kind = _PAYLOAD_KINDS.get(payload)
    return Verified(
        scope.access_key,
        kind or PayloadKind.SIGNED_HASH,
        _checked_hash(payload) if kind is None else None,
        scope.text,
        amz_date,
        signature,
        key,
        presigned,
        None if token is None else token.decode("utf-8", "replace"),
    )


def _header_block(headers: Mapping[bytes, bytes], signed: SignedHeaders) -> bytes:
    values = tuple([headers.get(name, b"") for name in signed.names])
    block = signed.template % values
    if b"  " in block or b"\t" in block:
        block = signed.template % tuple([b" ".join(value.split()) for value in values])
    return block


def _match(
    method: str,
    raw_path: bytes,
    raw_query: bytes,
    header_block: bytes,
    payload: bytes,
    amz_date: bytes,
    scope: Scope,
    signature: bytes,
    credentials: Credentials,
) -> SigningKey:
    """Return the signing key under which some canonical form of the request has this signature."""
    secrets = credentials(scope.access_key)
    if not secrets:
        raise unknown_access_key(scope.access_key)
    keys = [signing_key(secret, scope.date, scope.region, scope.service) for secret in secrets]
    query = sorted_query(raw_query) if raw_query else b""
    request = canonical_request(method.encode(), raw_path, query, header_block, payload)
    message = string_to_sign(request, amz_date, scope.text)
    for key in keys:
        if compare_digest(key.sign(message), signature):
            return key
    for other_path in {raw_path, canonical_path(raw_path)}:
        for other_query in {query, canonical_query(raw_query), canonical_query(raw_query, by_name=True)}:
            other = canonical_request(method.encode(), other_path, other_query, header_block, payload)
            other_message = string_to_sign(other, amz_date, scope.text)
            for key in keys:
                if compare_digest(key.sign(other_message), signature):
                    return key
    raise signature_mismatch(
        access_key=scope.access_key,
        string_to_sign=message.decode("utf-8", "replace"),
        canonical_request=request.decode("utf-8", "replace"),
        signature_provided=signature.decode("utf-8", "replace"),
    )


def _check_scope(scope: Scope, region: str | None, services: frozenset[str], code: str, prefix: str) -> None:
    if region is not None and scope.region != region:
        message = f"{prefix}; the region '{scope.region}' is wrong; expecting '{region}'"
        raise S3RequestError(code, message, region=region)
    if scope.service not in services:
        expected = " or ".join(sorted(services))
        raise S3RequestError(
            code, f'{prefix}; incorrect service "{scope.service}". This endpoint belongs to {expected}'
        )


def _check_all_signed(headers: Mapping[bytes, bytes], signed: frozenset[bytes]) -> None:
    for name in headers:
        if name[:6] == b"x-amz-" and name not in signed:
            unsigned = [other.decode("latin-1") for other in headers if other[:6] == b"x-amz-" and other not in signed]
            raise S3RequestError(
                "AccessDenied",
                f"There were headers present in the request which were not signed: {', '.join(unsigned)}",
                headers_not_signed=", ".join(unsigned),
            )


def _checked_hash(payload: bytes) -> str:
    lowered = payload.lower()
    if len(payload) != _HASH_LENGTH or not _HEX_DIGITS.issuperset(lowered):
        words = ", ".join(kind.decode() for kind in _PAYLOAD_KINDS)
        raise S3RequestError(
            "InvalidArgument",
            f"x-amz-content-sha256 must be {words} or a SHA-256 in hexadecimal; "
            f"got {payload[:_HASH_LENGTH].decode('latin-1')!r}",
        )
    return lowered.decode()


def _check_expiry(auth: Mapping[bytes, bytes], scope: Scope, now_ms: int, max_skew_ms: int) -> bytes:
    expires = auth[b"X-Amz-Expires"]
    if len(expires) > _EXPIRES_LENGTH_MAX or not expires.removeprefix(b"-").isdigit():
        refuse_query("X-Amz-Expires should be a number")
    expires_s = int(expires)
    try:
        amz_date, date_ms = parse_date(auth[b"X-Amz-Date"])
    except (ValueError, OverflowError):
        refuse_query("X-Amz-Date must be in the ISO8601 Long Format \"yyyyMMdd'T'HHmmss'Z'\"")
    if expires_s < 0:
        refuse_query("X-Amz-Expires must be non-negative")
    if expires_s > PRESIGNED_SECONDS_MAX:
        refuse_query(
            f"X-Amz-Expires must be less than a week (in seconds); that is, less than {PRESIGNED_SECONDS_MAX} seconds"
        )
    if amz_date[:8] != scope.date:
        refuse_query(f'Invalid credential date "{scope.date.decode()}". It is not the date of X-Amz-Date')
    if date_ms - now_ms > max_skew_ms:
        raise S3RequestError("AccessDenied", "Request is not yet valid", server_time=format_date(now_ms).decode())
    if expires_s == 0 or now_ms > date_ms + expires_s * 1000:
        raise S3RequestError(
            "AccessDenied",
            "Request has expired",
            expires=format_date(date_ms + expires_s * 1000).decode(),
            server_time=format_date(now_ms).decode(),
        )
    return amz_date

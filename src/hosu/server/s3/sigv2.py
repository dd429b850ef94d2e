"""AWS Signature Version 2 for S3: an HMAC-SHA1 that clients still make, boto3's presigned URLs among them.

Pure functions over the request as it was sent; `hosu.server.s3.sigv4.verify` calls them. The signature covers
the method, Content-MD5, Content-Type, the date, all x-amz- headers, the path, and of the query only the
parameters in SUB_RESOURCES. It does not cover the body.
"""

import hmac
from base64 import b64encode
from collections.abc import Iterator, Mapping
from typing import NoReturn
from urllib.parse import unquote_to_bytes

from hosu.server.s3.authorization import SKEW_MS_MAX, read_date
from hosu.server.s3.request_errors import S3RequestError, signature_mismatch, unknown_access_key
from hosu.server.s3.signing import canonical_path, format_date, signing_key
from hosu.server.s3.verified import Credentials, PayloadKind, Verified

SUB_RESOURCES = frozenset(
    b"accelerate acl analytics attributes cors defaultObjectAcl delete encryption intelligent-tiering inventory "
    b"legal-hold lifecycle location logging metadataTable metrics notification object-lock ownershipControls "
    b"partNumber policy policyStatus publicAccessBlock renameObject replication requestPayment "
    b"response-cache-control response-content-disposition response-content-encoding response-content-language "
    b"response-content-type response-expires restore retention select select-type session storageClass tagging "
    b"torrent uploadId uploads versionId versioning versions website".split()
)
"""Query parameters that are signed: all that decide what is done, so that no others can be added to a URL."""

_EXPIRES_LENGTH_MAX = 18
_REQUIRED_PARAMETERS = (b"AWSAccessKeyId", b"Expires", b"Signature")
_TOKEN_HEADER = b"x-amz-security-token"


def verify_header(
    method: str,
    raw_path: bytes,
    raw_query: bytes,
    headers: Mapping[bytes, bytes],
    credentials: Credentials,
    now_ms: int,
    *,
    virtual_bucket: str = "",
    max_skew_ms: int = SKEW_MS_MAX,
) -> Verified:
    """Check "Authorization: AWS KEY:SIGNATURE"; arguments as `sigv4.verify`, raises S3RequestError."""
    access_key, signature = _read_authorization(headers.get(b"authorization", b""))
    read_date(headers, now_ms, max_skew_ms)
    # With x-amz-date the documented form has no date of its own; botocore signs the Date it sends even then.
    dates = [headers.get(b"date", b"")]
    if b"x-amz-date" in headers and dates[0]:
        dates.append(b"")
    forms = _signed_forms(method, dates, headers, raw_path, raw_query, virtual_bucket)
    secret = _match(forms, access_key, signature, credentials)
    return _verified(access_key, secret, signature, headers, headers.get(_TOKEN_HEADER), presigned=False)


def verify_query(
    method: str,
    raw_path: bytes,
    raw_query: bytes,
    headers: Mapping[bytes, bytes],
    credentials: Credentials,
    now_ms: int,
    *,
    virtual_bucket: str = "",
) -> Verified:
    """Check a URL presigned with AWSAccessKeyId, Expires and Signature; arguments as `sigv4.verify`."""
    auth = _read_parameters(raw_query)
    access_key = auth[b"AWSAccessKeyId"].decode("utf-8", "replace")
    expires, signature = auth[b"Expires"], auth[b"Signature"]
    _check_expiry(expires, now_ms)
    signed = dict(headers)
    if _TOKEN_HEADER in auth:
        # The one header that a URL may carry in place of the request: a token only says more of who signed.
        signed.setdefault(_TOKEN_HEADER, auth[_TOKEN_HEADER])
    forms = _signed_forms(method, [expires], signed, raw_path, raw_query, virtual_bucket)
    secret = _match(forms, access_key, signature, credentials)
    return _verified(access_key, secret, signature, headers, signed.get(_TOKEN_HEADER), presigned=True)


def string_to_sign(method: str, date: bytes, headers: Mapping[bytes, bytes], resource: bytes) -> bytes:
    """Return what is signed: `date` is the Date header or the Expires parameter, headers have lower-case names."""
    amz_headers = b"".join(b"%b:%b\n" % (name, headers[name]) for name in sorted(headers) if name[:6] == b"x-amz-")
    return b"%b\n%b\n%b\n%b\n%b%b" % (
        method.encode(),
        headers.get(b"content-md5", b""),
        headers.get(b"content-type", b""),
        date,
        amz_headers,
        resource,
    )


def sign(secret: str, message: bytes) -> bytes:
    """Return the HMAC-SHA1 of a string to sign, in base64."""
    return b64encode(hmac.digest(secret.encode(), message, "sha1"))


def _verified(
    access_key: str,
    secret: str,
    signature: bytes,
    headers: Mapping[bytes, bytes],
    token: bytes | None,
    *,
    presigned: bool,
) -> Verified:
    if headers.get(b"x-amz-content-sha256", b"").startswith(b"STREAMING-"):
        raise S3RequestError("InvalidRequest", "An aws-chunked body needs a request signed with AWS4-HMAC-SHA256")
    return Verified(
        access_key,
        PayloadKind.UNSIGNED,
        None,
        b"",
        b"",
        signature,
        # No chunk is signed in this version; should one ask for the key, only the secret's holder has it.
        signing_key(secret, b"", "", "s3"),
        presigned,
        None if token is None else token.decode("utf-8", "replace"),
    )


def _match(forms: Iterator[bytes], access_key: str, signature: bytes, credentials: Credentials) -> str:
    """Return the secret under which some form of the request has this signature."""
    secrets = credentials(access_key)
    if not secrets:
        raise unknown_access_key(access_key)
    first = None
    for form in forms:
        first = form if first is None else first
        for secret in secrets:
            if hmac.compare_digest(sign(secret, form), signature):
                return secret
    raise signature_mismatch(
        access_key,
        string_to_sign=(first or b"").decode("utf-8", "replace"),
        signature_provided=signature.decode("utf-8", "replace"),
    )


def _signed_forms(
    method: str,
    dates: list[bytes],
    headers: Mapping[bytes, bytes],
    raw_path: bytes,
    raw_query: bytes,
    virtual_bucket: str,
) -> Iterator[bytes]:
    """Yield the strings that clients sign for this one request, each of which says all of it."""
    paths = [raw_path]
    if not virtual_bucket and raw_path.count(b"/") == 1 and raw_path != b"/":
        # A bucket is signed with its "/" by those who know it from a host's name, botocore among them.
        paths.append(raw_path + b"/")
    paths += [normal for normal in map(canonical_path, list(paths)) if normal not in paths]
    prefix = b"/" + virtual_bucket.encode() if virtual_bucket else b""
    queries = _canonical_queries(raw_query)
    for date in dates:
        for path in paths:
            for query in queries:
                yield string_to_sign(method, date, headers, prefix + path + query)


def _canonical_queries(raw_query: bytes) -> list[bytes]:
    """Return the signed part of a query, decoded and ordered by name, with its "?"; no form when it is ambiguous.

    Clients send "uploads=" and sign either that or "uploads".
    """
    items = []
    for item in raw_query.split(b"&"):
        name, equals, value = item.replace(b"+", b" ").partition(b"=")
        # Names count as they are read later: an escape must not hide one from the signature.
        name = unquote_to_bytes(name)
        if name in SUB_RESOURCES:
            items.append((name, equals, unquote_to_bytes(value)))
    if not items:
        return [b""]
    items.sort(key=lambda item: item[0])
    sent = b"&".join([name + equals + value for name, equals, value in items])
    # Values are signed decoded: one with "&versionId=7" in it reads as a parameter more.
    if sum(piece.partition(b"=")[0] in SUB_RESOURCES for piece in sent.split(b"&")) != len(items):
        return []
    bare = b"&".join([name + (equals + value if value else b"") for name, equals, value in items])
    return [b"?" + sent] if bare == sent else [b"?" + sent, b"?" + bare]


def _read_authorization(authorization: bytes) -> tuple[str, bytes]:
    access_key, colon, signature = authorization.removeprefix(b"AWS ").strip().rpartition(b":")
    if not access_key or not colon or not signature or b" " in authorization[4:].strip():
        raise S3RequestError(
            "InvalidArgument", "AWS authorization header is invalid. Expected AwsAccessKeyId:signature"
        )
    return access_key.decode("utf-8", "replace"), signature


def _read_parameters(raw_query: bytes) -> dict[bytes, bytes]:
    auth: dict[bytes, bytes] = {}
    for item in raw_query.split(b"&"):
        name, _, value = item.partition(b"=")
        if name in _REQUIRED_PARAMETERS or name == _TOKEN_HEADER:
            if name in auth:
                _deny(f"{name.decode()} is given twice")
            # A "+" is one of base64's digits, which some clients leave unescaped.
            auth[name] = unquote_to_bytes(value)
    if not all(auth.get(name) for name in _REQUIRED_PARAMETERS):
        _deny("Query-string authentication requires the Signature, Expires and AWSAccessKeyId parameters")
    return auth


def _check_expiry(expires: bytes, now_ms: int) -> None:
    if len(expires) > _EXPIRES_LENGTH_MAX or not expires.isdigit():
        _deny("Invalid date (should be seconds since epoch)")
    expires_ms = int(expires) * 1000
    if now_ms > expires_ms:
        _deny("Request has expired", expires=format_date(expires_ms).decode(), server_time=format_date(now_ms).decode())


def _deny(why: str, **details: str) -> NoReturn:
    raise S3RequestError("AccessDenied", why, **details)

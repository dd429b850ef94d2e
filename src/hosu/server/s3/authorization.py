"""What a request says about its own signature: the Authorization header, or a presigned URL's parameters."""

from collections.abc import Mapping
from functools import lru_cache
from typing import NamedTuple, NoReturn
from urllib.parse import unquote_to_bytes

from hosu.server.s3.request_errors import S3RequestError
from hosu.server.s3.signing import ALGORITHM, Scope, format_date, parse_date, parse_scope

SKEW_MS_MAX = 15 * 60 * 1000
"""How far a client's clock may be off, either way, as S3 has it."""

_CACHED_BYTES_MAX = 1024
"""Longer inputs are parsed again each time: the caches' memory is bounded whatever clients send."""

_SIGNATURE_LENGTH = 64
_REQUIRED_PARAMETERS = (b"Algorithm", b"Credential", b"Date", b"Expires", b"SignedHeaders", b"Signature")


class SignedHeaders(NamedTuple):
    """The headers a signature covers, in the order it has them."""

    names: tuple[bytes, ...]
    name_set: frozenset[bytes]
    template: bytes
    """Canonical headers and the list of their names, a %b for each value."""


def read_authorization(authorization: bytes) -> tuple[Scope, SignedHeaders, bytes]:
    """Read an Authorization header as (scope, signed headers, signature)."""
    head, _, signature = authorization.rpartition(b"Signature=")
    if len(signature) != _SIGNATURE_LENGTH:
        head, signature = _reorder(authorization)
    # All but the signature is the same in a client's requests of a day.
    scope, signed = (_parse_head if len(head) <= _CACHED_BYTES_MAX else _parse_head.__wrapped__)(head)
    return scope, signed, signature


def read_credential(algorithm: bytes, credential: bytes, signed_headers: bytes) -> tuple[Scope, SignedHeaders]:
    """Read the parameters of a presigned URL that are the same in many."""
    short = len(credential) + len(signed_headers) <= _CACHED_BYTES_MAX
    return (_parse_credential if short else _parse_credential.__wrapped__)(algorithm, credential, signed_headers)


def split_query(raw_query: bytes) -> tuple[dict[bytes, bytes], bytes]:
    """Return the decoded X-Amz-* parameters, and the query that was signed: all of it but the signature."""
    auth: dict[bytes, bytes] = {}
    rest = []
    for item in raw_query.split(b"&"):
        name, _, value = item.partition(b"=")
        if name[:6] == b"X-Amz-":
            if name in auth:
                refuse_query(f"{name.decode('latin-1')} is given twice")
            auth[name] = unquote_to_bytes(value)
        if name != b"X-Amz-Signature":
            rest.append(item)
    for required in _REQUIRED_PARAMETERS:
        if b"X-Amz-" + required not in auth:
            refuse_query(
                "Query-string authentication version 4 requires the X-Amz-Algorithm, X-Amz-Credential, "
                "X-Amz-Signature, X-Amz-Date, X-Amz-SignedHeaders, and X-Amz-Expires parameters."
            )
    return auth, b"&".join(rest)


def read_date(headers: Mapping[bytes, bytes], now_ms: int, max_skew_ms: int) -> bytes:
    """Return a request's date as "20240131T235959Z"; x-amz-date counts where it is given, even when empty.

    Raises AccessDenied without a date that can be read, RequestTimeTooSkewed when it is not about now.
    """
    text = headers.get(b"x-amz-date", headers.get(b"date", b""))
    try:
        amz_date, date_ms = parse_date(text)
    except (ValueError, OverflowError) as problem:
        message = "AWS authentication requires a valid Date or x-amz-date header"
        raise S3RequestError("AccessDenied", message) from problem
    if date_ms < 0:
        raise S3RequestError("AccessDenied", "AWS authentication requires a date after 1970")
    if abs(now_ms - date_ms) > max_skew_ms:
        raise S3RequestError(
            "RequestTimeTooSkewed",
            "The difference between the request time and the current time is too large.",
            request_time=amz_date.decode(),
            server_time=format_date(now_ms).decode(),
            max_allowed_skew_ms=max_skew_ms,
        )
    return amz_date


@lru_cache(maxsize=1024)
def _parse_head(head: bytes) -> tuple[Scope, SignedHeaders]:
    """Read what precedes "Signature=" in an Authorization header."""
    scheme, _, rest = head.partition(b" ")
    if scheme != ALGORITHM:
        _refuse_scheme()
    fields = dict[bytes, bytes]()
    for item in rest.split(b","):
        name, _, value = item.strip().partition(b"=")
        if name in fields:
            refuse_header(f"{name.decode(errors='replace')} is given twice")
        if name:
            fields[name] = value
    for name in (b"Credential", b"SignedHeaders"):
        if name not in fields:
            refuse_header(f"the authorization header requires three components: {name.decode()} is missing")
    try:
        return parse_scope(fields[b"Credential"].decode()), _parse_signed_headers(fields[b"SignedHeaders"])
    except ValueError as problem:
        refuse_header(str(problem))


def _reorder(authorization: bytes) -> tuple[bytes, bytes]:
    """Bring an Authorization header whose signature is not last, or not whole, into the usual order."""
    scheme, _, rest = authorization.partition(b" ")
    if scheme != ALGORITHM:
        _refuse_scheme()
    items = [item.strip() for item in rest.split(b",")]
    signatures = [item for item in items if item.startswith(b"Signature=")]
    if len(signatures) != 1:
        refuse_header("the authorization header requires three components: Signature is missing")
    others = [item for item in items if not item.startswith(b"Signature=")]
    return scheme + b" " + b", ".join(others), signatures[0].removeprefix(b"Signature=")


def _parse_signed_headers(text: bytes) -> SignedHeaders:
    names = tuple(text.split(b";"))
    name_set = frozenset(names)
    if text != text.lower() or b"" in name_set or len(name_set) != len(names):
        msg = "SignedHeaders is a list of different lower-case header names joined by ';'"
        raise ValueError(msg)
    if b"host" not in name_set:
        msg = "the host header must be signed: SignedHeaders lacks it"
        raise ValueError(msg)
    template = b"".join(name.replace(b"%", b"%%") + b":%b\n" for name in names)
    return SignedHeaders(names, name_set, template + b"\n" + text.replace(b"%", b"%%"))


@lru_cache(maxsize=1024)
def _parse_credential(algorithm: bytes, credential: bytes, signed_headers: bytes) -> tuple[Scope, SignedHeaders]:
    if algorithm != ALGORITHM:
        refuse_query("X-Amz-Algorithm only supports AWS4-HMAC-SHA256")
    try:
        return parse_scope(credential.decode()), _parse_signed_headers(signed_headers)
    except ValueError as problem:
        refuse_query(f"Error parsing the X-Amz-Credential or X-Amz-SignedHeaders parameter; {problem}")


def refuse_header(what: str) -> NoReturn:
    """Raise AuthorizationHeaderMalformed."""
    raise S3RequestError("AuthorizationHeaderMalformed", f"The authorization header is malformed; {what}")


def refuse_query(what: str) -> NoReturn:
    """Raise AuthorizationQueryParametersError."""
    raise S3RequestError("AuthorizationQueryParametersError", what)


def _refuse_scheme() -> NoReturn:
    raise S3RequestError("InvalidArgument", "Unsupported Authorization Type: sign with AWS4-HMAC-SHA256")

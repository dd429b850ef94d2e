"""CORS: a bucket's rules, preflight requests, and the headers that let a browser read an answer."""

import re
from fnmatch import fnmatchcase
from typing import NamedTuple
from xml.etree.ElementTree import Element

import msgspec

from hosu.kernel.errors import HosuError
from hosu.kernel.limits import KIB
from hosu.objects.buckets import get_document
from hosu.server.http import Headers, Response
from hosu.server.s3.call import Call
from hosu.server.s3.headers import parse_number
from hosu.server.s3.payload import read_document, set_bucket_document
from hosu.server.s3.request_errors import S3RequestError
from hosu.server.s3.xml_read import parse, text
from hosu.server.s3.xml_write import element, empty_response, xml_response

CORS_BYTES_MAX = 64 * KIB
RULES_MAX = 100
KIND = "cors"
_HEADER_PATTERN = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+", re.ASCII)
_METHODS = frozenset({"GET", "PUT", "HEAD", "POST", "DELETE"})


class Rule(msgspec.Struct, frozen=True, omit_defaults=True):
    """One CORS rule of a bucket."""

    origins: list[str]
    methods: list[str]
    headers: list[str] = []
    exposed: list[str] = []
    max_age_s: int | None = None
    id: str = ""


class Wish(NamedTuple):
    """What a browser asks for: its page's origin, the method, and the headers it wants to send."""

    origin: str
    method: str
    headers: list[str]


def _list(parent: Element, name: str) -> list[str]:
    return [(item.text or "").strip() for item in parent.findall(name)]


def _parse_rule(item: Element) -> Rule:
    origins, methods, headers = _list(item, "AllowedOrigin"), _list(item, "AllowedMethod"), _list(item, "AllowedHeader")
    if not origins or not methods:
        raise S3RequestError("MalformedXML", "A CORSRule needs an AllowedOrigin and an AllowedMethod")
    for method in methods:
        if method not in _METHODS:
            raise S3RequestError(
                "InvalidRequest", f"Found unsupported HTTP method in CORS config. Unsupported method is {method}"
            )
    for pattern in origins + headers:
        if pattern.count("*") > 1:
            raise S3RequestError("InvalidRequest", f'"{pattern}" can not have more than one wildcard.')
    exposed, name = _list(item, "ExposeHeader"), text(item, "ID") or ""
    for header in headers + exposed:
        if not _HEADER_PATTERN.fullmatch(header):
            raise S3RequestError("InvalidRequest", f"{header!r} is no name of a header")
    if any(not origin.isprintable() for origin in [*origins, name]):
        raise S3RequestError("InvalidRequest", "Origins and IDs of CORS rules have no control characters")
    age = text(item, "MaxAgeSeconds")
    age_s = None if age is None else parse_number(age.strip())
    if age is not None and age_s is None:
        raise S3RequestError("MalformedXML", "MaxAgeSeconds must be a number")
    return Rule(origins, methods, headers, exposed, age_s, name)


async def put_cors(call: Call) -> Response:
    """PutBucketCors."""
    root = parse(await read_document(call, CORS_BYTES_MAX), "CORSConfiguration")
    rules = [_parse_rule(item) for item in root.findall("CORSRule")]
    if not 0 < len(rules) <= RULES_MAX:
        raise S3RequestError("MalformedXML", f"A CORS configuration has 1 to {RULES_MAX} rules, not {len(rules)}")
    body = msgspec.json.encode(rules).decode()
    await set_bucket_document(call, KIND, body)
    return empty_response(call.request.request_id)


async def delete_cors(call: Call) -> Response:
    """DeleteBucketCors."""
    await set_bucket_document(call, KIND, None)
    return empty_response(call.request.request_id, status=204)


def _rules(call: Call) -> list[Rule] | None:
    body = get_document(call.engine.store.view(), call.bucket, KIND)
    return None if body is None else msgspec.json.decode(body, type=list[Rule])


def get_cors(call: Call) -> Response:
    """GetBucketCors."""
    rules = _rules(call)
    if rules is None:
        raise S3RequestError("NoSuchCORSConfiguration", "The CORS configuration does not exist", bucket=call.bucket)
    inner = ""
    for rule in rules:
        row = element("ID", rule.id) if rule.id else ""
        row += "".join(element("AllowedOrigin", origin) for origin in rule.origins)
        row += "".join(element("AllowedMethod", method) for method in rule.methods)
        row += "".join(element("AllowedHeader", header) for header in rule.headers)
        row += "".join(element("ExposeHeader", header) for header in rule.exposed)
        row += element("MaxAgeSeconds", rule.max_age_s) if rule.max_age_s is not None else ""
        inner += f"<CORSRule>{row}</CORSRule>"
    return xml_response(call.request.request_id, "CORSConfiguration", inner)


def preflight(call: Call) -> Response:
    """Answer a browser that asks whether a page may send a request. Asked without a signature."""
    origin, method = call.header(b"origin"), call.header(b"access-control-request-method")
    if not origin or not method:
        raise S3RequestError("BadRequest", "Insufficient information. Origin and request method headers are needed.")
    asked = call.header(b"access-control-request-headers") or ""
    wish = Wish(origin, method, [name.strip().lower() for name in asked.split(",") if name.strip()])
    for rule in _rules(call) or []:
        if _allows(rule, wish):
            headers = _granted(rule, wish)
            if wish.headers:
                headers.append((b"Access-Control-Allow-Headers", ", ".join(wish.headers).encode()))
            return empty_response(call.request.request_id, *headers)
    raise S3RequestError("CORSForbidden", "CORSResponse: This CORS request is not allowed.")


def response_headers(call: Call) -> Headers:
    """Return the headers that let the page of a request's origin read its answer; none where no rule allows it.

    A preflight has them from its own answer: given twice, browsers refuse them.
    """
    origin = call.header(b"origin")
    if origin is None or not call.bucket or call.request.method == "OPTIONS":
        return []
    try:
        rules = _rules(call)
    except HosuError:
        return []
    wish = Wish(origin, call.header(b"access-control-request-method") or call.request.method, [])
    for rule in rules or []:
        if _allows(rule, wish):
            return _granted(rule, wish)
    return []


def _allows(rule: Rule, wish: Wish) -> bool:
    if wish.method not in rule.methods or not any(_is_like(wish.origin, pattern) for pattern in rule.origins):
        return False
    return all(any(_is_like(name, pattern.lower()) for pattern in rule.headers) for name in wish.headers)


def _is_like(value: str, pattern: str) -> bool:
    return fnmatchcase(value, pattern.replace("[", "[[]").replace("?", "[?]"))


def _granted(rule: Rule, wish: Wish) -> Headers:
    any_origin = "*" in rule.origins
    headers: Headers = [
        (b"Access-Control-Allow-Origin", b"*" if any_origin else wish.origin.encode()),
        (b"Access-Control-Allow-Methods", ", ".join(rule.methods).encode()),
        (b"Vary", b"Origin, Access-Control-Request-Headers, Access-Control-Request-Method"),
    ]
    if not any_origin:
        headers.append((b"Access-Control-Allow-Credentials", b"true"))
    if rule.exposed:
        headers.append((b"Access-Control-Expose-Headers", ", ".join(rule.exposed).encode()))
    if rule.max_age_s is not None:
        headers.append((b"Access-Control-Max-Age", str(rule.max_age_s).encode()))
    return headers

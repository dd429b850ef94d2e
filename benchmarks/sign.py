"""Request heads signed with SigV4, built fast: the signing key of the day is derived once, then two hashes a request.

Bodies stay outside the signature (`UNSIGNED-PAYLOAD`), so one head may be sent with ever new bodies.
"""

import datetime as dt
import hashlib
import hmac
from collections.abc import Iterable
from urllib.parse import quote

ALGORITHM = "AWS4-HMAC-SHA256"
SIGNED_HEADERS = "host;x-amz-content-sha256;x-amz-date"
PAYLOAD = "UNSIGNED-PAYLOAD"
UNRESERVED = "-_.~"

SIGNATURE_SECONDS_MAX = 15 * 60
"""Servers refuse a date further away than this, so a signer serves one job and is then thrown away."""


def _hmac(key: bytes, text: str) -> bytes:
    return hmac.digest(key, text.encode(), "sha256")


class Signer:
    """Signs heads for one host and one moment."""

    def __init__(
        self,
        host: str,
        access: str,
        secret: str,
        *,
        region: str = "us-east-1",
        at: dt.datetime | None = None,
    ) -> None:
        moment = at or dt.datetime.now(dt.UTC)
        self._date = moment.strftime("%Y%m%dT%H%M%SZ")
        day = self._date[:8]
        self._scope = f"{day}/{region}/s3/aws4_request"
        self._host = host
        self._credential = f"{access}/{self._scope}"
        key = f"AWS4{secret}".encode()
        for part in (day, region, "s3", "aws4_request"):
            key = _hmac(key, part)
        self._key = key
        self._canonical_headers = f"host:{host}\nx-amz-content-sha256:{PAYLOAD}\nx-amz-date:{self._date}\n"

    def head(
        self, method: str, path: str, query: Iterable[tuple[str, str]] = (), *, content_bytes: int | None = None
    ) -> bytes:
        """Return the whole head of a request, blank line included.

        `path` is /bucket/key before percent-encoding; `content_bytes` becomes Content-Length when given.
        """
        uri = quote(path, safe="/" + UNRESERVED)
        pairs = sorted((quote(name, safe=UNRESERVED), quote(value, safe=UNRESERVED)) for name, value in query)
        sent_query = "&".join(f"{name}={value}" for name, value in pairs)
        canonical = f"{method}\n{uri}\n{sent_query}\n{self._canonical_headers}\n{SIGNED_HEADERS}\n{PAYLOAD}"
        digest = hashlib.sha256(canonical.encode()).hexdigest()
        text = f"{ALGORITHM}\n{self._date}\n{self._scope}\n{digest}"
        signature = _hmac(self._key, text).hex()
        target = f"{uri}?{sent_query}" if sent_query else uri
        length = "" if content_bytes is None else f"Content-Length: {content_bytes}\r\n"
        return (
            f"{method} {target} HTTP/1.1\r\nHost: {self._host}\r\n{length}x-amz-date: {self._date}\r\n"
            f"x-amz-content-sha256: {PAYLOAD}\r\nAuthorization: {ALGORITHM} Credential={self._credential}, "
            f"SignedHeaders={SIGNED_HEADERS}, Signature={signature}\r\n\r\n"
        ).encode()

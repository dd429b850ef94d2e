"""MinIO's admin clients: minio-py's own, and requests as `mc admin` sends them, down to the framing."""

import hashlib
import http.client
import json
from collections.abc import Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any, TypeAlias
from urllib.parse import urlencode, urlsplit

import pytest
from minio import MinioAdmin, crypto, time
from minio.credentials.credentials import Credentials
from minio.credentials.providers import StaticProvider
from minio.error import MinioAdminException
from minio.signer import sign_v4_s3
from tests.support.server import Endpoint

ADMIN = "/minio/admin/v3/"
KMS = "/minio/kms/v1/"

AdminClient: TypeAlias = Any
"""minio-py has no type information."""


def admin_client(endpoint: Endpoint, access_key: str = "", secret: str = "", token: str | None = None) -> AdminClient:
    """Return minio-py's admin client as its users make it; root's, unless others' keys are given."""
    provider = StaticProvider(access_key or endpoint.access_key, secret or endpoint.secret_key, token)
    return MinioAdmin(endpoint=endpoint.host, credentials=provider, secure=False)


@contextmanager
def admin_refused(code: str, status: int) -> Any:
    """Hold the block to a code and status of the admin API, in the document that clients read."""
    with pytest.raises(MinioAdminException) as refusal:
        yield refusal
    error: Any = refusal.value
    document = json.loads(error._body)
    assert (document["Code"], error._code) == (code, str(status)), document
    assert document["Message"]
    assert document["RequestId"]


def policy_of(*statements: Mapping[str, Any]) -> dict[str, Any]:
    """Return a policy document."""
    return {"Version": "2012-10-17", "Statement": [{"Effect": "Allow"} | dict(statement) for statement in statements]}


@dataclass(frozen=True)
class RawAnswer:
    """An answer as it came."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    secret: str

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def code(self) -> str:
        return str(self.json["Code"])

    def opened(self) -> Any:
        """Return the JSON inside an encrypted answer."""
        return json.loads(self.opened_bytes())

    def opened_bytes(self) -> bytes:
        from hosu.server.minio_admin.container import unseal

        return unseal(self.body, self.secret)


class RawAdmin:
    """Sends what `mc admin` sends: an empty region, and chunks without a byte where there is no body."""

    def __init__(self, endpoint: Endpoint, access_key: str = "", secret: str = "", token: str = "") -> None:
        self._host = urlsplit(endpoint.url).netloc
        self._url = endpoint.url
        self.access_key = access_key or endpoint.access_key
        self.secret = secret or endpoint.secret_key
        self.token = token

    def send(
        self,
        method: str,
        path: str,
        query: Mapping[str, Any] | str = "",
        body: bytes = b"",
        *,
        sealed: bool = False,
        headers: Mapping[str, str] | None = None,
        date: datetime | None = None,
        region: str = "",
        framing: str = "",
        signed_body: bytes | None = None,
    ) -> RawAnswer:
        """Send one request. `framing` is "chunked", "length" or "none"; mc's own choice unless it is given.

        `signed_body` is what the signature says of the body, where that is not the truth.
        """
        path, bare, _ = path.partition("?")
        target = path if path.startswith("/") else ADMIN + path
        text = query if isinstance(query, str) else urlencode(query, doseq=True)
        if sealed:
            body = crypto.encrypt(body, self.secret)
        framing = framing or ("length" if body else "chunked" if method in {"PUT", "POST"} else "none")
        wire = self.signed(method, target, text, body if signed_body is None else signed_body, headers, date, region)
        connection = http.client.HTTPConnection(self._host, timeout=20)
        try:
            asked = target + ("?" + text if text or bare else "")
            connection.putrequest(method, asked, skip_host=True, skip_accept_encoding=True)
            for name, value in wire.items():
                connection.putheader(name, value)
            if framing == "chunked":
                connection.putheader("Transfer-Encoding", "chunked")
            elif framing == "length":
                connection.putheader("Content-Length", str(len(body)))
            connection.endheaders()
            if framing == "chunked":
                connection.send((b"%x\r\n%b\r\n" % (len(body), body) if body else b"") + b"0\r\n\r\n")
            elif body:
                connection.send(body)
            response = connection.getresponse()
            found = {name.lower(): value for name, value in response.getheaders()}
            return RawAnswer(response.status, found, response.read(), self.secret)
        finally:
            connection.close()

    def signed(
        self,
        method: str,
        path: str,
        query: str,
        body: bytes,
        headers: Mapping[str, str] | None = None,
        date: datetime | None = None,
        region: str = "",
    ) -> dict[str, str]:
        """Return signed headers, by minio-py's signer."""
        moment = date or time.utcnow()
        digest = hashlib.sha256(body).hexdigest()
        given: dict[str, Any] = {"Host": self._host, "x-amz-content-sha256": digest}
        given["x-amz-date"] = time.to_amz_date(moment)
        if self.token:
            given["X-Amz-Security-Token"] = self.token
        signed: Any = sign_v4_s3(
            method=method,
            url=urlsplit(f"{self._url}{path}" + ("?" + query if query else "")),
            region=region,
            headers=given | dict(headers or {}),
            credentials=Credentials(self.access_key, self.secret),
            content_sha256=digest,
            date=moment,
        )
        return dict(signed)

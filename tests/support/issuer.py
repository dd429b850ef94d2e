"""A small OpenID Connect issuer on loopback: its discovery document, its keys, and whatever tokens a test wants."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from jwt.algorithms import ECAlgorithm, RSAAlgorithm

CLIENT_ID = "the-lake"
SUBJECT = "248289761001"
LIFE_S = 3600

Key = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey


class Issuer:
    """Its documents are made anew for each request; `answers` replaces one by path, and `asked` counts them."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.keys: dict[str, Key] = {"first": rsa.generate_private_key(public_exponent=65537, key_size=2048)}
        self.asked: dict[str, int] = {}
        self.answers: dict[str, tuple[int, bytes]] = {}
        self.redirects: dict[str, str] = {}

    @property
    def config_url(self) -> str:
        """Address of the discovery document."""
        return f"{self.url}/.well-known/openid-configuration"

    def token(self, now_s: float, key_id: str = "first", *, key: Key | None = None, **claims: Any) -> str:
        """Sign a token made now; claims of None are left out."""
        whole = {
            "iss": self.url, "sub": SUBJECT, "aud": CLIENT_ID, "iat": int(now_s), "exp": int(now_s) + LIFE_S,
            "policy": "readonly",
        } | claims  # fmt: skip
        signer = key or self.keys[key_id]
        algorithm = "RS256" if isinstance(signer, rsa.RSAPrivateKey) else "ES256"
        given = {name: value for name, value in whole.items() if value is not None}
        return jwt.encode(given, signer, algorithm, headers={"kid": key_id})

    def add_key(self, key_id: str, *, is_curve: bool = False) -> None:
        """Begin to sign with another key as well."""
        self.keys[key_id] = (
            ec.generate_private_key(ec.SECP256R1())
            if is_curve
            else rsa.generate_private_key(public_exponent=65537, key_size=2048)
        )

    def answer(self, path: str) -> tuple[int, bytes]:
        """Answer a GET."""
        self.asked[path] = self.asked.get(path, 0) + 1
        if path in self.answers:
            return self.answers[path]
        if path == "/.well-known/openid-configuration":
            return 200, json.dumps({"issuer": self.url, "jwks_uri": f"{self.url}/keys"}).encode()
        if path == "/keys":
            return 200, json.dumps({"keys": [public_jwk(key_id, key) for key_id, key in self.keys.items()]}).encode()
        return 404, b""


def public_jwk(key_id: str, key: Key, **more: Any) -> dict[str, Any]:
    """Describe the public half of a key."""
    if isinstance(key, rsa.RSAPrivateKey):
        described = RSAAlgorithm.to_jwk(key.public_key(), as_dict=True) | {"alg": "RS256"}
    else:
        described = ECAlgorithm.to_jwk(key.public_key(), as_dict=True) | {"alg": "ES256"}
    return described | {"kid": key_id, "use": "sig"} | more


@contextmanager
def issuing() -> Iterator[Issuer]:
    """Run an issuer."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            status, body = issuer.answer(self.path)
            if self.path in issuer.redirects:
                self.send_response(302)
                self.send_header("Location", issuer.redirects[self.path])
            else:
                self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            """Keep quiet."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        issuer = Issuer(f"http://127.0.0.1:{server.server_address[1]}")
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield issuer
        finally:
            server.shutdown()
            thread.join()

"""Who may read metrics: tokens as `mc admin prometheus generate` signs them, and all that look like them."""

import base64
import json
from collections.abc import Sequence

import jwt
import pytest

from hosu.kernel.auth import Context, Principal
from hosu.kernel.errors import AccessDeniedError, ErrorKind
from hosu.server.metrics.token import ACTION, check_token
from hosu.testing.manual_clock import ManualClock

NOW_S = 1_795_000_000
CENTURY_S = 100 * 365 * 24 * 3600
SECRETS = {"root": ("root-secret",), "watcher": ("old-secret-old", "new-secret-new"), "nobody": ("nobody-secret",)}


class Rights:
    """Knows a few keys; `nobody` may not read metrics."""

    def secrets(self, access_key: str) -> Sequence[str]:
        return SECRETS.get(access_key, ())

    def principal(self, access_key: str, token: str | None) -> Principal:
        assert token is None
        return Principal(access_key, access_key)

    def authorize(self, principal: Principal, action: str, resource: str, context: Context) -> None:
        del resource, context
        assert action == ACTION
        if principal.name == "nobody":
            raise AccessDeniedError(ErrorKind.ACCESS_DENIED, "nobody may not")


def claims(**changed: object) -> dict[str, object]:
    whole = {"iss": "prometheus", "sub": "root", "exp": NOW_S + CENTURY_S} | changed
    return {name: value for name, value in whole.items() if value is not None}


def signed(secret: str = "root-secret", algorithm: str = "HS512", **changed: object) -> bytes:
    return b"Bearer " + jwt.encode(claims(**changed), secret.encode().ljust(64, b"\0"), algorithm=algorithm).encode()


def check(authorization: bytes | None) -> None:
    rights = Rights()
    check_token(authorization, rights, rights, ManualClock(NOW_S * 1000))


def encoded(part: dict[str, object]) -> bytes:
    return base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=")


@pytest.mark.parametrize(
    "authorization",
    [
        signed(),
        signed().replace(b"Bearer", b"bearer"),
        signed("old-secret-old", sub="watcher"),
        signed("new-secret-new", sub="watcher"),
        signed(nbf=NOW_S),
        signed(exp=NOW_S + 1),
        signed(aud="anything"),
    ],
)
def test_a_token_signed_by_a_key_that_may_read_metrics_opens_them(authorization: bytes) -> None:
    check(authorization)


def test_the_token_of_mc_opens_them() -> None:
    """As mc's own library encodes and signs it, with a secret shorter than the hash."""
    import hashlib
    import hmac

    head = encoded({"alg": "HS512", "typ": "JWT"}) + b"." + encoded(claims())
    signature = hmac.new(b"root-secret", head, hashlib.sha512).digest()
    check(b"Bearer " + head + b"." + base64.urlsafe_b64encode(signature).rstrip(b"="))


@pytest.mark.parametrize(
    "authorization",
    [
        None,
        b"",
        b"Bearer",
        b"Bearer ",
        b"Bearer not.a.token",
        b"Bearer \xff\xfe.\xff.\xff",
        b"Basic cm9vdDpyb290LXNlY3JldA==",
        b"Bearer " + b"x" * 10_000,
        signed("another-secret"),
        signed(""),
        signed(sub="unknown"),
        signed(sub="watcher"),
        signed(sub=None),
        signed("nobody-secret", sub="nobody"),
        signed(iss="somebody"),
        signed(iss=None),
        signed(exp=None),
        signed(exp=NOW_S),
        signed(exp=NOW_S - 1),
        signed(nbf=NOW_S + 1),
        signed(algorithm="HS256"),
        signed(algorithm="HS384"),
        b"Bearer " + encoded({"alg": "none"}) + b"." + encoded(claims()) + b".",
        b"Bearer " + encoded({"alg": "None", "typ": "JWT"}) + b"." + encoded(claims()) + b".",
        signed()[:-4] + b"AAAA",
    ],
)
def test_anything_else_is_refused(authorization: bytes | None) -> None:
    with pytest.raises(AccessDeniedError):
        check(authorization)


def test_an_algorithm_of_public_keys_is_refused_whatever_it_is_signed_with() -> None:
    head = encoded({"alg": "RS512", "typ": "JWT"}) + b"." + encoded(claims())
    import hashlib
    import hmac

    signature = hmac.new(b"root-secret", head, hashlib.sha512).digest()
    with pytest.raises(AccessDeniedError):
        check(b"Bearer " + head + b"." + base64.urlsafe_b64encode(signature).rstrip(b"="))


@pytest.mark.parametrize("exp", ["soon", True, [1], {"a": 1}])
def test_a_time_that_is_no_number_is_refused(exp: object) -> None:
    head = encoded({"alg": "HS512", "typ": "JWT"}) + b"." + encoded(claims(exp=exp))
    import hashlib
    import hmac

    signature = hmac.new(b"root-secret", head, hashlib.sha512).digest()
    with pytest.raises(AccessDeniedError):
        check(b"Bearer " + head + b"." + base64.urlsafe_b64encode(signature).rstrip(b"="))


def test_a_refusal_shows_nothing_of_the_token() -> None:
    authorization = signed("another-secret")
    with pytest.raises(AccessDeniedError) as refusal:
        check(authorization)
    token = authorization.partition(b" ")[2].decode()
    shown = f"{refusal.value.message} {refusal.value.details}"
    assert not any(part in shown for part in token.split("."))
    assert refusal.value.__cause__ is None

"""Who may read metrics: whoever brings a token as `mc admin prometheus generate` signs it.

The token is a JWT that the client signs itself: HS512 with a secret key, `iss` "prometheus", `sub` the access key.
"""

import contextlib
from collections.abc import Mapping, Sequence

import jwt
from jwt.types import Options

from hosu.kernel.auth import NO_CONTEXT, Authorizer, Keyring
from hosu.kernel.clock import Clock
from hosu.kernel.errors import AccessDeniedError, ErrorKind

ACTION = "admin:Prometheus"
ISSUER = "prometheus"
ALGORITHM = "HS512"
HASH_BYTES = 64
TOKEN_BYTES_MAX = 8_192

_READ_ONLY: Options = {
    "verify_signature": False, "verify_exp": False, "verify_nbf": False, "verify_iat": False, "verify_aud": False,
}  # fmt: skip
_VERIFYING: Options = {
    "verify_signature": True, "verify_exp": False, "verify_nbf": False, "verify_iat": False, "verify_aud": False,
    "require": ["exp", "iss", "sub"],
}  # fmt: skip
"""Times are compared with the clock we were handed, not with the library's."""


def check_token(authorization: bytes | None, keyring: Keyring, authorizer: Authorizer, clock: Clock) -> None:
    """Return when the header's bearer may read metrics; else raise AccessDeniedError, which never shows the token."""
    scheme, _, token = (authorization or b"").partition(b" ")
    token = token.strip()
    if scheme.lower() != b"bearer" or not token or len(token) > TOKEN_BYTES_MAX:
        raise _refused("bring a token: Authorization: Bearer, as `mc admin prometheus generate` prints it")
    try:
        access_key = str(jwt.decode(token, options=_READ_ONLY, algorithms=[ALGORITHM]).get("sub", ""))
    except jwt.PyJWTError:
        raise _refused("the token is no JSON Web Token") from None
    claims = _verified(token, keyring.secrets(access_key))
    _check_times(claims, clock.now_ms() / 1000)
    principal = keyring.principal(access_key, None)
    authorizer.authorize(principal, ACTION, "", NO_CONTEXT)


def _verified(token: bytes, secrets: Sequence[str]) -> Mapping[str, object]:
    for secret in secrets:
        # HMAC fills its key up with zeros itself; done beforehand, the library does not warn of a short one.
        key = secret.encode().ljust(HASH_BYTES, b"\0")
        with contextlib.suppress(jwt.PyJWTError):
            claims: Mapping[str, object] = jwt.decode(
                token, key, algorithms=[ALGORITHM], issuer=ISSUER, options=_VERIFYING
            )
            return claims
    raise _refused("the token is not signed (HS512) by this access key for iss=prometheus, or has no exp")


def _check_times(claims: Mapping[str, object], now_s: float) -> None:
    expires_s, begins_s = claims["exp"], claims.get("nbf", 0)
    if not isinstance(expires_s, int | float) or not isinstance(begins_s, int | float):
        raise _refused("exp and nbf of the token must be numbers")
    if not begins_s <= now_s < expires_s:
        raise _refused("the token has expired, or is not valid yet: generate a new one")


def _refused(message: str) -> AccessDeniedError:
    return AccessDeniedError(ErrorKind.ACCESS_DENIED, message)

"""Tokens of an OpenID Connect provider: whether they are true, and what they say."""

import json
import threading
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from http.client import HTTPException, HTTPMessage
from typing import IO, NoReturn
from urllib.parse import urlsplit

import jwt
import msgspec
from jwt import PyJWK, PyJWKSet

from hosu.kernel.clock import Clock
from hosu.kernel.errors import AccessDeniedError, ErrorKind, UnavailableError
from hosu.kernel.limits import MIB
from hosu.kernel.log import get_logger

ALGORITHMS = ("RS256", "ES256")
"""Signatures with a public key alone: with a shared secret, whoever can check a token can also make one."""

KEYS_S = 3600.0
"""How long the provider's keys are used before they are asked for again."""

KEYS_STALE_S = 24 * 3600.0
"""How long they are used at most while the provider does not answer."""

REFETCH_S = 30.0
"""Shortest time between two fetches for keys that are not known: anyone may send tokens that name such."""

FETCH_TIMEOUT_S = 5.0
FETCH_BYTES_MAX = MIB
LEEWAY_MS = 60_000
"""How far the provider's clock may be off."""

SUBJECT_CHARACTERS_MAX = 255

_LOG = get_logger("sts")

Claims = Mapping[str, object]


class WebIdentity(msgspec.Struct, frozen=True):
    """What a true token says. `claims` are those that conditions can look at: texts, numbers, and lists of them."""

    subject: str
    audience: str
    issuer: str
    policies: tuple[str, ...]
    expires_ms: int
    claims: Mapping[str, str | Sequence[str]]


class _Provider(msgspec.Struct, frozen=True):
    """The provider as it described itself at a time (monotonic seconds)."""

    issuer: str
    keys: Mapping[str, PyJWK]
    fetched_s: float


class OpenIdProvider:
    """One provider, found by its discovery document. Safe to use from several threads; all of it may block.

    The policies of a token are those that the claim `claim_name` names, unless `role_policy` gives everyone's.
    """

    def __init__(
        self, config_url: str, client_id: str, clock: Clock, *, claim_name: str = "policy", role_policy: str = ""
    ) -> None:
        self._config_url = config_url
        self._client_id = client_id
        self._clock = clock
        self._claim_name = claim_name
        self._role_policies = _names(role_policy)
        self._provider: _Provider | None = None
        self._tried_s: float | None = None
        self._lock = threading.Lock()

    def identify(self, token: str) -> WebIdentity:
        """Return what a token says, once its signature, issuer, audience and times are right.

        Raises AccessDeniedError of kind WEB_TOKEN_INVALID or WEB_TOKEN_EXPIRED, UnavailableError ISSUER_UNAVAILABLE.
        """
        try:
            header = jwt.get_unverified_header(token)
        except (jwt.PyJWTError, ValueError):
            _refuse("it is not a signed JWT")
        algorithm, key_id = header.get("alg"), str(header.get("kid", ""))
        if algorithm not in ALGORITHMS:
            _refuse(f"it is signed with {str(algorithm)[:20]!r}: the provider must sign with {' or '.join(ALGORITHMS)}")
        provider, key = self._key(key_id)
        try:
            # Times are checked against the lake's own clock, below.
            claims = jwt.decode(
                token,
                key,
                algorithms=list(ALGORITHMS),
                options={
                    "require": ["exp", "iss", "sub"],
                    "verify_aud": False,
                    "verify_exp": False,
                    "verify_iat": False,
                    "verify_iss": False,
                    "verify_nbf": False,
                },
            )
        except (jwt.PyJWTError, ValueError, TypeError) as error:
            _refuse(f"{type(error).__name__}: its signature or form is wrong")
        return self._read(provider, claims)

    def _read(self, provider: _Provider, claims: Claims) -> WebIdentity:
        if claims["iss"] != provider.issuer:
            _refuse(f"its issuer is not {provider.issuer!r}")
        audiences = claims.get("aud", [])
        listed = audiences if isinstance(audiences, list) else [audiences]
        if self._client_id not in listed and claims.get("azp") != self._client_id:
            _refuse(f"neither aud nor azp is this lake's client {self._client_id!r}")
        now_ms = self._clock.now_ms()
        expires_ms = _moment(claims, "exp")
        if now_ms >= expires_ms + LEEWAY_MS:
            raise AccessDeniedError(ErrorKind.WEB_TOKEN_EXPIRED, "the web identity token has expired: get a new one")
        for name in ("nbf", "iat"):
            if name in claims and _moment(claims, name) > now_ms + LEEWAY_MS:
                _refuse(f"{name} is in the future")
        subject = claims["sub"]
        if not isinstance(subject, str) or not subject.isprintable() or not 0 < len(subject) <= SUBJECT_CHARACTERS_MAX:
            _refuse("sub is no text that names somebody")
        return WebIdentity(
            subject,
            self._client_id,
            provider.issuer,
            self._role_policies or self._policies(claims),
            expires_ms,
            {name: value for name, given in claims.items() if (value := _condition_value(given)) is not None},
        )

    def _policies(self, claims: Claims) -> tuple[str, ...]:
        value = claims.get(self._claim_name)
        if isinstance(value, list) and all(isinstance(item, str) for item in value):
            return tuple(name for item in value for name in _names(item))
        if not isinstance(value, str):
            _refuse(f"it has no claim {self._claim_name!r} that names policies")
        return _names(value)

    def _key(self, key_id: str) -> tuple[_Provider, PyJWK]:
        with self._lock:
            provider = self._current()
            if key_id not in provider.keys and self._may_fetch():
                provider = self._fetched()
        found = provider.keys.get(key_id)
        if found is None and not key_id and len(provider.keys) == 1:
            found = next(iter(provider.keys.values()))
        if found is None:
            _refuse("the provider has no key of its kid")
        return provider, found

    def _current(self) -> _Provider:
        """Return the provider's keys, fetched when there are none or they are old."""
        provider = self._provider
        if provider is None:
            if not self._may_fetch():
                raise _unavailable("it did not answer just now")
            return self._fetched()
        age_s = self._clock.monotonic() - provider.fetched_s
        if age_s < KEYS_S or not self._may_fetch():
            return provider
        try:
            return self._fetched()
        except UnavailableError as error:
            if age_s >= KEYS_STALE_S:
                raise
            _LOG.warning("the identity provider's keys are old", error=error.message, age_s=round(age_s))
            return provider

    def _may_fetch(self) -> bool:
        return self._tried_s is None or self._clock.monotonic() - self._tried_s >= REFETCH_S

    def _fetched(self) -> _Provider:
        self._tried_s = self._clock.monotonic()
        described = fetch_json(self._config_url)
        issuer, keys_url = described.get("issuer"), described.get("jwks_uri")
        if not isinstance(issuer, str) or not isinstance(keys_url, str):
            raise _unavailable(f"{self._config_url} names no issuer or no jwks_uri")
        if urlsplit(self._config_url).scheme == "https" and urlsplit(keys_url).scheme != "https":
            raise _unavailable(f"its jwks_uri {keys_url!r} is no https URL, as the one of its configuration is")
        self._provider = _Provider(issuer, _read_keys(fetch_json(keys_url), keys_url), self._clock.monotonic())
        return self._provider


class SafeRedirects(urllib.request.HTTPRedirectHandler):
    """Follows redirects on the web alone, and from https to https alone: whoever makes the keys makes the tokens."""

    def redirect_request(
        self, req: urllib.request.Request, fp: IO[bytes], code: int, msg: str, headers: HTTPMessage, newurl: str
    ) -> urllib.request.Request | None:
        """Return the request to follow with; raises URLError for where not to go."""
        if urlsplit(newurl).scheme not in ({"https"} if req.type == "https" else {"http", "https"}):
            raise urllib.error.URLError(f"it leads to {newurl!r}")
        return super().redirect_request(req, fp, code, msg, headers, newurl)


_WEB = urllib.request.build_opener(SafeRedirects)


def fetch_json(url: str) -> Mapping[str, object]:
    """Return a JSON object from the web; raises UnavailableError ISSUER_UNAVAILABLE."""
    if urlsplit(url).scheme not in {"http", "https"}:
        raise _unavailable(f"{url!r} is no http or https URL")
    request = urllib.request.Request(url, headers={"Accept": "application/json"})  # noqa: S310 - checked above
    try:
        with _WEB.open(request, timeout=FETCH_TIMEOUT_S) as answer:
            body = answer.read(FETCH_BYTES_MAX + 1)
    except (OSError, ValueError, HTTPException) as error:
        reason = getattr(error, "reason", error)
        raise _unavailable(f"{url} did not answer: {reason}") from error
    if len(body) > FETCH_BYTES_MAX:
        raise _unavailable(f"{url} answered more than {FETCH_BYTES_MAX} bytes")
    try:
        document = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise _unavailable(f"{url} did not answer JSON") from error
    if not isinstance(document, dict):
        raise _unavailable(f"{url} did not answer a JSON object")
    return document


def _read_keys(document: Mapping[str, object], url: str) -> dict[str, PyJWK]:
    """Return the signing keys of a JWK set by id; those of kinds that nobody here uses are left out."""
    try:
        keys = PyJWKSet.from_dict(dict(document)).keys
    except (jwt.PyJWTError, AttributeError, TypeError, ValueError) as error:
        raise _unavailable(f"{url} has no key that can be used") from error
    return {
        key.key_id or "": key for key in keys if key.public_key_use in {None, "sig"} and key.key_type in {"RSA", "EC"}
    }


def _names(text: str) -> tuple[str, ...]:
    return tuple(name.strip() for name in text.split(",") if name.strip())


def _moment(claims: Claims, name: str) -> int:
    value = claims[name]
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value < 1e11:  # noqa: PLR2004 - seconds
        _refuse(f"{name} is no time in seconds")
    return int(value * 1000)


def _condition_value(value: object) -> str | tuple[str, ...] | None:
    """Return a claim as conditions see it; None for what has members of its own."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (str, int, float)):
        return str(value)
    if isinstance(value, list) and all(isinstance(item, (str, int, float)) for item in value):
        return tuple(str(item) for item in value)
    return None


def _refuse(why: str) -> NoReturn:
    raise AccessDeniedError(ErrorKind.WEB_TOKEN_INVALID, f"the web identity token is refused: {why}")


def _unavailable(why: str) -> UnavailableError:
    return UnavailableError(ErrorKind.ISSUER_UNAVAILABLE, f"the identity provider cannot be used: {why}")

"""STS on the S3 port: AssumeRole, AssumeRoleWithWebIdentity, GetSessionToken and GetCallerIdentity."""

import asyncio
import re
from collections.abc import Awaitable, Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl

from hosu.identity.accounts import ACCOUNT
from hosu.identity.authority import Authority
from hosu.identity.explanation import describe_statement
from hosu.identity.policies import get_policy
from hosu.identity.policy import Effect
from hosu.identity.records import NewKey
from hosu.identity.sessions import DURATION_S, DURATION_S_MAX, DURATION_S_MIN, issue_session
from hosu.kernel.auth import FixedContext
from hosu.kernel.errors import AccessDeniedError, ErrorKind, HosuError, NotFoundError, UnavailableError
from hosu.kernel.log import get_logger
from hosu.kernel.settings import Settings
from hosu.objects.audit import Origin
from hosu.objects.transaction import Tx
from hosu.server.extensions import Caller, Port
from hosu.server.http import ClientDisconnectedError, Request, Response
from hosu.server.sts.answers import StsError, answer, code_of, credentials, element, refusal, text

if TYPE_CHECKING:
    from hosu.server.sts.openid import OpenIdProvider, WebIdentity

BODY_BYTES_MAX = 64 * 1024
PARAMETERS_MAX = 64
POLICY_CHARACTERS_MAX = 2048
VERSION = "2011-06-15"
FORM = b"application/x-www-form-urlencoded"
GET_SESSION_TOKEN_S = 12 * 3600
"""How long a session lasts when GetSessionToken does not say: as at AWS."""

DURATION_DIGITS_MAX = 9
"""Longest number of seconds that is read: Python refuses to read thousands of digits."""

TOKEN_THREADS = 2
TOKENS_WAITING_MAX = 64
"""Web identity tokens that wait for the provider at a time: anyone may send some."""

SUBJECT_PREFIX = "oidc:"
"""Before the names of those an identity provider vouches for. Users of the lake have no colon in theirs."""

COMMON = frozenset({"Action", "DurationSeconds", "Version"})
ROLE = frozenset({"ExternalId", "Policy", "RoleArn", "RoleSessionName"})
"""A lake has no roles: who asks gets the own rights, whatever role is named."""

PARAMETERS = {
    "AssumeRole": COMMON | ROLE,
    "AssumeRoleWithWebIdentity": COMMON | ROLE | {"ProviderId", "WebIdentityToken"},
    "GetCallerIdentity": frozenset({"Action", "Version"}),
    "GetSessionToken": COMMON,
}
"""Parameters of each action. Others are refused by name: most of them would take rights away."""

ELSEWHERE = frozenset(
    {
        "AssumeRoleWithCertificate",
        "AssumeRoleWithClientGrants",
        "AssumeRoleWithCustomToken",
        "AssumeRoleWithLDAPIdentity",
        "AssumeRoleWithSAML",
        "AssumeRoot",
        "DecodeAuthorizationMessage",
        "GetAccessKeyInfo",
        "GetFederationToken",
    }
)
"""Actions of MinIO's or AWS's STS that this one refuses."""

_SESSION_NAME = re.compile(r"[\w+=,.@-]{2,64}", re.ASCII)
_LOG = get_logger("sts")

Action = Callable[[Request, bytes, Mapping[str, str]], Awaitable[Response]]


class StsService:
    """Answers forms posted to the S3 port's root. Implements `hosu.server.extensions.Extension`."""

    def __init__(self, port: Port, *, authority: Authority, settings: Settings) -> None:
        self._port = port
        self._authority = authority
        self._waiting = 0
        self._pool = ThreadPoolExecutor(TOKEN_THREADS, thread_name_prefix="sts")  # starts none until there is work
        self._openid = _provider(port, settings) if settings.identity_openid_config_url else None
        self._actions: dict[str, Action] = {
            "AssumeRole": self._assume_role,
            "AssumeRoleWithWebIdentity": self._assume_role_with_web_identity,
            "GetCallerIdentity": self._get_caller_identity,
            "GetSessionToken": self._get_session_token,
        }

    def claims(self, request: Request) -> bool:
        """Say whether this is a form of STS's: one that comes as the body, or as the query."""
        if request.raw_path != b"/":
            return False
        content_type = request.fields.get(b"content-type", b"").partition(b";")[0].strip().lower()
        return content_type == FORM or b"&Action=" in b"&" + request.raw_query

    async def handle(self, request: Request) -> Response:
        """Answer a form."""
        try:
            body = await request.body.read(BODY_BYTES_MAX)
            parameters = _read_form(body, request.raw_query)
            return await self._act(request, body, parameters)
        except ClientDisconnectedError:
            raise
        except HosuError as error:
            code, status = code_of(error, self._port.describe(error))
            self._port.refused(request, code, status, error)
            _LOG.info("refused", request_id=request.request_id, client=self._port.source_ip(request), code=code)
            return refusal(code, status, error.message, request.request_id)

    async def _act(self, request: Request, body: bytes, parameters: Mapping[str, str]) -> Response:
        name = parameters.get("Action", "")
        if name in ELSEWHERE:
            raise StsError("NotImplemented", f"{name} is not supported: use {', '.join(sorted(PARAMETERS))}", 501)
        action = self._actions.get(name)
        if action is None:
            raise StsError("InvalidAction", f"Could not find operation {name or '(no Action)'} for version {VERSION}")
        version = parameters.get("Version", VERSION)
        if version != VERSION:
            raise StsError("InvalidParameterValue", f"Version {version!r}: give {VERSION}")
        for given in parameters:
            if given not in PARAMETERS[name] and not given.startswith("X-Amz-"):
                raise StsError(
                    "InvalidParameterValue", f"the parameter {given} of {name} is not supported: leave it out"
                )
        session_name = parameters.get("RoleSessionName", "")
        if session_name and not _SESSION_NAME.fullmatch(session_name):
            raise StsError(
                "InvalidParameterValue", "RoleSessionName: give 2 to 64 letters, digits and any of _ + = , . @ -"
            )
        return await action(request, body, parameters)

    async def _assume_role(self, request: Request, body: bytes, parameters: Mapping[str, str]) -> Response:
        caller = self._lasting_caller(request, body, "AssumeRole")
        name = parameters.get("RoleSessionName", "")
        key = await self._issue(request, caller, "AssumeRole", _duration(parameters, DURATION_S), parameters, name)
        return answer("AssumeRole", request.request_id, credentials(key), _assumed(caller.principal.name, key, name))

    async def _get_session_token(self, request: Request, body: bytes, parameters: Mapping[str, str]) -> Response:
        caller = self._lasting_caller(request, body, "GetSessionToken")
        duration_s = _duration(parameters, GET_SESSION_TOKEN_S)
        key = await self._issue(request, caller, "GetSessionToken", duration_s, parameters)
        return answer("GetSessionToken", request.request_id, credentials(key))

    async def _get_caller_identity(self, request: Request, body: bytes, _: Mapping[str, str]) -> Response:
        principal = self._caller(request, body).principal
        if principal.is_root and not principal.parent:
            arn = f"arn:aws:iam::{ACCOUNT}:root"
        elif principal.parent.startswith(SUBJECT_PREFIX):
            arn = f"arn:aws:sts::{ACCOUNT}:assumed-role/{principal.parent}"
        else:
            arn = f"arn:aws:iam::{ACCOUNT}:user/{principal.parent or principal.name}"
        return answer(
            "GetCallerIdentity",
            request.request_id,
            text("Arn", arn),
            text("UserId", principal.access_key),
            text("Account", ACCOUNT),
        )

    async def _assume_role_with_web_identity(
        self, request: Request, _: bytes, parameters: Mapping[str, str]
    ) -> Response:
        action = "AssumeRoleWithWebIdentity"
        if self._openid is None:
            raise StsError(
                "NotImplemented", f"{action} needs an identity provider: set identity_openid_config_url", 501
            )
        token = parameters.get("WebIdentityToken", "")
        if not token:
            raise StsError("MissingParameter", f"{action} needs the parameter WebIdentityToken")
        identity = await self._identify(self._openid, token)
        left_s = (identity.expires_ms - self._port.store.clock.now_ms()) // 1000
        duration_s = _duration(parameters, min(max(left_s, DURATION_S_MIN), DURATION_S_MAX))
        name, parent = parameters.get("RoleSessionName", ""), SUBJECT_PREFIX + identity.subject
        policy = _policy(parameters)

        def issue(tx: Tx) -> NewKey:
            policies = [policy for policy in identity.policies if _is_policy(tx, policy)]
            if not policies:
                raise AccessDeniedError(
                    ErrorKind.ACCESS_DENIED,
                    f"none of the policies that the web identity token names is here: {', '.join(identity.policies)}",
                )
            return issue_session(
                tx, self._authority.vault, parent, duration_s=duration_s, policy=policy, claims=identity.claims,
                policies=policies, name=name,
            )  # fmt: skip

        key = await self._port.commit(issue, self._origin(request, action, parent))
        return answer(
            action,
            request.request_id,
            credentials(key),
            _assumed(parent, key, name),
            text("SubjectFromWebIdentityToken", identity.subject),
            text("Audience", identity.audience),
            text("Provider", identity.issuer),
        )

    async def _identify(self, openid: "OpenIdProvider", token: str) -> "WebIdentity":
        """Check a token in a thread of its own kind: a provider that hangs must not hold those that serve objects."""
        if self._waiting >= TOKENS_WAITING_MAX:
            raise UnavailableError(ErrorKind.ISSUER_UNAVAILABLE, "too many web identity tokens are waiting: try again")
        self._waiting += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(self._pool, openid.identify, token)
        finally:
            self._waiting -= 1

    def _caller(self, request: Request, body: bytes) -> Caller:
        caller = self._port.authenticate(request, body, service="sts")
        if caller is None:
            raise StsError("MissingAuthenticationToken", "Request is missing Authentication Token", 403)
        if body and not caller.is_body_signed:
            raise StsError("AccessDenied", "the signature must cover the body: sign its SHA-256", 403)
        return caller

    def _lasting_caller(self, request: Request, body: bytes, action: str) -> Caller:
        """Return who asks for temporary credentials: a user, or root. Borrowed rights are not lent again."""
        caller = self._caller(request, body)
        principal = caller.principal
        asked = {"principal": principal.name, "access_key": caller.access_key, "action": f"sts:{action}"}
        if principal.parent:
            raise AccessDeniedError(
                ErrorKind.ACCESS_DENIED,
                f"access key {caller.access_key} is a service account or session: {action} is for users and root",
                **asked,
            )
        context = FixedContext(
            {
                "aws:sourceip": (self._port.source_ip(request),),
                "aws:securetransport": ("true" if self._port.is_secure(request) else "false",),
                "aws:useragent": (_user_agent(request),),
            }
        )
        decision = self._authority.decide(principal, f"sts:{action}", "", context)
        if decision.effect is Effect.DENY:
            raise AccessDeniedError(
                ErrorKind.ACCESS_DENIED,
                f"{principal.name} may not sts:{action}",
                statement=describe_statement(decision),
                **asked,
            )
        return caller

    async def _issue(
        self,
        request: Request,
        caller: Caller,
        action: str,
        duration_s: int,
        parameters: Mapping[str, str],
        name: str = "",
    ) -> NewKey:
        parent = caller.principal.name
        verb = partial(
            issue_session, vault=self._authority.vault, parent=parent, duration_s=duration_s,
            policy=_policy(parameters), name=name,
        )  # fmt: skip
        return await self._port.commit(verb, self._origin(request, action, parent, caller.access_key))

    def _origin(self, request: Request, action: str, principal: str, access_key: str = "") -> Origin:
        return Origin(
            request.request_id,
            f"sts:{action}",
            principal,
            access_key,
            self._port.source_ip(request),
            user_agent=_user_agent(request),
            action=f"sts:{action}",
        )


def _provider(port: Port, settings: Settings) -> "OpenIdProvider":
    """Return the identity provider that the settings name."""
    from hosu.server.sts.openid import OpenIdProvider  # noqa: PLC0415 - most lakes have none

    return OpenIdProvider(
        settings.identity_openid_config_url,
        settings.identity_openid_client_id,
        port.store.clock,
        claim_name=settings.identity_openid_claim_name,
        role_policy=settings.identity_openid_role_policy,
    )


def _read_form(body: bytes, raw_query: bytes) -> dict[str, str]:
    """Return the parameters of body and query; each may come once."""
    try:
        pairs = [
            pair
            for raw in (body, raw_query)
            for pair in parse_qsl(
                raw.decode("ascii"), keep_blank_values=True, errors="strict", max_num_fields=PARAMETERS_MAX
            )
        ]
    except (UnicodeError, ValueError) as error:
        raise StsError("MalformedInput", "the form is not percent-encoded UTF-8, or too long") from error
    parameters = dict(pairs)
    if len(parameters) != len(pairs):
        raise StsError("MalformedInput", "a parameter is given twice")
    return parameters


def _duration(parameters: Mapping[str, str], default: int) -> int:
    given = parameters.get("DurationSeconds", "")
    if not given:
        return default
    is_number = given.isascii() and given.isdigit() and len(given) <= DURATION_DIGITS_MAX
    if not is_number or not DURATION_S_MIN <= int(given) <= DURATION_S_MAX:
        raise StsError("InvalidParameterValue", f"DurationSeconds: give {DURATION_S_MIN} to {DURATION_S_MAX}")
    return int(given)


def _policy(parameters: Mapping[str, str]) -> str:
    policy = parameters.get("Policy", "")
    if len(policy) > POLICY_CHARACTERS_MAX:
        raise StsError(
            "PackedPolicyTooLarge", f"Policy has {len(policy)} characters: give up to {POLICY_CHARACTERS_MAX}"
        )
    return policy


def _is_policy(tx: Tx, name: str) -> bool:
    try:
        get_policy(tx, name)
    except NotFoundError:
        return False
    return True


def _assumed(parent: str, key: NewKey, name: str) -> str:
    session = name or key.access_key
    return element(
        "AssumedRoleUser",
        text("Arn", f"arn:aws:sts::{ACCOUNT}:assumed-role/{parent}/{session}"),
        text("AssumedRoleId", f"{key.access_key}:{session}"),
    )


def _user_agent(request: Request) -> str:
    return request.fields.get(b"user-agent", b"").decode("utf-8", "replace")

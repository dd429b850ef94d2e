"""Users, groups, policies and keys as MinIO writes them down: JSON documents, in its folder and in its exports."""

import base64
import binascii
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import msgspec

from hosu.lake.importing.source import (
    SourceAccounts,
    SourceError,
    SourceGroup,
    SourceServiceKey,
    SourceUser,
)

IAM = ("config", "iam")
IDENTITY = "identity.json"
EPOCH_YEAR = 1970

SEALED = "it is sealed with the server's KMS or root secret: import it from MinIO's URL"
STRANGER = "it belongs to a user of LDAP or OpenID: attach policies to a user of hosu's"

Names = Callable[..., list[str]]
"""Lists the names at a place."""

Read = Callable[..., bytes | None]
"""Returns the bytes of the document at a place, None for none."""


class _Credentials(msgspec.Struct, rename="camel"):
    secret_key: str = ""
    session_token: str = ""
    expiration: str = ""
    status: str = "on"
    parent_user: str = ""
    name: str = ""
    description: str = ""

    def __repr__(self) -> str:
        return "<_Credentials>"


class _Identity(msgspec.Struct):
    credentials: _Credentials = msgspec.field(default_factory=_Credentials)

    def __repr__(self) -> str:
        return "<_Identity>"


class _Members(msgspec.Struct):
    status: str = "enabled"
    members: list[str] | None = None


class _Policy(msgspec.Struct, rename="pascal"):
    policy: msgspec.Raw = msgspec.Raw(b"")
    statement: msgspec.Raw = msgspec.Raw(b"")
    version: msgspec.Raw = msgspec.Raw(b"")

    def text(self) -> str:
        """Return the policy: inside of what says when it was made, or, of old servers, as it is."""
        if self.policy:
            return bytes(self.policy).decode()
        version = bytes(self.version).decode() or '"2012-10-17"'
        return f'{{"Version":{version},"Statement":{bytes(self.statement).decode()}}}'


class _Mapping(msgspec.Struct):
    policy: str | list[str] = ""


class _Reader:
    """Reads documents, and notes what cannot be read."""

    def __init__(self, names: Names, read: Read) -> None:
        self.names = names
        self._read = read
        self.problems: list[tuple[str, str, str]] = []

    def document(self, kind: str, name: str, model: type[Any], *place: str) -> Any:  # noqa: ANN401 - of the model
        """Return a document, None where there is none or it cannot be read."""
        try:
            raw = self._read(*IAM, *place)
            if raw is None:
                return None
            if raw.lstrip().startswith(b"{"):
                return msgspec.json.decode(raw, type=model)
            self.problems.append((kind, name, SEALED))
        except SourceError as error:
            self.problems.append((kind, name, str(error)))
        except msgspec.MsgspecError:
            # What the library says may quote the document, and so a secret.
            self.problems.append((kind, name, f"{place[-1]} is damaged"))
        return None


def read_accounts(names: Names, read: Read) -> SourceAccounts:
    """Return all accounts of a folder."""
    reader = _Reader(names, read)
    policies = _policies(reader)
    users, groups, keys = _users(reader), _groups(reader), _service_keys(reader)
    known = {user.name for user in users} | {name for kind, name, _ in reader.problems if kind == "user"}
    mapped = [name.removesuffix(".json") for name in names(*IAM, "policydb", "users")]
    mapped += [name.removesuffix(".json") for name in names(*IAM, "policydb", "sts-users")]
    reader.problems += [("policy mapping", name, STRANGER) for name in mapped if name not in known]
    return SourceAccounts(
        policies=policies,
        users=tuple(users),
        groups=tuple(groups),
        keys=tuple(keys),
        problems=tuple(reader.problems),
    )


def _policies(reader: _Reader) -> dict[str, str]:
    found = {}
    for name in reader.names(*IAM, "policies"):
        document = reader.document("policy", name, _Policy, "policies", name, "policy.json")
        if document is not None:
            found[name] = document.text()
    return found


def _users(reader: _Reader) -> list[SourceUser]:
    found = []
    for name in reader.names(*IAM, "users"):
        document = reader.document("user", name, _Identity, "users", name, IDENTITY)
        if document is not None:
            given = document.credentials
            found.append(SourceUser(name, given.secret_key, is_on(given.status), _attached(reader, "users", name)))
    return found


def _groups(reader: _Reader) -> list[SourceGroup]:
    found = []
    for name in reader.names(*IAM, "groups"):
        document = reader.document("group", name, _Members, "groups", name, "members.json")
        if document is not None:
            members = tuple(document.members or ())
            is_enabled = is_on(document.status)
            found.append(SourceGroup(name, members, _attached(reader, "groups", name), is_enabled))
    return found


def _service_keys(reader: _Reader) -> list[SourceServiceKey]:
    found = []
    for name in reader.names(*IAM, "service-accounts"):
        document = reader.document("service account", name, _Identity, "service-accounts", name, IDENTITY)
        if document is not None:
            found.append(_service_key(reader, name, document.credentials))
    return found


def _attached(reader: _Reader, kind: str, name: str) -> tuple[str, ...]:
    found = reader.document("policy mapping", name, _Mapping, "policydb", kind, f"{name}.json")
    return () if found is None else policy_names(found.policy)


def policy_names(said: str | list[str]) -> tuple[str, ...]:
    """Return the names in a mapping: MinIO puts several into one text."""
    listed = said if isinstance(said, list) else said.split(",")
    return tuple(name.strip() for name in listed if name.strip())


def _service_key(reader: _Reader, name: str, given: _Credentials) -> SourceServiceKey:
    policy, expires_ms = "", 0
    try:
        policy = embedded_policy(given.session_token)
        expires_ms = expiry_ms(given.expiration)
    except SourceError as error:
        reader.problems.append(("limits of service account", name, str(error)))
        # Without its limits the key could do more than before: it comes disabled.
        given.status = "off"
    return SourceServiceKey(
        access_key=name,
        secret=given.secret_key,
        parent=given.parent_user,
        policy=policy,
        name=given.name,
        description=given.description,
        is_enabled=is_on(given.status),
        expires_ms=expires_ms,
    )


def embedded_policy(token: str) -> str:
    """Return the policy that cuts a service account's rights, which its token carries; empty for none."""
    if not token:
        raise SourceError("it has no token, which would tell whether a policy cuts its rights")
    try:
        claims = msgspec.json.decode(_base64(token.split(".")[1]), type=dict[str, Any])
        if claims.get("sa-policy", "inherited-policy") != "embedded-policy":
            return ""
        return _base64(claims["sessionPolicy"]).decode()
    except (msgspec.MsgspecError, IndexError, KeyError, ValueError, TypeError, AttributeError) as error:
        raise SourceError(f"the policy in its token cannot be read ({type(error).__name__})") from error


def _base64(text: str) -> bytes:
    try:
        return base64.b64decode(text.replace("-", "+").replace("_", "/") + "=" * (-len(text) % 4), validate=True)
    except binascii.Error as error:
        raise ValueError("not base64") from error


def expiry_ms(text: str) -> int:
    """Return when something expires; 0 for never, which MinIO writes as year 1 or 1970, or not at all.

    Raises SourceError for what is no time: nobody is to live longer because of that.
    """
    if not text:
        return 0
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        raise SourceError("when it expires cannot be read") from error
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return 0 if moment.year <= EPOCH_YEAR else round(moment.timestamp() * 1000)


def is_on(status: str) -> bool:
    """Whether a status lets its owner in; one that hosu does not know lets nobody in."""
    return status in {"", "on", "enabled"}

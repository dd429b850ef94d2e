"""What stands behind an access key: its secrets, and the rights that come with it; read when it is first used."""

import json
from collections.abc import Mapping, Sequence
from functools import lru_cache

import msgspec

from hosu.identity import schema
from hosu.identity.policies import get_policy
from hosu.identity.policy import NamedPolicy, Policy, PolicyKind, PolicySet, parse_policy
from hosu.identity.vault import Vault
from hosu.kernel.auth import Principal
from hosu.kernel.errors import CorruptError, ErrorKind, InvalidInputError, NotFoundError
from hosu.objects.views import View

ACCOUNT = "hosu"
"""Stands in ARNs where AWS has a number: a lake is one account."""

PARSED_POLICIES_MAX = 1024
"""Policies kept parsed in a process, whoever has them. Each takes some kilobytes."""

POLICY_SETS_MAX = 1024
"""Different sets of policies kept compiled. Users with the same policies share one."""


class Rights:
    """What decides for an account. `named` are its policies, each under the words that say where it comes from."""

    __slots__ = ("cut", "cut_name", "ids", "is_root", "named", "policies", "values")

    def __init__(
        self,
        *,
        is_root: bool = False,
        named: Sequence[NamedPolicy] = (),
        policies: PolicySet | None = None,
        cut: NamedPolicy | None = None,
        values: Mapping[str, Sequence[str]] | None = None,
        ids: Sequence[str] = (),
    ) -> None:
        self.is_root = is_root
        self.named = tuple(named)
        self.policies = policies
        self.cut = None if cut is None else PolicySet([cut])
        self.cut_name = cut
        self.values: Mapping[str, Sequence[str]] = values or {}
        self.ids = tuple(ids)

    def __repr__(self) -> str:
        return "<Rights>"


class Known(Principal, frozen=True):
    """A principal with the rights it had when access changed for the `number`-th time."""

    number: int = -1
    rights: Rights | None = None


class Account(msgspec.Struct, frozen=True):
    """An access key that may sign now, or until it expires. `token` is the digest of a session's, else empty."""

    principal: Known
    rights: Rights
    secret: str
    old_secret: str
    old_until_ms: int
    token: bytes
    expires_ms: int

    def __repr__(self) -> str:
        return f"<Account {self.principal.access_key}>"

    def secrets(self, now_ms: int) -> Sequence[str]:
        """Return the secrets that are valid at a time, the newest first."""
        if self.expires_ms and now_ms >= self.expires_ms:
            return ()
        if self.old_secret and now_ms < self.old_until_ms:
            return (self.secret, self.old_secret)
        return (self.secret,)


ANONYMOUS_RIGHTS = Rights(values={"aws:principaltype": ("Anonymous",)})
IN_PROCESS_RIGHTS = Rights(is_root=True)
"""Python that opened the lake itself could as well write to its files: bucket policies do not hold it."""


class Loader:
    """Reads accounts, policies and what else decides, at one count of changes."""

    def __init__(self, vault: Vault, root: tuple[str, str], number: int) -> None:
        self._vault = vault
        self._root = root
        self._number = number

    def account(self, view: View, access_key: str) -> Account | None:
        """Return what stands behind an access key; None for what may not sign: unknown, disabled, or without parent."""
        if access_key == self._root[0]:
            rights = self.root_rights()
            principal = Known(access_key, access_key, is_root=True, number=self._number, rights=rights)
            return Account(principal, rights, self._root[1], "", 0, b"", 0) if self._root[1] else None
        row = schema.row(
            view, "SELECT is_enabled, secret, old_secret, old_until_ms FROM identity_user WHERE name = ?", (access_key,)
        )
        if row is None:
            return self._borrowed(view, access_key)
        if not row[0]:
            return None
        rights = self.user_rights(view, access_key)
        principal = Known(access_key, access_key, number=self._number, rights=rights)
        return Account(principal, rights, *self._open(access_key, row[1], row[2]), row[3], b"", 0)

    def _borrowed(self, view: View, access_key: str) -> Account | None:
        """Return the account of a service key or session."""
        row = schema.row(
            view,
            "SELECT parent, kind, policy, policies, claims, secret, old_secret, old_until_ms, token, expires_ms "
            "FROM identity_key WHERE access_key = ? AND is_enabled = 1",
            (access_key,),
        )
        if row is None:
            return None
        parent, kind, policy, policies, claims = row[:5]
        cut = NamedPolicy(f"{kind} policy of {access_key}", parsed(policy, PolicyKind.IDENTITY)) if policy else None
        rights = self._parent_rights(view, parent, policies, claims, cut, is_session=kind == "session")
        if rights is None:
            return None
        is_root = rights.is_root and rights.cut is None
        principal = Known(parent, access_key, is_root=is_root, parent=parent, number=self._number, rights=rights)
        secret, old_secret = self._open(access_key, row[5], row[6])
        return Account(principal, rights, secret, old_secret, row[7], row[8], row[9])

    def _parent_rights(
        self, view: View, parent: str, policies: str, claims: str, cut: NamedPolicy | None, *, is_session: bool
    ) -> Rights | None:
        if policies:
            named = named_policies(view, [(name, "") for name in json.loads(policies)])
            values = _claim_values(json.loads(claims) if claims else {})
            arn = f"arn:aws:sts::{ACCOUNT}:assumed-role/{parent}"
            values |= {"aws:principaltype": ("AssumedRole",), "aws:principalarn": (arn,), "aws:userid": (parent,)}
            return Rights(named=named, policies=policy_set(named), cut=cut, values=values, ids=(arn, parent))
        is_enabled = schema.value(view, "SELECT is_enabled FROM identity_user WHERE name = ?", (parent,))
        if is_enabled is None and parent == self._root[0]:
            # Where root was given the name of a user, that user's keys stay the user's.
            return self.root_rights(cut)
        if not is_enabled:
            return None
        return self.user_rights(view, parent, cut, is_session=is_session)

    def root_rights(self, cut: NamedPolicy | None = None) -> Rights:
        """Return root's rights, cut where a key of root's has a policy."""
        name = self._root[0]
        arn = f"arn:aws:iam::{ACCOUNT}:root"
        values = {
            "aws:username": (name,),
            "aws:userid": (name,),
            "aws:principaltype": ("Account",),
            "aws:principalarn": (arn,),
        }
        return Rights(is_root=True, cut=cut, values=values, ids=(arn, "arn:aws:iam:::root", *_user_ids(name)))

    def user_rights(self, view: View, name: str, cut: NamedPolicy | None = None, *, is_session: bool = False) -> Rights:
        """Return a user's rights: all policies of the user's own and of enabled groups."""
        groups = [
            group
            for (group,) in schema.rows(
                view,
                "SELECT m.group_name FROM identity_member m JOIN identity_group g ON g.name = m.group_name "
                "WHERE m.user_name = ? AND g.is_enabled = 1 ORDER BY m.group_name",
                (name,),
            )
        ]
        attached = schema.rows(
            view,
            "SELECT policy, '' FROM identity_attachment WHERE kind = 'user' AND entity = ?1 UNION ALL "
            "SELECT a.policy, a.entity FROM identity_attachment a JOIN identity_member m ON m.group_name = a.entity "
            "JOIN identity_group g ON g.name = a.entity "
            "WHERE a.kind = 'group' AND m.user_name = ?1 AND g.is_enabled = 1 ORDER BY 1, 2",
            (name,),
        )
        named = named_policies(view, attached)
        values = {
            "aws:username": (name,),
            "aws:userid": (name,),
            "aws:principaltype": ("AssumedRole" if is_session else "User",),
            "aws:principalarn": (f"arn:aws:iam::{ACCOUNT}:user/{name}",),
        }
        if groups:
            values["aws:groups"] = tuple(groups)
        return Rights(named=named, policies=policy_set(named), cut=cut, values=values, ids=_user_ids(name))

    def _open(self, access_key: str, secret: bytes, old_secret: bytes | None) -> tuple[str, str]:
        vault = self._vault
        return vault.unseal(access_key, secret), "" if old_secret is None else vault.unseal(access_key, old_secret)


def _user_ids(name: str) -> tuple[str, ...]:
    """Return the names under which a bucket policy may name a user."""
    return (f"arn:aws:iam::{ACCOUNT}:user/{name}", f"arn:aws:iam:::user/{name}", name)


def _claim_values(claims: Mapping[str, object]) -> dict[str, Sequence[str]]:
    """Return an identity provider's claims as condition keys."""
    values: dict[str, Sequence[str]] = {}
    for name, value in claims.items():
        listed = value if isinstance(value, list) else [value]
        values[f"jwt:{name.lower()}"] = tuple(str(item) for item in listed)
    return values


def named_policies(view: View, attached: Sequence[tuple[str, str]]) -> list[NamedPolicy]:
    """Return policies, each with the group it comes from, or ""; what has been removed gives no rights."""
    named = []
    seen = set()
    for name, group in attached:
        if name in seen:
            continue
        seen.add(name)
        try:
            text = get_policy(view, name).text
        except NotFoundError:
            continue
        named.append(NamedPolicy(f"{name} of group {group}" if group else name, parsed(text, PolicyKind.IDENTITY)))
    return named


def policy_set(named: Sequence[NamedPolicy]) -> PolicySet:
    """Return the set of policies; those of many users are the same, and made once."""
    return _policy_set(tuple((entry.name, entry.policy.text) for entry in named))


@lru_cache(maxsize=POLICY_SETS_MAX)
def _policy_set(texts: tuple[tuple[str, str], ...]) -> PolicySet:
    return PolicySet([NamedPolicy(name, parsed(text, PolicyKind.IDENTITY)) for name, text in texts])


@lru_cache(maxsize=PARSED_POLICIES_MAX)
def parsed(text: str, kind: PolicyKind, bucket: str = "") -> Policy:
    """Return a stored policy, parsed. It was checked when it was stored: one that fails now decides nothing right."""
    try:
        return parse_policy(text, kind, bucket=bucket)
    except InvalidInputError as error:
        raise CorruptError(
            ErrorKind.CORRUPT_LAKE, f"a stored policy cannot be read any more: {error.message}; store it again"
        ) from error

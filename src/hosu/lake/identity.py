"""Users, groups, policies and access keys of a lake, as Python sees them.

    with hosu.open("./lake") as lake:
        lake.policies.put("read-images", text)
        lake.users.add("alice", secret, policies=["read-images"])
        lake.policies.explain("alice", "s3:GetObject", "images/raw/a.jpg").is_allowed

Python in the lake's folder acts as root. What returns is durable, and counts for a running server at once.
"""

import builtins
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING, TypeVar

from hosu.identity.acl import Acls
from hosu.identity.authority import Authority
from hosu.identity.explanation import Explanation
from hosu.identity.groups import (
    add_members,
    get_group,
    list_groups,
    remove_group,
    remove_members,
    set_group_enabled,
)
from hosu.identity.keys import create_key, get_key, list_keys, remove_key, rotate_secret, update_key
from hosu.identity.names import new_secret
from hosu.identity.policies import (
    attach,
    detach,
    get_policy,
    list_policies,
    policy_entities,
    put_policy,
    remove_policy,
)
from hosu.identity.policy.keys import read_key
from hosu.identity.policy.patterns import PatternError
from hosu.identity.records import AccessKey, Group, KeyKind, NewKey, PolicyEntities, StoredPolicy, User
from hosu.identity.users import (
    check_password,
    get_user,
    hash_password,
    list_users,
    put_user,
    remove_user,
    set_user_enabled,
    store_password,
)
from hosu.identity.vault import Vault
from hosu.kernel.auth import FixedContext
from hosu.kernel.errors import ErrorKind, InvalidInputError
from hosu.lake.opening import lake_settings
from hosu.objects.audit import IN_PROCESS_PREFIX, Origin
from hosu.objects.transaction import Tx
from hosu.objects.views import View

if TYPE_CHECKING:
    from hosu.lake.opening import Lake

T = TypeVar("T")

PolicyText = str | Mapping[str, object]
"""A policy in the AWS language: its JSON, or what JSON would be made of."""


class _Handle:
    """What the four share: a view for reads, and a commit that the audit log knows the author of."""

    def __init__(self, lake: "Lake") -> None:
        self._lake = lake

    def __repr__(self) -> str:
        return f"<{type(self).__name__.lower()} of {str(self._lake.path)!r}>"

    @property
    def _view(self) -> View:
        return self._lake.store.view()

    def _vault(self) -> Vault:
        return Vault(self._lake.store, self._lake.root_name())

    def _commit(self, operation: str, name: str, verb: Callable[[Tx], T]) -> T:
        origin = Origin("", IN_PROCESS_PREFIX + operation, self._lake.actor, key=name)
        return self._lake.store.commit(verb, origin)


class Users(_Handle):
    """Users of the lake; a user's name is the access key. Raises NotFoundError USER_NOT_FOUND."""

    def add(self, name: str, secret: str = "", *, policies: Sequence[str] = (), enabled: bool = True) -> NewKey:
        """Make a user with these policies attached, or replace the secret of one; an empty secret is generated.

        Returns the key pair, whose secret is not shown again. Raises InvalidInputError IDENTITY_NAME_INVALID or
        SECRET_INVALID, NotFoundError POLICY_NOT_FOUND, ConflictError ACCESS_KEY_EXISTS.
        """
        vault, secret = self._vault(), secret or new_secret()

        def add(tx: Tx) -> NewKey:
            for policy in policies:
                get_policy(tx, policy)
            put_user(tx, vault, name, secret, is_enabled=enabled)
            if policies:
                attach(tx, policies, user=name)
            return NewKey(name, secret)

        return self._commit("PutUser", name, add)

    def get(self, name: str) -> User:
        """Return a user."""
        return get_user(self._view, name)

    def list(self) -> builtins.list[User]:
        """Return all users by name."""
        return list_users(self._view)

    def enable(self, name: str) -> None:
        """Let a user in again."""
        self._commit("EnableUser", name, partial(set_user_enabled, name=name, is_enabled=True))

    def disable(self, name: str) -> None:
        """Refuse a user's key, service accounts and sessions from now on."""
        self._commit("DisableUser", name, partial(set_user_enabled, name=name, is_enabled=False))

    def remove(self, name: str) -> None:
        """Remove a user with its service accounts and sessions."""
        self._commit("RemoveUser", name, partial(remove_user, name=name))

    def rotate(self, name: str, secret: str = "", *, overlap_ms: int = 0) -> NewKey:
        """Give a user another secret; the old one stays valid for `overlap_ms` beside it."""
        get_user(self._view, name)
        return _rotate(self, "RotateSecret", name, secret, overlap_ms)

    def set_password(self, name: str, password: str) -> None:
        """Set the password for the console; empty to remove it. Takes some 50 ms of CPU."""
        hashed = hash_password(password) if password else ""
        self._commit("SetPassword", name, partial(store_password, name=name, password_hash=hashed))

    def check_password(self, name: str, password: str) -> bool:
        """Say whether this is the password of a user who is enabled."""
        return check_password(self._view, name, password)


class Groups(_Handle):
    """Groups of users that share policies. Raises NotFoundError GROUP_NOT_FOUND."""

    def add(self, name: str, members: Iterable[str] = ()) -> None:
        """Put users into a group, which is made when it is not there. Raises NotFoundError USER_NOT_FOUND."""
        self._commit("AddMembers", name, partial(add_members, group=name, members=_names(members)))

    def remove_members(self, name: str, members: Iterable[str]) -> None:
        """Take users out of a group."""
        self._commit("RemoveMembers", name, partial(remove_members, group=name, members=_names(members)))

    def remove(self, name: str) -> None:
        """Remove a group that has no members. Raises ConflictError GROUP_NOT_EMPTY."""
        self._commit("RemoveGroup", name, partial(remove_group, group=name))

    def enable(self, name: str) -> None:
        """Let a group's policies count again."""
        self._commit("EnableGroup", name, partial(set_group_enabled, group=name, is_enabled=True))

    def disable(self, name: str) -> None:
        """Let a group's policies count for nobody; its members keep their own."""
        self._commit("DisableGroup", name, partial(set_group_enabled, group=name, is_enabled=False))

    def get(self, name: str) -> Group:
        """Return a group with its members and policies."""
        return get_group(self._view, name)

    def list(self) -> builtins.list[str]:
        """Return the names of all groups."""
        return list_groups(self._view)


class Policies(_Handle):
    """Policies by name, and whom they are attached to. Raises NotFoundError POLICY_NOT_FOUND."""

    def put(self, name: str, policy: PolicyText) -> StoredPolicy:
        """Make a policy, or replace it. Raises InvalidInputError POLICY_INVALID, which names the place."""
        return self._commit("PutPolicy", name, partial(put_policy, name=name, text=_policy_text(policy)))

    def get(self, name: str) -> StoredPolicy:
        """Return a policy, stored or built in."""
        return get_policy(self._view, name)

    def list(self) -> builtins.list[StoredPolicy]:
        """Return all policies by name, the built-in ones among them."""
        return list_policies(self._view)

    def remove(self, name: str) -> None:
        """Remove a policy that is attached to nobody. Raises ConflictError POLICY_IN_USE."""
        self._commit("RemovePolicy", name, partial(remove_policy, name=name))

    def attach(self, names: str | Sequence[str], *, user: str = "", group: str = "") -> builtins.list[str]:
        """Attach policies to a user or to a group; return those that were not attached before."""
        verb = partial(attach, names=_names(names), user=user, group=group)
        return self._commit("AttachPolicy", user or group, verb)

    def detach(self, names: str | Sequence[str], *, user: str = "", group: str = "") -> builtins.list[str]:
        """Detach policies from a user or a group; return those that were attached."""
        verb = partial(detach, names=_names(names), user=user, group=group)
        return self._commit("DetachPolicy", user or group, verb)

    def entities(
        self, *, users: Sequence[str] = (), groups: Sequence[str] = (), policies: Sequence[str] = ()
    ) -> PolicyEntities:
        """Return who has which policy: of those named, or of all."""
        return policy_entities(self._view, users=users, groups=groups, policies=policies)

    def explain(
        self, who: str, action: str, resource: str, context: Mapping[str, Sequence[str]] | None = None
    ) -> Explanation:
        """Say whether a user or an access key may do something, and which statement decides it.

        `who` may be `anonymous`; `resource` is `bucket/key`, or empty for the whole service; `context` holds values of
        condition keys (`{"aws:SourceIp": ["10.0.0.7"]}`). Raises NotFoundError for nobody's name.
        """
        root, settings = self._lake.root_name(), lake_settings(self._lake.path)
        acls = Acls(self._lake.store, ownership=settings.object_ownership, root=root)
        authority = Authority(self._lake.store, (root, ""), acls=acls)
        return authority.explain(who, action, resource, self._circumstances(context or {}))

    def _circumstances(self, given: Mapping[str, Sequence[str]]) -> FixedContext:
        """Return what conditions see: it is now, unless somebody says when it is."""
        now_ms = self._lake.store.clock.now_ms()
        values: dict[str, Sequence[str]] = {
            "aws:currenttime": [datetime.fromtimestamp(now_ms / 1000, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")],
            "aws:epochtime": [str(now_ms // 1000)],
        }
        for name, said in given.items():
            try:
                values[read_key(name)] = said
            except PatternError as error:
                raise InvalidInputError(ErrorKind.INVALID_ARGUMENT, f"context: {error}") from error
        return FixedContext(values)


class Keys(_Handle):
    """Access keys of service accounts, which borrow the rights of a user. Raises NotFoundError ACCESS_KEY_NOT_FOUND."""

    def create(
        self,
        parent: str,
        *,
        access_key: str = "",
        secret: str = "",
        policy: PolicyText = "",
        name: str = "",
        description: str = "",
        expires_ms: int = 0,
    ) -> NewKey:
        """Make a key of a user; what is left empty is generated. `policy` cuts the user's rights.

        Returns the key pair, whose secret is not shown again. Raises NotFoundError USER_NOT_FOUND, ConflictError
        ACCESS_KEY_EXISTS, InvalidInputError.
        """
        verb = partial(
            create_key,
            vault=self._vault(),
            parent=parent,
            access_key=access_key,
            secret=secret,
            policy=_policy_text(policy),
            name=name,
            description=description,
            expires_ms=expires_ms,
        )
        return self._commit("CreateKey", parent, verb)

    def get(self, access_key: str) -> AccessKey:
        """Return what is known of a key but its secret."""
        return get_key(self._view, access_key)

    def list(self, parent: str | None = None, kind: KeyKind | None = None) -> builtins.list[AccessKey]:
        """Return all keys, or those of a user, or those of a kind (`service` or `session`)."""
        return list_keys(self._view, parent, kind)

    def edit(
        self,
        access_key: str,
        *,
        policy: PolicyText | None = None,
        name: str | None = None,
        description: str | None = None,
        expires_ms: int | None = None,
    ) -> AccessKey:
        """Change what is given. An empty policy gives all of the user's rights, `expires_ms=0` never expires."""
        verb = partial(
            update_key,
            vault=self._vault(),
            access_key=access_key,
            policy=None if policy is None else _policy_text(policy),
            name=name,
            description=description,
            expires_ms=expires_ms,
        )
        return self._commit("UpdateKey", access_key, verb)

    def enable(self, access_key: str) -> None:
        """Let a key in again."""
        verb = partial(update_key, vault=self._vault(), access_key=access_key, is_enabled=True)
        self._commit("EnableKey", access_key, verb)

    def disable(self, access_key: str) -> None:
        """Refuse a key from now on."""
        verb = partial(update_key, vault=self._vault(), access_key=access_key, is_enabled=False)
        self._commit("DisableKey", access_key, verb)

    def remove(self, access_key: str) -> None:
        """Remove a key, or end a session."""
        self._commit("RemoveKey", access_key, partial(remove_key, access_key=access_key))

    def rotate(self, access_key: str, secret: str = "", *, overlap_ms: int = 0) -> NewKey:
        """Give a key another secret; the old one stays valid for `overlap_ms` beside it."""
        return _rotate(self, "RotateSecret", access_key, secret, overlap_ms)


def _rotate(handle: _Handle, operation: str, access_key: str, secret: str, overlap_ms: int) -> NewKey:
    verb = partial(
        rotate_secret,
        vault=handle._vault(),  # noqa: SLF001 - one of ours
        access_key=access_key,
        secret=secret,
        overlap_ms=overlap_ms,
    )
    return handle._commit(operation, access_key, verb)  # noqa: SLF001


def _policy_text(policy: PolicyText) -> str:
    return policy if isinstance(policy, str) else json.dumps(policy, ensure_ascii=False)


def _names(names: str | Iterable[str]) -> list[str]:
    return [names] if isinstance(names, str) else list(names)

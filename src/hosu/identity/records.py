"""What identity is made of, as its verbs return it. Times are milliseconds since 1970-01-01 UTC; 0 is never."""

from typing import Literal

import msgspec

KeyKind = Literal["service", "session"]


class User(msgspec.Struct, frozen=True):
    """Somebody with a secret of their own; the name is the access key."""

    name: str
    is_enabled: bool
    policies: tuple[str, ...]
    groups: tuple[str, ...]
    updated_ms: int
    has_password: bool


class Group(msgspec.Struct, frozen=True):
    """Users that share policies."""

    name: str
    is_enabled: bool
    policies: tuple[str, ...]
    members: tuple[str, ...]
    updated_ms: int


class StoredPolicy(msgspec.Struct, frozen=True):
    """A policy by name. `is_builtin` is False for one of a built-in's name that replaces it."""

    name: str
    text: str
    created_ms: int
    updated_ms: int
    is_builtin: bool


class AccessKey(msgspec.Struct, frozen=True):
    """A key that borrows its parent's rights; `policy` cuts them, and is empty where it has all of them."""

    access_key: str
    parent: str
    kind: KeyKind
    name: str
    description: str
    policy: str
    is_enabled: bool
    expires_ms: int
    created_ms: int


class NewKey(msgspec.Struct, frozen=True):
    """A key just made, or changed: the only time that its secret is shown."""

    access_key: str
    secret: str
    token: str = ""
    expires_ms: int = 0

    def __repr__(self) -> str:
        return f"NewKey(access_key={self.access_key!r}, expires_ms={self.expires_ms})"


class GroupPolicies(msgspec.Struct, frozen=True):
    """The policies attached to a group."""

    group: str
    policies: tuple[str, ...]


class UserPolicies(msgspec.Struct, frozen=True):
    """The policies attached to a user, and those of the user's groups."""

    user: str
    policies: tuple[str, ...]
    groups: tuple[GroupPolicies, ...]


class PolicyUses(msgspec.Struct, frozen=True):
    """Who a policy is attached to."""

    policy: str
    users: tuple[str, ...]
    groups: tuple[str, ...]


class PolicyEntities(msgspec.Struct, frozen=True):
    """Who has which policy, from the three sides."""

    users: tuple[UserPolicies, ...]
    groups: tuple[GroupPolicies, ...]
    policies: tuple[PolicyUses, ...]

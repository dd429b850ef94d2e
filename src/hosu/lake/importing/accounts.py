"""Users, groups, policies and keys of another store: made where they are missing, never over what is there.

A name alone proves nothing: a user of the lake is the source's only with the same secret, a policy is with the same
text. Nobody gets rights, or hands theirs on, because somebody of the source's has the same name.
"""

import json
from collections.abc import Callable, Iterator
from functools import partial
from typing import TypeVar

from hosu.identity.groups import add_members, get_group, set_group_enabled
from hosu.identity.keys import create_key, get_key, update_key
from hosu.identity.policies import attach, get_policy, policy_entities, put_policy
from hosu.identity.policy import BUILTIN_POLICIES, PolicyKind, parse_policy
from hosu.identity.users import get_user, has_secret, put_user
from hosu.identity.vault import Vault
from hosu.kernel.errors import HosuError, NotFoundError, UnavailableError
from hosu.lake.importing.report import Item, State
from hosu.lake.importing.source import SourceAccounts, SourceGroup, SourceServiceKey, SourceUser
from hosu.lake.opening import Lake
from hosu.objects.audit import IN_PROCESS_PREFIX, Origin
from hosu.objects.transaction import Tx
from hosu.objects.views import View

Found = TypeVar("Found")

OTHER_POLICY = "the lake has another policy of this name"
OTHER_USER = "the lake's user {!r} has another secret, and may be somebody else"

Plan = tuple[Item, Callable[[Tx], object] | None]
"""What is to become of an account, and what makes it so."""


def move_accounts(lake: Lake | None, accounts: SourceAccounts, *, dry_run: bool) -> list[Item]:
    """Make what is missing of accounts, each in a transaction of its own; return what became of every one."""
    mover = _Mover(lake, accounts)
    done = [Item(kind, name, State.REFUSED, reason) for kind, name, reason in accounts.problems]
    for item, verb in mover.plans():
        if verb is None or lake is None or dry_run:
            done.append(item)
            continue
        try:
            lake.store.commit(verb, Origin("", f"{IN_PROCESS_PREFIX}ImportAccount", lake.actor, key=item.name))
            done.append(item)
        except HosuError as error:
            if isinstance(error, UnavailableError):
                raise
            done.append(Item(item.kind, item.name, State.REFUSED, error.message))
    return done


class _Mover:
    def __init__(self, lake: Lake | None, accounts: SourceAccounts) -> None:
        self._view: View | None = None if lake is None else lake.store.view()
        self._root = "" if lake is None else lake.root_name()
        self._vault = None if lake is None else Vault(lake.store, self._root)
        self._accounts = accounts
        self._users = {user.name: user for user in accounts.users}
        self._other_policies: set[str] = set()

    def plans(self) -> Iterator[Plan]:
        """Yield what is to be done, each looked at after those before it are done."""
        for name, text in self._accounts.policies.items():
            yield self._policy(name, text)
        for user in self._accounts.users:
            yield from self._user(user)
        for group in self._accounts.groups:
            yield from self._group(group)
        for key in self._accounts.keys:
            yield self._key(key)

    def _policy(self, name: str, text: str) -> Plan:
        found = self._found(get_policy, name)
        if found is not None and _equal_json(found.text, text):
            return Item("policy", name, State.PRESENT), None
        if found is not None and (not found.is_builtin or self._is_used(name)):
            self._other_policies.add(name)
            return Item("policy", name, State.REFUSED, OTHER_POLICY), None
        try:
            parse_policy(text, PolicyKind.IDENTITY)
        except HosuError as error:
            self._other_policies.add(name)
            return Item("policy", name, State.REFUSED, error.message), None
        return Item("policy", name, State.MOVED), partial(put_policy, name=name, text=text)

    def _is_used(self, policy: str) -> bool:
        """Whether somebody in the lake has a policy, so that another text would change what they may."""
        assert self._view is not None
        (uses,) = policy_entities(self._view, policies=[policy]).policies
        return bool(uses.users or uses.groups)

    def _stranger(self, name: str) -> str:
        """Say why a user of the lake, or one about to be made, is not known to be the source's; empty if it is."""
        user = self._users.get(name)
        if user is None:
            return f"{name!r} is no user of the source's own"
        if name == self._root:
            return f"{name!r} is root of the lake"
        if self._view is None or self._vault is None or self._found(get_user, name) is None:
            return ""
        try:
            is_same = has_secret(self._view, self._vault, name, user.secret)
        except UnavailableError:
            raise
        except HosuError:
            is_same = False
        return "" if is_same else OTHER_USER.format(name)

    def _user(self, user: SourceUser) -> Iterator[Plan]:
        if self._found(get_user, user.name) is not None:
            yield Item("user", user.name, State.PRESENT, "its secret in the lake stays"), None
        elif user.name == self._root:
            yield Item("user", user.name, State.REFUSED, self._stranger(user.name)), None
        elif not user.secret:
            yield Item("user", user.name, State.REFUSED, "the source does not tell its secret"), None
        else:

            def put(tx: Tx) -> None:
                assert self._vault is not None
                put_user(tx, self._vault, user.name, user.secret, is_enabled=user.is_enabled)

            yield Item("user", user.name, State.MOVED), put
        yield from self._attachments(user.policies, user=user.name)

    def _group(self, group: SourceGroup) -> Iterator[Plan]:
        found = self._found(get_group, group.name)
        there = set() if found is None else set(found.members)
        has_more = found is not None and not set(found.policies) <= set(group.policies)
        members = []
        for name in group.members:
            reason = "" if name in there else self._stranger(name)
            if not reason and name not in there and has_more:
                reason = "the lake's group of this name has other policies"
            if reason:
                yield Item("group member", f"{group.name}/{name}", State.REFUSED, reason), None
            else:
                members.append(name)
        if found is not None and set(members) <= there:
            yield Item("group", group.name, State.PRESENT), None
        else:

            def put(tx: Tx) -> None:
                add_members(tx, group.name, members)
                if found is None and not group.is_enabled:
                    set_group_enabled(tx, group.name, is_enabled=False)

            yield Item("group", group.name, State.MOVED), put
        yield from self._attachments(group.policies, group=group.name)

    def _attachments(self, policies: tuple[str, ...], *, user: str = "", group: str = "") -> Iterator[Plan]:
        stranger = (self._stranger(user) if user else self._strangers(group)) if policies else ""
        for policy in policies:
            name = f"{policy} of {f'user {user}' if user else f'group {group}'}"
            verb = partial(attach, names=[policy], user=user, group=group)
            found = self._found(get_user, user) if user else self._found(get_group, group)
            is_there = found is not None and policy in found.policies
            reason = "" if is_there else (stranger or self._unlike(policy))
            if reason:
                yield Item("attached policy", name, State.REFUSED, reason), None
                continue
            yield Item("attached policy", name, State.PRESENT if is_there else State.MOVED), None if is_there else verb

    def _strangers(self, group: str) -> str:
        """Say who of the lake's would get the rights of a group of the source's; empty for nobody."""
        given = next(it for it in self._accounts.groups if it.name == group)
        found = self._found(get_group, group)
        members = () if found is None else found.members
        others = [name for name in members if name not in given.members or self._stranger(name)]
        return f"the lake's group of this name has a member of its own: {others[0]!r}" if others else ""

    def _unlike(self, policy: str) -> str:
        """Say why the lake's policy of a name may not be the source's; empty where it is."""
        found = self._found(get_policy, policy)
        text = self._accounts.policies.get(policy)
        if policy in self._other_policies:
            return OTHER_POLICY if found is not None else f"there is no policy {policy!r}"
        if text is None and policy not in BUILTIN_POLICIES:
            return "the source does not tell what this policy allows"
        if text is None:
            return "" if found is None or found.is_builtin else OTHER_POLICY
        return "" if found is None or found.is_builtin or _equal_json(found.text, text) else OTHER_POLICY

    def _key(self, key: SourceServiceKey) -> Plan:
        found = self._found(get_key, key.access_key)
        is_known = key.parent in self._users
        is_roots = not is_known and bool(key.parent) and key.parent == self._accounts.root
        parent = self._root if is_roots else key.parent
        if found is not None:
            state = State.PRESENT if found.parent == parent else State.REFUSED
            reason = "" if found.parent == parent else f"the lake has this access key under {found.parent!r}"
            return Item("service account", key.access_key, state, reason), None
        if not is_known and not is_roots:
            # Never to be guessed: a key of a user of LDAP's must not become root's.
            reason = f"it belongs to {key.parent!r}, who is no user of the source's own: if that is its root, name it"
            return Item("service account", key.access_key, State.REFUSED, reason), None
        if is_known and (reason := self._stranger(key.parent)):
            return Item("service account", key.access_key, State.REFUSED, reason), None
        if is_roots and not parent and self._vault is not None:
            reason = "it is of the source's root, and this lake has none yet: set HOSU_ROOT_USER, and run it again"
            return Item("service account", key.access_key, State.REFUSED, reason), None
        if not key.secret:
            return Item("service account", key.access_key, State.REFUSED, "the source does not tell its secret"), None

        def put(tx: Tx) -> None:
            assert self._vault is not None
            create_key(
                tx,
                self._vault,
                parent,
                access_key=key.access_key,
                secret=key.secret,
                policy=key.policy,
                name=key.name,
                description=key.description,
                expires_ms=key.expires_ms,
            )
            if not key.is_enabled:
                update_key(tx, self._vault, key.access_key, is_enabled=False)

        return Item("service account", key.access_key, State.MOVED), put

    def _found(self, read: Callable[[View, str], Found], name: str) -> Found | None:
        if self._view is None:
            return None
        try:
            return read(self._view, name)
        except NotFoundError:
            return None


def _equal_json(one: str, other: str) -> bool:
    """Whether two policies say the same, in whatever order they name actions."""
    try:
        return bool(_ordered(json.loads(one)) == _ordered(json.loads(other)))
    except ValueError:
        return False


def _ordered(value: object) -> object:
    if isinstance(value, dict):
        return {name: _ordered(inner) for name, inner in value.items()}
    if isinstance(value, list):
        ordered = [_ordered(inner) for inner in value]
        return sorted(ordered, key=str) if all(isinstance(inner, str) for inner in ordered) else ordered
    return value

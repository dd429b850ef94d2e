"""Verbs on policies, and on whom they are attached to."""

from collections.abc import Iterable, Sequence

from hosu.identity import schema
from hosu.identity.groups import group_not_found
from hosu.identity.names import check_name
from hosu.identity.policy import BUILTIN_POLICIES, PolicyKind, parse_policy
from hosu.identity.records import GroupPolicies, PolicyEntities, PolicyUses, StoredPolicy, UserPolicies
from hosu.identity.users import user_not_found
from hosu.kernel.errors import ConflictError, ErrorKind, InvalidInputError, NotFoundError
from hosu.objects.transaction import Tx
from hosu.objects.views import View


def put_policy(tx: Tx, name: str, text: str) -> StoredPolicy:
    """Make a policy, or replace its text; one of a built-in's name replaces the built-in until it is removed.

    Raises `InvalidInputError` of kind POLICY_INVALID with the position of what is wrong.
    """
    check_name(name, "policy")
    parse_policy(text, PolicyKind.IDENTITY)
    schema.begin(tx, "PutPolicy", name)
    tx.run(
        "INSERT INTO identity_policy VALUES (?, ?, ?, ?) "
        "ON CONFLICT (name) DO UPDATE SET text = excluded.text, updated_ms = excluded.updated_ms",
        (name, text, tx.now_ms, tx.now_ms),
    )
    tx.change_access()
    return get_policy(tx, name)


def remove_policy(tx: Tx, name: str) -> None:
    """Remove a policy that is attached to nobody; one that replaced a built-in gives way to it, attached or not.

    Raises `ConflictError` of kind POLICY_IN_USE, and `NotFoundError`, also for built-ins: they cannot be removed.
    """
    schema.begin(tx, "RemovePolicy", name)
    if tx.value("SELECT 1 FROM identity_policy WHERE name = ?", (name,)) is None:
        if name in BUILTIN_POLICIES:
            raise ConflictError(
                ErrorKind.POLICY_IN_USE, f"policy {name!r} is built in: it can be replaced, not removed", name=name
            )
        raise policy_not_found(name)
    user = tx.row("SELECT kind, entity FROM identity_attachment WHERE policy = ? ORDER BY kind, entity", (name,))
    if user is not None and name not in BUILTIN_POLICIES:
        raise ConflictError(
            ErrorKind.POLICY_IN_USE, f"policy {name!r} is attached to {user[0]} {user[1]!r}: detach it first", name=name
        )
    tx.run("DELETE FROM identity_policy WHERE name = ?", (name,))
    tx.change_access()


def get_policy(view: View, name: str) -> StoredPolicy:
    """Return a policy, stored or built in; raises `NotFoundError`."""
    row = schema.row(view, "SELECT text, created_ms, updated_ms FROM identity_policy WHERE name = ?", (name,))
    if row is not None:
        return StoredPolicy(name, row[0], row[1], row[2], is_builtin=False)
    if name in BUILTIN_POLICIES:
        return StoredPolicy(name, BUILTIN_POLICIES[name], 0, 0, is_builtin=True)
    raise policy_not_found(name)


def list_policies(view: View) -> list[StoredPolicy]:
    """Return all policies by name, built-in ones among them."""
    stored = {
        row[0]: StoredPolicy(row[0], row[1], row[2], row[3], is_builtin=False)
        for row in schema.rows(view, "SELECT name, text, created_ms, updated_ms FROM identity_policy")
    }
    builtin = {name: StoredPolicy(name, text, 0, 0, is_builtin=True) for name, text in BUILTIN_POLICIES.items()}
    return sorted((builtin | stored).values(), key=lambda policy: policy.name)


def attach(tx: Tx, names: Sequence[str], *, user: str = "", group: str = "") -> list[str]:
    """Attach policies to a user or a group; return those that were not attached before."""
    kind, entity = _begin(tx, "AttachPolicy", user, group)
    for name in names:
        get_policy(tx, name)
    held = set(_attached(tx, kind, entity))
    added = [name for name in dict.fromkeys(names) if name not in held]
    _insert(tx, kind, entity, added)
    if added:
        _touch(tx, kind, entity)
    return added


def detach(tx: Tx, names: Sequence[str], *, user: str = "", group: str = "") -> list[str]:
    """Detach policies from a user or a group; return those that were attached. A name of no policy is an error."""
    kind, entity = _begin(tx, "DetachPolicy", user, group)
    held = set(_attached(tx, kind, entity))
    for name in names:
        if name not in held:  # what is attached may be detached whatever became of it
            get_policy(tx, name)
    removed = [name for name in dict.fromkeys(names) if name in held]
    for name in removed:
        tx.run("DELETE FROM identity_attachment WHERE kind = ? AND entity = ? AND policy = ?", (kind, entity, name))
    if removed:
        _touch(tx, kind, entity)
    return removed


def set_policies(tx: Tx, names: Sequence[str], *, user: str = "", group: str = "") -> None:
    """Let a user or a group have these policies and no others."""
    kind, entity = _begin(tx, "SetPolicies", user, group)
    for name in names:
        get_policy(tx, name)
    tx.run("DELETE FROM identity_attachment WHERE kind = ? AND entity = ?", (kind, entity))
    _insert(tx, kind, entity, dict.fromkeys(names))
    _touch(tx, kind, entity)


def policy_entities(
    view: View, *, users: Sequence[str] = (), groups: Sequence[str] = (), policies: Sequence[str] = ()
) -> PolicyEntities:
    """Return who has which policy: for the users, groups and policies named, or for all policies if none is.

    Names of nobody and nothing are passed over.
    """
    with view.snapshot():
        if not (users or groups or policies):
            held = schema.rows(view, "SELECT DISTINCT policy FROM identity_attachment ORDER BY policy")
            policies = [name for (name,) in held]
        return PolicyEntities(
            tuple(_policies_of_user(view, name) for name in users if _is_there(view, "user", name)),
            tuple(
                GroupPolicies(name, _attached(view, "group", name)) for name in groups if _is_there(view, "group", name)
            ),
            tuple(_uses(view, name) for name in policies),
        )


def _policies_of_user(view: View, name: str) -> UserPolicies:
    groups = schema.rows(
        view, "SELECT group_name FROM identity_member WHERE user_name = ? ORDER BY group_name", (name,)
    )
    return UserPolicies(
        name,
        _attached(view, "user", name),
        tuple(GroupPolicies(group, _attached(view, "group", group)) for (group,) in groups),
    )


def _uses(view: View, policy: str) -> PolicyUses:
    rows = schema.rows(
        view, "SELECT kind, entity FROM identity_attachment WHERE policy = ? ORDER BY kind, entity", (policy,)
    )
    return PolicyUses(
        policy,
        tuple(entity for kind, entity in rows if kind == "user"),
        tuple(entity for kind, entity in rows if kind == "group"),
    )


def _attached(view: View, kind: str, entity: str) -> tuple[str, ...]:
    rows = schema.rows(
        view, "SELECT policy FROM identity_attachment WHERE kind = ? AND entity = ? ORDER BY policy", (kind, entity)
    )
    return tuple(policy for (policy,) in rows)


def _insert(tx: Tx, kind: str, entity: str, names: Iterable[str]) -> None:
    for name in names:
        tx.run("INSERT INTO identity_attachment VALUES (?, ?, ?)", (kind, entity, name))


def _touch(tx: Tx, kind: str, entity: str) -> None:
    tx.run(f"UPDATE identity_{kind} SET updated_ms = ? WHERE name = ?", (tx.now_ms, entity))
    tx.change_access()


def _is_there(view: View, kind: str, name: str) -> bool:
    return schema.value(view, f"SELECT 1 FROM identity_{kind} WHERE name = ?", (name,)) is not None


def _begin(tx: Tx, verb: str, user: str, group: str) -> tuple[str, str]:
    """Begin a verb, and return whom a verb is about; exactly one of both is named, and is there."""
    if bool(user) == bool(group):
        raise InvalidInputError(ErrorKind.INVALID_ARGUMENT, "name a user or a group, and not both")
    schema.begin(tx, verb, user or group)
    if user:
        if not _is_there(tx, "user", user):
            raise user_not_found(user)
        return "user", user
    if not _is_there(tx, "group", group):
        raise group_not_found(group)
    return "group", group


def policy_not_found(name: str) -> NotFoundError:
    """Return the error for a policy that is not there."""
    return NotFoundError(ErrorKind.POLICY_NOT_FOUND, f"there is no policy {name!r}", name=name)

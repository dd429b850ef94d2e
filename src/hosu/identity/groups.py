"""Verbs on groups."""

from collections.abc import Sequence

from hosu.identity import schema
from hosu.identity.names import check_name
from hosu.identity.records import Group
from hosu.identity.users import user_not_found
from hosu.kernel.errors import ConflictError, ErrorKind, NotFoundError
from hosu.objects.transaction import Tx
from hosu.objects.views import View


def add_members(tx: Tx, group: str, members: Sequence[str]) -> None:
    """Put users into a group, which is made when it is not there; those who are in it stay."""
    check_name(group, "group")
    schema.begin(tx, "AddMembers", group)
    for member in members:
        if tx.value("SELECT 1 FROM identity_user WHERE name = ?", (member,)) is None:
            raise user_not_found(member)
    tx.run(
        "INSERT INTO identity_group VALUES (?, 1, ?) ON CONFLICT (name) DO UPDATE SET updated_ms = excluded.updated_ms",
        (group, tx.now_ms),
    )
    for member in members:
        tx.run("INSERT OR IGNORE INTO identity_member VALUES (?, ?)", (group, member))
    tx.change_access()


def remove_members(tx: Tx, group: str, members: Sequence[str]) -> None:
    """Take users out of a group; those who are not in it are passed over."""
    _begin(tx, "RemoveMembers", group)
    for member in members:
        tx.run("DELETE FROM identity_member WHERE group_name = ? AND user_name = ?", (group, member))
    tx.run("UPDATE identity_group SET updated_ms = ? WHERE name = ?", (tx.now_ms, group))
    tx.change_access()


def remove_group(tx: Tx, group: str) -> None:
    """Remove a group without members, with its attached policies; raises `ConflictError` when it has members."""
    _begin(tx, "RemoveGroup", group)
    count = tx.value("SELECT count(*) FROM identity_member WHERE group_name = ?", (group,))
    if count:
        raise ConflictError(
            ErrorKind.GROUP_NOT_EMPTY, f"group {group!r} has {count} members: remove them first", name=group
        )
    tx.run("DELETE FROM identity_attachment WHERE kind = 'group' AND entity = ?", (group,))
    tx.run("DELETE FROM identity_group WHERE name = ?", (group,))
    tx.change_access()


def set_group_enabled(tx: Tx, group: str, is_enabled: bool) -> None:  # noqa: FBT001 - the verb names it
    """Let a group's policies count for its members, or not."""
    _begin(tx, "EnableGroup" if is_enabled else "DisableGroup", group)
    tx.run("UPDATE identity_group SET is_enabled = ?, updated_ms = ? WHERE name = ?", (is_enabled, tx.now_ms, group))
    tx.change_access()


def get_group(view: View, group: str) -> Group:
    """Return a group; raises `NotFoundError`."""
    row = schema.row(view, "SELECT is_enabled, updated_ms FROM identity_group WHERE name = ?", (group,))
    if row is None:
        raise group_not_found(group)
    policies = view.rows(
        "SELECT policy FROM identity_attachment WHERE kind = 'group' AND entity = ? ORDER BY policy", (group,)
    )
    members = view.rows("SELECT user_name FROM identity_member WHERE group_name = ? ORDER BY user_name", (group,))
    return Group(
        group,
        bool(row[0]),
        tuple(policy for (policy,) in policies),
        tuple(member for (member,) in members),
        row[1],
    )


def list_groups(view: View) -> list[str]:
    """Return the names of all groups."""
    return [name for (name,) in schema.rows(view, "SELECT name FROM identity_group ORDER BY name")]


def _begin(tx: Tx, verb: str, group: str) -> None:
    """Begin a verb about a group that is there."""
    schema.begin(tx, verb, group)
    if tx.value("SELECT 1 FROM identity_group WHERE name = ?", (group,)) is None:
        raise group_not_found(group)


def group_not_found(group: str) -> NotFoundError:
    """Return the error for a group that is not there."""
    return NotFoundError(ErrorKind.GROUP_NOT_FOUND, f"there is no group {group!r}", name=group)

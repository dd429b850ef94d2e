"""Operations on groups."""

import msgspec

from hosu.identity.groups import add_members, get_group, list_groups, remove_group, remove_members, set_group_enabled
from hosu.objects.transaction import Tx
from hosu.server.http import Response
from hosu.server.minio_admin.call import AdminCall, decode, rfc3339
from hosu.server.minio_admin.errors import AdminError
from hosu.server.minio_admin.users import DISABLED, ENABLED, is_enabled


class GroupUpdate(msgspec.Struct, forbid_unknown_fields=True, rename="camel"):
    """The body of update-group-members. To remove with no members is to remove the group."""

    group: str
    members: list[str] | None = None
    group_status: str = ""
    is_remove: bool = False


async def update_members(call: AdminCall) -> Response:
    """Put users into a group, which is made if need be, or take them out; or remove an empty group."""
    body = decode(call.plain(), GroupUpdate)
    call.authorize("admin:RemoveUserFromGroup" if body.is_remove else "admin:AddUserToGroup")
    members = body.members or []
    status = is_enabled(body.group_status) if body.group_status else None
    if not body.group:
        raise AdminError("InvalidArgument", "the body names no group")

    def update(tx: Tx) -> None:
        if not body.is_remove:
            add_members(tx, body.group, members)
        elif members:
            remove_members(tx, body.group, members)
        else:
            remove_group(tx, body.group)
            return
        if status is not None:
            set_group_enabled(tx, body.group, status)

    await call.commit(update, body.group)
    return call.answer()


async def list_all(call: AdminCall) -> Response:
    """List the names of all groups."""
    call.authorize()
    return call.json(await call.port.read(list_groups))


async def info(call: AdminCall) -> Response:
    """Describe a group."""
    call.authorize()
    group = get_group(call.view(), call.parameter("group"))
    return call.json(
        {
            "name": group.name,
            "status": ENABLED if group.is_enabled else DISABLED,
            "members": group.members,
            "policy": ",".join(group.policies),
            "updatedAt": rfc3339(group.updated_ms),
        }
    )


async def set_status(call: AdminCall) -> Response:
    """Let a group's policies count for its members, or not."""
    name, enabled = call.parameter("group"), is_enabled(call.optional("status"))
    call.authorize("admin:EnableGroup" if enabled else "admin:DisableGroup")
    await call.commit(lambda tx: set_group_enabled(tx, name, enabled), name)
    return call.answer()

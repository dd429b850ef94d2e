"""Operations on users."""

import msgspec

from hosu.identity.policies import set_policies
from hosu.identity.records import User
from hosu.identity.users import get_user, list_users, put_user, remove_user, set_user_enabled
from hosu.objects.transaction import Tx
from hosu.server.http import Response
from hosu.server.minio_admin.call import AdminCall, decode, rfc3339
from hosu.server.minio_admin.errors import AdminError

ENABLED, DISABLED = "enabled", "disabled"


class NewUser(msgspec.Struct, forbid_unknown_fields=True, rename="camel"):
    """The body of add-user."""

    secret_key: str
    status: str = ENABLED
    policy: str = ""

    def __repr__(self) -> str:
        return "<NewUser>"


def is_enabled(status: str) -> bool:
    """Read a status; raises for any other word."""
    if status not in {ENABLED, DISABLED}:
        raise AdminError("InvalidArgument", f"status {status!r} is not allowed: give enabled or disabled")
    return status == ENABLED


async def add_user(call: AdminCall) -> Response:
    """Make a user or replace the secret of one; users may replace their own, in person, unless a policy denies it.

    To give policies at the same time takes the permission to attach them as well.
    """
    name = call.parameter("accessKey")
    if name == call.caller.access_key:
        call.authorize_for(name)
    else:
        call.authorize()
    body = decode(await call.opened(), NewUser)
    policies, enabled, vault = names_in(body.policy), is_enabled(body.status), call.authority.vault
    if policies:
        # Who may make users could make one who may do everything: policies are given by those who may give them.
        call.authorize("admin:AttachUserOrGroupPolicy")
        call.authorize("admin:CreateUser")
    if not enabled:
        _refuse_self(call, name, "disable")

    def add(tx: Tx) -> None:
        put_user(tx, vault, name, body.secret_key, is_enabled=enabled)
        if policies:
            set_policies(tx, policies, user=name)

    await call.commit(add, name)
    return call.answer()


async def list_all(call: AdminCall) -> Response:
    """List all users."""
    call.authorize()
    users = await call.port.read(list_users)
    return await call.sealed({user.name: described(user) for user in users})


async def info(call: AdminCall) -> Response:
    """Describe a user; users may look at themselves."""
    name = call.parameter("accessKey")
    call.authorize_for(name)
    return call.json(described(get_user(call.view(), name)))


async def set_status(call: AdminCall) -> Response:
    """Let a user in, or not."""
    name, enabled = call.parameter("accessKey"), is_enabled(call.optional("status"))
    call.authorize("admin:EnableUser" if enabled else "admin:DisableUser")
    _refuse_self(call, name, "disable or enable")
    await call.commit(lambda tx: set_user_enabled(tx, name, enabled), name)
    return call.answer()


async def remove(call: AdminCall) -> Response:
    """Remove a user with all keys and sessions."""
    name = call.parameter("accessKey")
    call.authorize()
    _refuse_self(call, name, "remove")
    await call.commit(lambda tx: remove_user(tx, name), name)
    return call.answer()


def described(user: User) -> dict[str, object]:
    """Describe a user as clients read it; no secret is among it."""
    found: dict[str, object] = {"status": ENABLED if user.is_enabled else DISABLED}
    if user.policies:
        found["policyName"] = ",".join(user.policies)
    if user.groups:
        found["memberOf"] = user.groups
    return found | {"updatedAt": rfc3339(user.updated_ms)}


def names_in(text: str) -> list[str]:
    """Return the names of a list with commas."""
    return [name.strip() for name in text.split(",") if name.strip()]


def _refuse_self(call: AdminCall, name: str, verb: str) -> None:
    if name == call.user:
        raise AdminError("InvalidArgument", f"{name!r} cannot {verb} itself: let another administrator do it")

"""Operations on service accounts, and looks at them and at sessions."""

from collections.abc import Mapping

import msgspec

from hosu.identity.keys import create_key, get_key, list_keys, remove_key, update_key
from hosu.identity.records import AccessKey, NewKey
from hosu.identity.users import get_user, list_users
from hosu.kernel.errors import NotFoundError
from hosu.objects.transaction import Tx
from hosu.objects.views import View
from hosu.server.http import Response
from hosu.server.minio_admin.account import rights_of
from hosu.server.minio_admin.call import NEVER_EXPIRES, AdminCall, decode, document, parse_time, rfc3339
from hosu.server.minio_admin.errors import AdminError

LIST_TYPES = frozenset({"all", "users-only", "sts-only", "svcacc-only"})
STATUSES: Mapping[str, bool] = {"on": True, "enabled": True, "off": False, "disabled": False}


class NewServiceAccount(msgspec.Struct, forbid_unknown_fields=True, rename="camel"):
    """The body of add-service-account."""

    policy: msgspec.Raw = msgspec.Raw(b"null")
    target_user: str | None = None
    access_key: str | None = None
    secret_key: str | None = None
    name: str | None = None
    description: str | None = None
    comment: str | None = None
    expiration: str | None = None
    status: str | None = None

    def __repr__(self) -> str:
        return "<NewServiceAccount>"


class ServiceAccountChange(msgspec.Struct, forbid_unknown_fields=True, rename="camel"):
    """The body of update-service-account; what is not given stays."""

    new_policy: msgspec.Raw = msgspec.Raw(b"null")
    new_secret_key: str | None = None
    new_status: str | None = None
    new_name: str | None = None
    new_description: str | None = None
    new_expiration: str | None = None

    def __repr__(self) -> str:
        return "<ServiceAccountChange>"


async def add(call: AdminCall) -> Response:
    """Make a service account, of the caller's own user unless another is named."""
    body = decode(await call.opened(), NewServiceAccount)
    owner = body.target_user or call.user
    call.authorize_for(owner)
    policy, expires_ms = document(body.policy), parse_time(body.expiration, "expiration")
    enabled, vault = _status(body.status or "on"), call.authority.vault

    def create(tx: Tx) -> NewKey:
        made = create_key(
            tx,
            vault,
            owner,
            access_key=body.access_key or "",
            secret=body.secret_key or "",
            policy=policy,
            name=body.name or "",
            description=body.description or body.comment or "",
            expires_ms=expires_ms,
        )
        if not enabled:
            update_key(tx, vault, made.access_key, is_enabled=False)
        if tx.origin is not None:
            tx.origin = msgspec.structs.replace(tx.origin, key=made.access_key)
        return made

    made = await call.commit(create)
    credentials = {
        "accessKey": made.access_key,
        "secretKey": made.secret,
        "expiration": rfc3339(made.expires_ms, NEVER_EXPIRES),
    }
    return await call.sealed({"credentials": credentials})


async def update(call: AdminCall) -> Response:
    """Change a service account."""
    key = _service_account(call)
    body = decode(await call.opened(), ServiceAccountChange)
    has_policy = bytes(body.new_policy) not in {b"", b"null"}
    policy = document(body.new_policy) if has_policy else None
    enabled = None if body.new_status is None else _status(body.new_status)
    expires_ms = None if body.new_expiration is None else parse_time(body.new_expiration, "newExpiration")
    vault = call.authority.vault
    await call.commit(
        lambda tx: update_key(
            tx,
            vault,
            key.access_key,
            secret=body.new_secret_key or None,
            policy=policy,
            is_enabled=enabled,
            name=body.new_name,
            description=body.new_description,
            expires_ms=expires_ms,
        ),
        key.access_key,
        status=204,
    )
    return call.answer(status=204)


async def delete(call: AdminCall) -> Response:
    """Remove a service account."""
    key = _service_account(call)
    await call.commit(lambda tx: remove_key(tx, key.access_key), key.access_key, status=204)
    return call.answer(status=204)


async def info(call: AdminCall) -> Response:
    """Describe a service account."""
    key = _service_account(call)
    return await call.sealed(_details(call, key))


async def info_of_session(call: AdminCall) -> Response:
    """Describe temporary credentials."""
    return await call.sealed(_details(call, _key(call, "session")))


async def info_of_any(call: AdminCall) -> Response:
    """Describe a service account or temporary credentials, and where their user comes from."""
    name = call.optional("accessKey") or call.caller.access_key
    if name == call.user:
        raise AdminError("InvalidArgument", f"{name!r} is a user: ask for user-info")
    key = _key(call, None, name)
    provider = "builtin" if _is_builtin(call, key) else "openid"
    details = {
        "AccessKey": key.access_key,
        **_details(call, key),
        "userType": "STS" if key.kind == "session" else "Service Account",
        "userProvider": provider,
        "ldapSpecificInfo": {"username": ""},
        "openIDSpecificInfo": {"configName": "_", "userID": key.parent} if provider == "openid" else {},
    }
    return await call.sealed(details)


async def list_of_user(call: AdminCall) -> Response:
    """List the service accounts of a user."""
    owner = call.optional("user") or call.user
    call.authorize_for(owner)
    keys = await call.port.read(lambda view: list_keys(view, owner, "service"))
    return await call.sealed({"accounts": [_summary(key) for key in keys]})


async def list_in_bulk(call: AdminCall) -> Response:
    """List the keys of all users, of those named, or of the caller's own."""
    users, everybody, kind = call.several("users"), call.optional("all") == "true", call.optional("listType") or "all"
    if kind not in LIST_TYPES:
        raise AdminError("InvalidArgument", f"listType {kind!r} is not allowed: give one of {sorted(LIST_TYPES)}")
    if users and everybody:
        raise AdminError("InvalidArgument", "name users or all=true, and not both")
    own = [call.user]
    if everybody or (users and users != own):
        call.authorize()
    else:
        call.authorize_for(call.user)
    root = call.authority.vault.root_name

    def gather(view: View) -> dict[str, dict[str, list[dict[str, object]]]]:
        with view.snapshot():
            names = [root, *(user.name for user in list_users(view))] if everybody else users or own
            return {name: _keys_of(view, name, kind) for name in names}

    return await call.sealed(await call.port.read(gather))


def _keys_of(view: View, name: str, kind: str) -> dict[str, list[dict[str, object]]]:
    services = list_keys(view, name, "service") if kind in {"all", "svcacc-only"} else []
    sessions = list_keys(view, name, "session") if kind in {"all", "sts-only"} else []
    return {"serviceAccounts": [_summary(key) for key in services], "stsKeys": [_summary(key) for key in sessions]}


def _service_account(call: AdminCall) -> AccessKey:
    return _key(call, "service")


def _key(call: AdminCall, kind: str | None, name: str = "") -> AccessKey:
    """Return a key of this kind that the caller may deal with; to others it is not there."""
    name = name or call.parameter("accessKey")
    try:
        key = get_key(call.view(), name)
    except NotFoundError:
        key = None
    if key is None or kind not in {None, key.kind}:
        call.authorize()  # who may not ask does not learn which keys there are
        code = "XMinioInvalidIAMCredentials" if kind == "session" else "XMinioAdminServiceAccountNotFound"
        raise AdminError(code, f"there is no access key {name!r} of this kind", status=404)
    call.authorize_for(key.parent)
    return key


def _details(call: AdminCall, key: AccessKey) -> dict[str, object]:
    found = _state(key) | {"policy": key.policy or rights_of(call, key.parent)}
    return found | {"expiration": rfc3339(key.expires_ms)} if key.expires_ms else found


def _summary(key: AccessKey) -> dict[str, object]:
    return _state(key) | {"accessKey": key.access_key, "expiration": rfc3339(key.expires_ms, NEVER_EXPIRES)}


def _state(key: AccessKey) -> dict[str, object]:
    found: dict[str, object] = {
        "parentUser": key.parent,
        "accountStatus": "on" if key.is_enabled else "off",
        "impliedPolicy": not key.policy,
    }
    if key.name:
        found["name"] = key.name
    if key.description:
        found["description"] = key.description
    return found


def _is_builtin(call: AdminCall, key: AccessKey) -> bool:
    if key.parent == call.authority.vault.root_name:
        return True
    try:
        get_user(call.view(), key.parent)
    except NotFoundError:
        return False
    return True


def _status(text: str) -> bool:
    if text not in STATUSES:
        raise AdminError("InvalidArgument", f"status {text!r} is not allowed: give on or off")
    return STATUSES[text]

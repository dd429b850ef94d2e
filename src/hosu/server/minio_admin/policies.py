"""Operations on policies, and on whom they are attached to."""

from collections.abc import Sequence

import msgspec

from hosu.identity.policies import (
    attach,
    detach,
    get_policy,
    list_policies,
    policy_entities,
    put_policy,
    remove_policy,
    set_policies,
)
from hosu.identity.records import GroupPolicies, PolicyUses, StoredPolicy, UserPolicies
from hosu.server.http import Response
from hosu.server.minio_admin.call import AdminCall, decode, rfc3339
from hosu.server.minio_admin.errors import AdminError
from hosu.server.minio_admin.users import names_in

TEXT = b"text/plain; charset=utf-8"


class Association(msgspec.Struct, forbid_unknown_fields=True, rename="camel"):
    """The body of attach and detach."""

    policies: list[str]
    user: str = ""
    group: str = ""
    config_name: str = ""

    @property
    def entity(self) -> str:
        """Whom it is about."""
        return self.user or self.group


async def create(call: AdminCall) -> Response:
    """Make a policy or replace its text, which is kept as it is."""
    call.authorize()
    name = call.parameter("name")
    try:
        text = call.plain().decode()
    except UnicodeDecodeError as error:
        raise AdminError("XMinioMalformedIAMPolicy", "the policy is not UTF-8") from error
    await call.commit(lambda tx: put_policy(tx, name, text), name)
    return call.answer()


async def list_all(call: AdminCall) -> Response:
    """List all policies with their documents."""
    call.authorize()
    found = await call.port.read(list_policies)
    return call.answer(msgspec.json.encode({policy.name: msgspec.Raw(policy.text.encode()) for policy in found}), TEXT)


async def info(call: AdminCall) -> Response:
    """Describe a policy: its bare document, or with `v=2` its name and times as well."""
    call.authorize()
    policy = get_policy(call.view(), call.parameter("name"))
    if call.optional("v") != "2":
        return call.answer(policy.text.encode())
    return call.json(_described(policy))


async def remove(call: AdminCall) -> Response:
    """Remove a policy that is attached to nobody."""
    call.authorize()
    name = call.parameter("name")
    await call.commit(lambda tx: remove_policy(tx, name), name)
    return call.answer()


async def attach_policies(call: AdminCall) -> Response:
    """Attach policies to a user or a group."""
    call.authorize()
    body = await _association(call)
    added = await call.commit(lambda tx: attach(tx, body.policies, user=body.user, group=body.group), body.entity)
    return await _changed(call, "policiesAttached", added)


async def detach_policies(call: AdminCall) -> Response:
    """Detach policies from a user or a group."""
    call.authorize()
    body = await _association(call)
    removed = await call.commit(lambda tx: detach(tx, body.policies, user=body.user, group=body.group), body.entity)
    return await _changed(call, "policiesDetached", removed)


async def set_for(call: AdminCall) -> Response:
    """Let a user or a group have these policies and no others: the older call for it."""
    call.authorize()
    names, entity = names_in(call.optional("policyName")), call.parameter("userOrGroup")
    is_group = call.optional("isGroup") or "false"
    if is_group not in {"true", "false"}:
        raise AdminError("InvalidArgument", f"isGroup {is_group!r} is not allowed: give true or false")
    whom = {"group": entity} if is_group == "true" else {"user": entity}
    await call.commit(lambda tx: set_policies(tx, names, **whom), entity)
    return call.answer()


async def entities(call: AdminCall) -> Response:
    """Say who has which policies."""
    call.authorize()
    users, groups, policies = call.several("user"), call.several("group"), call.several("policy")
    found = await call.port.read(lambda view: policy_entities(view, users=users, groups=groups, policies=policies))
    answer: dict[str, object] = {"timestamp": rfc3339(call.port.store.clock.now_ms())}
    if found.users:
        answer["userMappings"] = [_user_mapping(user) for user in found.users]
    if found.groups:
        answer["groupMappings"] = [_group_mapping(group) for group in found.groups]
    if found.policies:
        answer["policyMappings"] = [_policy_mapping(uses) for uses in found.policies]
    return await call.sealed(answer)


async def _association(call: AdminCall) -> Association:
    body = decode(await call.opened(), Association)
    if not body.policies:
        raise AdminError("InvalidArgument", "the body names no policies")
    if body.config_name:
        raise AdminError("InvalidArgument", f"configName {body.config_name!r}: identity providers have no users here")
    return body


async def _changed(call: AdminCall, field: str, names: Sequence[str]) -> Response:
    if not names:
        raise AdminError("XMinioAdminPolicyChangeAlreadyApplied", "The specified policy change is already in effect.")
    return await call.sealed({field: names, "updatedAt": rfc3339(call.port.store.clock.now_ms())})


def _described(policy: StoredPolicy) -> dict[str, object]:
    found: dict[str, object] = {"PolicyName": policy.name, "Policy": msgspec.Raw(policy.text.encode())}
    if policy.created_ms:
        found |= {"CreateDate": rfc3339(policy.created_ms), "UpdateDate": rfc3339(policy.updated_ms)}
    return found


def _user_mapping(user: UserPolicies) -> dict[str, object]:
    found: dict[str, object] = {"user": user.user, "policies": user.policies}
    if user.groups:
        found["memberOfMappings"] = [_group_mapping(group) for group in user.groups]
    return found


def _group_mapping(group: GroupPolicies) -> dict[str, object]:
    return {"group": group.group, "policies": group.policies}


def _policy_mapping(uses: PolicyUses) -> dict[str, object]:
    return {"policy": uses.policy, "users": uses.users or None, "groups": uses.groups or None}

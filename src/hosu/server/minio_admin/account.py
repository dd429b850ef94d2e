"""What an account may do, and a caller's look at its own."""

import json
from functools import partial
from typing import Any

import msgspec

from hosu.identity.groups import get_group
from hosu.identity.policies import get_policy
from hosu.identity.policy import BUILTIN_POLICIES
from hosu.identity.users import get_user
from hosu.kernel.errors import NotFoundError
from hosu.objects.buckets import list_buckets
from hosu.objects.records import Bucket, Versioning
from hosu.objects.views import View
from hosu.server.http import Response
from hosu.server.minio_admin.call import AdminCall, rfc3339
from hosu.server.minio_admin.info import BACKEND

EVERYTHING = "consoleAdmin"
"""The built-in policy that says what root may do."""

_VERSIONING = {
    Versioning.NEVER: {},
    Versioning.ENABLED: {"versioning": True},
    Versioning.SUSPENDED: {"versioningSuspended": True},
}


def rights_of(call: AdminCall, name: str) -> str:
    """Return all policies of a user, and of the user's groups, as one document; it allows nothing to who has none."""
    if name == call.authority.vault.root_name:
        return BUILTIN_POLICIES[EVERYTHING]
    view = call.view()
    with view.snapshot():
        texts = [get_policy(view, policy).text for policy in _policies_of(view, name)]
    statements: list[Any] = []
    for text in texts:
        found = json.loads(text)["Statement"]
        statements += found if isinstance(found, list) else [found]
    return json.dumps({"Version": "2012-10-17", "Statement": statements})


def _policies_of(view: View, name: str) -> list[str]:
    try:
        user = get_user(view, name)
    except NotFoundError:  # an identity provider's: its rights are those of its session
        return []
    groups = [group for group in (get_group(view, group) for group in user.groups) if group.is_enabled]
    names = [*user.policies, *(policy for group in groups for policy in group.policies)]
    return list(dict.fromkeys(names))


async def account_info(call: AdminCall) -> Response:
    """Describe the caller's own account: its rights, and the buckets it may read or write."""
    call.allow_everybody()
    key = call.key()
    rights = key.policy if key is not None and key.policy else rights_of(call, call.user)
    return call.json(
        {
            "AccountName": call.caller.access_key,
            "Server": {"Type": BACKEND},
            "Policy": msgspec.Raw(rights.encode()),
            "Buckets": await call.port.read(partial(_buckets, call)),
        }
    )


def _buckets(call: AdminCall, view: View) -> list[dict[str, object]]:
    """Describe the buckets a caller may read or write. Of thousands it takes long: not on the event loop."""
    found = []
    for bucket in list_buckets(view):
        access = {"read": _may_read(call, bucket.name), "write": _may_write(call, bucket.name)}
        if any(access.values()):
            found.append(_bucket(bucket, access))
    return found


def _bucket(bucket: Bucket, access: dict[str, bool]) -> dict[str, object]:
    usage = bucket.usage
    details: dict[str, object] = dict(_VERSIONING[bucket.versioning])
    if bucket.quota_bytes:
        details["quota"] = {"quota": bucket.quota_bytes, "quotatype": "hard"}
    return {
        "name": bucket.name,
        "size": usage.object_bytes + usage.version_bytes,
        "objects": usage.object_count,
        "details": details,
        "created": rfc3339(bucket.created_ms),
        "access": access,
    }


def _may_read(call: AdminCall, bucket: str) -> bool:
    return call.is_allowed("s3:ListBucket", bucket) or call.is_allowed("s3:GetBucketLocation", bucket)


def _may_write(call: AdminCall, bucket: str) -> bool:
    return call.is_allowed("s3:PutObject", f"{bucket}/")

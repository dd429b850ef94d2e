"""Operations on quotas of buckets."""

import msgspec

from hosu.objects.quota import set_quota
from hosu.server.http import Response
from hosu.server.minio_admin.call import AdminCall, decode
from hosu.server.minio_admin.errors import AdminError, unsupported

HARD = "hard"


class BucketQuota(msgspec.Struct, forbid_unknown_fields=True):
    """A quota as clients send it. `quota` and `size` are the same number of bytes; 0 is no limit."""

    quota: int = 0
    size: int = 0
    rate: int = 0
    requests: int = 0
    quotatype: str = ""


async def set_for_bucket(call: AdminCall) -> Response:
    """Limit what a bucket may hold, or take the limit back."""
    bucket = call.parameter("bucket")
    call.authorize(resource=bucket)
    body = decode(call.plain(), BucketQuota)
    if body.rate or body.requests:
        raise unsupported("a quota of rate or requests", "hosu limits bytes alone; limit requests at a proxy")
    if body.quotatype not in {"", HARD}:
        raise AdminError("InvalidArgument", f"quotatype {body.quotatype!r} is not supported: give {HARD!r}")
    if body.quota and body.size and body.quota != body.size:
        raise AdminError("InvalidArgument", f"quota {body.quota} and size {body.size} differ: give one of them")
    quota_bytes, actor = body.quota or body.size, call.caller.principal.name
    await call.commit(lambda tx: set_quota(tx, bucket, quota_bytes, actor=actor), bucket=bucket)
    return call.answer()


async def get_of_bucket(call: AdminCall) -> Response:
    """Tell a bucket's limit."""
    name = call.parameter("bucket")
    call.authorize(resource=name)
    quota_bytes = call.view().bucket(name).quota_bytes
    answer: dict[str, object] = {"quota": quota_bytes, "size": quota_bytes, "rate": 0, "requests": 0}
    return call.json(answer | {"quotatype": HARD} if quota_bytes else answer)

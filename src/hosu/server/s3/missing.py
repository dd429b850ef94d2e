"""What a key that is not there gives away: as S3 has it, that it is not there is for those alone who may list."""

from hosu.kernel.errors import AccessDeniedError, ErrorKind, HosuError
from hosu.server.s3.call import Call
from hosu.server.s3.conditions import LookContext


def hide_missing(call: Call, error: HosuError, bucket: str, key: str, version_id: str | None) -> HosuError:
    """Return the error that says a key is not there to whoever may list it, and refuses everybody else."""
    return error if may_list(call, bucket, key, version_id) else _denied(call, bucket, key)


def may_list(call: Call, bucket: str, key: str, version_id: str | None) -> bool:
    """Whether a request's principal may learn by a listing that a key, or a version of it, is not there."""
    action = "s3:ListBucketVersions" if version_id else "s3:ListBucket"
    return call.is_allowed(action, LookContext(call, action, bucket, key), bucket)


def _denied(call: Call, bucket: str, key: str) -> AccessDeniedError:
    return AccessDeniedError(ErrorKind.ACCESS_DENIED, f"{call.principal.name} may not read {bucket}/{key}")

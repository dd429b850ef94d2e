"""Permission of a request: the question its operation asks, and what the answer may give away.

As S3 has it, a bucket that is not there is no secret, and whether a key is there is one of those who may not list.
"""

from hosu.kernel.errors import AccessDeniedError, ErrorKind, HosuError, NotFoundError
from hosu.objects.read import find
from hosu.server.s3.call import Call
from hosu.server.s3.missing import hide_missing, may_list
from hosu.server.s3.routes import Operation

_MISSING = frozenset({ErrorKind.OBJECT_NOT_FOUND, ErrorKind.VERSION_NOT_FOUND})
_READS = frozenset({"GET", "HEAD"})


def authorize(call: Call, operation: Operation) -> None:
    """Ask whether the request's principal may do what the operation is."""
    is_about_version = call.request.raw_query and operation.version_action and call.version_id is not None
    call.authorize(operation.version_action if is_about_version else operation.action)


def judge(call: Call, error: HosuError) -> HosuError:
    """Return the error that a request is answered with, where this one says too much or too little."""
    if isinstance(error, AccessDeniedError) and error.kind is ErrorKind.ACCESS_DENIED:
        return _explain(call, error)
    if error.kind in _MISSING and call.request.method in _READS and call.key and not call.principal.is_root:
        return hide_missing(call, error, call.bucket, call.key, call.query.get("versionId"))
    return error


def _explain(call: Call, error: AccessDeniedError) -> HosuError:
    """Return the error of a refused request: not there, for what is not there and may be known not to be."""
    if not call.bucket or call.operation == "CreateBucket":
        return error
    try:
        view = call.engine.store.view()
        view.bucket(call.bucket)
        if call.request.method in _READS and call.key:
            with view.snapshot():
                find(view, call.bucket, call.key, call.query.get("versionId") or None)
    except NotFoundError as missing:
        if missing.kind is ErrorKind.BUCKET_NOT_FOUND:
            return missing
        if may_list(call, call.bucket, call.key, call.query.get("versionId")):
            return missing
    except HosuError:  # a lake that cannot be read right now: what is denied stays denied
        return error
    return error

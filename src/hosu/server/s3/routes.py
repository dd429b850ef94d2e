"""The table of operations: which request is which, what action it asks permission for, and who answers.

Within a method and a target (service, bucket or object) the first row whose query parameters are all
present answers; rows without parameters are last.
"""

from collections.abc import Awaitable, Callable
from typing import NamedTuple

from hosu.server.http import Response
from hosu.server.s3 import buckets, copy, cors, delete, get, multipart, post, put, tagging, unset
from hosu.server.s3 import list as listing
from hosu.server.s3.call import Call
from hosu.server.s3.headers import check_owner

COPY_SOURCE = b"x-amz-copy-source"
EXPECTED_OWNER = b"x-amz-expected-bucket-owner"
Handler = Callable[[Call], Response | Awaitable[Response]]


class Operation(NamedTuple):
    """One row: method and target, the query parameters and header that tell it apart, its name and handler."""

    method: str
    target: str
    parameters: tuple[str, ...]
    name: str
    handler: Handler
    header: bytes = b""


def _subresources(
    method: str, target: str, names: "tuple[str, ...] | dict[str, tuple[str, str]]", verb: str, handler: Handler
) -> tuple[Operation, ...]:
    return tuple(Operation(method, target, (name,), f"{verb}{name[0].upper()}{name[1:]}", handler) for name in names)


_UNSET = (*unset.UNSET_BUCKET_CODES, *unset.EMPTY_BUCKET_DOCUMENTS, *unset.UNKNOWN_BUCKET_SUBRESOURCES)
_UNSET_OBJECT = (*unset.UNSET_OBJECT_CODES, *unset.UNKNOWN_OBJECT_SUBRESOURCES)

OPERATIONS: tuple[Operation, ...] = (
    Operation("GET", "service", (), "ListBuckets", buckets.list_all),
    # Buckets
    Operation("GET", "bucket", ("location",), "GetBucketLocation", buckets.get_location),
    Operation("GET", "bucket", ("versioning",), "GetBucketVersioning", buckets.get_versioning),
    Operation("GET", "bucket", ("versions",), "ListObjectVersions", listing.list_object_versions),
    Operation("GET", "bucket", ("uploads",), "ListMultipartUploads", multipart.list_all),
    Operation("GET", "bucket", ("tagging",), "GetBucketTagging", tagging.get_bucket_tagging),
    Operation("GET", "bucket", ("cors",), "GetBucketCors", cors.get_cors),
    Operation("GET", "bucket", ("acl",), "GetBucketAcl", unset.get_acl),
    *_subresources("GET", "bucket", unset.UNSET_BUCKET_CODES, "GetBucket", unset.get_unset_bucket),
    *_subresources("GET", "bucket", tuple(unset.EMPTY_BUCKET_DOCUMENTS), "GetBucket", unset.get_empty_bucket),
    *_subresources("GET", "bucket", unset.UNKNOWN_BUCKET_SUBRESOURCES, "GetBucket", unset.refuse),
    Operation("GET", "bucket", ("events",), "ListenNotification", unset.refuse),
    Operation("GET", "bucket", ("list-type",), "ListObjectsV2", listing.list_objects_v2),
    Operation("GET", "bucket", (), "ListObjects", listing.list_objects_v1),
    Operation("HEAD", "bucket", (), "HeadBucket", buckets.head),
    Operation("PUT", "bucket", ("versioning",), "PutBucketVersioning", buckets.put_versioning),
    Operation("PUT", "bucket", ("tagging",), "PutBucketTagging", tagging.put_bucket_tagging),
    Operation("PUT", "bucket", ("cors",), "PutBucketCors", cors.put_cors),
    Operation("PUT", "bucket", ("acl",), "PutBucketAcl", unset.put_acl),
    *_subresources("PUT", "bucket", _UNSET, "PutBucket", unset.refuse),
    Operation("PUT", "bucket", (), "CreateBucket", buckets.create),
    Operation("POST", "bucket", ("delete",), "DeleteObjects", delete.delete_many),
    Operation("POST", "bucket", (), "PostObject", post.post),
    Operation("DELETE", "bucket", ("tagging",), "DeleteBucketTagging", tagging.delete_bucket_tagging),
    Operation("DELETE", "bucket", ("cors",), "DeleteBucketCors", cors.delete_cors),
    *_subresources("DELETE", "bucket", unset.UNSET_BUCKET_CODES, "DeleteBucket", unset.delete_unset_bucket),
    *_subresources("DELETE", "bucket", unset.UNKNOWN_BUCKET_SUBRESOURCES, "DeleteBucket", unset.refuse),
    Operation("DELETE", "bucket", (), "DeleteBucket", buckets.delete),
    # Objects
    Operation("GET", "object", ("uploadId",), "ListParts", multipart.list_all_parts),
    Operation("GET", "object", ("tagging",), "GetObjectTagging", tagging.get_object_tagging),
    Operation("GET", "object", ("attributes",), "GetObjectAttributes", get.get_object_attributes),
    Operation("GET", "object", ("acl",), "GetObjectAcl", unset.get_acl),
    *_subresources("GET", "object", unset.UNSET_OBJECT_CODES, "GetObject", unset.get_unset_object),
    *_subresources("GET", "object", unset.UNKNOWN_OBJECT_SUBRESOURCES, "GetObject", unset.refuse),
    Operation("GET", "object", (), "GetObject", get.get_object),
    Operation("HEAD", "object", (), "HeadObject", get.head_object),
    Operation("PUT", "object", ("uploadId", "partNumber"), "UploadPartCopy", copy.copy_part, header=COPY_SOURCE),
    Operation("PUT", "object", ("uploadId",), "UploadPart", multipart.put_part),
    Operation("PUT", "object", ("tagging",), "PutObjectTagging", tagging.put_object_tagging),
    Operation("PUT", "object", ("acl",), "PutObjectAcl", unset.put_acl),
    *_subresources("PUT", "object", _UNSET_OBJECT, "PutObject", unset.refuse),
    Operation("PUT", "object", (), "CopyObject", copy.copy, header=COPY_SOURCE),
    Operation("PUT", "object", (), "PutObject", put.put),
    Operation("POST", "object", ("uploads",), "CreateMultipartUpload", multipart.create),
    Operation("POST", "object", ("uploadId",), "CompleteMultipartUpload", multipart.complete),
    *_subresources("POST", "object", _UNSET_OBJECT, "PostObject", unset.refuse),
    Operation("DELETE", "object", ("uploadId",), "AbortMultipartUpload", multipart.abort),
    Operation("DELETE", "object", ("tagging",), "DeleteObjectTagging", tagging.delete_object_tagging),
    *_subresources("DELETE", "object", _UNSET_OBJECT, "DeleteObject", unset.refuse),
    Operation("DELETE", "object", (), "DeleteObject", delete.delete),
)
"""Every request this server answers; anything else is MethodNotAllowed."""

_BY_TARGET: dict[tuple[str, str], list[Operation]] = {}
for _operation in OPERATIONS:
    _BY_TARGET.setdefault((_operation.method, _operation.target), []).append(_operation)


_PLAIN = {(row.method, row.target): row for row in OPERATIONS if not row.parameters and not row.header}
"""Operations of requests without a query."""


SUB_RESOURCES = frozenset(name for row in OPERATIONS for name in row.parameters) - {
    "list-type",
    "partNumber",
    "uploadId",
}
"""Parameters that name a part of a bucket or object: a request for one never acts on the whole."""


def find_operation(call: Call) -> Operation | None:
    """Return the operation a request asks for; None when there is none."""
    request = call.request
    if EXPECTED_OWNER in request.fields:
        check_owner(call, EXPECTED_OWNER)
    wanted = (request.method, "object" if call.key else "bucket" if call.bucket else "service")
    if not request.raw_query and COPY_SOURCE not in request.fields:
        return _PLAIN.get(wanted)
    rows, query = _BY_TARGET.get(wanted, ()), call.query
    for row in rows:
        if all(name in query for name in row.parameters) and _has_header(call, row):
            return row if row.parameters or SUB_RESOURCES.isdisjoint(query) else None
    return None


def _has_header(call: Call, row: Operation) -> bool:
    return not row.header or row.header in call.request.fields

"""The table of operations: which request is which, what action it asks permission for, and who answers.

Within a method and a target (service, bucket or object) the first row whose query parameters are all
present answers; rows without parameters are last.
"""

from collections.abc import Awaitable, Callable, Iterable
from typing import NamedTuple

from hosu.server.http import Response
from hosu.server.s3 import (
    acl,
    buckets,
    copy,
    cors,
    delete,
    encryption_config,
    get,
    lifecycle,
    listen,
    multipart,
    notification,
    object_lock,
    ownership,
    policy,
    post,
    public_access,
    put,
    tagging,
    unset,
)
from hosu.server.s3 import list as listing
from hosu.server.s3.call import Call
from hosu.server.s3.headers import check_owner

COPY_SOURCE = b"x-amz-copy-source"
EXPECTED_OWNER = b"x-amz-expected-bucket-owner"
Handler = Callable[[Call], Response | Awaitable[Response]]


class Operation(NamedTuple):
    """One row: method and target, the query parameters and header that tell it apart, and what it asks for.

    `action` on the target is asked before the handler runs; `version_action` instead of it where a version is named.
    With `is_late` the handler asks itself, because the question depends on the body: `on` says what it is about then.
    """

    method: str
    target: str
    parameters: tuple[str, ...]
    name: str
    handler: Handler
    action: str
    version_action: str = ""
    header: bytes = b""
    is_late: bool = False
    on: str = ""


def _subresources(method: str, target: str, names: Iterable[str], verb: str, handler: Handler) -> tuple[Operation, ...]:
    asked = unset.ACTIONS[target]
    place = {"GET": 0, "DELETE": 2}.get(method, 1)
    return tuple(
        Operation(method, target, (name,), f"{verb}{name[0].upper()}{name[1:]}", handler, asked[name][place])
        for name in names
    )


_UNSET = (*unset.UNSET_BUCKET_CODES, *unset.EMPTY_BUCKET_DOCUMENTS, *unset.UNKNOWN_BUCKET_SUBRESOURCES)

OPERATIONS: tuple[Operation, ...] = (
    Operation("GET", "service", ("events",), "ListenNotification", listen.listen, "s3:ListenNotification"),
    Operation("GET", "service", (), "ListBuckets", buckets.list_all, "s3:ListAllMyBuckets", is_late=True),
    # Buckets
    Operation("GET", "bucket", ("location",), "GetBucketLocation", buckets.get_location, "s3:GetBucketLocation"),
    Operation(
        "GET", "bucket", ("versioning",), "GetBucketVersioning", buckets.get_versioning, "s3:GetBucketVersioning"
    ),
    Operation(
        "GET", "bucket", ("versions",), "ListObjectVersions", listing.list_object_versions, "s3:ListBucketVersions"
    ),
    Operation(
        "GET", "bucket", ("uploads",), "ListMultipartUploads", multipart.list_all, "s3:ListBucketMultipartUploads"
    ),
    Operation("GET", "bucket", ("tagging",), "GetBucketTagging", tagging.get_bucket_tagging, "s3:GetBucketTagging"),
    Operation("GET", "bucket", ("cors",), "GetBucketCors", cors.get_cors, "s3:GetBucketCORS"),
    Operation("GET", "bucket", ("acl",), "GetBucketAcl", acl.get_bucket_acl, "s3:GetBucketAcl"),
    Operation("GET", "bucket", ("policy",), "GetBucketPolicy", policy.get_policy, "s3:GetBucketPolicy"),
    Operation(
        "GET", "bucket", ("policyStatus",), "GetBucketPolicyStatus", policy.get_status, "s3:GetBucketPolicyStatus"
    ),
    Operation(
        "GET", "bucket", ("publicAccessBlock",), "GetPublicAccessBlock", public_access.get_block,
        "s3:GetBucketPublicAccessBlock",
    ),
    Operation(
        "GET", "bucket", ("ownershipControls",), "GetBucketOwnershipControls", ownership.get_controls,
        "s3:GetBucketOwnershipControls",
    ),
    Operation(
        "GET", "bucket", ("encryption",), "GetBucketEncryption", encryption_config.get_encryption,
        "s3:GetEncryptionConfiguration",
    ),
    Operation(
        "GET", "bucket", ("object-lock",), "GetObjectLockConfiguration", object_lock.get_lock_configuration,
        "s3:GetBucketObjectLockConfiguration",
    ),
    Operation(
        "GET", "bucket", ("lifecycle",), "GetBucketLifecycleConfiguration", lifecycle.get_lifecycle_configuration,
        "s3:GetLifecycleConfiguration",
    ),
    *_subresources("GET", "bucket", unset.UNSET_BUCKET_CODES, "GetBucket", unset.get_unset_bucket),
    *_subresources("GET", "bucket", unset.EMPTY_BUCKET_DOCUMENTS, "GetBucket", unset.get_empty_bucket),
    *_subresources("GET", "bucket", unset.UNKNOWN_BUCKET_SUBRESOURCES, "GetBucket", unset.refuse),
    Operation(
        "GET", "bucket", ("events",), "ListenBucketNotification", listen.listen, "s3:ListenBucketNotification"
    ),
    Operation(
        "GET", "bucket", ("notification",), "GetBucketNotificationConfiguration", notification.get_notification,
        "s3:GetBucketNotification",
    ),
    Operation("GET", "bucket", ("list-type",), "ListObjectsV2", listing.list_objects_v2, "s3:ListBucket"),
    Operation("GET", "bucket", (), "ListObjects", listing.list_objects_v1, "s3:ListBucket"),
    Operation("HEAD", "bucket", (), "HeadBucket", buckets.head, "s3:ListBucket"),
    Operation(
        "PUT", "bucket", ("versioning",), "PutBucketVersioning", buckets.put_versioning, "s3:PutBucketVersioning"
    ),
    Operation("PUT", "bucket", ("tagging",), "PutBucketTagging", tagging.put_bucket_tagging, "s3:PutBucketTagging"),
    Operation("PUT", "bucket", ("cors",), "PutBucketCors", cors.put_cors, "s3:PutBucketCORS"),
    Operation("PUT", "bucket", ("acl",), "PutBucketAcl", acl.put_bucket_acl, "s3:PutBucketAcl"),
    Operation("PUT", "bucket", ("policy",), "PutBucketPolicy", policy.put_policy, "s3:PutBucketPolicy"),
    Operation(
        "PUT", "bucket", ("publicAccessBlock",), "PutPublicAccessBlock", public_access.put_block,
        "s3:PutBucketPublicAccessBlock",
    ),
    Operation(
        "PUT", "bucket", ("ownershipControls",), "PutBucketOwnershipControls", ownership.put_controls,
        "s3:PutBucketOwnershipControls",
    ),
    Operation(
        "PUT", "bucket", ("encryption",), "PutBucketEncryption", encryption_config.put_encryption,
        "s3:PutEncryptionConfiguration",
    ),
    Operation(
        "PUT", "bucket", ("object-lock",), "PutObjectLockConfiguration", object_lock.put_lock_configuration,
        "s3:PutBucketObjectLockConfiguration",
    ),
    Operation(
        "PUT", "bucket", ("lifecycle",), "PutBucketLifecycleConfiguration", lifecycle.put_lifecycle,
        "s3:PutLifecycleConfiguration",
    ),
    Operation(
        "PUT", "bucket", ("notification",), "PutBucketNotificationConfiguration", notification.put_notification,
        "s3:PutBucketNotification",
    ),
    *_subresources("PUT", "bucket", _UNSET, "PutBucket", unset.refuse),
    Operation("PUT", "bucket", (), "CreateBucket", buckets.create, "s3:CreateBucket", is_late=True),
    Operation(
        "POST", "bucket", ("delete",), "DeleteObjects", delete.delete_many, "s3:DeleteObject",
        "s3:DeleteObjectVersion", is_late=True, on="object",
    ),
    Operation("POST", "bucket", (), "PostObject", post.post, "s3:PutObject", is_late=True, on="object"),
    Operation(
        "DELETE", "bucket", ("tagging",), "DeleteBucketTagging", tagging.delete_bucket_tagging, "s3:PutBucketTagging"
    ),
    Operation("DELETE", "bucket", ("cors",), "DeleteBucketCors", cors.delete_cors, "s3:PutBucketCORS"),
    Operation("DELETE", "bucket", ("policy",), "DeleteBucketPolicy", policy.delete_policy, "s3:DeleteBucketPolicy"),
    Operation(
        "DELETE", "bucket", ("publicAccessBlock",), "DeletePublicAccessBlock", public_access.delete_block,
        "s3:PutBucketPublicAccessBlock",
    ),
    Operation(
        "DELETE", "bucket", ("ownershipControls",), "DeleteBucketOwnershipControls", ownership.delete_controls,
        "s3:PutBucketOwnershipControls",
    ),
    Operation(
        "DELETE", "bucket", ("encryption",), "DeleteBucketEncryption", encryption_config.delete_encryption,
        "s3:PutEncryptionConfiguration",
    ),
    Operation(
        "DELETE", "bucket", ("lifecycle",), "DeleteBucketLifecycle", lifecycle.delete_lifecycle,
        "s3:PutLifecycleConfiguration",
    ),
    *_subresources("DELETE", "bucket", unset.UNSET_BUCKET_CODES, "DeleteBucket", unset.delete_unset_bucket),
    *_subresources("DELETE", "bucket", unset.UNKNOWN_BUCKET_SUBRESOURCES, "DeleteBucket", unset.refuse),
    Operation("DELETE", "bucket", (), "DeleteBucket", buckets.delete, "s3:DeleteBucket"),
    # Objects
    Operation("GET", "object", ("uploadId",), "ListParts", multipart.list_all_parts, "s3:ListMultipartUploadParts"),
    Operation(
        "GET", "object", ("tagging",), "GetObjectTagging", tagging.get_object_tagging,
        "s3:GetObjectTagging", "s3:GetObjectVersionTagging",
    ),
    Operation(
        "GET", "object", ("attributes",), "GetObjectAttributes", get.get_object_attributes,
        "s3:GetObjectAttributes", "s3:GetObjectVersionAttributes",
    ),
    Operation(
        "GET", "object", ("acl",), "GetObjectAcl", acl.get_object_acl, "s3:GetObjectAcl", "s3:GetObjectVersionAcl"
    ),
    Operation(
        "GET", "object", ("retention",), "GetObjectRetention", object_lock.get_retention, "s3:GetObjectRetention"
    ),
    Operation(
        "GET", "object", ("legal-hold",), "GetObjectLegalHold", object_lock.get_legal_hold, "s3:GetObjectLegalHold"
    ),
    *_subresources("GET", "object", unset.UNKNOWN_OBJECT_SUBRESOURCES, "GetObject", unset.refuse),
    Operation("GET", "object", (), "GetObject", get.get_object, "s3:GetObject", "s3:GetObjectVersion"),
    Operation("HEAD", "object", (), "HeadObject", get.head_object, "s3:GetObject", "s3:GetObjectVersion"),
    Operation(
        "PUT", "object", ("uploadId", "partNumber"), "UploadPartCopy", copy.copy_part, "s3:PutObject",
        header=COPY_SOURCE,
    ),
    Operation("PUT", "object", ("uploadId",), "UploadPart", multipart.put_part, "s3:PutObject"),
    Operation(
        "PUT", "object", ("tagging",), "PutObjectTagging", tagging.put_object_tagging,
        "s3:PutObjectTagging", "s3:PutObjectVersionTagging", is_late=True,
    ),
    Operation(
        "PUT", "object", ("acl",), "PutObjectAcl", acl.put_object_acl, "s3:PutObjectAcl", "s3:PutObjectVersionAcl"
    ),
    Operation(
        "PUT", "object", ("retention",), "PutObjectRetention", object_lock.put_retention, "s3:PutObjectRetention",
        is_late=True,
    ),
    Operation(
        "PUT", "object", ("legal-hold",), "PutObjectLegalHold", object_lock.put_legal_hold, "s3:PutObjectLegalHold",
        is_late=True,
    ),
    *_subresources("PUT", "object", unset.UNKNOWN_OBJECT_SUBRESOURCES, "PutObject", unset.refuse),
    Operation("PUT", "object", (), "CopyObject", copy.copy, "s3:PutObject", header=COPY_SOURCE),
    Operation("PUT", "object", (), "PutObject", put.put, "s3:PutObject"),
    Operation("POST", "object", ("uploads",), "CreateMultipartUpload", multipart.create, "s3:PutObject"),
    Operation("POST", "object", ("uploadId",), "CompleteMultipartUpload", multipart.complete, "s3:PutObject"),
    *_subresources("POST", "object", unset.UNKNOWN_OBJECT_SUBRESOURCES, "PostObject", unset.refuse),
    Operation("DELETE", "object", ("uploadId",), "AbortMultipartUpload", multipart.abort, "s3:AbortMultipartUpload"),
    Operation(
        "DELETE", "object", ("tagging",), "DeleteObjectTagging", tagging.delete_object_tagging,
        "s3:DeleteObjectTagging", "s3:DeleteObjectVersionTagging",
    ),
    *_subresources("DELETE", "object", unset.UNKNOWN_OBJECT_SUBRESOURCES, "DeleteObject", unset.refuse),
    Operation(
        "DELETE", "object", (), "DeleteObject", delete.delete, "s3:DeleteObject", "s3:DeleteObjectVersion"
    ),
)  # fmt: skip
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
        check_owner(call, EXPECTED_OWNER, call.bucket)
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

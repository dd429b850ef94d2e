"""Sub-resources that hosu does not keep: read as S3 reads them when unset, refused by name when written."""

from hosu.server.http import Response
from hosu.server.s3.call import Call
from hosu.server.s3.request_errors import S3RequestError
from hosu.server.s3.xml_write import element, empty_response, xml_response

UNSET_BUCKET_CODES = {
    "replication": ("ReplicationConfigurationNotFoundError", "The replication configuration was not found"),
    "website": ("NoSuchWebsiteConfiguration", "The specified bucket does not have a website configuration"),
}
"""What reading each one says on a bucket where it was never set."""

EMPTY_BUCKET_DOCUMENTS = {
    "accelerate": ("AccelerateConfiguration", ""),
    "logging": ("BucketLoggingStatus", ""),
    "requestPayment": ("RequestPaymentConfiguration", element("Payer", "BucketOwner")),
}
"""Those that S3 shows as empty documents."""

UNKNOWN_BUCKET_SUBRESOURCES = ("analytics", "intelligent-tiering", "inventory", "metrics", "metadataTable", "session")
UNKNOWN_OBJECT_SUBRESOURCES = ("torrent", "select", "restore", "renameObject")

ACTIONS: dict[str, dict[str, tuple[str, str, str]]] = {
    "bucket": {
        "accelerate": ("s3:GetAccelerateConfiguration", *("s3:PutAccelerateConfiguration",) * 2),
        "analytics": ("s3:GetAnalyticsConfiguration", *("s3:PutAnalyticsConfiguration",) * 2),
        "intelligent-tiering": (
            "s3:GetIntelligentTieringConfiguration",
            *("s3:PutIntelligentTieringConfiguration",) * 2,
        ),
        "inventory": ("s3:GetInventoryConfiguration", *("s3:PutInventoryConfiguration",) * 2),
        "logging": ("s3:GetBucketLogging", *("s3:PutBucketLogging",) * 2),
        "metadataTable": (
            "s3:GetBucketMetadataTableConfiguration",
            "s3:CreateBucketMetadataTableConfiguration",
            "s3:DeleteBucketMetadataTableConfiguration",
        ),
        "metrics": ("s3:GetMetricsConfiguration", *("s3:PutMetricsConfiguration",) * 2),
        "replication": ("s3:GetReplicationConfiguration", *("s3:PutReplicationConfiguration",) * 2),
        "requestPayment": ("s3:GetBucketRequestPayment", *("s3:PutBucketRequestPayment",) * 2),
        "session": ("s3:ListBucket", "s3:PutObject", "s3:PutObject"),
        "website": ("s3:GetBucketWebsite", "s3:PutBucketWebsite", "s3:DeleteBucketWebsite"),
    },
    "object": {
        "renameObject": ("s3:GetObject", "s3:PutObject", "s3:DeleteObject"),
        "restore": ("s3:GetObject", "s3:RestoreObject", "s3:RestoreObject"),
        "select": ("s3:GetObject", "s3:GetObject", "s3:GetObject"),
        "torrent": ("s3:GetObject", "s3:PutObject", "s3:DeleteObject"),
    },
}
"""What reading a sub-resource asks for, what writing it does, and what removing it does."""


def subresource_of(call: Call, names: "dict[str, tuple[str, str]] | tuple[str, ...]") -> str:
    """Return which of these a request names."""
    return next(name for name in names if name in call.query)


def get_unset_bucket(call: Call) -> Response:
    """Read a sub-resource of a bucket that was never set."""
    name = subresource_of(call, UNSET_BUCKET_CODES)
    call.engine.store.view().bucket(call.bucket)
    code, message = UNSET_BUCKET_CODES[name]
    raise S3RequestError(code, message, bucket=call.bucket)


def get_empty_bucket(call: Call) -> Response:
    """Read a sub-resource of a bucket that S3 shows as an empty document."""
    name = subresource_of(call, EMPTY_BUCKET_DOCUMENTS)
    call.engine.store.view().bucket(call.bucket)
    return xml_response(call.request.request_id, *EMPTY_BUCKET_DOCUMENTS[name])


def delete_unset_bucket(call: Call) -> Response:
    """Remove what was never set: there is nothing to do, and S3 says so with success."""
    call.engine.store.view().bucket(call.bucket)
    return empty_response(call.request.request_id, status=204)


def refuse(call: Call) -> Response:
    """Refuse what hosu does not do, by name."""
    named = sorted(call.query)
    what = f"{call.request.method} ?{named[0]}" if named else call.request.method
    raise S3RequestError("NotImplemented", f"{what} is not implemented")

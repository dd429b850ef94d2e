"""MinIO's names of S3 operations, where they differ from S3's own."""

_NAMES = {
    "CreateBucket": "PutBucket",
    "CreateMultipartUpload": "NewMultipartUpload",
    "DeleteObjects": "DeleteMultipleObjects",
    "GetBucketAcl": "GetBucketACL",
    "GetBucketObject-lock": "GetBucketObjectLockConfig",
    "GetBucketReplication": "GetBucketReplicationConfig",
    "GetObjectAcl": "GetObjectACL",
    "GetObjectLegal-hold": "GetObjectLegalHold",
    "ListObjects": "ListObjectsV1",
    "ListParts": "ListObjectParts",
    "PostObject": "PostPolicyBucket",
    "PutBucketAcl": "PutBucketACL",
    "PutObjectAcl": "PutObjectACL",
    "UploadPart": "PutObjectPart",
    "UploadPartCopy": "CopyObjectPart",
}


def api_name(operation: str) -> str:
    """Return MinIO's name of an operation."""
    return _NAMES.get(operation, operation)

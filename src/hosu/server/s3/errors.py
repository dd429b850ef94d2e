"""The one table from errors to what S3 answers, and the XML around it."""

from hosu.kernel.errors import AccessDeniedError, ErrorKind, HosuError
from hosu.objects.rendering import escape_xml
from hosu.objects.versions import is_version_id
from hosu.server.http import Response
from hosu.server.s3.request_errors import S3RequestError

S3_CODES: dict[ErrorKind, tuple[str, int]] = {
    ErrorKind.ACCESS_DENIED: ("AccessDenied", 403),
    ErrorKind.ACCESS_KEY_EXISTS: ("XMinioAdminInvalidAccessKey", 400),
    ErrorKind.ACCESS_KEY_NOT_FOUND: ("XMinioInvalidIAMCredentials", 400),
    ErrorKind.ALIAS_NOT_FOUND: ("NoSuchAlias", 404),
    ErrorKind.ALIAS_READ_ONLY: ("AliasReadOnly", 409),
    ErrorKind.BACKUP_BUSY: ("ServiceUnavailable", 503),
    ErrorKind.BACKUP_CORRUPT: ("InternalError", 500),
    ErrorKind.BACKUP_NOT_FOUND: ("InternalError", 500),
    ErrorKind.BRANCH_EXISTS: ("InvalidRequest", 409),
    ErrorKind.BRANCH_NOT_FOUND: ("InvalidArgument", 400),
    ErrorKind.BUCKET_EXISTS: ("BucketAlreadyOwnedByYou", 409),
    ErrorKind.BUCKET_NAME_INVALID: ("InvalidBucketName", 400),
    ErrorKind.BUCKET_NOT_EMPTY: ("BucketNotEmpty", 409),
    ErrorKind.BUCKET_NOT_FOUND: ("NoSuchBucket", 404),
    ErrorKind.BUCKET_VERSIONING_INVALID: ("InvalidBucketState", 409),
    ErrorKind.CHECKSUM_MISMATCH: ("BadDigest", 400),
    ErrorKind.CLIENT_DISCONNECTED: ("RequestTimeout", 400),
    ErrorKind.COLUMN_INVALID: ("InvalidArgument", 400),
    ErrorKind.COMMIT_CONFLICT: ("InvalidRequest", 409),
    ErrorKind.CORRUPT_BLOB: ("InternalError", 500),
    ErrorKind.CORRUPT_LAKE: ("InternalError", 500),
    ErrorKind.CORRUPT_TABLE: ("InternalError", 500),
    ErrorKind.CUSTOMER_KEY_REQUIRED: ("InvalidRequest", 400),
    ErrorKind.CUSTOMER_KEY_WRONG: ("InvalidRequest", 400),
    ErrorKind.DATABASE_EXISTS: ("InvalidRequest", 409),
    ErrorKind.DATABASE_NOT_EMPTY: ("InvalidRequest", 409),
    ErrorKind.DATABASE_NOT_FOUND: ("InvalidArgument", 400),
    ErrorKind.DIGEST_MISMATCH: ("BadDigest", 400),
    ErrorKind.DISK_FAULT: ("ServiceUnavailable", 503),
    ErrorKind.DISK_FULL: ("XMinioStorageFull", 507),
    ErrorKind.ENDPOINT_UNAVAILABLE: ("ServiceUnavailable", 503),
    ErrorKind.FILE_BUSY: ("ServiceUnavailable", 503),
    ErrorKind.FILE_CHANGED: ("ServiceUnavailable", 503),
    ErrorKind.GROUP_NOT_EMPTY: ("XMinioAdminGroupNotEmpty", 400),
    ErrorKind.GROUP_NOT_FOUND: ("XMinioAdminNoSuchGroup", 404),
    ErrorKind.IDENTITY_NAME_INVALID: ("XMinioAdminInvalidAccessKey", 400),
    ErrorKind.INVALID_ARGUMENT: ("InvalidArgument", 400),
    ErrorKind.INVALID_SETTING: ("InvalidArgument", 400),
    ErrorKind.ISSUER_UNAVAILABLE: ("ServiceUnavailable", 503),
    ErrorKind.KEY_CONFLICT: ("InvalidRequest", 409),
    ErrorKind.KEY_INVALID: ("InvalidArgument", 400),
    ErrorKind.KEY_NOT_CONFIGURED: ("NotImplemented", 501),
    ErrorKind.KEY_TOO_LONG: ("KeyTooLongError", 400),
    ErrorKind.LAKE_KEY_MISSING: ("InternalError", 500),
    ErrorKind.LAKE_KEY_WRONG: ("InternalError", 500),
    ErrorKind.LAKE_LOCKED: ("ServiceUnavailable", 503),
    ErrorKind.LAKE_NEWER: ("InternalError", 500),
    ErrorKind.LOCATION_INVALID: ("InvalidArgument", 400),
    ErrorKind.METADATA_TOO_LARGE: ("MetadataTooLarge", 400),
    ErrorKind.METHOD_NOT_ALLOWED: ("MethodNotAllowed", 405),
    ErrorKind.NAMED_KEY_EXISTS: ("XMinioKMSKeyAlreadyExists", 409),
    ErrorKind.NAMED_KEY_INVALID: ("InvalidArgument", 400),
    ErrorKind.NAMED_KEY_NOT_FOUND: ("KMS.NotFoundException", 400),
    ErrorKind.NOT_A_BACKUP: ("InternalError", 500),
    ErrorKind.NOT_A_LAKE: ("InternalError", 500),
    ErrorKind.OBJECT_LOCKED: ("AccessDenied", 403),
    ErrorKind.OBJECT_LOCK_NOT_FOUND: ("NoSuchObjectLockConfiguration", 404),
    ErrorKind.OBJECT_LOCK_OFF: ("InvalidRequest", 400),
    ErrorKind.OBJECT_NOT_FOUND: ("NoSuchKey", 404),
    ErrorKind.PART_INVALID: ("InvalidPart", 400),
    ErrorKind.PART_NUMBER_INVALID: ("InvalidArgument", 400),
    ErrorKind.PART_ORDER_INVALID: ("InvalidPartOrder", 400),
    ErrorKind.PART_TOO_SMALL: ("EntityTooSmall", 400),
    ErrorKind.POLICY_INVALID: ("MalformedPolicy", 400),
    ErrorKind.POLICY_IN_USE: ("XMinioAdminPolicyInUse", 400),
    ErrorKind.POLICY_NOT_FOUND: ("XMinioAdminNoSuchPolicy", 404),
    ErrorKind.PRECONDITION_FAILED: ("PreconditionFailed", 412),
    ErrorKind.PROTECTED: ("AccessDenied", 403),
    ErrorKind.QUERY_INVALID: ("InvalidArgument", 400),
    ErrorKind.QUOTA_EXCEEDED: ("XMinioAdminBucketQuotaExceeded", 400),
    ErrorKind.RANGE_INVALID: ("InvalidRange", 416),
    ErrorKind.REQUEST_MALFORMED: ("InvalidRequest", 400),
    ErrorKind.REQUEST_TIMEOUT: ("RequestTimeout", 400),
    ErrorKind.ROWS_INVALID: ("InvalidArgument", 400),
    ErrorKind.SECRET_INVALID: ("XMinioAdminInvalidSecretKey", 400),
    ErrorKind.SESSION_TOKEN_INVALID: ("InvalidToken", 400),
    ErrorKind.SHUTTING_DOWN: ("ServiceUnavailable", 503),
    ErrorKind.SIZE_MISMATCH: ("IncompleteBody", 400),
    ErrorKind.SNAPSHOT_NOT_FOUND: ("InvalidArgument", 400),
    ErrorKind.STORE_UNAVAILABLE: ("ServiceUnavailable", 503),
    ErrorKind.TABLE_EXISTS: ("InvalidRequest", 409),
    ErrorKind.TABLE_INVALID: ("InvalidArgument", 400),
    ErrorKind.TABLE_NOT_FOUND: ("InvalidArgument", 400),
    ErrorKind.TABLE_TAG_EXISTS: ("InvalidRequest", 409),
    ErrorKind.TABLE_TAG_NOT_FOUND: ("InvalidArgument", 400),
    ErrorKind.TAG_INVALID: ("InvalidTag", 400),
    ErrorKind.TOO_LARGE: ("EntityTooLarge", 400),
    ErrorKind.TOO_MANY_BUCKETS: ("TooManyBuckets", 400),
    ErrorKind.UNSUPPORTED: ("NotImplemented", 501),
    ErrorKind.UPLOAD_NOT_FOUND: ("NoSuchUpload", 404),
    ErrorKind.USER_NOT_FOUND: ("XMinioAdminNoSuchUser", 404),
    ErrorKind.VERSION_INVALID: ("InvalidArgument", 400),
    ErrorKind.VERSION_NOT_FOUND: ("NoSuchVersion", 404),
    ErrorKind.WEB_TOKEN_EXPIRED: ("ExpiredToken", 400),
    ErrorKind.WEB_TOKEN_INVALID: ("InvalidToken", 400),
}
"""What S3 clients see of each kind of error."""

STATUS_OF_CODE: dict[str, int] = {
    "AccessDenied": 403,
    "BucketAlreadyExists": 409,
    "CORSForbidden": 403,
    "ExpiredToken": 400,
    "InvalidAccessKeyId": 403,
    "InternalError": 500,
    "InvalidRange": 416,
    "MethodNotAllowed": 405,
    "MissingContentLength": 411,
    "NoSuchCORSConfiguration": 404,
    "NoSuchBucketPolicy": 404,
    "NoSuchLifecycleConfiguration": 404,
    "NoSuchObjectLockConfiguration": 404,
    "NoSuchPublicAccessBlockConfiguration": 404,
    "NoSuchTagSet": 404,
    "NoSuchUpload": 404,
    "NoSuchWebsiteConfiguration": 404,
    "NotImplemented": 501,
    "NotModified": 304,
    "ObjectLockConfigurationNotFoundError": 404,
    "OwnershipControlsNotFoundError": 404,
    "PreconditionFailed": 412,
    "ReplicationConfigurationNotFoundError": 404,
    "RequestTimeTooSkewed": 403,
    "RequestTimeout": 400,
    "ServerSideEncryptionConfigurationNotFoundError": 404,
    "ServiceUnavailable": 503,
    "SignatureDoesNotMatch": 403,
    "SlowDown": 503,
}
"""Status of each code that requests are refused with; what is not named here is 400."""

PROTOCOL_CODES = {
    400: "BadRequest",
    408: "RequestTimeout",
    413: "EntityTooLarge",
    414: "URITooLong",
    417: "InvalidArgument",
    431: "RequestHeaderSectionTooLarge",
    500: "InternalError",
    501: "NotImplemented",
    503: "SlowDown",
    505: "HTTPVersionNotSupported",
}
"""Codes for what the HTTP layer refuses."""

XML_HEADER = (b"Content-Type", b"application/xml")
DECLARATION = '<?xml version="1.0" encoding="UTF-8"?>\n'


def s3_code(error: HosuError) -> tuple[str, int]:
    """Return S3's code and status for an error."""
    if isinstance(error, S3RequestError):
        return error.code, STATUS_OF_CODE.get(error.code, 400)
    if isinstance(error, AccessDeniedError) and error.kind is not ErrorKind.SESSION_TOKEN_INVALID:
        return "AccessDenied", 403
    if error.kind == ErrorKind.VERSION_NOT_FOUND and not is_version_id(str(error.details.get("version_id"))):
        return S3_CODES[ErrorKind.VERSION_INVALID]
    if error.kind == ErrorKind.TAG_INVALID and error.details.get("too_many"):
        return "BadRequest", 400
    return S3_CODES[error.kind]


def error_response(error: HosuError, resource: str, request_id: str, *, is_head: bool) -> Response:
    """Render an error as S3 does; details that clients know become elements and headers."""
    code, status = s3_code(error)
    headers = [(b"x-amz-request-id", request_id.encode())]
    marker = error.details.get("marker_version_id")
    if marker is not None:
        headers += [(b"x-amz-delete-marker", b"true"), (b"x-amz-version-id", str(marker).encode())]
    if status == 416:  # noqa: PLR2004 - Range Not Satisfiable
        headers.append((b"Content-Range", b"bytes */%d" % int(str(error.details.get("size_bytes", 0)))))
    if is_head:
        return Response(status, headers)
    elements = {"Code": code, "Message": error.message, "Resource": resource, "RequestId": request_id}
    elements |= {
        element: str(error.details[name]) for name, element in DETAIL_ELEMENTS.items() if name in error.details
    }
    return Response(status, [*headers, XML_HEADER], error_xml(elements))


DETAIL_ELEMENTS = {
    "access_key": "AWSAccessKeyId",
    "argument_name": "ArgumentName",
    "argument_value": "ArgumentValue",
    "bucket": "BucketName",
    "canonical_request": "CanonicalRequest",
    "condition": "Condition",
    "key": "Key",
    "max_size_allowed": "MaxSizeAllowed",
    "part_number": "PartNumber",
    "proposed_size": "ProposedSize",
    "size_bytes_max": "MaxSizeAllowed",
    "string_to_sign": "StringToSign",
    "upload_id": "UploadId",
    "version_id": "VersionId",
}
"""Details of errors that S3 has an element for."""


def error_xml(elements: dict[str, str]) -> bytes:
    """Return the XML document of an error."""
    inner = "".join(f"<{name}>{escape_xml(value)}</{name}>" for name, value in elements.items())
    return f"{DECLARATION}<Error>{inner}<HostId>hosu</HostId></Error>".encode()


def protocol_error(status: int, reason: str, request_id: str) -> Response:
    """Render what the HTTP layer refused."""
    elements = {"Code": PROTOCOL_CODES.get(status, "BadRequest"), "Message": reason, "RequestId": request_id}
    headers = [XML_HEADER, (b"x-amz-request-id", request_id.encode())]
    return Response(status, headers, error_xml(elements))

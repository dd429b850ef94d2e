"""The errors of every engine, grouped by what a caller would do about them.

    HosuError
    ├── InvalidInputError      mend the input
    ├── NotFoundError          it is not there
    ├── ConflictError          it is there, or in a state that forbids this
    │   └── PreconditionFailedError   a condition of the caller's did not hold
    ├── AccessDeniedError      ask for permission
    ├── UnavailableError       try again later
    ├── CorruptError           restore it: stored bytes do not match their hash or their format
    └── UnsupportedError       this lake does not do that

Each error carries a stable `kind`; protocols translate kinds, never messages.
"""

from enum import StrEnum


class ErrorKind(StrEnum):
    """Stable codes that callers match on: add new ones, never rename or reuse one."""

    ACCESS_DENIED = "access-denied"
    ACCESS_KEY_EXISTS = "access-key-exists"
    ACCESS_KEY_NOT_FOUND = "access-key-not-found"
    ALIAS_NOT_FOUND = "alias-not-found"
    ALIAS_READ_ONLY = "alias-read-only"
    BACKUP_BUSY = "backup-busy"
    BACKUP_CORRUPT = "backup-corrupt"
    BACKUP_NOT_FOUND = "backup-not-found"
    BRANCH_EXISTS = "branch-exists"
    BRANCH_NOT_FOUND = "branch-not-found"
    BUCKET_EXISTS = "bucket-exists"
    BUCKET_NAME_INVALID = "bucket-name-invalid"
    BUCKET_NOT_EMPTY = "bucket-not-empty"
    BUCKET_NOT_FOUND = "bucket-not-found"
    BUCKET_VERSIONING_INVALID = "bucket-versioning-invalid"
    CHECKSUM_MISMATCH = "checksum-mismatch"
    CLIENT_DISCONNECTED = "client-disconnected"
    COLUMN_INVALID = "column-invalid"
    COMMIT_CONFLICT = "commit-conflict"
    CORRUPT_BLOB = "corrupt-blob"
    CORRUPT_LAKE = "corrupt-lake"
    CORRUPT_TABLE = "corrupt-table"
    CUSTOMER_KEY_REQUIRED = "customer-key-required"
    CUSTOMER_KEY_WRONG = "customer-key-wrong"
    DATABASE_EXISTS = "database-exists"
    DATABASE_NOT_EMPTY = "database-not-empty"
    DATABASE_NOT_FOUND = "database-not-found"
    DIGEST_MISMATCH = "digest-mismatch"
    DISK_FAULT = "disk-fault"
    DISK_FULL = "disk-full"
    ENDPOINT_UNAVAILABLE = "endpoint-unavailable"
    FILE_BUSY = "file-busy"
    FILE_CHANGED = "file-changed"
    GROUP_NOT_EMPTY = "group-not-empty"
    GROUP_NOT_FOUND = "group-not-found"
    IDENTITY_NAME_INVALID = "identity-name-invalid"
    INVALID_ARGUMENT = "invalid-argument"
    INVALID_SETTING = "invalid-setting"
    ISSUER_UNAVAILABLE = "issuer-unavailable"
    KEY_CONFLICT = "key-conflict"
    KEY_INVALID = "key-invalid"
    KEY_NOT_CONFIGURED = "key-not-configured"
    KEY_TOO_LONG = "key-too-long"
    LAKE_KEY_MISSING = "lake-key-missing"
    LAKE_KEY_WRONG = "lake-key-wrong"
    LAKE_LOCKED = "lake-locked"
    LAKE_NEWER = "lake-newer"
    LOCATION_INVALID = "location-invalid"
    METADATA_TOO_LARGE = "metadata-too-large"
    METHOD_NOT_ALLOWED = "method-not-allowed"
    NAMED_KEY_EXISTS = "named-key-exists"
    NAMED_KEY_INVALID = "named-key-invalid"
    NAMED_KEY_NOT_FOUND = "named-key-not-found"
    NOT_A_BACKUP = "not-a-backup"
    NOT_A_LAKE = "not-a-lake"
    OBJECT_LOCKED = "object-locked"
    OBJECT_LOCK_NOT_FOUND = "object-lock-not-found"
    OBJECT_LOCK_OFF = "object-lock-off"
    OBJECT_NOT_FOUND = "object-not-found"
    PART_INVALID = "part-invalid"
    PART_NUMBER_INVALID = "part-number-invalid"
    PART_ORDER_INVALID = "part-order-invalid"
    PART_TOO_SMALL = "part-too-small"
    POLICY_INVALID = "policy-invalid"
    POLICY_IN_USE = "policy-in-use"
    POLICY_NOT_FOUND = "policy-not-found"
    PRECONDITION_FAILED = "precondition-failed"
    PROTECTED = "protected"
    QUERY_INVALID = "query-invalid"
    QUOTA_EXCEEDED = "quota-exceeded"
    RANGE_INVALID = "range-invalid"
    REQUEST_MALFORMED = "request-malformed"
    REQUEST_TIMEOUT = "request-timeout"
    ROWS_INVALID = "rows-invalid"
    SECRET_INVALID = "secret-invalid"  # noqa: S105 - a kind of error
    SESSION_TOKEN_INVALID = "session-token-invalid"  # noqa: S105 - a kind of error
    SHUTTING_DOWN = "shutting-down"
    SIZE_MISMATCH = "size-mismatch"
    SNAPSHOT_NOT_FOUND = "snapshot-not-found"
    STORE_UNAVAILABLE = "store-unavailable"
    TABLE_EXISTS = "table-exists"
    TABLE_INVALID = "table-invalid"
    TABLE_NOT_FOUND = "table-not-found"
    TABLE_TAG_EXISTS = "table-tag-exists"
    TABLE_TAG_NOT_FOUND = "table-tag-not-found"
    TAG_INVALID = "tag-invalid"
    TOO_LARGE = "too-large"
    TOO_MANY_BUCKETS = "too-many-buckets"
    UNSUPPORTED = "unsupported"
    UPLOAD_NOT_FOUND = "upload-not-found"
    USER_NOT_FOUND = "user-not-found"
    VERSION_INVALID = "version-invalid"
    VERSION_NOT_FOUND = "version-not-found"
    WEB_TOKEN_EXPIRED = "web-token-expired"  # noqa: S105 - a kind of error
    WEB_TOKEN_INVALID = "web-token-invalid"  # noqa: S105 - a kind of error


class HosuError(Exception):
    """Root of every error hosu raises on purpose.

    `message` names the field, the value and the remedy; `details` holds the same facts for programs.
    """

    def __init__(self, kind: ErrorKind, message: str, **details: object) -> None:
        super().__init__(message)
        self.kind = kind
        self.message = message
        self.details = details


class InvalidInputError(HosuError):
    """The input is wrong and nothing was changed."""


class NotFoundError(HosuError):
    """What was asked for does not exist."""


class ConflictError(HosuError):
    """The state of the lake forbids this."""


class PreconditionFailedError(ConflictError):
    """A condition the caller attached did not hold; nothing was changed."""


class AccessDeniedError(HosuError):
    """The caller may not do this."""


class UnavailableError(HosuError):
    """Nothing is wrong with the request: trying again later may succeed."""


class CorruptError(HosuError):
    """Stored bytes do not match what was recorded about them, or are not of their format."""


class UnsupportedError(HosuError):
    """hosu does not do this, and says so instead of ignoring it."""

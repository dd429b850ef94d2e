"""What went wrong, in one shape: the errors of S3 clients and of the disk become hosu's own."""

import errno
from typing import Final

from hosu.kernel.errors import (
    AccessDeniedError,
    ConflictError,
    CorruptError,
    ErrorKind,
    HosuError,
    InvalidInputError,
    NotFoundError,
    PreconditionFailedError,
    UnavailableError,
    UnsupportedError,
)

_CODES: Final[dict[str, tuple[type[HosuError], ErrorKind, str]]] = {
    "AliasReadOnly": (ConflictError, ErrorKind.ALIAS_READ_ONLY, "write below the alias's target, or switch the alias"),
    "NoSuchBucket": (NotFoundError, ErrorKind.BUCKET_NOT_FOUND, "create it with `hosu mb`"),
    "NoSuchKey": (NotFoundError, ErrorKind.OBJECT_NOT_FOUND, "`hosu ls` shows what is there"),
    "NoSuchUpload": (NotFoundError, ErrorKind.UPLOAD_NOT_FOUND, "run the command again to start over"),
    "NoSuchVersion": (NotFoundError, ErrorKind.VERSION_NOT_FOUND, "`hosu ls --versions` shows them"),
    "AccessDenied": (AccessDeniedError, ErrorKind.ACCESS_DENIED, "ask for permission, or use another profile"),
    "InvalidAccessKeyId": (AccessDeniedError, ErrorKind.ACCESS_DENIED, "check the profile's access key"),
    "SignatureDoesNotMatch": (AccessDeniedError, ErrorKind.ACCESS_DENIED, "check the profile's secret key"),
    "RequestTimeTooSkewed": (AccessDeniedError, ErrorKind.ACCESS_DENIED, "set this machine's clock"),
    "BucketAlreadyExists": (ConflictError, ErrorKind.BUCKET_EXISTS, "choose another name"),
    "BucketAlreadyOwnedByYou": (ConflictError, ErrorKind.BUCKET_EXISTS, "use --ignore-existing to accept it"),
    "BucketNotEmpty": (ConflictError, ErrorKind.BUCKET_NOT_EMPTY, "use --force to empty it first"),
    "InvalidBucketName": (InvalidInputError, ErrorKind.BUCKET_NAME_INVALID, "3 to 63 of a-z, 0-9, '-' and '.'"),
    "PreconditionFailed": (PreconditionFailedError, ErrorKind.PRECONDITION_FAILED, "it changed meanwhile; run again"),
    "InvalidRange": (InvalidInputError, ErrorKind.RANGE_INVALID, "`hosu stat` shows the size"),
    "EntityTooLarge": (InvalidInputError, ErrorKind.TOO_LARGE, "it is larger than the endpoint takes"),
    "KeyTooLongError": (InvalidInputError, ErrorKind.KEY_TOO_LONG, "keys have at most 1,024 bytes"),
    "NotImplemented": (UnsupportedError, ErrorKind.UNSUPPORTED, "the endpoint does not do this"),
    "MethodNotAllowed": (ConflictError, ErrorKind.METHOD_NOT_ALLOWED, "the endpoint forbids this here"),
    "BadDigest": (CorruptError, ErrorKind.DIGEST_MISMATCH, "bytes changed on the way; run again"),
}

_STATUS_CODES: Final[dict[int, str]] = {
    403: "AccessDenied",
    404: "NoSuchKey",
    405: "MethodNotAllowed",
    412: "PreconditionFailed",
    416: "InvalidRange",
    501: "NotImplemented",
}
"""What an answer without a body means: HEAD carries a status and nothing else."""

_TRANSIENT_CODES: Final = frozenset(
    {
        "BadDigest",
        "ConditionalRequestConflict",
        "IncompleteBody",
        "InternalError",
        "OperationAborted",
        "RequestTimeout",
        "RequestTimeoutException",
        "ServiceUnavailable",
        "SlowDown",
        "Throttling",
        "ThrottlingException",
        "TooManyRequests",
        "XAmzContentSHA256Mismatch",
    }
)
_TRANSIENT_STATUSES: Final = frozenset({408, 429, 500, 502, 503, 504})


class UsageFault(InvalidInputError):  # noqa: N818 - the person's fault, with an exit status of its own
    """The command line itself is wrong: nothing was tried, and the exit status is 2."""

    def __init__(self, message: str) -> None:
        super().__init__(ErrorKind.INVALID_ARGUMENT, message)


class FileChangedError(ConflictError):
    """A local file was written to while it was being read."""

    def __init__(self, path: object) -> None:
        super().__init__(
            ErrorKind.FILE_CHANGED,
            f"{path} changed while it was transferred: run again when its writer has finished",
        )


class CancelledError(UnavailableError):
    """The person at the keyboard stopped the command."""

    def __init__(self) -> None:
        super().__init__(ErrorKind.SHUTTING_DOWN, "interrupted: run the same command again to go on")


def family_of(code: str) -> tuple[type[HosuError], ErrorKind]:
    """Return class and kind of an S3 code; those that nobody knows are wrong input."""
    family, kind, _ = _CODES.get(code, (InvalidInputError, ErrorKind.INVALID_ARGUMENT, ""))
    return family, kind


def error_code(error: BaseException) -> str:
    """Return the S3 code of a client error, with bodiless answers read from their status; "" for other errors."""
    response = getattr(error, "response", None)
    if not isinstance(response, dict):
        return ""
    code = str(response.get("Error", {}).get("Code", ""))
    if code.isdigit():
        return _STATUS_CODES.get(int(code), code)
    return {"NotFound": "NoSuchKey", "Forbidden": "AccessDenied"}.get(code, code)


def error_status(error: BaseException) -> int:
    """Return the HTTP status of a client error, 0 for other errors."""
    response = getattr(error, "response", None)
    if not isinstance(response, dict):
        return 0
    return int(response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))


def is_transient(error: BaseException) -> bool:
    """Say whether trying the same again may succeed: the network or the server failed, not the request."""
    from botocore import exceptions as boto

    if isinstance(error, CancelledError):
        return False
    if isinstance(error, UnavailableError | CorruptError):
        return True
    if isinstance(error, boto.ClientError):
        return error_code(error) in _TRANSIENT_CODES or error_status(error) in _TRANSIENT_STATUSES
    if isinstance(error, boto.SSLError):
        return "CERTIFICATE_VERIFY_FAILED" not in str(error)
    network = (
        boto.HTTPClientError,
        boto.ConnectionError,
        boto.IncompleteReadError,
        boto.FlexibleChecksumError,
        boto.ResponseStreamingError,
        ConnectionError,
        TimeoutError,
    )
    return isinstance(error, network)


def as_hosu_error(error: Exception, address: object) -> HosuError:
    """Turn what a client, the network or the disk raised into a HosuError that names `address` and a remedy."""
    from botocore import exceptions as boto

    if isinstance(error, HosuError):
        return error
    if isinstance(error, boto.ClientError):
        return _from_answer(error, address)
    if isinstance(error, boto.NoCredentialsError | boto.PartialCredentialsError | boto.ProfileNotFound):
        return AccessDeniedError(
            ErrorKind.ACCESS_DENIED,
            f"{address}: no credentials ({error}): set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, "
            "or use a profile (`hosu profile set`)",
        )
    if isinstance(error, boto.FlexibleChecksumError):
        return CorruptError(ErrorKind.CHECKSUM_MISMATCH, f"{address}: bytes do not match their checksum: {error}")
    if isinstance(error, OSError) and not is_transient(error):
        return _from_disk(error, address)
    if is_transient(error) or isinstance(error, boto.HTTPClientError | boto.ConnectionError):
        return UnavailableError(
            ErrorKind.ENDPOINT_UNAVAILABLE,
            f"{address}: the endpoint did not answer ({error}): check that it runs and that its URL is right",
        )
    if isinstance(error, boto.ParamValidationError | boto.BotoCoreError | ValueError):
        return InvalidInputError(ErrorKind.INVALID_ARGUMENT, f"{address}: {' '.join(str(error).split())}")
    raise error


def _from_answer(error: Exception, address: object) -> HosuError:
    code, status = error_code(error), error_status(error)
    response: dict[str, dict[str, str]] = getattr(error, "response", {})
    said = response.get("Error", {}).get("Message") or ""
    known = _CODES.get(code) or _CODES.get(_STATUS_CODES.get(status, ""))
    details = {"code": code, "status": status}
    if known is not None:
        family, kind, remedy = known
        return family(kind, f"{address}: {said or code} ({code}): {remedy}", **details)
    if is_transient(error):
        return UnavailableError(
            ErrorKind.ENDPOINT_UNAVAILABLE,
            f"{address}: the endpoint failed with {code or status}: {said}: try again later",
            **details,
        )
    return InvalidInputError(
        ErrorKind.INVALID_ARGUMENT, f"{address}: the endpoint refused with {code or status}: {said}", **details
    )


def _from_disk(error: OSError, address: object) -> HosuError:
    reason = f"{address}: {error.strerror or error}"
    if error.filename is not None and str(error.filename) != str(address):
        reason = f"{reason} ({error.filename})"
    if error.errno in {errno.ENOSPC, errno.EDQUOT}:
        return UnavailableDiskError(ErrorKind.DISK_FULL, f"{reason}: make room, then run again")
    if error.errno in {errno.EACCES, errno.EPERM, errno.EROFS}:
        return AccessDeniedError(ErrorKind.ACCESS_DENIED, f"{reason}: change its permissions")
    if error.errno == errno.EIO:
        return UnavailableDiskError(ErrorKind.DISK_FAULT, f"{reason}: check the disk")
    return InvalidInputError(ErrorKind.INVALID_ARGUMENT, reason)


class UnavailableDiskError(ConflictError):
    """This machine's disk is full or failing: trying again at once would not help."""

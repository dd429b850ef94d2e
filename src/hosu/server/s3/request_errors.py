"""Refusals of a request, named by the code S3 answers with."""

from hosu.kernel.errors import ErrorKind, HosuError

_DENIED_CODES = frozenset(
    {"AccessDenied", "ExpiredToken", "InvalidAccessKeyId", "RequestTimeTooSkewed", "SignatureDoesNotMatch"}
)


class S3RequestError(HosuError):
    """A request is malformed or not allowed, found while reading it; nothing was changed.

    `code` is the S3 error code as clients match on it, such as "SignatureDoesNotMatch".
    """

    def __init__(self, code: str, message: str, **details: object) -> None:
        kind = ErrorKind.ACCESS_DENIED if code in _DENIED_CODES else ErrorKind.INVALID_ARGUMENT
        super().__init__(kind, message, **details)
        self.code = code


def signature_mismatch(access_key: str, **details: object) -> S3RequestError:
    """Return the refusal of a wrong signature; details help its sender find the difference."""
    return S3RequestError(
        "SignatureDoesNotMatch",
        "The request signature we calculated does not match the signature you provided. "
        "Check your key and signing method.",
        access_key=access_key,
        **details,
    )


def unknown_access_key(access_key: str) -> S3RequestError:
    """Return the refusal of an access key without a valid secret."""
    return S3RequestError(
        "InvalidAccessKeyId",
        "The AWS Access Key Id you provided does not exist in our records.",
        access_key=access_key,
    )

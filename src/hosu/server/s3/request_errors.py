"""Refusals of a request, named by the code S3 answers with."""

import re

from hosu.kernel.errors import ErrorKind, HosuError

_DENIED_CODES = frozenset(
    {"AccessDenied", "ExpiredToken", "InvalidAccessKeyId", "RequestTimeTooSkewed", "SignatureDoesNotMatch"}
)


_SECRETS = re.compile(
    r"^(x-amz-(?:copy-source-)?server-side-encryption-customer-key:|x-amz-security-token:).*$"
    r"|(x-amz-security-token=)[^&\n]*",
    re.IGNORECASE | re.MULTILINE,
)
"""What is signed and is not for the eyes of whoever reads errors: clients' keys (SSE-C), and session tokens."""


class S3RequestError(HosuError):
    """A request is malformed or not allowed, found while reading it; nothing was changed.

    `code` is the S3 error code as clients match on it, such as "SignatureDoesNotMatch".
    """

    def __init__(self, code: str, message: str, **details: object) -> None:
        kind = ErrorKind.ACCESS_DENIED if code in _DENIED_CODES else ErrorKind.INVALID_ARGUMENT
        super().__init__(kind, message, **details)
        self.code = code


def signature_mismatch(access_key: str, **details: str) -> S3RequestError:
    """Return the refusal of a wrong signature; details help its sender find the difference, with secrets left out."""
    return S3RequestError(
        "SignatureDoesNotMatch",
        "The request signature we calculated does not match the signature you provided. "
        "Check your key and signing method.",
        access_key=access_key,
        **{name: _SECRETS.sub(r"\1\2(hidden)", text) for name, text in details.items()},
    )


def unknown_access_key(access_key: str) -> S3RequestError:
    """Return the refusal of an access key without a valid secret."""
    return S3RequestError(
        "InvalidAccessKeyId",
        "The AWS Access Key Id you provided does not exist in our records.",
        access_key=access_key,
    )

"""What STS answers, and what the reference says of it."""

import re
from pathlib import Path

import pytest

from hosu.identity.records import NewKey
from hosu.kernel.errors import AccessDeniedError, ErrorKind, InvalidInputError, UnavailableError, UnsupportedError
from hosu.server.s3.errors import s3_code
from hosu.server.s3.request_errors import S3RequestError
from hosu.server.sts import service
from hosu.server.sts.answers import CODES, NAMES, StsError, answer, code_of, credentials, refusal

PAGE = Path(__file__).parents[4] / "docs/reference/identity.md"


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (StsError("InvalidAction", "no"), ("InvalidAction", 400)),
        (S3RequestError("InvalidAccessKeyId", "no"), ("InvalidClientTokenId", 403)),
        (S3RequestError("SignatureDoesNotMatch", "no"), ("SignatureDoesNotMatch", 403)),
        (S3RequestError("RequestTimeTooSkewed", "no"), ("RequestExpired", 403)),
        (S3RequestError("XAmzContentSHA256Mismatch", "no"), ("XAmzContentSHA256Mismatch", 400)),
        (InvalidInputError(ErrorKind.INVALID_ARGUMENT, "no"), ("InvalidParameterValue", 400)),
        (InvalidInputError(ErrorKind.POLICY_INVALID, "no"), ("MalformedPolicyDocument", 400)),
        (AccessDeniedError(ErrorKind.ACCESS_DENIED, "no"), ("AccessDenied", 403)),
        (AccessDeniedError(ErrorKind.SESSION_TOKEN_INVALID, "no"), ("InvalidClientTokenId", 403)),
        (AccessDeniedError(ErrorKind.WEB_TOKEN_INVALID, "no"), ("InvalidIdentityToken", 400)),
        (AccessDeniedError(ErrorKind.WEB_TOKEN_EXPIRED, "no"), ("ExpiredTokenException", 400)),
        (UnavailableError(ErrorKind.ISSUER_UNAVAILABLE, "no"), ("IDPCommunicationError", 400)),
        (UnsupportedError(ErrorKind.UNSUPPORTED, "no"), ("NotImplemented", 501)),
        (UnavailableError(ErrorKind.DISK_FAULT, "no"), ("ServiceUnavailable", 503)),
    ],
)
def test_errors_have_the_names_that_clients_of_sts_know(error: StsError, expected: tuple[str, int]) -> None:
    assert code_of(error, s3_code(error)) == expected


def test_answers_are_escaped_and_not_kept_by_caches() -> None:
    made = answer("AssumeRole", "0123456789ABCDEF", credentials(NewKey("<key>", "a&b", "t", 1_767_225_600_000)))
    assert isinstance(made.body, bytes)
    assert b"<AccessKeyId>&lt;key&gt;</AccessKeyId><SecretAccessKey>a&amp;b</SecretAccessKey>" in made.body
    assert b"<Expiration>2026-01-01T00:00:00Z</Expiration>" in made.body
    assert (b"Cache-Control", b"no-store") in made.headers
    refused = refusal("InvalidAction", 400, "no <such>", "0123456789ABCDEF")
    assert isinstance(refused.body, bytes)
    assert b"<Message>no &lt;such&gt;</Message>" in refused.body


def documented(heading: str) -> set[str]:
    """Return the names in the first column of the table that begins with this heading."""
    table = PAGE.read_text().split(f"| {heading} |", 1)[1].split("\n\n", 1)[0]
    return {name for line in table.splitlines()[2:] for name in re.findall(r"`(\w+)`", line.split("|")[1])}


def test_the_reference_lists_every_code() -> None:
    raised = set(re.findall(r'StsError\(\s*"(\w+)"', Path(service.__file__).read_text()))
    known = raised | {code for code, _ in CODES.values()} | set(NAMES.values())
    assert documented("code") == known | {"AccessDenied", "SignatureDoesNotMatch"}


def test_the_reference_lists_every_action_and_parameter() -> None:
    assert documented("action") == set(service.PARAMETERS)
    everything = set().union(*service.PARAMETERS.values()) - {"Action", "Version", "WebIdentityToken"}
    assert documented("parameter") == everything

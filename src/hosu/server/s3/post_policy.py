"""The policy of a form upload: what its signer allows whoever holds the form to post."""

import binascii
import hmac
import json
import re
from base64 import b64decode, b64encode
from collections.abc import Mapping
from datetime import datetime
from typing import NamedTuple, NoReturn

from hosu.server.s3.request_errors import S3RequestError, signature_mismatch, unknown_access_key
from hosu.server.s3.signing import parse_date, parse_scope, signing_key
from hosu.server.s3.sigv4 import Credentials

CONDITIONS_MAX = 256
"""A form has at most 128 fields; nobody needs more conditions than two for each."""

_LENGTH_RANGE = "content-length-range"
_FREE_FIELDS = frozenset({"awsaccesskeyid", "file", "policy", "signature", "x-amz-signature"})
_FREE_PREFIXES = ("x-ignore-", "x-amz-checksum-")
"""A checksum needs no condition: it can only make an upload fail."""

_EXPIRATION = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,9})?Z", re.ASCII)
_LENGTH_DIGITS_MAX = 18
_DAY_LENGTH = len("20240131")


class PostGrant(NamedTuple):
    """What a signed policy grants: an upload in the name of access_key, of a size within the limits."""

    access_key: str
    size_bytes_min: int | None
    size_bytes_max: int | None

    def check_size_so_far(self, size_bytes: int) -> None:
        """Raise EntityTooLarge as soon as the file is larger than granted."""
        if self.size_bytes_max is not None and size_bytes > self.size_bytes_max:
            raise S3RequestError(
                "EntityTooLarge",
                "Your proposed upload exceeds the maximum allowed size",
                proposed_size=size_bytes,
                max_size_allowed=self.size_bytes_max,
            )

    def check_size(self, size_bytes: int) -> None:
        """Raise EntityTooLarge or EntityTooSmall unless the whole file's size is granted."""
        self.check_size_so_far(size_bytes)
        if self.size_bytes_min is not None and size_bytes < self.size_bytes_min:
            raise S3RequestError(
                "EntityTooSmall",
                "Your proposed upload is smaller than the minimum allowed size",
                proposed_size=size_bytes,
                min_size_allowed=self.size_bytes_min,
            )


class _Condition(NamedTuple):
    operator: str
    field: str
    value: str


class _Policy(NamedTuple):
    expires_ms: int
    conditions: list[_Condition]
    size_bytes_min: int | None
    size_bytes_max: int | None


def verify_post(
    fields: Mapping[str, str],
    bucket: str,
    credentials: Credentials,
    now_ms: int,
    *,
    region: str | None = None,
) -> PostGrant | None:
    """Check a form's signature and every condition of its policy; None for a form without either (anonymous).

    `fields` have lower-case names, `bucket` is the one posted to. Signatures are those of version 4, or of
    version 2 (HMAC-SHA1 of the policy), which forms in use still carry. Raises S3RequestError.
    """
    text = fields.get("policy")
    signed = fields.keys() & {"signature", "x-amz-signature", "awsaccesskeyid", "x-amz-credential"}
    if text is None:
        if signed:
            _missing("policy")
        return None
    if "x-amz-signature" in fields or "x-amz-algorithm" in fields:
        access_key = _check_signature_4(fields, text, credentials, region)
    else:
        access_key = _check_signature_2(fields, text, credentials)
    policy = _parse_policy(text)
    if now_ms >= policy.expires_ms:
        _deny("Policy expired.")
    form = dict(fields) | {"bucket": bucket}
    covered = set()
    for condition in policy.conditions:
        covered.add(condition.field)
        if not _holds(condition, form.get(condition.field)):
            _deny(f'Policy Condition failed: ["{condition.operator}", "${condition.field}", "{condition.value}"]')
    extra = sorted(form.keys() - covered - _FREE_FIELDS)
    extra = [name for name in extra if not name.startswith(_FREE_PREFIXES)]
    if extra:
        _deny(f"Extra input fields: {', '.join(extra)}")
    return PostGrant(access_key, policy.size_bytes_min, policy.size_bytes_max)


def _check_signature_4(fields: Mapping[str, str], text: str, credentials: Credentials, region: str | None) -> str:
    for name in ("x-amz-algorithm", "x-amz-credential", "x-amz-date", "x-amz-signature"):
        if name not in fields:
            _missing(name)
    if fields["x-amz-algorithm"] != "AWS4-HMAC-SHA256":
        _invalid("x-amz-algorithm", "X-Amz-Algorithm only supports AWS4-HMAC-SHA256")
    try:
        scope = parse_scope(fields["x-amz-credential"])
    except ValueError as problem:
        _invalid("x-amz-credential", str(problem))
    try:
        amz_date, _ = parse_date(fields["x-amz-date"].encode())
    except (ValueError, OverflowError):
        _invalid("x-amz-date", "X-Amz-Date must be in the ISO8601 Long Format \"yyyyMMdd'T'HHmmss'Z'\"")
    if amz_date[:_DAY_LENGTH] != scope.date:
        _invalid("x-amz-credential", "the credential's date is not that of X-Amz-Date")
    if scope.service != "s3" or (region is not None and scope.region != region):
        _invalid("x-amz-credential", f"expecting the region '{region or scope.region}' and the service 's3'")
    signature = fields["x-amz-signature"].encode()
    for secret in _secrets(credentials, scope.access_key):
        key = signing_key(secret, scope.date, scope.region, scope.service)
        if hmac.compare_digest(key.sign(text.encode()), signature):
            return scope.access_key
    raise signature_mismatch(scope.access_key)


def _check_signature_2(fields: Mapping[str, str], text: str, credentials: Credentials) -> str:
    for name in ("awsaccesskeyid", "signature"):
        if name not in fields:
            _missing(name)
    access_key, signature = fields["awsaccesskeyid"], fields["signature"].encode()
    for secret in _secrets(credentials, access_key):
        computed = b64encode(hmac.digest(secret.encode(), text.encode(), "sha1"))
        if hmac.compare_digest(computed, signature):
            return access_key
    raise signature_mismatch(access_key)


def _secrets(credentials: Credentials, access_key: str) -> list[str]:
    secrets = list(credentials(access_key))
    if not secrets:
        raise unknown_access_key(access_key)
    return secrets


def _parse_policy(text: str) -> _Policy:
    try:
        document = json.loads(b64decode("".join(text.split()), validate=True))
    except (binascii.Error, ValueError, RecursionError):
        _refuse_policy("it is not base64 of JSON")
    if not isinstance(document, dict) or document.keys() - {"expiration", "conditions"}:
        _refuse_policy("it is an object of expiration and conditions, and nothing else")
    expires_ms = _parse_expiration(document.get("expiration"))
    given = document.get("conditions")
    if not isinstance(given, list) or len(given) > CONDITIONS_MAX:
        _refuse_policy("it has no list of conditions, or one too long")
    conditions = []
    size_bytes_min: int | None = None
    size_bytes_max: int | None = None
    for condition in given:
        if isinstance(condition, list) and condition and _is_length_range(condition[0]):
            low, high = _parse_length_range(condition)
            size_bytes_min = low if size_bytes_min is None else max(low, size_bytes_min)
            size_bytes_max = high if size_bytes_max is None else min(high, size_bytes_max)
        else:
            conditions.append(_parse_condition(condition))
    return _Policy(expires_ms, conditions, size_bytes_min, size_bytes_max)


def _parse_expiration(text: object) -> int:
    if not isinstance(text, str) or not _EXPIRATION.fullmatch(text):
        _refuse_policy("its expiration is missing, or not like 2030-12-01T12:00:00.000Z")
    try:
        moment = datetime.fromisoformat(text[: len("2030-12-01T12:00:00")] + "+00:00")
    except ValueError:
        _refuse_policy("its expiration is no date")
    return int(moment.timestamp()) * 1000


def _is_length_range(operator: object) -> bool:
    return isinstance(operator, str) and operator.lower() == _LENGTH_RANGE


def _parse_length_range(condition: list[object]) -> tuple[int, int]:
    lengths = [_parse_length(length) for length in condition[1:]]
    if len(lengths) != 2 or lengths[0] > lengths[1]:  # noqa: PLR2004 - a range has two ends
        _refuse_policy(f"{_LENGTH_RANGE} takes a lowest and a highest number of bytes")
    return lengths[0], lengths[1]


def _parse_length(length: object) -> int:
    text = str(length) if isinstance(length, (int, str)) and not isinstance(length, bool) else ""
    if not (text.isascii() and text.isdigit()) or len(text) > _LENGTH_DIGITS_MAX:
        _refuse_policy(f"{_LENGTH_RANGE} takes whole numbers that are not negative")
    return int(text)


def _parse_condition(condition: object) -> _Condition:
    if isinstance(condition, dict):
        if len(condition) != 1:
            _refuse_policy("a simple condition has exactly one property")
        (name, value), operator = next(iter(condition.items())), "eq"
    elif isinstance(condition, list) and len(condition) == len(_Condition._fields):
        operator, name, value = condition
        if not isinstance(operator, str) or operator.lower() not in {"eq", "starts-with"}:
            _refuse_policy("a condition is one of eq, starts-with and content-length-range")
        if not isinstance(name, str) or not name.startswith("$"):
            _refuse_policy("a condition names its field with a $ in front")
        operator, name = operator.lower(), name[1:]
    else:
        _refuse_policy("a condition is an object with one property, or a list of three")
    if not isinstance(value, str) or not name:
        _refuse_policy("a condition compares a named field with a string")
    return _Condition(operator, name.lower(), value)


def _holds(condition: _Condition, value: str | None) -> bool:
    if condition.operator == "eq":
        return value == condition.value
    if condition.field == "content-type" and value is not None and "," in value:
        # S3 reads the value as a list, each member of which must start so.
        return all(member.strip().startswith(condition.value) for member in value.split(","))
    return (value or "").startswith(condition.value)


def _deny(why: str) -> NoReturn:
    raise S3RequestError("AccessDenied", f"Invalid according to Policy: {why}")


def _refuse_policy(why: str) -> NoReturn:
    raise S3RequestError("InvalidPolicyDocument", f"Invalid Policy: {why}")


def _missing(name: str) -> NoReturn:
    raise S3RequestError(
        "InvalidArgument",
        f"Bucket POST must contain a field named '{name}'. If it is specified, please check the order of the fields.",
        argument_name=name,
    )


def _invalid(name: str, why: str) -> NoReturn:
    raise S3RequestError("InvalidArgument", why, argument_name=name)

"""The policy of a form upload: signed by boto3 or as older forms are, and every way it can say no."""

import hashlib
import hmac
import json
from base64 import b64encode
from collections.abc import Mapping, Sequence
from typing import Any

import boto3  # type: ignore[import-untyped,unused-ignore]
import pytest
from botocore.config import Config  # type: ignore[import-untyped,unused-ignore]
from hypothesis import given, settings
from hypothesis import strategies as st

from hosu.server.s3.post_policy import CONDITIONS_MAX, PostGrant, verify_post
from hosu.server.s3.request_errors import S3RequestError
from hosu.server.s3.signing import parse_date

ACCESS_KEY, SECRET = "AKIAIOSFODNN7EXAMPLE", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"
NOW_MS = 1_700_000_000_000
LATER, EARLIER = "2023-11-14T22:13:21Z", "2023-11-14T22:13:20.000Z"

CONDITIONS: list[Any] = [
    {"bucket": "b"},
    ["starts-with", "$key", "foo"],
    {"acl": "private"},
    ["starts-with", "$Content-Type", "text/plain"],
    ["content-length-range", 2, 1024],
]
FIELDS = {"key": "foo.txt", "acl": "private", "content-type": "text/plain"}


def secrets_of(access_key: str) -> Sequence[str]:
    return ("an older secret", SECRET) if access_key == ACCESS_KEY else ()


def form(document: object, fields: Mapping[str, str] = FIELDS) -> dict[str, str]:
    """Return a form signed as version 2 does: HMAC-SHA1 of the policy's base64."""
    policy = b64encode(json.dumps(document).encode())
    signature = b64encode(hmac.new(SECRET.encode(), policy, hashlib.sha1).digest()).decode()
    return {**fields, "awsaccesskeyid": ACCESS_KEY, "signature": signature, "policy": policy.decode()}


def policy(conditions: object = CONDITIONS, expiration: object = LATER) -> dict[str, object]:
    return {"expiration": expiration, "conditions": conditions}


def check(fields: Mapping[str, str], bucket: str = "b", now_ms: int = NOW_MS, region: str | None = None) -> PostGrant:
    grant = verify_post(fields, bucket, secrets_of, now_ms, region=region)
    assert grant is not None
    return grant


def refusal(
    fields: Mapping[str, str], bucket: str = "b", now_ms: int = NOW_MS, region: str | None = None
) -> S3RequestError:
    with pytest.raises(S3RequestError) as refused:
        check(fields, bucket, now_ms, region)
    return refused.value


def presigned_post(version: str = "s3v4") -> tuple[dict[str, str], int]:
    client = boto3.client(
        "s3",
        region_name="us-east-1",
        aws_access_key_id=ACCESS_KEY,
        aws_secret_access_key=SECRET,
        config=Config(signature_version=version),
    )
    post = client.generate_presigned_post("b", "foo/${filename}", {"acl": "private"}, [{"acl": "private"}], 60)
    fields = {name.lower(): value for name, value in post["fields"].items()}
    fields["key"] = "foo/a.txt"
    return fields, parse_date(fields.get("x-amz-date", "20231114T221320Z").encode())[1]


def test_a_form_presigned_by_boto3_is_accepted_until_it_expires() -> None:
    fields, signed_ms = presigned_post()
    assert check(fields, now_ms=signed_ms, region="us-east-1") == PostGrant(ACCESS_KEY, None, None)
    late = refusal(fields, now_ms=signed_ms + 61_000)
    assert (late.code, late.message) == ("AccessDenied", "Invalid according to Policy: Policy expired.")


@pytest.mark.parametrize(
    ("name", "value", "code"),
    [
        ("x-amz-signature", "0" * 64, "SignatureDoesNotMatch"),
        ("x-amz-signature", "é", "SignatureDoesNotMatch"),
        ("x-amz-credential", "NOBODY/{day}/us-east-1/s3/aws4_request", "InvalidAccessKeyId"),
        ("x-amz-credential", ACCESS_KEY + "/{day}/us-east-1/ec2/aws4_request", "InvalidArgument"),
        ("x-amz-credential", ACCESS_KEY + "/20130524/us-east-1/s3/aws4_request", "InvalidArgument"),
        ("x-amz-credential", ACCESS_KEY, "InvalidArgument"),
        ("x-amz-algorithm", "AWS4-ECDSA-P256-SHA256", "InvalidArgument"),
        ("x-amz-date", "yesterday", "InvalidArgument"),
        ("x-amz-date", None, "InvalidArgument"),
        ("x-amz-signature", None, "InvalidArgument"),
        ("policy", None, "InvalidArgument"),
    ],
)
def test_a_changed_or_missing_signature_field_is_refused(name: str, value: str | None, code: str) -> None:
    fields, signed_ms = presigned_post()
    if value is None:
        del fields[name]
    else:
        fields[name] = value.replace("{day}", fields["x-amz-date"][:8])
    assert refusal(fields, now_ms=signed_ms).code == code


def test_a_form_for_another_region_is_refused_where_one_is_set() -> None:
    fields, signed_ms = presigned_post()
    assert refusal(fields, now_ms=signed_ms, region="eu-west-1").code == "InvalidArgument"


def test_a_form_signed_as_version_2_is_accepted() -> None:
    assert check(form(policy())) == PostGrant(ACCESS_KEY, 2, 1024)


def test_a_form_presigned_by_boto3_as_version_2_is_accepted() -> None:
    fields, now_ms = presigned_post("s3")
    assert "x-amz-signature" not in fields
    assert check(fields, now_ms=now_ms).access_key == ACCESS_KEY


def test_a_form_without_policy_and_signature_is_anonymous() -> None:
    assert verify_post(FIELDS, "b", secrets_of, NOW_MS) is None


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"signature": "AAAA"}, "SignatureDoesNotMatch"),
        ({"awsaccesskeyid": "foo"}, "InvalidAccessKeyId"),
        ({"policy": "e30="}, "SignatureDoesNotMatch"),
        ({"signature": None}, "InvalidArgument"),
        ({"awsaccesskeyid": None}, "InvalidArgument"),
        ({"policy": None}, "InvalidArgument"),
    ],
)
def test_a_version_2_form_changed_or_cut_is_refused(changes: dict[str, str | None], code: str) -> None:
    fields = {**form(policy()), **changes}
    assert refusal({name: value for name, value in fields.items() if value is not None}).code == code


@pytest.mark.parametrize(
    "conditions",
    [
        [{"bUcKeT": "b"}, ["StArTs-WiTh", "$KeY", "foo"], {"AcL": "private"}, ["eq", "$CoNtEnT-TyPe", "text/plain"]],
        [*CONDITIONS, ["starts-with", "$x-amz-meta-absent", ""]],
        [*CONDITIONS, ["content-length-range", "2", "9"], ["Content-Length-Range", 3, 2000]],
        [*CONDITIONS, ["starts-with", "$key", ""], ["eq", "$key", "foo.txt"]],
    ],
)
def test_conditions_that_hold_in_any_spelling(conditions: object) -> None:
    check(form(policy(conditions)))


@pytest.mark.parametrize(
    "fields",
    [
        {**FIELDS, "x-ignore-this": "bar"},
        {**FIELDS, "x-amz-checksum-crc32": "AAAAAA=="},
        {**FIELDS, "content-type": "text/plain,text/plain; charset=x"},
        {**FIELDS, "key": r"foo\$.txt"},
    ],
)
def test_fields_that_no_condition_forbids(fields: dict[str, str]) -> None:
    check(form(policy(), fields))


@pytest.mark.parametrize(
    ("conditions", "fields"),
    [
        (CONDITIONS, {**FIELDS, "key": "bar.txt"}),
        (CONDITIONS, {**FIELDS, "acl": "public-read"}),
        (CONDITIONS, {**FIELDS, "acl": "Private"}),
        (CONDITIONS, {**FIELDS, "content-type": "text/plain, text/html"}),
        (CONDITIONS, {"key": "foo", "content-type": "text/plain"}),
        (CONDITIONS, {**FIELDS, "x-amz-meta-foo": "barclamp"}),
        (CONDITIONS[1:], FIELDS),
        ([*CONDITIONS, ["starts-with", "$x-amz-meta-foo", "bar"]], FIELDS),
        ([*CONDITIONS, ["eq", "$x-amz-meta-foo", ""]], {**FIELDS, "x-amz-meta-foo": "barclamp"}),
        ([*CONDITIONS, ["eq", "$x-amz-meta-foo", ""]], FIELDS),
        ([], FIELDS),
    ],
)
def test_what_the_policy_does_not_allow_is_denied(conditions: object, fields: dict[str, str]) -> None:
    refused = refusal(form(policy(conditions), fields))
    assert refused.code == "AccessDenied"
    assert refused.message.startswith("Invalid according to Policy: ")


def test_the_bucket_is_the_one_posted_to_whatever_the_form_says() -> None:
    assert refusal(form(policy(), {**FIELDS, "bucket": "b"}), bucket="other").code == "AccessDenied"
    check(form(policy(), {**FIELDS, "bucket": "other"}))


def test_a_policy_expires_at_its_second() -> None:
    assert refusal(form(policy(expiration=EARLIER))).code == "AccessDenied"
    check(form(policy(expiration=EARLIER)), now_ms=NOW_MS - 1)


@pytest.mark.parametrize(
    "document",
    [
        [],
        "text",
        {},
        {"expiration": LATER},
        {"conditions": CONDITIONS},
        {"EXPIRATION": LATER, "conditions": CONDITIONS},
        {"expiration": LATER, "CONDITIONS": CONDITIONS},
        policy(expiration="2023-11-14 22:13:21+00:00"),
        policy(expiration="2023-13-14T22:13:21Z"),
        policy(expiration=1_700_000_001),
        policy({}),
        policy([{}]),
        policy([{"a": "1", "b": "2"}]),
        policy([{"a": 1}]),
        policy([[]]),
        policy(["eq"]),
        policy([["eq", "$key"]]),
        policy([["eq", "key", "foo"]]),
        policy([["eq", "$", "foo"]]),
        policy([["eq", "$key", 1]]),
        policy([["ends-with", "$key", "foo"]]),
        policy([[1, "$key", "foo"]]),
        policy([["content-length-range", 0]]),
        policy([["content-length-range", -1, 0]]),
        policy([["content-length-range", 2, 1]]),
        policy([["content-length-range", True, 1]]),
        policy([["content-length-range", "", "٣"]]),
        policy([["content-length-range", 0, 1.5]]),
        policy([{"acl": "private"}] * (CONDITIONS_MAX + 1)),
    ],
)
def test_a_signed_but_malformed_policy_is_refused(document: object) -> None:
    assert refusal(form(document)).code == "InvalidPolicyDocument"


@pytest.mark.parametrize("text", [b"no base64", b64encode(b"no json"), b64encode(b"\xff"), b64encode(b"[" * 100_000)])
def test_what_is_no_json_in_base64_is_refused(text: bytes) -> None:
    signature = b64encode(hmac.new(SECRET.encode(), text, hashlib.sha1).digest()).decode()
    fields = {**FIELDS, "awsaccesskeyid": ACCESS_KEY, "signature": signature, "policy": text.decode()}
    assert refusal(fields).code == "InvalidPolicyDocument"


def test_sizes_outside_the_grant_are_refused_by_name() -> None:
    grant = check(form(policy([*CONDITIONS, ["content-length-range", 1, 500], ["content-length-range", 0, 600]])))
    assert (grant.size_bytes_min, grant.size_bytes_max) == (2, 500)
    for size_bytes in (2, 500):
        grant.check_size(size_bytes)
    grant.check_size_so_far(0)
    with pytest.raises(S3RequestError) as small:
        grant.check_size(1)
    with pytest.raises(S3RequestError) as large:
        grant.check_size_so_far(501)
    assert (small.value.code, large.value.code) == ("EntityTooSmall", "EntityTooLarge")


values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.sampled_from(["eq", "$key", "content-length-range", ""]),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(["acl", "bucket", ""]), inner, max_size=2)
    ),
    max_leaves=8,
)


@settings(max_examples=200)
@given(conditions=values, expiration=values | st.just(LATER))
def test_garbage_that_was_signed_is_refused(conditions: object, expiration: object) -> None:
    assert refusal(form(policy(conditions, expiration))).code in {"InvalidPolicyDocument", "AccessDenied"}

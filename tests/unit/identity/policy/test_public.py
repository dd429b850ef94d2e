"""Which bucket policies are public, as S3 means it."""

from typing import Any

import pytest
from tests.unit.identity.policy.asking import read

from hosu.identity.policy import is_public

OPEN = {"Effect": "Allow", "Principal": "*", "Action": "s3:PutObject", "Resource": "*"}


def with_condition(operator: str, key: str, value: str | list[str]) -> dict[str, Any]:
    return OPEN | {"Condition": {operator: {key: value}}}


@pytest.mark.parametrize(
    "statement",
    [
        OPEN,
        OPEN | {"Principal": {"AWS": ["arn:aws:iam:::user/a", "*"]}},
        OPEN | {"Principal": {"Federated": "graph.facebook.com"}},
        {**{name: value for name, value in OPEN.items() if name != "Principal"}, "NotPrincipal": {"AWS": "alice"}},
        with_condition("StringLike", "aws:SourceVpc", "vpc-*"),
        with_condition("StringEquals", "aws:SourceVpc", "${aws:username}"),
        with_condition("StringNotEquals", "aws:SourceVpc", "vpc-1"),
        with_condition("StringEqualsIfExists", "aws:SourceVpc", "vpc-1"),
        with_condition("ForAllValues:StringEquals", "aws:PrincipalOrgID", "o-1"),
        with_condition("StringEquals", "aws:UserAgent", "curl"),
        with_condition("IpAddress", "aws:SourceIp", ["10.0.0.0/8", "0.0.0.0/1"]),
        with_condition("IpAddress", "aws:SourceIp", "2001::/16"),
        with_condition("NotIpAddress", "aws:SourceIp", "192.0.2.0/24"),
        with_condition("StringLike", "aws:SourceIp", "10.*"),
        with_condition("StringEquals", "aws:userid", "AROLEID:*"),
        with_condition("Null", "aws:SourceVpc", "false"),
        with_condition("ArnLike", "aws:SourceArn", "arn:aws:s3:::*"),
    ],
)
def test_a_policy_that_lets_in_whom_it_does_not_know_is_public(statement: dict[str, Any]) -> None:
    assert is_public(read(statement))
    fixed = OPEN | {"Principal": {"AWS": "alice"}}
    assert is_public(read(fixed, statement))


@pytest.mark.parametrize(
    "statement",
    [
        OPEN | {"Effect": "Deny"},
        OPEN | {"Principal": {"AWS": "arn:aws:iam::123456789012:root"}},
        OPEN | {"Principal": {"Service": "logging.s3.amazonaws.com"}},
        with_condition("StringEquals", "aws:SourceVpc", "vpc-91237329"),
        with_condition("StringLike", "aws:SourceVpc", "vpc-91237329"),
        with_condition("StringEquals", "aws:PrincipalOrgID", ["o-1", "o-2"]),
        with_condition("ForAnyValue:StringEquals", "aws:PrincipalOrgID", "o-1"),
        with_condition("IpAddress", "aws:SourceIp", ["10.0.0.0/8", "203.0.113.0/24", "2001:db8::/32"]),
        with_condition("IpAddress", "aws:SourceIp", "172.16.0.0/12"),
        with_condition("ArnEquals", "aws:SourceArn", "arn:aws:s3:::images"),
        with_condition("StringEquals", "aws:userid", "AIDACKCEVSQ6C2EXAMPLE"),
    ],
)
def test_a_policy_for_fixed_askers_is_not_public(statement: dict[str, Any]) -> None:
    assert not is_public(read(statement))


def test_a_deny_does_not_make_a_public_policy_less_public() -> None:
    assert is_public(read(OPEN, OPEN | {"Effect": "Deny"}))

"""Condition operators compare as AWS documents them: each row is a policy value, a request, and whether it holds."""

from collections.abc import Sequence
from typing import Any

import pytest

from hosu.identity.policy.operators import IF_EXISTS, NULL, OPERATORS, Condition, Quantifier, read_operator
from hosu.identity.policy.patterns import PatternError


def holds(operator: str, wanted: str | Sequence[str], given: str | Sequence[str], **variables: str) -> bool:
    name, quantifier, if_exists = read_operator(operator)
    texts = (wanted,) if isinstance(wanted, str) else tuple(wanted)
    compared = name.read(texts, True)  # noqa: FBT003 - the shape of every reader
    condition = Condition(name.name, name.is_negated, quantifier, if_exists, "s3:prefix", texts, compared)
    values: dict[str, Any] = {f"jwt:{key}": [value] for key, value in variables.items()}
    values["s3:prefix"] = [given] if isinstance(given, str) else given
    return condition.holds(lambda key: values.get(key, ()))


@pytest.mark.parametrize(
    ("operator", "wanted", "given", "expected"),
    [
        ("StringEquals", "a*", "a*", True),
        ("StringEquals", "a*", "ab", False),
        ("StringEquals", "a", "A", False),
        ("StringEquals", "", "", True),
        ("StringEqualsIgnoreCase", "Straße", "STRASSE", True),
        ("StringNotEquals", "a", "A", True),
        ("StringNotEqualsIgnoreCase", "a", "A", False),
        ("StringLike", "a*c?", "a/b\nc\n", True),
        ("StringLike", "a*c?", "abc", False),
        ("StringLike", "${*}*", "*anything", True),
        ("StringLike", "${*}*", "anything", False),
        ("StringLike", "", "", True),
        ("StringNotLike", "a*", "ab", False),
        ("NumericEquals", "10", "1e1", True),
        ("NumericEquals", "10.0", "10", True),
        ("NumericNotEquals", "10", "ten", True),
        ("NumericLessThan", "10", "9.99", True),
        ("NumericLessThan", "10", "10", False),
        ("NumericLessThan", "10", "many", False),
        ("NumericLessThanEquals", "10", "10", True),
        ("NumericGreaterThan", "-1", "0", True),
        ("NumericGreaterThanEquals", "1", "1" * 65, False),
        ("DateEquals", "2026-01-01", "2026-01-01T00:00:00Z", True),
        ("DateEquals", "2026", "1767225600", True),
        ("DateEquals", "2026-01-01T01:00:00+01:00", "2026-01-01T00:00:00.0Z", True),
        ("DateNotEquals", "2026-01-01", "2026-01-01T00:00:00.5Z", True),
        ("DateLessThan", "2026-06-01T00:00:00Z", "2026-05-31T23:59:59.999999999Z", True),
        ("DateLessThan", "2026-06-01T00:00:00Z", "2026-06-01T00:00:00Z", False),
        ("DateLessThanEquals", "2026-06-01T00:00Z", "2026-06-01T00:00:00Z", True),
        ("DateGreaterThan", "1767225600", "2026-01-02T00:00:00Z", True),
        ("DateGreaterThanEquals", "2026-06-01", "no date", False),
        ("Bool", "TRUE", "true", True),
        ("Bool", "false", "true", False),
        ("BinaryEquals", "YWI=", "YWI=", True),
        ("BinaryEquals", "YWI=", "ab", False),
        ("IpAddress", "10.0.0.0/8", "10.200.0.1", True),
        ("IpAddress", "10.1.2.3/8", "10.200.0.1", True),
        ("IpAddress", "10.0.0.0/8", "11.0.0.1", False),
        ("IpAddress", "10.0.0.7", "10.0.0.7", True),
        ("IpAddress", "10.0.0.0/8", "::ffff:10.0.0.1", True),
        ("IpAddress", "2001:db8::/32", "2001:DB8:0::1", True),
        ("IpAddress", "fe80::/10", "fe80::1%eth0", True),
        ("IpAddress", "0.0.0.0/0", "::1", False),
        ("IpAddress", "0.0.0.0/0", "nowhere", False),
        ("NotIpAddress", "10.0.0.0/8", "11.0.0.1", True),
        ("NotIpAddress", "10.0.0.0/8", "10.0.0.1", False),
        ("ArnEquals", "arn:aws:iam::*:user/a?", "arn:aws:iam::1:user/ab", True),
        ("ArnLike", "arn:aws:iam::*:user/*", "arn:aws:iam::1:user/x:y", True),
        ("ArnLike", "arn:aws:iam::*:user/*", "arn:aws:iam:eu:1:user/x", False),
        ("ArnLike", "arn:aws:*:user/*", "arn:aws:iam::1:user/x", None),
        ("ArnLike", "arn:aws:iam::*:user/*", "alice", False),
        ("ArnNotEquals", "arn:aws:iam::1:user/a", "arn:aws:iam::1:user/b", True),
        ("ArnNotLike", "arn:aws:iam::*:user/*", "arn:aws:iam::1:user/b", False),
    ],
)
def test_one_value(operator: str, wanted: str, given: str, *, expected: bool | None) -> None:
    if expected is None:
        with pytest.raises(PatternError):
            holds(operator, wanted, given)
    else:
        assert holds(operator, wanted, given) is expected


def negations() -> list[tuple[str, bool]]:
    return [(name, operator.is_negated) for name, operator in OPERATORS.items() if name != NULL]


WANTED = {"S": "a", "N": "1", "D": "2026-01-01", "B": "true", "I": "10.0.0.0/8", "A": "arn:aws:iam:::user/a"}


@pytest.mark.parametrize(("operator", "is_negated"), negations())
def test_an_absent_key_matches_nothing_so_that_only_denials_hold(operator: str, *, is_negated: bool) -> None:
    wanted = "10.0.0.0/8" if operator.endswith("IpAddress") else "YQ==" if "Binary" in operator else WANTED[operator[0]]
    assert holds(operator, wanted, []) is is_negated
    assert holds(f"{operator}{IF_EXISTS}", wanted, [])
    assert holds(f"ForAllValues:{operator}", wanted, [])
    assert not holds(f"ForAnyValue:{operator}", wanted, [])
    assert holds(f"ForAnyValue:{operator}{IF_EXISTS}", wanted, [])


@pytest.mark.parametrize(
    ("operator", "wanted", "given", "expected"),
    [
        ("StringEquals", ["a", "b"], "b", True),
        ("StringNotEquals", ["a", "b"], "b", False),
        ("StringNotEquals", ["a", "b"], "c", True),
        ("StringEquals", ["a"], ["x", "a"], True),
        ("StringNotEquals", ["a"], ["x", "a"], False),
        ("ForAllValues:StringEquals", ["a", "b"], ["a", "b", "a"], True),
        ("ForAllValues:StringEquals", ["a", "b"], ["a", "c"], False),
        ("ForAllValues:StringNotEquals", ["a", "b"], ["c", "d"], True),
        ("ForAllValues:StringNotEquals", ["a", "b"], ["a", "c"], False),
        ("ForAllValues:StringEquals", ["a"], [""], False),
        ("ForAnyValue:StringEquals", ["a", "b"], ["c", "b"], True),
        ("ForAnyValue:StringEquals", ["a", "b"], ["c", "d"], False),
        ("ForAnyValue:StringNotEquals", ["a", "b"], ["a", "c"], True),
        ("ForAnyValue:StringNotEquals", ["a", "b"], ["a", "b"], False),
        ("ForAllValues:StringNotLike", ["key1*"], ["key1:hr", "key2:x"], False),
        ("ForAnyValue:StringEqualsIfExists", ["a"], ["b"], False),
        ("StringEquals", [], "a", False),
        ("StringNotEquals", [], "a", True),
        ("NumericLessThan", ["1", "10"], "5", True),
    ],
)
def test_several_values(operator: str, wanted: Sequence[str], given: str | Sequence[str], *, expected: bool) -> None:
    assert holds(operator, wanted, given) is expected


def test_null_asks_whether_the_key_is_absent() -> None:
    assert holds("Null", "true", [])
    assert not holds("Null", "true", "a")
    assert holds("Null", "false", "")
    assert not holds("Null", "False", [])


def test_variables_stand_for_values_taken_literally() -> None:
    assert holds("StringLike", "${jwt:team}/*", "a*/x", team="a*")
    assert not holds("StringLike", "${jwt:team}/*", "ab/x", team="a*")
    assert holds("StringEqualsIgnoreCase", "x-${jwt:team}", "X-ab", team="AB")
    assert holds("ArnLike", "arn:aws:iam:::user/${jwt:team}-*", "arn:aws:iam:::user/a-1", team="a")
    assert holds("StringEquals", "${jwt:team, 'none'}", "none")


@pytest.mark.parametrize(
    ("operator", "wanted", "given"),
    [
        ("StringEquals", "${jwt:team}", "a"),
        ("ArnEquals", "arn:aws:iam:::user/${jwt:team}", "arn:aws:iam:::user/a"),
    ],
)
def test_a_variable_without_a_value_matches_nothing_and_denies_nothing(operator: str, wanted: str, given: str) -> None:
    denial = operator.replace("Equals", "NotEquals")
    assert not holds(operator, wanted, given)
    assert not holds(denial, wanted, given)
    assert not holds(denial, wanted, [])
    assert holds(f"{denial}{IF_EXISTS}", wanted, [])
    assert holds(denial, wanted, given, team="other")


def test_operators_are_read_with_their_prefix_and_suffix() -> None:
    operator, quantifier, if_exists = read_operator("FORANYVALUE:stringlikeifexists")
    assert (operator.name, quantifier, if_exists) == ("StringLike", Quantifier.ANY, True)

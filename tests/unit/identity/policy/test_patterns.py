"""Patterns match in time linear in the text, however they are made."""

import re
import subprocess
import sys
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.unit.identity.policy.asking import ask, read

from hosu.identity.policy import Effect
from hosu.identity.policy.patterns import (
    _expression,
    any_of,
    matcher,
    read_pattern,
    read_wildcards,
    search_length,
    slow_search_length,
)
from hosu.identity.policy.resources import _flatten, can_match, can_match_below
from hosu.kernel.errors import InvalidInputError

A = "a" * 1024
LONG = "a" * 16_384


@pytest.mark.parametrize(
    ("pattern", "text"),
    [
        ("*a" * 60 + "b", A),
        ("*a" * 700 + "*b", A),
        ("*a?" * 500 + "*b", A),
        ("*" * 2000 + "b", A),
        ("*?" * 1000 + "b", A),
        ("*" + "a" * 1900 + "b*", LONG),
        ("a*" * 900 + "b", LONG),
        ("*" + "a?" * 64 + "b*", LONG),
    ],
)
def test_hostile_patterns_do_not_match_in_the_end(pattern: str, text: str) -> None:
    """A pattern that backtracks would not come back before the test's time is over."""
    fixed = read_wildcards(pattern)
    union = any_of([fixed])
    assert union is not None
    assert not union(text)
    assert not matcher(fixed)(text)
    assert not matcher(fixed, is_lasting=False)(text)
    assert not re.compile(_expression(fixed), re.DOTALL).match(text[:1024])


@given(st.text("ab*?", max_size=12), st.text("ab\n", max_size=12))
def test_a_pattern_for_one_question_matches_as_a_lasting_one(pattern: str, text: str) -> None:
    fixed = read_wildcards(pattern)
    expected = bool(re.match(_expression(fixed), text, re.DOTALL))
    for is_lasting in (True, False):
        assert bool(matcher(fixed, is_lasting=is_lasting)(text)) is expected
        union = any_of([fixed, read_wildcards("never?this*")], is_lasting=is_lasting)
        assert union is not None
        assert bool(union(text)) is expected


@pytest.mark.parametrize(
    "statement",
    [
        {"Condition": {"StringLike": {"aws:Referer": [f"?{it}${{aws:UserAgent}}" for it in range(300)]}}},
        {"Condition": {"StringLike": {"aws:Referer": "*a?" + "${aws:UserAgent}" * 25 + "*"}}},
        {"Condition": {"ArnLike": {"aws:SourceArn": "arn:aws:iam:::?${aws:UserAgent}"}}},
        {"Resource": [f"arn:aws:s3:::?{it}${{aws:UserAgent}}" for it in range(300)]},
    ],
    ids=["values", "one value", "ARN", "resources"],
)
def test_no_expression_is_compiled_of_what_a_request_says(
    statement: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = {"Effect": "Allow", "Action": "s3:GetObject", "Resource": "*"} | statement

    def refuse(expression: str) -> None:
        raise AssertionError(f"compiled {expression[:80]}")

    monkeypatch.setattr("hosu.identity.policy.patterns._compile", refuse)
    said = {"aws_useragent": LONG, "aws_referer": "b" * 20_000, "aws_sourcearn": f"arn:aws:iam:::user/{LONG}"}
    assert ask(asked, "s3:GetObject", "b/k", **said) is Effect.NONE


def test_a_variable_where_looking_is_slow_counts_towards_what_a_policy_may_have() -> None:
    assert slow_search_length(read_pattern("*a?${aws:username}*").parts) > slow_search_length(
        read_pattern("*a?*").parts
    )
    assert slow_search_length(read_pattern("*a${aws:username}*b?").parts) == 0
    with pytest.raises(InvalidInputError, match="in patterns like"):
        read({"Effect": "Allow", "Action": "*", "Resource": "arn:aws:s3:::*a?" + "${aws:username}" * 100 + "*"})


def test_a_whole_policy_of_hostile_patterns_is_matched_one_by_one_in_the_end() -> None:
    union = any_of(read_wildcards(f"*{'a' * (20 + index % 12)}b{index}*") for index in range(600))
    assert union is not None
    assert not union(A)
    assert union(f"{A}b599")


def test_the_work_of_a_pattern_is_what_stands_between_two_stars() -> None:
    assert search_length(read_pattern("abc*").parts) == 0
    assert search_length(read_pattern("abc*de?*f").parts) == 3
    assert slow_search_length(read_pattern("a*bcd*e").parts) == 0
    assert slow_search_length(read_pattern("a?*b?d*e?").parts) == 3


@pytest.mark.parametrize(
    ("pattern", "whole", "below"),
    [
        ("images", True, False),
        ("images/*", False, True),
        ("images*", True, True),
        ("*", True, True),
        ("*/*", False, True),
        ("i?ages/a", False, True),
        ("image/*", False, False),
        ("images2*", False, False),
        ("*s", True, True),
        ("${aws:username}", True, True),
        ("${aws:username}/a", False, True),
        ("im*2/a", False, True),
        ("${aws:userid}*${aws:username}s", True, True),
        ("im${aws:userid}*?*${aws:username}s", True, True),
        ("${aws:userid}*${aws:username}???????", False, True),
    ],
)
def test_whether_a_pattern_can_match_a_bucket_or_below_it(pattern: str, *, whole: bool, below: bool) -> None:
    assert can_match(read_pattern(pattern), "images") is whole
    assert can_match_below(read_pattern(pattern), "images/") is below


def test_neighbours_that_match_anything_are_one_when_a_bucket_is_compared() -> None:
    one = _flatten(read_pattern("a*b"))
    assert _flatten(read_pattern("a" + "${aws:userid}*" * 50 + "b")) == one, "each of them would be walked over again"


def test_the_language_stands_without_a_database_or_a_network() -> None:
    check = "import sys, hosu.identity.policy; print([m for m in ('apsw', 'asyncio', 'socket') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", check], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"

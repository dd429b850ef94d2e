"""Policies made up at random: the compiled ones answer as a slow and obvious model does, and as they explain."""

import json
from collections import ChainMap
from collections.abc import Mapping, Sequence
from itertools import product
from typing import Any

from hypothesis import event, example, given
from hypothesis import strategies as st
from tests.properties import policy_model
from tests.properties.profiles import POLICIES

from hosu.identity.policy import Effect, NamedPolicy, PolicyKind, PolicySet, Question, parse_policy
from hosu.kernel.auth import FixedContext

# Few and alike names, so that patterns often match by a part and miss by a character.
ACTIONS = ["s3:GetObject", "s3:PutObject", "s3:ListBucket", "s3:ListAllMyBuckets", "admin:ServerInfo", "sts:AssumeRole"]
ACTION_PATTERNS = ["s3:GetObject", "s3:Get*", "S3:*object", "s3:?utObject", "s3:*", "*", "admin:*", "sts:AssumeRole"]
PIECES = ["a", "b", "ab", "/", "*", "?", "**", "${aws:username}", "${jwt:team, 'a'}", "${s3:prefix}", "${*}", "é", "\n"]
NAMES = ["alice", "arn:aws:iam:::user/bob", "carol"]
TEXTS = st.sampled_from(["", "a", "b", "A", "ab", "a/b", "a*", "*", "?", "alice"])
RESOURCES = st.one_of(st.just(""), st.text(st.sampled_from(["a", "b", "/", "*", "?", "é", "\n"]), max_size=6))


def several(values: st.SearchStrategy[str]) -> st.SearchStrategy[Any]:
    return st.one_of(values, st.lists(values, min_size=1, max_size=3))


PATTERNS = st.lists(st.sampled_from(PIECES), max_size=4).map("".join)
HEADS = st.sampled_from(["a", "b", "*", "?", "${aws:username}"])
ARNS = several(st.one_of(st.just("*"), st.builds("arn:aws:s3:::{}{}".format, HEADS, PATTERNS)))
IDENTITY_ACTIONS = several(st.sampled_from(ACTION_PATTERNS))
BUCKET_ACTIONS = several(st.sampled_from([it for it in ACTION_PATTERNS if it[0] in "sS*" and it[:3] != "sts"]))
PRINCIPALS = st.one_of(st.just("*"), st.fixed_dictionaries({"AWS": several(st.sampled_from(["*", *NAMES]))}))
QUANTIFIERS, SUFFIXES = (
    st.sampled_from(["", "", "ForAllValues:", "ForAnyValue:"]),
    st.sampled_from(["", "", "IfExists"]),
)


def comparisons(names: str, keys: str, values: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """Make operators with members: quantified and suffixed, but for Null, which takes neither."""
    operators = st.sampled_from(names.split())
    if names != "Null":
        operators = st.builds("{}{}{}".format, QUANTIFIERS, operators, SUFFIXES)
    return st.tuples(operators, st.dictionaries(st.sampled_from(keys.split()), values, min_size=1, max_size=2))


STRINGS = "StringEquals StringNotEquals StringLike StringNotLike StringEqualsIgnoreCase StringNotEqualsIgnoreCase"
NUMBERS = ["Equals", "NotEquals", "LessThan", "LessThanEquals", "GreaterThan", "GreaterThanEquals"]
CONDITIONS = st.lists(
    st.one_of(
        comparisons(STRINGS, "s3:prefix aws:username s3:RequestObjectTagKeys", several(PATTERNS)),
        comparisons(
            " ".join(f"Numeric{it}" for it in NUMBERS), "s3:max-keys", several(st.sampled_from(["9", "10", "10.0"]))
        ),
        comparisons("Bool", "aws:SecureTransport", several(st.sampled_from(["true", "false"]))),
        comparisons(
            "IpAddress NotIpAddress",
            "aws:SourceIp",
            several(st.sampled_from(["10.0.0.0/8", "10.1.0.0/16", "10.1.2.3", "2001:db8::/32"])),
        ),
        comparisons("DateLessThan", "aws:CurrentTime", st.just("2026-06-01T00:00:00Z")),
        comparisons("Null", "s3:prefix s3:max-keys", st.sampled_from(["true", "false"])),
    ),
    max_size=2,
).map(dict)


def statements(*, of_bucket: bool, effects: Sequence[str] = ("Allow", "Allow", "Deny")) -> st.SearchStrategy[Any]:
    members = [
        st.fixed_dictionaries({"Effect": st.sampled_from(effects)}),
        st.dictionaries(
            st.sampled_from(["Action", "Action", "NotAction"]),
            BUCKET_ACTIONS if of_bucket else IDENTITY_ACTIONS,
            min_size=1,
            max_size=1,
        ),
        st.dictionaries(st.sampled_from(["Resource", "Resource", "NotResource"]), ARNS, min_size=1, max_size=1),
        st.one_of(st.just({}), CONDITIONS.map(lambda it: {"Condition": it} if it else {})),
    ]
    if of_bucket:
        members.append(
            st.dictionaries(
                st.sampled_from(["Principal", "Principal", "NotPrincipal"]), PRINCIPALS, min_size=1, max_size=1
            )
        )
    return st.tuples(*members).map(lambda parts: dict(ChainMap(*parts)))


OF_BUCKET, OF_IDENTITY = statements(of_bucket=True), statements(of_bucket=False)
DENIES = {True: statements(of_bucket=True, effects=["Deny"]), False: statements(of_bucket=False, effects=["Deny"])}


def policies_of(statement: st.SearchStrategy[Any]) -> st.SearchStrategy[list[dict[str, Any]]]:
    document = st.fixed_dictionaries(
        {"Version": st.just("2012-10-17"), "Statement": st.lists(statement, min_size=1, max_size=4)}
    )
    return st.lists(document, min_size=1, max_size=3)


SETS = st.one_of(policies_of(OF_BUCKET), policies_of(OF_IDENTITY))


def is_of_bucket(documents: Sequence[Mapping[str, Any]]) -> bool:
    return "rincipal" in json.dumps(documents[0])


# Values of some condition keys; a key without values is absent.
FEW = st.lists(TEXTS, max_size=1)
CIRCUMSTANCES = st.fixed_dictionaries(
    {
        "s3:prefix": FEW,
        "s3:requestobjecttagkeys": st.lists(TEXTS, max_size=3),
        "s3:max-keys": st.lists(st.sampled_from(["9", "10", "1e1", "12"]), max_size=1),
        "aws:securetransport": st.lists(st.sampled_from(["true", "false", "True"]), max_size=1),
        "aws:sourceip": st.lists(st.sampled_from(["10.1.2.3", "10.9.9.9", "192.0.2.1", "2001:db8::1"]), max_size=1),
        "aws:currenttime": st.lists(st.sampled_from(["2026-05-31T23:59:59Z", "2026-06-01T00:00:00Z"]), max_size=1),
        "aws:username": st.one_of(st.just(["alice"]), FEW),
        "jwt:team": st.lists(st.sampled_from(["b", "a*"]), max_size=2),
    }
)


def compiled(documents: Sequence[Mapping[str, Any]]) -> PolicySet:
    texts = [json.dumps(it) for it in documents]
    kind = PolicyKind.BUCKET if is_of_bucket(documents) else PolicyKind.IDENTITY
    return PolicySet([NamedPolicy(f"policy-{index}", parse_policy(text, kind)) for index, text in enumerate(texts)])


def question_of(action: str, resource: str, values: Mapping[str, Sequence[str]], names: Sequence[str] = ()) -> Question:
    of_principal = {key: values[key] for key in ("aws:username", "jwt:team") if values.get(key)}
    return Question(action, resource, FixedContext(values), of_principal, names)


@POLICIES
@given(
    documents=SETS,
    resources=st.lists(RESOURCES, min_size=1, max_size=4),
    values=CIRCUMSTANCES,
    names=st.lists(st.sampled_from(NAMES), max_size=2),
)
def test_compiled_policies_answer_as_the_model_and_as_they_explain(
    documents: list[dict[str, Any]],
    resources: list[str],
    values: dict[str, Sequence[str]],
    names: list[str],
) -> None:
    policy_set = compiled(documents)
    for action, resource in product(ACTIONS, resources):
        question = question_of(action, resource, values, names)
        expected = policy_model.decide(documents, action, resource, lambda key: values.get(key, ()), names)
        event(expected)
        assert policy_set.decide(question).value == expected
        decision = policy_set.explain(question)
        assert decision.effect.value == expected
        if decision.effect is not Effect.NONE:
            index = int(decision.policy.removeprefix("policy-"))
            statement = documents[index]["Statement"][decision.statement]
            assert statement["Effect"].lower() == expected
            assert policy_model.speaks(statement, action, resource, lambda key: values.get(key, ()), names)


@POLICIES
@given(documents=SETS, data=st.data(), action=st.sampled_from(ACTIONS), resource=RESOURCES, values=CIRCUMSTANCES)
def test_adding_a_deny_never_widens_access(
    documents: list[dict[str, Any]], data: st.DataObject, action: str, resource: str, values: dict[str, Sequence[str]]
) -> None:
    denial = data.draw(DENIES[is_of_bucket(documents)])
    narrowed = [*documents, {"Version": "2012-10-17", "Statement": denial}]
    question = question_of(action, resource, values)
    before, after = compiled(documents).decide(question), compiled(narrowed).decide(question)
    assert after in {before, Effect.DENY}


@POLICIES
@given(documents=SETS, data=st.data(), action=st.sampled_from(ACTIONS), resource=RESOURCES, values=CIRCUMSTANCES)
def test_the_order_of_policies_and_statements_does_not_matter(
    documents: list[dict[str, Any]], data: st.DataObject, action: str, resource: str, values: dict[str, Sequence[str]]
) -> None:
    shuffled = [
        it | {"Statement": data.draw(st.permutations(it["Statement"]))} for it in data.draw(st.permutations(documents))
    ]
    question = question_of(action, resource, values)
    assert compiled(documents).decide(question) is compiled(shuffled).decide(question)


@POLICIES
@given(
    patterns=st.lists(st.lists(st.sampled_from(["a", "b", "ab", "*", "?", "."]), min_size=1, max_size=7), max_size=24),
    text=st.text(st.sampled_from(["a", "b", "."]), max_size=12),
)
@example(patterns=[["*", "a", "*", "a", "*", "a", "b"]], text="aaaab")
@example(patterns=[["a", "*"], ["a", "a", "*"], ["b", "*"]], text="ab")
def test_many_resources_match_what_any_of_them_matches(patterns: list[list[str]], text: str) -> None:
    """Also with more beginnings than are tried one by one, and more in the middle than one expression takes."""
    texts = [f"x{''.join(pieces)}" for pieces in patterns] + [f"y{index:02}*" for index in range(12)]
    document = {
        "Version": "2012-10-17",
        "Statement": {"Effect": "Allow", "Action": "s3:*", "Resource": [f"arn:aws:s3:::{it}" for it in texts]},
    }
    for asked in (f"x{text}", f"y05{text}", f"z{text}", text):
        expected = any(policy_model.matches(policy_model.tokens(it), asked) for it in texts)
        assert (compiled([document]).decide(Question("s3:GetObject", asked)) is Effect.ALLOW) is expected

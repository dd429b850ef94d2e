"""Whatever is sent as a policy: it is read or refused by name, and never anything else."""

import json
from typing import Any

from hypothesis import example, given
from hypothesis import strategies as st
from tests.properties.profiles import POLICIES

from hosu.identity.policy import NamedPolicy, PolicyKind, PolicySet, Question, is_public, parse_policy
from hosu.identity.policy.document import locate
from hosu.kernel.errors import ErrorKind, InvalidInputError

NAMES = [
    "Version", "Id", "Statement", "Sid", "Effect", "Action", "NotAction", "Resource", "NotResource", "Principal",
    "NotPrincipal", "AWS", "Condition", "StringLike", "ForAnyValue:StringNotEqualsIfExists", "NumericLessThan", "Null",
    "DateEquals", "IpAddress", "ArnLike", "BinaryEquals", "Bool", "s3:prefix", "aws:SourceIp", "jwt:a",
    "s3:ExistingObjectTag/a",
]  # fmt: skip
TEXTS = [
    "2012-10-17", "2008-10-17", "Allow", "Deny", "*", "s3:*", "s3:GetObject", "admin:*", "arn:aws:s3:::b",
    "arn:aws:s3:::b/*", "arn:aws:s3:::${aws:username", "${aws:username}", "${*}", "arn:aws:iam:::user/a",
    "123456789012", "10.0.0.0/8", "true", "1", "2026-01-01", "YQ==", "",
]  # fmt: skip
WORDS = st.one_of(st.sampled_from(TEXTS), st.text(max_size=5), st.sampled_from(["\ud800", "\x00", "${", "arn:::::"]))
VALUES: st.SearchStrategy[Any] = st.recursive(
    st.one_of(WORDS, st.integers(), st.floats(), st.booleans(), st.none()),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(st.one_of(st.sampled_from(NAMES), WORDS), inner, max_size=4)
    ),
    max_leaves=12,
)
STATEMENTS = st.fixed_dictionaries(
    {},
    optional={
        "Sid": VALUES,
        "Effect": st.one_of(st.sampled_from(["Allow", "Deny"]), VALUES),
        "Action": st.one_of(st.sampled_from(["s3:GetObject", "s3:*", "admin:*", "*"]), VALUES),
        "Resource": st.one_of(st.sampled_from(["*", "arn:aws:s3:::b/*", "arn:aws:s3:::${aws:username}"]), VALUES),
        "Principal": st.one_of(st.sampled_from(["*", {"AWS": "*"}]), VALUES),
        "Condition": st.dictionaries(st.sampled_from(NAMES), st.dictionaries(st.sampled_from(NAMES), VALUES)),
    },
)
DOCUMENTS = st.one_of(
    VALUES,
    st.fixed_dictionaries(
        {"Statement": st.one_of(STATEMENTS, st.lists(STATEMENTS, max_size=3))},
        optional={"Version": st.sampled_from(["2012-10-17", "2008-10-17"]), "Id": VALUES},
    ),
)
KINDS = st.sampled_from(PolicyKind)


def read_or_refuse(text: str | bytes, kind: PolicyKind, bucket: str = "") -> bool:
    """Say whether the policy was read; what is read can be asked, what is refused has a place."""
    refusal: InvalidInputError
    try:
        policy = parse_policy(text, kind, bucket=bucket)
    except InvalidInputError as error:
        refusal = error
    else:
        asked = PolicySet([NamedPolicy("p", policy)])
        for action in ("s3:GetObject", "admin:Heal", "kms:Status"):
            question = Question(action, "b/k")
            assert asked.decide(question) is asked.explain(question).effect
        is_public(policy)
        return True
    assert refusal.kind is ErrorKind.POLICY_INVALID
    assert str(refusal.details["line"]).isdigit()
    assert str(refusal.details["column"]).isdigit()
    assert isinstance(refusal.details["position"], str)
    refusal.message.encode()
    return False


@POLICIES
@given(document=DOCUMENTS, kind=KINDS, bucket=st.sampled_from(["", "b"]))
def test_any_json_is_read_or_refused_with_its_place(document: Any, kind: PolicyKind, bucket: str) -> None:
    read_or_refuse(json.dumps(document), kind, bucket)


@POLICIES
@given(text=st.one_of(st.binary(max_size=60), st.text(max_size=60)), kind=KINDS)
@example(text="[" * 20_000, kind=PolicyKind.IDENTITY)
@example(text='{"Statement":' * 1_400, kind=PolicyKind.BUCKET)
@example(text="9" * 20_000, kind=PolicyKind.IDENTITY)
@example(text='{"Version": NaN}', kind=PolicyKind.IDENTITY)
@example(text=b'\xef\xbb\xbf{"Statement": []}', kind=PolicyKind.IDENTITY)
@example(text=b"\xff\xfe{\x00}\x00", kind=PolicyKind.IDENTITY)
@example(text="\ud800", kind=PolicyKind.IDENTITY)
def test_any_bytes_are_read_or_refused(text: str | bytes, kind: PolicyKind) -> None:
    assert not read_or_refuse(text, kind)


@POLICIES
@given(document=VALUES.filter(lambda it: isinstance(it, dict | list)), indent=st.sampled_from([None, 0, 2]))
def test_the_place_of_every_value_is_found(document: Any, indent: int | None) -> None:
    """A member is found at its name, an item at itself, whatever stands around it."""
    text = json.dumps(document, indent=indent, ensure_ascii=False)
    lines = text.split("\n")

    def walk(value: Any, path: tuple[int | str, ...]) -> None:
        if path:
            line, column = locate(text, path)
            found = lines[line - 1][column - 1 :]
            step = path[-1]
            if isinstance(step, str):
                assert found.startswith(json.dumps(step, ensure_ascii=False))
            elif not isinstance(value, dict | list):
                assert found.startswith(json.dumps(value, ensure_ascii=False))
        items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
        for step, inner in items:
            walk(inner, (*path, step))

    walk(document, ())

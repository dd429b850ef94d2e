"""docs/reference/policies.md says what the code does: its tables are read against it."""

import json
import re
from pathlib import Path

import pytest

from hosu.identity.policy import BUILTIN_POLICIES, PolicyKind, actions, parse_policy
from hosu.identity.policy.document import SIZE_BYTES_MAX
from hosu.identity.policy.keys import ABSENT_KEYS, VALUED_KEYS
from hosu.identity.policy.operators import OPERATORS
from hosu.identity.policy.parsing import SLOW_SEARCH_LENGTH_MAX
from hosu.identity.policy.public import _FIXING_KEYS
from hosu.identity.policy.resources import PATTERN_LENGTH_MAX
from hosu.kernel.limits import KIB
from hosu.server.s3.conditions import CONDITION_KEYS as KEYS_OF_S3

PAGE = (Path(__file__).parents[4] / "docs" / "reference" / "policies.md").read_text(encoding="utf-8")


def section(heading: str) -> str:
    found = PAGE.partition(f"\n## {heading}\n")[2]
    assert found, heading
    return found.partition("\n## ")[0]


def rows(heading: str) -> list[list[str]]:
    lines = [line for line in section(heading).splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


def codes(text: str) -> list[str]:
    return re.findall(r"`([^`]+)`", text)


def test_every_action_is_listed_with_what_it_is_on() -> None:
    groups = {row[0]: codes(row[1]) for row in rows("Actions")[2:]}
    expected = {
        "the whole service": actions.SERVICE_ACTIONS,
        "a bucket": actions.BUCKET_ACTIONS,
        "an object": actions.OBJECT_ACTIONS,
        "nothing here: read, and never asked for": actions.OTHER_S3_ACTIONS,
        "the admin API": actions.ADMIN_ACTIONS,
        "temporary credentials": actions.STS_ACTIONS,
        "an encryption key": actions.KMS_ACTIONS,
        "an object, of this lake alone": actions.HOSU_ACTIONS,
    }
    assert groups == {name: sorted(found, key=str.lower) for name, found in expected.items()}
    assert {action for found in groups.values() for action in found} == actions.KNOWN_ACTIONS


def test_every_operator_is_listed_with_its_denial() -> None:
    listed = [row for row in rows("Condition operators") if row[0].startswith("`") and len(row) == 3]
    names = [codes(row[0])[0] for row in listed]
    denials = [codes(row[2])[0] for row in listed if row[2]]
    assert sorted(names + denials) == sorted(OPERATORS)
    assert sorted(denials) == sorted(name for name, operator in OPERATORS.items() if operator.is_negated)
    for row in listed:
        if row[2]:
            assert codes(row[2])[0].replace("Not", "") == codes(row[0])[0]


def test_every_condition_key_is_listed_under_whether_it_has_a_value() -> None:
    assert [codes(row[0])[0] for row in rows("Condition keys")[2:]] == sorted(VALUED_KEYS)
    assert codes(section("Condition keys").rpartition("no request here has a value:")[2]) == sorted(
        ABSENT_KEYS, key=str.lower
    )


def test_keys_that_s3_gives_values_to_are_those_that_are_said_to_have_one() -> None:
    lower = {key.lower() for key in VALUED_KEYS}
    assert lower >= KEYS_OF_S3
    of_others = {"aws:principalarn", "aws:principaltype", "aws:groups", "aws:userid", "aws:username", "jwt:"}
    headers = {key for key in lower if key.startswith("s3:x-amz-")}
    assert lower - KEYS_OF_S3 - of_others - headers == {"s3:existingobjecttag/", "s3:requestobjecttag/"}


def test_every_member_is_listed_and_no_other() -> None:
    members = {codes(row[0])[0]: row[1] for row in rows("Members")[2:]}
    for name, holder in members.items():
        opposite = {"NotAction": "Action", "NotResource": "Resource", "NotPrincipal": "Principal"}.get(name, name)
        statement = {
            "Effect": "Allow",
            "Action": "s3:*",
            "Resource": "*",
            "Principal": "*",
            "Condition": {},
            "Sid": "a",
        }
        value = statement.pop(opposite, "a")
        policy = {"Version": "2012-10-17", "Id": "a", "Statement": statement}
        if holder == "statement":
            statement[name] = value
        assert name in policy | statement
        parse_policy(json.dumps(policy), PolicyKind.BUCKET)


def test_every_built_in_policy_is_listed() -> None:
    assert [codes(row[0])[0] for row in rows("Built in")[2:]] == sorted(BUILTIN_POLICIES)


@pytest.mark.parametrize("statement", [row[0] for row in rows("Resources")[2:]])
def test_every_resource_shown_is_read(statement: str) -> None:
    text = {"Effect": "Allow", "Action": "*", "Resource": codes(statement)}
    parse_policy(json.dumps({"Statement": text}), PolicyKind.IDENTITY)


def test_every_principal_shown_is_read() -> None:
    shown = [code for row in rows("Principals")[2:] for code in codes(row[0])]
    assert len(shown) == 7
    for code in shown:
        principal = json.loads(code.replace("…", '"example.com"'))
        text = {"Effect": "Allow", "Action": "s3:*", "Resource": "*", "Principal": principal}
        parse_policy(json.dumps({"Statement": text}), PolicyKind.BUCKET)


def test_the_keys_that_tell_fixed_askers_apart_are_listed() -> None:
    listed = {code.lower() for code in codes(section("Public")) if code.startswith(("aws:", "s3:"))}
    assert listed == _FIXING_KEYS | {"aws:sourceip"}


def test_limits_are_those_of_the_code() -> None:
    assert [row[1] for row in rows("Limits")[2:]] == [
        f"{SIZE_BYTES_MAX // KIB} KiB",
        f"{PATTERN_LENGTH_MAX:,} characters",
        f"{SLOW_SEARCH_LENGTH_MAX} characters",
    ]


def test_the_example_is_a_policy() -> None:
    example = re.findall(r"```json\n(.*?)```", PAGE, re.DOTALL)
    assert len(example) == 1
    assert len(parse_policy(example[0], PolicyKind.IDENTITY).statements) == 3

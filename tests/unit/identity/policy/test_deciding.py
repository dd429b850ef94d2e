"""What policies say to a question: actions, resources, principals, variables, and which statement outweighs which."""

import threading

import pytest
from tests.unit.identity.policy.asking import ask, read

from hosu.identity.policy import BUILTIN_POLICIES, Decision, Effect, NamedPolicy, PolicyKind, PolicySet, Question
from hosu.identity.policy import parse_policy as parse
from hosu.identity.policy.actions import (
    ADMIN_ACTIONS,
    BUCKET_ACTIONS,
    KMS_ACTIONS,
    KNOWN_ACTIONS,
    OBJECT_ACTIONS,
    SERVICE_ACTIONS,
    STS_ACTIONS,
)
from hosu.identity.policy.deciding import ACTIONS_KEPT, PRINCIPALS_KEPT
from hosu.kernel.auth import FixedContext

ALLOW, DENY, NONE = Effect.ALLOW, Effect.DENY, Effect.NONE
GET = {"Effect": "Allow", "Action": "s3:GetObject", "Resource": "arn:aws:s3:::images/*"}


def test_nothing_is_allowed_that_no_statement_allows() -> None:
    assert PolicySet([]).decide(Question("s3:GetObject", "images/a")) is NONE
    assert ask(GET, "s3:GetObject", "images/a") is ALLOW
    assert ask(GET, "s3:PutObject", "images/a") is NONE
    assert ask(GET, "s3:GetObject", "other/a") is NONE


def test_an_explicit_deny_outweighs_every_allow() -> None:
    denial = {"Effect": "Deny", "Action": "s3:*", "Resource": "arn:aws:s3:::images/secret/*"}
    assert ask([GET, denial], "s3:GetObject", "images/secret/a") is DENY
    assert ask([denial, GET], "s3:GetObject", "images/secret/a") is DENY
    assert ask([denial, GET], "s3:GetObject", "images/open/a") is ALLOW


@pytest.mark.parametrize(
    ("pattern", "action", "expected"),
    [
        ("s3:GetObject", "s3:getobject", ALLOW),
        ("s3:getobject", "s3:GetObject", ALLOW),
        ("s3:Get*", "s3:GetObjectAcl", ALLOW),
        ("s3:?etObject", "s3:GetObject", ALLOW),
        ("s3:GetObject", "s3:GetObjectAcl", NONE),
        ("*", "s3:GetObject", ALLOW),
    ],
)
def test_actions_match_in_any_case_and_with_wildcards(pattern: str, action: str, expected: Effect) -> None:
    assert ask(GET | {"Action": pattern, "Resource": "*"}, action, "images/a") is expected


def test_not_action_speaks_of_all_other_actions() -> None:
    but = {"Effect": "Allow", "NotAction": ["s3:Delete*", "admin:*"], "Resource": "*"}
    assert ask(but, "s3:GetObject", "a/b") is ALLOW
    assert ask(but, "s3:DeleteObject", "a/b") is NONE
    assert ask(but, "admin:ServerInfo") is NONE


@pytest.mark.parametrize(
    ("pattern", "resource", "expected"),
    [
        ("images/*", "images/", ALLOW),
        ("images/*", "images", NONE),
        ("images*", "images", ALLOW),
        ("images*", "images-2/a", ALLOW),
        ("images/a?c", "images/abc", ALLOW),
        ("images/a?c", "images/ac", NONE),
        ("images/*.jpg", "images/a/b\n/c.jpg", ALLOW),
        ("images/*.jpg", "images/.jpg\n", NONE),
        ("images/*a*a", "images/a", NONE),
        ("images/*a*a", "images/aa", ALLOW),
        ("Images/*", "images/a", NONE),
        ("images/${*}", "images/*", ALLOW),
        ("images/${*}", "images/a", NONE),
        ("images/${?}${$}{a}", "images/?${a}", ALLOW),
        ("images/[a-z].+", "images/b.+", NONE),
        ("images/[a-z].+", "images/[a-z].+", ALLOW),
    ],
)
def test_resources_match_by_case_and_with_wildcards(pattern: str, resource: str, expected: Effect) -> None:
    assert ask(GET | {"Resource": f"arn:aws:s3:::{pattern}"}, "s3:GetObject", resource) is expected


def test_not_resource_speaks_of_all_other_resources() -> None:
    but = {"Effect": "Deny", "Action": "s3:*", "NotResource": ["arn:aws:s3:::open", "arn:aws:s3:::open/*"]}
    assert ask(but, "s3:GetObject", "secret/a") is DENY
    assert ask(but, "s3:GetObject", "open/a") is NONE
    assert ask(but, "s3:ListAllMyBuckets") is DENY


@pytest.mark.parametrize(
    ("statement", "action", "resource", "expected"),
    [
        ({"Action": "admin:*"}, "admin:ServerInfo", "", ALLOW),
        ({"Action": "admin:*", "Resource": "arn:aws:s3:::a/*"}, "admin:ServerInfo", "", ALLOW),
        ({"Action": "*", "Resource": "*"}, "admin:ServerInfo", "", ALLOW),
        ({"Action": "*", "Resource": "arn:aws:s3:::*"}, "admin:ServerInfo", "", NONE),
        ({"Action": "*", "Resource": "arn:aws:s3:::*"}, "s3:ListAllMyBuckets", "", ALLOW),
        ({"NotAction": "s3:*", "Resource": "arn:aws:s3:::*"}, "admin:ServerInfo", "", NONE),
        ({"NotAction": "s3:*", "NotResource": "arn:aws:s3:::a"}, "admin:ServerInfo", "", ALLOW),
        ({"Action": "admin:*", "NotResource": "arn:aws:s3:::a"}, "admin:ServerInfo", "", ALLOW),
        ({"Action": "admin:*", "NotResource": "*"}, "admin:ServerInfo", "", NONE),
        ({"NotAction": "admin:Heal", "Resource": "arn:aws:s3:::*"}, "admin:ServerInfo", "", NONE),
        ({"Action": "s3:*", "Resource": "*"}, "admin:ServerInfo", "", NONE),
        ({"Action": "s3:*", "Resource": "arn:aws:s3:::a/*"}, "s3:ListAllMyBuckets", "", NONE),
        ({"Action": "kms:*"}, "kms:CreateKey", "team-a", ALLOW),
        ({"Action": "kms:*", "Resource": "arn:minio:kms:::team-*"}, "kms:CreateKey", "team-a", ALLOW),
        ({"Action": "kms:*", "Resource": "arn:minio:kms:::team-*"}, "kms:CreateKey", "other", NONE),
        ({"Action": "kms:*", "Resource": "arn:aws:kms:eu:1:key/team-a"}, "kms:Decrypt", "team-a", ALLOW),
        ({"Action": "kms:*", "Resource": "arn:aws:s3:::*"}, "kms:CreateKey", "team-a", ALLOW),
        ({"Action": ["kms:*", "s3:*"], "Resource": "arn:aws:kms:::a"}, "s3:GetObject", "a", NONE),
        ({"Action": "sts:*"}, "sts:AssumeRole", "", ALLOW),
    ],
)
def test_actions_without_buckets_need_a_resource_only_where_their_service_is_not_named(
    statement: dict[str, object], action: str, resource: str, expected: Effect
) -> None:
    assert ask({"Effect": "Allow"} | statement, action, resource) is expected


@pytest.mark.parametrize(
    ("principal", "who", "expected"),
    [
        ("*", [], ALLOW),
        ({"AWS": "*"}, ["alice"], ALLOW),
        ({"AWS": ["arn:aws:iam:::user/alice"]}, ["alice", "arn:aws:iam:::user/alice"], ALLOW),
        ({"AWS": ["arn:aws:iam:::user/alice"]}, ["bob", "arn:aws:iam:::user/bob"], NONE),
        ({"AWS": "123456789012"}, ["arn:aws:iam::123456789012:root"], ALLOW),
        ({"AWS": "arn:aws:iam::123456789012:root"}, ["123456789012"], ALLOW),
        ({"CanonicalUser": "79a5"}, ["79a5"], ALLOW),
        ({"Service": "logging.s3.amazonaws.com"}, ["logging.s3.amazonaws.com"], NONE),
    ],
)
def test_a_bucket_policy_speaks_of_those_it_names(principal: object, who: list[str], expected: Effect) -> None:
    assert ask(GET | {"Principal": principal}, "s3:GetObject", "images/a", who=who) is expected
    denied = ask(GET | {"Effect": "Deny", "NotPrincipal": principal}, "s3:GetObject", "images/a", who=who)
    assert denied is (NONE if expected is ALLOW else DENY)


HOME = {"Effect": "Allow", "Action": "s3:*", "Resource": "arn:aws:s3:::home/${aws:username}/*"}


def test_a_variable_is_the_name_of_who_asks() -> None:
    assert ask(HOME, "s3:GetObject", "home/alice/a", user="alice") is ALLOW
    assert ask(HOME, "s3:GetObject", "home/bob/a", user="alice") is NONE
    assert ask(HOME, "s3:GetObject", "home//a") is NONE
    assert ask(HOME, "s3:GetObject", "home/${aws:username}/a") is NONE


@pytest.mark.parametrize("name", ["*", "a*", "?????", "alice/*", ".*", "[a-z]*", "${aws:username}"])
def test_what_a_name_contains_is_no_wildcard(name: str) -> None:
    assert ask(HOME, "s3:GetObject", "home/alice/a", user=name) is NONE
    assert ask(HOME, "s3:GetObject", f"home/{name}/a", user=name) is ALLOW
    conditional = HOME | {"Condition": {"StringNotEquals": {"s3:prefix": "x"}}}
    assert ask(conditional, "s3:GetObject", "home/alice/a", user=name) is NONE
    assert ask(conditional, "s3:GetObject", f"home/{name}/a", user=name) is ALLOW


@pytest.mark.parametrize(
    ("resource", "asked", "expected"),
    [
        ("home/${aws:username}*a*a", "home/bob/a", NONE),
        ("home/${aws:username}*a*a", "home/bob/aa", ALLOW),
        ("home/${aws:username}*/x*y", "home/bob/1/x/y", ALLOW),
        ("home/${aws:username}*/x*y", "home/bob/1/y", NONE),
        ("home/${aws:username}/a?*c", "home/bob/abc", ALLOW),
        ("home/${aws:username}/a?*c", "home/bob/ac", NONE),
        ("home/${aws:username}", "home/bob", ALLOW),
        ("home/${aws:username}", "home/bobby", NONE),
    ],
)
def test_variables_stand_beside_wildcards(resource: str, asked: str, expected: Effect) -> None:
    assert ask(HOME | {"Resource": f"arn:aws:s3:::{resource}"}, "s3:GetObject", asked, user="bob") is expected
    denial = HOME | {"Effect": "Deny", "Action": "s3:*", "NotResource": f"arn:aws:s3:::{resource}"}
    del denial["Resource"]
    assert ask(denial, "s3:GetObject", asked, user="bob") is (NONE if expected is ALLOW else DENY)


def test_a_default_stands_in_for_a_variable_without_a_value() -> None:
    shared = HOME | {"Resource": "arn:aws:s3:::home/${aws:username, 'guest'}/*"}
    assert ask(shared, "s3:GetObject", "home/guest/a") is ALLOW
    assert ask(shared, "s3:GetObject", "home/guest/a", user="alice") is NONE


def test_a_variable_with_several_values_has_none() -> None:
    team = HOME | {"Resource": "arn:aws:s3:::team/${jwt:groups}/*"}
    assert ask(team, "s3:GetObject", "team/a/x", jwt_groups=["a"]) is ALLOW
    assert ask(team, "s3:GetObject", "team/a/x", jwt_groups=["a", "b"]) is NONE


def test_a_statement_with_an_unknown_variable_in_not_resource_is_silent() -> None:
    others = {"Effect": "Deny", "Action": "s3:*", "NotResource": "arn:aws:s3:::home/${aws:username}/*"}
    assert ask(others, "s3:GetObject", "home/bob/a", user="alice") is DENY
    assert ask(others, "s3:GetObject", "home/alice/a", user="alice") is NONE
    assert ask(others, "s3:GetObject", "home/alice/a") is NONE


def test_one_unknown_variable_does_not_silence_other_resources() -> None:
    both = HOME | {"Resource": [str(HOME["Resource"]), "arn:aws:s3:::shared/*"]}
    assert ask(both, "s3:GetObject", "shared/a") is ALLOW


def test_all_keys_and_operators_of_a_condition_must_hold() -> None:
    both = GET | {
        "Condition": {
            "IpAddress": {"aws:SourceIp": ["10.0.0.0/8", "192.168.0.0/16"]},
            "StringEquals": {"s3:authType": "REST-HEADER", "s3:signatureversion": "AWS4-HMAC-SHA256"},
        }
    }
    good = {"aws_sourceip": "192.168.1.1", "s3_authtype": "REST-HEADER", "s3_signatureversion": "AWS4-HMAC-SHA256"}
    assert ask(both, "s3:GetObject", "images/a", **good) is ALLOW
    for name in good:
        assert ask(both, "s3:GetObject", "images/a", **good | {name: "127.0.0.1"}) is NONE


def test_a_tag_keeps_its_case_when_its_key_is_asked_for() -> None:
    tagged = GET | {"Condition": {"StringEquals": {"S3:ExistingObjectTag/Team": "a"}}}
    question = Question("s3:GetObject", "images/a", FixedContext({"s3:existingobjecttag/Team": ["a"]}))
    assert PolicySet([NamedPolicy("p", read(tagged))]).decide(question) is ALLOW


def test_what_describes_who_asks_outweighs_the_circumstances() -> None:
    assert ask(HOME, "s3:GetObject", "home/bob/a", user="alice", aws_username="bob") is NONE


def test_the_decision_names_the_statement_that_made_it() -> None:
    denial = {"Sid": "no-secrets", "Effect": "Deny", "Action": "s3:*", "Resource": "arn:aws:s3:::images/secret/*"}
    policies = PolicySet([NamedPolicy("readers", read(GET, denial)), NamedPolicy("more", read(GET))])
    assert policies.explain(Question("s3:GetObject", "images/a")) == Decision(ALLOW, "readers", 0, "")
    assert policies.explain(Question("s3:GetObject", "images/secret/a")) == Decision(DENY, "readers", 1, "no-secrets")
    assert policies.explain(Question("s3:PutObject", "images/a")) == Decision(NONE)
    matching = policies.matching(Question("s3:GetObject", "images/secret/a"))
    assert [(it.policy, it.statement, it.effect) for it in matching] == [
        ("readers", 0, ALLOW),
        ("readers", 1, DENY),
        ("more", 0, ALLOW),
    ]


def test_many_different_actions_and_users_do_not_fill_the_memory() -> None:
    policies = PolicySet([NamedPolicy("p", read(HOME))])
    for index in range(ACTIONS_KEPT + 10):
        policies.decide(Question(f"s3:Made{index}", "home/a/b"))
    for index in range(PRINCIPALS_KEPT + 10):
        values = {"aws:username": [f"user-{index}"]}
        assert policies.decide(Question("s3:GetObject", f"home/user-{index}/b", principal_values=values)) is ALLOW
        assert policies.decide(Question("s3:GetObject", "home/user/b", principal_values=values)) is NONE
    assert len(policies._compiled) <= ACTIONS_KEPT
    varying = policies._compiled["s3:GetObject"].varying_allows
    assert varying is not None
    assert len(varying._compiled) <= PRINCIPALS_KEPT


def test_a_variable_of_the_circumstances_is_not_remembered() -> None:
    policies = PolicySet([NamedPolicy("p", read(HOME | {"Resource": "arn:aws:s3:::logs/${aws:SourceIp}/*"}))])
    for address in ("10.0.0.1", "10.0.0.2"):
        context = FixedContext({"aws:sourceip": [address]})
        assert policies.decide(Question("s3:PutObject", "logs/10.0.0.1/a", context)) is (
            ALLOW if address == "10.0.0.1" else NONE
        )
    assert policies._compiled["s3:PutObject"].varying_allows is None


def test_several_threads_may_ask_at_once() -> None:
    policies = PolicySet([NamedPolicy("p", read(HOME))])
    wrong: list[str] = []

    def work(user: str) -> None:
        values = {"aws:username": [user]}
        for index in range(200):
            action = f"s3:GetObject{index % 7}"
            own = policies.decide(Question(action, f"home/{user}/a", principal_values=values))
            other = policies.decide(Question(action, "home/nobody/a", principal_values=values))
            if (own, other) != (ALLOW, NONE):
                wrong.append(user)

    threads = [threading.Thread(target=work, args=(f"user-{index}",)) for index in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


# Built in

READS = {"s3:GetBucketLocation", "s3:GetObject"}
S3 = SERVICE_ACTIONS | BUCKET_ACTIONS | OBJECT_ACTIONS
DIAGNOSTICS = {
    f"admin:{name}"
    for name in (
        "ServerTrace", "Profiling", "ConsoleLog", "ServerInfo", "TopLocksInfo", "OBDInfo", "BandwidthMonitor",
        "Prometheus",
    )
}  # fmt: skip


@pytest.mark.parametrize(
    ("name", "allowed"),
    [
        ("readonly", READS),
        ("writeonly", {"s3:PutObject"}),
        ("readwrite", S3),
        ("diagnostics", DIAGNOSTICS),
        ("consoleAdmin", S3 | ADMIN_ACTIONS | KMS_ACTIONS),
    ],
)
def test_a_built_in_policy_allows_what_minio_says_and_nothing_else(name: str, allowed: set[str]) -> None:
    policies = PolicySet([NamedPolicy(name, parse(BUILTIN_POLICIES[name], PolicyKind.IDENTITY))])
    asked = S3 | ADMIN_ACTIONS | KMS_ACTIONS | STS_ACTIONS
    assert asked <= KNOWN_ACTIONS
    resources = dict.fromkeys(OBJECT_ACTIONS, "images/a") | dict.fromkeys(BUCKET_ACTIONS, "images")
    found = {action for action in asked if policies.decide(Question(action, resources.get(action, ""))) is ALLOW}
    assert found == allowed


def test_the_built_in_policies_are_the_five_that_minio_has() -> None:
    assert set(BUILTIN_POLICIES) == {"consoleAdmin", "diagnostics", "readonly", "readwrite", "writeonly"}

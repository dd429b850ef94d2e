"""`hosu policy` on a lake of this machine."""

import json
from pathlib import Path
from typing import Any

import pytest
from tests.support.lakecli import LakeCli

READ: dict[str, Any] = {
    "Version": "2012-10-17",
    "Statement": [
        {"Sid": "Find", "Effect": "Allow", "Action": ["s3:ListBucket"], "Resource": ["arn:aws:s3:::images"]},
        {
            "Sid": "Read",
            "Effect": "Allow",
            "Action": ["s3:GetObject"],
            "Resource": ["arn:aws:s3:::images/${aws:username}/*"],
            "Condition": {"IpAddress": {"aws:SourceIp": "10.0.0.0/8"}},
        },
        {"Effect": "Deny", "Action": "s3:*", "Resource": "arn:aws:s3:::images/alice/secret/*"},
    ],
}


@pytest.fixture
def cli(lake_cli: LakeCli) -> LakeCli:
    with lake_cli.opened() as lake:
        lake.create_bucket("images")
        for name in ("alice", "bob"):
            lake.users.add(name)
        lake.policies.put("read", READ)
        lake.policies.attach("read", user="alice")
    return lake_cli


def test_a_policy_is_created_from_a_file_or_standard_input_and_printed_as_it_was_given(
    cli: LakeCli, tmp_path: Path
) -> None:
    file = tmp_path / "policy.json"
    text = json.dumps(READ, indent=3) + "\n"
    file.write_text(text)
    assert cli.text("policy", "create", "from-file", file) == "created from-file\n"
    cli.text("policy", "create", "from-stdin", "-", stdin=text)
    for name in ("from-file", "from-stdin"):
        assert cli.text("policy", "info", name) == text
        (shown,) = cli.lines("policy", "info", name)
        assert (shown["text"], shown["builtin"]) == (text, False)


def test_a_policy_is_replaced_by_a_later_one_of_its_name(cli: LakeCli) -> None:
    other = READ | {"Statement": READ["Statement"][:1]}
    cli.text("policy", "create", "read", "-", stdin=json.dumps(other))
    assert json.loads(cli.text("policy", "info", "read")) == other


def test_a_policy_that_is_wrong_is_refused_with_its_place_and_changes_nothing(cli: LakeCli) -> None:
    wrong = json.dumps({"Statement": [{"Effect": "Allow", "Action": "s3:GetObjct", "Resource": "*"}]})
    result = cli.run("policy", "create", "read", "-", stdin=wrong)
    assert result.exit_code == 1
    assert "Statement[0].Action" in result.stderr
    assert "s3:GetObject" in result.stderr
    assert json.loads(cli.text("policy", "info", "read")) == READ


def test_policies_are_listed_with_those_that_are_built_in(cli: LakeCli) -> None:
    listed = {line["name"]: line["builtin"] for line in cli.lines("policy", "list")}
    assert listed == {
        "consoleAdmin": True,
        "diagnostics": True,
        "read": False,
        "readonly": True,
        "readwrite": True,
        "writeonly": True,
    }
    assert "readonly                 built in" in cli.text("policy", "list").splitlines()


def test_a_policy_named_like_a_built_in_replaces_it_until_it_is_removed(cli: LakeCli) -> None:
    cli.text("policy", "attach", "readonly", "--user", "bob")
    question = ("bob", "s3:GetObject", "images/a.jpg")
    assert cli.run("policy", "explain", *question).exit_code == 0
    cli.text("policy", "create", "readonly", "-", stdin=json.dumps(READ | {"Statement": READ["Statement"][:1]}))
    assert cli.run("policy", "explain", *question).exit_code == 1
    assert cli.text("policy", "rm", "readonly") == "removed readonly\n"
    assert cli.run("policy", "explain", *question).exit_code == 0


def test_policies_are_attached_and_detached_and_what_has_changed_is_told(cli: LakeCli) -> None:
    assert cli.text("policy", "attach", "read", "readonly", "--user", "bob") == "attached read, readonly: bob\n"
    assert cli.text("policy", "attach", "read", "--user", "bob") == "attached nothing: bob\n"
    cli.text("group", "add", "lab", "bob")
    assert cli.lines("policy", "attach", "writeonly", "--group", "lab") == [
        {"status": "ok", "operation": "policy attach", "policies": ["writeonly"], "group": "lab"}
    ]
    assert cli.text("policy", "entities", "--user", "bob").splitlines() == [
        "user bob: read, readonly",
        "  group lab: writeonly",
    ]
    assert cli.text("policy", "entities", "--group", "lab", "--policy", "read").splitlines() == [
        "group lab: writeonly",
        "policy read: alice, bob",
    ]
    assert cli.lines("policy", "entities") == [
        {"status": "ok", "operation": "policy entities", "policy": "read", "users": ["alice", "bob"], "groups": []},
        {"status": "ok", "operation": "policy entities", "policy": "readonly", "users": ["bob"], "groups": []},
        {"status": "ok", "operation": "policy entities", "policy": "writeonly", "users": [], "groups": ["lab"]},
    ]
    assert cli.text("policy", "detach", "readonly", "--user", "bob") == "detached readonly: bob\n"
    assert cli.text("policy", "detach", "writeonly", "--group", "lab") == "detached writeonly: group lab\n"
    assert cli.text("policy", "entities").splitlines() == ["policy read: alice, bob"]


def test_a_policy_in_use_is_not_removed(cli: LakeCli) -> None:
    assert cli.fault("policy", "rm", "read") == ("policy-in-use", 1)
    cli.text("policy", "detach", "read", "--user", "alice")
    assert cli.text("policy", "rm", "read") == "removed read\n"


def test_an_explanation_names_the_statement_that_allows(cli: LakeCli) -> None:
    words = ("alice", "s3:GetObject", "images/alice/a.jpg", "--context", "aws:SourceIp=10.1.2.3")
    (told,) = cli.lines("policy", "explain", *words)
    considered = [{"kind": "policy", "policy": "read", "effect": "allow", "statement": 1, "sid": "Read"}]
    assert json.loads(told.pop("text")) == READ["Statement"][1]
    assert told == {
        "status": "ok",
        "operation": "policy explain",
        "principal": "alice",
        "action": "s3:GetObject",
        "resource": "images/alice/a.jpg",
        "allowed": True,
        "reason": "read",
        "policy": "read",
        "statement": 1,
        "sid": "Read",
        "considered": considered,
    }
    text = cli.text("policy", "explain", *words).splitlines()
    assert text[:2] == ["allowed: alice, s3:GetObject, images/alice/a.jpg", "  by read, Statement[1] (Read)"]
    assert text[-2:] == ["considered:", "  read: allow, Statement[1] (Read)"]


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (("alice", "s3:GetObject", "images/alice/a.jpg"), "  because nothing allows it"),
        (("alice", "s3:GetObject", "images/alice/a.jpg", "--context", "aws:SourceIp=11.0.0.1"), "  because nothing"),
        (("alice", "s3:GetObject", "images/alice/secret/a.jpg"), "  by read, Statement[2]"),
        (("alice", "s3:ListBucket", "other"), "  because nothing allows it"),
        (("bob", "s3:ListBucket", "images"), "  because nothing allows it"),
        (("anonymous", "s3:GetObject", "images/a.jpg"), "  because nothing allows it"),
    ],
)
def test_a_denial_has_its_reason_and_status_1(cli: LakeCli, words: tuple[str, ...], reason: str) -> None:
    result = cli.run("policy", "explain", *words)
    assert result.exit_code == 1
    assert result.stderr == ""
    assert result.stdout.startswith("denied: ")
    assert result.stdout.splitlines()[1].startswith(reason)
    (told,) = cli.lines("policy", "explain", *words)
    assert (told["status"], told["allowed"]) == ("ok", False)


def test_actions_and_resources_are_taken_as_policies_spell_them(cli: LakeCli) -> None:
    (told,) = cli.lines("policy", "explain", "alice", "S3:listbucket", "arn:aws:s3:::images")
    assert (told["action"], told["resource"], told["allowed"]) == ("s3:ListBucket", "images", True)


def test_a_bucket_policy_counts_for_those_who_do_not_sign(cli: LakeCli) -> None:
    from hosu.objects.buckets import set_document

    public = {
        "Version": "2012-10-17",
        "Statement": [
            {"Effect": "Allow", "Principal": "*", "Action": "s3:GetObject", "Resource": "arn:aws:s3:::images/*"}
        ],
    }
    with cli.opened() as lake:
        lake.store.commit(lambda tx: set_document(tx, "images", "policy", json.dumps(public)))
    (told,) = cli.lines("policy", "explain", "anonymous", "s3:GetObject", "images/a.jpg")
    assert (told["allowed"], told["policy"]) == (True, "bucket policy of images")


def test_an_expired_or_disabled_key_is_explained_as_such(cli: LakeCli) -> None:
    (key,) = cli.lines("key", "create", "alice")
    cli.text("key", "disable", key["access_key"])
    result = cli.run("policy", "explain", key["access_key"], "s3:ListBucket", "images")
    assert result.exit_code == 1
    assert f"because access key {key['access_key']} is disabled" in result.stdout


@pytest.mark.parametrize(
    ("words", "kind", "status"),
    [
        (("info", "nothing"), "policy-not-found", 1),
        (("rm", "nothing"), "policy-not-found", 1),
        (("rm", "readonly"), "policy-in-use", 1),
        (("attach", "nothing", "--user", "bob"), "policy-not-found", 1),
        (("attach", "read", "--user", "nobody"), "user-not-found", 1),
        (("attach", "read", "--group", "nobody"), "group-not-found", 1),
        (("attach", "read"), "invalid-argument", 2),
        (("detach", "read", "--user", "bob", "--group", "lab"), "invalid-argument", 2),
        (("create", "x", "/nowhere.json"), "invalid-argument", 2),
        (("explain", "nobody", "s3:GetObject", "images/a"), "user-not-found", 1),
        (("explain", "alice", "s3:GetObjct", "images/a"), "invalid-argument", 2),
        (("explain", "alice", "s3:GetObject", "images/a", "--context", "sourceip"), "invalid-argument", 2),
        (("explain", "alice", "s3:GetObject", "images/a", "--context", "aws:SourcIp=1"), "invalid-argument", 1),
    ],
)
def test_what_cannot_be_is_named_with_its_kind(cli: LakeCli, words: tuple[str, ...], kind: str, status: int) -> None:
    verb, *rest = words
    assert cli.fault("policy", verb, *rest) == (kind, status)

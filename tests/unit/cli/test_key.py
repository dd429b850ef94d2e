"""`hosu key` on a lake of this machine."""

import json
from pathlib import Path

import pytest
from tests.support.lakecli import LakeCli

from hosu.identity.authority import Authority

SECRET = "correct-horse-battery"
CUT = {
    "Version": "2012-10-17",
    "Statement": [{"Effect": "Allow", "Action": "s3:GetObject", "Resource": "arn:aws:s3:::images/public/*"}],
}


@pytest.fixture
def cli(lake_cli: LakeCli) -> LakeCli:
    with lake_cli.opened() as lake:
        for name in ("alice", "bob"):
            lake.users.add(name, SECRET, policies=["readonly"])
    return lake_cli


def secrets_of(cli: LakeCli, name: str) -> tuple[str, ...]:
    with cli.opened() as lake:
        return tuple(Authority(lake.store, ("", "")).secrets(name))


def test_a_key_is_created_with_a_generated_pair_that_is_shown_once(cli: LakeCli) -> None:
    made = cli.run("key", "create", "alice", "--name", "ci")
    shown = dict(line.split() for line in made.stdout.replace("access key", "access-key").splitlines())
    assert secrets_of(cli, shown["access-key"]) == (shown["secret"],)
    assert made.stderr == "the secret is shown this once\n"
    for words in (("list",), ("list", "alice"), ("info", shown["access-key"])):
        text = cli.text("key", *words)
        assert shown["access-key"] in text
        assert shown["secret"] not in text


def test_a_key_takes_what_it_is_given(cli: LakeCli, tmp_path: Path) -> None:
    policy, secret = tmp_path / "cut.json", tmp_path / "secret"
    policy.write_text(json.dumps(CUT))
    secret.write_text(SECRET)
    words = ("--access-key", "alice-ci", "--secret-file", secret, "--policy", policy, "--description", "nightly runs")
    (made,) = cli.lines("key", "create", "alice", *words, "--name", "ci", "--expires", "2099-01-31")
    assert made == {
        "status": "ok",
        "operation": "key create",
        "access_key": "alice-ci",
        "expires": "2099-01-31T00:00:00+00:00",
    }
    assert secrets_of(cli, "alice-ci") == (SECRET,)
    (shown,) = cli.lines("key", "info", "alice-ci")
    assert shown.pop("created").endswith("+00:00")
    assert json.loads(shown.pop("policy")) == CUT
    assert shown == {
        "status": "ok",
        "operation": "key info",
        "access_key": "alice-ci",
        "user": "alice",
        "kind": "service",
        "enabled": True,
        "name": "ci",
        "description": "nightly runs",
        "expires": "2099-01-31T00:00:00+00:00",
        "has_policy": True,
    }


def test_a_policy_cuts_what_a_key_may_do_until_it_is_taken_away(cli: LakeCli) -> None:
    cli.text("key", "create", "alice", "--access-key", "cut-key", "--policy", "-", stdin=json.dumps(CUT))
    inside, outside = ("cut-key", "s3:GetObject", "images/public/a"), ("cut-key", "s3:GetObject", "images/private/a")
    assert cli.run("policy", "explain", *inside).exit_code == 0
    assert cli.run("policy", "explain", *outside).exit_code == 1
    assert cli.text("key", "edit", "cut-key", "--no-policy") == "changed cut-key\n"
    assert cli.run("policy", "explain", *outside).exit_code == 0


def test_a_key_is_edited_disabled_enabled_and_removed(cli: LakeCli) -> None:
    cli.text("key", "create", "alice", "--access-key", "alice-ci", "--expires", "30d")
    cli.text("key", "edit", "alice-ci", "--name", "nightly", "--description", "runs", "--expires", "never")
    (shown,) = cli.lines("key", "info", "alice-ci")
    assert (shown["name"], shown["description"], shown["expires"]) == ("nightly", "runs", "")
    assert len(secrets_of(cli, "alice-ci")) == 1
    assert cli.text("key", "disable", "alice-ci") == "disabled alice-ci\n"
    assert secrets_of(cli, "alice-ci") == ()
    assert cli.lines("key", "list", "alice")[0]["enabled"] is False
    assert cli.text("key", "enable", "alice-ci") == "enabled alice-ci\n"
    assert len(secrets_of(cli, "alice-ci")) == 1
    assert cli.text("key", "rm", "alice-ci") == "removed alice-ci\n"
    assert cli.text("key", "list") == ""


def test_keys_are_listed_by_user(cli: LakeCli) -> None:
    cli.text("key", "create", "bob", "--access-key", "bob-key")
    cli.text("key", "create", "alice", "--access-key", "alice-key", "--name", "ci")
    assert [line.split()[:3] for line in cli.text("key", "list").splitlines()] == [
        ["alice-key", "alice", "enabled"],
        ["bob-key", "bob", "enabled"],
    ]
    assert [line["access_key"] for line in cli.lines("key", "list", "bob")] == ["bob-key"]


def test_a_rotation_leaves_both_secrets_valid_for_its_overlap(cli: LakeCli) -> None:
    (made,) = cli.lines("key", "create", "alice", "--access-key", "alice-key")
    rotated = cli.run("key", "rotate", "alice-key", "--overlap", "24h")
    new = rotated.stdout.splitlines()[1].split()[1]
    assert rotated.stderr.splitlines()[-1] == "the old secret goes on for 24h"
    assert set(secrets_of(cli, "alice-key")) == {made["secret"], new}
    (again,) = cli.lines("key", "rotate", "alice-key")
    assert secrets_of(cli, "alice-key") == (again["secret"],)


def test_a_user_is_rotated_to_a_secret_of_choice(cli: LakeCli) -> None:
    given = "another-correct-horse"
    done = cli.run("key", "rotate", "alice", "--secret-file", "-", "--overlap", "15m", stdin=given)
    assert (done.exit_code, done.stdout) == (0, "rotated alice\n")
    assert set(secrets_of(cli, "alice")) == {SECRET, given}


@pytest.mark.parametrize(
    ("words", "kind", "status"),
    [
        (("create", "nobody"), "user-not-found", 1),
        (("create", "alice", "--access-key", "bob"), "access-key-exists", 1),
        (("create", "alice", "--access-key", "x"), "identity-name-invalid", 1),
        (("create", "alice", "--expires", "2001-01-01"), "invalid-argument", 1),
        (("create", "alice", "--expires", "soon"), "invalid-argument", 2),
        (("create", "alice", "--policy", "/nowhere.json"), "invalid-argument", 2),
        (("info", "nothing"), "access-key-not-found", 1),
        (("edit", "nothing", "--name", "x"), "access-key-not-found", 1),
        (("edit", "nothing"), "invalid-argument", 2),
        (("edit", "nothing", "--no-policy", "--policy", "x"), "invalid-argument", 2),
        (("enable", "nothing"), "access-key-not-found", 1),
        (("disable", "nothing"), "access-key-not-found", 1),
        (("rm", "nothing"), "access-key-not-found", 1),
        (("rotate", "nothing"), "access-key-not-found", 1),
        (("rotate", "alice", "--overlap", "long"), "invalid-argument", 2),
        (("rotate", "alice", "--overlap", "60w"), "invalid-argument", 1),
    ],
)
def test_what_cannot_be_is_named_with_its_kind(cli: LakeCli, words: tuple[str, ...], kind: str, status: int) -> None:
    verb, *rest = words
    assert cli.fault("key", verb, *rest) == (kind, status)
    assert cli.lines("key", "list") == []
    assert secrets_of(cli, "alice") == (SECRET,)

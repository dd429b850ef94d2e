"""`hosu group` on a lake of this machine."""

import pytest
from tests.support.lakecli import LakeCli


@pytest.fixture
def cli(lake_cli: LakeCli) -> LakeCli:
    with lake_cli.opened() as lake:
        for name in ("alice", "bob"):
            lake.users.add(name)
    return lake_cli


def test_a_group_is_filled_emptied_and_removed(cli: LakeCli) -> None:
    assert cli.text("group", "add", "lab", "alice", "bob") == "added alice, bob to lab\n"
    assert cli.text("group", "list") == "lab\n"
    cli.text("policy", "attach", "readonly", "--group", "lab")
    (shown,) = cli.lines("group", "info", "lab")
    assert shown.pop("updated").endswith("+00:00")
    assert shown == {
        "status": "ok",
        "operation": "group info",
        "name": "lab",
        "enabled": True,
        "members": ["alice", "bob"],
        "policies": ["readonly"],
    }
    assert cli.fault("group", "rm", "lab") == ("group-not-empty", 1)
    assert cli.text("group", "rm", "lab", "alice", "bob") == "removed alice, bob from lab\n"
    assert cli.text("group", "rm", "lab") == "removed lab\n"
    assert cli.text("group", "list") == ""


def test_the_policies_of_a_disabled_group_count_for_nobody(cli: LakeCli) -> None:
    cli.text("group", "add", "lab", "alice")
    cli.text("policy", "attach", "readonly", "--group", "lab")
    question = ("alice", "s3:GetObject", "images/a.jpg")
    assert cli.run("policy", "explain", *question).exit_code == 0
    assert cli.text("group", "disable", "lab") == "disabled lab\n"
    assert cli.run("policy", "explain", *question).exit_code == 1
    assert "status        disabled" in cli.text("group", "info", "lab").splitlines()
    assert cli.text("group", "enable", "lab") == "enabled lab\n"
    assert cli.run("policy", "explain", *question).exit_code == 0


@pytest.mark.parametrize(
    ("words", "kind"),
    [
        (("add", "lab", "nobody"), "user-not-found"),
        (("add", "a/b", "alice"), "identity-name-invalid"),
        (("info", "lab"), "group-not-found"),
        (("rm", "lab"), "group-not-found"),
        (("rm", "lab", "alice"), "group-not-found"),
        (("enable", "lab"), "group-not-found"),
        (("disable", "lab"), "group-not-found"),
    ],
)
def test_what_cannot_be_is_named_with_its_kind(cli: LakeCli, words: tuple[str, ...], kind: str) -> None:
    verb, *rest = words
    assert cli.fault("group", verb, *rest) == (kind, 1)
    assert cli.lines("group", "list") == []


def test_json_lines_carry_the_same(cli: LakeCli) -> None:
    assert cli.lines("group", "add", "lab", "alice") == [
        {"status": "ok", "operation": "group add", "name": "lab", "members": ["alice"]}
    ]
    assert cli.lines("group", "rm", "lab", "alice")[0]["members"] == ["alice"]
    assert cli.lines("group", "rm", "lab") == [{"status": "ok", "operation": "group rm", "name": "lab", "members": []}]

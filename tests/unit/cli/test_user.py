"""`hosu user` on a lake of this machine."""

import json
from pathlib import Path

import pytest
from tests.support.lakecli import LakeCli

from hosu.cli import lakes
from hosu.cli.faults import UsageFault
from hosu.identity.authority import Authority

SECRET = "correct-horse-battery"


def secrets_of(cli: LakeCli, name: str) -> tuple[str, ...]:
    with cli.opened() as lake:
        return tuple(Authority(lake.store, ("", "")).secrets(name))


def test_a_user_is_made_with_a_generated_secret_that_is_shown_once(lake_cli: LakeCli) -> None:
    made = lake_cli.run("user", "add", "alice")
    label, _, secret = made.stdout.splitlines()[1].partition(" ")
    assert (label, made.stdout.splitlines()[0].split()) == ("secret", ["access", "key", "alice"])
    assert secrets_of(lake_cli, "alice") == (secret.strip(),)
    assert made.stderr == "the secret is shown this once\n"
    for verb in ("list", "info"):
        shown = lake_cli.text("user", verb, *(["alice"] if verb == "info" else []))
        assert secret.strip() not in shown


def test_a_secret_typed_as_minio_users_do_is_taken_and_not_repeated(lake_cli: LakeCli) -> None:
    made = lake_cli.run("user", "add", "alice", SECRET)
    assert (made.exit_code, made.stdout) == (0, "added alice\n")
    assert "list of processes" in made.stderr
    assert SECRET not in made.output
    assert secrets_of(lake_cli, "alice") == (SECRET,)


def test_a_secret_comes_from_a_file_from_standard_input_or_from_a_question(lake_cli: LakeCli, tmp_path: Path) -> None:
    file = tmp_path / "secret"
    file.write_text(f"{SECRET}-1\nmore\n")
    lake_cli.text("user", "add", "alice", "--secret-file", file)
    assert secrets_of(lake_cli, "alice") == (f"{SECRET}-1",)
    lake_cli.text("user", "add", "alice", "--secret-file", "-", stdin=f"{SECRET}-2\r\n")
    assert secrets_of(lake_cli, "alice") == (f"{SECRET}-2",)
    asked = lake_cli.run("user", "add", "alice", "--ask", stdin=f"{SECRET}-3\n{SECRET}-3\n")
    assert asked.stdout.splitlines()[-1] == "added alice"
    assert SECRET not in asked.output
    assert secrets_of(lake_cli, "alice") == (f"{SECRET}-3",)


def test_json_carries_a_generated_secret_and_no_given_one(lake_cli: LakeCli) -> None:
    (made,) = lake_cli.lines("user", "add", "alice")
    assert (made["status"], made["operation"], made["access_key"]) == ("ok", "user add", "alice")
    assert secrets_of(lake_cli, "alice") == (made["secret"],)
    (again,) = lake_cli.lines("user", "add", "alice", SECRET)
    assert again == {"status": "ok", "operation": "user add", "access_key": "alice"}


def test_users_are_listed_shown_disabled_and_removed(lake_cli: LakeCli) -> None:
    lake_cli.text("user", "add", "bob", SECRET)
    lake_cli.text("user", "add", "alice", SECRET, "--policy", "readonly", "--policy", "diagnostics")
    lake_cli.text("group", "add", "lab", "alice")
    lake_cli.text("policy", "attach", "writeonly", "--group", "lab")
    (key,) = lake_cli.lines("key", "create", "alice")
    assert lake_cli.text("user", "disable", "bob") == "disabled bob\n"
    assert [line.split() for line in lake_cli.text("user", "list").splitlines()] == [
        ["alice", "enabled", "diagnostics,", "readonly"],
        ["bob", "disabled"],
    ]
    (shown,) = lake_cli.lines("user", "info", "alice")
    assert shown.pop("updated").endswith("+00:00")
    assert shown == {
        "status": "ok",
        "operation": "user info",
        "name": "alice",
        "enabled": True,
        "policies": ["diagnostics", "readonly"],
        "groups": ["lab"],
        "group_policies": {"lab": ["writeonly"]},
        "keys": [key["access_key"]],
        "has_password": False,
    }
    assert "group         lab: writeonly" in lake_cli.text("user", "info", "alice").splitlines()
    assert secrets_of(lake_cli, "bob") == ()
    assert lake_cli.text("user", "enable", "bob") == "enabled bob\n"
    assert secrets_of(lake_cli, "bob") == (SECRET,)
    assert lake_cli.text("user", "rm", "alice") == "removed alice\n"
    assert secrets_of(lake_cli, key["access_key"]) == ()
    assert [line["name"] for line in lake_cli.lines("user", "list")] == ["bob"]


def test_a_password_is_set_checked_and_taken_away(lake_cli: LakeCli) -> None:
    lake_cli.text("user", "add", "alice", SECRET)
    assert lake_cli.text("user", "password", "alice", "--password-file", "-", stdin="open sesame") == (
        "password of alice set\n"
    )
    with lake_cli.opened() as lake:
        assert lake.users.check_password("alice", "open sesame")
        assert not lake.users.check_password("alice", SECRET)
    (shown,) = lake_cli.lines("user", "info", "alice")
    assert shown["has_password"] is True
    lake_cli.text("user", "password", "alice", "--remove")
    with lake_cli.opened() as lake:
        assert not lake.users.check_password("alice", "open sesame")


@pytest.mark.parametrize(
    ("words", "kind", "status"),
    [
        (("info", "nobody"), "user-not-found", 1),
        (("enable", "nobody"), "user-not-found", 1),
        (("disable", "nobody"), "user-not-found", 1),
        (("rm", "nobody"), "user-not-found", 1),
        (("password", "nobody", "--remove"), "user-not-found", 1),
        (("add", "al", SECRET), "identity-name-invalid", 1),
        (("add", "a/b/c", SECRET), "identity-name-invalid", 1),
        (("add", "alice", ""), "invalid-argument", 2),
        (("add", "alice", "--secret-file", "/nowhere"), "invalid-argument", 2),
        (("add", "alice", "--secret-file", "/dev/null"), "invalid-argument", 2),
        (("add", "alice", "--secret-file", "/nowhere", "--ask"), "invalid-argument", 2),
        (("add", "alice", "--policy", "nothing"), "policy-not-found", 1),
        (("password", "alice", "--remove", "--password-file", "-"), "invalid-argument", 2),
    ],
)
def test_what_cannot_be_is_named_with_its_kind_and_changes_nothing(
    lake_cli: LakeCli, words: tuple[str, ...], kind: str, status: int
) -> None:
    verb, *rest = words
    result = lake_cli.run("user", verb, *rest, "--json")
    assert json.loads(result.stdout)["kind"] == kind
    assert result.exit_code == status
    assert SECRET not in result.output
    assert lake_cli.lines("user", "list") == []


def test_a_secret_that_is_too_short_is_refused_without_being_shown(lake_cli: LakeCli) -> None:
    result = lake_cli.run("user", "add", "alice", "hunter2")
    assert result.exit_code == 1
    assert "hunter2" not in result.output
    assert secrets_of(lake_cli, "alice") == ()


def test_nobody_gets_the_name_of_root(lake_cli: LakeCli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MINIO_ROOT_USER", "admin")
    assert lake_cli.fault("user", "add", "admin") == ("access-key-exists", 1)
    monkeypatch.delenv("MINIO_ROOT_USER")
    meta = lake_cli.folder / "meta" / "root.json"
    meta.write_text('{"access_key": "KEPTROOT", "secret": "never-shown"}')
    assert lake_cli.fault("user", "add", "KEPTROOT") == ("access-key-exists", 1)


def test_a_folder_that_is_no_lake_is_refused_not_made(tmp_path: Path) -> None:
    assert LakeCli(tmp_path / "typo").fault("user", "list") == ("not-a-lake", 1)
    assert list(tmp_path.iterdir()) == []


def test_the_audit_log_names_who_ran_the_command(lake_cli: LakeCli) -> None:
    lake_cli.text("user", "add", "alice", SECRET)
    (line,) = [entry["line"] for entry in lake_cli.lines("audit", "query")]
    assert (line["principal"], line["operation"], line["key"]) == ("ann", "in-process:PutUser", "alice")
    assert SECRET not in json.dumps(line)


def test_spans_and_moments_are_read_as_people_write_them() -> None:
    hour_ms = 3_600_000
    assert [lakes.parse_span(text, "--overlap") for text in ("90s", "15m", "24h", "30d", "2w")] == [
        90_000,
        900_000,
        24 * hour_ms,
        720 * hour_ms,
        336 * hour_ms,
    ]
    now_ms = 1_000 * hour_ms
    assert lakes.parse_moment("2h", "--since", now_ms, is_past=True) == 998 * hour_ms
    assert lakes.parse_moment("2h", "--expires", now_ms, is_past=False) == 1_002 * hour_ms
    assert lakes.parse_moment("1970-01-02", "--since", now_ms, is_past=True) == 24 * hour_ms
    assert lakes.parse_moment("1970-01-02T09:00:00+09:00", "--since", now_ms, is_past=True) == 24 * hour_ms
    for text in ("", "tomorrow", "1y", "-1h", "1970-13-01", "9999999999h"):
        with pytest.raises(UsageFault):
            lakes.parse_moment(text, "--since", now_ms, is_past=True)

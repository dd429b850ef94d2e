"""`hosu alias` on a lake of this machine."""

import getpass
import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

import hosu
from hosu.cli.main import build_app

CURRENT = "models/production/current/"
V1, V2 = "models/training/v1.0.0/", "models/training/v2.0.0/"


@pytest.fixture
def lake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("LOGNAME", "ann")
    with hosu.open(tmp_path / "lake") as opened:
        images = opened.create_bucket("images")
        for version in (V1, V2):
            images.put(f"{version}best.pt", version.encode())
    return tmp_path / "lake"


def run(*words: object) -> Result:
    return CliRunner().invoke(build_app(), ["alias", *map(str, words)])


def lines(*words: object) -> list[dict[str, Any]]:
    return [json.loads(line) for line in run(*words, "--json").stdout.splitlines()]


def read(lake: Path) -> bytes:
    with hosu.open(lake) as opened:
        return opened.bucket("images").get(f"{CURRENT}best.pt")


def test_an_alias_is_set_switched_reverted_and_removed(lake: Path) -> None:
    made = run("set", lake, "images", CURRENT, V1)
    assert (made.exit_code, made.stdout) == (0, f"{CURRENT} -> {V1}\n")
    switched = run("set", lake, "images", CURRENT, V2)
    assert switched.stdout == f"{CURRENT} -> {V2} (was {V1})\n"
    assert read(lake) == V2.encode()
    assert run("show", lake, "images").stdout == f"{CURRENT} -> {V2}\n"
    assert run("revert", lake, "images", CURRENT).stdout == f"{CURRENT} -> {V1} (was {V2})\n"
    assert read(lake) == V1.encode()
    shown = run("history", lake, "images", CURRENT).stdout.splitlines()
    assert [line.split("  ", 1)[1] for line in shown] == [
        f"ann  {V2} -> {V1}",
        f"ann  {V1} -> {V2}",
        f"ann  (none) -> {V1}",
    ]
    assert run("rm", lake, "images", CURRENT).stdout == f"removed {CURRENT}\n"
    assert run("show", lake, "images").stdout == ""


def test_json_lines_carry_the_same(lake: Path) -> None:
    assert lines("set", lake, "images", CURRENT, V1) == [
        {"status": "ok", "operation": "alias set", "prefix": CURRENT, "source": None, "target": V1}
    ]
    run("set", lake, "images", CURRENT, V2)
    assert lines("show", lake, "images", CURRENT) == [
        {"status": "ok", "operation": "alias show", "prefix": CURRENT, "target": V2}
    ]
    (latest,) = lines("history", lake, "images", CURRENT, "--limit", 1)
    assert latest.pop("at").endswith("+00:00")
    assert latest == {
        "status": "ok",
        "operation": "alias history",
        "prefix": CURRENT,
        "source": V1,
        "target": V2,
        "actor": getpass.getuser(),
    }
    assert lines("revert", lake, "images", CURRENT)[0]["target"] == V1
    assert lines("rm", lake, "images", CURRENT) == [{"status": "ok", "operation": "alias rm", "prefix": CURRENT}]


def test_quiet_leaves_only_answers(lake: Path) -> None:
    assert run("set", lake, "images", CURRENT, V1, "--quiet").stdout == ""
    assert run("show", lake, "images", "--quiet").stdout == f"{CURRENT} -> {V1}\n"


@pytest.mark.parametrize(
    ("words", "kind"),
    [
        (("show", "images", "models/other/"), "alias-not-found"),
        (("history", "images", "models/other/"), "alias-not-found"),
        (("revert", "images", "models/other/"), "alias-not-found"),
        (("rm", "images", "models/other/"), "alias-not-found"),
        (("show", "nowhere"), "bucket-not-found"),
        (("set", "images", CURRENT, "models/training/v9/"), "object-not-found"),
        (("set", "images", "models/production/current", V1), "invalid-argument"),
        (("set", "images", V2, V1), "invalid-argument"),
    ],
)
def test_what_cannot_be_is_named_with_its_kind(lake: Path, words: tuple[str, ...], kind: str) -> None:
    verb, *rest = words
    (answer,) = lines(verb, lake, *rest)
    assert (answer["status"], answer["operation"], answer["kind"]) == ("error", f"alias {verb}", kind)
    told = run(verb, lake, *rest)
    assert (told.exit_code, told.stdout) == (1, "")
    assert told.stderr.startswith(f"hosu alias {verb}: ")


def test_a_folder_that_is_no_lake_is_refused_not_made(tmp_path: Path) -> None:
    (answer,) = lines("show", tmp_path / "typo", "images")
    assert answer["kind"] == "not-a-lake"
    assert list(tmp_path.iterdir()) == []


def test_a_wrong_command_line_has_a_status_of_its_own(lake: Path) -> None:
    assert run("set", lake, "images").exit_code == 2


def test_a_user_without_a_name_is_shown_by_number(lake: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def nobody() -> str:
        raise KeyError("no such user")

    monkeypatch.setattr("getpass.getuser", nobody)
    run("set", lake, "images", CURRENT, V1)
    assert lines("history", lake, "images", CURRENT)[0]["actor"].startswith("uid ")

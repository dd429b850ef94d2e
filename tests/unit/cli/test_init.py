"""`hosu init` and its templates."""

import json
from pathlib import Path

import pytest
from tests.support.lakecli import LakeCli
from typer.testing import CliRunner, Result

import hosu
from hosu.cli.main import build_app
from hosu.identity.authority import Authority

DOOR_USERS = {"door-system", "door-training", "door-data-manager", "door-inference", "door-labelling", "viewer"}


def init(*words: object) -> Result:
    return CliRunner().invoke(build_app(), ["init", *map(str, words)])


def content(folder: Path) -> dict[str, list[str]]:
    """Return what a template can make in a lake."""
    with hosu.open(folder, create=False) as lake:
        return {
            "buckets": [bucket.name for bucket in lake.buckets()],
            "keys": [f"{bucket.name}/{entry.key}" for bucket in lake.buckets() for entry in bucket.list()],
            "aliases": [f"{alias.prefix} {alias.target}" for bucket in lake.buckets() for alias in bucket.aliases()],
            "policies": [policy.name for policy in lake.policies.list() if not policy.is_builtin],
            "users": [f"{user.name} {','.join(user.policies)}" for user in lake.users.list()],
        }


def test_init_alone_makes_a_lake_and_a_second_time_nothing(tmp_path: Path) -> None:
    folder = tmp_path / "lake"
    assert init(folder, "--dry-run").stdout == f"made  lake  {folder}\n"
    assert not folder.exists()
    assert init(folder).stdout == f"made  lake  {folder}\n"
    assert init(folder).stdout == f"kept  lake  {folder}\n"
    hosu.open(folder, create=False).close()


def test_the_lake_is_made_in_the_folder_lake_where_none_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert init("--template", "medallion").exit_code == 0
    assert content(tmp_path / "lake")["buckets"] == ["bronze", "gold", "mlflow", "silver"]


def test_the_smart_door_is_made_once_with_secrets_that_work(tmp_path: Path) -> None:
    folder = tmp_path / "lake"
    made = init(folder, "--template", "smart-door")
    assert made.exit_code == 0, made.output
    found = content(folder)
    assert found["buckets"] == ["ai-door-system"]
    assert found["aliases"] == [
        "datasets/current/ datasets/v1/",
        "models/production/current/ models/training/v1.0.0/",
    ]
    shown = dict(line.split() for line in made.stdout.splitlines() if line.startswith("  "))
    assert set(shown) == DOOR_USERS
    with hosu.open(folder) as lake:
        authority = Authority(lake.store, ("", ""))
        assert {name: authority.secrets(name) for name in shown} == {name: (shown[name],) for name in shown}
    again = init(folder, "--template", "smart-door")
    assert {line.split()[0] for line in again.stdout.splitlines()} == {"kept"}
    assert again.stderr == ""
    assert content(folder) == found


@pytest.mark.parametrize("name", ["smart-door", "medallion", "streaming"])
def test_a_dry_run_tells_what_a_run_does_and_makes_nothing(tmp_path: Path, name: str) -> None:
    folder = tmp_path / "lake"

    def steps(*words: object) -> list[tuple[str, str, str]]:
        lines = [json.loads(line) for line in init(folder, "--template", name, "--json", *words).stdout.splitlines()]
        return [(line["state"], line["kind"], line["name"]) for line in lines if line["kind"] != "secret"]

    planned = steps("--dry-run")
    assert not folder.exists()
    with hosu.open(folder) as lake:
        lake.create_bucket("bronze")
    files = {path: path.stat().st_mtime_ns for path in folder.rglob("*") if path.name == "lake.key"}
    before = content(folder)
    planned_beside = steps("--dry-run")
    assert content(folder) == before
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("*") if path.name == "lake.key"} == files
    assert steps() == planned_beside
    kept = [("kept" if name == "bronze" else state, kind, name) for state, kind, name in planned]
    assert planned_beside == kept
    assert {state for state, _, _ in steps("--dry-run")} == {"kept"}


def test_what_has_been_changed_since_is_kept(tmp_path: Path) -> None:
    folder = tmp_path / "lake"
    init(folder, "--template", "smart-door")
    cli = LakeCli(folder)
    with hosu.open(folder) as lake:
        door = lake.bucket("ai-door-system")
        door.put("models/training/v2.0.0/best.pt", b"better")
        door.alias("models/production/current/").set("models/training/v2.0.0/")
        door.put("images/raw/2025-08-08/a.jpg", b"a")
        door.delete("images/raw/.keep")
        lake.policies.put("door-system", lake.policies.get("readonly").text)
        lake.users.add("viewer", "a-secret-of-my-own")
        lake.policies.detach("door-readonly", user="viewer")
    before = content(folder)
    again = init(folder, "--template", "smart-door")
    assert "points to models/training/v2.0.0/" in again.stdout
    assert "its text differs from the template's" in again.stdout
    assert content(folder) == before
    assert "made" not in again.stdout
    assert cli.lines("user", "info", "viewer")[0]["policies"] == []


def test_an_alias_over_stored_objects_is_skipped_with_its_reason(tmp_path: Path) -> None:
    folder = tmp_path / "lake"
    with hosu.open(folder) as lake:
        lake.create_bucket("ai-door-system").put("models/production/current/best.pt", b"imported")
    made = init(folder, "--template", "smart-door")
    assert made.exit_code == 0
    (skipped,) = [line for line in made.stdout.splitlines() if line.startswith("skipped")]
    assert "objects are stored below models/production/current/" in skipped
    assert "ai-door-system/models/production/current/best.pt" in content(folder)["keys"]


def test_a_step_that_fails_leaves_nothing_of_the_template(tmp_path: Path) -> None:
    folder = tmp_path / "lake"
    with hosu.open(folder) as lake:
        lake.users.add("alice")
        lake.keys.create("alice", access_key="viewer")  # the template's last user cannot have this name
    before = content(folder)
    refused = init(folder, "--template", "smart-door")
    assert (refused.exit_code, refused.stdout) == (1, "")
    assert "viewer" in refused.stderr
    assert content(folder) == before


def test_a_template_of_ones_own_is_a_folder(tmp_path: Path) -> None:
    own = tmp_path / "own"
    own.mkdir()
    (own / "template.toml").write_text(
        'summary = "Mine."\n[[buckets]]\nname = "mine"\n'
        '[[users]]\nname = "me-too"\npolicies = ["mine", "diagnostics"]\n'
    )
    (own / "mine.json").write_text('{"Statement": {"Effect": "Allow", "Action": "s3:*", "Resource": "*"}}')
    assert init(tmp_path / "lake", "--template", own).exit_code == 0
    found = content(tmp_path / "lake")
    assert (found["buckets"], found["users"]) == (["mine"], ["me-too diagnostics,mine"])


def test_a_name_that_is_no_template_gets_the_nearest_one(tmp_path: Path) -> None:
    refused = init(tmp_path / "lake", "--template", "medalion")
    assert refused.exit_code == 1
    assert "'medallion'" in refused.stderr
    assert not (tmp_path / "lake").exists()


@pytest.mark.parametrize(
    "words", [(), ("--dry-run",), ("--template", "streaming"), ("--template", "streaming", "--dry-run")]
)
def test_a_folder_of_other_things_is_refused_and_left_alone(tmp_path: Path, words: tuple[str, ...]) -> None:
    (tmp_path / "photo.jpg").write_bytes(b"x")
    refused = init(tmp_path, *words, "--json")
    assert refused.exit_code == 1
    assert json.loads(refused.stdout)["kind"] == "not-a-lake"
    assert [path.name for path in tmp_path.iterdir()] == ["photo.jpg"]

"""`hosu backup` and `hosu restore` on a lake of this machine."""

import json
from pathlib import Path
from typing import Any

import pytest
from tests.support.lakecli import LakeCli
from typer.testing import CliRunner, Result

import hosu
from hosu.cli.main import build_app

LARGE = b"large" * 10_000


@pytest.fixture
def cli(lake_cli: LakeCli) -> LakeCli:
    with lake_cli.opened() as lake:
        images = lake.create_bucket("images")
        images.put("a.jpg", b"a")
        images.put("b.jpg", LARGE)
    return lake_cli


@pytest.fixture
def place(tmp_path: Path) -> str:
    return str(tmp_path / "backup")


def run(*words: object) -> Result:
    return CliRunner().invoke(build_app(), list(map(str, words)))


def lines(*words: object) -> list[dict[str, Any]]:
    return [json.loads(line) for line in run(*words, "--json").stdout.splitlines()]


def test_a_run_says_what_it_wrote(cli: LakeCli, place: str) -> None:
    (first,) = cli.lines("backup", "run", place)
    assert (first["status"], first["objects"], first["is_base"]) == ("ok", 2, True)
    (second,) = cli.lines("backup", "run", place)
    assert (second["changed_keys"], second["is_base"], second["damaged"]) == (0, False, [])
    (third,) = cli.lines("backup", "run", place, "--full")
    assert third["is_base"]
    assert "snapshot" in cli.text("backup", "run", place)


def test_a_relative_folder_is_taken_from_where_one_is(
    cli: LakeCli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    cli.text("backup", "run", "here")
    assert (tmp_path / "here" / "hosu-backup.json").is_file()
    assert len(lines("backup", "list", "here")) == 1


def test_snapshots_are_listed_the_oldest_first_and_pruned(cli: LakeCli, place: str) -> None:
    taken = [cli.lines("backup", "run", place)[0]["snapshot"] for _ in range(3)]
    assert [line["snapshot"] for line in lines("backup", "list", place)] == taken
    planned = lines("backup", "prune", place, "--keep-last", 1, "--dry-run")
    assert [line.get("snapshot") for line in planned] == [*taken[:2], None]
    assert len(lines("backup", "list", place)) == 3
    assert lines("backup", "prune", place)[-1]["kept"] == 3
    assert lines("backup", "prune", place, "--keep-last", 1)[-1]["kept"] == 1
    assert [line["snapshot"] for line in lines("backup", "list", place)] == taken[2:]


def test_verify_tells_what_is_wrong_by_its_exit_status(cli: LakeCli, place: str) -> None:
    cli.text("backup", "run", place)
    assert run("backup", "verify", place, "--all").exit_code == 0
    blob = max(Path(place).glob("blobs/*/*"), key=lambda path: path.stat().st_size)
    blob.write_bytes(b"?")
    assert run("backup", "verify", place).exit_code == 0, "it is there"
    told = run("backup", "verify", place, "--all")
    assert told.exit_code == 1
    assert blob.name in told.stderr
    blob.unlink()
    (line,) = lines("backup", "verify", place)
    assert blob.name in line["faults"][0]


def test_a_restore_says_which_moment_it_took(cli: LakeCli, place: str, tmp_path: Path) -> None:
    (taken,) = cli.lines("backup", "run", place)
    (line,) = lines("restore", place, tmp_path / "new")
    assert (line["snapshot"], line["time"], line["objects"]) == (taken["snapshot"], taken["time"], 2)
    with hosu.open(tmp_path / "new", create=False) as lake:
        assert bytes(lake.bucket("images").get("b.jpg")) == LARGE
    told = run("restore", place, tmp_path / "other", "--bucket", "images", "--prefix", "a")
    assert taken["snapshot"] in told.stdout
    assert "1 objects" in told.stdout


@pytest.mark.parametrize(
    ("words", "kind", "status"),
    [
        (("--to-time", "2001-01-01"), "backup-not-found", 1),
        (("--to-time", "yesterday"), "usage", 2),
        (("--snapshot", "nothing"), "backup-not-found", 1),
        (("--snapshot", "nothing", "--to-time", "1d"), "usage", 2),
        (("--prefix", "a"), "usage", 2),
        (("--bucket", "nothing"), "bucket-not-found", 1),
    ],
)
def test_what_cannot_be_restored_is_refused(
    cli: LakeCli, place: str, tmp_path: Path, words: tuple[str, ...], kind: str, status: int
) -> None:
    cli.text("backup", "run", place)
    result = run("restore", place, tmp_path / "new", *words, "--json")
    assert result.exit_code == status
    assert kind == "usage" or json.loads(result.stdout)["kind"] == kind
    assert not (tmp_path / "new" / "format").exists()


def test_a_restore_over_a_lake_is_refused(cli: LakeCli, place: str, tmp_path: Path) -> None:
    cli.text("backup", "run", place)
    run("restore", place, tmp_path / "new")
    (line,) = lines("restore", place, tmp_path / "new")
    assert line["kind"] == "not-a-lake"


def test_objects_with_lost_bytes_fail_the_run_and_the_restore(cli: LakeCli, place: str, tmp_path: Path) -> None:
    (blob,) = [path for path in (cli.folder / "blobs").glob("*/*") if path.is_file()]
    blob.write_bytes(b"?")
    told = cli.run("backup", "run", place)
    assert told.exit_code == 1
    assert "images/b.jpg" in told.stderr
    told = run("restore", place, tmp_path / "new")
    assert told.exit_code == 1
    assert "images/b.jpg" in told.stderr
    with hosu.open(tmp_path / "new", create=False) as lake:
        assert bytes(lake.bucket("images").get("a.jpg")) == b"a"


def test_a_schedule_is_set_shown_and_ended(cli: LakeCli, place: str) -> None:
    assert cli.lines("backup", "schedule") == [{"status": "ok", "operation": "backup schedule", "schedule": None}]
    options = ("--cron", "30 3 * * 1-5", "--timezone", "Asia/Seoul", "--keep-daily", 7, "--keep-weekly", 4)
    (line,) = cli.lines("backup", "schedule", place, *options)
    assert line["schedule"] == {
        "location": place, "cron": "30 3 * * 1-5", "timezone": "Asia/Seoul", "keep": {"daily": 7, "weekly": 4},
    }  # fmt: skip
    assert line["next"].endswith("T18:30:00+00:00")
    assert "30 3 * * 1-5 (Asia/Seoul)" in cli.text("backup", "schedule")
    assert cli.fault("backup", "schedule", place, "--cron", "61 * * * *") == ("invalid-argument", 1)
    assert cli.run("backup", "schedule", place, "--off").exit_code == 2
    cli.text("backup", "schedule", "--off")
    assert cli.lines("backup", "schedule")[0]["schedule"] is None


def test_a_place_in_the_lake_is_refused(cli: LakeCli) -> None:
    assert cli.fault("backup", "run", cli.folder / "tmp" / "backup") == ("location-invalid", 1)
    assert cli.fault("backup", "schedule", cli.folder / "tmp" / "backup") == ("location-invalid", 1)

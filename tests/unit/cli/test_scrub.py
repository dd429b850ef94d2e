"""`hosu scrub` and `hosu doctor` on a lake of this machine."""

import json
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from tests.support.lakecli import LakeCli
from typer.testing import CliRunner, Result

from hosu.cli.faults import UsageFault
from hosu.cli.main import build_app
from hosu.cli.scrub import parse_rate
from hosu.kernel.settings import Settings
from hosu.objects.lock import LakeLock
from hosu.objects.protected import ProtectedPrefix
from hosu.objects.read import find
from hosu.rules.copies import locations, prefixes_of
from hosu.rules.copy_job import LocationKeeper
from hosu.rules.keeping import Keep
from hosu.rules.protection import protect

BODY = b"model" * 10_000


def run(verb: str, *words: object) -> Result:
    return CliRunner().invoke(build_app(), [verb, *map(str, words)])


def lines(result: Result) -> list[dict[str, Any]]:
    return [json.loads(line) for line in result.stdout.splitlines()]


@pytest.fixture
def folder(lake_cli: LakeCli, tmp_path: Path) -> Path:
    """A lake with a protected object that has a copy, and another one."""
    copies = tmp_path / "copies"
    copies.mkdir()
    with lake_cli.opened() as lake:
        images = lake.create_bucket("images")
        images.put("models/a", BODY)
        images.put("other", BODY + b"2")
        lake.store.commit(partial(protect, entry=ProtectedPrefix("images", "models/", str(copies))))
        keeper = LocationKeeper(Keep(lake.store, Settings(), lambda *_: None), str(copies))
        import threading

        (entries,) = locations(lake.store.view()).values()
        keeper.keep(prefixes_of(lake.store.view(), entries), threading.Event())
    return lake_cli.folder


def harm(folder: Path, key: str, *, is_sound: bool = False) -> None:
    with LakeCli(folder).opened() as lake:
        path = lake.store.files.path(find(lake.store.view(), "images", key).blob_id or 0)
    path.write_bytes(BODY if is_sound else b"x" * path.stat().st_size)


@pytest.mark.parametrize(
    ("text", "rate"),
    [("200MB/s", 200_000_000), ("64MiB/s", 64 << 20), ("1.5GB", 1_500_000_000), ("10kB/s", 10_000), ("5B/s", 5)],
)
def test_rates_are_read_as_people_write_them(text: str, rate: int) -> None:
    assert parse_rate(text) == rate


@pytest.mark.parametrize("text", ["", "fast", "200", "0MB/s", "-1MB/s", "1TB/s", "1.55MB/s"])
def test_what_is_no_rate_is_refused(text: str) -> None:
    with pytest.raises(UsageFault):
        parse_rate(text)


def test_a_sound_lake_is_read_and_nothing_said(folder: Path) -> None:
    result = run("scrub", folder, "--json", "--rate", "1GB/s")
    (line,) = lines(result)
    assert result.exit_code == 0
    assert (line["blobs"], line["copies"], line["restored"], line["lost"]) == (2, 1, 0, 0)
    assert "read 2 blobs" in run("scrub", folder).stdout


def test_corrupt_objects_are_restored_or_named(folder: Path) -> None:
    harm(folder, "models/a")
    harm(folder, "other")
    dry = run("scrub", folder, "--json", "--dry-run")
    assert dry.exit_code == 1
    assert {line["outcome"] for line in lines(dry)[:-1]} == {"would be restored", "would be lost"}
    result = run("scrub", folder, "--json")
    assert result.exit_code == 1
    found = {line["objects"][0]: line["outcome"] for line in lines(result)[:-1]}
    assert found == {"images/models/a": "restored", "images/other": "lost"}
    again = run("scrub", folder, "--prefix", "images/models/")
    assert again.exit_code == 0, again.output
    assert "images/other" in run("scrub", folder).stdout


def test_files_read_lately_are_passed_over(folder: Path) -> None:
    assert lines(run("scrub", folder, "--json", "--since", "7d"))[0]["blobs"] == 0
    assert lines(run("scrub", folder, "--json", "--since", "0s"))[0]["blobs"] == 2


@pytest.mark.parametrize(
    "words", [["--rate", "fast"], ["--since", "soon"], ["--prefix", "nowhere/"], ["--accept-location", "/elsewhere"]]
)
def test_wrong_words_are_explained(folder: Path, words: list[str]) -> None:
    result = run("scrub", folder, *words)
    assert result.exit_code in {1, 2}
    assert result.stderr.startswith("hosu scrub: ")


def test_a_location_whose_disk_was_replaced_is_accepted(folder: Path, tmp_path: Path) -> None:
    location = tmp_path / "copies"
    for path in sorted(location.rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() else path.unlink()
    result = run("scrub", folder)
    assert result.exit_code == 1
    assert "mounted" in result.stderr
    assert run("scrub", folder, "--accept-location", location).exit_code == 0
    assert run("scrub", folder).exit_code == 0


# Doctor


def test_a_sound_lake_has_nothing_to_say(folder: Path) -> None:
    result = run("doctor", folder)
    assert (result.exit_code, result.stdout) == (0, f"{folder}: nothing is wrong\n")


def test_findings_are_explained_and_repaired_when_asked(folder: Path) -> None:
    with LakeCli(folder).opened() as lake:
        lake.store.commit(lambda tx: tx.run("UPDATE bucket SET object_count = 7").close())
    told = run("doctor", folder)
    assert told.exit_code == 1
    assert "usage: bucket images" in told.stdout
    assert "nothing was changed" in told.stderr
    (line,) = lines(run("doctor", folder, "--json"))
    assert (line["kind"], line["loses"], line["where"]) == ("usage", False, "bucket images")
    mended = run("doctor", folder, "--repair", "--json")
    assert mended.exit_code == 0
    assert lines(mended)[0] == {"status": "ok", "operation": "doctor", "repaired": 1, "left": 0}
    assert run("doctor", folder).exit_code == 0


def test_losses_have_to_be_allowed_by_kind(folder: Path) -> None:
    with LakeCli(folder).opened() as lake:
        blob_id = find(lake.store.view(), "images", "other").blob_id
        lake.store.files.path(blob_id or 0).unlink()
        lake.store.commit(lambda tx: tx.run("DELETE FROM blob WHERE id = ?", (blob_id,)).close())
    result = run("doctor", folder, "--repair")
    assert result.exit_code == 1
    assert "only with --allow-loss blob-missing" in result.stdout
    assert run("doctor", folder, "--repair", "--allow-loss", "blob-missing").exit_code == 0
    assert run("doctor", folder, "--allow-loss", "blob-missing").exit_code == 2


def test_a_lake_that_is_served_is_looked_at_but_not_repaired(folder: Path) -> None:
    lock = LakeLock(folder)
    try:
        assert run("doctor", folder).exit_code == 0
        result = run("doctor", folder, "--repair")
    finally:
        lock.release()
    assert result.exit_code == 1
    assert "already serves" in result.stderr


def test_a_lake_that_lost_its_records_is_explained(folder: Path) -> None:
    for path in (folder / "meta").glob("lake.db*"):
        path.unlink()
    for words in ([], ["--repair"]):
        (line,) = lines(run("doctor", folder, *words, "--json"))
        assert line["kind"] == "database"
        assert "hosu restore" in line["why"]


def test_damaged_pages_are_explained_and_not_touched(folder: Path) -> None:
    with LakeCli(folder).opened() as lake:
        images = lake.bucket("images")
        for number in range(300):
            images.put(f"{number:04}", b"small body " * 50)
    database = folder / "meta" / "lake.db"
    body = bytearray(database.read_bytes())
    for page in range(20, len(body) // 4096 - 1):
        body[page * 4096 : page * 4096 + 64] = bytes(64)
    database.write_bytes(body)
    for words in ([], ["--repair"]):
        result = run("doctor", folder, *words, "--json")
        assert result.exit_code == 1
        assert {line["kind"] for line in lines(result) if "kind" in line} == {"database"}
    assert database.read_bytes()[20 * 4096 : 20 * 4096 + 64] == bytes(64)


def test_a_folder_that_is_no_lake_is_refused(tmp_path: Path) -> None:
    result = run("doctor", tmp_path)
    assert result.exit_code == 1
    assert "not a lake" in result.stderr

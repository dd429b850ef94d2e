"""`hosu import minio`: what it says, how it ends, and what it refuses before it begins."""

import json
from pathlib import Path
from typing import Any

import pytest
from tests.support.minio_drive import ROOT, DriveVersion, make_bucket, make_drive, snapshot, unpack_drive, write_key
from typer.testing import CliRunner, Result

import hosu
from hosu.cli.main import build_app
from hosu.testing.lake_check import find_faults


def run(*words: object) -> Result:
    return CliRunner().invoke(build_app(), ["import", "minio", *map(str, words)])


def lines(*words: object) -> list[dict[str, Any]]:
    return [json.loads(line) for line in run(*words, "--json").stdout.splitlines()]


@pytest.fixture
def drive(tmp_path: Path) -> Path:
    path = make_drive(tmp_path / "drive")
    make_bucket(path, "bkt", LifecycleConfigXML=b"<LifecycleConfiguration>none</LifecycleConfiguration>")
    write_key(path / "bkt", "k", [DriveVersion(b"x")])
    return path


@pytest.fixture
def root(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOSU_ROOT_USER", ROOT)


@pytest.mark.usefixtures("root")
def test_a_real_drive_comes_in_clean_and_again(tmp_path: Path) -> None:
    path, lake = unpack_drive(tmp_path), tmp_path / "lake"
    before = snapshot(path)
    first = run(path, lake, "--source-root", ROOT)
    assert first.exit_code == 0, first.output
    assert first.stdout.splitlines()[-1] == "31 versions and 3 delete markers moved; nothing is missing"
    assert "note: 1 uploads in parts are not completed" in first.stderr
    again = run(path, lake, "--source-root", ROOT, "--quiet")
    assert (again.exit_code, again.stderr) == (0, "")
    assert again.stdout.splitlines()[-1] == "0 versions and 0 delete markers moved; nothing is missing"
    assert snapshot(path) == before
    with hosu.open(lake, create=False) as opened:
        assert find_faults(opened.store) == []
        view = opened.store.view()
        kinds = dict(
            view.rows("SELECT kind, body FROM bucket_document JOIN bucket ON id = bucket_id WHERE name='plain'")
        )
        assert kinds["tagging"] == "<TagSet><Tag><Key>team</Key><Value>doors</Value></Tag></TagSet>"
        assert json.loads(kinds["policy"])["Statement"][0]["Resource"] == ["arn:aws:s3:::plain/public/*"]
        assert "logs/" in kinds["lifecycle"]
        assert "GOVERNANCE" in view.bucket("locked").lock


@pytest.mark.usefixtures("root")
def test_json_has_one_object_for_each_thing_and_a_total(tmp_path: Path) -> None:
    found = lines(unpack_drive(tmp_path), tmp_path / "lake", "--source-root", ROOT)
    assert {line["operation"] for line in found} == {"import minio"}
    assert found[-1]["kind"] == "total"
    assert (found[-1]["moved"], found[-1]["moved_markers"], found[-1]["refused"]) == (31, 3, 0)
    assert {line["state"] for line in found if "state" in line} == {"moved"}
    assert [line["bucket"] for line in found if line["kind"] == "bucket"] == [
        "empty-bucket",
        "locked",
        "plain",
        "suspended",
        "versioned",
    ]
    assert "secret-key" not in json.dumps(found)


def test_what_was_not_moved_is_named_and_the_status_is_1(tmp_path: Path) -> None:
    result = run(unpack_drive(tmp_path, "sealed"), tmp_path / "lake")
    assert result.exit_code == 1
    told = [line for line in result.stdout.splitlines() if line.startswith("NOT moved")]
    assert [line.split(":")[0].split()[-1] for line in told] == [
        "carol",
        "mixed",
        "mixed/compressed.txt",
        "mixed/sealed-kms.bin",
        "mixed/sealed.bin",
    ]
    assert result.stdout.splitlines()[-1].endswith("5 were not moved, as named above")


def test_a_document_that_hosu_refuses_is_named_with_the_reason(tmp_path: Path, drive: Path) -> None:
    found = lines(drive, tmp_path / "lake")
    (refused,) = [line for line in found if line.get("state") == "refused"]
    assert (refused["kind"], refused["bucket"]) == ("lifecycle", "bkt")
    assert refused["reason"]


def test_a_dry_run_tells_each_version_and_makes_nothing(tmp_path: Path, drive: Path) -> None:
    result = run(drive, tmp_path / "lake", "--dry-run")
    assert "would move  bkt/k" in result.stdout
    assert not (tmp_path / "lake").exists()


def test_a_bucket_that_is_not_there_is_refused_before_anything_is_made(tmp_path: Path, drive: Path) -> None:
    result = run(drive, tmp_path / "lake", "--bucket", "nope")
    assert result.exit_code == 1
    assert "no bucket 'nope': it has bkt" in result.stderr
    assert not (tmp_path / "lake").exists()


def test_settings_of_the_lake_stay(tmp_path: Path) -> None:
    path, lake = unpack_drive(tmp_path), tmp_path / "lake"
    run(path, lake)
    with hosu.open(lake) as opened:
        view = opened.store.view()
        documents = "SELECT bucket_id, kind, body FROM bucket_document ORDER BY 1, 2"
        before = view.rows(documents)
    states = {(it["kind"], it["state"]) for it in lines(path, lake) if it["kind"] in {"policy", "tagging", "lifecycle"}}
    assert states == {("policy", "present"), ("tagging", "present"), ("lifecycle", "present")}
    dry = {
        it["state"] for it in lines(path, lake, "--dry-run") if it["kind"] in {"tagging", "lifecycle", "object-lock"}
    }
    assert dry == {"present"}
    with hosu.open(lake) as opened:
        assert opened.store.view().rows(documents) == before


@pytest.mark.parametrize(
    ("source", "lake", "status", "reason"),
    [
        ("drive", "drive/lake", 2, "overlap"),
        ("drive", ".", 2, "overlap"),
        ("nothing", "lake", 1, "no data folder of MinIO's"),
        ("http://127.0.0.1:1", "lake", 2, "whose credentials"),
        ("hosu://", "lake", 2, "no server"),
    ],
)
def test_what_cannot_be_right_is_refused_before_anything_is_made(
    tmp_path: Path, drive: Path, source: str, lake: str, status: int, reason: str
) -> None:
    before = snapshot(drive)
    given = source if "://" in source else tmp_path / source
    result = run(given, tmp_path / lake)
    assert result.exit_code == status
    assert reason in result.stderr
    assert not (tmp_path / "lake").exists()
    assert snapshot(drive) == before


def test_a_server_that_does_not_answer_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MINIO_ROOT_USER", "somebody")
    monkeypatch.setenv("MINIO_ROOT_PASSWORD", "some-secret")
    result = run("http://127.0.0.1:1", tmp_path / "lake")
    assert result.exit_code == 1
    assert "did not answer" in result.stderr
    assert "some-secret" not in result.output
    assert not (tmp_path / "lake").exists()

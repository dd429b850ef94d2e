"""A MinIO's folder: what is in it, and what is wrong with it."""

import os
import shutil
from pathlib import Path

import pytest
from tests.support.minio_drive import (
    BLOCK_BYTES,
    ROOT,
    DriveVersion,
    make_bucket,
    make_drive,
    snapshot,
    unpack_drive,
    write_key,
)

from hosu.kernel.errors import InvalidInputError, UnsupportedError
from hosu.lake.importing.minio_folder import Drive
from hosu.lake.importing.source import SourceError
from hosu.objects.records import Versioning


@pytest.fixture
def drive(tmp_path: Path) -> Drive:
    make_bucket(make_drive(tmp_path / "drive"), "b")
    return Drive(tmp_path / "drive")


def body_of(drive: Drive, key: str) -> bytes:
    (found,) = [it for it in drive.keys("b", key) if it.key == key]
    version = found.versions[-1]
    return b"".join(bytes(piece) for part in version.parts for piece in drive.read("b", key, version, part))


def names(drive: Drive, prefix: str = "") -> list[str]:
    return [key.key for key in drive.keys("b", prefix)]


@pytest.mark.parametrize("size", [0, 1, 131_072, 131_073, BLOCK_BYTES, BLOCK_BYTES + 1, 5 * BLOCK_BYTES + 3])
def test_bodies_are_what_was_stored_whatever_their_size(drive: Drive, size: int) -> None:
    body = os.urandom(size)
    write_key(drive.path / "b", "k", [DriveVersion(body)])
    assert body_of(drive, "k") == body


def test_keys_are_found_below_a_prefix_and_folders_keep_their_slash(drive: Drive) -> None:
    for key in ("a", "ab/c", "ab/d/e", "folder/", "folder/x", "문/앞"):
        write_key(drive.path / "b", key, [DriveVersion(key.encode())])
    assert sorted(names(drive)) == ["a", "ab/c", "ab/d/e", "folder/", "folder/x", "문/앞"]
    assert sorted(names(drive, "ab/")) == ["ab/c", "ab/d/e"]
    assert sorted(names(drive, "fold")) == ["folder/", "folder/x"]
    assert sorted(names(drive, "folder/")) == ["folder/", "folder/x"]
    assert names(drive, "문/") == ["문/앞"]
    assert body_of(drive, "folder/") == b"folder/"


def test_a_key_that_looks_like_a_data_directory_is_a_key(drive: Drive) -> None:
    key = "up/11111111-2222-3333-4444-555555555555/part.1"
    write_key(drive.path / "b", key, [DriveVersion(b"mine")])
    assert names(drive) == [key]


def test_a_lost_xl_meta_is_told_by_the_bytes_beside_it(drive: Drive) -> None:
    folder = write_key(drive.path / "b", "lost", [DriveVersion(b"x" * 200_000)])
    write_key(drive.path / "b", "lost-not", [DriveVersion(b"y")])
    (folder / "xl.meta").unlink()
    lost, fine = drive.keys("b")
    assert (lost.key, lost.versions, "xl.meta is missing" in lost.problem) == ("lost", (), True)
    assert fine.problem == ""


@pytest.mark.parametrize("how", ["missing", "short", "long", "folder", "link"])
def test_a_damaged_part_is_named(drive: Drive, tmp_path: Path, how: str) -> None:
    folder = write_key(drive.path / "b", "k", [DriveVersion(b"x" * 200_000)])
    (part,) = folder.glob("*/part.1")
    raw = part.read_bytes()
    part.unlink()
    if how == "short":
        part.write_bytes(raw[:-1])
    elif how == "long":
        part.write_bytes(raw + b"x")
    elif how == "folder":
        part.mkdir()
    elif how == "link":
        (tmp_path / "elsewhere").write_bytes(raw)
        part.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(SourceError, match=r"part\.1"):
        body_of(drive, "k")


def test_old_and_unreadable_keys_are_named(drive: Drive) -> None:
    (drive.path / "b" / "ancient").mkdir()
    (drive.path / "b" / "ancient" / "xl.json").write_text("{}")
    fine = write_key(drive.path / "b", "copied", [DriveVersion(b"x")])
    shutil.copytree(fine, drive.path / "b" / os.fsdecode(b"caf\xe9"))
    found = {key.key: key.problem for key in drive.keys("b")}
    assert "xl.json" in found["ancient"]
    assert "not UTF-8" in found["caf\\xe9"]
    assert found["copied"] == ""


@pytest.mark.parametrize(
    ("kind", "sets"), [("fs", None), ("xl", [["d1", "d2"]]), ("xl", [["d1"], ["d2"]]), ("xl-single", [])]
)
def test_other_layouts_are_refused_by_name(tmp_path: Path, kind: str, sets: list[list[str]] | None) -> None:
    make_drive(tmp_path / "drive", sets, kind)
    with pytest.raises(UnsupportedError, match="URL"):
        Drive(tmp_path / "drive")


def test_a_folder_that_is_no_drive_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidInputError, match=r"format\.json"):
        Drive(tmp_path)
    make_drive(tmp_path / "drive")
    (tmp_path / "drive" / ".minio.sys" / "format.json").write_text("{")
    with pytest.raises(InvalidInputError, match="understood"):
        Drive(tmp_path / "drive")


def test_a_real_drive_tells_buckets_and_accounts_and_is_left_as_it_is(tmp_path: Path) -> None:
    path = unpack_drive(tmp_path)
    before = snapshot(path)
    drive = Drive(path)
    buckets = {bucket.name: bucket for bucket in drive.buckets()}
    assert list(buckets) == ["empty-bucket", "locked", "plain", "suspended", "versioned"]
    assert buckets["plain"].quota_bytes == 1 << 30
    assert sorted(buckets["plain"].documents) == ["lifecycle", "policy", "tagging"]
    assert sorted(buckets["locked"].documents) == ["object-lock"]
    states = {name: bucket.versioning for name, bucket in buckets.items()}
    assert states["versioned"] is states["locked"] is Versioning.ENABLED
    assert (states["suspended"], states["plain"]) == (Versioning.SUSPENDED, Versioning.NEVER)
    accounts = drive.accounts()
    assert [(user.name, user.is_enabled, user.policies) for user in accounts.users] == [
        ("alice", True, ("read-plain",)),
        ("bob", False, ("readwrite",)),
    ]
    assert [(it.name, it.members, it.policies, it.is_enabled) for it in accounts.groups] == [
        ("doors", ("alice", "bob"), ("readonly",), True),
        ("idle", ("bob",), (), False),
    ]
    assert [(key.access_key, key.parent, bool(key.policy)) for key in accounts.keys] == [
        ("alicesvckey", "alice", True),
        ("rootsvckey01", ROOT, False),
    ]
    assert list(accounts.policies) == ["read-plain"]
    assert accounts.problems == ()
    assert drive.notes() == ["1 uploads in parts are not completed: their parts stay"]
    assert [key for bucket in buckets for key in drive.keys(bucket) if key.problem] == []
    assert snapshot(path) == before


def test_nothing_shows_a_secret(tmp_path: Path) -> None:
    accounts = Drive(unpack_drive(tmp_path)).accounts()
    assert "secret" not in repr(accounts) + repr(accounts.users) + repr(accounts.keys)


def test_what_a_kms_sealed_is_named(tmp_path: Path) -> None:
    drive = Drive(unpack_drive(tmp_path, "sealed"))
    assert [(kind, name) for kind, name, _ in drive.accounts().problems] == [("user", "carol")]
    reasons = {key.key: key.versions[0].problem for key in drive.keys("mixed")}
    assert reasons["plain.bin"] == ""
    assert "compressed" in reasons["compressed.txt"]
    assert "encrypted" in reasons["sealed.bin"]
    assert "encrypted" in reasons["sealed-kms.bin"]


def test_damaged_settings_of_a_bucket_are_named_and_its_keys_stay_readable(drive: Drive) -> None:
    write_key(drive.path / "b", "k", [DriveVersion(b"x")])
    meta = drive.path / ".minio.sys" / "buckets" / "b" / ".metadata.bin" / "xl.meta"
    meta.write_bytes(meta.read_bytes()[:-40])
    (bucket,) = drive.buckets()
    assert len(bucket.problems) == 1
    assert names(drive) == ["k"]


def test_buckets_with_names_that_only_minio_takes_are_buckets(drive: Drive) -> None:
    make_bucket(drive.path, "sthree-mine")
    (drive.path / "lost+found").mkdir()
    assert [bucket.name for bucket in drive.buckets()] == ["b", "sthree-mine"]
    assert drive.notes() == ["'lost+found' beside the buckets is none"]


def test_links_lead_nowhere(drive: Drive, tmp_path: Path) -> None:
    folder = write_key(drive.path / "b", "k", [DriveVersion(b"x" * 200_000)])
    (data,) = (it for it in folder.iterdir() if it.is_dir())
    data.rename(tmp_path / "elsewhere")
    data.symlink_to(tmp_path / "elsewhere")
    (drive.path / "b" / "link").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(SourceError, match=r"part\.1 is not in a folder"):
        body_of(drive, "k")
    assert names(drive) == ["k"]


def test_folders_deeper_than_any_key_are_named(drive: Drive) -> None:
    deep = drive.path / "b"
    for _ in range(600):
        deep = deep / "d"
    deep.mkdir(parents=True)
    key = "d/" * 500 + "k"
    write_key(drive.path / "b", key, [DriveVersion(b"x")])
    found = list(drive.keys("b"))
    assert [it.key for it in found if not it.problem] == [key]
    assert ["no keys as long" in it.problem for it in found if it.problem] == [True]


def test_a_changed_account_is_named_and_not_taken(tmp_path: Path) -> None:
    path = unpack_drive(tmp_path)
    file = path / ".minio.sys" / "config" / "iam" / "policies" / "read-plain" / "policy.json" / "xl.meta"
    raw = file.read_bytes()
    assert raw.count(b"s3:GetObject") == 1
    file.write_bytes(raw.replace(b"s3:GetObject", b"s3:PutObject"))
    accounts = Drive(path).accounts()
    assert accounts.policies == {}
    assert ("policy", "read-plain") in [problem[:2] for problem in accounts.problems]

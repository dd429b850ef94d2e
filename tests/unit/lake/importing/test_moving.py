"""An import: everything comes in once, proven, in order; what cannot is named; nothing of the lake is replaced."""

import json
import os
import shutil
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.support.minio_drive import (
    DEPLOYMENT,
    ROOT,
    DriveVersion,
    make_bucket,
    make_drive,
    snapshot,
    unpack_drive,
    write_key,
)

import hosu
from hosu.kernel.errors import ConflictError, ErrorKind, InvalidInputError, UnavailableError
from hosu.kernel.lakekey import LakeKey
from hosu.kernel.limits import INLINE_BYTES_MAX
from hosu.lake import Lake
from hosu.lake.importing.minio_folder import Drive
from hosu.lake.importing.moving import Move
from hosu.lake.importing.planning import Options
from hosu.lake.importing.report import Item, Report, State
from hosu.objects.listing import list_versions
from hosu.objects.read import find
from hosu.objects.records import Versioning
from hosu.objects.store import ObjectStore
from hosu.testing.lake_check import find_faults, find_orphans

LARGE = bytes(range(256)) * 800
assert len(LARGE) > INLINE_BYTES_MAX
OLD, NEW = b"\x01" * 16, b"\x02" * 16


@pytest.fixture
def drive(tmp_path: Path) -> Path:
    path = make_drive(tmp_path / "drive")
    make_bucket(path, "bkt")
    return path


@pytest.fixture
def lake(tmp_path: Path) -> Iterator[Lake]:
    with hosu.open(tmp_path / "lake") as opened:
        yield opened


def run(lake: Lake | None, drive: Path, **options: Any) -> Report:
    return Move(lake, Drive(drive), Options(**options)).run()


def contents(lake: Lake, bucket: str = "bkt") -> dict[str, list[tuple[str, bytes | None]]]:
    found: dict[str, list[tuple[str, bytes | None]]] = {}
    for record in list_versions(lake.store.view(), bucket).records:
        body = None if record.is_marker else lake.bucket(bucket).get(record.key, version=record.version_id)
        found.setdefault(record.key, []).append((record.version_id, body))
    return found


def refusals(report: Report) -> dict[str, str]:
    return {item.name: item.reason for item in report.refused}


def test_all_of_a_real_drive_comes_in_and_the_drive_stays_as_it_is(tmp_path: Path, lake: Lake) -> None:
    path = unpack_drive(tmp_path)
    before = snapshot(path)
    report = run(lake, path, source_root=ROOT, with_accounts=False, buckets=("plain", "versioned", "suspended"))
    assert [item.kind for item in report.refused] == ["policy", "tagging", "lifecycle"], "nobody sets documents here"
    assert {it.name: (it.moved, it.moved_markers) for it in report.buckets} == {
        "plain": (17, 0),
        "suspended": (2, 1),
        "versioned": (10, 2),
    }
    assert find_faults(lake.store) == []
    assert snapshot(path) == before
    plain = lake.bucket("plain")
    assert plain.get("hello.txt") == b"hello, lake\n"
    assert plain.get("replaced") == b"second"
    assert plain.get("folder/") == b""
    assert [body for _, body in contents(lake, "versioned")["back"]] == [b"two", None, b"one"]
    assert contents(lake, "suspended")["k"][0] == ("null", b"null on top")
    assert lake.store.view().bucket("plain").quota_bytes == 1 << 30


def test_a_second_run_moves_nothing_and_a_third_what_is_new(drive: Path, lake: Lake) -> None:
    write_key(drive / "bkt", "k", [DriveVersion(b"old", version_id=OLD)])
    first, second = run(lake, drive), run(lake, drive)
    assert (first.buckets[0].moved, second.buckets[0].moved, second.buckets[0].present) == (1, 0, 1)
    for path in (drive / "bkt" / "k").iterdir():
        path.unlink()
    (drive / "bkt" / "k").rmdir()
    write_key(
        drive / "bkt",
        "k",
        [
            DriveVersion(b"old", version_id=OLD),
            DriveVersion(LARGE, version_id=NEW, modified_ns=1_800_000_000_000_000_000),
        ],
    )
    third = run(lake, drive)
    assert (third.buckets[0].moved, third.buckets[0].present, third.is_clean) == (1, 1, True)
    assert [body for _, body in contents(lake)["k"]] == [LARGE, b"old"]
    assert find_faults(lake.store) == []


def test_damage_is_named_exactly_and_all_else_comes_in(drive: Path, lake: Lake) -> None:
    names = ["fine", "flipped-inline", "flipped-part", "short-part", "no-part", "no-meta", "bad-meta"]
    for name in names:
        body = b"small" if name in {"fine", "flipped-inline", "bad-meta"} else LARGE
        write_key(drive / "bkt", name, [DriveVersion(body)])
    write_key(
        drive / "bkt", "half", [DriveVersion(b"old", version_id=OLD), DriveVersion(LARGE, modified_ns=2 * 10**18)]
    )

    def change(path: Path, place: int) -> None:
        raw = bytearray(path.read_bytes())
        raw[place] ^= 1
        path.write_bytes(raw)

    def part(name: str) -> Path:
        return next((drive / "bkt" / name).glob("*/part.1"))

    change(drive / "bkt" / "flipped-inline" / "xl.meta", -2)
    change(part("flipped-part"), 50_000)
    os.truncate(part("short-part"), 1_000)
    part("no-part").unlink()
    (drive / "bkt" / "no-meta" / "xl.meta").unlink()
    change(drive / "bkt" / "bad-meta" / "xl.meta", 100)
    part("half").unlink()
    report = run(lake, drive)
    found = refusals(report)
    assert sorted(found) == sorted([*names[1:], "half"])
    assert "they have changed" in found["flipped-inline"]
    assert "they have changed" in found["flipped-part"]
    assert "has 1000 bytes on the drive" in found["short-part"]
    assert found["no-part"] == found["half"] == "part.1 is missing"
    assert "xl.meta is missing" in found["no-meta"]
    assert "its bytes have changed" in found["bad-meta"] or "cannot be read" in found["bad-meta"]
    assert report.buckets[0].moved == 2
    assert contents(lake) == {"fine": [("null", b"small")], "half": [(str(contents(lake)["half"][0][0]), b"old")]}
    assert find_faults(lake.store) == []
    assert find_orphans(lake.store) == set(), "what was read in vain is gone"


def test_a_version_that_is_mended_later_does_not_come_over_newer_ones(drive: Path, lake: Lake) -> None:
    versions = [DriveVersion(LARGE, version_id=OLD), DriveVersion(b"new", version_id=NEW, modified_ns=2 * 10**18)]
    folder = write_key(drive / "bkt", "k", versions)
    (part,) = folder.glob("*/part.1")
    raw = part.read_bytes()
    part.unlink()
    assert list(refusals(run(lake, drive))) == ["k"]
    part.write_bytes(raw)
    again = run(lake, drive)
    assert "newer versions" in refusals(again)["k"]
    lake.bucket("bkt").delete("k", version=contents(lake)["k"][0][0])
    assert run(lake, drive).is_clean
    assert [body for _, body in contents(lake)["k"]] == [b"new", LARGE]


def test_a_bucket_with_other_objects_is_left_alone_unless_asked(drive: Path, lake: Lake) -> None:
    write_key(drive / "bkt", "k", [DriveVersion(b"theirs")])
    write_key(drive / "bkt", "new", [DriveVersion(b"new")])
    write_key(drive / "bkt", "same", [DriveVersion(b"same")])
    mine = lake.create_bucket("bkt")
    mine.put("k", b"mine")
    mine.put("same", b"same")
    with pytest.raises(ConflictError) as refused:
        run(lake, drive)
    assert refused.value.kind is ErrorKind.BUCKET_NOT_EMPTY
    assert sorted(contents(lake)) == ["k", "same"]
    report = run(lake, drive, into_existing=True)
    assert list(refusals(report)) == ["k"]
    assert (report.buckets[0].moved, report.buckets[0].present) == (1, 1)
    assert (mine.get("k"), mine.get("new")) == (b"mine", b"new")


def test_the_same_bytes_written_again_are_not_taken_for_those_that_came(drive: Path, lake: Lake) -> None:
    def write(kind: str, modified_ns: int) -> None:
        shutil.rmtree(drive / "bkt" / "k", ignore_errors=True)
        write_key(drive / "bkt", "k", [DriveVersion(b"x", user={"Content-Type": kind}, modified_ns=modified_ns)])

    write("text/plain", 10**18)
    assert run(lake, drive).is_clean
    write("image/png", 10**18 + 10**9)
    assert list(refusals(run(lake, drive))) == ["k"]
    assert run(lake, drive, replace_older=True).is_clean
    assert find(lake.store.view(), "bkt", "k").attributes.headers["content-type"] == "image/png"
    assert run(lake, drive).buckets[0].present == 1


def test_a_bucket_whose_versions_stay_suspended_is_named(drive: Path, lake: Lake) -> None:
    write_key(drive / "bkt", "k", [DriveVersion(b"old", version_id=OLD)])
    assert run(lake, drive).is_clean
    shutil.rmtree(drive / ".minio.sys" / "buckets" / "bkt")
    status = b"<VersioningConfiguration><Status>Enabled</Status></VersioningConfiguration>"
    make_bucket(drive, "bkt", VersioningConfigXML=status)
    assert [item.kind for item in run(lake, drive).refused] == ["versioning"]
    lake.bucket("bkt").enable_versioning()
    assert run(lake, drive).is_clean


def test_a_key_of_very_many_versions_comes_some_at_a_time(
    drive: Path, lake: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    ids = [index.to_bytes(16, "big") for index in range(1, 8)]
    versions = [
        DriveVersion(bytes([index]), version_id=it, modified_ns=(index + 1) * 10**9) for index, it in enumerate(ids)
    ]
    write_key(drive / "bkt", "k", versions)
    monkeypatch.setattr("hosu.lake.importing.moving.BATCH_VERSIONS_MAX", 3)
    report = run(lake, drive)
    assert (report.buckets[0].moved, report.is_clean) == (7, True)
    assert [body for _, body in contents(lake)["k"]] == [bytes([index]) for index in range(6, -1, -1)]
    assert run(lake, drive).buckets[0].present == 7
    assert run(None, drive, dry_run=True).buckets[0].moved == 7
    lines = [json.loads(body)["operation"] for (body,) in lake.store.view().rows("SELECT body FROM audit_outbox")]
    assert lines.count("in-process:ImportObjects") == 3
    assert find_faults(lake.store) == []


def test_rules_of_the_source_never_act_on_objects_of_the_lakes_own(tmp_path: Path, lake: Lake) -> None:
    path = make_drive(tmp_path / "other")
    documents = {"PolicyConfigJSON": b"{}", "LifecycleConfigXML": b"<a/>", "QuotaConfigJSON": b'{"quota":5}'}
    write_key(make_bucket(path, "bkt", **documents), "theirs", [DriveVersion(b"x")])
    lake.create_bucket("bkt").put("mine", b"mine")
    put: list[str] = []

    def apply(_bucket: str, kind: str, _text: str) -> None:
        put.append(kind)

    for options in (Options(into_existing=True, dry_run=True), Options(into_existing=True)):
        report = Move(lake, Drive(path), options, apply).run()
        assert [item.kind for item in report.refused] == ["policy", "quota", "lifecycle"]
    assert put == []
    assert lake.store.view().bucket("bkt").quota_bytes == 0
    assert sorted(contents(lake)) == ["mine", "theirs"]


def test_an_empty_bucket_is_taken_and_remembered(drive: Path, lake: Lake) -> None:
    lake.create_bucket("bkt")
    write_key(drive / "bkt", "k", [DriveVersion(b"x")])
    assert run(lake, drive).is_clean
    lake.bucket("bkt").put("later", b"mine")
    assert run(lake, drive).is_clean
    mark = lake.store.view().value("SELECT body FROM bucket_document WHERE kind = 'imported-from'")
    assert mark == DEPLOYMENT


def test_a_dry_run_tells_the_same_and_changes_nothing(drive: Path, lake: Lake) -> None:
    write_key(drive / "bkt", "k", [DriveVersion(b"old", version_id=OLD), DriveVersion(None, modified_ns=2 * 10**18)])
    write_key(drive / "bkt", "sealed", [DriveVersion(b"x", system={"X-Minio-Internal-compression": b"s2"})])
    before = lake.store.view().value("SELECT max(seq) FROM event")
    seen: list[Item] = []
    dry = Move(lake, Drive(drive), Options(dry_run=True), watch=seen.append).run()
    assert lake.store.view().value("SELECT max(seq) FROM event") == before
    assert lake.buckets() == []
    without = run(None, drive, dry_run=True)
    real = run(lake, drive)
    for report in (dry, without):
        assert [(it.moved, it.moved_markers, it.moved_bytes) for it in report.buckets] == [(1, 1, 3)]
        assert refusals(report) == refusals(real)
    assert sorted((item.name, item.state) for item in seen) == [
        ("k", State.MOVED),
        ("k", State.MOVED),
        ("sealed", State.REFUSED),
    ]


def test_only_what_is_asked_for_comes_in(drive: Path, lake: Lake) -> None:
    make_bucket(drive, "other")
    for key in ("in/a", "in/b", "out/c"):
        write_key(drive / "bkt", key, [DriveVersion(b"x")])
    assert run(lake, drive, buckets=("bkt",), prefix="in/").is_clean
    assert sorted(contents(lake)) == ["in/a", "in/b"]
    assert [bucket.name for bucket in lake.buckets()] == ["bkt"]
    with pytest.raises(InvalidInputError, match="no bucket 'c': it has bkt, other"):
        run(lake, drive, buckets=("c",))


def test_one_key_that_the_lake_refuses_takes_no_other_with_it(drive: Path, lake: Lake) -> None:
    for key in ("a", "b", "c"):
        write_key(drive / "bkt", key, [DriveVersion(LARGE + key.encode())])
    write_key(drive / "bkt", "much", [DriveVersion(LARGE + b"m", user={"X-Amz-Meta-A": "x" * 3_000})])
    report = run(lake, drive)
    assert "user metadata" in refusals(report)["much"]
    assert sorted(contents(lake)) == ["a", "b", "c"]
    assert find_orphans(lake.store) == set()


def test_names_that_only_minio_takes_are_named(drive: Path, lake: Lake) -> None:
    make_bucket(drive, "sthree-mine")
    write_key(drive / "bkt", "k", [DriveVersion(b"x")])
    report = run(lake, drive)
    assert [(item.kind, item.name) for item in report.refused] == [("bucket", "sthree-mine")]
    assert sorted(contents(lake)) == ["k"]


def test_a_failing_disk_ends_the_run_and_another_goes_on(
    drive: Path, lake: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    for index in range(20):
        write_key(drive / "bkt", f"k{index:02d}", [DriveVersion(LARGE + bytes([index]))])
    real, calls, lock = lake.store.new_blob, [0], threading.Lock()

    def new_blob(*arguments: Any) -> Any:
        with lock:
            calls[0] += 1
        if calls[0] > 7:
            raise UnavailableError(ErrorKind.DISK_FULL, "the lake's disk is full")
        return real(*arguments)

    monkeypatch.setattr(lake.store, "new_blob", new_blob)
    with pytest.raises(UnavailableError):
        run(lake, drive, jobs=2)
    monkeypatch.undo()
    assert find_faults(lake.store) == []
    assert run(lake, drive).is_clean
    assert len(contents(lake)) == 20
    assert find_orphans(lake.store) == set()


def test_the_audit_log_has_a_line_for_each_batch_not_each_version(drive: Path, lake: Lake) -> None:
    for index in range(30):
        write_key(drive / "bkt", f"k{index:02d}", [DriveVersion(b"x")])
    run(lake, drive, with_accounts=False)
    lines = [json.loads(body) for (body,) in lake.store.view().rows("SELECT body FROM audit_outbox ORDER BY id")]
    imported = [line for line in lines if line["operation"] == "in-process:ImportObjects"]
    assert [(line["bucket"], line["principal"]) for line in imported] == [("bkt", "in-process")]


def test_objects_are_sealed_where_the_lake_seals(drive: Path, tmp_path: Path) -> None:
    for key, version in (("small", DriveVersion(b"plain text")), ("large", DriveVersion(parts=(LARGE, LARGE)))):
        write_key(drive / "bkt", key, [version])
    store = ObjectStore(tmp_path / "sealed", lake_key=LakeKey(bytes(range(32))), default_encryption=True)
    with Lake(store) as lake:
        assert run(lake, drive).is_clean
        record = find(store.view(), "bkt", "large")
        assert record.attributes.encryption is not None
        assert record.etag.endswith("-2")
        assert lake.bucket("bkt").get("large") == LARGE * 2
        assert lake.bucket("bkt").get("small") == b"plain text"
        assert find_faults(store) == []
    assert LARGE[:1000] not in b"".join(
        path.read_bytes() for path in (tmp_path / "sealed").rglob("*") if path.is_file()
    )


def test_what_was_overwritten_without_versions_comes_when_asked(drive: Path, lake: Lake) -> None:
    def rewrite(key: str, body: bytes, modified_ns: int) -> None:
        shutil.rmtree(drive / "bkt" / key, ignore_errors=True)
        write_key(drive / "bkt", key, [DriveVersion(body, modified_ns=modified_ns)])

    for key in ("changed", "mine"):
        rewrite(key, LARGE + b"first", 10**18)
    assert run(lake, drive).is_clean
    lake.bucket("bkt").put("mine", b"written in the lake, later")
    for key in ("changed", "mine"):
        rewrite(key, b"second", 10**18 + 10**9)
    assert sorted(refusals(run(lake, drive))) == ["changed", "mine"]
    assert sorted(refusals(run(lake, drive, replace_older=True))) == ["mine"]
    assert contents(lake) == {"changed": [("null", b"second")], "mine": [("null", b"written in the lake, later")]}
    assert lake.store.view().bucket("bkt").versioning is Versioning.NEVER
    assert find_faults(lake.store) == []

"""rclone, from the distribution: an older, widely installed version, with MinIO's settings."""

import json
from pathlib import Path

import pytest
from tests.conformance.s3.conftest import Program
from tests.support.clients import MIB, S3Client, patterned

pytestmark = pytest.mark.needs("rclone")

FILES = {"a.txt": 5, "dir/b 1.bin": 70_000, "dir/sub/한국어.jpg": 10, "empty": 0, "large.bin": 12 * MIB}


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    folder = tmp_path / "tree"
    for name, size_bytes in FILES.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(patterned(size_bytes))
    return folder


def test_a_tree_is_copied_and_verified_by_hash(rclone: Program, bucket: str, tree: Path, tmp_path: Path) -> None:
    target = f"lake:{bucket}/p"
    rclone.run(
        "copy", tree, target, "--s3-upload-cutoff", "5M", "--s3-chunk-size", "5M", "--s3-upload-concurrency", "2"
    )
    assert "0 differences found" in rclone.finish("check", tree, target).stderr
    assert sorted(rclone.run("lsf", "--recursive", "--files-only", target).splitlines()) == sorted(FILES)
    rclone.run("check", tree, target, "--download")
    rclone.run("copy", target, tmp_path / "back")
    for name in FILES:
        assert (tmp_path / "back" / name).read_bytes() == (tree / name).read_bytes(), name


def test_sync_transfers_only_changes_and_removes_extras(rclone: Program, s3: S3Client, bucket: str, tree: Path) -> None:
    rclone.run("sync", tree, f"lake:{bucket}")
    before = {entry["Key"]: entry["LastModified"] for entry in s3.list_objects_v2(Bucket=bucket)["Contents"]}
    (tree / "a.txt").write_bytes(b"changed!")
    (tree / "empty").unlink()
    rclone.run("sync", tree, f"lake:{bucket}")
    after = {entry["Key"]: entry["LastModified"] for entry in s3.list_objects_v2(Bucket=bucket)["Contents"]}
    assert set(before) - set(after) == {"empty"}
    assert {key for key in after if after[key] == before[key]} >= set(FILES) - {"a.txt", "empty"}
    assert s3.get_object(Bucket=bucket, Key="a.txt")["Body"].read() == b"changed!"


def test_modification_times_survive(rclone: Program, bucket: str, tree: Path) -> None:
    rclone.run("copy", tree / "a.txt", f"lake:{bucket}")
    (entry,) = json.loads(rclone.run("lsjson", f"lake:{bucket}"))
    assert entry["Size"] == 5
    rclone.run("touch", "--timestamp", "2025-08-08T01:02:03", f"lake:{bucket}/a.txt")
    (entry,) = json.loads(rclone.run("lsjson", f"lake:{bucket}"))
    assert entry["ModTime"].startswith("2025-08-08T01:02:03")


def test_a_stream_of_unknown_length_is_stored(rclone: Program, s3: S3Client, bucket: str) -> None:
    body = "piped into the lake\n" * 10_000
    rclone.run("rcat", f"lake:{bucket}/piped", stdin=body)
    assert s3.get_object(Bucket=bucket, Key="piped")["Body"].read() == body.encode()


def test_moving_a_file_leaves_it_only_at_its_target(rclone: Program, s3: S3Client, bucket: str, tree: Path) -> None:
    rclone.run("moveto", tree / "dir/b 1.bin", f"lake:{bucket}/first.bin")
    rclone.run("moveto", f"lake:{bucket}/first.bin", f"lake:{bucket}/second.bin")
    assert not (tree / "dir/b 1.bin").exists()
    assert [entry["Key"] for entry in s3.list_objects_v2(Bucket=bucket)["Contents"]] == ["second.bin"]


def test_buckets_are_made_listed_and_purged(rclone: Program, s3: S3Client, bucket_name: str, tree: Path) -> None:
    rclone.run("mkdir", f"lake:{bucket_name}")
    assert f"{bucket_name}/" in rclone.run("lsf", "lake:").splitlines()
    rclone.run("copy", tree / "dir", f"lake:{bucket_name}/dir")
    assert json.loads(rclone.run("size", "--json", f"lake:{bucket_name}"))["count"] == 2
    rclone.run("purge", f"lake:{bucket_name}")
    assert bucket_name not in [entry["Name"] for entry in s3.list_buckets()["Buckets"]]

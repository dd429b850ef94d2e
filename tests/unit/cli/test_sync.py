import os
from pathlib import Path
from typing import Any

import pytest

from hosu.cli.sync import SyncOptions


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    root = tmp_path / "tree"
    for name in ("a.txt", "d/b.log", "d/c.txt", "d-x"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(name.encode())
    return root


def keys(s3: Any, bucket: str) -> list[str]:
    return [item["Key"] for item in s3.list_objects_v2(Bucket=bucket).get("Contents", [])]


def done(rows: list[dict[str, Any]]) -> int:
    assert rows[-1]["operation"] == "summary"
    return int(rows[-1]["done"])


def test_a_second_sync_has_nothing_to_do_and_a_change_is_sent(hosu: Any, s3: Any, bucket: str, tree: Path) -> None:
    target = f"hosu://lab/{bucket}/in"
    assert done(hosu.json("sync", tree, target)) == 4
    assert done(hosu.json("sync", tree, target)) == 0
    (tree / "a.txt").write_bytes(b"other")
    assert done(hosu.json("sync", tree, target)) == 1
    assert s3.get_object(Bucket=bucket, Key="in/a.txt")["Body"].read() == b"other"


def test_a_change_of_the_same_size_within_the_second_of_the_upload_is_seen(
    hosu: Any, s3: Any, bucket: str, tree: Path
) -> None:
    target = f"hosu://lab/{bucket}/in"
    hosu("sync", tree, target)
    stored = s3.head_object(Bucket=bucket, Key="in/a.txt")["LastModified"].timestamp()
    (tree / "a.txt").write_bytes(b"A.TXT")
    os.utime(tree / "a.txt", (stored + 0.9, stored + 0.9))
    os.utime(tree / "d-x", (stored + 0.9, stored + 0.9))
    assert done(hosu.json("sync", tree, target)) == 1


def test_delete_removes_what_the_source_lacks_and_only_then(hosu: Any, s3: Any, bucket: str, tree: Path) -> None:
    for key in ("in/old", "in/keep.tmp", "in-other"):
        s3.put_object(Bucket=bucket, Key=key, Body=b"")
    target = f"hosu://lab/{bucket}/in"
    hosu("sync", tree, target)
    assert "in/old" in keys(s3, bucket)
    planned = hosu("sync", "--delete", "--dry-run", "--exclude", "*.tmp", tree, target)
    assert "would delete" in planned.stdout
    assert "in/old" in keys(s3, bucket)
    assert hosu("sync", "--delete", "--exclude", "*.tmp", tree, target).exit_code == 0
    assert keys(s3, bucket) == ["in-other", "in/a.txt", "in/d-x", "in/d/b.log", "in/d/c.txt", "in/keep.tmp"]


def test_nothing_is_deleted_when_the_source_could_not_be_read_whole(
    hosu: Any, s3: Any, bucket: str, tree: Path
) -> None:
    s3.put_object(Bucket=bucket, Key="in/old", Body=b"")
    (tree / "broken").symlink_to(tree / "nowhere")
    result = hosu("sync", "--delete", tree, f"hosu://lab/{bucket}/in")
    assert result.exit_code == 1
    assert "nothing was deleted" in result.stderr
    assert "in/old" in keys(s3, bucket)


def test_a_missing_source_is_a_usage_fault_and_deletes_nothing(hosu: Any, s3: Any, bucket: str, tree: Path) -> None:
    s3.put_object(Bucket=bucket, Key="k", Body=b"")
    assert hosu("sync", "--delete", tree / "typo", f"hosu://lab/{bucket}").exit_code == 2
    assert hosu("sync", "--delete", "hosu://lab/no-such-bucket-here", tree).exit_code == 1
    assert keys(s3, bucket) == ["k"]
    assert (tree / "a.txt").exists()


def test_a_download_carries_times_so_that_the_next_one_has_nothing_to_do(
    hosu: Any, s3: Any, bucket: str, tmp_path: Path
) -> None:
    for key in ("p/a", "p/d/b", "p/marker/"):
        s3.put_object(Bucket=bucket, Key=key, Body=key.encode() if key[-1] != "/" else b"")
    down = tmp_path / "down"
    assert done(hosu.json("sync", f"hosu://lab/{bucket}/p", down)) == 2
    assert done(hosu.json("sync", f"hosu://lab/{bucket}/p", down)) == 0
    (down / "extra" / "deep").mkdir(parents=True)
    (down / "extra" / "deep" / "x").write_bytes(b"")
    assert hosu("sync", "--delete", f"hosu://lab/{bucket}/p", down).exit_code == 0
    assert sorted(path.name for path in down.rglob("*")) == ["a", "b", "d"]


def test_checksum_compares_content_whatever_the_times(hosu: Any, s3: Any, bucket: str, tree: Path) -> None:
    target = f"hosu://lab/{bucket}/in"
    hosu("sync", tree, target)
    for path in (tree / "a.txt", tree / "d-x"):
        os.utime(path, (4_000_000_000, 4_000_000_000))
    (tree / "d" / "c.txt").write_bytes(b"D/C.TXT")
    os.utime(tree / "d" / "c.txt", (1, 1))
    assert done(hosu.json("sync", tree, target)) == 2
    assert done(hosu.json("sync", "--checksum", tree, target)) == 1
    assert s3.get_object(Bucket=bucket, Key="in/d/c.txt")["Body"].read() == b"D/C.TXT"


def test_prefixes_sync_by_etag(hosu: Any, s3: Any, bucket: str) -> None:
    s3.put_object(Bucket=bucket, Key="a/1", Body=b"x")
    s3.put_object(Bucket=bucket, Key="b/1", Body=b"x")
    s3.put_object(Bucket=bucket, Key="a/2", Body=b"y")
    assert done(hosu.json("sync", f"hosu://lab/{bucket}/a", f"hosu://other/{bucket}/b")) == 1
    assert hosu("sync", f"hosu://lab/{bucket}/a", f"hosu://lab/{bucket}/a/b").exit_code == 2


@pytest.mark.parametrize(
    ("exclude", "include", "taken"),
    [
        ((), (), ["a.txt", "d/b.log", "d/c.txt"]),
        (("*.log",), (), ["a.txt", "d/c.txt"]),
        (("d/*",), ("*.log",), ["a.txt", "d/b.log"]),
        ((), ("*.txt",), ["a.txt", "d/c.txt"]),
        (("c.*",), (), ["a.txt", "d/b.log"]),
    ],
)
def test_globs_choose(exclude: tuple[str, ...], include: tuple[str, ...], taken: list[str]) -> None:
    options = SyncOptions(exclude=exclude, include=include)
    assert [name for name in ("a.txt", "d/b.log", "d/c.txt") if options.wants(name)] == taken

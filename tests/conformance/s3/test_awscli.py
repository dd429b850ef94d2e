"""The AWS command line, as a process with its own settings."""

import os
from pathlib import Path

import pytest
from tests.conformance.s3.conftest import Program
from tests.support.clients import MIB, S3Client, patterned
from tests.support.http import send


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    folder = tmp_path / "tree"
    for name, size_bytes in {"a.txt": 5, "dir/b 1.bin": 70_000, "dir/한국어.jpg": 10, "large.bin": 9 * MIB}.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(patterned(size_bytes))
        # Listings tell whole seconds, and sync sends again what looks newer than its copy.
        os.utime(path, (1_700_000_000, 1_700_000_000))
    return folder


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_bucket_lives_from_mb_to_rb(aws: Program, s3: S3Client, bucket_name: str) -> None:
    assert aws.run("s3", "mb", f"s3://{bucket_name}") == f"make_bucket: {bucket_name}\n"
    s3.put_object(Bucket=bucket_name, Key="k", Body=b"body")
    assert bucket_name in aws.run("s3", "ls")
    assert aws.finish("s3", "rb", f"s3://{bucket_name}").returncode == 1
    aws.run("s3", "rb", "--force", f"s3://{bucket_name}")
    assert bucket_name not in [entry["Name"] for entry in s3.list_buckets()["Buckets"]]


def test_sync_goes_up_down_and_deletes(aws: Program, bucket: str, tree: Path, tmp_path: Path) -> None:
    back = tmp_path / "back"
    aws.run("s3", "sync", tree, f"s3://{bucket}/p", "--no-progress")
    assert aws.run("s3", "sync", tree, f"s3://{bucket}/p", "--no-progress") == ""
    aws.run("s3", "sync", f"s3://{bucket}/p", back, "--no-progress")
    assert contents(back) == contents(tree)
    (tree / "a.txt").unlink()
    assert "delete: " in aws.run("s3", "sync", tree, f"s3://{bucket}/p", "--delete", "--no-progress")
    listed = aws.run("s3", "ls", "--recursive", f"s3://{bucket}/p/")
    assert [line.split(maxsplit=3)[3] for line in listed.splitlines()] == [
        "p/dir/b 1.bin",
        "p/dir/한국어.jpg",
        "p/large.bin",
    ]


def test_cp_copies_between_prefixes_and_rm_removes_them(aws: Program, s3: S3Client, bucket: str) -> None:
    s3.put_object(Bucket=bucket, Key="from/k", Body=b"body", Metadata={"a": "b"})
    aws.run("s3", "cp", "--recursive", f"s3://{bucket}/from/", f"s3://{bucket}/to/")
    assert aws.run("s3", "cp", f"s3://{bucket}/to/k", "-") == "body"
    assert s3.head_object(Bucket=bucket, Key="to/k")["Metadata"] == {"a": "b"}
    aws.run("s3", "rm", "--recursive", f"s3://{bucket}/from/")
    assert aws.run("s3", "ls", f"s3://{bucket}/").split() == ["PRE", "to/"]


@pytest.mark.parametrize(
    "settings",
    [
        "[default]\ns3 =\n  signature_version = s3v4\n",
        "",
    ],
    ids=["told s3v4", "left alone"],
)
def test_presign_makes_a_url_that_works(
    aws: Program, s3: S3Client, bucket: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, settings: str
) -> None:
    s3.put_object(Bucket=bucket, Key="k", Body=b"body")
    config = tmp_path / "aws.ini"
    config.write_text(settings)
    monkeypatch.setenv("AWS_CONFIG_FILE", str(config))
    answer = send("GET", aws.run("s3", "presign", f"s3://{bucket}/k").strip())
    assert (answer.status, answer.data) == (200, b"body")


def test_s3api_reads_and_writes_with_conditions(aws: Program, bucket: str, tmp_path: Path) -> None:
    body = tmp_path / "body"
    body.write_bytes(b"body")
    put: list[str | Path] = [
        "s3api",
        "put-object",
        "--bucket",
        bucket,
        "--key",
        "k",
        "--body",
        body,
        "--if-none-match",
        "*",
    ]
    etag = aws.json(*put)["ETag"]
    refusal = aws.finish(*put)
    assert (refusal.returncode, "PreconditionFailed" in refusal.stderr) == (255, True)
    head = aws.json("s3api", "head-object", "--bucket", bucket, "--key", "k")
    assert (head["ETag"], head["ContentLength"]) == (etag, 4)
    listed = aws.json("s3api", "list-objects-v2", "--bucket", bucket)
    assert [entry["Key"] for entry in listed["Contents"]] == ["k"]


def test_errors_reach_the_terminal(aws: Program, bucket: str) -> None:
    refusal = aws.finish("s3", "cp", f"s3://{bucket}/none", "-")
    assert (refusal.returncode, "404" in refusal.stderr) == (1, True)
    refusal = aws.finish("s3", "ls", f"s3://{bucket}-none")
    assert (refusal.returncode, "NoSuchBucket" in refusal.stderr) == (255, True)

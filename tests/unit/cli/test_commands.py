import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import typer

from hosu.cli import storage

ROOT = Path(__file__).parents[3]


def keys(s3: Any, bucket: str) -> list[str]:
    return [item["Key"] for item in s3.list_objects_v2(Bucket=bucket).get("Contents", [])]


def test_mb_makes_a_bucket_once_and_accepts_it_when_told(hosu: Any, s3: Any) -> None:
    name = f"made-{os.urandom(4).hex()}"
    assert hosu("mb", f"hosu://lab/{name}").exit_code == 0
    again = hosu("mb", f"hosu://lab/{name}")
    assert again.exit_code == 1
    assert "--ignore-existing" in again.stderr
    assert hosu("mb", "--ignore-existing", f"hosu://lab/{name}").exit_code == 0
    assert name in [found["Name"] for found in s3.list_buckets()["Buckets"]]


def test_rb_refuses_a_full_bucket_and_force_empties_versions_and_uploads(hosu: Any, s3: Any, bucket: str) -> None:
    s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
    for body in (b"one", b"two"):
        s3.put_object(Bucket=bucket, Key="k", Body=body)
    s3.delete_object(Bucket=bucket, Key="k")
    s3.create_multipart_upload(Bucket=bucket, Key="left")
    refused = hosu("rb", f"hosu://lab/{bucket}")
    assert (refused.exit_code, "--force" in refused.stderr) == (1, True)
    assert hosu("rb", "--force", f"hosu://lab/{bucket}").exit_code == 0
    assert bucket not in [found["Name"] for found in s3.list_buckets()["Buckets"]]


def test_ls_shows_a_level_or_everything_and_a_prefix_is_not_its_neighbour(hosu: Any, s3: Any, bucket: str) -> None:
    for key in ("models/a", "models/deep/b", "models2/c", "top"):
        s3.put_object(Bucket=bucket, Key=key, Body=b"x" * 2048)
    rows = hosu.json("ls", f"hosu://lab/{bucket}/models")
    assert [(row["type"], row["key"]) for row in rows] == [("folder", "models/deep/"), ("object", "models/a")]
    rows = hosu.json("ls", "-r", "--summarize", f"hosu://lab/{bucket}/models")
    assert [row.get("key") for row in rows] == ["models/a", "models/deep/b", None]
    assert (rows[-1]["count"], rows[-1]["size_bytes"]) == (2, 4096)
    assert "2.0 KiB" in hosu("ls", f"hosu://lab/{bucket}").stdout
    missing = hosu("ls", f"hosu://lab/{bucket}/nothing")
    assert (missing.exit_code, "no such object or prefix" in missing.stderr) == (1, True)
    assert bucket in hosu("ls", "hosu://lab").stdout


def test_ls_versions_shows_versions_and_delete_markers(hosu: Any, s3: Any, bucket: str) -> None:
    s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
    s3.put_object(Bucket=bucket, Key="k", Body=b"one")
    s3.delete_object(Bucket=bucket, Key="k")
    rows = hosu.json("ls", "--versions", f"hosu://lab/{bucket}/k")
    assert [(row["type"], row["is_latest"]) for row in rows] == [("delete-marker", True), ("version", False)]


def test_ls_escapes_names_that_would_move_the_cursor(hosu: Any, s3: Any, bucket: str) -> None:
    s3.put_object(Bucket=bucket, Key="a\x1b[2Jb", Body=b"")
    assert "a\\x1b[2Jb" in hosu("ls", f"hosu://lab/{bucket}").stdout


def test_du_adds_up_by_depth(hosu: Any, s3: Any, bucket: str) -> None:
    for key in ("a/b/1", "a/2", "3"):
        s3.put_object(Bucket=bucket, Key=key, Body=b"x" * 10)
    rows = hosu.json("du", "--depth", "1", f"hosu://lab/{bucket}")
    found = {row["address"].partition(bucket)[2]: (row["objects"], row["size_bytes"]) for row in rows}
    assert found == {"/a/": (2, 20), "/": (3, 30)}


def test_stat_shows_objects_and_buckets_and_names_what_is_missing(hosu: Any, s3: Any, bucket: str) -> None:
    s3.put_object(Bucket=bucket, Key="k", Body=b"body", ContentType="text/x", Metadata={"who": "me"})
    (row,) = hosu.json("stat", f"hosu://lab/{bucket}/k")
    assert (row["size_bytes"], row["content_type"], row["metadata"]) == (4, "text/x", {"who": "me"})
    (row,) = hosu.json("stat", f"hosu://lab/{bucket}")
    assert (row["type"], row["region"]) == ("bucket", "us-east-1")
    (row,) = hosu.json("stat", f"hosu://lab/{bucket}/missing")
    assert (row["status"], row["kind"]) == ("error", "object-not-found")


def test_cat_prints_bytes_ranges_and_json_pieces(hosu: Any, s3: Any, bucket: str) -> None:
    s3.put_object(Bucket=bucket, Key="k", Body=b"0123456789")
    address = f"hosu://lab/{bucket}/k"
    assert hosu("cat", address).stdout_bytes == b"0123456789"
    assert hosu("cat", "--range", "2-4", address).stdout_bytes == b"234"
    assert hosu("cat", "--range", "-3", address).stdout_bytes == b"789"
    assert hosu("cp", address, "-").stdout_bytes == b"0123456789"
    assert hosu.json("cat", address)[0]["body_base64"] == "MDEyMzQ1Njc4OQ=="
    assert hosu("cat", "--range", "x", address).exit_code == 2


def test_cp_stores_type_and_metadata_and_comes_back_the_same(hosu: Any, s3: Any, bucket: str, tmp_path: Path) -> None:
    (tmp_path / "a.json").write_bytes(b"{}")
    result = hosu("cp", "--metadata", "by=me", tmp_path / "a.json", f"hosu://lab/{bucket}/in/")
    assert result.exit_code == 0
    head = s3.head_object(Bucket=bucket, Key="in/a.json")
    assert (head["ContentType"], head["Metadata"]) == ("application/json", {"by": "me"})
    assert hosu("cp", f"hosu://lab/{bucket}/in/a.json", f"{tmp_path}/out/").exit_code == 0
    assert (tmp_path / "out" / "a.json").read_bytes() == b"{}"
    assert (tmp_path / "out" / "a.json").stat().st_mtime == head["LastModified"].timestamp()


def test_cp_takes_standard_input(hosu: Any, s3: Any, bucket: str) -> None:
    assert hosu("cp", "-", f"hosu://lab/{bucket}/from-stdin", input=b"piped").exit_code == 0
    assert s3.get_object(Bucket=bucket, Key="from-stdin")["Body"].read() == b"piped"
    assert hosu("cp", "-", f"hosu://lab/{bucket}/", input=b"piped").exit_code == 2


def test_cp_recursive_goes_both_ways(hosu: Any, s3: Any, bucket: str, tmp_path: Path) -> None:
    tree = {"a.txt": b"1", "d/b.txt": b"2", "d/e/.keep": b"", "d-x": b"3"}
    for name, body in tree.items():
        (tmp_path / "up" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "up" / name).write_bytes(body)
    assert hosu("cp", "-r", tmp_path / "up", f"hosu://lab/{bucket}/t").exit_code == 0
    assert keys(s3, bucket) == sorted(f"t/{name}" for name in tree)
    assert hosu("cp", "-r", f"hosu://lab/{bucket}/t", tmp_path / "down").exit_code == 0
    down = tmp_path / "down"
    assert {str(p.relative_to(down)): p.read_bytes() for p in down.rglob("*") if p.is_file()} == tree


def test_one_unsafe_key_is_refused_by_name_and_the_others_arrive(
    hosu: Any, s3: Any, bucket: str, tmp_path: Path
) -> None:
    for key in ("t/ok", "t/../../escaped", "t//etc"):
        s3.put_object(Bucket=bucket, Key=key, Body=b"x")
    result = hosu("cp", "-r", f"hosu://lab/{bucket}/t", tmp_path / "in" / "down")
    assert result.exit_code == 1
    assert "'../../escaped'" in result.stderr
    assert "1 done, 2 failed" in result.stderr
    assert [p.name for p in (tmp_path / "in").rglob("*") if p.is_file()] == ["ok"]
    assert not (tmp_path / "escaped").exists()


@pytest.mark.parametrize("profile", ["lab", "other"])
def test_copies_between_buckets_keep_type_metadata_and_tags(hosu: Any, s3: Any, bucket: str, profile: str) -> None:
    s3.put_object(Bucket=bucket, Key="k", Body=b"x", ContentType="text/x", Metadata={"a": "b"}, Tagging="t=1%202")
    assert hosu("cp", f"hosu://lab/{bucket}/k", f"hosu://{profile}/{bucket}/copy.bin").exit_code == 0
    head = s3.head_object(Bucket=bucket, Key="copy.bin")
    assert (head["ContentType"], head["Metadata"]) == ("text/x", {"a": "b"})
    assert s3.get_object_tagging(Bucket=bucket, Key="copy.bin")["TagSet"] == [{"Key": "t", "Value": "1 2"}]


def test_mv_removes_each_source_that_arrived(hosu: Any, s3: Any, bucket: str, tmp_path: Path) -> None:
    (tmp_path / "m" / "d").mkdir(parents=True)
    (tmp_path / "m" / "d" / "a").write_bytes(b"1")
    assert hosu("mv", "-r", tmp_path / "m", f"hosu://lab/{bucket}/x").exit_code == 0
    assert not (tmp_path / "m" / "d").exists()
    assert hosu("mv", f"hosu://lab/{bucket}/x/d/a", f"hosu://lab/{bucket}/y").exit_code == 0
    assert keys(s3, bucket) == ["y"]


def test_a_move_or_copy_onto_or_below_itself_is_refused_and_loses_nothing(hosu: Any, s3: Any, bucket: str) -> None:
    s3.put_object(Bucket=bucket, Key="d/k", Body=b"x")
    address = f"hosu://lab/{bucket}/d"
    assert hosu("mv", f"{address}/k", f"{address}/k").exit_code == 2
    assert hosu("mv", f"{address}/k", f"{address}/").exit_code == 2
    assert hosu("mv", "-r", address, f"{address}/sub").exit_code == 2
    assert keys(s3, bucket) == ["d/k"]


def test_rm_deletes_recursively_names_typing_errors_and_keeps_neighbours(hosu: Any, s3: Any, bucket: str) -> None:
    for key in ("a/1", "a/2", "ab", "odd\x01key"):
        s3.put_object(Bucket=bucket, Key=key, Body=b"")
    assert hosu("rm", f"hosu://lab/{bucket}/a/").exit_code == 2
    assert hosu("rm", f"hosu://lab/{bucket}/nope").exit_code == 1
    assert hosu("rm", "--force", f"hosu://lab/{bucket}/nope").exit_code == 0
    assert hosu("rm", "-r", "--dry-run", f"hosu://lab/{bucket}/a").exit_code == 0
    assert len(keys(s3, bucket)) == 4
    assert hosu("rm", "-r", f"hosu://lab/{bucket}/a").exit_code == 0
    assert keys(s3, bucket) == ["ab", "odd\x01key"]
    assert hosu("rm", "-r", f"hosu://lab/{bucket}").exit_code == 0
    assert keys(s3, bucket) == []


def test_rm_versions_leaves_nothing_behind(hosu: Any, s3: Any, bucket: str) -> None:
    s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
    for key in ("k", "k2"):
        s3.put_object(Bucket=bucket, Key=key, Body=b"1")
    s3.delete_object(Bucket=bucket, Key="k")
    assert hosu("rm", "--versions", f"hosu://lab/{bucket}/k").exit_code == 0
    assert [item["Key"] for item in s3.list_object_versions(Bucket=bucket)["Versions"]] == ["k2"]
    assert "DeleteMarkers" not in s3.list_object_versions(Bucket=bucket)


def test_rm_asks_on_a_terminal_before_deleting_recursively(
    hosu: Any, s3: Any, bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    s3.put_object(Bucket=bucket, Key="k", Body=b"")
    asked: list[str] = []

    def no(question: str) -> None:
        asked.append(question)
        raise typer.Abort

    monkeypatch.setattr("hosu.cli.options.confirmed", no)
    assert hosu("rm", "-r", f"hosu://lab/{bucket}").exit_code == 1
    assert bucket in asked[0]
    assert keys(s3, bucket) == ["k"]
    assert hosu("rm", "-r", "--force", f"hosu://lab/{bucket}").exit_code == 0


def test_a_failure_is_one_json_line_with_a_stable_kind(hosu: Any) -> None:
    rows = hosu.json("ls", "hosu://lab/no-such-bucket-here")
    assert [(row["status"], row["kind"]) for row in rows] == [("error", "bucket-not-found")]


def test_an_unknown_profile_is_a_usage_fault_without_a_traceback(hosu: Any) -> None:
    result = hosu("ls", "hosu://lob/b")
    assert result.exit_code == 2
    assert result.stderr.startswith("hosu ls: there is no profile 'lob': did you mean 'lab'?")


def test_profiles_are_set_listed_without_secrets_and_removed(hosu: Any) -> None:
    words = ("--endpoint", "http://h:1", "--access-key", "ak", "--secret-key", "very-secret")
    assert hosu("profile", "set", "new", *words).exit_code == 0
    listed = hosu("profile", "ls").stdout
    assert "new" in listed
    assert "very-secret" not in listed
    assert hosu("profile", "rm", "new").exit_code == 0
    assert hosu("profile", "rm", "new").exit_code == 2


def test_s3_addresses_take_the_aws_credentials_and_an_endpoint(
    hosu: Any, s3: Any, bucket: str, endpoint: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "x")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "y")
    s3.put_object(Bucket=bucket, Key="k", Body=b"abc")
    assert hosu("cat", "--endpoint-url", endpoint, f"s3://{bucket}/k").stdout_bytes == b"abc"


@pytest.mark.usefixtures("home")
def test_the_installed_command_runs_as_a_process_of_its_own(bucket: str, tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(b"x")
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "src")}
    command = [sys.executable, "-m", "hosu.cli.main", "cp", "--json", str(tmp_path / "f"), f"hosu://lab/{bucket}/f"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert [line["operation"] for line in lines] == ["cp", "summary"]


def test_help_loads_no_client_library() -> None:
    code = (
        "import sys\nsys.argv=['hosu','--help']\nfrom hosu.cli.main import main\n"
        "try:\n main()\nexcept SystemExit: pass\n"
        "print([m for m in ('boto3','botocore','rich','tenacity','watchfiles','asyncio') if m in sys.modules])"
    )
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "src")}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


def test_every_verb_for_objects_and_each_of_its_options_is_in_the_reference() -> None:
    reference = (ROOT / "docs" / "reference" / "cli.md").read_text()
    app = typer.Typer()
    storage.register(app)
    group = typer.main.get_command(app)
    missing = []
    for name, command in group.commands.items():  # type: ignore[attr-defined]
        for path, verb in [
            (name, command),
            *((f"{name} {sub}", c) for sub, c in getattr(command, "commands", {}).items()),
        ]:
            if f"`hosu {path}" not in reference:
                missing.append(path)
            options = [option for parameter in verb.params for option in parameter.opts if option.startswith("--")]
            missing += [f"{path} {option}" for option in options if f"`{option}" not in reference]
    assert missing == []
    assert re.search(r"^## Exit status$", reference, re.MULTILINE)

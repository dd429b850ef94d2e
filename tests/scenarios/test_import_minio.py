"""Moving from MinIO: what its clients held before, they find again, under the same keys, ids, ETags and secrets."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from minio import Minio
from tests.support.clients import S3Client, boto3_client, refused
from tests.support.minio_drive import ROOT, unpack_drive
from tests.support.server import Endpoint, ServerProcess
from typer.testing import CliRunner, Result

import hosu
from hosu.cli.main import build_app
from hosu.testing.lake_check import find_faults

PART_BYTES = 5 * 1024 * 1024
ROOT_SECRET = "another-root-secret"


def run(*words: object) -> Result:
    return CliRunner().invoke(build_app(), ["import", "minio", *map(str, words)])


@pytest.fixture(scope="module")
def moved(tmp_path_factory: pytest.TempPathFactory, isolated_shell: None) -> Iterator[Endpoint]:  # noqa: ARG001 - the server inherits the cleaned environment
    folder = tmp_path_factory.mktemp("moved")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HOSU_ROOT_USER", ROOT)
        result = run(unpack_drive(folder), folder / "lake", "--source-root", ROOT)
        assert result.exit_code == 0, result.output
    process = ServerProcess(folder / "lake", folder / "log", access_key=ROOT, secret_key=ROOT_SECRET)
    with process:
        yield process.endpoint


@pytest.fixture(scope="module")
def client(moved: Endpoint) -> Iterator[S3Client]:
    made = boto3_client(moved)
    yield made
    made.close()


def test_objects_are_as_they_were(client: S3Client) -> None:
    found = client.get_object(Bucket="plain", Key="hello.txt")
    assert found["Body"].read() == b"hello, lake\n"
    assert found["ETag"] == '"bfa3fc7d5c25114682e0235987c6fb59"'
    assert (found["ContentType"], found["CacheControl"], found["ContentLanguage"]) == ("text/plain", "max-age=60", "ko")
    assert found["Metadata"] == {"camera": "door-1", "note": "plain"}
    assert (found["LastModified"].year, found["LastModified"].month, found["LastModified"].day) == (2026, 11, 21)
    tags = client.get_object_tagging(Bucket="plain", Key="hello.txt")["TagSet"]
    assert {tag["Key"]: tag["Value"] for tag in tags} == {"kind": "greeting", "lang": "en uk"}
    keys = [it["Key"] for it in client.list_objects_v2(Bucket="plain")["Contents"]]
    assert {"folder/", "사진/문 앞 (1).jpg", "odd/a b+c%20d&e=f?g#h'i\"j.txt"} <= set(keys)
    assert "gone" not in keys


def test_parts_keep_their_boundaries_and_checksums(client: S3Client) -> None:
    head = client.head_object(Bucket="plain", Key="parts/three.bin", PartNumber=2)
    assert (head["ContentLength"], head["PartsCount"]) == (PART_BYTES, 3)
    head = client.head_object(Bucket="plain", Key="parts/checked.bin", ChecksumMode="ENABLED")
    assert (head["ChecksumCRC32C"], head["ChecksumType"]) == ("qq32Lw==-2", "COMPOSITE")
    for algorithm in ("CRC32", "CRC32C", "CRC64NVME", "SHA1", "SHA256"):
        body = client.get_object(Bucket="plain", Key=f"checksums/{algorithm}", ChecksumMode="ENABLED")
        assert len(body["Body"].read()) == 5_000, "boto3 checks the checksum as it reads"
        assert body[f"Checksum{algorithm}"]


def test_versions_keep_their_ids_and_their_order(client: S3Client) -> None:
    listed = client.list_object_versions(Bucket="versioned", Prefix="back")
    newest, oldest = listed["Versions"]
    (marker,) = listed["DeleteMarkers"]
    assert (newest["IsLatest"], oldest["IsLatest"], marker["IsLatest"]) == (True, False, False)
    assert all(len(it["VersionId"]) == 36 for it in (newest, oldest, marker))
    body = client.get_object(Bucket="versioned", Key="back", VersionId=oldest["VersionId"])["Body"].read()
    assert body == b"one"
    with refused("NoSuchKey", 404):
        client.get_object(Bucket="versioned", Key="deleted")
    with refused("MethodNotAllowed", 405):
        client.get_object(Bucket="versioned", Key="back", VersionId=marker["VersionId"])
    pages = client.get_paginator("list_object_versions").paginate(Bucket="versioned", PaginationConfig={"PageSize": 2})
    count = sum(len(page.get("Versions", [])) + len(page.get("DeleteMarkers", [])) for page in pages)
    assert count == 12


def test_null_versions_stay_where_they_were(client: S3Client) -> None:
    versions = client.list_object_versions(Bucket="suspended", Prefix="k")["Versions"]
    assert [it["VersionId"] == "null" for it in versions] == [True, False]
    client.put_object(Bucket="suspended", Key="k", Body=b"over the null version")
    assert len(client.list_object_versions(Bucket="suspended", Prefix="k")["Versions"]) == 2


def test_locks_hold(client: S3Client) -> None:
    (kept,) = client.list_object_versions(Bucket="locked", Prefix="kept")["Versions"]
    with refused("AccessDenied", 403):
        client.delete_object(Bucket="locked", Key="kept", VersionId=kept["VersionId"])
    retention = client.get_object_retention(Bucket="locked", Key="kept")["Retention"]
    assert (retention["Mode"], retention["RetainUntilDate"].year) == ("COMPLIANCE", 2099)
    assert client.get_object_legal_hold(Bucket="locked", Key="held")["LegalHold"] == {"Status": "ON"}


def test_users_and_keys_open_what_they_opened(moved: Endpoint) -> None:
    for name, secret in (("alice", "alice-secret-key"), ("alicesvckey", "alice-svc-secret")):
        theirs = Minio(moved.host, name, secret, secure=False, region=moved.region)
        assert theirs.get_object(bucket_name="plain", object_name="replaced").read() == b"second"
        with refused("AccessDenied", 403):
            boto3_client(moved, aws_access_key_id=name, aws_secret_access_key=secret).put_object(
                Bucket="plain", Key="no", Body=b""
            )
    with refused("InvalidAccessKeyId", 403):
        boto3_client(moved, aws_access_key_id="bob", aws_secret_access_key="bob-secret-key-2").list_buckets()


def rows_of(lake: Path) -> list[Any]:
    """Return all versions with everything that is known of them, and the parts that objects are made of."""
    columns = (
        "name, key, version_id, size_bytes, etag, modified_ms, storage_class, checksum_algorithm, checksum_type, "
        "checksum_value, part_count, attributes"
    )
    with hosu.open(lake, create=False) as opened:
        assert find_faults(opened.store) == []
        view = opened.store.view()
        versions = view.rows(
            f"SELECT {columns}, 0 AS marker, seq FROM object JOIN bucket ON id = bucket_id UNION ALL "
            f"SELECT {columns}, is_marker, seq FROM version JOIN bucket ON id = bucket_id ORDER BY name, key, seq"
        )
        parts = view.rows("SELECT part_number, start, size_bytes, checksum_value FROM segment ORDER BY 3, 1, 2, 4")
        return [[row[:-1] for row in versions], parts]


def test_from_a_url_comes_the_same_as_from_the_folder(
    tmp_path: Path, moved: Endpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = boto3_client(moved)
    other.put_object(Bucket="plain", Key="fresh", Body=b"made by hosu", Tagging="a=b")
    monkeypatch.setenv("MINIO_ROOT_USER", moved.access_key)
    monkeypatch.setenv("MINIO_ROOT_PASSWORD", moved.secret_key)
    result = run(moved.url, tmp_path / "copy", "--no-accounts", "--bucket", "plain", "--bucket", "versioned")
    assert result.exit_code == 0, result.output
    again = run(moved.url, tmp_path / "copy", "--no-accounts", "--bucket", "plain", "--bucket", "versioned")
    assert "0 versions and 0 delete markers moved; nothing is missing" in again.output
    monkeypatch.delenv("MINIO_ROOT_USER")
    from_folder = run(
        unpack_drive(tmp_path), tmp_path / "lake", "--bucket", "plain", "--bucket", "versioned", "--no-accounts"
    )
    assert from_folder.exit_code == 0, from_folder.output
    copied, parts = rows_of(tmp_path / "copy")
    expected, expected_parts = rows_of(tmp_path / "lake")
    assert [row for row in copied if row[1] != "fresh"] == expected
    assert parts == expected_parts


def test_version_ids_that_tell_the_order_of_another_lake_are_named(
    tmp_path: Path, moved: Endpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = boto3_client(moved)
    other.put_bucket_versioning(Bucket="suspended", VersioningConfiguration={"Status": "Enabled"})
    version = other.put_object(Bucket="suspended", Key="own", Body=b"2")["VersionId"]
    monkeypatch.setenv("MINIO_ROOT_USER", moved.access_key)
    monkeypatch.setenv("MINIO_ROOT_PASSWORD", moved.secret_key)
    result = run(moved.url, tmp_path / "copy", "--no-accounts", "--bucket", "suspended")
    assert result.exit_code == 1, result.output
    assert f"suspended/own ({version}): version id" in result.stdout


def test_a_server_without_an_export_of_users_says_so(
    tmp_path: Path, moved: Endpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MINIO_ROOT_USER", moved.access_key)
    monkeypatch.setenv("MINIO_ROOT_PASSWORD", moved.secret_key)
    result = run(moved.url, tmp_path / "copy", "--bucket", "empty-bucket")
    assert result.exit_code == 1
    assert "NOT moved  accounts all: the server does not hand them out" in result.stdout
    assert moved.secret_key not in result.output


def test_damage_on_a_server_is_named_and_all_else_comes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lake = tmp_path / "source"
    with ServerProcess(lake, tmp_path / "log") as process:
        client = boto3_client(process.endpoint)
        client.create_bucket(Bucket="bkt")
        client.put_object(Bucket="bkt", Key="damaged", Body=b"d" * 50_000)
        (blob,) = [path for path in (lake / "blobs").glob("*/*") if path.is_file()]
        client.put_object(Bucket="bkt", Key="fine", Body=b"fine")
        blob.write_bytes(b"D" * 50_000)
        monkeypatch.setenv("MINIO_ROOT_USER", process.access_key)
        monkeypatch.setenv("MINIO_ROOT_PASSWORD", process.secret_key)
        result = run(process.endpoint.url, tmp_path / "copy", "--no-accounts")
    assert result.exit_code == 1, result.output
    told = [line for line in result.stdout.splitlines() if line.startswith("NOT moved")]
    assert sorted(line.split()[3].rstrip(":") for line in told) == ["bkt/damaged"]
    with hosu.open(tmp_path / "copy") as opened:
        assert opened.bucket("bkt").get("fine") == b"fine"


def test_a_server_that_goes_away_ends_the_import(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from hosu.cli.importing import minio_remote

    with ServerProcess(tmp_path / "source", tmp_path / "log") as process:
        client = boto3_client(process.endpoint)
        client.create_bucket(Bucket="bkt")
        client.put_object(Bucket="bkt", Key="k", Body=b"k")
        monkeypatch.setenv("MINIO_ROOT_USER", process.access_key)
        monkeypatch.setenv("MINIO_ROOT_PASSWORD", process.secret_key)
        monkeypatch.setattr(minio_remote, "cancellable_sleep", lambda _: lambda _seconds: None)
        real = minio_remote.RemoteMinio.describe

        def describe(*arguments: Any) -> Any:
            process.kill()
            return real(*arguments)

        monkeypatch.setattr(minio_remote.RemoteMinio, "describe", describe)
        result = run(process.endpoint.url, tmp_path / "copy", "--no-accounts")
    assert result.exit_code == 1
    assert "did not answer" in result.stderr
    with hosu.open(tmp_path / "copy") as opened:
        assert find_faults(opened.store) == []

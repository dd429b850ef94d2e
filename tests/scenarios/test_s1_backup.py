"""S1.10: the lake is backed up beside its running server, by hand and by itself, and comes back as it was."""

import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError
from tests.support.admin import admin_client
from tests.support.clients import S3Client, boto3_client
from tests.support.foreign import ROOT, require, run_script
from tests.support.server import ROOT_PASSWORD, ROOT_USER, Endpoint, ServerProcess, isolated_environment

from hosu.kernel.clock import SystemClock
from hosu.kernel.fileio import FolderFileIO
from hosu.objects.store import ObjectStore
from hosu.objects.transaction import Tx
from hosu.rules.backup.repository import Repository
from hosu.rules.backup.schedule import Schedule, counters, note_due, set_schedule
from hosu.rules.backup.verifying import verify

SECONDS_MAX = 60.0
LARGE = bytes(range(256)) * 400
ALICE, ALICE_SECRET = "alice", "alice-secret-12345"
KEYS = {"HOSU_BACKUP_ACCESS_KEY": ROOT_USER, "HOSU_BACKUP_SECRET_KEY": ROOT_PASSWORD}
PATIENCE = {"PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": "150"}
HEADERS = ("Content-Type", "ETag", "Last-Modified", "x-amz-version-id", "x-amz-meta-camera", "x-amz-checksum-sha256")


@pytest.fixture
def server(isolated_shell: None, tmp_path: Path) -> Iterator[ServerProcess]:  # noqa: ARG001
    with ServerProcess(tmp_path / "lake", tmp_path / "server.log") as process:
        yield process


@pytest.fixture
def s3(server: ServerProcess) -> Iterator[S3Client]:
    """Fill the server's lake with something of everything that S3 clients see."""
    client = boto3_client(server.endpoint)
    client.create_bucket(Bucket="gold")
    client.put_bucket_versioning(Bucket="gold", VersioningConfiguration={"Status": "Enabled"})
    for number in range(20):
        client.put_object(Bucket="gold", Key=f"small/{number}", Body=b"%d" % number, Metadata={"camera": "3"})
    for body in (LARGE, LARGE[::-1]):
        client.put_object(
            Bucket="gold", Key="large", Body=body, ContentType="image/jpeg", Tagging="team=vision",
            ChecksumAlgorithm="SHA256",
        )  # fmt: skip
    upload = client.create_multipart_upload(Bucket="gold", Key="parts")["UploadId"]
    part = client.upload_part(Bucket="gold", Key="parts", UploadId=upload, PartNumber=1, Body=LARGE)
    client.complete_multipart_upload(
        Bucket="gold", Key="parts", UploadId=upload,
        MultipartUpload={"Parts": [{"PartNumber": 1, "ETag": part["ETag"]}]},
    )  # fmt: skip
    client.delete_object(Bucket="gold", Key="small/3")
    client.put_bucket_tagging(Bucket="gold", Tagging={"TagSet": [{"Key": "team", "Value": "vision"}]})
    admin = admin_client(server.endpoint)
    admin.user_add(ALICE, ALICE_SECRET)
    admin.attach_policy(["readonly"], user=ALICE)
    yield client
    client.close()


def hosu(*words: object, environment: Mapping[str, str] | None = None) -> str:
    """Run the command line as a person does, and return what it prints."""
    command = [sys.executable, "-m", "hosu", *map(str, words)]
    done = subprocess.run(
        command, env=isolated_environment() | dict(environment or {}), capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def seen(client: S3Client) -> dict[str, Any]:
    """Return all that a client sees of the bucket."""
    found: dict[str, Any] = {}
    listing = client.list_object_versions(Bucket="gold")
    for entry in (*listing.get("Versions", []), *listing.get("DeleteMarkers", [])):
        name = f"{entry['Key']}?{entry['VersionId']}"
        found[name] = {it: entry.get(it) for it in ("ETag", "Size", "LastModified", "IsLatest", "StorageClass")}
        if "ETag" in entry:
            version = {"Bucket": "gold", "Key": entry["Key"], "VersionId": entry["VersionId"]}
            answer = client.get_object(**version, ChecksumMode="ENABLED")
            headers = answer["ResponseMetadata"]["HTTPHeaders"]
            found[name] |= {it: headers.get(it.lower()) for it in HEADERS} | {"body": answer["Body"].read()}
            found[name]["tags"] = client.get_object_tagging(**version)["TagSet"]
    found["tags"] = client.get_bucket_tagging(Bucket="gold")["TagSet"]
    found["versioning"] = client.get_bucket_versioning(Bucket="gold")["Status"]
    return found


def until(what: str, holds: Callable[[], object]) -> None:
    """Wait until something holds that another process brings about."""
    deadline = time.monotonic() + SECONDS_MAX
    while not holds():
        if time.monotonic() > deadline:
            pytest.fail(f"not within {SECONDS_MAX} s: {what}")
        time.sleep(0.05)


def test_a_lake_backed_up_to_another_s3_server_comes_back_with_all_that_clients_see(
    server: ServerProcess, s3: S3Client, tmp_path: Path
) -> None:
    expected = seen(s3)
    with ServerProcess(tmp_path / "other", tmp_path / "other.log") as other:
        location = place_of(other.endpoint)
        assert "wrote all records" in hosu("backup", "run", server.directory, location, environment=KEYS)
        s3.put_object(Bucket="gold", Key="later", Body=b"later")
        assert "of 1 changed keys" in hosu("backup", "run", server.directory, location, environment=KEYS)
        listed = hosu("backup", "list", location, environment=KEYS).splitlines()
        assert len(listed) == 2
        assert "no faults" in hosu("backup", "verify", location, "--all", environment=KEYS)
        first = listed[0].split()[1]
        hosu("restore", location, tmp_path / "restored", "--snapshot", first, environment=KEYS)
        hosu("backup", "prune", location, "--keep-last", "1", environment=KEYS)
        assert "no faults" in hosu("backup", "verify", location, "--all", environment=KEYS)
    with ServerProcess(tmp_path / "restored", tmp_path / "restored.log") as restored:
        client = boto3_client(restored.endpoint)
        assert seen(client) == expected
        alice = boto3_client(restored.endpoint, aws_access_key_id=ALICE, aws_secret_access_key=ALICE_SECRET)
        assert alice.get_object(Bucket="gold", Key="small/1")["Body"].read() == b"1"
        with pytest.raises(ClientError):
            alice.put_object(Bucket="gold", Key="small/1", Body=b"?")
        answer = client.put_object(Bucket="gold", Key="small/1", Body=b"new")
        assert answer["VersionId"] > max(it.partition("?")[2] for it in expected if it.startswith("small/1?"))
        client.close()
        alice.close()


def place_of(endpoint: Endpoint) -> str:
    client = boto3_client(endpoint)
    client.create_bucket(Bucket="backups")
    client.close()
    return f"s3://backups/lake?endpoint={endpoint.url}"


def test_a_backup_into_the_lake_itself_by_its_own_server_is_refused(server: ServerProcess, s3: S3Client) -> None:
    s3.create_bucket(Bucket="backups")
    location = f"s3://backups/lake?endpoint={server.endpoint.url}"
    command = [sys.executable, "-m", "hosu", "backup", "run", str(server.directory), location]
    done = subprocess.run(command, env=isolated_environment() | KEYS, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "is this lake itself" in done.stderr
    assert "Contents" not in s3.list_objects_v2(Bucket="backups")


def test_each_snapshot_taken_while_clients_write_is_of_one_moment(
    server: ServerProcess, s3: S3Client, tmp_path: Path
) -> None:
    """A writer puts each number under one key and then another: no snapshot has the second without the first."""
    location, stop = tmp_path / "backup", threading.Event()

    def write() -> None:
        number = 0
        while not stop.is_set():
            number += 1
            for key in ("first", "second"):
                s3.put_object(Bucket="gold", Key=f"pair/{key}", Body=b"%d" % number)

    writer = threading.Thread(target=write)
    writer.start()
    try:
        for _ in range(3):
            hosu("backup", "run", server.directory, location)
    finally:
        stop.set()
        writer.join()
    place = Repository.open(FolderFileIO(location), SystemClock())
    assert verify(place, reads_all=True).faults == ()
    numbers = []
    for snapshot in place.snapshots():
        folder = tmp_path / snapshot.id
        hosu("restore", location, folder, "--snapshot", snapshot.id)
        with ServerProcess(folder, tmp_path / f"{snapshot.id}.log") as restored:
            client = boto3_client(restored.endpoint)
            listing = client.list_objects_v2(Bucket="gold", Prefix="pair/").get("Contents", [])
            found = [int(client.get_object(Bucket="gold", Key=it["Key"])["Body"].read()) for it in listing]
            client.close()
        if len(found) == 2:
            assert found[0] - found[1] in {0, 1}
            numbers.append(found[0])
    assert len(numbers) >= 2
    assert numbers == sorted(set(numbers))


def test_the_server_takes_the_backups_of_its_schedule_by_itself(
    server: ServerProcess, s3: S3Client, tmp_path: Path
) -> None:
    location = tmp_path / "backup"
    hosu("backup", "schedule", server.directory, location, "--cron", "0 2 * * *", "--keep-daily", "7")

    def is_due(tx: Tx) -> None:
        set_schedule(tx, Schedule(str(location), "0 2 * * *"))
        note_due(tx, due_ms=tx.now_ms)

    with ObjectStore(server.directory) as store:
        assert counters(store.view())["backup_due_ms"] > store.clock.now_ms()
        store.commit(is_due)
        until("the backup is taken", lambda: counters(store.view()).get("backup_success_ms"))
        assert counters(store.view())["backup_due_ms"] > store.clock.now_ms()
    hosu("restore", location, tmp_path / "restored")
    with ServerProcess(tmp_path / "restored", tmp_path / "restored.log") as restored:
        client = boto3_client(restored.endpoint)
        assert seen(client) == seen(s3)
        client.close()


@pytest.mark.timeout(300)
def test_the_flow_of_the_example_backs_up_verifies_and_prunes(
    server: ServerProcess, s3: S3Client, tmp_path: Path
) -> None:
    require("prefect")
    objects = sum(entry["IsLatest"] for entry in s3.list_object_versions(Bucket="gold")["Versions"])
    command = {"HOSU": str(Path(sys.executable).with_name("hosu")), "RETRY_SECONDS": "0"}
    places = {"LAKE": str(server.directory), "BACKUP": str(tmp_path / "backup")}
    flow = str(ROOT / "examples" / "lakehouse" / "backup_flow.py")
    found = run_script(flow, server.endpoint, tmp_path, "--once", **command, **places, **PATIENCE)
    (snapshot,) = Repository.open(FolderFileIO(tmp_path / "backup"), SystemClock()).snapshots()
    assert (found["snapshot"], found["objects"], found["kept"]) == (snapshot.id, objects, 1)

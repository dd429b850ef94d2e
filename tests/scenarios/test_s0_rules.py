"""S0.7 to S0.10, S0.13 and S0.14: the rules of the smart door, carried out by its server, seen by stock clients.

What is old was stored forty days ago; the server, with days of the calendar, finds it due when it starts.
"""

import io
import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from minio import Minio
from minio.error import S3Error
from tests.support.clients import S3Client, boto3_client, keys_of, refused
from tests.support.server import ServerProcess, isolated_environment

import hosu
from hosu.testing.manual_clock import ManualClock

DOOR = "ai-door-system"
TRAINING = "models/training/"
DAY_MS = 24 * 3600 * 1000
DEADLINE_S = 60.0
PHOTO = b"as good as a photo, taken at the door; " * 4_000
METRICS: dict[str, object] = {
    "v1.0.0": 0.10, "v1.1.0": 0.71, "v1.2.0": 0.42, "v1.3.0": 0.93, "v1.4.0": 0.64,
    "v1.5.0": 0.55, "v1.6.0": 0.86, "v1.7.0": 0.37, "v1.8.0": "none",
}  # fmt: skip
KEPT = ["v1.0.0", "v1.1.0", "v1.3.0", "v1.4.0", "v1.5.0", "v1.6.0", "v1.8.0"]
"""The best five, what production points to, and the one without a number."""


def command(*words: object) -> list[dict[str, Any]]:
    """Run `hosu` in a process of its own; return the lines of its answer."""
    done = subprocess.run(
        [sys.executable, "-m", "hosu", *map(str, words), "--json"],
        check=True,
        capture_output=True,
        text=True,
        env=isolated_environment(),
    )
    return [json.loads(line) for line in done.stdout.splitlines()]


def until(true: Callable[[], object]) -> None:
    deadline = time.monotonic() + DEADLINE_S
    while not true():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.1)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("door")


@pytest.fixture(scope="module")
def secrets(folder: Path) -> dict[str, str]:
    """Make the lake as an operator does, and store what is old."""
    lines = command("init", folder / "lake", "--template", "smart-door", "--backup", folder / "backup")
    with hosu.open(folder / "lake", clock=ManualClock(time.time_ns() // 1_000_000 - 40 * DAY_MS)) as lake:
        door = lake.bucket(DOOR)
        door.put("images/raw/2025-08-08/capture_001.jpg", PHOTO)
        door.put("images/processed/unclassified/capture_000.jpg", PHOTO, content_type="image/jpeg")
        for version, map50 in METRICS.items():
            door.put(f"{TRAINING}{version}/best.pt", f"weights of {version}".encode())
            door.put(f"{TRAINING}{version}/metrics.json", json.dumps({"map50": map50}).encode())
    return {line["access_key"]: line["secret"] for line in lines if line["kind"] == "secret"}


@pytest.fixture(scope="module")
def dry_run(folder: Path, secrets: dict[str, str]) -> list[dict[str, Any]]:
    assert secrets
    return command("rule", "run", folder / "lake", "--dry-run")


@pytest.fixture(scope="module")
def server(folder: Path, dry_run: list[dict[str, Any]], isolated_shell: None) -> Iterator[ServerProcess]:  # noqa: ARG001 - in this order
    with ServerProcess(folder / "lake", folder / "server.log") as process:
        yield process


@pytest.fixture(scope="module")
def root(server: ServerProcess) -> Iterator[S3Client]:
    client = boto3_client(server.endpoint)
    yield client
    client.close()


@pytest.fixture(scope="module")
def as_user(server: ServerProcess, secrets: dict[str, str]) -> Callable[[str], Minio]:
    def client(name: str) -> Minio:
        return Minio(server.endpoint.host, access_key=name, secret_key=secrets[name], secure=False)

    return client


def put(client: Minio, key: str, body: bytes) -> None:
    client.put_object(DOOR, key, io.BytesIO(body), len(body))


def listed(root: S3Client, prefix: str) -> list[str]:
    return keys_of(root.list_objects_v2(Bucket=DOOR, Prefix=prefix))


def test_a_dry_run_lists_everything_that_the_rules_would_do_with_its_reason(dry_run: list[dict[str, Any]]) -> None:
    named = {(line["rule"], line["action"], line["key"]) for line in dry_run}
    assert ("lifecycle:raw-images-30-days", "Expire", "images/raw/2025-08-08/capture_001.jpg") in named
    moved = "images/processed/unclassified/capture_000.jpg"
    assert ("lifecycle:classified-images-compressed", "Transition", moved) in named
    gone = {key.split("/")[2] for rule, _, key in named if rule == "merit:experiments"}
    assert gone == METRICS.keys() - set(KEPT)
    assert not [line for line in dry_run if line["rule"] == "capacity"]
    assert all(line["reason"] for line in dry_run)


def test_s0_7_raw_images_are_deleted_30_days_after_their_upload(
    root: S3Client, as_user: Callable[[str], Minio]
) -> None:
    put(as_user("door-system"), "images/raw/today/capture_002.jpg", PHOTO)
    until(lambda: "images/raw/2025-08-08/capture_001.jpg" not in listed(root, "images/raw/"))
    assert "images/raw/today/capture_002.jpg" in listed(root, "images/raw/")


def test_s0_8_classified_images_are_compressed_and_read_as_they_were(
    root: S3Client, as_user: Callable[[str], Minio]
) -> None:
    key = "images/processed/unclassified/capture_000.jpg"
    put(as_user("door-system"), "images/processed/unclassified/capture_009.jpg", PHOTO)
    until(lambda: root.head_object(Bucket=DOOR, Key=key).get("StorageClass") == "COLD")
    old, new = (
        root.get_object(Bucket=DOOR, Key=f"images/processed/unclassified/capture_00{number}.jpg") for number in (0, 9)
    )
    assert old["Body"].read() == new["Body"].read() == PHOTO
    assert (old["ETag"], old["ContentLength"], old["ContentType"]) == (new["ETag"], len(PHOTO), "image/jpeg")
    assert "StorageClass" not in new


def test_s0_9_the_best_experiments_stay_and_what_production_points_to(
    server: ServerProcess, root: S3Client, as_user: Callable[[str], Minio]
) -> None:
    def versions() -> list[str]:
        return sorted({key.split("/")[2] for key in listed(root, TRAINING)})

    until(lambda: versions() == KEPT)
    assert root.get_object(Bucket=DOOR, Key="models/production/current/best.pt")["Body"].read() == b"weights of v1.0.0"
    shown = {line["folder"]: line for line in command("rule", "show", server.directory) if line["kind"] == "merit"}
    assert "it is protected" in shown[f"{TRAINING}v1.0.0/"]["reason"]
    assert "not a number" in shown[f"{TRAINING}v1.8.0/"]["reason"]
    put(as_user("door-training"), f"{TRAINING}v2.0.0/metrics.json", b'{"map50": 0.01}')
    command("rule", "run", server.directory, "merit")
    assert "v2.0.0" in versions(), "its grace has just begun"


def test_s0_10_production_models_are_changed_by_no_service_and_have_a_second_copy(
    folder: Path, server: ServerProcess, root: S3Client, as_user: Callable[[str], Minio]
) -> None:
    command("policy", "create", server.directory, "all-of-s3", _file(folder, "all-of-s3.json", "s3:*"))
    (made,) = command("user", "add", server.directory, "robot")
    command("policy", "attach", server.directory, "all-of-s3", "--user", "robot")
    robot = Minio(server.endpoint.host, access_key="robot", secret_key=made["secret"], secure=False)
    key = f"{TRAINING}v1.0.0/best.pt"
    for change in (
        lambda: put(robot, key, b"other weights"),
        lambda: robot.remove_object(DOOR, key),
        lambda: put(as_user("door-training"), key, b"other weights"),
    ):
        with pytest.raises(S3Error) as refusal:
            change()
        assert refusal.value.code == "AccessDenied"
    put(robot, f"{TRAINING}v9.0.0/best.pt", b"new weights")
    robot.remove_object(DOOR, f"{TRAINING}v9.0.0/best.pt")
    assert root.get_object(Bucket=DOOR, Key=key)["Body"].read() == b"weights of v1.0.0"
    copies = folder / "backup"
    until(
        lambda: any(path.read_bytes() == b"weights of v1.0.0" for path in copies.glob("**/*") if path.is_file())
    )  # fmt: skip


def _file(folder: Path, name: str, action: str) -> Path:
    statement = {"Effect": "Allow", "Action": action, "Resource": "arn:aws:s3:::*"}
    (folder / name).write_text(json.dumps({"Version": "2012-10-17", "Statement": [statement]}))
    return folder / name


def test_s0_13_the_lake_has_a_quota_of_100_gb_and_one_of_a_bucket_beside_it(
    server: ServerProcess, root: S3Client
) -> None:
    gauge = next(line for line in command("rule", "show", server.directory) if line["kind"] == "capacity")
    assert gauge["limit_bytes"] == 100 * 10**9
    command("rule", "quota", server.directory, DOOR, "2MB")
    with refused("XMinioAdminBucketQuotaExceeded", 400):
        root.put_object(Bucket=DOOR, Key="annotations/pending/large.bin", Body=bytes(3_000_000))
    command("rule", "quota", server.directory, DOOR, "0")


def test_s0_13_and_s0_14_a_lake_that_fills_up_loses_its_oldest_images_and_no_model(
    server: ServerProcess, root: S3Client, as_user: Callable[[str], Minio]
) -> None:
    models = listed(root, "models/")
    system = as_user("door-system")
    for number in range(12):
        put(system, f"images/raw/flood/{number:02}.jpg", bytes(150_000))
    words = ["--quota", "5MB", "--high-water", "60%", "--low-water", "50%", "--keep", f"{DOOR}/models/"]
    command("rule", "capacity", "set", server.directory, *words)
    for number in range(12, 24):
        put(system, f"images/raw/flood/{number:02}.jpg", bytes(150_000))
    until(lambda: _held(server) < 3_000_000)
    with refused("XMinioAdminBucketQuotaExceeded", 400):
        root.put_object(Bucket=DOOR, Key="images/raw/too-large.jpg", Body=bytes(5_100_000))
    left = listed(root, "images/raw/flood/")
    assert left == [f"images/raw/flood/{number:02}.jpg" for number in range(24 - len(left), 24)]
    assert len(left) < 24
    assert listed(root, "models/") == models
    until(lambda: _reasons(server))
    assert all("of 5000000 bytes of the lake's quota are used" in reason for reason in _reasons(server))


def _held(server: ServerProcess) -> int:
    gauge = next(line for line in command("rule", "show", server.directory) if line["kind"] == "capacity")
    return int(gauge["used_bytes"])


def _reasons(server: ServerProcess) -> list[str]:
    lines = [line["line"] for line in command("audit", "query", server.directory, "--principal", "hosu:capacity")]
    return [line["reason"] for line in lines if line["key"].startswith("images/raw/flood/")]


def test_a_second_init_changes_nothing_and_a_backup_in_the_lake_is_refused(server: ServerProcess, folder: Path) -> None:
    words = ["init", server.directory, "--template", "smart-door"]
    assert {line["state"] for line in command(*words, "--backup", folder / "backup")} == {"kept"}
    done = subprocess.run(
        [sys.executable, "-m", "hosu", *map(str, words), "--backup", str(server.directory / "copies"), "--json"],
        check=False, capture_output=True, text=True, env=isolated_environment(),
    )  # fmt: skip
    assert done.returncode == 1
    assert json.loads(done.stdout)["kind"] == "location-invalid"

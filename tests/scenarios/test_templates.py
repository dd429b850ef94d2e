"""S0.11, S1.1, S2.1 made by `hosu init --template`: each service with a stock client and the secret init showed."""

import io
import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from minio import Minio
from minio.error import S3Error
from tests.support.clients import boto3_client, refused
from tests.support.server import ServerProcess, isolated_environment

DOOR = "ai-door-system"


def init(lake: Path, *words: str) -> dict[str, str]:
    """Run `hosu init` in a process of its own; return the secrets it shows."""
    done = subprocess.run(
        [sys.executable, "-m", "hosu", "init", str(lake), *words, "--json"],
        check=True,
        capture_output=True,
        text=True,
        env=isolated_environment(),
    )
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    return {line["access_key"]: line["secret"] for line in lines if line["kind"] == "secret"}


@pytest.fixture(scope="module")
def lake(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("templates") / "lake"


@pytest.fixture(scope="module")
def secrets(lake: Path) -> dict[str, str]:
    return init(lake, "--template", "smart-door") | init(lake, "--template", "streaming")


@pytest.fixture(scope="module")
def server(lake: Path, secrets: dict[str, str], isolated_shell: None) -> Iterator[ServerProcess]:  # noqa: ARG001 - the lake is ready, the environment cleaned
    with ServerProcess(lake, lake.parent / "server.log") as process:
        yield process


@pytest.fixture(scope="module")
def as_user(server: ServerProcess, secrets: dict[str, str]) -> Callable[[str], Minio]:
    def client(name: str) -> Minio:
        return Minio(server.endpoint.host, access_key=name, secret_key=secrets[name], secure=False)

    return client


@pytest.fixture(scope="module")
def root(server: ServerProcess) -> Minio:
    endpoint = server.endpoint
    return Minio(endpoint.host, access_key=endpoint.access_key, secret_key=endpoint.secret_key, secure=False)


def put(client: Minio, key: str, body: bytes = b"body", bucket: str = DOOR) -> None:
    client.put_object(bucket, key, io.BytesIO(body), len(body))


def get(client: Minio, key: str, bucket: str = DOOR) -> bytes:
    answer = client.get_object(bucket, key)
    try:
        return bytes(answer.data)
    finally:
        answer.close()
        answer.release_conn()


def denied(action: Callable[[], Any]) -> bool:
    try:
        action()
    except S3Error as error:
        return error.code == "AccessDenied"
    return False


def test_the_system_service_reads_and_writes_images_and_nothing_else(as_user: Callable[[str], Minio]) -> None:
    system = as_user("door-system")
    put(system, "images/raw/2025-08-08/capture_001.jpg", b"photo")
    assert get(system, "images/raw/2025-08-08/capture_001.jpg") == b"photo"
    listed = system.list_objects(DOOR, prefix="images/raw/", recursive=True)
    assert [entry.object_name for entry in listed] == ["images/raw/.keep", "images/raw/2025-08-08/capture_001.jpg"]
    system.remove_object(DOOR, "images/raw/2025-08-08/capture_001.jpg")
    for key in ("datasets/v1/data.yaml", "models/training/v1.0.0/best.pt", "annotations/pending/a.json", "other.txt"):
        assert denied(lambda key=key: put(system, key))  # type: ignore[misc]
        assert denied(lambda key=key: get(system, key))  # type: ignore[misc]
    assert denied(lambda: list(system.list_objects(DOOR, recursive=True)))


def test_training_publishes_a_model_that_inference_reads_through_the_alias(as_user: Callable[[str], Minio]) -> None:
    training, inference = as_user("door-training"), as_user("door-inference")
    put(training, "models/training/v1.0.0/best.pt", b"weights")
    assert denied(lambda: get(training, "models/training/v1.0.0/best.pt"))
    assert denied(lambda: training.remove_object(DOOR, "models/training/v1.0.0/best.pt"))
    assert get(inference, "models/production/current/best.pt") == b"weights"
    assert denied(lambda: put(inference, "models/training/v1.0.0/best.pt", b"other"))
    assert get(inference, "models/training/v1.0.0/best.pt") == b"weights"


def test_the_data_manager_writes_what_training_reads(as_user: Callable[[str], Minio]) -> None:
    manager, training = as_user("door-data-manager"), as_user("door-training")
    put(manager, "datasets/v1/data.yaml", b"names: [cat]")
    assert get(training, "datasets/current/data.yaml") == b"names: [cat]"
    assert denied(lambda: get(manager, "datasets/v1/data.yaml"))
    assert denied(lambda: put(training, "datasets/v1/data.yaml"))


def test_labelling_and_the_viewer(as_user: Callable[[str], Minio]) -> None:
    labelling, viewer = as_user("door-labelling"), as_user("viewer")
    put(labelling, "annotations/labeled/a.json", b"{}")
    assert get(labelling, "annotations/labeled/a.json") == b"{}"
    assert denied(lambda: get(labelling, "images/raw/.keep"))
    assert get(viewer, "annotations/labeled/a.json") == b"{}"
    assert len(list(viewer.list_objects(DOOR, recursive=True))) > 7
    assert denied(lambda: put(viewer, "annotations/labeled/a.json"))
    assert denied(lambda: viewer.make_bucket("mine"))


def test_each_user_sees_only_the_buckets_it_may_look_at(as_user: Callable[[str], Minio], root: Minio) -> None:
    assert [bucket.name for bucket in as_user("viewer").list_buckets()] == [DOOR]
    assert [bucket.name for bucket in as_user("streaming-analyst").list_buckets()] == ["paimon", "warehouse"]
    assert [bucket.name for bucket in root.list_buckets()] == [DOOR, "checkpoints", "paimon", "warehouse"]


def test_the_pipeline_writes_parquet_in_parts_that_the_analyst_reads(
    server: ServerProcess, secrets: dict[str, str], as_user: Callable[[str], Minio]
) -> None:
    name = "streaming-pipeline"
    pipeline = boto3_client(server.endpoint, aws_access_key_id=name, aws_secret_access_key=secrets[name])
    body = bytes(9 * 1024 * 1024)
    pipeline.upload_fileobj(io.BytesIO(body), "warehouse", "a/part-0.parquet")
    pipeline.put_object(Bucket="checkpoints", Key="1/_metadata", Body=b"x")
    analyst = as_user("streaming-analyst")
    assert get(analyst, "a/part-0.parquet", "warehouse") == body
    assert denied(lambda: get(analyst, "1/_metadata", "checkpoints"))
    with refused("AccessDenied", 403):
        pipeline.put_object(Bucket=DOOR, Key="images/raw/a", Body=b"x")
    pipeline.close()


def test_a_second_init_beside_the_running_server_changes_nothing(
    lake: Path, server: ServerProcess, as_user: Callable[[str], Minio]
) -> None:
    assert server.port
    assert init(lake, "--template", "smart-door") == {}
    assert get(as_user("viewer"), "images/raw/.keep") == b""


def test_a_template_made_beside_the_running_server_counts_at_once(lake: Path, server: ServerProcess) -> None:
    made = init(lake, "--template", "medallion")
    assert set(made) == {"medallion-analyst", "medallion-ingest", "medallion-mlflow", "medallion-transform"}
    name = "medallion-ingest"
    ingest = Minio(server.endpoint.host, access_key=name, secret_key=made[name], secure=False)
    put(ingest, "raw_data_source1/a.csv", b"a,b", "bronze")
    assert get(ingest, "raw_data_source1/a.csv", "bronze") == b"a,b"
    assert denied(lambda: put(ingest, "a.csv", b"a", "gold"))
    assert denied(lambda: ingest.remove_object("bronze", "raw_data_source1/a.csv"))


def test_the_command_line_names_what_is_denied(server: ServerProcess, secrets: dict[str, str]) -> None:
    environment = (
        isolated_environment()
        | replace(server.endpoint, access_key="viewer", secret_key=secrets["viewer"]).environment()
    )
    words = [f"s3://{DOOR}/images/raw/.keep", "--endpoint-url", server.endpoint.url, "--json"]
    for verb in (["rm", "--force"], ["stat"]):
        done = subprocess.run(
            [sys.executable, "-m", "hosu", *verb, *words], env=environment, capture_output=True, text=True, check=False
        )
        first = json.loads(done.stdout.splitlines()[0])
        assert (verb[0], first.get("kind"), done.returncode) in {("rm", "access-denied", 1), ("stat", None, 0)}


def test_no_secret_is_in_the_server_log(server: ServerProcess, secrets: dict[str, str]) -> None:
    log = server.log_path.read_text()
    assert log
    assert not [name for name, secret in secrets.items() if secret in log]

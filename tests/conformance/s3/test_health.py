"""Health checks, and the settings that change which requests a server takes."""

import contextlib
import http.client
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from botocore.config import Config
from botocore.exceptions import ClientError
from tests.support.clients import boto3_client, refused
from tests.support.server import Endpoint, ServerProcess

CHECKS = ["live", "ready", "cluster", "cluster/read"]
WRITING = ["ready", "cluster", "cluster/read"]

pytestmark = pytest.mark.conformance("s3", "Health")


def check(endpoint: Endpoint, name: str, method: str = "HEAD") -> int:
    """Ask as `curl -I` does; a health check has no body either way."""
    connection = http.client.HTTPConnection(endpoint.host, timeout=20)
    connection.request(method, f"/minio/health/{name}")
    answer = connection.getresponse()
    body = answer.read()
    connection.close()
    if method == "HEAD" or answer.status == 200:
        assert body == b""
    return answer.status


def until(condition: Callable[[], bool]) -> None:
    """Wait for what is looked at once a second."""
    for _ in range(1000):
        if condition():
            return
        threading.Event().wait(0.02)
    raise AssertionError("never came true")


@pytest.mark.parametrize("method", ["HEAD", "GET"])
@pytest.mark.parametrize("name", CHECKS)
def test_a_fit_lake_answers_every_check_without_credentials(name: str, method: str, server: Endpoint) -> None:
    assert check(server, name, method) == 200


def test_other_checks_and_methods_are_refused(server: Endpoint) -> None:
    assert check(server, "dead") == 405
    assert check(server, "live", "POST") == 405


@contextlib.contextmanager
def configured(tmp_path: Path, **settings: str) -> Iterator[ServerProcess]:
    with ServerProcess(tmp_path / "lake", tmp_path / "server.log", settings) as process:
        yield process


def test_a_lake_that_cannot_be_written_lives_but_is_not_ready_until_it_can(tmp_path: Path) -> None:
    with configured(tmp_path) as process:
        scratch = process.directory / "tmp"
        scratch.rename(process.directory / "gone")  # what a read-only disk is to anyone but root
        until(lambda: check(process.endpoint, "ready") == 503)
        assert [check(process.endpoint, name) for name in WRITING] == [503, 503, 503]
        assert check(process.endpoint, "live") == 200
        (process.directory / "gone").rename(scratch)
        until(lambda: check(process.endpoint, "ready") == 200)


def test_a_full_disk_is_not_ready_and_refuses_writes_but_reads_and_deletes(tmp_path: Path) -> None:
    with configured(tmp_path) as process:
        s3 = boto3_client(process.endpoint)
        s3.create_bucket(Bucket="kept")
        s3.put_object(Bucket="kept", Key="old", Body=b"old" * 10_000)
        s3.close()
    # A reserve no disk has: the server must be ready to say so rather than fail to start.
    with contextlib.ExitStack() as stack:
        full = ServerProcess(tmp_path / "lake", tmp_path / "server.log", {"HOSU_SPACE_RESERVE_BYTES": str(1 << 60)})
        stack.callback(full.kill)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("tests.support.server.READY_PATH", "/minio/health/live")
            full.start()
        assert [check(full.endpoint, name) for name in CHECKS] == [200, 503, 503, 503]
        s3 = boto3_client(full.endpoint, Config(retries={"total_max_attempts": 1}))
        with pytest.raises(ClientError) as refusal:
            s3.put_object(Bucket="kept", Key="new", Body=b"new" * 10_000)
        assert refusal.value.response["ResponseMetadata"]["HTTPStatusCode"] in {503, 507}
        assert refusal.value.response["Error"]["Code"] != "InternalError"
        assert s3.get_object(Bucket="kept", Key="old")["Body"].read() == b"old" * 10_000
        s3.delete_object(Bucket="kept", Key="old")
        assert "Contents" not in s3.list_objects_v2(Bucket="kept")
        s3.close()


def test_a_server_with_domain_and_region_takes_virtual_hosts_and_only_its_region(tmp_path: Path) -> None:
    settings = {"MINIO_DOMAIN": "s3.example, lake.example", "MINIO_REGION": "ap-northeast-2"}
    with configured(tmp_path, **settings) as process:
        here = Endpoint("http://lake.example", process.access_key, process.secret_key, "ap-northeast-2")
        virtual = boto3_client(here, Config(s3={"addressing_style": "virtual"}))
        hosts = []

        def resolve(request: Any, **_: Any) -> None:
            """Stand in for the name server that an operator sets up with MINIO_DOMAIN."""
            host = urlsplit(request.url).netloc
            hosts.append(host)
            request.headers["Host"] = host
            request.url = request.url.replace(host, process.endpoint.host, 1)

        virtual.meta.events.register("before-send.s3", resolve)
        virtual.create_bucket(Bucket="pictures")
        virtual.put_object(Bucket="pictures", Key="pictures/ä b.jpg", Body=b"lake")
        assert virtual.get_object(Bucket="pictures", Key="pictures/ä b.jpg")["Body"].read() == b"lake"
        assert [entry["Key"] for entry in virtual.list_objects_v2(Bucket="pictures")["Contents"]] == [
            "pictures/ä b.jpg"
        ]
        assert set(hosts[1:]) == {"pictures.lake.example"}
        virtual.close()

        by_path = boto3_client(process.endpoint, region_name="ap-northeast-2")
        assert by_path.get_object(Bucket="pictures", Key="pictures/ä b.jpg")["Body"].read() == b"lake"
        assert by_path.get_bucket_location(Bucket="pictures")["LocationConstraint"] == "ap-northeast-2"
        by_path.close()

        elsewhere = boto3_client(process.endpoint, Config(retries={"total_max_attempts": 1}), region_name="eu-west-1")
        with refused("AuthorizationHeaderMalformed", 400) as refusal:
            elsewhere.list_buckets()
        assert "ap-northeast-2" in str(refusal.value)
        elsewhere.close()

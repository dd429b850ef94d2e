"""S1.11: who did what is written down, whatever happens to the server."""

import json
import os
import random
import signal
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError
from minio import Minio
from tests.support.admin import admin_client
from tests.support.clients import MIB, S3Client, boto3_client, patterned
from tests.support.http import send, signed_headers
from tests.support.server import ROOT_PASSWORD, ROOT_USER, Endpoint, ServerProcess

from hosu.objects.audit import AuditLine
from hosu.objects.audit_query import query
from hosu.objects.audit_switch import set_reads
from hosu.objects.store import ObjectStore

SECONDS_MAX = 30.0
ROUNDS = 20 if os.environ.get("HOSU_NIGHTLY") == "1" else 3
IMPATIENT = Config(retries={"total_max_attempts": 1}, connect_timeout=2, read_timeout=10)
ALICE, ALICE_SECRET = "alice", "alice-secret-12345"


def until(what: str, holds: Callable[[], object]) -> None:
    """Wait until something holds that another process brings about."""
    deadline = time.monotonic() + SECONDS_MAX
    while not holds():
        if time.monotonic() > deadline:
            pytest.fail(f"not within {SECONDS_MAX} s: {what}")
        time.sleep(0.05)


@pytest.fixture
def server(isolated_shell: None, tmp_path: Path) -> Iterator[ServerProcess]:  # noqa: ARG001
    with ServerProcess(tmp_path / "lake", tmp_path / "server.log", {"HOSU_LOG_LEVEL": "DEBUG"}) as process:
        yield process


@pytest.fixture
def s3(server: ServerProcess) -> Iterator[S3Client]:
    client = boto3_client(server.endpoint)
    client.create_bucket(Bucket="gold")
    yield client
    client.close()


@pytest.fixture
def alice(server: ServerProcess, s3: S3Client) -> Iterator[S3Client]:
    """Make a user who may read and write below one prefix."""
    del s3
    admin = admin_client(server.endpoint)
    policy = {
        "Version": "2012-10-17",
        "Statement": [
            {"Effect": "Allow", "Action": ["s3:GetObject", "s3:PutObject"], "Resource": ["arn:aws:s3:::gold/alice/*"]}
        ],
    }
    path = server.directory.parent / "policy.json"
    path.write_text(json.dumps(policy))
    admin.user_add(ALICE, ALICE_SECRET)
    admin.policy_add("alice-only", str(path))
    admin.attach_policy(["alice-only"], user=ALICE)
    client = boto3_client(Endpoint(server.endpoint.url, ALICE, ALICE_SECRET))
    yield client
    client.close()


def lines(server: ServerProcess, **wanted: object) -> list[AuditLine]:
    return list(query(server.directory, **wanted))  # type: ignore[arg-type]


def test_every_change_has_a_line_that_names_who_what_and_from_where(
    server: ServerProcess, s3: S3Client, alice: S3Client
) -> None:
    answer = alice.put_object(Bucket="gold", Key="alice/a", Body=b"12345")
    s3.copy_object(Bucket="gold", Key="copy", CopySource="gold/alice/a")
    s3.put_object_tagging(Bucket="gold", Key="copy", Tagging={"TagSet": [{"Key": "a", "Value": "b"}]})
    s3.delete_object(Bucket="gold", Key="copy")
    (put,) = lines(server, principal=ALICE)
    assert (put.operation, put.action, put.bucket, put.key) == ("s3:PutObject", "s3:PutObject", "gold", "alice/a")
    assert (put.access_key, put.source_ip, put.status, put.bytes) == (ALICE, "127.0.0.1", 200, 5)
    assert put.request_id == answer["ResponseMetadata"]["HTTPHeaders"]["x-amz-request-id"]
    assert "Boto3" in put.user_agent
    assert [line.operation for line in lines(server, bucket="gold", prefix="copy")] == [
        "s3:CopyObject", "s3:PutObjectTagging", "s3:DeleteObject",
    ]  # fmt: skip
    assert {line.principal for line in lines(server, bucket="gold", prefix="copy")} == {ROOT_USER}


def test_a_request_that_changes_nothing_leaves_no_line(server: ServerProcess, s3: S3Client) -> None:
    s3.delete_object(Bucket="gold", Key="never there")
    s3.list_objects_v2(Bucket="gold")
    with pytest.raises(ClientError):
        s3.put_object(Bucket="no-such-bucket", Key="a", Body=b"")
    s3.put_object(Bucket="gold", Key="once", Body=b"", IfNoneMatch="*")
    with pytest.raises(ClientError):
        s3.put_object(Bucket="gold", Key="once", Body=b"", IfNoneMatch="*")
    assert [(line.operation, line.key) for line in lines(server)] == [("s3:CreateBucket", ""), ("s3:PutObject", "once")]


def test_an_upload_in_parts_and_a_delete_of_many_can_be_followed(server: ServerProcess, s3: S3Client) -> None:
    upload = {"Bucket": "gold", "Key": "large"}
    upload["UploadId"] = s3.create_multipart_upload(**upload)["UploadId"]
    etag = s3.upload_part(**upload, PartNumber=1, Body=patterned(5 * MIB))["ETag"]
    s3.complete_multipart_upload(**upload, MultipartUpload={"Parts": [{"PartNumber": 1, "ETag": etag}]})
    s3.put_object(Bucket="gold", Key="small", Body=b"")
    s3.delete_objects(Bucket="gold", Delete={"Objects": [{"Key": name} for name in ("large", "small", "missing")]})
    found = lines(server, bucket="gold")[1:]
    assert [(line.operation, line.key) for line in found] == [
        ("s3:CreateMultipartUpload", "large"), ("s3:UploadPart", "large"), ("s3:CompleteMultipartUpload", "large"),
        ("s3:PutObject", "small"), ("s3:DeleteObjects", "large"), ("s3:DeleteObjects", "small"),
    ]  # fmt: skip
    assert found[2].bytes == 5 * MIB
    assert len({line.request_id for line in found[-2:]}) == 1


def test_what_is_denied_is_written_down(server: ServerProcess, s3: S3Client, alice: S3Client) -> None:
    s3.put_object(Bucket="gold", Key="private", Body=b"")
    with pytest.raises(ClientError):
        alice.get_object(Bucket="gold", Key="private")
    with pytest.raises(ClientError):
        alice.delete_object(Bucket="gold", Key="alice/a")
    send("GET", f"{server.endpoint.url}/gold/private")
    forger = boto3_client(Endpoint(server.endpoint.url, ROOT_USER, "a-wrong-secret"))
    with pytest.raises(ClientError):
        forger.list_buckets()
    forger.close()
    until("four lines", lambda: len(lines(server, denied_only=True)) >= 4)
    found = [
        (line.principal, line.access_key, line.operation, line.key, line.status, line.error)
        for line in lines(server, denied_only=True)
    ]
    assert found == [
        (ALICE, ALICE, "s3:GetObject", "private", 403, "AccessDenied"),
        (ALICE, ALICE, "s3:DeleteObject", "alice/a", 403, "AccessDenied"),
        ("anonymous", "", "s3:GetObject", "private", 403, "AccessDenied"),
        ("anonymous", ROOT_USER, "s3:ListBuckets", "", 403, "SignatureDoesNotMatch"),
    ]


def test_reads_are_written_down_where_a_bucket_wants_it_from_the_next_request_on(
    server: ServerProcess, s3: S3Client
) -> None:
    s3.create_bucket(Bucket="silver")
    for bucket in ("gold", "silver"):
        s3.put_object(Bucket=bucket, Key="a", Body=b"12345")

    def read_all() -> None:
        for bucket in ("gold", "silver"):
            s3.get_object(Bucket=bucket, Key="a")["Body"].read()
            s3.head_object(Bucket=bucket, Key="a")

    read_all()
    with ObjectStore(server.directory) as store:  # as `hosu audit reads` does, beside the server
        store.commit(lambda tx: set_reads(tx, "gold", is_on=True))
    read_all()
    s3.list_objects_v2(Bucket="gold")
    with pytest.raises(ClientError):
        s3.get_object(Bucket="gold", Key="missing")
    with ObjectStore(server.directory) as store:
        store.commit(lambda tx: set_reads(tx, "gold", is_on=False))
    read_all()
    s3.put_object(Bucket="gold", Key="last", Body=b"")
    until("the lines are written", lambda: len(lines(server, operation="s3:GetObject")) == 2)
    reads = [line for line in lines(server) if line.operation.startswith(("s3:Get", "s3:Head", "s3:List"))]
    assert [(line.operation, line.bucket, line.key, line.status) for line in reads] == [
        ("s3:GetObject", "gold", "a", 200), ("s3:HeadObject", "gold", "a", 200),
        ("s3:ListObjectsV2", "gold", "", 200), ("s3:GetObject", "gold", "missing", 404),
    ]  # fmt: skip
    assert [line.bytes for line in reads[:2]] == [5, 0]


def test_changes_of_users_and_policies_are_written_down(server: ServerProcess, alice: S3Client) -> None:
    del alice
    found = [line for line in lines(server) if not line.operation.startswith("s3:")]
    assert len(found) == 3
    assert {line.principal for line in found} == {ROOT_USER}
    assert all(line.operation.startswith("admin:") and line.request_id for line in found)


def test_no_secret_is_in_the_log(server: ServerProcess, s3: S3Client, alice: S3Client) -> None:
    alice.put_object(Bucket="gold", Key="alice/a", Body=b"12345")
    url = s3.generate_presigned_url("put_object", Params={"Bucket": "gold", "Key": "signed"}, ExpiresIn=60)
    assert send("PUT", url, b"x").status == 200
    assert send("GET", url + "x").status == 403
    headers = signed_headers(server.endpoint, "GET", "/gold/alice/a")
    assert send("GET", f"{server.endpoint.url}/gold/alice/a", headers=headers).status == 200
    Minio(
        endpoint=server.endpoint.host, access_key=ALICE, secret_key=ALICE_SECRET, secure=False, region="us-east-1"
    ).stat_object(bucket_name="gold", object_name="alice/a")
    until("denied request is written", lambda: lines(server, denied_only=True))
    until("changes are carried", lambda: b"signed" in written(server))
    signature = url.partition("Signature=")[2].partition("&")[0]
    for secret in (ALICE_SECRET, ROOT_PASSWORD, signature, headers["Authorization"].rpartition("=")[2], "X-Amz-Sig"):
        assert secret.encode() not in written(server), secret


def written(server: ServerProcess) -> bytes:
    return b"".join(path.read_bytes() for path in sorted((server.directory / "audit").glob("*.jsonl")))


def test_changes_reach_the_files_within_seconds_and_leave_the_database(server: ServerProcess, s3: S3Client) -> None:
    s3.put_object(Bucket="gold", Key="a", Body=b"")
    until("both changes are carried", lambda: len(written(server).splitlines()) == 2)
    with ObjectStore(server.directory) as store:
        until("no row is left", lambda: store.view().value("SELECT count(*) FROM audit_outbox") == 0)


def test_each_acknowledged_change_has_its_line_after_kill_9(tmp_path: Path) -> None:
    chance = random.Random(os.environ.get("HOSU_SEED", "audit"))
    acknowledged: set[str] = set()
    for turn in range(ROUNDS):
        server = ServerProcess(tmp_path / "lake", tmp_path / "server.log").start()
        client = boto3_client(server.endpoint, IMPATIENT)
        try:
            if turn == 0:
                client.create_bucket(Bucket="gold")
            stop = threading.Timer(chance.uniform(0.3, 1.6), server.kill)
            stop.start()
            number = 0
            while True:
                number += 1
                key = f"{turn}/{number}"
                request_id = client.put_object(Bucket="gold", Key=key, Body=b"x")["ResponseMetadata"]["RequestId"]
                acknowledged.add(f"{key} {request_id}")
        except (BotoCoreError, ClientError):
            stop.join()
        finally:
            client.close()
            server.kill()
        found = [f"{line.key} {line.request_id}" for line in query(tmp_path / "lake", operation="s3:PutObject")]
        assert len(set(found)) == len(found), "a line is shown twice"
        assert acknowledged <= set(found), "an acknowledged change has no line"
    assert len(acknowledged) > 20, "the servers were killed before they did anything"


def test_a_server_that_is_stopped_has_written_everything(server: ServerProcess, s3: S3Client) -> None:
    s3.put_object(Bucket="gold", Key="last", Body=b"")
    with pytest.raises(ClientError):
        boto3_client(Endpoint(server.endpoint.url, "nobody-at-all", "nothing-at-all")).list_buckets()
    os.kill(server.pid, signal.SIGTERM)
    assert server._process is not None
    server._process.wait(30)
    keys = [json.loads(line).get("key", "") for line in written(server).splitlines()]
    assert "last" in keys
    assert any(json.loads(line).get("decision") == "denied" for line in written(server).splitlines())


def test_nothing_is_written_where_the_operator_has_switched_it_off(tmp_path: Path) -> None:
    with ServerProcess(tmp_path / "lake", tmp_path / "server.log", {"HOSU_AUDIT": "false"}) as server:
        client = boto3_client(server.endpoint)
        client.create_bucket(Bucket="gold")
        send("GET", f"{server.endpoint.url}/gold")
        client.close()
    assert lines(server) == []
    assert not (server.directory / "audit").exists()

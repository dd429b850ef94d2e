"""Read after write and list after write, across connections and across processes."""

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest
from tests.support.clients import S3Client, boto3_client, keys_of, refused_head
from tests.support.server import Endpoint

ROUNDS = 25

OTHER_PROCESS = """
import sys, boto3
bucket = sys.argv[1]
s3 = boto3.client("s3")
for line in sys.stdin:
    verb, key, body = line.rstrip("\\n").split(" ")
    if verb == "put":
        s3.put_object(Bucket=bucket, Key=key, Body=body.encode())
        print("done", flush=True)
    elif verb == "get":
        print(s3.get_object(Bucket=bucket, Key=key)["Body"].read().decode(), flush=True)
    elif verb == "list":
        print(",".join(entry["Key"] for entry in s3.list_objects_v2(Bucket=bucket).get("Contents", [])), flush=True)
"""


@pytest.mark.conformance("s3", "GetObject")
def test_another_connection_sees_a_write_at_once(s3: S3Client, other_s3: S3Client, bucket: str) -> None:
    for number in range(ROUNDS):
        body = str(number).encode()
        etag = s3.put_object(Bucket=bucket, Key="k", Body=body)["ETag"]
        got = other_s3.get_object(Bucket=bucket, Key="k")
        assert (got["Body"].read(), got["ETag"]) == (body, etag)
        assert [entry["ETag"] for entry in other_s3.list_objects_v2(Bucket=bucket)["Contents"]] == [etag]


@pytest.mark.conformance("s3", "ListObjectsV2")
def test_another_connection_lists_and_unlists_at_once(s3: S3Client, other_s3: S3Client, bucket: str) -> None:
    expected: list[str] = []
    for number in range(ROUNDS):
        key = f"{number:03}"
        s3.put_object(Bucket=bucket, Key=key, Body=b"")
        expected.append(key)
        if number % 3 == 2:
            s3.delete_object(Bucket=bucket, Key=expected.pop(0))
        assert keys_of(other_s3.list_objects_v2(Bucket=bucket)) == expected


@pytest.mark.conformance("s3", "HeadObject")
def test_a_miss_is_not_remembered(s3: S3Client, other_s3: S3Client, bucket: str) -> None:
    for number in range(5):
        with refused_head(404):
            other_s3.head_object(Bucket=bucket, Key=str(number))
        s3.put_object(Bucket=bucket, Key=str(number), Body=b"now")
        assert other_s3.head_object(Bucket=bucket, Key=str(number))["ContentLength"] == 3


@pytest.mark.conformance("s3", "CreateBucket")
def test_a_new_bucket_is_usable_on_every_connection_at_once(server: Endpoint, s3: S3Client, bucket_name: str) -> None:
    clients = [boto3_client(server) for _ in range(6)]
    s3.create_bucket(Bucket=bucket_name)
    with ThreadPoolExecutor(6) as pool:
        list(pool.map(lambda i: clients[i].put_object(Bucket=bucket_name, Key=str(i), Body=b""), range(6)))
    assert keys_of(s3.list_objects_v2(Bucket=bucket_name)) == [str(i) for i in range(6)]
    s3.delete_objects(Bucket=bucket_name, Delete={"Objects": [{"Key": str(i)} for i in range(6)]})
    s3.delete_bucket(Bucket=bucket_name)
    for client in clients:
        with refused_head(404):
            client.head_bucket(Bucket=bucket_name)
        client.close()


@pytest.mark.conformance("s3", "GetObject")
def test_a_reader_sees_the_old_or_the_new_body_never_a_mix(s3: S3Client, bucket: str) -> None:
    bodies = {bytes([letter]) * (400_000 + letter) for letter in b"abcd"}
    s3.put_object(Bucket=bucket, Key="k", Body=min(bodies))

    def read() -> bytes:
        body: bytes = s3.get_object(Bucket=bucket, Key="k")["Body"].read()
        return body

    with ThreadPoolExecutor(4) as pool:
        writes = [pool.submit(s3.put_object, Bucket=bucket, Key="k", Body=body) for body in bodies for _ in range(4)]
        reads = [pool.submit(read) for _ in range(24)]
    assert all(write.result()["ETag"] for write in writes)
    assert {read.result() for read in reads} <= bodies


@pytest.mark.conformance("s3", "PutObject")
def test_another_process_reads_and_writes_the_same_state(server: Endpoint, s3: S3Client, bucket: str) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", OTHER_PROCESS, bucket],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        bufsize=1,
        env=os.environ | server.environment(),
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None

        def other(verb: str, key: str = "-", body: str = "-") -> str:
            assert process.stdin is not None
            assert process.stdout is not None
            process.stdin.write(f"{verb} {key} {body}\n")
            return process.stdout.readline().rstrip("\n")

        for number in range(8):
            s3.put_object(Bucket=bucket, Key="ours", Body=str(number).encode())
            assert other("get", "ours") == str(number)
            assert other("put", "theirs", f"body-{number}") == "done"
            assert s3.get_object(Bucket=bucket, Key="theirs")["Body"].read() == f"body-{number}".encode()
            assert other("list") == "ours,theirs"
            s3.delete_object(Bucket=bucket, Key="theirs")
            assert other("list") == "ours"
        process.stdin.close()

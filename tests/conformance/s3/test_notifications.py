"""Bucket notifications through stock clients: configured, delivered to a webhook, listened to."""

import contextlib
import io
import json
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import minio
import pytest
from botocore.exceptions import ClientError
from minio.notificationconfig import NotificationConfig, PrefixFilterRule, QueueConfig, SuffixFilterRule
from tests.support.clients import S3Client, boto3_client, empty_bucket
from tests.support.hook import Hook, hooking, until
from tests.support.server import Endpoint, ServerProcess, external_endpoint
from tests.support.users import allow, make_user

import hosu

pytestmark = pytest.mark.skipif(external_endpoint() is not None, reason="the server's settings are not at hand")

ARN = "arn:minio:sqs::PRIMARY:webhook"
OTHER = "arn:minio:sqs::OTHER:webhook"
OFF = "arn:minio:sqs::OFF:webhook"


@pytest.fixture(scope="module")
def hook() -> Iterator[Hook]:
    with hooking() as made:
        yield made


@pytest.fixture(scope="module")
def other_hook() -> Iterator[Hook]:
    with hooking() as made:
        yield made


@pytest.fixture(scope="module")
def process(hook: Hook, other_hook: Hook, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    """Serve a lake that can tell two webhooks."""
    folder = tmp_path_factory.mktemp("notified")
    settings = {
        "MINIO_NOTIFY_WEBHOOK_ENABLE_PRIMARY": "on",
        "MINIO_NOTIFY_WEBHOOK_ENDPOINT_PRIMARY": hook.url,
        "MINIO_NOTIFY_WEBHOOK_AUTH_TOKEN_PRIMARY": "hook-token",
        "MINIO_NOTIFY_WEBHOOK_ENABLE_OTHER": "on",
        "MINIO_NOTIFY_WEBHOOK_ENDPOINT_OTHER": other_hook.url,
        "MINIO_NOTIFY_WEBHOOK_ENABLE_OFF": "off",
        "MINIO_NOTIFY_WEBHOOK_ENDPOINT_OFF": hook.url,
    }
    with ServerProcess(folder / "lake", folder / "server.log", settings=settings) as started:
        yield started


@pytest.fixture
def told(process: ServerProcess) -> Endpoint:
    return process.endpoint


@pytest.fixture
def client(told: Endpoint) -> Iterator[S3Client]:
    made = boto3_client(told)
    yield made
    made.close()


@pytest.fixture
def minio_client(told: Endpoint) -> Any:
    return minio.Minio(told.host, told.access_key, told.secret_key, secure=False, region=told.region)


@pytest.fixture
def bucket(client: S3Client, bucket_name: str) -> Iterator[str]:
    client.create_bucket(Bucket=bucket_name)
    yield bucket_name
    empty_bucket(client, bucket_name)
    client.delete_bucket(Bucket=bucket_name)


def queue(*events: str, arn: str = ARN, **keys: str) -> Any:
    found: dict[str, Any] = {"QueueArn": arn, "Events": list(events or ("s3:ObjectCreated:*",))}
    if keys:
        rules = [{"Name": name, "Value": value} for name, value in keys.items()]
        found["Filter"] = {"Key": {"FilterRules": rules}}
    return found


def configure(client: S3Client, bucket: str, *queues: Any, **others: Any) -> None:
    configuration = {"QueueConfigurations": list(queues), **others}
    client.put_bucket_notification_configuration(
        Bucket=bucket, NotificationConfiguration=configuration, SkipDestinationValidation=True
    )


def refusal(client: S3Client, bucket: str, *queues: Any, **others: Any) -> tuple[str, str]:
    with pytest.raises(ClientError) as refused:
        configure(client, bucket, *queues, **others)
    error = refused.value.response["Error"]
    return error["Code"], error["Message"]


def names(hook: Hook, bucket: str) -> list[tuple[str, str]]:
    return [(name, path.partition("/")[2]) for name, path in hook.told if path.startswith(f"{bucket}/")]


def test_what_is_configured_is_read_back(client: S3Client, bucket: str) -> None:
    assert "QueueConfigurations" not in client.get_bucket_notification_configuration(Bucket=bucket)
    rule = queue("s3:ObjectCreated:Put", "s3:ObjectRemoved:*", prefix="in/ & out/", suffix=".jpg") | {"Id": "mine"}
    configure(client, bucket, rule)
    found = client.get_bucket_notification_configuration(Bucket=bucket)["QueueConfigurations"]
    assert found == [rule]
    configure(client, bucket)
    assert "QueueConfigurations" not in client.get_bucket_notification_configuration(Bucket=bucket)


def test_a_webhook_is_told_of_every_kind_of_change(client: S3Client, bucket: str, hook: Hook) -> None:
    configure(client, bucket, queue("s3:ObjectCreated:*", "s3:ObjectRemoved:*", "s3:ObjectTagging:*"))
    client.put_object(Bucket=bucket, Key="a", Body=b"abc", ContentType="text/plain", Metadata={"camera": "door"})
    client.copy_object(Bucket=bucket, Key="b", CopySource={"Bucket": bucket, "Key": "a"})
    upload = client.create_multipart_upload(Bucket=bucket, Key="c")["UploadId"]
    part = client.upload_part(Bucket=bucket, Key="c", UploadId=upload, PartNumber=1, Body=b"part")
    parts = [{"PartNumber": 1, "ETag": part["ETag"]}]
    client.complete_multipart_upload(
        Bucket=bucket,
        Key="c",
        UploadId=upload,
        MultipartUpload={"Parts": parts},
    )
    tags = {"TagSet": [{"Key": "k", "Value": "v"}]}
    client.put_object_tagging(Bucket=bucket, Key="a", Tagging=tags)
    client.delete_object_tagging(Bucket=bucket, Key="a")
    client.delete_objects(Bucket=bucket, Delete={"Objects": [{"Key": "b"}, {"Key": "c"}]})
    client.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
    marker = client.delete_object(Bucket=bucket, Key="a")["VersionId"]
    client.delete_object(Bucket=bucket, Key="a", VersionId=marker)
    expected = [
        ("s3:ObjectCreated:Put", "a"),
        ("s3:ObjectCreated:Copy", "b"),
        ("s3:ObjectCreated:CompleteMultipartUpload", "c"),
        ("s3:ObjectTagging:Put", "a"),
        ("s3:ObjectTagging:Delete", "a"),
        ("s3:ObjectRemoved:Delete", "b"),
        ("s3:ObjectRemoved:Delete", "c"),
        ("s3:ObjectRemoved:DeleteMarkerCreated", "a"),
        ("s3:ObjectRemoved:Delete", "a"),
    ]
    until(lambda: len(names(hook, bucket)) == len(expected))
    assert sorted(names(hook, bucket)) == sorted(expected)
    for key in "abc":
        of_key = [each for each in expected if each[1] == key]
        assert [each for each in names(hook, bucket) if each[1] == key] == of_key


def test_an_event_says_what_happened_to_what_and_by_whom(client: S3Client, bucket: str, hook: Hook) -> None:
    configure(client, bucket, queue() | {"Id": "mine"})
    client.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
    answer = client.put_object(
        Bucket=bucket, Key="in/a b+é.txt", Body=b"abc", ContentType="text/plain", Metadata={"camera": "door"}
    )
    until(lambda: names(hook, bucket))
    _, headers, body = next(each for each in hook.requests if each[2]["Key"].startswith(f"{bucket}/"))
    assert headers["authorization"] == "Bearer hook-token"
    assert body["Key"] == f"{bucket}/in/a b+é.txt"
    record = body["Records"][0]
    assert record["eventVersion"] == "2.0"
    assert record["userIdentity"]["principalId"] == "conformance"
    assert record["requestParameters"]["sourceIPAddress"] == "127.0.0.1"
    assert record["responseElements"]["x-amz-request-id"] == answer["ResponseMetadata"]["RequestId"]
    assert record["responseElements"]["x-minio-origin-endpoint"].startswith("http://127.0.0.1:")
    assert record["s3"]["configurationId"] == "mine"
    assert record["s3"]["bucket"] == {
        "name": bucket, "ownerIdentity": {"principalId": "conformance"}, "arn": f"arn:aws:s3:::{bucket}",
    }  # fmt: skip
    told = dict(record["s3"]["object"])
    assert len(told.pop("sequencer")) == 16
    assert told == {
        "key": "in%2Fa+b%2B%C3%A9.txt",
        "size": 3,
        "eTag": answer["ETag"].strip('"'),
        "contentType": "text/plain",
        "userMetadata": {"content-type": "text/plain", "X-Amz-Meta-Camera": "door"},
        "versionId": answer["VersionId"],
    }


def test_prefix_and_suffix_choose_the_keys_and_two_targets_hear_alike(
    client: S3Client, bucket: str, hook: Hook, other_hook: Hook
) -> None:
    configure(client, bucket, queue(prefix="in/", suffix=".jpg"), queue(arn=OTHER, prefix="in/"))
    for key in ("in/a.jpg", "in/a.png", "out/a.jpg"):
        client.put_object(Bucket=bucket, Key=key, Body=b"x")
    until(lambda: names(hook, bucket) and len(names(other_hook, bucket)) == 2)
    assert names(hook, bucket) == [("s3:ObjectCreated:Put", "in/a.jpg")]
    assert sorted(names(other_hook, bucket)) == [("s3:ObjectCreated:Put", f"in/a.{end}") for end in ("jpg", "png")]


def test_reads_are_told_where_a_rule_asks_for_them(client: S3Client, bucket: str, hook: Hook) -> None:
    client.put_object(Bucket=bucket, Key="a", Body=b"abc")
    client.get_object(Bucket=bucket, Key="a")
    configure(client, bucket, queue("s3:ObjectAccessed:*"))
    client.get_object(Bucket=bucket, Key="a")["Body"].read()
    client.head_object(Bucket=bucket, Key="a")
    with contextlib.suppress(ClientError):
        client.head_object(Bucket=bucket, Key="missing")
    until(lambda: len(names(hook, bucket)) == 2)
    assert names(hook, bucket) == [("s3:ObjectAccessed:Get", "a"), ("s3:ObjectAccessed:Head", "a")]
    sizes = [body["Records"][0]["s3"]["object"]["size"] for body in hook.events if body["Key"] == f"{bucket}/a"]
    assert sizes == [3, 3]


def test_minio_py_configures_and_reads_back(minio_client: Any, bucket: str, hook: Hook) -> None:
    config = NotificationConfig(
        queue_config_list=[
            QueueConfig(
                queue=ARN, events=["s3:ObjectCreated:*"], config_id="door",
                prefix_filter_rule=PrefixFilterRule("raw/"), suffix_filter_rule=SuffixFilterRule(".jpg"),
            )
        ]
    )  # fmt: skip
    minio_client.set_bucket_notification(bucket, config)
    found = minio_client.get_bucket_notification(bucket).queue_config_list[0]
    assert (found.queue, found.config_id, found.events) == (ARN, "door", ["s3:ObjectCreated:*"])
    minio_client.put_object(bucket, "raw/1.jpg", io.BytesIO(b"x"), 1)
    until(lambda: names(hook, bucket))
    minio_client.delete_bucket_notification(bucket)
    assert minio_client.get_bucket_notification(bucket).queue_config_list in (None, [])


# What is refused


@pytest.mark.parametrize("arn", ["arn:minio:sqs::MISSING:webhook", OFF, "arn:minio:sqs::PRIMARY:amqp", "arn:aws:sqs:x"])
def test_a_target_that_is_not_configured_is_refused(client: S3Client, bucket: str, arn: str) -> None:
    code, message = refusal(client, bucket, queue(arn=arn))
    assert code == "InvalidArgument"
    assert message.startswith("A specified destination ARN does not exist or is not well-formed")
    assert "QueueConfigurations" not in client.get_bucket_notification_configuration(Bucket=bucket)


def test_an_event_that_is_none_is_refused(client: S3Client, bucket: str) -> None:
    code, message = refusal(client, bucket, queue("s3:ObjectCreated:Guessed"))
    assert (code, message) == ("InvalidArgument", "A specified event is not supported for notifications.")


def test_rules_that_overlap_are_refused(client: S3Client, bucket: str) -> None:
    code, message = refusal(
        client, bucket, queue("s3:ObjectCreated:*", prefix="a/"), queue("s3:ObjectCreated:Put", prefix="a/b/")
    )
    assert code == "InvalidArgument"
    assert "overlapping" in message
    configure(client, bucket, queue(prefix="a/", suffix=".jpg"), queue(prefix="a/b/", suffix=".png"))


def test_topics_and_functions_are_refused_by_name(client: S3Client, bucket: str) -> None:
    topic = {"TopicArn": "arn:aws:sns:us-east-1:1:t", "Events": ["s3:ObjectCreated:*"]}
    code, message = refusal(client, bucket, TopicConfigurations=[topic])
    assert (code, "TopicConfiguration" in message) == ("NotImplemented", True)
    function = {"LambdaFunctionArn": "arn:aws:lambda:us-east-1:1:function:f", "Events": ["s3:ObjectCreated:*"]}
    assert refusal(client, bucket, LambdaFunctionConfigurations=[function])[0] == "NotImplemented"
    assert refusal(client, bucket, EventBridgeConfiguration={})[0] == "NotImplemented"


@pytest.mark.parametrize("name", ["middle", "prefix"])
def test_a_filter_that_makes_no_sense_is_refused(client: S3Client, bucket: str, name: str) -> None:
    rules = [{"Name": "prefix", "Value": "a"}, {"Name": name, "Value": "b"}]
    broken = queue() | {"Filter": {"Key": {"FilterRules": rules}}}
    assert refusal(client, bucket, broken)[0] == "InvalidArgument"


# Listening


class Listening:
    """A client that listens in a thread."""

    def __init__(self, events: Any) -> None:
        self.records: list[Any] = []
        self._events = events
        self._thread = threading.Thread(target=self._listen, daemon=True)
        self._thread.start()

    def _listen(self) -> None:
        with contextlib.suppress(Exception):  # closed under it
            for event in self._events:
                self.records += event["Records"]

    @property
    def names(self) -> list[tuple[str, str]]:
        return [(record["eventName"], record["s3"]["object"]["key"]) for record in self.records]


def listen(minio_client: Any, client: S3Client, bucket: str, *events: str, **keys: str) -> Listening:
    listening = Listening(minio_client.listen_bucket_notification(bucket, events=events, **keys))
    probe = f"{keys.get('prefix', '')}probe{keys.get('suffix', '')}"

    def is_listening() -> bool:
        client.put_object(Bucket=bucket, Key=probe, Body=b"")
        return bool(listening.records)

    until(is_listening)
    return listening


def test_minio_py_listens_to_what_it_asks_for(minio_client: Any, client: S3Client, bucket: str) -> None:
    listening = listen(minio_client, client, bucket, "s3:ObjectCreated:*", "s3:ObjectAccessed:Get", prefix="in/")
    for key in ("out/a", "in/a", "in/b"):
        client.put_object(Bucket=bucket, Key=key, Body=b"abc")
    client.get_object(Bucket=bucket, Key="in/a")["Body"].read()
    client.head_object(Bucket=bucket, Key="in/a")
    client.delete_object(Bucket=bucket, Key="in/b")
    client.put_object(Bucket=bucket, Key="in/last", Body=b"")
    until(lambda: ("s3:ObjectCreated:Put", "in%2Flast") in listening.names)
    until(lambda: ("s3:ObjectAccessed:Get", "in%2Fa") in listening.names)
    found = [each for each in listening.names if "probe" not in each[1]]
    assert sorted(found) == sorted(
        [
            ("s3:ObjectCreated:Put", "in%2Fa"),
            ("s3:ObjectCreated:Put", "in%2Fb"),
            ("s3:ObjectAccessed:Get", "in%2Fa"),
            ("s3:ObjectCreated:Put", "in%2Flast"),
        ]
    )


def stream(endpoint: Endpoint, path: str, key: tuple[str, str] | None = None) -> Any:
    """Open a signed GET and return its answer, whose body has no end."""
    from botocore.auth import SigV4Auth
    from botocore.awsrequest import AWSRequest
    from botocore.credentials import Credentials

    access, secret = key or (endpoint.access_key, endpoint.secret_key)
    request = AWSRequest("GET", f"{endpoint.url}{path}", headers={"x-amz-content-sha256": "UNSIGNED-PAYLOAD"})
    SigV4Auth(Credentials(access, secret), "s3", endpoint.region).add_auth(request)
    import urllib3

    return urllib3.PoolManager().request(
        "GET", str(request.url), headers=dict(request.headers), preload_content=False, timeout=20, retries=False
    )


def test_all_buckets_can_be_listened_to_and_a_ping_is_a_line(told: Endpoint, client: S3Client, bucket: str) -> None:
    answer = stream(told, "/?events=s3%3AObjectCreated%3A%2A&events=s3%3AObjectRemoved%3A%2A&ping=1")
    assert answer.status == 200
    assert answer.headers["content-type"] == "text/event-stream"
    assert json.loads(answer.readline()) == {"Records": None}
    client.put_object(Bucket=bucket, Key="a", Body=b"abc")
    client.delete_object(Bucket=bucket, Key="a")
    found: list[Any] = []
    while len(found) < 2:
        found += json.loads(answer.readline())["Records"] or []
    assert [record["eventName"] for record in found] == ["s3:ObjectCreated:Put", "s3:ObjectRemoved:Delete"]
    assert {record["s3"]["bucket"]["name"] for record in found} == {bucket}
    answer.close()


@pytest.mark.parametrize("query", ["events=s3%3AGuessed", "events=", "events=s3%3AObjectCreated%3A%2A&ping=x"])
def test_what_cannot_be_listened_to_is_refused(told: Endpoint, bucket: str, query: str) -> None:
    answer = stream(told, f"/{bucket}?{query}")
    assert answer.status == 400
    assert b"<Code>InvalidArgument</Code>" in answer.read()


def test_nobody_listens_without_permission(told: Endpoint, bucket: str) -> None:
    host, _, port = told.host.partition(":")
    for path in (f"/{bucket}?events=s3:ObjectCreated:*", "/?events=s3:ObjectCreated:*"):
        with socket.create_connection((host, int(port)), 5) as raw:
            raw.sendall(f"GET {path} HTTP/1.1\r\nHost: {told.host}\r\nConnection: close\r\n\r\n".encode())
            assert raw.recv(100).startswith(b"HTTP/1.1 403")


def test_of_all_buckets_those_are_heard_that_may_be_listened_to(
    process: ServerProcess, client: S3Client, bucket: str
) -> None:
    hidden = f"{bucket}-hidden"
    client.create_bucket(Bucket=hidden)
    user = make_user(
        process.directory,
        process.endpoint,
        allow("s3:ListenNotification", "*"),
        allow("s3:ListenBucketNotification", bucket),
    )
    key = (user.access_key, user.secret_key)
    assert stream(user, f"/{hidden}?events=s3%3AObjectCreated%3A%2A", key).status == 403
    answer = stream(user, "/?events=s3%3AObjectCreated%3A%2A", key)
    assert answer.status == 200
    for name in (hidden, bucket, hidden, bucket):
        client.put_object(Bucket=name, Key="a", Body=b"abc")
    lines = [json.loads(answer.readline()) for _ in range(2)]
    assert [line["Records"][0]["s3"]["bucket"]["name"] for line in lines] == [bucket, bucket]
    with hosu.open(process.directory) as lake:
        lake.users.remove(user.access_key)
    client.put_object(Bucket=bucket, Key="a", Body=b"abc")
    assert json.loads(answer.readline())["Records"] is None
    assert answer.readline() == b""
    empty_bucket(client, hidden)
    client.delete_bucket(Bucket=hidden)


def test_a_stop_of_the_server_ends_the_streams(tmp_path: Path) -> None:
    with ServerProcess(tmp_path / "lake", tmp_path / "server.log") as server:
        answer = stream(server.endpoint, "/?events=s3%3AObjectCreated%3A%2A")
        assert server.stop() == 0
        assert answer.read() == b""


def test_a_bucket_that_is_not_there_cannot_be_listened_to(told: Endpoint) -> None:
    answer = stream(told, "/no-such-bucket?events=s3%3AObjectCreated%3A%2A")
    assert (answer.status, b"NoSuchBucket" in answer.read()) == (404, True)

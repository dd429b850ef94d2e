"""The keeper, or the whole server, is killed while it delivers events: none is lost, each object's are in order."""

import contextlib
import json
import os
import signal
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from botocore.exceptions import BotoCoreError, ClientError
from tests.support.clients import S3Client, boto3_client
from tests.support.hook import Hook, hooking, until
from tests.support.server import ServerProcess

BUCKET = "kill"
ROUNDS = 10 if os.environ.get("HOSU_NIGHTLY") == "1" else 2
WRITERS, PUTS, KEYS = 4, 30, 5


def settings_for(hook: Hook) -> dict[str, str]:
    return {
        "MINIO_NOTIFY_WEBHOOK_ENABLE_A": "on",
        "MINIO_NOTIFY_WEBHOOK_ENDPOINT_A": hook.url,
        "MINIO_NOTIFY_REDIS_ENABLE_DEAD": "on",
        "MINIO_NOTIFY_REDIS_ADDRESS_DEAD": "127.0.0.1:1",
        "MINIO_NOTIFY_REDIS_KEY_DEAD": "events",
    }


def configure(client: S3Client) -> None:
    client.create_bucket(Bucket=BUCKET)
    queues = [
        {"QueueArn": arn, "Events": ["s3:ObjectCreated:*"]}
        for arn in ("arn:minio:sqs::A:webhook", "arn:minio:sqs::DEAD:redis")
    ]
    client.put_bucket_notification_configuration(
        Bucket=BUCKET,
        NotificationConfiguration={"QueueConfigurations": queues},
    )


def keeper_of(server: ServerProcess) -> int:
    """Return the keeper's process id, once it has said it."""
    path = server.directory / "tmp" / "metrics" / "keeper.json"

    def pid() -> int:
        with contextlib.suppress(OSError, ValueError):
            return int(json.loads(path.read_text())["pid"])
        return 0

    until(pid)
    return pid()


def write(server: ServerProcess, writer: int, acknowledged: list[str]) -> None:
    """Put objects until the server is gone, and remember the ETags of those that it acknowledged."""
    client = boto3_client(server.endpoint)
    for number in range(PUTS):
        try:
            answer = client.put_object(
                Bucket=BUCKET, Key=f"{writer}/{number % KEYS}", Body=f"{writer}/{number}".encode()
            )
        except (BotoCoreError, ClientError):
            break
        acknowledged.append(answer["ETag"].strip('"'))
    client.close()


def arrived(hook: Hook) -> list[str]:
    return [body["Records"][0]["s3"]["object"]["eTag"] for body in hook.events]


def check_order(hook: Hook) -> None:
    by_key: dict[str, list[str]] = {}
    for body in hook.events:
        by_key.setdefault(body["Key"], []).append(body["Records"][0]["s3"]["object"]["sequencer"])
    for seqs in by_key.values():
        first_times = list(dict.fromkeys(seqs))
        assert first_times == sorted(first_times)


def killing(hook: Hook, kill: Callable[[], None], at: int) -> Callable[[], None]:
    """Return what kills once so many events have arrived: then some are delivered and not acknowledged."""

    def work() -> None:
        until(lambda: len(hook.requests) >= at)
        kill()

    return work


@pytest.mark.parametrize("round_", range(ROUNDS))
def test_killing_the_keeper_loses_no_event(round_: int, tmp_path: Path) -> None:
    acknowledged: list[str] = []
    with (
        hooking() as hook,
        ServerProcess(tmp_path / "lake", tmp_path / "log", settings=settings_for(hook)) as server,
        ThreadPoolExecutor(WRITERS) as pool,
    ):
        client = boto3_client(server.endpoint)
        configure(client)
        client.put_object(Bucket=BUCKET, Key="first", Body=b"first")
        pid = keeper_of(server)
        at = len(hook.requests) + 10 + 20 * round_
        killer = threading.Thread(target=killing(hook, lambda: os.kill(pid, signal.SIGKILL), at))
        killer.start()
        list(pool.map(lambda writer: write(server, writer, acknowledged), range(WRITERS)))
        killer.join()
        assert len(acknowledged) == WRITERS * PUTS
        until(lambda: set(acknowledged) <= set(arrived(hook)))
        check_order(hook)
        client.close()


@pytest.mark.parametrize("round_", range(ROUNDS))
def test_killing_the_server_loses_no_event_of_what_it_acknowledged(round_: int, tmp_path: Path) -> None:
    acknowledged: list[str] = []
    with hooking() as hook:
        server = ServerProcess(tmp_path / "lake", tmp_path / "log", settings=settings_for(hook)).start()
        try:
            client = boto3_client(server.endpoint)
            configure(client)
            client.close()
            with ThreadPoolExecutor(WRITERS) as pool:
                killer = threading.Thread(target=killing(hook, server.kill, 5 + 20 * round_))
                killer.start()
                list(pool.map(lambda writer: write(server, writer, acknowledged), range(WRITERS)))
                killer.join()
            server.start()
            until(lambda: set(acknowledged) <= set(arrived(hook)))
            check_order(hook)
        finally:
            server.kill()

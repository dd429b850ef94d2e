"""Events to a real Redis, in the three shapes it can keep them in."""

import json
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from typing import Any

import pytest
import redis
from tests.support.server import free_port

from hosu.kernel.notify import RedisTarget
from hosu.rules.events.sending import DeliveryError
from hosu.server.notify.redis import RedisSender

pytestmark = pytest.mark.needs("redis-server")

PASSWORD = "redis-secret"
READY_SECONDS_MAX = 10.0


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    program = shutil.which("redis-server")
    if program is None:
        pytest.skip("needs redis-server")
    port, folder = free_port(), tmp_path_factory.mktemp("redis")
    process = subprocess.Popen(
        [program, "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--requirepass", PASSWORD,
         "--dir", str(folder)],
        stdout=subprocess.DEVNULL,
    )  # fmt: skip
    _wait(port, process)
    yield f"127.0.0.1:{port}"
    process.terminate()
    process.wait(10)


def _wait(port: int, process: subprocess.Popen[bytes]) -> None:
    end_s = time.monotonic() + READY_SECONDS_MAX
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
        except OSError:
            assert process.poll() is None, "redis-server ended"
            assert time.monotonic() < end_s, "redis-server does not start"
            time.sleep(0.02)
        else:
            return


@pytest.fixture
def client(address: str) -> Iterator["redis.Redis"]:
    host, _, port = address.partition(":")
    made = redis.Redis(host=host, port=int(port), password=PASSWORD, decode_responses=True)
    made.flushall()
    yield made
    made.close()


def target(address: str, shape: str, **fields: Any) -> RedisTarget:
    return RedisTarget(address=address, key="events", format=shape, password=PASSWORD, **fields)


def test_access_appends_every_event_to_a_list(address: str, client: Any, message: Any) -> None:
    sender = RedisSender(target(address, "access"))
    sender.send([message("a"), message("b"), message("a", "s3:ObjectRemoved:Delete")])
    sender.close()
    told = [json.loads(line)[0] for line in client.lrange("events", 0, -1)]
    assert [(each["Event"][0]["eventName"], each["Event"][0]["s3"]["object"]["key"]) for each in told] == [
        ("s3:ObjectCreated:Put", "a"),
        ("s3:ObjectCreated:Put", "b"),
        ("s3:ObjectRemoved:Delete", "a"),
    ]
    assert told[0]["EventTime"] == told[0]["Event"][0]["eventTime"]


def test_namespace_keeps_the_latest_event_of_what_is_there(address: str, client: Any, message: Any) -> None:
    sender = RedisSender(target(address, "namespace"))
    sender.send([message("a"), message("b"), message("a", "s3:ObjectRemoved:Delete")])
    sender.close()
    found = client.hgetall("events")
    assert list(found) == ["images/b"]
    assert json.loads(found["images/b"])["Records"][0]["s3"]["object"]["key"] == "b"


def test_stream_adds_every_event_to_a_stream(address: str, client: Any, message: Any) -> None:
    sender = RedisSender(target(address, "stream"))
    sender.send([message("a"), message("b")])
    sender.close()
    entries = [fields for _, fields in client.xrange("events")]
    assert [(fields["EventName"], fields["Key"]) for fields in entries] == [
        ("s3:ObjectCreated:Put", "images/a"),
        ("s3:ObjectCreated:Put", "images/b"),
    ]
    assert json.loads(entries[0]["body"])["Key"] == "images/a"


def test_what_redis_refuses_arrives_not_even_in_part(address: str, client: Any, message: Any) -> None:
    client.set("events", "no list")
    sender = RedisSender(target(address, "access"))
    with pytest.raises(DeliveryError, match="WRONGTYPE"):
        sender.send([message("a"), message("b")])
    client.delete("events")
    sender.send([message("a"), message("b")])
    sender.close()
    assert client.llen("events") == 2


def test_a_wrong_password_is_told_without_it(address: str, message: Any) -> None:
    sender = RedisSender(RedisTarget(address=address, key="events", format="access", password="guessed-wrong"))
    with pytest.raises(DeliveryError) as refused:
        sender.send([message("a")])
    sender.close()
    assert "guessed-wrong" not in refused.value.reason
    assert "AuthenticationError" in refused.value.reason


def test_a_redis_that_is_not_there_is_told(message: Any) -> None:
    sender = RedisSender(target(f"127.0.0.1:{free_port()}", "access"))
    with pytest.raises(DeliveryError, match="ConnectionError"):
        sender.send([message("a")])
    sender.close()

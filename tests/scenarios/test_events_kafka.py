"""Events to a real Kafka broker, which is killed in the middle: all of them arrive, in order for each object."""

import json
import shutil
import subprocess
import time
import uuid
from base64 import urlsafe_b64encode
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic
from tests.support.clients import boto3_client
from tests.support.foreign import ENVIRONMENT
from tests.support.server import ServerProcess, free_port

pytestmark = [pytest.mark.needs("java"), pytest.mark.timeout(300)]

JARS = ENVIRONMENT / "kafka"
TOPIC, PARTITIONS = "lake", 3
SECONDS_MAX = 90.0
OBJECTS, KEYS = 120, 7

PROPERTIES = """
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@127.0.0.1:{controller}
listeners=PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller}
advertised.listeners=PLAINTEXT://127.0.0.1:{port}
controller.listener.names=CONTROLLER
listener.security.protocol.map=CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT
log.dirs={folder}/data
offsets.topic.replication.factor=1
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
"""


class Silent:
    """Takes what the Kafka library would print while there is no broker."""

    def log(self, *_: object) -> None:
        """Drop it."""


class Broker:
    """A broker of one node, which is its own controller."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.port = free_port()
        self.address = f"127.0.0.1:{self.port}"
        self._settings = folder / "server.properties"
        text = PROPERTIES.format(port=self.port, controller=free_port(), folder=folder)
        self._settings.write_text(text)
        cluster = urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=").replace("-", "a")
        self._java("kafka.tools.StorageTool", "format", "-t", cluster, "-c", self._settings).wait(SECONDS_MAX)
        self._process: subprocess.Popen[bytes] | None = None

    def _java(self, program: str, *arguments: object) -> subprocess.Popen[bytes]:
        java = shutil.which("java")
        assert java is not None
        with (self.folder / "log").open("ab") as log:
            command = [java, "-Xmx256m", "-cp", f"{JARS}/*", program, *map(str, arguments)]
            return subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT, cwd=self.folder)

    def start(self) -> None:
        self._process = self._java("kafka.Kafka", self._settings)

    def kill(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def make_topic(self) -> None:
        """Make the topic, once the broker answers."""
        end_s = time.monotonic() + SECONDS_MAX
        silent: Any = Silent()
        admin = AdminClient({"bootstrap.servers": self.address, "logger": silent})
        while True:
            try:
                admin.list_topics(timeout=2)
            except KafkaException:
                tail = (self.folder / "log").read_text(errors="replace")[-2000:]
                assert time.monotonic() < end_s, f"the broker does not start\n{tail}"
            else:
                admin.create_topics([NewTopic(TOPIC, PARTITIONS, 1)])[TOPIC].result(30)
                return

    def read(self, count: int) -> list[Any]:
        """Return the messages of the topic, as soon as they tell of so many events."""
        consumer = Consumer({"bootstrap.servers": self.address, "group.id": "test", "logger": Silent()})
        consumer.assign([TopicPartition(TOPIC, number, OFFSET_BEGINNING) for number in range(PARTITIONS)])
        found: list[Any] = []
        end_s = time.monotonic() + SECONDS_MAX
        while len({sequencer(message) for message in found}) < count and time.monotonic() < end_s:
            message = consumer.poll(0.2)
            if message is not None and message.error() is None:
                found.append(message)
        consumer.close()
        return found


def sequencer(message: Any) -> str:
    return str(json.loads(message.value())["Records"][0]["s3"]["object"]["sequencer"])


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Broker]:
    if not list(JARS.glob("kafka_*.jar")):
        pytest.skip("needs a Kafka broker: make scenarios-venv")
    folder = tmp_path / "kafka"
    folder.mkdir()
    made = Broker(folder)
    made.start()
    yield made
    made.kill()


def test_every_event_arrives_in_order_though_the_broker_is_killed(broker: Broker, tmp_path: Path) -> None:
    broker.make_topic()
    settings = {
        "MINIO_NOTIFY_KAFKA_ENABLE_K": "on",
        "MINIO_NOTIFY_KAFKA_BROKERS_K": broker.address,
        "MINIO_NOTIFY_KAFKA_TOPIC_K": TOPIC,
        "MINIO_NOTIFY_KAFKA_TIMEOUT_S_K": "3",
    }
    with ServerProcess(tmp_path / "lake", tmp_path / "server.log", settings=settings) as server:
        client = boto3_client(server.endpoint)
        client.create_bucket(Bucket="images")
        queue: Any = {"QueueArn": "arn:minio:sqs::K:kafka", "Events": ["s3:ObjectCreated:*"]}
        client.put_bucket_notification_configuration(
            Bucket="images", NotificationConfiguration={"QueueConfigurations": [queue]}
        )
        for number in range(OBJECTS):
            if number == OBJECTS // 3:
                broker.kill()
            if number == 2 * OBJECTS // 3:
                broker.start()
            client.put_object(Bucket="images", Key=f"k{number % KEYS}", Body=str(number).encode())
        client.close()
        found = broker.read(OBJECTS)
    assert len({sequencer(message) for message in found}) == OBJECTS
    for key in {message.key() for message in found}:
        of_key = [message for message in found if message.key() == key]
        first_times = list(dict.fromkeys(map(sequencer, of_key)))
        assert first_times == sorted(first_times)
        assert len({message.partition() for message in of_key}) == 1

"""Events to Kafka: the brokers are those that the client library simulates, over real connections."""

import json
import time
from collections.abc import Iterator
from typing import Any

import pytest
from confluent_kafka import OFFSET_BEGINNING, Consumer, Producer, TopicPartition
from tests.support.server import free_port

from hosu.kernel.notify import KafkaTarget
from hosu.rules.events.sending import DeliveryError
from hosu.server.notify.kafka import KafkaSender

SECONDS_MAX = 30.0
TOPIC = "lake-events"


@pytest.fixture(scope="module")
def brokers() -> Iterator[str]:
    cluster = Producer({"test.mock.num.brokers": 1, "bootstrap.servers": "localhost"})
    found = cluster.list_topics(timeout=10).brokers.values()
    yield ",".join(f"{broker.host}:{broker.port}" for broker in found)
    cluster.flush(1)


def consumed(brokers: str, topic: str, count: int) -> list[Any]:
    consumer = Consumer({"bootstrap.servers": brokers, "group.id": f"test-{topic}"})
    partitions = consumer.list_topics(topic, timeout=10).topics[topic].partitions
    consumer.assign([TopicPartition(topic, number, OFFSET_BEGINNING) for number in partitions])
    found: list[Any] = []
    end_s = time.monotonic() + SECONDS_MAX
    while len(found) < count and time.monotonic() < end_s:
        message = consumer.poll(0.2)
        if message is not None and message.error() is None:
            found.append(message)
    consumer.close()
    return found


def test_events_arrive_in_order_under_the_path_of_their_object(brokers: str, message: Any) -> None:
    sender = KafkaSender(KafkaTarget(brokers=brokers, topic=TOPIC, compression_codec="gzip"))
    sender.send([message(f"k{number % 3}", "s3:ObjectCreated:Put") for number in range(30)])
    sender.close()
    found = consumed(brokers, TOPIC, 30)
    assert len(found) == 30
    by_key: dict[bytes, list[str]] = {}
    for each in found:
        body = json.loads(each.value())
        assert each.key() == body["Key"].encode()
        by_key.setdefault(each.key(), []).append(body["Records"][0]["s3"]["object"]["sequencer"])
    assert sorted(by_key) == [b"images/k0", b"images/k1", b"images/k2"]
    assert all(seqs == sorted(seqs) and len(seqs) == 10 for seqs in by_key.values())


def test_all_events_of_an_object_are_in_one_partition(brokers: str, message: Any) -> None:
    sender = KafkaSender(KafkaTarget(brokers=brokers, topic="partitions"))
    for _ in range(3):
        sender.send([message("same"), message("other")])
    sender.close()
    places = {(each.key(), each.partition()) for each in consumed(brokers, "partitions", 6)}
    assert len(places) == 2


def test_brokers_that_are_not_there_are_told(message: Any) -> None:
    sender = KafkaSender(KafkaTarget(brokers=f"127.0.0.1:{free_port()}", topic=TOPIC, timeout_s=1))
    with pytest.raises(DeliveryError) as refused:
        sender.send([message("a")])
    sender.close()
    assert not refused.value.is_final
    assert "onnect" in refused.value.reason or "transport" in refused.value.reason


def test_an_event_that_is_too_large_is_refused_for_good(brokers: str, message: Any) -> None:
    sender = KafkaSender(KafkaTarget(brokers=brokers, topic=TOPIC))
    large = message("k" * 1_000_001)
    with pytest.raises(DeliveryError) as refused:
        sender.send([large])
    assert refused.value.is_final
    sender.send([message("small")])
    sender.close()


def test_credentials_go_to_the_library_and_nowhere_else() -> None:
    target = KafkaTarget(
        brokers="127.0.0.1:9", topic=TOPIC, sasl=True, sasl_username="lake", sasl_password="kafka-secret",
        sasl_mechanism="sha512",
    )  # fmt: skip
    assert "kafka-secret" not in repr(target)
    sender = KafkaSender(target)
    assert sender._producer() is not None
    sender.close()


def test_a_file_of_certificates_that_is_missing_is_a_failure_to_deliver_until_it_is_there(message: Any) -> None:
    sender = KafkaSender(KafkaTarget(brokers="127.0.0.1:9", topic=TOPIC, tls=True, ca_file="/nowhere/ca.pem"))
    for _ in range(2):
        with pytest.raises(DeliveryError) as refused:
            sender.send([message("a")])
        assert not refused.value.is_final
        assert "ssl.ca.location" in refused.value.reason
    sender.close()

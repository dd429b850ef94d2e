"""A lake with a bucket that tells a target of its events, and a target that a test has in its hands."""

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from hashlib import md5
from pathlib import Path

import pytest

from hosu.kernel.clock import SystemClock
from hosu.objects.blobs import stage_inline
from hosu.objects.buckets import create_bucket
from hosu.objects.delete import delete_object
from hosu.objects.put import PutRequest, put_object
from hosu.objects.store import ObjectStore
from hosu.rules.events.config import Rule, arn_of, set_rules
from hosu.rules.events.delivery import Delivery, Limits
from hosu.rules.events.records import Message, Origin
from hosu.rules.events.sending import DeliveryError

BUCKET = "images"
TARGET = "webhook:one"
SECONDS_MAX = 20.0


class Receiver:
    """A target: remembers what it took, and fails as it is told to."""

    def __init__(self, lanes: int = 4, batch: int = 1) -> None:
        self.lanes = lanes
        self.batch = batch
        self.taken: list[Message] = []
        self.attempts = 0
        self.is_down = False
        self.refuses: Callable[[Message], DeliveryError | None] = lambda _: None
        self.is_closed = False
        self._lock = threading.Lock()

    def send(self, messages: Sequence[Message]) -> None:
        with self._lock:
            self.attempts += 1
            if self.is_down:
                raise DeliveryError("it is down")
            for message in messages:
                error = self.refuses(message)
                if error is not None:
                    raise error
                self.taken.append(message)

    def close(self) -> None:
        self.is_closed = True

    @property
    def keys(self) -> list[str]:
        return [message.key for message in self.taken]


class Numbers(dict[str, int]):
    """What a delivery counts."""

    def count(self, name: str, number: int = 1) -> None:
        self[name] = self.get(name, 0) + number


def rule(target: str = TARGET, *events: str, name: str = "r1", prefix: str = "", suffix: str = "") -> Rule:
    return Rule(name, target, arn_of(target), events or ("s3:ObjectCreated:*", "s3:ObjectRemoved:*"), prefix, suffix)


def put(store: ObjectStore, key: str, body: bytes = b"body", bucket: str = BUCKET) -> None:
    store.commit(partial(put_object, request=PutRequest(bucket, key, stage_inline(body), md5(body).hexdigest())))


def delete(store: ObjectStore, key: str) -> None:
    store.commit(partial(delete_object, bucket_name=BUCKET, key=key))


def until(condition: Callable[[], object]) -> None:
    """Wait for something that another thread does."""
    end_s = time.monotonic() + SECONDS_MAX
    while not condition():
        assert time.monotonic() < end_s, "it did not come to that"
        time.sleep(0.005)


@pytest.fixture
def numbers() -> Numbers:
    return Numbers()


@pytest.fixture
def store(tmp_path: Path) -> Iterator[ObjectStore]:
    with ObjectStore(tmp_path / "lake", clock=SystemClock(), space_reserve_bytes=0) as opened:
        opened.commit(partial(create_bucket, name=BUCKET))
        opened.commit(partial(set_rules, bucket=BUCKET, rules=[rule()]))
        yield opened


class Running:
    """A delivery in a thread."""

    def __init__(self, delivery: Delivery) -> None:
        self.delivery = delivery
        self._stop = threading.Event()
        self._thread = threading.Thread(target=delivery.run, args=(self._stop,))
        self._thread.start()

    def stop(self) -> None:
        self._stop.set()
        self._thread.join(SECONDS_MAX)
        assert not self._thread.is_alive()


Deliver = Callable[..., Running]


@pytest.fixture
def deliver(store: ObjectStore, numbers: Numbers) -> Iterator[Deliver]:
    """Start deliveries, which end with the test."""
    running: list[Running] = []

    def start(receiver: Receiver, *, target: str = TARGET, **limits: int) -> Running:
        chosen = {"queue_limit": 100_000, "retry_ms": 24 * 3_600_000} | limits
        made = Running(
            Delivery(store, target, receiver, Origin("http://lake", "", "root"), Limits(**chosen), numbers.count)
        )
        running.append(made)
        return made

    yield start
    for each in running:
        each.stop()

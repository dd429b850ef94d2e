"""Every event arrives, in order for each object, whatever fails and however often delivery begins again."""

import threading
import time
from collections.abc import Sequence
from functools import partial
from hashlib import md5
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.properties.profiles import IS_NIGHTLY, scratch_folder

from hosu.objects.blobs import stage_inline
from hosu.objects.buckets import create_bucket
from hosu.objects.put import PutRequest, put_object
from hosu.objects.store import ObjectStore
from hosu.rules.events.config import Rule, arn_of, set_rules
from hosu.rules.events.delivery import Delivery, Limits
from hosu.rules.events.records import Message, Origin
from hosu.rules.events.sending import DeliveryError

BUCKET, TARGET = "images", "webhook:one"
SECONDS_MAX = 30.0
DELIVERIES = settings(max_examples=150 if IS_NIGHTLY else 20, deadline=None)


class Fickle:
    """Takes some of what it is sent, fails in the middle of batches as the example has it, then takes everything."""

    def __init__(self, lanes: int, batch: int, failures: list[bool], taken: list[Message]) -> None:
        self.lanes, self.batch = lanes, batch
        self._failures = failures
        self._taken = taken
        self._lock = threading.Lock()

    def send(self, messages: Sequence[Message]) -> None:
        with self._lock:
            fails = bool(self._failures) and self._failures.pop()
            arrived = messages[: len(messages) // 2] if fails else messages
            self._taken += arrived
        if fails:
            raise DeliveryError("it fails now and then")

    def close(self) -> None:
        pass


def put(store: ObjectStore, key: str, number: int) -> None:
    body = b"%d" % number
    store.commit(partial(put_object, request=PutRequest(BUCKET, key, stage_inline(body), md5(body).hexdigest())))


@given(
    keys=st.lists(st.sampled_from("abcd"), min_size=1, max_size=40),
    failures=st.lists(st.booleans(), max_size=20),
    restarts=st.lists(st.integers(0, 39), max_size=3),
    lanes=st.integers(1, 4),
    batch=st.integers(1, 4),
    window=st.integers(1, 12),
    behind_max=st.sampled_from([2, 10, 10_000]),
)
@DELIVERIES
def test_every_event_arrives_in_order_for_each_object(
    keys: list[str],
    failures: list[bool],
    restarts: list[int],
    lanes: int,
    batch: int,
    window: int,
    behind_max: int,
) -> None:
    taken: list[Message] = []
    failures = list(failures)
    with (
        pytest.MonkeyPatch.context() as patch,
        scratch_folder() as folder,
        ObjectStore(Path(folder) / "lake", space_reserve_bytes=0) as store,
    ):
        patch.setattr("hosu.rules.events.lanes.PAUSE_MIN_S", 0.001)
        patch.setattr("hosu.rules.events.delivery.POLL_S", 0.002)
        rule = Rule("r", TARGET, arn_of(TARGET), ("s3:ObjectCreated:*",))
        store.commit(partial(create_bucket, name=BUCKET))
        store.commit(partial(set_rules, bucket=BUCKET, rules=[rule]))
        limits = Limits(queue_limit=10_000, retry_ms=3_600_000, behind_max=behind_max, window=window)

        def begin() -> tuple[threading.Event, threading.Thread]:
            stop = threading.Event()
            sender = Fickle(lanes, batch, failures, taken)
            delivery = Delivery(store, TARGET, sender, Origin(), limits, lambda *_: None)
            thread = threading.Thread(target=delivery.run, args=(stop,))
            thread.start()
            return stop, thread

        stop, thread = begin()
        for number, key in enumerate(keys):
            put(store, key, number)
            if number in restarts:
                stop.set()
                thread.join()
                stop, thread = begin()
        written = {row[0] for row in store.view().rows("SELECT seq FROM event WHERE kind LIKE 'ObjectCreated:%'")}
        end_s = time.monotonic() + SECONDS_MAX
        while {message.seq for message in taken} != written and time.monotonic() < end_s:
            time.sleep(0.002)
        stop.set()
        thread.join()
    assert {message.seq for message in taken} == written
    for key in set(keys):
        first_times = list(dict.fromkeys(message.seq for message in taken if message.key == key))
        assert first_times == sorted(first_times)

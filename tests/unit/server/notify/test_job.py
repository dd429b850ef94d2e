"""The keeper's job: a delivery for each target that a bucket names, and for no other."""

import threading
from collections.abc import Iterator
from functools import partial
from hashlib import md5
from pathlib import Path

import pytest
from tests.support.hook import Hook, hooking, until

from hosu.kernel.errors import ErrorKind, UnavailableError
from hosu.kernel.notify import Notify, RedisTarget, WebhookTarget
from hosu.kernel.settings import Settings
from hosu.objects.blobs import stage_inline
from hosu.objects.buckets import create_bucket
from hosu.objects.put import PutRequest, put_object
from hosu.objects.store import ObjectStore
from hosu.rules.events.config import Rule, arn_of, set_rules
from hosu.rules.keeping import Keep
from hosu.rules.wanted import WANTED
from hosu.server.keeper import job_makers
from hosu.server.notify import job as module
from hosu.server.notify.job import EventsJob
from hosu.server.notify.senders import make_sender

BUCKET = "images"


@pytest.fixture
def hook() -> Iterator[Hook]:
    with hooking() as made:
        yield made


@pytest.fixture
def store(tmp_path: Path) -> Iterator[ObjectStore]:
    with ObjectStore(tmp_path / "lake", space_reserve_bytes=0) as opened:
        opened.commit(partial(create_bucket, name=BUCKET))
        yield opened


@pytest.fixture
def settings(hook: Hook) -> Settings:
    return Settings(notify=Notify(webhook={"A": WebhookTarget(endpoint=hook.url)}))


@pytest.fixture
def job(store: ObjectStore, settings: Settings) -> Iterator[EventsJob]:
    """Run the job until the test is over."""
    made, stop = EventsJob(Keep(store, settings, lambda *_: None, "root", "http://lake")), threading.Event()
    thread = threading.Thread(target=made.run, args=(stop,))
    thread.start()
    yield made
    stop.set()
    thread.join(20)
    assert not thread.is_alive()


def name(store: ObjectStore, *targets: str) -> None:
    rules = [Rule(target, target, arn_of(target), ("s3:ObjectCreated:*",)) for target in targets]
    store.commit(partial(set_rules, bucket=BUCKET, rules=rules))


def put(store: ObjectStore, key: str) -> None:
    store.commit(partial(put_object, request=PutRequest(BUCKET, key, stage_inline(b"x"), md5(b"x").hexdigest())))


def test_the_keeper_knows_the_job(store: ObjectStore) -> None:
    wanted = WANTED["events"]
    assert EventsJob in job_makers()
    assert not wanted(store.view(), Settings())
    name(store, "webhook:A")
    assert wanted(store.view(), Settings())


def test_a_target_hears_from_when_a_bucket_names_it(store: ObjectStore, hook: Hook, job: EventsJob) -> None:
    put(store, "before")
    name(store, "webhook:A", "redis:missing")
    put(store, "after")
    until(lambda: hook.told)
    assert hook.told == [("s3:ObjectCreated:Put", f"{BUCKET}/after")]
    assert sorted(job._running) == ["redis:missing", "webhook:A"]


def test_what_is_no_longer_named_is_delivered_to_its_end_and_forgotten(
    store: ObjectStore, hook: Hook, job: EventsJob, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hosu.rules.events.delivery.IDLE_FLUSH_S", 0.05)
    monkeypatch.setattr(module, "FORGET_LOOKS", 1)
    monkeypatch.setattr(module, "RESTART_LOOKS", 1)
    name(store, "webhook:A")
    put(store, "a")
    name(store)
    until(lambda: hook.told)
    until(lambda: not store.view().rows("SELECT * FROM notification"))
    until(lambda: not job._running)
    assert store.view().rows("SELECT * FROM subscription") == []
    assert not WANTED["events"](store.view(), Settings())


def test_a_delivery_that_fails_as_a_whole_begins_again(
    store: ObjectStore, hook: Hook, monkeypatch: pytest.MonkeyPatch, settings: Settings
) -> None:
    failures = [OSError("no more threads")]

    def make(*arguments: object) -> object:
        if failures:
            raise failures.pop()
        return make_sender(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(module, "make_sender", make)
    monkeypatch.setattr(module, "RESTART_LOOKS", 1)
    name(store, "webhook:A")
    put(store, "a")
    made, stop = EventsJob(Keep(store, settings, lambda *_: None)), threading.Event()
    thread = threading.Thread(target=made.run, args=(stop,))
    thread.start()
    until(lambda: hook.told)
    stop.set()
    thread.join(20)
    assert not failures


def test_a_target_that_is_off_keeps_its_events(store: ObjectStore, hook: Hook) -> None:
    off = Settings(notify=Notify(webhook={"A": WebhookTarget(endpoint=hook.url, enable=False)}))
    name(store, "webhook:A")
    put(store, "a")
    made, stop = EventsJob(Keep(store, off, lambda *_: None)), threading.Event()
    thread = threading.Thread(target=made.run, args=(stop,))
    thread.start()
    until(lambda: "webhook:A" in made._running)
    stop.set()
    thread.join(20)
    assert hook.told == []
    assert store.view().value("SELECT seq FROM subscription") < store.view().value("SELECT max(seq) FROM event")


def test_redis_is_spoken_to_by_its_own_sender() -> None:
    notify = Notify(redis={"r": RedisTarget(address="127.0.0.1:1", key="k")})
    sender = make_sender(notify, "redis:r")
    assert (type(sender).__name__, sender.lanes) == ("RedisSender", 1)
    sender.close()


def test_a_disk_that_takes_no_writes_now_stops_no_delivery(
    store: ObjectStore, hook: Hook, monkeypatch: pytest.MonkeyPatch, settings: Settings
) -> None:
    attempts: list[ObjectStore] = []

    def fail(store: ObjectStore) -> None:
        attempts.append(store)
        raise UnavailableError(ErrorKind.DISK_FULL, "the disk is full")

    monkeypatch.setattr(module, "forget_ended", fail)
    monkeypatch.setattr(module, "FORGET_LOOKS", 1)
    name(store, "webhook:A")
    made, stop = EventsJob(Keep(store, settings, lambda *_: None)), threading.Event()
    thread = threading.Thread(target=made.run, args=(stop,))
    thread.start()
    until(lambda: len(attempts) > 1)
    put(store, "a")
    until(lambda: hook.told)
    stop.set()
    thread.join(20)

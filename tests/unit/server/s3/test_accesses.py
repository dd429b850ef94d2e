"""Reads that somebody asked to be told of: written to the change feed, and nothing else is."""

import asyncio
from collections.abc import Iterator, Mapping
from functools import partial
from hashlib import md5
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from hosu.kernel.auth import Principal
from hosu.kernel.errors import ErrorKind, UnavailableError
from hosu.kernel.settings import Settings
from hosu.lake import Lake
from hosu.objects.accesses import Access, record_accesses
from hosu.objects.audit import count_outbox
from hosu.objects.blobs import stage_inline
from hosu.objects.buckets import create_bucket
from hosu.objects.feed import read_events
from hosu.objects.put import PutRequest, put_object
from hosu.objects.store import ObjectStore
from hosu.objects.views import View
from hosu.rules.events.config import Rule, arn_of, set_rules, wanted_events
from hosu.server.http import Request
from hosu.server.s3 import accesses as module
from hosu.server.s3.accesses import Accesses
from hosu.server.s3.call import Call, Engine

TARGET = "webhook:one"


@pytest.fixture
def store(tmp_path: Path) -> Iterator[ObjectStore]:
    with ObjectStore(tmp_path / "lake", space_reserve_bytes=0) as opened:
        opened.commit(partial(create_bucket, name="images"))
        body = stage_inline(b"abc")
        opened.commit(partial(put_object, request=PutRequest("images", "a", body, md5(b"abc").hexdigest())))
        yield opened


def ask(store: ObjectStore, *events: str) -> None:
    rule = Rule("r", TARGET, arn_of(TARGET), events)
    store.commit(partial(set_rules, bucket="images", rules=[rule] if events else []))


def read(engine: Engine, operation: str = "GetObject", key: str = "a", query: bytes = b"") -> Request:
    request = Request("GET", f"/images/{key}".encode(), query, [], {}, b"HTTP/1.1")
    request.peer, request.request_id = ("192.0.2.7", 1), "R1"
    call = Call(engine, request, "images", key)
    call.operation, call.principal = operation, Principal("alice", "KEY")
    request.note = call
    return request


def reads(store: ObjectStore) -> list[tuple[str, str, int, str]]:
    events = [event for event in read_events(store.view()) if event.kind.startswith("ObjectAccessed:")]
    return [(event.kind, event.key, event.size_bytes, event.actor) for event in events]


def play(store: ObjectStore, *answers: tuple[dict[str, Any], int]) -> None:
    """Answer reads in a process that serves S3."""

    async def main() -> None:
        nobody = cast("Any", SimpleNamespace(secrets=lambda _: (), principal=lambda *_: None))
        engine = Engine(store, nobody, nobody, "", settings=Settings())
        made = Accesses(engine)
        for arguments, status in answers:
            made.answered(read(engine, **arguments), status)
        await made.close()
        engine.listeners.close()
        engine.close()

    asyncio.run(main())


def test_a_read_that_a_rule_asks_for_is_in_the_feed(store: ObjectStore) -> None:
    ask(store, "s3:ObjectAccessed:*")
    before = count_outbox(store.view())
    play(store, ({}, 200), ({"operation": "HeadObject"}, 200), ({"operation": "ListObjectsV2"}, 200))
    assert reads(store) == [("ObjectAccessed:Get", "a", 3, "alice"), ("ObjectAccessed:Head", "a", 3, "alice")]
    event = read_events(store.view())[-1]
    assert (event.request_id, event.source_ip, event.version_id) == ("R1", "192.0.2.7", "null")
    assert count_outbox(store.view()) == before


def test_rules_that_cannot_be_read_now_are_read_with_the_next_answer(
    store: ObjectStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    ask(store, "s3:ObjectAccessed:*")
    failures = [UnavailableError(ErrorKind.DISK_FAULT, "the disk is gone")]

    def fail(view: View) -> Mapping[str, frozenset[str]]:
        if failures:
            raise failures.pop()
        return wanted_events(view)

    monkeypatch.setattr(module, "wanted_events", fail)
    play(store, ({}, 200), ({"operation": "HeadObject"}, 200))
    assert reads(store) == [("ObjectAccessed:Head", "a", 3, "alice")]


def test_other_reads_are_not(store: ObjectStore) -> None:
    play(store, ({}, 200))
    ask(store, "s3:ObjectCreated:*")
    play(store, ({}, 200))
    ask(store, "s3:ObjectAccessed:Head")
    play(store, ({}, 200), ({"operation": "HeadObject"}, 404), ({"operation": "HeadObject"}, 304))
    ask(store)
    play(store, ({}, 200))
    assert reads(store) == []


def test_more_reads_than_fit_are_left_out(store: ObjectStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "WAITING_MAX", 2)
    ask(store, "s3:ObjectAccessed:*")
    play(store, *[({}, 200)] * 5)
    assert len(reads(store)) == 2


def test_a_read_of_what_is_gone_by_then_is_told_all_the_same(store: ObjectStore) -> None:
    access = Access(5, "ObjectAccessed:Get", "images", "gone", None, "alice", "R1", "192.0.2.7")
    store.commit(partial(record_accesses, accesses=[access]))
    assert reads(store) == [("ObjectAccessed:Get", "gone", 0, "alice")]


def test_what_was_read_stays_in_memory(store: ObjectStore) -> None:
    store.find_small("images", "a")
    access = Access(5, "ObjectAccessed:Get", "images", "a", None, "alice", "R1", "")
    store.commit(partial(record_accesses, accesses=[access]))
    assert store._recent.find(("images", "a")) is not None


def test_the_feed_of_changes_leaves_reads_out(store: ObjectStore) -> None:
    access = Access(5, "ObjectAccessed:Get", "images", "a", None, "alice", "R1", "")
    store.commit(partial(record_accesses, accesses=[access]))
    kinds = {event.kind for event in Lake(store).changes()}
    assert "ObjectCreated:Put" in kinds
    assert not any(kind.startswith("ObjectAccessed:") for kind in kinds)

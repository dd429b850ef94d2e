"""The change feed: every mutation once, in order, for as long as somebody needs it."""

import pytest
from tests.unit.objects.conftest import BUCKET, Commit, Put

from hosu.kernel.errors import PreconditionFailedError
from hosu.objects import aliases, feed, multipart
from hosu.objects.buckets import set_document, set_versioning
from hosu.objects.delete import delete_object
from hosu.objects.put import CopyRequest, copy_object, set_tags
from hosu.objects.records import Attributes, Conditions, Versioning
from hosu.objects.store import ObjectStore


def kinds(store: ObjectStore) -> list[str]:
    return [event.kind for event in feed.read_events(store.view())]


def test_every_verb_that_changes_something_is_one_event(store: ObjectStore, put: Put, commit: Commit) -> None:
    put("t/k", actor="me")
    commit(copy_object, CopyRequest(BUCKET, "t/k", BUCKET, "k"))
    commit(set_tags, BUCKET, "k", None, {"a": "b"})
    commit(set_tags, BUCKET, "k", None, {})
    commit(aliases.set_alias, BUCKET, "a/", "t/")
    commit(aliases.remove_alias, BUCKET, "a/")
    commit(delete_object, BUCKET, "k")
    commit(delete_object, BUCKET, "k")
    commit(set_document, BUCKET, "cors", "<x/>")
    commit(set_versioning, BUCKET, Versioning.ENABLED)
    marker = commit(delete_object, BUCKET, "t/k")
    commit(delete_object, BUCKET, "t/k", marker.version_id)
    assert kinds(store) == [
        "BucketCreated", "ObjectCreated:Put", "ObjectCreated:Copy", "ObjectTagging:Put", "ObjectTagging:Delete",
        "AliasSwitched", "AliasSwitched", "ObjectRemoved:Delete", "BucketDocument:cors", "BucketVersioning",
        "ObjectRemoved:DeleteMarkerCreated", "ObjectRemoved:Delete",
    ]  # fmt: skip
    event = feed.read_events(store.view(), after_seq=1, limit=1)[0]
    assert (event.bucket, event.key, event.size_bytes, event.actor) == (BUCKET, "t/k", 4, "me")


def test_a_refused_verb_is_no_event(store: ObjectStore, put: Put) -> None:
    put("k")
    before = kinds(store)
    with pytest.raises(PreconditionFailedError):
        put("k", conditions=Conditions(if_none_match="*"))
    assert kinds(store) == before


def test_an_upload_in_parts_is_one_event_when_it_completes(store: ObjectStore, commit: Commit) -> None:
    before = len(kinds(store))
    upload = commit(multipart.create_upload, BUCKET, "k", attributes=Attributes())
    commit(multipart.abort_upload, BUCKET, "k", upload.upload_id)
    assert len(kinds(store)) == before


def test_a_subscriber_reads_on_from_what_it_acknowledged(store: ObjectStore, put: Put, commit: Commit) -> None:
    put("before")
    seq = commit(feed.subscribe, "index")
    put("one")
    put("two")
    events = feed.read_events(store.view(), after_seq=seq)
    assert [event.key for event in events] == ["one", "two"]
    commit(feed.acknowledge, "index", events[0].seq)
    commit(feed.acknowledge, "index", 0)
    assert commit(feed.subscribe, "index") == events[0].seq


def test_events_stay_until_every_subscriber_has_seen_them(store: ObjectStore, put: Put, commit: Commit) -> None:
    commit(feed.subscribe, "slow")
    commit(feed.subscribe, "fast")
    last = [put(f"k{number}").seq for number in range(5)][-1]
    commit(feed.acknowledge, "fast", last)
    commit(feed.trim_events, kept=1)
    assert [event.seq for event in feed.read_events(store.view())] == [2, 3, 4, 5, 6]
    commit(feed.unsubscribe, "slow")
    assert commit(feed.trim_events, kept=2) == 3
    assert [event.seq for event in feed.read_events(store.view())] == [5, 6]


def test_sequence_numbers_go_on_after_a_trim_and_a_restart(store: ObjectStore, put: Put, commit: Commit) -> None:
    last = put("k").seq
    while commit(feed.trim_events, kept=0):
        pass
    store.close()
    with ObjectStore(store.path) as again:
        again.commit(lambda tx: delete_object(tx, BUCKET, "k"))
        assert [event.seq for event in feed.read_events(again.view())][-1] == last + 1


def test_a_trim_is_bounded(put: Put, commit: Commit, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(feed, "EVENTS_TRIMMED_PER_CALL", 2)
    for _ in range(6):
        put("k")
    assert [commit(feed.trim_events, kept=1) for _ in range(4)] == [2, 2, 2, 0]

"""What is read from memory is never older than what was acknowledged, whoever wrote it."""

import hashlib
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from hosu.kernel.errors import NotFoundError
from hosu.objects.aliases import set_alias
from hosu.objects.blobs import stage_inline
from hosu.objects.buckets import create_bucket, delete_bucket
from hosu.objects.delete import delete_object
from hosu.objects.put import PutRequest, put_object, set_tags
from hosu.objects.recent import ENTRY_BYTES, RecentObjects
from hosu.objects.records import ObjectRecord
from hosu.objects.store import ObjectStore
from hosu.objects.turns import Turns


@pytest.fixture
def ours(tmp_path: Path) -> Iterator[ObjectStore]:
    with ObjectStore(tmp_path / "lake") as store:
        store.commit(partial(create_bucket, name="images"))
        yield store


@pytest.fixture
def theirs(ours: ObjectStore) -> Iterator[ObjectStore]:
    with ObjectStore(ours.path) as store:
        yield store


def put(store: ObjectStore, key: str, body: bytes) -> ObjectRecord:
    etag = hashlib.md5(body, usedforsecurity=False).hexdigest()
    return store.commit(partial(put_object, request=PutRequest("images", key, stage_inline(body), etag)))


def body_of(store: ObjectStore, key: str) -> bytes | None:
    return store.find_small("images", key)[1]


def is_remembered(store: ObjectStore, key: str) -> bool:
    return store._recent.find(("images", key)) is not None


def test_an_object_read_twice_is_remembered(ours: ObjectStore) -> None:
    put(ours, "k", b"one")
    assert body_of(ours, "k") == b"one"
    assert is_remembered(ours, "k")
    assert body_of(ours, "k") == b"one"


def test_a_put_replaces_what_is_remembered_and_nothing_else(ours: ObjectStore) -> None:
    put(ours, "k", b"one")
    put(ours, "other", b"other")
    body_of(ours, "k")
    body_of(ours, "other")
    put(ours, "k", b"two")
    assert not is_remembered(ours, "k")
    assert is_remembered(ours, "other")
    assert body_of(ours, "k") == b"two"


def test_a_delete_is_seen(ours: ObjectStore) -> None:
    put(ours, "k", b"one")
    body_of(ours, "k")
    ours.commit(lambda tx: delete_object(tx, "images", "k"))
    with pytest.raises(NotFoundError):
        body_of(ours, "k")


def test_new_tags_are_seen(ours: ObjectStore) -> None:
    put(ours, "k", b"one")
    body_of(ours, "k")
    ours.commit(lambda tx: set_tags(tx, "images", "k", None, {"a": "b"}))
    assert ours.find_small("images", "k")[0].attributes.tags == {"a": "b"}


def test_another_process_is_seen(ours: ObjectStore, theirs: ObjectStore) -> None:
    put(ours, "k", b"one")
    assert body_of(ours, "k") == body_of(theirs, "k") == b"one"
    for number in range(20):
        writer, reader = (ours, theirs) if number % 2 else (theirs, ours)
        put(writer, "k", b"%d" % number)
        assert body_of(reader, "k") == body_of(writer, "k") == b"%d" % number


def test_a_bucket_made_anew_has_nothing_of_the_old_one(ours: ObjectStore, theirs: ObjectStore) -> None:
    put(ours, "k", b"one")
    body_of(ours, "k")
    theirs.commit(lambda tx: delete_object(tx, "images", "k"))
    theirs.commit(lambda tx: delete_bucket(tx, "images"))
    with pytest.raises(NotFoundError):
        body_of(ours, "k")


def test_what_is_read_through_an_alias_is_not_remembered(ours: ObjectStore) -> None:
    put(ours, "models/v1/best.pt", b"one")
    put(ours, "models/v2/best.pt", b"two")
    ours.commit(lambda tx: set_alias(tx, "images", "models/current/", "models/v1/"))
    assert ours.find_small("images", "models/current/best.pt")[0].size_bytes == 3
    assert not is_remembered(ours, "models/current/best.pt")


def test_a_read_that_a_commit_overtook_is_not_kept(ours: ObjectStore) -> None:
    put(ours, "k", b"one")
    recent = ours._recent
    recent.find(("images", "k"))
    mark = recent.mark()
    found = (put(ours, "k", b"old"), b"old")
    put(ours, "k", b"new")
    recent.keep(mark, ("images", "k"), found)
    assert not is_remembered(ours, "k")


def test_a_writer_that_died_in_mid_commit_stops_others_from_remembering(ours: ObjectStore) -> None:
    put(ours, "k", b"one")
    body_of(ours, "k")
    dead = Turns(ours.path / "meta" / "turns")
    dead.begin(1)
    dead.close()  # its lock goes with it, the counter stays odd
    assert not is_remembered(ours, "k")
    body_of(ours, "k")
    assert not is_remembered(ours, "k")
    put(ours, "other", b"x")
    body_of(ours, "k")
    assert is_remembered(ours, "k")


def test_memory_is_bounded(tmp_path: Path) -> None:
    turns = Turns(tmp_path / "turns")
    record = ObjectRecord("k", 1, "null", 1, "", 0, None, "", None, None, None, 0, "{}")
    recent = RecentObjects(turns, bytes_max=10 * (ENTRY_BYTES + 2 * len("k{}")))
    recent.find(("b", "k"))
    for number in range(100):
        recent.keep(recent.mark(), ("b", str(number)), (record, b""))
    kept = [number for number in range(100) if recent.find(("b", str(number)))]
    assert kept == list(range(90, 100))
    turns.close()


def test_large_attributes_count(tmp_path: Path) -> None:
    turns = Turns(tmp_path / "turns")
    recent = RecentObjects(turns, bytes_max=10 * ENTRY_BYTES)
    recent.find(("b", "k"))
    record = ObjectRecord("k", 1, "null", 1, "", 0, None, "", None, None, None, 0, "x" * 4 * ENTRY_BYTES)
    for number in range(3):
        recent.keep(recent.mark(), ("b", str(number)), (record, b""))
    assert [number for number in range(3) if recent.find(("b", str(number)))] == [2], "one fits, two do not"
    turns.close()


def test_a_turn_that_is_never_given_back_is_a_time_out(tmp_path: Path) -> None:
    stopped, waiting = Turns(tmp_path / "turns"), Turns(tmp_path / "turns")
    stopped.begin(1)
    with pytest.raises(TimeoutError):
        waiting.begin(0.01)
    stopped.end()
    waiting.begin(1)
    waiting.close()
    stopped.close()

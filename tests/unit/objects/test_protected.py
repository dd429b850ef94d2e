"""Protected prefixes: spared by those who must, whole with what aliases show, and never served unverified."""

import hashlib
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from tests.unit.objects.conftest import BUCKET, Commit, Put

from hosu.kernel.errors import ConflictError, CorruptError, ErrorKind, HosuError
from hosu.objects.aliases import remove_alias, set_alias
from hosu.objects.bodies import open_body
from hosu.objects.buckets import create_bucket, delete_bucket, set_versioning
from hosu.objects.delete import delete_object
from hosu.objects.multipart import CompletedPart, CompleteRequest, add_part, complete_upload, create_upload
from hosu.objects.protected import (
    ProtectedPrefix,
    find_guarded,
    guarded_prefixes,
    list_protected,
    protected_prefixes,
    set_protected,
)
from hosu.objects.put import CopyRequest, PutRequest, copy_object, put_object, set_tags
from hosu.objects.read import find, find_with_blob
from hosu.objects.records import Attributes, Versioning
from hosu.objects.store import ObjectStore
from hosu.objects.transaction import Tx
from hosu.testing.lake_check import find_faults

MODELS = ProtectedPrefix(BUCKET, "models/", "")
BIG = b"weights " * 40_000


@pytest.fixture
def sparing(store: ObjectStore) -> Commit:
    """Run a verb as those do who must spare what is protected."""

    def run(verb: Callable[..., Any], *positional: Any, **named: Any) -> Any:
        def operation(tx: Tx) -> Any:
            tx.spares_protected = True
            return verb(tx, *positional, **named)

        return store.commit(operation)

    return run


@pytest.fixture
def protected(commit: Commit) -> None:
    commit(set_protected, [MODELS])


def is_refused(act: Callable[[], Any]) -> bool:
    try:
        act()
    except ConflictError as refusal:
        return refusal.kind is ErrorKind.PROTECTED and "hosu:ChangeProtected" in refusal.message
    return False


def request(stage: Any, key: str, body: bytes = b"new") -> PutRequest:
    return PutRequest(BUCKET, key, stage(body), hashlib.md5(body).hexdigest())


@pytest.mark.parametrize("versioning", Versioning)
@pytest.mark.usefixtures("protected")
def test_nothing_that_is_there_is_removed_or_replaced(
    store: ObjectStore, put: Put, commit: Commit, sparing: Commit, stage: Any, versioning: Versioning
) -> None:
    if versioning is not Versioning.NEVER:
        commit(set_versioning, BUCKET, versioning)
    kept, other = put("models/best.pt", b"kept"), put("other", b"other")
    upload_id = commit(create_upload, BUCKET, "models/best.pt", attributes=Attributes()).upload_id
    commit(add_part, BUCKET, "models/best.pt", upload_id, 1, stage(b"new"), etag=(etag := "0" * 32))
    complete = CompleteRequest(BUCKET, "models/best.pt", upload_id, [CompletedPart(1, etag)])
    for act in (
        lambda: sparing(put_object, request(stage, "models/best.pt")),
        lambda: sparing(copy_object, CopyRequest(BUCKET, "other", BUCKET, "models/best.pt")),
        lambda: sparing(complete_upload, complete),
        lambda: sparing(delete_object, BUCKET, "models/best.pt"),
        lambda: sparing(delete_object, BUCKET, "models/best.pt", kept.version_id),
    ):
        assert is_refused(act)
    assert find(store.view(), BUCKET, "models/best.pt") == kept
    assert not is_refused(lambda: sparing(put_object, request(stage, "models/new.pt")))
    assert not is_refused(lambda: sparing(set_tags, BUCKET, "models/best.pt", None, {"a": "b"}))
    assert not is_refused(lambda: sparing(delete_object, BUCKET, "other", other.version_id))
    commit(delete_object, BUCKET, "models/best.pt", kept.version_id)  # in process, as root
    assert find_faults(store) == []


@pytest.mark.usefixtures("protected")
def test_older_versions_and_those_behind_a_marker_are_spared_too(
    store: ObjectStore, put: Put, commit: Commit, sparing: Commit, stage: Any
) -> None:
    null = put("models/a", b"1")
    commit(set_versioning, BUCKET, Versioning.ENABLED)
    put("models/a", b"2")
    marker = commit(delete_object, BUCKET, "models/a").version_id
    assert is_refused(lambda: sparing(delete_object, BUCKET, "models/a", null.version_id))
    assert is_refused(lambda: sparing(delete_object, BUCKET, "models/a", marker))
    commit(set_versioning, BUCKET, Versioning.SUSPENDED)  # from now on a write takes the place of the null version
    assert is_refused(lambda: sparing(put_object, request(stage, "models/a")))
    assert is_refused(lambda: sparing(delete_object, BUCKET, "models/a"))
    commit(set_versioning, BUCKET, Versioning.ENABLED)
    assert not is_refused(lambda: sparing(put_object, request(stage, "models/a")))
    assert find_faults(store) == []


@pytest.mark.usefixtures("protected")
def test_a_verb_that_says_nothing_spares_nothing_also_after_one_that_did(
    put: Put, commit: Commit, sparing: Commit
) -> None:
    put("models/a")
    assert is_refused(lambda: sparing(delete_object, BUCKET, "models/a"))
    commit(delete_object, BUCKET, "models/a")


@pytest.mark.usefixtures("protected")
def test_what_an_alias_shows_below_a_protected_prefix_is_protected_where_it_is_stored(
    store: ObjectStore, put: Put, commit: Commit, sparing: Commit
) -> None:
    put("training/v1/best.pt"), put("training/v2/best.pt")
    commit(set_alias, BUCKET, "models/current/", "training/v1/")
    bucket = store.view().bucket(BUCKET)
    assert protected_prefixes(store.view(), BUCKET) == ("models/",)
    assert guarded_prefixes(store.view(), bucket) == ("models/", "training/v1/")
    assert is_refused(lambda: sparing(delete_object, BUCKET, "training/v1/best.pt"))
    assert store.protected.covers(BUCKET, "training/v1/best.pt")
    assert store.protected.covers(BUCKET, "models/current/best.pt")
    commit(set_alias, BUCKET, "models/current/", "training/v2/")
    assert not store.protected.covers(BUCKET, "training/v1/best.pt")
    sparing(delete_object, BUCKET, "training/v1/best.pt")
    assert find_guarded(store.view(), store.view().bucket(BUCKET), "training/v2/best.pt") == "training/v2/"
    commit(remove_alias, BUCKET, "models/current/")
    assert not store.protected.covers(BUCKET, "training/v2/best.pt")


@pytest.mark.usefixtures("protected")
def test_an_alias_into_a_protected_prefix_names_protected_objects(store: ObjectStore, put: Put, commit: Commit) -> None:
    put("models/v1/best.pt")
    commit(set_alias, BUCKET, "live/", "models/v1/")
    assert store.protected.covers(BUCKET, "live/best.pt")
    assert not store.protected.covers(BUCKET, "lively")
    assert not store.protected.covers("elsewhere", "models/v1/best.pt")


def test_every_process_hears_of_a_change_at_once(lake: Path, store: ObjectStore, commit: Commit) -> None:
    with ObjectStore(lake, space_reserve_bytes=0) as other:
        assert not other.protected.covers(BUCKET, "models/a")
        commit(set_protected, [MODELS])
        assert other.protected.covers(BUCKET, "models/a")
        other.commit(partial(set_protected, entries=[]))
        assert not store.protected.covers(BUCKET, "models/a")


def test_what_a_reader_saw_of_an_earlier_moment_is_not_remembered(store: ObjectStore, put: Put, commit: Commit) -> None:
    put("models/a")
    view = store.view()
    with view.snapshot():
        view.bucket(BUCKET)
        commit(set_protected, [MODELS])
        assert not store.protected.covers(BUCKET, "models/a")
    assert store.protected.covers(BUCKET, "models/a")


def test_the_list_is_kept_in_order_and_counted_in_each_bucket(store: ObjectStore, commit: Commit) -> None:
    commit(create_bucket, "second")
    entries = [ProtectedPrefix("second", "z/"), ProtectedPrefix(BUCKET, "b/", "/copies"), ProtectedPrefix(BUCKET, "a/")]
    commit(set_protected, entries)
    assert list_protected(store.view()) == (entries[2], entries[1], entries[0])
    assert [store.view().bucket(name).protected for name in (BUCKET, "second")] == [2, 1]
    commit(set_protected, entries[1:2])
    assert [store.view().bucket(name).protected for name in (BUCKET, "second")] == [1, 0]


@pytest.mark.usefixtures("protected")
def test_a_bucket_with_a_protected_prefix_is_not_deleted_by_anybody(commit: Commit) -> None:
    with pytest.raises(ConflictError) as refusal:
        commit(delete_bucket, BUCKET)
    assert refusal.value.kind is ErrorKind.PROTECTED
    commit(set_protected, [])
    commit(delete_bucket, BUCKET)


# Reading


def read(store: ObjectStore, key: str) -> bytes:
    _, small = store.find_small(BUCKET, key)
    if small is not None:
        return small
    _, body = open_body(store, BUCKET, key)
    with body:
        return b"".join(body.chunks(0, body.size_bytes))


def damage_quietly(store: ObjectStore, key: str) -> None:
    """Change a byte of an object in a way that no look at the file or the record tells."""
    record = find(store.view(), BUCKET, key)
    _, blob = find_with_blob(store.view(), BUCKET, key)
    assert blob is not None
    if blob.body is not None:
        bad = bytes([blob.body[0] ^ 1]) + blob.body[1:]

        def damage(tx: Tx) -> None:
            tx.run("UPDATE blob SET body = ? WHERE id = ?", (bad, record.blob_id))
            tx.record_event(tx.next_seq(), "Damage", BUCKET, "", "", 0, "", "")  # nobody may answer from memory

        store.commit(damage)
        return
    path = store.files.path(blob.id)
    with path.open("r+b") as file:
        first = file.read(1)
        file.seek(0)
        file.write(bytes([first[0] ^ 1]))
    ctime_ns = path.stat().st_ctime_ns
    store.files.forget_verified(blob.id)
    store.commit(lambda tx: tx.run("UPDATE blob SET ctime_ns = ? WHERE id = ?", (ctime_ns, blob.id)))


@pytest.mark.parametrize("body", [b"small", BIG], ids=["small", "large"])
@pytest.mark.usefixtures("protected")
def test_protected_bytes_are_looked_at_for_every_read(store: ObjectStore, put: Put, body: bytes) -> None:
    put("models/a", body), put("other/a", body[::-1])
    assert read(store, "models/a") == body  # and so it is verified just now
    assert read(store, "other/a") == body[::-1]
    damage_quietly(store, "other/a")
    assert read(store, "other/a") != body[::-1], "else this test shows nothing: the window serves it"
    damage_quietly(store, "models/a")
    with pytest.raises(CorruptError):
        read(store, "models/a")


@pytest.mark.usefixtures("protected")
def test_protected_parts_are_looked_at_too(
    store: ObjectStore, commit: Commit, stage: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hosu.objects.multipart.PART_BYTES_MIN", 1)
    upload_id = commit(create_upload, BUCKET, "models/a", attributes=Attributes()).upload_id
    names = []
    for number, body in enumerate((BIG, b"small"), 1):
        etag = hashlib.md5(body).hexdigest()
        commit(add_part, BUCKET, "models/a", upload_id, number, stage(body), etag=etag)
        names.append(CompletedPart(number, etag))
    commit(complete_upload, CompleteRequest(BUCKET, "models/a", upload_id, names))
    assert read(store, "models/a") == BIG + b"small"
    store.commit(lambda tx: tx.run("UPDATE blob SET body = CAST('SMALL' AS BLOB) WHERE kind = 0"))
    with pytest.raises(HosuError):
        read(store, "models/a")


@pytest.mark.usefixtures("protected")
def test_reading_protected_bytes_again_writes_nothing(store: ObjectStore, put: Put) -> None:
    put("models/a", BIG)
    assert read(store, "models/a") == BIG
    before = store.view().value("SELECT verified_ms FROM blob WHERE kind = 1")
    commits = store.view().value("PRAGMA data_version")
    for _ in range(3):
        assert read(store, "models/a") == BIG
    assert store.view().value("SELECT verified_ms FROM blob WHERE kind = 1") == before
    assert store.view().value("PRAGMA data_version") == commits

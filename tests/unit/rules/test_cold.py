"""The keeper compresses what was put into a cold class, and rules move what they name there."""

import threading
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import msgspec
import pytest
from tests.support.pictures import photo

from hosu.kernel.errors import ErrorKind, UnavailableError
from hosu.kernel.settings import Settings
from hosu.objects.audit import Origin
from hosu.objects.blobs import VERIFIED_MS_MAX
from hosu.objects.bodies import BodyWriter, open_body, store_object
from hosu.objects.buckets import create_bucket, delete_bucket
from hosu.objects.delete import delete_object
from hosu.objects.health import saved_bytes
from hosu.objects.importing import ImportedVersion, import_key
from hosu.objects.put import PutRequest
from hosu.objects.read import blob_row, find
from hosu.objects.records import COLD, STANDARD, ObjectRecord, is_cold
from hosu.objects.store import ObjectStore
from hosu.objects.sweep import sweep
from hosu.rules import cold
from hosu.rules.cold import PAUSE_S, RETRY_S, ColdJob, transition
from hosu.rules.keeping import Keep
from hosu.rules.wanted import WANTED
from hosu.testing.lake_check import find_faults
from hosu.testing.manual_clock import ManualClock

BUCKET = "images"
WORDS = b"the same words again and again " * 10_000
PICTURE = photo()


class Counted(dict[str, int]):
    def __call__(self, name: str, number: int) -> None:
        self[name] = self.get(name, 0) + number


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def store(tmp_path: Path, clock: ManualClock) -> Iterator[ObjectStore]:
    with ObjectStore(tmp_path / "lake", clock=clock, space_reserve_bytes=0) as opened:
        opened.commit(partial(create_bucket, name=BUCKET))
        yield opened
        assert find_faults(opened) == []


@pytest.fixture
def counted() -> Counted:
    return Counted()


@pytest.fixture
def job(store: ObjectStore, counted: Counted, monkeypatch: pytest.MonkeyPatch) -> ColdJob:
    monkeypatch.setattr(cold, "_give_way", lambda: None)  # the thread is the tests' own
    return ColdJob(Keep(store, Settings(), counted))


def put(store: ObjectStore, key: str, body: bytes, storage_class: str = COLD) -> ObjectRecord:
    with BodyWriter(store) as writer:
        writer.write(body)
        staged, etag = writer.finish()
    return store_object(store, PutRequest(BUCKET, key, staged, etag, storage_class=storage_class))


def coding_of(store: ObjectStore, key: str) -> str | None:
    blob_id = find(store.view(), BUCKET, key).blob_id
    assert blob_id is not None
    return blob_row(store.view(), blob_id).coding


def read(store: ObjectStore, key: str) -> bytes:
    _, body = open_body(store, BUCKET, key)
    with body:
        return body.read(0, body.size_bytes)


def is_wanted(store: ObjectStore) -> bool:
    return WANTED["cold"](store.view(), Settings())


def test_every_class_but_those_of_plain_storage_is_cold() -> None:
    assert [is_cold(name) for name in (COLD, "GLACIER", STANDARD, "REDUCED_REDUNDANCY")] == [True, True, False, False]


def test_what_is_put_into_the_class_is_stored_as_it_comes_and_compressed_by_the_job(
    store: ObjectStore, job: ColdJob, counted: Counted
) -> None:
    assert not is_wanted(store)
    put(store, "warm", WORDS, STANDARD)
    assert not is_wanted(store)
    records = {key: put(store, key, body) for key, body in {"words": WORDS, "picture": PICTURE}.items()}
    assert coding_of(store, "words") is None
    assert is_wanted(store)
    assert job.run(threading.Event()) == PAUSE_S
    assert not is_wanted(store)
    assert [coding_of(store, key) for key in ("words", "picture", "warm")] == ["zstd", "jxl", None]
    for key, record in records.items():
        after = find(store.view(), BUCKET, key)
        assert msgspec.structs.replace(after, blob_id=None) == msgspec.structs.replace(record, blob_id=None)
    assert read(store, "words") == WORDS
    assert read(store, "picture") == PICTURE
    assert counted["rule_actions/cold/compress"] == 2
    assert counted["rule_bytes/cold/compress"] == saved_bytes(store.view()) > 0.9 * len(WORDS)


def test_what_is_imported_into_the_class_is_compressed_too(store: ObjectStore, job: ColdJob) -> None:
    versions = []
    for name, body in (("1", WORDS), ("2", PICTURE)):
        with BodyWriter(store) as writer:
            writer.write(body)
            staged, etag = writer.finish()
        version_id = f"0000000{name}-1111-2222-3333-444444444444"
        versions.append(
            ImportedVersion(version_id=version_id, body=staged, etag=etag, modified_ms=1_000, storage_class=COLD)
        )
    store.commit(partial(import_key, bucket_name=BUCKET, key="k", versions=versions, newest_seq=0))
    assert is_wanted(store)
    job.run(threading.Event())
    assert not is_wanted(store)
    assert coding_of(store, "k") == "jxl"
    codings = store.view().rows("SELECT coding FROM version JOIN blob ON blob.id = blob_id")
    assert codings == [("zstd",)]


def test_what_does_not_shrink_is_looked_at_once(store: ObjectStore, job: ColdJob) -> None:
    put(store, "k", PICTURE[: len(PICTURE) // 2])
    job.run(threading.Event())
    assert (coding_of(store, "k"), is_wanted(store)) == (None, False)
    assert saved_bytes(store.view()) == 0


def test_each_object_leaves_a_line_with_a_reason(store: ObjectStore, job: ColdJob) -> None:
    put(store, "k", WORDS)
    store.commit(lambda tx: tx.run("DELETE FROM audit_outbox") and None)  # type: ignore[truthy-bool]
    job.run(threading.Event())
    (row,) = store.view().rows("SELECT body FROM audit_outbox")
    line = msgspec.json.decode(row[0])
    assert (line["operation"], line["principal"], line["key"]) == ("cold:Compress", "hosu:lifecycle", "k")
    assert "class" in line["reason"]


def test_what_is_gone_is_forgotten(store: ObjectStore, job: ColdJob, counted: Counted) -> None:
    put(store, "replaced", WORDS)
    put(store, "replaced", b"new", STANDARD)
    put(store, "gone", WORDS)
    store.commit(partial(delete_object, bucket_name=BUCKET, key="gone"))
    job.run(threading.Event())
    assert not is_wanted(store)
    assert counted == {}


def test_what_was_in_a_bucket_that_is_gone_is_forgotten(store: ObjectStore, job: ColdJob) -> None:
    put(store, "k", WORDS)
    store.commit(partial(delete_object, bucket_name=BUCKET, key="k"))
    store.commit(partial(delete_bucket, name=BUCKET))
    job.run(threading.Event())
    assert not is_wanted(store)


def test_a_damaged_object_is_told_and_the_others_are_compressed(
    store: ObjectStore, job: ColdJob, counted: Counted, clock: ManualClock
) -> None:
    record = put(store, "damaged", WORDS)
    assert record.blob_id is not None
    store.files.path(record.blob_id).write_bytes(b"X" * len(WORDS))
    put(store, "sound", WORDS + b"and others")
    clock.advance(VERIFIED_MS_MAX)
    job.run(threading.Event())
    assert counted["rule_errors/cold"] == 1
    assert (coding_of(store, "sound"), is_wanted(store)) == ("zstd", False)
    store.commit(partial(delete_object, bucket_name=BUCKET, key="damaged"))
    sweep(store, grace_ms=0)


def test_what_cannot_be_done_now_is_tried_again_later(
    store: ObjectStore, job: ColdJob, counted: Counted, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(store, "k", WORDS)

    def refuse(*_: object, **__: object) -> None:
        raise UnavailableError(ErrorKind.DISK_FULL, "the lake's disk is full")

    with monkeypatch.context() as patch:
        patch.setattr(cold, "recode", refuse)
        assert job.run(threading.Event()) == RETRY_S
    assert counted == {"rule_errors/cold": 1}
    assert is_wanted(store)
    assert job.run(threading.Event()) == PAUSE_S
    assert coding_of(store, "k") == "zstd"


def test_the_job_ends_between_two_objects(store: ObjectStore, job: ColdJob) -> None:
    put(store, "k", WORDS)
    stop = threading.Event()
    stop.set()
    job.run(stop)
    assert coding_of(store, "k") is None


def test_a_rule_moves_a_version_into_a_class_by_any_name(store: ObjectStore) -> None:
    record = put(store, "k", WORDS, STANDARD)
    origin = Origin("", "lifecycle:Transition", "hosu:lifecycle", bucket=BUCKET, key="k", reason="30 days old")
    assert transition(store, BUCKET, "k", record.seq, "GLACIER", origin)
    assert (find(store.view(), BUCKET, "k").storage_class, coding_of(store, "k")) == ("GLACIER", "zstd")
    assert not is_wanted(store)
    assert not transition(store, BUCKET, "k", record.seq + 1)


def test_a_rule_that_moves_what_waits_for_the_job_leaves_it_nothing(store: ObjectStore, job: ColdJob) -> None:
    record = put(store, "k", WORDS)
    assert transition(store, BUCKET, "k", record.seq)
    assert not is_wanted(store)
    job.run(threading.Event())
    assert read(store, "k") == WORDS

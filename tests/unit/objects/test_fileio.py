"""The contract suite over the embedded engine, and what is particular to it: parts, aliases, versions, sweeps."""

import functools
import hashlib
import io
import random
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from hosu.kernel.errors import (
    ConflictError,
    CorruptError,
    ErrorKind,
    InvalidInputError,
    NotFoundError,
    PreconditionFailedError,
)
from hosu.kernel.fileio import FileIO, Prefix
from hosu.kernel.limits import INLINE_BYTES_MAX, KEY_BYTES_MAX, MIB, PART_BYTES_MIN, WRITE_BYTES
from hosu.objects.aliases import set_alias
from hosu.objects.blobs import stage_inline
from hosu.objects.bodies import HASH_BYTES, BodyWriter, store_object
from hosu.objects.buckets import create_bucket, set_versioning
from hosu.objects.feed import read_events
from hosu.objects.fileio import ObjectFileIO
from hosu.objects.listing import list_versions
from hosu.objects.multipart import CompletedPart, CompleteRequest, add_part, complete_upload, create_upload
from hosu.objects.put import PutRequest
from hosu.objects.read import find_with_blob
from hosu.objects.records import Attributes, Versioning
from hosu.objects.store import ObjectStore
from hosu.objects.sweep import sweep
from hosu.objects.transaction import Tx
from hosu.testing.fileio_contract import FileIORaceContract
from hosu.testing.fileio_races import FileIOOpener
from hosu.testing.manual_clock import ManualClock

BUCKET = "files"
DAY_MS = 24 * 3600 * 1000


def open_files(path: Path, prefix: str) -> ObjectFileIO:
    """Open the files from another process."""
    return ObjectFileIO(ObjectStore(path), BUCKET, prefix)


def change(statement: str, value: object, tx: Tx) -> None:
    """Change the database behind the engine's back."""
    tx.run(statement, (value,))
    assert tx.changes() == 1


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def store(tmp_path: Path, clock: ManualClock) -> Iterator[ObjectStore]:
    with ObjectStore(tmp_path / "lake", clock=clock, space_reserve_bytes=0) as store:
        store.commit(partial(create_bucket, name=BUCKET))
        yield store


@pytest.fixture
def files(store: ObjectStore) -> ObjectFileIO:
    return ObjectFileIO(store, BUCKET)


class OverTheEngine(FileIORaceContract):
    """The hooks call the engine's own verbs."""

    prefix = ""

    @pytest.fixture
    def fileio(self, store: ObjectStore) -> FileIO:
        return ObjectFileIO(store, BUCKET, self.prefix)

    @pytest.fixture(autouse=True)
    def _behind(self, store: ObjectStore) -> None:
        self.engine = store

    def stored(self, fileio: FileIO, key: str) -> bytes | None:  # noqa: ARG002 - the contract's signature
        try:
            record, blob = find_with_blob(self.engine.view(), BUCKET, self.prefix + key)
        except NotFoundError:
            return None
        if blob is None:
            return b""
        assert blob.size_bytes == record.size_bytes
        return blob.body if blob.body is not None else self.engine.files.path(blob.id).read_bytes()

    def store(self, fileio: FileIO, key: str, data: bytes) -> None:  # noqa: ARG002 - the contract's signature
        etag = hashlib.md5(data).hexdigest()
        store_object(self.engine, PutRequest(BUCKET, self.prefix + key, stage_inline(data), etag))

    def opener(self, fileio: FileIO) -> FileIOOpener | None:  # noqa: ARG002 - the contract's signature
        return functools.partial(open_files, self.engine.path, self.prefix)


class TestObjectFileIO(OverTheEngine):
    pass


class TestObjectFileIOBelowAPrefix(OverTheEngine):
    """Neighbours of the prefix on both sides must never show."""

    prefix = "a/b/"

    @pytest.fixture(autouse=True)
    def _neighbours(self, store: ObjectStore) -> None:
        for key in ("a/b", "a/b/", "a/b.c", "a/b0", "k", "a/a"):
            store_object(store, PutRequest(BUCKET, key, stage_inline(b"neighbour"), "0" * 32))

    def test_the_longest_keys_work(self, fileio: FileIO) -> None:
        """An object's key holds the prefix too, so that a key may be shorter by as much."""
        longest = "k" * (KEY_BYTES_MAX - len(self.prefix))
        fileio.put(longest, b"1")
        assert [entry.key for entry in fileio.list()] == [longest]
        with pytest.raises(InvalidInputError) as refusal:
            fileio.put(longest + "k", b"1")
        assert refusal.value.kind is ErrorKind.KEY_TOO_LONG


def parts_of(count: int, part_bytes: int = PART_BYTES_MIN) -> list[bytes]:
    """Return bodies of parts, the last one small enough to be kept in the database."""
    made = random.Random(count)
    return [made.randbytes(part_bytes) for _ in range(count - 1)] + [made.randbytes(100)]


def upload(store: ObjectStore, key: str, bodies: list[bytes]) -> None:
    """Upload an object in parts."""
    upload_id = store.commit(
        partial(create_upload, bucket_name=BUCKET, key=key, attributes=Attributes())
    ).upload_id  # fmt: skip
    named = []
    for number, body in enumerate(bodies, 1):
        with BodyWriter(store) as writer:
            writer.write(body)
            staged, etag = writer.finish()
        store.commit(
            partial(
                add_part, bucket_name=BUCKET, key=key, upload_id=upload_id, number=number, body=staged, etag=etag
            )
        )  # fmt: skip
        named.append(CompletedPart(number, etag))
    store.commit(partial(complete_upload, request=CompleteRequest(BUCKET, key, upload_id, named)))


@pytest.mark.parametrize(
    "size_bytes",
    [
        INLINE_BYTES_MAX, INLINE_BYTES_MAX + 1, WRITE_BYTES - 1, WRITE_BYTES, WRITE_BYTES + 1, HASH_BYTES + 1, 9 * MIB,
    ],
)  # fmt: skip
def test_bodies_of_any_size_come_back_with_their_md5(files: ObjectFileIO, size_bytes: int) -> None:
    data = random.Random(size_bytes).randbytes(size_bytes)
    stat = files.put("whole", data)
    with files.open_write("pieces") as writer:
        for start in range(0, size_bytes, 300_000):
            writer.write(data[start : start + 300_000])
    for key in ("whole", "pieces"):
        assert files.read(key) == data
        assert files.head(key).etag == hashlib.md5(data).hexdigest() == stat.etag
        assert files.read(key, size_bytes - 5, size_bytes) == data[-5:]


def test_small_bodies_make_no_blob_file_and_large_ones_one(store: ObjectStore, files: ObjectFileIO) -> None:
    files.put("small", bytes(INLINE_BYTES_MAX))
    assert list(store.files.root.glob("*/*")) == []
    files.put("large", bytes(INLINE_BYTES_MAX + 1))
    assert len(list(store.files.root.glob("*/*"))) == 1


def test_what_is_refused_or_discarded_leaves_no_blob_file(store: ObjectStore, files: ObjectFileIO) -> None:
    files.put("k", b"old")
    with pytest.raises(PreconditionFailedError):
        files.put("k", bytes(MIB), if_absent=True)
    with files.open_write("k") as writer:
        writer.write(bytes(MIB))
        writer.discard()
    files.open_write("forgotten").write(bytes(MIB))
    assert list(store.files.root.glob("*/*")) == []
    assert files.read("k") == b"old"


def test_a_missing_bucket_is_told_before_any_byte_is_taken(store: ObjectStore) -> None:
    files = ObjectFileIO(store, "nowhere")
    for call in (lambda: files.put("k", b""), lambda: files.open_write("k"), lambda: list(files.list())):
        with pytest.raises(NotFoundError) as refusal:
            call()
        assert refusal.value.kind is ErrorKind.BUCKET_NOT_FOUND


def test_a_star_is_no_etag(files: ObjectFileIO) -> None:
    files.put("k", b"1")
    with pytest.raises(PreconditionFailedError):
        files.put("k", b"2", if_match="*")


def test_a_prefix_ends_with_a_slash(store: ObjectStore) -> None:
    with pytest.raises(InvalidInputError, match="must end with"):
        ObjectFileIO(store, BUCKET, "p")


def test_keys_that_the_contract_refuses_are_not_listed(store: ObjectStore, files: ObjectFileIO) -> None:
    for key in ("/a", "../a", "b/../c", "ok", "n\0", ".hosu-tmp/x", "a..b"):
        store_object(store, PutRequest(BUCKET, key, stage_inline(b"1"), "0" * 32))
    assert [entry.key for entry in files.list()] == ["a..b", "ok"]
    assert [entry.key for entry in files.list(delimiter="/")] == ["a..b", "b/", "ok"]
    assert [entry.key for entry in files.list("b/", delimiter="/")] == []


def test_an_object_in_parts_reads_across_them(store: ObjectStore, files: ObjectFileIO) -> None:
    bodies = parts_of(3)
    upload(store, "k", bodies)
    data = b"".join(bodies)
    assert files.head("k").etag.endswith("-3")
    assert files.read("k") == data
    border = PART_BYTES_MIN
    assert files.read("k", border - 3, border + 3) == data[border - 3 : border + 3]
    assert files.read("k", 2 * border - 1) == data[2 * border - 1 :]
    with files.open_read("k") as file:
        assert file.read() == data
        file.seek(-50, io.SEEK_END)
        assert file.read() == data[-50:]
    assert files.read_ranges("k", [(border - 1, border + 1), (0, 2)]) == [data[border - 1 : border + 1], data[:2]]


def test_an_open_file_outlives_delete_and_sweep(store: ObjectStore, files: ObjectFileIO, clock: ManualClock) -> None:
    large = random.Random(1).randbytes(MIB)
    for key, data in (("small", b"small"), ("large", large)):
        files.put(key, data)
        with files.open_read(key, 0) as file:
            files.delete_many([key])
            clock.advance(DAY_MS)
            sweep(store)
            assert file.read() == data
    assert list(store.files.root.glob("*/*")) == []


def test_parts_that_the_sweep_took_are_told_never_mixed(
    store: ObjectStore, files: ObjectFileIO, clock: ManualClock
) -> None:
    bodies = parts_of(2)
    upload(store, "k", bodies)
    with files.open_read("k", 0) as file:
        files.delete_many(["k"])
        assert file.read(3) == bodies[0][:3]
        clock.advance(DAY_MS)
        sweep(store)
        with pytest.raises(PreconditionFailedError):
            file.read(3)


def test_a_half_swept_object_in_parts_is_told_too(store: ObjectStore, files: ObjectFileIO) -> None:
    """The sweep removes segments a batch at a time, so a reader may meet a hole."""
    upload(store, "k", parts_of(3))
    with files.open_read("k", 0) as file:
        files.delete_many(["k"])
        store.commit(partial(change, "DELETE FROM segment WHERE start = ?", PART_BYTES_MIN))
        with pytest.raises(PreconditionFailedError):
            file.read()


@pytest.mark.parametrize("size_bytes", [100, MIB])
def test_changed_bytes_are_never_served(
    store: ObjectStore, files: ObjectFileIO, clock: ManualClock, size_bytes: int
) -> None:
    files.put("k", bytes(size_bytes))
    if size_bytes > INLINE_BYTES_MAX:
        (path,) = store.files.root.glob("*/*")
        path.chmod(0o600)
        path.write_bytes(b"\1" * size_bytes)
    else:
        store.commit(partial(change, "UPDATE blob SET body = ?", b"\1" * size_bytes))
        clock.advance(2 * DAY_MS)
    for call in (files.read, files.open_read):
        with pytest.raises(CorruptError):
            call("k")


def test_reads_and_listings_look_through_an_alias_and_writes_below_it_are_refused(
    store: ObjectStore, files: ObjectFileIO
) -> None:
    for key in ("models/v1/a", "models/v1/sub/b", "z"):
        files.put(key, key.encode())
    store.commit(partial(set_alias, bucket_name=BUCKET, prefix="current/", target="models/v1/"))
    assert files.read("current/a") == b"models/v1/a"
    assert files.head("current/a").key == "current/a"
    with files.open_read("current/sub/b") as file:
        assert file.read() == b"models/v1/sub/b"
    assert [entry.key for entry in files.list("current/", delimiter="/")] == ["current/a", "current/sub/"]
    assert next(files.list(delimiter="/")) == Prefix("current/")
    calls = (
        lambda: files.put("current/new", b""),
        lambda: files.open_write("current/new").close(),
        lambda: files.delete_many(["current/a", "z"]),
    )
    for call in calls:
        with pytest.raises(ConflictError) as refusal:
            call()
        assert refusal.value.kind is ErrorKind.ALIAS_READ_ONLY
    assert files.read("models/v1/a") == b"models/v1/a"
    assert not files.exists("z"), "the other keys of a refused delete are deleted all the same"


def test_a_listing_ends_with_the_alias_target_it_began_with(store: ObjectStore, files: ObjectFileIO) -> None:
    for version in ("v1", "v2"):
        for number in range(1100):
            files_put_small(store, f"{version}/{number:04}")
    files_put_small(store, "v2/only-here")
    store.commit(partial(set_alias, bucket_name=BUCKET, prefix="current/", target="v1/"))
    listing = files.list("current/")
    first = next(listing)
    store.commit(partial(set_alias, bucket_name=BUCKET, prefix="current/", target="v2/"))
    keys = [first.key, *(entry.key for entry in listing)]
    assert keys == [f"current/{number:04}" for number in range(1100)]
    assert sum(1 for _ in files.list("current/")) == 1101


def files_put_small(store: ObjectStore, key: str) -> None:
    store_object(store, PutRequest(BUCKET, key, stage_inline(b"1"), "0" * 32))


def test_many_deletes_share_transactions_and_each_is_an_event(store: ObjectStore, files: ObjectFileIO) -> None:
    keys = [f"k{number:04}" for number in range(1200)]
    for key in keys:
        files_put_small(store, key)
    before = read_events(store.view(), limit=10_000)[-1].seq
    files.delete_many(keys)
    assert list(files.list()) == []
    events = read_events(store.view(), after_seq=before, limit=10_000)
    assert [event.key for event in events] == keys
    assert {event.actor for event in events} == {"in-process"}


def test_a_versioned_bucket_keeps_what_is_replaced(store: ObjectStore, files: ObjectFileIO) -> None:
    store.commit(partial(set_versioning, name=BUCKET, versioning=Versioning.ENABLED))
    one = files.put("k", b"one", if_absent=True)
    files.put("k", b"two", if_match=one.etag)
    files.delete_many(["k"])
    files.put("k", b"three", if_absent=True)
    shown = [(record.is_marker, record.size_bytes) for record in list_versions(store.view(), BUCKET).records]
    assert shown == [(False, 5), (True, 0), (False, 3), (False, 3)]

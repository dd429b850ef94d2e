"""The lake in this process: what `hosu.open` returns, alone and beside a running server."""

import functools
import hashlib
import io
import os
import random
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError
from tests.support.clients import S3Client, boto3_client
from tests.support.server import ServerProcess

import hosu
from hosu.filesystem import HosuFileSystem
from hosu.kernel.errors import (
    ConflictError,
    ErrorKind,
    HosuError,
    InvalidInputError,
    NotFoundError,
    PreconditionFailedError,
    UnavailableError,
)
from hosu.kernel.limits import INLINE_BYTES_MAX, MIB
from hosu.lake import Body, Bucket, Lake, ObjectInfo, ObjectSummary, Prefix, Versioning
from hosu.objects.blobs import stage_inline
from hosu.objects.bodies import store_object
from hosu.objects.buckets import list_buckets
from hosu.objects.lock import LakeLock
from hosu.objects.put import PutRequest
from hosu.objects.read import find
from hosu.objects.records import Attributes
from hosu.objects.transaction import Tx
from hosu.testing.lake_check import find_faults
from hosu.testing.manual_clock import START_MS, ManualClock

HOUR_MS = 3600 * 1000


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def lake(tmp_path: Path, clock: ManualClock) -> Iterator[Lake]:
    with hosu.open(tmp_path / "lake", clock=clock) as lake:
        yield lake
        assert find_faults(lake.store) == []


@pytest.fixture
def images(lake: Lake) -> Bucket:
    return lake.create_bucket("images")


def keys(entries: Iterator[Any]) -> list[str]:
    return [entry.key for entry in entries]


def patterned(size_bytes: int) -> bytes:
    return random.Random(size_bytes).randbytes(size_bytes)


# Opening


def test_a_lake_is_made_in_a_missing_or_empty_folder_and_found_again(tmp_path: Path) -> None:
    for folder in (tmp_path / "new" / "deep", tmp_path / "empty"):
        if folder.name == "empty":
            folder.mkdir()
        with hosu.open(str(folder)) as lake:
            lake.create_bucket("images").put("k", b"1")
        with hosu.open(folder, create=False) as lake:
            assert lake.bucket("images").get("k") == b"1"


def test_a_folder_that_is_no_lake_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("mine")
    for path, create in (
        (tmp_path, True),
        (tmp_path, False),
        (tmp_path / "typo", False),
        (tmp_path / "thesis.txt", True),
    ):
        with pytest.raises(ConflictError) as refusal:
            hosu.open(path, create=create)
        assert refusal.value.kind is ErrorKind.NOT_A_LAKE
    assert [entry.name for entry in tmp_path.iterdir()] == ["thesis.txt"]


def test_a_folder_that_cannot_be_made_is_our_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(HosuError):
        hosu.open(tmp_path / "file" / "lake")


def test_a_wrong_setting_is_told(tmp_path: Path) -> None:
    hosu.open(tmp_path).close()
    (tmp_path / "hosu.toml").write_text("space_reserve_byte = 1")
    with pytest.raises(InvalidInputError, match="space_reserve_bytes"):
        hosu.open(tmp_path)


def test_writes_are_refused_below_the_reserve_the_lake_is_set_to(tmp_path: Path) -> None:
    hosu.open(tmp_path).close()
    (tmp_path / "hosu.toml").write_text(f"space_reserve_bytes = {1 << 60}")
    with hosu.open(tmp_path) as lake:
        bucket = lake.create_bucket("images")
        for body in (b"small", bytes(MIB)):
            with pytest.raises(UnavailableError) as refusal:
                bucket.put("k", body)
            assert refusal.value.kind is ErrorKind.DISK_FULL


def test_a_closed_lake_says_so(tmp_path: Path) -> None:
    lake = hosu.open(tmp_path)
    bucket = lake.create_bucket("images")
    lake.close()
    lake.close()
    calls: list[Callable[[], object]] = [
        lake.buckets,
        lambda: bucket.get("k"),
        lambda: bucket.put("k", b""),
        lake.sweep,
    ]
    for call in calls:
        with pytest.raises(UnavailableError) as refusal:
            call()
        assert refusal.value.kind is ErrorKind.SHUTTING_DOWN


def test_importing_hosu_does_not_load_the_engine() -> None:
    script = "import hosu, sys; assert 'apsw' not in sys.modules; hosu.open; assert 'apsw' in sys.modules; hosu.Lake"
    subprocess.run([sys.executable, "-c", script], check=True)
    with pytest.raises(AttributeError, match="opne"):
        _ = hosu.opne  # type: ignore[attr-defined]


# Buckets


def test_buckets_are_made_listed_and_removed(lake: Lake) -> None:
    for name in ("logs", "images", "images-2"):
        lake.create_bucket(name)
    assert [bucket.name for bucket in lake.buckets()] == ["images", "images-2", "logs"]
    assert [bucket.name for bucket in lake.buckets("images")] == ["images", "images-2"]
    with pytest.raises(ConflictError) as taken:
        lake.create_bucket("logs")
    assert taken.value.kind is ErrorKind.BUCKET_EXISTS
    lake.create_bucket("logs", exist_ok=True).put("k", b"1")
    with pytest.raises(ConflictError) as full:
        lake.delete_bucket("logs")
    assert full.value.kind is ErrorKind.BUCKET_NOT_EMPTY
    lake.bucket("logs").delete("k")
    lake.delete_bucket("logs")
    for call in (lambda: lake.bucket("logs"), lambda: lake.delete_bucket("logs")):
        with pytest.raises(NotFoundError) as gone:
            call()
        assert gone.value.kind is ErrorKind.BUCKET_NOT_FOUND
    with pytest.raises(InvalidInputError):
        lake.create_bucket("No Such Name", exist_ok=True)


def test_more_buckets_than_a_page_are_listed(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hosu.lake.opening.list_buckets", functools.partial(list_buckets, limit=2))
    names = [f"bucket-{number}" for number in range(5)]
    for name in names:
        lake.create_bucket(name)
    assert [bucket.name for bucket in lake.buckets()] == names


# Objects


@pytest.mark.parametrize("size_bytes", [0, 1, INLINE_BYTES_MAX, INLINE_BYTES_MAX + 1, 3 * MIB])
def test_what_is_put_comes_back_with_its_md5(images: Bucket, size_bytes: int) -> None:
    data = patterned(size_bytes)
    stored = images.put("raw/a.jpg", data)
    assert (stored.key, stored.size_bytes, stored.modified_ms) == ("raw/a.jpg", size_bytes, START_MS)
    assert stored.etag == hashlib.md5(data).hexdigest()
    assert images.get("raw/a.jpg") == data
    assert images.stat("raw/a.jpg") == images.head("raw/a.jpg") == stored
    assert stored.modified.isoformat() == "2026-01-01T00:00:00+00:00"
    with images.open("raw/a.jpg") as file:
        assert file.read() == data


@pytest.mark.parametrize(
    "body",
    [
        b"one two",
        bytearray(b"one two"),
        memoryview(b"xone two")[1:],
        [b"one", bytearray(b" "), memoryview(b"two")],
        (piece for piece in [b"one ", b"", b"two"]),
        io.BytesIO(b"one two"),
    ],
)
def test_a_body_is_bytes_pieces_or_a_file(images: Bucket, body: Body) -> None:
    images.put("k", body)
    assert images.get("k") == b"one two"


def test_a_file_is_read_from_where_it_stands(images: Bucket, tmp_path: Path) -> None:
    data = patterned(2 * MIB)
    (tmp_path / "video").write_bytes(data)
    with (tmp_path / "video").open("rb") as file:
        file.seek(MIB)
        assert images.put("k", file).size_bytes == MIB
    assert images.get("k") == data[MIB:]


@pytest.mark.parametrize("body", ["text", io.StringIO("text"), [b"one", "two"], 7, None])
def test_what_is_no_bytes_is_refused_and_leaves_nothing(lake: Lake, images: Bucket, body: Any) -> None:
    with pytest.raises(InvalidInputError, match="bytes"):
        images.put("k", body)
    assert not images.exists("k")
    assert list(lake.store.files.root.glob("*/*")) == []


def test_a_body_that_breaks_off_leaves_nothing(lake: Lake, images: Bucket) -> None:
    def body() -> Iterator[bytes]:
        yield bytes(2 * MIB)
        raise ConnectionResetError

    with pytest.raises(ConnectionResetError):
        images.put("k", body())
    assert not images.exists("k")
    assert list(lake.store.files.root.glob("*/*")) == []


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [((0, 3), b"012"), ((3, None), b"3456789"), ((8, 100), b"89"), ((4, 4), b""), ((9, 10), b"9")],
)
def test_a_range_has_an_exclusive_end(images: Bucket, wanted: tuple[int, int | None], expected: bytes) -> None:
    images.put("k", b"0123456789")
    assert images.get("k", range=wanted) == expected


@pytest.mark.parametrize("wanted", [(10, None), (10, 12), (-1, 3), (5, 4)])
def test_a_range_outside_is_refused(images: Bucket, wanted: tuple[int, int | None]) -> None:
    images.put("k", b"0123456789")
    with pytest.raises(InvalidInputError) as refusal:
        images.get("k", range=wanted)
    assert refusal.value.kind is ErrorKind.RANGE_INVALID


@pytest.mark.parametrize("key", ["", "k" * 1025, "\ud800"])
def test_keys_that_no_object_may_have_are_refused_everywhere(images: Bucket, key: str) -> None:
    calls: list[Callable[[], object]] = [
        lambda: images.put(key, b""),
        lambda: images.get(key),
        lambda: images.open(key),
        lambda: images.stat(key),
        lambda: images.exists(key),
        lambda: images.delete(key),
        lambda: images.delete_many([key]),
        lambda: images.copy(key, "k"),
        lambda: images.set_tags(key, {}),
    ]
    for call in calls:
        with pytest.raises(InvalidInputError) as refusal:
            call()
        assert refusal.value.kind in {ErrorKind.KEY_INVALID, ErrorKind.KEY_TOO_LONG}


def test_what_is_missing_is_not_found(images: Bucket) -> None:
    for call in (images.get, images.open, images.stat, images.tags, lambda key: images.copy(key, "z")):
        with pytest.raises(NotFoundError) as refusal:
            call("k")
        assert refusal.value.kind is ErrorKind.OBJECT_NOT_FOUND
    images.delete("k")
    assert not images.exists("k")


def test_an_open_object_is_one_version_of_it(images: Bucket) -> None:
    images.put("k", b"old" * MIB)
    with images.open("k") as file:
        assert file.read(3) == b"old"
        images.put("k", b"new" * MIB)
        file.seek(-3, io.SEEK_END)
        assert file.read() == b"old"
    assert images.get("k", range=(0, 3)) == b"new"


def test_attributes_come_back(images: Bucket) -> None:
    stored = images.put(
        "k", b"1", content_type="image/jpeg", metadata={"Camera": "löwe 7", "iso": "100"}, tags={"split": "train"}
    )
    assert (stored.content_type, stored.metadata) == ("image/jpeg", {"camera": "löwe 7", "iso": "100"})
    assert images.tags("k") == {"split": "train"}
    images.set_tags("k", {"split": "test", "reviewed": ""})
    assert images.stat("k").tags == {"split": "test", "reviewed": ""}
    assert images.stat("k").version_id == stored.version_id == "null"
    assert images.put("plain", b"").content_type == "binary/octet-stream"


def test_a_copy_keeps_values_that_came_in_latin_1_unless_they_are_replaced(lake: Lake, images: Bucket) -> None:
    came = Attributes({"content-type": "é"}, {"a": "é"}, latin_1=("content-type", "x-amz-meta-a"))
    store_object(lake.store, PutRequest("images", "k", stage_inline(b"1"), "0" * 32, came))

    def latin_1(**changes: Any) -> tuple[str, ...]:
        images.copy("k", "copy", **changes)
        return find(lake.store.view(), "images", "copy").attributes.latin_1

    assert latin_1() == ("content-type", "x-amz-meta-a")
    assert latin_1(content_type="text/plain") == ("x-amz-meta-a",)
    assert latin_1(metadata={"a": "ü"}) == ("content-type",)


@pytest.mark.parametrize(
    "attributes",
    [
        {"content_type": "text/plain\r\nSet-Cookie: x=1"},
        {"metadata": {"a": "one\ntwo"}},
        {"metadata": {"a b": "1"}},
        {"metadata": {"é": "1"}},
        {"metadata": {"a": "1", "A": "2"}},
        {"metadata": {"a": "1 "}},
        {"metadata": {"a": "x" * 3000}},
        {"tags": {f"t{number}": "" for number in range(11)}},
        {"tags": {"aws:mine": ""}},
    ],
)
def test_attributes_that_no_header_can_carry_are_refused(images: Bucket, attributes: Any) -> None:
    with pytest.raises(InvalidInputError):
        images.put("k", b"1", **attributes)
    assert not images.exists("k")


def test_conditions_hold_exactly(lake: Lake, images: Bucket) -> None:
    one = images.put("k", b"one", if_none_match="*")
    for if_none_match, if_match in (("*", None), (one.etag, None), (None, "0" * 32)):
        with pytest.raises(PreconditionFailedError):
            images.put("k", bytes(MIB), if_none_match=if_none_match, if_match=if_match)
    assert list(lake.store.files.root.glob("*/*")) == []
    images.put("k", b"two", if_match=f'"{one.etag}"')
    assert images.get("k") == b"two"
    with pytest.raises(NotFoundError):
        images.put("z", b"", if_match="*")

    def create(number: int) -> bool:
        try:
            images.put("raced", str(number).encode(), if_none_match="*")
        except PreconditionFailedError:
            return False
        return True

    with ThreadPoolExecutor(8) as pool:
        won = list(pool.map(create, range(8)))
    assert sum(won) == 1
    assert images.get("raced") == str(won.index(True)).encode()


def test_listing_goes_over_all_pages_in_utf8_order(images: Bucket, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hosu.lake.bucket.LIST_KEYS_MAX", 3)
    names = sorted([f"p/{number:02}" for number in range(12)] + ["a.b", "a/b", "é", "\U0001f600"], key=str.encode)
    for name in names:
        images.put(name, b"1")
    assert keys(images.list()) == names
    assert keys(images.list("p/1")) == ["p/10", "p/11"]
    assert keys(images.list(after="p/10")) == ["p/11", "é", "\U0001f600"]
    assert list(images.list(delimiter="/"))[1:3] == [Prefix("a/"), Prefix("p/")]
    first = next(images.list("p/"))
    assert isinstance(first, ObjectSummary)
    assert (first.size_bytes, first.etag) == (1, hashlib.md5(b"1").hexdigest())
    assert list(images.list("nothing/")) == []
    with pytest.raises(InvalidInputError):
        images.list("\ud800")


def test_delete_many_takes_all_and_misses_none(images: Bucket) -> None:
    for key in ("a", "b", "c"):
        images.put(key, b"1")
    images.delete_many(iter(["a", "nowhere", "c"]))
    assert keys(images.list()) == ["b"]


def test_a_copy_moves_no_byte_and_takes_along_what_is_not_replaced(lake: Lake, images: Bucket) -> None:
    data = patterned(MIB)
    images.put("a", data, content_type="image/png", metadata={"m": "1"}, tags={"t": "1"})
    archive = lake.create_bucket("archive")
    for source_bucket in (images, "images"):
        copied = archive.copy("a", "b", source_bucket=source_bucket)
        assert (copied.content_type, copied.metadata, copied.tags) == ("image/png", {"m": "1"}, {"t": "1"})
    assert archive.get("b") == data
    assert len(list(lake.store.files.root.glob("*/*"))) == 1
    changed = images.copy("a", "a", metadata={"m": "2"}, tags={})
    assert (changed.content_type, changed.metadata, changed.tags) == ("image/png", {"m": "2"}, {})
    assert images.copy("a", "c", content_type="image/jpeg").metadata == {"m": "2"}
    with pytest.raises(PreconditionFailedError):
        images.copy("a", "c", if_none_match="*")


def test_versions_are_kept_read_and_removed(images: Bucket) -> None:
    assert images.versioning == Versioning.NEVER
    images.put("k", b"zero")
    images.enable_versioning()
    one, two = images.put("k", b"one"), images.put("k", b"two")
    images.delete("k")
    assert not images.exists("k")
    shown = list(images.versions("k"))
    assert [(info.is_marker, info.is_latest, info.version_id) for info in shown] == [
        (True, True, shown[0].version_id),
        (False, False, two.version_id),
        (False, False, one.version_id),
        (False, False, "null"),
    ]
    assert images.get("k", version=one.version_id) == b"one"
    assert images.get("k", version="null") == b"zero"
    with images.open("k", version=two.version_id) as file:
        assert file.read() == b"two"
    assert images.copy("k", "again", version=one.version_id).etag == one.etag
    images.delete("k", version=shown[0].version_id)
    assert images.get("k") == b"two"
    with pytest.raises(NotFoundError) as refusal:
        images.get("k", version="0" * 32)
    assert refusal.value.kind is ErrorKind.VERSION_NOT_FOUND
    images.suspend_versioning()
    assert images.versioning.name == "SUSPENDED"


def test_versions_go_over_all_pages(images: Bucket, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hosu.lake.bucket.LIST_KEYS_MAX", 3)
    images.enable_versioning()
    stored = [images.put(f"{number}", b"1") for _ in range(2) for number in range(7)]
    found = [(info.key, info.version_id) for info in images.versions()]
    assert found == [
        (info.key, info.version_id) for number in range(7) for info in (stored[7 + number], stored[number])
    ]


def test_usage_counts_objects_versions_and_bytes(images: Bucket) -> None:
    images.enable_versioning()
    images.put("a", b"12345")
    images.put("a", b"123")
    images.put("b", b"1")
    images.delete("b")
    usage = images.usage()
    assert (usage.object_count, usage.object_bytes) == (1, 3)
    assert (usage.version_count, usage.version_bytes, usage.marker_count) == (2, 6, 1)


def test_a_fileio_of_a_bucket_shares_its_objects(images: Bucket) -> None:
    images.put("tables/a", b"1")
    assert images.fileio("tables/").read("a") == b"1"
    images.fileio("tables/").put("b", b"2")
    assert images.get("tables/b") == b"2"


# Aliases


def test_an_alias_is_set_shown_switched_and_reverted(lake: Lake, images: Bucket, clock: ManualClock) -> None:
    for version in ("v1", "v2"):
        images.put(f"models/{version}/best.pt", version.encode())
    current = images.alias("models/current/")
    assert current.show() is None
    current.set("models/v1/")
    assert images.get("models/current/best.pt") == b"v1"
    clock.advance(HOUR_MS)
    lake.actor = "ann"
    current.set("models/v2/")
    shown = current.show()
    assert shown is not None
    assert shown.target == "models/v2/"
    assert keys(images.list("models/current/")) == ["models/current/best.pt"]
    assert images.get("models/current/best.pt") == b"v2"
    assert current.revert().target == "models/v1/"
    assert images.get("models/current/best.pt") == b"v1"
    history = [(switch.actor, switch.source, switch.target, switch.at_ms - START_MS) for switch in current.history()]
    assert history == [
        ("ann", "models/v2/", "models/v1/", HOUR_MS),
        ("ann", "models/v1/", "models/v2/", HOUR_MS),
        ("in-process", None, "models/v1/", 0),
    ]
    assert [switch.target for switch in current.history(limit=1)] == ["models/v1/"]
    assert [(alias.prefix, alias.target) for alias in images.aliases()] == [("models/current/", "models/v1/")]
    writes: list[Callable[[], object]] = [
        lambda: images.put("models/current/x", b""),
        lambda: images.delete("models/current/best.pt"),
        lambda: images.copy("models/v1/best.pt", "models/current/x"),
        lambda: images.set_tags("models/current/best.pt", {}),
    ]
    for write in writes:
        with pytest.raises(ConflictError) as refusal:
            write()
        assert refusal.value.kind is ErrorKind.ALIAS_READ_ONLY
    current.remove()
    assert current.show() is None
    for call in (current.remove, current.revert):
        with pytest.raises(NotFoundError) as gone:
            call()
        assert gone.value.kind is ErrorKind.ALIAS_NOT_FOUND
    assert len(current.history()) == 4


# The lake as a whole


def test_changes_tell_every_mutation_once_and_in_order(lake: Lake, images: Bucket) -> None:
    images.put("a", b"1")
    seen = list(lake.changes())
    assert [event.kind for event in seen] == ["BucketCreated", "ObjectCreated:Put"]
    images.copy("a", "b")
    images.set_tags("b", {"t": "1"})
    images.delete("a")
    fresh = list(lake.changes(seen[-1].seq))
    assert [(event.kind, event.key) for event in fresh] == [
        ("ObjectCreated:Copy", "b"),
        ("ObjectTagging:Put", "b"),
        ("ObjectRemoved:Delete", "a"),
    ]
    assert {event.actor for event in fresh} == {"in-process"}


def test_changes_go_over_all_pages(lake: Lake, images: Bucket) -> None:
    fileio = images.fileio()
    fileio.put("k", b"1")
    first = list(lake.changes())[-1].seq
    fileio.delete_many(["k"])

    def record(tx: Tx) -> None:
        for _ in range(600):
            tx.record_event(tx.next_seq(), "Test", "images", "k", "", 0, "", "")

    for _ in range(2):
        lake.store.commit(record)
    events = list(lake.changes(first))
    assert len(events) == 1201
    assert [event.seq for event in events] == sorted({event.seq for event in events})


def test_the_sweep_gives_space_back_after_its_grace(lake: Lake, images: Bucket, clock: ManualClock) -> None:
    images.put("k", bytes(MIB))
    images.delete("k")
    assert lake.sweep().blobs == 0
    clock.advance(HOUR_MS)
    report = lake.sweep()
    assert (report.blobs, report.bytes) == (1, MIB)
    assert list(lake.store.files.root.glob("*/*")) == []


def test_the_sweep_leaves_the_lake_to_its_server(lake: Lake) -> None:
    lock = LakeLock(lake.path)
    with pytest.raises(ConflictError, match=f"process {os.getpid()} .*sweeps its lake by itself") as refusal:
        lake.sweep()
    assert refusal.value.kind is ErrorKind.LAKE_LOCKED
    lock.release()
    lake.sweep()
    LakeLock(lake.path).release()


def test_hosu_paths_open_the_lake(lake: Lake, images: Bucket, tmp_path: Path) -> None:
    images.put("labels/a.txt", b"1")
    files: Any = HosuFileSystem(lake=str(lake.path), skip_instance_cache=True)
    try:
        assert files.ls("", detail=False) == ["images"]
        assert files.cat_file("hosu://images/labels/a.txt") == b"1"
        files.mkdir("logs")
        with files.open("logs/b.txt", "wb") as file:
            file.write(b"2")
        assert lake.bucket("logs").get("b.txt") == b"2"
        files.rm("logs", recursive=True)
        assert [bucket.name for bucket in lake.buckets()] == ["images"]
    finally:
        files._files._lake.close()
    with pytest.raises(ConflictError) as refusal:
        HosuFileSystem(lake=str(tmp_path / "typo"), skip_instance_cache=True)
    assert refusal.value.kind is ErrorKind.NOT_A_LAKE
    assert not (tmp_path / "typo").exists()


def test_threads_share_a_lake(images: Bucket) -> None:
    def work(number: int) -> None:
        for step in range(10):
            key = f"{number}/{step}"
            images.put(key, key.encode() * (1 if step % 2 else 5_000))
            assert images.get(key, range=(0, len(key))) == key.encode()

    with ThreadPoolExecutor(6) as pool:
        list(pool.map(work, range(6)))
    assert images.usage().object_count == 60


# Beside a running server


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, isolated_shell: None) -> Iterator[ServerProcess]:  # noqa: ARG001 - the server inherits the cleaned environment
    folder = tmp_path_factory.mktemp("served")
    with ServerProcess(folder / "lake", folder / "server.log") as process:
        yield process


@pytest.fixture(scope="module")
def s3(server: ServerProcess) -> Iterator[S3Client]:
    client = boto3_client(server.endpoint)
    yield client
    client.close()


@pytest.fixture(scope="module")
def beside(server: ServerProcess) -> Iterator[Lake]:
    with hosu.open(server.directory) as lake:
        yield lake


@pytest.mark.parametrize("size_bytes", [0, 5, INLINE_BYTES_MAX + 1, 2 * MIB])
def test_what_one_side_writes_the_other_reads(beside: Lake, s3: S3Client, size_bytes: int) -> None:
    data = patterned(size_bytes)
    name = f"both-{size_bytes}"
    s3.create_bucket(Bucket=name)
    bucket = beside.bucket(name)
    put = s3.put_object(
        Bucket=name, Key="by-s3", Body=data, ContentType="image/png", Metadata={"m": "1"}, Tagging="t=1"
    )
    info = bucket.stat("by-s3")
    assert (info.etag, info.content_type, info.metadata, info.tags) == (
        put["ETag"].strip('"'),
        "image/png",
        {"m": "1"},
        {"t": "1"},
    )
    assert bucket.get("by-s3") == data
    stored = bucket.put("by-python", data, content_type="image/jpeg", metadata={"M": "löwe"}, tags={"t": "2"})
    got = s3.get_object(Bucket=name, Key="by-python")
    assert got["Body"].read() == data
    assert (got["ETag"], got["ContentType"]) == (f'"{stored.etag}"', "image/jpeg")
    assert s3.get_object_tagging(Bucket=name, Key="by-python")["TagSet"] == [{"Key": "t", "Value": "2"}]
    assert [entry["Key"] for entry in s3.list_objects_v2(Bucket=name)["Contents"]] == ["by-python", "by-s3"]
    assert info_etags(bucket.list()) == [stored.etag, info.etag]


def info_etags(entries: Iterator[ObjectSummary]) -> list[str]:
    return [entry.etag for entry in entries]


def test_conditions_are_exact_between_python_and_s3(beside: Lake, s3: S3Client) -> None:
    bucket = beside.create_bucket("counter")
    bucket.put("n", b"0")
    steps = 15

    def by_python() -> bool:
        etag, value = bucket.stat("n").etag, int(bucket.get("n"))
        try:
            bucket.put("n", str(value + 1).encode(), if_match=etag)
        except PreconditionFailedError:
            return False
        return True

    def by_s3() -> bool:
        got = s3.get_object(Bucket="counter", Key="n")
        value = int(got["Body"].read())
        try:
            s3.put_object(Bucket="counter", Key="n", Body=str(value + 1).encode(), IfMatch=got["ETag"])
        except ClientError as error:
            if error.response["Error"]["Code"] != "PreconditionFailed":
                raise
            return False
        return True

    def count_up(step: Callable[[], bool]) -> None:
        done = 0
        while done < steps:
            done += step()

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(count_up, (by_python, by_s3, by_python, by_s3)))
    assert bucket.get("n") == str(4 * steps).encode()


def test_an_object_uploaded_in_parts_reads_in_process(beside: Lake, s3: S3Client) -> None:
    bucket = beside.create_bucket("parts")
    bodies = [patterned(5 * MIB), patterned(MIB)]
    upload_id = s3.create_multipart_upload(Bucket="parts", Key="k")["UploadId"]
    named = []
    for number, body in enumerate(bodies, 1):
        part = s3.upload_part(Bucket="parts", Key="k", UploadId=upload_id, PartNumber=number, Body=body)
        named.append({"PartNumber": number, "ETag": part["ETag"]})
    s3.complete_multipart_upload(Bucket="parts", Key="k", UploadId=upload_id, MultipartUpload={"Parts": named})
    data = b"".join(bodies)
    assert bucket.get("k") == data
    assert bucket.get("k", range=(5 * MIB - 2, 5 * MIB + 2)) == data[5 * MIB - 2 : 5 * MIB + 2]
    copied: ObjectInfo = bucket.copy("k", "copy")
    assert copied.etag.endswith("-2")
    assert s3.get_object(Bucket="parts", Key="copy")["Body"].read() == data


def test_the_change_feed_tells_of_both_sides(beside: Lake, s3: S3Client, server: ServerProcess) -> None:
    bucket = beside.create_bucket("feed")
    after = list(beside.changes())[-1].seq
    s3.put_object(Bucket="feed", Key="by-s3", Body=b"1")
    bucket.put("by-python", b"1")
    assert [(event.key, event.actor) for event in beside.changes(after)] == [
        ("by-s3", server.access_key),
        ("by-python", "in-process"),
    ]


def test_a_server_keeps_the_sweep_to_itself(beside: Lake) -> None:
    with pytest.raises(ConflictError) as refusal:
        beside.sweep()
    assert refusal.value.kind is ErrorKind.LAKE_LOCKED


def test_both_write_at_once_and_nothing_is_lost(beside: Lake, s3: S3Client) -> None:
    bucket = beside.create_bucket("busy")
    barrier = threading.Barrier(4)

    def by_python(number: int) -> None:
        barrier.wait()
        for step in range(20):
            bucket.put(f"python/{number}/{step}", f"{number}/{step}".encode() * 4_000)

    def by_s3(number: int) -> None:
        barrier.wait()
        for step in range(20):
            s3.put_object(Bucket="busy", Key=f"s3/{number}/{step}", Body=f"{number}/{step}".encode() * 4_000)

    with ThreadPoolExecutor(4) as pool:
        for running in [pool.submit(task, number) for task in (by_python, by_s3) for number in range(2)]:
            running.result()
    assert bucket.usage().object_count == 80
    for entry in bucket.list():
        _, number, step = entry.key.split("/")
        assert bucket.get(entry.key) == f"{number}/{step}".encode() * 4_000
    assert find_faults(beside.store) == []

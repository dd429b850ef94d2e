"""Put, copy, tag, delete and read one object: what each answers and refuses."""

import hashlib

import pytest
from tests.unit.objects.conftest import BUCKET, Commit, Put

from hosu.kernel.errors import ErrorKind, InvalidInputError, NotFoundError, PreconditionFailedError
from hosu.kernel.limits import INLINE_BYTES_MAX
from hosu.objects.buckets import set_versioning
from hosu.objects.delete import DeleteOutcome, delete_object
from hosu.objects.put import CopyRequest, copy_object, set_tags
from hosu.objects.read import clip_range, find, find_with_blob
from hosu.objects.records import Attributes, Checksum, Conditions, Versioning
from hosu.objects.store import ObjectStore
from hosu.testing.lake_check import read_blob
from hosu.testing.manual_clock import ManualClock

ETAG = hashlib.md5(b"body").hexdigest()


def read(store: ObjectStore, key: str) -> bytes:
    view = store.view()
    _, blob = find_with_blob(view, BUCKET, key)
    return b"" if blob is None else read_blob(store, view, blob)


@pytest.mark.parametrize("size_bytes", [0, 1, INLINE_BYTES_MAX, INLINE_BYTES_MAX + 1, 100_000])
def test_a_body_of_any_size_reads_as_it_was_put(store: ObjectStore, put: Put, size_bytes: int) -> None:
    body = bytes(range(256)) * (size_bytes // 256 + 1)
    put("k", body[:size_bytes])
    assert read(store, "k") == body[:size_bytes]


def test_an_object_keeps_all_that_came_with_it(store: ObjectStore, put: Put, clock: ManualClock) -> None:
    attributes = Attributes(headers={"content-type": "image/jpeg"}, metadata={"é": "ü"}, tags={"a": "b"})
    checksum = Checksum("CRC32C", "FULL_OBJECT", "AAAAAA==")
    put("k", attributes=attributes, checksum=checksum, storage_class="GLACIER")
    record = find(store.view(), BUCKET, "k")
    assert record.attributes == attributes
    assert record.checksum == checksum
    assert (record.storage_class, record.modified_ms, record.etag) == ("GLACIER", clock.now_ms(), ETAG)


def test_equal_files_share_their_bytes_and_small_bodies_do_not(store: ObjectStore, put: Put) -> None:
    large = [put(key, b"x" * 20_000).blob_id for key in ("a", "b")]
    small = [put(key, b"x").blob_id for key in ("c", "d")]
    assert large[0] == large[1]
    assert small[0] != small[1]
    assert len(list(store.files.root.glob("*/*"))) == 1


@pytest.mark.parametrize(
    ("conditions", "kind"),
    [
        (Conditions(if_none_match="*"), ErrorKind.PRECONDITION_FAILED),
        (Conditions(if_none_match=ETAG), ErrorKind.PRECONDITION_FAILED),
        (Conditions(if_none_match="other"), None),
        (Conditions(if_match=ETAG), None),
        (Conditions(if_match="*"), None),
        (Conditions(if_match="other"), ErrorKind.PRECONDITION_FAILED),
    ],
)
def test_conditions_are_held_against_the_current_object(
    put: Put, conditions: Conditions, kind: ErrorKind | None
) -> None:
    put("k")
    if kind is None:
        put("k", b"new", conditions=conditions)
    else:
        with pytest.raises(PreconditionFailedError) as refusal:
            put("k", b"new", conditions=conditions)
        assert refusal.value.kind == kind


def test_if_match_of_a_missing_object_is_not_found(put: Put) -> None:
    with pytest.raises(NotFoundError) as refusal:
        put("k", conditions=Conditions(if_match="*"))
    assert refusal.value.kind == ErrorKind.OBJECT_NOT_FOUND


@pytest.mark.parametrize(("field", "value"), [("modified_s", 1), ("size_bytes", 99), ("if_match", "other")])
def test_a_delete_on_a_condition_that_fails_deletes_nothing(
    store: ObjectStore, put: Put, commit: Commit, field: str, value: object
) -> None:
    record = put("k")
    right = {"modified_s": record.modified_ms // 1000, "size_bytes": 4, "if_match": ETAG}
    with pytest.raises(PreconditionFailedError):
        commit(delete_object, BUCKET, "k", conditions=Conditions(**(right | {field: value})))  # type: ignore[arg-type]
    assert read(store, "k") == b"body"
    commit(delete_object, BUCKET, "k", conditions=Conditions(**right))  # type: ignore[arg-type]
    with pytest.raises(NotFoundError):
        find(store.view(), BUCKET, "k")


def test_deleting_what_is_not_there_is_no_error(commit: Commit) -> None:
    assert commit(delete_object, BUCKET, "k") == DeleteOutcome()
    assert commit(delete_object, BUCKET, "k", "version") == DeleteOutcome("version")


def test_a_marker_hides_the_object_and_says_so(store: ObjectStore, put: Put, commit: Commit) -> None:
    commit(set_versioning, BUCKET, Versioning.ENABLED)
    version_id = put("k").version_id
    marker = commit(delete_object, BUCKET, "k")
    assert marker.is_marker
    with pytest.raises(NotFoundError) as refusal:
        find_with_blob(store.view(), BUCKET, "k")
    assert refusal.value.details["marker_version_id"] == marker.version_id
    with pytest.raises(NotFoundError) as refusal:
        find(store.view(), BUCKET, "k", marker.version_id)
    assert refusal.value.kind == ErrorKind.METHOD_NOT_ALLOWED
    assert find(store.view(), BUCKET, "k", version_id).size_bytes == 4
    assert commit(delete_object, BUCKET, "k", marker.version_id) == DeleteOutcome(marker.version_id, is_marker=True)
    assert read(store, "k") == b"body"


@pytest.mark.parametrize("version_id", ["other", "null", "0" * 32, "f" * 32, "é" * 32, "-" + "1" * 31])
def test_an_unknown_version_is_not_found(store: ObjectStore, put: Put, commit: Commit, version_id: str) -> None:
    commit(set_versioning, BUCKET, Versioning.ENABLED)
    put("k")
    with pytest.raises(NotFoundError) as refusal:
        find(store.view(), BUCKET, "k", version_id)
    assert refusal.value.kind == ErrorKind.VERSION_NOT_FOUND


def test_a_copy_shares_bytes_and_keeps_or_replaces_what_came_with_them(
    store: ObjectStore, put: Put, commit: Commit
) -> None:
    source = put("s", b"s" * 20_000, attributes=Attributes(metadata={"a": "b"}, tags={"t": "1"}))
    kept = commit(copy_object, CopyRequest(BUCKET, "s", BUCKET, "kept")).record
    assert (kept.blob_id, kept.attributes) == (source.blob_id, source.attributes)
    request = CopyRequest(BUCKET, "s", BUCKET, "new", attributes=Attributes(metadata={"c": "d"}), tags={"t": "2"})
    replaced = commit(copy_object, request).record
    assert replaced.attributes == Attributes(metadata={"c": "d"}, tags={"t": "2"})
    commit(delete_object, BUCKET, "s")
    assert read(store, "kept") == read(store, "new") == b"s" * 20_000


def test_a_copy_of_a_source_that_changed_meanwhile_changes_nothing(
    store: ObjectStore, put: Put, commit: Commit
) -> None:
    seen = put("s")
    put("s", b"newer")
    outcome = commit(copy_object, CopyRequest(BUCKET, "s", BUCKET, "k", source_seq=seen.seq))
    assert outcome.is_stale
    with pytest.raises(NotFoundError):
        find(store.view(), BUCKET, "k")


def test_tags_of_one_version_change_without_making_another(store: ObjectStore, put: Put, commit: Commit) -> None:
    commit(set_versioning, BUCKET, Versioning.ENABLED)
    old, new = put("k").version_id, put("k").version_id
    commit(set_tags, BUCKET, "k", old, {"which": "old"})
    commit(set_tags, BUCKET, "k", None, {"which": "new"})
    tags = {it: find(store.view(), BUCKET, "k", it).attributes.tags["which"] for it in (old, new)}
    assert tags == {old: "old", new: "new"}
    assert store.view().bucket(BUCKET).usage.version_count == 1
    with pytest.raises(InvalidInputError):
        commit(set_tags, BUCKET, "k", None, {"aws:x": ""})


@pytest.mark.parametrize(
    ("size_bytes", "start", "end", "expected"),
    [
        (10, None, None, (0, 10)),
        (10, 2, 5, (2, 5)),
        (10, 2, 99, (2, 10)),
        (10, 9, None, (9, 10)),
        (0, 0, 1, (0, 0)),
    ],
)
def test_a_range_is_clipped_to_the_body(
    size_bytes: int, start: int | None, end: int | None, expected: tuple[int, int]
) -> None:
    assert clip_range(size_bytes, start, end) == expected


@pytest.mark.parametrize(("size_bytes", "start", "end"), [(10, 10, None), (10, -1, 5), (10, 5, 4), (0, 1, None)])
def test_a_range_outside_of_the_body_is_refused(size_bytes: int, start: int, end: int | None) -> None:
    with pytest.raises(InvalidInputError) as refusal:
        clip_range(size_bytes, start, end)
    assert refusal.value.kind == ErrorKind.RANGE_INVALID

import hashlib

import pytest
from tests.unit.objects.conftest import BUCKET, Commit, Put, Stage

from hosu.kernel.errors import ErrorKind, HosuError, InvalidInputError, NotFoundError, PreconditionFailedError
from hosu.kernel.limits import PART_NUMBER_MAX
from hosu.objects import multipart
from hosu.objects.multipart import CompletedPart, CompleteRequest, Part, Upload, choose_parts
from hosu.objects.read import find, find_with_blob, parts, pieces
from hosu.objects.records import NO_CONDITIONS, Attributes, Conditions
from hosu.objects.store import ObjectStore
from hosu.objects.sweep import sweep
from hosu.testing.lake_check import find_faults, find_orphans, read_blob


@pytest.fixture(autouse=True)
def _small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(multipart, "PART_BYTES_MIN", 2)


@pytest.fixture
def upload(commit: Commit) -> Upload:
    begun: Upload = commit(multipart.create_upload, BUCKET, "k", attributes=Attributes(tags={"a": "b"}))
    return begun


def md5(body: bytes) -> str:
    return hashlib.md5(body).hexdigest()


def add(commit: Commit, stage: Stage, upload: Upload, number: int, body: bytes) -> CompletedPart:
    commit(multipart.add_part, BUCKET, "k", upload.upload_id, number, stage(body), etag=md5(body), checksum_value="c")
    return CompletedPart(number, md5(body))


def completing(upload: Upload, named: list[CompletedPart], conditions: Conditions = NO_CONDITIONS) -> CompleteRequest:
    return CompleteRequest(BUCKET, "k", upload.upload_id, named, conditions=conditions)


def test_the_named_parts_become_the_object(store: ObjectStore, commit: Commit, stage: Stage, upload: Upload) -> None:
    bodies = {2: b"two" * 10_000, 5: b"five", 9: b"9"}
    named = [add(commit, stage, upload, number, body) for number, body in bodies.items()]
    add(commit, stage, upload, 7, b"not named")
    record = commit(multipart.complete_upload, completing(upload, named))
    whole = b"".join(bodies.values())
    view = store.view()
    found, blob = find_with_blob(view, BUCKET, "k")
    assert blob is not None
    assert read_blob(store, view, blob) == whole
    assert (found.size_bytes, found.part_count, found.attributes.tags) == (len(whole), 3, {"a": "b"})
    assert record.etag == md5(b"".join(bytes.fromhex(part.etag) for part in named)) + "-3"
    facts = parts(view, found)
    assert [(it.number, it.start, it.size_bytes, it.checksum_value) for it in facts] == [
        (2, 0, 30_000, "c"), (5, 30_000, 4, "c"), (9, 30_004, 1, "c")
    ]  # fmt: skip
    assert parts(view, found, after=2, limit=1) == facts[1:2]


def test_a_range_touches_only_the_parts_it_is_in(
    store: ObjectStore, commit: Commit, stage: Stage, upload: Upload
) -> None:
    named = [add(commit, stage, upload, number, str(number).encode() * 4) for number in range(1, 6)]
    commit(multipart.complete_upload, completing(upload, named))
    view = store.view()
    _, blob = find_with_blob(view, BUCKET, "k")
    assert blob is not None
    for start, end in [(0, 20), (3, 5), (4, 8), (19, 20), (5, 5), (7, 17)]:
        found = list(pieces(view, blob, start, end))
        content = b"".join(read_blob(store, view, it.blob)[it.start : it.start + it.size_bytes] for it in found)
        assert content == b"11112222333344445555"[start:end]
        assert len(found) <= (end - start) // 4 + 2


def test_a_part_sent_again_takes_the_place_of_the_first(
    store: ObjectStore, commit: Commit, stage: Stage, upload: Upload
) -> None:
    add(commit, stage, upload, 1, b"f" * 20_000)
    add(commit, stage, upload, 1, b"second")
    assert [it.size_bytes for it in multipart.list_parts(store.view(), upload)] == [6]
    sweep(store, grace_ms=0, orphan_ms=0)
    assert list(store.files.root.glob("*/*")) == []


def test_a_completion_sent_again_gets_the_same_answer_until_the_object_changes(
    commit: Commit, stage: Stage, put: Put, upload: Upload
) -> None:
    request = completing(upload, [add(commit, stage, upload, 1, b"body")])
    assert commit(multipart.complete_upload, request) == commit(multipart.complete_upload, request)
    put("k", b"other")
    with pytest.raises(NotFoundError) as refusal:
        commit(multipart.complete_upload, request)
    assert refusal.value.kind == ErrorKind.UPLOAD_NOT_FOUND


def test_an_aborted_upload_gives_its_space_back(
    store: ObjectStore, commit: Commit, stage: Stage, upload: Upload
) -> None:
    add(commit, stage, upload, 1, b"f" * 20_000)
    commit(multipart.abort_upload, BUCKET, "k", upload.upload_id)
    sweep(store, grace_ms=0, orphan_ms=0)
    assert find_orphans(store) == set()
    assert find_faults(store) == []
    with pytest.raises(NotFoundError):
        commit(multipart.abort_upload, BUCKET, "k", upload.upload_id)


@pytest.mark.parametrize("number", [0, -1, PART_NUMBER_MAX + 1])
def test_part_numbers_outside_of_the_limits_are_refused(
    store: ObjectStore, commit: Commit, stage: Stage, upload: Upload, number: int
) -> None:
    with pytest.raises(InvalidInputError) as refusal:
        add(commit, stage, upload, number, b"body")
    assert refusal.value.kind == ErrorKind.PART_NUMBER_INVALID
    assert find_faults(store) == []


@pytest.mark.parametrize(
    ("named", "kind"),
    [
        ([], ErrorKind.INVALID_ARGUMENT),
        ([(2, "b"), (1, "a")], ErrorKind.PART_ORDER_INVALID),
        ([(1, "a"), (1, "a")], ErrorKind.PART_ORDER_INVALID),
        ([(3, "c")], ErrorKind.PART_INVALID),
        ([(1, "other")], ErrorKind.PART_INVALID),
        ([(2, "b"), (4, "d")], ErrorKind.PART_TOO_SMALL),
    ],
)
def test_a_completion_that_names_other_parts_than_stored_is_refused(
    named: list[tuple[int, str]], kind: ErrorKind
) -> None:
    stored = [Part(1, 5, "a", 0, None, None), Part(2, 1, "b", 0, None, None), Part(4, 1, "d", 0, None, None)]
    with pytest.raises(InvalidInputError) as refusal:
        choose_parts(stored, [CompletedPart(*it) for it in named])
    assert refusal.value.kind == kind


def test_a_part_with_another_checksum_than_named_is_refused() -> None:
    with pytest.raises(InvalidInputError) as refusal:
        choose_parts([Part(1, 5, "a", 0, None, "x")], [CompletedPart(1, "a", "y")])
    assert refusal.value.kind == ErrorKind.PART_INVALID


def test_an_upload_of_ten_thousand_parts_completes(
    store: ObjectStore, commit: Commit, stage: Stage, upload: Upload
) -> None:
    body = stage(b"ab")

    def add_all(tx: object) -> None:
        for number in range(1, PART_NUMBER_MAX + 1):
            multipart.add_part(tx, BUCKET, "k", upload.upload_id, number, body, etag=md5(b"ab"))  # type: ignore[arg-type]

    store.commit(add_all)
    named = [CompletedPart(number, md5(b"ab")) for number in range(1, PART_NUMBER_MAX + 1)]
    record = commit(multipart.complete_upload, completing(upload, named))
    assert (record.size_bytes, record.part_count) == (2 * PART_NUMBER_MAX, PART_NUMBER_MAX)
    assert record.etag.endswith("-10000")
    last = parts(store.view(), record, after=PART_NUMBER_MAX - 1)
    assert [(it.number, it.start) for it in last] == [(PART_NUMBER_MAX, 2 * PART_NUMBER_MAX - 2)]


def test_a_completion_on_a_condition_leaves_the_upload_when_it_fails(
    store: ObjectStore, commit: Commit, stage: Stage, put: Put, upload: Upload
) -> None:
    put("k", b"first")
    named = [add(commit, stage, upload, 1, b"body")]
    with pytest.raises(PreconditionFailedError):
        commit(multipart.complete_upload, completing(upload, named, Conditions(if_none_match="*")))
    assert multipart.get_upload(store.view(), BUCKET, "k", upload.upload_id) == upload
    commit(multipart.complete_upload, completing(upload, named))
    assert find(store.view(), BUCKET, "k").size_bytes == 4


def test_a_range_of_an_object_of_parts_becomes_a_part_without_copying_bytes(
    store: ObjectStore, commit: Commit, stage: Stage, upload: Upload
) -> None:
    named = [add(commit, stage, upload, 1, b"a" * 20_000), add(commit, stage, upload, 2, b"b" * 20_000)]
    source = commit(multipart.complete_upload, completing(upload, named))
    files = set(store.files.root.glob("*/*"))
    second = commit(multipart.create_upload, BUCKET, "k2", attributes=Attributes())
    body = (b"a" * 20_000 + b"b" * 20_000)[15_000:25_000]
    names = (BUCKET, "k2", second.upload_id)
    commit(multipart.add_part_by_reference, *names, 1, source, 15_000, 25_000, etag=md5(body))
    commit(multipart.complete_upload, CompleteRequest(*names, [CompletedPart(1, md5(body))]))
    view = store.view()
    _, blob = find_with_blob(view, BUCKET, "k2")
    assert blob is not None
    assert read_blob(store, view, blob) == body
    assert set(store.files.root.glob("*/*")) == files
    assert find_faults(store) == []


def test_uploads_are_listed_by_key_and_age_with_common_prefixes(store: ObjectStore, commit: Commit) -> None:
    for key in ("b/2", "a", "b/1", "b/1", "c"):
        commit(multipart.create_upload, BUCKET, key, attributes=Attributes())
    first = multipart.list_uploads(store.view(), BUCKET, delimiter="/", limit=2)
    assert ([it.key for it in first.uploads], first.prefixes, first.is_truncated) == (["a"], ["b/"], True)
    second = multipart.list_uploads(store.view(), BUCKET, delimiter="/", limit=2, key_marker=first.last_key)
    assert ([it.key for it in second.uploads], second.prefixes, second.is_truncated) == (["c"], [], False)
    below = multipart.list_uploads(store.view(), BUCKET, prefix="b/")
    assert [it.key for it in below.uploads] == ["b/1", "b/1", "b/2"]
    assert below.uploads[0].upload_id < below.uploads[1].upload_id


def test_an_upload_of_another_key_is_not_found(store: ObjectStore, upload: Upload) -> None:
    for key, upload_id in (("other", upload.upload_id), ("k", "other")):
        with pytest.raises(HosuError) as refusal:
            multipart.get_upload(store.view(), BUCKET, key, upload_id)
        assert refusal.value.kind == ErrorKind.UPLOAD_NOT_FOUND

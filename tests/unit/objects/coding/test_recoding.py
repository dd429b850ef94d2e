"""Moving an object into a class: only the place of its bytes and the class change, and nothing is lost on the way."""

import hashlib
from functools import partial

import msgspec
import pytest
from tests.unit.objects.coding.conftest import (
    BUCKET,
    NOISE,
    PICTURE,
    SMALL,
    WORDS,
    Cool,
    Read,
    Stored,
    Write,
    stored_as,
    upload,
)

from hosu.kernel.errors import CorruptError, ErrorKind, UnsupportedError
from hosu.objects.audit import Origin
from hosu.objects.blobs import VERIFIED_MS_MAX
from hosu.objects.bodies import open_body
from hosu.objects.buckets import delete_bucket, set_versioning
from hosu.objects.coding import frames, jpeg, recoding, staging
from hosu.objects.coding.recoding import recode
from hosu.objects.copying import copy_stored
from hosu.objects.delete import delete_object
from hosu.objects.encryption import Encryption, EncryptionMode
from hosu.objects.multipart import (
    CompletedPart,
    CompleteRequest,
    add_part_by_reference,
    complete_upload,
    create_upload,
)
from hosu.objects.put import CopyRequest, copy_object
from hosu.objects.read import find, find_with_blob, parts
from hosu.objects.records import (
    COLD,
    STANDARD,
    Attributes,
    BlobKind,
    Checksum,
    ObjectRecord,
    Versioning,
)
from hosu.objects.store import ObjectStore
from hosu.objects.sweep import sweep
from hosu.testing.manual_clock import ManualClock

SSE_S3 = Encryption(EncryptionMode.SSE_S3)
SSE_C = Encryption(EncryptionMode.SSE_C, customer_key=b"c" * 32)

BODIES = {
    "words": (WORDS, "zstd"),
    "noise": (NOISE, None),
    "picture": (PICTURE, "jxl"),
    "small": (SMALL, "zstd"),
    "tiny": (b"tiny " * 300, None),
    "half a picture": (PICTURE[: len(PICTURE) // 2], None),
    "zeros": (bytes(3_000_000), "zstd"),
}
each_body = pytest.mark.parametrize("kind", BODIES)
each_key = pytest.mark.parametrize("encryption", [None, SSE_S3], ids=["plain", "encrypted"])


def now(store: ObjectStore, key: str, version_id: str | None = None) -> ObjectRecord:
    return find(store.view(), BUCKET, key, version_id)


def without_place(record: ObjectRecord) -> ObjectRecord:
    return msgspec.structs.replace(record, blob_id=None, storage_class="")


@each_key
@each_body
def test_the_bytes_stay_and_the_class_is_told(
    store: ObjectStore, write: Write, read: Read, cool: Cool, kind: str, encryption: Encryption | None
) -> None:
    body, coding = BODIES[kind]
    record = write("k", body, encryption)
    result = cool(record)
    after = now(store, "k")
    assert after.storage_class == COLD
    assert without_place(after) == without_place(record)
    assert stored_as(store, after.blob_id).coding == coding
    assert result is not None
    assert (result.saved_bytes > 0.05 * len(body)) is (coding is not None)
    assert read("k") == body
    for start in (0, 1, len(body) // 2, len(body) - 1):
        for end in (start, min(len(body), start + 1000), len(body)):
            assert read("k", start, end) == body[start:end]


def test_what_a_client_attached_stays(store: ObjectStore, write: Write, cool: Cool, clock: ManualClock) -> None:
    attributes = Attributes({"content-type": "text/plain"}, {"a": "b"}, {"tag": "1"})
    record = write("k", WORDS, attributes=attributes, checksum=Checksum("CRC32", "FULL_OBJECT", "abcdef=="))
    clock.advance(10_000)
    cool(record)
    after = now(store, "k")
    assert without_place(after) == without_place(record)
    assert after.attributes == attributes
    assert after.checksum == record.checksum


def test_space_is_given_back_when_readers_are_done(store: ObjectStore, write: Write, read: Read, cool: Cool) -> None:
    record = write("k", WORDS)
    assert record.blob_id is not None
    path = store.files.path(record.blob_id)
    cool(record)
    assert path.exists()
    sweep(store, grace_ms=0)
    assert not path.exists()
    assert read("k") == WORDS


def test_a_reader_of_the_bytes_before_reads_on(store: ObjectStore, write: Write, cool: Cool) -> None:
    record = write("k", WORDS)
    _, body = open_body(store, BUCKET, "k")
    with body:
        begin = body.read(0, 1000)
        cool(record)
        assert begin + body.read(1000, len(WORDS)) == WORDS


def test_an_object_that_was_replaced_is_left_alone(store: ObjectStore, write: Write, read: Read, cool: Cool) -> None:
    record = write("k", WORDS)
    write("k", b"new")
    assert cool(record) is None
    assert now(store, "k").storage_class == STANDARD
    assert read("k") == b"new"


@pytest.mark.parametrize("body", [WORDS, SMALL, PICTURE], ids=["file", "inline", "picture"])
def test_an_object_that_is_replaced_meanwhile_is_left_alone(
    store: ObjectStore, write: Write, read: Read, cool: Cool, body: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    record = write("k", body)
    real = staging.stage_coded

    def replace_it(*arguments: object, **named: object) -> object:
        staged = real(*arguments, **named)  # type: ignore[arg-type]
        write("k", b"new")
        return staged

    monkeypatch.setattr(recoding, "stage_coded", replace_it)
    files = len(list(store.files.root.glob("*/*")))
    assert cool(record) is None
    assert read("k") == b"new"
    assert len(list(store.files.root.glob("*/*"))) == files


def test_an_object_whose_bytes_were_swept_meanwhile_is_gone(
    store: ObjectStore, write: Write, cool: Cool, monkeypatch: pytest.MonkeyPatch
) -> None:
    record = write("k", WORDS)
    real = staging.stage_coded

    def remove_it(*arguments: object, **named: object) -> object:
        store.commit(partial(delete_object, bucket_name=BUCKET, key="k"))
        sweep(store, grace_ms=0)
        return real(*arguments, **named)  # type: ignore[arg-type]

    monkeypatch.setattr(recoding, "stage_coded", remove_it)
    assert cool(record) is None


def test_what_is_not_there_is_told(store: ObjectStore, write: Write) -> None:
    record = write("k", WORDS)
    assert recode(store, BUCKET, "k", record.seq + 1, storage_class=COLD) is None
    assert recode(store, BUCKET, "other", record.seq, storage_class=COLD) is None
    assert recode(store, "elsewhere", "k", record.seq, storage_class=COLD) is None
    store.commit(partial(delete_object, bucket_name=BUCKET, key="k"))
    store.commit(partial(delete_bucket, name=BUCKET))
    assert recode(store, BUCKET, "k", record.seq, storage_class=COLD) is None


def test_an_old_version_is_moved_and_the_current_one_stays(
    store: ObjectStore, write: Write, read: Read, cool: Cool
) -> None:
    store.commit(partial(set_versioning, name=BUCKET, versioning=Versioning.ENABLED))
    old, new = write("k", WORDS), write("k", SMALL)
    cool(old)
    assert now(store, "k").storage_class == STANDARD
    found = now(store, "k", old.version_id)
    assert (found.storage_class, found.etag, found.modified_ms) == (COLD, old.etag, old.modified_ms)
    assert read("k", version_id=old.version_id) == WORDS
    assert now(store, "k").seq == new.seq
    store.commit(partial(delete_object, bucket_name=BUCKET, key="k"))
    marker = store.view().value("SELECT seq FROM version WHERE is_marker")
    assert recode(store, BUCKET, "k", marker, storage_class=COLD) is None


def test_moving_back_changes_the_class_alone(store: ObjectStore, write: Write, read: Read, cool: Cool) -> None:
    record = write("k", WORDS)
    cool(record)
    assert recode(store, BUCKET, "k", record.seq, storage_class=STANDARD) is not None
    assert now(store, "k").storage_class == STANDARD
    assert read("k") == WORDS


def test_moving_again_does_nothing(store: ObjectStore, write: Write, cool: Cool) -> None:
    record = write("k", WORDS)
    cool(record)
    before, events = now(store, "k"), store.view().value("SELECT count(*) FROM event")
    assert cool(record) is not None
    assert now(store, "k") == before
    assert store.view().value("SELECT count(*) FROM event") == events


def test_a_move_is_an_event_and_a_line_of_the_audit_log(store: ObjectStore, write: Write) -> None:
    record = write("k", WORDS)
    store.commit(lambda tx: tx.run("DELETE FROM audit_outbox") and None)  # type: ignore[truthy-bool]
    origin = Origin("", "lifecycle:Transition", "hosu:lifecycle", bucket=BUCKET, key="k", reason="30 days old")
    recode(store, BUCKET, "k", record.seq, storage_class=COLD, origin=origin)
    kind, key, size_bytes, actor = store.view().rows(
        "SELECT kind, key, size_bytes, actor FROM event ORDER BY seq DESC LIMIT 1"
    )[0]
    assert (kind, key, size_bytes, actor) == ("ObjectTransition:Complete", "k", len(WORDS), "hosu:lifecycle")
    (line,) = store.view().rows("SELECT body FROM audit_outbox")
    assert msgspec.json.decode(line[0])["reason"] == "30 days old"


def test_use_and_quota_count_the_bytes_that_clients_see(store: ObjectStore, write: Write, cool: Cool) -> None:
    record = write("k", WORDS)
    cool(record)
    assert store.view().bucket(BUCKET).usage.object_bytes == len(WORDS)


# Parts


@each_key
def test_the_parts_of_an_upload_are_compressed_where_they_are(
    store: ObjectStore, read: Read, cool: Cool, encryption: Encryption | None
) -> None:
    large = WORDS * 5
    bodies = [large, (NOISE * 9)[: 5 << 20], SMALL]
    record = upload(store, "k", bodies, encryption)
    seen = parts(store.view(), record)
    result = cool(record)
    after = now(store, "k")
    assert after.storage_class == COLD
    assert without_place(after) == without_place(record)
    assert after.blob_id == record.blob_id
    assert parts(store.view(), after) == seen
    codings = store.view().rows(
        "SELECT coding FROM segment JOIN blob ON id = child_id WHERE blob_id = ? ORDER BY start", (record.blob_id,)
    )
    assert codings == [("zstd",), (None,), ("zstd",)]
    assert result is not None
    assert result.saved_bytes > 0.9 * len(large)
    whole = b"".join(bodies)
    assert read("k") == whole
    for at in (0, len(large) - 10, len(large) + (5 << 20) - 10, len(whole) - 20):
        assert read("k", at, at + 20) == whole[at : at + 20]
    sweep(store, grace_ms=0)
    assert read("k") == whole


def test_a_part_that_stands_in_an_object_twice_is_counted_twice(store: ObjectStore, read: Read, cool: Cool) -> None:
    large = WORDS * 5
    record = upload(store, "k", [large, large, b"end"])
    assert store.view().value("SELECT count(DISTINCT child_id) FROM segment") == 2
    cool(record)
    sweep(store, grace_ms=0)
    assert read("k") == large + large + b"end"


def test_a_part_that_others_refer_to_stays_as_it_is(store: ObjectStore, write: Write, read: Read, cool: Cool) -> None:
    source = write("source", WORDS)
    begun = store.commit(partial(create_upload, bucket_name=BUCKET, key="k", attributes=Attributes()))
    etag = hashlib.md5(WORDS[:1000]).hexdigest()
    part = partial(
        add_part_by_reference,
        bucket_name=BUCKET,
        key="k",
        upload_id=begun.upload_id,
        number=1,
        source=source,
        start=0,
        end=1000,
        etag=etag,
    )
    store.commit(part)
    request = CompleteRequest(BUCKET, "k", begun.upload_id, [CompletedPart(1, etag)])
    record = store.commit(partial(complete_upload, request=request))
    result = cool(record)
    assert result is not None
    assert result.saved_bytes == 0
    assert stored_as(store, source.blob_id).coding is None
    assert (now(store, "k").storage_class, read("k")) == (COLD, WORDS[:1000])


# Copies


def test_a_copy_shares_the_bytes_before_and_the_compressed_ones_are_shared_once_it_is_moved_too(
    store: ObjectStore, write: Write, read: Read, cool: Cool
) -> None:
    record = write("a", WORDS)
    copied = store.commit(partial(copy_object, request=CopyRequest(BUCKET, "a", BUCKET, "b"))).record
    assert copied is not None
    cool(record)
    assert (now(store, "b").storage_class, stored_as(store, now(store, "b").blob_id).coding) == (STANDARD, None)
    cool(copied)
    assert now(store, "a").blob_id == now(store, "b").blob_id
    assert read("a") == read("b") == WORDS


def copy_to(store: ObjectStore, key: str, storage_class: str, encryption: Encryption | None = None) -> ObjectRecord:
    request = CopyRequest(BUCKET, "k", BUCKET, key, storage_class=storage_class)
    return copy_stored(store, BUCKET, "k", None, lambda _: request, encryption)


@each_key
@each_body
def test_a_copy_into_the_standard_class_is_stored_as_it_came(
    store: ObjectStore, write: Write, read: Read, cool: Cool, kind: str, encryption: Encryption | None
) -> None:
    body, _ = BODIES[kind]
    record = write("k", body, encryption)
    cool(record)
    copied = copy_to(store, "copy", STANDARD, encryption)
    assert (copied.storage_class, copied.etag) == (STANDARD, record.etag)
    assert stored_as(store, copied.blob_id).coding is None
    assert read("copy") == read("k") == body


def test_a_copy_into_the_class_cold_refers_to_the_same_bytes(store: ObjectStore, write: Write, cool: Cool) -> None:
    cool(write("k", WORDS))
    assert copy_to(store, "copy", COLD).blob_id == now(store, "k").blob_id


def test_a_compressed_object_is_copied_under_another_key(
    store: ObjectStore, write: Write, read: Read, cool: Cool
) -> None:
    cool(write("k", PICTURE))
    copied = copy_to(store, "copy", COLD, SSE_S3)
    assert copied.attributes.encryption is not None
    assert read("copy") == PICTURE


def test_bytes_that_others_stand_for_are_not_those_that_stand_for_themselves(
    store: ObjectStore, write: Write, read: Read, cool: Cool
) -> None:
    cool(write("k", WORDS))
    blob_id = now(store, "k").blob_id
    assert blob_id is not None
    stored = store.files.path(blob_id).read_bytes()
    large = stored.ljust(20_000, b"\0")
    for key, body in (("stored", stored), ("larger", large)):
        write(key, body)
        assert read(key) == body
    cool(now(store, "larger"))
    assert read("larger") == large
    assert read("k") == WORDS


# Keys


def test_what_only_the_client_can_read_changes_its_class_alone(
    store: ObjectStore, write: Write, read: Read, cool: Cool
) -> None:
    record = write("k", WORDS, SSE_C)
    result = cool(record)
    assert result is not None
    assert result.saved_bytes == 0
    after = now(store, "k")
    assert (after.storage_class, after.blob_id) == (COLD, record.blob_id)
    assert read("k", customer_key=b"c" * 32) == WORDS


def test_an_encrypted_body_is_compressed_under_the_key_it_had(store: ObjectStore, write: Write, cool: Cool) -> None:
    store.keys.create_key("team")
    record = write("k", WORDS, Encryption(EncryptionMode.SSE_KMS, "team", context="of theirs"))
    cool(record)
    after = now(store, "k")
    assert after.attributes.encryption == record.attributes.encryption
    assert after.blob_id is not None
    stored = store.files.path(after.blob_id).read_bytes()
    assert b"words of a log" not in stored
    assert b"\x5e\x2a\x4d\x18" not in stored


# Damage


def damage(store: ObjectStore, key: str, at: int = 100) -> None:
    _, row = find_with_blob(store.view(), BUCKET, key)
    assert row is not None
    with store.files.path(row.id).open("r+b") as file:
        file.seek(at)
        byte = file.read(1)
        file.seek(at)
        file.write(bytes([byte[0] ^ 0x41]))


@each_key
@pytest.mark.parametrize("body", [WORDS, PICTURE], ids=["words", "picture"])
def test_a_body_that_was_damaged_before_is_not_compressed(
    store: ObjectStore, write: Write, cool: Cool, clock: ManualClock, body: bytes, encryption: Encryption | None
) -> None:
    record = write("k", body, encryption)
    damage(store, "k")
    clock.advance(VERIFIED_MS_MAX)
    with pytest.raises(CorruptError) as caught:
        cool(record)
    assert caught.value.kind is ErrorKind.CORRUPT_BLOB
    after = now(store, "k")
    assert (after.storage_class, after.blob_id) == (STANDARD, record.blob_id)
    assert store.view().value("SELECT is_corrupt FROM blob WHERE id = ?", (record.blob_id,)) == 1
    store.commit(partial(delete_object, bucket_name=BUCKET, key="k"))
    sweep(store, grace_ms=0)


@each_key
@pytest.mark.parametrize("body", [WORDS, PICTURE], ids=["words", "picture"])
def test_a_compressed_body_that_is_damaged_is_never_served(
    store: ObjectStore,
    write: Write,
    read: Read,
    cool: Cool,
    clock: ManualClock,
    body: bytes,
    encryption: Encryption | None,
) -> None:
    cool(write("k", body, encryption))
    damage(store, "k")
    clock.advance(VERIFIED_MS_MAX)
    with pytest.raises(CorruptError, match="blob"):
        read("k")
    assert store.view().value("SELECT is_corrupt FROM blob WHERE id = ?", (now(store, "k").blob_id,)) == 1
    store.commit(partial(delete_object, bucket_name=BUCKET, key="k"))
    sweep(store, grace_ms=0)


def test_a_frame_damaged_while_it_counts_as_verified_tells_itself(
    store: ObjectStore, write: Write, read: Read, cool: Cool, monkeypatch: pytest.MonkeyPatch
) -> None:
    cool(write("k", WORDS))
    damage(store, "k")
    monkeypatch.setattr(store.files, "is_verified", lambda *_: True)
    with pytest.raises(CorruptError, match="blob"):
        read("k")
    assert store.view().value("SELECT is_corrupt FROM blob WHERE id = ?", (now(store, "k").blob_id,)) == 1
    monkeypatch.undo()
    store.commit(partial(delete_object, bucket_name=BUCKET, key="k"))
    sweep(store, grace_ms=0)


def test_bytes_that_are_not_those_of_the_etag_are_not_compressed(store: ObjectStore, write: Write, cool: Cool) -> None:
    record = write("k", WORDS, SSE_S3)
    store.commit(lambda tx: tx.run("UPDATE object SET etag = ?", ("0" * 32,)) and None)  # type: ignore[truthy-bool]
    with pytest.raises(CorruptError, match="does not hold the bytes"):
        cool(record)
    assert now(store, "k").blob_id == record.blob_id
    assert len(list(store.files.root.glob("*/*"))) == 1


@pytest.mark.parametrize("body", [WORDS, PICTURE, SMALL], ids=["words", "picture", "small"])
def test_an_etag_that_tells_nothing_of_the_bytes_does_not_keep_them_from_being_compressed(
    store: ObjectStore, write: Write, read: Read, cool: Cool, body: bytes
) -> None:
    """As an import from a store that encrypts by KMS leaves it; their own hash proves them."""
    record = write("k", body)
    store.commit(lambda tx: tx.run("UPDATE object SET etag = ?", ("0" * 32,)))
    cool(record)
    after = now(store, "k")
    assert after.etag == "0" * 32
    assert stored_as(store, after.blob_id).coding is not None
    assert read("k") == body


@pytest.mark.parametrize("body", [WORDS, PICTURE, SMALL], ids=["words", "picture", "small"])
def test_bytes_that_come_back_otherwise_are_not_used(
    store: ObjectStore, write: Write, read: Read, cool: Cool, body: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A codec that errs costs nothing but the attempt."""
    record = write("k", body)
    with monkeypatch.context() as patch:
        patch.setattr(frames, "decompress", lambda _frame, size_bytes, _: b"x" * size_bytes)
        patch.setattr(jpeg, "from_jxl", lambda _coded, size_bytes, _: b"x" * size_bytes)
        result = cool(record)
    assert result is not None
    assert result.saved_bytes == 0
    after = now(store, "k")
    assert (after.storage_class, after.blob_id) == (COLD, record.blob_id)
    assert read("k") == body
    assert len(list(store.files.root.glob("*/*"))) == (body is not SMALL)


def test_a_picture_that_takes_too_long_to_decode_stays_as_it_is(
    store: ObjectStore, write: Write, read: Read, cool: Cool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(staging, "PICTURE_CPU_S_MAX", 0.0)
    record = write("k", PICTURE)
    cool(record)
    after = now(store, "k")
    assert (after.blob_id, after.storage_class) == (record.blob_id, COLD)
    assert len(list(store.files.root.glob("*/*"))) == 1
    assert read("k") == PICTURE


def test_a_coding_of_a_newer_hosu_is_named(store: ObjectStore, write: Write, read: Read, cool: Cool) -> None:
    cool(write("k", WORDS))
    cool(write("small", SMALL))
    store.commit(lambda tx: tx.run("UPDATE blob SET coding = 'brotli' WHERE coding = 'zstd'") and None)  # type: ignore[truthy-bool]
    for key in ("k", "small"):
        with pytest.raises(UnsupportedError, match="'brotli': install a newer hosu"):
            read(key)
    store.commit(lambda tx: tx.run("UPDATE blob SET coding = 'zstd' WHERE coding = 'brotli'") and None)  # type: ignore[truthy-bool]


# What is worth it


def test_a_long_body_of_noise_is_not_read_to_its_end(
    store: ObjectStore, write: Write, cool: Cool, monkeypatch: pytest.MonkeyPatch
) -> None:
    record = write("k", NOISE * 20)
    monkeypatch.setattr(staging, "FrameWriter", None)
    assert cool(record) is not None
    assert stored_as(store, now(store, "k").blob_id) == Stored(BlobKind.FILE, None, None)


def test_a_body_that_shrinks_in_one_place_is_compressed(
    store: ObjectStore, write: Write, read: Read, cool: Cool
) -> None:
    body = NOISE * 14 + bytes(2_000_000)
    cool(write("k", body))
    assert stored_as(store, now(store, "k").blob_id).coding == "zstd"
    assert read("k") == body


def test_a_small_body_is_compressed_when_that_saves_a_page(store: ObjectStore, write: Write, cool: Cool) -> None:
    for size, coding in ((4000, None), (4200, "zstd"), (16_384, "zstd")):
        cool(write("k", (b"word " * 4000)[:size]))
        assert stored_as(store, now(store, "k").blob_id)[:2] == (BlobKind.INLINE, coding)


def test_nothing_is_a_body_too(store: ObjectStore, write: Write, read: Read, cool: Cool) -> None:
    assert cool(write("k", b"")) is not None
    assert now(store, "k").storage_class == COLD
    assert read("k") == b""

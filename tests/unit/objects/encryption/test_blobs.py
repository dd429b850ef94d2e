"""Encrypted objects in the engine: what goes in comes out, and only with its key; nothing in the lake's files tells."""

from collections.abc import Callable
from contextlib import closing
from functools import partial
from pathlib import Path

import apsw
import pytest
from tests.unit.objects.encryption.conftest import (
    BUCKET,
    CUSTOMER_KEY,
    LAKE_KEY,
    SSE_C,
    SSE_S3,
    Read,
    Write,
    key_of,
)

from hosu.kernel.errors import CorruptError, ErrorKind, HosuError, InvalidInputError, NotFoundError
from hosu.kernel.limits import INLINE_BYTES_MAX
from hosu.objects.blobs import BlobRow
from hosu.objects.bodies import BodyWriter, open_body, store_object
from hosu.objects.buckets import set_document
from hosu.objects.encryption import Encryption, EncryptionMode
from hosu.objects.encryption.defaults import DOCUMENT, BucketEncryption, encode_bucket_encryption
from hosu.objects.encryption.sealing import SEGMENT_BYTES, STORED_SEGMENT_BYTES
from hosu.objects.fileio import ObjectFileIO
from hosu.objects.put import PutRequest
from hosu.objects.read import blob_row, find
from hosu.objects.records import EncryptionFacts
from hosu.objects.store import ObjectStore
from hosu.testing.lake_check import find_faults
from hosu.testing.manual_clock import ManualClock

SIZES = [0, 1, INLINE_BYTES_MAX, INLINE_BYTES_MAX + 1, SEGMENT_BYTES, SEGMENT_BYTES + 1, 5 * SEGMENT_BYTES + 17]
each_size = pytest.mark.parametrize("size_bytes", SIZES)
each_mode = pytest.mark.parametrize(
    "encryption", [SSE_S3, Encryption(EncryptionMode.SSE_KMS, "mine"), SSE_C], ids=["sse-s3", "sse-kms", "sse-c"]
)
LARGE = b"a large body " * 50_000


@pytest.fixture(autouse=True)
def _named_key(store: ObjectStore) -> None:
    store.keys.create_key("mine")


def row_of(store: ObjectStore, key: str) -> BlobRow:
    blob_id = find(store.view(), BUCKET, key).blob_id
    assert blob_id is not None
    return blob_row(store.view(), blob_id)


@each_mode
@each_size
def test_an_encrypted_object_comes_back(
    write: Write, read: Read, store: ObjectStore, encryption: Encryption, size_bytes: int, noise: Callable[[int], bytes]
) -> None:
    body = noise(size_bytes)
    record = write("k", body, encryption)
    assert record.size_bytes == size_bytes
    assert read("k", customer_key=key_of(encryption)) == body
    assert find_faults(store) == []


@each_mode
@pytest.mark.parametrize("size_bytes", [size for size in SIZES if size > 1])
def test_no_file_of_the_lake_holds_the_bytes(
    write: Write, store: ObjectStore, lake: Path, encryption: Encryption, size_bytes: int
) -> None:
    word = b"plaintext-that-must-not-be-found"
    write("k", (word * (size_bytes // len(word) + 1))[:size_bytes], encryption)
    store.close()
    for path in lake.rglob("*"):
        if path.is_file():
            data = path.read_bytes()
            assert word not in data, path
            for secret in (CUSTOMER_KEY, LAKE_KEY.secret):
                assert secret not in data, path


def test_the_record_says_how_an_object_is_encrypted(write: Write) -> None:
    assert write("k", b"body").attributes.encryption == EncryptionFacts(EncryptionMode.SSE_S3, "hosu-default")
    kms = Encryption(EncryptionMode.SSE_KMS, "mine", context="e30=", bucket_key=True)
    expected = EncryptionFacts(EncryptionMode.SSE_KMS, "mine", context="e30=", bucket_key=True)
    assert write("k", b"body", kms).attributes.encryption == expected
    assert write("k", b"", kms).attributes.encryption == expected
    facts = write("k", b"body", SSE_C).attributes.encryption
    assert facts == EncryptionFacts(EncryptionMode.SSE_C, customer_key_md5=SSE_C.customer_key_md5)
    assert write("k", b"body", None).attributes.encryption is None


def test_what_a_writer_says_of_its_encryption_does_not_count(store: ObjectStore) -> None:
    from hosu.objects.records import Attributes

    lie = Attributes(encryption=EncryptionFacts(EncryptionMode.SSE_S3, "none"))
    with BodyWriter(store) as writer:
        writer.write(b"body")
        staged, etag = writer.finish()
    assert store_object(store, PutRequest(BUCKET, "k", staged, etag, lie)).attributes.encryption is None


@each_size
def test_an_object_under_a_clients_key_needs_it(
    write: Write, read: Read, store: ObjectStore, size_bytes: int, noise: Callable[[int], bytes]
) -> None:
    write("k", noise(size_bytes), SSE_C)
    assert store.find_small(BUCKET, "k")[1] is None
    if size_bytes == 0:
        return
    for key, kind in ((b"", ErrorKind.CUSTOMER_KEY_REQUIRED), (b"x" * 32, ErrorKind.CUSTOMER_KEY_WRONG)):
        with pytest.raises(InvalidInputError) as error:
            read("k", customer_key=key)
        assert error.value.kind is kind


def test_small_objects_under_the_lakes_key_are_remembered_opened(write: Write, store: ObjectStore) -> None:
    write("k", b"small")
    for _ in range(2):
        record, body = store.find_small(BUCKET, "k")
        assert (record.size_bytes, body) == (5, b"small")
    write("k", b"other")
    assert store.find_small(BUCKET, "k")[1] == b"other"


def test_an_unknown_key_is_refused_and_leaves_nothing(write: Write, store: ObjectStore) -> None:
    for body in (b"", b"small", LARGE):
        with pytest.raises(NotFoundError) as error:
            write("k", body, Encryption(EncryptionMode.SSE_KMS, "none"))
        assert error.value.kind is ErrorKind.NAMED_KEY_NOT_FOUND
    assert list(store.files.root.glob("*/*")) == []


@pytest.mark.parametrize("size", [0, 16, 31, 33])
def test_a_clients_key_has_32_bytes(size: int) -> None:
    with pytest.raises(InvalidInputError) as error:
        Encryption(EncryptionMode.SSE_C, customer_key=b"k" * size)
    assert error.value.kind is ErrorKind.INVALID_ARGUMENT


def test_a_clients_key_is_never_shown() -> None:
    for shown in (repr(SSE_C), str([SSE_C]), str(list(SSE_C.__rich_repr__()))):
        assert CUSTOMER_KEY.decode() not in shown


# Deduplication


def files_in(store: ObjectStore) -> int:
    return len(list(store.files.root.glob("*/*")))


def test_equal_bytes_under_one_key_are_stored_once(write: Write, read: Read, store: ObjectStore) -> None:
    one, two = write("one", LARGE), write("two", LARGE)
    assert one.blob_id == two.blob_id
    assert files_in(store) == 1
    assert read("two") == LARGE


def test_equal_bytes_under_other_keys_are_stored_apart(write: Write, read: Read) -> None:
    mine = Encryption(EncryptionMode.SSE_KMS, "mine")
    other = Encryption(EncryptionMode.SSE_C, customer_key=b"o" * 32)
    writes: list[Encryption | None] = [None, SSE_S3, mine, SSE_C, SSE_C, other]
    ids = {write(f"k{number}", LARGE, encryption).blob_id for number, encryption in enumerate(writes)}
    assert len(ids) == len(writes)
    for number, encryption in enumerate(writes):
        assert read(f"k{number}", customer_key=key_of(encryption)) == LARGE


def test_equal_bytes_under_two_versions_of_a_key_are_stored_apart(write: Write, store: ObjectStore) -> None:
    one = write("one", LARGE)
    store.keys.rotate_key("hosu-default")
    two, three = write("two", LARGE), write("three", LARGE)
    assert one.blob_id != two.blob_id
    assert two.blob_id == three.blob_id


def test_modes_of_one_key_share_their_bytes(write: Write) -> None:
    kms = Encryption(EncryptionMode.SSE_KMS, "hosu-default")
    assert write("one", LARGE).blob_id == write("two", LARGE, kms).blob_id


@each_mode
def test_a_put_of_the_stored_bytes_of_an_encrypted_file_does_not_open_it(
    write: Write, read: Read, store: ObjectStore, encryption: Encryption
) -> None:
    stolen = store.files.path(write("secret", LARGE, encryption).blob_id or 0).read_bytes()
    write("mine", stolen, None)
    assert read("mine") == stolen
    assert find_faults(store) == []


def test_a_twin_that_has_changed_is_not_shared(write: Write, read: Read, store: ObjectStore) -> None:
    write("one", LARGE)
    damage(store, "one", 100)
    write("two", LARGE)
    assert read("two") == LARGE
    with pytest.raises(CorruptError):
        read("one")


# Damage


def damage(store: ObjectStore, key: str, place: int) -> None:
    path = store.files.path(row_of(store, key).id)
    data = bytearray(path.read_bytes())
    data[place] ^= 1
    path.write_bytes(data)


@each_mode
@pytest.mark.parametrize("place", [0, STORED_SEGMENT_BYTES + 1, -1])
def test_a_changed_file_is_never_served_and_is_marked(
    write: Write, read: Read, store: ObjectStore, encryption: Encryption, place: int
) -> None:
    write("k", LARGE, encryption)
    damage(store, "k", place)
    for _ in range(2):
        with pytest.raises(CorruptError) as error:
            read("k", customer_key=key_of(encryption))
        assert error.value.kind is ErrorKind.CORRUPT_BLOB
    assert row_of(store, "k").is_corrupt


@each_mode
@pytest.mark.parametrize("size_bytes", [0, 100, STORED_SEGMENT_BYTES])
def test_a_cut_file_is_never_served(
    write: Write, read: Read, store: ObjectStore, encryption: Encryption, size_bytes: int
) -> None:
    write("k", LARGE, encryption)
    path = store.files.path(row_of(store, "k").id)
    path.write_bytes(path.read_bytes()[:size_bytes])
    with pytest.raises(CorruptError):
        read("k", customer_key=key_of(encryption))


@each_mode
def test_the_file_of_another_object_is_never_served(
    write: Write, read: Read, store: ObjectStore, encryption: Encryption
) -> None:
    write("one", LARGE, encryption)
    write("two", LARGE[::-1], encryption)
    one, two = (store.files.path(row_of(store, key).id) for key in ("one", "two"))
    one.write_bytes(two.read_bytes())
    with pytest.raises(CorruptError):
        read("one", customer_key=key_of(encryption))


@pytest.mark.parametrize("changed", ["body = zeroblob(21)", "body = x'00'", "sealed = x'93'", "size_bytes = 4"])
def test_a_changed_small_object_is_never_served(write: Write, lake: Path, store: ObjectStore, changed: str) -> None:
    write("k", b"small")
    store.close()
    with closing(apsw.Connection(str(lake / "meta" / "lake.db"))) as connection:
        connection.execute(f"UPDATE blob SET {changed} WHERE kind = 0")
    with ObjectStore(lake, lake_key=LAKE_KEY) as again:
        with pytest.raises(CorruptError):
            again.find_small(BUCKET, "k")
        with pytest.raises(CorruptError):
            open_body(again, BUCKET, "k")


def test_a_blob_under_a_clients_key_is_checked_without_it(write: Write, store: ObjectStore) -> None:
    write("k", LARGE, SSE_C)
    row = row_of(store, "k")
    opened = store.files.open(row)
    opened.verify()
    opened.close()
    damage(store, "k", 7)
    opened = store.files.open(row)
    with pytest.raises(CorruptError):
        opened.verify()
    opened.close()


def test_an_encrypted_object_needs_no_check_before_it_leaves(
    write: Write, read: Read, store: ObjectStore, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    write("k", LARGE)
    clock.advance(30 * 24 * 3600 * 1000)
    monkeypatch.setattr(store, "_verify", lambda _: pytest.fail("hashed"))
    assert read("k") == LARGE


# Where nobody says how


def by_default(store: ObjectStore, encryption: BucketEncryption | None) -> None:
    body = None if encryption is None else encode_bucket_encryption(encryption)
    store.commit(partial(set_document, name=BUCKET, kind=DOCUMENT, body=body))


def facts_of(store: ObjectStore, key: str) -> EncryptionFacts | None:
    return find(store.view(), BUCKET, key).attributes.encryption


def test_a_bucket_says_how_what_is_written_to_it_is_encrypted(store: ObjectStore) -> None:
    files = ObjectFileIO(store, BUCKET)
    files.put("before", b"body")
    by_default(store, BucketEncryption(EncryptionMode.SSE_KMS, "mine", bucket_key=True))
    files.put("put", b"body")
    with files.open_write("written") as file:
        file.write(LARGE)
    by_default(store, None)
    files.put("after", b"body")
    kms = EncryptionFacts(EncryptionMode.SSE_KMS, "mine", bucket_key=True)
    found = {key: facts_of(store, key) for key in ("before", "put", "written", "after")}
    assert found == {"before": None, "put": kms, "written": kms, "after": None}
    assert files.read("put") == b"body"
    assert files.read("written") == LARGE
    assert files.read("written", SEGMENT_BYTES - 1, SEGMENT_BYTES + 1) == LARGE[SEGMENT_BYTES - 1 : SEGMENT_BYTES + 1]


def test_a_lake_encrypts_what_no_bucket_says_anything_of(lake: Path, store: ObjectStore) -> None:
    with ObjectStore(lake, lake_key=LAKE_KEY, default_encryption=True) as other:
        ObjectFileIO(other, BUCKET).put("k", b"body")
        assert facts_of(other, "k") == EncryptionFacts(EncryptionMode.SSE_S3, "hosu-default")
        by_default(other, BucketEncryption(EncryptionMode.SSE_KMS, "mine"))
        assert other.encryption_of(BUCKET) == Encryption(EncryptionMode.SSE_KMS, "mine")
        assert other.encryption_of("other") == SSE_S3
    assert store.encryption_of("other") is None


def test_another_process_learns_what_a_bucket_says(lake: Path, store: ObjectStore) -> None:
    with ObjectStore(lake, lake_key=LAKE_KEY) as other:
        assert other.encryption_of(BUCKET) is None
        by_default(store, BucketEncryption(EncryptionMode.SSE_S3))
        assert other.encryption_of(BUCKET) == SSE_S3


@pytest.mark.parametrize("text", ["", "{}", '{"mode":"rot13"}', "[]"])
def test_what_a_bucket_says_is_not_ignored_when_it_cannot_be_read(store: ObjectStore, text: str) -> None:
    store.commit(partial(set_document, name=BUCKET, kind=DOCUMENT, body=text))
    with pytest.raises(HosuError) as error:
        ObjectFileIO(store, BUCKET).put("k", b"body")
    assert error.value.kind is ErrorKind.CORRUPT_LAKE


def test_a_body_that_is_refused_leaves_no_file(store: ObjectStore, write: Write) -> None:
    with pytest.raises(NotFoundError):
        write("k", LARGE, bucket="none")
    assert files_in(store) == 0

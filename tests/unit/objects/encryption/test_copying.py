"""Copies and uploads in parts, between every pair of keys."""

import hashlib
from collections.abc import Callable
from functools import partial

import pytest
from tests.unit.objects.encryption.conftest import BUCKET, SSE_C, SSE_S3, Read, Write, key_of

from hosu.kernel.errors import ConflictError, CorruptError, ErrorKind, InvalidInputError, PreconditionFailedError
from hosu.objects import multipart
from hosu.objects.bodies import BodyWriter, open_body
from hosu.objects.copying import copy_stored, reencrypt
from hosu.objects.encryption import Encryption, EncryptionMode
from hosu.objects.encryption.modes import check_customer_key, encryption_of_parts
from hosu.objects.encryption.sealing import SEGMENT_BYTES
from hosu.objects.multipart import CompletedPart, CompleteRequest, Upload
from hosu.objects.put import CopyRequest, copy_object
from hosu.objects.read import find
from hosu.objects.records import Attributes, Checksum, ChecksumType, Conditions, ObjectRecord
from hosu.objects.store import ObjectStore
from hosu.testing.lake_check import find_faults

OTHER_C = Encryption(EncryptionMode.SSE_C, customer_key=b"o" * 32)
WAYS = {
    "plain": None,
    "sse-s3": SSE_S3,
    "kms-same-key": Encryption(EncryptionMode.SSE_KMS, "hosu-default", context="e30="),
    "kms": Encryption(EncryptionMode.SSE_KMS, "mine"),
    "sse-c": SSE_C,
    "other-sse-c": OTHER_C,
}
each_pair = pytest.mark.parametrize(
    ("source", "target"), [(source, target) for source in WAYS for target in WAYS], ids=str
)
SAME = {"sse-s3": "default", "kms-same-key": "default"}
"""Ways that share a key."""

BODIES = [b"", b"small", b"large " * 40_000]


@pytest.fixture(autouse=True)
def _setting(store: ObjectStore, monkeypatch: pytest.MonkeyPatch) -> None:
    store.keys.create_key("mine")
    monkeypatch.setattr(multipart, "PART_BYTES_MIN", 1)


def copy(store: ObjectStore, key: str, source: str, target: str, **fields: object) -> ObjectRecord:
    def request(_: ObjectRecord) -> CopyRequest:
        return CopyRequest(BUCKET, "source", BUCKET, key, **fields)  # type: ignore[arg-type]

    return copy_stored(store, BUCKET, "source", None, request, WAYS[target], customer_key=key_of(WAYS[source]))


@each_pair
@pytest.mark.parametrize("body", BODIES, ids=len)
def test_a_copy_has_the_bytes_of_its_source_under_its_own_key(
    store: ObjectStore, write: Write, read: Read, source: str, target: str, body: bytes
) -> None:
    before = write("source", body, WAYS[source])
    made = copy(store, "copy", source, target)
    assert read("copy", customer_key=key_of(WAYS[target])) == body
    assert made.attributes.encryption == store.keys.facts_of(WAYS[target])
    assert made.etag == before.etag
    is_same = SAME.get(source, source) == SAME.get(target, target)
    if body:
        assert (made.blob_id == before.blob_id) == is_same
    assert find_faults(store) == []


def test_a_copy_onto_itself_changes_the_key(store: ObjectStore, write: Write, read: Read) -> None:
    write("source", BODIES[2], None)
    assert copy(store, "source", "plain", "sse-c").attributes.encryption is not None
    assert read("source", customer_key=SSE_C.customer_key) == BODIES[2]


def test_a_copy_of_what_only_its_writer_opens_needs_the_key(store: ObjectStore, write: Write) -> None:
    write("source", b"body", SSE_C)
    for source, kind in (
        ("plain", ErrorKind.CUSTOMER_KEY_REQUIRED),
        ("other-sse-c", ErrorKind.CUSTOMER_KEY_WRONG),
    ):
        for target in WAYS:
            with pytest.raises(InvalidInputError) as error:
                copy(store, "copy", source, target)
            assert error.value.kind is kind


def test_the_verb_itself_never_gives_bytes_another_key(store: ObjectStore, write: Write) -> None:
    write("source", b"body", SSE_S3)
    for target in ("plain", "kms", "sse-c"):
        request = CopyRequest(BUCKET, "source", BUCKET, "copy", encryption=store.keys.facts_of(WAYS[target]))
        with pytest.raises(ConflictError):
            store.commit(partial(copy_object, request=request))


def test_a_refused_copy_leaves_no_file(store: ObjectStore, write: Write) -> None:
    write("source", BODIES[2], None)
    write("copy", b"there")
    files = set(store.files.root.glob("*/*"))
    with pytest.raises(PreconditionFailedError):
        copy(store, "copy", "plain", "sse-s3", conditions=Conditions(if_none_match="*"))
    assert set(store.files.root.glob("*/*")) == files


def test_a_copy_keeps_a_checksum_of_the_whole_and_drops_one_of_parts(store: ObjectStore, write: Write) -> None:
    whole = Checksum("CRC32", ChecksumType.FULL_OBJECT, "AAAAAA==")
    write("source", b"body", None, checksum=whole)
    assert copy(store, "copy", "plain", "sse-s3").checksum == whole
    write("source", b"body", None, checksum=Checksum("CRC32", ChecksumType.COMPOSITE, "AAAAAA==-1"))
    assert copy(store, "copy", "plain", "sse-s3").checksum is None


@pytest.mark.parametrize("repeats", [1, 10_000])
def test_a_source_that_changes_while_it_is_read_is_read_again(
    store: ObjectStore, write: Write, read: Read, monkeypatch: pytest.MonkeyPatch, repeats: int
) -> None:
    from hosu.objects import copying

    write("source", b"old" * repeats, None)
    changes = [1]

    def change(*arguments: object, **named: object) -> object:
        if changes:
            changes.pop()
            write("source", b"new" * repeats, None)
        return reencrypt(*arguments, **named)  # type: ignore[arg-type]

    monkeypatch.setattr(copying, "reencrypt", change)
    copy(store, "copy", "plain", "sse-s3")
    assert read("copy") == b"new" * repeats


# Parts


def begin(store: ObjectStore, encryption: Encryption | None) -> Upload:
    facts = store.keys.facts_of(encryption)
    verb = partial(multipart.create_upload, bucket_name=BUCKET, key="parts", attributes=Attributes(), encryption=facts)
    return store.commit(verb)


def add(store: ObjectStore, upload: Upload, number: int, body: bytes, customer_key: bytes = b"") -> None:
    encryption = encryption_of_parts(upload.attributes.encryption, customer_key)
    add_under(store, upload, number, body, encryption)


def add_under(store: ObjectStore, upload: Upload, number: int, body: bytes, encryption: Encryption | None) -> None:
    with BodyWriter(store, encryption) as writer:
        writer.write(body)
        staged, etag = writer.finish()
    verb = partial(
        multipart.add_part, bucket_name=BUCKET, key="parts", upload_id=upload.upload_id, number=number, body=staged,
        etag=etag,
    )  # fmt: skip
    store.commit(verb)


def complete(store: ObjectStore, upload: Upload) -> ObjectRecord:
    named = [CompletedPart(part.number, part.etag) for part in multipart.list_parts(store.view(), upload)]
    request = CompleteRequest(BUCKET, "parts", upload.upload_id, named)
    return store.commit(partial(multipart.complete_upload, request=request))


@pytest.mark.parametrize("way", list(WAYS))
def test_parts_are_encrypted_as_their_upload(
    store: ObjectStore, read: Read, way: str, noise: Callable[[int], bytes]
) -> None:
    bodies = [noise(size) for size in (SEGMENT_BYTES + 1, 10, 3 * SEGMENT_BYTES, 1)]
    upload = begin(store, WAYS[way])
    for number, body in enumerate(bodies, 1):
        add(store, upload, number, body, key_of(WAYS[way]))
    record = complete(store, upload)
    assert record.attributes.encryption == store.keys.facts_of(WAYS[way])
    whole = b"".join(bodies)
    assert read("parts", customer_key=key_of(WAYS[way])) == whole
    _, stored = open_body(store, BUCKET, "parts", customer_key=key_of(WAYS[way]))
    with stored:
        for start in (0, SEGMENT_BYTES, SEGMENT_BYTES + 5, SEGMENT_BYTES + 11):
            for end in (start, start + 1, start + 12, start + 2 * SEGMENT_BYTES):
                assert stored.read(start, end) == whole[start:end]
    assert find_faults(store) == []


def test_a_part_under_another_key_is_refused(store: ObjectStore) -> None:
    for begun, given, kind in (
        (None, SSE_S3, ErrorKind.PART_INVALID),
        (SSE_S3, None, ErrorKind.PART_INVALID),
        (SSE_S3, WAYS["kms"], ErrorKind.PART_INVALID),
        (SSE_C, OTHER_C, ErrorKind.CUSTOMER_KEY_WRONG),
        (SSE_C, None, ErrorKind.CUSTOMER_KEY_REQUIRED),
    ):
        upload = begin(store, begun)
        with pytest.raises(InvalidInputError) as error:
            add_under(store, upload, 1, b"part", given)
        assert error.value.kind is kind
        assert multipart.list_parts(store.view(), upload) == []


def test_each_part_needs_the_clients_key(store: ObjectStore) -> None:
    facts = begin(store, SSE_C).attributes.encryption
    for key, kind in ((b"", ErrorKind.CUSTOMER_KEY_REQUIRED), (b"o" * 32, ErrorKind.CUSTOMER_KEY_WRONG)):
        with pytest.raises(InvalidInputError) as error:
            encryption_of_parts(facts, key)
        assert error.value.kind is kind
    assert encryption_of_parts(facts, SSE_C.customer_key) == SSE_C


def test_a_key_that_opens_nothing_is_refused(store: ObjectStore) -> None:
    for encryption in (None, SSE_S3):
        with pytest.raises(InvalidInputError) as error:
            check_customer_key(store.keys.facts_of(encryption), b"k" * 32)
        assert error.value.kind is ErrorKind.INVALID_ARGUMENT


@pytest.mark.parametrize("way", ["kms", "kms-same-key"])
def test_a_part_refers_to_stored_bytes_of_the_same_key_only(
    store: ObjectStore, write: Write, read: Read, way: str
) -> None:
    source = write("source", BODIES[2], SSE_S3)
    upload = begin(store, WAYS[way])
    verb = partial(
        multipart.add_part_by_reference, bucket_name=BUCKET, key="parts", upload_id=upload.upload_id, number=1,
        source=source, start=5, end=100_005, etag=hashlib.md5(BODIES[2][5:100_005]).hexdigest(),
    )  # fmt: skip
    if way == "kms":
        with pytest.raises(InvalidInputError):
            store.commit(verb)
        return
    store.commit(verb)
    complete(store, upload)
    assert read("parts") == BODIES[2][5:100_005]


def test_a_copy_of_parts_under_another_key_is_one_body(store: ObjectStore, read: Read) -> None:
    upload = begin(store, SSE_S3)
    add(store, upload, 1, b"a" * 70_000)
    add(store, upload, 2, b"b" * 70_000)
    before = complete(store, upload)
    whole = b"a" * 70_000 + b"b" * 70_000

    def request(_: ObjectRecord) -> CopyRequest:
        return CopyRequest(BUCKET, "parts", BUCKET, "copy")

    same = copy_stored(store, BUCKET, "parts", None, request, SSE_S3)
    assert (same.etag, same.part_count, same.blob_id) == (before.etag, 2, before.blob_id)
    other = copy_stored(store, BUCKET, "parts", None, request, SSE_C)
    assert (other.etag, other.part_count) == (hashlib.md5(whole).hexdigest(), 0)
    assert read("copy", customer_key=SSE_C.customer_key) == whole


def test_a_damaged_part_is_never_served(store: ObjectStore, read: Read) -> None:
    upload = begin(store, SSE_S3)
    add(store, upload, 1, b"a" * 70_000)
    add(store, upload, 2, b"b" * 70_000)
    complete(store, upload)
    path = max(store.files.root.glob("*/*"))
    data = bytearray(path.read_bytes())
    data[69_999] ^= 1
    path.write_bytes(data)
    with pytest.raises(CorruptError):
        read("parts")
    assert find(store.view(), BUCKET, "parts").part_count == 2

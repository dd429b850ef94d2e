"""Rotation: of the lake key, in one transaction; of a named key, blob by blob, stopped and taken up again."""

from pathlib import Path

import msgspec
import pytest
from tests.unit.objects.encryption.conftest import BUCKET, LAKE_KEY, SSE_C, SSE_S3, Read, Write

from hosu.kernel.errors import ConflictError, CorruptError, ErrorKind, InvalidInputError, NotFoundError
from hosu.kernel.lakekey import LakeKey
from hosu.objects.bodies import open_body
from hosu.objects.encryption import DEFAULT_KEY, Encryption, EncryptionMode, rotation
from hosu.objects.encryption.keys import sealed_version
from hosu.objects.encryption.lakekeys import INSIDE_FILE, load_inside_key
from hosu.objects.encryption.rotation import rewrap, rewrap_blobs
from hosu.objects.encryption.sealing import decode_seal
from hosu.objects.lock import LakeLock
from hosu.objects.store import ObjectStore
from hosu.testing.lake_check import find_faults

NEW = LakeKey(b"n" * 32)
LARGE = b"a large body " * 20_000


def versions_of(store: ObjectStore, name: str = DEFAULT_KEY) -> list[int]:
    found = []
    for blob_id, sealed in store.view().rows("SELECT id, sealed FROM blob WHERE sealed IS NOT NULL ORDER BY id"):
        seal = decode_seal(sealed, blob_id)
        if seal.key_name == name:
            found.append(sealed_version(seal.wrapped))
    return found


# The lake key


def test_a_lake_comes_under_another_lake_key(lake: Path, store: ObjectStore, write: Write) -> None:
    write("large", LARGE)
    write("small", b"small")
    secret = store.keys.seal("hosu-test", b"secret", b"")
    files = {path: path.read_bytes() for path in store.files.root.glob("*/*")}
    store.close()
    assert rewrap(lake, LAKE_KEY, NEW) == 2
    with pytest.raises(ConflictError) as error:
        ObjectStore(lake, lake_key=LAKE_KEY)
    assert error.value.kind is ErrorKind.LAKE_KEY_WRONG
    with ObjectStore(lake, lake_key=NEW) as again:
        _, body = open_body(again, BUCKET, "large")
        with body:
            assert body.read(0, len(LARGE)) == LARGE
        assert again.find_small(BUCKET, "small")[1] == b"small"
        assert again.keys.unseal("hosu-test", secret, b"") == b"secret"
    assert {path: path.read_bytes() for path in files} == files


def test_a_lake_under_another_key_than_said_is_left_as_it_is(lake: Path, store: ObjectStore) -> None:
    store.keys.create_key("mine")
    store.close()
    with pytest.raises(ConflictError) as error:
        rewrap(lake, NEW, LakeKey(b"m" * 32))
    assert error.value.kind is ErrorKind.LAKE_KEY_WRONG
    ObjectStore(lake, lake_key=LAKE_KEY).close()


def test_a_served_lake_is_left_as_it_is(lake: Path, store: ObjectStore) -> None:
    store.keys.create_key("mine")
    lock = LakeLock(lake)
    try:
        with pytest.raises(ConflictError) as error:
            rewrap(lake, LAKE_KEY, NEW)
        assert error.value.kind is ErrorKind.LAKE_LOCKED
    finally:
        lock.release()
    store.keys.create_key("more")


def test_the_same_key_again_is_refused(lake: Path) -> None:
    with pytest.raises(InvalidInputError):
        rewrap(lake, LAKE_KEY, LakeKey(LAKE_KEY.secret, "name"))


def test_a_lake_leaves_its_own_key_for_one_from_outside(tmp_path: Path) -> None:
    lake = tmp_path / "own"
    with ObjectStore(lake) as store:
        secret = store.keys.seal("hosu-test", b"secret", b"")
    inside = load_inside_key(lake / "meta")
    assert inside is not None
    assert rewrap(lake, inside, NEW) == 1
    assert not (lake / "meta" / INSIDE_FILE).exists()
    with ObjectStore(lake, lake_key=NEW) as store:
        assert store.keys.unseal("hosu-test", secret, b"") == b"secret"


# Named keys


def test_blobs_come_under_the_newest_version_of_their_key(store: ObjectStore, write: Write, read: Read) -> None:
    store.keys.create_key("other")
    write("large", LARGE)
    write("small", b"small")
    write("other", b"other", Encryption(EncryptionMode.SSE_KMS, "other"))
    write("mine", b"mine", SSE_C)
    write("plain", b"plain", None)
    store.keys.rotate_key(DEFAULT_KEY)
    write("after", b"after")
    assert versions_of(store) == [1, 1, 2]
    report = rewrap_blobs(store, DEFAULT_KEY)
    assert msgspec.structs.astuple(report) == (2, 1)
    assert versions_of(store) == [2, 2, 2]
    assert versions_of(store, "other") == [1]
    bodies = {"large": LARGE, "small": b"small", "other": b"other", "plain": b"plain", "after": b"after"}
    assert {key: read(key) for key in bodies} == bodies
    assert read("mine", customer_key=SSE_C.customer_key) == b"mine"
    assert find_faults(store) == []
    assert msgspec.structs.astuple(rewrap_blobs(store, DEFAULT_KEY)) == (0, 3)


def test_a_rotation_that_was_stopped_goes_on(
    store: ObjectStore, write: Write, read: Read, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rotation, "BLOBS_PER_TRANSACTION", 2)
    for number in range(7):
        write(f"k{number}", b"%d" % number)
    store.keys.rotate_key(DEFAULT_KEY)
    turns = iter([True, True, True, False])
    stopped = rewrap_blobs(store, DEFAULT_KEY, goes_on=lambda: next(turns))
    assert stopped.blobs == 4
    assert sorted(versions_of(store)) == [1, 1, 1, 2, 2, 2, 2]
    assert rewrap_blobs(store, DEFAULT_KEY).blobs == 3
    assert [read(f"k{number}") for number in range(7)] == [b"%d" % number for number in range(7)]


def test_a_blob_whose_key_does_not_open_stops_the_rotation_and_is_left(store: ObjectStore, write: Write) -> None:
    record = write("k", b"body")
    store.keys.rotate_key(DEFAULT_KEY)
    sealed = store.view().value("SELECT sealed FROM blob WHERE id = ?", (record.blob_id,))
    changed = sealed[:-3] + bytes([sealed[-3] ^ 1]) + sealed[-2:]
    store.commit(lambda tx: tx.run("UPDATE blob SET sealed = ? WHERE id = ?", (changed, record.blob_id)))
    with pytest.raises(CorruptError):
        rewrap_blobs(store, DEFAULT_KEY)
    assert store.view().value("SELECT sealed FROM blob WHERE id = ?", (record.blob_id,)) == changed


def test_rotation_of_a_missing_key_is_told(store: ObjectStore) -> None:
    with pytest.raises(NotFoundError):
        rewrap_blobs(store, "none")


def test_a_reader_goes_on_while_its_blob_is_wrapped_again(store: ObjectStore, write: Write) -> None:
    write("k", LARGE, SSE_S3)
    _, body = open_body(store, BUCKET, "k")
    with body:
        store.keys.rotate_key(DEFAULT_KEY)
        rewrap_blobs(store, DEFAULT_KEY)
        assert body.read(0, len(LARGE)) == LARGE

"""Bytes are hashed before they are served or shared, unless that was done lately on an unchanged file."""

import os
from pathlib import Path

import pytest
from tests.unit.objects.conftest import BUCKET, Put

from hosu.kernel.errors import CorruptError, ErrorKind
from hosu.objects.blobs import VERIFIED_MS_MAX, BlobRow, OpenBlob
from hosu.objects.read import blob_row, find_with_blob
from hosu.objects.store import ObjectStore
from hosu.testing.manual_clock import ManualClock

BODY = b"body" * 10_000


def open_blob(store: ObjectStore, key: str) -> OpenBlob:
    _, row = find_with_blob(store.view(), BUCKET, key)
    assert row is not None
    return store.files.open(row)


def is_verified(store: ObjectStore, key: str) -> bool:
    opened = open_blob(store, key)
    try:
        return opened.is_verified(store.clock.now_ms())
    finally:
        opened.close()


def path_of(store: ObjectStore, key: str) -> Path:
    _, row = find_with_blob(store.view(), BUCKET, key)
    assert row is not None
    return store.files.path(row.id)


def flip_a_byte(path: Path) -> None:
    with path.open("r+b") as file:
        file.seek(100)
        file.write(b"X")


def current_row(store: ObjectStore, key: str) -> BlobRow:
    blob_id = find_with_blob(store.view(), BUCKET, key)[0].blob_id
    assert blob_id is not None
    return blob_row(store.view(), blob_id)


def test_a_new_blob_is_verified_for_a_day(store: ObjectStore, put: Put, clock: ManualClock) -> None:
    put("k", BODY)
    assert is_verified(store, "k")
    clock.advance(VERIFIED_MS_MAX)
    assert not is_verified(store, "k")
    store.verify(open_blob(store, "k"))
    assert is_verified(store, "k")


def test_a_verification_is_remembered_by_the_lake(store: ObjectStore, put: Put, clock: ManualClock) -> None:
    put("k", BODY)
    clock.advance(VERIFIED_MS_MAX)
    store.verify(open_blob(store, "k"))
    with ObjectStore(store.path, clock=clock) as other:
        assert is_verified(other, "k")


def test_a_clock_that_was_put_back_verifies_nothing(store: ObjectStore, put: Put, clock: ManualClock) -> None:
    put("k", BODY)
    clock.set_now_ms(clock.now_ms() - 1)
    assert not is_verified(store, "k")


@pytest.mark.parametrize("harm", ["a byte", "shorter", "longer", "replaced", "only touched"])
def test_a_file_that_was_touched_is_not_verified(store: ObjectStore, put: Put, harm: str) -> None:
    put("k", BODY)
    path = path_of(store, "k")
    if harm == "a byte":
        flip_a_byte(path)
    elif harm == "shorter":
        os.truncate(path, 10)
    elif harm == "longer":
        path.write_bytes(BODY + b"x")
    elif harm == "replaced":
        other = path.with_suffix(".new")
        other.write_bytes(BODY)
        other.rename(path)
    else:
        os.utime(path)
    assert not is_verified(store, "k")
    is_harmless = harm in {"replaced", "only touched"}
    if is_harmless:
        store.verify(open_blob(store, "k"))
        assert is_verified(store, "k")
        return
    with pytest.raises(CorruptError) as refusal:
        store.verify(open_blob(store, "k"))
    assert refusal.value.kind == ErrorKind.CORRUPT_BLOB
    assert current_row(store, "k").is_corrupt
    with pytest.raises(CorruptError):
        store.open_file(current_row(store, "k"))


def test_a_file_that_is_gone_is_corrupt(store: ObjectStore, put: Put) -> None:
    put("k", BODY)
    path_of(store, "k").unlink()
    with pytest.raises(CorruptError):
        open_blob(store, "k")


@pytest.mark.parametrize("days", [0, 2])
def test_bytes_sent_again_do_not_rely_on_a_file_that_rotted(
    store: ObjectStore, put: Put, clock: ManualClock, days: int
) -> None:
    rotten = put("k", BODY).blob_id
    flip_a_byte(path_of(store, "k"))
    clock.advance(days * VERIFIED_MS_MAX)
    again = put("again", BODY).blob_id
    assert again != rotten
    assert path_of(store, "again").read_bytes() == BODY
    assert current_row(store, "k").is_corrupt


def test_bytes_sent_again_rely_on_an_old_file_that_is_well(store: ObjectStore, put: Put, clock: ManualClock) -> None:
    first = put("k", BODY).blob_id
    clock.advance(2 * VERIFIED_MS_MAX)
    assert put("again", BODY).blob_id == first
    assert is_verified(store, "again")


def test_bytes_sent_again_do_not_rely_on_a_file_that_is_gone(store: ObjectStore, put: Put) -> None:
    lost = put("k", BODY).blob_id
    path_of(store, "k").unlink()
    assert put("again", BODY).blob_id != lost
    assert path_of(store, "again").read_bytes() == BODY


def test_inline_bytes_are_hashed_again_after_a_day(store: ObjectStore, put: Put, clock: ManualClock) -> None:
    put("k", b"small")
    store.commit(lambda tx: tx.run("UPDATE blob SET body = CAST('smell' AS BLOB)") and None)  # type: ignore[truthy-bool]
    row = current_row(store, "k")
    assert store.inline_bytes(row) == b"smell"
    clock.advance(VERIFIED_MS_MAX)
    with pytest.raises(CorruptError):
        store.inline_bytes(row)

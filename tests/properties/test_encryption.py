"""Encrypted bodies of arbitrary sizes, written in arbitrary pieces, read in arbitrary ranges, next to plain bytes."""

import random
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from tests.properties.profiles import LISTINGS, scratch_folder

from hosu.kernel.errors import CorruptError
from hosu.kernel.lakekey import LakeKey
from hosu.objects import multipart
from hosu.objects.bodies import BodyWriter, open_body, store_object
from hosu.objects.buckets import create_bucket
from hosu.objects.encryption import Encryption, EncryptionMode
from hosu.objects.encryption.modes import encryption_of_parts
from hosu.objects.encryption.sealing import SEGMENT_BYTES, Sealer, Unsealer, stored_size
from hosu.objects.multipart import CompletedPart, CompleteRequest
from hosu.objects.put import PutRequest
from hosu.objects.records import Attributes
from hosu.objects.store import ObjectStore

BUCKET = "images"
KEY = bytes(range(32))
CUSTOMER_KEY = b"c" * 32
WAYS = st.sampled_from(
    [Encryption(EncryptionMode.SSE_S3), Encryption(EncryptionMode.SSE_C, customer_key=CUSTOMER_KEY), None]
)
NEAR_BORDERS = st.builds(
    lambda segments, edge: max(0, segments * SEGMENT_BYTES + edge), st.integers(0, 9), st.integers(-2, 2)
)
SIZES = NEAR_BORDERS | st.integers(0, 600_000)
SHARES = st.floats(0, 1)


@pytest.fixture(scope="module")
def store() -> Iterator[ObjectStore]:
    with (
        scratch_folder() as folder,
        ObjectStore(Path(folder, "lake"), space_reserve_bytes=0, lake_key=LakeKey(KEY)) as opened,
    ):
        opened.commit(partial(create_bucket, name=BUCKET))
        yield opened


def key_of(encryption: Encryption | None) -> bytes:
    return b"" if encryption is None else encryption.customer_key


def ranges_of(size_bytes: int, shares: list[tuple[float, float]]) -> Iterator[tuple[int, int]]:
    yield 0, size_bytes
    for first, second in shares:
        start, end = sorted((int(first * size_bytes), int(second * size_bytes)))
        yield start, end


@LISTINGS
@given(
    size_bytes=SIZES,
    pieces=st.lists(st.integers(1, 200_000), min_size=1, max_size=5),
    shares=st.lists(st.tuples(SHARES, SHARES), max_size=8),
    encryption=WAYS,
)
@example(size_bytes=SEGMENT_BYTES, pieces=[SEGMENT_BYTES], shares=[], encryption=Encryption(EncryptionMode.SSE_S3))
def test_any_range_of_any_body_reads_as_it_was_written(
    store: ObjectStore,
    size_bytes: int,
    pieces: list[int],
    shares: list[tuple[float, float]],
    encryption: Encryption | None,
) -> None:
    body = random.Random(size_bytes).randbytes(size_bytes)
    with BodyWriter(store, encryption) as writer:
        start, turn = 0, 0
        while start < size_bytes:
            writer.write(body[start : start + pieces[turn % len(pieces)]])
            start += pieces[turn % len(pieces)]
            turn += 1
        staged, etag = writer.finish()
    store_object(store, PutRequest(BUCKET, "k", staged, etag))
    record, stored = open_body(store, BUCKET, "k", customer_key=key_of(encryption))
    with stored:
        assert record.size_bytes == stored.size_bytes == size_bytes
        for start, end in ranges_of(size_bytes, shares):
            assert stored.read(start, end) == body[start:end]


@LISTINGS
@given(
    sizes=st.lists(st.integers(1, 150_000), min_size=1, max_size=4),
    shares=st.lists(st.tuples(SHARES, SHARES), max_size=6),
    encryption=WAYS,
)
def test_any_range_of_any_parts_reads_as_they_were_written(
    store: ObjectStore, sizes: list[int], shares: list[tuple[float, float]], encryption: Encryption | None
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(multipart, "PART_BYTES_MIN", 1)
        facts = store.keys.facts_of(encryption)
        upload = store.commit(
            lambda tx: multipart.create_upload(tx, BUCKET, "p", attributes=Attributes(), encryption=facts)
        )
        bodies = [random.Random(size).randbytes(size) for size in sizes]
        named = []
        for number, body in enumerate(bodies, 1):
            with BodyWriter(store, encryption_of_parts(upload.attributes.encryption, key_of(encryption))) as writer:
                writer.write(body)
                staged, etag = writer.finish()
            verb = partial(multipart.add_part, bucket_name=BUCKET, key="p", upload_id=upload.upload_id, number=number)
            store.commit(partial(verb, body=staged, etag=etag))
            named.append(CompletedPart(number, etag))
        request = CompleteRequest(BUCKET, "p", upload.upload_id, named)
        store.commit(partial(multipart.complete_upload, request=request))
    whole = b"".join(bodies)
    _, stored = open_body(store, BUCKET, "p", customer_key=key_of(encryption))
    with stored:
        for start, end in ranges_of(len(whole), shares):
            assert stored.read(start, end) == whole[start:end]


@LISTINGS
@given(size_bytes=NEAR_BORDERS.filter(bool), place=SHARES, flip=st.integers(1, 255), shares=st.tuples(SHARES, SHARES))
def test_a_changed_byte_shows_or_is_outside_of_what_is_read(
    size_bytes: int, place: float, flip: int, shares: tuple[float, float]
) -> None:
    body = random.Random(size_bytes).randbytes(size_bytes)
    stored = bytearray()
    sealer = Sealer(KEY, stored.extend)
    sealer.update(body)
    sealer.finish()
    assert len(stored) == stored_size(size_bytes)
    changed = min(int(place * len(stored)), len(stored) - 1)
    stored[changed] ^= flip

    def read(offset: int, buffer: memoryview) -> int:
        buffer[:] = stored[offset : offset + len(buffer)]
        return len(buffer)

    (start, end) = list(ranges_of(size_bytes, [shares]))[1]
    damaged = changed // (SEGMENT_BYTES + 16)
    is_touched = start < end and start // SEGMENT_BYTES <= damaged <= (end - 1) // SEGMENT_BYTES
    target = bytearray(end - start)
    try:
        Unsealer(1, KEY, size_bytes, read).read_into(start, memoryview(target))
    except CorruptError:
        assert is_touched
    else:
        assert not is_touched
        assert target == body[start:end]

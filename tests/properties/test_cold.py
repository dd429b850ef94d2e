"""Bodies of every kind, put whole or in parts, moved into the class COLD and read in arbitrary ranges."""

import random
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.properties.profiles import LISTINGS, scratch_folder
from tests.support.pictures import photo
from tests.unit.objects.coding.conftest import upload

from hosu.kernel.lakekey import LakeKey
from hosu.kernel.limits import KIB, MIB
from hosu.objects.bodies import BodyWriter, open_body, store_object
from hosu.objects.buckets import create_bucket
from hosu.objects.coding.recoding import recode
from hosu.objects.encryption import Encryption, EncryptionMode
from hosu.objects.fileio import ObjectFileIO
from hosu.objects.put import PutRequest
from hosu.objects.read import find
from hosu.objects.records import COLD, ObjectRecord
from hosu.objects.store import ObjectStore
from hosu.testing.lake_check import find_faults

BUCKET = "images"
WAYS = st.sampled_from([None, Encryption(EncryptionMode.SSE_S3)])
SHARES = st.lists(st.tuples(st.floats(0, 1), st.floats(0, 1)), max_size=6)
PICTURES = [photo(320, 240, seed) for seed in range(3)]
FRAME = 256 * KIB

SIZES = st.integers(0, 40 * KIB) | st.builds(
    lambda frames, edge: max(0, frames * FRAME + edge), st.integers(0, 4), st.integers(-2, 2)
)


def _body(size: int, seed: int, period: int) -> bytes:
    chance = random.Random(seed)
    run = chance.randbytes(min(period, size) or 1)
    return (run * (size // len(run) + 1))[:size]


BODIES = st.builds(_body, SIZES, st.integers(0, 3), st.sampled_from([1, 100, 10_000, 2 * MIB])) | st.builds(
    lambda picture, behind: picture + behind, st.sampled_from(PICTURES), st.binary(max_size=200)
)


@pytest.fixture(scope="module")
def store() -> Iterator[ObjectStore]:
    with (
        scratch_folder() as folder,
        ObjectStore(Path(folder, "lake"), space_reserve_bytes=0, lake_key=LakeKey(bytes(range(32)))) as opened,
    ):
        opened.commit(partial(create_bucket, name=BUCKET))
        yield opened
        assert find_faults(opened) == []


def check(store: ObjectStore, record: ObjectRecord, body: bytes, shares: list[tuple[float, float]]) -> None:
    assert recode(store, BUCKET, "k", record.seq, storage_class=COLD) is not None
    after = find(store.view(), BUCKET, "k")
    assert after.storage_class == COLD
    assert msgspec.structs.replace(after, blob_id=None) == msgspec.structs.replace(
        record, blob_id=None, storage_class=COLD
    )
    ranges = [(0, len(body))]
    for one, other in shares:
        start, end = sorted((int(one * len(body)), int(other * len(body))))
        ranges.append((start, end))
    _, opened = open_body(store, BUCKET, "k")
    with opened:
        for start, end in ranges:
            assert opened.read(start, end) == body[start:end]
            assert b"".join(opened.chunks(start, end, 10_000)) == body[start:end]
    found = ObjectFileIO(store, BUCKET).read_ranges("k", ranges)
    assert list(found) == [body[start:end] for start, end in ranges]


@LISTINGS
@given(body=BODIES, shares=SHARES, encryption=WAYS)
def test_any_body_reads_as_it_was_put(
    store: ObjectStore, body: bytes, shares: list[tuple[float, float]], encryption: Encryption | None
) -> None:
    with BodyWriter(store, encryption) as writer:
        writer.write(body)
        staged, etag = writer.finish()
    record = store_object(store, PutRequest(BUCKET, "k", staged, etag))
    check(store, record, body, shares)


@settings(LISTINGS, max_examples=LISTINGS.max_examples // 3)  # parts are large
@given(
    last=BODIES,
    parts=st.lists(st.tuples(st.integers(0, 3), st.sampled_from([1000, 6 * MIB])), max_size=2),
    shares=SHARES,
    encryption=WAYS,
)
def test_any_parts_read_as_they_were_put(
    store: ObjectStore,
    last: bytes,
    parts: list[tuple[int, int]],
    shares: list[tuple[float, float]],
    encryption: Encryption | None,
) -> None:
    bodies = [*(_body(5 * MIB, seed, period) for seed, period in parts), last]
    record = upload(store, "k", bodies, encryption)
    check(store, record, b"".join(bodies), shares)

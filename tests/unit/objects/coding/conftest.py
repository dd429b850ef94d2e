"""Fixtures: a lake with a key from outside, objects that are compressed, and what is seen of them."""

import random
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import pytest
from tests.support.pictures import photo

from hosu.kernel.lakekey import LakeKey
from hosu.objects.bodies import BodyWriter, open_body, store_object
from hosu.objects.buckets import create_bucket
from hosu.objects.coding.recoding import Recoded, recode
from hosu.objects.encryption import Encryption
from hosu.objects.multipart import CompletedPart, CompleteRequest, add_part, complete_upload, create_upload
from hosu.objects.put import PutRequest
from hosu.objects.read import blob_row
from hosu.objects.records import COLD, Attributes, ObjectRecord
from hosu.objects.store import ObjectStore
from hosu.testing.lake_check import find_faults
from hosu.testing.manual_clock import ManualClock

BUCKET = "images"
LAKE_KEY = LakeKey(bytes(range(32)))

WORDS = b"".join(b"%d words of a log\n" % number for number in range(60_000))
NOISE = random.Random(1).randbytes(600_000)
PICTURE = photo()
SMALL = b"several pages " * 1000


class Stored(NamedTuple):
    kind: int
    coding: str | None
    coded_bytes: int | None


class Write(Protocol):
    def __call__(self, key: str, body: bytes, encryption: Encryption | None = None, **fields: Any) -> ObjectRecord: ...


Read = Callable[..., bytes]
Cool = Callable[[ObjectRecord], Recoded | None]


@pytest.fixture
def store(lake: Path, clock: ManualClock) -> Iterator[ObjectStore]:
    with ObjectStore(lake, clock=clock, space_reserve_bytes=0, lake_key=LAKE_KEY) as opened:
        opened.commit(partial(create_bucket, name=BUCKET))
        yield opened
        assert find_faults(opened) == []


@pytest.fixture
def write(store: ObjectStore) -> Write:
    def put(key: str, body: bytes, encryption: Encryption | None = None, **fields: Any) -> ObjectRecord:
        with BodyWriter(store, encryption) as writer:
            writer.write(body)
            staged, etag = writer.finish()
        return store_object(store, PutRequest(fields.pop("bucket", BUCKET), key, staged, etag, **fields))

    return put


def upload(
    store: ObjectStore, key: str, bodies: list[bytes], encryption: Encryption | None = None, **fields: Any
) -> ObjectRecord:
    facts = store.keys.facts_of(encryption)
    verb = partial(create_upload, bucket_name=BUCKET, key=key, attributes=Attributes(), encryption=facts, **fields)
    begun, named = store.commit(verb), []
    for number, body in enumerate(bodies, 1):
        with BodyWriter(store, encryption) as writer:
            writer.write(body)
            staged, etag = writer.finish()
        part = partial(
            add_part, bucket_name=BUCKET, key=key, upload_id=begun.upload_id, number=number, body=staged, etag=etag
        )
        store.commit(part)
        named.append(CompletedPart(number, etag))
    return store.commit(partial(complete_upload, request=CompleteRequest(BUCKET, key, begun.upload_id, named)))


@pytest.fixture
def read(store: ObjectStore) -> Read:
    def get(key: str, start: int = 0, end: int | None = None, **named: Any) -> bytes:
        _, body = open_body(store, BUCKET, key, **named)
        with body:
            return body.read(start, body.size_bytes if end is None else end)

    return get


@pytest.fixture
def cool(store: ObjectStore) -> Cool:
    """Move a version into the class COLD."""
    return lambda record: recode(store, BUCKET, record.key, record.seq, storage_class=COLD)


def stored_as(store: ObjectStore, blob_id: int | None) -> Stored:
    assert blob_id is not None
    row = blob_row(store.view(), blob_id)
    return Stored(row.kind, row.coding, row.coded_bytes)

"""Fixtures: a lake with a key from outside, and bodies that go in and out as callers say."""

import os
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, Protocol

import pytest

from hosu.kernel.lakekey import LakeKey
from hosu.objects.bodies import BodyWriter, open_body, store_object
from hosu.objects.buckets import create_bucket
from hosu.objects.encryption import Encryption, EncryptionMode
from hosu.objects.put import PutRequest
from hosu.objects.records import ObjectRecord
from hosu.objects.store import ObjectStore
from hosu.testing.manual_clock import ManualClock

BUCKET = "images"
LAKE_KEY = LakeKey(bytes(range(32)))
CUSTOMER_KEY = b"c" * 32
SSE_S3 = Encryption(EncryptionMode.SSE_S3)
SSE_C = Encryption(EncryptionMode.SSE_C, customer_key=CUSTOMER_KEY)


def key_of(encryption: Encryption | None) -> bytes:
    return b"" if encryption is None else encryption.customer_key


class Write(Protocol):
    def __call__(
        self, key: str, body: bytes, encryption: Encryption | None = SSE_S3, **fields: Any
    ) -> ObjectRecord: ...


Read = Callable[..., bytes]
OpenStore = Callable[..., ObjectStore]


@pytest.fixture
def store(lake: Path, clock: ManualClock) -> Iterator[ObjectStore]:
    with ObjectStore(lake, clock=clock, space_reserve_bytes=0, lake_key=LAKE_KEY) as opened:
        opened.commit(partial(create_bucket, name=BUCKET))
        yield opened


@pytest.fixture
def write(store: ObjectStore) -> Write:
    def put(key: str, body: bytes, encryption: Encryption | None = SSE_S3, **fields: Any) -> ObjectRecord:
        with BodyWriter(store, encryption) as writer:
            writer.write(body)
            staged, etag = writer.finish()
        return store_object(store, PutRequest(fields.pop("bucket", BUCKET), key, staged, etag, **fields))

    return put


@pytest.fixture
def read(store: ObjectStore) -> Read:
    def get(key: str, *, customer_key: bytes = b"", bucket: str = BUCKET) -> bytes:
        _, body = open_body(store, bucket, key, customer_key=customer_key)
        with body:
            return body.read(0, body.size_bytes)

    return get


@pytest.fixture
def noise() -> Callable[[int], bytes]:
    """Bytes that no compression or hash could meet again by chance."""
    return os.urandom

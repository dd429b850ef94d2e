"""Fixtures of the engine's tests: a lake with one bucket, a clock that stands still."""

import hashlib
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, Protocol

import pytest

from hosu.kernel.limits import INLINE_BYTES_MAX
from hosu.objects.blobs import StagedBlob, stage_inline
from hosu.objects.buckets import create_bucket
from hosu.objects.put import PutRequest, put_object
from hosu.objects.records import ObjectRecord
from hosu.objects.store import ObjectStore
from hosu.testing.manual_clock import ManualClock

BUCKET = "images"


class Put(Protocol):
    def __call__(self, key: str, body: bytes = b"body", **fields: Any) -> ObjectRecord: ...


class Stage(Protocol):
    def __call__(self, body: bytes) -> StagedBlob: ...


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(time.time_ns() // 1_000_000)


@pytest.fixture
def lake(tmp_path: Path) -> Path:
    return tmp_path / "lake"


@pytest.fixture
def store(lake: Path, clock: ManualClock) -> Iterator[ObjectStore]:
    with ObjectStore(lake, clock=clock, space_reserve_bytes=0) as opened:
        opened.commit(partial(create_bucket, name=BUCKET))
        yield opened


@pytest.fixture
def stage(store: ObjectStore) -> Stage:
    """Stage a body, inline when it is small."""

    def stage_body(body: bytes) -> StagedBlob:
        if len(body) <= INLINE_BYTES_MAX:
            return stage_inline(body)
        with store.new_blob() as blob:
            blob.write(body)
            return store.finish_blob(blob)

    return stage_body


@pytest.fixture
def put(store: ObjectStore, stage: Stage) -> Put:
    """Put an object into the bucket."""

    def put_body(key: str, body: bytes = b"body", **fields: Any) -> ObjectRecord:
        request = PutRequest(fields.pop("bucket", BUCKET), key, stage(body), hashlib.md5(body).hexdigest(), **fields)
        return store.commit(partial(put_object, request=request))

    return put_body


Commit = Callable[..., Any]


@pytest.fixture
def commit(store: ObjectStore) -> Commit:
    """Run a verb with these arguments in a transaction."""
    return lambda verb, *positional, **named: store.commit(lambda tx: verb(tx, *positional, **named))

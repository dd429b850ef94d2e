"""A lake with one bucket, a clock that stands still, and short ways to fill it."""

import hashlib
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from hosu.objects.blobs import stage_inline
from hosu.objects.buckets import create_bucket, set_versioning
from hosu.objects.put import PutRequest, put_object
from hosu.objects.records import Attributes, ObjectRecord, Versioning
from hosu.objects.store import ObjectStore
from hosu.rules.lifecycle.keeping import set_lifecycle
from hosu.rules.lifecycle.model import Lifecycle, Rule
from hosu.testing.manual_clock import ManualClock

BUCKET = "images"


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def store(tmp_path: Path, clock: ManualClock) -> Iterator[ObjectStore]:
    with ObjectStore(tmp_path / "lake", clock=clock, space_reserve_bytes=0) as opened:
        opened.commit(partial(create_bucket, name=BUCKET))
        yield opened


@pytest.fixture
def versioned(store: ObjectStore) -> ObjectStore:
    store.commit(partial(set_versioning, name=BUCKET, versioning=Versioning.ENABLED))
    return store


@pytest.fixture
def put(store: ObjectStore) -> Callable[..., ObjectRecord]:
    """Put an object into the bucket."""

    def put_body(key: str, body: bytes = b"body", bucket: str = BUCKET, **attributes: Any) -> ObjectRecord:
        etag = hashlib.md5(body).hexdigest()
        request = PutRequest(bucket, key, stage_inline(body), etag, attributes=Attributes(**attributes))
        return store.commit(partial(put_object, request=request))

    return put_body


@pytest.fixture
def rule(store: ObjectStore) -> Callable[..., None]:
    """Give the bucket these rules."""

    def set_rules(*rules: Rule, bucket: str = BUCKET, **more: Any) -> None:
        store.commit(partial(set_lifecycle, bucket_name=bucket, lifecycle=Lifecycle(rules, **more)))

    return set_rules

"""A quota is never passed, and never refuses what fits: against a recount of all rows, in any order of calls."""

import hashlib
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from tests.properties.profiles import LISTINGS, scratch_folder

from hosu.kernel.errors import ConflictError, ErrorKind, NotFoundError
from hosu.objects import buckets, multipart
from hosu.objects.blobs import stage_inline
from hosu.objects.delete import delete_object
from hosu.objects.put import CopyRequest, PutRequest, copy_object, put_object
from hosu.objects.quota import set_quota
from hosu.objects.records import Attributes, Versioning
from hosu.objects.store import ObjectStore
from hosu.objects.transaction import Tx
from hosu.rules.capacity import CapacityRule, remove_capacity, set_capacity
from hosu.testing.lake_check import find_faults

BUCKET, QUOTA_BYTES = "images", 20

KEYS = st.sampled_from(["a", "b"])
SIZES = st.integers(0, 14)
STEPS = st.one_of(
    st.tuples(st.just("put"), KEYS, SIZES),
    st.tuples(st.just("put"), KEYS, SIZES),
    st.tuples(st.just("copy"), KEYS, KEYS),
    st.tuples(st.just("delete"), KEYS),
    st.tuples(st.just("part"), KEYS, SIZES),
    st.tuples(st.just("complete"), KEYS),
    st.tuples(st.just("abort"), KEYS),
    st.tuples(st.just("versioning"), st.sampled_from([Versioning.ENABLED, Versioning.SUSPENDED])),
)


def etag_of(body: bytes) -> str:
    return hashlib.md5(body).hexdigest()


def verb_of(store: ObjectStore, step: tuple[Any, ...]) -> Callable[[Tx], object]:
    """Return the verb of a step. An upload of a key is begun with its first part, and has one part."""
    name, subject, *rest = step
    if name == "put":
        body = b"x" * rest[0]
        return partial(put_object, request=PutRequest(BUCKET, subject, stage_inline(body), etag_of(body)))
    if name == "copy":
        request = CopyRequest(BUCKET, subject, BUCKET, rest[0], attributes=Attributes())
        return partial(copy_object, request=request)
    if name == "delete":
        return partial(delete_object, bucket_name=BUCKET, key=subject)
    if name == "versioning":
        return partial(buckets.set_versioning, name=BUCKET, versioning=subject)
    begun = [upload for upload in multipart.list_uploads(store.view(), BUCKET).uploads if upload.key == subject]
    if not begun:
        begun = [store.commit(lambda tx: multipart.create_upload(tx, BUCKET, subject, attributes=Attributes()))]
    place: dict[str, Any] = {"bucket_name": BUCKET, "key": subject, "upload_id": begun[0].upload_id}
    if name == "abort":
        return partial(multipart.abort_upload, **place)
    if name == "part":
        body = b"p" * rest[0]
        return partial(multipart.add_part, **place, number=1, body=stage_inline(body), etag=etag_of(body))
    parts = multipart.list_parts(store.view(), begun[0])
    if not parts:
        return partial(multipart.abort_upload, **place)
    named = [multipart.CompletedPart(part.number, part.etag) for part in parts]
    request_to_complete = multipart.CompleteRequest(BUCKET, subject, begun[0].upload_id, named)
    return partial(multipart.complete_upload, request=request_to_complete)


def recount(store: ObjectStore) -> int:
    """Add up every row that counts."""
    statement = (
        "SELECT (SELECT total(size_bytes) FROM object) + (SELECT total(size_bytes) FROM version) "
        "+ (SELECT total(size_bytes) FROM part)"
    )
    return int(store.view().value(statement))


def limit(tx: Tx, scope: str, quota_bytes: int) -> None:
    """Limit the bucket or the lake; 0 takes the limit back."""
    if scope == "bucket":
        set_quota(tx, BUCKET, quota_bytes)
    elif quota_bytes:
        set_capacity(tx, CapacityRule(quota_bytes=quota_bytes), allows_below_use=True)
    else:
        remove_capacity(tx)


@LISTINGS
@given(st.sampled_from(["bucket", "lake"]), st.lists(STEPS, max_size=25))
def test_a_quota_refuses_what_would_pass_it_and_nothing_else(scope: str, steps: list[tuple[Any, ...]]) -> None:
    with scratch_folder() as folder, ObjectStore(Path(folder) / "lake", space_reserve_bytes=0) as store:
        store.commit(partial(buckets.create_bucket, name=BUCKET))
        store.commit(partial(limit, scope=scope, quota_bytes=QUOTA_BYTES))
        for step in steps:
            before = recount(store)
            try:
                store.commit(verb_of(store, step))
            except NotFoundError:  # a copy of nothing
                assert recount(store) == before
            except ConflictError as refusal:
                found = (refusal.kind, refusal.details["scope"])
                assert found == (ErrorKind.QUOTA_EXCEEDED, scope)
                assert recount(store) == before
                store.commit(partial(limit, scope=scope, quota_bytes=0))
                store.commit(verb_of(store, step))
                assert recount(store) > max(before, QUOTA_BYTES), step
                store.commit(partial(limit, scope=scope, quota_bytes=QUOTA_BYTES))
            else:
                assert recount(store) <= max(before, QUOTA_BYTES), step
            assert store.view().bucket(BUCKET).usage.held_bytes == recount(store)
        assert find_faults(store) == []

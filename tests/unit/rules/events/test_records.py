"""Events in the words of S3 and MinIO."""

import json
from functools import partial
from hashlib import md5
from typing import Any

from tests.unit.rules.events.conftest import BUCKET, delete, put

from hosu.objects.audit import Origin as Asker
from hosu.objects.blobs import stage_inline
from hosu.objects.buckets import set_versioning
from hosu.objects.feed import read_events
from hosu.objects.put import PutRequest, put_object
from hosu.objects.records import Attributes, Versioning
from hosu.objects.store import ObjectStore
from hosu.rules.events.names import name_of
from hosu.rules.events.records import Origin, decode_message, encode_message, make_message


def told(store: ObjectStore, place: int = -1) -> Any:
    """Return the record of one of the objects' events."""
    events = [event for event in read_events(store.view()) if event.key]
    event = events[place]
    message = make_message(store.view(), event, name_of(event) or "", Origin("http://lake", "here", "root"), "rule")
    assert decode_message(encode_message(message)) == message
    body = json.loads(message.body())
    assert (body["EventName"], body["Key"]) == (message.name, f"{event.bucket}/{event.key}")
    return body["Records"][0]


def put_with(store: ObjectStore, key: str, body: bytes = b"body", **metadata: str) -> None:
    attributes = Attributes(headers={"content-type": "image/jpeg"}, metadata=metadata)
    request = PutRequest(BUCKET, key, stage_inline(body), md5(body).hexdigest(), attributes, actor="alice")
    asker = Asker("R1", "s3:PutObject", "alice", "KEY", "192.0.2.7")
    store.commit(partial(put_object, request=request), asker)


def test_a_put_is_told_with_all_that_is_known(store: ObjectStore) -> None:
    put_with(store, "a b/한.jpg", camera="front-door")
    record = told(store)
    assert record["awsRegion"] == "here"
    assert record["userIdentity"] == {"principalId": "alice"}
    assert record["requestParameters"] == {
        "principalId": "alice", "region": "here", "sourceIPAddress": "192.0.2.7",
    }  # fmt: skip
    assert record["responseElements"] == {"x-amz-request-id": "R1", "x-minio-origin-endpoint": "http://lake"}
    assert record["s3"]["bucket"]["ownerIdentity"] == {"principalId": "root"}
    found = dict(record["s3"]["object"])
    assert int(found.pop("sequencer"), 16) == read_events(store.view())[-1].seq
    assert found == {
        "key": "a+b%2F%ED%95%9C.jpg",
        "size": 4,
        "eTag": md5(b"body").hexdigest(),
        "contentType": "image/jpeg",
        "userMetadata": {"content-type": "image/jpeg", "X-Amz-Meta-Camera": "front-door"},
    }


def test_a_removal_is_told_without_what_is_gone(store: ObjectStore) -> None:
    put_with(store, "a")
    delete(store, "a")
    found = told(store)["s3"]["object"]
    assert sorted(found) == ["eTag", "key", "sequencer", "size"]


def test_what_was_replaced_meanwhile_is_told_without_the_others_metadata(store: ObjectStore) -> None:
    put_with(store, "a", owner="first")
    put_with(store, "a", owner="second")
    assert "userMetadata" not in told(store, -2)["s3"]["object"]
    assert told(store, -1)["s3"]["object"]["userMetadata"]["X-Amz-Meta-Owner"] == "second"


def test_a_version_is_told_with_its_own_metadata_though_it_is_not_current(store: ObjectStore) -> None:
    store.commit(partial(set_versioning, name=BUCKET, versioning=Versioning.ENABLED))
    put_with(store, "a", owner="first")
    put_with(store, "a", owner="second")
    first, second = told(store, -2)["s3"]["object"], told(store, -1)["s3"]["object"]
    assert first["userMetadata"]["X-Amz-Meta-Owner"] == "first"
    assert first["versionId"] != second["versionId"]
    assert first["sequencer"] < second["sequencer"]


def test_what_python_does_comes_from_no_address(store: ObjectStore) -> None:
    put(store, "a")
    record = told(store)
    assert record["requestParameters"]["sourceIPAddress"] == ""
    assert record["responseElements"]["x-amz-request-id"] == ""


def test_a_broken_record_is_told_without_its_metadata(store: ObjectStore) -> None:
    put_with(store, "a")
    store.commit(lambda tx: tx.run("UPDATE object SET attributes = '{broken'"))
    assert "userMetadata" not in told(store)["s3"]["object"]

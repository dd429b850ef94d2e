"""minio-py, as the smart-door system uses it."""

import io
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from minio import Minio
from minio.commonconfig import ENABLED, REPLACE, ComposeSource, CopySource, Tags
from minio.deleteobjects import DeleteObject
from minio.error import S3Error
from minio.versioningconfig import VersioningConfig
from tests.support.clients import MIB, patterned
from tests.support.http import send
from tests.support.server import Endpoint


@pytest.fixture
def client(server: Endpoint) -> Iterator[Any]:
    minio = Minio(server.host, access_key=server.access_key, secret_key=server.secret_key, secure=False)
    yield minio
    minio._http.clear()


def test_a_capture_goes_up_and_a_model_comes_down(client: Any, bucket: str, tmp_path: Path) -> None:
    photo, model = tmp_path / "capture_001.jpg", tmp_path / "best.pt"
    photo.write_bytes(patterned(300_000))
    client.fput_object(bucket, "images/raw/2025-08-08/capture_001.jpg", str(photo), content_type="image/jpeg")
    client.copy_object(
        bucket, "models/production/current/best.pt", CopySource(bucket, "images/raw/2025-08-08/capture_001.jpg")
    )
    client.fget_object(bucket, "models/production/current/best.pt", str(model))
    assert model.read_bytes() == photo.read_bytes()
    stat = client.stat_object(bucket, "images/raw/2025-08-08/capture_001.jpg")
    assert (stat.size, stat.content_type) == (300_000, "image/jpeg")


def test_buckets_are_made_found_listed_and_removed(client: Any, bucket_name: str) -> None:
    assert not client.bucket_exists(bucket_name)
    client.make_bucket(bucket_name)
    assert client.bucket_exists(bucket_name)
    assert bucket_name in [entry.name for entry in client.list_buckets()]
    with pytest.raises(S3Error) as refusal:
        client.make_bucket(bucket_name, location="eu-west-1")
    assert refusal.value.code == "BucketAlreadyOwnedByYou"
    client.remove_bucket(bucket_name)
    assert not client.bucket_exists(bucket_name)


@pytest.mark.parametrize("size_bytes", [0, 10, 5 * MIB, 11 * MIB + 3])
def test_a_stream_of_unknown_length_is_stored_whole(client: Any, bucket: str, size_bytes: int) -> None:
    body = patterned(size_bytes)
    client.put_object(bucket, "k", io.BytesIO(body), -1, part_size=5 * MIB)
    answer = client.get_object(bucket, "k")
    assert answer.data == body
    answer.close()


def test_a_file_in_parallel_parts_is_stored_whole(client: Any, bucket: str) -> None:
    body = patterned(16 * MIB)
    client.put_object(bucket, "k", io.BytesIO(body), len(body), part_size=5 * MIB, num_parallel_uploads=3)
    answer = client.get_object(bucket, "k", offset=5 * MIB - 3, length=10)
    assert answer.data == body[5 * MIB - 3 : 5 * MIB + 7]
    answer.close()


def test_listings_show_one_level_or_all(client: Any, bucket: str) -> None:
    keys = ["a.txt", "images/processed/1.jpg", "images/raw/1.jpg", "images/raw/2 한.jpg"]
    for key in keys:
        client.put_object(bucket, key, io.BytesIO(b"x"), 1)
    assert [entry.object_name for entry in client.list_objects(bucket, recursive=True)] == keys
    level = [(entry.object_name, entry.is_dir) for entry in client.list_objects(bucket, "images/")]
    assert level == [("images/processed/", True), ("images/raw/", True)]
    after = client.list_objects(bucket, recursive=True, start_after="images/processed/1.jpg")
    assert [entry.object_name for entry in after] == keys[2:]


def test_objects_are_composed_from_pieces(client: Any, bucket: str) -> None:
    pieces = [patterned(5 * MIB, 1), patterned(1000, 2)]
    for number, piece in enumerate(pieces):
        client.put_object(bucket, str(number), io.BytesIO(piece), len(piece))
    client.compose_object(bucket, "whole", [ComposeSource(bucket, "0"), ComposeSource(bucket, "1")])
    answer = client.get_object(bucket, "whole")
    assert answer.data == b"".join(pieces)
    answer.close()


def test_a_copy_may_replace_metadata(client: Any, bucket: str) -> None:
    client.put_object(bucket, "k", io.BytesIO(b"x"), 1, metadata={"camera": "front"})
    assert client.stat_object(bucket, "k").metadata["x-amz-meta-camera"] == "front"
    client.copy_object(bucket, "copy", CopySource(bucket, "k"), metadata={"camera": "back"}, metadata_directive=REPLACE)
    assert client.stat_object(bucket, "copy").metadata["x-amz-meta-camera"] == "back"


def test_tags_of_buckets_and_objects(client: Any, bucket: str) -> None:
    tags = Tags.new_object_tags()
    tags["state"] = "검수 완료"
    client.put_object(bucket, "k", io.BytesIO(b"x"), 1, tags=tags)
    assert client.get_object_tags(bucket, "k") == {"state": "검수 완료"}
    client.delete_object_tags(bucket, "k")
    assert not client.get_object_tags(bucket, "k")
    bucket_tags = Tags.new_bucket_tags()
    bucket_tags["team"] = "vision"
    client.set_bucket_tags(bucket, bucket_tags)
    assert client.get_bucket_tags(bucket) == {"team": "vision"}
    client.delete_bucket_tags(bucket)
    assert client.get_bucket_tags(bucket) is None


def test_versions_are_listed_read_and_removed(client: Any, bucket: str) -> None:
    client.set_bucket_versioning(bucket, VersioningConfig(ENABLED))
    assert client.get_bucket_versioning(bucket).status == ENABLED
    versions = [client.put_object(bucket, "k", io.BytesIO(body), 3).version_id for body in (b"one", b"two")]
    client.remove_object(bucket, "k")
    listed = list(client.list_objects(bucket, include_version=True))
    assert {(entry.version_id, entry.is_delete_marker) for entry in listed} >= {
        (version, False) for version in versions
    }
    assert [entry.is_delete_marker for entry in listed].count(True) == 1
    answer = client.get_object(bucket, "k", version_id=versions[0])
    assert answer.data == b"one"
    answer.close()


def test_many_objects_are_removed_at_once(client: Any, bucket: str) -> None:
    for number in range(5):
        client.put_object(bucket, str(number), io.BytesIO(b"x"), 1)
    assert list(client.remove_objects(bucket, [DeleteObject(str(number)) for number in range(4)])) == []
    assert [entry.object_name for entry in client.list_objects(bucket)] == ["4"]


def test_presigned_urls_work_both_ways(client: Any, bucket: str) -> None:
    put = client.presigned_put_object(bucket, "dir/k 1", expires=timedelta(minutes=1))
    assert send("PUT", put, b"body").status == 200
    get = client.presigned_get_object(bucket, "dir/k 1", response_headers={"response-content-type": "image/png"})
    answer = send("GET", get)
    assert (answer.status, answer.data, answer.headers["Content-Type"]) == (200, b"body", "image/png")


@pytest.mark.parametrize(("bucket_suffix", "code"), [("", "NoSuchKey"), ("-none", "NoSuchBucket")])
def test_errors_carry_their_code(client: Any, bucket: str, bucket_suffix: str, code: str) -> None:
    with pytest.raises(S3Error) as refusal:
        client.get_object(bucket + bucket_suffix, "none")
    assert (refusal.value.code, bool(refusal.value.request_id)) == (code, True)

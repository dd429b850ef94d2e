"""What is at an endpoint: objects, versions, open uploads and buckets, page by page."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from hosu.cli.addresses import ObjectAddress
from hosu.cli.session import Session


@dataclass(frozen=True, slots=True)
class ObjectEntry:
    """One object or version as a listing or a HEAD shows it; times in nanoseconds since 1970 UTC."""

    address: ObjectAddress
    size_bytes: int
    modified_ns: int
    etag: str
    storage_class: str = "STANDARD"
    version_id: str | None = None
    is_latest: bool = True
    is_delete_marker: bool = False


@dataclass(frozen=True, slots=True)
class FolderEntry:
    """A common prefix of keys, shown by a listing that does not go below it."""

    address: ObjectAddress


def nanoseconds(moment: datetime) -> int:
    """Return a moment as nanoseconds since 1970 UTC, exact to the microsecond."""
    return (int(moment.timestamp()) * 1_000_000 + moment.microsecond) * 1000


def pages(
    session: Session, request: Callable[[dict[str, Any]], Mapping[str, Any]], *, following: Mapping[str, str]
) -> Iterator[Mapping[str, Any]]:
    """Yield every page of a listing: `following` maps the next request's parameters to the answer's fields."""
    arguments: dict[str, Any] = {}
    while True:
        session.raise_if_cancelled()
        page = session.retry.call(lambda: request(arguments))  # noqa: B023 - called before the next page is asked for
        yield page
        if not page.get("IsTruncated"):
            return
        arguments = {name: page[field] for name, field in following.items() if field in page}
        if not arguments:
            return


def list_objects(
    session: Session, prefix: ObjectAddress, *, recursive: bool = True
) -> Iterator[ObjectEntry | FolderEntry]:
    """Yield the objects whose key starts with `prefix`; without `recursive`, stop at the next "/" of a key."""
    client = session.endpoints.client(prefix)
    arguments: dict[str, Any] = {"Bucket": prefix.bucket, "Prefix": prefix.key}
    if not recursive:
        arguments["Delimiter"] = "/"

    def request(more: dict[str, Any]) -> Mapping[str, Any]:
        return client.list_objects_v2(**arguments, **more)

    for page in pages(session, request, following={"ContinuationToken": "NextContinuationToken"}):
        for common in page.get("CommonPrefixes", []):
            yield FolderEntry(prefix.with_key(common["Prefix"]))
        for item in page.get("Contents", []):
            yield ObjectEntry(
                address=prefix.with_key(item["Key"]),
                size_bytes=item["Size"],
                modified_ns=nanoseconds(item["LastModified"]),
                etag=item.get("ETag", "").strip('"'),
                storage_class=item.get("StorageClass", "STANDARD"),
            )


def objects_below(session: Session, prefix: ObjectAddress) -> Iterator[ObjectEntry]:
    """Yield every object whose key starts with `prefix`."""
    return (entry for entry in list_objects(session, prefix) if isinstance(entry, ObjectEntry))


def list_versions(session: Session, prefix: ObjectAddress) -> Iterator[ObjectEntry]:
    """Yield every version and delete marker of the keys that start with `prefix`, by key, newest first."""
    client = session.endpoints.client(prefix)

    def request(more: dict[str, Any]) -> Mapping[str, Any]:
        return client.list_object_versions(Bucket=prefix.bucket, Prefix=prefix.key, **more)

    for page in pages(
        session, request, following={"KeyMarker": "NextKeyMarker", "VersionIdMarker": "NextVersionIdMarker"}
    ):
        entries = [_version(prefix, item, is_marker=False) for item in page.get("Versions", [])]
        entries += [_version(prefix, item, is_marker=True) for item in page.get("DeleteMarkers", [])]
        yield from sorted(entries, key=lambda entry: (entry.address.key, not entry.is_latest, -entry.modified_ns))


def _version(prefix: ObjectAddress, item: Mapping[str, Any], *, is_marker: bool) -> ObjectEntry:
    return ObjectEntry(
        address=prefix.with_key(item["Key"]),
        size_bytes=item.get("Size", 0),
        modified_ns=nanoseconds(item["LastModified"]),
        etag=item.get("ETag", "").strip('"'),
        storage_class=item.get("StorageClass", "STANDARD"),
        version_id=item.get("VersionId", "null"),
        is_latest=item.get("IsLatest", False),
        is_delete_marker=is_marker,
    )


def list_uploads(session: Session, bucket: ObjectAddress) -> Iterator[tuple[str, str]]:
    """Yield (key, upload id) of every multipart upload under way in a bucket."""
    client = session.endpoints.client(bucket)

    def request(more: dict[str, Any]) -> Mapping[str, Any]:
        return client.list_multipart_uploads(Bucket=bucket.bucket, Prefix=bucket.key, **more)

    for page in pages(
        session, request, following={"KeyMarker": "NextKeyMarker", "UploadIdMarker": "NextUploadIdMarker"}
    ):
        for item in page.get("Uploads", []):
            yield item["Key"], item["UploadId"]


def list_buckets(session: Session, root: ObjectAddress) -> list[tuple[str, int]]:
    """Return (name, creation in nanoseconds) of every bucket of an endpoint."""
    client = session.endpoints.client(root)
    answer = session.retry.call(client.list_buckets)
    return [(bucket["Name"], nanoseconds(bucket["CreationDate"])) for bucket in answer.get("Buckets", [])]


def head(session: Session, address: ObjectAddress, version_id: str | None = None, **more: object) -> Mapping[str, Any]:
    """Return the HEAD answer of an object, checksums included."""
    arguments: dict[str, Any] = {"Bucket": address.bucket, "Key": address.key, "ChecksumMode": "ENABLED", **more}
    if version_id is not None:
        arguments["VersionId"] = version_id
    client = session.endpoints.client(address)
    return session.retry.call(lambda: client.head_object(**arguments))


def entry_of(address: ObjectAddress, answer: Mapping[str, Any]) -> ObjectEntry:
    """Return the entry that a HEAD or GET answer describes."""
    return ObjectEntry(
        address=address,
        size_bytes=answer["ContentLength"],
        modified_ns=nanoseconds(answer["LastModified"]),
        etag=answer.get("ETag", "").strip('"'),
        storage_class=answer.get("StorageClass", "STANDARD"),
        version_id=answer.get("VersionId"),
    )

"""A bucket of the lake, as Python uses it."""

import builtins
import io
from collections.abc import Iterable, Iterator, Mapping
from functools import partial
from typing import TYPE_CHECKING, BinaryIO, Protocol, TypeAlias, TypeVar, cast, overload

from hosu.kernel.errors import ErrorKind, InvalidInputError, NotFoundError
from hosu.kernel.fileio import Data, Prefix
from hosu.kernel.fileio.keys import encoded
from hosu.kernel.limits import LIST_KEYS_MAX, WRITE_BYTES
from hosu.lake.info import ObjectInfo, ObjectSummary, attributes_of, info_of
from hosu.objects.aliases import (
    Alias,
    Switch,
    alias_history,
    list_aliases,
    remove_alias,
    revert_alias,
    set_alias,
)
from hosu.objects.bodies import BodyReader, BodyWriter, open_body, store_object
from hosu.objects.buckets import set_versioning
from hosu.objects.copying import copy_stored
from hosu.objects.delete import delete_object
from hosu.objects.fileio import ObjectFileIO, delete_keys, entries_in_order, list_pages
from hosu.objects.listing import Entry, ListRequest, list_versions
from hosu.objects.names import check_key
from hosu.objects.put import CopyRequest, PutRequest, check_put, set_tags
from hosu.objects.quota import set_quota
from hosu.objects.read import clip_range, find
from hosu.objects.records import NO_CONDITIONS, Conditions, ObjectRecord, Usage, Versioning
from hosu.objects.store import ObjectStore

if TYPE_CHECKING:
    from hosu.lake.opening import Lake

T = TypeVar("T")


class Readable(Protocol):
    """A file opened in binary mode, or anything that reads like one."""

    def read(self, size_bytes: int, /) -> bytes:
        """Return up to size_bytes; none at the end."""
        ...


Body: TypeAlias = Data | Readable | Iterable[Data]
"""What can be stored: bytes, an open binary file (from where it stands), or pieces that come one after the other."""


class Bucket:
    """A handle on one bucket; it holds nothing open. Raises NotFoundError BUCKET_NOT_FOUND once the bucket is gone.

    Keys are 1 to 1,024 bytes of UTF-8, else InvalidInputError KEY_INVALID or KEY_TOO_LONG. Reads and listings look
    through aliases; writes below one raise ConflictError ALIAS_READ_ONLY.
    """

    def __init__(self, lake: "Lake", name: str) -> None:
        self.name = name
        self._lake = lake

    def __repr__(self) -> str:
        return f"Bucket({self.name!r})"

    @property
    def _store(self) -> ObjectStore:
        return self._lake.store

    def put(
        self,
        key: str,
        body: Body,
        *,
        content_type: str | None = None,
        metadata: Mapping[str, str] | None = None,
        tags: Mapping[str, str] | None = None,
        if_none_match: str | None = None,
        if_match: str | None = None,
    ) -> ObjectInfo:
        """Store body under key, in place of what is there, and return what was stored.

        A body of any size is streamed; nothing is visible until all of it is durable. `if_none_match="*"` stores only
        where no object is, `if_match=etag` only over the object of that ETag: exact under concurrency, else
        PreconditionFailedError, or NotFoundError where there is nothing to match. Up to 10 tags; metadata up to 2 KiB.
        """
        attributes = attributes_of(content_type, metadata, tags)
        check_put(key, attributes)
        self._store.view().bucket(self.name)
        with BodyWriter(self._store, self._store.encryption_of(self.name)) as writer:
            for piece in _pieces_of(body):
                writer.write(piece)
            staged, etag = writer.finish()
        request = PutRequest(
            bucket=self.name,
            key=key,
            body=staged,
            etag=etag,
            attributes=attributes,
            conditions=_conditions(if_none_match, if_match),
            actor=self._lake.actor,
        )
        return info_of(store_object(self._store, request))

    def get(
        self,
        key: str,
        *,
        range: tuple[int, int | None] | None = None,  # noqa: A002 - the name S3 and HTTP have for it
        version: str | None = None,
    ) -> bytes:
        """Return the bytes of an object, or those of `range`: from its start up to its end, which is exclusive.

        The end is cut at the size of the object, None is that size. Raises NotFoundError OBJECT_NOT_FOUND or
        VERSION_NOT_FOUND; InvalidInputError RANGE_INVALID when the range begins past the end; CorruptError when the
        stored bytes no longer match their hash.
        """
        check_key(key)
        _, body = open_body(self._store, self.name, key, version)
        with body:
            start, end = clip_range(body.size_bytes, *(range or (0, None)))
            return body.read(start, end)

    def open(self, key: str, *, version: str | None = None, buffer_bytes: int = WRITE_BYTES) -> BinaryIO:
        """Open an object for reading and seeking: one version of it, whatever is stored meanwhile. Close it.

        An object that was uploaded in parts, deleted, and swept a quarter of an hour later raises
        PreconditionFailedError on the next read.
        """
        check_key(key)
        reader = BodyReader(open_body(self._store, self.name, key, version)[1])
        return cast("BinaryIO", io.BufferedReader(reader, buffer_bytes))

    def stat(self, key: str, *, version: str | None = None) -> ObjectInfo:
        """Return what is known of an object. Raises NotFoundError."""
        check_key(key)
        view = self._store.view()
        with view.snapshot():
            return info_of(find(view, self.name, key, version))

    head = stat

    def exists(self, key: str) -> bool:
        """Whether there is an object at key."""
        try:
            self.stat(key)
        except NotFoundError as error:
            if error.kind is not ErrorKind.OBJECT_NOT_FOUND:
                raise
            return False
        return True

    @overload
    def list(self, prefix: str = "", *, after: str = "", delimiter: None = None) -> Iterator[ObjectSummary]: ...
    @overload
    def list(self, prefix: str = "", *, after: str = "", delimiter: str) -> Iterator[ObjectSummary | Prefix]: ...
    def list(
        self, prefix: str = "", *, after: str = "", delimiter: str | None = None
    ) -> Iterator[ObjectSummary | Prefix]:
        """Yield the objects whose keys begin with prefix and come after `after`, in UTF-8 order of their keys.

        With a delimiter, keys that hold it beyond prefix are folded into one Prefix each. A thousand entries are read
        at a time, each thousand at one moment; an alias that is switched meanwhile keeps its target to the end.
        """
        for name, text in (("prefix", prefix), ("after", after), ("delimiter", delimiter or "")):
            encoded(text, name)
        request = ListRequest(self.name, prefix, delimiter or "", after=after, limit=LIST_KEYS_MAX)
        return self._listed(request)

    def _listed(self, request: ListRequest) -> Iterator[ObjectSummary | Prefix]:
        for page in list_pages(self._store, request):
            for entry in entries_in_order(page):
                yield _summary(entry) if isinstance(entry, Entry) else entry

    def delete(self, key: str, *, version: str | None = None) -> None:
        """Delete an object; what is not there is deleted already.

        Where the bucket keeps versions the object is hidden behind a delete marker; `version` removes one for good.
        """
        self._commit(partial(delete_object, bucket_name=self.name, key=key, version_id=version))

    def delete_many(self, keys: Iterable[str]) -> None:
        """Delete objects as `delete` does, in few syncs. All are tried; then the first refusal is raised."""
        delete_keys(self._store, self.name, builtins.list(keys), actor=self._lake.actor)

    def copy(
        self,
        source: str,
        key: str,
        *,
        source_bucket: "Bucket | str | None" = None,
        version: str | None = None,
        content_type: str | None = None,
        metadata: Mapping[str, str] | None = None,
        tags: Mapping[str, str] | None = None,
        if_none_match: str | None = None,
        if_match: str | None = None,
    ) -> ObjectInfo:
        """Copy an object into this bucket by reference: no byte is moved, unless this bucket is encrypted otherwise.

        Conditions are as in `put`, on the target.

        Content type, metadata and tags come along unless they are given. Raises NotFoundError for the source.
        """
        origin = self.name if source_bucket is None else str(getattr(source_bucket, "name", source_bucket))
        check_key(source)

        def request(found: ObjectRecord) -> CopyRequest:
            attributes = attributes_of(content_type, metadata, tags, kept=found.attributes)
            return CopyRequest(
                source_bucket=origin,
                source_key=source,
                source_version_id=version,
                bucket=self.name,
                key=key,
                attributes=attributes,
                tags=attributes.tags,
                conditions=_conditions(if_none_match, if_match),
                actor=self._lake.actor,
            )

        return info_of(copy_stored(self._store, origin, source, version, request, self._store.encryption_of(self.name)))

    # Versions

    @property
    def versioning(self) -> Versioning:
        """Whether the bucket keeps versions."""
        return self._store.view().bucket(self.name).versioning

    def enable_versioning(self) -> None:
        """Keep what is replaced or deleted from now on."""
        self._commit(partial(set_versioning, name=self.name, versioning=Versioning.ENABLED))

    def suspend_versioning(self) -> None:
        """Keep no more versions; those that are there stay."""
        self._commit(partial(set_versioning, name=self.name, versioning=Versioning.SUSPENDED))

    def versions(self, prefix: str = "") -> Iterator[ObjectInfo]:
        """Yield every version and delete marker of the stored keys below prefix, the newest of each key first.

        Aliases are not looked through: name the target.
        """
        encoded(prefix, "prefix")
        return self._versions(prefix)

    def _versions(self, prefix: str) -> Iterator[ObjectInfo]:
        key_marker, version_id_marker = "", ""
        while True:
            page = list_versions(
                self._store.view(),
                self.name,
                prefix=prefix,
                key_marker=key_marker,
                version_id_marker=version_id_marker,
                limit=LIST_KEYS_MAX,
            )
            yield from map(info_of, page.records)
            if not page.is_truncated:
                return
            key_marker, version_id_marker = page.last_key, page.last_version_id

    # Tags, usage, aliases, files

    def tags(self, key: str, *, version: str | None = None) -> dict[str, str]:
        """Return the tags of an object."""
        return self.stat(key, version=version).tags

    def set_tags(self, key: str, tags: Mapping[str, str], *, version: str | None = None) -> None:
        """Replace the tags of an object, up to 10; it stays the same version. Raises InvalidInputError TAG_INVALID."""
        check_key(key)
        self._commit(partial(set_tags, bucket_name=self.name, key=key, version_id=version, tags=dict(tags)))

    def usage(self) -> Usage:
        """Return how many objects, versions and bytes the bucket holds now; costs the same at any size."""
        return self._store.view().bucket(self.name).usage

    @property
    def quota(self) -> int:
        """Most bytes the bucket may hold: objects, old versions and uploads in progress. 0 is no limit."""
        return self._store.view().bucket(self.name).quota_bytes

    def set_quota(self, quota_bytes: int, *, allows_below_use: bool = True) -> None:
        """Limit what the bucket may hold; 0 removes the limit. A write past it raises ConflictError QUOTA_EXCEEDED."""
        self._commit(partial(set_quota, name=self.name, quota_bytes=quota_bytes, allows_below_use=allows_below_use))

    def alias(self, prefix: str) -> "AliasHandle":
        """Return a handle on the alias `prefix`, which ends with '/'; nothing is made until `set`."""
        return AliasHandle(self, prefix)

    def aliases(self) -> builtins.list[Alias]:
        """Return all aliases of the bucket by prefix."""
        view = self._store.view()
        with view.snapshot():
            return list_aliases(view, view.bucket(self.name))

    def fileio(self, prefix: str = "") -> ObjectFileIO:
        """Return the bucket, or what is below a prefix that ends with '/', as files of the FileIO contract."""
        return ObjectFileIO(self._store, self.name, prefix, actor=self._lake.actor)

    def _commit(self, operation: partial[T]) -> T:
        """Run a verb as this lake's actor."""
        return self._store.commit(partial(operation, actor=self._lake.actor))


class AliasHandle:
    """A prefix of a bucket that reads as another one. Every switch is atomic, recorded, and can be taken back."""

    def __init__(self, bucket: Bucket, prefix: str) -> None:
        self.prefix = prefix
        self._bucket = bucket

    def __repr__(self) -> str:
        return f"AliasHandle({self._bucket.name!r}, {self.prefix!r})"

    def set(self, target: str) -> Alias:
        """Point the alias to the objects below target, which ends with '/'; make it if it is not there.

        Raises NotFoundError when nothing is stored below target, ConflictError INVALID_ARGUMENT when objects are
        stored below the alias itself, it overlaps another, or it points to target already.
        """
        return self._commit(partial(set_alias, prefix=self.prefix, target=target))

    def show(self) -> Alias | None:
        """Return where the alias points, None where there is none."""
        return next((alias for alias in self._bucket.aliases() if alias.prefix == self.prefix), None)

    def history(self, *, limit: int = 100) -> list[Switch]:
        """Return who switched it when, from what, to what; the latest first. It outlives the alias."""
        return alias_history(self._bucket._store.view(), self._bucket.name, self.prefix, limit=limit)  # noqa: SLF001 - its own handle

    def revert(self) -> Alias:
        """Point the alias to where it pointed before its last switch.

        Raises NotFoundError ALIAS_NOT_FOUND, or OBJECT_NOT_FOUND when nothing is stored there any more.
        """
        return self._commit(partial(revert_alias, prefix=self.prefix))

    def remove(self) -> None:
        """Remove the alias; the objects below its target stay. Raises NotFoundError ALIAS_NOT_FOUND."""
        self._commit(partial(remove_alias, prefix=self.prefix))

    def _commit(self, operation: partial[T]) -> T:
        return self._bucket._commit(partial(operation, bucket_name=self._bucket.name))  # noqa: SLF001 - as above


def _summary(entry: Entry) -> ObjectSummary:
    return ObjectSummary(
        key=entry.key,
        size_bytes=entry.size_bytes,
        etag=entry.etag,
        modified_ms=entry.modified_ms,
        storage_class=entry.storage_class,
    )


def _conditions(if_none_match: str | None, if_match: str | None) -> Conditions:
    if if_none_match is None and if_match is None:
        return NO_CONDITIONS
    return Conditions(
        if_match=None if if_match is None else if_match.strip('"'),
        if_none_match=None if if_none_match is None else if_none_match.strip('"'),
    )


def _pieces_of(body: Body) -> Iterator[Data]:
    if isinstance(body, bytes | bytearray | memoryview):
        yield body
        return
    if isinstance(body, str):
        raise _not_bytes(body)
    read = getattr(body, "read", None)
    if read is not None:
        while piece := read(WRITE_BYTES):
            yield _checked(piece)
        return
    try:
        found = iter(cast("Iterable[Data]", body))
    except TypeError as error:
        raise _not_bytes(body) from error
    for piece in found:
        yield _checked(piece)


def _checked(piece: object) -> Data:
    if isinstance(piece, bytes | bytearray | memoryview):
        return piece
    raise _not_bytes(piece)


def _not_bytes(found: object) -> InvalidInputError:
    return InvalidInputError(
        ErrorKind.INVALID_ARGUMENT,
        f"a body is bytes, an open binary file or pieces of bytes, not {type(found).__name__}: encode text, open paths",
    )

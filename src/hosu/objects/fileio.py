"""The FileIO contract over the embedded engine."""

import io
import threading
from collections.abc import Iterator, Sequence
from functools import partial
from heapq import merge

import msgspec

from hosu.kernel.auth import IN_PROCESS
from hosu.kernel.errors import ErrorKind, InvalidInputError, NotFoundError, PreconditionFailedError
from hosu.kernel.fileio import RESERVED_FOLDER, FileIO, FileStat, FileWriter, Prefix
from hosu.kernel.limits import DELETE_KEYS_MAX, LIST_KEYS_MAX
from hosu.objects.bodies import BodyReader, BodyWriter, open_body, store_object
from hosu.objects.delete import delete_object
from hosu.objects.listing import Entry, ListRequest, Page, list_objects
from hosu.objects.put import PutRequest, check_put
from hosu.objects.read import find
from hosu.objects.records import NO_CONDITIONS, Attributes, Conditions, ObjectRecord
from hosu.objects.store import ObjectStore
from hosu.objects.writer import Outcome


def list_pages(store: ObjectStore, request: ListRequest) -> Iterator[Page]:
    """Yield every page of a listing; the later ones look through the aliases that the first one saw."""
    while True:
        page = list_objects(store.view(), request)
        yield page
        if not page.is_truncated:
            return
        request = msgspec.structs.replace(
            request, after=page.last, skips_after=page.last_is_prefix, aliases=page.aliases
        )


def entries_in_order(page: Page) -> Iterator[Entry | Prefix]:
    """Yield the entries and the common prefixes of a page in one order."""
    return merge(page.entries, map(Prefix, page.prefixes), key=lambda entry: entry.key)


class _Countdown:
    """Waits for many operations; the writer's thread counts."""

    def __init__(self, count: int) -> None:
        self.errors: list[BaseException] = []
        self._left = count
        self._done = threading.Event()

    def deliver(self, outcomes: list[Outcome], /) -> None:
        self.errors += [outcome.error for outcome in outcomes if outcome.error is not None]
        self._left -= len(outcomes)
        if self._left == 0:
            self._done.set()

    def wait(self) -> None:
        self._done.wait()


def delete_keys(store: ObjectStore, bucket: str, keys: Sequence[str], *, actor: str) -> None:
    """Delete keys in as few syncs as they fit; each is tried, then the first refusal is raised."""
    errors: list[BaseException] = []
    for start in range(0, len(keys), DELETE_KEYS_MAX):
        chunk = keys[start : start + DELETE_KEYS_MAX]
        countdown = _Countdown(len(chunk))
        for key in chunk:
            store.submit(partial(delete_object, bucket_name=bucket, key=key, actor=actor), countdown)
        countdown.wait()
        errors += countdown.errors
    if errors:
        raise errors[0]


class ObjectFileIO(FileIO):
    """Files as the objects of a bucket of the embedded lake, or those below a prefix of it, which ends with '/'.

    Reads and listings look through aliases; writes below one are refused with ConflictError ALIAS_READ_ONLY. The etag
    of what is written here is the MD5 of its bytes. Where the bucket keeps versions, what is replaced or deleted stays
    as one. Objects whose keys the contract refuses ('/a', 'a/../b') are not listed.
    """

    def __init__(self, store: ObjectStore, bucket: str, prefix: str = "", *, actor: str = IN_PROCESS.name) -> None:
        if prefix and not prefix.endswith("/"):
            raise InvalidInputError(ErrorKind.INVALID_ARGUMENT, f"prefix {prefix!r} must end with '/'")
        self.bucket = bucket
        self.prefix = prefix
        self._store = store
        self._actor = actor

    def _head(self, key: str) -> FileStat:
        view = self._store.view()
        with view.snapshot():  # an alias may switch between two looks
            return _stat(key, find(view, self.bucket, self.prefix + key))

    def _read(self, key: str, start: int, end: int | None) -> bytes:
        _, body = open_body(self._store, self.bucket, self.prefix + key)
        with body:
            if start > body.size_bytes:
                raise InvalidInputError(
                    ErrorKind.RANGE_INVALID,
                    f"{key!r} has {body.size_bytes} bytes: {start} is beyond",
                    key=key,
                    start=start,
                )
            return body.read(start, body.size_bytes if end is None else min(end, body.size_bytes))

    def read_ranges(self, key: str, ranges: Sequence[tuple[int, int]]) -> Sequence[bytes]:
        """Return the bytes of each (start, end): all of one version of the file."""
        with self.open_read(key, 0) as file:
            size_bytes = file.seek(0, io.SEEK_END)
            found = []
            for start, end in ranges:
                if not 0 <= start <= min(end, size_bytes):
                    raise InvalidInputError(
                        ErrorKind.RANGE_INVALID, f"{key!r} has {size_bytes} bytes: no range goes from {start} to {end}"
                    )
                file.seek(start)
                found.append(file.read(end - start))
            return found

    def _open_read(self, key: str) -> io.RawIOBase:
        return BodyReader(open_body(self._store, self.bucket, self.prefix + key)[1])

    def _put(self, key: str, view: memoryview, *, if_absent: bool, if_match: str | None) -> FileStat:
        conditions = NO_CONDITIONS
        if if_absent:
            conditions = Conditions(if_none_match="*")
        elif if_match is not None:
            conditions = Conditions(if_match=if_match)
        self.check(key)
        with self._writer() as body:
            body.write(view)
            return self.publish(key, body, conditions)

    def check(self, key: str) -> None:
        """Refuse what could not be stored, before any of its bytes are taken."""
        check_put(self.prefix + key, Attributes())
        self._store.view().bucket(self.bucket)

    def publish(self, key: str, body: BodyWriter, conditions: Conditions = NO_CONDITIONS) -> FileStat:
        """Make a written body the file at key."""
        if conditions.if_match == "*":  # to the engine that is any etag, to the contract one that no file has
            raise _no_match(key, "*")
        staged, etag = body.finish()
        request = PutRequest(
            self.bucket, self.prefix + key, staged, etag, conditions=conditions, actor=self._actor
        )  # fmt: skip
        try:
            return _stat(key, store_object(self._store, request))
        except NotFoundError as error:
            if error.kind is not ErrorKind.OBJECT_NOT_FOUND:
                raise
            raise _no_match(key, conditions.if_match) from error

    def _open_write(self, key: str) -> FileWriter:
        self.check(key)
        return _ObjectWriter(self, key, self._writer())

    def _writer(self) -> BodyWriter:
        return BodyWriter(self._store, self._store.encryption_of(self.bucket))

    def _list(self, prefix: str, after: str, delimiter: str) -> Iterator[FileStat | Prefix]:
        within, begin = self.prefix + prefix, self.prefix + after
        cut = begin.find(delimiter, len(within)) if delimiter and begin.startswith(within) else -1
        if cut >= 0:
            begin = begin[: cut + len(delimiter)]  # what folds into this prefix is not beyond `after`
        request = ListRequest(
            self.bucket, within, delimiter, after=begin, skips_after=cut >= 0, limit=LIST_KEYS_MAX
        )  # fmt: skip
        for page in list_pages(self._store, request):
            for entry in entries_in_order(page) if delimiter else page.entries:
                key = entry.key[len(self.prefix) :]
                if not _is_listed(key):
                    continue
                if isinstance(entry, Prefix):
                    yield Prefix(key)
                else:
                    yield FileStat(key, entry.size_bytes, entry.etag, entry.modified_ms)

    def _delete_many(self, keys: Sequence[str]) -> None:
        delete_keys(self._store, self.bucket, [self.prefix + key for key in keys], actor=self._actor)


class _ObjectWriter(FileWriter):
    def __init__(self, fileio: ObjectFileIO, key: str, body: BodyWriter) -> None:
        super().__init__(key)
        self._fileio = fileio
        self._body = body

    def _append(self, view: memoryview) -> None:
        self._body.write(view)

    def _publish(self) -> FileStat:
        return self._fileio.publish(self.key, self._body)

    def _abandon(self) -> None:
        self._body.abort()


def _stat(key: str, record: ObjectRecord) -> FileStat:
    return FileStat(key, record.size_bytes, record.etag, record.modified_ms)


def _no_match(key: str, if_match: str | None) -> PreconditionFailedError:
    return PreconditionFailedError(
        ErrorKind.PRECONDITION_FAILED, f"{key!r} is not at etag {if_match!r}", key=key, if_match=if_match
    )


def _is_listed(key: str) -> bool:
    """Whether a key, or a common prefix, can be one of the contract's."""
    if not key or key[0] == "/" or "\0" in key or key.startswith(f"{RESERVED_FOLDER}/"):
        return False
    return ".." not in key or ".." not in key.split("/")

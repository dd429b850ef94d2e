"""Files as objects of a bucket, on any S3 endpoint: RGW, RustFS, AWS, another hosu."""

import io
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Final
from uuid import uuid4

import obstore
from obstore import exceptions

from hosu.kernel.clock import Clock, SystemClock
from hosu.kernel.errors import (
    ErrorKind,
    HosuError,
    InvalidInputError,
    NotFoundError,
    PreconditionFailedError,
    UnavailableError,
    UnsupportedError,
)
from hosu.kernel.fileio.contract import FileIO, FileWriter, RangeReader
from hosu.kernel.fileio.keys import RESERVED_FOLDER, FileStat, Prefix, check_path_key
from hosu.kernel.fileio.s3_listing import list_objects, stat_of
from hosu.kernel.fileio.s3_store import PARTS_IN_FLIGHT_MAX, S3Place, is_beyond_the_end, s3_errors
from hosu.kernel.fileio.s3_writer import S3Writer, part_bytes

if TYPE_CHECKING:
    from obstore import GetOptions, PutMode

WRITE_ID: Final = "hosu-write-id"
"""User metadata that names one conditional put, so that a writer knows its own object again."""

NO_ETAG: Final = '"00000000000000000000000000000000"'
"""An etag that no object has: a put that must match it has to fail."""


class S3FileIO(FileIO):
    """Files below a place in a bucket.

    Keys are paths: 'a//b', 'a/' and control characters are refused, as the client would fold them into other keys.
    Conditions are left to the endpoint, so before the first one is trusted a probe object finds out whether the
    endpoint keeps them: one that ignores conditions would lose writes in silence, and gets UnsupportedError instead.
    `put` tells the time of this machine's clock; `head` and `list` tell the endpoint's.
    """

    def __init__(self, place: S3Place, *, clock: Clock | None = None) -> None:
        self.place = place
        self._clock = clock or SystemClock()
        self._store = place.open_store()
        self._probe_lock = threading.Lock()
        self._conditions_kept: dict[str, bool] = {}

    def __reduce__(self) -> tuple[Callable[..., "S3FileIO"], tuple[object, ...]]:
        return _reopen, (self.place, self._clock)

    def _head(self, key: str) -> FileStat:
        check_path_key(key)
        with s3_errors(key):
            return stat_of(obstore.head(self._store, key))

    def _read(self, key: str, start: int, end: int | None) -> bytes:
        check_path_key(key)
        if start == end:
            return self._nothing_at(key, start)
        options: GetOptions = {}
        if end is not None:
            options["range"] = (start, end)
        elif start:
            options["range"] = {"offset": start}
        with s3_errors(key):
            try:
                return bytes(obstore.get(self._store, key, options=options).bytes())
            except exceptions.GenericError as error:
                if not is_beyond_the_end(error):
                    raise
        return self._nothing_at(key, start)

    def read_ranges(self, key: str, ranges: Sequence[tuple[int, int]]) -> Sequence[bytes]:
        """Return the bytes of each (start, end); ranges that lie close are fetched together, all of them at once."""
        size_bytes = self.head(key).size_bytes
        if not ranges or any(not 0 <= start < min(end, size_bytes) for start, end in ranges):
            return super().read_ranges(key, ranges)
        starts, ends = zip(*ranges, strict=True)
        with s3_errors(key):
            found = obstore.get_ranges(self._store, key, starts=starts, ends=[min(end, size_bytes) for end in ends])
        return [bytes(piece) for piece in found]

    def _open_read(self, key: str) -> io.RawIOBase:
        stat = self._head(key)

        def fetch(start: int, end: int) -> bytes:
            options: GetOptions = {"range": (start, end), "if_match": f'"{stat.etag}"'}
            with s3_errors(key):
                return bytes(obstore.get(self._store, key, options=options).bytes())

        return RangeReader(stat.size_bytes, fetch)

    def _put(self, key: str, view: memoryview, *, if_absent: bool, if_match: str | None) -> FileStat:
        check_path_key(key)
        if if_absent:
            return self._put_if(key, view, "If-None-Match", "create")
        if if_match is not None:
            return self._put_if(key, view, "If-Match", {"e_tag": f'"{if_match}"'})
        with s3_errors(key):
            result = obstore.put(
                self._store,
                key,
                view,
                chunk_size=part_bytes(view.nbytes),
                max_concurrency=PARTS_IN_FLIGHT_MAX,
            )
        return self._stat_of_put(key, view.nbytes, (result["e_tag"] or "").strip('"'))

    def _open_write(self, key: str) -> FileWriter:
        check_path_key(key)
        return S3Writer(
            key,
            self._store,
            put=lambda body: self.put(key, body),
            stat_of_upload=lambda size_bytes, etag: self._stat_of_put(key, size_bytes, etag),
        )

    def _list(self, prefix: str, after: str, delimiter: str) -> Iterator[FileStat | Prefix]:
        return list_objects(self._store, prefix, after, delimiter)

    def _delete_many(self, keys: Sequence[str]) -> None:
        for key in keys:
            check_path_key(key)
        with s3_errors(keys[0]):
            obstore.delete(self._store, keys)

    def _nothing_at(self, key: str, start: int) -> bytes:
        size_bytes = self._head(key).size_bytes
        if start > size_bytes:
            raise InvalidInputError(
                ErrorKind.RANGE_INVALID, f"{key!r} has {size_bytes} bytes: {start} is beyond", key=key, start=start
            )
        return b""

    def _stat_of_put(self, key: str, size_bytes: int, etag: str) -> FileStat:
        return FileStat(key, size_bytes, etag, self._clock.now_ms()) if etag else self._head(key)

    def _put_if(self, key: str, view: memoryview, header: str, mode: "PutMode") -> FileStat:
        """Put under a condition that the endpoint checks.

        When an answer is lost the client sends the put again, and its own first try then breaks the condition. The
        object's write id tells that apart from another writer's.
        """
        self._require(header)
        write_id = uuid4().hex
        try:
            with s3_errors(key):
                result = obstore.put(self._store, key, view, mode=mode, attributes={WRITE_ID: write_id})
        except PreconditionFailedError:
            if self._write_id(key) != write_id:
                raise
            return self._head(key)
        except NotFoundError as error:
            # Some endpoints answer 404, not 412, when there is nothing to match.
            if error.kind is not ErrorKind.OBJECT_NOT_FOUND:
                raise
            raise PreconditionFailedError(ErrorKind.PRECONDITION_FAILED, f"no file {key!r}", key=key) from error
        return self._stat_of_put(key, view.nbytes, (result["e_tag"] or "").strip('"'))

    def _write_id(self, key: str) -> object:
        try:
            with s3_errors(key):
                return obstore.get(self._store, key, options={"head": True}).attributes.get(WRITE_ID)
        except NotFoundError:
            return None

    def _require(self, header: str) -> None:
        with self._probe_lock:
            if header not in self._conditions_kept:
                self._conditions_kept = self._probe()
        if not self._conditions_kept[header]:
            raise UnsupportedError(
                ErrorKind.UNSUPPORTED,
                f"{self.place.endpoint or 'the endpoint'} ignores {header} on a put: two writers would lose one's work",
                header=header,
            )

    def _probe(self) -> dict[str, bool]:
        """Ask for what must fail: creating an object that exists, and replacing one by an etag it does not have."""
        key = f"{RESERVED_FOLDER}/probe-{uuid4().hex}"
        with s3_errors(key):
            obstore.put(self._store, key, b"")
        try:
            return {
                "If-None-Match": self._is_refused(key, "create"),
                "If-Match": self._is_refused(key, {"e_tag": NO_ETAG}),
            }
        finally:
            # Who may write need not be allowed to delete: an empty object that nobody sees is left then.
            with suppress(HosuError), s3_errors(key):
                obstore.delete(self._store, key)

    def _is_refused(self, key: str, mode: "PutMode") -> bool:
        try:
            with s3_errors(key):
                obstore.put(self._store, key, b"", mode=mode)
        except PreconditionFailedError:
            return True
        except UnavailableError as error:
            if "NotImplemented" in error.message:
                return False
            raise
        return False


def _reopen(place: S3Place, clock: Clock) -> S3FileIO:
    return S3FileIO(place, clock=clock)

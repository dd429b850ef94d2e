"""The FileIO contract: everything above objects keeps its bytes as files behind this class.

A FileIO maps keys to bytes. A key is relative UTF-8 text of 1 to 1,024 bytes. Whatever returns has
happened: atomically (readers see the old bytes or the new ones) and durably (a power cut does not undo it).

Every public method checks its input here, once; an implementation fills in the methods with an underscore.
"""

import builtins
import io
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from types import TracebackType
from typing import Any, BinaryIO, Self, TypeAlias, cast

from hosu.kernel.errors import ErrorKind, InvalidInputError, NotFoundError
from hosu.kernel.fileio.keys import FileStat, Prefix, check_key, encoded
from hosu.kernel.limits import WRITE_BYTES

Data: TypeAlias = bytes | bytearray | memoryview
"""Bytes as callers have them; an implementation keeps no reference once a call returns."""


class FileWriter(ABC):
    """A file under construction: visible, whole, once closed; leaving a `with` by an exception discards it.

    A writer that is neither closed nor discarded never becomes visible.
    """

    def __init__(self, key: str) -> None:
        self.key = key
        self.size_bytes = 0
        self._ended = False
        self._stat: FileStat | None = None

    @property
    def stat(self) -> FileStat:
        """What was stored: known after `close`."""
        if self._stat is None:
            raise ValueError(f"the writer of {self.key!r} is not closed")
        return self._stat

    def write(self, data: Data) -> int:
        """Append data and return its size in bytes."""
        if self._ended:
            raise ValueError(f"the writer of {self.key!r} is closed")
        view = memoryview(data).cast("B")
        self._append(view)
        self.size_bytes += view.nbytes
        return view.nbytes

    def close(self) -> None:
        """Make the file durable, then visible; when that fails, the file is discarded. A second call does nothing."""
        if self._ended:
            return
        self._ended = True
        try:
            self._stat = self._publish()
        except BaseException:
            self._abandon()
            raise

    def discard(self) -> None:
        """Forget what was written. After `close` this does nothing."""
        if not self._ended:
            self._ended = True
            self._abandon()

    def __del__(self) -> None:
        with suppress(AttributeError):  # It was never fully made.
            self.discard()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, error_type: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if error_type is None:
            self.close()
        else:
            self.discard()

    @abstractmethod
    def _append(self, view: memoryview) -> None:
        """Take the bytes of view, which belongs to the caller again on return."""

    @abstractmethod
    def _publish(self) -> FileStat:
        """Make the file durable and visible."""

    @abstractmethod
    def _abandon(self) -> None:
        """Release everything; may follow a failed `_publish`."""


class FileIO(ABC):
    """Files by key. Safe to share between threads."""

    def head(self, key: str) -> FileStat:
        """Return what is known of the file at key; raise NotFoundError."""
        check_key(key)
        return self._head(key)

    def exists(self, key: str) -> bool:
        """Whether there is a file at key."""
        try:
            self.head(key)
        except NotFoundError:
            return False
        return True

    def read(self, key: str, start: int | None = None, end: int | None = None) -> bytes:
        """Return the bytes from start up to end, which is exclusive and cut at the size of the file.

        Raises NotFoundError; InvalidInputError RANGE_INVALID when start lies beyond the size or after end.
        """
        check_key(key)
        first = 0 if start is None else start
        if first < 0 or (end is not None and end < first):
            raise InvalidInputError(
                ErrorKind.RANGE_INVALID, f"{key!r}: no range goes from {start} to {end}", key=key, start=start, end=end
            )
        return self._read(key, first, end)

    def read_ranges(self, key: str, ranges: Sequence[tuple[int, int]]) -> Sequence[bytes]:
        """Return the bytes of each (start, end), as `read` does, in as few calls as the implementation can."""
        return [self.read(key, start, end) for start, end in ranges]

    def open_read(self, key: str, buffer_bytes: int = WRITE_BYTES) -> BinaryIO:
        """Open the file for reading and seeking: one version of it, whatever is put meanwhile.

        An implementation that cannot hold a version raises PreconditionFailedError once the version has gone.
        Without buffer_bytes every read is a call. Raises NotFoundError.
        """
        check_key(key)
        raw = self._open_read(key)
        return cast("BinaryIO", io.BufferedReader(raw, buffer_bytes) if buffer_bytes else raw)

    def put(self, key: str, data: Data, *, if_absent: bool = False, if_match: str | None = None) -> FileStat:
        """Store data under key, in place of what is there.

        With if_absent only where there is no file; with if_match only over the file of that etag: both exact under
        concurrency between threads and processes, else PreconditionFailedError and nothing is changed.
        """
        check_key(key)
        if if_absent and if_match is not None:
            raise InvalidInputError(ErrorKind.INVALID_ARGUMENT, "if_absent and if_match exclude each other", key=key)
        return self._put(key, memoryview(data).cast("B"), if_absent=if_absent, if_match=if_match)

    def open_write(self, key: str) -> FileWriter:
        """Open a file for writing piece by piece; it replaces what is at key when it is closed."""
        check_key(key)
        return self._open_write(key)

    def list(self, prefix: str = "", after: str = "", delimiter: str = "") -> Iterator[FileStat | Prefix]:
        """Yield the files whose keys begin with prefix, in UTF-8 order of their keys.

        With a delimiter, keys that hold it beyond prefix are folded into one Prefix each. Only entries whose `key` is
        greater than `after` come: a listing goes on from the `key` of the last entry seen, file or Prefix alike.
        """
        encoded(prefix, "prefix")
        encoded(after, "after")
        encoded(delimiter, "delimiter")
        return self._list(prefix, after, delimiter)

    def delete_many(self, keys: Iterable[str]) -> None:
        """Delete the files at keys; those that are not there are fine. Not atomic over several keys."""
        checked = builtins.list(keys)
        for key in checked:
            check_key(key)
        if checked:
            self._delete_many(checked)

    @abstractmethod
    def _head(self, key: str) -> FileStat: ...

    @abstractmethod
    def _read(self, key: str, start: int, end: int | None) -> bytes: ...

    @abstractmethod
    def _open_read(self, key: str) -> io.RawIOBase: ...

    @abstractmethod
    def _put(self, key: str, view: memoryview, *, if_absent: bool, if_match: str | None) -> FileStat: ...

    @abstractmethod
    def _open_write(self, key: str) -> FileWriter: ...

    @abstractmethod
    def _list(self, prefix: str, after: str, delimiter: str) -> Iterator[FileStat | Prefix]: ...

    @abstractmethod
    def _delete_many(self, keys: Sequence[str]) -> None: ...


class RangeReader(io.RawIOBase):
    """A file of known size, read by ranges: what `_open_read` returns where there is no file descriptor."""

    def __init__(self, size_bytes: int, fetch: Callable[[int, int], bytes]) -> None:
        super().__init__()
        self._size_bytes = size_bytes
        self._fetch = fetch
        self._position = 0

    def readable(self) -> bool:
        """Return True."""
        return True

    def seekable(self) -> bool:
        """Return True."""
        return True

    def tell(self) -> int:
        """Return the position in bytes."""
        return self._position

    def seek(self, offset: int, whence: int = io.SEEK_SET, /) -> int:
        """Move to offset from the start, the position or the end, and return the new position."""
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self._size_bytes}[whence]
        if base + offset < 0:
            raise ValueError(f"cannot seek to {base + offset}")
        self._position = base + offset
        return self._position

    def readinto(self, buffer: Any, /) -> int:  # noqa: ANN401 - any writable buffer; its type has no name before 3.12
        """Fill buffer from the position on and return how many bytes that were."""
        view = memoryview(buffer).cast("B")
        data = self._take(view.nbytes)
        view[: len(data)] = data
        return len(data)

    def readall(self) -> bytes:
        """Return everything from the position on, in one call."""
        return self._take(self._size_bytes)

    def _take(self, size_bytes: int) -> bytes:
        end = min(self._position + size_bytes, self._size_bytes)
        if end <= self._position:
            return b""
        data = self._fetch(self._position, end)
        self._position += len(data)
        return data

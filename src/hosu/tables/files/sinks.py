"""Data files as the libraries that write and read them want them: file objects over a FileIO."""

import io
from types import TracebackType
from typing import Final, Self

import pyarrow as pa

from hosu.kernel.errors import CorruptError, ErrorKind, NotFoundError
from hosu.kernel.fileio import FileIO, FileWriter
from hosu.kernel.limits import MIB

HELD_BYTES: Final = 4 * MIB
"""A file up to this size is put in one call; a larger one is streamed from then on."""

WHOLE_BYTES: Final = MIB
"""A file up to this size is read in one call, however little of it is wanted."""

WHOLE_SHARE: Final = 0.6
"""From this share of its columns on, a file is read in one call: the rest costs less than calls do."""


class Sink:
    """A file being written: in memory while it is small, through a writer of the FileIO from then on.

    Visible and durable once closed; leaving a `with` by an exception discards it.
    """

    def __init__(self, files: FileIO, key: str) -> None:
        self._files = files
        self._key = key
        self._held: list[bytes] = []
        self._held_bytes = 0
        self._writer: FileWriter | None = None
        self.size_bytes = 0
        self.closed = False

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, error_type: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if error_type is None:
            self.publish()
        else:
            self.discard()

    def write(self, data: bytes) -> int:
        """Append data and return its size in bytes."""
        self._held.append(data)
        self._held_bytes += len(data)
        self.size_bytes += len(data)
        if self._held_bytes >= HELD_BYTES:
            if self._writer is None:
                self._writer = self._files.open_write(self._key)
            self._writer.write(b"".join(self._held))
            self._held.clear()
            self._held_bytes = 0
        return len(data)

    def tell(self) -> int:
        """Return how many bytes were written."""
        return self.size_bytes

    def flush(self) -> None:
        """Do nothing: a file is visible as a whole."""

    def close(self) -> None:
        """Do nothing: those who write formats close what they write to, and `publish` is what counts."""

    def readable(self) -> bool:
        """Return False."""
        return False

    def writable(self) -> bool:
        """Return True."""
        return True

    def seekable(self) -> bool:
        """Return False."""
        return False

    def publish(self) -> None:
        """Make the file durable and visible. A second call does nothing."""
        if self.closed:
            return
        self.closed = True
        rest = b"".join(self._held)
        self._held.clear()
        if self._writer is None:
            self._files.put(self._key, rest)
            return
        with self._writer as writer:
            writer.write(rest)

    def discard(self) -> None:
        """Forget what was written. After `publish` this does nothing."""
        if self.closed:
            return
        self.closed = True
        self._held.clear()
        if self._writer is not None:
            self._writer.discard()


def open_source(
    files: FileIO, key: str, size_bytes: int, *, share: float = 1.0, streams: bool = False
) -> pa.NativeFile:
    """Open a data file of a known size for one of Arrow's readers.

    `share` is how much of the file is wanted, from 0 to 1; with `streams` its bytes are not all held at once.
    Raises CorruptError CORRUPT_TABLE when the file is not there, or has another size than its manifest says.
    """
    try:
        if size_bytes <= WHOLE_BYTES or (share >= WHOLE_SHARE and not streams):
            data = files.read(key)
            found = len(data)
            source: pa.NativeFile = pa.BufferReader(data)
        else:
            raw = files.open_read(key, 0)
            found = raw.seek(0, io.SEEK_END)
            raw.seek(0)
            source = pa.PythonFile(raw, mode="r")
    except NotFoundError as error:
        raise CorruptError(
            ErrorKind.CORRUPT_TABLE, "it is missing, though the table's manifests name it", key=key
        ) from error
    if found != size_bytes:
        source.close()
        raise CorruptError(
            ErrorKind.CORRUPT_TABLE,
            f"it has {found} bytes, its manifest says {size_bytes}",
            key=key,
            size_bytes=found,
        )
    return source

"""What is uploaded in parts: the contract, and a local file that keeps it."""

import contextlib
import io
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO, Protocol

from hosu.cli.digests import file_digest
from hosu.cli.faults import FileChangedError
from hosu.cli.localfiles import FileIdentity
from hosu.cli.session import SINGLE_BYTES_MAX
from hosu.kernel.limits import MIB


class PartSource(Protocol):
    """What is uploaded in parts."""

    @property
    def size_bytes(self) -> int:
        """Bytes of the whole."""
        ...

    @property
    def name(self) -> str:
        """What the source is called, in journals and content types."""
        ...

    @property
    def identity(self) -> str:
        """What changes when the content does: parts of another identity are never mixed in."""
        ...

    def part(self, offset: int, length: int) -> contextlib.AbstractContextManager[bytes | BinaryIO]:
        """Open `length` bytes from `offset`."""
        ...

    def part_md5(self, offset: int, length: int) -> str | None:
        """Return the MD5 of a part in hex, None when learning it costs as much as sending the part again."""
        ...

    def check_unchanged(self) -> None:
        """Raise FileChangedError when what was read may be a mix of two contents."""
        ...


class FileSlice(io.RawIOBase):
    """A part of an open file as a file, without moving the shared position."""

    def __init__(self, descriptor: int, offset: int, length: int) -> None:
        super().__init__()
        self._descriptor = descriptor
        self._offset = offset
        self._length = length
        self._position = 0

    def readable(self) -> bool:
        """Say yes."""
        return True

    def seekable(self) -> bool:
        """Say yes: a slice can be read again from anywhere."""
        return True

    def tell(self) -> int:
        """Return the position within the slice."""
        return self._position

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Move within the slice."""
        start = {os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: self._length}[whence]
        self._position = max(0, start + offset)
        return self._position

    def readinto(self, buffer: Any) -> int:  # noqa: ANN401 - the type of the base class is private to typeshed
        """Fill a buffer; 0 at the end of the slice."""
        view = memoryview(buffer)[: max(0, self._length - self._position)]
        count = os.preadv(self._descriptor, [view], self._offset + self._position) if view else 0
        self._position += count
        return count


class FileParts:
    """A local file as a source of parts."""

    def __init__(self, path: Path, file: BinaryIO) -> None:
        self._path = path
        self._file = file
        self._before = FileIdentity.of(os.fstat(file.fileno()))

    @property
    def size_bytes(self) -> int:
        """Size when the file was opened."""
        return self._before.size_bytes

    @property
    def name(self) -> str:
        """The absolute path, so that a journal is found again from any folder."""
        return str(self._path.absolute())

    @property
    def identity(self) -> str:
        """Size, time and inode when the file was opened."""
        return f"{self._before.size_bytes}:{self._before.mtime_ns}:{self._before.inode}"

    @contextlib.contextmanager
    def part(self, offset: int, length: int) -> Iterator[bytes | BinaryIO]:
        """Open a part: in memory, unless the object is so large that its parts are."""
        descriptor = self._file.fileno()
        if length > SINGLE_BYTES_MAX:
            with FileSlice(descriptor, offset, length) as piece:
                yield io.BufferedReader(piece, MIB)
            return
        body = os.pread(descriptor, length, offset)
        while len(body) < length:
            more = os.pread(descriptor, length - len(body), offset + len(body))
            if not more:
                raise FileChangedError(self._path)
            body += more
        yield body

    def part_md5(self, offset: int, length: int) -> str:
        """Return the MD5 of a part as the file is now."""
        with self._path.open("rb") as file:
            return file_digest(file, "MD5", offset, length).hex()

    def check_unchanged(self) -> None:
        """Compare the open file, and whatever has its name now, with how it was when it was opened."""
        try:
            named = FileIdentity.of(self._path.stat())
        except FileNotFoundError as error:
            raise FileChangedError(self._path) from error
        if not self._before == FileIdentity.of(os.fstat(self._file.fileno())) == named:
            raise FileChangedError(self._path)

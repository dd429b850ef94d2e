"""Files in the memory of this process: for tests, and for what need not outlive it."""

import io
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from hosu.kernel.clock import Clock, SystemClock
from hosu.kernel.errors import ErrorKind, InvalidInputError, NotFoundError, PreconditionFailedError
from hosu.kernel.fileio.contract import FileIO, FileWriter, RangeReader
from hosu.kernel.fileio.keys import FileStat, Prefix, fold


@dataclass(frozen=True, slots=True)
class StoredFile:
    """One file, never changed."""

    stat: FileStat
    data: bytes


class MemoryFileIO(FileIO):
    """Files in a dict. Safe between threads; another process sees nothing of it."""

    def __init__(self, clock: Clock | None = None) -> None:
        self._clock = clock or SystemClock()
        self._lock = threading.Lock()
        self._files: dict[str, StoredFile] = {}
        self._puts_total = 0

    def _head(self, key: str) -> FileStat:
        return self._file(key).stat

    def _read(self, key: str, start: int, end: int | None) -> bytes:
        data = self._file(key).data
        if start > len(data):
            raise InvalidInputError(
                ErrorKind.RANGE_INVALID, f"{key!r} has {len(data)} bytes: {start} is beyond", key=key, start=start
            )
        return data[start:end]

    def _open_read(self, key: str) -> io.RawIOBase:
        data = self._file(key).data
        return RangeReader(len(data), lambda start, end: data[start:end])

    def _put(self, key: str, view: memoryview, *, if_absent: bool, if_match: str | None) -> FileStat:
        data = bytes(view)
        with self._lock:
            old = self._files.get(key)
            if if_absent and old is not None:
                raise PreconditionFailedError(ErrorKind.PRECONDITION_FAILED, f"{key!r} exists", key=key)
            if if_match is not None and (old is None or old.stat.etag != if_match):
                raise PreconditionFailedError(
                    ErrorKind.PRECONDITION_FAILED, f"{key!r} is not at etag {if_match!r}", key=key, if_match=if_match
                )
            self._puts_total += 1
            stat = FileStat(key, len(data), f"{self._puts_total:x}", self._clock.now_ms())
            self._files[key] = StoredFile(stat, data)
        return stat

    def _open_write(self, key: str) -> FileWriter:
        return _MemoryWriter(self, key)

    def _list(self, prefix: str, after: str, delimiter: str) -> Iterator[FileStat | Prefix]:
        # Strings compare by code point, which is the order of their UTF-8 bytes.
        with self._lock:
            stats = sorted(
                (file.stat for key, file in self._files.items() if key.startswith(prefix)), key=lambda stat: stat.key
            )
        return fold(stats, prefix, after, delimiter)

    def _delete_many(self, keys: Sequence[str]) -> None:
        with self._lock:
            for key in keys:
                self._files.pop(key, None)

    def _file(self, key: str) -> StoredFile:
        try:
            return self._files[key]
        except KeyError:
            raise NotFoundError(ErrorKind.OBJECT_NOT_FOUND, f"no file {key!r}", key=key) from None


class _MemoryWriter(FileWriter):
    def __init__(self, fileio: MemoryFileIO, key: str) -> None:
        super().__init__(key)
        self._fileio = fileio
        self._body = bytearray()

    def _append(self, view: memoryview) -> None:
        self._body += view

    def _publish(self) -> FileStat:
        return self._fileio.put(self.key, self._body)

    def _abandon(self) -> None:
        self._body = bytearray()

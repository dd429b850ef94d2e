"""A FileIO whose calls are counted, and that stops, or loses an answer, at one of them."""

import io
import threading
from collections.abc import Callable, Iterator, Sequence
from enum import StrEnum

from hosu.kernel.errors import ErrorKind, UnavailableError
from hosu.kernel.fileio import FileIO, FileStat, FileWriter, Prefix
from hosu.testing.faulty_disk import SimulatedCrash


class Stop(StrEnum):
    """What happens at the call that was chosen."""

    BEFORE = "before"
    """The process dies, and the call did nothing."""

    AFTER = "after"
    """The process dies once the call has done its work."""

    ANSWER_LOST = "answer-lost"
    """The call does its work and fails for now."""

    REFUSED = "refused"
    """The call does nothing and fails for now."""


class SteppedFileIO(FileIO):
    """Calls another FileIO. Calls that change something are counted, from 1; `stop_at` chooses one of them."""

    def __init__(self, files: FileIO) -> None:
        self.files = files
        self.changes: list[str] = []
        self.reads: list[str] = []
        self.listings = 0
        self.before_put: Callable[[str], None] = lambda _: None
        self.before_read: Callable[[str], None] = lambda _: None
        self._lock = threading.Lock()
        self._stop: tuple[int, Stop, int] | None = None
        self._crashed = False

    def stop_at(self, number: int, stop: Stop, *, count: int = 1) -> None:
        """Let the number-th change from now (1 is the next) stop, and those after it up to count."""
        self._stop = len(self.changes) + number, stop, count

    def heal(self) -> None:
        """Let everything work again."""
        self._stop, self._crashed = None, False

    def _change(self, key: str, act: Callable[[], object]) -> object:
        with self._lock:
            self._check()
            self.changes.append(key)
            number = len(self.changes)
        stop = None
        if self._stop is not None and self._stop[0] <= number < self._stop[0] + self._stop[2]:
            stop = self._stop[1]
        if stop is Stop.BEFORE:
            self._die()
        if stop is Stop.REFUSED:
            raise UnavailableError(ErrorKind.STORE_UNAVAILABLE, f"{key!r}: the store is away")
        result = act()
        if stop is Stop.AFTER:
            self._die()
        if stop is Stop.ANSWER_LOST:
            raise UnavailableError(ErrorKind.STORE_UNAVAILABLE, f"{key!r}: the answer was lost")
        return result

    def _die(self) -> None:
        self._crashed = True
        raise SimulatedCrash

    def _check(self) -> None:
        if self._crashed:
            raise SimulatedCrash

    def _head(self, key: str) -> FileStat:
        self._check()
        self.before_read(key)
        self.reads.append(key)
        return self.files.head(key)

    def _read(self, key: str, start: int, end: int | None) -> bytes:
        self._check()
        self.before_read(key)
        self.reads.append(key)
        return self.files.read(key, start, end)

    def _open_read(self, key: str) -> io.RawIOBase:
        self._check()
        self.before_read(key)
        self.reads.append(key)
        return self.files._open_read(key)

    def _put(self, key: str, view: memoryview, *, if_absent: bool, if_match: str | None) -> FileStat:
        self.before_put(key)
        data = bytes(view)
        stat = self._change(key, lambda: self.files.put(key, data, if_absent=if_absent, if_match=if_match))
        assert isinstance(stat, FileStat)
        return stat

    def _open_write(self, key: str) -> FileWriter:
        self._check()
        return self.files.open_write(key)

    def _list(self, prefix: str, after: str, delimiter: str) -> Iterator[FileStat | Prefix]:
        self._check()
        self.listings += 1
        return self.files.list(prefix, after, delimiter)

    def _delete_many(self, keys: Sequence[str]) -> None:
        self._change(",".join(keys), lambda: self.files.delete_many(keys))

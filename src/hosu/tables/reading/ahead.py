"""Rows read by a thread of their own, for others to take.

DuckDB, for one, asks for rows from threads that Python knows only while they ask: whatever those leave in thread-local
storage, such as a connection to SQLite, is torn down under their feet. So they only take what another thread has read.
"""

import threading
from collections import deque
from collections.abc import Callable, Iterator

import pyarrow as pa

_AHEAD = 2
"""How many batches wait to be taken."""


class Ahead:
    """Batches that a thread reads, for another one to take. The thread begins with the first that is asked for."""

    def __init__(self, read: Callable[[], Iterator[pa.RecordBatch]]) -> None:
        self._read = read
        self._changed = threading.Condition()
        self._waiting: deque[pa.RecordBatch] = deque()
        self._error: BaseException | None = None
        self._is_over = False
        self._is_closed = False

    def __iter__(self) -> Iterator[pa.RecordBatch]:
        """Yield the batches; raise what reading them raises. Whoever stops before the end stops the thread."""
        threading.Thread(target=self._run, name="hosu-read", daemon=True).start()
        try:
            while (batch := self._next()) is not None:
                yield batch
        finally:
            self.close()

    def close(self) -> None:
        """Have the thread stop as soon as it has read what it is reading."""
        with self._changed:
            self._is_closed = True
            self._waiting.clear()
            self._changed.notify_all()

    def _next(self) -> pa.RecordBatch | None:
        with self._changed:
            while not self._waiting and not self._is_over:
                self._changed.wait()
            if self._waiting:
                self._changed.notify_all()
                return self._waiting.popleft()
            if self._error is not None:
                raise self._error
            return None

    def _run(self) -> None:
        error: BaseException | None = None
        try:
            for batch in self._read():
                if not self._put(batch):
                    break
        except BaseException as raised:  # noqa: BLE001 - it is raised by who takes the batches
            error = raised
        with self._changed:
            self._error, self._is_over = error, True
            self._changed.notify_all()

    def _put(self, batch: pa.RecordBatch) -> bool:
        with self._changed:
            while len(self._waiting) >= _AHEAD and not self._is_closed:
                self._changed.wait()
            self._waiting.append(batch)
            self._changed.notify_all()
            return not self._is_closed

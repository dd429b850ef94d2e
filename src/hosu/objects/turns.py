"""Whose turn it is to write, among the processes on one lake, and word of it for those who remember reads.

SQLite lets one writer in at a time and has the others poll, ever more slowly; this lock is asked for often enough
that two processes take turns. Beside it stands a counter in shared memory: odd while a commit is under way, and
never the same again after one. A process that finds it as it left it knows that nobody else has written since.
"""

import contextlib
import fcntl
import mmap
import os
import time
from collections.abc import Callable
from pathlib import Path

COUNTER_BYTES = 8
PAUSE_S_MIN, PAUSE_S_MAX = 0.0001, 0.001
"""Between two attempts to get the lock: a commit takes about as long."""


class Turns:
    """The lock and the counter of a lake, in the file `meta/turns`. Neither needs to survive a power loss."""

    def __init__(self, path: Path) -> None:
        self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        if os.fstat(self._descriptor).st_size < COUNTER_BYTES:
            os.ftruncate(self._descriptor, COUNTER_BYTES)
        self._memory = mmap.mmap(self._descriptor, COUNTER_BYTES)
        self._counter = memoryview(self._memory).cast("Q")  # read and written whole, never half

    def count(self) -> int:
        """Return the counter: odd while somebody commits."""
        return self._counter[0]

    def begin(self, timeout_s: float) -> int:
        """Wait for the turn and return the counter as it was before; one left odd was left by a crash.

        Raises TimeoutError when another process, stopped in mid-commit perhaps, does not give it back.
        """
        self._lock(timeout_s)
        before = self.count()
        self._counter[0] = before + 1 + before % 2
        return before

    def _lock(self, timeout_s: float) -> None:
        waited_s, pause_s = 0.0, PAUSE_S_MIN
        while True:
            with contextlib.suppress(BlockingIOError):
                fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return
            if waited_s >= timeout_s:
                raise TimeoutError(f"another process kept its turn to write for {timeout_s:g} s")
            time.sleep(pause_s)
            waited_s += pause_s
            pause_s = min(2 * pause_s, PAUSE_S_MAX)

    def end(self) -> None:
        """Let the next writer in."""
        self._counter[0] += 1
        fcntl.flock(self._descriptor, fcntl.LOCK_UN)

    def take(self, work: Callable[[], None], timeout_s: float) -> None:
        """Do what must not fall into the turn of another; but do it, if nobody gives the turn back in time."""
        try:
            self._lock(timeout_s)
        except TimeoutError:
            work()
            return
        try:
            work()
        finally:
            fcntl.flock(self._descriptor, fcntl.LOCK_UN)

    def close(self) -> None:
        """Give the file back."""
        self._counter.release()
        self._memory.close()
        os.close(self._descriptor)

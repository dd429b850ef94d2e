"""A number in shared memory that tells every process when what decides about access has changed.

Policies, users and what else an `Authorizer` remembers are read from the database once and kept until the number
moves. It moves before a commit that changes them and again after it, so whoever reads in between reads again.
"""

import mmap
import os
from collections.abc import Callable
from functools import partial
from pathlib import Path

NUMBER_BYTES = 8


class Generation:
    """The number of a lake, in the file `meta/generation`. It need not survive a power loss.

    Whoever opens a lake moves it: a process killed between its commit and the second move is followed by one that
    opens.
    """

    def __init__(self, path: Path) -> None:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            if os.fstat(descriptor).st_size < NUMBER_BYTES:
                os.ftruncate(descriptor, NUMBER_BYTES)
            self._memory = mmap.mmap(descriptor, NUMBER_BYTES)
        finally:
            os.close(descriptor)
        self._number = memoryview(self._memory).cast("Q")  # read and written whole, never half
        self.number: Callable[[], int] = partial(self._number.__getitem__, 0)
        """Returns the number: two equal answers mean that nothing has changed in between. Asked for every request."""

    def move(self) -> None:
        """Tell every process. Called in turn: only the one that commits, or opens, moves it."""
        self._number[0] += 1

    def close(self) -> None:
        """Give the memory back."""
        self._number.release()
        self._memory.close()

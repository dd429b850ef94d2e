"""A folder for what does not fit into memory: gone with its process, or with the next one if that was killed."""

import fcntl
import os
import shutil
import tempfile
from pathlib import Path
from typing import Final

from hosu.kernel.errors import ErrorKind, UnavailableError

PREFIX: Final = "hosu-sql-"
_TRIES: Final = 10


class Scratch:
    """A folder that this process alone may read, and that it holds by a lock of the system's as long as it lives."""

    def __init__(self) -> None:
        sweep()
        self._owner = os.getpid()
        for _ in range(_TRIES):
            self.path = Path(tempfile.mkdtemp(prefix=PREFIX))
            held = _held(self.path)
            # A sweep may have taken the folder in the moment before it was held.
            if held is not None and self.path.is_dir():
                self._handle = held
                return
            shutil.rmtree(self.path, ignore_errors=True)
            if held is not None:
                os.close(held)
        raise UnavailableError(
            ErrorKind.STORE_UNAVAILABLE,
            f"no folder in {tempfile.gettempdir()} can be locked for what queries spill: too many files are open, or "
            "its file system has no locks; set TMPDIR to a folder of a local disk",
        )

    def close(self) -> None:
        """Remove the folder with all that is in it; in a process that was forked off, nothing."""
        if self._handle < 0 or os.getpid() != self._owner:
            return
        shutil.rmtree(self.path, ignore_errors=True)
        handle, self._handle = self._handle, -1
        os.close(handle)


def sweep() -> None:
    """Remove folders of this user's processes that are no more."""
    with os.scandir(tempfile.gettempdir()) as entries:
        left = [Path(entry.path) for entry in entries if entry.name.startswith(PREFIX)]
    for path in left:
        held = _held(path)
        if held is not None:
            shutil.rmtree(path, ignore_errors=True)
            os.close(held)


def _held(folder: Path) -> int | None:
    """Return a handle that holds a folder; None where another process does, or it is not this user's."""
    try:
        handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    except OSError:
        return None
    try:
        if os.fstat(handle).st_uid == os.getuid():
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return handle
    except OSError:
        pass
    os.close(handle)
    return None

"""The lock that makes one process the server of a lake."""

import contextlib
import fcntl
import os
import socket
from pathlib import Path

import msgspec

from hosu.kernel.errors import ConflictError, ErrorKind


class Holder(msgspec.Struct, frozen=True):
    """Who serves a lake."""

    host: str
    pid: int


class LakeLock:
    """Held from construction to `release`; the operating system releases it when the process dies."""

    def __init__(self, lake: Path) -> None:
        self.path = lake / "meta" / "server.lock"
        self._descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = self._holder()
            os.close(self._descriptor)
            who = f"process {holder.pid} on {holder.host}" if holder else "another process"
            raise ConflictError(
                ErrorKind.LAKE_LOCKED, f"{who} already serves the lake {lake}: stop it, or use another folder"
            ) from None
        os.ftruncate(self._descriptor, 0)
        os.pwrite(self._descriptor, msgspec.json.encode(Holder(socket.gethostname(), os.getpid())) + b"\n", 0)

    @property
    def descriptor(self) -> int:
        """The open file that holds the lock: whoever inherits it holds the lock too."""
        return self._descriptor

    def _holder(self) -> Holder | None:
        with contextlib.suppress(msgspec.MsgspecError, OSError):
            return msgspec.json.decode(os.pread(self._descriptor, 4096, 0), type=Holder)
        return None

    def release(self) -> None:
        """Let another process serve the lake."""
        os.close(self._descriptor)

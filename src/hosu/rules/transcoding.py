"""Pictures compressed in a process of their own: one that their library cannot stomach costs that, not the keeper.

`python -m hosu.rules.transcoding` is the process. It reads pictures from its input and writes what came of them, each
behind its length, until the input ends or nothing has come for a while; nothing stands for a picture that stays as it
is.
"""

import atexit
import contextlib
import os
import select
import struct
import subprocess
import sys
import threading
import time

from hosu.kernel.log import get_logger

SECONDS_MAX = 60.0
"""How long one picture may take: the largest take seconds."""

IDLE_S = 60.0
"""After how long without a picture the process ends, and gives its memory back."""

STOP_S = 5.0
PIPE_BYTES = 1024 * 1024
SECRET_PREFIXES = ("AWS_", "HOSU_", "MINIO_")
"""Variables that the process has no business with."""

_LENGTH = struct.Struct("<Q")
_LOG = get_logger("cold")


class PictureCoder:
    """Hands pictures to the process, which is started for the first of them. Safe to use from several threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        atexit.register(self.close)

    def __call__(self, picture: bytes) -> bytes | None:
        """Return a JPEG file as JPEG XL; None where it stays as it is. Blocks."""
        with self._lock:
            for is_last in (False, True):
                try:
                    return self._ask(self._started(), picture)
                except (OSError, EOFError, TimeoutError) as error:
                    status = self._end(0 if isinstance(error, TimeoutError) else STOP_S)
                    if status != 0 or is_last:  # else it had just gone to rest
                        reason = str(error) or "it is gone"
                        _LOG.warning("a picture ended the process that was to compress it", reason=reason)
                        break
        return None

    def close(self) -> None:
        """End the process."""
        with self._lock:
            self._end()

    def _started(self) -> "subprocess.Popen[bytes]":
        if self._process is None or self._process.poll() is not None:
            self._end()
            shown = {name: value for name, value in os.environ.items() if not name.startswith(SECRET_PREFIXES)}
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-m", "hosu.rules.transcoding"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                env=shown | {"OPENBLAS_NUM_THREADS": "1"},
                bufsize=0,
            )
            for pipe in (self._process.stdin, self._process.stdout):
                assert pipe is not None
                os.set_blocking(pipe.fileno(), False)
        return self._process

    @staticmethod
    def _ask(process: "subprocess.Popen[bytes]", picture: bytes) -> bytes | None:
        assert process.stdin is not None
        assert process.stdout is not None
        until_s = time.monotonic() + SECONDS_MAX
        _write(process.stdin.fileno(), _LENGTH.pack(len(picture)) + picture, until_s)
        (size,) = _LENGTH.unpack(_read(process.stdout.fileno(), _LENGTH.size, until_s))
        if size > len(picture):
            raise EOFError("it answers more than it was asked")
        return _read(process.stdout.fileno(), size, until_s) or None

    def _end(self, grace_s: float = 0) -> int | None:
        """End the process, and return its exit status: 0 where it has ended by itself, and well."""
        process, self._process = self._process, None
        if process is None:
            return None
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(grace_s)
        process.kill()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(STOP_S)
        for pipe in (process.stdin, process.stdout):
            if pipe is not None:
                with contextlib.suppress(OSError):
                    pipe.close()
        return process.returncode


def _wait(descriptor: int, way: int, until_s: float) -> None:
    poller = select.poll()
    poller.register(descriptor, way)
    left_s = until_s - time.monotonic()
    if left_s <= 0 or not poller.poll(left_s * 1000):
        raise TimeoutError("it took too long")


def _write(descriptor: int, data: bytes, until_s: float) -> None:
    view = memoryview(data)
    while view:
        _wait(descriptor, select.POLLOUT, until_s)
        with contextlib.suppress(BlockingIOError):
            view = view[os.write(descriptor, view[:PIPE_BYTES]) :]


def _read(descriptor: int, size: int, until_s: float) -> bytes:
    found = bytearray()
    while len(found) < size:
        _wait(descriptor, select.POLLIN, until_s)
        with contextlib.suppress(BlockingIOError):
            data = os.read(descriptor, min(size - len(found), PIPE_BYTES))
            if not data:
                raise EOFError
            found += data
    return bytes(found)


def serve(source: int, sink: int) -> None:
    """Answer pictures that come from one descriptor on the other, until there are no more."""
    from hosu.objects.coding.jpeg import to_jxl  # noqa: PLC0415 - its library is large, and the keeper's not to load

    with contextlib.suppress(EOFError, TimeoutError):
        while True:
            (size,) = _LENGTH.unpack(_read(source, _LENGTH.size, time.monotonic() + IDLE_S))
            coded = to_jxl(_read(source, size, time.monotonic() + SECONDS_MAX)) or b""
            if len(coded) > size:
                coded = b""
            _write(sink, _LENGTH.pack(len(coded)) + coded, time.monotonic() + SECONDS_MAX)


if __name__ == "__main__":
    answers = os.dup(sys.stdout.fileno())
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # what a library prints is no answer
    serve(sys.stdin.fileno(), answers)

"""The least a server can do with this HTTP layer: what hosu's own figures are measured against.

GET answers 4 KiB; PUT reads its body, hashes it with MD5 and BLAKE3, writes it to a file and syncs that. Prints
`ready PORT` once it listens.
"""

import argparse
import asyncio
import hashlib
import itertools
import os
import signal
from collections.abc import Awaitable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import blake3
import uvloop

from hosu.kernel.clock import SystemClock
from hosu.kernel.limits import KIB
from hosu.server.http import HttpLimits, HttpServer, Request, Response
from hosu.server.http.body import Piece

_BODY = bytes(range(256)) * (4 * KIB // 256)


class NullHandler:
    """Answers without looking at the path."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._numbers = itertools.count()
        self._threads = ThreadPoolExecutor(16)

    def __call__(self, request: Request) -> Response | Awaitable[Response]:
        """Answer a request."""
        if request.method == "PUT":
            return self._put(request)
        return Response(200, [(b"Content-Type", b"application/octet-stream")], _BODY)

    async def _put(self, request: Request) -> Response:
        loop = asyncio.get_running_loop()
        whole = request.body.take_buffered()
        path = self._folder / f"null-{os.getpid()}-{next(self._numbers)}"
        md5, content = hashlib.md5(usedforsecurity=False), blake3.blake3()
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        try:
            if whole is not None:
                await _finished(loop.run_in_executor(self._threads, _store, fd, md5, content, whole))
            while piece := await request.body.chunk():
                await _finished(
                    loop.run_in_executor(self._threads, md5.update, piece),
                    loop.run_in_executor(self._threads, _write, fd, content, piece),
                )
                request.body.release(piece)
            if whole is None:
                await _finished(loop.run_in_executor(self._threads, os.fsync, fd))
        finally:
            os.close(fd)
            self._threads.submit(path.unlink)  # behind the answer: the disk must not fill, nor the figure include it
        return Response(200, [(b"ETag", f'"{md5.hexdigest()}"'.encode())])


def _write(fd: int, content: "blake3.blake3", piece: Piece) -> None:
    content.update(piece)
    view = memoryview(piece)
    while view:
        view = view[os.write(fd, view) :]


def _store(fd: int, md5: "hashlib._Hash", content: "blake3.blake3", whole: Piece) -> None:
    md5.update(whole)
    _write(fd, content, whole)
    os.fsync(fd)


async def _finished(*working: "asyncio.Future[None]") -> None:
    """Wait for threads, even when cancelled: they use a descriptor that is closed next."""
    try:
        await asyncio.wait(working)
    finally:
        await asyncio.wait(working)
    for work in working:
        work.result()


async def _serve(port: int, folder: Path) -> None:
    server = HttpServer(NullHandler(folder), limits=HttpLimits(), clock=SystemClock())
    real_port = await server.start("127.0.0.1", port)
    print(f"ready {real_port}", flush=True)
    ended = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, ended.set)
    await ended.wait()
    await server.stop(1.0)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--dir", type=Path, required=True)
    arguments = parser.parse_args()
    uvloop.run(_serve(arguments.port, arguments.dir))


if __name__ == "__main__":
    main()

"""The machine's own limit for large reads: a thread per connection that does nothing but sendfile.

`python -m benchmarks.sendfile_server --port N --dir D` prints `ready PORT`; GET /bucket/get/SIZE/anything answers
with SIZE bytes. It ends when its standard input does, so it never outlives who started it.
"""

import argparse
import os
import socket
import sys
import threading
from pathlib import Path

from benchmarks.flows import MIB, payload

FILE_BYTES = 64 * MIB


def answer(connection: socket.socket, descriptor: int) -> None:
    """Serve one connection until its client leaves."""
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    head = b""
    with connection:
        while True:
            while b"\r\n\r\n" not in head:
                try:
                    data = connection.recv(65536)
                except OSError:
                    return
                if not data:
                    return
                head += data
            path = head.split(b" ", 2)[1].decode()
            head = b""
            size = min(FILE_BYTES, int(path.split("/get/")[1].split("/")[0]))
            try:
                connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size)
                offset = 0
                while offset < size:
                    offset += os.sendfile(connection.fileno(), descriptor, offset, size - offset)
            except OSError:
                return


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--dir", type=Path, required=True)
    arguments = parser.parse_args()
    path = arguments.dir / "sendfile.bin"
    path.write_bytes(payload(FILE_BYTES))
    descriptor = os.open(path, os.O_RDONLY)
    listener = socket.create_server(("127.0.0.1", arguments.port), backlog=256)

    def accept() -> None:
        while True:
            connection, _ = listener.accept()
            threading.Thread(target=answer, args=(connection, descriptor), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    print(f"ready {arguments.port}", flush=True)
    sys.stdin.buffer.read()


if __name__ == "__main__":
    main()

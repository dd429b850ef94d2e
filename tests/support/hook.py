"""A webhook on loopback that remembers what it was sent."""

import http.server
import json
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

SECONDS_MAX = 30.0


class Hook:
    """Remembers requests and answers with a status."""

    def __init__(self, tls: ssl.SSLContext | None = None) -> None:
        self.requests: list[tuple[str, dict[str, str], Any]] = []
        self.connections = 0
        self.status = 200
        self.body = b""
        hook = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def setup(self) -> None:
                hook.connections += 1
                super().setup()

            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["content-length"])))
                hook.requests.append((self.path, {k.lower(): v for k, v in self.headers.items()}, body))
                self.send_response(hook.status)
                self.send_header("content-length", str(len(hook.body)))
                self.end_headers()
                self.wfile.write(hook.body)

            def log_message(self, *_: Any) -> None:
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        if tls is not None:
            self.server.socket = tls.wrap_socket(self.server.socket, server_side=True)
        scheme = "http" if tls is None else "https"
        self.url = f"{scheme}://127.0.0.1:{self.server.server_port}/hook?token=SECRET"
        threading.Thread(target=self.server.serve_forever, args=(0.01,), daemon=True).start()

    @property
    def events(self) -> list[dict[str, Any]]:
        """Return the bodies."""
        return [body for _, _, body in self.requests]

    @property
    def told(self) -> list[tuple[str, str]]:
        """Return name and path of each event."""
        return [(body["EventName"], body["Key"]) for body in self.events]

    def close(self) -> None:
        """Answer no more."""
        self.server.shutdown()
        self.server.server_close()


@contextmanager
def hooking(tls: ssl.SSLContext | None = None) -> Iterator[Hook]:
    """Yield a webhook."""
    made = Hook(tls)
    try:
        yield made
    finally:
        made.close()


def until(condition: Callable[[], object], what: str = "it did not come to that") -> None:
    """Wait for something that others do."""
    end_s = time.monotonic() + SECONDS_MAX
    while not condition():
        assert time.monotonic() < end_s, what
        time.sleep(0.01)

"""Who is told what becomes of the requests on the S3 port, to count them and to write them down."""

from collections.abc import Callable
from typing import Protocol

from hosu.kernel.errors import HosuError
from hosu.server.http import HttpServer, Request


class Observer(Protocol):
    """Told on the event loop: neither raises nor waits. `request.note` is the `Call`, where it came that far."""

    def watch(self, server: HttpServer, source_ip: Callable[[Request], str]) -> None:
        """Learn which server's requests these are, and how to tell where one comes from."""
        ...

    def answered(self, request: Request, status: int, body_bytes: int, duration_s: float) -> None:
        """Learn of the end of a request, as an access hook does."""
        ...

    def refused(self, request: Request, code: str, status: int, error: HosuError, key: str | None = None) -> None:
        """Learn that a request was refused, or, with a key, what it asked for one key among others."""
        ...

    def malformed(self, status: int) -> None:
        """Learn of something that was no request."""
        ...


class NoObserver:
    """Looks away."""

    def watch(self, server: HttpServer, source_ip: Callable[[Request], str]) -> None:
        """Forget it."""

    def answered(self, request: Request, status: int, body_bytes: int, duration_s: float) -> None:
        """Forget it."""

    def refused(self, request: Request, code: str, status: int, error: HosuError, key: str | None = None) -> None:
        """Forget it."""

    def malformed(self, status: int) -> None:
        """Forget it."""

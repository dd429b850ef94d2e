"""What can go wrong between a client and a handler."""

from hosu.kernel.errors import ErrorKind, InvalidInputError, UnavailableError


class ProtocolError(InvalidInputError):
    """The client broke HTTP/1.1, or a limit on its messages; `status` is the answer it deserves."""

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(ErrorKind.REQUEST_MALFORMED, reason, status=status)
        self.status = status


class BodyTooLargeError(InvalidInputError):
    """The body is longer than the handler said it would read."""

    def __init__(self, limit_bytes: int) -> None:
        super().__init__(ErrorKind.TOO_LARGE, f"the body is longer than {limit_bytes} bytes", limit_bytes=limit_bytes)


class BodyTimeoutError(UnavailableError):
    """The client stopped sending its body."""

    def __init__(self, stall_s: float) -> None:
        super().__init__(ErrorKind.REQUEST_TIMEOUT, f"no byte of the body arrived for {stall_s:g} s", stall_s=stall_s)


class ClientDisconnectedError(UnavailableError):
    """The connection went away; nobody is left to answer."""

    def __init__(self) -> None:
        super().__init__(ErrorKind.CLIENT_DISCONNECTED, "the client closed the connection")

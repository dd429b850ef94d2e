"""Request bodies as handlers see them."""

Piece = bytes | bytearray | memoryview
"""A run of body bytes."""


class RequestBody:
    """The body of a request; this one is empty.

    `content_length` is the stated size in bytes, None without one. `has_body` tells whether there is a body at all,
    of whatever size.
    """

    __slots__ = ("content_length",)
    has_body = False

    def __init__(self, content_length: int | None) -> None:
        self.content_length = content_length

    @property
    def received_bytes(self) -> int:
        """How much of the body has arrived."""
        return 0

    async def chunk(self) -> Piece:
        """Return the next piece, of up to WRITE_BYTES, or b"" at the end.

        It stays valid until it is released or the request ends. Raises ClientDisconnectedError, BodyTimeoutError or
        ProtocolError (malformed chunks).
        """
        return b""

    def release(self, piece: Piece) -> None:
        """Give a piece back, so that its memory serves again; no thread may still read it."""

    async def read(self, limit_bytes: int) -> bytes:
        """Return the rest of the body; raises BodyTooLargeError past the limit, and what `chunk` raises."""
        del limit_bytes
        return b""

    def take_buffered(self) -> bytes | None:
        """Return the whole body if all of it has arrived and nothing was taken yet, else None."""
        return b""


NO_BODY = RequestBody(None)
EMPTY_BODY = RequestBody(0)

"""Chunked transfer coding, read strictly: hex digits, optional extension, CRLF; nothing that two readers differ on."""

from hosu.server.http.errors import ProtocolError

_LINE_BYTES_MAX = 4096
_TRAILER_BYTES_MAX = 16 * 1024
_SIZE_DIGITS_MAX = 15
_HEX_DIGITS = frozenset(b"0123456789abcdefABCDEF")

_SIZE, _DATA, _DATA_END, _TRAILER, _DONE = range(5)


class ChunkedDecoder:
    """Finds the data in a chunked body.

    It reads the framing and never touches the data: the caller copies that straight to where it belongs. Trailers are
    checked and dropped.
    """

    __slots__ = ("_line", "_state", "_trailer_bytes", "left")

    def __init__(self) -> None:
        self._state = _SIZE
        self._line = b""
        self._trailer_bytes = 0
        self.left = 0
        """Bytes of the current chunk still to come."""

    @property
    def done(self) -> bool:
        """Whether the body has ended."""
        return self._state == _DONE

    @property
    def in_data(self) -> bool:
        """Whether the next bytes are data, `left` of them at most; then the caller takes them and calls `took`."""
        return self._state == _DATA

    def took(self, size: int) -> None:
        """Note that the caller took data bytes."""
        self.left -= size
        if self.left == 0:
            self._state = _DATA_END

    def framing(self, raw: bytes, start: int) -> int:
        """Read framing from `raw[start:]` up to data, the end of the body or the end of `raw`; return where it stopped.

        Raises ProtocolError for framing that is malformed or endless.
        """
        while self._state not in {_DATA, _DONE} and start < len(raw):
            end = raw.find(b"\n", start)
            stop = len(raw) if end < 0 else end + 1
            self._line += raw[start:stop]
            start = stop
            if len(self._line) > _LINE_BYTES_MAX:
                raise ProtocolError(400, "A line of the chunked body is too long")
            if end >= 0:
                line, self._line = self._line, b""
                self._read_line(line)
        return start

    def _read_line(self, line: bytes) -> None:
        if not line.endswith(b"\r\n") or b"\r" in line[:-2] or b"\0" in line:
            raise ProtocolError(400, "A line of the chunked body does not end with CRLF")
        line = line[:-2]
        if self._state == _DATA_END:
            if line:
                raise ProtocolError(400, "A chunk is longer than its size")
            self._state = _SIZE
        elif self._state == _SIZE:
            digits = line.partition(b";")[0].rstrip(b" \t") if b";" in line else line
            if not digits or len(digits) > _SIZE_DIGITS_MAX or not _HEX_DIGITS.issuperset(digits):
                raise ProtocolError(400, "Malformed chunk size")
            self.left = int(digits, 16)
            self._state = _DATA if self.left else _TRAILER
        elif line:
            self._trailer_bytes += len(line)
            if self._trailer_bytes > _TRAILER_BYTES_MAX:
                raise ProtocolError(400, "Too many trailers")
            name, colon, _ = line.partition(b":")
            if not colon or not name or name != name.strip():
                raise ProtocolError(400, "Malformed trailer")
        else:
            self._state = _DONE

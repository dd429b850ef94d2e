r"""The aws-chunked body: chunks that carry signatures, and trailers that carry checksums.

    400;chunk-signature=<64 hex>\r\n <1024 bytes> \r\n     one chunk, its size in hexadecimal
    0;chunk-signature=<64 hex>\r\n                           the end of the data
    x-amz-checksum-crc32:<base64>\r\n                        trailers, with the TRAILER kinds only
    x-amz-trailer-signature:<64 hex>\r\n                     of a signed body
    \r\n

Each signature covers its chunk's hash and the signature before it, from the request's own on, so chunks
cannot be changed, dropped or reordered. Data is handed out as it comes, hashed on the way, before its
chunk's signature can be checked: whoever stores it commits only after `finish` returned.
"""

import hashlib
from collections.abc import Iterable, Mapping
from enum import Enum, auto
from hmac import compare_digest
from typing import NoReturn

from hosu.server.s3.request_errors import S3RequestError, signature_mismatch
from hosu.server.s3.signing import EMPTY_SHA256
from hosu.server.s3.sigv4 import PayloadKind, Verified

LINE_BYTES_MAX = 1024
"""Longest chunk header or trailer line; the longest that S3 defines is under 130."""

TRAILERS_MAX = 8
"""S3 defines one trailer at a time and its signature; a body is not a place for more headers."""

_SIZE_DIGITS_MAX = 16
_HEX_DIGITS = frozenset(b"0123456789abcdefABCDEF")
_SIGNATURE_LENGTH = 64
_SIGNATURE_PREFIX = b"chunk-signature="
_TRAILER_SIGNATURE = b"x-amz-trailer-signature"

_TRAILER_KINDS = frozenset({PayloadKind.STREAMING_SIGNED_TRAILER, PayloadKind.STREAMING_UNSIGNED_TRAILER})
_SIGNED_KINDS = frozenset({PayloadKind.STREAMING_SIGNED, PayloadKind.STREAMING_SIGNED_TRAILER})


class _State(Enum):
    HEADER = auto()
    DATA = auto()
    DATA_END = auto()
    TRAILERS = auto()
    DONE = auto()


class AwsChunkedDecoder:
    """Decodes one aws-chunked body, fed in pieces cut anywhere.

    `decoded_length` is x-amz-decoded-content-length in bytes; `announced` the names in x-amz-trailer.
    A signed kind needs `verified`, the request's own signature, which the first chunk's continues.
    """

    def __init__(
        self,
        kind: PayloadKind,
        decoded_length: int,
        *,
        verified: Verified | None = None,
        announced: Iterable[str] = (),
    ) -> None:
        signed = kind in _SIGNED_KINDS
        assert signed or kind in _TRAILER_KINDS, f"{kind} is not chunked"
        assert verified is not None or not signed, "signed chunks continue a verified request's signature"
        self.trailers: dict[str, str] = {}
        """Lower-case names to values; complete once `finish` returned. Signatures are not among them."""
        self._kind = kind
        self._announced = frozenset(announced)
        self._signer = verified if signed else None
        self._previous = verified.signature if verified is not None else b""
        self._state = _State.HEADER
        self._line = bytearray()
        self._missing_bytes = decoded_length
        self._chunk_bytes_left = 0
        self._chunk_signature = b""
        self._chunk_hash = hashlib.sha256()
        self._trailer_lines: list[bytes] = []
        self._trailer_signature = b""

    def feed(self, data: bytes | bytearray | memoryview) -> list[memoryview]:
        """Take the next piece of the body and return the data in it: views of `data`, not copies.

        Raises S3RequestError (InvalidRequest, SignatureDoesNotMatch); the decoder is of no use after that.
        """
        view = memoryview(data).cast("B") if not isinstance(data, memoryview) else data
        position, end = 0, len(view)
        pieces: list[memoryview] = []
        while position < end:
            if self._state is _State.DATA:
                piece = view[position : position + self._chunk_bytes_left]
                position += len(piece)
                self._take_data(piece)
                pieces.append(piece)
            else:
                position = self._take_line_part(data, view, position)
        return pieces

    def finish(self) -> None:
        """State that the body has ended; raises S3RequestError (IncompleteBody, …) unless it ended well."""
        if self._state is not _State.DONE:
            raise S3RequestError("IncompleteBody", "The aws-chunked body ended before its last chunk was complete")
        if self._line.strip(b"\r"):
            _malformed("bytes follow its end")

    def _take_data(self, piece: memoryview) -> None:
        if self._signer is not None:
            self._chunk_hash.update(piece)
        self._chunk_bytes_left -= len(piece)
        self._missing_bytes -= len(piece)
        if not self._chunk_bytes_left:
            self._state = _State.DATA_END

    def _take_line_part(self, data: bytes | bytearray | memoryview, view: memoryview, position: int) -> int:
        """Gather bytes up to a line end, act on the line if it is whole, and return the next position."""
        window = bytes(view[position : position + LINE_BYTES_MAX + 2]) if isinstance(data, memoryview) else data
        start = 0 if isinstance(data, memoryview) else position
        line_end = window.find(b"\n", start, start + LINE_BYTES_MAX + 2)
        stop = line_end + 1 if line_end >= 0 else min(len(window), start + LINE_BYTES_MAX + 2)
        self._line += window[start:stop]
        if len(self._line) > LINE_BYTES_MAX:
            _malformed(f"a line in it is longer than {LINE_BYTES_MAX} bytes")
        if line_end >= 0:
            line = bytes(self._line)
            self._line.clear()
            self._take_line(line)
        return position + stop - start

    def _take_line(self, line: bytes) -> None:
        text = line.rstrip(b"\r\n")
        if self._state is _State.TRAILERS:
            self._take_trailer_line(text)
        elif line != text + b"\r\n":
            _malformed("a line in it does not end with CRLF")
        elif self._state is _State.HEADER:
            self._start_chunk(text)
        elif text:
            _malformed("a chunk is longer than its header says, or bytes follow its end")
        elif self._state is _State.DATA_END:
            self._end_chunk()

    def _start_chunk(self, text: bytes) -> None:
        digits, _, extension = text.partition(b";")
        if not digits or len(digits) > _SIZE_DIGITS_MAX or not _HEX_DIGITS.issuperset(digits):
            _malformed("a chunk header does not start with its size in hexadecimal")
        size = int(digits, 16)
        if self._signer is not None:
            signature = extension.removeprefix(_SIGNATURE_PREFIX)
            if len(extension) != len(_SIGNATURE_PREFIX) + _SIGNATURE_LENGTH or signature == extension:
                _malformed("a chunk header lacks its chunk-signature")
            self._chunk_signature = signature
        elif extension:
            _malformed("a chunk of an unsigned body has an extension")
        if size > self._missing_bytes:
            raise S3RequestError(
                "InvalidRequest", "The aws-chunked body holds more bytes than x-amz-decoded-content-length says"
            )
        self._chunk_bytes_left = size
        if size:
            self._state = _State.DATA
        else:
            self._end_data()

    def _end_chunk(self) -> None:
        if self._signer is not None:
            self._check_chunk(self._chunk_hash.hexdigest().encode())
            self._chunk_hash = hashlib.sha256()
        self._state = _State.HEADER

    def _end_data(self) -> None:
        if self._signer is not None:
            self._check_chunk(EMPTY_SHA256)
        if self._missing_bytes:
            raise S3RequestError(
                "IncompleteBody",
                "You did not provide the number of bytes specified by the x-amz-decoded-content-length header",
                missing_bytes=self._missing_bytes,
            )
        self._state = _State.TRAILERS

    def _take_trailer_line(self, text: bytes) -> None:
        if text:
            if self._kind not in _TRAILER_KINDS:
                _malformed("trailers follow data that was announced without any")
            self._add_trailer(text)
            return
        # minio-go, and the example in S3's reference, put an empty line before the trailers' signature.
        wants_signature = self._kind is PayloadKind.STREAMING_SIGNED_TRAILER and not self._trailer_signature
        if wants_signature and self._trailer_lines:
            return
        if wants_signature:
            _malformed("its trailers are not signed")
        self._check_trailers()
        self._state = _State.DONE

    def _add_trailer(self, text: bytes) -> None:
        name, colon, value = text.partition(b":")
        name, value = name.strip(b" \t").lower(), value.strip(b" \t")
        if not name or not colon or self._trailer_signature or len(self.trailers) >= TRAILERS_MAX:
            _malformed("a trailer is not one line `name:value` before the signature, or there are too many")
        if name == _TRAILER_SIGNATURE:
            self._trailer_signature = value
            return
        try:
            trailer = name.decode("ascii")
            if trailer in self.trailers:
                _malformed("a trailer is repeated")
            self.trailers[trailer] = value.decode("ascii")
        except UnicodeDecodeError:
            _malformed("a trailer is not ASCII")
        self._trailer_lines.append(name + b":" + value + b"\n")

    def _check_trailers(self) -> None:
        if self._kind is PayloadKind.STREAMING_SIGNED_TRAILER:
            digest = hashlib.sha256(b"".join(self._trailer_lines)).hexdigest().encode()
            self._check_signature(b"AWS4-HMAC-SHA256-TRAILER", digest, self._trailer_signature)
        if self.trailers.keys() != self._announced:
            sent, announced = ", ".join(sorted(self.trailers)), ", ".join(sorted(self._announced))
            raise S3RequestError(
                "MalformedTrailerError",
                "The request contained trailing data that was not well-formed or did not conform to our published "
                f"schema: x-amz-trailer announced [{announced}], the body brought [{sent}]",
            )

    def _check_chunk(self, digest: bytes) -> None:
        self._check_signature(b"AWS4-HMAC-SHA256-PAYLOAD", EMPTY_SHA256 + b"\n" + digest, self._chunk_signature)
        self._previous = self._chunk_signature

    def _check_signature(self, what: bytes, digest: bytes, signature: bytes) -> None:
        signer = self._signer
        assert signer is not None
        message = b"%b\n%b\n%b\n%b\n%b" % (what, signer.amz_date, signer.scope, self._previous, digest)
        if not compare_digest(signer.signing_key.sign(message), signature):
            raise signature_mismatch(
                access_key=signer.access_key,
                string_to_sign=message.decode("utf-8", "replace"),
            )


def decoder_for(
    kind: PayloadKind, verified: Verified | None, headers: Mapping[bytes, bytes]
) -> AwsChunkedDecoder | None:
    """Return the decoder that a request's headers (lower-case names) ask for, None when its body is plain.

    Raises S3RequestError: MissingContentLength without x-amz-decoded-content-length, InvalidArgument for a bad one.
    """
    if kind not in _TRAILER_KINDS and kind not in _SIGNED_KINDS:
        return None
    length = headers.get(b"x-amz-decoded-content-length")
    if length is None:
        raise S3RequestError(
            "MissingContentLength",
            "You must provide the x-amz-decoded-content-length HTTP header of an aws-chunked body",
        )
    if not length.isdigit() or len(length) > _SIZE_DIGITS_MAX:
        raise S3RequestError("InvalidArgument", "x-amz-decoded-content-length must be a number of bytes")
    announced = headers.get(b"x-amz-trailer", b"").decode("latin-1").lower().split(",")
    names = {name.strip() for name in announced} - {"", _TRAILER_SIGNATURE.decode()}
    return AwsChunkedDecoder(kind, int(length), verified=verified, announced=names)


def _malformed(why: str) -> NoReturn:
    raise S3RequestError("InvalidRequest", f"The aws-chunked body is malformed: {why}")

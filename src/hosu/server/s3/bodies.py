"""Receiving the body of an upload: decoded, hashed, checked against what the client says, and made safe."""

import asyncio
import hashlib
from collections.abc import Callable, Coroutine
from typing import Any, Self

import msgspec

from hosu.kernel.limits import INLINE_BYTES_MAX, PUT_BYTES_MAX
from hosu.objects.blobs import BlobWriter, StagedBlob
from hosu.objects.encryption.modes import Encryption
from hosu.objects.records import Checksum, ChecksumType
from hosu.server.http import Piece
from hosu.server.s3.call import Call
from hosu.server.s3.checksums import Checksum as RunningChecksum
from hosu.server.s3.checksums import (
    ChecksumAlgorithm,
    ChecksumRequest,
    check_checksum,
    check_content_md5,
    new_checksum,
    parse_content_md5,
    parse_value,
    requested_checksum,
)
from hosu.server.s3.chunked import AwsChunkedDecoder, decoder_for
from hosu.server.s3.request_errors import S3RequestError
from hosu.server.s3.sigv4 import PayloadKind

PARALLEL_BYTES_MIN = 128 * 1024
"""From this size a piece is worth hashing in two threads at once."""


class Received(msgspec.Struct, frozen=True):
    """A body that has arrived whole and is what the client said it would be."""

    body: StagedBlob
    md5: str
    checksum: Checksum | None

    @property
    def size_bytes(self) -> int:
        """Size of the decoded body."""
        return self.body.size_bytes


class Expectations(msgspec.Struct):
    """What a request says about its body before it comes."""

    size_bytes: int | None
    decoder: AwsChunkedDecoder | None
    md5: bytes | None
    sha256: str | None
    checksum: ChecksumRequest | None
    encryption: Encryption | None = None

    @property
    def has_digest(self) -> bool:
        """Whether the sender says what the body is, in one way or another."""
        return self.md5 is not None or self.checksum is not None or self.sha256 is not None


def read_expectations(call: Call, *, size_bytes_max: int = PUT_BYTES_MAX, has_checksum: bool = True) -> Expectations:
    """Read the headers about a body; refuse what could not be stored before any of it is received.

    Without `has_checksum` the checksum headers are about something else than the body, and left alone.
    """
    headers, body = call.headers, call.request.body
    verified = call.verified
    payload = verified.payload if verified is not None else PayloadKind.UNSIGNED
    decoder = decoder_for(payload, verified, headers)
    if decoder is not None:
        size_bytes: int | None = int(headers[b"x-amz-decoded-content-length"])
    else:
        size_bytes = body.content_length
        if size_bytes is None and not body.has_body:
            raise S3RequestError("MissingContentLength", "You must provide the Content-Length HTTP header.")
    if size_bytes is not None and size_bytes > size_bytes_max:
        raise S3RequestError(
            "EntityTooLarge",
            "Your proposed upload exceeds the maximum allowed size",
            proposed_size=size_bytes,
            max_size_allowed=size_bytes_max,
        )
    sha256 = verified.payload_sha256 if verified is not None else None
    checksum = requested_checksum(headers) if has_checksum else None
    return Expectations(size_bytes, decoder, parse_content_md5(headers), sha256, checksum)


class Gatherer:
    """Hashes of a body as its bytes go by."""

    def __init__(self, expected: Expectations, algorithm: ChecksumAlgorithm | None = None) -> None:
        self.expected = expected
        self.md5 = hashlib.md5(usedforsecurity=False)
        self.sha256 = hashlib.sha256() if expected.sha256 is not None else None
        chosen = expected.checksum.algorithm if expected.checksum is not None else algorithm
        self.algorithm = chosen
        self.checksum: RunningChecksum | None = None if chosen is None else new_checksum(chosen)
        self.size_bytes = 0

    def update_others(self, data: Piece) -> None:
        """Feed all but the MD5, which is the slowest and may run beside."""
        if self.sha256 is not None:
            self.sha256.update(data)
        if self.checksum is not None:
            self.checksum.update(data)
        self.size_bytes += len(data)

    def update(self, data: Piece) -> None:
        """Feed all hashes."""
        self.md5.update(data)
        self.update_others(data)

    def check(self) -> tuple[str, Checksum | None]:
        """Compare with what the client said; return the MD5 in hex and the checksum to store."""
        expected = self.expected
        if expected.decoder is not None:
            expected.decoder.finish()
        if expected.size_bytes is not None and self.size_bytes != expected.size_bytes:
            raise S3RequestError(
                "IncompleteBody", "You did not provide the number of bytes specified by the Content-Length HTTP header"
            )
        if self.sha256 is not None and self.sha256.hexdigest() != expected.sha256:
            raise S3RequestError(
                "XAmzContentSHA256Mismatch",
                "The provided 'x-amz-content-sha256' header does not match what was computed.",
            )
        check_content_md5(expected.md5, self.md5.digest())
        if self.checksum is None or self.algorithm is None:
            return self.md5.hexdigest(), None
        computed, wanted = self.checksum.base64(), self._wanted(self.algorithm)
        if wanted is not None:
            check_checksum(self.algorithm, wanted, computed)
        return self.md5.hexdigest(), Checksum(self.algorithm.value, ChecksumType.FULL_OBJECT, computed)

    def _wanted(self, algorithm: ChecksumAlgorithm) -> str | None:
        request = self.expected.checksum
        if request is None:
            return None
        if request.in_trailer and self.expected.decoder is not None:
            value = self.expected.decoder.trailers.get(algorithm.header)
            return None if value is None else parse_value(algorithm, value)
        return request.expected


def take_small(call: Call, expected: Expectations, algorithm: ChecksumAlgorithm | None = None) -> Received | None:
    """Return a small body if all of it has arrived with its headers; None when it has to be awaited."""
    if expected.size_bytes is None or expected.size_bytes > INLINE_BYTES_MAX:
        return None
    raw = call.request.body.take_buffered()
    return None if raw is None else _hash_small(call, expected, raw, algorithm)


def _hash_small(call: Call, expected: Expectations, raw: bytes, algorithm: ChecksumAlgorithm | None) -> Received:
    gatherer = Gatherer(expected, algorithm)
    body = raw if expected.decoder is None else b"".join(expected.decoder.feed(raw))
    gatherer.update(body)
    md5, checksum = gatherer.check()
    return Received(call.engine.store.stage(body, expected.encryption), md5, checksum)


async def receive(
    call: Call,
    expected: Expectations,
    algorithm: ChecksumAlgorithm | None = None,
    *,
    size_bytes_max: int = PUT_BYTES_MAX,
) -> Received:
    """Receive a body of any size. Nothing of it stays behind unless it is returned."""
    small = take_small(call, expected, algorithm)
    if small is not None:
        return small
    if expected.size_bytes is not None and expected.size_bytes <= INLINE_BYTES_MAX:
        raw = await call.request.body.read(16 * INLINE_BYTES_MAX)
        return _hash_small(call, expected, raw, algorithm)
    gatherer, body = Gatherer(expected, algorithm), call.request.body
    async with Spool(call, gatherer) as spool:
        while piece := await body.chunk():
            if expected.decoder is None and gatherer.size_bytes + len(piece) == expected.size_bytes:
                return await spool.finish(piece)
            await spool.add(piece)
            body.release(piece)
            if gatherer.size_bytes > size_bytes_max:
                raise S3RequestError("EntityTooLarge", "Your proposed upload exceeds the maximum allowed size")
        return await spool.finish()


class Spool:
    """A body on its way to a blob file; leaving the context without `finish` removes the file.

    The file is made with the first piece and finished with the last, so a body of one piece costs one turn of
    a thread. Whoever is cancelled waits for the thread, then removes what it made.
    """

    def __init__(self, call: Call, gatherer: Gatherer) -> None:
        self._engine = call.engine
        self._gatherer = gatherer
        self._writer: BlobWriter | None = None
        self._staged: StagedBlob | None = None
        self._is_finished = False

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._is_finished:
            return
        if self._staged is not None:
            await self._engine.run(self._engine.store.discard, self._staged)
        elif self._writer is not None and self._writer.is_open:
            await self._engine.run(self._writer.abort)

    async def add(self, piece: Piece) -> None:
        """Write and hash a piece; of a large plain one the MD5 is computed beside the rest."""
        gatherer, run = self._gatherer, self._engine.run
        if gatherer.expected.decoder is None and len(piece) >= PARALLEL_BYTES_MIN:
            await _both(run(gatherer.md5.update, piece), run(self._store, piece, gatherer.update_others))
        else:
            await run(self._store, piece, gatherer.update)

    async def finish(self, last: Piece = b"") -> Received:
        """Take the last piece, check the whole body and make its file durable."""
        md5, checksum = await self._engine.run(self._finish, last)
        assert self._staged is not None
        self._is_finished = True
        return Received(self._staged, md5, checksum)

    def _store(self, piece: Piece, update: Callable[[Piece], None]) -> None:
        if self._writer is None:
            self._writer = self._engine.store.new_blob(self._gatherer.expected.encryption)
        decoder = self._gatherer.expected.decoder
        for data in (piece,) if decoder is None else decoder.feed(piece):
            update(data)
            self._writer.write(data)

    def _finish(self, last: Piece) -> tuple[str, Checksum | None]:
        self._store(last, self._gatherer.update)
        assert self._writer is not None
        found = self._gatherer.check()
        self._staged = self._engine.store.finish_blob(self._writer)
        return found


async def _both(first: Coroutine[Any, Any, None], second: Coroutine[Any, Any, None]) -> None:
    """Wait for both, also when one fails or the caller is cancelled: both use the same buffer."""
    results = await asyncio.gather(first, second, return_exceptions=True)
    for result in results:
        if isinstance(result, BaseException):
            raise result

"""Downloads: verified, put in place atomically, and continued where an interrupted one stopped."""

import contextlib
import fcntl
import os
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO

from hosu.cli.addresses import ObjectAddress
from hosu.cli.digests import Hasher, expected_digest, file_digest, new_hasher
from hosu.cli.faults import CancelledError, error_code, is_transient
from hosu.cli.localfiles import part_path, put_in_place
from hosu.cli.remote import ObjectEntry, entry_of, head, nanoseconds
from hosu.cli.session import PART_BYTES_MIN, SINGLE_BYTES_MAX, Session, gather
from hosu.cli.state import Journal
from hosu.cli.upload import Advance, is_interruption
from hosu.kernel.errors import ConflictError, CorruptError, ErrorKind, UnavailableError
from hosu.kernel.limits import KIB

READ_BYTES = 512 * KIB
"""Bytes taken from a connection and written per call."""

RESTARTS_MAX = 3
"""How often a large download starts over because the object changed under it or arrived damaged."""


def download(
    session: Session,
    source: ObjectAddress,
    target: Path,
    advance: Advance,
    *,
    entry: ObjectEntry | None = None,
    version_id: str | None = None,
) -> ObjectEntry:
    """Store an object as a file, which appears whole, verified and with the object's time, or not at all.

    `entry` is what a listing said, which saves asking again.
    """
    if entry is None:
        entry = entry_of(source, head(session, source, version_id))
    target.parent.mkdir(parents=True, exist_ok=True)
    part = part_path(target, str(source))
    if entry.size_bytes <= SINGLE_BYTES_MAX:
        with _claimed(part, target) as file:
            fetched = session.retry.call(lambda: _fetch_whole(session, source, file, advance, version_id))
            put_in_place(file.fileno(), part, target, fetched.modified_ns)
            return fetched
    names = ("download", session.endpoints.label(source), str(source), version_id or "", str(target.absolute()))
    for restarts_left in reversed(range(RESTARTS_MAX)):
        with _claimed(part, target, keep=session.resume) as file, session.journals.claim(*names) as journal:
            try:
                return PartDownload(session, source, version_id, file, journal, advance).run(part, target)
            except Exception as error:
                damaged = isinstance(error, CorruptError) or error_code(error) == "PreconditionFailed"
                if not damaged or restarts_left == 0:
                    raise
    raise AssertionError("the last restart returns or raises")


@contextlib.contextmanager
def _claimed(part: Path, target: Path, *, keep: bool = False) -> Iterator[BinaryIO]:
    """Open the part file for this process alone; on failure remove it unless a later run may go on with it."""
    with os.fdopen(_lock(part, target), "r+b") as file:
        try:
            yield file
        except BaseException as error:
            if not (keep and _can_go_on(error)):
                with contextlib.suppress(FileNotFoundError):
                    part.unlink()
            raise


def _lock(part: Path, target: Path) -> int:
    """Open and lock the part file; raise ConflictError while another process has it."""
    while True:
        descriptor = os.open(part, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o666)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            os.close(descriptor)
            raise ConflictError(
                ErrorKind.FILE_BUSY, f"{target} is being downloaded by another process: wait for it, or stop it"
            ) from error
        # The holder before us may have finished and renamed the file between our open and our lock:
        # writing to this descriptor would then write into its finished download.
        with contextlib.suppress(FileNotFoundError):
            if part.stat().st_ino == os.fstat(descriptor).st_ino:
                return descriptor
        os.close(descriptor)


def _fetch_whole(
    session: Session, source: ObjectAddress, file: BinaryIO, advance: Advance, version_id: str | None
) -> ObjectEntry:
    """Get an object in one request into `file`, verified."""
    client = session.endpoints.client(source)
    arguments: dict[str, Any] = {"Bucket": source.bucket, "Key": source.key, "ChecksumMode": "ENABLED"}
    if version_id is not None:
        arguments["VersionId"] = version_id
    answer = client.get_object(**arguments)
    expected = expected_digest(answer)
    hasher = new_hasher(expected[0]) if expected is not None else None
    descriptor, size_bytes = file.fileno(), 0
    os.ftruncate(descriptor, 0)
    try:
        with contextlib.closing(answer["Body"]) as body:
            while piece := body.read(READ_BYTES):
                session.raise_if_cancelled()
                write_all(descriptor, piece, size_bytes)
                size_bytes += len(piece)
                advance(len(piece))
                if hasher is not None:
                    hasher.update(piece)
        _check_arrived(source, answer, size_bytes, hasher)
    except BaseException:
        advance(-size_bytes)
        raise
    return entry_of(source, answer)


def _check_arrived(source: ObjectAddress, answer: Mapping[str, Any], size_bytes: int, hasher: Hasher | None) -> None:
    if size_bytes != answer["ContentLength"]:
        raise _cut_short(source, size_bytes, answer["ContentLength"])
    expected = expected_digest(answer)
    if expected is not None and hasher is not None and hasher.digest() != expected[1]:
        raise _damaged(source, expected[0])


def write_all(descriptor: int, piece: bytes, offset: int) -> None:
    """Write every byte at `offset`, whatever single calls take."""
    view = memoryview(piece)
    while view:
        written = os.pwrite(descriptor, view, offset)
        view, offset = view[written:], offset + written


def _cut_short(source: ObjectAddress, got: int, wanted: int) -> UnavailableError:
    message = f"{source}: the connection ended after {got} of {wanted} bytes: run again"
    return UnavailableError(ErrorKind.ENDPOINT_UNAVAILABLE, message)


def _damaged(source: ObjectAddress, digest: str) -> CorruptError:
    message = (
        f"{source}: the bytes that came do not have the object's {digest.removeprefix('Checksum')}: nothing was stored"
    )
    return CorruptError(ErrorKind.CHECKSUM_MISMATCH, message)


class PartDownload:
    """One large download by ranges side by side, pinned to one ETag.

    The part file has the final size from the start; the journal says which parts of it are durable, and of which ETag.
    """

    def __init__(
        self,
        session: Session,
        source: ObjectAddress,
        version_id: str | None,
        file: BinaryIO,
        journal: Journal | None,
        advance: Advance,
    ) -> None:
        self._session = session
        self._source = source
        self._file = file
        self._journal = journal
        self._advance = advance
        self._client = session.endpoints.client(source)
        self._answer = head(session, source, version_id)
        self._size_bytes = int(self._answer["ContentLength"])
        self._arguments: dict[str, Any] = {"Bucket": source.bucket, "Key": source.key, "IfMatch": self._answer["ETag"]}
        if version_id is not None:
            self._arguments["VersionId"] = version_id
        self._stop = threading.Event()
        self._lock = threading.Lock()
        self._moved_bytes = 0

    def run(self, part: Path, target: Path) -> ObjectEntry:
        """Download, verify and put in place."""
        done = self._resume()
        count = -(-self._size_bytes // PART_BYTES_MIN)
        futures = [self._session.parts.submit(self._fetch, number) for number in range(count) if number not in done]
        try:
            gather(futures, self._stop)
            self._verify()
        except BaseException as error:
            self._advance(-self._moved_bytes)
            if self._journal is not None and not (self._session.resume and _can_go_on(error)):
                self._journal.discard()
            raise
        put_in_place(self._file.fileno(), part, target, nanoseconds(self._answer["LastModified"]))
        if self._journal is not None:
            self._journal.discard()
        return entry_of(self._source, self._answer)

    def _resume(self) -> set[int]:
        header = {"etag": self._answer["ETag"], "size_bytes": self._size_bytes, "part_bytes": PART_BYTES_MIN}
        lines = self._journal.lines() if self._journal is not None and self._session.resume else []
        has_size = os.fstat(self._file.fileno()).st_size == self._size_bytes
        if lines and lines[0] == header and has_size:
            done = {line["done"] for line in lines[1:] if isinstance(line.get("done"), int)}
            for number in done:
                self._moved(self._span(number)[1])
            return done
        os.ftruncate(self._file.fileno(), 0)
        os.ftruncate(self._file.fileno(), self._size_bytes)
        if self._journal is not None:
            self._journal.start(header)
        return set()

    def _moved(self, count_bytes: int) -> None:
        with self._lock:
            self._moved_bytes += count_bytes
        self._advance(count_bytes)

    def _span(self, number: int) -> tuple[int, int]:
        offset = number * PART_BYTES_MIN
        return offset, min(PART_BYTES_MIN, self._size_bytes - offset)

    def _fetch(self, number: int) -> None:
        """Get one part; a retry goes on after the last byte that came."""
        offset, length = self._span(number)
        got = 0

        def request() -> None:
            nonlocal got
            bounds = f"bytes={offset + got}-{offset + length - 1}"
            answer: Mapping[str, Any] = self._client.get_object(**self._arguments, Range=bounds)
            with contextlib.closing(answer["Body"]) as body:
                while got < length and (piece := body.read(min(READ_BYTES, length - got))):
                    if self._stop.is_set():
                        raise CancelledError
                    self._session.raise_if_cancelled()
                    write_all(self._file.fileno(), piece, offset + got)
                    got += len(piece)
                    self._moved(len(piece))
            if got != length:
                raise _cut_short(self._source, offset + got, self._size_bytes)

        if self._stop.is_set():
            raise CancelledError
        try:
            self._session.retry.call(request)
        except BaseException:
            self._stop.set()
            raise
        if self._journal is not None:
            # Durable before it is recorded, or a power cut would leave a hole that counts as done.
            os.fdatasync(self._file.fileno())
            with self._lock:
                self._journal.add({"done": number})

    def _verify(self) -> None:
        expected = expected_digest(self._answer)
        if expected is not None and file_digest(self._file, expected[0]) != expected[1]:
            raise _damaged(self._source, expected[0])


def _can_go_on(error: BaseException) -> bool:
    return (is_transient(error) or is_interruption(error)) and not isinstance(error, CorruptError)

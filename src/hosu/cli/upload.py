"""Uploads: small bodies in one request, large ones in parts side by side that a later run continues."""

import contextlib
import mimetypes
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import Future, wait
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, cast

from hosu.cli.addresses import ObjectAddress
from hosu.cli.digests import CHECKSUM_FIELDS, multipart_etag
from hosu.cli.faults import CancelledError, error_code, is_transient
from hosu.cli.parts import FileParts, PartSource
from hosu.cli.remote import head, pages
from hosu.cli.session import PART_BYTES_MIN, SINGLE_BYTES_MAX, Session, gather
from hosu.cli.state import Journal
from hosu.kernel.errors import ErrorKind, InvalidInputError
from hosu.kernel.limits import MIB, OBJECT_BYTES_MAX, PART_NUMBER_MAX

if TYPE_CHECKING:
    from mypy_boto3_s3.type_defs import CompletedPartTypeDef

Advance = Callable[[int], None]
"""Told how many bytes moved; a negative number takes back what has to be sent again."""


@dataclass(frozen=True, slots=True)
class PutOptions:
    """What an upload stores beside the bytes."""

    content_type: str | None = None
    metadata: Mapping[str, str] = field(default_factory=dict)
    storage_class: str | None = None
    headers: Mapping[str, Any] = field(default_factory=dict)
    """Other arguments of PutObject, such as the headers of the object that is copied."""

    def arguments(self, name: str) -> dict[str, Any]:
        """Return the arguments for PutObject and CreateMultipartUpload, the content type guessed from `name`."""
        arguments: dict[str, Any] = {"ContentType": guess_content_type(name), **self.headers}
        if self.content_type is not None:
            arguments["ContentType"] = self.content_type
        if self.metadata:
            arguments["Metadata"] = dict(self.metadata)
        if self.storage_class is not None:
            arguments["StorageClass"] = self.storage_class
        return arguments


def guess_content_type(name: str) -> str:
    """Return the media type that a file name suggests; a compressed file is what it is, not what is inside."""
    kind, encoding = mimetypes.guess_type(name, strict=False)
    if encoding is not None:
        return "application/gzip" if encoding == "gzip" else "application/octet-stream"
    return kind or "application/octet-stream"


def part_bytes_for(size_bytes: int) -> int:
    """Return the part size for an object: whole MiB, at least PART_BYTES_MIN, at most PART_NUMBER_MAX parts."""
    if size_bytes > OBJECT_BYTES_MAX:
        raise InvalidInputError(
            ErrorKind.TOO_LARGE, f"{size_bytes} bytes are more than an object can have ({OBJECT_BYTES_MAX})"
        )
    least = -(-size_bytes // PART_NUMBER_MAX)
    return max(PART_BYTES_MIN, -(-least // MIB) * MIB)


def upload_file(
    session: Session, path: Path, target: ObjectAddress, options: PutOptions, advance: Advance
) -> tuple[str, int]:
    """Store a file as an object and return (ETag, bytes); nothing becomes visible unless all of it arrived."""
    with path.open("rb") as file:
        source = FileParts(path, file)
        if source.size_bytes > SINGLE_BYTES_MAX:
            return upload_parts(session, source, target, options.arguments(path.name), advance), source.size_bytes
        with source.part(0, source.size_bytes) as body:
            source.check_unchanged()
            assert isinstance(body, bytes)
            etag = put_bytes(session, body, target, options.arguments(path.name))
    advance(source.size_bytes)
    return etag, source.size_bytes


def put_bytes(session: Session, body: bytes, target: ObjectAddress, arguments: dict[str, Any]) -> str:
    """Store a body of at most SINGLE_BYTES_MAX and return its ETag."""
    client = session.endpoints.client(target)
    session.raise_if_cancelled()
    answer = session.retry.call(lambda: client.put_object(Bucket=target.bucket, Key=target.key, Body=body, **arguments))
    return answer.get("ETag", "").strip('"')


def upload_parts(
    session: Session, source: PartSource, target: ObjectAddress, arguments: dict[str, Any], advance: Advance
) -> str:
    """Store a source in parts and return the ETag, going on with what an earlier run left."""
    if not session.resume:
        return PartUpload(session, source, target, arguments, advance, None).run()
    with session.journals.claim("upload", session.endpoints.label(target), str(target), source.name) as journal:
        return PartUpload(session, source, target, arguments, advance, journal).run()


class PartUpload:
    """One multipart upload.

    1. The journal names the upload before its first part is sent. 2. Parts go side by side, each tried again by
    itself. 3. The source is checked for change. 4. Only then is the upload completed, which makes the object visible.
    A failure that a later run may mend leaves the upload open for it; any other aborts it.
    """

    def __init__(
        self,
        session: Session,
        source: PartSource,
        target: ObjectAddress,
        arguments: dict[str, Any],
        advance: Advance,
        journal: Journal | None,
    ) -> None:
        self._session = session
        self._source = source
        self._target = target
        self._arguments = arguments
        self._advance = advance
        self._journal = journal
        self._client = session.endpoints.client(target)
        self._part_bytes = part_bytes_for(source.size_bytes)
        self._stop = threading.Event()
        self._upload_id = ""

    def run(self) -> str:
        """Upload, and return the ETag of the object."""
        parts = self._resume()
        try:
            self._send_missing(parts)
            self._source.check_unchanged()
            etag = complete_upload(self._session, self._target, self._upload_id, parts)
        except BaseException as error:
            if self._journal is None or not (is_transient(error) or is_interruption(error)):
                abort_upload(self._session, self._target, self._upload_id)
                if self._journal is not None:
                    self._journal.discard()
            raise
        if self._journal is not None:
            self._journal.discard()
        return etag

    def _span(self, number: int) -> tuple[int, int]:
        offset = (number - 1) * self._part_bytes
        return offset, min(self._part_bytes, self._source.size_bytes - offset)

    @property
    def _count(self) -> int:
        return -(-self._source.size_bytes // self._part_bytes)

    def _resume(self) -> dict[int, dict[str, Any]]:
        """Find the parts that an earlier run stored, or start a new upload; return the stored parts by number."""
        header = {"identity": self._source.identity, "part_bytes": self._part_bytes, "arguments": repr(self._arguments)}
        for line in self._journal.lines()[:1] if self._journal is not None else []:
            upload_id = str(line.get("upload_id", ""))
            if {name: line.get(name) for name in header} != header:
                abort_upload(self._session, self._target, upload_id)
                break
            stored = self._stored_parts(upload_id)
            if stored is not None:
                self._upload_id = upload_id
                return stored
        request = {"Bucket": self._target.bucket, "Key": self._target.key, **self._arguments}
        answer = self._session.retry.call(lambda: self._client.create_multipart_upload(**request))
        self._upload_id = answer["UploadId"]
        if self._journal is not None:
            self._journal.start({**header, "upload_id": self._upload_id})
        return {}

    def _stored_parts(self, upload_id: str) -> dict[int, dict[str, Any]] | None:
        """Return the parts the endpoint holds that are also parts of the source; None when the upload is gone."""

        def request(more: dict[str, Any]) -> Mapping[str, Any]:
            return self._client.list_parts(Bucket=self._target.bucket, Key=self._target.key, UploadId=upload_id, **more)

        stored: dict[int, dict[str, Any]] = {}
        try:
            for page in pages(self._session, request, following={"PartNumberMarker": "NextPartNumberMarker"}):
                for part in page.get("Parts", []):
                    number = part["PartNumber"]
                    if number <= self._count and self._is_ours(number, part):
                        stored[number] = completed_part(number, part)
                        self._advance(part["Size"])
        except Exception as error:
            if error_code(error) == "NoSuchUpload":
                return None
            raise
        return stored

    def _is_ours(self, number: int, part: Mapping[str, Any]) -> bool:
        offset, length = self._span(number)
        if part["Size"] != length:
            return False
        md5 = self._source.part_md5(offset, length)
        return md5 is None or part["ETag"].strip('"') == md5

    def _send_missing(self, parts: dict[int, dict[str, Any]]) -> None:
        missing = [number for number in range(1, self._count + 1) if number not in parts]
        futures = [self._session.parts.submit(self._send, number) for number in missing]
        parts.update(zip(missing, gather(futures, self._stop), strict=True))

    def _send(self, number: int) -> dict[str, Any]:
        if self._stop.is_set():
            raise CancelledError
        self._session.raise_if_cancelled()
        offset, length = self._span(number)

        def request() -> Mapping[str, Any]:
            with self._source.part(offset, length) as body:
                return self._client.upload_part(
                    Bucket=self._target.bucket,
                    Key=self._target.key,
                    UploadId=self._upload_id,
                    PartNumber=number,
                    Body=body,
                )

        try:
            answer = self._session.retry.call(request)
        except BaseException:
            self._stop.set()
            raise
        self._advance(length)
        return completed_part(number, answer)


def is_interruption(error: BaseException) -> bool:
    """Say whether a person, not a fault, ended a transfer."""
    return isinstance(error, CancelledError | KeyboardInterrupt)


def completed_part(number: int, answer: Mapping[str, Any]) -> dict[str, Any]:
    """Return what CompleteMultipartUpload wants to hear about a part: its ETag and the checksums it was stored with."""
    checksums = {name: answer[name] for name in CHECKSUM_FIELDS if answer.get(name)}
    return {"PartNumber": number, "ETag": answer["ETag"], **checksums}


def complete_upload(
    session: Session, target: ObjectAddress, upload_id: str, parts: Mapping[int, dict[str, Any]]
) -> str:
    """Make an upload visible and return its ETag.

    When the answer to a successful completion is lost, the second try finds no upload: the object is then ours if
    it has the ETag that these parts make.
    """
    client = session.endpoints.client(target)
    ordered = [cast("CompletedPartTypeDef", parts[number]) for number in sorted(parts)]
    try:
        answer = session.retry.call(
            lambda: client.complete_multipart_upload(
                Bucket=target.bucket, Key=target.key, UploadId=upload_id, MultipartUpload={"Parts": ordered}
            )
        )
    except Exception as error:
        if error_code(error) != "NoSuchUpload":
            raise
        expected = _etag_of(ordered)
        if expected is None or head(session, target).get("ETag", "").strip('"') != expected:
            raise
        return expected
    return answer.get("ETag", "").strip('"')


def _etag_of(parts: "list[CompletedPartTypeDef]") -> str | None:
    with contextlib.suppress(ValueError):
        return multipart_etag([bytes.fromhex(part["ETag"].strip('"')) for part in parts])
    return None


def abort_upload(session: Session, target: ObjectAddress, upload_id: str) -> None:
    """Remove an upload and its parts, as far as the endpoint answers: failing here must not hide the first fault."""
    client = session.endpoints.client(target)
    with contextlib.suppress(Exception):
        client.abort_multipart_upload(Bucket=target.bucket, Key=target.key, UploadId=upload_id)


STREAM_PARTS_PER_SIZE = 1000
"""How many parts of a stream have one size; then parts grow, so that 10,000 parts hold more than 400 GiB."""

STREAM_PARTS_UNDER_WAY_MAX = 4
"""Parts of a stream held in memory at once."""


def upload_stream(
    session: Session, stream: BinaryIO, target: ObjectAddress, options: PutOptions, advance: Advance
) -> tuple[str, int]:
    """Store a stream of unknown length and return (ETag, bytes); it cannot be resumed, so a failure aborts it."""
    arguments = options.arguments(target.name)
    first = _read_fully(stream, PART_BYTES_MIN)
    if len(first) < PART_BYTES_MIN:
        etag = put_bytes(session, first, target, arguments)
        advance(len(first))
        return etag, len(first)
    client = session.endpoints.client(target)
    request = {"Bucket": target.bucket, "Key": target.key, **arguments}
    upload_id = session.retry.call(lambda: client.create_multipart_upload(**request))["UploadId"]

    def send(number: int, body: bytes) -> dict[str, Any]:
        session.raise_if_cancelled()
        answer = session.retry.call(
            lambda: client.upload_part(
                Bucket=target.bucket, Key=target.key, UploadId=upload_id, PartNumber=number, Body=body
            )
        )
        advance(len(body))
        return completed_part(number, answer)

    futures: dict[int, Future[dict[str, Any]]] = {}
    size_bytes, body, number = 0, first, 1
    try:
        while body:
            _refuse_endless(target, number, size_bytes)
            if number > STREAM_PARTS_UNDER_WAY_MAX:
                futures[number - STREAM_PARTS_UNDER_WAY_MAX].result()
            futures[number] = session.parts.submit(send, number, body)
            size_bytes += len(body)
            body = _read_fully(stream, PART_BYTES_MIN * (1 + number // STREAM_PARTS_PER_SIZE))
            number += 1
        parts = {number: future.result() for number, future in futures.items()}
        return complete_upload(session, target, upload_id, parts), size_bytes
    except BaseException:
        for future in futures.values():
            future.cancel()
        wait(futures.values())
        abort_upload(session, target, upload_id)
        raise


def _refuse_endless(target: ObjectAddress, number: int, size_bytes: int) -> None:
    if number > PART_NUMBER_MAX:
        raise InvalidInputError(ErrorKind.TOO_LARGE, f"{target}: the stream did not end within {size_bytes} bytes")


def _read_fully(stream: BinaryIO, count: int) -> bytes:
    pieces = []
    while count > 0:
        piece = stream.read(min(count, MIB))
        if not piece:
            break
        pieces.append(piece)
        count -= len(piece)
    return b"".join(pieces)

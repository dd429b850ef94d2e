"""Copies between objects: by the endpoint itself when one holds both, else streamed through this machine."""

import contextlib
import tempfile
import threading
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any, BinaryIO
from urllib.parse import urlencode

from hosu.cli.addresses import ObjectAddress
from hosu.cli.remote import ObjectEntry, entry_of, head
from hosu.cli.session import PART_BYTES_MIN, SINGLE_BYTES_MAX, Session, gather
from hosu.cli.upload import (
    Advance,
    PutOptions,
    abort_upload,
    complete_upload,
    completed_part,
    part_bytes_for,
    put_bytes,
    upload_parts,
)
from hosu.kernel.limits import GIB, PUT_BYTES_MAX

_KEPT_HEADERS = ("CacheControl", "ContentDisposition", "ContentEncoding", "ContentLanguage", "ContentType", "Metadata")

COPY_PART_BYTES_MIN = GIB
"""Smallest part of a server-side copy: parts are for what one CopyObject cannot take."""


def copy(
    session: Session,
    source: ObjectAddress,
    target: ObjectAddress,
    options: PutOptions,
    advance: Advance,
    entry: ObjectEntry | None = None,
) -> tuple[str, int]:
    """Copy an object with its metadata and tags and return (ETag, bytes)."""
    if session.endpoints.are_one(source, target):
        etag, size_bytes = _copy_inside(session, source, target, options, entry)
        advance(size_bytes)
        return etag, size_bytes
    return _copy_through(session, source, target, options, advance)


def _copy_inside(
    session: Session, source: ObjectAddress, target: ObjectAddress, options: PutOptions, entry: ObjectEntry | None
) -> tuple[str, int]:
    if entry is None:
        entry = entry_of(source, head(session, source))
    if entry.size_bytes > PUT_BYTES_MAX:
        return _copy_inside_in_parts(session, source, target, options), entry.size_bytes
    client = session.endpoints.client(target)
    arguments: dict[str, Any] = {}
    if options.storage_class is not None:
        arguments["StorageClass"] = options.storage_class
    if options.content_type is not None or options.metadata:
        # The endpoint replaces all headers or none, so those that stay are sent along.
        kept = replace(options, headers=_kept(head(session, source)))
        arguments.update(kept.arguments(target.name), MetadataDirective="REPLACE")
    answer = session.retry.call(
        lambda: client.copy_object(
            Bucket=target.bucket,
            Key=target.key,
            CopySource={"Bucket": source.bucket, "Key": source.key},
            **arguments,
        )
    )
    return answer["CopyObjectResult"].get("ETag", "").strip('"'), entry.size_bytes


def _copy_inside_in_parts(session: Session, source: ObjectAddress, target: ObjectAddress, options: PutOptions) -> str:
    """Copy what is too large for one CopyObject, part by part, pinned to the source's ETag."""
    answer, _ = _open(session, source)
    size_bytes = int(answer["ContentLength"])
    client = session.endpoints.client(target)
    arguments = replace(options, headers=_headers(session, source, answer)).arguments(target.name)
    request = {"Bucket": target.bucket, "Key": target.key, **arguments}
    upload_id = session.retry.call(lambda: client.create_multipart_upload(**request))["UploadId"]
    part_bytes = max(part_bytes_for(size_bytes), COPY_PART_BYTES_MIN)
    stop = threading.Event()

    def copy_part(number: int) -> dict[str, Any]:
        session.raise_if_cancelled()
        offset = (number - 1) * part_bytes
        end = min(offset + part_bytes, size_bytes) - 1
        copied = session.retry.call(
            lambda: client.upload_part_copy(
                Bucket=target.bucket,
                Key=target.key,
                UploadId=upload_id,
                PartNumber=number,
                CopySource={"Bucket": source.bucket, "Key": source.key},
                CopySourceIfMatch=answer["ETag"],
                CopySourceRange=f"bytes={offset}-{end}",
            )
        )
        return completed_part(number, copied["CopyPartResult"])

    try:
        numbers = range(1, -(-size_bytes // part_bytes) + 1)
        parts = gather([session.parts.submit(copy_part, number) for number in numbers], stop)
        return complete_upload(session, target, upload_id, dict(zip(numbers, parts, strict=True)))
    except BaseException:
        abort_upload(session, target, upload_id)
        raise


class ObjectParts:
    """An object at another endpoint as a source of parts, pinned to its ETag."""

    def __init__(self, session: Session, source: ObjectAddress, answer: Mapping[str, Any]) -> None:
        self._session = session
        self._source = source
        self._answer = answer

    @property
    def size_bytes(self) -> int:
        """Size of the object."""
        return int(self._answer["ContentLength"])

    @property
    def name(self) -> str:
        """The endpoint and the address."""
        return f"{self._session.endpoints.label(self._source)} {self._source}"

    @property
    def identity(self) -> str:
        """Size and ETag."""
        return f"{self.size_bytes}:{self._answer['ETag']}"

    @contextlib.contextmanager
    def part(self, offset: int, length: int) -> Iterator[bytes | BinaryIO]:
        """Get a part: in memory, or in an unnamed file when the object is so large that its parts are."""
        answer = self._session.endpoints.client(self._source).get_object(
            Bucket=self._source.bucket,
            Key=self._source.key,
            IfMatch=self._answer["ETag"],
            Range=f"bytes={offset}-{offset + length - 1}",
        )
        with contextlib.closing(answer["Body"]) as body:
            if length <= SINGLE_BYTES_MAX:
                yield body.read()
                return
            with tempfile.TemporaryFile() as file:
                for piece in body.iter_chunks(PART_BYTES_MIN):
                    self._session.raise_if_cancelled()
                    file.write(piece)
                file.seek(0)
                yield file

    def part_md5(self, _offset: int, _length: int) -> str | None:
        """Return None, which trusts the stored part: it was made from the same ETag and checked when it was sent."""
        return None

    def check_unchanged(self) -> None:
        """Do nothing: each part was asked for under If-Match."""


def _copy_through(
    session: Session, source: ObjectAddress, target: ObjectAddress, options: PutOptions, advance: Advance
) -> tuple[str, int]:
    answer, body = _open(session, source)
    size_bytes = int(answer["ContentLength"])
    arguments = replace(options, headers=_headers(session, source, answer)).arguments(target.name)
    if body is None:
        return upload_parts(session, ObjectParts(session, source, answer), target, arguments, advance), size_bytes
    etag = put_bytes(session, body, target, arguments)
    advance(size_bytes)
    return etag, size_bytes


def _open(session: Session, source: ObjectAddress) -> tuple[Mapping[str, Any], bytes | None]:
    """Return the GET answer of an object, with its body when that fits in memory.

    GET and not HEAD, because it also counts the tags and a small object then takes one request.
    """
    client = session.endpoints.client(source)

    def request() -> tuple[Mapping[str, Any], bytes | None]:
        answer = client.get_object(Bucket=source.bucket, Key=source.key)
        with contextlib.closing(answer["Body"]) as body:
            return answer, body.read() if answer["ContentLength"] <= SINGLE_BYTES_MAX else None

    return session.retry.call(request)


def _kept(answer: Mapping[str, Any]) -> dict[str, Any]:
    return {name: answer[name] for name in _KEPT_HEADERS if answer.get(name)}


def _headers(session: Session, source: ObjectAddress, answer: Mapping[str, Any]) -> dict[str, Any]:
    """Return the arguments that give a new object the headers, metadata and tags of an old one."""
    headers = _kept(answer)
    if answer.get("TagCount"):
        client = session.endpoints.client(source)
        tags = session.retry.call(lambda: client.get_object_tagging(Bucket=source.bucket, Key=source.key))["TagSet"]
        headers["Tagging"] = urlencode({tag["Key"]: tag["Value"] for tag in tags})
    return headers

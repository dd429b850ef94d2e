"""Uploads that a browser posts as a form: fields first, then the file, which is streamed."""

from collections.abc import Mapping
from typing import NoReturn
from urllib.parse import quote

import multipart  # type: ignore[import-untyped,unused-ignore]

from hosu.kernel.limits import KIB
from hosu.server.s3.request_errors import S3RequestError

FIELD_BYTES_MAX = 20 * KIB
"""Names and values of all fields before the file, as S3 limits them."""

HEAD_BYTES_MAX = 64 * KIB
"""Everything before the file's bytes: the fields, and the lines that frame them."""

PARTS_MAX = 128
"""More parts than S3 has fields, and room for some user metadata."""

BOUNDARY_BYTES_MAX = 256
"""RFC 2046 allows 70; clients that send more than this mean no good."""

FILENAME_VARIABLE = "${filename}"

_UNCHANGED_FIELDS = frozenset({"policy", "signature", "x-amz-signature"})
"""Fields in which ${filename} is not a variable: changing them would break the signature."""


class PostFormParser:
    """Parses one multipart/form-data body, fed in pieces cut anywhere.

    `content_type` is the request's Content-Type header. Raises S3RequestError, mostly MalformedPOSTRequest.
    """

    def __init__(self, content_type: bytes) -> None:
        kind, options = multipart.parse_options_header(content_type.decode("latin-1"))
        boundary = options.get("boundary", "").encode("latin-1")
        if kind != "multipart/form-data":
            raise S3RequestError(
                "PreconditionFailed", "Bucket POST must be of the enclosure-type multipart/form-data", condition=kind
            )
        if not 0 < len(boundary) <= BOUNDARY_BYTES_MAX or b"\n" in boundary or b"\r" in boundary:
            _malformed("its boundary is missing or no boundary")
        self.fields: dict[str, str] = {}
        """Lower-case names to values, ${filename} replaced; complete once `file_started`."""
        self.file_started = False
        self.file_ended = False
        self.filename = ""
        """The last part of the name that the browser gave the file, empty if none."""
        self.file_content_type: str | None = None
        self.file_bytes = 0
        """Bytes of the file so far."""
        self._parser = multipart.PushMultipartParser(boundary, max_segment_count=PARTS_MAX)
        self._head_bytes = 0
        self._field_bytes = 0
        self._field_name: str | None = None
        self._field_value = bytearray()

    def feed(self, data: bytes | bytearray | memoryview) -> list[bytes]:
        """Take the next piece of the body and return the file's bytes in it."""
        pieces: list[bytes] = []
        if not data:
            return pieces
        started_before = self.file_started
        try:
            for event in self._parser.parse(bytes(data)):
                self._take_event(event, pieces)
        except (multipart.MultipartError, UnicodeError) as problem:
            raise S3RequestError("MalformedPOSTRequest", f"{_MALFORMED}: {problem}") from problem
        if not started_before:
            self._head_bytes += len(data)
            if not self.file_started and self._head_bytes > HEAD_BYTES_MAX:
                _refuse_long_fields()
        return pieces

    def finish(self) -> None:
        """State that the body has ended; raises unless it held a whole file and its closing boundary."""
        try:
            self._parser.close()
        except multipart.MultipartError as problem:
            raise S3RequestError("IncompleteBody", "The form ended before its closing boundary") from problem
        if not self.file_started:
            raise S3RequestError("InvalidArgument", "POST requires exactly one file upload per request.")

    def _take_event(self, event: object, pieces: list[bytes]) -> None:
        if isinstance(event, multipart.MultipartSegment):
            self._start_part(event)
        elif self.file_started:
            # S3 ignores the fields after the file, so do we.
            if event is None:
                self.file_ended = True
            elif not self.file_ended:
                assert isinstance(event, bytes)
                self.file_bytes += len(event)
                pieces.append(event)
        elif event is None:
            self._end_field()
        else:
            assert isinstance(event, bytes)
            self._count_field_bytes(len(event))
            self._field_value += event

    def _start_part(self, part: multipart.MultipartSegment) -> None:
        if self.file_started:
            return
        name = (part.name or "").lower()
        self._count_field_bytes(len(name))
        if name != "file":
            self._field_name = name
            return
        self.filename = (part.filename or "").replace("\\", "/").rpartition("/")[2]
        self.file_content_type = part.content_type
        self.file_started = True
        self.fields = {
            name: value if name in _UNCHANGED_FIELDS else value.replace(FILENAME_VARIABLE, self.filename)
            for name, value in self.fields.items()
        }

    def _end_field(self) -> None:
        name, value = self._field_name, bytes(self._field_value)
        assert name is not None
        if name in self.fields:
            raise S3RequestError("InvalidArgument", f"The form's field {name!r} is given twice", argument_name=name)
        self.fields[name] = value.decode()
        self._field_value.clear()

    def _count_field_bytes(self, count: int) -> None:
        self._field_bytes += count
        if self._field_bytes > FIELD_BYTES_MAX:
            _refuse_long_fields()


def form_key(fields: Mapping[str, str]) -> str:
    """Return the key a form asks for; raises InvalidArgument when it names none."""
    if "key" not in fields:
        raise S3RequestError(
            "InvalidArgument",
            "Bucket POST must contain a field named 'key'. If it is specified, please check the order of the fields.",
            argument_name="key",
        )
    if not fields["key"]:
        raise S3RequestError("InvalidArgument", "User key must have a length greater than 0.", argument_name="key")
    return fields["key"]


def success_status(fields: Mapping[str, str]) -> int:
    """Return the HTTP status of success: 200 or 201 (with a document) when asked for, 204 otherwise."""
    asked = fields.get("success_action_status", "")
    return int(asked) if asked in {"200", "201"} else 204


def success_redirect(fields: Mapping[str, str], bucket: str, key: str, etag: str) -> str | None:
    """Return where the browser goes after success, None without a usable http(s) address; `etag` without quotes."""
    address = fields.get("success_action_redirect") or fields.get("redirect")
    if not address or not address.isprintable() or not address.lower().startswith(("http://", "https://")):
        return None
    joint = "&" if "?" in address else "?"
    return f"{address}{joint}bucket={quote(bucket, '')}&key={quote(key, '')}&etag=%22{quote(etag, '')}%22"


_MALFORMED = "The body of your POST request is not well-formed multipart/form-data"


def _malformed(why: str) -> NoReturn:
    raise S3RequestError("MalformedPOSTRequest", f"{_MALFORMED}: {why}")


def _refuse_long_fields() -> NoReturn:
    raise S3RequestError(
        "MaxPostPreDataLengthExceeded",
        "Your POST request fields preceding the upload file were too large.",
        max_bytes=FIELD_BYTES_MAX,
    )

"""GetObject, HeadObject and GetObjectAttributes."""

from collections.abc import AsyncIterator, Awaitable
from functools import partial
from itertools import islice

from hosu.kernel.errors import CorruptError
from hosu.kernel.limits import PART_NUMBER_MAX
from hosu.objects.blobs import BlobRow, OpenBlob
from hosu.objects.bodies import StoredBody
from hosu.objects.coding import JXL
from hosu.objects.coding.blobs import PICTURES_BYTES_MAX, OpenCodedBlob
from hosu.objects.encryption.blobs import OpenSealedBlob
from hosu.objects.read import (
    Piece,
    blob_row,
    closing_all,
    find,
    find_with_blob,
    parts,
    pieces,
)
from hosu.objects.records import BlobKind, ObjectRecord
from hosu.objects.store import ObjectStore
from hosu.server.http import BytesSegment, FdSegment, FileBody, ReaderSegment, Response, Segment, StreamBody
from hosu.server.s3.call import Call, http_date
from hosu.server.s3.describe import object_lines, validator_lines
from hosu.server.s3.encryption import check_reader, take_read_headers
from hosu.server.s3.errors import XML_HEADER
from hosu.server.s3.headers import (
    NotModifiedError,
    check_read_conditions,
    parse_number,
    parse_range,
)
from hosu.server.s3.request_errors import S3RequestError
from hosu.server.s3.xml_write import document, element

PIECES_OPEN_MAX = 64
"""Blob files one response holds open; an object of more parts, or of parts that are large pictures and are decoded
whole, is streamed, opening one after the other."""

_CONDITIONAL = frozenset({b"if-match", b"if-none-match", b"if-modified-since", b"if-unmodified-since"})


def get_object(call: Call) -> Response | Awaitable[Response]:
    """GetObject: at once when the bytes are at hand and verified."""
    take_read_headers(call)
    try:
        answer = _answer(call, is_head=False)
    except CorruptError as error:
        return _healed_answer(call, error)
    return answer if isinstance(answer, Response) else _sound_answer(call, answer)


async def _sound_answer(call: Call, answer: Awaitable[Response]) -> Response:
    try:
        return await answer
    except CorruptError as error:
        return await _healed_answer(call, error)


async def _healed_answer(call: Call, error: CorruptError) -> Response:
    """Answer once what is corrupt has been restored from another copy; raise the error where it cannot be."""
    store = call.engine.store
    for _ in range(PIECES_OPEN_MAX + 1):  # each time another part of the object, should several be corrupt
        if not await call.engine.run(store.heal, error):
            break
        try:
            answer = _answer(call, is_head=False)
            return answer if isinstance(answer, Response) else await answer
        except CorruptError as another:
            error = another
    raise error


def head_object(call: Call) -> Response | Awaitable[Response]:
    """HeadObject: what GetObject would say, without the body."""
    take_read_headers(call)
    return _answer(call, is_head=True)


def _find(call: Call) -> tuple[ObjectRecord, BlobRow | None]:
    """Return what a request names, and its blob."""
    view, version_id = call.engine.store.view(), call.version_id
    if version_id is None:
        return find_with_blob(view, call.bucket, call.key)
    with view.snapshot():
        record = find(view, call.bucket, call.key, version_id)
        return record, None if record.blob_id is None else blob_row(view, record.blob_id)


def _find_fast(call: Call, *, is_head: bool) -> tuple[ObjectRecord, BlobRow | None, bytes | None]:
    """Return record, blob and body as far as an answer needs them: the body itself of small current objects."""
    if call.version_id is not None:
        return (*_find(call), None)
    record, body = call.engine.store.find_small(call.bucket, call.key)
    if is_head or body is not None or record.blob_id is None:
        return record, None, body
    return (*_find(call), None)


def _answer(call: Call, *, is_head: bool) -> Response | Awaitable[Response]:
    record, blob, body = _find_fast(call, is_head=is_head)
    fields, part = call.request.fields, _part_of(call)
    of_part = None if part is None else _wanted_range(call, record, part)  # one that is not there is told to anybody
    check_reader(call, record)
    with_checksum = fields.get(b"x-amz-checksum-mode", b"").upper() == b"ENABLED"
    if not _CONDITIONAL.isdisjoint(fields):
        try:
            check_read_conditions(record, fields)
        except NotModifiedError:
            return Response(304, lines=validator_lines(call, record))
    start, end, is_partial = of_part or _wanted_range(call, record, part)
    lines = object_lines(call, record, with_checksum=with_checksum and (part is not None or not is_partial))
    if part is not None and record.part_count:
        lines += b"x-amz-mp-parts-count: %d\r\n" % record.part_count
    if is_partial:
        lines += b"Content-Range: bytes %d-%d/%d\r\n" % (start, end - 1, record.size_bytes)
    status = 206 if is_partial else 200
    if is_head:
        return Response(status, lines=lines, length=end - start)
    if blob is not None and blob.kind == BlobKind.INLINE:
        store = call.engine.store
        body = store.inline_bytes(blob, call.customer_key, anew=store.protected.covers(call.bucket, call.key))
    if body is not None:
        return Response(status, body=body if end - start == len(body) else body[start:end], lines=lines)
    if blob is None or start == end:
        return Response(status, lines=lines)
    return _file_answer(call, Response(status, lines=lines), blob, start, end)


def _part_of(call: Call) -> str | None:
    return call.query.get("partNumber") if call.request.raw_query else None


def _wanted_range(call: Call, record: ObjectRecord, part: str | None) -> tuple[int, int, bool]:
    """Return (start, end, is partial) of the bytes a request asks for."""
    text = call.request.fields.get(b"range")
    if part is not None:
        if text is not None:
            raise S3RequestError("InvalidRequest", "Cannot specify both Range header and partNumber query parameter")
        return _part_range(call, record, part)
    found = None if text is None else parse_range(text.decode("latin-1"), record.size_bytes)
    return (0, record.size_bytes, False) if found is None else (*found, True)


def _part_range(call: Call, record: ObjectRecord, text: str) -> tuple[int, int, bool]:
    """Return (start, end, is partial) of a part; an object that was put whole is its own only part."""
    number = parse_number(text)
    if number is None or not 1 <= number <= PART_NUMBER_MAX:
        raise S3RequestError(
            "InvalidArgument",
            "Part number must be an integer between 1 and 10000, inclusive",
            argument_name="partNumber",
        )
    if not record.part_count:
        if number != 1:
            raise _no_such_part()
        return 0, record.size_bytes, record.size_bytes > 0
    found = parts(call.engine.store.view(), record, after=number - 1, limit=1)
    if not found or found[0].number != number:
        raise _no_such_part()
    return found[0].start, found[0].start + found[0].size_bytes, True


def _no_such_part() -> S3RequestError:
    return S3RequestError("InvalidPart", "The requested partnumber is not satisfiable")


def _file_answer(call: Call, response: Response, blob: BlobRow, start: int, end: int) -> Response | Awaitable[Response]:
    """Answer from blob files: at once when all are verified, else once a thread has hashed them."""
    store = call.engine.store
    anew = store.protected.covers(call.bucket, call.key)
    if blob.kind == BlobKind.FILE and blob.coding is not None:
        return _verified_answer(call, response, [Piece(blob, start, end - start)], None, anew=anew)
    if blob.kind == BlobKind.FILE:
        opened = store.open_file(blob, call.customer_key)
        if anew or not opened.is_verified(store.clock.now_ms()):
            return _verified_answer(call, response, [Piece(blob, start, end - start)], opened, anew=anew)
        response.body = FileBody([_segment(opened, start, end - start)], opened.close)
        return response
    view = store.view()
    with view.snapshot():
        found = list(islice(pieces(view, blob, start, end), PIECES_OPEN_MAX + 1))
    pictures_bytes = sum(piece.blob.size_bytes for piece in found if piece.blob.coding == JXL)
    if len(found) > PIECES_OPEN_MAX or pictures_bytes > PICTURES_BYTES_MAX:
        response.body = StreamBody(_stream(call, blob, start, end, call.customer_key, anew=anew), end - start)
        return response
    return _verified_answer(call, response, found, None, anew=anew)


async def _verified_answer(
    call: Call, response: Response, found: list[Piece], stale: OpenBlob | None, *, anew: bool
) -> Response:
    """Open every piece, hashing those whose last check is too old before the first byte leaves, with `anew` all."""
    if stale is not None:
        await call.engine.run(partial(call.engine.store.verify, stale, anew=anew))
    store = call.engine.store
    opened: list[OpenBlob] = []
    segments: list[Segment] = []
    with closing_all(opened):
        for piece in found:
            if piece.blob.kind == BlobKind.INLINE:
                data = store.inline_bytes(piece.blob, call.customer_key, anew=anew)
                segments.append(BytesSegment(data[piece.start : piece.start + piece.size_bytes]))
                continue
            # The thread hands the descriptor over itself: a cancelled caller would not take it.
            await call.engine.run(_open_into, opened, store, piece.blob, call.customer_key, anew and stale is None)
            segments.append(_segment(opened[-1], piece.start, piece.size_bytes))
    response.body = FileBody(segments, partial(_close_all, opened))
    return response


def _segment(opened: OpenBlob, start: int, size_bytes: int) -> Segment:
    if isinstance(opened, OpenSealedBlob | OpenCodedBlob):
        return ReaderSegment(opened.read_into, opened.read_cached, start, size_bytes)
    return FdSegment(opened.descriptor, start, size_bytes)


def _open_into(
    opened: list[OpenBlob],
    store: ObjectStore,
    row: BlobRow,
    customer_key: bytes,
    anew: bool,  # noqa: FBT001 - executors hand on what has no name
) -> None:
    opened.append(store.open_verified(row, customer_key, anew=anew))


def _close_all(blobs: list[OpenBlob]) -> None:
    for blob in blobs:
        blob.close()


async def _stream(
    call: Call, blob: BlobRow, start: int, end: int, customer_key: bytes, *, anew: bool
) -> AsyncIterator[bytes]:
    """Yield bytes start to end of a stored body; threads look up, check and read."""
    run = call.engine.run
    held: list[StoredBody] = []
    try:
        await run(lambda: held.append(StoredBody(call.engine.store, call.key, blob, customer_key, anew=anew)))
        chunks = held[0].chunks(start, end)
        while data := await run(next, chunks, b""):
            yield data
    finally:
        for body in held:
            body.close()


async def read_range(
    call: Call, blob: BlobRow | None, start: int, end: int, customer_key: bytes = b"", *, anew: bool = False
) -> AsyncIterator[bytes]:
    """Yield verified bytes start to end of a stored body, for those who hash it again."""
    if blob is not None and start < end:
        async for data in _stream(call, blob, start, end, customer_key, anew=anew):
            yield data


def get_object_attributes(call: Call) -> Response:
    """GetObjectAttributes."""
    wanted = {name.strip() for name in (call.header(b"x-amz-object-attributes") or "").split(",") if name.strip()}
    known = {"ETag", "Checksum", "ObjectParts", "StorageClass", "ObjectSize"}
    if not wanted or not wanted <= known:
        raise S3RequestError(
            "InvalidArgument", f"Invalid attribute name specified: choose from {', '.join(sorted(known))}"
        )
    take_read_headers(call)
    record, _ = _find(call)
    check_reader(call, record)
    fields = []
    if "ETag" in wanted:
        fields.append(element("ETag", record.etag))
    if "Checksum" in wanted and record.checksum is not None:
        name = f"Checksum{record.checksum.algorithm}"
        value = record.checksum.value.partition("-")[0]  # the count of parts is shown beside
        fields.append(f"<Checksum>{element(name, value)}{element('ChecksumType', record.checksum.type)}</Checksum>")
    if "ObjectParts" in wanted and record.part_count:
        fields.append(_object_parts(call, record))
    if "StorageClass" in wanted:
        fields.append(element("StorageClass", record.storage_class))
    if "ObjectSize" in wanted:
        fields.append(element("ObjectSize", record.size_bytes))
    headers = [
        XML_HEADER,
        (b"x-amz-request-id", call.request.request_id.encode()),
        (b"Last-Modified", http_date(record.modified_ms // 1000)),
    ]
    if record.version_id != "null":
        headers.append((b"x-amz-version-id", record.version_id.encode()))
    return Response(200, headers, document("GetObjectAttributesResponse", "".join(fields)))


def _object_parts(call: Call, record: ObjectRecord) -> str:
    limit = _header_integer(call, b"x-amz-max-parts", 1000)
    marker = _header_integer(call, b"x-amz-part-number-marker", 0)
    found = parts(call.engine.store.view(), record, after=marker, limit=limit + 1)
    shown = found[:limit]
    rows = []
    for part in shown:
        name = f"Checksum{record.checksum_algorithm}"
        value = element(name, part.checksum_value) if record.checksum_algorithm and part.checksum_value else ""
        rows.append(f"<Part>{value}{element('PartNumber', part.number)}{element('Size', part.size_bytes)}</Part>")
    return (
        "<ObjectParts>"
        + element("IsTruncated", "true" if len(found) > limit else "false")
        + element("MaxParts", limit)
        + (element("NextPartNumberMarker", shown[-1].number) if shown else "")
        + element("PartNumberMarker", marker)
        + "".join(rows)
        + element("PartsCount", record.part_count)
        + "</ObjectParts>"
    )


def _header_integer(call: Call, name: bytes, default: int) -> int:
    text = call.header(name)
    if text is None:
        return default
    number = parse_number(text)
    if number is None:
        raise S3RequestError("InvalidArgument", f"{name.decode()} must be a number", argument_value=text)
    return min(number, 1000) if name == b"x-amz-max-parts" else number

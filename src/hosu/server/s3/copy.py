"""CopyObject and UploadPartCopy: records refer to the source's blobs; bytes move where another key or class asks."""

import asyncio
import hashlib
from functools import partial
from urllib.parse import unquote

import msgspec

from hosu.kernel.errors import InvalidInputError, NotFoundError
from hosu.objects.blobs import BlobRow
from hosu.objects.copying import reencrypt
from hosu.objects.encryption.modes import Encryption, check_customer_key, encryption_of_parts
from hosu.objects.multipart import add_part, add_part_by_reference, check_part_number, get_upload
from hosu.objects.put import CopyOutcome, CopyRequest, Reencrypted, copy_object, is_same_key
from hosu.objects.read import blob_row, find
from hosu.objects.records import Checksum, ChecksumType, ObjectRecord, is_cold
from hosu.objects.transaction import Tx
from hosu.server.http import Headers, Response
from hosu.server.s3.acl import acl_for_write
from hosu.server.s3.call import Call, iso_date, version_headers
from hosu.server.s3.checksums import ChecksumAlgorithm, new_checksum, parse_algorithm
from hosu.server.s3.conditions import PartContext
from hosu.server.s3.encryption import (
    ENCRYPTION_HEADERS,
    SOURCE_HEADERS,
    encryption_headers,
    take_part_headers,
    take_source_headers,
    take_write_headers,
    written_headers,
)
from hosu.server.s3.get import read_range
from hosu.server.s3.headers import (
    attributes_of,
    check_owner,
    check_read_conditions,
    parse_number,
    parse_range,
    parse_tagging,
    refuse_unsupported,
    storage_class_of,
    write_conditions,
)
from hosu.server.s3.lifecycle import expiration_headers
from hosu.server.s3.lock_headers import LOCK_HEADERS, lock_headers
from hosu.server.s3.missing import hide_missing
from hosu.server.s3.put import commit_body
from hosu.server.s3.request_errors import S3RequestError
from hosu.server.s3.xml_write import element, xml_response

SOURCE_CHANGES_MAX = 3
"""How often a copy starts over because its source changed between the check of its conditions and the copy."""


class Source:
    """What `x-amz-copy-source` names."""

    def __init__(self, call: Call) -> None:
        text, _, version_id = (call.header(b"x-amz-copy-source") or "").partition("?versionId=")
        self.bucket, slash, self.key = unquote(text).removeprefix("/").partition("/")
        self.version_id = version_id or None
        self.anew = call.engine.store.protected.covers(self.bucket, self.key)
        """Whether its bytes are to be hashed again before they are used."""
        check_owner(call, b"x-amz-source-expected-bucket-owner", self.bucket)
        if not slash or not self.bucket or not self.key:
            raise S3RequestError(
                "InvalidArgument",
                "Copy Source must mention the source bucket and key: sourcebucket/sourcekey",
                argument_name="x-amz-copy-source",
            )

    def find(self, call: Call) -> tuple[ObjectRecord, BlobRow | None]:
        """Return the source's record and blob, having asked whether they may be read and whether conditions hold."""
        action = "s3:GetObject" if self.version_id is None else "s3:GetObjectVersion"
        context = PartContext(call, action, self.bucket, self.key, version_id=self.version_id)
        call.authorize_in(action, context, self.bucket, self.key)
        view = call.engine.store.view()
        with view.snapshot():
            try:
                record = find(view, self.bucket, self.key, self.version_id)
            except NotFoundError as error:
                raise hide_missing(call, error, self.bucket, self.key, self.version_id) from error
            check_customer_key(record.attributes.encryption, call.source_key)
            check_read_conditions(record, call.request.fields, b"x-amz-copy-source-")
            return record, None if record.blob_id is None else blob_row(view, record.blob_id)


def _directive(call: Call, name: bytes) -> bool:
    """Whether a directive says REPLACE; raises for anything but COPY and REPLACE."""
    value = (call.header(name) or "COPY").upper()
    if value not in {"COPY", "REPLACE"}:
        raise S3RequestError("InvalidArgument", f"Unknown {name.decode()}: {value}", argument_name=name.decode())
    return value == "REPLACE"


async def copy(call: Call) -> Response:
    """CopyObject."""
    refuse_unsupported(call, but=ENCRYPTION_HEADERS | SOURCE_HEADERS | LOCK_HEADERS)
    take_write_headers(call)
    take_source_headers(call)
    source = Source(call)
    replaces, replaces_tags = (
        _directive(call, b"x-amz-metadata-directive"),
        _directive(call, b"x-amz-tagging-directive"),
    )
    is_onto_itself = (source.bucket, source.key, source.version_id) == (call.bucket, call.key, None)
    encryption = call.write_encryption()
    facts = call.engine.store.keys.facts_of(encryption)
    if is_onto_itself and not replaces and call.encryption is None and call.header(b"x-amz-storage-class") is None:
        raise S3RequestError(
            "InvalidRequest",
            "This copy request is illegal because it is trying to copy an object to itself without changing the "
            "object's metadata, storage class, website redirect location or encryption attributes.",
        )
    tagging = call.header(b"x-amz-tagging")
    if replaces_tags and tagging:
        call.authorize("s3:PutObjectTagging")
    acl, lock = acl_for_write(call), lock_headers(call)
    for _ in range(SOURCE_CHANGES_MAX):
        record, blob = source.find(call)
        request = CopyRequest(
            source_bucket=source.bucket,
            source_key=source.key,
            source_version_id=source.version_id,
            source_seq=record.seq,
            bucket=call.bucket,
            key=call.key,
            attributes=attributes_of(call) if replaces else None,
            tags=(parse_tagging(tagging) if tagging else {}) if replaces_tags else None,
            checksum=await _new_checksum(call, source, record, blob),
            storage_class=storage_class_of(call),
            acl=acl,
            lock=lock,
            encryption=facts,
            conditions=write_conditions(call),
            actor=call.principal.name,
        )
        is_warmed = blob is not None and blob.coding is not None and not is_cold(request.storage_class)
        if is_same_key(record.attributes.encryption, facts) and not is_warmed:
            outcome = await call.commit(partial(copy_object, request=request))
        else:
            outcome = await _copy_anew(call, source, record, request, encryption)
        if outcome.record is not None:
            return _copied(call, outcome.source, outcome.record)
    raise S3RequestError("SlowDown", "The source kept changing while it was copied: try again")


async def _copy_anew(
    call: Call, source: Source, record: ObjectRecord, request: CopyRequest, encryption: Encryption | None
) -> CopyOutcome:
    """Write the source's bytes again, for another key or class; where the source has changed meanwhile, they go."""
    store = call.engine.store
    again = await _reencrypted(call, source, record, 0, record.size_bytes, encryption)
    request = msgspec.structs.replace(request, reencrypted=again)
    outcome = await commit_body(call, again.body, partial(copy_object, request=request))
    if outcome.record is None:
        await call.engine.run(store.discard, again.body)
    return outcome


async def _reencrypted(
    call: Call, source: Source, record: ObjectRecord, start: int, end: int, encryption: Encryption | None
) -> Reencrypted:
    """Stage bytes of a source again in a thread; a caller that is cancelled leaves no file behind."""
    made: list[Reencrypted] = []

    def work() -> None:
        made.append(
            reencrypt(call.engine.store, record, start, end, encryption, customer_key=call.source_key, anew=source.anew)
        )

    try:
        await call.engine.run(work)
    except asyncio.CancelledError:
        for again in made:
            call.engine.store.discard(again.body)
        raise
    return made[0]


async def _new_checksum(call: Call, source: Source, record: ObjectRecord, blob: BlobRow | None) -> Checksum | None:
    """Compute the checksum a copy asks for, where the source has another one or a composite one."""
    named = call.header(b"x-amz-checksum-algorithm")
    if named is None:
        return None
    algorithm = parse_algorithm(named)
    if record.checksum_algorithm == algorithm.value and record.checksum_type == ChecksumType.FULL_OBJECT:
        return None
    _, value = await hash_range(call, blob, 0, record.size_bytes, algorithm, anew=source.anew)
    return Checksum(algorithm.value, ChecksumType.FULL_OBJECT, value or "")


async def hash_range(
    call: Call,
    blob: BlobRow | None,
    start: int,
    end: int,
    algorithm: ChecksumAlgorithm | None,
    *,
    anew: bool = False,
) -> tuple[str, str | None]:
    """Return (MD5 in hex, checksum in base64 of algorithm) of stored bytes."""
    md5 = hashlib.md5(usedforsecurity=False)
    checksum = None if algorithm is None else new_checksum(algorithm)
    async for data in read_range(call, blob, start, end, call.source_key, anew=anew):
        await call.engine.run(md5.update, data)
        if checksum is not None:
            await call.engine.run(checksum.update, data)
    return md5.hexdigest(), None if checksum is None else checksum.base64()


def _copied(call: Call, source: ObjectRecord, record: ObjectRecord) -> Response:
    inner = element("LastModified", iso_date(record.modified_ms)) + element("ETag", f'"{record.etag}"')
    if record.checksum is not None:
        inner += element(f"Checksum{record.checksum.algorithm}", record.checksum.value)
        inner += element("ChecksumType", record.checksum.type)
    headers: Headers = [*version_headers(record), *written_headers(record.attributes.encryption)]
    headers += expiration_headers(call, record)
    if source.version_id != "null":
        headers.append((b"x-amz-copy-source-version-id", source.version_id.encode()))
    return xml_response(call.request.request_id, "CopyObjectResult", inner, *headers)


async def copy_part(call: Call) -> Response:
    """UploadPartCopy: the part refers to the source's bytes, which are read once for its ETag."""
    refuse_unsupported(call, but=ENCRYPTION_HEADERS | SOURCE_HEADERS)
    take_part_headers(call)
    take_source_headers(call)
    number, upload_id = part_number(call), call.query["uploadId"]
    source = Source(call)
    upload = get_upload(call.engine.store.view(), call.bucket, call.key, upload_id)
    encryption = encryption_of_parts(upload.attributes.encryption, call.customer_key)
    record, blob = source.find(call)
    start, end = _source_range(call, record)
    algorithm = None if upload.checksum_algorithm is None else ChecksumAlgorithm(upload.checksum_algorithm)
    is_whole = (start, end) == (0, record.size_bytes) and "-" not in record.etag and algorithm is None
    etag, checksum = record.etag, None
    if not is_whole:
        etag, checksum = await hash_range(call, blob, start, end, algorithm, anew=source.anew)
    again = None
    if not is_same_key(record.attributes.encryption, upload.attributes.encryption):
        again = await _reencrypted(call, source, record, start, end, encryption)

    def add(tx: Tx) -> int:
        now = find(tx, source.bucket, source.key, source.version_id)
        if now.seq != record.seq:
            raise S3RequestError("SlowDown", "The source changed while it was copied: try again")
        if again is not None:
            part = add_part(
                tx, call.bucket, call.key, upload_id, number, again.body, etag=etag, checksum_value=checksum
            )
            return part.modified_ms
        part = add_part_by_reference(
            tx, call.bucket, call.key, upload_id, number, now, start, end, etag=etag, checksum_value=checksum
        )
        return part.modified_ms

    modified_ms = await (call.commit(add) if again is None else commit_body(call, again.body, add))
    inner = element("LastModified", iso_date(modified_ms)) + element("ETag", f'"{etag}"')
    if algorithm is not None and checksum is not None:
        inner += element(f"Checksum{algorithm.value}", checksum)
    headers = encryption_headers(upload.attributes.encryption)
    if record.version_id != "null":
        headers.append((b"x-amz-copy-source-version-id", record.version_id.encode()))
    return xml_response(call.request.request_id, "CopyPartResult", inner, *headers)


def _source_range(call: Call, record: ObjectRecord) -> tuple[int, int]:
    text = call.header(b"x-amz-copy-source-range")
    if text is None:
        return 0, record.size_bytes
    first, _, last = text.removeprefix("bytes=").partition("-")
    first_byte, last_byte = parse_number(first), parse_number(last)
    if not text.startswith("bytes=") or first_byte is None or last_byte is None or last_byte < first_byte:
        raise S3RequestError(
            "InvalidArgument",
            "The x-amz-copy-source-range value must be of the form bytes=first-last",
            argument_name="x-amz-copy-source-range",
            argument_value=text,
        )
    if last_byte >= record.size_bytes:
        raise S3RequestError(
            "InvalidRange", f"Range specified is not valid for source object of size: {record.size_bytes}"
        )
    try:
        found = parse_range(text, record.size_bytes)
    except InvalidInputError as error:
        raise S3RequestError("InvalidRange", error.message) from error
    assert found is not None
    return found


def part_number(call: Call) -> int:
    """Return the part number of a request."""
    text = call.query.get("partNumber", "")
    number = parse_number(text)
    if number is None:
        raise S3RequestError(
            "InvalidArgument",
            "Part number must be an integer between 1 and 10000, inclusive",
            argument_name="partNumber",
        )
    check_part_number(number)
    return number

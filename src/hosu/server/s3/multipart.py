"""Uploads in parts."""

from collections.abc import Awaitable
from functools import partial
from xml.etree.ElementTree import Element

from hosu.identity.acl import ROOT
from hosu.kernel.errors import ErrorKind, InvalidInputError
from hosu.kernel.limits import MIB, PART_BYTES_MAX, PART_NUMBER_MAX
from hosu.objects.encryption.modes import encryption_of_parts
from hosu.objects.multipart import (
    CompletedPart,
    CompleteRequest,
    Part,
    Upload,
    abort_upload,
    add_part,
    choose_parts,
    complete_upload,
    create_upload,
    get_upload,
    list_parts,
    list_uploads,
)
from hosu.objects.quota import check_part_fits
from hosu.objects.records import ChecksumType
from hosu.server.http import Response
from hosu.server.s3.bodies import Expectations, Received, read_expectations, receive, take_small
from hosu.server.s3.call import Call, iso_date, version_headers
from hosu.server.s3.checksums import (
    ChecksumAlgorithm,
    combine_full,
    composite,
    decode_digest,
    multipart_type,
    parse_algorithm,
    parse_composite,
)
from hosu.server.s3.copy import part_number
from hosu.server.s3.encryption import (
    ENCRYPTION_HEADERS,
    encryption_headers,
    take_part_headers,
    take_write_headers,
    written_headers,
)
from hosu.server.s3.headers import (
    attributes_of,
    parse_number,
    refuse_unsupported,
    storage_class_of,
    strip_etag,
    write_conditions,
)
from hosu.server.s3.lifecycle import expiration_headers
from hosu.server.s3.list import encoder
from hosu.server.s3.lock_headers import LOCK_HEADERS
from hosu.server.s3.payload import read_document
from hosu.server.s3.put import commit_body
from hosu.server.s3.request_errors import S3RequestError
from hosu.server.s3.xml_read import integer, parse, text
from hosu.server.s3.xml_write import element, empty_response, flag, owner, xml_response

COMPLETE_BYTES_MAX = 4 * MIB
"""Ten thousand parts, each with its ETag and a checksum."""

UPLOADS_PER_PAGE_MAX = 1000
PARTS_PER_PAGE_MAX = 1000


async def create(call: Call) -> Response:
    """CreateMultipartUpload."""
    refuse_unsupported(call, but=ENCRYPTION_HEADERS | LOCK_HEADERS)
    take_write_headers(call)
    named, requested_type = call.header(b"x-amz-checksum-algorithm"), call.header(b"x-amz-checksum-type")
    algorithm = None if named is None else parse_algorithm(named)
    if algorithm is None and requested_type is not None:
        raise S3RequestError(
            "InvalidRequest", "The x-amz-checksum-type header needs x-amz-checksum-algorithm beside it"
        )
    upload = await call.commit(
        partial(
            create_upload,
            bucket_name=call.bucket,
            key=call.key,
            attributes=attributes_of(call),
            storage_class=storage_class_of(call),
            checksum_algorithm=None if algorithm is None else algorithm.value,
            checksum_type=None if algorithm is None else multipart_type(algorithm, requested_type).value,
            encryption=call.engine.store.keys.facts_of(call.write_encryption()),
        )
    )
    inner = element("Bucket", call.bucket) + element("Key", call.key) + element("UploadId", upload.upload_id)
    headers = written_headers(upload.attributes.encryption)
    if upload.checksum_algorithm and upload.checksum_type:
        headers += [
            (b"x-amz-checksum-algorithm", upload.checksum_algorithm.encode()),
            (b"x-amz-checksum-type", upload.checksum_type.encode()),
        ]
    return xml_response(call.request.request_id, "InitiateMultipartUploadResult", inner, *headers)


def put_part(call: Call) -> Awaitable[Response]:
    """UploadPart."""
    refuse_unsupported(call, but=ENCRYPTION_HEADERS)
    take_part_headers(call)
    number = part_number(call)
    upload = get_upload(call.engine.store.view(), call.bucket, call.key, call.query["uploadId"])
    call.engine.store.check_space()
    expected = read_expectations(call, size_bytes_max=PART_BYTES_MAX)
    expected.encryption = encryption_of_parts(upload.attributes.encryption, call.customer_key)
    algorithm = None if upload.checksum_algorithm is None else ChecksumAlgorithm(upload.checksum_algorithm)
    if expected.checksum is not None and algorithm is not None and expected.checksum.algorithm is not algorithm:
        raise S3RequestError(
            "InvalidRequest",
            f"Checksum Type mismatch occurred, expected checksum Type: {algorithm.value.lower()}, "
            f"actual checksum Type: {expected.checksum.algorithm.value.lower()}",
        )
    small = take_small(call, expected, algorithm)
    if small is None and expected.size_bytes is not None:
        view = call.engine.store.view()
        lake_quota = call.engine.store.lake_quota
        check_part_fits(view, view.bucket(call.bucket), upload.id, number, expected.size_bytes, lake_quota)
    return _store_part(call, upload, number, expected, small)


async def _store_part(
    call: Call, upload: Upload, number: int, expected: Expectations, small: Received | None
) -> Response:
    algorithm = None if upload.checksum_algorithm is None else ChecksumAlgorithm(upload.checksum_algorithm)
    received = small
    if received is None:
        received = await receive(call, expected, algorithm, size_bytes_max=PART_BYTES_MAX)
    checksum = received.checksum
    await commit_body(
        call,
        received.body,
        partial(
            add_part,
            bucket_name=call.bucket,
            key=call.key,
            upload_id=upload.upload_id,
            number=number,
            body=received.body,
            etag=received.md5,
            checksum_value=checksum.value if checksum is not None and algorithm is not None else None,
        ),
    )
    headers = [(b"ETag", b'"%b"' % received.md5.encode()), *encryption_headers(upload.attributes.encryption)]
    if checksum is not None:
        headers.append((f"x-amz-checksum-{checksum.algorithm.lower()}".encode(), checksum.value.encode()))
    return empty_response(call.request.request_id, *headers)


async def abort(call: Call) -> Response:
    """AbortMultipartUpload."""
    await call.commit(partial(abort_upload, bucket_name=call.bucket, key=call.key, upload_id=call.query["uploadId"]))
    return empty_response(call.request.request_id, status=204)


async def complete(call: Call) -> Response:
    """CompleteMultipartUpload."""
    upload_id = call.query["uploadId"]
    refuse_unsupported(call, but=ENCRYPTION_HEADERS)
    take_part_headers(call)
    body = await read_document(call, COMPLETE_BYTES_MAX, has_checksum_of_object=True)
    root = parse(body, "CompleteMultipartUpload")
    named = [_completed_part(part) for part in root.findall("Part")]
    if not named:
        raise S3RequestError("MalformedXML", "A completion must name at least one part")
    if len(named) > PART_NUMBER_MAX:
        raise S3RequestError("MalformedXML", f"A completion names at most {PART_NUMBER_MAX} parts")
    view = call.engine.store.view()
    with view.snapshot():
        try:
            upload: Upload | None = get_upload(view, call.bucket, call.key, upload_id)
        except Exception:  # noqa: BLE001 - the transaction decides whether it was completed before
            upload = None
        chosen = [] if upload is None else choose_parts(list_parts(view, upload), named)
    if upload is not None:
        encryption_of_parts(upload.attributes.encryption, call.customer_key)
        _check_stated_size(call, chosen)
    request = CompleteRequest(
        bucket=call.bucket,
        key=call.key,
        upload_id=upload_id,
        parts=named,
        checksum_value=None if upload is None else _whole_checksum(call, upload, chosen),
        conditions=write_conditions(call),
        actor=call.principal.name,
    )
    record = await call.commit(partial(complete_upload, request=request))
    host = (call.header(b"host") or "").strip()
    inner = element("Location", f"{call.scheme}://{host}/{call.bucket}/{call.key}")
    inner += element("Bucket", call.bucket) + element("Key", call.key) + element("ETag", f'"{record.etag}"')
    if record.checksum is not None:
        inner += element(f"Checksum{record.checksum.algorithm}", record.checksum.value)
        inner += element("ChecksumType", record.checksum.type)
    headers = [*version_headers(record), *written_headers(record.attributes.encryption)]
    headers += expiration_headers(call, record)
    return xml_response(call.request.request_id, "CompleteMultipartUploadResult", inner, *headers)


def _completed_part(part: Element) -> CompletedPart:
    number, etag = integer(part, "PartNumber"), text(part, "ETag")
    if number is None or etag is None:
        raise S3RequestError("MalformedXML", "A Part needs a PartNumber and an ETag")
    checksum = None
    for algorithm in ChecksumAlgorithm:
        checksum = checksum or text(part, f"Checksum{algorithm.value}")
    return CompletedPart(number, strip_etag(etag), checksum)


def _check_stated_size(call: Call, chosen: list[Part]) -> None:
    stated = call.header(b"x-amz-mp-object-size")
    if stated is None:
        return
    size_bytes = sum(part.size_bytes for part in chosen)
    if parse_number(stated) != size_bytes:
        raise S3RequestError(
            "InvalidRequest",
            f"The provided 'x-amz-mp-object-size' header is {stated}, the parts have {size_bytes} bytes",
        )


def _whole_checksum(call: Call, upload: Upload, chosen: list[Part]) -> str | None:
    """Return the object's checksum from those of its parts, and compare it with the one the client states."""
    for other in ChecksumAlgorithm:
        if other.value != upload.checksum_algorithm and call.header(other.header.encode()) is not None:
            raise S3RequestError(
                "InvalidRequest",
                f"The upload was created with the checksum algorithm {upload.checksum_algorithm}, not {other.value}",
            )
    if upload.checksum_algorithm is None:
        return None
    algorithm = ChecksumAlgorithm(upload.checksum_algorithm)
    digests = []
    for part in chosen:
        digest = None if part.checksum_value is None else decode_digest(algorithm, part.checksum_value)
        if digest is None:
            raise InvalidInputError(
                ErrorKind.PART_INVALID, f"part {part.number} has no {algorithm.value} checksum", part_number=part.number
            )
        digests.append(digest)
    if upload.checksum_type == ChecksumType.COMPOSITE:
        value = composite(algorithm, digests)
    else:
        value = combine_full(
            algorithm, [(digest, part.size_bytes) for digest, part in zip(digests, chosen, strict=True)]
        )
    stated_type = call.header(b"x-amz-checksum-type")
    if stated_type is not None and stated_type.upper() != upload.checksum_type:
        raise S3RequestError(
            "InvalidRequest", f"The upload has the checksum type {upload.checksum_type}, not {stated_type}"
        )
    stated = call.header(algorithm.header.encode())
    if stated is not None:
        encoded, count = parse_composite(algorithm, stated)
        if encoded != value.partition("-")[0] or (count is not None and count != len(chosen)):
            raise S3RequestError(
                "BadDigest", f"The {algorithm.value} you specified did not match the calculated checksum."
            )
    return value


async def list_all_parts(call: Call) -> Response:
    """ListParts."""
    limit = call.integer("max-parts", PARTS_PER_PAGE_MAX, most=PARTS_PER_PAGE_MAX)
    marker = call.integer("part-number-marker", 0)
    view = call.engine.store.view()
    with view.snapshot():
        upload = get_upload(view, call.bucket, call.key, call.query["uploadId"])
        found = list_parts(view, upload, after=marker, limit=limit + 1)
    shown = found[:limit]
    inner = element("Bucket", call.bucket) + element("Key", call.key) + element("UploadId", upload.upload_id)
    inner += _owners(call, upload) + element("StorageClass", upload.storage_class)
    if upload.checksum_algorithm:
        inner += element("ChecksumAlgorithm", upload.checksum_algorithm)
        inner += element("ChecksumType", upload.checksum_type)
    inner += element("PartNumberMarker", marker)
    inner += element("NextPartNumberMarker", shown[-1].number if shown else 0)
    inner += element("MaxParts", limit) + flag("IsTruncated", value=len(found) > limit)
    inner += "".join(_part(upload, part) for part in shown)
    return xml_response(call.request.request_id, "ListPartsResult", inner)


def _owners(call: Call, upload: Upload) -> str:
    """Return who began an upload and will own its object."""
    facts = call.engine.acls.facts(call.bucket)
    account = ROOT if facts is None else facts.owner
    acl = upload.attributes.acl if facts is not None and facts.has_acls else None
    if acl is not None:
        account = acl.owner
    return owner("Initiator", account=account) + owner(account=account)


def _part(upload: Upload, part: Part) -> str:
    inner = element("PartNumber", part.number) + element("LastModified", iso_date(part.modified_ms))
    inner += element("ETag", f'"{part.etag}"') + element("Size", part.size_bytes)
    if part.checksum_value and upload.checksum_algorithm:
        inner += element(f"Checksum{upload.checksum_algorithm}", part.checksum_value)
    return f"<Part>{inner}</Part>"


async def list_all(call: Call) -> Response:
    """ListMultipartUploads."""
    query, (shown, is_encoded) = call.query, encoder(call)
    prefix, delimiter = query.get("prefix", ""), query.get("delimiter", "")
    key_marker, upload_marker = query.get("key-marker", ""), query.get("upload-id-marker", "")
    limit = call.integer("max-uploads", UPLOADS_PER_PAGE_MAX, most=UPLOADS_PER_PAGE_MAX)
    page = await call.engine.read(
        partial(
            list_uploads, bucket_name=call.bucket, prefix=prefix, delimiter=delimiter, key_marker=key_marker,
            upload_id_marker=upload_marker, limit=limit,
        )
    )  # fmt: skip
    inner = element("Bucket", call.bucket) + element("KeyMarker", shown(key_marker))
    inner += element("UploadIdMarker", upload_marker)
    if page.is_truncated:
        inner += element("NextKeyMarker", shown(page.last_key))
        inner += element("NextUploadIdMarker", page.last_upload_id)
    inner += element("Prefix", shown(prefix)) + (element("Delimiter", shown(delimiter)) if delimiter else "")
    inner += element("EncodingType", "url") if is_encoded else ""
    inner += element("MaxUploads", limit) + flag("IsTruncated", value=page.is_truncated)
    for upload in page.uploads:
        row = element("Key", shown(upload.key)) + element("UploadId", upload.upload_id)
        row += _owners(call, upload) + element("StorageClass", upload.storage_class)
        row += element("Initiated", iso_date(upload.initiated_ms))
        if upload.checksum_algorithm:
            row += element("ChecksumAlgorithm", upload.checksum_algorithm)
            row += element("ChecksumType", upload.checksum_type)
        inner += f"<Upload>{row}</Upload>"
    inner += "".join(f"<CommonPrefixes>{element('Prefix', shown(item))}</CommonPrefixes>" for item in page.prefixes)
    return xml_response(call.request.request_id, "ListMultipartUploadsResult", inner)

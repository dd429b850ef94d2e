"""Uploads in parts: parts are blobs of their own, and completing an upload only writes records.

The completed object refers to a composed blob, whose segments refer to the parts' blobs in order. No byte is
copied, and nothing is visible before the completion commits.
"""

import hashlib
import os
from itertools import pairwise

import msgspec

from hosu.kernel.errors import ErrorKind, InvalidInputError, NotFoundError
from hosu.kernel.limits import PART_BYTES_MIN, PART_NUMBER_MAX, TAGS_PER_OBJECT_MAX
from hosu.objects.blobs import StagedBlob
from hosu.objects.names import check_attributes, check_key, check_tags
from hosu.objects.put import encrypted_as, is_same_key
from hosu.objects.quota import check_part_fits
from hosu.objects.read import blob_row, pieces
from hosu.objects.records import (
    NO_CONDITIONS,
    STANDARD,
    Attributes,
    BlobKind,
    Bucket,
    Conditions,
    EncryptionFacts,
    EncryptionMode,
    ObjectRecord,
    decode_attributes,
    encode_attributes,
)
from hosu.objects.retention import check_lock, locked_as
from hosu.objects.transaction import Tx
from hosu.objects.versions import (
    Draft,
    check_conditions,
    check_replaceable,
    check_writable,
    current,
    find_version,
    install,
)
from hosu.objects.views import View

COMPLETED_MS_MAX = 24 * 3600 * 1000
"""How long a completion sent a second time still gets the first one's answer."""

UPLOAD_COLUMNS = "id, upload_id, key, initiated_ms, storage_class, checksum_algorithm, checksum_type, attributes"


class Upload(msgspec.Struct, frozen=True):
    """An upload in progress."""

    id: int
    upload_id: str
    key: str
    initiated_ms: int
    storage_class: str
    checksum_algorithm: str | None
    checksum_type: str | None
    attributes_json: str

    @property
    def attributes(self) -> Attributes:
        """What the completed object will carry."""
        return decode_attributes(self.attributes_json)


class Part(msgspec.Struct, frozen=True):
    """A part that has arrived. `checksum_value` is in base64, of the upload's algorithm."""

    number: int
    size_bytes: int
    etag: str
    modified_ms: int
    blob_id: int | None
    checksum_value: str | None


class CompletedPart(msgspec.Struct, frozen=True):
    """A part as the completing client names it."""

    number: int
    etag: str
    checksum_value: str | None = None


def create_upload(
    tx: Tx,
    bucket_name: str,
    key: str,
    *,
    attributes: Attributes,
    storage_class: str = STANDARD,
    checksum_algorithm: str | None = None,
    checksum_type: str | None = None,
    encryption: EncryptionFacts | None = None,
) -> Upload:
    """Begin an upload in parts, each of which is to be encrypted as `encryption` says."""
    check_key(key)
    check_attributes(attributes)
    check_tags(attributes.tags, TAGS_PER_OBJECT_MAX)
    bucket = tx.bucket(bucket_name)
    check_writable(tx, bucket, key)
    check_lock(attributes, bucket, tx.now_ms)
    number = tx.next_upload()
    upload_id = f"{number:016x}{os.urandom(16).hex()}"
    tx.run(
        "INSERT INTO upload VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (
            number, bucket.id, key, upload_id, tx.now_ms, storage_class, checksum_algorithm, checksum_type,
            encode_attributes(encrypted_as(attributes, encryption)),
        ),
    )  # fmt: skip
    return get_upload(tx, bucket_name, key, upload_id)


def get_upload(view: View, bucket_name: str, key: str, upload_id: str) -> Upload:
    """Return an upload in progress; raises `NotFoundError`."""
    bucket = view.bucket(bucket_name)
    row = view.row(
        f"SELECT {UPLOAD_COLUMNS} FROM upload WHERE bucket_id = ? AND key = ? AND upload_id = ?",
        (bucket.id, key, upload_id),
    )
    if row is None:
        raise NotFoundError(
            ErrorKind.UPLOAD_NOT_FOUND,
            f"there is no upload {upload_id!r} of {key!r}: completed, aborted or never begun",
        )
    return Upload(*row)


def check_part_number(number: int) -> None:
    """Refuse a part number outside 1 to 10,000."""
    if not 1 <= number <= PART_NUMBER_MAX:
        raise InvalidInputError(
            ErrorKind.PART_NUMBER_INVALID, f"part number {number} must be between 1 and {PART_NUMBER_MAX}"
        )


def add_part(
    tx: Tx,
    bucket_name: str,
    key: str,
    upload_id: str,
    number: int,
    body: StagedBlob,
    *,
    etag: str,
    checksum_value: str | None = None,
) -> Part:
    """Store a staged body as a part, in place of one with the same number."""
    upload = get_upload(tx, bucket_name, key, upload_id)
    check_part_number(number)
    _check_part_encryption(upload, body.encryption)
    bucket = tx.bucket(bucket_name)
    check_part_fits(tx, bucket, upload.id, number, body.size_bytes)
    part = Part(number, body.size_bytes, etag, tx.now_ms, tx.add_blob(body), checksum_value)
    return _set_part(tx, bucket, upload, part)


def add_part_by_reference(
    tx: Tx,
    bucket_name: str,
    key: str,
    upload_id: str,
    number: int,
    source: ObjectRecord,
    start: int,
    end: int,
    *,
    etag: str,
    checksum_value: str | None = None,
) -> Part:
    """Make bytes start to end of a stored object a part, without copying them. etag and checksum are of that range."""
    upload = get_upload(tx, bucket_name, key, upload_id)
    check_part_number(number)
    _check_part_encryption(upload, source.attributes.encryption)
    bucket = tx.bucket(bucket_name)
    check_part_fits(tx, bucket, upload.id, number, end - start)
    blob_id = None
    if source.blob_id is not None and end > start:
        source_blob = blob_row(tx, source.blob_id)
        if source_blob.kind != BlobKind.COMPOSED and (start, end) == (0, source_blob.size_bytes):
            tx.add_reference(blob_id := source_blob.id)
        else:
            blob_id = tx.add_composed(end - start)
            _add_segments(tx, blob_id, 0, number, source.blob_id, start, end, None)
    return _set_part(tx, bucket, upload, Part(number, end - start, etag, tx.now_ms, blob_id, checksum_value))


def _check_part_encryption(upload: Upload, encryption: EncryptionFacts | None) -> None:
    """Refuse a part under another key than the upload's: what it completes is opened by one."""
    expected = upload.attributes.encryption
    if is_same_key(expected, encryption):
        return
    if expected is not None and expected.mode == EncryptionMode.SSE_C:
        kind = ErrorKind.CUSTOMER_KEY_WRONG if encryption is not None else ErrorKind.CUSTOMER_KEY_REQUIRED
        raise InvalidInputError(kind, "each part needs the key that the upload was begun with (SSE-C)")
    raise InvalidInputError(
        ErrorKind.PART_INVALID, "the part is not encrypted as the upload was begun: leave its encryption to the upload"
    )


def list_parts(view: View, upload: Upload, *, after: int = 0, limit: int = -1) -> list[Part]:
    """Return the parts of an upload that have arrived, by number."""
    rows = view.rows(
        "SELECT number, size_bytes, etag, modified_ms, blob_id, checksum_value FROM part "
        "WHERE upload = ? AND number > ? ORDER BY number LIMIT ?",
        (upload.id, after, limit),
    )
    return [Part(*row) for row in rows]


def abort_upload(tx: Tx, bucket_name: str, key: str, upload_id: str) -> None:
    """End an upload and give back the space of its parts."""
    upload = get_upload(tx, bucket_name, key, upload_id)
    parts = list_parts(tx, upload)
    for part in parts:
        tx.drop_reference(part.blob_id)
    _forget(tx, tx.bucket(bucket_name), upload, parts)


class CompleteRequest(msgspec.Struct, frozen=True):
    """What a client says to complete an upload. `checksum_value` is of the whole object."""

    bucket: str
    key: str
    upload_id: str
    parts: list[CompletedPart]
    checksum_value: str | None = None
    conditions: Conditions = NO_CONDITIONS
    actor: str = ""


def choose_parts(stored: list[Part], named: list[CompletedPart]) -> list[Part]:
    """Return the stored parts that a completion names, in order; raises `InvalidInputError` for what does not fit."""
    if not named:
        raise InvalidInputError(ErrorKind.INVALID_ARGUMENT, "a completion must name at least one part")
    for before, name in pairwise(named):
        if name.number <= before.number:
            raise InvalidInputError(
                ErrorKind.PART_ORDER_INVALID,
                f"part {name.number} is named after part {before.number}; order them by number",
            )
    by_number = {part.number: part for part in stored}
    chosen: list[Part] = []
    for name in named:
        part = by_number.get(name.number)
        if part is None or part.etag != name.etag:
            reason = "has not arrived" if part is None else f"has the ETag {part.etag}, not {name.etag}"
            raise InvalidInputError(ErrorKind.PART_INVALID, f"part {name.number} {reason}", part_number=name.number)
        if name.checksum_value is not None and part.checksum_value not in {None, name.checksum_value}:
            raise InvalidInputError(
                ErrorKind.PART_INVALID, f"part {name.number} has another checksum than named", part_number=name.number
            )
        chosen.append(part)
    for part in chosen[:-1]:
        if part.size_bytes < PART_BYTES_MIN:
            raise InvalidInputError(
                ErrorKind.PART_TOO_SMALL,
                f"part {part.number} has {part.size_bytes} bytes; every part but the last needs {PART_BYTES_MIN}",
                part_number=part.number,
                size_bytes=part.size_bytes,
                etag=part.etag,
            )
    return chosen


def complete_upload(tx: Tx, request: CompleteRequest) -> ObjectRecord:
    """Make the named parts the current object. Sent again after success, it answers as it did then."""
    bucket = tx.bucket(request.bucket)
    check_writable(tx, bucket, request.key)
    try:
        upload = get_upload(tx, request.bucket, request.key, request.upload_id)
    except NotFoundError:
        before = _completed_before(tx, bucket.id, request)
        if before is None:
            raise
        return before
    stored = list_parts(tx, upload)
    chosen = choose_parts(stored, request.parts)
    if request.conditions is not NO_CONDITIONS:
        check_conditions(current(tx, bucket.id, request.key), request.conditions, request.key)
    check_replaceable(tx, bucket, request.key)
    size_bytes = sum(part.size_bytes for part in chosen)
    blob_id = tx.add_composed(size_bytes)
    start = 0
    for part in chosen:
        if part.blob_id is not None:
            _add_segments(tx, blob_id, start, part.number, part.blob_id, 0, part.size_bytes, part.checksum_value)
        start += part.size_bytes
    for part in stored:
        tx.drop_reference(part.blob_id)
    digest = hashlib.md5(b"".join(bytes.fromhex(part.etag) for part in chosen), usedforsecurity=False).hexdigest()
    draft = Draft(
        size_bytes=size_bytes,
        etag=f"{digest}-{len(chosen)}",
        blob_id=blob_id,
        storage_class=upload.storage_class,
        checksum_algorithm=upload.checksum_algorithm if request.checksum_value else None,
        checksum_type=upload.checksum_type if request.checksum_value else None,
        checksum_value=request.checksum_value,
        part_count=len(chosen),
        attributes_json=_with_lock(tx, bucket, upload),
    )
    record = install(tx, bucket, request.key, draft, event="ObjectCreated:CompleteMultipartUpload", actor=request.actor)
    _forget(tx, bucket, upload, stored)
    tx.run("DELETE FROM completed_upload WHERE completed_ms < ?", (tx.now_ms - COMPLETED_MS_MAX,))
    tx.run(
        "INSERT INTO completed_upload VALUES (?, ?, ?, ?, ?, ?)",
        (request.upload_id, bucket.id, request.key, record.version_id, record.etag, tx.now_ms),
    )
    return record


def _with_lock(tx: Tx, bucket: Bucket, upload: Upload) -> str:
    """Return the attributes of an upload's object: the bucket's default retention begins when it is completed."""
    if not bucket.lock:
        return upload.attributes_json
    return encode_attributes(locked_as(upload.attributes, bucket, tx.now_ms))


class UploadsPage(msgspec.Struct):
    """A page of uploads in progress, by key and then by age."""

    uploads: list[Upload]
    prefixes: list[str]
    is_truncated: bool = False
    last_key: str = ""
    last_upload_id: str = ""


def list_uploads(
    view: View,
    bucket_name: str,
    *,
    prefix: str = "",
    delimiter: str = "",
    key_marker: str = "",
    upload_id_marker: str = "",
    limit: int = 1000,
) -> UploadsPage:
    """Return one page of a bucket's uploads in progress, after the markers."""
    bucket = view.bucket(bucket_name)
    page = UploadsPage([], [])
    rows = view.each(
        f"SELECT {UPLOAD_COLUMNS} FROM upload WHERE bucket_id = ?1 AND key >= ?4 AND key >= ?2 AND "
        "(key > ?2 OR (?3 <> '' AND upload_id > ?3) OR ?2 = '') ORDER BY key, upload_id",
        (bucket.id, key_marker, upload_id_marker, max(prefix, key_marker)),
    )
    for row in rows:
        upload = Upload(*row)
        if not upload.key.startswith(prefix):
            if upload.key > prefix:
                break
            continue
        place = upload.key.find(delimiter, len(prefix)) if delimiter else -1
        common = upload.key[: place + len(delimiter)] if place >= 0 else ""
        if common and (common in page.prefixes or common == key_marker):
            continue
        if len(page.uploads) + len(page.prefixes) == limit:
            page.is_truncated = True
            break
        if common:
            page.prefixes.append(common)
            page.last_key, page.last_upload_id = common, ""
        else:
            page.uploads.append(upload)
            page.last_key, page.last_upload_id = upload.key, upload.upload_id
    return page


def _set_part(tx: Tx, bucket: Bucket, upload: Upload, part: Part) -> Part:
    before = tx.row("SELECT blob_id, size_bytes FROM part WHERE upload = ? AND number = ?", (upload.id, part.number))
    if before is not None:
        tx.drop_reference(before[0])
    tx.count(bucket.id, part_bytes=part.size_bytes - (0 if before is None else before[1]))
    tx.run(
        "INSERT OR REPLACE INTO part VALUES (?, ?, ?, ?, ?, ?, ?)",
        (upload.id, part.number, part.size_bytes, part.etag, part.modified_ms, part.blob_id, part.checksum_value),
    )
    return part


def _add_segments(
    tx: Tx, blob_id: int, offset: int, number: int, source_id: int, start: int, end: int, checksum_value: str | None
) -> None:
    """Let bytes start to end of the source appear at offset of a composed blob; the source may be composed itself."""
    for index, piece in enumerate(list(pieces(tx, blob_row(tx, source_id), start, end))):
        tx.add_reference(piece.blob.id)
        tx.run(
            "INSERT INTO segment VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            (
                blob_id, number, index, offset, piece.size_bytes, piece.blob.id, piece.start,
                checksum_value if index == 0 else None,
            ),
        )  # fmt: skip
        offset += piece.size_bytes


def _forget(tx: Tx, bucket: Bucket, upload: Upload, parts: list[Part]) -> None:
    tx.count(bucket.id, part_bytes=-sum(part.size_bytes for part in parts))
    tx.run("DELETE FROM part WHERE upload = ?", (upload.id,))
    tx.run("DELETE FROM upload WHERE id = ?", (upload.id,))


def _completed_before(tx: Tx, bucket_id: int, request: CompleteRequest) -> ObjectRecord | None:
    row = tx.row(
        "SELECT version_id, etag FROM completed_upload WHERE upload_id = ? AND bucket_id = ? AND key = ?",
        (request.upload_id, bucket_id, request.key),
    )
    if row is None:
        return None
    record = find_version(tx, bucket_id, request.key, row[0])
    return record if record is not None and record.etag == row[1] else None

"""Moving a stored object into a class, and compressing it: one commit puts the compressed bytes in place of the others.

Nothing but the place of the bytes and the class changes: ETag, time, version, checksums, parts and tags stay.
"""

from functools import partial

import msgspec

from hosu.kernel.errors import CorruptError, NotFoundError, UnavailableError
from hosu.objects.audit import Origin
from hosu.objects.blobs import BlobRow, StagedBlob
from hosu.objects.coding.staging import PictureCoder, stage_coded
from hosu.objects.encryption.modes import Encryption, encryption_of_parts
from hosu.objects.read import FIND_BLOB
from hosu.objects.records import BlobKind, EncryptionMode, ObjectRecord, is_cold
from hosu.objects.store import ObjectStore
from hosu.objects.transaction import Tx
from hosu.objects.versions import version_of_seq
from hosu.objects.views import View

TRANSITIONED = "ObjectTransition:Complete"
CODED = "ObjectCoded"
"""Kind of the event of a record whose bytes are stored compressed from now on, though its class is what it was."""

COLD_PRINCIPAL = "hosu:lifecycle"


class Recoded(msgspec.Struct, frozen=True):
    """What became of an object: bytes that its blobs took before, and take now."""

    before_bytes: int
    after_bytes: int

    @property
    def saved_bytes(self) -> int:
        """Bytes that the disk gets back once nobody else needs them."""
        return self.before_bytes - self.after_bytes


class _Source(msgspec.Struct, frozen=True):
    bucket: str
    record: ObjectRecord
    blob: BlobRow | None
    encryption: Encryption | None


def recode(
    store: ObjectStore,
    bucket: str,
    key: str,
    seq: int,
    *,
    storage_class: str | None = None,
    origin: Origin | None = None,
    code_picture: PictureCoder | None = None,
) -> Recoded | None:
    """Give a version its class, and compress its bytes if the class is a cold one; None when it is gone.

    The version is the one of order `seq`; without `storage_class` it keeps its own. `code_picture` stands in for the
    library, which otherwise works in this process. Blocks. Raises CorruptError for bytes that are not what they were,
    UnavailableError; nothing has changed then, but that parts of an object may be compressed already.
    """
    source = _find(store.view(), bucket, key, seq)
    if source is None:
        return None
    record, blob = source.record, source.blob
    staged, before_bytes, after_bytes = None, 0, 0
    if blob is not None and blob.coding is None and _is_coded_by(record, storage_class):
        before_bytes = after_bytes = blob.size_bytes
        if blob.kind == BlobKind.COMPOSED:
            after_bytes -= _recode_segments(store, source, blob, code_picture)
        else:
            try:
                staged = stage_coded(
                    store, key, blob, source.encryption, md5=_md5_of(record), code_picture=code_picture
                )
            except CorruptError:
                if not _is_there(store.view(), source):
                    return None  # its file went while it was read
                raise
            after_bytes = before_bytes if staged is None else staged.coded_bytes or 0
    settle = partial(
        _settle, source=source, staged=staged, storage_class=storage_class, is_coded=after_bytes != before_bytes
    )
    is_done = _commit(store, settle, staged, origin)
    return Recoded(before_bytes, after_bytes) if is_done else None


def _is_coded_by(record: ObjectRecord, storage_class: str | None) -> bool:
    if not is_cold(storage_class or record.storage_class):
        return False
    facts = record.attributes.encryption
    return facts is None or facts.mode != EncryptionMode.SSE_C  # the lake has no key to read it with


def _find(view: View, bucket: str, key: str, seq: int) -> _Source | None:
    with view.snapshot():
        try:
            bucket_id = view.bucket(bucket).id
        except NotFoundError:
            return None
        record = version_of_seq(view, bucket_id, key, seq)
        if record is None or record.is_marker:
            return None
        row = None if record.blob_id is None else view.row(FIND_BLOB, (record.blob_id,))
    facts = record.attributes.encryption
    encryption = None if facts is None or facts.mode == EncryptionMode.SSE_C else encryption_of_parts(facts)
    return _Source(bucket, record, None if row is None else BlobRow(*row), encryption)


def _is_there(view: View, source: _Source) -> bool:
    found = _find(view, source.bucket, source.record.key, source.record.seq)
    return found is not None and found.record.blob_id == source.record.blob_id


def _md5_of(record: ObjectRecord) -> str | None:
    """Return the MD5 that an object's bytes must have; None where its ETag is of parts."""
    return None if "-" in record.etag else record.etag


def _commit(store: ObjectStore, operation: "partial[bool]", staged: StagedBlob | None, origin: Origin | None) -> bool:
    try:
        is_done = store.commit(operation, origin)
    except UnavailableError:
        raise  # the disk failed, perhaps after the record was written: the sweep knows, once it can be read again
    except Exception:
        if staged is not None:
            store.discard(staged)
        raise
    if not is_done and staged is not None:
        store.discard(staged)
    return is_done


def _settle(tx: Tx, *, source: _Source, staged: StagedBlob | None, storage_class: str | None, is_coded: bool) -> bool:
    """Put a staged body in the place of the blob it was made from; False when the version is no longer the same.

    `is_coded` says that other bytes are stored than before, of which followers of the feed are told.
    """
    before = source.record
    found = _find(tx, source.bucket, before.key, before.seq)
    if found is None or found.record.blob_id != before.blob_id:
        return False
    bucket, record = tx.bucket(source.bucket), found.record
    where = (bucket.id, record.key, record.seq)
    is_current = tx.value("SELECT 1 FROM object WHERE bucket_id = ? AND key = ? AND seq = ?", where)
    table = "object" if is_current else "version"
    if staged is not None:
        blob_id = tx.add_blob(staged)
        tx.run(f"UPDATE {table} SET blob_id = ? WHERE bucket_id = ? AND key = ? AND seq = ?", (blob_id, *where))
        tx.drop_reference(record.blob_id)
    if tx.value("SELECT 1 FROM uncoded WHERE seq = ?", (record.seq,)):
        tx.run("DELETE FROM uncoded WHERE seq = ?", (record.seq,))
    if storage_class not in {None, record.storage_class}:
        tx.run(
            f"UPDATE {table} SET storage_class = ? WHERE bucket_id = ? AND key = ? AND seq = ?",
            (storage_class, *where),
        )
        _record(tx, TRANSITIONED, bucket.name, record, "" if tx.origin is None else tx.origin.principal)
    elif is_coded:
        _record(tx, CODED, bucket.name, record, COLD_PRINCIPAL)
    return True


def _record(tx: Tx, kind: str, bucket: str, record: ObjectRecord, actor: str) -> None:
    tx.record_event(tx.next_seq(), kind, bucket, record.key, record.version_id, record.size_bytes, record.etag, actor)


def _recode_segments(store: ObjectStore, source: _Source, blob: BlobRow, code_picture: PictureCoder | None) -> int:
    """Compress the parts of a composed blob, each in a commit of its own; return how many bytes that saves.

    What others refer to as well stays: compressing it would give nothing back.
    """
    saved_bytes = 0
    rows = store.view().rows(
        "SELECT child_id, count(*) FROM segment WHERE blob_id = ? GROUP BY child_id ORDER BY min(start)", (blob.id,)
    )
    for child_id, count in rows:
        view = store.view()
        row, refs = view.row(FIND_BLOB, (child_id,)), view.value("SELECT refs FROM blob WHERE id = ?", (child_id,))
        if row is None or refs != count:
            continue
        child = BlobRow(*row)
        if child.coding is not None:
            saved_bytes += child.size_bytes - (child.coded_bytes or 0)
            continue
        try:
            staged = stage_coded(store, source.record.key, child, source.encryption, code_picture=code_picture)
        except CorruptError:
            if not _is_there(store.view(), source):
                return saved_bytes
            raise
        if staged is not None and _commit(
            store, partial(_swap_child, blob_id=blob.id, child_id=child_id, staged=staged), staged, None
        ):
            saved_bytes += child.size_bytes - (staged.coded_bytes or 0)
    return saved_bytes


def _swap_child(tx: Tx, *, blob_id: int, child_id: int, staged: StagedBlob) -> bool:
    """Let the segments of a composed blob refer to a staged body in the place of one of their blobs.

    What is seen of the object does not change: `_settle` tells of all parts at once.
    """
    if not tx.value("SELECT refs FROM blob WHERE id = ?", (blob_id,)):
        return False
    count = tx.value("SELECT count(*) FROM segment WHERE blob_id = ? AND child_id = ?", (blob_id, child_id))
    if not count:
        return False
    new_id = tx.add_blob(staged)
    tx.run("UPDATE segment SET child_id = ? WHERE blob_id = ? AND child_id = ?", (new_id, blob_id, child_id))
    for _ in range(count - 1):
        tx.add_reference(new_id)
    for _ in range(count):
        tx.drop_reference(child_id)
    return True

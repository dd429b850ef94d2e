"""Copies whose source and target may be stored differently: by reference where they can be, else written anew."""

from collections.abc import Callable
from functools import partial

import msgspec

from hosu.kernel.errors import ErrorKind, UnavailableError
from hosu.objects.blobs import BlobRow
from hosu.objects.bodies import BodyWriter, StoredBody
from hosu.objects.encryption.modes import Encryption, check_customer_key
from hosu.objects.put import CopyOutcome, CopyRequest, Reencrypted, copy_object, is_same_key
from hosu.objects.read import FIND_BLOB, find
from hosu.objects.records import EncryptionFacts, ObjectRecord, is_cold
from hosu.objects.store import ObjectStore
from hosu.objects.transaction import Tx
from hosu.objects.views import View

SOURCE_CHANGES_MAX = 3
"""How often a copy starts over because its source changed while it was read."""

CHUNK_BYTES = 1024 * 1024


def copy_stored(
    store: ObjectStore,
    source_bucket: str,
    source_key: str,
    version_id: str | None,
    request: Callable[[ObjectRecord], CopyRequest],
    encryption: Encryption | None,
    *,
    customer_key: bytes = b"",
) -> ObjectRecord:
    """Copy an object, encrypted as given, as `request` says of the source it is handed.

    Blocks, for as long as reading and writing the object takes if its key is another one. `customer_key` opens a
    source that a client's key encrypts. Raises UnavailableError FILE_CHANGED when the source keeps changing.
    """
    facts = store.keys.facts_of(encryption)
    for _ in range(SOURCE_CHANGES_MAX):
        copied = store.commit(
            lambda tx: _copy_by_reference(tx, source_bucket, source_key, version_id, request, facts, customer_key)
        )
        if isinstance(copied, CopyOutcome):
            assert copied.record is not None, "a copy that names no order is never stale"
            return copied.record
        wanted = msgspec.structs.replace(request(copied), source_seq=copied.seq)
        outcome = copy_anew(store, copied, wanted, encryption, customer_key=customer_key)
        if outcome.record is not None:
            return outcome.record
    raise UnavailableError(ErrorKind.FILE_CHANGED, f"{source_key!r} kept changing while it was copied: try again")


def _copy_by_reference(
    tx: Tx,
    source_bucket: str,
    source_key: str,
    version_id: str | None,
    request: Callable[[ObjectRecord], CopyRequest],
    facts: EncryptionFacts | None,
    customer_key: bytes,
) -> CopyOutcome | ObjectRecord:
    """Copy in this transaction; return the source alone where its bytes have to be written anew."""
    source = find(tx, source_bucket, source_key, version_id)
    encryption = source.attributes.encryption
    check_customer_key(encryption, customer_key)
    wanted = request(source)
    if not is_same_key(encryption, facts) or is_warmed(tx, source, wanted.storage_class):
        return source
    return copy_object(tx, msgspec.structs.replace(wanted, encryption=facts))


def is_warmed(view: View, source: ObjectRecord, storage_class: str) -> bool:
    """Whether a copy into a class has its bytes written anew: they are compressed, and it asks for no cold class.

    Parts stay as they are: a copy of an object in parts refers to them.
    """
    if is_cold(storage_class) or source.blob_id is None:
        return False
    return view.value("SELECT coding FROM blob WHERE id = ?", (source.blob_id,)) is not None


def copy_anew(
    store: ObjectStore,
    source: ObjectRecord,
    request: CopyRequest,
    encryption: Encryption | None,
    *,
    customer_key: bytes = b"",
) -> CopyOutcome:
    """Write the bytes of a source again, for another key or class, and give them the record of a copy. Blocks.

    The outcome is stale when the source is no longer the version that the request's `source_seq` says.
    """
    try:
        anew = store.protected.covers(request.source_bucket, request.source_key)
        again = reencrypt(store, source, 0, source.size_bytes, encryption, customer_key=customer_key, anew=anew)
    except UnavailableError as error:
        if error.kind is ErrorKind.FILE_CHANGED:
            return CopyOutcome(source, None, is_stale=True)
        raise
    try:
        outcome = store.commit(partial(copy_object, request=msgspec.structs.replace(request, reencrypted=again)))
    except UnavailableError:
        raise  # the disk failed, perhaps after the record was written: the sweep knows, once it can be read again
    except Exception:
        store.discard(again.body)
        raise
    if outcome.record is None:
        store.discard(again.body)
    return outcome


def reencrypt(
    store: ObjectStore,
    source: ObjectRecord,
    start: int,
    end: int,
    encryption: Encryption | None,
    *,
    customer_key: bytes = b"",
    anew: bool = False,
) -> Reencrypted:
    """Stage bytes start to end of a stored object again, encrypted as given; to be used or discarded.

    With `anew` the source is hashed again, whenever that was done last.
    Raises UnavailableError FILE_CHANGED when a small source was replaced meanwhile: its bytes are gone at once.
    """
    with BodyWriter(store, encryption) as writer:
        if source.blob_id is not None and start < end:
            row = store.view().row(FIND_BLOB, (source.blob_id,))
            if row is None:
                raise UnavailableError(
                    ErrorKind.FILE_CHANGED, f"{source.key!r} was replaced while it was copied: try again"
                )
            with StoredBody(store, source.key, BlobRow(*row), customer_key, anew=anew) as body:
                for data in body.chunks(start, end, CHUNK_BYTES):
                    writer.write(data)
        return Reencrypted(*writer.finish())

"""Rotation: a lake under another lake key, and blobs under the newest version of their named key.

Neither reads or writes a byte of an object. What is wrapped is wrapped again: named keys by the lake key, all in one
transaction; the keys of blobs by their named key, a batch at a time, so that it may stop and go on at any moment.
"""

from collections.abc import Callable
from functools import partial
from pathlib import Path

import msgspec

from hosu.kernel.errors import CorruptError, ErrorKind, InvalidInputError
from hosu.kernel.lakekey import LakeKey
from hosu.objects.encryption.keys import sealed_version
from hosu.objects.encryption.lakekeys import load_inside_key, rewrap_keys
from hosu.objects.encryption.sealing import DATA_KEY_CONTEXT, BlobSeal, decode_seal, encode_seal
from hosu.objects.lock import LakeLock
from hosu.objects.store import ObjectStore
from hosu.objects.transaction import Tx

BLOBS_PER_TRANSACTION = 256
"""Bounds how long the rotation holds the writer."""

BLOBS_PER_LOOK = 10_000


class Rewrapped(msgspec.Struct):
    """What a rotation has done: blobs that were wrapped again, and those that were already."""

    blobs: int = 0
    skipped: int = 0


def rewrap(lake_folder: Path, old: LakeKey, new: LakeKey) -> int:
    """Bring a lake under another lake key; return how many versions of named keys were wrapped again.

    Raises ConflictError LAKE_LOCKED while a server runs, LAKE_KEY_WRONG for another `old` than the lake is under. Once
    it returns, the lake opens with `new` alone; before, with `old` alone.
    """
    if old.fingerprint == new.fingerprint:
        raise InvalidInputError(ErrorKind.INVALID_ARGUMENT, "the new lake key is the old one: make another")
    lock = LakeLock(lake_folder)
    try:
        inside = load_inside_key(lake_folder / "meta")
        if inside is not None and inside.fingerprint == old.fingerprint:  # opening does it, the file last
            with ObjectStore(lake_folder, lake_key=new) as store:
                return int(store.view().value("SELECT count(*) FROM named_key"))
        with ObjectStore(lake_folder, lake_key=old) as store:
            return store.commit(partial(rewrap_keys, old=old, new=new))
    finally:
        lock.release()


def rewrap_blobs(store: ObjectStore, key_name: str, *, goes_on: Callable[[], bool] = lambda: True) -> Rewrapped:
    """Wrap the key of each blob that an older version of a named key wraps by its newest one; the blobs stay readable.

    May run beside anything else. It stops early when `goes_on` says no; run again, it does what is left.
    """
    report = Rewrapped()
    newest = store.keys.describe(key_name).version
    after = 0
    while goes_on():
        view = store.view()
        rows = view.rows(
            "SELECT id, sealed FROM blob WHERE id > ? AND sealed IS NOT NULL ORDER BY id LIMIT ?",
            (after, BLOBS_PER_LOOK),
        )
        if not rows:
            break
        after = rows[-1][0]
        old = []
        for blob_id, sealed in rows:
            found = decode_seal(sealed, blob_id)
            if found.key_name != key_name:
                continue
            if sealed_version(found.wrapped) >= newest:
                report.skipped += 1
            else:
                old.append(blob_id)
        for start in range(0, len(old), BLOBS_PER_TRANSACTION):
            if not goes_on():
                return report
            chunk = old[start : start + BLOBS_PER_TRANSACTION]
            report.blobs += store.commit(partial(_rewrap_chunk, store=store, key_name=key_name, blob_ids=chunk))
    return report


def _rewrap_chunk(tx: Tx, *, store: ObjectStore, key_name: str, blob_ids: list[int]) -> int:
    count = 0
    for blob_id in blob_ids:
        sealed = tx.value("SELECT sealed FROM blob WHERE id = ?", (blob_id,))
        if sealed is None:
            continue  # deleted meanwhile
        found = decode_seal(sealed, blob_id)
        data_key = store.keys.unseal(key_name, found.wrapped, DATA_KEY_CONTEXT)
        wrapped = store.keys.seal(key_name, data_key, DATA_KEY_CONTEXT)
        if store.keys.unseal(key_name, wrapped, DATA_KEY_CONTEXT) != data_key:
            raise CorruptError(ErrorKind.CORRUPT_BLOB, f"the key of blob {blob_id} does not open again")
        tx.run("UPDATE blob SET sealed = ? WHERE id = ?", (encode_seal(BlobSeal(key_name, wrapped)), blob_id))
        count += 1
    return count

"""A lake recounted: what its tables and files must say of each other, and its contents as plain values."""

from typing import Any

from blake3 import blake3

from hosu.objects.blobs import BlobRow
from hosu.objects.read import blob_row, pieces
from hosu.objects.records import BlobKind
from hosu.objects.store import ObjectStore
from hosu.objects.views import View

_CHECKS = {
    "a bucket's usage differs from a recount": """
        SELECT b.name FROM bucket b WHERE
          (object_count, object_bytes) IS NOT
            (SELECT count(*), coalesce(sum(size_bytes), 0) FROM object WHERE bucket_id = b.id)
          OR (version_count, version_bytes) IS NOT
            (SELECT count(*), coalesce(sum(size_bytes), 0) FROM version WHERE bucket_id = b.id AND NOT is_marker)
          OR marker_count <> (SELECT count(*) FROM version WHERE bucket_id = b.id AND is_marker)
          OR part_bytes <> (SELECT coalesce(sum(size_bytes), 0) FROM part JOIN upload ON part.upload = upload.id
            WHERE bucket_id = b.id)
          OR alias_count <> (SELECT count(*) FROM alias WHERE bucket_id = b.id)""",
    "a bucket's protected prefixes differ from the list": """
        SELECT name, protected FROM bucket WHERE protected <> (
          SELECT count(*) FROM lake_document, json_each(body)
          WHERE kind = 'protection' AND value ->> 'bucket' = name)""",
    "a blob's references differ from a recount": """
        WITH used AS (
          SELECT blob_id FROM object UNION ALL SELECT blob_id FROM version UNION ALL SELECT blob_id FROM part
          UNION ALL SELECT child_id FROM segment)
        SELECT id, refs FROM blob WHERE refs <> (SELECT count(*) FROM used WHERE blob_id = id)""",
    "a record refers to a blob that is not there": """
        SELECT key, blob_id FROM (
          SELECT key, blob_id FROM object UNION ALL SELECT key, blob_id FROM version UNION ALL
          SELECT number, blob_id FROM part UNION ALL SELECT start, child_id FROM segment)
        WHERE blob_id IS NOT NULL AND blob_id NOT IN (SELECT id FROM blob)""",
    "a blob nobody refers to is not on its way out": """
        SELECT id FROM blob WHERE refs = 0 AND (kind = 0 OR id NOT IN (SELECT blob_id FROM garbage))""",
    "garbage is still referred to, or gone": """
        SELECT blob_id FROM garbage WHERE blob_id NOT IN (SELECT id FROM blob WHERE refs = 0)""",
    "a record belongs to no bucket or upload": """
        SELECT 'row', bucket_id FROM (SELECT bucket_id FROM object UNION SELECT bucket_id FROM version UNION
          SELECT bucket_id FROM upload UNION SELECT bucket_id FROM alias UNION SELECT bucket_id FROM bucket_document)
        WHERE bucket_id NOT IN (SELECT id FROM bucket)
        UNION ALL SELECT 'part', upload FROM part WHERE upload NOT IN (SELECT id FROM upload)""",
    "a version is newer than the current object": """
        SELECT o.key FROM object o JOIN version v USING (bucket_id, key) WHERE v.seq >= o.seq""",
    "a key without a current object has a newest version that is no marker": """
        SELECT key FROM version v WHERE NOT is_marker
          AND seq = (SELECT max(seq) FROM version w WHERE w.bucket_id = v.bucket_id AND w.key = v.key)
          AND NOT EXISTS (SELECT 1 FROM object o WHERE o.bucket_id = v.bucket_id AND o.key = v.key)""",
    "two versions of a key have the same id": """
        SELECT key, version_id FROM (
          SELECT bucket_id, key, version_id FROM object UNION ALL SELECT bucket_id, key, version_id FROM version)
        GROUP BY bucket_id, key, version_id HAVING count(*) > 1""",
    "a version has no event of its own": """
        SELECT key, seq FROM (SELECT key, seq FROM object UNION ALL SELECT key, seq FROM version)
        WHERE seq >= (SELECT min(seq) FROM event) AND seq NOT IN (SELECT seq FROM event)""",
}


def find_faults(store: ObjectStore) -> list[str]:
    """Return what is wrong with a lake that nobody writes to; nothing, unless the engine has lost something."""
    view = store.view()
    with view.snapshot():
        faults = [f"{name}: {row}" for name, statement in _CHECKS.items() for row in view.rows(statement)]
        faults += [
            f"the database is damaged: {row[0]}" for row in view.rows("PRAGMA integrity_check") if row[0] != "ok"
        ]
        for (blob_id,) in view.rows("SELECT id FROM blob"):
            fault = _blob_fault(store, view, blob_row(view, blob_id))
            faults += [] if fault is None else [f"blob {blob_id}: {fault}"]
    return faults


def _blob_fault(store: ObjectStore, view: View, blob: BlobRow) -> str | None:
    if blob.kind == BlobKind.COMPOSED:
        sizes_bytes = sum(piece.size_bytes for piece in pieces(view, blob, 0, blob.size_bytes))
        # One that waits for the sweep may have given up its segments already.
        is_live = view.value("SELECT refs FROM blob WHERE id = ?", (blob.id,)) > 0
        return f"segments make {sizes_bytes} bytes" if is_live and sizes_bytes != blob.size_bytes else None
    if blob.kind == BlobKind.FILE and not store.files.path(blob.id).exists():
        return "its file is missing"
    content = _stored_bytes(store, blob)
    if len(content) != blob.stored_bytes:
        return f"{len(content)} bytes, not {blob.stored_bytes}"
    return None if blake3(content).digest() == blob.digest else "its bytes do not match the hash"


def _stored_bytes(store: ObjectStore, blob: BlobRow) -> bytes:
    return (blob.body or b"") if blob.kind == BlobKind.INLINE else store.files.path(blob.id).read_bytes()


def read_blob(store: ObjectStore, view: View, blob: BlobRow) -> bytes:
    """Return the bytes of a blob; unchecked, unless they are stored encrypted or compressed.

    Of one that a client's key encrypts there is only the size.
    """
    if blob.kind == BlobKind.COMPOSED:
        found = pieces(view, blob, 0, blob.size_bytes)
        return b"".join(read_blob(store, view, it.blob)[it.start : it.start + it.size_bytes] for it in found)
    if blob.sealed is None and blob.coding is None:
        return _stored_bytes(store, blob)
    if blob.sealed is not None and not store.keys.opens(blob.sealed, blob.id):
        return b"?" * blob.size_bytes
    if blob.kind == BlobKind.INLINE:
        return store.inline_bytes(blob)
    opened = store.open_file(blob)
    try:
        return opened.read(0, blob.size_bytes)
    finally:
        opened.close()


def find_orphans(store: ObjectStore) -> set[int]:
    """Return the ids of the blob files that no record knows."""
    known = {row[0] for row in store.view().rows("SELECT id FROM blob WHERE kind = 1")}
    return {int(path.name, 16) for path in store.files.root.glob("*/*")} - known


def read_contents(store: ObjectStore) -> dict[str, Any]:
    """Return all that users of a lake can see, ids cut to the part that is not chance."""
    view = store.view()
    with view.snapshot():
        names = dict(view.rows("SELECT id, name FROM bucket ORDER BY id"))
        blobs = {row[0]: read_blob(store, view, blob_row(view, row[0])) for row in view.rows("SELECT id FROM blob")}
        versions = view.rows(
            "SELECT bucket_id, key, 0, seq, version_id, etag, blob_id, attributes, storage_class FROM object UNION ALL "
            "SELECT bucket_id, key, is_marker, seq, version_id, etag, blob_id, attributes, storage_class FROM version "
            "ORDER BY 1, 2, 4"
        )
        parts = view.rows(
            "SELECT key, upload_id, number, blob_id FROM upload LEFT JOIN part ON upload = id ORDER BY id, number"
        )
        return {
            "buckets": view.rows("SELECT name, versioning, quota_bytes FROM bucket ORDER BY name"),
            "versions": [(names[it[0]], *it[1:4], it[4][:16], it[5], blobs.get(it[6]), *it[7:]) for it in versions],
            "uploads": [(it[0], it[1][:16], it[2], blobs.get(it[3])) for it in parts],
            "aliases": view.rows("SELECT prefix, target FROM alias ORDER BY bucket_id, prefix"),
            "events": [row[0] for row in view.rows("SELECT kind FROM event ORDER BY seq")],
        }

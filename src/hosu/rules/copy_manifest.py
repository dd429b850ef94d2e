"""The list of objects that stands beside their second copies, so that they could be rebuilt by hand."""

from base64 import b64encode
from collections.abc import Sequence

import msgspec

from hosu.objects.blobs import FILE_COLUMNS, BlobRow
from hosu.objects.store import ObjectStore
from hosu.objects.views import View
from hosu.rules.copies import versions_below
from hosu.rules.copy_places import Place


def write_manifest(store: ObjectStore, place: Place, bucket: str, prefixes: Sequence[str]) -> int:
    """Write the list of a bucket's objects whose copies are in a location: one line of JSON each. Return how many."""
    view, count = store.view(), 0
    with place.files.open_write(f"manifest/{bucket}.jsonl") as writer:
        for prefix in prefixes:
            for table, (key, version_id, _) in versions_below(view, bucket, prefix):
                line = _manifest_line(view, bucket, key, version_id, table)
                if line is not None:
                    writer.write(line)
                    count += 1
    return count


def _manifest_line(view: View, bucket: str, key: str, version_id: str, table: str) -> bytes | None:
    with view.snapshot():
        row = view.row(
            "SELECT record.size_bytes, etag, modified_ms, storage_class, blob_id, attributes "
            f"FROM {table} AS record JOIN bucket ON bucket.id = bucket_id "
            "WHERE name = ? AND key = ? AND version_id = ?",
            (bucket, key, version_id),
        )
        if row is None:
            return None
        size_bytes, etag, modified_ms, storage_class, blob_id, attributes = row
        pieces = view.rows(
            "SELECT child_id, child_start, size_bytes FROM segment WHERE blob_id = ? ORDER BY start", (blob_id,)
        ) or [(blob_id, 0, size_bytes)]
        blobs = [_piece(view, *piece) for piece in pieces]
    fields = {
        "key": key, "version_id": version_id, "is_latest": table == "object", "size_bytes": size_bytes, "etag": etag,
        "modified_ms": modified_ms, "storage_class": storage_class, "pieces": blobs,
        "attributes": _readable(attributes),
    }  # fmt: skip
    return msgspec.json.encode(fields) + b"\n"


def _readable(attributes: str) -> msgspec.Raw:
    try:
        msgspec.json.decode(attributes)
    except msgspec.MsgspecError:  # `hosu doctor` names it; the bytes are worth their line all the same
        return msgspec.Raw(b"{}")
    return msgspec.Raw(attributes.encode())


def _piece(view: View, blob_id: int, start: int, size_bytes: int) -> dict[str, object]:
    row = view.row(f"SELECT {FILE_COLUMNS} FROM blob WHERE id = ?", (blob_id,))
    if row is None:
        return {"hash": "", "start": start, "size_bytes": size_bytes}
    blob = BlobRow(*row)
    piece: dict[str, object] = {"hash": (blob.digest or b"").hex(), "start": start, "size_bytes": size_bytes}
    if blob.coding:
        piece["coding"] = blob.coding
    if blob.sealed is not None:
        piece["sealed"] = b64encode(blob.sealed).decode()
    return piece

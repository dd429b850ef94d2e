"""A lake as a backup has to give it back: every row and byte, but for what belongs to the machine it is on."""

from typing import Any

from hosu.objects.read import blob_row
from hosu.objects.records import BlobKind
from hosu.objects.store import ObjectStore
from hosu.objects.views import View
from hosu.rules.backup.tables import BLOB_FACTS_LEFT_OUT, columns_of, whole_tables
from hosu.testing.lake_check import read_blob

REACHABLE = """
WITH RECURSIVE reachable (id) AS (
  SELECT blob_id FROM object WHERE blob_id IS NOT NULL UNION SELECT blob_id FROM version WHERE blob_id IS NOT NULL
  UNION SELECT child_id FROM segment JOIN reachable ON segment.blob_id = reachable.id)
"""


def dump(store: ObjectStore) -> dict[str, Any]:
    """Return all that a restored lake must have in common with the lake at the moment of a snapshot."""
    view = store.view()
    with view.snapshot():
        found: dict[str, Any] = {table: _rows(view, table) for table in ("object", "version")}
        for table in whole_tables(view):
            if table not in {"counter", "sqlite_sequence", "lake_document"}:
                found[table] = _rows(view, table, leaving_out=("part_bytes",))
        facts = [name for name in columns_of(view, "blob").names if name not in BLOB_FACTS_LEFT_OUT]
        columns = ", ".join(f"blob.{name}" for name in facts)
        found["blob"] = view.rows(f"{REACHABLE} SELECT {columns} FROM blob JOIN reachable USING (id) ORDER BY blob.id")
        found["segment"] = view.rows(
            f"{REACHABLE} SELECT segment.* FROM segment JOIN reachable ON blob_id = reachable.id "
            "ORDER BY blob_id, start"
        )
        found["sequences"] = view.rows("SELECT name, seq FROM sqlite_sequence ORDER BY name")
        found["bytes"] = {row[0]: _bytes(store, view, row[0]) for row in found["blob"]}
        return found


def _rows(view: View, table: str, leaving_out: tuple[str, ...] = ()) -> list[tuple[Any, ...]]:
    names = ", ".join(name for name in columns_of(view, table).names if name not in leaving_out)
    return sorted(view.rows(f"SELECT {names} FROM {table}"), key=repr)


def _bytes(store: ObjectStore, view: View, blob_id: int) -> bytes:
    row = blob_row(view, blob_id)
    if row.kind == BlobKind.INLINE:
        return row.body or b""
    return store.files.path(blob_id).read_bytes() if row.kind == BlobKind.FILE else read_blob(store, view, row)

"""What the doctor looks for between records and bytes: blobs that are missing, incomplete, or of another size."""

import hashlib
import re
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Final

from blake3 import blake3

from hosu.objects.blobs import READ_BYTES, BlobRow
from hosu.objects.read import FIND_BLOB
from hosu.objects.records import BlobKind
from hosu.objects.store import ObjectStore
from hosu.objects.transaction import Tx
from hosu.objects.versions import find_version, remove
from hosu.objects.views import View
from hosu.rules.doctor import PRINCIPAL, Check, Row, Told

_MD5 = re.compile(r"[0-9a-f]{32}")


def _statement(text: str) -> Callable[[View], Iterable[Row]]:
    return lambda view: view.rows(text)


# Records whose blob has no record

_LOST: Final = """
  SELECT 'object', o.bucket_id, key, name, version_id, seq, etag, attributes, blob_id
    FROM object o JOIN bucket ON bucket.id = o.bucket_id
    WHERE blob_id IS NOT NULL AND blob_id NOT IN (SELECT id FROM blob)
  UNION ALL SELECT 'version', v.bucket_id, key, name, version_id, seq, etag, attributes, blob_id
    FROM version v JOIN bucket ON bucket.id = v.bucket_id
    WHERE blob_id IS NOT NULL AND blob_id NOT IN (SELECT id FROM blob)"""


def _tell_lost(store: ObjectStore, row: Row) -> Told:
    _, _, key, name, version_id, _, etag, attributes, blob_id = row
    where = f"{name}/{key}" + ("" if version_id == "null" else f" (version {version_id})")
    what = f"its bytes, blob {blob_id}, have no record"
    if _proved_by_etag(store.files.path(blob_id), etag, attributes):
        return Told(where, what, "makes the record again: the file is there and matches the ETag", loses=False)
    return Told(where, what, loses=True)


def _readopt(tx: Tx, row: Row) -> str:
    """Make a blob's record again from its file, if the ETag of an object proves that these are the bytes."""
    _, _, key, _, _, _, etag, attributes, blob_id = row
    if tx.value("SELECT 1 FROM blob WHERE id = ?", (blob_id,)):
        return "the record of its bytes was made again for another version"
    path = tx.effects.files.path(blob_id)
    proved = _proved_by_etag(path, etag, attributes)
    if proved is None:
        return ""
    digest, size_bytes = proved
    facts = path.stat()
    tx.run(
        "INSERT INTO blob (id, kind, is_corrupt, refs, size_bytes, hash, verified_ms, inode, ctime_ns) "
        "VALUES (?, 1, 0, 1, ?, ?, ?, ?, ?)",
        (blob_id, size_bytes, digest, tx.now_ms, facts.st_ino, facts.st_ctime_ns),
    )
    return f"made the record of blob {blob_id} again from its file, which matches the ETag of {key!r}"


def _proved_by_etag(path: Path, etag: str, attributes: str) -> tuple[bytes, int] | None:
    """Return (BLAKE3, size) of a file that an ETag proves to be an object's plain bytes; None where it does not."""
    if not _MD5.fullmatch(etag) or '"encryption":' in attributes:
        return None
    md5, digest, size_bytes = hashlib.md5(usedforsecurity=False), blake3(), 0
    try:
        with path.open("rb") as file:
            while piece := file.read(READ_BYTES):
                md5.update(piece)
                digest.update(piece)
                size_bytes += len(piece)
    except OSError:
        return None
    return (digest.digest(), size_bytes) if md5.hexdigest() == etag else None


def _remove_record(tx: Tx, row: Row) -> str:
    """Remove a version whose bytes cannot be had any more."""
    bucket_id, key, name, version_id = row[1:5]
    record = find_version(tx, bucket_id, key, version_id)
    if record is None:
        return "it was removed with another of its faults"
    remove(tx, tx.bucket(name), record, actor=PRINCIPAL)
    return f"removed version {version_id} of {key!r}, whose bytes are lost"


# Composed blobs

_BROKEN: Final = """
  WITH broken AS (
    SELECT blob_id FROM (
      SELECT blob_id, start, lag(start + size_bytes, 1, 0) OVER (PARTITION BY blob_id ORDER BY start) AS expected
      FROM segment) WHERE start <> expected
    UNION SELECT s.blob_id FROM segment s LEFT JOIN blob c ON c.id = child_id
      WHERE c.id IS NULL OR child_start + s.size_bytes > c.size_bytes
    UNION SELECT b.id FROM blob b WHERE kind = 2 AND refs > 0
      AND b.size_bytes <> (SELECT coalesce(sum(s.size_bytes), 0) FROM segment s WHERE s.blob_id = b.id))
  SELECT table_name, r.bucket_id, key, name, version_id, r.blob_id FROM (
    SELECT 'object' AS table_name, bucket_id, key, version_id, blob_id FROM object
    UNION ALL SELECT 'version', bucket_id, key, version_id, blob_id FROM version) r
  JOIN broken ON broken.blob_id = r.blob_id JOIN bucket ON bucket.id = r.bucket_id"""
_STRAY: Final = """
  SELECT s.blob_id, start, child_id FROM segment s LEFT JOIN blob b ON b.id = s.blob_id
  WHERE b.id IS NULL OR b.kind <> 2"""


def _mend_stray(tx: Tx, row: Row) -> str:
    blob_id, start, child_id = row
    tx.drop_reference(child_id)
    tx.run("DELETE FROM segment WHERE blob_id = ? AND start = ?", (blob_id, start))
    return f"removed a segment of blob {blob_id}, which is not there"


# Sizes

_SIZES: Final = """
  SELECT table_name, r.bucket_id, key, name, version_id, seq, r.size_bytes, b.size_bytes, b.id FROM (
    SELECT 'object' AS table_name, bucket_id, key, version_id, seq, size_bytes, blob_id FROM object
    UNION ALL SELECT 'version', bucket_id, key, version_id, seq, size_bytes, blob_id FROM version WHERE NOT is_marker) r
  JOIN blob b ON b.id = r.blob_id JOIN bucket ON bucket.id = r.bucket_id WHERE b.size_bytes <> r.size_bytes"""


def _mend_size(tx: Tx, row: Row) -> str:
    """Have record and blob say the size that the bytes have, which their hash vouches for."""
    table, bucket_id, key, _name, _version_id, seq, _, _, blob_id = row
    found = tx.row(FIND_BLOB, (blob_id,))
    size_bytes = None if found is None else _true_size(tx, BlobRow(*found))
    if size_bytes is None:
        return ""
    tx.run("UPDATE blob SET size_bytes = ? WHERE id = ?", (size_bytes, blob_id))
    statement = f"UPDATE {table} SET size_bytes = ? WHERE bucket_id = ? AND key = ? AND seq = ?"
    tx.run(statement, (size_bytes, bucket_id, key, seq))
    return f"{key!r} has {size_bytes} bytes, as its hash says"


def _true_size(view: Tx, blob: BlobRow) -> int | None:
    """Return how many bytes a blob has, if that can be proved."""
    if blob.kind == BlobKind.COMPOSED:
        total: int | None = view.value("SELECT sum(size_bytes) FROM segment WHERE blob_id = ?", (blob.id,))
        return total
    if blob.sealed is not None or blob.coding is not None:
        return None
    digest, size_bytes = blake3(), 0
    try:
        for piece in _pieces(view, blob):
            digest.update(piece)
            size_bytes += len(piece)
    except OSError:
        return None
    return size_bytes if digest.digest() == blob.digest else None


def _pieces(tx: Tx, blob: BlobRow) -> Iterator[bytes]:
    if blob.kind == BlobKind.INLINE:
        yield blob.body or b""
        return
    with tx.effects.files.path(blob.id).open("rb") as file:
        while piece := file.read(READ_BYTES):
            yield piece


# Blobs whose own row says something wrong about bytes that are right

_SUSPECTS: Final = """
  SELECT b.id, key, name, etag, attributes FROM blob b JOIN (
    SELECT bucket_id, key, etag, attributes, blob_id FROM object
    UNION ALL SELECT bucket_id, key, etag, attributes, blob_id FROM version) r ON r.blob_id = b.id
  JOIN bucket ON bucket.id = r.bucket_id
  WHERE b.kind = 1 AND b.is_corrupt = 1 AND b.sealed IS NULL AND b.coding IS NULL GROUP BY b.id"""


def _find_wrong_hashes(path: Callable[[int], Path]) -> Callable[[View], list[Row]]:
    def find(view: View) -> list[Row]:
        proved = [(row, _proved_by_etag(path(row[0]), *row[3:])) for row in view.rows(_SUSPECTS)]
        return [(*row[:3], *found) for row, found in proved if found is not None]

    return find


def _mend_hash(tx: Tx, row: Row) -> str:
    blob_id, key, _name, digest, size_bytes = row
    tx.run(
        "UPDATE blob SET hash = ?, size_bytes = ?, is_corrupt = 0, verified_ms = 0 WHERE id = ?",
        (digest, size_bytes, blob_id),
    )
    return f"the bytes of blob {blob_id} match the ETag of {key!r}: the hash beside them was wrong, and is right now"


def blob_checks(store: ObjectStore) -> tuple[Check, ...]:
    """Return the checks of a store's blobs, in the order in which they are repaired."""
    return (
        Check(
            kind="blob-missing",
            find=_statement(_LOST),
            tell=_tell_lost,
            why="every read of the object fails",
            repair="gives the version up; a restore from a backup may still have it",
            mend=_readopt,
            give_up=_remove_record,
        ),
        Check(
            kind="parts-broken",
            find=_statement(_BROKEN),
            tell=lambda _, row: Told(f"{row[3]}/{row[2]}", f"blob {row[5]}, its bytes, lacks some of its parts"),
            why="reads of the object fail, or end too soon",
            repair="gives the version up; a restore from a backup may still have it",
            give_up=_remove_record,
        ),
        Check(
            kind="segment-stray",
            find=_statement(_STRAY),
            tell=lambda _, row: Told(f"blob {row[0]}", "it has segments, and is no object made of parts"),
            why="they keep bytes that nobody can read",
            repair="removes them",
            mend=_mend_stray,
        ),
        Check(
            kind="blob-hash",
            find=_find_wrong_hashes(store.files.path),
            tell=lambda _, row: Told(f"{row[2]}/{row[1]}", f"blob {row[0]} matches the ETag, and not its own hash"),
            why="the bytes are right and are refused",
            repair="records the hash that the bytes have",
            mend=_mend_hash,
        ),
        Check(
            kind="size",
            find=_statement(_SIZES),
            tell=lambda _, row: Told(
                f"{row[3]}/{row[2]}", f"its record says {row[6]} bytes, and the one of blob {row[8]} {row[7]}"
            ),
            why="clients are promised another number of bytes than they get",
            repair="sets both to what the hash vouches for",
            mend=_mend_size,
        ),
    )

"""What the doctor looks for in the records: counts, references, buckets, versions and numbers."""

from collections.abc import Callable, Iterable
from itertools import chain, count
from typing import Final

import msgspec

from hosu.objects.blobs import IDS_PER_DIRECTORY
from hosu.objects.protected import list_protected
from hosu.objects.records import NULL_VERSION, BlobKind, Versioning, decode_attributes
from hosu.objects.schema import VERSION_COLUMNS
from hosu.objects.store import ObjectStore
from hosu.objects.transaction import Tx
from hosu.objects.versions import new_version_id, newest, seq_of
from hosu.objects.views import View
from hosu.rules.doctor import PRINCIPAL, Check, Row, Told

RECOVERED: Final = "recovered-"
"""Name of a bucket that is made again, before its number."""


def _statement(text: str) -> Callable[[View], Iterable[Row]]:
    return lambda view: view.rows(text)


# Counts

_COUNTED = """
  SELECT b.id, b.name FROM bucket b
  LEFT JOIN (SELECT bucket_id, count(*) AS n, sum(size_bytes) AS s FROM object GROUP BY 1) o ON o.bucket_id = b.id
  LEFT JOIN (SELECT bucket_id, sum(NOT is_marker) AS n, sum(iif(is_marker, 0, size_bytes)) AS s, sum(is_marker) AS m
    FROM version GROUP BY 1) v ON v.bucket_id = b.id
  LEFT JOIN (SELECT bucket_id, sum(size_bytes) AS s FROM part JOIN upload ON part.upload = upload.id GROUP BY 1) p
    ON p.bucket_id = b.id
  LEFT JOIN (SELECT bucket_id, count(*) AS n FROM alias GROUP BY 1) a ON a.bucket_id = b.id
  WHERE (object_count, object_bytes, version_count, version_bytes, marker_count, part_bytes, alias_count) IS NOT
    (coalesce(o.n, 0), coalesce(o.s, 0), coalesce(v.n, 0), coalesce(v.s, 0), coalesce(v.m, 0), coalesce(p.s, 0),
     coalesce(a.n, 0))"""


def _mend_usage(tx: Tx, row: Row) -> str:
    tx.run(
        """UPDATE bucket SET
          (object_count, object_bytes) =
            (SELECT count(*), coalesce(sum(size_bytes), 0) FROM object WHERE bucket_id = bucket.id),
          (version_count, version_bytes, marker_count) = (SELECT coalesce(sum(NOT is_marker), 0),
            coalesce(sum(iif(is_marker, 0, size_bytes)), 0), coalesce(sum(is_marker), 0)
            FROM version WHERE bucket_id = bucket.id),
          part_bytes = (SELECT coalesce(sum(size_bytes), 0) FROM part JOIN upload ON part.upload = upload.id
            WHERE bucket_id = bucket.id),
          alias_count = (SELECT count(*) FROM alias WHERE bucket_id = bucket.id)
        WHERE id = ?""",
        (row[0],),
    )
    tx.forget_bucket(row[1])
    tx.change_access()
    return f"counted what bucket {row[1]} holds"


def _wrong_protected(view: View) -> list[Row]:
    entries = list_protected(view)
    counts = {entry.bucket: sum(it.bucket == entry.bucket for it in entries) for entry in entries}
    rows = view.rows("SELECT id, name, protected FROM bucket")
    return [(*row, counts.get(row[1], 0)) for row in rows if row[2] != counts.get(row[1], 0)]


def _mend_protected(tx: Tx, row: Row) -> str:
    tx.run("UPDATE bucket SET protected = ? WHERE id = ?", (row[3], row[0]))
    tx.forget_bucket(row[1])
    tx.change_access()
    return f"counted the protected prefixes of bucket {row[1]}"


# References

_USED = """
  WITH used AS (SELECT blob_id, count(*) AS n FROM (
    SELECT blob_id FROM object UNION ALL SELECT blob_id FROM version UNION ALL SELECT blob_id FROM part
    UNION ALL SELECT child_id FROM segment) WHERE blob_id IS NOT NULL GROUP BY blob_id)"""
_REFERENCES = f"""{_USED}
  SELECT id, kind, refs, coalesce(n, 0) FROM blob LEFT JOIN used ON blob_id = id WHERE refs <> coalesce(n, 0)"""


def _mend_references(tx: Tx, row: Row) -> str:
    blob_id, kind, refs, counted = row
    if counted == 0 and kind == BlobKind.INLINE:
        tx.run("DELETE FROM blob WHERE id = ?", (blob_id,))
        return f"removed blob {blob_id}, which nothing refers to"
    tx.run("UPDATE blob SET refs = ? WHERE id = ?", (counted, blob_id))
    if counted:
        tx.run("DELETE FROM garbage WHERE blob_id = ?", (blob_id,))
    else:
        tx.run("INSERT OR REPLACE INTO garbage VALUES (?, ?)", (blob_id, tx.now_ms))
    return f"blob {blob_id} has {counted} references, not {refs}"


def _mend_unreferenced(tx: Tx, row: Row) -> str:
    blob_id, kind = row
    if kind == BlobKind.INLINE:
        tx.run("DELETE FROM blob WHERE id = ?", (blob_id,))
    else:
        tx.run("INSERT OR REPLACE INTO garbage VALUES (?, ?)", (blob_id, tx.now_ms))
    return f"gave blob {blob_id}, which nothing refers to, to the sweep"


def _mend_garbage(tx: Tx, row: Row) -> str:
    tx.run("DELETE FROM garbage WHERE blob_id = ?", (row[0],))
    return f"took blob {row[0]} back from the sweep"


# Buckets and uploads


_BUCKETLESS = """
  SELECT bucket_id, count(*) FROM (SELECT bucket_id FROM object UNION ALL SELECT bucket_id FROM version
    UNION ALL SELECT bucket_id FROM upload) WHERE bucket_id NOT IN (SELECT id FROM bucket) GROUP BY 1"""


def _mend_bucketless(tx: Tx, row: Row) -> str:
    """Make the bucket again: under the name that events tell, with versions on if its objects have ids."""
    (bucket_id, *_) = row
    seqs = "SELECT seq FROM object WHERE bucket_id = ?1 UNION ALL SELECT seq FROM version WHERE bucket_id = ?1"
    told = tx.value(f"SELECT bucket FROM event WHERE seq IN ({seqs}) AND bucket <> '' LIMIT 1", (bucket_id,))
    names = chain(
        [told] if told else [], [f"{RECOVERED}{bucket_id}"], (f"{RECOVERED}{bucket_id}-{n}" for n in count(2))
    )
    name = next(name for name in names if not tx.value("SELECT 1 FROM bucket WHERE name = ?", (name,)))
    has_ids = f"SELECT 1 FROM object WHERE bucket_id = ?1 AND version_id <> '{NULL_VERSION}'"
    has_versions = bool(
        tx.value(f"{has_ids} UNION ALL SELECT 1 FROM version WHERE bucket_id = ?1 LIMIT 1", (bucket_id,))
    )
    tx.run(
        "INSERT INTO bucket (id, name, created_ms, region, versioning, alias_count, object_count, object_bytes, "
        "version_count, version_bytes, marker_count, part_bytes, quota_bytes, owner, lock, protected) "
        "VALUES (?, ?, ?, '', ?, 0, 0, 0, 0, 0, 0, 0, 0, '', '', 0)",
        (bucket_id, name, tx.now_ms, int(Versioning.ENABLED if has_versions else Versioning.NEVER)),
    )
    tx.change_access()
    tx.record_event(tx.next_seq(), "BucketCreated", name, "", "", 0, "", PRINCIPAL)
    return f"made bucket {name} again"


_LEFTOVERS: Final = ("alias", "alias_switch", "bucket_document")
_LEFT = " UNION ALL ".join(
    f"SELECT '{table}', bucket_id, count(*) FROM {table} WHERE bucket_id NOT IN (SELECT id FROM bucket) "
    "GROUP BY bucket_id"
    for table in _LEFTOVERS
)


def _mend_leftover(tx: Tx, row: Row) -> str:
    table, bucket_id, count = row
    assert table in _LEFTOVERS
    tx.run(f"DELETE FROM {table} WHERE bucket_id = ?", (bucket_id,))
    return f"removed {count} rows of {table} that belong to no bucket"


def _mend_part(tx: Tx, row: Row) -> str:
    upload, number, blob_id = row
    tx.drop_reference(blob_id)
    tx.run("DELETE FROM part WHERE upload = ? AND number = ?", (upload, number))
    return f"removed part {number} of an upload that is not there"


# Versions


_NUMBERS = " UNION ALL ".join(
    f"""
  SELECT '{table}', r.bucket_id, key, name, seq, version_id FROM {table} r JOIN bucket ON bucket.id = r.bucket_id
  WHERE length(version_id) = 32 AND version_id NOT GLOB '*[^0-9a-f]*'
    AND substr(version_id, 1, 16) <> printf('%016x', seq)
    AND NOT EXISTS (SELECT 1 FROM version o WHERE o.bucket_id = r.bucket_id AND o.key = r.key
      AND printf('%016x', o.seq) = substr(r.version_id, 1, 16))
    AND NOT EXISTS (SELECT 1 FROM object o WHERE o.bucket_id = r.bucket_id AND o.key = r.key
      AND printf('%016x', o.seq) = substr(r.version_id, 1, 16))"""
    for table in ("object", "version")
)


def _mend_number(tx: Tx, row: Row) -> str:
    table, bucket_id, key, _name, seq, version_id = row
    told = seq_of(version_id)
    tx.run(f"UPDATE {table} SET seq = ? WHERE bucket_id = ? AND key = ? AND seq = ?", (told, bucket_id, key, seq))
    return f"version {version_id} of {key!r} has the order {told} that its id tells, not {seq}"


_ORDER = """
  SELECT o.bucket_id, o.key, name, o.seq, max(v.seq) FROM object o JOIN version v USING (bucket_id, key)
  JOIN bucket ON bucket.id = o.bucket_id WHERE v.seq >= o.seq GROUP BY 1, 2"""


def _mend_order(tx: Tx, row: Row) -> str:
    """Have the newest version be the current one, unless it is a marker, which hides all of them."""
    bucket_id, key, name, seq, newest_seq = row
    _make_room(tx, bucket_id, key, seq)
    tx.run(
        f"INSERT INTO version SELECT bucket_id, key, 0, {VERSION_COLUMNS} FROM object WHERE bucket_id = ? AND key = ?",
        (bucket_id, key),
    )
    tx.run("DELETE FROM object WHERE bucket_id = ? AND key = ?", (bucket_id, key))
    _promote(tx, bucket_id, key)
    tx.record_event(tx.next_seq(), "ObjectMetadata:Repaired", name, key, "", 0, "", PRINCIPAL)
    return f"made version {newest_seq:016x} of {key!r} the newest one"


def _make_room(tx: Tx, bucket_id: int, key: str, seq: int) -> None:
    """Have no version stand where the current one is about to be put: the same one goes, another moves down."""
    where = "bucket_id = ? AND key = ? AND seq = ?"
    same = tx.row(f"SELECT version_id, blob_id, etag FROM version WHERE {where}", (bucket_id, key, seq))
    if same is None:
        return
    if same == tx.row(f"SELECT version_id, blob_id, etag FROM object WHERE {where}", (bucket_id, key, seq)):
        tx.run(f"DELETE FROM version WHERE {where}", (bucket_id, key, seq))
        return
    free = seq - 1
    while tx.value(f"SELECT 1 FROM version WHERE {where}", (bucket_id, key, free)):
        free -= 1
    tx.run(f"UPDATE version SET seq = ? WHERE {where}", (free, bucket_id, key, seq))


_HIDDEN = """
  SELECT v.bucket_id, v.key, name, v.seq FROM version v JOIN bucket ON bucket.id = v.bucket_id WHERE NOT v.is_marker
    AND v.seq = (SELECT max(seq) FROM version w WHERE w.bucket_id = v.bucket_id AND w.key = v.key)
    AND NOT EXISTS (SELECT 1 FROM object o WHERE o.bucket_id = v.bucket_id AND o.key = v.key)"""


def _mend_hidden(tx: Tx, row: Row) -> str:
    bucket_id, key, name, _seq = row
    _promote(tx, bucket_id, key)
    tx.record_event(tx.next_seq(), "ObjectMetadata:Repaired", name, key, "", 0, "", PRINCIPAL)
    return f"made the newest version of {key!r} current"


def _promote(tx: Tx, bucket_id: int, key: str) -> None:
    found = newest(tx, bucket_id, key)
    if found is None or found.is_marker:
        return
    tx.run(
        f"INSERT INTO object SELECT bucket_id, key, {VERSION_COLUMNS} FROM version "
        "WHERE bucket_id = ? AND key = ? AND seq = ?",
        (bucket_id, key, found.seq),
    )
    tx.run("DELETE FROM version WHERE bucket_id = ? AND key = ? AND seq = ?", (bucket_id, key, found.seq))


_SAME = """
  SELECT bucket_id, key, name, version_id FROM (
    SELECT bucket_id, key, version_id FROM object UNION ALL SELECT bucket_id, key, version_id FROM version)
  JOIN bucket ON bucket.id = bucket_id
  GROUP BY bucket_id, key, version_id HAVING count(*) > 1"""


def _mend_same(tx: Tx, row: Row) -> str:
    """Give all but the newest of the versions with one id ids of their own."""
    bucket_id, key, _name, version_id = row
    where = "bucket_id = ? AND key = ? AND version_id = ?"
    found = [
        (seq, table)
        for table in ("object", "version")
        for (seq,) in tx.rows(f"SELECT seq FROM {table} WHERE {where}", (bucket_id, key, version_id))
    ]
    for seq, table in sorted(found)[:-1]:
        statement = f"UPDATE {table} SET version_id = ? WHERE {where} AND seq = ?"
        tx.run(statement, (new_version_id(seq), bucket_id, key, version_id, seq))
    return f"all but the newest of {len(found)} versions {version_id} of {key!r} have new ids"


def _unreadable(view: View) -> list[Row]:
    """Return the records whose attributes are not what this hosu writes."""
    found: list[Row] = []
    for table in ("object", "version"):
        statement = f"SELECT bucket_id, key, name, seq, attributes FROM {table} JOIN bucket ON bucket.id = bucket_id"
        found += [(table, *row[:4]) for row in view.each(statement) if not _is_readable(row[4])]
    return found


def _is_readable(attributes: str) -> bool:
    try:
        decode_attributes(attributes)
    except (msgspec.MsgspecError, UnicodeError):
        return False
    return True


def _mend_attributes(tx: Tx, row: Row) -> str:
    table, bucket_id, key, _name, seq = row
    statement = f"UPDATE {table} SET attributes = '{{}}' WHERE bucket_id = ? AND key = ? AND seq = ?"
    tx.run(statement, (bucket_id, key, seq))
    return f"gave up the content headers, metadata and tags of {key!r}, which could not be read"


# Numbers

_BLOB_NUMBER = """
  SELECT coalesce((SELECT value FROM counter WHERE name = 'blob'), 0) AS reserved, max(id) AS used FROM blob
  HAVING used >= reserved"""


def _mend_blob_number(tx: Tx, row: Row) -> str:
    end = (int(row[1]) // IDS_PER_DIRECTORY + 1) * IDS_PER_DIRECTORY
    tx.run("INSERT OR REPLACE INTO counter (name, value) VALUES ('blob', ?)", (end,))
    return f"blobs are numbered from {end} on"


_EVENT_NUMBER = """
  SELECT coalesce((SELECT max(seq) FROM event), 0) AS last, max(seq) AS used FROM (
    SELECT max(seq) AS seq FROM object UNION ALL SELECT max(seq) FROM version UNION ALL
    SELECT max(seq) FROM alias UNION ALL SELECT max(seq) FROM alias_switch) HAVING used > last"""


def _mend_event_number(tx: Tx, row: Row) -> str:
    seq = int(row[1]) + 1
    tx.record_event(seq, "LakeRepaired", "", "", "", 0, "", PRINCIPAL)
    return f"changes are numbered from {seq} on"


_DOCUMENTS = "SELECT kind FROM lake_document WHERE NOT json_valid(body)"
_ALIAS_TARGETS = """
  SELECT name, a.prefix, a.target FROM alias a JOIN bucket ON bucket.id = a.bucket_id WHERE NOT EXISTS (
    SELECT 1 FROM object o WHERE o.bucket_id = a.bucket_id AND o.key >= a.target
      AND substr(o.key, 1, length(a.target)) = a.target)"""


def _tell(text: Callable[[Row], tuple[str, str]]) -> Callable[[ObjectStore, Row], Told]:
    return lambda _, row: Told(*text(row))


RECORD_CHECKS: Final = (
    Check(
        kind="blob-numbers",
        find=_statement(_BLOB_NUMBER),
        tell=_tell(lambda row: ("counter blob", f"the next blob would be {row[0]}, and {row[1]} is used")),
        why="new bytes would be refused, or take the place of others",
        repair="goes on behind the last one used",
        mend=_mend_blob_number,
    ),
    Check(
        kind="event-numbers",
        find=_statement(_EVENT_NUMBER),
        tell=_tell(lambda row: ("table event", f"the last change is {row[0]}, and records go up to {row[1]}")),
        why="new versions would count as older than those that are there",
        repair="goes on behind the last one used",
        mend=_mend_event_number,
    ),
    Check(
        kind="bucket-missing",
        find=_statement(_BUCKETLESS),
        tell=_tell(lambda row: (f"bucket {row[0]}", f"{row[1]} records belong to a bucket that has none itself")),
        why="nobody can name these objects, so nobody can read or remove them",
        repair=f"makes the bucket again, under the name that events tell or as {RECOVERED}N; its settings are lost",
        mend=_mend_bucketless,
    ),
    Check(
        kind="bucket-leftover",
        find=_statement(_LEFT),
        tell=_tell(lambda row: (f"bucket {row[1]}", f"{row[2]} rows of {row[0]} belong to no bucket")),
        why="they do nothing, until a later repair could take them for another bucket's",
        repair="removes them",
        mend=_mend_leftover,
    ),
    Check(
        kind="upload-missing",
        find=_statement("SELECT upload, number, blob_id FROM part WHERE upload NOT IN (SELECT id FROM upload)"),
        tell=_tell(lambda row: (f"upload {row[0]}", f"its part {row[1]} is there and the upload is not")),
        why="the part can never become an object, and takes space",
        repair="removes the part",
        mend=_mend_part,
    ),
    Check(
        kind="version-number",
        find=_statement(_NUMBERS),
        tell=_tell(lambda row: (f"{row[3]}/{row[2]}", f"version {row[5]} has the order {row[4]}, and its id another")),
        why="old and new versions change places",
        repair="sets the order that the id tells",
        mend=_mend_number,
    ),
    Check(
        kind="version-order",
        find=_statement(_ORDER),
        tell=_tell(lambda row: (f"{row[2]}/{row[1]}", "a version that is not current is newer than the current one")),
        why="readers get an old version as the current one",
        repair="makes the newest version current",
        mend=_mend_order,
    ),
    Check(
        kind="version-hidden",
        find=_statement(_HIDDEN),
        tell=_tell(lambda row: (f"{row[2]}/{row[1]}", "it has versions, no delete marker, and no current object")),
        why="readers are told that there is no such object",
        repair="makes its newest version current",
        mend=_mend_hidden,
    ),
    Check(
        kind="version-twice",
        find=_statement(_SAME),
        tell=_tell(lambda row: (f"{row[2]}/{row[1]}", f"two versions have the id {row[3]}")),
        why="only one of them can be read or removed by its id",
        repair="gives the older one an id of its own",
        mend=_mend_same,
    ),
    Check(
        kind="attributes-unreadable",
        find=_unreadable,
        tell=_tell(
            lambda row: (f"{row[3]}/{row[2]} (order {row[4]})", "its content headers, metadata and tags cannot be read")
        ),
        why="every request for the object fails",
        repair="gives up its headers, metadata, tags, ACL and lock, and keeps its bytes",
        give_up=_mend_attributes,
    ),
    Check(
        kind="references",
        find=_statement(_REFERENCES),
        tell=_tell(lambda row: (f"blob {row[0]}", f"it has {row[2]} references, and {row[3]} records refer to it")),
        why="counted too low its bytes go while they are needed; counted too high they stay for ever",
        repair="counts them again",
        mend=_mend_references,
    ),
    Check(
        kind="unreferenced",
        find=_statement(
            "SELECT id, kind FROM blob WHERE refs = 0 AND (kind = 0 OR id NOT IN (SELECT blob_id FROM garbage))"
        ),
        tell=_tell(lambda row: (f"blob {row[0]}", "nothing refers to it, and it is not on its way out")),
        why="it takes space for ever",
        repair="gives it to the sweep",
        mend=_mend_unreferenced,
    ),
    Check(
        kind="garbage",
        find=_statement("SELECT blob_id FROM garbage WHERE blob_id NOT IN (SELECT id FROM blob WHERE refs = 0)"),
        tell=_tell(lambda row: (f"blob {row[0]}", "it is on its way out and in use, or gone already")),
        why="the sweep looks at it again and again",
        repair="takes it from the sweep",
        mend=_mend_garbage,
    ),
    Check(
        kind="usage",
        find=_statement(_COUNTED),
        tell=_tell(lambda row: (f"bucket {row[1]}", "its counts of objects and bytes are not what it holds")),
        why="quotas, metrics and the capacity rule go by them",
        repair="counts again",
        mend=_mend_usage,
    ),
    Check(
        kind="protected-count",
        find=_wrong_protected,
        tell=_tell(lambda row: (f"bucket {row[1]}", f"it counts {row[2]} protected prefixes, and {row[3]} are listed")),
        why="what is protected may not be, or what is not may seem so",
        repair="counts them again",
        mend=_mend_protected,
    ),
    Check(
        kind="document-unreadable",
        find=_statement(_DOCUMENTS),
        tell=_tell(lambda row: (f"lake document {row[0]}", "it is no JSON")),
        why="the rule it holds is not carried out",
    ),
    Check(
        kind="alias-target",
        find=_statement(_ALIAS_TARGETS),
        tell=_tell(lambda row: (f"{row[0]}/{row[1]}", f"nothing is stored below {row[2]!r}, which this alias shows")),
        why="readers of the alias find nothing; switch it with `hosu alias`, or store what it should show",
    ),
)
"""Checks of the records alone, in the order in which they are repaired."""

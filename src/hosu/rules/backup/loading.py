"""Records of a backup loaded into a database: one snapshot's rows, as the lake had them."""

import re
from collections.abc import Iterator, Sequence
from typing import Any, Final

import apsw
import msgspec

from hosu.kernel.errors import ErrorKind, NotFoundError, UnsupportedError
from hosu.objects.blobs import IDS_PER_DIRECTORY
from hosu.objects.feed import Event
from hosu.objects.notifications import begin_notifications
from hosu.objects.records import BlobKind
from hosu.objects.transaction import EVENT_COLUMNS
from hosu.objects.views import View
from hosu.rules.backup.chunks import Section, read_records
from hosu.rules.backup.repository import Repository, Snapshot
from hosu.rules.backup.tables import LAYERED, PLACE_COLUMNS, WHOLE, WHOLE_PREFIXES, columns_of

PLACES_DDL: Final = """
CREATE TABLE restored_place (
  blob_id INTEGER PRIMARY KEY, pack TEXT NOT NULL, start INTEGER NOT NULL, stored_bytes INTEGER NOT NULL
) STRICT;
"""
"""Where the bytes of small blobs are, while a database is being restored."""

RESTORED: Final = "LakeRestored"
"""Kind of the event that a restored lake's feed begins with."""

BLOB_DEFAULTS: Final = {"refs": 0, "verified_ms": 0, "inode": 0, "ctime_ns": 0}

_COMMENT = re.compile(r"--[^\n]*")
_CREATES = re.compile(r"CREATE (TABLE|INDEX|UNIQUE INDEX) (identity_\w+)[\s(]")


def load_records(repository: Repository, snapshot: Snapshot, view: View) -> None:
    """Fill the tables of an empty lake with a snapshot's rows; references and usage are for `recount` to find out.

    Raises CorruptError BACKUP_CORRUPT; the database is worth nothing then.
    """
    view.run(PLACES_DDL)
    loader = _Loader(view)
    view.run("BEGIN")
    for layer in snapshot.layers:
        for section, rows in _read(repository, layer.records):
            loader.add_layered(section, rows)
    for section, rows in _read(repository, snapshot.tables):
        loader.add_whole(section, rows)
    view.run("COMMIT")


def _read(repository: Repository, names: Sequence[str]) -> Iterator[tuple[Section, list[list[Any]]]]:
    for name in names:
        yield from read_records(repository.read("records", name), name)


class _Loader:
    def __init__(self, view: View) -> None:
        self._view = view

    def add_layered(self, section: Section, rows: list[list[Any]]) -> None:
        """Let rows of a layer take the place of what layers below say."""
        if section.table == "changed":
            for table in ("object", "version"):
                self._many(f"DELETE FROM {table} WHERE bucket_id = ? AND key = ?", rows)
        elif section.table == "blob":
            self._add_blobs(section, rows)
        elif section.table in LAYERED:
            self._insert(section.table, section.columns, rows)
        else:
            raise _unknown(section.table)

    def _add_blobs(self, section: Section, rows: list[list[Any]]) -> None:
        width = len(section.columns) - len(PLACE_COLUMNS)
        if section.columns[width:] != PLACE_COLUMNS:
            raise _unknown(f"blob ({', '.join(section.columns)})")
        id_place, defaults = section.columns.index("id"), list(BLOB_DEFAULTS.values())
        columns = (*section.columns[:width], *BLOB_DEFAULTS, "body")
        self._insert("blob", columns, [[*row[:width], *defaults, _room(row[width], row[-1])] for row in rows])
        composed = [(row[id_place],) for row in rows if row[section.columns.index("kind")] == BlobKind.COMPOSED]
        self._many("DELETE FROM segment WHERE blob_id = ?", composed)
        placed = [(row[id_place], *row[width:]) for row in rows if row[width] is not None]
        self._many("INSERT OR REPLACE INTO restored_place VALUES (?, ?, ?, ?)", placed)

    def add_whole(self, section: Section, rows: list[list[Any]]) -> None:
        """Add the rows of a small table, made where a new lake lacks it."""
        table = section.table
        if table in {"mark", "pending"}:
            return
        if table == "sqlite_sequence":
            for name, seq in rows:
                self._view.run("DELETE FROM sqlite_sequence WHERE name = ?", (name,))
                self._view.run("INSERT INTO sqlite_sequence (name, seq) VALUES (?, ?)", (name, seq))
            return
        if table not in WHOLE and not table.startswith(WHOLE_PREFIXES):
            raise _unknown(table)
        if not columns_of(self._view, table).names:
            for statement in section.create:
                self._create(table, statement)
        self._insert(table, section.columns, rows)

    def _create(self, table: str, statement: str) -> None:
        match = _CREATES.match(statement)
        if match is None or ";" in _COMMENT.sub("", statement):
            raise _unknown(table)
        self._view.run(statement)

    def _insert(self, table: str, columns: Sequence[str], rows: list[list[Any]]) -> None:
        unknown = sorted(set(columns).difference(columns_of(self._view, table).names))
        if unknown:
            raise _unknown(f"{table}.{unknown[0]}")
        marks = ",".join("?" * len(columns))
        self._many(f"INSERT OR REPLACE INTO {table} ({', '.join(columns)}) VALUES ({marks})", rows)

    def _many(self, statement: str, rows: Sequence[Sequence[Any]]) -> None:
        self._view.connection.executemany(statement, rows)


def _room(pack: str | None, size_bytes: int) -> apsw.zeroblob | None:
    """Return as many zeros as a small blob has bytes: a row that grew later would have its page split."""
    return None if pack is None else apsw.zeroblob(size_bytes)


def keep_only(view: View, bucket: str, prefix: str) -> None:
    """Leave one bucket, and of its objects those below a prefix; users, policies and rules of the lake stay."""
    if view.value("SELECT 1 FROM bucket WHERE name = ?", (bucket,)) is None:
        raise NotFoundError(ErrorKind.BUCKET_NOT_FOUND, f"the snapshot has no bucket {bucket!r}", bucket=bucket)
    view.run("DELETE FROM bucket WHERE name <> ?", (bucket,))
    for table in ("object", "version"):
        view.run(f"DELETE FROM {table} WHERE substr(key, 1, ?) <> ?", (len(prefix), prefix))


def recount(view: View, snapshot: Snapshot, now_ms: int) -> None:
    """Drop what belongs to nothing, count references and usage, and let the feed go on where the lake's ended."""
    for table in ("object", "version", "bucket_document", "alias", "alias_switch", "uncoded"):
        view.run(f"DELETE FROM {table} WHERE bucket_id NOT IN (SELECT id FROM bucket)")
    view.run("DELETE FROM uncoded WHERE seq NOT IN (SELECT seq FROM object UNION ALL SELECT seq FROM version)")
    view.run("CREATE TEMP TABLE used (blob_id INTEGER PRIMARY KEY, refs INTEGER NOT NULL)")
    view.run(
        "INSERT INTO used SELECT blob_id, count(*) FROM (SELECT blob_id FROM object UNION ALL SELECT blob_id "
        "FROM version) WHERE blob_id IS NOT NULL GROUP BY blob_id"
    )
    view.run("DELETE FROM segment WHERE blob_id NOT IN (SELECT blob_id FROM used)")
    view.run(
        "INSERT INTO used SELECT child_id, count(*) FROM segment WHERE true GROUP BY child_id "
        "ON CONFLICT (blob_id) DO UPDATE SET refs = refs + excluded.refs"
    )
    view.run("DELETE FROM blob WHERE id NOT IN (SELECT blob_id FROM used)")
    view.run("UPDATE blob SET refs = used.refs FROM used WHERE used.blob_id = blob.id")
    view.run("DELETE FROM restored_place WHERE blob_id NOT IN (SELECT id FROM blob)")
    view.run("DROP TABLE used")
    view.run(
        """
        UPDATE bucket SET part_bytes = 0,
          alias_count = (SELECT count(*) FROM alias WHERE bucket_id = bucket.id),
          (object_count, object_bytes) =
            (SELECT count(*), coalesce(sum(size_bytes), 0) FROM object WHERE bucket_id = bucket.id),
          (version_count, version_bytes, marker_count) =
            (SELECT count(*) FILTER (WHERE NOT is_marker), coalesce(sum(size_bytes) FILTER (WHERE NOT is_marker), 0),
               count(*) FILTER (WHERE is_marker) FROM version WHERE bucket_id = bucket.id)"""
    )
    view.run("DELETE FROM lake_document WHERE kind = 'backup'")
    newest = view.value("SELECT max(id) FROM blob") or 0
    end = (newest // IDS_PER_DIRECTORY + 1) * IDS_PER_DIRECTORY
    view.run("INSERT INTO counter VALUES ('blob', ?1) ON CONFLICT DO UPDATE SET value = max(value, ?1)", (end,))
    event = msgspec.structs.astuple(Event(snapshot.seq + 1, now_ms, RESTORED, "", "", "", 0, snapshot.id, ""))
    view.run(f"INSERT INTO event ({EVENT_COLUMNS}) VALUES ({','.join('?' * len(event))})", event)
    begin_notifications(view, event[0])


def lost_references(view: View) -> int:
    """Return how many records refer to a blob that the backup does not have."""
    return int(
        view.value(
            "SELECT count(*) FROM (SELECT blob_id FROM object UNION ALL SELECT blob_id FROM version "
            "UNION ALL SELECT child_id FROM segment) WHERE blob_id IS NOT NULL AND blob_id NOT IN (SELECT id FROM blob)"
        )
    )


def _unknown(what: str) -> UnsupportedError:
    return UnsupportedError(ErrorKind.LAKE_NEWER, f"the backup holds {what}, which this hosu does not know: update it")

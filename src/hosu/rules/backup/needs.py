"""Which blob files the snapshots of a backup need: layer by layer, when each was referred to first and last."""

from collections.abc import Iterable, Iterator
from contextlib import closing
from typing import Any, Final

import apsw

from hosu.objects.records import BlobKind
from hosu.rules.backup.chunks import Section, read_records
from hosu.rules.backup.repository import Layer, Repository, Snapshot

_DDL: Final = """
PRAGMA journal_mode=OFF; PRAGMA synchronous=OFF;
CREATE TABLE ref (bucket_id INTEGER, key TEXT, blob_id INTEGER);
CREATE INDEX ref_by_key ON ref (bucket_id, key);
CREATE INDEX ref_by_blob ON ref (blob_id);
CREATE TABLE blob (id INTEGER PRIMARY KEY, kind INTEGER, hash BLOB, born INTEGER, dead INTEGER);
CREATE TABLE segment (blob_id INTEGER, child_id INTEGER, PRIMARY KEY (blob_id, child_id)) WITHOUT ROWID;
CREATE INDEX segment_by_child ON segment (child_id);
CREATE TABLE candidate (blob_id INTEGER PRIMARY KEY);
CREATE TABLE place (number INTEGER PRIMARY KEY);
"""

_DYING: Final = f"""
UPDATE blob SET dead = ? WHERE dead IS NULL AND kind <> {BlobKind.INLINE:d} AND id IN (SELECT blob_id FROM candidate)
  AND NOT EXISTS (SELECT 1 FROM ref WHERE ref.blob_id = blob.id)
  AND NOT EXISTS (SELECT 1 FROM segment s JOIN blob whole ON whole.id = s.blob_id
    WHERE s.child_id = blob.id AND whole.dead IS NULL)
RETURNING id
"""


def needed_files(repository: Repository, snapshots: Iterable[Snapshot]) -> set[tuple[str, str]]:
    """Return kind and hash of every file that snapshots need. Raises CorruptError when records cannot be read."""
    kept = list(snapshots)
    needed = {name for snapshot in kept for name in snapshot.needed()}
    for layers, places in _chains(kept):
        needed.update(("blobs", name) for name in _needed_blobs(repository, layers, places))
    return needed


def _chains(snapshots: list[Snapshot]) -> list[tuple[tuple[Layer, ...], list[int]]]:
    """Return layers that build on each other, with how many of them each of their snapshots has."""
    chains: list[tuple[tuple[Layer, ...], list[int]]] = []
    for snapshot in sorted(snapshots, key=lambda snapshot: -len(snapshot.layers)):
        count = len(snapshot.layers)
        for layers, places in chains:
            if layers[:count] == snapshot.layers:
                places.append(count - 1)
                break
        else:
            chains.append((snapshot.layers, [count - 1]))
    return chains


def _needed_blobs(repository: Repository, layers: tuple[Layer, ...], places: list[int]) -> Iterator[str]:
    with closing(apsw.Connection("")) as connection:
        connection.execute(_DDL).fetchall()
        with connection:
            connection.executemany("INSERT OR IGNORE INTO place VALUES (?)", ((place,) for place in places))
            replay = _Replay(connection)
            for number, layer in enumerate(layers):
                for name in layer.records:
                    for section, rows in read_records(repository.read("records", name), name):
                        replay.add(number, section, rows)
                replay.end(number)
            found = connection.execute(
                f"SELECT DISTINCT hash FROM blob WHERE kind = {BlobKind.FILE:d} AND EXISTS "
                "(SELECT 1 FROM place WHERE number >= born AND (dead IS NULL OR number < dead))"
            )
            yield from (digest.hex() for (digest,) in found)


class _Replay:
    def __init__(self, connection: apsw.Connection) -> None:
        self._connection = connection

    def add(self, number: int, section: Section, rows: list[list[Any]]) -> None:
        if section.table == "changed":
            self._many("INSERT OR IGNORE INTO candidate SELECT blob_id FROM ref WHERE bucket_id = ? AND key = ?", rows)
            self._many("DELETE FROM ref WHERE bucket_id = ? AND key = ?", rows)
        elif section.table in {"object", "version"}:
            found = [row for row in _columns(section, rows, "bucket_id", "key", "blob_id") if row[2] is not None]
            self._many("INSERT INTO ref VALUES (?, ?, ?)", found)
            if number:
                self._revive([(row[2],) for row in found])
        elif section.table == "blob":
            found = [(*row, number) for row in _columns(section, rows, "id", "kind", "hash") if row[1]]
            if number:
                again = [(row[0],) for row in found if row[1] == BlobKind.COMPOSED]
                self._many("INSERT OR IGNORE INTO candidate SELECT child_id FROM segment WHERE blob_id = ?", again)
                self._many("DELETE FROM segment WHERE blob_id = ?", again)
            self._many("INSERT OR IGNORE INTO blob VALUES (?, ?, ?, ?, NULL)", found)
        elif section.table == "segment":
            self._many("INSERT OR IGNORE INTO segment VALUES (?, ?)", _columns(section, rows, "blob_id", "child_id"))

    def _revive(self, ids: list[tuple[int]]) -> None:
        """Count as needed all along what is referred to again."""
        self._many("UPDATE blob SET dead = NULL WHERE dead IS NOT NULL AND id = ?", ids)
        self._many(
            "UPDATE blob SET dead = NULL WHERE dead IS NOT NULL AND id IN "
            "(SELECT child_id FROM segment WHERE blob_id = ?)",
            ids,
        )

    def end(self, number: int) -> None:
        """Find out what nothing refers to from this layer on."""
        while dead := self._connection.execute(_DYING, (number,)).fetchall():
            self._connection.execute("DELETE FROM candidate")
            self._many("INSERT OR IGNORE INTO candidate SELECT child_id FROM segment WHERE blob_id = ?", dead)
        self._connection.execute("DELETE FROM candidate")

    def _many(self, statement: str, rows: Iterable[Any]) -> None:
        self._connection.executemany(statement, rows)


def _columns(section: Section, rows: list[list[Any]], *names: str) -> list[tuple[Any, ...]]:
    places = [section.columns.index(name) for name in names]
    return [tuple(row[place] for place in places) for row in rows]

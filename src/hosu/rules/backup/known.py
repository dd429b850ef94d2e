"""Where the small blobs of earlier layers are, so that a new base refers to packs instead of writing them again."""

from collections.abc import Iterable
from typing import Final, Self

import apsw

from hosu.rules.backup.chunks import read_records
from hosu.rules.backup.repository import Repository, Snapshot

SPARSE: Final = 2
"""A pack of which less than one part in so many is still needed is not referred to again, so that it can go."""


class KnownBodies:
    """Blob ids with pack, start and size; in a temporary file, for there may be millions."""

    def __init__(self) -> None:
        self.is_empty = True
        self._connection = apsw.Connection("")
        self._connection.execute(
            "PRAGMA journal_mode=OFF; PRAGMA synchronous=OFF; "
            "CREATE TABLE body (id INTEGER PRIMARY KEY, hash BLOB, pack TEXT, start INTEGER, size_bytes INTEGER);"
            "CREATE TABLE live (id INTEGER PRIMARY KEY)"
        ).fetchall()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._connection.close()

    def load(self, repository: Repository, snapshot: Snapshot) -> None:
        """Learn of all that the layers of a snapshot refer to."""
        for layer in snapshot.layers:
            for name in layer.records:
                for section, rows in read_records(repository.read("records", name), name):
                    if section.table == "blob":
                        self._add(section.columns, rows)

    def _add(self, columns: tuple[str, ...], rows: list[list[object]]) -> None:
        self.is_empty = False
        places = [columns.index(name) for name in ("id", "hash", "pack", "start", "stored_bytes")]
        with self._connection:
            self._connection.executemany(
                "INSERT OR REPLACE INTO body VALUES (?, ?, ?, ?, ?)",
                ([row[place] for place in places] for row in rows if row[places[2]] is not None),
            )

    def forget_sparse(self) -> None:
        """Forget the packs of which little is left, given the blobs that `note_live` was called for."""
        self._connection.execute(
            "DELETE FROM body WHERE pack IN (SELECT pack FROM body GROUP BY pack "
            f"HAVING {SPARSE} * total(size_bytes * (id IN (SELECT id FROM live))) < max(start + size_bytes))"
        )

    def forget_missing(self, packs: Iterable[str]) -> None:
        """Forget the packs that are not among those that are there."""
        if self.is_empty:
            return
        with self._connection:
            self._connection.execute("CREATE TABLE there (pack TEXT PRIMARY KEY)")
            self._connection.executemany("INSERT OR IGNORE INTO there VALUES (?)", ((pack,) for pack in packs))
            self._connection.execute("DELETE FROM body WHERE pack NOT IN (SELECT pack FROM there)")

    def note_live(self, ids: list[tuple[int]]) -> None:
        """Say which blobs the lake still has."""
        with self._connection:
            self._connection.executemany("INSERT OR IGNORE INTO live VALUES (?)", ids)

    def find(self, blob_id: int, digest: bytes) -> tuple[str, int] | None:
        """Return pack and start of a blob that is known with the same bytes."""
        row = self._connection.execute(
            "SELECT pack, start FROM body WHERE id = ? AND hash = ?", (blob_id, digest)
        ).fetchone()
        return None if row is None else (row[0], row[1])

"""What a run takes out of the metadata database: rows and small bodies, all of one moment."""

import bisect
from array import array
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, Final

import msgspec
from blake3 import blake3

from hosu.objects.blobs import IDS_PER_DIRECTORY
from hosu.objects.feed import ACCESS_PREFIX
from hosu.objects.records import BlobKind
from hosu.objects.views import View
from hosu.rules.backup.chunks import PackWriter, RecordWriter, hash_of, read_records
from hosu.rules.backup.known import KnownBodies
from hosu.rules.backup.repository import Damage, Layer, Repository, Snapshot
from hosu.rules.backup.tables import (
    BLOB_FACTS_LEFT_OUT,
    COUNTERS_LEFT_OUT,
    PLACE_COLUMNS,
    Columns,
    columns_of,
    definition_of,
    whole_tables,
)

Store = Callable[[str, bytes], str]
BATCH: Final = 10_000
EVENT_FACTS: Final = "seq, at_ms, kind, bucket, key, version_id, size_bytes, etag, actor"

CHANGES: Final = f"seq > ? AND key <> '' AND substr(kind, 1, {len(ACCESS_PREFIX)}) <> '{ACCESS_PREFIX}'"
"""Events after one that change a key."""

MARK: Final = Columns(("first_id", "newest_id"), frozenset())
"""Of each range of blob ids the newest that was given: ids of small blobs in it grow, so any larger one is newer."""

PENDING: Final = Columns(("blob_id",), frozenset())
"""Blobs of uploads in progress, which are not in the backup and may become an object's later."""

CHANGED: Final = Columns(("bucket_id", "key"), frozenset())


class Moment(msgspec.Struct):
    """What the lake was like at the moment of a snapshot."""

    seq: int
    event: str
    layer: Layer | None
    tables: tuple[str, ...]
    files: "array[int]"
    """Ids of the blob files that the layer's rows refer to."""

    damaged: list[Damage]
    totals: tuple[int, int, int, int]
    """Objects, their bytes, versions that are not current, their bytes."""


class Before(msgspec.Struct):
    """What the snapshot before knew of small blobs."""

    firsts: list[int] = []
    newest: list[int] = []
    pending: frozenset[int] = frozenset()

    def has(self, blob_id: int) -> bool:
        """Say whether a blob that is no file was there, and in the backup."""
        place = bisect.bisect_right(self.firsts, blob_id) - 1
        return place >= 0 and blob_id <= self.newest[place] and blob_id not in self.pending


def read_before(repository: Repository, snapshot: Snapshot) -> Before:
    """Return what a snapshot knew of small blobs."""
    found: dict[str, list[list[int]]] = {"mark": [], "pending": []}
    for name in snapshot.tables:
        for section, rows in read_records(repository.read("records", name), name):
            if section.table in found:
                found[section.table] += rows
    marks = sorted(found["mark"])
    return Before([row[0] for row in marks], [row[1] for row in marks], frozenset(row[0] for row in found["pending"]))


def event_hash(view: View, seq: int) -> str:
    """Return what tells an event from every other with its number; empty where there is none."""
    row = view.row(f"SELECT {EVENT_FACTS} FROM event WHERE seq = ?", (seq,))
    return "" if row is None else hash_of(msgspec.json.encode(row))


class Collector:
    """Reads one moment; call `collect` within a snapshot of the view. `store` keeps a file and returns its hash."""

    def __init__(self, view: View, store: Store) -> None:
        self._view = view
        self._records = RecordWriter(store)
        self._store = store
        blob = columns_of(view, "blob")
        kept = tuple(name for name in blob.names if name not in BLOB_FACTS_LEFT_OUT)
        self._blob_names = kept
        self._id_place, self._kind_place, self._hash_place = (kept.index(name) for name in ("id", "kind", "hash"))
        self._blob_columns = Columns((*kept, *PLACE_COLUMNS), blob.binary - BLOB_FACTS_LEFT_OUT)
        self._object, self._version, self._segment = (
            columns_of(view, table) for table in ("object", "version", "segment")
        )
        self._packs = PackWriter(store, self._write_packed)
        self._used: set[str] = set()
        self._files = array("q")
        self._damaged: list[Damage] = []
        self._rows = 0

    def collect(
        self,
        *,
        known: KnownBodies | None,
        before: Before | None = None,
        after_seq: int = 0,
        again: Iterable[int] = (),
    ) -> Moment:
        """Take everything, or with `before` what changed after an event, and the blobs of `again` if they are there."""
        view = self._view
        seq = view.value("SELECT max(seq) FROM event") or 0
        if before is None:
            assert known is not None, "a base knows of the one before it"
            self._take_all(known)
        else:
            self._take_changed(before, after_seq, again)
        self._packs.flush()
        records = self._records.finish()
        packs = tuple(sorted(self._used.union(self._packs.packs)))
        layer = Layer(records, packs, self._rows) if records or before is None else None
        totals = view.row(
            "SELECT total(object_count), total(object_bytes), total(version_count), total(version_bytes) FROM bucket"
        )
        assert totals is not None, "a sum has a row"
        objects, object_bytes, versions, version_bytes = map(int, totals)
        return Moment(
            seq=seq,
            event=event_hash(view, seq),
            layer=layer,
            tables=self._take_tables(),
            files=self._files,
            damaged=self._damaged,
            totals=(objects, object_bytes, versions, version_bytes),
        )

    # All keys

    def _take_all(self, known: KnownBodies) -> None:
        for table, columns in (("object", self._object), ("version", self._version)):
            self._records.begin(table, columns)
            for row in self._view.each(f"SELECT {', '.join(columns.names)} FROM {table}"):
                self._records.row(row)
                self._rows += 1
        pending = dict(self._view.rows("SELECT blob_id, count(*) FROM part WHERE blob_id IS NOT NULL GROUP BY blob_id"))
        if not known.is_empty:
            live = "SELECT id FROM blob WHERE kind = 0 AND refs > 0"
            for batch in batches(self._view.each(live), BATCH):
                known.note_live(batch)
            known.forget_sparse()
        names = ", ".join(self._blob_names)
        for *facts, refs, body in self._view.each(f"SELECT {names}, refs, body FROM blob WHERE refs > 0"):
            if refs > pending.get(facts[self._id_place], 0):
                self._add_blob(facts, body, known)
        self._packs.flush()
        self._records.begin("segment", self._segment)
        for row in self._view.each(f"SELECT {', '.join(self._segment.names)} FROM segment"):
            self._records.row(row)

    # Changed keys

    def _take_changed(self, before: Before, after_seq: int, again: Iterable[int]) -> None:
        view = self._view
        buckets: dict[str, int] = dict(view.rows("SELECT name, id FROM bucket"))
        rows = view.rows(f"SELECT DISTINCT bucket, key FROM event WHERE {CHANGES}", (after_seq,))
        keys = sorted((buckets[bucket], key) for bucket, key in rows if bucket in buckets)
        if keys:
            self._records.begin("changed", CHANGED)
            for key in keys:
                self._records.row(key)
        blobs: set[int | None] = set()
        for table, columns in (("object", self._object), ("version", self._version)):
            place = columns.names.index("blob_id")
            statement = f"SELECT {', '.join(columns.names)} FROM {table} WHERE bucket_id = ? AND key = ?"
            for key in keys:
                for row in view.each(statement, key):
                    self._records.begin(table, columns)
                    self._records.row(row)
                    blobs.add(row[place])
        self._rows = len(keys)
        self._take_blobs({blob_id for blob_id in blobs if blob_id is not None}, before, frozenset(again))

    def _take_blobs(self, blobs: set[int], before: Before, again: frozenset[int]) -> None:
        names, composed = ", ".join(self._blob_names), []
        taken: set[int] = set()
        waiting = sorted(blobs | again)
        while waiting:
            children: set[int] = set()
            for blob_id in waiting:
                taken.add(blob_id)
                found = self._view.row(f"SELECT {names}, body FROM blob WHERE id = ? AND refs > 0", (blob_id,))
                if found is None:
                    continue
                *facts, body = found
                kind = facts[self._kind_place]
                # Segments may refer to other blobs than before: compressed ones, say.
                if kind == BlobKind.INLINE and blob_id not in again and before.has(blob_id):
                    continue
                self._add_blob(facts, body, None)
                if kind == BlobKind.COMPOSED:
                    composed.append(blob_id)
                    statement = "SELECT DISTINCT child_id FROM segment WHERE blob_id = ?"
                    children.update(child for (child,) in self._view.rows(statement, (blob_id,)))
            waiting = sorted(children - taken)
        self._packs.flush()
        for blob_id in composed:
            self._records.begin("segment", self._segment)
            statement = f"SELECT {', '.join(self._segment.names)} FROM segment WHERE blob_id = ?"
            for row in self._view.each(statement, (blob_id,)):
                self._records.row(row)

    # Blobs

    def _add_blob(self, row: Sequence[Any], body: bytes | None, known: KnownBodies | None) -> None:
        blob_id, kind, digest = row[self._id_place], row[self._kind_place], row[self._hash_place]
        if kind != BlobKind.INLINE:
            if kind == BlobKind.FILE:
                self._files.append(blob_id)
            self._write([*row, None, None, None])
            return
        place = None if known is None or known.is_empty else known.find(blob_id, digest)
        if place is not None:
            self._used.add(place[0])
            self._write([*row, *place, len(body or b"")])
        elif body is None or blake3(body).digest() != digest:
            self._damaged.append(Damage(blob_id, (digest or b"").hex(), "its bytes in lake.db have changed"))
            self._write([*row, None, None, None])
        else:
            self._packs.add([*row, len(body)], body)

    def _write_packed(self, row: Sequence[Any], pack: str, start: int) -> None:
        self._write([*row[:-1], pack, start, row[-1]])

    def _write(self, row: Sequence[Any]) -> None:
        self._records.begin("blob", self._blob_columns)
        self._records.row(row)

    # Small tables

    def _take_tables(self) -> tuple[str, ...]:
        writer = RecordWriter(self._store)
        for table in whole_tables(self._view):
            columns = columns_of(self._view, table)
            is_own = table.startswith("sqlite_")
            writer.begin(table, columns, create=() if is_own else definition_of(self._view, table))
            where = f" WHERE substr(name, 1, {len(COUNTERS_LEFT_OUT)}) <> ?" if table == "counter" else ""
            values = (COUNTERS_LEFT_OUT,) if where else ()
            for row in self._view.each(f"SELECT {', '.join(columns.names)} FROM {table}{where}", values):
                writer.row(row)
        writer.begin("mark", MARK)
        for mark in self._marks():
            writer.row(mark)
        writer.begin("pending", PENDING)
        statement = (
            "WITH parts AS (SELECT DISTINCT blob_id FROM part WHERE blob_id IS NOT NULL) "
            "SELECT blob_id FROM parts UNION SELECT child_id FROM segment WHERE blob_id IN (SELECT blob_id FROM parts)"
        )
        for row in self._view.each(statement):
            writer.row(row)
        return writer.finish()

    def _marks(self) -> Iterator[tuple[int, int]]:
        """Yield the newest id of each range, from the newest range down: one step in the index for each."""
        end = 1 << 62
        while True:
            newest = self._view.value("SELECT id FROM blob WHERE id < ? ORDER BY id DESC LIMIT 1", (end,))
            if newest is None:
                return
            end = newest - newest % IDS_PER_DIRECTORY
            yield end, newest


def batches(rows: Iterator[tuple[Any, ...]], size: int) -> Iterator[list[tuple[Any, ...]]]:
    """Yield rows by so many at a time."""
    batch: list[tuple[Any, ...]] = []
    for row in rows:
        batch.append(row)
        if len(batch) == size:
            yield batch
            batch = []
    if batch:
        yield batch

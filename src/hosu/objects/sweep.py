"""The sweep: gives back the space of what nothing refers to.

Only the holder of the lake's lock runs it. A blob waits `GRACE_MS` after its last reference went, so that a
reader who found the record just before still finds the file, and as long as a hold lasts that was there by then. A
file without a record is the rest of a crash or of an upload still under way; it goes when it has not been written to
for `ORPHAN_MS`.
"""

import contextlib
import itertools
import os
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import msgspec

from hosu.objects.blobs import IDS_PER_DIRECTORY
from hosu.objects.feed import trim_events
from hosu.objects.healing import IDS_PER_QUERY, referred_to
from hosu.objects.holds import swept_until
from hosu.objects.records import BlobKind
from hosu.objects.store import ObjectStore
from hosu.objects.transaction import Tx

GRACE_MS = 15 * 60 * 1000
ORPHAN_MS = 60 * 60 * 1000
BLOBS_PER_TRANSACTION = 256
"""Bounds how long the sweep holds the writer."""

SEGMENTS_PER_TRANSACTION = 1_000
ORPHANS_PER_TRANSACTION = 32


class SweepReport(msgspec.Struct):
    """What one sweep removed."""

    blobs: int = 0
    bytes: int = 0
    orphans: int = 0
    events: int = 0


def sweep(
    store: ObjectStore, *, grace_ms: int = GRACE_MS, orphan_ms: int = ORPHAN_MS, looks_for_orphans: bool = True
) -> SweepReport:
    """Remove every blob whose grace has ended and every orphaned file; return what went.

    Looking for orphans walks over every blob file, so whoever sweeps often leaves it out most times.
    """
    report = SweepReport()
    now_ms = store.clock.now_ms()
    end_ms = now_ms - grace_ms
    # Also overwrites a failed commit that may still be in the log: it could refer to what is about to be removed.
    store.commit(partial(_note_sweep, now_ms=now_ms))
    while True:
        removed = store.commit(lambda tx: _collect(tx, end_ms))
        if not removed:
            break
        for blob_id, kind, size_bytes in removed:
            if kind == BlobKind.FILE:
                store.files.unlink(blob_id)
                report.blobs += 1
                report.bytes += size_bytes
    while trimmed := store.commit(trim_events):
        report.events += trimmed
    if looks_for_orphans:
        found = orphans(store, orphan_ms)
        while looked_at := list(itertools.islice(found, IDS_PER_QUERY)):
            # A file whose record is lost while objects refer to it may be all that is left of them: for the doctor.
            needed = referred_to(store.view(), [blob_id for blob_id, _ in looked_at])
            unneeded = iter([each for each in looked_at if each[0] not in needed])
            while chunk := list(itertools.islice(unneeded, ORPHANS_PER_TRANSACTION)):
                for size_bytes in store.commit(partial(_remove_orphans, chunk=chunk)):
                    report.orphans += 1
                    report.bytes += size_bytes
        _remove_empty_directories(store)
    return report


def _note_sweep(tx: Tx, *, now_ms: int) -> None:
    tx.run("INSERT OR REPLACE INTO counter VALUES ('swept_ms', ?)", (now_ms,))


def _collect(tx: Tx, end_ms: int) -> list[tuple[int, int, int]]:
    """Take a bounded number of garbage blobs out of the records; return (id, kind, size) of what was dealt with."""
    rows = tx.rows(
        "SELECT id, kind, size_bytes, refs FROM garbage JOIN blob ON id = blob_id WHERE since_ms <= ? LIMIT ?",
        (swept_until(tx, end_ms), BLOBS_PER_TRANSACTION),
    )
    removed = []
    for blob_id, kind, size_bytes, refs in rows:
        if refs == 0:
            if kind == BlobKind.COMPOSED and not _release_segments(tx, blob_id):
                removed.append((blob_id, kind, 0))  # more segments are left: the next transaction goes on
                break
            tx.run("DELETE FROM blob WHERE id = ?", (blob_id,))
            removed.append((blob_id, kind, size_bytes))
        tx.run("DELETE FROM garbage WHERE blob_id = ?", (blob_id,))
    return removed


def _release_segments(tx: Tx, blob_id: int) -> bool:
    """Drop a bounded number of a composed blob's references; True when none is left."""
    rows = tx.rows("SELECT start, child_id FROM segment WHERE blob_id = ? LIMIT ?", (blob_id, SEGMENTS_PER_TRANSACTION))
    for start, child_id in rows:
        tx.drop_reference(child_id)
        tx.run("DELETE FROM segment WHERE blob_id = ? AND start = ?", (blob_id, start))
    return len(rows) < SEGMENTS_PER_TRANSACTION


def _remove_orphans(tx: Tx, *, chunk: list[tuple[int, Path]]) -> list[int]:
    """Remove orphaned files and return their sizes.

    The transaction keeps every process from adding records meanwhile: an upload that looked abandoned either has
    its record by now and stays, or finds its file gone and is refused.
    """
    sizes_bytes = []
    for blob_id, path in chunk:
        if tx.value("SELECT 1 FROM blob WHERE id = ? AND kind = ?", (blob_id, BlobKind.FILE)):
            continue
        with contextlib.suppress(OSError):
            sizes_bytes.append(path.stat().st_size)
            tx.effects.files.unlink(blob_id)
    return sizes_bytes


def orphans(store: ObjectStore, orphan_ms: int) -> Iterator[tuple[int, Path]]:
    """Yield the files that no record knows and nobody has written to for a while."""
    view = store.view()
    for name in sorted(entry.name for entry in store.files.root.iterdir()):
        directory = store.files.root / name
        try:
            first = int(name, 16) * IDS_PER_DIRECTORY
            with os.scandir(directory) as entries:  # no path object for each of millions
                names = sorted(entry.name for entry in entries)
        except (ValueError, NotADirectoryError, FileNotFoundError):
            continue  # not ours, or removed meanwhile
        statement = "SELECT id FROM blob WHERE id >= ? AND id < ? AND kind = 1"
        known = {row[0] for row in view.rows(statement, (first, first + IDS_PER_DIRECTORY))}
        for file_name in names:
            with contextlib.suppress(ValueError, OSError):
                blob_id = int(file_name, 16)
                if blob_id in known:
                    continue
                path = directory / file_name
                age_ms = store.clock.now_ms() - path.stat().st_mtime_ns // 1_000_000
                if age_ms >= orphan_ms:
                    yield blob_id, path


def _remove_empty_directories(store: ObjectStore) -> None:
    """Remove directories of blobs whose ids have all been used and whose files are all gone."""
    in_use = store.files.current_directory()
    for directory in store.files.root.iterdir():
        if directory != in_use:
            store.files.remove_directory(directory)

"""The change feed: every mutation of the lake as one ordered event, written in the mutation's own transaction.

A subscriber reads on from the sequence number it has acknowledged, so it sees each event at least once and
in order, whatever crashes in between. Events are kept while a subscriber needs them, and for a while after.
"""

import msgspec

from hosu.objects.transaction import EVENT_COLUMNS, Tx
from hosu.objects.views import View

EVENTS_KEPT_MIN = 100_000
"""Newest events that stay although every subscriber has seen them."""

ACCESS_PREFIX = "ObjectAccessed:"
"""Begins the kinds of events that are no mutations, but reads that somebody asked to be told of."""

BACKUPS = "backup/"
"""What names of subscriptions begin with that are those of backups."""

BACKUP_EVENTS_MAX = 2_000_000
"""Events kept for a backup that nobody takes any more; if it is taken after all, it reads all records instead."""

EVENTS_TRIMMED_PER_CALL = 10_000
"""Bounds how long a trim holds the writer."""


class Event(msgspec.Struct, frozen=True, gc=False):
    """One mutation. Kinds follow S3's event names without the `s3:`; `seq` grows without end, with gaps."""

    seq: int
    at_ms: int
    kind: str
    bucket: str
    key: str
    version_id: str
    size_bytes: int
    etag: str
    actor: str
    request_id: str = ""
    source_ip: str = ""


def read_events(view: View, *, after_seq: int = 0, limit: int = 1000) -> list[Event]:
    """Return the events after a sequence number, oldest first."""
    rows = view.rows(f"SELECT {EVENT_COLUMNS} FROM event WHERE seq > ? ORDER BY seq LIMIT ?", (after_seq, limit))
    return [Event(*row) for row in rows]


def subscribe(tx: Tx, name: str) -> int:
    """Begin, or go on with, a subscription; return the sequence number it has acknowledged."""
    latest = tx.value("SELECT max(seq) FROM event") or 0
    tx.run("INSERT OR IGNORE INTO subscription VALUES (?, ?)", (name, latest))
    return int(tx.value("SELECT seq FROM subscription WHERE name = ?", (name,)))


def acknowledge(tx: Tx, name: str, seq: int) -> None:
    """Say that everything up to seq has been dealt with."""
    tx.run("UPDATE subscription SET seq = max(seq, ?) WHERE name = ?", (seq, name))


def unsubscribe(tx: Tx, name: str) -> None:
    """End a subscription; its events may be trimmed."""
    tx.run("DELETE FROM subscription WHERE name = ?", (name,))


def unsubscribe_below(tx: Tx, prefix: str, *, before_seq: int | None = None) -> None:
    """End the subscriptions whose names begin with prefix; with before_seq those that have acknowledged less."""
    where = "" if before_seq is None else " AND seq < ?"
    values = () if before_seq is None else (before_seq,)
    tx.run(f"DELETE FROM subscription WHERE substr(name, 1, ?) = ?{where}", (len(prefix), prefix, *values))


def trim_events(tx: Tx, *, kept: int = EVENTS_KEPT_MIN) -> int:
    """Remove a bounded number of events that no subscriber needs; return how many went."""
    latest = tx.value("SELECT max(seq) FROM event") or 0
    unsubscribe_below(tx, BACKUPS, before_seq=latest - BACKUP_EVENTS_MAX)
    needed = tx.value("SELECT min(seq) FROM subscription")
    end = latest - max(kept, 1)
    if needed is not None:
        end = min(end, needed)
    tx.run(
        "DELETE FROM event WHERE seq IN (SELECT seq FROM event WHERE seq <= ? ORDER BY seq LIMIT ?)",
        (end, EVENTS_TRIMMED_PER_CALL),
    )
    return tx.changes()

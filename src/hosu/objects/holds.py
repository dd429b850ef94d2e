"""Holds: who reads blob files for long asks the sweep to leave what becomes garbage meanwhile."""

from hosu.objects.transaction import Tx

HOLD_MS = 60 * 60 * 1000
"""How long a hold lasts unless it is extended: a reader that was killed keeps the sweep from its work no longer."""


def hold(tx: Tx, name: str) -> None:
    """Keep every blob file that something refers to now, until the hold is released or has not been extended."""
    tx.run("INSERT OR REPLACE INTO hold VALUES (?, ?, ?)", (name, tx.now_ms, tx.now_ms + HOLD_MS))


def extend_hold(tx: Tx, name: str) -> bool:
    """Let a hold last on; False where it has ended."""
    tx.run("UPDATE hold SET until_ms = ?1 + ?2 WHERE name = ?3 AND until_ms > ?1", (tx.now_ms, HOLD_MS, name))
    return tx.changes() > 0


def release_hold(tx: Tx, name: str) -> None:
    """End a hold."""
    tx.run("DELETE FROM hold WHERE name = ?", (name,))


def swept_until(tx: Tx, end_ms: int) -> int:
    """Return up to when garbage may be swept: end_ms, or the moment before the oldest hold. Ended holds go.

    After the clock was put back a hold lasts no longer than ever, and keeps all that is garbage until then.
    """
    tx.run(
        "UPDATE hold SET until_ms = min(until_ms, ?1 + ?2), since_ms = iif(since_ms > ?1, 0, since_ms) "
        "WHERE until_ms > ?1 + ?2 OR since_ms > ?1",
        (tx.now_ms, HOLD_MS),
    )
    tx.run("DELETE FROM hold WHERE until_ms <= ?", (tx.now_ms,))
    oldest: int | None = tx.value("SELECT min(since_ms) FROM hold")
    return end_ms if oldest is None else min(end_ms, oldest - 1)

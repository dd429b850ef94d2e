"""Alerts: what an administrator has to hear of, one row for each thing that is wrong, however often it is noticed.

Whoever notices raises an alert in the transaction that records what was noticed; somebody else tells people of it.
"""

from enum import StrEnum

import msgspec

from hosu.objects.transaction import Tx
from hosu.objects.views import View

ALERT_COLUMNS = "kind, subject, severity, message, count, first_ms, last_ms, sent_ms, resolved_ms"


class Severity(StrEnum):
    """How soon somebody should look."""

    INFO = "info"
    WARNING = "warning"
    CRITICAL = "critical"


class Alert(msgspec.Struct, frozen=True):
    """One thing that is, or was, wrong. `count` is how often it was noticed since `first_ms`."""

    kind: str
    subject: str
    severity: Severity
    message: str
    count: int
    first_ms: int
    last_ms: int
    sent_ms: int
    """When somebody was last told; 0 for never."""

    resolved_ms: int
    """0 while it stands."""


def raise_alert(tx: Tx, kind: str, subject: str, severity: Severity, message: str) -> None:
    """Note that something is wrong; of what stands already the count, the time and the message move on."""
    tx.touches += 1
    tx.run(
        "INSERT INTO alert VALUES (?1, ?2, ?3, ?4, 1, ?5, ?5, 0, 0) ON CONFLICT (kind, subject) DO UPDATE SET "
        "severity = ?3, message = ?4, last_ms = ?5, resolved_ms = 0, "
        "count = iif(resolved_ms = 0, count + 1, 1), first_ms = iif(resolved_ms = 0, first_ms, ?5), "
        "sent_ms = iif(resolved_ms = 0, sent_ms, 0)",
        (kind, subject, severity, message, tx.now_ms),
    )


def resolve_alert(tx: Tx, kind: str, subject: str) -> bool:
    """Note that something is right again; False where it was not wrong."""
    tx.run(
        "UPDATE alert SET resolved_ms = ? WHERE kind = ? AND subject = ? AND resolved_ms = 0",
        (tx.now_ms, kind, subject),
    )
    return tx.changes() > 0


def list_alerts(view: View, *, resolved: bool = False, limit: int = 1_000) -> list[Alert]:
    """Return the alerts that stand, or with resolved all that are remembered; the latest first."""
    where = "" if resolved else "WHERE resolved_ms = 0"
    rows = view.rows(f"SELECT {ALERT_COLUMNS} FROM alert {where} ORDER BY last_ms DESC LIMIT ?", (limit,))
    return [msgspec.convert(dict(zip(Alert.__struct_fields__, row, strict=True)), Alert) for row in rows]


def count_alerts(view: View) -> list[tuple[str, str, int]]:
    """Return how many alerts stand, by kind and severity."""
    rows = view.rows(
        "SELECT kind, severity, count(*) FROM alert WHERE resolved_ms = 0 GROUP BY kind, severity ORDER BY 1, 2"
    )
    return [(row[0], row[1], row[2]) for row in rows]

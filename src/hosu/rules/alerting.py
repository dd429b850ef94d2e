"""Which alerts somebody has to be told of, by target: each once, again while it stands, and once when it is over.

Targets are known by a name that gives nothing away. What was told to each is kept in the lake, so that a restart tells
nobody twice, and a target that could not be reached hears of it later.
"""

from collections.abc import Sequence
from enum import StrEnum

import msgspec
from blake3 import blake3

from hosu.kernel.settings import Settings
from hosu.objects.alerts import ALERT_COLUMNS, Alert
from hosu.objects.transaction import Tx
from hosu.objects.views import View

BATCH_MAX = 100
"""Alerts told of at once; what is more is told next."""

FLAP_MS = 10 * 60 * 1000
"""What is wrong again within this time of being told is told no sooner."""

RESOLVED_MS_MAX = 24 * 3600 * 1000
"""Nobody is told any more of what was over for longer."""

REMEMBERED_MS = 90 * 24 * 3600 * 1000
"""How long what is over is remembered."""

HOUR_MS = 3600 * 1000
EMAIL = "email"


class Event(StrEnum):
    """Why an alert is told of."""

    RAISED = "raised"
    STANDING = "standing"
    RESOLVED = "resolved"


class Notice(msgspec.Struct, frozen=True):
    """An alert, and why it is told of."""

    event: Event
    alert: Alert


def target_names(settings: Settings) -> list[str]:
    """Return the names of the configured targets: what they are, and of a webhook a hash of its URL."""
    webhooks = [f"webhook-{blake3(url.encode()).hexdigest()[:12]}" for url in settings.alert_webhooks]
    return [*webhooks, *([EMAIL] if settings.alert_addresses else [])]


_RESOLVED = (
    "a.resolved_ms > ?2 AND (t.target IS NULL OR t.is_resolved = 0 OR (t.first_ms <> a.first_ms AND t.told_ms <= ?3))"
)
_NEWS = "t.target IS NULL OR ((t.first_ms <> a.first_ms OR t.severity <> a.severity) AND t.told_ms <= ?3)"
_DUE = f"(a.resolved_ms = 0 AND ({_NEWS} OR t.told_ms <= ?4)) OR ({_RESOLVED})"
_FROM = "FROM alert a LEFT JOIN alert_told t ON t.target = ?1 AND t.kind = a.kind AND t.subject = a.subject"
_COLUMNS = ", ".join(f"a.{name.strip()}" for name in ALERT_COLUMNS.split(","))


def _values(settings: Settings, target: str, now_ms: int) -> tuple[object, ...]:
    repeat_ms = settings.alert_repeat_hours * HOUR_MS
    return target, now_ms - RESOLVED_MS_MAX, now_ms - FLAP_MS, now_ms - repeat_ms


def is_any_due(view: View, settings: Settings) -> bool:
    """Say whether any target is to be told of anything."""
    if not view.value("SELECT EXISTS (SELECT 1 FROM alert)"):
        return False
    return any(
        view.value(f"SELECT EXISTS (SELECT 1 {_FROM} WHERE {_DUE})", _values(settings, target, view.now_ms))
        for target in target_names(settings)
    )


def read_due(view: View, settings: Settings, target: str, *, limit: int = BATCH_MAX) -> tuple[list[Notice], int]:
    """Return what a target is to be told of, the worst and oldest first, and how much more there is."""
    values = _values(settings, target, view.now_ms)
    rows = view.rows(
        f"SELECT {_COLUMNS}, CASE WHEN a.resolved_ms > 0 THEN 'resolved' "
        f"WHEN {_NEWS} THEN 'raised' ELSE 'standing' END {_FROM} WHERE {_DUE} "
        "ORDER BY a.resolved_ms > 0, a.severity <> 'critical', a.severity = 'info', a.first_ms LIMIT ?5",
        (*values, limit),
    )
    notices = [
        Notice(Event(row[-1]), msgspec.convert(dict(zip(Alert.__struct_fields__, row, strict=False)), Alert))
        for row in rows
    ]
    if len(notices) < limit:
        return notices, 0
    return notices, view.value(f"SELECT count(*) {_FROM} WHERE {_DUE}", values) - len(notices)


def note_told(tx: Tx, target: str, notices: Sequence[Notice]) -> None:
    """Note that a target was told; what has changed since it was read is due again."""
    for notice in notices:
        alert = notice.alert
        tx.run(
            "INSERT OR REPLACE INTO alert_told VALUES (?, ?, ?, ?, ?, ?, ?)",
            (
                target, alert.kind, alert.subject, alert.first_ms, alert.severity, tx.now_ms,
                int(notice.event is Event.RESOLVED),
            ),
        )  # fmt: skip
        tx.run(
            "UPDATE alert SET sent_ms = ? WHERE kind = ? AND subject = ? AND first_ms = ?",
            (tx.now_ms, alert.kind, alert.subject, alert.first_ms),
        )
    tx.touches += 1


def forget_old(tx: Tx) -> int:
    """Forget what has long been over; return how many alerts that were."""
    tx.run("DELETE FROM alert WHERE resolved_ms > 0 AND resolved_ms < ?", (tx.now_ms - REMEMBERED_MS,))
    count = tx.changes()
    if count:
        tx.run(
            "DELETE FROM alert_told WHERE NOT EXISTS "
            "(SELECT 1 FROM alert a WHERE a.kind = alert_told.kind AND a.subject = alert_told.subject)"
        )
    return count


def resolve_quiet(tx: Tx, kind: str, quiet_ms: int) -> int:
    """Take alerts of a kind as over which were not noticed for so long; return how many."""
    tx.run(
        "UPDATE alert SET resolved_ms = ? WHERE kind = ? AND resolved_ms = 0 AND last_ms < ?",
        (tx.now_ms, kind, tx.now_ms - quiet_ms),
    )
    return tx.changes()

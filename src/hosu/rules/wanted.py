"""Whether there is anything for each job to do: a few cheap reads, with nothing imported that a job needs.

The process that serves S3 asks them too, to have the keeper started.
"""

from collections.abc import Callable, Mapping

from hosu.kernel.settings import Settings
from hosu.objects.views import View
from hosu.rules.alerting import is_any_due
from hosu.rules.scrub_times import is_scrub_due

Wanted = Callable[[View, Settings], bool]

BACKUP_DUE = "backup_due_ms"
"""Counter that says when the next backup of the lake's schedule is due; none without one."""

BACKUP_NOTED = "backup_noted_ms"
"""Counter that says when that was worked out."""

TABLES_SEEN = "tables_seen_seq"
"""Counter that says up to which event of the change feed the tables were looked after."""

TABLES_DUE = "tables_due_ms"
"""Counter that says when tables are due by time alone; none while nothing in them grows old."""

TABLES_RESTED = "tables_rested_ms"
"""Counter that says when small buckets that changed after they were compacted whole are so again; none without any."""

TABLES_KEEPER = "hosu:tables"
"""Who commits to tables for the keeper: its own snapshots want no look."""

TABLES_EVENTS = 10_000
"""Newest events that are searched for snapshots of tables; where more were not looked at, the job reads them."""

CLOCK_STEP_MS = 60 * 60 * 1000
"""A time noted further ahead than this is of a clock that was wrong: what follows from it counts for nothing."""


def has_bucket_document(view: View, kind: str) -> bool:
    """Say whether any bucket has such a document."""
    return bool(view.value("SELECT EXISTS (SELECT 1 FROM bucket_document WHERE kind = ?)", (kind,)))


def _has_mark(view: View, _: Settings) -> bool:
    return bool(view.value("SELECT body ->> '$.high_water' > 0 FROM lake_document WHERE kind = 'capacity'"))


def _has_merit(view: View, _: Settings) -> bool:
    return bool(view.value("SELECT 1 FROM lake_document WHERE kind = 'merit'"))


def _has_uncoded(view: View, _: Settings) -> bool:
    return bool(view.value("SELECT EXISTS (SELECT 1 FROM uncoded)"))


def _has_lifecycle(view: View, _: Settings) -> bool:
    return has_bucket_document(view, "lifecycle")


def _has_notifications(view: View, _: Settings) -> bool:
    return bool(
        view.value("SELECT EXISTS (SELECT 1 FROM notification) OR EXISTS (SELECT 1 FROM undelivered WHERE is_dead = 0)")
    )


def _has_copies(view: View, _: Settings) -> bool:
    """Say whether a protected prefix has a location, which its document then names, or copies are somewhere."""
    named = "SELECT instr(body, '\"copy\":') > 0 FROM lake_document WHERE kind = 'protection'"
    return bool(view.value(named) or view.value("SELECT 1 FROM copy_location LIMIT 1"))


def is_backup_due(view: View, _: Settings) -> bool:
    """Say whether a backup of the lake's schedule is due."""
    due_ms = view.value("SELECT value FROM counter WHERE name = ?", (BACKUP_DUE,))
    noted_ms = view.value("SELECT value FROM counter WHERE name = ?", (BACKUP_NOTED,)) or 0
    return due_ms is not None and (due_ms <= view.now_ms or noted_ms > view.now_ms + CLOCK_STEP_MS)


def split_warehouse(place: str) -> tuple[str | None, str]:
    """Return the bucket and the folder of a warehouse; no bucket for one outside of the lake."""
    if place.startswith(("/", "s3://")):
        return None, ""
    bucket, _, folder = place.partition("/")
    return bucket, folder.strip("/")


def _has_changed_tables(view: View, settings: Settings) -> bool:
    """Say whether tables got snapshots, or are due by time. A warehouse elsewhere tells nothing, and is walked over."""
    bucket, _ = split_warehouse(settings.warehouse)
    if bucket is None:
        return True
    due_ms = view.value("SELECT min(value) FROM counter WHERE name IN (?, ?)", (TABLES_DUE, TABLES_RESTED))
    if due_ms is not None and due_ms <= view.now_ms:
        return True
    if view.value("SELECT 1 FROM bucket WHERE name = ?", (bucket,)) is None:
        return False
    seen = view.value("SELECT value FROM counter WHERE name = ?", (TABLES_SEEN,)) or 0
    latest = view.value("SELECT max(seq) FROM event") or 0
    if latest - seen > TABLES_EVENTS:
        return True
    return has_new_snapshots(view, settings, seen, latest)


def has_new_snapshots(view: View, settings: Settings, after_seq: int, last_seq: int) -> bool:
    """Say whether events of the change feed are of snapshots, tags or schemas that somebody else made in a table."""
    bucket, folder = split_warehouse(settings.warehouse)
    root = f"{folder}/" if folder else ""
    return bucket is not None and bool(
        view.value(
            "SELECT 1 FROM event WHERE seq > ? AND seq <= ? AND bucket = ? AND substr(key, 1, ?) = ? "
            "AND (key LIKE '%.db/%/snapshot/snapshot-%' OR key LIKE '%.db/%/tag/tag-%' "
            "OR key LIKE '%.db/%/schema/schema-%') "
            "AND kind LIKE 'ObjectCreated%' AND actor <> ? LIMIT 1",
            (after_seq, last_seq, bucket, len(root), root, TABLES_KEEPER),
        )
    )


WANTED: Mapping[str, Wanted] = {
    "alerts": is_any_due,
    "backup": is_backup_due,
    "capacity": _has_mark,
    "events": _has_notifications,
    "cold": _has_uncoded,
    "copies": _has_copies,
    "lifecycle": _has_lifecycle,
    "merit": _has_merit,
    "scrub": is_scrub_due,
    "tables": _has_changed_tables,
}
"""By the job's name."""


def is_any_wanted(view: View, settings: Settings) -> bool:
    """Say whether there is anything to do for any job."""
    return any(wanted(view, settings) for wanted in WANTED.values())

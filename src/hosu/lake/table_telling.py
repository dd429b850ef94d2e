"""What the keeper says of the tables that it looks after: metrics, lines of the audit log, alerts."""

from collections.abc import Collection, Iterator, Sequence
from functools import partial
from typing import TYPE_CHECKING, Final

from hosu.objects.alerts import Severity, raise_alert, resolve_alert
from hosu.objects.audit import Origin
from hosu.objects.transaction import Tx
from hosu.rules.keeping import Keep
from hosu.rules.wanted import TABLES_KEEPER

if TYPE_CHECKING:
    from hosu.tables.compaction.compacting import Outcome
    from hosu.tables.context import TableContext
    from hosu.tables.upkeep.report import Report

RULE: Final = "tables"
ALERT: Final = "table-upkeep"
NAMED_MAX: Final = 10
"""How many of what expired are named in a line of the audit log."""


class Teller:
    """Tells of one warehouse."""

    def __init__(self, keep: Keep, bucket: str | None) -> None:
        self._keep = keep
        self._bucket = bucket or ""

    def compacted(self, ctx: "TableContext", outcome: "Outcome") -> None:
        """Tell of every bucket that was compacted."""
        lines = []
        for done in outcome.done:
            change = done.change
            self._keep.count(f"rule_actions/{RULE}/Compact", 1)
            self._keep.count(f"rule_bytes/{RULE}/Compact", done.read_bytes)
            made = f"{len(change.compact_before)} files became {len(change.compact_after)}"
            key = ctx.layout.bucket_path(change.partition, change.bucket)
            lines.append(("Compact", key, f"{done.reason}: {made}, {done.rows} rows read"))
        self._audit(lines)

    def expired(self, ctx: "TableContext", report: "Report") -> None:
        """Tell of what was made and of what went."""
        lines = []
        for action, number, reason in _done(report):
            self._keep.count(f"rule_actions/{RULE}/{action}", number)
            lines.append((action, f"{ctx.layout.branch_path}/", reason))
        if report.bytes_freed:
            self._keep.count(f"rule_bytes/{RULE}/Expire", report.bytes_freed)
        self._audit(lines)

    def failed(self, subject: str, message: str, *, is_again: bool) -> None:
        """Count a failure; of one that comes again people are told."""
        self._keep.count(f"rule_errors/{RULE}", 1)
        if is_again:
            text = f"{message}; other tables are looked after. What reads and writes {subject} goes on, ever slower"
            self._keep.store.commit(
                partial(raise_alert, kind=ALERT, subject=subject, severity=Severity.WARNING, message=text)
            )

    def is_right(self, subject: str) -> None:
        """Say that a table is looked after, or that there is no such table any more."""
        if subject in self._standing():
            self._keep.store.commit(partial(resolve_alert, kind=ALERT, subject=subject))

    def forget_others(self, subjects: Collection[str]) -> None:
        """Say that what was wrong with any other table than these is over: they are gone."""
        for subject in self._standing():
            if subject not in subjects:
                self._keep.store.commit(partial(resolve_alert, kind=ALERT, subject=subject))

    def _standing(self) -> set[str]:
        rows = self._keep.store.view().rows("SELECT subject FROM alert WHERE kind = ? AND resolved_ms = 0", (ALERT,))
        return {row[0] for row in rows}

    def _audit(self, lines: Sequence[tuple[str, str, str]]) -> None:
        """Leave a line in the audit log for each action, key and reason."""

        def leave(tx: Tx) -> None:
            for position, (action, key, reason) in enumerate(lines):
                if position:
                    tx.end_verb()  # the writer ends the last one
                tx.begin_verb(
                    Origin("", f"{RULE}:{action}", TABLES_KEEPER, bucket=self._bucket, key=key, reason=reason)
                )
                tx.touches += 1

        if lines:
            self._keep.store.commit(leave)


def _done(report: "Report") -> Iterator[tuple[str, int, str]]:
    """Yield what a run of the upkeep has done: the action, how often, and to what."""
    for action, what in (
        ("ExpireSnapshot", report.snapshots),
        ("ExpireChangelog", report.changelogs),
        ("ExpireConsumer", report.consumers_deleted),
        ("CreateTag", report.tags_created),
        ("ExpireTag", report.tags_deleted),
        ("DropPartition", report.partitions_dropped),
    ):
        if what:
            names = [str(name) for name in what]
            shown = ", ".join(names[:NAMED_MAX]) + (" …" if len(names) > NAMED_MAX else "")
            yield action, len(names), f"{len(names)} by age or number: {shown}"

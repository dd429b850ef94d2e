"""The keeper's job that keeps a lake's tables healthy: compaction, expiry of snapshots, tags and partitions.

It follows the change feed: a snapshot that somebody commits to the warehouse, be it through S3 or in this process, has
its table looked at. What time alone makes due is noted in a counter of the lake. A warehouse outside of the lake has no
feed, and is walked over once a minute.
"""

import math
import re
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from hosu.kernel.errors import ErrorKind, HosuError
from hosu.kernel.log import get_logger
from hosu.objects.audit import Origin
from hosu.objects.feed import read_events
from hosu.objects.fileio import ObjectFileIO
from hosu.objects.store import ObjectStore
from hosu.objects.transaction import Tx
from hosu.rules.keeping import Keep
from hosu.rules.locations import open_location
from hosu.rules.wanted import TABLES_DUE, TABLES_KEEPER, TABLES_RESTED, TABLES_SEEN, split_warehouse

if TYPE_CHECKING:  # the libraries of tables take long to load, and much memory
    from hosu.tables.catalog import Catalog
    from hosu.tables.compaction.compacting import Outcome
    from hosu.tables.context import TableContext
    from hosu.tables.records import Snapshot
    from hosu.tables.upkeep.report import Report

RULE: Final = "tables"
FOLLOW_S: Final = 2.0
"""How soon it looks again after a table has changed."""

IDLE_S: Final = 60.0
AGE_MS: Final = 10 * 60 * 1000
"""How often a table is looked at whose snapshots, tags or partitions expire by their age."""

SMALL_BYTES: Final = 16 << 20
"""A bucket below this size is compacted whole when it has changed: one run is read several times faster than many."""

REST: Final = 20
"""How many times as long as compacting small buckets of a table whole took, they are then left to wait: under commits
without end it takes a twentieth of a core. Meanwhile only as much is compacted as the number of their runs asks for."""

REST_QUIET: Final = 9
"""The same for a table that got no commit since the last look: with commits that come slowly, a tenth of a core."""

EVENTS_PER_READ: Final = 1_000
NAMED_MAX: Final = 10
"""How many of what expired are named in a line of the audit log."""

_LOG = get_logger("tables")


@dataclass
class Found:
    """Tables that changed, by name and branch."""

    tables: dict[tuple[str, str], None] = field(default_factory=dict)
    seen: int = 0
    is_all: bool = False
    """Whether any table may have changed, since not all events are there any more."""


class TablesJob:
    """Looks after the tables of a lake's warehouse."""

    name = RULE

    def __init__(self, keep: Keep) -> None:
        self._keep = keep
        self._store = keep.store
        self._bucket, self._folder = split_warehouse(keep.settings.warehouse)
        self._catalog: Catalog | None = None
        self._seen: dict[str, tuple[int, int]] = {}
        """Of tables outside of the lake: the latest snapshot, and when it was looked at."""
        self._rests_s: dict[tuple[str, str], tuple[float, float]] = {}
        """Of tables whose small buckets rest: until when, by the monotonic clock, and until when if they are quiet."""
        self._waiting: set[tuple[str, str]] = set()
        """Those of them that have changed meanwhile."""

    def run(self, stop: threading.Event) -> float:
        """Look after the tables that have changed, and those that are due by time; return when to look again."""
        store = self._store
        now_ms = store.clock.now_ms()
        found = self._changed()
        is_due = _counter(store, TABLES_DUE, now_ms + 1) <= now_ms
        # A keeper that began anew does not know which tables waited.
        is_due = is_due or (_counter(store, TABLES_RESTED, now_ms + 1) <= now_ms and not self._waiting)
        catalog = self._open()
        if catalog is None:
            self._note(found.seen, None, None)
            return IDLE_S
        is_whole = is_due or found.is_all or self._bucket is None
        rested = [key for key in self._waiting if not self._rest_s(key, is_quiet=key not in found.tables)]
        names = list(dict.fromkeys([*found.tables, *rested, *(_all_tables(catalog) if is_whole else ())]))
        ages = False
        for name, branch in names:
            if stop.is_set():
                return 0.0
            is_rested = (name, branch) in rested
            ages = self._look_after(catalog, name, branch, stop, is_rested=is_rested) or ages
        if stop.is_set():
            return 0.0  # the last table may have been left halfway
        rests_s = [
            max(self._rest_s(key, is_quiet=True), FOLLOW_S if key in found.tables else 0.0) for key in self._waiting
        ]
        rest_s = min(rests_s, default=None)
        pause_s = IDLE_S if rest_s is None else min(rest_s, IDLE_S)
        if self._bucket is None:
            return pause_s
        due = [now_ms + AGE_MS] if ages else []
        if not is_whole:  # the others may be due before
            due += [at_ms for at_ms in [_counter(store, TABLES_DUE, 0)] if at_ms]
        self._note(found.seen, min(due, default=None), None if rest_s is None else now_ms + math.ceil(rest_s * 1000))
        return min(FOLLOW_S, pause_s) if found.tables else pause_s

    def _changed(self) -> Found:
        """Read on in the change feed: which tables got snapshots that are not the keeper's own."""
        view = self._store.view()
        found = Found(seen=_counter(self._store, TABLES_SEEN, 0))
        if self._bucket is None:
            return found
        oldest = view.value("SELECT min(seq) FROM event")
        found.is_all = found.seen == 0 or (oldest is not None and found.seen + 1 < oldest)
        pattern = _snapshot_pattern(self._folder)
        while events := read_events(view, after_seq=found.seen, limit=EVENTS_PER_READ):
            found.seen = events[-1].seq
            for event in events:
                match = pattern.match(event.key) if event.bucket == self._bucket else None
                if match is not None and event.actor != TABLES_KEEPER and event.kind.startswith("ObjectCreated"):
                    name = f"{match['database']}.{match['table']}"
                    found.tables[name, match["branch"] or "main"] = None
        return found

    def _open(self) -> "Catalog | None":
        """Return the catalog of the warehouse, None where there is no such bucket."""
        if self._catalog is None:
            from hosu.tables.catalog import Catalog  # noqa: PLC0415 - not before there are tables

            store, settings = self._store, self._keep.settings
            if self._bucket is None:
                files = open_location(settings.warehouse, store_path=store.path, clock=store.clock)
            elif store.view().value("SELECT 1 FROM bucket WHERE name = ?", (self._bucket,)) is None:
                return None
            else:
                files = ObjectFileIO(store, self._bucket, actor=TABLES_KEEPER)
            self._catalog = Catalog(files, self._folder, clock=store.clock)
        return self._catalog

    def _look_after(
        self, catalog: "Catalog", name: str, branch: str, stop: threading.Event, *, is_rested: bool
    ) -> bool:
        """Compact and clean up one table; say whether anything in it will expire by its age."""
        from hosu.tables.snapshots import find  # noqa: PLC0415 - as above
        from hosu.tables.upkeep.run import upkeep_table  # noqa: PLC0415 - as above

        if is_rested:
            self._waiting.discard((name, branch))
            self._rests_s.pop((name, branch), None)
        try:
            ctx = catalog.open(name, branch=branch)
            if not ctx.options.upkeep:
                return False
            latest = find.latest(ctx)
            if latest is None:
                return False
            if self._bucket is None and not self._has_changed(str(ctx.identifier), latest.id) and not is_rested:
                return False
            outcome = self._compact(ctx, latest, (name, branch), stop)
            self._tell_compacted(ctx, outcome)
            report = upkeep_table(ctx)
            self._tell_expired(ctx, report)
        except HosuError as error:
            if error.kind in {ErrorKind.SHUTTING_DOWN, ErrorKind.TABLE_NOT_FOUND, ErrorKind.DATABASE_NOT_FOUND}:
                return False
            _LOG.error("a table cannot be looked after", table=name, kind=str(error.kind), message=error.message)
            self._keep.count(f"rule_errors/{RULE}", 1)
            return True
        except Exception as error:  # noqa: BLE001 - whatever it was, it is of one table
            _LOG.error("a table cannot be looked after", table=name, exc_info=error)
            self._keep.count(f"rule_errors/{RULE}", 1)
            return True
        return has_ages(ctx) or outcome.held + outcome.lost > 0

    def _compact(
        self, ctx: "TableContext", latest: "Snapshot", key: tuple[str, str], stop: threading.Event
    ) -> "Outcome":
        """Compact a table, its small buckets whole unless they rest."""
        from hosu.tables.compaction.compacting import run_compaction  # noqa: PLC0415 - as above
        from hosu.tables.compaction.inline import is_full_due  # noqa: PLC0415 - as above
        from hosu.tables.compaction.picking import TOTAL_SIZE  # noqa: PLC0415 - as above

        began_s = self._store.clock.monotonic()
        rests = self._rest_s(key, is_quiet=False) > 0
        outcome = run_compaction(
            ctx,
            full=is_full_due(ctx, latest),
            small_bytes=None if rests else SMALL_BYTES,
            stop=stop,
            gives_up=True,
        )
        if rests:
            self._waiting.add(key)
            return outcome
        self._rests_s.pop(key, None)
        if any(done.reason == TOTAL_SIZE for done in outcome.done):
            now_s = self._store.clock.monotonic()
            took_s = now_s - began_s
            self._rests_s[key] = (now_s + REST * took_s, now_s + REST_QUIET * took_s)
        return outcome

    def _rest_s(self, key: tuple[str, str], *, is_quiet: bool) -> float:
        """Return how long the small buckets of a table rest yet."""
        until_s = self._rests_s.get(key, (0.0, 0.0))[is_quiet]
        return max(until_s - self._store.clock.monotonic(), 0.0)

    def _has_changed(self, name: str, snapshot_id: int) -> bool:
        """Say of a table outside of the lake whether it has a new snapshot, or was not looked at for long."""
        now_ms = self._store.clock.now_ms()
        seen_id, at_ms = self._seen.get(name, (0, 0))
        if seen_id == snapshot_id and now_ms - at_ms < AGE_MS:
            return False
        self._seen[name] = (snapshot_id, now_ms)
        return True

    def _tell_compacted(self, ctx: "TableContext", outcome: "Outcome") -> None:
        lines = []
        for done in outcome.done:
            change = done.change
            self._keep.count(f"rule_actions/{RULE}/Compact", 1)
            self._keep.count(f"rule_bytes/{RULE}/Compact", done.read_bytes)
            made = f"{len(change.compact_before)} files became {len(change.compact_after)}"
            key = ctx.layout.bucket_path(change.partition, change.bucket)
            lines.append(("Compact", key, f"{done.reason}: {made}, {done.rows} rows read"))
        self._audit(lines)

    def _tell_expired(self, ctx: "TableContext", report: "Report") -> None:
        lines = []
        for action, number, reason in _done(report):
            self._keep.count(f"rule_actions/{RULE}/{action}", number)
            lines.append((action, f"{ctx.layout.branch_path}/", reason))
        if report.bytes_freed:
            self._keep.count(f"rule_bytes/{RULE}/Expire", report.bytes_freed)
        self._audit(lines)

    def _audit(self, lines: Sequence[tuple[str, str, str]]) -> None:
        """Leave a line in the audit log for each action, key and reason."""

        def leave(tx: Tx) -> None:
            for position, (action, key, reason) in enumerate(lines):
                if position:
                    tx.end_verb()  # the writer ends the last one
                bucket = self._bucket or ""
                tx.begin_verb(Origin("", f"{RULE}:{action}", TABLES_KEEPER, bucket=bucket, key=key, reason=reason))
                tx.touches += 1

        if lines:
            self._store.commit(leave)

    def _note(self, seen: int, due_ms: int | None, rested_ms: int | None) -> None:
        """Say how far the feed was read, and when time alone makes something due."""
        new = {TABLES_SEEN: seen or None, TABLES_DUE: due_ms, TABLES_RESTED: rested_ms}
        if any((_counter(self._store, name, 0) or None) != value for name, value in new.items()):
            self._store.commit(lambda tx: note_tables(tx, new))


def note_tables(tx: Tx, counters: Mapping[str, int | None]) -> None:
    """Set the counters that say what is to be looked at; None takes one away."""
    for name, value in counters.items():
        if value is None:
            tx.run("DELETE FROM counter WHERE name = ?", (name,))
        else:
            tx.run("INSERT OR REPLACE INTO counter VALUES (?, ?)", (name, value))


def has_ages(ctx: "TableContext") -> bool:
    """Say whether time alone will make something of a table due."""
    from hosu.tables.snapshots import find  # noqa: PLC0415 - as above

    options = ctx.options
    by_time = (options.partition_expiration_time, options.consumer_expiration_time)
    if options.tag_automatic_creation != "none" or any(value is not None for value in by_time):
        return True
    earliest, latest = find.earliest_id(ctx), find.latest_id(ctx)
    return earliest is not None and latest is not None and latest - earliest >= options.snapshot_num_retained_min


def _all_tables(catalog: "Catalog") -> Iterator[tuple[str, str]]:
    """Yield every table, and the branches of those that can be opened."""
    from hosu.tables.snapshots import branches  # noqa: PLC0415 - as above

    for database in catalog.databases():
        for table in catalog.tables(database):
            name = f"{database}.{table}"
            yield name, "main"
            with suppress(Exception):  # said where the table itself is looked after
                for branch in branches.branches(catalog.open(name)):
                    yield name, branch


def _snapshot_pattern(folder: str) -> re.Pattern[str]:
    root = re.escape(f"{folder}/") if folder else ""
    return re.compile(
        rf"{root}(?P<database>[^/]+)\.db/(?P<table>[^/]+)/(branch/branch-(?P<branch>[^/]+)/)?snapshot/snapshot-\d+$"
    )


def _counter(store: ObjectStore, name: str, default: int) -> int:
    value = store.view().value("SELECT value FROM counter WHERE name = ?", (name,))
    return default if value is None else int(value)


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

"""The keeper's job that keeps a lake's tables healthy: compaction, expiry of snapshots, tags and partitions.

It follows the change feed: a snapshot that somebody commits to the warehouse, be it through S3 or in this process, has
its table looked at. What time alone makes due is noted in a counter of the lake. A warehouse outside of the lake has no
feed, and is walked over once a minute, sooner while something changes there.
"""

import math
import threading
from time import process_time
from typing import TYPE_CHECKING, Final

from hosu.kernel.errors import ErrorKind, HosuError
from hosu.kernel.log import get_logger
from hosu.lake.table_feed import Feed, Found, TableKey, all_tables, counter
from hosu.lake.table_telling import RULE, Teller
from hosu.lake.warehouses import open_warehouse
from hosu.rules.keeping import Keep
from hosu.rules.wanted import TABLES_DUE, TABLES_KEEPER, TABLES_RESTED, split_warehouse

if TYPE_CHECKING:  # the libraries of tables take long to load, and much memory
    from hosu.tables.catalog import Catalog
    from hosu.tables.compaction.compacting import Outcome
    from hosu.tables.context import TableContext
    from hosu.tables.records import Snapshot

FOLLOW_S: Final = 2.0
"""How soon it looks again while it runs: a read of the change feed where nothing has changed."""

FOLLOW_S_MIN: Final = 0.1
COMMITS: Final = 8
"""Commits to one table between two looks that it aims at: each leaves a run more to be merged by reads."""

SHARE: Final = 1
"""How many times as long as a look kept the processor busy it waits at least for the next: with the rest that the
keeper takes after each run, at most a third of a core goes into it. By the clock a look may take far longer, for it has
a low priority: runs have piled up meanwhile, and waiting in proportion would have more of them pile up."""

SHARE_OUTSIDE: Final = 10
"""The same where each look is a walk over all tables."""

IDLE_S: Final = 60.0
AGE_MS: Final = 10 * 60 * 1000
"""How often a table is looked at whose snapshots, tags or partitions expire by their age."""

TURN_S: Final = 60.0
"""How long one table is compacted before others have their turn; a bucket that was begun is done to its end."""

RETRY_S: Final = 10.0
"""How long a table that cannot be looked after is left alone at first; each time twice as long, up to `AGE_MS`."""

SMALL_BYTES: Final = 16 << 20
"""A bucket below this size is compacted whole when it has changed: one run is read several times faster than many."""

REST: Final = 20
"""How many times as long as compacting small buckets of a table whole took, they are then left to wait: under commits
without end it takes a twentieth of a core. Meanwhile only as much is compacted as the number of their runs asks for."""

REST_QUIET: Final = 9
"""The same for a table that got no commit since the last look: with commits that come slowly, a tenth of a core."""

OTHERS_MS: Final = 10 * 60 * 1000
"""How long after its last commit a writer that is not hosu is taken to be at work."""

OTHERS_RUNS: Final = 2
"""How many times as many runs as the table's trigger says are left to such a writer, which compacts at the trigger
itself, if it ever does: it gives up with an error where somebody else compacts what it is about to."""

_GONE: Final = frozenset({ErrorKind.TABLE_NOT_FOUND, ErrorKind.DATABASE_NOT_FOUND, ErrorKind.BRANCH_NOT_FOUND})
_LOG = get_logger("tables")


class _Turn(threading.Event):
    """Is set once the keeper ends, or a table has had its time while others wait."""

    def __init__(self, keep: Keep, stop: threading.Event) -> None:
        super().__init__()
        self._clock, self._stop = keep.store.clock, stop
        self._until_s = self._clock.monotonic() + TURN_S

    def is_set(self) -> bool:
        return self._stop.is_set() or self._clock.monotonic() >= self._until_s


class TablesJob:
    """Looks after the tables of a lake's warehouse."""

    name = RULE

    def __init__(self, keep: Keep) -> None:
        self._keep = keep
        self._store = keep.store
        self._bucket, self._folder = split_warehouse(keep.settings.warehouse)
        self._feed = Feed(keep.store, self._bucket, self._folder)
        self._tell = Teller(keep, self._bucket)
        self._catalog: Catalog | None = None
        self._follow_s = FOLLOW_S
        self._seen: dict[TableKey, tuple[int, int]] = {}
        """Of tables outside of the lake: the latest snapshot, and when it was looked at."""
        self._rests_s: dict[TableKey, tuple[float, float]] = {}
        """Of tables whose small buckets rest: until when, by the monotonic clock, and until when if they are quiet."""
        self._waiting: set[TableKey] = set()
        """Those of them that have changed meanwhile, and tables whose turn was over."""
        self._failed: dict[TableKey, tuple[int, float]] = {}
        """Of tables that cannot be looked after: how often they could not, and until when they are left alone."""

    def run(self, stop: threading.Event) -> float:
        """Look after the tables that have changed, and those that are due by time; return when to look again."""
        store = self._store
        now_ms, began_s, busy_s = store.clock.now_ms(), store.clock.monotonic(), process_time()
        found = self._feed.changed()
        is_due = counter(store, TABLES_DUE, now_ms + 1) <= now_ms
        # A keeper that began anew does not know which tables waited.
        is_due = is_due or (counter(store, TABLES_RESTED, now_ms + 1) <= now_ms and not self._waiting)
        catalog = self._open()
        if catalog is None:
            self._feed.note(found, {TABLES_DUE: None, TABLES_RESTED: None})
            return IDLE_S
        is_whole = is_due or found.is_all or self._bucket is None
        every = list(all_tables(catalog)) if is_whole else []
        if is_whole:
            self._tell.forget_others({_subject(key) for key in every})
        ages, is_changing = False, False
        for key, is_rested in self._keys(found, every).items():
            if stop.is_set():
                return 0.0
            has_changed, has_ages_ = self._look_after(catalog, key, stop, is_rested=is_rested)
            is_changing, ages = is_changing or has_changed, ages or has_ages_
        if stop.is_set():
            return 0.0  # the last table may have been left halfway
        rests_s = [
            max(self._rest_s(key, is_quiet=True), FOLLOW_S if key in found.tables else 0.0)
            for key in self._waiting - self._failed.keys()  # those that failed wait for their own time
        ]
        rests_s += [max(until_s - store.clock.monotonic(), 0.0) for _, until_s in self._failed.values()]
        if self._bucket is None:
            took_s = store.clock.monotonic() - began_s
            pause_s = min(max(SHARE_OUTSIDE * took_s, FOLLOW_S), IDLE_S) if is_changing else IDLE_S
            return min([pause_s, *rests_s])
        due = [now_ms + AGE_MS] if ages else []
        if not is_whole:  # the others may be due before
            due += [at_ms for at_ms in [counter(store, TABLES_DUE, 0)] if at_ms]
        rest_ms = now_ms + math.ceil(min(rests_s) * 1000) if rests_s else None
        self._feed.note(found, {TABLES_DUE: min(due, default=None), TABLES_RESTED: rest_ms})
        return self._pause_s(found, process_time() - busy_s, rests_s)

    def _keys(self, found: Found, every: list[TableKey]) -> dict[TableKey, bool]:
        """Return the tables that are looked after now, each with whether it has rested long enough."""
        now_s = self._store.clock.monotonic()
        rested = {key for key in self._waiting if not self._rest_s(key, is_quiet=key not in found.tables)}
        again = {key for key, (_, until_s) in self._failed.items() if until_s <= now_s}
        keys = dict.fromkeys([*found.tables, *sorted(rested | again), *every])
        return {key: key in rested for key in keys if key not in self._failed or key in again}

    def _pause_s(self, found: Found, busy_s: float, rests_s: list[float]) -> float:
        """Return when to look again, so that no table gets many commits meanwhile."""
        if found.most:
            self._follow_s = min(max(self._follow_s * COMMITS / found.most, FOLLOW_S_MIN), FOLLOW_S)
        else:
            self._follow_s = FOLLOW_S
        return max(min([self._follow_s, *rests_s]), SHARE * busy_s)

    def _open(self) -> "Catalog | None":
        """Return the catalog of the warehouse, None where there is no such bucket."""
        if self._catalog is None:
            store = self._store
            if self._bucket is not None and store.view().value(_BUCKET_SQL, (self._bucket,)) is None:
                return None
            from hosu.tables.catalog import Catalog  # noqa: PLC0415 - not before there are tables

            warehouse = open_warehouse(self._keep.settings.warehouse, store, actor=TABLES_KEEPER)
            self._catalog = Catalog(warehouse.files, warehouse.folder, clock=store.clock)
        return self._catalog

    def _look_after(
        self, catalog: "Catalog", key: TableKey, stop: threading.Event, *, is_rested: bool
    ) -> tuple[bool, bool]:
        """Compact and clean up one table; say whether it had changed, and whether anything will expire by its age."""
        from hosu.tables.snapshots import find  # noqa: PLC0415 - as above

        if is_rested:
            self._waiting.discard(key)
            self._rests_s.pop(key, None)
        try:
            ctx = catalog.open(key[0], branch=key[1])
            latest = find.latest(ctx) if ctx.options.upkeep else None
            if latest is None or not (self._has_changed(key, latest.id) or is_rested or key in self._failed):
                self._succeed(key)
                return False, False
            outcome = self._do(ctx, latest, key, stop)
        except HosuError as error:
            if error.kind in _GONE:
                self._succeed(key)
                self._waiting.discard(key)
                return False, False
            if error.kind is ErrorKind.SHUTTING_DOWN:
                return False, False
            self._fail(key, error, message=error.message, is_known=True)
            return True, True
        except Exception as error:  # noqa: BLE001 - whatever it was, it is of one table
            self._fail(key, error, message=f"{type(error).__name__}: {error}", is_known=False)
            return True, True
        self._succeed(key)
        return True, has_ages(ctx) or outcome.held + outcome.lost > 0 or self._has_others(ctx, latest)

    def _do(self, ctx: "TableContext", latest: "Snapshot", key: TableKey, stop: threading.Event) -> "Outcome":
        """Do all that is due. Raises the first error, but what has nothing to do with it is done as well."""
        from hosu.tables.upkeep.run import upkeep_table  # noqa: PLC0415 - as above

        try:
            outcome = self._compact(ctx, latest, key, stop)
            self._tell.compacted(ctx, outcome)
        finally:
            # What expires gives room back, which may be what the compaction lacks.
            report = upkeep_table(ctx)
            self._tell.expired(ctx, report)
        if outcome.broken is not None:
            raise outcome.broken
        self._seen[key] = (latest.id + len(outcome.snapshots), self._store.clock.now_ms())
        return outcome

    def _compact(self, ctx: "TableContext", latest: "Snapshot", key: TableKey, stop: threading.Event) -> "Outcome":
        """Compact a table, its small buckets whole unless they rest."""
        from hosu.tables.compaction.compacting import run_compaction  # noqa: PLC0415 - as above
        from hosu.tables.compaction.inline import is_full_due  # noqa: PLC0415 - as above
        from hosu.tables.compaction.picking import TOTAL_SIZE  # noqa: PLC0415 - as above

        began_s = self._store.clock.monotonic()
        rests = self._rest_s(key, is_quiet=False) > 0
        if has_others := self._has_others(ctx, latest):
            ctx = _with_patience(ctx)
        outcome = run_compaction(
            ctx,
            full=not has_others and is_full_due(ctx, latest),
            small_bytes=None if rests or has_others else SMALL_BYTES,
            stop=_Turn(self._keep, stop),
            gives_up=True,
        )
        if rests or outcome.is_cut:
            self._waiting.add(key)
        if rests:
            return outcome
        self._rests_s.pop(key, None)
        if any(done.reason == TOTAL_SIZE for done in outcome.done):
            now_s = self._store.clock.monotonic()
            took_s = now_s - began_s
            self._rests_s[key] = (now_s + REST * took_s, now_s + REST_QUIET * took_s)
        return outcome

    def _has_others(self, ctx: "TableContext", latest: "Snapshot") -> bool:
        """Whether Flink or Spark may be writing, which compact what they write unless the table is `write-only`."""
        from hosu.tables.context import is_made_up  # noqa: PLC0415 - as above

        if ctx.options.write_only or is_made_up(latest.commit_user):
            return False
        return self._store.clock.now_ms() - latest.time_millis < OTHERS_MS

    def _rest_s(self, key: TableKey, *, is_quiet: bool) -> float:
        """Return how long the small buckets of a table rest yet."""
        until_s = self._rests_s.get(key, (0.0, 0.0))[is_quiet]
        return max(until_s - self._store.clock.monotonic(), 0.0)

    def _has_changed(self, key: TableKey, snapshot_id: int) -> bool:
        """Say of a table outside of the lake whether it has a new snapshot, or was not looked at for long."""
        if self._bucket is not None:
            return True
        seen_id, at_ms = self._seen.get(key, (0, 0))
        return seen_id != snapshot_id or self._store.clock.now_ms() - at_ms >= AGE_MS

    def _fail(self, key: TableKey, error: Exception, *, message: str, is_known: bool) -> None:
        """Leave a table alone for a while that cannot be looked after, and say so."""
        times = self._failed.get(key, (0, 0.0))[0] + 1
        pause_s = min(RETRY_S * 2 ** min(times - 1, 30), AGE_MS / 1000)
        self._failed[key] = (times, self._store.clock.monotonic() + pause_s)
        _LOG.error(
            "a table cannot be looked after",
            table=_subject(key),
            again_s=pause_s,
            **({"kind": str(getattr(error, "kind", "")), "message": message} if is_known else {"exc_info": error}),
        )
        self._tell.failed(_subject(key), message, is_again=times > 1)

    def _succeed(self, key: TableKey) -> None:
        self._failed.pop(key, None)
        self._tell.is_right(_subject(key))


_BUCKET_SQL: Final = "SELECT 1 FROM bucket WHERE name = ?"


def _with_patience(ctx: "TableContext") -> "TableContext":
    """Return a table that is compacted only once far more files have gathered than its options say."""
    options = ctx.options
    more = {
        "num-sorted-run.compaction-trigger": str(OTHERS_RUNS * options.num_sorted_run_compaction_trigger),
        "compaction.min.file-num": str(OTHERS_RUNS * options.compaction_min_file_num),
        "num-levels": str(options.num_levels),  # follows the trigger unless it is given
    }
    return ctx.with_schema(ctx.schema, options.merged(more))


def has_ages(ctx: "TableContext") -> bool:
    """Say whether time alone will make something of a table due."""
    from hosu.tables.snapshots import find, tags  # noqa: PLC0415 - as above
    from hosu.tables.upkeep.retention import changelogs_stay  # noqa: PLC0415 - as above

    options = ctx.options
    by_time = (options.partition_expiration_time, options.consumer_expiration_time)
    if options.tag_automatic_creation != "none" or any(value is not None for value in by_time):
        return True
    if changelogs_stay(options) or any(tag.retained_ms is not None for tag in tags.tags(ctx)):
        return True
    earliest, latest = find.earliest_id(ctx), find.latest_id(ctx)
    return earliest is not None and latest is not None and latest - earliest >= options.snapshot_num_retained_min


def _subject(key: TableKey) -> str:
    name, branch = key
    return name if branch == "main" else f"{name}$branch_{branch}"

"""What changed, snapshot by snapshot: a stream that can be stopped anywhere and taken up again."""

import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum

import pyarrow as pa

from hosu.kernel.errors import ErrorKind, InvalidInputError, NotFoundError
from hosu.tables.context import TableContext
from hosu.tables.manifests.live import Which
from hosu.tables.options import ChangelogProducer
from hosu.tables.predicates import Predicate
from hosu.tables.reading.changerows import ROW_KIND, ChangeReader
from hosu.tables.reading.differences import differences
from hosu.tables.reading.rows import SplitReader
from hosu.tables.reading.scan import naming_the_snapshot
from hosu.tables.reading.splits import plan
from hosu.tables.records import CommitKind, RowKind, Snapshot
from hosu.tables.snapshots import consumers, find, leases, travel

__all__ = ["ROW_KIND", "Between", "ChangeBatch", "Start", "changes", "changes_between"]

POLL_SECONDS = 1.0

Wait = Callable[[float], bool]
"""Waits for so many seconds, or less when a commit was noticed; true when the stream shall end."""


class Start(StrEnum):
    """Where a stream begins: the values of `scan.mode`."""

    LATEST = "latest"
    LATEST_FULL = "latest-full"
    COMPACTED_FULL = "compacted-full"
    FROM_SNAPSHOT = "from-snapshot"
    FROM_SNAPSHOT_FULL = "from-snapshot-full"
    FROM_TIMESTAMP = "from-timestamp"


class Between(StrEnum):
    """How changes between two snapshots are found: the values of `incremental-between-scan-mode`."""

    AUTO = "auto"
    DELTA = "delta"
    CHANGELOG = "changelog"
    DIFF = "diff"


@dataclass(frozen=True)
class ChangeBatch:
    """Some of the changes of a snapshot."""

    snapshot_id: int
    rows: pa.Table
    """The columns asked for, and `_ROW_KIND`: +I, -U, +U or -D."""

    is_last: bool
    """Whether the snapshot has no more: then a stream may be taken up at `snapshot_id` + 1."""


def changes(
    ctx: TableContext,
    from_snapshot: int | None = None,
    to_snapshot: int | None = None,
    *,
    start: Start | None = None,
    timestamp_ms: int | None = None,
    columns: Sequence[str] | None = None,
    where: Predicate | None = None,
    consumer: str | None = None,
    follow: bool = False,
    wait: Wait | None = None,
) -> Iterator[ChangeBatch]:
    """Yield what each snapshot changed, from `from_snapshot` up to `to_snapshot`, both included, or to the latest.

    Each snapshot that is read ends with a batch that `is_last`, be it without rows. Without `from_snapshot` the stream
    begins where `start` says, else as the table's options do: a FULL start first gives all rows of a snapshot as +I.
    With a consumer it begins where that one stopped, and a snapshot counts as read once the batch after its last is
    asked for, or the stream ends. With `follow` it waits for further snapshots, by `wait` or a second at a time.

    Raises NotFoundError SNAPSHOT_NOT_FOUND, which says the earliest, when snapshots have expired before they were
    read; InvalidInputError QUERY_INVALID for a start that cannot be.
    """
    stream = _Stream(ctx, ChangeReader(ctx, columns, where), consumer)
    begin, from_snapshot, timestamp_ms = _start(ctx, from_snapshot, timestamp_ms, start)
    waiting: Wait = wait if wait is not None else threading.Event().wait
    position = None if consumer is None or ctx.options.consumer_ignore_progress else consumers.position(ctx, consumer)
    full: Snapshot | None = None
    while position is None:
        position, full = _first(ctx, begin, from_snapshot, timestamp_ms)
        if position is None and (not follow or waiting(POLL_SECONDS)):
            return
        # What comes into an empty table is new, whether or not older rows were asked for.
        begin = Start.FROM_SNAPSHOT if position is None and from_snapshot is None and timestamp_ms is None else begin
    if full is not None:
        yield from stream.all_rows(full)
        position = stream.done(full.id)
    latest = find.latest_id(ctx)
    while to_snapshot is None or position <= to_snapshot:
        if latest is None or position > latest:
            latest = find.latest_id(ctx)
        if latest is None or position > latest:
            if not follow or waiting(POLL_SECONDS):
                return
            continue
        yield from stream.changes_of(_load(ctx, position))
        position = stream.done(position)


def _start(
    ctx: TableContext, from_snapshot: int | None, timestamp_ms: int | None, start: Start | None
) -> tuple[Start, int | None, int | None]:
    """Return where to begin, and the snapshot or the time that goes with it."""
    if start is None:
        if from_snapshot is not None:
            return Start.FROM_SNAPSHOT, from_snapshot, timestamp_ms
        if timestamp_ms is not None:
            return Start.FROM_TIMESTAMP, None, timestamp_ms
        return _start_of_options(ctx)
    needed = {
        Start.FROM_SNAPSHOT: ("from_snapshot", from_snapshot),
        Start.FROM_SNAPSHOT_FULL: ("from_snapshot", from_snapshot),
        Start.FROM_TIMESTAMP: ("timestamp_ms", timestamp_ms),
    }.get(start)
    if needed is not None and needed[1] is None:
        raise InvalidInputError(ErrorKind.QUERY_INVALID, f"a stream that starts {start} needs {needed[0]}: give it")
    return start, from_snapshot, timestamp_ms


def _start_of_options(ctx: TableContext) -> tuple[Start, int | None, int | None]:
    """Return what the `scan.*` options say; a tag, watermark or version means its rows and what came after."""
    options = ctx.options
    mode = options.scan_mode
    if mode == Start.FROM_TIMESTAMP:
        given = options.scan_timestamp_millis
        return Start.FROM_TIMESTAMP, None, travel.parse_time(options.scan_timestamp or "") if given is None else given
    if mode in {Start.FROM_SNAPSHOT, Start.FROM_SNAPSHOT_FULL}:
        if options.scan_snapshot_id is not None:
            return Start(mode), options.scan_snapshot_id, None
        named = travel.resolve(ctx, options.raw)
        assert named is not None
        return Start.FROM_SNAPSHOT_FULL, named.id, None
    if mode in {Start.LATEST, Start.LATEST_FULL, Start.COMPACTED_FULL}:
        return Start(mode), None, None
    raise InvalidInputError(
        ErrorKind.QUERY_INVALID, f"scan.mode {mode!r} is of a read that ends: read the changes between two snapshots"
    )


def _first(
    ctx: TableContext, start: Start, from_snapshot: int | None, timestamp_ms: int | None
) -> tuple[int | None, Snapshot | None]:
    """Return the first snapshot whose changes are read, and that before it whose rows are; None: not known yet."""
    if start is Start.FROM_SNAPSHOT and from_snapshot is not None:
        return from_snapshot, None
    latest = find.latest(ctx)
    if latest is None:
        return None, None
    if start is Start.FROM_SNAPSHOT:
        return find.earliest_id(ctx), None
    if start is Start.LATEST:
        return latest.id + 1, None
    if start is Start.FROM_TIMESTAMP:
        assert timestamp_ms is not None
        before = travel.last_where(ctx, lambda snapshot: snapshot.time_millis < timestamp_ms)
        return (find.earliest_id(ctx) if before is None else before.id + 1), None
    if start is Start.FROM_SNAPSHOT_FULL:
        assert from_snapshot is not None
        earliest = find.earliest_id(ctx)
        full = travel.by_id(ctx, max(from_snapshot, earliest or from_snapshot))
    elif start is Start.COMPACTED_FULL:
        full = latest_compacted(ctx) or latest
    else:
        full = latest
    return full.id + 1, full


def latest_compacted(ctx: TableContext) -> Snapshot | None:
    """Return the latest snapshot that a compaction made, if there is one."""
    found, first = find.latest(ctx), find.earliest_id(ctx)
    while found is not None and found.commit_kind is not CommitKind.COMPACT:
        found = find.try_load(ctx, found.id - 1) if first is not None and found.id > first else None
    return found


def _load(ctx: TableContext, snapshot_id: int) -> Snapshot:
    """Return a snapshot, or what is left of it where changelogs outlive snapshots."""
    found = find.try_load(ctx, snapshot_id)
    if found is not None:
        return found
    key = ctx.layout.changelog(snapshot_id)
    try:
        return find.decode(ctx.files.read(key), key)
    except NotFoundError as error:
        if error.kind is not ErrorKind.OBJECT_NOT_FOUND:
            raise
        raise find.not_found(ctx, snapshot_id) from None


class _Stream:
    def __init__(self, ctx: TableContext, reader: ChangeReader, consumer: str | None) -> None:
        self._ctx = ctx
        self._reader = reader
        self._consumer = consumer

    def done(self, snapshot_id: int) -> int:
        """Remember that a snapshot was read, and return the next."""
        if self._consumer is not None:
            consumers.reset(self._ctx, self._consumer, snapshot_id + 1)
        return snapshot_id + 1

    def all_rows(self, snapshot: Snapshot) -> Iterator[ChangeBatch]:
        """Yield the rows of a snapshot as inserts: those whose changes no changelog will say later."""
        ctx, reader = self._ctx, self._reader
        # What is not compacted yet too: unless a changelog will, nothing says those rows once they are.
        splits = plan(ctx, snapshot, reader.where, levels=_levels_of_start(ctx), sees_all=True)
        rows = SplitReader(ctx, reader.columns, reader.where)

        def tables() -> Iterator[pa.Table]:
            for split in splits:
                for batch in rows.batches(split, ctx.memory_bytes):
                    yield reader.marked(pa.Table.from_batches([batch]), RowKind.INSERT)

        with leases.hold(ctx, snapshot), naming_the_snapshot(snapshot):
            yield from self.batches(snapshot, tables())

    def changes_of(self, snapshot: Snapshot) -> Iterator[ChangeBatch]:
        """Yield what a snapshot changed."""
        with leases.hold(self._ctx, snapshot), naming_the_snapshot(snapshot):
            yield from self.batches(snapshot, self._changed(snapshot))

    def _changed(self, snapshot: Snapshot) -> Iterator[pa.Table]:
        options = self._ctx.options
        if snapshot.commit_kind is CommitKind.OVERWRITE and options.streaming_read_overwrite:
            before = find.try_load(self._ctx, snapshot.id - 1)
            # What was written before was told as it was written, and what is compacted later will not be told again.
            return differences(self._ctx, self._reader, before, snapshot, sees_all=True)
        if options.changelog_producer is not ChangelogProducer.NONE:
            return self._reader.batches(snapshot, "changelog")
        if snapshot.commit_kind is CommitKind.APPEND:
            return self._reader.batches(snapshot, "delta")
        return iter(())

    def batches(self, snapshot: Snapshot, tables: Iterator[pa.Table]) -> Iterator[ChangeBatch]:
        """Put tables together into batches of a good size."""
        held: list[pa.Table] = []
        size_bytes = 0
        for table in tables:
            if size_bytes > self._ctx.memory_bytes // 4:
                yield ChangeBatch(snapshot.id, pa.concat_tables(held), is_last=False)
                held, size_bytes = [], 0
            held.append(table)
            size_bytes += table.nbytes
        rows = pa.concat_tables(held) if held else self._reader.schema.empty_table()
        yield ChangeBatch(snapshot.id, rows, is_last=True)


def _levels_of_start(ctx: TableContext) -> list[int] | None:
    """Return the levels whose rows no later changelog has; None for all."""
    producer = ctx.options.changelog_producer
    highest = ctx.options.num_levels - 1
    if producer is ChangelogProducer.LOOKUP:
        return list(range(1, highest + 1))
    if producer is ChangelogProducer.FULL_COMPACTION:
        return [highest]
    return None


def changes_between(
    ctx: TableContext,
    start: Snapshot | int | None,
    end: Snapshot,
    *,
    mode: Between = Between.AUTO,
    columns: Sequence[str] | None = None,
    where: Predicate | None = None,
) -> Iterator[ChangeBatch]:
    """Yield the changes after `start` up to `end`, which is included; a start of None is the empty table.

    A start that is a number may be that of a snapshot which has expired, unless mode is `diff`.
    Mode `auto` reads the changelog where the table writes one, else the delta: rows that were written, OVERWRITE and
    COMPACT commits left out. `diff` compares the rows of the two snapshots, which alone works for tags whose snapshots
    in between have expired. Raises SNAPSHOT_NOT_FOUND, and QUERY_INVALID when end comes before start.
    """
    after = 0 if start is None else start if isinstance(start, int) else start.id
    first = after + 1
    if end.id < after:
        raise InvalidInputError(
            ErrorKind.QUERY_INVALID, f"snapshot {end.id} is before snapshot {after}: give the earlier one first"
        )
    reader = ChangeReader(ctx, columns, where)
    stream = _Stream(ctx, reader, None)
    if mode is Between.DIFF:
        start = find.load(ctx, start) if isinstance(start, int) else start
        with leases.hold(ctx, start or end), leases.hold(ctx, end):
            yield from stream.batches(end, differences(ctx, reader, start, end))
        return
    has_changelog = ctx.options.changelog_producer is not ChangelogProducer.NONE
    which: Which = "changelog" if mode is Between.CHANGELOG or (mode is Between.AUTO and has_changelog) else "delta"
    for snapshot_id in range(first, end.id + 1):
        snapshot = end if snapshot_id == end.id else _load(ctx, snapshot_id)
        skipped = snapshot.commit_kind is CommitKind.OVERWRITE
        if which == "delta":
            skipped = snapshot.commit_kind is not CommitKind.APPEND
        if not skipped:
            with leases.hold(ctx, snapshot), naming_the_snapshot(snapshot):
                yield from stream.batches(snapshot, reader.batches(snapshot, which))

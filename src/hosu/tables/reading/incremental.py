"""Reads of what came between two snapshots, as the options `incremental-between…` ask for: rows without kinds."""

from collections.abc import Iterator, Sequence

import pyarrow as pa
import pyarrow.compute as pc

from hosu.kernel.errors import ErrorKind, InvalidInputError
from hosu.tables.context import TableContext
from hosu.tables.options import ChangelogProducer
from hosu.tables.predicates import Predicate
from hosu.tables.reading.changes import ROW_KIND, Between, changes_between
from hosu.tables.reading.scan import Scan
from hosu.tables.reading.splits import Split
from hosu.tables.records import RowKind, Snapshot
from hosu.tables.snapshots import find, tags, travel

_ADDED = pa.array([RowKind.INSERT.symbol, RowKind.UPDATE_AFTER.symbol])


class IncrementalScan(Scan):
    """The rows that were added or changed after one snapshot up to another, which is included, as they became."""

    def __init__(
        self,
        ctx: TableContext,
        start: Snapshot | int | None,
        end: Snapshot,
        columns: Sequence[str] | None = None,
        where: Predicate | None = None,
        limit: int | None = None,
        *,
        mode: Between = Between.AUTO,
        memory_bytes: int | None = None,
    ) -> None:
        super().__init__(ctx, end, columns, where, limit, memory_bytes=memory_bytes)
        self._start = start
        self._end = end
        self._mode = mode

    def splits(self) -> list[Split]:
        """Refuse: what changed is not a matter of files."""
        raise InvalidInputError(ErrorKind.QUERY_INVALID, "a read of changes has no splits: read it as a whole")

    def to_arrow(self) -> pa.Table:
        """Return all rows."""
        return pa.Table.from_batches(list(self.batches()), self.schema)

    def count(self) -> int:
        """Return how many rows there are, by reading them."""
        return sum(batch.num_rows for batch in self.batches())

    def batches(self, splits: Sequence[Split] | None = None) -> Iterator[pa.RecordBatch]:
        """Yield the rows, at most `limit`."""
        assert splits is None
        left = self._limit
        found = changes_between(
            self._ctx, self._start, self._end, mode=self._mode, columns=self.columns, where=self._where
        )
        for change in found:
            added = change.rows.filter(pc.is_in(change.rows.column(ROW_KIND), _ADDED)).select(self.columns)
            for batch in added.cast(self.schema).to_batches():
                part = batch if left is None else batch.slice(0, left)
                left = None if left is None else left - part.num_rows
                if part.num_rows:
                    yield part
            if left == 0:
                return


def incremental_scan(
    ctx: TableContext,
    columns: Sequence[str] | None = None,
    where: Predicate | None = None,
    limit: int | None = None,
    *,
    memory_bytes: int | None = None,
) -> IncrementalScan:
    """Return the read that `incremental-between` or `incremental-between-timestamp` describe.

    Of two tags the rows are compared, since snapshots between them may have expired. Raises QUERY_INVALID for options
    that are no pair, SNAPSHOT_NOT_FOUND.
    """
    options = ctx.options
    mode = Between(options.value("incremental-between-scan-mode"))
    between = options.value("incremental-between")
    if between is not None:
        first, last = _pair("incremental-between", between)
        is_tags = tags.try_get(ctx, first) is not None and tags.try_get(ctx, last) is not None
        if is_tags and mode is Between.AUTO:
            mode = Between.DIFF
        start = None if first == "0" and not is_tags else _start(ctx, first, is_tag=is_tags or mode is Between.DIFF)
        end = travel.resolve(ctx, last)
    else:
        first, last = _pair("incremental-between-timestamp", options.value("incremental-between-timestamp") or "")
        start_ms, end_ms = _time_ms(first), _time_ms(last)
        start = travel.last_where(ctx, lambda snapshot: snapshot.time_millis <= start_ms)
        end = travel.last_where(ctx, lambda snapshot: snapshot.time_millis <= end_ms)
        if start is None:
            start = _before_earliest(ctx, mode)
        if end is None:
            raise InvalidInputError(
                ErrorKind.QUERY_INVALID, f"incremental-between-timestamp: {ctx.identifier} has no snapshot up to {last}"
            )
    assert end is not None
    if mode is Between.AUTO:
        has_changelog = options.changelog_producer is not ChangelogProducer.NONE
        mode = Between.CHANGELOG if has_changelog else Between.DELTA
    return IncrementalScan(ctx, start, end, columns, where, limit, mode=mode, memory_bytes=memory_bytes)


def _start(ctx: TableContext, text: str, *, is_tag: bool) -> Snapshot | int | None:
    """Return the snapshot that is named: of changes alone its number will do, so it may be the last that expired."""
    earliest = None if is_tag or not text.isdecimal() else find.earliest_id(ctx)
    if earliest is not None and int(text) == earliest - 1 and tags.try_get(ctx, text) is None:
        return int(text)
    return travel.resolve(ctx, text)


def _before_earliest(ctx: TableContext, mode: Between) -> Snapshot | int | None:
    """Return what the earliest snapshot follows; its rows are lost, so that a comparison begins with the earliest."""
    earliest = find.earliest(ctx)
    if earliest is None or earliest.id == find.FIRST_ID:
        return None
    return earliest if mode is Between.DIFF else earliest.id - 1


def _pair(option: str, text: str) -> tuple[str, str]:
    parts = [part.strip() for part in text.split(",")]
    if len(parts) != 2 or not all(parts):  # noqa: PLR2004 - a pair
        raise InvalidInputError(
            ErrorKind.QUERY_INVALID, f"{option} is {text!r}: give two, with a comma between, such as '5,10'"
        )
    return parts[0], parts[1]


def _time_ms(text: str) -> int:
    return int(text) if text.lstrip("-").isdecimal() else travel.parse_time(text)

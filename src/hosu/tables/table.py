"""One table, as its users see it: rows in, rows out, its history and its upkeep.

    ticker = lake.table("upbit.ticker")
    ticker.upsert(frame)
    ticker.scan(["symbol", "price"], where="dt = '2026-01-31'", at="2026-01-31 09:00:00").to_polars()
    for change in ticker.changes(from_snapshot=7):
        print(change.snapshot_id, change.rows)

Times are milliseconds since 1970-01-01 UTC where they are numbers.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from enum import StrEnum
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar

import pyarrow as pa

from hosu.kernel.errors import ErrorKind, InvalidInputError
from hosu.tables.compaction.compacting import Planned, compact, plan_compaction
from hosu.tables.context import TableContext
from hosu.tables.evolution import SchemaChange
from hosu.tables.layout import MAIN_BRANCH
from hosu.tables.predicates import Predicate, given_predicate
from hosu.tables.reading.changes import (
    Between,
    ChangeBatch,
    Start,
    Wait,
    changes,
    changes_between,
    latest_compacted,
)
from hosu.tables.reading.incremental import incremental_scan
from hosu.tables.reading.scan import Scan
from hosu.tables.records import Partition, Snapshot
from hosu.tables.rows_in import Rows, batches_of
from hosu.tables.schemas import TableSchema
from hosu.tables.snapshots import branches, consumers, find, rollback, tags
from hosu.tables.snapshots.consumers import Consumer
from hosu.tables.snapshots.tags import Tag
from hosu.tables.snapshots.travel import Moment, resolve
from hosu.tables.upkeep.expiry import expire
from hosu.tables.upkeep.orphans import clean_orphans
from hosu.tables.upkeep.report import Report
from hosu.tables.upkeep.statistics import analyze
from hosu.tables.upkeep.system import system_table
from hosu.tables.upkeep.tagged import delete_tag
from hosu.tables.writing import verbs
from hosu.tables.writing.states import check_there
from hosu.tables.writing.verbs import Assign, Done
from hosu.tables.writing.writer import TableWriter

if TYPE_CHECKING:
    from hosu.tables.catalog import Catalog

_Kind = TypeVar("_Kind", bound=StrEnum)

Where: TypeAlias = Predicate | str | None
"""A condition: SQL text such as "price > 5 AND dt = '2026-01-31'", a predicate, or None for all rows."""


class Table:
    """An open table. Its schema is that of the moment it was opened; `refresh` looks again."""

    def __init__(
        self, catalog: "Catalog", name: str, *, branch: str = MAIN_BRANCH, options: Mapping[str, str] | None = None
    ) -> None:
        self._catalog = catalog
        self._name = name
        self._open: Callable[[], TableContext] = lambda: catalog.open(name, branch=branch, options=options)
        self._given = dict(options or {})
        self.context = self._open()

    def __repr__(self) -> str:
        return f"Table({self.name!r})"

    @property
    def name(self) -> str:
        """DATABASE.NAME, and the branch."""
        return str(self.context.identifier)

    @property
    def schema(self) -> TableSchema:
        """Columns, keys and options."""
        return self.context.schema

    @property
    def arrow_schema(self) -> pa.Schema:
        """The columns as Arrow has them."""
        return self.context.schema.arrow

    def refresh(self) -> None:
        """See the schema that others may have changed meanwhile."""
        self.context = self._open()

    def alter(self, *changes: SchemaChange) -> None:
        """Change the schema or the options: all of the changes, or none."""
        self._catalog.alter_table(self._name, changes)
        self.refresh()

    # Rows in

    def append(self, rows: Rows) -> Done:
        """Add rows, in one commit; with a primary key, rows of the same key are merged as the merge engine says.

        Raises InvalidInputError ROWS_INVALID or COLUMN_INVALID, and nothing is changed then.
        """
        return verbs.insert(self.context, batches_of(rows, self.arrow_schema))

    def upsert(self, rows: Rows) -> Done:
        """Insert the rows whose key is new and replace the others, in one commit; needs a primary key."""
        return verbs.upsert(self.context, batches_of(rows, self.arrow_schema))

    def overwrite(self, rows: Rows, *, partition: Mapping[str, Any] | None = None, dynamic: bool | None = None) -> Done:
        """Put rows in place of what is there: everywhere, in a partition, or in the partitions of the rows."""
        return verbs.overwrite(
            self.context, batches_of(rows, self.arrow_schema), partition=partition, dynamic=dynamic
        )  # fmt: skip

    def delete(self, keys: Rows | None = None, *, where: Where = None) -> Done:
        """Delete rows by their primary keys, or those that match a condition; give one of the two."""
        if (keys is None) == (where is None):
            raise TypeError("give keys, or where: a condition such as \"price < 0\"; where='TRUE' deletes all rows")
        if where is not None:
            return verbs.delete_where(self.context, given_predicate(where, self.schema))
        return verbs.delete_keys(self.context, batches_of(keys, self.arrow_schema))

    def update(self, assign: Assign, *, where: Where = None) -> Done:
        """Give columns of the rows that match new values: by column a value, or a function of the rows."""
        return verbs.update_where(self.context, assign, given_predicate(where, self.schema))

    def writer(self, *, commit_user: str | None = None) -> TableWriter:
        """Open a writer for many batches and commits; the same user's commits of an identifier count once."""
        return TableWriter(self.context, commit_user=commit_user)

    # Rows out

    def scan(
        self,
        columns: Sequence[str] | None = None,
        where: Where = None,
        *,
        at: Moment = None,
        limit: int | None = None,
        memory_bytes: int | None = None,
    ) -> Scan:
        """Return the rows that match, now or as they were: `at` a snapshot's number, a time, a tag or `At(…)`.

        Nothing is read before the scan is asked: `.to_arrow()`, `.to_reader()`, `.to_polars()`, `.to_pandas()` ….
        Raises NotFoundError SNAPSHOT_NOT_FOUND or TABLE_TAG_NOT_FOUND, InvalidInputError QUERY_INVALID.
        """
        if at is None and self.context.options.scan_mode == "incremental":
            return incremental_scan(
                self.context, columns, given_predicate(where, self.schema), limit, memory_bytes=memory_bytes
            )
        if at is None and self.context.options.scan_mode == Start.COMPACTED_FULL:
            snapshot = latest_compacted(self.context) or find.latest(self.context)
        else:
            snapshot = resolve(self.context, self.context.options.raw if at is None else at)
        if snapshot is None:
            check_there(self.context)
        ctx = self.context if at is None and snapshot is None else self._as_of(snapshot)
        return Scan(ctx, snapshot, columns, given_predicate(where, ctx.schema), limit, memory_bytes=memory_bytes)

    def changes(
        self,
        from_snapshot: int | None = None,
        to_snapshot: int | None = None,
        *,
        start: Start | str | None = None,
        timestamp_ms: int | None = None,
        columns: Sequence[str] | None = None,
        where: Where = None,
        consumer: str | None = None,
        follow: bool = False,
        wait: Wait | None = None,
    ) -> Iterator[ChangeBatch]:
        """Yield what each snapshot changed, with the kind of each row: +I, -U, +U or -D in the column `_ROW_KIND`.

        From one snapshot to another, both included, or on from where a consumer of that name stopped; with follow
        for ever. Without a start all rows of the latest snapshot come first, as +I. A batch that `is_last` ends its
        snapshot: take the stream up at the next one's number. Raises NotFoundError SNAPSHOT_NOT_FOUND for one that has
        expired.
        """
        begin = None if start is None else _named(Start, start, "start")
        return changes(
            self.context, from_snapshot, to_snapshot, start=begin, timestamp_ms=timestamp_ms, columns=columns,
            where=given_predicate(where, self.schema), consumer=consumer, follow=follow, wait=wait,
        )  # fmt: skip

    def changes_between(
        self,
        start: Moment,
        end: Moment = None,
        *,
        mode: Between | str = Between.AUTO,
        columns: Sequence[str] | None = None,
        where: Where = None,
    ) -> Iterator[ChangeBatch]:
        """Yield what changed after one state up to another, the latest by default; a start of None is the empty table.

        Mode `auto` reads the changelog or the rows written; `diff` compares the two states, whatever lies between.
        """
        last = resolve(self.context, end)
        if last is None:
            return iter(())
        first = None if start is None else resolve(self.context, start)
        return changes_between(
            self.context,
            first,
            last,
            mode=_named(Between, mode, "mode"),
            columns=columns,
            where=given_predicate(where, self.schema),
        )

    def _as_of(self, snapshot: Snapshot | None) -> TableContext:
        """Return the table under the schema of a snapshot before the latest; columns were others then."""
        ctx = self.context
        if snapshot is None or snapshot.schema_id >= ctx.schema.id:
            return ctx
        latest = find.latest(ctx)
        if latest is not None and latest.id == snapshot.id:
            return ctx
        return ctx.with_schema(ctx.schemas.get(snapshot.schema_id), ctx.options)

    # History

    def snapshots(self) -> Iterator[Snapshot]:
        """Yield the snapshots that are kept, oldest first."""
        return find.snapshots(self.context)

    def latest(self) -> Snapshot | None:
        """Return the latest snapshot; None before the first commit."""
        return find.latest(self.context)

    def rollback(self, to: Moment) -> Snapshot:
        """Make a snapshot or a tag the latest state again; what came after it is gone."""
        return rollback.rollback_to(self.context, to)

    def tags(self) -> list[Tag]:
        """Return the tags, in order of their names."""
        return tags.tags(self.context)

    def create_tag(self, name: str, *, snapshot_id: int | None = None, keep_ms: int | None = None) -> Tag:
        """Keep a snapshot, the latest by default, under a name; with keep_ms for so long."""
        return tags.create(self.context, name, snapshot_id, retained_ms=keep_ms)

    def delete_tag(self, name: str) -> Report:
        """Delete a tag, and the files that nothing else needs."""
        return delete_tag(self.context, name)

    def branches(self) -> list[str]:
        """Return the names of the branches."""
        return branches.branches(self.context)

    def create_branch(self, name: str, *, tag: str | None = None) -> None:
        """Begin a branch, empty or at a tag."""
        branches.create(self.context, name, tag)

    def delete_branch(self, name: str) -> None:
        """Delete a branch."""
        branches.delete(self.context, name)

    def fast_forward(self, name: str) -> None:
        """Make the state of a branch that of the table."""
        branches.fast_forward(self.context, name)
        self.refresh()

    def consumers(self) -> list[Consumer]:
        """Return who reads changes, and how far."""
        return consumers.consumers(self.context)

    def system(self, name: str, *, at: Moment = None) -> pa.Table:
        """Return a system table: `snapshots`, `files`, `schemas`, `tags`, `partitions` …; that of files as it was.

        Raises UnsupportedError for a name that there is not.
        """
        return system_table(self.context, name, None if at is None else resolve(self.context, at))

    # Upkeep

    def analyze(self, columns: Sequence[str] | None = None) -> Snapshot:
        """Read the table and store what its columns hold, for those who plan queries; of all columns by default."""
        return analyze(self.context, columns)

    def compact(
        self,
        *,
        full: bool = False,
        partitions: Callable[[Partition], bool] | None = None,
        memory_bytes: int | None = None,
    ) -> list[Snapshot]:
        """Merge files where that is due, or with `full` everywhere; within memory_bytes."""
        return compact(self.context, full=full, partitions=partitions, memory_bytes=memory_bytes)

    def plan_compaction(
        self, *, full: bool = False, partitions: Callable[[Partition], bool] | None = None
    ) -> Iterator[Planned]:
        """Yield what `compact` would merge now, bucket by bucket, and why; nothing is changed."""
        return plan_compaction(self.context, full=full, partitions=partitions)

    def expire(
        self,
        *,
        older_than_ms: int | None = None,
        retain_min: int | None = None,
        retain_max: int | None = None,
        dry_run: bool = False,
    ) -> Report:
        """Delete the snapshots that the options do not keep, and their files."""
        return expire(
            self.context, older_than_ms=older_than_ms, retain_min=retain_min, retain_max=retain_max, dry_run=dry_run
        )

    def clean_orphans(self, *, older_than_ms: int | None = None, dry_run: bool = False) -> Report:
        """Delete files that no snapshot knows: what writers left that were stopped."""
        return clean_orphans(self.context, older_than_ms=older_than_ms, dry_run=dry_run)


def _named(kind: type[_Kind], value: _Kind | str, what: str) -> _Kind:
    try:
        return kind(value)
    except ValueError as error:
        known = ", ".join(kind)
        raise InvalidInputError(
            ErrorKind.QUERY_INVALID, f"{what} {value!r} is not known: give one of {known}"
        ) from error

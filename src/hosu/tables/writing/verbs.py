"""What users do to the rows of a table, each as one commit: insert, upsert, delete, update, overwrite.

A verb that depends on what is in the table is done over when others change that meanwhile.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import pyarrow as pa

from hosu.kernel.errors import ErrorKind, InvalidInputError, UnsupportedError
from hosu.tables.commit import overwrite as commit_overwrite
from hosu.tables.commit import truncate
from hosu.tables.compaction.matching import is_in
from hosu.tables.freshness import current
from hosu.tables.options import ChangelogProducer, MergeEngine
from hosu.tables.predicates import Predicate
from hosu.tables.records import Partition, RowKind, Snapshot
from hosu.tables.types import cast_rows
from hosu.tables.writing.attempts import retrying
from hosu.tables.writing.filling import fills_changelog
from hosu.tables.writing.kinds import filled_kinds
from hosu.tables.writing.looking import range_of, rows_where
from hosu.tables.writing.preparing import key_rows
from hosu.tables.writing.rewriting import rewrite
from hosu.tables.writing.states import check_same
from hosu.tables.writing.writer import TableWriter

if TYPE_CHECKING:
    from hosu.tables.context import TableContext

Batches: TypeAlias = pa.Table | Iterable[pa.Table]
Assign: TypeAlias = Mapping[str, Any] | Callable[[pa.Table], pa.Table]
"""New values of columns: a value, an Arrow array or scalar, or a function of the rows that returns one, by the column's
name; or a function that returns the rows with their new values."""


@dataclass(frozen=True)
class Done:
    """What a verb did."""

    rows: int | None
    """Rows that came in, or were changed or deleted; None where they were not counted."""

    snapshots: list[Snapshot] = field(default_factory=list)
    """The snapshots of it; none when there was nothing to do."""

    def __repr__(self) -> str:
        return f"Done(rows={self.rows}, snapshots={[snapshot.id for snapshot in self.snapshots]})"


def insert(ctx: "TableContext", rows: Batches, *, kinds: pa.Array | None = None, identifier: int | None = None) -> Done:
    """Add rows; in a table with a primary key, rows of the same key are merged as its merge engine says.

    kinds are those of one table of rows. Raises InvalidInputError as `prepared` does, and nothing is changed then.
    """
    count = 0
    with TableWriter(ctx) as writer:
        for batch in _batches(rows):
            writer.write(batch, kinds)
            count += batch.num_rows
        return Done(count, writer.commit(identifier))


def upsert(ctx: "TableContext", rows: Batches, *, kinds: pa.Array | None = None, identifier: int | None = None) -> Done:
    """Do as `insert`, for a table with a primary key; InvalidInputError TABLE_INVALID when it has none."""
    if not ctx.schema.is_primary_key_table:
        raise InvalidInputError(
            ErrorKind.TABLE_INVALID, f"{ctx.identifier} has no primary key to upsert by: append the rows instead"
        )
    return insert(ctx, rows, kinds=kinds, identifier=identifier)


def overwrite(
    ctx: "TableContext",
    rows: Batches,
    *,
    partition: Mapping[str, Any] | None = None,
    dynamic: bool | None = None,
) -> Done:
    """Replace what is there by rows.

    With `partition`, values by partition key, what is replaced is the partitions that have them: rows may leave these
    columns out. Without, it is the whole table; when it is partitioned and `dynamic` (as the option
    `dynamic-partition-overwrite` says by default), only the partitions that rows belong to.
    Raises InvalidInputError as `prepared` does, and for a row that is not in `partition`.
    """
    check_same(ctx)
    spec = _partition_spec(ctx, partition or {})
    by_rows = ctx.options.dynamic_partition_overwrite if dynamic is None else dynamic
    count = 0
    with TableWriter(ctx, fresh=True) as writer:
        for batch in _batches(rows):
            writer.write(_in_partition(batch, spec))
            count += batch.num_rows
        touched = list(dict.fromkeys(change.partition for change in writer.prepare()))
        replaced: Sequence[Partition] | Callable[[Partition], bool] | None = None
        if spec:
            replaced = _matcher(ctx, spec)
            _check_inside(ctx, touched, replaced, spec)
        elif ctx.schema.partition_keys and by_rows:
            if not touched:
                return Done(0)
            replaced = touched
        return Done(count, writer.commit_by(lambda changes: commit_overwrite(writer.context, changes, replaced)))


def delete_keys(ctx: "TableContext", keys: Batches) -> Done:
    """Delete the rows that have these values of the whole primary key; keys that are not there are fine.

    Raises InvalidInputError for columns that are no key, are missing, or NULL; UnsupportedError as `delete_where`.
    """
    if not ctx.schema.is_primary_key_table:
        raise InvalidInputError(
            ErrorKind.TABLE_INVALID, f"{ctx.identifier} has no primary key to delete by: give a predicate"
        )
    check_deletes(ctx)
    found = [key_rows(ctx, batch) for batch in _batches(keys)]
    if not found:
        return Done(0)
    wanted = pa.concat_tables(found)
    if not _needs_rows(ctx):
        with TableWriter(ctx) as writer:
            writer.take(wanted, filled_kinds(wanted, RowKind.DELETE))
            return Done(None, writer.commit())
    names = ctx.schema.primary_keys

    def once(writer: TableWriter) -> Done:
        count = 0
        for rows in rows_where(writer.context, writer.rest(), range_of(wanted, names)):
            found = rows.filter(pa.array(is_in(rows, wanted, names)))
            writer.take(found, filled_kinds(found, RowKind.DELETE))
            count += found.num_rows
        return Done(count, writer.commit())

    return until_done(ctx, once)


def delete_where(ctx: "TableContext", where: Predicate | None) -> Done:
    """Delete the rows that match; all of them for None.

    A table without a primary key has the files rewritten that hold such rows, or with deletion vectors marked. Raises
    UnsupportedError for a merge engine whose rows cannot be deleted.
    """
    if where is None and not (
        ctx.schema.is_primary_key_table and ctx.options.changelog_producer is not ChangelogProducer.NONE
    ):
        check_same(ctx)
        with TableWriter(ctx) as writer:
            return Done(None, [truncate(writer.context)])
    if not ctx.schema.is_primary_key_table:
        return until_settled(ctx, lambda: Done(*rewrite(ctx, where, None)))
    check_deletes(ctx)

    def once(writer: TableWriter) -> Done:
        count = 0
        for found in rows_where(writer.context, writer.rest(), where):
            writer.take(found, filled_kinds(found, RowKind.DELETE))
            count += found.num_rows
        return Done(count, writer.commit())

    return until_done(ctx, once)


def update_where(ctx: "TableContext", assign: Assign, where: Predicate | None) -> Done:
    """Give columns of the rows that match new values; of all rows for None.

    Raises InvalidInputError COLUMN_INVALID for a column of the primary key or, where there is one, of the partition,
    ROWS_INVALID as `prepared` does; UnsupportedError for a merge engine whose rows cannot be updated.
    """
    ctx = current(ctx)
    if isinstance(assign, Mapping):
        if not assign:
            raise InvalidInputError(ErrorKind.COLUMN_INVALID, "an update needs a column and its new value")
        for name in assign:
            ctx.schema.field(name)
            _check_assigned(ctx, name)
    if not ctx.schema.is_primary_key_table:
        return until_settled(ctx, lambda: Done(*rewrite(ctx, where, lambda rows: assigned(ctx, rows, assign))))
    check_updates(ctx)
    with_before = writes_before(ctx)

    def once(writer: TableWriter) -> Done:
        count = 0
        for found in rows_where(writer.context, writer.rest(), where):
            if found.num_rows:
                take_updated(ctx, writer, found, assigned(writer.context, found, assign), with_before=with_before)
                count += found.num_rows
        return Done(count, writer.commit())

    return until_done(ctx, once)


def writes_before(ctx: "TableContext") -> bool:
    """Whether an update writes the rows as they were, too, for a changelog that says what writers say."""
    options = ctx.options
    return (
        options.changelog_producer is ChangelogProducer.INPUT
        and options.merge_engine is MergeEngine.DEDUPLICATE
        and not fills_changelog(ctx)
    )


def take_updated(
    ctx: "TableContext", writer: TableWriter, found: pa.Table, changed: pa.Table, *, with_before: bool
) -> None:
    """Hand a writer rows with their new values; raise InvalidInputError COLUMN_INVALID when those change a key."""
    for name in (*ctx.schema.primary_keys, *ctx.schema.partition_keys):
        if not changed.column(name).equals(found.column(name)):
            _check_assigned(ctx, name)
    if not with_before:
        writer.take(changed, filled_kinds(changed, RowKind.UPDATE_AFTER))
        return
    both = pa.concat_tables([found, changed])
    order = np.arange(both.num_rows).reshape(2, -1).T.ravel()
    kinds = np.tile(np.array([RowKind.UPDATE_BEFORE, RowKind.UPDATE_AFTER], np.int8), found.num_rows)
    writer.take(both.take(pa.array(order)), kinds)


def assigned(ctx: "TableContext", rows: pa.Table, assign: Assign) -> pa.Table:
    """Return rows with new values, in the table's types; raise InvalidInputError as `cast_rows` does."""
    if not isinstance(assign, Mapping):
        remade = assign(rows)
        if not isinstance(remade, pa.Table):
            raise InvalidInputError(
                ErrorKind.ROWS_INVALID, f"the function returned a {type(remade).__name__}: return the rows as a table"
            )
        _check_as_many(rows, remade.num_rows, "the function")
        return cast_rows(remade, ctx.schema.fields)
    changed = rows
    for name, value in assign.items():
        made = value(rows) if callable(value) else value
        if not isinstance(made, pa.Array | pa.ChunkedArray):
            scalar = made if isinstance(made, pa.Scalar) else _scalar(ctx, name, made)
            made = pa.repeat(scalar, rows.num_rows)
        _check_as_many(rows, len(made), f"column {name!r}")
        changed = changed.set_column(changed.column_names.index(name), name, made)
    return cast_rows(changed, ctx.schema.fields)


def _check_as_many(rows: pa.Table, count: int, what: str) -> None:
    if count != rows.num_rows:
        raise InvalidInputError(
            ErrorKind.ROWS_INVALID,
            f"{what}: {count} new values for {rows.num_rows} rows: give one for each, in their order",
        )


def _scalar(ctx: "TableContext", name: str, value: Any) -> pa.Scalar:  # noqa: ANN401 - a value of any type
    wanted = ctx.schema.arrow.field(name).type
    try:
        return pa.scalar(value, wanted)
    except (pa.ArrowException, TypeError, ValueError, OverflowError) as error:
        raise InvalidInputError(
            ErrorKind.ROWS_INVALID, f"column {name!r} does not hold {value!r}: {error}", column=name
        ) from error


def _batches(rows: Batches) -> Iterable[pa.Table]:
    return [rows] if isinstance(rows, pa.Table) else rows


def until_done(ctx: "TableContext", once: Callable[[TableWriter], Done]) -> Done:
    """Return what a verb does with a writer that rests on what it read, trying anew as `until_settled` does."""

    def attempt() -> Done:
        with TableWriter(current(ctx), strict=True) as writer:
            return once(writer)

    return until_settled(ctx, attempt)


def until_settled(ctx: "TableContext", attempt: Callable[[], Done]) -> Done:
    """Return what an attempt returns, making others while they conflict with what others commit."""
    done: Done = retrying(ctx)(attempt)
    return done


def _needs_rows(ctx: "TableContext") -> bool:
    """Whether a row that deletes another must have its values: to win over it, to retract them, or to lie by it."""
    options = ctx.options
    return (
        ctx.schema.is_cross_partition
        or bool(options.sequence_fields)
        or options.merge_engine is not MergeEngine.DEDUPLICATE
        or (options.changelog_producer is ChangelogProducer.INPUT and not fills_changelog(ctx))
    )


def check_deletes(ctx: "TableContext") -> None:
    """Raise UnsupportedError for a table with a primary key whose rows cannot be deleted."""
    options = ctx.options
    engine = options.merge_engine
    if options.ignore_delete:
        raise UnsupportedError(
            ErrorKind.UNSUPPORTED, f"{ctx.identifier} has the option 'ignore-delete', which would ignore the delete"
        )
    allowed = {
        MergeEngine.DEDUPLICATE: True,
        MergeEngine.PARTIAL_UPDATE: options.partial_update_remove_record_on_delete
        or bool(options.partial_update_remove_record_on_sequence_group),
        MergeEngine.AGGREGATION: options.aggregation_remove_record_on_delete,
        MergeEngine.FIRST_ROW: False,
    }
    if not allowed[engine]:
        remedy = "" if engine is MergeEngine.FIRST_ROW else f": set '{engine}.remove-record-on-delete' to true"
        raise UnsupportedError(
            ErrorKind.UNSUPPORTED, f"{ctx.identifier}: rows of merge-engine '{engine}' cannot be deleted{remedy}"
        )


def check_updates(ctx: "TableContext") -> None:
    """Raise UnsupportedError for a table with a primary key whose rows cannot be updated."""
    engine = ctx.options.merge_engine
    if engine not in {MergeEngine.DEDUPLICATE, MergeEngine.PARTIAL_UPDATE}:
        raise UnsupportedError(
            ErrorKind.UNSUPPORTED,
            f"{ctx.identifier}: rows of merge-engine '{engine}' cannot be updated; write rows for it to merge",
        )


def _check_assigned(ctx: "TableContext", name: str) -> None:
    if name in ctx.schema.primary_keys or (ctx.schema.is_primary_key_table and name in ctx.schema.partition_keys):
        raise InvalidInputError(
            ErrorKind.COLUMN_INVALID,
            f"column {name!r} is part of the key of {ctx.identifier}, which an update cannot change: delete the rows "
            "and insert new ones",
            column=name,
        )


def _partition_spec(ctx: "TableContext", given: Mapping[str, Any]) -> dict[str, pa.Scalar]:
    for name in given:
        if name not in ctx.schema.partition_keys:
            there = ", ".join(ctx.schema.partition_keys) or "none"
            raise InvalidInputError(
                ErrorKind.COLUMN_INVALID,
                f"column {name!r} is no partition key of {ctx.identifier}: those are {there}",
                column=name,
            )
    return {name: _scalar(ctx, name, value) for name, value in given.items()}


def _in_partition(rows: pa.Table, spec: Mapping[str, pa.Scalar]) -> pa.Table:
    for name, value in spec.items():
        if name not in rows.column_names:
            rows = rows.append_column(name, pa.repeat(value, rows.num_rows))
    return rows


def _matcher(ctx: "TableContext", spec: Mapping[str, pa.Scalar]) -> Callable[[Partition], bool]:
    places = [(ctx.schema.partition_keys.index(name), value.as_py()) for name, value in spec.items()]
    return lambda partition: all(partition[place] == value for place, value in places)


def _check_inside(
    ctx: "TableContext",
    touched: Iterable[Partition],
    inside: Callable[[Partition], bool],
    spec: Mapping[str, pa.Scalar],
) -> None:
    for partition in touched:
        if not inside(partition):
            wanted = {name: value.as_py() for name, value in spec.items()}
            given = dict(zip(ctx.schema.partition_keys, partition, strict=True))
            raise InvalidInputError(
                ErrorKind.ROWS_INVALID,
                f"rows of partition {given!r} are not of the one being overwritten, {wanted!r}: leave them out, or the "
                "column",
                partition=partition,
            )

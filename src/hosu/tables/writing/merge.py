"""One commit that updates and deletes what is there and inserts what is not: what MERGE of SQL is made of."""

from typing import TYPE_CHECKING, Protocol

import numpy as np
import pyarrow as pa

from hosu.kernel.errors import ErrorKind, InvalidInputError
from hosu.tables.compaction.matching import is_in, match
from hosu.tables.predicates import Predicate
from hosu.tables.records import RowKind
from hosu.tables.types import cast_rows
from hosu.tables.writing.kinds import filled_kinds
from hosu.tables.writing.looking import Mask, rows_where
from hosu.tables.writing.rewriting import rewrite
from hosu.tables.writing.verbs import (
    Done,
    check_deletes,
    check_updates,
    take_updated,
    until_done,
    until_settled,
    writes_before,
)
from hosu.tables.writing.writer import TableWriter

if TYPE_CHECKING:
    from hosu.tables.context import TableContext


class Merging(Protocol):
    """Decides what becomes of a table's rows. All of it is asked anew when others changed the table meanwhile."""

    def begin(self) -> None:
        """Forget an attempt that came before."""
        ...

    def pick(self, rows: pa.Table) -> Mask:
        """Say of each row whether it is updated or deleted. Called for some rows at a time, by several threads."""
        ...

    def remake(self, rows: pa.Table) -> pa.Table:
        """Return rows that were picked with their new values; those left out are deleted. Called as `pick`."""
        ...

    def inserts(self) -> pa.Table | None:
        """Return the rows to insert. Called once all rows were seen."""
        ...


def merge(ctx: "TableContext", merging: Merging, where: Predicate | None = None) -> Done:
    """Update, delete and insert in one commit; `where` bounds the rows that are looked at.

    Counts the rows that were updated, deleted and inserted. Raises InvalidInputError COLUMN_INVALID when a new value
    changes a key, else as `update_where`, `delete_where` and `insert` do; nothing is changed then.
    """
    if not ctx.schema.is_primary_key_table:

        def rewritten() -> Done:
            merging.begin()
            return Done(*rewrite(ctx, where, merging.remake, pick=merging.pick, inserts=merging.inserts))

        return until_settled(ctx, rewritten)

    def once(writer: TableWriter) -> Done:
        merging.begin()
        count = 0
        for rows in rows_where(writer.context, writer.rest(), where):
            picked = rows.filter(pa.array(merging.pick(rows)))
            if picked.num_rows:
                _change(writer.context, writer, picked, merging.remake(picked))
                count += picked.num_rows
        new = merging.inserts()
        if new is not None and new.num_rows:
            writer.write(new)
            count += new.num_rows
        return Done(count, writer.commit())

    return until_done(ctx, once)


def _change(ctx: "TableContext", writer: TableWriter, picked: pa.Table, remade: pa.Table) -> None:
    keys = ctx.schema.primary_keys
    changed = cast_rows(remade, ctx.schema.fields)
    places = match(changed, picked, keys)
    if (places < 0).any():
        row = int(np.argmax(places < 0))
        key = tuple(changed.column(name)[row].as_py() for name in keys)
        raise InvalidInputError(
            ErrorKind.COLUMN_INVALID,
            f"{ctx.identifier}: an update gives a row the key {key!r}, which it did not have: delete the row and "
            "insert a new one",
            key=key,
        )
    if changed.num_rows:
        check_updates(ctx)
        take_updated(ctx, writer, picked.take(pa.array(places)), changed, with_before=writes_before(ctx))
    gone = picked.filter(pa.array(~is_in(picked, changed, keys)))
    if gone.num_rows:
        check_deletes(ctx)
        writer.take(gone, filled_kinds(gone, RowKind.DELETE))

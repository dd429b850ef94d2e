"""What each row that comes in is: an insert, an update's before or after, or a delete."""

from typing import TYPE_CHECKING, TypeAlias

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from hosu.kernel.errors import ErrorKind, InvalidInputError
from hosu.tables.records import RowKind

if TYPE_CHECKING:
    from hosu.tables.context import TableContext

Kinds: TypeAlias = npt.NDArray[np.int8]

ROW_KIND = "_ROW_KIND"
"""A column of the caller's rows that says their kinds, as the rows of a changelog have it."""

SYMBOLS = ("+I", "-U", "+U", "-D")


def kinds_of(ctx: "TableContext", rows: pa.Table, kinds: pa.Array | None) -> tuple[pa.Table, Kinds | None]:
    """Return rows without a `_ROW_KIND` column, and their kinds as int8; None: all inserts.

    Kinds are given as symbols (+I, -U, +U, -D) or numbers, by the argument, a column `_ROW_KIND`, or the column that
    the option `rowkind.field` names. Raises InvalidInputError ROWS_INVALID for what is no kind.
    """
    given, source = kinds, "kinds"
    if given is not None and not isinstance(given, pa.Array | pa.ChunkedArray):
        given = pa.array(given)
    if ROW_KIND in rows.column_names:
        if given is None:
            given, source = rows.column(ROW_KIND), ROW_KIND
        rows = rows.drop_columns([ROW_KIND])
    field = ctx.options.rowkind_field
    if given is None and field and field in rows.column_names:
        given, source = rows.column(field), field
    if given is None:
        return rows, None
    if len(given) != rows.num_rows:
        raise InvalidInputError(
            ErrorKind.ROWS_INVALID, f"{source}: {len(given)} kinds for {rows.num_rows} rows; give one for each row"
        )
    return rows, _parsed(given, source)


def _parsed(given: pa.Array | pa.ChunkedArray, source: str) -> Kinds:
    values = given.combine_chunks() if isinstance(given, pa.ChunkedArray) else given
    if pa.types.is_dictionary(values.type):
        values = values.cast(values.type.value_type)
    if pa.types.is_integer(values.type):
        numbers = values
        wrong = pc.or_(pc.less(values, 0), pc.greater(values, int(RowKind.DELETE)))
        bad = pc.fill_null(wrong, fill_value=True)
    elif not (pa.types.is_string(values.type) or pa.types.is_large_string(values.type)):
        # Of some other type, or all of them NULL: none of them is a kind.
        numbers = pa.nulls(len(values), pa.int8())
        bad = pc.is_null(numbers)
    else:
        numbers = pc.index_in(values, pa.array(SYMBOLS, values.type))
        bad = pc.is_null(numbers)
    if pc.any(bad).as_py():
        row = pc.index(bad, value=True).as_py()
        raise InvalidInputError(
            ErrorKind.ROWS_INVALID,
            f"{source}: row {row}: {values[row].as_py()!r} is no kind of row; use one of {', '.join(SYMBOLS)}",
            column=source,
            row=row,
        )
    return np.asarray(numbers.cast(pa.int8()))


def admitted(ctx: "TableContext", kinds: Kinds | None) -> npt.NDArray[np.bool_] | None:
    """Return which rows `ignore-delete` and `ignore-update-before` let in, as a mask; None: all of them."""
    if kinds is None:
        return None
    refused: set[RowKind] = set()
    if ctx.options.ignore_delete:
        refused = {RowKind.UPDATE_BEFORE, RowKind.DELETE}
    elif ctx.options.ignore_update_before:
        refused = {RowKind.UPDATE_BEFORE}
    if not refused:
        return None
    mask = ~np.isin(kinds, [int(kind) for kind in refused])
    return None if mask.all() else mask


def filled_kinds(rows: pa.Table, kind: RowKind) -> Kinds:
    """Return one kind for all rows."""
    return np.full(rows.num_rows, kind, np.int8)


def is_retract(kinds: Kinds) -> npt.NDArray[np.bool_]:
    """Return which of kinds take something back."""
    found: npt.NDArray[np.bool_] = (kinds == RowKind.UPDATE_BEFORE) | (kinds == RowKind.DELETE)
    return found

"""Rows as callers have them, made into rows of the table: defaults filled in, keys there, values of their types."""

from decimal import Decimal
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from hosu.kernel.errors import ErrorKind, InvalidInputError
from hosu.tables.merging.retracting import first_refused
from hosu.tables.merging.spec import MergeSpec
from hosu.tables.types import DataField, DataType, arrow_type, cast_rows
from hosu.tables.writing.kinds import SYMBOLS, Kinds, admitted, is_retract, kinds_of

if TYPE_CHECKING:
    from hosu.tables.context import TableContext

_PARTIAL_ENGINES = frozenset({"partial-update", "aggregation"})
"""Merge engines to which a NULL says nothing, so that rows may come without some of their columns."""


def prepared(ctx: "TableContext", rows: pa.Table, kinds: pa.Array | None = None) -> tuple[pa.Table, Kinds | None]:
    """Return rows with all columns of the table in its types, and the kinds of rows; None: all inserts.

    NULL and missing columns get their default value. In partial-update and aggregation tables, columns that are missing
    are NULL. Rows that `ignore-delete` keeps out are left out.
    Raises InvalidInputError ROWS_INVALID or COLUMN_INVALID that names column, row and value: a key or a NOT NULL column
    that is NULL, a value that is not of its column's type.
    """
    rows, parsed = kinds_of(ctx, rows, kinds)
    mask = admitted(ctx, parsed)
    if mask is not None and parsed is not None:
        rows, parsed = rows.filter(pa.array(mask)), parsed[mask]
    _check_keys(ctx, rows)
    _check_retracts(ctx, rows, parsed)
    partial = ctx.schema.is_primary_key_table and ctx.options.merge_engine in _PARTIAL_ENGINES
    if not partial:
        rows = _with_defaulted(rows, ctx.schema.fields)
    return cast_rows(rows, ctx.schema.fields, partial=partial), parsed


def _check_keys(ctx: "TableContext", rows: pa.Table) -> None:
    for name in ctx.schema.primary_keys:
        if name not in rows.column_names:
            raise InvalidInputError(
                ErrorKind.COLUMN_INVALID,
                f"column {name!r} is missing: it is part of the primary key of {ctx.identifier}, and each row needs it",
                column=name,
            )
        column = rows.column(name)
        if column.null_count:
            row = pc.index(pc.is_null(column), value=True).as_py()
            raise InvalidInputError(
                ErrorKind.ROWS_INVALID,
                f"column {name!r}, row {row}: NULL; it is part of the primary key of {ctx.identifier}: give it a value",
                column=name,
                row=row,
            )


def _check_retracts(ctx: "TableContext", rows: pa.Table, kinds: Kinds | None) -> None:
    if kinds is None:
        return
    retracts = is_retract(kinds)
    if not retracts.any():
        return
    row = int(np.argmax(retracts))
    symbol = SYMBOLS[int(kinds[row])]
    if not ctx.schema.is_primary_key_table:
        raise InvalidInputError(
            ErrorKind.ROWS_INVALID,
            f"row {row} is a {symbol}, and {ctx.identifier} has no primary key to find the row by: delete with a "
            "predicate, or set 'ignore-delete' to leave such rows out",
            row=row,
        )
    if ctx.options.merge_engine == "first-row":
        raise InvalidInputError(
            ErrorKind.ROWS_INVALID,
            f"row {row} is a {symbol}, which merge-engine 'first-row' does not take: set 'ignore-delete' to leave such "
            "rows out",
            row=row,
        )
    refused = first_refused(MergeSpec.of(ctx), rows, kinds)
    if refused is not None:
        row, reason = refused
        raise InvalidInputError(
            ErrorKind.ROWS_INVALID, f"row {row} is a {SYMBOLS[int(kinds[row])]}, and {reason}", row=row
        )


def _with_defaulted(rows: pa.Table, fields: "tuple[DataField, ...]") -> pa.Table:
    """Return rows with a column of NULLs, which get the default, for each that is missing and has one."""
    for field in fields:
        if field.default_value is not None and field.name not in rows.column_names:
            rows = rows.append_column(field.name, pa.nulls(rows.num_rows))
    return rows


def key_rows(ctx: "TableContext", keys: pa.Table) -> pa.Table:
    """Return rows that hold keys and nothing else, as a delete of them is written: NULL, or zero where NULL may not be.

    Raises InvalidInputError COLUMN_INVALID for a column that is no part of the primary key, as `prepared` for the rest.
    """
    _check_keys(ctx, keys)
    names = set(ctx.schema.primary_keys)
    for name in keys.column_names:
        if name not in names:
            raise InvalidInputError(
                ErrorKind.COLUMN_INVALID,
                f"column {name!r} is no part of the primary key of {ctx.identifier}, which is "
                f"{', '.join(ctx.schema.primary_keys)}: leave it out",
                column=name,
            )
    of_key = tuple(field for field in ctx.schema.fields if field.name in names)
    cast = cast_rows(keys, of_key)
    columns: dict[str, Any] = {}
    for field in ctx.schema.fields:
        if field.name in names:
            columns[field.name] = cast.column(field.name)
        elif field.type.nullable:
            columns[field.name] = pa.nulls(cast.num_rows, arrow_type(field.type))
        else:
            columns[field.name] = pa.repeat(_zero(field.type), cast.num_rows)
    return pa.table(columns)


def _zero(kind: DataType) -> pa.Scalar:
    wanted = arrow_type(kind)
    if pa.types.is_string(wanted) or pa.types.is_binary(wanted):
        return pa.scalar("" if pa.types.is_string(wanted) else b"", wanted)
    if pa.types.is_list(wanted) or pa.types.is_map(wanted):
        return pa.scalar([], wanted)
    if pa.types.is_struct(wanted):
        inner = {field.name: _zero(field.type).as_py() for field in kind.fields}
        return pa.scalar(inner, wanted)
    if pa.types.is_boolean(wanted):
        return pa.scalar(value=False, type=wanted)
    if pa.types.is_decimal(wanted):
        return pa.scalar(Decimal(0), wanted)
    if pa.types.is_date32(wanted) or pa.types.is_time32(wanted):
        return pa.scalar(0, pa.int32()).cast(wanted)
    if pa.types.is_timestamp(wanted):
        return pa.scalar(0, pa.int64()).cast(wanted)
    return pa.scalar(0, wanted)

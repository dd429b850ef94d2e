"""Rows of a table that a statement changes, handed to DuckDB some at a time."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Final

import numpy as np
import pyarrow as pa
from sqlglot import exp

from hosu.kernel.errors import ConflictError, ErrorKind, InvalidInputError, UnsupportedError
from hosu.tables.schemas import TableSchema
from hosu.tables.snapshots import find
from hosu.tables.sql.duck import Connection, Parameters
from hosu.tables.sql.grammar import DIALECT
from hosu.tables.sql.lexing import fault
from hosu.tables.sql.queries import Query
from hosu.tables.types import default_of

if TYPE_CHECKING:
    from hosu.tables.context import TableContext

TARGET: Final = "__hosu_target"
"""What DuckDB knows the rows as."""

POSITION: Final = "__hosu_position"
"""The column that numbers them."""

_READS: Final = ("scan.", "incremental-", "consumer-id", "consumer.")
_VOLATILE: Final = frozenset({"RANDOM", "UUID", "UUIDV4", "UUIDV7", "GEN_RANDOM_UUID", "NEXTVAL", "SETSEED"})


def by_name(schema: TableSchema, name: str) -> str:
    """Return the name of a column as the table has it; raise InvalidInputError COLUMN_INVALID where it has none."""
    if name in schema.names:
        return name
    found = [known for known in schema.names if known.lower() == name.lower()]
    if len(found) != 1:
        raise InvalidInputError(
            ErrorKind.COLUMN_INVALID,
            f"the table has no column {name!r}: it has {', '.join(schema.names)}",
            column=name,
        )
    return found[0]


def filled(schema: TableSchema, rows: pa.Table) -> pa.Table:
    """Return rows with the defaults of columns that they lack, or NULL; a NOT NULL column without one stays missing."""
    for field in schema.fields:
        if field.name in rows.column_names:
            continue
        default = default_of(field)
        if default is None and not field.type.nullable:
            continue
        kind = schema.arrow.field(field.name).type
        value = default if isinstance(default, pa.Scalar) else pa.scalar(default, kind)
        rows = rows.append_column(field.name, pa.repeat(value, rows.num_rows))
    return rows


def counted(count: int | None) -> str:
    """Return how many rows something was done to, in words."""
    return "rows" if count is None else "1 row" if count == 1 else f"{count} rows"


def check_written(options: Mapping[str, str]) -> None:
    """Refuse options of reads in a hint behind the table that a statement changes; raise UnsupportedError."""
    for key, value in options.items():
        if key.startswith(_READS):
            raise UnsupportedError(
                ErrorKind.UNSUPPORTED,
                f"option {key!r} = {value!r} is not supported behind the table that a statement changes: it is of "
                "reads; the past of a table cannot be changed",
                option=key,
            )


def check_steady(condition: exp.Expr | None) -> None:
    """Refuse a condition that answers otherwise when a row is asked again, as rows are; raise InvalidInputError."""
    found = {"WINDOW"} if condition is not None and is_windowed(condition) else set()
    if condition is not None and condition.find(exp.TableSample) is not None:
        found.add("SAMPLE")
    for call in condition.find_all(exp.Func) if condition is not None else ():
        name = call.name if isinstance(call, exp.Anonymous) else call.sql(DIALECT).partition("(")[0]
        found |= {name.upper()} & _VOLATILE
    if found:
        raise fault(
            f"the condition says something else of a row each time, by {min(found)}: pick the rows with CREATE TABLE … "
            "AS SELECT, and change those"
        )


def is_windowed(node: exp.Expr) -> bool:
    """Whether a value is computed of the rows around it, outside queries: rows to change come some at a time."""
    return any(window.find_ancestor(exp.Query) is None for window in node.find_all(exp.Window))


def check_values(values: Sequence[exp.Expr]) -> None:
    """Refuse values for changed rows that need other rows; raise InvalidInputError."""
    for value in values:
        if is_windowed(value):
            raise fault("window functions cannot stand behind SET: write MERGE INTO … USING (SELECT …) AS s ON …")


def assignment(schema: TableSchema, alias: str, node: exp.Expr) -> tuple[str, exp.Expr]:
    """Return the column that an assignment sets, and the value."""
    if not isinstance(node, exp.EQ) or not isinstance(node.this, exp.Column):
        raise fault(f"{node.sql(DIALECT)!r} sets no column: write column = value, for each of them")
    column, value = node.this, node.expression
    if column.db or (column.table and column.table.lower() != alias.lower()):
        raise fault(f"{column.sql(DIALECT)!r} is no column of {alias}")
    if isinstance(value, exp.Column) and value.name.upper() == "DEFAULT" and not (value.table or value.this.quoted):
        raise UnsupportedError(ErrorKind.UNSUPPORTED, "DEFAULT behind SET is not supported: write the value")
    check_values([value])
    return by_name(schema, column.name), value


def check_asked_again(rows: pa.Table, found: int) -> None:
    """Raise InvalidInputError unless all rows that were picked are found again, once each: none gets lost."""
    if found != rows.num_rows:
        raise fault(
            f"{rows.num_rows} rows were picked, and there are new values for {found}: the condition and the values "
            "have to say the same of a row each time, and give it one value"
        )


def state_read(query: Query, ctx: "TableContext") -> int | None:
    """Return the snapshot that a statement reads of the very table it changes; None where it does not."""
    found = [
        one.scan.snapshot.id if one.scan.snapshot is not None else 0
        for one in query.references
        if one.scan is not None and one.is_latest and one.scan.context.identifier == ctx.identifier
    ]
    return min(found, default=None)


def check_settled(ctx: "TableContext", read: int | None) -> None:
    """Raise ConflictError COMMIT_CONFLICT when a table has moved on from the state that a statement has read of it."""
    if read is not None and (find.latest_id(ctx) or 0) != read:
        raise ConflictError(
            ErrorKind.COMMIT_CONFLICT, f"{ctx.identifier} was changed while a statement read it: run it again"
        )


class Target:
    """The rows that a statement is asked about."""

    def __init__(self, connection: Connection, schema: TableSchema) -> None:
        self.connection = connection
        self._sql = ""
        self._parameters: Parameters = None
        self._show(schema.arrow.empty_table())

    def _show(self, rows: pa.Table) -> None:
        positions = pa.array(np.arange(rows.num_rows))
        self.connection.register(TARGET, rows.append_column(POSITION, positions))

    def prepare(self, sql: str, parameters: Parameters) -> None:
        """Take the query that is asked of rows."""
        self._sql, self._parameters = sql, parameters

    def computed(self, rows: pa.Table) -> pa.Table:
        """Return what the query says of rows."""
        self._show(rows)
        return self.connection.rows(self._sql, self._parameters)

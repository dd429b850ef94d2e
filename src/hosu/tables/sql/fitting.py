"""Values of queries made to fit the columns that they are for, where DuckDB has to cast them."""

from collections.abc import Sequence
from typing import Final

from hosu.tables.schemas import TableSchema
from hosu.tables.sql.duck import Connection, Parameters, literal, quoted
from hosu.tables.sql.lexing import fault
from hosu.tables.sql.targets import by_name
from hosu.tables.types import DataType

_TEXT: Final = frozenset({"CHAR", "VARCHAR"})
_FLOATS: Final = frozenset({"FLOAT", "DOUBLE"})
_WHOLE: Final = frozenset({"TINYINT", "SMALLINT", "INT", "BIGINT"})
_EXACT: Final = frozenset(
    {"TINYINT", "SMALLINT", "INTEGER", "BIGINT", "HUGEINT", "UTINYINT", "USMALLINT", "UINTEGER", "UBIGINT"}
)
_DIGITS_MAX: Final = 38
_MICROSECONDS: Final = 6
_WHOLE_SCALE: Final = 18
"""Beside the 19 digits of a BIGINT."""

_EMPTY: Final = "__hosu_empty"


def fitted(
    connection: Connection,
    schema: TableSchema,
    sql: str,
    parameters: Parameters,
    names: Sequence[str | None],
    outputs: Sequence[str] | None = None,
) -> str:
    """Return a query of the values of another one, in order, with text cast to the types of the columns named.

    Other values are cast by the engine, which refuses what would be lost. A name of None is of no column of the table.
    The columns of the query are called `outputs`, or as those of the table.
    """
    kinds = connection.types(sql, parameters)
    if len(kinds) != len(names):
        listed = ", ".join(name for name in names if name is not None)
        raise fault(f"there are {len(kinds)} values for {len(names)} columns: {listed}")
    known = [None if name is None else by_name(schema, name) for name in names]
    connection.register(_EMPTY, schema.arrow.empty_table())
    wanted = dict(zip(schema.names, connection.types(f"SELECT * FROM {_EMPTY}"), strict=True))
    columns = [f"c{place}" if name is None else quoted(name) for place, name in enumerate(known)]
    if outputs is not None or len({name.lower() for name in columns}) != len(columns):
        columns = [f"c{place}" for place in range(len(known))]
    selected = []
    for place, (column, name, kind) in enumerate(zip(columns, known, kinds, strict=True)):
        value = column if name is None else _cast(column, kind, schema.field(name).type, wanted[name])
        selected.append(f"{value} AS {quoted(outputs[place] if outputs is not None else str(name))}")
    return f"SELECT {', '.join(selected)} FROM ({sql}\n) AS given({', '.join(columns)})"


def _cast(column: str, kind: str, wanted: DataType, type_: str) -> str:
    """Return a value as the engine takes it: text cast to its type, and exact numbers to DOUBLE, as 1.5 is."""
    root = wanted.root
    if root in _FLOATS and (kind in _EXACT or kind.startswith("DECIMAL")):
        return f"CAST({column} AS {type_})"
    if kind != "VARCHAR" or root in _TEXT:
        return column
    # DuckDB rounds and cuts text without a word: it gets a type with more digits, from which the engine loses none.
    if root in _WHOLE:
        return _number(column, _WHOLE_SCALE, root)
    if root == "DECIMAL":
        places = _DIGITS_MAX - (wanted.precision or 0) + (wanted.scale or 0)
        value = _number(column, places, f"DECIMAL({wanted.precision}, {wanted.scale})")
        is_full = wanted.precision == _DIGITS_MAX
        return _unless(_finer(column, places), column, f"has more than {places} places", value) if is_full else value
    if root == "DATE":
        is_cut = f"TRY_CAST({column} AS TIMESTAMP) <> CAST(CAST({column} AS DATE) AS TIMESTAMP)"
        return _unless(is_cut, column, "has a time of day, which a DATE does not", f"CAST({column} AS DATE)")
    if root == "TIMESTAMP" and (wanted.precision or 0) <= _MICROSECONDS:
        has_zone = f"TRY_CAST({column} AS TIMESTAMPTZ) <> CAST(CAST({column} AS TIMESTAMP) AS TIMESTAMPTZ)"
        value = _unless(has_zone, column, "has a zone, which a TIMESTAMP does not", f"CAST({column} AS TIMESTAMP)")
        return _unless(_finer(column, _MICROSECONDS), column, "is finer than microseconds", value)
    return f"CAST({column} AS {type_})"


def _number(column: str, places: int, wanted: str) -> str:
    kind = f"DECIMAL({_DIGITS_MAX}, {places})"
    is_none = f"{column} IS NOT NULL AND TRY_CAST({column} AS {kind}) IS NULL"
    return _unless(is_none, column, f"is no {wanted}", f"CAST({column} AS {kind})")


def _finer(column: str, places: int) -> str:
    return f"regexp_matches({column}, '[.][0-9]{{{places}}}[0-9]*[1-9]')"


def _unless(condition: str, column: str, why: str, value: str) -> str:
    told = f"error(concat('''', {column}, ''' ', {literal(why)}))"
    return f"CASE WHEN {condition} THEN {told} ELSE {value} END"

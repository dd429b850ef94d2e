"""Values of queries made to fit the columns that they are for, where DuckDB has to cast them."""

from collections.abc import Sequence
from dataclasses import dataclass
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
_NANOSECONDS: Final = 9
_WHOLE_SCALE: Final = 18
"""Beside the 19 digits of a BIGINT."""

_ENDLESS: Final = frozenset({"DATE", "TIMESTAMP", "TIMESTAMP WITH TIME ZONE"})
"""DuckDB's types that have an infinity, which no column has."""

_NO_MOMENT: Final = "is no moment that a column holds: leave it NULL"
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
    columns = _called(known, outputs)
    selected = []
    for place, (column, name, kind) in enumerate(zip(columns, known, kinds, strict=True)):
        value = column if name is None else _Value(column, name, schema.field(name).type).cast(kind, wanted[name])
        selected.append(f"{value} AS {quoted(outputs[place] if outputs is not None else str(name))}")
    return f"SELECT {', '.join(selected)} FROM ({sql}\n) AS given({', '.join(columns)})"


def _called(names: Sequence[str | None], outputs: Sequence[str] | None) -> list[str]:
    """Return what values are called, which DuckDB's messages say: as their columns, where those differ."""
    found = [name if name is not None else outputs[place] if outputs else "" for place, name in enumerate(names)]
    if len({name.lower() for name in found}) != len(found):
        found = [f"{name} ({place})" for place, name in enumerate(found)]
    return [quoted(name) for name in found]


@dataclass(frozen=True)
class _Value:
    """A value for a column of a table."""

    sql: str
    name: str
    wanted: DataType

    def cast(self, kind: str, type_: str) -> str:
        """Return the value as the engine takes it: text cast to its type, and exact numbers to DOUBLE, as 1.5 is."""
        root = self.wanted.root
        if root in _FLOATS and (kind in _EXACT or kind.startswith("DECIMAL")):
            return f"CAST({self.sql} AS {type_})"
        if kind in _ENDLESS:
            return self._unless(f"isinf({self.sql})", _NO_MOMENT, self.sql)
        if kind != "VARCHAR" or root in _TEXT:
            return self.sql
        # DuckDB rounds and cuts text without a word: it gets a type with more digits, from which the engine loses none.
        if root in _WHOLE:
            return self._number(_WHOLE_SCALE, root)
        if root == "DECIMAL":
            places = _DIGITS_MAX - (self.wanted.precision or 0) + (self.wanted.scale or 0)
            value = self._number(places, f"DECIMAL({self.wanted.precision}, {self.wanted.scale})")
            is_full = self.wanted.precision == _DIGITS_MAX
            return self._unless(self._finer(places), f"has more than {places} places", value) if is_full else value
        return self._time(root, type_)

    def _time(self, root: str, type_: str) -> str:
        """Return text cast to a type of days or times, or to another one that DuckDB's cast is right for."""
        text, value = self.sql, f"CAST({self.sql} AS {type_})"
        if root == "TIME":
            return self._unless(self._finer(_MICROSECONDS), "is finer than microseconds", value)
        if root == "DATE":
            is_cut = f"TRY_CAST({text} AS TIMESTAMP) <> CAST(CAST({text} AS DATE) AS TIMESTAMP)"
            value = self._unless(is_cut, "has a time of day, which a DATE does not", value)
        elif root in {"TIMESTAMP", "TIMESTAMP_LTZ"}:
            is_nano = type_ == "TIMESTAMP_NS"
            if root == "TIMESTAMP":
                has_zone = f"TRY_CAST({text} AS TIMESTAMPTZ) <> CAST(CAST({text} AS TIMESTAMP) AS TIMESTAMPTZ)"
                value = f"CAST({text} AS {type_ if is_nano else 'TIMESTAMP'})"
                value = self._unless(has_zone, "has a zone, which a TIMESTAMP does not", value)
            places, unit = (_NANOSECONDS, "nanoseconds") if is_nano else (_MICROSECONDS, "microseconds")
            value = self._unless(self._finer(places), f"is finer than {unit}", value)
        else:
            return value
        return self._unless(f"isinf(TRY_CAST({text} AS TIMESTAMP))", _NO_MOMENT, value)

    def _number(self, places: int, wanted: str) -> str:
        kind = f"DECIMAL({_DIGITS_MAX}, {places})"
        is_none = f"{self.sql} IS NOT NULL AND TRY_CAST({self.sql} AS {kind}) IS NULL"
        return self._unless(is_none, f"is no {wanted}", f"CAST({self.sql} AS {kind})")

    def _finer(self, places: int) -> str:
        return f"regexp_matches({self.sql}, '[.][0-9]{{{places}}}[0-9]*[1-9]')"

    def _unless(self, condition: str, why: str, value: str) -> str:
        before, after = literal(f"column {self.name!r}: '"), literal(f"' {why}")
        return f"CASE WHEN {condition} THEN error(concat({before}, {self.sql}, {after})) ELSE {value} END"

"""What of a query a table can be told before it is read: the columns it needs, and conditions that its rows must meet.

DuckDB looks at all conditions again. What is told to a table must never leave out a row that DuckDB would take, so
that values are told only where DuckDB and the engine are sure to compare alike.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from decimal import Decimal
from typing import Any, Final

from sqlglot import exp

from hosu.kernel.errors import HosuError
from hosu.tables.predicates import Predicate, conjunction
from hosu.tables.predicates.parsing import of_expression
from hosu.tables.schemas import TableSchema
from hosu.tables.types import DataField

_SIDES: Final = frozenset({"", "LEFT"})
_KINDS: Final = frozenset({"", "INNER", "CROSS", "OUTER"})
_METHODS: Final = frozenset({"", "NATURAL"})
_WHOLE: Final = frozenset({"TINYINT", "SMALLINT", "INT", "BIGINT", "DECIMAL"})
_TEXT: Final = frozenset({"CHAR", "VARCHAR"})
_NUMBER: Final = re.compile(r"\d+(\.\d*)?|\.\d+")
_DATE: Final = re.compile(r"\d{4}-\d\d-\d\d")
_TIME: Final = re.compile(r"\d{4}-\d\d-\d\d([ T]\d\d:\d\d:\d\d(\.(?P<digits>\d{1,9}))?)?")
_WHOLE_DIGITS_MAX: Final = 18
_DOUBLE_DIGITS_MAX: Final = 15
"""Numbers of so many digits are the same double however they are read."""


@dataclass
class Source:
    """A table in a query, which the schema is of."""

    schema: TableSchema
    alias: str
    is_plain: bool
    """Whether its columns have their own names there."""

    pushed: list[Predicate] = field(default_factory=list)
    told: list[str] = field(default_factory=list)
    """What was pushed, as SQL."""

    @property
    def where(self) -> Predicate | None:
        """What its rows have to meet; None for nothing."""
        return conjunction(self.pushed) if self.pushed else None


def needed_columns(query: exp.Expr, source: Source) -> list[str] | None:
    """Return the columns of a table that a query may look at, in the table's order; None for all of them."""
    if not source.is_plain or _takes_all(query):
        return None
    names = {identifier.name.lower() for identifier in query.find_all(exp.Identifier)}
    if source.alias.lower() in _values(query):
        return None
    found = [name for name in source.schema.names if name.lower() in names]
    return found or [(*source.schema.trimmed_keys, *source.schema.names)[0]]


def _values(query: exp.Expr) -> set[str]:
    """Return the names that stand alone as values: that of a table means its whole row."""
    return {column.name.lower() for column in query.find_all(exp.Column) if not column.table}


def _takes_all(query: exp.Expr) -> bool:
    if query.find(exp.Columns, exp.Pivot) is not None:
        return True
    if any(join.method == "NATURAL" for join in query.find_all(exp.Join)):
        return True
    return any(not isinstance(star.parent, exp.Count) for star in query.find_all(exp.Star))


def push_down(query: exp.Expr, sources: Mapping[int, Source], parameters: Mapping[str, Any]) -> None:
    """Tell tables, by the id of their node in a query, what conditions of WHERE say of their rows alone."""
    for select in query.find_all(exp.Select):
        where = select.args.get("where")
        if where is None or select.args.get("sample") is not None:
            continue
        tables = list(_tables(select, sources))
        if not tables:
            continue
        condition = where.this
        for part in condition.flatten() if isinstance(condition, exp.And) else [condition]:
            _push(part.unnest(), tables, parameters)


def _tables(select: exp.Select, sources: Mapping[int, Source]) -> Iterator[tuple[str, Source | None]]:
    """Yield what a SELECT reads from, by alias: tables that may be told conditions, and None for anything else."""
    start = select.args.get("from_")
    joins = select.args.get("joins") or []
    if start is None or select.args.get("laterals"):
        return
    if any(
        join.side not in _SIDES or join.kind not in {*_KINDS, "SEMI", "ANTI"} or join.method not in _METHODS
        for join in joins
    ):
        return
    parts = [(start.this, True)]
    parts += [(join.this, not join.side and join.kind in _KINDS - {"OUTER"}) for join in joins]
    for node, may in parts:
        source = sources.get(id(node))
        is_more = any(node.args.get(name) for name in ("joins", "pivots", "sample", "laterals", "ordinality"))
        if source is None or is_more:
            if is_more or not isinstance(node, exp.Table | exp.Subquery):
                yield "", None
            continue
        yield source.alias.lower(), source if may and source.is_plain else None


def _push(part: exp.Expr, tables: Sequence[tuple[str, Source | None]], parameters: Mapping[str, Any]) -> None:
    if part.find(exp.Query) is not None or any(alias == "" for alias, _ in tables):
        return
    found: Source | None = None
    for column in part.find_all(exp.Column):
        source = _source_of(column, tables)
        if source is None or (found is not None and source is not found):
            return
        found = source
    if found is None:
        return
    told = _told(part, parameters)
    if not _is_alike(told, found.schema):
        return
    try:
        found.pushed.append(of_expression(told, found.schema))
    except HosuError:
        return
    found.told.append(told.sql("duckdb"))


def _source_of(column: exp.Column, tables: Sequence[tuple[str, Source | None]]) -> Source | None:
    if isinstance(column.parent, exp.Dot) or column.args.get("db") is not None:
        return None
    if column.table:
        return next((source for alias, source in tables if alias == column.table.lower()), None)
    having = [source for _, source in tables if source is not None and _field(source.schema, column.name) is not None]
    # A table that may not be told anything may have the column, too.
    return having[0] if len(having) == 1 and all(source is not None for _, source in tables) else None


def _field(schema: TableSchema, name: str) -> DataField | None:
    return next((field_ for field_ in schema.fields if field_.name.lower() == name.lower()), None)


def _told(part: exp.Expr, parameters: Mapping[str, Any]) -> exp.Expr:
    """Return a condition whose columns have no table before them, and with the values of parameters."""

    def change(node: exp.Expr) -> exp.Expr:
        if isinstance(node, exp.Column):
            return exp.column(node.this.copy())
        if isinstance(node, exp.Placeholder | exp.Parameter):
            name = node.name
            return _written(parameters[name]) if name in parameters else node
        return node

    return part.copy().transform(change)


def _written(value: object) -> exp.Expr:
    if value is None:
        return exp.Null()
    if isinstance(value, bool):
        return exp.Boolean(this=value)
    if isinstance(value, int | Decimal):
        written = exp.Literal.number(format(abs(value), "f") if isinstance(value, Decimal) else str(abs(value)))
        return exp.Neg(this=written) if value < 0 else written
    if isinstance(value, str):
        return exp.Literal.string(value)
    if isinstance(value, datetime | date) and getattr(value, "tzinfo", None) is None:
        return exp.Literal.string(str(value))
    return exp.Placeholder()


def _is_alike(part: exp.Expr, schema: TableSchema) -> bool:
    """Whether DuckDB and the engine are sure to compare alike all that a condition compares."""
    for node in part.find_all(exp.Func, exp.ILike, exp.SimilarTo, exp.RegexpLike, exp.Escape):
        if not isinstance(node, exp.And | exp.Or | exp.Cast):
            return False
    leaves = [node for node in part.walk() if isinstance(node, exp.Predicate | exp.Between | exp.In)]
    return all(_leaf_is_alike(leaf, schema) for leaf in leaves)


def _leaf_is_alike(leaf: exp.Expr, schema: TableSchema) -> bool:
    roots = [_field(schema, column.name) for column in leaf.find_all(exp.Column)]
    return all(
        field_ is not None and all(_value_is_alike(value, field_) for value in _literals(leaf)) for field_ in roots
    )


def _literals(leaf: exp.Expr) -> Iterator[exp.Expr]:
    yield from leaf.find_all(exp.Literal, exp.Placeholder, exp.Boolean)


def _value_is_alike(value: exp.Expr, field_: DataField) -> bool:
    root = field_.type.root
    if isinstance(value, exp.Boolean):
        return root == "BOOLEAN" or isinstance(value.parent, exp.Is)
    if not isinstance(value, exp.Literal):
        return False
    text = str(value.this)
    cast = value.parent if isinstance(value.parent, exp.Cast) else None
    if cast is not None and not cast.is_type("date", "timestamp", "timestampntz"):
        return False
    if not value.is_string:
        digits = len(text.replace(".", "").lstrip("0"))
        if not _NUMBER.fullmatch(text):
            return False
        if root in _WHOLE:
            return digits <= _WHOLE_DIGITS_MAX
        return root == "DOUBLE" and digits <= _DOUBLE_DIGITS_MAX
    if root in _TEXT:
        return cast is None and "\\" not in text
    if root == "DATE":
        return _DATE.fullmatch(text) is not None
    if root in {"TIMESTAMP", "TIMESTAMP_LTZ"}:
        found = _TIME.fullmatch(text)
        # DuckDB has microseconds in a TIMESTAMP with a zone, and cuts what a literal has beyond its column.
        places = min(field_.type.precision or 0, 6)
        unit = 3 if places <= 3 else 6  # noqa: PLR2004 - milliseconds or microseconds
        return found is not None and len(found["digits"] or "") <= unit
    return False

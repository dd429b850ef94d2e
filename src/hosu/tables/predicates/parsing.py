"""Predicates out of SQL: `dt = '2026-01-31' AND (price > 5 OR symbol LIKE 'KRW-%')`."""

from collections.abc import Sequence
from datetime import datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final

import sqlglot
from sqlglot import exp
from sqlglot.errors import SqlglotError

from hosu.kernel.errors import ErrorKind, HosuError, InvalidInputError
from hosu.tables.predicates.literals import compare, wrong_value
from hosu.tables.predicates.nodes import (
    Always,
    Compare,
    In,
    IsNull,
    Like,
    Operator,
    Predicate,
    conjunction,
    disjunction,
)

if TYPE_CHECKING:
    from hosu.tables.schemas import TableSchema
    from hosu.tables.types import DataField

_OPERATORS: Final[dict[type[exp.Expr], Operator]] = {
    exp.EQ: "=",
    exp.NEQ: "!=",
    exp.LT: "<",
    exp.LTE: "<=",
    exp.GT: ">",
    exp.GTE: ">=",
}
_TURNED: Final[dict[Operator, Operator]] = {"=": "=", "!=": "!=", "<": ">", "<=": ">=", ">": "<", ">=": "<="}
_OPPOSITE: Final[dict[Operator, Operator]] = {"=": "!=", "!=": "=", "<": ">=", ">=": "<", ">": "<=", "<=": ">"}
_TEXT: Final = frozenset({"CHAR", "VARCHAR"})
_DIALECT: Final = "duckdb"


def parse_where(sql: str, schema: "TableSchema") -> Predicate:
    """Return the predicate that a condition of SQL says, without the word WHERE.

    Columns are compared with values; BETWEEN, IN, LIKE, IS NULL, AND, OR, NOT and brackets. Raises InvalidInputError
    QUERY_INVALID for what is not SQL, for another kind of condition, for a column that the table lacks and for a value
    that is none of its column's.
    """
    try:
        found = sqlglot.parse_one(sql, dialect=_DIALECT, into=exp.Condition)
    except (SqlglotError, RecursionError) as error:
        raise InvalidInputError(
            ErrorKind.QUERY_INVALID, f"where {sql!r} is no condition of SQL: {_first_line(error)}", where=sql
        ) from error
    return of_expression(found, schema)


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]


def of_expression(expression: exp.Expr, schema: "TableSchema") -> Predicate:
    """Return the predicate that a parsed condition says; raises as `parse_where`."""
    return _Reader(schema).read(expression, is_negated=False)


def split_expression(expression: exp.Expr | None, schema: "TableSchema") -> tuple[Predicate | None, list[exp.Expr]]:
    """Return what of a condition can be pushed down, and the conjuncts that cannot be."""
    if expression is None:
        return None, []
    pushed, left = [], []
    for part in expression.flatten() if isinstance(expression, exp.And) else [expression]:
        try:
            pushed.append(of_expression(part.unnest(), schema))
        except HosuError:
            left.append(part)
    return (conjunction(pushed) if pushed else None), left


class _Reader:
    """Reads conditions; NOT is carried down to what compares, where it is the opposite comparison.

    That keeps the third truth value of SQL right: NOT of unknown is unknown, as the opposite comparison is.
    """

    def __init__(self, schema: "TableSchema") -> None:
        self._schema = schema

    def read(self, node: exp.Expr, *, is_negated: bool) -> Predicate:
        if isinstance(node, exp.Paren):
            return self.read(node.this, is_negated=is_negated)
        if isinstance(node, exp.Not):
            return self.read(node.this, is_negated=not is_negated)
        if isinstance(node, exp.And | exp.Or):
            parts = [self.read(part, is_negated=is_negated) for part in node.flatten()]
            return conjunction(parts) if isinstance(node, exp.And) != is_negated else disjunction(parts)
        return self._leaf(node, is_negated=is_negated)

    def _leaf(self, node: exp.Expr, *, is_negated: bool) -> Predicate:
        _refuse_more(node)
        if type(node) in _OPERATORS:
            operator = _OPERATORS[type(node)]
            return self._compare(node, _OPPOSITE[operator] if is_negated else operator)
        if isinstance(node, exp.Between):
            return self._between(node, is_negated=is_negated)
        if isinstance(node, exp.In):
            return self._among(node, is_negated=is_negated)
        if isinstance(node, exp.Is):
            return self._is(node, is_negated=is_negated)
        if isinstance(node, exp.Like):
            return self._like(node, is_negated=is_negated)
        if isinstance(node, exp.Column):
            return compare(self._column(node), "=", value=not is_negated)
        if isinstance(node, exp.Boolean):
            return Always(truth=bool(node.this) != is_negated)
        if isinstance(node, exp.Null):
            return Always(truth=False)
        raise _refused(node)

    def _column(self, node: exp.Expr) -> "DataField":
        node = node.unnest()
        # a.b may be a table's column or a field of a ROW: neither is one column of this table.
        if not isinstance(node, exp.Column):
            raise _refused(node)
        _refuse_more(node)
        for field in self._schema.fields:
            if field.name == node.name:
                return field
        folded = [field for field in self._schema.fields if field.name.lower() == node.name.lower()]
        if len(folded) == 1 and not node.this.args.get("quoted"):
            return folded[0]
        raise InvalidInputError(
            ErrorKind.QUERY_INVALID,
            f"the table has no column {node.name!r}: it has {', '.join(self._schema.names)}; text is in single quotes",
            column=node.name,
        )

    def _compare(self, node: exp.Expr, operator: Operator) -> Predicate:
        left, right = node.this.unnest(), node.expression.unnest()
        if not isinstance(left, exp.Column):
            left, right, operator = right, left, _TURNED[operator]
        if not isinstance(left, exp.Column) or isinstance(right, exp.Column):
            raise _refused(node)
        field = self._column(left)
        return compare(field, operator, _value(right))

    def _between(self, node: exp.Between, *, is_negated: bool) -> Predicate:
        field = self._column(node.this)
        low, high = _value(node.args["low"]), _value(node.args["high"])
        if is_negated:
            return disjunction([compare(field, "<", low), compare(field, ">", high)])
        return conjunction([compare(field, ">=", low), compare(field, "<=", high)])

    def _among(self, node: exp.In, *, is_negated: bool) -> Predicate:
        field = self._column(node.this)
        values = [_value(value) for value in node.expressions]
        return among(field, values, is_negated=is_negated)

    def _is(self, node: exp.Is, *, is_negated: bool) -> Predicate:
        field, what = self._column(node.this), node.expression
        if isinstance(what, exp.Null):
            return IsNull(field.name, is_negated)
        if isinstance(what, exp.Boolean):
            truth = bool(what.this)
            # Unlike a comparison this is never unknown.
            if is_negated:
                return disjunction([compare(field, "=", value=not truth), IsNull(field.name)])
            return compare(field, "=", value=truth)
        raise _refused(node)

    def _like(self, node: exp.Like, *, is_negated: bool) -> Predicate:
        field, pattern = self._column(node.this), node.expression.unnest()
        if not (isinstance(pattern, exp.Literal) and pattern.is_string):
            raise _refused(node)
        if field.type.root not in _TEXT:
            raise wrong_value(field, pattern.this, "LIKE looks at text only")
        return Like(field.name, str(pattern.this), is_negated != bool(node.args.get("negate")))


def among(field: "DataField", values: Sequence[object], *, is_negated: bool = False) -> Predicate:
    """Return a column that has one of some values of Python's, or none of them; raises as `compare`.

    NULL among the values is never found, and makes NOT IN true of no row, as in SQL.
    """
    if is_negated and any(value is None for value in values):
        return Always(truth=False)
    found = [compare(field, "=", value) for value in values if value is not None]
    # What the column cannot hold is in no row.
    scalars = tuple(leaf.value for leaf in found if isinstance(leaf, Compare))
    if scalars:
        return In(field.name, scalars, is_negated)
    return IsNull(field.name, is_negated=True) if is_negated else Always(truth=False)


def _refused(node: exp.Expr) -> InvalidInputError:
    # In no dialect: what DuckDB says in another way would be named so.
    text = node.sql()
    return InvalidInputError(
        ErrorKind.QUERY_INVALID,
        f"{text!r} is not pushed down to a table: compare a column with a value, "
        "or use BETWEEN, IN, LIKE, IS NULL, AND, OR, NOT",
        expression=text,
    )


_PARTS: Final[dict[type[exp.Expr], frozenset[str]]] = {
    exp.Between: frozenset({"this", "low", "high"}),
    exp.Boolean: frozenset({"this"}),
    exp.Cast: frozenset({"this", "to"}),
    exp.Column: frozenset({"this"}),
    exp.In: frozenset({"this", "expressions"}),
    exp.Is: frozenset({"this", "expression"}),
    exp.Like: frozenset({"this", "expression", "negate"}),
    exp.Literal: frozenset({"this", "is_string"}),
    exp.Neg: frozenset({"this"}),
    exp.Null: frozenset(),
} | dict.fromkeys(_OPERATORS, frozenset({"this", "expression"}))
"""The parts of each kind of node that are understood."""


def _refuse_more(node: exp.Expr) -> None:
    """Refuse a node that has more to it than is understood, such as BETWEEN SYMMETRIC, or a newer parser's NOT."""
    known = _PARTS.get(type(node))
    if known is None or any(value and name not in known for name, value in node.args.items()):
        raise _refused(node)


def _value(node: exp.Expr) -> Any:  # noqa: ANN401 - a value of any type
    """Return the value that is written, as Python has it; None is NULL."""
    node = node.unnest()
    _refuse_more(node)
    if isinstance(node, exp.Null):
        return None
    if isinstance(node, exp.Boolean):
        return bool(node.this)
    if isinstance(node, exp.Literal):
        return str(node.this) if node.is_string else Decimal(str(node.this))
    if isinstance(node, exp.Neg):
        number = _value(node.this)
        if isinstance(number, Decimal):
            return number.copy_negate()  # which rounds nothing
    if isinstance(node, exp.Cast):
        return _cast(node)
    raise _refused(node)


def _cast(node: exp.Cast) -> Any:  # noqa: ANN401 - a value of any type
    """Return a written value that is given a type: DATE '2026-01-31', or '5'::INT."""
    value = _value(node.this)
    if value is None:
        return None
    try:
        if node.is_type("date") and isinstance(value, str):
            return datetime.fromisoformat(value.strip()).date()
        if node.is_type(*exp.DataType.NUMERIC_TYPES) and isinstance(value, str | Decimal):
            return Decimal(value) if isinstance(value, Decimal) else Decimal(value.strip())
    except (ValueError, ArithmeticError) as error:
        raise _refused(node) from error
    if node.is_type("time", *exp.DataType.TEMPORAL_TYPES, *exp.DataType.TEXT_TYPES, "blob") and isinstance(value, str):
        return value
    raise _refused(node)

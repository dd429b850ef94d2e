"""What callers give as a condition."""

from typing import TYPE_CHECKING

from hosu.kernel.errors import ErrorKind, InvalidInputError
from hosu.tables.predicates.nodes import Predicate
from hosu.tables.predicates.parsing import parse_where

if TYPE_CHECKING:
    from hosu.tables.schemas import TableSchema


def given_predicate(where: object, schema: "TableSchema") -> Predicate | None:
    """Return the predicate of a condition in SQL, or a predicate as it is; None stays None.

    Raises InvalidInputError QUERY_INVALID for anything else, and as `parse_where`.
    """
    if where is None:
        return None
    if isinstance(where, str):
        return parse_where(where, schema)
    if isinstance(where, Predicate):
        for name in sorted(where.columns):
            if name not in schema.names:
                raise InvalidInputError(
                    ErrorKind.QUERY_INVALID,
                    f"the table has no column {name!r}: it has {', '.join(schema.names)}",
                    column=name,
                )
        return where
    raise InvalidInputError(
        ErrorKind.QUERY_INVALID,
        f"where is a {type(where).__name__}: give a condition of SQL as text, such as \"price > 5 AND dt = 'today'\"",
    )

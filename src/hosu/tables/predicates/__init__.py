"""Predicates on the rows of tables: from SQL, over statistics, to Arrow."""

from hosu.tables.predicates.bounds import UNKNOWN, Bounds, bounds_of, bounds_of_row, comparable
from hosu.tables.predicates.given import given_predicate
from hosu.tables.predicates.literals import compare
from hosu.tables.predicates.nodes import (
    Always,
    And,
    Compare,
    In,
    IsNull,
    Like,
    Or,
    Predicate,
    conjunction,
    disjunction,
)
from hosu.tables.predicates.parsing import among, of_expression, parse_where, split_expression
from hosu.tables.predicates.splitting import split

__all__ = [
    "UNKNOWN",
    "Always",
    "And",
    "Bounds",
    "Compare",
    "In",
    "IsNull",
    "Like",
    "Or",
    "Predicate",
    "among",
    "bounds_of",
    "bounds_of_row",
    "comparable",
    "compare",
    "conjunction",
    "disjunction",
    "given_predicate",
    "of_expression",
    "parse_where",
    "split",
    "split_expression",
]

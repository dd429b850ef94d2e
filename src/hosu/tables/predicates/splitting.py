"""Predicates taken apart by what can decide them: partitions, keys, rows."""

from collections.abc import Iterable

from hosu.tables.predicates.nodes import Predicate, conjunction


def split(predicate: Predicate | None, columns: Iterable[str]) -> tuple[Predicate | None, Predicate | None]:
    """Return the conjuncts that look at nothing but columns, and the others; None where there are none."""
    if predicate is None:
        return None, None
    among = frozenset(columns)
    inside = [part for part in predicate.conjuncts() if part.columns <= among]
    outside = [part for part in predicate.conjuncts() if not part.columns <= among]
    return conjunction(inside) if inside else None, conjunction(outside) if outside else None

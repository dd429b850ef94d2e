"""Predicates on rows: what is pushed down to partitions, files and row groups, and then holds for every row.

They follow SQL: a comparison with NULL is neither true nor false, and rows match where a predicate is true. NaN is
greater than every number and equals itself, as in DuckDB and in Paimon.
"""

import math
import operator
from abc import ABC, abstractmethod
from bisect import bisect_left
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property, reduce
from typing import Final, Literal

import pyarrow as pa
import pyarrow.compute as pc

from hosu.tables.predicates.bounds import UNKNOWN, Bounds, Comparable, comparable, rank

Operator = Literal["=", "!=", "<", "<=", ">", ">="]
_NAN: Final = rank(math.nan)
_OPPOSITE: Final[dict[Operator, Operator]] = {"=": "!=", "!=": "=", "<": ">=", ">=": "<", ">": "<=", "<=": ">"}


class Predicate(ABC):
    """Something that is true of a row, false, or unknown for its NULLs. Immutable, and equal to its like."""

    @property
    @abstractmethod
    def columns(self) -> frozenset[str]:
        """The columns it looks at."""

    @abstractmethod
    def to_arrow(self) -> pc.Expression:
        """Return it as an Arrow expression: `Table.filter` keeps the rows that match."""

    @abstractmethod
    def may_match(self, bounds: Mapping[str, Bounds]) -> bool:
        """Whether a row within bounds could match; columns without bounds may hold anything.

        Exact for the bounds of a single row.
        """

    @abstractmethod
    def negated(self) -> "Predicate":
        """Return what is true where this is false, and unknown where this is."""

    @abstractmethod
    def renamed(self, names: Mapping[str, str]) -> "Predicate":
        """Return it over columns of other names."""

    def must_match(self, bounds: Mapping[str, Bounds]) -> bool:
        """Whether every row within bounds matches."""
        known = all(bounds.get(name, UNKNOWN).has_no_null for name in self.columns)
        return known and not self.negated().may_match(bounds)

    def conjuncts(self) -> tuple["Predicate", ...]:
        """Return the predicates that all have to hold."""
        return (self,)

    def __and__(self, other: "Predicate") -> "Predicate":
        return conjunction([self, other])

    def __or__(self, other: "Predicate") -> "Predicate":
        return disjunction([self, other])

    def __invert__(self) -> "Predicate":
        return self.negated()


@dataclass(frozen=True)
class Always(Predicate):
    """True of every row, or of none."""

    truth: bool = True

    @property
    def columns(self) -> frozenset[str]:
        """None."""
        return frozenset()

    def to_arrow(self) -> pc.Expression:
        """Return a constant."""
        return pc.scalar(self.truth)

    def may_match(self, bounds: Mapping[str, Bounds]) -> bool:  # noqa: ARG002 - whatever the bounds
        """Return the constant."""
        return self.truth

    def negated(self) -> Predicate:
        """Return the other constant."""
        return Always(not self.truth)

    def renamed(self, names: Mapping[str, str]) -> Predicate:  # noqa: ARG002 - it has no columns
        """Return itself."""
        return self


@dataclass(frozen=True)
class Compare(Predicate):
    """A column compared with a value, an Arrow scalar of the column's type that is not NULL."""

    column: str
    operator: Operator
    value: pa.Scalar

    @property
    def columns(self) -> frozenset[str]:
        """The one column."""
        return frozenset((self.column,))

    @cached_property
    def _rank(self) -> tuple[int, Comparable]:
        return rank(comparable(self.value))

    @property
    def _is_nan(self) -> bool:
        return self._rank == _NAN

    def to_arrow(self) -> pc.Expression:
        """Return the comparison; of floating numbers with NaN in its place."""
        column, value = pc.field(self.column), self.value
        if not pa.types.is_floating(value.type):
            return _COMPARED[self.operator](column, value)
        if self._is_nan:
            return {
                "=": pc.is_nan(column),
                "!=": ~pc.is_nan(column),
                "<": ~pc.is_nan(column),
                "<=": pc.is_nan(column) | ~pc.is_nan(column),
                ">": pc.is_nan(column) & ~pc.is_nan(column),
                ">=": pc.is_nan(column),
            }[self.operator]
        plain = _COMPARED[self.operator](column, value)
        return plain | pc.is_nan(column) if self.operator in {">", ">="} else plain

    def may_match(self, bounds: Mapping[str, Bounds]) -> bool:
        """Whether the value and the bounds allow a match."""
        known = bounds.get(self.column, UNKNOWN)
        if known.is_all_null:
            return False
        if known.may_have_nan and (self.operator in {">", ">=", "!="} or self._is_nan):
            return True
        if known.least is None or known.greatest is None:
            return True
        value, least, greatest = self._rank, rank(known.least), rank(known.greatest)
        if self.operator == "=":
            return least <= value <= greatest
        if self.operator == "!=":
            return not (least == value == greatest)
        if self.operator in {"<", "<="}:
            return least < value or (self.operator == "<=" and least == value)
        return greatest > value or (self.operator == ">=" and greatest == value)

    def negated(self) -> Predicate:
        """Return the opposite comparison."""
        return replace(self, operator=_OPPOSITE[self.operator])

    def renamed(self, names: Mapping[str, str]) -> Predicate:
        """Return the same of another column."""
        return replace(self, column=names.get(self.column, self.column))


_COMPARED: Final = {
    "=": lambda column, value: column == value,
    "!=": lambda column, value: column != value,
    "<": lambda column, value: column < value,
    "<=": lambda column, value: column <= value,
    ">": lambda column, value: column > value,
    ">=": lambda column, value: column >= value,
}


@dataclass(frozen=True)
class In(Predicate):
    """A column that has one of some values, or none of them: Arrow scalars of its type that are not NULL."""

    column: str
    values: tuple[pa.Scalar, ...]
    is_negated: bool = False

    @property
    def columns(self) -> frozenset[str]:
        """The one column."""
        return frozenset((self.column,))

    @cached_property
    def _ranks(self) -> list[tuple[int, Comparable]]:
        return sorted({rank(comparable(value)) for value in self.values})

    def to_arrow(self) -> pc.Expression:
        """Return one look into a set; of floating numbers, of which there are two zeros, a comparison each."""
        column = pc.field(self.column)
        if not self.values:
            # NULL in an empty list is false in SQL, as is every other value.
            return pc.scalar(self.is_negated)
        kind = self.values[0].type
        if pa.types.is_floating(kind):
            compares = [Compare(self.column, "!=" if self.is_negated else "=", value) for value in self.values]
            return (conjunction(compares) if self.is_negated else disjunction(compares)).to_arrow()
        found = pc.is_in(column, value_set=pa.array(list(self.values), kind))
        return ~found & pc.is_valid(column) if self.is_negated else found

    def may_match(self, bounds: Mapping[str, Bounds]) -> bool:
        """Whether any of the values lies within bounds, or any row beyond them."""
        known = bounds.get(self.column, UNKNOWN)
        if known.is_all_null or not self.values:
            return self.is_negated and not self.values
        if known.least is None or known.greatest is None:
            return True
        least, greatest = rank(known.least), rank(known.greatest)
        if self.is_negated:
            return known.may_have_nan or least != greatest or least not in self._ranks
        # Values are in order: the first that is not below the range tells.
        first = bisect_left(self._ranks, least)
        is_within = first < len(self._ranks) and self._ranks[first] <= greatest
        return is_within or (known.may_have_nan and self._ranks[-1] == _NAN)

    def negated(self) -> Predicate:
        """Return NOT IN for IN."""
        return replace(self, is_negated=not self.is_negated)

    def renamed(self, names: Mapping[str, str]) -> Predicate:
        """Return the same of another column."""
        return replace(self, column=names.get(self.column, self.column))


@dataclass(frozen=True)
class IsNull(Predicate):
    """A column that is NULL, or is not."""

    column: str
    is_negated: bool = False

    @property
    def columns(self) -> frozenset[str]:
        """The one column."""
        return frozenset((self.column,))

    def to_arrow(self) -> pc.Expression:
        """Return the look at NULL."""
        return pc.is_valid(pc.field(self.column)) if self.is_negated else pc.is_null(pc.field(self.column))

    def may_match(self, bounds: Mapping[str, Bounds]) -> bool:
        """Whether the count of NULLs allows a match."""
        known = bounds.get(self.column, UNKNOWN)
        return not known.is_all_null if self.is_negated else not known.has_no_null

    def must_match(self, bounds: Mapping[str, Bounds]) -> bool:
        """Whether the count of NULLs says that every row matches."""
        known = bounds.get(self.column, UNKNOWN)
        return known.has_no_null if self.is_negated else known.is_all_null

    def negated(self) -> Predicate:
        """Return IS NOT NULL for IS NULL."""
        return replace(self, is_negated=not self.is_negated)

    def renamed(self, names: Mapping[str, str]) -> Predicate:
        """Return the same of another column."""
        return replace(self, column=names.get(self.column, self.column))


@dataclass(frozen=True)
class Like(Predicate):
    """Text that is like a pattern of SQL, or is not: % is any characters, _ is one."""

    column: str
    pattern: str
    is_negated: bool = False

    @property
    def columns(self) -> frozenset[str]:
        """The one column."""
        return frozenset((self.column,))

    @property
    def prefix(self) -> str:
        """The characters before the first % or _."""
        ends = [place for place in (self.pattern.find("%"), self.pattern.find("_")) if place >= 0]
        return self.pattern[: min(ends)] if ends else self.pattern

    def to_arrow(self) -> pc.Expression:
        """Return Arrow's own LIKE, in which no character escapes another."""
        # A backslash is an ordinary character in SQL, unless ESCAPE says otherwise.
        matched = pc.match_like(pc.field(self.column), self.pattern.replace("\\", "\\\\"))
        return ~matched if self.is_negated else matched

    def may_match(self, bounds: Mapping[str, Bounds]) -> bool:
        """Whether text that begins like the pattern lies within bounds; for one value, whether it is like it."""
        known = bounds.get(self.column, UNKNOWN)
        if known.is_all_null:
            return False
        if known.row_count == 1 and isinstance(known.least, str) and known.least == known.greatest:
            found = pc.match_like(pa.array([known.least]), self.pattern.replace("\\", "\\\\"))[0].as_py()
            return bool(found) != self.is_negated
        if self.is_negated or not isinstance(known.least, str) or not isinstance(known.greatest, str):
            return True
        prefix = self.prefix
        return known.greatest >= prefix and known.least[: len(prefix)] <= prefix

    def negated(self) -> Predicate:
        """Return NOT LIKE for LIKE."""
        return replace(self, is_negated=not self.is_negated)

    def renamed(self, names: Mapping[str, str]) -> Predicate:
        """Return the same of another column."""
        return replace(self, column=names.get(self.column, self.column))


@dataclass(frozen=True)
class _Several(Predicate):
    """Predicates that decide together."""

    parts: tuple[Predicate, ...]

    @property
    def columns(self) -> frozenset[str]:
        """The columns of all parts."""
        return frozenset().union(*(part.columns for part in self.parts))

    def renamed(self, names: Mapping[str, str]) -> Predicate:
        """Return the same of other columns."""
        return replace(self, parts=tuple(part.renamed(names) for part in self.parts))


@dataclass(frozen=True)
class And(_Several):
    """Predicates that all hold."""

    def to_arrow(self) -> pc.Expression:
        """Return the parts, joined."""
        return reduce(operator.and_, [part.to_arrow() for part in self.parts])

    def may_match(self, bounds: Mapping[str, Bounds]) -> bool:
        """Whether every part may match."""
        return all(part.may_match(bounds) for part in self.parts)

    def must_match(self, bounds: Mapping[str, Bounds]) -> bool:
        """Whether every part must match."""
        return all(part.must_match(bounds) for part in self.parts)

    def negated(self) -> Predicate:
        """Return the parts negated, of which one has to hold."""
        return disjunction([part.negated() for part in self.parts])

    def conjuncts(self) -> tuple[Predicate, ...]:
        """Return the parts."""
        return self.parts


@dataclass(frozen=True)
class Or(_Several):
    """Predicates of which one holds."""

    def to_arrow(self) -> pc.Expression:
        """Return the parts, joined."""
        return reduce(operator.or_, [part.to_arrow() for part in self.parts])

    def may_match(self, bounds: Mapping[str, Bounds]) -> bool:
        """Whether any part may match."""
        return any(part.may_match(bounds) for part in self.parts)

    def must_match(self, bounds: Mapping[str, Bounds]) -> bool:
        """Whether any part must match."""
        return any(part.must_match(bounds) for part in self.parts)

    def negated(self) -> Predicate:
        """Return the parts negated, which all have to hold."""
        return conjunction([part.negated() for part in self.parts])


def conjunction(parts: Iterable[Predicate]) -> Predicate:
    """Return what holds where all parts do: flat, and a constant where it is one."""
    flat: list[Predicate] = []
    for part in parts:
        if isinstance(part, Always):
            if not part.truth:
                return part
        else:
            flat += [new for new in part.conjuncts() if new not in flat]
    if len(flat) > 1:
        return And(tuple(flat))
    return flat[0] if flat else Always()


def disjunction(parts: Iterable[Predicate]) -> Predicate:
    """Return what holds where any part does: flat, and a constant where it is one."""
    flat: list[Predicate] = []
    for part in parts:
        if isinstance(part, Always):
            if part.truth:
                return part
        else:
            flat += [new for new in (part.parts if isinstance(part, Or) else (part,)) if new not in flat]
    if len(flat) > 1:
        return Or(tuple(flat))
    return flat[0] if flat else Always(truth=False)

"""What is known of a column's values without reading them, in the form that predicates compare.

Values are comparable: whole numbers for dates, times and timestamps, in the unit of the column's Arrow type, and what
Python has for all others.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import pyarrow as pa

if TYPE_CHECKING:
    from hosu.tables.types import DataField

Comparable: TypeAlias = Any

_FLOATING: Final = frozenset({"FLOAT", "DOUBLE"})


@dataclass(frozen=True)
class Bounds:
    """A column of some rows: no value is less than `least` or greater than `greatest`; None: not known.

    `may_have_nan`: NaN, which is greater than every number, may be there beyond `greatest`.
    """

    least: Comparable = None
    greatest: Comparable = None
    null_count: int | None = None
    row_count: int | None = None
    may_have_nan: bool = False

    @property
    def is_all_null(self) -> bool:
        """Whether there is nothing but NULL."""
        return self.row_count is not None and self.null_count == self.row_count

    @property
    def has_no_null(self) -> bool:
        """Whether there is no NULL."""
        return self.null_count == 0


UNKNOWN: Final = Bounds(may_have_nan=True)


def comparable(scalar: pa.Scalar) -> Comparable:
    """Return the value of an Arrow scalar as predicates compare it."""
    if not scalar.is_valid:
        return None
    return scalar.value if pa.types.is_temporal(scalar.type) else scalar.as_py()


def rank(value: Comparable) -> tuple[int, Comparable]:
    """Return what orders comparable values of one column: NaN is greater than every number, and equals itself."""
    if isinstance(value, float) and math.isnan(value):
        return (1, 0.0)
    return (0, value)


def bounds_of(field: "DataField", least: Comparable, greatest: Comparable, nulls: int | None, rows: int) -> Bounds:
    """Return the bounds of a column from statistics, whoever wrote them: not all writers count NaN as a value."""
    return Bounds(least, greatest, nulls, rows, may_have_nan=field.type.root in _FLOATING)


def bounds_of_row(fields: "Sequence[DataField]", values: Sequence[Comparable]) -> dict[str, Bounds]:
    """Return the bounds of one row, such as a partition's: predicates are exact on them."""
    return {
        field.name: Bounds(value, value, int(value is None), 1) for field, value in zip(fields, values, strict=True)
    }

"""Consecutive rows of one key, and what numpy finds in each of them at once."""

from dataclasses import dataclass
from functools import cached_property
from typing import Any, Self

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from hosu.tables.merging.keys import Mask, Positions


@dataclass(frozen=True)
class Segments:
    """Rows 0 to count - 1, cut where a key begins."""

    starts: Positions
    count: int

    @classmethod
    def of(cls, firsts: Mask) -> Self:
        """Cut at each row that begins a key."""
        return cls(np.flatnonzero(firsts), len(firsts))

    @property
    def groups(self) -> int:
        """How many keys there are."""
        return len(self.starts)

    @cached_property
    def ends(self) -> Positions:
        """The position after the last row of each key."""
        return np.append(self.starts[1:], self.count)

    @cached_property
    def ids(self) -> Positions:
        """The number of each row's key."""
        return np.repeat(np.arange(self.groups), self.ends - self.starts)

    def last_where(self, mask: Mask) -> Positions:
        """Return each key's last row of those that the mask has, or -1."""
        return np.maximum.reduceat(np.where(mask, np.arange(self.count), -1), self.starts)

    def first_where(self, mask: Mask) -> Positions:
        """Return each key's first row of those that the mask has, or -1."""
        found = np.minimum.reduceat(np.where(mask, np.arange(self.count), self.count), self.starts)
        return np.where(found == self.count, -1, found)

    def any(self, mask: Mask) -> Mask:
        """Say of each key whether the mask has one of its rows."""
        return np.logical_or.reduceat(mask, self.starts)

    def spread(self, values: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """Give every row what its key has."""
        return np.repeat(values, self.ends - self.starts)

    def rows_of(self, groups: Mask) -> Positions:
        """Return the rows of the keys that the mask has."""
        return np.flatnonzero(self.spread(groups))


def take_or_null(column: pa.Array, rows: Positions) -> pa.Array:
    """Take rows of a column, NULL for -1."""
    missing = rows < 0
    return column.take(pa.array(rows, mask=missing) if missing.any() else pa.array(rows))

"""What a merge engine makes of the rows of several keys."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from hosu.tables.merging.grouping import Kinds
from hosu.tables.merging.keys import Positions
from hosu.tables.merging.operations import Operation, Operations
from hosu.tables.merging.spec import Aggregator


@dataclass(frozen=True)
class Steps:
    """What happens to each column, and what the resulting rows are."""

    of: Callable[[str], tuple[Aggregator, Operations]]
    """Of a column: its aggregator, and what each row does."""

    kinds: Kinds
    """Of each key: the kind of the row that results."""

    newest: Positions
    """Of each key: the row whose sequence number the result has."""


def without_retracts(operations: Operations) -> Operations:
    """Return the same without what takes something back."""
    result = operations.copy()
    result[operations == Operation.RETRACT] = Operation.SKIP
    result[operations == Operation.SET_RETRACT] = Operation.SET
    return result


def filled(count: int, operation: Operation) -> Operations:
    """Return one operation, many times."""
    return np.full(count, operation, np.int8)

"""What is done to a column by each row of a key, in turn: the form in which engines hand work to aggregators."""

from enum import IntEnum
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

Operations: TypeAlias = npt.NDArray[np.int8]


class Operation(IntEnum):
    """One step of a column's value."""

    SKIP = 0
    AGGREGATE = 1
    REVERSED = 2
    """The row is older than what is there already: aggregate in the other order."""

    RETRACT = 3
    SET = 4
    """Begin anew with the row's value as it is."""

    SET_RETRACT = 5
    """Begin anew with the row's value, then take it back."""

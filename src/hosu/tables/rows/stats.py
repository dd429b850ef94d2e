"""Statistics of columns as rows of bytes."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from hosu.tables.rows.binary import Value, encode_serialised

if TYPE_CHECKING:
    from hosu.tables.types import DataType


def stats_row(values: Sequence[Value], types: "Sequence[DataType]") -> bytes:
    """Return the serialised row of the least or greatest values of columns, None where there is none.

    Nested columns have none. Raises as `encode_row`.
    """
    return encode_serialised(values, types)

"""Sums by the column, as long as they surely fit; what may not fit is added up row by row."""

from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from hosu.tables.merging.operations import Operation, Operations
from hosu.tables.merging.segments import Segments

_SURE = 2.0**62
"""Sums of magnitudes below this do not overflow 64 bits, whatever the rounding of the estimate."""

_DECIMAL_WORD_DIGITS = 18


def total(_name: str, column: pa.Array, operations: Operations, segments: Segments) -> pa.Array | None:
    """Return each key's sum, or None where a sum may not fit its type: then the order of the rows matters."""
    kind = column.type
    if pa.types.is_integer(kind):
        values = column.fill_null(0).to_numpy(zero_copy_only=False).astype(np.int64)
        bound = float(np.iinfo(kind.to_pandas_dtype()).max)
    elif pa.types.is_floating(kind):
        values = column.fill_null(0).to_numpy(zero_copy_only=False)
        bound = np.inf
    elif pa.types.is_decimal128(kind) and kind.precision <= _DECIMAL_WORD_DIGITS:
        values = np.frombuffer(column.buffers()[1], np.int64)[::2][column.offset : column.offset + len(column)]
        bound = 10.0**kind.precision - 1
    else:
        return None
    counts = (operations != Operation.SKIP) & column.is_valid().to_numpy(zero_copy_only=False)
    values = np.where(counts, values, values.dtype.type(0))
    if bound != np.inf:
        reach = np.add.reduceat(np.abs(values.astype(np.float64)), segments.starts).max()
        if reach > min(bound * (1 - 1e-12), _SURE):
            return None
    signed = np.where(operations == Operation.RETRACT, -values, values)
    sums = np.add.reduceat(signed, segments.starts)
    return _array(sums, segments.any(counts), kind)


def _array(sums: npt.NDArray[Any], known: npt.NDArray[np.bool_], kind: pa.DataType) -> pa.Array:
    if not pa.types.is_decimal(kind):
        return pa.array(sums.astype(kind.to_pandas_dtype()), kind, mask=~known)
    words = np.empty((len(sums), 2), np.int64)
    words[:, 0] = sums
    words[:, 1] = sums >> 63
    exact = pa.Array.from_buffers(kind, len(sums), [None, pa.py_buffer(words.tobytes())])
    return exact if known.all() else exact.take(pa.array(np.arange(len(sums)), mask=~known))

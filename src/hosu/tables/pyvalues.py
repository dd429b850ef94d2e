"""Values of Arrow columns as Python's, whatever they are: times that Python's own types cannot hold stay exact."""

from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from typing import Any, Final, TypeAlias

import numpy as np
import pyarrow as pa

Wide: TypeAlias = Callable[[np.datetime64, str], Any]
"""Makes something of a moment that `datetime` cannot hold, and of its zone: `+00:00`, or nothing."""

_EPOCH: Final = datetime(1970, 1, 1)  # noqa: DTZ001 - zones are added where columns have one
_EPOCH_DAY: Final = date(1970, 1, 1)
_PER_SECOND: Final = {"s": 1, "ms": 1_000, "us": 1_000_000, "ns": 1_000_000_000}
_MICROSECONDS: Final = 1_000_000
_ZONE: Final = "+00:00"


def python_values(column: pa.Array | pa.ChunkedArray, wide: Wide | None = None) -> list[Any]:
    """Return the values of a column, as Arrow gives them where it can do so without pandas.

    A moment is a `datetime` where that holds it, else (nanoseconds, years beyond 9999) a numpy.datetime64, or what
    `wide` makes of it; so is a date.
    """
    if not _has_nanoseconds(column.type):
        try:
            return list(column.to_pylist())
        except (OverflowError, ValueError):
            pass
    return [_value(scalar, wide) for scalar in column]


def _has_nanoseconds(kind: pa.DataType) -> bool:
    """Whether Arrow would need pandas for values of a type."""
    if pa.types.is_timestamp(kind):
        return bool(kind.unit == "ns")
    return any(_has_nanoseconds(kind.field(place).type) for place in range(kind.num_fields))


def _value(scalar: pa.Scalar, wide: Wide | None) -> Any:  # noqa: ANN401 - a value of any type
    if not scalar.is_valid:
        return None
    kind = scalar.type
    if pa.types.is_timestamp(kind):
        return _moment(scalar.value, kind.unit, _ZONE if kind.tz is not None else "", wide)
    if pa.types.is_date32(kind):
        return _day(scalar.value, wide)
    if pa.types.is_map(kind):
        return [(_value(pair[0], wide), _value(pair[1], wide)) for pair in scalar.values]
    if pa.types.is_struct(kind):
        return {kind.field(place).name: _value(scalar[place], wide) for place in range(kind.num_fields)}
    if pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind):
        return [_value(inner, wide) for inner in scalar.values]
    return scalar.as_py()


def _moment(count: int, unit: Any, zone: str, wide: Wide | None) -> Any:  # noqa: ANN401 - `datetime` or what `wide` makes
    seconds, rest = divmod(count, _PER_SECOND[unit])
    microseconds, left = divmod(rest * _MICROSECONDS, _PER_SECOND[unit])
    if not left:
        try:
            moment = _EPOCH + timedelta(seconds=seconds, microseconds=microseconds)
        except OverflowError:
            pass
        else:
            return moment.replace(tzinfo=UTC) if zone else moment
    exact = np.datetime64(count, unit)
    return exact if wide is None else wide(exact, zone)


def _day(count: int, wide: Wide | None) -> Any:  # noqa: ANN401 - `date` or what `wide` makes
    try:
        return _EPOCH_DAY + timedelta(days=count)
    except OverflowError:
        exact = np.datetime64(count, "D")
        return exact if wide is None else wide(exact, "")

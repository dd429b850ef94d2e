"""Values of Arrow as Python's, where Python's own types hold them and where they do not."""

from datetime import UTC, date, datetime
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from hosu.tables.pyvalues import python_values

NINE = 1_767_225_600_123_456_789
BEFORE = datetime(1969, 12, 31, 23, 59, 59, 999999)  # noqa: DTZ001
AFTER = datetime(1970, 1, 1, 0, 0, 0, 1)  # noqa: DTZ001
PAIR = pa.struct({"x": pa.timestamp("ns"), "y": pa.binary()})
SIX = datetime(2026, 1, 1, 0, 0, 0, 123456)  # noqa: DTZ001 - a TIMESTAMP has no zone
EXACT = np.datetime64(NINE, "ns")


@pytest.mark.parametrize(
    ("values", "kind", "expected"),
    [
        ([NINE, NINE - 789, None, -1000], pa.timestamp("ns"), [EXACT, SIX, None, BEFORE]),
        ([NINE - 789], pa.timestamp("ns", "UTC"), [SIX.replace(tzinfo=UTC)]),
        ([2**62, 1], pa.timestamp("us"), [np.datetime64(2**62, "us"), AFTER]),
        ([2_932_896 + 5, 1, None], pa.date32(), [np.datetime64("10000-01-05"), date(1970, 1, 2), None]),
        ([[NINE, None], None, []], pa.list_(pa.timestamp("ns")), [[EXACT, None], None, []]),
        ([[("a", NINE)], None], pa.map_(pa.string(), pa.timestamp("ns")), [[("a", EXACT)], None]),
        ([{"x": NINE, "y": b"b"}, None], PAIR, [{"x": EXACT, "y": b"b"}, None]),
        ([[1, None]], pa.list_(pa.int32()), [[1, None]]),
    ],
)  # fmt: skip
def test_values_are_exact_whether_pandas_is_there_or_not(values: Any, kind: pa.DataType, expected: list[Any]) -> None:
    column = pa.array(values, kind)
    found = python_values(column)
    assert found == expected
    assert str(found) == str(expected)  # a Timestamp of pandas would be equal
    assert python_values(pa.chunked_array([column, column])) == expected * 2
    assert python_values(column.slice(1)) == expected[1:]


def test_what_is_too_wide_is_made_what_is_asked_for() -> None:
    zoned = pa.array([NINE], pa.timestamp("ns", "UTC"))
    assert python_values(zoned, lambda exact, zone: f"{exact}{zone}") == ["2026-01-01T00:00:00.123456789+00:00"]

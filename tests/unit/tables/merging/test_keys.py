"""Keys of every type as numbers that sort the way Paimon sorts the keys."""

import math
import struct
from datetime import date, datetime, time
from decimal import Decimal
from itertools import pairwise
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hosu.kernel.errors import UnsupportedError
from hosu.tables.merging.keys import codes_of, repeats, row_key, sorted_positions, upper_bound, words_of

STRINGS = st.one_of(
    st.text(max_size=20),
    st.text("a\x00", max_size=12),
    st.integers(0, 10**9).map(lambda number: f"KRW-BTC-{number:012}"),
    st.text("ab", min_size=120, max_size=140),
)
COLUMNS = st.sampled_from(
    [
        (pa.int8(), st.integers(-128, 127)),
        (pa.int64(), st.one_of(st.integers(-(2**63), 2**63 - 1), st.integers(-3, 3))),
        (pa.bool_(), st.booleans()),
        (pa.string(), STRINGS),
        (pa.large_string(), STRINGS),
        (pa.binary(), st.binary(max_size=20)),
        (pa.binary(3), st.binary(min_size=3, max_size=3)),
        (pa.date32(), st.dates()),
        (pa.time32("ms"), st.times().map(lambda value: value.replace(microsecond=0))),
        (pa.timestamp("us"), st.datetimes()),
        (pa.decimal128(9, 2), st.decimals(-9999, 9999, places=2)),
        (pa.decimal128(38, 2), st.decimals(-(10**30), 10**30, places=2)),
        (pa.float64(), st.floats(allow_nan=True)),
        (pa.float32(), st.floats(width=32)),
    ]
)


def comparable(value: Any) -> Any:
    """Return what Python compares as Java does."""
    if value is None:
        return (0,)
    if isinstance(value, str):
        return (1, value.encode())
    if isinstance(value, float):
        bits = struct.unpack(">q", struct.pack(">d", math.nan if math.isnan(value) else value))[0]
        return (1, bits if bits >= 0 else -(bits & 0x7FFFFFFFFFFFFFFF) - 1)
    return (1, value)


@given(st.data())
def test_rows_sort_by_their_codes_as_by_their_keys(data: st.DataObject) -> None:
    columns = data.draw(st.lists(COLUMNS, min_size=1, max_size=3))
    count = data.draw(st.integers(1, 12))
    values = [data.draw(st.lists(st.one_of(kind[1], st.none()), min_size=count, max_size=count)) for kind in columns]
    arrays = [pa.array(column, kind) for column, (kind, _) in zip(values, columns, strict=True)]
    found = [column.to_pylist() for column in arrays]
    keys = [tuple(comparable(column[row]) for column in found) for row in range(count)]
    wanted = sorted(range(count), key=keys.__getitem__)
    codes = codes_of(arrays)
    order = sorted_positions(codes)
    assert order.tolist() == wanted
    assert repeats(codes, order).tolist() == [keys[one] == keys[two] for one, two in pairwise(wanted)]


@given(st.lists(st.one_of(st.integers(-5, 5), st.none()), min_size=1, max_size=9))
def test_descending_codes_turn_the_order_around_but_null_is_first_as_in_java(values: list[int | None]) -> None:
    column = pa.array(values, pa.int64())
    down = sorted_positions(codes_of([column], descending=True))
    present = sorted((value for value in values if value is not None), reverse=True)
    assert [values[row] for row in down] == [None] * values.count(None) + present


def test_common_beginnings_and_digits_leave_one_code_for_long_keys() -> None:
    texts = pa.array([f"KRW-KEY-{number:010}" for number in range(0, 10**9, 10**7)])
    numbers = pa.array(range(len(texts)), pa.int64())
    assert len(codes_of([texts])) == 1
    assert len(codes_of([texts, numbers])) == 1


def test_slices_of_columns_have_the_codes_of_their_own_rows() -> None:
    for column in (pa.array(["b", "a", "ccc", ""]), pa.array([3, 1, 2, 9]), pa.array([Decimal(3), Decimal(1)] * 2)):
        part = column.slice(1, 2)
        assert codes_of([part])[0].argsort().tolist() == codes_of([pa.concat_arrays([part])])[0].argsort().tolist()
        assert len(words_of(part)[0].values) == 2


def test_keys_of_nested_types_are_refused_by_name() -> None:
    with pytest.raises(UnsupportedError, match="list"):
        codes_of([pa.array([[1]])])


def test_the_rows_up_to_a_key_are_found_by_halving() -> None:
    columns = [pa.array(["a", "a", "b", "é"]), pa.array([1, 5, 2, 0])]
    assert upper_bound(columns, row_key(columns, 1)) == 2
    assert upper_bound(columns, (b"a", 4)) == 1
    assert upper_bound(columns, (b"", 9)) == 0
    assert upper_bound(columns, row_key(columns, 3)) == 4


@pytest.mark.parametrize(
    "column",
    [
        pa.array([date(2026, 1, 1), date(2026, 1, 2)]),
        pa.array([time(1), time(2)], pa.time32("ms")),
        pa.array([datetime(2026, 1, 1), datetime(2026, 1, 2)], pa.timestamp("ns")),  # noqa: DTZ001 - of no zone
        pa.array([-0.0, 0.0]),
        pa.array([1.0, math.nan]),
    ],
)
def test_bounds_compare_as_codes_do(column: pa.Array) -> None:
    assert row_key([column], 0) < row_key([column], 1)
    assert codes_of([column])[0].tolist() == [0, codes_of([column])[0][1]]
    assert np.all(np.diff(codes_of([column])[0].astype(object)) > 0)


@pytest.mark.parametrize("kinds", [1, 3, 50, 10**6])
@pytest.mark.parametrize("columns", [1, 2])
def test_shuffled_rows_of_one_key_stay_in_their_order(kinds: int, columns: int) -> None:
    random = np.random.default_rng(kinds)
    codes = [random.integers(0, kinds, 5_000).astype(np.uint64) for _ in range(columns)]
    assert sorted_positions(codes).tolist() == np.lexsort(codes[::-1]).tolist()

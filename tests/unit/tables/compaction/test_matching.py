"""Rows of the same key, and of the same values."""

import random
from decimal import Decimal

import pyarrow as pa
import pytest

from hosu.tables.compaction.matching import is_in, match, same_values

NAN = float("nan")


def test_each_row_finds_the_row_of_its_key() -> None:
    left = pa.table({"a": ["x", "y", "y", "z"], "b": [1, 1, 2, 1]})
    right = pa.table({"a": ["y", "w", "x"], "b": [2, 1, 1]})

    assert match(left, right, ["a", "b"]).tolist() == [2, -1, 0, -1]


def test_nothing_is_found_in_no_rows() -> None:
    rows = pa.table({"a": [1, 2]})

    assert match(rows, rows.slice(0, 0), ["a"]).tolist() == [-1, -1]
    assert match(rows.slice(0, 0), rows, ["a"]).tolist() == []
    assert is_in(rows, rows.slice(0, 0), ["a"]).tolist() == [False, False]


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("sizes", [(50, 5), (5, 50), (40, 40)])
def test_it_agrees_with_a_dictionary(seed: int, sizes: tuple[int, int]) -> None:
    chance = random.Random(seed)
    keys = [Decimal(number) / 100 for number in range(80)]
    kind = pa.decimal128(10, 2)
    left, right = (pa.table({"k": pa.array(chance.sample(keys, size), kind)}) for size in sizes)
    places = {key: place for place, key in enumerate(right["k"].to_pylist())}

    assert match(left, right, ["k"]).tolist() == [places.get(key, -1) for key in left["k"].to_pylist()]
    assert is_in(left, right, ["k"]).tolist() == [key in places for key in left["k"].to_pylist()]


def test_a_key_may_be_several_times_where_only_its_presence_is_asked() -> None:
    assert is_in(pa.table({"a": [1, 2]}), pa.table({"a": [2, 2, 3]}), ["a"]).tolist() == [False, True]


def test_keys_of_floats_are_equal_when_their_bits_are() -> None:
    left = pa.table({"a": [0.0, -0.0, NAN]})

    assert match(left, pa.table({"a": [-0.0, NAN]}), ["a"]).tolist() == [-1, 0, 1]


def test_null_is_the_same_as_null_and_as_nothing_else() -> None:
    left, right = pa.table({"a": [None, None, 1, 1]}), pa.table({"a": [None, 1, None, 1]})

    assert same_values(left, right, ["a"]).tolist() == [True, False, False, True]


def test_nan_is_the_same_as_nan_and_zeros_differ_by_their_sign() -> None:
    left, right = pa.table({"a": [NAN, 0.0, 1.5]}), pa.table({"a": [NAN, -0.0, 1.5]})

    assert same_values(left, right, ["a"]).tolist() == [True, False, True]


def test_nested_values_are_compared_in_depth() -> None:
    kind = pa.struct([("x", pa.list_(pa.float64())), ("y", pa.map_(pa.string(), pa.int32()))])
    left = pa.table({"a": pa.array([{"x": [1.0, NAN], "y": [("k", 1)]}, {"x": [1.0], "y": []}, None], kind)})
    right = pa.table({"a": pa.array([{"x": [1.0, NAN], "y": [("k", 1)]}, {"x": [2.0], "y": []}, None], kind)})

    assert same_values(left, right, ["a"]).tolist() == [True, False, True]


def test_only_the_columns_asked_for_are_compared() -> None:
    left, right = pa.table({"a": [1], "b": [1]}), pa.table({"a": [1], "b": [2]})

    assert same_values(left, right, ["a"]).tolist() == [True]
    assert same_values(left, right, ["a", "b"]).tolist() == [False]

"""Rows as bytes and their buckets, against what Paimon 2.0 in Java made of the same values (java_rows.json)."""

import json
import struct
from collections.abc import Sequence
from datetime import UTC, date, datetime, time, timedelta
from decimal import Context, Decimal
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hosu.kernel.errors import CorruptError, ErrorKind, InvalidInputError, UnsupportedError
from hosu.tables import rows
from hosu.tables.types import DataType, arrow_type

JAVA = json.loads((Path(__file__).parent / "java_rows.json").read_text(encoding="utf-8"))


def type_of(text: str) -> DataType:
    root, *numbers = text.split(":")
    if root == "DECIMAL":
        return DataType(root, precision=int(numbers[0]), scale=int(numbers[1]))
    return DataType(root, precision=int(numbers[0])) if numbers else DataType(root)


def value_of(value: Any, kind: DataType) -> Any:
    if value is None:
        return None
    if kind.root == "VARBINARY":
        return bytes.fromhex(value)
    return Decimal(value) if kind.root == "DECIMAL" else value


def column_of(values: Sequence[Any], kind: DataType) -> pa.Array:
    storage = {"DATE": pa.int32(), "TIME": pa.int32(), "TIMESTAMP": pa.int64(), "TIMESTAMP_LTZ": pa.int64()}
    if kind.root in storage:
        return pa.array(values, storage[kind.root]).cast(arrow_type(kind))
    return pa.array(values, arrow_type(kind))


def cases() -> list[Any]:
    return [pytest.param(case, id=",".join(case["types"])[:40]) for case in JAVA]


def slow_hash(row: bytes) -> int:
    """Murmur3 as its paper has it, one word at a time."""

    def turned(value: int, by: int) -> int:
        return (value << by | value >> (32 - by)) & 0xFFFFFFFF

    mixed = 42
    for (word,) in struct.iter_unpack("<I", row):
        mixed ^= turned(word * 0xCC9E2D51 & 0xFFFFFFFF, 15) * 0x1B873593 & 0xFFFFFFFF
        mixed = (turned(mixed, 13) * 5 + 0xE6546B64) & 0xFFFFFFFF
    mixed ^= len(row)
    mixed = (mixed ^ mixed >> 16) * 0x85EBCA6B & 0xFFFFFFFF
    mixed = (mixed ^ mixed >> 13) * 0xC2B2AE35 & 0xFFFFFFFF
    mixed ^= mixed >> 16
    return mixed - (1 << 32) if mixed >> 31 else mixed


@pytest.mark.parametrize("case", cases())
def test_rows_are_javas_byte_for_byte(case: Any) -> None:
    kinds = [type_of(text) for text in case["types"]]
    for row in case["rows"]:
        values = [value_of(value, kind) for value, kind in zip(row["values"], kinds, strict=True)]
        assert rows.encode_serialised(values, kinds).hex() == row["row"]


@pytest.mark.parametrize("case", cases())
def test_javas_rows_are_read_back(case: Any) -> None:
    kinds = [type_of(text) for text in case["types"]]
    for row in case["rows"]:
        values = tuple(value_of(value, kind) for value, kind in zip(row["values"], kinds, strict=True))
        single = tuple(
            struct.unpack("<f", struct.pack("<f", value))[0] if kind.root == "FLOAT" and value is not None else value
            for value, kind in zip(values, kinds, strict=True)
        )
        assert rows.decode_serialised(bytes.fromhex(row["row"]), kinds, raw=True) == single


@pytest.mark.parametrize("case", cases())
def test_columns_give_the_rows_hashes_and_buckets_of_java(case: Any) -> None:
    kinds = [type_of(text) for text in case["types"]]
    by_column = list(
        zip(*([value_of(v, k) for v, k in zip(row["values"], kinds, strict=True)] for row in case["rows"]), strict=True)
    )
    columns = [column_of(values, kind) for values, kind in zip(by_column, kinds, strict=True)]
    data, offsets = rows.encode_rows(columns, kinds)
    made = [data[start:end].tobytes() for start, end in pairwise(offsets)]
    assert [rows.serialise(row, len(kinds)).hex() for row in made] == [row["row"] for row in case["rows"]]
    hashes = rows.row_hashes(columns, kinds)
    assert hashes.dtype == np.int32
    assert hashes.tolist() == [row["hash"] for row in case["rows"]]
    assert rows.buckets(hashes, 7).tolist() == [row["default"] for row in case["rows"]]
    assert rows.bucket_of_rows(columns, kinds, 7).tolist() == [row["default"] for row in case["rows"]]
    if case["rows"][0]["hive"] is not None:
        assert rows.bucket_of_rows(columns, kinds, 7, "hive").tolist() == [row["hive"] for row in case["rows"]]
    else:
        with pytest.raises(UnsupportedError, match="hive"):
            rows.bucket_of_rows(columns, kinds, 7, "hive")
    if any(row["mod"] is not None for row in case["rows"]):
        found = rows.bucket_of_rows(columns, kinds, 7, "mod").tolist()
        assert all(row["mod"] in {None, bucket} for row, bucket in zip(case["rows"], found, strict=True))
    assert [rows.hash_bytes(row) for row in made] == hashes.tolist()


ROW = st.tuples(
    st.none() | st.text(st.characters(codec="utf-8"), max_size=40),
    st.none() | st.integers(-(2**63), 2**63 - 1),
    st.none() | st.integers(-(10**30) + 1, 10**30 - 1),
    st.none() | st.binary(max_size=20),
    st.none() | st.integers(-(2**60), 2**60),
    st.none() | st.text("ab", max_size=9),
)
KINDS = [
    DataType("VARCHAR"),
    DataType("BIGINT"),
    DataType("DECIMAL", precision=30, scale=4),
    DataType("VARBINARY"),
    DataType("TIMESTAMP", precision=9),
    DataType("VARCHAR"),
]


@settings(deadline=None, max_examples=50)
@given(st.lists(ROW, min_size=1, max_size=12), st.integers(0, 3))
def test_one_row_and_many_agree_and_the_hash_is_murmurs(made: list[tuple[Any, ...]], skipped: int) -> None:
    made = [
        (*row[:2], None if row[2] is None else Decimal(row[2]).scaleb(-4, Context(prec=60)), *row[3:]) for row in made
    ]
    columns = [column_of(list(values), kind) for values, kind in zip(zip(*made, strict=True), KINDS, strict=True)]
    columns = [column.slice(min(skipped, len(made))) for column in columns]
    data, offsets = rows.encode_rows(columns, KINDS)
    hashes = rows.row_hashes(columns, KINDS)
    expected = [rows.encode_row(row, KINDS) for row in made[skipped:]]
    assert [data[a:b].tobytes() for a, b in pairwise(offsets)] == expected
    assert hashes.tolist() == [slow_hash(row) for row in expected]
    assert [rows.decode_row(row, KINDS, raw=True) for row in expected] == made[skipped:]


def test_hashes_do_not_depend_on_where_a_piece_of_the_columns_ends() -> None:
    texts = [f"{'KRW-' * (number % 5)}{number}" if number % 11 else None for number in range(70_000)]
    kinds = [DataType("VARCHAR"), DataType("INT")]
    columns = [pa.array(texts), pa.array(range(70_000), pa.int32())]
    whole = rows.row_hashes(columns, kinds)
    chunked = [pa.chunked_array([column.slice(0, 999), column.slice(999)]) for column in columns]
    assert (rows.row_hashes(chunked, kinds) == whole).all()
    for at in (0, 32_767, 32_768, 65_536, 69_999):
        assert whole[at] == slow_hash(rows.encode_row((texts[at], at), kinds))


@pytest.mark.parametrize("cast", [pa.large_string(), pa.string_view(), pa.dictionary(pa.int32(), pa.string())])
def test_other_layouts_of_text_hash_alike(cast: pa.DataType) -> None:
    column = pa.array(["KRW-BTC", None, "a longer symbol", ""])
    kinds = [DataType("VARCHAR")]
    other = column.dictionary_encode() if pa.types.is_dictionary(cast) else column.cast(cast)
    assert rows.row_hashes([other], kinds).tolist() == rows.row_hashes([column], kinds).tolist()


def test_no_rows_have_no_hashes() -> None:
    assert rows.row_hashes([pa.array([], pa.string())], [DataType("VARCHAR")]).tolist() == []
    data, offsets = rows.encode_rows([pa.array([], pa.string())], [DataType("VARCHAR")])
    assert (len(data), offsets.tolist()) == (0, [0])


def test_the_row_of_no_fields_is_javas() -> None:
    assert rows.encode_serialised((), ()).hex() == "000000000000000000000000"
    assert rows.decode_serialised(rows.EMPTY_ROW, ()) == ()


def test_python_times_go_in_and_come_out() -> None:
    kinds = [
        DataType("DATE"),
        DataType("TIME", precision=3),
        DataType("TIMESTAMP", precision=3),
        DataType("TIMESTAMP", precision=6),
        DataType("TIMESTAMP_LTZ", precision=6),
    ]
    moment = datetime(1965, 3, 4, 5, 6, 7, 891_000, tzinfo=UTC).replace(tzinfo=None)
    values = (
        date(1969, 7, 20),
        time(23, 59, 58, 123_000),
        moment,
        moment + timedelta(microseconds=1),
        moment.replace(tzinfo=UTC),
    )
    assert rows.decode_row(rows.encode_row(values, kinds), kinds) == values


@pytest.mark.parametrize(
    ("value", "kind"),
    [
        (2**31, DataType("INT")),
        ("1", DataType("INT")),
        (1, DataType("VARCHAR")),
        ("text", DataType("VARBINARY")),
        (Decimal("1.234"), DataType("DECIMAL", precision=10, scale=2)),
        (Decimal(10**10), DataType("DECIMAL", precision=10, scale=2)),
        ("soon", DataType("TIMESTAMP", precision=3)),
    ],
)
def test_a_value_of_another_type_is_refused_with_the_type(value: Any, kind: DataType) -> None:
    with pytest.raises(InvalidInputError, match=kind.root) as caught:
        rows.encode_row([value], [kind])
    assert caught.value.kind is ErrorKind.ROWS_INVALID


def test_nested_values_are_refused_and_their_null_is_not() -> None:
    kind = DataType("ARRAY", element=DataType("INT"))
    assert rows.decode_row(rows.encode_row([None], [kind]), [kind]) == (None,)
    with pytest.raises(UnsupportedError, match="ARRAY"):
        rows.encode_row([[1]], [kind])
    with pytest.raises(UnsupportedError, match="ARRAY"):
        rows.row_hashes([pa.array([[1]])], [kind])


@pytest.mark.parametrize("cut", [0, 3, 4, 11, 20, 27])
def test_a_cut_row_is_corrupt(cut: int) -> None:
    kinds = [DataType("VARCHAR"), DataType("BIGINT")]
    whole = rows.encode_serialised(("a text in the tail", 1), kinds)
    with pytest.raises(CorruptError) as caught:
        rows.decode_serialised(whole[:cut], kinds)
    assert caught.value.kind is ErrorKind.CORRUPT_TABLE


def test_a_tail_that_lies_beyond_the_row_is_corrupt() -> None:
    kinds = [DataType("VARCHAR"), DataType("TIMESTAMP", precision=9)]
    whole = rows.encode_row(("a text in the tail", 1), kinds)
    for index, kind in enumerate(kinds):
        with pytest.raises(CorruptError, match="beyond"):
            rows.decode_field(whole[:24], 2, index, kind)


def test_a_row_of_another_number_of_fields_is_corrupt() -> None:
    with pytest.raises(CorruptError, match="2 fields"):
        rows.decode_serialised(rows.encode_serialised((1,), [DataType("INT")]), [DataType("INT")] * 2)


def test_an_unknown_bucket_function_is_refused() -> None:
    with pytest.raises(UnsupportedError, match="'lucky'"):
        rows.bucket_of_rows([pa.array([1])], [DataType("BIGINT")], 4, "lucky")
    with pytest.raises(InvalidInputError, match="one INT or BIGINT"):
        rows.bucket_of_rows([pa.array(["a"])], [DataType("VARCHAR")], 4, "mod")


def test_columns_of_unequal_length_are_refused() -> None:
    with pytest.raises(InvalidInputError, match="one length"):
        rows.encode_rows([pa.array([1]), pa.array([1, 2])], [DataType("BIGINT")] * 2)

"""The hash of Hive's buckets: for tables whose `bucket-function.type` is hive."""

from collections.abc import Sequence
from decimal import Decimal
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from hosu.kernel.errors import ErrorKind, UnsupportedError
from hosu.tables.rows.binary import BINARY_ROOTS, TEXT_ROOTS
from hosu.tables.rows.words import Column, row_words, text_column

if TYPE_CHECKING:
    from hosu.tables.types import DataType

_Hashes: TypeAlias = np.ndarray[Any, np.dtype[np.uint32]]
_Words: TypeAlias = np.ndarray[Any, np.dtype[np.uint64]]

_MASK = 0xFFFFFFFF
_WHOLE = {"BOOLEAN": np.uint32, "TINYINT": np.int8, "SMALLINT": np.int16, "INT": np.int32, "DATE": np.int32}
_WHOLE["TIME"] = np.int32


def hive_hashes(columns: Sequence[Column], types: "Sequence[DataType]") -> np.ndarray[Any, np.dtype[np.int32]]:
    """Return Hive's hash of each row: the columns' hashes as the digits of a number to base 31.

    Raises UnsupportedError for timestamps and nested columns, for which Hive's function is not defined in Paimon.
    """
    rows = row_words(columns, types)
    total = np.zeros(rows.count, dtype=np.uint32)
    for column, made, kind in zip(columns, rows.columns, types, strict=True):
        hashed = _hashes(column, made.word, kind)
        if made.nulls is not None:
            hashed[made.nulls] = 0
        total = total * np.uint32(31) + hashed
    return total.view(np.int32)


def _hashes(column: Column, word: _Words, kind: "DataType") -> _Hashes:
    root = kind.root
    if root in _WHOLE:
        return word.astype(np.uint32).astype(_WHOLE[root]).astype(np.int32).view(np.uint32)
    if root == "BIGINT":
        return _fold(word)
    if root == "FLOAT":
        values = word.astype(np.uint32).view(np.float32)
        bits = np.where(values == 0, np.uint32(0), word.astype(np.uint32))
        return np.where(np.isnan(values), np.uint32(0x7FC00000), bits)
    if root == "DOUBLE":
        doubles = word.view(np.float64)
        wide = np.where(doubles == 0, np.uint64(0), word)
        return _fold(np.where(np.isnan(doubles), np.uint64(0x7FF8000000000000), wide))
    if root in TEXT_ROOTS or root in BINARY_ROOTS:
        return _text_hashes(column)
    if root == "DECIMAL":
        values = column.to_pylist()
        return np.array([0 if value is None else _decimal_hash(value) for value in values], dtype=np.uint32)
    raise UnsupportedError(
        ErrorKind.UNSUPPORTED, f"bucket-function.type 'hive' knows no bucket-key of type {root}: use default"
    )


def _fold(word: _Words) -> _Hashes:
    return (word ^ (word >> np.uint64(32))).astype(np.uint32)


def _text_hashes(column: Column) -> _Hashes:
    text = text_column(column)
    total = np.zeros(len(text.sizes), dtype=np.uint32)
    for number in range(int(text.sizes.max(initial=0))):
        some = np.flatnonzero(text.sizes > number)
        byte = text.data[text.starts[some] + number].view(np.int8).astype(np.int32).view(np.uint32)
        total[some] = total[some] * np.uint32(31) + byte
    return total


def _decimal_hash(value: Decimal) -> int:
    """Return the hash of Java's BigDecimal of the value without zeros at its end."""
    sign, digits, exponent = value.as_tuple()
    assert isinstance(exponent, int)
    number, places = int("".join(map(str, digits))), -exponent
    while number and places > 0 and number % 10 == 0:
        number, places = number // 10, places - 1
    if not number:
        return 0
    if places < 0:
        number, places = number * 10**-places, 0
    magnitude = 0
    for shift in range((number.bit_length() - 1) // 32, -1, -1):
        magnitude = (31 * magnitude + (number >> 32 * shift & _MASK)) & _MASK
    hashed = -magnitude if sign else magnitude
    return (31 * hashed + places) & _MASK

"""Columns as the words of BinaryRows: many rows at once, over the buffers of Arrow.

Rows are never made one by one. Each column gives its own word of every row, and what it adds to every row's tail as
words to be asked for by number; who hashes mixes them as they come, who encodes puts them where they belong.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from hosu.kernel.errors import ErrorKind, InvalidInputError, UnsupportedError
from hosu.tables.rows.binary import (
    BINARY_ROOTS,
    COMPACT_DIGITS,
    COMPACT_FRACTION,
    HEADER_BITS,
    INLINE_BYTES,
    TEXT_ROOTS,
    TIMESTAMP_ROOTS,
    WORD,
    fixed_bytes,
    fraction_units,
    header_bytes,
)

if TYPE_CHECKING:
    from hosu.tables.types import DataType

Column: TypeAlias = pa.Array | pa.ChunkedArray
Words: TypeAlias = np.ndarray[Any, np.dtype[np.uint64]]
Counts: TypeAlias = np.ndarray[Any, np.dtype[np.int64]]

_UNSIGNED = {1: np.dtype("<u1"), 2: np.dtype("<u2"), 4: np.dtype("<u4"), 8: np.dtype("<u8")}
_WIDTHS = {"TINYINT": 1, "SMALLINT": 2, "INT": 4, "DATE": 4, "TIME": 4, "BIGINT": 8, "FLOAT": 4, "DOUBLE": 8}
_DECIMAL_BYTES = 16
_CUT = np.array([(1 << 8 * size) - 1 for size in range(WORD)] + [2**64 - 1], dtype=np.uint64)
"""What of a word is left when only so many of its bytes count."""


@dataclass(frozen=True)
class Tail:
    """What a column adds after the words of the rows: `counts` words of each row, or the same number for all."""

    counts: Counts | int
    data: np.ndarray[Any, np.dtype[np.uint64]] | None = None
    """Words of each row where all have the same number of them: shape (rows, counts)."""

    text: np.ndarray[Any, np.dtype[np.uint64]] | None = None
    """A view of 8 bytes from every byte on, for text."""

    starts: Counts | None = None
    sizes: Counts | None = None
    """Bytes of each row's text: only of those whose count is not 0 do these mean anything."""

    def word(self, number: int, rows: Counts | slice) -> Words:
        """Return the word of that number of each of rows, all of which have it."""
        if self.data is not None:
            return self.data[rows, number]
        assert self.text is not None
        assert self.starts is not None
        assert self.sizes is not None
        left = self.sizes[rows] - WORD * number
        words = self.text[self.starts[rows] + WORD * number]
        np.minimum(left, WORD, out=left)
        return words & _CUT[left]


@dataclass(frozen=True)
class ColumnWords:
    """One column of rows."""

    word: Words
    """Without the offset of the tail, which depends on the columns before."""

    places: Words | None
    """1 where the offset of the tail belongs into the upper half of the word; None: nowhere."""

    tail: Tail | None
    nulls: np.ndarray[Any, np.dtype[np.bool_]] | None


@dataclass(frozen=True)
class RowWords:
    """Rows, column by column."""

    count: int
    arity: int
    header: tuple[Words | int, ...]
    """Words of the row kind and NULL bits; a number where all rows have the same."""

    columns: tuple[ColumnWords, ...]

    def fields(self) -> tuple[list[Words], Counts | int]:
        """Return the words of each column with their offsets, and the size of each row in bytes."""
        cursor: Counts | int = fixed_bytes(self.arity)
        words = []
        for column in self.columns:
            word = column.word
            if column.tail is not None:
                offset = np.uint64(cursor) if isinstance(cursor, int) else cursor.astype(np.uint64)
                shifted = offset << np.uint64(32)
                word = word | (shifted if column.places is None else column.places * shifted)
                cursor = cursor + column.tail.counts * WORD
            words.append(word)
        return words, cursor


def row_words(columns: Sequence[Column], types: "Sequence[DataType]") -> RowWords:
    """Return the words of the rows that columns make.

    The columns have the Arrow types of `types`, or ones that cast to them without loss. Raises InvalidInputError
    ROWS_INVALID for columns of unequal lengths, UnsupportedError for a nested one.
    """
    lengths = {len(column) for column in columns}
    if len(columns) != len(types) or len(lengths) > 1:
        raise InvalidInputError(
            ErrorKind.ROWS_INVALID, f"{len(types)} columns of one length are needed, got lengths {sorted(lengths)}"
        )
    count = lengths.pop() if lengths else 0
    made = tuple(_column_words(_array(column), kind) for column, kind in zip(columns, types, strict=True))
    header: list[Any] = [0] * (header_bytes(len(types)) // WORD)
    for index, column in enumerate(made):
        if column.nulls is not None:
            at, bit = divmod(HEADER_BITS + index, 64)
            header[at] = header[at] | (column.nulls.astype(np.uint64) << np.uint64(bit))
    return RowWords(count, len(types), tuple(header), made)


def encode_rows(
    columns: Sequence[Column], types: "Sequence[DataType]"
) -> tuple[np.ndarray[Any, np.dtype[np.uint8]], Counts]:
    """Return the bytes of all rows one behind another, and where each begins, with the end of the last."""
    rows = row_words(columns, types)
    fields, sizes = rows.fields()
    offsets = np.zeros(rows.count + 1, dtype=np.int64)
    offsets[1:] = np.cumsum(sizes) if not isinstance(sizes, int) else np.arange(1, rows.count + 1) * sizes
    out = np.zeros(int(offsets[-1]) // WORD, dtype=np.uint64)
    at = offsets[:-1] // WORD
    for number, word in enumerate([*rows.header, *fields]):
        out[at + number] = word
    cursor: Counts = at + len(rows.header) + len(fields)
    for column in rows.columns:
        if column.tail is None:
            continue
        counts = column.tail.counts
        if isinstance(counts, int):
            for number in range(counts):
                out[cursor + number] = column.tail.word(number, slice(None))
        else:
            for number in range(int(counts.max(initial=0))):
                some = np.flatnonzero(counts > number)
                out[cursor[some] + number] = column.tail.word(number, some)
        cursor = cursor + counts
    return out.view(np.uint8), offsets


def _array(column: Column) -> pa.Array:
    if isinstance(column, pa.ChunkedArray):
        column = column.chunk(0) if column.num_chunks == 1 else column.combine_chunks()
    if pa.types.is_dictionary(column.type):
        column = column.dictionary_decode()
    return column


def _column_words(array: pa.Array, kind: "DataType") -> ColumnWords:
    nulls = array.is_null().to_numpy(zero_copy_only=False) if array.null_count else None
    root = kind.root
    if root in TEXT_ROOTS or root in BINARY_ROOTS:
        return _text_words(array, nulls)
    if root == "DECIMAL":
        return _decimal_words(array, kind, nulls)
    if root in TIMESTAMP_ROOTS:
        return _timestamp_words(array, kind, nulls)
    if root == "BOOLEAN":
        filled = array.fill_null(False) if nulls is not None else array  # noqa: FBT003 - the value of the slots
        return ColumnWords(filled.to_numpy(zero_copy_only=False).astype(np.uint64), None, None, nulls)
    width = _WIDTHS.get(root)
    if width is None:
        raise UnsupportedError(ErrorKind.UNSUPPORTED, f"a column of type {root} can be no key: use one of its fields")
    return ColumnWords(_blank(_numbers(_typed(array, _ARROW[root]), width).astype(np.uint64), nulls), None, None, nulls)


_ARROW = {
    "TINYINT": pa.int8(),
    "SMALLINT": pa.int16(),
    "INT": pa.int32(),
    "BIGINT": pa.int64(),
    "DATE": pa.date32(),
    "TIME": pa.time32("ms"),
    "FLOAT": pa.float32(),
    "DOUBLE": pa.float64(),
}


def _typed(array: pa.Array, wanted: pa.DataType) -> pa.Array:
    if array.type == wanted:
        return array
    try:
        return pc.cast(array, wanted)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        raise InvalidInputError(ErrorKind.ROWS_INVALID, f"a column of {array.type} is no {wanted}: {error}") from error


def _numbers(array: pa.Array, width: int) -> Any:  # noqa: ANN401 - unsigned numbers of that width
    """Return the values of a column of fixed width as unsigned numbers of the same bits, without a copy."""
    dtype: Any = _UNSIGNED[width]
    buffer = array.buffers()[1]
    if buffer is None or not len(array):
        return np.zeros(len(array), dtype=dtype)
    return np.frombuffer(buffer, dtype, len(array), array.offset * width)


def _blank(words: Words, nulls: np.ndarray[Any, np.dtype[np.bool_]] | None) -> Words:
    if nulls is not None:
        words[nulls] = 0
    return words


@dataclass(frozen=True)
class TextColumn:
    """The texts of a column: `sizes` bytes from `starts` on in `data`, which has a word of zeros behind it."""

    data: np.ndarray[Any, np.dtype[np.uint8]]
    starts: Counts
    sizes: Counts
    """0 for NULL."""


def text_column(column: Column) -> TextColumn:
    """Return the bytes of a column of text or binary."""
    array = _array(column)
    kind = array.type
    large = pa.types.is_large_string(kind) or pa.types.is_large_binary(kind)
    if not (large or pa.types.is_string(kind) or pa.types.is_binary(kind)):
        array, large = _typed(array, pa.large_binary()), True
    if not len(array):
        return TextColumn(np.zeros(WORD, np.uint8), np.zeros(0, np.int64), np.zeros(0, np.int64))
    _, offsets, bodies = array.buffers()
    width = 8 if large else 4
    ends = np.frombuffer(offsets, np.int64 if large else np.int32, len(array) + 1, array.offset * width)
    starts = ends[:-1].astype(np.int64)
    sizes = np.diff(ends).astype(np.int64)
    if array.null_count:
        sizes[array.is_null().to_numpy(zero_copy_only=False)] = 0
    first, last = int(ends[0]), int(ends[-1])
    data = np.zeros(last - first + WORD, dtype=np.uint8)
    if last > first:
        data[: last - first] = np.frombuffer(bodies, np.uint8, last - first, first)
    starts -= first
    return TextColumn(data, starts, sizes)


def _text_words(array: pa.Array, nulls: np.ndarray[Any, np.dtype[np.bool_]] | None) -> ColumnWords:
    column = text_column(array)
    starts, sizes = column.starts, column.sizes
    # A word can begin at any byte; the zeros behind the last text let one begin there too.
    text = np.ndarray((len(column.data) - WORD + 1,), dtype="<u8", buffer=column.data, strides=(1,))
    long = sizes > INLINE_BYTES
    counts = np.where(long, (sizes + WORD - 1) // WORD, 0)
    inline = text[starts] & _CUT[np.minimum(sizes, WORD)]
    inline |= (sizes.astype(np.uint64) | np.uint64(0x80)) << np.uint64(56)
    if not long.any():
        return ColumnWords(_blank(inline, nulls), None, None, nulls)
    if long.all():
        return ColumnWords(sizes.astype(np.uint64), None, Tail(counts, text=text, starts=starts, sizes=sizes), nulls)
    word = _blank(np.where(long, sizes.astype(np.uint64), inline), nulls)
    return ColumnWords(word, long.astype(np.uint64), Tail(counts, text=text, starts=starts, sizes=sizes), nulls)


def _timestamp_words(
    array: pa.Array, kind: "DataType", nulls: np.ndarray[Any, np.dtype[np.bool_]] | None
) -> ColumnWords:
    precision = kind.precision or 0
    per_second = fraction_units(precision)
    unit = {1_000: "ms", 1_000_000: "us", 1_000_000_000: "ns"}[per_second]
    zone = "UTC" if kind.root == "TIMESTAMP_LTZ" else None
    counts = _numbers(_typed(array, pa.timestamp(unit, zone)), WORD).view(np.int64)
    if precision <= COMPACT_FRACTION:
        return ColumnWords(_blank(counts.astype(np.uint64), nulls), None, None, nulls)
    millis, rest = np.divmod(counts, per_second // 1_000)
    nanos = (rest * (1_000_000_000 // per_second)).astype(np.uint64)
    tail = _blank(millis.astype(np.uint64), nulls).reshape(-1, 1)
    return ColumnWords(_blank(nanos, nulls), None, Tail(1, data=tail), nulls)


def _decimal_words(array: pa.Array, kind: "DataType", nulls: np.ndarray[Any, np.dtype[np.bool_]] | None) -> ColumnWords:
    precision = kind.precision or 0
    typed = _typed(array, pa.decimal128(precision, kind.scale or 0))
    buffer = typed.buffers()[1]
    halves = np.zeros((len(typed), 2), dtype=np.uint64)
    if buffer is not None and len(typed):
        halves = np.frombuffer(buffer, dtype="<u8", count=2 * len(typed), offset=typed.offset * 16).reshape(-1, 2)
    if precision <= COMPACT_DIGITS:
        return ColumnWords(_blank(halves[:, 0].copy(), nulls), None, None, nulls)
    digits = np.ascontiguousarray(halves).view(np.uint8).reshape(-1, 16)[:, ::-1]
    # Java keeps the fewest bytes that still show the sign: leading bytes that only repeat it go.
    sign = (digits[:, 0] >> 7).astype(bool)
    filler = np.where(sign, np.uint8(0xFF), np.uint8(0))
    repeats = (digits[:, :-1] == filler[:, None]) & ((digits[:, 1:] >> 7).astype(bool) == sign[:, None])
    dropped = np.where(repeats.all(axis=1), 15, np.argmin(repeats, axis=1))
    places = np.arange(16)[None, :] + dropped[:, None]
    left = np.where(places < _DECIMAL_BYTES, np.take_along_axis(digits, np.minimum(places, 15), axis=1), 0).astype(
        np.uint8
    )
    tail = np.ascontiguousarray(left).view("<u8").reshape(-1, 2)
    sizes = (16 - dropped).astype(np.uint64)
    if nulls is not None:
        tail[nulls] = 0
    return ColumnWords(_blank(sizes, nulls), None, Tail(2, data=tail), nulls)

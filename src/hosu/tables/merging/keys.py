"""Keys as numbers: order-preserving codes, so that numpy sorts and compares keys of any type by the column.

A column becomes one or more words: unsigned 64-bit numbers below a span that is known. Words of all key columns are
packed into as few codes as they fit in; of most keys that is one, and sorting it sorts the rows. The order is
Paimon's: strings and bytes by unsigned bytes, NaN last, -0.0 before 0.0, NULL first.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from hosu.kernel.errors import ErrorKind, UnsupportedError

Codes: TypeAlias = npt.NDArray[np.uint64]
Positions: TypeAlias = npt.NDArray[np.int64]
Mask: TypeAlias = npt.NDArray[np.bool_]

_FULL = 1 << 64
_WORD_BYTES = 8
_LONGEST_TEXT = 128
"""Longer strings are ranked by Arrow: their words would cost more than its sort."""

SHUFFLED_ROWS_MIN = 256
"""Fewer rows are sorted in no time either way."""

RUN_ROWS_MIN = 16
"""Where sorted runs are shorter than this on average, merging them is slower than sorting anew."""

_DECIMAL_WORD_DIGITS = 18
_SIGN = np.uint64(1 << 63)


@dataclass(frozen=True)
class Word:
    """A part of a key: numbers from 0 to span - 1. Of text, each byte of it is a character."""

    values: Codes
    span: int
    text: bool = False
    presence: bool = False
    """Whether it says no more than which values are there."""


def one_array(column: pa.Array | pa.ChunkedArray) -> pa.Array:
    """Return a column as a single array, copied only when it has several chunks."""
    if not isinstance(column, pa.ChunkedArray):
        return column
    if column.num_chunks == 1:
        return column.chunk(0)
    return pa.concat_arrays(column.chunks) if column.num_chunks else pa.array([], column.type)


def codes_of(columns: Sequence[pa.Array | pa.ChunkedArray], *, descending: bool = False) -> list[Codes]:
    """Return what sorts as the columns do: codes, the first of which decides first.

    With `descending` values are turned around, and NULL still comes first: that is Paimon's order of sequence fields.
    """
    words = [word for column in columns for word in words_of(one_array(column)) if word.span > 1]
    if descending:
        words = [word if word.presence else Word(np.uint64(word.span - 1) - word.values, word.span) for word in words]
    if _span(words) > _FULL:
        words = [_narrow(word) if word.text else word for word in words]
    if not words:
        return [np.zeros(len(columns[0]) if columns else 0, np.uint64)]
    codes: list[Codes] = []
    span = _FULL
    for word in words:
        if codes and span * word.span <= _FULL:
            codes[-1] = codes[-1] * np.uint64(word.span) + word.values
            span *= word.span
        else:
            codes.append(word.values)
            span = word.span
    return codes


def sorted_positions(codes: Sequence[Codes]) -> Positions:
    """Return the positions of rows in the order of their codes, equal ones as they come.

    Runs that are sorted already are only merged, by a natural merge sort. What is shuffled is sorted several times
    faster where ties may come in any order: those are put right then.
    """
    is_shuffled = _is_shuffled(codes[0])
    order = np.argsort(codes[0], kind="quicksort" if is_shuffled else "stable")
    if len(codes) == 1 and not is_shuffled:
        return order
    first = codes[0][order]
    tied = first[1:] == first[:-1]
    if not tied.any():
        return order
    if not is_shuffled:
        differs = np.zeros(len(tied), np.bool_)
        for code in codes[1:]:
            rest = code[order]
            differs |= rest[1:] != rest[:-1]
        if not (tied & differs).any():
            return order
    slots = np.flatnonzero(in_groups(tied))
    subset = np.sort(order[slots])
    order[slots] = subset[np.lexsort([code[subset] for code in reversed(codes)])]
    return order


def _is_shuffled(code: Codes) -> bool:
    """Whether sorted runs in it are too short for a merge sort to gain by them."""
    return len(code) >= SHUFFLED_ROWS_MIN and int(np.count_nonzero(code[1:] < code[:-1])) > len(code) // RUN_ROWS_MIN


def in_groups(same: Mask) -> Mask:
    """Return which rows share a group with a neighbour, from whether each row but the first is as the one before."""
    grouped = np.zeros(len(same) + 1, np.bool_)
    grouped[1:] = same
    grouped[:-1] |= same
    return grouped


def repeats(codes: Sequence[Codes], order: Positions | None = None) -> Mask:
    """Return for each row but the first, in the given order, whether its codes are those of the row before."""
    same = np.ones(max(len(codes[0]) - 1, 0), np.bool_)
    for code in codes:
        values = code if order is None else code[order]
        same &= values[1:] == values[:-1]
    return same


def ranks_of(column: pa.Array) -> Codes:
    """Return numbers that compare as the values of a column do."""
    codes = codes_of([column])
    if len(codes) == 1:
        return codes[0]
    order = sorted_positions(codes)
    ranks = np.empty(len(order), np.uint64)
    ranks[order] = np.cumsum(np.concatenate([[True], ~repeats(codes, order)])).astype(np.uint64)
    return ranks


def words_of(array: pa.Array) -> list[Word]:
    """Return the words of a column."""
    if pa.types.is_dictionary(array.type):
        array = array.dictionary_decode()
    if array.null_count == 0:
        return _present_words(array)
    valid = pc.is_valid(array).to_numpy(zero_copy_only=False)
    words = _present_words(_filled(array))
    present = Word(valid.astype(np.uint64), 2, presence=True)
    return [present, *(Word(np.where(valid, word.values, np.uint64(0)), word.span) for word in words)]


def _filled(array: pa.Array) -> pa.Array:
    """Put some value that is there in the place of NULLs."""
    values = array.drop_null()
    return array.fill_null(values[0]) if len(values) else pa.array(np.zeros(len(array), np.int8))


def _present_words(array: pa.Array) -> list[Word]:
    kind = array.type
    if pa.types.is_boolean(kind):
        return [Word(pc.cast(array, pa.uint8()).to_numpy().astype(np.uint64), 2)]
    if pa.types.is_floating(kind):
        return [_offset(_float_order(array.to_numpy(zero_copy_only=False)))]
    if pa.types.is_decimal(kind):
        return _decimal_words(array)
    if pa.types.is_integer(kind):
        return [_offset(_biased(array.to_numpy(zero_copy_only=False)))]
    if pa.types.is_temporal(kind):
        narrow = pa.int32() if kind.bit_width == 32 else pa.int64()  # noqa: PLR2004 - bits
        return [_offset(_biased(array.view(narrow).to_numpy(zero_copy_only=False)))]
    if pa.types.is_fixed_size_binary(kind) or pa.types.is_binary_view(kind):
        return _text_words(array.cast(pa.binary()))
    if pa.types.is_string_view(kind):
        return _text_words(array.cast(pa.string()))
    if pa.types.is_string(kind) or pa.types.is_binary(kind) or _is_large(kind):
        return _text_words(array)
    raise UnsupportedError(
        ErrorKind.UNSUPPORTED,
        f"rows cannot be ordered by a column of type {kind}; keys and sequence fields are of simple types",
    )


def _is_large(kind: pa.DataType) -> bool:
    return bool(pa.types.is_large_string(kind) or pa.types.is_large_binary(kind))


def _biased(values: npt.NDArray[Any]) -> Codes:
    if values.dtype.kind == "u":
        return values.astype(np.uint64)
    return values.astype(np.int64).view(np.uint64) ^ _SIGN


def _float_order(values: npt.NDArray[Any]) -> Codes:
    wide = values.astype(np.float64)
    wide[np.isnan(wide)] = np.nan
    bits = wide.view(np.uint64)
    return np.where(bits & _SIGN != 0, ~bits, bits | _SIGN)


def _offset(values: Codes, *, text: bool = False) -> Word:
    if not len(values):
        return Word(values, 1)
    least = values.min()
    return Word(values - least, int(values.max()) - int(least) + 1, text)


def _decimal_words(array: pa.Array) -> list[Word]:
    parts = np.frombuffer(array.buffers()[1], np.uint64)
    width = array.type.bit_width // 64
    rows = parts.reshape(-1, width)[array.offset : array.offset + len(array)]
    if array.type.precision <= _DECIMAL_WORD_DIGITS:
        return [_offset(rows[:, 0] ^ _SIGN)]
    return [_offset(rows[:, -1] ^ _SIGN), *(_offset(rows[:, index]) for index in range(width - 2, -1, -1))]


def _text_words(array: pa.Array) -> list[Word]:
    count = len(array)
    wide = _is_large(array.type)
    _, offset_buffer, data_buffer = array.buffers()
    if not count or data_buffer is None:
        return [Word(np.zeros(count, np.uint64), 1)]
    offsets = np.frombuffer(offset_buffer, np.int64 if wide else np.int32)[array.offset : array.offset + count + 1]
    starts = offsets[:-1].astype(np.int64)
    lengths = np.diff(offsets).astype(np.int64)
    longest = int(lengths.max())
    if longest > _LONGEST_TEXT:
        return [_offset(pc.rank(array, sort_keys="ascending", tiebreaker="dense").to_numpy().astype(np.uint64))]
    base = int(starts[0])
    data = np.frombuffer(data_buffer, np.uint8)[base : int(offsets[-1])]
    starts -= base
    shortest = int(lengths.min())
    if shortest == longest:
        return _even_words(data.reshape(count, longest))
    padded = np.concatenate([data, np.zeros(longest + _WORD_BYTES, np.uint8)])
    windows: npt.NDArray[Any] = np.ndarray((len(padded) - _WORD_BYTES + 1,), "<u8", padded.data, strides=(1,))
    words = []
    for at in range(0, longest, _WORD_BYTES):
        values = windows[starts + at].byteswap(inplace=True)
        if shortest < at + _WORD_BYTES:
            missing = np.clip(at + _WORD_BYTES - lengths, 0, _WORD_BYTES).astype(np.uint64) * np.uint64(8)
            cut = np.minimum(missing, np.uint64(63))
            values = np.where(missing == 64, np.uint64(0), (values >> cut) << cut)  # noqa: PLR2004 - bits of a word
        words.append(_offset_text(values))
    if (data == 0).any():
        words.append(_offset(lengths.astype(np.uint64)))
    return words


def _even_words(characters: npt.NDArray[np.uint8]) -> list[Word]:
    """Return the words of strings that are all of one length: no end of them needs a mark."""
    count, length = characters.shape
    words = []
    for at in range(0, length, _WORD_BYTES):
        part = characters[:, at : at + _WORD_BYTES]
        lanes = np.zeros((count, _WORD_BYTES), np.uint8)
        lanes[:, : part.shape[1]] = part
        words.append(_offset_text(lanes.reshape(-1).view(np.uint64).byteswap(inplace=True)))
    return words


def _offset_text(values: Codes) -> Word:
    """Take off the bytes that all values begin with, but keep bytes where they are."""
    differing = int(values.min()) ^ int(values.max())
    mask = (1 << differing.bit_length()) - 1
    mask |= (1 << -(-mask.bit_length() // 8) * 8) - 1
    return Word(values & np.uint64(mask), int(int(values.max()) & mask) + 1, text=True)


def _narrow(word: Word) -> Word:
    """Count in each byte only from its least to its greatest value: digits take 10 values, not 256."""
    total: Codes | None = None
    span = 1
    for shift in range(56, -8, -8):
        place = (word.values >> np.uint64(shift)) & np.uint64(255)
        least, most = int(place.min()), int(place.max())
        if least == most:
            continue
        place -= np.uint64(least)
        width = most - least + 1
        total = place if total is None else total * np.uint64(width) + place
        span *= width
    return Word(np.zeros(len(word.values), np.uint64) if total is None else total, span)


def _span(words: Sequence[Word]) -> int:
    span = 1
    for word in words:
        span *= word.span
    return span


def order_key(value: Any) -> Any:  # noqa: ANN401 - a value of any key type
    """Return one key value as what Python compares in the same order: for the few keys that bound a batch."""
    if isinstance(value, str):
        return value.encode("utf-8", "surrogatepass")
    if isinstance(value, float):
        return int(_float_order(np.array([value]))[0])
    return value


def row_key(columns: Sequence[pa.Array], position: int) -> tuple[Any, ...]:
    """Return the key of one row, for comparing with others of the same columns."""
    return tuple(order_key(_scalar(column[position])) for column in columns)


def _scalar(value: pa.Scalar) -> Any:  # noqa: ANN401 - a value of any key type
    # Timestamps of nanoseconds have no Python value without pandas; their number compares as well.
    return value.value if pa.types.is_temporal(value.type) else value.as_py()


def upper_bound(columns: Sequence[pa.Array], key: tuple[Any, ...]) -> int:
    """Return how many rows of sorted columns have a key of at most `key`."""
    low, high = 0, len(columns[0])
    while low < high:
        middle = (low + high) // 2
        if row_key(columns, middle) <= key:
            low = middle + 1
        else:
            high = middle
    return low

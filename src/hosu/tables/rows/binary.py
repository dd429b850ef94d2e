"""One BinaryRow at a time: values to bytes and back.

A BinaryRow of n fields is, in words of 8 bytes, little-endian:

    a byte of the row's kind, then a bit per field that is NULL, padded to whole words
    n words: the value itself, up to 7 bytes of text or binary (their number in the top byte, its first bit set),
             or where the value lies in the tail: its offset from the row's start << 32 | its size
    the tail: longer text and binary padded to whole words, decimals beyond 18 digits in two words,
             milliseconds of timestamps finer than that in one (their nanoseconds are in place of the size)

Its serialised form, which manifests hold, has the number of fields before it in 4 bytes, big-endian.
"""

from collections.abc import Sequence
from datetime import UTC, date, datetime, time, timedelta
from decimal import Context, Decimal, InvalidOperation
from struct import Struct
from struct import error as StructError  # noqa: N812 - it is a class
from typing import TYPE_CHECKING, Any, TypeAlias

from hosu.kernel.errors import CorruptError, ErrorKind, InvalidInputError, UnsupportedError

if TYPE_CHECKING:
    from hosu.tables.types import DataType

Value: TypeAlias = Any
"""A Python value of a column: what `pa.Scalar.as_py` gives."""

WORD = 8
HEADER_BITS = 8
INLINE_BYTES = 7
"""Text and binary up to this size lie in the field's own word."""

COMPACT_DIGITS = 18
"""Decimals up to this precision are one word: their unscaled value."""

COMPACT_FRACTION = 3
"""Timestamps up to this precision are one word: milliseconds."""

MICROSECOND_FRACTION = 6

TEXT_ROOTS = frozenset({"CHAR", "VARCHAR"})
BINARY_ROOTS = frozenset({"BINARY", "VARBINARY"})
TIMESTAMP_ROOTS = frozenset({"TIMESTAMP", "TIMESTAMP_LTZ"})

_INLINE_MARK = 0x80
_ARITY = Struct(">i")
_WORD_UNSIGNED = Struct("<Q")
_WORD_SIGNED = Struct("<q")
_FIXED = {
    "BOOLEAN": Struct("<?"),
    "TINYINT": Struct("<b"),
    "SMALLINT": Struct("<h"),
    "INT": Struct("<i"),
    "DATE": Struct("<i"),
    "TIME": Struct("<i"),
    "BIGINT": Struct("<q"),
    "FLOAT": Struct("<f"),
    "DOUBLE": Struct("<d"),
}
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_EPOCH_DAY = date(1970, 1, 1).toordinal()
_MICROSECOND = timedelta(microseconds=1)
_EXACT = Context(prec=80)


def header_bytes(arity: int) -> int:
    """Return how many bytes the kind and the NULL bits of a row take."""
    return (arity + 63 + HEADER_BITS) // 64 * WORD


def fixed_bytes(arity: int) -> int:
    """Return how many bytes a row takes before its tail."""
    return header_bytes(arity) + WORD * arity


EMPTY_ROW = _ARITY.pack(0) + bytes(fixed_bytes(0))
"""The serialised row of no fields: the partition of a table without partition keys."""


def fraction_units(precision: int) -> int:
    """Return how many units of a timestamp's Arrow type make a second."""
    if precision <= COMPACT_FRACTION:
        return 1_000
    return 1_000_000 if precision <= MICROSECOND_FRACTION else 1_000_000_000


def encode_row(values: Sequence[Value], types: "Sequence[DataType]") -> bytes:
    """Return the BinaryRow of values; None is NULL.

    Dates, times and timestamps may be Python's or whole numbers in the unit of their Arrow type, which is the only way
    to say nanoseconds. Raises InvalidInputError ROWS_INVALID for a value that is not of its type, UnsupportedError for
    a nested one.
    """
    if len(values) != len(types):
        raise InvalidInputError(ErrorKind.ROWS_INVALID, f"a row of {len(types)} fields was given {len(values)} values")
    header = header_bytes(len(types))
    row = bytearray(fixed_bytes(len(types)))
    for index, (value, kind) in enumerate(zip(values, types, strict=True)):
        if value is None:
            bit = HEADER_BITS + index
            row[bit >> 3] |= 1 << (bit & 7)
        try:
            word, tail = _parts(value, kind, len(row))
        except (TypeError, ValueError, OverflowError, InvalidOperation, AttributeError, StructError) as error:
            raise InvalidInputError(
                ErrorKind.ROWS_INVALID, f"{value!r} is no value of type {kind.root}: {error}", field=index
            ) from error
        at = header + WORD * index
        row[at : at + len(word)] = word
        row += tail
    return bytes(row)


def serialise(row: bytes, arity: int) -> bytes:
    """Return a BinaryRow of arity fields in the form that manifests hold."""
    return _ARITY.pack(arity) + row


def deserialise(data: bytes) -> tuple[bytes, int]:
    """Return the BinaryRow and its number of fields from the form that manifests hold.

    Raises CorruptError CORRUPT_TABLE when the bytes are too few.
    """
    if len(data) < _ARITY.size:
        raise CorruptError(ErrorKind.CORRUPT_TABLE, f"a serialised row has 4 bytes or more, not {len(data)}")
    arity = _ARITY.unpack_from(data)[0]
    if arity < 0 or len(data) - _ARITY.size < fixed_bytes(arity):
        raise CorruptError(ErrorKind.CORRUPT_TABLE, f"a serialised row of {arity} fields is cut at {len(data)} bytes")
    return data[_ARITY.size :], arity


def encode_serialised(values: Sequence[Value], types: "Sequence[DataType]") -> bytes:
    """Return the serialised row of values: `serialise` after `encode_row`."""
    return serialise(encode_row(values, types), len(types)) if types else EMPTY_ROW


def decode_serialised(data: bytes, types: "Sequence[DataType]", *, raw: bool = False) -> tuple[Value, ...]:
    """Return the values of a serialised row: `decode_row` after `deserialise`, whose number of fields must match."""
    row, arity = deserialise(data)
    if arity != len(types):
        raise CorruptError(ErrorKind.CORRUPT_TABLE, f"a row of {len(types)} fields is stored as one of {arity}")
    return decode_row(row, types, raw=raw)


def decode_row(row: bytes, types: "Sequence[DataType]", *, raw: bool = False) -> tuple[Value, ...]:
    """Return the values of a BinaryRow, None for NULL.

    With raw, dates, times and timestamps come as whole numbers in the unit of their Arrow type; without, timestamps
    finer than a microsecond are cut to it. Raises CorruptError CORRUPT_TABLE for bytes that are no such row.
    """
    return tuple(decode_field(row, len(types), index, kind, raw=raw) for index, kind in enumerate(types))


def decode_field(row: bytes, arity: int, index: int, kind: "DataType", *, raw: bool = False) -> Value:
    """Return one value of a BinaryRow of arity fields, as `decode_row` does."""
    bit = HEADER_BITS + index
    at = header_bytes(arity) + WORD * index
    if at + WORD > len(row):
        raise CorruptError(ErrorKind.CORRUPT_TABLE, f"a row of {arity} fields is cut at {len(row)} bytes")
    if row[bit >> 3] >> (bit & 7) & 1:
        return None
    root = kind.root
    fixed = _FIXED.get(root)
    try:
        if fixed is not None:
            value = fixed.unpack_from(row, at)[0]
            return (
                value if raw else _of_days(value) if root == "DATE" else _of_millis(value) if root == "TIME" else value
            )
        if root in TEXT_ROOTS:
            return _variable(row, at).decode()
        if root in BINARY_ROOTS:
            return _variable(row, at)
        if root == "DECIMAL":
            return _decode_decimal(row, at, kind)
        if root in TIMESTAMP_ROOTS:
            return _decode_timestamp(row, at, kind, raw=raw)
    except (ValueError, OverflowError) as error:
        raise CorruptError(
            ErrorKind.CORRUPT_TABLE, f"field {index} of a row is no value of type {root}: {error}"
        ) from error
    raise _not_in_rows(root)


def _not_in_rows(root: str) -> UnsupportedError:
    return UnsupportedError(
        ErrorKind.UNSUPPORTED, f"a column of type {root} can be no key, partition or statistic: use one of its fields"
    )


def _parts(value: Value, kind: "DataType", cursor: int) -> tuple[bytes, bytes]:
    """Return a field's word, or the first bytes of it, and what it adds to the tail, which begins at cursor."""
    root = kind.root
    if root == "DECIMAL" and (kind.precision or 0) > COMPACT_DIGITS:
        return _wide_decimal(value, kind, cursor)
    if root in TIMESTAMP_ROOTS:
        return _timestamp(value, kind, cursor)
    if value is None:
        return b"", b""
    fixed = _FIXED.get(root)
    if fixed is not None:
        return fixed.pack(_plain(value, root)), b""
    if root == "DECIMAL":
        return _WORD_SIGNED.pack(unscaled(value, kind)), b""
    if root in TEXT_ROOTS:
        return _text(value.encode(), cursor)
    if root in BINARY_ROOTS:
        return _text(bytes(memoryview(value)), cursor)
    raise _not_in_rows(root)


def _plain(value: Value, root: str) -> Value:
    if root == "DATE" and isinstance(value, date):
        return value.toordinal() - _EPOCH_DAY
    if root == "TIME" and isinstance(value, time):
        return ((value.hour * 60 + value.minute) * 60 + value.second) * 1_000 + value.microsecond // 1_000
    return value


def _text(data: bytes, cursor: int) -> tuple[bytes, bytes]:
    if len(data) <= INLINE_BYTES:
        return data.ljust(INLINE_BYTES, b"\0") + bytes([_INLINE_MARK | len(data)]), b""
    return _WORD_UNSIGNED.pack(cursor << 32 | len(data)), data + bytes(-len(data) % WORD)


def unscaled(value: Decimal | int, kind: "DataType") -> int:
    """Return a decimal as a whole number of its last place; raise ValueError when it has more places or digits."""
    scaled = _EXACT.scaleb(Decimal(value), kind.scale or 0)
    number = int(scaled)
    if number != scaled or abs(number) >= 10 ** (kind.precision or 0):
        raise ValueError(f"it does not fit DECIMAL({kind.precision}, {kind.scale})")
    return number


def _wide_decimal(value: Decimal | None, kind: "DataType", cursor: int) -> tuple[bytes, bytes]:
    if value is None:
        return _WORD_UNSIGNED.pack(cursor << 32), bytes(2 * WORD)
    number = unscaled(value, kind)
    # As many bytes as Java's BigInteger.toByteArray gives: with room for the sign.
    size = ((number if number >= 0 else ~number).bit_length() // 8) + 1
    data = number.to_bytes(size, "big", signed=True)
    return _WORD_UNSIGNED.pack(cursor << 32 | size), data.ljust(2 * WORD, b"\0")


def _timestamp(value: datetime | int | None, kind: "DataType", cursor: int) -> tuple[bytes, bytes]:
    precision = kind.precision or 0
    compact = precision <= COMPACT_FRACTION
    if value is None:
        return (b"", b"") if compact else (_WORD_UNSIGNED.pack(cursor << 32), bytes(WORD))
    per_millisecond = fraction_units(precision) // 1_000
    if isinstance(value, datetime):
        aware = value if value.tzinfo is not None else value.replace(tzinfo=UTC)
        count = (aware - _EPOCH) // _MICROSECOND * per_millisecond // 1_000
    else:
        count = value
    millis, rest = divmod(count, per_millisecond)
    if compact:
        return _WORD_SIGNED.pack(millis), b""
    nanos = rest * (1_000_000 // per_millisecond)
    return _WORD_UNSIGNED.pack(cursor << 32 | nanos), _WORD_SIGNED.pack(millis)


def _variable(row: bytes, at: int) -> bytes:
    word = _WORD_UNSIGNED.unpack_from(row, at)[0]
    mark = word >> 56
    if mark & _INLINE_MARK:
        return row[at : at + (mark & ~_INLINE_MARK)]
    start, size = word >> 32, word & 0xFFFFFFFF
    if start + size > len(row):
        raise ValueError(f"{size} bytes at {start} lie beyond the row's {len(row)}")
    return row[start : start + size]


def _decode_decimal(row: bytes, at: int, kind: "DataType") -> Decimal:
    if (kind.precision or 0) <= COMPACT_DIGITS:
        number = _WORD_SIGNED.unpack_from(row, at)[0]
    else:
        number = int.from_bytes(_variable(row, at), "big", signed=True)
    return Decimal(number).scaleb(-(kind.scale or 0), _EXACT)


def _decode_timestamp(row: bytes, at: int, kind: "DataType", *, raw: bool) -> datetime | int:
    precision = kind.precision or 0
    word = _WORD_UNSIGNED.unpack_from(row, at)[0]
    if precision <= COMPACT_FRACTION:
        millis, nanos = _WORD_SIGNED.unpack_from(row, at)[0], 0
    else:
        start, nanos = word >> 32, word & 0xFFFFFFFF
        if start + WORD > len(row):
            raise ValueError(f"its milliseconds at {start} lie beyond the row's {len(row)} bytes")
        millis = _WORD_SIGNED.unpack_from(row, start)[0]
    if raw:
        per_millisecond = fraction_units(precision) // 1_000
        return int(millis * per_millisecond + nanos // (1_000_000 // per_millisecond))
    moment = _EPOCH + timedelta(milliseconds=millis, microseconds=nanos // 1_000)
    return moment if kind.root == "TIMESTAMP_LTZ" else moment.replace(tzinfo=None)


def _of_days(days: int) -> date:
    return date.fromordinal(days + _EPOCH_DAY)


def _of_millis(millis: int) -> time:
    return (_EPOCH + timedelta(milliseconds=millis)).time()

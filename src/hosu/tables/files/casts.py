"""Values of one type made into another's: what a change of a column's type does to the rows already stored.

The rules are Java Paimon's: numbers that do not fit wrap around as Java's casts do, decimals that do not fit become
NULL, text that says no value of the type is an error of whoever changed the type. Java makes times with a zone into
those without in the time zone of its process; here that is UTC.
"""

from collections.abc import Callable
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from hosu.kernel.errors import ErrorKind, InvalidInputError, UnsupportedError
from hosu.tables.decimals import rescaled
from hosu.tables.types import DataType, arrow_type, timestamp_unit

_INTEGERS: Final = frozenset({"TINYINT", "SMALLINT", "INT", "BIGINT"})
_FLOATS: Final = frozenset({"FLOAT", "DOUBLE"})
_NUMBERS: Final = _INTEGERS | _FLOATS | {"DECIMAL"}
_TEXT: Final = frozenset({"CHAR", "VARCHAR"})
_BINARY: Final = frozenset({"BINARY", "VARBINARY"})
_TIMESTAMPS: Final = frozenset({"TIMESTAMP", "TIMESTAMP_LTZ"})
_DECIMAL_DIGITS_MAX: Final = 38
_TIME_CHARACTERS: Final = (8, 10, 11, 12)
"""Of 09:00:00.123, by digits of the fraction."""

_SECOND_CHARACTERS: Final = 19
"""Of 2026-01-31 09:00:00."""

_MICROS: Final = 6

_TRUE: Final = ["t", "true", "y", "yes", "1"]
_FALSE: Final = ["f", "false", "n", "no", "0"]


def family(root: str) -> str:
    """Return which casts a type has: integer, float, text, binary, timestamp, or its own name in lower case."""
    for name, roots in (
        ("integer", _INTEGERS),
        ("float", _FLOATS),
        ("text", _TEXT),
        ("binary", _BINARY),
        ("timestamp", _TIMESTAMPS),
    ):
        if root in roots:
            return name
    return root.lower()


def cast_values(values: pa.Array, source: DataType, target: DataType) -> pa.Array:
    """Return values of a source type as those of the target type.

    Raises UnsupportedError for two types without a cast, InvalidInputError ROWS_INVALID for text that says no value.
    """
    cast = _CASTS.get((family(source.root), family(target.root)))
    if cast is None:
        raise UnsupportedError(
            ErrorKind.UNSUPPORTED,
            f"a column that was {source} cannot be read as {target}: change its type back, or copy its values",
            source=str(source),
            target=str(target),
        )
    try:
        return cast(values, source, target)
    except (pa.ArrowException, ValueError) as error:
        raise InvalidInputError(
            ErrorKind.ROWS_INVALID, f"a column that was {source} has a value that is no {target}: {error}"
        ) from error


Cast = Callable[[pa.Array, DataType, DataType], pa.Array]


def _plainly(values: pa.Array, _source: DataType, target: DataType) -> pa.Array:
    return values.cast(arrow_type(target), safe=False)


def _integers(values: pa.Array, _source: DataType, target: DataType) -> pa.Array:
    kind = arrow_type(target)
    if kind.bit_width >= values.type.bit_width:
        return values.cast(kind)
    # Java keeps the low bits of what does not fit.
    plain = values.fill_null(0).to_numpy(zero_copy_only=False).astype(kind.to_pandas_dtype())
    return _with_nulls(pa.array(plain, kind), values)


def _float_to_integer(values: pa.Array, _source: DataType, target: DataType) -> pa.Array:
    # Java goes over int: NaN is 0, what is beyond int or long is its end, then the low bits count.
    wide = np.int64 if target.root == "BIGINT" else np.int32
    limits = np.iinfo(wide)
    plain = values.cast(pa.float64()).fill_null(0.0).to_numpy(zero_copy_only=False)
    whole = np.trunc(np.nan_to_num(plain, nan=0.0, posinf=np.inf, neginf=-np.inf))
    low, high = whole <= float(limits.min), whole >= float(limits.max)
    found = np.where(low | high, 0.0, whole).astype(wide)
    found[low], found[high] = limits.min, limits.max
    kind = arrow_type(target)
    return _with_nulls(pa.array(found.astype(kind.to_pandas_dtype()), kind), values)


def _with_nulls(found: pa.Array, values: pa.Array) -> pa.Array:
    if not values.null_count:
        return found
    return pc.if_else(pc.is_valid(values), found, pa.scalar(None, found.type))


def _to_decimal(values: pa.Array, _source: DataType, target: DataType) -> pa.Array:
    kind = arrow_type(target)
    try:
        return _rounded(values, kind)
    except pa.ArrowInvalid:
        if pa.types.is_string(values.type):
            values = _wide(values)  # what says no number is an error, and no NULL
        # Value by value: those that do not fit become NULL.
        return pa.concat_arrays([_rounded_or_null(values.slice(index, 1), kind) for index in range(len(values))])


def _rounded(values: pa.Array, kind: pa.Decimal128Type) -> pa.Array:
    if pa.types.is_decimal(values.type):
        if values.type.scale > kind.scale:
            # With room for the digit that rounding up may add: beside a NULL, Arrow makes what has none a 0.
            wide = values.cast(pa.decimal256(_DECIMAL_DIGITS_MAX * 2, values.type.scale))
            values = pc.round(wide, kind.scale, round_mode="half_towards_infinity")
        return rescaled(values, kind)
    if pa.types.is_floating(values.type):
        # As Java's, over the shortest decimal that says the number.
        values = values.cast(pa.string())
        wide = values.cast(pa.decimal256(_DECIMAL_DIGITS_MAX * 2, _DECIMAL_DIGITS_MAX))
        return pc.round(wide, kind.scale, round_mode="half_towards_infinity").cast(kind)
    if pa.types.is_string(values.type):
        return pc.round(_wide(values), kind.scale, round_mode="half_towards_infinity").cast(kind)
    digits = {8: 3, 16: 5, 32: 10, 64: 19}[values.type.bit_width]
    return (
        values.cast(pa.decimal256(digits + kind.scale, 0))
        .cast(pa.decimal256(digits + kind.scale, kind.scale))
        .cast(kind)
    )


def _wide(values: pa.Array) -> pa.Array:
    return pc.utf8_trim_whitespace(values).cast(pa.decimal256(_DECIMAL_DIGITS_MAX * 2, _DECIMAL_DIGITS_MAX))


def _rounded_or_null(values: pa.Array, kind: pa.Decimal128Type) -> pa.Array:
    try:
        return _rounded(values, kind)
    except pa.ArrowInvalid:
        return pa.nulls(1, kind)


def _decimal_to_float(values: pa.Array, _source: DataType, target: DataType) -> pa.Array:
    # Over text: Arrow's own cast is off by the last bits.
    return values.cast(pa.string()).cast(arrow_type(target))


def _decimal_to_integer(values: pa.Array, _source: DataType, target: DataType) -> pa.Array:
    whole = pc.trunc(values)
    kind = arrow_type(target)
    # The low bits of what does not fit, as BigDecimal.intValue gives them.
    modulus = 1 << kind.bit_width
    numbers = [None if number is None else int(number) % modulus for number in whole.to_pylist()]
    half = modulus >> 1
    return pa.array([None if n is None else n - modulus if n >= half else n for n in numbers], kind)


def _to_text(values: pa.Array, source: DataType, target: DataType) -> pa.Array:
    if source.root in _TIMESTAMPS:
        # Arrow writes all digits of its unit, Java those of the type.
        digits = source.precision or 0
        text = pc.strftime(values, format="%Y-%m-%d %H:%M:%S")
        text = pc.utf8_slice_codeunits(text, 0, _SECOND_CHARACTERS + (digits + 1 if digits else 0))
    elif source.root in _FLOATS:
        text = pa.array([None if number is None else _java_float(number) for number in values])
    elif source.root in _BINARY:
        return values.cast(pa.string())
    elif source.root == "TIME":
        text = pc.utf8_slice_codeunits(values.cast(pa.string()), 0, _TIME_CHARACTERS[min(3, source.precision or 0)])
        text = pc.replace_substring_regex(text, r"(\.\d+?)0+$", r"\1")
    elif source.root == "DECIMAL":
        # Arrow turns to exponents where there are many zeros, Java does not.
        text = pa.array([None if number is None else format(number, "f") for number in values.to_pylist()], pa.string())
    else:
        text = values.cast(pa.string())
    return _fit_text(text.cast(pa.string()), target)


def _java_float(number: pa.Scalar) -> str | None:
    value: float | None = number.as_py()
    if value is None:
        return None
    shortest: np.floating[Any] = np.float32(value) if pa.types.is_float32(number.type) else np.float64(value)
    if np.isnan(shortest):
        return "NaN"
    if np.isinf(shortest):
        return "Infinity" if shortest > 0 else "-Infinity"
    if value == 0 or 1e-3 <= abs(value) < 1e7:  # noqa: PLR2004 - where Java turns to exponents
        return np.format_float_positional(shortest, unique=True, trim="0")
    mantissa, _, exponent = np.format_float_scientific(shortest, unique=True, trim="0").partition("e")
    return f"{mantissa}E{int(exponent)}"


def _fit_text(values: pa.Array, target: DataType) -> pa.Array:
    assert target.length is not None
    cut = pc.utf8_slice_codeunits(values, 0, target.length)
    return pc.utf8_rpad(cut, width=target.length) if target.root == "CHAR" else cut


def _text_to_number(values: pa.Array, _source: DataType, target: DataType) -> pa.Array:
    return pc.utf8_trim_whitespace(values).cast(arrow_type(target))


def _text_to_boolean(values: pa.Array, _source: DataType, _target: DataType) -> pa.Array:
    words = pc.utf8_lower(pc.utf8_trim_whitespace(values))
    yes, no = pc.is_in(words, pa.array(_TRUE)), pc.is_in(words, pa.array(_FALSE))
    wrong = pc.filter(values, pc.and_not(pc.is_valid(values), pc.or_(yes, no)))
    if len(wrong):
        raise ValueError(f"{wrong[0].as_py()!r} is neither true nor false")
    return _with_nulls(yes, values)


def _fit_binary(values: pa.Array, _source: DataType, target: DataType) -> pa.Array:
    assert target.length is not None
    cut = pc.binary_slice(values.cast(pa.binary()), 0, target.length)
    if target.root == "BINARY":
        size = target.length
        return pa.array([None if data is None else data.ljust(size, b"\0") for data in cut.to_pylist()], pa.binary())
    return cut


def _number_to_boolean(values: pa.Array, _source: DataType, _target: DataType) -> pa.Array:
    return pc.not_equal(values, pa.scalar(0, values.type))


def _boolean_to_number(values: pa.Array, _source: DataType, target: DataType) -> pa.Array:
    if target.root == "DECIMAL":
        return _to_decimal(values.cast(pa.int8()), DataType("TINYINT"), target)
    return values.cast(pa.int8()).cast(arrow_type(target))


def _timestamps(values: pa.Array, source: DataType, target: DataType) -> pa.Array:
    digits = target.precision or 0
    if digits < (source.precision or 0):
        unit = {"ms": 3, "us": 6, "ns": 9}[values.type.unit]
        step = 10 ** max(0, unit - digits)
        plain = values.cast(pa.int64())
        plain = pc.multiply(_floor_divide(plain, step), step)
        values = plain.cast(pa.timestamp(values.type.unit))
    else:
        values = values.cast(pa.timestamp(values.type.unit))
    return values.cast(pa.timestamp(timestamp_unit(digits)), safe=False).cast(arrow_type(target))


def _floor_divide(values: pa.Array, step: int) -> pa.Array:
    plain = values.fill_null(0).to_numpy(zero_copy_only=False)
    return _with_nulls(pa.array(plain // step), values)


def _timestamp_to_date(values: pa.Array, _source: DataType, _target: DataType) -> pa.Array:
    unit = {"ms": 10**3, "us": 10**6, "ns": 10**9}[values.type.unit]
    return _floor_divide(values.cast(pa.int64()), unit * 86_400).cast(pa.int32()).cast(pa.date32())


def _timestamp_to_time(values: pa.Array, _source: DataType, _target: DataType) -> pa.Array:
    unit = {"ms": 1, "us": 10**3, "ns": 10**6}[values.type.unit]
    plain = values.cast(pa.int64()).fill_null(0).to_numpy(zero_copy_only=False)
    millis = (plain // unit) % 86_400_000
    return _with_nulls(pa.array(millis.astype(np.int32)).cast(pa.time32("ms")), values)


def _date_to_timestamp(values: pa.Array, _source: DataType, target: DataType) -> pa.Array:
    return values.cast(pa.timestamp("ms")).cast(arrow_type(target))


def _time_to_timestamp(values: pa.Array, _source: DataType, target: DataType) -> pa.Array:
    return values.cast(pa.int32()).cast(pa.int64()).cast(pa.timestamp("ms")).cast(arrow_type(target))


def _times(values: pa.Array, _source: DataType, target: DataType) -> pa.Array:
    step = 10 ** (3 - min(3, target.precision or 0))
    whole = pc.multiply(_floor_divide(values.cast(pa.int32()), step), step)
    return whole.cast(pa.int32()).cast(pa.time32("ms"))


def _text_to_date(values: pa.Array, _source: DataType, _target: DataType) -> pa.Array:
    return pc.utf8_trim_whitespace(values).cast(pa.date32())


def _text_to_timestamp(values: pa.Array, _source: DataType, target: DataType) -> pa.Array:
    exact = pc.utf8_trim_whitespace(values).cast(pa.timestamp("ns" if (target.precision or 0) > _MICROS else "us"))
    return _timestamps(exact, DataType("TIMESTAMP", precision=9), target)


def _text_to_time(values: pa.Array, _source: DataType, target: DataType) -> pa.Array:
    text = pc.utf8_trim_whitespace(values)
    moments = pc.binary_join_element_wise("1970-01-01", text, " ").cast(pa.timestamp("us"))
    return _times(_timestamp_to_time(moments, target, target), target, target)


_CASTS: Final[dict[tuple[str, str], Cast]] = {
    ("boolean", "boolean"): _plainly,
    ("boolean", "integer"): _boolean_to_number,
    ("boolean", "float"): _boolean_to_number,
    ("boolean", "decimal"): _boolean_to_number,
    ("boolean", "text"): _to_text,
    ("integer", "boolean"): _number_to_boolean,
    ("integer", "integer"): _integers,
    ("integer", "float"): _plainly,
    ("integer", "decimal"): _to_decimal,
    ("integer", "text"): _to_text,
    ("float", "integer"): _float_to_integer,
    ("float", "float"): _plainly,
    ("float", "decimal"): _to_decimal,
    ("float", "text"): _to_text,
    ("decimal", "integer"): _decimal_to_integer,
    ("decimal", "float"): _decimal_to_float,
    ("decimal", "decimal"): _to_decimal,
    ("decimal", "text"): _to_text,
    ("text", "boolean"): _text_to_boolean,
    ("text", "integer"): _text_to_number,
    ("text", "float"): _text_to_number,
    ("text", "decimal"): _to_decimal,
    ("text", "text"): lambda values, _source, target: _fit_text(values.cast(pa.string()), target),
    ("text", "binary"): _fit_binary,
    ("text", "date"): _text_to_date,
    ("text", "time"): _text_to_time,
    ("text", "timestamp"): _text_to_timestamp,
    ("binary", "binary"): _fit_binary,
    ("binary", "text"): _to_text,
    ("date", "date"): _plainly,
    ("date", "text"): _to_text,
    ("date", "timestamp"): _date_to_timestamp,
    ("time", "time"): _times,
    ("time", "text"): _to_text,
    ("time", "timestamp"): _time_to_timestamp,
    ("timestamp", "timestamp"): _timestamps,
    ("timestamp", "date"): _timestamp_to_date,
    ("timestamp", "time"): _timestamp_to_time,
    ("timestamp", "text"): _to_text,
}

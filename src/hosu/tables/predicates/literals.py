"""Values in SQL, and from Python, as values of a column."""

import math
import re
from collections.abc import Callable
from datetime import UTC, date, datetime, time
from decimal import MAX_EMAX, MAX_PREC, MIN_EMIN, Context, Decimal
from typing import TYPE_CHECKING, Any, Final

import pyarrow as pa

from hosu.kernel.errors import ErrorKind, InvalidInputError
from hosu.tables.predicates.nodes import Always, Compare, IsNull, Operator, Predicate
from hosu.tables.types import arrow_type

if TYPE_CHECKING:
    from hosu.tables.types import DataField

_INTEGERS: Final = {"TINYINT": 8, "SMALLINT": 16, "INT": 32, "BIGINT": 64}
_FLOATS: Final = frozenset({"FLOAT", "DOUBLE"})
_TEXT: Final = frozenset({"CHAR", "VARCHAR"})
_BINARY: Final = frozenset({"BINARY", "VARBINARY"})
_TIMESTAMPS: Final = frozenset({"TIMESTAMP", "TIMESTAMP_LTZ"})
_PER_SECOND: Final = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}
_DAY_SECONDS: Final = 86_400
_INT64: Final = range(-(2**63), 2**63)
_BLOB: Final = re.compile(r"(?:[^\\\x80-\U0010ffff]|\\x[0-9A-Fa-f]{2})*")
_ESCAPED: Final = re.compile(rb"\\x([0-9A-Fa-f]{2})")
_EXACT: Final = Context(prec=MAX_PREC, Emax=MAX_EMAX, Emin=MIN_EMIN)
"""Rounds nothing: by default 28 digits are kept, and a DECIMAL has up to 38."""

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_EPOCH_DAY: Final = date(1970, 1, 1).toordinal()


def wrong_value(field: "DataField", value: object, remedy: str) -> InvalidInputError:
    """Return the error of a value that is none of a column's."""
    return InvalidInputError(
        ErrorKind.QUERY_INVALID, f"column {field.name!r} is {field.type}, not {value!r}: {remedy}", column=field.name
    )


def compare(field: "DataField", operator: Operator, value: object) -> Predicate:
    """Return a column compared with a value of Python's: exactly, whatever of the value the column's type can hold.

    Numbers beyond the type or finer than it are not refused: `tiny < 1000` is true of all that is not NULL. Times are
    datetime, date and time or ISO text; without a zone they are UTC. NULL compares with nothing.
    Raises InvalidInputError QUERY_INVALID naming the column and the value.
    """
    if value is None:
        return Always(truth=False)
    root = field.type.root
    if root in _INTEGERS:
        half = 1 << (_INTEGERS[root] - 1)
        return _whole(field, operator, _number(field, value), range(-half, half), int)
    if root == "DECIMAL":
        precision, scale = field.type.precision or 0, field.type.scale or 0
        limit = 10**precision
        number = _number(field, value).scaleb(scale, _EXACT)
        return _whole(field, operator, number, range(1 - limit, limit), lambda n: Decimal(n).scaleb(-scale, _EXACT))
    if root in _FLOATS:
        return Compare(field.name, operator, pa.scalar(_float(field, value), arrow_type(field.type)))
    if root in _TIMESTAMPS or root in {"DATE", "TIME"}:
        return _temporal(field, operator, value)
    return Compare(field.name, operator, _plain(field, value))


def _plain(field: "DataField", value: object) -> pa.Scalar:
    root = field.type.root
    if root == "BOOLEAN":
        if isinstance(value, bool):
            return pa.scalar(value)
        if isinstance(value, str) and value.lower() in {"true", "false"}:
            return pa.scalar(value.lower() == "true")
        raise wrong_value(field, value, "write TRUE or FALSE")
    if root in _TEXT:
        if not isinstance(value, str):
            raise wrong_value(field, value, "write text in single quotes")
        return pa.scalar(value, pa.string())
    if root in _BINARY:
        return pa.scalar(_bytes(field, value), pa.binary())
    raise wrong_value(field, value, "only NULL is looked for in columns of values within values")


def _bytes(field: "DataField", value: object) -> bytes:
    if isinstance(value, bytes | bytearray | memoryview):
        return bytes(value)
    # As DuckDB writes them: ASCII as it is, and \\x with two digits of hexadecimal for any byte.
    if isinstance(value, str) and _BLOB.fullmatch(value):
        return _ESCAPED.sub(lambda found: bytes([int(found[1], 16)]), value.encode())
    raise wrong_value(field, value, r"write bytes as '\x0A\x1B'")


def _number(field: "DataField", value: object) -> Decimal:
    if isinstance(value, bool):
        raise wrong_value(field, value, "write a number")
    if isinstance(value, int | Decimal):
        return Decimal(value)
    if isinstance(value, float):
        return Decimal(repr(value)) if math.isfinite(value) else Decimal(value)
    if isinstance(value, str):
        try:
            found = Decimal(value.strip())
        except ArithmeticError as error:
            raise wrong_value(field, value, "write a number") from error
        if not found.is_snan():
            return found
    raise wrong_value(field, value, "write a number")


def _float(field: "DataField", value: object) -> float:
    if isinstance(value, str) and value.strip().lower() in {"nan", "inf", "infinity", "-inf", "-infinity"}:
        return float(value)
    try:
        return float(_number(field, value)) if not isinstance(value, float) else value
    except OverflowError as error:
        raise wrong_value(field, value, "write a number that a DOUBLE holds") from error


def _whole(
    field: "DataField", operator: Operator, number: Decimal, among: range, make: Callable[[int], Any]
) -> Predicate:
    """Compare with a number in units of the column's last place: beyond its range, or between two of its values."""
    if number.is_nan():
        number = Decimal("Infinity")  # greater than every number, as NaN is
    if number >= among.stop:
        whole, is_exact = among.stop, True
    elif number < among.start:
        whole, is_exact = among.start - 1, True
    else:
        whole = int(number.to_integral_value(rounding="ROUND_FLOOR"))
        is_exact = whole == number
    anything, nothing = IsNull(field.name, is_negated=True), Always(truth=False)
    if operator in {"=", "!="}:
        if is_exact and whole in among:
            return Compare(field.name, operator, _scalar(field, make(whole)))
        return nothing if operator == "=" else anything
    if not is_exact:
        # Between two values: whole < number < whole + 1.
        operator = "<=" if operator in {"<", "<="} else ">"
    if whole < among.start:
        return nothing if operator in {"<", "<="} else anything
    if whole >= among.stop:
        return anything if operator in {"<", "<="} else nothing
    return Compare(field.name, operator, _scalar(field, make(whole)))


def _scalar(field: "DataField", value: Any) -> pa.Scalar:  # noqa: ANN401 - a value of any type
    kind = arrow_type(field.type)
    if pa.types.is_temporal(kind):
        return pa.scalar(value, pa.int32() if kind.bit_width == 32 else pa.int64()).cast(kind)  # noqa: PLR2004
    return pa.scalar(value, kind)


def _temporal(field: "DataField", operator: Operator, value: object) -> Predicate:
    kind = arrow_type(field.type)
    if pa.types.is_time(kind):
        return _whole(field, operator, _time_seconds(field, value) * 1_000, range(_DAY_SECONDS * 1_000), int)
    seconds = _seconds(field, value)
    if pa.types.is_date(kind):
        return _whole(field, operator, seconds / _DAY_SECONDS, range(-(2**31), 2**31), int)
    return _whole(field, operator, seconds * _PER_SECOND[kind.unit], _INT64, int)


def _seconds(field: "DataField", value: object) -> Decimal:
    """Return a moment as seconds since 1970, exactly."""
    if isinstance(value, pa.Scalar) and pa.types.is_timestamp(value.type):
        return Decimal(value.value) / _PER_SECOND[value.type.unit]
    if isinstance(value, datetime):
        aware = value if value.tzinfo is not None else value.replace(tzinfo=UTC)
        gone = aware - _EPOCH
        return Decimal(gone.days * _DAY_SECONDS + gone.seconds) + Decimal(gone.microseconds) / 10**6
    if isinstance(value, date):
        return Decimal((value.toordinal() - _EPOCH_DAY) * _DAY_SECONDS)
    if isinstance(value, str):
        return _parsed(field, value)
    raise wrong_value(field, value, "write '2026-01-31 09:00:00', which is UTC, or a date")


def _parsed(field: "DataField", text: str) -> Decimal:
    head, dot, rest = text.strip().partition(".")
    digits = rest[: len(rest) - len(rest.lstrip("0123456789"))]
    fraction = Decimal(f"0.{digits}") if digits else Decimal(0)
    if dot and not digits:
        raise wrong_value(field, text, "write '2026-01-31 09:00:00.123'")
    try:
        moment = datetime.fromisoformat(head + rest[len(digits) :])
    except ValueError as error:
        raise wrong_value(field, text, "write '2026-01-31 09:00:00' or '2026-01-31'") from error
    if digits and ":" not in head:
        raise wrong_value(field, text, "write '2026-01-31 09:00:00.123'")
    return _seconds(field, moment) + fraction


def _time_seconds(field: "DataField", value: object) -> Decimal:
    if isinstance(value, str):
        head, _, digits = value.strip().partition(".")
        try:
            whole = time.fromisoformat(head)
            fraction = Decimal(f"0.{digits}") if digits else Decimal(0)
        except (ValueError, ArithmeticError) as error:
            raise wrong_value(field, value, "write '09:00:00'") from error
        return _time_seconds(field, whole) + fraction
    if isinstance(value, time) and value.tzinfo is None:
        return Decimal((value.hour * 60 + value.minute) * 60 + value.second) + Decimal(value.microsecond) / 10**6
    raise wrong_value(field, value, "write '09:00:00'")

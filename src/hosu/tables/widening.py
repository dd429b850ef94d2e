"""Which type a column may change to: those that hold every value it has, and those that a cast leads to."""

from hosu.tables.types import LENGTH_MAX, DataType

_INTEGER_DIGITS = {"TINYINT": 3, "SMALLINT": 5, "INT": 10, "BIGINT": 19}
_INTEGERS = tuple(_INTEGER_DIGITS)
_WHOLE_IN = {"FLOAT": ("TINYINT", "SMALLINT"), "DOUBLE": ("TINYINT", "SMALLINT", "INT")}
"""Integers that a float holds exactly."""

_TEXT = frozenset({"CHAR", "VARCHAR"})
_BYTES = frozenset({"BINARY", "VARBINARY"})
_NUMBERS = frozenset({*_INTEGERS, "FLOAT", "DOUBLE", "DECIMAL"})
_TIMESTAMPS = frozenset({"TIMESTAMP", "TIMESTAMP_LTZ"})
_TEMPORAL = _TIMESTAMPS | {"DATE", "TIME"}
_INTO_TEXT = _NUMBERS | _TIMESTAMPS | _BYTES | {"BOOLEAN", "DATE", "TIME"}
_EXPLICIT: dict[str, frozenset[str]] = {
    "BOOLEAN": _TEXT | frozenset(_INTEGERS),
    "BINARY": _TEXT | _BYTES,
    "VARBINARY": _TEXT | _BYTES,
    "CHAR": _INTO_TEXT | _TEXT,
    "VARCHAR": _INTO_TEXT | _TEXT,
    "DATE": _TEXT | _TIMESTAMPS,
    "TIME": _TEXT | _TIMESTAMPS,
    "TIMESTAMP": _TEXT | _TIMESTAMPS | {"DATE", "TIME"},
    "TIMESTAMP_LTZ": _TEXT | _TIMESTAMPS | {"DATE"},
} | dict.fromkeys(_NUMBERS, _NUMBERS | _TEXT | {"BOOLEAN"})
"""What a cast makes into each type, as Paimon has it: values may be rounded or cut, or become NULL.

Of text, dates and times become STRING alone.
"""


def widens(source: DataType, target: DataType) -> bool:
    """Whether every value of source is one of target, unchanged."""
    old, new = source.root, target.root
    if source.is_nested or target.is_nested or "VARIANT" in {old, new}:
        return source.as_nullable() == target.as_nullable()
    if old in _INTEGER_DIGITS:
        if new == "DECIMAL":
            assert target.precision is not None
            assert target.scale is not None
            return target.precision - target.scale >= _INTEGER_DIGITS[old]
        if new in _INTEGER_DIGITS:
            return _INTEGER_DIGITS[new] >= _INTEGER_DIGITS[old]
        return old in _WHOLE_IN.get(new, ()) or (new == "VARCHAR" and _fits_text(20, target))
    if old in _TEXT | _BYTES:
        same = new == old or (new, old) in {("VARCHAR", "CHAR"), ("VARBINARY", "BINARY")}
        return same and (target.length or 0) >= (source.length or 0)
    if old == "DECIMAL" and new == "DECIMAL":
        assert source.precision is not None
        assert source.scale is not None
        assert target.precision is not None
        assert target.scale is not None
        return target.scale >= source.scale and target.precision - target.scale >= source.precision - source.scale
    if old in _TIMESTAMPS and new == old:
        return (target.precision or 0) >= (source.precision or 0)
    if old == new == "TIME":
        return source.precision == target.precision  # Paimon has no cast of one into another
    return old == new or (old, new) in {("FLOAT", "DOUBLE"), ("DATE", "TIMESTAMP")}


def _fits_text(characters: int, target: DataType) -> bool:
    return (target.length or 0) >= characters


def casts(source: DataType, target: DataType) -> bool:
    """Whether Paimon has a cast from source to target, be it one that loses something."""
    if source.is_nested or target.is_nested:
        return source.as_nullable() == target.as_nullable()
    if source.root in _TEMPORAL and target.root in _TEXT:
        return target.root == "VARCHAR" and target.length == LENGTH_MAX
    if source.root == target.root == "TIME":
        return source.precision == target.precision
    return source.root == target.root or source.root in _EXPLICIT.get(target.root, frozenset())

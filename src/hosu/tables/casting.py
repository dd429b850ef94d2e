"""A caller's rows brought to the types of a table, without losing anything of a value."""

from collections.abc import Callable, Sequence
from difflib import get_close_matches
from functools import cache

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from hosu.kernel.errors import ErrorKind, InvalidInputError
from hosu.tables.arrowtypes import arrow_type
from hosu.tables.datatypes import LENGTH_MAX, DataField, DataType
from hosu.tables.decimals import rescaled
from hosu.tables.unpacking import plain

_VALUE_CHARACTERS_MAX = 80
"""How much of a wrong value a message shows."""

_INTEGER_DIGITS_MAX = 20
"""Digits of the largest integer of 64 bits."""

_Cast = Callable[[pa.Array], pa.Array]


class _WrongValueError(Exception):
    """A row that the column cannot hold: which, what it has, and why not."""

    def __init__(self, row: int, value: object, reason: str) -> None:
        super().__init__(reason)
        self.row = row
        self.value = value
        self.reason = reason


def _value(values: pa.Array, row: int) -> object:
    """Return a value to show: Python's, or Arrow's where Python has none such, as for the year 36812."""
    try:
        return values[row].as_py()
    except (OverflowError, ValueError):
        return values[row]


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= _VALUE_CHARACTERS_MAX else text[:_VALUE_CHARACTERS_MAX] + "…"


def rows_error(column: str, row: int, value: object, reason: str) -> InvalidInputError:
    """Return the error of one value in one row, counted from 0."""
    return InvalidInputError(
        ErrorKind.ROWS_INVALID,
        f"column {column!r}, row {row} (from 0): {_shown(value)}: {reason}",
        column=column,
        row=row,
    )


def _column_error(column: str, message: str) -> InvalidInputError:
    return InvalidInputError(ErrorKind.COLUMN_INVALID, message, column=column)


def _first_failure(values: pa.Array, cast: _Cast, start: int = 0) -> int:
    """Return the first row that a cast refuses, given that it refuses one: by halves."""
    if len(values) <= 1:
        return start
    half = len(values) // 2
    try:
        cast(values[:half])
    except pa.ArrowException:
        return _first_failure(values[:half], cast, start)
    return _first_failure(values[half:], cast, start + half)


def _attempt(values: pa.Array, cast: _Cast, reason: str) -> pa.Array:
    try:
        return cast(values)
    except pa.ArrowException as error:
        row = _first_failure(values, cast)
        raise _WrongValueError(row, _value(values, row), reason) from error


def _check(values: pa.Array, wrong: pa.Array, reason: str) -> None:
    if pc.any(wrong, min_count=0).as_py():
        row = pc.index(pc.fill_null(wrong, fill_value=False), pa.scalar(value=True)).as_py()
        raise _WrongValueError(row, _value(values, row), reason)


def _refused(values: pa.Array, data_type: DataType, remedy: str) -> _WrongValueError:
    filled = pc.index(pc.is_valid(values), pa.scalar(value=True)).as_py()
    row = max(filled, 0)
    value = _value(values, row) if len(values) else None
    return _WrongValueError(row, value, f"{data_type} takes no values of type {values.type}: {remedy}")


def _cast_number(values: pa.Array, data_type: DataType, target: pa.DataType) -> pa.Array:
    source, kinds = values.type, pa.types
    if kinds.is_decimal(target):
        if kinds.is_integer(source):
            # A cast to a decimal asks for room for every integer of the type, not for those that are there.
            values = _attempt(
                values,
                lambda part: part.cast(pa.decimal256(_INTEGER_DIGITS_MAX + target.scale, target.scale)),
                f"is no {data_type}",
            )
        elif not kinds.is_decimal(source):
            raise _refused(values, data_type, "cast them to decimals first, which says how they are rounded")
        return _attempt(
            values, lambda part: rescaled(part, target), f"does not fit {data_type} whole: widen the column"
        )
    if not (kinds.is_integer(source) or kinds.is_floating(source) or kinds.is_decimal(source)):
        raise _refused(values, data_type, "cast them to numbers first")
    if kinds.is_decimal(source) and kinds.is_floating(target):
        raise _refused(values, data_type, "cast them first, which says that they are rounded")
    out = _attempt(values, lambda part: part.cast(target), f"does not fit {data_type} whole: widen the column")
    if kinds.is_floating(target) and kinds.is_floating(source):
        wrong = pc.and_(pc.is_inf(out), pc.invert(pc.is_inf(values)))
        _check(values, wrong, f"is beyond {data_type}: declare the column as DOUBLE")
    return out


def _cast_temporal(values: pa.Array, data_type: DataType, target: pa.DataType) -> pa.Array:
    source, kinds = values.type, pa.types
    reason = f"is finer or later than {data_type} holds: round it, or give the column more digits"
    if kinds.is_timestamp(target):
        if not (kinds.is_timestamp(source) or kinds.is_date(source)):
            raise _refused(values, data_type, "parse them to timestamps first")
        if kinds.is_timestamp(source) and source.tz is not None and target.tz is None:
            raise _refused(values, data_type, "a time zone would be lost; drop it first, or declare TIMESTAMP_LTZ")
        if kinds.is_timestamp(source) and source.tz is None and target.tz is not None:
            # A time without a zone is UTC's.
            values = values.cast(pa.timestamp(source.unit, "UTC"))
    elif kinds.is_date(target):
        if not (kinds.is_date(source) or (kinds.is_timestamp(source) and source.tz is None)):
            raise _refused(values, data_type, "parse them to dates first")
        if kinds.is_timestamp(source):
            _check(
                values, pc.not_equal(values, pc.floor_temporal(values, unit="day")), f"is no whole day for {data_type}"
            )
    elif not kinds.is_time(source):
        raise _refused(values, data_type, "parse them to times first")
    out = _attempt(values, lambda part: part.cast(target), reason)
    step = _step(data_type)
    if step > 1:
        units = out.cast(pa.int64())
        _check(values, pc.not_equal(pc.multiply(pc.divide(units, step), step), units), reason)
    return out


def _step(data_type: DataType) -> int:
    """Return how many of Arrow's units the last digit of a TIMESTAMP is worth."""
    if data_type.root not in {"TIMESTAMP", "TIMESTAMP_LTZ"}:
        return 1
    return 10 ** int(-(data_type.precision or 0) % 3) if data_type.precision else 1000


def _cast_bytes(values: pa.Array, data_type: DataType, target: pa.DataType) -> pa.Array:
    source, kinds = values.type, pa.types
    is_text = kinds.is_string(source) or kinds.is_large_string(source) or kinds.is_string_view(source)
    is_bytes = (
        kinds.is_binary(source)
        or kinds.is_large_binary(source)
        or kinds.is_binary_view(source)
        or kinds.is_fixed_size_binary(source)
    )
    if kinds.is_string(target) and not is_text:
        raise _refused(values, data_type, "cast them to text first")
    if kinds.is_binary(target) and not is_bytes:
        raise _refused(values, data_type, "encode them first")
    out = _attempt(
        values, lambda part: part.cast(target), f"is too long for one batch of {data_type}: give smaller ones"
    )
    if data_type.length is not None and data_type.length < LENGTH_MAX:
        sizes = pc.utf8_length(out) if kinds.is_string(target) else pc.binary_length(out)
        _check(values, pc.greater(sizes, data_type.length), f"is longer than {data_type}: widen the column")
    return out


def _rows_of_children(offsets: pa.Array, child: int) -> int:
    """Return the row whose list holds a child, given by its place."""
    low, high = 0, len(offsets) - 1
    while low + 1 < high:
        middle = (low + high) // 2
        low, high = (middle, high) if offsets[middle].as_py() <= child else (low, middle)
    return low


def _cast_children(lists: pa.Array, children: pa.Array, data_type: DataType, base: int) -> pa.Array:
    try:
        return cast_values(children, data_type)
    except _WrongValueError as error:
        row = _rows_of_children(lists.offsets, error.row + base)
        raise _WrongValueError(row, error.value, error.reason) from error


def _trimmed(values: pa.Array) -> pa.Array:
    """Return values whose children begin at 0, whatever they were a slice of, and hold nothing under NULLs."""
    if values.offset or values.null_count:
        return values.take(pa.array(np.arange(len(values))))
    return values


def _cast_list(values: pa.Array, data_type: DataType) -> pa.Array:
    kinds, source = pa.types, values.type
    if not (kinds.is_list(source) or kinds.is_large_list(source)):
        if not (kinds.is_fixed_size_list(source) or kinds.is_list_view(source) or kinds.is_large_list_view(source)):
            raise _refused(values, data_type, "give lists")
        values = values.cast(pa.list_(source.value_type))
    values = _trimmed(values)
    assert data_type.element is not None
    base = values.offsets[0].as_py() if len(values) else 0
    children = _cast_children(values, values.flatten(), data_type.element, base)
    offsets = pc.subtract(values.offsets, base).cast(pa.int32())
    return pa.ListArray.from_arrays(offsets, children, type=arrow_type(data_type), mask=_mask(values))


def _mask(values: pa.Array) -> pa.Array | None:
    return values.is_null() if values.null_count else None


def _cast_map(values: pa.Array, data_type: DataType) -> pa.Array:
    source, kinds = values.type, pa.types
    if not kinds.is_map(source):
        entry = source.value_type if kinds.is_list(source) else pa.null()
        if not (kinds.is_struct(entry) and entry.num_fields == 2):  # noqa: PLR2004 - key, value
            raise _refused(values, data_type, "give maps, or lists of pairs")
        values = _trimmed(values)
        pairs = values.values
        if pairs.null_count or pairs.field(0).null_count:
            raise _refused(values, data_type, "a key is NULL")
        values = pa.MapArray.from_arrays(values.offsets, pairs.field(0), pairs.field(1), mask=_mask(values))
    values = _trimmed(values)
    key = data_type.key if data_type.root == "MAP" else data_type.element
    item = data_type.element if data_type.root == "MAP" else DataType("INT", nullable=False)
    assert key is not None
    assert item is not None
    first = values.offsets[0].as_py() if len(values) else 0
    last = values.offsets[-1].as_py() if len(values) else 0
    keys = _cast_children(values, values.keys[first:last], key.as_nullable(nullable=False), first)
    items = _cast_children(values, values.items[first:last], item, first)
    offsets = pc.subtract(values.offsets, first).cast(pa.int32())
    return pa.MapArray.from_arrays(offsets, keys, items, type=arrow_type(data_type), mask=_mask(values))


def _cast_struct(values: pa.Array, data_type: DataType, target: pa.DataType) -> pa.Array:
    if not pa.types.is_struct(values.type):
        raise _refused(values, data_type, "give structs, such as dicts")
    given = [values.type.field(place).name for place in range(values.type.num_fields)]
    fields = data_type.fields or tuple(
        DataField(0, name, DataType("VARBINARY", length=LENGTH_MAX)) for name in ("value", "metadata")
    )
    unknown = [name for name in given if name not in {field.name for field in fields}]
    if unknown:
        raise _refused(values, data_type, f"it has no field {unknown[0]!r}")
    present = values.is_valid()
    # Below a NULL there may be anything: flattened, it is NULL too.
    parts = dict(zip(given, values.flatten(), strict=True))
    children = []
    for field in fields:
        if field.name not in given:
            child = pa.nulls(len(values), arrow_type(field.type))
        else:
            child = cast_values(parts[field.name], field.type.as_nullable())
        if not field.type.nullable:
            _check(values, pc.and_(present, child.is_null()), f"field {field.name!r} is NOT NULL")
        children.append(child)
    return pa.StructArray.from_arrays(children, fields=list(target), mask=_mask(values))


@cache
def _takes_all(data_type: DataType) -> bool:
    """Whether every Arrow value of the type's counterpart is one of the type, its own NULL aside."""
    parts = [part for part in (data_type.key, data_type.element, *(field.type for field in data_type.fields)) if part]
    if (data_type.length is not None and data_type.length < LENGTH_MAX) or _step(data_type) > 1:
        return False
    if data_type.root == "MULTISET":
        return False  # its counts are never NULL, which the Arrow type does not say
    return all(_takes_all(part) and part.nullable for part in parts)


def cast_values(values: pa.Array, data_type: DataType) -> pa.Array:
    """Return values as a column of this type holds them; raises what `cast_column` makes an error of."""
    values = plain(values)
    target = arrow_type(data_type)
    if not data_type.nullable:
        _check(values, values.is_null(), f"is NULL, and the type is {data_type}")
    if pa.types.is_null(values.type):
        return values.cast(target)
    if values.type == target and _takes_all(data_type):
        return values
    root = data_type.root
    if root == "ARRAY":
        return _cast_list(values, data_type)
    if root in {"MAP", "MULTISET"}:
        return _cast_map(values, data_type)
    if root in {"ROW", "VARIANT"}:
        return _cast_struct(values, data_type, target)
    if root in {"CHAR", "VARCHAR", "BINARY", "VARBINARY"}:
        return _cast_bytes(values, data_type, target)
    if root in {"DATE", "TIME", "TIMESTAMP", "TIMESTAMP_LTZ"}:
        return _cast_temporal(values, data_type, target)
    if root == "BOOLEAN":
        raise _refused(values, data_type, "give booleans")
    return _cast_number(values, data_type, target)


def default_of(field: DataField) -> pa.Scalar | None:
    """Return what stands in a column where a row gives no value, or None; raise InvalidInputError TABLE_INVALID."""
    if field.default_value is None:
        return None
    target = arrow_type(field.type)
    text = field.default_value
    try:
        if pa.types.is_nested(target):
            raise pa.ArrowNotImplementedError("nested")
        value = pa.scalar(text).cast(target)
        if pa.types.is_string(target) or pa.types.is_binary(target):
            cast_values(pa.array([text]).cast(target), field.type)
    except (pa.ArrowException, _WrongValueError) as error:
        raise InvalidInputError(
            ErrorKind.TABLE_INVALID,
            f"column {field.name!r}: the default value {text!r} is no {field.type}",
            column=field.name,
            value=text,
        ) from error
    return value


def cast_column(column: pa.ChunkedArray | pa.Array, field: DataField) -> pa.ChunkedArray:
    """Return a column as the table has it, with the field's default in place of NULL.

    Raises InvalidInputError ROWS_INVALID, which names the column, the row from 0, the value and the remedy.
    """
    default = default_of(field)
    chunks: list[pa.Array] = []
    row = 0
    for chunk in column.chunks if isinstance(column, pa.ChunkedArray) else [column]:
        if not len(chunk):
            continue  # an empty frame says nothing of the types its columns would have
        try:
            filled = cast_values(chunk, field.type.as_nullable())
            if default is not None and filled.null_count:
                filled = pc.fill_null(filled, default)
            if not field.type.nullable and filled.null_count:
                _check(chunk, filled.is_null(), "is NULL in a column that is NOT NULL: give a value")
        except _WrongValueError as error:
            raise rows_error(field.name, row + error.row, error.value, error.reason) from error
        chunks.append(filled)
        row += len(chunk)
    return pa.chunked_array(chunks, arrow_type(field.type))


def cast_rows(table: pa.Table | pa.RecordBatch, fields: Sequence[DataField], *, partial: bool = False) -> pa.Table:
    """Return rows with the columns of a table, in its order and types.

    Values are never rounded or cut, but for DOUBLE into FLOAT; a time without a zone is taken for UTC's where the
    column has one. A column that is not given is an error, unless `partial`: then its default or NULL stands there.
    Raises InvalidInputError: COLUMN_INVALID for a column that is missing, unknown or given twice, ROWS_INVALID for a
    value that does not fit, which names the column, the row from 0, the value and the remedy.
    """
    known = [field.name for field in fields]
    given = list(table.column_names)
    for name in given:
        if name not in known:
            near = [other for other in known if other.casefold() == name.casefold()] or get_close_matches(
                name, known, 1
            )
            hint = f"did you mean {near[0]!r}?" if near else f"it has {', '.join(known)}"
            raise _column_error(name, f"the table has no column {name!r}: {hint}")
        if given.count(name) > 1:
            raise _column_error(name, f"column {name!r} is given twice")
    columns = []
    for field in fields:
        if field.name in given:
            column = table.column(field.name)
        elif partial and (field.type.nullable or field.default_value is not None):
            column = pa.nulls(table.num_rows)
        else:
            raise _column_error(field.name, f"column {field.name!r} ({field.type}) is missing from the rows")
        columns.append(cast_column(column, field))
    return pa.Table.from_arrays(columns, names=known)

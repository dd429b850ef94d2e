"""Rows as callers have them, made into Arrow tables."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime, time, timedelta
from typing import Any, Final, TypeAlias

import pyarrow as pa

from hosu.kernel.errors import ErrorKind, InvalidInputError
from hosu.tables.casting import rows_error

Rows: TypeAlias = Any
"""An Arrow table, batch or reader; a frame of pandas or Polars, or whatever else speaks the Arrow stream protocol;
a mapping of columns; a sequence of mappings, one per row; or an iterable of any of these."""

_HELD_ROWS: Final = 65_536
"""Mappings of an iterable that become one table."""

_MICROSECONDS: Final = {"s": 1_000_000, "ms": 1_000}
"""Of the units that are coarser than what Python has."""


def batches_of(rows: Rows, schema: pa.Schema) -> Iterator[pa.Table]:
    """Yield rows as Arrow tables; columns of Python values get the types of schema.

    Raises InvalidInputError ROWS_INVALID for what is no rows.
    """
    if isinstance(rows, pa.Table):
        yield rows
    elif isinstance(rows, pa.RecordBatch):
        yield pa.Table.from_batches([rows])
    elif type(rows).__module__.partition(".")[0] == "pandas":
        yield _from_pandas(rows)
    elif isinstance(rows, pa.RecordBatchReader) or hasattr(rows, "__arrow_c_stream__"):
        yield from _from_stream(rows)
    elif isinstance(rows, Mapping | list | tuple) and not rows:
        return
    elif isinstance(rows, Mapping):
        yield _from_columns(rows, schema)
    elif (
        isinstance(rows, Sequence)
        and not isinstance(rows, str | bytes)
        and all(isinstance(row, Mapping) for row in rows)
    ):
        yield _from_rows(rows, schema)
    elif hasattr(rows, "__iter__") and not isinstance(rows, str | bytes):
        yield from _of_parts(rows, schema)
    else:
        raise InvalidInputError(
            ErrorKind.ROWS_INVALID,
            f"a {type(rows).__name__} is no rows: pass an Arrow table, a data frame, columns by name or a list of "
            "mappings",
        )


def _from_stream(rows: Rows) -> Iterator[pa.Table]:
    if isinstance(rows, pa.RecordBatchReader):
        for batch in rows:
            yield pa.Table.from_batches([batch])
        return
    try:
        reader = pa.RecordBatchReader.from_stream(rows)
    except pa.ArrowException as error:
        raise InvalidInputError(
            ErrorKind.ROWS_INVALID, f"a {type(rows).__name__} is no rows of Arrow, or has a type it lacks: {error}"
        ) from error
    for batch in reader:
        try:
            batch.validate(full=True)
        except pa.ArrowInvalid as error:
            raise InvalidInputError(
                ErrorKind.ROWS_INVALID, f"the stream of a {type(rows).__name__} breaks Arrow's rules: {error}"
            ) from error
        yield pa.Table.from_batches([batch])


def _of_parts(parts: Iterable[Rows], schema: pa.Schema) -> Iterator[pa.Table]:
    """Yield the rows of each part; mappings that follow one another become one table."""
    held: list[Mapping[str, Any]] = []
    for part in parts:
        is_row = isinstance(part, Mapping)
        if is_row:
            held.append(part)
        if held and (len(held) == _HELD_ROWS or not is_row):
            yield _from_rows(held, schema)
            held = []
        if not is_row:
            yield from batches_of(part, schema)
    if held:
        yield _from_rows(held, schema)


def _from_rows(rows: Sequence[Mapping[str, Any]], schema: pa.Schema) -> pa.Table:
    names = list(dict.fromkeys(name for row in rows for name in row))
    return _from_columns({name: [row.get(name) for row in rows] for name in names}, schema)


def _from_columns(columns: Mapping[str, Any], schema: pa.Schema) -> pa.Table:
    arrays = {}
    for name, values in columns.items():
        if isinstance(values, pa.Array | pa.ChunkedArray):
            arrays[name] = values
            continue
        if isinstance(values, str | bytes) or not hasattr(values, "__iter__"):
            raise InvalidInputError(
                ErrorKind.ROWS_INVALID,
                f"column {name!r}: a {type(values).__name__} is no list of values; for one row, write "
                "[{column: value}]",
                column=name,
            )
        known = schema.field(name).type if name in schema.names else None
        given = list(values) if isinstance(values, Iterator) else values
        try:
            arrays[name] = _array(given, known)
            # Arrays of numpy's and the like are cast safely, objects of Python's are not.
            if known is not None and str(getattr(given, "dtype", "object")) == "object":
                kind = arrays[name].type
                # Of times some of which have a zone Arrow makes UTC's: right where the column has one.
                if kind == known or getattr(known, "tz", None) is None:
                    _refuse_cut(given, kind)
        except (pa.ArrowException, TypeError, ValueError, OverflowError) as error:
            raise _wrong_value(name, given, known, error) from error
    lengths = {name: len(values) for name, values in arrays.items()}
    if len(set(lengths.values())) > 1:
        raise InvalidInputError(
            ErrorKind.ROWS_INVALID,
            "columns differ in length: " + ", ".join(f"{name!r} has {length}" for name, length in lengths.items()),
        )
    try:
        return pa.table(arrays)
    except TypeError as error:
        raise InvalidInputError(ErrorKind.ROWS_INVALID, f"names of columns are text: {error}") from error


def _wrong_value(name: str, values: Iterable[Any], known: pa.DataType | None, error: Exception) -> InvalidInputError:
    """Return the error of a column that no array holds, with the first row that is to blame, if one is."""
    if known is not None:
        for row, value in enumerate(values):
            try:
                pa.array([value], known)
                _refuse_cut([value], known)
            except (pa.ArrowException, TypeError, ValueError, OverflowError) as reason:
                return rows_error(name, row, value, f"the column holds {known}: {reason}; convert it first")
    return InvalidInputError(ErrorKind.ROWS_INVALID, f"column {name!r} does not hold {known}: {error}", column=name)


def _refuse_cut(values: Iterable[Any], kind: pa.DataType) -> None:
    """Raise ValueError for a value of which Arrow would keep a part, without a word about the rest."""
    if pa.types.is_nested(kind):
        present = [value for value in values if value is not None]
        if pa.types.is_struct(kind):
            _refuse_cut_fields([value for value in present if isinstance(value, Mapping)], kind)
        elif pa.types.is_map(kind):
            pairs = [pair for value in present for pair in (value.items() if isinstance(value, Mapping) else value)]
            _refuse_cut([key for key, _ in pairs], kind.key_type)
            _refuse_cut([item for _, item in pairs], kind.item_type)
        else:
            for value in present:
                if isinstance(value, str | bytes):
                    raise ValueError(f"{value!r} is no list")  # noqa: TRY004 - as every value that does not fit
            _refuse_cut([item for value in present for item in value], kind.value_type)
    elif pa.types.is_integer(kind) or pa.types.is_temporal(kind):
        for value in values:
            if _is_cut(value, kind):
                raise ValueError(f"{value!r} would lose a part of itself")


def _refuse_cut_fields(values: Sequence[Mapping[str, Any]], kind: pa.StructType) -> None:
    names = {field.name for field in kind}
    for value in values:
        if not value.keys() <= names:
            raise ValueError(f"{min(map(str, value.keys() - names))!r} is none of its fields")
    for field in kind:
        _refuse_cut([value.get(field.name) for value in values], field.type)


def _is_cut(value: Any, kind: pa.DataType) -> bool:  # noqa: ANN401 - a value of any type
    if value is None or isinstance(value, int | timedelta):
        return False
    if pa.types.is_integer(kind):
        return bool(value != int(value))
    if isinstance(value, datetime | time) and value.tzinfo is not None and getattr(kind, "tz", None) is None:
        raise ValueError(f"the zone of {value!r} would be lost; drop it first, or declare TIMESTAMP_LTZ")
    if pa.types.is_date(kind):
        return isinstance(value, datetime) and value.time() != time(0)
    if not isinstance(value, datetime | time):
        return False
    has_nanoseconds = bool(getattr(value, "nanosecond", 0)) and kind.unit != "ns"
    return has_nanoseconds or value.microsecond % _MICROSECONDS.get(kind.unit, 1) != 0


def _from_pandas(frame: Rows) -> pa.Table:
    try:
        return pa.Table.from_pandas(frame, preserve_index=False)
    except (pa.ArrowException, TypeError, ValueError, AttributeError) as error:
        reason = "; ".join(map(str, error.args))
        raise InvalidInputError(ErrorKind.ROWS_INVALID, f"the pandas data is no rows of Arrow: {reason}") from error


def _array(values: Sequence[Any], known: pa.DataType | None) -> pa.Array:
    """Return values in the type of their column, or in their own where that would cut them: then casting judges."""
    if known is not None and _may_cut(known):
        try:
            own = pa.array(values)
        except (pa.ArrowException, TypeError, ValueError, OverflowError):
            pass  # of several types, or of none that Arrow guesses
        else:
            if _cuts(known, own.type):
                return own
    return pa.array(values, known)


def _may_cut(known: pa.DataType) -> bool:
    kinds = pa.types
    return bool(
        kinds.is_integer(known) or kinds.is_float32(known) or kinds.is_temporal(known) or kinds.is_nested(known)
    )


def _cuts(known: pa.DataType, own: pa.DataType) -> bool:
    """Whether Arrow makes one type's values of Python's without a word about what it leaves out."""
    kinds = pa.types
    if kinds.is_list(known) and kinds.is_list(own):
        return _cuts(known.value_type, own.value_type)
    if kinds.is_struct(known) and kinds.is_struct(own):
        names = {field.name for field in known} & {field.name for field in own}
        return any(_cuts(known.field(name).type, own.field(name).type) for name in names)
    if kinds.is_temporal(known):
        return bool(kinds.is_temporal(own) and own != known)
    return bool(kinds.is_floating(own) and (kinds.is_integer(known) or kinds.is_float32(known)))

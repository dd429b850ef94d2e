"""Rows of Paimon tables in one plain shape, whoever read them: Arrow, Java, or an answer kept as JSON."""

import base64
from collections.abc import Iterable, Mapping, Sequence
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import Any

import numpy as np
import pyarrow as pa

from hosu.tables.types import arrow_type, parse_type

Row = tuple[Any, ...]

NANOSECONDS = {"s": 10**9, "ms": 10**6, "us": 10**3, "ns": 1}


def order(row: Sequence[Any]) -> tuple[tuple[bool, str], ...]:
    """Return what sorts rows whose columns may be NULL or nested."""
    return tuple((value is None, repr(value)) for value in row)


def arrow_rows(columns: Mapping[str, str], rows: Sequence[Row]) -> pa.Table:
    """Return rows as Arrow holds them."""
    kinds = {name: arrow_type(parse_type(kind)) for name, kind in columns.items()}
    listed = list(zip(*rows, strict=True)) or [()] * len(kinds)
    arrays = [arrow_column(values, kind) for values, kind in zip(listed, kinds.values(), strict=True)]
    return pa.table(dict(zip(kinds, arrays, strict=True)))


def arrow_column(values: Sequence[Any], kind: pa.DataType) -> pa.Array:
    """Return values of one column; temporal ones are text, cells of rows come by place."""
    return pa.array([arrow_cell(value, kind) for value in values], kind)


def arrow_cell(value: Any, kind: pa.DataType) -> Any:
    """Return a value as `pa.array` takes it for a type."""
    if value is None:
        return None
    if pa.types.is_struct(kind):
        return {kind.field(index).name: arrow_cell(item, kind.field(index).type) for index, item in enumerate(value)}
    if pa.types.is_map(kind):
        return [(arrow_cell(key, kind.key_type), arrow_cell(item, kind.item_type)) for key, item in value.items()]
    if pa.types.is_list(kind):
        return [arrow_cell(item, kind.value_type) for item in value]
    if pa.types.is_timestamp(kind):
        return pa.scalar(value).cast(pa.timestamp("ns")).value // NANOSECONDS[kind.unit]
    if pa.types.is_date(kind):
        return date.fromisoformat(value)
    if pa.types.is_time(kind):
        return time.fromisoformat(value)
    return value


def plain_rows(table: pa.Table) -> list[Row]:
    """Return the rows of a table as `Flink.rows` does, sorted."""
    columns = [plain_column(column) for column in table.columns]
    return alike(zip(*columns, strict=True))


def alike(rows: Iterable[Sequence[Any]]) -> list[Row]:
    """Return rows sorted, with lists where they have tuples inside, so that two readers can be compared."""
    return sorted((tuple(listed(value) for value in row) for row in rows), key=order)


def listed(value: Any) -> Any:
    """Return a value with lists in the place of tuples."""
    if isinstance(value, list | tuple):
        return [listed(item) for item in value]
    if isinstance(value, dict):
        return {key: listed(item) for key, item in value.items()}
    return value


def plain_column(column: pa.ChunkedArray) -> list[Any]:
    """Return the cells of a column: temporal ones as the text that Java prints, rows as tuples."""
    return [plain_cell(cell) for chunk in column.chunks for cell in chunk]


def plain_cell(cell: Any) -> Any:
    """Return a scalar of Arrow as Flink's rows have it."""
    kind = cell.type
    if not cell.is_valid:
        return None
    if pa.types.is_struct(kind):
        return tuple(plain_cell(cell[field.name]) for field in kind)
    if pa.types.is_map(kind):
        return {plain_cell(entry["key"]): plain_cell(entry["value"]) for entry in cell.values}
    if pa.types.is_list(kind):
        return [plain_cell(item) for item in cell.values]
    if pa.types.is_float32(kind):
        return float(str(np.float32(cell.as_py())))
    if pa.types.is_timestamp(kind):
        return java_time(cell.value, kind)
    if pa.types.is_time(kind):
        text = cell.as_py().isoformat(timespec="milliseconds").removesuffix(".000")
        return text.removesuffix(":00")
    if pa.types.is_date(kind):
        return cell.as_py().isoformat()
    return cell.as_py()


def java_time(value: int, kind: pa.DataType) -> str:
    """Return an instant as Java prints it: no zero seconds, fractions in groups of three digits."""
    seconds, nanoseconds = divmod(value * NANOSECONDS[kind.unit], 10**9)
    moment = datetime(1970, 1, 1) + timedelta(seconds=seconds)  # noqa: DTZ001 - a time without a zone
    text = moment.isoformat(timespec="seconds")
    fraction = f".{nanoseconds:09d}" if nanoseconds else ""
    while fraction.endswith("000"):
        fraction = fraction[:-3]
    if kind.tz is not None:
        return f"{text}{fraction}Z"
    return text.removesuffix(":00") if moment.second == 0 and not fraction else text + fraction


def decoded(value: Any) -> Any:
    """Return a row of `answers.json` as `Flink.rows` returned it; lists inside stay lists."""
    if isinstance(value, list):
        return [decoded(item) for item in value]
    if isinstance(value, dict):
        if "bytes" in value:
            return base64.b64decode(value["bytes"])
        if "decimal" in value:
            return Decimal(value["decimal"])
        return {decoded(key): decoded(item) for key, item in value["map"]}
    return value

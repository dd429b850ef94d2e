"""Statistics of a data file's columns: collected while it is written, and brought into the form of manifests.

Values are as `rows.encode_row` takes them: whole numbers for dates, times and timestamps, in the unit of their Arrow
type. What has no order, or was too long to be kept, has neither least nor greatest value.
"""

import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Context, Decimal
from functools import cache
from typing import Any, Final

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from hosu.kernel.errors import ErrorKind, InvalidInputError
from hosu.tables.files.columns import leaf_count
from hosu.tables.predicates import Bounds, bounds_of
from hosu.tables.records import Stats
from hosu.tables.rows import EMPTY_ROW, stats_row
from hosu.tables.types import DataField, DataType, timestamp_unit

SYSTEM_LENGTH: Final = 128
"""Characters that statistics of keys and system columns keep: Paimon's own number."""

_TRUNCATE: Final = re.compile(r"truncate\((\d+)\)")
_TEXT: Final = frozenset({"CHAR", "VARCHAR"})
_BINARY: Final = frozenset({"BINARY", "VARBINARY"})
_FLOATING: Final = frozenset({"FLOAT", "DOUBLE"})
_AS_INTEGER: Final = {"DATE": pa.int32(), "TIME": pa.int32(), "TIMESTAMP": pa.int64(), "TIMESTAMP_LTZ": pa.int64()}
_UNORDERED: Final = frozenset({"ARRAY", "MAP", "MULTISET", "ROW", "VARIANT"})
_UNITS: Final = {"ms": "milliseconds", "us": "microseconds", "ns": "nanoseconds"}
_CODE_POINT_MAX: Final = 0x10FFFF
_SURROGATES: Final = range(0xD800, 0xE000)
_BYTE_MAX: Final = 0xFF
_EXACT: Final = Context(prec=80)

EMPTY_STATS: Final = Stats(EMPTY_ROW, EMPTY_ROW, ())


@dataclass(frozen=True)
class Mode:
    """How much of a column's statistics is kept: none, counts, all (`length` None), or text cut to `length`."""

    has_counts: bool = True
    has_bounds: bool = True
    length: int | None = None


NONE: Final = Mode(has_counts=False, has_bounds=False)
COUNTS: Final = Mode(has_bounds=False)
FULL: Final = Mode()


@cache
def parse_mode(text: str, option: str = "metadata.stats-mode") -> Mode:
    """Return the mode of an option's value; raise InvalidInputError TABLE_INVALID."""
    word = text.strip().lower()
    if word in _MODES:
        return _MODES[word]
    found = _TRUNCATE.fullmatch(word)
    if found is None or int(found[1]) == 0:
        raise InvalidInputError(
            ErrorKind.TABLE_INVALID,
            f"option {option!r} is {text!r}: it is none, counts, full or truncate(N), such as truncate(16)",
            option=option,
            value=text,
        )
    return Mode(length=int(found[1]))


_MODES: Final = {"none": NONE, "counts": COUNTS, "full": FULL}


def _rank(value: Any) -> tuple[bool, Any]:  # noqa: ANN401 - values of any type
    """Return what orders values: NaN is greater than every number."""
    return (True, 0.0) if isinstance(value, float) and math.isnan(value) else (False, value)


@dataclass
class ColumnStats:
    """What is known of one column of a file; `has_bounds` is False once a part of the file has none."""

    least: Any = None
    greatest: Any = None
    null_count: int | None = 0
    has_bounds: bool = True

    def add(self, least: Any, greatest: Any, null_count: int | None) -> None:  # noqa: ANN401 - values of any type
        """Take in a part of the file that has values."""
        self.add_nulls(null_count)
        if least is None or greatest is None:
            self.has_bounds = False
            return
        self.least = least if self.least is None else min(self.least, least, key=_rank)
        self.greatest = greatest if self.greatest is None else max(self.greatest, greatest, key=_rank)

    def take(self, part: "ColumnStats") -> None:
        """Take in the statistics of a part of the file."""
        if not part.has_bounds:
            self.add(None, None, part.null_count)
        elif part.least is None:
            self.add_nulls(part.null_count)
        else:
            self.add(part.least, part.greatest, part.null_count)

    def add_nulls(self, null_count: int | None) -> None:
        """Take in the count of NULLs of a part; None says that they were not counted."""
        self.null_count = None if null_count is None or self.null_count is None else self.null_count + null_count


@dataclass
class Collector:
    """Collects what the footers of Parquet files do not say: whether there was NaN, which they leave out."""

    fields: Sequence[DataField]
    has_nan: set[str] = field(default_factory=set)

    def add(self, rows: pa.Table) -> None:
        """Look through rows that are written."""
        for column in self.fields:
            if column.type.root not in _FLOATING or column.name in self.has_nan:
                continue
            if pc.any(pc.is_nan(rows.column(column.name))).as_py():
                self.has_nan.add(column.name)

    def finish(self, found: Mapping[str, ColumnStats]) -> None:
        """Make NaN the greatest value, as Java has it, where there was one."""
        for name in self.has_nan:
            stats = found[name]
            stats.greatest = math.nan
            stats.least = math.nan if stats.least is None else stats.least
            stats.has_bounds = True


def stats_of_footer(
    metadata: pq.FileMetaData, fields: Sequence[DataField], schema: pa.Schema
) -> dict[str, ColumnStats]:
    """Return the statistics in the footer of a Parquet file of these fields."""
    found = {}
    leaf = 0
    for column in fields:
        stats = found[column.name] = ColumnStats()
        if column.type.root in _UNORDERED:
            stats.null_count, stats.has_bounds = None, False
        else:
            for group in range(metadata.num_row_groups):
                _add_chunk(stats, metadata.row_group(group).column(leaf), column.type)
        leaf += leaf_count(schema.field(column.name).type)
    return found


def _add_chunk(stats: ColumnStats, chunk: pq.ColumnChunkMetaData, kind: DataType) -> None:
    of_chunk = chunk.statistics if chunk.is_stats_set else None
    if of_chunk is None:
        stats.null_count, stats.has_bounds = None, False
        return
    nulls = of_chunk.null_count if of_chunk.has_null_count else None
    if nulls == chunk.num_values:
        stats.add_nulls(nulls)
    elif not of_chunk.has_min_max or of_chunk.physical_type == "INT96":
        stats.add(None, None, nulls)
    else:
        stats.add(_value(of_chunk.min_raw, kind), _value(of_chunk.max_raw, kind), nulls)


def chunk_bounds(chunk: pq.ColumnChunkMetaData, field: DataField, rows: int) -> Bounds:
    """Return what a Parquet file says of one column of one row group."""
    found = chunk.statistics if chunk.is_stats_set and field.type.root not in _UNORDERED else None
    if found is None:
        return Bounds(row_count=rows, may_have_nan=True)
    nulls = found.null_count if found.has_null_count else None
    if not found.has_min_max or not _says(found, field.type):
        return bounds_of(field, None, None, nulls, rows)
    return bounds_of(field, _value(found.min_raw, field.type), _value(found.max_raw, field.type), nulls, rows)


def _says(found: pq.Statistics, kind: DataType) -> bool:
    """Whether statistics are in the unit of the column: other writers may choose another."""
    if kind.root in {"TIMESTAMP", "TIMESTAMP_LTZ"}:
        if found.physical_type != "INT64":
            return False
        unit = json.loads(found.logical_type.to_json()).get("timeUnit")
        return bool(unit == _UNITS[timestamp_unit(kind.precision or 0)])
    return True


def _value(raw: Any, kind: DataType) -> Any:  # noqa: ANN401 - values of any type
    if kind.root == "DECIMAL":
        number = int.from_bytes(raw, "big", signed=True) if isinstance(raw, bytes) else raw
        return Decimal(number).scaleb(-(kind.scale or 0), _EXACT)
    if kind.root in _TEXT:
        return raw.decode() if isinstance(raw, bytes) else raw
    return raw


def stats_of_rows(rows: pa.Table, fields: Sequence[DataField]) -> dict[str, ColumnStats]:
    """Return the statistics of rows: for formats whose footers have none that Arrow shows."""
    return {column.name: _stats_of_column(rows.column(column.name), column.type) for column in fields}


def _stats_of_column(values: pa.ChunkedArray, kind: DataType) -> ColumnStats:
    if kind.root in _UNORDERED:
        return ColumnStats(null_count=values.null_count, has_bounds=False)
    if kind.root in _AS_INTEGER:
        values = values.cast(_AS_INTEGER[kind.root])
    found = pc.min_max(values)
    stats = ColumnStats(null_count=values.null_count)
    least, greatest = found["min"].as_py(), found["max"].as_py()
    if kind.root in _FLOATING and pc.any(pc.is_nan(values)).as_py():
        # Arrow's min_max gives infinities turned around where there is nothing but NaN.
        stats.greatest, stats.least = math.nan, math.nan if least > greatest else least
    else:
        stats.least, stats.greatest = least, greatest
    return stats


def manifest_stats(
    fields: Sequence[DataField], found: Mapping[str, ColumnStats], modes: Sequence[Mode], *, is_dense: bool = False
) -> tuple[Stats, tuple[str, ...] | None]:
    """Return statistics as manifests hold them, and the columns they are of; None for all of the fields.

    With is_dense columns of which nothing is known are left out.
    """
    kept: list[tuple[DataField, Any, Any, int | None]] = []
    for column, mode in zip(fields, modes, strict=True):
        stats = found[column.name]
        least, greatest = (stats.least, stats.greatest) if mode.has_bounds and stats.has_bounds else (None, None)
        if mode.length is not None:
            least, greatest = _cut(least, greatest, mode.length)
        count = stats.null_count if mode.has_counts else None
        if not (is_dense and least is None and greatest is None and count is None):
            kept.append((column, least, greatest, count))
    types = [column.type for column, *_ in kept]
    # A row of statistics has no place for values of nested columns: those are NULL, of whatever type.
    types = [kind if kind.root not in _UNORDERED else DataType("INT") for kind in types]
    stats_ = Stats(
        stats_row([least for _, least, _, _ in kept], types),
        stats_row([greatest for _, _, greatest, _ in kept], types),
        tuple(count for *_, count in kept),
    )
    names = tuple(column.name for column, *_ in kept)
    return stats_, None if not is_dense or len(kept) == len(fields) else names


def _cut(least: Any, greatest: Any, length: int) -> tuple[Any, Any]:  # noqa: ANN401 - values of any type
    if isinstance(least, str):
        cut = cut_text(greatest, length)
        return (None, None) if cut is None else (least[:length], cut)
    if isinstance(least, bytes):
        cut_bytes = cut_binary(greatest, length)
        return (None, None) if cut_bytes is None else (least[:length], cut_bytes)
    return least, greatest


def cut_text(text: str, length: int) -> str | None:
    """Return a text of at most length characters that is no less than the given one, None where there is none."""
    if len(text) <= length:
        return text
    for end in range(length, 0, -1):
        following = ord(text[end - 1]) + 1
        if following in _SURROGATES:
            following = _SURROGATES.stop  # the next that has bytes in UTF-8
        if following <= _CODE_POINT_MAX:
            return text[: end - 1] + chr(following)
    return None


def cut_binary(data: bytes, length: int) -> bytes | None:
    """Return at most length bytes that are no less than the given ones, None where there are none."""
    if len(data) <= length:
        return data
    kept = data[:length].rstrip(b"\xff")
    return kept[:-1] + bytes([kept[-1] + 1]) if kept else None

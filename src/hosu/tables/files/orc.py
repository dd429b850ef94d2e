"""Data files in ORC."""

from collections.abc import Iterator, Sequence
from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import orc

from hosu.kernel.errors import ErrorKind, UnsupportedError
from hosu.tables.files.settings import FileSettings
from hosu.tables.files.sinks import Sink
from hosu.tables.files.statistics import ColumnStats, stats_of_rows
from hosu.tables.types import DataField, DataType

CODECS: Final = {
    "none": "uncompressed",
    "snappy": "snappy",
    "gzip": "zlib",
    "zlib": "zlib",
    "zstd": "zstd",
    "lz4": "lz4",
}
"""Paimon's names of compressions, and ORC's."""


class OrcFileWriter:
    """Writes one ORC file."""

    def __init__(self, sink: Sink, schema: pa.Schema, fields: Sequence[DataField], settings: FileSettings) -> None:
        compression = settings.compression
        if compression not in CODECS:
            raise UnsupportedError(
                ErrorKind.UNSUPPORTED,
                f"ORC files with 'file.compression' {compression!r} are not written: use {', '.join(CODECS)}",
                compression=compression,
            )
        for field in fields:
            check_type(field.type)
        self._schema = pa.schema([pa.field(field.name, _stored(field.type)) for field in schema])
        self._fields = fields
        self._writer = orc.ORCWriter(pa.PythonFile(sink, mode="w"), compression=CODECS[compression])
        self._parts: list[dict[str, ColumnStats]] = []

    def write(self, rows: pa.Table) -> None:
        """Write rows, which have the columns of the schema; raise UnsupportedError for times that Java misreads."""
        for column in rows.columns:
            for chunk in column.chunks:
                _refuse_old_times(chunk)
        for place, column in enumerate(rows.columns):
            if _has_rows(column.type):
                rows = rows.set_column(place, rows.schema.field(place), _laid_anew(column))
        self._writer.write(rows.cast(self._schema))
        self._parts.append(stats_of_rows(rows, self._fields))

    def finish(self) -> dict[str, ColumnStats]:
        """Write the footer and return the statistics of the columns."""
        self._writer.close()
        return merged(self._fields, self._parts)


def _has_rows(kind: pa.DataType) -> bool:
    parts = (kind.field(place).type for place in range(kind.num_fields))
    return pa.types.is_struct(kind) or any(map(_has_rows, parts))


def _laid_anew(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Return a column in one piece, without anything that is out of sight.

    Of structs that are slices, in several pieces, or with values below a NULL, Arrow's writer of ORC takes others.
    """
    return pa.chunked_array([_bare(pa.concat_arrays(column.chunks))]) if len(column) else column


def _bare(values: pa.Array) -> pa.Array:
    kind = values.type
    mask = values.is_null() if values.null_count else None
    if pa.types.is_struct(kind):
        return pa.StructArray.from_arrays([_bare(part) for part in values.flatten()], fields=list(kind), mask=mask)
    values = values.take(pa.array(np.arange(len(values))))
    if pa.types.is_map(kind):
        return pa.MapArray.from_arrays(values.offsets, _bare(values.keys), _bare(values.items), type=kind, mask=mask)
    if pa.types.is_list(kind):
        return pa.ListArray.from_arrays(values.offsets, _bare(values.values), type=kind, mask=mask)
    return values


def check_type(kind: DataType) -> None:
    """Raise UnsupportedError for a type that ORC files of Java's would hold otherwise."""
    if kind.root == "VARIANT":
        raise UnsupportedError(
            ErrorKind.UNSUPPORTED,
            f"ORC files with {kind} are not written: set 'file.format' to parquet",
            type=str(kind),
        )
    for part in _parts(kind):
        check_type(part)


def _refuse_old_times(values: pa.Array) -> None:
    """Refuse times before 1970 with a fraction of a second, which Arrow writes as Java does not read them."""
    kind = values.type
    if pa.types.is_struct(kind):
        for inner in values.flatten():
            _refuse_old_times(inner)
    elif pa.types.is_map(kind):
        _refuse_old_times(values.keys)
        _refuse_old_times(values.items)
    elif pa.types.is_list(kind):
        _refuse_old_times(values.flatten())
    elif pa.types.is_timestamp(kind):
        oldest = pc.min(values.cast(pa.int64())).as_py()
        if oldest is not None and oldest < 0:
            raise UnsupportedError(
                ErrorKind.UNSUPPORTED,
                "ORC files with timestamps before 1970 are not written: set 'file.format' to parquet",
            )


def _parts(kind: DataType) -> list[DataType]:
    inner = [kind.element, kind.key, *(field.type for field in kind.fields)]
    return [part for part in inner if part is not None]


def _has_zone(kind: DataType) -> bool:
    return kind.root == "TIMESTAMP_LTZ" or any(map(_has_zone, _parts(kind)))


def merged(fields: Sequence[DataField], parts: Sequence[dict[str, ColumnStats]]) -> dict[str, ColumnStats]:
    """Return the statistics of all parts of a file."""
    found = {}
    for field in fields:
        stats = found[field.name] = ColumnStats()
        for part in parts:
            stats.take(part[field.name])
    return found


def _stored(kind: pa.DataType) -> pa.DataType:
    """Return the type under which ORC has values: without ids, which its files keep elsewhere, and TIME as INT."""
    if pa.types.is_time32(kind):
        return pa.int32()
    if pa.types.is_struct(kind):
        return pa.struct([pa.field(field.name, _stored(field.type)) for field in kind])
    if pa.types.is_map(kind):
        return pa.map_(_stored(kind.key_type), _stored(kind.item_type))
    if pa.types.is_list(kind):
        return pa.list_(_stored(kind.value_type))
    if pa.types.is_timestamp(kind):
        return pa.timestamp("ns", kind.tz)
    return kind


class OrcFileReader:
    """Reads one ORC file, stripe by stripe. Errors of Arrow's are the caller's to translate."""

    def __init__(self, source: pa.NativeFile, fields: Sequence[DataField]) -> None:
        self._zoned = {field.name for field in fields if _has_zone(field.type)}
        self._source = source
        self._file = orc.ORCFile(source)
        self.schema = self._file.schema

    def close(self) -> None:
        """Let go of the file."""
        self._source.close()

    def _refuse_local_times(self, names: Sequence[str]) -> None:
        for name in names:
            if name in self._zoned and "tz=" not in str(self.schema.field(name).type):
                raise UnsupportedError(
                    ErrorKind.UNSUPPORTED,
                    f"column {name!r} is TIMESTAMP_LTZ, which ORC files have in the time zone of whoever wrote them: "
                    "write the table anew with 'file.format' = 'parquet'",
                    column=name,
                )

    def read(self, names: Sequence[str], groups: Sequence[int] | None) -> pa.Table:
        """Return the columns of these names."""
        del groups
        if not names:
            return _rows_alone(self._file.nrows)
        self._refuse_local_times(names)
        return self._file.read(columns=list(names)).select(list(names))

    def batches(
        self, names: Sequence[str], groups: Sequence[int] | None, batch_rows: int, batch_bytes: int | None = None
    ) -> Iterator[pa.RecordBatch]:
        """Yield the same in batches of at most batch_rows rows: a stripe is held at a time, whatever it takes."""
        del groups, batch_bytes
        if not names:
            yield from _rows_alone(self._file.nrows).to_batches(batch_rows)
            return
        self._refuse_local_times(names)
        for stripe in range(self._file.nstripes):
            rows = self._file.read_stripe(stripe, columns=list(names))
            for start in range(0, rows.num_rows, batch_rows):
                yield rows.slice(start, batch_rows).select(list(names))


def _rows_alone(count: int) -> pa.Table:
    return pa.table({"": pa.nulls(count)}).select([])

"""Rows written as data files of one bucket."""

import uuid
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final, Protocol

import numpy as np
import pyarrow as pa

from hosu.kernel.errors import ErrorKind, HosuError, InvalidInputError
from hosu.kernel.limits import KIB, MIB
from hosu.tables.files.avro import AvroFileWriter
from hosu.tables.files.columns import file_fields, required_columns, stored_schema
from hosu.tables.files.orc import OrcFileWriter
from hosu.tables.files.parquet import ParquetFileWriter
from hosu.tables.files.settings import FileSettings, Kind, settings_of, stats_modes
from hosu.tables.files.sinks import Sink
from hosu.tables.files.statistics import EMPTY_STATS, SYSTEM_LENGTH, ColumnStats, Mode, manifest_stats
from hosu.tables.records import KEY_PREFIX, SEQUENCE_NUMBER, VALUE_KIND, DataFile, FileSource, Partition
from hosu.tables.reshaping import reshaped
from hosu.tables.rows import EMPTY_ROW, encode_serialised
from hosu.tables.types import DataField

if TYPE_CHECKING:
    from hosu.tables.context import TableContext

GROUP_ROWS: Final = 256 * KIB
"""Rows of a row group: few enough that a predicate on the key leaves out most of a large file."""

GROUP_BYTES_MAX: Final = 64 * MIB
"""Bytes of a row group in memory, for rows that are wide."""

GROUP_BYTES_MIN: Final = 64 * KIB

_WRITERS: Final[dict[str, Callable[..., "_FormatWriter"]]] = {
    "parquet": ParquetFileWriter,
    "orc": OrcFileWriter,
    "avro": AvroFileWriter,
}


class _FormatWriter(Protocol):
    def write(self, rows: pa.Table) -> None: ...

    def finish(self) -> dict[str, ColumnStats]: ...


def write_files(
    ctx: "TableContext",
    partition: Partition,
    bucket: int,
    rows: pa.Table | Iterable[pa.RecordBatch],
    *,
    level: int = 0,
    source: FileSource = FileSource.APPEND,
    kind: Kind = "data",
    first_sequence: int = 0,
    group_bytes: int = GROUP_BYTES_MAX,
) -> list[DataFile]:
    """Write rows as data or changelog files of a bucket, all of them durable on return; no rows are no file.

    Rows that have `_SEQUENCE_NUMBER` are a run: sorted by the trimmed key, with `_VALUE_KIND`. Others are rows of an
    append table, numbered from first_sequence on. Row groups take at most group_bytes in memory, unless the table's
    options say otherwise. A file that has reached `target-file-size` is followed by another.
    On an error nothing stays that a manifest could name.
    """
    writing = _Writing(ctx, partition, bucket, level=level, source=source, kind=kind, first_sequence=first_sequence)
    try:
        for piece in _pieces(rows, writing.settings, group_bytes):
            writing.write(piece)
        return writing.finish()
    except BaseException:
        writing.abandon()
        raise


def _pieces(rows: pa.Table | Iterable[pa.RecordBatch], settings: FileSettings, group_bytes: int) -> Iterator[pa.Table]:
    """Yield rows in the pieces that become row groups; none is empty."""
    piece_bytes = max(GROUP_BYTES_MIN, min(settings.group_bytes or group_bytes, settings.target_bytes))
    piece_rows = max(1, min(GROUP_ROWS, settings.target_rows))
    if isinstance(rows, pa.Table):
        yield from _cut(rows, piece_rows, piece_bytes)
        return
    held: list[pa.RecordBatch] = []
    held_rows = held_bytes = 0
    for batch in rows:
        if not batch.num_rows:
            continue
        held.append(batch)
        held_rows += batch.num_rows
        held_bytes += batch.nbytes
        if held_rows >= piece_rows or held_bytes >= piece_bytes:
            yield from _cut(pa.Table.from_batches(held), piece_rows, piece_bytes)
            held, held_rows, held_bytes = [], 0, 0
    if held:
        yield from _cut(pa.Table.from_batches(held), piece_rows, piece_bytes)


def _cut(rows: pa.Table, piece_rows: int, piece_bytes: int) -> Iterator[pa.Table]:
    if not rows.num_rows:
        return
    row_bytes = max(1, rows.nbytes // rows.num_rows)
    step = max(1, min(piece_rows, piece_bytes // row_bytes))
    # Pieces of one size: a last one of a few rows would be a row group of its own.
    count = -(-rows.num_rows // step)
    step = -(-rows.num_rows // count)
    for start in range(0, rows.num_rows, step):
        yield rows.slice(start, step)


class _Writing:
    def __init__(
        self,
        ctx: "TableContext",
        partition: Partition,
        bucket: int,
        *,
        level: int,
        source: FileSource,
        kind: Kind,
        first_sequence: int,
    ) -> None:
        self.settings: FileSettings = settings_of(ctx, level, kind)
        self._ctx = ctx
        self._partition = partition
        self._bucket = bucket
        self._level = level
        self._kind: Kind = kind
        self._source = source
        self._next_sequence = first_sequence
        self._names = str(uuid.uuid4())
        self._shape: _Shape | None = None
        self._open: _OpenFile | None = None
        self._done: list[DataFile] = []

    def write(self, piece: pa.Table) -> None:
        if self._shape is None:
            self._shape = _Shape(
                self._ctx, self.settings, self._level, self._kind, is_run=SEQUENCE_NUMBER in piece.schema.names
            )
        if self._open is None:
            name = f"{self.settings.prefix}{self._names}-{len(self._done)}{self.settings.suffix}"
            key = self._ctx.layout.data_file(self._partition, self._bucket, name)
            self._open = _OpenFile(Sink(self._ctx.files, key), name, self._shape, self.settings)
        self._open.write(self._shape.stored(piece))
        if self._open.is_full:
            self._close()

    def finish(self) -> list[DataFile]:
        self._close()
        return self._done

    def abandon(self) -> None:
        """Leave nothing behind, as far as the files let it: what stays is an orphan."""
        names = [file.file_name for file in self._done]
        if self._open is not None:
            self._open.sink.discard()
            names.append(self._open.name)  # a put that was given no answer may have happened
        layout = self._ctx.layout
        with suppress(HosuError, OSError):
            self._ctx.files.delete_many([layout.data_file(self._partition, self._bucket, name) for name in names])

    def _close(self) -> None:
        if self._open is None:
            return
        finished = self._open.finish()
        self._open = None
        self._done.append(
            DataFile(
                **(finished | self._sequences(finished)),
                schema_id=self._ctx.schema.id,
                level=self._level,
                creation_time_ms=self._ctx.clock.now_ms(),
                file_source=self._source,
            )
        )

    def _sequences(self, finished: dict[str, Any]) -> dict[str, int]:
        if "min_sequence_number" in finished:
            return {}
        first = self._next_sequence
        self._next_sequence += finished["row_count"]
        return {"min_sequence_number": first, "max_sequence_number": self._next_sequence - 1}


class _Shape:
    """What the files of one call have in common."""

    def __init__(self, ctx: "TableContext", settings: FileSettings, level: int, kind: Kind, *, is_run: bool) -> None:
        schema = ctx.schema
        self.is_run = is_run
        self.fields = file_fields(schema, is_run=is_run, is_thin=settings.is_thin)
        self.values = tuple(schema.fields)
        self.keys = tuple(schema.key_fields) if is_run else ()
        self.schema = stored_schema(self.fields, required_columns(schema, self.fields) if is_run else frozenset())
        kept = frozenset(field.name for field in self.keys) if settings.is_thin else frozenset()
        self.modes = stats_modes(ctx.options, level, kind, [field.name for field in self.values], kept)

    def stored(self, rows: pa.Table) -> pa.Table:
        """Return rows as the file has them."""
        columns = []
        there = set(rows.schema.names)
        for field, stored in zip(self.fields, self.schema, strict=True):
            name = field.name
            if name not in there and name.startswith(KEY_PREFIX):
                name = name.removeprefix(KEY_PREFIX)
            values = rows.column(name)
            columns.append(values if values.type.equals(stored.type) else _cast(values, stored))
        return pa.Table.from_arrays(columns, schema=self.schema)


def _cast(values: pa.ChunkedArray, stored: pa.Field) -> pa.ChunkedArray:
    try:
        return pa.chunked_array([reshaped(chunk, stored.type) for chunk in values.chunks], stored.type)
    except pa.ArrowException as error:
        raise InvalidInputError(
            ErrorKind.ROWS_INVALID,
            f"column {stored.name!r} is {values.type}, which is not stored as {stored.type}: {error}",
            column=stored.name,
        ) from error


class _OpenFile:
    def __init__(self, sink: Sink, name: str, shape: _Shape, settings: FileSettings) -> None:
        self.sink = sink
        self.name = name
        self._shape = shape
        self._settings = settings
        self._rows = self._deletes = 0
        self._first: pa.Table | None = None
        self._last: pa.Table | None = None
        self._writer: _FormatWriter = _WRITERS[settings.format](sink, shape.schema, shape.fields, settings)

    @property
    def is_full(self) -> bool:
        """Whether another file should follow."""
        settings = self._settings
        return self.sink.size_bytes >= settings.target_bytes or self._rows >= settings.target_rows

    def write(self, rows: pa.Table) -> None:
        if self._shape.is_run:
            self._deletes += sum(
                int(np.count_nonzero(chunk.to_numpy(zero_copy_only=False) & 1))
                for chunk in rows.column(VALUE_KIND).chunks
            )
            self._first = rows if self._first is None else self._first
            self._last = rows
        try:
            self._writer.write(rows)
        except pa.ArrowInvalid as error:
            raise InvalidInputError(
                ErrorKind.ROWS_INVALID,
                f"rows cannot be written as {self._settings.format}: {error}",
                format=self._settings.format,
            ) from error
        self._rows += rows.num_rows

    def finish(self) -> dict[str, Any]:
        found = self._writer.finish()
        self.sink.publish()
        shape = self._shape
        value_stats, value_stats_cols = manifest_stats(
            shape.values, found, shape.modes, is_dense=self._settings.is_dense
        )
        described: dict[str, Any] = {
            "file_name": self.name,
            "file_size": self.sink.size_bytes,
            "row_count": self._rows,
            "delete_row_count": self._deletes,
            "value_stats": value_stats,
            "value_stats_cols": value_stats_cols,
            "min_key": EMPTY_ROW,
            "max_key": EMPTY_ROW,
            "key_stats": EMPTY_STATS,
        }
        if shape.is_run:
            assert self._first is not None
            assert self._last is not None
            described["min_key"] = _key(self._first, 0, shape.keys)
            described["max_key"] = _key(self._last, self._last.num_rows - 1, shape.keys)
            modes = [Mode(length=SYSTEM_LENGTH)] * len(shape.keys)
            described["key_stats"] = manifest_stats(shape.keys, found, modes)[0]
            described["min_sequence_number"] = found[SEQUENCE_NUMBER].least
            described["max_sequence_number"] = found[SEQUENCE_NUMBER].greatest
        return described


def _key(rows: pa.Table, row: int, fields: Sequence[DataField]) -> bytes:
    values = [_plain(rows.column(field.name)[row]) for field in fields]
    return encode_serialised(values, [field.type for field in fields])


def _plain(scalar: pa.Scalar) -> Any:  # noqa: ANN401 - a value of any type
    if pa.types.is_temporal(scalar.type):
        return scalar.value
    return scalar.as_py()

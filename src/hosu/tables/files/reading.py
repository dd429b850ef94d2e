"""Data files read under the table's schema of now."""

import io
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal, Protocol, overload

import numpy as np
import pyarrow as pa

from hosu.kernel.errors import CorruptError, ErrorKind, HosuError, UnsupportedError
from hosu.tables.files.avro import AvroFileReader
from hosu.tables.files.columns import SYSTEM_FIELDS
from hosu.tables.files.evolving import Source, evolve_rows, refuse_shredded, sources
from hosu.tables.files.orc import OrcFileReader
from hosu.tables.files.parquet import ParquetFileReader
from hosu.tables.files.pruning import stored_predicate
from hosu.tables.files.settings import FORMATS
from hosu.tables.files.sinks import open_source
from hosu.tables.predicates import Predicate
from hosu.tables.records import DataFile, Partition
from hosu.tables.types import DataField, arrow_schema
from hosu.tables.vectors.codec import Vector

if TYPE_CHECKING:
    from hosu.tables.context import TableContext
    from hosu.tables.schemas import TableSchema

BATCH_ROWS: Final = 65_536
"""Rows of a batch of a reader, unless told otherwise."""

_COMPRESSION_SUFFIXES: Final = frozenset({"gz", "bz2", "deflate", "snappy", "lz4", "zst"})


class _FormatReader(Protocol):
    schema: pa.Schema

    def close(self) -> None: ...

    def read(self, names: Sequence[str], groups: Sequence[int] | None) -> pa.Table: ...

    def batches(
        self, names: Sequence[str], groups: Sequence[int] | None, batch_rows: int, batch_bytes: int | None = None
    ) -> Iterator[pa.RecordBatch]: ...


@overload
def read_file(
    ctx: "TableContext",
    partition: Partition,
    bucket: int,
    file: DataFile,
    columns: Sequence[str] | None = None,
    *,
    predicate: Predicate | None = None,
    vector: Vector | None = None,
    with_system: bool = True,
    exact: bool = False,
    as_reader: Literal[False] = False,
    batch_rows: int = BATCH_ROWS,
    batch_bytes: int | None = None,
    buffer_bytes: int | None = None,
) -> pa.Table: ...


@overload
def read_file(
    ctx: "TableContext",
    partition: Partition,
    bucket: int,
    file: DataFile,
    columns: Sequence[str] | None = None,
    *,
    predicate: Predicate | None = None,
    vector: Vector | None = None,
    with_system: bool = True,
    exact: bool = False,
    as_reader: Literal[True],
    batch_rows: int = BATCH_ROWS,
    batch_bytes: int | None = None,
    buffer_bytes: int | None = None,
) -> pa.RecordBatchReader: ...


def read_file(
    ctx: "TableContext",
    partition: Partition,
    bucket: int,
    file: DataFile,
    columns: Sequence[str] | None = None,
    *,
    predicate: Predicate | None = None,
    vector: Vector | None = None,
    with_system: bool = True,
    exact: bool = False,
    as_reader: bool = False,
    batch_rows: int = BATCH_ROWS,
    batch_bytes: int | None = None,
    buffer_bytes: int | None = None,
) -> pa.Table | pa.RecordBatchReader:
    """Return the rows of a file: columns of the table's schema of now in the order asked for, None for all of them.

    Those of a run have `_SEQUENCE_NUMBER` and `_VALUE_KIND` after them, unless with_system is False. Row groups in
    which the predicate matches nothing are left out; with exact, so are all other rows that do not match. Rows whose
    positions are in vector are left out. With as_reader the rows come in batches of at most batch_rows, and little
    more than a row group is held at a time; the file is opened when the first is asked for. With batch_bytes the
    batches of a Parquet file take about that much in memory at most, however well its values compress. With
    buffer_bytes such a file is read in pieces of that size, or of a page, column by column.
    Raises CorruptError CORRUPT_TABLE, naming file and partition, for a file that is missing or broken.
    """
    reading = _Reading(ctx, partition, bucket, file, columns, predicate, vector, with_system=with_system, exact=exact)
    if as_reader:
        return pa.RecordBatchReader.from_batches(reading.schema, reading.batches(batch_rows, batch_bytes, buffer_bytes))
    with reading.opened(streams=False) as (reader, groups), reading.naming_the_file():
        rows = reader.read(reading.names(reader), groups)
        reading.check_count(rows.num_rows, groups)
        kept = reading.kept(reader, groups)
        return reading.finish(rows if kept is None else rows.filter(pa.array(kept)))


def stored_schema_of(ctx: "TableContext", file: DataFile) -> "TableSchema":
    """Return the schema under which a file was written."""
    return ctx.schema if file.schema_id == ctx.schema.id else ctx.schemas.get(file.schema_id)


@dataclass(frozen=True)
class _Wanted:
    """What is asked of a file, in its own terms."""

    sources: tuple[Source, ...]
    """The columns to hand out, and after them those that only the predicate looks at."""

    shown: int
    """How many of them are handed out."""


class _Reading:
    def __init__(
        self,
        ctx: "TableContext",
        partition: Partition,
        bucket: int,
        file: DataFile,
        columns: Sequence[str] | None,
        predicate: Predicate | None,
        vector: Vector | None,
        *,
        with_system: bool,
        exact: bool,
    ) -> None:
        self._ctx = ctx
        self._partition = partition
        self._file = file
        self._format = format_of(file.file_name)
        self._predicate = predicate
        self._exact = exact and predicate is not None
        self._vector = vector or None
        self.key = self._key(partition, bucket)
        stored = stored_schema_of(ctx, file)
        self._fields = (*SYSTEM_FIELDS, *stored.fields) if ctx.schema.is_primary_key_table else tuple(stored.fields)
        self._group_predicate = (
            None if predicate is None else stored_predicate(predicate, ctx.schema.fields, stored.fields)
        )
        self._stored = stored
        self._wanted = self._want(columns, with_system=with_system and ctx.schema.is_primary_key_table)
        shown = [source.field for source in self._wanted.sources[: self._wanted.shown]]
        self.schema = arrow_schema(shown)

    def _key(self, partition: Partition, bucket: int) -> str:
        if self._file.external_path is not None:
            raise UnsupportedError(
                ErrorKind.UNSUPPORTED,
                f"data file {self._file.external_path!r} lies outside the table's folder, where hosu does not read: "
                "compact the table with the engine that wrote it, without 'data-file.external-paths'",
                path=self._file.external_path,
            )
        return self._ctx.layout.data_file(partition, bucket, self._file.file_name)

    def _want(self, columns: Sequence[str] | None, *, with_system: bool) -> _Wanted:
        schema = self._ctx.schema
        shown: list[DataField] = [schema.field(name) for name in (schema.names if columns is None else columns)]
        if with_system:
            shown += SYSTEM_FIELDS
        hidden = []
        if self._exact and self._predicate is not None:
            named = {field.name for field in shown}
            hidden = [schema.field(name) for name in sorted(self._predicate.columns - named)]
        return _Wanted(tuple(sources([*shown, *hidden], self._fields)), len(shown))

    @contextmanager
    def naming_the_file(self) -> Iterator[None]:
        """Say which file and partition it was that Arrow, or another library, could not read."""
        try:
            yield
        except CorruptError as error:
            if "partition" in error.details:
                raise
            # A store that checks what it hands out names its own blob, not the file.
            raise CorruptError(
                error.kind,
                f"data file {self.key!r} of partition {self._partition_text()}: {error.message}",
                **(error.details | {"key": self.key, "partition": self._partition}),
            ) from error
        except (HosuError, pa.ArrowMemoryError, pa.ArrowCancelled):
            raise
        except (pa.ArrowException, OSError, ValueError, EOFError) as error:
            raise CorruptError(
                ErrorKind.CORRUPT_TABLE,
                f"data file {self.key!r} of partition {self._partition_text()} cannot be read: {_first_line(error)}",
                key=self.key,
                partition=self._partition,
            ) from error

    def _partition_text(self) -> str:
        return self._ctx.layout.partition_path(self._partition).rstrip("/") or "()"

    @contextmanager
    def opened(
        self, *, streams: bool, buffer_bytes: int | None = None
    ) -> Iterator[tuple[_FormatReader, list[int] | None]]:
        """Open the file and pick the row groups that may have matches; None for all."""
        share = len({source.stored for source in self._wanted.sources if source.stored}) / max(1, len(self._fields))
        with self.naming_the_file():
            source = open_source(self._ctx.files, self.key, self._file.file_size, share=share, streams=streams)
            try:
                reader, groups = self._open(source, streams=streams, buffer_bytes=buffer_bytes)
            except BaseException:
                source.close()
                raise
        try:
            yield reader, groups
        finally:
            reader.close()

    def _open(
        self, source: pa.NativeFile, *, streams: bool, buffer_bytes: int | None
    ) -> tuple[_FormatReader, list[int] | None]:
        if self._format == "orc":
            return OrcFileReader(source, self._fields), None
        if self._format == "avro":
            return AvroFileReader(io.BytesIO(source.read()) if not streams else source, self._fields), None
        reader = ParquetFileReader(source, buffer_bytes=buffer_bytes)
        self.check_count(reader.metadata.num_rows, None)
        if self._group_predicate is None:
            return reader, None
        return reader, reader.groups_that_may_match(self._group_predicate, self._stored.fields)

    def check_count(self, rows: int, groups: Sequence[int] | None) -> None:
        """Refuse a file of fewer or more rows than its manifest says: the end of one in Avro may be cut unseen."""
        if groups is None and rows != self._file.row_count:
            raise ValueError(f"it has {rows} rows, its manifest says {self._file.row_count}")

    def names(self, reader: _FormatReader) -> list[str]:
        """Name the columns of the file that are read."""
        names = list(dict.fromkeys(source.stored.name for source in self._wanted.sources if source.stored is not None))
        has = set(reader.schema.names)
        missing = [name for name in names if name not in has]
        if missing:
            raise ValueError(f"it lacks column {missing[0]!r} of schema {self._file.schema_id}")
        for source in self._wanted.sources:
            if source.stored is not None and (source.stored.type.is_nested or source.stored.type.root == "VARIANT"):
                refuse_shredded(source.field.name, source.stored.type, reader.schema.field(source.stored.name).type)
        return names

    def kept(self, reader: _FormatReader, groups: Sequence[int] | None) -> np.ndarray | None:
        """Return which of the rows read are not deleted, None for all of them."""
        if self._vector is None:
            return None
        kept = np.ones(self._file.row_count, dtype=bool)
        if self._vector.max() >= self._file.row_count:
            raise ValueError(f"a deletion vector names row {self._vector.max()} of {self._file.row_count}")
        kept[np.array(self._vector.to_array())] = False
        if groups is None or not isinstance(reader, ParquetFileReader):
            return kept
        starts = np.concatenate([[0], np.cumsum(reader.group_rows())])
        parts = [kept[starts[group] : starts[group + 1]] for group in groups]
        return np.concatenate(parts) if parts else np.zeros(0, dtype=bool)

    def finish(self, rows: pa.Table) -> pa.Table:
        """Bring rows of the file to the columns asked for."""
        found = evolve_rows(rows, self._wanted.sources)
        if self._exact and self._predicate is not None:
            found = found.filter(self._predicate.to_arrow())
        hidden = len(self._wanted.sources) - self._wanted.shown
        return found.select(list(range(self._wanted.shown))) if hidden else found

    def batches(
        self, batch_rows: int, batch_bytes: int | None = None, buffer_bytes: int | None = None
    ) -> Iterator[pa.RecordBatch]:
        with self.opened(streams=True, buffer_bytes=buffer_bytes) as (reader, groups):
            with self.naming_the_file():
                kept = self.kept(reader, groups)
                found = reader.batches(self.names(reader), groups, batch_rows, batch_bytes)
            position = 0
            while (batch := self._next(found)) is not None:
                rows = pa.Table.from_batches([batch])
                if kept is not None:
                    rows = rows.filter(pa.array(kept[position : position + batch.num_rows]))
                position += batch.num_rows
                yield from (part for part in self.finish(rows).to_batches() if part.num_rows)
            with self.naming_the_file():
                self.check_count(position, groups)

    def _next(self, found: Iterator[pa.RecordBatch]) -> pa.RecordBatch | None:
        with self.naming_the_file():
            return next(found, None)


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]


def format_of(file_name: str) -> str:
    """Return the format of a data file by its name; raise UnsupportedError for one that hosu does not read."""
    parts = file_name.rsplit(".", 2)
    found = parts[-2] if len(parts) > 2 and parts[-1] in _COMPRESSION_SUFFIXES else parts[-1]  # noqa: PLR2004
    if found not in FORMATS:
        raise UnsupportedError(
            ErrorKind.UNSUPPORTED,
            f"data file {file_name!r} is in a format that hosu does not read: it reads {', '.join(FORMATS)}",
            file=file_name,
        )
    return found

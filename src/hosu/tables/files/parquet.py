"""Data files in Parquet."""

from collections.abc import Iterator, Sequence
from typing import Final

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from hosu.kernel.errors import ErrorKind, UnsupportedError
from hosu.kernel.limits import KIB
from hosu.tables.files.columns import leaf_count
from hosu.tables.files.int96 import int96_columns, refuse_far
from hosu.tables.files.settings import FileSettings
from hosu.tables.files.sinks import Sink
from hosu.tables.files.statistics import Collector, ColumnStats, chunk_bounds, stats_of_footer
from hosu.tables.predicates import Predicate
from hosu.tables.types import DataField

CODECS: Final = {"none": "none", "snappy": "snappy", "gzip": "gzip", "zstd": "zstd", "lz4": "lz4", "brotli": "brotli"}
"""Paimon's names of compressions, and Parquet's."""

SAMPLE_ROWS: Final = 4_096
"""Rows that decide whether a column of text is worth a dictionary."""

DISTINCT_SHARE_MAX: Final = 0.5
"""A column whose sample has more distinct values than that share of it gets no dictionary."""

DICTIONARY_BYTES: Final = 256 * KIB
"""A dictionary beyond that size is given up: what it still saves in bytes costs more in time."""

PROBE_ROWS: Final = 256
"""Rows that tell how large those after them will be."""

PROBE_BYTES: Final = 64 * KIB
"""Of each column so much is fetched at a time to tell that."""

ALONE_ROWS: Final = 20_000
"""A file of at most that many rows is read by one thread: to wake others takes longer."""

ALONE_BATCH_ROWS: Final = 8_192
"""The same for batches: columns of fewer rows are read faster by one thread than handed to others."""

_DICTIONARIES: Final = frozenset({"PLAIN_DICTIONARY", "RLE_DICTIONARY"})

CODED_VALUE_BYTES: Final = 2
"""A column of text that takes no more than that a value is one of numbers into dictionaries, all of it."""

_TEXT_BYTES_MAX: Final = 2**31 - 1
"""What an array of text holds at most."""

_SIZED: Final = frozenset({"CHAR", "VARCHAR", "BINARY", "VARBINARY"})


class ParquetFileWriter:
    """Writes one Parquet file; every table it is given becomes a row group."""

    def __init__(self, sink: Sink, schema: pa.Schema, fields: Sequence[DataField], settings: FileSettings) -> None:
        compression = settings.compression
        if compression not in CODECS:
            raise UnsupportedError(
                ErrorKind.UNSUPPORTED,
                f"Parquet files with 'file.compression' {compression!r} are not written: use {', '.join(CODECS)}",
                compression=compression,
            )
        self._sink = sink
        self._schema = schema
        self._fields = fields
        self._collector = Collector(fields)
        self._dictionaries = settings.dictionaries
        self._codec = CODECS[compression]
        self._codec_level = settings.codec_level if compression == "zstd" else None
        self._writer: pq.ParquetWriter | None = None

    def write(self, rows: pa.Table) -> None:
        """Write rows, which have the columns of the schema, as one row group."""
        if self._writer is None:
            self._writer = pq.ParquetWriter(
                pa.PythonFile(self._sink, mode="w"),
                self._schema,
                compression=self._codec,
                compression_level=self._codec_level,
                use_dictionary=self._worth(rows),
                dictionary_pagesize_limit=DICTIONARY_BYTES,
                store_schema=False,
                store_decimal_as_integer=True,
                write_time_adjusted_to_utc=True,
                write_page_checksum=True,
            )
        self._writer.write_table(rows, row_group_size=max(1, rows.num_rows))
        self._collector.add(rows)

    def _worth(self, rows: pa.Table) -> list[str] | bool:
        return worth_dictionaries(rows, self._fields) if self._dictionaries is None else self._dictionaries

    def finish(self) -> dict[str, ColumnStats]:
        """Write the footer and return what it says of the columns."""
        assert self._writer is not None
        self._writer.close()
        found = stats_of_footer(self._writer.writer.metadata, self._fields, self._schema)
        self._collector.finish(found)
        return found


def worth_dictionaries(rows: pa.Table, fields: Sequence[DataField]) -> list[str] | bool:
    """Name the columns whose values repeat: text alone, as numbers compress as well without and are written faster."""
    names = []
    for field in fields:
        if field.type.root in _SIZED:
            sample = rows.column(field.name).slice(0, SAMPLE_ROWS)
            if pc.count_distinct(sample).as_py() <= DISTINCT_SHARE_MAX * len(sample):
                names.append(field.name)
    return names or False


class ParquetFileReader:
    """Reads one Parquet file. Errors of Arrow's are the caller's to translate."""

    def __init__(self, source: pa.NativeFile, *, buffer_bytes: int | None = None) -> None:
        self._source = source
        # What is not in memory is fetched ahead, in as few calls as can be: of the row groups that a call asks for.
        # Where that is too much, of each column no more than a buffer is.
        self._fetches_ahead = buffer_bytes is None and not isinstance(source, pa.BufferReader)
        self._file = pq.ParquetFile(
            source, pre_buffer=self._fetches_ahead, buffer_size=buffer_bytes or 0, page_checksum_verification=True
        )
        self.metadata = self._file.metadata
        self._use_threads = self.metadata.num_rows > ALONE_ROWS
        self.schema = self._file.schema_arrow
        self._int96 = int96_columns(self.metadata)

    def close(self) -> None:
        """Let go of the file."""
        self._file.close(force=True)
        self._source.close()

    def read(self, names: Sequence[str], groups: Sequence[int] | None) -> pa.Table:
        """Return the columns of these names of all row groups, or of some."""
        chosen = list(range(self.metadata.num_row_groups) if groups is None else groups)
        self._refuse_far_times(names, chosen)
        coded = self._coded(names, chosen) if self._use_threads else []
        file = self._file
        if coded:
            # Numbers into dictionaries are read at once and looked up at once: twice as fast as value after value.
            file = pq.ParquetFile(
                self._source,
                metadata=self.metadata,
                read_dictionary=coded,
                pre_buffer=self._fetches_ahead,
                page_checksum_verification=True,
            )
        rows = file.read_row_groups(chosen, columns=list(names), use_threads=self._use_threads)
        for name in coded:
            place = rows.schema.get_field_index(name)
            rows = rows.set_column(
                place, self.schema.field(name), _looked_up(rows.column(place), self.schema.field(name).type)
            )
        return rows

    def _coded(self, names: Sequence[str], groups: Sequence[int]) -> list[str]:
        """Name the columns of text whose values are all in dictionaries, as far as their sizes tell."""
        leaves = self._flat_leaves()
        found = []
        for name in names:
            kind = self.schema.field(name).type
            if groups and _is_text(kind):
                chunks = [self.metadata.row_group(group).column(leaves[name]) for group in groups]
                if all(_is_coded(chunk) for chunk in chunks):
                    found.append(name)
        return found

    def batches(
        self, names: Sequence[str], groups: Sequence[int] | None, batch_rows: int, batch_bytes: int | None = None
    ) -> Iterator[pa.RecordBatch]:
        """Yield the same in batches of at most batch_rows rows and about batch_bytes, row group by row group."""
        row_bytes = 0
        for group in range(self.metadata.num_row_groups) if groups is None else groups:
            self._refuse_far_times(names, [group])
            rows = batch_rows
            if batch_bytes is not None:
                row_bytes = max(row_bytes, self._row_bytes(names, group))
                rows = min(max(batch_bytes // max(row_bytes, 1), 1), batch_rows)
            threads = self._use_threads and rows >= ALONE_BATCH_ROWS
            for batch in self._file.iter_batches(rows, row_groups=[group], columns=list(names), use_threads=threads):
                row_bytes = max(row_bytes, batch.nbytes // max(batch.num_rows, 1))
                yield batch

    def _refuse_far_times(self, names: Sequence[str], groups: Sequence[int]) -> None:
        """Refuse times of INT96 that nanoseconds of 64 bits do not hold: Arrow makes others of them, without a word."""
        wanted = [name for name in names if name in self._int96]
        if not wanted:
            return
        file = pq.ParquetFile(self._source, metadata=self.metadata, coerce_int96_timestamp_unit="s")
        for batch in file.iter_batches(row_groups=list(groups), columns=wanted, use_threads=False):
            for name, column in zip(batch.schema.names, batch.columns, strict=True):
                refuse_far(name, column)

    def _row_bytes(self, names: Sequence[str], group: int) -> int:
        """Return about what a row of a row group takes in memory: what the footer says, and the first rows.

        Where a dictionary stands for values, the footer says nothing of how large they are.
        """
        described = self.metadata.row_group(group)
        wanted, coded = set(names), set()
        stored = 0
        for place in range(described.num_columns):
            column = described.column(place)
            name = column.path_in_schema.partition(".")[0]
            if name in wanted:
                stored += column.total_uncompressed_size
                if not _DICTIONARIES.isdisjoint(column.encodings):
                    coded.add(name)
        row_bytes = int(stored // max(described.num_rows, 1))
        if coded and described.num_rows > SAMPLE_ROWS:
            row_bytes += self._coded_bytes(sorted(coded), group)
        return row_bytes

    def _coded_bytes(self, names: Sequence[str], group: int) -> int:
        """Return what columns take a row: by their first rows, or by their dictionaries, as the first may be short."""
        # For a few rows columns are not to be fetched whole.
        file = pq.ParquetFile(
            self._source,
            metadata=self.metadata,
            read_dictionary=[name for name in names if _is_text(self.schema.field(name).type)],
            pre_buffer=False,
            buffer_size=PROBE_BYTES,
            page_checksum_verification=True,
        )
        first = next(file.iter_batches(PROBE_ROWS, row_groups=[group], columns=list(names), use_threads=False))
        row_bytes = 0
        for column in first.columns:
            size_bytes = column.nbytes // len(column)
            if pa.types.is_dictionary(column.type):
                values = column.dictionary
                size_bytes = max(column.dictionary_decode().nbytes // len(column), values.nbytes // max(len(values), 1))
            row_bytes += size_bytes
        return row_bytes

    def group_rows(self) -> list[int]:
        """Return how many rows each row group has."""
        return [self.metadata.row_group(group).num_rows for group in range(self.metadata.num_row_groups)]

    def groups_that_may_match(self, predicate: Predicate, fields: Sequence[DataField]) -> list[int] | None:
        """Return the row groups whose statistics allow a match; None when that is all of them."""
        leaves = self._flat_leaves()
        asked = [field for field in fields if field.name in predicate.columns and field.name in leaves]
        count = self.metadata.num_row_groups
        kept = []
        for group in range(count):
            described = self.metadata.row_group(group)
            bounds = {
                field.name: chunk_bounds(described.column(leaves[field.name]), field, described.num_rows)
                for field in asked
            }
            if predicate.may_match(bounds):
                kept.append(group)
        return None if len(kept) == count else kept

    def _flat_leaves(self) -> dict[str, int]:
        found = {}
        leaf = 0
        for field in self.schema:
            if not pa.types.is_nested(field.type):
                found[field.name] = leaf
            leaf += leaf_count(field.type)
        return found


def _is_text(kind: pa.DataType) -> bool:
    return bool(pa.types.is_string(kind) or pa.types.is_binary(kind))


def _is_coded(chunk: pq.ColumnChunkMetaData) -> bool:
    is_small = chunk.total_uncompressed_size <= CODED_VALUE_BYTES * chunk.num_values
    return is_small and not _DICTIONARIES.isdisjoint(chunk.encodings)


def _looked_up(column: pa.ChunkedArray, kind: pa.DataType) -> pa.ChunkedArray:
    """Return the values that numbers into dictionaries stand for, in as many arrays as it takes to hold them."""
    found: list[pa.Array] = []
    for chunk in column.chunks:
        longest = pc.max(pc.binary_length(chunk.dictionary)).as_py() or 1
        step = max(1, _TEXT_BYTES_MAX // longest)
        found += [chunk.slice(at, step).dictionary_decode() for at in range(0, len(chunk), step)]
    return pa.chunked_array(found, kind)

"""Data files in Parquet."""

from collections.abc import Iterator, Sequence
from typing import Final

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from hosu.kernel.errors import ErrorKind, UnsupportedError
from hosu.kernel.limits import KIB
from hosu.tables.files.columns import leaf_count
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

ALONE_ROWS: Final = 20_000
"""A file of at most that many rows is read by one thread: to wake others takes longer."""

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
        fetches_ahead = buffer_bytes is None and not isinstance(source, pa.BufferReader)
        self._file = pq.ParquetFile(
            source, pre_buffer=fetches_ahead, buffer_size=buffer_bytes or 0, page_checksum_verification=True
        )
        self.metadata = self._file.metadata
        self._use_threads = self.metadata.num_rows > ALONE_ROWS
        self.schema = self._file.schema_arrow

    def close(self) -> None:
        """Let go of the file."""
        self._file.close(force=True)
        self._source.close()

    def read(self, names: Sequence[str], groups: Sequence[int] | None) -> pa.Table:
        """Return the columns of these names of all row groups, or of some."""
        if groups is None:
            return self._file.read(columns=list(names), use_threads=self._use_threads)
        return self._file.read_row_groups(list(groups), columns=list(names), use_threads=self._use_threads)

    def batches(self, names: Sequence[str], groups: Sequence[int] | None, batch_rows: int) -> Iterator[pa.RecordBatch]:
        """Yield the same in batches of at most batch_rows rows, holding no more than a row group of the file."""
        for group in range(self.metadata.num_row_groups) if groups is None else groups:
            yield from self._file.iter_batches(
                batch_rows, row_groups=[group], columns=list(names), use_threads=self._use_threads
            )

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

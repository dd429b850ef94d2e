"""The rows of one split: as a table, or batch by batch in bounded memory."""

from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any

import pyarrow as pa

from hosu.tables.compaction.buckets import key_reader
from hosu.tables.compaction.folding import without_outdated
from hosu.tables.compaction.levels import Levels
from hosu.tables.compaction.ranges import key_ranges as ranges_by_run
from hosu.tables.context import TableContext
from hosu.tables.files.reading import read_file
from hosu.tables.merging import MergeSpec, fold, merge_stream
from hosu.tables.merging.begun import Begun
from hosu.tables.merging.streams import Source
from hosu.tables.options import MergeEngine
from hosu.tables.predicates import Predicate, conjunction
from hosu.tables.reading.pruning import divide
from hosu.tables.reading.splits import Split
from hosu.tables.records import DataFile
from hosu.tables.types import arrow_schema

_ADDING = frozenset({MergeEngine.AGGREGATION, MergeEngine.PARTIAL_UPDATE})
"""Engines that make a new row of an older one and what came to it."""


class SplitReader:
    """Reads splits of a table: some of its columns, and the rows that match."""

    def __init__(self, ctx: TableContext, columns: Sequence[str], where: Predicate | None = None) -> None:
        self._ctx = ctx
        self.columns = list(columns)
        _, self._by_key, self._by_value = divide(ctx.schema, where)
        parts = [part for part in (self._by_key, self._by_value) if part is not None]
        self._where = conjunction(parts) if parts else None
        self._spec = MergeSpec.of(ctx) if ctx.schema.is_primary_key_table else None
        # Where older rows are looked up as rows are compacted, a row holds all that higher levels have of its key.
        self._is_stacked = ctx.options.needs_lookup and ctx.options.merge_engine in _ADDING
        by_value = () if self._by_value is None else sorted(self._by_value.columns)
        self._schema = arrow_schema([ctx.schema.field(name) for name in columns])
        self._merged = [] if self._spec is None else self._spec.needed([*self.columns, *by_value])

    def submit(self, split: Split) -> list[Begun[pa.Table]]:
        """Begin to read the files of a split; `made` makes its rows of them."""
        return [Begun(self._ctx.pool, partial(self._file, split, file)) for file in split.files]

    def table(self, split: Split) -> pa.Table:
        """Return the rows of a split."""
        return self.made(split, [self._file(split, file) for file in split.files])

    def streamed(self, split: Split, memory_bytes: int) -> pa.Table:
        """Return the rows of a split whose files are not held while they are merged."""
        batches = list(self.batches(split, memory_bytes, ahead=False))
        return pa.Table.from_batches(batches, self._schema)

    def made(self, split: Split, tables: Sequence[pa.Table]) -> pa.Table:
        """Return the rows of a split from those of its files, in any order."""
        if not split.needs_merge:
            return pa.concat_tables(tables)
        assert self._spec is not None
        if self._is_stacked:
            tables = without_outdated(
                self._spec.keys, [(file.level, table) for file, table in zip(split.files, tables, strict=True)]
            )
        return self._shown(fold(tables, self._spec, keep_deletes=False, sorted_output=False))

    def batches(self, split: Split, memory_bytes: int, *, ahead: bool = True) -> Iterator[pa.RecordBatch]:
        """Yield the rows of a split, of which about so much is held at a time.

        With `ahead` the pool reads and merges what comes next meanwhile.
        """
        if not split.needs_merge:
            for file in split.files:
                yield from read_file(**self._asked(split, file), as_reader=True)
            return
        assert self._spec is not None
        if self._is_stacked:
            yield from self._stacked_batches(split, memory_bytes)
            return
        sources = [self._source(split, run) for run in split.runs]
        merged = merge_stream(
            sources,
            self._spec,
            memory_bytes=memory_bytes,
            keep_deletes=False,
            sorted_output=False,
            pool=self._ctx.pool if ahead else None,
        )
        for batch in merged:
            shown = self._shown(pa.Table.from_batches([batch]))
            yield from (part for part in shown.to_batches() if part.num_rows)

    def _stacked_batches(self, split: Split, memory_bytes: int) -> Iterator[pa.RecordBatch]:
        """Yield as `batches` does the rows of a split that is read level by level."""
        assert self._spec is not None
        levels = Levels.of(split.files, 1, key_reader(self._ctx))
        runs = list(reversed(levels.runs))
        sources = [self._source(split, run.files)() for run in runs]
        schema = read_file(**self._asked(split, split.files[0]), as_reader=True).schema
        for tables in ranges_by_run(sources, schema, self._spec.keys, memory_bytes=memory_bytes):
            stacked = [(run.level, table) for run, table in zip(runs, tables, strict=True)]
            kept = without_outdated(self._spec.keys, stacked)
            rows = self._shown(fold(kept, self._spec, keep_deletes=False, sorted_output=False))
            yield from (part for part in rows.to_batches() if part.num_rows)

    def _source(self, split: Split, run: tuple[DataFile, ...]) -> Source:
        def opened() -> Iterator[pa.RecordBatch]:
            for file in run:
                yield from read_file(**self._asked(split, file), as_reader=True)

        return opened

    def _file(self, split: Split, file: DataFile) -> pa.Table:
        return read_file(**self._asked(split, file))

    def _asked(self, split: Split, file: DataFile) -> dict[str, Any]:
        """Say what to read of a file. Before rows are merged only the key can decide about them."""
        where = self._by_key if split.needs_merge else self._where
        return {
            "ctx": self._ctx,
            "partition": split.partition,
            "bucket": split.bucket,
            "file": file,
            "columns": self._merged if split.needs_merge else self.columns,
            "predicate": where,
            "vector": split.vectors.get(file.file_name),
            "with_system": split.needs_merge,
            "exact": where is not None,
        }

    def _shown(self, merged: pa.Table) -> pa.Table:
        """Leave out rows whose merged values do not match, and columns that were needed only to merge."""
        if self._by_value is not None:
            merged = merged.filter(self._by_value.to_arrow())
        return merged.select(self.columns)

"""The rows of one split: as a table, or batch by batch in bounded memory."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any

import pyarrow as pa

from hosu.tables.compaction.buckets import key_reader
from hosu.tables.compaction.folding import without_outdated
from hosu.tables.compaction.levels import Levels
from hosu.tables.context import TableContext
from hosu.tables.files.columns import leaf_count
from hosu.tables.files.reading import read_file
from hosu.tables.files.sharing import READ_STAGES, Shares, shares_of, usable
from hosu.tables.merging import MergeSpec, fold, merge_stream
from hosu.tables.merging.begun import Begun
from hosu.tables.merging.overlay import Overlay, newest_wins, without_deletes
from hosu.tables.merging.ranges import key_ranges
from hosu.tables.merging.streams import Source
from hosu.tables.options import MergeEngine
from hosu.tables.pooling import run_all
from hosu.tables.predicates import Predicate, conjunction
from hosu.tables.reading.pruning import divide
from hosu.tables.reading.splits import Split
from hosu.tables.reading.splits import without_deletes as has_no_deletes
from hosu.tables.records import DataFile
from hosu.tables.types import arrow_schema

_ADDING = frozenset({MergeEngine.AGGREGATION, MergeEngine.PARTIAL_UPDATE})
"""Engines that make a new row of an older one and what came to it."""

_NEWER_SHARE = 8
"""Of the memory, what newer files take when they are held may be an eighth: folding them takes that again, twice."""

_SWELL = 6
"""How much larger than its file its rows are taken to be in memory."""

_VALUE_BYTES = 8
"""What a value takes in memory at least."""


@dataclass(frozen=True)
class _Layers:
    """The files of a split as one run and what lies over it."""

    base: tuple[DataFile, ...]
    newer: tuple[DataFile, ...]

    replaces: bool
    """Whether of a key the newer row alone counts."""

    is_plain: bool
    """Whether the base does without the system columns: no row of it is a delete, nor newer than one of the others."""

    @cached_property
    def below(self) -> frozenset[str]:
        """The names of the base's files."""
        return frozenset(file.file_name for file in self.base)


def _layers(split: Split, spec: MergeSpec) -> _Layers | None:
    """Return the run of a split that is worth being looked up in, and the others; None when there is none."""
    base = split.runs[0]
    newer = tuple(file for run in split.runs[1:] for file in run)
    if sum(file.row_count for file in base) < sum(file.row_count for file in newer):
        return None
    last = max(file.max_sequence_number for file in base)
    is_before = all(last < file.min_sequence_number for file in newer)
    return _Layers(base, newer, is_before and newest_wins(spec), is_before and all(map(has_no_deletes, base)))


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
        layers = self._layers(split)
        return [Begun(self._ctx.pool, partial(self._file, split, file, layers)) for file in split.files]

    def table(self, split: Split) -> pa.Table:
        """Return the rows of a split."""
        layers = self._layers(split)
        return self.made(split, [self._file(split, file, layers) for file in split.files])

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
        layers = self._layers(split)
        if layers is None:
            return self._shown(fold(tables, self._spec, keep_deletes=False, sorted_output=False))
        base, newer = tables[: len(layers.base)], tables[len(layers.base) :]
        return pa.concat_tables(self._overlaid(layers, [pa.concat_tables(base)], newer, is_whole=True))

    def _overlaid(
        self, layers: _Layers, base: Iterable[pa.Table], newer: Sequence[pa.Table], *, is_whole: bool
    ) -> Iterator[pa.Table]:
        """Yield what becomes of the rows of a base, which come whole or in the order of the key, and of newer ones."""
        assert self._spec is not None
        overlay = Overlay(newer, self._spec, replaces=layers.replaces) if newer else None
        for rows in base:
            found = without_deletes(rows) if overlay is None else overlay.over(rows, is_last=is_whole)
            # Where rows of the base do not change, the condition was asked when they were read.
            yield found.select(self.columns) if layers.replaces else self._shown(found)
        if overlay is not None:
            yield self._shown(overlay.rest())

    def _layers(self, split: Split) -> _Layers | None:
        if self._spec is None or not split.needs_merge or self._is_stacked:
            return None
        return _layers(split, self._spec)

    def batches(self, split: Split, memory_bytes: int, *, ahead: bool = True) -> Iterator[pa.RecordBatch]:
        """Yield the rows of a split, of which about so much is held at a time.

        With `ahead` the pool reads and merges what comes next meanwhile.
        """
        if not split.needs_merge:
            for file in split.files:
                shares = self._shares(split, [(file,)], memory_bytes)
                yield from self._source(split, (file,), shares)()
            return
        assert self._spec is not None
        if self._is_stacked:
            yield from self._stacked_batches(split, memory_bytes)
            return
        layers = self._layers(split)
        newer = None if layers is None else self._newer(split, layers, memory_bytes, ahead=ahead)
        if layers is not None and newer is not None:
            shares = self._shares(split, [layers.base], memory_bytes)
            base = (pa.Table.from_batches([batch]) for batch in self._source(split, layers.base, shares, layers)())
            for rows in self._overlaid(layers, base, newer, is_whole=False):
                yield from (part for part in rows.to_batches() if part.num_rows)
            return
        shares = self._shares(split, split.runs, memory_bytes)
        merged = merge_stream(
            [self._source(split, run, shares) for run in split.runs],
            self._stored_schema(split),
            self._spec,
            held_bytes=shares.held_bytes,
            keep_deletes=False,
            sorted_output=False,
            pool=self._ctx.pool if ahead else None,
        )
        for batch in merged:
            shown = self._shown(pa.Table.from_batches([batch]))
            yield from (part for part in shown.to_batches() if part.num_rows)

    def _newer(self, split: Split, layers: _Layers, memory_bytes: int, *, ahead: bool) -> list[pa.Table] | None:
        """Read what lies over a base; None where that takes too much, as text that a file has in few bytes."""
        files = layers.newer
        most_bytes = memory_bytes // _NEWER_SHARE
        if self._weight(files) > most_bytes:
            return None
        schema = self._stored_schema(split)
        shares = self._shares(split, [(file,) for file in files], memory_bytes)
        held_bytes = [0] * len(files)

        def read(place: int) -> pa.Table | None:
            batches: list[pa.RecordBatch] = []
            for batch in self._source(split, (files[place],), shares, layers)():
                held_bytes[place] += batch.nbytes
                if sum(held_bytes) > most_bytes:
                    return None
                batches.append(batch)
            return pa.Table.from_batches(batches, schema)

        tasks = [partial(read, place) for place in range(len(files))]
        tables = run_all(self._ctx.pool, tasks) if ahead else [task() for task in tasks]
        found = [table for table in tables if table is not None]
        return found if len(found) == len(files) else None

    def _stacked_batches(self, split: Split, memory_bytes: int) -> Iterator[pa.RecordBatch]:
        """Yield as `batches` does the rows of a split that is read level by level."""
        assert self._spec is not None
        levels = Levels.of(split.files, 1, key_reader(self._ctx))
        runs = list(reversed(levels.runs))
        shares = self._shares(split, [run.files for run in runs], memory_bytes)
        sources = [self._source(split, run.files, shares)() for run in runs]
        schema = self._stored_schema(split)
        for tables in key_ranges(sources, schema, self._spec.keys, held_bytes=shares.held_bytes):
            stacked = [(run.level, table) for run, table in zip(runs, tables, strict=True)]
            kept = without_outdated(self._spec.keys, stacked)
            rows = self._shown(fold(kept, self._spec, keep_deletes=False, sorted_output=False))
            yield from (part for part in rows.to_batches() if part.num_rows)

    def _source(self, split: Split, run: tuple[DataFile, ...], shares: Shares, layers: _Layers | None = None) -> Source:
        def opened() -> Iterator[pa.RecordBatch]:
            for file in run:
                yield from read_file(
                    **self._asked(split, file, layers),
                    as_reader=True,
                    batch_bytes=shares.batch_bytes,
                    buffer_bytes=shares.buffer_bytes,
                )

        return opened

    def _shares(self, split: Split, runs: Sequence[Sequence[DataFile]], memory_bytes: int) -> Shares:
        """Share memory out among runs that are read side by side."""
        schema = self._stored_schema(split)
        names = {*self._ctx.schema.names, *schema.names}
        leaves = {name: leaf_count(schema.field(name).type) for name in schema.names}
        others = sum(leaf_count(self._ctx.schema.arrow.field(name).type) for name in names - leaves.keys())
        count = sum(leaves.values())
        return shares_of(runs, count, usable(memory_bytes), of_leaves=count + others, stages=READ_STAGES)

    def _stored_schema(self, split: Split) -> pa.Schema:
        """Return the columns that are read of the files of a split, unless they lie below others."""
        schema: pa.Schema = read_file(**self._asked(split, split.files[0]), as_reader=True).schema
        return schema

    def _weight(self, files: Sequence[DataFile]) -> int:
        rows, size_bytes = sum(file.row_count for file in files), sum(file.file_size for file in files)
        return max(size_bytes * _SWELL, rows * _VALUE_BYTES * len(self._merged))

    def _file(self, split: Split, file: DataFile, layers: _Layers | None) -> pa.Table:
        return read_file(**self._asked(split, file, layers))

    def _asked(self, split: Split, file: DataFile, layers: _Layers | None = None) -> dict[str, Any]:
        """Say what to read of a file. Before rows are merged only the key can decide about them."""
        columns, where, with_system = self.columns, self._where, False
        if split.needs_merge:
            columns, where, with_system = self._merged, self._by_key, True
        if layers is not None and file.file_name in layers.below:
            with_system = not layers.is_plain
            if layers.replaces:
                assert self._spec is not None
                columns, where = list(dict.fromkeys([*self.columns, *self._spec.keys])), self._where
        return {
            "ctx": self._ctx,
            "partition": split.partition,
            "bucket": split.bucket,
            "file": file,
            "columns": columns,
            "predicate": where,
            "vector": split.vectors.get(file.file_name),
            "with_system": with_system,
            "exact": where is not None,
        }

    def _shown(self, merged: pa.Table) -> pa.Table:
        """Leave out rows whose merged values do not match, and columns that were needed only to merge."""
        if self._by_value is not None:
            merged = merged.filter(self._by_value.to_arrow())
        return merged.select(self.columns)

"""Looking up what higher levels hold of keys: their rows, and where in which file those are."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from hosu.tables.compaction.levels import Key, KeyOf, Run, comparable
from hosu.tables.compaction.matching import Positions, is_in
from hosu.tables.files.reading import read_file
from hosu.tables.files.sharing import BUFFER_BYTES_MAX
from hosu.tables.records import DataFile, Partition
from hosu.tables.vectors import Vector

if TYPE_CHECKING:
    from hosu.tables.context import TableContext

_SHARE = 16
"""Of the memory allowed, how much of keys is held of a file at once."""


@dataclass(frozen=True)
class Found:
    """What was found of the keys that were looked up."""

    rows: pa.Table
    """A row per key, as runs have them; the key's columns alone where values were not asked for."""

    places: dict[str, Positions] = field(default_factory=dict)
    """Where the rows are: positions by the names of files."""


@dataclass(frozen=True)
class Older:
    """The runs of a bucket above what a compaction writes, the newest first."""

    ctx: "TableContext"
    partition: Partition
    bucket: int
    runs: Sequence[Run]
    vectors: Mapping[str, Vector]
    key_of: KeyOf
    schema: pa.Schema
    """That of runs."""

    memory_bytes: int

    def find(self, wanted: Sequence[pa.Table], *, with_values: bool) -> Found:
        """Look for keys; the newest row of each counts. What deletion vectors leave out is not there."""
        keys = list(self.ctx.schema.trimmed_keys)
        schema = self.schema if with_values else pa.schema([self.schema.field(name) for name in keys])
        tables = [table.select(keys) for table in wanted if table.num_rows]
        rows: list[pa.Table] = []
        places: dict[str, Positions] = {}
        if tables:
            low = min(key_at(table, keys, 0) for table in tables)
            high = max(key_at(table, keys, table.num_rows - 1) for table in tables)
            left = pa.concat_tables(tables)
            for run in self.runs:
                begun = len(rows)
                for file in run.files:
                    if self._may_hold(file, low, high):
                        self._search(file, left, schema, rows, places)
                if len(rows) > begun:
                    gone = pa.concat_tables([table.select(keys) for table in rows[begun:]])
                    left = left.filter(pa.array(~is_in(left, gone, keys)))
                if not left.num_rows:
                    break
        return Found(pa.concat_tables([schema.empty_table(), *rows]), places)

    def _may_hold(self, file: DataFile, low: Key, high: Key) -> bool:
        return self.key_of(file.min_key) <= high and self.key_of(file.max_key) >= low

    def _search(
        self, file: DataFile, wanted: pa.Table, schema: pa.Schema, rows: list[pa.Table], places: dict[str, Positions]
    ) -> None:
        """Add the rows of a file that are wanted, and their positions, to what was found."""
        keys = list(self.ctx.schema.trimmed_keys)
        found: list[Positions] = []
        held: list[pa.Table] = []
        with_values = len(schema) > len(keys)
        start = 0
        for table in self._tables(file, keys):
            hits = np.flatnonzero(is_in(table, wanted, keys))
            hits = self._alive(file, start, hits)
            if len(hits):
                found.append(start + hits)
                if not with_values:
                    held.append(table.take(pa.array(hits)))
            start += table.num_rows
        if found:
            places[file.file_name] = np.concatenate(found)
            rows += self._rows_at(file, places[file.file_name], schema) if with_values else held

    def _alive(self, file: DataFile, start: int, hits: Positions) -> Positions:
        vector = self.vectors.get(file.file_name)
        if not vector or not len(hits):
            return hits
        return hits[np.fromiter((int(start + hit) not in vector for hit in hits), np.bool_, len(hits))]

    def _rows_at(self, file: DataFile, positions: Positions, schema: pa.Schema) -> list[pa.Table]:
        rows = []
        start = 0
        for table in self._tables(file, None):
            first, end = np.searchsorted(positions, (start, start + table.num_rows))
            if end > first:
                rows.append(table.select(schema.names).take(pa.array(positions[first:end] - start)))
            start += table.num_rows
        return rows

    def _tables(self, file: DataFile, columns: Sequence[str] | None) -> Iterator[pa.Table]:
        """Read a file, all rows of it, a part of the memory allowed at a time."""
        reader = read_file(
            self.ctx,
            self.partition,
            self.bucket,
            file,
            columns,
            with_system=columns is None,
            as_reader=True,
            batch_bytes=self.memory_bytes // (2 * _SHARE),
            buffer_bytes=BUFFER_BYTES_MAX,
        )
        batches: list[pa.RecordBatch] = []
        held_bytes = 0
        for batch in reader:
            batches.append(batch)
            held_bytes += batch.nbytes
            if held_bytes >= self.memory_bytes // _SHARE:
                yield pa.Table.from_batches(batches)
                batches, held_bytes = [], 0
        if batches:
            yield pa.Table.from_batches(batches)


def key_at(table: pa.Table, keys: Sequence[str], row: int) -> Key:
    """Return the key of a row as one that compares as Paimon compares it."""
    return comparable(_value(table[name][row]) for name in keys)


def _value(scalar: pa.Scalar) -> object:
    kind = scalar.type
    return scalar.value if pa.types.is_temporal(kind) else scalar.as_py()

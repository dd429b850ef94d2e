"""The rows of changelog and delta files, with their kinds."""

from collections.abc import Iterator, Sequence

import numpy as np
import pyarrow as pa

from hosu.tables.context import TableContext
from hosu.tables.files.reading import read_file
from hosu.tables.manifests.live import Which, live_entries, partition_values
from hosu.tables.predicates import Predicate, split
from hosu.tables.reading.pruning import PartitionFilter
from hosu.tables.records import VALUE_KIND, FileKind, ManifestEntry, RowKind, Snapshot
from hosu.tables.types import arrow_schema

ROW_KIND = "_ROW_KIND"
"""The column of changes that says what a row is: +I, -U, +U or -D."""

_SYMBOLS = pa.array([kind.symbol for kind in RowKind], pa.string())


class ChangeReader:
    """Reads what snapshots changed: some of the columns, of the rows that match."""

    def __init__(self, ctx: TableContext, columns: Sequence[str] | None, where: Predicate | None) -> None:
        schema = ctx.schema
        self._ctx = ctx
        fields = [schema.field(name) for name in (schema.names if columns is None else columns)]
        self.columns = [field.name for field in fields]
        self.where = where
        self._by_partition, self._rest = split(where, schema.partition_keys)
        self.schema = arrow_schema(fields).append(pa.field(ROW_KIND, pa.string(), nullable=False))

    def batches(self, snapshot: Snapshot, which: Which) -> Iterator[pa.Table]:
        """Yield the rows of a snapshot's changelog or delta, bucket by bucket in the order they came about."""
        for entry in self._entries(snapshot, which):
            batches = read_file(
                self._ctx,
                partition_values(self._ctx, entry.partition),
                entry.bucket,
                entry.file,
                self.columns,
                predicate=self._rest,
                exact=self._rest is not None,
                as_reader=True,
            )
            for batch in batches:
                yield self._shown(pa.Table.from_batches([batch]))

    def _entries(self, snapshot: Snapshot, which: Which) -> list[ManifestEntry]:
        condition = None
        if self._by_partition is not None:
            condition = PartitionFilter(self._by_partition, self._ctx.schema.partition_fields)
        entries = live_entries(self._ctx, snapshot, partitions=condition, which=which)
        added = [entry for entry in entries if entry.kind is FileKind.ADD]
        return sorted(added, key=_place)

    def _shown(self, rows: pa.Table) -> pa.Table:
        if VALUE_KIND not in rows.column_names:
            return self.marked(rows, RowKind.INSERT)
        symbols = _SYMBOLS.take(rows.column(VALUE_KIND).combine_chunks())
        return pa.table([*rows.select(self.columns).columns, symbols], schema=self.schema)

    def marked(self, rows: pa.Table, kind: RowKind) -> pa.Table:
        """Return rows as changes that are all of one kind."""
        symbols = _SYMBOLS.take(pa.array(np.full(rows.num_rows, kind, np.int8)))
        return pa.table([*rows.select(self.columns).columns, symbols], schema=self.schema)


def _place(entry: ManifestEntry) -> tuple[bytes, int, int, int, str]:
    file = entry.file
    return (entry.partition, entry.bucket, file.min_sequence_number, file.max_sequence_number, file.file_name)

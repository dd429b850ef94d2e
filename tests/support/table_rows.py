"""What a table holds, read straight from its files."""

from collections.abc import Mapping, Sequence
from itertools import count
from typing import Any, Protocol

import pyarrow as pa

from hosu.tables.catalog import Catalog
from hosu.tables.context import TableContext
from hosu.tables.files import read_file
from hosu.tables.manifests import live_entries, partition_values
from hosu.tables.merging import MergeSpec, fold
from hosu.tables.records import VALUE_KIND, Partition, Snapshot
from hosu.tables.snapshots import find
from hosu.tables.types import DataField
from hosu.tables.vectors import vectors_of
from hosu.tables.writing.kinds import SYMBOLS

TICKS = pa.schema([("id", pa.int64()), ("price", pa.float64()), ("note", pa.string())])


class MakeTable(Protocol):
    """Makes a table of a name of its own, and opens it."""

    def __call__(
        self,
        keys: Sequence[str] = ("id",),
        *,
        partitions: Sequence[str] = (),
        schema: pa.Schema | Sequence[DataField] = TICKS,
        options: Mapping[str, str] | None = None,
    ) -> TableContext:
        """Return the table; in one bucket, unless options say otherwise."""
        ...


def table_maker(catalog: Catalog, defaults: Mapping[str, str] | None = None) -> MakeTable:
    """Return what makes tables in the database `d` of a catalog, with these options unless others are given."""
    numbers = count(1)

    def make(
        keys: Sequence[str] = ("id",),
        *,
        partitions: Sequence[str] = (),
        schema: pa.Schema | Sequence[DataField] = TICKS,
        options: Mapping[str, str] | None = None,
    ) -> TableContext:
        name = f"d.t{next(numbers)}"
        given = {"bucket": "1" if keys else "-1", **(defaults or {}), **(options or {})}
        catalog.create_table(name, schema, partition_keys=partitions, primary_keys=keys, options=given)
        return catalog.open(name)

    return make


def latest_of(ctx: TableContext) -> Snapshot:
    """Return the latest snapshot of a table that has one."""
    found = find.latest(ctx)
    assert found is not None
    return found


def runs_of(ctx: TableContext, *, bucket: int | None = None, partition: Partition | None = None) -> list[pa.Table]:
    """Return the runs of the latest snapshot, the oldest first, straight from the files."""
    snapshot = find.latest(ctx)
    if snapshot is None:
        return []
    entries = live_entries(
        ctx,
        snapshot,
        buckets=None if bucket is None else {bucket},
        partitions=None if partition is None else [partition],
    )
    entries.sort(key=lambda entry: (-entry.file.level, entry.file.min_sequence_number))
    runs = []
    for entry in entries:
        values = partition_values(ctx, entry.partition)
        vectors = vectors_of(ctx, snapshot, values, entry.bucket)
        runs.append(read_file(ctx, values, entry.bucket, entry.file, vector=vectors.get(entry.file.file_name)))
    return runs


def rows_of(ctx: TableContext) -> list[tuple[Any, ...]]:
    """Return the rows of the latest snapshot in the order of their values: merged where the table has keys."""
    snapshot = find.latest(ctx)
    if snapshot is None:
        return []
    rows: list[tuple[Any, ...]] = []
    for key in {entry.partition for entry in live_entries(ctx, snapshot)}:
        runs = runs_of(ctx, partition=partition_values(ctx, key))
        if ctx.schema.is_primary_key_table:
            runs = [fold(runs, MergeSpec.of(ctx), keep_deletes=False, sorted_output=True)]
        rows += [tuple(row[name] for name in ctx.schema.names) for run in runs for row in run.to_pylist()]
    return sorted(rows, key=repr)


def changelog_of(ctx: TableContext) -> list[tuple[Any, ...]]:
    """Return the changelog of every snapshot: kind and values, in the order of snapshots, keys and sequence numbers."""
    found: list[tuple[Any, ...]] = []
    for snapshot in find.snapshots(ctx):
        for entry in live_entries(ctx, snapshot, which="changelog"):
            values = partition_values(ctx, entry.partition)
            rows = read_file(ctx, values, entry.bucket, entry.file).to_pylist()
            found += [(SYMBOLS[row[VALUE_KIND]], *(row[name] for name in ctx.schema.names)) for row in rows]
    return found


def ticks(*rows: tuple[Any, ...]) -> pa.Table:
    """Return rows of TICKS."""
    columns = list(zip(*rows, strict=True)) or [(), (), ()]
    return pa.table(dict(zip(TICKS.names, map(list, columns), strict=True)), schema=TICKS)

"""What differs between two snapshots, found by comparing their rows: for what has no changelog."""

from collections.abc import Iterator
from typing import TypeAlias

import numpy as np
import pyarrow as pa

from hosu.kernel.errors import ErrorKind, UnsupportedError
from hosu.tables.compaction.matching import match, same_values
from hosu.tables.context import TableContext
from hosu.tables.manifests.live import live_entries, partition_values
from hosu.tables.reading.changerows import ChangeReader
from hosu.tables.reading.scan import Scan
from hosu.tables.records import Partition, RowKind, Snapshot


def differences(
    ctx: TableContext, reader: ChangeReader, before: Snapshot | None, after: Snapshot, *, sees_all: bool = False
) -> Iterator[pa.Table]:
    """Yield changes that lead from one snapshot to another, bucket by bucket; buckets of the same files are not read.

    Where a row may have come into another bucket, what it can have moved between is compared as a whole: a -D would
    come after the +I of the same key otherwise.

    With `sees_all` rows count before they are compacted, of tables too whose readers see them only then.
    Of rows whose values changed only in columns that are not asked for there is nothing. UNSUPPORTED for a table
    without primary key: its rows cannot be told apart.
    """
    if not ctx.schema.is_primary_key_table:
        raise UnsupportedError(
            ErrorKind.UNSUPPORTED,
            f"{ctx.identifier} has no primary key, so that two of its snapshots cannot be compared row by row: "
            "read its delta instead",
        )
    old, new = _files(ctx, before), _files(ctx, after)
    changed = (place for place in sorted(old.keys() | new.keys(), key=repr) if old.get(place) != new.get(place))
    if not set(ctx.schema.partition_keys) <= set(ctx.schema.primary_keys):
        places: list[_Place] = [(None, None)] if any(True for _ in changed) else []
    else:
        totals = _totals(old), _totals(new)
        rescaled = {values for values in totals[0].keys() & totals[1].keys() if totals[0][values] != totals[1][values]}
        places = list(dict.fromkeys((place[0], None if place[0] in rescaled else place[1]) for place in changed))
    for place in places:
        yield from _of_place(ctx, reader, before, after, place, sees_all=sees_all)


_Place: TypeAlias = tuple[Partition | None, int | None]
"""A partition and a bucket: None is all of them."""

_Files: TypeAlias = dict[tuple[Partition, int], set[tuple[str, int, int]]]


def _files(ctx: TableContext, snapshot: Snapshot | None) -> _Files:
    found: _Files = {}
    for entry in live_entries(ctx, snapshot) if snapshot is not None else ():
        place = (partition_values(ctx, entry.partition), entry.bucket)
        found.setdefault(place, set()).add((entry.file.file_name, entry.file.level, entry.total_buckets))
    return found


def _totals(files: _Files) -> dict[Partition, int]:
    return {partition: total for (partition, _), there in files.items() for _, _, total in there}


def _of_place(
    ctx: TableContext,
    reader: ChangeReader,
    before: Snapshot | None,
    after: Snapshot,
    place: _Place,
    *,
    sees_all: bool,
) -> Iterator[pa.Table]:
    keys = ctx.schema.trimmed_keys
    wanted = list(dict.fromkeys([*reader.columns, *keys]))
    partitions = None if place[0] is None else [place[0]]
    buckets = None if place[1] is None else [place[1]]
    old, new = (
        Scan(ctx, snapshot, wanted, reader.where, partitions=partitions, buckets=buckets, sees_all=sees_all).to_arrow()
        for snapshot in (before, after)
    )
    position = match(new, old, keys)
    was = position >= 0
    kept = np.zeros(old.num_rows, np.bool_)
    kept[position[was]] = True
    updated = np.flatnonzero(was)
    older, newer = old.take(pa.array(position[updated])), new.take(pa.array(updated))
    changed = np.flatnonzero(~same_values(older, newer, [name for name in wanted if name not in keys]))
    parts = [
        reader.marked(old.filter(pa.array(~kept)), RowKind.DELETE),
        reader.marked(older.take(pa.array(changed)), RowKind.UPDATE_BEFORE),
        reader.marked(newer.take(pa.array(changed)), RowKind.UPDATE_AFTER),
        reader.marked(new.filter(pa.array(~was)), RowKind.INSERT),
    ]
    # A row's -U comes right before its +U.
    order = np.arange(2 * len(changed)).reshape(2, -1).T.reshape(-1)
    updates = pa.concat_tables(parts[1:3]).take(pa.array(order))
    for rows in (parts[0], updates, parts[3]):
        if rows.num_rows:
            yield rows

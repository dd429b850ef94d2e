"""Deletes and updates in tables without keys.

Files that hold such rows are written anew without them, or, in tables with deletion vectors, marked where the rows lie.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from hosu.tables.commit import commit, is_definite
from hosu.tables.files.pruning import file_filter
from hosu.tables.files.reading import read_file
from hosu.tables.files.writing import write_files
from hosu.tables.freshness import current
from hosu.tables.manifests import live_entries, partition_values
from hosu.tables.pooling import run_all
from hosu.tables.predicates import Always, Predicate
from hosu.tables.records import BucketChange, DataFile, Partition, Snapshot
from hosu.tables.vectors import DELETION_VECTORS, Vector, new_vector, vectors_of, write_vectors
from hosu.tables.writing.looking import Mask, partition_may_match, positions_where
from hosu.tables.writing.pending import discard_change
from hosu.tables.writing.resequencing import check_current
from hosu.tables.writing.writer import TableWriter

if TYPE_CHECKING:
    from hosu.tables.context import TableContext

Pick = Callable[[pa.Table], Mask]
"""Says of each row whether it is one of those; called by several threads."""

Remake = Callable[[pa.Table], pa.Table]
"""Returns rows with their new values."""


_UNPACKED = 8
"""How much larger than its file rows may be: no more files than fit so are rewritten side by side."""


@dataclass
class _Bucket:
    """What is done to one bucket."""

    partition: Partition
    bucket: int
    total: int
    vectors: dict[str, Vector] = field(default_factory=dict)
    files: list[DataFile] = field(default_factory=list)


@dataclass
class _Outcome:
    """What is done to one file."""

    count: int = 0
    gone: bool = False
    """Whether the file goes: no row of it stays in it, or the others are written anew."""

    vector: Vector | None = None
    changed: list[pa.Table] = field(default_factory=list)
    """Rows with their new values, to be written where they belong now."""


@dataclass(frozen=True)
class _Asked:
    """What is asked for."""

    where: Predicate | None
    remake: Remake | None
    pick: Pick | None


def rewrite(
    ctx: "TableContext",
    where: Predicate | None,
    remake: Remake | None,
    *,
    pick: Pick | None = None,
    inserts: Callable[[], pa.Table | None] | None = None,
) -> tuple[int, list[Snapshot]]:
    """Delete the rows that match, or give them new values, once; return how many, and the snapshots of it.

    With `pick`, those of them that it says. What `inserts` returns in the end is added, and counted too.
    Raises ConflictError COMMIT_CONFLICT when others changed the same files meanwhile, or with `inserts` the buckets
    that these go to, and nothing is changed then.
    """
    with TableWriter(current(ctx), strict=True) as writer:
        snapshot = writer.rest()
        context = writer.context
        changes: list[BucketChange] = []

        def publish(more: list[BucketChange]) -> list[Snapshot]:
            # What is inserted was found missing: nobody may have put it where it goes meanwhile.
            guard = writer.check_base if inserts is not None else None
            return commit(context, _joined(changes, more), identifier=1, check_from=snapshot, guard=guard)

        is_asked = False
        try:
            asked = _Asked(where, remake, pick)
            buckets = [] if snapshot is None else _buckets(context, snapshot, where)
            count = sum(_rewrite_bucket(context, bucket, asked, writer, changes) for bucket in buckets)
            new = inserts() if inserts is not None else None
            if new is not None:
                writer.write(new)
                count += new.num_rows
            if not count:
                return 0, []
            writer.prepare()
            is_asked = True
            return count, writer.commit_by(publish)
        except BaseException as error:
            if not is_asked or is_definite(error):
                for change in changes:
                    discard_change(context, change)
            raise


def _buckets(ctx: "TableContext", snapshot: Snapshot, where: Predicate | None) -> list[_Bucket]:
    check_current(ctx, snapshot)
    found: dict[tuple[bytes, int], _Bucket] = {}
    wanted: dict[bytes, bool] = {}
    for entry in live_entries(ctx, snapshot, file_filter=file_filter(ctx, where)):
        if entry.partition not in wanted:
            wanted[entry.partition] = partition_may_match(ctx, where, entry.partition)
        if not wanted[entry.partition]:
            continue
        place = (entry.partition, entry.bucket)
        if place not in found:
            partition = partition_values(ctx, entry.partition)
            found[place] = _Bucket(partition, entry.bucket, entry.total_buckets)
            if ctx.options.deletion_vectors:
                found[place].vectors = dict(vectors_of(ctx, snapshot, partition, entry.bucket))
        found[place].files.append(entry.file)
    return list(found.values())


def _rewrite_bucket(
    ctx: "TableContext",
    bucket: _Bucket,
    asked: _Asked,
    writer: TableWriter,
    changes: list[BucketChange],
) -> int:
    """Rewrite the files of one bucket, and add the change to `changes`; return how many rows it is about."""
    change = BucketChange(partition=bucket.partition, bucket=bucket.bucket, total_buckets=bucket.total)
    changes.append(change)
    how = _Rewriting(ctx, bucket, asked, change)
    vectors = dict(bucket.vectors)
    count = 0
    for files in _held_together(bucket.files, ctx.memory_bytes // _UNPACKED):
        if len(files) == 1:
            outcomes = [how.file(files[0], lambda rows: writer.take(rows, None))]
        else:
            outcomes = run_all(ctx.pool, [partial(how.file, file) for file in files])
        for file, outcome in zip(files, outcomes, strict=True):
            count += outcome.count
            if outcome.gone:
                change.deleted_files.append(file)
                vectors.pop(file.file_name, None)
            elif outcome.vector is not None:
                vectors[file.file_name] = outcome.vector
            for rows in outcome.changed:
                writer.take(rows, None)
    if vectors != bucket.vectors:
        if vectors:
            change.new_indexes.append(write_vectors(ctx, bucket.partition, bucket.bucket, vectors))
        else:
            change.cleared_indexes.append(DELETION_VECTORS)
    if not count:
        changes.remove(change)
    return count


def _held_together(files: Sequence[DataFile], size_bytes: int) -> Iterator[list[DataFile]]:
    """Yield files in groups that are not larger than that, a file that is larger alone."""
    group: list[DataFile] = []
    held = 0
    for file in files:
        if group and held + file.file_size > size_bytes:
            yield group
            group, held = [], 0
        group.append(file)
        held += file.file_size
    if group:
        yield group


@dataclass(frozen=True)
class _Rewriting:
    """How the files of one bucket are rewritten."""

    ctx: "TableContext"
    bucket: _Bucket
    asked: _Asked
    change: BucketChange

    def file(self, file: DataFile, emit: Callable[[pa.Table], None] | None = None) -> _Outcome:
        """Rewrite one file. Rows with their new values go to `emit`, or into what is returned."""
        alive, hits = self._rows(file)
        outcome = _Outcome(count=int(hits.sum()))
        if not outcome.count:
            return outcome
        if self.asked.remake is not None:
            take = emit or outcome.changed.append
            for rows in self._filtered(file, hits):
                take(self.asked.remake(rows))
        kept = alive & ~hits
        if not kept.any():
            outcome.gone = True
        elif self.ctx.options.deletion_vectors:
            outcome.vector = new_vector(self.ctx, np.flatnonzero(~kept))
        else:
            outcome.gone = True
            batches = (batch for rows in self._filtered(file, kept) for batch in rows.to_batches())
            self.change.new_files.extend(
                write_files(
                    self.ctx,
                    self.bucket.partition,
                    self.bucket.bucket,
                    batches,
                    level=file.level,
                    first_sequence=file.min_sequence_number,
                )
            )
        return outcome

    def _rows(self, file: DataFile) -> tuple[Mask, Mask]:
        """Return which rows of a file are there, and which of those match."""
        alive = np.ones(file.row_count, np.bool_)
        vector = self.bucket.vectors.get(file.file_name)
        if vector:
            alive[np.fromiter(vector, np.int64, len(vector))] = False
        where, pick = self.asked.where, self.asked.pick
        if pick is not None:
            columns = list(self.ctx.schema.names)
        elif where is None or not where.columns:
            return alive, alive if where in {None, Always()} else np.zeros(file.row_count, np.bool_)
        else:
            columns = sorted(where.columns)
        looked_at = self._read(file, columns)
        hits = np.zeros(file.row_count, np.bool_)
        hits[positions_where(looked_at, where)] = True
        hits &= alive
        places = np.flatnonzero(hits)
        if pick is not None and places.size:
            hits[places] = pick(looked_at.take(pa.array(places)))
        return alive, hits

    def _read(self, file: DataFile, columns: list[str]) -> pa.Table:
        return read_file(self.ctx, self.bucket.partition, self.bucket.bucket, file, columns, with_system=False)

    def _filtered(self, file: DataFile, mask: Mask) -> Iterator[pa.Table]:
        """Yield the rows of a file that a mask has, with all columns, some of them at a time."""
        start = 0
        place = (self.bucket.partition, self.bucket.bucket)
        for batch in read_file(self.ctx, *place, file, with_system=False, as_reader=True):
            own = mask[start : start + batch.num_rows]
            start += batch.num_rows
            if own.any():
                yield pa.Table.from_batches([batch.filter(pa.array(own))])


def _joined(changes: list[BucketChange], more: list[BucketChange]) -> list[BucketChange]:
    """Return the changes of a rewrite and of the rows written where they belong now: one for each bucket."""
    by_place: dict[tuple[Any, ...], BucketChange] = {(*change.partition, change.bucket): change for change in changes}
    for change in more:
        place = (*change.partition, change.bucket)
        if place in by_place:
            by_place[place].new_files.extend(change.new_files)
        else:
            by_place[place] = change
    return list(by_place.values())

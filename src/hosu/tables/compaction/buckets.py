"""One bucket of a primary-key table: what its compaction would be, and the compaction."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import numpy as np

from hosu.tables.compaction.expiring import Expiring
from hosu.tables.compaction.folding import Deletions
from hosu.tables.compaction.levels import Key, KeyOf, Levels, Run, comparable
from hosu.tables.compaction.picking import Unit, drops_deletes, oldest_part, pick, pick_full, policy_of
from hosu.tables.compaction.rewriting import Rewriter, run_schema
from hosu.tables.files.columns import leaf_count
from hosu.tables.files.sharing import are_open_within, usable
from hosu.tables.manifests import index_entries
from hosu.tables.records import BucketChange, DataFile, Partition, Snapshot
from hosu.tables.rows import decode_serialised
from hosu.tables.vectors import DELETION_VECTORS, Vector, new_vector, vectors_of, write_vectors

if TYPE_CHECKING:
    from hosu.tables.context import TableContext

RUNS_MAX = 128
"""How many runs are read side by side: each has an open file, and a part of the memory."""

Vectors = Mapping[str, Vector]


@dataclass(frozen=True)
class Place:
    """A bucket of a partition, with the files that it has."""

    partition: Partition
    bucket: int
    total_buckets: int
    files: tuple[DataFile, ...]


@dataclass(frozen=True)
class Compacted:
    """What a compaction did, for a commit to make it so."""

    change: BucketChange
    reason: str
    rows: int
    """How many rows were read."""

    read_bytes: int
    discard: Callable[[], None]
    """Deletes the files that were made, as far as that goes."""

    is_partial: bool = False
    """Whether there were more runs than can be read side by side: once this is committed, the others come."""


def key_reader(ctx: "TableContext") -> KeyOf:
    """Return what reads the keys in the metadata of a table's files."""
    types = [field.type for field in ctx.schema.key_fields]
    known: dict[bytes, Key] = {}

    def key_of(data: bytes) -> Key:
        found = known.get(data)
        if found is None:
            found = known[data] = comparable(decode_serialised(data, types, raw=True))
        return found

    return key_of


def levels_of(ctx: "TableContext", files: Sequence[DataFile]) -> Levels:
    """Arrange the files of a bucket."""
    return Levels.of(files, ctx.options.num_levels, key_reader(ctx))


def plan_bucket(
    ctx: "TableContext",
    levels: Levels,
    *,
    full: bool = False,
    rewrite: bool = False,
    holed: Sequence[str] = (),
    small_bytes: int | None = None,
) -> Unit | None:
    """Return what a compaction of a bucket would take in now, None when there is nothing to do.

    `full` is for all files; those of the top level stay as they are when they are alone, but for those named in
    `holed`, which have deletion vectors, and those with rows that have expired. `rewrite` is for those too.
    A bucket below `small_bytes` is compacted whole, unless the table's options say how small that is.
    """
    if full:
        expiring = Expiring.of(ctx)
        old = [file.file_name for file in levels.files if expiring is not None and expiring.may_hold_old(file)]
        return pick_full(levels, rewritten={*holed, *old}, rewrites_all=rewrite)
    now_ms = ctx.clock.now_ms()
    hour = datetime.fromtimestamp(now_ms / 1000, UTC).astimezone().hour
    return pick(levels, policy_of(ctx.options, small_bytes=small_bytes), now_ms=now_ms, hour=hour)


def compact_bucket(
    ctx: "TableContext",
    snapshot: Snapshot,
    place: Place,
    *,
    full: bool = False,
    rewrite: bool = False,
    small_bytes: int | None = None,
    memory_bytes: int | None = None,
    beat: Callable[[], None] | None = None,
) -> Compacted | None:
    """Compact a bucket as it is in a snapshot; None when there is nothing to do.

    Merges at least a million rows a second within `memory_bytes`, whatever the size of the bucket. New files are
    durable on return, and in no snapshot until the change is committed. `beat` is called time and again. Raises
    CorruptError naming a file that cannot be read; then nothing stays.
    """
    has_vectors: bool = ctx.options.deletion_vectors
    vectors: Vectors = vectors_of(ctx, snapshot, place.partition, place.bucket) if has_vectors else {}
    levels = levels_of(ctx, place.files)
    holed = [name for name, held in vectors.items() if held]
    unit = plan_bucket(ctx, levels, full=full, rewrite=rewrite, holed=holed, small_bytes=small_bytes)
    if unit is None:
        return None
    memory = ctx.memory_bytes if memory_bytes is None else memory_bytes
    leaves = sum(leaf_count(column.type) for column in run_schema(ctx))

    def fits(runs: Sequence[Run]) -> bool:
        return len(runs) <= RUNS_MAX and are_open_within([run.files for run in runs], leaves, usable(memory))

    whole, unit = unit, oldest_part(unit, levels, fits)
    rewriter = Rewriter(ctx, place.partition, place.bucket, levels, vectors, memory_bytes=memory, beat=beat)
    how = rewriter.run(unit, drops_deletes=drops_deletes(unit, levels, has_vectors=has_vectors))
    result = rewriter.result
    if not result.before and not result.after:
        return None
    change = BucketChange(
        partition=place.partition,
        bucket=place.bucket,
        total_buckets=place.total_buckets,
        compact_before=result.before,
        compact_after=result.after,
        compact_changelog=result.changelog,
    )
    if has_vectors:
        try:
            _with_vectors(ctx, snapshot, change, vectors, how.deletions or Deletions())
        except BaseException:
            rewriter.discard()
            raise
    return Compacted(change, unit.reason, result.rows, unit.size_bytes, rewriter.discard, is_partial=unit is not whole)


def _with_vectors(
    ctx: "TableContext", snapshot: Snapshot, change: BucketChange, vectors: Vectors, deletions: Deletions
) -> None:
    """Add the index file with the vectors of the files that stay, where they are not what they were."""
    after = {file.file_name for file in change.compact_after}
    gone = {file.file_name for file in change.compact_before} - after
    kept = {name: vector for name, vector in vectors.items() if name not in gone}
    touched = len(kept) < len(vectors)
    for name, places in deletions.places.items():
        if name in gone:
            continue
        positions = np.concatenate(places)
        known = kept.get(name)
        vector = new_vector(ctx, ()) if known is None else known.copy()
        vector.update(positions.tolist())
        kept[name] = vector
        touched = True
    if not touched:
        return
    if kept:
        change.new_indexes = [write_vectors(ctx, change.partition, change.bucket, kept)]
    elif index_entries(ctx, snapshot, DELETION_VECTORS, buckets=[change.bucket]):
        change.cleared_indexes = [DELETION_VECTORS]

"""What a read has to do: files of a bucket that belong together, and whether their rows have to be merged."""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial

from hosu.tables.compaction.buckets import key_reader
from hosu.tables.compaction.levels import sections
from hosu.tables.context import TableContext
from hosu.tables.files.pruning import file_filter
from hosu.tables.manifests.live import live_entries, partition_values
from hosu.tables.options import POSTPONE_BUCKET, MergeEngine
from hosu.tables.pooling import run_all
from hosu.tables.predicates import Always, Predicate
from hosu.tables.reading.pruning import BucketFilter, PartitionFilter, divide
from hosu.tables.records import DataFile, FileKind, ManifestEntry, Partition, Snapshot
from hosu.tables.vectors import Vector, vectors_of


@dataclass(frozen=True)
class Split:
    """Files of one bucket that are read together."""

    snapshot_id: int
    partition: Partition
    bucket: int
    runs: tuple[tuple[DataFile, ...], ...]
    """The files: of each run in the order of their keys, the oldest run first."""

    needs_merge: bool
    """Whether rows of one key may be in several files, or stand for what is gone."""

    vectors: Mapping[str, Vector] = field(default_factory=dict, repr=False, compare=False)
    """Of files, by name: the rows that were deleted."""

    @property
    def files(self) -> tuple[DataFile, ...]:
        """All files."""
        return tuple(file for run in self.runs for file in run)

    @property
    def size_bytes(self) -> int:
        """The size of all files."""
        return sum(file.file_size for file in self.files)

    @property
    def row_count(self) -> int:
        """How many rows the files have: of a split that needs no merge, exactly those that it gives."""
        gone = sum(len(self.vectors[file.file_name]) for file in self.files if file.file_name in self.vectors)
        return sum(file.row_count for file in self.files) - gone


def plan(
    ctx: TableContext,
    snapshot: Snapshot,
    where: Predicate | None = None,
    *,
    partitions: Collection[Partition] | None = None,
    buckets: Collection[int] | None = None,
    levels: Collection[int] | None = None,
    sees_all: bool = False,
) -> list[Split]:
    """Return what to read of a snapshot to find the rows that match: pruned by partition, bucket, key and file.

    Rows of level 0 of first-row tables and of tables with deletion vectors are not seen before they are compacted, as
    in Paimon, unless `deletion-vectors.merge-on-read` or `sees_all` say otherwise. Rows of the postpone bucket never
    are.
    """
    if isinstance(where, Always) and not where.truth:
        return []
    schema = ctx.schema
    by_partition, by_key, by_value = divide(schema, where)
    condition = None if by_partition is None else PartitionFilter(by_partition, schema.partition_fields)
    if partitions is None and condition is not None:
        partitions = condition.named()
    entries = live_entries(
        ctx,
        snapshot,
        partitions=partitions if partitions is not None else condition,
        buckets=buckets,
        levels=levels,
        file_filter=_above_level_0 if _skips_level_0(ctx) and not sees_all else None,
    )
    if partitions is not None and condition is not None:
        entries = [entry for entry in entries if condition(partition_values(ctx, entry.partition))]
    if by_key is not None:
        in_bucket, may_match = BucketFilter(ctx, by_key), file_filter(ctx, by_key)
        entries = [entry for entry in entries if in_bucket(entry) and may_match(entry.file)]
    return splits_of(ctx, snapshot, entries, by_value)


def _above_level_0(file: DataFile) -> bool:
    return file.level > 0


def _skips_level_0(ctx: TableContext) -> bool:
    if not ctx.schema.is_primary_key_table:
        return False
    if ctx.options.deletion_vectors:
        return not ctx.options.deletion_vectors_merge_on_read
    return ctx.options.merge_engine is MergeEngine.FIRST_ROW


def splits_of(
    ctx: TableContext, snapshot: Snapshot, entries: Iterable[ManifestEntry], by_value: Predicate | None = None
) -> list[Split]:
    """Return the splits of entries of a snapshot, without those in which no row can match on its values."""
    buckets: dict[tuple[bytes, int], list[DataFile]] = {}
    for entry in entries:
        if entry.kind is FileKind.ADD and entry.bucket != POSTPONE_BUCKET:
            buckets.setdefault((entry.partition, entry.bucket), []).append(entry.file)
    may_match = file_filter(ctx, by_value)
    found: list[Split] = []
    for (partition_bytes, bucket), files in buckets.items():
        partition = partition_values(ctx, partition_bytes)
        for runs, needs_merge in _groups(ctx, files):
            if _may_match(ctx, may_match, runs, needs_merge=needs_merge):
                found.append(Split(snapshot.id, partition, bucket, runs, needs_merge))
    return _with_vectors(ctx, snapshot, found) if ctx.options.deletion_vectors else found


def _with_vectors(ctx: TableContext, snapshot: Snapshot, splits: Sequence[Split]) -> list[Split]:
    """Return splits with the vectors of their buckets, which are read side by side."""
    places = list(dict.fromkeys((split.partition, split.bucket) for split in splits))
    read = run_all(ctx.pool, [partial(vectors_of, ctx, snapshot, *place) for place in places])
    found = dict(zip(places, read, strict=True))
    return [replace(split, vectors=found[split.partition, split.bucket]) for split in splits]


def _may_match(
    ctx: TableContext, may_match: Callable[[DataFile], bool], runs: Sequence[tuple[DataFile, ...]], *, needs_merge: bool
) -> bool:
    # A merged row of these engines is one that was written; of the others it may have values that no file has.
    if needs_merge and ctx.options.merge_engine not in {MergeEngine.DEDUPLICATE, MergeEngine.FIRST_ROW}:
        return True
    return any(may_match(file) for run in runs for file in run)


def _groups(ctx: TableContext, files: Sequence[DataFile]) -> list[tuple[tuple[tuple[DataFile, ...], ...], bool]]:
    """Return the runs of files that are read together, and whether they have to be merged."""
    if not ctx.schema.is_primary_key_table:
        ordered = sorted(files, key=lambda file: (file.min_sequence_number, file.file_name))
        return [(((file,),), False) for file in ordered]
    if len(files) == 1:
        return [((tuple(files),), not without_deletes(files[0]))]
    key_of = key_reader(ctx)
    if _is_raw(ctx, files):
        ordered = sorted(files, key=lambda file: key_of(file.min_key))
        return [(((file,),), False) for file in ordered]
    found: list[tuple[tuple[tuple[DataFile, ...], ...], bool]] = []
    for section in sections(files, key_of):
        if len(section) == 1 and all(without_deletes(file) for file in section[0]):
            found += [(((file,),), False) for file in section[0]]
        else:
            found.append((tuple(sorted(section, key=_age)), True))
    return found


def _age(run: tuple[DataFile, ...]) -> tuple[int, int]:
    return (-run[0].level, max(file.max_sequence_number for file in run))


def _is_raw(ctx: TableContext, files: Sequence[DataFile]) -> bool:
    """Whether the files hold each key once, whatever their keys are, and nothing but rows that are there."""
    if not all(file.level > 0 and without_deletes(file) for file in files):
        return False
    options = ctx.options
    if options.deletion_vectors or options.merge_engine is MergeEngine.FIRST_ROW:
        return True
    return len({file.level for file in files}) == 1


def without_deletes(file: DataFile) -> bool:
    """Whether a file has no -U and -D rows; files of writers that did not count them have none."""
    return not file.delete_row_count

"""Commits that take the place of what is there: of the table, or of some of its partitions."""

from collections.abc import Mapping, Sequence
from typing import Final

import msgspec

from hosu.kernel.errors import ErrorKind, InvalidInputError
from hosu.tables.commit.changes import FileChanges, appended, compacted
from hosu.tables.commit.conflicts import ConflictCheck
from hosu.tables.commit.publishing import Commit, publish
from hosu.tables.commit.ranges import overlapping
from hosu.tables.context import TableContext, new_user
from hosu.tables.manifests.live import identity, index_entries, live_entries
from hosu.tables.manifests.partitions import PartitionFilter, Partitions
from hosu.tables.records import BucketChange, CommitKind, DataFile, FileKind, IndexEntry, ManifestEntry, Snapshot

BATCH_IDENTIFIER: Final = 2**63 - 1
"""The identifier of a commit that stands alone, as Paimon gives it to batch jobs."""


def overwrite(
    ctx: TableContext,
    changes: Sequence[BucketChange],
    partition_filter: PartitionFilter | None = None,
    *,
    identifier: int = BATCH_IDENTIFIER,
    watermark: int | None = None,
    properties: Mapping[str, str] | None = None,
    operation: str | None = None,
) -> list[Snapshot]:
    """Put the files of changes in the place of all there are in the partitions of a filter, or in the table.

    What others commit meanwhile in those partitions is taken out too. Changelog files of the changes are not
    committed: readers of a changelog see nothing of an overwrite. Raises InvalidInputError ROWS_INVALID for a change
    outside the filter, else as `commit`.
    """
    partitions = Partitions(ctx)
    written, merged = appended(changes, partitions), compacted(changes, partitions)
    matches = partitions.matcher(partition_filter)
    for entry in written.entries:
        if matches is not None and not matches(entry.partition):
            values = partitions.values(entry.partition)
            raise InvalidInputError(
                ErrorKind.ROWS_INVALID,
                f"{ctx.identifier}: rows of partition {values!r} are outside the partitions to overwrite: overwrite "
                "those too, or leave the rows out",
                partition=values,
            )
    user = ctx.commit_user or new_user(ctx.options)

    def describe(kind: CommitKind) -> Commit:
        return Commit(
            user=user,
            identifier=identifier,
            kind=kind,
            watermark=watermark,
            properties=properties,
            operation=operation,
        )

    if not merged:
        written.entries = _raised(ctx, written.entries)
    provider = _Replacing(ctx, written, partition_filter)
    made = [publish(ctx, provider, describe(CommitKind.OVERWRITE))]
    if merged:
        check = ConflictCheck(ctx, made[0])

        def provide(latest: Snapshot | None) -> FileChanges:
            check.check(latest, merged)
            return merged

        made.append(publish(ctx, provide, describe(CommitKind.COMPACT)))
    return made


def truncate(ctx: TableContext, *, identifier: int = BATCH_IDENTIFIER, operation: str | None = "TRUNCATE") -> Snapshot:
    """Take every file out of the table."""
    return overwrite(ctx, [], identifier=identifier, operation=operation)[0]


def drop_partitions(ctx: TableContext, partitions: PartitionFilter, *, identifier: int = BATCH_IDENTIFIER) -> Snapshot:
    """Take every file of some partitions out of the table."""
    return overwrite(ctx, [], partitions, identifier=identifier)[0]


class _Replacing:
    """Says what an overwrite changes after whatever is there."""

    def __init__(self, ctx: TableContext, written: FileChanges, wanted: PartitionFilter | None) -> None:
        self._ctx = ctx
        self._written = written
        self._wanted = wanted
        self._check = ConflictCheck(ctx, None, is_overwrite=True)
        self._last: tuple[frozenset[object], FileChanges] | None = None

    def __call__(self, latest: Snapshot | None) -> FileChanges:
        there: list[ManifestEntry] = []
        indexes: list[IndexEntry] = []
        if latest is not None:
            there = live_entries(self._ctx, latest, partitions=self._wanted)
            indexes = index_entries(self._ctx, latest, partitions=self._wanted)
        key = frozenset((*map(identity, there), *(entry.file.file_name for entry in indexes)))
        if self._last is not None and self._last[0] == key:
            return self._last[1]
        kept = [entry for entry in self._written.entries if entry.kind is FileKind.ADD]
        changes = FileChanges(
            entries=[_taken_out(entry) for entry in there] + kept,
            indexes=[_gone(entry) for entry in indexes] + self._written.indexes,
        )
        self._check.check(latest, FileChanges(entries=changes.entries))
        self._last = key, changes
        return changes


def _raised(ctx: TableContext, entries: Sequence[ManifestEntry]) -> list[ManifestEntry]:
    """Return new files of keyed tables at the highest level where a bucket's do not overlap: they need no merge there.

    Readers that pass over level 0 see the rows of an overwrite for that reason.
    """
    types = [field.type for field in ctx.schema.key_fields]
    new = [entry for entry in entries if entry.kind is FileKind.ADD]
    if not types or not ctx.options.overwrite_upgrade:
        return list(entries)
    if any(entry.file.level > 0 or entry.bucket < 0 for entry in new):
        return list(entries)
    buckets: dict[tuple[bytes, int], list[ManifestEntry]] = {}
    for entry in new:
        buckets.setdefault((entry.partition, entry.bucket), []).append(entry)
    top = ctx.options.num_levels - 1
    return [
        entry if overlapping(files, types) else msgspec.structs.replace(entry, file=_at_level(entry.file, top))
        for files in buckets.values()
        for entry in files
    ]


def _at_level(file: DataFile, level: int) -> DataFile:
    return msgspec.structs.replace(file, level=level)


def _taken_out(entry: ManifestEntry) -> ManifestEntry:
    return ManifestEntry(
        kind=FileKind.DELETE,
        partition=entry.partition,
        bucket=entry.bucket,
        total_buckets=entry.total_buckets,
        file=entry.file,
    )


def _gone(entry: IndexEntry) -> IndexEntry:
    return IndexEntry(kind=FileKind.DELETE, partition=entry.partition, bucket=entry.bucket, file=entry.file)

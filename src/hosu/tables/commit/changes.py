"""What writers hand over, as the entries of manifests."""

from collections.abc import Sequence
from typing import Final

import msgspec

from hosu.tables.manifests.partitions import Partitions
from hosu.tables.records import BucketChange, DataFile, FileKind, IndexEntry, ManifestEntry

DELETION_VECTORS: Final = "DELETION_VECTORS"
HASH: Final = "HASH"


class FileChanges(msgspec.Struct, kw_only=True):
    """What one snapshot changes."""

    entries: list[ManifestEntry] = []
    changelog: list[ManifestEntry] = []
    indexes: list[IndexEntry] = []
    """Index files that take the place of all of their type in their buckets; a DELETE takes its file out."""

    cleared: list[tuple[bytes, int, str]] = []
    """Partition, bucket and type of which no index file stays."""

    def __bool__(self) -> bool:
        return bool(self.entries or self.changelog or self.indexes or self.cleared)

    @property
    def takes_out(self) -> bool:
        """Whether files, or rows of files, go: such a snapshot is an OVERWRITE to other readers."""
        return any(entry.kind is FileKind.DELETE for entry in self.entries) or any(
            entry.file.index_type == DELETION_VECTORS for entry in self.indexes
        )


def appended(changes: Sequence[BucketChange], partitions: Partitions) -> FileChanges:
    """Return what writers have added and taken out."""
    found = FileChanges()
    for change in changes:
        partition = partitions.encode(change.partition)
        _add(found.entries, change, partition, FileKind.DELETE, change.deleted_files)
        _add(found.entries, change, partition, FileKind.ADD, change.new_files)
        _add(found.changelog, change, partition, FileKind.ADD, change.changelog_files)
        _add_indexes(found, change, partition, of_compaction=False)
    return found


def compacted(changes: Sequence[BucketChange], partitions: Partitions) -> FileChanges:
    """Return what compactions have made of what was there."""
    found = FileChanges()
    for change in changes:
        partition = partitions.encode(change.partition)
        _add(found.entries, change, partition, FileKind.DELETE, change.compact_before)
        _add(found.entries, change, partition, FileKind.ADD, change.compact_after)
        _add(found.changelog, change, partition, FileKind.ADD, change.compact_changelog)
        _add_indexes(found, change, partition, of_compaction=True)
    return found


def _belongs_to_compaction(change: BucketChange, index_type: str) -> bool:
    """Whether an index goes with what was compacted: vectors do, as they are of the files that it leaves behind."""
    compacts = bool(change.compact_before or change.compact_after)
    appends = bool(change.new_files or change.deleted_files)
    return compacts and (index_type == DELETION_VECTORS or not appends)


def _add(
    entries: list[ManifestEntry], change: BucketChange, partition: bytes, kind: FileKind, files: Sequence[DataFile]
) -> None:
    entries += [
        ManifestEntry(
            kind=kind, partition=partition, bucket=change.bucket, total_buckets=change.total_buckets, file=file
        )
        for file in files
    ]


def _add_indexes(found: FileChanges, change: BucketChange, partition: bytes, *, of_compaction: bool) -> None:
    found.indexes += [
        IndexEntry(partition=partition, bucket=change.bucket, file=file)
        for file in change.new_indexes
        if _belongs_to_compaction(change, file.index_type) is of_compaction
    ]
    found.cleared += [
        (partition, change.bucket, index_type)
        for index_type in change.cleared_indexes
        if _belongs_to_compaction(change, index_type) is of_compaction
    ]

"""What others have committed meanwhile, and whether it forbids a commit."""

from collections.abc import Sequence
from typing import Any

from hosu.kernel.errors import ConflictError, CorruptError, ErrorKind, NotFoundError
from hosu.tables.commit.changes import DELETION_VECTORS, FileChanges
from hosu.tables.commit.ranges import overlapping
from hosu.tables.context import TableContext
from hosu.tables.manifests.live import identity, live_entries, missing
from hosu.tables.manifests.partitions import Partitions
from hosu.tables.manifests.reader import ManifestReader
from hosu.tables.records import FileKind, IndexEntry, ManifestEntry, Snapshot
from hosu.tables.snapshots import find

Bucket = tuple[bytes, int]
"""A partition in its serialised form, and a bucket of it."""


class ConflictCheck:
    """Checks one snapshot's changes against the latest snapshot, which the writer may not have seen.

    `seen` is the snapshot that the writer worked from: what was there then is no conflict. Files that it takes out must
    still be there all the same.
    """

    def __init__(self, ctx: TableContext, seen: Snapshot | None, *, is_overwrite: bool = False) -> None:
        self._ctx = ctx
        self._seen = seen
        self._is_overwrite = is_overwrite
        self._partitions = Partitions(ctx)

    def check(self, latest: Snapshot | None, changes: FileChanges, *, level_buckets: Sequence[Bucket] = ()) -> None:
        """Raise ConflictError COMMIT_CONFLICT naming what stands in the way.

        `level_buckets` are those in which nobody else may have made files above level 0.
        """
        self._check_within(changes.entries)
        self._check_deleted(latest, changes.entries)
        if latest is None or self.is_seen(latest):
            self._check_levels(latest, changes.entries, self._levels_of(latest, changes.entries))
            return
        live = self._live(latest, changes.entries, level_buckets)
        if not self._is_overwrite:
            self._check_bucket_counts(latest, changes.entries, live)
        self._check_levels(latest, changes.entries, live)
        self._check_new_levels(latest, live, level_buckets)
        if not self._is_overwrite:
            self._check_indexes(latest, changes)

    def is_seen(self, latest: Snapshot) -> bool:
        """Whether nobody has committed since the writer looked."""
        return self._seen is not None and find.is_same(self._seen, latest)

    def max_sequence_numbers(self, latest: Snapshot, buckets: Sequence[Bucket]) -> dict[Bucket, int]:
        """Return the greatest sequence number that each bucket has; buckets without files are left out."""
        found: dict[Bucket, int] = {}
        wanted = set(buckets)
        for entry in self._entries_in(latest, {partition for partition, _ in buckets}):
            bucket = entry.partition, entry.bucket
            if bucket in wanted:
                found[bucket] = max(entry.file.max_sequence_number, found.get(bucket, entry.file.max_sequence_number))
        return found

    def _live(
        self, latest: Snapshot, entries: Sequence[ManifestEntry], level_buckets: Sequence[Bucket]
    ) -> list[ManifestEntry]:
        """Return what lives in the partitions where something must hold, or nothing where nothing must."""
        partitions = {
            entry.partition
            for entry in entries
            if entry.kind is FileKind.ADD
            and (entry.file.level > 0 or (entry.total_buckets > 0 and not self._is_overwrite))
        } | {partition for partition, _ in level_buckets}
        return self._entries_in(latest, partitions)

    def _levels_of(self, latest: Snapshot | None, entries: Sequence[ManifestEntry]) -> list[ManifestEntry]:
        """Return what lives in the partitions where files above level 0 are added."""
        partitions = {entry.partition for entry in entries if entry.kind is FileKind.ADD and entry.file.level > 0}
        return [] if latest is None else self._entries_in(latest, partitions)

    def _entries_in(self, latest: Snapshot, partitions: set[bytes]) -> list[ManifestEntry]:
        if not partitions:
            return []
        wanted = [self._partitions.values(partition) for partition in partitions]
        return live_entries(self._ctx, latest, partitions=wanted if self._partitions.types else None)

    def _check_within(self, entries: Sequence[ManifestEntry]) -> None:
        """Refuse a change that contradicts itself: readers would lose the file."""
        added: set[Any] = set()
        deleted: set[Any] = set()
        totals: dict[bytes, int] = {}
        for entry in entries:
            key, of_kind = identity(entry), added if entry.kind is FileKind.ADD else deleted
            if key in added or key in deleted:
                raise self._conflict(None, f"the commit names file {entry.file.file_name!r} twice", entry)
            of_kind.add(key)
            if entry.kind is FileKind.ADD and entry.total_buckets > 0:
                total = totals.setdefault(entry.partition, entry.total_buckets)
                if total != entry.total_buckets:
                    raise self._conflict(
                        None, f"the commit has files of {total} and of {entry.total_buckets} buckets", entry
                    )

    def _check_deleted(self, latest: Snapshot | None, entries: Sequence[ManifestEntry]) -> None:
        """Refuse to take out a file that is not there: its rows would come back as what was made of them."""
        deleted = [entry for entry in entries if entry.kind is FileKind.DELETE]
        gone = deleted if latest is None else missing(self._ctx, latest, deleted)
        if gone:
            raise self._conflict(
                latest, f"file {gone[0].file.file_name!r} is not there any more: another commit took it out", gone[0]
            )

    def _check_bucket_counts(
        self, latest: Snapshot, entries: Sequence[ManifestEntry], live: Sequence[ManifestEntry]
    ) -> None:
        totals = {
            entry.partition: entry.total_buckets
            for entry in entries
            if entry.kind is FileKind.ADD and entry.total_buckets > 0
        }
        for entry in live:
            total = totals.get(entry.partition)
            if total is not None and 0 < entry.total_buckets != total:
                raise self._conflict(
                    latest,
                    f"the partition has {entry.total_buckets} buckets, the commit writes {total}: open the table "
                    "again, or overwrite the partition",
                    entry,
                )

    def _check_levels(
        self, latest: Snapshot | None, entries: Sequence[ManifestEntry], live: Sequence[ManifestEntry]
    ) -> None:
        """Refuse files above level 0 that overlap others of their level: a level is one sorted run."""
        types = [field.type for field in self._ctx.schema.key_fields]
        if not types:
            return
        places = {
            (entry.partition, entry.bucket, entry.file.level)
            for entry in entries
            if entry.kind is FileKind.ADD and entry.file.level > 0
        }
        if not places:
            return
        gone = {identity(entry) for entry in entries if entry.kind is FileKind.DELETE}
        runs: dict[tuple[bytes, int, int], list[ManifestEntry]] = {}
        for entry in (*live, *(entry for entry in entries if entry.kind is FileKind.ADD)):
            place = entry.partition, entry.bucket, entry.file.level
            if place in places and identity(entry) not in gone:
                runs.setdefault(place, []).append(entry)

        for run in runs.values():
            found = overlapping(run, types)
            if found is not None:
                entry, other = found
                raise self._conflict(
                    latest,
                    f"files {entry.file.file_name!r} and {other.file.file_name!r} of level {entry.file.level} overlap: "
                    "another compaction was there first",
                    entry,
                )

    def _check_new_levels(
        self, latest: Snapshot, live: Sequence[ManifestEntry], level_buckets: Sequence[Bucket]
    ) -> None:
        if not level_buckets:
            return
        high = [entry for entry in live if entry.file.level > 0 and (entry.partition, entry.bucket) in level_buckets]
        new = high if self._seen is None else missing(self._ctx, self._seen, high)
        if new:
            raise self._conflict(
                latest, f"file {new[0].file.file_name!r} of level {new[0].file.level} was made meanwhile", new[0]
            )

    def _check_indexes(self, latest: Snapshot, changes: FileChanges) -> None:
        """Refuse to replace an index that has changed, and to take out a file of which rows were deleted meanwhile."""
        places = {(entry.partition, entry.bucket, entry.file.index_type) for entry in changes.indexes}
        places |= set(changes.cleared)
        deleted: dict[Bucket, list[ManifestEntry]] = {}
        for entry in changes.entries:
            if entry.kind is FileKind.DELETE:
                deleted.setdefault((entry.partition, entry.bucket), []).append(entry)
        if not places and not deleted:
            return
        now, then = self._indexes(latest), self._indexes_seen(latest)
        for place in places:
            if now.get(place) != then.get(place):
                partition, bucket, index_type = place
                raise self._conflict_at(latest, f"its index of type {index_type} was changed", partition, bucket)
        for (partition, bucket), entries in deleted.items():
            place = (partition, bucket, DELETION_VECTORS)
            vectors, known = _vectors(now.get(place)), _vectors(then.get(place))
            for entry in entries:
                name = entry.file.file_name
                if vectors.get(name) != known.get(name):
                    raise self._conflict(latest, f"rows of file {name!r} were deleted", entry)
        self._check_vector_files(latest, changes)

    def _check_vector_files(self, latest: Snapshot, changes: FileChanges) -> None:
        """Refuse deletion vectors of files that have gone: the rows would still be in what was made of them."""
        vectors = [entry for entry in changes.indexes if entry.file.vectors]
        if not vectors:
            return
        there = {entry.file.file_name for entry in self._entries_in(latest, {entry.partition for entry in vectors})} | {
            entry.file.file_name for entry in changes.entries if entry.kind is FileKind.ADD
        }
        for entry in vectors:
            for vector in entry.file.vectors or ():
                if vector.data_file not in there:
                    raise self._conflict_at(
                        latest,
                        f"file {vector.data_file!r}, of which rows are deleted, is not there any more",
                        entry.partition,
                        entry.bucket,
                    )

    def _indexes_seen(self, latest: Snapshot) -> dict[tuple[bytes, int, str], list[IndexEntry]]:
        try:
            return self._indexes(self._seen)
        except CorruptError as error:
            if self._seen is None or not isinstance(error.__cause__, NotFoundError):
                raise
            raise ConflictError(
                ErrorKind.COMMIT_CONFLICT,
                f"{self._ctx.identifier}: snapshot {self._seen.id}, which the change was made from, has expired. Read "
                "the table again and repeat the change",
                snapshot=latest.id,
            ) from error

    def _indexes(self, snapshot: Snapshot | None) -> dict[tuple[bytes, int, str], list[IndexEntry]]:
        found: dict[tuple[bytes, int, str], list[IndexEntry]] = {}
        if snapshot is not None and snapshot.index_manifest is not None:
            for entry in ManifestReader(self._ctx).index(snapshot.index_manifest):
                found.setdefault((entry.partition, entry.bucket, entry.file.index_type), []).append(entry)
        return found

    def _conflict(self, latest: Snapshot | None, what: str, entry: ManifestEntry) -> ConflictError:
        return self._conflict_at(latest, what, entry.partition, entry.bucket)

    def _conflict_at(self, latest: Snapshot | None, what: str, partition: bytes, bucket: int) -> ConflictError:
        ctx = self._ctx
        values = self._partitions.values(partition)
        place = ctx.layout.partition_path(values).rstrip("/") or "the table"
        by = "" if latest is None else f"; the latest snapshot is {latest.id}, of user {latest.commit_user}"
        return ConflictError(
            ErrorKind.COMMIT_CONFLICT,
            f"{ctx.identifier}, {place}, bucket {bucket}: {what}{by}. Read the table again and repeat the change",
            partition=values,
            bucket=bucket,
            snapshot=None if latest is None else latest.id,
        )


def _vectors(entries: Sequence[IndexEntry] | None) -> dict[str, tuple[object, ...]]:
    return {
        vector.data_file: (entry.file.file_name, vector.offset, vector.length)
        for entry in entries or ()
        for vector in entry.file.vectors or ()
    }

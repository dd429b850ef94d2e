"""What a writer knows of the buckets it writes to: where their sequence numbers have got to, and how many there are."""

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from hosu.kernel.errors import CorruptError, ErrorKind, InvalidInputError, NotFoundError
from hosu.tables.identifiers import table_missing
from hosu.tables.manifests import index_entries, live_entries
from hosu.tables.pooling import run_all
from hosu.tables.records import BucketChange, CommitKind, FileKind, ManifestEntry, Snapshot
from hosu.tables.snapshots import find, tags
from hosu.tables.writing.dynamic import HASH_INDEX, PartitionIndex, load_index
from hosu.tables.writing.routing import Part, partition_key

if TYPE_CHECKING:
    from hosu.tables.context import TableContext

_STEPS_MAX = 16
"""Snapshots of others whose changes are read one by one; after more of them, the whole state is."""

_HARMLESS = frozenset({CommitKind.COMPACT, CommitKind.ANALYZE})
"""What leaves rows as they are."""

Bucket = tuple[bytes, int]


def check_there(ctx: "TableContext") -> None:
    """Raise NotFoundError TABLE_NOT_FOUND when a table is not there any more, or is another one of its name."""
    schema = ctx.schemas.latest()
    if schema is None:
        raise table_missing(ctx.identifier, [])
    if schema.id < ctx.schema.id or ctx.schemas.get(ctx.schema.id) != ctx.schema:
        raise NotFoundError(
            ErrorKind.TABLE_NOT_FOUND,
            f"table {str(ctx.identifier)!r} was dropped and made anew: open it again",
            table=str(ctx.identifier),
        )


def check_same(ctx: "TableContext") -> None:
    """Raise as `check_there`, at the price of one request where all is well."""
    if not ctx.schemas.has_still(ctx.schema):
        check_there(ctx)


class BucketStates:
    """The state of the buckets of a table as of one snapshot, read by partition when first asked for.

    Not for two threads at once. With `fresh` the table counts as empty: what an overwrite wants.
    """

    def __init__(self, ctx: "TableContext", *, fresh: bool = False) -> None:
        self._ctx = ctx
        self._fresh = fresh
        self.snapshot: Snapshot | None = None
        self._reached: dict[Bucket, int] = {}
        self._totals: dict[bytes, int] = {}
        self._known: set[bytes] = set()
        self._indexes: dict[bytes, PartitionIndex] = {}

    def refresh(self) -> None:
        """See what was committed meanwhile. Raises NotFoundError TABLE_NOT_FOUND as `check_there`."""
        ctx = self._ctx
        looks: list[Callable[[], Any]] = [partial(find.latest, ctx), partial(ctx.schemas.has_still, ctx.schema)]
        latest, is_there = run_all(ctx.pool, looks)
        if latest is None or not is_there:
            check_there(ctx)
        if not find.is_same(latest, self.snapshot):
            is_near = latest is not None and latest.id <= self.snapshot_id + _STEPS_MAX
            if is_near and self._leads_to(latest):
                self._follow(self.snapshot_id + 1, latest)
            else:
                self._forget()
        self.snapshot = latest

    @property
    def snapshot_id(self) -> int:
        """The number of the snapshot; 0 for the table before its first."""
        return 0 if self.snapshot is None else self.snapshot.id

    def touched(self, latest: Snapshot) -> set[Bucket] | None:
        """Return the buckets that others than compactions have changed since; None where nobody can say."""
        if self.snapshot is not None and not self._leads_to(latest):
            return None
        found: set[Bucket] = set()
        for snapshot_id in range(self.snapshot_id + 1, latest.id + 1):
            snapshot = latest if snapshot_id == latest.id else find.try_load(self._ctx, snapshot_id)
            if snapshot is None:
                return None
            if snapshot.commit_kind not in _HARMLESS:
                entries = live_entries(self._ctx, snapshot, which="delta")
                found.update((entry.partition, entry.bucket) for entry in entries)
        return found

    def _leads_to(self, latest: Snapshot) -> bool:
        """Whether a snapshot came after the known one; not so after a roll-back."""
        known = self.snapshot
        return known is not None and known.id < latest.id and find.is_same(find.try_load(self._ctx, known.id), known)

    def committed(self, snapshots: Sequence[Snapshot], changes: Iterable[BucketChange]) -> None:
        """Take in the writer's own commit, when nobody else's lies between."""
        if not snapshots or self._fresh:
            return
        before = self.snapshot.id if self.snapshot is not None else 0
        if snapshots[0].id != before + 1 or snapshots[-1].id != before + len(snapshots):
            return
        self.snapshot = snapshots[-1]
        for change in changes:
            key = partition_key(self._ctx, change.partition)
            if key in self._known:
                self._totals[key] = change.total_buckets
                for file in (*change.new_files, *change.compact_after):
                    self._reach(key, change.bucket, file.max_sequence_number)

    def load(self, split: Sequence[Part]) -> None:
        """Read the state of partitions that are not known yet."""
        wanted = {part.key: part.partition for part in split if part.key not in self._known}
        if wanted and self.snapshot is not None and not self._fresh:
            for entry in live_entries(self._ctx, self.snapshot, partitions=list(wanted.values())):
                self._take(entry)
        self._known.update(wanted)

    def reached(self, part: Part, bucket: int) -> int:
        """Return the highest sequence number of a bucket of a loaded partition; -1 when it has none."""
        return self._reached.get((part.key, bucket), -1)

    def total(self, part: Part) -> int:
        """Return how many buckets the partition has: what the table's options say.

        Raises InvalidInputError TABLE_INVALID when it was written with another number.
        """
        count: int = self._ctx.options.bucket
        written = self._totals.get(part.key, count)
        if written != count:
            where = f"partition {part.partition!r} of " if part.partition else ""
            raise InvalidInputError(
                ErrorKind.TABLE_INVALID,
                f"bucket: {where}{self._ctx.identifier} was written with {written} buckets, and the option says "
                f"{count}: set it back to {written}, or overwrite the partition",
                written=written,
                bucket=count,
            )
        return count

    def index(self, part: Part) -> PartitionIndex:
        """Return the index of a partition's keys, of a table with dynamic buckets."""
        found = self._indexes.get(part.key)
        if found is None:
            files = []
            if self.snapshot is not None and not self._fresh:
                entries = index_entries(self._ctx, self.snapshot, HASH_INDEX, partitions=[part.partition])
                files = [(entry.bucket, entry.file) for entry in entries]
            found = self._indexes[part.key] = load_index(self._ctx, files)
        return found

    def indexes(self) -> dict[bytes, PartitionIndex]:
        """Return the indexes that were asked for, by partition."""
        return self._indexes

    def forget_indexes(self) -> None:
        """Read the indexes anew when next asked for: they hold hashes that were not committed."""
        self._indexes.clear()

    def _follow(self, first: int, latest: Snapshot) -> None:
        old_index = self.snapshot.index_manifest if self.snapshot is not None else None
        for snapshot_id in range(first, latest.id + 1):
            entries = self._changed_by(snapshot_id, latest)
            if entries is None:
                self._forget()
                return
            for entry in entries:
                if entry.partition in self._known:
                    self._take(entry)
        if latest.index_manifest != old_index:
            self._indexes.clear()

    def _changed_by(self, snapshot_id: int, latest: Snapshot) -> Sequence[ManifestEntry] | None:
        """Return what a snapshot changed; None where that has expired, or does not tell what is there after it."""
        snapshot = latest if snapshot_id == latest.id else find.try_load(self._ctx, snapshot_id)
        if snapshot is None or snapshot.commit_kind == CommitKind.OVERWRITE:
            return None
        try:
            return live_entries(self._ctx, snapshot, which="delta")
        except CorruptError:
            if tags.is_expiring(self._ctx, snapshot_id):
                return None
            raise

    def _take(self, entry: ManifestEntry) -> None:
        if entry.kind == FileKind.ADD and entry.bucket >= 0:
            self._totals[entry.partition] = entry.total_buckets
            self._reach(entry.partition, entry.bucket, entry.file.max_sequence_number)

    def _reach(self, key: bytes, bucket: int, number: int) -> None:
        place = (key, bucket)
        self._reached[place] = max(self._reached.get(place, -1), number)

    def _forget(self) -> None:
        self._reached.clear()
        self._totals.clear()
        self._known.clear()
        self._indexes.clear()

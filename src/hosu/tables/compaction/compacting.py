"""Compacting a table: its buckets one after the other, each of them held by nobody else meanwhile."""

import threading
from collections.abc import Collection, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Final

from hosu.kernel.errors import ConflictError, CorruptError
from hosu.tables.commit.commit import commit
from hosu.tables.compaction.appending import FULL, SMALL_FILES, compact_append, plan_append
from hosu.tables.compaction.buckets import Compacted, Place, compact_bucket, levels_of, plan_bucket
from hosu.tables.compaction.claims import Claim, claimed
from hosu.tables.context import new_user
from hosu.tables.freshness import up_to
from hosu.tables.manifests import PartitionFilter, live_entries, partition_values
from hosu.tables.records import DataFile, ManifestEntry, Partition, Snapshot
from hosu.tables.snapshots import find
from hosu.tables.vectors import vectors_of

if TYPE_CHECKING:
    from hosu.tables.context import TableContext

FULL_PROPERTY: Final = "hosu.full-compaction"
"""Property of the snapshots of full compactions: from it `full-compaction.delta-commits` is counted."""

COMMIT_BYTES: Final = 256 << 20
"""What was read before it is committed: small buckets share a snapshot, a large one has its own."""

TRIES: Final = 5
"""How often a bucket is compacted anew that others have changed meanwhile."""


@dataclass(frozen=True)
class Planned:
    """A compaction that is due: what it would take in, and why."""

    partition: Partition
    bucket: int
    reason: str
    files: tuple[DataFile, ...]
    output_level: int

    @property
    def size_bytes(self) -> int:
        """What would be read."""
        return sum(file.file_size for file in self.files)


@dataclass
class Outcome:
    """What a run over a table has done."""

    snapshots: list[Snapshot] = field(default_factory=list)
    done: list[Compacted] = field(default_factory=list)
    held: int = 0
    """Buckets left out because somebody else is at them."""

    lost: int = 0
    """Buckets that others changed each time."""

    is_cut: bool = False
    """Whether the run was stopped before its end."""

    broken: CorruptError | None = None
    """What the first bucket is like that could not be read; the others were compacted."""


def compact(
    ctx: "TableContext",
    *,
    full: bool = False,
    rewrite: bool = False,
    partitions: PartitionFilter | None = None,
    buckets: Collection[int] | None = None,
    memory_bytes: int | None = None,
) -> list[Snapshot]:
    """Compact what is due, or with `full` all that can be, and return the snapshots of it.

    `rewrite` writes even those files anew that a full compaction leaves alone. Buckets that somebody else is compacting
    are left to them. `memory_bytes` bounds what is held of rows. Raises ConflictError COMMIT_CONFLICT when others
    changed a bucket each time; CorruptError for a file that cannot be read. What was committed until then stays.
    """
    found = run_compaction(
        ctx, full=full, rewrite=rewrite, partitions=partitions, buckets=buckets, memory_bytes=memory_bytes
    )
    return found.snapshots


def run_compaction(
    ctx: "TableContext",
    *,
    full: bool = False,
    rewrite: bool = False,
    partitions: PartitionFilter | None = None,
    buckets: Collection[int] | None = None,
    memory_bytes: int | None = None,
    small_bytes: int | None = None,
    stop: threading.Event | None = None,
    gives_up: bool = False,
) -> Outcome:
    """Compact as `compact` does, and tell what became of it.

    A run ends early once `stop` is set; what is committed by then stays. With `gives_up` a bucket that others changed
    each time is left for another run instead of raising, and one that cannot be read is passed over. Buckets below
    `small_bytes` are compacted whole, unless `compaction.total-size-threshold` says which.
    """
    return _Run(ctx, full, rewrite, memory_bytes, small_bytes, stop, gives_up).run(partitions, buckets)


def plan_compaction(
    ctx: "TableContext",
    *,
    full: bool = False,
    rewrite: bool = False,
    partitions: PartitionFilter | None = None,
    buckets: Collection[int] | None = None,
) -> Iterator[Planned]:
    """Yield what `compact` would do now. Reads no data file."""
    snapshot = find.latest(ctx)
    if snapshot is None:
        return
    has_vectors = ctx.options.deletion_vectors
    for place in places_of(ctx, live_entries(ctx, snapshot, partitions=partitions, buckets=buckets)):
        vectors = vectors_of(ctx, snapshot, place.partition, place.bucket) if has_vectors else {}
        if ctx.schema.is_primary_key_table:
            levels = levels_of(ctx, place.files)
            holed = [name for name, held in vectors.items() if held]
            unit = plan_bucket(ctx, levels, full=full, rewrite=rewrite, holed=holed)
            if unit is not None:
                yield Planned(place.partition, place.bucket, unit.reason, unit.files, unit.output_level)
            continue
        for files in plan_append(ctx, snapshot, place, vectors, full=full, rewrite=rewrite):
            yield Planned(place.partition, place.bucket, FULL if full else SMALL_FILES, tuple(files), 0)


def places_of(ctx: "TableContext", entries: Sequence[ManifestEntry]) -> list[Place]:
    """Arrange the files of a snapshot by bucket; files that have no bucket yet are left out."""
    grouped: dict[tuple[bytes, int], list[ManifestEntry]] = {}
    for entry in entries:
        if entry.bucket >= 0:
            grouped.setdefault((entry.partition, entry.bucket), []).append(entry)
    return [
        Place(
            partition_values(ctx, partition),
            bucket,
            max(entry.total_buckets for entry in found),
            tuple(entry.file for entry in found),
        )
        for (partition, bucket), found in grouped.items()
    ]


class _Run:
    """One run over a table."""

    def __init__(
        self,
        ctx: "TableContext",
        full: bool,  # noqa: FBT001 - as above
        rewrite: bool,  # noqa: FBT001 - as above
        memory_bytes: int | None,
        small_bytes: int | None,
        stop: threading.Event | None,
        gives_up: bool,  # noqa: FBT001 - as above
    ) -> None:
        self._ctx = replace(ctx, commit_user=new_user(ctx.options))
        self._full = full
        self._rewrite = rewrite
        self._memory_bytes = memory_bytes
        self._small_bytes = small_bytes
        self._stop = stop
        self._gives_up = gives_up
        self._identifier = 0
        self._outcome = Outcome()
        self._held: list[Claim] = []

    def run(self, partitions: PartitionFilter | None, buckets: Collection[int] | None) -> Outcome:
        """Compact every bucket that is asked for."""
        snapshot = find.latest(self._ctx)
        if snapshot is None:
            return self._outcome
        self._ctx = up_to(self._ctx, snapshot)
        waiting: list[Compacted] = []
        with ExitStack() as claims:
            for place in places_of(
                self._ctx, live_entries(self._ctx, snapshot, partitions=partitions, buckets=buckets)
            ):
                if self._stop is not None and self._stop.is_set():
                    self._outcome.is_cut = True
                    break
                if not self._is_due(snapshot, place):
                    continue
                claim = claims.enter_context(claimed(self._ctx, place.partition, place.bucket))
                if claim is None:
                    self._outcome.held += 1
                    continue
                self._held.append(claim)
                done = self._whole(snapshot, place)
                if done is not None:
                    waiting.append(done)
                if sum(each.read_bytes for each in waiting) >= COMMIT_BYTES:
                    self._commit(snapshot, waiting)
                    waiting = []
                    claims.close()
                    self._held.clear()
            if waiting:
                self._commit(snapshot, waiting)
        return self._outcome

    def _beat(self) -> None:
        """Keep what is claimed: buckets that wait to be committed too."""
        for claim in self._held:
            claim.renew()

    def _whole(self, snapshot: Snapshot, place: Place) -> Compacted | None:
        """Compact a bucket, part after part; return what is left to be committed."""
        try:
            done = self._attempt(snapshot, place)
            while done is not None and done.is_partial:
                self._commit(snapshot, [done])
                done = self._rest(place)
        except CorruptError as error:
            if not self._gives_up:
                raise
            self._outcome.broken = self._outcome.broken or error
            return None
        return done

    def _rest(self, place: Place) -> Compacted | None:
        """Compact what a partial compaction of a bucket has left."""
        if self._stop is not None and self._stop.is_set():
            return None
        snapshot = find.latest(self._ctx)
        if snapshot is None:
            return None
        self._ctx = up_to(self._ctx, snapshot)
        entries = live_entries(self._ctx, snapshot, partitions=[place.partition], buckets=[place.bucket])
        return next((self._attempt(snapshot, now) for now in places_of(self._ctx, entries)), None)

    def _is_due(self, snapshot: Snapshot, place: Place) -> bool:
        """Look whether there is anything to do before a bucket is claimed, which costs two writes."""
        ctx = self._ctx
        if not ctx.schema.is_primary_key_table:
            has_vectors = ctx.options.deletion_vectors
            vectors = vectors_of(ctx, snapshot, place.partition, place.bucket) if has_vectors else {}
            return bool(plan_append(ctx, snapshot, place, vectors, full=self._full, rewrite=self._rewrite))
        if self._full and ctx.options.deletion_vectors:
            return True
        levels = levels_of(ctx, place.files)
        unit = plan_bucket(ctx, levels, full=self._full, rewrite=self._rewrite, small_bytes=self._small_bytes)
        return unit is not None

    def _attempt(self, snapshot: Snapshot, place: Place) -> Compacted | None:
        if not self._ctx.schema.is_primary_key_table:
            return compact_append(self._ctx, snapshot, place, full=self._full, rewrite=self._rewrite, beat=self._beat)
        return compact_bucket(
            self._ctx,
            snapshot,
            place,
            full=self._full,
            rewrite=self._rewrite,
            small_bytes=self._small_bytes,
            memory_bytes=self._memory_bytes,
            beat=self._beat,
        )

    def _commit(self, snapshot: Snapshot, waiting: Sequence[Compacted]) -> None:
        """Commit compactions together; where that cannot be, by halves, and the one in the way anew."""
        try:
            self._commit_one(snapshot, waiting)
        except ConflictError as error:
            if len(waiting) > 1:
                half = len(waiting) // 2
                self._commit(snapshot, waiting[:half])
                self._commit(snapshot, waiting[half:])
                return
            self._again(waiting[0], error)

    def _again(self, lost: Compacted, error: ConflictError) -> None:
        """Compact a bucket anew that others have changed, as it is by now."""
        lost.discard()
        partition, bucket = lost.change.partition, lost.change.bucket
        for _ in range(TRIES):
            snapshot = find.latest(self._ctx)
            if snapshot is None:
                return
            self._ctx = up_to(self._ctx, snapshot)
            entries = live_entries(self._ctx, snapshot, partitions=[partition], buckets=[bucket])
            done = next((self._attempt(snapshot, place) for place in places_of(self._ctx, entries)), None)
            if done is None:
                return
            try:
                self._commit_one(snapshot, [done])
            except ConflictError as again:
                done.discard()
                error = again
                continue
            return
        if not self._gives_up:
            raise error
        self._outcome.lost += 1

    def _commit_one(self, snapshot: Snapshot, waiting: Sequence[Compacted]) -> None:
        self._identifier += 1
        self._outcome.snapshots += commit(
            self._ctx,
            [each.change for each in waiting],
            identifier=self._identifier,
            check_from=snapshot,
            properties={FULL_PROPERTY: "true"} if self._full else None,
        )
        self._outcome.done += waiting

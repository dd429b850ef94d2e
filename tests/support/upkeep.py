"""A table whose data files are a few bytes each, and a note of what every snapshot is made of."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import msgspec
from tests.support.steps import SteppedFileIO
from tests.support.tables import change, data_file, open_context

from hosu.kernel.fileio import FileIO, MemoryFileIO
from hosu.tables.commit import commit
from hosu.tables.context import TableContext
from hosu.tables.manifests import ManifestReader, index_entries, live_entries, partition_values
from hosu.tables.records import DataFile, FileSource, Snapshot
from hosu.tables.snapshots import branches, find, tags
from hosu.testing.manual_clock import ManualClock

HOUR_MS = 3_600_000
PARTITIONS = ("a", "b")
QUIET_OPTIONS = {"snapshot.time-retained": "0 ms", "snapshot.num-retained.min": "1"}


class OneByOneFileIO(SteppedFileIO):
    """Deletes one key after another: each is a step at which it may stop."""

    def _delete_many(self, keys: Sequence[str]) -> None:
        for key in keys:
            self._change(key, lambda wanted=key: self.files.delete_many([wanted]))  # type: ignore[misc]


class Line:
    """A table at one of its branches. `made` says which data files each snapshot had when it was committed."""

    def __init__(self, ctx: TableContext, clock: ManualClock) -> None:
        self.ctx = ctx
        self.clock = clock
        self.made: dict[int, frozenset[str]] = {}
        self._numbers = 0

    @classmethod
    def new(cls, files: FileIO | None = None, *, options: Mapping[str, str] | None = None, **more: Any) -> "Line":
        """Make a table in memory, which keeps only the latest snapshot unless options are given."""
        clock = ManualClock()
        files = files or MemoryFileIO(clock)
        given = QUIET_OPTIONS if options is None else {"snapshot.num-retained.min": "1", **options}
        return cls(open_context(files, options=given, clock=clock, **more), clock)

    def at(self, branch: str) -> "Line":
        """Return the table at a branch, which has what the branch began with."""
        line = Line(branches.at(self.ctx, branch), self.clock)
        line.made = {snapshot.id: self.made[snapshot.id] for snapshot in find.snapshots(line.ctx)}
        return line

    def append(self, *, partition: str = "a", changelog: bool = False) -> Snapshot:
        """Commit a new file of level 0."""
        more: dict[str, Any] = {}
        if changelog:
            more["changelog_files"] = [self._written(partition)]
        return self._commit(change(self.ctx, self._written(partition), partition=partition, **more))

    def compact(self, *, partition: str = "a") -> Snapshot | None:
        """Merge what a partition has into one file of the highest level."""
        before = self._live(partition)
        if not before:
            return None
        after = self._written(partition, level=5, file_source=FileSource.COMPACT)
        return self._commit(change(self.ctx, partition=partition, compact_before=before, compact_after=[after]))

    def upgrade(self, *, partition: str = "a") -> Snapshot | None:
        """Move the file of a partition that has but one to the highest level under its name."""
        before = self._live(partition)
        if len(before) != 1 or before[0].level == 5:
            return None
        after = [msgspec.structs.replace(before[0], level=5)]
        return self._commit(change(self.ctx, partition=partition, compact_before=before, compact_after=after))

    def _commit(self, made: Any) -> Snapshot:
        self._numbers += 1
        self.clock.advance(1000)
        snapshot = commit(self.ctx, [made], identifier=self._numbers, check_from=find.latest(self.ctx))[-1]
        self.made[snapshot.id] = frozenset(self.live(snapshot))
        find.settle(self.ctx)
        return snapshot

    def _written(self, partition: str, **more: Any) -> DataFile:
        file = data_file(self.ctx, (0, 9), **more)
        self.ctx.files.put(self.ctx.layout.data_file((partition,), 0, file.file_name), file.file_name.encode())
        return file

    def _live(self, partition: str) -> list[DataFile]:
        latest = find.latest(self.ctx)
        return (
            []
            if latest is None
            else [entry.file for entry in live_entries(self.ctx, latest, partitions=[(partition,)])]
        )

    def live(self, snapshot: Snapshot, ctx: TableContext | None = None) -> list[str]:
        """Return the keys of a snapshot's data files."""
        ctx = ctx or self.ctx
        return keys_of(ctx, live_entries(ctx, snapshot))

    def fresh(self) -> TableContext:
        """Return the table as another process opens it: with nothing remembered."""
        again = open_context(self.ctx.files, clock=self.clock, options=dict(self.ctx.schema.options))
        return branches.replace_branch(again, self.ctx.layout.branch)

    def check(self) -> None:
        """Assert that each snapshot and tag that shows reads as it was committed: every file it needs is there."""
        ctx = self.fresh()
        shown = [*find.snapshots(ctx), *(tag.snapshot for tag in tags.tags(ctx))]
        for snapshot in shown:
            keys = self.live(snapshot, ctx)
            assert frozenset(keys) == self.made[snapshot.id], f"snapshot {snapshot.id} reads otherwise"
            for key in [*keys, *(ctx.layout.index(entry.file.file_name) for entry in index_entries(ctx, snapshot))]:
                assert ctx.files.exists(key), f"snapshot {snapshot.id} lacks {key}"
            assert snapshot.statistics is None or ctx.files.exists(ctx.layout.statistics(snapshot.statistics))

    def check_changelogs(self, snapshots: Iterable[Snapshot]) -> None:
        """Assert that the changelogs of snapshots are there."""
        ctx = self.fresh()
        for snapshot in snapshots:
            for key in keys_of(ctx, live_entries(ctx, snapshot, which="changelog")):
                assert ctx.files.exists(key), f"the changelog of snapshot {snapshot.id} lacks {key}"

    def needed(self) -> set[str]:
        """Return every key that snapshots and tags of this branch refer to, and the table's own files."""
        ctx = self.fresh()
        reader = ManifestReader(ctx)
        keys: set[str] = set()
        for snapshot in [*find.snapshots(ctx), *(tag.snapshot for tag in tags.tags(ctx))]:
            keys.update(self.live(snapshot, ctx))
            lists = [snapshot.base_manifest_list, snapshot.delta_manifest_list]
            names = {*lists, *(file.file_name for file in reader.data_manifests(snapshot))}
            keys.update(ctx.layout.manifest(name) for name in names)
        for snapshot in find.snapshots(ctx):
            if snapshot.changelog_manifest_list is not None:
                keys.add(ctx.layout.manifest(snapshot.changelog_manifest_list))
                keys.update(ctx.layout.manifest(file.file_name) for file in reader.changelog_manifests(snapshot))
                keys.update(keys_of(ctx, live_entries(ctx, snapshot, which="changelog")))
        return keys

    def stored(self) -> set[str]:
        """Return the keys of data files and manifests that are there."""
        root = f"{self.ctx.layout.path}/"
        found = {entry.key for entry in self.ctx.files.list(root)}
        return {key for key in found if key.startswith((f"{root}manifest/", f"{root}dt="))}


def keys_of(ctx: TableContext, entries: Iterable[Any]) -> list[str]:
    """Return the keys of the files of entries."""
    return [
        ctx.layout.data_file(partition_values(ctx, entry.partition), entry.bucket, entry.file.file_name)
        for entry in entries
    ]

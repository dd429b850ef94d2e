"""Which files snapshots, tags and branches refer to, and where those files are."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias, TypeVar

from hosu.kernel.errors import CorruptError, NotFoundError
from hosu.tables.context import TableContext
from hosu.tables.layout import MAIN_BRANCH
from hosu.tables.manifests.live import live_entries, live_files, partition_values
from hosu.tables.manifests.reader import ManifestReader
from hosu.tables.records import FileKind, ManifestEntry, Snapshot
from hosu.tables.snapshots import branches, changelogs, find, tags

T = TypeVar("T")

FileId: TypeAlias = tuple[bytes, int, str]
"""Partition, bucket and name: what a file keeps when it is moved to another level."""

_Span: TypeAlias = tuple[int | None, int | None]
"""The first and the last of some snapshots; None: no bound."""


@dataclass
class Doomed:
    """Files to delete, in the order in which they go: each list before the next."""

    data: list[str] = field(default_factory=list)
    """Data and changelog files, with their extra files."""

    manifests: list[str] = field(default_factory=list)
    indexes: list[str] = field(default_factory=list)
    """Index files and statistics."""

    lists: list[str] = field(default_factory=list)
    """Manifest lists and index manifests: what says which the others are."""

    bytes_freed: int = 0
    notes: list[str] = field(default_factory=list)

    def phases(self) -> list[list[str]]:
        """Return the lists in order."""
        return [self.data, self.manifests, self.indexes, self.lists]

    def all(self) -> list[str]:
        """Return every file."""
        return [key for phase in self.phases() for key in phase]

    def delete(self, ctx: TableContext) -> None:
        """Delete the files. A stop in between leaves what is to be done again readable."""
        for phase in self.phases():
            ctx.files.delete_many(phase)


def file_id(entry: ManifestEntry) -> FileId:
    """Return what an entry's file is known by."""
    return entry.partition, entry.bucket, entry.file.file_name


def keys_of(ctx: TableContext, entry: ManifestEntry) -> list[str]:
    """Return the keys of an entry's file and of those that belong to it; none for one outside the table's folder."""
    if entry.file.external_path is not None:
        return []
    folder = ctx.layout.bucket_path(partition_values(ctx, entry.partition), entry.bucket)
    return [folder + name for name in (entry.file.file_name, *entry.file.extra_files)]


def add_files(ctx: TableContext, doomed: Doomed, entries: Iterable[ManifestEntry]) -> None:
    """Add data or changelog files to what is deleted."""
    for entry in entries:
        keys = keys_of(ctx, entry)
        if keys:
            doomed.data += keys
            doomed.bytes_freed += entry.file.file_size
        else:
            doomed.notes.append(f"{entry.file.external_path} lies outside the table and is left")


def deleted_by(ctx: TableContext, snapshot: Snapshot) -> list[ManifestEntry]:
    """Return the files that a snapshot took out: not those that it moved to another level.

    Raises CorruptError when a manifest cannot be read.
    """
    reader = ManifestReader(ctx)
    added: set[FileId] = set()
    removed: dict[FileId, ManifestEntry] = {}
    for entries in reader.entries_of(reader.delta_manifests(snapshot)):
        for entry in entries:
            if entry.kind is FileKind.ADD:
                added.add(file_id(entry))
            else:
                removed[file_id(entry)] = entry
    return [entry for known, entry in removed.items() if known not in added]


def changelog_files(ctx: TableContext, snapshot: Snapshot) -> list[ManifestEntry]:
    """Return the files of a snapshot's changelog. Raises CorruptError when a manifest cannot be read."""
    return live_entries(ctx, snapshot, which="changelog")


def live_ids(ctx: TableContext, snapshots: Iterable[Snapshot]) -> set[FileId]:
    """Return the files that any of snapshots is made of. Raises CorruptError: one that cannot be told keeps nothing."""
    return {file_id(entry) for snapshot in snapshots for entry in live_files(ctx, snapshot).values()}


def manifest_names(ctx: TableContext, snapshot: Snapshot, *, with_changelog: bool = False) -> set[str]:
    """Return the names of a snapshot's manifests, lists, index files and statistics. Raises CorruptError."""
    reader = ManifestReader(ctx)
    names = {snapshot.base_manifest_list, snapshot.delta_manifest_list}
    names |= {file.file_name for file in reader.data_manifests(snapshot)}
    if with_changelog and snapshot.changelog_manifest_list is not None:
        names.add(snapshot.changelog_manifest_list)
        names |= {file.file_name for file in reader.changelog_manifests(snapshot)}
    if snapshot.index_manifest is not None:
        names.add(snapshot.index_manifest)
        names |= {entry.file.file_name for entry in reader.index(snapshot.index_manifest)}
    if snapshot.statistics is not None:
        names.add(snapshot.statistics)
    return names


def add_manifests(
    ctx: TableContext,
    doomed: Doomed,
    snapshot: Snapshot,
    kept: set[str],
    *,
    with_data: bool = True,
    with_changelog: bool = True,
    with_indexes: bool = True,
) -> None:
    """Add a snapshot's manifests to what is deleted, but for those of `kept`, which takes the names in.

    Lists that an earlier attempt has deleted already are passed over.
    """
    layout = ctx.layout
    lists = [snapshot.base_manifest_list, snapshot.delta_manifest_list] if with_data else []
    if with_changelog and snapshot.changelog_manifest_list is not None:
        lists.append(snapshot.changelog_manifest_list)
    for name in lists:
        for manifest in _or_none(ManifestReader(ctx).list, name):
            if _is_new(kept, manifest.file_name):
                doomed.manifests.append(layout.manifest(manifest.file_name))
        if _is_new(kept, name):
            doomed.lists.append(layout.manifest(name))
    if with_indexes:
        _add_indexes(ctx, doomed, snapshot, kept)


def _add_indexes(ctx: TableContext, doomed: Doomed, snapshot: Snapshot, kept: set[str]) -> None:
    name = snapshot.index_manifest
    if name is not None and name not in kept:
        for entry in _or_none(ManifestReader(ctx).index, name):
            if _is_new(kept, entry.file.file_name):
                doomed.indexes.append(ctx.layout.index(entry.file.file_name))
        kept.add(name)
        doomed.lists.append(ctx.layout.manifest(name))
    if snapshot.statistics is not None and _is_new(kept, snapshot.statistics):
        doomed.indexes.append(ctx.layout.statistics(snapshot.statistics))


def ids_elsewhere(ctx: TableContext, first: Snapshot | None = None) -> tuple[set[FileId], set[str]]:
    """Return the files and the manifests that the other branches refer to. Raises CorruptError.

    With a snapshot, only of those that it or a later one of this branch may refer to as well: what branches share is
    older than where they part, so the history of neither is read beyond that. States whose manifests are gone, which
    nobody can read any more, refer to nothing.
    """
    files: set[FileId] = set()
    manifests: set[str] = set()
    names = branches.branches(ctx)
    for name in [MAIN_BRANCH, *names] if names else []:
        if name != ctx.layout.branch:
            there = branches.replace_branch(ctx, name)
            files |= _ids_there(there, _shared(ctx, there, first), manifests)
    return files, manifests


def _ids_there(there: TableContext, span: _Span, manifests: set[str]) -> set[FileId]:
    """Return the files that the tags, changelogs and some snapshots of a branch refer to; add their manifests."""
    start, stop = span
    files: set[FileId] = set()
    for snapshot in (tag.snapshot for tag in tags.tags(there)):
        if is_whole(there, snapshot, manifests):
            files |= live_ids(there, [snapshot])
    is_first = True
    for snapshot in find.snapshots(there, start):
        if stop is not None and snapshot.id > stop and not is_first:
            break
        if not is_whole(there, snapshot, manifests):
            continue
        # What the first one has not, a later one has added.
        files |= live_ids(there, [snapshot]) if is_first else added_ids(there, snapshot)
        is_first = False
        files |= _changelog_ids(there, snapshot, manifests)
    for known in changelogs.ids(there):
        changelog = changelogs.load(there, known) if stop is None or known <= stop else None
        if changelog is None:
            continue
        if changelog.changelog_manifest_list is None and is_whole(there, changelog, manifests):
            files |= added_ids(there, changelog)
        files |= _changelog_ids(there, changelog, manifests)
    return files


def _shared(ctx: TableContext, there: TableContext, first: Snapshot | None) -> _Span:
    """Return which snapshots of another branch tell what it shares with a snapshot and those after it; None: no bound.

    Branches have the same snapshots up to where they part, and not one after. What a snapshot from `first` on has in
    common with any of the other branch was there at the last of these: so that one tells, or the earliest that the
    other branch has kept after it, with what was added in between.
    """
    low, high = find.earliest_id(there), find.latest_id(there)
    latest = find.latest_id(ctx)
    if first is None or low is None or high is None or latest is None:
        return None, None
    number = max(first.id, low)
    if number <= min(high, latest):
        ours = first if number == first.id else find.try_load(ctx, number)
        theirs = find.try_load(there, number)
        if ours is None or theirs is None:
            return None, None
        if find.is_same(ours, theirs):
            return number, _last_same(ctx, there, number, min(high, latest))
    if number == low:
        return low, low - 1  # they part before the earliest that is left there
    for tag in reversed(tags.tags(ctx)):
        if low <= tag.snapshot.id < first.id and find.is_same(tag.snapshot, find.try_load(there, tag.snapshot.id)):
            return tag.snapshot.id, first.id - 1
    return low, first.id - 1


def _last_same(ctx: TableContext, there: TableContext, low: int, high: int) -> int:
    """Return the last snapshot that two branches have in common, one that they have given: by halving."""
    while low < high:
        middle = (low + high + 1) // 2
        ours, theirs = find.try_load(ctx, middle), find.try_load(there, middle)
        if ours is None or theirs is None or find.is_same(ours, theirs):
            low = middle
        else:
            high = middle - 1
    return low


def is_whole(ctx: TableContext, snapshot: Snapshot, names: set[str] | None = None) -> bool:
    """Whether no manifest of a snapshot's rows is gone; their names are added to what is given."""
    try:
        found = manifest_names(ctx, snapshot)
        reader = ManifestReader(ctx)
        reader.entries_of(reader.data_manifests(snapshot))
    except CorruptError as error:
        if isinstance(error.__cause__, NotFoundError):
            return False
        raise
    if names is not None:
        names |= found
    return True


def _changelog_ids(ctx: TableContext, snapshot: Snapshot, names: set[str]) -> set[FileId]:
    """Return the files of a snapshot's changelog; none where it is gone: a branch may begin with an expired one."""
    if snapshot.changelog_manifest_list is None:
        return set()
    try:
        manifests = ManifestReader(ctx).changelog_manifests(snapshot)
        files = {file_id(entry) for entry in changelog_files(ctx, snapshot)}
    except CorruptError as error:
        if isinstance(error.__cause__, NotFoundError):
            return set()
        raise
    names |= {snapshot.changelog_manifest_list, *(file.file_name for file in manifests)}
    return files


def added_ids(ctx: TableContext, snapshot: Snapshot) -> set[FileId]:
    """Return the files that a snapshot added. Raises CorruptError when a manifest cannot be read."""
    reader = ManifestReader(ctx)
    deltas = reader.entries_of(reader.delta_manifests(snapshot))
    return {file_id(entry) for entries in deltas for entry in entries if entry.kind is FileKind.ADD}


def _or_none(read: Callable[[str], Sequence[T]], name: str) -> Sequence[T]:
    try:
        return read(name)
    except CorruptError:
        return []


def _is_new(kept: set[str], name: str) -> bool:
    if name in kept:
        return False
    kept.add(name)
    return True

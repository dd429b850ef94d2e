"""The files of a snapshot: what its manifests add, less what they take out."""

from collections.abc import Callable, Collection, Iterable, Sequence
from typing import Any, Final, Literal, TypeAlias

from hosu.kernel.errors import CorruptError, ErrorKind
from hosu.tables.context import TableContext
from hosu.tables.manifests.partitions import PartitionFilter, Partitions
from hosu.tables.manifests.reader import ManifestReader
from hosu.tables.records import DataFile, FileKind, IndexEntry, ManifestEntry, ManifestFile, Partition, Snapshot

Which: TypeAlias = Literal["all", "delta", "changelog"]
Identity: TypeAlias = tuple[Any, ...]
LiveFiles: TypeAlias = dict[Identity, ManifestEntry]

WHOLE_ENTRIES_MAX: Final = 200_000
"""Up to so many entries all files of a snapshot are kept merged, and the next snapshot's follow from them."""

SLOT_BYTES: Final = 250
"""About what an entry weighs in a dict of files, beside the entry itself."""


def identity(entry: ManifestEntry) -> Identity:
    """Return what makes two entries speak of one file: Paimon moves files between levels under their names."""
    file = entry.file
    return (
        file.file_name,
        file.level,
        entry.bucket,
        entry.partition,
        file.extra_files,
        file.embedded_index,
        file.external_path,
    )


def merge(entries: Iterable[ManifestEntry], files: LiveFiles) -> None:
    """Apply entries, in order, to the files that live; a DELETE of what is not there stays as an entry of its own.

    Raises CorruptError when a file is added twice.
    """
    for entry in entries:
        key = identity(entry)
        known = files.get(key)
        if entry.kind is FileKind.ADD:
            if known is not None and known.kind is FileKind.ADD:
                raise CorruptError(
                    ErrorKind.CORRUPT_TABLE, f"file {entry.file.file_name!r} is added twice", file=entry.file.file_name
                )
            files[key] = entry
        elif known is not None and known.kind is FileKind.ADD:
            del files[key]
        else:
            files[key] = entry


def live_files(ctx: TableContext, snapshot: Snapshot) -> LiveFiles:
    """Return all files of a snapshot by identity. The dict is shared: nobody may change it.

    Raises CorruptError naming the snapshot when its manifests contradict one another.
    """
    reader = ManifestReader(ctx)
    base, delta = reader.list(snapshot.base_manifest_list), reader.list(snapshot.delta_manifest_list)
    cache = ctx.cache
    names = tuple(file.file_name for file in (*base, *delta))
    key, key_before = ("live", ctx.layout.path, names), ("live", ctx.layout.path, names[: len(base)])
    found: LiveFiles | None = cache.peek(key)
    if found is not None:
        return found
    before: LiveFiles | None = cache.peek(key_before) if delta else None
    files = dict(before) if before is not None else {}
    for entries in reader.entries_of(delta if before is not None else [*base, *delta]):
        merge(entries, files)
    _check_no_deletes(ctx, snapshot, files)
    if before is not None:
        cache.drop(key_before)  # as a rule nobody asks for it again
    cache.put(key, files, SLOT_BYTES * (1 + len(files)))
    return files


def live_entries(
    ctx: TableContext,
    snapshot: Snapshot,
    *,
    partitions: PartitionFilter | None = None,
    buckets: Collection[int] | None = None,
    levels: Collection[int] | None = None,
    file_filter: Callable[[DataFile], bool] | None = None,
    which: Which = "all",
) -> list[ManifestEntry]:
    """Return the entries of a snapshot that match.

    With `which` "all" every file that is there; with "delta" what the snapshot changed, where an entry's kind tells
    whether it adds or takes out; with "changelog" the files of its changelog. `partitions` is a collection of
    partitions or a condition on one's values; manifests that hold none of them are not read. Raises CorruptError
    CORRUPT_TABLE.
    """
    reader, parts = ManifestReader(ctx), Partitions(ctx)
    if which == "all":
        manifests = reader.data_manifests(snapshot)
        if _is_small(manifests):
            entries: Iterable[ManifestEntry] = live_files(ctx, snapshot).values()
        else:
            entries = _merged(reader, [file for file in manifests if _may_hold(file, parts, partitions, buckets)])
            entries = (entry for entry in entries if entry.kind is FileKind.ADD)
    else:
        manifests = reader.delta_manifests(snapshot) if which == "delta" else reader.changelog_manifests(snapshot)
        entries = _merged(reader, [file for file in manifests if _may_hold(file, parts, partitions, buckets)])
    matches = parts.matcher(partitions)
    return [
        entry
        for entry in entries
        if (matches is None or matches(entry.partition))
        and (buckets is None or entry.bucket in buckets)
        and (levels is None or entry.file.level in levels)
        and (file_filter is None or file_filter(entry.file))
    ]


def missing(ctx: TableContext, snapshot: Snapshot, entries: Sequence[ManifestEntry]) -> list[ManifestEntry]:
    """Return the entries whose files a snapshot does not have."""
    if not entries:
        return []
    if _is_small(ManifestReader(ctx).data_manifests(snapshot)):
        there: Collection[Identity] = live_files(ctx, snapshot)
    else:
        parts = Partitions(ctx)
        wanted = {parts.values(entry.partition) for entry in entries}
        there = {identity(entry) for entry in live_entries(ctx, snapshot, partitions=wanted if parts.types else None)}
    return [entry for entry in entries if identity(entry) not in there]


def index_entries(
    ctx: TableContext,
    snapshot: Snapshot,
    index_type: str | None = None,
    *,
    partitions: PartitionFilter | None = None,
    buckets: Collection[int] | None = None,
) -> list[IndexEntry]:
    """Return the index files of a snapshot: of one type, or all."""
    if snapshot.index_manifest is None:
        return []
    matches = Partitions(ctx).matcher(partitions)
    return [
        entry
        for entry in ManifestReader(ctx).index(snapshot.index_manifest)
        if (index_type is None or entry.file.index_type == index_type)
        and (matches is None or matches(entry.partition))
        and (buckets is None or entry.bucket in buckets)
    ]


def partition_values(ctx: TableContext, data: bytes) -> Partition:
    """Return the values of a partition in the serialised form that entries have."""
    return Partitions(ctx).values(data)


def _is_small(manifests: Sequence[ManifestFile]) -> bool:
    return sum(file.num_added_files + file.num_deleted_files for file in manifests) <= WHOLE_ENTRIES_MAX


def _merged(reader: ManifestReader, manifests: Sequence[ManifestFile]) -> Iterable[ManifestEntry]:
    files: LiveFiles = {}
    for entries in reader.entries_of(manifests):
        merge(entries, files)
    return files.values()


def _may_hold(
    manifest: ManifestFile, parts: Partitions, wanted: PartitionFilter | None, buckets: Collection[int] | None
) -> bool:
    if buckets is not None and manifest.min_bucket is not None and manifest.max_bucket is not None:
        low, high = manifest.min_bucket, manifest.max_bucket
        if not any(low <= bucket <= high for bucket in buckets):
            return False
    return parts.may_hold(manifest, wanted)


def _check_no_deletes(ctx: TableContext, snapshot: Snapshot, files: LiveFiles) -> None:
    for entry in files.values():
        if entry.kind is FileKind.DELETE:
            raise CorruptError(
                ErrorKind.CORRUPT_TABLE,
                f"{ctx.identifier}: snapshot {snapshot.id} takes out file {entry.file.file_name!r}, which no manifest "
                "of it adds: roll back to an earlier snapshot",
                snapshot=snapshot.id,
                file=entry.file.file_name,
            )

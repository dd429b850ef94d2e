"""The files of a snapshot: what its manifests add, less what they take out."""

from collections.abc import Callable, Collection, Iterable, Sequence
from typing import Any, Final, Literal, TypeAlias

from hosu.kernel.errors import CorruptError, ErrorKind
from hosu.tables.context import TableContext
from hosu.tables.manifests.partitions import PartitionFilter, Partitions
from hosu.tables.manifests.reader import ENTRY_BYTES, ManifestReader
from hosu.tables.records import DataFile, FileKind, IndexEntry, ManifestEntry, ManifestFile, Partition, Snapshot

Which: TypeAlias = Literal["all", "delta", "changelog"]
Identity: TypeAlias = tuple[Any, ...]
LiveFiles: TypeAlias = dict[Identity, ManifestEntry]

_WHOLE: Final = "live"
_BY_PARTITION: Final = "live by partition"

WHOLE_ENTRIES_MAX: Final = 200_000
"""Up to so many entries all files of a snapshot are kept merged, and the next snapshot's follow from them."""

SLOT_BYTES: Final = 250
"""About what an entry weighs in a dict of files, beside the entry itself."""

_FOLLOWED_MAX: Final = 100
"""How many manifests may follow those of which all is known: their number is bounded by their being merged."""

KEPT_BY_PARTITION_MAX: Final = 20_000
"""How many entries of a larger table are kept: of the partitions read last."""


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
    manifests = ManifestReader(ctx).data_manifests(snapshot)
    files, rest = _nearest(ctx, _WHOLE, manifests)
    if files is not None and not rest:
        return files
    files = _advanced(ctx, files or {}, rest)
    _check_no_deletes(ctx, snapshot, files)
    ctx.cache.drop(_state(ctx, _WHOLE, manifests[: len(manifests) - len(rest)]))  # as a rule nobody asks for it again
    ctx.cache.put(_state(ctx, _WHOLE, manifests), files, _weight(files))
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
        elif parts.types and isinstance(partitions, Collection):
            found = _of_partitions(ctx, snapshot, {parts.encode(values): values for values in partitions})
            entries = (entry for files in found for entry in files.values())
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


def take_over(ctx: TableContext, before: Sequence[ManifestFile], after: Sequence[ManifestFile]) -> None:
    """Note that manifests say the same as others did, so that what is known of those is not made out anew."""
    whole, rest = _nearest(ctx, _WHOLE, before)
    if whole is not None:
        files = _advanced(ctx, whole, rest) if rest else whole
        ctx.cache.put(_state(ctx, _WHOLE, after), files, _weight(files))
    some, rest = _nearest(ctx, _BY_PARTITION, before)
    if some is not None:
        known = _advanced_by_partition(ctx, some, rest)
        ctx.cache.put(_state(ctx, _BY_PARTITION, after), known, _weight_by_partition(known))


def _nearest(
    ctx: TableContext, kind: str, manifests: Sequence[ManifestFile]
) -> tuple[dict[Any, Any] | None, Sequence[ManifestFile]]:
    """Return what is known of the first so many manifests, and those that follow; None and all when nothing is."""
    _, path, names = _state(ctx, kind, manifests)
    for count in range(len(names), max(len(names) - _FOLLOWED_MAX, 0), -1):
        found = ctx.cache.peek((kind, path, names[:count]))
        if found is not None:
            return found, manifests[count:]
    return None, manifests


def _advanced(ctx: TableContext, files: LiveFiles, manifests: Sequence[ManifestFile]) -> LiveFiles:
    files = dict(files)
    for entries in ManifestReader(ctx).entries_of(manifests):
        merge(entries, files)
    return files


def _advanced_by_partition(
    ctx: TableContext, known: dict[bytes, LiveFiles], manifests: Sequence[ManifestFile]
) -> dict[bytes, LiveFiles]:
    known = dict(known)
    _apply(known, ManifestReader(ctx).entries_of(manifests))
    return known


def _state(ctx: TableContext, kind: str, manifests: Sequence[ManifestFile]) -> tuple[Any, ...]:
    return kind, ctx.layout.path, tuple(file.file_name for file in manifests)


def _weight(files: LiveFiles) -> int:
    return SLOT_BYTES * (1 + len(files))


def _weight_by_partition(known: dict[bytes, LiveFiles]) -> int:
    return sum(SLOT_BYTES + (SLOT_BYTES + ENTRY_BYTES) * len(files) for files in known.values())


def _of_partitions(ctx: TableContext, snapshot: Snapshot, wanted: dict[bytes, Partition]) -> list[LiveFiles]:
    """Return the files of each of some partitions. What was known of them before a snapshot follows its changes."""
    reader, parts = ManifestReader(ctx), Partitions(ctx)
    manifests = reader.data_manifests(snapshot)
    nearest, rest = _nearest(ctx, _BY_PARTITION, manifests)
    known = {} if nearest is None else _advanced_by_partition(ctx, nearest, rest)
    lacking = {data: values for data, values in wanted.items() if data not in known}
    if lacking:
        read: dict[bytes, LiveFiles] = {data: {} for data in lacking}
        _apply(read, reader.entries_of([file for file in manifests if parts.may_hold(file, list(lacking.values()))]))
        known.update(read)
    found = [known[data] for data in wanted]
    for files in found:
        _check_no_deletes(ctx, snapshot, files)
    if nearest is not None and rest:
        ctx.cache.drop(_state(ctx, _BY_PARTITION, manifests[: len(manifests) - len(rest)]))
    if lacking or rest:
        kept = _last_read(known, wanted)
        ctx.cache.put(_state(ctx, _BY_PARTITION, manifests), kept, _weight_by_partition(kept))
    return found


def _apply(known: dict[bytes, LiveFiles], entries: Iterable[Sequence[ManifestEntry]]) -> None:
    """Apply entries to the partitions that are known; their files are copied, as others may be reading them."""
    changed: dict[bytes, list[ManifestEntry]] = {}
    for some in entries:
        for entry in some:
            if entry.partition in known:
                changed.setdefault(entry.partition, []).append(entry)
    for partition, of_partition in changed.items():
        files = dict(known[partition])
        merge(of_partition, files)
        known[partition] = files


def _last_read(known: dict[bytes, LiveFiles], wanted: Collection[bytes]) -> dict[bytes, LiveFiles]:
    """Return the partitions that may be kept, those read now the last to go."""
    kept: dict[bytes, LiveFiles] = {}
    count = 0
    for data in (*wanted, *(data for data in reversed(known) if data not in wanted)):
        count += len(known[data])
        if count > KEPT_BY_PARTITION_MAX:
            break
        kept[data] = known[data]
    return dict(reversed(kept.items()))


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

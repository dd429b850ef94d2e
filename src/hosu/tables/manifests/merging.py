"""Many small manifests made into few, as a commit finds them."""

from collections.abc import Sequence
from typing import Final

from hosu.tables.context import TableContext
from hosu.tables.manifests.live import Identity, LiveFiles, identity, merge
from hosu.tables.manifests.writing import ManifestWriter
from hosu.tables.records import FileKind, ManifestEntry, ManifestFile, Partition

GROWTH: Final = 4
"""How many times the entries of all that follow it a manifest must have to be left alone by a merge."""


def merge_manifests(ctx: TableContext, writer: ManifestWriter, manifests: Sequence[ManifestFile]) -> list[ManifestFile]:
    """Return manifests that say the same in fewer files, where options say that it is time.

    When what must be rewritten has reached `manifest.full-compaction-threshold-size`, every DELETE meets its ADD and
    both go. Otherwise runs of small manifests, of `manifest.merge-min-count` or of a whole target size, become one.
    """
    return _full(ctx, writer, manifests) or _minor(ctx, writer, manifests)


def _minor(ctx: TableContext, writer: ManifestWriter, manifests: Sequence[ManifestFile]) -> list[ManifestFile]:
    found: list[ManifestFile] = []
    run: list[ManifestFile] = []
    size_bytes = 0
    for manifest in manifests:
        run.append(manifest)
        size_bytes += manifest.file_size
        if size_bytes >= ctx.options.manifest_target_file_size:
            found += _merged(writer, run)
            run, size_bytes = [], 0
    if len(run) < ctx.options.manifest_merge_min_count:
        return found + run
    # A big manifest waits until those after it have grown: else each merge would write all of the table again.
    following = sum(map(_entry_count, run[1:]))
    while len(run) > 1 and _entry_count(run[0]) > GROWTH * following:
        found.append(run.pop(0))
        following -= _entry_count(run[0])
    return found + _merged(writer, run)


def _entry_count(manifest: ManifestFile) -> int:
    return manifest.num_added_files + manifest.num_deleted_files


def _merged(writer: ManifestWriter, manifests: list[ManifestFile]) -> list[ManifestFile]:
    if len(manifests) <= 1:
        return manifests
    files: LiveFiles = {}
    for entries in writer.reader.entries_of(manifests):
        merge(entries, files)
    return writer.entries(list(files.values()))


def _full(ctx: TableContext, writer: ManifestWriter, manifests: Sequence[ManifestFile]) -> list[ManifestFile]:
    """Return the manifests of a full rewrite, or nothing when it is not time for one."""
    target_bytes = ctx.options.manifest_target_file_size

    def must_change(manifest: ManifestFile) -> bool:
        return manifest.num_deleted_files > 0 or manifest.file_size < target_bytes

    if (
        sum(manifest.file_size for manifest in manifests if must_change(manifest))
        < ctx.options.manifest_full_compaction_threshold_size
    ):
        return []
    gone, partitions = _deletes(writer, manifests)
    kept: list[ManifestFile] = []
    read: list[Sequence[ManifestEntry]] = []
    for manifest in manifests:
        if not must_change(manifest) and not (gone and writer.partitions.may_hold(manifest, partitions)):
            kept.append(manifest)
            continue
        entries = writer.reader.entries(manifest.file_name)
        if must_change(manifest) or any(identity(entry) in gone for entry in entries):
            read.append(entries)
        else:
            kept.append(manifest)
    if len(read) <= 1:
        return []
    files: LiveFiles = {}
    for entries in read:
        merge(entries, files)
    return kept + writer.entries(list(files.values()))


def _deletes(writer: ManifestWriter, manifests: Sequence[ManifestFile]) -> tuple[set[Identity], set[Partition]]:
    """Return which files are taken out somewhere, and their partitions."""
    gone: set[Identity] = set()
    partitions: set[Partition] = set()
    for entries in writer.reader.entries_of([manifest for manifest in manifests if manifest.num_deleted_files]):
        for entry in entries:
            if entry.kind is FileKind.DELETE:
                gone.add(identity(entry))
                partitions.add(writer.partitions.values(entry.partition))
    return gone, partitions

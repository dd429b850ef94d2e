"""Orphans: files below a table's folder that nothing refers to.

What a writer left that was killed before its commit, and what a rollback or a deleted branch left behind. A file
younger than a day may belong to a commit under way, so it stays.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Final, TypeVar

from hosu.kernel.errors import CorruptError, ErrorKind, InvalidInputError
from hosu.kernel.fileio import FileStat
from hosu.tables.context import TableContext
from hosu.tables.layout import MAIN_BRANCH
from hosu.tables.manifests.reader import ManifestReader
from hosu.tables.records import Snapshot
from hosu.tables.snapshots import branches, changelogs, find, tags
from hosu.tables.upkeep.report import Report

T = TypeVar("T")

YOUNG_MS: Final = 86_400_000
"""How old a file must be at least, unless told otherwise."""

YOUNG_MS_MIN: Final = 60_000
"""The least that may be told: no commit is that fast for sure, so other writers should rest."""

_METADATA: Final = ("manifest/", "index/", "statistics/")
_BUCKET: Final = "bucket-"


def clean_orphans(ctx: TableContext, *, older_than_ms: int | None = None, dry_run: bool = False) -> Report:
    """Delete what no snapshot, tag, changelog or branch refers to, and return what went.

    older_than_ms is a time: files written at or after it stay; a day ago unless given. With dry_run nothing changes.
    Raises CorruptError when it cannot be told what is needed: then nothing is deleted.
    """
    now_ms = ctx.clock.now_ms()
    limit_ms = now_ms - YOUNG_MS if older_than_ms is None else older_than_ms
    if limit_ms > now_ms - YOUNG_MS_MIN:
        raise InvalidInputError(
            ErrorKind.INVALID_ARGUMENT,
            "older_than_ms must lie a minute or more in the past: younger files may belong to a commit under way",
            older_than_ms=older_than_ms,
        )
    report = Report("clean orphans", dry_run)
    # Candidates first: a file that becomes needed later than this was written later than the limit.
    candidates = [stat for stat in _candidates(ctx) if stat.modified_ms < limit_ms]
    if not candidates:
        return report
    used = _used_names(ctx)
    orphans = [stat for stat in candidates if stat.key.rsplit("/", 1)[-1] not in used]
    report.files += [stat.key for stat in orphans]
    report.bytes_freed += sum(stat.size_bytes for stat in orphans)
    if not dry_run:
        ctx.files.delete_many(report.files)
    return report


def _candidates(ctx: TableContext) -> Iterator[FileStat]:
    """Yield the files that only manifests refer to: metadata, and data in the folders of buckets."""
    root = f"{ctx.layout.path}/"
    partition_count = len(ctx.layout.partition_keys)
    for entry in ctx.files.list(root):
        if not isinstance(entry, FileStat):
            continue
        parts = entry.key[len(root) :].split("/")
        is_data = (
            len(parts) == partition_count + 2
            and parts[-2].startswith(_BUCKET)
            and all("=" in part for part in parts[:partition_count])
        )
        if is_data or entry.key[len(root) :].startswith(_METADATA):
            yield entry


def _used_names(ctx: TableContext) -> set[str]:
    used: set[str] = set()
    gone: set[str] = set()
    for name in (MAIN_BRANCH, *branches.branches(ctx)):
        there = branches.replace_branch(ctx, name)
        if name != MAIN_BRANCH and not any(there.files.list(there.layout.schemas)):
            raise CorruptError(
                ErrorKind.CORRUPT_TABLE,
                f"branch {name!r} of {ctx.identifier} has no schema, so it cannot be told what it needs: delete it",
                branch=name,
            )
        # Each set is complete only in this order: a snapshot that expires meanwhile has become a changelog by then,
        # and what a tag keeps is kept after its snapshot has gone.
        for snapshot in find.snapshots(there):
            missing = _add_names(there, snapshot, used, gone)
            if missing is not None and _is_shown(there, snapshot):
                raise _lost(there, f"snapshot {snapshot.id}", missing)
        for tag in tags.tags(there):
            missing = _add_names(there, tag.snapshot, used, gone)
            if missing is not None and tags.try_get(there, tag.name) is not None:
                raise _lost(there, f"tag {tag.name!r}", missing)
        for snapshot in _changelogs(there):
            _add_names(there, snapshot, used, gone)  # its manifests may have expired with its snapshot
    return used


def _is_shown(ctx: TableContext, snapshot: Snapshot) -> bool:
    return not tags.is_expiring(ctx, snapshot.id) and find.try_load(ctx, snapshot.id) == snapshot


def _lost(ctx: TableContext, what: str, path: str) -> CorruptError:
    return CorruptError(
        ErrorKind.CORRUPT_TABLE,
        f"{ctx.identifier}: {path!r} is missing, so it cannot be told which files {what} needs: restore the file, or "
        f"let go of {what}; nothing was deleted",
        path=path,
    )


def _changelogs(ctx: TableContext) -> Iterator[Snapshot]:
    for known in changelogs.ids(ctx):
        snapshot = changelogs.load(ctx, known)
        if snapshot is not None:
            yield snapshot


def _add_names(ctx: TableContext, snapshot: Snapshot, used: set[str], gone: set[str]) -> str | None:
    """Add the names of everything a snapshot refers to; what is there already is not read again.

    Returns a file that says what its rows are and is gone, None when all are there. Its changelog may have expired:
    tags, and branches made of them, outlive that.
    """
    reader = ManifestReader(ctx)
    names: list[str] = []

    def rows(name: str, read: Callable[[str], Sequence[T]]) -> Sequence[T]:
        names.append(name)
        return _unless_gone(ctx, name, read, used, gone)

    def add(name: str) -> None:
        for manifest in rows(name, reader.list):
            for entry in rows(manifest.file_name, reader.entries):
                used.add(entry.file.file_name)
                used.update(entry.file.extra_files)

    add(snapshot.base_manifest_list)
    add(snapshot.delta_manifest_list)
    if snapshot.index_manifest is not None:
        used.update(entry.file.file_name for entry in rows(snapshot.index_manifest, reader.index))
    if snapshot.statistics is not None:
        used.add(snapshot.statistics)
    missing = next((ctx.layout.manifest(name) for name in names if name in gone), None)
    if snapshot.changelog_manifest_list is not None:
        add(snapshot.changelog_manifest_list)
    return missing


def _unless_gone(
    ctx: TableContext, name: str, read: Callable[[str], Sequence[T]], used: set[str], gone: set[str]
) -> Sequence[T]:
    """Return what a file of metadata says; nothing where it has been read, or is not there."""
    if name in used:
        return []
    used.add(name)
    key = ctx.layout.manifest(name)
    if ctx.cache.peek(key) is None and not ctx.files.exists(key):
        gone.add(name)
        return []
    return read(name)

"""Tags that go, with what only they kept, and tags that are made on schedule."""

from collections.abc import Iterator, Sequence

from hosu.kernel.errors import CorruptError
from hosu.tables.context import TableContext
from hosu.tables.manifests.live import live_files
from hosu.tables.records import Snapshot
from hosu.tables.snapshots import changelogs, find, tags
from hosu.tables.upkeep.references import (
    Doomed,
    FileId,
    add_files,
    add_manifests,
    added_ids,
    file_id,
    ids_elsewhere,
    is_whole,
    live_ids,
    manifest_names,
)
from hosu.tables.upkeep.report import Report


def delete_tag(ctx: TableContext, name: str, *, dry_run: bool = False) -> Report:
    """Delete a tag, and what only it kept of a snapshot that has expired.

    A stop in between leaves files to the orphan cleaning, and so does a tag that cannot be read. Raises NotFoundError
    TABLE_TAG_NOT_FOUND, CorruptError when it cannot be told what others need.
    """
    report = Report("delete tag", dry_run, tags_deleted=[name])
    tag = tags.get(ctx, name)
    doomed = _doomed(ctx, tag, tags.tags(ctx))
    if not dry_run:
        tags.delete_file(ctx, name)
        # A tag made from this one is seen now, or sees that this one is gone.
        doomed = _doomed(ctx, tag, tags.tags(ctx))
    report.files += [ctx.layout.tag(name), *doomed.all()]
    report.bytes_freed += doomed.bytes_freed
    report.notes += doomed.notes
    if not dry_run:
        doomed.delete(ctx)
    return report


def expire_tags(ctx: TableContext, *, dry_run: bool = False) -> Report:
    """Delete the tags whose time is over."""
    report = Report("expire tags", dry_run)
    now_ms = ctx.clock.now_ms()
    for tag in tags.tags(ctx):
        if tag.is_due(now_ms):
            report.add(delete_tag(ctx, tag.name, dry_run=dry_run))
    return report


def _doomed(ctx: TableContext, tag: tags.Tag, tagged: Sequence[tags.Tag]) -> Doomed:
    doomed = Doomed()
    snapshot = tag.snapshot
    others = [other for other in tagged if other.name != tag.name]
    if not tags.is_expiring(ctx, snapshot.id) and find.try_load(ctx, snapshot.id) is not None:
        return doomed
    if any(other.snapshot.id == snapshot.id for other in others):
        return doomed
    try:
        own = list(live_files(ctx, snapshot).values())
    except CorruptError as error:
        doomed.notes.append(f"tag {tag.name!r}: {error.message}; what it kept is left for the orphan cleaning")
        return doomed
    neighbours = _neighbours(ctx, snapshot, others)
    needed: set[FileId] = live_ids(ctx, neighbours)
    files_elsewhere, kept = ids_elsewhere(ctx, snapshot)
    for changelog in _changelogs_up_to(ctx, snapshot.id):
        needed |= added_ids(ctx, changelog)
        kept |= manifest_names(ctx, changelog)
    add_files(
        ctx,
        doomed,
        [entry for entry in own if file_id(entry) not in needed and file_id(entry) not in files_elsewhere],
    )
    for neighbour in neighbours:
        kept |= manifest_names(ctx, neighbour)
    add_manifests(ctx, doomed, snapshot, kept, with_changelog=False)
    return doomed


def _changelogs_up_to(ctx: TableContext, snapshot_id: int) -> Iterator[Snapshot]:
    """Yield the changelogs kept up to a snapshot that are read from what it added: they have no files of their own."""
    for known in changelogs.ids(ctx):
        found = changelogs.load(ctx, known) if known <= snapshot_id else None
        if found is not None and found.changelog_manifest_list is None and is_whole(ctx, found):
            yield found


def _neighbours(ctx: TableContext, snapshot: Snapshot, others: Sequence[tags.Tag]) -> list[Snapshot]:
    """Return the nearest states kept before and after a snapshot: what others share with it, these have too."""
    before = [other.snapshot for other in others if other.snapshot.id < snapshot.id]
    after = [other.snapshot for other in others if other.snapshot.id > snapshot.id]
    earliest = find.earliest(ctx)
    if earliest is not None and earliest.id > snapshot.id:
        after.append(earliest)
    return [*before[-1:], *sorted(after, key=lambda found: found.id)[:1]]

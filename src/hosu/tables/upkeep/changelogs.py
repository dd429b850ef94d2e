"""The expiry of changelogs that have outlived their snapshots."""

from hosu.kernel.errors import CorruptError
from hosu.tables.context import TableContext
from hosu.tables.records import Snapshot
from hosu.tables.snapshots import find, tags
from hosu.tables.snapshots.changelogs import folder, ids, load, write_earliest
from hosu.tables.snapshots.leases import first_wanted
from hosu.tables.upkeep.references import (
    Doomed,
    FileId,
    add_files,
    add_manifests,
    changelog_files,
    deleted_by,
    file_id,
    ids_elsewhere,
    live_ids,
    manifest_names,
)
from hosu.tables.upkeep.report import Report
from hosu.tables.upkeep.retention import of_changelogs


def expire(ctx: TableContext, *, dry_run: bool = False) -> Report:
    """Delete the changelogs that the table's options no longer keep, with their files. Raises CorruptError."""
    report = Report("expire changelogs", dry_run)
    latest, earliest = find.latest(ctx), find.earliest(ctx)
    if latest is None or earliest is None or not ctx.files.exists(folder(ctx) + find.LATEST):
        return report
    known = ids(ctx)
    going = _going(ctx, known, latest.id)
    if going and not dry_run:
        # Who reads from now on is told that they are gone; who began before is seen.
        write_earliest(ctx, going[-1].id + 1)
        going = _before(going, first_wanted(ctx))
        if going:
            write_earliest(ctx, going[-1].id + 1)
    if not going:
        return report
    following = [number for number in known if number > going[-1].id][:1]
    doomed = _doomed(ctx, going, following, earliest)
    keys = [ctx.layout.changelog(snapshot.id) for snapshot in going]
    report.changelogs += [snapshot.id for snapshot in going]
    report.files += [*doomed.all(), *keys]
    report.bytes_freed += doomed.bytes_freed
    report.notes += doomed.notes
    if not dry_run:
        doomed.delete(ctx)
        ctx.files.delete_many(keys)
    return report


def _going(ctx: TableContext, known: list[int], latest_id: int) -> list[Snapshot]:
    retention = of_changelogs(ctx.options)
    oldest_ms = ctx.clock.now_ms() - retention.time_ms
    going: list[Snapshot] = []
    for snapshot_id in known[: retention.deletes_max]:
        found = load(ctx, snapshot_id)
        if found is None:
            continue
        is_too_many = snapshot_id <= latest_id - retention.count_max
        is_among_latest = snapshot_id > latest_id - retention.count_min
        if is_among_latest or (not is_too_many and found.time_millis >= oldest_ms):
            break
        going.append(found)
    return _before(going, first_wanted(ctx))


def _before(going: list[Snapshot], wanted: int | None) -> list[Snapshot]:
    return [snapshot for snapshot in going if wanted is None or snapshot.id < wanted]


def _doomed(ctx: TableContext, going: list[Snapshot], following: list[int], earliest: Snapshot) -> Doomed:
    doomed = Doomed()
    tagged = tags.tags(ctx)
    files_elsewhere, kept = ids_elsewhere(ctx)
    kept |= manifest_names(ctx, earliest)
    for snapshot in (load(ctx, known) for known in following):
        if snapshot is not None:
            kept |= _names_left(ctx, snapshot)
    for tag in tagged:
        if tag.snapshot.id <= going[-1].id:
            kept |= manifest_names(ctx, tag.snapshot)
    for snapshot in going:
        has_own = snapshot.changelog_manifest_list is not None
        try:
            entries = changelog_files(ctx, snapshot) if has_own else deleted_by(ctx, snapshot)
        except CorruptError as error:
            doomed.notes.append(f"changelog {snapshot.id}: {error.message}; its files are left for the orphan cleaning")
            entries = []
        tag_before = None if has_own else tags.nearest_before(tagged, snapshot.id)
        of_tag: set[FileId] = live_ids(ctx, [tag_before.snapshot]) if tag_before is not None else set()
        entries = [entry for entry in entries if file_id(entry) not in of_tag]
        add_files(ctx, doomed, [entry for entry in entries if file_id(entry) not in files_elsewhere])
        add_manifests(ctx, doomed, snapshot, kept, with_data=not has_own, with_changelog=has_own, with_indexes=False)
    return doomed


def _names_left(ctx: TableContext, snapshot: Snapshot) -> set[str]:
    """Return the manifests of a changelog that are there still: where it has its own, its snapshot's have gone."""
    if snapshot.changelog_manifest_list is None:
        return manifest_names(ctx, snapshot)
    return set()

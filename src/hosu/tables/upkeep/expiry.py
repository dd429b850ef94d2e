"""Expiry: snapshots that nobody travels back to go, with the files that only they were made of.

In this order, so that a stop at any point leaves every snapshot that shows readable, and the next expiry goes on:

1. `EARLIEST` says where what is kept begins. Reads and tags of what lies below are refused from now on.
2. Leases, consumers, tags and branches are looked at: those that came before 1 are seen, those that come after see 1.
3. Data and changelog files go, then manifests, then manifest lists, then the snapshots' own files from the first on.

What an earlier expiry left below `EARLIEST` is found by looking there, and goes with the rest.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Final

from hosu.kernel.errors import CorruptError, ErrorKind, UnavailableError
from hosu.tables.context import TableContext
from hosu.tables.options import ChangelogProducer
from hosu.tables.records import FileSource, ManifestEntry, Snapshot
from hosu.tables.snapshots import changelogs, find, leases, tags
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
from hosu.tables.upkeep.retention import Retention, changelogs_stay, of_snapshots

_TAGS_GONE_MAX: Final = 20


@dataclass(frozen=True)
class _Plan:
    """Snapshots that go, in order, and the one that stays behind them."""

    going: list[Snapshot]
    end: Snapshot

    @property
    def first_id(self) -> int:
        return self.going[0].id


def expire(
    ctx: TableContext,
    *,
    older_than_ms: int | None = None,
    retain_min: int | None = None,
    retain_max: int | None = None,
    max_deletes: int | None = None,
    dry_run: bool = False,
) -> Report:
    """Delete the snapshots that the table's options do not keep, and return what went.

    older_than_ms is a time: a snapshot may go once another one has followed it before then. What is given comes before
    the options. Snapshots that consumers or leases need stay, and the files that tags and branches need. With dry_run
    nothing changes, and the report is what an expiry at this moment would do. Raises InvalidInputError TABLE_INVALID,
    CorruptError when it cannot be told what is to be kept.
    """
    now_ms = ctx.clock.now_ms()
    retention = of_snapshots(ctx.options).changed(
        retain_min=retain_min,
        retain_max=retain_max,
        time_ms=None if older_than_ms is None else max(0, now_ms - older_than_ms),
        max_deletes=max_deletes,
    )
    report = Report("expire", dry_run)
    earliest, latest = find.earliest_id(ctx), find.latest_id(ctx)
    if earliest is None or latest is None:
        return report
    end = _end(ctx, retention, earliest, latest, now_ms)
    if end > earliest and not dry_run:
        end = _announce(ctx, earliest, end)
    plan = _plan(ctx, _first_left(ctx, earliest, retention.deletes_max), end)
    if plan is not None:
        _run(ctx, plan, report)
    return report


def _end(ctx: TableContext, retention: Retention, earliest: int, latest: int, now_ms: int) -> int:
    """Return the first snapshot that stays."""
    start = max(latest - retention.count_max + 1, earliest)
    end = min(latest - retention.count_min + 1, earliest + retention.deletes_max)
    wanted = leases.first_wanted(ctx)
    if wanted is not None:
        end = min(end, wanted)
    for snapshot_id in range(start, end):
        following = find.try_load(ctx, snapshot_id + 1)
        if following is not None and following.time_millis >= now_ms - retention.time_ms:
            return snapshot_id
    return max(end, earliest)


def _announce(ctx: TableContext, earliest: int, end: int) -> int:
    """Say where what is kept begins, and return where after a look at the leases that came meanwhile."""
    hint = ctx.layout.snapshots + find.EARLIEST
    ctx.files.put(hint, str(end).encode())
    wanted = leases.first_wanted(ctx)
    if wanted is None or wanted >= end:
        return end
    lower = max(wanted, earliest)
    ctx.files.put(hint, str(lower).encode())
    return lower


def _first_left(ctx: TableContext, earliest: int, gap_max: int) -> int:
    """Return the first snapshot that an earlier expiry has left below the earliest; the earliest if it left none.

    The file of the one right below goes last: where it is not there, nothing is left.
    """
    first = known = earliest
    while known > find.FIRST_ID:
        known -= 1
        if ctx.files.exists(ctx.layout.snapshot(known)):
            first = known
        elif first == earliest or first - known >= gap_max:
            break
    return first


def _plan(ctx: TableContext, first: int, end: int) -> _Plan | None:
    if end <= first:
        return None
    loaded = list(ctx.pool.map(lambda known: find.try_load(ctx, known), range(first, end + 1)))
    last = loaded.pop()
    going = [snapshot for snapshot in loaded if snapshot is not None]
    return _Plan(going, last) if going and last is not None else None


def _run(ctx: TableContext, plan: _Plan, report: Report) -> None:
    doomed = _settled(ctx, plan)
    ids = [snapshot.id for snapshot in plan.going]
    keys = [ctx.layout.snapshot(known) for known in ids]
    report.snapshots += ids
    report.files += [*doomed.all(), *keys]
    report.bytes_freed += doomed.bytes_freed
    report.notes += doomed.notes
    stay = changelogs_stay(ctx.options)
    if stay:
        report.changelogs += ids
    if report.dry_run:
        return
    doomed.delete(ctx)
    if stay:
        changelogs.keep(ctx, ids)
    ctx.files.delete_many(keys[:-1])
    ctx.files.delete_many(keys[-1:])


def _settled(ctx: TableContext, plan: _Plan) -> Doomed:
    """Return the files that go, by the tags that are there: as often as one is deleted meanwhile, again."""
    for _ in range(_TAGS_GONE_MAX):
        with suppress(_TagGoneError):
            return _doomed(ctx, plan)
    raise UnavailableError(
        ErrorKind.STORE_UNAVAILABLE, f"{ctx.identifier}: tags are deleted faster than they are read: try again later"
    )


def _doomed(ctx: TableContext, plan: _Plan) -> Doomed:
    """Return the files that only the snapshots that go are made of."""
    doomed = Doomed()
    stay = changelogs_stay(ctx.options)
    tagged = tags.tags(ctx)
    files_elsewhere, kept = ids_elsewhere(ctx, plan.going[0])
    # What a snapshot takes out, the one before it still had: so the one that stays tells what goes too.
    for snapshot in (*plan.going[1:], plan.end):
        removed = _readable(ctx, doomed, snapshot, deleted_by)
        if stay and ctx.options.changelog_producer is ChangelogProducer.NONE:
            removed = [entry for entry in removed if entry.file.file_source is FileSource.COMPACT]
        tag = tags.nearest_before(tagged, snapshot.id) if removed else None
        of_tag = _files_of(ctx, tag) if tag is not None else set()
        add_files(
            ctx,
            doomed,
            [entry for entry in removed if file_id(entry) not in of_tag and file_id(entry) not in files_elsewhere],
        )
    if not stay:
        for snapshot in plan.going:
            found = _readable(ctx, doomed, snapshot, changelog_files)
            add_files(ctx, doomed, [entry for entry in found if file_id(entry) not in files_elsewhere])
    kept |= manifest_names(ctx, plan.end)
    for tag in _overlapping(tagged, plan):
        kept |= _manifests_of(ctx, tag)
    for snapshot in plan.going:
        add_manifests(
            ctx,
            doomed,
            snapshot,
            kept,
            with_data=not stay or ctx.options.changelog_producer is not ChangelogProducer.NONE,
            with_changelog=not stay,
        )
    doomed.data = list(dict.fromkeys(doomed.data))
    return doomed


def _overlapping(tagged: list[tags.Tag], plan: _Plan) -> list[tags.Tag]:
    """Return the tags that may share manifests with the snapshots that go."""
    before = [tag for tag in tagged if tag.snapshot.id <= plan.first_id]
    within = [tag for tag in tagged if plan.first_id < tag.snapshot.id < plan.end.id]
    return before[-1:] + within


def _files_of(ctx: TableContext, tag: tags.Tag) -> set[FileId]:
    with _named(ctx, tag):
        return live_ids(ctx, [tag.snapshot])


def _manifests_of(ctx: TableContext, tag: tags.Tag) -> set[str]:
    with _named(ctx, tag):
        return manifest_names(ctx, tag.snapshot)


@contextmanager
def _named(ctx: TableContext, tag: tags.Tag) -> Iterator[None]:
    """Name the tag in an error about what it needs, and the way out; a tag that is gone by now needs nothing."""
    try:
        yield
    except CorruptError as error:
        now = tags.try_get(ctx, tag.name)
        if now is None or now.snapshot != tag.snapshot:
            raise _TagGoneError from error
        raise CorruptError(
            error.kind,
            f"{error.message}; tag {tag.name!r} needs it, so nothing expires: restore the file or delete the tag",
            tag=tag.name,
        ) from error


class _TagGoneError(Exception):
    """A tag was deleted while an expiry was about to keep what it needs."""


def _readable(
    ctx: TableContext,
    doomed: Doomed,
    snapshot: Snapshot,
    read: Callable[[TableContext, Snapshot], list[ManifestEntry]],
) -> list[ManifestEntry]:
    """Return what is read, or nothing where a manifest is gone: an earlier expiry has been past there."""
    try:
        return read(ctx, snapshot)
    except CorruptError as error:
        doomed.notes.append(f"snapshot {snapshot.id}: {error.message}; its files are left for the orphan cleaning")
        return []

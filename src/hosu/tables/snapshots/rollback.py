"""Going back: a table becomes what it was at a snapshot or a tag, and what came later is gone."""

from hosu.kernel.errors import ErrorKind, NotFoundError
from hosu.tables.context import TableContext
from hosu.tables.records import Snapshot
from hosu.tables.snapshots import find, tags, travel

_ROUNDS_MAX = 10
"""How often snapshots that came meanwhile are taken back too."""


def rollback_to(ctx: TableContext, at: travel.Moment) -> Snapshot:
    """Take the table back to a snapshot, and return it. Later snapshots, tags and changelogs are deleted.

    Their files are left for the orphan cleaning. Other writers must rest meanwhile: what they commit may be taken back
    too. A stop halfway leaves the table at a snapshot in between; doing it again goes on. Raises as `travel.resolve`;
    NotFoundError SNAPSHOT_NOT_FOUND for a table without any.
    """
    wanted = travel.resolve(ctx, at)
    if wanted is None:
        raise NotFoundError(ErrorKind.SNAPSHOT_NOT_FOUND, f"{ctx.identifier} has no snapshot to go back to")
    find.settle(ctx)
    restored = None if _is_kept(ctx, wanted.id) else _restore_from_tag(ctx, wanted.id)
    for _ in range(_ROUNDS_MAX):
        later = [known for known in find.ids(ctx) if known > wanted.id]
        if not later:
            break
        ctx.files.put(ctx.layout.snapshots + find.LATEST, str(wanted.id).encode())
        # From the latest down, so that what is left has no gaps.
        for known in reversed(later):
            ctx.files.delete_many([ctx.layout.snapshot(known)])
        ctx.cache.saw_latest(ctx.layout.snapshots, wanted.id)
    _delete_later_changelogs(ctx, wanted.id)
    ctx.files.delete_many([ctx.layout.tag(tag.name) for tag in tags.tags(ctx) if tag.snapshot.id > wanted.id])
    if restored is not None:
        ctx.files.put(ctx.layout.snapshots + find.EARLIEST, str(wanted.id).encode())
    ctx.cache.saw_latest(ctx.layout.snapshots, wanted.id)
    return wanted


def _is_kept(ctx: TableContext, snapshot_id: int) -> bool:
    return not tags.is_expiring(ctx, snapshot_id) and find.try_load(ctx, snapshot_id) is not None


def _restore_from_tag(ctx: TableContext, snapshot_id: int) -> str:
    """Write the snapshot's file again as its tag repeats it: all others will go."""
    name = next(tag.name for tag in tags.tags(ctx) if tag.snapshot.id == snapshot_id)
    ctx.files.put(ctx.layout.snapshot(snapshot_id), tags.snapshot_bytes(ctx, name))
    return name


def _delete_later_changelogs(ctx: TableContext, snapshot_id: int) -> None:
    prefix = ctx.layout.changelog(0).removesuffix("0")
    numbers = [entry.key[len(prefix) :] for entry in ctx.files.list(prefix)]
    later = [int(number) for number in numbers if number.isdecimal() and int(number) > snapshot_id]
    ctx.files.delete_many([ctx.layout.changelog(number) for number in later])

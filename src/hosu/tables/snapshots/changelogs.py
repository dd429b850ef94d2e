"""Changelogs that outlive their snapshots: `changelog-N` repeats the file of snapshot N, which has expired."""

from typing import Final

from hosu.kernel.errors import ErrorKind, NotFoundError
from hosu.tables.context import TableContext
from hosu.tables.records import Snapshot
from hosu.tables.snapshots import find

PREFIX: Final = "changelog-"


def folder(ctx: TableContext) -> str:
    """Return the folder of changelogs, with its slash."""
    return f"{ctx.layout.branch_path}/changelog/"


def ids(ctx: TableContext) -> list[int]:
    """Return the snapshots whose changelog outlives them, in order."""
    prefix = folder(ctx) + PREFIX
    names = [entry.key[len(prefix) :] for entry in ctx.files.list(prefix)]
    return sorted(int(name) for name in names if name.isdecimal())


def load(ctx: TableContext, snapshot_id: int) -> Snapshot | None:
    """Return what a changelog repeats of its snapshot, or None where there is none."""
    key = ctx.layout.changelog(snapshot_id)
    data = _read(ctx, key)
    return None if data is None else find.decode(data, key)


def is_kept(ctx: TableContext, snapshot_id: int) -> bool:
    """Whether the changelog of a snapshot that has expired is there, and its own expiry has not begun."""
    hint = _read(ctx, folder(ctx) + find.EARLIEST)
    if hint is not None and hint.strip().isdigit() and snapshot_id < int(hint):
        return False
    return ctx.files.exists(ctx.layout.changelog(snapshot_id))


def keep(ctx: TableContext, snapshot_ids: list[int]) -> None:
    """Write the changelogs of snapshots that are about to go."""
    for snapshot_id in snapshot_ids:
        ctx.files.put(ctx.layout.changelog(snapshot_id), ctx.files.read(ctx.layout.snapshot(snapshot_id)))
    if snapshot_ids:
        ctx.files.put(folder(ctx) + find.LATEST, str(snapshot_ids[-1]).encode())
        if not ctx.files.exists(folder(ctx) + find.EARLIEST):
            write_earliest(ctx, snapshot_ids[0])


def write_earliest(ctx: TableContext, snapshot_id: int) -> None:
    """Say where the changelogs that are kept begin."""
    ctx.files.put(folder(ctx) + find.EARLIEST, str(snapshot_id).encode())


def _read(ctx: TableContext, key: str) -> bytes | None:
    try:
        return ctx.files.read(key)
    except NotFoundError as error:
        if error.kind is not ErrorKind.OBJECT_NOT_FOUND:
            raise
        return None

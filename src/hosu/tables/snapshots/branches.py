"""Branches: other lines of snapshots over the same files.

A branch has schemas, snapshots, tags and consumers of its own, and shares manifests and data with the others.
"""

import re
from dataclasses import replace
from typing import Final

import msgspec

from hosu.kernel.errors import ConflictError, ErrorKind, InvalidInputError, NotFoundError
from hosu.kernel.fileio import Prefix
from hosu.tables.context import TableContext
from hosu.tables.layout import MAIN_BRANCH
from hosu.tables.options import Options
from hosu.tables.schemas import Schemas
from hosu.tables.snapshots import find, tags

FOLDER: Final = "branch-"
_NAME: Final = re.compile(r"[^/\\\x00-\x1f$]{1,200}")


def branches(ctx: TableContext) -> list[str]:
    """Return the names of the branches beside main."""
    prefix = f"{ctx.layout.path}/branch/{FOLDER}"
    return [
        entry.key[len(prefix) :].rstrip("/")
        for entry in ctx.files.list(prefix, delimiter="/")
        if isinstance(entry, Prefix)
    ]


def exists(ctx: TableContext, name: str) -> bool:
    """Whether there is a branch of this name; main always is."""
    return name == MAIN_BRANCH or name in branches(ctx)


def at(ctx: TableContext, name: str) -> TableContext:
    """Return the table at a branch, under its latest schema; raise NotFoundError BRANCH_NOT_FOUND."""
    if name == ctx.layout.branch:
        return ctx
    layout = replace_branch(ctx, name)
    schemas = Schemas(ctx.files, layout.layout)
    schema = schemas.latest()
    if schema is None:
        raise NotFoundError(
            ErrorKind.BRANCH_NOT_FOUND, f"{layout.identifier} is not there: create the branch first", branch=name
        )
    options = Options(schema.options, has_primary_key=schema.is_primary_key_table)
    return replace(layout, schema=schema, schemas=schemas, options=options)


def replace_branch(ctx: TableContext, name: str) -> TableContext:
    """Return the table with the paths of a branch, but the schemas and options that it was opened with."""
    layout = msgspec.structs.replace(ctx.layout, branch=name)
    return replace(ctx, layout=layout, identifier=replace(ctx.identifier, branch=name))


def create(ctx: TableContext, name: str, tag: str | None = None, *, exist_ok: bool = False) -> None:
    """Make a branch: from a tag with its rows, or else empty, with the schemas of this one.

    Raises InvalidInputError INVALID_ARGUMENT for a name, ConflictError BRANCH_EXISTS, NotFoundError
    TABLE_TAG_NOT_FOUND. A stop halfway is gone on from by making the branch again.
    """
    check_name(name)
    there = replace_branch(ctx, name)
    # The first schema is written last: a branch without it is one whose making was stopped.
    known = sorted(ctx.schemas.ids(), reverse=True)
    if known and ctx.files.exists(there.layout.schema(known[-1])):
        if exist_ok:
            return
        raise ConflictError(
            ErrorKind.BRANCH_EXISTS, f"{ctx.identifier} has a branch {name!r}: delete it first", branch=name
        )
    schema_id = known[0] if known else ctx.schema.id
    if tag is not None:
        schema_id = tags.get(ctx, tag).snapshot.schema_id
        ctx.files.put(there.layout.tag(tag), ctx.files.read(ctx.layout.tag(tag)))
        found = tags.get(there, tag)
        ctx.files.put(there.layout.snapshot(found.snapshot.id), tags.snapshot_bytes(there, tag))
    for number in known:
        if number <= schema_id:
            ctx.files.put(there.layout.schema(number), ctx.files.read(ctx.layout.schema(number)))
    ctx.cache.saw_latest(there.layout.snapshots, None)


def delete(ctx: TableContext, name: str) -> None:
    """Delete a branch with its snapshots; its files are left for the orphan cleaning.

    Raises NotFoundError BRANCH_NOT_FOUND, InvalidInputError INVALID_ARGUMENT for main and the branch that is open.
    """
    _check_other(ctx, name)
    prefix = f"{ctx.layout.path}/branch/{FOLDER}{name}/"
    keys = [entry.key for entry in ctx.files.list(prefix)]
    # Schemas last: while one is there the branch shows, and can be deleted again.
    ctx.files.delete_many([key for key in keys if not key.startswith(f"{prefix}schema/")])
    ctx.files.delete_many([key for key in keys if key.startswith(f"{prefix}schema/")])
    ctx.cache.saw_latest(f"{prefix}snapshot/", None)


def fast_forward(ctx: TableContext, name: str) -> None:
    """Make this branch what another one is: its snapshots, schemas and tags take the place of those from its first on.

    Other writers must rest meanwhile. Raises as `delete`; ConflictError COMMIT_CONFLICT for a branch without snapshots.
    """
    _check_other(ctx, name)
    there = at(ctx, name)
    first = find.earliest(there)
    if first is None:
        raise ConflictError(
            ErrorKind.COMMIT_CONFLICT,
            f"{ctx.identifier} cannot become its branch {name!r}, which has no snapshot: commit one there first",
            branch=name,
        )
    stale = [ctx.layout.snapshot(known) for known in find.ids(ctx) if known >= first.id]
    stale_tags = [ctx.layout.tag(tag.name) for tag in tags.tags(ctx) if tag.snapshot.id >= first.id]
    find.settle(ctx)
    _copy(there, there.layout.schemas, ctx.layout.schemas)
    ctx.files.delete_many([ctx.layout.snapshots + find.LATEST])
    ctx.files.delete_many(stale)
    ctx.files.delete_many(stale_tags)
    _copy(there, there.layout.tags, ctx.layout.tags)
    if tags.is_expiring(ctx, first.id):
        ctx.files.put(ctx.layout.snapshots + find.EARLIEST, str(first.id).encode())
    _copy(there, there.layout.snapshots, ctx.layout.snapshots, skipped=(find.EARLIEST,))
    ctx.cache.saw_latest(ctx.layout.snapshots, None)


def check_name(name: str) -> None:
    """Refuse what cannot be a branch's name. Raises InvalidInputError INVALID_ARGUMENT."""
    if not _NAME.fullmatch(name) or not name.strip() or name.isdecimal() or name == MAIN_BRANCH:
        raise InvalidInputError(
            ErrorKind.INVALID_ARGUMENT,
            f"{name!r} is no name of a branch: use 1 to 200 characters, not all digits or blanks, without slashes and "
            f"'$', and not {MAIN_BRANCH!r}",
            branch=name,
        )


def _check_other(ctx: TableContext, name: str) -> None:
    check_name(name)
    if name == ctx.layout.branch:
        raise InvalidInputError(
            ErrorKind.INVALID_ARGUMENT, f"branch {name!r} is open here: do it from another branch", branch=name
        )
    if not exists(ctx, name):
        raise NotFoundError(
            ErrorKind.BRANCH_NOT_FOUND, f"{ctx.identifier} has no branch {name!r}: see its branches", branch=name
        )


def _copy(ctx: TableContext, source: str, target: str, skipped: tuple[str, ...] = ()) -> None:
    entries = [entry.key for entry in ctx.files.list(source)]
    wanted = [key for key in entries if key[len(source) :] not in skipped]
    list(ctx.pool.map(lambda key: ctx.files.put(target + key[len(source) :], ctx.files.read(key)), wanted))

"""Tags: snapshots under a name, which outlive their expiry.

A tag is a file that repeats its snapshot's, so that the snapshot's own may go. What only a tag still needs is deleted
with the tag (`hosu.tables.upkeep.tagged`).
"""

import re
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from functools import partial
from typing import Any, Final

import msgspec

from hosu.kernel.errors import (
    ConflictError,
    CorruptError,
    ErrorKind,
    InvalidInputError,
    NotFoundError,
    PreconditionFailedError,
)
from hosu.tables.context import TableContext
from hosu.tables.documents import json_text
from hosu.tables.pooling import run_all
from hosu.tables.records import Snapshot
from hosu.tables.snapshots import find

PREFIX: Final = "tag-"
CREATED: Final = "tagCreateTime"
RETAINED: Final = "tagTimeRetained"
_NAME: Final = re.compile(r"[^/\\\x00-\x1f]{1,200}")
_DATE_FIELDS: Final = 6
_LISTINGS_MAX: Final = 20
"""How often tags are listed of which one goes before it is read."""


@dataclass(frozen=True)
class Tag:
    """A tag and the snapshot that it names."""

    name: str
    snapshot: Snapshot
    created_ms: int | None = None
    """When it was made, as far as it says: tags that stay until they are deleted do not."""

    retained_ms: int | None = None
    """How long it stays; None: until it is deleted."""

    modified_ms: int = 0
    """When its file was written."""

    def is_due(self, now_ms: int) -> bool:
        """Whether its time is over."""
        return (
            self.created_ms is not None
            and self.retained_ms is not None
            and (now_ms > self.created_ms + self.retained_ms)
        )


def tags(ctx: TableContext) -> list[Tag]:
    """Return all tags in the order of their snapshots, then names. Raises CorruptError naming a broken one's file."""
    prefix = ctx.layout.tags + PREFIX
    found: list[Tag | None] = []
    for _ in range(_LISTINGS_MAX):
        files = [entry for entry in ctx.files.list(prefix) if "/" not in entry.key[len(prefix) :]]
        found = run_all(ctx.pool, [partial(_remembered, ctx, entry) for entry in files])
        if None not in found:
            break  # else one may have got another name, under which it was not listed
    return sorted((tag for tag in found if tag is not None), key=lambda tag: (tag.snapshot.id, tag.name))


def names(ctx: TableContext) -> list[str]:
    """Return the names of all tags, without reading them."""
    prefix = ctx.layout.tags + PREFIX
    return [entry.key[len(prefix) :] for entry in ctx.files.list(prefix)]


def get(ctx: TableContext, name: str) -> Tag:
    """Return a tag; raise NotFoundError TABLE_TAG_NOT_FOUND."""
    found = try_get(ctx, name)
    if found is None:
        raise NotFoundError(
            ErrorKind.TABLE_TAG_NOT_FOUND, f"{ctx.identifier} has no tag {name!r}: see its tags", tag=name
        )
    return found


def try_get(ctx: TableContext, name: str) -> Tag | None:
    """Return a tag, or None where there is none."""
    if not _NAME.fullmatch(name):
        return None
    key = ctx.layout.tag(name)
    try:
        return _decode(name, ctx.files.read(key), key)
    except NotFoundError as error:
        if error.kind is not ErrorKind.OBJECT_NOT_FOUND:
            raise
        return None


def create(
    ctx: TableContext,
    name: str,
    snapshot_id: int | None = None,
    *,
    retained_ms: int | None = None,
    replace: bool = False,
    exist_ok: bool = False,
) -> Tag:
    """Give a snapshot a name: the latest one, unless told which; one that another tag holds may have expired.

    With retained_ms the tag goes by itself after that time. Raises InvalidInputError INVALID_ARGUMENT for a name,
    ConflictError TABLE_TAG_EXISTS, NotFoundError SNAPSHOT_NOT_FOUND.
    """
    check_name(name)
    document = _snapshot_document(ctx, snapshot_id)
    now_ms = ctx.clock.now_ms()
    if retained_ms is not None:
        if retained_ms <= 0:
            raise InvalidInputError(
                ErrorKind.INVALID_ARGUMENT, f"tag {name!r}: it cannot stay {retained_ms} ms: give 1 or more", tag=name
            )
        document |= {CREATED: local_fields(now_ms), RETAINED: Seconds(retained_ms)}
    key = ctx.layout.tag(name)
    data = _text(document).encode()
    if replace:
        get(ctx, name)
        stat = ctx.files.put(key, data)
    else:
        try:
            stat = ctx.files.put(key, data, if_absent=True)
        except PreconditionFailedError as error:
            if exist_ok:
                return get(ctx, name)
            raise ConflictError(
                ErrorKind.TABLE_TAG_EXISTS, f"{ctx.identifier} has a tag {name!r}: replace or delete it", tag=name
            ) from error
    tag = _decode(name, data, key, stat.modified_ms)
    # An expiry that had begun before the tag was there has not seen it, and says so by its hint.
    if is_expiring(ctx, tag.snapshot.id) and not _is_held_by_others(ctx, tag):
        ctx.files.delete_many([key])
        raise find.not_found(ctx, tag.snapshot.id)
    return tag


def rename(ctx: TableContext, name: str, new_name: str) -> None:
    """Give a tag another name. Raises as `create` and `get`. A stop in between leaves the tag under both names."""
    check_name(new_name)
    get(ctx, name)
    old, new = ctx.layout.tag(name), ctx.layout.tag(new_name)
    try:
        ctx.files.put(new, ctx.files.read(old), if_absent=True)
    except PreconditionFailedError as error:
        raise ConflictError(
            ErrorKind.TABLE_TAG_EXISTS, f"{ctx.identifier} has a tag {new_name!r}: delete it first", tag=new_name
        ) from error
    ctx.files.delete_many([old])


def delete_file(ctx: TableContext, name: str) -> None:
    """Delete a tag's file alone: what it kept is left where it is."""
    ctx.files.delete_many([ctx.layout.tag(name)])


def check_name(name: str) -> None:
    """Refuse what cannot be a tag's name. Raises InvalidInputError INVALID_ARGUMENT."""
    if not _NAME.fullmatch(name) or not name.strip():
        raise InvalidInputError(
            ErrorKind.INVALID_ARGUMENT,
            f"{name!r} is no name of a tag: use 1 to 200 characters, not all blank, without slashes",
            tag=name,
        )


def snapshot_bytes(ctx: TableContext, name: str) -> bytes:
    """Return the file of the snapshot that a tag names, from what the tag repeats. Raises as `get`."""
    get(ctx, name)
    return _text(_without_times(ctx, ctx.layout.tag(name))).encode()


def is_expiring(ctx: TableContext, snapshot_id: int) -> bool:
    """Whether an expiry of this snapshot has begun: its hint lies above."""
    hint = find.read_hint(ctx, find.EARLIEST)
    return hint is not None and snapshot_id < hint


def nearest_before(sorted_tags: Iterable[Tag], snapshot_id: int) -> Tag | None:
    """Return the last of tags, in order, whose snapshot is before the one given."""
    found = None
    for tag in sorted_tags:
        if tag.snapshot.id >= snapshot_id:
            break
        found = tag
    return found


class Seconds:
    """A duration in milliseconds, written as Java does: seconds with nine digits behind the point."""

    def __init__(self, milliseconds: int) -> None:
        self.text = f"{milliseconds // 1000}.{milliseconds % 1000:03}000000"


def local_fields(time_ms: int) -> list[int]:
    """Return a time as the fields of a local date, as Java writes it: in the zone of the machine."""
    moment = datetime.fromtimestamp(time_ms // 1000, UTC).astimezone()
    fields = [moment.year, moment.month, moment.day, moment.hour, moment.minute, moment.second]
    return [*fields, time_ms % 1000 * 1_000_000]


def _text(document: Mapping[str, Any]) -> str:
    plain = {name: value for name, value in document.items() if not isinstance(value, Seconds)}
    text = json_text(plain)
    for name, value in document.items():
        if isinstance(value, Seconds):
            text = text.removesuffix("\n}") + f',\n  "{name}" : {value.text}\n}}'
    return text


def _snapshot_document(ctx: TableContext, snapshot_id: int | None) -> dict[str, Any]:
    """Return a snapshot's file with all that is in it: what a newer writer added is kept too."""
    if snapshot_id is None:
        latest = find.latest(ctx)
        if latest is None:
            raise NotFoundError(ErrorKind.SNAPSHOT_NOT_FOUND, f"{ctx.identifier} has no snapshot yet: commit one first")
        snapshot_id = latest.id
    keys = [ctx.layout.snapshot(snapshot_id)]
    keys += (
        [ctx.layout.tag(tag.name) for tag in tags(ctx) if tag.snapshot.id == snapshot_id]
        if is_expiring(ctx, snapshot_id)
        else []
    )
    for key in keys:
        with suppress(NotFoundError):
            return _without_times(ctx, key)
    raise find.not_found(ctx, snapshot_id)


def _without_times(ctx: TableContext, key: str) -> dict[str, Any]:
    try:
        document = msgspec.json.decode(ctx.files.read(key), type=dict[str, Any])
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise _corrupt(key, error) from error
    document.pop(CREATED, None)
    document.pop(RETAINED, None)
    return document


def _is_held_by_others(ctx: TableContext, tag: Tag) -> bool:
    return any(other.snapshot.id == tag.snapshot.id and other.name != tag.name for other in tags(ctx))


def _remembered(ctx: TableContext, entry: Any) -> Tag | None:  # noqa: ANN401 - FileStat; a listing without delimiter
    name = entry.key[len(ctx.layout.tags + PREFIX) :]

    def load() -> tuple[Tag, int]:
        data = ctx.files.read(entry.key)
        return _decode(name, data, entry.key, entry.modified_ms), len(data) + 1000

    try:
        return ctx.cache.get((entry.key, entry.etag), load)
    except NotFoundError:
        return None  # deleted since it was listed


def _decode(name: str, data: bytes, key: str, modified_ms: int = 0) -> Tag:
    snapshot = find.decode(data, key)
    try:
        document = msgspec.json.decode(data, type=dict[str, Any])
        created, retained = document.get(CREATED), document.get(RETAINED)
        return Tag(
            name,
            snapshot,
            None if created is None else _local_ms(created),
            None if retained is None else int(Decimal(str(retained)) * 1000),
            modified_ms,
        )
    except (ValueError, TypeError, ArithmeticError) as error:
        raise _corrupt(key, error) from error


def _local_ms(fields: list[int]) -> int:
    parts = [*fields[:_DATE_FIELDS], 0, 0][:_DATE_FIELDS]
    nanoseconds = fields[_DATE_FIELDS] if len(fields) > _DATE_FIELDS else 0
    moment = datetime(*parts).astimezone()  # type: ignore[arg-type]
    return (moment - datetime.fromtimestamp(0, UTC)) // timedelta(milliseconds=1) + nanoseconds // 1_000_000


def _corrupt(key: str, error: Exception) -> CorruptError:
    return CorruptError(ErrorKind.CORRUPT_TABLE, f"{key!r} is no tag: {error}; delete or restore it", path=key)

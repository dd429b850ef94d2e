"""Which snapshots a table has. The number of requests does not grow with their number.

Snapshots are numbered without gaps, from the earliest that is kept to the latest, and expire in that order. `LATEST`
and `EARLIEST` beside them are hints: a search begins there, and believes only what it finds.
"""

from collections.abc import Iterator
from contextlib import suppress
from functools import partial
from typing import Any, Final

import msgspec

from hosu.kernel.errors import CorruptError, ErrorKind, HosuError, NotFoundError, UnsupportedError
from hosu.tables.context import TableContext
from hosu.tables.pooling import run_all
from hosu.tables.records import Snapshot
from hosu.tables.snapshots.cache import Hint

FIRST_ID: Final = 1
LATEST: Final = "LATEST"
EARLIEST: Final = "EARLIEST"
PREFIX: Final = "snapshot-"
SNAPSHOT_FORMAT_MAX: Final = 3

KNOWN_S_MAX: Final = 600
"""How long a search begins at the number seen last: snapshots as young as that are not the ones that expire."""

_WINDOW_MAX: Final = 64
"""Snapshots that are read side by side where many are wanted."""

_FIELDS: Final = tuple(zip(Snapshot.__struct_fields__, Snapshot.__struct_encode_fields__, strict=True))


def decode(data: bytes, path: str) -> Snapshot:
    """Return the snapshot of a file's bytes; raise CorruptError naming the file."""
    try:
        snapshot = msgspec.json.decode(data, type=Snapshot)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise CorruptError(
            ErrorKind.CORRUPT_TABLE, f"{path!r} is no snapshot: {error}; restore the file", path=path
        ) from error
    if snapshot.version is not None and snapshot.version > SNAPSHOT_FORMAT_MAX:
        raise UnsupportedError(
            ErrorKind.UNSUPPORTED,
            f"{path!r} is of format {snapshot.version}; hosu reads up to {SNAPSHOT_FORMAT_MAX}: use a newer hosu",
            path=path,
        )
    return snapshot


def encode(snapshot: Snapshot) -> bytes:
    """Return a snapshot as the bytes of its file, without the fields that are None."""
    fields: dict[str, Any] = {
        encoded: value for name, encoded in _FIELDS if (value := getattr(snapshot, name)) is not None
    }
    return msgspec.json.format(msgspec.json.encode(fields), indent=2)


def load(ctx: TableContext, snapshot_id: int) -> Snapshot:
    """Return a snapshot; raise NotFoundError SNAPSHOT_NOT_FOUND, which says which there are."""
    found = try_load(ctx, snapshot_id)
    if found is None:
        raise not_found(ctx, snapshot_id)
    return found


def try_load(ctx: TableContext, snapshot_id: int) -> Snapshot | None:
    """Return a snapshot, or None where there is none."""
    path = ctx.layout.snapshot(snapshot_id)
    data = _read(ctx, path)
    return None if data is None else decode(data, path)


def is_same(one: Snapshot | None, other: Snapshot | None) -> bool:
    """Whether two snapshots are one: after a roll-back another may have the number of one that was seen."""
    if one is None or other is None:
        return one is other
    return (one.id, one.uuid, one.base_manifest_list, one.delta_manifest_list) == (
        other.id, other.uuid, other.base_manifest_list, other.delta_manifest_list
    )  # fmt: skip


def latest(ctx: TableContext) -> Snapshot | None:
    """Return the latest snapshot, or None before the first commit."""
    folder, now = ctx.layout.snapshots, ctx.clock.monotonic()
    start = ctx.cache.latest(folder, now - KNOWN_S_MAX)
    found = None if start is None else _walk(ctx, start)
    if found is None:
        hint = read_hint(ctx, LATEST)
        if hint is not None and hint != start:
            found = _walk(ctx, hint)
    while found is None:
        listed = max(_listed(ctx), default=None)
        if listed is None:
            ctx.cache.saw_latest(folder, None)
            return None
        found = _walk(ctx, listed)
    ctx.cache.saw_latest(folder, found.id, now)
    return found


def latest_id(ctx: TableContext) -> int | None:
    """Return the number of the latest snapshot, or None before the first commit."""
    found = latest(ctx)
    return None if found is None else found.id


def earliest_id(ctx: TableContext) -> int | None:
    """Return the number of the earliest snapshot that is kept, or None before the first commit."""
    hint = read_hint(ctx, EARLIEST)
    for candidate in (hint, FIRST_ID):
        if candidate is not None and ctx.files.exists(ctx.layout.snapshot(candidate)):
            return candidate
    return min(_listed(ctx), default=None)


def earliest(ctx: TableContext) -> Snapshot | None:
    """Return the earliest snapshot that is kept, or None before the first commit."""
    while (found_id := earliest_id(ctx)) is not None:
        found = try_load(ctx, found_id)
        if found is not None:
            return found
    return None


def ids(ctx: TableContext) -> list[int]:
    """Return the numbers of all snapshots, in order, by a listing: the one search that grows with history."""
    return sorted(_listed(ctx))


def snapshots(ctx: TableContext, start: int | None = None, stop: int | None = None) -> Iterator[Snapshot]:
    """Yield snapshots from number start up to stop, which is included; those that have expired meanwhile are left out.

    Without start from the earliest, without stop to the latest.
    """
    first = start if start is not None else earliest_id(ctx)
    last = stop if stop is not None else latest_id(ctx)
    if first is None or last is None:
        return
    window = 1
    while first <= last:
        numbers = range(first, min(first + window, last + 1))
        for found in run_all(ctx.pool, [partial(try_load, ctx, number) for number in numbers]):
            if found is not None:
                yield found
        first, window = numbers.stop, min(window * 2, _WINDOW_MAX)


def not_found(ctx: TableContext, snapshot_id: int) -> NotFoundError:
    """Return the error for a snapshot that is not there, which says which there are."""
    first, last = earliest_id(ctx), latest_id(ctx)
    there = "it has none" if first is None else f"it has {first} to {last}"
    return NotFoundError(
        ErrorKind.SNAPSHOT_NOT_FOUND,
        f"{ctx.identifier} has no snapshot {snapshot_id}: {there}",
        snapshot=snapshot_id,
        earliest=first,
        latest=last,
    )


def of_user(ctx: TableContext, commit_user: str) -> Snapshot | None:
    """Return the latest snapshot that a user committed, looking back from the latest one to the earliest."""
    found = latest(ctx)
    while found is not None and found.commit_user != commit_user:
        found = try_load(ctx, found.id - 1) if found.id > FIRST_ID else None
    return found


def read_hint(ctx: TableContext, name: str) -> int | None:
    """Return the number that a hint file says; None when it is not there, or says something else."""
    data = _read(ctx, ctx.layout.snapshots + name)
    if data is None:
        return None
    try:
        number = int(data)
    except ValueError:
        return None
    return number if number >= FIRST_ID else None


def write_hint(ctx: TableContext, name: str, snapshot_id: int) -> None:
    """Write a hint file in the background: the last number asked for. `settle` waits for it."""
    key = ctx.layout.snapshots + name
    hint = ctx.cache.hint(key)
    with hint.lock:
        hint.wanted = snapshot_id
        if hint.writing is None:
            try:
                hint.writing = ctx.pool.submit(_write_hints, ctx, key, hint)
            except RuntimeError:  # the pool has been shut down: whoever looks finds the snapshot without a hint
                hint.wanted = None


def settle(ctx: TableContext) -> None:
    """Wait until no hint is being written."""
    for hint in ctx.cache.hints():
        with hint.lock:
            writing = hint.writing
        if writing is not None:
            writing.result()


def _write_hints(ctx: TableContext, key: str, hint: Hint) -> None:
    while True:
        with hint.lock:
            number, hint.wanted = hint.wanted, None
            if number is None:
                hint.writing = None
                return
        # A hint that is not written is one that lags: searches go on from it.
        with suppress(HosuError, OSError):
            ctx.files.put(key, str(number).encode())


def _walk(ctx: TableContext, start: int) -> Snapshot | None:
    """Return the latest snapshot, by steps upwards from one; None when that one is not there, or goes meanwhile.

    Snapshots expire from the lowest up. So one that is there, after the next was seen not to be, is the latest: had the
    next one expired, it would have gone before.
    """
    low, step = start, 1
    while _exists(ctx, low + step):  # double the steps until one goes too far …
        low += step
        step *= 2
    high = low + step
    while high - low > 1:  # … then halve what is left
        middle = (low + high) // 2
        if _exists(ctx, middle):
            low = middle
        else:
            high = middle
    return try_load(ctx, low)


def _exists(ctx: TableContext, snapshot_id: int) -> bool:
    return ctx.files.exists(ctx.layout.snapshot(snapshot_id))


def _listed(ctx: TableContext) -> Iterator[int]:
    prefix = ctx.layout.snapshots + PREFIX
    for entry in ctx.files.list(prefix):
        number = entry.key[len(prefix) :]
        if number.isdecimal():
            yield int(number)


def _read(ctx: TableContext, path: str) -> bytes | None:
    try:
        return ctx.files.read(path)
    except NotFoundError as error:
        if error.kind is not ErrorKind.OBJECT_NOT_FOUND:
            raise
        return None

"""Time travel: which snapshot a table was at, by number, time, tag or watermark."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, tzinfo
from typing import Final, TypeAlias

from hosu.kernel.errors import ErrorKind, InvalidInputError, NotFoundError
from hosu.tables.context import TableContext
from hosu.tables.records import Snapshot
from hosu.tables.snapshots import find, tags

WATERMARK_PREFIX: Final = "watermark-"
WATERMARK_NONE: Final = -(2**63)
"""What Java writes where there is no watermark yet."""

_GAP_MAX: Final = 100
"""Snapshots without a watermark that one before them lends its own: writers carry theirs on, so there are few."""

SCAN_OPTIONS: Final = (
    "scan.snapshot-id",
    "scan.tag-name",
    "scan.watermark",
    "scan.timestamp",
    "scan.timestamp-millis",
    "scan.version",
)


@dataclass(frozen=True)
class At:
    """A state of a table: exactly one of its fields is given."""

    snapshot_id: int | None = None
    timestamp_ms: int | None = None
    tag: str | None = None
    watermark: int | None = None
    version: str | None = None
    """A tag, `watermark-N` or the number of a snapshot, whichever there is."""

    def __post_init__(self) -> None:
        fields = (self.snapshot_id, self.timestamp_ms, self.tag, self.watermark, self.version)
        if sum(value is not None for value in fields) != 1:
            raise InvalidInputError(
                ErrorKind.QUERY_INVALID,
                "give one of snapshot_id, timestamp_ms, tag, watermark and version to travel to, not more and not none",
            )


Moment: TypeAlias = At | int | datetime | str | Mapping[str, str] | None
"""What callers may give: an At, a snapshot's number, a time, a version or a time as text, or `scan.*` options."""


def resolve(ctx: TableContext, at: Moment = None) -> Snapshot | None:
    """Return the snapshot that the table was at; None: it had none yet, which only without `at` is no error.

    Times and text without a zone are in the machine's. Raises NotFoundError SNAPSHOT_NOT_FOUND or TABLE_TAG_NOT_FOUND,
    InvalidInputError QUERY_INVALID.
    """
    wanted = moment(at)
    if wanted is None:
        return find.latest(ctx)
    if wanted.version is not None:
        wanted = _of_version(ctx, wanted.version)
    if wanted.snapshot_id is not None:
        return by_id(ctx, wanted.snapshot_id)
    if wanted.tag is not None:
        return tags.get(ctx, wanted.tag).snapshot
    if wanted.watermark is not None:
        return by_watermark(ctx, wanted.watermark)
    assert wanted.timestamp_ms is not None
    return by_time(ctx, wanted.timestamp_ms)


def moment(at: Moment) -> At | None:
    """Return what a caller gave as an At; None: the latest."""
    if at is None or isinstance(at, At):
        return at
    if isinstance(at, bool):
        raise InvalidInputError(ErrorKind.QUERY_INVALID, f"{at} is no moment: give a snapshot's number or a time")
    if isinstance(at, int):
        return At(snapshot_id=at)
    if isinstance(at, datetime):
        return At(timestamp_ms=time_ms(at))
    if isinstance(at, str):
        return At(version=at)
    if not isinstance(at, Mapping):
        raise InvalidInputError(
            ErrorKind.QUERY_INVALID, f"a {type(at).__name__} is no moment: give a snapshot's number, a time or a tag"
        )
    return _of_options(at)


def by_id(ctx: TableContext, snapshot_id: int) -> Snapshot:
    """Return a snapshot by its number, its expiry not begun, or as a tag keeps it; raise SNAPSHOT_NOT_FOUND."""
    found = None if tags.is_expiring(ctx, snapshot_id) else find.try_load(ctx, snapshot_id)
    if found is None:
        found = next((tag.snapshot for tag in tags.tags(ctx) if tag.snapshot.id == snapshot_id), None)
    if found is None:
        raise find.not_found(ctx, snapshot_id)
    return found


def by_time(ctx: TableContext, timestamp_ms: int) -> Snapshot:
    """Return the last snapshot committed at that time or before; raise SNAPSHOT_NOT_FOUND, which says the earliest."""
    found = last_where(ctx, lambda snapshot: snapshot.time_millis <= timestamp_ms)
    if found is None:
        first = find.earliest(ctx)
        when = "it has none" if first is None else f"the earliest is of {_text_of(first.time_millis)}"
        raise NotFoundError(
            ErrorKind.SNAPSHOT_NOT_FOUND,
            f"{ctx.identifier} has no snapshot of {_text_of(timestamp_ms)} or before: {when}",
            timestamp_ms=timestamp_ms,
            earliest_ms=None if first is None else first.time_millis,
        )
    return found


def by_watermark(ctx: TableContext, watermark: int) -> Snapshot:
    """Return the first snapshot whose watermark had come as far; raise SNAPSHOT_NOT_FOUND."""
    first, last = find.earliest_id(ctx), find.latest(ctx)
    below = last_where(ctx, lambda snapshot: not _has_reached(ctx, snapshot, watermark))
    start = first if below is None else below.id + 1
    for snapshot in find.snapshots(ctx, start, None if last is None else last.id) if start is not None else ():
        if snapshot.watermark is not None and snapshot.watermark >= watermark:
            return snapshot
    raise NotFoundError(
        ErrorKind.SNAPSHOT_NOT_FOUND,
        f"{ctx.identifier} has no snapshot with watermark {watermark} or later: the latest is at "
        f"{None if last is None else last.watermark}",
        watermark=watermark,
    )


def last_where(ctx: TableContext, holds: Callable[[Snapshot], bool]) -> Snapshot | None:
    """Return the last snapshot for which `holds`, which is so up to one and not after; None: for none.

    Reads as many as halving takes.
    """
    first, last = find.earliest(ctx), find.latest(ctx)
    if first is None or last is None or not holds(first):
        return None
    if holds(last):
        return last
    found, low, high = first, first.id, last.id
    while high - low > 1:
        middle = (low + high) // 2
        snapshot = find.try_load(ctx, middle)
        if snapshot is None or holds(snapshot):  # one that is gone has expired: what is sought is above
            low, found = middle, snapshot or found
        else:
            high = middle
    return found


def time_ms(value: datetime, zone: tzinfo | None = None) -> int:
    """Return a time in milliseconds; without a zone it is in the one given, or in the machine's."""
    placed = value if zone is None or value.tzinfo is not None else value.replace(tzinfo=zone)
    return int(placed.timestamp() * 1000)


def parse_time(text: str, zone: tzinfo | None = None) -> int:
    """Return the milliseconds of a time as text, `2026-01-01 12:00:00.123`; raise InvalidInputError QUERY_INVALID.

    Without a zone it is in the one given, or in the machine's.
    """
    try:
        return time_ms(datetime.fromisoformat(text.strip()), zone)
    except (OverflowError, ValueError) as error:
        raise InvalidInputError(
            ErrorKind.QUERY_INVALID, f"{text!r} is no time: write it as 2026-01-01 12:00:00, with or without a zone"
        ) from error


def _has_reached(ctx: TableContext, snapshot: Snapshot, watermark: int) -> bool:
    """Whether a snapshot's watermark, or the last one before it, has come as far."""
    found: Snapshot | None = snapshot
    for _ in range(_GAP_MAX):
        if found is None or (found.watermark is not None and found.watermark != WATERMARK_NONE):
            break
        found = find.try_load(ctx, found.id - 1) if found.id > find.FIRST_ID else None
    return found is not None and found.watermark is not None and found.watermark >= watermark


def _of_version(ctx: TableContext, version: str) -> At:
    if tags.try_get(ctx, version) is not None:
        return At(tag=version)
    number = version.removeprefix(WATERMARK_PREFIX)
    if number != version and number.lstrip("-").isdecimal():
        return At(watermark=int(number))
    if version.isdecimal():
        return At(snapshot_id=int(version))
    try:
        return At(timestamp_ms=parse_time(version))
    except InvalidInputError:
        raise NotFoundError(
            ErrorKind.TABLE_TAG_NOT_FOUND,
            f"{ctx.identifier} has no tag {version!r}, and it is no snapshot's number, watermark or time",
            tag=version,
        ) from None


def _of_options(options: Mapping[str, str]) -> At | None:
    given = [name for name in SCAN_OPTIONS if name in options]
    if not given:
        return None
    if len(given) > 1:
        raise InvalidInputError(
            ErrorKind.QUERY_INVALID, f"{' and '.join(given)} exclude each other: give one of them", options=given
        )
    name = given[0]
    text = str(options[name])
    if name == "scan.tag-name":
        return At(tag=text)
    if name == "scan.version":
        return At(version=text)
    if name == "scan.timestamp":
        return At(timestamp_ms=parse_time(text))
    try:
        number = int(text)
    except ValueError as error:
        raise InvalidInputError(
            ErrorKind.QUERY_INVALID, f"{name} = {text!r} is no whole number", option=name
        ) from error
    if name == "scan.snapshot-id":
        return At(snapshot_id=number)
    return At(watermark=number) if name == "scan.watermark" else At(timestamp_ms=number)


def _text_of(timestamp_ms: int) -> str:
    try:
        return f"{datetime.fromtimestamp(timestamp_ms / 1000).astimezone():%Y-%m-%d %H:%M:%S%z}"
    except (OverflowError, ValueError, OSError):
        return f"{timestamp_ms} ms"

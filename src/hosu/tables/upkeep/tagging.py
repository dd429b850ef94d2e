"""Tags on schedule: one for each day, hour or other period, once its last rows have come."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, tzinfo
from typing import Final

from hosu.kernel.errors import ErrorKind, InvalidInputError
from hosu.tables.context import TableContext
from hosu.tables.options import Options
from hosu.tables.optionvalues import parse_zone
from hosu.tables.records import Snapshot
from hosu.tables.snapshots import find, tags, travel
from hosu.tables.upkeep.report import Report
from hosu.tables.upkeep.tagged import delete_tag

_PERIODS: Final = {"daily": timedelta(days=1), "hourly": timedelta(hours=1), "two-hours": timedelta(hours=2)}
_DAILY: Final = {"with_dashes": "%Y-%m-%d", "without_dashes": "%Y%m%d", "without_dashes_and_spaces": "%Y%m%d"}
_HOURLY: Final = {
    "with_dashes": "%Y-%m-%d %H",
    "without_dashes": "%Y%m%d %H",
    "without_dashes_and_spaces": "%Y%m%d%H",
}
_MINUTES: Final = "%Y%m%d%H%M"
_START: Final = datetime(1970, 1, 1, tzinfo=UTC).replace(tzinfo=None)


@dataclass(frozen=True)
class Schedule:
    """When tags are made and what they are called. Times are local ones of `zone`, None being the machine's."""

    period: timedelta
    name_format: str
    delay: timedelta
    by_watermark: bool
    zone: tzinfo | None
    completes: bool
    """Whether periods without a snapshot get their tag, of the first snapshot after them."""

    def time_of(self, name: str) -> datetime | None:
        """Return the start of the period that a tag is named after, or None for another kind of tag."""
        text = name.split(" ", maxsplit=1)[0] if self.period == _PERIODS["daily"] else name
        try:
            found = datetime.strptime(text, self.name_format)  # noqa: DTZ007 - a local time
        except ValueError:
            return None
        return found if found.strftime(self.name_format) == text else None

    def name_of(self, start: datetime) -> str:
        """Return the name of the tag of the period that begins then."""
        return start.strftime(self.name_format)

    def last_complete(self, time: datetime) -> datetime:
        """Return the start of the last period that is over at a time."""
        return time - (time - _START) % self.period - self.period

    def local(self, snapshot: Snapshot) -> datetime | None:
        """Return when a snapshot was, or how far its rows had come; None: it does not say."""
        time_ms = snapshot.watermark if self.by_watermark else snapshot.time_millis
        if time_ms is None or time_ms == travel.WATERMARK_NONE:
            return None
        moment = datetime.fromtimestamp(0, UTC) + timedelta(milliseconds=time_ms)
        return moment.astimezone(self.zone).replace(tzinfo=None)


def schedule(options: Options) -> Schedule | None:
    """Return the schedule of a table, or None. Raises InvalidInputError TABLE_INVALID for one that cannot be."""
    mode = options.tag_automatic_creation
    if mode == "none":
        return None
    by_watermark = mode == "watermark"
    option = "sink.watermark-time-zone" if by_watermark else "sink.process-time-zone"
    duration = options.tag_creation_period_duration
    if duration is not None:
        period, name_format = timedelta(milliseconds=duration), _MINUTES
    else:
        period = _PERIODS[options.tag_creation_period]
        formats = _DAILY if options.tag_creation_period == "daily" else _HOURLY
        two_hours = options.tag_creation_period == "two-hours"
        name_format = formats["with_dashes" if two_hours else options.tag_period_formatter]
    delay = timedelta(milliseconds=options.tag_creation_delay)
    if delay >= period:
        raise InvalidInputError(
            ErrorKind.TABLE_INVALID,
            f"tag.creation-delay is {delay}: it must be shorter than the period of tags, {period}",
            option="tag.creation-delay",
        )
    return Schedule(
        period,
        name_format,
        delay,
        by_watermark,
        _zone(option, str(options.value(option) or "")),
        options.tag_automatic_completion,
    )


def create_due_tags(ctx: TableContext, *, dry_run: bool = False) -> Report:
    """Make the tags whose time has come, and delete those beyond `tag.num-retained-max`.

    Reads as many snapshots as halving takes for each tag made. Raises InvalidInputError TABLE_INVALID.
    """
    report = Report("create tags", dry_run)
    plan = schedule(ctx.options)
    if plan is None:
        return report
    known = {name: start for name in tags.names(ctx) if (start := plan.time_of(name)) is not None}
    for name, snapshot in _due(ctx, plan, known):
        report.tags_created.append(name)
        if not dry_run:
            tags.create(ctx, name, snapshot.id, retained_ms=ctx.options.tag_default_time_retained, exist_ok=True)
    count_max = ctx.options.tag_num_retained_max
    if count_max is not None and not dry_run:
        automatic = [tag.name for tag in tags.tags(ctx) if plan.time_of(tag.name) is not None]
        for name in automatic[: max(0, len(automatic) - count_max)]:
            report.add(delete_tag(ctx, name))
    return report


def _due(ctx: TableContext, plan: Schedule, known: dict[str, datetime]) -> Iterator[tuple[str, Snapshot]]:
    """Yield the tags to make, each with its snapshot."""
    last = max(known, key=lambda name: known[name], default=None)
    earliest = find.earliest_id(ctx)
    if earliest is None:
        return
    if last is None:
        following, start_id = None, earliest
    else:
        following = known[last] + plan.period
        found = tags.try_get(ctx, last)
        start_id = max(earliest, found.snapshot.id + 1) if found is not None else earliest
    while True:
        threshold = datetime.min if following is None else following + plan.period + plan.delay  # noqa: DTZ901 - local
        snapshot = _first_at(ctx, start_id, threshold, plan)
        if snapshot is None:
            return
        time = plan.local(snapshot)
        assert time is not None
        start = following if plan.completes and following is not None else plan.last_complete(time)
        yield plan.name_of(start), snapshot
        following = start + plan.period
        start_id = snapshot.id if plan.completes else snapshot.id + 1


def _first_at(ctx: TableContext, start_id: int, threshold: datetime, plan: Schedule) -> Snapshot | None:
    """Return the first snapshot from a number on that is of a time or later."""

    def is_before(snapshot: Snapshot) -> bool:
        if snapshot.id < start_id:
            return True
        time = plan.local(snapshot)
        return time is None or time < threshold

    before = travel.last_where(ctx, is_before)
    first = find.earliest_id(ctx)
    if first is None:
        return None
    wanted = max(start_id, first if before is None else before.id + 1)
    found = find.try_load(ctx, wanted)
    return None if found is None or plan.local(found) is None else found


def _zone(option: str, name: str) -> tzinfo | None:
    if not name:
        return None
    try:
        return parse_zone(name)
    except ValueError as error:
        raise InvalidInputError(
            ErrorKind.TABLE_INVALID,
            f"{option} is {name!r}, which is no time zone: give one like Asia/Seoul or +09:00",
            option=option,
        ) from error

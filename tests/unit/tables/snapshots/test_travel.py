"""Which snapshot a table was at."""

from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.support.upkeep import Line

from hosu.kernel.errors import ErrorKind, HosuError, InvalidInputError, NotFoundError
from hosu.tables.snapshots import find, tags, travel
from hosu.tables.snapshots.travel import At
from hosu.tables.upkeep.expiry import expire


@pytest.fixture
def line() -> Line:
    line = Line.new()
    for _ in range(5):
        line.append()
    tags.create(line.ctx, "third", 3)
    tags.create(line.ctx, "2", 4)
    return line


def id_of(line: Line, at: travel.Moment) -> int | None:
    found = travel.resolve(line.ctx, at)
    return None if found is None else found.id


def test_by_number_tag_time_and_options(line: Line) -> None:
    time_ms = find.load(line.ctx, 2).time_millis
    moment = datetime.fromtimestamp(0, UTC) + timedelta(milliseconds=time_ms)
    for at, expected in (
        (None, 5),
        (2, 2),
        ("third", 3),
        ("2", 4),  # a tag's name comes before a number
        ("5", 5),
        (moment, 2),
        (moment - timedelta(milliseconds=1), 1),
        (moment.astimezone().replace(tzinfo=None), 2),
        (moment.isoformat(), 2),
        (At(timestamp_ms=time_ms + 999), 2),
        (At(tag="2"), 4),
        (At(snapshot_id=1), 1),
        ({"scan.snapshot-id": "3"}, 3),
        ({"scan.tag-name": "third"}, 3),
        ({"scan.timestamp-millis": str(time_ms)}, 2),
        ({"scan.timestamp": moment.astimezone().strftime("%Y-%m-%d %H:%M:%S")}, 2),
        ({"scan.version": "third"}, 3),
        ({"bucket": "4"}, 5),
        ({}, 5),
    ):
        assert id_of(line, at) == expected, at


def test_a_table_without_snapshots_is_at_none() -> None:
    assert travel.resolve(Line.new().ctx) is None


def test_what_expired_is_found_by_its_tag_alone(line: Line) -> None:
    line.clock.advance(1)
    expire(line.ctx)
    assert id_of(line, 3) == 3
    with pytest.raises(NotFoundError, match="it has 5 to 5"):
        travel.resolve(line.ctx, 1)


@pytest.mark.parametrize(
    ("at", "kind"),
    [
        (9, ErrorKind.SNAPSHOT_NOT_FOUND),
        (0, ErrorKind.SNAPSHOT_NOT_FOUND),
        (datetime(1999, 1, 1, tzinfo=UTC), ErrorKind.SNAPSHOT_NOT_FOUND),
        (At(timestamp_ms=-(10**17)), ErrorKind.SNAPSHOT_NOT_FOUND),
        (At(watermark=1), ErrorKind.SNAPSHOT_NOT_FOUND),
        ("nobody", ErrorKind.TABLE_TAG_NOT_FOUND),
        (At(tag="nobody"), ErrorKind.TABLE_TAG_NOT_FOUND),
        ({"scan.snapshot-id": "x"}, ErrorKind.QUERY_INVALID),
        ({"scan.snapshot-id": "1", "scan.tag-name": "third"}, ErrorKind.QUERY_INVALID),
        ({"scan.timestamp": "soon"}, ErrorKind.QUERY_INVALID),
        (True, ErrorKind.QUERY_INVALID),
    ],
)
def test_where_nothing_was_is_said(line: Line, at: Any, kind: ErrorKind) -> None:
    with pytest.raises(HosuError) as caught:
        travel.resolve(line.ctx, at)
    assert caught.value.kind is kind


def test_exactly_one_moment_is_given() -> None:
    for fields in ({}, {"tag": "a", "snapshot_id": 1}):
        with pytest.raises(InvalidInputError):
            At(**fields)  # type: ignore[arg-type]


MARKS = st.lists(st.none() | st.just(travel.WATERMARK_NONE) | st.integers(0, 30), min_size=1, max_size=12)


@settings(deadline=None, max_examples=50)
@given(MARKS, st.integers(0, 31), st.integers(1, 4))
def test_a_watermark_finds_the_first_snapshot_that_had_come_as_far(
    marks: list[int | None], wanted: int, earliest: int
) -> None:
    reached, rising = -1, []
    for mark in marks:
        reached = max(reached, mark if mark is not None else -1)
        rising.append(mark if mark is None or mark < 0 else reached)
    line = Line.new()
    first = line.append()
    for number, mark in enumerate(rising, start=1):
        snapshot = msgspec.structs.replace(first, id=number, watermark=mark, time_millis=number)
        line.ctx.files.put(line.ctx.layout.snapshot(number), find.encode(snapshot))
    earliest = min(earliest, len(rising))
    line.ctx.files.put(line.ctx.layout.snapshots + find.EARLIEST, str(earliest).encode())
    ctx = line.fresh()
    expected = next(
        (
            number
            for number, mark in enumerate(rising, start=1)
            if number >= earliest and (mark or -1) >= max(wanted, 1)
        ),
        None,
    )
    if expected is None:
        with pytest.raises(NotFoundError):
            travel.resolve(ctx, At(watermark=max(wanted, 1)))
    else:
        found = travel.resolve(ctx, f"watermark-{max(wanted, 1)}")
        assert found is not None
        assert found.id == expected


@settings(deadline=None, max_examples=50)
@given(st.lists(st.integers(0, 5), min_size=1, max_size=40), st.integers(-3, 200))
def test_a_time_finds_the_last_snapshot_until_then(gaps: list[int], wanted: int) -> None:
    line = Line.new()
    first = line.append()
    times, now = [], 0
    for number, gap in enumerate(gaps, start=1):
        now += gap
        times.append(now)
        snapshot = msgspec.structs.replace(first, id=number, time_millis=now)
        line.ctx.files.put(line.ctx.layout.snapshot(number), find.encode(snapshot))
    ctx = line.fresh()
    expected = [number for number, time in enumerate(times, start=1) if time <= wanted]
    if expected:
        assert travel.by_time(ctx, wanted).id == expected[-1]
    else:
        with pytest.raises(NotFoundError):
            travel.by_time(ctx, wanted)

"""Tags on schedule."""

from datetime import UTC, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.support.upkeep import HOUR_MS, Line

from hosu.kernel.errors import ErrorKind, InvalidInputError, UnsupportedError
from hosu.tables.options import Options
from hosu.tables.snapshots import tags
from hosu.tables.upkeep.tagging import create_due_tags, schedule
from hosu.tables.validation import check_table_options

DAY = {"tag.automatic-creation": "process-time", "sink.process-time-zone": "UTC"}


def names(line: Line) -> list[str]:
    return [tag.name for tag in tags.tags(line.ctx)]


def at_hour(line: Line, hour: int) -> None:
    start_ms = int(datetime(2026, 1, 1, tzinfo=UTC).timestamp() * 1000)
    line.clock.set_now_ms(start_ms + hour * HOUR_MS)


def test_each_day_has_the_tag_of_the_first_snapshot_after_it() -> None:
    line = Line.new(options=DAY)
    for hour in (5, 20, 26, 30, 49, 75):
        at_hour(line, hour)
        line.append()
    planned = create_due_tags(line.ctx, dry_run=True)
    assert names(line) == []
    assert create_due_tags(line.ctx).tags_created == planned.tags_created
    found = {tag.name: tag.snapshot.id for tag in tags.tags(line.ctx)}
    assert found == {"2025-12-31": 1, "2026-01-01": 3, "2026-01-02": 5, "2026-01-03": 6}
    assert create_due_tags(line.ctx).tags_created == []
    at_hour(line, 97)
    line.append()
    assert create_due_tags(line.ctx).tags_created == ["2026-01-04"]


def test_days_without_snapshots_have_tags_only_when_they_are_asked_for() -> None:
    for completes, expected in (
        ("false", ["2025-12-31", "2026-01-03"]),
        ("true", ["2025-12-31", "2026-01-01", "2026-01-02", "2026-01-03"]),
    ):
        line = Line.new(options={**DAY, "tag.automatic-completion": completes})
        line.append()
        at_hour(line, 74)
        line.append()
        create_due_tags(line.ctx)
        assert sorted(names(line)) == expected


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"tag.creation-period": "hourly"}, "2026-01-01 01"),
        ({"tag.creation-period": "hourly", "tag.period-formatter": "without_dashes"}, "20260101 01"),
        ({"tag.creation-period": "hourly", "tag.period-formatter": "without_dashes_and_spaces"}, "2026010101"),
        ({"tag.creation-period": "two-hours"}, "2026-01-01 00"),
        ({"tag.creation-period-duration": "30 min"}, "202601010200"),
        ({"tag.period-formatter": "without_dashes"}, "20251231"),
        ({"sink.process-time-zone": "Asia/Seoul", "tag.creation-period": "hourly"}, "2026-01-01 10"),
        ({"sink.process-time-zone": "+09:00", "tag.creation-period": "hourly"}, "2026-01-01 10"),
        ({"sink.process-time-zone": "GMT-1", "tag.creation-period": "hourly"}, "2026-01-01 00"),
    ],
)
def test_periods_have_the_names_of_paimon(options: dict[str, str], expected: str) -> None:
    line = Line.new(options={**DAY, **options})
    at_hour(line, 2)
    line.clock.advance(40 * 60_000)
    line.append()
    assert create_due_tags(line.ctx).tags_created == [expected]


def test_a_delay_waits_for_late_rows() -> None:
    line = Line.new(options={**DAY, "tag.creation-delay": "2 h"})
    line.append()
    create_due_tags(line.ctx)
    for hour, made in ((25, []), (26, ["2026-01-01"])):
        at_hour(line, hour)
        line.append()
        assert create_due_tags(line.ctx).tags_created == made


def test_the_oldest_go_beyond_their_number_and_others_stay() -> None:
    line = Line.new(options={**DAY, "tag.num-retained-max": "2"})
    line.append()
    tags.create(line.ctx, "mine")
    for day in range(1, 5):
        at_hour(line, 24 * day)
        line.append()
        create_due_tags(line.ctx)
    assert names(line) == ["mine", "2026-01-03", "2026-01-04"]


def test_tags_may_go_by_themselves() -> None:
    from hosu.tables.upkeep.run import upkeep_table

    line = Line.new(options={**DAY, "tag.default-time-retained": "1 h", "snapshot.time-retained": "0 ms"})
    line.append()
    assert upkeep_table(line.ctx).tags_created == ["2025-12-31"]
    assert tags.get(line.ctx, "2025-12-31").retained_ms == HOUR_MS
    line.compact()
    line.clock.advance(HOUR_MS + 1000)
    assert upkeep_table(line.ctx).tags_deleted == ["2025-12-31"]
    line.check()
    assert line.stored() == line.needed()


def test_a_table_without_watermarks_has_no_tags_by_them() -> None:
    line = Line.new(options={"tag.automatic-creation": "watermark"})
    line.append()
    assert create_due_tags(line.ctx).tags_created == []


def test_a_schedule_that_cannot_be_is_refused() -> None:
    with pytest.raises(InvalidInputError, match=r"tag\.creation-delay") as caught:
        schedule(Options({**DAY, "tag.creation-delay": "1 d"}))
    assert caught.value.kind is ErrorKind.TABLE_INVALID
    with pytest.raises(InvalidInputError, match="no time zone"):
        schedule(Options({**DAY, "sink.process-time-zone": "Mars/Crater"}))


def test_tags_of_batches_are_refused_by_name() -> None:
    line = Line.new()
    with pytest.raises(UnsupportedError, match=r"tag\.automatic-creation"):
        check_table_options(line.ctx.schema, Options({"tag.automatic-creation": "batch"}))


@settings(deadline=None, max_examples=50)
@given(st.lists(st.integers(1, 40), min_size=1, max_size=15))
def test_all_at_once_makes_the_tags_that_one_by_one_does(gaps: list[int]) -> None:
    lines = [Line.new(options={**DAY, "tag.creation-period": "two-hours"}) for _ in range(2)]
    for gap in gaps:
        for line in lines:
            line.clock.advance(gap * HOUR_MS // 7)
            line.append()
        create_due_tags(lines[0].ctx)
    create_due_tags(lines[1].ctx)
    one_by_one, at_once = ({tag.name: tag.snapshot.id for tag in tags.tags(line.ctx)} for line in lines)
    assert one_by_one == at_once

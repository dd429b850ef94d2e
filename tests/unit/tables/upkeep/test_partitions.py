"""Partitions whose time is over are dropped, and only those."""

from datetime import UTC, datetime, timedelta

import pytest
from tests.support.upkeep import HOUR_MS, Line

from hosu.kernel.errors import InvalidInputError, UnsupportedError
from hosu.tables.manifests import live_entries, partition_values
from hosu.tables.snapshots import find
from hosu.tables.upkeep.partitions import expire_partitions, strptime_format
from hosu.tables.upkeep.run import upkeep_table

WEEK = {"partition.expiration-time": "7 d"}


def left(line: Line) -> set[str]:
    latest = find.latest(line.ctx)
    assert latest is not None
    return {partition_values(line.ctx, entry.partition)[0] for entry in live_entries(line.ctx, latest)}


def day(line: Line, ago: int, text: str = "%Y-%m-%d") -> str:
    now = datetime.fromtimestamp(line.clock.now_ms() / 1000, UTC).astimezone()
    return (now - timedelta(days=ago)).strftime(text)


def test_old_partitions_go_in_one_commit() -> None:
    line = Line.new(options=WEEK)
    for ago in (0, 6, 9, 30):
        line.append(partition=day(line, ago))
    planned = expire_partitions(line.ctx, dry_run=True)
    assert len(left(line)) == 4
    done = expire_partitions(line.ctx)
    assert planned.partitions_dropped == done.partitions_dropped
    assert done.partitions_dropped == [f"dt={day(line, 30)}", f"dt={day(line, 9)}"]
    assert left(line) == {day(line, 0), day(line, 6)}
    assert find.latest_id(line.ctx) == 5
    assert expire_partitions(line.ctx).is_empty


def test_so_many_go_at_a_time_the_first_by_name() -> None:
    line = Line.new(options={**WEEK, "partition.expiration-max-num": "2"})
    for ago in (40, 50, 60):
        line.append(partition=day(line, ago))
    assert expire_partitions(line.ctx).partitions_dropped == [f"dt={day(line, 60)}", f"dt={day(line, 50)}"]
    assert expire_partitions(line.ctx).partitions_dropped == [f"dt={day(line, 40)}"]


def test_what_is_no_time_stays_and_is_told() -> None:
    line = Line.new(options=WEEK)
    line.append(partition="default")
    line.append(partition="2026-13-45")
    report = expire_partitions(line.ctx)
    assert report.partitions_dropped == []
    assert any("'default' is no time" in note for note in report.notes)
    assert len(report.notes) == 2


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"partition.timestamp-formatter": "yyyyMMdd"}, "%Y%m%d"),
        ({"partition.timestamp-formatter": "yyyy'T'MM/dd"}, "%YT%m/%d"),
        ({"partition.timestamp-pattern": "$dt 12:00:00"}, "%Y-%m-%d"),
    ],
)
def test_patterns_say_how_values_are_times(options: dict[str, str], text: str) -> None:
    line = Line.new(options={**WEEK, **options})
    for ago in (1, 20):
        line.append(partition=day(line, ago, text))
    expire_partitions(line.ctx)
    assert left(line) == {day(line, 1, text)}


def test_by_update_time_the_last_file_decides() -> None:
    line = Line.new(options={**WEEK, "partition.expiration-strategy": "update-time"})
    line.append(partition="old")
    line.append(partition="written-again")
    line.clock.advance(8 * 24 * HOUR_MS)
    line.append(partition="written-again")
    expire_partitions(line.ctx)
    assert left(line) == {"written-again"}


def test_they_are_looked_at_once_an_interval() -> None:
    line = Line.new(options=WEEK)
    line.append(partition=day(line, 30))
    assert len(upkeep_table(line.ctx).partitions_dropped) == 1
    line.append(partition=day(line, 31))
    assert upkeep_table(line.ctx).partitions_dropped == []
    line.clock.advance(HOUR_MS)
    assert len(upkeep_table(line.ctx).partitions_dropped) == 1


def test_what_is_not_known_is_refused_by_name_and_the_rest_of_upkeep_is_done() -> None:
    line = Line.new(options={**WEEK, "partition.expiration-strategy": "custom", "snapshot.time-retained": "0 ms"})
    for _ in range(3):
        line.append()
    line.clock.advance(1)
    with pytest.raises(UnsupportedError, match="'custom'"):
        upkeep_table(line.ctx)
    assert find.earliest_id(line.ctx) == 3
    with pytest.raises(UnsupportedError, match="'EEE'"):
        strptime_format("yyyy EEE")
    with pytest.raises(InvalidInputError, match="open quote"):
        strptime_format("yyyy'T")

"""Upkeep that stops at any of its steps leaves what shows readable, and goes on when it is done again."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
from tests.support.steps import Stop
from tests.support.upkeep import Line, OneByOneFileIO

from hosu.kernel.errors import HosuError
from hosu.kernel.fileio import MemoryFileIO
from hosu.tables.context import TableContext
from hosu.tables.snapshots import branches, changelogs, consumers, find, rollback, tags
from hosu.tables.upkeep.expiry import expire
from hosu.tables.upkeep.orphans import YOUNG_MS, clean_orphans
from hosu.tables.upkeep.run import upkeep_table
from hosu.tables.upkeep.tagged import delete_tag
from hosu.testing.faulty_disk import SimulatedCrash

LONG_CHANGELOGS = {"changelog.time-retained": "30 d", "snapshot.time-retained": "0 ms", "changelog-producer": "input"}


@dataclass(frozen=True)
class Scenario:
    """Something that upkeep does to a table, and whether it leaves nothing behind when it is done again."""

    name: str
    act: Callable[[TableContext], Any]
    prepare: Callable[[Line], None] = lambda _: None
    options: dict[str, str] | None = None
    leaves_orphans: bool = False


def with_branch(line: Line) -> None:
    branches.create(line.ctx, "b", "two")
    branch = line.at("b")
    branch.append()
    branch.compact()
    line.made |= {known: keys for known, keys in branch.made.items() if known not in line.made}


def with_expired_tag(line: Line) -> None:
    expire(line.ctx)


def redone(act: Callable[[TableContext], Any]) -> Callable[[TableContext], Any]:
    """Return what does it again where the first attempt may have gone through: that it is so already is no error."""

    def again(ctx: TableContext) -> None:
        try:
            act(ctx)
        except HosuError as error:
            if "has no tag" not in error.message and "has no branch" not in error.message:
                raise

    return again


SCENARIOS = (
    Scenario("expire", expire),
    Scenario("expire with changelogs that stay", upkeep_table, options=LONG_CHANGELOGS),
    Scenario("delete a tag", redone(lambda ctx: delete_tag(ctx, "two")), with_expired_tag, leaves_orphans=True),
    Scenario("roll back", lambda ctx: rollback.rollback_to(ctx, 3), leaves_orphans=True),
    Scenario("roll back to a tag", lambda ctx: rollback.rollback_to(ctx, "two"), with_expired_tag, leaves_orphans=True),
    Scenario("clean orphans", clean_orphans),
    Scenario("create a branch", lambda ctx: branches.create(ctx, "b", "two", exist_ok=True), leaves_orphans=True),
    Scenario("delete a branch", redone(lambda ctx: branches.delete(ctx, "b")), with_branch, leaves_orphans=True),
    Scenario("upkeep", upkeep_table),
)


def prepared(scenario: Scenario) -> tuple[OneByOneFileIO, Line]:
    files = OneByOneFileIO(MemoryFileIO())
    line = Line.new(files, options=scenario.options)
    files.files._clock = line.clock  # type: ignore[attr-defined]
    line.append(changelog=True)
    line.append(changelog=True)
    tags.create(line.ctx, "two")
    line.append(partition="b")
    line.compact()
    line.upgrade(partition="b")
    line.append()
    for name in ("manifest/manifest-orphan", "dt=a/bucket-0/data-orphan.parquet"):
        files.put(f"{line.ctx.layout.path}/{name}", b"?")
    consumers.reset(line.ctx, f"{consumers.LEASE_PREFIX}dead", 1)
    line.clock.advance(2 * YOUNG_MS)
    scenario.prepare(line)
    find.settle(line.ctx)
    return files, line


def steps(scenario: Scenario) -> int:
    files, line = prepared(scenario)
    before = len(files.changes)
    scenario.act(line.fresh())
    return len(files.changes) - before


@pytest.mark.parametrize("stop", [Stop.BEFORE, Stop.AFTER])
@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.name)
def test_a_stop_at_any_step_leaves_what_shows_readable_and_is_gone_on_from(scenario: Scenario, stop: Stop) -> None:
    count = steps(scenario)
    assert count > 1
    for number in range(1, count + 1):
        files, line = prepared(scenario)
        files.stop_at(number, stop)
        with pytest.raises(SimulatedCrash):
            scenario.act(line.fresh())
        files.heal()
        line.check()
        again = line.fresh()
        scenario.act(again)
        line.check()
        line.ctx = line.fresh()
        assert line.append().id == (find.latest_id(again) or 0) == find.latest_id(line.fresh())
        line.check()
        if not scenario.leaves_orphans and scenario.options is None:
            line.clock.advance(1)
            expire(line.ctx)
            unneeded = {key for key in line.stored() - line.needed() if "orphan" not in key}
            assert not unneeded, f"step {number}"


def test_what_a_stop_leaves_below_the_earliest_snapshot_is_found_by_one_look() -> None:
    files, line = prepared(SCENARIOS[0])
    first_of_files = next(number for number in range(1, steps(SCENARIOS[0]) + 1) if files_of_snapshots_go(number))
    files.stop_at(first_of_files, Stop.BEFORE)
    with pytest.raises(SimulatedCrash):
        expire(line.fresh())
    files.heal()
    assert [snapshot.id for snapshot in find.snapshots(line.fresh())] == [6]
    assert expire(line.fresh()).snapshots == [1, 2, 3, 4, 5]
    assert find.ids(line.fresh()) == [6]
    before = len(files.reads)
    assert expire(line.fresh()).snapshots == []
    assert len([key for key in files.reads[before:] if key.endswith("snapshot-5")]) == 1


def files_of_snapshots_go(number: int) -> bool:
    files, line = prepared(SCENARIOS[0])
    files.stop_at(number, Stop.BEFORE)
    with pytest.raises(SimulatedCrash):
        expire(line.fresh())
    return "/snapshot/snapshot-" in files.changes[-1]


def test_a_branch_is_whole_when_it_can_be_opened() -> None:
    scenario = next(scenario for scenario in SCENARIOS if scenario.name == "create a branch")
    for number in range(1, steps(scenario) + 1):
        files, line = prepared(scenario)
        files.stop_at(number, Stop.AFTER)
        with pytest.raises(SimulatedCrash):
            scenario.act(line.fresh())
        files.heal()
        scenario.act(line.fresh())
        there = branches.at(line.fresh(), "b")
        assert [snapshot.id for snapshot in find.snapshots(there)] == [2]
        assert tags.names(there) == ["two"]
        line.at("b").check()


def test_fast_forward_that_stops_is_done_by_doing_it_again() -> None:
    scenario = Scenario("fast-forward", lambda ctx: branches.fast_forward(ctx, "b"), with_branch)
    for number in range(1, steps(scenario) + 1):
        files, line = prepared(scenario)
        files.stop_at(number, Stop.AFTER)
        with pytest.raises(SimulatedCrash):
            scenario.act(line.fresh())
        files.heal()
        scenario.act(line.fresh())
        there = branches.at(line.fresh(), "b")
        assert [snapshot.id for snapshot in find.snapshots(line.fresh())][-3:] == [
            snapshot.id for snapshot in find.snapshots(there)
        ]
        assert find.latest(line.fresh()) == find.latest(there)


def test_long_lived_changelogs_are_whole_after_a_stop() -> None:
    scenario = SCENARIOS[1]
    for number in range(1, steps(scenario) + 1):
        files, line = prepared(scenario)
        shown = list(find.snapshots(line.fresh()))
        files.stop_at(number, Stop.AFTER)
        with pytest.raises(SimulatedCrash):
            scenario.act(line.fresh())
        files.heal()
        scenario.act(line.fresh())
        assert changelogs.ids(line.fresh()) == [1, 2, 3, 4, 5]
        line.check_changelogs(shown)

"""Expiry beside branches: what it deletes does not depend on how little of the other branches it reads."""

import random

import pytest
from tests.support.upkeep import Line

from hosu.kernel.fileio import MemoryFileIO
from hosu.tables.snapshots import branches, find, tags
from hosu.tables.upkeep import expiry, references, tagged
from hosu.tables.upkeep.expiry import expire
from hosu.tables.upkeep.orphans import YOUNG_MS, clean_orphans
from hosu.tables.upkeep.tagged import delete_tag
from hosu.testing.manual_clock import ManualClock

STEPS = 16
LONG = 120


class Counting(MemoryFileIO):
    reads = 0

    def _read(self, key: str, start: int, end: int | None) -> bytes:
        self.reads += 1
        return super()._read(key, start, end)


def step(line: Line, chance: random.Random) -> None:
    """Change a line somehow."""
    line.clock.advance(1)
    chance.choice([line.append, line.append, line.compact, line.upgrade])()


def planned(line: Line, retain: int) -> list[list[str]]:
    """Return what an expiry of a line would delete, and what the end of each of its tags would."""
    now_ms = line.clock.now_ms()
    reports = [expire(line.fresh(), older_than_ms=now_ms, retain_min=retain, dry_run=True)]
    reports += [delete_tag(line.fresh(), name, dry_run=True) for name in tags.names(line.fresh())]
    return [report.files for report in reports]


def planned_by_all(line: Line, retain: int, monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """Return the same by a look at all that the other branches have."""
    with monkeypatch.context() as patch:
        for module in (expiry, tagged):
            patch.setattr(module, "ids_elsewhere", lambda ctx, _=None: references.ids_elsewhere(ctx))
        return planned(line, retain)


@pytest.mark.parametrize("seed", range(15))
def test_no_more_and_no_less_goes_than_when_all_of_the_other_branches_is_read(
    seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    chance = random.Random(seed)
    main = Line.new()
    main.append()
    for _ in range(chance.randint(0, 5)):
        step(main, chance)
    tags.create(main.ctx, "start", chance.randint(1, find.latest_id(main.ctx) or 1))
    branches.create(main.ctx, "b", "start")
    lines = [main, main.at("b")]
    for _ in range(STEPS):
        line = chance.choice(lines)
        what = chance.randint(0, 9)
        if what < 6:
            step(line, chance)
        elif what == 6:
            tags.create(line.ctx, f"t{line.clock.now_ms()}", find.latest_id(line.ctx), exist_ok=True)
        elif what == 7 and seed % 3 == 0:
            branches.fast_forward(main.ctx, "b")
            main.made = {**main.made, **lines[1].made}
        for each in lines:
            assert planned(each, 2) == planned_by_all(each, 2, monkeypatch)
        if what >= 8:
            line.clock.advance(1)
            expire(line.fresh(), older_than_ms=line.clock.now_ms(), retain_min=chance.randint(1, 4))
    main.clock.advance(2 * YOUNG_MS)
    clean_orphans(main.fresh())
    for each in lines:
        if seed % 3:
            each.check()


@pytest.mark.parametrize("expired", ["b", "main"])
def test_the_history_of_a_long_branch_is_not_read_when_another_expires(expired: str) -> None:
    files = Counting(ManualClock())
    main = Line.new(files)
    for _ in range(3):
        main.append()
    tags.create(main.ctx, "start")
    branches.create(main.ctx, "b", "start")
    branch = main.at("b")
    long, short = (main, branch) if expired == "b" else (branch, main)
    for _ in range(LONG):
        long.append()
    for _ in range(12):
        short.append()
    short.clock.advance(1)
    for retain in (10, 5):
        ctx = short.fresh()
        files.reads = 0
        assert expire(ctx, older_than_ms=short.clock.now_ms(), retain_min=retain).snapshots
        assert files.reads < LONG
    short.check()
    long.check()

"""Whatever is committed, tagged, branched, rolled back, expired and cleaned: what shows reads as it was committed."""

import hypothesis.strategies as st
from hypothesis import settings
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from tests.properties.profiles import IS_NIGHTLY, MACHINES
from tests.support.upkeep import PARTITIONS, Line

from hosu.tables.snapshots import branches, find, rollback, tags
from hosu.tables.upkeep.expiry import expire
from hosu.tables.upkeep.orphans import YOUNG_MS, clean_orphans
from hosu.tables.upkeep.tagged import delete_tag

NAMES = ("t1", "t2", "t3")


class Upkeep(RuleBasedStateMachine):
    """A table with a branch or two, of which any may be looked at."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: dict[str, Line] = {}

    @initialize(changelog=st.booleans())
    def begin(self, *, changelog: bool) -> None:
        self.changelog = changelog
        self.lines["main"] = Line.new()
        self.lines["main"].append()

    def line(self, number: int) -> Line:
        return list(self.lines.values())[number % len(self.lines)]

    @rule(
        number=st.integers(0, 2),
        partition=st.sampled_from(PARTITIONS),
        verb=st.sampled_from(("append", "compact", "upgrade")),
    )
    def commit(self, number: int, partition: str, verb: str) -> None:
        line = self.line(number)
        if verb == "append":
            line.append(partition=partition, changelog=self.changelog)
        elif verb == "compact":
            line.compact(partition=partition)
        else:
            line.upgrade(partition=partition)

    @rule(number=st.integers(0, 2), name=st.sampled_from(NAMES), back=st.integers(0, 4))
    def tag(self, number: int, name: str, back: int) -> None:
        line = self.line(number)
        shown = [snapshot.id for snapshot in find.snapshots(line.ctx)]
        tags.create(line.ctx, name, shown[max(0, len(shown) - 1 - back)], exist_ok=True)

    @rule(number=st.integers(0, 2), name=st.sampled_from(NAMES))
    def untag(self, number: int, name: str) -> None:
        line = self.line(number)
        if tags.try_get(line.ctx, name) is not None:
            delete_tag(line.ctx, name)

    @precondition(lambda self: len(self.lines) < 3)
    @rule(tag=st.sampled_from(NAMES))
    def branch(self, tag: str) -> None:
        main = self.lines["main"]
        found = tags.try_get(main.ctx, tag)
        if found is None:
            return
        name = f"b{len(self.lines)}"
        branches.create(main.ctx, name, tag)
        line = Line(branches.at(main.ctx, name), main.clock)
        line.made = {found.snapshot.id: main.made[found.snapshot.id]}
        self.lines[name] = line

    @rule(number=st.integers(0, 2), keep=st.integers(1, 3), limit=st.integers(1, 6))
    def expire(self, number: int, keep: int, limit: int) -> None:
        line = self.line(number)
        line.clock.advance(1)
        planned = expire(line.ctx, retain_min=keep, max_deletes=limit, dry_run=True)
        done = expire(line.ctx, retain_min=keep, max_deletes=limit)
        assert planned.files == done.files
        assert planned.snapshots == done.snapshots

    @rule(number=st.integers(0, 2), back=st.integers(0, 3))
    def roll_back(self, number: int, back: int) -> None:
        line = self.line(number)
        shown = sorted(
            {
                *(snapshot.id for snapshot in find.snapshots(line.ctx)),
                *(tag.snapshot.id for tag in tags.tags(line.ctx)),
            }
        )
        rollback.rollback_to(line.ctx, shown[max(0, len(shown) - 1 - back)])

    @precondition(lambda self: len(self.lines) > 1)
    @rule()
    def fast_forward(self) -> None:
        main, other = self.lines["main"], self.lines["b1"]
        if find.earliest_id(other.ctx) is None:
            return
        first = find.earliest_id(other.ctx)
        assert first is not None
        branches.fast_forward(main.ctx, "b1")
        main.made = {known: keys for known, keys in main.made.items() if known < first} | other.made

    @rule(number=st.integers(0, 2))
    def clean(self, number: int) -> None:
        line = self.line(number)
        line.clock.advance(2 * YOUNG_MS)
        clean_orphans(line.ctx)

    @invariant()
    def everything_that_shows_is_as_it_was(self) -> None:
        for line in self.lines.values():
            line.check()

    def teardown(self) -> None:
        if not self.lines:
            return
        for line in self.lines.values():
            for name in tags.names(line.ctx):
                delete_tag(line.ctx, name)
            line.clock.advance(2 * YOUNG_MS)
            for _ in range(20):
                expire(line.ctx)
        main = self.lines["main"]
        clean_orphans(main.ctx)
        for line in self.lines.values():
            line.check()
        assert main.stored() == set().union(*(line.needed() for line in self.lines.values()))


TestUpkeep = Upkeep.TestCase
Upkeep.TestCase.settings = settings(MACHINES, max_examples=100 if IS_NIGHTLY else 30)

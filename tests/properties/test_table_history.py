"""Rows: whatever is written, compacted, expired and cleaned, a state that is kept reads as it did when it was made."""

from typing import Any

import hypothesis.strategies as st
import pyarrow as pa
from hypothesis import settings
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule
from tests.properties.profiles import IS_NIGHTLY, MACHINES

from hosu.kernel.fileio import MemoryFileIO
from hosu.tables.catalog import Catalog
from hosu.tables.compaction.compacting import compact
from hosu.tables.reading.scan import Scan
from hosu.tables.snapshots import branches, find, rollback, tags
from hosu.tables.upkeep.orphans import YOUNG_MS, clean_orphans
from hosu.tables.upkeep.run import upkeep_table
from hosu.tables.upkeep.tagged import delete_tag
from hosu.tables.writing.verbs import delete_where, overwrite, upsert
from hosu.testing.manual_clock import ManualClock

KINDS: tuple[dict[str, str], ...] = (
    {},
    {"deletion-vectors.enabled": "true"},
    {"changelog-producer": "lookup"},
    {"full-compaction.delta-commits": "1"},
    {"bucket": "-1"},
)
SCHEMA = pa.schema([("dt", pa.string()), ("id", pa.int64()), ("v", pa.int64())])
KEYS = st.lists(st.integers(0, 12), min_size=1, max_size=6, unique=True)
NAMES = ("t1", "t2")


class History(RuleBasedStateMachine):
    """A table of rows by day and number."""

    def __init__(self) -> None:
        super().__init__()
        self.catalog: Catalog | None = None
        self.made: dict[int, list[dict[str, Any]]] = {}
        self.branched: list[dict[str, Any]] | None = None
        self.version = 0

    @initialize(kind=st.sampled_from(KINDS))
    def begin(self, kind: dict[str, str]) -> None:
        self.clock = ManualClock()
        self.catalog = Catalog(MemoryFileIO(self.clock), "w", clock=self.clock)
        self.catalog.create_database("d")
        options = {"bucket": "2", "snapshot.time-retained": "0 ms", "snapshot.num-retained.min": "2", **kind}
        self.catalog.create_table("d.t", SCHEMA, partition_keys=["dt"], primary_keys=["dt", "id"], options=options)
        self.ctx = self.catalog.open("d.t")

    def read(self, snapshot: Any) -> list[dict[str, Any]]:
        rows: list[dict[str, Any]] = Scan(self.ctx, snapshot).to_arrow().to_pylist()
        return sorted(rows, key=lambda row: (row["dt"], row["id"]))

    def note(self) -> None:
        self.clock.advance(1)
        for snapshot in find.snapshots(self.ctx):
            if snapshot.id not in self.made:
                self.made[snapshot.id] = self.read(snapshot)

    def rows(self, dt: str, ids: list[int]) -> pa.Table:
        self.version += 1
        return pa.table([[dt] * len(ids), ids, [self.version] * len(ids)], schema=SCHEMA)

    @rule(dt=st.sampled_from("ab"), ids=KEYS)
    def write(self, dt: str, ids: list[int]) -> None:
        upsert(self.ctx, self.rows(dt, ids))
        self.note()

    @rule(ids=KEYS)
    def replace(self, ids: list[int]) -> None:
        overwrite(self.ctx, self.rows("a", ids), partition={"dt": "a"})
        self.note()

    @rule()
    def delete(self) -> None:
        delete_where(self.ctx, None)
        self.note()

    @rule(full=st.booleans())
    def compact(self, *, full: bool) -> None:
        compact(self.ctx, full=full)
        self.note()

    @rule(name=st.sampled_from(NAMES), is_made=st.booleans())
    def tag(self, name: str, *, is_made: bool) -> None:
        if is_made and find.latest(self.ctx) is not None:
            tags.create(self.ctx, name, exist_ok=True)
        elif tags.try_get(self.ctx, name) is not None:
            delete_tag(self.ctx, name)

    @rule()
    def look_after(self) -> None:
        upkeep_table(self.ctx)
        self.check()

    @rule()
    def clean(self) -> None:
        self.clock.advance(2 * YOUNG_MS)
        clean_orphans(self.ctx)
        self.check()

    @rule(name=st.sampled_from(NAMES))
    def roll_back(self, name: str) -> None:
        found = tags.try_get(self.ctx, name)
        if found is not None:
            rollback.rollback_to(self.ctx, name)
            self.made = {known: rows for known, rows in self.made.items() if known <= found.snapshot.id}
            self.check()

    @rule(name=st.sampled_from(NAMES))
    def branch(self, name: str) -> None:
        if tags.try_get(self.ctx, name) is not None and not branches.exists(self.ctx, "b"):
            branches.create(self.ctx, "b", name)
            self.branched = self.made[tags.get(self.ctx, name).snapshot.id]

    def check(self) -> None:
        assert self.catalog is not None
        self.catalog.cache.clear()
        for snapshot in [*find.snapshots(self.ctx), *(tag.snapshot for tag in tags.tags(self.ctx))]:
            assert self.read(snapshot) == self.made[snapshot.id], f"snapshot {snapshot.id} reads otherwise"
        if self.branched is not None:
            assert self.read(find.latest(branches.at(self.ctx, "b"))) == self.branched

    def teardown(self) -> None:
        if self.catalog is not None:
            self.check()
            self.catalog.close()


TestHistory = History.TestCase
History.TestCase.settings = settings(MACHINES, max_examples=150 if IS_NIGHTLY else 12, stateful_step_count=15)

"""A compaction that stops at any of its steps changes no row, loses no change, and is made up for by the next."""

from collections.abc import Callable, Mapping

import pyarrow as pa
import pytest
from tests.support.steps import SteppedFileIO, Stop
from tests.support.table_rows import changelog_of

from hosu.kernel.errors import HosuError
from hosu.kernel.fileio import MemoryFileIO
from hosu.tables.catalog import Catalog
from hosu.tables.commit import publishing
from hosu.tables.compaction.claims import CLAIM_MS
from hosu.tables.compaction.compacting import compact, plan_compaction
from hosu.tables.context import TableContext
from hosu.tables.manifests import live_entries
from hosu.tables.reading import Scan
from hosu.tables.snapshots import find
from hosu.tables.writing.writer import TableWriter
from hosu.testing.faulty_disk import SimulatedCrash
from hosu.testing.manual_clock import ManualClock

SCHEMA = pa.schema([pa.field("id", pa.int64(), nullable=False), pa.field("v", pa.int64())])
ROWS = {0: 10, 1: 21, 2: 32, 3: 33}
TABLES: Mapping[str, Mapping[str, str]] = {
    "merge on read": {},
    "lookup": {"changelog-producer": "lookup"},
    "full compaction": {"changelog-producer": "full-compaction"},
    "vectors": {"deletion-vectors.enabled": "true"},
    "append": {"bucket": "-1", "compaction.min.file-num": "2"},
}


@pytest.fixture(autouse=True)
def _no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(publishing, "READ_BACK_PAUSE_S", 0)


def open_table(files: SteppedFileIO, clock: ManualClock) -> TableContext:
    return Catalog(files, "w", clock=clock).open("d.t")


def made_table(options: Mapping[str, str]) -> tuple[SteppedFileIO, ManualClock, TableContext]:
    """Make a table with a top level and three commits over it, none of them compacted."""
    files, clock = SteppedFileIO(MemoryFileIO()), ManualClock()
    catalog = Catalog(files, "w", clock=clock)
    catalog.create_database("d")
    keyed = "bucket" not in options
    given = {"write-only": "true", **({"bucket": "1"} if keyed else {}), **options}
    catalog.create_table("d.t", SCHEMA, primary_keys=["id"] if keyed else [], options=given)
    ctx = catalog.open("d.t")
    batches = [{0: 10, 1: 11, 2: 12}, {1: 21}, {2: 32, 3: 33}] if keyed else [{0: 10}, {1: 21}, {2: 32, 3: 33}]
    for number, batch in enumerate(batches):
        with TableWriter(ctx) as writer:
            writer.write(pa.table({"id": list(batch), "v": list(batch.values())}, SCHEMA))
            writer.commit()
        if keyed and not number:
            compact(ctx, full=True)
    find.settle(ctx)
    return files, clock, ctx


def rows(ctx: TableContext) -> dict[int, int]:
    found = Scan(ctx, find.latest(ctx)).to_arrow()
    return dict(zip(found["id"].to_pylist(), found["v"].to_pylist(), strict=True))


def replayed(ctx: TableContext) -> dict[int, int]:
    model: dict[int, int] = {}
    for kind, key, value in changelog_of(ctx):
        if kind in {"+I", "+U"}:
            assert key not in model
            model[key] = value
        else:
            assert model.pop(key) == value
    return model


def everything(ctx: TableContext, *, seen: bool) -> dict[int, int]:
    """Return the rows of a table; those of level 0 too where they are not seen before they are compacted."""
    if seen or not ctx.options.deletion_vectors:
        return rows(ctx)
    snapshot = find.latest(ctx)
    assert snapshot is not None
    has_fresh = any(entry.file.level == 0 for entry in live_entries(ctx, snapshot))
    return ROWS if has_fresh and rows(ctx) == {0: 10, 1: 11, 2: 12} else rows(ctx)


def try_to(act: Callable[[], object]) -> bool:
    try:
        act()
    except (SimulatedCrash, HosuError):
        return False
    return True


CASES = [
    ("merge on read", False),
    ("lookup", False),
    ("lookup", True),
    ("full compaction", True),
    ("vectors", False),
    ("append", False),
]
"""Tables, and whether all of one is compacted, or what is due."""


@pytest.mark.parametrize("stop", [Stop.BEFORE, Stop.AFTER, Stop.ANSWER_LOST])
@pytest.mark.parametrize(("name", "full"), CASES)
def test_a_compaction_stopped_at_any_step_changes_no_row(name: str, stop: Stop, *, full: bool) -> None:
    options = dict(TABLES[name])
    if not full and "bucket" not in options:
        options["num-sorted-run.compaction-trigger"] = "2"
    files, _, ctx = made_table(options)
    before = len(files.changes)
    compact(ctx, full=full)
    find.settle(ctx)
    steps = len(files.changes) - before
    assert steps >= 6
    for number in range(1, steps + 2):
        files, clock, ctx = made_table(options)
        files.stop_at(number, stop)
        is_done = try_to(lambda ctx=ctx: compact(ctx, full=full))  # type: ignore[misc]
        files.heal()

        after = open_table(files, clock)
        assert everything(after, seen=is_done) == ROWS, f"step {number}"

        clock.advance(CLAIM_MS)  # whoever was stopped gave nothing back
        compact(after, full=True)
        assert rows(after) == ROWS, f"step {number}"
        assert list(plan_compaction(after, full=True)) == []
        if "changelog-producer" in options:
            assert replayed(after) == ROWS, f"step {number}"

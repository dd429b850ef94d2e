"""Whatever is compacted, and when: a table reads as a dictionary of the same rows, and its changelog leads there."""

import random
import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias

import pyarrow as pa
import pytest
from tests.properties.profiles import IS_NIGHTLY
from tests.support.table_rows import changelog_of

from hosu.kernel.clock import SystemClock
from hosu.kernel.fileio import FolderFileIO, MemoryFileIO
from hosu.tables.catalog import Catalog
from hosu.tables.compaction.compacting import compact, plan_compaction, run_compaction
from hosu.tables.compaction.levels import Levels
from hosu.tables.context import TableContext
from hosu.tables.manifests import live_entries
from hosu.tables.reading import Scan
from hosu.tables.snapshots import find
from hosu.tables.writing.writer import TableWriter
from hosu.testing.manual_clock import ManualClock

SEEDS = range(60 if IS_NIGHTLY else 2)
STEPS = 50 if IS_NIGHTLY else 18
KEYS = 24
COMMITS = 40 if IS_NIGHTLY else 10
SCHEMA = pa.schema([pa.field("id", pa.int64(), nullable=False), pa.field("v", pa.int64()), pa.field("s", pa.int64())])
Row: TypeAlias = tuple[int | None, int | None]
Model: TypeAlias = dict[int, Row]
Change: TypeAlias = tuple[str, int, int | None, int | None]


def keep_last(model: Model, change: Change) -> None:
    kind, key, *values = change
    if kind == "-D":
        model.pop(key, None)
    else:
        model[key] = (values[0], values[1])


def keep_highest(model: Model, change: Change) -> None:
    _, key, value, order = change
    known = model.get(key)
    if known is None or (order or 0) >= (known[1] or 0):
        model[key] = (value, order)


def keep_first(model: Model, change: Change) -> None:
    _, key, value, order = change
    model.setdefault(key, (value, order))


def add(model: Model, change: Change) -> None:
    _, key, value, order = change
    total, last = model.get(key, (None, None))
    if value is not None:
        total = value + (total or 0)
    model[key] = (total, last if order is None else order)


def fill(model: Model, change: Change) -> None:
    _, key, value, order = change
    known = model.get(key, (None, None))
    model[key] = (known[0] if value is None else value, known[1] if order is None else order)


@dataclass(frozen=True)
class Kind:
    """A kind of table, and what becomes of a row there."""

    apply: Callable[[Model, Change], None]
    options: Mapping[str, str] = field(default_factory=dict)
    deletes: bool = False
    nulls: bool = False


ENGINES = {
    "deduplicate": Kind(keep_last, deletes=True),
    "sequence field": Kind(keep_highest, {"sequence.field": "s"}),
    "sum": Kind(add, {"merge-engine": "aggregation", "fields.v.aggregate-function": "sum"}, nulls=True),
    "partial update": Kind(fill, {"merge-engine": "partial-update"}, nulls=True),
}
WAYS: Mapping[str, Mapping[str, str]] = {
    "none": {},
    "lookup": {"changelog-producer": "lookup"},
    "lookup of changes": {"changelog-producer": "lookup", "changelog-producer.row-deduplicate": "true"},
    "full compaction": {"changelog-producer": "full-compaction", "full-compaction.delta-commits": "3"},
    "vectors": {"deletion-vectors.enabled": "true"},
    "vectors of 64 bits": {"deletion-vectors.enabled": "true", "deletion-vectors.bitmap64": "true"},
    "vectors and lookup": {"deletion-vectors.enabled": "true", "changelog-producer": "lookup"},
    "write-only": {"write-only": "true"},
}
FIRST = Kind(keep_first, {"merge-engine": "first-row"})
CASES = [
    *(pytest.param(ENGINES[engine], WAYS[way], id=f"{engine}, {way}") for engine in ENGINES for way in WAYS),
    pytest.param(FIRST, WAYS["none"], id="first row"),
    pytest.param(FIRST, WAYS["lookup"], id="first row, lookup"),
]


def make_table(options: Mapping[str, str]) -> TableContext:
    catalog = Catalog(MemoryFileIO(), "w", clock=ManualClock())
    catalog.create_database("d")
    catalog.create_table("d.t", SCHEMA, primary_keys=["id"], options={"bucket": "2", **options})
    return catalog.open("d.t")


def some_changes(chance: random.Random, kind: Kind) -> list[Change]:
    keys = chance.sample(range(KEYS), chance.randrange(1, 9))

    def value() -> int | None:
        return None if kind.nulls and chance.random() < 0.3 else chance.randrange(6)

    return [("-D" if kind.deletes and chance.random() < 0.3 else "+I", key, value(), value()) for key in keys]


def write(ctx: TableContext, changes: Sequence[Change]) -> None:
    kinds, *columns = zip(*changes, strict=True)
    rows = pa.table([pa.array(column, pa.int64()) for column in columns], schema=SCHEMA)
    with TableWriter(ctx) as writer:
        writer.write(rows, pa.array(kinds))
        writer.commit()


def read(ctx: TableContext, *, memory_bytes: int | None = None) -> Model:
    scan = Scan(ctx, find.latest(ctx), memory_bytes=memory_bytes)
    rows = scan.to_arrow() if memory_bytes is None else scan.to_reader().read_all()
    assert len(set(rows["id"].to_pylist())) == rows.num_rows
    return {row["id"]: (row["v"], row["s"]) for row in rows.to_pylist()}


def replayed(ctx: TableContext) -> Model:
    model: Model = {}
    for kind, key, *values in changelog_of(ctx):
        row = (values[0], values[1])
        if kind in {"+I", "+U"}:
            assert key not in model
            model[key] = row
        else:
            assert model.pop(key) == row
    return model


def is_healthy(ctx: TableContext) -> bool:
    """Whether no two files of a level share a key, but those of level 0."""
    buckets: dict[int, list[Any]] = {}
    snapshot = find.latest(ctx)
    assert snapshot is not None
    for entry in live_entries(ctx, snapshot):
        buckets.setdefault(entry.bucket, []).append(entry.file)
    for files in buckets.values():
        for run in Levels.of(files, ctx.options.num_levels, lambda key: (key,)).runs:
            spans = [(file.min_key, file.max_key) for file in run.files]
            if len({key for span in spans for key in set(span)}) < sum(len(set(span)) for span in spans):
                return False
    return True


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize(("kind", "options"), CASES)
def test_a_table_reads_as_its_model_however_it_is_compacted(kind: Kind, options: Mapping[str, str], seed: int) -> None:
    chance = random.Random(seed)
    ctx = make_table({**kind.options, **options})
    model: Model = {}

    for _ in range(STEPS):
        changes = some_changes(chance, kind)
        write(ctx, changes)
        for change in changes:
            kind.apply(model, change)
        if chance.random() < 0.3:
            compact(ctx, full=chance.random() < 0.3, memory_bytes=chance.choice([None, 1]))
        assert read(ctx, memory_bytes=chance.choice([None, 1])) == model

    compact(ctx, full=True)
    assert read(ctx) == model
    assert is_healthy(ctx)
    assert list(plan_compaction(ctx, full=True)) == []
    if "changelog-producer" in options:
        assert replayed(ctx) == model


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("options", [{"bucket": "-1"}, {"bucket": "2", "bucket-key": "id"}], ids=["unaware", "fixed"])
def test_an_append_table_keeps_every_row_however_it_is_compacted(options: Mapping[str, str], seed: int) -> None:
    chance = random.Random(seed)
    catalog = Catalog(MemoryFileIO(), "w", clock=ManualClock())
    catalog.create_database("d")
    catalog.create_table("d.t", SCHEMA, options={**options, "compaction.min.file-num": "3"})
    ctx = catalog.open("d.t")
    written: list[tuple[int, int | None, int | None]] = []

    for number in range(STEPS):
        changes: list[Change] = [("+I", number * 100 + row, row, None) for row in range(chance.randrange(1, 6))]
        write(ctx, changes)
        written += [(key, value, order) for _, key, value, order in changes]
        if chance.random() < 0.3:
            compact(ctx, full=chance.random() < 0.3)
        found = Scan(ctx, find.latest(ctx)).to_arrow().to_pylist()
        assert sorted((row["id"], row["v"], row["s"]) for row in found) == written

    compact(ctx, full=True)
    snapshot = find.latest(ctx)
    assert snapshot is not None
    assert len(live_entries(ctx, snapshot)) == (1 if options["bucket"] == "-1" else 2)


@pytest.mark.parametrize("way", ["none", "lookup", "full compaction", "vectors and lookup", "write-only"])
def test_writers_and_compactions_at_once_lose_nothing(way: str, tmp_path: Path) -> None:
    options = WAYS[way]
    catalog = Catalog(FolderFileIO(tmp_path), "w", clock=SystemClock())
    catalog.create_database("d")
    catalog.create_table("d.t", SCHEMA, primary_keys=["id"], options={"bucket": "1", **options})
    done = threading.Event()

    def compacting(full: bool) -> None:  # noqa: FBT001 - as an executor passes it
        while not done.is_set():
            run_compaction(catalog.open("d.t"), full=full, gives_up=True)

    def writing(writer: int) -> Model:
        model: Model = {}
        chance, ctx = random.Random(writer), catalog.open("d.t")
        for number in range(COMMITS):
            row = (2 * chance.randrange(KEYS) + writer, number, None)
            write(ctx, [("+I", *row)])
            model[row[0]] = row[1:]
        return model

    with ThreadPoolExecutor(4) as threads:
        compactions = [threads.submit(compacting, full) for full in (False, True)]
        writers = [threads.submit(writing, writer) for writer in range(2)]
        try:
            model = {key: row for writer in writers for key, row in writer.result().items()}
        finally:
            done.set()
        for compaction in compactions:
            compaction.result()

    ctx = catalog.open("d.t")
    compact(ctx, full=True)
    assert read(ctx) == model
    assert is_healthy(ctx)
    if "changelog-producer" in options:
        assert replayed(ctx) == model
    catalog.close()

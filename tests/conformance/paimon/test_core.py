"""What Flink's SQL does not say of Paimon's format: variants, branches, statistics, and what compaction takes next."""

import random
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pytest
from tests.support.flink import Flink, require_flink
from tests.support.paimon_core import PaimonCore
from tests.support.paimon_steps import DATABASE, context, open_catalog, rows_of
from tests.unit.tables.compaction.test_picking import levels_of

from hosu.tables.catalog import Catalog
from hosu.tables.compaction.picking import Policy, pick
from hosu.tables.snapshots import branches, find, tags
from hosu.tables.types import DataField, parse_type
from hosu.tables.upkeep import statistics
from hosu.tables.writing.verbs import insert

pytestmark = [pytest.mark.needs("java"), pytest.mark.timeout(600)]

PICKS = 120
TEXT = '{"a":[1,2.5,"x"],"b":null}'


@dataclass(frozen=True, slots=True)
class Lake:
    """One warehouse, seen from both sides."""

    warehouse: Path
    catalog: Catalog
    flink: Flink
    core: PaimonCore


@pytest.fixture(scope="module")
def lake(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lake]:
    """Start Flink beside an empty warehouse."""
    require_flink()
    folder = tmp_path_factory.mktemp("core")
    with open_catalog(folder / "w") as catalog, Flink(folder / "home") as flink:
        catalog.create_database(DATABASE)
        flink.catalog(f"file:{folder / 'w'}", database=DATABASE)
        yield Lake(folder / "w", catalog, flink, PaimonCore(flink))


def make(lake: Lake, name: str, **columns: str) -> None:
    """Make a table by `k`, in one bucket."""
    fields = [DataField(number, column, parse_type(kind)) for number, (column, kind) in enumerate(columns.items())]
    lake.catalog.create_table(f"{DATABASE}.{name}", fields, primary_keys=["k"], options={"bucket": "1"})


def put(lake: Lake, name: str, *rows: tuple[int, str]) -> None:
    """Commit rows of a number and a text."""
    insert(context(lake.catalog, name), pa.table({"k": [row[0] for row in rows], "v": [row[1] for row in rows]}))


def test_variants_go_there_and_back(lake: Lake) -> None:
    make(lake, "variants", k="INT NOT NULL", v="VARIANT")
    ctx, variants = context(lake.catalog, "variants"), lake.core.paimon.data.variant.GenericVariant
    java = variants.fromJson(TEXT)
    stored = {"value": bytes(java.value()), "metadata": bytes(java.metadata())}
    insert(ctx, pa.table({"k": [1], "v": pa.array([stored], ctx.schema.arrow.field("v").type)}))
    table = lake.core.table(lake.warehouse / f"{DATABASE}.db" / "variants")
    assert [(row.getInt(0), row.getVariant(1).toJson()) for row in lake.core.rows(table)] == [(1, TEXT)]
    lake.core.write(table, 2, variants.fromJson("[true]"))
    (_, first), (_, second) = rows_of(lake.catalog, "variants")
    assert tuple(first) == (stored["value"], stored["metadata"])
    assert variants(bytearray(second[0]), bytearray(second[1])).toJson() == "[true]"


def test_each_continues_branches_of_the_other(lake: Lake) -> None:
    make(lake, "branched", k="INT NOT NULL", v="STRING")
    put(lake, "branched", (1, "a"))
    ctx = context(lake.catalog, "branched")
    tags.create(ctx, "one")
    branches.create(ctx, "ours", "one")
    put(lake, "branched$branch_ours", (2, "b"))
    lake.flink.run("INSERT INTO `branched$branch_ours` VALUES (3, 'c')")
    lake.flink.run(f"CALL sys.create_branch('{DATABASE}.branched', 'theirs', 'one')")
    lake.flink.run("INSERT INTO `branched$branch_theirs` VALUES (4, 'd')")
    put(lake, "branched$branch_theirs", (5, "e"))
    expected = {
        "branched": [(1, "a")],
        "branched$branch_ours": [(1, "a"), (2, "b"), (3, "c")],
        "branched$branch_theirs": [(1, "a"), (4, "d"), (5, "e")],
    }
    assert {name: rows_of(lake.catalog, name) for name in expected} == expected
    assert {name: lake.flink.rows(f"SELECT * FROM `{name}`") for name in expected} == expected
    lake.flink.run(f"CALL sys.fast_forward('{DATABASE}.branched', 'ours')")
    assert rows_of(lake.catalog, "branched") == expected["branched$branch_ours"]


def test_each_reads_statistics_of_the_other(lake: Lake) -> None:
    make(lake, "analysed", k="INT NOT NULL", v="STRING")
    put(lake, "analysed", (1, "a"), (2, "a"))
    ours = statistics.analyze(context(lake.catalog, "analysed"))
    query = "SELECT snapshot_id, schema_id, mergedRecordCount FROM `analysed$statistics`"
    assert lake.flink.rows(query) == [(ours.id - 1, 0, 2)]
    put(lake, "analysed", (3, "b"))
    lake.flink.run("ANALYZE TABLE analysed COMPUTE STATISTICS FOR ALL COLUMNS")
    ctx = context(lake.catalog, "analysed")
    snapshot = find.latest(ctx)
    assert snapshot is not None
    theirs = statistics.read(ctx, snapshot)
    assert theirs is not None
    assert (theirs.merged_record_count, theirs.col_stats["k"].max, theirs.col_stats["v"].distinct_count) == (3, "3", 2)


def test_compaction_takes_the_runs_that_paimon_takes(lake: Lake) -> None:
    chance = random.Random(7)
    seen = 0
    for _ in range(PICKS):
        trigger = chance.randrange(1, 6)
        count = trigger + 1 + chance.randrange(4)
        runs = [(0, chance.choice([5, 100])) for _ in range(chance.randrange(7))]
        runs += [(level, chance.choice([9, 120, 300])) for level in range(1, count) if chance.random() < 0.3]
        runs = [(level, 1 + chance.randrange(size)) for level, size in runs]
        ratio, amplification = chance.choice([1, 1, 40]), chance.choice([20, 200])
        forces = chance.random() < 0.5
        policy = Policy(
            trigger=trigger, size_ratio_percent=ratio, max_amplification_percent=amplification, forces_level_0=forces
        )
        unit = pick(levels_of(*runs, count=count), policy, now_ms=0)
        ours = unit and (unit.output_level, [file.file_size for file in unit.files])
        theirs = lake.core.picked(
            runs, count, trigger=trigger, size_ratio=ratio, amplification=amplification, forces_level_0=forces
        )
        assert ours == theirs, (runs, count, policy)
        seen += theirs is not None
    assert seen > PICKS // 3

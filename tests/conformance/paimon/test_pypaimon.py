"""pypaimon on the tables of hosu: it reads them, and writes more rows into them."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.support.paimon import CASES, prices
from tests.support.paimon_rows import alike, arrow_rows, plain_rows
from tests.support.paimon_steps import DATABASE, open_catalog, play, rows_of, told
from tests.support.pypaimon import Pypaimon, load, require_pypaimon

from hosu.tables.catalog import Catalog

pytestmark = pytest.mark.timeout(300)

BEYOND_PYPAIMON = {
    "aggregation": "it does not read maps that it merges",
    "keys": "it cuts nanoseconds of merged rows",
    "partial_update": "it has no sequence groups",
    "retracts": "it has no ignore-retract",
    "vectors64": "it reads deletion vectors of 32 bits alone",
    "zoneless_orc": "it takes trailing spaces off CHAR",
}
"""Tables that Flink reads right, and pypaimon 2.1 does not."""

READ = [case for case in CASES if not case.refusal and case.name not in BEYOND_PYPAIMON]
WRITTEN = ("hash_buckets", "dynamic", "runs", "changes_input")


@pytest.fixture(scope="module")
def warehouse(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder for tables."""
    require_pypaimon()
    return tmp_path_factory.mktemp("warehouse")


@pytest.fixture(scope="module")
def catalog(warehouse: Path) -> Iterator[Catalog]:
    """Write tables with hosu."""
    with open_catalog(warehouse) as opened:
        for case in READ:
            play(opened, case)
        yield opened


@pytest.mark.usefixtures("catalog")
def test_pypaimon_reads_what_hosu_wrote(warehouse: Path, tmp_path: Path) -> None:
    pypaimon, answers = Pypaimon(str(warehouse), tmp_path), told()
    paths = {case.name: pypaimon.read(f"{DATABASE}.{case.name}") for case in READ}
    pypaimon.done()
    wrong = {}
    for case in READ:
        expected = alike(case.answer) if case.answer is not None else answers.rows(case.name)
        seen = plain_rows(load(paths[case.name]))
        if seen != expected:
            wrong[case.name] = (seen, expected)
    assert not wrong


def test_hosu_reads_what_pypaimon_wrote_into_its_tables(catalog: Catalog, warehouse: Path, tmp_path: Path) -> None:
    pypaimon, cases = Pypaimon(str(warehouse), tmp_path), {case.name: case for case in READ}
    before = {name: rows_of(catalog, name) for name in WRITTEN}
    more = prices(15, 45, 20, note="p")
    for name in WRITTEN:
        pypaimon.write(f"{DATABASE}.{name}", arrow_rows(cases[name].columns, more))
    pypaimon.done()
    for name in WRITTEN:
        merged = {row[0]: row for row in before[name]} | {row[0]: row for row in alike(more)}
        assert rows_of(catalog, name) == alike(merged.values()), name

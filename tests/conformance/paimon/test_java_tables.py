"""Tables that Flink with Paimon 2.0 wrote, kept in tests/data with Flink's answers: read, continued and compacted."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.support.paimon import CASES, PRICES, Case, Delete, Insert, prices
from tests.support.paimon_rows import Row, alike
from tests.support.paimon_steps import DATABASE, Answers, changes_of, context, do, make, open_catalog, rows_of, unpack

from hosu.kernel.errors import UnsupportedError
from hosu.tables.catalog import Catalog
from hosu.tables.compaction.compacting import compact
from hosu.tables.manifests.live import live_entries
from hosu.tables.snapshots import find

WRITTEN = [case for case in CASES if case.answer is None]
HISTORIES = [case for case in WRITTEN if case.shows_history]
CHANGING = [case for case in WRITTEN if case.shows_changes]
KEYED = [case for case in WRITTEN if case.columns == PRICES and "first-row" not in case.options.values()]


def name_of(case: Case) -> str:
    """Return what a test is called by."""
    return case.name


def unpadded(case: Case, rows: list[Row]) -> list[Row]:
    """Return rows without the spaces that CHAR is filled up with: ORC has them, but Java takes them off."""
    if case.options.get("file.format") != "orc" or "f_char" not in case.columns:
        return rows
    place = list(case.columns).index("f_char")
    return [(*row[:place], row[place] and row[place].rstrip(), *row[place + 1 :]) for row in rows]


@pytest.fixture(scope="module")
def unpacked(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Answers]:
    """Unpack Java's tables once."""
    folder = tmp_path_factory.mktemp("java")
    return folder, unpack("paimon-java.tar.xz", folder)


@pytest.fixture(scope="module")
def answers(unpacked: tuple[Path, Answers]) -> Answers:
    """Return what Flink read."""
    return unpacked[1]


@pytest.fixture(scope="module")
def java(unpacked: tuple[Path, Answers]) -> Iterator[Catalog]:
    """Open Java's tables, to be read only."""
    with open_catalog(unpacked[0]) as catalog:
        yield catalog


@pytest.fixture
def copied(unpacked: tuple[Path, Answers], tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Catalog]:
    """Open a copy of the table of the case, to be changed."""
    name = request.getfixturevalue("case").name
    shutil.copytree(unpacked[0] / f"{DATABASE}.db" / name, tmp_path / f"{DATABASE}.db" / name)
    with open_catalog(tmp_path) as catalog:
        yield catalog


@pytest.mark.parametrize("case", WRITTEN, ids=name_of)
def test_rows_are_those_that_flink_reads(java: Catalog, answers: Answers, case: Case) -> None:
    assert unpadded(case, rows_of(java, case.name)) == unpadded(case, answers.rows(case.name))


@pytest.mark.parametrize("case", HISTORIES, ids=name_of)
def test_each_snapshot_reads_as_flink_reads_it(java: Catalog, answers: Answers, case: Case) -> None:
    expected = answers.history(case.name)
    assert {number: rows_of(java, case.name, at=number) for number in expected} == expected


@pytest.mark.parametrize("case", CHANGING, ids=name_of)
def test_changes_are_those_that_flink_sees(java: Catalog, answers: Answers, case: Case) -> None:
    assert changes_of(java, case.name) == answers.changes(case.name)


def test_a_snapshot_has_the_columns_of_its_day(java: Catalog, answers: Answers) -> None:
    assert rows_of(java, "evolved", at=1) == [(1, 1, "one", 1.5), (2, 2, "two", 2.5), (3, 3, "three", None)]
    latest = max(answers.tables["evolved"]["snapshots"])
    assert rows_of(java, "evolved", at=latest) == answers.rows("evolved")


def test_a_tag_reads_as_flink_reads_it(java: Catalog, answers: Answers) -> None:
    expected = answers.tags("tagged")
    assert {tag: rows_of(java, "tagged", at=tag) for tag in expected} == expected


@pytest.mark.parametrize("case", [case for case in WRITTEN if not case.refusal], ids=name_of)
def test_a_schema_is_stored_as_java_stores_it(unpacked: tuple[Path, Answers], tmp_path: Path, case: Case) -> None:
    with open_catalog(tmp_path) as catalog:
        make(catalog, case)
    path = f"{DATABASE}.db/{case.name}/schema/schema-0"
    stored, expected = (json.loads((folder / path).read_bytes()) for folder in (tmp_path, unpacked[0]))
    assert without_time(stored) == without_time(expected)


def without_time(schema: dict[str, Any]) -> dict[str, Any]:
    """Return a schema less when it was made, and less the empty comment that Flink gives each table."""
    return {name: value for name, value in schema.items() if name != "timeMillis" and (name, value) != ("comment", "")}


@pytest.mark.parametrize("case", [case for case in WRITTEN if case.keys], ids=name_of)
def test_a_table_compacted_by_hosu_keeps_its_rows(copied: Catalog, answers: Answers, case: Case) -> None:
    ctx = context(copied, case.name)
    compact(ctx, full=True)
    assert rows_of(copied, case.name) == answers.rows(case.name)
    snapshot = find.latest(ctx)
    assert snapshot is not None
    places = [(entry.partition, entry.bucket) for entry in live_entries(ctx, snapshot)]
    assert len(places) == len(set(places)), "one file of each bucket is left"


@pytest.mark.parametrize("case", KEYED, ids=name_of)
def test_a_table_continued_by_hosu_is_one_table(copied: Catalog, answers: Answers, case: Case) -> None:
    more, gone = Insert(prices(25, 40, 9, note="ours")), Delete("symbol = 'S030'")
    for step in (more, gone):
        do(copied, case.name, dict(case.columns), step)
    expected = {row[0]: row for row in answers.rows(case.name)} | {row[0]: row for row in alike(more.rows)}
    del expected["S030"]
    assert rows_of(copied, case.name) == alike(expected.values())
    assert rows_of(copied, case.name, where="symbol = 'S027'") == [expected["S027"]]


@pytest.mark.parametrize("case", [case for case in CASES if case.refusal], ids=name_of)
def test_a_table_that_hosu_cannot_continue_is_refused_by_name(copied: Catalog, answers: Answers, case: Case) -> None:
    with pytest.raises(UnsupportedError, match=case.refusal):
        do(copied, case.name, dict(case.columns), case.steps[0])
    assert unpadded(case, rows_of(copied, case.name)) == unpadded(case, answers.rows(case.name))

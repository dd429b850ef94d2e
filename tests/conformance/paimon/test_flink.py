"""Flink with Paimon for Java and hosu on the same tables: each reads, continues and compacts what the other wrote."""

from collections.abc import Iterator
from dataclasses import dataclass

import pytest
from tests.support.flink import Flink, require_flink
from tests.support.paimon import CASES, Case, Delete, Insert, Step, prices, statement
from tests.support.paimon_rows import Row, alike
from tests.support.paimon_steps import (
    DATABASE,
    Answers,
    changes_of,
    context,
    do,
    open_catalog,
    play,
    rows_of,
    told,
)

from hosu.tables.catalog import Catalog
from hosu.tables.compaction.compacting import compact
from hosu.tables.snapshots import find

pytestmark = [pytest.mark.needs("java"), pytest.mark.timeout(600)]

OURS = [case for case in CASES if not case.refusal]
BY_NAME = {case.name: case for case in CASES}
SHARED = ("deduplicate", "hash_buckets", "dynamic", "thin", "vectors", "changes_lookup", "changes_full", "orc", "avro")
"""Tables of prices that both keep writing."""

COMPACTED = ("runs", "sequence", "ignore_delete", "partial_update", "aggregation", "evolved", "ticker", "keys")
"""Tables that hosu left uncompacted."""

NO_WAIT = "'continuous.discovery-interval'='100 ms'"


@dataclass(frozen=True, slots=True)
class Lake:
    """One warehouse, seen from both sides."""

    catalog: Catalog
    flink: Flink
    answers: Answers

    def flink_rows(self, name: str, hint: str = "") -> list[Row]:
        """Return the rows of a table as Flink reads them."""
        return self.flink.rows(f"SELECT * FROM `{name}` {hint}")


@pytest.fixture(scope="module")
def lake(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lake]:
    """Write all tables with hosu, then start Flink beside them."""
    require_flink()
    folder = tmp_path_factory.mktemp("flink")
    with open_catalog(folder / "ours") as catalog, Flink(folder / "home") as flink:
        for case in OURS:
            play(catalog, case)
        flink.catalog(f"file:{folder / 'ours'}", database=DATABASE)
        yield Lake(catalog, flink, told())


def answer_of(lake: Lake, case: Case) -> list[Row]:
    """Return the rows that the steps of a case lead to, as Flink said when it did them itself."""
    return alike(case.answer) if case.answer is not None else lake.answers.rows(case.name)


def test_flink_reads_every_table_of_hosu(lake: Lake) -> None:
    wrong = {}
    for case in OURS:
        seen, expected = lake.flink_rows(case.name), answer_of(lake, case)
        if seen != expected:
            wrong[case.name] = (seen, expected)
    assert not wrong


def test_flink_travels_in_the_history_of_hosu(lake: Lake) -> None:
    wrong = []
    for name in ("runs", "changes_lookup", "append"):
        snapshots = [snapshot.id for snapshot in find.snapshots(context(lake.catalog, name))]
        assert len(snapshots) >= len(BY_NAME[name].steps)
        for number in snapshots[:: max(1, len(snapshots) // 3)]:
            hint = f"/*+ OPTIONS('scan.snapshot-id'='{number}') */"
            if lake.flink_rows(name, hint) != rows_of(lake.catalog, name, at=number):
                wrong.append((name, number))
    assert not wrong
    assert (
        lake.flink_rows("tagged", "/*+ OPTIONS('scan.tag-name'='before') */") == lake.answers.tags("tagged")["before"]
    )


def test_flink_sees_the_changes_of_hosu(lake: Lake) -> None:
    wrong = {}
    for case in (case for case in OURS if case.shows_changes):
        latest = find.latest(context(lake.catalog, case.name))
        assert latest is not None
        mode = "changelog" if "changelog-producer" in case.options else "delta"
        between = f"'incremental-between'='0,{latest.id}', 'incremental-between-scan-mode'='{mode}'"
        seen = lake.flink.rows(f"SELECT * FROM `{case.name}$audit_log` /*+ OPTIONS({between}) */")
        told_by_java = alike(row for rows in lake.answers.changes(case.name) for row in rows)
        told_by_hosu = alike(row for rows in changes_of(lake.catalog, case.name) for row in rows)
        if not seen == told_by_java == told_by_hosu:
            wrong[case.name] = (seen, told_by_java, told_by_hosu)
    assert not wrong


@pytest.mark.parametrize("name", ["input_kinds", "changes_lookup"])
def test_flink_streams_the_changelog_of_hosu_with_row_kinds(lake: Lake, name: str) -> None:
    expected = [row for rows in changes_of(lake.catalog, name) for row in rows]
    stream = lake.flink.follow(f"SELECT * FROM `{name}` /*+ OPTIONS('scan.snapshot-id'='1', {NO_WAIT}) */")
    try:
        seen = [(change.kind, *change.row) for change in stream.take(len(expected))]
    finally:
        stream.close()
    assert alike(seen) == alike(expected)
    assert {row[0] for row in seen} == {"+I", "-U", "+U", "-D"}


def test_flink_compacts_what_hosu_wrote(lake: Lake) -> None:
    wrong = {}
    for name in COMPACTED:
        lake.flink.run(f"CALL sys.compact(`table` => '{DATABASE}.{name}', compact_strategy => 'full')")
        snapshot = find.latest(context(lake.catalog, name))
        assert snapshot is not None
        assert snapshot.commit_kind.value == "COMPACT", f"Flink compacted nothing of {name}"
        seen, expected = rows_of(lake.catalog, name), answer_of(lake, BY_NAME[name])
        if seen != expected:
            wrong[name] = (seen, expected)
    assert not wrong


def test_flink_and_hosu_take_turns_in_writing(lake: Lake) -> None:
    wrong = {}
    for name in SHARED:
        columns = dict(BY_NAME[name].columns)
        model = {row[0]: row for row in lake.answers.rows(name)}
        java: list[Step] = [Insert(prices(3, 14, 11, note="j")), Delete("symbol = 'S004'")]
        lake.flink.run(*(statement(name, columns, step) for step in java))
        for step in (Insert(prices(12, 36, 12, note="h")), Delete("symbol = 'S013'")):
            do(lake.catalog, name, columns, step)
        compact(context(lake.catalog, name), full=True)
        lake.flink.run(statement(name, columns, Insert(prices(35, 38, 13, note="j"))))
        for start, stop, seq, note in ((3, 14, 11, "j"), (12, 36, 12, "h"), (35, 38, 13, "j")):
            model |= {row[0]: row for row in alike(prices(start, stop, seq, note=note))}
            gone = {11: "S004", 12: "S013"}.get(seq)
            if gone is not None:
                del model[gone]
        ours, theirs = rows_of(lake.catalog, name), lake.flink_rows(name)
        if not ours == theirs == alike(model.values()):
            wrong[name] = (ours, theirs, alike(model.values()))
    assert not wrong


def test_flink_reads_the_files_and_statistics_that_hosu_lists(lake: Lake) -> None:
    query = "SELECT record_count, null_value_counts, min_value_stats, max_value_stats FROM `append_buckets$files`"
    files = lake.flink.rows(query)
    assert sum(int(row[0]) for row in files) == len(lake.answers.rows("append_buckets"))
    assert all("level=error" in str(row[2]) and "level=warn" in str(row[3]) for row in files)
    filtered = lake.flink.rows("SELECT id FROM append_buckets WHERE id = 17")
    assert filtered == [(17,)]


def test_flink_goes_on_where_hosu_dropped_and_made_columns(lake: Lake) -> None:
    lake.flink.run("INSERT INTO evolved_append VALUES (90, 1, CAST(1.5 AS DOUBLE), 'd', 2)")
    expected = alike([*lake.answers.rows("evolved_append"), (90, 1, 1.5, "d", 2)])
    assert rows_of(lake.catalog, "evolved_append") == expected

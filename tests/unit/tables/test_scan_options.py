"""Options that say where a read begins: given to one opening, or kept with the table."""

from collections.abc import Iterator

import pyarrow as pa
import pytest

from hosu.kernel.errors import InvalidInputError, NotFoundError
from hosu.kernel.fileio import MemoryFileIO
from hosu.tables.catalog import Catalog
from hosu.tables.evolution import SetOption
from hosu.tables.table import Table
from hosu.testing.manual_clock import ManualClock

SCHEMA = pa.schema([("id", pa.int64())])


@pytest.fixture
def catalog() -> Iterator[Catalog]:
    """Return a table of three snapshots, a second apart, with one more row each."""
    clock = ManualClock()
    with Catalog(MemoryFileIO(), "wh", clock=clock) as found:
        found.create_database("db")
        found.create_table("db.t", SCHEMA)
        for number in (1, 2, 3):
            clock.advance(1)
            Table(found, "db.t").append(pa.table({"id": [number]}))
        Table(found, "db.t").create_tag("second", snapshot_id=2)
        yield found


def seen(table: Table) -> list[int]:
    return sorted(table.scan().to_arrow().column("id").to_pylist())


def told(table: Table) -> list[tuple[int, list[int]]]:
    return [
        (batch.snapshot_id, batch.rows.column("id").to_pylist()) for batch in table.changes() if batch.rows.num_rows
    ]


def time_of(catalog: Catalog, snapshot_id: int) -> int:
    return next(one.time_millis for one in Table(catalog, "db.t").snapshots() if one.id == snapshot_id)


@pytest.mark.parametrize(
    "options", [{"scan.snapshot-id": "2"}, {"scan.tag-name": "second"}, {"scan.version": "second"}]
)
def test_a_scan_is_of_the_snapshot_that_the_options_say(catalog: Catalog, options: dict[str, str]) -> None:
    assert seen(Table(catalog, "db.t", options=options)) == [1, 2]
    assert seen(Table(catalog, "db.t")) == [1, 2, 3]


def test_a_scan_is_of_the_time_that_the_options_say(catalog: Catalog) -> None:
    options = {"scan.timestamp-millis": str(time_of(catalog, 1))}

    assert seen(Table(catalog, "db.t", options=options)) == [1]


def test_options_kept_with_the_table_count_as_well(catalog: Catalog) -> None:
    catalog.alter_table("db.t", [SetOption("scan.snapshot-id", "1")])

    assert seen(Table(catalog, "db.t")) == [1]
    assert seen(Table(catalog, "db.t", options={"scan.snapshot-id": "2"})) == [1, 2]
    assert sorted(Table(catalog, "db.t").scan(at=3).to_arrow().column("id").to_pylist()) == [1, 2, 3]


def test_changes_begin_where_the_options_say(catalog: Catalog) -> None:
    assert told(Table(catalog, "db.t", options={"scan.snapshot-id": "2"})) == [(2, [2]), (3, [3])]
    later = {"scan.timestamp-millis": str(time_of(catalog, 3))}
    assert told(Table(catalog, "db.t", options=later)) == [(3, [3])]
    for full in ({"scan.mode": "from-snapshot-full", "scan.snapshot-id": "2"}, {"scan.tag-name": "second"}):
        assert [(snapshot, sorted(rows)) for snapshot, rows in told(Table(catalog, "db.t", options=full))] == [
            (2, [1, 2]),
            (3, [3]),
        ]
    assert told(Table(catalog, "db.t", options={"scan.mode": "latest"})) == []


def test_a_scan_of_what_came_between_two_snapshots(catalog: Catalog) -> None:
    assert seen(Table(catalog, "db.t", options={"incremental-between": "1,3"})) == [2, 3]


def test_what_a_read_is_told_counts_before_the_options(catalog: Catalog) -> None:
    table = Table(catalog, "db.t", options={"scan.snapshot-id": "1"})

    assert [batch.snapshot_id for batch in table.changes(3)] == [3]


def test_options_that_lead_nowhere_are_errors(catalog: Catalog) -> None:
    with pytest.raises(NotFoundError):
        seen(Table(catalog, "db.t", options={"scan.snapshot-id": "9"}))
    with pytest.raises(InvalidInputError):
        Table(catalog, "db.t", options={"scan.mode": "from-timestamp"})

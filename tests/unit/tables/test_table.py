from collections.abc import Iterator

import pyarrow as pa
import pytest

from hosu.kernel.errors import ErrorKind, InvalidInputError, NotFoundError, UnsupportedError
from hosu.kernel.fileio import MemoryFileIO
from hosu.tables.catalog import Catalog
from hosu.tables.evolution import AddColumn, RenameColumn, SetOption
from hosu.tables.snapshots.travel import At
from hosu.tables.table import Table
from hosu.tables.types import parse_type
from hosu.testing.manual_clock import ManualClock

SCHEMA = pa.schema([("symbol", pa.string()), ("price", pa.float64()), ("dt", pa.string())])
MINUTE_MS = 60_000
HOUR_MS = 60 * MINUTE_MS


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def catalog(clock: ManualClock) -> Iterator[Catalog]:
    with Catalog(MemoryFileIO(clock=clock), "warehouse", clock=clock) as catalog:
        catalog.create_database("upbit")
        yield catalog


@pytest.fixture
def ticker(catalog: Catalog) -> Table:
    catalog.create_table(
        "upbit.ticker", SCHEMA, primary_keys=["symbol", "dt"], partition_keys=["dt"],
        options={"bucket": "2", "changelog-producer": "input", "write-only": "true"},
    )  # fmt: skip
    return Table(catalog, "upbit.ticker")


def tick(symbol: str, price: float | None, dt: str = "1") -> dict[str, object]:
    return {"symbol": symbol, "price": price, "dt": dt}


def prices(table: pa.Table) -> dict[str, float]:
    return dict(zip(table["symbol"].to_pylist(), table["price"].to_pylist(), strict=True))


def test_an_upsert_replaces_by_key_and_says_what_it_did(ticker: Table) -> None:
    assert repr(ticker.upsert([tick("a", 1), tick("b", 2)])) == "Done(rows=2, snapshots=[1])"
    ticker.upsert([tick("a", 3), tick("c", 4)])
    assert prices(ticker.scan().to_arrow()) == {"a": 3, "b": 2, "c": 4}


def test_a_scan_has_the_columns_rows_and_number_of_them_asked_for(ticker: Table) -> None:
    ticker.upsert([tick("a", 1), tick("b", 2), tick("c", 3, "2")])
    assert ticker.scan(["price"], "price > 1 AND dt = '1'").to_arrow().to_pylist() == [{"price": 2}]
    assert ticker.scan(limit=2).to_arrow().num_rows == 2


def test_what_was_is_read_by_number_time_and_tag(ticker: Table, clock: ManualClock) -> None:
    ticker.upsert([tick("a", 1)])
    ticker.create_tag("before")
    clock.advance(MINUTE_MS)
    between_ms = clock.now_ms()
    clock.advance(MINUTE_MS)
    ticker.upsert([tick("a", 2)])
    for at in (1, At(timestamp_ms=between_ms), At(tag="before"), "before", {"scan.snapshot-id": "1"}):
        assert prices(ticker.scan(at=at).to_arrow()) == {"a": 1}, at
    assert prices(ticker.scan().to_arrow()) == {"a": 2}
    with pytest.raises(NotFoundError) as refusal:
        ticker.scan(at=7)
    assert refusal.value.kind is ErrorKind.SNAPSHOT_NOT_FOUND


def test_options_of_the_opening_travel_too(catalog: Catalog, ticker: Table) -> None:
    ticker.upsert([tick("a", 1)])
    ticker.upsert([tick("a", 2)])
    assert prices(Table(catalog, "upbit.ticker", options={"scan.snapshot-id": "1"}).scan().to_arrow()) == {"a": 1}


def test_columns_are_those_of_the_moment_that_is_read(ticker: Table) -> None:
    ticker.upsert([tick("a", 1)])
    ticker.alter(RenameColumn("price", "last"), AddColumn("volume", parse_type("DOUBLE")))
    ticker.upsert([{"symbol": "a", "last": 2.0, "dt": "1", "volume": 5.0}])
    assert ticker.scan(at=1).to_arrow().to_pylist() == [tick("a", 1)]
    assert ticker.scan(["last", "volume"]).to_arrow().to_pylist() == [{"last": 2.0, "volume": 5.0}]


def test_rows_are_deleted_by_key_and_by_condition_but_never_by_nothing(ticker: Table) -> None:
    ticker.upsert([tick("a", 1), tick("b", 2), tick("c", 3)])
    ticker.delete([{"symbol": "a", "dt": "1"}])
    assert ticker.delete(where="price = 3").rows == 1
    assert prices(ticker.scan().to_arrow()) == {"b": 2}
    with pytest.raises(TypeError, match="deletes all rows"):
        ticker.delete()


def test_an_update_gives_new_values_to_the_rows_that_match(ticker: Table) -> None:
    ticker.upsert([tick("a", 1), tick("b", 2)])
    assert ticker.update({"price": 9.0}, where="symbol = 'b'").rows == 1
    assert prices(ticker.scan().to_arrow()) == {"a": 1, "b": 9}


def test_an_overwrite_replaces_the_partitions_of_its_rows(ticker: Table) -> None:
    ticker.upsert([tick("a", 1), tick("b", 2, "2")])
    ticker.overwrite([tick("c", 3)])
    assert prices(ticker.scan().to_arrow()) == {"b": 2, "c": 3}
    ticker.overwrite([tick("d", 4)], dynamic=False)
    assert prices(ticker.scan().to_arrow()) == {"d": 4}


def test_changes_have_kinds_and_go_on_where_a_consumer_stopped(ticker: Table) -> None:
    ticker.upsert([tick("a", 1)])
    seen = [row for batch in ticker.changes(1, consumer="board") for row in batch.rows.to_pylist()]
    assert [(row["_ROW_KIND"], row["price"]) for row in seen] == [("+I", 1)]
    ticker.delete([{"symbol": "a", "dt": "1"}])
    seen = [row for batch in ticker.changes(consumer="board") for row in batch.rows.to_pylist()]
    assert [row["_ROW_KIND"] for row in seen] == ["-D"]
    assert [consumer.name for consumer in ticker.consumers()] == ["board"]


def test_two_states_are_compared(ticker: Table) -> None:
    ticker.upsert([tick("a", 1), tick("b", 1)])
    ticker.upsert([tick("a", 2)])
    rows = [row for batch in ticker.changes_between(1, mode="diff") for row in batch.rows.to_pylist()]
    assert sorted((row["_ROW_KIND"], row["price"]) for row in rows) == [("+U", 2), ("-U", 1)]


def test_a_mode_that_there_is_not_is_named(ticker: Table) -> None:
    ticker.upsert([tick("a", 1)])
    with pytest.raises(InvalidInputError, match="auto, delta, changelog, diff"):
        ticker.changes_between(None, mode="nonsense")


def test_history_is_listed_tagged_branched_and_taken_back(ticker: Table, catalog: Catalog) -> None:
    ticker.upsert([tick("a", 1)])
    ticker.upsert([tick("a", 2)])
    ticker.create_tag("first", snapshot_id=1)
    ticker.create_branch("test", tag="first")
    assert ([tag.name for tag in ticker.tags()], ticker.branches()) == (["first"], ["test"])
    branch = Table(catalog, "upbit.ticker", branch="test")
    branch.upsert([tick("b", 5)])
    assert prices(branch.scan().to_arrow()) == {"a": 1, "b": 5}
    assert ticker.rollback(1).id == 1
    assert [snapshot.id for snapshot in ticker.snapshots()] == [1]
    ticker.fast_forward("test")
    assert prices(ticker.scan().to_arrow()) == {"a": 1, "b": 5}
    ticker.delete_branch("test")
    ticker.delete_tag("first")
    assert (ticker.branches(), ticker.tags()) == ([], [])


def test_upkeep_merges_files_lets_old_snapshots_go_and_reads_the_same(ticker: Table, clock: ManualClock) -> None:
    for price in range(12):
        ticker.upsert([tick("a", price)])
    assert ticker.compact(full=True)[-1].commit_kind == "COMPACT"
    clock.advance(5 * HOUR_MS)
    planned = ticker.expire(dry_run=True)
    assert planned.snapshots == [1, 2, 3]
    assert ticker.expire().snapshots == planned.snapshots
    assert ticker.clean_orphans(dry_run=True).files == []
    assert prices(ticker.scan().to_arrow()) == {"a": 11}


def test_system_tables_and_statistics_tell_of_the_table(ticker: Table) -> None:
    ticker.upsert([tick("a", 1)])
    assert ticker.analyze().commit_kind == "ANALYZE"
    assert ticker.system("snapshots")["commit_kind"].to_pylist() == ["APPEND", "ANALYZE"]
    with pytest.raises(UnsupportedError):
        ticker.system("nonsense")


def test_options_are_changed_and_seen_by_those_who_look_again(ticker: Table, catalog: Catalog) -> None:
    other = Table(catalog, "upbit.ticker")
    ticker.alter(SetOption("snapshot.num-retained.min", "3"))
    assert ticker.schema.options["snapshot.num-retained.min"] == "3"
    other.refresh()
    assert other.schema.id == ticker.schema.id


def test_a_writer_commits_many_batches_at_once_and_an_identifier_once(ticker: Table) -> None:
    for _ in range(2):
        with ticker.writer(commit_user="job") as writer:
            writer.write(pa.Table.from_pylist([tick("a", 1)], ticker.arrow_schema))
            writer.write(pa.Table.from_pylist([tick("b", 2)], ticker.arrow_schema))
            writer.commit(5)
    assert len(list(ticker.snapshots())) == 1
    assert ticker.scan().to_arrow().num_rows == 2


@pytest.mark.parametrize("where", ["nonsense = 1", "price >", 7])
def test_a_condition_that_cannot_be_is_refused_before_anything_is_read(ticker: Table, where: object) -> None:
    with pytest.raises(InvalidInputError) as refusal:
        ticker.scan(where=where)  # type: ignore[arg-type]
    assert refusal.value.kind is ErrorKind.QUERY_INVALID

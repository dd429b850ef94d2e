"""What snapshots changed: where a stream begins, what it gives, and how it is taken up again."""

from collections.abc import Generator
from typing import Any

import pyarrow as pa
import pytest
from tests.support.table_rows import MakeTable, ticks

from hosu.kernel.errors import ErrorKind, InvalidInputError, NotFoundError, UnsupportedError
from hosu.tables.catalog import Catalog
from hosu.tables.compaction.compacting import compact
from hosu.tables.context import TableContext
from hosu.tables.evolution import SetOption
from hosu.tables.predicates import parse_where
from hosu.tables.reading import ROW_KIND, Between, ChangeBatch, Start, changes, changes_between
from hosu.tables.reading.incremental import incremental_scan
from hosu.tables.records import CommitKind, RowKind, Snapshot
from hosu.tables.snapshots import consumers, find, tags
from hosu.tables.upkeep.expiry import expire
from hosu.tables.writing.verbs import insert, overwrite, upsert
from hosu.testing.manual_clock import ManualClock


def said(batches: Any) -> list[tuple[Any, ...]]:
    """Return the changes of batches: snapshot, kind, id and price."""
    return [
        (batch.snapshot_id, row[ROW_KIND], row["id"], row["price"])
        for batch in batches
        for row in batch.rows.to_pylist()
    ]


def kinds(*symbols: str) -> pa.Array:
    by_symbol = {kind.symbol: kind for kind in RowKind}
    return pa.array([by_symbol[symbol] for symbol in symbols], pa.int8())


def latest(ctx: TableContext) -> Snapshot:
    found = find.latest(ctx)
    assert found is not None
    return found


@pytest.fixture
def fed(make: MakeTable) -> TableContext:
    """A table that writes what it is fed as its changelog."""
    ctx = make(options={"changelog-producer": "input"})
    upsert(ctx, [ticks((1, 1.0, "a"), (2, 2.0, "b"))])
    upsert(ctx, [ticks((1, 1.0, "a"), (1, 5.0, "a"))], kinds=kinds("-U", "+U"))
    upsert(ctx, [ticks((2, 2.0, "b"))], kinds=kinds("-D"))
    return ctx


FED = [(1, "+I", 1, 1.0), (1, "+I", 2, 2.0), (2, "-U", 1, 1.0), (2, "+U", 1, 5.0), (3, "-D", 2, 2.0)]


def test_a_changelog_is_read_snapshot_by_snapshot_with_its_kinds(fed: TableContext) -> None:
    assert said(changes(fed, from_snapshot=1)) == FED
    assert said(changes(fed, from_snapshot=2, to_snapshot=2)) == FED[2:4]
    assert [batch.is_last for batch in changes(fed, from_snapshot=1)] == [True, True, True]


def test_a_stream_begins_with_all_rows_and_goes_on_with_changes(fed: TableContext) -> None:
    assert said(changes(fed)) == [(3, "+I", 1, 5.0)]
    full = said(changes(fed, from_snapshot=2, start=Start.FROM_SNAPSHOT_FULL))
    assert sorted(full[:2]) == [(2, "+I", 1, 5.0), (2, "+I", 2, 2.0)]
    assert full[2:] == FED[4:]
    assert said(changes(fed, start=Start.LATEST)) == []
    assert said(changes(fed, start=Start.FROM_SNAPSHOT, from_snapshot=3)) == FED[4:]


def test_a_start_that_lacks_its_place_is_refused(fed: TableContext) -> None:
    for start, name in ((Start.FROM_SNAPSHOT, "from_snapshot"), (Start.FROM_TIMESTAMP, "timestamp_ms")):
        with pytest.raises(InvalidInputError, match=name):
            next(changes(fed, start=start))


def test_a_stream_begins_at_a_time(make: MakeTable, clock: ManualClock) -> None:
    ctx = make(())
    for number in range(3):
        insert(ctx, [ticks((number, 0.0, "a"))])
        clock.advance(1000)
    at = latest(ctx).time_millis
    assert said(changes(ctx, timestamp_ms=at - 1000)) == [(2, "+I", 1, 0.0), (3, "+I", 2, 0.0)]
    assert len(said(changes(ctx, timestamp_ms=0))) == 3


def test_tables_without_changelog_say_what_was_written(make: MakeTable) -> None:
    ctx = make()
    upsert(ctx, [ticks((1, 1.0, "a"))])
    upsert(ctx, [ticks((1, 2.0, "a"), (3, 3.0, "c"))], kinds=kinds("+I", "-D"))
    compact(ctx, full=True)
    assert latest(ctx).commit_kind is CommitKind.COMPACT
    assert said(changes(ctx, from_snapshot=1)) == [(1, "+I", 1, 1.0), (2, "+I", 1, 2.0), (2, "-D", 3, 3.0)]


def test_columns_and_rows_that_are_not_asked_for_are_left_out(fed: TableContext) -> None:
    wanted = parse_where("id = 2", fed.schema)
    batches = list(changes(fed, from_snapshot=1, columns=["note", "id"], where=wanted))
    assert [batch.rows.column_names for batch in batches] == [["note", "id", ROW_KIND]] * 3
    assert [row for batch in batches for row in batch.rows.to_pylist()] == [
        {"note": "b", "id": 2, ROW_KIND: "+I"},
        {"note": "b", "id": 2, ROW_KIND: "-D"},
    ]


def test_a_consumer_goes_on_where_it_stopped(fed: TableContext) -> None:
    stream = changes(fed, from_snapshot=1, consumer="reader")
    assert said([next(stream)]) == FED[:2]
    assert consumers.position(fed, "reader") is None
    assert said([next(stream)]) == FED[2:4]
    assert consumers.position(fed, "reader") == 2
    assert isinstance(stream, Generator)
    stream.close()
    assert said(changes(fed, consumer="reader")) == FED[2:]
    assert said(changes(fed, consumer="reader")) == []
    upsert(fed, [ticks((7, 7.0, "g"))])
    assert said(changes(fed, consumer="reader")) == [(4, "+I", 7, 7.0)]


def test_a_stream_waits_for_what_comes(make: MakeTable) -> None:
    ctx = make(())
    waits = 0

    def wait(_seconds: float) -> bool:
        nonlocal waits
        waits += 1
        if waits < 3:
            insert(ctx, [ticks((waits, 0.0, "a"))])
        return waits == 3

    assert said(changes(ctx, follow=True, wait=wait)) == [(1, "+I", 1, 0.0), (2, "+I", 2, 0.0)]
    assert said(changes(make(()), follow=False)) == []


def test_snapshots_that_expired_are_an_error_which_says_the_earliest(fed: TableContext, clock: ManualClock) -> None:
    clock.advance(10**9)
    expire(fed, retain_min=1, retain_max=1, older_than_ms=clock.now_ms())
    with pytest.raises(NotFoundError, match="it has 3 to 3") as caught:
        next(changes(fed, from_snapshot=1))
    assert caught.value.kind is ErrorKind.SNAPSHOT_NOT_FOUND


def test_overwrites_are_read_when_the_table_says_so(make: MakeTable) -> None:
    quiet, loud = make(), make(options={"streaming-read-overwrite": "true"})
    for ctx in (quiet, loud):
        upsert(ctx, [ticks((1, 1.0, "a"), (2, 2.0, "b"), (3, 3.0, "c"))])
        overwrite(ctx, [ticks((2, 2.0, "b"), (3, 9.0, "c"), (4, 4.0, "d"))])
    assert len(said(changes(quiet, from_snapshot=1))) == 3
    found = said(changes(loud, from_snapshot=2))
    assert sorted(found) == sorted([(2, "-D", 1, 1.0), (2, "-U", 3, 3.0), (2, "+U", 3, 9.0), (2, "+I", 4, 4.0)])


@pytest.mark.parametrize("options", [{"merge-engine": "first-row"}, {"deletion-vectors.enabled": "true"}])
def test_overwrites_are_read_before_they_are_compacted(make: MakeTable, options: dict[str, str]) -> None:
    late = {"streaming-read-overwrite": "true", "overwrite-upgrade": "false", "write-only": "true"}
    ctx = make(options={**options, **late})
    upsert(ctx, [ticks((1, 1.0, "a"), (2, 2.0, "b"))])
    overwrite(ctx, [ticks((2, 9.0, "b"), (3, 3.0, "c"))])
    found = said(changes(ctx, from_snapshot=2))
    assert sorted(found) == sorted([(2, "-D", 1, 1.0), (2, "-U", 2, 2.0), (2, "+U", 2, 9.0), (2, "+I", 3, 3.0)])


@pytest.mark.parametrize("options", [{"merge-engine": "first-row"}, {"deletion-vectors.enabled": "true"}])
def test_a_full_start_has_the_rows_that_are_not_compacted_yet(make: MakeTable, options: dict[str, str]) -> None:
    ctx = make(options={**options, "write-only": "true"})
    upsert(ctx, [ticks((1, 1.0, "a"), (2, 2.0, "b"))])
    compact(ctx, full=True)
    upsert(ctx, [ticks((3, 3.0, "c"))])
    seen = said(changes(ctx))
    compact(ctx, full=True)
    seen += said(changes(ctx, from_snapshot=4))
    assert sorted(seen) == [(3, "+I", 1, 1.0), (3, "+I", 2, 2.0), (3, "+I", 3, 3.0)]


def test_changes_between_snapshots_leave_out_the_first_and_include_the_last(fed: TableContext) -> None:
    first, last = find.load(fed, 1), find.load(fed, 3)
    assert said(changes_between(fed, first, last)) == FED[2:]
    assert said(changes_between(fed, None, last)) == FED
    assert sorted(said(changes_between(fed, first, last, mode=Between.DIFF))) == [
        (3, "+U", 1, 5.0),
        (3, "-D", 2, 2.0),
        (3, "-U", 1, 1.0),
    ]
    assert said(changes_between(fed, first, last, mode=Between.DELTA)) == [(2, "+U", 1, 5.0), (3, "-D", 2, 2.0)]
    assert said(changes_between(fed, last, last)) == []
    with pytest.raises(InvalidInputError, match="earlier"):
        list(changes_between(fed, last, first))


def test_rows_without_keys_are_not_compared(make: MakeTable) -> None:
    ctx = make(())
    insert(ctx, [ticks((1, 1.0, "a"))])
    with pytest.raises(UnsupportedError, match="primary key"):
        list(changes_between(ctx, None, latest(ctx), mode=Between.DIFF))


def test_full_starts_leave_rows_to_a_changelog_that_is_still_to_come(make: MakeTable) -> None:
    ctx = make(options={"changelog-producer": "full-compaction"})
    upsert(ctx, [ticks((1, 1.0, "a"))])
    compact(ctx, full=True)
    upsert(ctx, [ticks((2, 2.0, "b"))])
    stream: list[ChangeBatch] = list(changes(ctx))
    assert said(stream) == [(3, "+I", 1, 1.0)]
    compact(ctx, full=True)
    assert said(changes(ctx, from_snapshot=4)) == [(4, "+I", 2, 2.0)]


def test_options_of_the_table_say_where_a_stream_begins(catalog: Catalog, fed: TableContext) -> None:
    def begun(**options: str) -> list[tuple[Any, ...]]:
        given = {name.replace("_", "-").replace("--", "."): value for name, value in options.items()}
        return said(changes(catalog.open(str(fed.identifier), options=given)))

    assert begun(scan__mode="latest") == []
    assert begun(scan__snapshot_id="3") == FED[4:]
    assert len(begun(scan__mode="from-snapshot-full", scan__snapshot_id="2")) == 3
    assert begun(scan__timestamp_millis="1") == FED
    assert begun(scan__mode="compacted-full") == [(3, "+I", 1, 5.0)]
    tags.create(fed, "two", snapshot_id=2)
    assert begun(scan__tag_name="two")[-1] == FED[4]
    with pytest.raises(InvalidInputError, match="incremental"):
        begun(incremental_between="1,2")


def test_rows_between_snapshots_are_read_as_options_ask(catalog: Catalog, fed: TableContext) -> None:
    def between(**options: str) -> list[tuple[Any, ...]]:
        given = {name.replace("_", "-"): value for name, value in options.items()}
        scan = incremental_scan(catalog.open(str(fed.identifier), options=given), ["id", "price"])
        rows = [tuple(row.values()) for row in scan.to_arrow().to_pylist()]
        assert scan.count() == len(rows)
        return rows

    assert between(incremental_between="1,3") == [(1, 5.0)]
    assert between(incremental_between="0,3") == [(1, 1.0), (2, 2.0), (1, 5.0)]
    assert between(incremental_between="0,3", incremental_between_scan_mode="diff") == [(1, 5.0)]
    assert between(incremental_between="0,2", incremental_between_scan_mode="delta") == [(1, 1.0), (2, 2.0), (1, 5.0)]
    at = latest(fed).time_millis
    assert between(incremental_between_timestamp=f"0,{at}") == [(1, 1.0), (2, 2.0), (1, 5.0)]
    tags.create(fed, "one", snapshot_id=1)
    tags.create(fed, "three", snapshot_id=3)
    assert between(incremental_between="one,three") == [(1, 5.0)]
    with pytest.raises(InvalidInputError, match="comma"):
        between(incremental_between="1")


def test_what_came_after_the_last_snapshot_that_expired_is_still_read(catalog: Catalog, fed: TableContext) -> None:
    expire(fed, retain_min=1, retain_max=2, older_than_ms=2**62)
    assert find.earliest_id(fed) == 2
    for given in ({"incremental-between": "1,3"}, {"incremental-between-timestamp": f"0,{latest(fed).time_millis}"}):
        ctx = catalog.open(str(fed.identifier), options=given)
        assert incremental_scan(ctx, ["id", "price"]).to_arrow().to_pylist() == [{"id": 1, "price": 5.0}]
        compared = catalog.open(str(fed.identifier), options=given | {"incremental-between-scan-mode": "diff"})
        if "incremental-between" in given:
            with pytest.raises(NotFoundError):
                incremental_scan(compared)
        else:
            assert incremental_scan(compared).count() == 0
    with pytest.raises(NotFoundError):
        incremental_scan(catalog.open(str(fed.identifier), options={"incremental-between": "7,3"}))


def test_rows_that_changed_their_bucket_are_no_changes(make: MakeTable, catalog: Catalog) -> None:
    ctx = make(options={"bucket": "3"})
    upsert(ctx, [ticks(*((number, 1.0, "a") for number in range(6)))])
    before = latest(ctx)
    name = str(ctx.identifier)
    catalog.alter_table(name, [SetOption("bucket", "1")])
    ctx = catalog.open(name)
    overwrite(ctx, [ticks(*((number, 2.0 if number == 3 else 1.0, "a") for number in range(1, 6)))])
    found = said(changes_between(ctx, before, latest(ctx), mode=Between.DIFF))
    assert found == [(2, "-D", 0, 1.0), (2, "-U", 3, 1.0), (2, "+U", 3, 2.0)]

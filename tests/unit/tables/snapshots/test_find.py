"""Snapshots are found by hints, whatever those say, in a number of requests that does not grow."""

import msgspec
import pytest
from tests.support.steps import SteppedFileIO
from tests.support.tables import change, data_file, open_context

from hosu.kernel.errors import CorruptError, ErrorKind, NotFoundError, UnsupportedError
from hosu.kernel.fileio import MemoryFileIO
from hosu.tables.commit import commit
from hosu.tables.context import TableContext
from hosu.tables.records import Snapshot
from hosu.tables.snapshots import find
from hosu.testing import manual_clock


@pytest.fixture
def files() -> SteppedFileIO:
    return SteppedFileIO(MemoryFileIO())


@pytest.fixture
def ctx(files: SteppedFileIO) -> TableContext:
    return open_context(files)


@pytest.fixture
def first(ctx: TableContext) -> Snapshot:
    made = commit(ctx, [change(ctx, data_file(ctx))], identifier=0, check_from=None)[-1]
    find.settle(ctx)
    return made


def put_snapshots(ctx: TableContext, model: Snapshot, start: int, stop: int) -> None:
    for number in range(start, stop):
        ctx.files.put(ctx.layout.snapshot(number), find.encode(msgspec.structs.replace(model, id=number)))


def hint(ctx: TableContext, name: str, text: str) -> None:
    ctx.files.put(ctx.layout.snapshots + name, text.encode())


def test_a_table_without_commits_has_no_snapshot(ctx: TableContext) -> None:
    assert find.latest(ctx) is None
    assert find.latest_id(ctx) is None
    assert find.earliest_id(ctx) is None
    assert find.earliest(ctx) is None
    assert list(find.snapshots(ctx)) == []
    with pytest.raises(NotFoundError, match="it has none"):
        find.load(ctx, 1)


def test_the_hint_is_written_after_a_commit(ctx: TableContext, first: Snapshot) -> None:
    assert ctx.files.read(ctx.layout.snapshots + "LATEST") == b"1"
    assert find.latest(open_context(ctx.files)) == first


@pytest.mark.parametrize("text", [None, "2", "10", "99", "100", "101", "5000", "", "x", "-3", "0"])
def test_the_latest_is_found_whatever_the_hint_says(ctx: TableContext, first: Snapshot, text: str | None) -> None:
    put_snapshots(ctx, first, 2, 101)
    if text is None:
        ctx.files.delete_many([ctx.layout.snapshots + "LATEST"])
    else:
        hint(ctx, "LATEST", text)
    assert find.latest_id(open_context(ctx.files)) == 100


@pytest.mark.parametrize("text", [None, "1", "50", "51", "99", "x"])
def test_the_earliest_is_found_whatever_a_hint_says_of_what_has_expired(
    ctx: TableContext, first: Snapshot, text: str | None
) -> None:
    put_snapshots(ctx, first, 50, 101)
    ctx.files.delete_many([ctx.layout.snapshot(1)])
    if text is not None:
        hint(ctx, "EARLIEST", text)
    expected = int(text) if text in {"51", "99"} else 50
    assert find.earliest_id(open_context(ctx.files)) == expected


def test_a_hint_of_expired_snapshots_does_not_hide_the_latest(ctx: TableContext, first: Snapshot) -> None:
    put_snapshots(ctx, first, 50, 101)
    ctx.files.delete_many([ctx.layout.snapshot(1)])
    hint(ctx, "LATEST", "7")
    assert find.latest_id(open_context(ctx.files)) == 100


def test_ten_thousand_snapshots_cost_what_ten_do(files: SteppedFileIO, ctx: TableContext, first: Snapshot) -> None:
    requests = []
    for count in (10, 10_000):
        put_snapshots(ctx, first, 2 if count == 10 else 11, count + 1)
        hint(ctx, "LATEST", str(count - 3))
        other = open_context(files)
        files.reads.clear()
        files.listings = 0
        assert find.latest_id(other) == count
        assert find.earliest_id(other) == 1
        assert files.listings == 0
        requests.append(len(files.reads))
        files.reads.clear()
        assert find.latest_id(other) == count
        assert len(files.reads) == 2, "the one that is not there, and the latest"
    assert requests[0] == requests[1]


def test_a_lagging_hint_costs_the_logarithm_of_its_lag(
    files: SteppedFileIO, ctx: TableContext, first: Snapshot
) -> None:
    put_snapshots(ctx, first, 2, 1001)
    other = open_context(files)
    files.reads.clear()
    files.listings = 0
    assert find.latest_id(other) == 1000
    assert len(files.reads) < 25
    assert files.listings == 0


def test_a_snapshot_that_was_rolled_back_is_forgotten(ctx: TableContext, first: Snapshot) -> None:
    put_snapshots(ctx, first, 2, 11)
    assert find.latest_id(ctx) == 10
    ctx.files.delete_many([ctx.layout.snapshot(number) for number in range(5, 11)])
    hint(ctx, "LATEST", "4")
    assert find.latest_id(ctx) == 4


def test_snapshots_come_in_order_and_within_bounds(ctx: TableContext, first: Snapshot) -> None:
    put_snapshots(ctx, first, 2, 11)
    assert [found.id for found in find.snapshots(ctx)] == list(range(1, 11))
    assert [found.id for found in find.snapshots(ctx, 3, 5)] == [3, 4, 5]
    assert find.ids(ctx) == list(range(1, 11))


def test_a_missing_snapshot_says_which_there_are(ctx: TableContext, first: Snapshot) -> None:
    put_snapshots(ctx, first, 2, 4)
    with pytest.raises(NotFoundError, match="no snapshot 9: it has 1 to 3") as caught:
        find.load(ctx, 9)
    assert caught.value.kind is ErrorKind.SNAPSHOT_NOT_FOUND


def test_a_users_latest_snapshot_is_found_below_those_of_others(ctx: TableContext, first: Snapshot) -> None:
    put_snapshots(ctx, msgspec.structs.replace(first, commit_user="other"), 2, 5)
    assert find.of_user(ctx, first.commit_user) == first
    assert find.of_user(ctx, "nobody") is None


@pytest.mark.parametrize("data", [b"", b"{", b"[]", b'{"id": 1}', b'{"version": 3, "id": "one"}'])
def test_what_is_no_snapshot_is_damage_with_its_path(ctx: TableContext, data: bytes) -> None:
    ctx.files.put(ctx.layout.snapshot(1), data)
    with pytest.raises(CorruptError, match="snapshot-1") as caught:
        find.load(ctx, 1)
    assert caught.value.kind is ErrorKind.CORRUPT_TABLE


def test_a_snapshot_of_a_newer_format_is_refused(ctx: TableContext, first: Snapshot) -> None:
    ctx.files.put(ctx.layout.snapshot(2), find.encode(msgspec.structs.replace(first, id=2, version=4)))
    with pytest.raises(UnsupportedError, match="format 4"):
        find.load(ctx, 2)


def test_fields_that_newer_writers_add_are_passed_over(first: Snapshot) -> None:
    data = find.encode(first).replace(b"{", b'{"writerVersion": "x", ', 1)
    assert find.decode(data, "p") == first


def test_a_file_has_paimons_names_and_leaves_out_what_is_not_known(first: Snapshot) -> None:
    fields = msgspec.json.decode(find.encode(first))
    assert list(fields)[:8] == [
        "version",
        "uuid",
        "id",
        "schemaId",
        "baseManifestList",
        "baseManifestListSize",
        "deltaManifestList",
        "deltaManifestListSize",
    ]
    assert "watermark" not in fields
    assert None not in fields.values()
    assert fields["commitKind"] == "APPEND"


def test_hints_are_written_last_number_first_when_they_pile_up(ctx: TableContext) -> None:
    for number in range(1, 200):
        find.write_hint(ctx, find.LATEST, number)
    find.settle(ctx)
    assert find.read_hint(ctx, find.LATEST) == 199


@pytest.mark.parametrize("expired_after", range(1, 12))
def test_expiry_that_overtakes_a_search_does_not_mislead_it(
    files: SteppedFileIO, ctx: TableContext, first: Snapshot, expired_after: int
) -> None:
    put_snapshots(ctx, first, 2, 101)
    ctx.cache.saw_latest(ctx.layout.snapshots, 5)
    hint(ctx, "LATEST", "100")
    looked: list[str] = []

    def expire(key: str) -> None:
        if "/snapshot/snapshot-" in key:
            looked.append(key)
        if len(looked) == expired_after:
            files.files.delete_many([ctx.layout.snapshot(number) for number in range(1, 91)])

    files.before_read = expire
    assert find.latest_id(ctx) == 100


def test_a_number_seen_long_ago_is_no_place_to_begin(files: SteppedFileIO, first: Snapshot) -> None:
    clock = manual_clock.ManualClock()
    ctx = open_context(files, clock=clock)
    put_snapshots(ctx, first, 2, 101)
    assert find.latest_id(ctx) == 100
    hint(ctx, "LATEST", "100")
    for advanced_ms, expected in ((500_000, 2), (700_000, 3)):
        clock.advance(advanced_ms)
        files.reads.clear()
        assert find.latest_id(ctx) == 100
        assert len(files.reads) == expected

"""Snapshots expire with what only they were made of; everything else stays as it was."""

import pytest
from tests.support.upkeep import HOUR_MS, Line

from hosu.kernel.errors import CorruptError, ErrorKind, InvalidInputError, NotFoundError
from hosu.kernel.fileio import MemoryFileIO
from hosu.tables.snapshots import branches, consumers, find, leases, tags, travel
from hosu.tables.upkeep import retention
from hosu.tables.upkeep.expiry import expire
from hosu.tables.upkeep.orphans import YOUNG_MS, clean_orphans
from hosu.tables.upkeep.run import upkeep_table
from hosu.tables.upkeep.tagged import delete_tag
from hosu.testing.manual_clock import ManualClock


def ids(line: Line) -> list[int]:
    return [snapshot.id for snapshot in find.snapshots(line.fresh())]


def test_only_the_latest_snapshot_stays_and_nothing_that_it_does_not_need() -> None:
    line = Line.new()
    for _ in range(4):
        line.append()
    line.compact()
    line.append(partition="b")
    line.clock.advance(1)
    report = expire(line.ctx)
    assert report.snapshots == [1, 2, 3, 4, 5]
    assert ids(line) == [6]
    line.check()
    assert line.stored() == line.needed()
    assert report.bytes_freed == 4000


def test_a_file_that_moved_to_another_level_stays() -> None:
    line = Line.new()
    line.append()
    line.upgrade()
    line.append(partition="b")
    line.clock.advance(1)
    assert expire(line.ctx).snapshots == [1, 2]
    line.check()
    assert line.stored() == line.needed()


def test_a_dry_run_says_what_the_expiry_then_does_and_does_nothing() -> None:
    line = Line.new()
    for _ in range(3):
        line.append(changelog=True)
    tags.create(line.ctx, "kept", 2)
    line.compact()
    line.append()
    line.clock.advance(1)
    before = {entry.key for entry in line.ctx.files.list()}
    planned = expire(line.ctx, dry_run=True)
    assert {entry.key for entry in line.ctx.files.list()} == before
    done = expire(line.ctx)
    gone = before - {entry.key for entry in line.ctx.files.list()}
    assert planned.files == done.files
    assert planned.snapshots == done.snapshots == [1, 2, 3, 4]
    assert gone == set(done.files)
    assert len(done.files) == len(set(done.files))


def test_the_options_say_how_many_and_how_long() -> None:
    line = Line.new(options={"snapshot.time-retained": "1 h", "snapshot.num-retained.min": "2"})
    for _ in range(6):
        line.append()
    assert expire(line.ctx).snapshots == []
    line.clock.advance(HOUR_MS + 1)
    assert expire(line.ctx).snapshots == [1, 2, 3, 4]
    assert ids(line) == [5, 6]


def test_a_snapshot_stays_until_the_one_after_it_is_old() -> None:
    line = Line.new(options={"snapshot.time-retained": "1 h"})
    line.append()
    line.clock.advance(10 * HOUR_MS)
    line.append()
    line.clock.advance(HOUR_MS)
    at_ms = line.clock.now_ms() - HOUR_MS
    assert expire(line.ctx).snapshots == []
    assert travel.by_time(line.ctx, at_ms).id == 2
    assert travel.by_time(line.ctx, at_ms - 1).id == 1


def test_without_an_option_an_hour_ago_can_be_travelled_to_whenever_expiry_ran() -> None:
    line = Line.new(options={})
    began_ms = line.append().time_millis
    for _ in range(40):
        line.append()
        line.clock.advance(5 * 60_000)
        expire(line.ctx)
        hour_ago = line.clock.now_ms() - HOUR_MS
        if hour_ago >= began_ms:
            assert travel.by_time(line.ctx, hour_ago).time_millis <= hour_ago
    assert retention.of_snapshots(line.ctx.options).time_ms == 2 * HOUR_MS
    assert 20 < len(ids(line)) < 40


def test_more_than_the_most_go_however_young() -> None:
    line = Line.new(options={"snapshot.time-retained": "9 h", "snapshot.num-retained.max": "3"})
    for _ in range(8):
        line.append()
    assert expire(line.ctx).snapshots == [1, 2, 3, 4, 5]


def test_so_many_go_at_a_time_and_the_rest_the_next_time() -> None:
    line = Line.new(options={"snapshot.expire.limit": "3", "snapshot.time-retained": "0 ms"})
    for _ in range(9):
        line.append()
    line.clock.advance(1)
    assert [expire(line.ctx).snapshots for _ in range(4)] == [[1, 2, 3], [4, 5, 6], [7, 8], []]
    for _ in range(9):
        line.append()
    line.clock.advance(1)
    assert upkeep_table(line.ctx).snapshots == list(range(9, 18))


def test_callers_say_otherwise_than_the_options() -> None:
    line = Line.new(options={"snapshot.time-retained": "9 h", "snapshot.num-retained.min": "5"})
    for _ in range(6):
        line.append()
    third = find.load(line.ctx, 3).time_millis
    assert expire(line.ctx, older_than_ms=third + 1, retain_min=1).snapshots == [1, 2]
    with pytest.raises(InvalidInputError, match=r"num-retained\.max is 1") as caught:
        expire(line.ctx, retain_min=2, retain_max=1)
    assert caught.value.kind is ErrorKind.TABLE_INVALID


def test_what_a_tag_needs_stays_until_the_tag_goes() -> None:
    line = Line.new()
    for _ in range(3):
        line.append()
    tags.create(line.ctx, "three")
    line.compact()
    line.append()
    line.clock.advance(1)
    expire(line.ctx)
    line.check()
    assert travel.resolve(line.ctx, "three") == travel.resolve(line.ctx, 3)
    planned = delete_tag(line.ctx, "three", dry_run=True)
    done = delete_tag(line.ctx, "three")
    assert planned.files == done.files
    assert len([key for key in done.files if "/bucket-" in key]) == 3
    line.check()
    assert line.stored() == line.needed()
    with pytest.raises(NotFoundError):
        travel.resolve(line.ctx, 3)


def test_what_two_tags_share_goes_with_the_last() -> None:
    line = Line.new()
    line.append()
    tags.create(line.ctx, "one")
    line.append()
    tags.create(line.ctx, "two")
    tags.create(line.ctx, "two-again")
    line.compact()
    line.clock.advance(1)
    expire(line.ctx)
    for name in ("two", "one", "two-again"):
        delete_tag(line.ctx, name)
        line.check()
    assert line.stored() == line.needed()


def test_a_consumer_keeps_what_it_has_not_read() -> None:
    line = Line.new(options={"consumer.expiration-time": "1 d", "snapshot.time-retained": "0 ms"})
    for _ in range(5):
        line.append()
    line.clock.advance(1)
    consumers.reset(line.ctx, "reader", 3)
    assert expire(line.ctx).snapshots == [1, 2]
    line.clock.advance(25 * HOUR_MS)
    assert expire(line.ctx).snapshots == [3, 4]


def test_a_lease_keeps_the_snapshot_that_is_read() -> None:
    line = Line.new()
    for _ in range(5):
        line.append()
    line.clock.advance(1)
    with leases.hold(line.ctx, find.load(line.ctx, 2)) as lease:
        assert lease.is_written
        assert expire(line.ctx).snapshots == [1]
        line.check()
    assert consumers.consumers(line.ctx) == []
    assert expire(line.ctx).snapshots == [2, 3, 4]


def test_a_lease_that_nobody_renews_keeps_nothing() -> None:
    line = Line.new()
    for _ in range(3):
        line.append()
    consumers.reset(line.ctx, f"{consumers.LEASE_PREFIX}dead", 1)
    line.clock.advance(consumers.LEASE_MS)
    assert expire(line.ctx).snapshots == []
    line.clock.advance(1)
    assert expire(line.ctx).snapshots == [1, 2]


def test_a_lease_that_comes_as_an_expiry_begins_is_seen_by_one_of_the_two() -> None:
    line = Line.new()
    for _ in range(4):
        line.append()
    line.clock.advance(1)
    snapshot = find.load(line.ctx, 2)
    files = line.ctx.files
    assert isinstance(files, MemoryFileIO)
    real = files._put
    held: list[leases.Lease] = []

    def put(key: str, view: memoryview, **conditions: object) -> object:
        if key.endswith(find.EARLIEST) and not held:  # the expiry is about to say how far it goes
            held.append(leases.Lease(line.ctx, snapshot))
            held[0].write()
        return real(key, view, **conditions)  # type: ignore[arg-type]

    files._put = put  # type: ignore[assignment, method-assign]
    assert expire(line.ctx).snapshots == [1]
    assert find.earliest_id(line.ctx) == 2
    line.check()
    held[0].release()


def test_nobody_begins_to_read_what_is_expiring() -> None:
    line = Line.new()
    for _ in range(4):
        line.append()
    line.clock.advance(1)
    snapshot = find.load(line.ctx, 2)
    line.ctx.files.put(line.ctx.layout.snapshots + find.EARLIEST, b"4")
    with pytest.raises(NotFoundError, match="it has 4 to 4"), leases.hold(line.ctx, snapshot):
        pass
    assert consumers.consumers(line.ctx) == []
    with pytest.raises(NotFoundError, match="it has 4 to 4"):
        tags.create(line.ctx, "late", 2)
    assert tags.tags(line.ctx) == []


def test_changelogs_go_with_their_snapshots() -> None:
    line = Line.new()
    for _ in range(4):
        line.append(changelog=True)
    line.clock.advance(1)
    expire(line.ctx)
    assert len([key for key in line.stored() if "/bucket-" in key]) == 5
    line.check_changelogs([find.load(line.ctx, 4)])


def test_the_cost_follows_what_expires_and_not_history() -> None:
    from tests.support.steps import SteppedFileIO

    costs = []
    for count in (12, 120):
        files = SteppedFileIO(MemoryFileIO())
        line = Line.new(files, options={"snapshot.num-retained.min": str(count - 5), "snapshot.time-retained": "0 ms"})
        for _ in range(count):
            line.append()
        line.clock.advance(1)
        ctx = line.fresh()
        files.reads.clear()
        files.listings = 0
        assert len(expire(ctx).snapshots) == 5
        costs.append((len(files.reads), files.listings))
    (few, few_lists), (many, many_lists) = costs
    assert many_lists == few_lists
    # Halving from the hint takes a few reads more, and so does a base of more manifests.
    assert many <= few + 30


def test_a_tag_that_cannot_be_read_stops_expiry_until_it_is_deleted() -> None:
    line = Line.new()
    broken = line.append()
    tags.create(line.ctx, "broken")
    line.compact()
    line.append()
    line.clock.advance(1)
    line.ctx.files.delete_many([line.ctx.layout.manifest(broken.base_manifest_list)])
    before = {entry.key for entry in line.ctx.files.list("w/d.db/t/dt=")}
    with pytest.raises(CorruptError, match="'broken' needs it"):
        expire(line.fresh())
    assert {entry.key for entry in line.ctx.files.list("w/d.db/t/dt=")} == before
    assert "left for the orphan cleaning" in delete_tag(line.fresh(), "broken").notes[0]
    expire(line.fresh())
    line.check()


def test_a_state_of_another_branch_whose_manifests_are_gone_keeps_nothing() -> None:
    line = Line.new()
    line.append()
    tags.create(line.ctx, "start")
    branches.create(line.ctx, "b", "start")
    branch = line.at("b")
    kept = branch.append()
    line.compact()
    line.clock.advance(1)
    delete_tag(line.ctx, "start")
    # What an engine does that looks at one branch alone.
    line.ctx.files.delete_many([line.ctx.layout.manifest(find.load(branch.ctx, 1).base_manifest_list)])
    assert expire(line.fresh()).snapshots == [1]
    line.check()
    fresh = branch.fresh()
    assert all(fresh.files.exists(key) for key in branch.live(find.load(fresh, kept.id), fresh))


def test_an_empty_table_has_nothing_to_expire() -> None:
    line = Line.new()
    assert expire(line.ctx).is_empty
    assert clean_orphans(line.ctx).is_empty


def test_a_branch_made_of_a_tag_whose_changelog_has_expired_keeps_its_rows() -> None:
    line = Line.new()
    line.append(changelog=True)
    tags.create(line.ctx, "one")
    line.compact()
    line.append()
    expire(line.ctx)
    branches.create(line.ctx, "b", "one")
    branch = Line(branches.at(line.fresh(), "b"), line.clock)
    branch.made = {1: line.made[1]}
    delete_tag(line.fresh(), "one")
    expire(line.fresh())
    branch.check()
    line.clock.advance(2 * YOUNG_MS)
    clean_orphans(line.fresh())
    branch.check()


def test_a_tag_that_gets_another_name_while_tags_are_looked_at_keeps_its_files() -> None:
    class Renaming(MemoryFileIO):
        is_due = False

        def _read(self, key: str, start: int, end: int | None) -> bytes:
            if self.is_due and key.endswith("/tag-one"):
                self.is_due = False
                tags.rename(line.fresh(), "one", "two")
            return super()._read(key, start, end)

    files = Renaming(ManualClock())
    line = Line.new(files)
    line.append()
    tags.create(line.ctx, "one")
    line.compact()
    line.append()
    files.is_due = True
    expire(line.fresh())
    assert tags.names(line.ctx) == ["two"]
    line.check()

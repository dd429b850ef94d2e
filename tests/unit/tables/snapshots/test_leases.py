"""Leases and consumers: what keeps snapshots for those who read them."""

import threading

import pytest
from tests.support.steps import SteppedFileIO
from tests.support.upkeep import HOUR_MS, Line

from hosu.kernel.errors import CorruptError, ErrorKind, InvalidInputError
from hosu.kernel.fileio import MemoryFileIO
from hosu.tables.snapshots import consumers, find, leases
from hosu.tables.snapshots.leases import QUIET_SECONDS, RENEW_SECONDS
from hosu.tables.upkeep.expiry import expire
from hosu.tables.upkeep.run import expire_consumers

KEPT = {"snapshot.time-retained": "2 h"}


def held(line: Line) -> list[tuple[bool, int]]:
    return [(consumer.is_lease, consumer.next_snapshot) for consumer in consumers.consumers(line.ctx)]


def test_a_short_read_of_a_young_snapshot_writes_nothing() -> None:
    line = Line.new(options=KEPT)
    for _ in range(3):
        line.append()
    for snapshot_id in (1, 3):
        with leases.hold(line.ctx, find.load(line.ctx, snapshot_id)) as lease:
            line.clock.advance(int(QUIET_SECONDS * 1000) - 1)
            lease.touch()
            assert held(line) == []


def test_a_read_of_a_young_snapshot_asks_for_nothing_more() -> None:
    files = SteppedFileIO(MemoryFileIO())
    line = Line.new(files, options=KEPT)
    snapshot = line.append()
    line.append()
    files.reads.clear()
    with leases.hold(line.ctx, snapshot):
        assert files.reads == []
    line.clock.advance(HOUR_MS + 1)
    with leases.hold(line.ctx, find.load(line.ctx, 1)):
        assert held(line) == [(True, 1)]


def test_a_long_read_shows_itself_again_and_again_until_it_ends() -> None:
    line = Line.new(options=KEPT)
    line.append()
    with leases.hold(line.ctx, find.load(line.ctx, 1)) as lease:
        line.clock.advance(int(QUIET_SECONDS * 1000))
        lease.touch()
        assert held(line) == [(True, 1)]
        for _ in range(30):
            line.clock.advance(int(RENEW_SECONDS * 1000))
            lease.touch()
            assert consumers.first_wanted(line.ctx, line.clock.now_ms()) == 1
    assert held(line) == []
    lease.write()
    assert held(line) == []


def test_reads_in_a_forked_process_have_somebody_to_renew_their_leases(monkeypatch: pytest.MonkeyPatch) -> None:
    line = Line.new(options=KEPT)
    snapshot = line.append()
    gone = threading.Thread(target=lambda: None)  # what a fork leaves of the thread of its parent
    gone.start()
    gone.join()
    monkeypatch.setattr(leases._KEEPER, "_thread", gone)
    with leases.hold(line.ctx, snapshot):
        thread = leases._KEEPER._thread
        assert thread is not None
        assert thread.is_alive()


def test_a_snapshot_that_may_soon_expire_has_its_lease_from_the_start() -> None:
    line = Line.new(options=KEPT)
    for _ in range(2):
        line.append()
    line.clock.advance(HOUR_MS + 1)
    with leases.hold(line.ctx, find.load(line.ctx, 1)):
        assert held(line) == [(True, 1)]
    with leases.hold(line.ctx, find.load(line.ctx, 2)):  # the latest cannot expire before another has aged
        assert held(line) == []


def test_where_snapshots_go_at_once_every_read_has_its_lease() -> None:
    line = Line.new()
    line.append()
    with leases.hold(line.ctx, find.load(line.ctx, 1)):
        assert held(line) == [(True, 1)]


def test_an_expiry_of_the_same_process_sees_leases_that_are_not_written() -> None:
    line = Line.new(options=KEPT)
    for _ in range(4):
        line.append()
    line.clock.advance(1)
    now_ms = line.clock.now_ms()
    with leases.hold(line.ctx, find.load(line.ctx, 2)):
        assert held(line) == []
        assert expire(line.ctx, older_than_ms=now_ms).snapshots == [1]
    assert expire(line.ctx, older_than_ms=now_ms).snapshots == [2, 3]


def test_where_few_are_kept_each_but_the_latest_has_its_lease() -> None:
    line = Line.new(options={**KEPT, "snapshot.num-retained.max": "3"})
    for _ in range(2):
        line.append()
    with leases.hold(line.ctx, find.load(line.ctx, 1)):
        assert held(line) == [(True, 1)]


def test_a_lease_ends_with_an_error_too() -> None:
    line = Line.new()
    for _ in range(2):
        line.append()
    line.clock.advance(1)
    with pytest.raises(KeyError), leases.hold(line.ctx, find.load(line.ctx, 1)):
        raise KeyError
    assert held(line) == []


def test_consumers_are_where_they_were_put() -> None:
    line = Line.new()
    assert consumers.position(line.ctx, "c") is None
    consumers.reset(line.ctx, "c", 7)
    assert consumers.position(line.ctx, "c") == 7
    assert line.ctx.files.read(line.ctx.layout.consumer("c")) == b'{"nextSnapshot":7}'
    assert held(line) == [(False, 7)]
    consumers.delete(line.ctx, "c")
    consumers.delete(line.ctx, "c")
    assert held(line) == []


def test_consumers_that_do_not_move_go_when_the_table_says_so() -> None:
    line = Line.new(options={"consumer.expiration-time": "3 h"})
    consumers.reset(line.ctx, "idle", 1)
    consumers.reset(line.ctx, f"{consumers.LEASE_PREFIX}dead", 1)
    line.clock.advance(2 * HOUR_MS)
    consumers.reset(line.ctx, "busy", 2)
    assert expire_consumers(line.ctx, dry_run=True).consumers_deleted == [f"{consumers.LEASE_PREFIX}dead"]
    line.clock.advance(HOUR_MS + 1)
    assert expire_consumers(line.ctx).consumers_deleted == [f"{consumers.LEASE_PREFIX}dead", "idle"]
    assert held(line) == [(False, 2)]
    forever = Line.new()
    consumers.reset(forever.ctx, "idle", 1)
    forever.clock.advance(10_000 * HOUR_MS)
    assert expire_consumers(forever.ctx).is_empty


def test_what_cannot_be_is_refused_and_damage_is_named() -> None:
    line = Line.new()
    for name, number in (("", 1), ("a/b", 1), ("c", 0)):
        with pytest.raises(InvalidInputError):
            consumers.reset(line.ctx, name, number)
    line.ctx.files.put(line.ctx.layout.consumer("bad"), b"{")
    with pytest.raises(CorruptError, match="consumer-bad") as caught:
        consumers.consumers(line.ctx)
    assert caught.value.kind is ErrorKind.CORRUPT_TABLE

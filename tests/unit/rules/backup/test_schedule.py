"""Backups by themselves: when they are due, and what is said of those that fail."""

import threading
from collections import Counter
from pathlib import Path

import pytest

from hosu.kernel.errors import ErrorKind, InvalidInputError
from hosu.kernel.settings import Settings
from hosu.lake import Lake
from hosu.objects.alerts import list_alerts
from hosu.rules.backup.lease import leased
from hosu.rules.backup.pruning import Retention
from hosu.rules.backup.repository import Repository
from hosu.rules.backup.schedule import ALERT, BUSY_RETRY_MS, RETRY_MS, BackupJob, Schedule, get_schedule
from hosu.rules.keeping import Keep
from hosu.rules.wanted import WANTED
from hosu.testing.manual_clock import ManualClock

HOUR_MS = 60 * 60 * 1000
DAY_MS = 24 * HOUR_MS


class Keeper:
    """Runs the job as the keeper does: when it is wanted."""

    def __init__(self, lake: Lake) -> None:
        self.lake = lake
        self.counts: Counter[str] = Counter()
        self.job = BackupJob(Keep(lake.store, Settings(), self.count))

    def count(self, name: str, number: int) -> None:
        self.counts[name] += number

    def is_wanted(self) -> bool:
        return WANTED["backup"](self.lake.store.view(), Settings())

    def run(self) -> bool:
        """Run the job if it is wanted, and say whether it was."""
        is_wanted = self.is_wanted()
        if is_wanted:
            self.job.run(threading.Event())
        return is_wanted


@pytest.fixture
def keeper(lake: Lake, location: str) -> Keeper:
    lake.schedule_backups(Schedule(location, "0 2 * * *"))
    return Keeper(lake)


def snapshots(location: str, clock: ManualClock) -> int:
    from hosu.kernel.fileio import FolderFileIO

    return len(Repository.open(FolderFileIO(location, clock=clock), clock).snapshot_keys())


def test_a_backup_is_taken_at_its_time_and_once(keeper: Keeper, location: str, clock: ManualClock) -> None:
    assert not keeper.run()
    clock.advance(2 * HOUR_MS - 1)
    assert not keeper.run()
    clock.advance(1)
    assert keeper.run()
    assert not keeper.run()
    assert snapshots(location, clock) == 1
    assert keeper.counts["backup_runs/succeeded"] == 1
    assert keeper.counts["backup_bytes/written"] > 0
    times = keeper.lake.backup_times()
    assert times["backup_success_ms"] == clock.now_ms()
    assert times["backup_due_ms"] == clock.now_ms() + DAY_MS


def test_missed_runs_are_made_up_for_once(keeper: Keeper, location: str, clock: ManualClock) -> None:
    clock.advance(5 * DAY_MS)
    assert keeper.run()
    assert not keeper.run()
    assert snapshots(location, clock) == 1


def test_times_are_those_of_the_time_zone_and_its_changes(location: str) -> None:
    seoul = Schedule(location, "0 2 * * *", "Asia/Seoul")
    assert seoul.next_ms(0) == 17 * HOUR_MS
    berlin = Schedule(location, "30 3 * * *", "Europe/Berlin")
    before_summer_ms = 1_774_656_000_000  # 2026-03-28T00:00Z: the clocks go forward on the 29th
    first = berlin.next_ms(before_summer_ms)
    assert berlin.next_ms(first) - first == 23 * HOUR_MS


def test_a_failed_run_is_told_and_tried_again_and_success_ends_the_alert(
    keeper: Keeper, location: str, clock: ManualClock, tmp_path: Path
) -> None:
    clock.advance(2 * HOUR_MS)
    moved = tmp_path / "unmounted"
    Path(location).rename(moved)
    Path(location).write_bytes(b"in the way")
    assert keeper.run()
    (alert,) = list_alerts(keeper.lake.store.view())
    assert (alert.kind, alert.subject) == (ALERT, location)
    assert keeper.counts == {"backup_runs/failed": 1}
    assert not keeper.run()
    Path(location).unlink()
    moved.rename(location)
    clock.advance(RETRY_MS)
    assert keeper.run()
    assert list_alerts(keeper.lake.store.view()) == []


def test_a_backup_that_is_busy_is_no_failure(keeper: Keeper, location: str, clock: ManualClock) -> None:
    from hosu.kernel.fileio import FolderFileIO

    clock.advance(2 * HOUR_MS)
    with leased(Repository.open(FolderFileIO(location, clock=clock), clock), "backup"):
        assert keeper.run()
    assert list_alerts(keeper.lake.store.view()) == []
    clock.advance(BUSY_RETRY_MS)
    assert keeper.run()
    assert snapshots(location, clock) == 1


def test_objects_whose_bytes_are_lost_are_told(keeper: Keeper, clock: ManualClock) -> None:
    keeper.lake.store.commit(lambda tx: tx.run("UPDATE blob SET body = x'00' WHERE body = ?", (b"second",)))
    clock.advance(2 * HOUR_MS)
    assert keeper.run()
    (alert,) = list_alerts(keeper.lake.store.view())
    assert "images/a" in alert.message


def test_old_snapshots_go_by_themselves(lake: Lake, location: str, clock: ManualClock) -> None:
    lake.schedule_backups(Schedule(location, "0 2 * * *", keep=Retention(daily=2)))
    keeper = Keeper(lake)
    for _ in range(5):
        clock.advance(DAY_MS)
        assert keeper.run()
    assert snapshots(location, clock) == 2
    assert keeper.counts["backup_pruned/snapshots"] == 3


def test_what_cannot_be_pruned_is_told_and_brings_no_more_backups(
    lake: Lake, location: str, clock: ManualClock
) -> None:
    lake.schedule_backups(Schedule(location, "0 2 * * *", keep=Retention(daily=2)))
    keeper = Keeper(lake)
    clock.advance(DAY_MS)
    assert keeper.run()
    (damaged,) = (Path(location) / "snapshots").glob("*.json")
    damaged.write_bytes(b"{}")
    clock.advance(DAY_MS)
    assert keeper.run()
    (alert,) = list_alerts(lake.store.view())
    assert (alert.kind, damaged.name in alert.message) == (ALERT, True)
    assert keeper.counts["backup_runs/succeeded"] == 2
    clock.advance(RETRY_MS)
    assert not keeper.run()
    damaged.unlink()
    clock.advance(DAY_MS)
    assert keeper.run()
    assert list_alerts(lake.store.view()) == []


def test_a_clock_that_was_far_ahead_does_not_end_the_backups(keeper: Keeper, clock: ManualClock) -> None:
    clock.advance(4_000 * DAY_MS)
    assert keeper.run()
    clock.set_now_ms(clock.now_ms() - 3_998 * DAY_MS)
    assert keeper.run()
    assert keeper.lake.backup_times()["backup_due_ms"] - clock.now_ms() <= DAY_MS


def test_a_stopped_job_leaves_no_alert_and_is_due_again(keeper: Keeper, clock: ManualClock) -> None:
    clock.advance(2 * HOUR_MS)
    stop = threading.Event()
    stop.set()
    keeper.job.run(stop)
    assert list_alerts(keeper.lake.store.view()) == []
    assert keeper.is_wanted()


def test_the_schedule_can_be_ended(keeper: Keeper, clock: ManualClock) -> None:
    keeper.lake.schedule_backups(None)
    clock.advance(5 * DAY_MS)
    assert not keeper.is_wanted()
    assert get_schedule(keeper.lake.store.view()) is None


@pytest.mark.parametrize(
    ("changes", "kind"),
    [
        ({"cron": "0 2 * *"}, ErrorKind.INVALID_ARGUMENT),
        ({"cron": "61 2 * * *"}, ErrorKind.INVALID_ARGUMENT),
        ({"cron": "0 2 30 2 *"}, ErrorKind.INVALID_ARGUMENT),
        ({"timezone": "Middle/Earth"}, ErrorKind.INVALID_ARGUMENT),
        ({"location": "relative/folder"}, ErrorKind.LOCATION_INVALID),
    ],
)
def test_a_schedule_that_cannot_be_kept_is_refused_and_changes_nothing(
    lake: Lake, location: str, changes: dict[str, str], kind: ErrorKind
) -> None:
    fields = {"location": location, "cron": "0 2 * * *", "timezone": "UTC"} | changes
    with pytest.raises(InvalidInputError) as refused:
        lake.schedule_backups(Schedule(**fields))  # type: ignore[arg-type]
    assert refused.value.kind is kind
    assert get_schedule(lake.store.view()) is None


def test_a_restored_lake_has_no_schedule(keeper: Keeper, location: str, clock: ManualClock, tmp_path: Path) -> None:
    import hosu
    from hosu.rules.backup.restoring import restore_backup

    clock.advance(2 * HOUR_MS)
    keeper.run()
    restored = restore_backup(location, tmp_path / "new", clock=clock)
    assert any("schedule" in note for note in restored.notes)
    with hosu.open(tmp_path / "new", clock=clock) as found:
        assert get_schedule(found.store.view()) is None
        assert not Keeper(found).is_wanted()

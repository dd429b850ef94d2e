"""What only the server sees: processes that die, a disk that takes no writes, a lake nearly full, endless denials."""

import json
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from tests.unit.server.alerts.conftest import Hook

from hosu.kernel.errors import ErrorKind, UnavailableError
from hosu.kernel.settings import Settings
from hosu.objects.alerts import list_alerts
from hosu.objects.store import ObjectStore
from hosu.rules.capacity import CapacityRule, set_capacity
from hosu.server.alerts.denials import ALERTED_MAX, OTHERS, SOURCES_MAX, WINDOW_MS, Denials
from hosu.server.alerts.watch import Watch
from hosu.testing.manual_clock import ManualClock


@pytest.fixture
def disk() -> dict[str, Any]:
    return {"is_writable": True, "used": 0.5}


@pytest.fixture
def watch(store: ObjectStore, disk: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> Watch:
    def statvfs(_path: Path) -> SimpleNamespace:
        free = round(1_000 * (1 - disk["used"]))
        return SimpleNamespace(f_blocks=1_000, f_bfree=free, f_bavail=free, f_frsize=4096)

    made = Watch(store, Settings(), is_writable=lambda: disk["is_writable"])
    monkeypatch.setattr("hosu.server.alerts.watch.os.statvfs", statvfs)
    return made


def look(watch: Watch, clock: ManualClock, seconds: float = 61) -> None:
    clock.advance(int(seconds * 1000))
    watch.look()


def standing(store: ObjectStore) -> dict[str, str]:
    return {f"{alert.kind} {alert.subject}": alert.message for alert in list_alerts(store.view())}


def restarted(store: ObjectStore, *, run: int = 1_795_000_000_000, **totals: int) -> None:
    folder = store.path / "tmp" / "metrics"
    folder.mkdir(exist_ok=True)
    named = {f"restarts:{name}": number for name, number in totals.items()}
    text = json.dumps({"run": run, "process": "supervisor", "pid": 1, "totals": named})
    (folder / "supervisor.json").write_text(text)


def test_a_process_that_dies_is_alerted_once_for_each_death(
    watch: Watch, store: ObjectStore, clock: ManualClock
) -> None:
    restarted(store, keeper=0, console=0)
    look(watch, clock)
    assert standing(store) == {}
    restarted(store, keeper=1, console=0)
    look(watch, clock)
    assert "once since" in standing(store)["process-crash keeper"]
    look(watch, clock)
    assert list_alerts(store.view())[0].count == 1
    restarted(store, keeper=2, console=0)
    look(watch, clock)
    assert "2 times since" in standing(store)["process-crash keeper"]
    assert list_alerts(store.view())[0].count == 2


def test_whoever_looks_after_a_crash_of_its_own_knows_what_was_alerted_already(
    store: ObjectStore, clock: ManualClock
) -> None:
    restarted(store, keeper=1)
    for expected in (1, 1):
        look(Watch(store, Settings(), is_writable=lambda: True), clock)
        assert list_alerts(store.view())[0].count == expected
    restarted(store, run=1_795_999_000_000, keeper=1)  # another server, another death
    look(Watch(store, Settings(), is_writable=lambda: True), clock)
    assert list_alerts(store.view())[0].count == 2


def test_a_process_that_stays_up_for_an_hour_is_well(watch: Watch, store: ObjectStore, clock: ManualClock) -> None:
    restarted(store, keeper=1)
    look(watch, clock)
    look(watch, clock, 3_500)
    assert standing(store)
    look(watch, clock, 200)
    assert standing(store) == {}


def test_what_was_over_long_ago_is_forgotten(watch: Watch, store: ObjectStore, clock: ManualClock) -> None:
    restarted(store, keeper=1)
    look(watch, clock)
    look(watch, clock, 3_700)
    assert len(list_alerts(store.view(), resolved=True)) == 1
    look(watch, clock, 91 * 24 * 3600)
    assert list_alerts(store.view(), resolved=True) == []


def test_a_disk_that_takes_no_writes_is_alerted_and_resolved(
    watch: Watch, store: ObjectStore, clock: ManualClock, disk: dict[str, Any]
) -> None:
    disk["is_writable"] = False
    look(watch, clock)
    look(watch, clock)
    assert list(standing(store)) == [f"disk-unwritable {store.path}"]
    disk["is_writable"] = True
    look(watch, clock)
    assert standing(store) == {}


def test_an_alert_that_the_disk_does_not_take_is_sent_all_the_same_and_once(
    store: ObjectStore, clock: ManualClock, hook: Hook, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = Watch(store, Settings(alert_webhook=hook.url), is_writable=lambda: False)

    def refuse(*_: Any, **__: Any) -> None:
        raise UnavailableError(ErrorKind.DISK_FAULT, "input/output error")

    monkeypatch.setattr(store, "commit", refuse)
    for _ in range(3):
        look(made, clock)
        assert made._sender is not None
        made._sender.join()
    (post,) = hook.posts
    assert [(it["kind"], it["severity"]) for it in post["alerts"]] == [("disk-unwritable", "critical")]
    look(made, clock, 25 * 3600)
    assert made._sender is not None
    made._sender.join()
    assert len(hook.posts) == 2


def test_a_disk_that_is_nearly_full_is_alerted_until_there_is_room_to_spare(
    watch: Watch, store: ObjectStore, clock: ManualClock, disk: dict[str, Any]
) -> None:
    for used, stands in ((0.89, False), (0.9, True), (0.95, True), (0.89, True), (0.87, False)):
        disk["used"] = used
        look(watch, clock)
        assert ("capacity disk" in standing(store)) is stands, used
    assert standing(store) == {}


def test_a_quota_without_a_rule_that_makes_room_is_watched_as_well(
    watch: Watch, store: ObjectStore, clock: ManualClock
) -> None:
    store.commit(partial(set_capacity, rule=CapacityRule(quota_bytes=1_000)))
    look(watch, clock)
    assert standing(store) == {}
    store.commit(
        lambda tx: tx.run("INSERT INTO bucket VALUES (NULL, 'b', 0, '', 0, 0, 1, 950, 0, 0, 0, 0, 0, '', '', 0)")
    )
    look(watch, clock)
    assert "95%" in standing(store)["capacity quota"]


# Denials


def alerts_of(store: ObjectStore, denials: Denials) -> dict[str, str]:
    for verb in denials.take():
        store.commit(verb)
    return standing(store)


def test_a_source_that_is_denied_often_is_alerted_once_in_a_window(store: ObjectStore) -> None:
    denials = Denials(3)
    for number in range(9):
        denials.count("192.0.2.7", "KEY", f"s3:GetObject images/{number}", 1_000 + number)
        denials.count("192.0.2.8", "", "s3:GetObject", 1_000) if number < 2 else None
    assert alerts_of(store, denials) == {
        "access-errors KEY from 192.0.2.7": "KEY from 192.0.2.7 was denied 3 requests within 5 minutes, the latest "
        "s3:GetObject images/2"
    }
    assert denials.take() == []


def test_denials_that_are_far_apart_are_none(store: ObjectStore) -> None:
    denials = Denials(3)
    for number in range(9):
        denials.count("192.0.2.7", "KEY", "x", number * WINDOW_MS // 2)
    assert alerts_of(store, denials) == {}


def test_a_thousand_addresses_make_a_few_alerts_and_bounded_memory(store: ObjectStore) -> None:
    denials = Denials(2)
    for number in range(2 * SOURCES_MAX):
        for _ in range(2):
            denials.count(f"10.0.{number // 256}.{number % 256}", "", "x", 1_000)
    assert len(denials._windows) <= SOURCES_MAX + 1
    found = alerts_of(store, denials)
    assert len(found) == ALERTED_MAX + 1
    assert f"access-errors {OTHERS}" in found


def test_nothing_is_counted_when_it_is_switched_off(store: ObjectStore) -> None:
    denials = Denials(0)
    denials.count("192.0.2.7", "KEY", "x", 1)
    assert alerts_of(store, denials) == {}

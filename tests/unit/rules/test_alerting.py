"""Whom to tell of what: each target once, again while it stands, and once when it is over."""

from functools import partial

import pytest
from tests.unit.objects.conftest import Commit, clock, commit, lake, store

from hosu.kernel.settings import Settings
from hosu.objects.alerts import Severity, count_alerts, list_alerts, raise_alert, resolve_alert
from hosu.objects.store import ObjectStore
from hosu.rules.alerting import (
    FLAP_MS,
    HOUR_MS,
    REMEMBERED_MS,
    RESOLVED_MS_MAX,
    forget_old,
    is_any_due,
    note_told,
    read_due,
    resolve_quiet,
    target_names,
)
from hosu.testing.manual_clock import ManualClock

__all__ = ["clock", "commit", "lake", "store"]

URL = "https://hooks.example/T0/SECRET"
SETTINGS = Settings(alert_webhook=URL, alert_email_to="ops@example.com", smtp_host="mail")
HOOK, MAIL = target_names(SETTINGS)


@pytest.fixture
def told(store: ObjectStore) -> "Told":
    return Told(store)


class Told:
    """Tells a target all that is due, as the job does."""

    def __init__(self, store: ObjectStore) -> None:
        self._store = store

    def __call__(self, target: str = MAIL) -> list[str]:
        notices, _ = read_due(self._store.view(), SETTINGS, target)
        self._store.commit(partial(note_told, target=target, notices=notices))
        return [f"{notice.event} {notice.alert.subject}" for notice in notices]


def alarm(commit: Commit, subject: str, severity: Severity = Severity.WARNING) -> None:
    commit(raise_alert, "corrupt-object", subject, severity, "its bytes changed")


def test_each_target_is_told_once_however_often_it_is_noticed(commit: Commit, told: Told, clock: ManualClock) -> None:
    alarm(commit, "a")
    assert told() == ["raised a"]
    for _ in range(3):
        clock.advance(HOUR_MS)
        alarm(commit, "a")
        assert told() == []
    assert told(HOOK) == ["raised a"]


def test_what_stands_is_told_again_each_day(commit: Commit, told: Told, clock: ManualClock) -> None:
    alarm(commit, "a")
    told()
    clock.advance(24 * HOUR_MS - 1)
    assert told() == []
    clock.advance(1)
    assert told() == ["standing a"]
    assert told() == []


def test_the_end_is_told_once_to_whom_the_beginning_was_and_to_others(
    commit: Commit, told: Told, clock: ManualClock
) -> None:
    alarm(commit, "a")
    assert told() == ["raised a"]
    commit(resolve_alert, "corrupt-object", "a")
    assert told() == ["resolved a"]
    assert told() == []
    assert told(HOOK) == ["resolved a"]  # it was over before this one could be reached
    clock.advance(FLAP_MS)
    alarm(commit, "a")
    assert told() == ["raised a"]


def test_what_comes_and_goes_is_told_no_oftener_than_every_ten_minutes(
    commit: Commit, told: Told, clock: ManualClock
) -> None:
    alarm(commit, "a")
    assert told() == ["raised a"]
    for _ in range(5):
        clock.advance(1_000)
        commit(resolve_alert, "corrupt-object", "a")
        clock.advance(1_000)
        alarm(commit, "a")
        assert told() == []
    clock.advance(FLAP_MS)
    assert told() == ["raised a"]


def test_ends_are_told_no_oftener_either(commit: Commit, told: Told, clock: ManualClock) -> None:
    alarm(commit, "a")
    assert told() == ["raised a"]
    commit(resolve_alert, "corrupt-object", "a")
    assert told() == ["resolved a"]
    for _ in range(5):
        clock.advance(1_000)
        alarm(commit, "a")
        assert told() == []
        clock.advance(1_000)
        commit(resolve_alert, "corrupt-object", "a")
        assert told() == []
    clock.advance(FLAP_MS)
    assert told() == ["resolved a"]
    assert told() == []


def test_what_gets_worse_is_told_as_new(commit: Commit, told: Told, clock: ManualClock) -> None:
    alarm(commit, "a")
    told()
    clock.advance(FLAP_MS)
    alarm(commit, "a", Severity.CRITICAL)
    assert told() == ["raised a"]


def test_the_worst_comes_first_and_what_does_not_fit_is_counted(store: ObjectStore, commit: Commit) -> None:
    for subject, severity in (("i", Severity.INFO), ("w", Severity.WARNING), ("c", Severity.CRITICAL)):
        alarm(commit, subject, severity)
    alarm(commit, "over")
    commit(resolve_alert, "corrupt-object", "over")
    notices, more = read_due(store.view(), SETTINGS, MAIL, limit=3)
    assert [notice.alert.subject for notice in notices] == ["c", "w", "i"]
    assert more == 1


def test_what_changes_while_it_is_sent_is_due_again(
    store: ObjectStore, commit: Commit, told: Told, clock: ManualClock
) -> None:
    alarm(commit, "a")
    notices, _ = read_due(store.view(), SETTINGS, MAIL)
    commit(resolve_alert, "corrupt-object", "a")
    commit(note_told, MAIL, notices)
    assert told() == ["resolved a"]
    clock.advance(FLAP_MS)


def test_nothing_is_due_without_targets_or_alerts(store: ObjectStore, commit: Commit, told: Told) -> None:
    assert not is_any_due(store.view(), SETTINGS)
    alarm(commit, "a")
    assert not is_any_due(store.view(), Settings())
    assert is_any_due(store.view(), SETTINGS)
    told(MAIL)
    assert is_any_due(store.view(), SETTINGS)
    told(HOOK)
    assert not is_any_due(store.view(), SETTINGS)


def test_nobody_hears_of_what_was_over_long_ago_and_then_it_is_forgotten(
    store: ObjectStore, commit: Commit, told: Told, clock: ManualClock
) -> None:
    alarm(commit, "a")
    commit(resolve_alert, "corrupt-object", "a")
    assert told(HOOK) == ["resolved a"]
    clock.advance(RESOLVED_MS_MAX)
    assert told() == []
    clock.advance(REMEMBERED_MS)
    alarm(commit, "b")
    assert commit(forget_old) == 1
    assert [alert.subject for alert in list_alerts(store.view(), resolved=True)] == ["b"]
    assert store.view().rows("SELECT subject FROM alert_told") == []


def test_what_is_not_noticed_any_more_is_over(store: ObjectStore, commit: Commit, clock: ManualClock) -> None:
    alarm(commit, "a")
    clock.advance(HOUR_MS)
    alarm(commit, "b")
    clock.advance(1)
    assert commit(resolve_quiet, "corrupt-object", HOUR_MS) == 1
    assert count_alerts(store.view()) == [("corrupt-object", "warning", 1)]


def test_a_target_s_name_does_not_tell_its_url() -> None:
    assert len(HOOK) < 30
    assert not any(part in HOOK for part in ("hooks", "T0", "SECRET"))
    assert target_names(Settings(alert_webhook=f"{URL}1,{URL}2"))[0] != target_names(Settings(alert_webhook=URL))[0]

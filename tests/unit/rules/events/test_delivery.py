"""Delivery of events: each at least once, in order for each object, whatever the target does."""

from functools import partial

import pytest
from tests.unit.rules.events.conftest import BUCKET, TARGET, Deliver, Numbers, Receiver, delete, put, rule, until

from hosu.objects.alerts import list_alerts
from hosu.objects.buckets import create_bucket, delete_bucket
from hosu.objects.feed import trim_events, unsubscribe
from hosu.objects.store import ObjectStore
from hosu.objects.transaction import Tx
from hosu.rules.events import undelivered
from hosu.rules.events.config import set_rules
from hosu.rules.events.delivery import forget_ended
from hosu.rules.events.lanes import Health
from hosu.rules.events.records import Message
from hosu.rules.events.sending import DeliveryError, NoSender
from hosu.testing.manual_clock import ManualClock


def acknowledged(store: ObjectStore) -> int:
    return int(store.view().value("SELECT seq FROM subscription WHERE name = ?", (f"notify:{TARGET}",)) or 0)


def latest(store: ObjectStore) -> int:
    return int(store.view().value("SELECT max(seq) FROM event"))


def test_a_target_hears_of_what_its_rule_names_and_of_nothing_else(store: ObjectStore, deliver: Deliver) -> None:
    store.commit(partial(set_rules, bucket=BUCKET, rules=[rule(prefix="in/", suffix=".jpg")]))
    store.commit(partial(create_bucket, name="others"))
    for key in ("in/a.jpg", "out/a.jpg", "in/a.png"):
        put(store, key)
    put(store, "in/a.jpg", bucket="others")
    delete(store, "in/a.jpg")
    receiver = Receiver()
    deliver(receiver)
    until(lambda: len(receiver.taken) == 2)
    assert [(message.name, message.key) for message in receiver.taken] == [
        ("s3:ObjectCreated:Put", "in/a.jpg"),
        ("s3:ObjectRemoved:Delete", "in/a.jpg"),
    ]


def test_events_from_before_the_rule_are_not_told(store: ObjectStore, deliver: Deliver) -> None:
    store.commit(partial(create_bucket, name="later"))
    put(store, "before", bucket="later")
    store.commit(partial(set_rules, bucket="later", rules=[rule()]))
    put(store, "after", bucket="later")
    receiver = Receiver()
    deliver(receiver)
    until(lambda: receiver.taken)
    assert receiver.keys == ["after"]


def test_events_from_before_a_rule_was_taken_back_are_still_told(store: ObjectStore, deliver: Deliver) -> None:
    put(store, "before")
    store.commit(partial(set_rules, bucket=BUCKET, rules=[]))
    put(store, "after")
    store.commit(partial(set_rules, bucket=BUCKET, rules=[rule(prefix="again")]))
    put(store, "again")
    receiver = Receiver()
    deliver(receiver)
    until(lambda: len(receiver.taken) == 2)
    assert sorted(receiver.keys) == ["again", "before"]


def test_the_last_events_of_a_bucket_that_is_gone_are_told(store: ObjectStore, deliver: Deliver) -> None:
    put(store, "a")
    delete(store, "a")
    store.commit(partial(delete_bucket, name=BUCKET))
    receiver = Receiver()
    running = deliver(receiver)
    until(lambda: len(receiver.taken) == 2)
    running.stop()
    assert acknowledged(store) == latest(store)
    forget_ended(store)
    assert store.view().rows("SELECT * FROM notification") == []
    assert store.view().rows("SELECT * FROM subscription") == []


def test_a_rule_that_stays_the_same_misses_nothing_when_others_change(store: ObjectStore, deliver: Deliver) -> None:
    put(store, "a")
    store.commit(partial(set_rules, bucket=BUCKET, rules=[rule(), rule("redis:two", name="r2")]))
    put(store, "b")
    receiver = Receiver()
    deliver(receiver)
    until(lambda: len(receiver.taken) == 2)
    assert sorted(receiver.keys) == ["a", "b"]


def test_a_target_that_comes_back_gets_everything_in_order_for_each_object(
    store: ObjectStore, deliver: Deliver, numbers: Numbers
) -> None:
    receiver = Receiver()
    receiver.is_down = True
    running = deliver(receiver)
    for number in range(5):
        for key in "abc":
            put(store, key, b"x" * (number + 1))
    until(lambda: receiver.attempts > 4)
    assert acknowledged(store) < latest(store) - 14
    receiver.is_down = False
    until(lambda: len(receiver.taken) == 15)
    running.stop()
    for key in "abc":
        seqs = [message.seq for message in receiver.taken if message.key == key]
        assert seqs == sorted(seqs)
        assert len(seqs) == 5
    assert acknowledged(store) == latest(store)
    assert numbers[f"events_sent/{TARGET}"] == 15
    assert numbers[f"events_failed/{TARGET}"] >= 4


def test_what_was_not_acknowledged_is_delivered_by_the_next_process(store: ObjectStore, deliver: Deliver) -> None:
    down = Receiver()
    down.is_down = True
    running = deliver(down)
    put(store, "a")
    until(lambda: down.attempts)
    running.stop()
    assert down.is_closed
    receiver = Receiver()
    deliver(receiver)
    until(lambda: receiver.taken)
    assert receiver.keys == ["a"]


def test_the_change_feed_is_kept_for_a_target_that_is_down(store: ObjectStore, deliver: Deliver) -> None:
    receiver = Receiver()
    receiver.is_down = True
    deliver(receiver)
    for number in range(20):
        put(store, f"k{number}")
    until(lambda: receiver.attempts)
    store.commit(partial(trim_events, kept=1))
    receiver.is_down = False
    until(lambda: len(receiver.taken) == 20)


def test_a_target_far_behind_has_its_events_put_aside_so_that_the_feed_goes_on(
    store: ObjectStore, deliver: Deliver
) -> None:
    receiver = Receiver(lanes=1)
    receiver.is_down = True
    running = deliver(receiver, behind_max=10, window=4)
    for number in range(40):
        put(store, f"k{number % 3}", b"x" * (number + 1))
    until(lambda: undelivered.count(store.view(), TARGET, is_dead=False) == 40)
    assert acknowledged(store) == latest(store)
    receiver.is_down = False
    until(lambda: len(receiver.taken) >= 40)
    put(store, "last")
    until(lambda: "last" in receiver.keys)
    running.stop()
    assert [message.seq for message in receiver.taken] == sorted(message.seq for message in receiver.taken)
    assert undelivered.count(store.view(), TARGET, is_dead=False) == 0


def test_what_is_put_aside_is_delivered_first_by_the_next_process(store: ObjectStore, deliver: Deliver) -> None:
    down = Receiver(lanes=1)
    down.is_down = True
    running = deliver(down, behind_max=5, window=2)
    for number in range(12):
        put(store, f"k{number:02}")
    until(lambda: undelivered.count(store.view(), TARGET, is_dead=False) == 12)
    running.stop()
    put(store, "k99")
    receiver = Receiver(lanes=1)
    deliver(receiver)
    until(lambda: len(receiver.taken) == 13)
    assert receiver.keys == sorted(receiver.keys)


def test_more_than_may_wait_become_dead_letters(store: ObjectStore, deliver: Deliver, numbers: Numbers) -> None:
    receiver = Receiver(lanes=1)
    receiver.is_down = True
    deliver(receiver, behind_max=5, window=2, queue_limit=10)
    for number in range(30):
        put(store, f"k{number:02}")
    until(lambda: undelivered.count(store.view(), TARGET, is_dead=True) == 20)
    assert undelivered.read_dead(store.view(), TARGET)[0].reason == "10 events were waiting already"
    until(lambda: numbers.get(f"events_dead/{TARGET}") == 20)
    receiver.is_down = False
    until(lambda: len(receiver.taken) == 10)


def test_dead_letters_are_dropped_by_their_number_however_many_come_at_once(
    store: ObjectStore, deliver: Deliver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hosu.rules.events.delivery.SURPLUS_PERIOD", 12)
    monkeypatch.setattr(undelivered, "DEAD_MAX", 5)
    receiver = Receiver(lanes=1)
    receiver.is_down = True
    for number in range(30):
        put(store, f"k{number:02}")
    running = deliver(receiver, behind_max=1, window=1, queue_limit=10)
    until(lambda: undelivered.count(store.view(), TARGET, is_dead=True))
    running.stop()
    assert [letter.message.key for letter in undelivered.read_dead(store.view(), TARGET)][-1] == "k29"
    assert undelivered.count(store.view(), TARGET, is_dead=True) == 5


def test_an_event_that_the_target_refuses_becomes_a_dead_letter_and_the_others_go_on(
    store: ObjectStore, deliver: Deliver
) -> None:
    receiver = Receiver(lanes=1, batch=8)
    receiver.refuses = lambda message: DeliveryError("it answered 400", is_final=True) if message.key == "bad" else None
    for key in ("a", "bad", "b"):
        put(store, key)
    running = deliver(receiver)
    until(lambda: "b" in receiver.keys)
    until(lambda: undelivered.count(store.view(), TARGET, is_dead=True) == 1)
    running.stop()
    letter = undelivered.read_dead(store.view(), TARGET)[0]
    assert (letter.message.key, letter.reason) == ("bad", "it answered 400")
    assert acknowledged(store) == latest(store)
    alerts = {alert.subject: alert.message for alert in list_alerts(store.view())}
    assert "it answered 400" in alerts[f"{TARGET} dead letters"]


def test_an_event_that_is_not_taken_while_others_are_holds_up_nobody_for_long(
    store: ObjectStore, deliver: Deliver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hosu.rules.events.lanes.PAUSE_MIN_S", 0.001)
    receiver = Receiver(lanes=2)
    tries: list[str] = []

    def refuses(message: Message) -> DeliveryError | None:
        if message.key != "bad":
            return None
        tries.append(message.key)
        return DeliveryError("it answered 500")

    receiver.refuses = refuses
    running = deliver(receiver)
    put(store, "bad")
    others = [f"k{number}" for number in range(100)]
    for key in others:
        put(store, key)
    until(lambda: undelivered.count(store.view(), TARGET, is_dead=True) == 1)
    until(lambda: set(receiver.keys) == set(others))
    running.stop()
    assert len(tries) >= 10
    assert undelivered.read_dead(store.view(), TARGET)[0].reason == "it answered 500"


def test_only_the_end_of_an_outage_wakes_those_who_wait() -> None:
    clock = ManualClock(1_795_000_000_000)
    health = Health(clock)
    health.failed("no", is_down=True)
    clock.advance(500)
    health.succeeded(1)
    assert health._recoveries == 0
    health.failed("no", is_down=True)
    clock.advance(1_500)
    health.succeeded(1)
    assert health._recoveries == 1
    assert health.failing_since_ms == 0


def test_an_event_tried_for_too_long_becomes_a_dead_letter(store: ObjectStore, deliver: Deliver) -> None:
    receiver = Receiver()
    receiver.is_down = True
    put(store, "a")
    deliver(receiver, retry_ms=50)
    until(lambda: undelivered.count(store.view(), TARGET, is_dead=True) == 1)
    assert undelivered.read_dead(store.view(), TARGET)[0].reason == "it is down"


def test_what_waits_aside_for_too_long_becomes_dead_letters_some_at_a_time(
    store: ObjectStore, deliver: Deliver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hosu.rules.events.delivery.ALERT_AFTER_MS", 20)
    monkeypatch.setattr("hosu.rules.events.delivery.IDLE_FLUSH_S", 0.1)
    monkeypatch.setattr("hosu.rules.events.delivery.FLUSH_S", 0.01)
    monkeypatch.setattr(undelivered, "BURIED_PER_CALL", 4)
    sizes: list[int] = []
    bury_older = undelivered.bury_older

    def noting(tx: Tx, *arguments: object, **named: object) -> int:
        sizes.append(bury_older(tx, *arguments, **named))  # type: ignore[arg-type]
        return sizes[-1]

    monkeypatch.setattr(undelivered, "bury_older", noting)
    receiver = Receiver(lanes=1)
    receiver.is_down = True
    for number in range(12):
        put(store, f"k{number:02}")
    deliver(receiver, behind_max=1, window=1, retry_ms=300)
    until(lambda: undelivered.count(store.view(), TARGET, is_dead=True) == 12)
    assert undelivered.count(store.view(), TARGET, is_dead=False) == 0
    assert max(sizes) == 4


def test_dead_letters_that_are_replayed_arrive_and_are_gone(store: ObjectStore, deliver: Deliver) -> None:
    receiver = Receiver()
    receiver.is_down = True
    for key in "ab":
        put(store, key)
    deliver(receiver, retry_ms=50)
    until(lambda: undelivered.count(store.view(), TARGET, is_dead=True) == 2)
    receiver.is_down = False
    assert store.commit(partial(undelivered.replay, target=TARGET)) == 2
    until(lambda: len(receiver.taken) == 2)
    until(lambda: undelivered.count(store.view(), TARGET, is_dead=False) == 0)
    assert undelivered.count(store.view(), TARGET, is_dead=True) == 0
    until(lambda: not list_alerts(store.view()))


def test_replaying_beside_what_is_under_way_acknowledges_nothing_too_early(
    store: ObjectStore, deliver: Deliver
) -> None:
    receiver = Receiver(lanes=1)
    receiver.is_down = True
    put(store, "dead")
    running = deliver(receiver, retry_ms=50)
    until(lambda: undelivered.count(store.view(), TARGET, is_dead=True) == 1)
    running.stop()
    running = deliver(receiver)
    put(store, "waits")
    until(lambda: running.delivery._direct)
    store.commit(partial(undelivered.replay, target=TARGET))
    until(lambda: undelivered.count(store.view(), TARGET, is_dead=False) == 2)
    running.stop()
    again = Receiver()
    deliver(again)
    until(lambda: sorted(again.keys) == ["dead", "waits"])


def test_dead_letters_of_a_target_without_rules_can_be_replayed(store: ObjectStore, deliver: Deliver) -> None:
    receiver = Receiver()
    receiver.is_down = True
    put(store, "a")
    running = deliver(receiver, retry_ms=50)
    until(lambda: undelivered.count(store.view(), TARGET, is_dead=True) == 1)
    store.commit(partial(set_rules, bucket=BUCKET, rules=[]))
    running.stop()
    forget_ended(store)
    assert store.view().rows("SELECT * FROM subscription") == []
    store.commit(partial(undelivered.replay, target=TARGET))
    receiver = Receiver()
    running = deliver(receiver)
    until(lambda: receiver.taken)
    running.stop()
    assert store.view().rows("SELECT * FROM subscription") == []


def test_a_target_that_is_down_for_a_minute_raises_an_alert_which_ends_with_it(
    store: ObjectStore, deliver: Deliver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hosu.rules.events.delivery.ALERT_AFTER_MS", 20)
    monkeypatch.setattr("hosu.rules.events.delivery.IDLE_FLUSH_S", 0.1)
    receiver = Receiver()
    receiver.is_down = True
    deliver(receiver)
    put(store, "a")
    until(lambda: list_alerts(store.view()))
    alert = list_alerts(store.view())[0]
    assert (alert.kind, alert.subject) == ("delivery-failed", TARGET)
    assert alert.message == f"{TARGET} takes no events: it is down"
    receiver.is_down = False
    put(store, "b")
    until(lambda: not list_alerts(store.view()))


def test_no_alert_stands_about_a_target_that_nothing_is_for_any_more(
    store: ObjectStore, deliver: Deliver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hosu.rules.events.delivery.ALERT_AFTER_MS", 20)
    monkeypatch.setattr("hosu.rules.events.delivery.IDLE_FLUSH_S", 0.1)
    receiver = Receiver()
    receiver.is_down = True
    put(store, "a")
    running = deliver(receiver, retry_ms=200)
    until(lambda: len(list_alerts(store.view())) == 2)
    forget_ended(store)
    assert len(list_alerts(store.view())) == 2
    store.commit(partial(set_rules, bucket=BUCKET, rules=[]))
    until(lambda: acknowledged(store) == latest(store))
    running.stop()
    forget_ended(store)
    assert [alert.subject for alert in list_alerts(store.view())] == [f"{TARGET} dead letters"]
    store.commit(partial(undelivered.forget_dead, target=TARGET))
    assert list_alerts(store.view()) == []


def test_a_rule_whose_place_in_the_feed_is_lost_gets_another_that_is_kept(store: ObjectStore, deliver: Deliver) -> None:
    store.commit(partial(unsubscribe, name=f"notify:{TARGET}"))
    down = Receiver()
    down.is_down = True
    running = deliver(down)
    until(lambda: acknowledged(store))
    put(store, "a")
    until(lambda: down.attempts)
    running.stop()
    receiver = Receiver()
    deliver(receiver)
    until(lambda: receiver.keys == ["a"])


def test_a_target_that_nobody_configured_keeps_its_events(store: ObjectStore, deliver: Deliver) -> None:
    put(store, "a")
    running = deliver(NoSender("no such target is configured"))
    until(lambda: running.delivery._health.failures)
    running.stop()
    receiver = Receiver()
    deliver(receiver)
    until(lambda: receiver.keys == ["a"])


def test_a_slow_target_does_not_hold_up_another(store: ObjectStore, deliver: Deliver) -> None:
    store.commit(partial(set_rules, bucket=BUCKET, rules=[rule(), rule("redis:two", name="r2")]))
    down, up = Receiver(), Receiver()
    down.is_down = True
    deliver(down)
    deliver(up, target="redis:two")
    for number in range(10):
        put(store, f"k{number}")
    until(lambda: len(up.taken) == 10)
    assert down.taken == []

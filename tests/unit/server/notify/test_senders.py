"""Libraries that not everybody has: a target that needs one is refused by name without it."""

import importlib.util

import pytest

from hosu.kernel.errors import ErrorKind, UnsupportedError
from hosu.kernel.notify import KafkaTarget, Notify, RedisTarget, WebhookTarget
from hosu.rules.events.sending import DeliveryError
from hosu.server.notify.senders import check_libraries, make_sender

KAFKA = KafkaTarget(brokers="127.0.0.1:1", topic="t")


@pytest.mark.parametrize(
    ("notify", "library", "extra"),
    [
        (Notify(kafka={"k": KAFKA}), "confluent_kafka", "hosu[kafka]"),
        (Notify(redis={"r": RedisTarget(address="127.0.0.1:1", key="k")}), "redis", "hosu[redis]"),
    ],
)
def test_a_missing_library_is_named_with_its_remedy(
    notify: Notify, library: str, extra: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    check_libraries(notify)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == library else object())
    with pytest.raises(UnsupportedError) as refused:
        check_libraries(notify)
    assert refused.value.kind is ErrorKind.UNSUPPORTED
    assert library in refused.value.message
    assert extra in refused.value.message


def test_targets_that_need_no_library_or_are_off_are_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    off = KafkaTarget(enable=False, brokers="127.0.0.1:1", topic="t")
    check_libraries(Notify(webhook={"w": WebhookTarget(endpoint="http://h/")}, kafka={"k": off}))


def test_a_target_that_is_missing_or_off_takes_nothing() -> None:
    off = Notify(webhook={"w": WebhookTarget(endpoint="http://h/", enable=False)})
    for notify, why in ((Notify(), "no such target is configured"), (off, "the target is switched off")):
        with pytest.raises(DeliveryError, match=why):
            make_sender(notify, "webhook:w").send([])

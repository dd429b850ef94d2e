"""From a target's settings to who speaks to it; libraries that not everybody needs are loaded where they are."""

from hosu.kernel.errors import ErrorKind, UnsupportedError
from hosu.kernel.notify import KafkaTarget, Notify, RedisTarget, Target, WebhookTarget
from hosu.rules.events.sending import NoSender, Sender

LIBRARIES = {"kafka": "confluent_kafka", "redis": "redis"}


def make_sender(notify: Notify, name: str) -> Sender:
    """Return who speaks to a target; a stand-in that refuses for one that is off, or that the settings lack."""
    target = notify.targets.get(name)
    if target is None:
        return NoSender("no such target is configured")
    if not target.enable:
        return NoSender("the target is switched off")
    return _sender(target)


def _sender(target: Target) -> Sender:
    if isinstance(target, WebhookTarget):
        from hosu.server.notify.webhook import WebhookSender  # noqa: PLC0415 - loaded where it is used

        return WebhookSender(target)
    if isinstance(target, KafkaTarget):
        from hosu.server.notify.kafka import KafkaSender  # noqa: PLC0415 - as above

        return KafkaSender(target)
    assert isinstance(target, RedisTarget)
    from hosu.server.notify.redis import RedisSender  # noqa: PLC0415 - as above

    return RedisSender(target)


def check_libraries(notify: Notify) -> None:
    """Refuse targets whose library is not installed. Raises UnsupportedError, which names the remedy."""
    from importlib.util import find_spec  # noqa: PLC0415 - needed at the start alone

    for name, target in notify.targets.items():
        library = LIBRARIES.get(target.KIND)
        if target.enable and library is not None and find_spec(library) is None:
            raise UnsupportedError(
                ErrorKind.UNSUPPORTED,
                f"target {name} needs the library {library}, which is not installed: "
                f"install hosu[{target.KIND}], or switch the target off",
            )

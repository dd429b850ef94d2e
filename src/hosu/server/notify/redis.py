"""Events to Redis: a list of all, a hash of the latest of each object, or a stream."""

from collections.abc import Sequence
from typing import Any

import msgspec
import redis
from redis.backoff import NoBackoff
from redis.exceptions import RedisError
from redis.retry import Retry

from hosu.kernel.notify import RedisTarget
from hosu.rules.events.records import Message
from hosu.rules.events.sending import DeliveryError

BATCH = 256
"""Events that arrive together or not at all."""

_ENCODE = msgspec.json.Encoder().encode
_REMOVED = ("s3:ObjectRemoved:", "s3:LifecycleExpiration:")


class RedisSender:
    """Implements `hosu.rules.events.sending.Sender`; one lane, whose batches are transactions of Redis."""

    lanes = 1
    batch = BATCH

    def __init__(self, target: RedisTarget) -> None:
        host, _, port = target.address.rpartition(":")
        self._key = target.key
        self._add = {"access": self._append, "namespace": self._set, "stream": self._stream}[target.format]
        secure: dict[str, Any] = {}
        if target.tls:
            secure = {
                "ssl": True,
                "ssl_cert_reqs": "none" if target.tls_skip_verify else "required",
                "ssl_check_hostname": not target.tls_skip_verify,
                "ssl_ca_certs": target.ca_file or None,
            }
        self._client = redis.Redis(
            host=host.strip("[]"),
            port=int(port),
            username=target.user or None,
            password=target.password or None,
            socket_timeout=target.timeout_s,
            socket_connect_timeout=target.timeout_s,
            retry=Retry(NoBackoff(), 0),  # whoever delivers tries again
            **secure,
        )

    def send(self, messages: Sequence[Message]) -> None:
        """Add events in one transaction. Raises DeliveryError; then none of them is there, or nobody knows."""
        try:
            pipeline = self._client.pipeline(transaction=True)
            for message in messages:
                self._add(pipeline, message)
            pipeline.execute()
        except RedisError as error:
            raise DeliveryError(f"{type(error).__name__}: {str(error).partition(chr(10))[0]}") from error

    def close(self) -> None:
        """Close the connection."""
        self._client.close()

    def _append(self, pipeline: Any, message: Message) -> None:  # noqa: ANN401 - redis has no type for it
        time = msgspec.json.decode(message.record)["eventTime"]
        pipeline.rpush(self._key, _ENCODE([{"Event": [message.record], "EventTime": time}]))

    def _set(self, pipeline: Any, message: Message) -> None:  # noqa: ANN401 - as above
        if message.name.startswith(_REMOVED):
            pipeline.hdel(self._key, message.path)
        else:
            pipeline.hset(self._key, message.path, _ENCODE({"Records": [message.record]}))

    def _stream(self, pipeline: Any, message: Message) -> None:  # noqa: ANN401 - as above
        pipeline.xadd(self._key, {"EventName": message.name, "Key": message.path, "body": message.body()})

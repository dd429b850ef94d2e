"""Events to Kafka: the message's key is bucket and key, so that all events of an object are in one partition."""

from collections.abc import Sequence

from confluent_kafka import KafkaError, KafkaException, Producer
from confluent_kafka import Message as KafkaMessage

from hosu.kernel.log import get_logger
from hosu.kernel.notify import KafkaTarget
from hosu.rules.events.records import Message
from hosu.rules.events.sending import DeliveryError

BATCH = 512
"""Events that are produced before their receipts are waited for."""

_MECHANISMS = {"plain": "PLAIN", "sha256": "SCRAM-SHA-256", "sha512": "SCRAM-SHA-512"}
_FINAL = frozenset({KafkaError.MSG_SIZE_TOO_LARGE, KafkaError.INVALID_RECORD})
_LOG = get_logger("kafka")


class KafkaSender:
    """Implements `hosu.rules.events.sending.Sender`; one lane, for a producer that keeps the order itself."""

    lanes = 1
    batch = BATCH

    def __init__(self, target: KafkaTarget) -> None:
        self._topic = target.topic
        self._timeout_s = target.timeout_s
        self._reason = ""
        self._target = target
        self._made: Producer | None = None

    def send(self, messages: Sequence[Message]) -> None:
        """Produce events and wait until all in-sync replicas have them. Raises DeliveryError."""
        failures: list[KafkaError] = []

        def report(error: KafkaError | None, _message: KafkaMessage) -> None:
            if error is not None:
                failures.append(error)

        producer = self._producer()
        try:
            for message in messages:
                producer.produce(
                    self._topic, message.body(), message.path.encode(), timestamp=message.at_ms, on_delivery=report
                )
            left = producer.flush(self._timeout_s + 1)
        except (KafkaException, BufferError) as error:
            self._drop()
            failure = error.args[0] if error.args else error
            is_final = isinstance(failure, KafkaError) and failure.code() in _FINAL
            raise DeliveryError(_text(failure), is_final=is_final) from error
        if left:
            self._drop()
            raise DeliveryError(self._reason or "no receipt in time")
        if failures:
            is_final = all(failure.code() in _FINAL for failure in failures)
            timed_out = failures[0].code() == KafkaError._MSG_TIMED_OUT  # noqa: SLF001 - the library's name for it
            raise DeliveryError(self._reason if timed_out and self._reason else _text(failures[0]), is_final=is_final)
        self._reason = ""

    def close(self) -> None:
        """Forget what was not taken: it is produced again."""
        self._drop()

    def _producer(self) -> Producer:
        """Make the producer when it is first needed: what a file of certificates lacks is a failure to deliver."""
        if self._made is None:
            try:
                self._made = Producer(_configuration(self._target) | {"error_cb": self._note, "logger": _Quiet()})
            except KafkaException as error:
                raise DeliveryError(_text(error.args[0] if error.args else error)) from error
        return self._made

    def _drop(self) -> None:
        if self._made is not None:
            self._made.purge()
            self._made.flush(1)

    def _note(self, error: KafkaError) -> None:
        self._reason = _text(error)


class _Quiet:
    """Takes the library's own lines, which would go to standard error."""

    def log(self, _level: int, text: str, *arguments: object) -> None:
        _LOG.debug("the Kafka library says", text=text % arguments if arguments else text)


def _configuration(target: KafkaTarget) -> dict[str, object]:
    timeout_ms = target.timeout_s * 1000
    found: dict[str, object] = {
        "bootstrap.servers": target.brokers,
        "client.id": "hosu",
        "enable.idempotence": True,
        "message.timeout.ms": timeout_ms,
        "socket.timeout.ms": timeout_ms,
        "request.timeout.ms": max(timeout_ms // 2, 1000),
        "linger.ms": 1,
        "compression.type": target.compression_codec,
        "security.protocol": ("SASL_" if target.sasl else "") + ("SSL" if target.tls else "PLAINTEXT"),
    }
    if target.sasl:
        found |= {
            "sasl.mechanism": _MECHANISMS[target.sasl_mechanism],
            "sasl.username": target.sasl_username,
            "sasl.password": target.sasl_password,
        }
    if target.tls:
        found["enable.ssl.certificate.verification"] = not target.tls_skip_verify
        if target.ca_file:
            found["ssl.ca.location"] = target.ca_file
        if target.client_tls_cert:
            found |= {"ssl.certificate.location": target.client_tls_cert, "ssl.key.location": target.client_tls_key}
    return found


def _text(error: object) -> str:
    return error.str() if isinstance(error, KafkaError) else f"{error}"

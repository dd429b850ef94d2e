"""What delivering asks of whoever speaks to a target."""

from collections.abc import Sequence
from typing import Protocol

from hosu.rules.events.records import Message


class DeliveryError(Exception):
    """A target did not take what it was sent. The text says why, with no secret in it.

    `is_final` says that it is about the event, not about the target: it would not take it another time either.
    """

    def __init__(self, reason: str, *, is_final: bool = False) -> None:
        super().__init__(reason)
        self.reason = reason
        self.is_final = is_final


class Sender(Protocol):
    """Speaks to one target; `send` is called by `lanes` threads at once, with up to `batch` events of one lane."""

    lanes: int
    batch: int

    def send(self, messages: Sequence[Message]) -> None:
        """Return when the target has taken all of them, in this order. Raises DeliveryError; some may have arrived."""
        ...

    def close(self) -> None:
        """Let go of connections."""
        ...


class NoSender:
    """Stands for a target that the settings do not have: its events wait until they do."""

    lanes = 1
    batch = 1

    def __init__(self, reason: str) -> None:
        self._reason = reason

    def send(self, messages: Sequence[Message]) -> None:
        """Refuse."""
        del messages
        raise DeliveryError(self._reason)

    def close(self) -> None:
        """Do nothing."""

"""Working ahead: what comes next is made in a thread while the last is still being used."""

import queue
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Generic, TypeVar

_Item = TypeVar("_Item")
_PAUSE_S = 0.05
"""How often a producer that waits looks whether anybody still takes what it makes."""


@contextmanager
def ahead(items: Iterator[_Item], *, depth: int = 1) -> Iterator[Iterator[_Item]]:
    """Have the items of an iterator made in a thread of their own, up to `depth` of them before they are asked for.

    On leaving the thread has ended, however many items were taken. An error of the iterator is raised where they are.
    """
    producer = _Producer(items, depth)
    producer.start()
    try:
        yield producer.take()
    finally:
        producer.end()


class _End:
    """What comes after the last item; with the error that stopped the iterator."""

    def __init__(self, error: BaseException | None = None) -> None:
        self.error = error


class _Producer(Generic[_Item]):
    def __init__(self, items: Iterator[_Item], depth: int) -> None:
        self._items = items
        self._made: queue.Queue[_Item | _End] = queue.Queue(depth)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._produce, name="hosu-compaction", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def take(self) -> Iterator[_Item]:
        while not isinstance(item := self._made.get(), _End):
            yield item
        if item.error is not None:
            raise item.error

    def end(self) -> None:
        self._stop.set()
        self._thread.join()

    def _produce(self) -> None:
        try:
            for item in self._items:
                if not self._give(item):
                    return
            self._give(_End())
        except BaseException as error:  # noqa: BLE001 - raised again where the items are taken
            self._give(_End(error))

    def _give(self, item: _Item | _End) -> bool:
        """Hand an item over; False once nobody takes any more."""
        while not self._stop.is_set():
            try:
                self._made.put(item, timeout=_PAUSE_S)
            except queue.Full:
                continue
            return True
        return False

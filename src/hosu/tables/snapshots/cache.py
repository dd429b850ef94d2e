"""What is remembered of a table's files between calls."""

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from concurrent.futures import Future
from typing import Any, Final, TypeVar, cast

from hosu.kernel.limits import MIB

T = TypeVar("T")

CACHE_BYTES: Final = 128 * MIB
"""Parsed manifests of about 100,000 live files."""


class MetadataCache:
    """Parsed files that never change, the ones used longest ago forgotten first. Safe to share between threads.

    `size_bytes` bounds what callers say that their values weigh. Beside them are kept the latest snapshot known of
    each table, which is only where a search begins, and the hints being written in the background.
    """

    def __init__(self, size_bytes: int = CACHE_BYTES) -> None:
        self._lock = threading.Lock()
        self._size_bytes_max = size_bytes
        self._size_bytes = 0
        self._values: OrderedDict[Hashable, tuple[Any, int]] = OrderedDict()
        self._latest: dict[str, tuple[int, float]] = {}
        self._hints: dict[str, Hint] = {}

    def get(self, key: Hashable, load: Callable[[], tuple[T, int]]) -> T:
        """Return the value of key: the one at hand, or what `load` returns with its weight in bytes."""
        with self._lock:
            found = self._values.get(key)
            if found is not None:
                self._values.move_to_end(key)
                return cast("T", found[0])
        value, size_bytes = load()
        self.put(key, value, size_bytes)
        return value

    def peek(self, key: Hashable) -> Any | None:  # noqa: ANN401 - whatever was put
        """Return the value of key, or None."""
        with self._lock:
            found = self._values.get(key)
            if found is None:
                return None
            self._values.move_to_end(key)
            return found[0]

    def put(self, key: Hashable, value: object, size_bytes: int) -> None:
        """Remember a value, unless it alone is more than half of what may be kept."""
        if size_bytes > self._size_bytes_max // 2:
            return
        with self._lock:
            old = self._values.pop(key, None)
            self._values[key] = (value, size_bytes)
            self._size_bytes += size_bytes - (old[1] if old else 0)
            while self._size_bytes > self._size_bytes_max:
                _, (_, freed) = self._values.popitem(last=False)
                self._size_bytes -= freed

    def drop(self, key: Hashable) -> None:
        """Forget the value of key."""
        with self._lock:
            old = self._values.pop(key, None)
            self._size_bytes -= old[1] if old else 0

    def clear(self) -> None:
        """Forget everything but hints under way."""
        with self._lock:
            self._values.clear()
            self._latest.clear()
            self._size_bytes = 0

    def latest(self, folder: str, since_s: float = 0.0) -> int | None:
        """Return the latest snapshot seen in a folder of snapshots, unless that was before a monotonic time."""
        with self._lock:
            snapshot_id, seen_s = self._latest.get(folder, (None, 0.0))
            return None if seen_s < since_s else snapshot_id

    def saw_latest(self, folder: str, snapshot_id: int | None, now_s: float = 0.0) -> None:
        """Note the latest snapshot of a folder of snapshots, seen at a monotonic time; None: it is not known."""
        with self._lock:
            if snapshot_id is None:
                self._latest.pop(folder, None)
            else:
                self._latest[folder] = snapshot_id, now_s

    def hint(self, key: str) -> "Hint":
        """Return the writer of the hint file at key."""
        with self._lock:
            return self._hints.setdefault(key, Hint())

    def hints(self) -> list["Hint"]:
        """Return the writers of every hint file."""
        with self._lock:
            return list(self._hints.values())


class Hint:
    """A hint file whose numbers come faster than they need to be written: only the last one is."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.wanted: int | None = None
        """What is to be written next."""

        self.writing: Future[None] | None = None
        """The task that writes until nothing is wanted."""

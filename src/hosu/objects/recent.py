"""Objects read lately, remembered so that reading them again costs no query.

An entry is true as long as nobody has written since it was read. This process's own commits take out exactly
the keys they touch, from before the commit can be seen until it is done. A commit of another process shows in
the shared counter of `Turns`, and takes out everything. So memory never answers with less than a query would.
"""

import threading
from collections.abc import Iterable

from hosu.kernel.limits import MIB
from hosu.objects.records import ObjectRecord
from hosu.objects.turns import Turns

BYTES_MAX = 32 * MIB
"""Memory for entries in a process, by the count below."""

ENTRY_BYTES = 1024
"""What an entry costs beside its body, its key and its attributes."""

Name = tuple[str, str]
"""Bucket and key."""

Found = tuple[ObjectRecord, bytes | None]
"""An object's record, and its bytes where they are small."""


class RecentObjects:
    """A bounded memory of current objects. Reads come from any thread, commits from the writer's."""

    def __init__(self, turns: Turns, bytes_max: int = BYTES_MAX) -> None:
        self._turns = turns
        self._bytes_max = bytes_max
        self._entries: dict[Name, Found] = {}
        self._bytes = 0
        self._seen = -1
        self._epoch = 0
        self._doubtful: frozenset[Name] | None = frozenset()
        self._lock = threading.Lock()

    def find(self, name: Name) -> Found | None:
        """Return what is remembered of an object, if that is still true."""
        if self._turns.count() != self._seen:
            self._start_over()
            return None
        return self._entries.get(name)

    def mark(self) -> int:
        """Return what `keep` needs to know of the moment before an object is read."""
        return self._epoch

    def keep(self, mark: int, name: Name, found: Found) -> None:
        """Remember an object, unless anything was written since the mark."""
        size_bytes = _size_bytes(found)
        with self._lock:
            if self._epoch != mark or self._turns.count() != self._seen:
                return
            if self._doubtful is None or name in self._doubtful or name in self._entries:
                return
            self._entries[name] = found
            self._bytes += size_bytes
            while self._bytes > self._bytes_max:
                self._drop(next(iter(self._entries)))

    def begin_commit(self, before: int) -> None:
        """Note that this process begins to write; `before` is the counter it found."""
        with self._lock:
            if before != self._seen:
                self._clear()
            self._epoch += 1
            self._seen = self._turns.count()

    def doubt(self, touched: Iterable[Name] | None) -> None:
        """Forget what a commit is about to change, everything if touched is None, and keep none of it meanwhile."""
        with self._lock:
            if touched is None:
                self._doubtful = None
                self._clear()
            else:
                self._doubtful = frozenset(touched)
                for name in self._doubtful:
                    self._drop(name)

    def end_commit(self) -> None:
        """Note that what was in doubt is decided, while it is still this process's turn."""
        with self._lock:
            self._epoch += 1
            self._doubtful = frozenset()
            self._seen = self._turns.count() + 1

    def _start_over(self) -> None:
        """Forget everything: somebody else has written, or is writing."""
        with self._lock:
            count = self._turns.count()
            if count == self._seen:
                return
            self._clear()
            self._epoch += 1
            self._seen = count if count % 2 == 0 else -1

    def _clear(self) -> None:
        self._entries.clear()
        self._bytes = 0

    def _drop(self, name: Name) -> None:
        found = self._entries.pop(name, None)
        if found is not None:
            self._bytes -= _size_bytes(found)


def _size_bytes(found: Found) -> int:
    record, body = found
    return ENTRY_BYTES + 2 * (len(record.key) + len(record.attributes_json)) + len(body or b"")

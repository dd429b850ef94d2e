"""Lines of the audit log that belong to no transaction: written soon, by a thread, and never waited for."""

import itertools
import secrets
import threading
from collections import deque

import msgspec

from hosu.kernel.errors import HosuError
from hosu.kernel.log import get_logger
from hosu.objects.audit import ENCODER, AuditLine
from hosu.objects.audit_files import AuditFiles
from hosu.objects.store import ObjectStore

LINES_WAITING_MAX = 4_096
"""Bounds the memory for lines, and what a flood of refused requests can write in a second."""

_LOG = get_logger("audit")


class AuditLog:
    """Takes lines from any thread, and writes them when `flush` is called by the one that may wait for the disk."""

    def __init__(self, store: ObjectStore, files: AuditFiles) -> None:
        self._store = store
        self._files = files
        self._waiting: deque[AuditLine] = deque()
        self._lock = threading.Lock()
        self._prefix = secrets.token_hex(4).upper()
        self._numbers = itertools.count(1)
        self._dropped_since_flush = 0
        self.written = 0
        """Lines that are in the log."""
        self.dropped = 0
        """Lines that were lost: too many at once, or the disk did not take them."""

    @property
    def waiting(self) -> int:
        """How many lines are not yet written."""
        return len(self._waiting)

    def add(self, line: AuditLine) -> None:
        """Take a line, to which an id is given; never waits."""
        if len(self._waiting) >= LINES_WAITING_MAX:
            self._drop(1)
            return
        self._waiting.append(line)

    def flush(self) -> None:
        """Write what waits. Called by one thread at a time."""
        lines = []
        while self._waiting:
            line = self._waiting.popleft()
            numbered = msgspec.structs.replace(line, id=f"{self._prefix}-{next(self._numbers)}")
            lines.append(ENCODER.encode(numbered) + b"\n")
        if lines:
            try:
                self._store.check_space()
                self._files.append(b"".join(lines), durable=False)
                self.written += len(lines)
            except (OSError, HosuError) as error:
                self._drop(len(lines))
                _LOG.error("the audit log cannot be written", error=f"{type(error).__name__}: {error}")
        with self._lock:
            dropped, self._dropped_since_flush = self._dropped_since_flush, 0
        if dropped:
            _LOG.error("lines of the audit log were dropped", lines=dropped)

    def _drop(self, count: int) -> None:
        with self._lock:
            self.dropped += count
            self._dropped_since_flush += count

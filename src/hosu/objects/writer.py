"""The one writer of a process: operations from any thread, gathered into one durable transaction after another.

Whoever waits, waits for the sync that covers all of the batch, so sixteen concurrent puts cost one sync.
An operation that refuses before it changed anything (a failed condition, a missing bucket) leaves the batch
alone. One that fails after a change takes the batch down; then each operation runs again in a transaction of
its own, and only the guilty one fails.
"""

import contextlib
import threading
from collections import deque
from collections.abc import Callable
from typing import Any, Protocol

import apsw

from hosu.kernel.clock import Clock
from hosu.kernel.errors import ErrorKind, HosuError, UnavailableError
from hosu.objects.audit import Origin
from hosu.objects.blobs import disk_error
from hosu.objects.database import BUSY_MS_MAX, translate
from hosu.objects.recent import RecentObjects
from hosu.objects.transaction import Effects, Tx
from hosu.objects.turns import Turns

BATCH_OPERATIONS_MAX = 256
"""Bounds how long the first operation of a batch waits for the last."""

WAL_PAGES_CHECKPOINT = 4_096
"""16 MiB of log: the checkpointer is told to move it into the database."""

WAL_PAGES_MAX = 32_768
"""128 MiB of log: the writer itself starts the log over, so that it stays bounded under a load that never pauses."""

RESTART_BUSY_MS_MAX = 100
"""How long starting the log over may wait for readers, while every write waits for it."""

Operation = Callable[[Tx], Any]


class Waiter(Protocol):
    """Who learns how an operation ended. Calls come from the writer's thread, once per batch."""

    def deliver(self, outcomes: "list[Outcome]", /) -> None:
        """Take the outcomes of this waiter's operations in one batch."""
        ...


class Outcome:
    """How one operation ended: `result`, or `error`; `token` is what the waiter submitted with it."""

    __slots__ = ("error", "operation", "origin", "result", "token", "waiter")

    def __init__(self, operation: Operation, waiter: Waiter, token: object, origin: Origin | None) -> None:
        self.operation = operation
        self.waiter = waiter
        self.token = token
        self.origin = origin
        self.result: Any = None
        self.error: BaseException | None = None


class _Blocked:
    """A thread that sleeps until its one operation is durable."""

    def __init__(self) -> None:
        self._done = threading.Event()

    def deliver(self, _outcomes: list[Outcome]) -> None:
        self._done.set()

    def wait(self) -> None:
        self._done.wait()


class Writer:
    """A thread that owns the connection which writes."""

    def __init__(
        self,
        connection: apsw.Connection,
        clock: Clock,
        effects: Effects,
        turns: Turns,
        recent: RecentObjects,
        *,
        on_wal: Callable[[], None],
    ) -> None:
        self._connection = connection
        self._clock = clock
        self._effects = effects
        self._turns = turns
        self._recent = recent
        self._on_wal = on_wal
        self._wal_pages = 0
        self._queue: deque[Outcome] = deque()
        self._wake = threading.Condition(threading.Lock())
        self._is_stopping = False
        self.has_doubtful_log = False
        """Whether a failed commit may still be whole in the log: cleared by the next one, which overwrites it."""
        self._tx: Tx | None = None
        connection.set_wal_hook(self._note_wal)
        self._thread = threading.Thread(target=self._run, name="hosu-writer", daemon=True)
        self._thread.start()

    def submit(self, operation: Operation, waiter: Waiter, token: object = None, origin: Origin | None = None) -> None:
        """Queue an operation; the waiter is told once it is durable or has failed. `origin` is for the audit log."""
        outcome = Outcome(operation, waiter, token, origin)
        with self._wake:
            if self._is_stopping:
                raise UnavailableError(ErrorKind.SHUTTING_DOWN, "the lake is closing")
            self._queue.append(outcome)
            if len(self._queue) == 1:
                self._wake.notify()

    def commit(self, operation: Operation, origin: Origin | None = None) -> Any:  # noqa: ANN401 - the operation's own
        """Run an operation and return its result once it is durable."""
        blocked = _Blocked()
        outcome = Outcome(operation, blocked, None, origin)
        with self._wake:
            if self._is_stopping:
                raise UnavailableError(ErrorKind.SHUTTING_DOWN, "the lake is closing")
            self._queue.append(outcome)
            self._wake.notify()
        blocked.wait()
        if outcome.error is not None:
            raise outcome.error
        return outcome.result

    def transaction(self) -> Tx | None:
        """Return the transaction under way, to a verb that asks from within it; None to everybody else."""
        return self._tx if threading.get_ident() == self._thread.ident else None

    def stop(self) -> None:
        """Finish what is queued, then end the thread."""
        with self._wake:
            self._is_stopping = True
            self._wake.notify()
        self._thread.join()

    def _note_wal(self, _connection: apsw.Connection, _database: str, pages: int) -> int:
        self._wal_pages = pages
        self.has_doubtful_log = False
        return apsw.SQLITE_OK

    def _run(self) -> None:
        while True:
            with self._wake:
                while not self._queue and not self._is_stopping:
                    self._wake.wait()
                if not self._queue:
                    return
                count = min(len(self._queue), BATCH_OPERATIONS_MAX)
                batch = [self._queue.popleft() for _ in range(count)]
            self._commit_batch(batch)
            self._deliver(batch)
            self._bound_log()

    def _commit_batch(self, batch: list[Outcome]) -> None:
        if self._attempt(batch):
            return
        if len(batch) > 1:
            for outcome in batch:
                self._attempt([outcome])

    def _attempt(self, batch: list[Outcome]) -> bool:
        """Run the batch as one transaction; False when one operation may have spoilt it for the others."""
        try:
            self._recent.begin_commit(self._turns.begin(BUSY_MS_MAX / 1000))
        except OSError as error:
            for outcome in batch:
                outcome.error = disk_error(error)
            return True  # an attempt each would wait as long, and as much in vain
        try:
            tx = self._commit_in_turn(batch)
        finally:
            self._recent.end_commit()
            self._turns.end()
        if tx is None:
            return False
        try:
            tx.finish()
        except BaseException as error:  # noqa: BLE001 - handed to whoever waits; the thread goes on
            for outcome in batch:
                outcome.error = error
        return True

    def _commit_in_turn(self, batch: list[Outcome]) -> Tx | None:
        connection, is_committing = self._connection, False
        try:
            connection.execute("BEGIN IMMEDIATE")
            tx = self._tx = Tx(connection, self._clock.now_ms(), self._effects)
            for outcome in batch:
                outcome.error = None
                changes, touches = connection.total_changes(), tx.touches
                tx.begin_verb(outcome.origin)
                try:
                    outcome.result = outcome.operation(tx)
                    if connection.total_changes() != changes or tx.touches != touches:
                        tx.end_verb()
                except (HosuError, ValueError, TypeError) as refusal:
                    is_unchanged = connection.total_changes() == changes and tx.touches == touches
                    if not (is_unchanged and connection.in_transaction):  # SQLite itself rolls back on a bad disk
                        raise
                    outcome.error = refusal
            tx.prepare()
            self._recent.doubt(tx.touched())
            is_committing = True
            connection.execute("COMMIT")
            tx.announce()
        except BaseException as error:  # noqa: BLE001 - handed to whoever waits
            self.has_doubtful_log |= is_committing
            self._roll_back()
            reason = _reason(error)
            for outcome in batch:
                outcome.error = reason
            return None
        finally:
            self._tx = None
        return tx

    def _roll_back(self) -> None:
        if self._connection.in_transaction:
            with contextlib.suppress(apsw.Error):  # the refused statement may have rolled back already
                self._connection.execute("ROLLBACK")

    def _deliver(self, batch: list[Outcome]) -> None:
        by_waiter: dict[int, list[Outcome]] = {}
        for outcome in batch:
            by_waiter.setdefault(id(outcome.waiter), []).append(outcome)
        for outcomes in by_waiter.values():
            with contextlib.suppress(Exception):  # a waiter that is gone, its loop closed, must not stop the others
                outcomes[0].waiter.deliver(outcomes)

    def _bound_log(self) -> None:
        if self._wal_pages < WAL_PAGES_CHECKPOINT:
            return
        if self._wal_pages < WAL_PAGES_MAX:
            self._on_wal()
            return
        self._wal_pages = 0
        self._connection.set_busy_timeout(RESTART_BUSY_MS_MAX)
        with contextlib.suppress(apsw.Error):  # a long reader holds the log: the next batch tries again
            self._connection.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_RESTART)
        self._connection.set_busy_timeout(BUSY_MS_MAX)


def _reason(error: BaseException) -> BaseException:
    if isinstance(error, apsw.Error):
        return translate(error)
    if isinstance(error, OSError):
        return disk_error(error)
    return error

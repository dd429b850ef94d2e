"""The writer: batches that stand or fall by the operation, and a log that stays bounded."""

import threading
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
from tests.unit.objects.conftest import Put

from hosu.kernel.errors import ConflictError, ErrorKind, HosuError, UnavailableError
from hosu.objects import writer
from hosu.objects.buckets import create_bucket
from hosu.objects.store import ObjectStore
from hosu.objects.transaction import Tx
from hosu.objects.writer import Outcome
from hosu.testing.lake_check import find_faults


class Collector:
    """A waiter that keeps what it is told."""

    def __init__(self, expected: int) -> None:
        self.outcomes: list[Outcome] = []
        self.calls = 0
        self._expected = expected
        self.is_complete = threading.Event()

    def deliver(self, outcomes: list[Outcome]) -> None:
        self.outcomes += outcomes
        self.calls += 1
        if len(self.outcomes) == self._expected:
            self.is_complete.set()


def in_one_batch(store: ObjectStore, operations: list[Callable[[Tx], Any]]) -> Collector:
    """Submit operations while the writer is busy, so that they share a transaction."""
    collector, gate, is_held = Collector(len(operations)), threading.Event(), threading.Event()

    def hold(_: Tx) -> None:
        is_held.set()
        gate.wait()

    held = Collector(1)
    store.submit(hold, held)
    is_held.wait()
    for number, operation in enumerate(operations):
        store.submit(operation, collector, number)
    gate.set()
    assert collector.is_complete.wait(30)
    return collector


def creating(name: str) -> Callable[[Tx], Any]:
    return partial(create_bucket, name=name)


def failing_late(error: BaseException) -> Callable[[Tx], Any]:
    def fail(tx: Tx) -> None:
        create_bucket(tx, "half-done")
        raise error

    return fail


def names(store: ObjectStore) -> list[str]:
    return [row[0] for row in store.view().rows("SELECT name FROM bucket WHERE name <> 'images' ORDER BY name")]


def test_a_batch_is_told_of_in_one_call_and_in_order(store: ObjectStore) -> None:
    collector = in_one_batch(store, [creating(f"bucket-{number}") for number in range(5)])
    assert collector.calls == 1
    assert [it.token for it in collector.outcomes] == list(range(5))
    assert [it.result.name for it in collector.outcomes] == names(store)


def test_a_refusal_leaves_the_rest_of_its_batch_alone(store: ObjectStore) -> None:
    runs: list[int] = []

    def counted(tx: Tx) -> None:
        runs.append(1)
        create_bucket(tx, "first")

    collector = in_one_batch(store, [counted, creating("images"), creating("third")])
    kinds = [it.error.kind if isinstance(it.error, HosuError) else None for it in collector.outcomes]
    assert kinds == [None, ErrorKind.BUCKET_EXISTS, None]
    assert names(store) == ["first", "third"]
    assert len(runs) == 1, "a refusal before any change must not repeat the batch"


@pytest.mark.parametrize(
    "error", [ConflictError(ErrorKind.KEY_CONFLICT, "late"), KeyError("bug"), ZeroDivisionError(), SystemExit()]
)
def test_an_operation_that_fails_after_a_change_fails_alone(store: ObjectStore, error: BaseException) -> None:
    collector = in_one_batch(store, [creating("first"), failing_late(error), creating("third")])
    assert [it.error for it in collector.outcomes] == [None, error, None]
    assert names(store) == ["first", "third"]
    assert find_faults(store) == []


def test_the_error_of_a_single_operation_reaches_its_caller(store: ObjectStore) -> None:
    with pytest.raises(ZeroDivisionError):
        store.commit(lambda _: 1 // 0)
    with pytest.raises(ConflictError):
        store.commit(failing_late(ConflictError(ErrorKind.KEY_CONFLICT, "late")))
    assert names(store) == []


def test_a_statement_sqlite_refuses_fails_alone(store: ObjectStore) -> None:
    collector = in_one_batch(store, [creating("first"), lambda tx: tx.run("INSERT INTO none VALUES (1)")])
    assert collector.outcomes[0].error is None
    assert collector.outcomes[1].error is not None
    assert names(store) == ["first"]


def test_an_operation_under_which_sqlite_rolled_back_takes_no_other_with_it(store: ObjectStore) -> None:
    def lose_transaction(tx: Tx) -> None:
        tx.connection.execute("ROLLBACK")  # as SQLite does by itself when the disk fails in a statement
        raise UnavailableError(ErrorKind.DISK_FAULT, "the disk failed")

    collector = in_one_batch(store, [creating("first"), lose_transaction, creating("third")])
    assert [it.error is None for it in collector.outcomes] == [True, False, True]
    assert names(store) == ["first", "third"]


def test_a_waiter_that_breaks_does_not_stop_the_writer(store: ObjectStore) -> None:
    class Broken:
        def deliver(self, _: list[Outcome]) -> None:
            raise RuntimeError("the loop is closed")

    store.submit(creating("first"), Broken())
    store.commit(creating("second"))
    assert names(store) == ["first", "second"]


def test_an_effect_that_fails_does_not_take_back_the_commit(store: ObjectStore) -> None:
    def break_down() -> None:
        raise ZeroDivisionError

    def with_effect(tx: Tx) -> None:
        create_bucket(tx, "first")
        tx.after_commit(break_down)

    with pytest.raises(ZeroDivisionError):
        store.commit(with_effect)
    store.commit(creating("second"))
    assert names(store) == ["first", "second"]


def test_what_is_queued_when_the_store_closes_is_finished(store: ObjectStore) -> None:
    collector, gate = Collector(3), threading.Event()
    store.submit(lambda _: gate.wait() and None, Collector(1))
    for number in range(3):
        store.submit(creating(f"bucket-{number}"), collector)
    closer = threading.Thread(target=store.close)
    closer.start()
    gate.set()
    closer.join()
    assert [it.error for it in collector.outcomes] == [None] * 3
    with pytest.raises(UnavailableError):
        store.commit(creating("late"))


def test_the_log_stays_bounded_under_load(store: ObjectStore, put: Put, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writer, "WAL_PAGES_CHECKPOINT", 16)
    monkeypatch.setattr(writer, "WAL_PAGES_MAX", 64)
    for number in range(150):
        put(f"k{number % 7}", b"x" * 5_000)
    pages = (store.path / "meta" / "lake.db-wal").stat().st_size // 4_096
    assert pages < 400  # without a bound, some 900


def test_a_long_reader_holds_neither_writes_nor_the_log_for_ever(
    store: ObjectStore, put: Put, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writer, "WAL_PAGES_CHECKPOINT", 8)
    monkeypatch.setattr(writer, "WAL_PAGES_MAX", 16)
    monkeypatch.setattr(writer, "RESTART_BUSY_MS_MAX", 1)
    view = store.view()
    with view.snapshot():
        before = view.rows("SELECT key FROM object")
        for number in range(20):
            put(f"k{number}", b"x" * 5_000)
        assert view.rows("SELECT key FROM object") == before
    grown = (store.path / "meta" / "lake.db-wal").stat().st_size
    for number in range(40):
        put(f"k{number}", b"x" * 5_000)
    assert (store.path / "meta" / "lake.db-wal").stat().st_size <= grown * 2
    assert find_faults(store) == []

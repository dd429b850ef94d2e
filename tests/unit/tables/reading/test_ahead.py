"""Rows that a thread reads for others."""

import threading
from collections.abc import Iterator

import pyarrow as pa
import pytest

from hosu.tables.reading.ahead import Ahead


def batch(number: int) -> pa.RecordBatch:
    return pa.record_batch({"n": [number]})


def test_batches_come_in_order_from_another_thread() -> None:
    threads: set[str] = set()

    def read() -> Iterator[pa.RecordBatch]:
        for number in range(10):
            threads.add(threading.current_thread().name)
            yield batch(number)

    assert [one.column(0)[0].as_py() for one in Ahead(read)] == list(range(10))
    assert threads == {"hosu-read"}


def test_what_reading_raises_is_raised_after_what_was_read() -> None:
    def read() -> Iterator[pa.RecordBatch]:
        yield batch(1)
        raise ValueError("broken")

    batches = iter(Ahead(read))
    assert next(batches).num_rows == 1
    with pytest.raises(ValueError, match="broken"):
        next(batches)


def test_a_reader_that_is_let_go_stops_the_thread_and_few_batches_are_read_ahead() -> None:
    read_count = 0
    stopped = threading.Event()

    def read() -> Iterator[pa.RecordBatch]:
        nonlocal read_count
        try:
            while True:
                read_count += 1
                yield batch(read_count)
        finally:
            stopped.set()

    batches = iter(Ahead(read))
    next(batches)
    batches.close()  # type: ignore[attr-defined]
    assert stopped.wait(30)
    assert read_count <= 5

"""Tasks side by side end, whatever the pool is busy with."""

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import pytest

from hosu.tables.pooling import run_all


def test_results_come_in_the_order_of_tasks() -> None:
    with ThreadPoolExecutor(3) as pool:
        assert run_all(pool, [partial(int, str(number)) for number in range(20)]) == list(range(20))
        assert run_all(pool, []) == []


def test_tasks_of_the_pool_may_wait_for_tasks_of_the_pool() -> None:
    with ThreadPoolExecutor(1) as pool:
        inner = partial(run_all, pool, [partial(int, "1"), partial(int, "2")])
        assert run_all(pool, [inner, inner, inner]) == [[1, 2]] * 3


def test_a_busy_pool_keeps_nobody_waiting() -> None:
    free = threading.Event()
    with ThreadPoolExecutor(1) as pool:
        busy = pool.submit(free.wait, 60)
        assert run_all(pool, [partial(int, "1"), partial(int, "2")]) == [1, 2]
        free.set()
        assert busy.result()


def test_a_pool_that_is_shut_down_is_done_without() -> None:
    pool = ThreadPoolExecutor(1)
    pool.shutdown()
    assert run_all(pool, [partial(int, "1"), partial(int, "2")]) == [1, 2]


def test_an_error_is_raised_once_all_have_ended() -> None:
    ended: list[int] = []

    def fail() -> None:
        raise ValueError("first")

    tasks: list[Callable[[], None]] = [fail, *[partial(ended.append, number) for number in range(5)], fail]
    with ThreadPoolExecutor(2) as pool, pytest.raises(ValueError, match="first"):
        run_all(pool, tasks)
    assert sorted(ended) == list(range(5))

"""Tasks side by side, on a pool whose threads may be waiting for just such tasks."""

from collections.abc import Callable, Sequence
from concurrent.futures import Executor, Future
from contextlib import suppress
from typing import TypeVar

_Result = TypeVar("_Result")


def run_all(pool: Executor, tasks: Sequence[Callable[[], _Result]]) -> list[_Result]:
    """Return what tasks return, in their order; an error is raised once all have ended, the first task's first.

    The caller does the first task itself, and each that no thread has begun by then: so a task of the pool may call
    this too, and a pool that is full or shut down only makes it slower.
    """
    futures: list[Future[_Result] | None] = [None] * len(tasks)
    with suppress(RuntimeError):  # shut down: interpreters end with commits under way
        for position, task in enumerate(tasks[1:], 1):
            futures[position] = pool.submit(task)
    results: list[_Result] = []
    failures: list[BaseException] = []
    for task, future in zip(tasks, futures, strict=True):
        try:
            results.append(task() if future is None or future.cancel() else future.result())
        except BaseException as error:  # noqa: BLE001 - the others must end before it goes on
            failures.append(error)
    if failures:
        raise failures[0]
    return results

"""Work that has been handed to the pool, for callers that may be on the pool themselves."""

from collections.abc import Callable
from concurrent.futures import Executor, Future
from typing import Generic, TypeVar

_Result = TypeVar("_Result")


class Begun(Generic[_Result]):
    """A task that a thread of the pool does, or whoever asks for its result before one has begun it.

    So a task of the pool may wait for another, and a pool that is full or shut down only makes things slower.
    """

    def __init__(self, pool: Executor, task: Callable[[], _Result]) -> None:
        self._task = task
        self._future: Future[_Result] | None = None
        try:
            self._future = pool.submit(task)
        except RuntimeError:  # shut down: interpreters end with reads under way
            return

    def result(self) -> _Result:
        """Return what the task returns, or raise what it raises."""
        if self._future is None or self._future.cancel():
            return self._task()
        return self._future.result()

    def cancel(self) -> None:
        """Do without the result."""
        if self._future is not None:
            self._future.cancel()

"""Races between threads of several processes for the same files: what the FileIO contract test starts."""

import multiprocessing
import sys
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from multiprocessing.synchronize import Barrier as ProcessBarrier
from typing import Protocol

from hosu.kernel.errors import PreconditionFailedError
from hosu.kernel.fileio import FileIO

FileIOOpener = Callable[[], FileIO]
"""Opens the same files from another process: picklable, so a functools.partial of a class."""


class Barrier(Protocol):
    """Where runners wait for one another, be they threads or processes."""

    def wait(self, timeout: float | None = None) -> int:
        """Return once everybody waits."""
        ...


def win_rounds(fileio: FileIO, runner: str, keys: Sequence[str], barrier: Barrier) -> list[str]:
    """Try to create each key, starting together with the other runners; return the keys this runner won."""
    won = []
    for key in keys:
        barrier.wait(60)
        try:
            fileio.put(key, runner.encode(), if_absent=True)
        except PreconditionFailedError:
            continue
        won.append(key)
    return won


def count_up(fileio: FileIO, key: str, steps: int, barrier: Barrier) -> int:
    """Add one to the number at key, `steps` times, each by a put that must match; return how often one was refused."""
    barrier.wait(60)
    refused = 0
    done = 0
    while done < steps:
        etag = fileio.head(key).etag
        number = int(fileio.read(key))
        try:
            fileio.put(key, str(number + 1).encode(), if_match=etag)
        except PreconditionFailedError:
            refused += 1
        else:
            done += 1
    return refused


def run_in_threads(task: Callable[[int], object], runners: int) -> None:
    """Run task(0) … task(runners - 1) at once; raise what any of them raises."""
    with ThreadPoolExecutor(runners) as pool:
        for future in [pool.submit(task, runner) for runner in range(runners)]:
            future.result()


def race_threads(fileio: FileIO, runners: int, keys: Sequence[str], counter: str, steps: int) -> dict[str, list[str]]:
    """Run both races with threads; return who won which key."""
    barrier = threading.Barrier(runners)

    def run(runner: str) -> list[str]:
        won = win_rounds(fileio, runner, keys, barrier)
        count_up(fileio, counter, steps, barrier)
        return won

    names = [f"thread-{number}" for number in range(runners)]
    # Threads that take turns every few bytecodes meet in places where, left alone, they would rarely meet.
    interval_seconds = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        with ThreadPoolExecutor(runners) as pool:
            return dict(zip(names, pool.map(run, names), strict=True))
    finally:
        sys.setswitchinterval(interval_seconds)


def race_processes(
    opener: FileIOOpener, runners: int, keys: Sequence[str], counter: str, steps: int
) -> dict[str, list[str]]:
    """Run both races with new processes; return who won which key."""
    # A forked child would inherit the locks of this process's threads as they happen to be.
    context = multiprocessing.get_context("spawn")
    barrier = context.Barrier(runners)
    outcomes = context.SimpleQueue()
    names = [f"process-{number}" for number in range(runners)]
    processes = [
        context.Process(target=_run_process, args=(opener, name, keys, counter, steps, barrier, outcomes))
        for name in names
    ]
    for process in processes:
        process.start()
    for process in processes:
        process.join(90)
        assert process.exitcode == 0, f"{process.name} ended with {process.exitcode}"
    return dict(outcomes.get() for _ in names)


def _run_process(
    opener: FileIOOpener,
    runner: str,
    keys: Sequence[str],
    counter: str,
    steps: int,
    barrier: ProcessBarrier,
    outcomes: "multiprocessing.queues.SimpleQueue[tuple[str, list[str]]]",
) -> None:
    fileio = opener()
    won = win_rounds(fileio, runner, keys, barrier)
    count_up(fileio, counter, steps, barrier)
    outcomes.put((runner, won))

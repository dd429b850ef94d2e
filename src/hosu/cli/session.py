"""What every verb of one command line shares: clients, voice, retries, journals and the wish to stop."""

import contextlib
import os
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_EXCEPTION, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from typing import TypeVar

from hosu.cli.client import Endpoints
from hosu.cli.faults import CancelledError
from hosu.cli.output import Output
from hosu.cli.profiles import Profiles
from hosu.cli.retry import RetryPolicy, cancellable_sleep
from hosu.cli.state import Journals, state_folder
from hosu.kernel.limits import MIB

JOBS_DEFAULT = 8
"""Files, and parts of large files, under way at the same time."""

PART_BYTES_MIN = 8 * MIB
"""Smallest part we make: one lost connection costs at most this much to repeat."""

SINGLE_BYTES_MAX = 16 * MIB
"""Largest body sent in one request: it is held in memory once, so it cannot change while it is sent."""

assert PART_BYTES_MIN <= SINGLE_BYTES_MAX

Result = TypeVar("Result")


def gather(futures: Sequence[Future[Result]], stop: threading.Event) -> list[Result]:
    """Return the results of parts under way; when one fails, set `stop`, wait for the others, and raise what failed.

    Parts that end because of `stop` raise CancelledError: it is never the reason, so the real one goes first.
    """
    try:
        wait(futures, return_when=FIRST_EXCEPTION)
    finally:
        if any(not future.done() or future.cancelled() or future.exception() is not None for future in futures):
            stop.set()
        for future in futures:
            future.cancel()
        wait(futures)
    faults = [future.exception() for future in futures if not future.cancelled()]
    reasons = [fault for fault in faults if fault is not None]
    for reason in reasons:
        if not isinstance(reason, CancelledError):
            raise reason
    for reason in reasons:
        raise reason
    return [future.result() for future in futures]


@dataclass(slots=True)
class Session:
    """The parts of one command; use `open_session` unless a test hands them over."""

    endpoints: Endpoints
    output: Output
    retry: RetryPolicy
    journals: Journals
    jobs: int = JOBS_DEFAULT
    resume: bool = True
    cancel: threading.Event = field(default_factory=threading.Event)
    _parts: ThreadPoolExecutor | None = None
    _lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def parts(self) -> ThreadPoolExecutor:
        """The threads that move parts; apart from those that move files, which wait for them."""
        with self._lock:
            if self._parts is None:
                self._parts = ThreadPoolExecutor(self.jobs, thread_name_prefix="part")
            return self._parts

    def raise_if_cancelled(self) -> None:
        """Raise CancelledError once the person wants to stop."""
        if self.cancel.is_set():
            raise CancelledError

    def close(self) -> None:
        """Stop the threads and close the connections."""
        if self._parts is not None:
            self._parts.shutdown(wait=True, cancel_futures=True)
        self.endpoints.close()


@dataclass(frozen=True, slots=True)
class Common:
    """The options that every verb takes."""

    json_lines: bool = False
    quiet: bool = False
    endpoint_url: str | None = None
    aws_profile: str | None = None
    jobs: int = JOBS_DEFAULT
    resume: bool = True


@contextlib.contextmanager
def open_session(common: Common, sleep: Callable[[float], None] | None = None) -> Iterator[Session]:
    """Open the session of one command line and close it with its threads, whatever happens."""
    cancel = threading.Event()
    endpoints = Endpoints(
        Profiles.of_user(),
        # A file's thread waits while its parts move, so at most twice `jobs` requests are open, and one listing.
        connections=2 * common.jobs + 1,
        endpoint_url=common.endpoint_url,
        aws_profile=common.aws_profile,
    )
    session = Session(
        endpoints=endpoints,
        output=Output(json_lines=common.json_lines, quiet=common.quiet),
        retry=RetryPolicy(sleep=sleep or cancellable_sleep(cancel)),
        journals=Journals(state_folder(os.environ)),
        jobs=common.jobs,
        resume=common.resume,
        cancel=cancel,
    )
    try:
        yield session
    except KeyboardInterrupt:
        cancel.set()
        raise
    finally:
        session.close()

"""Doing a write over when others changed what it rests on."""

from collections.abc import Callable
from typing import TYPE_CHECKING

from tenacity import Retrying, retry_if_exception, stop_after_attempt, wait_random_exponential

from hosu.kernel.errors import ConflictError, ErrorKind

if TYPE_CHECKING:
    from hosu.tables.context import TableContext

ATTEMPTS = 100
"""How often a write that depends on what is in the table is made, when others change it each time."""

PAUSE_MS_MAX = 2_000
"""The longest pause between two attempts, unless `commit.max-retry-wait` says otherwise: a write takes longer to make
anew than a commit does."""


def is_conflict(error: BaseException) -> bool:
    """Whether others changed what a commit rests on: it did not happen, and may when made anew."""
    return isinstance(error, ConflictError) and error.kind is ErrorKind.COMMIT_CONFLICT


def retrying(ctx: "TableContext", may_retry: Callable[[], bool] = lambda: True) -> Retrying:
    """Return what calls a function until it raises no conflict, with pauses drawn at random; the last one is raised."""
    options = ctx.options
    longest = options.commit_max_retry_wait if options.has("commit.max-retry-wait") else PAUSE_MS_MAX
    return Retrying(
        retry=retry_if_exception(lambda error: is_conflict(error) and may_retry()),
        stop=stop_after_attempt(ATTEMPTS),
        wait=wait_random_exponential(multiplier=options.commit_min_retry_wait / 1000, max=longest / 1000),
        reraise=True,
    )

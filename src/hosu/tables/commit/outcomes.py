"""How a commit may end without its caller knowing that all of it, or nothing, is in the table."""

from hosu.kernel.errors import HosuError, UnavailableError


class UncertainCommitError(UnavailableError):
    """Nobody can say whether the commit happened: its files must stay until that is known."""


class PartialCommitError(UnavailableError):
    """What was written is in the table, what was compacted is not: writing the rows again would double them."""


def is_definite(error: BaseException) -> bool:
    """Whether a commit that raised this did not happen for certain, so that its files may go."""
    return isinstance(error, HosuError) and not isinstance(error, UncertainCommitError | PartialCommitError)

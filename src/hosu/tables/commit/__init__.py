"""Commits: how changes of files become the next snapshot, whoever else commits meanwhile."""

from hosu.tables.commit.commit import commit, filter_committed
from hosu.tables.commit.outcomes import PartialCommitError, UncertainCommitError, is_definite
from hosu.tables.commit.overwrite import drop_partitions, overwrite, truncate

__all__ = [
    "PartialCommitError",
    "UncertainCommitError",
    "commit",
    "drop_partitions",
    "filter_committed",
    "is_definite",
    "overwrite",
    "truncate",
]

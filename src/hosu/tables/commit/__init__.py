"""Commits: how changes of files become the next snapshot, whoever else commits meanwhile."""

from hosu.tables.commit.commit import commit, filter_committed
from hosu.tables.commit.overwrite import drop_partitions, overwrite, truncate

__all__ = ["commit", "drop_partitions", "filter_committed", "overwrite", "truncate"]

"""Merging: which rows of a primary-key table are left when runs of the same keys meet."""

from hosu.tables.merging.fold import fold, sort_run
from hosu.tables.merging.spec import MergeSpec
from hosu.tables.merging.streams import merge_stream

__all__ = ["MergeSpec", "fold", "merge_stream", "sort_run"]

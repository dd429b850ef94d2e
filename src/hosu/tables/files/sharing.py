"""Memory shared out among files that are read side by side.

An open run is not free: of each column it holds a page as it was written, a buffer to fetch from, and the tables of
its codec. What that leaves of the memory allowed is for rows.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from hosu.kernel.limits import KIB, MIB
from hosu.tables.records import DataFile

PAGE_ROWS: Final = 20_000
PAGE_BYTES: Final = MIB
"""A page of a column has at most so many rows, and about so many bytes: hosu's and Java's do."""

CODEC_BYTES: Final = 112 * KIB
"""What Zstandard keeps to unpack one column."""

BUFFER_BYTES_MIN: Final = 16 * KIB
BUFFER_BYTES_MAX: Final = MIB
"""How much of a column is fetched at a time: with less it takes too many calls, more is no faster."""

OPEN_SHARE: Final = 3
"""Of the memory allowed, at most this part is for what files hold that are open."""

GROUPS_SHARE: Final = 4
"""Whole row groups of all runs are fetched ahead where they take no more than this part of the memory."""

BATCH_BYTES_MIN: Final = 128 * KIB
"""Fewer rows at a time cost more than they spare."""

_UNPACKED = 2.5
"""About how much larger pages are once they are unpacked."""

READ_STAGES: Final = 8
WRITE_STAGES: Final = 16
"""Rows are in so many places at once, where they are read and where they are written too: some are held, some are
merged, some wait; and allocators keep a part for themselves."""

_APART = 32 * MIB
"""What else a merge takes, whatever it may hold: files on their way out, codecs, threads, gaps between allocations."""


@dataclass(frozen=True)
class Shares:
    """What readers of runs that are merged may hold."""

    held_bytes: int
    """Of rows, all runs together."""

    batch_bytes: int
    """Of rows that are read of a run at once."""

    buffer_bytes: int | None
    """Of each column that is fetched; None for whole row groups."""


def usable(memory_bytes: int) -> int:
    """Return how much of the memory that a process may grow by is there for open files and rows."""
    return max(memory_bytes - _APART, memory_bytes // 2)


def shares_of(
    runs: Sequence[Sequence[DataFile]], leaves: int, memory_bytes: int, *, of_leaves: int, stages: int
) -> Shares:
    """Share memory out among runs that are read side by side: `leaves` columns of theirs, of the `of_leaves` they have.

    `memory_bytes` is what is `usable`. What cannot be had with less is taken anyway: a page of each column, and a few
    rows of each run.
    """
    count = max(1, len(runs))
    opened = sum(open_bytes(files, leaves, of_leaves=of_leaves) for files in runs)
    held = max(memory_bytes - opened, memory_bytes // 4) // stages
    part = leaves / max(1, of_leaves)
    groups = sum(max((_group_bytes(file) for file in files), default=0) for files in runs) * part
    buffer_bytes = None
    if groups > memory_bytes // GROUPS_SHARE:
        share = memory_bytes // (2 * OPEN_SHARE) // (count * max(1, leaves))
        buffer_bytes = min(max(share, BUFFER_BYTES_MIN), BUFFER_BYTES_MAX)
    return Shares(held, max(held // (2 * count), BATCH_BYTES_MIN), buffer_bytes)


def open_bytes(files: Sequence[DataFile], leaves: int, *, of_leaves: int) -> int:
    """Return about how much is held of a run while it is open, rows aside."""
    unpacked = max((_UNPACKED * file.file_size / max(1, file.row_count) for file in files), default=0.0)
    rows = max((min(PAGE_ROWS, file.row_count) for file in files), default=0)
    pages = min(rows * unpacked * leaves / max(1, of_leaves), leaves * PAGE_BYTES)
    return int(pages) + leaves * (CODEC_BYTES + BUFFER_BYTES_MIN)


def are_open_within(runs: Sequence[Sequence[DataFile]], leaves: int, memory_bytes: int) -> bool:
    """Say whether runs that are read side by side, all columns of theirs, leave enough of the memory for rows."""
    return sum(open_bytes(files, leaves, of_leaves=leaves) for files in runs) <= memory_bytes // OPEN_SHARE


def _group_bytes(file: DataFile) -> float:
    return file.file_size * min(_GROUP_ROWS, file.row_count) / max(1, file.row_count)


_GROUP_ROWS = 256 * KIB
"""Rows of a row group at most."""

"""What a writer has written and not committed."""

from collections.abc import MutableMapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from hosu.kernel.errors import HosuError
from hosu.tables.pooling import run_all
from hosu.tables.records import BucketChange, DataFile, IndexFile
from hosu.tables.writing.dynamic import PartitionIndex, write_index
from hosu.tables.writing.kinds import Kinds
from hosu.tables.writing.resequencing import discard
from hosu.tables.writing.routing import Share
from hosu.tables.writing.runs import Written
from hosu.tables.writing.states import Bucket, BucketStates

if TYPE_CHECKING:
    from hosu.tables.context import TableContext


@dataclass(kw_only=True)
class Pending(Written):
    """What one bucket gets with the next commit."""

    share: Share
    reached: int
    """The highest sequence number given out in the bucket."""

    total: int = 0
    indexes: list[IndexFile] = field(default_factory=list)

    def __bool__(self) -> bool:
        return bool(self.data or self.changelog or self.indexes)

    def change(self) -> BucketChange:
        """Return it as what a commit takes."""
        return BucketChange(
            partition=self.share.part.partition,
            bucket=self.share.bucket,
            total_buckets=self.total,
            new_files=sorted(self.data, key=first_number),
            changelog_files=sorted(self.changelog, key=first_number),
            new_indexes=list(self.indexes),
        )


def write_indexes(ctx: "TableContext", states: BucketStates, pending: MutableMapping[Bucket, Pending]) -> None:
    """Write the index files of buckets that have got keys they did not have."""
    for key, index in states.indexes().items():
        wanted = sorted(bucket for bucket in index.modified if (key, bucket) in pending)
        made: dict[int, IndexFile] = {}
        tasks = [partial(_write_index, ctx, index, bucket, made) for bucket in wanted]
        try:
            run_all(ctx.pool, tasks)
        except BaseException:
            _discard_indexes(ctx, list(made.values()))
            raise
        for bucket, file in made.items():
            pending[key, bucket].indexes = [file]
        index.modified.clear()


def _write_index(ctx: "TableContext", index: PartitionIndex, bucket: int, made: dict[int, IndexFile]) -> None:
    made[bucket] = write_index(ctx, index.of_bucket(bucket))


def discard_pending(ctx: "TableContext", pending: MutableMapping[Bucket, Pending]) -> None:
    """Delete the files of what is not committed; what cannot be deleted is left to orphan cleaning."""
    for place in pending.values():
        discard_change(ctx, place.change())
    pending.clear()


def discard_change(ctx: "TableContext", change: BucketChange) -> None:
    """Delete the files that a change would have brought."""
    discard(ctx, change.partition, change.bucket, [*change.new_files, *change.changelog_files])
    _discard_indexes(ctx, change.new_indexes)


def _discard_indexes(ctx: "TableContext", files: Sequence[IndexFile]) -> None:
    with suppress(HosuError):
        ctx.files.delete_many([ctx.layout.index(file.file_name) for file in files])


def joined_kinds(buffer: Sequence[tuple[pa.Table, Kinds | None]]) -> Kinds | None:
    """Return the kinds of tables one after the other; None when all rows are inserts."""
    if all(kinds is None for _, kinds in buffer):
        return None
    return np.concatenate([np.zeros(rows.num_rows, np.int8) if kinds is None else kinds for rows, kinds in buffer])


def first_number(file: DataFile) -> int:
    """Return what sorts files by when their rows came."""
    return file.min_sequence_number

"""Files that were written and not committed, moved behind what others committed meanwhile."""

from collections.abc import Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Self

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from hosu.kernel.errors import ConflictError, ErrorKind, HosuError
from hosu.tables.files.reading import read_file
from hosu.tables.files.writing import write_files
from hosu.tables.records import SEQUENCE_NUMBER, VALUE_KIND, BucketChange, DataFile, FileSource, Partition, Snapshot
from hosu.tables.writing.kinds import Kinds

if TYPE_CHECKING:
    from hosu.tables.context import TableContext


class StaleWriteError(ConflictError):
    """Others changed what a write was made of: it has to be made anew."""

    @classmethod
    def of(cls, ctx: "TableContext", partition: Partition, bucket: int) -> Self:
        """Return the error of one bucket."""
        where = f"partition {partition!r}, " if partition else ""
        return cls(
            ErrorKind.COMMIT_CONFLICT,
            f"{ctx.identifier}: others kept changing {where}bucket {bucket} while it was written: try again",
            partition=partition,
            bucket=bucket,
        )


def check_current(ctx: "TableContext", snapshot: Snapshot) -> None:
    """Raise StaleWriteError when a snapshot has a schema that is newer than the one its rows are to be read with."""
    if snapshot.schema_id > ctx.schema.id:
        raise StaleWriteError(
            ErrorKind.COMMIT_CONFLICT,
            f"{ctx.identifier}: others kept changing its columns while it was written: try again",
        )


def resequenced(ctx: "TableContext", change: BucketChange, reached: int) -> BucketChange:
    """Return the change with sequence numbers that begin after `reached`; files of keys are written anew for that.

    The old files are still there. Changelog files keep their numbers: order is all that is read from them.
    """
    if not change.new_files:
        return change
    offset = reached + 1 - min(file.min_sequence_number for file in change.new_files)
    if offset <= 0:
        return change
    moved: list[DataFile] = []
    try:
        for file in change.new_files:
            moved += _moved(ctx, change, file, offset)
    except BaseException:
        discard(ctx, change.partition, change.bucket, files_apart(moved, change.new_files))
        raise
    return msgspec.structs.replace(change, new_files=moved)


def _moved(ctx: "TableContext", change: BucketChange, file: DataFile, offset: int) -> list[DataFile]:
    if not ctx.schema.is_primary_key_table:
        return [
            msgspec.structs.replace(
                file,
                min_sequence_number=file.min_sequence_number + offset,
                max_sequence_number=file.max_sequence_number + offset,
            )
        ]
    rows = read_file(ctx, change.partition, change.bucket, file, None)
    place = rows.column_names.index(SEQUENCE_NUMBER)
    rows = rows.set_column(place, SEQUENCE_NUMBER, pc.add(rows.column(place), pa.scalar(offset, pa.int64())))
    return write_files(
        ctx, change.partition, change.bucket, rows, level=file.level, source=file.file_source or FileSource.APPEND
    )


def read_back(ctx: "TableContext", partition: Partition, bucket: int, file: DataFile) -> tuple[pa.Table, Kinds | None]:
    """Return the rows of a file as a writer takes them, in the order in which they came, and their kinds."""
    rows = read_file(ctx, partition, bucket, file, None)
    if not ctx.schema.is_primary_key_table:
        return rows, None
    rows = rows.take(pc.sort_indices(rows.column(SEQUENCE_NUMBER)))
    kinds = np.asarray(rows.column(VALUE_KIND).combine_chunks())
    return rows.select([field.name for field in ctx.schema.fields]), kinds


def files_apart(files: Sequence[DataFile], others: Sequence[DataFile]) -> list[DataFile]:
    """Return the files that are not among others."""
    names = {file.file_name for file in others}
    return [file for file in files if file.file_name not in names]


def discard(ctx: "TableContext", partition: Partition, bucket: int, files: Sequence[DataFile]) -> None:
    """Delete files that no snapshot has; what cannot be deleted is left to orphan cleaning."""
    names = [file.external_path or ctx.layout.data_file(partition, bucket, file.file_name) for file in files]
    with suppress(HosuError):
        ctx.files.delete_many(names)

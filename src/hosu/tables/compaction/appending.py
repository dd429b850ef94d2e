"""Append tables: small files made one, and rows that deletion vectors leave out written off."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING

import pyarrow as pa

from hosu.kernel.errors import HosuError
from hosu.tables.compaction.buckets import Compacted, Place, Vectors
from hosu.tables.compaction.packing import pack, pack_ordered, packing_of
from hosu.tables.files.reading import read_file
from hosu.tables.files.writing import write_files
from hosu.tables.manifests import index_entries
from hosu.tables.options import DYNAMIC_BUCKET
from hosu.tables.records import BucketChange, DataFile, FileSource, Snapshot
from hosu.tables.vectors import DELETION_VECTORS, vectors_of, write_vectors

if TYPE_CHECKING:
    from hosu.tables.context import TableContext

SMALL_FILES = "small files"
FULL = "full"


def plan_append(
    ctx: "TableContext",
    snapshot: Snapshot,
    place: Place,
    vectors: Vectors,
    *,
    full: bool = False,
    rewrite: bool = False,
) -> list[list[DataFile]]:
    """Return which files of a bucket, or of a partition without buckets, are made one, each list by itself."""
    packing = packing_of(ctx.options, rewrites_all=rewrite)
    deleted = _deleted(ctx, snapshot, place, vectors)
    choose = pack if ctx.options.bucket == DYNAMIC_BUCKET else pack_ordered
    return choose(place.files, packing, deleted=deleted, full=full)


def compact_append(
    ctx: "TableContext",
    snapshot: Snapshot,
    place: Place,
    *,
    full: bool = False,
    rewrite: bool = False,
    beat: Callable[[], None] | None = None,
) -> Compacted | None:
    """Make small files of a bucket one; None when there is nothing to do. As `compact_bucket` does otherwise."""
    vectors: Vectors = {}
    if ctx.options.deletion_vectors:
        vectors = vectors_of(ctx, snapshot, place.partition, place.bucket)
    packs = plan_append(ctx, snapshot, place, vectors, full=full, rewrite=rewrite)
    if not packs:
        return None
    made: list[DataFile] = []

    def discard() -> None:
        names = [ctx.layout.data_file(place.partition, place.bucket, file.file_name) for file in made]
        with suppress(HosuError):
            ctx.files.delete_many(names)

    taken = [file for files in packs for file in files]
    change = BucketChange(
        partition=place.partition, bucket=place.bucket, total_buckets=place.total_buckets, compact_before=taken
    )
    try:
        for files in packs:
            ordered = sorted(files, key=lambda file: (file.min_sequence_number, file.file_name))
            made += write_files(
                ctx,
                place.partition,
                place.bucket,
                _rows(ctx, place, ordered, vectors, beat),
                level=0,
                source=FileSource.COMPACT,
                first_sequence=ordered[0].min_sequence_number,
            )
        change.compact_after = made
        gone = {file.file_name for file in taken}
        if gone & vectors.keys():
            kept = {name: vector for name, vector in vectors.items() if name not in gone}
            if kept:
                change.new_indexes = [write_vectors(ctx, place.partition, place.bucket, kept)]
            else:
                change.cleared_indexes = [DELETION_VECTORS]
    except BaseException:
        discard()
        raise
    rows = sum(file.row_count for file in taken)
    reason = FULL if full else SMALL_FILES
    return Compacted(change, reason, rows, sum(file.file_size for file in taken), discard)


def _rows(
    ctx: "TableContext",
    place: Place,
    files: Sequence[DataFile],
    vectors: Vectors,
    beat: Callable[[], None] | None,
) -> Iterator[pa.RecordBatch]:
    for file in files:
        if beat is not None:
            beat()
        yield from read_file(
            ctx,
            place.partition,
            place.bucket,
            file,
            None,
            vector=vectors.get(file.file_name),
            with_system=False,
            as_reader=True,
        )


def _deleted(ctx: "TableContext", snapshot: Snapshot, place: Place, vectors: Vectors) -> Mapping[str, tuple[int, str]]:
    """Return of each file with a vector how many rows it has lost, and the index file that says so."""
    if not vectors:
        return {}
    entries = index_entries(ctx, snapshot, DELETION_VECTORS, partitions=[place.partition], buckets=[place.bucket])
    homes = {found.data_file: entry.file.file_name for entry in entries for found in entry.file.vectors or ()}
    return {name: (len(vector), homes.get(name, "")) for name, vector in vectors.items() if vector}
